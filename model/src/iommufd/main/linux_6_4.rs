//! The object core of 6.2 to 6.4 (generation C0): one counter and a semaphore per object.
//!
//! Whoever is inside has raised `users` and holds `destroy_rwsem` for reading; the kernel's own
//! destroy takes it for writing, so it waits until nobody is inside. IOMMU_DESTROY looks the object
//! up like everybody, keeps that user while it gives the semaphore back, and then destroys the
//! object like the kernel.
//!
//! Source: reference/iommufd.md 1.5; drivers/iommu/iommufd of torvalds/linux v6.4, as described by
//! the commits that replaced it: 99f98a7c0d69, 6f9c4d8c468c, bd7a282650b8.

use uapi::Errno;

use crate::iommufd::objects::{Ictx, Object, Type};
use crate::linux::refcount::{refcount_dec, refcount_dec_if_one, refcount_inc_not_zero};
use crate::linux::rwsem::{down_read_trylock, down_write, up_read, up_write};
use crate::linux::slab::{kfree, Ptr};
use crate::linux::xarray::{xa_lock_index, xa_unlock_index, xas_store, Slot};

/// `iommufd_lock_obj()`: the caller holds xa_lock(objects) or owns users, so it can only try.
pub fn iommufd_lock_obj(obj: Ptr<Object>) -> bool {
    if !down_read_trylock(&obj.destroy_rwsem) {
        return false;
    }
    if !refcount_inc_not_zero(&obj.users) {
        up_read(&obj.destroy_rwsem);
        return false;
    }
    true
}

/// `iommufd_put_object()`: the semaphore is touched when the user is gone already, and with it
/// maybe the object (R-A1).
pub fn iommufd_put_object(_ictx: Ptr<Ictx>, obj: Ptr<Object>) {
    refcount_dec(&obj.users);
    up_read(&obj.destroy_rwsem);
}

/// `iommufd_ref_to_users()`: the caller stops being inside and stays a user.
pub fn iommufd_ref_to_users(obj: Ptr<Object>) {
    up_read(&obj.destroy_rwsem);
}

/// `iommufd_object_destroy_user()`: gives up the caller's user and destroys the object; false if
/// somebody else uses it.
pub fn iommufd_object_destroy_user(ictx: Ptr<Ictx>, obj: Ptr<Object>) -> bool {
    let id = u64::from(obj.id.load());

    // Whoever is inside raised users, so they have to be out before users is looked at.
    down_write(&obj.destroy_rwsem);
    xa_lock_index(&ictx.objects, id);
    refcount_dec(&obj.users);
    if !refcount_dec_if_one(&obj.users) {
        xa_unlock_index(&ictx.objects, id);
        up_write(&obj.destroy_rwsem);
        return false;
    }
    // __xa_erase()
    xas_store(&ictx.objects, id, Slot::Null);
    xa_unlock_index(&ictx.objects, id);
    up_write(&obj.destroy_rwsem);

    (ictx.rev.iommufd_object_ops(obj.ty).destroy)(ictx, obj);
    kfree(obj);
    true
}

/// What 6.4 calls where later texts have `iommufd_object_put_and_try_destroy()`: an auto domain is
/// destroyed if its last device let go of it.
pub fn iommufd_object_put_and_try_destroy(ictx: Ptr<Ictx>, obj: Ptr<Object>) {
    let _still_used = iommufd_object_destroy_user(ictx, obj);
}

/// `iommufd_destroy()`: IOMMU_DESTROY. The user that it takes can make the kernel's own destroy of
/// the same object fail (R-A2).
///
/// # Errors
///
/// -ENOENT for an unknown id, -EBUSY if somebody else uses the object.
pub fn iommufd_destroy(ictx: Ptr<Ictx>, id: u64) -> Result<(), Errno> {
    let obj = (ictx.rev.iommufd_get_object)(ictx, id, Type::Any)?;

    iommufd_ref_to_users(obj);
    if iommufd_object_destroy_user(ictx, obj) {
        Ok(())
    } else {
        Err(Errno::EBUSY)
    }
}
