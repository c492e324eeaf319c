//! Lock order across all executions of a run: what lockdep would know after all of them.
//!
//! lockdep sees a cycle when both orders were taken in one boot, whether or not they met. One
//! execution is a short boot; the orders of all executions of one row, over all scenarios, are a
//! long one.

use crate::check::Answered;
use std::collections::{BTreeMap, BTreeSet};
use uapi::outcome::LockClass;
use uapi::splat::Kind;
use uapi::verdict::Expected;

/// Orders in which classes were taken: (held, taken).
pub type Orders = BTreeSet<(LockClass, LockClass)>;

/// The orders of each row, from the deciding explorer's executions.
pub fn by_row(answered: &[Answered]) -> BTreeMap<String, Orders> {
    let mut rows: BTreeMap<String, Orders> = BTreeMap::new();
    for a in answered {
        if a.question.scenario.mutant().is_some() {
            // What it takes is not the order of the row.
            continue;
        }
        if expects_cycle(&a.question.expected) {
            // Its own verdict judges the cycle.
            continue;
        }
        let Some(finding) = a.deciding() else { continue };
        rows.entry(a.question.revision.clone()).or_default().extend(&finding.lock_order);
    }
    rows
}

/// Whether the recorded verdict is that locks are taken in two orders.
fn expects_cycle(expected: &Expected) -> bool {
    match expected {
        Expected::Never => false,
        Expected::Sometimes(text) | Expected::Always(text) => {
            text.starts_with(Kind::CircularLock.words())
        }
    }
}

fn text(class: LockClass) -> String {
    format!("{}->{}", class.0, class.1)
}

/// The shortest cycle, if there is one, as `a -> b -> a`. A class under itself is a finding of
/// its own kind (recursive locking) and no cycle here.
pub fn cycle(orders: &Orders) -> Option<String> {
    let classes: BTreeSet<LockClass> = orders.iter().flat_map(|(a, b)| [*a, *b]).collect();
    let mut shortest: Option<Vec<LockClass>> = None;
    for start in classes {
        let found = path_back(orders, start);
        let shorter = match (&found, &shortest) {
            (Some(new), Some(old)) => new.len() < old.len(),
            (Some(_), None) => true,
            _ => false,
        };
        if shorter {
            shortest = found;
        }
    }
    let path = shortest?;
    let names: Vec<String> = path.into_iter().map(text).collect();
    Some(names.join(" -> "))
}

/// The shortest way from a class over others back to itself, both ends included.
fn path_back(orders: &Orders, start: LockClass) -> Option<Vec<LockClass>> {
    let mut came_from: BTreeMap<LockClass, LockClass> = BTreeMap::new();
    let mut todo = vec![start];
    let mut next = 0;
    while let Some(&at) = todo.get(next) {
        next += 1;
        for (held, taken) in orders.iter().filter(|(held, taken)| *held == at && held != taken) {
            if *taken == start {
                let mut path = vec![start, *held];
                while let Some(before) = came_from.get(path.last()?) {
                    path.push(*before);
                }
                path.reverse();
                return Some(path);
            }
            if !todo.contains(taken) {
                came_from.insert(*taken, *held);
                todo.push(*taken);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: LockClass = ("ioas", "mutex");
    const B: LockClass = ("igroup", "lock");
    const C: LockClass = ("viommu", "veventqs_rwsem");

    #[test]
    fn orders_that_agree_are_no_cycle() {
        assert_eq!(cycle(&Orders::from([(A, B), (B, C), (A, C), (A, A)])), None);
    }

    #[test]
    fn a_recorded_cycle_is_judged_by_its_verdict() {
        let cycle = Kind::CircularLock.words().to_owned();
        assert!(expects_cycle(&Expected::Always(cycle.clone())));
        assert!(expects_cycle(&Expected::Sometimes(format!("{cycle} (a and b)"))));
        assert!(!expects_cycle(&Expected::Sometimes(Kind::BadUnlock.words().to_owned())));
        assert!(!expects_cycle(&Expected::Never));
    }

    #[test]
    fn a_cycle_is_found_although_no_execution_took_both_orders() {
        let first = Orders::from([(A, B), (B, C)]);
        let second = Orders::from([(C, A)]);
        let both: Orders = first.union(&second).copied().collect();
        assert_eq!((cycle(&first), cycle(&second)), (None, None));
        let shown = cycle(&both).unwrap_or_default();
        assert!(shown.contains("ioas->mutex -> igroup->lock"), "{shown}");
        assert_eq!(shown.matches(" -> ").count(), 3, "{shown}");
    }
}
