//! `survivors.toml`: the mutants that no scenario has to notice, each with the reason why it
//! cannot matter.

use crate::error::{Problem, ScenarioError};
use crate::load::{data, text_of, BESIDE};
use serde::{Deserialize, Serialize};
use std::path::Path;
use toml::Spanned;
use uapi::mutation::Change;

/// Its name in the directory of the scenarios.
pub const SURVIVORS: &str = "survivors.toml";

/// Why no scenario notices.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Class {
    /// It can matter in no program: the reason is a proof from the text of the row.
    Equivalent,
    /// It could matter in a kernel, and the model does not have what it would matter to; or the
    /// text does the same damage without it.
    OutOfSight,
}

/// One call site, and what may be done there unnoticed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Survivor {
    /// File, function, primitive and ordinal, as `uapi::mutation::CallSite::name()` spells them.
    pub site: String,
    /// The changes that cannot matter.
    pub changes: Vec<Change>,
    /// The rows on which they cannot. Empty: on every row that has the call site.
    pub revisions: Vec<String>,
    /// Whether nothing could notice it.
    pub class: Class,
    /// Why.
    pub reason: String,
    /// Line of the file, from 1.
    pub line: usize,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    survivor: Vec<Spanned<Entry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    site: String,
    changes: Vec<Change>,
    #[serde(default)]
    revisions: Vec<String>,
    class: Class,
    reason: String,
}

/// Reads the file of this directory. Without one there are no survivors.
///
/// # Errors
///
/// What is wrong in it, with the place.
pub fn survivors(dir: &Path) -> Result<Vec<Survivor>, ScenarioError> {
    let path = dir.join(SURVIVORS);
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = text_of(&path, &BESIDE)?;
    let shown = path.display().to_string();
    let wrong = |problem| ScenarioError::new(&shown, Some(&text), vec![problem]);
    let help = "an entry is [[survivor]] with site, changes, class (equivalent, out_of_sight), \
                reason, and revisions if it is not for every row";
    let file: File = data(&shown, &text, help)?;
    let mut found: Vec<Survivor> = Vec::new();
    for entry in file.survivor {
        let span = entry.span();
        let line = text[..span.start.min(text.len())].matches('\n').count() + 1;
        let Entry { site, changes, revisions, class, reason } = entry.into_inner();
        if reason.trim().is_empty() || changes.is_empty() {
            let help = "a survivor needs at least one change, and the reason why it cannot matter";
            return Err(wrong(Problem::at(span, "here", "nothing is excused here", help)));
        }
        found.push(Survivor { site, changes, revisions, class, reason, line });
    }
    Ok(found)
}
