//! drivers/iommu/iommufd/ioas.c: I/O address spaces, without their page tables.
//!
//! Source: reference/iommufd.md 1.7, 2.5.3, 2.9.

use uapi::Errno;

use crate::iommufd::main::_iommufd_object_alloc;
use crate::iommufd::objects::{obj_of, Ictx, Ioas, Object, Type};
use crate::iommufd::ucmd::{iommufd_ucmd_respond, Ucmd};
use crate::linux::list::ListHead;
use crate::linux::mutex::Mutex;
use crate::linux::slab::Ptr;

/// `iommufd_ioas_alloc()`
///
/// # Errors
///
/// As `_iommufd_object_alloc()`.
pub fn iommufd_ioas_alloc(ictx: Ptr<Ictx>) -> Result<Ptr<Ioas>, Errno> {
    _iommufd_object_alloc(ictx, Type::Ioas, |owner, obj| Ioas {
        obj,
        mutex: Mutex::new(owner.field("mutex")),
        hwpt_list: ListHead::new(owner.field("hwpt_list")),
    })
}

/// `iommufd_ioas_alloc_ioctl()`: IOMMU_IOAS_ALLOC.
///
/// # Errors
///
/// -EOPNOTSUPP for flags, -ENOMEM, -EFAULT.
pub fn iommufd_ioas_alloc_ioctl(ucmd: &Ucmd, flags: u64) -> Result<u32, Errno> {
    if flags != 0 {
        return Err(Errno::EOPNOTSUPP);
    }

    let ioas = iommufd_ioas_alloc(ucmd.ictx)?;
    let id = ioas.obj.id.load();
    if let Err(e) = iommufd_ucmd_respond(ucmd) {
        // out_table
        (ucmd.ictx.rev.iommufd_object_abort_and_destroy)(ucmd.ictx, obj_of(ioas));
        return Err(e);
    }
    (ucmd.ictx.rev.iommufd_object_finalize)(ucmd.ictx, obj_of(ioas));
    Ok(id)
}

/// `iommufd_ioas_destroy()`: nothing but page tables, which are not modelled.
pub fn iommufd_ioas_destroy(_ictx: Ptr<Ictx>, _obj: Ptr<Object>) {}
