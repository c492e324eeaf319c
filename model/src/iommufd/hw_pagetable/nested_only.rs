//! `iommufd_hwpt_invalidate()` before there were vIOMMUs (6.8 to 6.12): only a nested HWPT has
//! caches, and an id of anything else names none.
//!
//! Source: torvalds/linux v6.12, drivers/iommu/iommufd/hw_pagetable.c; reference/iommufd.md 2.9.6
//! ("6.12: ENOENT").

use uapi::Errno;

use crate::iommufd::hw_pagetable::{
    hwpt_invalidate_check, hwpt_invalidate_respond, HwptInvalidate,
};
use crate::iommufd::objects::{to, HwptNested, Type};
use crate::iommufd::selftest::mock_domain_cache_invalidate_user;
use crate::iommufd::ucmd::Ucmd;

/// `iommufd_hwpt_invalidate()`: IOMMU_HWPT_INVALIDATE. Says, beside the answer, what stands in
/// `entry_num` when the struct could be written back.
pub fn iommufd_hwpt_invalidate(
    ucmd: &Ucmd,
    cmd: &HwptInvalidate,
) -> (Result<(), Errno>, Option<u32>) {
    hwpt_invalidate_respond(ucmd, hwpt_invalidate_entries(ucmd, cmd))
}

/// Part of `iommufd_hwpt_invalidate()`: all but the answer.
fn hwpt_invalidate_entries(ucmd: &Ucmd, cmd: &HwptInvalidate) -> (Result<(), Errno>, u32) {
    let rev = ucmd.ictx.rev;

    if let Err(e) = hwpt_invalidate_check(ucmd.ictx, cmd) {
        return (Err(e), 0);
    }

    let hwpt_obj = match (rev.iommufd_get_object)(ucmd.ictx, cmd.hwpt_id, Type::HwptNested) {
        Ok(obj) => obj,
        Err(e) => return (Err(e), 0),
    };
    let done = mock_domain_cache_invalidate_user(to::<HwptNested>(hwpt_obj), cmd);
    (rev.iommufd_put_object)(ucmd.ictx, hwpt_obj);
    done
}
