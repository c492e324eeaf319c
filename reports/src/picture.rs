//! A failing interleaving as a page: what was asked, what was set up, the columns, how to see it
//! again. Plain text, to be pasted into a mail.

use crate::columns::{Picture, Steps};
use crate::token::Token;
use scenarios::Spelled;
use std::fmt::Write;
use uapi::mutation::Mutant;
use uapi::outcome::Outcome;

/// What the page shows.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// The question of the scenario.
    pub question: &'a str,
    /// Scenario, row and interleaving.
    pub token: &'a Token,
    /// The texts of what ran.
    pub spelled: &'a Spelled,
    /// What it gave, with its trace.
    pub outcome: &'a Outcome,
    /// How often the CPU changed.
    pub context_switches: u32,
    /// Index of the step after which no passing completion exists.
    pub point_of_no_return: Option<usize>,
    /// Which steps.
    pub steps: Steps,
}

impl Page<'_> {
    /// The text, `width` columns wide at most (the token and the question are not broken).
    pub fn text(&self, width: usize) -> String {
        let mut page = String::new();
        let _ = writeln!(page, "{}", self.question);
        let _ = writeln!(page, "{} on {}", self.token.scenario, self.token.revision);
        if let Some(Mutant { site, change }) = &self.spelled.mutant {
            let _ = writeln!(page, "with a mutant of the model: {site}: {change}");
        }
        page.push('\n');
        for (i, step) in self.spelled.setup.iter().enumerate() {
            let _ = writeln!(page, "{} {step}", if i == 0 { "setup:" } else { "      " });
        }
        if !self.spelled.setup.is_empty() {
            page.push('\n');
        }
        let picture = Picture {
            spelled: self.spelled,
            outcome: self.outcome,
            point_of_no_return: self.point_of_no_return,
            steps: self.steps,
        };
        page.push_str(&picture.draw(width));
        let switches = match self.context_switches {
            1 => "1 context switch".to_owned(),
            n => format!("{n} context switches"),
        };
        let _ = write!(page, "\n{switches}; replay: {}\n", self.token.command());
        page
    }
}
