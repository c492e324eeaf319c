//! drivers/iommu/iommufd/eventq.c since 6.17-rc7: an allocation that fails leaves its file to
//! `iommufd_object_abort_and_destroy()`, which releases it before it frees the object.
//!
//! Source: commit 4e034bf045b1 (CVE-2025-39966); reference/iommufd.md R-B2, 1.4.5.

use uapi::Errno;

use super::{
    fault_object, fd_install, iommufd_eventq_init, veventq_alloc_with, NewEventq, VeventqAlloc,
};
use crate::iommufd::objects::obj_of;
use crate::iommufd::ucmd::{iommufd_ucmd_respond, Ucmd};
use crate::linux::warn::label;

/// `iommufd_fault_alloc()`: IOMMU_FAULT_QUEUE_ALLOC.
///
/// # Errors
///
/// -EOPNOTSUPP for flags, -ENOMEM, -EFAULT.
pub fn iommufd_fault_alloc(ucmd: &Ucmd, flags: u64) -> Result<NewEventq, Errno> {
    if flags != 0 {
        return Err(Errno::EOPNOTSUPP);
    }

    let ictx = ucmd.ictx;
    let fault = fault_object(ictx)?;
    let common = fault.project(|x| &x.common);
    let ret = iommufd_eventq_init(ictx, common, obj_of(fault))
        .and_then(|_filp| iommufd_ucmd_respond(ucmd));
    if let Err(e) = ret {
        label("out_abort");
        (ictx.rev.iommufd_object_abort_and_destroy)(ictx, obj_of(fault));
        return Err(e);
    }

    let id = fault.obj.id.load();
    (ictx.rev.iommufd_object_finalize)(ictx, obj_of(fault));
    Ok(NewEventq { id, filp: fd_install(&fault.common) })
}

/// `iommufd_veventq_alloc()`: IOMMU_VEVENTQ_ALLOC.
///
/// # Errors
///
/// See reference/iommufd.md 2.6.
pub fn iommufd_veventq_alloc(ucmd: &Ucmd, cmd: &VeventqAlloc) -> Result<NewEventq, Errno> {
    veventq_alloc_with(ucmd, cmd, |_filp| {})
}
