//! How a run ends: the summary and the exit code.

use crate::check::Answered;
use crate::judge::Judgement;
use crate::lock_order;
use crate::values::counted;
use std::collections::BTreeMap;
use std::fmt::Write;

/// The exit codes, as `--help` and the README document them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Exit {
    /// Every verdict is the recorded one.
    AsRecorded,
    /// A verdict differs, or a replay goes another way.
    Differs,
    /// Bad usage or a bad file.
    BadUsage,
    /// Out of budget before a verdict.
    OutOfBudget,
    /// Interrupted; what was finished is written out.
    Interrupted,
}

impl Exit {
    /// The number.
    pub fn code(self) -> u8 {
        match self {
            Exit::AsRecorded => 0,
            Exit::Differs => 1,
            Exit::BadUsage => 2,
            Exit::OutOfBudget => 3,
            Exit::Interrupted => 130,
        }
    }
}

/// The end of a run.
#[derive(Clone, Debug)]
pub struct Summary {
    /// Number of questions by [`Judgement::word`].
    pub counts: BTreeMap<&'static str, usize>,
    /// Questions that were asked.
    pub asked: usize,
    /// Whether the user ended it.
    pub interrupted: bool,
    /// What is worth repeating: what differs, then what is undecided; remarks on what is as
    /// recorded only if there is neither, so that they push nothing off the screen.
    details: Vec<String>,
}

impl Summary {
    /// Of a run that was to answer `asked` questions.
    pub fn of(answered: &[Answered], asked: usize, interrupted: bool) -> Summary {
        let mut counts = BTreeMap::new();
        let (mut differ, mut undecided, mut remarks) = (Vec::new(), Vec::new(), Vec::new());
        for a in answered {
            *counts.entry(a.judgement.word()).or_default() += 1;
            let name = format!("{} on {}", a.question.scenario.name, a.question.revision);
            match &a.judgement {
                Judgement::Differs(reason) => differ.push(format!("differs: {name}: {reason}")),
                Judgement::Undecided(reason) => {
                    undecided.push(format!("undecided: {name}: {reason}"));
                }
                Judgement::AsRecorded(Some(reason)) => {
                    remarks.push(format!("as recorded: {name}: {reason}"));
                }
                _ => {}
            }
        }
        for (row, orders) in lock_order::by_row(answered) {
            if let Some(cycle) = lock_order::cycle(&orders) {
                *counts.entry("differs").or_default() += 1;
                differ.push(format!(
                    "differs: lock order on {row}, over all executions: possible circular locking \
                     dependency {cycle}"
                ));
            }
        }
        let interrupted = interrupted || counts.contains_key("interrupted");
        let open = [differ, undecided].concat();
        let details = if open.is_empty() { remarks } else { open };
        Summary { counts, asked, interrupted, details }
    }

    fn count(&self, word: &str) -> usize {
        self.counts.get(word).copied().unwrap_or(0)
    }

    /// The exit code. An interrupt explains everything else, a differing verdict weighs more
    /// than a missing one.
    pub fn exit(&self) -> Exit {
        if self.interrupted {
            Exit::Interrupted
        } else if self.count("differs") > 0 {
            Exit::Differs
        } else if self.count("undecided") > 0 {
            Exit::OutOfBudget
        } else {
            Exit::AsRecorded
        }
    }

    /// The closing lines of a run.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for detail in &self.details {
            let _ = writeln!(text, "{detail}");
        }
        text + &self.closing()
    }

    /// The last of them: how many verdicts are worth what.
    pub fn closing(&self) -> String {
        let mut text = String::new();
        let _ = write!(
            text,
            "{} as recorded, {} {}, {} out of budget",
            counted(self.count("as_recorded") as u64, "verdict"),
            self.count("differs"),
            if self.count("differs") == 1 { "differs" } else { "differ" },
            self.count("undecided")
        );
        if self.count("evidence") > 0 {
            let _ = write!(text, ", {} without the deciding explorer", self.count("evidence"));
        }
        if self.interrupted {
            let finished: usize =
                self.counts.iter().filter(|(w, _)| **w != "interrupted").map(|(_, n)| n).sum();
            let _ = write!(
                text,
                "; interrupted after {finished} of {}",
                counted(self.asked as u64, "question")
            );
        }
        text.push('\n');
        text
    }
}
