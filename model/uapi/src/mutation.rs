//! Mutants: the kernel model with one step done otherwise.
//!
//! A mutant needs no build. [`crate::program::Limits::mutation`] names a call site and what is
//! done there instead; the primitive that is called there asks and obeys. Which changes make
//! sense for which primitive is [`PRIMITIVES`], one line for each.
//!
//! Queries (`xa_load`, `list_entry`, `refcount_read`, a plain load) are not changed: they have no
//! effect that could be left out, and no answer that would be neutral. Nothing is repeated that no
//! execution could survive (a lock taken twice, a list entry added twice) or that does the same
//! again, and memory is not freed later, nor a device dropped later, which is safe by itself.
//!
//! A change that makes the same program is no mutant. Whether it does is decided where the step is
//! made, for every execution without a mutant ([`crate::outcome::Outcome::apart`]), by the rules of
//! [`may_be_the_same`].

use serde::{Deserialize, Serialize};
use std::fmt;

/// What is done instead of the step.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Nothing, and the answer is the one that lets the caller go on: true, 0, the compared
    /// entry, the entry that is there. A lock is dropped together with its unlock.
    Omit,
    /// The step is made twice.
    Repeat,
    /// The step is made after the CPU's next unlock, and before it returns to user space at the
    /// latest. Nearly everything is published and looked at under a lock, so putting a step off
    /// past less would hardly ever be noticed.
    Defer,
    /// `xa_cmpxchg()`, `xa_insert()`: whatever is there. `xas_store()`, `xa_erase()`: by the rules
    /// of `xa_store()`, so that NULL keeps an id reserved.
    AsStore,
    /// `xa_release()`: whatever is there.
    AsErase,
    /// `refcount_inc_not_zero()`: `refcount_inc()`, and true.
    AsInc,
    /// `refcount_dec_and_test()`: nobody looks whether it was the last. `refcount_dec_if_one()`:
    /// whatever the value, and true.
    AsDec,
    /// `refcount_dec_if_one()`: `refcount_read() == 1`.
    AsRead,
    /// `down_write()`: `down_read()`, and its unlock likewise.
    AsShared,
    /// `wait_event_interruptible()`: sleeps in TASK_UNINTERRUPTIBLE.
    AsUninterruptible,
    /// `wake_up_all()`: wakes only those who sleep in TASK_INTERRUPTIBLE.
    AsInterruptible,
    /// `wait_event_timeout()`: without a timer.
    TimerIgnored,
}

impl Change {
    /// Every change.
    pub const ALL: &'static [Change] = &[
        Change::Omit,
        Change::Repeat,
        Change::Defer,
        Change::AsStore,
        Change::AsErase,
        Change::AsInc,
        Change::AsDec,
        Change::AsRead,
        Change::AsShared,
        Change::AsUninterruptible,
        Change::AsInterruptible,
        Change::TimerIgnored,
    ];

    /// Its name in data files.
    pub fn name(self) -> &'static str {
        match self {
            Change::Omit => "omit",
            Change::Repeat => "repeat",
            Change::Defer => "defer",
            Change::AsStore => "as_store",
            Change::AsErase => "as_erase",
            Change::AsInc => "as_inc",
            Change::AsDec => "as_dec",
            Change::AsRead => "as_read",
            Change::AsShared => "as_shared",
            Change::AsUninterruptible => "as_uninterruptible",
            Change::AsInterruptible => "as_interruptible",
            Change::TimerIgnored => "timer_ignored",
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A mutant: the call site's index in the model's list, and what is done there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Mutation {
    /// Index of the [`CallSite`].
    pub site: u16,
    /// What is done instead.
    pub change: Change,
}

/// A mutant by the name of its call site, as a program carries it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mutant {
    /// [`CallSite::name`]
    pub site: String,
    /// What is done instead.
    pub change: Change,
}

/// A place in the kernel model that calls a primitive, or a label of an unwind.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct CallSite {
    /// Source file below `src/`.
    pub file: &'static str,
    /// Line, from 1.
    pub line: u32,
    /// Column of the primitive's name, from 1.
    pub column: u32,
    /// The modelled C function.
    pub function: &'static str,
    /// The line of the Rust function around it: a C function may be split into several.
    pub part: u32,
    /// The primitive's C name, or that of the label.
    pub op: &'static str,
    /// Which call of this primitive in the C function of this file it is, from 1.
    pub nth: u32,
    /// What can be done there instead. Nothing at a label, which is no step, and in the command
    /// queue ([`OF_QUEUE`]).
    pub changes: &'static [Change],
}

impl CallSite {
    /// Whether it is a label.
    pub fn is_label(&self) -> bool {
        self.changes.is_empty() && !self.is_of_queue()
    }

    /// Whether it is a call of the command queue.
    pub fn is_of_queue(&self) -> bool {
        OF_QUEUE.contains(&self.op)
    }

    /// Its name in data files, which survives changes elsewhere: file, function, primitive and
    /// ordinal.
    pub fn name(&self) -> String {
        format!("{} {} {}#{}", self.file, self.function, self.op, self.nth)
    }
}

/// Whether a rule can tell that this change of this primitive makes the same program:
///
/// * [`Change::Defer`]: if the CPU makes no other step, and gives no lock back, between the step
///   and its return to user space, then there is nothing that the step could be put off past.
/// * [`Change::Defer`] of a `store`: if nobody else can reach the field up to the unlock that the
///   store is put off past, and the CPU itself does not look at it up to there, then nobody can
///   tell when it was set. Nobody can reach a field of an allocation as long as no pointer to it
///   was ever stored, in whatever memory; storing one is a step that sees to it
///   (`sync::escaped()`).
/// * [`Change::AsStore`] of `xa_erase()`: an array that gives out no ids reserves none, so storing
///   NULL frees the index.
/// * [`Change::AsStore`] of `xas_store()`: in such an array, if nothing in it is reserved, both
///   store the same and give the same old entry.
///
/// * [`Change::AsErase`] of `xa_release()`: what it finds reserved it frees, as `xa_erase()` does.
///
/// None depends on what other CPUs do. A call site that one execution saw otherwise is changed.
pub fn may_be_the_same(op: &str, change: Change) -> bool {
    match change {
        Change::Defer => true,
        Change::AsStore => matches!(op, "xa_erase" | "xas_store"),
        Change::AsErase => op == "xa_release",
        _ => false,
    }
}

/// The primitives of the command queue. Their calls are counted where a simulation asks what it has
/// reached; none is changed, as the mutants of the queue are rows of their own
/// (reports/kill-matrix.md).
pub const OF_QUEUE: &[&str] = &[
    "atomic_cond_read",
    "atomic_fetch",
    "atomic_set",
    "cmpxchg",
    "queue_poll",
    "read_entry",
    "read_once",
    "readl",
    "write_entries",
    "write_entry",
    "write_part",
    "writel",
];

/// What makes sense for each primitive. A call of a primitive that is not in this list is not
/// changed.
pub const PRIMITIVES: &[(&str, &[Change])] = {
    use Change::*;
    &[
        ("copy_from_user", &[Omit]),
        ("copy_to_user", &[Omit]),
        ("copy_to_user_page", &[Omit]),
        ("down_read", &[Omit]),
        ("down_read_trylock", &[Omit]),
        ("down_write", &[Omit, AsShared]),
        ("down_write_nest_lock", &[Omit, AsShared]),
        ("down_write_trylock", &[Omit]),
        ("get_device", &[Omit, Repeat, Defer]),
        ("iommu_map", &[Omit]),
        ("iommu_unmap", &[Omit]),
        ("kfree", &[Omit, Repeat]),
        ("list_add", &[Omit, Defer]),
        ("list_add_tail", &[Omit, Defer]),
        ("list_del_init", &[Omit, Defer]),
        ("mtree_erase", &[Omit]),
        ("mutex_lock", &[Omit]),
        ("mutex_trylock", &[Omit]),
        ("put_device", &[Omit, Repeat]),
        ("refcount_add", &[Omit, Repeat, Defer]),
        ("refcount_dec", &[Omit, Repeat, Defer]),
        ("refcount_dec_and_test", &[Omit, Repeat, AsDec]),
        ("refcount_dec_if_one", &[AsDec, AsRead]),
        ("refcount_inc", &[Omit, Repeat, Defer]),
        ("refcount_inc_not_zero", &[Omit, Repeat, AsInc]),
        ("refcount_set", &[Omit, Defer]),
        ("spin_lock", &[Omit]),
        ("store", &[Omit, Defer]),
        ("wait_event", &[Omit]),
        ("wait_event_interruptible", &[Omit, AsUninterruptible]),
        ("wait_event_interruptible_timeout", &[Omit, AsUninterruptible, TimerIgnored]),
        ("wait_event_timeout", &[Omit, TimerIgnored]),
        ("wake_up_all", &[Omit, Defer, AsInterruptible]),
        ("wake_up_interruptible_all", &[Omit, Defer]),
        ("xa_cmpxchg", &[Omit, AsStore]),
        ("xa_cmpxchg_slot", &[Omit, AsStore]),
        ("xa_destroy", &[Omit, Defer]),
        ("xa_erase", &[Omit, AsStore]),
        ("xa_insert", &[Omit, AsStore]),
        ("xa_lock", &[Omit]),
        ("xa_lock_index", &[Omit]),
        ("xa_lock_index_read", &[Omit]),
        ("xa_release", &[Omit, AsErase]),
        ("xa_reserve", &[Omit]),
        ("xa_store", &[Omit]),
        ("xa_store_slot", &[Omit]),
        ("xas_store", &[Omit, AsStore]),
    ]
};
