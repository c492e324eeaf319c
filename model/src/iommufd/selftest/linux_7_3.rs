//! drivers/iommu/iommufd/selftest.c of 7.3: a paging domain may be one for PASIDs, and data of
//! user space for it is not looked at.
//!
//! Source: the answers of 7.3.4 (hwpt_paging_flags, nested_wrong_pt).

use uapi::call::{
    HWPT_ALLOC_DIRTY_TRACKING, HWPT_ALLOC_NEST_PARENT, HWPT_ALLOC_PASID, HWPT_FAULT_ID_VALID,
};
use uapi::Errno;

use crate::iommufd::hw_pagetable::UserData;

/// `mock_domain_alloc_paging_flags()`: what the driver says to the flags of a paging HWPT.
///
/// # Errors
///
/// -EOPNOTSUPP
pub fn mock_domain_alloc_paging_flags(
    flags: u64,
    _user_data: Option<UserData>,
) -> Result<(), Errno> {
    let known = HWPT_ALLOC_NEST_PARENT | HWPT_ALLOC_DIRTY_TRACKING | HWPT_ALLOC_PASID;
    // iommufd keeps FAULT_ID_VALID to itself.
    if flags & !(known | HWPT_FAULT_ID_VALID) != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    Ok(())
}
