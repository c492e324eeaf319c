//! `iommufd_device_auto_get_domain()` before 7214c1c85fe4: it attaches to an auto HWPT of the list
//! without asking whether somebody is destroying it.
//!
//! Source: reference/iommufd.md R-D1, 2.5.3; 7214c1c85fe464929e9c32f90f81d65cd44b8ff6.

use uapi::Errno;

use super::{auto_domain_alloc, do_attach, Change, Changed};
use crate::iommufd::objects::{obj_of, Device, Ictx, Ioas};
use crate::linux::list::list_entry;
use crate::linux::mutex::{mutex_lock, mutex_unlock};
use crate::linux::slab::Ptr;
use crate::linux::warn::label;

/// `iommufd_device_auto_get_domain()`
///
/// # Errors
///
/// What attaching or allocating answers.
pub fn iommufd_device_auto_get_domain(
    ictx: Ptr<Ictx>,
    idev: Ptr<Device>,
    pasid: u64,
    ioas: Ptr<Ioas>,
    how: Change,
) -> Result<Changed, Errno> {
    mutex_lock(&ioas.mutex);
    let mut nth = 0;
    while let Some(hwpt) = list_entry(&ioas.hwpt_list, nth) {
        nth += 1;
        if !hwpt.auto_domain.load() {
            continue;
        }
        let id = hwpt.obj.id.load();
        match do_attach(ictx, how, idev, pasid, obj_of(hwpt)) {
            // This domain does not fit the group: try the next one.
            Err(Errno::EINVAL) => {}
            other => {
                mutex_unlock(&ioas.mutex);
                return other.map(|old_hwpt| (id, old_hwpt));
            }
        }
    }
    let ret = auto_domain_alloc(ictx, idev, pasid, ioas, how);
    label("out_unlock");
    mutex_unlock(&ioas.mutex);
    ret
}
