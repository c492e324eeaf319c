//! The Observation line: one explorer's answer to one question, always with its denominator.
//!
//! ```text
//! Observation eexist_unwind p2_v6 dpor Never 0 / 1,204 exhausted
//! ```

use crate::check::{Answer, Answered, Question};
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
