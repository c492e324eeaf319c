//! What an SMMUv3 command queue costs, in virtual time.
//!
//! A discrete-event model of the path from `arm_smmu_cmdq_issue_cmdlist()` to the end of the
//! CMD_SYNC. Who is a server:
//!
//! * each **cache line** that CPUs or the SMMU fight for ([`line`]): the llq word, the lock, the
//!   owner's PROD, the valid map, every line of the ring. A line is at one agent; moving it costs
//!   what the distance between the two costs, and requests are served in the order they come.
//! * each **CPU**, which goes through the steps of the driver's function ([`machine`], [`insert`]).
//! * each **command queue** of the SMMU ([`device`]): fetch, decode, the back end that all queues
//!   share, the SYNC gate.
//!
//! Time is an integer, picoseconds. All draws come from one ChaCha stream ([`seed`]), the agenda
//! breaks ties by agent, and there is no float: the same profile, workload and seed give the same
//! numbers on any machine.
//!
//! Source: `arm_smmu_cmdq_issue_cmdlist()`, drivers/iommu/arm/arm-smmu-v3/arm-smmu-v3.c, commit
//! 587e6c10a7ce; the costs are those of a [`profile`], and say there where they are from.
#![forbid(unsafe_code)]

pub mod agenda;
pub mod closed;
pub mod device;
pub mod insert;
pub mod line;
pub mod machine;
pub mod profile;
pub mod published;
pub mod ranges;
pub mod seed;
pub mod stats;
pub mod workload;

pub use machine::run;
pub use profile::Profile;
pub use stats::Outcome;
pub use workload::{Completion, Insertion, Lists, LockForm, Path, Workload};

/// Virtual time in picoseconds.
pub type Ps = u64;

/// One nanosecond.
pub const NS: Ps = 1_000;

/// Never: an agent with this time waits for somebody else.
pub const NEVER: Ps = Ps::MAX;

/// Most CPUs of a machine.
pub const CPUS_MAX: u32 = 128;
