//! copy_from_user() and copy_to_user(): they may sleep, and they may fail.
//!
//! Source: include/linux/uaccess.h; reference/iommufd.md 2.9.7 (both are points of fail_nth).

use std::panic::Location;

use uapi::errno::Ret;
use uapi::step::{Accesses, Site};
use uapi::trace::Val;
use uapi::Errno;

use crate::linux::fault;
use crate::linux::spinlock::might_sleep;
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

/// pin_user_pages(). `bad`: there is no memory at the address.
///
/// # Errors
///
/// -EFAULT
#[track_caller]
pub fn pin_user_pages(bad: bool) -> Result<(), Errno> {
    copy("pin_user_pages", sync::site(Location::caller()), bad)
}
