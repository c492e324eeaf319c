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

use uapi::step::Site;
use uapi::trace::Val;

use crate::linux::refcount::Refcount;
use crate::linux::slab::{Plain, Ptr, Value as _};
use crate::sync;

/// How often a look-up starts again before it gives up, which no program comes near: each time
/// another CPU has opened or closed the descriptor in between.
pub(crate) const LOOKUPS_MAX: usize = 64;

/// fget(): the file behind an entry of the table of descriptors, with a reference more. `count`
/// says which of its fields counts them.
#[track_caller]
pub fn fget<T>(fd: &Plain<Option<Ptr<T>>>, count: fn(&T) -> &Refcount) -> Option<Ptr<T>> {
    let at = sync::site(Location::caller());
    for _ in 0..LOOKUPS_MAX {
        if let Some(found) = look_up(at, fd, count) {
            return found;
        }
    }
    None
}

/// One look-up. None if the entry has changed since it was announced.
#[allow(clippy::option_option)] // the entry may hold no file
fn look_up<T>(
    at: Site,
    fd: &Plain<Option<Ptr<T>>>,
    count: fn(&T) -> &Refcount,
) -> Option<Option<Ptr<T>>> {
    let expected = fd.peek();
    let mut accesses = fd.field().accesses(fd.read_access());
    if let Some(file) = &expected {
        for access in count(file).field().accesses(count(file).inc_access()) {
            accesses.push(access);
        }
    }
    sync::step("fget", at, accesses, |effect| {
        let found = fd.peek();
        let alloc = |file: &Option<Ptr<T>>| file.map(|file| file.owner().alloc);
        let changed = alloc(&found) != alloc(&expected);
        effect.log(|| {
            let result = if changed { Val::Text("changed".to_string()) } else { found.val() };
            (vec![fd.field().val()], result)
        });
        fd.field().check(at);
        if changed {
            return None;
        }
        if let Some(file) = &found {
            count(file).inc_within(effect, at);
        }
        Some(found)
    })
}
