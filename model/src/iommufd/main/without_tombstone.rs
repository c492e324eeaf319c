//! Not a posted text. An object that the kernel destroys behind user space's back leaves no
//! tombstone, so its id is given out again.
//!
//! Source: reference/iommufd.md R-A11; <20250617183452.GG1376515@ziepe.ca>.

use uapi::Errno;

use super::{linux_6_17, Remove};
use crate::iommufd::objects::{Ictx, Object};
use crate::linux::slab::Ptr;

/// `iommufd_object_remove()`: REMOVE_OBJ_TOMBSTONE is ignored.
///
/// # Errors
///
/// -ENOENT, -EBUSY
pub fn iommufd_object_remove(
    ictx: Ptr<Ictx>,
    to_destroy: Option<Ptr<Object>>,
    id: u64,
    flags: Remove,
) -> Result<(), Errno> {
    let flags = if flags == Remove::WaitTombstone { Remove::WaitShortterm } else { flags };
    linux_6_17::iommufd_object_remove(ictx, to_destroy, id, flags)
}
