//! What no program reaches, with the reasons: `scenarios/unreached.toml`.

use crate::names_row;
use serde::Deserialize;

/// A call site or a label of the kernel model that no program can reach.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unreached {
    /// File, function, primitive or label, and ordinal, as `uapi::mutation::CallSite::name()`
    /// spells them.
    pub site: String,
    /// The rows on which it cannot be reached. Empty: on every row that has it.
    #[serde(default)]
    pub revisions: Vec<String>,
    /// Why.
    pub reason: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    unreached: Vec<Unreached>,
}

impl Unreached {
    /// Whether it says something about this place on this row.
    pub fn covers(&self, site: &str, row: &str) -> bool {
        self.site == site && names_row(&self.revisions, row)
    }
}

/// What stands in `scenarios/unreached.toml`.
///
/// # Errors
///
/// What is wrong with that file.
pub fn unreached() -> Result<Vec<Unreached>, String> {
    let text = include_str!("../unreached.toml");
    let file: File = toml::from_str(text).map_err(|e| format!("unreached.toml: {e}"))?;
    Ok(file.unreached)
}
