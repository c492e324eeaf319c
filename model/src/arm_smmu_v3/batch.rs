//! Batches: commands that are gathered, and go as lists of a word of the valid map.
//!
//! Source: arm-smmu-v3.c, arm_smmu_cmdq_batch_init() to arm_smmu_cmdq_batch_submit() (v6.12, from
//! memory where the reference has less); reference/smmuv3.md 3.1, 3.6 B8 and B15, 4.6.

use uapi::Errno;

use crate::arm_smmu_v3::cmdq::Cmdq;
use crate::arm_smmu_v3::revision::{Cmds, Revision};
use crate::arm_smmu_v3::smmu::ArmSmmuDevice;

/// `struct arm_smmu_cmdq_batch`
pub struct Batch<'a> {
    smmu: &'a ArmSmmuDevice,
    /// Where its lists go to.
    pub cmdq: &'a Cmdq,
    /// Those that were not issued yet.
    pub cmds: Vec<[u64; 2]>,
}

impl<'a> Batch<'a> {
    /// `arm_smmu_cmdq_batch_init()`: the queue is that of its first command.
    pub fn init(smmu: &'a ArmSmmuDevice, first: &Cmds) -> Batch<'a> {
        let cmdq = (smmu.rev.get_cmdq)(smmu, first);
        Batch { smmu, cmdq, cmds: Vec::with_capacity(cmdq.shape.word as usize) }
    }

    /// The text that runs.
    pub fn rev(&self) -> &'static Revision {
        self.smmu.rev
    }

    /// CMDQ_BATCH_ENTRIES
    fn entries(&self) -> usize {
        self.cmdq.shape.word as usize
    }

    /// Issues what has been gathered.
    ///
    /// # Errors
    ///
    /// -ETIMEDOUT
    pub fn issue(&mut self, sync: bool) -> Result<(), Errno> {
        (self.rev().issue_cmdlist)(self.cmdq, &self.cmds, sync)?;
        self.cmds.clear();
        Ok(())
    }

    /// Issues it, and begins anew with `next`.
    fn issue_and_init(&mut self, sync: bool, next: [u64; 2]) -> Result<(), Errno> {
        self.issue(sync)?;
        self.cmdq = (self.rev().get_cmdq)(self.smmu, &[next]);
        Ok(())
    }
}

/// `arm_smmu_cmdq_batch_add()` for each command, then `arm_smmu_cmdq_batch_submit()`.
///
/// # Errors
///
/// -ETIMEDOUT
pub fn arm_smmu_cmdq_batch_submit(
    smmu: &ArmSmmuDevice,
    cmds: &Cmds,
    force_sync: bool,
) -> Result<(), Errno> {
    let mut batch = Batch::init(smmu, cmds);
    for cmd in cmds {
        arm_smmu_cmdq_batch_add(&mut batch, *cmd, force_sync)?;
    }
    batch.issue(true)
}

/// `arm_smmu_cmdq_batch_add()`
///
/// A full batch goes without a CMD_SYNC (and the last one with one entry more than a batch); where
/// the SMMU must not get two lists without one between them, one command earlier and with it. With
/// it goes, too, what comes before a command that the queue cannot execute.
///
/// # Errors
///
/// -ETIMEDOUT
fn arm_smmu_cmdq_batch_add(
    batch: &mut Batch<'_>,
    cmd: [u64; 2],
    force_sync: bool,
) -> Result<(), Errno> {
    let unsupported_cmd = !(batch.rev().supports_cmd)(batch.cmdq, cmd);
    if unsupported_cmd || (batch.rev().batch_force_sync)(batch, cmd, force_sync) {
        batch.issue_and_init(true, cmd)?;
    }
    if batch.cmds.len() == batch.entries() {
        (batch.rev().batch_is_full)(batch, cmd)?;
    }
    batch.cmds.push(cmd);
    Ok(())
}

/// Part of `arm_smmu_cmdq_batch_add()`: a full batch. `next` comes behind it.
///
/// # Errors
///
/// -ETIMEDOUT
pub fn full(batch: &mut Batch<'_>, next: [u64; 2]) -> Result<(), Errno> {
    batch.issue_and_init(false, next)
}

/// Whether the batch must end with a CMD_SYNC before this command. `forced`:
/// ARM_SMMU_OPT_CMDQ_FORCE_SYNC.
pub fn arm_smmu_cmdq_batch_force_sync(batch: &Batch<'_>, _next: [u64; 2], forced: bool) -> bool {
    forced && batch.cmds.len() == batch.entries() - 1
}

/// Not posted texts: see there.
pub mod twins {
    use super::*;

    /// A full batch stays on its queue: the CMD_SYNC of its last list is for all of them.
    pub fn full_on_the_same_queue(batch: &mut Batch<'_>, _next: [u64; 2]) -> Result<(), Errno> {
        batch.issue(false)
    }

    /// What comes before a command that the queue cannot execute is left to itself.
    ///
    /// # Errors
    ///
    /// -ETIMEDOUT
    pub fn switch_without_sync(
        smmu: &ArmSmmuDevice,
        cmds: &Cmds,
        force_sync: bool,
    ) -> Result<(), Errno> {
        let mut batch = Batch::init(smmu, cmds);
        for cmd in cmds {
            if !(batch.rev().supports_cmd)(batch.cmdq, *cmd) {
                batch.issue_and_init(false, *cmd)?;
            }
            arm_smmu_cmdq_batch_add(&mut batch, *cmd, force_sync)?;
        }
        batch.issue(true)
    }

    /// The full list that comes first is kept, and goes behind what follows it.
    ///
    /// # Errors
    ///
    /// -ETIMEDOUT
    pub fn newest_first(smmu: &ArmSmmuDevice, cmds: &Cmds, force_sync: bool) -> Result<(), Errno> {
        let mut batch = Batch::init(smmu, cmds);
        let (first, rest) = cmds.split_at(batch.entries().min(cmds.len()));
        for cmd in rest {
            arm_smmu_cmdq_batch_add(&mut batch, *cmd, force_sync)?;
        }
        if !rest.is_empty() {
            batch.issue(false)?;
        }
        batch.cmds.extend_from_slice(first);
        batch.issue(true)
    }

    /// Another CPU's list may come between two of ours. (B8)
    pub fn without_force_sync(_: &Batch<'_>, _next: [u64; 2], _forced: bool) -> bool {
        false
    }
}
