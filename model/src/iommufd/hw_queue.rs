//! drivers/iommu/iommufd/viommu.c: HW queues (6.17+).
//!
//! A HW queue holds its vIOMMU, and an internal access that pins the memory that the guest gave
//! it. Queues can depend on each other: the mock driver's queue N holds queue N - 1.
//!
//! Source: reference/iommufd.md 2.7 (V619); commits 2238ddc2b056, 0b37d892d042.

use uapi::call::HW_QUEUE_TYPE_SELFTEST;
use uapi::Errno;

use crate::iommufd::access::{
    iommufd_access_attach_internal, iommufd_access_create_internal,
    iommufd_access_destroy_internal, iommufd_access_detach_internal, iommufd_access_pin_pages,
    iommufd_access_unpin_pages,
};
use crate::iommufd::driver::PAGE_SIZE;
use crate::iommufd::main::linux_6_17::_iommufd_object_alloc_ucmd;
use crate::iommufd::objects::{
    obj_of, to, Access, HwQueue, Ictx, Object, Type, Viommu, HW_QUEUE_MAX,
};
use crate::iommufd::ucmd::{iommufd_ucmd_respond, Ucmd};
use crate::linux::mutex::{mutex_lock, mutex_unlock};
use crate::linux::refcount::{refcount_dec, refcount_inc};
use crate::linux::slab::{kfree, kzalloc, Plain, Ptr, Struct};
use crate::linux::warn::label;

/// The argument struct of IOMMU_HW_QUEUE_ALLOC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HwQueueAlloc {
    /// Must be 0.
    pub flags: u64,
    /// vIOMMU.
    pub viommu_id: u64,
    /// Type; 0 is DEFAULT.
    pub ty: u64,
    /// Number of the queue.
    pub index: u64,
    /// Where its memory is in the nesting parent.
    pub nesting_parent_iova: u64,
    /// Length of its memory in bytes.
    pub length: u64,
}

/// sizeof(struct page *)
const PAGE_POINTER_SIZE: u64 = 8;
/// INT_MAX: kvmalloc() refuses more without asking for memory.
const KVMALLOC_MAX: u64 = i32::MAX as u64;

/// The array of pages that a pin fills in.
struct Pages;

impl Struct for Pages {
    const NAME: &'static str = "pages";
}

/// Part of `iommufd_hw_queue_alloc_phys()` and `iommufd_hw_queue_destroy_access()`: the whole pages
/// that a queue lies in, as IOVA and length. That there are so many was checked.
fn whole_pages(base_iova: u64, length: u64) -> (u64, u64) {
    let offset = base_iova % PAGE_SIZE;
    (base_iova - offset, (offset + length).next_multiple_of(PAGE_SIZE))
}

/// `iommufd_hw_queue_alloc_phys()`: the access that pins the memory.
///
/// # Errors
///
/// -ERANGE, -ENOMEM also for more pages than an array can have, -ENOENT if the memory is not mapped.
fn iommufd_hw_queue_alloc_phys(
    cmd: &HwQueueAlloc,
    viommu: Ptr<Viommu>,
) -> Result<Ptr<Access>, Errno> {
    let (Some(ictx), Some(hwpt)) = (viommu.ictx.load(), viommu.hwpt.load()) else {
        return Err(Errno::EINVAL);
    };
    let Some(ioas) = hwpt.ioas.load() else { return Err(Errno::EINVAL) };

    // DIV_ROUND_UP(offset + cmd->length, PAGE_SIZE)
    let offset = cmd.nesting_parent_iova % PAGE_SIZE;
    if cmd.length.checked_add(offset + PAGE_SIZE - 1).is_none() {
        return Err(Errno::ERANGE);
    }
    let (aligned_iova, length) = whole_pages(cmd.nesting_parent_iova, cmd.length);
    // kvcalloc(max_npages, sizeof(*pages), GFP_KERNEL | __GFP_NOWARN)
    let max_npages = length / PAGE_SIZE;
    if max_npages.saturating_mul(PAGE_POINTER_SIZE) > KVMALLOC_MAX {
        return Err(Errno::ENOMEM);
    }
    let pages = kzalloc(|_| Pages)?;

    let access = match iommufd_access_create_internal(ictx) {
        Ok(access) => access,
        Err(e) => {
            label("out_free");
            kfree(pages);
            return Err(e);
        }
    };
    if let Err(e) = iommufd_access_attach_internal(ictx, access, ioas) {
        label("out_destroy");
        iommufd_access_destroy_internal(ictx, access);
        kfree(pages);
        return Err(e);
    }
    if let Err(e) = iommufd_access_pin_pages(access, aligned_iova, length) {
        label("out_detach");
        iommufd_access_detach_internal(ictx, access);
        iommufd_access_destroy_internal(ictx, access);
        kfree(pages);
        return Err(e);
    }
    // That the pages are contiguous is taken for granted: nothing is behind an area.
    kfree(pages);
    Ok(access)
}

/// `iommufd_hw_queue_alloc_ioctl()`: IOMMU_HW_QUEUE_ALLOC.
///
/// # Errors
///
/// See reference/iommufd.md 2.7.
pub fn iommufd_hw_queue_alloc_ioctl(ucmd: &Ucmd, cmd: &HwQueueAlloc) -> Result<u32, Errno> {
    let ictx = ucmd.ictx;
    let rev = ictx.rev;

    if cmd.flags != 0 || cmd.ty == 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    if cmd.length == 0 {
        return Err(Errno::EINVAL);
    }
    if cmd.nesting_parent_iova.checked_add(cmd.length).is_none() {
        return Err(Errno::EOVERFLOW);
    }

    let viommu_obj = (rev.iommufd_get_object)(ictx, cmd.viommu_id, Type::Viommu)?;
    let ret = hw_queue_alloc_on(ucmd, cmd, to::<Viommu>(viommu_obj));
    label("out_put_viommu");
    (rev.iommufd_put_object)(ictx, viommu_obj);
    ret
}

/// Part of `iommufd_hw_queue_alloc_ioctl()`: what stands between the look-up and the put. What
/// fails after the object was allocated is undone by the dispatcher.
fn hw_queue_alloc_on(ucmd: &Ucmd, cmd: &HwQueueAlloc, viommu: Ptr<Viommu>) -> Result<u32, Errno> {
    // mock_viommu_get_hw_queue_size()
    if cmd.ty != HW_QUEUE_TYPE_SELFTEST {
        return Err(Errno::EOPNOTSUPP);
    }

    let hw_queue = _iommufd_object_alloc_ucmd(ucmd, Type::HwQueue, |owner, obj| HwQueue {
        obj,
        viommu: Plain::once(owner.field("viommu"), None),
        access: Plain::once(owner.field("access"), None),
        base_addr: cmd.nesting_parent_iova,
        length: cmd.length,
        prev: Plain::once(owner.field("prev"), None),
        index: Plain::once(owner.field("index"), None),
    })?;
    let access = iommufd_hw_queue_alloc_phys(cmd, viommu)?;
    hw_queue.viommu.store(Some(viommu));
    refcount_inc(&viommu.obj.users);
    hw_queue.access.store(Some(access));

    mock_hw_queue_init_phys(ucmd.ictx, hw_queue, viommu, cmd.index)?;
    let id = hw_queue.obj.id.load();
    iommufd_ucmd_respond(ucmd)?;
    Ok(id)
}

/// `iommufd_hw_queue_destroy()`: also of a queue that was made in part.
pub fn iommufd_hw_queue_destroy(ictx: Ptr<Ictx>, obj: Ptr<Object>) {
    let hw_queue = to::<HwQueue>(obj);

    // hw_queue->destroy
    mock_hw_queue_destroy(hw_queue);
    if let Some(access) = hw_queue.access.load() {
        // iommufd_hw_queue_destroy_access()
        let (aligned_iova, length) = whole_pages(hw_queue.base_addr, hw_queue.length);
        iommufd_access_unpin_pages(access, aligned_iova, length);
        iommufd_access_detach_internal(ictx, access);
        iommufd_access_destroy_internal(ictx, access);
    }
    if let Some(viommu) = hw_queue.viommu.load() {
        refcount_dec(&viommu.obj.users);
    }
}

/// `iommufd_hw_queue_depend()`: the driver serialises its queues; nothing here does.
///
/// # Errors
///
/// -EINVAL for a queue that depends on itself, or on one of another vIOMMU.
pub fn iommufd_hw_queue_depend(
    _ictx: Ptr<Ictx>,
    dependent: Ptr<HwQueue>,
    depended: Ptr<HwQueue>,
) -> Result<(), Errno> {
    if dependent.is(depended) {
        return Err(Errno::EINVAL);
    }
    refcount_inc(&depended.obj.users);
    Ok(())
}

/// `iommufd_hw_queue_undepend()`
fn iommufd_hw_queue_undepend(depended: Ptr<HwQueue>) {
    refcount_dec(&depended.obj.users);
}

/// `mock_hw_queue_init_phys()`: queues are numbered from 0, without gaps.
///
/// # Errors
///
/// -EINVAL, -EEXIST, -EIO; see reference/iommufd.md 2.7.
fn mock_hw_queue_init_phys(
    ictx: Ptr<Ictx>,
    hw_queue: Ptr<HwQueue>,
    viommu: Ptr<Viommu>,
    index: u64,
) -> Result<(), Errno> {
    let Some(n) = usize::try_from(index).ok().filter(|n| *n < HW_QUEUE_MAX) else {
        return Err(Errno::EINVAL);
    };

    mutex_lock(&viommu.queue_mutex);
    let ret = if viommu.hw_queues[n].load().is_some() {
        Err(Errno::EEXIST)
    } else if n == 0 {
        Ok(None)
    } else {
        match viommu.hw_queues[n - 1].load() {
            None => Err(Errno::EIO),
            Some(prev) => {
                (ictx.rev.iommufd_hw_queue_depend)(ictx, hw_queue, prev).map(|()| Some(prev))
            }
        }
    };
    if let Ok(prev) = ret {
        hw_queue.prev.store(prev);
        hw_queue.index.store(Some(n as u32));
        viommu.hw_queues[n].store(Some(hw_queue));
    }
    // unlock
    mutex_unlock(&viommu.queue_mutex);
    ret.map(|_| ())
}

/// `mock_hw_queue_destroy()`: nothing for a queue that the driver has not initialised.
fn mock_hw_queue_destroy(hw_queue: Ptr<HwQueue>) {
    let (Some(viommu), Some(index)) = (hw_queue.viommu.load(), hw_queue.index.load()) else {
        return;
    };

    mutex_lock(&viommu.queue_mutex);
    viommu.hw_queues[index as usize].store(None);
    if let Some(prev) = hw_queue.prev.load() {
        iommufd_hw_queue_undepend(prev);
    }
    mutex_unlock(&viommu.queue_mutex);
}

pub mod try_inc_users {
    //! Not a text that was read: the queue that is depended on is raised with
    //! `iommufd_try_inc_users()`, which newer trees have without a known caller.
    //!
    //! Source: reference/iommufd.md 2.7, R-F4.

    use super::*;
    use crate::linux::xarray::{xa_load, xa_lock_index, xa_unlock_index};

    /// `iommufd_try_inc_users()`: users of a finalized object may be raised only while it is
    /// provably in the xarray.
    ///
    /// # Errors
    ///
    /// -EBUSY
    fn iommufd_try_inc_users(ictx: Ptr<Ictx>, obj: Ptr<Object>) -> Result<(), Errno> {
        let id = u64::from(obj.id.load());

        xa_lock_index(&ictx.objects, id);
        let there = xa_load(&ictx.objects, id).is_some_and(|found| found.same(obj));
        if there {
            refcount_inc(&obj.users);
        }
        xa_unlock_index(&ictx.objects, id);
        if there {
            Ok(())
        } else {
            Err(Errno::EBUSY)
        }
    }

    /// `iommufd_hw_queue_depend()`
    ///
    /// # Errors
    ///
    /// -EINVAL, and -EBUSY for a queue that is on its way out.
    pub fn iommufd_hw_queue_depend(
        ictx: Ptr<Ictx>,
        dependent: Ptr<HwQueue>,
        depended: Ptr<HwQueue>,
    ) -> Result<(), Errno> {
        if dependent.is(depended) {
            return Err(Errno::EINVAL);
        }
        iommufd_try_inc_users(ictx, obj_of(depended))
    }
}
