//! drivers/iommu/iommufd/fault.c of 6.11 and 6.12: the unwind of a failed allocation drops what
//! the file's release drops as well. Here the file is released at once, as since 4e034bf045b1, so
//! that this bug is seen and not the one behind it.
//!
//! Source: reference/iommufd.md R-B1; commit af7f4780514f (6.13, CVE-2024-56624) is the fix.

use uapi::Errno;

use super::{fault_object, fd_install, iommufd_eventq_init, NewEventq};
use crate::iommufd::main::iommufd_ctx_put;
use crate::iommufd::objects::obj_of;
use crate::iommufd::ucmd::{iommufd_ucmd_respond, Ucmd};
use crate::linux::refcount::refcount_dec;
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
    if let Err(e) = iommufd_eventq_init(ictx, common, obj_of(fault)) {
        label("out_abort");
        (ictx.rev.iommufd_object_abort_and_destroy)(ictx, obj_of(fault));
        return Err(e);
    }

    let id = fault.obj.id.load();
    if let Err(e) = iommufd_ucmd_respond(ucmd) {
        // The release of the file will drop both once more.
        label("out_fput");
        refcount_dec(&fault.obj.users);
        iommufd_ctx_put(ictx);
        label("out_abort");
        (ictx.rev.iommufd_object_abort_and_destroy)(ictx, obj_of(fault));
        return Err(e);
    }
    (ictx.rev.iommufd_object_finalize)(ictx, obj_of(fault));
    Ok(NewEventq { id, filp: fd_install(&fault.common) })
}
