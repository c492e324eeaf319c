//! Not a posted text. IOMMU_VDEVICE_ALLOC gives `igroup->lock` back in every unwind, also in that
//! of a driver whose vDEVICE is too small.
//!
//! Source: reference/iommufd.md R-G1.

use uapi::Errno;

use super::linux_6_17::{
    vdevice_alloc_locked, vdevice_refused, vdevice_size_too_small, with_viommu_and_idev,
};
use super::VdeviceAlloc;
use crate::iommufd::ucmd::Ucmd;
use crate::linux::mutex::{mutex_lock, mutex_unlock};
use crate::linux::warn::label;

/// `iommufd_vdevice_alloc_ioctl()`
///
/// # Errors
///
/// As the merged text.
pub fn iommufd_vdevice_alloc_ioctl(ucmd: &Ucmd, cmd: &VdeviceAlloc) -> Result<u32, Errno> {
    with_viommu_and_idev(ucmd, cmd, |ucmd, cmd, viommu, idev| {
        let Some(igroup) = idev.igroup.load() else { return Err(Errno::ENOENT) };

        mutex_lock(&igroup.lock);
        let ret = match vdevice_refused(idev) {
            Some(e) => Err(e),
            None if vdevice_size_too_small(idev) => Err(Errno::EOPNOTSUPP),
            None => vdevice_alloc_locked(ucmd, cmd, viommu, idev),
        };
        label("out_unlock_igroup");
        mutex_unlock(&igroup.lock);
        ret
    })
}
