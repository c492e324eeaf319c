//! The kernel, modelled: one source, compiled once per backend.
//!
//! What crosses the border is `uapi` data only. The entry points (the same in `model_native`,
//! `model_std` and `model_shuttle`):
//!
//! * `explore(&Subject, &mut dyn Explore, &Limits) -> Result<(), ModelError>`: executions until
//!   the explorer wants no more;
//! * `run(&Subject, &mut dyn Pick, &Limits) -> Result<Option<Outcome>, ModelError>`: one of them;
//! * `revisions()` and `queue_revisions()`: the rows of the model, described;
//! * `call_sites() -> &'static [CallSite]`: where a mutant can be made (`Limits::mutation`).
//!
//! `model_shuttle` has `sample(&Subject, Sampler, seed: u64, iterations: u64, &Limits, &mut dyn
//! FnMut(Outcome) -> bool) -> Result<(), ModelError>` in addition (false from the callback ends
//! it), and `model_loom` has only `explore_loom(&Subject, &LoomBounds, &Limits, &mut dyn
//! FnMut(Outcome) -> bool) -> Result<bool, ModelError>` (true: exhausted) and `revisions()`.

pub mod arm_smmu_v3;
mod guests;
pub mod iommufd;
pub mod linux;
pub mod litmus;
pub mod program;
pub mod queue;
pub mod revisions;
mod sites;
pub mod sync;

#[cfg(not(feature = "backend-loom"))]
mod entry;
#[cfg(not(feature = "backend-loom"))]
pub use entry::{explore, run};
pub use guests::{all_revisions as revisions, call_sites, queue_revisions};

#[cfg(feature = "backend-shuttle")]
mod sampling;
#[cfg(feature = "backend-shuttle")]
pub use sampling::sample;

#[cfg(feature = "backend-loom")]
mod exploring;
#[cfg(feature = "backend-loom")]
pub use exploring::explore_loom;
