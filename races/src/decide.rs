//! One question, decided: the order in which the searches are made, and what is kept of them.
//!
//! 1. A short exhaustive search: most questions are answered here.
//! 2. If something fails, or there is no answer yet: searches with at most 0, 1 and 2 preemptions,
//!    for the failure that is easiest to read.
//! 3. If there is no answer yet: an estimate of the size, then the search with the whole budget.
//! 4. The failure with the fewest context switches is run again with its trace, and the step
//!    after which nothing can save it is searched for.

use crate::backend;
use crate::dpor::{Config, Dpor, Sink, Stats};
use crate::families::{self, Seen};
use crate::orders::{Answers, Cut, Sequential};
use crate::replay::{context_switches, record};
use crate::{
    Backend, Bounds, FailAt, Failure, Finding, ModelError, Progress, Subject, Unexplained, Watch,
};
use std::collections::{BTreeMap, BTreeSet};
use uapi::outcome::{Ending, LockClass, Outcome};
use uapi::program::Limits;
use uapi::step::Cpu;
use uapi::verdict::Verdict;

/// Executions of the first, short search.
const SHORT: u64 = 4_096;
/// Executions of each search with a preemption bound.
const BOUNDED: u64 = 2_048;
/// Random descents of the estimate.
const DESCENTS: u64 = 64;
/// Executions of each probe for the point of no return.
const PROBE: u64 = 20_000;

/// A failing execution.
#[derive(Clone, Debug)]
struct Best {
    switches: u32,
    choices: Vec<Cpu>,
    subject: Subject,
    fail: Vec<FailAt>,
    recycle: bool,
}

/// What the searches have found so far, over all members of the family.
#[derive(Default)]
struct Total {
    executions: u64,
    failed: u64,
    pruned: u64,
    /// Executions of every search, for the budget.
    started: u64,
    splats: BTreeMap<String, u64>,
    best: Option<Best>,
    refused: bool,
    cut: bool,
    interrupted: bool,
    steps_max_hit: bool,
    estimate: Option<f64>,
    late_wakeups: u64,
    lock_order: BTreeSet<(LockClass, LockClass)>,
    /// Different answers of passing executions that no order of the calls explains.
    unexplained: u64,
    /// The first of them.
    odd: Option<Best>,
    /// Which answers were not looked at.
    cut_answers: Cut,
}

/// Counts one search of one member.
struct Tally<'a> {
    subject: &'a Subject,
    fail: &'a [FailAt],
    recycle: bool,
    watch: &'a mut dyn Watch,
    total: &'a mut Total,
    /// Stops at the first failure.
    first_failure: bool,
    seen: Seen,
    fraction: f64,
    executions: u64,
    failed: u64,
    pruned: u64,
    late_wakeups: u64,
    answers: Answers,
    splats: BTreeMap<String, u64>,
    interrupted: bool,
}

impl Tally<'_> {
    fn fails(&mut self, choices: &[Cpu], outcome: &Outcome) {
        self.failed += 1;
        *self.splats.entry(outcome.splats[0].to_string()).or_default() += 1;
        let switches = context_switches(choices);
        let better = self
            .total
            .best
            .as_ref()
            .is_none_or(|b| (switches, choices.len()) < (b.switches, b.choices.len()));
        if better {
            self.total.best = Some(Best {
                switches,
                choices: choices.to_vec(),
                subject: self.subject.clone(),
                fail: self.fail.to_vec(),
                recycle: self.recycle,
            });
        }
    }
}

impl Sink for Tally<'_> {
    fn executed(&mut self, choices: &[Cpu], outcome: Option<Outcome>, stats: &Stats) -> bool {
        match outcome {
            None => self.pruned += 1,
            Some(outcome) => {
                self.executions += 1;
                self.total.steps_max_hit |= outcome.ending == Ending::StepLimit;
                self.seen.look(&outcome, self.fail);
                self.late_wakeups += u64::from(outcome.late_wakeups > 0);
                self.answers.look(&outcome, choices);
                for order in &outcome.lock_order {
                    if !self.total.lock_order.contains(order) {
                        self.total.lock_order.insert(*order);
                    }
                }
                if !outcome.splats.is_empty() {
                    self.fails(choices, &outcome);
                    if self.first_failure {
                        return false;
                    }
                }
            }
        }
        if stats.started % 1_024 == 0 {
            let executions = self.total.executions + self.executions;
            let measured = self.executions as f64 / stats.fraction;
            // The tree grows while it is searched; what was said to be done stays done.
            self.fraction = self.fraction.max(stats.fraction);
            self.watch.progress(&Progress {
                executions,
                failed: self.total.failed + self.failed,
                fraction: self.fraction,
                // The tree itself is the better witness once a part of it is done.
                estimate: if stats.fraction > 0.02 { Some(measured) } else { self.total.estimate },
            });
            self.interrupted = self.watch.interrupted();
        }
        !self.interrupted
    }

    fn restarted(&mut self) {
        self.executions = 0;
        self.failed = 0;
        self.pruned = 0;
        self.late_wakeups = 0;
        self.answers = Answers::default();
        self.splats.clear();
    }
}

/// Everything that a search of one member needs.
struct Member<'a> {
    subject: &'a Subject,
    fail: &'a [FailAt],
    limits: Limits,
    bounds: &'a Bounds,
    backend: Backend,
}

/// How one search ended.
struct Searched {
    exhausted: bool,
    refused: bool,
    started: u64,
    /// Part of the tree that was done at the last look.
    fraction: f64,
    seen: Seen,
    counts: (u64, u64, u64),
    late_wakeups: u64,
    answers: Answers,
    splats: BTreeMap<String, u64>,
    interrupted: bool,
}

impl Member<'_> {
    fn search(
        &self,
        config: Config,
        first_failure: bool,
        total: &mut Total,
        watch: &mut dyn Watch,
    ) -> Result<Searched, ModelError> {
        let mut tally = Tally {
            subject: self.subject,
            fail: self.fail,
            recycle: self.limits.recycle,
            watch,
            total,
            first_failure,
            seen: Seen::default(),
            fraction: 0.0,
            executions: 0,
            failed: 0,
            pruned: 0,
            late_wakeups: 0,
            answers: Answers::default(),
            splats: BTreeMap::new(),
            interrupted: false,
        };
        let (exhausted, stats) = explore(self, config, &mut tally)?;
        Ok(Searched {
            exhausted: exhausted && !tally.interrupted,
            refused: stats.refused,
            started: stats.started,
            fraction: stats.fraction,
            counts: (tally.executions, tally.failed, tally.pruned),
            late_wakeups: tally.late_wakeups,
            answers: tally.answers,
            splats: tally.splats,
            interrupted: tally.interrupted,
            seen: tally.seen,
        })
    }

    fn config(&self, executions_max: u64, preemptions_max: Option<u32>) -> Config {
        Config {
            dependence: self.bounds.dependence,
            executions_max,
            preemptions_max,
            ..Config::default()
        }
    }

    /// All searches of one member. What they found is added to `total`.
    fn decide(&self, total: &mut Total, watch: &mut dyn Watch) -> Result<Seen, ModelError> {
        let bound = self.bounds.preemptions_max;
        let left = self.bounds.executions_max.saturating_sub(total.started);
        let mut found = self.search(self.config(SHORT.min(left), bound), false, total, watch)?;
        total.started += found.started;
        let unanswered = !found.exhausted && !found.interrupted;
        if (found.counts.1 > 0 || unanswered) && !found.interrupted {
            for preemptions in 0..=2 {
                let config = self.config(BOUNDED, Some(preemptions));
                let bounded = self.search(config, true, total, watch)?;
                if bounded.counts.1 > 0 || bounded.interrupted || !bounded.refused {
                    break;
                }
            }
        }
        let left = self.bounds.executions_max.saturating_sub(total.started);
        if unanswered && left > SHORT {
            self.estimate(&found, total)?;
            found = self.search(self.config(left, bound), false, total, watch)?;
            total.started += found.started;
        }
        total.executions += found.counts.0;
        total.failed += found.counts.1;
        total.pruned += found.counts.2;
        total.late_wakeups += found.late_wakeups;
        self.explain(&found.answers, total)?;
        for (splat, n) in found.splats {
            *total.splats.entry(splat).or_default() += n;
        }
        total.refused |= found.refused;
        total.interrupted |= found.interrupted;
        total.cut |= !found.exhausted && !found.interrupted;
        Ok(Seen { over: total.cut || total.interrupted, ..found.seen })
    }

    /// Looks for answers that no order of the calls explains.
    fn explain(&self, answers: &Answers, total: &mut Total) -> Result<(), ModelError> {
        let sequential =
            Sequential::new(self.subject, self.fail, &self.bounds.permitted, self.limits);
        let cut = sequential.unexplained(answers, |choices| {
            total.unexplained += 1;
            let switches = context_switches(choices);
            if total.odd.as_ref().is_none_or(|odd| switches < odd.switches) {
                total.odd = Some(Best {
                    switches,
                    choices: choices.to_vec(),
                    subject: self.subject.clone(),
                    fail: self.fail.to_vec(),
                    recycle: self.limits.recycle,
                });
            }
        })?;
        total.cut_answers.answers |= cut.answers;
        total.cut_answers.orders |= cut.orders;
        Ok(())
    }

    /// Two estimates, both of them too low more often than too high: Knuth's, from random
    /// descents and the backtrack sets that the races of each imply, and the part of the tree
    /// that the short search has done. The larger one is kept.
    fn estimate(&self, short: &Searched, total: &mut Total) -> Result<(), ModelError> {
        struct Ignore;
        impl Sink for Ignore {
            fn executed(&mut self, _: &[Cpu], _: Option<Outcome>, _: &Stats) -> bool {
                true
            }
        }
        let config =
            Config { descents: Some((DESCENTS, self.bounds.seed)), ..self.config(DESCENTS, None) };
        let (_, stats) = explore(self, config, &mut Ignore)?;
        let (sum, n) = stats.descents;
        let knuth = if n > 0 { sum / n as f64 } else { 0.0 };
        let measured =
            if short.fraction > 0.0 { short.counts.0 as f64 / short.fraction } else { 0.0 };
        *total.estimate.get_or_insert(0.0) += knuth.max(measured);
        Ok(())
    }
}

/// Drives one exploration; whether it exhausted, and what it knows.
fn explore(
    member: &Member<'_>,
    config: Config,
    sink: &mut dyn Sink,
) -> Result<(bool, Stats), ModelError> {
    let mut dpor = Dpor::new(config, sink);
    backend::explore(member.backend, member.subject, &mut dpor, &member.limits)?;
    match dpor.broken.take() {
        Some(what) => Err(ModelError::Malformed(what)),
        None => Ok((dpor.exhausted, dpor.stats.clone())),
    }
}

pub(crate) fn limits(bounds: &Bounds, recycle: bool) -> Limits {
    Limits {
        steps_max: bounds.steps_max,
        recycle,
        dependence: bounds.dependence,
        ..Limits::default()
    }
}

/// Decides: explores every interleaving within the bounds.
///
/// # Errors
///
/// If the subject cannot be run at all.
pub fn dpor(
    subject: &Subject,
    bounds: &Bounds,
    backend: Backend,
    watch: &mut dyn Watch,
) -> Result<Finding, ModelError> {
    let total = std::cell::RefCell::new(Total::default());
    let note = families::each(
        subject,
        bounds.recycle,
        &mut |subject, fail, recycle| {
            let limits = limits(bounds, recycle);
            let member = Member { subject, fail, limits, bounds, backend };
            let mut total = total.borrow_mut();
            let before = (total.executions, total.failed, total.pruned);
            let splats = total.splats.clone();
            let odd = (total.late_wakeups, total.unexplained, total.odd.clone());
            let seen = member.decide(&mut total, watch)?;
            if !fail.is_empty() && !seen.injected {
                // The failure was not reached: these executions are those without it.
                (total.executions, total.failed, total.pruned) = before;
                total.splats = splats;
                (total.late_wakeups, total.unexplained, total.odd) = odd;
            }
            Ok(seen)
        },
        &mut || *total.borrow_mut() = Total::default(),
    )?;
    let mut total = total.into_inner();
    let exhausted = !total.cut && !total.interrupted && !total.refused && !total.steps_max_hit;
    let failure = match total.best.take() {
        Some(best) => failure(&best, &total, bounds, backend)?,
        None => None,
    };
    // Only the search with few preemptions saw it, before the budget of the deciding one ended: that
    // execution is one of those that were run.
    if let (Some(failure), 0) = (&failure, total.failed) {
        (total.failed, total.executions) = (1, total.executions + 1);
        total.splats.insert(failure.splat.to_string(), 1);
    }
    let unexplained = match total.odd.take() {
        Some(odd) => Some(unexplained(&odd, total.unexplained, bounds, backend)?),
        None => None,
    };
    Ok(Finding {
        verdict: verdict(&total, exhausted, failure.as_ref()),
        failed: total.failed,
        executions: total.executions,
        exhausted,
        note: describe(&total, bounds, exhausted) + &note,
        splats: total.splats,
        failure,
        pruned: total.pruned,
        estimate: total.estimate.map(|n| n as u64),
        steps_max_hit: total.steps_max_hit,
        late_wakeups: total.late_wakeups,
        lock_order: total.lock_order,
        unexplained,
    })
}

fn verdict(total: &Total, exhausted: bool, failure: Option<&Failure>) -> Verdict {
    // A failure that only a bounded search saw is a failure, even if the budget of the deciding
    // search ended before it.
    match failure {
        // That there is no other is open if the search is not exhausted; whoever judges it says so.
        Some(f) if total.failed == total.executions => {
            Verdict::Always { splat: f.splat.to_string() }
        }
        Some(f) => Verdict::Sometimes { splat: f.splat.to_string() },
        None if exhausted && total.executions > 0 => Verdict::Never,
        None => Verdict::NotExhausted,
    }
}

fn describe(total: &Total, bounds: &Bounds, exhausted: bool) -> String {
    let mut parts: Vec<String> = Vec::new();
    if exhausted {
        parts.push("exhausted".to_string());
    }
    if total.interrupted {
        parts.push("interrupted".to_string());
    } else if total.cut {
        parts.push(format!("executions <= {}", bounds.executions_max));
    }
    if let (true, Some(n)) = (total.refused, bounds.preemptions_max) {
        parts.push(format!("preemptions <= {n}"));
    }
    if total.steps_max_hit {
        parts.push(format!("steps <= {}", bounds.steps_max));
    }
    if total.late_wakeups > 0 {
        parts.push(format!("late wake-up in {}", total.late_wakeups));
    }
    if total.unexplained > 0 {
        parts.push(format!("{} answers in no order of the calls", total.unexplained));
    }
    parts.extend(total.cut_answers.bounds());
    parts.join(", ")
}

fn unexplained(
    odd: &Best,
    answers: u64,
    bounds: &Bounds,
    backend: Backend,
) -> Result<Unexplained, ModelError> {
    let limits = limits(bounds, odd.recycle);
    let recorded = record(&odd.subject, &odd.fail, &odd.choices, &limits, backend)?;
    let (outcome, schedule) = recorded.ok_or_else(|| {
        ModelError::Malformed("the model is not deterministic: an execution differs".to_string())
    })?;
    Ok(Unexplained { answers, outcome, schedule })
}

fn failure(
    best: &Best,
    total: &Total,
    bounds: &Bounds,
    backend: Backend,
) -> Result<Option<Failure>, ModelError> {
    let limits = limits(bounds, best.recycle);
    let recorded = record(&best.subject, &best.fail, &best.choices, &limits, backend)?;
    let Some((outcome, schedule)) = recorded else {
        return Err(ModelError::Malformed(
            "the model is not deterministic: a failing interleaving did not fail again".to_string(),
        ));
    };
    let Some(splat) = outcome.splats.first().cloned() else {
        return Err(ModelError::Malformed(
            "the model is not deterministic: a failing interleaving passed".to_string(),
        ));
    };
    let member = Member { subject: &best.subject, fail: &best.fail, limits, bounds, backend };
    let always = total.failed == total.executions && total.executions > 0;
    let lost = if always { None } else { point_of_no_return(&member, &best.choices)? };
    Ok(Some(Failure {
        splat,
        context_switches: best.switches,
        point_of_no_return: lost.and_then(|n| trace_index(&outcome, n)),
        schedule,
        outcome,
    }))
}

/// Index in the trace of scheduling point `n`.
fn trace_index(outcome: &Outcome, n: usize) -> Option<usize> {
    let steps = &outcome.trace.as_ref()?.steps;
    steps.iter().enumerate().filter(|(_, s)| s.scheduling_point).nth(n).map(|(i, _)| i)
}

/// The step after which no passing completion exists. `None`: there was none from the start, or
/// the budget of a probe ran out.
fn point_of_no_return(member: &Member<'_>, choices: &[Cpu]) -> Result<Option<usize>, ModelError> {
    // With `lost` choices fixed nothing passes; with `open` choices something does.
    let (mut open, mut lost) = (0, choices.len());
    match passes(member, &[])? {
        Some(true) => {}
        Some(false) | None => return Ok(None),
    }
    while lost - open > 1 {
        let middle = open + (lost - open) / 2;
        match passes(member, &choices[..middle])? {
            Some(true) => open = middle,
            Some(false) => lost = middle,
            None => return Ok(None),
        }
    }
    Ok(lost.checked_sub(1))
}

/// Whether some completion of these choices prints nothing. `None`: not known within the budget.
fn passes(member: &Member<'_>, prefix: &[Cpu]) -> Result<Option<bool>, ModelError> {
    struct FirstPass(bool);
    impl Sink for FirstPass {
        fn executed(&mut self, _: &[Cpu], outcome: Option<Outcome>, _: &Stats) -> bool {
            self.0 |= outcome.is_some_and(|o| o.splats.is_empty() && o.ending == Ending::Complete);
            !self.0
        }
    }
    let config = Config { prefix: prefix.to_vec(), ..member.config(PROBE, None) };
    let mut found = FirstPass(false);
    let (exhausted, _) = explore(member, config, &mut found)?;
    Ok(if found.0 { Some(true) } else { exhausted.then_some(false) })
}
