//! Not a posted text. `iommufd_put_object()` finds the wait queue through the object.
//!
//! Source: bd7a282650b8 ("Add iommufd_ctx to iommufd_put_object()") gives the reason why ictx is
//! an argument; reference/iommufd.md R-A4.

use crate::iommufd::objects::{Ictx, Object};
use crate::linux::refcount::{refcount_dec, refcount_dec_and_test};
use crate::linux::slab::Ptr;
use crate::linux::wait::wake_up_interruptible_all;

/// `iommufd_put_object()`: reads the object after its last short-term user is gone.
pub fn iommufd_put_object(_ictx: Ptr<Ictx>, obj: Ptr<Object>) {
    refcount_dec(&obj.users);
    if refcount_dec_and_test(&obj.shortterm_users) {
        if let Some(ictx) = obj.ictx.load() {
            wake_up_interruptible_all(&ictx.destroy_wait);
        }
    }
}
