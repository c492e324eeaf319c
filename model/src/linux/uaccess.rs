//! copy_from_user() and copy_to_user(): they may sleep, and they may fail.
//!
//! Source: include/linux/uaccess.h; reference/iommufd.md 2.9.7 (both are points of fail_nth).

use std::panic::Location;

use uapi::errno::Ret;
use uapi::step::{Accesses, Site};
use uapi::trace::Val;
use uapi::Errno;

use crate::linux::fault;
use crate::linux::slab::{Owner, Plain, Ptr, Struct};
use crate::linux::spinlock::might_sleep;
use crate::linux::wait::{
    wait_event_interruptible, wake_up_interruptible_all, Condition, WaitQueue,
};
use crate::sync;

fn copy(op: &'static str, at: Site, bad: bool) -> Result<(), Errno> {
    if sync::change_at(at).is_some() {
        return Ok(());
    }
    might_sleep(at);
    sync::step(op, at, Accesses::new(), |effect| {
        // The injection is asked before the address is looked at.
        let result = if fault::should_fail() || bad { Err(Errno::EFAULT) } else { Ok(()) };
        effect.log(|| (Vec::new(), Val::Ret(Ret::from(&result))));
        result
    })
}

/// copy_from_user(). `bad`: the address cannot be read.
///
/// # Errors
///
/// -EFAULT
#[track_caller]
pub fn copy_from_user(bad: bool) -> Result<(), Errno> {
    copy("copy_from_user", sync::site(Location::caller()), bad)
}

/// copy_to_user(). `bad`: the address cannot be written.
///
/// # Errors
///
/// -EFAULT
#[track_caller]
pub fn copy_to_user(bad: bool) -> Result<(), Errno> {
    copy("copy_to_user", sync::site(Location::caller()), bad)
}

/// Memory of the process that a buffer of a call lies in.
pub enum UserPage {
    /// It is there.
    Present,
    /// Nothing is mapped there.
    Bad,
    /// It is filled by a userfaultfd: whoever touches it first sleeps until user space has done
    /// so.
    Missing(Ptr<Userfault>),
}

/// struct userfaultfd_ctx, for a range of one page.
pub struct Userfault {
    /// Whether user space has filled the page.
    present: Plain<bool>,
    /// Where those wait who touched it.
    fault_pending_wqh: WaitQueue,
}

impl Struct for Userfault {
    const NAME: &'static str = "userfaultfd_ctx";
}

impl Userfault {
    /// A page that is not there yet.
    pub fn new(owner: Owner) -> Userfault {
        Userfault {
            present: Plain::marked(owner.field("present"), false),
            fault_pending_wqh: WaitQueue::new(owner.field("fault_pending_wqh")),
        }
    }
}

/// `handle_userfault()`: sleeps until the page is there. A signal would end it; none comes here.
///
/// Source: fs/userfaultfd.c; reference/iommufd.md R-E1.
fn handle_userfault(page: &Userfault) {
    let accesses = [page.present.read_access()];
    let condition = Condition { accesses: &accesses, holds: &|| page.present.peek() };
    let _no_signal = wait_event_interruptible(&page.fault_pending_wqh, &condition);
}

/// UFFDIO_COPY: user space fills the page.
pub fn userfaultfd_copy(page: &Userfault) {
    page.present.store(true);
    wake_up_interruptible_all(&page.fault_pending_wqh);
}

/// copy_to_user() to such memory.
///
/// # Errors
///
/// -EFAULT
#[track_caller]
pub fn copy_to_user_page(page: &UserPage) -> Result<(), Errno> {
    let at = sync::site(Location::caller());
    if let UserPage::Missing(page) = page {
        handle_userfault(page);
    }
    copy("copy_to_user", at, matches!(page, UserPage::Bad))
}

/// memfd_pin_folios(): pins memory of a file, which has some only if it `is_memfd`.
///
/// # Errors
///
/// -EINVAL, -EFAULT
#[track_caller]
pub fn memfd_pin_folios(is_memfd: bool) -> Result<(), Errno> {
    if !is_memfd {
        return Err(Errno::EINVAL);
    }
    copy("memfd_pin_folios", sync::site(Location::caller()), false)
}

/// pin_user_pages(). `bad`: there is no memory at the address.
///
/// # Errors
///
/// -EFAULT
#[track_caller]
pub fn pin_user_pages(bad: bool) -> Result<(), Errno> {
    copy("pin_user_pages", sync::site(Location::caller()), bad)
}
