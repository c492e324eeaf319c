//! The SMMUv3 command queue as the architecture describes it, without a driver and without time.
//!
//! Pure data and state machines, compiled once: no backend, no thread, no clock. Commands and their
//! encodings ([`command`], one row per opcode; [`field`], one constant per field), ring indexes
//! ([`ring`]), the registers with the GERROR handshake ([`registers`]), what an implementation may
//! choose ([`features`]), the caches that an invalidation is about ([`caches`]), and the device
//! that consumes ([`device`]): its possible next actions are values, so that a test, an explorer
//! or a cost model chooses among them.
//!
//! Source: Arm IHI 0070 G.b chapters 3.5, 4 and 6.3 and the driver's `arm-smmu-v3.h`, as collected
//! in reference/smmuv3.md sections 1 and 2. Where that text leaves something open, the place says
//! what was chosen.

pub mod caches;
pub mod command;
pub mod device;
pub mod features;
pub mod field;
pub mod registers;
pub mod ring;

pub use caches::{AtcEntry, Caches, ConfigEntry, Context, Stage, Tables, TlbEntry, Walk};
pub use command::{Command, Illegal, Op};
pub use device::{Aborted, Action, Bus, Device, Effect};
pub use features::{Config, Edition, Feature, Features, Res0};
pub use registers::{Cerror, Misuse, Register};
pub use ring::{Index, RingSize};
