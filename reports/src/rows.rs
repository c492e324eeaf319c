//! The rows of the model, by name: those of iommufd, and those of the SMMUv3 command queue.

use std::fmt::Write;
use std::sync::LazyLock;
use uapi::pick::RevisionInfo;

static ROWS: LazyLock<Vec<RevisionInfo>> = LazyLock::new(model_native::revisions);
static QUEUE_ROWS: LazyLock<Vec<RevisionInfo>> = LazyLock::new(model_native::queue_revisions);

/// Every row of iommufd.
pub fn revisions() -> &'static [RevisionInfo] {
    &ROWS
}

/// Every row of the command queue.
pub fn queue_revisions() -> &'static [RevisionInfo] {
    &QUEUE_ROWS
}

/// Whether this is the name of a row of the command queue.
pub fn is_of_queue(name: &str) -> bool {
    queue_revisions().iter().any(|r| r.name == name)
}

/// Every row.
pub fn all_rows() -> impl Iterator<Item = &'static RevisionInfo> + Clone {
    revisions().iter().chain(queue_revisions())
}

/// The row of this name.
pub fn row(name: &str) -> Option<&'static RevisionInfo> {
    all_rows().find(|r| r.name == name)
}

/// The canonical names of rows, as [`canonical`].
///
/// # Errors
///
/// As [`canonical`].
pub fn canonical_all(names: &[String]) -> Result<Vec<String>, String> {
    names.iter().map(|name| canonical(name).map(str::to_owned)).collect()
}

/// As [`canonical`], for what asks iommufd only.
///
/// # Errors
///
/// If there is no such row of iommufd.
pub fn canonical_of_iommufd(name: &str) -> Result<&'static str, String> {
    let row = canonical(name)?;
    match is_of_queue(row) {
        false => Ok(row),
        true => Err(format!(
            "`{name}` is a row of the command queue, and this is about iommufd; `iommufd-testbed list` \
             shows its rows"
        )),
    }
}

/// The canonical names of rows of iommufd, as [`canonical_of_iommufd`].
///
/// # Errors
///
/// As [`canonical_of_iommufd`].
pub fn canonical_all_of_iommufd(names: &[String]) -> Result<Vec<String>, String> {
    names.iter().map(|name| canonical_of_iommufd(name).map(str::to_owned)).collect()
}

/// The canonical name of a row, from its name or an alias.
///
/// # Errors
///
/// If there is none; the message says which one may be meant.
pub fn canonical(name: &str) -> Result<&'static str, String> {
    let row = all_rows().find(|r| r.name == name || r.aliases.contains(&name));
    row.map(|r| r.name).ok_or_else(|| {
        let names =
            || all_rows().flat_map(|r| std::iter::once(r.name).chain(r.aliases.iter().copied()));
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
        let twin_of = row(name).and_then(|r| r.twin_of);
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
