//! Making a failing program smaller: fewer CPUs, calls, objects, faults, switches, as long as it still
//! fails in the same way ([`Class::covers`]). What can be left out of one is in `program.rs` and
//! `queue.rs`.
//!
//! A candidate is tried with the schedule that failed before, as far as it still fits, and otherwise by
//! the reducing search with at most 0, 1 and 2 preemptions. What is left has few calls, and
//! whoever wants to know whether every interleaving of it was seen asks [`crate::dpor`].

mod program;
mod queue;

use super::{classes, fail_of, limits, Class, Plan, ANSWERS_MAX, BEGINNINGS_MAX};
use crate::backend;
use crate::beginnings::Explained;
use crate::dpor::{Config, Dpor, Sink, Stats};
use crate::orders::Sequential;
use crate::{Backend, ModelError, Schedule, Subject};
use uapi::outcome::{Ending, Outcome, StepResult};
use uapi::pick::Pick;
use uapi::step::{Cpu, Pending, CPUS_MAX};

/// Executions of each search with a preemption bound.
const BOUNDED: u64 = 192;

/// Beginnings of orders that are made for one answer: as many as the run may have made for all of
/// its answers, which share what they find out.
const ORDERS_MAX: u32 = BEGINNINGS_MAX * ANSWERS_MAX as u32;

/// A program that shows something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// The program, and the row that it runs on.
    pub subject: Subject,
    /// An execution that shows it.
    pub choices: Vec<Cpu>,
    /// Freed addresses are handed out again.
    pub recycle: bool,
}

/// What is to be kept while a program is made smaller.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
    /// What it shows.
    pub class: &'a Class,
    /// Whether somebody could make these calls: what makes no sense before it is made smaller
    /// makes none afterwards.
    pub allowed: &'a dyn Fn(&Subject) -> bool,
}

/// Runs the execution that shows it again, with its trace. Nothing, if it goes another way.
///
/// # Errors
///
/// If the subject cannot be run at all.
pub fn record(found: &Found) -> Result<Option<(Outcome, Schedule)>, ModelError> {
    let limits = limits(found.recycle);
    crate::replay::record(&found.subject, &[], &found.choices, &limits, Backend::Native)
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
    let Wanted { class, allowed } = *wanted;
    let mut shrinking = Shrinking { class, plan, left: most };
    let Some(mut best) = shrinking.shows(found)? else { return Ok(None) };
    loop {
        let before = best.subject.clone();
        for candidates in passes(&best.subject) {
            let mut from = 0;
            // A candidate that still fails becomes the program whose next part is left out.
            while let Some(smaller) = candidates(&best, from) {
                let shown = match allowed(&smaller.subject) {
                    true => shrinking.shows_if_it_runs(smaller)?,
                    false => None,
                };
                match shown {
                    Some(smaller) => best = smaller,
                    None => from += 1,
                }
            }
        }
        if best.subject == before || shrinking.left == 0 {
            return Ok(Some(best));
        }
    }
}

/// The `n`-th way to make a program smaller; nothing if there are no more.
type Candidates = fn(&Found, usize) -> Option<Found>;

/// What is tried with a program of this kind, the largest parts first.
fn passes(subject: &Subject) -> &'static [Candidates] {
    match subject {
        Subject::Program { .. } => program::PASSES,
        Subject::Queue { .. } => queue::PASSES,
        Subject::Litmus(_) => &[],
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
        let Found { subject, choices, recycle } = found;
        let shown = match self.guided(&subject, &choices, recycle)? {
            Some(choices) => Some(choices),
            None => self.searched(&subject, recycle)?,
        };
        Ok(shown.map(|choices| Found { subject, choices, recycle }))
    }

    /// The same. A row refuses queues that it has no room for, and a smaller ring or word may be one.
    fn shows_if_it_runs(&mut self, found: Found) -> Result<Option<Found>, ModelError> {
        let is_queue = matches!(found.subject, Subject::Queue { .. });
        match self.shows(found) {
            Err(ModelError::Malformed(_)) if is_queue => Ok(None),
            shown => shown,
        }
    }

    fn guided(
        &self,
        subject: &Subject,
        choices: &[Cpu],
        recycle: bool,
    ) -> Result<Option<Vec<Cpu>>, ModelError> {
        let mut guided = Guided { choices, at: 0, made: Vec::new() };
        let outcome = backend::run(Backend::Native, subject, &mut guided, &limits(recycle))?;
        let mut looking = Looking::new(subject, self.class);
        if let Some(outcome) = outcome {
            looking.look(&guided.made, outcome);
        }
        self.judged(subject, looking, recycle)
    }

    fn searched(&self, subject: &Subject, recycle: bool) -> Result<Option<Vec<Cpu>>, ModelError> {
        for preemptions in 0..=2 {
            let mut looking = Looking::new(subject, self.class);
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
    subject: &'a Subject,
    class: &'a Class,
    shown: Option<Vec<Cpu>>,
    passing: Vec<(Vec<StepResult>, Vec<Cpu>)>,
}

impl<'a> Looking<'a> {
    fn new(subject: &'a Subject, class: &'a Class) -> Looking<'a> {
        Looking { subject, class, shown: None, passing: Vec::new() }
    }

    fn look(&mut self, choices: &[Cpu], outcome: Outcome) {
        if classes(self.subject, &outcome).iter().any(|c| self.class.covers(c)) {
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
