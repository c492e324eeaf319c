//! Not a posted text. The unwind of `iommufd_vdevice_alloc_ioctl()` compares the slot with the
//! address of a vDEVICE that is already freed, and whose address another thread may have been
//! given for its own.
//!
//! Source: reference/iommufd.md R-C11 (iv) and R-C3; Jason Gunthorpe, 15 Aug 2024, on
//! <cover.1723061377.git.nicolinc@nvidia.com>: a compare by value is not enough.

use uapi::Errno;

use super::{vdevice_fill, vdevice_object, vdevice_publish, with_viommu_and_idev, VdeviceAlloc};
use crate::iommufd::objects::{obj_of, Device, Viommu};
use crate::iommufd::ucmd::{iommufd_ucmd_respond, Ucmd};
use crate::linux::device::put_device;
use crate::linux::refcount::{refcount_dec, refcount_inc};
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
    refcount_inc(&viommu.obj.users);

    let id = vdev.obj.id.load();
    let ret = vdevice_publish(viommu, cmd.virt_id, vdev).and_then(|()| iommufd_ucmd_respond(ucmd));
    if let Err(e) = ret {
        refcount_dec(&viommu.obj.users);
        if let Some(dev) = vdev.dev.load() {
            put_device(dev);
        }
        (ictx.rev.iommufd_object_abort)(ictx, obj_of(vdev));
        // `vdev` is only an address from here on.
        let _not_ours = xa_cmpxchg(&viommu.vdevs, cmd.virt_id, Some(vdev), None);
        return Err(e);
    }
    (ictx.rev.iommufd_object_finalize)(ictx, obj_of(vdev));
    Ok(id)
}
