//! What does the deciding explorer say, and can its failures be run again?

use races::golden::{Encoding, Golden};
use races::{
    Backend, Bounds, Finding, Progress, Recycle, ReplayError, Schedule, Subject, Unwatched, Watch,
};
use uapi::litmus::{Insn, Litmus, Src};
use uapi::program::{Dependence, Limits};
use uapi::verdict::Verdict;

fn golden(size: &str, buggy: bool, encoding: Encoding) -> Litmus {
    Golden { allocs: 2, destroys: 1, full: size == "full", buggy, encoding }.litmus()
}

fn decide(litmus: Litmus, bounds: &Bounds) -> Finding {
    races::dpor(&Subject::Litmus(litmus), bounds, Backend::Native, &mut Unwatched)
        .expect("a sound program")
}

#[test]
fn never_stands_on_all_executions() {
    let f = decide(golden("mini", false, Encoding::Sections), &Bounds::default());
    assert_eq!(f.verdict, Verdict::Never);
    assert_eq!((f.failed, f.executions, f.exhausted), (0, 24, true));
    assert_eq!(f.note, "exhausted");
    assert_eq!(f.failure, None);
}

#[test]
fn sometimes_comes_with_an_interleaving_that_runs_again_everywhere() {
    let litmus = golden("mini", true, Encoding::Sections);
    let f = decide(litmus.clone(), &Bounds::default());
    assert!(f.exhausted && f.failed > 0 && f.failed < f.executions, "{f:?}");
    let failure = f.failure.expect("a failure");
    assert_eq!(f.verdict, Verdict::Sometimes { splat: failure.splat.to_string() });
    // The loser of the two allocs erases the slot, and it takes one switch to let it.
    assert!(failure.context_switches <= 3, "{}", failure.schedule);
    let lost = failure.point_of_no_return.expect("a step after which it is lost");
    let steps = &failure.outcome.trace.as_ref().expect("a trace").steps;
    assert!(steps[lost].scheduling_point);
    let token = failure.schedule.to_string();
    let schedule: Schedule = token.parse().expect("a token reads back");
    assert_eq!(schedule, failure.schedule);
    let limits = Limits { trace: true, ..Limits::default() };
    for backend in [Backend::Native, Backend::Shuttle, Backend::Std] {
        let replayed = races::replay(&Subject::Litmus(litmus.clone()), &schedule, backend, &limits)
            .unwrap_or_else(|e| panic!("{}: {e}", backend.name()));
        assert_eq!(replayed.outcome, failure.outcome, "{}", backend.name());
        assert_eq!(replayed.context_switches, failure.context_switches);
    }
}

#[test]
fn the_point_of_no_return_is_the_erasure() {
    let litmus = golden("mini", true, Encoding::Sections);
    let failure = decide(litmus, &Bounds::default()).failure.expect("a failure");
    let step = &failure.outcome.trace.as_ref().expect("a trace").steps
        [failure.point_of_no_return.expect("it is known")];
    // `vdevs[virt_id] = NULL`, whoever is in it: the plain erase of the buggy unwind, or the step
    // that makes this alloc the loser.
    assert!(["store", "cmpxchg"].contains(&step.op.as_str()), "{step:?}");
}

/// Deadlocks, timers, freed memory: whatever fails can be run again from its token alone.
#[test]
fn every_failure_of_a_random_program_runs_again() {
    use races::random::{litmus, Flavour};
    let limits = Limits { trace: true, ..Limits::default() };
    let mut timers = 0;
    for flavour in [Flavour::Memory, Flavour::Counters, Flavour::Heap, Flavour::Waits] {
        let mut failures = 0;
        for n in 0..150 {
            let program = litmus(3, n, flavour);
            let Some(failure) = decide(program.clone(), &Bounds::default()).failure else {
                continue;
            };
            failures += 1;
            let token = failure.schedule.to_string();
            timers += u32::from(failure.schedule.segments.iter().any(|s| s.cpu >= 8));
            let schedule = token.parse().expect("a token reads back");
            let again =
                races::replay(&Subject::Litmus(program), &schedule, Backend::Native, &limits)
                    .unwrap_or_else(|e| panic!("{flavour:?} {n} {token}: {e}"));
            assert_eq!(again.outcome, failure.outcome, "{flavour:?} {n} {token}");
        }
        assert!(failures > 10, "{flavour:?}: {failures}");
    }
    assert!(timers > 0);
}

#[test]
fn a_step_added_elsewhere_does_not_break_a_token() {
    let litmus = golden("mini", true, Encoding::Sections);
    let failure = decide(litmus.clone(), &Bounds::default()).failure.expect("a failure");
    let mut longer = litmus;
    for thread in &mut longer.threads {
        thread.insert(0, Insn::RefcountRead { reg: 6, count: uapi::litmus::Count::Static(1) });
    }
    let limits = Limits::default();
    let replayed =
        races::replay(&Subject::Litmus(longer), &failure.schedule, Backend::Native, &limits)
            .expect("the new steps are not named in the token");
    assert_eq!(replayed.outcome.splats, failure.outcome.splats);
}

#[test]
fn a_token_of_another_program_names_the_first_step_that_differs() {
    let schedule: Schedule =
        "0:end,1:insn.xa_cmpxchg#1,2:end,1:end".parse().expect("a token reads back");
    let other = Litmus {
        vars: vec![0],
        threads: vec![vec![Insn::Load { reg: 0, var: 0 }]; 3],
        ..Litmus::default()
    };
    let e = races::replay(&Subject::Litmus(other), &schedule, Backend::Native, &Limits::default())
        .expect_err("it is another program");
    assert!(matches!(e, ReplayError::Differs { segment: 1, step: 2, .. }), "{e}");
    assert!(e.to_string().contains("expected CPU 1 to come before xa_cmpxchg"), "{e}");
}

#[test]
fn always_is_said_only_when_all_fail() {
    let litmus = Litmus {
        vars: vec![0],
        threads: vec![
            vec![Insn::Load { reg: 0, var: 0 }, Insn::Assert { reg: 0, value: 7 }],
            vec![Insn::Store { var: 0, src: Src::Imm(1) }],
        ],
        ..Litmus::default()
    };
    let f = decide(litmus, &Bounds::default());
    assert!(matches!(f.verdict, Verdict::Always { .. }), "{f:?}");
    assert_eq!(f.failed, f.executions);
    assert_eq!(f.failure.expect("a failure").point_of_no_return, None);
}

#[test]
fn a_budget_that_ends_early_is_no_pass() {
    let bounds =
        Bounds { executions_max: 20_000, dependence: Dependence::Plain, ..Bounds::default() };
    let f = decide(golden("full", false, Encoding::Locks), &bounds);
    assert_eq!((f.verdict, f.exhausted), (Verdict::NotExhausted, false));
    assert!(f.note.contains("executions <= 20000"), "{}", f.note);
    // The truth is 665,816.
    let estimate = f.estimate.expect("an estimate before the long search");
    assert!((6_658..66_581_600).contains(&estimate), "{estimate}");
}

#[test]
fn a_preemption_bound_never_says_never() {
    let bounds = Bounds { preemptions_max: Some(1), ..Bounds::default() };
    let f = decide(golden("mini", false, Encoding::Sections), &bounds);
    assert_eq!((f.verdict, f.exhausted), (Verdict::NotExhausted, false));
    assert!(f.note.contains("preemptions <= 1"), "{}", f.note);
    let f = decide(golden("mini", true, Encoding::Sections), &bounds);
    assert!(matches!(f.verdict, Verdict::Sometimes { .. }), "{f:?}");
}

/// Stops at the second look.
#[derive(Default)]
struct Impatient {
    looks: u64,
    fraction: f64,
}

impl Watch for Impatient {
    fn progress(&mut self, progress: &Progress) {
        self.looks += 1;
        assert!(progress.fraction >= self.fraction && progress.fraction <= 1.0, "{progress:?}");
        self.fraction = progress.fraction;
    }

    fn interrupted(&self) -> bool {
        self.looks >= 2
    }
}

#[test]
fn an_interruption_ends_it_without_a_verdict() {
    let subject = Subject::Litmus(golden("full", false, Encoding::Locks));
    let bounds = Bounds { dependence: Dependence::Plain, ..Bounds::default() };
    let f = races::dpor(&subject, &bounds, Backend::Native, &mut Impatient::default())
        .expect("a sound program");
    assert_eq!((f.verdict, f.exhausted), (Verdict::NotExhausted, false));
    assert_eq!(f.note, "interrupted");
    assert!(f.executions < 4_000, "{}", f.executions);
}

#[test]
fn a_deadlock_is_a_splat() {
    let locks = |a, b| {
        vec![Insn::MutexLock(a), Insn::MutexLock(b), Insn::MutexUnlock(b), Insn::MutexUnlock(a)]
    };
    let litmus =
        Litmus { mutexes: 2, threads: vec![locks(0, 1), locks(1, 0)], ..Litmus::default() };
    let f = decide(litmus, &Bounds::default());
    assert!(f.failed > 0, "{f:?}");
    let texts: Vec<&str> = f.splats.keys().map(String::as_str).collect();
    assert!(
        texts.iter().any(|t| t.contains("task hung") || t.contains("circular locking")),
        "{texts:?}"
    );
}

/// kfree() and kzalloc(): is the new object at the old address?
fn double() -> Litmus {
    Litmus {
        ptrs: 2,
        setup: vec![Insn::Kzalloc { reg: 0, ptr: 0, users: 1 }],
        threads: vec![vec![
            Insn::Kfree { ptr: 0 },
            Insn::Kzalloc { reg: 0, ptr: 1, users: 1 },
            Insn::PtrEq { reg: 1, ptr: 1, other: 0 },
            Insn::WarnOn { reg: 1 },
        ]],
        ..Litmus::default()
    }
}

#[test]
fn addresses_are_recycled_only_if_that_can_matter() {
    let f = decide(double(), &Bounds::default());
    assert!(matches!(f.verdict, Verdict::Always { .. }), "{f:?}");
    assert!(f.note.contains("recycled"), "{}", f.note);
    assert!(f.failure.expect("a failure").schedule.recycle);
    let never = Bounds { recycle: Recycle::Never, ..Bounds::default() };
    assert_eq!(decide(double(), &never).verdict, Verdict::Never);
    let f = decide(golden("mini", false, Encoding::Sections), &Bounds::default());
    assert!(!f.note.contains("recycled"), "{}", f.note);
}

#[test]
fn samplers_say_none_seen_or_find_it() {
    let bounds = Bounds { samples: 500, ..Bounds::default() };
    let sample = |buggy| {
        let subject = Subject::Litmus(golden("mini", buggy, Encoding::Sections));
        races::portfolio(&subject, &bounds, &mut Unwatched).expect("a sound program")
    };
    let healthy = sample(false);
    assert_eq!(healthy.len(), 3);
    for (sampler, f) in &healthy {
        assert_eq!(
            (&f.verdict, f.executions, f.failed),
            (&Verdict::NoneSeen, 500, 0),
            "{sampler:?}"
        );
        assert!(f.note.contains("seed 7"), "{}", f.note);
    }
    for (sampler, f) in sample(true) {
        assert!(matches!(f.verdict, Verdict::Sometimes { .. }), "{sampler:?} {f:?}");
    }
    // The same seed gives the same counts.
    assert_eq!(healthy, sample(false));
}
