//! What one execution gave.

use crate::errno::Ret;
use crate::mutation::Change;
use crate::splat::Splat;
use crate::step::Cpu;
use crate::trace::Trace;
use serde::{Deserialize, Serialize};

/// How an execution ended.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Ending {
    /// Every CPU finished and the checks at quiescence ran.
    Complete,
    /// No CPU could run: a deadlock. It is a splat, too.
    Deadlock,
    /// A splat that ends a kernel (KASAN, lock misuse) stopped it.
    Stopped,
    /// The explorer ended it quietly: it would have been redundant.
    Pruned,
    /// The bound on steps was hit.
    StepLimit,
}

/// Which list of a program a step stands in.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Place {
    /// `setup`
    Setup,
    /// A `[[cpu]]`.
    Cpu(Cpu),
    /// `finally`
    Finally,
    /// What the testbed does at the end of every execution: unbind what is bound, close what is
    /// open.
    Exit,
}

/// What one program step answered.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct StepResult {
    /// Where the step stands.
    pub place: Place,
    /// Its index in that list.
    pub index: u32,
    /// The answer. `None`: skipped, because an operand was bound by a step that failed.
    pub ret: Option<Ret>,
    /// The values given out, in the order of the call's outputs (ids, numbers).
    pub out: Vec<u64>,
    /// `entry_num` as written back, for invalidations whose answer reached user space.
    pub entry_num: Option<u32>,
    /// Whether the step's fault injection was consumed: its n-th failing point was reached.
    pub injected: bool,
}

/// A class of locks, as lockdep has them: a struct and the field that the lock is.
pub type LockClass = (&'static str, &'static str);

/// The result of one execution.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// How it ended.
    pub ending: Ending,
    /// What each program step answered, in program order: setup, CPU 0, CPU 1, …, finally.
    pub results: Vec<StepResult>,
    /// What the kernel would have printed, in order. A verdict matches the first one.
    pub splats: Vec<Splat>,
    /// Scheduling points of the execution.
    pub steps: u32,
    /// Whether a freed pointer was compared with another one. Only then can the re-use of
    /// addresses be seen by the program.
    pub stale_compare: bool,
    /// Sleepers whose timer fired although what they waited for had already happened (nobody woke
    /// them). A finding of its own: no splat, so it does not taint other questions.
    #[serde(default)]
    pub late_wakeups: u32,
    /// In which orders classes of locks were taken: (held, taken). What lockdep sees of one
    /// execution; explorers add the orders of all of them up.
    #[serde(skip)]
    pub lock_order: Vec<(LockClass, LockClass)>,
    /// Values that the execution left behind, for litmus programs: registers by thread, then
    /// variables.
    pub state: Vec<i64>,
    /// The call sites that were reached, ascending, if [`crate::program::Limits::reach`] asked
    /// for them.
    #[serde(default)]
    pub reached: Vec<u16>,
    /// The changes of these call sites that a rule could have called the same program
    /// ([`crate::mutation::may_be_the_same`]), and that were seen to make another one.
    #[serde(default)]
    pub apart: Vec<(u16, Change)>,
    /// The log, if [`crate::program::Limits::trace`] asked for it.
    pub trace: Option<Trace>,
}
