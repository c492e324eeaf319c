//! Not a posted text. The unwind of IOMMU_VDEVICE_ALLOC drops `igroup->lock` before it aborts the
//! vDEVICE, whose abort op wants it held.
//!
//! Source: reference/iommufd.md R-C22, R-C23; commits 5510bd89da24, a64bae68adf1 (an allocation
//! that the dispatcher aborts would do the same).

use uapi::Errno;

use super::linux_6_17::{vdevice_refused, with_viommu_and_idev};
use super::{vdevice_object, vdevice_publish, VdeviceAlloc};
use crate::iommufd::objects::{obj_of, Device, Viommu};
use crate::iommufd::ucmd::{iommufd_ucmd_respond, Ucmd};
use crate::linux::mutex::{mutex_lock, mutex_unlock};
use crate::linux::refcount::refcount_inc;
use crate::linux::slab::Ptr;

/// `iommufd_vdevice_alloc_ioctl()`
///
/// # Errors
///
/// As the merged text.
pub fn iommufd_vdevice_alloc_ioctl(ucmd: &Ucmd, cmd: &VdeviceAlloc) -> Result<u32, Errno> {
    with_viommu_and_idev(ucmd, cmd, vdevice_alloc_on)
}

/// Part of `iommufd_vdevice_alloc_ioctl()`: steps 5 to 15.
fn vdevice_alloc_on(
    ucmd: &Ucmd,
    cmd: &VdeviceAlloc,
    viommu: Ptr<Viommu>,
    idev: Ptr<Device>,
) -> Result<u32, Errno> {
    let ictx = ucmd.ictx;
    let Some(igroup) = idev.igroup.load() else { return Err(Errno::ENOENT) };

    mutex_lock(&igroup.lock);
    let refused = vdevice_refused(idev);
    let vdev = match refused.map_or_else(|| vdevice_object(ictx), Err) {
        Ok(vdev) => vdev,
        Err(e) => {
            mutex_unlock(&igroup.lock);
            return Err(e);
        }
    };
    vdev.id.store(cmd.virt_id);
    vdev.viommu.store(Some(viommu));
    refcount_inc(&viommu.obj.users);
    vdev.idev.store(Some(idev));
    idev.vdev.store(Some(vdev));

    let id = vdev.obj.id.load();
    let ret = vdevice_publish(viommu, cmd.virt_id, vdev).and_then(|()| iommufd_ucmd_respond(ucmd));
    if ret.is_ok() {
        (ictx.rev.iommufd_object_finalize)(ictx, obj_of(vdev));
    }
    mutex_unlock(&igroup.lock);
    ret.map(|()| id).inspect_err(|_| {
        // The dispatcher's abort
        (ictx.rev.iommufd_object_abort_and_destroy)(ictx, obj_of(vdev));
    })
}
