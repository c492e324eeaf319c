//! drivers/iommu/iommufd/device.c: accesses, which reach the memory behind an IOVA without a device.
//!
//! A driver makes one for a device that it emulates (VFIO's mdev; here the mock driver), attaches
//! it to an IOAS and lets go of the memory when `unmap` asks it to. iommufd makes one itself to pin
//! the memory of a HW queue (6.17+): an internal access. It has no driver that could let go: the
//! areas that it pins are locked, and an unmap of them answers -EBUSY.
//!
//! An access is an object, so it takes an id, but nobody can destroy it by that id: its creator
//! holds `users`. That of a driver holds the file, too.
//!
//! Source: reference/iommufd.md 1.3, 2.7, 2.9.1, R-D7; commits 1c26c3bbdee1, 27b77ea5feaa. The
//! order of `iommufd_access_change_ioas()` is from memory of 6.6 and later.

pub mod linux_6_4;

use uapi::Errno;

use crate::iommufd::invariants::check_access;
use crate::iommufd::io_pagetable::{iopt_lock_areas, iopt_read_areas, iopt_unlock_areas};
use crate::iommufd::main::{
    _iommufd_object_alloc, iommufd_ctx_get, iommufd_ctx_put, iommufd_object_destroy_user,
};
use crate::iommufd::objects::{obj_of, to, Access, Ictx, Ioas, Object, SelftestAccess, Type};
use crate::iommufd::selftest::access::iommufd_test_access_unmap;
use crate::linux::mutex::{lockdep_assert_held, mutex_lock, mutex_unlock, Mutex};
use crate::linux::refcount::{refcount_dec, refcount_inc};
use crate::linux::slab::{Plain, Ptr};
use crate::linux::warn::warn_on;

/// Part of `iommufd_access_create()` and `iommufd_access_create_internal()`: all but the finalize.
fn __iommufd_access_create(ictx: Ptr<Ictx>) -> Result<Ptr<Access>, Errno> {
    let access = _iommufd_object_alloc(ictx, Type::Access, |owner, obj| Access {
        obj,
        ictx: Plain::once(owner.field("ictx"), None),
        ioas: Plain::new(owner.field("ioas"), None),
        ioas_unpin: Plain::new(owner.field("ioas_unpin"), None),
        ioas_lock: Mutex::with_check(owner.field("ioas_lock"), check_access),
        data: Plain::once(owner.field("data"), None),
    })?;
    // The creator is a user until iommufd_access_destroy().
    refcount_inc(&access.obj.users);
    Ok(access)
}

/// `iommufd_access_create()`: for a driver.
///
/// # Errors
///
/// As `_iommufd_object_alloc()`.
pub fn iommufd_access_create(
    ictx: Ptr<Ictx>,
    data: Ptr<SelftestAccess>,
) -> Result<Ptr<Access>, Errno> {
    let access = __iommufd_access_create(ictx)?;
    access.data.store(Some(data));
    access.ictx.store(Some(ictx));
    iommufd_ctx_get(ictx);
    (ictx.rev.iommufd_object_finalize)(ictx, obj_of(access));
    Ok(access)
}

/// `iommufd_access_destroy()`
pub fn iommufd_access_destroy(access: Ptr<Access>) {
    if let Some(ictx) = access.ictx.load() {
        iommufd_object_destroy_user(ictx, obj_of(access));
    }
}

/// `iommufd_access_create_internal()`
///
/// # Errors
///
/// As `_iommufd_object_alloc()`.
pub fn iommufd_access_create_internal(ictx: Ptr<Ictx>) -> Result<Ptr<Access>, Errno> {
    let access = __iommufd_access_create(ictx)?;
    (ictx.rev.iommufd_object_finalize)(ictx, obj_of(access));
    Ok(access)
}

/// `iommufd_access_destroy_internal()`
pub fn iommufd_access_destroy_internal(ictx: Ptr<Ictx>, access: Ptr<Access>) {
    iommufd_object_destroy_user(ictx, obj_of(access));
}

fn same(one: Option<Ptr<Ioas>>, other: Option<Ptr<Ioas>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.is(other),
        (one, other) => one.is_none() && other.is_none(),
    }
}

/// `iommufd_access_change_ioas()`: under `ioas_lock`, which it gives up while the driver lets go
/// of the memory. The list of accesses of the IOAS is not modelled: it is what an unmap asks, and
/// no driver has pinned anything.
///
/// # Errors
///
/// -EBUSY if somebody else is moving the access.
fn iommufd_access_change_ioas(
    access: Ptr<Access>,
    new_ioas: Option<Ptr<Ioas>>,
) -> Result<(), Errno> {
    lockdep_assert_held(&access.ioas_lock);
    let cur_ioas = access.ioas.load();

    // Somebody moves it, and has given the lock up for the driver.
    if !same(cur_ioas, access.ioas_unpin.load()) {
        return Err(Errno::EBUSY);
    }
    if same(cur_ioas, new_ioas) {
        return Ok(());
    }

    // Nobody may pin from here on; whoever did can still unpin, by ioas_unpin.
    access.ioas.store(None);
    if let Some(new_ioas) = new_ioas {
        refcount_inc(&new_ioas.obj.users);
    }
    if let Some(cur_ioas) = cur_ioas {
        if access.data.peek().is_some() {
            mutex_unlock(&access.ioas_lock);
            iommufd_test_access_unmap(access);
            mutex_lock(&access.ioas_lock);
        }
        refcount_dec(&cur_ioas.obj.users);
    }
    access.ioas.store(new_ioas);
    access.ioas_unpin.store(new_ioas);
    Ok(())
}

/// `iommufd_access_change_ioas_id()`
///
/// # Errors
///
/// -ENOENT, and as `iommufd_access_change_ioas()`.
fn iommufd_access_change_ioas_id(access: Ptr<Access>, id: u64) -> Result<(), Errno> {
    let Some(ictx) = access.ictx.peek() else { return Err(Errno::EINVAL) };
    let ioas = to::<Ioas>((ictx.rev.iommufd_get_object)(ictx, id, Type::Ioas)?);
    let ret = iommufd_access_change_ioas(access, Some(ioas));
    (ictx.rev.iommufd_put_object)(ictx, obj_of(ioas));
    ret
}

/// `iommufd_access_attach()`
///
/// # Errors
///
/// -EINVAL if it is attached already, -ENOENT.
pub fn iommufd_access_attach(access: Ptr<Access>, ioas_id: u64) -> Result<(), Errno> {
    mutex_lock(&access.ioas_lock);
    let ret = if warn_on(access.ioas.load().is_some() || access.ioas_unpin.load().is_some()) {
        Err(Errno::EINVAL)
    } else {
        iommufd_access_change_ioas_id(access, ioas_id)
    };
    mutex_unlock(&access.ioas_lock);
    ret
}

/// `iommufd_access_replace()`
///
/// # Errors
///
/// -ENOENT if it is not attached, and as `iommufd_access_change_ioas_id()`.
pub fn iommufd_access_replace(access: Ptr<Access>, ioas_id: u64) -> Result<(), Errno> {
    mutex_lock(&access.ioas_lock);
    let ret = if access.ioas.load().is_none() {
        Err(Errno::ENOENT)
    } else {
        iommufd_access_change_ioas_id(access, ioas_id)
    };
    mutex_unlock(&access.ioas_lock);
    ret
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
        iommufd_access_change_ioas(access, Some(ioas))
    };
    mutex_unlock(&access.ioas_lock);
    ret
}

/// `iommufd_access_detach_internal()`
pub fn iommufd_access_detach_internal(access: Ptr<Access>) {
    mutex_lock(&access.ioas_lock);
    if access.ioas.load().is_some() {
        warn_on(iommufd_access_change_ioas(access, None).is_err());
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

/// `iommufd_access_rw()`: what it reads or writes has no contents here.
///
/// # Errors
///
/// -EINVAL for no bytes, -EOVERFLOW, -ENOENT if a part of the range is not mapped.
pub fn iommufd_access_rw(access: Ptr<Access>, iova: u64, length: u64) -> Result<(), Errno> {
    if length == 0 {
        return Err(Errno::EINVAL);
    }
    let last = iova.checked_add(length - 1).ok_or(Errno::EOVERFLOW)?;

    mutex_lock(&access.ioas_lock);
    let ret = match access.ioas.load() {
        None => Err(Errno::ENOENT),
        Some(ioas) => iopt_read_areas(&ioas.iopt, iova, last),
    };
    mutex_unlock(&access.ioas_lock);
    ret
}

/// `iommufd_access_destroy_object()`
pub fn iommufd_access_destroy_object(_ictx: Ptr<Ictx>, obj: Ptr<Object>) {
    let access = to::<Access>(obj);

    iommufd_access_detach_internal(access);
    if let Some(ictx) = access.ictx.load() {
        iommufd_ctx_put(ictx);
    }
}
