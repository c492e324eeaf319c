//! drivers/iommu/iommufd/driver.c: what drivers call.
//!
//! Source: reference/iommufd.md 2.3.

use uapi::Errno;

use crate::iommufd::objects::{Ictx, Mmap, Object, Viommu};
use crate::iommufd::revision::Revision;
use crate::linux::device::Device as StructDevice;
use crate::linux::maple_tree::{mtree_alloc_range, mtree_erase};
use crate::linux::slab::{kfree, kzalloc, Plain, Ptr};
use crate::linux::warn::warn_on;
use crate::linux::xarray::{lockdep_assert_held_xa, xa_find, xa_load, xa_lock, xa_unlock};

/// PAGE_SIZE
pub const PAGE_SIZE: u64 = 4096;

/// `iommufd_viommu_find_dev()`: the device behind a virtual device ID. Valid only while the
/// caller keeps holding xa_lock(vdevs).
pub fn iommufd_viommu_find_dev(viommu: Ptr<Viommu>, vdev_id: u64) -> Option<Ptr<StructDevice>> {
    lockdep_assert_held_xa(&viommu.vdevs);

    let vdev = xa_load(&viommu.vdevs, vdev_id)?;
    vdev.dev.load()
}

/// `iommufd_viommu_get_vdev_id()`: the virtual ID of a device (6.15+). The slots are looked
/// through under their lock, which keeps what they point to.
///
/// # Errors
///
/// -ENOENT if the device has no vDEVICE on this vIOMMU.
pub fn iommufd_viommu_get_vdev_id(
    rev: &Revision,
    viommu: Ptr<Viommu>,
    dev: Ptr<StructDevice>,
) -> Result<u64, Errno> {
    let mut index = 0;
    let mut ret = Err(Errno::ENOENT);

    xa_lock(&viommu.vdevs);
    while let Some((found, _)) = xa_find(&viommu.vdevs, index) {
        if (rev.iommufd_viommu_find_dev)(viommu, found).is_some_and(|d| d.same(dev)) {
            ret = Ok(found);
            break;
        }
        let Some(next) = found.checked_add(1) else { break };
        index = next;
    }
    xa_unlock(&viommu.vdevs);
    ret
}

/// `_iommufd_alloc_mmap()`: lets user space map a part of an object (6.17+). Gives the first page
/// of its offset.
///
/// # Errors
///
/// -ENOMEM
pub fn _iommufd_alloc_mmap(ictx: Ptr<Ictx>, owner: Ptr<Object>, length: u64) -> Result<u64, Errno> {
    let immap = kzalloc(|o| Mmap {
        owner: Plain::new(o.field("owner"), Some(owner)),
        vm_pgoff: Plain::new(o.field("vm_pgoff"), 0),
        length,
    })?;
    match mtree_alloc_range(&ictx.mt_mmap, immap, length / PAGE_SIZE) {
        Ok(first) => {
            immap.vm_pgoff.store(first);
            Ok(first)
        }
        Err(e) => {
            kfree(immap);
            Err(e)
        }
    }
}

/// `_iommufd_destroy_mmap()`
pub fn _iommufd_destroy_mmap(ictx: Ptr<Ictx>, owner: Ptr<Object>, first: u64) {
    let Some(immap) = mtree_erase(&ictx.mt_mmap, first) else { return };

    warn_on(!immap.owner.load().is_some_and(|o| o.same(owner)));
    kfree(immap);
}
