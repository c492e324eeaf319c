//! Not a merged text, and only in its idea a posted one: an unbind that waits until `idev->vdev` is
//! NULL, which it reads without the lock that protects it. Two orders of the wake-up.
//!
//! The rest is 6.17, where the vDEVICE holds the device, so that nothing else goes wrong.
//!
//! Source: reference/iommufd.md R-C20, 3.3 (X2, and Jason's answer of 24 Jun 2025).

use super::linux_6_17::{iommufd_device_remove_vdev, iommufd_vdevice_abort};
use crate::iommufd::objects::{obj_of, to, Device, Ictx, Object, Vdevice};
use crate::linux::mutex::{mutex_lock, mutex_unlock};
use crate::linux::slab::Ptr;
use crate::linux::wait::{wait_event, wake_up_all, Condition};

/// `iommufd_device_pre_destroy()`
pub fn iommufd_device_pre_destroy(ictx: Ptr<Ictx>, obj: Ptr<Object>) {
    let idev = to::<Device>(obj);

    iommufd_device_remove_vdev(idev);
    // wait_event(ictx->destroy_wait, !idev->vdev)
    if idev.vdev.load().is_some() {
        let accesses = [idev.vdev.read_access()];
        let condition = Condition { accesses: &accesses, holds: &|| idev.vdev.peek().is_none() };
        wait_event(&ictx.destroy_wait, &condition);
    }
}

/// `iommufd_vdevice_destroy()`: clears `idev->vdev`, then wakes.
pub fn iommufd_vdevice_destroy(_ictx: Ptr<Ictx>, obj: Ptr<Object>) {
    vdevice_destroy(obj, |_| {}, |ictx| wake_up_all(&ictx.destroy_wait));
}

/// `iommufd_vdevice_destroy()`: wakes, then clears `idev->vdev`.
pub fn iommufd_vdevice_destroy_wake_first(_ictx: Ptr<Ictx>, obj: Ptr<Object>) {
    vdevice_destroy(obj, |ictx| wake_up_all(&ictx.destroy_wait), |_| {});
}

/// Part of `iommufd_vdevice_destroy()`
fn vdevice_destroy(obj: Ptr<Object>, before: fn(Ptr<Ictx>), after: fn(Ptr<Ictx>)) {
    let vdev = to::<Vdevice>(obj);
    let Some(idev) = vdev.idev.load() else { return };
    let (Some(ictx), Some(igroup)) = (idev.ictx.load(), idev.igroup.load()) else { return };

    before(ictx);
    mutex_lock(&igroup.lock);
    iommufd_vdevice_abort(ictx, obj);
    mutex_unlock(&igroup.lock);
    after(ictx);
    (ictx.rev.iommufd_put_object)(ictx, obj_of(idev));
}
