//! Random programs in the kernel's primitives: does the reduction lose an answer or a splat?
//!
//! Brute force under the plain dependence (every section of an array takes one and the same lock)
//! judges the explorer under every dependence. The programs are about what `random` leaves out:
//! xarrays at both levels with sections on one index and on all, ids that are given out, objects
//! that are freed and whose addresses come back, devices, wait queues with both sleep states, and
//! locks that are tried.

use std::collections::{BTreeMap, BTreeSet};

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use uapi::litmus::{Count, Entry, Insn, Litmus, Src, XaFlags};
use uapi::outcome::{Ending, Outcome};
use uapi::pick::{Explore, Subject};
use uapi::program::{Dependence, Limits, Timers};
use uapi::step::Cpu;

use crate::brute::Brute;
use crate::dpor::{Config, Dpor, Sink, Stats};

/// What a program is about.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum About {
    Xarray,
    Heap,
    Sleep,
}

const INDEXES: [u64; 2] = [1, 2];

struct Maker {
    rng: ChaCha8Rng,
    thread: u8,
    code: Vec<Insn>,
}

impl Maker {
    fn below(&mut self, n: u8) -> u8 {
        self.rng.random_range(0..n)
    }

    fn coin(&mut self) -> bool {
        self.below(2) == 0
    }

    fn index(&mut self) -> u64 {
        *INDEXES.choose(&mut self.rng).unwrap_or(&1)
    }

    fn entry(&mut self) -> Entry {
        match self.below(4) {
            0 => Entry::Null,
            1 => Entry::Zero,
            n => Entry::Ptr(n - 2),
        }
    }

    fn reg(&mut self) -> u8 {
        self.below(5)
    }

    fn push(&mut self, insns: impl IntoIterator<Item = Insn>) {
        self.code.extend(insns);
    }

    /// Adds something about an array; gives its number of steps, as do the two below.
    fn xarray(&mut self) -> usize {
        let (reg, xa, index, entry) = (self.reg(), self.below(3), self.index(), self.entry());
        let old = self.entry();
        let count = Count::Static(self.below(2));
        let (steps, insns) = match self.below(18) {
            0 | 1 => (1, vec![Insn::XaLoad { reg, xa, index }]),
            2 => (1, vec![Insn::XaStore { reg, xa, index, entry }]),
            3 | 4 => (1, vec![Insn::XaErase { reg, xa, index }]),
            5 => (1, vec![Insn::XaInsert { reg, xa, index, entry }]),
            6 | 7 => (1, vec![Insn::XaCmpxchg { reg, xa, index, old, new: entry }]),
            8 | 9 => {
                let xa = 1 + self.below(2);
                (1, vec![Insn::XaAlloc { reg, xa, entry, max: 2 }])
            }
            10 => (1, vec![Insn::XaReserve { reg, xa, index }]),
            11 => (1, vec![Insn::XaRelease { xa, index }]),
            12 => (1, vec![Insn::XaEmpty { reg, xa }]),
            13 => (2, vec![Insn::XaForEach { reg, xa }]),
            14 => (
                2,
                vec![
                    Insn::XaLockIndexRead { xa, index },
                    Insn::XaLoad { reg, xa, index },
                    Insn::RefcountIncNotZero { reg: 5, count },
                    Insn::XaUnlockIndex { xa, index },
                ],
            ),
            15 => (
                3,
                vec![
                    Insn::XaLockIndex { xa, index },
                    Insn::XasLoad { reg, xa, index },
                    Insn::RefcountDecIfOne { reg: 5, count },
                    Insn::XasStore { reg: 6, xa, index, entry },
                    Insn::XaUnlockIndex { xa, index },
                ],
            ),
            16 => {
                let other = INDEXES[0] + INDEXES[1] - index;
                let insns = vec![
                    Insn::XaLock(xa),
                    Insn::XasStore { reg, xa, index, entry },
                    Insn::XasLoad { reg: 6, xa, index: other },
                    Insn::XaUnlock(xa),
                ];
                (2, insns)
            }
            _ => (1, vec![Insn::XaDestroy(xa)]),
        };
        self.push(insns);
        steps
    }

    fn heap(&mut self) -> usize {
        let (reg, ptr) = (self.reg(), self.below(2));
        let count = Count::Obj(ptr);
        match self.below(12) {
            0 => self.push([Insn::ObjLoad { reg, ptr }]),
            1 => {
                let src = Src::Imm(i64::from(reg));
                self.push([Insn::ObjStore { ptr, src }]);
            }
            2 => self.push([Insn::RefcountInc { count }]),
            3 | 4 => {
                self.push([
                    Insn::RefcountDecAndTest { reg, count },
                    Insn::SkipUnless { reg, value: 1, skip: 1 },
                    Insn::Kfree { ptr },
                ]);
                return 2;
            }
            5 => {
                self.push([
                    Insn::RefcountIncNotZero { reg, count },
                    Insn::SkipUnless { reg, value: 1, skip: 1 },
                    Insn::ObjLoad { reg, ptr },
                ]);
                return 2;
            }
            6 => {
                let mine = 2 + self.thread;
                self.push([
                    Insn::Kzalloc { reg, ptr: mine, users: 1 },
                    Insn::PtrEq { reg: 6, ptr: mine, other: ptr },
                ]);
            }
            7 => {
                let mine = 2 + self.thread;
                self.push([
                    Insn::Kzalloc { reg, ptr: mine, users: 1 },
                    Insn::XaCmpxchg {
                        reg: 6,
                        xa: 0,
                        index: 1,
                        old: Entry::Ptr(ptr),
                        new: Entry::Ptr(mine),
                    },
                    Insn::Kfree { ptr: mine },
                ]);
                return 3;
            }
            8 => self.push([
                Insn::ObjMutexLock { ptr },
                Insn::ObjStore { ptr, src: Src::Imm(1) },
                Insn::ObjMutexUnlock { ptr },
            ]),
            9 => self.push([Insn::GetDevice(0)]),
            10 => self.push([Insn::PutDevice(0)]),
            _ => self.push([Insn::TouchDevice(0)]),
        }
        1
    }

    fn sleep(&mut self) -> usize {
        let reg = self.reg();
        let count = Count::Static(0);
        match self.below(9) {
            0 | 1 => {
                let (value, interruptible) = (i32::from(self.below(2)), self.coin());
                self.push([Insn::WaitRefcount { reg, wq: 0, count, value, interruptible }]);
                2
            }
            2 => {
                let (value, interruptible) = (i64::from(self.below(2)), self.coin());
                self.push([Insn::WaitVar { wq: 0, var: 0, value, interruptible }]);
                2
            }
            3 => {
                let all = self.coin();
                self.push([Insn::RefcountDecAndTest { reg, count }, Insn::WakeUp { wq: 0, all }]);
                2
            }
            4 => {
                let all = self.coin();
                let src = Src::Imm(1);
                self.push([Insn::Store { var: 0, src }, Insn::WakeUp { wq: 0, all }]);
                2
            }
            5 => {
                self.push([Insn::RefcountInc { count }]);
                1
            }
            6 => {
                self.push([
                    Insn::MutexTrylock { reg, mutex: 0 },
                    Insn::SkipUnless { reg, value: 1, skip: 2 },
                    Insn::FetchAdd { reg: 6, var: 1, add: 1 },
                    Insn::MutexUnlock(0),
                ]);
                3
            }
            7 => {
                self.push([
                    Insn::MutexLock(0),
                    Insn::FetchAdd { reg, var: 1, add: 1 },
                    Insn::MutexUnlock(0),
                ]);
                3
            }
            _ => {
                self.push([
                    Insn::SpinLock(0),
                    Insn::FetchAdd { reg, var: 1, add: 1 },
                    Insn::SpinUnlock(0),
                ]);
                2
            }
        }
    }
}

/// Program `n`.
fn program(n: u64, about: About) -> Litmus {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    rng.set_stream(n);
    let mut m = Maker { rng, thread: 0, code: Vec::new() };
    let users = |m: &mut Maker| 1 + i32::from(m.below(2));
    let mut setup = vec![
        Insn::Kzalloc { reg: 0, ptr: 0, users: users(&mut m) },
        Insn::Kzalloc { reg: 0, ptr: 1, users: users(&mut m) },
    ];
    for xa in 0..3 {
        if m.coin() {
            let (index, entry) = (m.index(), m.entry());
            setup.push(Insn::XaStore { reg: 0, xa, index, entry });
        }
    }
    let counts = vec![i32::from(m.below(3)), 1 + i32::from(m.below(2))];
    let sizes: &[&[usize]] = &[&[4, 4], &[5, 3], &[6, 4], &[2, 2, 2], &[3, 2, 2]];
    let sizes = *sizes.choose(&mut m.rng).unwrap_or(&sizes[0]);
    let mut threads = Vec::new();
    for (thread, steps) in sizes.iter().enumerate() {
        m.thread = thread as u8;
        let mut left = *steps as isize;
        while left > 0 {
            let made = match about {
                About::Xarray => m.xarray(),
                About::Heap => m.heap(),
                About::Sleep => m.sleep(),
            };
            left -= made as isize;
        }
        threads.push(std::mem::take(&mut m.code));
    }
    let timers = if m.below(3) == 0 { Timers::Any } else { Timers::Idle };
    Litmus {
        question: format!("random program {n}, {about:?}"),
        vars: vec![0; 2],
        counts,
        mutexes: 1,
        spinlocks: 1,
        xarrays: vec![XaFlags::Plain, XaFlags::Alloc, XaFlags::Alloc1],
        ptrs: 5,
        waitqueues: 1,
        devices: 1,
        setup,
        threads,
        timers,
        unlock_steps: about == About::Sleep,
        ..Litmus::default()
    }
}

/// How an execution ended, its splats, and what it left: the registers and variables, and the
/// late wake-ups. A stopped kernel leaves what the other CPUs happened to have done, and a leak
/// names an object by when it was allocated: neither is an answer.
type Answer = (Ending, Vec<String>, Vec<i64>, u32);

#[derive(Default)]
struct Answers {
    set: BTreeSet<Answer>,
    executions: u64,
}

fn without_ordinals(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        out.push(c);
        while c == '#' && chars.next_if(char::is_ascii_digit).is_some() {}
    }
    out
}

impl Sink for Answers {
    fn executed(&mut self, _: &[Cpu], outcome: Option<Outcome>, _: &Stats) -> bool {
        let Some(outcome) = outcome else { return true };
        self.executions += 1;
        let mut splats = outcome.splats.iter().map(|s| without_ordinals(&s.to_string()));
        let answer = match outcome.ending {
            Ending::Stopped => {
                let last: Vec<String> = splats.next_back().into_iter().collect();
                (outcome.ending, last, Vec::new(), 0)
            }
            ending => {
                let mut splats: Vec<String> = splats.collect();
                splats.sort();
                (ending, splats, outcome.state, outcome.late_wakeups)
            }
        };
        self.set.insert(answer);
        true
    }

    fn restarted(&mut self) {
        *self = Answers::default();
    }
}

fn explore(subject: &Subject, dependence: Dependence, recycle: bool, explorer: &mut dyn Explore) {
    let limits = Limits { dependence, recycle, ..Limits::default() };
    model_native::explore(subject, explorer, &limits).expect("well formed");
}

/// Compares; gives the executions of brute force and of each dependence.
fn compare(n: u64, about: About, endings: &mut BTreeMap<Ending, u32>) -> Result<[u64; 4], String> {
    let litmus = program(n, about);
    let recycle = about == About::Heap && n % 2 == 0;
    let subject = Subject::Litmus(litmus.clone());
    let mut all = Answers::default();
    let mut brute = Brute::new(60_000, &mut all);
    explore(&subject, Dependence::Plain, recycle, &mut brute);
    if !brute.exhausted {
        return Ok([0; 4]);
    }
    for answer in &all.set {
        *endings.entry(answer.0).or_default() += 1;
    }
    let mut executions = [all.executions, 0, 0, 0];
    let dependences = [Dependence::Plain, Dependence::Commuting, Dependence::Keyed];
    for (i, dependence) in dependences.into_iter().enumerate() {
        let mut found = Answers::default();
        let config = Config { dependence, executions_max: 1_000_000, ..Config::default() };
        let mut dpor = Dpor::new(config, &mut found);
        explore(&subject, dependence, recycle, &mut dpor);
        if !dpor.exhausted {
            return Err(format!("{n} {about:?} {dependence:?}: not exhausted: {:?}", dpor.broken));
        }
        executions[1 + i] = found.executions;
        if found.set != all.set {
            let threads: Vec<String> = litmus.threads.iter().map(|t| format!("{t:?}")).collect();
            return Err(format!(
                "{n} {about:?} {dependence:?}\nsetup {:?} counts {:?} {:?} recycle {recycle}\n{}\n\
                 lost {:#?}\ninvented {:#?}",
                litmus.setup,
                litmus.counts,
                litmus.timers,
                threads.join("\n"),
                all.set.difference(&found.set).take(3).collect::<Vec<_>>(),
                found.set.difference(&all.set).take(3).collect::<Vec<_>>(),
            ));
        }
    }
    Ok(executions)
}

fn judged(about: About) {
    let mut sums = [0; 4];
    let mut compared = 0;
    let mut endings = BTreeMap::new();
    let mut wrong = Vec::new();
    for n in 0..400 {
        match compare(n, about, &mut endings) {
            Ok(executions) => {
                compared += u32::from(executions[0] > 0);
                for (sum, n) in sums.iter_mut().zip(executions) {
                    *sum += n;
                }
            }
            Err(why) => wrong.push(why),
        }
    }
    println!("{about:?}: {compared} programs, executions {sums:?}, answers {endings:?}");
    assert!(wrong.is_empty(), "{} programs, the first: {}", wrong.len(), wrong[0]);
    assert!(compared >= 350, "only {compared} programs were small enough to be judged");
    assert!(endings.contains_key(&Ending::Complete));
}

#[test]
fn the_reduction_keeps_every_answer_of_xarrays() {
    judged(About::Xarray);
}

#[test]
fn the_reduction_keeps_every_answer_of_the_heap() {
    judged(About::Heap);
}

#[test]
fn the_reduction_keeps_every_answer_of_sleepers() {
    judged(About::Sleep);
}
