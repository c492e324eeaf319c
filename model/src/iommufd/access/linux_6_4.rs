//! drivers/iommu/iommufd/device.c of 6.4 and 6.5: an access is attached once, before its driver has
//! given it to anybody, and leaves its IOAS when it is destroyed. Nothing happens at the same time, so
//! there is neither `ioas_lock` nor `ioas_unpin`; both came with `iommufd_access_detach()` and
//! `iommufd_access_replace()` in 6.6.
//!
//! Source: from memory of v6.4 (5d5c85ff621b) and of what 6.6 added to it (6b7867b5b8a6,
//! 9227da7816dd).

use uapi::Errno;

use crate::iommufd::access::last_iova;
use crate::iommufd::io_pagetable::{
    iopt_pin_areas, iopt_read_areas, iopt_remove_access, iopt_unpin_areas,
};
use crate::iommufd::main::iommufd_ctx_put;
use crate::iommufd::main::linux_6_4::iommufd_ref_to_users;
use crate::iommufd::objects::{to, Access, Ictx, Ioas, Object, Type};
use crate::linux::refcount::refcount_dec;
use crate::linux::slab::Ptr;
use crate::linux::warn::warn_on;

/// `iommufd_access_attach()`: the user that the look-up took stays.
///
/// # Errors
///
/// -EINVAL if it is attached already, -ENOENT, and as `iopt_add_access()`.
pub fn iommufd_access_attach(access: Ptr<Access>, ioas_id: u64) -> Result<(), Errno> {
    let Some(ictx) = access.ictx.peek() else { return Err(Errno::EINVAL) };

    if access.ioas.load().is_some() {
        return Err(Errno::EINVAL);
    }
    let obj = (ictx.rev.iommufd_get_object)(ictx, ioas_id, Type::Ioas)?;
    let ioas = to::<Ioas>(obj);
    if let Err(e) = (ictx.rev.iopt_add_access)(&ioas.iopt, access) {
        (ictx.rev.iommufd_put_object)(ictx, obj);
        return Err(e);
    }
    iommufd_ref_to_users(obj);
    access.ioas.store(Some(ioas));
    Ok(())
}

/// `iommufd_access_destroy_object()`
pub fn iommufd_access_destroy_object(_ictx: Ptr<Ictx>, obj: Ptr<Object>) {
    let access = to::<Access>(obj);

    if let Some(ioas) = access.ioas.load() {
        iopt_remove_access(&ioas.iopt, access, access.iopt_access_list_id.load());
        refcount_dec(&ioas.obj.users);
        access.ioas.store(None);
    }
    if let Some(ictx) = access.ictx.load() {
        iommufd_ctx_put(ictx);
    }
}

/// `iommufd_access_pin_pages()`
///
/// # Errors
///
/// As since 6.6.
pub fn iommufd_access_pin_pages(access: Ptr<Access>, iova: u64, length: u64) -> Result<(), Errno> {
    let last = last_iova(iova, length)?;

    match access.ioas.load() {
        None => Err(Errno::ENOENT),
        Some(ioas) => iopt_pin_areas(&ioas.iopt, iova, last, false),
    }
}

/// `iommufd_access_unpin_pages()`
pub fn iommufd_access_unpin_pages(access: Ptr<Access>, iova: u64, length: u64) {
    if warn_on(length == 0 || iova.checked_add(length - 1).is_none()) {
        return;
    }
    if let Some(ioas) = access.ioas.load() {
        iopt_unpin_areas(&ioas.iopt, iova, iova + (length - 1), false);
    }
}

/// `iommufd_access_rw()`
///
/// # Errors
///
/// As since 6.6.
pub fn iommufd_access_rw(access: Ptr<Access>, iova: u64, length: u64) -> Result<(), Errno> {
    let last = last_iova(iova, length)?;

    match access.ioas.load() {
        None => Err(Errno::ENOENT),
        Some(ioas) => iopt_read_areas(&ioas.iopt, iova, last),
    }
}
