//! spinlock_t, and the rule that nobody sleeps under one.
//!
//! Source: include/linux/spinlock.h, kernel/sched/core.c `__might_resched()`;
//! reference/iommufd.md 6.5.

use std::panic::Location;

use uapi::splat::Kind;
use uapi::step::{Site, CPUS_MAX};

use crate::linux::lock::{How, RawLock};
use crate::linux::slab::Field;
use crate::sync::{self, Cell, Local};

/// A spinlock.
pub struct Spinlock(RawLock);

impl Spinlock {
    /// spin_lock_init()
    pub fn new(field: Field) -> Spinlock {
        Spinlock(RawLock::new(field))
    }

    /// The field that it is.
    pub fn field(&self) -> Field {
        self.0.field()
    }

    /// Whether it is held, without a step: for the object graph.
    pub fn peek_held(&self) -> bool {
        self.0.is_held()
    }
}

/// spin_lock()
#[track_caller]
pub fn spin_lock(lock: &Spinlock) {
    if lock.0.lock("spin_lock", sync::site(Location::caller()), How::Exclusive) {
        preempt_disable();
    }
}

/// spin_unlock()
#[track_caller]
pub fn spin_unlock(lock: &Spinlock) {
    if lock.0.unlock("spin_unlock", sync::site(Location::caller()), How::Exclusive) {
        preempt_enable();
    }
}

/// lockdep_assert_held() of a spinlock.
#[track_caller]
pub fn lockdep_assert_held_spin(lock: &Spinlock) {
    lock.0.assert_held(sync::site(Location::caller()), |me| lock.0.holds_any(me));
}

/// Who may not sleep now.
#[derive(Default)]
struct Atomic {
    /// How many spinlocks each CPU holds.
    count: [u32; CPUS_MAX],
    /// Places that have printed their splat.
    printed: Vec<Site>,
}

static ATOMIC: Local<Cell<Atomic>> = Local::new(2);

fn change(f: impl FnOnce(u32) -> u32) {
    let cpu = usize::from(sync::current());
    ATOMIC.get().with(|a| a.count[cpu] = f(a.count[cpu]));
}

/// A spinlock was taken by this CPU.
pub(super) fn preempt_disable() {
    change(|n| n + 1);
}

/// A spinlock was given back by this CPU.
pub(super) fn preempt_enable() {
    change(|n| n.saturating_sub(1));
}

/// might_sleep(): prints a splat, once per place, if this CPU holds a spinlock; the kernel goes
/// on.
pub fn might_sleep(at: Site) {
    let cpu = usize::from(sync::current());
    let print = ATOMIC.get().with(|a| {
        if a.count[cpu] == 0 || a.printed.contains(&at) {
            return false;
        }
        a.printed.push(at);
        true
    });
    if print {
        sync::splat(Kind::SleepInAtomic, at, String::new());
    }
}
