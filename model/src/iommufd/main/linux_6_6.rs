//! The object core of 6.5 and 6.6 (generation C1): as 6.4, but IOMMU_DESTROY takes no user.
//!
//! Looking the object up, taking `users` from 1 to 0 and emptying the slot are one section of
//! xa_lock(objects), so the ioctl can no longer get in the way of the kernel's own destroy. It
//! does not take `destroy_rwsem` either, and frees an object of which somebody may still hold it.
//!
//! Source: reference/iommufd.md 1.5; 99f98a7c0d69 ("IOMMUFD_DESTROY should not increase the
//! refcount").

use uapi::Errno;

use crate::iommufd::objects::{Ictx, Object};
use crate::linux::refcount::{refcount_dec, refcount_dec_if_one};
use crate::linux::rwsem::{down_write, up_write};
use crate::linux::slab::{kfree, Ptr};
use crate::linux::warn::warn_on;
use crate::linux::xarray::{xa_lock_index, xa_unlock_index, xas_load, xas_store, Slot};

/// `iommufd_object_remove()`: takes the object out of the xarray if the slot is its last user. With
/// `extra_put` the caller owns one of the users and gives it up. The caller destroys and frees
/// what it is given.
///
/// # Errors
///
/// -ENOENT if there is no such object, -EBUSY if somebody else uses it.
fn iommufd_object_remove(
    ictx: Ptr<Ictx>,
    obj: Option<Ptr<Object>>,
    id: u64,
    extra_put: bool,
) -> Result<Ptr<Object>, Errno> {
    xa_lock_index(&ictx.objects, id);
    let loaded = xas_load(&ictx.objects, id).ptr();
    let Some(found) = loaded.filter(|found| obj.is_none_or(|obj| obj.same(*found))) else {
        xa_unlock_index(&ictx.objects, id);
        return Err(Errno::ENOENT);
    };
    if extra_put {
        refcount_dec(&found.users);
    }
    if !refcount_dec_if_one(&found.users) {
        xa_unlock_index(&ictx.objects, id);
        return Err(Errno::EBUSY);
    }
    xas_store(&ictx.objects, id, Slot::Null);
    xa_unlock_index(&ictx.objects, id);
    Ok(found)
}

/// `__iommufd_object_destroy_user()`: the kernel destroys an object of its own once nobody is
/// inside.
fn __iommufd_object_destroy_user(ictx: Ptr<Ictx>, obj: Ptr<Object>, allow_fail: bool) {
    let id = u64::from(obj.id.load());

    down_write(&obj.destroy_rwsem);
    let removed = iommufd_object_remove(ictx, Some(obj), id, true);
    up_write(&obj.destroy_rwsem);

    let Ok(removed) = removed else {
        // The caller's user is gone, and the object stays until the file is closed.
        warn_on(!allow_fail);
        return;
    };
    (ictx.rev.iommufd_object_ops(removed.ty).destroy)(ictx, removed);
    kfree(removed);
}

/// `iommufd_object_destroy_user()`: the WARN is in the function that it wraps, so there is nothing
/// left for its caller to say.
pub fn iommufd_object_destroy_user(ictx: Ptr<Ictx>, obj: Ptr<Object>) -> bool {
    __iommufd_object_destroy_user(ictx, obj, false);
    true
}

/// `iommufd_object_deref_user()`: what `iommufd_object_put_and_try_destroy()` was called. An auto
/// domain that somebody else uses stays.
pub fn iommufd_object_deref_user(ictx: Ptr<Ictx>, obj: Ptr<Object>) {
    __iommufd_object_destroy_user(ictx, obj, true);
}

/// `iommufd_destroy()`: IOMMU_DESTROY.
///
/// # Errors
///
/// -ENOENT, -EBUSY: see `iommufd_object_remove()`.
pub fn iommufd_destroy(ictx: Ptr<Ictx>, id: u64) -> Result<(), Errno> {
    let obj = iommufd_object_remove(ictx, None, id, false)?;

    (ictx.rev.iommufd_object_ops(obj.ty).destroy)(ictx, obj);
    kfree(obj);
    Ok(())
}
