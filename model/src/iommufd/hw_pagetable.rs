//! drivers/iommu/iommufd/hw_pagetable.c: paging and nested HWPTs as far as lifetimes go, and
//! IOMMU_HWPT_INVALIDATE.
//!
//! A paging HWPT holds its IOAS. A nested one holds its parent, or the vIOMMU that it was made on
//! (which holds the parent).
//!
//! Source: reference/iommufd.md 2.4, 2.5.3, 2.9.5, 2.9.6 (H7x, and the answers of real kernels).

pub mod for_next_2026_09;
pub mod nested_only;

use uapi::call::{AUTO, HWPT_ALLOC_NEST_PARENT, HWPT_ALLOC_PASID, HWPT_FAULT_ID_VALID};
use uapi::program::Entry;
use uapi::Errno;

use crate::iommufd::io_pagetable::{iopt_table_add_domain, iopt_table_remove_domain};
use crate::iommufd::main::_iommufd_object_alloc;
use crate::iommufd::objects::{
    obj_of, to, Device, Fault, HwptNested, HwptPaging, Ictx, Ioas, Object, Type, Viommu,
    IOMMU_NO_PASID,
};
use crate::iommufd::selftest::{
    mock_domain_alloc_nested, mock_domain_cache_invalidate_user, mock_domain_free,
    mock_viommu_cache_invalidate,
};
use crate::iommufd::ucmd::{iommufd_ucmd_respond, Ucmd};
use crate::linux::iommu_domain::IommuDomain;
use crate::linux::list::{list_add_tail, list_del_init};
use crate::linux::mutex::{lockdep_assert_held, lockdep_assert_not_held, mutex_lock, mutex_unlock};
use crate::linux::refcount::{refcount_dec, refcount_inc};
use crate::linux::slab::{Plain, Ptr};
use crate::linux::warn::label;

/// `struct iommu_user_data`: what the caller says about its driver data.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct UserData {
    /// Type of the data; 0 is NONE.
    pub ty: u64,
    /// Length in bytes.
    pub len: u64,
    /// Whether it is at a bad address.
    pub bad_uptr: bool,
    /// First word of the mock's data: the initial IOTLB value.
    pub iotlb: u32,
}

/// The argument struct of IOMMU_HWPT_ALLOC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct HwptAlloc {
    /// Device.
    pub dev_id: u64,
    /// IOAS, nesting parent or vIOMMU.
    pub pt_id: u64,
    /// IOMMU_HWPT_ALLOC_* flags.
    pub flags: u64,
    /// Driver data.
    pub data: UserData,
    /// Fault queue.
    pub fault_id: u64,
    /// Must be 0.
    pub reserved: u64,
}

/// The argument struct of IOMMU_HWPT_INVALIDATE.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HwptInvalidate {
    /// Nested HWPT or vIOMMU.
    pub hwpt_id: u64,
    /// Where the entries are; 0 is NULL, [`AUTO`] a good address.
    pub data_uptr: u64,
    /// Type of the entries.
    pub data_type: u64,
    /// Length of one entry in bytes.
    pub entry_len: u64,
    /// Number of entries.
    pub entry_num: u64,
    /// Must be 0.
    pub reserved: u64,
    /// The entries behind `data_uptr`.
    pub entries: Vec<Entry>,
}

/// `iommufd_hwpt_paging_alloc()`; with `immediate_attach` the device is attached before anybody
/// can see the HWPT. The caller holds `ioas->mutex`.
///
/// # Errors
///
/// -EOPNOTSUPP for flags that the driver does not have, -ENOMEM, and what attaching answers.
pub fn iommufd_hwpt_paging_alloc(
    ictx: Ptr<Ictx>,
    ioas: Ptr<Ioas>,
    (idev, pasid): (Ptr<Device>, u64),
    flags: u64,
    immediate_attach: bool,
    user_data: Option<UserData>,
) -> Result<Ptr<HwptPaging>, Errno> {
    lockdep_assert_held(&ioas.mutex);
    if flags & !ictx.rev.hwpt_paging_flags != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    // A queue of faults belongs to a HWPT that a guest's page table is in.
    if flags & HWPT_FAULT_ID_VALID != 0 && flags & HWPT_ALLOC_NEST_PARENT != 0 {
        return Err(Errno::EOPNOTSUPP);
    }

    let hwpt = _iommufd_object_alloc(ictx, Type::HwptPaging, |owner, obj| HwptPaging {
        obj,
        ioas: Plain::once(owner.field("ioas"), None),
        auto_domain: Plain::new(owner.field("auto_domain"), false),
        nest_parent: flags & HWPT_ALLOC_NEST_PARENT != 0,
        pasid_compat: flags & HWPT_ALLOC_PASID != 0,
        // Set under ioas->mutex, when the domain is in the table already.
        fault: Plain::new(owner.field("fault"), None),
        domain: IommuDomain::new(owner.field("common.domain")),
    })?;
    // Pairs with the decrement in iommufd_hwpt_paging_destroy().
    refcount_inc(&ioas.obj.users);
    hwpt.ioas.store(Some(ioas));

    let domain = (ictx.rev.mock_domain_alloc_paging_flags)(flags, user_data);
    if let Err(e) = domain {
        label("out_abort");
        (ictx.rev.iommufd_object_abort_and_destroy)(ictx, obj_of(hwpt));
        return Err(e);
    }

    if immediate_attach {
        if let Err(e) = (ictx.rev.iommufd_hw_pagetable_attach)(obj_of(hwpt), idev, pasid) {
            label("out_abort");
            (ictx.rev.iommufd_object_abort_and_destroy)(ictx, obj_of(hwpt));
            return Err(e);
        }
    }

    if let Err(e) = iopt_table_add_domain(&ioas.iopt, hwpt) {
        // Up to 6.17-rc6 nobody puts what the device was attached to (R-B3).
        label("out_detach");
        if immediate_attach {
            let _not_put = (ictx.rev.iommufd_hw_pagetable_detach)(idev, pasid);
        }
        label("out_abort");
        (ictx.rev.iommufd_object_abort_and_destroy)(ictx, obj_of(hwpt));
        return Err(e);
    }
    list_add_tail(hwpt, &ioas.hwpt_list);
    Ok(hwpt)
}

/// `__iommufd_hwpt_destroy()`: the fault queue. The domain is freed by the caller.
fn __iommufd_hwpt_destroy(fault: &Plain<Option<Ptr<Fault>>>) {
    if let Some(fault) = fault.load() {
        refcount_dec(&fault.obj.users);
    }
}

/// `__iommufd_hwpt_paging_destroy()`
fn __iommufd_hwpt_paging_destroy(hwpt: Ptr<HwptPaging>) {
    // iommu_domain_free()
    mock_domain_free(&hwpt.domain);
    __iommufd_hwpt_destroy(&hwpt.fault);
    if let Some(ioas) = hwpt.ioas.load() {
        refcount_dec(&ioas.obj.users);
    }
}

/// `iommufd_hwpt_paging_destroy()`
pub fn iommufd_hwpt_paging_destroy(_ictx: Ptr<Ictx>, obj: Ptr<Object>) {
    let hwpt = to::<HwptPaging>(obj);

    if let Some(ioas) = hwpt.ioas.load() {
        mutex_lock(&ioas.mutex);
        hwpt_list_del(ioas, hwpt);
        mutex_unlock(&ioas.mutex);
    }
    __iommufd_hwpt_paging_destroy(hwpt);
}

/// `iommufd_hwpt_paging_abort()`: the caller holds `ioas->mutex`.
pub fn iommufd_hwpt_paging_abort(_ictx: Ptr<Ictx>, obj: Ptr<Object>) {
    let hwpt = to::<HwptPaging>(obj);

    if let Some(ioas) = hwpt.ioas.load() {
        // Until the finalize.
        lockdep_assert_held(&ioas.mutex);
        hwpt_list_del(ioas, hwpt);
    }
    __iommufd_hwpt_paging_destroy(hwpt);
}

/// Part of `iommufd_hwpt_paging_destroy()`: a HWPT that is on the list has its domain in the
/// table. The caller holds `ioas->mutex`.
fn hwpt_list_del(ioas: Ptr<Ioas>, hwpt: Ptr<HwptPaging>) {
    if list_del_init(hwpt, &ioas.hwpt_list) {
        iopt_table_remove_domain(&ioas.iopt, hwpt);
    }
}

/// `iommufd_hwpt_nested_alloc()`: on a nesting parent.
///
/// # Errors
///
/// -EOPNOTSUPP, -EINVAL, -ENOMEM.
pub fn iommufd_hwpt_nested_alloc(
    ictx: Ptr<Ictx>,
    parent: Ptr<HwptPaging>,
    flags: u64,
    user_data: UserData,
) -> Result<Ptr<HwptNested>, Errno> {
    if flags & !ictx.rev.hwpt_nested_flags != 0 || user_data.len == 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    if parent.auto_domain.load() || !parent.nest_parent {
        return Err(Errno::EINVAL);
    }

    let hwpt = alloc_nested_object(ictx, flags, user_data)?;
    refcount_inc(&parent.obj.users);
    hwpt.parent.store(Some(parent));

    if let Err(e) = mock_domain_alloc_nested(user_data) {
        label("out_abort");
        (ictx.rev.iommufd_object_abort_and_destroy)(ictx, obj_of(hwpt));
        return Err(e);
    }
    Ok(hwpt)
}

/// `iommufd_viommu_alloc_hwpt_nested()`: on a vIOMMU, whose users it holds instead of the
/// parent's.
///
/// # Errors
///
/// -EOPNOTSUPP, -EINVAL, -ENOMEM.
pub fn iommufd_viommu_alloc_hwpt_nested(
    ictx: Ptr<Ictx>,
    viommu: Ptr<Viommu>,
    flags: u64,
    user_data: UserData,
) -> Result<Ptr<HwptNested>, Errno> {
    if flags & !ictx.rev.hwpt_nested_flags != 0 || user_data.len == 0 {
        return Err(Errno::EOPNOTSUPP);
    }

    let hwpt = alloc_nested_object(ictx, flags, user_data)?;
    hwpt.viommu.store(Some(viommu));
    refcount_inc(&viommu.obj.users);

    if let Err(e) = mock_domain_alloc_nested(user_data) {
        label("out_abort");
        (ictx.rev.iommufd_object_abort_and_destroy)(ictx, obj_of(hwpt));
        return Err(e);
    }
    Ok(hwpt)
}

/// Part of `iommufd_hwpt_nested_alloc()`: the object.
fn alloc_nested_object(
    ictx: Ptr<Ictx>,
    flags: u64,
    data: UserData,
) -> Result<Ptr<HwptNested>, Errno> {
    _iommufd_object_alloc(ictx, Type::HwptNested, |owner, obj| HwptNested {
        obj,
        parent: Plain::once(owner.field("parent"), None),
        viommu: Plain::once(owner.field("viommu"), None),
        pasid_compat: flags & HWPT_ALLOC_PASID != 0,
        fault: Plain::once(owner.field("fault"), None),
        iotlb: std::array::from_fn(|_| Plain::new(owner.field("domain->iotlb"), data.iotlb)),
    })
}

/// `iommufd_hwpt_nested_destroy()`: drops what it was made on.
pub fn iommufd_hwpt_nested_destroy(_ictx: Ptr<Ictx>, obj: Ptr<Object>) {
    let hwpt = to::<HwptNested>(obj);

    __iommufd_hwpt_destroy(&hwpt.fault);
    if let Some(viommu) = hwpt.viommu.load() {
        nested_put_viommu(viommu);
    } else if let Some(parent) = hwpt.parent.load() {
        refcount_dec(&parent.obj.users);
    }
}

/// Part of `iommufd_hwpt_nested_destroy()` since there are vIOMMUs.
fn nested_put_viommu(viommu: Ptr<Viommu>) {
    refcount_dec(&viommu.obj.users);
}

/// `iommufd_hwpt_nested_abort()`: nothing needs a lock here, so it is the destroy op.
pub fn iommufd_hwpt_nested_abort(ictx: Ptr<Ictx>, obj: Ptr<Object>) {
    iommufd_hwpt_nested_destroy(ictx, obj);
}

/// `iommufd_hwpt_alloc()`: IOMMU_HWPT_ALLOC. For an IOAS its mutex is held until the HWPT is
/// final.
///
/// # Errors
///
/// See reference/iommufd.md 2.9.5.
pub fn iommufd_hwpt_alloc(ucmd: &Ucmd, cmd: &HwptAlloc) -> Result<u32, Errno> {
    let ictx = ucmd.ictx;
    let rev = ictx.rev;

    if cmd.reserved != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    if (cmd.data.ty == 0) != (cmd.data.len == 0) {
        return Err(Errno::EINVAL);
    }

    let idev_obj = (rev.iommufd_get_object)(ictx, cmd.dev_id, Type::Device)?;
    let idev = to::<Device>(idev_obj);

    let ret = match (rev.iommufd_get_object)(ictx, cmd.pt_id, Type::Any) {
        Err(_) => Err(Errno::EINVAL),
        Ok(pt_obj) => {
            let ret = iommufd_hwpt_alloc_on(ucmd, cmd, idev, pt_obj);
            label("out_put_pt");
            (rev.iommufd_put_object)(ictx, pt_obj);
            ret
        }
    };
    label("out_put_idev");
    (rev.iommufd_put_object)(ictx, idev_obj);
    ret
}

/// Part of `iommufd_hwpt_alloc()`: what stands between the look-ups and the puts.
fn iommufd_hwpt_alloc_on(
    ucmd: &Ucmd,
    cmd: &HwptAlloc,
    idev: Ptr<Device>,
    pt_obj: Ptr<Object>,
) -> Result<u32, Errno> {
    let ictx = ucmd.ictx;

    match pt_obj.ty {
        Type::Ioas => {
            let ioas = to::<Ioas>(pt_obj);

            mutex_lock(&ioas.mutex);
            let data = (cmd.data.len != 0).then_some(cmd.data);
            let ret = iommufd_hwpt_paging_alloc(
                ictx,
                ioas,
                (idev, IOMMU_NO_PASID),
                cmd.flags,
                false,
                data,
            )
            .and_then(|hwpt| iommufd_hwpt_respond(ucmd, cmd, obj_of(hwpt)));
            label("out_unlock");
            mutex_unlock(&ioas.mutex);
            ret
        }
        Type::HwptPaging => {
            let parent = to::<HwptPaging>(pt_obj);
            let hwpt = iommufd_hwpt_nested_alloc(ictx, parent, cmd.flags, cmd.data)?;
            iommufd_hwpt_respond(ucmd, cmd, obj_of(hwpt))
        }
        Type::Viommu => {
            let viommu = to::<Viommu>(pt_obj);
            if viommu.iommu_dev.load() != __iommu_get_iommu_dev(idev) {
                return Err(Errno::EINVAL);
            }
            let hwpt = iommufd_viommu_alloc_hwpt_nested(ictx, viommu, cmd.flags, cmd.data)?;
            iommufd_hwpt_respond(ucmd, cmd, obj_of(hwpt))
        }
        _ => Err(Errno::EINVAL),
    }
}

/// Part of `iommufd_hwpt_alloc()`: its end, the fault queue, the answer, and finalize or abort.
fn iommufd_hwpt_respond(ucmd: &Ucmd, cmd: &HwptAlloc, hwpt: Ptr<Object>) -> Result<u32, Errno> {
    let ictx = ucmd.ictx;
    let id = hwpt.id.load();

    let answered = hwpt_set_fault(ictx, cmd, hwpt).and_then(|()| iommufd_ucmd_respond(ucmd));
    if let Err(e) = answered {
        label("out_hwpt");
        (ictx.rev.iommufd_object_abort_and_destroy)(ictx, hwpt);
        return Err(e);
    }
    (ictx.rev.iommufd_object_finalize)(ictx, hwpt);
    Ok(id)
}

/// `hwpt->fault`, in the part that paging and nested HWPTs share.
fn hwpt_fault(hwpt: Ptr<Object>) -> Ptr<Plain<Option<Ptr<Fault>>>> {
    match hwpt.ty {
        Type::HwptNested => to::<HwptNested>(hwpt).project(|hwpt| &hwpt.fault),
        _ => to::<HwptPaging>(hwpt).project(|hwpt| &hwpt.fault),
    }
}

/// Part of `iommufd_hwpt_alloc()`: the fault queue, whose users the HWPT holds.
fn hwpt_set_fault(ictx: Ptr<Ictx>, cmd: &HwptAlloc, hwpt: Ptr<Object>) -> Result<(), Errno> {
    if cmd.flags & HWPT_FAULT_ID_VALID == 0 {
        return Ok(());
    }

    let fault_obj = (ictx.rev.iommufd_get_object)(ictx, cmd.fault_id, Type::Fault)?;
    let fault = to::<Fault>(fault_obj);
    hwpt_fault(hwpt).store(Some(fault));
    refcount_inc(&fault.obj.users);
    (ictx.rev.iommufd_put_object)(ictx, fault_obj);
    Ok(())
}

/// `__iommu_get_iommu_dev()`: which physical IOMMU the device sits behind.
pub fn __iommu_get_iommu_dev(idev: Ptr<Device>) -> u32 {
    idev.dev.load().map_or(0, |dev| dev.iommu)
}

/// `iommufd_hw_pagetable_put()`: a device let go of the HWPT. An auto domain goes away with its
/// last device, for which the IOAS mutex must be free.
pub fn iommufd_hw_pagetable_put(ictx: Ptr<Ictx>, hwpt: Ptr<Object>) {
    if hwpt.ty == Type::HwptPaging {
        let paging = to::<HwptPaging>(hwpt);
        if paging.auto_domain.load() {
            if let Some(ioas) = paging.ioas.load() {
                lockdep_assert_not_held(&ioas.mutex);
            }
            (ictx.rev.iommufd_object_put_and_try_destroy)(ictx, hwpt);
            return;
        }
    }
    refcount_dec(&hwpt.users);
}

/// `iommufd_hwpt_invalidate()`: IOMMU_HWPT_INVALIDATE. Says, beside the answer, what stands in
/// `entry_num` when the struct could be written back.
pub fn iommufd_hwpt_invalidate(
    ucmd: &Ucmd,
    cmd: &HwptInvalidate,
) -> (Result<(), Errno>, Option<u32>) {
    hwpt_invalidate_respond(ucmd, iommufd_hwpt_invalidate_entries(ucmd, cmd))
}

/// Part of `iommufd_hwpt_invalidate()`: its end.
pub(super) fn hwpt_invalidate_respond(
    ucmd: &Ucmd,
    (ret, done_num): (Result<(), Errno>, u32),
) -> (Result<(), Errno>, Option<u32>) {
    // The number of entries that were handled, whatever the answer.
    label("out");
    match iommufd_ucmd_respond(ucmd) {
        Ok(()) => (ret, Some(done_num)),
        Err(e) => (Err(e), None),
    }
}

/// Part of `iommufd_hwpt_invalidate()`: all but the answer.
fn iommufd_hwpt_invalidate_entries(ucmd: &Ucmd, cmd: &HwptInvalidate) -> (Result<(), Errno>, u32) {
    let ictx = ucmd.ictx;
    let rev = ictx.rev;

    if let Err(e) = hwpt_invalidate_check(ictx, cmd) {
        return (Err(e), 0);
    }

    let pt_obj = match (rev.iommufd_get_object)(ictx, cmd.hwpt_id, Type::Any) {
        Ok(obj) => obj,
        Err(e) => return (Err(e), 0),
    };
    let done = match pt_obj.ty {
        Type::HwptNested => mock_domain_cache_invalidate_user(to::<HwptNested>(pt_obj), cmd),
        Type::Viommu => mock_viommu_cache_invalidate(to::<Viommu>(pt_obj), cmd),
        _ => (Err(Errno::EINVAL), 0),
    };
    (rev.iommufd_put_object)(ictx, pt_obj);
    done
}

/// Part of `iommufd_hwpt_invalidate()`: what is wrong with the struct itself.
///
/// # Errors
///
/// -EOPNOTSUPP, -EINVAL.
pub(super) fn hwpt_invalidate_check(ictx: Ptr<Ictx>, cmd: &HwptInvalidate) -> Result<(), Errno> {
    if cmd.reserved != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    if cmd.entry_num != 0 && (cmd.data_uptr == 0 || cmd.entry_len == 0) {
        return Err(Errno::EINVAL);
    }
    let entry_len = or_auto(cmd.entry_len, 0);
    if cmd.entry_num > ictx.rev.invalidate_entry_num_max
        || entry_len > ictx.rev.invalidate_entry_len_max
    {
        return Err(Errno::EINVAL);
    }
    Ok(())
}

/// The data type that stands for `AUTO` in a program.
pub fn or_auto(value: u64, auto: u64) -> u64 {
    if value == AUTO {
        auto
    } else {
        value
    }
}
