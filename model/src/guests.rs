//! From a subject to what a backend runs.

use uapi::mutation::CallSite;
use uapi::pick::{ModelError, RevisionInfo, Subject};

use crate::sync::GuestMaker;
use crate::{arm_smmu_v3, litmus, program, queue, revisions, sites};

/// Checks the subject and hands the maker of its guests to `f`.
///
/// # Errors
///
/// If the subject cannot be run at all.
pub fn with_maker<R>(
    subject: &Subject,
    f: impl FnOnce(&GuestMaker<'_>) -> R,
) -> Result<R, ModelError> {
    match subject {
        Subject::Litmus(litmus) => litmus::with_maker(litmus, f),
        Subject::Queue { program, revision } => queue::with_maker(program, revision, f),
        Subject::Program { program, revision } => {
            let unknown = || ModelError::UnknownRevision(revision.clone());
            let rev = revisions::find(revision).ok_or_else(unknown)?;
            program::with_maker(program, rev, f)
        }
    }
}

/// Whether the subject can be run at all: its row exists, its program is consistent, and the row
/// takes it.
///
/// # Errors
///
/// What is wrong.
pub fn check(subject: &Subject) -> Result<(), ModelError> {
    with_maker(subject, |_| ())
}

/// Every row of the model, described.
pub fn all_revisions() -> Vec<RevisionInfo> {
    revisions::rows().map(|row| row.info).collect()
}

/// Every row of the command queue, described.
pub fn queue_revisions() -> Vec<RevisionInfo> {
    arm_smmu_v3::rows::ROWS.iter().map(|row| row.info).collect()
}

/// Every place in the kernel model that calls a primitive which a mutant can change.
pub fn call_sites() -> &'static [CallSite] {
    sites::call_sites()
}
