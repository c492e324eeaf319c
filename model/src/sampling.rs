//! The entry point of the backend with random schedulers.

use uapi::outcome::Outcome;
use uapi::pick::{ModelError, Sampler, Subject};
use uapi::program::Limits;

use crate::guests::with_maker;
use crate::sync;

/// Runs at most `iterations` executions under one of the backend's own schedulers, the same ones
/// for the same seed. Ends early if `on_outcome` returns false, or if a depth-first search has
/// seen everything.
///
/// # Errors
///
/// If the subject cannot be run at all.
pub fn sample(
    subject: &Subject,
    sampler: Sampler,
    seed: u64,
    iterations: u64,
    limits: &Limits,
    on_outcome: &mut dyn FnMut(Outcome) -> bool,
) -> Result<(), ModelError> {
    with_maker(subject, |maker| sync::sample(maker, sampler, seed, iterations, limits, on_outcome))?
}
