//! Not a posted text. `iommufd_vdevice_destroy()` of v3 takes the group's lock for what it
//! clears, although the unwind of the allocation calls it with the lock held.
//!
//! Source: reference/iommufd.md R-C6; Jason Gunthorpe, 17 Oct 2024, on
//! <cover.1728491532.git.nicolinc@nvidia.com>: locking in destroy alone deadlocks.

use super::p2_v3;
use crate::iommufd::objects::{to, Ictx, Object, Vdevice};
use crate::linux::mutex::{mutex_lock, mutex_unlock};
use crate::linux::slab::Ptr;

/// `iommufd_vdevice_destroy()`
pub fn iommufd_vdevice_destroy(ictx: Ptr<Ictx>, obj: Ptr<Object>) {
    let vdev = to::<Vdevice>(obj);
    let Some(igroup) = vdev.idev.load().and_then(|idev| idev.igroup.load()) else { return };

    mutex_lock(&igroup.lock);
    p2_v3::iommufd_vdevice_destroy(ictx, obj);
    mutex_unlock(&igroup.lock);
}
