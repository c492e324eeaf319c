//! The rows of the kernel model, by name.

use std::fmt::Write;
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
/// If there is none; the message says which one may be meant.
pub fn canonical(name: &str) -> Result<&'static str, String> {
    let row = revisions().iter().find(|r| r.name == name || r.aliases.contains(&name));
    row.map(|r| r.name).ok_or_else(|| {
        let names =
            || revisions().iter().flat_map(|r| std::iter::once(r.name).chain(r.aliases.to_vec()));
        let meant = match scenarios::nearest(name, names()) {
            Some(near) => format!("did you mean `{near}`? "),
            None => String::new(),
        };
        format!("there is no revision `{name}`; {meant}`iommufd-testbed list` shows all of them")
    })
}

/// Rows in words: twins by what they do otherwise, behind the row that they are twins of.
pub fn in_words(names: &[String]) -> String {
    let mut text = String::from("on");
    let mut base = "";
    let twins = if names.len() == 2 { "twin" } else { "twins" };
    for (i, name) in names.iter().enumerate() {
        let twin_of = revisions().iter().find(|r| r.name == *name).and_then(|r| r.twin_of);
        let short = twin_of.filter(|t| *t == base).and_then(|t| name.strip_prefix(t));
        let _ = match short {
            Some(what) if i == 1 => {
                write!(text, " and its {twins} {}", what.trim_start_matches('_'))
            }
            Some(what) => write!(text, ", {}", what.trim_start_matches('_')),
            None if i == 0 => write!(text, " {name}"),
            None => write!(text, ", {name}"),
        };
        if twin_of.is_none() {
            base = name;
        }
    }
    text
}
