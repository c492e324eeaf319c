//! drivers/iommu/iommufd/device.c since 6.17-rc7: detaching a device puts its HWPT, so that no
//! unwind can forget it.
//!
//! Source: reference/iommufd.md 2.5.3, R-B3; commit 53d0584eeb2c.

use crate::iommufd::hw_pagetable::iommufd_hw_pagetable_put;
use crate::iommufd::objects::{Device, Object};
use crate::linux::slab::Ptr;

/// `iommufd_hw_pagetable_detach()`: nothing is left for the caller to put.
pub fn iommufd_hw_pagetable_detach(idev: Ptr<Device>, pasid: u64) -> Option<Ptr<Object>> {
    let hwpt = super::linux_6_15::iommufd_hw_pagetable_detach(idev, pasid);

    if let (Some(hwpt), Some(ictx)) = (hwpt, idev.ictx.load()) {
        iommufd_hw_pagetable_put(ictx, hwpt);
    }
    None
}
