//! WARN_ON().

use std::panic::Location;

use uapi::splat::Kind;

use crate::sync;

/// WARN_ON(): prints a splat if the condition holds, and gives it back. It is a part of the step
/// that computed the condition, not a step of its own.
#[track_caller]
pub fn warn_on(condition: bool) -> bool {
    if condition {
        sync::splat(Kind::Warn, sync::site(Location::caller()), String::new());
    }
    condition
}
