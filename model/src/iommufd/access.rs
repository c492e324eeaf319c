//! drivers/iommu/iommufd/device.c: accesses, which reach the memory behind an IOVA without a device.
//!
//! A driver makes one for a device that it emulates (VFIO's mdev; here the mock driver), attaches
//! it to an IOAS, pins memory of it and lets go of that when `unmap` asks it to. iommufd makes one
//! itself to pin the memory of a HW queue (6.17+): an internal access. It has no driver that could
//! let go: the areas that it pins are locked, and an unmap of them answers -EBUSY.
//!
//! An access is an object, so it takes an id, but nobody can destroy it by that id: its creator
//! holds `users`. That of a driver holds the file, too.
//!
//! Source: reference/iommufd.md 1.3, 2.7, 2.9.1, R-D7; commits 1c26c3bbdee1, 27b77ea5feaa. The
//! order of `iommufd_access_change_ioas()`, of pinning and of the callback is from memory of 6.6 and
//! later.

pub mod linux_6_17;
pub mod linux_6_4;
pub mod lock_under_xa_lock;

use uapi::Errno;

use crate::iommufd::driver::PAGE_SIZE;
use crate::iommufd::invariants::check_access;
use crate::iommufd::io_pagetable::{
    iopt_pin_areas, iopt_read_areas, iopt_remove_access, iopt_unpin_areas,
};
use crate::iommufd::main::{
    _iommufd_object_alloc, iommufd_ctx_get, iommufd_ctx_put, iommufd_object_destroy_user,
};
use crate::iommufd::objects::{obj_of, to, Access, Ictx, Ioas, Object, SelftestAccess, Type};
use crate::iommufd::selftest::access::iommufd_test_access_unmap;
use crate::linux::mutex::{lockdep_assert_held, mutex_lock, mutex_unlock, Mutex};
use crate::linux::refcount::{refcount_dec, refcount_inc};
use crate::linux::slab::{Plain, Ptr};
use crate::linux::warn::warn_on;
use crate::linux::xarray::{xa_find, xa_lock, xa_unlock};

/// `__iommufd_access_create()`: all but the finalize.
fn __iommufd_access_create(ictx: Ptr<Ictx>, iova_alignment: u64) -> Result<Ptr<Access>, Errno> {
    let access = _iommufd_object_alloc(ictx, Type::Access, |owner, obj| Access {
        obj,
        ictx: Plain::once(owner.field("ictx"), None),
        ioas: Plain::new(owner.field("ioas"), None),
        ioas_unpin: Plain::new(owner.field("ioas_unpin"), None),
        ioas_lock: Mutex::with_check(owner.field("ioas_lock"), check_access),
        iopt_access_list_id: Plain::new(owner.field("iopt_access_list_id"), 0),
        iova_alignment,
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
    // ops->needs_pin_pages
    let access = __iommufd_access_create(ictx, if data.pins { PAGE_SIZE } else { 1 })?;
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
    let access = __iommufd_access_create(ictx, PAGE_SIZE)?;
    (ictx.rev.iommufd_object_finalize)(ictx, obj_of(access));
    Ok(access)
}

/// `iommufd_access_destroy_internal()`
pub fn iommufd_access_destroy_internal(ictx: Ptr<Ictx>, access: Ptr<Access>) {
    iommufd_object_destroy_user(ictx, obj_of(access));
}

/// `iommufd_access_is_internal()`: an access of iommufd itself holds no file.
fn iommufd_access_is_internal(access: Ptr<Access>) -> bool {
    access.ictx.load().is_none()
}

fn same(one: Option<Ptr<Ioas>>, other: Option<Ptr<Ioas>>) -> bool {
    match (one, other) {
        (Some(one), Some(other)) => one.is(other),
        (one, other) => one.is_none() && other.is_none(),
    }
}

/// `iommufd_access_change_ioas()`: under `ioas_lock`, which it gives up while the driver lets go
/// of the memory.
///
/// # Errors
///
/// -EBUSY if somebody else is moving the access, and as `iopt_add_access()`.
fn iommufd_access_change_ioas(
    ictx: Ptr<Ictx>,
    access: Ptr<Access>,
    new_ioas: Option<Ptr<Ioas>>,
) -> Result<(), Errno> {
    lockdep_assert_held(&access.ioas_lock);
    let iopt_access_list_id = access.iopt_access_list_id.load();
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
        if let Err(e) = (ictx.rev.iopt_add_access)(&new_ioas.iopt, access) {
            access.ioas.store(cur_ioas);
            return Err(e);
        }
        refcount_inc(&new_ioas.obj.users);
    }
    if let Some(cur_ioas) = cur_ioas {
        // An access that pins nothing has no unmap.
        if let Some(data) = access.data.peek().filter(|data| data.pins) {
            mutex_unlock(&access.ioas_lock);
            iommufd_test_access_unmap(ictx, data, 0, u64::MAX);
            mutex_lock(&access.ioas_lock);
        }
        iopt_remove_access(&cur_ioas.iopt, access, iopt_access_list_id);
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
    let ret = iommufd_access_change_ioas(ictx, access, Some(ioas));
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
pub fn iommufd_access_attach_internal(
    ictx: Ptr<Ictx>,
    access: Ptr<Access>,
    ioas: Ptr<Ioas>,
) -> Result<(), Errno> {
    mutex_lock(&access.ioas_lock);
    let ret = if access.ioas.load().is_some() {
        Err(Errno::EINVAL)
    } else {
        iommufd_access_change_ioas(ictx, access, Some(ioas))
    };
    mutex_unlock(&access.ioas_lock);
    ret
}

/// `iommufd_access_detach_internal()`
pub fn iommufd_access_detach_internal(ictx: Ptr<Ictx>, access: Ptr<Access>) {
    mutex_lock(&access.ioas_lock);
    if access.ioas.load().is_some() {
        warn_on(iommufd_access_change_ioas(ictx, access, None).is_err());
    }
    mutex_unlock(&access.ioas_lock);
}

/// `iommufd_access_notify_unmap()`: asks the driver of each access to let go of a range, without a
/// lock. The access cannot go away meanwhile: its destroyer waits for `shortterm_users`. It can
/// between the two counters that lock it: neither `xa_lock(ictx->objects)` nor a user is held, one of
/// which `iommufd_lock_obj()` asks for (reports/findings.md).
///
/// Since 0dbcdf4473a6 (2026) an access of iommufd itself is passed over before it is locked. Up to
/// 6.16 there were none, and it was not asked.
pub fn iommufd_access_notify_unmap(ictx: Ptr<Ictx>, ioas: Ptr<Ioas>, iova: u64, length: u64) {
    notify_each(ictx, ioas, iova, length, |access| {
        !iommufd_access_is_internal(access) && (ictx.rev.iommufd_lock_obj)(obj_of(access))
    });
}

/// Part of `iommufd_access_notify_unmap()`: each access that can be locked is asked without the list's
/// lock, and put.
fn notify_each(
    ictx: Ptr<Ictx>,
    ioas: Ptr<Ioas>,
    iova: u64,
    length: u64,
    can_lock: impl Fn(Ptr<Access>) -> bool,
) {
    let list = &ioas.iopt.access_list;
    let mut index = 0;
    loop {
        xa_lock(list);
        let mut locked = None;
        while let Some((found, access)) = xa_find(list, index) {
            index = found + 1;
            if can_lock(access) {
                locked = Some(access);
                break;
            }
        }
        xa_unlock(list);
        let Some(access) = locked else { break };

        ops_unmap(ictx, access, iova, length);

        (ictx.rev.iommufd_put_object)(ictx, obj_of(access));
    }
}

/// `access->ops->unmap`
fn ops_unmap(ictx: Ptr<Ictx>, access: Ptr<Access>, iova: u64, length: u64) {
    match access.data.load() {
        Some(data) if data.pins => iommufd_test_access_unmap(ictx, data, iova, length),
        _ => {}
    }
}

/// The last IOVA of a range that is pinned, read or written.
///
/// # Errors
///
/// -EINVAL for no bytes, -EOVERFLOW.
fn last_iova(iova: u64, length: u64) -> Result<u64, Errno> {
    if length == 0 {
        return Err(Errno::EINVAL);
    }
    iova.checked_add(length - 1).ok_or(Errno::EOVERFLOW)
}

/// `iommufd_access_pin_pages()`: the areas of the range are pinned, those for an access of iommufd
/// itself stay mapped until they are unpinned.
///
/// # Errors
///
/// -EINVAL for no bytes, -EOVERFLOW, -ENOENT if it is not attached or a part of the range is not
/// mapped, and as `iopt_pin_areas()`.
pub fn iommufd_access_pin_pages(access: Ptr<Access>, iova: u64, length: u64) -> Result<(), Errno> {
    let last = last_iova(iova, length)?;

    mutex_lock(&access.ioas_lock);
    let ret = match access.ioas.load() {
        None => Err(Errno::ENOENT),
        Some(ioas) => iopt_pin_areas(&ioas.iopt, iova, last, iommufd_access_is_internal(access)),
    };
    mutex_unlock(&access.ioas_lock);
    ret
}

/// `iommufd_access_unpin_pages()`: also while the access is being moved.
pub fn iommufd_access_unpin_pages(access: Ptr<Access>, iova: u64, length: u64) {
    if warn_on(length == 0 || iova.checked_add(length - 1).is_none()) {
        return;
    }

    mutex_lock(&access.ioas_lock);
    let ioas = access.ioas_unpin.load();
    if let Some(ioas) = ioas {
        let internal = iommufd_access_is_internal(access);
        iopt_unpin_areas(&ioas.iopt, iova, iova + (length - 1), internal);
    }
    // It was never attached, or is detached.
    warn_on(ioas.is_none());
    mutex_unlock(&access.ioas_lock);
}

/// `iommufd_access_rw()`: what it reads or writes has no contents here.
///
/// # Errors
///
/// -EINVAL for no bytes and for an area that is being unmapped, -EOVERFLOW, -ENOENT if a part of the
/// range is not mapped.
pub fn iommufd_access_rw(access: Ptr<Access>, iova: u64, length: u64) -> Result<(), Errno> {
    let last = last_iova(iova, length)?;

    mutex_lock(&access.ioas_lock);
    let ret = match access.ioas.load() {
        None => Err(Errno::ENOENT),
        Some(ioas) => iopt_read_areas(&ioas.iopt, iova, last),
    };
    mutex_unlock(&access.ioas_lock);
    ret
}

/// `iommufd_access_destroy_object()`
pub fn iommufd_access_destroy_object(ictx: Ptr<Ictx>, obj: Ptr<Object>) {
    let access = to::<Access>(obj);

    iommufd_access_detach_internal(ictx, access);
    if let Some(ictx) = access.ictx.load() {
        iommufd_ctx_put(ictx);
    }
}
