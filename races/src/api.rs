//! The entry points.

use crate::{
    Backend, Bounds, Finding, LoomError, ModelError, ReplayError, Replayed, Sampler, Schedule,
    Subject, Watch,
};
use std::path::Path;
use uapi::program::Limits;

fn not_yet() -> ModelError {
    ModelError::Malformed("the explorers are not linked yet".to_string())
}

/// Decides: explores every interleaving within the bounds.
///
/// # Errors
///
/// If the subject cannot be run at all.
pub fn dpor(
    _subject: &Subject,
    _bounds: &Bounds,
    _backend: Backend,
    _watch: &mut dyn Watch,
) -> Result<Finding, ModelError> {
    Err(not_yet())
}

/// Samples with shuttle's random schedulers: Random, URW, PCT(3).
///
/// # Errors
///
/// If the subject cannot be run at all.
pub fn portfolio(
    _subject: &Subject,
    _bounds: &Bounds,
    _watch: &mut dyn Watch,
) -> Result<Vec<(Sampler, Finding)>, ModelError> {
    Err(not_yet())
}

/// Explores weak memory with loom, in the child process `exe loom-child`.
///
/// # Errors
///
/// If the subject cannot be run by loom, or the child fails in another way than loom's limits.
pub fn loom(
    _subject: &Subject,
    _bounds: &Bounds,
    _exe: &Path,
    _watch: &mut dyn Watch,
) -> Result<Finding, LoomError> {
    Err(LoomError::Model(not_yet()))
}

/// What the hidden subcommand `loom-child` runs; the value is the exit code.
pub fn loom_child() -> i32 {
    2
}

/// Runs one schedule again.
///
/// # Errors
///
/// If the subject cannot be run, or the execution goes another way than the schedule says.
pub fn replay(
    _subject: &Subject,
    _schedule: &Schedule,
    _backend: Backend,
    _limits: &Limits,
) -> Result<Replayed, ReplayError> {
    Err(ReplayError::Model(not_yet()))
}
