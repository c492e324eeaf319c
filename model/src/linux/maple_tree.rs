//! struct maple_tree, as an allocator of ranges under its own spinlock (MT_FLAGS_ALLOC_RANGE).
//!
//! Only what iommufd does with it: a range of free pages gets an entry, an entry is found by its
//! first page, and erased. Ranges are one step each on the whole tree.
//!
//! Source: include/linux/maple_tree.h; reference/iommufd.md 1.4.14.

use std::panic::Location;

use uapi::step::{Access, Mode};
use uapi::trace::Val;
use uapi::Errno;

use crate::linux::fault;
use crate::linux::slab::{stored, Field, Ptr};
use crate::linux::spinlock::{might_sleep, spin_lock, spin_unlock, Spinlock};
use crate::sync::{self, Cell};

/// A maple tree of pointers to `T`.
pub struct MapleTree<T> {
    field: Field,
    obj: u32,
    /// What mtree_lock() takes: a spinlock.
    pub ma_lock: Spinlock,
    /// First page, number of pages, entry; in order of the first page.
    ranges: Cell<Vec<(u64, u64, Ptr<T>)>>,
}

impl<T> MapleTree<T> {
    /// An empty tree.
    pub fn new(field: Field) -> MapleTree<T> {
        MapleTree {
            field,
            obj: sync::object(),
            ma_lock: Spinlock::new(field.owner.field("mt_mmap.ma_lock")),
            ranges: Cell::new(Vec::new()),
        }
    }

    /// The entries, without a step: for the testbed's checks.
    pub fn peek(&self) -> Vec<Ptr<T>> {
        self.ranges.with(|r| r.iter().map(|(_, _, entry)| *entry).collect())
    }
}

/// mtree_alloc_range(): the lowest free range of `pages`, which gets `entry`; its first page.
///
/// # Errors
///
/// -ENOMEM
#[track_caller]
pub fn mtree_alloc_range<T>(mt: &MapleTree<T>, entry: Ptr<T>, pages: u64) -> Result<u64, Errno> {
    let at = sync::site(Location::caller());
    might_sleep(at);
    let accesses = mt.field.accesses(Access::all(mt.obj, Mode::Write));
    spin_lock(&mt.ma_lock);
    let first = sync::step("mtree_alloc_range", at, accesses, |effect| {
        mt.field.check(at);
        if fault::should_fail() {
            effect.log(|| (vec![mt.field.val(), entry.val()], Val::Null));
            return Err(Errno::ENOMEM);
        }
        let first = mt.ranges.with(|ranges| {
            let mut first = 0;
            let mut at = 0;
            while at < ranges.len() && ranges[at].0 < first + pages {
                first = ranges[at].0 + ranges[at].1;
                at += 1;
            }
            ranges.insert(at, (first, pages, entry));
            first
        });
        stored(entry.owner(), mt.field.owner);
        effect.log(|| (vec![mt.field.val(), entry.val()], Val::Num(first as i64)));
        Ok(first)
    });
    spin_unlock(&mt.ma_lock);
    first
}

/// mtree_load(): the entry whose range the page lies in. Under RCU; the caller may hold the lock.
#[track_caller]
pub fn mtree_load<T>(mt: &MapleTree<T>, page: u64) -> Option<Ptr<T>> {
    let at = sync::site(Location::caller());
    let accesses = mt.field.accesses(Access::all(mt.obj, Mode::Read));
    sync::step("mtree_load", at, accesses, |effect| {
        mt.field.check(at);
        let found = mt.ranges.with(|ranges| {
            let range = ranges.iter().find(|(first, n, _)| (*first..first + n).contains(&page));
            range.map(|(_, _, entry)| *entry)
        });
        let shown = found.map_or(Val::Null, Ptr::val);
        effect.log(|| (vec![mt.field.val(), Val::Num(page as i64)], shown));
        found
    })
}

/// mtree_erase(): takes the range out that the page lies in.
#[track_caller]
pub fn mtree_erase<T>(mt: &MapleTree<T>, page: u64) -> Option<Ptr<T>> {
    let at = sync::site(Location::caller());
    if sync::change_at(at).is_some() {
        let holds = |&&(first, n, _): &&(u64, u64, Ptr<T>)| (first..first + n).contains(&page);
        return mt.ranges.with(|ranges| ranges.iter().find(holds).map(|(_, _, entry)| *entry));
    }
    let accesses = mt.field.accesses(Access::all(mt.obj, Mode::Write));
    spin_lock(&mt.ma_lock);
    let erased = sync::step("mtree_erase", at, accesses, |effect| {
        mt.field.check(at);
        let erased = mt.ranges.with(|ranges| {
            let at = ranges.iter().position(|(first, n, _)| (*first..first + n).contains(&page))?;
            Some(ranges.remove(at).2)
        });
        let shown = erased.map_or(Val::Null, Ptr::val);
        effect.log(|| (vec![mt.field.val(), Val::Num(page as i64)], shown));
        erased
    });
    spin_unlock(&mt.ma_lock);
    erased
}
