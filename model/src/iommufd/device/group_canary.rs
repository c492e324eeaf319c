//! Not a posted text. The release of a group that frees it with its lock held, for the checker that
//! sees such a thing.
//!
//! Source: reference/iommufd.md 6.5; debug_check_no_locks_freed() of kernel/locking/lockdep.c.

use crate::iommufd::objects::Group;
use crate::linux::mutex::mutex_lock;
use crate::linux::slab::{kfree, Ptr};
use crate::linux::xarray::xa_cmpxchg;

/// `iommufd_group_release()`
pub fn iommufd_group_release(igroup: Ptr<Group>) {
    mutex_lock(&igroup.lock);
    if let Some(ictx) = igroup.ictx.load() {
        let _replaced = xa_cmpxchg(&ictx.groups, u64::from(igroup.group), Some(igroup), None);
    }
    kfree(igroup);
}
