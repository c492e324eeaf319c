//! drivers/iommu/iommufd/selftest.c since 6.17: the core allocates the vIOMMU, the mock driver
//! initialises it, and gives user space a page of it to map.
//!
//! Source: reference/iommufd.md 2.1.1, 2.9.4; commits c0d498a1b99d, 56e9a0d8e53f.

use uapi::call::VIOMMU_TYPE_SELFTEST;
use uapi::Errno;

use crate::iommufd::driver::{_iommufd_alloc_mmap, _iommufd_destroy_mmap};
use crate::iommufd::objects::{obj_of, Viommu};
use crate::iommufd::ucmd::Ucmd;
use crate::iommufd::viommu::ViommuAlloc;
use crate::linux::slab::Ptr;
use crate::linux::uaccess::{copy_from_user, copy_to_user};
use crate::linux::warn::label;

/// sizeof(struct iommu_viommu_selftest)
pub const VIOMMU_DATA_LEN: u64 = 24;
/// PAGE_SIZE: what the mock vIOMMU lets user space map.
pub const MMAP_LENGTH: u64 = 4096;

/// `mock_get_viommu_size()`: 0 for a type that the driver does not have.
pub fn mock_get_viommu_size(ty: u64) -> u64 {
    u64::from(ty == VIOMMU_TYPE_SELFTEST)
}

/// `mock_viommu_init()`: with user data, something to map.
///
/// # Errors
///
/// -EINVAL for data that is too short, -E2BIG for a longer one that is not zero, -EFAULT, -ENOMEM.
pub fn mock_viommu_init(ucmd: &Ucmd, viommu: Ptr<Viommu>, cmd: &ViommuAlloc) -> Result<(), Errno> {
    if cmd.data_len == 0 {
        return Ok(());
    }
    // iommu_copy_struct_from_user()
    if cmd.data_uptr == 0 || cmd.data_len < VIOMMU_DATA_LEN {
        return Err(Errno::EINVAL);
    }
    copy_from_user(false)?;

    let first = _iommufd_alloc_mmap(ucmd.ictx, obj_of(viommu), MMAP_LENGTH)?;
    // iommu_copy_struct_to_user(): the offset.
    if let Err(e) = copy_to_user(false) {
        label("err_destroy_mmap");
        _iommufd_destroy_mmap(ucmd.ictx, obj_of(viommu), first);
        return Err(e);
    }
    viommu.mmap_offset.store(Some(first));
    Ok(())
}

/// `mock_viommu_destroy()`
pub fn mock_viommu_destroy(viommu: Ptr<Viommu>) {
    if let (Some(first), Some(ictx)) = (viommu.mmap_offset.load(), viommu.ictx.load()) {
        _iommufd_destroy_mmap(ictx, obj_of(viommu), first);
    }
}
