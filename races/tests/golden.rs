//! The counts of reference/engines-golden.md: complete executions to exhaust the golden programs,
//! under each dependence, on coroutines and as a shuttle scheduler.
//!
//! Plain equals GenMC 0.11 and Nidhugg 0.4 (`--no-commute-rmws`) wherever they finish; commuting
//! equals Nidhugg's default.

use races::golden::{Encoding, Golden};
use races::search::{reduced, Counts};
use races::{Backend, Subject};
use uapi::program::{Dependence, Limits};

fn golden(name: &str, dependence: Dependence, buggy: bool) -> Subject {
    let (size, threads) = name.split_once(' ').expect("a size and threads");
    let digit = |i: usize| threads.as_bytes()[i] - b'0';
    let encoding =
        if dependence == Dependence::Keyed { Encoding::Sections } else { Encoding::Locks };
    let golden =
        Golden { allocs: digit(0), destroys: digit(2), full: size == "full", buggy, encoding };
    Subject::Litmus(golden.litmus())
}

fn counts(name: &str, dependence: Dependence, buggy: bool, backend: Backend) -> Counts {
    let limits = Limits { dependence, ..Limits::default() };
    let subject = golden(name, dependence, buggy);
    reduced(&subject, backend, &limits, 2_000_000, &mut |_, _| true).expect("a sound program")
}

const NAMES: [&str; 7] =
    ["mini 2a0d", "mini 1a1d", "mini 2a1d", "mini 3a1d", "full 2a0d", "full 1a1d", "full 2a1d"];

fn correct_programs(dependence: Dependence, expected: [u64; 7], backend: Backend) {
    for (name, executions) in NAMES.into_iter().zip(expected) {
        let got = counts(name, dependence, false, backend);
        assert!(got.exhausted, "{name} {dependence:?}");
        assert_eq!((got.executions, got.failed), (executions, 0), "{name} {dependence:?}");
    }
}

const PLAIN: [u64; 7] = [4, 6, 258, 53_868, 1_052, 39, 665_816];
const COMMUTING: [u64; 7] = [2, 3, 24, 426, 110, 13, 8_446];
const KEYED: [u64; 7] = [2, 3, 24, 426, 2, 3, 24];

#[test]
fn plain_native() {
    correct_programs(Dependence::Plain, PLAIN, Backend::Native);
}

#[test]
fn plain_shuttle() {
    correct_programs(Dependence::Plain, PLAIN, Backend::Shuttle);
}

#[test]
fn commuting_native() {
    correct_programs(Dependence::Commuting, COMMUTING, Backend::Native);
}

#[test]
fn commuting_shuttle() {
    correct_programs(Dependence::Commuting, COMMUTING, Backend::Shuttle);
}

#[test]
fn keyed_native() {
    correct_programs(Dependence::Keyed, KEYED, Backend::Native);
}

#[test]
fn keyed_shuttle() {
    correct_programs(Dependence::Keyed, KEYED, Backend::Shuttle);
}

#[test]
fn the_buggy_program_fails_in_exactly_these_executions() {
    for backend in [Backend::Native, Backend::Shuttle] {
        for (name, dependence, failed, executions) in [
            ("mini 2a1d", Dependence::Plain, 26, 222),
            ("mini 2a1d", Dependence::Commuting, 4, 24),
            ("full 2a1d", Dependence::Keyed, 4, 22),
        ] {
            let got = counts(name, dependence, true, backend);
            assert!(got.exhausted, "{name} {dependence:?}");
            assert_eq!((got.failed, got.executions), (failed, executions), "{name} {dependence:?}");
        }
    }
}

/// Threads of the operating system are slow, so only the smaller programs.
#[test]
fn keyed_std() {
    for (name, executions) in NAMES.into_iter().zip(KEYED).filter(|(_, n)| *n <= 24) {
        let got = counts(name, Dependence::Keyed, false, Backend::Std);
        assert_eq!((got.executions, got.failed), (executions, 0), "{name}");
    }
}
