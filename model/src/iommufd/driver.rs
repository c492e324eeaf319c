//! drivers/iommu/iommufd/driver.c: what drivers call.
//!
//! Source: reference/iommufd.md 2.3.

use crate::iommufd::objects::Viommu;
use crate::linux::device::Device as StructDevice;
use crate::linux::slab::Ptr;
use crate::linux::xarray::{lockdep_assert_held_xa, xa_load};

/// `iommufd_viommu_find_dev()`: the device behind a virtual device ID. Valid only while the
/// caller keeps holding xa_lock(vdevs).
pub fn iommufd_viommu_find_dev(viommu: Ptr<Viommu>, vdev_id: u64) -> Option<Ptr<StructDevice>> {
    lockdep_assert_held_xa(&viommu.vdevs);

    let vdev = xa_load(&viommu.vdevs, vdev_id)?;
    vdev.dev.load()
}
