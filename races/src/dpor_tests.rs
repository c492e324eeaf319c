//! The explorer on the toy engine: the golden counts.

use crate::dpor::{Config, Dpor, Sink, Stats};
use crate::golden::{Encoding, Golden};
use crate::toy;
use uapi::outcome::Outcome;
use uapi::program::Dependence;
use uapi::step::Cpu;

#[derive(Default)]
struct Count {
    complete: u64,
    failed: u64,
    pruned: u64,
}

impl Sink for Count {
    fn executed(&mut self, _: &[Cpu], outcome: Option<Outcome>, _: &Stats) -> bool {
        match outcome {
            None => self.pruned += 1,
            Some(o) => {
                self.complete += 1;
                self.failed += u64::from(!o.splats.is_empty());
            }
        }
        true
    }
    fn restarted(&mut self) {
        *self = Count::default();
    }
}

fn count(dependence: Dependence, name: &str, buggy: bool) -> (u64, u64) {
    let (size, threads) = name.split_once(' ').unwrap();
    let digit = |i: usize| threads.as_bytes()[i] - b'0';
    let golden = Golden {
        allocs: digit(0),
        destroys: digit(2),
        full: size == "full",
        buggy,
        encoding: if dependence == Dependence::Keyed {
            Encoding::Sections
        } else {
            Encoding::Locks
        },
    };
    let mut counted = Count::default();
    let config = Config { dependence, executions_max: 10_000_000, ..Config::default() };
    let mut dpor = Dpor::new(config, &mut counted);
    toy::explore(&golden.litmus(), &mut dpor);
    assert!(dpor.exhausted, "{:?}", dpor.broken);
    eprintln!(
        "{name} {dependence:?}: {} {} pruned {}",
        counted.complete, counted.failed, counted.pruned
    );
    (counted.complete, counted.failed)
}

#[test]
fn golden_counts() {
    use Dependence::{Commuting, Keyed, Plain};
    let names =
        ["mini 2a0d", "mini 1a1d", "mini 2a1d", "mini 3a1d", "full 2a0d", "full 1a1d", "full 2a1d"];
    for (d, counts) in [
        (Plain, [4, 6, 258, 53_868, 1_052, 39, 665_816]),
        (Commuting, [2, 3, 24, 426, 110, 13, 8_446]),
        (Keyed, [2, 3, 24, 426, 2, 3, 24]),
    ] {
        for (name, n) in names.into_iter().zip(counts) {
            let got = count(d, name, false);
            eprintln!(
                "{name} {d:?} expected {n} got {got:?} {}",
                if got == (n, 0) { "" } else { "XXXXXX" }
            );
        }
    }
    assert_eq!(count(Plain, "mini 2a1d", true), (222, 26));
    assert_eq!(count(Commuting, "mini 2a1d", true), (24, 4));
    assert_eq!(count(Keyed, "full 2a1d", true), (22, 4));
}
