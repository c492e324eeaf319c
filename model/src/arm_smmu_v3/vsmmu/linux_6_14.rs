//! The first contract: the driver's op gets the whole array, and writes how much of it was handled.
//!
//! Source: commit d68beb276ba2, arm_vsmmu_cache_invalidate(); include/linux/iommu.h,
//! iommu_copy_struct_from_full_user_array(); reference/smmuv3.md 4.1 to 4.4.

use uapi::queue::{Invalidate, INVALIDATE_ENTRY_LEN};
use uapi::Errno;

use super::{
    arm_vsmmu_convert_user_cmd, batch_max, copy_struct_from_user, is_our_type, is_unmapped,
    ArmVsmmu, InvalidateCmds,
};
use crate::arm_smmu_v3::cmdq::Cmdq;
use crate::linux::slab::{kcalloc, kfree, Ptr};
use crate::linux::uaccess::copy_from_user;

/// Part of `iommufd_hwpt_invalidate()`: the op is called once, and what it left in `entry_num` is
/// what user space gets.
///
/// # Errors
///
/// Those of [`arm_vsmmu_cache_invalidate`].
pub fn iommufd_hwpt_invalidate(
    q: &Cmdq,
    vsmmu: Ptr<ArmVsmmu>,
    array: &Invalidate,
) -> (Result<(), Errno>, u32) {
    let mut entry_num = array.commands.len() as u32;
    let ret = arm_vsmmu_cache_invalidate(q, vsmmu, array, &mut entry_num);
    (ret, entry_num)
}

/// `iommu_copy_struct_from_full_user_array()`
///
/// If the lengths are the same the array is copied as a whole, and after that once more by entries:
/// nothing returns in between, and the second copy wins.
///
/// # Errors
///
/// -EINVAL for another type and for an empty array, -EFAULT, -E2BIG.
fn iommu_copy_struct_from_full_user_array(array: &Invalidate) -> Result<Vec<[u64; 2]>, Errno> {
    if !is_our_type(array) || array.commands.is_empty() {
        return Err(Errno::EINVAL);
    }
    let entries = array.commands.len();
    if array.entry_len == INVALIDATE_ENTRY_LEN {
        copy_from_user(is_unmapped(array, entries - 1))?;
    }
    (0..entries).map(|index| copy_struct_from_user(array, index)).collect()
}

/// `arm_vsmmu_cache_invalidate()`
///
/// # Errors
///
/// -ENOMEM, the copy's, -EIO for a command that does not convert, -ETIMEDOUT.
fn arm_vsmmu_cache_invalidate(
    q: &Cmdq,
    vsmmu: Ptr<ArmVsmmu>,
    array: &Invalidate,
    entry_num: &mut u32,
) -> Result<(), Errno> {
    // On failure nobody has written entry_num yet: user space reads its own number back.
    let bytes = u64::from(INVALIDATE_ENTRY_LEN);
    let cmds = kcalloc(u64::from(*entry_num), bytes, |_| InvalidateCmds)?;

    let mut cur = 0;
    let ret = iommu_copy_struct_from_full_user_array(array)
        .and_then(|mut copied| convert_and_issue(q, vsmmu, &mut copied, &mut cur));
    // out: what `cur` has passed counts as handled, issued or not.
    *entry_num = cur as u32;
    kfree(cmds);
    ret
}

/// Part of `arm_vsmmu_cache_invalidate()`: the loop. `cur` is where it stopped.
///
/// # Errors
///
/// -EIO, -ETIMEDOUT.
fn convert_and_issue(
    q: &Cmdq,
    vsmmu: Ptr<ArmVsmmu>,
    cmds: &mut [[u64; 2]],
    cur: &mut usize,
) -> Result<(), Errno> {
    let (mut last, end) = (0, cmds.len());

    while *cur != end {
        cmds[*cur] = arm_vsmmu_convert_user_cmd(q, vsmmu, cmds[*cur])?;

        // A list has CMDQ_BATCH_ENTRIES with its CMD_SYNC.
        *cur += 1;
        if *cur != end
            && *cur - last != batch_max(q)
            && (q.rev.vsmmu_can_batch_cmd)(q, cmds[last], cmds[*cur])
        {
            continue;
        }

        // Always the main queue: the commands are not grouped by type.
        let ret = (q.rev.issue_cmdlist)(q, &cmds[last..*cur], true);
        if ret.is_err() {
            *cur -= 1;
            return ret;
        }
        last = *cur;
    }
    Ok(())
}
