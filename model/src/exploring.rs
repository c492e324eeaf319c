//! The entry point of the backend that explores by itself.

use uapi::outcome::Outcome;
use uapi::pick::{LoomBounds, ModelError, Subject};
use uapi::program::Limits;

use crate::guests::with_maker;
use crate::sync;

/// Explores within the bounds. `Ok(true)`: everything within them was run; `Ok(false)`: the
/// budget was used up, or `on_outcome` returned false. To be called in a process of its own:
/// it panics if an execution has more branches than the bounds allow.
///
/// # Errors
///
/// If the subject cannot be run at all, or has more CPUs than this backend can run.
pub fn explore_loom(
    subject: &Subject,
    bounds: &LoomBounds,
    limits: &Limits,
    on_outcome: &mut dyn FnMut(Outcome) -> bool,
) -> Result<bool, ModelError> {
    with_maker(subject, |maker| sync::explore_loom(maker, bounds, limits, on_outcome))?
}
