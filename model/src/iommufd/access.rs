//! drivers/iommu/iommufd/device.c: accesses that iommufd itself makes, to pin the memory behind an
//! IOVA for a HW queue (6.17+).
//!
//! An internal access has no driver that could let go of the memory: the areas that it pins are
//! locked, and an unmap of them answers -EBUSY. It is an object, so it takes an id, but nobody can
//! destroy it by that id: its creator holds `users`.
//!
//! Source: reference/iommufd.md 2.7, 2.9.1; commits 1c26c3bbdee1, 27b77ea5feaa.

use uapi::Errno;

use crate::iommufd::io_pagetable::{iopt_lock_areas, iopt_unlock_areas};
use crate::iommufd::main::{_iommufd_object_alloc, iommufd_object_destroy_user};
use crate::iommufd::objects::{obj_of, to, Access, Ictx, Ioas, Object, Type};
use crate::linux::mutex::{lockdep_assert_held, mutex_lock, mutex_unlock, Mutex};
use crate::linux::refcount::{refcount_dec, refcount_inc};
use crate::linux::slab::{Plain, Ptr};

/// `iommufd_access_create_internal()`
///
/// # Errors
///
/// As `_iommufd_object_alloc()`.
pub fn iommufd_access_create_internal(ictx: Ptr<Ictx>) -> Result<Ptr<Access>, Errno> {
    let access = _iommufd_object_alloc(ictx, Type::Access, |owner, obj| Access {
        obj,
        ioas: Plain::new(owner.field("ioas"), None),
        ioas_lock: Mutex::new(owner.field("ioas_lock")),
    })?;
    // The creator is a user until iommufd_access_destroy_internal().
    refcount_inc(&access.obj.users);
    (ictx.rev.iommufd_object_finalize)(ictx, obj_of(access));
    Ok(access)
}

/// `iommufd_access_destroy_internal()`
pub fn iommufd_access_destroy_internal(ictx: Ptr<Ictx>, access: Ptr<Access>) {
    iommufd_object_destroy_user(ictx, obj_of(access));
}

/// `iommufd_access_change_ioas()`: under `ioas_lock`. The list of accesses of the IOAS is not
/// modelled: it is what an unmap asks, and an internal access always refuses.
fn iommufd_access_change_ioas(access: Ptr<Access>, new_ioas: Option<Ptr<Ioas>>) {
    lockdep_assert_held(&access.ioas_lock);
    let cur_ioas = access.ioas.load();

    if let Some(new_ioas) = new_ioas {
        refcount_inc(&new_ioas.obj.users);
    }
    access.ioas.store(new_ioas);
    if let Some(cur_ioas) = cur_ioas {
        refcount_dec(&cur_ioas.obj.users);
    }
}

/// `iommufd_access_attach_internal()`
///
/// # Errors
///
/// -EINVAL if it is attached already.
pub fn iommufd_access_attach_internal(access: Ptr<Access>, ioas: Ptr<Ioas>) -> Result<(), Errno> {
    mutex_lock(&access.ioas_lock);
    let ret = if access.ioas.load().is_some() {
        Err(Errno::EINVAL)
    } else {
        iommufd_access_change_ioas(access, Some(ioas));
        Ok(())
    };
    mutex_unlock(&access.ioas_lock);
    ret
}

/// `iommufd_access_detach_internal()`
pub fn iommufd_access_detach_internal(access: Ptr<Access>) {
    mutex_lock(&access.ioas_lock);
    if access.ioas.load().is_some() {
        iommufd_access_change_ioas(access, None);
    }
    mutex_unlock(&access.ioas_lock);
}

/// `iommufd_access_pin_pages()`: the areas of the range stay mapped until they are unpinned.
///
/// # Errors
///
/// -ENOENT if a part of the range is not mapped, -ENOMEM.
pub fn iommufd_access_pin_pages(access: Ptr<Access>, iova: u64, length: u64) -> Result<(), Errno> {
    mutex_lock(&access.ioas_lock);
    let ret = match access.ioas.load() {
        None => Err(Errno::ENOENT),
        Some(ioas) => iopt_lock_areas(&ioas.iopt, iova, length),
    };
    mutex_unlock(&access.ioas_lock);
    ret
}

/// `iommufd_access_unpin_pages()`
pub fn iommufd_access_unpin_pages(access: Ptr<Access>, iova: u64, length: u64) {
    mutex_lock(&access.ioas_lock);
    if let Some(ioas) = access.ioas.load() {
        iopt_unlock_areas(&ioas.iopt, iova, length);
    }
    mutex_unlock(&access.ioas_lock);
}

/// `iommufd_access_destroy_object()`
pub fn iommufd_access_destroy_object(_ictx: Ptr<Ictx>, obj: Ptr<Object>) {
    iommufd_access_detach_internal(to::<Access>(obj));
}
