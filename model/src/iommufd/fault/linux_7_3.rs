//! drivers/iommu/iommufd/selftest.c of 7.3: the mock device faults while nobody can detach it.
//!
//! Of the commit only the title was seen ("Fix UAF in selftest IOPF reporting"). That the lock of
//! the group is what it takes is a guess: it is what IOMMU drivers have to see to, who drain their
//! faults before a domain is detached.
//!
//! Source: commit 8c07df7cdfcf (Aug 2026); reference/iommufd.md R-F6.

use uapi::Errno;

use super::iommu_report_device_fault;
use crate::iommufd::objects::{to, Device, Type};
use crate::iommufd::ucmd::Ucmd;
use crate::linux::mutex::{mutex_lock, mutex_unlock};
use crate::linux::warn::oops_null;

/// `iommufd_test_trigger_iopf()`
///
/// # Errors
///
/// -ENOENT for an unknown device. What became of the fault is not said.
pub fn iommufd_test_trigger_iopf(ucmd: &Ucmd, dev_id: u64) -> Result<(), Errno> {
    let rev = ucmd.ictx.rev;
    let idev_obj = (rev.iommufd_get_object)(ucmd.ictx, dev_id, Type::Device)?;
    let idev = to::<Device>(idev_obj);
    let Some(igroup) = idev.igroup.load() else { oops_null("idev->igroup") };

    mutex_lock(&igroup.lock);
    let _not_said = iommu_report_device_fault(rev, idev);
    mutex_unlock(&igroup.lock);
    (rev.iommufd_put_object)(ucmd.ictx, idev_obj);
    Ok(())
}
