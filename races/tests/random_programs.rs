//! Random programs: what the reducing explorer finds is what every interleaving gives.
//!
//! Outcomes are compared as sets of (ending, values left behind, splats). The order of the splats
//! of one execution is not compared: two WARNs of independent steps can come in either order, and
//! the explorer runs one of them.

use races::random::{litmus, Flavour};
use races::search::{brute_force, reduced};
use races::{Backend, Subject};
use std::collections::BTreeSet;
use uapi::outcome::{Ending, Outcome};
use uapi::program::{Dependence, Limits};
use uapi::splat::Splat;
use uapi::step::Cpu;

type Set = BTreeSet<(Ending, Vec<i64>, Vec<Splat>)>;

const SEED: u64 = 2;

fn collect(set: &mut Set) -> impl FnMut(&[Cpu], Outcome) -> bool + '_ {
    |_, mut outcome| {
        outcome.splats.sort();
        outcome.state.push(outcome.late_wakeups.into());
        set.insert((outcome.ending, outcome.state, outcome.splats));
        true
    }
}

/// What the programs of one flavour gave, to see that they are worth running.
#[derive(Default, Debug)]
struct Sum {
    outcomes: usize,
    deadlocks: usize,
    stops: usize,
    warns: usize,
    skipped: u64,
    brute: u64,
    reduced: [u64; 3],
}

fn compare(flavour: Flavour, programs: u64, backend: Backend) -> Sum {
    // For longer hunts than a test run: RANDOM_SEED=9 RANDOM_N=20000 cargo test -p races …
    let number = |name| std::env::var(name).ok().and_then(|s| s.parse().ok());
    let seed = number("RANDOM_SEED").unwrap_or(SEED);
    let programs = number("RANDOM_N").unwrap_or(programs);
    let mut sum = Sum::default();
    let mut bad = 0;
    for n in 0..programs {
        let program = litmus(seed, n, flavour);
        let subject = Subject::Litmus(program.clone());
        let plain =
            Limits { dependence: Dependence::Plain, recycle: n % 2 == 1, ..Limits::default() };
        let mut all = Set::new();
        let brute = brute_force(&subject, backend, &plain, 100_000, &mut collect(&mut all))
            .expect("a sound program");
        if !brute.exhausted {
            // Two sleepers that wake each other can go on for very long.
            sum.skipped += 1;
            continue;
        }
        sum.brute += brute.executions;
        sum.outcomes += all.len();
        for (ending, _, splats) in &all {
            sum.deadlocks += usize::from(*ending == Ending::Deadlock);
            sum.stops += usize::from(*ending == Ending::Stopped);
            sum.warns += usize::from(*ending == Ending::Complete && !splats.is_empty());
        }
        let dependences = [Dependence::Plain, Dependence::Commuting, Dependence::Keyed];
        for (i, dependence) in dependences.into_iter().enumerate() {
            let limits = Limits { dependence, ..plain };
            let mut found = Set::new();
            let counts = reduced(&subject, backend, &limits, 1_000_000, &mut collect(&mut found))
                .expect("a sound program");
            assert!(counts.exhausted);
            sum.reduced[i] += counts.executions;
            // Under the keyed dependence a section on one index excludes only that index. An
            // execution that stops inside one can leave what no whole section would: then brute
            // force under the same rule is the judge, and nothing may be missing from `all`.
            let as_keyed = || {
                let mut keyed = Set::new();
                brute_force(&subject, backend, &limits, 100_000, &mut collect(&mut keyed))
                    .expect("a sound program");
                dependence == Dependence::Keyed && found == keyed && found.is_superset(&all)
            };
            if found != all && !as_keyed() {
                bad += 1;
                eprintln!(
                    "program {n} of {flavour:?}, {dependence:?}: {} outcomes of {}; missing \
                     {:?}, too many {:?}; {program:?}",
                    found.len(),
                    all.len(),
                    all.difference(&found).next(),
                    found.difference(&all).next(),
                );
            }
        }
    }
    assert_eq!(bad, 0, "{flavour:?} {sum:?}");
    assert!(sum.skipped * 20 <= programs, "{flavour:?} {sum:?}");
    sum
}

#[test]
fn memory() {
    let sum = compare(Flavour::Memory, 1_000, Backend::Native);
    assert!(sum.deadlocks > 100 && sum.stops > 10, "{sum:?}");
}

#[test]
fn counters() {
    let sum = compare(Flavour::Counters, 1_000, Backend::Native);
    assert!(sum.warns > 100, "{sum:?}");
    assert!(sum.reduced[2] < sum.reduced[1] && sum.reduced[1] < sum.reduced[0], "{sum:?}");
}

#[test]
fn heap() {
    let sum = compare(Flavour::Heap, 500, Backend::Native);
    assert!(sum.stops > 100, "{sum:?}");
}

#[test]
fn files() {
    let sum = compare(Flavour::Files, 300, Backend::Native);
    assert!(sum.stops > 100 && sum.warns > 100, "{sum:?}");
}

#[test]
fn xarray() {
    let sum = compare(Flavour::Xarray, 500, Backend::Native);
    assert!(sum.reduced[2] < sum.reduced[0], "{sum:?}");
}

#[test]
fn waits() {
    let sum = compare(Flavour::Waits, 500, Backend::Native);
    assert!(sum.deadlocks > 100, "{sum:?}");
}

#[test]
fn memory_on_shuttle() {
    compare(Flavour::Memory, 100, Backend::Shuttle);
}
