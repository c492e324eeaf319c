//! What drivers and buses do not do, whatever a program is about: their calls on one device come one
//! after the other, and in an order that makes sense.

use std::collections::{BTreeMap, BTreeSet};
use uapi::call::Call;
use uapi::program::{Operand, Program, Step, Sym};

/// What happened to the devices so far, on one CPU.
#[derive(Clone, Default)]
struct Driven {
    /// The physical device of each bound one.
    bound: BTreeMap<Sym, u64>,
    attached: BTreeSet<Sym>,
    /// What is attached for certain: before the CPUs begin, nothing fails that is kept.
    certain: BTreeSet<Sym>,
    unplugged: BTreeSet<u64>,
}

/// Whether drivers could make these calls.
pub fn drivers_agree(program: &Program) -> bool {
    let mut before = Driven::default();
    if !program.setup.iter().all(|step| before.makes(step, true)) {
        return false;
    }
    let mut owners: BTreeMap<u64, usize> = BTreeMap::new();
    for (cpu, steps) in program.cpus.iter().enumerate() {
        let mut here = before.clone();
        for step in steps {
            let pdev = here.pdev(step);
            let own = pdev.is_none_or(|pdev| *owners.entry(pdev).or_insert(cpu) == cpu);
            if !own || !here.makes(step, false) {
                return false;
            }
        }
    }
    true
}

impl Driven {
    /// The physical device that a step is about.
    fn pdev(&self, step: &Step) -> Option<u64> {
        match (step.call, step.args.first()?) {
            (Call::Bind | Call::Unplug, Operand::Num(pdev)) => Some(*pdev),
            (Call::Attach | Call::Replace | Call::Detach | Call::Unbind, Operand::Sym(sym)) => {
                self.bound.get(sym).copied()
            }
            _ => None,
        }
    }

    /// Makes a step, unless it makes no sense.
    fn makes(&mut self, step: &Step, before: bool) -> bool {
        match (step.call, step.args.first()) {
            (Call::Bind, Some(Operand::Num(pdev))) => {
                let free =
                    !self.unplugged.contains(pdev) && !self.bound.values().any(|p| p == pdev);
                self.bound.extend(step.binds.first().map(|sym| (*sym, *pdev)));
                free
            }
            (Call::Unplug, Some(Operand::Num(pdev))) => {
                !self.bound.values().any(|p| p == pdev) && self.unplugged.insert(*pdev)
            }
            (Call::Attach, Some(Operand::Sym(sym))) => {
                if before {
                    self.certain.insert(*sym);
                }
                self.bound.contains_key(sym) && self.attached.insert(*sym)
            }
            (Call::Replace, Some(Operand::Sym(sym))) => self.certain.contains(sym),
            (Call::Detach, Some(Operand::Sym(sym))) => {
                self.certain.remove(sym);
                self.attached.remove(sym)
            }
            (Call::Unbind, Some(Operand::Sym(sym))) => {
                self.attached.remove(sym);
                self.certain.remove(sym);
                self.bound.remove(sym).is_some()
            }
            _ => true,
        }
    }
}
