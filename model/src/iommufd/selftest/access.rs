//! drivers/iommu/iommufd/selftest.c: the mock driver's accesses and their files.
//!
//! Source: reference/iommufd.md R-D7, 5.1, 5.2; the order of `iommufd_test_create_access()` and of
//! `iommufd_test_access_pages()` is from memory.

use uapi::call::{ACCESS_CREATE_NEEDS_PIN_PAGES, ACCESS_RW_WRITE, ACCESS_SYZ, ACCESS_WRITE};
use uapi::Errno;

use crate::iommufd::access::{
    iommufd_access_create, iommufd_access_destroy, iommufd_access_replace,
};
use crate::iommufd::driver::PAGE_SIZE;
use crate::iommufd::io_pagetable::iopt_first_iova;
use crate::iommufd::main::fput;
use crate::iommufd::objects::{Access, AccessItem, File, Ictx, SelftestAccess};
use crate::iommufd::ucmd::{iommufd_ucmd_respond, Ucmd};
use crate::linux::list::{list_add_tail, list_del_init, list_entry, ListHead};
use crate::linux::mutex::{mutex_lock, mutex_unlock, Mutex};
use crate::linux::slab::{kfree, kzalloc, Plain, Ptr, Struct};
use crate::linux::uaccess::{copy_from_user, copy_to_user};
use crate::linux::warn::{label, oops_null};

/// MOCK_ACCESS_RW_SLOW_PATH
const RW_SLOW_PATH: u64 = 1 << 2;
/// More bytes than this are refused.
const LENGTH_MAX: u64 = 16 << 20;

/// The buffer of `iommufd_test_access_rw()`, and the array of `iommufd_test_access_pages()`.
struct Tmp;

impl Struct for Tmp {
    const NAME: &'static str = "tmp";
}

/// `iommufd_test_alloc_access()`: the driver's part, and its file.
fn iommufd_test_alloc_access(pins: bool) -> Result<Ptr<SelftestAccess>, Errno> {
    let staccess = kzalloc(|owner| SelftestAccess {
        access: Plain::new(owner.field("access"), None),
        file: Plain::new(owner.field("file"), None),
        lock: Mutex::new(owner.field("lock")),
        items: ListHead::new(owner.field("items")),
        next_id: Plain::new(owner.field("next_id"), 0),
        pins,
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
    if flags & !ACCESS_CREATE_NEEDS_PIN_PAGES != 0 {
        return Err(Errno::EOPNOTSUPP);
    }

    let staccess = iommufd_test_alloc_access(flags & ACCESS_CREATE_NEEDS_PIN_PAGES != 0)?;
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

/// `iommufd_test_access_unmap()`: lets go of whatever is pinned in a range.
pub fn iommufd_test_access_unmap(
    ictx: Ptr<Ictx>,
    staccess: Ptr<SelftestAccess>,
    iova: u64,
    length: u64,
) {
    let iova_last = iova.wrapping_add(length).wrapping_sub(1);

    mutex_lock(&staccess.lock);
    let mut nth = 0;
    while let Some(item) = list_entry(&staccess.items, nth) {
        if iova > item.iova + (item.length - 1) || iova_last < item.iova {
            nth += 1;
            continue;
        }
        let_go(ictx, staccess, item);
    }
    mutex_unlock(&staccess.lock);
}

/// Part of `iommufd_test_access_unmap()` and `iommufd_test_access_item_destroy()`: under
/// `staccess->lock`.
fn let_go(ictx: Ptr<Ictx>, staccess: Ptr<SelftestAccess>, item: Ptr<AccessItem>) {
    list_del(staccess, item);
    unpin(ictx, staccess, item.iova, item.length);
    kfree(item);
}

/// list_del() of `item->items_elm`
fn list_del(staccess: Ptr<SelftestAccess>, item: Ptr<AccessItem>) {
    list_del_init(item, &staccess.items);
}

/// `iommufd_access_unpin_pages()` of its access.
fn unpin(ictx: Ptr<Ictx>, staccess: Ptr<SelftestAccess>, iova: u64, length: u64) {
    match staccess.access.load() {
        Some(access) => (ictx.rev.iommufd_access_unpin_pages)(access, iova, length),
        None => oops_null("staccess->access"),
    }
}

/// `iommufd_test_staccess_release()`: the file is gone, and with it the access.
pub fn iommufd_test_staccess_release(staccess: Ptr<SelftestAccess>) {
    if let Some(access) = staccess.access.load() {
        if let Some(ictx) = access.ictx.peek() {
            iommufd_test_access_unmap(ictx, staccess, 0, u64::MAX);
        }
        iommufd_access_destroy(access);
    }
    kfree(staccess);
}

/// Part of `iommufd_test_access_pages()`: what it refuses before it looks for the access.
///
/// # Errors
///
/// -ENOMEM for too many bytes, -EOPNOTSUPP for unknown flags.
pub fn iommufd_test_access_pages_check(length: u64, flags: u64) -> Result<(), Errno> {
    if length > LENGTH_MAX {
        return Err(Errno::ENOMEM);
    }
    if flags & !(ACCESS_WRITE | ACCESS_SYZ) != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    Ok(())
}

/// `iommufd_test_access_pages()`: pins a range, and gives the id that it is unpinned by. The lock
/// is held until the range is on the list: an unmap that comes meanwhile has to find it.
///
/// # Errors
///
/// -EOPNOTSUPP for an access that pins nothing, -ENOMEM, -EFAULT, and as
/// `iommufd_access_pin_pages()`.
pub fn iommufd_test_access_pages(
    ucmd: &Ucmd,
    staccess: Ptr<SelftestAccess>,
    iova: u64,
    length: u64,
    flags: u64,
) -> Result<u64, Errno> {
    let ictx = ucmd.ictx;

    if !staccess.pins {
        return Err(Errno::EOPNOTSUPP);
    }
    let Some(access) = staccess.access.load() else { oops_null("staccess->access") };
    let iova = if flags & ACCESS_SYZ != 0 {
        (ictx.rev.iommufd_test_syz_conv_iova)(access, iova)
    } else {
        iova
    };
    // kvcalloc() of no pages needs no memory.
    let npages = (iova % PAGE_SIZE).saturating_add(length).div_ceil(PAGE_SIZE);
    let pages = if npages == 0 { None } else { Some(kzalloc(|_| Tmp)?) };

    mutex_lock(&staccess.lock);
    let ret = (ictx.rev.iommufd_access_pin_pages)(access, iova, length).and_then(|()| {
        let kept = keep_pages(ucmd, staccess, iova, length);
        if kept.is_err() {
            label("out_unaccess");
            unpin(ictx, staccess, iova, length);
        }
        kept
    });
    label("out_unlock");
    mutex_unlock(&staccess.lock);
    if let Some(pages) = pages {
        kfree(pages);
    }
    ret
}

/// Part of `iommufd_test_access_pages()`: what is pinned goes on the list. User space gives no
/// address that the pages are compared with.
fn keep_pages(
    ucmd: &Ucmd,
    staccess: Ptr<SelftestAccess>,
    iova: u64,
    length: u64,
) -> Result<u64, Errno> {
    let id = staccess.next_id.load();
    let item = kzalloc(|_| AccessItem { iova, length, id })?;
    staccess.next_id.store(id + 1);
    list_add_tail(item, &staccess.items);
    if let Err(e) = iommufd_ucmd_respond(ucmd) {
        label("out_free_item");
        list_del(staccess, item);
        kfree(item);
        return Err(e);
    }
    Ok(id)
}

/// `iommufd_test_access_item_destroy()`
///
/// # Errors
///
/// -ENOENT
pub fn iommufd_test_access_item_destroy(
    ictx: Ptr<Ictx>,
    staccess: Ptr<SelftestAccess>,
    item_id: u64,
) -> Result<(), Errno> {
    mutex_lock(&staccess.lock);
    let mut nth = 0;
    let mut ret = Err(Errno::ENOENT);
    while let Some(item) = list_entry(&staccess.items, nth) {
        nth += 1;
        if item.id == item_id {
            let_go(ictx, staccess, item);
            ret = Ok(());
            break;
        }
    }
    mutex_unlock(&staccess.lock);
    ret
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
    if length > LENGTH_MAX {
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
