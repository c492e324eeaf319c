//! The step that a CPU is about to make, as an explorer sees it.
//!
//! A step is one call of a primitive (`xa_cmpxchg`, `refcount_inc`, `mutex_lock`, …). It is
//! announced with the accesses it may make before it happens, and reported with the accesses it
//! did make afterwards. Nothing here knows iommufd: an object is a number, given out in order of
//! creation and therefore the same in every execution that has the same prefix.

use arrayvec::ArrayVec;
use serde::{Deserialize, Serialize};

/// A CPU of a program, from 0. Timers are CPUs of their own, see [`timer_of`].
pub type Cpu = u8;

/// How many CPUs one program can have.
pub const CPUS_MAX: usize = 8;

/// One past the highest [`Cpu`] number in use: the CPUs and one timer for each.
pub const CPU_NUMBERS: usize = 2 * CPUS_MAX;

/// The pseudo CPU whose only step is the expiry of the timer that `cpu` sleeps on.
pub fn timer_of(cpu: Cpu) -> Cpu {
    cpu + CPUS_MAX as Cpu
}

/// The CPU that sleeps on this timer, if the number is a timer's.
pub fn sleeper_of(cpu: Cpu) -> Option<Cpu> {
    (cpu as usize >= CPUS_MAX).then(|| cpu - CPUS_MAX as Cpu)
}

/// How a step touches what an [`Access`] names.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Mode {
    /// Reads only: two reads never conflict.
    Read,
    /// Writes, or reads and writes: conflicts with every access that overlaps.
    Write,
    /// Changes a counter and throws the result away (`refcount_inc`, `refcount_dec`). The number
    /// is the change. Commutes with its like as long as no order crosses zero or saturates.
    Add(i32),
    /// Changes a counter and learns only whether it crossed zero (`refcount_inc_not_zero`,
    /// `refcount_dec_and_test`). Commutes with `Add` and its like under the keyed dependence as
    /// long as no order crosses zero.
    AddTest(i32),
    /// Takes a lock exclusively. Such a step is disabled while the lock is held.
    Lock,
    /// Takes a lock shared. Such a step is disabled while the lock is held exclusively.
    LockShared,
}

/// One thing a step touches: a range of keys of one object.
///
/// A keyed primitive (an xarray) uses one key per index; a plain object uses key 0; memory can
/// be named as (allocation, offset, size).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Access {
    /// Ordinal of the object within the execution.
    pub obj: u32,
    /// Number of keys from `key` on, at least 1; `u32::MAX` together with key 0 means every key.
    pub len: u32,
    /// First key.
    pub key: u64,
    /// How.
    pub mode: Mode,
}

impl Access {
    /// An access to one key.
    pub fn key(obj: u32, key: u64, mode: Mode) -> Access {
        Access { obj, len: 1, key, mode }
    }

    /// An access to the whole object.
    pub fn all(obj: u32, mode: Mode) -> Access {
        Access { obj, len: u32::MAX, key: 0, mode }
    }

    /// Whether this access covers every key of its object.
    pub fn is_all(&self) -> bool {
        self.len == u32::MAX && self.key == 0
    }

    /// Whether the two name a common key of one object.
    pub fn overlaps(&self, other: &Access) -> bool {
        self.obj == other.obj
            && (self.is_all()
                || other.is_all()
                || (self.key < other.key.saturating_add(u64::from(other.len))
                    && other.key < self.key.saturating_add(u64::from(self.len))))
    }
}

/// The accesses of one step.
pub type Accesses = ArrayVec<Access, 5>;

/// The next step of one CPU, announced and not yet made.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Pending {
    /// Whose step it is.
    pub cpu: Cpu,
    /// Whether it can be made now. A lock held elsewhere, a false wait condition and a timer that
    /// may not fire yet are disabled.
    pub enabled: bool,
    /// Whether the step waits for a condition on what it reads (a wait queue), so that it can be
    /// disabled for another reason than a lock.
    pub awaits: bool,
    /// The primitive's C name.
    pub op: &'static str,
    /// Where in the model the step is called.
    pub site: Site,
    /// What it may touch.
    pub accesses: Accesses,
}

/// A place in the model's source.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Site {
    /// Source file as the compiler names it. Cut it at `src/` to compare between backends.
    pub file: &'static str,
    /// Line, from 1.
    pub line: u32,
    /// Column, from 1: a line may call several primitives.
    pub column: u32,
}

/// What the chosen step turned out to do.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Done {
    /// Whose step it was.
    pub cpu: Cpu,
    /// For the counter access among them, if any: the value before the step, and whether the
    /// step met zero, a negative value or saturation (then it does not commute with anything).
    /// `None` although a change was announced: the counter's owner was not in the place that is
    /// announced before the change (`fget()` of a file that was closed).
    pub counter: Option<Counter>,
}

/// The state of a counter around one step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Counter {
    /// Which object.
    pub obj: u32,
    /// Value before the step.
    pub before: i32,
    /// Value after the step.
    pub after: i32,
}
