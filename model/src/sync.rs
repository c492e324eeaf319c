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
//! ([`step`] to [`local`]), the choice of the next CPU (`choose`), and one module per backend.

use std::any::Any;
use std::cell::{Cell as StdCell, RefCell, UnsafeCell};
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe, Location};
use std::rc::Rc;

use uapi::outcome::{Ending, Outcome};
use uapi::pick::{Explore, ModelError, Pick};
use uapi::program::{Dependence, Limits, Timers};
use uapi::splat::{Kind, Splat};
use uapi::step::{
    sleeper_of, timer_of, Access, Accesses, Counter, Cpu, Done, Mode, Pending, Site, CPUS_MAX,
};
use uapi::trace::{Graph, Trace, TraceStep, Val};

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
    /// Makes the guest of one execution. Runs inside the execution.
    pub make: &'a dyn Fn() -> Rc<dyn Guest>,
}

/// What unwinds a CPU of an execution that has ended. Never leaves this file.
struct Unwind;

/// A sleeper's timer.
#[derive(Clone, Copy)]
struct Timer {
    obj: u32,
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
}

impl Slot {
    fn new() -> Slot {
        Slot {
            announced: StdCell::new(false),
            finished: StdCell::new(true),
            ready: StdCell::new(None),
            timer: StdCell::new(None),
            fired: StdCell::new(false),
            call: StdCell::new(0),
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
    done: UnsafeCell<Option<Done>>,
    unlocked: UnsafeCell<Vec<(Cpu, u32, u64)>>,
    splats: RefCell<Vec<Splat>>,
    trace: RefCell<Vec<TraceStep>>,
    graphs: RefCell<Vec<Graph>>,
    stale_compare: StdCell<bool>,
    guest: RefCell<Option<Rc<dyn Guest>>>,
    locals: UnsafeCell<Vec<Box<dyn Any>>>,
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
    fn new(limits: &Limits, timers: Timers) -> Exec {
        Exec {
            limits: *limits,
            timers,
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
            done: UnsafeCell::new(None),
            unlocked: UnsafeCell::new(Vec::new()),
            splats: RefCell::new(Vec::new()),
            trace: RefCell::new(Vec::new()),
            graphs: RefCell::new(Vec::new()),
            stale_compare: StdCell::new(false),
            guest: RefCell::new(None),
            locals: UnsafeCell::new(Vec::new()),
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
        let mut splats = self.splats.borrow_mut();
        if let Some(step) = self.trace.borrow_mut().last_mut() {
            step.splat.get_or_insert(splats.len() as u32);
        }
        splats.push(splat);
    }

    fn push_trace(&self, cpu: Cpu, op: &'static str, site: Site, scheduling_point: bool) {
        if !self.limits.trace {
            return;
        }
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

    fn push_graph(&self) {
        if !(self.limits.trace && self.limits.graph) {
            return;
        }
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

    fn tell(&self, pick: &mut dyn Pick) {
        // SAFETY: as in `view`.
        let (done, unlocked) = unsafe { (&mut *self.done.get(), &mut *self.unlocked.get()) };
        if let Some(done) = done.take() {
            pick.done(&done);
        }
        for (cpu, obj, key) in unlocked.drain(..) {
            pick.unlocked(cpu, obj, key);
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
    Site { file: location.file(), line: location.line() }
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

/// A freed pointer was compared: whether addresses are re-used can matter to this program.
pub fn saw_stale_compare() {
    exec().stale_compare.set(true);
}

/// Prints a splat; the kernel goes on.
pub fn splat(kind: Kind, at: Site, detail: String) {
    exec().log_here(Splat {
        kind,
        function: crate::sites::locate(at).1.to_string(),
        detail,
    });
}

/// Prints a splat of the testbed's checks at quiescence, which no function is to blame for.
pub fn splat_at_exit(kind: Kind, detail: String) {
    exec().log_here(Splat { kind, function: String::new(), detail });
}

/// Prints a splat that ends the kernel, and ends the execution.
pub fn stop(kind: Kind, at: Site, detail: String) -> ! {
    splat(kind, at, detail);
    exec().end(Ending::Stopped);
    // Not a panic: no message, no hook. Every backend catches it at the root of the CPU.
    resume_unwind(Box::new(Unwind))
}

/// Data of one floor for this execution, made on first use.
pub fn local<T: Any + Default>() -> &'static T {
    let exec = exec();
    // SAFETY: boxes are only ever added, so their contents do not move and live as long as the
    // execution; the reference does not outlive it because its users run inside it. The vector
    // itself is touched by one CPU at a time.
    let locals = unsafe { &mut *exec.locals.get() };
    let i = match locals.iter().position(|l| l.is::<T>()) {
        Some(i) => i,
        None => {
            locals.push(Box::<T>::default());
            locals.len() - 1
        }
    };
    let found: *const T = locals[i].downcast_ref::<T>().expect("found by its type");
    unsafe { &*found }
}

/// What a step says about itself while it happens.
pub struct Effect {
    accesses: Accesses,
    counter: Option<Counter>,
    tracing: bool,
}

impl Effect {
    /// The i-th announced access turned out to only read (a compare that failed).
    pub fn only_read(&mut self, i: usize) {
        self.accesses[i].mode = Mode::Read;
    }

    /// The counter that this step changed, or would have changed.
    pub fn counter(&mut self, obj: u32, before: i32, after: i32) {
        self.counter = Some(Counter { obj, before, after });
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
    body: impl FnOnce(&mut Effect) -> R,
) -> R {
    step_when(op, at, accesses, None, body)
}

/// Makes one step as soon as `ready` holds (a lock is free).
pub fn step_when<R>(
    op: &'static str,
    at: Site,
    accesses: Accesses,
    ready: Option<&dyn Fn() -> bool>,
    body: impl FnOnce(&mut Effect) -> R,
) -> R {
    blocking_step(op, at, accesses, ready, false, body)
}

/// Sleeps until `ready` holds or the timer fires, as one step. `body` learns whether the timer
/// fired. `timer` is the object of the timer and its length in milliseconds of virtual time.
pub fn sleep_step<R>(
    op: &'static str,
    at: Site,
    mut accesses: Accesses,
    timer: Option<(u32, u64)>,
    ready: &dyn Fn() -> bool,
    body: impl FnOnce(&mut Effect, bool) -> R,
) -> R {
    let exec = exec();
    let me = exec.current.get();
    let slot = exec.slot(me);
    slot.fired.set(false);
    if let Some((obj, ms)) = timer {
        accesses.push(Access::all(obj, Mode::Write));
        slot.timer.set(Some(Timer { obj, deadline: exec.now_ms.get() + ms, site: at }));
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
    accesses: Accesses,
    ready: Option<&dyn Fn() -> bool>,
    awaits: bool,
    body: impl FnOnce(&mut Effect) -> R,
) -> R {
    let exec = exec();
    let me = exec.current.get();
    if exec.concurrent() {
        announce(exec, me, op, at, &accesses, ready, awaits);
    } else if let Some(ready) = ready {
        wait_alone(exec, me, op, at, ready);
    }
    exec.push_trace(me, op, at, true);
    let mut effect = Effect { accesses, counter: None, tracing: exec.limits.trace };
    let result = body(&mut effect);
    if exec.concurrent() {
        let done = Done { cpu: me, accesses: effect.accesses, counter: effect.counter };
        // SAFETY: as in `Exec::view`.
        unsafe { *exec.done.get() = Some(done) };
    }
    exec.push_graph();
    #[cfg(feature = "backend-loom")]
    backend::wake_ready(exec);
    result
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
    splat(Kind::HungTask, at, op.to_string());
    exec.end(Ending::Deadlock);
    resume_unwind(Box::new(Unwind));
}

/// Tells the explorer that a lock was given back. `key` is the one that it was taken with.
pub fn unlocked(op: &'static str, at: Site, obj: u32, key: u64, args: impl FnOnce() -> Vec<Val>) {
    let exec = exec();
    let me = exec.current.get();
    exec.push_trace(me, op, at, false);
    if exec.limits.trace {
        if let Some(step) = exec.trace.borrow_mut().last_mut() {
            step.args = args();
        }
    }
    exec.push_graph();
    if exec.concurrent() {
        // SAFETY: as in `Exec::view`.
        unsafe { (*exec.unlocked.get()).push((me, obj, key)) };
        #[cfg(feature = "backend-loom")]
        backend::unlocked(exec, obj, key);
    }
}

// ---------------------------------------------------------------------------------------------
// Announcing and choosing
// ---------------------------------------------------------------------------------------------

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
        Pending { cpu: me, enabled: true, awaits, op, site: at, accesses: accesses.clone() };
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

/// What the scheduler does next.
#[cfg_attr(feature = "backend-loom", allow(dead_code))] // loom chooses by itself
enum Choice {
    /// Let this CPU make its step.
    Run(Cpu),
    /// The execution has ended; every CPU must be let go on to unwind.
    End,
}

/// Which timers may fire now, as entries of the view. Returns whether any CPU is enabled.
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
                view.push(timer_pending(cpu, timer));
                any = true;
            }
        }
    }
    any
}

fn timer_pending(cpu: Cpu, timer: Timer) -> Pending {
    let mut accesses = Accesses::new();
    accesses.push(Access::all(timer.obj, Mode::Write));
    Pending {
        cpu: timer_of(cpu),
        enabled: true,
        awaits: false,
        op: "timer_expire",
        site: timer.site,
        accesses,
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
    let done =
        Done { cpu: timer_of(sleeper), accesses: timer_pending(sleeper, timer).accesses, counter: None };
    // SAFETY: as in `Exec::view`.
    unsafe { *exec.done.get() = Some(done) };
}

/// Nobody can run: the splat of a deadlock, naming every CPU that hangs.
fn hung(exec: &Exec) {
    let view = exec.view();
    let cpus = &view[..exec.cpus_in_view.get()];
    let detail: Vec<String> =
        cpus.iter().map(|p| format!("CPU {} in {}", p.cpu, p.op)).collect();
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
#[cfg_attr(feature = "backend-loom", allow(dead_code))] // loom chooses by itself
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
            if let Some(timer) = exec.slot(sleeper).timer.get() {
                exec.view().push(timer_pending(sleeper, timer));
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
            let exec = Exec::new(limits, maker.timers);
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
        exec.tell(explorer);
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
