//! The mock driver's invalidation in v1 of the vIOMMU series: it uses what the core has found
//! for it, under no lock.
//!
//! Source: reference/iommufd.md 2.2.1, R-C2; <cover.1723061377.git.nicolinc@nvidia.com>.

use uapi::program::Entry;
use uapi::Errno;

use super::{mock_dev_invalidate, mock_viommu_check_entry};
use crate::iommufd::objects::Viommu;
use crate::iommufd::viommu::viommu_v1::iommufd_viommu_find_device;
use crate::linux::slab::Ptr;

/// Part of `mock_viommu_cache_invalidate()`: one entry.
pub fn mock_viommu_invalidate_one(viommu: Ptr<Viommu>, entry: Entry) -> Result<(), Errno> {
    mock_viommu_check_entry(entry)?;

    let dev = iommufd_viommu_find_device(viommu, entry.vdev_id.into()).ok_or(Errno::EINVAL)?;
    mock_dev_invalidate(viommu, dev, entry);
    Ok(())
}
