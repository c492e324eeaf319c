//! drivers/iommu/iommu.c since 6.15: the handle of a group is found when its driver has taken the domain.
//!
//! Source: "iommu: Swap the order of setting group->pasid_array and calling attach op of iommu drivers" (v6.15),
//! from memory; reference/iommufd.md 2.5.3.

use uapi::Errno;

use super::{new_handle, set_attach_handle};
use crate::iommufd::device::iommu_attach;
use crate::iommufd::objects::{Device, Object};
use crate::linux::slab::{kfree, Ptr};
use crate::linux::warn::label;

/// `iommufd_hwpt_attach_device()` of a HWPT with a fault queue, and `iommu_attach_group_handle()` in it. Under
/// `igroup->lock`.
///
/// # Errors
///
/// The driver's; -ENOMEM.
pub fn iommufd_fault_domain_attach_dev(hwpt: Ptr<Object>, idev: Ptr<Device>) -> Result<(), Errno> {
    let handle = new_handle(hwpt, idev)?;

    // iommu_attach_group_handle(): the entry of pasid_array is reserved, which nobody takes for a handle.
    if let Err(e) = iommu_attach(idev, Some(hwpt)) {
        label("out_free_handle");
        kfree(handle);
        return Err(e);
    }
    set_attach_handle(idev, Some(handle));
    Ok(())
}
