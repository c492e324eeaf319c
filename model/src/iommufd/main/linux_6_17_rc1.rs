//! drivers/iommu/iommufd/main.c of 6.17-rc1: mmap looks the offer up without a lock and raises the
//! owner's users last.
//!
//! Source: reference/iommufd.md 1.4.14, R-F1; commit 56e9a0d8e53f. 7a425ec75d2b is the fix.

use uapi::Errno;

use super::linux_6_17::{mmap_checks, VmArea};
use crate::iommufd::driver::PAGE_SIZE;
use crate::iommufd::objects::{Ictx, Object};
use crate::linux::maple_tree::mtree_load;
use crate::linux::refcount::refcount_inc;
use crate::linux::slab::Ptr;

/// `iommufd_fops_mmap()`
///
/// # Errors
///
/// -EINVAL, -EPERM; -ENXIO for an offset or a length that nobody offered.
pub fn iommufd_fops_mmap(ictx: Ptr<Ictx>, vma: &VmArea) -> Result<Ptr<Object>, Errno> {
    mmap_checks(vma)?;

    let pgoff = vma.offset / PAGE_SIZE;
    let Some(immap) = mtree_load(&ictx.mt_mmap, pgoff) else { return Err(Errno::ENXIO) };
    if immap.vm_pgoff.load() != pgoff || immap.length != vma.length {
        return Err(Errno::ENXIO);
    }
    // remap_pfn_range(): page tables only, which are not modelled.
    let Some(owner) = immap.owner.load() else { return Err(Errno::ENXIO) };
    refcount_inc(&owner.users);
    Ok(owner)
}
