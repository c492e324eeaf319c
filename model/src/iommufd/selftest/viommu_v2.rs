//! The mock driver's invalidation in v2 of the vIOMMU series: it holds the semaphore of the
//! virtual IDs from the look-up to the end of the use.
//!
//! Source: reference/iommufd.md 2.2.2; <cover.1724776335.git.nicolinc@nvidia.com>.

use uapi::program::Entry;
use uapi::Errno;

use super::{mock_dev_invalidate, mock_viommu_check_entry};
use crate::iommufd::objects::Viommu;
use crate::iommufd::viommu::viommu_v2::iommufd_viommu_find_device;
use crate::linux::rwsem::{down_read, up_read};
use crate::linux::slab::Ptr;

/// Part of `mock_viommu_cache_invalidate()`: one entry.
pub fn mock_viommu_invalidate_one(viommu: Ptr<Viommu>, entry: Entry) -> Result<(), Errno> {
    mock_viommu_check_entry(entry)?;

    down_read(&viommu.vdev_ids_rwsem);
    let dev = iommufd_viommu_find_device(viommu, entry.vdev_id.into());
    if let Some(dev) = dev {
        mock_dev_invalidate(viommu, dev, entry);
    }
    up_read(&viommu.vdev_ids_rwsem);
    dev.map(|_| ()).ok_or(Errno::EINVAL)
}
