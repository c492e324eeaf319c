//! What a descriptor stands for: `fget()`.
//!
//! A look-up takes no lock. It reads the entry under RCU, takes a reference unless the file is on
//! its way out, and looks whether the entry is still the same; if not, it starts again. What comes
//! of that is one step, made while the entry holds its own reference: the file that is in the
//! table, with a reference more, or none. Hence two look-ups do not get into each other's way,
//! and only close(2) and open(2) get into theirs.
//!
//! Source: fs/file.c, __fget_files_rcu(); include/linux/fs.h, get_file_rcu().

use std::panic::Location;

use uapi::step::{Accesses, Site};
use uapi::trace::Val;

use crate::linux::refcount::Refcount;
use crate::linux::slab::{Field, Plain, Ptr, Value as _};
use crate::sync;

/// How often a look-up starts again before it gives up, which no program comes near: each time
/// another CPU has opened or closed the descriptor in between.
const LOOKUPS_MAX: usize = 64;

/// A place in a table, whose entry holds a reference of what it points to.
pub(crate) struct Place<'a, T> {
    /// Its name in a trace line.
    pub name: Val,
    /// The field that it is, if it lies in memory that can be freed.
    pub field: Option<Field>,
    /// What a look at it touches.
    pub accesses: Accesses,
    /// Looks at it, without a step.
    pub entry: &'a dyn Fn() -> Option<Ptr<T>>,
    /// Which part of what stands there counts the references.
    pub count: &'a dyn Fn(Ptr<T>) -> Ptr<Refcount>,
}

/// fget(): the file behind an entry of the table of descriptors, with a reference more. `count`
/// says which of its fields counts them.
#[track_caller]
pub fn fget<T>(fd: &Plain<Option<Ptr<T>>>, count: fn(&T) -> &Refcount) -> Option<Ptr<T>> {
    let at = sync::site(Location::caller());
    let place = Place {
        name: fd.field().val(),
        field: Some(fd.field()),
        accesses: fd.field().accesses(fd.read_access()),
        entry: &|| fd.peek(),
        count: &|file| file.project(count),
    };
    get_from(at, &place)
}

/// fget() from any table.
pub(crate) fn get_from<T>(at: Site, place: &Place<'_, T>) -> Option<Ptr<T>> {
    for _ in 0..LOOKUPS_MAX {
        if let Ok(found) = look_up(at, place) {
            return found;
        }
    }
    None
}

/// The entry has changed since it was announced.
struct Changed;

/// One look-up.
fn look_up<T>(at: Site, place: &Place<'_, T>) -> Result<Option<Ptr<T>>, Changed> {
    let alloc = |entry: Option<Ptr<T>>| entry.map(|entry| entry.owner().alloc);
    let expected = (place.entry)();
    let mut accesses = place.accesses.clone();
    if let Some(count) = expected.map(place.count) {
        accesses.extend(count.field().accesses(count.inc_access()));
    }
    sync::step("fget", at, accesses, |effect| {
        let found = (place.entry)();
        let changed = alloc(found) != alloc(expected);
        effect.log(|| {
            let result = if changed { Val::Text("changed".to_string()) } else { found.val() };
            (vec![place.name.clone()], result)
        });
        if let Some(field) = place.field {
            field.check(at);
        }
        if changed {
            return Err(Changed);
        }
        if let Some(count) = found.map(place.count) {
            count.inc_within(effect, at);
        }
        Ok(found)
    })
}
