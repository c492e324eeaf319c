//! What a run leaves for machines: `verdicts.json` and the failure files.
//!
//! No times and no paths of the machine stand in here: the same run gives the same bytes.

use crate::check::{Answer, Answered, Question};
use crate::judge::spelt;
use crate::run::Summary;
use races::Failure;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use uapi::outcome::Outcome;
use uapi::pick::Subject;

/// Version of these formats. It grows when a reader of the old one could misread the new one.
pub const FORMAT: u32 = 1;

/// `verdicts.json`
#[derive(Serialize, Deserialize, Debug)]
pub struct Verdicts {
    /// [`FORMAT`]
    pub format: u32,
    /// Version of the testbed.
    pub testbed: String,
    /// Whether the user ended the run before all questions were answered.
    pub interrupted: bool,
    /// The exit code of the run.
    pub exit: u8,
    /// How many questions had which worth.
    pub summary: BTreeMap<String, usize>,
    /// The questions, in the order of the run.
    pub questions: Vec<QuestionRecord>,
}

/// One scenario on one row.
#[derive(Serialize, Deserialize, Debug)]
pub struct QuestionRecord {
    /// Name of the scenario.
    pub scenario: String,
    /// The row.
    pub revision: String,
    /// What is asked.
    pub question: String,
    /// Where the question comes from.
    pub source: String,
    /// The recorded verdict as the file spells it.
    pub recorded: String,
    /// What the answers are worth: `as_recorded`, `differs`, `undecided`, `evidence`,
    /// `interrupted`.
    pub judgement: String,
    /// Why, where there is something to say.
    pub reason: Option<String>,
    /// One entry per explorer.
    pub observations: Vec<Observation>,
}

/// One explorer's answer.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct Observation {
    /// Who.
    pub explorer: String,
    /// The word, as on the Observation line; `Broken` if the explorer could not run.
    pub verdict: String,
    /// Failing executions.
    pub failed: u64,
    /// All executions.
    pub executions: u64,
    /// Executions that were ended early as redundant.
    pub pruned: u64,
    /// Whether every execution within the bounds was run.
    pub exhausted: bool,
    /// The bounds in words, or why the explorer could not run.
    pub note: String,
    /// First splats of the failing executions, with their number.
    pub splats: BTreeMap<String, u64>,
    /// The command that replays the failure.
    pub replay: Option<String>,
}

impl Verdicts {
    /// Of a run.
    pub fn of(answered: &[Answered], summary: &Summary) -> Verdicts {
        Verdicts {
            format: FORMAT,
            testbed: env!("CARGO_PKG_VERSION").to_owned(),
            interrupted: summary.interrupted,
            exit: summary.exit().code(),
            summary: summary.counts.iter().map(|(word, n)| ((*word).to_owned(), *n)).collect(),
            questions: answered.iter().map(question).collect(),
        }
    }
}

fn question(answered: &Answered) -> QuestionRecord {
    let Answered { question, answers, judgement } = answered;
    QuestionRecord {
        scenario: question.scenario.name.clone(),
        revision: question.revision.clone(),
        question: question.scenario.question.clone(),
        source: question.scenario.source.clone(),
        recorded: spelt(&question.expected),
        judgement: judgement.word().to_owned(),
        reason: judgement.reason().map(str::to_owned),
        observations: answers.iter().map(|a| observation(question, a)).collect(),
    }
}

/// What one explorer said, as data.
pub fn observation(question: &Question, answer: &Answer) -> Observation {
    let explorer = answer.explorer.name().to_owned();
    match &answer.result {
        Ok(finding) => Observation {
            explorer,
            verdict: finding.verdict.word().to_owned(),
            failed: finding.failed,
            executions: finding.executions,
            pruned: finding.pruned,
            exhausted: finding.exhausted,
            note: finding.note.clone(),
            splats: finding.splats.clone(),
            replay: finding
                .failure
                .as_ref()
                .filter(|f| !f.schedule.segments.is_empty())
                .map(|f| question.token(&f.schedule).command()),
        },
        Err(e) => Observation {
            explorer,
            verdict: "Broken".to_owned(),
            failed: 0,
            executions: 0,
            pruned: 0,
            exhausted: false,
            note: e.clone(),
            splats: BTreeMap::new(),
            replay: None,
        },
    }
}

/// A failure file: everything that `replay` needs, the program included, so that it can be sent
/// to somebody who does not have the scenario.
#[derive(Serialize, Deserialize, Debug)]
pub struct FailureFile {
    /// [`FORMAT`]
    pub format: u32,
    /// Version of the testbed.
    pub testbed: String,
    /// How the token names the scenario.
    pub scenario: String,
    /// The row.
    pub revision: String,
    /// What is asked.
    pub question: String,
    /// The first splat.
    pub splat: String,
    /// The interleaving.
    pub schedule: String,
    /// How often the CPU changed.
    pub context_switches: u32,
    /// Index of the step after which no passing completion exists.
    pub point_of_no_return: Option<usize>,
    /// What ran.
    pub subject: Subject,
    /// What it gave, with its trace.
    pub outcome: Outcome,
}

impl FailureFile {
    /// Reads the text of a file that a run left.
    ///
    /// # Errors
    ///
    /// If it is none, or one of another format.
    pub fn parse(text: &str) -> Result<FailureFile, String> {
        let file: FailureFile = serde_json::from_str(text).map_err(|e| e.to_string())?;
        match file.format {
            FORMAT => Ok(file),
            format => Err(format!("it has format {format}, this testbed reads {FORMAT}")),
        }
    }

    /// Of a failure.
    pub fn of(question: &Question, failure: &Failure) -> FailureFile {
        FailureFile {
            format: FORMAT,
            testbed: env!("CARGO_PKG_VERSION").to_owned(),
            scenario: question.called.clone(),
            revision: question.revision.clone(),
            question: question.scenario.question.clone(),
            splat: failure.splat.to_string(),
            schedule: failure.schedule.to_string(),
            context_switches: failure.context_switches,
            point_of_no_return: failure.point_of_no_return,
            subject: question.subject(),
            outcome: failure.outcome.clone(),
        }
    }
}

/// Pretty JSON with a line end.
///
/// # Errors
///
/// If the data cannot be written as JSON, which would be a bug of the testbed.
pub fn json<T: Serialize>(data: &T) -> Result<String, String> {
    serde_json::to_string_pretty(data)
        .map(|text| text + "\n")
        .map_err(|e| format!("cannot write JSON: {e}; please report this as a bug"))
}
