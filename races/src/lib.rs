//! The explorers: dynamic partial-order reduction, the shuttle portfolio, the loom runner.
//!
//! This crate answers one question about one subject (a `uapi` program on a revision of the
//! kernel model, or a program in kernel primitives): does any interleaving print a splat?
//!
//! * [`dpor`] decides: it exhausts the subject within written bounds, or says that it did not.
//! * [`portfolio`] samples with shuttle's random schedulers, [`loom`] explores weak memory in a
//!   child process; what they do not find is evidence, never a decision.
//! * [`simulate`] executes drawn programs under drawn schedules and makes what fails smaller;
//! * [`replay`] runs one [`Schedule`] (the replay token of a [`Failure`]) again.
//!
//! Nothing here knows iommufd: an explorer sees announced steps (`uapi::step`), not kernel
//! objects. Budgets count executions and steps; the only clock is loom's safety net.

use std::collections::{BTreeMap, BTreeSet};
use uapi::call::Call;
use uapi::errno::Errno;
use uapi::outcome::{LockClass, Outcome};
use uapi::program::Dependence;
use uapi::splat::Splat;
use uapi::verdict::Verdict;

mod backend;
mod beginnings;
mod brute;
mod counters;
mod decide;
mod dpor;
#[cfg(test)]
mod dpor_tests;
mod families;
pub mod golden;
mod loom;
pub mod mutation;
mod orders;
pub mod peers;
mod portfolio;
#[cfg(test)]
mod primitive_tests;
pub mod queue;
pub mod random;
mod replay;
mod schedule;
pub mod search;
pub mod seed;
pub mod simulate;
mod touch;
#[cfg(test)]
mod toy;

pub use backend::clear_environment;
pub use decide::dpor;
pub use loom::{loom, loom_child};
pub use portfolio::{portfolio, PORTFOLIO};
pub use replay::replay;
pub use schedule::{FailAt, Schedule, ScheduleError, Segment, Until};
pub use uapi::pick::{ModelError, Sampler, Subject};

/// Which compilation of the model executes the steps. [`dpor`] and [`replay`] run on any of them
/// and find the same.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Backend {
    /// Coroutines: the fastest.
    #[default]
    Native,
    /// A scheduler of shuttle.
    Shuttle,
    /// Operating system threads, one at a time.
    Std,
}

impl Backend {
    /// Name for output and options.
    pub fn name(self) -> &'static str {
        match self {
            Backend::Native => "native",
            Backend::Shuttle => "shuttle",
            Backend::Std => "std",
        }
    }
}

/// Whether a freed address is handed out again at once, so that pointer comparisons can meet ABA.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Recycle {
    /// Explores without; if any execution compared a freed pointer, explores again with, and
    /// reports that one.
    #[default]
    Auto,
    /// Every allocation has an address of its own.
    Never,
    /// The address freed last is handed out first.
    Always,
}

/// How far an exploration goes. Everything that limits an answer stands here and is printed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bounds {
    /// Executions (redundant ones included) after which the exhaustive search gives up.
    pub executions_max: u64,
    /// Steps after which one execution is given up.
    pub steps_max: u32,
    /// Preemptions per execution of the exhaustive search; `None`: any number. A bounded search
    /// never says `Never` unless the bound refused nothing.
    pub preemptions_max: Option<u32>,
    /// Executions per sampler of the portfolio.
    pub samples: u64,
    /// Seed of the samplers and of the size estimate.
    pub seed: u64,
    /// Permutations after which loom gives up.
    pub loom_permutations: u64,
    /// Seconds after which the loom child is killed: a safety net, so that a wrong permutation
    /// budget cannot hang a run.
    pub loom_seconds: u64,
    /// Address recycling.
    pub recycle: Recycle,
    /// Which steps are taken to conflict.
    pub dependence: Dependence,
    /// Answers that a call may give without a reason in any order of the calls.
    pub permitted: Vec<Permitted>,
}

/// An answer that a call may give although no order of the calls explains it: it stands for a
/// call that was not made.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Permitted {
    /// Which call.
    pub call: Call,
    /// What it answers.
    pub errno: Errno,
}

/// Answers of a passing execution that no order of whole calls explains.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unexplained {
    /// How many different such answers there are.
    pub answers: u64,
    /// An execution that gave the first of them, with its trace.
    pub outcome: Outcome,
    /// Its replay token.
    pub schedule: Schedule,
}

impl Default for Bounds {
    fn default() -> Bounds {
        Bounds {
            executions_max: 2_000_000,
            steps_max: 10_000,
            preemptions_max: None,
            samples: 2_000,
            seed: 7,
            loom_permutations: 20_000,
            loom_seconds: 60,
            recycle: Recycle::Auto,
            dependence: Dependence::Keyed,
            permitted: Vec::new(),
        }
    }
}

/// What an explorer found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Finding {
    /// The word.
    pub verdict: Verdict,
    /// Complete executions with at least one splat.
    pub failed: u64,
    /// Complete executions: those that were not ended quietly as redundant.
    pub executions: u64,
    /// Whether every execution within the bounds was run.
    pub exhausted: bool,
    /// The bounds in words: `exhausted`, `preemptions <= 2`, `random, seed 7`, loom's limits.
    pub note: String,
    /// First splat (its text) of the failing executions, with their number.
    pub splats: BTreeMap<String, u64>,
    /// The failing execution with the fewest context switches, then the fewest steps.
    pub failure: Option<Failure>,
    /// Executions that were ended quietly as redundant.
    pub pruned: u64,
    /// Size of the exhaustive search as estimated before it.
    pub estimate: Option<u64>,
    /// Whether some execution hit [`Bounds::steps_max`]: such a search is not exhausted.
    pub steps_max_hit: bool,
    /// Complete executions in which a sleeper's timer fired although what it waited for had
    /// already happened.
    pub late_wakeups: u64,
    /// In which orders classes of locks were taken, in all executions together: (held, taken).
    /// Only the deciding explorer fills it in.
    pub lock_order: BTreeSet<(LockClass, LockClass)>,
    /// Answers of passing executions that no order of whole calls explains. Only the deciding
    /// explorer looks for them.
    pub unexplained: Option<Unexplained>,
}

/// One failing execution.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Failure {
    /// The first splat.
    pub splat: Splat,
    /// All it gave, with the trace.
    pub outcome: Outcome,
    /// The replay token.
    pub schedule: Schedule,
    /// How often the CPU changed.
    pub context_switches: u32,
    /// Index into the trace's steps: the step after which no passing completion exists. `None`
    /// if the budget ran out before it was known (or there is no trace).
    pub point_of_no_return: Option<usize>,
}

/// How far an exploration has come.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Progress {
    /// Executions so far.
    pub executions: u64,
    /// Failing ones among them.
    pub failed: u64,
    /// Part of the search tree that is done, from 0 to 1.
    pub fraction: f64,
    /// Estimated number of executions to exhaust.
    pub estimate: Option<f64>,
}

/// The eyes of whoever started an exploration. Called about every 1,000 executions.
pub trait Watch {
    /// Shows progress.
    fn progress(&mut self, _progress: &Progress) {}

    /// Whether to stop. An interrupted exploration is not exhausted.
    fn interrupted(&self) -> bool {
        false
    }
}

/// Watches nothing and never stops.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unwatched;

impl Watch for Unwatched {}

/// One schedule, run again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Replayed {
    /// What it gave, with the trace.
    pub outcome: Outcome,
    /// How often the CPU changed.
    pub context_switches: u32,
}

/// Why a schedule could not be run again.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ReplayError {
    /// The subject cannot be run at all.
    Model(ModelError),
    /// The token names a program step, CPU or injection that the subject does not have.
    Foreign(String),
    /// The execution went another way.
    Differs {
        /// Index of the segment in the token, from 0.
        segment: usize,
        /// Index of the step in the execution, from 0.
        step: usize,
        /// What the token asked for: `CPU 1 before xa_cmpxchg in iommufd_vdevice_destroy (1st)`.
        expected: String,
        /// What the CPU did instead.
        instead: String,
    },
}

impl std::fmt::Display for ReplayError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ReplayError::Model(e) => e.fmt(f),
            ReplayError::Foreign(what) => {
                write!(f, "the token does not belong to this scenario: {what}")
            }
            ReplayError::Differs { segment, step, expected, instead } => write!(
                f,
                "the execution differs at step {step} (segment {segment} of the token): expected \
                 {expected}, but {instead}; run `check` on the scenario for a new token"
            ),
        }
    }
}

impl std::error::Error for ReplayError {}

impl From<ModelError> for ReplayError {
    fn from(e: ModelError) -> ReplayError {
        ReplayError::Model(e)
    }
}

/// Why loom gave no answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LoomError {
    /// The subject cannot be run by loom.
    Model(ModelError),
    /// The child process could not be started or spoken to.
    Child(String),
}

impl std::fmt::Display for LoomError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LoomError::Model(e) => e.fmt(f),
            LoomError::Child(what) => write!(f, "the loom child process failed: {what}"),
        }
    }
}

impl std::error::Error for LoomError {}
