//! The xarray, at both API levels.
//!
//! A slot is empty, reserved ([`Slot::Zero`]), or holds a pointer. The normal API shows a reserved
//! slot as NULL, but compares it raw: `xa_cmpxchg(NULL → x)` on a reserved slot stores nothing and
//! returns NULL, which looks like success. The advanced API (`xas_load`, `xas_store`) shows slots
//! as they are and wants the lock.
//!
//! What explorers see of an array are three objects:
//!
//! * the *map*, one key per index: reads and writes of slots;
//! * the *lock*, one key per index under the keyed dependence: calls that take xa_lock inside are
//!   one step and are disabled while somebody else is in a section on the same index;
//!   [`xa_lock_index`] is a section that touches one index only, [`xa_lock`] one that may touch
//!   any. Loads inside a section are a part of the step that took the lock, since nobody else can
//!   write the slot until the section ends; stores are steps, since readers under RCU see them;
//! * the *ids* of an XA_FLAGS_ALLOC array: which are free. An [`xa_alloc`] that reserves writes
//!   only this object, and sections on one index do not exclude it: that a slot turned from empty
//!   into reserved under a section is seen only by a raw load with a stale id, and in iommufd
//!   such a load treats the two alike. [`XArray::with_raw_readers`] is for programs in which it
//!   does not.
//!
//! Source: include/linux/xarray.h, lib/xarray.c, Documentation/core-api/xarray.rst;
//! reference/iommufd.md 6.2.

use std::panic::Location;

use uapi::errno::Ret;
use uapi::mutation::Change;
use uapi::splat::Kind;
use uapi::step::{Access, Accesses, Cpu, Mode, Site, CPUS_MAX};
use uapi::trace::Val;
use uapi::Errno;

pub use uapi::litmus::XaFlags;

use crate::linux::lock::How;
use crate::linux::slab::{count_held, stored, Field, Ptr};
use crate::linux::spinlock::{might_sleep, preempt_disable, preempt_enable};
use crate::linux::{fault, lockdep, warn};
use crate::sync::{self, Cell, Effect};

/// The key of the lock that an [`xa_alloc`] takes which only reserves: it excludes sections on the
/// whole array, and commutes with sections on one index.
const ANY_FREE_INDEX: u64 = u64::MAX;

/// What a slot holds.
pub enum Slot<T: ?Sized> {
    /// Nothing.
    Null,
    /// XA_ZERO_ENTRY: the index is reserved.
    Zero,
    /// A pointer.
    Ptr(Ptr<T>),
}

impl<T: ?Sized> Clone for Slot<T> {
    fn clone(&self) -> Slot<T> {
        *self
    }
}

impl<T: ?Sized> Copy for Slot<T> {}

impl<T: ?Sized> From<Option<Ptr<T>>> for Slot<T> {
    fn from(ptr: Option<Ptr<T>>) -> Slot<T> {
        ptr.map_or(Slot::Null, Slot::Ptr)
    }
}

impl<T: ?Sized> Slot<T> {
    /// As the normal API shows it: a reserved slot is NULL.
    pub fn ptr(self) -> Option<Ptr<T>> {
        match self {
            Slot::Ptr(ptr) => Some(ptr),
            Slot::Null | Slot::Zero => None,
        }
    }

    /// Whether nothing is there, not even a reservation.
    pub fn is_null(self) -> bool {
        matches!(self, Slot::Null)
    }

    /// How a trace line shows it.
    pub fn val(self) -> Val {
        match self {
            Slot::Null => Val::Null,
            Slot::Zero => Val::Zero,
            Slot::Ptr(ptr) => ptr.val(),
        }
    }

    /// C's `==`: pointers compare by address.
    fn same(self, other: Slot<T>) -> bool {
        match (self, other) {
            (Slot::Ptr(a), Slot::Ptr(b)) => a.same(b),
            (Slot::Null, Slot::Null) | (Slot::Zero, Slot::Zero) => true,
            _ => false,
        }
    }
}

/// The section that a CPU is in.
#[derive(Clone, Copy)]
struct Section {
    /// `None`: the whole array.
    index: Option<u64>,
    /// Whether other readers of the index may be in theirs at the same time.
    shared: bool,
    /// Whether it has stored something.
    stores: bool,
}

/// An xarray of pointers to `T`.
pub struct XArray<T: ?Sized> {
    field: Field,
    flags: XaFlags,
    /// Whether somebody tells a reserved slot from an empty one that may be reserved meanwhile.
    raw_readers: bool,
    map: u32,
    lock: u32,
    ids: Option<u32>,
    check: Option<fn(Ptr<T>, Site)>,
    /// Occupied and reserved slots by index.
    slots: Cell<Vec<(u64, Slot<T>)>>,
    sections: Cell<[Option<Section>; CPUS_MAX]>,
}

impl<T: ?Sized> XArray<T> {
    /// xa_init_flags()
    pub fn new(field: Field, flags: XaFlags) -> XArray<T> {
        XArray {
            field,
            flags,
            raw_readers: false,
            map: sync::object(),
            lock: sync::object(),
            ids: (flags != XaFlags::Plain).then(sync::object),
            check: None,
            slots: Cell::new(Vec::new()),
            sections: Cell::new([None; CPUS_MAX]),
        }
    }

    /// xa_init_flags() of an array whose raw readers tell a reserved slot from an empty one even
    /// where xa_alloc() may reserve it at the same time.
    pub fn with_raw_readers(field: Field, flags: XaFlags) -> XArray<T> {
        XArray { raw_readers: true, ..XArray::new(field, flags) }
    }

    /// xa_init_flags() of an array of which `check` looks at each entry that a section on one index
    /// has stored, before the lock is given back. It makes no step.
    pub fn with_check(field: Field, flags: XaFlags, check: fn(Ptr<T>, Site)) -> XArray<T> {
        XArray { check: Some(check), ..XArray::new(field, flags) }
    }

    /// The field that it is.
    pub fn field(&self) -> Field {
        self.field
    }

    /// The slots that are not empty, without a step: for the testbed's checks and the graph.
    pub fn peek(&self) -> Vec<(u64, Slot<T>)> {
        self.slots.with(|s| s.clone())
    }

    /// One slot, without a step.
    pub fn peek_at(&self, index: u64) -> Slot<T> {
        self.slots.with(|s| match s.binary_search_by_key(&index, |(i, _)| *i) {
            Ok(at) => s[at].1,
            Err(_) => Slot::Null,
        })
    }

    fn put(&self, index: u64, slot: Slot<T>) {
        if let Slot::Ptr(ptr) = slot {
            stored(ptr.owner(), self.field.owner);
        }
        self.slots.with(|s| match (s.binary_search_by_key(&index, |(i, _)| *i), slot) {
            (Ok(at), Slot::Null) => {
                s.remove(at);
            }
            (Ok(at), slot) => s[at].1 = slot,
            (Err(_), Slot::Null) => {}
            (Err(at), slot) => s.insert(at, (index, slot)),
        });
    }

    /// What storing `entry` through the normal API leaves in the slot: in an array that gives out
    /// ids NULL keeps the index reserved.
    fn stored(&self, entry: Slot<T>) -> Slot<T> {
        match entry {
            Slot::Null if self.ids.is_some() => Slot::Zero,
            entry => entry,
        }
    }

    fn section(&self, cpu: Cpu) -> Option<Section> {
        self.sections.with(|s| s[usize::from(cpu)])
    }

    /// Whether the current CPU is in a section that covers this index.
    fn is_inside(&self, index: u64) -> bool {
        self.section(sync::current()).is_some_and(|s| s.index.is_none_or(|i| i == index))
    }

    /// Whether a CPU may take the lock for this index (`None`: for the whole array).
    fn is_free_for(&self, me: Cpu, index: Option<u64>, shared: bool) -> bool {
        let keyed = sync::keyed();
        self.sections.with(|sections| {
            sections.iter().enumerate().all(|(cpu, section)| match section {
                None => true,
                // Let in, so that the step can say what is wrong.
                Some(_) if cpu == usize::from(me) => true,
                Some(held) if !keyed => held.shared && shared,
                Some(held) => match (held.index, index) {
                    (Some(a), Some(b)) => a != b || (held.shared && shared),
                    _ => false,
                },
            })
        })
    }

    fn lock_access(&self, index: Option<u64>, mode: Mode) -> Access {
        match index {
            Some(index) if sync::keyed() => Access::key(self.lock, index, mode),
            _ => Access::all(self.lock, mode),
        }
    }

    fn lock_key(&self, index: Option<u64>) -> u64 {
        index.filter(|_| sync::keyed()).unwrap_or(0)
    }

    /// Stops the execution if the current CPU is in a section of this array already.
    fn check_not_inside(&self, at: Site) {
        if self.section(sync::current()).is_some() {
            sync::stop(Kind::RecursiveLock, at, self.field.text());
        }
    }

    /// A call of the normal API that takes xa_lock inside, as one step. `accesses` are those of
    /// the slot and of the ids; they get the numbers 0 and 1 in `body`'s [`Touched`].
    fn locked_step<R>(
        &self,
        op: &'static str,
        at: Site,
        index: Option<u64>,
        accesses: [Option<Access>; 2],
        body: impl FnOnce(&mut Touched<'_, '_>) -> R,
    ) -> R {
        let me = sync::current();
        let ready = || self.is_free_for(me, index, false);
        let mut all: Accesses = self.field.accesses(self.lock_access(index, Mode::Lock));
        let first = all.len();
        all.extend(accesses.into_iter().flatten());
        let result = sync::step_when(op, at, all, Some(&ready), |effect| {
            self.field.check(at);
            self.check_not_inside(at);
            lockdep::passed(self.field, at);
            let ids = accesses[1].map(|_| first + usize::from(accesses[0].is_some()));
            let slot = accesses[0].map(|_| first);
            body(&mut Touched { effect, slot, ids })
        });
        sync::released(self.lock, self.lock_key(index));
        result
    }

    fn slot_access(&self, index: u64, mode: Mode) -> Option<Access> {
        Some(Access::key(self.map, index, mode))
    }

    fn ids_access(&self, mode: Mode) -> Option<Access> {
        self.ids.map(|ids| Access::all(ids, mode))
    }
}

/// What a step on an array turned out to touch.
struct Touched<'a, 'b> {
    effect: &'a mut Effect<'b>,
    slot: Option<usize>,
    ids: Option<usize>,
}

impl Touched<'_, '_> {
    fn log(&self, f: impl FnOnce() -> (Vec<Val>, Val)) {
        self.effect.log(f);
    }

    /// Nothing was stored. Under the keyed dependence two such calls are independent; without it
    /// a lock is a lock.
    fn nothing_stored(&mut self) {
        if sync::keyed() {
            self.effect.set_mode(0, Mode::LockShared);
        }
        if let Some(i) = self.slot {
            self.effect.only_read(i);
        }
        self.ids_unchanged();
    }

    fn ids_unchanged(&mut self) {
        if let Some(i) = self.ids {
            self.effect.only_read(i);
        }
    }
}

fn text(r: Result<u32, Errno>) -> Val {
    match r {
        Ok(id) => Val::Num(i64::from(id)),
        Err(e) => Val::Ret(Ret::Err(e)),
    }
}

// ---------------------------------------------------------------------------------------------
// The lock
// ---------------------------------------------------------------------------------------------

fn take<T: ?Sized>(op: &'static str, at: Site, xa: &XArray<T>, index: Option<u64>, shared: bool) {
    if let Some(change) = sync::change_at(at) {
        return sync::lock_changed(xa.lock, change);
    }
    let me = sync::current();
    // Without keys a section of readers is a section like any other.
    let shared = shared && sync::keyed();
    let mode = if shared { Mode::LockShared } else { Mode::Lock };
    let ready = || xa.is_free_for(me, index, shared);
    let mut accesses = xa.field.accesses(xa.lock_access(index, mode));
    accesses.push(match index {
        Some(index) => Access::key(xa.map, index, Mode::Read),
        None => Access::all(xa.map, Mode::Read),
    });
    if index.is_none() {
        accesses.extend(xa.ids_access(Mode::Read));
    }
    sync::lock_step(op, at, xa.field.lock_name(), accesses, &ready, |effect| {
        effect.log(|| (section_args(xa, index), Val::Void));
        xa.field.check(at);
        xa.check_not_inside(at);
        xa.sections.with(|s| s[usize::from(me)] = Some(Section { index, shared, stores: false }));
        count_held(xa.field.owner, 1);
        lockdep::acquired(xa.field, xa.lock, How::Exclusive, at);
        preempt_disable();
    });
}

fn give<T: ?Sized>(op: &'static str, at: Site, xa: &XArray<T>, index: Option<u64>) {
    if sync::unlock_changed(xa.lock).is_some() {
        return;
    }
    let me = sync::current();
    sync::unlocked(op, at, xa.lock, xa.lock_key(index), || section_args(xa, index));
    xa.field.check(at);
    if xa.section(me).is_none_or(|s| s.index != index) {
        sync::stop(Kind::BadUnlock, at, xa.field.text());
    }
    let stores = xa.section(me).is_some_and(|s| s.stores);
    if let (Some(check), Some(index), true) = (xa.check, index, stores) {
        if let Slot::Ptr(entry) = xa.peek_at(index) {
            check(entry, at);
        }
    }
    xa.sections.with(|s| s[usize::from(me)] = None);
    count_held(xa.field.owner, -1);
    lockdep::released(xa.lock);
    preempt_enable();
}

fn section_args<T: ?Sized>(xa: &XArray<T>, index: Option<u64>) -> Vec<Val> {
    let mut args = vec![xa.field.val()];
    args.extend(index.map(Val::Hex));
    args
}

/// xa_lock(): a section that may touch any index.
#[track_caller]
pub fn xa_lock<T: ?Sized>(xa: &XArray<T>) {
    take("xa_lock", sync::site(Location::caller()), xa, None, false);
}

/// xa_unlock()
#[track_caller]
pub fn xa_unlock<T: ?Sized>(xa: &XArray<T>) {
    give("xa_unlock", sync::site(Location::caller()), xa, None);
}

/// xa_lock() for a section that touches only this index.
#[track_caller]
pub fn xa_lock_index<T: ?Sized>(xa: &XArray<T>, index: u64) {
    take("xa_lock", sync::site(Location::caller()), xa, Some(index), false);
}

/// xa_lock() for a section that only loads this index, and whose other steps commute with those
/// of sections like it (counters that it raises). Two of them need not exclude each other.
#[track_caller]
pub fn xa_lock_index_read<T: ?Sized>(xa: &XArray<T>, index: u64) {
    take("xa_lock", sync::site(Location::caller()), xa, Some(index), true);
}

/// xa_unlock() of a section on one index.
#[track_caller]
pub fn xa_unlock_index<T: ?Sized>(xa: &XArray<T>, index: u64) {
    give("xa_unlock", sync::site(Location::caller()), xa, Some(index));
}

/// lockdep_assert_held(&xa->xa_lock): a check of the current CPU's own state, no step.
#[track_caller]
pub fn lockdep_assert_held_xa<T: ?Sized>(xa: &XArray<T>) {
    if xa.section(sync::current()).is_none() {
        sync::splat(Kind::AssertHeld, sync::site(Location::caller()), xa.field.text());
    }
}

// ---------------------------------------------------------------------------------------------
// The advanced API
// ---------------------------------------------------------------------------------------------

/// A raw or normalised load: a part of the section that the caller is in, or a step of its own.
fn load<T: ?Sized>(
    op: &'static str,
    at: Site,
    xa: &XArray<T>,
    index: u64,
    ids: Option<Access>,
    shown: fn(Slot<T>) -> Slot<T>,
) -> Slot<T> {
    let body = |effect: &mut Effect<'_>| {
        let slot = shown(xa.peek_at(index));
        effect.log(|| (vec![xa.field.val(), Val::Hex(index)], slot.val()));
        xa.field.check(at);
        slot
    };
    if xa.is_inside(index) {
        return sync::local_step(op, at, body);
    }
    let mut accesses = xa.field.accesses(Access::key(xa.map, index, Mode::Read));
    accesses.extend(ids);
    sync::step(op, at, accesses, body)
}

/// xas_load(): the slot as it is. With the lock held: without it, and without rcu_read_lock(), lockdep
/// says so.
#[track_caller]
pub fn xas_load<T: ?Sized>(xa: &XArray<T>, index: u64) -> Slot<T> {
    if !xa.is_inside(index) {
        sync::splat(Kind::AssertHeld, sync::site(Location::caller()), xa.field.text());
    }
    xas_load_rcu(xa, index)
}

/// xas_load() within rcu_read_lock().
#[track_caller]
pub fn xas_load_rcu<T: ?Sized>(xa: &XArray<T>, index: u64) -> Slot<T> {
    let ids = xa.ids_access(Mode::Read).filter(|_| xa.raw_readers);
    load("xas_load", sync::site(Location::caller()), xa, index, ids, |slot| slot)
}

/// xas_store(), with the lock held: storing NULL really frees the index. Gives the slot as it
/// was. Needs no memory where something was stored or reserved.
#[track_caller]
pub fn xas_store<T: ?Sized>(xa: &XArray<T>, index: u64, entry: Slot<T>) -> Slot<T> {
    let at = sync::site(Location::caller());
    if xa.ids.is_some() || xa.slots.with(|s| s.iter().any(|(_, s)| matches!(s, Slot::Zero))) {
        sync::apart(at, Change::AsStore);
    }
    match sync::change_at(at) {
        None => xas_store_at(at, xa, index, entry),
        Some(Change::AsStore) => Slot::from(xas_store_at(at, xa, index, xa.stored(entry)).ptr()),
        Some(_) => load("xas_load", at, xa, index, None, |slot| slot),
    }
}

fn xas_store_at<T: ?Sized>(at: Site, xa: &XArray<T>, index: u64, entry: Slot<T>) -> Slot<T> {
    let inside = xa.is_inside(index);
    if !inside {
        sync::splat(Kind::AssertHeld, at, xa.field.text());
    }
    let mut accesses = xa.field.accesses(Access::key(xa.map, index, Mode::Write));
    // The slot cannot change under the caller, so whether an id is taken or freed is known now;
    // unless the caller has forgotten the lock.
    let takes_or_frees = entry.is_null() != xa.peek_at(index).is_null();
    if takes_or_frees || !inside {
        accesses.extend(xa.ids_access(Mode::Write));
    }
    sync::step("xas_store", at, accesses, |effect| {
        let old = xa.peek_at(index);
        effect.log(|| (vec![xa.field.val(), Val::Hex(index), entry.val()], old.val()));
        xa.field.check(at);
        xa.put(index, entry);
        xa.sections.with(|s| {
            if let Some(section) = &mut s[usize::from(sync::current())] {
                section.stores = true;
            }
        });
        old
    })
}

// ---------------------------------------------------------------------------------------------
// The normal API
// ---------------------------------------------------------------------------------------------

/// xa_load(): under RCU, never blocked; no guarantee that the object outlives the call.
#[track_caller]
pub fn xa_load<T: ?Sized>(xa: &XArray<T>, index: u64) -> Option<Ptr<T>> {
    let at = sync::site(Location::caller());
    load("xa_load", at, xa, index, None, |slot| slot.ptr().into()).ptr()
}

/// One store under a condition on the old slot, as xa_store(), xa_insert() and xa_cmpxchg() make
/// it. `decide` says what to store, if anything. Gives the old slot as it was, and whether
/// something was stored; -ENOMEM leaves everything as it was.
fn store_if<T: ?Sized>(
    op: &'static str,
    at: Site,
    xa: &XArray<T>,
    index: u64,
    args: [Option<Slot<T>>; 2],
    show: fn(Slot<T>, bool) -> Val,
    decide: impl FnOnce(Slot<T>) -> Option<Slot<T>>,
) -> Result<(Slot<T>, bool), Errno> {
    let accesses = [xa.slot_access(index, Mode::Write), xa.ids_access(Mode::Write)];
    xa.locked_step(op, at, Some(index), accesses, |touched| {
        let old = xa.peek_at(index);
        let new = decide(old);
        // Only an empty index may need a node.
        let no_memory = old.is_null() && new.is_some_and(|n| !n.is_null()) && fault::should_fail();
        touched.log(|| {
            let mut vals = vec![xa.field.val(), Val::Hex(index)];
            vals.extend(args.into_iter().flatten().map(Slot::val));
            let result = if no_memory {
                Val::Ret(Ret::Err(Errno::ENOMEM))
            } else {
                show(old, new.is_some())
            };
            (vals, result)
        });
        let stored = new.filter(|_| !no_memory);
        match stored {
            None => touched.nothing_stored(),
            Some(new) => {
                if old.is_null() == new.is_null() {
                    touched.ids_unchanged();
                }
                xa.put(index, new);
            }
        }
        if no_memory {
            Err(Errno::ENOMEM)
        } else {
            Ok((old, stored.is_some()))
        }
    })
}

fn show_old<T: ?Sized>(old: Slot<T>, _stored: bool) -> Val {
    Slot::from(old.ptr()).val()
}

fn show_busy<T: ?Sized>(_old: Slot<T>, stored: bool) -> Val {
    Val::Ret(if stored { Ret::Ok } else { Ret::Err(Errno::EBUSY) })
}

/// xa_store(): gives the old entry. NULL keeps the index reserved in an array that gives out ids.
///
/// # Errors
///
/// -ENOMEM
#[track_caller]
pub fn xa_store<T: ?Sized>(
    xa: &XArray<T>,
    index: u64,
    entry: Option<Ptr<T>>,
) -> Result<Option<Ptr<T>>, Errno> {
    xa_store_slot(xa, index, entry.into())
}

/// xa_store() of any entry, the reserved one too.
///
/// # Errors
///
/// -ENOMEM
#[track_caller]
pub fn xa_store_slot<T: ?Sized>(
    xa: &XArray<T>,
    index: u64,
    entry: Slot<T>,
) -> Result<Option<Ptr<T>>, Errno> {
    let at = sync::site(Location::caller());
    if sync::change_at(at).is_some() {
        return Ok(load("xa_load", at, xa, index, None, |slot| slot).ptr());
    }
    might_sleep(at);
    let new = xa.stored(entry);
    store_if("xa_store", at, xa, index, [Some(entry), None], show_old, |_| Some(new))
        .map(|(old, _)| old.ptr())
}

/// xa_insert(): 0, or why nothing was stored.
///
/// # Errors
///
/// -EBUSY if the index is taken or reserved, -ENOMEM.
#[track_caller]
pub fn xa_insert<T: ?Sized>(
    xa: &XArray<T>,
    index: u64,
    entry: Option<Ptr<T>>,
) -> Result<(), Errno> {
    let at = sync::site(Location::caller());
    let change = sync::change_at(at);
    if change == Some(Change::Omit) {
        return Ok(());
    }
    might_sleep(at);
    // xa_insert() of NULL reserves.
    let new = entry.map_or(Slot::Zero, Slot::Ptr);
    let args = [Some(entry.into()), None];
    let inserted = store_if("xa_insert", at, xa, index, args, show_busy, |old| {
        (old.is_null() || change.is_some()).then_some(new)
    })?;
    inserted.1.then_some(()).ok_or(Errno::EBUSY)
}

/// xa_cmpxchg(): stores `new` if the slot is raw equal to `old`; gives the previous entry, NULL
/// for a reserved one.
///
/// # Errors
///
/// -ENOMEM, with nothing stored; never if `new` is NULL.
#[track_caller]
pub fn xa_cmpxchg<T: ?Sized>(
    xa: &XArray<T>,
    index: u64,
    old: Option<Ptr<T>>,
    new: Option<Ptr<T>>,
) -> Result<Option<Ptr<T>>, Errno> {
    xa_cmpxchg_slot(xa, index, old.into(), new.into())
}

/// xa_cmpxchg() of any entries, the reserved one too.
///
/// # Errors
///
/// -ENOMEM, with nothing stored.
#[track_caller]
pub fn xa_cmpxchg_slot<T: ?Sized>(
    xa: &XArray<T>,
    index: u64,
    old: Slot<T>,
    new: Slot<T>,
) -> Result<Option<Ptr<T>>, Errno> {
    let at = sync::site(Location::caller());
    let change = sync::change_at(at);
    if change == Some(Change::Omit) {
        return Ok(old.ptr());
    }
    might_sleep(at);
    let stored = xa.stored(new);
    let args = [Some(old), Some(new)];
    let matches = |now: Slot<T>| change.is_some() || now.same(old);
    store_if("xa_cmpxchg", at, xa, index, args, show_old, |now| matches(now).then_some(stored))
        .map(|(previous, _)| previous.ptr())
}

/// xa_reserve(): keeps an empty index for a later store, which then needs no memory.
///
/// # Errors
///
/// -EBUSY if the index is not empty, -ENOMEM.
#[track_caller]
pub fn xa_reserve<T: ?Sized>(xa: &XArray<T>, index: u64) -> Result<(), Errno> {
    let at = sync::site(Location::caller());
    if sync::change_at(at).is_some() {
        return Ok(());
    }
    might_sleep(at);
    let show = |old: Slot<T>, _: bool| {
        Val::Ret(if old.ptr().is_some() { Ret::Err(Errno::EBUSY) } else { Ret::Ok })
    };
    let (old, _) = store_if("xa_reserve", at, xa, index, [None, None], show, |old| {
        old.is_null().then_some(Slot::Zero)
    })?;
    // A slot that is reserved already reads as NULL, which is success.
    old.ptr().map_or(Ok(()), |_| Err(Errno::EBUSY))
}

/// xa_release(): gives a reservation back, if nothing was stored there since.
#[track_caller]
pub fn xa_release<T: ?Sized>(xa: &XArray<T>, index: u64) {
    let at = sync::site(Location::caller());
    match sync::change_at(at) {
        Some(Change::Omit) => {}
        Some(_) => _ = erase("xa_release", at, xa, index, |_| true),
        None => {
            if erase("xa_release", at, xa, index, |old| matches!(old, Slot::Zero)).is_some() {
                sync::apart(at, Change::AsErase);
            }
        }
    }
}

/// xa_erase(): frees the index, whatever is there; gives the old entry.
#[track_caller]
pub fn xa_erase<T: ?Sized>(xa: &XArray<T>, index: u64) -> Option<Ptr<T>> {
    let at = sync::site(Location::caller());
    if matches!(xa.stored(Slot::Null), Slot::Zero) {
        sync::apart(at, Change::AsStore);
    }
    match sync::change_at(at) {
        None => erase("xa_erase", at, xa, index, |_| true),
        Some(Change::Omit) => load("xa_load", at, xa, index, None, |slot| slot).ptr(),
        // Needs no memory where something is.
        Some(_) => {
            let new = xa.stored(Slot::Null);
            let stored = store_if("xa_store", at, xa, index, [None, None], show_old, |_| Some(new));
            stored.ok().and_then(|(old, _)| old.ptr())
        }
    }
}

fn erase<T: ?Sized>(
    op: &'static str,
    at: Site,
    xa: &XArray<T>,
    index: u64,
    erases: fn(Slot<T>) -> bool,
) -> Option<Ptr<T>> {
    let accesses = [xa.slot_access(index, Mode::Write), xa.ids_access(Mode::Write)];
    xa.locked_step(op, at, Some(index), accesses, |touched| {
        let old = xa.peek_at(index);
        touched.log(|| (vec![xa.field.val(), Val::Hex(index)], Slot::from(old.ptr()).val()));
        if old.is_null() || !erases(old) {
            touched.nothing_stored();
        } else {
            xa.put(index, Slot::Null);
        }
        old.ptr()
    })
}

/// xa_alloc(): stores `entry` (NULL is stored as a reservation) under the lowest free index up to
/// `limit_max`, and gives it.
///
/// # Errors
///
/// -EBUSY if there is none, -ENOMEM; -EINVAL with a WARN if the array gives out no ids.
#[track_caller]
pub fn xa_alloc<T: ?Sized>(xa: &XArray<T>, entry: Slot<T>, limit_max: u32) -> Result<u32, Errno> {
    let at = sync::site(Location::caller());
    might_sleep(at);
    if warn::warn_on(xa.ids.is_none()) {
        return Err(Errno::EINVAL);
    }
    // A reservation changes nothing that the readers of a slot can see; an object does, and which
    // slot it goes to is not known before.
    let slot = entry.ptr().map(|_| Access::all(xa.map, Mode::Write));
    let lock = Some(ANY_FREE_INDEX).filter(|_| slot.is_none() && !xa.raw_readers);
    let accesses = [slot, xa.ids_access(Mode::Write)];
    xa.locked_step("xa_alloc", at, lock, accesses, |touched| {
        let id = xa.lowest_free().filter(|id| *id <= limit_max).ok_or(Errno::EBUSY);
        let id = id.and_then(|id| if fault::should_fail() { Err(Errno::ENOMEM) } else { Ok(id) });
        touched.log(|| (vec![xa.field.val(), entry.val()], text(id)));
        match id {
            Err(_) => touched.nothing_stored(),
            Ok(id) => {
                if let Some(i) = touched.slot {
                    let one = Access::key(xa.map, u64::from(id), Mode::Write);
                    touched.effect.set_access(i, one);
                }
                xa.put(u64::from(id), entry.ptr().map_or(Slot::Zero, Slot::Ptr));
            }
        }
        id
    })
}

impl<T: ?Sized> XArray<T> {
    fn lowest_free(&self) -> Option<u32> {
        let mut id = u64::from(self.flags == XaFlags::Alloc1);
        self.slots.with(|slots| {
            let first = slots.partition_point(|(i, _)| *i < id);
            for (index, _) in &slots[first..] {
                if *index != id {
                    break;
                }
                id += 1;
            }
        });
        u32::try_from(id).ok()
    }
}

/// xa_empty(): false if anything is there, a reservation too.
#[track_caller]
pub fn xa_empty<T: ?Sized>(xa: &XArray<T>) -> bool {
    let at = sync::site(Location::caller());
    let mut accesses = xa.field.accesses(Access::all(xa.map, Mode::Read));
    accesses.extend(xa.ids_access(Mode::Read));
    sync::step("xa_empty", at, accesses, |effect| {
        let empty = xa.slots.with(|s| s.is_empty());
        effect.log(|| (vec![xa.field.val()], Val::Bool(empty)));
        xa.field.check(at);
        empty
    })
}

/// xa_find(): the first entry at or after `from`; reserved slots are passed over. xa_for_each()
/// is a loop of it, each round a step, since the array may change between two rounds.
#[track_caller]
pub fn xa_find<T: ?Sized>(xa: &XArray<T>, from: u64) -> Option<(u64, Ptr<T>)> {
    let at = sync::site(Location::caller());
    let accesses = xa.field.accesses(Access::all(xa.map, Mode::Read));
    sync::step("xa_find", at, accesses, |effect| {
        let found = xa.slots.with(|slots| {
            let first = slots.partition_point(|(i, _)| *i < from);
            slots[first..].iter().find_map(|(i, slot)| Some((*i, slot.ptr()?)))
        });
        effect.log(|| {
            let shown = found.map_or(Val::Null, |(_, ptr)| ptr.val());
            (vec![xa.field.val(), Val::Hex(from)], shown)
        });
        if let Some((index, _)) = found {
            // What lies behind the found entry was not looked at.
            if let Ok(len) = u32::try_from(index - from + 1) {
                if len < u32::MAX {
                    let seen = Access { obj: xa.map, len, key: from, mode: Mode::Read };
                    effect.set_access(0, seen);
                }
            }
        }
        xa.field.check(at);
        found
    })
}

/// xa_destroy(): every index is free; the objects that were stored are not freed.
#[track_caller]
pub fn xa_destroy<T: ?Sized>(xa: &XArray<T>) {
    let at = sync::site(Location::caller());
    sync::changed(sync::change_at(at), (at, xa), |(at, xa)| destroy(at, xa));
}

fn destroy<T: ?Sized>(at: Site, xa: &XArray<T>) {
    let accesses = [Some(Access::all(xa.map, Mode::Write)), xa.ids_access(Mode::Write)];
    xa.locked_step("xa_destroy", at, None, accesses, |touched| {
        touched.log(|| (vec![xa.field.val()], Val::Void));
        xa.slots.with(Vec::clear);
    });
}

/// The memory that holds an xarray goes away. Its nodes are allocations of their own, which
/// xa_destroy() frees, reserved entries included: kmemleak finds those that are left.
pub fn check_nodes_freed<T: ?Sized>(xa: &XArray<T>) {
    // One entry at index 0 needs no node.
    if xa.slots.with(|slots| slots.iter().any(|(index, _)| *index != 0)) {
        sync::splat_at_exit(Kind::Leak, format!("radix_tree_node of {}", xa.field.text()));
    }
}
