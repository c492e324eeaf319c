//! Not a posted text. A driver that looks into its own part of the vDEVICE when an invalidation
//! reaches the device, as the core's part lies in front of it.
//!
//! Source: reference/iommufd.md R-C24.

use uapi::program::Entry;
use uapi::Errno;

use super::{mock_dev_invalidate, mock_viommu_check_entry};
use crate::iommufd::objects::{Vdevice, Viommu};
use crate::linux::slab::Ptr;
use crate::linux::xarray::{xa_load, xa_lock_index, xa_unlock_index};

/// `vdevice_init()`: the driver's own part, if it asks for a vDEVICE of its own size.
pub fn vdevice_init(vdev: Ptr<Vdevice>) {
    let dev = vdev.idev.peek().and_then(|idev| idev.dev.peek());
    if dev.is_some_and(|dev| dev.vdevice_size != 0) {
        vdev.driver_part.store(true);
    }
}

/// Part of `mock_viommu_cache_invalidate()`: one entry.
///
/// # Errors
///
/// As the merged text.
pub fn mock_viommu_invalidate_one(viommu: Ptr<Viommu>, entry: Entry) -> Result<(), Errno> {
    mock_viommu_check_entry(entry)?;

    let vdev_id = u64::from(entry.vdev_id);
    xa_lock_index(&viommu.vdevs, vdev_id);
    let vdev = xa_load(&viommu.vdevs, vdev_id);
    let dev = vdev.and_then(|vdev| {
        let _driver_part = vdev.driver_part.load();
        vdev.idev.load()?.dev.load()
    });
    if let Some(dev) = dev {
        mock_dev_invalidate(viommu, dev, entry);
    }
    xa_unlock_index(&viommu.vdevs, vdev_id);
    dev.map(|_| ()).ok_or(Errno::EINVAL)
}
