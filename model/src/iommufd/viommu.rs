//! drivers/iommu/iommufd/viommu.c of 6.13 (the series' v6, merged): vIOMMU and vDEVICE.
//!
//! A vIOMMU holds its nesting parent. A vDEVICE holds its vIOMMU and a reference of the `struct
//! device`; it holds nothing of the iommufd device, so it can outlive its unbind (R-C15). Slots
//! of `viommu->vdevs` are changed under its xa_lock, and whoever uses what a slot points to keeps
//! holding that lock.
//!
//! Source: reference/iommufd.md 2.1, 2.2.6; <cover.1730313494.git.nicolinc@nvidia.com>.

pub mod assert_not_held;
pub mod cmpxchg_after_kfree;
pub mod compare_virt_id;
pub mod linux_6_17;
pub mod lock_in_destroy;
pub mod p2_v3;
pub mod p2_v4;
pub mod p2_v5;
pub mod poll_vdev;
pub mod put_device_before_erase;
pub mod put_idev_before_unlock;
pub mod skip_erase;
pub mod unlock_before_abort;
pub mod unlock_on_small_vdevice;
pub mod unset_with_xa_cmpxchg;
pub mod users_dec_before_erase;
pub mod users_inc_after_publish;
pub mod viommu_v1;
pub mod viommu_v2;
pub mod without_destroying;
pub mod without_get_vdevice;
pub mod xa_erase;

use uapi::Errno;

use crate::iommufd::hw_pagetable::__iommu_get_iommu_dev;
use crate::iommufd::main::_iommufd_object_alloc;
use crate::iommufd::objects::{
    obj_of, to, Device, HwptPaging, Ictx, Object, Type, Vdevice, Viommu,
};
use crate::iommufd::selftest::mock_viommu_alloc;
use crate::iommufd::ucmd::{iommufd_ucmd_respond, Ucmd};
use crate::linux::device::{get_device, put_device};
use crate::linux::refcount::{refcount_dec, refcount_inc};
use crate::linux::slab::{Plain, Ptr};
use crate::linux::xarray::{xa_cmpxchg, xa_destroy};

/// The argument struct of IOMMU_VIOMMU_ALLOC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ViommuAlloc {
    /// Must be 0.
    pub flags: u64,
    /// Type of the vIOMMU; 0 is DEFAULT.
    pub ty: u64,
    /// Device that names the physical IOMMU.
    pub dev_id: u64,
    /// Nesting parent.
    pub hwpt_id: u64,
    /// Length of the driver's data (6.17+).
    pub data_len: u64,
    /// Whether that data is at a bad address (6.17+).
    pub bad_uptr: bool,
}

/// The argument struct of IOMMU_VDEVICE_ALLOC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VdeviceAlloc {
    /// vIOMMU.
    pub viommu_id: u64,
    /// Device.
    pub dev_id: u64,
    /// Virtual device ID. `unsigned long` has 64 bits, so the -EINVAL of a larger one cannot be.
    pub virt_id: u64,
}

/// What stands between the look-ups and the puts of IOMMU_VDEVICE_ALLOC in one text.
pub(super) type VdeviceAllocBody =
    fn(&Ucmd, &VdeviceAlloc, Ptr<Viommu>, Ptr<Device>) -> Result<u32, Errno>;

/// `iommufd_viommu_destroy()`
pub fn iommufd_viommu_destroy(_ictx: Ptr<Ictx>, obj: Ptr<Object>) {
    let viommu = to::<Viommu>(obj);

    // viommu->ops->destroy: the mock driver's only lets its IOMMU be unplugged.
    if let Some(hwpt) = viommu.hwpt.load() {
        refcount_dec(&hwpt.obj.users);
    }
    xa_destroy(&viommu.vdevs);
}

/// `iommufd_viommu_alloc_ioctl()`: IOMMU_VIOMMU_ALLOC.
///
/// # Errors
///
/// See reference/iommufd.md 2.1.1.
pub fn iommufd_viommu_alloc_ioctl(ucmd: &Ucmd, cmd: &ViommuAlloc) -> Result<u32, Errno> {
    let ictx = ucmd.ictx;
    let rev = ictx.rev;

    if cmd.flags != 0 || cmd.ty == 0 {
        return Err(Errno::EOPNOTSUPP);
    }

    let idev_obj = (rev.iommufd_get_object)(ictx, cmd.dev_id, Type::Device)?;
    let idev = to::<Device>(idev_obj);

    let ret = match (rev.iommufd_get_object)(ictx, cmd.hwpt_id, Type::HwptPaging) {
        Err(e) => Err(e),
        Ok(hwpt_obj) => {
            let ret = viommu_alloc_on(ucmd, cmd, idev, to::<HwptPaging>(hwpt_obj));
            // out_put_hwpt
            (rev.iommufd_put_object)(ictx, hwpt_obj);
            ret
        }
    };
    // out_put_idev
    (rev.iommufd_put_object)(ictx, idev_obj);
    ret
}

/// Part of `iommufd_viommu_alloc_ioctl()`: what stands between the look-ups and the puts.
fn viommu_alloc_on(
    ucmd: &Ucmd,
    cmd: &ViommuAlloc,
    idev: Ptr<Device>,
    hwpt: Ptr<HwptPaging>,
) -> Result<u32, Errno> {
    let ictx = ucmd.ictx;

    if !hwpt.nest_parent {
        return Err(Errno::EINVAL);
    }

    let viommu = mock_viommu_alloc(ictx, cmd.ty)?;
    viommu.ictx.store(Some(ictx));
    viommu.hwpt.store(Some(hwpt));
    refcount_inc(&hwpt.obj.users);
    // Not counted: an IOMMU that is in use is assumed not to be unplugged.
    viommu.iommu_dev.store(__iommu_get_iommu_dev(idev));

    let id = viommu.obj.id.load();
    if let Err(e) = iommufd_ucmd_respond(ucmd) {
        // out_abort
        (ictx.rev.iommufd_object_abort_and_destroy)(ictx, obj_of(viommu));
        return Err(e);
    }
    (ictx.rev.iommufd_object_finalize)(ictx, obj_of(viommu));
    Ok(id)
}

/// `iommufd_vdevice_destroy()`: destroy op and unwind of a failed allocation.
///
/// The `xa_cmpxchg()` may fail: if the allocation found its virtual ID taken, the entry there
/// belongs to another vDEVICE and must survive. The compare can only match this very object,
/// which nobody else can free or store. It comes first: once `viommu->users` is dropped the
/// vIOMMU may be freed.
pub fn iommufd_vdevice_destroy(_ictx: Ptr<Ictx>, obj: Ptr<Object>) {
    let vdev = to::<Vdevice>(obj);
    let Some(viommu) = vdev.viommu.load() else { return };

    let _not_ours = xa_cmpxchg(&viommu.vdevs, vdev.id.load(), Some(vdev), None);
    refcount_dec(&viommu.obj.users);
    if let Some(dev) = vdev.dev.load() {
        put_device(dev);
    }
}

/// Part of `iommufd_vdevice_alloc_ioctl()`: a vDEVICE object with a reserved id.
///
/// # Errors
///
/// As `_iommufd_object_alloc()`.
pub(super) fn vdevice_object(ictx: Ptr<Ictx>) -> Result<Ptr<Vdevice>, Errno> {
    _iommufd_object_alloc(ictx, Type::Vdevice, |owner, obj| Vdevice {
        obj,
        viommu: Plain::new(owner.field("viommu"), None),
        dev: Plain::new(owner.field("dev"), None),
        idev: Plain::new(owner.field("idev"), None),
        id: Plain::new(owner.field("id"), 0),
        skip_erase: Plain::new(owner.field("skip_erase"), false),
        driver_part: Plain::new(owner.field("driver_part"), false),
    })
}

/// `iommufd_vdevice_alloc_ioctl()`: IOMMU_VDEVICE_ALLOC.
///
/// # Errors
///
/// See reference/iommufd.md 2.2.6.
pub fn iommufd_vdevice_alloc_ioctl(ucmd: &Ucmd, cmd: &VdeviceAlloc) -> Result<u32, Errno> {
    with_viommu_and_idev(ucmd, cmd, vdevice_alloc_on)
}

/// Part of `iommufd_vdevice_alloc_ioctl()`: the look-ups and puts, which every text shares.
///
/// # Errors
///
/// -ENOENT for an unknown vIOMMU or device, -EINVAL if they sit behind different IOMMUs.
pub(super) fn with_viommu_and_idev(
    ucmd: &Ucmd,
    cmd: &VdeviceAlloc,
    body: VdeviceAllocBody,
) -> Result<u32, Errno> {
    let ictx = ucmd.ictx;
    let rev = ictx.rev;

    let viommu_obj = (rev.iommufd_get_object)(ictx, cmd.viommu_id, Type::Viommu)?;
    let viommu = to::<Viommu>(viommu_obj);

    let ret = match (rev.iommufd_get_object)(ictx, cmd.dev_id, Type::Device) {
        Err(e) => Err(e),
        Ok(idev_obj) => {
            let idev = to::<Device>(idev_obj);
            let ret = if viommu.iommu_dev.load() == __iommu_get_iommu_dev(idev) {
                body(ucmd, cmd, viommu, idev)
            } else {
                Err(Errno::EINVAL)
            };
            // out_put_idev
            (rev.iommufd_put_object)(ictx, idev_obj);
            ret
        }
    };
    // out_put_viommu
    (rev.iommufd_put_object)(ictx, viommu_obj);
    ret
}

/// Part of `iommufd_vdevice_alloc_ioctl()`: step 6 of reference/iommufd.md 2.2.6 without the
/// vIOMMU's users.
pub(super) fn vdevice_fill(
    vdev: Ptr<Vdevice>,
    cmd: &VdeviceAlloc,
    viommu: Ptr<Viommu>,
    idev: Ptr<Device>,
) {
    vdev.id.store(cmd.virt_id);
    if let Some(dev) = idev.dev.load() {
        vdev.dev.store(Some(get_device(dev)));
    }
    vdev.viommu.store(Some(viommu));
}

/// Part of `iommufd_vdevice_alloc_ioctl()`: step 7, publishing the vDEVICE.
///
/// # Errors
///
/// -EEXIST if the virtual ID is taken, -ENOMEM.
pub(super) fn vdevice_publish(
    viommu: Ptr<Viommu>,
    virt_id: u64,
    vdev: Ptr<Vdevice>,
) -> Result<(), Errno> {
    match xa_cmpxchg(&viommu.vdevs, virt_id, None, Some(vdev))? {
        None => Ok(()),
        Some(_) => Err(Errno::EEXIST),
    }
}

/// Part of `iommufd_vdevice_alloc_ioctl()`: steps 5 to 9.
fn vdevice_alloc_on(
    ucmd: &Ucmd,
    cmd: &VdeviceAlloc,
    viommu: Ptr<Viommu>,
    idev: Ptr<Device>,
) -> Result<u32, Errno> {
    let ictx = ucmd.ictx;
    let vdev = vdevice_object(ictx)?;

    vdevice_fill(vdev, cmd, viommu, idev);
    refcount_inc(&viommu.obj.users);

    let id = vdev.obj.id.load();
    let ret = vdevice_publish(viommu, cmd.virt_id, vdev).and_then(|()| iommufd_ucmd_respond(ucmd));
    match ret {
        Ok(()) => {
            (ictx.rev.iommufd_object_finalize)(ictx, obj_of(vdev));
            Ok(id)
        }
        Err(e) => {
            // out_abort
            (ictx.rev.iommufd_object_abort_and_destroy)(ictx, obj_of(vdev));
            Err(e)
        }
    }
}
