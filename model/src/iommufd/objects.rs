//! The structs, and who holds which reference: the ledger.
//!
//! `users` starts at 1, which belongs to the slot in `ictx->objects`. Beyond it
//! (reference/iommufd.md 1.7):
//!
//! | object | taken by | dropped by |
//! |---|---|---|
//! | IOAS | each HWPT_PAGING on it: `iommufd_hwpt_paging_alloc` | `iommufd_hwpt_paging_destroy` |
//! | HWPT_PAGING | each attached device: `iommufd_hw_pagetable_attach` | `iommufd_hw_pagetable_put` |
//! | | each nested HWPT made directly on it: `iommufd_hwpt_nested_alloc` | `iommufd_hwpt_nested_destroy` |
//! | | each vIOMMU: `iommufd_viommu_alloc_ioctl` | `iommufd_viommu_destroy` |
//! | HWPT_NESTED | each attached device: `iommufd_hw_pagetable_attach` | `iommufd_hw_pagetable_put` |
//! | DEVICE | its driver: `iommufd_device_bind` | `iommufd_device_unbind` |
//! | | being attached: `iommufd_device_attach` | `iommufd_device_detach` |
//! | | its vDEVICE (v3 to v5 of the series): `iommufd_vdevice_alloc_ioctl` | `iommufd_vdevice_destroy` |
//! | VIOMMU | each vDEVICE: `iommufd_vdevice_alloc_ioctl` | `iommufd_vdevice_destroy` |
//! | | each nested HWPT made on it: `iommufd_viommu_alloc_hwpt_nested` | `iommufd_hwpt_nested_destroy` |
//! | | each event queue and HW queue of it, each mapping | their destroy, `iommufd_fops_vma_close` |
//! | DEVICE | 6.17+: its vDEVICE, with `wait_cnt`: `iommufd_vdevice_alloc_ioctl` | `iommufd_vdevice_destroy` |
//! | FAULT | its file; each HWPT that uses it | `iommufd_eventq_fops_release`; the HWPT's destroy |
//! | VEVENTQ | its file: `iommufd_eventq_init` | `iommufd_eventq_fops_release` |
//! | HW_QUEUE | the queue that depends on it: `iommufd_hw_queue_depend` | `iommufd_hw_queue_undepend` |
//! | ACCESS | its creator: `iommufd_access_create_internal` | `iommufd_access_destroy_internal` |
//! | IOAS | each attached access: `iommufd_access_change_ioas` | the same |
//! | any | `iommufd_get_object`, together with `shortterm_users` | `iommufd_put_object` |
//!
//! Outside iommufd: a vDEVICE holds its `struct device` (`get_device`), a bound device holds its
//! group (`iommufd_get_group`), its DMA ownership and, unless it is the mock driver's, the iommufd
//! file. `invariants.rs` checks all of this at quiescence.

use uapi::trace::Val;

use crate::iommufd::invariants::{check_published, check_table};
use crate::iommufd::io_pagetable::Memory;
use crate::iommufd::revision::Revision;
use crate::linux::device::Device as StructDevice;
use crate::linux::dma_buf;
use crate::linux::iommu_domain::IommuDomain;
use crate::linux::list::ListHead;
use crate::linux::maple_tree::MapleTree;
use crate::linux::mutex::Mutex;
use crate::linux::refcount::Refcount;
use crate::linux::rwsem::Rwsem;
use crate::linux::slab::{container_of, Owner, Plain, Ptr, Struct, Value};
use crate::linux::spinlock::Spinlock;
use crate::linux::wait::WaitQueue;
use crate::linux::xarray::{XArray, XaFlags};
use crate::sync::Cell;

/// enum iommufd_object_type
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs)] // the kernel's names without their IOMMUFD_OBJ_ prefix
pub enum Type {
    Any,
    Access,
    Device,
    Fault,
    HwptPaging,
    HwptNested,
    HwQueue,
    Ioas,
    Selftest,
    Vdevice,
    Veventq,
    Viommu,
}

/// struct iommufd_object
pub struct Object {
    /// How many callers are inside, plus 1 for the slot; 0: nobody comes in any more. Called
    /// `wait_cnt` since ab6bc44159d8 (6.17).
    pub shortterm_users: Refcount,
    /// Read-held by those who are inside, write-held where the kernel destroys an object of its
    /// own. Only the core of 6.2 to 6.6 uses it, and leaves `shortterm_users` alone.
    pub destroy_rwsem: Rwsem,
    /// How many own the object, for long or short.
    pub users: Refcount,
    /// What it is. Constant from the allocation on.
    pub ty: Type,
    /// Its index in `ictx->objects`.
    pub id: Plain<u32>,
    /// The context. Only texts before bd7a282650b8 read it; the others are handed `ictx`.
    pub ictx: Plain<Option<Ptr<Ictx>>>,
}

impl Object {
    /// A new object: one user and one short-term user, both the slot's.
    pub fn new(owner: Owner, ty: Type, rev: &Revision) -> Object {
        Object {
            shortterm_users: Refcount::new(owner.field(rev.shortterm_users), 1),
            destroy_rwsem: Rwsem::with_handover(owner.field("obj.destroy_rwsem")),
            users: Refcount::new(owner.field("obj.users"), 1),
            ty,
            id: Plain::new(owner.field("obj.id"), 0),
            ictx: Plain::new(owner.field("obj.ictx"), None),
        }
    }
}

/// A struct that begins with a `struct iommufd_object`.
pub trait HasObject: Struct {
    /// `&x->obj`
    fn obj(&self) -> &Object;
}

/// `&x->obj` as a pointer.
pub fn obj_of<T: HasObject>(ptr: Ptr<T>) -> Ptr<Object> {
    ptr.project(T::obj)
}

/// container_of() for an object whose type was checked.
pub fn to<T: HasObject>(obj: Ptr<Object>) -> Ptr<T> {
    container_of::<T, Object>(obj).expect("obj.ty names the struct around it")
}

macro_rules! has_object {
    ($($t:ident = $name:literal),* $(,)?) => {
        $(impl Struct for $t { const NAME: &'static str = $name; }
          impl HasObject for $t { fn obj(&self) -> &Object { &self.obj } })*
    };
}

has_object! {
    Ioas = "ioas", HwptPaging = "hwpt_paging", HwptNested = "hwpt_nested", Device = "idev",
    Viommu = "viommu", Vdevice = "vdevice", Selftest = "selftest_obj", Fault = "fault",
    Veventq = "veventq", HwQueue = "hw_queue", Access = "access",
}

/// struct file of an iommufd, of an event queue or of an access, as far as its life goes.
pub struct File {
    /// References: the descriptor, calls that are inside, bound devices.
    pub f_count: Refcount,
    /// `file->private_data` of an iommufd.
    pub ictx: Plain<Option<Ptr<Ictx>>>,
    /// `file->private_data` of an event queue's file: the FAULT or VEVENTQ object.
    pub eventq: Plain<Option<Ptr<Object>>>,
    /// `file->private_data` of a mock access's file.
    pub staccess: Plain<Option<Ptr<SelftestAccess>>>,
    /// Whether it is a file of memfd_create(). Constant.
    pub is_memfd: bool,
    /// `file->private_data` of the file of a dma-buf.
    pub dmabuf: Plain<Option<Ptr<DmaBuf>>>,
}

impl File {
    /// A file with one reference and nothing behind it.
    pub fn new(owner: Owner) -> File {
        File {
            f_count: Refcount::new(owner.field("f_count"), 1),
            ictx: Plain::new(owner.field("private_data"), None),
            eventq: Plain::new(owner.field("private_data"), None),
            staccess: Plain::new(owner.field("private_data"), None),
            is_memfd: false,
            dmabuf: Plain::new(owner.field("private_data"), None),
        }
    }

    /// A file of memfd_create(), which has memory and nothing else.
    pub fn memfd(owner: Owner) -> File {
        File { is_memfd: true, ..File::new(owner) }
    }
}

impl Struct for File {
    const NAME: &'static str = "file";
}

/// struct iommufd_ctx
pub struct Ictx {
    /// The row that this kernel is. A constant of the execution, no field of the C struct.
    pub rev: &'static Revision,
    /// The file that it belongs to.
    pub file: Plain<Option<Ptr<File>>>,
    /// Objects by id; XA_FLAGS_ALLOC1, so the first id is 1 and the lowest free one is next.
    pub objects: XArray<Object>,
    /// Groups by iommu group number.
    pub groups: XArray<Group>,
    /// Where a destroyer waits for `shortterm_users` to become 0.
    pub destroy_wait: WaitQueue,
    /// What can be mapped, by offset in pages (6.17+).
    pub mt_mmap: MapleTree<Mmap>,
    /// Read-held where an IOAS becomes visible, write-held while all of them are taken.
    pub ioas_creation_lock: Rwsem,
}

impl Struct for Ictx {
    const NAME: &'static str = "ictx";
}

impl Ictx {
    /// A context without objects.
    pub fn new(owner: Owner, rev: &'static Revision) -> Ictx {
        Ictx {
            rev,
            file: Plain::new(owner.field("file"), None),
            objects: XArray::with_check(owner.field("objects"), XaFlags::Alloc1, check_published),
            groups: XArray::new(owner.field("groups"), XaFlags::Plain),
            destroy_wait: WaitQueue::new(owner.field("destroy_wait")),
            mt_mmap: MapleTree::new(owner.field("mt_mmap")),
            ioas_creation_lock: Rwsem::new(owner.field("ioas_creation_lock")),
        }
    }
}

/// struct iopt_area: a range of IOVAs that is mapped.
pub struct Area {
    /// First IOVA. Constant from the moment that others can find it.
    pub iova: Plain<u64>,
    /// Bytes, at least 1. Constant; the last byte is no IOVA beyond 64 bits.
    pub length: u64,
    /// Where its memory begins within a page, in bytes. Constant.
    pub page_offset: u64,
    /// What it maps: what `area->pages` will be. Constant.
    pub of: Ptr<Pages>,
    /// `area->pages`: before it is set, the range is only reserved.
    pub pages: Plain<Option<Ptr<Pages>>>,
    /// How many objects forbid to unmap it. Only texts since 6.17 raise it.
    pub num_locks: Plain<u32>,
    /// How many pins there are; who holds `iova_rwsem` for writing needs no other lock to read it.
    pub num_accesses: Plain<u32>,
    /// Whether it is being unmapped, so that nobody may pin it.
    pub prevent_access: Plain<bool>,
}

impl Area {
    /// `iopt_area_last_iova()`
    pub fn last(&self) -> u64 {
        self.iova.peek() + (self.length - 1)
    }
}

impl Struct for Area {
    const NAME: &'static str = "iopt_area";
}

/// struct iopt_pages: memory that can be mapped. Each map makes its own, so it has no kref.
pub struct Pages {
    /// The row that this kernel is. A constant of the execution, no field of the C struct.
    pub rev: &'static Revision,
    /// Protects what follows, and `num_locks` and `num_accesses` of the area.
    pub mutex: Mutex,
    /// What it is. Constant.
    pub memory: Memory,
    /// What is pinned of it.
    pub access_itree: ListHead<PagesAccess>,
    /// `dmabuf.attach`: what the exporter of a dma-buf tells when the memory goes away.
    pub attach: Plain<Option<Ptr<DmaBufAttachment>>>,
    /// `dmabuf.phys.len`: 0 once the exporter has taken the memory back.
    pub phys_len: Plain<u64>,
    /// `dmabuf.tracker`: the domains that are filled from it.
    pub tracker: ListHead<DmabufTrack>,
}

impl Struct for Pages {
    const NAME: &'static str = "iopt_pages";
}

/// struct iopt_pages_dmabuf_track: a domain that an area of a dma-buf fills.
pub struct DmabufTrack {
    /// Constant.
    pub area: Ptr<Area>,
    /// Constant.
    pub domain: Ptr<HwptPaging>,
}

impl Struct for DmabufTrack {
    const NAME: &'static str = "iopt_pages_dmabuf_track";
}

/// struct dma_buf: its importers are [`Pages`].
pub type DmaBuf = dma_buf::DmaBuf<Pages>;
/// struct dma_buf_attachment
pub type DmaBufAttachment = dma_buf::Attachment<Pages>;

/// struct iopt_pages_access: pages that are pinned, by the indexes of the first and the last one.
pub struct PagesAccess {
    /// Constant.
    pub first: u64,
    /// Constant.
    pub last: u64,
    /// How many pins of just these pages there are. Under `pages->mutex`.
    pub users: Plain<u32>,
}

impl Struct for PagesAccess {
    const NAME: &'static str = "iopt_pages_access";
}

/// struct iopt_reserved: IOVAs at which nothing can be mapped.
pub struct Reserved {
    /// Whose they are: a domain that reaches no further, or a device. Constant.
    pub owner: Owner,
    /// Constant.
    pub first: u64,
    /// Constant.
    pub last: u64,
}

impl Struct for Reserved {
    const NAME: &'static str = "iopt_reserved";
}

/// struct io_pagetable, as a list of areas.
pub struct IoPagetable {
    /// Protects the domains, with `iova_rwsem`; held for reading while areas are filled.
    pub domains_rwsem: Rwsem,
    /// Protects the areas. Taken under `domains_rwsem`.
    pub iova_rwsem: Rwsem,
    /// The domains that it fills; the index means nothing.
    pub domains: XArray<HwptPaging>,
    /// The accesses that are attached to it, by `iopt_access_list_id`. Changed under both
    /// semaphores.
    pub access_list: XArray<Access>,
    /// What the domains and the accesses ask of an IOVA. Under `iova_rwsem`.
    pub iova_alignment: Plain<u64>,
    /// What is mapped.
    pub areas: ListHead<Area>,
    /// What cannot be mapped.
    pub reserved: ListHead<Reserved>,
}

impl IoPagetable {
    /// `iopt_init_table()`
    pub fn new(owner: Owner) -> IoPagetable {
        IoPagetable {
            domains_rwsem: Rwsem::new(owner.field("iopt.domains_rwsem")),
            iova_rwsem: Rwsem::with_check(owner.field("iopt.iova_rwsem"), check_table),
            domains: XArray::new(owner.field("iopt.domains"), XaFlags::Plain),
            access_list: XArray::new(owner.field("iopt.access_list"), XaFlags::Alloc),
            iova_alignment: Plain::new(owner.field("iopt.iova_alignment"), 1),
            areas: ListHead::new(owner.field("iopt.area_itree")),
            reserved: ListHead::new(owner.field("iopt.reserved_itree")),
        }
    }
}

/// struct iommufd_ioas
pub struct Ioas {
    /// Header.
    pub obj: Object,
    /// Protects `hwpt_list` and the auto domains.
    pub mutex: Mutex,
    /// Paging HWPTs on this IOAS.
    pub hwpt_list: ListHead<HwptPaging>,
    /// What is mapped.
    pub iopt: IoPagetable,
}

/// struct iommufd_hwpt_paging
pub struct HwptPaging {
    /// Header (`common.obj`).
    pub obj: Object,
    /// The IOAS; holds its users.
    pub ioas: Plain<Option<Ptr<Ioas>>>,
    /// Made by attaching to an IOAS; goes away with the last device.
    pub auto_domain: Plain<bool>,
    /// IOMMU_HWPT_ALLOC_NEST_PARENT. Constant.
    pub nest_parent: bool,
    /// `common.pasid_compat`: IOMMU_HWPT_ALLOC_PASID. Constant.
    pub pasid_compat: bool,
    /// Its fault queue; holds its users.
    pub fault: Plain<Option<Ptr<Fault>>>,
    /// `common.domain`: what its page table maps.
    pub domain: IommuDomain,
}

/// struct iommufd_hwpt_nested
pub struct HwptNested {
    /// Header (`common.obj`).
    pub obj: Object,
    /// The parent, if it was made directly on one; holds its users.
    pub parent: Plain<Option<Ptr<HwptPaging>>>,
    /// The vIOMMU, if it was made on one; holds its users.
    pub viommu: Plain<Option<Ptr<Viommu>>>,
    /// `common.pasid_compat`: IOMMU_HWPT_ALLOC_PASID. Constant.
    pub pasid_compat: bool,
    /// Its fault queue; holds its users.
    pub fault: Plain<Option<Ptr<Fault>>>,
    /// The mock domain's IOTLB entries (struct mock_iommu_domain_nested).
    pub iotlb: [Plain<u32>; 4],
}

/// struct iommufd_group
pub struct Group {
    /// kref: bound devices.
    pub kref: Refcount,
    /// Protects everything below.
    pub lock: Mutex,
    /// Number of the iommu group. Constant.
    pub group: u32,
    /// The context. Constant.
    pub ictx: Plain<Option<Ptr<Ictx>>>,
    /// What the group is attached to.
    pub hwpt: Plain<Option<Ptr<Object>>>,
    /// Devices of the group that are attached.
    pub device_list: ListHead<Device>,
    /// Instead of both, since 6.15: what the devices of the group are attached to, by PASID.
    pub pasid_attach: XArray<Attach>,
}

impl Struct for Group {
    const NAME: &'static str = "igroup";
}

/// ioasid_t of an address space that a device has without a PASID.
pub const IOMMU_NO_PASID: u64 = 0;

/// struct iommufd_attach: what devices of a group are attached to (6.15+).
pub struct Attach {
    /// Holds its users once for each device.
    pub hwpt: Plain<Option<Ptr<Object>>>,
    /// The devices, by their ids.
    pub device_array: XArray<Device>,
    /// What the PASID is attached by; that of the devices themselves is in their group.
    pub handle: Plain<Option<Ptr<AttachHandle>>>,
}

impl Struct for Attach {
    const NAME: &'static str = "iommufd_attach";
}

/// struct iommufd_device
pub struct Device {
    /// Header.
    pub obj: Object,
    /// The context; the file is held unless the mock driver owns the device.
    pub ictx: Plain<Option<Ptr<Ictx>>>,
    /// Its group; holds its kref.
    pub igroup: Plain<Option<Ptr<Group>>>,
    /// The device of the driver core. Not held: the driver that bound it exists.
    pub dev: Plain<Option<Ptr<StructDevice>>>,
    /// Its vDEVICE; under `igroup->lock` (the series to v5, and 6.17+).
    pub vdev: Plain<Option<Ptr<Vdevice>>>,
    /// Being unbound: no vDEVICE is made any more. Under `igroup->lock` (6.17+).
    pub destroying: Plain<bool>,
    /// Its virtual ID (v2 of the vIOMMU series); not held.
    pub vdev_id: Plain<Option<Ptr<VdevId>>>,
    /// Whether its driver holds its users: the testbed's own, no field of the C struct.
    pub driver: Cell<bool>,
}

/// struct iommufd_viommu
pub struct Viommu {
    /// Header.
    pub obj: Object,
    /// The context.
    pub ictx: Plain<Option<Ptr<Ictx>>>,
    /// The nesting parent; holds its users.
    pub hwpt: Plain<Option<Ptr<HwptPaging>>>,
    /// Number of the physical IOMMU instance. Not counted: an IOMMU is not unplugged.
    pub iommu_dev: Plain<u32>,
    /// vDEVICEs by virtual device ID; a plain array, so storing NULL frees the index.
    pub vdevs: XArray<Vdevice>,
    /// Protects `veventqs` (6.15+).
    pub veventqs_rwsem: Rwsem,
    /// Its event queues, one of a type (6.15+).
    pub veventqs: ListHead<Veventq>,
    /// The mock driver's: protects `hw_queues` (6.17+).
    pub queue_mutex: Mutex,
    /// The mock driver's: queues by number (6.17+).
    pub hw_queues: [Plain<Option<Ptr<HwQueue>>>; HW_QUEUE_MAX],
    /// The mock driver's: first page of what user space can map of it (6.17+).
    pub mmap_offset: Plain<Option<u64>>,
    /// The virtual IDs of v1 and v2 of the vIOMMU series.
    pub vdev_ids: XArray<VdevId>,
    /// Protects `vdev_ids` and what it points to (v2). Taken before the group's lock.
    pub vdev_ids_rwsem: Rwsem,
}

/// struct iommufd_vdev_id of v1 and v2 of the vIOMMU series: no object. Holds nothing.
pub struct VdevId {
    /// The vIOMMU.
    pub viommu: Plain<Option<Ptr<Viommu>>>,
    /// The virtual device ID.
    pub id: Plain<u64>,
    /// The device of the driver core (v1).
    pub dev: Plain<Option<Ptr<StructDevice>>>,
    /// The bound device (v2).
    pub idev: Plain<Option<Ptr<Device>>>,
}

impl Struct for VdevId {
    const NAME: &'static str = "vdev_id";
}

/// IOMMU_TEST_HW_QUEUE_MAX
pub const HW_QUEUE_MAX: usize = 2;

/// struct iommufd_vdevice, with the fields of all its texts.
pub struct Vdevice {
    /// Header.
    pub obj: Object,
    /// The vIOMMU; holds its users.
    pub viommu: Plain<Option<Ptr<Viommu>>>,
    /// The device of the driver core; holds a reference (get_device). 6.13 to 6.16.
    pub dev: Plain<Option<Ptr<StructDevice>>>,
    /// The bound device: holds its users (the series to v5), or its users and wait_cnt (6.17+).
    pub idev: Plain<Option<Ptr<Device>>>,
    /// The virtual device ID; called `virt_id` since 6.17.
    pub id: Plain<u64>,
    /// Whether the slot of `vdevs` is to be left alone by destroy. Only the twins
    /// `skip_erase_on_eexist` and `skip_erase_on_abort` have it.
    pub skip_erase: Plain<bool>,
    /// The driver's part behind the core's, once the driver has initialised it (6.17+).
    pub driver_part: Plain<bool>,
}

/// struct iommufd_eventq, and what FAULT and VEVENTQ objects share.
pub struct Eventq {
    /// The context; the file holds it.
    pub ictx: Plain<Option<Ptr<Ictx>>>,
    /// Its file, which holds the object's users.
    pub filp: Plain<Option<Ptr<File>>>,
    /// Protects `common.deliver` (since 3d49020a327c; the fault queue's mutex did before).
    pub lock: Spinlock,
    /// Where readers wait.
    pub wait_queue: WaitQueue,
}

/// struct iommufd_vevent
pub struct Event {
    /// Number of the event within its queue (struct iommufd_vevent_header).
    pub sequence: Plain<u32>,
    /// First word of its data: the virtual device ID.
    pub data: u64,
}

impl Struct for Event {
    const NAME: &'static str = "vevent";
}

/// struct iommufd_fault
pub struct Fault {
    /// Header (`common.obj`).
    pub obj: Object,
    /// The queue.
    pub common: Eventq,
    /// Protects the responses; before 3d49020a327c the queue, too.
    pub mutex: Mutex,
    /// `common.deliver`: faults that nobody has read yet.
    pub deliver: ListHead<IopfGroup>,
    /// Faults that were read and wait for a response, by cookie.
    pub response: XArray<IopfGroup>,
}

/// struct iopf_group: a page fault of a device, with the one request that it consists of here. On
/// the way to a response it is on a queue's `deliver` or in its `response`.
pub struct IopfGroup {
    /// `fault_param->dev`: the device. Not held.
    pub dev: Ptr<StructDevice>,
    /// What the device's group was attached by when the fault was reported. Not held: a detach
    /// takes the faults of its handle away before it frees the handle.
    pub attach_handle: Plain<Option<Ptr<AttachHandle>>>,
    /// Its number among those that wait for a response.
    pub cookie: Plain<u32>,
}

impl Struct for IopfGroup {
    const NAME: &'static str = "iopf_group";
}

/// struct iommufd_attach_handle: what the IOMMU core keeps for a group that is attached to a HWPT
/// with a fault queue.
pub struct AttachHandle {
    /// The device by which the group was attached.
    pub idev: Plain<Option<Ptr<Device>>>,
    /// `handle.domain`: the HWPT.
    pub hwpt: Plain<Option<Ptr<Object>>>,
}

impl Struct for AttachHandle {
    const NAME: &'static str = "attach_handle";
}

/// struct iommufd_veventq
pub struct Veventq {
    /// Header (`common.obj`).
    pub obj: Object,
    /// The queue.
    pub common: Eventq,
    /// `common.deliver`: what waits to be read.
    pub deliver: ListHead<Event>,
    /// The vIOMMU; holds its users.
    pub viommu: Plain<Option<Ptr<Viommu>>>,
    /// Type of its events. Constant.
    pub ty: u64,
    /// How many events it keeps. Constant.
    pub depth: u32,
    /// How many wait in it, without a lost-events header.
    pub num_events: Plain<u32>,
    /// The number of the next event.
    pub sequence: Plain<u32>,
    /// The sequence number of the embedded header that says that events were lost, if it is in
    /// the queue: always as the last entry, since the next event takes its place.
    pub lost_events_header: Plain<Option<u32>>,
}

/// struct iommufd_hw_queue, with the mock driver's struct around it.
pub struct HwQueue {
    /// Header.
    pub obj: Object,
    /// The vIOMMU; holds its users.
    pub viommu: Plain<Option<Ptr<Viommu>>>,
    /// The access that pins its memory.
    pub access: Plain<Option<Ptr<Access>>>,
    /// Where its memory is. Constant.
    pub base_addr: u64,
    /// How long. Constant.
    pub length: u64,
    /// The mock driver's: the queue before this one, whose users it holds.
    pub prev: Plain<Option<Ptr<HwQueue>>>,
    /// The mock driver's: its number, once the driver has initialised it.
    pub index: Plain<Option<u32>>,
}

/// struct iommufd_access
pub struct Access {
    /// Header.
    pub obj: Object,
    /// Holds the file. None for an access of iommufd itself.
    pub ictx: Plain<Option<Ptr<Ictx>>>,
    /// The IOAS that it is attached to; holds its users.
    pub ioas: Plain<Option<Ptr<Ioas>>>,
    /// The same, but also while the access is being moved.
    pub ioas_unpin: Plain<Option<Ptr<Ioas>>>,
    /// Protects both.
    pub ioas_lock: Mutex,
    /// Its id in the list of the IOAS.
    pub iopt_access_list_id: Plain<u32>,
    /// What it asks of an IOVA: whole pages if it can pin them. Constant.
    pub iova_alignment: u64,
    /// The driver's part, `access->data`. None for an access of iommufd itself.
    pub data: Plain<Option<Ptr<SelftestAccess>>>,
}

/// struct selftest_access: the mock driver's part of an access.
pub struct SelftestAccess {
    /// The access, once there is one; the driver holds its users.
    pub access: Plain<Option<Ptr<Access>>>,
    /// Its file.
    pub file: Plain<Option<Ptr<File>>>,
    /// Protects what it has pinned.
    pub lock: Mutex,
    /// What it has pinned.
    pub items: ListHead<AccessItem>,
    /// The id of the next one.
    pub next_id: Plain<u64>,
    /// `access->ops == &selftest_access_ops_pin`. Constant.
    pub pins: bool,
}

/// struct selftest_access_item: a range that the mock driver has pinned.
pub struct AccessItem {
    /// Constant.
    pub iova: u64,
    /// Bytes. Constant.
    pub length: u64,
    /// How user space calls it. Constant.
    pub id: u64,
}

impl Struct for AccessItem {
    const NAME: &'static str = "selftest_access_item";
}

impl Struct for SelftestAccess {
    const NAME: &'static str = "staccess";
}

/// struct iommufd_mmap: something that can be mapped. Holds nothing; a mapping holds its owner.
pub struct Mmap {
    /// Whose memory it is.
    pub owner: Plain<Option<Ptr<Object>>>,
    /// Its first page among the offsets of the file.
    pub vm_pgoff: Plain<u64>,
    /// Length in bytes. Constant.
    pub length: u64,
}

impl Struct for Mmap {
    const NAME: &'static str = "immap";
}

/// struct selftest_obj: the mock driver's handle of a mock device.
pub struct Selftest {
    /// Header.
    pub obj: Object,
    /// The bound device.
    pub idev: Plain<Option<Ptr<Device>>>,
    /// The mock device.
    pub mock_dev: Plain<Option<Ptr<StructDevice>>>,
}

impl Value for Type {
    fn val(self) -> Val {
        Val::Text(format!("{self:?}"))
    }
}
