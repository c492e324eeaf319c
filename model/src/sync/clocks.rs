//! What is ordered: vector clocks over the steps of one execution.
//!
//! KCSAN (`linux/kcsan.rs`) asks them whether something ordered two plain accesses. It rarely has
//! two to ask about, so steps are only written down here, and the clocks are reckoned when it asks.

use std::collections::BTreeSet;

use uapi::program::Orders;
use uapi::step::{Access, Counter, Cpu, Mode, CPUS_MAX};

/// How many steps of each CPU a CPU has in its past, itself included.
type Clock = [u32; CPUS_MAX];

fn join(into: &mut Clock, from: &Clock) {
    for (a, b) in into.iter_mut().zip(from) {
        *a = (*a).max(*b);
    }
}

/// A step of a CPU.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Moment {
    cpu: Cpu,
    /// How many entries of the log end with it.
    end: usize,
}

/// What happened, in its order.
enum Entry {
    Step {
        cpu: Cpu,
        /// How many of the accesses are its own. None for a plain access.
        accesses: usize,
        /// What it did to a counter, if it did something.
        counter: Option<Counter>,
    },
    Unlocked {
        cpu: Cpu,
        obj: u32,
        key: u64,
    },
}

/// The steps of an execution while its CPUs run.
#[derive(Default)]
pub(super) struct Clocks {
    log: Vec<Entry>,
    accesses: Vec<Access>,
}

impl Clocks {
    /// `cpu` has made a step. `orders` is false for a plain access: two of them that only each
    /// other orders race.
    pub(super) fn step(
        &mut self,
        cpu: Cpu,
        orders: bool,
        accesses: &[Access],
        counter: Option<Counter>,
    ) {
        let accesses = if orders { accesses } else { &[] };
        self.accesses.extend_from_slice(accesses);
        self.log.push(Entry::Step { cpu, accesses: accesses.len(), counter });
    }

    /// `cpu` gives back a lock that it took with this key.
    pub(super) fn unlocked(&mut self, cpu: Cpu, obj: u32, key: u64) {
        self.log.push(Entry::Unlocked { cpu, obj, key });
    }

    /// The last step of `cpu`.
    pub(super) fn now(&self, cpu: Cpu) -> Moment {
        Moment { cpu, end: self.log.len() }
    }

    /// Which of these pairs of moments, the earlier first, nothing orders.
    pub(super) fn unordered(&self, pairs: &[(Moment, Moment)], orders: Orders) -> Vec<bool> {
        let mut ends: Vec<usize> = pairs.iter().flat_map(|(a, b)| [a.end, b.end]).collect();
        ends.sort_unstable();
        ends.dedup();
        let pasts = self.pasts(&ends, orders);
        let past = |m: &Moment| ends.binary_search(&m.end).ok().and_then(|i| pasts.get(i));
        let is_unordered = |a: &Moment, b: &Moment| match (past(a), past(b)) {
            (Some(then), Some(now)) => {
                let (one, other) = (usize::from(a.cpu), usize::from(b.cpu));
                then[one][one] > now[other][one]
            }
            _ => false,
        };
        pairs.iter().map(|(a, b)| is_unordered(a, b)).collect()
    }

    /// The clocks of all CPUs after each of these numbers of entries, which ascend.
    fn pasts(&self, ends: &[usize], orders: Orders) -> Vec<[Clock; CPUS_MAX]> {
        let mut replay = Replay::default();
        if orders == Orders::Strict {
            let counter = |entry: &Entry| match *entry {
                Entry::Step { counter: Some(Counter { obj, .. }), .. } => Some(obj),
                _ => None,
            };
            replay.as_written = self.log.iter().filter_map(counter).collect();
        }
        let mut pasts = Vec::new();
        let mut accesses = self.accesses.as_slice();
        for (i, entry) in self.log.iter().enumerate() {
            while ends.get(pasts.len()) == Some(&i) {
                pasts.push(replay.cpus);
            }
            match *entry {
                Entry::Step { cpu, accesses: n, counter } => {
                    let (own, rest) = accesses.split_at(n);
                    accesses = rest;
                    replay.step(cpu, own, counter);
                }
                Entry::Unlocked { cpu, obj, key } => replay.unlocked(cpu, obj, key),
            }
        }
        pasts.resize(ends.len(), replay.cpus);
        pasts
    }
}

/// What steps on one key of one object pass on to later ones.
#[derive(Clone, Copy, Default)]
struct Passed {
    by_writes: Clock,
    by_reads: Clock,
    by_adds: Clock,
    /// Who holds it exclusively.
    locked_by: Option<Cpu>,
}

/// The steps again, ordered by what they do to locks, counters, xarrays and wait queues.
#[derive(Default)]
struct Replay {
    cpus: [Clock; CPUS_MAX],
    /// By object: its keys, `None` for all of them.
    objects: Vec<Vec<(Option<u64>, Passed)>>,
    /// The counters whose operations order what they say and no more ([`Orders::Strict`]).
    as_written: BTreeSet<u32>,
}

/// What an operation on a counter orders, as written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum AsWritten {
    Relaxed,
    Release,
    AcquireRelease,
}

impl AsWritten {
    /// reference/iommufd.md 6.1: "Memory order".
    fn of(access: &Access, counter: Option<Counter>) -> AsWritten {
        let change = counter.filter(|c| c.obj == access.obj).map(|c| (c.before, c.after));
        match (access.mode, change) {
            (Mode::AddTest(n), Some((_, 0))) if n < 0 => AsWritten::AcquireRelease,
            (Mode::Add(n) | Mode::AddTest(n), _) if n < 0 => AsWritten::Release,
            // refcount_dec_if_one() that says true; refcount_set() is a plain store.
            (Mode::Write, Some((1, 0))) => AsWritten::Release,
            _ => AsWritten::Relaxed,
        }
    }
}

impl Replay {
    fn passed(&mut self, obj: u32, key: Option<u64>) -> &mut Passed {
        let obj = obj as usize;
        if self.objects.len() <= obj {
            self.objects.resize_with(obj + 1, Vec::new);
        }
        let keys = &mut self.objects[obj];
        let at = match keys.iter().position(|(k, _)| *k == key) {
            Some(at) => at,
            None => {
                keys.push((key, Passed::default()));
                keys.len() - 1
            }
        };
        &mut keys[at].1
    }

    fn ordered(&self, access: &Access, counter: Option<Counter>) -> AsWritten {
        if self.as_written.contains(&access.obj) {
            AsWritten::of(access, counter)
        } else {
            AsWritten::AcquireRelease
        }
    }

    fn step(&mut self, me: Cpu, accesses: &[Access], counter: Option<Counter>) {
        let i = usize::from(me);
        self.cpus[i][i] += 1;
        let mut clock = self.cpus[i];
        for access in accesses {
            if self.ordered(access, counter) < AsWritten::AcquireRelease {
                continue;
            }
            let obj = access.obj as usize;
            for (key, passed) in self.objects.get(obj).into_iter().flatten() {
                let apart = !access.is_all()
                    && key.is_some_and(|k| k < access.key || k - access.key >= access.len.into());
                if apart {
                    continue;
                }
                join(&mut clock, &passed.by_writes);
                match access.mode {
                    Mode::Read | Mode::AddTest(_) => join(&mut clock, &passed.by_adds),
                    Mode::Write | Mode::Lock => {
                        join(&mut clock, &passed.by_adds);
                        join(&mut clock, &passed.by_reads);
                    }
                    Mode::Add(_) => join(&mut clock, &passed.by_reads),
                    Mode::LockShared => {}
                }
            }
        }
        self.cpus[i] = clock;
        for access in accesses {
            if self.ordered(access, counter) < AsWritten::Release {
                continue;
            }
            let keys = if access.is_all() { 1 } else { u64::from(access.len) };
            for n in 0..keys.min(RANGE_MAX) {
                let key = (!access.is_all()).then(|| access.key.saturating_add(n));
                let passed = self.passed(access.obj, key);
                match access.mode {
                    Mode::Read => join(&mut passed.by_reads, &clock),
                    Mode::Write => join(&mut passed.by_writes, &clock),
                    Mode::Add(_) | Mode::AddTest(_) => join(&mut passed.by_adds, &clock),
                    // What a section orders is what comes before its unlock.
                    Mode::Lock => passed.locked_by = Some(me),
                    Mode::LockShared => {}
                }
            }
        }
    }

    fn unlocked(&mut self, me: Cpu, obj: u32, key: u64) {
        let clock = self.cpus[usize::from(me)];
        let Some(keys) = self.objects.get_mut(obj as usize) else { return };
        for (k, passed) in keys.iter_mut() {
            if k.is_some_and(|k| k != key) {
                continue;
            }
            match passed.locked_by {
                Some(by) if by == me => {
                    passed.locked_by = None;
                    join(&mut passed.by_writes, &clock);
                }
                _ => join(&mut passed.by_reads, &clock),
            }
        }
    }
}

/// Keys of one access that are followed one by one; no primitive names more.
const RANGE_MAX: u64 = 64;
