//! Not a posted text. `iommufd_vdevice_destroy()` puts the bound device before it unlocks the
//! group, so the unbind may free both while the lock is held.
//!
//! Source: reference/iommufd.md R-C17, 3.3 (X4).

use super::linux_6_17::iommufd_vdevice_abort;
use crate::iommufd::objects::{obj_of, to, Ictx, Object, Vdevice};
use crate::linux::mutex::{mutex_lock, mutex_unlock};
use crate::linux::slab::Ptr;

/// `iommufd_vdevice_destroy()`
pub fn iommufd_vdevice_destroy(_ictx: Ptr<Ictx>, obj: Ptr<Object>) {
    let vdev = to::<Vdevice>(obj);
    let Some(idev) = vdev.idev.load() else { return };
    let (Some(ictx), Some(igroup)) = (idev.ictx.load(), idev.igroup.load()) else { return };

    mutex_lock(&igroup.lock);
    iommufd_vdevice_abort(ictx, obj);
    (ictx.rev.iommufd_put_object)(ictx, obj_of(idev));
    mutex_unlock(&igroup.lock);
}
