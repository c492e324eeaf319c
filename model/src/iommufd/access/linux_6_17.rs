//! CVE-2026-89447, from 6.17: an access is locked before it is asked whether it is one of iommufd
//! itself. Such a one is passed over, still locked, so its destroyer waits for somebody who never
//! comes.
//!
//! Source: reference/iommufd.md 0.3; 0dbcdf4473a6 ("Avoid locking internal accesses during unmap").
//! Only its title was seen; the order of the two questions is from memory of v6.17.

use crate::iommufd::access::{iommufd_access_is_internal, notify_each};
use crate::iommufd::objects::{obj_of, Ictx, Ioas};
use crate::linux::slab::Ptr;

/// `iommufd_access_notify_unmap()` before the fix.
pub fn iommufd_access_notify_unmap(ictx: Ptr<Ictx>, ioas: Ptr<Ioas>, iova: u64, length: u64) {
    notify_each(ictx, ioas, iova, length, |access| {
        (ictx.rev.iommufd_lock_obj)(obj_of(access)) && !iommufd_access_is_internal(access)
    });
}
