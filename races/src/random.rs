//! Random litmus programs from a seed: tiny ones, so that brute force can judge the explorers.
//!
//! Two or three threads of loads, stores, read-modify-writes, mutexes, rwsems and waits (some
//! programs deadlock, some stop at an assertion), and programs about reference counts whose value
//! can meet zero. All draws come from one ChaCha seed, so program `n` of a seed is the same on
//! every machine.

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use uapi::litmus::{Count, Entry, Insn, Litmus, Src, XaFlags};
use uapi::program::Timers;

/// What the programs are about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flavour {
    /// Variables, locks and waits.
    Memory,
    /// Reference counts, with a few variables between them.
    Counters,
    /// Objects that are used and freed, with references and without.
    Heap,
    /// Two xarrays, with the calls of both API levels and with lock sections.
    Xarray,
    /// Wait queues, wake-ups that name the wrong sleepers, and timers.
    Waits,
    /// A table with an object in it that goes away with its last user: look-ups, uses and closes,
    /// right ones and, in one program of three, some that break the rules.
    Files,
}

const VARS: u8 = 3;
const COUNTS: u8 = 2;
const LOCKS: u8 = 2;

struct Maker {
    rng: ChaCha8Rng,
    flavour: Flavour,
    asserts: bool,
}

impl Maker {
    fn below(&mut self, n: u8) -> u8 {
        self.rng.random_range(0..n)
    }

    fn var(&mut self) -> u8 {
        self.below(VARS)
    }

    fn value(&mut self) -> i64 {
        i64::from(self.below(3))
    }

    /// A register that instructions write; 0 to 3.
    fn reg(&mut self) -> u8 {
        self.below(4)
    }

    fn memory(&mut self) -> Insn {
        let (var, reg) = (self.var(), self.reg());
        match self.below(7) {
            0 | 1 => Insn::Load { reg, var },
            2 | 3 => {
                let src = if self.below(3) == 0 { Src::Reg(reg) } else { Src::Imm(self.value()) };
                Insn::Store { var, src }
            }
            4 => Insn::FetchAdd { reg, var, add: 1 },
            5 => {
                let (old, new) = (Src::Imm(self.value()), Src::Imm(self.value()));
                Insn::CmpXchg { reg, var, old, new }
            }
            _ => Insn::Await { var, value: self.value() },
        }
    }

    fn counter(&mut self) -> Insn {
        let count = Count::Static(self.below(COUNTS));
        let reg = self.reg();
        match self.below(10) {
            0 | 1 => Insn::RefcountInc { count },
            2 | 3 => Insn::RefcountDec { count },
            4 | 5 => Insn::RefcountDecAndTest { reg, count },
            6 | 7 => Insn::RefcountIncNotZero { reg, count },
            8 => Insn::RefcountDecIfOne { reg, count },
            _ => Insn::RefcountRead { reg, count },
        }
    }

    /// A step on the heap. Slots 0 and 1 are shared; thread 0 allocates into slot 2, and only it
    /// does, since splats name allocations by ordinal.
    fn heap(&mut self, thread: usize) -> Insn {
        let (ptr, reg) = (self.below(2), self.reg());
        let count = Count::Obj(ptr);
        match self.below(10) {
            0 | 1 => Insn::ObjLoad { reg, ptr },
            2 | 3 => Insn::ObjStore { ptr, src: Src::Imm(self.value()) },
            4 => Insn::RefcountInc { count },
            5 => Insn::RefcountDec { count },
            6 => Insn::RefcountDecAndTest { reg, count },
            7 if thread == 0 => Insn::Kzalloc { reg, ptr: 2, users: 1 },
            7 => Insn::RefcountIncNotZero { reg, count },
            8 if thread == 0 => Insn::PtrEq { reg, ptr: 2, other: ptr },
            _ => Insn::Kfree { ptr },
        }
    }

    fn entry(&mut self) -> Entry {
        match self.below(3) {
            0 => Entry::Null,
            _ => Entry::Ptr(self.below(2)),
        }
    }

    /// A step on an xarray. Array 0 is plain, array 1 gives out ids: only it has `xa_alloc()`,
    /// and only array 0 is loaded raw (see the head of `linux/xarray.rs`).
    fn xarray(&mut self) -> Insn {
        let (xa, reg, index) = (self.below(2), self.reg(), u64::from(self.below(2)));
        let entry = self.entry();
        match self.below(11) {
            0..=2 => Insn::XaLoad { reg, xa, index },
            3 => Insn::XaStore { reg, xa, index, entry },
            4 => Insn::XaErase { reg, xa, index },
            5 | 6 => Insn::XaCmpxchg { reg, xa, index, old: self.entry(), new: entry },
            7 => Insn::XaInsert { reg, xa: 0, index, entry: Entry::Ptr(0) },
            8 => Insn::XaAlloc { reg, xa: 1, entry: Entry::Ptr(1), max: 2 },
            9 => Insn::XaEmpty { reg, xa },
            _ => Insn::XaForEach { reg, xa },
        }
    }

    /// A section on array 0.
    fn xa_section(&mut self, steps: usize, to: &mut Vec<Insn>) {
        let index = u64::from(self.below(2));
        let kind = self.below(3);
        to.push(match kind {
            0 => Insn::XaLock(0),
            1 => Insn::XaLockIndex { xa: 0, index },
            _ => Insn::XaLockIndexRead { xa: 0, index },
        });
        for _ in 0..steps {
            let (reg, entry) = (self.reg(), self.entry());
            to.push(if kind == 2 || self.below(2) == 0 {
                Insn::XasLoad { reg, xa: 0, index }
            } else {
                Insn::XasStore { reg, xa: 0, index, entry }
            });
        }
        to.push(match kind {
            0 => Insn::XaUnlock(0),
            _ => Insn::XaUnlockIndex { xa: 0, index },
        });
    }

    /// Drops a reference of the object in slot 0; the last one frees it.
    fn put(&mut self, to: &mut Vec<Insn>) {
        to.extend([
            Insn::RefcountDecAndTest { reg: 0, count: Count::Obj(0) },
            Insn::SkipUnless { reg: 0, value: 1, skip: 1 },
            Insn::Kfree { ptr: 0 },
        ]);
    }

    /// What one thread does with the table, which is variable 0, and the object in it. Thread 0
    /// closes. `broken` leaves something out or makes it too early.
    fn files(&mut self, thread: usize, broken: bool) -> Vec<Insn> {
        let mut to = Vec::new();
        let slip = if broken { self.below(6) } else { u8::MAX };
        if thread == 0 || self.below(6) == 0 {
            let close = Insn::Store { var: 0, src: Src::Imm(0) };
            match slip {
                0 => self.put(&mut to),
                1 => {
                    self.put(&mut to);
                    to.push(close);
                }
                _ => {
                    to.push(close);
                    self.put(&mut to);
                }
            }
            if thread == 0 && self.below(2) == 0 {
                return to;
            }
        }
        let calls = 1 + self.below(2);
        for _ in 0..calls {
            let mut call = Vec::new();
            for _ in 0..self.below(2) {
                call.push(match self.below(3) {
                    0 => Insn::ObjLoad { reg: 1, ptr: 0 },
                    1 => Insn::ObjStore { ptr: 0, src: Src::Imm(self.value()) },
                    _ => Insn::FetchAdd { reg: 1, var: 1, add: 1 },
                });
            }
            if slip != 2 {
                self.put(&mut call);
            }
            if slip == 5 {
                self.put(&mut call);
            }
            match slip {
                3 => to.extend([
                    Insn::RefcountInc { count: Count::Obj(0) },
                    Insn::Set { reg: 2, src: Src::Imm(1) },
                ]),
                4 => to.push(Insn::RefcountIncNotZero { reg: 2, count: Count::Obj(0) }),
                _ => to.push(Insn::Fget { reg: 2, var: 0, count: Count::Obj(0) }),
            }
            to.push(Insn::SkipUnless { reg: 2, value: 1, skip: call.len() as u8 });
            to.append(&mut call);
        }
        to
    }

    fn wait(&mut self) -> Insn {
        let (var, reg, wq) = (self.below(2), self.reg(), self.below(2));
        let interruptible = self.below(2) == 0;
        match self.below(9) {
            0 => Insn::WaitVar { wq, var, value: self.value(), interruptible },
            1 => {
                let (count, value) = (Count::Static(0), i32::from(1 + self.below(2)));
                Insn::WaitRefcount { reg, wq, count, value, interruptible }
            }
            2 => Insn::AwaitTimeout { reg, var, value: self.value() },
            3 | 4 => Insn::WakeUp { wq, all: self.below(2) == 0 },
            5 => Insn::RefcountDec { count: Count::Static(0) },
            6 => Insn::Load { reg, var },
            _ => Insn::Store { var, src: Src::Imm(self.value()) },
        }
    }

    fn simple(&mut self, thread: usize) -> Insn {
        let flavour = self.flavour;
        match flavour {
            Flavour::Memory => self.memory(),
            Flavour::Waits => self.wait(),
            _ if self.below(6) == 0 => self.memory(),
            Flavour::Counters => self.counter(),
            Flavour::Heap => self.heap(thread),
            Flavour::Xarray => self.xarray(),
            // Made as a whole: see `files`.
            Flavour::Files => self.memory(),
        }
    }

    /// At most `steps` visible steps, with locks balanced.
    fn block(&mut self, thread: usize, mut steps: usize, depth: usize, to: &mut Vec<Insn>) {
        while steps > 0 {
            if self.flavour == Flavour::Xarray && steps >= 2 && self.below(5) == 0 {
                let inside = 1 + usize::from(self.below(steps as u8 - 1));
                self.xa_section(inside, to);
                steps -= inside + 1;
                continue;
            }
            let section = self.flavour == Flavour::Memory && depth < 2 && steps >= 2;
            if section && self.below(4) == 0 {
                let inside = usize::from(self.below(steps as u8));
                let lock = self.below(LOCKS);
                let (take, give) = match self.below(4) {
                    0 | 1 => (Insn::MutexLock(lock), Insn::MutexUnlock(lock)),
                    2 => (Insn::DownRead(lock), Insn::UpRead(lock)),
                    _ => (Insn::DownWrite(lock), Insn::UpWrite(lock)),
                };
                // A lock taken twice by one thread is a question of lockdep's, not of this file.
                if to.iter().filter(|i| **i == take).count()
                    == to.iter().filter(|i| **i == give).count()
                    && !self.holds_other_mode(to, lock, &take)
                {
                    to.push(take);
                    self.block(thread, inside, depth + 1, to);
                    to.push(give);
                    steps -= inside + 1;
                    continue;
                }
            }
            if self.below(5) == 0 {
                let (reg, value) = (self.reg(), self.value());
                to.push(Insn::SkipUnless { reg, value, skip: 1 });
            } else if self.asserts && self.below(6) == 0 {
                let reg = self.reg();
                to.push(Insn::Assert { reg, value: 0 });
            }
            let insn = self.simple(thread);
            to.push(insn);
            steps -= 1;
        }
    }

    fn holds_other_mode(&self, code: &[Insn], lock: u8, take: &Insn) -> bool {
        let n = |insn: Insn| code.iter().filter(|i| **i == insn).count();
        match take {
            Insn::DownRead(_) => n(Insn::DownWrite(lock)) > n(Insn::UpWrite(lock)),
            Insn::DownWrite(_) => n(Insn::DownRead(lock)) > n(Insn::UpRead(lock)),
            _ => false,
        }
    }
}

/// Program `n` of a seed.
pub fn litmus(seed: u64, n: u64, flavour: Flavour) -> Litmus {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(n);
    let mut m = Maker { rng, flavour, asserts: false };
    m.asserts = m.below(4) == 0;
    // At most 4,200 interleavings.
    let sizes: &[&[usize]] =
        &[&[4, 4], &[5, 5], &[6, 4], &[5, 4], &[2, 2, 2], &[3, 3, 3], &[4, 3, 3], &[4, 2, 2]];
    let sizes = *sizes.choose(&mut m.rng).unwrap_or(&sizes[0]);
    let mut threads = Vec::new();
    let broken = flavour == Flavour::Files && m.below(3) == 0;
    for (thread, &steps) in sizes.iter().enumerate() {
        if flavour == Flavour::Files {
            threads.push(m.files(thread, broken));
            continue;
        }
        let mut code = Vec::new();
        m.block(thread, steps, 0, &mut code);
        threads.push(code);
    }
    let counts = (0..COUNTS).map(|_| i32::from(m.below(4))).collect();
    // The values of the counters end up in variables, so that they are part of the outcome.
    let finally = (0..COUNTS)
        .flat_map(|i| {
            [
                Insn::RefcountRead { reg: 0, count: Count::Static(i) },
                Insn::Store { var: VARS + i, src: Src::Reg(0) },
            ]
        })
        .collect();
    let timers = if m.below(2) == 0 { Timers::Idle } else { Timers::Any };
    let setup = match flavour {
        Flavour::Heap | Flavour::Xarray => (0..2)
            .map(|ptr| Insn::Kzalloc { reg: 0, ptr, users: 1 + i32::from(m.below(2)) })
            .collect(),
        Flavour::Files => {
            let users = 1 + i32::from(m.below(8) == 0);
            vec![Insn::Kzalloc { reg: 0, ptr: 0, users }]
        }
        _ => Vec::new(),
    };
    let mut vars = vec![0; usize::from(VARS + COUNTS)];
    vars[0] = i64::from(flavour == Flavour::Files);
    Litmus {
        setup,
        timers,
        ptrs: 3,
        xarrays: vec![XaFlags::Plain, XaFlags::Alloc],
        waitqueues: 2,
        question: format!("random program {n} of seed {seed}, {flavour:?}"),
        vars,
        counts,
        mutexes: LOCKS,
        rwsems: LOCKS,
        threads,
        finally,
        ..Litmus::default()
    }
}
