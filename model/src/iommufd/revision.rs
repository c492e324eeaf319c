//! What a revision is: one table of functions, with an entry for every text that differs between
//! two rows. The rows themselves are in `revisions.rs`.

use uapi::pick::RevisionInfo;
use uapi::program::Entry;
use uapi::Errno;

use crate::iommufd::device::{Change, Changed};
use crate::iommufd::eventq::{NewEventq, ReadOut, VeventqAlloc};
use crate::iommufd::hw_pagetable::{HwptInvalidate, UserData};
use crate::iommufd::hw_queue::HwQueueAlloc;
use crate::iommufd::io_pagetable::{Fget, Range};
use crate::iommufd::ioas::{ForgetIoas, IoasMapFile};
use crate::iommufd::main::linux_6_17::VmArea;
use crate::iommufd::main::Remove;
use crate::iommufd::objects::{
    Access, Area, AttachHandle, Device, Fault, File, Group, HwQueue, Ictx, IoPagetable, Ioas,
    IopfGroup, Object, Pages, SelftestAccess, Type, Vdevice, Viommu,
};
use crate::iommufd::selftest::pasid::PasidOp;
use crate::iommufd::ucmd::Ucmd;
use crate::iommufd::viommu::viommu_v1::ViommuVdevId;
use crate::iommufd::viommu::{VdeviceAlloc, ViommuAlloc};
use crate::iommufd::{eventq, hw_pagetable, hw_queue, ioas, selftest};
use crate::linux::device::Device as StructDevice;
use crate::linux::slab::Ptr;
use crate::linux::uaccess::UserPage;

/// An operation of a type: destroy or abort.
pub type ObjectOp = fn(Ptr<Ictx>, Ptr<Object>);
/// `iommufd_get_object()`
pub type GetObject = fn(Ptr<Ictx>, u64, Type) -> Result<Ptr<Object>, Errno>;
/// `iommufd_object_remove()`
pub type ObjectRemove = fn(Ptr<Ictx>, Option<Ptr<Object>>, u64, Remove) -> Result<(), Errno>;
/// `iommufd_viommu_find_dev()`
pub type FindDev = fn(Ptr<Viommu>, u64) -> Option<Ptr<StructDevice>>;
/// `iommufd_device_auto_get_domain()`
pub type AutoGetDomain =
    fn(Ptr<Ictx>, Ptr<Device>, u64, Ptr<Ioas>, Change) -> Result<Changed, Errno>;
/// A change of what a PASID of a mock device is attached to: the mock device's id, the PASID and
/// the page table's id.
pub type TestPasid = fn(&Ucmd, PasidOp, u64, u64, u64) -> Result<Option<u32>, Errno>;
/// `iommufd_get_group()`
pub type GetGroup = fn(Ptr<Ictx>, Ptr<StructDevice>) -> Result<Ptr<Group>, Errno>;
/// The handler of an ioctl that gives nothing out.
pub type IoctlNoId<T> = fn(&Ucmd, &T) -> Result<(), Errno>;
/// The handler of an ioctl that gives an id out, with its argument struct.
pub type Ioctl<T> = fn(&Ucmd, &T) -> Result<u32, Errno>;

/// IOMMU_IOAS_MAP_FILE, with what looks its file up.
pub type IoasMapFileIoctl = fn(&Ucmd, &IoasMapFile, Fget<'_>) -> Result<u64, Errno>;

/// `iopt_map_file_pages()`: of the file behind a descriptor, from this byte on.
pub type IoptMapFilePages =
    fn(&'static Revision, &IoPagetable, Range, (Fget<'_>, u64)) -> Result<u64, Errno>;

/// `iommufd_test_dmabuf_get()`: of so many bytes.
pub type DmabufGet = fn(u64) -> Result<Ptr<File>, Errno>;

/// `iommufd_test_dmabuf_revoke()`
pub type DmabufRevoke = fn(Fget<'_>, bool) -> Result<(), Errno>;
/// `iommufd_device_do_replace()`: gives out what the caller has to put.
pub type DoReplace = fn(Ptr<Device>, u64, Ptr<Object>) -> Result<Option<Ptr<Object>>, Errno>;
/// IOMMU_HWPT_INVALIDATE: the answer, and `entry_num` as written back.
pub type HwptInvalidateIoctl = fn(&Ucmd, &HwptInvalidate) -> (Result<(), Errno>, Option<u32>);
/// The mock driver's IOMMU_TEST_OP_DEV_CHECK_CACHE.
pub type DevCheckCache = fn(&Ucmd, u64, u64, u64) -> Result<(), Errno>;

/// An entry of `iommufd_object_ops[]`.
#[derive(Clone, Copy)]
pub struct ObjectOps {
    /// Undoes what the type's allocation did; the object is visible to nobody any more.
    pub destroy: ObjectOp,
    /// As destroy, in an unwind that already holds the type's lock.
    pub abort: Option<ObjectOp>,
    /// Lets go of what would keep a destroyer waiting (6.17+).
    pub pre_destroy: Option<ObjectOp>,
    /// The object's file, to be released before an aborted object is freed (6.17-rc7+).
    pub file_offset: Option<FileOffset>,
}

/// `iommufd_fault_alloc()`
pub type FaultAlloc = fn(&Ucmd, u64) -> Result<NewEventq, Errno>;
/// `iommufd_veventq_alloc()`
pub type VeventqAllocIoctl = fn(&Ucmd, &VeventqAlloc) -> Result<NewEventq, Errno>;
/// `iommufd_ioas_change_process()`
pub type ChangeProcess = fn(&Ucmd, u64) -> Result<(), Errno>;
/// `iommufd_hw_queue_depend()`
pub type HwQueueDepend = fn(Ptr<Ictx>, Ptr<HwQueue>, Ptr<HwQueue>) -> Result<(), Errno>;
/// `iommufd_fops_mmap()`: gives the owner, whose users the mapping holds.
pub type FopsMmap = fn(Ptr<Ictx>, &VmArea) -> Result<Ptr<Object>, Errno>;
/// `iommufd_test_trigger_iopf()`
pub type TriggerIopf = fn(&Ucmd, u64) -> Result<(), Errno>;
/// The interrupt thread of a device's driver.
pub type Interrupt = fn(&Revision, Ptr<StructDevice>) -> Result<(), Errno>;
/// `iommufd_test_trigger_vevent()`
pub type TriggerVevent = fn(&Ucmd, u64) -> Result<(), Errno>;
/// `iommufd_test_access_replace_ioas()`
pub type AccessReplaceIoas = fn(Ptr<SelftestAccess>, u64) -> Result<(), Errno>;
/// Finds the file of an object that has one: `iommufd_object_ops[].file_offset`.
pub type FileOffset = fn(Ptr<Object>) -> Option<Ptr<File>>;
/// `iommufd_fault_fops_read()`
pub type FaultRead = fn(Ptr<Fault>, u64, &UserPage) -> Result<ReadOut, Errno>;
/// What the mock driver, and any driver, does when a device is attached to a domain, or to none.
pub type Attach = fn(&Revision, Option<Ptr<Object>>, Ptr<StructDevice>) -> Result<(), Errno>;

/// A table of functions, like the driver's own `iommufd_object_ops[]`.
pub struct Revision {
    /// Name, aliases and source.
    pub info: RevisionInfo,
    /// Looks an object up.
    pub iommufd_get_object: GetObject,
    /// Counts the caller in.
    pub iommufd_lock_obj: fn(Ptr<Object>) -> bool,
    /// Counts the caller out.
    pub iommufd_put_object: fn(Ptr<Ictx>, Ptr<Object>),
    /// Takes an object out of the xarray and frees it.
    pub iommufd_object_remove: ObjectRemove,
    /// Makes a reserved object visible.
    pub iommufd_object_finalize: fn(Ptr<Ictx>, Ptr<Object>),
    /// Gives a reserved object up.
    pub iommufd_object_abort: fn(Ptr<Ictx>, Ptr<Object>),
    /// Undoes the type's allocation and gives the reserved object up.
    pub iommufd_object_abort_and_destroy: fn(Ptr<Ictx>, Ptr<Object>),
    /// Destroys an object that the kernel owns; false if somebody else uses it, which the inline
    /// caller turns into a WARN.
    pub iommufd_object_destroy_user: fn(Ptr<Ictx>, Ptr<Object>) -> bool,
    /// Drops users and destroys the object if they were the last.
    pub iommufd_object_put_and_try_destroy: fn(Ptr<Ictx>, Ptr<Object>),
    /// IOMMU_DESTROY
    pub iommufd_destroy: fn(Ptr<Ictx>, u64) -> Result<(), Errno>,
    /// The last reference of the file is gone.
    pub iommufd_fops_release: fn(Ptr<File>),
    /// How long a destroyer waits for those who are inside, in milliseconds.
    pub destroy_wait_ms: u64,
    /// Makes an IOAS visible.
    pub iommufd_ioas_finalize: fn(Ptr<Ictx>, Ptr<Object>),
    /// IOMMU_IOAS_MAP_FILE, if there is one.
    pub iommufd_ioas_map_file: Option<IoasMapFileIoctl>,
    /// What is behind the descriptor that it is given.
    pub iopt_map_file_pages: IoptMapFilePages,
    /// The last one who mapped the memory has let go of it.
    pub iopt_release_pages: fn(Ptr<Pages>),
    /// IOMMU_TEST_OP_DMABUF_GET (6.19+).
    pub iommufd_test_dmabuf_get: Option<DmabufGet>,
    /// IOMMU_TEST_OP_DMABUF_REVOKE (6.19+).
    pub iommufd_test_dmabuf_revoke: Option<DmabufRevoke>,
    /// IOMMU_IOAS_CHANGE_PROCESS, if there is such an ioctl.
    pub iommufd_ioas_change_process: Option<ChangeProcess>,
    /// What `iommufd_take_all_iova_rwsem()` does with the IOAS that it could not note.
    pub take_all_forgets: ForgetIoas,
    /// Whether `iommufd_ioas_change_process()` takes the area for memory of no file.
    pub area_is_of_no_file: fn(Ptr<Area>) -> bool,
    /// Attaches a group to a HWPT with a fault queue.
    pub iommufd_fault_domain_attach_dev: fn(Ptr<Object>, Ptr<Device>) -> Result<(), Errno>,
    /// Detaches a device, or a PASID of it, for a driver.
    pub iommufd_device_detach: fn(Ptr<Device>, u64),
    /// Detaches a device; gives out what the caller has to put.
    pub iommufd_hw_pagetable_detach: fn(Ptr<Device>, u64) -> Option<Ptr<Object>>,
    /// Attaches a device, or a PASID of it, to a HWPT.
    pub iommufd_hw_pagetable_attach: fn(Ptr<Object>, Ptr<Device>, u64) -> Result<(), Errno>,
    /// IOMMU_TEST_OP_PASID_ATTACH, _REPLACE and _DETACH, if the mock driver has them.
    pub iommufd_test_pasid: Option<TestPasid>,
    /// Attaches a group that is attached to something else.
    pub iommufd_device_do_replace: DoReplace,
    /// IOMMU_HWPT_INVALIDATE
    pub iommufd_hwpt_invalidate: HwptInvalidateIoctl,
    /// Largest `entry_len` of IOMMU_HWPT_INVALIDATE; beyond it the answer is -EINVAL.
    pub invalidate_entry_len_max: u64,
    /// Largest `entry_num` of IOMMU_HWPT_INVALIDATE; beyond it the answer is -EINVAL.
    pub invalidate_entry_num_max: u64,
    /// Flags of IOMMU_HWPT_ALLOC on an IOAS.
    pub hwpt_paging_flags: u64,
    /// Flags of IOMMU_HWPT_ALLOC on a nesting parent or a vIOMMU.
    pub hwpt_nested_flags: u64,
    /// Flags of IOMMU_GET_HW_INFO.
    pub hw_info_flags: u64,
    /// Which bits of the last word of IOMMU_GET_HW_INFO's first version must be 0: since 6.15 its
    /// first byte is `out_max_pasid_log2`.
    pub hw_info_reserved: u64,
    /// The mock driver's `domain_alloc_paging_flags`: what it says to flags and data.
    pub mock_domain_alloc_paging_flags: fn(u64, Option<UserData>) -> Result<(), Errno>,
    /// The mock driver's check of a device's cache, if it has caches.
    pub iommufd_test_dev_check_cache: Option<DevCheckCache>,
    /// IOMMU_VIOMMU_ALLOC, if there is such an ioctl.
    pub iommufd_viommu_alloc_ioctl: Option<Ioctl<ViommuAlloc>>,
    /// IOMMU_VDEVICE_ALLOC, if there is such an ioctl.
    pub iommufd_vdevice_alloc_ioctl: Option<Ioctl<VdeviceAlloc>>,
    /// Name of the field that counts those who are inside; `obj.wait_cnt` since ab6bc44159d8.
    pub shortterm_users: &'static str,
    /// sizeof(struct iommu_viommu_alloc)
    pub viommu_alloc_size: u32,
    /// IOMMU_FAULT_QUEUE_ALLOC, if there is such an ioctl.
    pub iommufd_fault_alloc: Option<FaultAlloc>,
    /// IOMMU_VEVENTQ_ALLOC, if there is such an ioctl.
    pub iommufd_veventq_alloc: Option<VeventqAllocIoctl>,
    /// IOMMU_HW_QUEUE_ALLOC, if there is such an ioctl.
    pub iommufd_hw_queue_alloc_ioctl: Option<Ioctl<HwQueueAlloc>>,
    /// Makes one HW queue depend on another.
    pub iommufd_hw_queue_depend: HwQueueDepend,
    /// mmap(2) of the iommufd file, if it can be mapped.
    pub iommufd_fops_mmap: Option<FopsMmap>,
    /// Finds a device by its virtual ID.
    pub iommufd_viommu_find_dev: FindDev,
    /// The driver's part of attaching a device.
    pub mock_domain_nop_attach: Attach,
    /// IOMMU_TEST_OP_TRIGGER_VEVENT, if the mock driver has it.
    pub iommufd_test_trigger_vevent: Option<TriggerVevent>,
    /// IOMMU_TEST_OP_ACCESS_REPLACE_IOAS, if the mock driver has it.
    pub iommufd_test_access_replace_ioas: Option<AccessReplaceIoas>,
    /// Attaches the access of a driver to an IOAS.
    pub iommufd_access_attach: fn(Ptr<Access>, u64) -> Result<(), Errno>,
    /// An access joins a table of IOVAs.
    pub iopt_add_access: fn(&IoPagetable, Ptr<Access>) -> Result<(), Errno>,
    /// Asks the drivers of the accesses of an IOAS to let go of a range.
    pub iommufd_access_notify_unmap: fn(Ptr<Ictx>, Ptr<Ioas>, u64, u64),
    /// A driver pins a range through its access.
    pub iommufd_access_pin_pages: fn(Ptr<Access>, u64, u64) -> Result<(), Errno>,
    /// A driver lets go of a range that it has pinned.
    pub iommufd_access_unpin_pages: fn(Ptr<Access>, u64, u64),
    /// A driver reads or writes through its access.
    pub iommufd_access_rw: fn(Ptr<Access>, u64, u64) -> Result<(), Errno>,
    /// `iommufd_object_ops[IOMMUFD_OBJ_ACCESS].destroy`
    pub iommufd_access_destroy_object: ObjectOp,
    /// The IOVA that a fuzzer's number stands for.
    pub iommufd_test_syz_conv_iova: fn(Ptr<Access>, u64) -> u64,
    /// The interrupt of a device whose driver reports events, if it has one.
    pub interrupt: Option<Interrupt>,
    /// What `iommufd_device_attach()` does with a HWPT that it has attached the device to.
    pub attached_to_hwpt: fn(Ptr<Object>),
    /// IOMMU_TEST_OP_TRIGGER_IOPF, if the mock driver has it.
    pub iommufd_test_trigger_iopf: Option<TriggerIopf>,
    /// A device that is attached to the HWPT has faulted.
    pub iommufd_fault_iopf_handler: fn(Ptr<Object>, Ptr<IopfGroup>),
    /// Answers what is left of the faults of a group that was detached.
    pub iommufd_auto_response_faults: fn(Ptr<Fault>, Ptr<AttachHandle>),
    /// read(2) of a fault queue's file.
    pub iommufd_fault_fops_read: FaultRead,
    /// poll(2) of a fault queue's file: whether a fault waits to be read.
    pub iommufd_fault_fops_poll: fn(Ptr<Fault>) -> bool,
    /// `iommufd_object_ops[IOMMUFD_OBJ_FAULT].destroy`
    pub iommufd_fault_destroy: ObjectOp,
    /// Reports an event of a device to user space.
    pub iommufd_viommu_report_event: fn(Ptr<Viommu>, u64, u64) -> Result<(), Errno>,
    /// `iommufd_object_ops[IOMMUFD_OBJ_DEVICE].pre_destroy`
    pub iommufd_device_pre_destroy: Option<ObjectOp>,
    /// `iommufd_object_ops[IOMMUFD_OBJ_VDEVICE].abort`
    pub iommufd_vdevice_abort: Option<ObjectOp>,
    /// `iommufd_object_ops[].file_offset` of the types with a file.
    pub file_offset: Option<FileOffset>,
    /// IOMMU_VIOMMU_SET_VDEV_ID, if there is such an ioctl.
    pub iommufd_viommu_set_vdev_id: Option<IoctlNoId<ViommuVdevId>>,
    /// IOMMU_VIOMMU_UNSET_VDEV_ID, if there is such an ioctl.
    pub iommufd_viommu_unset_vdev_id: Option<IoctlNoId<ViommuVdevId>>,
    /// The mock driver's part of an invalidation, for one entry.
    pub mock_viommu_invalidate_one: fn(Ptr<Viommu>, Entry) -> Result<(), Errno>,
    /// `viommu->ops->vdevice_init` (6.17+), if the driver has it.
    pub vdevice_init: Option<fn(Ptr<Vdevice>)>,
    /// The group of a device.
    pub iommufd_get_group: GetGroup,
    /// The last device of a group is gone.
    pub iommufd_group_release: fn(Ptr<Group>),
    /// Attaches a device to an IOAS.
    pub iommufd_device_auto_get_domain: AutoGetDomain,
    /// What `iommufd_device_unbind()` does with the device's vDEVICE first, if anything.
    pub iommufd_device_unbind_vdev: Option<fn(Ptr<Ictx>, Ptr<Device>)>,
    /// `iommufd_object_ops[IOMMUFD_OBJ_DEVICE].destroy`
    pub iommufd_device_destroy: ObjectOp,
    /// `iommufd_object_ops[IOMMUFD_OBJ_VIOMMU].destroy`
    pub iommufd_viommu_destroy: ObjectOp,
    /// `iommufd_object_ops[IOMMUFD_OBJ_VDEVICE].destroy`
    pub iommufd_vdevice_destroy: ObjectOp,
}

impl Revision {
    /// `iommufd_object_ops[]`
    pub fn iommufd_object_ops(&self, ty: Type) -> ObjectOps {
        let (destroy, abort): (ObjectOp, Option<ObjectOp>) = match ty {
            Type::Device => (self.iommufd_device_destroy, None),
            Type::HwptPaging => (
                hw_pagetable::iommufd_hwpt_paging_destroy,
                Some(hw_pagetable::iommufd_hwpt_paging_abort),
            ),
            Type::HwptNested => (
                hw_pagetable::iommufd_hwpt_nested_destroy,
                Some(hw_pagetable::iommufd_hwpt_nested_abort),
            ),
            Type::Selftest => (selftest::iommufd_selftest_destroy, None),
            Type::Viommu => (self.iommufd_viommu_destroy, None),
            Type::Vdevice => (self.iommufd_vdevice_destroy, self.iommufd_vdevice_abort),
            Type::Fault => (self.iommufd_fault_destroy, None),
            Type::Veventq => (eventq::iommufd_veventq_destroy, Some(eventq::iommufd_veventq_abort)),
            Type::HwQueue => (hw_queue::iommufd_hw_queue_destroy, None),
            Type::Access => (self.iommufd_access_destroy_object, None),
            // An object is never of type ANY.
            Type::Ioas | Type::Any => (ioas::iommufd_ioas_destroy, None),
        };
        let pre_destroy = if ty == Type::Device { self.iommufd_device_pre_destroy } else { None };
        let has_file = matches!(ty, Type::Fault | Type::Veventq);
        let file_offset = if has_file { self.file_offset } else { None };
        ObjectOps { destroy, abort, pre_destroy, file_offset }
    }
}
