//! The rows of the kernel model, by name.

use std::sync::LazyLock;
use uapi::pick::RevisionInfo;

static ROWS: LazyLock<Vec<RevisionInfo>> = LazyLock::new(|| model_native::revisions().to_vec());

/// Every row that the model has.
pub fn revisions() -> &'static [RevisionInfo] {
    &ROWS
}

/// The canonical names of rows, as [`canonical`].
///
/// # Errors
///
/// As [`canonical`].
pub fn canonical_all(names: &[String]) -> Result<Vec<String>, String> {
    names.iter().map(|name| canonical(name).map(str::to_owned)).collect()
}

/// The canonical name of a row, from its name or an alias.
///
/// # Errors
///
/// If there is none; the message lists the rows.
pub fn canonical(name: &str) -> Result<&'static str, String> {
    let row = revisions().iter().find(|r| r.name == name || r.aliases.contains(&name));
    row.map(|r| r.name).ok_or_else(|| {
        let names: Vec<&str> = revisions().iter().map(|r| r.name).collect();
        format!("there is no revision `{name}`; there are {}", names.join(", "))
    })
}
