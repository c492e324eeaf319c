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

/// sizeof(struct iommu_viommu_selftest)
pub const VIOMMU_DATA_LEN: u64 = 24;
/// As far as its fields `in_data` and `out_data`.
const VIOMMU_DATA_MIN: u64 = 8;
/// PAGE_SIZE: what the mock vIOMMU lets user space map.
pub const MMAP_LENGTH: u64 = 4096;

/// `mock_get_viommu_size()`: 0 for a type that the driver does not have.
pub fn mock_get_viommu_size(ty: u64) -> u64 {
    u64::from(ty == VIOMMU_TYPE_SELFTEST)
}

/// `mock_viommu_init()`: with user data, something to map. The word that user space passes in comes
/// back, beside the place and the length of the mapping.
///
/// # Errors
///
/// -EINVAL for data of another length, -EFAULT, -ENOMEM.
pub fn mock_viommu_init(ucmd: &Ucmd, viommu: Ptr<Viommu>, cmd: &ViommuAlloc) -> Result<(), Errno> {
    if cmd.data_len == 0 {
        return Ok(());
    }
    // iommu_copy_struct_from_user(): what comes back need not be there.
    if !(VIOMMU_DATA_MIN..=VIOMMU_DATA_LEN).contains(&cmd.data_len) {
        return Err(Errno::EINVAL);
    }
    copy_from_user(cmd.bad_uptr)?;

    let first = _iommufd_alloc_mmap(ucmd.ictx, obj_of(viommu), MMAP_LENGTH)?;
    // iommu_copy_struct_to_user(): now it must.
    let copied = if cmd.data_len == VIOMMU_DATA_LEN {
        copy_to_user(cmd.bad_uptr)
    } else {
        Err(Errno::EINVAL)
    };
    if let Err(e) = copied {
        // err_destroy_mmap
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
