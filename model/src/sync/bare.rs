//! No scheduler: the CPUs are threads of the machine, and a step is only what it does.
//!
//! The same interface as `sync.rs`, for the command queue on real hardware: its words are the
//! machine's (`atomic/bare.rs`), nothing is announced, logged or changed, and the checks of the
//! invariants are not there. What else the model holds in a [`Cell`] belongs to one thread, because
//! a `Cell` is not `Sync`; so a vSMMU and its xarray live on the thread that made them, and none
//! of their primitives ever has to wait.
//!
//! The way in is [`on_cpu`].

use std::any::Any;
use std::cell::{Cell as StdCell, RefCell};
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe, Location};

use uapi::mutation::Change;
use uapi::program::{Limits, Orders};
use uapi::splat::{Kind, Splat};
use uapi::step::{Access, Accesses, Cpu, Mode, Site};
use uapi::trace::Val;

pub mod atomic;

/// Data of one thread.
#[derive(Default)]
pub struct Cell<T>(RefCell<T>);

impl<T> Cell<T> {
    /// A cell that holds `value`.
    pub const fn new(value: T) -> Cell<T> {
        Cell(RefCell::new(value))
    }

    /// Calls `f` with the contents. `f` must not enter the same cell.
    pub fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        f(&mut self.0.borrow_mut())
    }
}

impl<T: Copy> Cell<T> {
    /// The contents.
    pub fn get(&self) -> T {
        *self.0.borrow()
    }

    /// Replaces the contents.
    pub fn set(&self, value: T) {
        *self.0.borrow_mut() = value;
    }
}

/// What checks know: nothing here.
pub struct Checks<T>(std::marker::PhantomData<fn() -> T>);

impl<T> Checks<T> {
    /// Keeps nothing.
    pub fn new(_make: impl FnOnce() -> T) -> Checks<T> {
        Checks(std::marker::PhantomData)
    }

    /// Calls nothing.
    #[inline]
    pub fn with<R>(&self, _f: impl FnOnce(&mut T) -> R) -> Option<R> {
        None
    }
}

/// What several CPUs have.
pub use std::sync::Arc as Shared;

/// A constant that is computed when it is needed first.
pub use std::sync::OnceLock as OncePerProcess;

/// How many kinds of data of one floor there can be.
const LOCALS_MAX: usize = 6;

/// What unwinds a thread that has found something broken. Never leaves this file.
struct Unwind;

/// What a thread has while it is in [`on_cpu`].
#[derive(Default)]
struct Thread {
    cpu: StdCell<Cpu>,
    objects: StdCell<u32>,
    locals: RefCell<[Option<&'static dyn Any>; LOCALS_MAX]>,
    splats: RefCell<Vec<Splat>>,
}

thread_local! {
    static THREAD: Thread = Thread::default();
}

/// Runs `f` as this CPU on the calling thread.
///
/// # Errors
///
/// What was printed, if something was.
pub fn on_cpu<R>(cpu: Cpu, f: impl FnOnce() -> R) -> Result<R, Vec<Splat>> {
    THREAD.with(|t| {
        t.cpu.set(cpu);
        t.objects.set(0);
        t.locals.take();
    });
    let result = catch_unwind(AssertUnwindSafe(f));
    let splats = THREAD.with(|t| t.splats.take());
    match result {
        Ok(result) if splats.is_empty() => Ok(result),
        Err(payload) if !payload.is::<Unwind>() => resume_unwind(payload),
        _ => Err(splats),
    }
}

/// Where the caller of a primitive stands in the model's source.
pub fn site(location: &'static Location<'static>) -> Site {
    Site { file: location.file(), line: location.line(), column: location.column() }
}

/// A new object of this thread.
pub fn object() -> u32 {
    THREAD.with(|t| t.objects.replace(t.objects.get() + 1))
}

/// The CPU that this thread is.
pub fn current() -> Cpu {
    THREAD.with(|t| t.cpu.get())
}

/// The bounds and modes: the usual ones.
pub fn limits() -> Limits {
    Limits::default()
}

/// Whether the lock section of one xarray index is a lock of its own.
pub fn keyed() -> bool {
    true
}

/// Nobody is blocked in a step of this thread's objects.
pub fn blocked_on(_obj: u32) -> bool {
    false
}

/// No virtual time passes.
pub fn now_ms() -> u64 {
    0
}

/// Nobody counts it.
pub fn late_wakeup() {}

/// Nobody asks.
pub fn saw_stale_compare() {}

/// Prints a splat.
pub fn splat(kind: Kind, at: Site, detail: String) {
    splat_in(kind, function(at).to_string(), detail);
}

/// Prints a splat that names these functions.
pub fn splat_in(kind: Kind, function: String, detail: String) {
    THREAD.with(|t| t.splats.borrow_mut().push(Splat { kind, function, detail }));
}

/// The C function of a call site.
pub fn function(at: Site) -> &'static str {
    crate::sites::locate(at).1
}

/// Prints a splat that no function is to blame for.
pub fn splat_at_exit(kind: Kind, detail: String) {
    splat_in(kind, String::new(), detail);
}

/// Prints a splat that ends what [`on_cpu`] runs.
pub fn stop(kind: Kind, at: Site, detail: String) -> ! {
    splat(kind, at, detail);
    resume_unwind(Box::new(Unwind))
}

/// Where the data of one floor lies.
pub struct Local<T> {
    index: usize,
    _holds: std::marker::PhantomData<fn() -> T>,
}

impl<T: Any + Default> Local<T> {
    /// The data with this number; no two types share one.
    pub const fn new(index: usize) -> Local<T> {
        assert!(index < LOCALS_MAX, "raise LOCALS_MAX");
        Local { index, _holds: std::marker::PhantomData }
    }

    /// The data of this thread's [`on_cpu`], made on first use and kept until the process ends:
    /// what lies on the model's heap is referred to without a lifetime.
    pub fn get(&self) -> &'static T {
        THREAD.with(|t| {
            let mut locals = t.locals.borrow_mut();
            let data = locals[self.index].and_then(|data| data.downcast_ref::<T>());
            data.unwrap_or_else(|| {
                let made: &'static T = Box::leak(Box::default());
                locals[self.index] = Some(made);
                made
            })
        })
    }
}

/// What a step says about itself: nobody listens.
pub struct Effect<'a> {
    _step: std::marker::PhantomData<&'a ()>,
}

const SILENT: Effect<'static> = Effect { _step: std::marker::PhantomData };

impl Effect<'_> {
    /// The i-th access turned out to only read.
    pub fn only_read(&mut self, _i: usize) {}

    /// The i-th access turned out to be a weaker one.
    pub fn set_mode(&mut self, _i: usize, _mode: Mode) {}

    /// The i-th access turned out to touch only a part.
    pub fn set_access(&mut self, _i: usize, _access: Access) {}

    /// The counter that this step changed.
    pub fn counter(&mut self, _obj: u32, _before: i32, _after: i32) {}

    /// The step is a plain access.
    pub fn orders_nothing(&mut self) {}

    /// Whether anybody reads the log.
    pub fn tracing(&self) -> bool {
        false
    }

    /// Logs nothing.
    pub fn log(&self, _f: impl FnOnce() -> (Vec<Val>, Val)) {}

    /// Logs nothing.
    pub fn log_change(&self, _before: i64, _after: i64) {}
}

/// Makes a step.
#[inline]
pub fn step<R>(
    _op: &'static str,
    _at: Site,
    _accesses: Accesses,
    body: impl FnOnce(&mut Effect<'_>) -> R,
) -> R {
    body(&mut { SILENT })
}

/// Makes a step that has nobody to wait for: its objects are this thread's.
#[inline]
pub fn step_when<R>(
    op: &'static str,
    at: Site,
    _accesses: Accesses,
    ready: Option<&dyn Fn() -> bool>,
    body: impl FnOnce(&mut Effect<'_>) -> R,
) -> R {
    if ready.is_some_and(|ready| !ready()) {
        stop(Kind::HungTask, at, op.to_string());
    }
    body(&mut { SILENT })
}

/// As [`step_when`], for a step that takes a lock.
#[inline]
pub fn lock_step<R>(
    op: &'static str,
    at: Site,
    (ty, alloc, path): LockName,
    _accesses: Accesses,
    ready: &dyn Fn() -> bool,
    body: impl FnOnce(&mut Effect<'_>) -> R,
) -> R {
    if !ready() {
        stop(Kind::HungTask, at, format!("{op}({ty}#{alloc}->{path})"));
    }
    body(&mut { SILENT })
}

/// A lock in a splat: the type of the allocation that it is in, its ordinal, and the path of the field.
pub type LockName = (&'static str, u32, &'static str);

/// Sleeps: what was waited for is there, or it never will be and the timer fires.
pub fn sleep_step<R>(
    op: &'static str,
    at: Site,
    _accesses: Accesses,
    timer: Option<(u32, u64)>,
    ready: &dyn Fn() -> bool,
    body: impl FnOnce(&mut Effect<'_>, bool) -> R,
) -> R {
    let fired = !ready();
    if fired && timer.is_none() {
        stop(Kind::HungTask, at, op.to_string());
    }
    body(&mut { SILENT }, fired)
}

/// Nobody waits for the lock.
pub fn unlocked(_: &'static str, _at: Site, _obj: u32, _key: u64, _: impl FnOnce() -> Vec<Val>) {}

/// Nobody waits for the lock.
pub fn released(_obj: u32, _key: u64) {}

/// A part of the step before it.
#[inline]
pub fn local_step<R>(_op: &'static str, _at: Site, body: impl FnOnce(&mut Effect<'_>) -> R) -> R {
    body(&mut { SILENT })
}

/// When a step was: nobody writes it down.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Moment {}

/// None.
pub fn moment() -> Option<Moment> {
    None
}

/// Nobody asks what counters order.
pub fn orders() -> Orders {
    Orders::default()
}

/// There is no moment, so no pair.
pub fn unordered(pairs: &[(Moment, Moment)]) -> Vec<bool> {
    pairs.iter().map(|_| false).collect()
}

/// No step is done otherwise.
#[inline]
pub fn change_at(_at: Site) -> Option<Change> {
    None
}

/// No step is to be done otherwise.
#[inline]
pub fn apart(_at: Site, _change: Change) {}

/// No step is to be put off.
#[inline]
pub fn on_own_memory(_at: Site, _field: u32, _memory: u32, _is_own: impl FnOnce() -> bool) {}

/// No step is to be put off.
#[inline]
pub fn escaped(_memory: u32) {}

/// No step is to be put off.
#[inline]
pub fn looked_at(_field: u32) {}

/// Makes the step.
#[inline]
pub fn changed<A: Copy>(_change: Option<Change>, args: A, step: fn(A)) {
    step(args);
}

/// Nobody asks what was reached.
#[inline]
pub fn reached(_at: Site) {}

/// No lock is taken otherwise.
pub fn lock_changed(_obj: u32, _change: Change) {}

/// No lock was taken otherwise.
pub fn unlock_changed(_obj: u32) -> Option<Change> {
    None
}
