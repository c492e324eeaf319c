//! The compilations of the model behind one function each.
//!
//! One of the few files outside the model that name a backend.

use crate::{Backend, ModelError, Subject};
use uapi::outcome::Outcome;
use uapi::pick::{Explore, LoomBounds, Pick};
use uapi::program::Limits;
use uapi::step::Site;

pub(crate) fn explore(
    backend: Backend,
    subject: &Subject,
    explorer: &mut dyn Explore,
    limits: &Limits,
) -> Result<(), ModelError> {
    match backend {
        Backend::Native => model_native::explore(subject, explorer, limits),
        Backend::Shuttle => model_shuttle::explore(subject, explorer, limits),
        Backend::Std => model_std::explore(subject, explorer, limits),
    }
}

pub(crate) fn run(
    backend: Backend,
    subject: &Subject,
    pick: &mut dyn Pick,
    limits: &Limits,
) -> Result<Option<Outcome>, ModelError> {
    match backend {
        Backend::Native => model_native::run(subject, pick, limits),
        Backend::Shuttle => model_shuttle::run(subject, pick, limits),
        Backend::Std => model_std::run(subject, pick, limits),
    }
}

/// Explores with loom, in this process. See `model_loom::explore_loom`.
pub(crate) fn explore_loom(
    subject: &Subject,
    bounds: &LoomBounds,
    limits: &Limits,
    on_outcome: &mut dyn FnMut(Outcome) -> bool,
) -> Result<bool, ModelError> {
    model_loom::explore_loom(subject, bounds, limits, on_outcome)
}

/// The C function that a place in the model belongs to.
pub(crate) fn function_at(backend: Backend, site: Site) -> &'static str {
    match backend {
        Backend::Native => model_native::sync::function(site),
        Backend::Shuttle => model_shuttle::sync::function(site),
        Backend::Std => model_std::sync::function(site),
    }
}

/// Removes `LOOM_*` and `SHUTTLE_*` from this process's environment: both libraries read bounds
/// from there, and a verdict must not depend on what a shell happened to export. To be called
/// before any thread is started.
pub fn clear_environment() {
    for name in foreign_variables() {
        std::env::remove_var(name);
    }
}

/// The variables that [`clear_environment`] removes.
pub(crate) fn foreign_variables() -> Vec<std::ffi::OsString> {
    let is_foreign = |name: &std::ffi::OsStr| {
        let name = name.to_string_lossy();
        name.starts_with("LOOM_") || name.starts_with("SHUTTLE_")
    };
    std::env::vars_os().map(|(name, _)| name).filter(|n| is_foreign(n)).collect()
}
