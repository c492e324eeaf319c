//! What the benches measure: the same subjects for every explorer, and how far each one goes.
//!
//! A bench compares explorers on executions, so each run is bounded by their number: what does
//! not exhaust is cut off, and says so.

use std::path::Path;

use races::golden::{Encoding, Golden};
use races::search::{reduced, Counts};
use races::{Backend, Sampler, Subject};
use scenarios::Scenario;
use uapi::pick::LoomBounds;
use uapi::program::{Dependence, Limits};

/// Branches of one execution under loom; its default of 1,000 is less than two ioctls need.
const BRANCHES_MAX: u32 = 20_000;

/// Three races of the series' questions, and a twin of each that has the bug.
pub const RACES: &[(&str, &str)] = &[
    ("eexist_unwind_vs_destroy_alloc", "linux_6_13_without_xa_cmpxchg"),
    ("eexist_unwind_vs_destroy_vs_alloc", "linux_6_13_without_xa_cmpxchg"),
    ("get_vs_get_vs_unbind", "linux_6_13_without_lock_obj_undo"),
];

/// How far an explorer went.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reach {
    /// Executions.
    pub executions: u64,
    /// Whether nothing was left.
    pub exhausted: bool,
}

impl From<Counts> for Reach {
    fn from(counts: Counts) -> Reach {
        Reach { executions: counts.executions, exhausted: counts.exhausted }
    }
}

/// A golden program as a subject. The keyed dependence is about sections, the others about locks.
pub fn golden(allocs: u8, destroys: u8, full: bool, dependence: Dependence) -> Subject {
    let encoding = match dependence {
        Dependence::Keyed => Encoding::Sections,
        Dependence::Plain | Dependence::Commuting => Encoding::Locks,
    };
    Subject::Litmus(Golden { allocs, destroys, full, buggy: false, encoding }.litmus())
}

/// A race of `scenarios/races` on one row.
pub fn race(name: &str, revision: &str) -> Subject {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let revisions = model_native::revisions();
    let path = scenarios::resolve(name, &dir).expect("the bench names a committed scenario");
    let scenario = Scenario::read(&path, &revisions).expect("a committed scenario parses");
    Subject::Program { program: scenario.program(revision), revision: revision.to_string() }
}

/// Our explorer.
pub fn dpor(subject: &Subject, backend: Backend, dependence: Dependence, max: u64) -> Reach {
    let limits = Limits { dependence, ..Limits::default() };
    reduced(subject, backend, &limits, max, &mut |_, _| true).expect("it can be run").into()
}

/// Executions of our explorer up to the first one that fails.
pub fn dpor_to_first_failure(subject: &Subject) -> Option<u64> {
    let (mut n, mut first) = (0, None);
    let mut until_failure = |_: &[u8], outcome: uapi::outcome::Outcome| {
        n += 1;
        if !outcome.splats.is_empty() {
            first = Some(n);
        }
        first.is_none()
    };
    reduced(subject, Backend::Native, &Limits::default(), 1_000_000, &mut until_failure)
        .expect("it can be run");
    first
}

/// Loom on the kernel model.
pub fn loom(subject: &Subject, max: u64) -> Reach {
    let bounds =
        LoomBounds { permutations_max: max, preemptions_max: None, branches_max: BRANCHES_MAX };
    let mut executions = 0;
    let mut count = |_| {
        executions += 1;
        true
    };
    let exhausted = model_loom::explore_loom(subject, &bounds, &Limits::default(), &mut count)
        .expect("it can be run");
    Reach { executions, exhausted }
}

/// Shuttle's depth-first search on the kernel model.
pub fn shuttle_dfs(subject: &Subject, max: u64) -> Reach {
    let mut executions = 0;
    let mut count = |_| {
        executions += 1;
        true
    };
    model_shuttle::sample(subject, Sampler::Dfs, 0, max, &Limits::default(), &mut count)
        .expect("it can be run");
    Reach { executions, exhausted: executions < max }
}

/// Samples of each function in [`in_turn`].
const SAMPLES: usize = 2_001;

/// The median time of a call of each function, in nanoseconds. Short samples are taken of one after
/// the other, so what else runs on the machine disturbs all of them alike.
pub fn in_turn<const N: usize>(calls: u32, functions: &mut [&mut dyn FnMut(); N]) -> [f64; N] {
    let mut samples = [const { Vec::new() }; N];
    for _ in 0..SAMPLES {
        for (function, samples) in functions.iter_mut().zip(&mut samples) {
            let begin = std::time::Instant::now();
            (0..calls).for_each(|_| function());
            samples.push(begin.elapsed());
        }
    }
    samples.map(|mut samples| {
        samples.sort_unstable();
        samples[SAMPLES / 2].as_secs_f64() * 1e9 / f64::from(calls)
    })
}
