//! Not a posted text. The driver initialises its part of a vDEVICE before the vDEVICE can be found.
//!
//! Source: reference/iommufd.md R-C24.

use uapi::Errno;

use super::linux_6_17::{
    vdevice_alloc_locked, vdevice_init, vdevice_refused, with_viommu_and_idev,
};
use super::{vdevice_publish, VdeviceAlloc};
use crate::iommufd::objects::{Vdevice, Viommu};
use crate::iommufd::ucmd::Ucmd;
use crate::linux::mutex::{mutex_lock, mutex_unlock};
use crate::linux::slab::Ptr;

/// `iommufd_vdevice_alloc_ioctl()`: IOMMU_VDEVICE_ALLOC.
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
            None => vdevice_alloc_locked(ucmd, cmd, viommu, idev, init_and_publish),
        };
        // out_unlock_igroup
        mutex_unlock(&igroup.lock);
        ret
    })
}

/// Part of `iommufd_vdevice_alloc_ioctl()`: steps 12 and 11.
fn init_and_publish(viommu: Ptr<Viommu>, virt_id: u64, vdev: Ptr<Vdevice>) -> Result<(), Errno> {
    vdevice_init(vdev);
    vdevice_publish(viommu, virt_id, vdev)
}
