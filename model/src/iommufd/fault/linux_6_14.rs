//! drivers/iommu/iommufd/fault.c of 6.14: a spinlock of its own protects the faults that wait to be
//! read, so that a device can fault while a reader sleeps. What could not be delivered goes back to
//! the head. A destroyed queue answers what was read, too.
//!
//! Source: commit 3d49020a327c; reference/iommufd.md R-E1, R-B5, 2.6. That the clean-up of
//! `response` came in the same release is from memory.

use uapi::Errno;

use super::{
    answer_deliver, auto_response_to_delivered, deliver, done_or, iopf_fault, iopf_free_group,
    iopf_group_response, is_of, Undelivered, PGFAULT_SIZE,
};
use crate::iommufd::eventq::ReadOut;
use crate::iommufd::objects::{to, AttachHandle, Fault, Ictx, IopfGroup, Object};
use crate::linux::list::{list_add, list_add_tail, list_del_init, list_entry};
use crate::linux::mutex::{mutex_lock, mutex_unlock};
use crate::linux::slab::Ptr;
use crate::linux::spinlock::{spin_lock, spin_unlock};
use crate::linux::uaccess::UserPage;
use crate::linux::wait::wake_up_interruptible_all;
use crate::linux::warn::soft_lockup;
use crate::linux::xarray::{xa_erase, xa_find};

/// How often a reader may take the same fault out and put it back. A reader that has done so only
/// because its own memory is bad will do so for ever.
const RESTORES_MAX: u32 = 3;

/// `iommufd_fault_iopf_handler()`
pub fn iommufd_fault_iopf_handler(hwpt: Ptr<Object>, group: Ptr<IopfGroup>) {
    let fault = iopf_fault(hwpt);

    spin_lock(&fault.common.lock);
    list_add_tail(group, &fault.deliver);
    spin_unlock(&fault.common.lock);
    wake_up_interruptible_all(&fault.common.wait_queue);
}

/// `iommufd_auto_response_faults()`
pub fn iommufd_auto_response_faults(fault: Ptr<Fault>, handle: Ptr<AttachHandle>) {
    let mut free_list = Vec::new();

    mutex_lock(&fault.mutex);
    spin_lock(&fault.common.lock);
    let mut nth = 0;
    while let Some(group) = list_entry(&fault.deliver, nth) {
        if is_of(group, handle) {
            list_del_init(group, &fault.deliver);
            free_list.push(group);
        } else {
            nth += 1;
        }
    }
    spin_unlock(&fault.common.lock);

    for group in free_list {
        iopf_group_response(group);
        iopf_free_group(group);
    }
    auto_response_to_delivered(fault, handle);
    mutex_unlock(&fault.mutex);
}

/// `iommufd_fault_destroy()`
pub fn iommufd_fault_destroy(_ictx: Ptr<Ictx>, obj: Ptr<Object>) {
    let fault = to::<Fault>(obj);

    answer_deliver(fault);
    while let Some((cookie, group)) = xa_find(&fault.response, 0) {
        xa_erase(&fault.response, cookie);
        iopf_group_response(group);
        iopf_free_group(group);
    }
}

/// `iommufd_fault_deliver_fetch()`
pub(super) fn iommufd_fault_deliver_fetch(fault: Ptr<Fault>) -> Option<Ptr<IopfGroup>> {
    spin_lock(&fault.common.lock);
    let group = list_entry(&fault.deliver, 0);
    if let Some(group) = group {
        list_del_init(group, &fault.deliver);
    }
    spin_unlock(&fault.common.lock);
    group
}

/// `iommufd_fault_deliver_restore()`
pub(super) fn iommufd_fault_deliver_restore(fault: Ptr<Fault>, group: Ptr<IopfGroup>) {
    spin_lock(&fault.common.lock);
    list_add(group, &fault.deliver);
    spin_unlock(&fault.common.lock);
}

/// `iommufd_fault_fops_read()`: a copy that fails ends the loop over the requests of a fault, and
/// not the one over the faults (R-G6).
///
/// # Errors
///
/// -ESPIPE for a size that is no multiple of a fault's, -ENOMEM.
pub fn iommufd_fault_fops_read(
    fault: Ptr<Fault>,
    count: u64,
    page: &UserPage,
) -> Result<ReadOut, Errno> {
    if count % PGFAULT_SIZE != 0 {
        return Err(Errno::ESPIPE);
    }
    let mut out = ReadOut::default();
    let mut rc = Ok(());
    let mut restores = 0;

    mutex_lock(&fault.mutex);
    while let Some(group) = iommufd_fault_deliver_fetch(fault) {
        if out.bytes >= count {
            iommufd_fault_deliver_restore(fault, group);
            break;
        }
        match deliver(fault, group, &mut out, page) {
            Ok(()) => {}
            Err(Undelivered::NoCookie(e)) => {
                iommufd_fault_deliver_restore(fault, group);
                rc = Err(e);
                break;
            }
            Err(Undelivered::BadAddress) => {
                iommufd_fault_deliver_restore(fault, group);
                rc = Err(Errno::EFAULT);
                restores += 1;
                if restores == RESTORES_MAX {
                    soft_lockup("fault->mutex is held");
                }
            }
        }
    }
    mutex_unlock(&fault.mutex);
    done_or(out, rc)
}

/// `iommufd_fault_fops_poll()`
pub fn iommufd_fault_fops_poll(fault: Ptr<Fault>) -> bool {
    spin_lock(&fault.common.lock);
    let waits = list_entry(&fault.deliver, 0).is_some();
    spin_unlock(&fault.common.lock);
    waits
}
