//! What drivers and buses do not do, whatever a program is about: their calls on one device come one
//! after the other, and in an order that makes sense. A PASID is detached before its device goes.

use super::calls::is_nested;
use std::collections::{BTreeMap, BTreeSet};
use uapi::call::{Call, HWPT_ALLOC_PASID};
use uapi::outcome::Place;
use uapi::program::{FailNth, Operand, Program, Step, Sym};
use uapi::step::Cpu;

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

/// Whether drivers could make these calls, and whoever attaches PASIDs.
pub fn drivers_agree(program: &Program) -> bool {
    if !pasids_agree(program, None) || !pasids_are_detached(program) {
        return false;
    }
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

/// Whether whoever attaches PASIDs keeps to what drivers do, in a program to which a step may be added.
///
/// A mock device that goes while a PASID of it is attached is a WARN of a real kernel, too: whoever destroys
/// it, or closes its file, has detached its PASIDs before, and nobody else attaches one. Detached is what is
/// attached for certain, once: a kernel since 53d0584eeb2c gives a count of the device back whether
/// anything was attached or not.
pub(super) fn pasids_agree(program: &Program, more: Option<(Place, &Step)>) -> bool {
    let steps = |at: Place| {
        let added = more.iter().filter(move |(place, _)| *place == at).map(|(_, step)| *step);
        program.list(at).iter().chain(added)
    };
    let cpus = || (0..program.cpus.len()).map(|cpu| Place::Cpu(cpu as Cpu));
    let places = || [Place::Setup].into_iter().chain(cpus());
    let all = || places().flat_map(steps);
    if !all().any(|step| matches!(step.call, Call::PasidAttach | Call::PasidDetach)) {
        return true;
    }
    // Somebody's id that was freed before, or that is guessed, is anybody's.
    let freed: Vec<&Operand> = destroyed(steps(Place::Setup)).collect();
    let guessed = |id: &Operand| !matches!(id, Operand::Sym(_)) || freed.contains(&id);
    if cpus().any(|cpu| destroyed(steps(cpu)).any(guessed)) {
        return false;
    }
    let file_of = |mock: Sym| all().find(|s| s.binds.first() == Some(&mock)).map(|s| &s.file);
    let mut certain: BTreeSet<(Sym, u64)> = BTreeSet::new();
    let mut detached: BTreeSet<(Sym, u64)> = BTreeSet::new();
    for place in places() {
        let mut here = certain.clone();
        for step in steps(place) {
            let goes = |mock: Sym| match (step.call, step.args.first()) {
                (Call::Destroy, Some(id)) => *id == Operand::Sym(mock),
                (Call::Close, file) => file == file_of(mock),
                _ => false,
            };
            let attached_by = |other: Place, mock: Sym| {
                steps(other).filter_map(|s| pasid_of(Call::PasidAttach, s)).any(|(m, _)| m == mock)
            };
            let others = || cpus().filter(|other| ![place, Place::Setup].contains(other));
            let attached = all().filter_map(|s| pasid_of(Call::PasidAttach, s));
            for (mock, _) in attached.filter(|(mock, _)| goes(*mock)) {
                let is_attached = here.iter().any(|(attached, _)| *attached == mock);
                if is_attached || others().any(|other| attached_by(other, mock)) {
                    return false;
                }
            }
            here.extend(pasid_of(Call::PasidAttach, step));
            if let Some(pasid) = pasid_of(Call::PasidDetach, step) {
                if !certain.contains(&pasid) || !detached.insert(pasid) {
                    return false;
                }
                if step.fail_nth == FailNth::None {
                    here.remove(&pasid);
                }
            }
        }
        if place == Place::Setup {
            certain = here;
        }
    }
    let attached = || all().filter_map(|step| pasid_of(Call::PasidAttach, step));
    let stays = |hwpt: Sym| cpus().all(|c| destroyed(steps(c)).all(|d| *d != Operand::Sym(hwpt)));
    attached().all(|(mock, _)| page_table_that_stays(program, mock, &stays).is_some())
}

/// What a step destroys.
fn destroyed<'a>(steps: impl Iterator<Item = &'a Step>) -> impl Iterator<Item = &'a Operand> {
    steps.filter(|step| step.call == Call::Destroy).filter_map(|step| step.args.first())
}

/// The mock device and the PASID of a call. An id that is no name is none of an attach that is drawn.
fn pasid_of(call: Call, step: &Step) -> Option<(Sym, u64)> {
    match (step.args.first(), step.args.get(1)) {
        (Some(Operand::Sym(mock)), Some(Operand::Num(pasid))) if step.call == call => {
            Some((*mock, *pasid))
        }
        _ => None,
    }
}

/// A page table for PASIDs of a mock device that is there until the end.
fn page_table_that_stays(program: &Program, mock: Sym, stays: &dyn Fn(Sym) -> bool) -> Option<Sym> {
    let device = program.setup.iter().find(|s| s.binds.first() == Some(&mock))?.binds.get(2)?;
    let is_one = |step: &&Step| match step.args[..] {
        [Operand::Sym(of), Operand::Sym(_), Operand::Num(flags), ..] => {
            step.call == Call::HwptAlloc
                && of == *device
                && flags == HWPT_ALLOC_PASID
                && !is_nested(step)
        }
        _ => false,
    };
    let hwpts = program.setup.iter().filter(is_one).filter_map(|step| step.binds.first().copied());
    let is_there = |hwpt: &Sym| !destroyed(program.setup.iter()).any(|d| *d == Operand::Sym(*hwpt));
    hwpts.filter(is_there).find(|hwpt| stays(*hwpt))
}

/// The calls that detach every PASID that may be attached when all CPUs have finished. What may not be
/// is attached first, so that there is something to detach.
pub(super) fn pasids_detached(program: &Program) -> Vec<Step> {
    let mut known = BTreeSet::new();
    let mut steps = Vec::new();
    let stays =
        |hwpt: Sym| destroyed(program.cpus.iter().flatten()).all(|d| *d != Operand::Sym(hwpt));
    for step in program.setup.iter().chain(program.cpus.iter().flatten()) {
        let Some((mock, pasid)) = pasid_of(Call::PasidAttach, step) else { continue };
        let Some(hwpt) = page_table_that_stays(program, mock, &stays) else { continue };
        if known.insert((mock, pasid)) {
            let call = |call, args: &[Operand]| {
                let file = step.file.clone();
                Step { args: args.to_vec(), file, ..Step::new(call) }
            };
            let (mock, pasid) = (Operand::Sym(mock), Operand::Num(pasid));
            let hwpt = Operand::Sym(hwpt);
            let args = [mock.clone(), hwpt.clone()];
            steps.push(call(Call::MockDomainReplace, &args));
            steps.push(call(Call::PasidAttach, &[mock.clone(), pasid.clone(), hwpt]));
            steps.push(call(Call::PasidDetach, &[mock, pasid]));
        }
    }
    steps
}

/// Whether every PASID that may be attached is detached in the end.
fn pasids_are_detached(program: &Program) -> bool {
    let last = |s: &Step| program.finally.iter().any(|l| (l.call, &l.args) == (s.call, &s.args));
    pasids_detached(program).iter().all(last)
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
