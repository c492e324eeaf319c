//! Not a posted text. The unwind skips the erase, as Jason Gunthorpe suggested: "It would be
//! better to skip the erase directly if the EEXIST unwind is being taken."
//!
//! There are three ways to do it. Skipping it whenever the vDEVICE was not published is right.
//! Skipping it on -EEXIST only, as the mail says, erases somebody else's entry when the
//! `xa_cmpxchg()` fails with -ENOMEM. Skipping it in every unwind leaves a freed vDEVICE in its
//! slot when the failure came after it was published.
//!
//! Source: <cover.1730313494.git.nicolinc@nvidia.com>, comment 5; reference/iommufd.md
//! R-C11 (iii).

use uapi::Errno;

use super::{vdevice_fill, vdevice_object, vdevice_publish, with_viommu_and_idev, VdeviceAlloc};
use crate::iommufd::objects::{obj_of, to, Device, Ictx, Object, Vdevice, Viommu};
use crate::iommufd::ucmd::{iommufd_ucmd_respond, Ucmd};
use crate::linux::device::put_device;
use crate::linux::refcount::{refcount_dec, refcount_inc};
use crate::linux::slab::Ptr;
use crate::linux::xarray::xa_erase;

/// `iommufd_vdevice_destroy()`: a plain erase unless the unwind forbids it.
pub fn iommufd_vdevice_destroy(_ictx: Ptr<Ictx>, obj: Ptr<Object>) {
    let vdev = to::<Vdevice>(obj);
    let Some(viommu) = vdev.viommu.load() else { return };

    if !vdev.skip_erase.load() {
        xa_erase(&viommu.vdevs, vdev.id.load());
    }
    refcount_dec(&viommu.obj.users);
    if let Some(dev) = vdev.dev.load() {
        put_device(dev);
    }
}

/// `iommufd_vdevice_alloc_ioctl()` that skips the erase unless the vDEVICE was published.
pub mod unless_published {
    use super::*;

    /// `iommufd_vdevice_alloc_ioctl()`
    ///
    /// # Errors
    ///
    /// As the merged text.
    pub fn iommufd_vdevice_alloc_ioctl(ucmd: &Ucmd, cmd: &VdeviceAlloc) -> Result<u32, Errno> {
        with_viommu_and_idev(ucmd, cmd, |ucmd, cmd, viommu, idev| {
            vdevice_alloc_on(ucmd, cmd, viommu, idev, |published, _| !published)
        })
    }
}

/// `iommufd_vdevice_alloc_ioctl()` that skips the erase on -EEXIST only.
pub mod on_eexist {
    use super::*;

    /// `iommufd_vdevice_alloc_ioctl()`
    ///
    /// # Errors
    ///
    /// As the merged text.
    pub fn iommufd_vdevice_alloc_ioctl(ucmd: &Ucmd, cmd: &VdeviceAlloc) -> Result<u32, Errno> {
        with_viommu_and_idev(ucmd, cmd, |ucmd, cmd, viommu, idev| {
            vdevice_alloc_on(ucmd, cmd, viommu, idev, |_, errno| errno == Errno::EEXIST)
        })
    }
}

/// `iommufd_vdevice_alloc_ioctl()` that skips the erase in every unwind.
pub mod on_abort {
    use super::*;

    /// `iommufd_vdevice_alloc_ioctl()`
    ///
    /// # Errors
    ///
    /// As the merged text.
    pub fn iommufd_vdevice_alloc_ioctl(ucmd: &Ucmd, cmd: &VdeviceAlloc) -> Result<u32, Errno> {
        with_viommu_and_idev(ucmd, cmd, |ucmd, cmd, viommu, idev| {
            vdevice_alloc_on(ucmd, cmd, viommu, idev, |_, _| true)
        })
    }
}

/// Part of `iommufd_vdevice_alloc_ioctl()`: steps 5 to 9.
fn vdevice_alloc_on(
    ucmd: &Ucmd,
    cmd: &VdeviceAlloc,
    viommu: Ptr<Viommu>,
    idev: Ptr<Device>,
    skip_erase: fn(bool, Errno) -> bool,
) -> Result<u32, Errno> {
    let ictx = ucmd.ictx;
    let vdev = vdevice_object(ictx)?;

    vdevice_fill(vdev, cmd, viommu, idev);
    refcount_inc(&viommu.obj.users);

    let id = vdev.obj.id.load();
    let published = vdevice_publish(viommu, cmd.virt_id, vdev);
    let ret = published.and_then(|()| iommufd_ucmd_respond(ucmd));
    if let Err(e) = ret {
        vdev.skip_erase.store(skip_erase(published.is_ok(), e));
        (ictx.rev.iommufd_object_abort_and_destroy)(ictx, obj_of(vdev));
        return Err(e);
    }
    (ictx.rev.iommufd_object_finalize)(ictx, obj_of(vdev));
    Ok(id)
}
