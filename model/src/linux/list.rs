//! struct list_head, as far as its order and its owner matter.
//!
//! The links are not modelled one by one: adding, removing and stepping to the next entry are one
//! step each on the whole list. Source: include/linux/list.h.

use std::panic::Location;

use uapi::step::{Access, Mode, Site};
use uapi::trace::Val;

use crate::linux::slab::{Field, Ptr};
use crate::sync::{self, Cell};

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

    /// Its entries, without a step: for the testbed's checks.
    pub fn peek(&self) -> Vec<Ptr<T>> {
        self.entries.with(|e| e.clone())
    }
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
    let accesses = head.field.accesses(Access::all(head.obj, Mode::Write));
    sync::step("list_add_tail", at, accesses, |effect| {
        effect.log(|| (vec![entry.val(), head.field.val()], Val::Void));
        head.field.check(at);
        head.entries.with(|e| e.push(entry));
    });
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
    let accesses = head.field.accesses(Access::all(head.obj, Mode::Write));
    sync::step("list_add", at, accesses, |effect| {
        effect.log(|| (vec![entry.val(), head.field.val()], Val::Void));
        head.field.check(at);
        head.entries.with(|e| e.insert(0, entry));
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
    let accesses = head.field.accesses(Access::all(head.obj, Mode::Write));
    sync::step("list_del_init", at, accesses, |effect| {
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
    let accesses = head.field.accesses(Access::all(head.obj, Mode::Read));
    sync::step("list_entry", at, accesses, |effect| {
        head.field.check(at);
        let entry = head.entries.with(|e| e.get(nth).copied());
        effect.log(|| {
            let shown = entry.map_or(Val::Null, Ptr::val);
            (vec![head.field.val(), Val::Num(nth as i64)], shown)
        });
        entry
    })
}
