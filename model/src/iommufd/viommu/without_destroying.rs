//! Not a posted text. IOMMU_VDEVICE_ALLOC does not look at `idev->destroying`, so a vDEVICE can be
//! made after the unbind has looked for one.
//!
//! Source: reference/iommufd.md R-C18.

use uapi::Errno;

use super::linux_6_17::{vdevice_alloc_locked, with_viommu_and_idev};
use super::VdeviceAlloc;
use crate::iommufd::ucmd::Ucmd;
use crate::linux::mutex::{mutex_lock, mutex_unlock};
use crate::linux::warn::label;

/// `iommufd_vdevice_alloc_ioctl()`
///
/// # Errors
///
/// As the merged text, without the -ENOENT of a device that is being unbound.
pub fn iommufd_vdevice_alloc_ioctl(ucmd: &Ucmd, cmd: &VdeviceAlloc) -> Result<u32, Errno> {
    with_viommu_and_idev(ucmd, cmd, |ucmd, cmd, viommu, idev| {
        let Some(igroup) = idev.igroup.load() else { return Err(Errno::ENOENT) };

        mutex_lock(&igroup.lock);
        let ret = if idev.vdev.load().is_some() {
            Err(Errno::EEXIST)
        } else {
            vdevice_alloc_locked(ucmd, cmd, viommu, idev)
        };
        label("out_unlock_igroup");
        mutex_unlock(&igroup.lock);
        ret
    })
}
