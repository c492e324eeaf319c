//! drivers/iommu/iommufd/selftest.c since 6.15: a mock device's address spaces by PASID.
//!
//! Source: reference/iommufd.md 2.5.3, 5.2; the order of the calls is from memory of v6.15.

use uapi::Errno;

use crate::iommufd::device::{iommufd_device_attach, iommufd_device_replace};
use crate::iommufd::objects::{to, Selftest, Type};
use crate::iommufd::ucmd::{iommufd_ucmd_respond, Ucmd};
use crate::linux::warn::label;

/// What becomes of the PASID.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PasidOp {
    /// IOMMU_TEST_OP_PASID_ATTACH
    Attach,
    /// IOMMU_TEST_OP_PASID_REPLACE
    Replace,
    /// IOMMU_TEST_OP_PASID_DETACH
    Detach,
}

/// `iommufd_test_pasid_attach()`, `iommufd_test_pasid_replace()` and `iommufd_test_pasid_detach()`.
/// Gives the id of the HWPT out. Only an attach is undone if that cannot be copied out.
///
/// # Errors
///
/// -ENOENT for an unknown mock device, and as `iommufd_device_attach()` and
/// `iommufd_device_replace()`.
pub fn iommufd_test_pasid(
    ucmd: &Ucmd,
    op: PasidOp,
    device_id: u64,
    pasid: u64,
    pt_id: u64,
) -> Result<Option<u32>, Errno> {
    let rev = ucmd.ictx.rev;
    // iommufd_test_get_selftest_obj()
    let dev_obj = (rev.iommufd_get_object)(ucmd.ictx, device_id, Type::Selftest)?;

    let ret = match to::<Selftest>(dev_obj).idev.load() {
        None => Err(Errno::EINVAL),
        Some(idev) => match op {
            PasidOp::Attach => iommufd_device_attach(idev, pasid, pt_id).and_then(|id| {
                let copied = iommufd_ucmd_respond(ucmd);
                if copied.is_err() {
                    (rev.iommufd_device_detach)(idev, pasid);
                }
                copied.map(|()| Some(id))
            }),
            PasidOp::Replace => iommufd_device_replace(idev, pasid, pt_id)
                .and_then(|id| iommufd_ucmd_respond(ucmd).map(|()| Some(id))),
            PasidOp::Detach => {
                (rev.iommufd_device_detach)(idev, pasid);
                Ok(None)
            }
        },
    };
    label("out_sobj");
    (rev.iommufd_put_object)(ucmd.ictx, dev_obj);
    ret
}
