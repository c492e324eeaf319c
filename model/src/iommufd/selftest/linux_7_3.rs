//! drivers/iommu/iommufd/selftest.c of 7.3: a paging domain may be one for PASIDs, and user space
//! may say in its data which page table it wants.
//!
//! Source: the answers of 7.3.4 (hwpt_paging_flags, nested_wrong_pt). That the data is checked as
//! that of a nested HWPT is, behind the flags, is from memory of 6.19; which
//! page tables there are is not modelled.

use uapi::call::{
    HWPT_ALLOC_DIRTY_TRACKING, HWPT_ALLOC_NEST_PARENT, HWPT_ALLOC_PASID, HWPT_FAULT_ID_VALID,
};
use uapi::Errno;

use crate::iommufd::hw_pagetable::UserData;
use crate::iommufd::selftest::mock_domain_alloc_nested;

/// `mock_domain_alloc_paging_flags()`: what the driver says to the flags and data of a paging HWPT.
///
/// # Errors
///
/// -EOPNOTSUPP, and as `mock_domain_alloc_nested()` for the data.
pub fn mock_domain_alloc_paging_flags(
    flags: u64,
    user_data: Option<UserData>,
) -> Result<(), Errno> {
    let known = HWPT_ALLOC_NEST_PARENT | HWPT_ALLOC_DIRTY_TRACKING | HWPT_ALLOC_PASID;
    // iommufd keeps FAULT_ID_VALID to itself.
    if flags & !(known | HWPT_FAULT_ID_VALID) != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    user_data.map_or(Ok(()), mock_domain_alloc_nested)
}
