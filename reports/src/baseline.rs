//! `--baseline FILE`: what a run gives otherwise than one that was kept.
//!
//! The file of `check` is what `check --format json` prints, that of `sweep` what `sweep --format
//! json` prints; either is committed and compared with later runs. Compared is what is the same on
//! every machine: the worth of each question, the verdicts, the executions of the explorers that
//! went to the end, the figures of the cost model. Only what both runs asked is compared.

use crate::files;
use crate::record::{Observation, QuestionRecord, Verdicts, FORMAT};
use crate::values::grouped;
use serde_json::Value;
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::path::Path;

/// Lines of a comparison: with its closing lines it fits a screen.
const LINES_MAX: usize = 18;

/// Names in a line of what only one of the runs has.
const NAMES_MAX: usize = 3;

/// A baseline is at most some megabytes; anything larger is another file.
const BYTES_MAX: u64 = 64 << 20;

/// What changed.
#[derive(Clone, Debug, Default)]
pub struct Comparison {
    /// One line each.
    pub changes: Vec<String>,
    /// What both runs have.
    pub compared: usize,
    /// What only this run has.
    pub new: Vec<String>,
    /// What only the baseline has.
    pub gone: Vec<String>,
}

/// The first of them, and how many there are.
fn some(names: &[String]) -> String {
    let shown = names.iter().take(NAMES_MAX).cloned().collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMES_MAX) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

impl Comparison {
    /// A comparison that has nothing to compare shows nothing: that is no pass.
    fn of_something(mut self) -> Comparison {
        if self.compared == 0 && !self.new.is_empty() {
            self.changes.push(
                "nothing of this run is in the baseline: compare it with one of the same questions, or \
                 write it anew"
                    .to_owned(),
            );
        }
        self
    }

    /// One screen of it.
    pub fn text(&self, unit: &str) -> String {
        let mut text = String::new();
        for change in self.changes.iter().take(LINES_MAX) {
            let _ = writeln!(text, "changed: {change}");
        }
        if let Some(more @ 1..) = self.changes.len().checked_sub(LINES_MAX) {
            let _ = writeln!(text, "changed: {more} more");
        }
        for (what, names) in [("new", &self.new), ("not in this run", &self.gone)] {
            if !names.is_empty() {
                let _ = writeln!(text, "{what}: {}", some(names));
            }
        }
        let _ = writeln!(
            text,
            "baseline: {} of {} {unit} changed; {} new, {} not in this run",
            self.changes.len().min(self.compared),
            self.compared,
            self.new.len(),
            self.gone.len()
        );
        text
    }
}

/// Reads what `check --format json` printed.
///
/// # Errors
///
/// If it is not that; the message says what would be.
pub fn verdicts(path: &Path) -> Result<Verdicts, String> {
    let verdicts: Verdicts = read(path, "check")?;
    match verdicts.format {
        FORMAT => Ok(verdicts),
        format => Err(format!(
            "the baseline {} has format {format}, this testbed reads {FORMAT}; write it anew with \
             `check --format json`",
            path.display()
        )),
    }
}

/// Reads what `sweep --format json` printed.
///
/// # Errors
///
/// If it is not that; the message says what would be.
pub fn sweep(path: &Path) -> Result<Value, String> {
    let value: Value = read(path, "sweep")?;
    match value["studies"].is_array() {
        true => Ok(value),
        false => Err(bad(path, "sweep", "it has no `studies`")),
    }
}

fn read<T: serde::de::DeserializeOwned>(path: &Path, command: &str) -> Result<T, String> {
    let text = files::read(path, BYTES_MAX).map_err(|e| bad(path, command, e))?;
    serde_json::from_str(&text).map_err(|e| bad(path, command, e))
}

fn bad(path: &Path, command: &str, why: impl std::fmt::Display) -> String {
    format!(
        "cannot read the baseline {}: {why}; `{command} --format json > FILE` writes one",
        path.display()
    )
}

/// Compares two runs of `check`. Of questions with one name, in the order in which they stand.
pub fn compare(before: &Verdicts, now: &Verdicts) -> Comparison {
    let key = |q: &QuestionRecord| (q.scenario.clone(), q.revision.clone());
    let mut old: BTreeMap<_, VecDeque<&QuestionRecord>> = BTreeMap::new();
    for question in &before.questions {
        old.entry(key(question)).or_default().push_back(question);
    }
    let mut comparison = Comparison::default();
    for question in &now.questions {
        match old.get_mut(&key(question)).and_then(VecDeque::pop_front) {
            None => {
                comparison.new.push(format!("{} on {}", question.scenario, question.revision));
            }
            Some(was) => {
                comparison.compared += 1;
                let changes = changes(was, question);
                if !changes.is_empty() {
                    let (name, row) = (&question.scenario, &question.revision);
                    comparison.changes.push(format!("{name} on {row}: {}", changes.join("; ")));
                }
            }
        }
    }
    let gone = old.values().flatten().map(|q| format!("{} on {}", q.scenario, q.revision));
    comparison.gone = gone.collect();
    comparison.of_something()
}

fn changes(was: &QuestionRecord, is: &QuestionRecord) -> Vec<String> {
    let mut changes = Vec::new();
    if was.judgement != is.judgement {
        changes.push(format!("{} -> {}", was.judgement, is.judgement));
    }
    for now in &is.observations {
        let then = was.observations.iter().find(|o| o.explorer == now.explorer).map(said);
        if let Some(then) = then.filter(|then| *then != said(now)) {
            changes.push(format!("{} {then} -> {}", now.explorer, said(now)));
        }
    }
    changes
}

/// What can be compared: a sampler's and an unfinished run's counts depend on its bounds.
fn said(o: &Observation) -> String {
    match o.exhausted {
        true => format!("{} {} / {}", o.verdict, grouped(o.failed), grouped(o.executions)),
        false => o.verdict.clone(),
    }
}

/// The figures of a point that are compared; the rest says which point it is.
const FIGURES: [&str; 9] = [
    "invalidations_per_s",
    "least_per_s",
    "most_per_s",
    "commands_per_s",
    "p50_ps",
    "p99_ps",
    "cpu_ps",
    "syncs_per_1000",
    "cas_permille",
];

/// Compares two runs of `sweep`.
pub fn compare_sweeps(before: &Value, now: &Value) -> Comparison {
    let mut old = points(before);
    let mut comparison = Comparison::default();
    for (key, is) in points(now) {
        match old.remove(&key) {
            None => comparison.new.push(key),
            Some(was) => {
                comparison.compared += 1;
                let differs = FIGURES.iter().filter(|f| was[**f] != is[**f]);
                let changes: Vec<String> =
                    differs.map(|f| format!("{f} {} -> {}", was[*f], is[*f])).collect();
                if !changes.is_empty() {
                    comparison.changes.push(format!("{key}: {}", changes.join(", ")));
                }
            }
        }
    }
    comparison.gone = old.into_keys().collect();
    comparison.of_something()
}

/// The points of a sweep by what was asked.
fn points(sweep: &Value) -> BTreeMap<String, Value> {
    let studies = sweep["studies"].as_array().into_iter().flatten();
    let points = studies.flat_map(|s| s["points"].as_array().into_iter().flatten());
    let seeds = &sweep["seeds"];
    points
        .map(|point| {
            let asked = point.as_object().into_iter().flatten();
            let asked: Vec<String> = asked
                .filter(|(name, _)| !FIGURES.contains(&name.as_str()))
                .map(|(name, value)| format!("{name} {value}"))
                .collect();
            (format!("{}, seeds {seeds}", asked.join(", ")), point.clone())
        })
        .collect()
}
