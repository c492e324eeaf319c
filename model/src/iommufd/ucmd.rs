//! What an ioctl handler is given: struct iommufd_ucmd.
//!
//! Source: reference/iommufd.md 1.4.13.

use uapi::Errno;

use crate::iommufd::objects::{Ictx, Object};
use crate::linux::slab::Ptr;
use crate::linux::uaccess::copy_to_user;
use crate::sync::Cell;

/// struct iommufd_ucmd
pub struct Ucmd {
    /// The context of the file that the ioctl came through.
    pub ictx: Ptr<Ictx>,
    /// Whether the user's struct lies in a page that cannot be written.
    pub read_only: bool,
    /// The object that the handler allocated and the dispatcher finalizes or aborts (6.17+).
    pub new_obj: Cell<Option<Ptr<Object>>>,
}

impl Ucmd {
    /// What the dispatcher hands to a handler.
    pub fn new(ictx: Ptr<Ictx>, read_only: bool) -> Ucmd {
        Ucmd { ictx, read_only, new_obj: Cell::new(None) }
    }

    /// Part of `iommufd_fops_ioctl()`: its end, after the handler returned.
    pub fn finish(&self, ok: bool) {
        let Some(obj) = self.new_obj.get() else { return };
        let rev = self.ictx.rev;

        if ok {
            (rev.iommufd_object_finalize)(self.ictx, obj);
        } else {
            (rev.iommufd_object_abort_and_destroy)(self.ictx, obj);
        }
    }
}

/// `iommufd_ucmd_respond()`: copies the answer to user space.
///
/// # Errors
///
/// -EFAULT
pub fn iommufd_ucmd_respond(ucmd: &Ucmd) -> Result<(), Errno> {
    copy_to_user(ucmd.read_only)
}
