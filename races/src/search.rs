//! The searches by themselves: for benches, for tests of the explorers, and for whoever wants
//! every outcome instead of a verdict.

use crate::backend;
use crate::brute::Brute;
use crate::dpor::{Config, Dpor, Sink, Stats};
use crate::{Backend, ModelError, Subject};
use uapi::outcome::Outcome;
use uapi::pick::Explore;
use uapi::program::Limits;
use uapi::step::Cpu;

/// What a search counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counts {
    /// Complete executions.
    pub executions: u64,
    /// Those with a splat.
    pub failed: u64,
    /// Executions that were ended quietly as redundant.
    pub pruned: u64,
    /// Whether nothing is left.
    pub exhausted: bool,
}

struct Counting<'a> {
    counts: Counts,
    on_outcome: &'a mut dyn FnMut(&[Cpu], Outcome) -> bool,
}

impl Sink for Counting<'_> {
    fn executed(&mut self, choices: &[Cpu], outcome: Option<Outcome>, _: &Stats) -> bool {
        match outcome {
            None => {
                self.counts.pruned += 1;
                true
            }
            Some(outcome) => {
                self.counts.executions += 1;
                self.counts.failed += u64::from(!outcome.splats.is_empty());
                (self.on_outcome)(choices, outcome)
            }
        }
    }

    fn restarted(&mut self) {
        self.counts = Counts::default();
    }
}

/// Every execution that can differ from the others, with partial-order reduction. `on_outcome`
/// gets the choices and what they gave; false ends the search. If the search starts again because
/// a counter turned out not to commute, outcomes from before are seen twice and counted once.
///
/// # Errors
///
/// If the subject cannot be run at all, or does not do the same thing twice.
pub fn reduced(
    subject: &Subject,
    backend: Backend,
    limits: &Limits,
    executions_max: u64,
    on_outcome: &mut dyn FnMut(&[Cpu], Outcome) -> bool,
) -> Result<Counts, ModelError> {
    let mut counting = Counting { counts: Counts::default(), on_outcome };
    let config = Config { dependence: limits.dependence, executions_max, ..Config::default() };
    let mut dpor = Dpor::new(config, &mut counting);
    backend::explore(backend, subject, &mut dpor, limits)?;
    let exhausted = dpor.exhausted;
    if let Some(what) = dpor.broken.take() {
        return Err(ModelError::Malformed(what));
    }
    Ok(Counts { exhausted, ..counting.counts })
}

/// Every execution, without any reduction: for tiny subjects.
///
/// # Errors
///
/// If the subject cannot be run at all.
pub fn brute_force(
    subject: &Subject,
    backend: Backend,
    limits: &Limits,
    executions_max: u64,
    on_outcome: &mut dyn FnMut(&[Cpu], Outcome) -> bool,
) -> Result<Counts, ModelError> {
    let mut counting = Counting { counts: Counts::default(), on_outcome };
    let mut brute = Brute::new(executions_max, &mut counting);
    backend::explore(backend, subject, &mut brute as &mut dyn Explore, limits)?;
    let exhausted = brute.exhausted;
    Ok(Counts { exhausted, ..counting.counts })
}
