//! Not a posted text of the list's archive, but v4's first draft: `iommufd_vdevice_abort()` asserts
//! that the group's lock is *not* held, where the callers have to hold it.
//!
//! Source: reference/iommufd.md 2.2.4, R-C6; Jason Gunthorpe on
//! <cover.1729555967.git.nicolinc@nvidia.com>.

use super::p2_v4;
use crate::iommufd::objects::{to, Ictx, Object, Vdevice};
use crate::linux::mutex::lockdep_assert_not_held;
use crate::linux::slab::Ptr;

/// `iommufd_vdevice_abort()`
pub fn iommufd_vdevice_abort(ictx: Ptr<Ictx>, obj: Ptr<Object>) {
    let vdev = to::<Vdevice>(obj);

    if let Some(igroup) = vdev.idev.load().and_then(|idev| idev.igroup.load()) {
        lockdep_assert_not_held(&igroup.lock);
    }
    p2_v4::iommufd_vdevice_abort(ictx, obj);
}
