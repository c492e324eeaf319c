//! What is kept of a run, and of a whole simulation.
//!
//! A record is a line of the journal. Of what was reached and answered it keeps only what no record
//! before it in the same list had: their sum is that of all runs in whatever order they were made.

use races::simulate::Observed;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// One run.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// Its number.
    pub run: u64,
    /// Executions of its program.
    pub executions: u64,
    /// Their steps.
    pub steps: u64,
    /// Executions whose answers were not explained within the bound.
    pub unjudged: u64,
    /// A fingerprint of all executions.
    pub digest: u64,
    /// Classes that it shows, with the number of executions.
    pub shown: BTreeMap<String, u64>,
    /// Call sites that it reaches.
    pub reached: BTreeSet<u16>,
    /// What its calls answer.
    pub answered: BTreeSet<String>,
}

impl Record {
    /// Of what was observed.
    pub fn of(run: u64, observed: &Observed) -> Record {
        let shown = observed.shown.iter();
        let answered = observed.answered.iter();
        Record {
            run,
            executions: observed.executions,
            steps: observed.steps,
            unjudged: observed.unjudged,
            digest: observed.digest,
            shown: shown.map(|(class, n)| (class.text().to_owned(), n.executions)).collect(),
            reached: observed.reached.clone(),
            answered: answered.map(|(name, ret)| format!("{name} {ret}")).collect(),
        }
    }
}

/// The records of a simulation, by run.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Records {
    runs: BTreeMap<u64, Record>,
    reached: BTreeSet<u16>,
    answered: BTreeSet<String>,
}

impl Records {
    /// Adds a run; what comes back is the record to keep, or nothing if the run is there already.
    pub fn add(&mut self, mut record: Record) -> Option<&Record> {
        let run = record.run;
        if self.runs.contains_key(&run) {
            return None;
        }
        let (reached, answered) = (&mut self.reached, &mut self.answered);
        record.reached.retain(|site| reached.insert(*site));
        record.answered.retain(|answer| answered.insert(answer.clone()));
        self.runs.insert(run, record);
        self.runs.get(&run)
    }

    /// Whether the run was made.
    pub fn has(&self, run: u64) -> bool {
        self.runs.contains_key(&run)
    }

    /// All runs, in order.
    pub fn runs(&self) -> impl Iterator<Item = &Record> {
        self.runs.values()
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.runs.len() as u64
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Numbers between the first and the last run that are missing.
    pub fn missing(&self) -> u64 {
        match (self.runs.keys().next(), self.runs.keys().next_back()) {
            // The first and the last one are there: a number behind the last need not exist.
            (Some(first), Some(last)) => (last - first) - (self.len() - 1),
            _ => 0,
        }
    }

    /// Call sites that some run reaches.
    pub fn reached(&self) -> &BTreeSet<u16> {
        &self.reached
    }

    /// What calls answer in some run.
    pub fn answered(&self) -> &BTreeSet<String> {
        &self.answered
    }

    /// Each class with the runs that show it, in the order of the first of them.
    pub fn classes(&self) -> Vec<(&str, Vec<u64>)> {
        let mut classes: BTreeMap<&str, Vec<u64>> = BTreeMap::new();
        for record in self.runs() {
            for class in record.shown.keys() {
                classes.entry(class).or_default().push(record.run);
            }
        }
        let mut classes: Vec<(&str, Vec<u64>)> = classes.into_iter().collect();
        classes.sort_by_key(|(class, runs)| (runs.first().copied(), *class));
        classes
    }
}
