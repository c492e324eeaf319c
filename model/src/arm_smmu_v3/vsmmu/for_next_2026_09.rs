//! The contract of September 2026: the core goes through the array, and the driver handles the
//! whole of a window of it, or nothing.
//!
//! Not read from the patches but from their description: how the driver copies its window is not
//! stated; here it is one copy per entry.
//!
//! Source: commits 26564d25cd81, 61e2f25a49bc, 2d4f03f6610d (iommufd for-next, September 2026);
//! reference/smmuv3.md 4.1, 4.4.

use uapi::queue::{Invalidate, Without};
use uapi::Errno;

use smmuv3::command::{decode, Illegal};
use smmuv3::{field, Command, Config, Feature, Features, Res0};

use super::{arm_vsmmu_convert_user_cmd, batch_max, copy_struct_from_user, is_our_type, ArmVsmmu};
use crate::arm_smmu_v3::cmdq::Cmdq;
use crate::arm_smmu_v3::device::config;
use crate::linux::slab::Ptr;

/// Entries of an array: from here, so many of them.
#[derive(Clone, Copy, Debug)]
pub struct Rest {
    /// The first.
    pub from: usize,
    /// How many are left.
    pub entry_num: usize,
}

/// What the driver answers to the rest of an array: how many it handled, and what went wrong.
pub type CacheInvalidate =
    fn(&Cmdq, Ptr<ArmVsmmu>, &Invalidate, Rest) -> (Result<(), Errno>, usize);

/// Part of `iommufd_hwpt_invalidate()`: calls the op until the array is through.
///
/// # Errors
///
/// Those of [`arm_vsmmu_cache_invalidate`].
pub fn iommufd_hwpt_invalidate(
    q: &Cmdq,
    vsmmu: Ptr<ArmVsmmu>,
    array: &Invalidate,
) -> (Result<(), Errno>, u32) {
    iterate(q, vsmmu, array, arm_vsmmu_cache_invalidate)
}

/// Part of `iommufd_hwpt_invalidate()`: the loop, over this op.
pub(super) fn iterate(
    q: &Cmdq,
    vsmmu: Ptr<ArmVsmmu>,
    array: &Invalidate,
    op: CacheInvalidate,
) -> (Result<(), Errno>, u32) {
    let (entries, mut done) = (array.commands.len(), 0);
    loop {
        // An empty array is given to the driver, too: it looks at the type.
        let rest = Rest { from: done, entry_num: entries - done };
        let (ret, processed) = op(q, vsmmu, array, rest);
        done += processed;
        if ret.is_err() || done >= entries {
            return (ret, done as u32);
        }
    }
}

/// `arm_vsmmu_cache_invalidate()`: a window, all of it or nothing.
fn arm_vsmmu_cache_invalidate(
    q: &Cmdq,
    vsmmu: Ptr<ArmVsmmu>,
    array: &Invalidate,
    rest: Rest,
) -> (Result<(), Errno>, usize) {
    let window = convert_window(q, vsmmu, array, rest, arm_vsmmu_convert_allowed)
        .map_err(|(e, _)| e)
        .and_then(|cmds| issue_window(q, &cmds));
    all_or_nothing(window)
}

/// Part of `arm_vsmmu_cache_invalidate()`: its end.
pub(super) fn all_or_nothing(window: Result<usize, Errno>) -> (Result<(), Errno>, usize) {
    match window {
        Ok(processed) => (Ok(()), processed),
        Err(e) => (Err(e), 0),
    }
}

/// Part of `arm_vsmmu_cache_invalidate()`: copies and converts one window.
///
/// # Errors
///
/// -EINVAL for another type, the copy's, -EIO; and how many were converted before.
pub(super) fn convert_window(
    q: &Cmdq,
    vsmmu: Ptr<ArmVsmmu>,
    array: &Invalidate,
    rest: Rest,
    convert: super::Convert,
) -> Result<Vec<[u64; 2]>, (Errno, usize)> {
    if !is_our_type(array) {
        return Err((Errno::EINVAL, 0));
    }
    // The window is on the stack: nothing is allocated.
    let mut cmds = Vec::with_capacity(batch_max(q));
    for index in (rest.from..).take(rest.entry_num.min(batch_max(q))) {
        let cmd = copy_struct_from_user(array, index).and_then(|cmd| convert(q, vsmmu, cmd));
        cmds.push(cmd.map_err(|e| (e, cmds.len()))?);
    }
    Ok(cmds)
}

/// Part of `arm_vsmmu_cache_invalidate()`: the main queue, with a CMD_SYNC. How many it were.
///
/// # Errors
///
/// -ETIMEDOUT
pub(super) fn issue_window(q: &Cmdq, cmds: &[[u64; 2]]) -> Result<usize, Errno> {
    if !cmds.is_empty() {
        (q.rev.issue_cmdlist)(q, cmds, true)?;
    }
    Ok(cmds.len())
}

/// Refuses bits that the command does not have on this SMMU, then converts.
///
/// # Errors
///
/// -EIO
pub fn arm_vsmmu_convert_allowed(
    q: &Cmdq,
    vsmmu: Ptr<ArmVsmmu>,
    cmd: [u64; 2],
) -> Result<[u64; 2], Errno> {
    let strict = Config { res0: Res0::Strict, ..config(q) };
    match decode(cmd, &strict) {
        Ok(command) if is_beyond_the_ids(q, command, strict.features) => return Err(Errno::EIO),
        Ok(_) => {}
        // The range check asks whether the SMMU has DS, and not more.
        Err(Illegal::Scale(_)) if strict.features.has(Feature::Ds) => {}
        Err(_) => return Err(Errno::EIO),
    }
    arm_vsmmu_convert_user_cmd(q, vsmmu, cmd)
}

/// Whether it has an ASID of 16 bits for an SMMU with 8, or a SubstreamID for one without.
fn is_beyond_the_ids(q: &Cmdq, command: Command, features: Features) -> bool {
    let has = |field| command.get(field).is_some_and(|value| value != 0);
    let wide = command.get(field::ASID).is_some_and(|asid| asid >> 8 != 0);
    let without = q.program.vsmmu.iter().flat_map(|vsmmu| &vsmmu.without);
    let no_substreams = without.into_iter().any(|w| *w == Without::SubstreamIds);
    (wide && !features.has(Feature::Asid16))
        || (no_substreams && [field::SSV, field::SSID, field::GLOBAL].into_iter().any(has))
}
