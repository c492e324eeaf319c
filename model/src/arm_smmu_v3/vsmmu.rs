//! IOMMU_HWPT_INVALIDATE with a vIOMMU id, from the copied argument struct down to the ring.
//!
//! It stands here and not among the scenarios of the kernel model, because what its answer promises
//! can only be judged at the ring: which of the guest's commands the SMMU got. The look-up of the
//! vIOMMU and the checks of the struct are those of `iommufd/hw_pagetable.rs` and are not repeated.
//!
//! | contract | file |
//! |---|---|
//! | the driver gets the whole array (v6.14 to v7.3) | `vsmmu/linux_6_14.rs` |
//! | the core goes through it in windows (September 2026) | `vsmmu/for_next_2026_09.rs` |
//! | the mistakes that must be found | `vsmmu/twins.rs` |
//!
//! Source: drivers/iommu/arm/arm-smmu-v3/arm-smmu-v3-iommufd.c, commit d68beb276ba2;
//! drivers/iommu/iommufd/hw_pagetable.c; reference/smmuv3.md section 4.

pub mod for_next_2026_09;
pub mod linux_6_14;
pub mod twins;

use uapi::queue::{Invalidate, Vsmmu, INVALIDATE_DATA_ARM_SMMUV3, INVALIDATE_ENTRY_LEN};
use uapi::Errno;

use smmuv3::{field, Op};

use crate::arm_smmu_v3::cmdq::Cmdq;
use crate::linux::slab::{immortal, Ptr, Struct};
use crate::linux::uaccess::copy_from_user;
use crate::linux::xarray::{
    lockdep_assert_held_xa, xa_load, xa_lock_index, xa_store, xa_unlock_index, XArray, XaFlags,
};

/// `struct arm_vsmmu`. Nobody destroys it here: the file holds it.
pub struct ArmVsmmu {
    /// `vmid`: of the nesting parent.
    pub vmid: u16,
    /// `core.vdevs`: by virtual StreamID. Guarded by its own lock.
    pub vdevs: XArray<Vdevice>,
}

/// `struct iommufd_vdevice`, with what is read of its device.
pub struct Vdevice {
    /// `master->streams[0].id`
    sid: u32,
}

impl Struct for ArmVsmmu {
    const NAME: &'static str = "arm_vsmmu";
}

impl Struct for Vdevice {
    const NAME: &'static str = "vdevice";
}

/// The kernel's copy of the guest's commands.
struct InvalidateCmds;

impl Struct for InvalidateCmds {
    const NAME: &'static str = "cmds";
}

/// What a text makes of one command of the guest.
pub type Convert = fn(&Cmdq, Ptr<ArmVsmmu>, [u64; 2]) -> Result<[u64; 2], Errno>;

impl ArmVsmmu {
    /// A vSMMU with its vDEVICEs, before anybody runs.
    pub fn new(program: &Vsmmu) -> Ptr<ArmVsmmu> {
        let vsmmu = immortal(|owner| ArmVsmmu {
            vmid: program.vmid,
            vdevs: XArray::new(owner.field("core.vdevs"), XaFlags::Plain),
        });
        for (vsid, sid) in &program.vdevs {
            let vdev = immortal(|_| Vdevice { sid: *sid });
            // Nothing is made to fail yet; a vDEVICE that is not there is -EIO to who asks.
            let _stored = xa_store(&vsmmu.vdevs, u64::from(*vsid), Some(vdev));
        }
        vsmmu
    }
}

/// CMDQ_BATCH_ENTRIES - 1: with its CMD_SYNC a list fills a word of the valid map.
pub fn batch_max(q: &Cmdq) -> usize {
    q.shape.word as usize - 1
}

/// `copy_struct_from_user()` of the entry at `index`: what a short one lacks reads as 0, what a
/// long one has more must be 0.
///
/// # Errors
///
/// -E2BIG, -EFAULT.
fn copy_struct_from_user(array: &Invalidate, index: usize) -> Result<[u64; 2], Errno> {
    // check_zeroed_user() comes before the copy.
    if array.entry_len > INVALIDATE_ENTRY_LEN {
        copy_from_user(is_unmapped(array, index))?;
        if array.tail != 0 {
            return Err(Errno::E2BIG);
        }
    }
    copy_from_user(is_unmapped(array, index))?;
    let [word0, word1] = array.commands.get(index).copied().unwrap_or_default();
    let len = u64::from(array.entry_len);
    Ok([word0 & first_bytes(len), word1 & first_bytes(len.saturating_sub(8))])
}

/// Whether the entry lies in memory that cannot be read.
fn is_unmapped(array: &Invalidate, index: usize) -> bool {
    array.unmapped_from.is_some_and(|from| index >= from as usize)
}

/// The bits of a little-endian word of which this many bytes are there.
fn first_bytes(bytes: u64) -> u64 {
    match bytes {
        0..=7 => (1 << (8 * bytes)) - 1,
        _ => u64::MAX,
    }
}

/// `arm_vsmmu_vsid_to_sid()`: the StreamID behind a virtual one. The vDEVICE is found and used
/// under xa_lock(vdevs), which keeps it from being destroyed.
///
/// # Errors
///
/// -EIO if there is no such vDEVICE.
pub fn arm_vsmmu_vsid_to_sid(vsmmu: Ptr<ArmVsmmu>, vsid: u32) -> Result<u32, Errno> {
    let index = u64::from(vsid);

    xa_lock_index(&vsmmu.vdevs, index);
    let sid = find_dev(vsmmu, index).map(|vdev| vdev.sid);
    xa_unlock_index(&vsmmu.vdevs, index);
    sid.ok_or(Errno::EIO)
}

/// `iommufd_viommu_find_dev()`: valid only while the caller holds xa_lock(vdevs).
fn find_dev(vsmmu: Ptr<ArmVsmmu>, index: u64) -> Option<Ptr<Vdevice>> {
    lockdep_assert_held_xa(&vsmmu.vdevs);
    xa_load(&vsmmu.vdevs, index)
}

/// `arm_vsmmu_convert_user_cmd()`: only the opcode and the fields that change are looked at.
///
/// # Errors
///
/// -EIO for a command that a guest may not issue, and for an unknown vDEVICE.
pub fn arm_vsmmu_convert_user_cmd(
    _q: &Cmdq,
    vsmmu: Ptr<ArmVsmmu>,
    mut cmd: [u64; 2],
) -> Result<[u64; 2], Errno> {
    match Op::from_bits(field::OPCODE.get(cmd) as u8) {
        Some(Op::TLBI_NSNH_ALL) => {
            // Everything of the guest is everything of its VMID.
            cmd = [Op::TLBI_NH_ALL as u64, 0];
            set(&mut cmd, field::VMID, vsmmu.vmid.into());
        }
        Some(Op::TLBI_NH_VA | Op::TLBI_NH_VAA | Op::TLBI_NH_ALL | Op::TLBI_NH_ASID) => {
            set(&mut cmd, field::VMID, vsmmu.vmid.into());
        }
        Some(Op::ATC_INV | Op::CFGI_CD | Op::CFGI_CD_ALL) => {
            let sid = arm_vsmmu_vsid_to_sid(vsmmu, field::SID.get(cmd) as u32)?;
            set(&mut cmd, field::SID, sid.into());
        }
        _ => return Err(Errno::EIO),
    }
    Ok(cmd)
}

/// Overwrites a field. The values come from types as wide as it.
fn set(cmd: &mut [u64; 2], field: field::Field, value: u64) {
    let word = &mut cmd[usize::from(field.word)];
    *word = *word & !field.mask() | value << field.low;
}

/// Whether the array is of the driver's type.
fn is_our_type(array: &Invalidate) -> bool {
    array.data_type == INVALIDATE_DATA_ARM_SMMUV3
}
