//! The calls of the API, as data: one row per call, with its arguments and outputs under the
//! names of the uAPI structs.
//!
//! A scenario is parsed against this table and the model executes against it; a new call is a row
//! here and an arm in `model/src/program.rs`.

use serde::{Deserialize, Serialize};

/// What an argument of a call is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ArgKind {
    /// An object id: a name bound by an earlier step, or a number as a user space that guesses
    /// would pass it.
    Id,
    /// A device that a driver has bound: only a name bound by `bind` or `mock_domain`, since a
    /// driver holds a pointer and not an id.
    Device,
    /// A physical device, `pdev0` to `pdev7`.
    Pdev,
    /// An open file: a name bound by `open` or by the allocation of an event queue, or `fd` for
    /// the iommufd file that is open from the start.
    File,
    /// A mapping of an iommufd file: only a name bound by `mmap`.
    Mapping,
    /// A number.
    Num,
    /// A number, or names from [`FLAG_NAMES`] of the call joined with `|`.
    Flags,
    /// Invalidation entries: a list `[{ vdev_id = 0x99, cache_id = 0 }, …]`.
    Entries,
}

/// One argument.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Arg {
    /// Field name in the uAPI struct.
    pub name: &'static str,
    /// What it is.
    pub kind: ArgKind,
    /// Value when the scenario does not give it; `None`: it must be given.
    pub default: Option<u64>,
}

/// One output.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Out {
    /// Field name in the uAPI struct.
    pub name: &'static str,
    /// Whether it is an object id, and whether the name can also be used as a `Device`.
    pub kind: ArgKind,
}

/// One row of the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Signature {
    /// Which call.
    pub call: Call,
    /// Its name in a scenario.
    pub name: &'static str,
    /// Arguments; those without default come first and can be given by position, every one can
    /// be given as `name = value`.
    pub args: &'static [Arg],
    /// What a successful call gives out, in order of the names on the left of `=`.
    pub outs: &'static [Out],
    /// Whether the answer can carry an `entry_num`.
    pub entry_num: bool,
    /// One sentence for `explain` and the documentation.
    pub doc: &'static str,
}

const fn req(name: &'static str, kind: ArgKind) -> Arg {
    Arg { name, kind, default: None }
}

const fn opt(name: &'static str, kind: ArgKind, default: u64) -> Arg {
    Arg { name, kind, default: Some(default) }
}

const fn out(name: &'static str, kind: ArgKind) -> Out {
    Out { name, kind }
}

/// Marks an argument that was not given and has no meaning as a number (a wrong pointer length
/// follows from the data, unless it is given).
pub const AUTO: u64 = u64::MAX;

/// `IOMMU_VIOMMU_TYPE_SELFTEST`, the mock driver's vIOMMU.
pub const VIOMMU_TYPE_SELFTEST: u64 = 0xdead_beef;
/// `IOMMU_HWPT_DATA_SELFTEST`, the mock driver's nested HWPT.
pub const HWPT_DATA_SELFTEST: u64 = 0xdead;
/// `IOMMU_HWPT_INVALIDATE_DATA_SELFTEST` and `IOMMU_VIOMMU_INVALIDATE_DATA_SELFTEST`, an entry for
/// the mock driver's nested HWPT or vIOMMU.
pub const INVALIDATE_DATA_SELFTEST: u64 = 0xdead_beef;
/// `IOMMU_HWPT_INVALIDATE_DATA_SELFTEST_INVALID`, a type that the mock driver does not know.
pub const INVALIDATE_DATA_SELFTEST_INVALID: u64 = 0xdad_beef;
/// `IOMMU_HW_INFO_TYPE_SELFTEST`, what the mock driver says of its devices.
pub const HW_INFO_TYPE_SELFTEST: u64 = 0xfeed_beef;

/// `IOMMU_HW_QUEUE_TYPE_SELFTEST`, the mock driver's HW queue.
pub const HW_QUEUE_TYPE_SELFTEST: u64 = 0xdead_beef;
/// `IOMMU_VEVENTQ_TYPE_SELFTEST`, the mock driver's event queue.
pub const VEVENTQ_TYPE_SELFTEST: u64 = 0xbeef_beef;

/// `IOMMU_HWPT_ALLOC_NEST_PARENT`
pub const HWPT_ALLOC_NEST_PARENT: u64 = 1 << 0;
/// `IOMMU_HWPT_ALLOC_DIRTY_TRACKING`
pub const HWPT_ALLOC_DIRTY_TRACKING: u64 = 1 << 1;
/// `IOMMU_HWPT_FAULT_ID_VALID`
pub const HWPT_FAULT_ID_VALID: u64 = 1 << 2;
/// `IOMMU_HWPT_ALLOC_PASID`
pub const HWPT_ALLOC_PASID: u64 = 1 << 3;

/// `IOMMU_IOAS_MAP_FIXED_IOVA`
pub const IOAS_MAP_FIXED_IOVA: u64 = 1 << 0;
/// `IOMMU_IOAS_MAP_WRITEABLE`
pub const IOAS_MAP_WRITEABLE: u64 = 1 << 1;
/// `IOMMU_IOAS_MAP_READABLE`
pub const IOAS_MAP_READABLE: u64 = 1 << 2;

/// `MOCK_FLAGS_ACCESS_CREATE_NEEDS_PIN_PAGES`
pub const ACCESS_CREATE_NEEDS_PIN_PAGES: u64 = 1 << 0;
/// `MOCK_FLAGS_ACCESS_WRITE`
pub const ACCESS_WRITE: u64 = 1 << 0;
/// `MOCK_ACCESS_RW_WRITE`
pub const ACCESS_RW_WRITE: u64 = 1 << 0;
/// `MOCK_FLAGS_ACCESS_SYZ`, `MOCK_ACCESS_RW_SYZ`: `iova` is a number that a fuzzer finds easily.
pub const ACCESS_SYZ: u64 = 1 << 16;

/// Names that a `Flags` or `Num` argument understands, by argument name.
pub const FLAG_NAMES: &[(&str, &str, u64)] = &[
    ("flags", "NEST_PARENT", HWPT_ALLOC_NEST_PARENT),
    ("flags", "DIRTY_TRACKING", HWPT_ALLOC_DIRTY_TRACKING),
    ("flags", "FAULT_ID_VALID", HWPT_FAULT_ID_VALID),
    ("flags", "PASID", HWPT_ALLOC_PASID),
    ("flags", "FIXED_IOVA", IOAS_MAP_FIXED_IOVA),
    ("flags", "WRITEABLE", IOAS_MAP_WRITEABLE),
    ("flags", "READABLE", IOAS_MAP_READABLE),
    ("flags", "WRITE", ACCESS_RW_WRITE),
    ("flags", "SYZ", ACCESS_SYZ),
    ("flags", "NEEDS_PIN_PAGES", ACCESS_CREATE_NEEDS_PIN_PAGES),
    ("type", "SELFTEST", VIOMMU_TYPE_SELFTEST),
    ("type", "VEVENTQ_SELFTEST", VEVENTQ_TYPE_SELFTEST),
    ("type", "DEFAULT", 0),
    ("data_type", "NONE", 0),
    ("data_type", "SELFTEST", AUTO - 1),
    ("data_type", "SELFTEST_INVALID", INVALIDATE_DATA_SELFTEST_INVALID),
];

/// The calls.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
pub enum Call {
    /// open(2) of `/dev/iommu`
    Open,
    /// close(2) of an iommufd file.
    Close,
    /// `IOMMU_DESTROY`
    Destroy,
    /// `IOMMU_IOAS_ALLOC`
    IoasAlloc,
    /// `IOMMU_IOAS_MAP`
    IoasMap,
    /// memfd_create(2)
    MemfdCreate,
    /// `IOMMU_IOAS_MAP_FILE`
    IoasMapFile,
    /// `IOMMU_IOAS_UNMAP`
    IoasUnmap,
    /// `IOMMU_IOAS_IOVA_RANGES`
    IoasIovaRanges,
    /// `IOMMU_GET_HW_INFO`
    GetHwInfo,
    /// `IOMMU_HWPT_ALLOC`
    HwptAlloc,
    /// `IOMMU_HWPT_INVALIDATE`
    HwptInvalidate,
    /// `IOMMU_VIOMMU_ALLOC`
    ViommuAlloc,
    /// `IOMMU_VDEVICE_ALLOC`
    VdeviceAlloc,
    /// `IOMMU_FAULT_QUEUE_ALLOC`
    FaultAlloc,
    /// `IOMMU_VEVENTQ_ALLOC`
    VeventqAlloc,
    /// `IOMMU_IOAS_CHANGE_PROCESS`
    IoasChangeProcess,
    /// `IOMMU_HW_QUEUE_ALLOC`
    HwQueueAlloc,
    /// read(2) of an event queue's file.
    Read,
    /// read(2) of a fault queue's file.
    ReadPgfault,
    /// poll(2) of an event queue's file.
    Poll,
    /// write(2) of a fault queue's file.
    Write,
    /// UFFDIO_COPY of a userfaultfd.
    UffdioCopy,
    /// mmap(2) of an iommufd file.
    Mmap,
    /// munmap(2)
    Munmap,
    /// `IOMMU_VIOMMU_SET_VDEV_ID` of v1 and v2 of the vIOMMU series.
    ViommuSetVdevId,
    /// `IOMMU_VIOMMU_UNSET_VDEV_ID` of v1 and v2 of the vIOMMU series.
    ViommuUnsetVdevId,
    /// `iommufd_device_bind()` by a driver.
    Bind,
    /// `iommufd_device_unbind()` by a driver.
    Unbind,
    /// device_unregister() of a physical device by its bus.
    Unplug,
    /// `iommufd_device_attach()` by a driver.
    Attach,
    /// `iommufd_device_replace()` by a driver.
    Replace,
    /// `iommufd_device_detach()` by a driver.
    Detach,
    /// The interrupt thread of the driver of a bound device.
    Interrupt,
    /// `IOMMU_TEST_OP_MOCK_DOMAIN`
    MockDomain,
    /// `IOMMU_TEST_OP_MOCK_DOMAIN_REPLACE`
    MockDomainReplace,
    /// `IOMMU_TEST_OP_PASID_ATTACH`
    PasidAttach,
    /// `IOMMU_TEST_OP_PASID_REPLACE`
    PasidReplace,
    /// `IOMMU_TEST_OP_PASID_DETACH`
    PasidDetach,
    /// `IOMMU_TEST_OP_DMABUF_GET`
    DmabufGet,
    /// `IOMMU_TEST_OP_DMABUF_REVOKE`
    DmabufRevoke,
    /// `IOMMU_TEST_OP_DEV_CHECK_CACHE`
    CheckCache,
    /// `IOMMU_TEST_OP_TRIGGER_VEVENT`
    TriggerVevent,
    /// `IOMMU_TEST_OP_TRIGGER_IOPF`
    TriggerIopf,
    /// `IOMMU_TEST_OP_MD_CHECK_IOTLB`
    CheckIotlb,
    /// `IOMMU_TEST_OP_CREATE_ACCESS`
    CreateAccess,
    /// `IOMMU_TEST_OP_ACCESS_REPLACE_IOAS`
    AccessReplaceIoas,
    /// `IOMMU_TEST_OP_ACCESS_RW`
    AccessRw,
    /// `IOMMU_TEST_OP_ACCESS_PAGES`
    AccessPages,
    /// `IOMMU_TEST_OP_DESTROY_ACCESS_PAGES`
    DestroyAccessPages,
}

use ArgKind::{Device, Entries, File, Flags, Id, Mapping, Num, Pdev};

/// Every call, in the order of `explain` and of the documentation.
pub const SIGNATURES: &[Signature] = &[
    Signature {
        call: Call::Open,
        name: "open",
        args: &[],
        outs: &[out("file", File)],
        entry_num: false,
        doc: "Opens /dev/iommu once more. One file, named `fd`, is open from the start.",
    },
    Signature {
        call: Call::Close,
        name: "close",
        args: &[req("file", File)],
        outs: &[],
        entry_num: false,
        doc: "Closes a file; the last reference runs its release, iommufd_fops_release() say.",
    },
    Signature {
        call: Call::Destroy,
        name: "IOMMU_DESTROY",
        args: &[req("id", Id)],
        outs: &[],
        entry_num: false,
        doc: "Destroys an object by its id.",
    },
    Signature {
        call: Call::IoasAlloc,
        name: "IOMMU_IOAS_ALLOC",
        args: &[opt("flags", Flags, 0)],
        outs: &[out("out_ioas_id", Id)],
        entry_num: false,
        doc: "Allocates an I/O address space.",
    },
    Signature {
        call: Call::IoasMap,
        name: "IOMMU_IOAS_MAP",
        args: &[
            req("ioas_id", Id),
            req("length", Num),
            opt("iova", Num, 0),
            opt("user_va", Num, AUTO),
            opt("flags", Flags, IOAS_MAP_FIXED_IOVA | IOAS_MAP_WRITEABLE | IOAS_MAP_READABLE),
            opt("__reserved", Num, 0),
        ],
        outs: &[out("iova", Num)],
        entry_num: false,
        doc: "Maps memory of the process, at `iova` or (without FIXED_IOVA) where there is room.",
    },
    Signature {
        call: Call::MemfdCreate,
        name: "memfd_create",
        args: &[],
        outs: &[out("memfd", File)],
        entry_num: false,
        doc: "Makes a file of anonymous memory.",
    },
    Signature {
        call: Call::IoasMapFile,
        name: "IOMMU_IOAS_MAP_FILE",
        args: &[
            req("ioas_id", Id),
            req("fd", File),
            req("length", Num),
            opt("iova", Num, 0),
            opt("start", Num, 0),
            opt("flags", Flags, IOAS_MAP_FIXED_IOVA | IOAS_MAP_WRITEABLE | IOAS_MAP_READABLE),
        ],
        outs: &[out("iova", Num)],
        entry_num: false,
        doc: "Maps memory of a file of memfd_create (6.13+) or dmabuf_get (6.19+).",
    },
    Signature {
        call: Call::IoasUnmap,
        name: "IOMMU_IOAS_UNMAP",
        args: &[req("ioas_id", Id), req("iova", Num), req("length", Num)],
        outs: &[out("length", Num)],
        entry_num: false,
        doc: "Unmaps whole areas; all of them with `iova = 0, length = 0xffffffffffffffff`.",
    },
    Signature {
        call: Call::IoasIovaRanges,
        name: "IOMMU_IOAS_IOVA_RANGES",
        args: &[req("ioas_id", Id), opt("num_iovas", Num, 1), opt("__reserved", Num, 0)],
        outs: &[out("num_iovas", Num), out("out_iova_alignment", Num)],
        entry_num: false,
        doc: "Says what IOVAs can be mapped: in how many ranges, and their alignment.",
    },
    Signature {
        call: Call::GetHwInfo,
        name: "IOMMU_GET_HW_INFO",
        args: &[
            req("dev_id", Id),
            opt("flags", Flags, 0),
            opt("data_len", Num, 0),
            opt("data_uptr", Num, AUTO),
            opt("__reserved", Num, 0),
        ],
        outs: &[out("out_data_type", Num), out("flags", Num), out("test_reg", Num)],
        entry_num: false,
        doc: "Says what IOMMU a device sits behind; behind the type come the words of the mock driver's data.",
    },
    Signature {
        call: Call::HwptAlloc,
        name: "IOMMU_HWPT_ALLOC",
        args: &[
            req("dev_id", Id),
            req("pt_id", Id),
            opt("flags", Flags, 0),
            opt("data_type", Num, AUTO),
            opt("data_len", Num, AUTO),
            opt("fault_id", Id, 0),
            opt("__reserved", Num, 0),
            opt("__reserved2", Num, 0),
            opt("iotlb", Num, 0),
            opt("data_uptr", Num, AUTO),
        ],
        outs: &[out("out_hwpt_id", Id)],
        entry_num: false,
        doc: "Allocates a hardware page table: paging on an IOAS, nested on a nesting parent or a vIOMMU.",
    },
    Signature {
        call: Call::HwptInvalidate,
        name: "IOMMU_HWPT_INVALIDATE",
        args: &[
            req("hwpt_id", Id),
            opt("entries", Entries, 0),
            opt("data_type", Num, AUTO),
            opt("entry_len", Num, AUTO),
            opt("entry_num", Num, AUTO),
            opt("data_uptr", Num, AUTO),
            opt("__reserved", Num, 0),
        ],
        outs: &[],
        entry_num: true,
        doc: "Invalidates caches of a nested HWPT, or of the devices of a vIOMMU by their virt_id.",
    },
    Signature {
        call: Call::ViommuAlloc,
        name: "IOMMU_VIOMMU_ALLOC",
        args: &[
            req("dev_id", Id),
            req("hwpt_id", Id),
            opt("type", Num, VIOMMU_TYPE_SELFTEST),
            opt("flags", Flags, 0),
            opt("data_len", Num, 0),
            opt("__reserved", Num, 0),
            opt("data_uptr", Num, AUTO),
        ],
        outs: &[out("out_viommu_id", Id)],
        entry_num: false,
        doc: "Allocates a vIOMMU on a nesting parent.",
    },
    Signature {
        call: Call::VdeviceAlloc,
        name: "IOMMU_VDEVICE_ALLOC",
        args: &[req("viommu_id", Id), req("dev_id", Id), req("virt_id", Num)],
        outs: &[out("out_vdevice_id", Id)],
        entry_num: false,
        doc: "Registers a device under a virtual device ID of a vIOMMU.",
    },
    Signature {
        call: Call::FaultAlloc,
        name: "IOMMU_FAULT_QUEUE_ALLOC",
        args: &[opt("flags", Flags, 0)],
        outs: &[out("out_fault_id", Id), out("out_fault_fd", File)],
        entry_num: false,
        doc: "Allocates a fault queue and its file.",
    },
    Signature {
        call: Call::VeventqAlloc,
        name: "IOMMU_VEVENTQ_ALLOC",
        args: &[
            req("viommu_id", Id),
            opt("type", Num, VEVENTQ_TYPE_SELFTEST),
            opt("veventq_depth", Num, 2),
            opt("flags", Flags, 0),
            opt("__reserved", Num, 0),
        ],
        outs: &[out("out_veventq_id", Id), out("out_veventq_fd", File)],
        entry_num: false,
        doc: "Allocates a queue for the events of a vIOMMU, and its file (6.15+).",
    },
    Signature {
        call: Call::IoasChangeProcess,
        name: "IOMMU_IOAS_CHANGE_PROCESS",
        args: &[opt("__reserved", Num, 0)],
        outs: &[],
        entry_num: false,
        doc: "Moves what is mapped to the calling process: takes all IOASes (6.13+).",
    },
    Signature {
        call: Call::HwQueueAlloc,
        name: "IOMMU_HW_QUEUE_ALLOC",
        args: &[
            req("viommu_id", Id),
            opt("type", Num, HW_QUEUE_TYPE_SELFTEST),
            opt("index", Num, 0),
            opt("nesting_parent_iova", Num, 0x100_0000),
            opt("length", Num, 0x1000),
            opt("flags", Flags, 0),
        ],
        outs: &[out("out_hw_queue_id", Id)],
        entry_num: false,
        doc: "Allocates a HW queue of a vIOMMU, whose memory lies in the nesting parent (6.17+).",
    },
    Signature {
        call: Call::Read,
        name: "read",
        args: &[req("file", File), opt("count", Num, 64)],
        outs: &[
            out("bytes", Num),
            out("flags", Num),
            out("sequence", Num),
            out("virt_id", Num),
        ],
        entry_num: false,
        doc: "read(2) of an event queue's file; behind the bytes come the fields of the first event.",
    },
    Signature {
        call: Call::ReadPgfault,
        name: "read_pgfault",
        args: &[req("file", File), opt("count", Num, 40), opt("uffd", Num, 0)],
        outs: &[out("bytes", Num), out("dev_id", Num), out("cookie", Num)],
        entry_num: false,
        doc: "read(2) of a fault queue's file, with fields of the first struct iommu_hwpt_pgfault. With `uffd = 1` the buffer is not there until UFFDIO_COPY.",
    },
    Signature {
        call: Call::Write,
        name: "write",
        args: &[
            req("file", File),
            req("cookie", Num),
            opt("code", Num, 0),
            opt("count", Num, 8),
        ],
        outs: &[out("bytes", Num)],
        entry_num: false,
        doc: "write(2) of a fault queue's file: the response to the page fault of that cookie; code 0 is SUCCESS, 1 INVALID.",
    },
    Signature {
        call: Call::UffdioCopy,
        name: "UFFDIO_COPY",
        args: &[],
        outs: &[],
        entry_num: false,
        doc: "The ioctl of a userfaultfd that fills the page of `read_pgfault(…, uffd = 1)`.",
    },
    Signature {
        call: Call::Poll,
        name: "poll",
        args: &[req("file", File), opt("wait", Num, 0)],
        outs: &[out("revents", Num)],
        entry_num: false,
        doc: "poll(2) of an event queue's file: without waiting, or with `wait = 1` until something can be read.",
    },
    Signature {
        call: Call::Mmap,
        name: "mmap",
        args: &[
            opt("offset", Num, 0),
            opt("length", Num, 4096),
            opt("shared", Num, 1),
            opt("exec", Num, 0),
        ],
        outs: &[out("mapping", Mapping)],
        entry_num: false,
        doc: "mmap(2) of the iommufd file: maps what a vIOMMU with driver data offers (6.17+).",
    },
    Signature {
        call: Call::Munmap,
        name: "munmap",
        args: &[req("mapping", Mapping)],
        outs: &[],
        entry_num: false,
        doc: "munmap(2): the mapping lets its owner go.",
    },
    Signature {
        call: Call::ViommuSetVdevId,
        name: "IOMMU_VIOMMU_SET_VDEV_ID",
        args: &[req("viommu_id", Id), req("dev_id", Id), req("vdev_id", Num)],
        outs: &[],
        entry_num: false,
        doc: "Registers a device under a virtual device ID of a vIOMMU, as v1 and v2 of the series did.",
    },
    Signature {
        call: Call::ViommuUnsetVdevId,
        name: "IOMMU_VIOMMU_UNSET_VDEV_ID",
        args: &[req("viommu_id", Id), req("dev_id", Id), req("vdev_id", Num)],
        outs: &[],
        entry_num: false,
        doc: "Takes the virtual device ID of a device away again, as v1 and v2 of the series did.",
    },
    Signature {
        call: Call::Bind,
        name: "bind",
        args: &[req("pdev", Pdev)],
        outs: &[out("idev", Device)],
        entry_num: false,
        doc: "A driver (VFIO, say) binds a physical device: iommufd_device_bind().",
    },
    Signature {
        call: Call::Unbind,
        name: "unbind",
        args: &[req("idev", Device), opt("detach", Num, 1)],
        outs: &[],
        entry_num: false,
        doc: "The driver lets the device go: iommufd_device_unbind(), after detaching it unless `detach = 0`.",
    },
    Signature {
        call: Call::Unplug,
        name: "unplug",
        args: &[req("pdev", Pdev)],
        outs: &[],
        entry_num: false,
        doc: "The bus lets a physical device go: device_unregister(). Unbind it first.",
    },
    Signature {
        call: Call::Attach,
        name: "attach",
        args: &[req("idev", Device), req("pt_id", Id)],
        outs: &[out("pt_id", Id)],
        entry_num: false,
        doc: "The driver attaches the device to an IOAS (auto HWPT) or an HWPT; gives out the HWPT's id.",
    },
    Signature {
        call: Call::Replace,
        name: "replace",
        args: &[req("idev", Device), req("pt_id", Id)],
        outs: &[out("pt_id", Id)],
        entry_num: false,
        doc: "The driver attaches an attached device to something else; gives out the HWPT's id.",
    },
    Signature {
        call: Call::Detach,
        name: "detach",
        args: &[req("idev", Device)],
        outs: &[],
        entry_num: false,
        doc: "The driver detaches the device.",
    },
    Signature {
        call: Call::Interrupt,
        name: "interrupt",
        args: &[req("idev", Device)],
        outs: &[],
        entry_num: false,
        doc: "The interrupt thread of the device's driver: reports an event to the vIOMMU that the device is attached to, without an id (6.15+).",
    },
    Signature {
        call: Call::MockDomain,
        name: "mock_domain",
        args: &[req("pt_id", Id), opt("pdev", Pdev, AUTO)],
        outs: &[
            out("out_stdev_id", Id),
            out("out_hwpt_id", Id),
            out("out_idev_id", Device),
        ],
        entry_num: false,
        doc: "The mock driver's IOMMU_TEST_OP_MOCK_DOMAIN: makes a mock device, binds and attaches it.",
    },
    Signature {
        call: Call::MockDomainReplace,
        name: "mock_domain_replace",
        args: &[req("stdev_id", Id), req("pt_id", Id)],
        outs: &[out("pt_id", Id)],
        entry_num: false,
        doc: "The mock driver's IOMMU_TEST_OP_MOCK_DOMAIN_REPLACE: attaches the mock device to something else.",
    },
    Signature {
        call: Call::PasidAttach,
        name: "pasid_attach",
        args: &[req("stdev_id", Id), req("pasid", Num), req("pt_id", Id)],
        outs: &[out("pt_id", Id)],
        entry_num: false,
        doc: "The mock driver's IOMMU_TEST_OP_PASID_ATTACH: attaches a PASID of the mock device (6.15+).",
    },
    Signature {
        call: Call::PasidReplace,
        name: "pasid_replace",
        args: &[req("stdev_id", Id), req("pasid", Num), req("pt_id", Id)],
        outs: &[out("pt_id", Id)],
        entry_num: false,
        doc: "The mock driver's IOMMU_TEST_OP_PASID_REPLACE: attaches a PASID to something else (6.15+).",
    },
    Signature {
        call: Call::PasidDetach,
        name: "pasid_detach",
        args: &[req("stdev_id", Id), req("pasid", Num)],
        outs: &[],
        entry_num: false,
        doc: "The mock driver's IOMMU_TEST_OP_PASID_DETACH: detaches a PASID that is attached (6.15+).",
    },
    Signature {
        call: Call::DmabufGet,
        name: "dmabuf_get",
        args: &[opt("length", Num, 0x4000)],
        outs: &[out("dmabuf", File)],
        entry_num: false,
        doc: "The mock driver's IOMMU_TEST_OP_DMABUF_GET: exports memory of a device (6.19+).",
    },
    Signature {
        call: Call::DmabufRevoke,
        name: "dmabuf_revoke",
        args: &[req("dmabuf_fd", File), opt("revoked", Num, 1)],
        outs: &[],
        entry_num: false,
        doc: "The mock driver's IOMMU_TEST_OP_DMABUF_REVOKE: takes the memory back (6.19+).",
    },
    Signature {
        call: Call::CheckCache,
        name: "check_cache",
        args: &[req("id", Id), req("cache_id", Num), req("value", Num)],
        outs: &[],
        entry_num: false,
        doc: "The mock driver's IOMMU_TEST_OP_DEV_CHECK_CACHE: -EINVAL if the cache holds another value.",
    },
    Signature {
        call: Call::TriggerVevent,
        name: "trigger_vevent",
        args: &[req("viommu_id", Id), req("dev_id", Id)],
        outs: &[],
        entry_num: false,
        doc: "The mock driver's IOMMU_TEST_OP_TRIGGER_VEVENT: the device reports an event (6.15+).",
    },
    Signature {
        call: Call::TriggerIopf,
        name: "trigger_iopf",
        args: &[req("dev_id", Id)],
        outs: &[],
        entry_num: false,
        doc: "The mock driver's IOMMU_TEST_OP_TRIGGER_IOPF: the device has a page fault (6.11+).",
    },
    Signature {
        call: Call::CheckIotlb,
        name: "check_iotlb",
        args: &[req("hwpt_id", Id), req("iotlb_id", Num), req("value", Num)],
        outs: &[],
        entry_num: false,
        doc: "The mock driver's IOMMU_TEST_OP_MD_CHECK_IOTLB: -EINVAL if the entry holds another value.",
    },
    Signature {
        call: Call::CreateAccess,
        name: "create_access",
        args: &[req("ioas_id", Id), opt("flags", Flags, 0)],
        outs: &[out("out_access_fd", File)],
        entry_num: false,
        doc: "The mock driver's IOMMU_TEST_OP_CREATE_ACCESS: an access of an IOAS, as VFIO makes for an emulated device, and its file.",
    },
    Signature {
        call: Call::AccessReplaceIoas,
        name: "access_replace_ioas",
        args: &[req("access", File), req("ioas_id", Id)],
        outs: &[],
        entry_num: false,
        doc: "The mock driver's IOMMU_TEST_OP_ACCESS_REPLACE_IOAS: the access goes to another IOAS (6.6+).",
    },
    Signature {
        call: Call::AccessRw,
        name: "access_rw",
        args: &[
            req("access", File),
            req("iova", Num),
            req("length", Num),
            opt("flags", Flags, 0),
        ],
        outs: &[],
        entry_num: false,
        doc: "The mock driver's IOMMU_TEST_OP_ACCESS_RW: reads what is mapped there; with SYZ, `iova` counts from the first area.",
    },
    Signature {
        call: Call::AccessPages,
        name: "access_pages",
        args: &[
            req("access", File),
            req("iova", Num),
            req("length", Num),
            opt("flags", Flags, 0),
        ],
        outs: &[out("out_access_pages_id", Id)],
        entry_num: false,
        doc: "The mock driver's IOMMU_TEST_OP_ACCESS_PAGES: pins what is mapped there, through an access that was made with NEEDS_PIN_PAGES.",
    },
    Signature {
        call: Call::DestroyAccessPages,
        name: "destroy_access_pages",
        args: &[req("access", File), req("access_pages_id", Id)],
        outs: &[],
        entry_num: false,
        doc: "The mock driver's IOMMU_TEST_OP_DESTROY_ACCESS_PAGES: unpins what access_pages pinned.",
    },
];

/// The row of a call.
pub fn signature(call: Call) -> &'static Signature {
    SIGNATURES.iter().find(|s| s.call == call).expect("every call has a row: checked by a test")
}

/// The row with this name.
pub fn by_name(name: &str) -> Option<&'static Signature> {
    SIGNATURES.iter().find(|s| s.name == name)
}
