//! drivers/iommu/iommufd/selftest.c since 6.15: a mock device that is attached to a vIOMMU's
//! nested HWPT must have a vDEVICE on that vIOMMU, and can report events through it.
//!
//! Source: reference/iommufd.md 2.3, 2.9.5, 5.1; commits d659d89fecb7, f0be7a250aba.

use uapi::call::{HWPT_ALLOC_PASID, VEVENTQ_TYPE_SELFTEST};
use uapi::Errno;

use crate::iommufd::driver::iommufd_viommu_get_vdev_id;
use crate::iommufd::hw_pagetable::UserData;
use crate::iommufd::objects::{to, Device, HwptNested, Object, Type, Viommu};
use crate::iommufd::revision::Revision;
use crate::iommufd::ucmd::Ucmd;
use crate::linux::device::Device as StructDevice;
use crate::linux::rwsem::{down_read, down_write, up_read, up_write};
use crate::linux::slab::{by_ordinal, Ptr};
use crate::linux::warn::label;

/// `mock_domain_alloc_paging_flags()`: a paging domain may be one for PASIDs. It takes no data.
///
/// # Errors
///
/// -EOPNOTSUPP
pub fn mock_domain_alloc_paging_flags(
    flags: u64,
    user_data: Option<UserData>,
) -> Result<(), Errno> {
    super::mock_domain_alloc_paging_flags(flags & !HWPT_ALLOC_PASID, user_data)
}

/// `mock_domain_nop_attach()`: `None` is the blocked domain of a detach.
///
/// # Errors
///
/// -ENOENT if the device has no vDEVICE on the vIOMMU of the nested HWPT.
pub fn mock_domain_nop_attach(
    rev: &Revision,
    hwpt: Option<Ptr<Object>>,
    dev: Ptr<StructDevice>,
) -> Result<(), Errno> {
    let nested = hwpt.filter(|hwpt| hwpt.ty == Type::HwptNested);
    let new_viommu = nested.and_then(|hwpt| to::<HwptNested>(hwpt).viommu.load());

    let mut vdev_id = 0;
    if let Some(viommu) = new_viommu {
        vdev_id = iommufd_viommu_get_vdev_id(rev, viommu, dev)?;
    }
    let new = new_viommu.map(|viommu| viommu.owner().alloc);
    if new != dev.viommu.load() {
        down_write(&dev.viommu_rwsem);
        dev.viommu.store(new);
        dev.vdev_id.store(vdev_id);
        up_write(&dev.viommu_rwsem);
    }
    Ok(())
}

/// `iommufd_test_trigger_vevent()`: the device reports an event to its vIOMMU, which is the one that
/// it is attached to: the id of a vIOMMU that user space may pass is not looked at.
///
/// # Errors
///
/// -ENOENT for an unknown device, or if the device is on no vIOMMU or its virtual ID is 0; what
/// reporting answers.
pub fn iommufd_test_trigger_vevent(ucmd: &Ucmd, dev_id: u64) -> Result<(), Errno> {
    let ictx = ucmd.ictx;
    let rev = ictx.rev;

    let idev_obj = (rev.iommufd_get_object)(ictx, dev_id, Type::Device)?;
    let dev = to::<Device>(idev_obj).dev.load();
    let ret = dev.map_or(Err(Errno::ENOENT), |dev| trigger(rev, dev));
    (rev.iommufd_put_object)(ictx, idev_obj);
    ret
}

/// The interrupt thread of a driver that keeps the vIOMMU of its device itself, as `mock_dev` does:
/// it reports an event without a look-up by id.
///
/// # Errors
///
/// -ENOENT if the device is on no vIOMMU; what reporting answers.
pub fn interrupt(rev: &Revision, dev: Ptr<StructDevice>) -> Result<(), Errno> {
    trigger(rev, dev)
}

/// Part of `iommufd_test_trigger_vevent()`: what is done under the mock device's lock.
fn trigger(rev: &Revision, dev: Ptr<StructDevice>) -> Result<(), Errno> {
    down_read(&dev.viommu_rwsem);
    let viommu = dev.viommu.load().and_then(by_ordinal::<Viommu>);
    let vdev_id = dev.vdev_id.load();
    let ret = match viommu.filter(|_| vdev_id != 0) {
        None => Err(Errno::ENOENT),
        Some(viommu) => (rev.iommufd_viommu_report_event)(viommu, VEVENTQ_TYPE_SELFTEST, vdev_id),
    };
    label("out_unlock");
    up_read(&dev.viommu_rwsem);
    ret
}
