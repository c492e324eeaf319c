//! The golden programs: two small models of the vDEVICE race with an exactly known number of
//! complete executions, agreed by three independent tools (ours, GenMC, Nidhugg).
//!
//! Source: reference/engines-golden.md. The question behind them: <cover.1730313494.git.nicolinc@
//! nvidia.com> comment 5, two IOMMU_VDEVICE_ALLOC on one virt_id against an IOMMU_DESTROY.
//!
//! State: `viommu.users` and `idev.users` (refcounts), `vdevs[virt_id]` (one cell under one
//! lock), `objects[id]` (a cell per id under another). Cells are variables, 0 is empty; an object
//! is reserved or live; `vdevs[virt_id]` holds an object's id.

use uapi::litmus::{Count, Idx, Insn, Litmus, Src};

/// Which program of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Golden {
    /// Threads that allocate a vDEVICE.
    pub allocs: u8,
    /// Threads that destroy one that is there from the start.
    pub destroys: u8,
    /// Whole ioctl paths, or only the contested steps.
    pub full: bool,
    /// The alloc's unwind erases whatever is in the slot, as a plain `xa_erase()` would.
    pub buggy: bool,
    /// How sections are written.
    pub encoding: Encoding,
}

/// How a section of a lock is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Encoding {
    /// A lock, what it protects, an unlock: for the plain and the commuting dependence.
    Locks,
    /// One step on one cell: for the keyed dependence.
    Sections,
}

const VIOMMU_USERS: Count = Count::Static(0);
const IDEV_USERS: Count = Count::Static(1);
const OBJECTS: Idx = 0;
const VDEVS: Idx = 1;

/// Variable that holds `vdevs[virt_id]`.
const SLOT: Idx = 0;
/// The id of the vDEVICE that is there from the start; those of the allocs follow.
const PRE: u8 = 1;
/// Values of `objects[id]`; 0 is absent.
const RESERVED: i64 = 1;
const LIVE: i64 = 2;

/// Variable that holds `objects[id]`. Id 0 is the vIOMMU itself.
fn object(id: u8) -> Idx {
    1 + id
}

impl Golden {
    /// The name in the table: `full 2a1d`.
    pub fn name(&self) -> String {
        let size = if self.full { "full" } else { "mini" };
        let buggy = if self.buggy { " buggy" } else { "" };
        format!("{size} {}a{}d{buggy}", self.allocs, self.destroys)
    }

    fn section(&self, lock: Idx, body: Insn, to: &mut Vec<Insn>) {
        match self.encoding {
            Encoding::Locks => {
                to.extend([Insn::MutexLock(lock), body, Insn::MutexUnlock(lock)]);
            }
            Encoding::Sections => to.push(body),
        }
    }

    /// lock objects; a count += 1; unlock: finds an object by its id and takes a reference.
    fn get(&self, count: Count, to: &mut Vec<Insn>) {
        match self.encoding {
            Encoding::Locks => to.extend([
                Insn::MutexLock(OBJECTS),
                Insn::RefcountInc { count },
                Insn::MutexUnlock(OBJECTS),
            ]),
            Encoding::Sections => {
                to.extend([Insn::Load { reg: 7, var: object(0) }, Insn::RefcountInc { count }]);
            }
        }
    }

    fn set_object(&self, id: u8, value: i64, to: &mut Vec<Insn>) {
        self.section(OBJECTS, Insn::Store { var: object(id), src: Src::Imm(value) }, to);
    }

    fn alloc(&self, me: u8) -> Vec<Insn> {
        let mut t = Vec::new();
        if self.full {
            self.get(VIOMMU_USERS, &mut t);
            self.get(IDEV_USERS, &mut t);
            self.set_object(me, RESERVED, &mut t);
        }
        t.push(Insn::RefcountInc { count: VIOMMU_USERS });
        let id = Src::Imm(i64::from(me));
        let publish = Insn::CmpXchg { reg: 0, var: SLOT, old: Src::Imm(0), new: id };
        self.section(VDEVS, publish, &mut t);

        let mut won = Vec::new();
        self.set_object(me, LIVE, &mut won);
        won.push(Insn::Set { reg: 1, src: Src::Imm(0) });

        let mut lost = Vec::new();
        let erase = if self.buggy {
            Insn::Store { var: SLOT, src: Src::Imm(0) }
        } else {
            Insn::CmpXchg { reg: 2, var: SLOT, old: id, new: Src::Imm(0) }
        };
        self.section(VDEVS, erase, &mut lost);
        lost.push(Insn::RefcountDec { count: VIOMMU_USERS });
        if self.full {
            self.set_object(me, 0, &mut lost);
        }
        lost.push(Insn::Set { reg: 1, src: Src::Imm(-17) });

        // Register 3 stays 0: skipping unless it is 1 is a jump.
        won.push(Insn::SkipUnless { reg: 3, value: 1, skip: lost.len() as u8 });
        t.push(Insn::SkipUnless { reg: 0, value: 0, skip: won.len() as u8 });
        t.append(&mut won);
        t.append(&mut lost);
        if self.full {
            t.push(Insn::RefcountDec { count: IDEV_USERS });
            t.push(Insn::RefcountDec { count: VIOMMU_USERS });
        }
        t
    }

    fn destroy(&self) -> Vec<Insn> {
        let mut t = Vec::new();
        let pre = Src::Imm(i64::from(PRE));
        let absent = Src::Imm(0);
        let var = object(PRE);
        self.section(
            OBJECTS,
            Insn::CmpXchg { reg: 0, var, old: Src::Imm(LIVE), new: absent },
            &mut t,
        );
        let mut rest = Vec::new();
        let erase = Insn::CmpXchg { reg: 1, var: SLOT, old: pre, new: absent };
        self.section(VDEVS, erase, &mut rest);
        rest.push(Insn::RefcountDec { count: VIOMMU_USERS });
        t.push(Insn::SkipUnless { reg: 0, value: LIVE, skip: rest.len() as u8 });
        t.append(&mut rest);
        t
    }

    /// Every live object has its slot and the other way round, `viommu.users == 1 + live`,
    /// `idev.users == 1`, nothing is left reserved.
    fn check(&self, ids: &[u8]) -> Vec<Insn> {
        let mut t = Vec::new();
        // A WARN_ON of register `reg != value`; register 7 is 1, register 6 is 0.
        t.push(Insn::Set { reg: 7, src: Src::Imm(1) });
        let warn_unless = |reg, value, t: &mut Vec<Insn>| {
            t.extend([
                Insn::Set { reg: 5, src: Src::Imm(0) },
                Insn::SkipUnless { reg, value, skip: 1 },
                Insn::SkipUnless { reg: 6, value: 1, skip: 1 },
                Insn::Set { reg: 5, src: Src::Imm(1) },
                Insn::WarnOn { reg: 5 },
            ]);
        };
        for &id in ids {
            t.push(Insn::Load { reg: 0, var: object(id) });
            t.push(Insn::Load { reg: 1, var: SLOT });
            let mut live = Vec::new();
            warn_unless(1, i64::from(id), &mut live);
            live.push(Insn::RefcountDec { count: VIOMMU_USERS });
            t.push(Insn::SkipUnless { reg: 0, value: LIVE, skip: live.len() as u8 });
            t.append(&mut live);
            let mut reserved = Vec::new();
            reserved.push(Insn::WarnOn { reg: 7 });
            t.push(Insn::SkipUnless { reg: 0, value: RESERVED, skip: reserved.len() as u8 });
            t.append(&mut reserved);
            let mut slot = Vec::new();
            warn_unless(0, LIVE, &mut slot);
            t.push(Insn::SkipUnless { reg: 1, value: i64::from(id), skip: slot.len() as u8 });
            t.append(&mut slot);
        }
        t.push(Insn::RefcountRead { reg: 0, count: VIOMMU_USERS });
        warn_unless(0, 1, &mut t);
        t.push(Insn::RefcountRead { reg: 0, count: IDEV_USERS });
        warn_unless(0, 1, &mut t);
        t
    }

    /// The program.
    pub fn litmus(&self) -> Litmus {
        let pre = self.destroys > 0;
        let ids: Vec<u8> = (PRE..=PRE + self.allocs).collect();
        let mut vars = vec![0; usize::from(object(PRE + self.allocs)) + 1];
        vars[usize::from(object(0))] = LIVE;
        if pre {
            vars[usize::from(SLOT)] = i64::from(PRE);
            vars[usize::from(object(PRE))] = LIVE;
        }
        let mut threads: Vec<Vec<Insn>> =
            (0..self.allocs).map(|i| self.alloc(PRE + 1 + i)).collect();
        threads.extend((0..self.destroys).map(|_| self.destroy()));
        Litmus {
            question: format!(
                "{}: does every vDEVICE keep its slot, and every reference its owner?",
                self.name()
            ),
            vars,
            counts: vec![1 + i32::from(pre), 1],
            mutexes: 2,
            threads,
            finally: self.check(&ids),
            ..Litmus::default()
        }
    }
}
