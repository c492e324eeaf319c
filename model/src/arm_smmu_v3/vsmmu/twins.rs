//! Not posted texts: the contract of September 2026 with one mistake each.
//!
//! Source: reference/smmuv3.md 3.6 B17 (mutant `vsmmu-count-dropped`) and 4.4.

use uapi::queue::Invalidate;
use uapi::Errno;

use super::for_next_2026_09::{
    all_or_nothing, arm_vsmmu_convert_allowed, convert_window, issue_window, iterate, Rest,
};
use super::{arm_vsmmu_convert_user_cmd, ArmVsmmu, Convert};
use crate::arm_smmu_v3::cmdq::Cmdq;
use crate::linux::slab::Ptr;

/// The commands before the one that does not convert count as handled.
pub fn count_dropped(
    q: &Cmdq,
    vsmmu: Ptr<ArmVsmmu>,
    array: &Invalidate,
) -> (Result<(), Errno>, u32) {
    iterate(q, vsmmu, array, |q, vsmmu, array, rest| {
        let convert: Convert = arm_vsmmu_convert_allowed;
        match convert_window(q, vsmmu, array, rest, convert) {
            Err((e, converted)) => (Err(e), converted),
            Ok(cmds) => all_or_nothing(issue_window(q, &cmds)),
        }
    })
}

/// Only the opcode and the fields that change are looked at, as in the first contract.
pub fn without_masks(
    q: &Cmdq,
    vsmmu: Ptr<ArmVsmmu>,
    array: &Invalidate,
) -> (Result<(), Errno>, u32) {
    iterate(q, vsmmu, array, |q, vsmmu, array, rest: Rest| {
        let window = convert_window(q, vsmmu, array, rest, arm_vsmmu_convert_user_cmd);
        all_or_nothing(window.map_err(|(e, _)| e).and_then(|cmds| issue_window(q, &cmds)))
    })
}
