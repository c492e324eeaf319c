//! drivers/iommu/iommufd/ioas.c: I/O address spaces.
//!
//! Source: reference/iommufd.md 1.7, 2.5.3, 2.9; torvalds/linux v6.13 ioas.c for map and unmap.

use uapi::call::{IOAS_MAP_FIXED_IOVA, IOAS_MAP_READABLE, IOAS_MAP_WRITEABLE};
use uapi::Errno;

use crate::iommufd::invariants::check_all_taken;
use crate::iommufd::io_pagetable::{
    iopt_destroy_table, iopt_map_user_pages, iopt_unmap_all, iopt_unmap_iova, iopt_usable_ranges,
    Fget, Memory, Range,
};
use crate::iommufd::main::_iommufd_object_alloc;
use crate::iommufd::objects::{obj_of, to, Area, Ictx, IoPagetable, Ioas, Object, Type};
use crate::iommufd::ucmd::{iommufd_ucmd_respond, Ucmd};
use crate::linux::list::{list_entry, ListHead};
use crate::linux::mutex::Mutex;
use crate::linux::refcount::{refcount_dec, refcount_inc_not_zero};
use crate::linux::rwsem::{down_read, down_write, down_write_nest_lock, up_read, up_write};
use crate::linux::slab::{immortal, Ptr, Struct};
use crate::linux::uaccess::copy_to_user;
use crate::linux::warn::{label, oops_null};
use crate::linux::xarray::{
    check_nodes_freed, xa_destroy, xa_find, xa_lock, xa_store, xa_unlock, XArray, XaFlags,
};

pub mod canaries;

/// `iommufd_ioas_alloc()`
///
/// # Errors
///
/// As `_iommufd_object_alloc()`.
pub fn iommufd_ioas_alloc(ictx: Ptr<Ictx>) -> Result<Ptr<Ioas>, Errno> {
    _iommufd_object_alloc(ictx, Type::Ioas, |owner, obj| Ioas {
        obj,
        mutex: Mutex::new(owner.field("mutex")),
        hwpt_list: ListHead::new(owner.field("hwpt_list")),
        iopt: IoPagetable::new(owner),
    })
}

/// `iommufd_ioas_alloc_ioctl()`: IOMMU_IOAS_ALLOC.
///
/// # Errors
///
/// -EOPNOTSUPP for flags, -ENOMEM, -EFAULT.
pub fn iommufd_ioas_alloc_ioctl(ucmd: &Ucmd, flags: u64) -> Result<u32, Errno> {
    if flags != 0 {
        return Err(Errno::EOPNOTSUPP);
    }

    let ioas = iommufd_ioas_alloc(ucmd.ictx)?;
    let id = ioas.obj.id.load();
    if let Err(e) = iommufd_ucmd_respond(ucmd) {
        label("out_table");
        (ucmd.ictx.rev.iommufd_object_abort_and_destroy)(ucmd.ictx, obj_of(ioas));
        return Err(e);
    }
    (ucmd.ictx.rev.iommufd_ioas_finalize)(ucmd.ictx, obj_of(ioas));
    Ok(id)
}

/// Part of `iommufd_ioas_alloc_ioctl()` since 6.13: no IOAS becomes visible while somebody has
/// taken all of them.
pub fn iommufd_ioas_finalize(ictx: Ptr<Ictx>, obj: Ptr<Object>) {
    down_read(&ictx.ioas_creation_lock);
    (ictx.rev.iommufd_object_finalize)(ictx, obj);
    up_read(&ictx.ioas_creation_lock);
}

/// The list of the IOASes that a task has taken: an xarray on its stack.
pub struct IoasList {
    entries: XArray<Ioas>,
}

impl Struct for IoasList {
    const NAME: &'static str = "ioas_list";
}

/// `iommufd_release_all_iova_rwsem()`
fn iommufd_release_all_iova_rwsem(ictx: Ptr<Ictx>, ioas_list: Ptr<IoasList>) {
    let mut index = 0;
    while let Some((found, ioas)) = xa_find(&ioas_list.entries, index) {
        index = found + 1;
        up_write(&ioas.iopt.iova_rwsem);
        refcount_dec(&ioas.obj.users);
    }
    up_write(&ictx.ioas_creation_lock);
    xa_destroy(&ioas_list.entries);
    check_nodes_freed(&ioas_list.entries);
}

/// What becomes of an IOAS that was locked and could not be put on the list.
pub type ForgetIoas = fn(Ptr<Ioas>);

/// Part of `iommufd_take_all_iova_rwsem()` up to the fix: nothing, so it stays locked and counted
/// (R-F3).
pub fn forget_ioas(_ioas: Ptr<Ioas>) {}

/// Part of `iommufd_take_all_iova_rwsem()` since 4ac2ce123824: it is released like the others.
pub fn release_ioas(ioas: Ptr<Ioas>) {
    up_write(&ioas.iopt.iova_rwsem);
    refcount_dec(&ioas.obj.users);
}

/// `iommufd_take_all_iova_rwsem()`: write-locks every IOAS of the context. Only `users` are
/// raised: nobody waits for an IOAS to become free.
///
/// # Errors
///
/// -ENOMEM; then nothing is locked, except what R-F3 says.
fn iommufd_take_all_iova_rwsem(ictx: Ptr<Ictx>) -> Result<Ptr<IoasList>, Errno> {
    let ioas_list =
        immortal(|owner| IoasList { entries: XArray::new(owner.field("xa"), XaFlags::Plain) });

    // The order matters: ioas_creation_lock comes first.
    down_write(&ictx.ioas_creation_lock);
    let mut index = 0;
    loop {
        xa_lock(&ictx.objects);
        let mut taken = None;
        while let Some((found, obj)) = xa_find(&ictx.objects, index) {
            index = found + 1;
            if obj.ty == Type::Ioas && refcount_inc_not_zero(&obj.users) {
                taken = Some((found, to::<Ioas>(obj)));
                break;
            }
        }
        xa_unlock(&ictx.objects);
        let Some((found, ioas)) = taken else { return Ok(ioas_list) };

        down_write_nest_lock(&ioas.iopt.iova_rwsem, &ictx.ioas_creation_lock);
        if let Err(e) = xa_store(&ioas_list.entries, found, Some(ioas)) {
            (ictx.rev.take_all_forgets)(ioas);
            iommufd_release_all_iova_rwsem(ictx, ioas_list);
            return Err(e);
        }
    }
}

/// `iommufd_ioas_change_process()`: IOMMU_IOAS_CHANGE_PROCESS. What is mapped must be memory of
/// files; whose process it is counted for is not modelled.
///
/// # Errors
///
/// -EOPNOTSUPP, -ENOMEM, -EINVAL if something is mapped, -EFAULT.
pub fn iommufd_ioas_change_process(ucmd: &Ucmd, reserved: u64) -> Result<(), Errno> {
    let ictx = ucmd.ictx;

    if reserved != 0 {
        return Err(Errno::EOPNOTSUPP);
    }

    let ioas_list = iommufd_take_all_iova_rwsem(ictx)?;
    let mut ret = Ok(());
    let mut index = 0;
    while let Some((found, ioas)) = xa_find(&ioas_list.entries, index) {
        index = found + 1;
        if has_memory_of_no_file(ictx, &ioas.iopt) {
            ret = Err(Errno::EINVAL);
            break;
        }
    }
    let ret = ret.and_then(|()| iommufd_ucmd_respond(ucmd));
    check_all_taken(ictx);
    label("out");
    iommufd_release_all_iova_rwsem(ictx, ioas_list);
    ret
}

/// Part of `iommufd_ioas_change_process()`: whether an area is one of the process's own memory. The
/// caller holds `iova_rwsem`.
fn has_memory_of_no_file(ictx: Ptr<Ictx>, iopt: &IoPagetable) -> bool {
    let mut nth = 0;
    while let Some(area) = list_entry(&iopt.areas, nth) {
        if (ictx.rev.area_is_of_no_file)(area) {
            return true;
        }
        nth += 1;
    }
    false
}

/// Part of `iommufd_ioas_change_process()` up to the fix: looks at the kind of the area's pages,
/// which an area that is only reserved has not (R-F5).
pub fn area_is_of_no_file(area: Ptr<Area>) -> bool {
    if area.pages.load().is_none() {
        oops_null("area->pages");
    }
    !matches!(area.of.memory, Memory::File(..))
}

/// Part of `iommufd_ioas_change_process()` since d616de490ec0: an area that is only reserved is
/// passed over. Only the title of the commit was seen; that it passes over is a guess.
pub fn area_with_pages_is_of_no_file(area: Ptr<Area>) -> bool {
    area.pages.load().is_some() && !matches!(area.of.memory, Memory::File(..))
}

/// `iommufd_ioas_iova_ranges()`: IOMMU_IOAS_IOVA_RANGES. Gives the number of ranges out, and the
/// alignment of an IOVA.
///
/// # Errors
///
/// -EOPNOTSUPP, -ENOENT, -EFAULT, and -EMSGSIZE if there are more ranges than room for them.
pub fn iommufd_ioas_iova_ranges(
    ucmd: &Ucmd,
    ioas_id: u64,
    max_iovas: u64,
    reserved: u64,
) -> Result<[u64; 2], Errno> {
    let rev = ucmd.ictx.rev;

    if reserved != 0 {
        return Err(Errno::EOPNOTSUPP);
    }

    let ioas_obj = (rev.iommufd_get_object)(ucmd.ictx, ioas_id, Type::Ioas)?;
    let ioas = to::<Ioas>(ioas_obj);
    down_read(&ioas.iopt.iova_rwsem);
    let (num_iovas, alignment) = iopt_usable_ranges(&ioas.iopt);
    let copied = if num_iovas <= max_iovas { copy_to_user(false) } else { Ok(()) };
    let ret = match copied.and_then(|()| iommufd_ucmd_respond(ucmd)) {
        Ok(()) if num_iovas > max_iovas => Err(Errno::EMSGSIZE),
        ret => ret.map(|()| [num_iovas, alignment]),
    };
    // out_put
    up_read(&ioas.iopt.iova_rwsem);
    (rev.iommufd_put_object)(ucmd.ictx, ioas_obj);
    ret
}

/// `iommufd_ioas_destroy()`: what is mapped goes with it.
pub fn iommufd_ioas_destroy(_ictx: Ptr<Ictx>, obj: Ptr<Object>) {
    iopt_destroy_table(&to::<Ioas>(obj).iopt);
}

/// The argument struct of IOMMU_IOAS_MAP.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IoasMap {
    /// IOMMU_IOAS_MAP_* flags.
    pub flags: u64,
    /// Address space.
    pub ioas_id: u64,
    /// Must be 0.
    pub reserved: u64,
    /// What to map.
    pub user_va: u64,
    /// How much of it.
    pub length: u64,
    /// Where, if it is fixed.
    pub iova: u64,
}

/// Part of `iommufd_ioas_map()` and `iommufd_ioas_map_file()`: what they refuse before they look for
/// the IOAS, and where the mapping goes.
///
/// # Errors
///
/// -EOPNOTSUPP for unknown flags, -EOVERFLOW, -EINVAL for memory that nobody may access.
fn check_map(flags: u64, reserved: u64, iova: u64, length: u64) -> Result<Range, Errno> {
    let access = IOAS_MAP_WRITEABLE | IOAS_MAP_READABLE;

    if flags & !(IOAS_MAP_FIXED_IOVA | access) != 0 || reserved != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    if iova == u64::MAX || length == u64::MAX {
        return Err(Errno::EOVERFLOW);
    }
    if flags & access == 0 {
        return Err(Errno::EINVAL);
    }
    Ok(Range { iova: (flags & IOAS_MAP_FIXED_IOVA != 0).then_some(iova), length })
}

/// `iommufd_ioas_map()`: IOMMU_IOAS_MAP. Gives the IOVA out. An answer that cannot be copied out
/// does not undo the mapping.
///
/// # Errors
///
/// -EOPNOTSUPP for unknown flags, -EOVERFLOW, -EINVAL for memory that nobody may access, -ENOENT,
/// and as `iopt_map_user_pages()`.
pub fn iommufd_ioas_map(ucmd: &Ucmd, cmd: &IoasMap) -> Result<u64, Errno> {
    let rev = ucmd.ictx.rev;

    let range = check_map(cmd.flags, cmd.reserved, cmd.iova, cmd.length)?;
    let ioas_obj = (rev.iommufd_get_object)(ucmd.ictx, cmd.ioas_id, Type::Ioas)?;
    let ioas = to::<Ioas>(ioas_obj);
    let ret = iopt_map_user_pages(rev, &ioas.iopt, range, cmd.user_va)
        .and_then(|iova| iommufd_ucmd_respond(ucmd).map(|()| iova));
    label("out_put");
    (rev.iommufd_put_object)(ucmd.ictx, ioas_obj);
    ret
}

/// The argument struct of IOMMU_IOAS_MAP_FILE.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct IoasMapFile {
    /// IOMMU_IOAS_MAP_* flags.
    pub flags: u64,
    /// Address space.
    pub ioas_id: u64,
    /// Where in the file.
    pub start: u64,
    /// How much of it.
    pub length: u64,
    /// Where to, if it is fixed.
    pub iova: u64,
}

/// `iommufd_ioas_map_file()`: IOMMU_IOAS_MAP_FILE (6.13+). `fget` looks the file up. Gives the IOVA
/// out. An answer that cannot be copied out does not undo the mapping.
///
/// # Errors
///
/// -EOPNOTSUPP for unknown flags, -EOVERFLOW, -EINVAL for memory that nobody may access, -ENOENT,
/// -EBADF, and as `iopt_map_file_pages()`.
pub fn iommufd_ioas_map_file(ucmd: &Ucmd, cmd: &IoasMapFile, fget: Fget<'_>) -> Result<u64, Errno> {
    let rev = ucmd.ictx.rev;

    let range = check_map(cmd.flags, 0, cmd.iova, cmd.length)?;
    let ioas_obj = (rev.iommufd_get_object)(ucmd.ictx, cmd.ioas_id, Type::Ioas)?;
    let ioas = to::<Ioas>(ioas_obj);
    let ret = (rev.iopt_map_file_pages)(rev, &ioas.iopt, range, (fget, cmd.start));
    let ret = ret.and_then(|iova| iommufd_ucmd_respond(ucmd).map(|()| iova));
    label("out_put");
    (rev.iommufd_put_object)(ucmd.ictx, ioas_obj);
    ret
}

/// `iommufd_ioas_unmap()`: IOMMU_IOAS_UNMAP. Gives the number of bytes out.
///
/// # Errors
///
/// -ENOENT, -EINVAL, -EOVERFLOW, -EBUSY: see `iopt_unmap_iova()`.
pub fn iommufd_ioas_unmap(ucmd: &Ucmd, ioas_id: u64, iova: u64, length: u64) -> Result<u64, Errno> {
    let rev = ucmd.ictx.rev;
    let ioas_obj = (rev.iommufd_get_object)(ucmd.ictx, ioas_id, Type::Ioas)?;
    let ioas = to::<Ioas>(ioas_obj);

    let unmapped = if iova == 0 && length == u64::MAX {
        iopt_unmap_all(ucmd.ictx, ioas)
    } else if iova == u64::MAX || length == u64::MAX {
        Err(Errno::EOVERFLOW)
    } else {
        iopt_unmap_iova(ucmd.ictx, ioas, iova, length)
    };
    let ret = unmapped.and_then(|bytes| iommufd_ucmd_respond(ucmd).map(|()| bytes));
    label("out_put");
    (rev.iommufd_put_object)(ucmd.ictx, ioas_obj);
    ret
}
