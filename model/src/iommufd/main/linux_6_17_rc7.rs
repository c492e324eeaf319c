//! drivers/iommu/iommufd/main.c since 6.17-rc7 (generation C4): aborting an object that has a
//! file, and a WARN if somebody still uses an aborted object.
//!
//! Source: reference/iommufd.md 1.4.4, 1.4.5 (M7x); commits 4e034bf045b1 (CVE-2025-39966),
//! 53d0584eeb2c.

use super::__fput_sync;
use crate::iommufd::objects::{Ictx, Object};
use crate::linux::refcount::refcount_dec_and_test;
use crate::linux::slab::{kfree, Ptr};
use crate::linux::warn::warn_on;
use crate::linux::xarray::{xa_lock_index, xa_unlock_index, xas_store, Slot};

/// `iommufd_object_abort()`: undoes `_iommufd_object_alloc()`. Somebody who still uses the object
/// keeps its memory: it is leaked.
pub fn iommufd_object_abort(ictx: Ptr<Ictx>, obj: Ptr<Object>) {
    let id = u64::from(obj.id.load());

    xa_lock_index(&ictx.objects, id);
    let old = xas_store(&ictx.objects, id, Slot::Null);
    xa_unlock_index(&ictx.objects, id);
    warn_on(!matches!(old, Slot::Zero));

    if warn_on(!refcount_dec_and_test(&obj.users)) {
        return;
    }
    kfree(obj);
}

/// `iommufd_object_abort_and_destroy()`: the object's file goes first, and its release runs now:
/// a deferred one would find the object freed (R-B2).
pub fn iommufd_object_abort_and_destroy(ictx: Ptr<Ictx>, obj: Ptr<Object>) {
    let ops = ictx.rev.iommufd_object_ops(obj.ty);

    if let Some(filp) = ops.file_offset.and_then(|file| file(obj)) {
        __fput_sync(filp);
    }
    ops.abort.unwrap_or(ops.destroy)(ictx, obj);
    (ictx.rev.iommufd_object_abort)(ictx, obj);
}
