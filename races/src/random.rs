//! Random litmus programs from a seed: tiny ones, so that brute force can judge the explorers.
//!
//! Two or three threads of loads, stores, read-modify-writes, mutexes, rwsems and waits (some
//! programs deadlock, some stop at an assertion), and programs about reference counts whose value
//! can meet zero. All draws come from one ChaCha seed, so program `n` of a seed is the same on
//! every machine.

use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use uapi::litmus::{Count, Insn, Litmus, Src};

/// What the programs are about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Flavour {
    /// Variables, locks and waits.
    Memory,
    /// Reference counts, with a few variables between them.
    Counters,
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

    fn simple(&mut self) -> Insn {
        if self.flavour == Flavour::Memory || self.below(6) == 0 {
            self.memory()
        } else {
            self.counter()
        }
    }

    /// At most `steps` visible steps, with locks balanced.
    fn block(&mut self, mut steps: usize, depth: usize, to: &mut Vec<Insn>) {
        while steps > 0 {
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
                    self.block(inside, depth + 1, to);
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
            let insn = self.simple();
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
    for &steps in sizes {
        let mut code = Vec::new();
        m.block(steps, 0, &mut code);
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
    Litmus {
        question: format!("random program {n} of seed {seed}, {flavour:?}"),
        vars: vec![0; usize::from(VARS + COUNTS)],
        counts,
        mutexes: LOCKS,
        rwsems: LOCKS,
        threads,
        finally,
        ..Litmus::default()
    }
}
