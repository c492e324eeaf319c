//! Not a posted text. `iommufd_object_remove()` without REMOVE_WAIT_SHORTTERM frees the object
//! at once, although somebody may be between the two decrements of `iommufd_put_object()`.
//!
//! Source: reference/iommufd.md R-A5.

use uapi::Errno;

use super::{entry_to_remove, iommufd_object_dec_wait_shortterm, Remove};
use crate::iommufd::objects::{Ictx, Object};
use crate::linux::refcount::{refcount_dec, refcount_dec_if_one, refcount_set};
use crate::linux::slab::{kfree, Ptr};
use crate::linux::xarray::{xa_lock_index, xa_unlock_index, xas_store, Slot};

/// `iommufd_object_remove()`: no wait after the erase.
///
/// # Errors
///
/// -ENOENT, -EBUSY
pub fn iommufd_object_remove(
    ictx: Ptr<Ictx>,
    to_destroy: Option<Ptr<Object>>,
    id: u64,
    flags: Remove,
) -> Result<(), Errno> {
    let mut zerod_shortterm = false;

    if let (Remove::WaitShortterm, Some(obj)) = (flags, to_destroy) {
        if let Err(e) = iommufd_object_dec_wait_shortterm(ictx, obj) {
            refcount_dec(&obj.users);
            return Err(e);
        }
        zerod_shortterm = true;
    }

    xa_lock_index(&ictx.objects, id);
    let obj = match entry_to_remove(ictx, to_destroy, id) {
        Ok(obj) if refcount_dec_if_one(&obj.users) => obj,
        refused => {
            let (obj, errno) = match refused {
                Ok(obj) => (Some(obj), Errno::EBUSY),
                Err((obj, errno)) => (obj, errno),
            };
            if let (true, Some(obj)) = (zerod_shortterm, obj) {
                refcount_set(&obj.shortterm_users, 1);
            }
            xa_unlock_index(&ictx.objects, id);
            return Err(errno);
        }
    };
    xas_store(&ictx.objects, id, Slot::Null);
    xa_unlock_index(&ictx.objects, id);

    (ictx.rev.iommufd_object_ops(obj.ty).destroy)(ictx, obj);
    kfree(obj);
    Ok(())
}
