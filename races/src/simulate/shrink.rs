//! Making a failing program smaller: fewer CPUs, calls, objects, faults, switches, as long as it still
//! fails in the same way ([`Class::covers`]).
//!
//! A candidate is tried with the schedule that failed before, as far as it still fits, and otherwise by
//! the reducing search with at most 0, 1 and 2 preemptions. What is left has few calls, and
//! whoever wants to know whether every interleaving of it was seen asks [`crate::dpor`].

use super::{fail_of, limits, Class, Plan, ANSWERS_MAX, BEGINNINGS_MAX};
use crate::backend;
use crate::beginnings::Explained;
use crate::dpor::{Config, Dpor, Sink, Stats};
use crate::orders::Sequential;
use crate::{Backend, ModelError, Schedule, Subject};
use uapi::outcome::{Ending, Outcome, StepResult};
use uapi::pick::Pick;
use uapi::program::{FailNth, Operand, Program, Step, Sym, Timers};
use uapi::step::{Cpu, Pending, CPUS_MAX};

/// Executions of each search with a preemption bound.
const BOUNDED: u64 = 192;

/// Beginnings of orders that are made for one answer: as many as the run may have made for all of
/// its answers, which share what they find out.
const ORDERS_MAX: u32 = BEGINNINGS_MAX * ANSWERS_MAX as u32;

/// A program that shows something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// The program.
    pub program: Program,
    /// An execution that shows it.
    pub choices: Vec<Cpu>,
    /// Freed addresses are handed out again.
    pub recycle: bool,
}

/// What is to be kept while a program is made smaller.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
    /// The row.
    pub revision: &'a str,
    /// What it shows.
    pub class: &'a Class,
    /// Whether somebody could make these calls: what makes no sense before it is made smaller
    /// makes none afterwards.
    pub allowed: &'a dyn Fn(&Program) -> bool,
}

/// Runs the execution that shows it again, with its trace. Nothing, if it goes another way.
///
/// # Errors
///
/// If the subject cannot be run at all.
pub fn record(found: &Found, revision: &str) -> Result<Option<(Outcome, Schedule)>, ModelError> {
    let program = found.program.clone();
    let subject = Subject::Program { program, revision: revision.to_owned() };
    let limits = limits(found.recycle);
    crate::replay::record(&subject, &[], &found.choices, &limits, Backend::Native)
}

/// Makes a program smaller that shows `class`, with at most `most` candidates. Nothing comes back if
/// it does not show it.
///
/// # Errors
///
/// If the subject cannot be run at all.
pub fn shrink(
    found: Found,
    wanted: &Wanted<'_>,
    plan: &Plan,
    most: u32,
) -> Result<Option<Found>, ModelError> {
    let Wanted { revision, class, allowed } = *wanted;
    let mut shrinking = Shrinking { revision, class, plan, left: most };
    let Some(mut best) = shrinking.shows(found)? else { return Ok(None) };
    loop {
        let before = best.program.clone();
        for candidates in PASSES {
            let mut from = 0;
            // A candidate that still fails becomes the program whose next part is left out.
            while let Some(smaller) = candidates(&best, from) {
                let shown = match allowed(&smaller.program) {
                    true => shrinking.shows(smaller)?,
                    false => None,
                };
                match shown {
                    Some(smaller) => best = smaller,
                    None => from += 1,
                }
            }
        }
        if best.program == before || shrinking.left == 0 {
            return Ok(Some(best));
        }
    }
}

/// The `n`-th way to make a program smaller; nothing if there are no more.
type Candidates = fn(&Found, usize) -> Option<Found>;

/// The largest parts first.
const PASSES: &[Candidates] =
    &[without_cpu, without_call, without_setup, without_option, in_the_setup, without_last];

fn without_cpu(found: &Found, n: usize) -> Option<Found> {
    let gone = found.program.cpus.len().checked_sub(n + 1)?;
    let mut smaller = found.clone();
    let steps = smaller.program.cpus.remove(gone);
    smaller.choices = renumbered(&found.choices, gone);
    unbound(&mut smaller, &steps);
    (!smaller.program.cpus.is_empty()).then_some(smaller)
}

fn without_call(found: &Found, n: usize) -> Option<Found> {
    let lists = found.program.cpus.iter().enumerate();
    let (cpu, index) =
        lists.flat_map(|(cpu, list)| (0..list.len()).map(move |i| (cpu, i))).rev().nth(n)?;
    let mut smaller = found.clone();
    let step = smaller.program.cpus[cpu].remove(index);
    unbound(&mut smaller, &[step]);
    (!smaller.program.cpus.is_empty()).then_some(smaller)
}

fn without_setup(found: &Found, n: usize) -> Option<Found> {
    let index = found.program.setup.len().checked_sub(n + 1)?;
    let mut smaller = found.clone();
    let step = smaller.program.setup.remove(index);
    unbound(&mut smaller, &[step]);
    (!smaller.program.cpus.is_empty()).then_some(smaller)
}

/// Without a failure, a timer that fires at any moment, a re-used address, an option of a step.
fn without_option(found: &Found, n: usize) -> Option<Found> {
    let mut smaller = found.clone();
    let program = &mut smaller.program;
    match n {
        0 => smaller.recycle = false,
        1 => program.timers = Timers::Idle,
        _ => {
            let step = steps_mut(program).nth(n - 2)?;
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
    let longer = found.program.cpus.iter().enumerate().filter(|(_, list)| list.len() > 1);
    let cpu = longer.map(|(cpu, _)| cpu).nth(n)?;
    let mut smaller = found.clone();
    let step = smaller.program.cpus[cpu].remove(0);
    smaller.program.setup.push(step);
    Some(smaller)
}

/// Without a call that is made when all CPUs have finished.
fn without_last(found: &Found, n: usize) -> Option<Found> {
    let index = found.program.finally.len().checked_sub(n + 1)?;
    let mut smaller = found.clone();
    smaller.program.finally.remove(index);
    Some(smaller)
}

fn steps_mut(program: &mut Program) -> impl Iterator<Item = &mut Step> {
    program.setup.iter_mut().chain(program.cpus.iter_mut().flatten())
}

/// Takes away the calls that need what `gone` would have given out, and CPUs without calls.
fn unbound(found: &mut Found, gone: &[Step]) {
    let mut names: Vec<Sym> = gone.iter().flat_map(|step| step.binds.clone()).collect();
    let program = &mut found.program;
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
            found.choices = renumbered(&found.choices, cpu);
        }
    }
}

/// The choices without a CPU and its timer; those behind it move up.
fn renumbered(choices: &[Cpu], gone: usize) -> Vec<Cpu> {
    let moved = |cpu: &Cpu| {
        let (number, timers) = (usize::from(*cpu) % CPUS_MAX, usize::from(*cpu) / CPUS_MAX);
        (number != gone).then(|| (number - usize::from(number > gone) + timers * CPUS_MAX) as Cpu)
    };
    choices.iter().filter_map(moved).collect()
}

struct Shrinking<'a> {
    revision: &'a str,
    class: &'a Class,
    plan: &'a Plan,
    left: u32,
}

impl Shrinking<'_> {
    /// The program with an execution that shows the class, if there is one.
    fn shows(&mut self, found: Found) -> Result<Option<Found>, ModelError> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        let Found { program, choices, recycle } = found;
        let subject = Subject::Program { program, revision: self.revision.to_owned() };
        let shown = self.guided(&subject, &choices, recycle)?;
        let shown = match shown {
            Some(choices) => Some(choices),
            None => self.searched(&subject, recycle)?,
        };
        let Subject::Program { program, .. } = subject else { return Ok(None) };
        Ok(shown.map(|choices| Found { program, choices, recycle }))
    }

    fn guided(
        &self,
        subject: &Subject,
        choices: &[Cpu],
        recycle: bool,
    ) -> Result<Option<Vec<Cpu>>, ModelError> {
        let mut guided = Guided { choices, at: 0, made: Vec::new() };
        let outcome = backend::run(Backend::Native, subject, &mut guided, &limits(recycle))?;
        let mut looking = Looking::new(self.class);
        if let Some(outcome) = outcome {
            looking.look(&guided.made, outcome);
        }
        self.judged(subject, looking, recycle)
    }

    fn searched(&self, subject: &Subject, recycle: bool) -> Result<Option<Vec<Cpu>>, ModelError> {
        for preemptions in 0..=2 {
            let mut looking = Looking::new(self.class);
            let config = Config {
                executions_max: BOUNDED,
                preemptions_max: Some(preemptions),
                ..Config::default()
            };
            let mut dpor = Dpor::new(config, &mut looking);
            backend::explore(Backend::Native, subject, &mut dpor, &limits(recycle))?;
            let refused = dpor.stats.refused;
            let shown = self.judged(subject, looking, recycle)?;
            if shown.is_some() || !refused {
                return Ok(shown);
            }
        }
        Ok(None)
    }

    /// Asks the sequential model, if the class is one of answers.
    fn judged(
        &self,
        subject: &Subject,
        looking: Looking<'_>,
        recycle: bool,
    ) -> Result<Option<Vec<Cpu>>, ModelError> {
        if !self.class.is_unexplained() || looking.shown.is_some() {
            return Ok(looking.shown);
        }
        let fail = fail_of(super::program_of(subject));
        let mut sequential = Sequential::new(subject, &fail, &self.plan.permitted, limits(recycle));
        for (results, choices) in looking.passing {
            let explained = sequential.explains_within(&results, &choices, ORDERS_MAX)?;
            if explained == Explained::No {
                return Ok(Some(choices));
            }
        }
        Ok(None)
    }
}

/// Looks for an execution that shows a class.
struct Looking<'a> {
    class: &'a Class,
    shown: Option<Vec<Cpu>>,
    passing: Vec<(Vec<StepResult>, Vec<Cpu>)>,
}

impl<'a> Looking<'a> {
    fn new(class: &'a Class) -> Looking<'a> {
        Looking { class, shown: None, passing: Vec::new() }
    }

    fn look(&mut self, choices: &[Cpu], outcome: Outcome) {
        if Class::all_of(&outcome).iter().any(|c| self.class.covers(c)) {
            self.shown.get_or_insert_with(|| choices.to_vec());
        }
        let passes = outcome.ending == Ending::Complete && outcome.splats.is_empty();
        if self.class.is_unexplained()
            && passes
            && !self.passing.iter().any(|(results, _)| *results == outcome.results)
        {
            self.passing.push((outcome.results, choices.to_vec()));
        }
    }
}

impl Sink for Looking<'_> {
    fn executed(&mut self, choices: &[Cpu], outcome: Option<Outcome>, _: &Stats) -> bool {
        if let Some(outcome) = outcome {
            self.look(choices, outcome);
        }
        self.shown.is_none()
    }

    fn restarted(&mut self) {
        self.shown = None;
        self.passing.clear();
    }
}

/// Follows the choices of another execution as far as it can.
struct Guided<'a> {
    choices: &'a [Cpu],
    at: usize,
    made: Vec<Cpu>,
}

impl Pick for Guided<'_> {
    fn pick(&mut self, pending: &[Pending], current: Option<Cpu>) -> Option<Cpu> {
        let can = |cpu: Cpu| pending.iter().any(|p| p.cpu == cpu && p.enabled);
        let mut cpu = None;
        while let (Some(next), None) = (self.choices.get(self.at), cpu) {
            self.at += 1;
            cpu = Some(*next).filter(|cpu| can(*cpu));
        }
        let cpu = cpu
            .or(current.filter(|cpu| can(*cpu)))
            .or_else(|| pending.iter().find(|p| p.enabled).map(|p| p.cpu));
        self.made.extend(cpu);
        cpu
    }
}
