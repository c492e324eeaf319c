//! What mutexes, spinlocks and rwsems share: who holds them, and how explorers see them.
//!
//! Taking a lock is a step that is disabled while somebody else holds the lock. Giving it back is
//! a part of the step before it: between the last step of a section and the unlock nothing can
//! happen that another CPU could tell apart. There are two exceptions, for which
//! [`RawLock::with_unlock_step`] makes the unlock a step of its own: a lock that somebody *tries*
//! (a failed attempt can tell), and a lock in memory that is freed by whoever waits for the last
//! effect of the section (kfree() can tell).
//!
//! [`RawLock::with_handover`] is for a lock that its *waiter* may free as soon as it has it: whoever
//! gives such a lock up while somebody waits touches it once more afterwards, to wake the waiter,
//! who may have taken it already (rwsem_wake() after the count was changed). Waiting is a step
//! there, since the unlock can tell whether anybody does.
//!
//! What a lock protects is to be in order when the lock is given back: a [`Check`] looks, if the
//! lock has one.
//!
//! Source: Documentation/locking/lockdep-design.rst for the checks; reference/iommufd.md 6.5.

use uapi::mutation::Change;
use uapi::splat::Kind;
use uapi::step::{Access, Accesses, Cpu, Mode, Site};
use uapi::trace::Val;

use crate::linux::lockdep;
use crate::linux::slab::{count_held, Field, Owner};
use crate::sync::{self, Cell};

/// How a lock is taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum How {
    /// By one CPU alone.
    Exclusive,
    /// Together with other readers.
    Shared,
}

/// Looks at what a lock protects, before it is given back. It gets the allocation that the lock
/// lies in, and the place of the unlock, and makes no step.
pub type Check = fn(Owner, Site);

/// A lock without a name.
pub(super) struct RawLock {
    field: Field,
    obj: u32,
    check: Option<Check>,
    unlock_step: bool,
    /// What wakes the waiters after the lock was given up, if that is a step.
    wake: Option<&'static str>,
    /// Whether it may be taken no more.
    destroyed: Cell<bool>,
    /// One bit per CPU that waits; only with `wake`.
    waiters: Cell<u8>,
    writer: Cell<Option<Cpu>>,
    /// One bit per CPU.
    readers: Cell<u8>,
}

impl RawLock {
    pub(super) fn new(field: Field) -> RawLock {
        RawLock {
            field,
            obj: sync::object(),
            check: None,
            unlock_step: false,
            wake: None,
            destroyed: Cell::new(false),
            waiters: Cell::new(0),
            writer: Cell::new(None),
            readers: Cell::new(0),
        }
    }

    pub(super) fn with_unlock_step(field: Field) -> RawLock {
        RawLock { unlock_step: true, ..RawLock::new(field) }
    }

    /// `wake` is the C name of what touches the lock after it was given up.
    pub(super) fn with_handover(field: Field, wake: &'static str) -> RawLock {
        RawLock { wake: Some(wake), ..RawLock::with_unlock_step(field) }
    }

    pub(super) fn with_check(field: Field, check: Check) -> RawLock {
        RawLock { check: Some(check), ..RawLock::new(field) }
    }

    pub(super) fn field(&self) -> Field {
        self.field
    }

    /// Whether this CPU holds it in this way.
    pub(super) fn holds(&self, cpu: Cpu, how: How) -> bool {
        match how {
            How::Exclusive => self.writer.get() == Some(cpu),
            How::Shared => self.readers.get() & (1 << cpu) != 0,
        }
    }

    /// Whether this CPU holds it in any way.
    pub(super) fn holds_any(&self, cpu: Cpu) -> bool {
        self.holds(cpu, How::Exclusive) || self.holds(cpu, How::Shared)
    }

    pub(super) fn obj(&self) -> u32 {
        self.obj
    }

    pub(super) fn readers(&self) -> u32 {
        self.readers.get().count_ones()
    }

    /// Whether anybody holds it.
    pub(super) fn is_held(&self) -> bool {
        self.writer.get().is_some() || self.readers.get() != 0
    }

    fn is_free_for(&self, how: How) -> bool {
        self.writer.get().is_none() && (how == How::Shared || self.readers.get() == 0)
    }

    fn take(&self, cpu: Cpu, how: How) {
        match how {
            How::Exclusive => self.writer.set(Some(cpu)),
            How::Shared => self.readers.set(self.readers.get() | 1 << cpu),
        }
        count_held(self.field.owner, 1);
    }

    fn give(&self, cpu: Cpu, how: How) {
        match how {
            How::Exclusive => self.writer.set(None),
            How::Shared => self.readers.set(self.readers.get() & !(1 << cpu)),
        }
        count_held(self.field.owner, -1);
        lockdep::released(self.obj);
    }

    /// Takes it as soon as it is free. Whether it was taken: a mutant may drop it.
    pub(super) fn lock(&self, op: &'static str, at: Site, how: How) -> bool {
        self.lock_as(op, at, how, lockdep::acquired)
    }

    /// As [`RawLock::lock`], where another lock keeps locks of this class from being taken by two
    /// tasks in two orders.
    pub(super) fn lock_nested(&self, op: &'static str, at: Site, how: How) -> bool {
        self.lock_as(op, at, how, lockdep::acquired_nested)
    }

    fn lock_as(
        &self,
        op: &'static str,
        at: Site,
        how: How,
        acquired: fn(Field, u32, How, Site),
    ) -> bool {
        let how = match sync::change_at(at) {
            None => how,
            Some(change) => {
                sync::lock_changed(self.obj, change);
                if change == Change::Omit {
                    return false;
                }
                How::Shared
            }
        };
        let me = sync::current();
        if self.wake.is_some() && self.lock_or_queue(op, at, how) {
            return true;
        }
        let mode = if how == How::Exclusive { Mode::Lock } else { Mode::LockShared };
        // A task that holds it already is let in, so that the step can say what is wrong.
        let ready = || self.is_free_for(how) || self.holds_any(me);
        let accesses = self.field.accesses(Access::all(self.obj, mode));
        sync::lock_step(op, at, self.field.lock_name(), accesses, &ready, |effect| {
            effect.log(|| (vec![self.field.val()], Val::Void));
            self.field.check(at);
            if self.holds_any(me) {
                sync::stop(Kind::RecursiveLock, at, self.field.text());
            }
            // DEBUG_LOCKS_WARN_ON(lock->magic != lock)
            if self.destroyed.get() {
                sync::splat(Kind::Warn, at, format!("{}.magic", self.field.text()));
            }
            self.waiters.set(self.waiters.get() & !(1 << me));
            self.take(me, how);
            acquired(self.field, self.obj, how, at);
        });
        true
    }

    /// The first step of taking a lock that is handed over: takes it if it is free, queues
    /// otherwise. Says whether it was taken.
    fn lock_or_queue(&self, op: &'static str, at: Site, how: How) -> bool {
        let me = sync::current();
        let accesses = self.field.accesses(Access::all(self.obj, Mode::Write));
        sync::step(op, at, accesses, |effect| {
            effect.log(|| (vec![self.field.val()], Val::Void));
            self.field.check(at);
            if self.holds_any(me) {
                sync::stop(Kind::RecursiveLock, at, self.field.text());
            }
            if !self.is_free_for(how) {
                self.waiters.set(self.waiters.get() | 1 << me);
                return false;
            }
            self.take(me, how);
            lockdep::acquired(self.field, self.obj, how, at);
            true
        })
    }

    /// Takes it if it is free.
    pub(super) fn trylock(&self, op: &'static str, at: Site, how: How) -> bool {
        if !self.unlock_step {
            let detail = format!("{op} of {} made without an unlock step", self.field.text());
            sync::stop(Kind::Assertion, at, detail);
        }
        if let Some(change) = sync::change_at(at) {
            sync::lock_changed(self.obj, change);
            return true;
        }
        let me = sync::current();
        let accesses = self.field.accesses(Access::all(self.obj, Mode::Write));
        sync::step(op, at, accesses, |effect| {
            self.field.check(at);
            let taken = self.is_free_for(how) && !self.holds_any(me);
            effect.log(|| (vec![self.field.val()], Val::Bool(taken)));
            if taken {
                self.take(me, how);
                // It cannot wait, so it adds nothing to the order of locks.
                lockdep::tried(self.field, self.obj, how);
            } else {
                effect.only_read(0);
            }
            taken
        })
    }

    /// It may be taken no more, and nobody may hold it.
    pub(super) fn destroy(&self, op: &'static str, at: Site) {
        let accesses = self.field.accesses(Access::all(self.obj, Mode::Write));
        sync::step(op, at, accesses, |effect| {
            effect.log(|| (vec![self.field.val()], Val::Void));
            self.field.check(at);
            // DEBUG_LOCKS_WARN_ON(mutex_is_locked(lock))
            if self.is_held() {
                sync::splat(Kind::Warn, at, self.field.text());
            }
            self.destroyed.set(true);
        });
    }

    /// Whether anybody holds it, as a step.
    pub(super) fn read_is_held(&self, op: &'static str, at: Site) -> bool {
        let accesses = self.field.accesses(Access::all(self.obj, Mode::Read));
        sync::step(op, at, accesses, |effect| {
            self.field.check(at);
            let held = self.is_held();
            effect.log(|| (vec![self.field.val()], Val::Bool(held)));
            held
        })
    }

    /// Gives it back. False if a mutant had dropped it.
    pub(super) fn unlock(&self, op: &'static str, at: Site, how: How) -> bool {
        let how = match sync::unlock_changed(self.obj) {
            None => how,
            Some(Change::Omit) => return false,
            Some(_) => How::Shared,
        };
        let me = sync::current();
        if self.unlock_step {
            let accesses = self.field.accesses(Access::all(self.obj, Mode::Write));
            let wakes = sync::step(op, at, accesses, |effect| {
                effect.log(|| (vec![self.field.val()], Val::Void));
                self.checked_give(me, at, how);
                self.waiters.get() != 0 && !self.is_held()
            });
            sync::released(self.obj, 0);
            if let Some(wake) = self.wake.filter(|_| wakes) {
                self.wake_waiters(wake, at);
            }
        } else {
            sync::unlocked(op, at, self.obj, 0, || vec![self.field.val()]);
            self.checked_give(me, at, how);
        }
        true
    }

    /// Touches the lock once more, after it was given up. The waiter is let on without it: it
    /// spins, or was woken by somebody else.
    fn wake_waiters(&self, op: &'static str, at: Site) {
        let mut accesses = Accesses::new();
        accesses.push(Access::all(self.field.owner.obj(), Mode::Read));
        sync::step(op, at, accesses, |effect| {
            effect.log(|| (vec![self.field.val()], Val::Void));
            self.field.check(at);
        });
    }

    fn checked_give(&self, me: Cpu, at: Site, how: How) {
        self.field.check(at);
        if !self.holds(me, how) {
            sync::stop(Kind::BadUnlock, at, self.field.text());
        }
        if let Some(check) = self.check {
            check(self.field.owner, at);
        }
        self.give(me, how);
    }

    /// Prints a splat unless the current CPU holds it as asked.
    pub(super) fn assert_held(&self, at: Site, held: impl FnOnce(Cpu) -> bool) {
        if !held(sync::current()) {
            sync::splat(Kind::AssertHeld, at, self.field.text());
        }
    }
}
