//! The Observation line: one explorer's answer to one question, always with its denominator.
//!
//! ```text
//! Observation eexist_unwind p2_v6 dpor Never 0 / 1,204 exhausted
//! ```

use crate::check::{Answer, Answered, Question};
use crate::output::folded;
use crate::values::grouped;
use races::Finding;
use uapi::verdict::Verdict;

/// Widths of the columns whose contents are known before a run.
#[derive(Clone, Copy, Debug)]
pub struct Widths {
    name: usize,
    revision: usize,
}

impl Widths {
    /// Wide enough for these questions.
    pub fn of(questions: &[Question]) -> Widths {
        let width = |text: fn(&Question) -> &str| {
            questions.iter().map(|q| text(q).chars().count()).max().unwrap_or(0)
        };
        Widths { name: width(|q| &q.scenario.name), revision: width(|q| &q.revision) }
    }
}

/// How the lines of a run are laid out.
#[derive(Clone, Copy, Debug)]
pub enum Layout {
    /// A line each, in columns: what a program reads.
    Lines(Widths),
    /// The scenario on a line of its own, its rows below it: for a terminal of so many columns, in which
    /// the columns have no room.
    Grouped(usize),
}

/// Columns of what stands beside the names: the first word, the explorer, the verdict with its counts, and
/// `exhausted`.
const BESIDE_NAMES: usize = 66;

impl Layout {
    /// Of these questions, on a terminal of so many columns, or in a pipe.
    pub fn of(questions: &[Question], columns: Option<usize>) -> Layout {
        let widths = Widths::of(questions);
        match columns {
            Some(columns) if columns < widths.name + widths.revision + BESIDE_NAMES => {
                Layout::Grouped(columns)
            }
            _ => Layout::Lines(widths),
        }
    }

    /// The lines of one question; `above` is the scenario whose lines stand above them.
    pub fn text(self, answered: &Answered, above: Option<&str>) -> String {
        match self {
            Layout::Lines(widths) => lines(answered, widths),
            Layout::Grouped(columns) => grouped_lines(answered, columns, above),
        }
    }
}

/// Columns of an explorer, a verdict, counts, and `exhausted` below the name of a scenario.
const BELOW_NAME: usize = 42;

fn grouped_lines(answered: &Answered, columns: usize, above: Option<&str>) -> String {
    let Question { scenario, revision, .. } = &answered.question;
    let mut text = String::new();
    if above != Some(scenario.name.as_str()) {
        text.push_str(&format!("Observation {}\n", scenario.name));
    }
    let width = scenario.revisions.iter().map(String::len).max().unwrap_or(0);
    let beside = width + BELOW_NAME <= columns;
    if !beside {
        text.push_str(&format!("  {revision}\n"));
    }
    for answer in &answered.answers {
        let head = match beside {
            true => format!("  {revision:width$} {:7}", answer.explorer.name()),
            false => format!("    {:7}", answer.explorer.name()),
        };
        text.push_str(&match &answer.result {
            Ok(finding) => format!(
                "{head} {:9} {:9}  {}\n",
                finding.verdict.word(),
                counts(finding),
                note(&answered.question, finding)
            ),
            Err(e) => format!("{head} Broken    {e}\n"),
        });
    }
    folded(&text, columns)
}

/// The lines of one question, each ended.
pub fn lines(answered: &Answered, widths: Widths) -> String {
    answered.answers.iter().map(|answer| line(&answered.question, answer, widths)).collect()
}

fn line(question: &Question, answer: &Answer, widths: Widths) -> String {
    let head = format!(
        "Observation {:name$} {:revision$} {:7}",
        question.scenario.name,
        question.revision,
        answer.explorer.name(),
        name = widths.name,
        revision = widths.revision,
    );
    match &answer.result {
        Ok(finding) => format!(
            "{head} {:13} {:17} {}\n",
            finding.verdict.word(),
            counts(finding),
            note(question, finding)
        ),
        Err(e) => format!("{head} Broken        {e}\n"),
    }
}

/// `0 / 1,204`
pub fn counts(finding: &Finding) -> String {
    format!("{} / {}", grouped(finding.failed), grouped(finding.executions))
}

/// The bound behind the word, or how to see the failure again.
pub fn note(question: &Question, finding: &Finding) -> String {
    let (Verdict::Sometimes { splat } | Verdict::Always { splat }) = &finding.verdict else {
        return finding.note.clone();
    };
    match finding.failure.as_ref().filter(|f| !f.schedule.segments.is_empty()) {
        Some(failure) => format!("replay: {}", question.token(&failure.schedule).command()),
        // Loom keeps no schedule that another explorer could follow.
        None => format!("\"{splat}\" ({})", finding.note),
    }
}
