//! Random search with shuttle's schedulers, from fixed seeds.
//!
//! Evidence beside the decision of the reducing explorer: a sampler says `None seen`, never
//! `Never`. It runs on shuttle's own executor and shares no scheduling code with the others.

use crate::families::{self, Seen};
use crate::{Bounds, Finding, ModelError, Progress, Sampler, Subject, Watch};
use std::collections::{BTreeMap, BTreeSet};
use uapi::outcome::Ending;
use uapi::program::Limits;
use uapi::verdict::Verdict;

/// The schedulers of the portfolio: uniform over CPUs, uniform over interleavings, and a few
/// priority changes at random places.
pub const PORTFOLIO: [Sampler; 3] = [Sampler::Random, Sampler::Urw, Sampler::Pct(3)];

/// What a sampler or loom has counted. Neither can replay, so no failure is kept, only its text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Samples {
    pub executions: u64,
    pub failed: u64,
    pub splats: BTreeMap<String, u64>,
    /// The first splat of the first failing execution.
    pub first: Option<String>,
    pub steps_max_hit: bool,
}

impl Samples {
    pub fn count(&mut self, outcome: &uapi::outcome::Outcome) {
        self.executions += 1;
        self.steps_max_hit |= outcome.ending == Ending::StepLimit;
        if let Some(splat) = outcome.splats.first() {
            let text = splat.to_string();
            self.failed += 1;
            self.first.get_or_insert_with(|| text.clone());
            *self.splats.entry(text).or_default() += 1;
        }
    }

    pub fn finding(self, exhausted: bool, note: String) -> Finding {
        Finding {
            verdict: match self.first {
                Some(splat) => Verdict::Sometimes { splat },
                None => Verdict::NoneSeen,
            },
            failed: self.failed,
            executions: self.executions,
            exhausted,
            note,
            splats: self.splats,
            failure: None,
            pruned: 0,
            estimate: None,
            steps_max_hit: self.steps_max_hit,
            late_wakeups: 0,
            lock_order: BTreeSet::new(),
            unexplained: None,
        }
    }
}

fn name(sampler: Sampler) -> String {
    match sampler {
        Sampler::Random => "random".to_string(),
        Sampler::Urw => "urw".to_string(),
        Sampler::Pct(depth) => format!("pct({depth})"),
        Sampler::Dfs => "dfs".to_string(),
    }
}

/// Samples with shuttle's random schedulers: [`PORTFOLIO`].
///
/// # Errors
///
/// If the subject cannot be run at all.
pub fn portfolio(
    subject: &Subject,
    bounds: &Bounds,
    watch: &mut dyn Watch,
) -> Result<Vec<(Sampler, Finding)>, ModelError> {
    crate::backend::clear_environment();
    PORTFOLIO
        .into_iter()
        .map(|sampler| Ok((sampler, sample(subject, bounds, sampler, watch)?)))
        .collect()
}

fn sample(
    subject: &Subject,
    bounds: &Bounds,
    sampler: Sampler,
    watch: &mut dyn Watch,
) -> Result<Finding, ModelError> {
    let total = std::cell::RefCell::new(Samples::default());
    let interrupted = std::cell::Cell::new(false);
    let note = families::each(
        subject,
        bounds.recycle,
        &mut |subject, fail, recycle| {
            let limits = Limits {
                steps_max: bounds.steps_max,
                recycle,
                dependence: bounds.dependence,
                ..Limits::default()
            };
            let mut counted = total.borrow().clone();
            let mut seen = Seen::default();
            let mut on_outcome = |outcome: uapi::outcome::Outcome| {
                counted.count(&outcome);
                seen.look(&outcome, fail);
                if counted.executions % 1_000 == 0 {
                    watch.progress(&Progress {
                        executions: counted.executions,
                        failed: counted.failed,
                        fraction: (counted.executions as f64 / bounds.samples.max(1) as f64)
                            .min(1.0),
                        estimate: Some(bounds.samples as f64),
                    });
                    interrupted.set(watch.interrupted());
                }
                !interrupted.get()
            };
            model_shuttle::sample(
                subject,
                sampler,
                bounds.seed,
                bounds.samples,
                &limits,
                &mut on_outcome,
            )?;
            seen.over = interrupted.get();
            if fail.is_empty() || seen.injected {
                *total.borrow_mut() = counted;
            }
            Ok(seen)
        },
        &mut || *total.borrow_mut() = Samples::default(),
    )?;
    let stopped = if interrupted.get() { ", interrupted" } else { "" };
    let note = format!("{}, seed {}{stopped}{note}", name(sampler), bounds.seed);
    Ok(total.into_inner().finding(false, note))
}
