//! drivers/iommu/iommufd/device.c of 6.2: a device that is attached to a HWPT by its id puts the
//! HWPT on the list of its IOAS, where it has been since its allocation.
//!
//! Source: commit b4ff830eca09 (CVE-2023-54043), its title and what is known of it from memory;
//! reference/iommufd.md R-D2.

use crate::iommufd::objects::{to, HwptPaging, Object, Type};
use crate::linux::list::list_add_tail;
use crate::linux::mutex::{mutex_lock, mutex_unlock};
use crate::linux::slab::Ptr;

/// Part of `iommufd_device_attach()`: what follows a successful attach to a HWPT.
pub fn attached_to_hwpt(hwpt: Ptr<Object>) {
    if hwpt.ty != Type::HwptPaging {
        return;
    }
    let paging = to::<HwptPaging>(hwpt);
    let Some(ioas) = paging.ioas.load() else { return };

    mutex_lock(&ioas.mutex);
    list_add_tail(paging, &ioas.hwpt_list);
    mutex_unlock(&ioas.mutex);
}
