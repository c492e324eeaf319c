//! The argument struct of an ioctl, as user space passes it and `copy_struct_from_user()` takes it:
//! how large it is, where its fields are, and what becomes of a struct of another size.
//!
//! Source: include/uapi/linux/iommufd.h (sizes and offsets), drivers/iommu/iommufd/main.c
//! (`iommufd_ioctl_ops[]`: the last field that must be there); reference/iommufd.md 1.4.13, 2.9.3,
//! 2.9.4.

use uapi::call::{Call, AUTO, HWPT_DATA_SELFTEST, VIOMMU_TYPE_SELFTEST};
use uapi::program::Step;
use uapi::Errno;

use super::Args;
use crate::iommufd::hw_pagetable::or_auto;
use crate::iommufd::revision::Revision;
use crate::iommufd::selftest::HWPT_DATA_LEN;
use crate::linux::uaccess::copy_from_user;

/// Largest size word that an ioctl accepts: PAGE_SIZE.
const USER_SIZE_MAX: u32 = 4096;

/// A field that user space fills in.
struct Field {
    /// Its place among the arguments of the call.
    arg: usize,
    /// Where it starts in the struct.
    offset: u32,
    /// Its size in bytes.
    size: u32,
}

/// A `__u32`.
const fn u32_at(arg: usize, offset: u32) -> Field {
    Field { arg, offset, size: 4 }
}

/// An `__aligned_u64`.
const fn u64_at(arg: usize, offset: u32) -> Field {
    Field { arg, offset, size: 8 }
}

/// Known size of the argument struct in bytes.
fn struct_size(rev: &Revision, call: Call) -> u32 {
    match call {
        Call::Destroy | Call::IoasChangeProcess => 8,
        Call::IoasAlloc => 12,
        Call::FaultAlloc => 16,
        Call::IoasUnmap | Call::VdeviceAlloc | Call::ViommuSetVdevId | Call::ViommuUnsetVdevId => {
            24
        }
        Call::HwptInvalidate | Call::VeventqAlloc | Call::IoasIovaRanges => 32,
        Call::IoasMap | Call::IoasMapFile | Call::GetHwInfo | Call::HwQueueAlloc => 40,
        Call::HwptAlloc => 48,
        Call::ViommuAlloc => rev.viommu_alloc_size,
        // The mock driver's struct, and calls that have none.
        _ => 56,
    }
}

/// Smallest size that the ioctl takes: the end of its last field of the first version.
fn struct_min_size(rev: &Revision, call: Call) -> u32 {
    match call {
        Call::HwptAlloc | Call::ViommuAlloc => 24,
        Call::GetHwInfo => 32,
        other => struct_size(rev, other),
    }
}

/// The fields of the struct of each call; those that only the kernel fills in are not among them.
const FIELDS: &[(Call, &[Field])] = &[
    // id
    (Call::Destroy, &[u32_at(0, 4)]),
    // flags
    (Call::IoasAlloc, &[u32_at(0, 4)]),
    (Call::FaultAlloc, &[u32_at(0, 4)]),
    // __reserved
    (Call::IoasChangeProcess, &[u32_at(0, 4)]),
    // flags, ioas_id, __reserved, user_va, length, iova
    (
        Call::IoasMap,
        &[u32_at(4, 4), u32_at(0, 8), u32_at(5, 12), u64_at(3, 16), u64_at(1, 24), u64_at(2, 32)],
    ),
    // flags, ioas_id, fd, start, length, iova
    (
        Call::IoasMapFile,
        &[u32_at(5, 4), u32_at(0, 8), u32_at(1, 12), u64_at(4, 16), u64_at(2, 24), u64_at(3, 32)],
    ),
    // ioas_id, iova, length
    (Call::IoasUnmap, &[u32_at(0, 4), u64_at(1, 8), u64_at(2, 16)]),
    // ioas_id, num_iovas, __reserved
    (Call::IoasIovaRanges, &[u32_at(0, 4), u32_at(1, 8), u32_at(2, 12)]),
    // flags, dev_id, data_len, data_uptr
    (Call::GetHwInfo, &[u32_at(1, 4), u32_at(0, 8), u32_at(2, 12), u64_at(3, 16)]),
    // __reserved
    (Call::GetHwInfo, &[u32_at(4, 28)]),
    // flags, dev_id, pt_id, __reserved
    (Call::HwptAlloc, &[u32_at(2, 4), u32_at(0, 8), u32_at(1, 12), u32_at(6, 20)]),
    // data_type, data_len, data_uptr, fault_id, __reserved2
    (Call::HwptAlloc, &[u32_at(3, 24), u32_at(4, 28), u64_at(9, 32), u32_at(5, 40), u32_at(7, 44)]),
    // hwpt_id, data_uptr, data_type, entry_len, entry_num, __reserved
    (
        Call::HwptInvalidate,
        &[u32_at(0, 4), u64_at(5, 8), u32_at(2, 16), u32_at(3, 20), u32_at(4, 24), u32_at(6, 28)],
    ),
    // flags, type, dev_id, hwpt_id
    (Call::ViommuAlloc, &[u32_at(3, 4), u32_at(2, 8), u32_at(0, 12), u32_at(1, 16)]),
    // data_len, __reserved, data_uptr
    (Call::ViommuAlloc, &[u32_at(4, 24), u32_at(5, 28), u64_at(6, 32)]),
    // viommu_id, dev_id, virt_id
    (Call::VdeviceAlloc, &[u32_at(0, 4), u32_at(1, 8), u64_at(2, 16)]),
    // flags, viommu_id, type, veventq_depth, __reserved
    (
        Call::VeventqAlloc,
        &[u32_at(3, 4), u32_at(0, 8), u32_at(1, 12), u32_at(2, 16), u32_at(4, 28)],
    ),
    // flags, viommu_id, type, index, nesting_parent_iova, length
    (
        Call::HwQueueAlloc,
        &[u32_at(5, 4), u32_at(0, 8), u32_at(1, 12), u32_at(2, 16), u64_at(3, 24), u64_at(4, 32)],
    ),
];

/// The fields of one call.
fn fields(call: Call) -> impl Iterator<Item = &'static Field> {
    FIELDS.iter().filter(move |(of, _)| *of == call).flat_map(|(_, fields)| *fields)
}

/// What user space writes into the struct where the program leaves a field to it. An address of
/// memory that it has stays [`AUTO`].
fn fill_in(call: Call, args: &mut Args) {
    let (ty, len, uptr) = match call {
        Call::HwptAlloc => (3, 4, 9),
        Call::ViommuAlloc => (2, 4, 6),
        _ => return,
    };
    if call == Call::ViommuAlloc {
        args[ty] = or_auto(args[ty], VIOMMU_TYPE_SELFTEST);
    } else {
        args[ty] = match args[ty] {
            AUTO => 0,
            given if given == AUTO - 1 => HWPT_DATA_SELFTEST,
            given => given,
        };
        let known = args[ty] == HWPT_DATA_SELFTEST;
        args[len] = or_auto(args[len], if known { HWPT_DATA_LEN } else { 0 });
    }
    if args[len] == 0 {
        // Nobody follows it, so that a user space without data passes NULL.
        args[uptr] = or_auto(args[uptr], 0);
    }
}

/// The check of the size word in `iommufd_fops_ioctl()`, and copy_struct_from_user(): what user
/// space does not know reads as 0, what the kernel does not know must be 0.
///
/// # Errors
///
/// -EINVAL for a struct that lacks a field of the first version, -E2BIG, -EFAULT.
pub(super) fn copy_struct_from_user(
    rev: &Revision,
    step: &Step,
    args: &mut Args,
) -> Result<(), Errno> {
    let size = struct_size(rev, step.call);
    fill_in(step.call, args);
    // User space passes the fields that it sets.
    let set = || fields(step.call).filter(|f| args[f.arg] != 0);
    let needed = set().map(|f| f.offset + f.size).max().unwrap_or(0);
    let user_size = step.usize_.unwrap_or(size.max(needed));
    if user_size < struct_min_size(rev, step.call) {
        return Err(Errno::EINVAL);
    }
    if user_size > USER_SIZE_MAX {
        return Err(Errno::E2BIG);
    }
    // check_zeroed_user()
    let unknown = |offset: u32| offset >= size && offset < user_size;
    if step.trail.is_some_and(unknown) || set().any(|f| unknown(f.offset)) {
        return Err(Errno::E2BIG);
    }
    copy_from_user(false)?;
    for field in fields(step.call) {
        let there = user_size.saturating_sub(field.offset).min(field.size);
        let arg = &mut args[field.arg];
        if there == 0 {
            *arg = 0;
        }
        // A byte of a field that user space has set beside its own value.
        match step.trail.and_then(|trail| trail.checked_sub(field.offset)) {
            Some(byte) if byte < there && *arg != AUTO => *arg |= 1 << (8 * byte),
            _ => {}
        }
    }
    Ok(())
}
