//! Where the model meets a scheduler.
//!
//! Every primitive of `linux/*` is one call of [`step`] or [`step_when`]: it is announced (which
//! objects, which keys, how), it waits until the scheduler lets this CPU go on, and then it
//! happens without interruption. Nothing above this file knows which scheduler that is, and no
//! other file of the model names one.
//!
//! Between two steps only one CPU ever runs, on every backend: coroutines of one thread
//! (`model_native`, `model_shuttle`, `model_loom`) or threads that hand a baton to each other
//! (`model_std`). That is why the state of a primitive can be a plain [`Cell`] of this module.
//!
//! The parts of this file: the execution ([`Exec`]), the interface for the floors above
//! ([`step`] to [`Local`]), the choice of the next CPU (`choose`), and one module per backend.

use std::any::Any;
use std::cell::{Cell as StdCell, RefCell, UnsafeCell};
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe, Location};
use std::rc::Rc;

use uapi::mutation::{Change, Mutation};
use uapi::outcome::{Ending, Outcome};
use uapi::pick::ModelError;
#[cfg(not(feature = "backend-loom"))]
use uapi::pick::{Explore, Pick};
use uapi::program::{Dependence, Limits, Orders, Timers};
use uapi::splat::{Kind, Splat};
use uapi::step::{
    sleeper_of, timer_of, Access, Accesses, Counter, Cpu, Done, Mode, Pending, Site, CPUS_MAX,
};
use uapi::trace::{Graph, Trace, TraceStep, Val};

pub mod atomic;
mod clocks;

use clocks::Clocks;
pub use clocks::Moment;

// ---------------------------------------------------------------------------------------------
// Data that only a running step touches
// ---------------------------------------------------------------------------------------------

/// Data of the model. Only the CPU that runs touches it, and only one CPU runs at a time.
#[derive(Default)]
pub struct Cell<T>(UnsafeCell<T>);

impl<T> Cell<T> {
    /// A cell that holds `value`.
    pub const fn new(value: T) -> Cell<T> {
        Cell(UnsafeCell::new(value))
    }

    /// Calls `f` with the contents. `f` must not make a step and must not enter the same cell.
    pub fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        // SAFETY: one CPU runs at a time, it gives way only inside `announce`, which `f` does not
        // call, and `f` does not come back to this cell (the contract above). So the reference is
        // unique while `f` runs.
        f(unsafe { &mut *self.0.get() })
    }
}

impl<T: Copy> Cell<T> {
    /// The contents.
    pub fn get(&self) -> T {
        self.with(|v| *v)
    }

    /// Replaces the contents.
    pub fn set(&self, value: T) {
        self.with(|v| *v = value);
    }
}

/// What checks know, beside what the model does. No step, and nothing of the model sees it.
pub struct Checks<T>(Cell<T>);

impl<T> Checks<T> {
    /// Keeps what `make` gives.
    pub fn new(make: impl FnOnce() -> T) -> Checks<T> {
        Checks(Cell::new(make()))
    }

    /// Calls `f` with it. `None` where nothing is checked: on the threads of the machine.
    pub fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> Option<R> {
        Some(self.0.with(f))
    }
}

/// What several CPUs have.
pub use std::sync::Arc as Shared;

/// A constant that is computed when it is needed first: nothing of an execution goes into it.
pub use std::sync::OnceLock as OncePerProcess;

// ---------------------------------------------------------------------------------------------
// One execution
// ---------------------------------------------------------------------------------------------

/// What runs: a program on the kernel model or a litmus program. Made anew for each execution.
pub trait Guest {
    /// Runs first, sequentially.
    fn setup(&self);
    /// The body of one CPU.
    fn cpu(&self, cpu: Cpu);
    /// Runs after all CPUs have finished, sequentially; checks what must hold at quiescence.
    fn finally(&self);
    /// Writes what was answered into the outcome. Called however the execution ended.
    fn report(&self, outcome: &mut Outcome);
    /// Whether the question is about what happens after this splat, so that it does not count.
    fn takes_for_granted(&self, _splat: &Splat) -> bool {
        false
    }
    /// The object graph as it is now.
    fn graph(&self) -> Graph {
        Graph::default()
    }
    /// Names that the program gave to allocations: (ordinal, name).
    fn names(&self) -> Vec<(u32, String)> {
        Vec::new()
    }
}

/// Makes a guest: the number of its CPUs, when its timers fire, and the maker itself.
pub struct GuestMaker<'a> {
    /// Number of CPUs.
    pub cpus: usize,
    /// When timers fire.
    pub timers: Timers,
    /// What counters order, for [`unordered`].
    pub orders: Orders,
    /// The step that the program does otherwise. That of the limits goes before it.
    pub mutation: Option<Mutation>,
    /// Whether [`moment`] is asked: KCSAN watches the fields of the kernel model.
    pub watched: bool,
    /// Makes the guest of one execution. Runs inside the execution.
    pub make: &'a dyn Fn() -> Rc<dyn Guest>,
}

/// What unwinds a CPU of an execution that has ended. Never leaves this file.
struct Unwind;

/// A sleeper's timer.
#[derive(Clone, Copy)]
struct Timer {
    deadline: u64,
    site: Site,
}

/// What one CPU is doing.
struct Slot {
    /// Set while the CPU waits for its turn to make the step that stands in `Exec::view`.
    announced: StdCell<bool>,
    finished: StdCell<bool>,
    ready: StdCell<Option<*const dyn Fn() -> bool>>,
    timer: StdCell<Option<Timer>>,
    fired: StdCell<bool>,
    call: StdCell<u32>,
    /// The lock that its step takes, if it takes one.
    lock: StdCell<Option<LockName>>,
}

/// A lock in a splat: the type of the allocation that it is in, its ordinal, and the path of the field.
pub type LockName = (&'static str, u32, &'static str);

impl Slot {
    fn new() -> Slot {
        Slot {
            announced: StdCell::new(false),
            finished: StdCell::new(true),
            ready: StdCell::new(None),
            timer: StdCell::new(None),
            fired: StdCell::new(false),
            call: StdCell::new(0),
            lock: StdCell::new(None),
        }
    }

    /// What its CPU hangs in: `mutex_lock(igroup#5->lock)`, `wait_event`.
    fn hangs_in(&self, op: &str) -> String {
        match self.lock.get() {
            Some((ty, alloc, path)) => format!("{op}({ty}#{alloc}->{path})"),
            None => op.to_owned(),
        }
    }

    fn is_ready(&self) -> bool {
        match self.ready.get() {
            None => true,
            // SAFETY: the predicate lives on the stack of the CPU that announced it, which waits
            // in `announce` until it is let go on; `announce` clears the pointer before it returns.
            Some(p) => unsafe { (*p)() },
        }
    }
}

/// Which part of an execution runs.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Setup,
    Cpus,
    Finally,
}

/// One execution.
struct Exec {
    limits: Limits,
    #[cfg_attr(feature = "backend-loom", expect(dead_code, reason = "see `explore_loom`"))]
    timers: Timers,
    phase: StdCell<Phase>,
    current: StdCell<Cpu>,
    last: StdCell<Option<Cpu>>,
    objects: StdCell<u32>,
    steps: StdCell<u32>,
    now_ms: StdCell<u64>,
    ending: StdCell<Option<Ending>>,
    slots: [Slot; CPUS_MAX],
    /// The announced steps by CPU number, then the timers that may fire.
    view: UnsafeCell<Vec<Pending>>,
    cpus_in_view: StdCell<usize>,
    /// What the last step did, until the explorer has been told.
    done: StdCell<Option<Done>>,
    unlocked: UnsafeCell<Vec<(Cpu, u32, u64)>>,
    splats: RefCell<Vec<Splat>>,
    trace: RefCell<Vec<TraceStep>>,
    graphs: RefCell<Vec<Graph>>,
    stale_compare: StdCell<bool>,
    late_wakeups: StdCell<u32>,
    /// Steps of the setup and of `finally`, which no explorer counts.
    alone: StdCell<u32>,
    changes: Changes,
    /// What the next access of a word is announced with, beside the word.
    also: StdCell<atomic::Also>,
    /// Whether the steps are written into `clocks`.
    watched: bool,
    /// What counters order.
    orders: Orders,
    /// What the steps so far were, to tell what they ordered.
    clocks: UnsafeCell<Clocks>,
    guest: RefCell<Option<Rc<dyn Guest>>>,
    locals: UnsafeCell<[Option<Box<dyn Any>>; LOCALS_MAX]>,
    /// What the backend needs to hand over control.
    #[cfg(any(feature = "backend-std", feature = "backend-loom"))]
    backend: backend::State,
}

thread_local! {
    /// The execution that this thread works for. Set for the time of one execution.
    static EXEC: StdCell<*const Exec> = const { StdCell::new(std::ptr::null()) };
    #[cfg(feature = "backend-native")]
    static YIELDERS: UnsafeCell<[*const backend::CpuYielder; CPUS_MAX]> =
        const { UnsafeCell::new([std::ptr::null(); CPUS_MAX]) };
}

/// The execution of this thread.
fn exec() -> &'static Exec {
    let exec = EXEC.get();
    assert!(!exec.is_null(), "a primitive of the model was called outside an execution");
    // SAFETY: `Entered` sets the pointer and resets it before the execution is dropped; the
    // reference is only used by calls on the stack below it.
    unsafe { &*exec }
}

/// Sets [`EXEC`] for as long as it lives.
struct Entered(*const Exec);

impl Entered {
    fn new(exec: &Exec) -> Entered {
        Entered(EXEC.replace(exec))
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        EXEC.set(self.0);
    }
}

impl Exec {
    fn new(limits: &Limits, maker: &GuestMaker<'_>) -> Exec {
        Exec {
            limits: *limits,
            timers: maker.timers,
            phase: StdCell::new(Phase::Setup),
            current: StdCell::new(0),
            last: StdCell::new(None),
            objects: StdCell::new(0),
            steps: StdCell::new(0),
            now_ms: StdCell::new(0),
            ending: StdCell::new(None),
            slots: std::array::from_fn(|_| Slot::new()),
            view: UnsafeCell::new(Vec::with_capacity(2 * CPUS_MAX)),
            cpus_in_view: StdCell::new(0),
            done: StdCell::new(None),
            unlocked: UnsafeCell::new(Vec::new()),
            splats: RefCell::new(Vec::new()),
            trace: RefCell::new(Vec::new()),
            graphs: RefCell::new(Vec::new()),
            stale_compare: StdCell::new(false),
            late_wakeups: StdCell::new(0),
            alone: StdCell::new(0),
            changes: Changes::new(limits.mutation.or(maker.mutation), limits.reach),
            also: StdCell::default(),
            watched: maker.watched,
            orders: maker.orders,
            clocks: UnsafeCell::new(Clocks::default()),
            guest: RefCell::new(None),
            locals: UnsafeCell::new([const { None }; LOCALS_MAX]),
            #[cfg(any(feature = "backend-std", feature = "backend-loom"))]
            backend: backend::State::new(),
        }
    }

    fn slot(&self, cpu: Cpu) -> &Slot {
        &self.slots[cpu as usize]
    }

    #[allow(clippy::mut_from_ref)] // see the SAFETY comment: uniqueness comes from the baton
    fn view(&self) -> &mut Vec<Pending> {
        // SAFETY: entered only from `announce`, `choose` and the end of a CPU, which run one at
        // a time and do not keep the reference across a switch.
        unsafe { &mut *self.view.get() }
    }

    #[allow(clippy::mut_from_ref)] // see the SAFETY comment: uniqueness comes from the baton
    fn clocks(&self) -> &mut Clocks {
        // SAFETY: used by the CPU that makes a step, which does not keep it across a switch.
        unsafe { &mut *self.clocks.get() }
    }

    fn stopped(&self) -> bool {
        self.ending.get().is_some()
    }

    /// Ends the execution, if it has not ended yet.
    fn end(&self, ending: Ending) {
        if self.ending.get().is_none() {
            self.ending.set(Some(ending));
        }
    }

    /// Whether other CPUs can run between two steps.
    fn concurrent(&self) -> bool {
        self.phase.get() == Phase::Cpus
    }

    fn log_here(&self, splat: Splat) {
        if self.guest.borrow().as_ref().is_some_and(|guest| guest.takes_for_granted(&splat)) {
            return;
        }
        let mut splats = self.splats.borrow_mut();
        if let Some(step) = self.trace.borrow_mut().last_mut() {
            step.splat.get_or_insert(splats.len() as u32);
        }
        splats.push(splat);
    }

    #[inline]
    fn push_trace(&self, cpu: Cpu, op: &'static str, site: Site, scheduling_point: bool) {
        if self.limits.trace {
            self.write_trace(cpu, op, site, scheduling_point);
        }
    }

    #[cold]
    fn write_trace(&self, cpu: Cpu, op: &'static str, site: Site, scheduling_point: bool) {
        let (file, function) = crate::sites::locate(site);
        self.trace.borrow_mut().push(TraceStep {
            cpu,
            call: self.slot(sleeper_of(cpu).unwrap_or(cpu)).call.get(),
            scheduling_point: scheduling_point && self.concurrent(),
            file: file.to_string(),
            line: site.line,
            function: function.to_string(),
            op: op.to_string(),
            args: Vec::new(),
            result: Val::Void,
            change: None,
            splat: None,
        });
    }

    #[inline]
    fn push_graph(&self) {
        if self.limits.trace && self.limits.graph {
            self.write_graph();
        }
    }

    #[cold]
    fn write_graph(&self) {
        let guest = self.guest.borrow().clone();
        if let Some(guest) = guest {
            // One graph per trace line: lines of unlocks share the graph of their step.
            let graph = guest.graph();
            let lines = self.trace.borrow().len();
            let mut graphs = self.graphs.borrow_mut();
            while graphs.len() < lines {
                graphs.push(graph.clone());
            }
        }
    }

    #[cfg(not(feature = "backend-loom"))]
    fn tell(&self, pick: &mut dyn Pick) {
        if let Some(done) = self.done.take() {
            pick.done(&done);
        }
        // SAFETY: as in `view`.
        let unlocked = unsafe { &mut *self.unlocked.get() };
        for (cpu, obj, key) in unlocked.drain(..) {
            pick.unlocked(cpu, obj, key);
        }
    }

    /// Tells what the last step did, and that no CPU has a further one.
    #[cfg(not(feature = "backend-loom"))]
    fn tell_last(&self, pick: &mut dyn Pick) {
        self.tell(pick);
        if !self.stopped() {
            pick.quiescent();
        }
    }

    fn finish_cpu(&self, cpu: Cpu) {
        self.slot(cpu).finished.set(true);
        self.slot(cpu).announced.set(false);
        let view = self.view();
        view.truncate(self.cpus_in_view.get());
        view.retain(|p| p.cpu != cpu);
        self.cpus_in_view.set(view.len());
    }
}

// ---------------------------------------------------------------------------------------------
// For the floors above
// ---------------------------------------------------------------------------------------------

/// Where the caller of a primitive stands in the model's source.
pub fn site(location: &'static Location<'static>) -> Site {
    Site { file: location.file(), line: location.line(), column: location.column() }
}

/// A new object for [`Access`]: its ordinal in order of creation.
pub fn object() -> u32 {
    let exec = exec();
    let obj = exec.objects.get();
    exec.objects.set(obj + 1);
    obj
}

/// The CPU that runs.
pub fn current() -> Cpu {
    exec().current.get()
}

/// The bounds and modes of this execution.
pub fn limits() -> Limits {
    exec().limits
}

/// Whether the lock section of one xarray index is a lock of its own.
pub fn keyed() -> bool {
    exec().limits.dependence == Dependence::Keyed
}

/// The program step that this CPU works on, for the trace.
pub fn set_call(index: u32) {
    let exec = exec();
    exec.slot(exec.current.get()).call.set(index);
}

/// Whether another CPU is blocked in a step that touches this object.
pub fn blocked_on(obj: u32) -> bool {
    let exec = exec();
    if !exec.concurrent() {
        return false;
    }
    let me = exec.current.get();
    let cpus = &exec.view()[..exec.cpus_in_view.get()];
    cpus.iter().any(|p| {
        p.cpu != me
            && exec.slot(p.cpu).announced.get()
            && !exec.slot(p.cpu).is_ready()
            && p.accesses.iter().any(|a| a.obj == obj)
    })
}

/// Virtual time in milliseconds.
pub fn now_ms() -> u64 {
    exec().now_ms.get()
}

/// A sleeper's timer fired although what it waited for had already happened: counted in the
/// outcome, no splat.
pub fn late_wakeup() {
    let exec = exec();
    exec.late_wakeups.set(exec.late_wakeups.get() + 1);
}

/// A freed pointer was compared: whether addresses are re-used can matter to this program.
pub fn saw_stale_compare() {
    exec().stale_compare.set(true);
}

/// Prints a splat; the kernel goes on.
pub fn splat(kind: Kind, at: Site, detail: String) {
    splat_in(kind, function(at).to_string(), detail);
}

/// Prints a splat that names these functions; the kernel goes on.
pub fn splat_in(kind: Kind, function: String, detail: String) {
    exec().log_here(Splat { kind, function, detail });
}

/// The C function of a call site.
pub fn function(at: Site) -> &'static str {
    crate::sites::locate(at).1
}

/// Prints a splat of the testbed's checks at quiescence, which no function is to blame for.
pub fn splat_at_exit(kind: Kind, detail: String) {
    splat_in(kind, String::new(), detail);
}

/// Prints a splat that ends the kernel, and ends the execution.
pub fn stop(kind: Kind, at: Site, detail: String) -> ! {
    splat(kind, at, detail);
    exec().end(Ending::Stopped);
    // Not a panic: no message, no hook. Every backend catches it at the root of the CPU.
    resume_unwind(Box::new(Unwind))
}

/// Where in an execution the data of one floor lies. Each kind of data has a number of its own,
/// so that finding it costs nothing: primitives look for theirs at every step.
pub struct Local<T> {
    index: usize,
    _holds: std::marker::PhantomData<fn() -> T>,
}

/// How many kinds of data there can be.
const LOCALS_MAX: usize = 6;

impl<T: Any + Default> Local<T> {
    /// The data with this number, below [`LOCALS_MAX`]; no two types share one.
    pub const fn new(index: usize) -> Local<T> {
        assert!(index < LOCALS_MAX, "raise LOCALS_MAX");
        Local { index, _holds: std::marker::PhantomData }
    }

    /// The data of this execution, made on first use.
    pub fn get(&self) -> &'static T {
        let exec = exec();
        // SAFETY: touched by one CPU at a time, and the reference ends with this function.
        let slot = unsafe { &mut (*exec.locals.get())[self.index] };
        let data: &dyn Any = &**slot.get_or_insert_with(|| Box::<T>::default());
        debug_assert!(data.is::<T>(), "one type to a number");
        // SAFETY: `new` is given a number of its own for each type (see there), so the box holds a
        // `T`. It is never replaced, so its contents stay where they are for as long as the
        // execution lives, and their users run inside it.
        unsafe { &*std::ptr::from_ref(data).cast::<T>() }
    }
}

/// What a step says about itself while it happens.
pub struct Effect<'a> {
    accesses: &'a mut Accesses,
    counter: Option<Counter>,
    tracing: bool,
    orders: bool,
}

impl Effect<'_> {
    /// The i-th announced access turned out to only read (a compare that failed).
    pub fn only_read(&mut self, i: usize) {
        self.accesses[i].mode = Mode::Read;
    }

    /// The i-th announced access turned out to be a weaker one.
    pub fn set_mode(&mut self, i: usize, mode: Mode) {
        self.accesses[i].mode = mode;
    }

    /// The i-th announced access turned out to touch only a part of what was announced.
    pub fn set_access(&mut self, i: usize, access: Access) {
        self.accesses[i] = access;
    }

    /// The counter that this step changed, or would have changed.
    pub fn counter(&mut self, obj: u32, before: i32, after: i32) {
        self.counter = Some(Counter { obj, before, after });
    }

    /// The step is a plain access: it orders nothing ([`clock`]).
    pub fn orders_nothing(&mut self) {
        self.orders = false;
    }

    /// Whether anybody reads the log.
    pub fn tracing(&self) -> bool {
        self.tracing
    }

    /// Logs arguments and result. Called at most once, before anything that may stop the step.
    pub fn log(&self, f: impl FnOnce() -> (Vec<Val>, Val)) {
        if self.tracing {
            if let Some(step) = exec().trace.borrow_mut().last_mut() {
                (step.args, step.result) = f();
            }
        }
    }

    /// Logs the value of a counter before and after.
    pub fn log_change(&self, before: i64, after: i64) {
        if self.tracing {
            if let Some(step) = exec().trace.borrow_mut().last_mut() {
                step.change = Some((before, after));
            }
        }
    }
}

/// Makes one step that never blocks.
pub fn step<R>(
    op: &'static str,
    at: Site,
    accesses: Accesses,
    body: impl FnOnce(&mut Effect<'_>) -> R,
) -> R {
    step_when(op, at, accesses, None, body)
}

/// Makes one step as soon as `ready` holds (a lock is free).
pub fn step_when<R>(
    op: &'static str,
    at: Site,
    accesses: Accesses,
    ready: Option<&dyn Fn() -> bool>,
    body: impl FnOnce(&mut Effect<'_>) -> R,
) -> R {
    blocking_step(op, at, accesses, ready, false, body)
}

/// As [`step_when`], for a step that takes a lock: the splat of a deadlock names it.
pub fn lock_step<R>(
    op: &'static str,
    at: Site,
    lock: LockName,
    accesses: Accesses,
    ready: &dyn Fn() -> bool,
    body: impl FnOnce(&mut Effect<'_>) -> R,
) -> R {
    let slot = exec().slot(current());
    slot.lock.set(Some(lock));
    let result = step_when(op, at, accesses, Some(ready), body);
    slot.lock.set(None);
    result
}

/// Sleeps until `ready` holds or the timer fires, as one step. `body` learns whether the timer
/// fired. `timer` is the object of the timer and its length in milliseconds of virtual time.
pub fn sleep_step<R>(
    op: &'static str,
    at: Site,
    mut accesses: Accesses,
    timer: Option<(u32, u64)>,
    ready: &dyn Fn() -> bool,
    body: impl FnOnce(&mut Effect<'_>, bool) -> R,
) -> R {
    let exec = exec();
    let me = exec.current.get();
    let slot = exec.slot(me);
    slot.fired.set(false);
    // An execution that ended in the middle of a lock may have left one.
    slot.lock.set(None);
    if let Some((obj, ms)) = timer {
        accesses.push(Access::all(obj, Mode::Write));
        slot.timer.set(Some(Timer { deadline: exec.now_ms.get() + ms, site: at }));
    }
    let fired_or_ready = || slot.fired.get() || ready();
    let result = blocking_step(op, at, accesses, Some(&fired_or_ready), true, |effect| {
        slot.timer.set(None);
        body(effect, slot.fired.get())
    });
    slot.fired.set(false);
    result
}

fn blocking_step<R>(
    op: &'static str,
    at: Site,
    mut accesses: Accesses,
    ready: Option<&dyn Fn() -> bool>,
    awaits: bool,
    body: impl FnOnce(&mut Effect<'_>) -> R,
) -> R {
    let exec = exec();
    exec.changes.followed(exec.current.get(), op, at, &accesses);
    if exec.changes.any_deferred.get() {
        make_deferred(exec, Due::AfterUnlock);
        if gives_back(op) {
            exec.changes.passed(exec.current.get());
        }
    }
    let me = exec.current.get();
    if exec.concurrent() {
        announce(exec, me, op, at, &accesses, ready, awaits);
    } else {
        count_alone(exec);
        if let Some(ready) = ready {
            wait_alone(exec, me, op, at, ready);
        }
    }
    exec.push_trace(me, op, at, true);
    let tracing = exec.limits.trace;
    let mut effect = Effect { accesses: &mut accesses, counter: None, tracing, orders: true };
    let result = body(&mut effect);
    if exec.concurrent() {
        if exec.watched {
            exec.clocks().step(me, effect.orders, effect.accesses, effect.counter);
        }
        exec.done.set(Some(Done { cpu: me, counter: effect.counter }));
    }
    exec.push_graph();
    #[cfg(feature = "backend-loom")]
    backend::wake_ready(exec);
    result
}

/// Steps of the setup and of `finally` together after which an execution is given up.
const ALONE_MAX: u32 = 20_000;

/// Counts a step of the setup or of `finally`: nothing runs without a bound.
fn count_alone(exec: &Exec) {
    exec.alone.set(exec.alone.get() + 1);
    if exec.alone.get() > ALONE_MAX {
        exec.end(Ending::StepLimit);
        resume_unwind(Box::new(Unwind));
    }
}

/// A step of the setup or of `finally` that has to wait: time passes, or it hangs.
fn wait_alone(exec: &Exec, me: Cpu, op: &'static str, at: Site, ready: &dyn Fn() -> bool) {
    if ready() {
        return;
    }
    if let Some(timer) = exec.slot(me).timer.get() {
        exec.now_ms.set(timer.deadline);
        exec.slot(me).fired.set(true);
        return;
    }
    exec.push_trace(me, op, at, true);
    splat(Kind::HungTask, at, exec.slot(me).hangs_in(op));
    exec.end(Ending::Deadlock);
    resume_unwind(Box::new(Unwind));
}

/// Tells the explorer that a lock was given back. `key` is the one that it was taken with.
pub fn unlocked(op: &'static str, at: Site, obj: u32, key: u64, args: impl FnOnce() -> Vec<Val>) {
    let exec = exec();
    let me = exec.current.get();
    if exec.changes.reach {
        exec.changes.note_gave_back(me, at);
    }
    exec.push_trace(me, op, at, false);
    if exec.limits.trace {
        if let Some(step) = exec.trace.borrow_mut().last_mut() {
            step.args = args();
        }
    }
    exec.push_graph();
    released(obj, key);
    if exec.changes.any_deferred.get() {
        exec.changes.passed(me);
    }
}

/// As [`unlocked`] without a line in the log: the lock was taken and given back within the last
/// step, or its unlock was a step.
pub fn released(obj: u32, key: u64) {
    let exec = exec();
    if exec.concurrent() {
        if exec.watched {
            exec.clocks().unlocked(exec.current.get(), obj, key);
        }
        // SAFETY: as in `Exec::view`.
        unsafe { (*exec.unlocked.get()).push((exec.current.get(), obj, key)) };
        #[cfg(feature = "backend-loom")]
        backend::unlocked(exec, obj, key);
    }
}

/// A part of the step before it: logged, and not announced. For a load inside the section of the
/// lock that protects it: the step that took the lock announced the load.
pub fn local_step<R>(op: &'static str, at: Site, body: impl FnOnce(&mut Effect<'_>) -> R) -> R {
    let exec = exec();
    exec.changes.followed(exec.current.get(), op, at, &[]);
    exec.push_trace(exec.current.get(), op, at, false);
    let tracing = exec.limits.trace;
    let accesses = &mut Accesses::new();
    let result = body(&mut Effect { accesses, counter: None, tracing, orders: true });
    exec.push_graph();
    result
}

/// The last step of the current CPU while others can run, if the guest asks for it
/// ([`GuestMaker::watched`]).
pub fn moment() -> Option<Moment> {
    let exec = exec();
    (exec.watched && exec.concurrent()).then(|| exec.clocks().now(exec.current.get()))
}

/// What counters order in this execution.
pub fn orders() -> Orders {
    exec().orders
}

/// How many other CPUs are about to touch one of the objects with these numbers: a check that looks
/// between two of their steps can tell.
pub fn others_about_to(objects: &[u32]) -> usize {
    let exec = exec();
    if !exec.concurrent() {
        return 0;
    }
    let me = exec.current.get();
    let view = exec.view();
    let cpus = &view[..exec.cpus_in_view.get().min(view.len())];
    cpus.iter()
        .filter(|p| p.cpu != me && p.accesses.iter().any(|a| objects.contains(&a.obj)))
        .count()
}

/// Which of these pairs of moments, the earlier first, nothing orders.
pub fn unordered(pairs: &[(Moment, Moment)]) -> Vec<bool> {
    let exec = exec();
    exec.clocks().unordered(pairs, exec.orders)
}

// ---------------------------------------------------------------------------------------------
// Mutants
// ---------------------------------------------------------------------------------------------

/// A step that a mutant puts off.
struct Deferred {
    cpu: Cpu,
    /// Whether the CPU has given a lock back since.
    passed: bool,
    step: Box<dyn FnOnce()>,
}

/// Which deferred steps are to be made.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Due {
    /// Those that an unlock of this CPU has passed.
    AfterUnlock,
    /// All of this CPU.
    Now,
}

/// Whether the step gives a lock back.
fn gives_back(op: &str) -> bool {
    op.ends_with("_unlock") || op.starts_with("up_")
}

/// A step that a CPU has made, which a mutant could put off.
struct Last {
    cpu: Cpu,
    at: Site,
    /// The numbers of what it writes and of the allocation around that, if it is a store to memory
    /// that nobody else can reach: no pointer to the allocation was ever stored.
    own: Option<(u32, u32)>,
}

/// What this execution does otherwise than the text, and what it is asked to note.
struct Changes {
    /// Whether primitives have to ask: there is a mutation, or call sites are noted.
    asked: bool,
    mutation: Option<(Site, Change)>,
    reach: bool,
    reached: RefCell<std::collections::BTreeSet<u16>>,
    /// Steps that a CPU has made since it entered the kernel, if they are noted and nothing has
    /// followed yet that they could be put off past.
    last: RefCell<Vec<Last>>,
    apart: RefCell<std::collections::BTreeSet<(u16, Change)>>,
    any_deferred: StdCell<bool>,
    deferred: RefCell<Vec<Deferred>>,
    /// Locks that were dropped or taken in a weaker way, and by whom: their unlocks go with them.
    locks: RefCell<Vec<(Cpu, u32, Change)>>,
}

impl Changes {
    fn new(mutation: Option<Mutation>, reach: bool) -> Changes {
        let place = mutation.and_then(|m| Some((crate::sites::place(m.site)?, m.change)));
        Changes {
            asked: place.is_some() || reach,
            mutation: place,
            reach,
            reached: RefCell::default(),
            last: RefCell::default(),
            apart: RefCell::default(),
            any_deferred: StdCell::new(false),
            deferred: RefCell::default(),
            locks: RefCell::default(),
        }
    }

    /// `cpu` makes a step at this place with these accesses: its steps elsewhere could have been put
    /// off past it.
    #[inline]
    fn followed(&self, cpu: Cpu, op: &'static str, at: Site, accesses: &[Access]) {
        if self.reach && gives_back(op) {
            self.note_gave_back(cpu, at);
        } else if self.reach {
            self.note_followed(cpu, at, accesses);
        }
    }

    /// A store to memory that nobody else can reach can be put off past a step that does not touch
    /// what it writes.
    #[cold]
    fn note_followed(&self, cpu: Cpu, at: Site, accesses: &[Access]) {
        self.last.borrow_mut().retain(|last| {
            let untouched = |(field, memory): (u32, u32)| {
                let frees = |a: &Access| a.obj == memory && a.mode != Mode::Read;
                !accesses.iter().any(|a| a.obj == field || frees(a))
            };
            let stays = last.cpu != cpu || last.at == at || last.own.is_some_and(untouched);
            if !stays {
                self.note_apart(last.at, Change::Defer);
            }
            stays
        });
    }

    /// `cpu` gives a lock back. What it has put off is made before its next step: a store to memory
    /// that nobody else can reach up to here makes the same program there.
    #[cold]
    fn note_gave_back(&self, cpu: Cpu, at: Site) {
        self.last.borrow_mut().retain(|last| {
            let stays = last.cpu != cpu || last.at == at;
            if !stays && last.own.is_none() {
                self.note_apart(last.at, Change::Defer);
            }
            stays
        });
    }

    /// The noted stores of which this holds are not to be put off.
    #[cold]
    fn note_reached(&self, reached: impl Fn(u32, u32) -> bool) {
        self.last.borrow_mut().retain(|last| {
            let stays = !last.own.is_some_and(|(field, memory)| reached(field, memory));
            if !stays {
                self.note_apart(last.at, Change::Defer);
            }
            stays
        });
    }

    fn note_apart(&self, at: Site, change: Change) {
        let site = crate::sites::call_site_at(at);
        self.apart.borrow_mut().extend(site.map(|site| (site, change)));
    }

    /// `cpu` gives a lock back: what it put off is due before its next step.
    fn passed(&self, cpu: Cpu) {
        self.deferred
            .borrow_mut()
            .iter_mut()
            .filter(|d| d.cpu == cpu)
            .for_each(|d| d.passed = true);
    }
}

/// What is to be done at this call site instead of the step that it calls for. Every primitive of
/// `uapi::mutation::PRIMITIVES` asks first.
#[inline]
pub fn change_at(at: Site) -> Option<Change> {
    let exec = exec();
    match exec.changes.asked {
        false => None,
        true => asked_change_at(exec, at),
    }
}

#[cold]
fn asked_change_at(exec: &Exec, at: Site) -> Option<Change> {
    let changes = &exec.changes;
    if changes.reach {
        changes.reached.borrow_mut().extend(crate::sites::call_site_at(at));
        changes.last.borrow_mut().push(Last { cpu: exec.current.get(), at, own: None });
    }
    changes.mutation.filter(|(place, _)| crate::sites::same_place(*place, at)).map(|(_, c)| c)
}

/// Notes that this place was reached, if that is asked for. It is no step.
#[inline]
pub fn reached(at: Site) {
    let exec = exec();
    if exec.changes.reach {
        exec.changes.reached.borrow_mut().extend(crate::sites::call_site_at(at));
    }
}

/// Says that this change of the step at this place makes another program.
#[inline]
pub fn apart(at: Site, change: Change) {
    let exec = exec();
    if exec.changes.reach {
        exec.changes.note_apart(at, change);
    }
}

/// The step at this place, which [`change_at`] was asked about, is a store to the field with this
/// number, in an allocation with this number that nobody else can reach yet, if `is_own` says so,
/// which is asked only where somebody wants to know.
#[inline]
pub fn on_own_memory(at: Site, field: u32, memory: u32, is_own: impl FnOnce() -> bool) {
    let exec = exec();
    if exec.changes.reach && is_own() {
        let me = exec.current.get();
        let mut noted = exec.changes.last.borrow_mut();
        if let Some(last) = noted.iter_mut().rev().find(|last| last.cpu == me && last.at == at) {
            last.own = Some((field, memory));
        }
    }
}

/// A pointer to the allocation with this number was stored somewhere, for the first time.
pub fn escaped(memory: u32) {
    let exec = exec();
    if exec.changes.reach {
        exec.changes.note_reached(|_, m| m == memory);
    }
}

/// The field with this number is looked at without a step.
#[inline]
pub fn looked_at(field: u32) {
    let exec = EXEC.get();
    // SAFETY: as in `exec()`. The checks at the end look at fields when nothing runs any more.
    if let Some(exec) = unsafe { exec.as_ref() } {
        if exec.changes.reach {
            exec.changes.note_reached(|f, _| f == field);
        }
    }
}

/// Makes a step that has no result as its call site is to be changed: not at all, twice, later.
///
/// `args` are what the caller of the primitive gave, and borrow nothing of the primitive's own:
/// what they borrow lies on the heap of the execution, which keeps everything until it ends.
#[inline]
pub fn changed<A: Copy>(change: Option<Change>, args: A, step: fn(A)) {
    match change {
        None => step(args),
        Some(change) => changed_otherwise(change, args, step),
    }
}

#[cold]
fn changed_otherwise<A: Copy>(change: Change, args: A, step: fn(A)) {
    match change {
        Change::Omit => {}
        Change::Repeat => {
            step(args);
            step(args);
        }
        Change::Defer => {
            let exec = exec();
            let step: Box<dyn FnOnce() + '_> = Box::new(move || step(args));
            // SAFETY: only the lifetime changes. Call sites of mutants are those of the kernel
            // model, whose primitives are fields of heap objects; the heap keeps them until the
            // execution ends, and no deferred step is made after that.
            let step = unsafe {
                std::mem::transmute::<Box<dyn FnOnce() + '_>, Box<dyn FnOnce() + 'static>>(step)
            };
            let cpu = exec.current.get();
            exec.changes.deferred.borrow_mut().push(Deferred { cpu, passed: false, step });
            exec.changes.any_deferred.set(true);
        }
        _ => step(args),
    }
}

/// Makes the steps that this CPU has put off and that are due.
#[cold]
fn make_deferred(exec: &Exec, due: Due) {
    let me = exec.current.get();
    loop {
        let mut deferred = exec.changes.deferred.borrow_mut();
        let next = deferred.iter().position(|d| d.cpu == me && (due == Due::Now || d.passed));
        let Some(next) = next else { break };
        let step = deferred.remove(next).step;
        exec.changes.any_deferred.set(!deferred.is_empty());
        drop(deferred);
        step();
    }
}

/// This CPU returns to user space: nothing is put off beyond that.
pub fn return_to_user() {
    let exec = exec();
    if exec.changes.reach {
        let me = exec.current.get();
        exec.changes.last.borrow_mut().retain(|last| last.cpu != me);
    }
    if exec.changes.any_deferred.get() {
        make_deferred(exec, Due::Now);
    }
}

/// This CPU drops a lock, or takes it in a weaker way, as a mutant says.
#[cold]
pub fn lock_changed(obj: u32, change: Change) {
    let exec = exec();
    exec.changes.locks.borrow_mut().push((exec.current.get(), obj, change));
}

/// What was done instead of taking the lock that this CPU now gives back.
#[inline]
pub fn unlock_changed(obj: u32) -> Option<Change> {
    let exec = exec();
    exec.changes.mutation?;
    let mut locks = exec.changes.locks.borrow_mut();
    let me = exec.current.get();
    let i = locks.iter().rposition(|(cpu, lock, _)| *cpu == me && *lock == obj)?;
    Some(locks.remove(i).2)
}

/// Runs a part of the setup as if this CPU did it.
pub fn on_behalf<R>(cpu: Cpu, f: impl FnOnce() -> R) -> R {
    let exec = exec();
    let before = exec.current.replace(cpu);
    let result = f();
    exec.current.set(before);
    result
}

// ---------------------------------------------------------------------------------------------
// Announcing and choosing
// ---------------------------------------------------------------------------------------------

/// A copy without the checks of clone(): there is one at every step.
fn copied(accesses: &Accesses) -> Accesses {
    let mut copy = Accesses::new();
    for access in accesses {
        // SAFETY: both have the same capacity.
        unsafe { copy.push_unchecked(*access) };
    }
    copy
}

/// Announces the next step of `me` and waits until it may be made.
fn announce(
    exec: &Exec,
    me: Cpu,
    op: &'static str,
    at: Site,
    accesses: &Accesses,
    ready: Option<&dyn Fn() -> bool>,
    awaits: bool,
) {
    let slot = exec.slot(me);
    // SAFETY: only the lifetime changes; see `Slot::is_ready`.
    let ready: Option<*const dyn Fn() -> bool> = ready.map(|r| unsafe {
        std::mem::transmute::<&dyn Fn() -> bool, &'static dyn Fn() -> bool>(r)
            as *const dyn Fn() -> bool
    });
    slot.ready.set(ready);
    slot.announced.set(true);
    let pending =
        Pending { cpu: me, enabled: true, awaits, op, site: at, accesses: copied(accesses) };
    let view = exec.view();
    view.truncate(exec.cpus_in_view.get());
    match view.iter().position(|p| p.cpu >= me) {
        Some(i) if view[i].cpu == me => view[i] = pending,
        Some(i) => view.insert(i, pending),
        None => view.push(pending),
    }
    exec.cpus_in_view.set(view.len());
    backend::switch(exec, me);
    slot.ready.set(None);
    slot.announced.set(false);
    if exec.stopped() {
        resume_unwind(Box::new(Unwind));
    }
    exec.current.set(me);
    exec.last.set(Some(me));
    exec.steps.set(exec.steps.get() + 1);
}

/// What the scheduler does next. (Loom chooses by itself, here and in `refresh` and `choose`.)
#[cfg(not(feature = "backend-loom"))]
enum Choice {
    /// Let this CPU make its step.
    Run(Cpu),
    /// The execution has ended; every CPU must be let go on to unwind.
    End,
}

/// Which timers may fire now, as entries of the view. Returns whether any CPU is enabled.
#[cfg(not(feature = "backend-loom"))]
fn refresh(exec: &Exec) -> bool {
    let view = exec.view();
    view.truncate(exec.cpus_in_view.get());
    let mut any = false;
    for p in view.iter_mut() {
        p.enabled = exec.slot(p.cpu).is_ready();
        any |= p.enabled;
    }
    if exec.timers == Timers::Any {
        for i in 0..exec.cpus_in_view.get() {
            let cpu = view[i].cpu;
            if let (false, Some(timer)) = (view[i].enabled, exec.slot(cpu).timer.get()) {
                let pending = timer_pending(&view[i], timer);
                view.push(pending);
                any = true;
            }
        }
    }
    any
}

/// The step of the timer that `sleeper` sleeps on. Whether it is enabled depends on what the
/// sleeper's condition reads, so it touches what the sleeper announced, the timer included.
#[cfg(not(feature = "backend-loom"))]
fn timer_pending(sleeper: &Pending, timer: Timer) -> Pending {
    Pending {
        cpu: timer_of(sleeper.cpu),
        enabled: true,
        awaits: false,
        op: "timer_expire",
        site: timer.site,
        accesses: sleeper.accesses.clone(),
    }
}

/// The timer that fires when no CPU can run: the earliest, the lowest CPU among equals.
fn earliest_timer(exec: &Exec) -> Option<Cpu> {
    let view = exec.view();
    view[..exec.cpus_in_view.get()]
        .iter()
        .filter_map(|p| exec.slot(p.cpu).timer.get().map(|t| (t.deadline, p.cpu)))
        .min()
        .map(|(_, cpu)| cpu)
}

/// Fires the timer that `sleeper` sleeps on.
fn fire(exec: &Exec, sleeper: Cpu) {
    let slot = exec.slot(sleeper);
    let Some(timer) = slot.timer.get() else { return };
    exec.now_ms.set(exec.now_ms.get().max(timer.deadline));
    slot.fired.set(true);
    exec.last.set(Some(timer_of(sleeper)));
    exec.steps.set(exec.steps.get() + 1);
    exec.push_trace(timer_of(sleeper), "timer_expire", timer.site, true);
    exec.push_graph();
    exec.done.set(Some(Done { cpu: timer_of(sleeper), counter: None }));
}

/// Nobody can run: the splat of a deadlock, naming every CPU that hangs.
fn hung(exec: &Exec) {
    let view = exec.view();
    let cpus = &view[..exec.cpus_in_view.get()];
    let named = |p: &Pending| format!("CPU {} in {}", p.cpu, exec.slot(p.cpu).hangs_in(p.op));
    let detail: Vec<String> = cpus.iter().map(named).collect();
    let at = cpus[0].site;
    exec.log_here(Splat {
        kind: Kind::HungTask,
        function: crate::sites::locate(at).1.to_string(),
        detail: detail.join(", "),
    });
    exec.end(Ending::Deadlock);
}

/// Asks the explorer which CPU makes the next step. All CPUs have announced or finished, and at
/// least one has announced.
#[cfg(not(feature = "backend-loom"))]
fn choose(exec: &Exec, pick: &mut dyn Pick) -> Choice {
    loop {
        exec.tell(pick);
        if exec.stopped() {
            return Choice::End;
        }
        if exec.steps.get() >= exec.limits.steps_max {
            exec.end(Ending::StepLimit);
            return Choice::End;
        }
        if !refresh(exec) {
            pick.stuck(exec.view());
            let Some(sleeper) = earliest_timer(exec) else {
                hung(exec);
                return Choice::End;
            };
            let view = exec.view();
            let asleep = view.iter().find(|p| p.cpu == sleeper);
            if let (Some(asleep), Some(timer)) = (asleep, exec.slot(sleeper).timer.get()) {
                let pending = timer_pending(asleep, timer);
                view.push(pending);
            }
        }
        match pick.pick(exec.view(), exec.last.get()) {
            None => {
                exec.end(Ending::Pruned);
                return Choice::End;
            }
            Some(cpu) => match sleeper_of(cpu) {
                Some(sleeper) => fire(exec, sleeper),
                None => return Choice::Run(cpu),
            },
        }
    }
}

/// Runs `f` as a part of the execution; an [`Unwind`] ends here.
fn guarded(f: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(f)) {
        if !payload.is::<Unwind>() {
            resume_unwind(payload);
        }
    }
}

/// One CPU from its first step to its last.
fn cpu_body(exec: &Exec, guest: &Rc<dyn Guest>, cpu: Cpu) {
    if !exec.stopped() {
        exec.current.set(cpu);
        guarded(|| guest.cpu(cpu));
    }
    exec.finish_cpu(cpu);
}

/// Setup, the CPUs by `concurrently`, `finally`; then what it gave. `None` if it was pruned.
fn execute(
    exec: &Exec,
    maker: &GuestMaker<'_>,
    concurrently: impl FnOnce(&Exec, &Rc<dyn Guest>),
) -> Option<Outcome> {
    let guest = (maker.make)();
    *exec.guest.borrow_mut() = Some(guest.clone());
    guarded(|| guest.setup());
    // The trace is about the CPUs. What the setup did is only kept if it printed something.
    if exec.splats.borrow().is_empty() {
        exec.trace.borrow_mut().clear();
        exec.graphs.borrow_mut().clear();
    }
    if !exec.stopped() {
        exec.phase.set(Phase::Cpus);
        for slot in &exec.slots[..maker.cpus] {
            slot.finished.set(false);
        }
        concurrently(exec, &guest);
        exec.phase.set(Phase::Finally);
        exec.current.set(0);
    }
    if !exec.stopped() {
        let before = (exec.trace.borrow().len(), exec.splats.borrow().len());
        guarded(|| guest.finally());
        if exec.splats.borrow().len() == before.1 {
            exec.trace.borrow_mut().truncate(before.0);
            exec.graphs.borrow_mut().truncate(before.0);
        }
        exec.end(Ending::Complete);
    }
    let ending = exec.ending.get().unwrap_or(Ending::Complete);
    *exec.guest.borrow_mut() = None;
    if ending == Ending::Pruned {
        return None;
    }
    let mut outcome = Outcome {
        ending,
        results: Vec::new(),
        splats: exec.splats.take(),
        steps: exec.steps.get(),
        stale_compare: exec.stale_compare.get(),
        late_wakeups: exec.late_wakeups.get(),
        lock_order: Vec::new(),
        reached: exec.changes.reached.take().into_iter().collect(),
        apart: exec.changes.apart.take().into_iter().collect(),
        state: Vec::new(),
        trace: None,
    };
    guest.report(&mut outcome);
    if exec.limits.trace {
        outcome.trace = Some(Trace {
            steps: exec.trace.take(),
            graphs: exec.graphs.take(),
            names: guest.names(),
        });
    }
    Some(outcome)
}

/// Refuses what no backend can run.
fn check_cpus(maker: &GuestMaker<'_>, max: usize) -> Result<(), ModelError> {
    if maker.cpus > max {
        return Err(ModelError::TooManyCpus { cpus: maker.cpus, max });
    }
    Ok(())
}

#[cfg(not(feature = "backend-loom"))]
pub use backend::drive;

// ---------------------------------------------------------------------------------------------
// Coroutines: the fastest backend, for the partial-order explorer
// ---------------------------------------------------------------------------------------------

#[cfg(feature = "backend-native")]
mod backend {
    use super::*;
    use corosensei::stack::DefaultStack;
    use corosensei::{Coroutine, CoroutineResult, Yielder};

    pub(super) type CpuYielder = Yielder<(), ()>;

    /// Stack of one CPU in bytes. The model's deepest call chain needs a tenth of it.
    const STACK_BYTES: usize = 256 * 1024;

    /// Gives control back to the scheduler until it lets `me` go on.
    pub(super) fn switch(_exec: &Exec, me: Cpu) {
        // SAFETY: set by `run_cpus` below for this CPU before its first step, and valid for as
        // long as its coroutine runs, which is on the stack below this call.
        let yielder = YIELDERS.with(|y| unsafe { (*y.get())[me as usize] });
        unsafe { (*yielder).suspend(()) };
    }

    /// Runs executions until the explorer wants no more.
    ///
    /// # Errors
    ///
    /// More CPUs than [`CPUS_MAX`].
    pub fn drive(
        maker: &GuestMaker<'_>,
        explorer: &mut dyn Explore,
        limits: &Limits,
    ) -> Result<(), ModelError> {
        check_cpus(maker, CPUS_MAX)?;
        let mut stacks: Vec<DefaultStack> = Vec::new();
        while explorer.next_execution() {
            let exec = Exec::new(limits, maker);
            let _entered = Entered::new(&exec);
            let outcome = execute(&exec, maker, |exec, guest| {
                run_cpus(exec, guest, maker.cpus, &mut stacks, explorer);
            });
            explorer.finished(exec.ending.get().unwrap_or(Ending::Complete));
            explorer.outcome(outcome);
        }
        Ok(())
    }

    fn run_cpus(
        exec: &Exec,
        guest: &Rc<dyn Guest>,
        cpus: usize,
        stacks: &mut Vec<DefaultStack>,
        explorer: &mut dyn Explore,
    ) {
        let exec_ptr: *const Exec = exec;
        let mut coroutines: Vec<Coroutine<(), (), (), DefaultStack>> = (0..cpus)
            .map(|i| {
                let stack = stacks.pop().unwrap_or_else(|| {
                    DefaultStack::new(STACK_BYTES).expect("address space for a stack")
                });
                let guest = guest.clone();
                Coroutine::with_stack(stack, move |yielder: &CpuYielder, ()| {
                    YIELDERS.with(|y| {
                        // SAFETY: this thread only, and no reference is kept.
                        unsafe { (*y.get())[i] = yielder };
                    });
                    // SAFETY: the coroutine is finished or dropped before `exec` is.
                    cpu_body(unsafe { &*exec_ptr }, &guest, i as Cpu);
                })
            })
            .collect();
        // Up to the first step of each CPU nothing is visible to the others.
        for coroutine in &mut coroutines {
            coroutine.resume(());
        }
        while exec.cpus_in_view.get() > 0 {
            match choose(exec, explorer) {
                Choice::Run(cpu) => {
                    coroutines[cpu as usize].resume(());
                }
                Choice::End => break,
            }
        }
        exec.tell_last(explorer);
        for mut coroutine in coroutines {
            // An execution that ended early: every CPU unwinds from the step it announced.
            while !coroutine.done() {
                if let CoroutineResult::Return(()) = coroutine.resume(()) {
                    break;
                }
            }
            stacks.push(coroutine.into_stack());
        }
    }
}

// ---------------------------------------------------------------------------------------------
// Operating system threads: for debuggers and sanitizers, and to check the other backends
// ---------------------------------------------------------------------------------------------

/// Each CPU is an operating system thread. A baton goes from the thread of the explorer to the
/// CPU that it picked and back, so exactly one of them runs at any time.
#[cfg(feature = "backend-std")]
mod backend {
    use super::*;
    use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

    /// Who holds the baton.
    #[derive(Clone, Copy, PartialEq, Eq)]
    enum Turn {
        /// The thread that runs the explorer, the setup and `finally`.
        Explorer,
        /// The thread of a CPU.
        Cpu(Cpu),
        /// Nobody: there is no further execution, the threads end.
        Over,
    }

    /// What a CPU's thread works for until its body has ended.
    #[derive(Clone, Copy)]
    struct Job {
        exec: *const Exec,
        guest: *const Rc<dyn Guest>,
    }

    struct Shared {
        turn: Turn,
        job: Option<Job>,
        /// A panic of the model on a CPU's thread, on its way to the explorer's.
        panic: Option<Box<dyn Any + Send>>,
    }

    // SAFETY: the pointers of a job are used by the holder of the baton only. The baton changes
    // hands under a mutex, so what they point to (cells and reference counts without atomics) is
    // never touched by two threads at a time, and each sees what the one before it wrote.
    unsafe impl Send for Shared {}

    /// The baton, with one place to wait for each who can hold it, so that a hand-over wakes one
    /// thread.
    struct Baton {
        shared: Mutex<Shared>,
        explorer: Condvar,
        cpus: [Condvar; CPUS_MAX],
    }

    impl Baton {
        fn new() -> Baton {
            let shared = Shared { turn: Turn::Explorer, job: None, panic: None };
            Baton {
                shared: Mutex::new(shared),
                explorer: Condvar::new(),
                cpus: std::array::from_fn(|_| Condvar::new()),
            }
        }

        fn lock(&self) -> MutexGuard<'_, Shared> {
            // Nothing panics while it holds the mutex.
            self.shared.lock().unwrap_or_else(PoisonError::into_inner)
        }

        fn place(&self, turn: Turn) -> &Condvar {
            match turn {
                Turn::Cpu(cpu) => &self.cpus[cpu as usize],
                Turn::Explorer | Turn::Over => &self.explorer,
            }
        }

        /// Waits until `me` holds the baton. `None` if there will be no further turn.
        fn wait(&self, mut shared: MutexGuard<'_, Shared>, me: Turn) -> Option<Job> {
            while shared.turn != me && shared.turn != Turn::Over {
                shared = self.place(me).wait(shared).unwrap_or_else(PoisonError::into_inner);
            }
            if shared.turn == me {
                shared.job
            } else {
                None
            }
        }

        /// Hands the baton from `me` to `to` and waits until it comes back.
        fn hand_over(&self, me: Turn, to: Turn) {
            let mut shared = self.lock();
            shared.turn = to;
            self.place(to).notify_one();
            self.wait(shared, me);
        }

        /// Hands the baton back at the end of a CPU's body, with the panic that ended it, if any.
        fn give_back(&self, panic: Option<Box<dyn Any + Send>>) {
            let mut shared = self.lock();
            shared.turn = Turn::Explorer;
            shared.panic = panic;
            self.explorer.notify_one();
        }
    }

    /// What an execution needs to hand over control.
    pub(super) struct State(StdCell<*const Baton>);

    impl State {
        pub(super) fn new() -> State {
            State(StdCell::new(std::ptr::null()))
        }

        fn baton(&self) -> &Baton {
            // SAFETY: `drive` sets it before the first CPU starts, and its baton outlives every
            // execution.
            unsafe { &*self.0.get() }
        }
    }

    /// Gives control back to the explorer's thread until it lets `me` go on.
    pub(super) fn switch(exec: &Exec, me: Cpu) {
        exec.backend.baton().hand_over(Turn::Cpu(me), Turn::Explorer);
    }

    /// Runs executions until the explorer wants no more.
    ///
    /// # Errors
    ///
    /// More CPUs than [`CPUS_MAX`].
    pub fn drive(
        maker: &GuestMaker<'_>,
        explorer: &mut dyn Explore,
        limits: &Limits,
    ) -> Result<(), ModelError> {
        check_cpus(maker, CPUS_MAX)?;
        let baton = Baton::new();
        std::thread::scope(|scope| {
            // Also if the explorer panics: the scope waits for the threads.
            let _over = Over(&baton);
            for cpu in 0..maker.cpus {
                let baton = &baton;
                scope.spawn(move || cpu_thread(baton, cpu as Cpu));
            }
            while explorer.next_execution() {
                let exec = Exec::new(limits, maker);
                exec.backend.0.set(&baton);
                let _entered = Entered::new(&exec);
                let outcome = execute(&exec, maker, |exec, guest| {
                    run_cpus(exec, guest, maker.cpus, &baton, explorer);
                });
                explorer.finished(exec.ending.get().unwrap_or(Ending::Complete));
                explorer.outcome(outcome);
            }
        });
        Ok(())
    }

    /// Ends the threads of the CPUs when it is dropped.
    struct Over<'a>(&'a Baton);

    impl Drop for Over<'_> {
        fn drop(&mut self) {
            self.0.lock().turn = Turn::Over;
            for place in &self.0.cpus {
                place.notify_one();
            }
        }
    }

    /// The thread of one CPU: the CPU's body in every execution.
    fn cpu_thread(baton: &Baton, cpu: Cpu) {
        while let Some(job) = baton.wait(baton.lock(), Turn::Cpu(cpu)) {
            // SAFETY: `Shared` is the reason why this thread may use them, and `run_cpus`, whose
            // arguments they are, returns only after the body of each CPU has ended.
            let (exec, guest) = unsafe { (&*job.exec, &*job.guest) };
            let entered = Entered::new(exec);
            let body = catch_unwind(AssertUnwindSafe(|| cpu_body(exec, guest, cpu)));
            if body.is_err() {
                // A panic of the model itself. The other CPUs unwind, then it goes on.
                exec.end(Ending::Stopped);
                exec.finish_cpu(cpu);
            }
            drop(entered);
            baton.give_back(body.err());
        }
    }

    fn run_cpus(
        exec: &Exec,
        guest: &Rc<dyn Guest>,
        cpus: usize,
        baton: &Baton,
        explorer: &mut dyn Explore,
    ) {
        baton.lock().job = Some(Job { exec, guest });
        let unwinder = Unwinder { exec, cpus, baton };
        // Up to the first step of each CPU nothing is visible to the others.
        for cpu in 0..cpus {
            baton.hand_over(Turn::Explorer, Turn::Cpu(cpu as Cpu));
        }
        while exec.cpus_in_view.get() > 0 {
            match choose(exec, explorer) {
                Choice::Run(cpu) => baton.hand_over(Turn::Explorer, Turn::Cpu(cpu)),
                Choice::End => break,
            }
        }
        exec.tell_last(explorer);
        drop(unwinder);
        let panic = baton.lock().panic.take();
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }

    /// Lets every CPU end its body when it is dropped. After an execution that ended early, each
    /// unwinds from the step that it announced; so it does when the explorer panics, since `Exec`
    /// must not go away under the threads.
    struct Unwinder<'a> {
        exec: &'a Exec,
        cpus: usize,
        baton: &'a Baton,
    }

    impl Drop for Unwinder<'_> {
        fn drop(&mut self) {
            for cpu in 0..self.cpus as Cpu {
                while !self.exec.slot(cpu).finished.get() {
                    self.exec.end(Ending::Stopped);
                    self.baton.hand_over(Turn::Explorer, Turn::Cpu(cpu));
                }
            }
        }
    }
}

// ---------------------------------------------------------------------------------------------
// Shuttle: its random schedulers, and the explorers as schedulers of it
// ---------------------------------------------------------------------------------------------

#[cfg(feature = "backend-shuttle")]
pub use backend::sample;

/// Each CPU is a task of shuttle. Shuttle asks its scheduler at each announced step which task
/// goes on; the scheduler here (`Adapter`) lets tasks run until all CPUs have announced
/// and then asks the explorer, or one of shuttle's own schedulers.
#[cfg(feature = "backend-shuttle")]
mod backend {
    use super::*;
    use shuttle::scheduler::{
        DfsScheduler, PctScheduler, RandomScheduler, Schedule, Scheduler, Task, TaskId,
        UrwRandomScheduler,
    };
    use shuttle::{Config, FailurePersistence, MaxSteps, Runner};
    use std::time::Duration;
    use uapi::pick::Sampler;

    /// Stack of one CPU, and of the setup, in bytes.
    const STACK_BYTES: usize = 256 * 1024;

    /// Gives control to the scheduler until it lets `me` go on.
    pub(super) fn switch(_exec: &Exec, _me: Cpu) {
        // Shuttle knows no time: this is its bare scheduling point, without the hint to prefer
        // others that a yield carries and without the bookkeeping of an atomic.
        shuttle::thread::sleep(Duration::ZERO);
    }

    /// Runs executions until the explorer wants no more.
    ///
    /// # Errors
    ///
    /// More CPUs than [`CPUS_MAX`].
    pub fn drive(
        maker: &GuestMaker<'_>,
        explorer: &mut dyn Explore,
        limits: &Limits,
    ) -> Result<(), ModelError> {
        run(maker, Source::Explorer(explorer), limits).map(|_| ())
    }

    /// Runs at most `iterations` executions under one of shuttle's own schedulers, which chooses
    /// among the CPUs that can make their step and the timers that can fire. Ends early if
    /// `on_outcome` returns false, or if a depth-first search has seen everything.
    ///
    /// # Errors
    ///
    /// More CPUs than [`CPUS_MAX`].
    pub fn sample(
        maker: &GuestMaker<'_>,
        sampler: Sampler,
        seed: u64,
        iterations: u64,
        limits: &Limits,
        on_outcome: &mut dyn FnMut(Outcome) -> bool,
    ) -> Result<(), ModelError> {
        let max = usize::try_from(iterations).unwrap_or(usize::MAX);
        let scheduler: Box<dyn Scheduler> = match sampler {
            Sampler::Random => Box::new(RandomScheduler::new_from_seed(seed, max)),
            Sampler::Urw => Box::new(UrwRandomScheduler::new_from_seed(seed, max)),
            // PCT counts the parts of an execution, one more than its priority changes.
            Sampler::Pct(changes) => {
                Box::new(PctScheduler::new_from_seed(seed, changes as usize + 1, max))
            }
            Sampler::Dfs => Box::new(DfsScheduler::new(Some(max), false)),
        };
        let samples = Samples {
            scheduler,
            on_outcome,
            left: iterations,
            pct: matches!(sampler, Sampler::Pct(_)),
            started: false,
            had_choice: false,
        };
        let source = run(maker, Source::Samples(samples), limits)?;
        if let (Source::Samples(mut samples), Sampler::Random) = (source, sampler) {
            // A random scheduler that is dropped before its end prints its seed as a failing one.
            while samples.scheduler.new_execution().is_some() {}
        }
        Ok(())
    }

    /// Executions under a scheduler of shuttle.
    struct Samples<'a> {
        scheduler: Box<dyn Scheduler>,
        on_outcome: &'a mut dyn FnMut(Outcome) -> bool,
        left: u64,
        pct: bool,
        started: bool,
        /// Whether two CPUs could run at some step.
        had_choice: bool,
    }

    impl Samples<'_> {
        fn next_execution(&mut self) -> bool {
            if self.left == 0 {
                return false;
            }
            self.left -= 1;
            // PCT draws its priority changes among the choices of the execution before, and panics
            // if there was none. Such a program has one interleaving, whatever the scheduler.
            let keep = self.pct && self.started && !self.had_choice;
            self.started = true;
            keep || self.scheduler.new_execution().is_some()
        }
    }

    /// Who chooses.
    enum Source<'a> {
        Explorer(&'a mut dyn Explore),
        Samples(Samples<'a>),
    }

    /// All executions of one call of [`drive`] or [`sample`].
    struct Drive<'a> {
        maker: &'a GuestMaker<'a>,
        limits: Limits,
        source: RefCell<Source<'a>>,
        /// The execution whose CPUs run now, null during its setup and `finally`.
        exec: StdCell<*const Exec>,
    }

    /// The drive as shuttle wants it: something that lives for ever and may be sent.
    #[derive(Clone, Copy)]
    struct DrivePtr(*const ());

    // SAFETY: a `Runner` runs everything on the thread that calls it and has let go of the
    // function and the scheduler when it returns, and `run` keeps the drive until then.
    unsafe impl Send for DrivePtr {}
    unsafe impl Sync for DrivePtr {}

    impl DrivePtr {
        fn get(&self) -> &Drive<'_> {
            // SAFETY: as above; the lifetime is that of the borrow, so it does not get out.
            unsafe { &*self.0.cast() }
        }
    }

    /// A value that stays on its thread although shuttle asks for more.
    struct OnThisThread<T>(T);

    // SAFETY: tasks of shuttle are coroutines of the thread that runs the `Runner`.
    unsafe impl<T> Send for OnThisThread<T> {}

    impl<T> OnThisThread<T> {
        /// A method, so that a closure captures the whole and not its field.
        fn take(self) -> T {
            self.0
        }
    }

    /// With its first execution shuttle wraps the panic hook of the process, for ever: every panic
    /// anywhere would print that a schedule is serialized. Lets it do so, and takes it back.
    fn keep_panic_hook() {
        static ONCE: std::sync::Once = std::sync::Once::new();
        ONCE.call_once(|| {
            let hook = std::panic::take_hook();
            Runner::new(DfsScheduler::new(Some(1), false), Config::new()).run(|| ());
            std::panic::set_hook(hook);
        });
    }

    fn run<'a>(
        maker: &'a GuestMaker<'a>,
        source: Source<'a>,
        limits: &Limits,
    ) -> Result<Source<'a>, ModelError> {
        check_cpus(maker, CPUS_MAX)?;
        keep_panic_hook();
        let drive = Drive {
            maker,
            limits: *limits,
            source: RefCell::new(source),
            exec: StdCell::new(std::ptr::null()),
        };
        let mut config = Config::new();
        config.stack_size = STACK_BYTES;
        config.failure_persistence = FailurePersistence::None;
        // `Limits::steps_max` bounds the steps.
        config.max_steps = MaxSteps::None;
        config.silence_warnings = true;
        let ptr = DrivePtr((&raw const drive).cast());
        Runner::new(Adapter(ptr), config).run(move || one_execution(ptr.get()));
        Ok(drive.source.into_inner())
    }

    /// Task 0 of an execution.
    fn one_execution(drive: &Drive<'_>) {
        let exec = Exec::new(&drive.limits, drive.maker);
        let _entered = Entered::new(&exec);
        let outcome = execute(&exec, drive.maker, |exec, guest| {
            drive.exec.set(exec);
            let cpus: Vec<_> = (0..drive.maker.cpus as Cpu)
                .map(|cpu| {
                    let body = OnThisThread((exec as *const Exec, guest.clone()));
                    shuttle::thread::spawn(move || {
                        let (exec, guest) = body.take();
                        // SAFETY: the execution outlives its tasks, which are joined below.
                        cpu_body(unsafe { &*exec }, &guest, cpu);
                    })
                })
                .collect();
            for cpu in cpus {
                // A panic of a task never gets here: shuttle lets it go on to our caller.
                drop(cpu.join());
            }
            drive.exec.set(std::ptr::null());
            if let Source::Explorer(explorer) = &mut *drive.source.borrow_mut() {
                exec.tell_last(*explorer);
            }
        });
        match &mut *drive.source.borrow_mut() {
            Source::Explorer(explorer) => {
                explorer.finished(exec.ending.get().unwrap_or(Ending::Complete));
                explorer.outcome(outcome);
            }
            Source::Samples(samples) => {
                if !outcome.is_none_or(|outcome| (samples.on_outcome)(outcome)) {
                    samples.left = 0;
                }
            }
        }
    }

    /// The task of a CPU: task 0 is the setup, and starts them in order.
    fn task_of(cpu: Cpu) -> TaskId {
        TaskId::from(usize::from(cpu) + 1)
    }

    /// What shuttle asks.
    struct Adapter(DrivePtr);

    impl Scheduler for Adapter {
        fn new_execution(&mut self) -> Option<Schedule> {
            let more = match &mut *self.0.get().source.borrow_mut() {
                Source::Explorer(explorer) => explorer.next_execution(),
                Source::Samples(samples) => samples.next_execution(),
            };
            more.then(|| Schedule::new(0))
        }

        fn next_task(
            &mut self,
            runnable: &[&Task],
            _current: Option<TaskId>,
            _is_yielding: bool,
        ) -> Option<TaskId> {
            let drive = self.0.get();
            let source = &mut *drive.source.borrow_mut();
            // SAFETY: set for as long as the tasks of the CPUs live, all below `execute`.
            let exec = unsafe { drive.exec.get().as_ref() };
            // A task that has not announced runs at once: nobody sees what it does. Task 0 comes
            // first, so that all CPUs are there before one of them starts.
            let free = |task: &&&Task| match (exec, usize::from(task.id()).checked_sub(1)) {
                (Some(exec), Some(cpu)) => exec.stopped() || !exec.slots[cpu].announced.get(),
                _ => true,
            };
            if let Some(task) = runnable.iter().find(free) {
                // Some schedulers want to have seen each task once, in order of creation.
                if let Source::Samples(samples) = source {
                    samples.scheduler.next_task(&[*task], None, false);
                }
                return Some(task.id());
            }
            let exec = exec?;
            let choice = match source {
                Source::Explorer(explorer) => choose(exec, *explorer),
                Source::Samples(samples) => choose(exec, &mut Sampled { samples, runnable }),
            };
            match choice {
                Choice::Run(cpu) => Some(task_of(cpu)),
                // Any task: each unwinds when it is let go on.
                Choice::End => runnable.first().map(|task| task.id()),
            }
        }

        fn next_u64(&mut self) -> u64 {
            // Nothing in the model asks for random data.
            0
        }
    }

    /// A scheduler of shuttle as an explorer of one step.
    struct Sampled<'a, 'b> {
        samples: &'a mut Samples<'b>,
        runnable: &'a [&'a Task],
    }

    impl Pick for Sampled<'_, '_> {
        fn pick(&mut self, pending: &[Pending], current: Option<Cpu>) -> Option<Cpu> {
            let mut cpus: Vec<Cpu> = Vec::with_capacity(pending.len());
            let mut tasks: Vec<&Task> = Vec::with_capacity(pending.len());
            for p in pending.iter().filter(|p| p.enabled) {
                // A timer stands for its sleeper, which cannot run itself.
                let id = task_of(sleeper_of(p.cpu).unwrap_or(p.cpu));
                if let Some(task) = self.runnable.iter().find(|t| t.id() == id) {
                    cpus.push(p.cpu);
                    tasks.push(task);
                }
            }
            self.samples.had_choice |= tasks.len() > 1;
            let current = current.map_or(TaskId::from(0), |c| task_of(sleeper_of(c).unwrap_or(c)));
            let next = self.samples.scheduler.next_task(&tasks, Some(current), false)?;
            let i = tasks.iter().position(|t| t.id() == next)?;
            Some(cpus[i])
        }
    }
}

// ---------------------------------------------------------------------------------------------
// Loom: an exploration of its own
// ---------------------------------------------------------------------------------------------

#[cfg(feature = "backend-loom")]
pub use backend::explore_loom;

/// Each CPU is a thread of loom, and loom chooses. It learns of a step by operations on loom
/// objects that stand for what the step touches: two steps conflict if and only if they share
/// such a `Point`.
#[cfg(feature = "backend-loom")]
mod backend {
    use super::*;
    use std::collections::BTreeMap;
    use uapi::pick::LoomBounds;

    /// A loom object whose only use is that operations on it conflict: a condition variable that
    /// nobody waits on. Loom keeps only the *last* access to an object, so it loses the first of
    /// two reads when a write follows; therefore two accesses that do not conflict never meet in
    /// one point, instead of both reading it. (An atomic would also branch over the values that
    /// it can read, which nobody looks at.)
    type Point = loom::sync::Condvar;

    /// Which pairs of accesses meet in a point. Points belong to an object.
    #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
    enum Meet {
        /// A read of anything by this CPU, and a write of the whole object.
        Whole(Cpu),
        /// A read of this key by this CPU, and a write of the key.
        Key(u64, Cpu),
        /// A read of the whole object by the first CPU, and a write of any key by the second.
        Mixed(Cpu, Cpu),
    }

    /// Stack of one CPU, which of CPU 0 also carries setup and `finally`, in words.
    const STACK_WORDS: usize = 32 * 1024;

    /// What an execution needs to hand over control.
    pub(super) struct State {
        cpus: StdCell<Cpu>,
        /// The CPUs whose step cannot be made yet: parked, or about to be.
        waiting: [StdCell<bool>; CPUS_MAX],
        /// How often each CPU has looked at a word in vain since the last write to any.
        looks: [StdCell<u32>; CPUS_MAX],
        threads: RefCell<Vec<loom::thread::Thread>>,
        points: RefCell<BTreeMap<(u32, Meet), Rc<Point>>>,
    }

    impl State {
        pub(super) fn new() -> State {
            State {
                cpus: StdCell::new(0),
                waiting: std::array::from_fn(|_| StdCell::new(false)),
                looks: std::array::from_fn(|_| StdCell::new(0)),
                threads: RefCell::new(Vec::new()),
                points: RefCell::new(BTreeMap::new()),
            }
        }

        /// A word was written: everybody may find something new.
        pub(super) fn wrote(&self) {
            self.looks.iter().for_each(|looks| looks.set(0));
        }

        /// This CPU has looked in vain.
        pub(super) fn looked(&self, cpu: Cpu) {
            let looks = &self.looks[usize::from(cpu)];
            looks.set(looks.get() + 1);
        }

        /// Whether this CPU has looked so often since the last write.
        pub(super) fn has_looked(&self, cpu: Cpu, times: u32) -> bool {
            self.looks[usize::from(cpu)].get() >= times
        }

        fn point(&self, obj: u32, meet: Meet) -> Rc<Point> {
            let mut points = self.points.borrow_mut();
            points.entry((obj, meet)).or_insert_with(|| Rc::new(Point::new())).clone()
        }

        /// The points of one access by `me`.
        fn meets(&self, me: Cpu, access: &Access, out: &mut Vec<(u32, Meet)>) {
            let whole = access.len != 1;
            let others = || (0..self.cpus.get()).filter(move |c| *c != me);
            let mut push = |meet| out.push((access.obj, meet));
            match (access.mode == Mode::Read, whole) {
                (true, true) => {
                    push(Meet::Whole(me));
                    others().for_each(|c| push(Meet::Mixed(me, c)));
                }
                (true, false) => {
                    push(Meet::Key(access.key, me));
                    push(Meet::Whole(me));
                }
                (false, true) => {
                    (0..self.cpus.get()).for_each(|c| push(Meet::Whole(c)));
                    // A read of the whole object meets this in `Whole`, a write of a key, too.
                }
                (false, false) => {
                    (0..self.cpus.get()).for_each(|c| push(Meet::Key(access.key, c)));
                    push(Meet::Whole(me));
                    others().for_each(|c| push(Meet::Mixed(c, me)));
                }
            }
        }
    }

    /// Shows loom the accesses as one operation. With `can_switch` other CPUs may run before it.
    fn touch(exec: &Exec, me: Cpu, accesses: &[Access], can_switch: bool) {
        let mut meets = Vec::new();
        for access in accesses {
            exec.backend.meets(me, access, &mut meets);
        }
        meets.sort_unstable();
        meets.dedup();
        let mut meets = meets.into_iter();
        if can_switch {
            // Loom switches at the first point only: the step is one operation. At the others it
            // must look for conflicts, but a switch there would multiply the executions.
            if let Some((obj, meet)) = meets.next() {
                exec.backend.point(obj, meet).notify_one();
            }
        }
        if meets.len() > 0 {
            loom::stop_exploring();
            for (obj, meet) in meets {
                exec.backend.point(obj, meet).notify_one();
            }
            loom::explore();
        }
    }

    /// Lets loom choose who runs, until the step of `me` can be made.
    pub(super) fn switch(exec: &Exec, me: Cpu) {
        let i = exec.view().iter().position(|p| p.cpu == me);
        let accesses = i.map_or_else(Accesses::new, |i| exec.view()[i].accesses.clone());
        while !exec.stopped() {
            touch(exec, me, &accesses, true);
            if exec.stopped() {
                return;
            }
            if exec.steps.get() >= exec.limits.steps_max {
                exec.end(Ending::StepLimit);
                wake_all(exec);
                return;
            }
            if exec.slot(me).is_ready() {
                return;
            }
            let waiting = &exec.backend.waiting[me as usize];
            waiting.set(true);
            settle(exec);
            while waiting.get() {
                loom::thread::park();
            }
        }
    }

    fn wake(exec: &Exec, cpu: Cpu) {
        exec.backend.waiting[cpu as usize].set(false);
        // Loom remembers an unpark of a thread that has not parked yet; `switch` looks at
        // `waiting`, so a remembered one does no harm.
        exec.backend.threads.borrow()[cpu as usize].unpark();
    }

    fn waiting(exec: &Exec) -> impl Iterator<Item = Cpu> + '_ {
        (0..exec.backend.cpus.get()).filter(|c| exec.backend.waiting[*c as usize].get())
    }

    fn wake_all(exec: &Exec) {
        waiting(exec).for_each(|cpu| wake(exec, cpu));
    }

    /// Wakes the CPUs whose step can be made now. Called after everything that changes the state.
    pub(super) fn wake_ready(exec: &Exec) {
        if exec.concurrent() {
            waiting(exec).filter(|c| exec.slot(*c).is_ready()).for_each(|cpu| wake(exec, cpu));
        }
    }

    /// A lock was given back. Loom need not see it: which CPU takes the lock first is decided by
    /// the steps that take it, and these conflict.
    pub(super) fn unlocked(exec: &Exec, _obj: u32, _key: u64) {
        // SAFETY: as in `Exec::view`. Nobody is told.
        unsafe { (*exec.unlocked.get()).clear() };
        wake_ready(exec);
    }

    /// If no CPU can run any more, lets time pass or ends the execution, as `choose` does for the
    /// other backends. Called before a CPU parks and when it has finished.
    fn settle(exec: &Exec) {
        wake_ready(exec);
        if exec.stopped() {
            return wake_all(exec);
        }
        let state = &exec.backend;
        let cpus = 0..state.cpus.get();
        let blocked = |c: &Cpu| state.waiting[*c as usize].get();
        let unfinished = |c: &Cpu| !exec.slot(*c).finished.get();
        if cpus.clone().filter(unfinished).any(|c| !blocked(&c))
            || !cpus.clone().any(|c| blocked(&c))
        {
            return;
        }
        match earliest_timer(exec) {
            Some(sleeper) => {
                fire(exec, sleeper);
                wake_ready(exec);
            }
            None => {
                hung(exec);
                wake_all(exec);
            }
        }
    }

    /// All executions of one call of [`explore_loom`].
    struct Drive<'a> {
        maker: &'a GuestMaker<'a>,
        limits: Limits,
        permutations_max: u64,
        executions: StdCell<u64>,
        leave: StdCell<bool>,
        on_outcome: RefCell<&'a mut dyn FnMut(Outcome) -> bool>,
    }

    /// The drive as loom wants it: something that lives for ever and may be sent.
    #[derive(Clone, Copy)]
    struct DrivePtr(*const ());

    // SAFETY: loom runs everything on the thread that calls it and has let go of the function
    // when it returns or unwinds, and `explore_loom` keeps the drive until then.
    unsafe impl Send for DrivePtr {}
    unsafe impl Sync for DrivePtr {}

    impl DrivePtr {
        fn get(&self) -> &Drive<'_> {
            // SAFETY: as above; the lifetime is that of the borrow, so it does not get out.
            unsafe { &*self.0.cast() }
        }
    }

    /// A value that stays on its thread although loom asks for more.
    struct OnThisThread<T>(T);

    // SAFETY: threads of loom are coroutines of the thread that runs the model.
    unsafe impl<T> Send for OnThisThread<T> {}

    impl<T> OnThisThread<T> {
        /// A method, so that a closure captures the whole and not its field.
        fn take(self) -> T {
            self.0
        }
    }

    /// What unwinds out of loom when the budget is used up. Never leaves this file.
    struct Leave;

    /// Explores with loom's own partial-order reduction. `Ok(true)`: loom ran out of executions
    /// before the budget did. Timers fire only when no CPU can run, whatever the program says.
    ///
    /// Loom panics (with the message that the model exceeded its maximum number of branches) when
    /// one execution has more than `LoomBounds::branches_max`.
    ///
    /// # Errors
    ///
    /// More CPUs than loom has threads beside its main thread.
    pub fn explore_loom(
        maker: &GuestMaker<'_>,
        bounds: &LoomBounds,
        limits: &Limits,
        on_outcome: &mut dyn FnMut(Outcome) -> bool,
    ) -> Result<bool, ModelError> {
        check_cpus(maker, loom::MAX_THREADS - 1)?;
        let drive = Drive {
            maker,
            limits: *limits,
            permutations_max: bounds.permutations_max,
            executions: StdCell::new(0),
            leave: StdCell::new(false),
            on_outcome: RefCell::new(on_outcome),
        };
        let mut builder = loom::model::Builder::new();
        builder.max_threads = maker.cpus.max(1) + 1;
        builder.max_branches = bounds.branches_max as usize;
        // Loom keeps the number of preemptions in a byte.
        builder.preemption_bound = bounds.preemptions_max.map(|p| p.min(255) as usize);
        // The budget is watched here. Loom looks at its own only every `checkpoint_interval`
        // executions, and says neither whether it was that budget that ended it.
        builder.max_permutations = None;
        builder.max_duration = None;
        builder.checkpoint_file = None;
        builder.checkpoint_interval = usize::MAX;
        builder.location = false;
        builder.log = false;
        let ptr = DrivePtr((&raw const drive).cast());
        let explored = catch_unwind(AssertUnwindSafe(|| builder.check(move || one_iteration(ptr))));
        match explored {
            Ok(()) => Ok(true),
            Err(payload) if payload.is::<Leave>() => Ok(false),
            Err(payload) => resume_unwind(payload),
        }
    }

    /// Loom's main thread, in each of its executions.
    fn one_iteration(ptr: DrivePtr) {
        let drive = ptr.get();
        if drive.leave.get() || drive.executions.get() >= drive.permutations_max {
            // Loom has something left to explore. It has no other way out, and at this moment no
            // thread of it has anything on its stack.
            resume_unwind(Box::new(Leave));
        }
        drive.executions.set(drive.executions.get() + 1);
        // The stack of loom's main thread is small and has a fixed size, so everything happens on
        // the thread of CPU 0.
        let main = loom::thread::current();
        let finished = Rc::new(StdCell::new(false));
        let work = OnThisThread((ptr, main, finished.clone()));
        spawn(move || {
            let (ptr, main, finished) = work.take();
            one_execution(ptr.get());
            finished.set(true);
            main.unpark();
        });
        while !finished.get() {
            loom::thread::park();
        }
    }

    fn spawn(f: impl FnOnce() + 'static) -> loom::thread::Thread {
        let f = OnThisThread(f);
        let builder = loom::thread::Builder::new().stack_size(STACK_WORDS);
        let handle = builder.spawn(move || f.take()()).expect("loom's spawn has no error");
        // Not joined: a join is an operation that loom would explore. Threads park instead.
        handle.thread().clone()
    }

    fn one_execution(drive: &Drive<'_>) {
        let exec = Exec::new(&drive.limits, drive.maker);
        let _entered = Entered::new(&exec);
        let outcome = execute(&exec, drive.maker, |exec, guest| {
            run_cpus(exec, guest, drive.maker.cpus as Cpu);
        });
        if let Some(outcome) = outcome {
            if !(drive.on_outcome.borrow_mut())(outcome) {
                drive.leave.set(true);
            }
        }
    }

    fn run_cpus(exec: &Exec, guest: &Rc<dyn Guest>, cpus: Cpu) {
        let state = &exec.backend;
        state.cpus.set(cpus);
        let this = loom::thread::current();
        state.threads.borrow_mut().push(this.clone());
        for cpu in 1..cpus {
            let (exec, guest, this) = (exec as *const Exec, guest.clone(), this.clone());
            let thread = spawn(move || {
                // SAFETY: CPU 0 keeps the execution until all CPUs have finished, and this thread
                // does not give way between finishing and its last use.
                let exec = unsafe { &*exec };
                cpu_body(exec, &guest, cpu);
                settle(exec);
                // Unparking orders what this CPU did before what the other does: only when CPU 0
                // has nothing left to do but to wait.
                if exec.slots[0].finished.get() {
                    this.unpark();
                }
            });
            state.threads.borrow_mut().push(thread);
        }
        if cpus > 0 {
            cpu_body(exec, guest, 0);
            settle(exec);
        }
        while !exec.slots[..cpus as usize].iter().all(|slot| slot.finished.get()) {
            loom::thread::park();
        }
    }
}
