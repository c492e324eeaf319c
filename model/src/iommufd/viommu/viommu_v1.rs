//! vIOMMU v1: a virtual device ID is a struct that two ioctls set and unset, not an object.
//!
//! The xa_lock is held around the load of an entry and not around its use (R-C2), and unset
//! compares first and erases later (R-C1). An entry holds neither the vIOMMU nor the device.
//!
//! Invalidations came through an ioctl of the vIOMMU's own; here, as in all rows, they are
//! IOMMU_HWPT_INVALIDATE.
//!
//! Source: reference/iommufd.md 2.2.1; <cover.1723061377.git.nicolinc@nvidia.com>.

use uapi::Errno;

use crate::iommufd::device::igroup_hwpt;
use crate::iommufd::objects::{to, Device, Ictx, Object, Type, VdevId, Viommu};
use crate::iommufd::ucmd::Ucmd;
use crate::linux::device::Device as StructDevice;
use crate::linux::refcount::refcount_dec;
use crate::linux::slab::{kfree, kzalloc, Plain, Ptr};
use crate::linux::warn::label;
use crate::linux::xarray::{
    check_nodes_freed, xa_destroy, xa_erase, xa_find, xa_insert, xa_load, xa_lock_index,
    xa_unlock_index,
};

/// The argument struct of IOMMU_VIOMMU_SET_VDEV_ID and IOMMU_VIOMMU_UNSET_VDEV_ID.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ViommuVdevId {
    /// vIOMMU.
    pub viommu_id: u64,
    /// Device.
    pub dev_id: u64,
    /// Virtual device ID. `unsigned long` has 64 bits, so the -EINVAL of a larger one cannot be.
    pub vdev_id: u64,
}

/// `iommufd_viommu_destroy()`: frees the entries that user space has left.
pub fn iommufd_viommu_destroy(_ictx: Ptr<Ictx>, obj: Ptr<Object>) {
    let viommu = to::<Viommu>(obj);

    let mut index = 0;
    while let Some((found, vdev_id)) = xa_find(&viommu.vdev_ids, index) {
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

/// `iommufd_viommu_find_device()`: what it gives can be gone before the caller looks at it.
pub fn iommufd_viommu_find_device(viommu: Ptr<Viommu>, id: u64) -> Option<Ptr<StructDevice>> {
    xa_lock_index(&viommu.vdev_ids, id);
    let vdev_id = xa_load(&viommu.vdev_ids, id);
    xa_unlock_index(&viommu.vdev_ids, id);
    vdev_id?.dev.load()
}

/// A new entry, without its device.
pub(super) fn new_vdev_id(viommu: Ptr<Viommu>, id: u64) -> Result<Ptr<VdevId>, Errno> {
    kzalloc(|owner| VdevId {
        viommu: Plain::new(owner.field("viommu"), Some(viommu)),
        id: Plain::new(owner.field("id"), id),
        dev: Plain::new(owner.field("dev"), None),
        idev: Plain::new(owner.field("idev"), None),
    })
}

/// Part of `iommufd_viommu_set_vdev_id()` and `iommufd_viommu_unset_vdev_id()`: the look-ups and
/// the puts.
///
/// # Errors
///
/// -ENOENT for an unknown vIOMMU or device, and what `body` answers.
pub(super) fn with_viommu_and_idev(
    ucmd: &Ucmd,
    cmd: &ViommuVdevId,
    body: fn(Ptr<Viommu>, Ptr<Device>, u64) -> Result<(), Errno>,
) -> Result<(), Errno> {
    let ictx = ucmd.ictx;
    let rev = ictx.rev;

    let viommu_obj = (rev.iommufd_get_object)(ictx, cmd.viommu_id, Type::Viommu)?;
    let ret = match (rev.iommufd_get_object)(ictx, cmd.dev_id, Type::Device) {
        Err(e) => Err(e),
        Ok(idev_obj) => {
            let ret = body(to(viommu_obj), to(idev_obj), cmd.vdev_id);
            label("out_put_idev");
            (rev.iommufd_put_object)(ictx, idev_obj);
            ret
        }
    };
    label("out_put_viommu");
    (rev.iommufd_put_object)(ictx, viommu_obj);
    ret
}

/// `iommufd_viommu_set_vdev_id()`: IOMMU_VIOMMU_SET_VDEV_ID.
///
/// # Errors
///
/// -EINVAL if the device is not attached to a nested HWPT, -EBUSY if the id is taken, -ENOMEM.
pub fn iommufd_viommu_set_vdev_id(ucmd: &Ucmd, cmd: &ViommuVdevId) -> Result<(), Errno> {
    with_viommu_and_idev(ucmd, cmd, |viommu, idev, id| {
        if igroup_hwpt(idev).is_none_or(|hwpt| hwpt.ty != Type::HwptNested) {
            return Err(Errno::EINVAL);
        }
        let vdev_id = new_vdev_id(viommu, id)?;
        vdev_id.dev.store(idev.dev.load());
        // The reference says "store"; that a taken slot is refused is what v2 says.
        xa_insert(&viommu.vdev_ids, id, Some(vdev_id)).inspect_err(|_| kfree(vdev_id))
    })
}

/// `iommufd_viommu_unset_vdev_id()`: IOMMU_VIOMMU_UNSET_VDEV_ID. What is compared and what is
/// erased may be two entries.
///
/// # Errors
///
/// -EINVAL if the id is not this device's.
pub fn iommufd_viommu_unset_vdev_id(ucmd: &Ucmd, cmd: &ViommuVdevId) -> Result<(), Errno> {
    with_viommu_and_idev(ucmd, cmd, |viommu, idev, id| {
        let dev = iommufd_viommu_find_device(viommu, id);
        if !is_its_device(dev, idev) {
            return Err(Errno::EINVAL);
        }
        if let Some(vdev_id) = xa_erase(&viommu.vdev_ids, id) {
            kfree(vdev_id);
        }
        Ok(())
    })
}

/// C's `dev == idev->dev`.
fn is_its_device(dev: Option<Ptr<StructDevice>>, idev: Ptr<Device>) -> bool {
    matches!((dev, idev.dev.load()), (Some(dev), Some(its)) if dev.same(its))
}
