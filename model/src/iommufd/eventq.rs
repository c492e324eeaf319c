//! drivers/iommu/iommufd/eventq.c (fault.c to 6.14): fault queues, virtual event queues, and their
//! files. What goes through a fault queue is in `fault.rs`.
//!
//! A queue has a file of its own, which holds one `users` of the object and the iommufd file. So
//! user space destroys it in two steps: close(2), then IOMMU_DESTROY, which is -EBUSY before. An
//! allocation that fails after the file was made drops the file, and the file's release drops the
//! object's users: it must have run before the object is freed (R-B2).
//!
//! Source: reference/iommufd.md 2.6, 2.9.2 (E617); commits af7f4780514f, 3d49020a327c,
//! 50c842dd6cd3, 4e034bf045b1.

pub mod linux_6_17_rc7;
pub mod report_unlocked;
pub mod users_inc_after_finalize;
pub mod without_af7f478;

use uapi::Errno;

use crate::iommufd::fault::{iommufd_fault_fops_write, Pgfault, Response};
use crate::iommufd::main::{_iommufd_object_alloc, fput, iommufd_ctx_get, iommufd_ctx_put};
use crate::iommufd::objects::{
    obj_of, to, Event, Eventq, Fault, File, Ictx, Object, Type, Veventq, Viommu,
};
use crate::iommufd::revision::Revision;
use crate::iommufd::ucmd::{iommufd_ucmd_respond, Ucmd};
use crate::linux::list::{list_add, list_add_tail, list_del_init, list_entry, ListHead};
use crate::linux::mutex::Mutex;
use crate::linux::refcount::{refcount_dec, refcount_inc};
use crate::linux::rwsem::{down_read, down_write, lockdep_assert_held_write, up_read, up_write};
use crate::linux::slab::{kfree, kzalloc, kzalloc_atomic, Owner, Plain, Ptr};
use crate::linux::spinlock::{spin_lock, spin_unlock, Spinlock};
use crate::linux::uaccess::{copy_to_user_page, UserPage};
use crate::linux::wait::{poll_schedule_timeout, wake_up_interruptible_all, Condition, WaitQueue};
use crate::linux::warn::{label, oops_null};
use crate::linux::xarray::{XArray, XaFlags};

/// sizeof(struct iommufd_vevent_header)
const VEVENT_HEADER_SIZE: u64 = 8;
/// sizeof(struct iommu_viommu_event_selftest)
const VEVENT_DATA_SIZE: u64 = 4;
/// IOMMU_VEVENTQ_FLAG_LOST_EVENTS
pub const VEVENTQ_FLAG_LOST_EVENTS: u32 = 1;
/// EPOLLIN | EPOLLRDNORM
const POLL_READABLE: u32 = 0x41;
/// EPOLLOUT
const POLL_WRITABLE: u32 = 0x4;

/// The argument struct of IOMMU_VEVENTQ_ALLOC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VeventqAlloc {
    /// Must be 0.
    pub flags: u64,
    /// vIOMMU.
    pub viommu_id: u64,
    /// Type of the events; 0 is DEFAULT.
    pub ty: u64,
    /// How many events it keeps.
    pub veventq_depth: u64,
    /// Must be 0.
    pub reserved: u64,
}

/// A new queue: the id of its object and its file, installed as a descriptor by the caller.
pub struct NewEventq {
    /// `out_fault_id`, `out_veventq_id`
    pub id: u32,
    /// The file.
    pub filp: Ptr<File>,
}

/// A queue without events.
fn eventq(owner: Owner) -> Eventq {
    Eventq {
        ictx: Plain::once(owner.field("common.ictx"), None),
        filp: Plain::once(owner.field("common.filp"), None),
        lock: Spinlock::new(owner.field("common.lock")),
        wait_queue: WaitQueue::new(owner.field("common.wait_queue")),
    }
}

/// The queue of an object that has one.
fn common(obj: Ptr<Object>) -> Option<Ptr<Eventq>> {
    match obj.ty {
        Type::Fault => Some(to::<Fault>(obj).project(|x| &x.common)),
        Type::Veventq => Some(to::<Veventq>(obj).project(|x| &x.common)),
        _ => None,
    }
}

/// `iommufd_eventq_init()`: the anonymous file of the queue. From here on the file holds the
/// object's users and the iommufd file.
///
/// # Errors
///
/// -ENOMEM
pub(super) fn iommufd_eventq_init(
    ictx: Ptr<Ictx>,
    common: Ptr<Eventq>,
    obj: Ptr<Object>,
) -> Result<Ptr<File>, Errno> {
    let filp = eventq_file_init(ictx, common, obj)?;
    refcount_inc(&obj.users);
    Ok(filp)
}

/// Part of `iommufd_eventq_init()`: all but the object's users.
///
/// # Errors
///
/// -ENOMEM
fn eventq_file_init(
    ictx: Ptr<Ictx>,
    common: Ptr<Eventq>,
    obj: Ptr<Object>,
) -> Result<Ptr<File>, Errno> {
    // anon_inode_getfile()
    let filp = kzalloc(File::new)?;
    filp.eventq.init(Some(obj));
    common.ictx.store(Some(ictx));
    iommufd_ctx_get(ictx);
    common.filp.store(Some(filp));
    Ok(filp)
}

/// fd_install() of the file that the object names, after its finalize: the file holds the object's
/// users, so the object is still there.
#[track_caller]
pub(super) fn fd_install(common: &Eventq) -> Ptr<File> {
    match common.filp.load() {
        Some(filp) => filp,
        None => oops_null("common.filp"),
    }
}

/// `iommufd_eventq_fops_release()`
pub fn iommufd_eventq_fops_release(obj: Ptr<Object>) {
    let ictx = common(obj).and_then(|common| common.ictx.load());

    refcount_dec(&obj.users);
    if let Some(ictx) = ictx {
        iommufd_ctx_put(ictx);
    }
}

/// The file of an object with a queue: `iommufd_object_ops[].file_offset`.
pub fn eventq_file(obj: Ptr<Object>) -> Option<Ptr<File>> {
    common(obj)?.filp.load()
}

/// Part of `iommufd_fault_alloc()`: the object.
///
/// # Errors
///
/// As `_iommufd_object_alloc()`.
pub(super) fn fault_object(ictx: Ptr<Ictx>) -> Result<Ptr<Fault>, Errno> {
    _iommufd_object_alloc(ictx, Type::Fault, |owner, obj| Fault {
        obj,
        common: eventq(owner),
        mutex: Mutex::new(owner.field("mutex")),
        deliver: ListHead::new(owner.field("common.deliver")),
        response: XArray::new(owner.field("response"), XaFlags::Alloc1),
    })
}

/// `iommufd_fault_alloc()`: IOMMU_FAULT_QUEUE_ALLOC.
///
/// # Errors
///
/// -EOPNOTSUPP for flags, -ENOMEM, -EFAULT.
pub fn iommufd_fault_alloc(ucmd: &Ucmd, flags: u64) -> Result<NewEventq, Errno> {
    if flags != 0 {
        return Err(Errno::EOPNOTSUPP);
    }

    let ictx = ucmd.ictx;
    let fault = fault_object(ictx)?;
    let common = fault.project(|x| &x.common);
    let filp = match iommufd_eventq_init(ictx, common, obj_of(fault)) {
        Ok(filp) => filp,
        Err(e) => {
            label("out_abort");
            (ictx.rev.iommufd_object_abort_and_destroy)(ictx, obj_of(fault));
            return Err(e);
        }
    };

    let id = fault.obj.id.load();
    if let Err(e) = iommufd_ucmd_respond(ucmd) {
        // Deferred, it runs after the object was freed.
        label("out_fput");
        fput(filp);
        label("out_abort");
        (ictx.rev.iommufd_object_abort_and_destroy)(ictx, obj_of(fault));
        return Err(e);
    }
    (ictx.rev.iommufd_object_finalize)(ictx, obj_of(fault));

    Ok(NewEventq { id, filp: fd_install(&fault.common) })
}

/// Part of `iommufd_veventq_alloc()`: the object.
///
/// # Errors
///
/// As `_iommufd_object_alloc()`.
fn veventq_object(ictx: Ptr<Ictx>, cmd: &VeventqAlloc) -> Result<Ptr<Veventq>, Errno> {
    _iommufd_object_alloc(ictx, Type::Veventq, |owner, obj| Veventq {
        obj,
        common: eventq(owner),
        deliver: ListHead::new(owner.field("common.deliver")),
        viommu: Plain::once(owner.field("viommu"), None),
        ty: cmd.ty,
        depth: cmd.veventq_depth as u32,
        num_events: Plain::new(owner.field("num_events"), 0),
        sequence: Plain::new(owner.field("sequence"), 0),
        lost_events_header: Plain::new(owner.field("lost_events_header"), None),
    })
}

/// `iommufd_viommu_find_veventq()`: under `veventqs_rwsem`.
fn iommufd_viommu_find_veventq(viommu: Ptr<Viommu>, ty: u64) -> Option<Ptr<Veventq>> {
    let mut nth = 0;
    while let Some(veventq) = list_entry(&viommu.veventqs, nth) {
        if veventq.ty == ty {
            return Some(veventq);
        }
        nth += 1;
    }
    None
}

/// `iommufd_veventq_alloc()`: IOMMU_VEVENTQ_ALLOC.
///
/// # Errors
///
/// See reference/iommufd.md 2.6.
pub fn iommufd_veventq_alloc(ucmd: &Ucmd, cmd: &VeventqAlloc) -> Result<NewEventq, Errno> {
    veventq_alloc_with(ucmd, cmd, fput)
}

/// Part of `iommufd_veventq_alloc()`: all of it, with what happens to the file when the answer
/// cannot be copied out.
pub(super) fn veventq_alloc_with(
    ucmd: &Ucmd,
    cmd: &VeventqAlloc,
    out_fput: fn(Ptr<File>),
) -> Result<NewEventq, Errno> {
    let ictx = ucmd.ictx;
    let rev = ictx.rev;

    if cmd.flags != 0 || cmd.reserved != 0 || cmd.ty == 0 {
        return Err(Errno::EOPNOTSUPP);
    }
    if cmd.veventq_depth == 0 {
        return Err(Errno::EINVAL);
    }

    let viommu_obj = (rev.iommufd_get_object)(ictx, cmd.viommu_id, Type::Viommu)?;
    let viommu = to::<Viommu>(viommu_obj);
    down_write(&viommu.veventqs_rwsem);

    let ret = veventq_alloc_on(ucmd, cmd, viommu, out_fput);
    label("out_unlock_veventqs");
    up_write(&viommu.veventqs_rwsem);
    (rev.iommufd_put_object)(ictx, viommu_obj);
    ret
}

/// Part of `iommufd_veventq_alloc()`: what is done under `veventqs_rwsem`.
fn veventq_alloc_on(
    ucmd: &Ucmd,
    cmd: &VeventqAlloc,
    viommu: Ptr<Viommu>,
    out_fput: fn(Ptr<File>),
) -> Result<NewEventq, Errno> {
    let ictx = ucmd.ictx;
    let rev = ictx.rev;

    if iommufd_viommu_find_veventq(viommu, cmd.ty).is_some() {
        return Err(Errno::EEXIST);
    }

    let veventq = veventq_object(ictx, cmd)?;
    veventq.viommu.store(Some(viommu));
    refcount_inc(&viommu.obj.users);
    list_add_tail(veventq, &viommu.veventqs);

    let common = veventq.project(|x| &x.common);
    let ret = iommufd_eventq_init(ictx, common, obj_of(veventq))
        .and_then(|filp| iommufd_ucmd_respond(ucmd).map(|()| filp).inspect_err(|_| out_fput(filp)));
    match ret {
        Err(e) => {
            label("out_abort");
            (rev.iommufd_object_abort_and_destroy)(ictx, obj_of(veventq));
            Err(e)
        }
        Ok(_) => {
            let id = veventq.obj.id.load();
            (rev.iommufd_object_finalize)(ictx, obj_of(veventq));
            Ok(NewEventq { id, filp: fd_install(&veventq.common) })
        }
    }
}

/// `iommufd_veventq_abort()`: the caller holds `veventqs_rwsem` for writing.
pub fn iommufd_veventq_abort(_ictx: Ptr<Ictx>, obj: Ptr<Object>) {
    let veventq = to::<Veventq>(obj);
    let Some(viommu) = veventq.viommu.load() else { return };

    lockdep_assert_held_write(&viommu.veventqs_rwsem);
    while let Some(event) = list_entry(&veventq.deliver, 0) {
        list_del_init(event, &veventq.deliver);
        kfree(event);
    }
    refcount_dec(&viommu.obj.users);
    list_del_init(veventq, &viommu.veventqs);
}

/// `iommufd_veventq_destroy()`
pub fn iommufd_veventq_destroy(ictx: Ptr<Ictx>, obj: Ptr<Object>) {
    let veventq = to::<Veventq>(obj);
    let Some(viommu) = veventq.viommu.load() else { return };

    down_write(&viommu.veventqs_rwsem);
    iommufd_veventq_abort(ictx, obj);
    up_write(&viommu.veventqs_rwsem);
}

/// `iommufd_viommu_report_event()`: a driver reports an event to user space. The vIOMMU itself is
/// the driver's to keep.
///
/// # Errors
///
/// -EOPNOTSUPP without a queue of the type, -ENOMEM (then the reader learns that events were
/// lost).
pub fn iommufd_viommu_report_event(viommu: Ptr<Viommu>, ty: u64, data: u64) -> Result<(), Errno> {
    down_read(&viommu.veventqs_rwsem);
    let ret = match iommufd_viommu_find_veventq(viommu, ty) {
        None => Err(Errno::EOPNOTSUPP),
        Some(veventq) => {
            spin_lock(&veventq.common.lock);
            let ret = report_to(veventq, data);
            spin_unlock(&veventq.common.lock);
            ret
        }
    };
    label("out_unlock_veventqs");
    up_read(&viommu.veventqs_rwsem);
    ret
}

/// Part of `iommufd_viommu_report_event()`: under the queue's lock.
fn report_to(veventq: Ptr<Veventq>, data: u64) -> Result<(), Errno> {
    let num_events = veventq.num_events.load();
    if num_events == veventq.depth {
        iommufd_vevent_handler(veventq, None);
        return Ok(());
    }
    // GFP_ATOMIC: under the spinlock.
    let vevent = kzalloc_atomic(|owner| Event {
        sequence: Plain::new(owner.field("header.sequence"), 0),
        data,
    });
    if vevent.is_ok() {
        veventq.num_events.store(num_events + 1);
    }
    iommufd_vevent_handler(veventq, vevent.ok());
    vevent.map(|_| ())
}

/// `iommufd_vevent_handler()`: adds the event, or the embedded header that says that events were
/// lost. Either takes the place of a header that is there already.
fn iommufd_vevent_handler(veventq: Ptr<Veventq>, vevent: Option<Ptr<Event>>) {
    let sequence = veventq.sequence.load();

    match vevent {
        Some(vevent) => {
            veventq.lost_events_header.store(None);
            vevent.sequence.store(sequence);
            list_add_tail(vevent, &veventq.deliver);
        }
        None => veventq.lost_events_header.store(Some(sequence)),
    }
    veventq.sequence.store((sequence + 1) & i32::MAX as u32);
    wake_up_interruptible_all(&veventq.common.wait_queue);
}

/// What read(2) of a queue gave.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct ReadOut {
    /// How many bytes.
    pub bytes: u64,
    /// The 32-bit words of a vEVENTQ's.
    pub words: Vec<u32>,
    /// The faults of a fault queue's.
    pub faults: Vec<Pgfault>,
}

/// read(2) of a queue's file: `iommufd_fault_fops_read()`, `iommufd_veventq_fops_read()`.
///
/// # Errors
///
/// -ESPIPE for a size that is no multiple of a fault's, -EFAULT, -ENOMEM.
pub fn iommufd_eventq_fops_read(
    rev: &Revision,
    obj: Ptr<Object>,
    count: u64,
    page: &UserPage,
) -> Result<ReadOut, Errno> {
    match obj.ty {
        Type::Fault => (rev.iommufd_fault_fops_read)(to::<Fault>(obj), count, page),
        Type::Veventq => iommufd_veventq_fops_read(to::<Veventq>(obj), count, page),
        _ => Err(Errno::EINVAL),
    }
}

/// write(2) of a queue's file: only a fault queue can be written. Gives the bytes.
///
/// # Errors
///
/// -EINVAL for a queue that takes no responses, and as `iommufd_fault_fops_write()`.
pub fn iommufd_eventq_fops_write(
    obj: Ptr<Object>,
    response: Response,
    count: u64,
) -> Result<u64, Errno> {
    match obj.ty {
        Type::Fault => iommufd_fault_fops_write(to::<Fault>(obj), response, count),
        _ => Err(Errno::EINVAL),
    }
}

/// What a reader took out of a queue.
enum Fetched {
    Event(Ptr<Event>),
    /// A copy of the embedded header, with its number.
    LostEvents(u32),
}

/// `iommufd_veventq_deliver_fetch()`
fn iommufd_veventq_deliver_fetch(veventq: Ptr<Veventq>) -> Option<Fetched> {
    spin_lock(&veventq.common.lock);
    let fetched = match list_entry(&veventq.deliver, 0) {
        Some(vevent) => {
            list_del_init(vevent, &veventq.deliver);
            Some(Fetched::Event(vevent))
        }
        None => veventq.lost_events_header.load().map(|sequence| {
            veventq.lost_events_header.store(None);
            Fetched::LostEvents(sequence)
        }),
    };
    spin_unlock(&veventq.common.lock);
    fetched
}

/// `iommufd_veventq_deliver_restore()`: what could not be copied goes back to the head.
fn iommufd_veventq_deliver_restore(veventq: Ptr<Veventq>, fetched: Fetched) {
    spin_lock(&veventq.common.lock);
    match fetched {
        Fetched::Event(vevent) => list_add(vevent, &veventq.deliver),
        Fetched::LostEvents(sequence) => {
            // An event that came in between has taken its place.
            if list_entry(&veventq.deliver, 0).is_none() {
                veventq.lost_events_header.store(Some(sequence));
            }
        }
    }
    spin_unlock(&veventq.common.lock);
}

/// `iommufd_veventq_fops_read()`
fn iommufd_veventq_fops_read(
    veventq: Ptr<Veventq>,
    count: u64,
    page: &UserPage,
) -> Result<ReadOut, Errno> {
    let mut out = ReadOut::default();
    let mut rc = Ok(());

    while let Some(fetched) = iommufd_veventq_deliver_fetch(veventq) {
        let (flags, sequence, data) = match fetched {
            Fetched::Event(vevent) => (0, vevent.sequence.load(), Some(vevent.data)),
            Fetched::LostEvents(sequence) => (VEVENTQ_FLAG_LOST_EVENTS, sequence, None),
        };
        let size = VEVENT_HEADER_SIZE + if data.is_some() { VEVENT_DATA_SIZE } else { 0 };
        if size > count - out.bytes {
            iommufd_veventq_deliver_restore(veventq, fetched);
            break;
        }
        if let Err(e) = copy_to_user_page(page) {
            iommufd_veventq_deliver_restore(veventq, fetched);
            rc = Err(e);
            break;
        }
        out.bytes += size;
        out.words.extend([flags, sequence]);
        out.words.extend(data.map(|virt_id| virt_id as u32));
        if let Fetched::Event(vevent) = fetched {
            spin_lock(&veventq.common.lock);
            veventq.num_events.store(veventq.num_events.load().wrapping_sub(1));
            spin_unlock(&veventq.common.lock);
            kfree(vevent);
        }
    }
    match rc {
        Err(e) if out.bytes == 0 => Err(e),
        _ => Ok(out),
    }
}

/// poll(2) of a queue's file, `iommufd_eventq_fops_poll()`: EPOLLIN | EPOLLRDNORM if something
/// waits to be read; a fault queue can always be written.
pub fn iommufd_eventq_fops_poll(rev: &Revision, obj: Ptr<Object>) -> u32 {
    let (waits, writable) = match obj.ty {
        Type::Fault => ((rev.iommufd_fault_fops_poll)(to::<Fault>(obj)), POLL_WRITABLE),
        Type::Veventq => (iommufd_veventq_fops_poll(to::<Veventq>(obj)), 0),
        _ => return 0,
    };
    let readable = if waits { POLL_READABLE } else { 0 };
    readable | writable
}

/// poll(2) of a queue's file, `do_poll()`: sleeps until something waits to be read, if asked to.
pub fn do_poll(rev: &Revision, obj: Ptr<Object>, wait: bool) -> u32 {
    loop {
        let revents = iommufd_eventq_fops_poll(rev, obj);
        if !wait || revents & POLL_READABLE != 0 {
            return revents;
        }
        match obj.ty {
            Type::Fault => {
                let fault = to::<Fault>(obj);
                let readable = Condition {
                    accesses: &fault.deliver.read_accesses(),
                    holds: &|| !fault.deliver.peek().is_empty(),
                };
                poll_schedule_timeout(&fault.common.wait_queue, &readable);
            }
            Type::Veventq => {
                let veventq = to::<Veventq>(obj);
                let mut accesses = veventq.deliver.read_accesses();
                accesses.truncate(1);
                accesses.push(veventq.lost_events_header.read_access());
                let readable = Condition {
                    accesses: &accesses,
                    holds: &|| {
                        let lost = veventq.lost_events_header.peek().is_some();
                        lost || !veventq.deliver.peek().is_empty()
                    },
                };
                poll_schedule_timeout(&veventq.common.wait_queue, &readable);
            }
            _ => return revents,
        }
    }
}

/// Part of `iommufd_eventq_fops_poll()`: whether an event waits to be read.
fn iommufd_veventq_fops_poll(veventq: Ptr<Veventq>) -> bool {
    spin_lock(&veventq.common.lock);
    let event = list_entry(&veventq.deliver, 0).is_some();
    let waits = event || veventq.lost_events_header.load().is_some();
    spin_unlock(&veventq.common.lock);
    waits
}
