//! Not a posted text. `iommufd_object_remove()` does not give the slot's bias of
//! `shortterm_users` back when the removal fails.
//!
//! Source: reference/iommufd.md R-A10; invariant I3.

use uapi::Errno;

use super::{entry_to_remove, iommufd_object_dec_wait_shortterm, Remove};
use crate::iommufd::objects::{Ictx, Object};
use crate::linux::refcount::{refcount_dec, refcount_dec_if_one};
use crate::linux::slab::{kfree, Ptr};
use crate::linux::warn::warn_on;
use crate::linux::xarray::{xa_lock_index, xa_unlock_index, xas_store, Slot};

/// `iommufd_object_remove()`: after a failed removal the object stays, but nobody can come in.
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
            xa_unlock_index(&ictx.objects, id);
            return Err(refused.err().map_or(Errno::EBUSY, |(_, errno)| errno));
        }
    };
    xas_store(&ictx.objects, id, Slot::Null);
    xa_unlock_index(&ictx.objects, id);

    if !zerod_shortterm {
        let left = iommufd_object_dec_wait_shortterm(ictx, obj);
        if warn_on(left.is_err()) {
            return left;
        }
    }

    (ictx.rev.iommufd_object_ops(obj.ty).destroy)(ictx, obj);
    kfree(obj);
    Ok(())
}
