//! drivers/iommu/iommufd/device.c since 6.17-rc7: detaching a device puts its HWPT, so that no
//! unwind can forget it.
//!
//! Source: reference/iommufd.md 2.5.3, R-B3; commit 53d0584eeb2c. That a PASID which is not attached is no
//! longer told apart is from memory of that commit.

use crate::iommufd::hw_pagetable::iommufd_hw_pagetable_put;
use crate::iommufd::objects::{Device, Object};
use crate::linux::refcount::refcount_dec;
use crate::linux::slab::Ptr;

/// `iommufd_hw_pagetable_detach()`: nothing is left for the caller to put.
pub fn iommufd_hw_pagetable_detach(idev: Ptr<Device>, pasid: u64) -> Option<Ptr<Object>> {
    let hwpt = super::linux_6_15::iommufd_hw_pagetable_detach(idev, pasid);

    if let (Some(hwpt), Some(ictx)) = (hwpt, idev.ictx.load()) {
        iommufd_hw_pagetable_put(ictx, hwpt);
    }
    None
}

/// `iommufd_device_detach()`: does not know any more whether anything was attached, and gives the count of
/// the device back in any case.
pub fn iommufd_device_detach(idev: Ptr<Device>, pasid: u64) {
    if let Some(ictx) = idev.ictx.load() {
        let _nothing_to_put = (ictx.rev.iommufd_hw_pagetable_detach)(idev, pasid);
    }
    refcount_dec(&idev.obj.users);
}
