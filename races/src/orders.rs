//! Are the answers of an execution those of some order of whole calls?
//!
//! The sequential model is the model itself: the calls of all CPUs as one list on one CPU, in
//! every order that keeps the order of each CPU. What the calls of a concurrent execution
//! answered, errnos included, has to be what they answer in one of these orders. An answer that is
//! *permitted* without a reason in any order (a spurious -EBUSY, say) stands for a call that was
//! not made.
//!
//! Ids and files that are given out are not compared: which id is free depends on what others
//! hold for a moment. Answers of the setup are none of a race. The order in which calls of two
//! CPUs began and ended is not looked at: executions that differ only in it are one to dpor.

use crate::backend;
use crate::beginnings::Made;
use crate::dpor::{Config, Dpor, Sink, Stats};
use crate::families::{inject, FAIL_NTH_MAX};
use crate::{Backend, FailAt, ModelError, Permitted, Subject};
use std::collections::{BTreeMap, BTreeSet};
use uapi::call::{signature, ArgKind};
use uapi::errno::Ret;
use uapi::outcome::{Ending, Outcome, Place, StepResult};
use uapi::program::{Limits, Program};
use uapi::step::Cpu;

/// Orders that are tried for one answer.
const ORDERS_MAX: usize = 10_000;
/// Executions of one order: a timer that may fire at any moment branches even on one CPU.
const BRANCHES_MAX: u64 = 256;
/// Answers without a reason that are taken back at once.
const PERMITTED_MAX: usize = 6;
/// Different answers of one search that are looked at.
const ANSWERS_MAX: usize = 4_096;

/// The different answers of the passing executions of one search.
#[derive(Default)]
pub(crate) struct Answers {
    seen: BTreeSet<Vec<StepResult>>,
    /// In the order in which they were first given, with the choices that led there.
    pub first: Vec<(Vec<StepResult>, Vec<Cpu>)>,
    /// There are more than are kept.
    cut: bool,
}

impl Answers {
    /// Notes what an execution answered, if it passed.
    pub fn look(&mut self, outcome: &Outcome, choices: &[Cpu]) {
        let passed = outcome.ending == Ending::Complete && outcome.splats.is_empty();
        if !passed || self.seen.contains(&outcome.results) {
            return;
        }
        if self.first.len() == ANSWERS_MAX {
            self.cut = true;
            return;
        }
        self.seen.insert(outcome.results.clone());
        self.first.push((outcome.results.clone(), choices.to_vec()));
    }
}

/// Which answers were not held against every order of the calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Cut {
    /// Those of some executions: there were too many different ones.
    pub answers: bool,
    /// There were too many orders.
    pub orders: bool,
}

impl Cut {
    /// The bounds that were met, in words.
    pub fn bounds(self) -> impl Iterator<Item = String> {
        let answers = self.answers.then(|| format!("answers <= {ANSWERS_MAX}"));
        let orders = self.orders.then(|| format!("orders <= {ORDERS_MAX}"));
        answers.into_iter().chain(orders)
    }
}

/// What one call answered, as far as it is compared.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(crate) struct Said {
    pub place: Place,
    pub index: u32,
    ret: Option<Ret>,
    entry_num: Option<u32>,
    numbers: Vec<u64>,
}

/// Whether there is more than one order of the calls.
fn is_race(subject: &Subject) -> bool {
    matches!(subject, Subject::Program { program, .. } if program.cpus.len() > 1)
}

fn said(result: &StepResult, program: &Program) -> Option<Said> {
    let step = program.list(result.place).get(result.index as usize)?;
    let outs = signature(step.call).outs;
    let numbers = result
        .out
        .iter()
        .zip(outs)
        .filter(|(_, out)| out.kind == ArgKind::Num)
        .map(|(number, _)| *number)
        .collect();
    let StepResult { place, index, ret, entry_num, .. } = *result;
    Some(Said { place, index, ret, entry_num, numbers })
}

/// The answers of an execution that are compared: those of the CPUs and of `finally`.
pub(crate) fn answers(results: &[StepResult], program: &Program) -> BTreeSet<Said> {
    let compared = results.iter().filter(|r| matches!(r.place, Place::Cpu(_) | Place::Finally));
    compared.filter_map(|r| said(r, program)).collect()
}

/// The orders of these calls that keep the order of each list, at most [`ORDERS_MAX`], and whether
/// there are more.
fn orders(calls: &[Vec<(Cpu, u32)>]) -> (Vec<Vec<(Cpu, u32)>>, bool) {
    let mut found = Vec::new();
    let mut begun = vec![(vec![0_usize; calls.len()], Vec::new())];
    while let Some((at, order)) = begun.pop() {
        if found.len() == ORDERS_MAX {
            return (found, true);
        }
        let mut ended = true;
        for (cpu, list) in calls.iter().enumerate().rev() {
            if let Some(call) = list.get(at[cpu]) {
                ended = false;
                let (mut at, mut order): (Vec<usize>, Vec<_>) = (at.clone(), order.clone());
                at[cpu] += 1;
                order.push(*call);
                begun.push((at, order));
            }
        }
        if ended {
            found.push(order);
        }
    }
    (found, false)
}

/// Every outcome of a program on one CPU.
struct Outcomes(Vec<Outcome>);

impl Sink for Outcomes {
    fn executed(&mut self, _: &[Cpu], outcome: Option<Outcome>, _: &Stats) -> bool {
        self.0.extend(outcome.filter(|o| o.ending == Ending::Complete));
        true
    }
}

/// The orders of some calls, and what those that were tried gave.
#[derive(Default)]
pub(crate) struct Tried {
    untried: Vec<Vec<(Cpu, u32)>>,
    /// There are more orders than these.
    cut: bool,
    pub given: BTreeSet<BTreeSet<Said>>,
    /// An injected failure was reached.
    pub injected: bool,
}

/// The sequential model of one subject: the same rows of functions, one call after the other.
pub(crate) struct Sequential<'a> {
    pub subject: &'a Subject,
    pub fail: &'a [FailAt],
    permitted: &'a [Permitted],
    pub limits: Limits,
    /// By the failing point and the calls that are left out.
    tried: BTreeMap<(u32, Vec<(Cpu, u32)>), Tried>,
    /// Some answers were looked for in a part of the orders only.
    cut: bool,
    /// Beginnings of orders that were made.
    pub made: Made,
}

impl<'a> Sequential<'a> {
    /// Of a subject with these failures in it.
    pub fn new(
        subject: &'a Subject,
        fail: &'a [FailAt],
        permitted: &'a [Permitted],
        limits: Limits,
    ) -> Sequential<'a> {
        let (tried, made) = (BTreeMap::new(), Made::new());
        Sequential { subject, fail, permitted, limits, tried, cut: false, made }
    }

    /// Calls `odd` with each of these answers that no order of the calls gives. One CPU has one
    /// order: nothing is asked then.
    ///
    /// # Errors
    ///
    /// If the subject cannot be run at all.
    pub fn unexplained(
        mut self,
        answers: &Answers,
        mut odd: impl FnMut(&[Cpu]),
    ) -> Result<Cut, ModelError> {
        if !is_race(self.subject) {
            return Ok(Cut::default());
        }
        let mut orders = false;
        for (results, choices) in &answers.first {
            self.cut = false;
            // An answer that was looked for in a part of the orders only is not odd.
            if !self.explains(results)? && !self.cut {
                odd(choices);
            }
            orders |= self.cut;
        }
        Ok(Cut { answers: answers.cut, orders })
    }

    /// Whether some order of the calls, with those that answered something permitted left out or
    /// not, gives these results. A subject without calls is always explained.
    fn explains(&mut self, results: &[StepResult]) -> Result<bool, ModelError> {
        let Subject::Program { program, .. } = self.subject else { return Ok(true) };
        let wanted = answers(results, program);
        let excused: Vec<(Cpu, u32)> = results
            .iter()
            .filter(|r| self.is_permitted(r, program))
            .filter_map(|r| match r.place {
                Place::Cpu(cpu) => Some((cpu, r.index)),
                _ => None,
            })
            .take(PERMITTED_MAX)
            .collect();
        for left_out in 0..1_u32 << excused.len() {
            let without: Vec<(Cpu, u32)> = (0..)
                .zip(&excused)
                .filter(|(i, _)| left_out & (1 << i) != 0)
                .map(|(_, c)| *c)
                .collect();
            let is_left_out =
                |s: &Said| matches!(s.place, Place::Cpu(c) if without.contains(&(c, s.index)));
            let wanted: BTreeSet<Said> =
                wanted.iter().filter(|s| !is_left_out(s)).cloned().collect();
            if self.given(&without, &wanted)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    pub fn is_permitted(&self, result: &StepResult, program: &Program) -> bool {
        let Some(step) = program.list(result.place).get(result.index as usize) else {
            return false;
        };
        self.permitted.iter().any(|p| p.call == step.call && result.ret == Some(Ret::Err(p.errno)))
    }

    /// Whether some order without these calls gives `wanted`.
    ///
    /// Which failing point a number means depends on the way that a call takes: with another
    /// number the call may fail where it failed in the execution.
    fn given(
        &mut self,
        without: &[(Cpu, u32)],
        wanted: &BTreeSet<Said>,
    ) -> Result<bool, ModelError> {
        let Some(f) = self.fail.first() else {
            return self.given_with(self.subject, 0, without, wanted);
        };
        if self.given_with(self.subject, f.nth, without, wanted)? {
            return Ok(true);
        }
        for nth in (1..=FAIL_NTH_MAX).filter(|nth| *nth != f.nth) {
            let fail = FailAt { nth, ..*f };
            let moved = inject(self.subject, &[fail]).map_err(ModelError::Malformed)?;
            if self.given_with(&moved, nth, without, wanted)? {
                return Ok(true);
            }
            if !self.tried.get(&(nth, without.to_vec())).is_some_and(|t| t.injected) {
                break;
            }
        }
        Ok(false)
    }

    fn given_with(
        &mut self,
        subject: &Subject,
        nth: u32,
        without: &[(Cpu, u32)],
        wanted: &BTreeSet<Said>,
    ) -> Result<bool, ModelError> {
        let Subject::Program { program, revision } = subject else { return Ok(true) };
        let tried = self.tried.entry((nth, without.to_vec())).or_insert_with(|| {
            let calls: Vec<Vec<(Cpu, u32)>> = (0..program.cpus.len() as Cpu)
                .map(|cpu| {
                    let all = (0..program.list(Place::Cpu(cpu)).len() as u32).map(|i| (cpu, i));
                    all.filter(|call| !without.contains(call)).collect()
                })
                .collect();
            let (untried, cut) = orders(&calls);
            Tried { untried, cut, given: BTreeSet::new(), injected: false }
        });
        while !tried.given.contains(wanted) {
            let Some(order) = tried.untried.pop() else {
                self.cut |= tried.cut;
                return Ok(false);
            };
            in_order(program, revision, &order, &self.limits, tried)?;
        }
        Ok(true)
    }
}

/// Makes the calls in this order; what they answer, in every execution of it, is added.
pub(crate) fn in_order(
    program: &Program,
    revision: &str,
    order: &[(Cpu, u32)],
    limits: &Limits,
    tried: &mut Tried,
) -> Result<(), ModelError> {
    let steps = order
        .iter()
        .filter_map(|(cpu, index)| program.list(Place::Cpu(*cpu)).get(*index as usize).cloned());
    let story = Program { cpus: vec![steps.collect()], ..program.clone() };
    let subject = Subject::Program { program: story, revision: revision.to_owned() };
    let mut outcomes = Outcomes(Vec::new());
    let config = Config { executions_max: BRANCHES_MAX, ..Config::default() };
    let mut dpor = Dpor::new(config, &mut outcomes);
    backend::explore(Backend::Native, &subject, &mut dpor, limits)?;
    for outcome in outcomes.0 {
        tried.injected |= outcome.results.iter().any(|r| r.injected);
        let as_race = |result: StepResult| match result.place {
            Place::Cpu(_) => {
                let (cpu, index) = *order.get(result.index as usize)?;
                Some(StepResult { place: Place::Cpu(cpu), index, ..result })
            }
            _ => Some(result),
        };
        let results: Vec<StepResult> = outcome.results.into_iter().filter_map(as_race).collect();
        tried.given.insert(answers(&results, program));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_orders_of_two_lists_are_their_shuffles() {
        let calls = [vec![(0, 0), (0, 1)], vec![(1, 0)]];
        let mut found = orders(&calls);
        found.0.sort();
        let mut wanted = vec![
            vec![(0, 0), (0, 1), (1, 0)],
            vec![(0, 0), (1, 0), (0, 1)],
            vec![(1, 0), (0, 0), (0, 1)],
        ];
        wanted.sort();
        assert_eq!(found, (wanted, false));
        assert_eq!(orders(&[Vec::new(), Vec::new()]), (vec![Vec::new()], false));
        // 24 calls of 2 CPUs have 2,704,156 orders.
        let long = |cpu| (0..12).map(|i| (cpu, i)).collect::<Vec<_>>();
        let (found, cut) = orders(&[long(0), long(1)]);
        assert!(cut && found.len() == ORDERS_MAX);
    }
}
