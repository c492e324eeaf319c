//! drivers/iommu/iommufd/fault.c up to 6.13: page faults of devices, on their way through a fault
//! queue to user space and back.
//!
//! A group of devices that is attached to a HWPT with a fault queue is attached by a handle. A
//! fault finds its HWPT, and by it the queue, through that handle; it waits in `deliver` until it
//! is read and in `response` until user space has answered. Whoever detaches the group answers
//! what is left of the handle's faults, and frees the handle.
//!
//! The reference has a sentence on each of these functions; the order inside them is written from
//! memory of v6.11 to v6.17 and not read again. A fault is one request, the IOMMU core's
//! `fault_param` of a device is there whenever its group has a handle, and groups that are
//! attached without a fault queue have none.
//!
//! Source: reference/iommufd.md 2.5.3, 2.6, R-B5, R-E1, R-F6, R-G6; drivers/iommu/io-pgfault.c.

pub mod linux_6_14;
pub mod linux_6_15;
pub mod linux_7_3;
pub mod read_ends_on_fault;
pub mod without_auto_response;

use uapi::Errno;

use crate::iommufd::device::iommu_attach;
use crate::iommufd::eventq::ReadOut;
use crate::iommufd::objects::{
    to, AttachHandle, Device, Fault, HwptNested, HwptPaging, Ictx, IopfGroup, Object, Type,
};
use crate::iommufd::revision::Revision;
use crate::iommufd::ucmd::Ucmd;
use crate::linux::device::{device_touch, Device as StructDevice};
use crate::linux::list::{list_add_tail, list_del_init, list_entry};
use crate::linux::mutex::{mutex_lock, mutex_unlock};
use crate::linux::slab::{by_ordinal, kfree, kzalloc, Plain, Ptr};
use crate::linux::uaccess::{copy_from_user, copy_to_user_page, UserPage};
use crate::linux::wait::wake_up_interruptible_all;
use crate::linux::warn::{label, oops_null};
use crate::linux::xarray::{xa_alloc, xa_erase, xa_find, Slot};

/// sizeof(struct iommu_hwpt_pgfault): a fault queue is read in multiples of it.
pub const PGFAULT_SIZE: u64 = 40;
/// sizeof(struct iommu_hwpt_page_response): a fault queue is written in multiples of it.
pub const RESPONSE_SIZE: u64 = 8;
/// IOMMUFD_PAGE_RESP_INVALID, the last code of a response.
const PAGE_RESP_INVALID: u64 = 1;

/// `hwpt->fault`, which is constant from the allocation of the HWPT on.
fn fault_of(hwpt: Ptr<Object>) -> Option<Ptr<Fault>> {
    match hwpt.ty {
        Type::HwptNested => to::<HwptNested>(hwpt).fault.peek(),
        Type::HwptPaging => to::<HwptPaging>(hwpt).fault.peek(),
        _ => None,
    }
}

// ---------------------------------------------------------------------------------------------
// Attach, replace, detach
// ---------------------------------------------------------------------------------------------

/// `iommufd_device_get_attach_handle()`: under `igroup->lock`.
fn iommufd_device_get_attach_handle(idev: Ptr<Device>) -> Option<Ptr<AttachHandle>> {
    iommu_attach_handle_get(idev.dev.peek()?)
}

/// iommu_attach_handle_get(): what the device's group is attached by. Whoever uses it must see to
/// it that the group stays attached.
fn iommu_attach_handle_get(dev: Ptr<StructDevice>) -> Option<Ptr<AttachHandle>> {
    dev.iommu_group.get()?.attach_handle.load().and_then(by_ordinal)
}

/// The entry of the group's `pasid_array`.
fn set_attach_handle(idev: Ptr<Device>, handle: Option<Ptr<AttachHandle>>) {
    if let Some(group) = idev.dev.peek().and_then(|dev| dev.iommu_group.get()) {
        group.attach_handle.store(handle.map(|handle| handle.owner().alloc));
    }
}

/// Part of `iommufd_hwpt_attach_device()` and `iommufd_hwpt_replace_device()`.
///
/// # Errors
///
/// -ENOMEM
pub fn new_handle(hwpt: Ptr<Object>, idev: Ptr<Device>) -> Result<Ptr<AttachHandle>, Errno> {
    kzalloc(|owner| AttachHandle {
        idev: Plain::new(owner.field("idev"), Some(idev)),
        hwpt: Plain::new(owner.field("handle.domain"), Some(hwpt)),
    })
}

/// `iommufd_hwpt_attach_device()`: attaches the device's group. Under `igroup->lock`.
///
/// # Errors
///
/// The driver's; -ENOMEM.
pub fn iommufd_hwpt_attach_device(hwpt: Ptr<Object>, idev: Ptr<Device>) -> Result<(), Errno> {
    match (fault_of(hwpt), idev.ictx.load()) {
        (Some(_), Some(ictx)) => (ictx.rev.iommufd_fault_domain_attach_dev)(hwpt, idev),
        _ => iommu_attach(idev, Some(hwpt)),
    }
}

/// `iommufd_fault_domain_attach_dev()` up to 6.14: the handle can be found before the driver is asked.
///
/// # Errors
///
/// The driver's; -ENOMEM.
pub fn iommufd_fault_domain_attach_dev(hwpt: Ptr<Object>, idev: Ptr<Device>) -> Result<(), Errno> {
    let handle = new_handle(hwpt, idev)?;

    // iommu_attach_group_handle()
    set_attach_handle(idev, Some(handle));
    if let Err(e) = iommu_attach(idev, Some(hwpt)) {
        set_attach_handle(idev, None);
        label("out_free_handle");
        kfree(handle);
        return Err(e);
    }
    Ok(())
}

/// `iommufd_hwpt_detach_device()`: the group goes to the blocked domain. Under `igroup->lock`.
pub fn iommufd_hwpt_detach_device(hwpt: Option<Ptr<Object>>, idev: Ptr<Device>) {
    match hwpt.filter(|hwpt| fault_of(*hwpt).is_some()) {
        Some(hwpt) => iommufd_fault_domain_detach_dev(hwpt, idev),
        None => {
            let _cannot_fail = iommu_attach(idev, None);
        }
    }
}

/// `iommufd_fault_domain_detach_dev()`
fn iommufd_fault_domain_detach_dev(hwpt: Ptr<Object>, idev: Ptr<Device>) {
    let handle = iommufd_device_get_attach_handle(idev);

    // iommu_detach_group_handle()
    let _cannot_fail = iommu_attach(idev, None);
    set_attach_handle(idev, None);
    let_go(idev, hwpt, handle);
}

/// `iommufd_hwpt_replace_device()`: moves the group to another HWPT. Under `igroup->lock`.
///
/// # Errors
///
/// The driver's; -ENOMEM.
pub fn iommufd_hwpt_replace_device(
    idev: Ptr<Device>,
    hwpt: Ptr<Object>,
    old: Ptr<Object>,
) -> Result<(), Errno> {
    match (fault_of(old), fault_of(hwpt)) {
        (None, None) => iommu_attach(idev, Some(hwpt)),
        (_, new) => iommufd_fault_domain_replace_dev(idev, hwpt, old, new.is_some()),
    }
}

/// `iommufd_fault_domain_replace_dev()`
fn iommufd_fault_domain_replace_dev(
    idev: Ptr<Device>,
    hwpt: Ptr<Object>,
    old: Ptr<Object>,
    with_fault: bool,
) -> Result<(), Errno> {
    let curr = iommufd_device_get_attach_handle(idev);
    let handle = if with_fault { Some(new_handle(hwpt, idev)?) } else { None };

    // iommu_replace_group_handle()
    if let Err(e) = iommu_attach(idev, Some(hwpt)) {
        label("out_free_handle");
        if let Some(handle) = handle {
            kfree(handle);
        }
        return Err(e);
    }
    set_attach_handle(idev, handle);
    let_go(idev, old, curr);
    Ok(())
}

/// Part of `iommufd_fault_domain_detach_dev()`: nobody can find the handle any more.
fn let_go(idev: Ptr<Device>, hwpt: Ptr<Object>, handle: Option<Ptr<AttachHandle>>) {
    let Some(handle) = handle else { return };

    if let (Some(fault), Some(ictx)) = (fault_of(hwpt), idev.ictx.peek()) {
        (ictx.rev.iommufd_auto_response_faults)(fault, handle);
    }
    kfree(handle);
}

/// `iommufd_auto_response_faults()`: what is left of the faults of a handle.
pub fn iommufd_auto_response_faults(fault: Ptr<Fault>, handle: Ptr<AttachHandle>) {
    mutex_lock(&fault.mutex);
    let mut nth = 0;
    while let Some(group) = list_entry(&fault.deliver, nth) {
        if !is_of(group, handle) {
            nth += 1;
            continue;
        }
        list_del_init(group, &fault.deliver);
        iopf_group_response(group);
        iopf_free_group(group);
    }
    auto_response_to_delivered(fault, handle);
    mutex_unlock(&fault.mutex);
}

/// Part of `iommufd_auto_response_faults()`
fn is_of(group: Ptr<IopfGroup>, handle: Ptr<AttachHandle>) -> bool {
    group.attach_handle.load().is_some_and(|of| of.same(handle))
}

/// Part of `iommufd_auto_response_faults()`: the faults that user space has read.
fn auto_response_to_delivered(fault: Ptr<Fault>, handle: Ptr<AttachHandle>) {
    let mut from = 0;
    while let Some((cookie, group)) = xa_find(&fault.response, from) {
        from = cookie + 1;
        if is_of(group, handle) {
            xa_erase(&fault.response, cookie);
            iopf_group_response(group);
            iopf_free_group(group);
        }
    }
}

// ---------------------------------------------------------------------------------------------
// A fault comes, and is answered
// ---------------------------------------------------------------------------------------------

/// iopf_group_response(): the driver answers its device.
fn iopf_group_response(group: Ptr<IopfGroup>) {
    device_touch(group.dev);
}

/// iopf_free_group()
fn iopf_free_group(group: Ptr<IopfGroup>) {
    kfree(group);
}

/// `iommufd_test_trigger_iopf()`: a mock device faults.
///
/// # Errors
///
/// -ENOENT for an unknown device. What became of the fault is not said.
pub fn iommufd_test_trigger_iopf(ucmd: &Ucmd, dev_id: u64) -> Result<(), Errno> {
    let rev = ucmd.ictx.rev;
    let idev_obj = (rev.iommufd_get_object)(ucmd.ictx, dev_id, Type::Device)?;

    let _not_said = iommu_report_device_fault(rev, to::<Device>(idev_obj));
    (rev.iommufd_put_object)(ucmd.ictx, idev_obj);
    Ok(())
}

/// iommu_report_device_fault(): the caller must keep the device attached.
///
/// # Errors
///
/// -EINVAL for a device that is attached to nothing that takes faults.
fn iommu_report_device_fault(rev: &Revision, idev: Ptr<Device>) -> Result<(), Errno> {
    let Some(dev) = idev.dev.load() else { oops_null("idev->dev") };
    // find_fault_handler()
    let handle = iommu_attach_handle_get(dev).ok_or(Errno::EINVAL)?;
    let Some(hwpt) = handle.hwpt.load() else { oops_null("handle.domain") };

    // iopf_group_alloc(); without memory the fault is answered at once.
    let group = kzalloc(|owner| IopfGroup {
        dev,
        attach_handle: Plain::new(owner.field("attach_handle"), Some(handle)),
        cookie: Plain::new(owner.field("cookie"), 0),
    });
    match group {
        Ok(group) => (rev.iommufd_fault_iopf_handler)(hwpt, group),
        Err(_) => {
            label("err_abort");
            device_touch(dev);
        }
    }
    Ok(())
}

/// `hwpt->fault`, by somebody who holds neither.
fn iopf_fault(hwpt: Ptr<Object>) -> Ptr<Fault> {
    let fault = match hwpt.ty {
        Type::HwptNested => to::<HwptNested>(hwpt).fault.load(),
        _ => to::<HwptPaging>(hwpt).fault.load(),
    };
    fault.unwrap_or_else(|| oops_null("hwpt->fault"))
}

/// `iommufd_fault_iopf_handler()`
pub fn iommufd_fault_iopf_handler(hwpt: Ptr<Object>, group: Ptr<IopfGroup>) {
    let fault = iopf_fault(hwpt);

    mutex_lock(&fault.mutex);
    list_add_tail(group, &fault.deliver);
    mutex_unlock(&fault.mutex);
    wake_up_interruptible_all(&fault.common.wait_queue);
}

/// `iommufd_fault_destroy()` up to 6.13: what was not read is answered. The faults in `response`
/// are forgotten (R-B5).
pub fn iommufd_fault_destroy(_ictx: Ptr<Ictx>, obj: Ptr<Object>) {
    answer_deliver(to::<Fault>(obj));
}

/// Part of `iommufd_fault_destroy()`: nobody else can see the queue any more.
fn answer_deliver(fault: Ptr<Fault>) {
    while let Some(group) = list_entry(&fault.deliver, 0) {
        list_del_init(group, &fault.deliver);
        iopf_group_response(group);
        iopf_free_group(group);
    }
}

// ---------------------------------------------------------------------------------------------
// The file
// ---------------------------------------------------------------------------------------------

/// Why a fault was not delivered.
enum Undelivered {
    /// It got no cookie.
    NoCookie(Errno),
    /// User space's memory cannot be written.
    BadAddress,
}

/// Part of `iommufd_fault_fops_read()`: one fault.
fn deliver(
    fault: Ptr<Fault>,
    group: Ptr<IopfGroup>,
    out: &mut ReadOut,
    page: &UserPage,
) -> Result<(), Undelivered> {
    let cookie =
        xa_alloc(&fault.response, Slot::Ptr(group), u32::MAX).map_err(Undelivered::NoCookie)?;
    group.cookie.store(cookie);

    // iommufd_compose_fault_message()
    let Some(handle) = group.attach_handle.load() else { oops_null("group->attach_handle") };
    let Some(idev) = handle.idev.load() else { oops_null("handle->idev") };
    let (dev_id, cookie) = (idev.obj.id.load(), group.cookie.load());
    if copy_to_user_page(page).is_err() {
        xa_erase(&fault.response, u64::from(cookie));
        return Err(Undelivered::BadAddress);
    }
    out.bytes += PGFAULT_SIZE;
    out.faults.push(Pgfault { dev_id, cookie });
    Ok(())
}

/// struct iommu_hwpt_pgfault, without what a mock device makes up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Pgfault {
    /// The device that faulted.
    pub dev_id: u32,
    /// What a response names.
    pub cookie: u32,
}

/// `iommufd_fault_fops_read()` up to 6.13: under the mutex, which `iommufd_fault_iopf_handler()`
/// wants, too (R-E1). A fault that could not be copied out is lost.
///
/// # Errors
///
/// -ESPIPE for a size that is no multiple of a fault's, -EFAULT, -ENOMEM.
pub fn iommufd_fault_fops_read(
    fault: Ptr<Fault>,
    count: u64,
    page: &UserPage,
) -> Result<ReadOut, Errno> {
    if count % PGFAULT_SIZE != 0 {
        return Err(Errno::ESPIPE);
    }
    let mut out = ReadOut::default();
    let mut rc = Ok(());

    mutex_lock(&fault.mutex);
    while count > out.bytes {
        let Some(group) = list_entry(&fault.deliver, 0) else { break };
        match deliver(fault, group, &mut out, page) {
            Err(Undelivered::NoCookie(e)) => {
                rc = Err(e);
                break;
            }
            Err(Undelivered::BadAddress) => rc = Err(Errno::EFAULT),
            Ok(()) => {}
        }
        list_del_init(group, &fault.deliver);
    }
    mutex_unlock(&fault.mutex);
    done_or(out, rc)
}

/// Part of `iommufd_fault_fops_read()`: its end.
fn done_or(out: ReadOut, rc: Result<(), Errno>) -> Result<ReadOut, Errno> {
    match rc {
        Err(e) if out.bytes == 0 => Err(e),
        _ => Ok(out),
    }
}

/// write(2) of a fault queue's file, `iommufd_fault_fops_write()`: user space's response to a
/// fault. Gives the bytes.
///
/// What cannot be read counts as written: the positive remainder of the copy becomes the answer
/// (R-G6).
///
/// # Errors
///
/// -ESPIPE for a size that is no multiple of a response's, -EINVAL for an unknown code or cookie.
pub fn iommufd_fault_fops_write(
    fault: Ptr<Fault>,
    response: Response,
    count: u64,
) -> Result<u64, Errno> {
    if count % RESPONSE_SIZE != 0 {
        return Err(Errno::ESPIPE);
    }
    let (mut done, mut rc) = (0, Ok(0));

    mutex_lock(&fault.mutex);
    while count > done {
        if copy_from_user(response.bad_address).is_err() {
            rc = Ok(RESPONSE_SIZE);
            break;
        }
        if response.code > PAGE_RESP_INVALID {
            rc = Err(Errno::EINVAL);
            break;
        }
        let Some(group) = xa_erase(&fault.response, response.cookie) else {
            rc = Err(Errno::EINVAL);
            break;
        };
        iopf_group_response(group);
        iopf_free_group(group);
        done += RESPONSE_SIZE;
    }
    mutex_unlock(&fault.mutex);
    if done == 0 {
        rc
    } else {
        Ok(done)
    }
}

/// struct iommu_hwpt_page_response, where user space keeps it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Response {
    /// Which fault.
    pub cookie: u64,
    /// What becomes of it.
    pub code: u64,
    /// Whether there is no memory at its address.
    pub bad_address: bool,
}

/// `iommufd_fault_fops_poll()` up to 6.13: whether a fault waits to be read.
pub fn iommufd_fault_fops_poll(fault: Ptr<Fault>) -> bool {
    mutex_lock(&fault.mutex);
    let waits = list_entry(&fault.deliver, 0).is_some();
    mutex_unlock(&fault.mutex);
    waits
}
