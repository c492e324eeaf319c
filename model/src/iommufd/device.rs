//! drivers/iommu/iommufd/device.c: groups, bind and unbind, attach, replace and detach (6.13), and
//! IOMMU_GET_HW_INFO.
//!
//! A bound device is owned by the driver that bound it (`users` 2) and holds its group, the DMA
//! ownership of its iommu group and, unless the mock driver bound it, the iommufd file. Attaching
//! adds one `users` of the device and one of the HWPT.
//!
//! Source: reference/iommufd.md 2.5 (D613), R-D6; what is reserved for devices is from memory beyond
//! these, and as in 6.12 for the rows before it, too.

pub mod group_canary;
pub mod group_twins;
pub mod linux_6_15;
pub mod linux_6_17_rc7;
pub mod without_b4ff830;
pub mod without_lock_obj;

use uapi::Errno;

use crate::iommufd::fault::{
    iommufd_hwpt_attach_device, iommufd_hwpt_detach_device, iommufd_hwpt_replace_device,
};
use crate::iommufd::hw_pagetable::{iommufd_hw_pagetable_put, iommufd_hwpt_paging_alloc};
use crate::iommufd::invariants::check_group;
use crate::iommufd::io_pagetable::{
    iopt_remove_reserved_iova, iopt_table_enforce_dev_resv_regions,
};
use crate::iommufd::main::{
    _iommufd_object_alloc, iommufd_ctx_get, iommufd_ctx_put, iommufd_object_destroy_user,
};
use crate::iommufd::objects::{
    obj_of, to, Device, Group, HwptNested, HwptPaging, Ictx, Ioas, Object, Type,
};
use crate::iommufd::selftest::mock_domain_hw_info;
use crate::iommufd::ucmd::{iommufd_ucmd_respond, Ucmd};
use crate::linux::device::Device as StructDevice;
use crate::linux::iommu::{iommu_device_claim_dma_owner, iommu_device_release_dma_owner};
use crate::linux::list::{list_add_tail, list_del_init, list_entry, ListHead};
use crate::linux::mutex::{lockdep_assert_held, mutex_lock, mutex_unlock, Mutex};
use crate::linux::refcount::{
    refcount_add, refcount_dec, refcount_dec_and_test, refcount_inc, refcount_inc_not_zero,
    refcount_sub_and_test, Refcount,
};
use crate::linux::slab::{kfree, kzalloc, Plain, Ptr};
use crate::linux::uaccess::copy_to_user;
use crate::linux::warn::{label, oops_null, warn_on};
use crate::linux::xarray::{
    xa_cmpxchg, xa_load, xa_lock_index, xa_unlock_index, xas_store, Slot, XArray, XaFlags,
};
use crate::sync::Cell;

/// How often `iommufd_get_group()` may find that another thread changed the slot.
const GET_GROUP_TRIES_MAX: u32 = 8;

/// `iommufd_group_release()`: the last device of the group is gone. A new group may have
/// replaced this one in its slot already.
pub fn iommufd_group_release(igroup: Ptr<Group>) {
    warn_on(igroup.hwpt.peek().is_some() || !igroup.device_list.peek().is_empty());
    warn_on(!igroup.pasid_attach.peek().is_empty());
    if let Some(ictx) = igroup.ictx.load() {
        let _replaced = xa_cmpxchg(&ictx.groups, u64::from(igroup.group), Some(igroup), None);
    }
    kfree(igroup);
}

/// `iommufd_put_group()`
fn iommufd_put_group(igroup: Ptr<Group>) {
    if refcount_dec_and_test(&igroup.kref) {
        if let Some(ictx) = igroup.ictx.peek() {
            (ictx.rev.iommufd_group_release)(igroup);
        }
    }
}

/// Part of `iommufd_get_group()`: a new group, in no slot yet.
fn new_group(ictx: Ptr<Ictx>, dev: Ptr<StructDevice>) -> Result<Ptr<Group>, Errno> {
    kzalloc(|owner| Group {
        kref: Refcount::new(owner.field("ref"), 1),
        lock: Mutex::with_check(owner.field("lock"), check_group),
        group: dev.group,
        ictx: Plain::new(owner.field("ictx"), Some(ictx)),
        hwpt: Plain::new(owner.field("hwpt"), None),
        device_list: ListHead::new(owner.field("device_list")),
        pasid_attach: XArray::new(owner.field("pasid_attach"), XaFlags::Plain),
    })
}

/// `iommufd_get_group()`: the group of the device, made if there is none, or only a dying one.
///
/// # Errors
///
/// -ENOMEM
pub fn iommufd_get_group(ictx: Ptr<Ictx>, dev: Ptr<StructDevice>) -> Result<Ptr<Group>, Errno> {
    let id = u64::from(dev.group);

    xa_lock_index(&ictx.groups, id);
    let found = xa_load(&ictx.groups, id);
    // kref_get_unless_zero(): the lock keeps the memory of a dying group.
    if let Some(igroup) = found.filter(|igroup| refcount_inc_not_zero(&igroup.kref)) {
        xa_unlock_index(&ictx.groups, id);
        return Ok(igroup);
    }
    xa_unlock_index(&ictx.groups, id);

    let new_igroup = new_group(ictx, dev)?;

    // The lock was dropped, so what was found may be gone: an empty slot is a safe first guess.
    let mut cur_igroup: Option<Ptr<Group>> = None;
    xa_lock_index(&ictx.groups, id);
    for _ in 0..GET_GROUP_TRIES_MAX {
        // __xa_cmpxchg(cur_igroup -> new_igroup)
        let found = xa_load(&ictx.groups, id);
        if same_group(found, cur_igroup) {
            xas_store(&ictx.groups, id, Slot::Ptr(new_igroup));
            xa_unlock_index(&ictx.groups, id);
            return Ok(new_igroup);
        }
        // Another thread's group: use it if it lives, else it is the one to replace.
        if let Some(other) = found.filter(|other| refcount_inc_not_zero(&other.kref)) {
            xa_unlock_index(&ictx.groups, id);
            iommufd_put_group(new_igroup);
            return Ok(other);
        }
        cur_igroup = found;
    }
    // The slot cannot change under its lock, so the second try always ends the loop.
    xa_unlock_index(&ictx.groups, id);
    iommufd_put_group(new_igroup);
    Err(Errno::EBUSY)
}

/// C's `==` of two group pointers.
fn same_group(a: Option<Ptr<Group>>, b: Option<Ptr<Group>>) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => a.same(b),
        _ => false,
    }
}

/// `iommufd_device_destroy()`
pub fn iommufd_device_destroy(_ictx: Ptr<Ictx>, obj: Ptr<Object>) {
    let idev = to::<Device>(obj);
    let dev = idev.dev.load();

    if let Some(dev) = dev {
        iommu_device_release_dma_owner(dev);
    }
    if let Some(igroup) = idev.igroup.load() {
        iommufd_put_group(igroup);
    }
    if let (Some(dev), Some(ictx)) = (dev, idev.ictx.load()) {
        if !dev.is_mock {
            iommufd_ctx_put(ictx);
        }
    }
}

/// `iommufd_device_bind()`: a driver hands its device over.
///
/// # Errors
///
/// -EPERM if another context owns the group's DMA, -ENOMEM.
pub fn iommufd_device_bind(
    ictx: Ptr<Ictx>,
    dev: Ptr<StructDevice>,
) -> Result<(Ptr<Device>, u32), Errno> {
    let igroup = (ictx.rev.iommufd_get_group)(ictx, dev)?;

    if let Err(e) = iommu_device_claim_dma_owner(dev, ictx.owner()) {
        label("out_group_put");
        iommufd_put_group(igroup);
        return Err(e);
    }

    let allocated = _iommufd_object_alloc(ictx, Type::Device, |owner, obj| Device {
        obj,
        ictx: Plain::once(owner.field("ictx"), None),
        igroup: Plain::once(owner.field("igroup"), None),
        dev: Plain::once(owner.field("dev"), None),
        vdev: Plain::new(owner.field("vdev"), None),
        destroying: Plain::new(owner.field("destroying"), false),
        vdev_id: Plain::new(owner.field("vdev_id"), None),
        driver: Cell::new(false),
    });
    let idev = match allocated {
        Ok(idev) => idev,
        Err(e) => {
            label("out_release_owner");
            iommu_device_release_dma_owner(dev);
            iommufd_put_group(igroup);
            return Err(e);
        }
    };
    idev.ictx.store(Some(ictx));
    // The mock driver's devices are destroyed with the file, so they must not hold it.
    if !dev.is_mock {
        iommufd_ctx_get(ictx);
    }
    idev.dev.store(Some(dev));
    // The driver is a user until iommufd_device_unbind().
    refcount_inc(&idev.obj.users);
    idev.driver.set(true);
    // The group's reference moves into the device.
    idev.igroup.store(Some(igroup));

    let id = idev.obj.id.load();
    // Last: from here on user space can look the device up.
    (ictx.rev.iommufd_object_finalize)(ictx, obj_of(idev));
    Ok((idev, id))
}

/// `iommufd_device_unbind()`: the driver takes its device back. Nothing may use it any more.
pub fn iommufd_device_unbind(idev: Ptr<Device>) {
    idev.driver.set(false);
    if let Some(ictx) = idev.ictx.load() {
        if let Some(unbind_vdev) = ictx.rev.iommufd_device_unbind_vdev {
            unbind_vdev(ictx, idev);
        }
        iommufd_object_destroy_user(ictx, obj_of(idev));
    }
}

/// The driver's part of attaching the device's group to a domain, or to the blocked one.
///
/// # Errors
///
/// The driver's.
pub fn iommu_attach(idev: Ptr<Device>, hwpt: Option<Ptr<Object>>) -> Result<(), Errno> {
    match (idev.ictx.peek(), idev.dev.peek()) {
        (Some(ictx), Some(dev)) => (ictx.rev.mock_domain_nop_attach)(ictx.rev, hwpt, dev),
        _ => Ok(()),
    }
}

/// `find_hwpt_paging()`: the HWPT_PAGING that the HWPT is, or that it is nested in.
pub fn find_hwpt_paging(hwpt: Ptr<Object>) -> Option<Ptr<HwptPaging>> {
    match hwpt.ty {
        Type::HwptPaging => Some(to::<HwptPaging>(hwpt)),
        Type::HwptNested => {
            let nested = to::<HwptNested>(hwpt);
            nested.parent.load().or_else(|| nested.viommu.load()?.hwpt.load())
        }
        _ => None,
    }
}

/// `iommufd_device_attach_reserved_iova()`: what the device's IOMMU reserves is kept free in the
/// page tables that the HWPT belongs to. MSI doorbells that are mapped by software are not
/// modelled.
///
/// # Errors
///
/// -EADDRINUSE if something is mapped there, -ENOMEM, and -EINVAL if a fault is injected.
pub fn iommufd_device_attach_reserved_iova(
    idev: Ptr<Device>,
    igroup: Ptr<Group>,
    hwpt_paging: Option<Ptr<HwptPaging>>,
) -> Result<(), Errno> {
    lockdep_assert_held(&igroup.lock);
    match (hwpt_paging.and_then(|paging| paging.ioas.load()), idev.dev.load()) {
        (Some(ioas), Some(dev)) => iopt_table_enforce_dev_resv_regions(&ioas.iopt, dev),
        _ => Ok(()),
    }
}

/// Part of `iommufd_hw_pagetable_attach()`, `iommufd_hw_pagetable_detach()` and
/// `iommufd_group_remove_reserved_iova()`: what is reserved for the device in the page tables that the
/// HWPT belongs to. What it reads is read there.
#[track_caller]
pub fn remove_reserved_iova(idev: Ptr<Device>, hwpt_paging: Option<Ptr<HwptPaging>>) {
    let ioas = match hwpt_paging {
        Some(paging) => paging.ioas.load(),
        None => None,
    };
    if let (Some(ioas), Some(dev)) = (ioas, idev.dev.load()) {
        iopt_remove_reserved_iova(&ioas.iopt, dev);
    }
}

/// The devices of a group that move together.
pub type Attached<'a> = &'a dyn Fn(usize) -> Option<Ptr<Device>>;

/// `iommufd_group_remove_reserved_iova()`: what is reserved for the devices of the group.
pub fn iommufd_group_remove_reserved_iova(
    igroup: Ptr<Group>,
    hwpt_paging: Option<Ptr<HwptPaging>>,
    devices: Attached<'_>,
) {
    lockdep_assert_held(&igroup.lock);
    let mut nth = 0;
    while let Some(cur) = devices(nth) {
        remove_reserved_iova(cur, hwpt_paging);
        nth += 1;
    }
}

/// Whether two HWPTs belong to the page tables of one IOAS.
fn same_ioas(hwpt_paging: Ptr<HwptPaging>, old: Option<Ptr<HwptPaging>>) -> bool {
    match (hwpt_paging.ioas.load(), old.and_then(|old| old.ioas.load())) {
        (Some(ioas), Some(old)) => ioas.is(old),
        _ => false,
    }
}

/// `iommufd_group_do_replace_reserved_iova()`: what the IOMMU reserves for the devices of the group
/// is kept free in the page tables that they move to.
///
/// # Errors
///
/// As `iommufd_device_attach_reserved_iova()`.
pub fn iommufd_group_do_replace_reserved_iova(
    igroup: Ptr<Group>,
    hwpt_paging: Option<Ptr<HwptPaging>>,
    old: Option<Ptr<HwptPaging>>,
    devices: Attached<'_>,
) -> Result<(), Errno> {
    lockdep_assert_held(&igroup.lock);
    if hwpt_paging.is_none_or(|paging| same_ioas(paging, old)) {
        return Ok(());
    }
    let mut nth = 0;
    while let Some(cur) = devices(nth) {
        let reserved = iommufd_device_attach_reserved_iova(cur, igroup, hwpt_paging);
        if let Err(e) = reserved {
            label("err_unresv");
            iommufd_group_remove_reserved_iova(igroup, hwpt_paging, devices);
            return Err(e);
        }
        nth += 1;
    }
    Ok(())
}

/// Part of `iommufd_device_do_replace()`: the devices have moved, and nothing is reserved for them
/// any more where they were.
pub fn leave_reserved_iova(
    igroup: Ptr<Group>,
    hwpt_paging: Option<Ptr<HwptPaging>>,
    old: Option<Ptr<HwptPaging>>,
    devices: Attached<'_>,
) {
    if old.is_some() && hwpt_paging.is_none_or(|paging| !same_ioas(paging, old)) {
        iommufd_group_remove_reserved_iova(igroup, old, devices);
    }
}

/// Which of the two changes `iommufd_device_change_pt()` makes: `attach_fn` in the kernel.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// `iommufd_device_do_attach()`
    Attach,
    /// `iommufd_device_do_replace()`
    Replace,
}

/// `(*do_attach)()`: gives out the HWPT that the caller has to put.
fn do_attach(
    ictx: Ptr<Ictx>,
    how: Change,
    idev: Ptr<Device>,
    pasid: u64,
    hwpt: Ptr<Object>,
) -> Result<Option<Ptr<Object>>, Errno> {
    match how {
        // iommufd_device_do_attach()
        Change::Attach => (ictx.rev.iommufd_hw_pagetable_attach)(hwpt, idev, pasid).map(|()| None),
        Change::Replace => (ictx.rev.iommufd_device_do_replace)(idev, pasid, hwpt),
    }
}

/// `iommufd_device_do_replace()` of 6.13: the whole group moves to the new HWPT. What it was
/// attached to is given out, with the reference of one device, for the caller to put without
/// locks. If it fails, what was reserved in the new page tables stays reserved, and what the
/// devices still need in the old ones is given up (R-D6).
///
/// # Errors
///
/// -EINVAL if the group is not attached, and what the driver answers.
pub fn iommufd_device_do_replace(
    idev: Ptr<Device>,
    _pasid: u64,
    hwpt: Ptr<Object>,
) -> Result<Option<Ptr<Object>>, Errno> {
    let Some(igroup) = idev.igroup.load() else { return Err(Errno::EINVAL) };

    mutex_lock(&igroup.lock);
    let Some(old_hwpt) = igroup.hwpt.load() else {
        label("err_unlock");
        mutex_unlock(&igroup.lock);
        return Err(Errno::EINVAL);
    };
    let ret = replace_locked(igroup, idev, hwpt, old_hwpt);
    label("err_unlock");
    mutex_unlock(&igroup.lock);
    ret
}

/// Part of `iommufd_device_do_replace()`: what follows the checks, under `igroup->lock`.
fn replace_locked(
    igroup: Ptr<Group>,
    idev: Ptr<Device>,
    hwpt: Ptr<Object>,
    old_hwpt: Ptr<Object>,
) -> Result<Option<Ptr<Object>>, Errno> {
    if hwpt.same(old_hwpt) {
        return Ok(None);
    }

    let (hwpt_paging, old_hwpt_paging) = (find_hwpt_paging(hwpt), find_hwpt_paging(old_hwpt));
    let devices = |nth| list_entry(&igroup.device_list, nth);
    iommufd_group_do_replace_reserved_iova(igroup, hwpt_paging, old_hwpt_paging, &devices)?;

    if let Err(e) = iommufd_hwpt_replace_device(idev, hwpt, old_hwpt) {
        label("err_unresv");
        if hwpt_paging.is_some() {
            iommufd_group_remove_reserved_iova(igroup, old_hwpt_paging, &devices);
        }
        return Err(e);
    }
    leave_reserved_iova(igroup, hwpt_paging, old_hwpt_paging, &devices);
    igroup.hwpt.store(Some(hwpt));

    // iommufd_group_device_num()
    let mut num_devices = 0;
    while list_entry(&igroup.device_list, num_devices).is_some() {
        num_devices += 1;
    }
    let num_devices = num_devices as i32;
    // The references of the group's devices move; that of this one goes to the caller.
    refcount_add(num_devices, &hwpt.users);
    if num_devices > 1 {
        warn_on(refcount_sub_and_test(num_devices - 1, &old_hwpt.users));
    }
    Ok(Some(old_hwpt))
}

/// What the device's group is attached to, read without its lock.
pub fn igroup_hwpt(idev: Ptr<Device>) -> Option<Ptr<Object>> {
    idev.igroup.load()?.hwpt.load()
}

/// `iommufd_hw_pagetable_attach()` up to 6.14: attaches the group of the device to the HWPT.
///
/// # Errors
///
/// -EINVAL if the group is attached to something else, -EADDRINUSE if something is mapped where the
/// device's IOMMU has something else, -ENOMEM.
pub fn iommufd_hw_pagetable_attach(
    hwpt: Ptr<Object>,
    idev: Ptr<Device>,
    _pasid: u64,
) -> Result<(), Errno> {
    let Some(igroup) = idev.igroup.load() else { return Err(Errno::EINVAL) };

    mutex_lock(&igroup.lock);
    if igroup.hwpt.load().is_some_and(|attached| !attached.same(hwpt)) {
        mutex_unlock(&igroup.lock);
        return Err(Errno::EINVAL);
    }
    let hwpt_paging = find_hwpt_paging(hwpt);
    if let Err(e) = iommufd_device_attach_reserved_iova(idev, igroup, hwpt_paging) {
        label("err_unlock");
        mutex_unlock(&igroup.lock);
        return Err(e);
    }
    // The first device of the group attaches it.
    if list_entry(&igroup.device_list, 0).is_none() {
        if let Err(e) = iommufd_hwpt_attach_device(hwpt, idev) {
            label("err_unresv");
            remove_reserved_iova(idev, hwpt_paging);
            label("err_unlock");
            mutex_unlock(&igroup.lock);
            return Err(e);
        }
        igroup.hwpt.store(Some(hwpt));
    }
    refcount_inc(&hwpt.users);
    list_add_tail(idev, &igroup.device_list);
    mutex_unlock(&igroup.lock);
    Ok(())
}

/// `iommufd_hw_pagetable_detach()` up to 6.14: says which HWPT the caller has to put.
pub fn iommufd_hw_pagetable_detach(idev: Ptr<Device>, _pasid: u64) -> Option<Ptr<Object>> {
    let igroup = idev.igroup.load()?;
    // Read before the lock: a replace of another device may move the group meanwhile.
    let hwpt = igroup.hwpt.load();
    let hwpt_paging = hwpt.and_then(find_hwpt_paging);

    mutex_lock(&igroup.lock);
    list_del_init(idev, &igroup.device_list);
    if list_entry(&igroup.device_list, 0).is_none() {
        iommufd_hwpt_detach_device(hwpt, idev);
        igroup.hwpt.store(None);
    }
    remove_reserved_iova(idev, hwpt_paging);
    mutex_unlock(&igroup.lock);
    hwpt
}

/// What changing the page table gives: the id of the new one, and the old one if the caller has
/// to put it.
pub type Changed = (u32, Option<Ptr<Object>>);

/// `iommufd_device_auto_get_domain()`: attaches to an auto HWPT of the IOAS, made if none fits.
///
/// # Errors
///
/// What attaching or allocating answers.
pub fn iommufd_device_auto_get_domain(
    ictx: Ptr<Ictx>,
    idev: Ptr<Device>,
    pasid: u64,
    ioas: Ptr<Ioas>,
    how: Change,
) -> Result<Changed, Errno> {
    mutex_lock(&ioas.mutex);
    let mut nth = 0;
    while let Some(hwpt) = list_entry(&ioas.hwpt_list, nth) {
        nth += 1;
        if !hwpt.auto_domain.load() {
            continue;
        }
        // It may be on its way out: users at 0, list_del() still to come (7214c1c85fe4).
        if !(ictx.rev.iommufd_lock_obj)(obj_of(hwpt)) {
            continue;
        }
        let id = hwpt.obj.id.load();
        let attached = do_attach(ictx, how, idev, pasid, obj_of(hwpt));
        (ictx.rev.iommufd_put_object)(ictx, obj_of(hwpt));
        match attached {
            // This domain does not fit the group: try the next one.
            Err(Errno::EINVAL) => {}
            other => {
                mutex_unlock(&ioas.mutex);
                return other.map(|old_hwpt| (id, old_hwpt));
            }
        }
    }

    let ret = auto_domain_alloc(ictx, idev, pasid, ioas, how);
    label("out_unlock");
    mutex_unlock(&ioas.mutex);
    ret
}

/// Part of `iommufd_device_auto_get_domain()`: a new auto HWPT, attached.
fn auto_domain_alloc(
    ictx: Ptr<Ictx>,
    idev: Ptr<Device>,
    pasid: u64,
    ioas: Ptr<Ioas>,
    how: Change,
) -> Result<Changed, Errno> {
    let immediate_attach = how == Change::Attach;
    let hwpt = iommufd_hwpt_paging_alloc(ictx, ioas, (idev, pasid), 0, immediate_attach, None)?;
    let mut destroy_hwpt = None;

    if !immediate_attach {
        match do_attach(ictx, how, idev, pasid, obj_of(hwpt)) {
            Ok(old_hwpt) => destroy_hwpt = old_hwpt,
            Err(e) => {
                label("out_abort");
                (ictx.rev.iommufd_object_abort_and_destroy)(ictx, obj_of(hwpt));
                return Err(e);
            }
        }
    }
    hwpt.auto_domain.store(true);
    let id = hwpt.obj.id.load();
    (ictx.rev.iommufd_object_finalize)(ictx, obj_of(hwpt));
    Ok((id, destroy_hwpt))
}

/// `iommufd_device_attach()`: gives the id of the HWPT out. Up to 6.14 there are no PASIDs.
///
/// # Errors
///
/// -ENOENT for an unknown `pt_id`, -EINVAL for an object that is no page table.
pub fn iommufd_device_attach(idev: Ptr<Device>, pasid: u64, pt_id: u64) -> Result<u32, Errno> {
    let Some(ictx) = idev.ictx.load() else { return Err(Errno::EINVAL) };

    let id = iommufd_device_change_pt(ictx, idev, pasid, pt_id, Change::Attach)?;
    // Pairs with the decrement in iommufd_device_detach().
    refcount_inc(&idev.obj.users);
    Ok(id)
}

/// `iommufd_device_replace()`: attaches a device that is attached to something else. Gives the id
/// of the HWPT out.
///
/// # Errors
///
/// As `iommufd_device_attach()`; -EINVAL for a device that is not attached.
pub fn iommufd_device_replace(idev: Ptr<Device>, pasid: u64, pt_id: u64) -> Result<u32, Errno> {
    let Some(ictx) = idev.ictx.load() else { return Err(Errno::EINVAL) };

    iommufd_device_change_pt(ictx, idev, pasid, pt_id, Change::Replace)
}

/// `iommufd_device_change_pt()`
fn iommufd_device_change_pt(
    ictx: Ptr<Ictx>,
    idev: Ptr<Device>,
    pasid: u64,
    pt_id: u64,
    how: Change,
) -> Result<u32, Errno> {
    let rev = ictx.rev;
    let pt_obj = (rev.iommufd_get_object)(ictx, pt_id, Type::Any)?;

    let ret = match pt_obj.ty {
        Type::HwptNested | Type::HwptPaging => {
            let id = pt_obj.id.load();
            let attached = do_attach(ictx, how, idev, pasid, pt_obj);
            if attached.is_ok() && how == Change::Attach {
                (rev.attached_to_hwpt)(pt_obj);
            }
            attached.map(|old_hwpt| (id, old_hwpt))
        }
        Type::Ioas => {
            (rev.iommufd_device_auto_get_domain)(ictx, idev, pasid, to::<Ioas>(pt_obj), how)
        }
        _ => Err(Errno::EINVAL),
    };
    label("out_put_pt_obj");
    (rev.iommufd_put_object)(ictx, pt_obj);

    let (id, destroy_hwpt) = ret?;
    // After everything is unlocked: an auto domain takes its IOAS mutex to go away.
    if let Some(old_hwpt) = destroy_hwpt {
        iommufd_hw_pagetable_put(ictx, old_hwpt);
    }
    Ok(id)
}

/// `iommufd_device_detach()` up to 6.14.
pub fn iommufd_device_detach(idev: Ptr<Device>, pasid: u64) {
    if let Some(ictx) = idev.ictx.load() {
        if let Some(hwpt) = (ictx.rev.iommufd_hw_pagetable_detach)(idev, pasid) {
            iommufd_hw_pagetable_put(ictx, hwpt);
        }
    }
    refcount_dec(&idev.obj.users);
}

/// The argument struct of IOMMU_GET_HW_INFO.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HwInfo {
    /// Device.
    pub dev_id: u64,
    /// Flags.
    pub flags: u64,
    /// Room for the driver's data.
    pub data_len: u64,
    /// Whether that room is at a bad address.
    pub bad_uptr: bool,
    /// Must be 0.
    pub reserved: u64,
}

/// `iommufd_get_hw_info()`: IOMMU_GET_HW_INFO. Gives the type of the data and its words out.
///
/// # Errors
///
/// -EOPNOTSUPP for flags, -ENOENT, -ENOMEM, -EFAULT.
pub fn iommufd_get_hw_info(ucmd: &Ucmd, cmd: &HwInfo) -> Result<[u64; 3], Errno> {
    let rev = ucmd.ictx.rev;

    if cmd.flags & !rev.hw_info_flags != 0 || cmd.reserved & rev.hw_info_reserved != 0 {
        return Err(Errno::EOPNOTSUPP);
    }

    let idev_obj = (rev.iommufd_get_object)(ucmd.ictx, cmd.dev_id, Type::Device)?;
    // dev_iommu_ops(idev->dev)
    if to::<Device>(idev_obj).dev.load().is_none() {
        oops_null("idev->dev");
    }
    let ret = mock_domain_hw_info().and_then(|(data, data_type)| {
        let ret = copy_to_user(cmd.bad_uptr && cmd.data_len != 0)
            .and_then(|()| iommufd_ucmd_respond(ucmd))
            .map(|()| [data_type, u64::from(data.flags), u64::from(data.test_reg)]);
        label("out_free");
        kfree(data);
        ret
    });
    label("out_put");
    (rev.iommufd_put_object)(ucmd.ictx, idev_obj);
    ret
}
