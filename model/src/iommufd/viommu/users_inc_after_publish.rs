//! Not a posted text. `iommufd_vdevice_alloc_ioctl()` raises the vIOMMU's users only after the
//! vDEVICE is final, where another thread can already destroy it and drop what was not taken.
//!
//! Source: reference/iommufd.md R-C13, "likewise".

use uapi::Errno;

use super::{vdevice_fill, vdevice_object, vdevice_publish, with_viommu_and_idev, VdeviceAlloc};
use crate::iommufd::objects::{obj_of, Device, Viommu};
use crate::iommufd::ucmd::{iommufd_ucmd_respond, Ucmd};
use crate::linux::device::put_device;
use crate::linux::refcount::refcount_inc;
use crate::linux::slab::Ptr;
use crate::linux::xarray::xa_cmpxchg;

/// `iommufd_vdevice_alloc_ioctl()`
///
/// # Errors
///
/// As the merged text.
pub fn iommufd_vdevice_alloc_ioctl(ucmd: &Ucmd, cmd: &VdeviceAlloc) -> Result<u32, Errno> {
    with_viommu_and_idev(ucmd, cmd, vdevice_alloc_on)
}

/// Part of `iommufd_vdevice_alloc_ioctl()`: steps 5 to 9.
fn vdevice_alloc_on(
    ucmd: &Ucmd,
    cmd: &VdeviceAlloc,
    viommu: Ptr<Viommu>,
    idev: Ptr<Device>,
) -> Result<u32, Errno> {
    let ictx = ucmd.ictx;
    let vdev = vdevice_object(ictx)?;

    vdevice_fill(vdev, cmd, viommu, idev);

    let id = vdev.obj.id.load();
    let ret = vdevice_publish(viommu, cmd.virt_id, vdev).and_then(|()| iommufd_ucmd_respond(ucmd));
    if let Err(e) = ret {
        // The unwind gives back what this text has taken so far: everything but the users.
        let _not_ours = xa_cmpxchg(&viommu.vdevs, cmd.virt_id, Some(vdev), None);
        if let Some(dev) = vdev.dev.load() {
            put_device(dev);
        }
        (ictx.rev.iommufd_object_abort)(ictx, obj_of(vdev));
        return Err(e);
    }
    (ictx.rev.iommufd_object_finalize)(ictx, obj_of(vdev));
    refcount_inc(&viommu.obj.users);
    Ok(id)
}
