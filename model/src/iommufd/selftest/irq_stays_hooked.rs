//! Not a posted text. A driver whose interrupt still leads to a vIOMMU when the device has left it.
//!
//! Source: reference/iommufd.md R-E3.

use uapi::Errno;

use super::linux_6_15;
use crate::iommufd::objects::Object;
use crate::iommufd::revision::Revision;
use crate::linux::device::Device as StructDevice;
use crate::linux::slab::Ptr;

/// `mock_domain_nop_attach()`: the blocked domain of a detach changes nothing.
///
/// # Errors
///
/// As the merged text.
pub fn mock_domain_nop_attach(
    rev: &Revision,
    hwpt: Option<Ptr<Object>>,
    dev: Ptr<StructDevice>,
) -> Result<(), Errno> {
    match hwpt {
        Some(_) => linux_6_15::mock_domain_nop_attach(rev, hwpt, dev),
        None => Ok(()),
    }
}
