//! The operations of a recording: which call of [`uapi::call::SIGNATURES`] each one is, and what
//! its arguments are there.
//!
//! A call is found by its name, so an operation whose call the model does not have yet is known
//! here and said to be missing there.

use uapi::call::{
    HWPT_ALLOC_DIRTY_TRACKING, HWPT_ALLOC_NEST_PARENT, HWPT_ALLOC_PASID, HWPT_DATA_SELFTEST,
    HWPT_FAULT_ID_VALID, HW_INFO_TYPE_SELFTEST, INVALIDATE_DATA_SELFTEST,
    INVALIDATE_DATA_SELFTEST_INVALID, IOAS_MAP_FIXED_IOVA, IOAS_MAP_READABLE, IOAS_MAP_WRITEABLE,
    VIOMMU_TYPE_SELFTEST,
};

/// What an argument is in the call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum To {
    /// An object id or a number, for the field of this name.
    Field(&'static str),
    /// Whether memory of the recorder's own is passed, for the field of this name: 0 is NULL.
    Buffer(&'static str),
    /// A name of a file.
    File,
    /// Words of driver data, at a good address; the first word is for the field of this name.
    Data(Option<&'static str>),
    /// Invalidation entries.
    Entries,
    /// Something that the recorder told itself.
    Aside,
}

/// One operation.
#[derive(Debug)]
pub(super) struct Op {
    /// Its name in a recording.
    pub name: &'static str,
    /// The name of its call.
    pub call: &'static str,
    /// Its arguments.
    pub args: &'static [(&'static str, To)],
    /// Fields that are 0 if they are not given, whatever the call's default is: the recorder's
    /// structs start as zeros.
    pub zero: &'static [&'static str],
}

use To::{Aside, Buffer, Data, Entries, Field, File};

/// Options that every ioctl takes.
pub(super) const OPTIONS: &[&str] =
    &["fd", "ro", "badptr", "user_struct", "usize", "trail", "sweep"];

/// The operations that are calls of their own. `end`, `reopen` and `drain` are not.
pub(super) const OPS: &[Op] = &[
    Op {
        name: "ioas_alloc",
        call: "IOMMU_IOAS_ALLOC",
        args: &[("flags", Field("flags"))],
        zero: &[],
    },
    Op {
        name: "ioas_map",
        call: "IOMMU_IOAS_MAP",
        args: &[
            ("ioas_id", Field("ioas_id")),
            ("flags", Field("flags")),
            ("va", Buffer("user_va")),
            ("user_va", Field("user_va")),
            ("length", Field("length")),
            ("iova", Field("iova")),
            ("__reserved", Field("__reserved")),
        ],
        zero: &["flags", "user_va"],
    },
    Op {
        name: "ioas_unmap",
        call: "IOMMU_IOAS_UNMAP",
        args: &[
            ("ioas_id", Field("ioas_id")),
            ("length", Field("length")),
            ("iova", Field("iova")),
        ],
        zero: &[],
    },
    Op {
        name: "hw_info",
        call: "IOMMU_GET_HW_INFO",
        args: &[
            ("dev_id", Field("dev_id")),
            ("flags", Field("flags")),
            ("data", Data(None)),
            ("data_len", Field("data_len")),
            ("data_uptr", Field("data_uptr")),
            ("in_data_type", Field("in_data_type")),
            ("__reserved", Field("__reserved")),
        ],
        zero: &[],
    },
    Op {
        name: "hwpt_alloc",
        call: "IOMMU_HWPT_ALLOC",
        args: &[
            ("dev_id", Field("dev_id")),
            ("pt_id", Field("pt_id")),
            ("flags", Field("flags")),
            ("data_type", Field("data_type")),
            ("data", Data(Some("iotlb"))),
            ("data_len", Field("data_len")),
            ("data_uptr", Field("data_uptr")),
            ("fault_id", Field("fault_id")),
            ("__reserved", Field("__reserved")),
            ("__reserved2", Field("__reserved2")),
        ],
        zero: &["data_type", "data_len", "data_uptr"],
    },
    Op {
        name: "hwpt_invalidate",
        call: "IOMMU_HWPT_INVALIDATE",
        args: &[
            ("hwpt_id", Field("hwpt_id")),
            ("entries", Entries),
            ("data_type", Field("data_type")),
            ("entry_len", Field("entry_len")),
            ("entry_num", Field("entry_num")),
            ("data_uptr", Field("data_uptr")),
            ("__reserved", Field("__reserved")),
        ],
        zero: &["data_type", "entry_len", "entry_num", "data_uptr"],
    },
    Op {
        name: "viommu_alloc",
        call: "IOMMU_VIOMMU_ALLOC",
        args: &[
            ("dev_id", Field("dev_id")),
            ("hwpt_id", Field("hwpt_id")),
            ("type", Field("type")),
            ("flags", Field("flags")),
            ("data", Data(None)),
            ("data_len", Field("data_len")),
            ("data_uptr", Field("data_uptr")),
            ("__reserved", Field("__reserved")),
        ],
        zero: &["type", "data_uptr"],
    },
    Op {
        name: "vdevice_alloc",
        call: "IOMMU_VDEVICE_ALLOC",
        args: &[
            ("viommu_id", Field("viommu_id")),
            ("dev_id", Field("dev_id")),
            ("virt_id", Field("virt_id")),
            ("vdev_id", Field("virt_id")),
        ],
        zero: &[],
    },
    Op {
        name: "veventq_alloc",
        call: "IOMMU_VEVENTQ_ALLOC",
        args: &[
            ("viommu_id", Field("viommu_id")),
            ("type", Field("type")),
            ("depth", Field("veventq_depth")),
            ("veventq_depth", Field("veventq_depth")),
            ("flags", Field("flags")),
            ("__reserved", Field("__reserved")),
        ],
        zero: &["type", "veventq_depth"],
    },
    Op {
        name: "hw_queue_alloc",
        call: "IOMMU_HW_QUEUE_ALLOC",
        args: &[
            ("viommu_id", Field("viommu_id")),
            ("type", Field("type")),
            ("index", Field("index")),
            ("iova", Field("nesting_parent_iova")),
            ("nesting_parent_iova", Field("nesting_parent_iova")),
            ("length", Field("length")),
            ("flags", Field("flags")),
        ],
        zero: &["type", "index", "length"],
    },
    Op {
        name: "fault_alloc",
        call: "IOMMU_FAULT_QUEUE_ALLOC",
        args: &[("flags", Field("flags"))],
        zero: &[],
    },
    Op { name: "destroy", call: "IOMMU_DESTROY", args: &[("id", Field("id"))], zero: &[] },
    Op {
        name: "mock_domain",
        call: "mock_domain",
        args: &[
            ("pt_id", Field("pt_id")),
            ("id", Field("pt_id")),
            ("flags", Field("dev_flags")),
            ("dev_flags", Field("dev_flags")),
        ],
        zero: &[],
    },
    Op {
        name: "mock_domain_replace",
        call: "mock_domain_replace",
        args: &[
            ("stdev_id", Field("stdev_id")),
            ("id", Field("stdev_id")),
            ("pt_id", Field("pt_id")),
        ],
        zero: &[],
    },
    Op {
        name: "check_cache",
        call: "check_cache",
        args: &[
            ("dev_id", Field("id")),
            ("id", Field("id")),
            ("idx", Field("cache_id")),
            ("cache_id", Field("cache_id")),
            ("val", Field("value")),
            ("cache", Field("value")),
        ],
        zero: &["cache_id", "value"],
    },
    Op {
        name: "check_iotlb",
        call: "check_iotlb",
        args: &[
            ("hwpt_id", Field("hwpt_id")),
            ("id", Field("hwpt_id")),
            ("idx", Field("iotlb_id")),
            ("iotlb_id", Field("iotlb_id")),
            ("val", Field("value")),
            ("iotlb", Field("value")),
        ],
        zero: &["iotlb_id", "value"],
    },
    Op {
        name: "trigger_vevent",
        call: "trigger_vevent",
        args: &[
            ("id", Field("viommu_id")),
            ("viommu_id", Field("viommu_id")),
            ("dev_id", Field("dev_id")),
        ],
        zero: &[],
    },
    Op {
        name: "create_access",
        call: "create_access",
        args: &[
            ("ioas_id", Field("ioas_id")),
            ("ioas", Field("ioas_id")),
            ("pt_id", Field("ioas_id")),
            ("id", Field("ioas_id")),
            ("flags", Field("flags")),
        ],
        zero: &[],
    },
    Op { name: "open", call: "open", args: &[("name", File)], zero: &[] },
    Op { name: "close", call: "close", args: &[("name", File)], zero: &[] },
    Op {
        name: "read",
        call: "read",
        args: &[
            ("fd", File),
            ("name", File),
            ("count", Field("count")),
            ("n", Field("count")),
            ("len", Field("count")),
            ("length", Field("count")),
            ("size", Field("count")),
        ],
        zero: &[],
    },
    Op {
        name: "poll",
        call: "poll",
        args: &[("fd", File), ("name", File), ("events", Aside), ("timeout", Aside)],
        zero: &[],
    },
];

/// The operations that are not one call.
pub(super) const OTHERS: &[&str] = &["end", "reopen", "drain"];

/// The operation of this name.
pub(super) fn find(name: &str) -> Option<&'static Op> {
    OPS.iter().find(|op| op.name == name)
}

/// Whether it goes to a file of a queue, so that the common options are not its own.
pub(super) fn is_file_op(name: &str) -> bool {
    matches!(name, "open" | "close" | "read" | "poll")
}

/// Names of numbers: operation (empty: every one), argument, name, value.
const NAMES: &[(&str, &str, &str, u64)] = &[
    ("hwpt_alloc", "flags", "NEST_PARENT", HWPT_ALLOC_NEST_PARENT),
    ("hwpt_alloc", "flags", "DIRTY", HWPT_ALLOC_DIRTY_TRACKING),
    ("hwpt_alloc", "flags", "DIRTY_TRACKING", HWPT_ALLOC_DIRTY_TRACKING),
    ("hwpt_alloc", "flags", "FAULT_ID_VALID", HWPT_FAULT_ID_VALID),
    ("hwpt_alloc", "flags", "PASID", HWPT_ALLOC_PASID),
    ("hwpt_alloc", "data_type", "NONE", 0),
    ("hwpt_alloc", "data_type", "SELFTEST", HWPT_DATA_SELFTEST),
    ("hwpt_alloc", "data_type", "SELFTEST_HWPT", HWPT_DATA_SELFTEST),
    ("hwpt_invalidate", "data_type", "SELFTEST", INVALIDATE_DATA_SELFTEST),
    ("hwpt_invalidate", "data_type", "SELFTEST_INVALID", INVALIDATE_DATA_SELFTEST_INVALID),
    ("viommu_alloc", "type", "SELFTEST", VIOMMU_TYPE_SELFTEST),
    // enum iommu_viommu_type, iommu_veventq_type and iommu_hw_queue_type
    ("viommu_alloc", "type", "ARM_SMMUV3", 1),
    ("viommu_alloc", "type", "TEGRA241_CMDQV", 2),
    ("veventq_alloc", "type", "ARM_SMMUV3", 1),
    ("veventq_alloc", "type", "TEGRA241_CMDQV", 2),
    ("hw_queue_alloc", "type", "TEGRA241_CMDQV", 1),
    // enum iommu_hwpt_data_type and iommu_hwpt_invalidate_data_type
    ("hwpt_alloc", "data_type", "VTD_S1", 1),
    ("hwpt_alloc", "data_type", "ARM_SMMUV3", 2),
    ("hwpt_invalidate", "data_type", "VTD_S1", 0),
    ("hwpt_invalidate", "data_type", "ARM_SMMUV3", 1),
    ("hwpt_invalidate", "data_type", "SELFTEST_HWPT", INVALIDATE_DATA_SELFTEST),
    ("hwpt_invalidate", "data_type", "SELFTEST_VIOMMU", INVALIDATE_DATA_SELFTEST),
    // IOMMU_TEST_INVALIDATE_FLAG_ALL
    ("hwpt_invalidate", "entries", "ALL", 1),
    ("ioas_map", "flags", "FIXED_IOVA", IOAS_MAP_FIXED_IOVA),
    ("ioas_map", "flags", "WRITEABLE", IOAS_MAP_WRITEABLE),
    ("ioas_map", "flags", "READABLE", IOAS_MAP_READABLE),
    // IOMMU_HW_INFO_FLAG_INPUT_TYPE
    ("hw_info", "flags", "INPUT_TYPE", 1),
    ("hw_info", "in_data_type", "SELFTEST", HW_INFO_TYPE_SELFTEST),
    ("", "in_data_type", "DEFAULT", 0),
    ("", "type", "DEFAULT", 0),
    ("", "type", "NONE", 0),
    // IOMMU_VEVENTQ_TYPE_SELFTEST and IOMMU_HW_QUEUE_TYPE_SELFTEST
    ("veventq_alloc", "type", "SELFTEST", 0xbeef_beef),
    // MOCK_FLAGS_ACCESS_CREATE_NEEDS_PIN_PAGES
    ("create_access", "flags", "NEEDS_PIN_PAGES", 1),
    ("veventq_alloc", "type", "SELFTEST_VEVENTQ", 0xbeef_beef),
    ("hw_queue_alloc", "type", "SELFTEST", 0xdead_beef),
    ("hw_queue_alloc", "type", "SELFTEST_HW_QUEUE", 0xdead_beef),
    // IOMMU_TEST_DEV_CACHE_DEFAULT and IOMMU_TEST_IOTLB_DEFAULT
    ("", "", "CACHE", 0xbad_beef),
    ("", "", "IOTLB", 0xbad_beef),
];

/// The number that a word stands for: a number, or names joined with `|`.
pub(super) fn number(op: &str, key: &str, word: &str) -> Option<u64> {
    if let Some(number) = plain_number(word) {
        return Some(number);
    }
    word.split(['|', '+', ',']).try_fold(0, |all, part| {
        let part = part.trim();
        let named = NAMES.iter().find(|(o, k, name, _)| {
            (o.is_empty() || *o == op) && (k.is_empty() || *k == key) && *name == part
        });
        let value = named.map(|(_, _, _, value)| *value).or_else(|| plain_number(part))?;
        Some(all | value)
    })
}

/// A decimal or hexadecimal number; a negative one as C's conversion to `__u64` makes it.
pub(super) fn plain_number(word: &str) -> Option<u64> {
    let word = word.trim();
    if let Some(negative) = word.strip_prefix('-') {
        let digits = negative.bytes().next().is_some_and(|b| b.is_ascii_digit());
        return plain_number(negative).filter(|_| digits).map(u64::wrapping_neg);
    }
    match word.strip_prefix("0x").or_else(|| word.strip_prefix("0X")) {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None if word.bytes().all(|b| b.is_ascii_digit()) => word.parse().ok(),
        None => None,
    }
}
