//! DMA ownership of IOMMU groups: what iommufd takes before it hands a device to user space, and
//! gives back when the driver unbinds it.
//!
//! Source: drivers/iommu/iommu.c iommu_device_claim_dma_owner(), iommu_device_release_dma_owner()
//! and the description in include/linux/iommu.h; reference/iommufd.md 2.5.1 step 4.

use uapi::splat::Kind;
use uapi::step::Site;
use uapi::Errno;

use crate::linux::device::Device;
use crate::linux::mutex::{mutex_lock, mutex_unlock, Mutex};
use crate::linux::slab::{by_ordinal, Owner, Plain, Ptr, Struct};
use crate::linux::warn::warn_on;
use crate::sync;

/// struct iommu_group
pub struct IommuGroup {
    /// Protects the fields below.
    pub mutex: Mutex,
    /// Who owns the DMA of the group: the allocation of an iommufd context.
    pub owner: Plain<Option<u32>>,
    /// How many of its devices the owner has claimed.
    pub owner_cnt: Plain<u32>,
    /// `pasid_array[IOMMU_NO_PASID]`: what it is attached by, as the ordinal of its allocation, if
    /// whoever attached it asked for faults. Not held.
    pub attach_handle: Plain<Option<u32>>,
}

impl Struct for IommuGroup {
    const NAME: &'static str = "iommu_group";
}

impl IommuGroup {
    /// A group that nobody owns.
    pub fn new(owner: Owner) -> IommuGroup {
        IommuGroup {
            mutex: Mutex::with_check(owner.field("mutex"), check_owner),
            // Marked: the testbed's own check of ownership looks at it without the mutex.
            owner: Plain::marked(owner.field("owner"), None),
            owner_cnt: Plain::new(owner.field("owner_cnt"), 0),
            // Marked: a slot of an xarray.
            attach_handle: Plain::marked(owner.field("pasid_array[0]"), None),
        }
    }
}

/// The mutex of a group is given back: the group has an owner if and as long as it is claimed.
fn check_owner(owner: Owner, at: Site) {
    let Some(group) = by_ordinal::<IommuGroup>(owner.alloc) else { return };
    if group.owner.peek().is_some() != (group.owner_cnt.peek() != 0) {
        let detail = format!(
            "iommu_group#{} is claimed {} times, and its owner says otherwise",
            owner.alloc,
            group.owner_cnt.peek()
        );
        sync::splat(Kind::Invariant, at, detail);
    }
}

/// iommu_device_claim_dma_owner()
///
/// # Errors
///
/// -EPERM if somebody else owns the group, -ENODEV without a group.
pub fn iommu_device_claim_dma_owner(dev: Ptr<Device>, owner: Owner) -> Result<(), Errno> {
    let Some(group) = dev.iommu_group.get() else { return Err(Errno::ENODEV) };

    mutex_lock(&group.mutex);
    let count = group.owner_cnt.load();
    if count > 0 && group.owner.load() != Some(owner.alloc) {
        // unlock_out
        mutex_unlock(&group.mutex);
        return Err(Errno::EPERM);
    }
    group.owner.store(Some(owner.alloc));
    group.owner_cnt.store(count + 1);
    mutex_unlock(&group.mutex);
    Ok(())
}

/// __iommu_release_dma_ownership(): the caller holds the mutex of the group.
fn __iommu_release_dma_ownership(group: Ptr<IommuGroup>) {
    if warn_on(group.owner_cnt.load() == 0 || group.owner.load().is_none()) {
        return;
    }
    group.owner_cnt.store(0);
    group.owner.store(None);
}

/// iommu_device_release_dma_owner()
pub fn iommu_device_release_dma_owner(dev: Ptr<Device>) {
    let Some(group) = dev.iommu_group.get() else { return };

    mutex_lock(&group.mutex);
    let count = group.owner_cnt.load();
    if count > 1 {
        group.owner_cnt.store(count - 1);
    } else {
        __iommu_release_dma_ownership(group);
    }
    mutex_unlock(&group.mutex);
}
