//! vDEVICE as in v3 of the series' second part: an object that holds the vIOMMU and the bound
//! device, one for each device.
//!
//! `idev->vdev` says which; it is set under the group's lock and cleared without it, and cleared
//! after the device's users were dropped (R-C5). Nothing undoes a vDEVICE when its device is
//! unbound, so the driver's unbind fails (R-C8). The vIOMMU and the device may sit behind different
//! IOMMUs (R-C14).
//!
//! Source: reference/iommufd.md 2.2.3; <cover.1728491532.git.nicolinc@nvidia.com>.

use uapi::Errno;

use super::{vdevice_object, VdeviceAlloc};
use crate::iommufd::objects::{obj_of, to, Device, Ictx, Object, Type, Vdevice, Viommu};
use crate::iommufd::ucmd::{iommufd_ucmd_respond, Ucmd};
use crate::linux::device::Device as StructDevice;
use crate::linux::mutex::{mutex_lock, mutex_unlock};
use crate::linux::refcount::{refcount_dec, refcount_inc};
use crate::linux::slab::Ptr;
use crate::linux::warn::{label, warn_on};
use crate::linux::xarray::{xa_cmpxchg, xa_destroy, xa_load};

/// Where the vDEVICE comes from.
pub(super) type NewVdevice = fn(Ptr<Ictx>) -> Result<Ptr<Vdevice>, Errno>;

/// `iommufd_viommu_destroy()`
pub fn iommufd_viommu_destroy(_ictx: Ptr<Ictx>, obj: Ptr<Object>) {
    let viommu = to::<Viommu>(obj);

    xa_destroy(&viommu.vdevs);
    if let Some(hwpt) = viommu.hwpt.load() {
        refcount_dec(&hwpt.obj.users);
    }
}

/// `iommufd_viommu_find_dev()`: what the drivers of v3 and v4 do themselves. The caller holds
/// xa_lock(vdevs), and nothing asserts it.
pub fn iommufd_viommu_find_dev(viommu: Ptr<Viommu>, vdev_id: u64) -> Option<Ptr<StructDevice>> {
    let vdev = xa_load(&viommu.vdevs, vdev_id)?;
    vdev.idev.load()?.dev.load()
}

/// `iommufd_vdevice_destroy()`: also the unwind of the allocation, which holds the group's lock.
///
/// In the unwind of -EBUSY the slot is another vDEVICE's, which is no reason to WARN (R-C7).
pub fn iommufd_vdevice_destroy(_ictx: Ptr<Ictx>, obj: Ptr<Object>) {
    let vdev = to::<Vdevice>(obj);
    let (Some(viommu), Some(idev)) = (vdev.viommu.load(), vdev.idev.load()) else { return };

    // viommu->ops->vdevice_free: the mock driver has none.
    let old = xa_cmpxchg(&viommu.vdevs, vdev.id.load(), Some(vdev), None);
    warn_on(matches!(old, Ok(Some(old)) if !old.same(vdev)));
    refcount_dec(&viommu.obj.users);
    refcount_dec(&idev.obj.users);
    idev.vdev.store(None);
}

/// `iommufd_vdevice_alloc_ioctl()`
///
/// # Errors
///
/// See reference/iommufd.md 2.2.3.
pub fn iommufd_vdevice_alloc_ioctl(ucmd: &Ucmd, cmd: &VdeviceAlloc) -> Result<u32, Errno> {
    vdevice_alloc_with(ucmd, cmd, mock_vdevice_alloc)
}

/// `mock_vdevice_alloc()`: the driver's part, where a driver wants a struct of its own.
///
/// # Errors
///
/// As `_iommufd_object_alloc()`.
pub(super) fn mock_vdevice_alloc(ictx: Ptr<Ictx>) -> Result<Ptr<Vdevice>, Errno> {
    vdevice_object(ictx)
}

/// Part of `iommufd_vdevice_alloc_ioctl()`: the look-ups and the puts.
///
/// # Errors
///
/// -ENOENT for an unknown vIOMMU or device, and what the allocation answers.
pub(super) fn vdevice_alloc_with(
    ucmd: &Ucmd,
    cmd: &VdeviceAlloc,
    new: NewVdevice,
) -> Result<u32, Errno> {
    let ictx = ucmd.ictx;
    let rev = ictx.rev;

    let viommu_obj = (rev.iommufd_get_object)(ictx, cmd.viommu_id, Type::Viommu)?;
    let ret = match (rev.iommufd_get_object)(ictx, cmd.dev_id, Type::Device) {
        Err(e) => Err(e),
        Ok(idev_obj) => {
            let idev = to::<Device>(idev_obj);
            let ret = match idev.igroup.load() {
                Some(igroup) => {
                    mutex_lock(&igroup.lock);
                    let ret = vdevice_alloc_locked(ucmd, cmd, to(viommu_obj), idev, new);
                    label("out_unlock_igroup");
                    mutex_unlock(&igroup.lock);
                    ret
                }
                None => Err(Errno::ENOENT),
            };
            label("out_put_idev");
            (rev.iommufd_put_object)(ictx, idev_obj);
            ret
        }
    };
    label("out_put_viommu");
    (rev.iommufd_put_object)(ictx, viommu_obj);
    ret
}

/// Part of `iommufd_vdevice_alloc_ioctl()`: what the group's lock covers, the unwind too.
fn vdevice_alloc_locked(
    ucmd: &Ucmd,
    cmd: &VdeviceAlloc,
    viommu: Ptr<Viommu>,
    idev: Ptr<Device>,
    new: NewVdevice,
) -> Result<u32, Errno> {
    let ictx = ucmd.ictx;

    if idev.vdev.load().is_some() {
        return Err(Errno::EEXIST);
    }
    let vdev = new(ictx)?;

    vdev.idev.store(Some(idev));
    vdev.id.store(cmd.virt_id);
    vdev.viommu.store(Some(viommu));
    idev.vdev.store(Some(vdev));
    refcount_inc(&idev.obj.users);
    refcount_inc(&viommu.obj.users);

    let id = vdev.obj.id.load();
    let published = match xa_cmpxchg(&viommu.vdevs, cmd.virt_id, None, Some(vdev)) {
        Err(e) => Err(e),
        Ok(Some(_)) => Err(Errno::EBUSY),
        Ok(None) => Ok(()),
    };
    if let Err(e) = published.and_then(|()| iommufd_ucmd_respond(ucmd)) {
        label("out_abort");
        (ictx.rev.iommufd_object_abort_and_destroy)(ictx, obj_of(vdev));
        return Err(e);
    }
    (ictx.rev.iommufd_object_finalize)(ictx, obj_of(vdev));
    Ok(id)
}
