//! Not a posted text. `iommufd_get_object()` gives xa_lock(objects) back before it counts itself
//! in.
//!
//! Source: reference/iommufd.md R-A8; invariant I1.

use uapi::Errno;

use crate::iommufd::objects::{Ictx, Object, Type};
use crate::linux::fault::should_fail;
use crate::linux::slab::Ptr;
use crate::linux::xarray::xa_load;

/// `iommufd_get_object()`: the object may be freed between the load and the count.
///
/// # Errors
///
/// -ENOENT
pub fn iommufd_get_object(ictx: Ptr<Ictx>, id: u64, ty: Type) -> Result<Ptr<Object>, Errno> {
    if should_fail() {
        return Err(Errno::ENOENT);
    }

    let obj = xa_load(&ictx.objects, id);
    obj.filter(|obj| (ty == Type::Any || obj.ty == ty) && (ictx.rev.iommufd_lock_obj)(*obj))
        .ok_or(Errno::ENOENT)
}
