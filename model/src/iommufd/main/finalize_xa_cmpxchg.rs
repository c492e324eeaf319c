//! Not a merged text: `iommufd_object_finalize()` as v6 of the series' first part had it, with the
//! normal API of the xarray.
//!
//! The normal API shows the reserved entry as NULL, so what is returned never is XA_ZERO_ENTRY.
//!
//! Source: reference/iommufd.md 1.4.3, R-A6, 6.2.

use crate::iommufd::objects::{Ictx, Object};
use crate::linux::slab::Ptr;
use crate::linux::warn::warn_on;
use crate::linux::xarray::{xa_cmpxchg_slot, Slot};

/// `iommufd_object_finalize()`: WARNs although it did its work.
pub fn iommufd_object_finalize(ictx: Ptr<Ictx>, obj: Ptr<Object>) {
    let id = u64::from(obj.id.load());

    let old = xa_cmpxchg_slot(&ictx.objects, id, Slot::Zero, Slot::Ptr(obj));
    let old: Slot<Object> = old.map_or(Slot::Null, Slot::from);
    warn_on(!matches!(old, Slot::Zero));
}
