//! drivers/iommu/iommufd/selftest.c: the mock driver's accesses and their files.
//!
//! They pin no pages: IOMMU_TEST_OP_ACCESS_PAGES is not modelled, so `unmap` finds nothing to let
//! go of.
//!
//! Source: reference/iommufd.md R-D7, 5.1; the order of `iommufd_test_create_access()` is from
//! memory.

use uapi::call::{ACCESS_RW_WRITE, ACCESS_SYZ};
use uapi::Errno;

use crate::iommufd::access::{
    iommufd_access_create, iommufd_access_destroy, iommufd_access_replace,
};
use crate::iommufd::io_pagetable::iopt_first_iova;
use crate::iommufd::main::fput;
use crate::iommufd::objects::{Access, File, SelftestAccess};
use crate::iommufd::ucmd::{iommufd_ucmd_respond, Ucmd};
use crate::linux::mutex::{mutex_lock, mutex_unlock};
use crate::linux::slab::{kfree, kzalloc, Plain, Ptr, Struct};
use crate::linux::spinlock::{spin_lock, spin_unlock, Spinlock};
use crate::linux::uaccess::{copy_from_user, copy_to_user};
use crate::linux::warn::{label, oops_null};

/// MOCK_FLAGS_ACCESS_CREATE_NEEDS_PIN_PAGES
const CREATE_NEEDS_PIN_PAGES: u64 = 1 << 0;
/// MOCK_ACCESS_RW_SLOW_PATH
const RW_SLOW_PATH: u64 = 1 << 2;
/// More bytes than this are refused.
const RW_LENGTH_MAX: u64 = 16 << 20;

/// The buffer of `iommufd_test_access_rw()`.
struct Tmp;

impl Struct for Tmp {
    const NAME: &'static str = "tmp";
}

/// `iommufd_test_alloc_access()`: the driver's part, and its file.
fn iommufd_test_alloc_access() -> Result<Ptr<SelftestAccess>, Errno> {
    let staccess = kzalloc(|owner| SelftestAccess {
        access: Plain::new(owner.field("access"), None),
        file: Plain::new(owner.field("file"), None),
        lock: Spinlock::new(owner.field("lock")),
    })?;
    // anon_inode_getfile()
    let filp = match kzalloc(File::new) {
        Ok(filp) => filp,
        Err(e) => {
            kfree(staccess);
            return Err(e);
        }
    };
    filp.staccess.init(Some(staccess));
    staccess.file.init(Some(filp));
    Ok(staccess)
}

/// `iommufd_test_create_access()`: gives the file, installed as a descriptor by the caller.
///
/// # Errors
///
/// -EOPNOTSUPP for unknown flags, -ENOMEM, -ENOENT, -EFAULT.
pub fn iommufd_test_create_access(
    ucmd: &Ucmd,
    ioas_id: u64,
    flags: u64,
) -> Result<Ptr<File>, Errno> {
    if flags & !CREATE_NEEDS_PIN_PAGES != 0 {
        return Err(Errno::EOPNOTSUPP);
    }

    let staccess = iommufd_test_alloc_access()?;
    let Some(filp) = staccess.file.peek() else { oops_null("staccess->file") };

    let access = match iommufd_access_create(ucmd.ictx, staccess) {
        Ok(access) => access,
        Err(e) => {
            label("out_free_staccess");
            fput(filp);
            return Err(e);
        }
    };
    let attached = (ucmd.ictx.rev.iommufd_access_attach)(access, ioas_id)
        .and_then(|()| iommufd_ucmd_respond(ucmd));
    if let Err(e) = attached {
        label("out_destroy");
        iommufd_access_destroy(access);
        fput(filp);
        return Err(e);
    }
    staccess.access.store(Some(access));
    Ok(filp)
}

/// `iommufd_test_access_unmap()`: lets go of what is pinned in a range, which is nothing.
pub fn iommufd_test_access_unmap(access: Ptr<Access>) {
    let Some(staccess) = access.data.load() else { return };
    spin_lock(&staccess.lock);
    spin_unlock(&staccess.lock);
}

/// `iommufd_test_staccess_release()`: the file is gone, and with it the access.
pub fn iommufd_test_staccess_release(staccess: Ptr<SelftestAccess>) {
    if let Some(access) = staccess.access.load() {
        iommufd_test_access_unmap(access);
        iommufd_access_destroy(access);
    }
    kfree(staccess);
}

/// `iommufd_test_access_replace_ioas()`
///
/// # Errors
///
/// -ENOENT, -EBUSY.
pub fn iommufd_test_access_replace_ioas(
    staccess: Ptr<SelftestAccess>,
    ioas_id: u64,
) -> Result<(), Errno> {
    match staccess.access.load() {
        Some(access) => iommufd_access_replace(access, ioas_id),
        None => oops_null("staccess->access"),
    }
}

/// `iommufd_test_access_rw()`
///
/// # Errors
///
/// -EOPNOTSUPP for unknown flags, -ENOMEM, -EFAULT, and as `iommufd_access_rw()`.
pub fn iommufd_test_access_rw(
    ucmd: &Ucmd,
    staccess: Ptr<SelftestAccess>,
    iova: u64,
    length: u64,
    flags: u64,
) -> Result<(), Errno> {
    let Some(access) = staccess.access.load() else { oops_null("staccess->access") };
    let tmp = kzalloc(|_| Tmp)?;
    let ret = access_rw(ucmd, access, iova, length, flags);
    label("out_free");
    kfree(tmp);
    ret
}

/// Part of `iommufd_test_access_rw()`: with the buffer.
fn access_rw(
    ucmd: &Ucmd,
    access: Ptr<Access>,
    iova: u64,
    length: u64,
    flags: u64,
) -> Result<(), Errno> {
    let write = flags & ACCESS_RW_WRITE != 0;
    if write {
        copy_from_user(false)?;
    }
    let iova = if flags & ACCESS_SYZ != 0 {
        (ucmd.ictx.rev.iommufd_test_syz_conv_iova)(access, iova)
    } else {
        iova
    };
    (ucmd.ictx.rev.iommufd_access_rw)(access, iova, length)?;
    if !write {
        copy_to_user(false)?;
    }
    Ok(())
}

/// Part of `iommufd_test_access_rw()`: what it refuses before it looks for the access.
///
/// # Errors
///
/// -ENOMEM for too many bytes, -EOPNOTSUPP for unknown flags.
pub fn iommufd_test_access_rw_check(length: u64, flags: u64) -> Result<(), Errno> {
    if length > RW_LENGTH_MAX {
        return Err(Errno::ENOMEM);
    }
    if flags & !(ACCESS_RW_WRITE | RW_SLOW_PATH | ACCESS_SYZ) != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    Ok(())
}

/// `iommufd_test_syz_conv_iova()`: the IOVA that the number of a fuzzer stands for, in the IOAS of
/// the access; 0 if it has none.
pub fn iommufd_test_syz_conv_iova(access: Ptr<Access>, iova: u64) -> u64 {
    mutex_lock(&access.ioas_lock);
    let first = access.ioas.load().and_then(|ioas| iopt_first_iova(&ioas.iopt));
    mutex_unlock(&access.ioas_lock);
    first.map_or(0, |first| first.wrapping_add(iova))
}
