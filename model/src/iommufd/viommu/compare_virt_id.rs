//! Not a posted text. `iommufd_vdevice_destroy()` erases the slot if what it holds has the same
//! virtual ID, instead of being the same vDEVICE.
//!
//! "I was worried the id could be aliased": <cover.1730313494.git.nicolinc@nvidia.com>,
//! comment 5. Source: reference/iommufd.md R-C11 (v).

use crate::iommufd::objects::{to, Ictx, Object, Vdevice};
use crate::linux::device::put_device;
use crate::linux::refcount::refcount_dec;
use crate::linux::slab::Ptr;
use crate::linux::xarray::{xa_load, xa_lock_index, xa_unlock_index, xas_store, Slot};

/// `iommufd_vdevice_destroy()`
pub fn iommufd_vdevice_destroy(_ictx: Ptr<Ictx>, obj: Ptr<Object>) {
    let vdev = to::<Vdevice>(obj);
    let Some(viommu) = vdev.viommu.load() else { return };
    let virt_id = vdev.id.load();

    xa_lock_index(&viommu.vdevs, virt_id);
    if xa_load(&viommu.vdevs, virt_id).is_some_and(|other| other.id.load() == virt_id) {
        xas_store(&viommu.vdevs, virt_id, Slot::Null);
    }
    xa_unlock_index(&viommu.vdevs, virt_id);
    refcount_dec(&viommu.obj.users);
    if let Some(dev) = vdev.dev.load() {
        put_device(dev);
    }
}
