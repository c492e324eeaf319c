//! vDEVICE as in v4 of the series' second part: destroy and abort are two operations, and unbind
//! removes the device's vDEVICE first.
//!
//! The unwind of an allocation holds the group's lock already, so it needs an operation that does
//! not take it (R-C6). unbind reads the id of the vDEVICE under the lock and removes whatever has
//! that id afterwards (R-C9), and lets that fail (R-C10).
//!
//! Source: reference/iommufd.md 2.2.4; <cover.1729555967.git.nicolinc@nvidia.com>.

use uapi::Errno;

use super::p2_v3::{mock_vdevice_alloc, vdevice_alloc_with};
use super::VdeviceAlloc;
use crate::iommufd::main::Remove;
use crate::iommufd::objects::{obj_of, to, Device, Ictx, Object, Vdevice};
use crate::iommufd::ucmd::Ucmd;
use crate::linux::mutex::{lockdep_assert_held, mutex_lock, mutex_unlock};
use crate::linux::refcount::refcount_dec;
use crate::linux::slab::Ptr;
use crate::linux::warn::warn_on;
use crate::linux::xarray::{xa_cmpxchg, xa_lock_index, xa_unlock_index, xas_load, Slot};

/// `iommufd_vdevice_abort()`: the caller holds the group's lock.
pub fn iommufd_vdevice_abort(_ictx: Ptr<Ictx>, obj: Ptr<Object>) {
    let vdev = to::<Vdevice>(obj);
    let (Some(viommu), Some(idev)) = (vdev.viommu.load(), vdev.idev.load()) else { return };
    if let Some(igroup) = idev.igroup.load() {
        lockdep_assert_held(&igroup.lock);
    }

    // viommu->ops->vdevice_free: the mock driver has none.
    let old = xa_cmpxchg(&viommu.vdevs, vdev.id.load(), Some(vdev), None);
    warn_on(matches!(old, Ok(Some(old)) if !old.same(vdev)));
    refcount_dec(&viommu.obj.users);
    refcount_dec(&idev.obj.users);
    idev.vdev.store(None);
}

/// `iommufd_vdevice_destroy()`
pub fn iommufd_vdevice_destroy(ictx: Ptr<Ictx>, obj: Ptr<Object>) {
    let vdev = to::<Vdevice>(obj);

    if let Some(igroup) = vdev.idev.load().and_then(|idev| idev.igroup.load()) {
        mutex_lock(&igroup.lock);
    }
    iommufd_vdevice_abort(ictx, obj);
    // The device is not held any more, and the lock is found through it.
    if let Some(igroup) = vdev.idev.load().and_then(|idev| idev.igroup.load()) {
        mutex_unlock(&igroup.lock);
    }
}

/// Part of `iommufd_device_unbind()`: removes the vDEVICE of the device, by its id.
pub fn iommufd_device_unbind_vdev(ictx: Ptr<Ictx>, idev: Ptr<Device>) {
    let Some(igroup) = idev.igroup.load() else { return };

    mutex_lock(&igroup.lock);
    let vdev_id = idev.vdev.load().map(|vdev| vdev.obj.id.load());
    mutex_unlock(&igroup.lock);
    if let Some(id) = vdev_id {
        let _ignored = (ictx.rev.iommufd_object_remove)(ictx, None, id.into(), Remove::Now);
    }
}

/// `iommufd_verify_unfinalized_object()`: whether a driver gave back an object that it has really
/// allocated, and nobody can see yet.
///
/// # Errors
///
/// -EINVAL for an object without id, -ENOENT for one whose id is not reserved.
fn iommufd_verify_unfinalized_object(ictx: Ptr<Ictx>, obj: Ptr<Object>) -> Result<(), Errno> {
    let id = u64::from(obj.id.load());
    if id == 0 {
        return Err(Errno::EINVAL);
    }

    xa_lock_index(&ictx.objects, id);
    let reserved = matches!(xas_load(&ictx.objects, id), Slot::Zero);
    xa_unlock_index(&ictx.objects, id);
    reserved.then_some(()).ok_or(Errno::ENOENT)
}

/// Part of `iommufd_vdevice_alloc_ioctl()`: the driver's vDEVICE, checked.
fn verified_vdevice(ictx: Ptr<Ictx>) -> Result<Ptr<Vdevice>, Errno> {
    let vdev = mock_vdevice_alloc(ictx)?;

    iommufd_verify_unfinalized_object(ictx, obj_of(vdev))?;
    Ok(vdev)
}

/// `iommufd_vdevice_alloc_ioctl()`
///
/// # Errors
///
/// See reference/iommufd.md 2.2.3 and 2.2.4.
pub fn iommufd_vdevice_alloc_ioctl(ucmd: &Ucmd, cmd: &VdeviceAlloc) -> Result<u32, Errno> {
    vdevice_alloc_with(ucmd, cmd, verified_vdevice)
}
