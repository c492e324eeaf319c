//! Not a posted text. A group is detached and nobody answers the faults of its handle, which is
//! freed: they stay in the queue.
//!
//! Source: reference/iommufd.md 2.5.3 (detach, "auto-respond faults, free handle"), R-B5.

use crate::iommufd::objects::{AttachHandle, Fault};
use crate::linux::slab::Ptr;

/// `iommufd_auto_response_faults()`
pub fn iommufd_auto_response_faults(_fault: Ptr<Fault>, _handle: Ptr<AttachHandle>) {}
