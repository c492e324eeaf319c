//! Not a posted text. An unbind tombstones the vDEVICE that it finds in `idev->vdev` without a
//! reference of it, although user space may be destroying it at this moment.
//!
//! Source: reference/iommufd.md R-A14, 3.3 (X2).

use crate::iommufd::main::linux_6_17::iommufd_object_tombstone_user;
use crate::iommufd::objects::{obj_of, to, Device, Ictx, Object};
use crate::linux::mutex::{mutex_lock, mutex_unlock};
use crate::linux::refcount::refcount_inc;
use crate::linux::slab::Ptr;

/// `iommufd_device_remove_vdev()`
fn iommufd_device_remove_vdev(idev: Ptr<Device>) {
    let (Some(ictx), Some(igroup)) = (idev.ictx.load(), idev.igroup.load()) else { return };

    mutex_lock(&igroup.lock);
    idev.destroying.store(true);
    let vdev = idev.vdev.load();
    mutex_unlock(&igroup.lock);
    if let Some(vdev) = vdev {
        // What iommufd_object_remove() will drop.
        refcount_inc(&vdev.obj.users);
        iommufd_object_tombstone_user(ictx, obj_of(vdev));
    }
}

/// `iommufd_device_pre_destroy()`
pub fn iommufd_device_pre_destroy(_ictx: Ptr<Ictx>, obj: Ptr<Object>) {
    iommufd_device_remove_vdev(to::<Device>(obj));
}
