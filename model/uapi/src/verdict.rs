//! The words of a verdict.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What an explorer found out about one question on one revision.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "verdict")]
pub enum Verdict {
    /// No execution shows it, and all executions within the printed bounds were run.
    Never,
    /// No execution shows it among those that were tried.
    NoneSeen,
    /// Some execution shows it.
    Sometimes {
        /// First splat of the failing execution.
        splat: String,
    },
    /// Every execution shows it.
    Always {
        /// First splat of the failing executions.
        splat: String,
    },
    /// The explorer that decides ran out of its budget before it had an answer.
    NotExhausted,
}

impl Verdict {
    /// The word that an Observation line prints.
    pub fn word(&self) -> &'static str {
        match self {
            Verdict::Never => "Never",
            Verdict::NoneSeen => "None seen",
            Verdict::Sometimes { .. } => "Sometimes",
            Verdict::Always { .. } => "Always",
            Verdict::NotExhausted => "Not exhausted",
        }
    }

    /// The splat, where there is one.
    pub fn splat(&self) -> Option<&str> {
        match self {
            Verdict::Sometimes { splat } | Verdict::Always { splat } => Some(splat),
            _ => None,
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// What a scenario file says about a revision.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Expected {
    /// No execution fails.
    Never,
    /// Some, not all, executions fail, and the first splat contains this text.
    Sometimes(String),
    /// All executions fail, and the first splat contains this text.
    Always(String),
}
