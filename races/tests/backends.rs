//! One source of the model, four backends: do they run the same executions?
//!
//! The same small programs run on the coroutines, on threads and on shuttle under the same
//! choices, and everything that an explorer sees must be the same: the announced steps, what they
//! did, the outcome with its trace. Shuttle's own schedulers and loom choose by themselves; there
//! the set of outcomes is compared with brute force.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{catch_unwind, resume_unwind, AssertUnwindSafe};

use uapi::call::{signature, Call, HWPT_ALLOC_NEST_PARENT};
use uapi::litmus::{Count, Insn, Litmus, Src, XaFlags};
use uapi::outcome::{Ending, Outcome};
use uapi::pick::{Explore, LoomBounds, ModelError, Pick, Sampler, Subject};
use uapi::program::{Limits, Operand, Orders, Pdev, Program, Step, Timers};
use uapi::step::{Cpu, Done, Pending, CPUS_MAX};

// ---------------------------------------------------------------------------------------------
// Programs
// ---------------------------------------------------------------------------------------------

use Insn::{
    Await, AwaitTimeout, DownRead, DownWrite, FetchAdd, Kfree, Kzalloc, Load, MutexLock,
    MutexUnlock, ObjLoad, RefcountDecAndTest, RefcountInc, SkipUnless, Store, UpRead, UpWrite,
    XaAlloc, XaEmpty, XaErase,
};

fn add(var: u8) -> Insn {
    FetchAdd { reg: 7, var, add: 1 }
}

/// Each thread raises a variable in two steps, a load and a store.
fn lost_update(threads: usize) -> Litmus {
    let mut thread = vec![Load { reg: 0, var: 0 }];
    for value in 0..threads as i64 {
        thread.push(SkipUnless { reg: 0, value, skip: 1 });
        thread.push(Store { var: 0, src: Src::Imm(value + 1) });
    }
    Litmus { vars: vec![0], threads: vec![thread; threads], ..Litmus::default() }
}

fn ab_ba() -> Litmus {
    let lock = |a, b| vec![MutexLock(a), MutexLock(b), MutexUnlock(b), MutexUnlock(a)];
    Litmus { mutexes: 2, threads: vec![lock(0, 1), lock(1, 0)], ..Litmus::default() }
}

/// One thread frees what the other reads: KASAN stops the kernel.
fn use_after_free() -> Litmus {
    Litmus {
        vars: vec![0],
        ptrs: 1,
        setup: vec![Kzalloc { reg: 0, ptr: 0, users: 1 }],
        threads: vec![
            vec![ObjLoad { reg: 0, ptr: 0 }, add(0), ObjLoad { reg: 1, ptr: 0 }],
            vec![add(0), Kfree { ptr: 0 }, add(0)],
        ],
        ..Litmus::default()
    }
}

/// Sleepers with timers, one of which somebody wakes.
fn sleepers(timers: Timers) -> Litmus {
    Litmus {
        vars: vec![0, 0],
        threads: vec![
            vec![AwaitTimeout { reg: 0, var: 0, value: 1 }, add(1)],
            vec![AwaitTimeout { reg: 0, var: 1, value: 9 }, add(1)],
            vec![add(1), add(0), add(1)],
        ],
        timers,
        ..Litmus::default()
    }
}

/// A sleeper that nobody wakes in one order.
fn hangs() -> Litmus {
    Litmus {
        vars: vec![0],
        threads: vec![vec![Await { var: 0, value: 1 }], vec![add(0), add(0)]],
        ..Litmus::default()
    }
}

/// Locks of two kinds, a counter and an xarray: steps that touch several objects and keys.
fn kernel() -> Litmus {
    let put = |xa| {
        vec![
            DownRead(0),
            RefcountInc { count: Count::Static(0) },
            UpRead(0),
            XaAlloc { reg: 0, xa, entry: uapi::litmus::Entry::Zero, max: 9 },
            MutexLock(0),
            RefcountDecAndTest { reg: 1, count: Count::Static(0) },
            MutexUnlock(0),
        ]
    };
    Litmus {
        counts: vec![1],
        mutexes: 1,
        rwsems: 1,
        xarrays: vec![XaFlags::Alloc],
        threads: vec![
            put(0),
            put(0),
            vec![DownWrite(0), XaErase { reg: 0, xa: 0, index: 0 }, UpWrite(0)],
            vec![XaEmpty { reg: 0, xa: 0 }],
        ],
        ..Litmus::default()
    }
}

fn programs() -> Vec<(&'static str, Litmus)> {
    let nobody = Litmus { threads: vec![vec![], vec![]], ..Litmus::default() };
    let one = Litmus { vars: vec![0], threads: vec![vec![add(0), add(0)]], ..Litmus::default() };
    let many = Litmus { vars: vec![0], threads: vec![vec![add(0)]; CPUS_MAX], ..Litmus::default() };
    vec![
        ("lost update", lost_update(2)),
        ("ab-ba", ab_ba()),
        ("use after free", use_after_free()),
        ("sleepers", sleepers(Timers::Idle)),
        ("sleepers, timers at any time", sleepers(Timers::Any)),
        ("hangs", hangs()),
        ("kernel", kernel()),
        ("no steps", nobody),
        ("one CPU", one),
        ("as many CPUs as there can be", many),
    ]
}

/// One step with the defaults of its call for what is not given.
fn call(call: Call, args: &[Operand], binds: &[u16]) -> Step {
    let signature = signature(call);
    let rest = signature.args.iter().skip(args.len());
    let defaults = rest.map(|arg| Operand::Num(arg.default.expect("the argument is given")));
    Step {
        args: args.iter().cloned().chain(defaults).collect(),
        binds: binds.to_vec(),
        text: signature.name.to_string(),
        ..Step::new(call)
    }
}

/// Whole ioctls: two allocs of one virt_id, one of which is undone, against the unbind.
fn vdevices() -> Program {
    use Operand::{Num, Sym};
    let alloc = |out| call(Call::VdeviceAlloc, &[Sym(3), Sym(1), Num(0x99)], &[out]);
    Program {
        setup: vec![
            call(Call::IoasAlloc, &[], &[0]),
            call(Call::Bind, &[Num(0)], &[1]),
            call(Call::HwptAlloc, &[Sym(1), Sym(0), Num(HWPT_ALLOC_NEST_PARENT)], &[2]),
            call(Call::ViommuAlloc, &[Sym(1), Sym(2)], &[3]),
        ],
        cpus: vec![
            vec![alloc(4), call(Call::Destroy, &[Sym(4)], &[])],
            vec![alloc(5)],
            vec![call(Call::Unbind, &[Sym(1)], &[])],
        ],
        finally: vec![call(Call::Destroy, &[Sym(5)], &[])],
        syms: (0..6).map(|i| format!("name{i}")).collect(),
        pdevs: vec![Pdev { group: 0, iommu: 0, vdevice_size: 0, reserved: None }],
        timers: Timers::Idle,
        orders: Orders::Lkmm,
        given: Vec::new(),
        mutant: None,
    }
}

fn subjects() -> Vec<(&'static str, Subject)> {
    let vdevices = Subject::Program { program: vdevices(), revision: "linux_6_13".to_string() };
    let litmus = programs().into_iter().map(|(name, program)| (name, Subject::Litmus(program)));
    litmus.chain([("vdevices", vdevices)]).collect()
}

fn limits(trace: bool) -> Limits {
    Limits { trace, graph: trace, ..Limits::default() }
}

// ---------------------------------------------------------------------------------------------
// Explorers
// ---------------------------------------------------------------------------------------------

/// How the next CPU is chosen.
#[derive(Clone, Debug)]
enum How {
    First,
    RoundRobin,
    /// The n-th enabled one, by a list of numbers.
    Scripted(Vec<usize>),
    /// Ends the execution after so many steps.
    Prune(usize),
    /// The highest number: timers before CPUs.
    Last,
}

/// Chooses as it was told, and writes down everything it is told.
struct Recorder {
    how: How,
    left: u32,
    picks: usize,
    log: Vec<String>,
    outcomes: Vec<Option<Outcome>>,
    function_at: fn(uapi::step::Site) -> &'static str,
}

impl Pick for Recorder {
    fn pick(&mut self, pending: &[Pending], current: Option<Cpu>) -> Option<Cpu> {
        for p in pending {
            // Not the site itself: its path differs between the packages.
            let function = (self.function_at)(p.site);
            let line = (p.cpu, p.enabled, p.awaits, p.op, function, p.site.line);
            self.log.push(format!("{line:?} {:?}", p.accesses));
        }
        self.log.push(format!("after {current:?}"));
        let enabled: Vec<Cpu> = pending.iter().filter(|p| p.enabled).map(|p| p.cpu).collect();
        self.picks += 1;
        match &self.how {
            How::First => enabled.first().copied(),
            How::Last => enabled.last().copied(),
            How::RoundRobin => {
                let next = enabled.iter().find(|c| current.is_none_or(|last| **c > last));
                next.or(enabled.first()).copied()
            }
            How::Scripted(list) => Some(enabled[list[self.picks % list.len()] % enabled.len()]),
            How::Prune(n) if self.picks > *n => None,
            How::Prune(_) => enabled.last().copied(),
        }
    }

    fn done(&mut self, done: &Done) {
        self.log.push(format!("{done:?}"));
    }

    fn unlocked(&mut self, cpu: Cpu, obj: u32, key: u64) {
        self.log.push(format!("CPU {cpu} unlocked {obj}, {key}"));
    }

    fn stuck(&mut self, pending: &[Pending]) {
        self.log.push(format!("stuck: {}", pending.len()));
    }

    fn quiescent(&mut self) {
        self.log.push("quiescent".to_string());
    }

    fn finished(&mut self, ending: Ending) {
        self.log.push(format!("{ending:?}"));
    }
}

impl Explore for Recorder {
    fn next_execution(&mut self) -> bool {
        self.picks = 0;
        let more = self.left > 0;
        self.left -= u32::from(more);
        more
    }

    fn outcome(&mut self, outcome: Option<Outcome>) {
        self.outcomes.push(outcome);
    }
}

/// Every interleaving, depth first.
#[derive(Default)]
struct BruteForce {
    /// The choice at each step, and how many there were.
    path: Vec<(usize, usize)>,
    at: usize,
    outcomes: BTreeMap<String, u64>,
    executions: u64,
}

impl Pick for BruteForce {
    fn pick(&mut self, pending: &[Pending], _current: Option<Cpu>) -> Option<Cpu> {
        let enabled: Vec<Cpu> = pending.iter().filter(|p| p.enabled).map(|p| p.cpu).collect();
        if self.at == self.path.len() {
            self.path.push((0, enabled.len()));
        }
        self.at += 1;
        Some(enabled[self.path[self.at - 1].0])
    }
}

impl Explore for BruteForce {
    fn next_execution(&mut self) -> bool {
        self.at = 0;
        while let Some((choice, of)) = self.path.pop() {
            if choice + 1 < of {
                self.path.push((choice + 1, of));
                return true;
            }
        }
        self.executions == 0
    }

    fn outcome(&mut self, outcome: Option<Outcome>) {
        self.executions += 1;
        *self.outcomes.entry(essence(&outcome.expect("never pruned"))).or_default() += 1;
    }
}

/// What an interleaving can change.
fn essence(outcome: &Outcome) -> String {
    let splats: Vec<String> = outcome.splats.iter().map(ToString::to_string).collect();
    format!("{:?} {splats:?} {:?}", outcome.ending, outcome.state)
}

fn brute_force(program: &Litmus) -> BruteForce {
    let mut all = BruteForce::default();
    model_native::explore(&Subject::Litmus(program.clone()), &mut all, &limits(false))
        .expect("a valid program");
    all
}

// ---------------------------------------------------------------------------------------------
// The same choices, the same executions
// ---------------------------------------------------------------------------------------------

#[test]
fn the_same_choices_give_the_same_executions_on_every_backend() {
    let mut hows = vec![How::First, How::Last, How::RoundRobin, How::Prune(0), How::Prune(3)];
    hows.push(How::Scripted(vec![1, 0, 2, 1, 1, 0, 0, 1]));
    hows.push(How::Scripted(vec![5, 3, 0, 4, 1, 1, 2]));
    for (name, subject) in subjects() {
        for how in &hows {
            let recorder = |function_at| Recorder {
                how: how.clone(),
                left: 3,
                picks: 0,
                log: Vec::new(),
                outcomes: Vec::new(),
                function_at,
            };
            let mut native = recorder(model_native::sync::function);
            let mut threads = recorder(model_std::sync::function);
            let mut shuttle = recorder(model_shuttle::sync::function);
            let limits = limits(true);
            model_native::explore(&subject, &mut native, &limits).expect("a valid program");
            model_std::explore(&subject, &mut threads, &limits).expect("a valid program");
            model_shuttle::explore(&subject, &mut shuttle, &limits).expect("a valid program");

            assert_eq!(native.log, threads.log, "{name}, {how:?}: std");
            assert_eq!(native.log, shuttle.log, "{name}, {how:?}: shuttle");
            assert_eq!(native.outcomes, threads.outcomes, "{name}, {how:?}: std");
            assert_eq!(native.outcomes, shuttle.outcomes, "{name}, {how:?}: shuttle");
            assert_eq!(native.outcomes.len(), 3, "{name}, {how:?}");
            assert!(native.outcomes.iter().all(|o| *o == native.outcomes[0]), "{name}, {how:?}");
            let pruned = matches!(how, How::Prune(0)) && name != "no steps";
            assert!(!pruned || native.outcomes[0].is_none(), "{name}, {how:?}");
        }
    }
}

#[test]
fn the_programs_reach_every_ending() {
    let endings = |program: &Litmus| -> Vec<String> {
        let all = brute_force(program);
        let word = |essence: &String| essence.split(' ').next().unwrap_or_default().to_string();
        let mut endings: Vec<String> = all.outcomes.keys().map(word).collect();
        endings.dedup();
        endings
    };
    assert_eq!(endings(&lost_update(2)), ["Complete"]);
    assert_eq!(endings(&ab_ba()), ["Complete", "Deadlock"]);
    assert_eq!(endings(&use_after_free()), ["Complete", "Stopped"]);
    assert_eq!(endings(&hangs()), ["Complete", "Deadlock"]);
}

#[test]
fn an_execution_ends_at_the_bound_on_steps() {
    let subject = Subject::Litmus(lost_update(3));
    let limits = Limits { steps_max: 4, ..limits(false) };
    let mut outcomes = Vec::new();
    let first = &mut uapi::pick::FirstEnabled;
    outcomes.push(model_native::run(&subject, first, &limits).expect("a valid program"));
    outcomes.push(model_std::run(&subject, first, &limits).expect("a valid program"));
    outcomes.push(model_shuttle::run(&subject, first, &limits).expect("a valid program"));
    let bounds = LoomBounds { permutations_max: 1, preemptions_max: None, branches_max: 1_000 };
    model_loom::explore_loom(&subject, &bounds, &limits, &mut |outcome| {
        outcomes.push(Some(outcome));
        true
    })
    .expect("a valid program");
    assert_eq!(outcomes.len(), 4);
    for outcome in outcomes {
        let outcome = outcome.expect("not pruned");
        assert_eq!((outcome.ending, outcome.steps), (Ending::StepLimit, 4));
    }
}

/// An explorer that fails must not leave a thread waiting for its turn, or a coroutine that
/// nobody ends.
#[test]
fn a_panic_of_the_explorer_reaches_the_caller() {
    struct Broken(u32);
    impl Pick for Broken {
        fn pick(&mut self, pending: &[Pending], _current: Option<Cpu>) -> Option<Cpu> {
            self.0 += 1;
            if self.0 == 3 {
                // Not `panic!`: nothing has to be printed.
                resume_unwind(Box::new("broken"));
            }
            Some(pending[0].cpu)
        }
    }
    let subject = Subject::Litmus(lost_update(3));
    for run in [model_native::run, model_std::run, model_shuttle::run] {
        let payload =
            catch_unwind(AssertUnwindSafe(|| run(&subject, &mut Broken(0), &limits(false))))
                .expect_err("the panic of the explorer");
        assert_eq!(payload.downcast_ref::<&str>(), Some(&"broken"));
    }
}

#[test]
fn more_cpus_than_a_backend_has_are_an_error() {
    let cpus = |n: usize| {
        let threads = vec![vec![add(0)]; n];
        Subject::Litmus(Litmus { vars: vec![0], threads, ..Litmus::default() })
    };
    let bounds = LoomBounds { permutations_max: 1, preemptions_max: None, branches_max: 1_000 };
    let loom = |n| model_loom::explore_loom(&cpus(n), &bounds, &limits(false), &mut |_| true);
    assert_eq!(loom(5), Err(ModelError::TooManyCpus { cpus: 5, max: 4 }));
    assert_eq!(loom(4), Ok(false));
}

// ---------------------------------------------------------------------------------------------
// Shuttle's schedulers
// ---------------------------------------------------------------------------------------------

fn sample(program: &Litmus, sampler: Sampler, iterations: u64) -> BTreeMap<String, u64> {
    let mut outcomes = BTreeMap::new();
    let subject = Subject::Litmus(program.clone());
    model_shuttle::sample(&subject, sampler, 7, iterations, &limits(false), &mut |outcome| {
        *outcomes.entry(essence(&outcome)).or_default() += 1;
        true
    })
    .expect("a valid program");
    outcomes
}

#[test]
fn the_samplers_find_a_lost_update_and_a_deadlock() {
    for program in [lost_update(2), ab_ba()] {
        let all = brute_force(&program).outcomes;
        for sampler in [Sampler::Random, Sampler::Urw, Sampler::Pct(3)] {
            let found = sample(&program, sampler, 300);
            assert_eq!(found.values().sum::<u64>(), 300, "{sampler:?}");
            assert!(found.len() > 1, "{sampler:?} found only {found:?}");
            assert!(found.keys().all(|o| all.contains_key(o)), "{sampler:?}: {found:?}");
        }
    }
}

#[test]
fn the_samplers_run_every_program_and_are_reproducible() {
    let samplers = [Sampler::Random, Sampler::Urw, Sampler::Pct(0), Sampler::Pct(3), Sampler::Dfs];
    for (name, program) in programs() {
        for sampler in samplers {
            let found = sample(&program, sampler, 50);
            assert_eq!(found, sample(&program, sampler, 50), "{name}, {sampler:?}");
            let n = found.values().sum::<u64>();
            let all = sampler == Sampler::Dfs && n < 50;
            assert!(n == 50 || all, "{name}, {sampler:?}: {n}");
        }
    }
}

#[test]
fn the_depth_first_search_of_shuttle_is_brute_force() {
    let programs = [lost_update(2), ab_ba(), use_after_free(), hangs(), sleepers(Timers::Idle)];
    for program in programs.into_iter().chain([sleepers(Timers::Any)]) {
        let all = brute_force(&program);
        assert_eq!(sample(&program, Sampler::Dfs, 1_000_000), all.outcomes);
        assert!(all.executions > 1);
    }
}

#[test]
fn sampling_ends_when_it_is_told_to() {
    for sampler in [Sampler::Random, Sampler::Urw, Sampler::Pct(3), Sampler::Dfs] {
        let mut executions = 0;
        let subject = Subject::Litmus(lost_update(3));
        model_shuttle::sample(&subject, sampler, 7, 100, &limits(false), &mut |_| {
            executions += 1;
            executions < 5
        })
        .expect("a valid program");
        assert_eq!(executions, 5, "{sampler:?}");
    }
}

// ---------------------------------------------------------------------------------------------
// Loom
// ---------------------------------------------------------------------------------------------

fn loom(program: &Litmus, permutations_max: u64) -> (bool, BTreeMap<String, u64>) {
    let mut outcomes = BTreeMap::new();
    let bounds = LoomBounds { permutations_max, preemptions_max: None, branches_max: 10_000 };
    let subject = Subject::Litmus(program.clone());
    let exhausted = model_loom::explore_loom(&subject, &bounds, &limits(false), &mut |outcome| {
        *outcomes.entry(essence(&outcome)).or_default() += 1;
        true
    });
    (exhausted.expect("a valid program"), outcomes)
}

/// What a partial-order reduction must find. Where an execution stopped, it owes nothing about how
/// far CPUs had come that had no part in it.
fn up_to_reduction(outcomes: &BTreeMap<String, u64>) -> BTreeSet<&str> {
    outcomes
        .keys()
        .map(|o| if o.starts_with("Stopped") { o.rsplit_once(" [").map_or("", |c| c.0) } else { o })
        .collect()
}

#[test]
fn loom_finds_what_brute_force_finds() {
    let reads_then_write = Litmus {
        vars: vec![0],
        threads: vec![
            vec![Load { reg: 0, var: 0 }],
            vec![Load { reg: 0, var: 0 }],
            vec![Store { var: 0, src: Src::Imm(1) }],
        ],
        ..Litmus::default()
    };
    // Loom itself misses a part of this: tokio-rs/loom issues 166 and 392.
    let read_against_read_then_write = Litmus {
        vars: vec![0],
        threads: vec![
            vec![Load { reg: 0, var: 0 }],
            vec![Load { reg: 0, var: 0 }, Store { var: 0, src: Src::Imm(1) }],
        ],
        ..Litmus::default()
    };
    let programs = [
        ("lost update", lost_update(2)),
        ("a read against a read and a write", read_against_read_then_write),
        ("ab-ba", ab_ba()),
        ("use after free", use_after_free()),
        ("sleepers", sleepers(Timers::Idle)),
        ("hangs", hangs()),
        ("two reads, then a write", reads_then_write),
    ];
    for (name, program) in programs {
        let all = brute_force(&program).outcomes;
        let (exhausted, found) = loom(&program, 100_000);
        assert!(exhausted, "{name}");
        assert_eq!(up_to_reduction(&found), up_to_reduction(&all), "{name}");
    }
}

#[test]
fn loom_obeys_its_budget_exactly() {
    let program = lost_update(2);
    let (_, found) = loom(&program, u64::MAX);
    let all: u64 = found.values().sum();
    assert!(all > 2);
    for (budget, exhausted) in [(0, false), (1, false), (all - 1, false), (all, true)] {
        let (is_exhausted, found) = loom(&program, budget);
        assert_eq!((is_exhausted, found.values().sum()), (exhausted, budget));
    }
}

#[test]
fn loom_ends_when_it_is_told_to() {
    let bounds = LoomBounds { permutations_max: 100, preemptions_max: None, branches_max: 1_000 };
    let subject = Subject::Litmus(lost_update(2));
    let mut executions = 0;
    let exhausted = model_loom::explore_loom(&subject, &bounds, &limits(false), &mut |_| {
        executions += 1;
        executions < 3
    });
    assert_eq!((exhausted, executions), (Ok(false), 3));
}

#[test]
fn loom_explores_fewer_executions_with_a_preemption_bound() {
    let count = |preemptions_max| {
        let bounds = LoomBounds { permutations_max: 100_000, preemptions_max, branches_max: 1_000 };
        let subject = Subject::Litmus(lost_update(2));
        let mut n = 0;
        model_loom::explore_loom(&subject, &bounds, &limits(false), &mut |_| {
            n += 1;
            true
        })
        .expect("a valid program");
        n
    };
    assert!(count(Some(0)) < count(Some(1)));
    assert!(count(Some(1)) < count(None));
    assert_eq!(count(Some(1_000)), count(None));
}

#[test]
fn the_branches_of_loom_are_bounded_by_us_and_not_by_its_default() {
    let long = vec![add(0); 1_000];
    let subject =
        Subject::Litmus(Litmus { vars: vec![0], threads: vec![long; 2], ..Litmus::default() });
    let run = |branches_max| {
        let bounds = LoomBounds { permutations_max: 1, preemptions_max: None, branches_max };
        let mut steps = 0;
        let exhausted =
            model_loom::explore_loom(&subject, &bounds, &limits(false), &mut |outcome| {
                steps = outcome.steps;
                true
            });
        (exhausted, steps)
    };
    assert_eq!(run(100_000), (Ok(false), 2_000));
    let payload = catch_unwind(AssertUnwindSafe(|| run(1_000))).expect_err("loom's own bound");
    let text = payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or_default();
    assert!(text.contains("exceeded maximum number of branches"), "{text}");
}
