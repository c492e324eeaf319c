//! refcount_t.
//!
//! Source: include/linux/refcount.h and lib/refcount.c (top comments and WARN texts);
//! reference/iommufd.md 6.1. The values are those of sequential consistency; what the operations order
//! by the letter of the original is in `sync/clocks.rs`, for `Orders::Strict`.

use std::panic::Location;

use uapi::mutation::Change;
use uapi::splat::Kind;
use uapi::step::{Access, Accesses, Mode, Site};
use uapi::trace::Val;

use crate::linux::slab::Field;
use crate::sync::{self, Cell, Effect};

/// The value of a counter that went wrong: halfway between the smallest and zero, so that no
/// number of further changes brings it back.
pub const REFCOUNT_SATURATED: i32 = i32::MIN / 2;

/// A reference counter.
pub struct Refcount {
    field: Field,
    obj: u32,
    value: Cell<i32>,
}

impl Refcount {
    /// A counter with its first value, as refcount_set() before the object is visible.
    pub fn new(field: Field, value: i32) -> Refcount {
        Refcount { field, obj: sync::object(), value: Cell::new(value) }
    }

    /// Reads it without a step: for conditions of sleepers, the testbed's checks and the graph.
    pub fn peek(&self) -> i32 {
        self.value.get()
    }

    /// The access of somebody whose condition reads the counter.
    pub fn read_access(&self) -> Access {
        Access::all(self.obj, Mode::Read)
    }

    /// The accesses of a sleeper whose condition reads the counter.
    pub fn read_accesses(&self) -> Accesses {
        self.field.accesses(self.read_access())
    }

    /// The access of a step that raises it as a part of something else.
    pub(super) fn inc_access(&self) -> Access {
        Access::all(self.obj, Mode::Add(1))
    }

    /// Raises it as a part of such a step. Its memory is checked first.
    pub(super) fn inc_within(&self, effect: &mut Effect<'_>, at: Site) {
        self.field.check(at);
        let before = self.value.get();
        let after = added(at, self, before, 1);
        self.value.set(after);
        effect.counter(self.obj, before, after);
    }

    /// The field that it is.
    pub fn field(&self) -> Field {
        self.field
    }
}

/// One step on a counter: `f` gets the old value and gives the new one with the result.
fn change<R>(
    op: &'static str,
    at: Site,
    r: &Refcount,
    mode: Mode,
    f: impl FnOnce(&mut Effect<'_>, i32) -> (i32, R),
    show: impl FnOnce(&R) -> (Vec<Val>, Val),
) -> R {
    sync::step(op, at, r.field.accesses(Access::all(r.obj, mode)), |effect| {
        if effect.tracing() {
            effect.log(|| (vec![r.field.val()], Val::Void));
        }
        r.field.check(at);
        let before = r.value.get();
        let (after, result) = f(effect, before);
        r.value.set(after);
        effect.counter(r.obj, before, after);
        if effect.tracing() {
            let (mut more, shown) = show(&result);
            effect.log(|| {
                let mut args = vec![r.field.val()];
                args.append(&mut more);
                (args, shown)
            });
            effect.log_change(i64::from(before), i64::from(after));
        }
        result
    })
}

fn warn(kind: Kind, at: Site, r: &Refcount) -> i32 {
    sync::splat(kind, at, r.field.text());
    REFCOUNT_SATURATED
}

/// refcount_set()
#[track_caller]
pub fn refcount_set(r: &Refcount, value: i32) {
    let at = sync::site(Location::caller());
    sync::changed(sync::change_at(at), (at, r, value), |(at, r, value)| set(at, r, value));
}

fn set(at: Site, r: &Refcount, value: i32) {
    change(
        "refcount_set",
        at,
        r,
        Mode::Write,
        |_, _| (value, ()),
        |()| (vec![Val::Num(i64::from(value))], Val::Void),
    );
}

/// refcount_read()
#[track_caller]
pub fn refcount_read(r: &Refcount) -> i32 {
    read(sync::site(Location::caller()), r)
}

fn read(at: Site, r: &Refcount) -> i32 {
    change(
        "refcount_read",
        at,
        r,
        Mode::Read,
        |_, before| (before, before),
        |v| (vec![], Val::Num(i64::from(*v))),
    )
}

/// What an addition makes of the old value: the checks of refcount_add().
fn added(at: Site, r: &Refcount, before: i32, value: i32) -> i32 {
    if before == 0 {
        warn(Kind::RefcountAddOnZero, at, r)
    } else {
        match before.checked_add(value) {
            Some(after) if before > 0 && after > 0 => after,
            _ => warn(Kind::RefcountSaturated, at, r),
        }
    }
}

/// refcount_add()
#[track_caller]
pub fn refcount_add(value: i32, r: &Refcount) {
    let at = sync::site(Location::caller());
    sync::changed(sync::change_at(at), (at, r, value), |(at, r, value)| add(at, r, value));
}

fn add(at: Site, r: &Refcount, value: i32) {
    change(
        "refcount_add",
        at,
        r,
        Mode::Add(value),
        |_, before| (added(at, r, before, value), ()),
        |()| (vec![Val::Num(i64::from(value))], Val::Void),
    );
}

/// refcount_inc()
#[track_caller]
pub fn refcount_inc(r: &Refcount) {
    let at = sync::site(Location::caller());
    sync::changed(sync::change_at(at), (at, r), |(at, r)| inc_as("refcount_inc", at, r));
}

/// refcount_inc() under the name of what wraps it.
pub(super) fn inc_as(op: &'static str, at: Site, r: &Refcount) {
    change(
        op,
        at,
        r,
        Mode::Add(1),
        |_, before| (added(at, r, before, 1), ()),
        |()| (vec![], Val::Void),
    );
}

/// refcount_dec(): the caller knows that it does not hold the last reference.
#[track_caller]
pub fn refcount_dec(r: &Refcount) {
    let at = sync::site(Location::caller());
    sync::changed(sync::change_at(at), (at, r), |(at, r)| dec(at, r));
}

fn dec(at: Site, r: &Refcount) {
    change(
        "refcount_dec",
        at,
        r,
        Mode::Add(-1),
        |_, before| {
            let after =
                if before <= 1 { warn(Kind::RefcountDecHitZero, at, r) } else { before - 1 };
            (after, ())
        },
        |()| (vec![], Val::Void),
    );
}

/// refcount_inc_not_zero()
#[track_caller]
pub fn refcount_inc_not_zero(r: &Refcount) -> bool {
    let at = sync::site(Location::caller());
    match sync::change_at(at) {
        None => inc_not_zero(at, r),
        Some(Change::AsInc) => {
            inc_as("refcount_inc", at, r);
            true
        }
        Some(Change::Repeat) => inc_not_zero(at, r) && inc_not_zero(at, r),
        Some(_) => true,
    }
}

fn inc_not_zero(at: Site, r: &Refcount) -> bool {
    change(
        "refcount_inc_not_zero",
        at,
        r,
        Mode::AddTest(1),
        |_, before| {
            if before == 0 {
                (0, false)
            } else {
                (added(at, r, before, 1), true)
            }
        },
        |ok| (vec![], Val::Bool(*ok)),
    )
}

/// refcount_sub_and_test()
#[track_caller]
pub fn refcount_sub_and_test(value: i32, r: &Refcount) -> bool {
    let at = sync::site(Location::caller());
    sub_and_test("refcount_sub_and_test", at, r, value)
}

/// refcount_dec_and_test()
#[track_caller]
pub fn refcount_dec_and_test(r: &Refcount) -> bool {
    let at = sync::site(Location::caller());
    let dec_and_test = || sub_and_test("refcount_dec_and_test", at, r, 1);
    match sync::change_at(at) {
        None => dec_and_test(),
        Some(Change::Repeat) => {
            let last = dec_and_test();
            dec_and_test() || last
        }
        Some(Change::AsDec) => {
            dec_and_test();
            false
        }
        Some(_) => false,
    }
}

/// refcount_dec_and_test() under the name of what wraps it.
pub(super) fn dec_and_test_as(op: &'static str, at: Site, r: &Refcount) -> bool {
    sub_and_test(op, at, r, 1)
}

fn sub_and_test(op: &'static str, at: Site, r: &Refcount, value: i32) -> bool {
    change(
        op,
        at,
        r,
        Mode::AddTest(-value),
        |_, before| {
            if before < value || before <= 0 {
                (warn(Kind::RefcountUnderflow, at, r), false)
            } else {
                (before - value, before == value)
            }
        },
        |zero| (vec![], Val::Bool(*zero)),
    )
}

/// refcount_dec_if_one()
#[track_caller]
pub fn refcount_dec_if_one(r: &Refcount) -> bool {
    let at = sync::site(Location::caller());
    match sync::change_at(at) {
        None => dec_if_one(at, r),
        Some(Change::AsRead) => read(at, r) == 1,
        Some(_) => {
            sub_and_test("refcount_dec_and_test", at, r, 1);
            true
        }
    }
}

fn dec_if_one(at: Site, r: &Refcount) -> bool {
    change(
        "refcount_dec_if_one",
        at,
        r,
        Mode::Write,
        |effect, before| {
            if before == 1 {
                (0, true)
            } else {
                effect.only_read(0);
                (before, false)
            }
        },
        |ok| (vec![], Val::Bool(*ok)),
    )
}
