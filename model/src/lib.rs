//! The kernel, modelled: one source, compiled once per backend.
//!
//! What crosses the border is `uapi` data only. The entry points (the same in `model_native`,
//! `model_std` and `model_shuttle`):
//!
//! * `explore(&Subject, &mut dyn Explore, &Limits) -> Result<(), ModelError>`: executions until
//!   the explorer wants no more;
//! * `run(&Subject, &mut dyn Pick, &Limits) -> Result<Option<Outcome>, ModelError>`: one of them;
//! * `check(&Subject) -> Result<(), ModelError>`: whether it can be run at all;
//! * `revisions()` and `queue_revisions()`: the rows of the model, described;
//! * `call_sites() -> &'static [CallSite]`: where a mutant can be made (`Limits::mutation`).
//!
//! `model_shuttle` has `sample(&Subject, Sampler, seed: u64, iterations: u64, &Limits, &mut dyn
//! FnMut(Outcome) -> bool) -> Result<(), ModelError>` in addition (false from the callback ends
//! it), and `model_loom` has only `explore_loom(&Subject, &LoomBounds, &Limits, &mut dyn
//! FnMut(Outcome) -> bool) -> Result<bool, ModelError>` (true: exhausted) and `revisions()`.
//!
//! `model_bare` has none of them, because nobody schedules it: it is the command queue on the
//! threads of the machine (`arm_smmu_v3`, `linux` and `sync`), for `sync::on_cpu`.

pub mod arm_smmu_v3;
pub mod linux;
#[cfg_attr(
    feature = "backend-bare",
    allow(dead_code, reason = "on the threads of the machine no step is done otherwise")
)]
mod sites;
#[cfg_attr(feature = "backend-bare", path = "sync/bare.rs")]
pub mod sync;

// What a scheduler runs.
#[cfg(not(feature = "backend-bare"))]
mod guests;
#[cfg(not(feature = "backend-bare"))]
pub mod iommufd;
#[cfg(not(feature = "backend-bare"))]
pub mod litmus;
#[cfg(not(feature = "backend-bare"))]
pub mod program;
#[cfg(not(feature = "backend-bare"))]
pub mod queue;
#[cfg(not(feature = "backend-bare"))]
pub mod revisions;

#[cfg(not(any(feature = "backend-loom", feature = "backend-bare")))]
mod entry;
#[cfg(not(any(feature = "backend-loom", feature = "backend-bare")))]
pub use entry::{explore, run};
#[cfg(not(feature = "backend-bare"))]
pub use guests::{all_revisions as revisions, call_sites, check, queue_revisions};

#[cfg(feature = "backend-shuttle")]
mod sampling;
#[cfg(feature = "backend-shuttle")]
pub use sampling::sample;

#[cfg(feature = "backend-loom")]
mod exploring;
#[cfg(feature = "backend-loom")]
pub use exploring::explore_loom;
