//! drivers/iommu/iommufd/device.c of 6.4 and 6.5: an access is attached once, before its driver has
//! given it to anybody, and leaves its IOAS when it is destroyed. Nothing happens at the same time, so
//! there is neither `ioas_lock` nor `ioas_unpin`; both came with `iommufd_access_detach()` and
//! `iommufd_access_replace()` in 6.6.
//!
//! Source: from memory of v6.4 (5d5c85ff621b) and of what 6.6 added to it (6b7867b5b8a6,
//! 9227da7816dd).

use uapi::Errno;

use crate::iommufd::io_pagetable::iopt_read_areas;
use crate::iommufd::main::iommufd_ctx_put;
use crate::iommufd::main::linux_6_4::iommufd_ref_to_users;
use crate::iommufd::objects::{to, Access, Ictx, Ioas, Object, Type};
use crate::linux::refcount::refcount_dec;
use crate::linux::slab::Ptr;

/// `iommufd_access_attach()`: the user that the look-up took stays.
///
/// # Errors
///
/// -EINVAL if it is attached already, -ENOENT.
pub fn iommufd_access_attach(access: Ptr<Access>, ioas_id: u64) -> Result<(), Errno> {
    let Some(ictx) = access.ictx.peek() else { return Err(Errno::EINVAL) };

    if access.ioas.load().is_some() {
        return Err(Errno::EINVAL);
    }
    let obj = (ictx.rev.iommufd_get_object)(ictx, ioas_id, Type::Ioas)?;
    iommufd_ref_to_users(obj);
    access.ioas.store(Some(to::<Ioas>(obj)));
    Ok(())
}

/// `iommufd_access_destroy_object()`
pub fn iommufd_access_destroy_object(_ictx: Ptr<Ictx>, obj: Ptr<Object>) {
    let access = to::<Access>(obj);

    if let Some(ioas) = access.ioas.load() {
        // iopt_remove_access()
        refcount_dec(&ioas.obj.users);
        access.ioas.store(None);
    }
    if let Some(ictx) = access.ictx.load() {
        iommufd_ctx_put(ictx);
    }
}

/// `iommufd_access_rw()`
///
/// # Errors
///
/// As since 6.6.
pub fn iommufd_access_rw(access: Ptr<Access>, iova: u64, length: u64) -> Result<(), Errno> {
    if length == 0 {
        return Err(Errno::EINVAL);
    }
    let last = iova.checked_add(length - 1).ok_or(Errno::EOVERFLOW)?;

    match access.ioas.load() {
        None => Err(Errno::ENOENT),
        Some(ioas) => iopt_read_areas(&ioas.iopt, iova, last),
    }
}
