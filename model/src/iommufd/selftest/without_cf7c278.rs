//! R-D7, to 6.7: the IOAS of an access is read without `ioas_lock`.
//!
//! Source: reference/iommufd.md R-D7; cf7c2789822d ("Fix protection fault in
//! iommufd_test_syz_conv_iova").

use crate::iommufd::io_pagetable::iopt_first_iova;
use crate::iommufd::objects::Access;
use crate::linux::slab::Ptr;
use crate::linux::warn::oops_null;

/// `iommufd_test_syz_conv_iova()` before the fix.
pub fn iommufd_test_syz_conv_iova(access: Ptr<Access>, iova: u64) -> u64 {
    match access.ioas.load() {
        Some(ioas) => iopt_first_iova(&ioas.iopt).map_or(0, |first| first.wrapping_add(iova)),
        None => oops_null("access->ioas"),
    }
}
