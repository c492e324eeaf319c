//! Not a posted text. The accesses of an IOAS are locked as `iommufd_get_object()` locks an object, under
//! `xa_lock(ictx->objects)`: their destroyer sees both counters raised, or none.
//!
//! Source: torvalds/linux v6.13, iommufd_private.h, comment in `iommufd_lock_obj()`; reports/findings.md.

use crate::iommufd::access::{iommufd_access_is_internal, notify_each};
use crate::iommufd::objects::{obj_of, Access, Ictx, Ioas};
use crate::linux::slab::Ptr;
use crate::linux::xarray::{xa_lock_index, xa_unlock_index};

fn lock(ictx: Ptr<Ictx>, access: Ptr<Access>) -> bool {
    let id = u64::from(access.obj.id.load());

    xa_lock_index(&ictx.objects, id);
    let locked = (ictx.rev.iommufd_lock_obj)(obj_of(access));
    xa_unlock_index(&ictx.objects, id);
    locked
}

/// `iommufd_access_notify_unmap()`
pub fn iommufd_access_notify_unmap(ictx: Ptr<Ictx>, ioas: Ptr<Ioas>, iova: u64, length: u64) {
    notify_each(ictx, ioas, iova, length, |access| {
        !iommufd_access_is_internal(access) && lock(ictx, access)
    });
}
