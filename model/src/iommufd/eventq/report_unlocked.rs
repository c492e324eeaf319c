//! Not a posted text. `iommufd_viommu_report_event()` does not take `veventqs_rwsem`, so the queue
//! can be destroyed while an event is put into it.
//!
//! Source: reference/iommufd.md R-E2.

use uapi::Errno;

use super::{iommufd_viommu_find_veventq, report_to};
use crate::iommufd::objects::Viommu;
use crate::linux::slab::Ptr;
use crate::linux::spinlock::{spin_lock, spin_unlock};

/// `iommufd_viommu_report_event()`
///
/// # Errors
///
/// As the merged text.
pub fn iommufd_viommu_report_event(viommu: Ptr<Viommu>, ty: u64, data: u64) -> Result<(), Errno> {
    let Some(veventq) = iommufd_viommu_find_veventq(viommu, ty) else {
        return Err(Errno::EOPNOTSUPP);
    };
    spin_lock(&veventq.common.lock);
    let ret = report_to(veventq, data);
    spin_unlock(&veventq.common.lock);
    ret
}
