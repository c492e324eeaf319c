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

#[derive(Default)]
struct Outcomes {
    set: std::collections::BTreeSet<(uapi::outcome::Ending, Vec<i64>, Vec<uapi::splat::Splat>)>,
    executions: u64,
}

impl Sink for Outcomes {
    fn executed(&mut self, _: &[Cpu], outcome: Option<Outcome>, _: &Stats) -> bool {
        if let Some(mut o) = outcome {
            self.executions += 1;
            o.splats.sort();
            self.set.insert((o.ending, o.state, o.splats));
        }
        true
    }
    fn restarted(&mut self) {
        *self = Outcomes::default();
    }
}

#[test]
fn random_programs() {
    use crate::random::{litmus, Flavour};
    let mut bad = 0;
    for flavour in [Flavour::Memory, Flavour::Counters] {
        let (mut b, mut d, mut endings) = (0, [0; 3], std::collections::BTreeMap::new());
        for n in 0..std::env::var("N").map_or(3000, |s| s.parse().unwrap()) {
            let l = litmus(std::env::var("SEED").map_or(1, |s| s.parse().unwrap()), n, flavour);
            let mut all = Outcomes::default();
            let mut brute = crate::brute::Brute::new(100_000, &mut all);
            toy::explore(&l, &mut brute);
            assert!(brute.exhausted);
            b += all.executions;
            for o in &all.set {
                *endings.entry((o.0, o.2.is_empty())).or_insert(0) += 1;
            }
            for (i, dependence) in [Dependence::Plain, Dependence::Commuting, Dependence::Keyed]
                .into_iter()
                .enumerate()
            {
                let mut found = Outcomes::default();
                let config = Config { dependence, executions_max: 1_000_000, ..Config::default() };
                let mut dpor = Dpor::new(config, &mut found);
                toy::explore(&l, &mut dpor);
                assert!(dpor.exhausted, "{:?}", dpor.broken);
                d[i] += found.executions;
                if found.set != all.set {
                    bad += 1;
                    if bad < 4 {
                        eprintln!("{n} {dependence:?} brute {} dpor {} execs {} missing {} extra {}\n{}\n{:?}\nmissing {:?}", all.set.len(), found.set.len(), found.executions,
                          all.set.difference(&found.set).count(), found.set.difference(&all.set).count(), l.threads.iter().map(|t| format!("{t:?}")).collect::<Vec<_>>().join("\n"), l.counts,
                          all.set.difference(&found.set).next());
                    }
                    if found.executions > all.executions {
                        eprintln!("more than brute: {n}");
                    }
                }
            }
        }
        eprintln!("{flavour:?}: brute {b} dpor {d:?} {endings:?}");
    }
    assert_eq!(bad, 0);
}
