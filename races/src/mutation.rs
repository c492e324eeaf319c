//! Mutants: does a question notice that one step of the model is done otherwise?
//!
//! The search is that of [`crate::dpor`], with less to say: it ends as soon as the recorded
//! verdict can no longer be the verdict, or can no longer be missed. No failure is made shorter
//! and no trace is kept. Counts, which an early end would falsify, are given only where the
//! search went to its end.

use crate::backend;
use crate::decide::limits;
use crate::dpor::{Config, Dpor, Sink, Stats};
use crate::families::{self, Seen};
use crate::orders::{Answers, Sequential};
use crate::{Backend, Bounds, FailAt, ModelError, Subject, Watch};
use std::cell::RefCell;
use std::collections::BTreeSet;
use uapi::mutation::{Change, Mutation};
use uapi::outcome::{Ending, Outcome};
use uapi::program::Limits;
use uapi::step::Cpu;
use uapi::verdict::Expected;

/// What a question says to a mutant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Notice {
    /// The verdict is the recorded one.
    No,
    /// The verdict is another one; why.
    Yes(String),
    /// The budget ended before either was known.
    OutOfBudget,
    /// The watch ended it.
    Interrupted,
}

/// What a question does without a mutant.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Baseline {
    /// [`Notice::No`] if the verdict is the recorded one.
    pub notice: Notice,
    /// The call sites that its executions reach.
    pub reached: BTreeSet<u16>,
    /// The changes of them that were seen to make another program
    /// ([`uapi::mutation::may_be_the_same`]).
    pub apart: BTreeSet<(u16, Change)>,
    /// Executions that it takes, redundant ones included.
    pub executions: u64,
}

/// What is recorded beside the verdict.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Beside {
    /// Some wait ends by its timer although its condition already held.
    pub late_wakeup: bool,
    /// Some answers are those of no order of the calls.
    pub unexplained: bool,
}

/// What the executions have shown so far.
#[derive(Default)]
struct Shown {
    passed: bool,
    /// Failed as recorded.
    failed: bool,
    /// The first splat of another failure.
    other: Option<String>,
    endless: bool,
    /// Some wait ended late.
    late: bool,
    /// Some answers are those of no order of the calls.
    unexplained: bool,
    executed: u64,
    cut: bool,
    interrupted: bool,
}

impl Shown {
    /// The answer, if no further execution can change it.
    fn decided(&self, expected: &Expected) -> Option<Notice> {
        let other = || self.other.clone().unwrap_or_default();
        if self.endless {
            return Some(Notice::Yes("an execution does not end".to_string()));
        }
        match expected {
            Expected::Never if self.other.is_some() => Some(Notice::Yes(other())),
            Expected::Sometimes(_) if self.passed && self.failed => Some(Notice::No),
            Expected::Always(text) if self.passed => {
                Some(Notice::Yes(format!("an execution passes, recorded Always \"{text}\"")))
            }
            _ => None,
        }
    }

    /// The answer when every execution was seen.
    fn exhausted(&self, expected: &Expected, beside: Beside) -> Notice {
        let Beside { late_wakeup, unexplained } = beside;
        match expected {
            Expected::Never if self.late != late_wakeup => {
                let other = if late_wakeup { "no wake-up is late" } else { "a wake-up is late" };
                Notice::Yes(other.to_string())
            }
            Expected::Never if self.unexplained != unexplained => {
                let other = if unexplained { "all answers are" } else { "not all answers are" };
                Notice::Yes(format!("{other} those of some order of the calls"))
            }
            Expected::Never => Notice::No,
            Expected::Always(_) | Expected::Sometimes(_) if !self.passed && !self.failed => {
                Notice::Yes(self.other.clone().unwrap_or_else(|| "nothing ran".to_string()))
            }
            Expected::Always(_) => Notice::No,
            Expected::Sometimes(text) => Notice::Yes(match self.failed {
                true => format!("every execution prints \"{text}\", recorded Sometimes"),
                false => format!("no execution prints \"{text}\""),
            }),
        }
    }
}

/// What the executions of a question enter.
#[derive(Default)]
struct Places {
    reached: BTreeSet<u16>,
    apart: BTreeSet<(u16, Change)>,
}

/// One search of one member of the family.
struct Looking<'a> {
    expected: &'a Expected,
    fail: &'a [FailAt],
    watch: &'a mut dyn Watch,
    /// Whether the search may end before its end.
    early: bool,
    shown: &'a mut Shown,
    places: &'a mut Places,
    seen: Seen,
    answers: Answers,
}

impl Sink for Looking<'_> {
    fn executed(&mut self, choices: &[Cpu], outcome: Option<Outcome>, _: &Stats) -> bool {
        self.shown.executed += 1;
        if let Some(outcome) = outcome {
            self.seen.look(&outcome, self.fail);
            self.places.reached.extend(&outcome.reached);
            self.places.apart.extend(&outcome.apart);
            self.shown.endless |= outcome.ending == Ending::StepLimit;
            self.shown.late |= outcome.late_wakeups > 0;
            if *self.expected == Expected::Never {
                self.answers.look(&outcome, choices);
            }
            match (outcome.splats.first().map(ToString::to_string), self.expected) {
                (None, _) => self.shown.passed = true,
                (Some(splat), Expected::Sometimes(text) | Expected::Always(text))
                    if splat.contains(text.as_str()) =>
                {
                    self.shown.failed = true;
                }
                (Some(splat), _) => _ = self.shown.other.get_or_insert(splat),
            }
        }
        if self.shown.executed % 1_024 == 0 {
            self.shown.interrupted |= self.watch.interrupted();
        }
        let enough = self.early && self.shown.decided(self.expected).is_some();
        !(enough || self.shown.interrupted)
    }
}

/// Runs the question without a mutant, to its end.
///
/// # Errors
///
/// If the subject cannot be run at all.
pub fn baseline(
    subject: &Subject,
    (expected, beside): (&Expected, Beside),
    bounds: &Bounds,
    watch: &mut dyn Watch,
) -> Result<Baseline, ModelError> {
    let mut places = Places::default();
    let (notice, executions) =
        search(subject, (expected, beside), bounds, None, &mut places, watch)?;
    let Places { reached, apart } = places;
    Ok(Baseline { notice, reached, apart, executions })
}

/// Whether the recorded verdict is another one with this mutation.
///
/// # Errors
///
/// If the subject cannot be run at all.
pub fn notices(
    subject: &Subject,
    (expected, beside): (&Expected, Beside),
    bounds: &Bounds,
    mutation: Mutation,
    watch: &mut dyn Watch,
) -> Result<Notice, ModelError> {
    let mut places = Places::default();
    search(subject, (expected, beside), bounds, Some(mutation), &mut places, watch).map(|(n, _)| n)
}

/// Runs the members of the question. A search without a mutant notes what is reached, and runs to
/// its end.
fn search(
    subject: &Subject,
    (expected, beside): (&Expected, Beside),
    bounds: &Bounds,
    mutation: Option<Mutation>,
    places: &mut Places,
    watch: &mut dyn Watch,
) -> Result<(Notice, u64), ModelError> {
    let early = mutation.is_some();
    let shown = RefCell::new(Shown::default());
    let started = std::cell::Cell::new(0);
    families::each(
        subject,
        bounds.recycle,
        &mut |subject, fail, recycle| {
            let limits = Limits { mutation, reach: !early, ..limits(bounds, recycle) };
            let mut shown = shown.borrow_mut();
            let config = Config {
                dependence: bounds.dependence,
                executions_max: bounds.executions_max.saturating_sub(started.get()),
                preemptions_max: bounds.preemptions_max,
                ..Config::default()
            };
            let before = shown.executed;
            let seen = Seen::default();
            let shown = &mut *shown;
            let mut looking = Looking {
                expected,
                fail,
                watch,
                early,
                shown,
                places: &mut *places,
                seen,
                answers: Answers::default(),
            };
            let mut dpor = Dpor::new(config, &mut looking);
            backend::explore(Backend::Native, subject, &mut dpor, &limits)?;
            if let Some(what) = dpor.broken.take() {
                return Err(ModelError::Malformed(what));
            }
            let (exhausted, refused) = (dpor.exhausted, dpor.stats.refused);
            let (seen, answers) = (looking.seen, looking.answers);
            let shown = &mut *shown;
            if *expected == Expected::Never && exhausted && !shown.unexplained {
                // The sequential model has the mutation, too: what it answers is what is asked.
                let sequential = Sequential::new(subject, fail, &bounds.permitted, limits);
                sequential.unexplained(&answers, |_| shown.unexplained = true)?;
            }
            started.set(started.get() + shown.executed - before);
            let decided = early && shown.decided(expected).is_some();
            shown.cut |= !decided && (!exhausted || refused);
            Ok(Seen { over: decided || shown.cut || shown.interrupted, ..seen })
        },
        &mut || *shown.borrow_mut() = Shown::default(),
    )?;
    let shown = shown.into_inner();
    let notice = match shown.decided(expected) {
        Some(notice) => notice,
        None if shown.interrupted => Notice::Interrupted,
        None if shown.cut => Notice::OutOfBudget,
        None => shown.exhausted(expected, beside),
    };
    Ok((notice, started.get()))
}
