//! struct mutex: one owner, sleeps, is not recursive.
//!
//! Source: include/linux/mutex.h, kernel/locking/mutex.c; reference/iommufd.md 6.5.

use std::panic::Location;

use crate::linux::lock::{Check, How, RawLock};
use crate::linux::slab::Field;
use crate::linux::spinlock::might_sleep;
use crate::sync;

/// A mutex.
pub struct Mutex(RawLock);

impl Mutex {
    /// mutex_init()
    pub fn new(field: Field) -> Mutex {
        Mutex(RawLock::new(field))
    }

    /// mutex_init() of a mutex whose mutex_unlock() is a step of its own: needed by
    /// [`mutex_trylock`] and [`mutex_is_locked`], and where the mutex may be freed by somebody
    /// who waited for the last effect of the section.
    pub fn with_unlock_step(field: Field) -> Mutex {
        Mutex(RawLock::with_unlock_step(field))
    }

    /// mutex_init() of a mutex whose section is to leave what it protects in order.
    pub fn with_check(field: Field, check: Check) -> Mutex {
        Mutex(RawLock::with_check(field, check))
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

/// mutex_lock()
#[track_caller]
pub fn mutex_lock(m: &Mutex) {
    let at = sync::site(Location::caller());
    might_sleep(at);
    m.0.lock("mutex_lock", at, How::Exclusive);
}

/// mutex_destroy(): whoever takes it afterwards is told so (CONFIG_DEBUG_MUTEXES).
#[track_caller]
pub fn mutex_destroy(m: &Mutex) {
    m.0.destroy("mutex_destroy", sync::site(Location::caller()));
}

/// mutex_trylock(), of a mutex made by [`Mutex::with_unlock_step`].
#[track_caller]
pub fn mutex_trylock(m: &Mutex) -> bool {
    m.0.trylock("mutex_trylock", sync::site(Location::caller()), How::Exclusive)
}

/// mutex_is_locked(), of a mutex made by [`Mutex::with_unlock_step`].
#[track_caller]
pub fn mutex_is_locked(m: &Mutex) -> bool {
    m.0.read_is_held("mutex_is_locked", sync::site(Location::caller()))
}

/// mutex_unlock()
#[track_caller]
pub fn mutex_unlock(m: &Mutex) {
    m.0.unlock("mutex_unlock", sync::site(Location::caller()), How::Exclusive);
}

/// lockdep_assert_held() of a mutex: a check of the current CPU's own state, no step.
#[track_caller]
pub fn lockdep_assert_held(m: &Mutex) {
    m.0.assert_held(sync::site(Location::caller()), |me| m.0.holds_any(me));
}

/// lockdep_assert_not_held() of a mutex.
#[track_caller]
pub fn lockdep_assert_not_held(m: &Mutex) {
    m.0.assert_held(sync::site(Location::caller()), |me| !m.0.holds_any(me));
}
