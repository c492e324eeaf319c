//! Not a posted text. `iommufd_vdevice_destroy()` erases the slot whatever it holds.
//!
//! This is what the thread feared: the unwind of an allocation that got -EEXIST erases the entry
//! of another thread. Source: <cover.1730313494.git.nicolinc@nvidia.com>, comment 5;
//! reference/iommufd.md R-C11 (i).

use crate::iommufd::objects::{to, Ictx, Object, Vdevice};
use crate::linux::device::put_device;
use crate::linux::refcount::refcount_dec;
use crate::linux::slab::Ptr;
use crate::linux::xarray::xa_erase;

/// `iommufd_vdevice_destroy()`
pub fn iommufd_vdevice_destroy(_ictx: Ptr<Ictx>, obj: Ptr<Object>) {
    let vdev = to::<Vdevice>(obj);
    let Some(viommu) = vdev.viommu.load() else { return };

    xa_erase(&viommu.vdevs, vdev.id.load());
    refcount_dec(&viommu.obj.users);
    if let Some(dev) = vdev.dev.load() {
        put_device(dev);
    }
}
