//! Not posted texts. An allocation that makes its IOAS visible in a way that a checker is for: so
//! that the silence of the checker elsewhere means something.
//!
//! Source: reference/iommufd.md 6.5; kernel/locking/lockdep.c, kernel/sched/core.c.

use super::iommufd_ioas_finalize;
use crate::iommufd::objects::{to, Ictx, Ioas, Object};
use crate::linux::refcount::refcount_set;
use crate::linux::rwsem::{down_read, up_read};
use crate::linux::slab::Ptr;
use crate::linux::xarray::{xa_lock_index, xa_unlock_index};

/// Takes the locks of the new table, in the order that everybody else does not take them in.
pub fn iova_rwsem_before_domains_rwsem(ictx: Ptr<Ictx>, obj: Ptr<Object>) {
    let ioas = to::<Ioas>(obj);

    down_read(&ioas.iopt.iova_rwsem);
    down_read(&ioas.iopt.domains_rwsem);
    up_read(&ioas.iopt.domains_rwsem);
    up_read(&ioas.iopt.iova_rwsem);
    iommufd_ioas_finalize(ictx, obj);
}

/// Gives a lock of the new table back that it has not taken.
pub fn up_without_down(ictx: Ptr<Ictx>, obj: Ptr<Object>) {
    let ioas = to::<Ioas>(obj);

    up_read(&ioas.iopt.iova_rwsem);
    iommufd_ioas_finalize(ictx, obj);
}

/// Waits for a lock of the new table under xa_lock, where nobody may sleep.
pub fn sleep_under_xa_lock(ictx: Ptr<Ictx>, obj: Ptr<Object>) {
    let ioas = to::<Ioas>(obj);
    let id = u64::from(obj.id.load());

    xa_lock_index(&ictx.objects, id);
    down_read(&ioas.iopt.iova_rwsem);
    up_read(&ioas.iopt.iova_rwsem);
    xa_unlock_index(&ictx.objects, id);
    iommufd_ioas_finalize(ictx, obj);
}

/// Makes the IOAS visible with a counter that has no room for one more.
pub fn counter_without_room(ictx: Ptr<Ictx>, obj: Ptr<Object>) {
    refcount_set(&obj.shortterm_users, i32::MAX);
    iommufd_ioas_finalize(ictx, obj);
}
