//! What a kernel would print. All texts live in this file.
//!
//! Sources: lib/refcount.c, lib/list_debug.c, mm/kasan/report.c, kernel/locking/lockdep.c,
//! kernel/hung_task.c, kernel/watchdog.c, mm/kmemleak.c, kernel/kcsan/report.c (their message
//! formats); reference/iommufd.md 1.3, 6.1, 6.5 and 6.6 for when each appears. The texts under `Invariant` are the testbed's own: a kernel
//! goes on silently there.

use serde::{Deserialize, Serialize};
use std::fmt;

/// One message, with the place that printed it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub struct Splat {
    /// Which message.
    pub kind: Kind,
    /// The modelled C function that it was printed in; empty at quiescence.
    pub function: String,
    /// What it is about: `vdevice#7->obj.users`, a lock, a condition.
    pub detail: String,
}

/// The messages.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Kind {
    /// refcount_inc() of 0.
    RefcountAddOnZero,
    /// A refcount overflowed or was saturated.
    RefcountSaturated,
    /// refcount_dec_and_test() below 0.
    RefcountUnderflow,
    /// refcount_dec() hit 0.
    RefcountDecHitZero,
    /// Access to a freed object.
    KasanUseAfterFree,
    /// kfree() of a freed object.
    KasanDoubleFree,
    /// kfree() of something that was never allocated.
    KasanInvalidFree,
    /// Dereference of NULL.
    NullDeref,
    /// Dereference of an xarray's internal entry.
    BadDeref,
    /// WARN_ON()
    Warn,
    /// An object still allocated at the end, with nothing left that could free it.
    Leak,
    /// list_add() of an entry that is on the list.
    ListDoubleAdd,
    /// A lock taken twice by one task.
    RecursiveLock,
    /// Locks taken in two orders.
    CircularLock,
    /// unlock without lock.
    BadUnlock,
    /// kfree() of memory that contains a held lock.
    HeldLockFreed,
    /// kfree() of memory that contains a lock or wait queue on which a task sleeps.
    WaitedLockFreed,
    /// Return to user space with a lock held.
    HeldAtReturn,
    /// lockdep_assert_held() failed.
    AssertHeld,
    /// A sleeping function was called under a spinlock.
    SleepInAtomic,
    /// Nobody can run any more.
    HungTask,
    /// A loop that does not end and never sleeps.
    SoftLockup,
    /// Two plain accesses, one of them a write, with nothing to order them.
    DataRace,
    /// kfree() of memory that somebody may still access: nothing orders a plain access before it.
    FreeRace,
    /// An invariant of reference/iommufd.md 1.3 (I8, I9, I11) or ownership is broken.
    Invariant,
    /// A step answered something that the scenario does not list.
    UnexpectedAnswer,
    /// An assertion of a litmus program.
    Assertion,
}

/// The texts of [`Kind::Invariant`], with `{}` for what is named in them: a scenario's verdict is
/// checked against these, so an invariant that the model learns to print is a line here, too.
pub const INVARIANTS: &[&str] = &[
    // I11: the slot is empty or somebody else's while a vDEVICE that is fully set up has its id.
    "viommu->vdevs[{}] lost a live vDEVICE",
    // I11: the vDEVICE is past its destroy and still in the slot.
    "viommu->vdevs[{}] holds a freed vDEVICE",
    // R-C14: a device was registered with the vIOMMU of another physical IOMMU.
    "viommu->vdevs[{}] is {}, which sits behind another IOMMU",
    // R-D5: two groups live for one group of the IOMMU core, or one that nobody can find.
    "ictx->groups[{}] lost a live group",
    // R-C15: a vDEVICE that outlives its bound device still leads to it.
    "invalidation reached {} after its DMA ownership was released",
    // I9: a counter is not the sum of its holders.
    "{} is {}, its ledger says {}",
    "{} is {} after the files are closed, its ledger says {}",
    "{} is still owned after the files are closed",
    // I9 between two steps: what is found under a lock holds what it says it holds.
    "{} is {} when {} is given back, those who hold it add up to {}",
    "{} is {} when its object is freed",
    "{} is claimed {} times, and its owner says otherwise",
    // Nothing is published before it is complete.
    "{} is set after others can find it",
    "{} is installed before its access is there",
    // 2.8: no IOAS becomes visible while all of them are taken.
    "{} can be found and is not taken",
    // I8: an id was given out again that user space believes it still owns.
    "id {} was given out again after a forced destroy",
    // The kernel destroyed an object that only user space may destroy.
    "id {} vanished although user space owns it",
    // The command queue, I1 to I13 of reference/smmuv3.md 3.5.
    "cmdq: entry_num says that {} commands were handled, {} of them reached the ring",
    "cmdq: entry_num says that {} commands were handled, {} of them were replaced by a CMD_SYNC",
    "cmdq: slot {} is written before the SMMU has read what was in it",
    "cmdq: the SMMU reads slot {}, which does not hold the entry of this lap",
    "cmdq: PROD covers slot {}, which is not valid yet",
    "cmdq: PROD moves back from {} to {}",
    "cmdq: PROD {} with CONS {} is no state of the ring",
    "cmdq: CPU {} becomes owner while CPU {} is publishing",
    "cmdq: the entries of a list are not where its CAS put them: {} instead of {}",
    "cmdq: CPU {} returns from its CMD_SYNC, which is not complete",
    "cmdq: llq.cons {} is ahead of the SMMU's CONS {}",
    "cmdq: llq.prod is more than a lap ahead of llq.cons",
    "cmdq: llq.prod laps the CMD_SYNC that CPU {} waits for",
    "cmdq: llq.cons passes the CMD_SYNC that CPU {} still waits for",
    "cmdq: the lock counts {} holders, there are {}",
    "cmdq: CPU {} waits for the shared lock and is overtaken",
    "cmdq: CPU {} times out although the SMMU consumes",
    "cmdq: the valid bit of slot {} is not that of the last lap",
    "cmdq: after an illegal command the SMMU consumes something else than a CMD_SYNC",
    "cmdq: CPU {}'s command {} comes after its command {}",
    "cmdq: CPU {}'s commands reach the SMMU in another order than it issued them",
    "cmdq: CPU {} issues two lists without a CMD_SYNC between them",
    "cmdq: CPU {} returns from its batch, of which {} entries in queue {} are not complete",
    "cmdq: CPU {} returns from its batch, of which {} entries in queue {} were replaced by a CMD_SYNC",
    "cmdq: llq.prod is two laps ahead of llq.cons",
    // B15: an SMMU that needs every invalidation twice.
    "cmdq: CPU {} returns, and {} of its invalidations ran once on an SMMU that needs two",
    // B14: dev_err_ratelimited() of who waits for space.
    "cmdq: CMDQ timeout: CPU {} waits for space, and the SMMU is dead",
    // B18: an SMMU without power.
    "cmdq: the SMMU is switched off with {} commands in the ring",
    "cmdq: CPU {} writes PROD of an SMMU that has no power",
    "cmdq: CPU {} reads CONS of an SMMU that has no power",
];

impl Kind {
    /// Every kind, for checks of verdict texts.
    pub const ALL: &'static [Kind] = &[
        Kind::RefcountAddOnZero,
        Kind::RefcountSaturated,
        Kind::RefcountUnderflow,
        Kind::RefcountDecHitZero,
        Kind::KasanUseAfterFree,
        Kind::KasanDoubleFree,
        Kind::KasanInvalidFree,
        Kind::NullDeref,
        Kind::BadDeref,
        Kind::Warn,
        Kind::Leak,
        Kind::ListDoubleAdd,
        Kind::RecursiveLock,
        Kind::CircularLock,
        Kind::BadUnlock,
        Kind::HeldLockFreed,
        Kind::WaitedLockFreed,
        Kind::HeldAtReturn,
        Kind::AssertHeld,
        Kind::SleepInAtomic,
        Kind::HungTask,
        Kind::SoftLockup,
        Kind::DataRace,
        Kind::FreeRace,
        Kind::Invariant,
        Kind::UnexpectedAnswer,
        Kind::Assertion,
    ];

    /// The fixed words of the message: everything that does not name an object or a function.
    pub fn words(self) -> &'static str {
        match self {
            Kind::RefcountAddOnZero => "refcount_t: addition on 0; use-after-free.",
            Kind::RefcountSaturated => "refcount_t: saturated; leaking memory.",
            Kind::RefcountUnderflow => "refcount_t: underflow; use-after-free.",
            Kind::RefcountDecHitZero => "refcount_t: decrement hit 0; leaking memory.",
            Kind::KasanUseAfterFree => "BUG: KASAN: slab-use-after-free in",
            Kind::KasanDoubleFree => "BUG: KASAN: double-free in",
            Kind::KasanInvalidFree => "BUG: KASAN: invalid-free in",
            Kind::NullDeref => "BUG: kernel NULL pointer dereference in",
            Kind::BadDeref => "BUG: unable to handle page fault in",
            Kind::Warn => "WARNING: at",
            Kind::Leak => "kmemleak: unreferenced object",
            Kind::ListDoubleAdd => "list_add double add: in",
            Kind::RecursiveLock => "WARNING: possible recursive locking detected",
            Kind::CircularLock => "WARNING: possible circular locking dependency detected",
            Kind::BadUnlock => "WARNING: bad unlock balance detected!",
            Kind::HeldLockFreed => "WARNING: held lock freed!",
            Kind::WaitedLockFreed => "BUG: KASAN: slab-use-after-free in",
            Kind::HeldAtReturn => "WARNING: lock held when returning to user space!",
            Kind::AssertHeld => "WARNING: lockdep_assert_held at",
            Kind::SleepInAtomic => "BUG: sleeping function called from invalid context at",
            Kind::HungTask => "INFO: task hung in",
            Kind::SoftLockup => "watchdog: BUG: soft lockup - CPU stuck in",
            Kind::DataRace => "BUG: KCSAN: data-race in",
            Kind::FreeRace => "BUG: KCSAN: assert: race in",
            Kind::Invariant => "",
            Kind::UnexpectedAnswer => "unexpected answer:",
            Kind::Assertion => "assertion failed:",
        }
    }

    /// Whether the kernel goes on after it has printed this.
    pub fn goes_on(self) -> bool {
        matches!(
            self,
            Kind::RefcountAddOnZero
                | Kind::RefcountSaturated
                | Kind::RefcountUnderflow
                | Kind::RefcountDecHitZero
                | Kind::Warn
                | Kind::ListDoubleAdd
                | Kind::CircularLock
                | Kind::AssertHeld
                | Kind::SleepInAtomic
                | Kind::DataRace
                | Kind::FreeRace
        )
    }

    /// Whether KCSAN says it: a report of two accesses, which harms nobody by itself.
    pub fn is_race(self) -> bool {
        matches!(self, Kind::DataRace | Kind::FreeRace)
    }

    /// Whether the message stands before the function (`… in iommufd_put_object`) or the detail
    /// alone follows.
    fn names_function(self) -> bool {
        matches!(
            self,
            Kind::KasanUseAfterFree
                | Kind::KasanDoubleFree
                | Kind::KasanInvalidFree
                | Kind::NullDeref
                | Kind::BadDeref
                | Kind::Warn
                | Kind::ListDoubleAdd
                | Kind::WaitedLockFreed
                | Kind::AssertHeld
                | Kind::SleepInAtomic
                | Kind::HungTask
                | Kind::SoftLockup
                | Kind::DataRace
                | Kind::FreeRace
        )
    }
}

impl fmt::Display for Splat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words = self.kind.words();
        f.write_str(words)?;
        if self.kind.names_function() {
            write!(f, " {}", self.function)?;
        }
        if !self.detail.is_empty() {
            if words.is_empty() {
                f.write_str(&self.detail)?;
            } else if matches!(self.kind, Kind::Leak | Kind::UnexpectedAnswer | Kind::Assertion) {
                write!(f, " {}", self.detail)?;
            } else {
                write!(f, " ({})", self.detail)?;
            }
        }
        Ok(())
    }
}
