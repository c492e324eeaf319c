//! The SMMU at the other end of the ring, and the handler of its command errors.
//!
//! The SMMU is `smmuv3::Device`, which decodes and consumes as the architecture says; here its
//! reads of the ring and its writes of CONS and MSIs are accesses of a CPU of its own. While a
//! command error is active the SMMU stands still until the handler acknowledges it, so the handler
//! runs on the same CPU.
//!
//! Source: reference/smmuv3.md 1.2 to 1.5; arm-smmu-v3.c, arm_smmu_gerror_handler(),
//! __arm_smmu_cmdq_skip_err().

use uapi::queue::{Fault, QueueKind, Without};

use smmuv3::command::{Class, Cs};
use smmuv3::registers::{CR0_CMDQEN, CR0_SMMUEN, GERROR_CMDQ_ERR};
use smmuv3::{
    field, Aborted, Action, Bus, Cerror, Command, Config, Device, Effect, Feature, Op, Register,
    RingSize,
};

use crate::arm_smmu_v3::cmdq::{here, Cmdq, RING_BASE, SYNC_COUNT};
use crate::linux::atomic::{
    atomic_fetch, queue_poll, read_entry, write_entry, writel, Entry, Order, Rmw, Wait,
};

/// Actions in a row after which the SMMU gives up: more than any program here needs.
const ACTIONS_MAX: u32 = 10_000;

/// A command with a reserved opcode: what a queue makes of one that it does not execute.
const RESERVED: [u64; 2] = [0xff, 0];

/// The accesses of the SMMU.
struct Wires<'a> {
    q: &'a Cmdq,
    /// CONS.RD as it is visible.
    cons: u32,
    /// What was fetched last.
    fetched: [u64; 2],
    /// How many commands it has consumed.
    consumed: u32,
    /// How many before it had its power: the [`Device`] counts from there.
    before: u32,
    /// Aborts that are still to come, by the number of the command.
    aborts: Vec<u32>,
    gerror_irq: bool,
}

impl Bus for Wires<'_> {
    fn fetch(&mut self, slot: u32) -> Result<[u64; 2], Aborted> {
        if let Some(i) = self.aborts.iter().position(|n| *n == self.consumed) {
            self.aborts.remove(i);
            return Err(Aborted);
        }
        let entry = read_entry(&self.q.ring[slot as usize]);
        self.fetched = self.q.fetched(here(), slot, entry);
        Ok(if self.q.executes(self.fetched) { self.fetched } else { RESERVED })
    }

    fn effect(&mut self, effect: Effect) -> Result<(), Aborted> {
        let q = self.q;
        match effect {
            Effect::Cons(cons) => {
                let old = std::mem::replace(&mut self.cons, q.shape.pos(cons));
                let moved = old != self.cons;
                self.consumed += u32::from(moved);
                let sync = self.fetched[0] & 0xff == smmuv3::Op::SYNC as u64;
                if moved {
                    q.will_consume();
                }
                // The slot may be written again by who sees this.
                writel(&q.cons_reg, Order::Release, cons.into(), || {
                    if moved {
                        q.consumed(here(), q.shape.idx(old), sync);
                    }
                });
            }
            Effect::Msi { .. } if q.kind() == Some(QueueKind::GuestVcmdq) => {}
            Effect::Msi { address: SYNC_COUNT, data, .. } => {
                q.sync_count.store("msi_write", here(), Order::Release, data.into(), || {});
            }
            Effect::Msi { address, data, .. } => {
                let slot = (address.wrapping_sub(RING_BASE) / 16) as usize % q.ring.len();
                let slot = q.ring[slot].first();
                let word = slot.peek() & !0xffff_ffff | u64::from(data);
                slot.store("msi_write", here(), Order::Release, word, || {});
            }
            Effect::GerrorIrq => self.gerror_irq = true,
            // Who waits for these waits for what came before them, too.
            Effect::Gerror(_) | Effect::SyncIrq | Effect::SyncSev | Effect::NotFullSev => {}
        }
        Ok(())
    }
}

/// What goes wrong on a queue: the program's faults are those of the main one.
fn faults(q: &Cmdq) -> &[Fault] {
    match q.number {
        0 => &q.program.faults,
        _ => &[],
    }
}

impl Cmdq {
    /// What it is, beside the main one.
    fn kind(&self) -> Option<QueueKind> {
        self.program.secondary.filter(|_| self.number > 0).map(|secondary| secondary.kind)
    }

    /// Whether the hardware of this queue knows the command.
    fn executes(&self, cmd: [u64; 2]) -> bool {
        let op = Op::from_bits(field::OPCODE.get(cmd) as u8);
        self.kind() != Some(QueueKind::GuestVcmdq)
            || matches!(op, Some(Op::TLBI_NH_ASID | Op::TLBI_NH_VA | Op::ATC_INV | Op::SYNC))
    }
}

/// What the SMMU of the program has.
pub fn config(q: &Cmdq) -> Config {
    let without = q.program.vsmmu.iter().flat_map(|vsmmu| &vsmmu.without);
    let features = without.fold(Config::FULL.features, |features, lack| match lack {
        Without::Asid16 => features.without(Feature::Asid16),
        Without::Ats => features.without(Feature::Ats),
        Without::Ril => features.without(Feature::Ril),
        // A field that this SMMU ignores: no feature of its command queue.
        Without::SubstreamIds => features,
    });
    Config { fetch_ahead: 1, in_flight: 1, ..Config::FULL }.with_features(features)
}

/// An SMMU whose indexes are both this one. `None`: it cannot be set up so.
fn probed(q: &Cmdq, at: u32) -> Option<Device> {
    let ring = RingSize::try_from(q.shape.max_n_shift).ok()?;
    let mut device = Device::new(config(q));
    device.write(Register::CMDQ_BASE, RING_BASE | u64::from(ring.log2())).ok()?;
    device.write(Register::CMDQ_PROD, at.into()).ok()?;
    device.write(Register::CMDQ_CONS, at.into()).ok()?;
    device.write(Register::CR0, (CR0_CMDQEN | CR0_SMMUEN).into()).ok()?;
    Some(device)
}

/// The life of the SMMU: until all producers have finished and the ring is empty. How many commands
/// it has consumed.
pub fn smmu(q: &Cmdq) -> u32 {
    let start = q.shape.pos(q.program.start);
    let Some(mut device) = probed(q, start) else { return 0 };
    let mut power = q.power.peek();
    let aborts = faults(q).iter().filter_map(|f| match f {
        Fault::Abort(n) => Some(*n),
        _ => None,
    });
    let mut wires = Wires {
        q,
        cons: start,
        fetched: [0; 2],
        consumed: 0,
        before: 0,
        aborts: aborts.collect(),
        gerror_irq: false,
    };
    let mut seen = u64::from(start);
    loop {
        let finished = |prod| q.producers.inside() == 0 && q.prod_reg.peek() == prod;
        let has_power = || q.power.peek() & 1 == 1;
        let wait = Wait {
            until: &|prod| (prod != seen && has_power()) || finished(prod),
            or_change_of: Some(&q.power),
            or_gate: Some(&q.producers),
            timeout_ms: None,
        };
        let Some(prod) = queue_poll(&q.prod_reg, q.rev.orders.prod_read, &wait) else { break };
        if std::mem::replace(&mut power, q.power.peek()) != q.power.peek() {
            // What it had in its registers is gone: it goes on from what was written since. They are
            // its own, so it knows them as they were when its power came back: what is exchanged is
            // never read late.
            atomic_fetch(&q.power, Order::Acquire, Rmw::Or(0), |_| {});
            wires.cons = q.cons_reg.peek() as u32;
            let Some(probed) = probed(q, wires.cons) else { break };
            (device, seen) = (probed, wires.cons.into());
            wires.before = wires.consumed;
            continue;
        }
        if prod == seen || !has_power() {
            break;
        }
        seen = prod;
        if let Err(misuse) = device.write(Register::CMDQ_PROD, prod) {
            q.bad_prod(here(), misuse);
        }
        for _ in 0..ACTIONS_MAX {
            if is_dead(q, wires.consumed) || !act(q, &mut device, &mut wires) {
                break;
            }
        }
        if is_dead(q, wires.consumed) {
            break;
        }
    }
    wires.consumed
}

/// Whether the program's SMMU stops for good behind so many commands.
fn is_dead(q: &Cmdq, consumed: u32) -> bool {
    let dead = faults(q).contains(&Fault::Dead(consumed));
    q.is_dead(dead);
    dead
}

/// One action of the SMMU, if it has one: it finishes what it has begun, then it goes on.
fn act(q: &Cmdq, device: &mut Device, wires: &mut Wires<'_>) -> bool {
    let late = device.begun().first().filter(|begun| {
        faults(q).contains(&Fault::AtcTimeout(wires.before + begun.number - 1))
            && begun.command.op().row().class == Class::Atc
    });
    let next = match late {
        Some(begun) => Some(Action::TimeOut(begun.number)),
        None => device.next_in_order(),
    };
    let done = next.is_some_and(|action| device.perform(action, wires).is_ok());
    if std::mem::take(&mut wires.gerror_irq) {
        arm_smmu_gerror_handler(q, device);
    }
    done
}

/// `arm_smmu_gerror_handler()`
fn arm_smmu_gerror_handler(q: &Cmdq, device: &mut Device) {
    let gerror = device.read(Register::GERROR);
    let active = gerror ^ device.read(Register::GERRORN);
    if active & u64::from(GERROR_CMDQ_ERR) != 0 {
        arm_smmu_cmdq_skip_err(q, device);
    }
    // The handler copies GERROR, so it acknowledges nothing that is not active.
    let _acknowledged = device.write(Register::GERRORN, gerror);
}

/// `__arm_smmu_cmdq_skip_err()`
fn arm_smmu_cmdq_skip_err(q: &Cmdq, device: &Device) {
    let cons = (device.read(Register::CMDQ_CONS) & 0xffff_ffff) as u32;
    match Cerror::of(cons) {
        // Nothing to repair; fetch it again; the SYNC is tried again.
        Ok(Cerror::None | Cerror::Abt | Cerror::AtcInvSync) => return,
        Ok(Cerror::Ill) | Err(_) => {}
    }
    // Convert the erroneous command into a CMD_SYNC
    let sync = Command::sync(Cs::Sev).words();
    let entry = Entry { words: sync, tag: q.skipped(sync) };
    write_entry(&q.ring[(q.rev.skipped_slot)(q.shape, cons) as usize], entry, || {});
}
