//! Not a posted text. `iommufd_vdevice_destroy()` drops the device before it clears the slot
//! through which an invalidation finds it.
//!
//! Source: reference/iommufd.md R-C12.

use crate::iommufd::objects::{to, Ictx, Object, Vdevice};
use crate::linux::device::put_device;
use crate::linux::refcount::refcount_dec;
use crate::linux::slab::Ptr;
use crate::linux::xarray::xa_cmpxchg;

/// `iommufd_vdevice_destroy()`
pub fn iommufd_vdevice_destroy(_ictx: Ptr<Ictx>, obj: Ptr<Object>) {
    let vdev = to::<Vdevice>(obj);
    let Some(viommu) = vdev.viommu.load() else { return };

    if let Some(dev) = vdev.dev.load() {
        put_device(dev);
    }
    let _not_ours = xa_cmpxchg(&viommu.vdevs, vdev.id.load(), Some(vdev), None);
    refcount_dec(&viommu.obj.users);
}
