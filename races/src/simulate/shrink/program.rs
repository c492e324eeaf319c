//! What can be left out of a program of the kernel model.

use super::{renumbered, Candidates, Found};
use crate::Subject;
use uapi::program::{FailNth, Operand, Program, Step, Sym, Timers};
use uapi::step::CPUS_MAX;

/// The largest parts first.
pub(super) const PASSES: &[Candidates] =
    &[without_cpu, without_call, without_setup, without_option, in_the_setup, without_last];

/// The program.
fn of(found: &Found) -> Option<&Program> {
    match &found.subject {
        Subject::Program { program, .. } => Some(program),
        Subject::Litmus(_) | Subject::Queue { .. } => None,
    }
}

/// The same, to change it.
fn of_mut(found: &mut Found) -> Option<&mut Program> {
    match &mut found.subject {
        Subject::Program { program, .. } => Some(program),
        Subject::Litmus(_) | Subject::Queue { .. } => None,
    }
}

fn without_cpu(found: &Found, n: usize) -> Option<Found> {
    let gone = of(found)?.cpus.len().checked_sub(n + 1)?;
    let mut smaller = found.clone();
    let steps = of_mut(&mut smaller)?.cpus.remove(gone);
    smaller.choices = renumbered(&found.choices, gone);
    unbound(smaller, &steps)
}

fn without_call(found: &Found, n: usize) -> Option<Found> {
    let lists = of(found)?.cpus.iter().enumerate();
    let (cpu, index) =
        lists.flat_map(|(cpu, list)| (0..list.len()).map(move |i| (cpu, i))).rev().nth(n)?;
    let mut smaller = found.clone();
    let step = of_mut(&mut smaller)?.cpus[cpu].remove(index);
    unbound(smaller, &[step])
}

fn without_setup(found: &Found, n: usize) -> Option<Found> {
    let index = of(found)?.setup.len().checked_sub(n + 1)?;
    let mut smaller = found.clone();
    let step = of_mut(&mut smaller)?.setup.remove(index);
    unbound(smaller, &[step])
}

/// Without a failure, a timer that fires at any moment, a re-used address, an option of a step.
fn without_option(found: &Found, n: usize) -> Option<Found> {
    let mut smaller = found.clone();
    match n {
        0 => smaller.recycle = false,
        1 => of_mut(&mut smaller)?.timers = Timers::Idle,
        _ => {
            let step = steps_mut(of_mut(&mut smaller)?).nth(n - 2)?;
            step.fail_nth = FailNth::None;
            (step.read_only, step.bad_pointer) = (false, false);
            (step.usize_, step.trail, step.stall_s) = (None, None, None);
        }
    }
    // What changes nothing is no candidate, but there may be more behind it.
    if smaller == *found {
        return without_option(found, n + 1);
    }
    Some(smaller)
}

/// The first call of a CPU that has more of them is made before the others begin.
fn in_the_setup(found: &Found, n: usize) -> Option<Found> {
    let longer = of(found)?.cpus.iter().enumerate().filter(|(_, list)| list.len() > 1);
    let cpu = longer.map(|(cpu, _)| cpu).nth(n)?;
    let mut smaller = found.clone();
    let program = of_mut(&mut smaller)?;
    let step = program.cpus[cpu].remove(0);
    program.setup.push(step);
    Some(smaller)
}

/// Without a call that is made when all CPUs have finished.
fn without_last(found: &Found, n: usize) -> Option<Found> {
    let index = of(found)?.finally.len().checked_sub(n + 1)?;
    let mut smaller = found.clone();
    of_mut(&mut smaller)?.finally.remove(index);
    Some(smaller)
}

fn steps_mut(program: &mut Program) -> impl Iterator<Item = &mut Step> {
    program.setup.iter_mut().chain(program.cpus.iter_mut().flatten())
}

/// Takes away the calls that need what `gone` would have given out, and CPUs without calls. Nothing, if
/// no CPU is left.
fn unbound(mut found: Found, gone: &[Step]) -> Option<Found> {
    let mut names: Vec<Sym> = gone.iter().flat_map(|step| step.binds.clone()).collect();
    let Found { subject: Subject::Program { program, .. }, choices, .. } = &mut found else {
        return None;
    };
    let mut keep = |step: &Step| {
        let needs = |operand: &Operand| matches!(operand, Operand::Sym(s) if names.contains(s));
        let unmade = step.args.iter().chain([&step.file]).any(needs);
        if unmade {
            names.extend(&step.binds);
        }
        !unmade
    };
    program.setup.retain(&mut keep);
    for list in &mut program.cpus {
        list.retain(&mut keep);
    }
    program.finally.retain(&mut keep);
    for cpu in (0..program.cpus.len()).rev().filter(|cpu| *cpu < CPUS_MAX) {
        if program.cpus[cpu].is_empty() {
            program.cpus.remove(cpu);
            *choices = renumbered(choices, cpu);
        }
    }
    (!program.cpus.is_empty()).then_some(found)
}
