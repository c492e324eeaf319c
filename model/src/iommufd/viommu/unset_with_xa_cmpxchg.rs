//! Not a posted text. v2's unset without its locks: an xa_cmpxchg() is to see to it that nothing but
//! the device's own entry is erased.
//!
//! What was read from the device may have been freed, and its address may be another entry's by
//! then.
//!
//! Source: reference/iommufd.md R-C3; Jason Gunthorpe, 15 Aug 2024, on
//! <cover.1723061377.git.nicolinc@nvidia.com>: xa_cmpxchg() alone is not enough.

use uapi::Errno;

use super::viommu_v1::{with_viommu_and_idev, ViommuVdevId};
use super::viommu_v2::unset_locked;
use crate::iommufd::ucmd::Ucmd;

/// `iommufd_viommu_unset_vdev_id()`
///
/// # Errors
///
/// As v2.
pub fn iommufd_viommu_unset_vdev_id(ucmd: &Ucmd, cmd: &ViommuVdevId) -> Result<(), Errno> {
    with_viommu_and_idev(ucmd, cmd, unset_locked)
}
