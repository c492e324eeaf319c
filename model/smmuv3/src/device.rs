//! The consumer of the command queue: what an SMMU does between the PROD that software writes and
//! the CONS that it reads.
//!
//! [`Device::actions`] says what it may do next, [`Device::perform`] does one of them. Commands are
//! consumed in order, and between two SYNCs they finish in any order: consumed is not complete. A
//! SYNC is consumed when everything before it is complete, and nothing after it begins earlier.
//! What software can observe goes to a [`Bus`] in the order in which it becomes visible.
//!
//! Source: Arm IHI 0070 G.b 3.5, 4.1, 4.5.1, 4.7.3, 4.8 and 7.1; reference/smmuv3.md section 1.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use crate::caches::Caches;
use crate::command::{decode, Class, Command, Illegal};
use crate::features::{Config, Feature};
use crate::field;
use crate::registers::{
    sends_not_full, Base, Cerror, Misuse, Register, Registers, CR0_CMDQEN, CR0_SMMUEN,
    GERROR_CMDQ_ERR, GERROR_MSI_CMDQ_ABT,
};
use crate::ring::RingSize;

/// An external abort of a memory access.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, thiserror::Error, Serialize, Deserialize)]
#[error("external abort")]
pub struct Aborted;

/// Something that software can see.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Effect {
    /// CMDQ_CONS has this value, ERR included.
    Cons(u32),
    /// GERROR has this value.
    Gerror(u32),
    /// The GERROR interrupt.
    GerrorIrq,
    /// A 32-bit write, the completion signal of a SYNC.
    Msi {
        /// Where.
        address: u64,
        /// What.
        data: u32,
        /// Shareability: 0 non, 2 outer, 3 inner (1 counts as 0).
        shareability: u8,
        /// Attributes, coded like STE.MemAttr.
        attributes: u8,
    },
    /// The wired interrupt of a SYNC.
    SyncIrq,
    /// The event of a SYNC.
    SyncSev,
    /// The event that wakes producers who wait for space.
    NotFullSev,
}

/// What the SMMU reaches: the ring's memory, and those who look at its effects.
pub trait Bus {
    /// Reads a slot of the ring.
    fn fetch(&mut self, slot: u32) -> Result<[u64; 2], Aborted>;
    /// Makes an effect visible. Only an MSI can abort.
    fn effect(&mut self, effect: Effect) -> Result<(), Aborted>;
}

/// What the SMMU may do next.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Action {
    /// The last write of CR0 takes effect and shows in CR0ACK.
    AcknowledgeCr0,
    /// Fetch one more command ahead.
    Fetch,
    /// Consume the command at CONS: begin it, complete the SYNC, or stop with an error.
    Consume,
    /// The command of this number, which was begun, takes effect and is complete.
    Finish(u32),
    /// The endpoint does not answer the ATC_INV of this number in time. It has no effect.
    TimeOut(u32),
    /// The endpoint answers the ATC_INV of this number with Unsupported Request: complete, no
    /// error, no effect.
    Unsupported(u32),
}

/// A command that was consumed and is not complete.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Begun {
    /// Counts the consumed commands.
    pub number: u32,
    /// The command.
    pub command: Command,
}

/// A slot of the ring that stops the queue when its turn comes.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
enum Bad {
    /// Its fetch was aborted.
    Aborted,
    /// What it holds is CERROR_ILL.
    Illegal(Illegal),
}

/// An action that is not possible in this state.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{0:?} is not possible now; Device::actions lists what is")]
pub struct NotPossible(pub Action);

/// One SMMU, as far as its command queue goes.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Device {
    config: Config,
    registers: Registers,
    /// Fetched and decoded, not consumed: the head belongs to the slot at CONS.
    fetched: VecDeque<Result<Command, Bad>>,
    begun: Vec<Begun>,
    consumed: u32,
    /// Whether an ATC_INV timed out since the last SYNC that reported one.
    timed_out: bool,
    /// Why the last CERROR_ILL was raised.
    illegal: Option<Illegal>,
    /// The caches that the commands are about.
    pub caches: Caches,
}

impl Device {
    /// After reset.
    pub fn new(config: Config) -> Device {
        Device {
            config,
            registers: Registers::new(),
            fetched: VecDeque::new(),
            begun: Vec::new(),
            consumed: 0,
            timed_out: false,
            illegal: None,
            caches: Caches::new(),
        }
    }

    /// Reset, ring at `base`, indexes zero, everything enabled and acknowledged: what a driver's
    /// probe leaves behind.
    pub fn probed(config: Config, base: Base) -> Device {
        let mut device = Device::new(config);
        device.registers.base = base.register();
        device.registers.cr0 = CR0_CMDQEN | CR0_SMMUEN;
        device.registers.cr0ack = device.registers.cr0;
        device
    }

    /// What it is.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Its registers.
    pub fn registers(&self) -> &Registers {
        &self.registers
    }

    /// Where the ring is.
    pub fn base(&self) -> Base {
        Base::of(self.registers.base, self.config.cmdqs)
    }

    /// Commands that were consumed and are not complete.
    pub fn begun(&self) -> &[Begun] {
        &self.begun
    }

    /// Number of commands consumed since reset.
    pub fn consumed(&self) -> u32 {
        self.consumed
    }

    /// Why the last CERROR_ILL was raised. Software cannot see this.
    pub fn illegal(&self) -> Option<Illegal> {
        self.illegal
    }

    /// A driver reads.
    pub fn read(&self, register: Register) -> u64 {
        self.registers.read(register, &self.config)
    }

    /// A driver writes.
    pub fn write(&mut self, register: Register, value: u64) -> Result<(), Misuse> {
        self.registers.write(register, value, &self.config)
    }

    #[inline]
    fn ring(&self) -> RingSize {
        Base::size_of(self.registers.base, self.config.cmdqs)
    }

    /// Commands between CONS and PROD; none if the indexes are in no state of a ring.
    fn waiting(&self) -> u32 {
        self.ring().occupancy(self.registers.prod, self.registers.cons).unwrap_or(0)
    }

    /// Whether it consumes: ring not empty, queue enabled, no error unacknowledged.
    pub fn consuming(&self) -> bool {
        self.registers.cr0ack & self.registers.cr0 & CR0_CMDQEN != 0
            && !self.registers.cmdq_err()
            && self.waiting() > 0
    }

    /// Whether a SYNC at CONS can be consumed, or stop the queue, now. It waits for everything
    /// before it but answers to stalls and page requests, and for transactions that use what was
    /// invalidated; an ATC_INV that timed out is reported without waiting for its like.
    fn sync_ready(&self) -> bool {
        let waited_for = |begun: &&Begun| match begun.command.op().row().class {
            Class::Response => false,
            Class::Atc => !self.timed_out,
            _ => true,
        };
        !self.begun.iter().any(|b| waited_for(&b)) && !self.caches.must_drain()
    }

    /// What it may do next.
    pub fn actions(&self) -> Vec<Action> {
        let own = [Action::AcknowledgeCr0, Action::Fetch, Action::Consume];
        let of_begun = self.begun.iter().flat_map(|begun| {
            let n = begun.number;
            [Action::Finish(n), Action::TimeOut(n), Action::Unsupported(n)]
        });
        own.into_iter().chain(of_begun).filter(|action| self.is_possible(*action)).collect()
    }

    /// What an SMMU does next that finishes each command before it consumes another.
    pub fn next_in_order(&self) -> Option<Action> {
        if let Some(begun) = self.begun.first() {
            return Some(Action::Finish(begun.number));
        }
        let order = [Action::AcknowledgeCr0, Action::Consume, Action::Fetch];
        order.into_iter().find(|action| self.is_possible(*action))
    }

    /// Whether it may do this next.
    pub fn is_possible(&self, action: Action) -> bool {
        let begun = |number| self.begun.iter().find(|b| b.number == number);
        match action {
            Action::AcknowledgeCr0 => self.registers.cr0 != self.registers.cr0ack,
            Action::Fetch => self.may_fetch(),
            Action::Consume => self.may_consume() && self.consuming(),
            Action::Finish(number) => begun(number).is_some(),
            Action::TimeOut(number) | Action::Unsupported(number) => {
                begun(number).is_some_and(|b| b.command.op().row().class == Class::Atc)
            }
        }
    }

    /// Whether it has room to fetch one more command ahead.
    fn may_fetch(&self) -> bool {
        let ahead = self.fetched.len() as u32;
        // What costs least is asked first: this is asked before each action.
        ahead < u32::from(self.config.fetch_ahead.max(1))
            && self.fetched.back() != Some(&Err(Bad::Aborted))
            && self.consuming()
            && ahead < self.waiting()
    }

    /// Whether the head can be begun, completed, or be an error.
    fn may_consume(&self) -> bool {
        let room = self.begun.len() < usize::from(self.config.in_flight.max(1));
        match self.fetched.front() {
            None => false,
            Some(Err(_)) => true,
            Some(Ok(command)) if command.op().row().class == Class::Sync => self.sync_ready(),
            Some(Ok(_)) => room,
        }
    }

    /// Does [`Device::next_in_order`]; false if there is nothing to do.
    pub fn go_on<B: Bus + ?Sized>(&mut self, bus: &mut B) -> bool {
        let next = self.next_in_order();
        if let Some(action) = next {
            self.act(action, bus);
        }
        next.is_some()
    }

    /// Does one of [`Device::actions`].
    ///
    /// # Errors
    ///
    /// It is none of them.
    pub fn perform<B: Bus + ?Sized>(
        &mut self,
        action: Action,
        bus: &mut B,
    ) -> Result<(), NotPossible> {
        if !self.is_possible(action) {
            return Err(NotPossible(action));
        }
        self.act(action, bus);
        Ok(())
    }

    /// An action that is possible.
    fn act<B: Bus + ?Sized>(&mut self, action: Action, bus: &mut B) {
        match action {
            Action::AcknowledgeCr0 => {
                self.registers.cr0ack = self.registers.cr0;
                if self.registers.cr0ack & CR0_CMDQEN == 0 {
                    self.fetched.clear();
                }
            }
            Action::Fetch => {
                let ahead = self.fetched.len() as u32;
                let ring = self.ring();
                let slot = ring.slot(ring.add(self.registers.cons, ahead));
                let fetched = bus.fetch(slot).map_err(|Aborted| Bad::Aborted);
                let decoded = |words| decode(words, &self.config).map_err(Bad::Illegal);
                self.fetched.push_back(fetched.and_then(decoded));
            }
            Action::Consume => self.consume(bus),
            Action::Finish(number) => {
                if let Some(command) = self.end(number) {
                    self.caches.apply(&command, &self.config.features);
                }
            }
            Action::TimeOut(number) => {
                self.end(number);
                self.timed_out = true;
            }
            Action::Unsupported(number) => {
                self.end(number);
            }
        }
    }

    /// Takes the command of this number from the begun ones.
    fn end(&mut self, number: u32) -> Option<Command> {
        let at = self.begun.iter().position(|b| b.number == number)?;
        Some(self.begun.remove(at).command)
    }

    fn consume<B: Bus + ?Sized>(&mut self, bus: &mut B) {
        let command = match self.fetched.front() {
            None => return,
            Some(Err(Bad::Aborted)) => return self.stop(Cerror::Abt, bus),
            Some(Err(Bad::Illegal(why))) => {
                self.illegal = Some(*why);
                return self.stop(Cerror::Ill, bus);
            }
            Some(Ok(command)) => *command,
        };
        if command.op().row().class != Class::Sync {
            self.advance(bus);
            // Without SMMUEN an ATC_INV is ignored; the other commands run.
            let enabled = self.registers.cr0ack & CR0_SMMUEN != 0;
            if enabled || command.op().row().class != Class::Atc {
                self.begun.push(Begun { number: self.consumed, command });
            }
            return;
        }
        if self.timed_out {
            // The next SYNC reports what is still to come.
            self.timed_out = false;
            return self.stop(Cerror::AtcInvSync, bus);
        }
        // Who sees the signal sees CONS as well.
        self.advance(bus);
        self.signal(&command, bus);
    }

    /// CONS moves past the command at it.
    fn advance<B: Bus + ?Sized>(&mut self, bus: &mut B) {
        let ring = self.ring();
        let was_full = ring.is_full(self.registers.prod, self.registers.cons);
        self.fetched.pop_front();
        self.consumed = self.consumed.wrapping_add(1);
        self.registers.cons = ring.add(self.registers.cons, 1);
        show(bus, Effect::Cons(self.registers.cmdq_cons()));
        if was_full && sends_not_full(&self.config) {
            show(bus, Effect::NotFullSev);
        }
    }

    /// The completion signal of a SYNC.
    fn signal<B: Bus + ?Sized>(&mut self, sync: &Command, bus: &mut B) {
        let value = |field| sync.get(field).unwrap_or(0);
        match value(field::SYNC_CS) {
            1 => {
                let address = value(field::SYNC_MSIADDR);
                if address == 0 || !self.config.features.has(Feature::Msi) {
                    return show(bus, Effect::SyncIrq);
                }
                let msi = Effect::Msi {
                    address,
                    data: value(field::SYNC_MSIDATA) as u32,
                    shareability: value(field::SYNC_MSH) as u8,
                    attributes: value(field::SYNC_MSIATTR) as u8,
                };
                if bus.effect(msi).is_err() {
                    self.raise(GERROR_MSI_CMDQ_ABT, bus);
                }
            }
            // Without IDR0.SEV there is no event to send; the SYNC is complete all the same.
            2 if self.config.features.has(Feature::Sev) => show(bus, Effect::SyncSev),
            _ => {}
        }
    }

    /// Consumption stops at CONS. ERR is visible before the error is.
    fn stop<B: Bus + ?Sized>(&mut self, error: Cerror, bus: &mut B) {
        // What was fetched ahead is fetched again: software may rewrite it.
        self.fetched.clear();
        self.registers.err = error;
        show(bus, Effect::Cons(self.registers.cmdq_cons()));
        self.raise(GERROR_CMDQ_ERR, bus);
    }

    fn raise<B: Bus + ?Sized>(&mut self, bits: u32, bus: &mut B) {
        if self.registers.gerror.raise(bits) != 0 {
            show(bus, Effect::Gerror(self.registers.gerror.gerror()));
            show(bus, Effect::GerrorIrq);
        }
    }
}

/// An effect that cannot abort: it is a register or a wire of the SMMU itself.
fn show<B: Bus + ?Sized>(bus: &mut B, effect: Effect) {
    let aborted = bus.effect(effect).is_err();
    debug_assert!(!aborted, "{effect:?} is no memory access");
}
