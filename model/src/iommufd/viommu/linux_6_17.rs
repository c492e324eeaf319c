//! drivers/iommu/iommufd/viommu.c since 6.17: a vDEVICE holds its bound device, and goes away
//! with it.
//!
//! On success the `users` and `wait_cnt` that `iommufd_get_object()` gave the allocation pass to
//! the vDEVICE, so that an unbind waits for whoever destroys it. The unbind itself destroys it in
//! `pre_destroy`. `idev->vdev` and `idev->destroying` are under `igroup->lock`.
//!
//! Source: reference/iommufd.md 2.1.1, 2.2.7 (V619, M7x); commits 850f14f5b919, 651f733675c4,
//! a64bae68adf1, ed42eee797ff.

use uapi::Errno;

use super::{vdevice_object, vdevice_publish, VdeviceAlloc, ViommuAlloc};
use crate::iommufd::hw_pagetable::__iommu_get_iommu_dev;
use crate::iommufd::main::linux_6_17::{_iommufd_object_alloc_ucmd, iommufd_object_tombstone_user};
use crate::iommufd::objects::{
    obj_of, to, Device, HwptPaging, Ictx, Object, Type, Vdevice, Viommu,
};
use crate::iommufd::selftest::linux_6_17::{
    mock_get_viommu_size, mock_viommu_destroy, mock_viommu_init,
};
use crate::iommufd::selftest::viommu_fields;
use crate::iommufd::ucmd::{iommufd_ucmd_respond, Ucmd};
use crate::linux::device::Device as StructDevice;
use crate::linux::mutex::{lockdep_assert_held, mutex_lock, mutex_unlock};
use crate::linux::refcount::{refcount_dec, refcount_inc};
use crate::linux::slab::Ptr;
use crate::linux::warn::{label, warn_on};
use crate::linux::xarray::{lockdep_assert_held_xa, xa_cmpxchg, xa_destroy, xa_load};

/// sizeof(struct iommufd_vdevice), roughly: what a driver's vDEVICE must have room for.
const VDEVICE_SIZE: u32 = 128;

/// `iommufd_viommu_alloc_ioctl()`: IOMMU_VIOMMU_ALLOC. The driver says how large its vIOMMU is
/// before the parent is looked up; the dispatcher finalizes the object.
///
/// # Errors
///
/// See reference/iommufd.md 2.1.1 and 2.9.4.
pub fn iommufd_viommu_alloc_ioctl(ucmd: &Ucmd, cmd: &ViommuAlloc) -> Result<u32, Errno> {
    let ictx = ucmd.ictx;
    let rev = ictx.rev;

    if cmd.flags != 0 || cmd.ty == 0 {
        return Err(Errno::EOPNOTSUPP);
    }

    let idev_obj = (rev.iommufd_get_object)(ictx, cmd.dev_id, Type::Device)?;
    let idev = to::<Device>(idev_obj);

    let ret = if mock_get_viommu_size(cmd.ty) == 0 {
        Err(Errno::EOPNOTSUPP)
    } else {
        match (rev.iommufd_get_object)(ictx, cmd.hwpt_id, Type::HwptPaging) {
            Err(e) => Err(e),
            Ok(hwpt_obj) => {
                let ret = viommu_alloc_on(ucmd, cmd, idev, to::<HwptPaging>(hwpt_obj));
                label("out_put_hwpt");
                (rev.iommufd_put_object)(ictx, hwpt_obj);
                ret
            }
        }
    };
    label("out_put_idev");
    (rev.iommufd_put_object)(ictx, idev_obj);
    ret
}

/// Part of `iommufd_viommu_alloc_ioctl()`: what stands between the look-ups and the puts.
fn viommu_alloc_on(
    ucmd: &Ucmd,
    cmd: &ViommuAlloc,
    idev: Ptr<Device>,
    hwpt: Ptr<HwptPaging>,
) -> Result<u32, Errno> {
    if !hwpt.nest_parent {
        return Err(Errno::EINVAL);
    }

    let viommu = _iommufd_object_alloc_ucmd(ucmd, Type::Viommu, viommu_fields)?;
    viommu.ictx.store(Some(ucmd.ictx));
    viommu.hwpt.store(Some(hwpt));
    refcount_inc(&hwpt.obj.users);
    // Not counted: an IOMMU that is in use is assumed not to be unplugged.
    viommu.iommu_dev.store(__iommu_get_iommu_dev(idev));

    // What fails from here on is undone by the dispatcher.
    mock_viommu_init(ucmd, viommu, cmd)?;
    let id = viommu.obj.id.load();
    iommufd_ucmd_respond(ucmd)?;
    Ok(id)
}

/// `iommufd_viommu_destroy()`: the driver's part comes first, so that nothing of it can be reached
/// any more.
pub fn iommufd_viommu_destroy(_ictx: Ptr<Ictx>, obj: Ptr<Object>) {
    let viommu = to::<Viommu>(obj);

    // viommu->ops->destroy
    mock_viommu_destroy(viommu);
    if let Some(hwpt) = viommu.hwpt.load() {
        refcount_dec(&hwpt.obj.users);
    }
    xa_destroy(&viommu.vdevs);
}

/// `iommufd_vdevice_abort()`: the caller holds `igroup->lock`.
pub fn iommufd_vdevice_abort(_ictx: Ptr<Ictx>, obj: Ptr<Object>) {
    let vdev = to::<Vdevice>(obj);
    let (Some(viommu), Some(idev)) = (vdev.viommu.load(), vdev.idev.load()) else { return };

    if let Some(igroup) = idev.igroup.load() {
        lockdep_assert_held(&igroup.lock);
    }
    // vdev->destroy: the mock driver has none.
    let _not_ours = xa_cmpxchg(&viommu.vdevs, vdev.id.load(), Some(vdev), None);
    refcount_dec(&viommu.obj.users);
    idev.vdev.store(None);
}

/// `iommufd_vdevice_destroy()`. The put comes last: it may let the unbind go on, which frees the
/// device and the group whose lock was held here.
pub fn iommufd_vdevice_destroy(_ictx: Ptr<Ictx>, obj: Ptr<Object>) {
    let vdev = to::<Vdevice>(obj);
    let Some(idev) = vdev.idev.load() else { return };
    let (Some(ictx), Some(igroup)) = (idev.ictx.load(), idev.igroup.load()) else { return };

    mutex_lock(&igroup.lock);
    iommufd_vdevice_abort(ictx, obj);
    mutex_unlock(&igroup.lock);
    (ictx.rev.iommufd_put_object)(ictx, obj_of(idev));
}

/// `iommufd_vdevice_alloc_ioctl()`: IOMMU_VDEVICE_ALLOC.
///
/// # Errors
///
/// See reference/iommufd.md 2.2.7 and 2.9.3.
pub fn iommufd_vdevice_alloc_ioctl(ucmd: &Ucmd, cmd: &VdeviceAlloc) -> Result<u32, Errno> {
    with_viommu_and_idev(ucmd, cmd, |ucmd, cmd, viommu, idev| {
        let Some(igroup) = idev.igroup.load() else { return Err(Errno::ENOENT) };

        mutex_lock(&igroup.lock);
        let refused = vdevice_refused(idev);
        if refused.is_none() && vdevice_size_too_small(idev) {
            // Past the unlock, as in the trees that were read (R-G1).
            label("out_put_idev");
            return Err(Errno::EOPNOTSUPP);
        }
        let ret = match refused {
            Some(e) => Err(e),
            None => vdevice_alloc_locked(ucmd, cmd, viommu, idev),
        };
        label("out_unlock_igroup");
        mutex_unlock(&igroup.lock);
        ret
    })
}

/// Part of `iommufd_vdevice_alloc_ioctl()`: why the device can have no new vDEVICE, under
/// `igroup->lock`.
pub(super) fn vdevice_refused(idev: Ptr<Device>) -> Option<Errno> {
    if idev.destroying.load() {
        return Some(Errno::ENOENT);
    }
    idev.vdev.load().map(|_| Errno::EEXIST)
}

/// Part of `iommufd_vdevice_alloc_ioctl()`: a driver whose vDEVICE is smaller than the core's is a
/// bug.
pub(super) fn vdevice_size_too_small(idev: Ptr<Device>) -> bool {
    let size = idev.dev.peek().map_or(0, |dev| dev.vdevice_size);
    warn_on(size != 0 && size < VDEVICE_SIZE)
}

/// Part of `iommufd_vdevice_alloc_ioctl()`: the look-ups and puts. On success the device is not
/// put: the vDEVICE has taken its users and wait_cnt over.
///
/// # Errors
///
/// -ENOENT for an unknown vIOMMU or device, -EINVAL if they sit behind different IOMMUs.
pub(super) fn with_viommu_and_idev(
    ucmd: &Ucmd,
    cmd: &VdeviceAlloc,
    body: super::VdeviceAllocBody,
) -> Result<u32, Errno> {
    let ictx = ucmd.ictx;
    let rev = ictx.rev;

    let viommu_obj = (rev.iommufd_get_object)(ictx, cmd.viommu_id, Type::Viommu)?;
    let viommu = to::<Viommu>(viommu_obj);

    let ret = match (rev.iommufd_get_object)(ictx, cmd.dev_id, Type::Device) {
        Err(e) => Err(e),
        Ok(idev_obj) => {
            let idev = to::<Device>(idev_obj);
            let ret = if viommu.iommu_dev.load() == __iommu_get_iommu_dev(idev) {
                body(ucmd, cmd, viommu, idev)
            } else {
                Err(Errno::EINVAL)
            };
            if ret.is_err() {
                label("out_put_idev");
                (rev.iommufd_put_object)(ictx, idev_obj);
            }
            ret
        }
    };
    label("out_put_viommu");
    (rev.iommufd_put_object)(ictx, viommu_obj);
    ret
}

/// Part of `iommufd_vdevice_alloc_ioctl()`: steps 9 to 14, under `igroup->lock`.
pub(super) fn vdevice_alloc_locked(
    ucmd: &Ucmd,
    cmd: &VdeviceAlloc,
    viommu: Ptr<Viommu>,
    idev: Ptr<Device>,
) -> Result<u32, Errno> {
    let ictx = ucmd.ictx;

    let vdev = vdevice_object(ictx)?;
    vdev.id.store(cmd.virt_id);
    vdev.viommu.store(Some(viommu));
    refcount_inc(&viommu.obj.users);
    vdev.idev.store(Some(idev));
    idev.vdev.store(Some(vdev));

    let id = vdev.obj.id.load();
    let ret = publish_and_init(viommu, cmd.virt_id, vdev).and_then(|()| iommufd_ucmd_respond(ucmd));
    match ret {
        Ok(()) => {
            (ictx.rev.iommufd_object_finalize)(ictx, obj_of(vdev));
            Ok(id)
        }
        Err(e) => {
            label("out_abort");
            (ictx.rev.iommufd_object_abort_and_destroy)(ictx, obj_of(vdev));
            Err(e)
        }
    }
}

/// Part of `iommufd_vdevice_alloc_ioctl()`: steps 11 and 12. The vDEVICE can be found before its
/// driver has initialised its part (R-C24).
fn publish_and_init(viommu: Ptr<Viommu>, virt_id: u64, vdev: Ptr<Vdevice>) -> Result<(), Errno> {
    vdevice_publish(viommu, virt_id, vdev)?;
    // viommu->ops->vdevice_init: the mock driver has none.
    if let Some(vdevice_init) = viommu.ictx.peek().and_then(|ictx| ictx.rev.vdevice_init) {
        vdevice_init(vdev);
    }
    Ok(())
}

/// `iommufd_device_remove_vdev()`: the device is being unbound and takes its vDEVICE along.
///
/// User space may be destroying the vDEVICE at this moment. If it has taken it out of the xarray
/// already, the wait of our caller covers it, since the vDEVICE holds our `wait_cnt`. If not, the
/// users taken here make its IOMMU_DESTROY answer -EBUSY.
pub(super) fn iommufd_device_remove_vdev(idev: Ptr<Device>) {
    let (Some(ictx), Some(igroup)) = (idev.ictx.load(), idev.igroup.load()) else { return };
    let rev = ictx.rev;

    mutex_lock(&igroup.lock);
    // No vDEVICE is made any more.
    idev.destroying.store(true);
    let Some(vdev) = idev.vdev.load() else {
        mutex_unlock(&igroup.lock);
        return;
    };

    // iommufd_get_vdevice(): idev->vdev is cleared under this lock before it can be freed.
    let id = u64::from(vdev.obj.id.load());
    let Ok(found) = (rev.iommufd_get_object)(ictx, id, Type::Vdevice) else {
        mutex_unlock(&igroup.lock);
        return;
    };
    if warn_on(!found.same(obj_of(vdev))) {
        (rev.iommufd_put_object)(ictx, found);
        mutex_unlock(&igroup.lock);
        return;
    }
    refcount_inc(&vdev.obj.users);
    (rev.iommufd_put_object)(ictx, obj_of(vdev));
    mutex_unlock(&igroup.lock);
    iommufd_object_tombstone_user(ictx, obj_of(vdev));
}

/// `iommufd_device_pre_destroy()`
pub fn iommufd_device_pre_destroy(_ictx: Ptr<Ictx>, obj: Ptr<Object>) {
    iommufd_device_remove_vdev(to::<Device>(obj));
}

/// `iommufd_viommu_find_dev()`: the device behind a virtual device ID. Valid only while the
/// caller keeps holding xa_lock(vdevs).
pub fn iommufd_viommu_find_dev(viommu: Ptr<Viommu>, vdev_id: u64) -> Option<Ptr<StructDevice>> {
    lockdep_assert_held_xa(&viommu.vdevs);

    let vdev = xa_load(&viommu.vdevs, vdev_id)?;
    vdev.idev.load()?.dev.load()
}
