//! Not a posted text. The release of a group that frees it with its lock held, for the checker that
//! sees such a thing.
//!
//! Source: reference/iommufd.md 6.5; debug_check_no_locks_freed() of kernel/locking/lockdep.c.

use crate::iommufd::objects::Group;
use crate::linux::mutex::mutex_lock;
use crate::linux::slab::Ptr;

/// `iommufd_group_release()`
pub fn iommufd_group_release(igroup: Ptr<Group>) {
    mutex_lock(&igroup.lock);
    super::iommufd_group_release(igroup);
}
