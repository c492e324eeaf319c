//! Not a posted text. v1's unset erases with xa_cmpxchg() what it has found and compared, outside
//! the lock under which it was found.
//!
//! What was found may have been freed, and its address may be another entry's by then.
//!
//! Source: reference/iommufd.md R-C3; Jason Gunthorpe, 15 Aug 2024, on
//! <cover.1723061377.git.nicolinc@nvidia.com>: xa_cmpxchg() alone is not enough.

use uapi::Errno;

use super::viommu_v1::{is_its_device, with_viommu_and_idev, ViommuVdevId};
use crate::iommufd::ucmd::Ucmd;
use crate::linux::slab::kfree;
use crate::linux::xarray::{xa_cmpxchg, xa_load, xa_lock_index, xa_unlock_index};

/// `iommufd_viommu_unset_vdev_id()`
///
/// # Errors
///
/// -EINVAL if the id is not this device's.
pub fn iommufd_viommu_unset_vdev_id(ucmd: &Ucmd, cmd: &ViommuVdevId) -> Result<(), Errno> {
    with_viommu_and_idev(ucmd, cmd, |viommu, idev, id| {
        xa_lock_index(&viommu.vdev_ids, id);
        let found = xa_load(&viommu.vdev_ids, id);
        // Compared under the lock: what follows is about the erase alone.
        let its = is_its_device(found.and_then(|vdev_id| vdev_id.dev.load()), idev);
        xa_unlock_index(&viommu.vdev_ids, id);
        let Some(vdev_id) = found.filter(|_| its) else { return Err(Errno::EINVAL) };

        match xa_cmpxchg(&viommu.vdev_ids, id, Some(vdev_id), None) {
            Ok(Some(old)) if old.same(vdev_id) => {
                kfree(old);
                Ok(())
            }
            _ => Err(Errno::EINVAL),
        }
    })
}
