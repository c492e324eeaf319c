//! Not a posted text. The file of a fault queue raises the object's users only when its descriptor
//! is installed, so the object can be destroyed between its finalize and that.
//!
//! Source: reference/iommufd.md R-B4.

use uapi::Errno;

use super::{eventq_file_init, fault_object, fd_install, NewEventq};
use crate::iommufd::objects::obj_of;
use crate::iommufd::ucmd::{iommufd_ucmd_respond, Ucmd};
use crate::linux::refcount::refcount_inc;
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
    let ret =
        eventq_file_init(ictx, common, obj_of(fault)).and_then(|_filp| iommufd_ucmd_respond(ucmd));
    if let Err(e) = ret {
        label("out_abort");
        (ictx.rev.iommufd_object_abort_and_destroy)(ictx, obj_of(fault));
        return Err(e);
    }

    let id = fault.obj.id.load();
    (ictx.rev.iommufd_object_finalize)(ictx, obj_of(fault));
    let filp = fd_install(&fault.common);
    refcount_inc(&fault.obj.users);
    Ok(NewEventq { id, filp })
}
