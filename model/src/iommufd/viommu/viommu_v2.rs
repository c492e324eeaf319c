//! vIOMMU v2: as v1, with one virtual device ID for each device, and a semaphore around set, unset
//! and every use of an entry.
//!
//! The entry and the device point to each other and hold nothing. Destroying the vIOMMU and
//! destroying the device both take entries away, and neither takes the semaphore (R-C4).
//!
//! Source: reference/iommufd.md 2.2.2; <cover.1724776335.git.nicolinc@nvidia.com>.

use uapi::Errno;

use super::viommu_v1::{new_vdev_id, with_viommu_and_idev, ViommuVdevId};
use crate::iommufd::device;
use crate::iommufd::objects::{to, Device, Ictx, Object, Viommu};
use crate::iommufd::ucmd::Ucmd;
use crate::linux::device::Device as StructDevice;
use crate::linux::mutex::{mutex_lock, mutex_unlock};
use crate::linux::refcount::refcount_dec;
use crate::linux::rwsem::{down_write, lockdep_assert_held_rwsem, up_write};
use crate::linux::slab::{kfree, Ptr};
use crate::linux::warn::{label, warn_on};
use crate::linux::xarray::{check_nodes_freed, xa_cmpxchg, xa_destroy, xa_find, xa_load};

/// `iommufd_viommu_destroy()`: its comment says that nobody can race here.
pub fn iommufd_viommu_destroy(_ictx: Ptr<Ictx>, obj: Ptr<Object>) {
    let viommu = to::<Viommu>(obj);

    let mut index = 0;
    while let Some((found, vdev_id)) = xa_find(&viommu.vdev_ids, index) {
        if let Some(idev) = vdev_id.idev.load() {
            idev.vdev_id.store(None);
        }
        kfree(vdev_id);
        let Some(next) = found.checked_add(1) else { break };
        index = next;
    }
    xa_destroy(&viommu.vdev_ids);
    check_nodes_freed(&viommu.vdev_ids);
    if let Some(hwpt) = viommu.hwpt.load() {
        refcount_dec(&hwpt.obj.users);
    }
}

/// `iommufd_device_destroy()`: takes the device's entry away first, without a lock.
pub fn iommufd_device_destroy(ictx: Ptr<Ictx>, obj: Ptr<Object>) {
    let idev = to::<Device>(obj);

    if let Some(vdev_id) = idev.vdev_id.load() {
        if let Some(viommu) = vdev_id.viommu.load() {
            let id = vdev_id.id.load();
            let old = xa_cmpxchg(&viommu.vdev_ids, id, Some(vdev_id), None);
            warn_on(!matches!(old, Ok(Some(old)) if old.same(vdev_id)));
        }
        kfree(vdev_id);
    }
    device::iommufd_device_destroy(ictx, obj);
}

/// `iommufd_viommu_find_device()`: the caller keeps holding the semaphore while it uses the
/// device.
pub fn iommufd_viommu_find_device(viommu: Ptr<Viommu>, id: u64) -> Option<Ptr<StructDevice>> {
    lockdep_assert_held_rwsem(&viommu.vdev_ids_rwsem);

    let vdev_id = xa_load(&viommu.vdev_ids, id)?;
    vdev_id.idev.load()?.dev.load()
}

/// Part of `iommufd_viommu_set_vdev_id()` and `iommufd_viommu_unset_vdev_id()`: the locks, in
/// their order.
fn locked(
    viommu: Ptr<Viommu>,
    idev: Ptr<Device>,
    id: u64,
    body: fn(Ptr<Viommu>, Ptr<Device>, u64) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let Some(igroup) = idev.igroup.load() else { return Err(Errno::ENOENT) };

    down_write(&viommu.vdev_ids_rwsem);
    mutex_lock(&igroup.lock);
    let ret = body(viommu, idev, id);
    label("out_unlock_igroup");
    mutex_unlock(&igroup.lock);
    up_write(&viommu.vdev_ids_rwsem);
    ret
}

/// `iommufd_viommu_set_vdev_id()`: IOMMU_VIOMMU_SET_VDEV_ID.
///
/// # Errors
///
/// -EEXIST if the device has an id already, -EBUSY if the id is taken, -ENOMEM.
pub fn iommufd_viommu_set_vdev_id(ucmd: &Ucmd, cmd: &ViommuVdevId) -> Result<(), Errno> {
    with_viommu_and_idev(ucmd, cmd, |viommu, idev, id| locked(viommu, idev, id, set_locked))
}

/// Part of `iommufd_viommu_set_vdev_id()`: what the locks cover.
fn set_locked(viommu: Ptr<Viommu>, idev: Ptr<Device>, id: u64) -> Result<(), Errno> {
    if idev.vdev_id.load().is_some() {
        return Err(Errno::EEXIST);
    }
    let vdev_id = new_vdev_id(viommu, id)?;
    vdev_id.idev.store(Some(idev));

    let stored = match xa_cmpxchg(&viommu.vdev_ids, id, None, Some(vdev_id)) {
        Err(e) => Err(e),
        Ok(Some(_)) => Err(Errno::EBUSY),
        Ok(None) => Ok(()),
    };
    match stored {
        Ok(()) => idev.vdev_id.store(Some(vdev_id)),
        Err(_) => {
            label("out_free");
            kfree(vdev_id);
        }
    }
    stored
}

/// `iommufd_viommu_unset_vdev_id()`: IOMMU_VIOMMU_UNSET_VDEV_ID.
///
/// # Errors
///
/// -ENOENT if the device has no id, -EINVAL if it has another one.
pub fn iommufd_viommu_unset_vdev_id(ucmd: &Ucmd, cmd: &ViommuVdevId) -> Result<(), Errno> {
    with_viommu_and_idev(ucmd, cmd, |viommu, idev, id| locked(viommu, idev, id, unset_locked))
}

/// Part of `iommufd_viommu_unset_vdev_id()`: what the locks cover.
pub(super) fn unset_locked(viommu: Ptr<Viommu>, idev: Ptr<Device>, id: u64) -> Result<(), Errno> {
    let Some(vdev_id) = idev.vdev_id.load() else { return Err(Errno::ENOENT) };
    if vdev_id.id.load() != id {
        return Err(Errno::EINVAL);
    }

    if let Ok(Some(old)) = xa_cmpxchg(&viommu.vdev_ids, id, Some(vdev_id), None) {
        kfree(old);
    }
    idev.vdev_id.store(None);
    Ok(())
}
