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

/// A label of a function, such as `out_abort` of an unwind: whoever jumps there in C comes past it.
/// No step, and nothing happens; the coverage of a simulation says whether it was reached.
#[track_caller]
pub fn label(_name: &'static str) {
    sync::reached(sync::site(Location::caller()));
}

/// A loop of the kernel that does not end and gives nobody a chance to end it: what the watchdog
/// says then. The execution ends.
#[track_caller]
pub fn soft_lockup(detail: &str) -> ! {
    sync::stop(Kind::SoftLockup, sync::site(Location::caller()), detail.to_string())
}

/// The kernel dereferences a NULL pointer that it read from `field`. The execution ends.
#[track_caller]
pub fn oops_null(field: &str) -> ! {
    sync::stop(Kind::NullDeref, sync::site(Location::caller()), field.to_string())
}

/// The kernel dereferences an xarray entry that is no object: NULL, or the reserved entry. The
/// execution ends.
#[track_caller]
pub fn oops_bad_entry(null: bool) -> ! {
    let at = sync::site(Location::caller());
    let (kind, entry) =
        if null { (Kind::NullDeref, "NULL") } else { (Kind::BadDeref, "XA_ZERO_ENTRY") };
    sync::stop(kind, at, entry.to_string())
}
