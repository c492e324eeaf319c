//! `permitted.toml`: answers that a call may give although no order of whole calls explains them,
//! each with its reason. They belong to the model and are compiled in.

use serde::Deserialize;
use std::sync::OnceLock;
use uapi::call::{Call, SIGNATURES};
use uapi::errno::Errno;

/// One answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PermittedAnswer {
    /// Which call.
    pub call: Call,
    /// What it may answer.
    pub errno: Errno,
    /// Why.
    pub reason: String,
    /// Where that is said.
    pub source: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    permitted: Vec<Entry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    call: String,
    errno: String,
    reason: String,
    source: String,
}

fn read(text: &str) -> Result<Vec<PermittedAnswer>, String> {
    let file: File = toml::from_str(text).map_err(|e| e.to_string())?;
    let entry = |entry: Entry| {
        let Entry { call, errno, reason, source } = entry;
        let signature = SIGNATURES.iter().find(|s| s.name == call);
        let signature = signature.ok_or_else(|| format!("there is no call `{call}`"))?;
        let known = Errno::ALL.iter().find(|e| e.to_string() == errno);
        let errno = *known.ok_or_else(|| format!("there is no errno `{errno}`"))?;
        if reason.trim().is_empty() || source.trim().is_empty() {
            return Err(format!("{call} {errno}: a reason and a source are needed"));
        }
        Ok(PermittedAnswer { call: signature.call, errno, reason, source })
    };
    file.permitted.into_iter().map(entry).collect()
}

/// All of them.
pub fn permitted() -> &'static [PermittedAnswer] {
    static PERMITTED: OnceLock<Vec<PermittedAnswer>> = OnceLock::new();
    // That the file can be read is a test; without it, more would be reported, not less.
    PERMITTED.get_or_init(|| read(include_str!("../permitted.toml")).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::{permitted, read};

    #[test]
    fn the_file_can_be_read() {
        let entries = read(include_str!("../permitted.toml"));
        assert_eq!(entries.as_deref(), Ok(permitted()));
        assert!(!permitted().is_empty());
    }

    #[test]
    fn what_nobody_answers_is_an_error() {
        let entry = |call: &str, errno: &str| {
            let rest = "reason = \"r\"\nsource = \"s\"";
            read(&format!("[[permitted]]\ncall = \"{call}\"\nerrno = \"{errno}\"\n{rest}"))
        };
        assert!(entry("IOMMU_DESTROY", "-EBUSY").is_ok());
        assert!(entry("IOMMU_DESTROY", "-EFOO").is_err_and(|e| e.contains("-EFOO")));
        assert!(entry("IOMMU_NOTHING", "-EBUSY").is_err_and(|e| e.contains("IOMMU_NOTHING")));
    }
}
