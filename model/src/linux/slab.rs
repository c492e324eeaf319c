//! kzalloc(), kfree(), and a heap that remembers.
//!
//! Every allocation has an ordinal, a type and an address. A pointer carries all three, so an
//! access to a freed object is seen even after the address was handed out again, and a comparison
//! of pointers compares addresses, as the kernel's does: with `Limits::recycle` a freed address
//! is handed out again at once, last freed first, and a stale pointer meets its double.
//!
//! Source: mm/slub.c (per-CPU freelist, last in first out), mm/kasan/report.c;
//! reference/iommufd.md 6.6.

use std::any::Any;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::ops::Deref;
use std::panic::Location;
use std::ptr::NonNull;

use uapi::program::Orders;
use uapi::splat::Kind;
use uapi::step::{Access, Accesses, Cpu, Mode, Site, CPUS_MAX};
use uapi::trace::Val;
use uapi::Errno;

use crate::linux::warn::warn_on;
use crate::linux::{fault, kcsan, lockdep};
use crate::sync::{self, Cell, Local, LockName};

/// A struct that lives on the heap.
pub trait Struct: Any {
    /// Its C name without the `iommufd_` prefix: `vdevice`.
    const NAME: &'static str;
}

/// Whose field a primitive is: the allocation that it lies in.
#[derive(Clone, Copy, Debug)]
pub struct Owner {
    /// Ordinal of the allocation within the execution.
    pub alloc: u32,
    /// Type of the allocation.
    pub ty: &'static str,
    /// What explorers call the allocation: every access reads it, kfree() writes it.
    obj: u32,
}

/// A field of an allocation: its owner and its path.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// The allocation.
    pub owner: Owner,
    /// Path as C spells it: `obj.users`.
    pub path: &'static str,
}

impl Owner {
    /// What explorers call the allocation.
    pub(super) fn obj(self) -> u32 {
        self.obj
    }

    /// One of its fields.
    pub fn field(self, path: &'static str) -> Field {
        Field { owner: self, path }
    }
}

impl Field {
    /// The field in a trace line: `vdevice#7->obj.users`.
    pub fn val(&self) -> Val {
        Val::Field {
            ty: self.owner.ty.to_string(),
            alloc: self.owner.alloc,
            field: self.path.to_string(),
        }
    }

    /// The field in a splat.
    pub fn text(&self) -> String {
        format!("{}#{}->{}", self.owner.ty, self.owner.alloc, self.path)
    }

    /// The field as the lock that it is.
    pub(super) fn lock_name(&self) -> LockName {
        (self.owner.ty, self.owner.alloc, self.path)
    }

    /// The accesses of a step on this field: the field itself as `obj`, and the memory it is in.
    pub fn accesses(&self, access: Access) -> Accesses {
        let mut accesses = Accesses::new();
        accesses.push(access);
        accesses.push(Access::all(self.owner.obj, Mode::Read));
        accesses
    }

    /// Stops the execution if the memory was freed. Every step on a field calls it first.
    pub fn check(&self, at: Site) {
        heap().with(|h| h.check(self.owner.alloc, at, self.path));
    }
}

/// A pointer to a heap object. Copying and dereferencing it is no step: only what is done with
/// the fields is.
pub struct Ptr<T: ?Sized> {
    owner: Owner,
    addr: u32,
    raw: NonNull<T>,
    _not_send: PhantomData<*const T>,
}

impl<T: ?Sized> Clone for Ptr<T> {
    fn clone(&self) -> Ptr<T> {
        *self
    }
}

impl<T: ?Sized> Copy for Ptr<T> {}

impl<T: ?Sized> Deref for Ptr<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: the arena keeps every object of an execution, freed ones too, until the
        // execution ends, and a pointer does not leave its execution.
        unsafe { self.raw.as_ref() }
    }
}

impl<T: ?Sized> Ptr<T> {
    /// The allocation that it points to.
    pub fn owner(self) -> Owner {
        self.owner
    }

    /// `vdevice#7`
    pub fn val(self) -> Val {
        Val::Ptr { ty: self.owner.ty.to_string(), alloc: self.owner.alloc }
    }

    /// A pointer to a part of the object: `&vdev->obj`.
    pub fn project<U: ?Sized>(self, part: impl FnOnce(&T) -> &U) -> Ptr<U> {
        // SAFETY: as in `deref`.
        let part = part(unsafe { self.raw.as_ref() });
        Ptr { owner: self.owner, addr: self.addr, raw: NonNull::from(part), _not_send: PhantomData }
    }

    /// Whether two pointers have the same address: C's `==`. The objects may be different ones
    /// if one of them was freed.
    pub fn same(self, other: Ptr<T>) -> bool {
        heap().with(|h| {
            if !h.allocs[self.owner.alloc as usize].live
                || !h.allocs[other.owner.alloc as usize].live
            {
                sync::saw_stale_compare();
            }
        });
        self.addr == other.addr
    }

    /// Whether this is the very same allocation: a check of the testbed, not of the kernel.
    pub fn is(self, other: Ptr<T>) -> bool {
        self.owner.alloc == other.owner.alloc
    }

    /// Whether the object has not been freed: a check of the testbed, not of the kernel.
    pub fn is_live(self) -> bool {
        heap().with(|h| h.allocs[self.owner.alloc as usize].live)
    }
}

/// The object around a part of it, `container_of()`. `None` if it has another type.
pub fn container_of<T: Struct, U: ?Sized>(part: Ptr<U>) -> Option<Ptr<T>> {
    heap().with(|h| {
        let whole = h.arena[part.owner.alloc as usize].downcast_ref::<T>()?;
        Some(Ptr {
            owner: part.owner,
            addr: part.addr,
            raw: NonNull::from(whole),
            _not_send: PhantomData,
        })
    })
}

struct Alloc {
    ty: &'static str,
    obj: u32,
    addr: u32,
    live: bool,
    /// How many locks inside it each CPU holds now.
    held: [u8; CPUS_MAX],
    /// Whether its memory is expected to go away with the execution (mock hardware).
    immortal: bool,
    /// Whether a pointer to it was ever stored anywhere.
    escaped: bool,
    /// Who can find it by a pointer in memory that others can find.
    found_by: FoundBy,
}

/// Who can find an allocation.
#[derive(Clone, Copy, PartialEq, Eq)]
enum FoundBy {
    /// Whoever allocated it.
    Its,
    /// Others, as soon as this CPU gives back a lock that it holds.
    Soon(Cpu),
    /// Others.
    All,
}

/// The heap of one execution.
#[derive(Default)]
struct Heap {
    allocs: Vec<Alloc>,
    arena: Vec<Box<dyn Any>>,
    /// Freed addresses by type, last freed last.
    free: BTreeMap<&'static str, Vec<u32>>,
    /// What explorers call the free list of a type.
    slabs: BTreeMap<&'static str, u32>,
    addrs: u32,
    /// Whether some allocation is [`FoundBy::Soon`].
    soon: bool,
}

impl Heap {
    fn check(&self, alloc: u32, at: Site, field: &str) {
        let a = &self.allocs[alloc as usize];
        if !a.live && sync::limits().kasan {
            let detail = format!("{}#{}->{}", a.ty, alloc, field);
            sync::stop(Kind::KasanUseAfterFree, at, detail);
        }
    }

    fn slab(&mut self, ty: &'static str) -> u32 {
        *self.slabs.entry(ty).or_insert_with(sync::object)
    }
}

/// KMALLOC_MAX_SIZE: the largest block of the page allocator, MAX_PAGE_ORDER 10.
const KMALLOC_MAX_SIZE: u64 = 4 << 20;

/// The heap of the execution that runs.
static HEAP: Local<Cell<Heap>> = Local::new(0);

fn heap() -> &'static Cell<Heap> {
    HEAP.get()
}

/// Allocates `T` with GFP_KERNEL_ACCOUNT: may sleep, may be made to fail.
///
/// # Errors
///
/// -ENOMEM if fail_nth says so.
#[track_caller]
pub fn kzalloc<T: Struct>(make: impl FnOnce(Owner) -> T) -> Result<Ptr<T>, Errno> {
    alloc_as("kzalloc", sync::site(Location::caller()), make)
}

/// kcalloc(): an array of `n` elements of `size` bytes.
///
/// # Errors
///
/// -ENOMEM if fail_nth says so, or if the array is larger than the page allocator's largest block.
#[track_caller]
pub fn kcalloc<T: Struct>(
    n: u64,
    size: u64,
    make: impl FnOnce(Owner) -> T,
) -> Result<Ptr<T>, Errno> {
    let at = sync::site(Location::caller());
    if n.saturating_mul(size) > KMALLOC_MAX_SIZE {
        return __alloc_pages_noprof();
    }
    alloc_as("kcalloc", at, make)
}

/// `__alloc_pages_noprof()`, asked for more pages than MAX_PAGE_ORDER: WARN_ON_ONCE_GFP().
fn __alloc_pages_noprof<T>() -> Result<Ptr<T>, Errno> {
    warn_on(true);
    Err(Errno::ENOMEM)
}

fn alloc_as<T: Struct>(
    op: &'static str,
    at: Site,
    make: impl FnOnce(Owner) -> T,
) -> Result<Ptr<T>, Errno> {
    crate::linux::spinlock::might_sleep(at);
    if let Some(ms) = fault::take_stall() {
        reclaim(at, ms);
    }
    alloc_step(op, at, make)
}

/// Allocates `T` with GFP_ATOMIC: does not sleep, may be made to fail.
///
/// # Errors
///
/// -ENOMEM if fail_nth says so.
#[track_caller]
pub fn kzalloc_atomic<T: Struct>(make: impl FnOnce(Owner) -> T) -> Result<Ptr<T>, Errno> {
    alloc_step("kzalloc", sync::site(Location::caller()), make)
}

fn alloc_step<T: Struct>(
    op: &'static str,
    at: Site,
    make: impl FnOnce(Owner) -> T,
) -> Result<Ptr<T>, Errno> {
    let recycle = sync::limits().recycle;
    let mut accesses = Accesses::new();
    if recycle {
        // Who allocates first gets the address that was freed last.
        accesses.push(Access::all(heap().with(|h| h.slab(T::NAME)), Mode::Write));
    }
    sync::step(op, at, accesses, |effect| {
        if fault::should_fail() {
            effect.log(|| (vec![Val::Text(T::NAME.to_string())], Val::Null));
            return Err(Errno::ENOMEM);
        }
        let ptr = allocate(recycle, false, make);
        effect.log(|| (vec![Val::Text(T::NAME.to_string())], ptr.val()));
        Ok(ptr)
    })
}

/// Direct reclaim: the allocation sleeps in TASK_UNINTERRUPTIBLE until memory was found.
fn reclaim(at: Site, ms: u64) {
    let timer = Some((sync::object(), ms));
    let never = || false;
    sync::sleep_step("io_schedule_timeout", at, Accesses::new(), timer, &never, |effect, _| {
        effect.log(|| (vec![Val::Num(ms as i64)], Val::Void));
    });
}

/// An object of the world outside iommufd, which is there from the start and is no leak.
pub fn immortal<T: Struct>(make: impl FnOnce(Owner) -> T) -> Ptr<T> {
    allocate(false, true, make)
}

fn allocate<T: Struct>(recycle: bool, immortal: bool, make: impl FnOnce(Owner) -> T) -> Ptr<T> {
    let obj = sync::object();
    let (alloc, addr) = heap().with(|h| {
        let recycled = if recycle { h.free.entry(T::NAME).or_default().pop() } else { None };
        let addr = recycled.unwrap_or(h.addrs);
        h.addrs += u32::from(recycled.is_none());
        let alloc = h.allocs.len() as u32;
        h.allocs.push(Alloc {
            ty: T::NAME,
            obj,
            addr,
            live: true,
            held: [0; CPUS_MAX],
            immortal,
            escaped: immortal,
            found_by: if immortal { FoundBy::All } else { FoundBy::Its },
        });
        h.arena.push(Box::new(()));
        (alloc, addr)
    });
    let owner = Owner { alloc, ty: T::NAME, obj };
    let object: Box<dyn Any> = Box::new(make(owner));
    heap().with(|h| {
        h.arena[alloc as usize] = object;
        let whole = h.arena[alloc as usize].downcast_ref::<T>().expect("just stored");
        Ptr { owner, addr, raw: NonNull::from(whole), _not_send: PhantomData }
    })
}

/// Frees an object.
#[track_caller]
pub fn kfree<T: ?Sized>(ptr: Ptr<T>) {
    let at = sync::site(Location::caller());
    sync::changed(sync::change_at(at), (at, ptr), |(at, ptr)| free(at, ptr));
}

fn free<T: ?Sized>(at: Site, ptr: Ptr<T>) {
    let mut accesses = Accesses::new();
    accesses.push(Access::all(ptr.owner.obj, Mode::Write));
    if sync::limits().recycle {
        accesses.push(Access::all(heap().with(|h| h.slab(ptr.owner.ty)), Mode::Write));
    }
    sync::step("kfree", at, accesses, |effect| {
        if sync::orders() == Orders::Strict {
            effect.orders_nothing();
        }
        effect.log(|| (vec![ptr.val()], Val::Void));
        let detail = || format!("{}#{}", ptr.owner.ty, ptr.owner.alloc);
        // debug_check_no_locks_freed() looks at the locks of the current task. A lock that another
        // task holds is freed unseen; giving it back is a use after free.
        let (live, held) = heap().with(|h| {
            let a = &h.allocs[ptr.owner.alloc as usize];
            (a.live, a.held[usize::from(sync::current())])
        });
        if !live {
            if !sync::limits().kasan {
                return;
            }
            sync::stop(Kind::KasanDoubleFree, at, detail());
        }
        if held > 0 {
            sync::stop(Kind::HeldLockFreed, at, detail());
        }
        if sync::blocked_on(ptr.owner.obj) {
            sync::stop(Kind::WaitedLockFreed, at, format!("{}, a task waits in it", detail()));
        }
        heap().with(|h| {
            let a = &mut h.allocs[ptr.owner.alloc as usize];
            a.live = false;
            let (ty, addr) = (a.ty, a.addr);
            h.free.entry(ty).or_default().push(addr);
        });
    });
    kcsan::freed(ptr.owner, at);
}

/// The current CPU took a lock inside the allocation (+1) or gave it back (-1).
pub(super) fn count_held(owner: Owner, change: i8) {
    let cpu = usize::from(sync::current());
    heap().with(|h| {
        let held = &mut h.allocs[owner.alloc as usize].held[cpu];
        *held = held.wrapping_add_signed(change);
    });
}

/// A pointer to `what` was stored in `place`. Others can find it once the lock that `place` is under
/// is given back, if there is one, and if they can find `place`.
pub(super) fn stored(what: Owner, place: Owner) {
    let me = sync::current();
    let (escapes, found) = heap().with(|h| {
        let in_the_open = h.allocs[place.alloc as usize].escaped;
        let a = &mut h.allocs[what.alloc as usize];
        let escapes = !std::mem::replace(&mut a.escaped, true);
        (escapes, in_the_open && a.found_by == FoundBy::Its)
    });
    if escapes {
        sync::escaped(what.obj);
    }
    if found {
        let holds_none = lockdep::held_numbers(me).is_empty();
        let by = if holds_none { FoundBy::All } else { FoundBy::Soon(me) };
        heap().with(|h| {
            h.allocs[what.alloc as usize].found_by = by;
            h.soon |= !holds_none;
        });
    }
}

/// The current CPU has given a lock back, or returns to user space.
pub(super) fn given_back() {
    let me = sync::current();
    heap().with(|h| {
        if !h.soon {
            return;
        }
        let mut soon = false;
        for a in &mut h.allocs {
            match a.found_by {
                FoundBy::Soon(cpu) if cpu == me => a.found_by = FoundBy::All,
                by => soon |= matches!(by, FoundBy::Soon(_)),
            }
        }
        h.soon = soon;
    });
}

/// What kmemleak would say when nothing runs any more: every object that is still allocated.
pub fn report_leaks() {
    let leaks: Vec<String> = heap().with(|h| {
        let left = h.allocs.iter().enumerate().filter(|(_, a)| a.live && !a.immortal);
        left.map(|(i, a)| format!("{}#{i}", a.ty)).collect()
    });
    for leak in leaks {
        sync::splat_at_exit(Kind::Leak, leak);
    }
}

/// The live allocations: ordinal and type.
pub fn live() -> Vec<(u32, &'static str)> {
    heap().with(|h| {
        let live = h.allocs.iter().enumerate().filter(|(_, a)| a.live);
        live.map(|(i, a)| (i as u32, a.ty)).collect()
    })
}

/// How many allocations there have been.
pub fn allocated() -> u32 {
    heap().with(|h| h.allocs.len() as u32)
}

/// The object with this ordinal, if it has this type.
pub fn by_ordinal<T: Struct>(alloc: u32) -> Option<Ptr<T>> {
    heap().with(|h| {
        let a = h.allocs.get(alloc as usize)?;
        let whole = h.arena[alloc as usize].downcast_ref::<T>()?;
        let owner = Owner { alloc, ty: a.ty, obj: a.obj };
        Some(Ptr { owner, addr: a.addr, raw: NonNull::from(whole), _not_send: PhantomData })
    })
}

/// A plain field: read and written without any ordering. Each access is a step, since the memory
/// may be freed at that very moment.
pub struct Plain<T> {
    field: Field,
    obj: u32,
    /// READ_ONCE() and WRITE_ONCE().
    marked: bool,
    /// Set before anybody else can find the allocation that it is in.
    once: bool,
    value: Cell<T>,
}

/// What a plain field can hold.
pub trait Value: Copy {
    /// How a trace line shows it.
    fn val(self) -> Val;

    /// The allocation that it points to, if it is a pointer.
    fn target(self) -> Option<Owner> {
        None
    }
}

impl Value for bool {
    fn val(self) -> Val {
        Val::Bool(self)
    }
}

impl Value for u32 {
    fn val(self) -> Val {
        Val::Num(i64::from(self))
    }
}

impl Value for i64 {
    fn val(self) -> Val {
        Val::Num(self)
    }
}

impl Value for u64 {
    fn val(self) -> Val {
        Val::Hex(self)
    }
}

impl<T> Value for Ptr<T> {
    fn val(self) -> Val {
        Ptr::val(self)
    }

    fn target(self) -> Option<Owner> {
        Some(self.owner)
    }
}

impl<T: Value> Value for Option<T> {
    fn val(self) -> Val {
        self.map_or(Val::Null, T::val)
    }

    fn target(self) -> Option<Owner> {
        self.and_then(T::target)
    }
}

impl<T: Value> Plain<T> {
    /// A field with its first value.
    pub fn new(field: Field, value: T) -> Plain<T> {
        if let Some(target) = value.target() {
            stored(target, field.owner);
        }
        Plain { field, obj: sync::object(), marked: false, once: false, value: Cell::new(value) }
    }

    /// A field that is set before anybody else can find the allocation that it is in, and whose
    /// readers need no lock for that: a store that comes later is reported, whether or not
    /// somebody reads the field too early.
    pub fn once(field: Field, value: T) -> Plain<T> {
        Plain { once: true, ..Plain::new(field, value) }
    }

    /// A field that is only accessed with READ_ONCE() and WRITE_ONCE(), or atomically: its
    /// accesses may race.
    pub fn marked(field: Field, value: T) -> Plain<T> {
        Plain { marked: true, ..Plain::new(field, value) }
    }

    /// Reads it.
    #[track_caller]
    pub fn load(&self) -> T {
        let at = sync::site(Location::caller());
        let accesses = self.field.accesses(Access::all(self.obj, Mode::Read));
        let value = sync::step("load", at, accesses, |effect| {
            let value = self.value.get();
            effect.log(|| (vec![self.field.val()], value.val()));
            self.field.check(at);
            effect.orders_nothing();
            value
        });
        self.watch(false, at);
        value
    }

    /// Writes it.
    #[track_caller]
    pub fn store(&self, value: T) {
        let at = sync::site(Location::caller());
        let change = sync::change_at(at);
        let owner = self.field.owner;
        sync::on_own_memory(at, self.obj, owner.obj, || {
            heap().with(|h| !h.allocs[owner.alloc as usize].escaped)
        });
        sync::changed(change, (self, at, value), |(field, at, value)| {
            field.store_at(at, value);
        });
    }

    fn store_at(&self, at: Site, value: T) {
        sync::step(
            "store",
            at,
            self.field.accesses(Access::all(self.obj, Mode::Write)),
            |effect| {
                effect.log(|| (vec![self.field.val(), value.val()], Val::Void));
                self.field.check(at);
                effect.orders_nothing();
                self.value.set(value);
            },
        );
        self.watch(true, at);
        if self.once {
            self.check_own(at);
        }
        self.points_to(value);
    }

    fn points_to(&self, value: T) {
        if let Some(target) = value.target() {
            stored(target, self.field.owner);
        }
    }

    /// Prints a splat if others can find the allocation already.
    fn check_own(&self, at: Site) {
        let found_by = heap().with(|h| h.allocs[self.field.owner.alloc as usize].found_by);
        if found_by == FoundBy::All {
            let detail = format!("{} is set after others can find it", self.field.text());
            sync::splat(Kind::Invariant, at, detail);
        }
    }

    fn watch(&self, write: bool, at: Site) {
        if !self.marked {
            kcsan::access(self.field, self.obj, write, at);
        }
    }

    /// `rcu_assign_pointer()`: writes it, and whoever finds the value there finds what was written
    /// before.
    #[track_caller]
    pub fn assign(&self, value: T) {
        let at = sync::site(Location::caller());
        let accesses = self.field.accesses(Access::all(self.obj, Mode::Write));
        sync::step("rcu_assign_pointer", at, accesses, |effect| {
            effect.log(|| (vec![self.field.val(), value.val()], Val::Void));
            self.field.check(at);
            self.value.set(value);
        });
    }

    /// The field that it is.
    pub(super) fn field(&self) -> Field {
        self.field
    }

    /// What a step that reads it as a part of something else touches: the condition of a wait.
    pub fn read_access(&self) -> Access {
        Access::all(self.obj, Mode::Read)
    }

    /// Reads it without a step: for the testbed's checks and for the object graph.
    pub fn peek(&self) -> T {
        sync::looked_at(self.obj);
        self.value.get()
    }

    /// Gives it a value before the object is visible to anybody: no step.
    pub fn init(&self, value: T) {
        self.value.set(value);
        self.points_to(value);
    }
}
