//! The counts of reference/engines-golden.md: complete executions to exhaust the golden programs,
//! under each dependence, on coroutines and as a shuttle scheduler.
//!
//! Plain equals GenMC 0.11 and Nidhugg 0.4 (`--no-commute-rmws`) wherever they finish; commuting
//! equals Nidhugg's default.

use races::golden::{Encoding, Golden};
use races::search::{reduced, Counts};
use races::{Backend, Subject};
use uapi::litmus::{Count, Insn, Litmus, Src};
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

/// An object in a table, variable 0: CPU 0 clears the table and drops its reference, `users` CPUs
/// look the object up, take a reference as the same step and drop it, twice each.
fn files(users: usize) -> Subject {
    let count = Count::Static(0);
    let put = Insn::RefcountDecAndTest { reg: 0, count };
    let close = vec![Insn::Store { var: 0, src: Src::Imm(0) }, put.clone()];
    let call =
        [Insn::Fget { reg: 1, var: 0, count }, Insn::SkipUnless { reg: 1, value: 1, skip: 1 }, put];
    let calls = call.iter().chain(&call).cloned().collect();
    let mut threads: Vec<Vec<Insn>> = vec![calls; users];
    threads.insert(0, close);
    Subject::Litmus(Litmus {
        question: "Who is the last user of a file that is closed?".to_string(),
        vars: vec![1],
        counts: vec![1],
        threads,
        ..Litmus::default()
    })
}

/// What matters is which look-ups find the table cleared, and who drops the last reference. A
/// user's first look-up misses (it drops nothing), its second one, or none. So for one user it is
/// 1 + 2 + 2 executions, and for two, by what they miss, 1 + 2 * (2 + 2) + 4 * 3. Plain dependence
/// tries every order of the changes.
#[test]
fn a_file_goes_with_its_last_user() {
    for (users, dependence, executions) in [
        (1, Dependence::Plain, 5),
        (1, Dependence::Keyed, 5),
        (2, Dependence::Plain, 281),
        (2, Dependence::Keyed, 21),
    ] {
        let limits = Limits { dependence, ..Limits::default() };
        let got = reduced(&files(users), Backend::Native, &limits, 2_000_000, &mut |_, _| true)
            .expect("a sound program");
        assert!(got.exhausted, "{users} {dependence:?}");
        assert_eq!(got.executions, executions, "{users} {dependence:?}");
    }
}
