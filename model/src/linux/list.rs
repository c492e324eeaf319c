//! struct list_head, as far as its order and its owner matter.
//!
//! The links are not modelled one by one: adding, removing and stepping to the next entry are one
//! step each on the whole list. They are plain accesses: whoever makes them without a lock in common
//! races. Source: include/linux/list.h.

use std::panic::Location;

use uapi::splat::Kind;
use uapi::step::{Access, Accesses, Mode, Site};
use uapi::trace::Val;

use crate::linux::kcsan;
use crate::linux::slab::{stored, Field, Ptr};
use crate::sync::{self, Cell, Effect};

/// The head of a list of `T`.
pub struct ListHead<T> {
    field: Field,
    obj: u32,
    entries: Cell<Vec<Ptr<T>>>,
}

impl<T> ListHead<T> {
    /// An empty list.
    pub fn new(field: Field) -> ListHead<T> {
        ListHead { field, obj: sync::object(), entries: Cell::new(Vec::new()) }
    }

    /// The accesses of a sleeper whose condition asks whether something is on it.
    pub fn read_accesses(&self) -> Accesses {
        self.field.accesses(Access::all(self.obj, Mode::Read))
    }

    /// Its entries, without a step: for the testbed's checks.
    pub fn peek(&self) -> Vec<Ptr<T>> {
        self.entries.with(|e| e.clone())
    }
}

/// One step on the links of a list: plain accesses, which order nothing and may race.
fn plain<T, R>(
    head: &ListHead<T>,
    mode: Mode,
    op: &'static str,
    at: Site,
    body: impl FnOnce(&mut Effect<'_>) -> R,
) -> R {
    let accesses = head.field.accesses(Access::all(head.obj, mode));
    let result = sync::step(op, at, accesses, |effect| {
        effect.orders_nothing();
        body(effect)
    });
    kcsan::access(head.field, head.obj, mode == Mode::Write, at);
    result
}

/// list_add_tail()
#[track_caller]
pub fn list_add_tail<T>(entry: Ptr<T>, head: &ListHead<T>) {
    let at = sync::site(Location::caller());
    sync::changed(sync::change_at(at), (at, entry, head), |(at, entry, head)| {
        add_tail(at, entry, head);
    });
}

fn add_tail<T>(at: Site, entry: Ptr<T>, head: &ListHead<T>) {
    plain(head, Mode::Write, "list_add_tail", at, |effect| {
        effect.log(|| (vec![entry.val(), head.field.val()], Val::Void));
        head.field.check(at);
        if __list_add_valid(at, entry, head) {
            head.entries.with(|e| e.push(entry));
            stored(entry.owner(), head.field.owner);
        }
    });
}

/// __list_add_valid() of CONFIG_DEBUG_LIST: an entry that is on the list already is not added.
fn __list_add_valid<T>(at: Site, entry: Ptr<T>, head: &ListHead<T>) -> bool {
    let valid = !head.entries.with(|e| e.iter().any(|x| x.is(entry)));
    if !valid {
        sync::splat(Kind::ListDoubleAdd, at, head.field.text());
    }
    valid
}

/// list_add(): at the head.
#[track_caller]
pub fn list_add<T>(entry: Ptr<T>, head: &ListHead<T>) {
    let at = sync::site(Location::caller());
    sync::changed(sync::change_at(at), (at, entry, head), |(at, entry, head)| {
        add(at, entry, head);
    });
}

fn add<T>(at: Site, entry: Ptr<T>, head: &ListHead<T>) {
    plain(head, Mode::Write, "list_add", at, |effect| {
        effect.log(|| (vec![entry.val(), head.field.val()], Val::Void));
        head.field.check(at);
        if __list_add_valid(at, entry, head) {
            head.entries.with(|e| e.insert(0, entry));
            stored(entry.owner(), head.field.owner);
        }
    });
}

/// list_del_init(): says whether the entry was on the list.
#[track_caller]
pub fn list_del_init<T>(entry: Ptr<T>, head: &ListHead<T>) -> bool {
    let at = sync::site(Location::caller());
    if let Some(change) = sync::change_at(at) {
        let was_on = head.entries.with(|e| e.iter().any(|x| x.is(entry)));
        sync::changed(Some(change), (at, entry, head), |(at, entry, head)| {
            del_init(at, entry, head);
        });
        return was_on;
    }
    del_init(at, entry, head)
}

fn del_init<T>(at: Site, entry: Ptr<T>, head: &ListHead<T>) -> bool {
    plain(head, Mode::Write, "list_del_init", at, |effect| {
        effect.log(|| (vec![entry.val(), head.field.val()], Val::Void));
        head.field.check(at);
        head.entries.with(|e| {
            let before = e.len();
            e.retain(|x| !x.is(entry));
            e.len() != before
        })
    })
}

/// The entry after `nth - 1` others: one step of list_for_each_entry().
#[track_caller]
pub fn list_entry<T>(head: &ListHead<T>, nth: usize) -> Option<Ptr<T>> {
    let at = sync::site(Location::caller());
    plain(head, Mode::Read, "list_entry", at, |effect| {
        head.field.check(at);
        let entry = head.entries.with(|e| e.get(nth).copied());
        effect.log(|| {
            let shown = entry.map_or(Val::Null, Ptr::val);
            (vec![head.field.val(), Val::Num(nth as i64)], shown)
        });
        entry
    })
}
