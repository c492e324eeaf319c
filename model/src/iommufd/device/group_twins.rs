//! Not posted texts. What the group's look-up and release are careful about, left out.
//!
//! Source: reference/iommufd.md 2.5.1, R-D5.

use uapi::Errno;

use super::{iommufd_put_group, new_group};
use crate::iommufd::objects::{Group, Ictx};
use crate::linux::device::Device as StructDevice;
use crate::linux::refcount::refcount_inc;
use crate::linux::slab::{kfree, Ptr};
use crate::linux::xarray::{xa_erase, xa_load, xa_lock_index, xa_unlock_index, xas_store, Slot};

/// `iommufd_get_group()` with a plain kref_get(): a dying group is raised from 0.
///
/// # Errors
///
/// -ENOMEM
pub fn iommufd_get_group(ictx: Ptr<Ictx>, dev: Ptr<StructDevice>) -> Result<Ptr<Group>, Errno> {
    let id = u64::from(dev.group);

    xa_lock_index(&ictx.groups, id);
    if let Some(igroup) = xa_load(&ictx.groups, id) {
        refcount_inc(&igroup.kref);
        xa_unlock_index(&ictx.groups, id);
        return Ok(igroup);
    }
    xa_unlock_index(&ictx.groups, id);

    let new_igroup = new_group(ictx, dev)?;
    xa_lock_index(&ictx.groups, id);
    if let Some(other) = xa_load(&ictx.groups, id) {
        refcount_inc(&other.kref);
        xa_unlock_index(&ictx.groups, id);
        iommufd_put_group(new_igroup);
        return Ok(other);
    }
    xas_store(&ictx.groups, id, Slot::Ptr(new_igroup));
    xa_unlock_index(&ictx.groups, id);
    Ok(new_igroup)
}

/// `iommufd_group_release()` with a plain xa_erase(): it takes whatever group is there.
pub fn iommufd_group_release(igroup: Ptr<Group>) {
    if let Some(ictx) = igroup.ictx.load() {
        xa_erase(&ictx.groups, u64::from(igroup.group));
    }
    kfree(igroup);
}
