//! Rows for tests of the reader, so that its error texts do not change with the model.

use uapi::pick::RevisionInfo;

const fn row(
    name: &'static str,
    aliases: &'static [&'static str],
    twin_of: Option<&'static str>,
) -> RevisionInfo {
    RevisionInfo { name, aliases, twin_of, doc: "", source: "" }
}

/// Two rows and a twin.
pub const ROWS: &[RevisionInfo] = &[
    row("linux_6_13", &["p2_v6"], None),
    row("linux_6_13_without_xa_cmpxchg", &["p2_v6_without_xa_cmpxchg"], Some("linux_6_13")),
    row("linux_6_17", &[], None),
];
