//! What the checks know: counters that never wrap, and who is where. The invariants I1 to I13 of
//! reference/smmuv3.md 3.5 are checked here, at the access that can break them.
//!
//! Nothing of this is visible to the driver's text or to the SMMU, and nothing of it is a step. But a
//! check at one word may depend on what happened at another one, and an explorer tries both orders
//! of two steps only if they touch something in common: so what such a check looks at is a
//! [`Fact`], which the step is announced with. In a text that is right the accesses order all of them
//! already, so there it costs no execution.

use std::ops::Range;

use uapi::queue::Queue;
use uapi::splat::Kind;
use uapi::step::{Access, Cpu, Mode, Site, CPUS_MAX};

use crate::arm_smmu_v3::cmdq::Cmdq;
use crate::arm_smmu_v3::llq::Shape;
use crate::arm_smmu_v3::repeat::is_cfgi_or_tlbi;
use crate::arm_smmu_v3::revision::Cmds;
use crate::linux::atomic;
use crate::sync;

/// What a check at one word knows from steps on other words.
///
/// The other checks need none. I5, I9, I10 and the laps of the texts with one word for `llq` are
/// about steps on one word. Who writes a slot too early (I1), and who is published too early and read
/// too early (I2), meets the SMMU at the slot itself. What has to do with power (B18) meets the registers, which
/// are written when it goes. What is looked at when nobody runs has no order.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fact {
    /// Somebody publishes. (I4)
    Publisher,
    /// The entry at this position may be covered by PROD. (I3)
    Valid,
    /// The SMMU has moved CONS past this position. (I6, I7)
    Consumed,
    /// The CMD_SYNC at this position is waited for. (I8)
    Waiting,
}

/// How many.
const FACTS: u32 = Fact::Waiting as u32 + 1;

/// One entry that somebody put, or is about to put, into the ring.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Whose.
    pub cpu: Cpu,
    /// Counts the entries of this CPU.
    pub number: u32,
    /// The command.
    pub words: [u64; 2],
    /// Where the CAS put it, un-wrapped.
    pub position: u64,
}

/// The call that a CPU is in.
#[derive(Clone, Copy, Default, Debug)]
struct Call {
    /// Its first position.
    base: u64,
    /// Number of its first entry.
    first: usize,
    /// Number of entries.
    k: u32,
}

/// What an IOMMU_HWPT_INVALIDATE answered.
#[derive(Clone, Copy, Debug)]
struct Handled {
    cpu: Cpu,
    /// The entries from here on are later than the call's begin.
    first: usize,
    /// And those from here on later than its end.
    end: usize,
    entry_num: u32,
}

/// See the head of the module.
#[derive(Default)]
pub struct Ghost {
    shape_entries: u64,
    /// The first of the objects that stand for the facts.
    facts: u32,
    /// Every entry, by number.
    pub entries: Vec<Entry>,
    start: u64,
    /// llq.prod.
    allocated: u64,
    /// How far lists have space in the ring, where they look for it after they were allocated.
    granted: Option<u64>,
    /// llq.cons.
    llq_cons: u64,
    /// PROD as written.
    prod: u64,
    /// CONS.
    consumed: u64,
    /// Past the last SYNC that is complete.
    completed: u64,
    /// By position from `start`.
    made_valid: Vec<bool>,
    /// The text has bits that say so.
    has_valid_map: bool,
    publisher: Option<Cpu>,
    calls: [Call; CPUS_MAX],
    numbers: [u32; CPUS_MAX],
    /// In a batch of which every list must end with a CMD_SYNC.
    forced: [bool; CPUS_MAX],
    /// Its last list did not.
    unfinished: [bool; CPUS_MAX],
    /// The position of the SYNC that a CPU waits for.
    waiting: [Option<u64>; CPUS_MAX],
    holders: i64,
    wants_shared: [bool; CPUS_MAX],
    /// The last entry of each CPU that was consumed.
    last_consumed: [Option<u32>; CPUS_MAX],
    skipped: Option<u64>,
    /// The position of every command that the handler of a command error replaced.
    replaced: Vec<u64>,
    handled: Vec<Handled>,
    /// The SMMU has stopped for good.
    dead: bool,
    /// The SMMU has no power.
    is_off: bool,
    /// How often others have come before a CPU that waits for the shared lock.
    overtaken: [u32; CPUS_MAX],
    /// The commands of every CPU in the order of its calls.
    asked: [Vec<[u64; 2]>; CPUS_MAX],
}

impl Ghost {
    /// Before the first step.
    pub fn new(program: &Queue, shape: Shape) -> Ghost {
        let start = u64::from(program.start);
        let [facts, ..] = [(); FACTS as usize].map(|()| sync::object());
        Ghost {
            shape_entries: shape.entries().into(),
            facts,
            start,
            allocated: start,
            llq_cons: start,
            prod: start,
            consumed: start,
            completed: start,
            ..Ghost::default()
        }
    }

    /// The CPU of every entry that the SMMU has consumed, in order.
    pub fn log(&self) -> Vec<i64> {
        let consumed = self.entries.iter().filter(|e| e.position < self.consumed);
        consumed.map(|e| i64::from(e.cpu)).collect()
    }

    /// The last entry of this CPU's call, if it has put one into the ring.
    fn last_of_call(&self) -> Range<u64> {
        let Call { base, k, .. } = self.calls[me()];
        base + u64::from(k).saturating_sub(1)..base + u64::from(k)
    }

    fn slot(&self, position: u64) -> u64 {
        position % self.shape_entries
    }
}

fn me() -> usize {
    usize::from(sync::current())
}

/// A broken invariant ends the execution: what follows is not the driver's doing any more.
fn broken(at: Site, text: String) -> ! {
    sync::stop(Kind::Invariant, at, format!("cmdq: {text}"))
}

impl Cmdq {
    fn check(&self, at: Site, f: impl FnOnce(&mut Ghost) -> Result<(), String>) {
        if let Some(Err(text)) = self.ghost.with(f) {
            broken(at, text);
        }
    }

    /// The un-wrapped position of an index, which is at most a lap away from `near` in either
    /// direction; negative: behind it.
    fn ahead(&self, near: u64, index: u32) -> i64 {
        let entries = i64::from(self.shape.entries());
        let near = self.shape.pos((near & 0xffff_ffff) as u32);
        let d = i64::from(self.shape.pos(index.wrapping_sub(near)));
        if d > entries {
            d - 2 * entries
        } else {
            d
        }
    }

    /// The next access is announced with this fact, too, at the positions that `f` gives.
    fn also(&self, fact: Fact, mode: Mode, f: impl FnOnce(&Ghost) -> Range<u64>) {
        let access = self.ghost.with(|g| {
            let Range { start: key, end } = f(g);
            let len = end.saturating_sub(key).min(u64::from(u32::MAX - 1)) as u32;
            (len > 0).then_some(Access { obj: g.facts + fact as u32, len, key, mode })
        });
        if let Some(access) = access.flatten() {
            atomic::also(access);
        }
    }

    /// With the next access this CPU begins or ceases to publish.
    pub fn will_publish_or_cease(&self) {
        self.also(Fact::Publisher, Mode::Write, |_| 0..1);
    }

    /// The next access makes some of this CPU's slots valid.
    pub fn will_make_valid(&self, done: u32, bits: u32) {
        self.also(Fact::Valid, Mode::Write, |g| {
            let from = g.calls[me()].base + u64::from(done);
            from..from + u64::from(bits)
        });
    }

    /// The next access is PROD.
    pub fn will_write_prod(&self, prod: u32) {
        self.also(Fact::Valid, Mode::Read, |g| {
            g.prod..g.prod.saturating_add_signed(self.ahead(g.prod, prod).max(0))
        });
    }

    /// The next access moves CONS.
    pub fn will_consume(&self) {
        self.also(Fact::Consumed, Mode::Write, |g| g.consumed..g.consumed + 1);
    }

    /// With the next access this CPU sees that its call is complete.
    pub fn will_see_sync(&self) {
        self.also(Fact::Consumed, Mode::Read, |g| g.last_of_call());
    }

    /// And ceases to wait for the CMD_SYNC at its end.
    pub fn will_cease_to_wait(&self) {
        self.also(Fact::Waiting, Mode::Write, |g| g.last_of_call());
    }

    /// The next access is llq.cons.
    pub fn will_write_llq_cons(&self, cons: u32) {
        let to = |g: &Ghost| g.llq_cons.saturating_add_signed(self.ahead(g.llq_cons, cons).max(0));
        self.also(Fact::Consumed, Mode::Read, |g| to(g).saturating_sub(1).max(g.start)..to(g));
        self.also(Fact::Waiting, Mode::Read, |g| g.llq_cons..to(g));
    }

    /// The CAS on llq succeeded: `prod` was its old value. (I5, I7, I8)
    pub fn allocated(&self, at: Site, prod: u32, cmds: &Cmds, sync: Option<[u64; 2]>) {
        let (me, k) = (me(), cmds.len() as u32 + u32::from(sync.is_some()));
        self.check(at, |g| {
            let base = g.allocated;
            if self.ahead(base, prod) != 0 {
                let is = self.shape.pos(prod);
                return Err(format!(
                    "the entries of a list are not where its CAS put them: {is} instead of {base}"
                ));
            }
            if g.forced[me] && std::mem::replace(&mut g.unfinished[me], sync.is_none()) {
                return Err(format!("CPU {me} issues two lists without a CMD_SYNC between them"));
            }
            g.calls[me] = Call { base, first: g.entries.len(), k };
            for (words, i) in cmds.iter().copied().chain(sync).zip(0u64..) {
                let number = g.numbers[me];
                g.numbers[me] += 1;
                let position = base + i;
                g.entries.push(Entry { cpu: me as Cpu, number, words, position });
                g.made_valid.push(false);
            }
            g.allocated += u64::from(k);
            g.laps()
        });
    }

    /// A list that is allocated without a look at the space has space now, up to its end. (I7, I8)
    pub fn has_space(&self, at: Site) {
        let me = me();
        self.check(at, |g| {
            let end = g.calls[me].base + u64::from(g.calls[me].k);
            g.granted = g.granted.max(Some(end));
            g.laps()
        });
    }

    /// A batch begins, in which every list ends with a CMD_SYNC if `forced`. (B8)
    pub fn begins_batch(&self, forced: bool) -> usize {
        let began = self.ghost.with(|g| {
            let me = me();
            (g.forced[me], g.unfinished[me]) = (forced, false);
            g.entries.len()
        });
        began.unwrap_or_default()
    }

    /// It returns, and so do its commands, which are the CPU's entries from `first` on. (I6)
    pub fn returns_from_batch(&self, at: Site, first: usize) {
        let (me, queue) = (sync::current(), self.number);
        self.check(at, |g| {
            let mine = || g.entries[first..].iter().filter(|e| e.cpu == me && is_of_driver(e));
            let late = mine().filter(|e| e.position >= g.completed).count();
            if late > 0 {
                return Err(format!(
                    "CPU {me} returns from its batch, of which {late} entries in queue {queue} \
                     are not complete"
                ));
            }
            let is_dropped = |e: &&Entry| !is_sync(e) && g.replaced.contains(&e.position);
            let dropped = mine().filter(is_dropped).count();
            if dropped > 0 {
                return Err(format!(
                    "CPU {me} returns from its batch, of which {dropped} entries in queue \
                     {queue} were replaced by a CMD_SYNC"
                ));
            }
            Ok(())
        });
    }

    /// A call that waited for its commands, this CPU's entries from `first` on, returns. On an SMMU
    /// with erratum T264-SMMU-3 each CFGI and TLBI must have run before and after a CMD_SYNC. (B15)
    pub fn has_repeated(&self, at: Site, first: usize) {
        if !self.program.repeat_tlbi_cfgi {
            return;
        }
        let me = sync::current();
        self.check(at, |g| {
            let mine = || g.entries[first..].iter().filter(|e| e.cpu == me);
            let syncs_before =
                |e: &Entry| mine().filter(|s| is_sync(s) && s.position < e.position).count();
            let ran_again = |e: &Entry| {
                mine().any(|other| other.words == e.words && syncs_before(other) != syncs_before(e))
            };
            let once = mine().filter(|e| is_cfgi_or_tlbi(e.words) && !ran_again(e)).count();
            match once {
                0 => Ok(()),
                _ => Err(format!(
                    "CPU {me} returns, and {once} of its invalidations ran once on an SMMU that \
                     needs two"
                )),
            }
        });
    }

    /// The number of the i-th entry of this CPU's call, and what stands for it in the ring.
    pub fn entry_for(&self, i: u32) -> (usize, u64) {
        let entry = self.ghost.with(|g| {
            let number = g.calls[me()].first + i as usize;
            (number, slot_word(number, g.entries[number].words))
        });
        entry.unwrap_or_default()
    }

    /// An entry is written into its slot. (I1)
    pub fn written(&self, at: Site, entry: usize) {
        self.check(at, |g| {
            let p = g.entries[entry].position;
            if p >= g.consumed + g.shape_entries {
                let slot = g.slot(p);
                return Err(format!(
                    "slot {slot} is written before the SMMU has read what was in it"
                ));
            }
            Ok(())
        });
    }

    /// This CPU's call has a SYNC as its n-th entry, which it will wait for.
    pub fn waits_for_sync(&self, _at: Site, n: u32) {
        self.ghost.with(|g| g.waiting[me()] = Some(g.calls[me()].base + u64::from(n)));
    }

    /// The valid bits of some of this CPU's slots were toggled.
    pub fn made_valid(&self, done: u32, bits: u32) {
        self.ghost.with(|g| g.has_valid_map = true);
        self.whole(done, bits);
    }

    /// Some of this CPU's entries stand in their slots, and PROD may cover them.
    pub fn whole(&self, done: u32, bits: u32) {
        self.ghost.with(|g| {
            let from = (g.calls[me()].base - g.start) as usize + done as usize;
            let to = (from + bits as usize).min(g.made_valid.len());
            g.made_valid[from.min(to)..to].fill(true);
        });
    }

    /// This CPU has cleared the owner's flag. (I4)
    pub fn becomes_owner(&self, at: Site) {
        self.check(at, |g| match g.publisher.replace(sync::current()) {
            None => Ok(()),
            Some(other) => {
                let me = sync::current();
                Err(format!("CPU {me} becomes owner while CPU {other} is publishing"))
            }
        });
    }

    /// PROD was written. (I3, B18)
    pub fn prod_written(&self, at: Site, prod: u32) {
        self.check(at, |g| {
            if g.is_off {
                let me = me();
                return Err(format!("CPU {me} writes PROD of an SMMU that has no power"));
            }
            let ahead = self.ahead(g.prod, prod);
            let to = g.prod as i64 + ahead;
            if ahead < 0 {
                return Err(format!("PROD moves back from {} to {to}", g.prod));
            }
            let covered = g.prod - g.start..to as u64 - g.start;
            for p in covered {
                if g.made_valid.get(p as usize) != Some(&true) {
                    let slot = g.slot(p + g.start);
                    return Err(format!("PROD covers slot {slot}, which is not valid yet"));
                }
            }
            g.prod = to as u64;
            Ok(())
        });
    }

    /// This CPU has handed ownership on.
    pub fn owner_done(&self) {
        self.ghost.with(|g| g.publisher = None);
    }

    /// llq.cons was written. (I7, I8)
    pub fn llq_cons_written(&self, at: Site, cons: u32) {
        self.check(at, |g| {
            // What was read may be a whole lap old by now, and no more.
            let consumed = (g.consumed & 0xffff_ffff) as u32;
            let behind = u64::from(self.shape.pos(consumed.wrapping_sub(cons)));
            if behind > g.shape_entries {
                let to = g.consumed + 2 * g.shape_entries - behind;
                return Err(format!("llq.cons {to} is ahead of the SMMU's CONS {}", g.consumed));
            }
            g.llq_cons = g.consumed.saturating_sub(behind);
            let passed =
                |(cpu, p): (usize, &Option<u64>)| p.is_some_and(|p| g.llq_cons > p).then_some(cpu);
            if let Some(cpu) = g.waiting.iter().enumerate().find_map(passed) {
                return Err(format!("llq.cons passes the CMD_SYNC that CPU {cpu} still waits for"));
            }
            g.laps()
        });
    }

    /// This CPU has seen that its SYNC is done. (I6)
    pub fn sync_is_complete(&self, at: Site) {
        let me = me();
        self.check(at, |g| {
            g.waiting[me] = None;
            let end = g.calls[me].base + u64::from(g.calls[me].k);
            if g.completed < end {
                return Err(format!("CPU {me} returns from its CMD_SYNC, which is not complete"));
            }
            Ok(())
        });
    }

    /// A wait was given up. That is right only if the SMMU is dead. (I10)
    pub fn times_out(&self, at: Site) {
        let me = me();
        self.check(at, |g| {
            g.waiting[me] = None;
            match g.dead {
                true => Ok(()),
                false => Err(format!("CPU {me} times out although the SMMU consumes")),
            }
        });
    }

    /// It was for space: the first "CMDQ timeout" is what can be seen of a dead SMMU, and the same
    /// message follows. (B14)
    pub fn cmdq_timeout(&self, at: Site) {
        let me = me();
        self.check(at, |_| {
            Err(format!("CMDQ timeout: CPU {me} waits for space, and the SMMU is dead"))
        });
    }

    /// The SMMU has lost its power. (B18)
    pub fn has_lost_power(&self, at: Site) {
        self.check(at, |g| {
            g.is_off = true;
            match g.allocated - g.consumed {
                0 => Ok(()),
                n => Err(format!("the SMMU is switched off with {n} commands in the ring")),
            }
        });
    }

    /// It has power again.
    pub fn has_power_again(&self) {
        self.ghost.with(|g| g.is_off = false);
    }

    /// This CPU has read CONS. (B18)
    pub fn has_read_cons(&self, at: Site) {
        let me = me();
        self.check(at, |g| match g.is_off {
            true => Err(format!("CPU {me} reads CONS of an SMMU that has no power")),
            false => Ok(()),
        });
    }

    /// A call of this CPU begins, with these commands. (I13)
    pub fn is_asked(&self, cmds: &Cmds) {
        self.ghost.with(|g| g.asked[me()].extend_from_slice(cmds));
    }

    /// This CPU has counted so many in, and holds the lock for them or has to wait.
    pub fn asks_for_shared(&self, held: bool, n: u64) {
        self.ghost.with(|g| match held {
            true => g.holders += n as i64,
            false => (g.wants_shared[me()], g.overtaken[me()]) = (true, 0),
        });
    }

    /// This CPU's wait for the shared lock is over, on behalf of so many.
    pub fn has_shared(&self, n: u64) {
        self.ghost.with(|g| {
            g.wants_shared[me()] = false;
            g.holders += n as i64;
        });
    }

    /// This CPU counted itself out; the lock was `old`. (I9)
    pub fn gave_shared_back(&self, at: Site, old: u64) {
        self.check(at, |g| {
            let counted = old as i64;
            if counted < g.holders || g.holders < 1 {
                let holders = g.holders;
                return Err(format!("the lock counts {counted} holders, there are {holders}"));
            }
            g.holders -= 1;
            Ok(())
        });
    }

    /// This CPU took the lock exclusively. (I9, I10)
    pub fn has_exclusive(&self, at: Site) {
        self.check(at, |g| {
            if g.holders != 0 {
                let holders = g.holders;
                return Err(format!("the lock counts 0 holders, there are {holders}"));
            }
            for cpu in (0..CPUS_MAX).filter(|cpu| g.wants_shared[*cpu]) {
                g.overtaken[cpu] += 1;
                if g.overtaken[cpu] > self.program.overtaken_max.into() {
                    return Err(format!("CPU {cpu} waits for the shared lock and is overtaken"));
                }
            }
            Ok(())
        });
    }

    /// The SMMU reads a slot: the command in it. (I2, I12)
    pub fn fetched(&self, at: Site, slot: u32, entry: atomic::Entry) -> [u64; 2] {
        let mut words = entry.words;
        self.check(at, |g| {
            let entry = (entry.tag >> 32).checked_sub(1).and_then(|n| g.entries.get(n as usize));
            let Some(entry) = entry.filter(|e| e.position == g.consumed) else {
                return Err(format!(
                    "the SMMU reads slot {slot}, which does not hold the entry of this lap"
                ));
            };
            words = entry.words;
            let is_sync = words[0] & 0xff == smmuv3::Op::SYNC as u64;
            if g.skipped.take() == Some(g.consumed) && !is_sync {
                let what = "after an illegal command the SMMU consumes something else than";
                return Err(format!("{what} a CMD_SYNC"));
            }
            Ok(())
        });
        words
    }

    /// The SMMU moves CONS past the command at it. (I13)
    pub fn consumed(&self, at: Site, slot: u32, was_sync: bool) {
        self.check(at, |g| {
            let number = (self.ring[slot as usize].first().peek() >> 32) as usize;
            g.consumed += 1;
            if was_sync {
                g.completed = g.consumed;
            }
            let Some(entry) = number.checked_sub(1).and_then(|n| g.entries.get(n)) else {
                return Ok(());
            };
            let (cpu, this) = (entry.cpu, entry.number);
            match g.last_consumed[usize::from(cpu)].replace(this) {
                Some(last) if last >= this => {
                    Err(format!("CPU {cpu}'s command {this} comes after its command {last}"))
                }
                _ => Ok(()),
            }
        });
    }

    /// The handler of a command error replaces the command at CONS. Gives what goes into its slot.
    pub fn skipped(&self, words: [u64; 2]) -> u64 {
        let tag = self.ghost.with(|g| {
            g.skipped = Some(g.consumed);
            g.replaced.push(g.consumed);
            let position = g.consumed;
            let old = g.entries.iter().find(|e| e.position == position).copied();
            let (cpu, number) = old.map_or((0, 0), |e| (e.cpu, e.number));
            g.entries.push(Entry { cpu, number, words, position });
            slot_word(g.entries.len() - 1, words)
        });
        tag.unwrap_or_default()
    }

    /// Whether the SMMU has stopped for good.
    pub fn is_dead(&self, dead: bool) {
        self.ghost.with(|g| g.dead |= dead);
    }

    /// The SMMU refuses what it sees in PROD. (I3)
    pub fn bad_prod(&self, at: Site, misuse: smmuv3::Misuse) {
        broken(
            at,
            match misuse {
                smmuv3::Misuse::ProdBackwards { from, to } => {
                    format!("PROD moves back from {from} to {to}")
                }
                smmuv3::Misuse::IllegalIndexes { prod, cons } => {
                    format!("PROD {prod} with CONS {cons} is no state of the ring")
                }
                other => format!("{other}"),
            },
        )
    }

    /// A call begins: where its entries will be.
    pub fn begins(&self) -> usize {
        self.ghost.with(|g| g.entries.len()).unwrap_or_default()
    }

    /// It is about to answer, with this number of handled commands. (B17)
    pub fn invalidated(&self, first: usize, entry_num: u32) {
        let cpu = sync::current();
        self.ghost.with(|g| {
            let end = g.entries.len();
            g.handled.push(Handled { cpu, first, end, entry_num });
        });
    }

    /// When nobody runs any more: what user space was told is what happened. (B17)
    fn check_handled(&self) {
        let judged = |g: &mut Ghost| {
            g.handled.iter().map(|call| (*call, g.reached(*call))).collect::<Vec<_>>()
        };
        for (call, (reached, replaced)) in self.ghost.with(judged).into_iter().flatten() {
            let told = format!("cmdq: entry_num says that {} commands were", call.entry_num);
            if call.entry_num > reached {
                let text = format!("{told} handled, {reached} of them reached the ring");
                sync::splat_at_exit(Kind::Invariant, text);
            } else if replaced != 0 {
                let text =
                    format!("{told} handled, {replaced} of them were replaced by a CMD_SYNC");
                sync::splat_at_exit(Kind::Invariant, text);
            }
        }
    }

    /// When nobody runs any more: the commands of each CPU have been consumed in the order of its
    /// calls. Between queues there is no order, and a dead SMMU consumes nothing more. (I13)
    fn check_order(&self) {
        if self.program.secondary.is_some() {
            return;
        }
        let late = self.ghost.with(|g| {
            let out_of_order = |cpu: &usize| !g.dead && !g.is_in_order(*cpu);
            (0..CPUS_MAX).find(out_of_order)
        });
        if let Some(cpu) = late.flatten() {
            let text = format!(
                "cmdq: CPU {cpu}'s commands reach the SMMU in another order than it issued them"
            );
            sync::splat_at_exit(Kind::Invariant, text);
        }
    }

    /// When nobody runs any more. (I9, I11, I13)
    pub fn quiescent(&self) {
        self.check_handled();
        self.check_order();
        let splat = |text: String| {
            sync::splat_at_exit(Kind::Invariant, format!("cmdq: {text}"));
        };
        let known = self.ghost.with(|g| (g.allocated, g.dead, g.has_valid_map));
        let Some((allocated, dead, has_valid_map)) = known else { return };
        if self.lock.peek() != 0 && !dead {
            splat(format!("the lock counts {} holders, there are 0", self.lock.peek() as i64));
        }
        if !has_valid_map {
            return;
        }
        for slot in 0..self.shape.entries() {
            let entries = u64::from(self.shape.entries());
            let laps = (allocated + entries - 1 - u64::from(slot)) / entries;
            let word = self.valid_map[(slot / self.shape.word) as usize].peek();
            if word >> (slot % self.shape.word) & 1 != laps & 1 {
                splat(format!("the valid bit of slot {slot} is not that of the last lap"));
                return;
            }
        }
    }
}

impl Ghost {
    /// Of the commands that a call counts: how many are in the ring, and how many were replaced.
    fn reached(&self, call: Handled) -> (u32, u32) {
        let of_call = self.entries[call.first..call.end].iter();
        let commands = of_call.filter(|e| e.cpu == call.cpu && !is_sync(e));
        let counted: Vec<u64> =
            commands.take(call.entry_num as usize).map(|e| e.position).collect();
        let replaced = counted.iter().filter(|p| self.replaced.contains(p)).count();
        (counted.len() as u32, replaced as u32)
    }

    /// Whether what a CPU asked for is in the ring in that order. Some of it may be there twice.
    fn is_in_order(&self, cpu: usize) -> bool {
        let mut own: Vec<&Entry> =
            self.entries.iter().filter(|e| usize::from(e.cpu) == cpu && !is_sync(e)).collect();
        own.sort_by_key(|e| e.position);
        let mut own = own.into_iter();
        self.asked[cpu].iter().all(|words| own.any(|e| e.words == *words))
    }

    /// I7 and I8: nobody is more than a lap ahead.
    fn laps(&self) -> Result<(), String> {
        let used = self.granted.unwrap_or(self.allocated);
        if used > self.llq_cons + self.shape_entries {
            return Err("llq.prod is more than a lap ahead of llq.cons".to_string());
        }
        // Indexes tell one lap from the next, and no more.
        if self.allocated >= self.llq_cons + 2 * self.shape_entries {
            return Err("llq.prod is two laps ahead of llq.cons".to_string());
        }
        let lapped = |(cpu, p): (usize, &Option<u64>)| {
            p.is_some_and(|p| used > p + self.shape_entries).then_some(cpu)
        };
        match self.waiting.iter().enumerate().find_map(lapped) {
            None => Ok(()),
            Some(cpu) => Err(format!("llq.prod laps the CMD_SYNC that CPU {cpu} waits for")),
        }
    }
}

fn is_sync(e: &Entry) -> bool {
    e.words[0] & 0xff == smmuv3::Op::SYNC as u64
}

/// Whether it is a command that exists, and not the CMD_SYNC of the error handler.
fn is_of_driver(e: &Entry) -> bool {
    smmuv3::Op::from_bits((e.words[0] & 0xff) as u8).is_some()
}

/// See [`Cmdq::ring`].
fn slot_word(number: usize, words: [u64; 2]) -> u64 {
    (number as u64 + 1) << 32 | words[0] & 0xffff_ffff
}
