//! Not a posted text. A driver that looks devices up without holding xa_lock(vdevs), which is what
//! the assertion in `iommufd_viommu_find_dev()` is there for.
//!
//! Source: reference/iommufd.md R-C25.

use uapi::program::Entry;
use uapi::Errno;

use super::{mock_dev_invalidate, mock_viommu_check_entry};
use crate::iommufd::objects::Viommu;
use crate::linux::slab::Ptr;

/// Part of `mock_viommu_cache_invalidate()`: one entry.
pub fn mock_viommu_invalidate_one(viommu: Ptr<Viommu>, entry: Entry) -> Result<(), Errno> {
    mock_viommu_check_entry(entry)?;

    let find_dev = viommu.ictx.peek().map(|ictx| ictx.rev.iommufd_viommu_find_dev);
    let found = find_dev.and_then(|find_dev| find_dev(viommu, entry.vdev_id.into()));
    let dev = found.ok_or(Errno::EINVAL)?;
    mock_dev_invalidate(viommu, dev, entry);
    Ok(())
}
