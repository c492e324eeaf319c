//! What a report says, as data: the JSON of `report`, and what its page and its Markdown are made
//! of. The same run gives the same bytes, unless it is asked for times.

use super::interleaving::{interleaving, Interleaving};
use crate::calls::Calls;
use crate::catalogue::{bounds_text, kind};
use crate::check::{Answered, Question, Settings};
use crate::commands::page_of;
use crate::judge::spelt;
use crate::observation::counts;
use crate::record;
use crate::rows::all_rows;
use crate::run::Summary;
use crate::sweep;
use serde::{Deserialize, Serialize};
use smmuv3_timing::Profile;
use std::collections::BTreeMap;

/// Version of the format. It grows when a reader of the old one could misread the new one.
pub const FORMAT: u32 = 1;

/// What was found beyond the recorded verdicts.
const FINDINGS: &str = include_str!("../../findings.md");

/// How far the cost model can be trusted.
const COST_MODEL: &str = include_str!("../../cost-model.md");

/// Width of the pictures: a mail shows it, and so does half a screen.
const WIDTH: usize = 100;

/// A report.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct Report {
    /// [`FORMAT`]
    pub format: u32,
    /// Version of the testbed.
    pub testbed: String,
    /// Whether the user ended the run before all questions were answered.
    pub interrupted: bool,
    /// The exit code of the run.
    pub exit: u8,
    /// How the run ended, in words.
    pub summary: String,
    /// The rows that something is asked about.
    pub rows: Vec<Row>,
    /// The scenarios, in the order of the run.
    pub scenarios: Vec<Scenario>,
    /// What the cost model says.
    pub sweep: Option<Sweep>,
    /// What was found beyond the recorded verdicts, in Markdown.
    pub findings: String,
    /// How far the cost model can be trusted, in Markdown.
    pub cost_model: String,
}

/// A row of the kernel model.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct Row {
    /// Its name.
    pub name: String,
    /// For a twin: the row that it differs from.
    pub twin_of: Option<String>,
    /// What it is.
    pub doc: String,
}

/// One scenario with all that was said about it.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// `race`, `story` or `canary`.
    pub kind: String,
    /// What is asked.
    pub question: String,
    /// Where the question comes from.
    pub source: String,
    /// Remarks of its author.
    pub notes: Option<String>,
    /// The calls that set it up.
    pub setup: Vec<String>,
    /// The calls of each CPU.
    pub cpus: Vec<Vec<String>>,
    /// The calls behind all CPUs.
    pub finally: Vec<String>,
    /// How far the explorers may go.
    pub bounds: String,
    /// By row, in the order of the file.
    pub answers: Vec<Answer>,
}

/// What was said about a scenario on one row.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct Answer {
    /// The row.
    pub revision: String,
    /// The recorded verdict as the file spells it.
    pub recorded: String,
    /// What the answers are worth, as in [`record::QuestionRecord::judgement`].
    pub judgement: String,
    /// Why, where there is something to say.
    pub reason: Option<String>,
    /// The word of the deciding explorer, or of the only one that ran.
    pub verdict: String,
    /// `0 / 1,204`
    pub counts: String,
    /// One per explorer.
    pub observations: Vec<Observation>,
    /// The failure to show.
    pub interleaving: Option<Interleaving>,
}

/// One explorer's answer.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct Observation {
    /// What it said.
    #[serde(flatten)]
    pub said: record::Observation,
    /// How long it took, if that was asked for.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub milliseconds: Option<u64>,
}

/// What the cost model says.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct Sweep {
    /// The machine.
    pub profile: String,
    /// Seeds of each point.
    pub seeds: u64,
    /// The questions.
    pub studies: Vec<Study>,
}

/// One question to the cost model.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct Study {
    /// Name of the plot.
    pub name: String,
    /// The question.
    pub question: String,
    /// The answer in one sentence.
    pub advice: String,
    /// The numbers, the head first.
    pub table: Vec<Vec<String>>,
    /// The plot, an SVG.
    pub plot: String,
}

impl Report {
    /// Of a run.
    ///
    /// # Errors
    ///
    /// If a failure does not run again, which would be a bug of the testbed.
    pub fn of(
        answered: &[Answered],
        summary: &Summary,
        settings: &Settings,
        times: bool,
    ) -> Result<Report, String> {
        let of_scenario = answered.chunk_by(|a, b| a.question.called == b.question.called);
        let scenarios: Result<Vec<Scenario>, String> =
            of_scenario.map(|answered| scenario(answered, settings, times)).collect();
        let asked = |name: &str| answered.iter().any(|a| a.question.revision == name);
        let rows = all_rows().filter(|r| asked(r.name)).map(|r| Row {
            name: r.name.to_owned(),
            twin_of: r.twin_of.map(str::to_owned),
            doc: r.doc.to_owned(),
        });
        Ok(Report {
            format: FORMAT,
            testbed: env!("CARGO_PKG_VERSION").to_owned(),
            interrupted: summary.interrupted,
            exit: summary.exit().code(),
            summary: summary.closing(),
            rows: rows.collect(),
            scenarios: scenarios?,
            sweep: None,
            findings: FINDINGS.to_owned(),
            cost_model: COST_MODEL.to_owned(),
        })
    }
}

fn scenario(answered: &[Answered], settings: &Settings, times: bool) -> Result<Scenario, String> {
    let first = answered.first().ok_or("a scenario without a row: please report this as a bug")?;
    let question: &Question = &first.question;
    let own = &question.scenario;
    let asked: Vec<String> = answered.iter().map(|a| a.question.revision.clone()).collect();
    let Calls { setup, cpus, finally } = Calls::of(own, &asked);
    let answers: Result<Vec<Answer>, String> = answered.iter().map(|a| answer(a, times)).collect();
    Ok(Scenario {
        name: own.name.clone(),
        kind: kind(own).to_owned(),
        question: own.question.clone(),
        source: own.source.clone(),
        notes: own.notes.clone(),
        setup,
        cpus,
        finally,
        bounds: bounds_text(question, settings),
        answers: answers?,
    })
}

fn answer(answered: &Answered, times: bool) -> Result<Answer, String> {
    let question = &answered.question;
    let first = answered.answers.iter().filter_map(|a| a.result.as_ref().ok()).next();
    let finding = answered.deciding().or(first);
    let interleaving = match answered.failure() {
        Some(failure) => interleaving(question, failure, page_of(answered, failure, WIDTH))?,
        None => None,
    };
    let observation = |a: &crate::check::Answer| Observation {
        said: record::observation(question, a),
        milliseconds: times.then(|| u64::try_from(a.time.as_millis()).unwrap_or(u64::MAX)),
    };
    Ok(Answer {
        revision: question.revision.clone(),
        recorded: spelt(&question.expected),
        judgement: answered.judgement.word().to_owned(),
        reason: answered.judgement.reason().map(str::to_owned),
        verdict: finding.map_or("Broken", |f| f.verdict.word()).to_owned(),
        counts: finding.map_or(String::new(), counts),
        observations: answered.answers.iter().map(observation).collect(),
        interleaving,
    })
}

impl Sweep {
    /// The standing questions on a machine.
    ///
    /// # Errors
    ///
    /// If the cost model does not come to an end, which would be its fault.
    pub fn of(profile: &Profile, seeds: u64) -> Result<Sweep, String> {
        let mut go_on = || match crate::interrupt::requested() {
            true => Err("interrupted".to_owned()),
            false => Ok(()),
        };
        let mut studies = Vec::new();
        for study in sweep::standard(profile) {
            let answer = sweep::answer(profile, study, seeds, &mut go_on)?;
            studies.push(Study {
                name: answer.study.name.to_owned(),
                question: answer.study.question.clone(),
                advice: answer.advice.clone(),
                table: sweep::table(&answer),
                plot: answer.bare_svg(profile),
            });
        }
        Ok(Sweep { profile: profile.name.clone(), seeds, studies })
    }
}

/// How many scenarios of a report have each verdict, for its head line.
pub fn verdicts(report: &Report) -> BTreeMap<&str, usize> {
    let mut counts = BTreeMap::new();
    for answer in report.scenarios.iter().flat_map(|s| &s.answers) {
        *counts.entry(answer.verdict.as_str()).or_default() += 1;
    }
    counts
}
