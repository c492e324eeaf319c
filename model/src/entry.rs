//! The entry points of the backends that an explorer drives step by step.

use uapi::outcome::{Ending, Outcome};
use uapi::pick::{Explore, ModelError, Pick, Subject};
use uapi::program::Limits;
use uapi::step::{Cpu, Done, Pending};

use crate::guests::with_maker;
use crate::sync;

/// Executions until the explorer wants no more.
///
/// # Errors
///
/// If the subject cannot be run at all.
pub fn explore(
    subject: &Subject,
    explorer: &mut dyn Explore,
    limits: &Limits,
) -> Result<(), ModelError> {
    with_maker(subject, |maker| sync::drive(maker, explorer, limits))?
}

/// One execution. `None` if `pick` ended it quietly.
///
/// # Errors
///
/// If the subject cannot be run at all.
pub fn run(
    subject: &Subject,
    pick: &mut dyn Pick,
    limits: &Limits,
) -> Result<Option<Outcome>, ModelError> {
    let mut once = Once { pick, started: false, outcome: None };
    explore(subject, &mut once, limits)?;
    Ok(once.outcome)
}

/// An explorer of one execution.
struct Once<'a> {
    pick: &'a mut dyn Pick,
    started: bool,
    outcome: Option<Outcome>,
}

impl Pick for Once<'_> {
    fn pick(&mut self, pending: &[Pending], current: Option<Cpu>) -> Option<Cpu> {
        self.pick.pick(pending, current)
    }

    fn done(&mut self, done: &Done) {
        self.pick.done(done);
    }

    fn unlocked(&mut self, cpu: Cpu, obj: u32, key: u64) {
        self.pick.unlocked(cpu, obj, key);
    }

    fn stuck(&mut self, pending: &[Pending]) {
        self.pick.stuck(pending);
    }

    fn quiescent(&mut self) {
        self.pick.quiescent();
    }

    fn finished(&mut self, ending: Ending) {
        self.pick.finished(ending);
    }
}

impl Explore for Once<'_> {
    fn next_execution(&mut self) -> bool {
        !std::mem::replace(&mut self.started, true)
    }

    fn outcome(&mut self, outcome: Option<Outcome>) {
        self.outcome = outcome;
    }
}
