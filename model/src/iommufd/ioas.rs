//! drivers/iommu/iommufd/ioas.c: I/O address spaces.
//!
//! Source: reference/iommufd.md 1.7, 2.5.3, 2.9; torvalds/linux v6.13 ioas.c for map and unmap.

use uapi::call::{IOAS_MAP_FIXED_IOVA, IOAS_MAP_READABLE, IOAS_MAP_WRITEABLE};
use uapi::Errno;

use crate::iommufd::io_pagetable::{
    iopt_destroy_table, iopt_map_user_pages, iopt_unmap_all, iopt_unmap_iova, Mapping,
};
use crate::iommufd::main::_iommufd_object_alloc;
use crate::iommufd::objects::{obj_of, to, Ictx, IoPagetable, Ioas, Object, Type};
use crate::iommufd::ucmd::{iommufd_ucmd_respond, Ucmd};
use crate::linux::list::ListHead;
use crate::linux::mutex::Mutex;
use crate::linux::slab::Ptr;

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
        // out_table
        (ucmd.ictx.rev.iommufd_object_abort_and_destroy)(ucmd.ictx, obj_of(ioas));
        return Err(e);
    }
    (ucmd.ictx.rev.iommufd_object_finalize)(ucmd.ictx, obj_of(ioas));
    Ok(id)
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

/// `iommufd_ioas_map()`: IOMMU_IOAS_MAP. Gives the IOVA out. An answer that cannot be copied out
/// does not undo the mapping.
///
/// # Errors
///
/// -EOPNOTSUPP for unknown flags, -EOVERFLOW, -EINVAL for memory that nobody may access, -ENOENT,
/// and as `iopt_map_user_pages()`.
pub fn iommufd_ioas_map(ucmd: &Ucmd, cmd: &IoasMap) -> Result<u64, Errno> {
    let rev = ucmd.ictx.rev;
    let access = IOAS_MAP_WRITEABLE | IOAS_MAP_READABLE;

    if cmd.flags & !(IOAS_MAP_FIXED_IOVA | access) != 0 || cmd.reserved != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    if cmd.iova == u64::MAX || cmd.length == u64::MAX {
        return Err(Errno::EOVERFLOW);
    }
    if cmd.flags & access == 0 {
        return Err(Errno::EINVAL);
    }

    let ioas_obj = (rev.iommufd_get_object)(ucmd.ictx, cmd.ioas_id, Type::Ioas)?;
    let ioas = to::<Ioas>(ioas_obj);
    let map = Mapping {
        iova: (cmd.flags & IOAS_MAP_FIXED_IOVA != 0).then_some(cmd.iova),
        length: cmd.length,
        user_va: cmd.user_va,
    };
    let ret = iopt_map_user_pages(&ioas.iopt, &ioas.hwpt_list, &map)
        .and_then(|iova| iommufd_ucmd_respond(ucmd).map(|()| iova));
    // out_put
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
        iopt_unmap_all(&ioas.iopt)
    } else if iova == u64::MAX || length == u64::MAX {
        Err(Errno::EOVERFLOW)
    } else {
        iopt_unmap_iova(&ioas.iopt, iova, length)
    };
    let ret = unmapped.and_then(|bytes| iommufd_ucmd_respond(ucmd).map(|()| bytes));
    // out_put
    (rev.iommufd_put_object)(ucmd.ictx, ioas_obj);
    ret
}
