//! vDEVICE as in v5 of the series' second part: as v4, allocated by the core.
//!
//! `iommufd_viommu_find_dev()` has its name, and asserts a lock, but not the one that keeps what it
//! gives (R-C25): the vdevs' xa_lock is not asserted.
//!
//! Source: reference/iommufd.md 2.2.5; <cover.1729897278.git.nicolinc@nvidia.com>.

use uapi::Errno;

use super::p2_v3::vdevice_alloc_with;
use super::{vdevice_object, VdeviceAlloc};
use crate::iommufd::ucmd::Ucmd;

/// `iommufd_vdevice_alloc_ioctl()`
///
/// # Errors
///
/// See reference/iommufd.md 2.2.3 to 2.2.5.
pub fn iommufd_vdevice_alloc_ioctl(ucmd: &Ucmd, cmd: &VdeviceAlloc) -> Result<u32, Errno> {
    vdevice_alloc_with(ucmd, cmd, vdevice_object)
}
