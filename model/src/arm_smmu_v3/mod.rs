//! The command queue of the SMMUv3 driver: lists of commands inserted by many CPUs without a lock.
//!
//! | what | where |
//! |---|---|
//! | indexes in a 64-bit word | `llq.rs` |
//! | the queue, and the insertion | `cmdq.rs` |
//! | the lock between those who wait for a SYNC and those who move `llq.cons` | `lock.rs` |
//! | waiting for space and for a SYNC | `wait.rs` |
//! | the insertion with a spinlock after a failed CAS | `slock.rs` |
//! | the insertion with a fetch_add | `fetch_add.rs` |
//! | the queue before v5.4 | `linux_5_3.rs` |
//! | the SMMU with several queues, and which one a list goes to | `smmu.rs` |
//! | batches | `batch.rs` |
//! | lists that are refused while the SMMU is switched off | `prod_stop.rs` |
//! | lists that are issued twice | `repeat.rs` |
//! | the SMMU and the error handler | `device.rs` |
//! | IOMMU_HWPT_INVALIDATE down to the ring | `vsmmu.rs`, with a file per contract in `vsmmu/` |
//! | the invariants I1 to I13 | `ghost.rs` |
//! | one row of functions and orders per text | `revision.rs`, `rows.rs`; twins in `twins.rs` |
//!
//! Who holds what: a slot belongs to the CPU whose CAS on `llq` covered it, until its valid bit is
//! toggled; then to the owner of its group, until PROD covers it; then to the SMMU, until CONS has
//! passed it. `llq.cons` moves only under the exclusive lock or by the last holder of the shared
//! one. There is at most one owner between the clearing of its flag and its store to `owner_prod`.
//!
//! Departures from the kernel, all in reference/smmuv3.md 3.4: control dependencies are acquire
//! loads; the state word is one atomic of 64 bits, so a store to its upper half is an update of the
//! whole; a wait for a condition that nobody changes is one step that sleeps, not a loop.
//!
//! Source: drivers/iommu/arm/arm-smmu-v3/arm-smmu-v3.c, commits 587e6c10a7ce, 05cbaf4ddd02,
//! df180b1a4cc5; reference/smmuv3.md section 3.

pub mod batch;
pub mod cmdq;
pub mod device;
pub mod fetch_add;
pub mod ghost;
pub mod linux_5_3;
pub mod llq;
pub mod lock;
pub mod prod_stop;
pub mod repeat;
pub mod revision;
pub mod rows;
pub mod slock;
pub mod smmu;
pub mod twins;
pub mod vsmmu;
pub mod wait;
