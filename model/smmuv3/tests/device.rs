//! Does the consumer of the command queue do what the text says, in whatever order it may?
//!
//! Source: Arm IHI 0070 G.b 4.1, 4.5.1, 4.7.3, 4.8, 7.1; reference/smmuv3.md 1.2 to 1.5.

use std::collections::BTreeSet;

use proptest::prelude::*;
use smmuv3::caches::{Context, Tables, Walk};
use smmuv3::command::Cs;
use smmuv3::field::{self, Field};
use smmuv3::registers::{Base, CR0_CMDQEN, CR0_SMMUEN, GERROR_CMDQ_ERR, GERROR_MSI_CMDQ_ABT};
use smmuv3::{
    Aborted, Action, Bus, Cerror, Command, Config, Device, Effect, Feature, Misuse, Op, Register,
    RingSize, Stage,
};

/// The ring's memory and everything that became visible.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
struct World {
    ring: Vec<[u64; 2]>,
    /// Slots whose fetch aborts.
    aborts: BTreeSet<u32>,
    msi_aborts: bool,
    effects: Vec<EffectText>,
}

/// Effects have no order of their own.
type EffectText = String;

impl Bus for World {
    fn fetch(&mut self, slot: u32) -> Result<[u64; 2], Aborted> {
        if self.aborts.contains(&slot) {
            return Err(Aborted);
        }
        Ok(self.ring[slot as usize])
    }

    fn effect(&mut self, effect: Effect) -> Result<(), Aborted> {
        if let (Effect::Msi { address, data, .. }, false) = (effect, self.msi_aborts) {
            let word = &mut self.ring[(address as usize % 0x1000) / 16][0];
            *word = *word & !0xffff_ffff | u64::from(data);
        }
        self.effects.push(format!("{effect:x?}"));
        match effect {
            Effect::Msi { .. } if self.msi_aborts => Err(Aborted),
            _ => Ok(()),
        }
    }
}

fn size(n: u8) -> RingSize {
    RingSize::try_from(n).expect("n is at most 19")
}

struct Bench {
    device: Device,
    world: World,
    /// Un-wrapped PROD.
    produced: u64,
}

impl Bench {
    fn new(log2: u8, config: Config) -> Bench {
        let device = Device::probed(config, Base { address: 0x8000_0000, size: size(log2) });
        let world = World { ring: vec![[0; 2]; 1 << log2], ..World::default() };
        Bench { device, world, produced: 0 }
    }

    fn put(&mut self, words: [u64; 2]) {
        let ring = self.device.base().size;
        self.world.ring[ring.slot(ring.at(self.produced)) as usize] = words;
        self.produced += 1;
        self.prod(self.produced).expect("the ring has room");
    }

    fn push(&mut self, command: Command) {
        self.put(command.words());
    }

    fn prod(&mut self, at: u64) -> Result<(), Misuse> {
        self.produced = at;
        let bits = self.device.base().size.at(at).bits();
        self.device.write(Register::CMDQ_PROD, bits.into())
    }

    fn perform(&mut self, action: Action) {
        self.device.perform(action, &mut self.world).expect("it is possible");
    }

    /// Fetches and consumes until nothing more can be consumed without finishing something.
    fn consume(&mut self) {
        for _ in 0..1000 {
            let actions = self.device.actions();
            let step = [Action::Consume, Action::Fetch].into_iter().find(|a| actions.contains(a));
            match step {
                Some(step) => self.perform(step),
                None => return,
            }
        }
        panic!("1000 actions did not empty the ring");
    }

    /// As `consume`, and finishes what was begun.
    fn run(&mut self) {
        for _ in 0..1000 {
            self.consume();
            match self.device.begun().first() {
                Some(begun) => self.perform(Action::Finish(begun.number)),
                None => return,
            }
        }
        panic!("1000 rounds did not finish");
    }

    fn cons(&self) -> u64 {
        self.device.read(Register::CMDQ_CONS)
    }

    fn acknowledge(&mut self) {
        let gerror = self.device.read(Register::GERROR);
        self.device.write(Register::GERRORN, gerror).expect("it copies GERROR");
    }

    fn take_effects(&mut self) -> Vec<EffectText> {
        std::mem::take(&mut self.world.effects)
    }
}

fn fields(op: Op, values: &[(Field, u64)]) -> Command {
    values.iter().fold(Command::new(op), |c, (f, v)| c.with(*f, *v).expect("it fits"))
}

fn va(asid: u64, address: u64) -> Command {
    fields(Op::TLBI_NH_VA, &[(field::ASID, asid), (field::VA, address)])
}

fn atc(sid: u64) -> Command {
    fields(Op::ATC_INV, &[(field::SID, sid), (field::ATC_SIZE, 52)])
}

const SYNC: Command = Command::sync(Cs::None);
const BAD: [u64; 2] = [0xff, 0];

#[test]
fn consumed_is_not_complete() {
    let mut b = Bench::new(2, Config::FULL);
    b.push(va(1, 0x1000));
    b.push(va(1, 0x2000));
    b.consume();
    assert_eq!((b.cons(), b.device.begun().len()), (2, 2));
    b.push(SYNC);
    b.push(va(1, 0x3000));
    b.consume();
    // The SYNC waits, and nothing after it begins.
    assert_eq!((b.cons(), b.device.begun().len()), (2, 2));
    // They may finish in any order.
    b.perform(Action::Finish(2));
    b.consume();
    assert_eq!(b.cons(), 2);
    b.perform(Action::Finish(1));
    b.consume();
    assert_eq!((b.cons(), b.device.begun().len()), (4, 1));
    assert_eq!(
        b.device.perform(Action::Finish(1), &mut b.world.clone()).map_err(|e| e.0),
        Err(Action::Finish(1))
    );
}

#[test]
fn ill_stops_at_the_bad_command_and_goes_on_after_the_repair() {
    let mut b = Bench::new(3, Config::FULL);
    b.push(va(1, 0x1000));
    b.put(BAD);
    b.push(va(2, 0x2000));
    b.push(SYNC);
    b.consume();
    assert_eq!(b.cons(), 0x0100_0001);
    // CONS with ERR is visible before the error is, the interrupt comes last.
    let effects = b.take_effects();
    assert_eq!(effects, ["Cons(1)", "Cons(1000001)", "Gerror(1)", "GerrorIrq"]);
    assert_eq!(b.device.registers().gerror.active(), GERROR_CMDQ_ERR);
    // Nothing is consumed until the error is acknowledged; what was begun finishes.
    assert_eq!(b.device.actions(), [Action::Finish(1)]);
    b.perform(Action::Finish(1));
    // The repair: the bad command becomes a SYNC, and a younger one is rewritten too. Both were
    // fetched ahead already, and are fetched again.
    b.world.ring[1] = SYNC.words();
    b.world.ring[2] = va(3, 0x9000).words();
    b.consume();
    assert_eq!(b.cons(), 0x0100_0001);
    b.acknowledge();
    b.consume();
    let begun: Vec<Command> = b.device.begun().iter().map(|b| b.command).collect();
    assert_eq!(begun, [va(3, 0x9000)]);
    b.run();
    assert_eq!(b.cons() & 0xffff, 4);
}

#[test]
fn while_an_error_is_active_prod_may_go_back_to_cons() {
    let mut b = Bench::new(2, Config::FULL);
    b.push(va(1, 0x1000));
    b.put(BAD);
    b.push(SYNC);
    b.consume();
    assert_eq!(b.cons() & 0xffff, 1);
    assert!(matches!(b.prod(0), Err(Misuse::IllegalIndexes { .. })));
    b.prod(1).expect("back to CONS");
    b.acknowledge();
    b.consume();
    assert_eq!(b.cons() & 0xffff, 1);
    b.push(SYNC);
    b.run();
    assert_eq!(b.cons() & 0xffff, 2);
    assert!(matches!(b.prod(1), Err(Misuse::IllegalIndexes { .. } | Misuse::ProdBackwards { .. })));
}

#[test]
fn an_abort_stops_at_the_command_that_cannot_be_fetched() {
    let mut b = Bench::new(2, Config::FULL);
    b.world.aborts.insert(2);
    b.push(va(1, 0x1000));
    b.push(va(1, 0x2000));
    b.push(va(1, 0x3000));
    b.consume();
    assert_eq!(b.cons(), 0x0200_0002);
    // Linux acknowledges and lets the SMMU fetch again.
    b.acknowledge();
    b.consume();
    assert_eq!(b.cons(), 0x0200_0002);
    assert_eq!(b.device.registers().gerror.active(), GERROR_CMDQ_ERR);
    b.world.aborts.clear();
    b.acknowledge();
    b.run();
    assert_eq!(b.cons() & 0xffff, 3);
}

#[test]
fn an_atc_timeout_is_reported_on_the_next_sync() {
    let mut b = Bench::new(3, Config::FULL);
    b.push(va(1, 0x1000));
    b.push(atc(5));
    b.push(atc(6));
    b.push(SYNC);
    b.consume();
    assert_eq!(b.cons(), 3);
    b.perform(Action::TimeOut(2));
    b.consume();
    // Not on the ATC_INV, and not before the TLBI has taken effect.
    assert_eq!((b.cons(), b.device.registers().gerror.active()), (3, 0));
    b.perform(Action::Finish(1));
    b.consume();
    assert_eq!(b.cons(), 0x0300_0003);
    assert_eq!(b.take_effects().last().map(String::as_str), Some("GerrorIrq"));
    // The SYNC is tried again after the acknowledgement and completes the other one.
    b.acknowledge();
    b.consume();
    assert_eq!(b.cons(), 0x0300_0003, "ERR keeps its value, the error is not active");
    b.perform(Action::Finish(3));
    b.consume();
    assert_eq!(b.cons() & 0xffff, 4);
    assert_eq!(b.device.registers().gerror.active(), 0);
}

#[test]
fn an_unsupported_request_is_no_error_and_no_invalidation() {
    let mut b = Bench::new(3, Config::FULL);
    let page = Page { output: 0xa000 };
    let _ = b.device.caches.ats_translate(5, None, 0x1000, &page);
    b.push(atc(5));
    b.push(SYNC);
    b.consume();
    b.perform(Action::Unsupported(1));
    b.run();
    assert_eq!(b.cons(), 2);
    assert_eq!(b.device.caches.atc.len(), 1);
}

#[test]
fn without_smmuen_an_atc_inv_is_ignored_but_its_encoding_is_not() {
    let mut b = Bench::new(3, Config::FULL);
    b.device.write(Register::CR0, CR0_CMDQEN.into()).expect("nothing is pending");
    // Until it is acknowledged, the old value is in effect.
    b.push(atc(5));
    b.consume();
    assert_eq!(b.device.begun().len(), 1);
    b.perform(Action::AcknowledgeCr0);
    b.run();
    b.push(atc(5));
    b.push(va(1, 0x1000));
    b.consume();
    assert_eq!((b.cons(), b.device.begun().len()), (3, 1));
    let too_long = fields(Op::ATC_INV, &[(field::ATC_SIZE, 53)]);
    b.push(too_long);
    b.consume();
    assert_eq!(b.cons(), 0x0100_0003, "ILL wins over ignored");
}

#[test]
fn cmdqen_stops_and_starts() {
    let mut b = Bench::new(2, Config::FULL);
    b.device.write(Register::CR0, CR0_SMMUEN.into()).expect("nothing is pending");
    b.push(va(1, 0x1000));
    assert_eq!(b.device.actions(), [Action::AcknowledgeCr0]);
    b.perform(Action::AcknowledgeCr0);
    assert_eq!(b.device.actions(), []);
    b.device.write(Register::CR0, (CR0_SMMUEN | CR0_CMDQEN).into()).expect("acknowledged");
    assert_eq!(b.device.actions(), [Action::AcknowledgeCr0]);
    b.perform(Action::AcknowledgeCr0);
    b.run();
    assert_eq!(b.cons(), 1);
}

#[test]
fn an_enabled_queue_in_an_illegal_state_consumes_nothing() {
    let mut device = Device::new(Config::FULL);
    device.write(Register::CMDQ_BASE, 0x8000_0002).expect("off");
    device.write(Register::CMDQ_PROD, 2).expect("off");
    device.write(Register::CMDQ_CONS, 3).expect("off");
    device.write(Register::CR0, CR0_CMDQEN.into()).expect("nothing is pending");
    let mut world = World { ring: vec![[0; 2]; 4], ..World::default() };
    device.perform(Action::AcknowledgeCr0, &mut world).expect("pending");
    assert_eq!(device.actions(), []);
}

#[test]
fn completion_signals() {
    let msi = |cs| {
        Command::sync(cs)
            .with(field::SYNC_MSIADDR, 0x8000_0010)
            .and_then(|c| c.with(field::SYNC_MSIDATA, 0x55))
            .and_then(|c| c.with(field::SYNC_MSH, 3))
            .and_then(|c| c.with(field::SYNC_MSIATTR, 0xf))
            .expect("all of them fit")
    };
    let with = |feature| Config::FULL.with_features(Config::FULL.features.without(feature));
    let cases: &[(Command, Config, &[&str])] = &[
        (SYNC, Config::FULL, &["Cons(1)"]),
        (Command::sync(Cs::Irq), Config::FULL, &["Cons(1)", "SyncIrq"]),
        (msi(Cs::Irq), with(Feature::Msi), &["Cons(1)", "SyncIrq"]),
        // Who sees the MSI sees CONS: it moved before.
        (
            msi(Cs::Irq),
            Config::FULL,
            &[
                "Cons(1)",
                "Msi { address: 80000010, data: 55, \
          shareability: 3, attributes: f }",
            ],
        ),
        (Command::sync(Cs::Sev), Config::FULL, &["Cons(1)", "SyncSev"]),
        (Command::sync(Cs::Sev), with(Feature::Sev), &["Cons(1)"]),
        (msi(Cs::None), Config::FULL, &["Cons(1)"]),
    ];
    for (sync, config, effects) in cases {
        let mut b = Bench::new(2, *config);
        b.push(*sync);
        b.consume();
        assert_eq!(b.take_effects(), *effects, "{sync}");
    }
    // An aborted MSI is flagged; the SYNC is complete, and the queue goes on.
    let mut b = Bench::new(2, Config::FULL);
    b.world.msi_aborts = true;
    b.push(msi(Cs::Irq));
    b.push(SYNC);
    b.consume();
    assert_eq!(b.cons(), 2);
    assert_eq!(b.device.registers().gerror.active(), GERROR_MSI_CMDQ_ABT);
}

#[test]
fn the_msi_of_linux_overwrites_its_own_slot() {
    let mut b = Bench::new(2, Config::FULL);
    b.push(va(1, 0x1000));
    let slot = b.device.base().slot(1);
    b.push(Command::sync(Cs::Irq).with(field::SYNC_MSIADDR, slot).expect("it fits"));
    assert_ne!(b.world.ring[1][0] as u32, 0);
    b.run();
    assert_eq!(b.world.ring[1][0] as u32, 0);
    assert_eq!(b.cons(), 2);
}

#[test]
fn the_event_for_producers_comes_when_a_full_ring_has_room() {
    for (config, events) in [
        (Config::FULL, 1),
        (Config::FULL.with_features(Config::FULL.features.without(Feature::Sev)), 0),
    ] {
        let mut b = Bench::new(1, config);
        b.push(va(1, 0x1000));
        b.push(va(1, 0x2000));
        b.run();
        b.push(va(1, 0x3000));
        b.run();
        let seen = b.take_effects().iter().filter(|e| *e == "NotFullSev").count();
        assert_eq!(seen, events);
    }
}

#[test]
fn answers_to_stalls_are_not_waited_for() {
    let mut b = Bench::new(2, Config::FULL);
    b.push(fields(Op::PRI_RESP, &[(field::SID, 1), (field::PRI_RESP, 2)]));
    b.push(fields(Op::RESUME, &[(field::SID, 1), (field::RESUME_RESP, 1)]));
    b.push(SYNC);
    b.consume();
    assert_eq!((b.cons(), b.device.begun().len()), (3, 2));
}

#[test]
fn a_sync_waits_for_transactions_that_use_what_was_invalidated() {
    let page = Page { output: 0xa000 };
    let mut b = Bench::new(2, Config::FULL);
    let old = b.device.caches.begin(1, None, 0x1000, &page).expect("mapped");
    let other = b.device.caches.begin(1, None, 0x7000, &page).expect("mapped");
    b.push(va(1, 0x1000));
    b.push(SYNC);
    b.run();
    assert_eq!(b.cons(), 1);
    // One that began afterwards is not waited for.
    let new = b.device.caches.begin(1, None, 0x1000, &page).expect("mapped");
    assert!(b.device.caches.end(old) && !b.device.caches.end(old));
    b.consume();
    assert_eq!(b.cons(), 2);
    assert!(b.device.caches.end(new) && b.device.caches.end(other));
}

// -------------------------------------------------------------------------------------------
// Every order that the device may choose
// -------------------------------------------------------------------------------------------

/// Every address of every stream is in one block.
struct Page {
    output: u64,
}

impl Tables for Page {
    fn context(&self, _sid: u32, _ssid: Option<u32>) -> Option<Context> {
        Some(Context { stage: Stage::NhS1S2, vmid: 0, asid: 1 })
    }

    fn walk(&self, _context: Context, address: u64) -> Option<Walk> {
        let output = self.output + (address & !0xfff);
        Some(Walk { output, log2: 12, level: 3, global: false })
    }
}

/// Runs the commands in every order that the device may choose, with a DMA of an endpoint with
/// ATS before every action. Says whether it can go to the old page after the last command is
/// consumed, and in how many states the device can end.
fn stale_after(commands: &[Command]) -> (bool, usize) {
    let old = Page { output: 0xa000_0000 };
    let new = Page { output: 0xb000_0000 };
    let mut b = Bench::new(3, Config { fetch_ahead: 1, ..Config::FULL });
    let first = b.device.caches.ats_translate(5, None, 0x1000, &old);
    assert_eq!(first, Some(0xa000_1000));
    for command in commands {
        b.push(*command);
    }
    let mut todo = vec![(b.device, b.world)];
    let mut seen = BTreeSet::new();
    let (mut stale, mut ends) = (false, 0);
    while let Some((mut device, world)) = todo.pop() {
        if !seen.insert(format!("{device:?} {:?}", world.ring)) {
            continue;
        }
        // The page tables say `new` from the start; the endpoint may or may not use the address.
        let mut without = device.clone();
        let at = device.caches.ats_translate(5, None, 0x1000, &new);
        if device.consumed() == commands.len() as u32 {
            ends += 1;
            stale |= at == Some(0xa000_1000);
        }
        for device in [&mut device, &mut without] {
            for action in device.actions() {
                if matches!(action, Action::TimeOut(_) | Action::Unsupported(_)) {
                    continue;
                }
                let (mut device, mut world) = (device.clone(), world.clone());
                device.perform(action, &mut world).expect("it is possible");
                world.effects.clear();
                todo.push((device, world));
            }
        }
    }
    (stale, ends)
}

#[test]
fn tlbi_sync_atc_inv_sync_and_no_other_order() {
    let tlbi = va(1, 0x1000);
    let (stale, ends) = stale_after(&[tlbi, SYNC, atc(5), SYNC]);
    assert!(!stale && ends > 0);
    for (commands, why) in [
        (vec![tlbi, atc(5), SYNC], "the endpoint asks again before the TLBI has finished"),
        (vec![atc(5), SYNC, tlbi, SYNC], "the endpoint asks again before the TLBI"),
        (vec![tlbi, SYNC, atc(5)], "consumed is not complete"),
        (vec![tlbi, SYNC], "the endpoint's cache is its own"),
        (vec![va(2, 0x1000), SYNC, atc(5), SYNC], "another address space"),
        (vec![tlbi, SYNC, atc(6), SYNC], "another endpoint"),
    ] {
        let (stale, ends) = stale_after(&commands);
        assert!(stale && ends > 0, "{why}: {commands:?}");
    }
}

/// So many cases; what fails is printed and written nowhere.
fn cases(n: u32) -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(n) }
}

proptest! {
    #![proptest_config(cases(512))]

    /// A driver that produces at random and repairs as Linux does, a device that acts at random:
    /// every command begins once, in order, and is complete when its SYNC is consumed.
    #[test]
    fn in_order_once_and_complete(
        n in 0..=5u8,
        ahead in 1..6u8,
        in_flight in 1..6u8,
        dice in prop::collection::vec(any::<u16>(), 50..400),
    ) {
        let config = Config { fetch_ahead: ahead, in_flight, ..Config::FULL };
        let mut b = Bench::new(n, config);
        let ring = b.device.base().size;
        let mut sent: Vec<[u64; 2]> = Vec::new();
        let mut replaced = 0;
        for die in dice {
            let used = b.produced - u64::from(b.device.consumed());
            if die % 3 == 0 && used < u64::from(ring.entries()) {
                let words = match die / 3 % 8 {
                    0 => BAD,
                    1 | 2 => SYNC.words(),
                    3 => atc(u64::from(die)).words(),
                    _ => va(1, u64::from(die) << 12).words(),
                };
                sent.push(words);
                b.put(words);
                continue;
            }
            if b.device.registers().cmdq_err() {
                let at = b.device.consumed() as usize;
                let cons = b.device.registers().cons;
                prop_assert_eq!(cons, ring.at(at as u64));
                match b.device.registers().err {
                    Cerror::Ill => {
                        prop_assert_eq!(sent[at], BAD);
                        sent[at] = SYNC.words();
                        b.world.ring[ring.slot(cons) as usize] = SYNC.words();
                        replaced += 1;
                    }
                    Cerror::AtcInvSync => prop_assert_eq!(sent[at], SYNC.words()),
                    other => prop_assert!(false, "{other:?}"),
                }
                b.acknowledge();
                continue;
            }
            let actions = b.device.actions();
            let Some(action) = actions.get(usize::from(die / 3) % actions.len().max(1)) else {
                continue;
            };
            let before = b.device.consumed() as usize;
            let begun: Vec<u32> = b.device.begun().iter().map(|b| b.number).collect();
            let gated: Vec<u32> = begun.clone();
            b.perform(*action);
            if b.device.consumed() as usize == before + 1 {
                if sent[before] == SYNC.words() {
                    prop_assert_eq!(gated.len(), 0, "everything before it is complete");
                } else {
                    let last = b.device.begun().last().expect("it was begun");
                    prop_assert_eq!(last.command.words(), sent[before]);
                    prop_assert_eq!(last.number as usize, before + 1);
                }
            }
        }
        let cons = b.device.registers().cons;
        prop_assert_eq!(cons, ring.at(b.device.consumed().into()));
        let bad = sent[b.device.consumed() as usize..].iter().filter(|w| **w == BAD).count();
        let done = &sent[..b.device.consumed() as usize];
        let consumed_bad = done.iter().filter(|w| **w == BAD).count();
        prop_assert_eq!(consumed_bad, 0, "{} were replaced, {} are to come", replaced, bad);
    }
}
