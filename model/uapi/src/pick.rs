//! The interface of an explorer: it chooses which CPU makes the next step.
//!
//! Explorers know nothing of iommufd. A backend announces, the explorer picks, the backend makes
//! the step and reports what it did.

use crate::outcome::{Ending, Outcome};
use crate::step::{Cpu, Done, Pending};

/// Chooses the order of steps of one execution.
pub trait Pick {
    /// Which CPU makes the next step?
    ///
    /// `pending` holds the announced step of every CPU that has not finished, by CPU number, the
    /// disabled ones included; at least one is enabled. `current` is the CPU that made the last
    /// step, if any. `None` ends the execution quietly (it is redundant).
    fn pick(&mut self, pending: &[Pending], current: Option<Cpu>) -> Option<Cpu>;

    /// What the chosen step really did. Called once after every step, before the next `pick`.
    fn done(&mut self, _done: &Done) {}

    /// `cpu` gave a lock back. An unlock is no step of its own: it happens together with the
    /// step before it. `obj` and `key` are those of the access that took the lock.
    fn unlocked(&mut self, _cpu: Cpu, _obj: u32, _key: u64) {}

    /// No CPU can run: `pending` are the steps still blocked. Afterwards the earliest timer fires
    /// (then `pick` is called again with that timer as the only enabled entry), or the execution
    /// ends in a deadlock. A timer that fires so happens after everything before it: it could not
    /// have fired earlier, so no step after it can be moved in front of a step before it.
    fn stuck(&mut self, _pending: &[Pending]) {}

    /// Every CPU has finished without a splat that ends the kernel. What still runs (`finally`,
    /// the checks) is not concurrent: if it stops the execution, no step of a CPU did.
    fn quiescent(&mut self) {}

    /// The execution is over.
    fn finished(&mut self, _ending: Ending) {}
}

/// Runs as many executions as it wants.
pub trait Explore: Pick {
    /// Whether there is another execution to run. Called before each execution.
    fn next_execution(&mut self) -> bool;

    /// What the execution gave. `None` if it was ended quietly by `pick`.
    fn outcome(&mut self, outcome: Option<Outcome>);
}

/// Runs one execution with the first enabled CPU: the sequential order of a story.
#[derive(Debug, Default)]
pub struct FirstEnabled;

impl Pick for FirstEnabled {
    fn pick(&mut self, pending: &[Pending], _current: Option<Cpu>) -> Option<Cpu> {
        pending.iter().find(|p| p.enabled).map(|p| p.cpu)
    }
}

/// What to execute.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub enum Subject {
    /// A program on a revision of the kernel model.
    Program {
        /// The program.
        program: crate::program::Program,
        /// Name (or alias) of the revision.
        revision: String,
    },
    /// A program in kernel primitives.
    Litmus(crate::litmus::Litmus),
    /// A program on the SMMUv3 command queue.
    Queue {
        /// The program.
        program: crate::queue::Queue,
        /// Name of the row of queue texts.
        revision: String,
    },
}

/// A random scheduler of the shuttle backend.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub enum Sampler {
    /// Uniform over the CPUs that can run.
    Random,
    /// Uniform random walk over interleavings.
    Urw,
    /// Probabilistic concurrency testing with this many priority changes.
    Pct(u32),
    /// Depth-first search without any reduction: for tiny programs and for comparison.
    Dfs,
}

/// How far the loom backend goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub struct LoomBounds {
    /// Executions after which it gives up.
    pub permutations_max: u64,
    /// Loom's preemption bound.
    pub preemptions_max: Option<u32>,
    /// Loom aborts the process when an execution has more branches than this.
    pub branches_max: u32,
}

/// Why a subject cannot be run at all.
#[derive(Clone, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
pub enum ModelError {
    /// No row has this name.
    UnknownRevision(String),
    /// More CPUs than this backend can run.
    TooManyCpus {
        /// In the program.
        cpus: usize,
        /// What the backend can run.
        max: usize,
    },
    /// The program is inconsistent: an index out of range, an operand of the wrong kind.
    Malformed(String),
}

impl std::fmt::Display for ModelError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ModelError::UnknownRevision(r) => {
                write!(f, "there is no revision `{r}`; `iommufd-testbed list` shows them")
            }
            ModelError::TooManyCpus { cpus, max } => {
                write!(f, "the program has {cpus} CPUs, this explorer can run {max}")
            }
            ModelError::Malformed(what) => write!(f, "the program is malformed: {what}"),
        }
    }
}

impl std::error::Error for ModelError {}

/// One row of the revisions, described.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RevisionInfo {
    /// Name of the row.
    pub name: &'static str,
    /// Other names that mean the same text.
    pub aliases: &'static [&'static str],
    /// For a twin: the row that it differs from in one text.
    pub twin_of: Option<&'static str>,
    /// What the row is, or what the twin does instead.
    pub doc: &'static str,
    /// Where its text comes from.
    pub source: &'static str,
}
