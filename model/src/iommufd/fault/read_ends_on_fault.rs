//! Not a posted text. `iommufd_fault_fops_read()` as it may have been meant: a copy that fails ends
//! the read. It is the other half of the finding on R-G6.
//!
//! Source: reference/iommufd.md R-G6.

use uapi::Errno;

use super::linux_6_14::{iommufd_fault_deliver_fetch, iommufd_fault_deliver_restore};
use super::{deliver, done_or, Undelivered, PGFAULT_SIZE};
use crate::iommufd::eventq::ReadOut;
use crate::iommufd::objects::Fault;
use crate::linux::mutex::{mutex_lock, mutex_unlock};
use crate::linux::slab::Ptr;
use crate::linux::uaccess::UserPage;

/// `iommufd_fault_fops_read()`
///
/// # Errors
///
/// -ESPIPE for a size that is no multiple of a fault's, -EFAULT, -ENOMEM.
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

    mutex_lock(&fault.mutex);
    while let Some(group) = iommufd_fault_deliver_fetch(fault) {
        if out.bytes >= count {
            iommufd_fault_deliver_restore(fault, group);
            break;
        }
        let delivered = deliver(fault, group, &mut out, page);
        if let Err(why) = delivered {
            iommufd_fault_deliver_restore(fault, group);
            rc = Err(match why {
                Undelivered::NoCookie(e) => e,
                Undelivered::BadAddress => Errno::EFAULT,
            });
            break;
        }
    }
    mutex_unlock(&fault.mutex);
    done_or(out, rc)
}
