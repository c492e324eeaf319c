//! struct rw_semaphore: many readers or one writer, sleeps.
//!
//! Waiting writers do not hold back new readers here: an order in which they do is one of the
//! orders that are explored anyway.
//!
//! Source: include/linux/rwsem.h, kernel/locking/rwsem.c; reference/iommufd.md 6.5.

use std::panic::Location;

use crate::linux::lock::{Check, How, RawLock};
use crate::linux::slab::Field;
use crate::linux::spinlock::might_sleep;
use crate::sync;

/// A rw_semaphore.
pub struct Rwsem(RawLock);

impl Rwsem {
    /// init_rwsem()
    pub fn new(field: Field) -> Rwsem {
        Rwsem(RawLock::new(field))
    }

    /// init_rwsem() of a semaphore whose up_read() and up_write() are steps of their own: needed
    /// by [`down_read_trylock`] and [`down_write_trylock`].
    pub fn with_unlock_step(field: Field) -> Rwsem {
        Rwsem(RawLock::with_unlock_step(field))
    }

    /// init_rwsem() of a semaphore in memory that a waiter may free once it has the semaphore:
    /// up_read() and up_write() change the count first, and wake the waiters afterwards.
    pub fn with_handover(field: Field) -> Rwsem {
        Rwsem(RawLock::with_handover(field, "rwsem_wake"))
    }

    /// init_rwsem() of a semaphore whose section is to leave what it protects in order.
    pub fn with_check(field: Field, check: Check) -> Rwsem {
        Rwsem(RawLock::with_check(field, check))
    }

    /// The field that it is.
    pub fn field(&self) -> Field {
        self.0.field()
    }

    /// Whether it is held, without a step: for the object graph.
    pub fn peek_held(&self) -> bool {
        self.0.is_held()
    }

    /// How many CPUs hold it for reading, without a step: for the testbed's checks.
    pub fn peek_readers(&self) -> u32 {
        self.0.readers()
    }

    /// The number that explorers call it by.
    pub fn obj(&self) -> u32 {
        self.0.obj()
    }

    /// Whether the current CPU holds it for writing, without a step: for the testbed's checks.
    pub fn peek_held_for_writing(&self) -> bool {
        self.0.holds(sync::current(), How::Exclusive)
    }
}

/// down_read()
#[track_caller]
pub fn down_read(sem: &Rwsem) {
    let at = sync::site(Location::caller());
    might_sleep(at);
    sem.0.lock("down_read", at, How::Shared);
}

/// down_read_trylock(), of a semaphore made by [`Rwsem::with_unlock_step`] or
/// [`Rwsem::with_handover`].
#[track_caller]
pub fn down_read_trylock(sem: &Rwsem) -> bool {
    sem.0.trylock("down_read_trylock", sync::site(Location::caller()), How::Shared)
}

/// up_read()
#[track_caller]
pub fn up_read(sem: &Rwsem) {
    sem.0.unlock("up_read", sync::site(Location::caller()), How::Shared);
}

/// down_write()
#[track_caller]
pub fn down_write(sem: &Rwsem) {
    let at = sync::site(Location::caller());
    might_sleep(at);
    sem.0.lock("down_write", at, How::Exclusive);
}

/// down_write_nest_lock(): while `nest` is held, which keeps semaphores of this class from being
/// taken in two orders. lockdep looks that it is.
#[track_caller]
pub fn down_write_nest_lock(sem: &Rwsem, nest: &Rwsem) {
    let at = sync::site(Location::caller());
    nest.0.assert_held(at, |me| nest.0.holds_any(me));
    might_sleep(at);
    sem.0.lock_nested("down_write_nest_lock", at, How::Exclusive);
}

/// down_write_trylock(), of a semaphore made by [`Rwsem::with_unlock_step`] or
/// [`Rwsem::with_handover`].
#[track_caller]
pub fn down_write_trylock(sem: &Rwsem) -> bool {
    sem.0.trylock("down_write_trylock", sync::site(Location::caller()), How::Exclusive)
}

/// up_write()
#[track_caller]
pub fn up_write(sem: &Rwsem) {
    sem.0.unlock("up_write", sync::site(Location::caller()), How::Exclusive);
}

/// lockdep_assert_held() of an rwsem: held in either way.
#[track_caller]
pub fn lockdep_assert_held_rwsem(sem: &Rwsem) {
    sem.0.assert_held(sync::site(Location::caller()), |me| sem.0.holds_any(me));
}

/// lockdep_assert_held_write()
#[track_caller]
pub fn lockdep_assert_held_write(sem: &Rwsem) {
    sem.0.assert_held(sync::site(Location::caller()), |me| sem.0.holds(me, How::Exclusive));
}

/// lockdep_assert_held_read()
#[track_caller]
pub fn lockdep_assert_held_read(sem: &Rwsem) {
    sem.0.assert_held(sync::site(Location::caller()), |me| sem.0.holds(me, How::Shared));
}
