//! The explorer on the toy engine: what it finds does not depend on the engine that makes the
//! steps. The same questions are asked on the model's own backends in `races/tests`.

use crate::brute::Brute;
use crate::dpor::{Config, Dpor, Sink, Stats};
use crate::golden::{Encoding, Golden};
use crate::random::{litmus, Flavour};
use crate::toy;
use std::collections::BTreeSet;
use uapi::outcome::{Ending, Outcome};
use uapi::program::Dependence;
use uapi::splat::Splat;
use uapi::step::Cpu;

/// The outcomes of a search, and how many executions gave them.
#[derive(Default)]
struct Outcomes {
    set: BTreeSet<(Ending, Vec<i64>, Vec<Splat>)>,
    executions: u64,
    failed: u64,
}

impl Sink for Outcomes {
    fn executed(&mut self, _: &[Cpu], outcome: Option<Outcome>, _: &Stats) -> bool {
        if let Some(mut o) = outcome {
            self.executions += 1;
            self.failed += u64::from(!o.splats.is_empty());
            o.splats.sort();
            self.set.insert((o.ending, o.state, o.splats));
        }
        true
    }

    fn restarted(&mut self) {
        *self = Outcomes::default();
    }
}

fn reduced(litmus: &uapi::litmus::Litmus, dependence: Dependence) -> Outcomes {
    let mut found = Outcomes::default();
    let config = Config { dependence, executions_max: 1_000_000, ..Config::default() };
    let mut dpor = Dpor::new(config, &mut found);
    toy::explore(litmus, &mut dpor);
    assert!(dpor.exhausted, "{:?}", dpor.broken);
    found
}

fn golden(allocs: u8, destroys: u8, full: bool, buggy: bool, dependence: Dependence) -> (u64, u64) {
    let encoding =
        if dependence == Dependence::Keyed { Encoding::Sections } else { Encoding::Locks };
    let golden = Golden { allocs, destroys, full, buggy, encoding };
    let found = reduced(&golden.litmus(), dependence);
    (found.failed, found.executions)
}

#[test]
fn golden_counts() {
    use Dependence::{Commuting, Keyed, Plain};
    assert_eq!(golden(2, 1, false, false, Plain), (0, 258));
    assert_eq!(golden(2, 0, true, false, Plain), (0, 1_052));
    assert_eq!(golden(3, 1, false, false, Commuting), (0, 426));
    assert_eq!(golden(2, 1, true, false, Commuting), (0, 8_446));
    assert_eq!(golden(3, 1, false, false, Keyed), (0, 426));
    assert_eq!(golden(2, 1, true, false, Keyed), (0, 24));
    assert_eq!(golden(2, 1, false, true, Plain), (26, 222));
    assert_eq!(golden(2, 1, false, true, Commuting), (4, 24));
    assert_eq!(golden(2, 1, true, true, Keyed), (4, 22));
}

#[test]
fn random_programs_against_brute_force() {
    for flavour in [Flavour::Memory, Flavour::Counters] {
        for n in 0..500 {
            let program = litmus(1, n, flavour);
            let mut all = Outcomes::default();
            let mut brute = Brute::new(100_000, &mut all);
            toy::explore(&program, &mut brute);
            assert!(brute.exhausted);
            for dependence in [Dependence::Plain, Dependence::Commuting, Dependence::Keyed] {
                let found = reduced(&program, dependence);
                assert!(found.set == all.set, "{n} {flavour:?} {dependence:?}: {program:?}");
                assert!(found.executions <= all.executions);
            }
        }
    }
}
