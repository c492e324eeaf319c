//! `iommufd_hwpt_invalidate()` of iommufd's for-next of September 2026: the core goes through the
//! array and calls the driver again until everything is handled or an entry fails.
//!
//! The driver handles the first entry of what is left and copies nothing else, so an entry that is
//! wrong does not keep the ones before it from being executed, and nothing is allocated for the
//! whole array. That the mock driver takes one entry at a time is derived: the titles were read,
//! not the bodies.
//!
//! Source: commits 61e2f25a49bc, 5519695903a4; reference/smmuv3.md 4.1.

use uapi::Errno;

use crate::iommufd::hw_pagetable::{
    hwpt_invalidate_check, hwpt_invalidate_respond, HwptInvalidate,
};
use crate::iommufd::objects::{to, HwptNested, Object, Type, Viommu};
use crate::iommufd::selftest::{
    mock_domain_cache_invalidate_user, mock_viommu_cache_invalidate_first,
};
use crate::iommufd::ucmd::Ucmd;
use crate::linux::slab::Ptr;

/// `iommufd_hwpt_invalidate()`: IOMMU_HWPT_INVALIDATE. Says, beside the answer, what stands in
/// `entry_num` when the struct could be written back.
pub fn iommufd_hwpt_invalidate(
    ucmd: &Ucmd,
    cmd: &HwptInvalidate,
) -> (Result<(), Errno>, Option<u32>) {
    hwpt_invalidate_respond(ucmd, hwpt_invalidate_entries(ucmd, cmd))
}

/// Part of `iommufd_hwpt_invalidate()`: all but the answer.
fn hwpt_invalidate_entries(ucmd: &Ucmd, cmd: &HwptInvalidate) -> (Result<(), Errno>, u32) {
    let rev = ucmd.ictx.rev;

    if let Err(e) = hwpt_invalidate_check(ucmd.ictx, cmd) {
        return (Err(e), 0);
    }

    let pt_obj = match (rev.iommufd_get_object)(ucmd.ictx, cmd.hwpt_id, Type::Any) {
        Ok(obj) => obj,
        Err(e) => return (Err(e), 0),
    };
    let mut done = 0;
    let ret = loop {
        // The driver is called for an empty array, too: it looks at the type.
        let left = rest_of(cmd, done);
        match call_op(pt_obj, &left) {
            Err(e) => break Err(e),
            Ok(processed) => done += processed,
        }
        if u64::from(done) >= cmd.entry_num {
            break Ok(());
        }
    };
    (rev.iommufd_put_object)(ucmd.ictx, pt_obj);
    (ret, done)
}

/// What is left of the array after its first `done` entries.
fn rest_of(cmd: &HwptInvalidate, done: u32) -> HwptInvalidate {
    HwptInvalidate {
        entry_num: cmd.entry_num - u64::from(done),
        entries: cmd.entries.iter().skip(done as usize).copied().collect(),
        ..cmd.clone()
    }
}

/// `(*op)()`: handles the first entry. Gives the number of handled entries: 1, or 0 for an empty
/// array.
fn call_op(pt_obj: Ptr<Object>, left: &HwptInvalidate) -> Result<u32, Errno> {
    match pt_obj.ty {
        Type::HwptNested => {
            let first = HwptInvalidate {
                entry_num: left.entry_num.min(1),
                entries: left.entries.iter().take(1).copied().collect(),
                ..left.clone()
            };
            let (ret, processed) =
                mock_domain_cache_invalidate_user(to::<HwptNested>(pt_obj), &first);
            ret.map(|()| processed)
        }
        Type::Viommu => mock_viommu_cache_invalidate_first(to::<Viommu>(pt_obj), left),
        _ => Err(Errno::EINVAL),
    }
}
