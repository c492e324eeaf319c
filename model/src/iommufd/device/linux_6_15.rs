//! drivers/iommu/iommufd/device.c since 6.15: a device must itself be attached to be moved to
//! another HWPT; it is not enough that another one of its group is. A detach looks up what the
//! group is attached to under the group's lock.
//!
//! Source: reference/iommufd.md 2.5.3, R-D3; commit 55c85fa7579d; torvalds/linux v6.15, device.c
//! (what a group is attached to is found by PASID, under igroup->lock).

use uapi::Errno;

use super::replace_locked;
use crate::iommufd::fault::iommufd_hwpt_detach_device;
use crate::iommufd::objects::{Device, Group, Object};
use crate::linux::list::{list_del_init, list_entry};
use crate::linux::mutex::{mutex_lock, mutex_unlock};
use crate::linux::slab::Ptr;
use crate::linux::warn::label;

/// `iommufd_device_is_attached()`: under `igroup->lock`.
fn iommufd_device_is_attached(igroup: Ptr<Group>, idev: Ptr<Device>) -> bool {
    let mut nth = 0;
    while let Some(attached) = list_entry(&igroup.device_list, nth) {
        if attached.same(idev) {
            return true;
        }
        nth += 1;
    }
    false
}

/// `iommufd_device_do_replace()`
///
/// # Errors
///
/// -EINVAL if the group or the device is not attached, and what the driver answers.
pub fn iommufd_device_do_replace(
    idev: Ptr<Device>,
    hwpt: Ptr<Object>,
) -> Result<Option<Ptr<Object>>, Errno> {
    let Some(igroup) = idev.igroup.load() else { return Err(Errno::EINVAL) };

    mutex_lock(&igroup.lock);
    let ret = match igroup.hwpt.load() {
        Some(old_hwpt) if iommufd_device_is_attached(igroup, idev) => {
            replace_locked(igroup, idev, hwpt, old_hwpt)
        }
        _ => Err(Errno::EINVAL),
    };
    label("err_unlock");
    mutex_unlock(&igroup.lock);
    ret
}

/// `iommufd_hw_pagetable_detach()`: says which HWPT the caller has to put. It is the one that the
/// device leaves under the lock: a replace that came first has moved the device's reference.
pub fn iommufd_hw_pagetable_detach(idev: Ptr<Device>) -> Option<Ptr<Object>> {
    let igroup = idev.igroup.load()?;

    mutex_lock(&igroup.lock);
    let hwpt = igroup.hwpt.load();
    list_del_init(idev, &igroup.device_list);
    if list_entry(&igroup.device_list, 0).is_none() {
        iommufd_hwpt_detach_device(hwpt, idev);
        igroup.hwpt.store(None);
    }
    mutex_unlock(&igroup.lock);
    hwpt
}
