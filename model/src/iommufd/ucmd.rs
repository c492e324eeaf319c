//! What an ioctl handler is given: struct iommufd_ucmd.
//!
//! Source: reference/iommufd.md 1.4.13.

use uapi::Errno;

use crate::iommufd::objects::Ictx;
use crate::linux::slab::Ptr;
use crate::linux::uaccess::copy_to_user;

/// struct iommufd_ucmd
#[derive(Clone, Copy)]
pub struct Ucmd {
    /// The context of the file that the ioctl came through.
    pub ictx: Ptr<Ictx>,
    /// Whether the user's struct lies in a page that cannot be written.
    pub read_only: bool,
}

/// `iommufd_ucmd_respond()`: copies the answer to user space.
///
/// # Errors
///
/// -EFAULT
pub fn iommufd_ucmd_respond(ucmd: &Ucmd) -> Result<(), Errno> {
    copy_to_user(ucmd.read_only)
}
