//! Not a posted text. `iommufd_put_object()` drops `shortterm_users` before `users`.
//!
//! Source: the comment in iommufd_put_object() of iommufd_private.h (P613) says why the order
//! matters; reference/iommufd.md R-A3.

use crate::iommufd::objects::{Ictx, Object};
use crate::linux::refcount::{refcount_dec, refcount_dec_and_test};
use crate::linux::slab::Ptr;
use crate::linux::wait::wake_up_interruptible_all;

/// `iommufd_put_object()`: a destroyer who sees nobody inside may still see this user.
pub fn iommufd_put_object(ictx: Ptr<Ictx>, obj: Ptr<Object>) {
    if refcount_dec_and_test(&obj.shortterm_users) {
        wake_up_interruptible_all(&ictx.destroy_wait);
    }
    refcount_dec(&obj.users);
}
