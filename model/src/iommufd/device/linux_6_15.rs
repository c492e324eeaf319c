//! drivers/iommu/iommufd/device.c since 6.15: a device must itself be attached to be moved to
//! another HWPT; it is not enough that another one of its group is.
//!
//! Source: reference/iommufd.md 2.5.3, R-D3; commit 55c85fa7579d.

use uapi::Errno;

use super::replace_locked;
use crate::iommufd::objects::{Device, Group, Object};
use crate::linux::list::list_entry;
use crate::linux::mutex::{mutex_lock, mutex_unlock};
use crate::linux::slab::Ptr;

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
    // err_unlock
    mutex_unlock(&igroup.lock);
    ret
}
