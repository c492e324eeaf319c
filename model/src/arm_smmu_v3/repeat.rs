//! Erratum T264-SMMU-3: an entry can survive an invalidation that races with traffic, so every list
//! of CFGI or TLBI commands is issued a second time once its CMD_SYNC is complete.
//!
//! Whether to repeat is decided by the first command of a list, so a list has commands of one
//! class: batches are cut where the class changes.
//!
//! Source: commits 95ed2da20283, 06b15ddcfbc0 (v7.3); reference/smmuv3.md 3.6 B15 (their text was
//! not seen, only what they do).

use uapi::Errno;

use smmuv3::command::Class;
use smmuv3::{field, Op};

use crate::arm_smmu_v3::batch::{self, Batch};
use crate::arm_smmu_v3::cmdq::{self, Cmdq};
use crate::arm_smmu_v3::revision::Cmds;

/// Whether this command must be repeated on an SMMU with the erratum.
pub fn is_cfgi_or_tlbi(cmd: [u64; 2]) -> bool {
    let op = Op::from_bits(field::OPCODE.get(cmd) as u8);
    op.is_some_and(|op| matches!(op.row().class, Class::Cfgi | Class::Tlbi))
}

/// `arm_smmu_cmdq_issue_cmdlist()`
///
/// # Errors
///
/// -ETIMEDOUT
pub fn arm_smmu_cmdq_issue_cmdlist(q: &Cmdq, cmds: &Cmds, sync: bool) -> Result<(), Errno> {
    // __arm_smmu_cmdq_issue_cmdlist()
    cmdq::arm_smmu_cmdq_issue_cmdlist(q, cmds, sync)?;
    if sync && must_repeat(q, cmds) {
        cmdq::arm_smmu_cmdq_issue_cmdlist(q, cmds, sync)?;
    }
    Ok(())
}

/// Whether the SMMU has the erratum and the list begins with what must be repeated.
fn must_repeat(q: &Cmdq, cmds: &Cmds) -> bool {
    q.program.repeat_tlbi_cfgi && cmds.first().is_some_and(|first| is_cfgi_or_tlbi(*first))
}

/// `arm_smmu_cmdq_batch_force_sync()`: a list without a CMD_SYNC would not be repeated, and neither
/// would what follows commands of another class.
pub fn arm_smmu_cmdq_batch_force_sync(batch: &Batch<'_>, next: [u64; 2], forced: bool) -> bool {
    let q = batch.cmdq;
    let changes = batch.cmds.last().is_some_and(|last| !arm_vsmmu_can_batch_cmd(q, *last, next));
    let forced = forced || q.program.repeat_tlbi_cfgi;
    changes || batch::arm_smmu_cmdq_batch_force_sync(batch, next, forced)
}

/// `arm_vsmmu_can_batch_cmd()`
pub fn arm_vsmmu_can_batch_cmd(q: &Cmdq, last: [u64; 2], next: [u64; 2]) -> bool {
    !q.program.repeat_tlbi_cfgi || is_cfgi_or_tlbi(last) == is_cfgi_or_tlbi(next)
}

/// Not posted texts: see there.
pub mod twins {
    use super::*;

    /// The repetition does not wait for the first CMD_SYNC.
    ///
    /// # Errors
    ///
    /// -ETIMEDOUT
    pub fn repeat_before_sync(q: &Cmdq, cmds: &Cmds, sync: bool) -> Result<(), Errno> {
        if sync && must_repeat(q, cmds) {
            cmdq::arm_smmu_cmdq_issue_cmdlist(q, cmds, false)?;
        }
        cmdq::arm_smmu_cmdq_issue_cmdlist(q, cmds, sync)
    }
}
