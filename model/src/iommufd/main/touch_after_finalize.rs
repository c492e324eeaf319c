//! Not a posted text. The object is touched after `iommufd_object_finalize()` has made it visible:
//! what an allocation that reads the id for its answer too late would do.
//!
//! Source: reference/iommufd.md 1.4.3, R-A13.

use crate::iommufd::objects::{Ictx, Object};
use crate::linux::slab::Ptr;

/// `iommufd_object_finalize()`: the id is read again, when anybody may have destroyed the object.
pub fn iommufd_object_finalize(ictx: Ptr<Ictx>, obj: Ptr<Object>) {
    super::iommufd_object_finalize(ictx, obj);
    let _out_id = obj.id.load();
}
