//! Not a posted text. `iommufd_lock_obj()` keeps `users` when `shortterm_users` is already 0.
//!
//! Source: reference/iommufd.md R-A7.

use crate::iommufd::objects::Object;
use crate::linux::refcount::refcount_inc_not_zero;
use crate::linux::slab::Ptr;

/// `iommufd_lock_obj()`: fails and leaves a user behind.
pub fn iommufd_lock_obj(obj: Ptr<Object>) -> bool {
    if !refcount_inc_not_zero(&obj.users) {
        return false;
    }
    refcount_inc_not_zero(&obj.shortterm_users)
}
