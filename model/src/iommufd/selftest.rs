//! drivers/iommu/iommufd/selftest.c: the mock driver, as user space can reach it.
//!
//! A mock device has caches that an invalidation through a vIOMMU clears, so that a test can see
//! which device an entry reached.
//!
//! Source: reference/iommufd.md 2.4, 2.9, 5.1.

pub mod access;
pub mod dmabuf;
pub mod into_vdevice;
pub mod irq_stays_hooked;
pub mod linux_6_15;
pub mod linux_6_17;
pub mod linux_7_3;
pub mod pasid;
pub mod viommu_v1;
pub mod viommu_v2;
pub mod without_cf7c278;
pub mod without_vdevs_lock;

use uapi::call::{
    AUTO, HWPT_ALLOC_DIRTY_TRACKING, HWPT_ALLOC_NEST_PARENT, HWPT_DATA_SELFTEST,
    HWPT_FAULT_ID_VALID, HW_INFO_TYPE_SELFTEST, INVALIDATE_DATA_SELFTEST, VIOMMU_TYPE_SELFTEST,
};
use uapi::program::Entry;
use uapi::Errno;

use crate::iommufd::device::{
    iommufd_device_attach, iommufd_device_bind, iommufd_device_replace, iommufd_device_unbind,
};
use crate::iommufd::hw_pagetable::{or_auto, HwptInvalidate, UserData};
use crate::iommufd::invariants::{check_hw_queues, check_owned, check_veventqs};
use crate::iommufd::main::_iommufd_object_alloc;
use crate::iommufd::objects::{
    obj_of, to, Device, HwptNested, Ictx, Object, Selftest, Type, Viommu, HW_QUEUE_MAX,
    IOMMU_NO_PASID,
};
use crate::iommufd::revision::Revision;
use crate::iommufd::ucmd::{iommufd_ucmd_respond, Ucmd};
use crate::linux::device::{put_device, Device as StructDevice};
use crate::linux::iommu_domain::IommuDomain;
use crate::linux::list::ListHead;
use crate::linux::mutex::Mutex;
use crate::linux::rwsem::Rwsem;
use crate::linux::slab::{kcalloc, kfree, kzalloc, Owner, Plain, Ptr, Struct};
use crate::linux::uaccess::copy_from_user;
use crate::linux::warn::{label, warn_on};
use crate::linux::xarray::{xa_lock_index, xa_unlock_index, XArray, XaFlags};

/// MOCK_DEV_CACHE_NUM - 1, IOMMU_TEST_DEV_CACHE_MAX
pub const CACHE_ID_MAX: u32 = 3;
/// IOMMU_TEST_INVALIDATE_FLAG_ALL
pub const INVALIDATE_FLAG_ALL: u32 = 1;
/// Bytes of an entry for a vIOMMU: flags, vdev_id and cache_id.
pub const VIOMMU_ENTRY_LEN: u64 = 12;
/// Bytes of an entry for a nested HWPT: flags and iotlb_id.
pub const HWPT_ENTRY_LEN: u64 = 8;
/// Bytes of the data of a nested HWPT.
pub const HWPT_DATA_LEN: u64 = 4;
/// Bytes of zeroed memory that the entries of a program lie in: an array that is longer runs into
/// an address without memory.
pub const ENTRIES_MEMORY: u64 = 1 << 20;

/// `mock_domain_alloc_paging_flags()`: what the driver says to the flags and data of a paging
/// HWPT. It takes no data.
///
/// # Errors
///
/// -EOPNOTSUPP
pub fn mock_domain_alloc_paging_flags(
    flags: u64,
    user_data: Option<UserData>,
) -> Result<(), Errno> {
    let known = HWPT_ALLOC_NEST_PARENT | HWPT_ALLOC_DIRTY_TRACKING;
    // iommufd keeps FAULT_ID_VALID to itself.
    if user_data.is_some() || flags & !(known | HWPT_FAULT_ID_VALID) != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    Ok(())
}

/// IOMMU_HW_INFO_SELFTEST_REGVAL
const HW_INFO_SELFTEST_REGVAL: u32 = 0xdead_beef;

/// struct iommu_test_hw_info
pub struct TestHwInfo {
    /// 0
    pub flags: u32,
    /// A value that a test can recognise.
    pub test_reg: u32,
}

impl Struct for TestHwInfo {
    const NAME: &'static str = "info";
}

/// `mock_domain_hw_info()`: data for user space, and its type.
///
/// # Errors
///
/// -ENOMEM
pub fn mock_domain_hw_info() -> Result<(Ptr<TestHwInfo>, u64), Errno> {
    let info = kzalloc(|_| TestHwInfo { flags: 0, test_reg: HW_INFO_SELFTEST_REGVAL })?;
    Ok((info, HW_INFO_TYPE_SELFTEST))
}

/// `mock_viommu_alloc()`: the driver's part of IOMMU_VIOMMU_ALLOC.
///
/// # Errors
///
/// -EOPNOTSUPP for another type, -ENOMEM.
pub fn mock_viommu_alloc(ictx: Ptr<Ictx>, ty: u64) -> Result<Ptr<Viommu>, Errno> {
    if ty != VIOMMU_TYPE_SELFTEST {
        return Err(Errno::EOPNOTSUPP);
    }
    _iommufd_object_alloc(ictx, Type::Viommu, viommu_fields)
}

/// A vIOMMU object, zeroed and initialised.
pub fn viommu_fields(owner: Owner, obj: Object) -> Viommu {
    Viommu {
        obj,
        ictx: Plain::once(owner.field("ictx"), None),
        hwpt: Plain::once(owner.field("hwpt"), None),
        iommu_dev: Plain::once(owner.field("iommu_dev"), 0),
        vdevs: XArray::new(owner.field("vdevs"), XaFlags::Plain),
        vdev_ids: XArray::new(owner.field("vdev_ids"), XaFlags::Plain),
        vdev_ids_rwsem: Rwsem::new(owner.field("vdev_ids_rwsem")),
        veventqs_rwsem: Rwsem::with_check(owner.field("veventqs_rwsem"), check_veventqs),
        veventqs: ListHead::new(owner.field("veventqs")),
        queue_mutex: Mutex::with_check(owner.field("queue_mutex"), check_hw_queues),
        hw_queues: HW_QUEUES.map(|path| Plain::new(owner.field(path), None)),
        mmap_offset: Plain::new(owner.field("mmap_offset"), None),
    }
}

const HW_QUEUES: [&str; HW_QUEUE_MAX] = ["hw_queue[0]", "hw_queue[1]"];

/// `mock_domain_nop_attach()`: up to 6.14 a device can be attached to any domain.
///
/// # Errors
///
/// None.
pub fn mock_domain_nop_attach(
    _rev: &Revision,
    _hwpt: Option<Ptr<Object>>,
    _dev: Ptr<StructDevice>,
) -> Result<(), Errno> {
    Ok(())
}

/// `mock_domain_alloc_nested()`: what the driver says to the data of a nested HWPT.
///
/// # Errors
///
/// -EOPNOTSUPP for another type, -EINVAL for another length, -EFAULT, -ENOMEM.
pub fn mock_domain_alloc_nested(data: UserData) -> Result<(), Errno> {
    if data.ty != HWPT_DATA_SELFTEST {
        return Err(Errno::EOPNOTSUPP);
    }
    if data.len != HWPT_DATA_LEN {
        return Err(Errno::EINVAL);
    }
    copy_from_user(data.bad_uptr)
}

/// `mock_domain_free()`: whoever frees a page table has unmapped everything.
pub fn mock_domain_free(domain: &IommuDomain) {
    warn_on(!domain.peek_empty());
}

/// The kernel's copy of an array of entries.
struct InvalidateCmds;

impl Struct for InvalidateCmds {
    const NAME: &'static str = "cmds";
}

/// `iommu_copy_struct_from_full_user_array()`: checks and copies an array of entries. What a
/// short entry lacks reads as 0, what a long one has more must be 0.
///
/// # Errors
///
/// -EINVAL for another type, -EFAULT, -E2BIG; then nothing was executed.
fn iommu_copy_struct_from_full_user_array(cmd: &HwptInvalidate) -> Result<Vec<Entry>, Errno> {
    if or_auto(cmd.data_type, INVALIDATE_DATA_SELFTEST) != INVALIDATE_DATA_SELFTEST {
        return Err(Errno::EINVAL);
    }
    let len = or_auto(cmd.entry_len, VIOMMU_ENTRY_LEN);
    // An address that is not the array's own is a bad one.
    copy_from_user(cmd.data_uptr != AUTO || len.saturating_mul(cmd.entry_num) > ENTRIES_MEMORY)?;
    let entries = given_entries(cmd);
    if len > VIOMMU_ENTRY_LEN && entries.clone().any(|entry| entry.tail != 0) {
        return Err(Errno::E2BIG);
    }
    let word = |value: u32, offset: u64| value & mask(len.saturating_sub(offset));
    Ok(entries
        .map(|entry| Entry {
            flags: word(entry.flags, 0),
            vdev_id: word(entry.vdev_id, 4),
            cache_id: word(entry.cache_id, 8),
            tail: 0,
        })
        .collect())
}

/// The entries that `entry_num` counts: what stands behind those of the program reads as 0.
fn given_entries(cmd: &HwptInvalidate) -> impl Iterator<Item = Entry> + Clone + '_ {
    let zeroes = std::iter::repeat(Entry::default());
    cmd.entries.iter().copied().chain(zeroes).take(cmd.entry_num as usize)
}

/// The bits of a little-endian word of which this many bytes are there.
fn mask(bytes: u64) -> u32 {
    match bytes {
        0 => 0,
        1..=3 => (1 << (8 * bytes)) - 1,
        _ => u32::MAX,
    }
}

/// `mock_viommu_cache_invalidate()`: clears caches of the devices that the entries name. The
/// whole array is copied first, since nothing can be copied under the spinlock; each device is
/// found and used under xa_lock(vdevs).
pub fn mock_viommu_cache_invalidate(
    viommu: Ptr<Viommu>,
    cmd: &HwptInvalidate,
) -> (Result<(), Errno>, u32) {
    let data_type = INVALIDATE_DATA_SELFTEST;

    if cmd.entry_num == 0 {
        let right = or_auto(cmd.data_type, data_type) == data_type;
        return (if right { Ok(()) } else { Err(Errno::EINVAL) }, 0);
    }

    // On failure the driver has not written the number of handled entries yet.
    let cmds = match kcalloc(cmd.entry_num, VIOMMU_ENTRY_LEN, |_| InvalidateCmds) {
        Ok(cmds) => cmds,
        Err(e) => return (Err(e), cmd.entry_num as u32),
    };
    let (mut processed, mut ret) = (0, Ok(()));
    let invalidate_one = viommu.ictx.peek().map(|ictx| ictx.rev.mock_viommu_invalidate_one);
    match iommu_copy_struct_from_full_user_array(cmd) {
        Err(e) => ret = Err(e),
        Ok(entries) => {
            for entry in entries {
                ret = invalidate_one.map_or(Err(Errno::EINVAL), |f| f(viommu, entry));
                if ret.is_err() {
                    break;
                }
                processed += 1;
            }
        }
    }
    label("out");
    kfree(cmds);
    (ret, processed)
}

/// `mock_viommu_cache_invalidate()` of September 2026: the first entry of what is left, without an
/// array of its own. Gives the number of handled entries.
///
/// # Errors
///
/// As of the whole array.
pub fn mock_viommu_cache_invalidate_first(
    viommu: Ptr<Viommu>,
    left: &HwptInvalidate,
) -> Result<u32, Errno> {
    let data_type = INVALIDATE_DATA_SELFTEST;

    if left.entry_num == 0 {
        let right = or_auto(left.data_type, data_type) == data_type;
        return if right { Ok(0) } else { Err(Errno::EINVAL) };
    }

    // iommu_copy_struct_from_user_array()
    let first = HwptInvalidate {
        entry_num: 1,
        entries: left.entries.iter().take(1).copied().collect(),
        ..left.clone()
    };
    for entry in iommu_copy_struct_from_full_user_array(&first)? {
        mock_viommu_invalidate_one(viommu, entry)?;
    }
    Ok(1)
}

/// Part of `mock_viommu_cache_invalidate()`: what is wrong with one entry.
pub(super) fn mock_viommu_check_entry(entry: Entry) -> Result<(), Errno> {
    if entry.flags & !INVALIDATE_FLAG_ALL != 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    if entry.cache_id > CACHE_ID_MAX {
        return Err(Errno::EINVAL);
    }
    Ok(())
}

/// Part of `mock_viommu_cache_invalidate()`: clears caches of the device that was found.
pub(super) fn mock_dev_invalidate(viommu: Ptr<Viommu>, dev: Ptr<StructDevice>, entry: Entry) {
    check_owned(viommu, dev);
    if entry.flags & INVALIDATE_FLAG_ALL != 0 {
        for cache in &dev.cache {
            cache.store(0);
        }
    } else {
        dev.cache[entry.cache_id as usize].store(0);
    }
}

/// Part of `mock_viommu_cache_invalidate()`: one entry.
pub fn mock_viommu_invalidate_one(viommu: Ptr<Viommu>, entry: Entry) -> Result<(), Errno> {
    mock_viommu_check_entry(entry)?;

    let vdev_id = u64::from(entry.vdev_id);
    xa_lock_index(&viommu.vdevs, vdev_id);
    let find_dev = viommu.ictx.peek().map(|ictx| ictx.rev.iommufd_viommu_find_dev);
    let Some(dev) = find_dev.and_then(|find_dev| find_dev(viommu, vdev_id)) else {
        xa_unlock_index(&viommu.vdevs, vdev_id);
        return Err(Errno::EINVAL);
    };
    mock_dev_invalidate(viommu, dev, entry);
    xa_unlock_index(&viommu.vdevs, vdev_id);
    Ok(())
}

/// `mock_domain_cache_invalidate_user()`: clears IOTLB entries of a nested HWPT. The per-entry
/// helper takes exactly the driver's length.
pub fn mock_domain_cache_invalidate_user(
    hwpt: Ptr<HwptNested>,
    cmd: &HwptInvalidate,
) -> (Result<(), Errno>, u32) {
    let data_type = INVALIDATE_DATA_SELFTEST;

    if or_auto(cmd.data_type, data_type) != data_type
        || (cmd.entry_num != 0 && or_auto(cmd.entry_len, HWPT_ENTRY_LEN) != HWPT_ENTRY_LEN)
    {
        return (Err(Errno::EINVAL), 0);
    }
    let mut processed = 0;
    for entry in given_entries(cmd) {
        let behind = (u64::from(processed) + 1) * HWPT_ENTRY_LEN > ENTRIES_MEMORY;
        if let Err(e) = copy_from_user(cmd.data_uptr != AUTO || behind) {
            return (Err(e), processed);
        }
        if entry.flags & !INVALIDATE_FLAG_ALL != 0 {
            return (Err(Errno::EOPNOTSUPP), processed);
        }
        if entry.cache_id > CACHE_ID_MAX {
            return (Err(Errno::EINVAL), processed);
        }
        if entry.flags & INVALIDATE_FLAG_ALL != 0 {
            for iotlb in &hwpt.iotlb {
                iotlb.store(0);
            }
        } else {
            hwpt.iotlb[entry.cache_id as usize].store(0);
        }
        processed += 1;
    }
    (Ok(()), processed)
}

/// What IOMMU_TEST_OP_MOCK_DOMAIN gives out.
pub struct MockDomain {
    /// The selftest object.
    pub sobj_id: u32,
    /// The HWPT that the device is attached to.
    pub hwpt_id: u32,
    /// The device object.
    pub idev_id: u32,
    /// The device object itself, which the driver holds.
    pub idev: Ptr<Device>,
}

/// `iommufd_test_mock_domain()`: makes a mock device, binds and attaches it.
///
/// # Errors
///
/// What the parts answer.
pub fn iommufd_test_mock_domain(
    ucmd: &Ucmd,
    pt_id: u64,
    mock_dev_create: impl FnOnce() -> Result<Ptr<StructDevice>, Errno>,
) -> Result<MockDomain, Errno> {
    let ictx = ucmd.ictx;
    let sobj = _iommufd_object_alloc(ictx, Type::Selftest, |owner, obj| Selftest {
        obj,
        idev: Plain::once(owner.field("idev.idev"), None),
        mock_dev: Plain::once(owner.field("idev.mock_dev"), None),
    })?;

    let mock_dev = match mock_dev_create() {
        Ok(mock_dev) => mock_dev,
        Err(e) => {
            label("out_sobj");
            (ictx.rev.iommufd_object_abort)(ictx, obj_of(sobj));
            return Err(e);
        }
    };
    sobj.mock_dev.store(Some(mock_dev));

    let (idev, idev_id) = match iommufd_device_bind(ictx, mock_dev) {
        Ok(bound) => bound,
        Err(e) => {
            label("out_mdev");
            put_device(mock_dev);
            (ictx.rev.iommufd_object_abort)(ictx, obj_of(sobj));
            return Err(e);
        }
    };
    sobj.idev.store(Some(idev));

    let attached = iommufd_device_attach(idev, IOMMU_NO_PASID, pt_id);
    let hwpt_id = match attached {
        Ok(hwpt_id) => hwpt_id,
        Err(e) => {
            label("out_unbind");
            iommufd_device_unbind(idev);
            put_device(mock_dev);
            (ictx.rev.iommufd_object_abort)(ictx, obj_of(sobj));
            return Err(e);
        }
    };

    let sobj_id = sobj.obj.id.load();
    if let Err(e) = iommufd_ucmd_respond(ucmd) {
        label("out_detach");
        (ictx.rev.iommufd_device_detach)(idev, IOMMU_NO_PASID);
        iommufd_device_unbind(idev);
        put_device(mock_dev);
        (ictx.rev.iommufd_object_abort)(ictx, obj_of(sobj));
        return Err(e);
    }
    (ictx.rev.iommufd_object_finalize)(ictx, obj_of(sobj));
    Ok(MockDomain { sobj_id, hwpt_id, idev_id, idev })
}

/// `iommufd_test_mock_domain_replace()`: attaches the mock device to something else. Gives the id
/// of the HWPT out. An answer that cannot be copied out does not undo it.
///
/// # Errors
///
/// -ENOENT for an unknown mock device, and as `iommufd_device_replace()`.
pub fn iommufd_test_mock_domain_replace(
    ucmd: &Ucmd,
    device_id: u64,
    pt_id: u64,
) -> Result<u32, Errno> {
    let rev = ucmd.ictx.rev;
    // The selftest object and not the device: holding it keeps the device attached.
    let dev_obj = (rev.iommufd_get_object)(ucmd.ictx, device_id, Type::Selftest)?;
    let sobj = to::<Selftest>(dev_obj);

    let ret = match sobj.idev.load() {
        Some(idev) => iommufd_device_replace(idev, IOMMU_NO_PASID, pt_id)
            .and_then(|id| iommufd_ucmd_respond(ucmd).map(|()| id)),
        None => Err(Errno::EINVAL),
    };
    label("out_dev_obj");
    (rev.iommufd_put_object)(ucmd.ictx, dev_obj);
    ret
}

/// `iommufd_selftest_destroy()`: the mock device goes away.
pub fn iommufd_selftest_destroy(ictx: Ptr<Ictx>, obj: Ptr<Object>) {
    let sobj = to::<Selftest>(obj);

    if let Some(idev) = sobj.idev.load() {
        (ictx.rev.iommufd_device_detach)(idev, IOMMU_NO_PASID);
        iommufd_device_unbind(idev);
    }
    if let Some(mock_dev) = sobj.mock_dev.load() {
        put_device(mock_dev);
    }
}

/// `iommufd_test_dev_check_cache()`: compares one cache of a device.
///
/// # Errors
///
/// -ENOENT for an unknown device, -EINVAL for another value or an unknown cache.
pub fn iommufd_test_dev_check_cache(
    ucmd: &Ucmd,
    idev_id: u64,
    cache_id: u64,
    value: u64,
) -> Result<(), Errno> {
    let rev = ucmd.ictx.rev;
    let idev_obj = (rev.iommufd_get_object)(ucmd.ictx, idev_id, Type::Device)?;
    let idev = to::<Device>(idev_obj);

    let found = match (idev.dev.load(), u32::try_from(cache_id)) {
        (Some(dev), Ok(id)) if id <= CACHE_ID_MAX => Some(dev.cache[id as usize].load()),
        _ => None,
    };
    let ret = if found.map(u64::from) == Some(value) { Ok(()) } else { Err(Errno::EINVAL) };
    label("out_put");
    (rev.iommufd_put_object)(ucmd.ictx, idev_obj);
    ret
}

/// `iommufd_test_md_check_iotlb()`: compares one entry of a nested HWPT.
///
/// # Errors
///
/// -ENOENT for an unknown nested HWPT, -EINVAL for another value or an unknown entry.
pub fn iommufd_test_md_check_iotlb(
    ucmd: &Ucmd,
    mockpt_id: u64,
    iotlb_id: u64,
    iotlb: u64,
) -> Result<(), Errno> {
    let rev = ucmd.ictx.rev;
    // get_md_pagetable_nested()
    let hwpt_obj = (rev.iommufd_get_object)(ucmd.ictx, mockpt_id, Type::HwptNested)?;
    let hwpt = to::<HwptNested>(hwpt_obj);

    let found = match u32::try_from(iotlb_id) {
        Ok(id) if id <= CACHE_ID_MAX => Some(hwpt.iotlb[id as usize].load()),
        _ => None,
    };
    let ret = if found.map(u64::from) == Some(iotlb) { Ok(()) } else { Err(Errno::EINVAL) };
    (rev.iommufd_put_object)(ucmd.ictx, hwpt_obj);
    ret
}
