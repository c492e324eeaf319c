//! drivers/iommu/iommufd/device.c since 6.15: what the devices of a group are attached to is found
//! by PASID, and a device must itself be attached to be moved to another HWPT; it is not enough that
//! another one of its group is. A detach looks up what it leaves under the group's lock.
//!
//! Devices have as many PASIDs as one asks for; the IOMMU core's array of them has no memory of its own
//! to run out of.
//!
//! Source: reference/iommufd.md 2.5.3, R-D3; commit 55c85fa7579d; torvalds/linux v6.15, device.c.
//! `iommufd_hwpt_pasid_compat()` is from memory.

use uapi::Errno;

use crate::iommufd::device::{
    find_hwpt_paging, iommufd_device_attach_reserved_iova, iommufd_group_do_replace_reserved_iova,
    iommufd_group_remove_reserved_iova, leave_reserved_iova, remove_reserved_iova,
};
use crate::iommufd::fault;
use crate::iommufd::hw_pagetable::iommufd_hw_pagetable_put;
use crate::iommufd::objects::{
    to, Attach, AttachHandle, Device, Group, HwptNested, HwptPaging, Object, Type, IOMMU_NO_PASID,
};
use crate::linux::mutex::{lockdep_assert_held, mutex_lock, mutex_unlock};
use crate::linux::refcount::{refcount_add, refcount_dec, refcount_inc, refcount_sub_and_test};
use crate::linux::slab::{kfree, kzalloc, Plain, Ptr};
use crate::linux::warn::{label, warn_on};
use crate::linux::xarray::{
    check_nodes_freed, xa_cmpxchg_slot, xa_empty, xa_erase, xa_find, xa_insert, xa_load,
    xa_release, xa_store, Slot, XArray, XaFlags,
};

/// `iommufd_group_first_attach()`: whether nothing of the group is attached by this PASID yet.
fn iommufd_group_first_attach(igroup: Ptr<Group>, pasid: u64) -> bool {
    lockdep_assert_held(&igroup.lock);
    xa_load(&igroup.pasid_attach, pasid).is_none()
}

/// `hwpt->pasid_compat`
fn pasid_compat(hwpt: Ptr<Object>) -> bool {
    match hwpt.ty {
        Type::HwptPaging => to::<HwptPaging>(hwpt).pasid_compat,
        Type::HwptNested => to::<HwptNested>(hwpt).pasid_compat,
        _ => false,
    }
}

/// `iommufd_hwpt_pasid_compat()`: a device that uses PASIDs is attached to nothing that was not
/// allocated for that.
///
/// # Errors
///
/// -EINVAL
fn iommufd_hwpt_pasid_compat(
    hwpt: Ptr<Object>,
    igroup: Ptr<Group>,
    pasid: u64,
) -> Result<(), Errno> {
    lockdep_assert_held(&igroup.lock);
    let compat = if pasid == IOMMU_NO_PASID {
        pasid_compat(hwpt) || xa_find(&igroup.pasid_attach, IOMMU_NO_PASID + 1).is_none()
    } else {
        let whole = xa_load(&igroup.pasid_attach, IOMMU_NO_PASID);
        let whole_is = whole.and_then(|attach| attach.hwpt.load()).is_none_or(pasid_compat);
        pasid_compat(hwpt) && whole_is
    };
    if compat {
        Ok(())
    } else {
        Err(Errno::EINVAL)
    }
}

/// `iommufd_hwpt_attach_device()`: the first device of the group that is attached so.
///
/// # Errors
///
/// -EINVAL, -ENOMEM, and the driver's.
fn iommufd_hwpt_attach_device(
    hwpt: Ptr<Object>,
    idev: Ptr<Device>,
    pasid: u64,
    attach: Ptr<Attach>,
) -> Result<(), Errno> {
    let Some(igroup) = idev.igroup.load() else { return Err(Errno::EINVAL) };
    iommufd_hwpt_pasid_compat(hwpt, igroup, pasid)?;
    if pasid == IOMMU_NO_PASID {
        return fault::iommufd_hwpt_attach_device(hwpt, idev);
    }
    // iommu_attach_device_pasid(); the mock driver takes whatever comes
    let handle: Ptr<AttachHandle> = fault::new_handle(hwpt, idev)?;
    attach.handle.store(Some(handle));
    Ok(())
}

/// `iommufd_hwpt_detach_device()`
fn iommufd_hwpt_detach_device(
    hwpt: Option<Ptr<Object>>,
    idev: Ptr<Device>,
    pasid: u64,
    attach: Ptr<Attach>,
) {
    if pasid == IOMMU_NO_PASID {
        fault::iommufd_hwpt_detach_device(hwpt, idev);
    } else if let Some(handle) = attach.handle.load() {
        kfree(handle);
    }
}

/// `iommufd_hwpt_replace_device()`
///
/// # Errors
///
/// -EINVAL, -ENOMEM, and the driver's.
fn iommufd_hwpt_replace_device(
    idev: Ptr<Device>,
    pasid: u64,
    (igroup, attach): (Ptr<Group>, Ptr<Attach>),
    hwpt: Ptr<Object>,
    old: Ptr<Object>,
) -> Result<(), Errno> {
    iommufd_hwpt_pasid_compat(hwpt, igroup, pasid)?;
    if pasid == IOMMU_NO_PASID {
        return fault::iommufd_hwpt_replace_device(idev, hwpt, old);
    }
    // iommu_replace_device_pasid()
    let old_handle = attach.handle.load();
    let handle = fault::new_handle(hwpt, idev)?;
    attach.handle.store(Some(handle));
    if let Some(old_handle) = old_handle {
        kfree(old_handle);
    }
    Ok(())
}

/// `iommufd_hw_pagetable_attach()`
///
/// # Errors
///
/// -EBUSY if the device is attached already, -EINVAL if another one of its group is, to something
/// else; -ENOMEM, and the driver's.
pub fn iommufd_hw_pagetable_attach(
    hwpt: Ptr<Object>,
    idev: Ptr<Device>,
    pasid: u64,
) -> Result<(), Errno> {
    let Some(igroup) = idev.igroup.load() else { return Err(Errno::EINVAL) };

    mutex_lock(&igroup.lock);
    let ret = attach_locked(hwpt, idev, pasid, igroup);
    label("err_unlock");
    mutex_unlock(&igroup.lock);
    ret
}

/// Part of `iommufd_hw_pagetable_attach()`: under `igroup->lock`, with the PASID reserved for the
/// first device.
fn attach_locked(
    hwpt: Ptr<Object>,
    idev: Ptr<Device>,
    pasid: u64,
    igroup: Ptr<Group>,
) -> Result<(), Errno> {
    let ret = match xa_cmpxchg_slot(&igroup.pasid_attach, pasid, Slot::Null, Slot::Zero)? {
        Some(attach) => attach_by(attach, hwpt, idev, pasid, igroup),
        None => kzalloc(|owner| Attach {
            hwpt: Plain::new(owner.field("hwpt"), None),
            device_array: XArray::new(owner.field("device_array"), XaFlags::Plain),
            handle: Plain::new(owner.field("handle"), None),
        })
        .and_then(|attach| attach_by(attach, hwpt, idev, pasid, igroup)),
    };
    if ret.is_err() {
        label("err_release_pasid");
        if iommufd_group_first_attach(igroup, pasid) {
            xa_release(&igroup.pasid_attach, pasid);
        }
    }
    ret
}

/// Part of `iommufd_hw_pagetable_attach()`: by an attach that the group has, or a new one.
fn attach_by(
    attach: Ptr<Attach>,
    hwpt: Ptr<Object>,
    idev: Ptr<Device>,
    pasid: u64,
    igroup: Ptr<Group>,
) -> Result<(), Errno> {
    let id = u64::from(idev.obj.id.load());
    let old_hwpt = attach.hwpt.load();

    let ret = xa_insert(&attach.device_array, id, None);
    if ret.is_ok() {
        let attached = if old_hwpt.is_some_and(|old_hwpt| !old_hwpt.same(hwpt)) {
            Err(Errno::EINVAL)
        } else {
            attach_device(attach, hwpt, idev, pasid, igroup)
        };
        if attached.is_ok() {
            return Ok(());
        }
        label("err_release_devid");
        xa_release(&attach.device_array, id);
        free_attach(attach, igroup, pasid);
        return attached;
    }
    warn_on(ret == Err(Errno::EBUSY) && old_hwpt.is_none());
    free_attach(attach, igroup, pasid);
    ret
}

/// Part of `iommufd_hw_pagetable_attach()`: a new attach that failed.
fn free_attach(attach: Ptr<Attach>, igroup: Ptr<Group>, pasid: u64) {
    label("err_free_attach");
    if iommufd_group_first_attach(igroup, pasid) {
        check_nodes_freed(&attach.device_array);
        kfree(attach);
    }
}

/// Part of `iommufd_hw_pagetable_attach()`: nothing of it can run out of memory but the attach of
/// the first device.
fn attach_device(
    attach: Ptr<Attach>,
    hwpt: Ptr<Object>,
    idev: Ptr<Device>,
    pasid: u64,
    igroup: Ptr<Group>,
) -> Result<(), Errno> {
    let hwpt_paging = resv_hwpt_paging(hwpt, pasid);
    iommufd_device_attach_reserved_iova(idev, igroup, hwpt_paging)?;
    if iommufd_group_first_attach(igroup, pasid) {
        if let Err(e) = iommufd_hwpt_attach_device(hwpt, idev, pasid, attach) {
            label("err_unresv");
            remove_reserved_iova(idev, hwpt_paging);
            return Err(e);
        }
        attach.hwpt.store(Some(hwpt));
        warn_on(xa_store(&igroup.pasid_attach, pasid, Some(attach)).is_err());
    }
    refcount_inc(&hwpt.users);
    let id = u64::from(idev.obj.id.load());
    warn_on(xa_store(&attach.device_array, id, Some(idev)).is_err());
    Ok(())
}

/// `iommufd_device_is_attached()`: under `igroup->lock`.
fn iommufd_device_is_attached(attach: Ptr<Attach>, idev: Ptr<Device>) -> bool {
    xa_load(&attach.device_array, u64::from(idev.obj.id.load())).is_some()
}

/// `iommufd_device_do_replace()`
///
/// # Errors
///
/// -EINVAL if the group or the device is not attached, and what the driver answers.
pub fn iommufd_device_do_replace(
    idev: Ptr<Device>,
    pasid: u64,
    hwpt: Ptr<Object>,
) -> Result<Option<Ptr<Object>>, Errno> {
    let Some(igroup) = idev.igroup.load() else { return Err(Errno::EINVAL) };

    mutex_lock(&igroup.lock);
    let ret = match xa_load(&igroup.pasid_attach, pasid) {
        None => Err(Errno::EINVAL),
        Some(attach) => replace_locked(idev, pasid, hwpt, (igroup, attach)),
    };
    label("err_unlock");
    mutex_unlock(&igroup.lock);
    ret
}

/// Part of `iommufd_device_do_replace()`: under `igroup->lock`.
fn replace_locked(
    idev: Ptr<Device>,
    pasid: u64,
    hwpt: Ptr<Object>,
    (igroup, attach): (Ptr<Group>, Ptr<Attach>),
) -> Result<Option<Ptr<Object>>, Errno> {
    let old_hwpt = attach.hwpt.load();
    warn_on(old_hwpt.is_none() || xa_empty(&attach.device_array));
    let Some(old_hwpt) = old_hwpt.filter(|_| iommufd_device_is_attached(attach, idev)) else {
        return Err(Errno::EINVAL);
    };
    if hwpt.same(old_hwpt) {
        return Ok(None);
    }

    let hwpt_paging = resv_hwpt_paging(hwpt, pasid);
    let old_hwpt_paging = resv_hwpt_paging(old_hwpt, pasid);
    let devices = |nth| attached_device(attach, nth);
    iommufd_group_do_replace_reserved_iova(igroup, hwpt_paging, old_hwpt_paging, &devices)?;

    if let Err(e) = iommufd_hwpt_replace_device(idev, pasid, (igroup, attach), hwpt, old_hwpt) {
        label("err_unresv");
        iommufd_group_remove_reserved_iova(igroup, hwpt_paging, &devices);
        return Err(e);
    }
    leave_reserved_iova(igroup, hwpt_paging, old_hwpt_paging, &devices);
    attach.hwpt.store(Some(hwpt));

    let num_devices = iommufd_group_device_num(attach);
    // The references of the group's devices move; that of this one goes to the caller.
    refcount_add(num_devices, &hwpt.users);
    if num_devices > 1 {
        warn_on(refcount_sub_and_test(num_devices - 1, &old_hwpt.users));
    }
    Ok(Some(old_hwpt))
}

/// The page tables in which something is kept free for a device: those that it reaches without a
/// PASID.
fn resv_hwpt_paging(hwpt: Ptr<Object>, pasid: u64) -> Option<Ptr<HwptPaging>> {
    find_hwpt_paging(hwpt).filter(|_| pasid == IOMMU_NO_PASID)
}

/// xa_for_each() of `attach->device_array`
fn attached_device(attach: Ptr<Attach>, nth: usize) -> Option<Ptr<Device>> {
    let mut index = 0;
    for _ in 0..nth {
        index = xa_find(&attach.device_array, index)?.0 + 1;
    }
    xa_find(&attach.device_array, index).map(|(_, idev)| idev)
}

/// `iommufd_group_device_num()`
fn iommufd_group_device_num(attach: Ptr<Attach>) -> i32 {
    let (mut count, mut index) = (0, 0);
    while let Some((found, _)) = xa_find(&attach.device_array, index) {
        index = found + 1;
        count += 1;
    }
    count
}

/// `iommufd_device_detach()`: of a PASID that is not attached, nothing. (From memory of v6.15.)
pub fn iommufd_device_detach(idev: Ptr<Device>, pasid: u64) {
    let Some(ictx) = idev.ictx.load() else { return };

    let Some(hwpt) = (ictx.rev.iommufd_hw_pagetable_detach)(idev, pasid) else { return };
    iommufd_hw_pagetable_put(ictx, hwpt);
    refcount_dec(&idev.obj.users);
}

/// `iommufd_hw_pagetable_detach()`: says which HWPT the caller has to put. It is the one that the
/// device leaves under the lock: a replace that came first has moved the device's reference.
pub fn iommufd_hw_pagetable_detach(idev: Ptr<Device>, pasid: u64) -> Option<Ptr<Object>> {
    let igroup = idev.igroup.load()?;

    mutex_lock(&igroup.lock);
    let attach = xa_load(&igroup.pasid_attach, pasid);
    let hwpt = attach.and_then(|attach| attach.hwpt.load());
    if let Some(attach) = attach {
        xa_erase(&attach.device_array, u64::from(idev.obj.id.load()));
        if xa_empty(&attach.device_array) {
            iommufd_hwpt_detach_device(hwpt, idev, pasid, attach);
            xa_erase(&igroup.pasid_attach, pasid);
            kfree(attach);
        }
        remove_reserved_iova(idev, hwpt.and_then(|hwpt| resv_hwpt_paging(hwpt, pasid)));
    }
    mutex_unlock(&igroup.lock);
    hwpt
}
