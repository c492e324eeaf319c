//! What must hold, beyond what the kernel itself checks: the ledger of `objects.rs`, invariant
//! I11 (the slots of `vdevs`), I9 (everything balanced at the end), and ownership.
//!
//! They are looked at when no CPU runs, so they read the model without making steps. What a lock
//! protects is looked at when the lock is given back, also without a step: whatever an object holds
//! that is found under the lock, it has counted before. An explorer does not know of these looks, so
//! it does not seek the order of steps in which one would find the most; what one finds did happen.
//!
//! Source: reference/iommufd.md 1.3, 1.7, R-C15.

use uapi::splat::Kind;
use uapi::step::Site;

use crate::iommufd::objects::{
    Access, Attach, Device, Fault, File, Group, HasObject, HwQueue, HwptNested, HwptPaging, Ictx,
    Ioas, Object, Selftest, Type, Vdevice, Veventq, Viommu,
};
use crate::linux::device::Device as StructDevice;
use crate::linux::iommu::IommuGroup;
use crate::linux::slab::{by_ordinal, live, Owner, Plain, Ptr, Struct};
use crate::sync;

/// An invalidation is about to reach a device: its DMA must still belong to iommufd.
///
/// The owner is read before the device is touched, so what is reported did happen. A device that
/// was freed is KASAN's business.
#[track_caller]
pub fn check_owned(viommu: Ptr<Viommu>, dev: Ptr<StructDevice>) {
    let at = sync::site(std::panic::Location::caller());
    if !dev.is_live() {
        return;
    }
    let (Some(group), Some(ictx)) = (dev.iommu_group.get(), viommu.ictx.peek()) else { return };

    if group.owner.load() != Some(ictx.owner().alloc) {
        let detail =
            format!("invalidation reached pdev{} after its DMA ownership was released", dev.pdev);
        sync::splat(Kind::Invariant, at, detail);
    }
}

// ---------------------------------------------------------------------------------------------
// When a lock is given back
// ---------------------------------------------------------------------------------------------

/// `users` of an object that these many others hold: the slot has one more, and each caller that is
/// inside. Who is on his way in or out may have made one of his two steps, and is not counted. An
/// object that is going, or whose counter is broken, has been reported or will be.
fn check_users(obj: Ptr<Object>, holders: usize, lock: &str, at: Site) {
    let users = obj.users.peek();
    if !obj.is_live() || users <= 0 {
        return;
    }
    let (users_obj, sem) = (obj.users.read_access().obj, &obj.destroy_rwsem);
    // The core of 6.2 to 6.6 has a semaphore in place of the counter.
    let (inside, on_their_way) = match sem.peek_readers() {
        0 => {
            let counter = obj.shortterm_users.read_access().obj;
            (i64::from(obj.shortterm_users.peek()) - 1, sync::others_about_to(&[counter]))
        }
        n => (i64::from(n), sync::others_about_to(&[users_obj, sem.obj()])),
    };
    let wanted = 1 + holders as i64 + (inside - on_their_way as i64).max(0);
    if i64::from(users) < wanted {
        let detail = format!(
            "{} is {users} when {lock} is given back, those who hold it add up to {wanted}",
            obj.users.field().text(),
        );
        sync::splat(Kind::Invariant, at, detail);
    }
}

/// What the devices of a group are attached to (6.15+).
fn attaches(igroup: Ptr<Group>) -> impl Iterator<Item = Ptr<Attach>> {
    igroup.pasid_attach.peek().into_iter().filter_map(|(_, slot)| slot.ptr())
}

/// The devices that are attached so.
fn attached_devices(attach: Ptr<Attach>) -> impl Iterator<Item = Ptr<Device>> {
    attach.device_array.peek().into_iter().filter_map(|(_, slot)| slot.ptr())
}

/// `igroup->lock`: each attached device of the group holds the HWPT.
pub fn check_group(owner: Owner, at: Site) {
    let Some(igroup) = by_ordinal::<Group>(owner.alloc) else { return };
    if let Some(hwpt) = igroup.hwpt.peek() {
        check_users(hwpt, igroup.device_list.peek().len(), "igroup->lock", at);
    }
    for attach in attaches(igroup) {
        if let Some(hwpt) = attach.hwpt.peek() {
            check_users(hwpt, attached_devices(attach).count(), "igroup->lock", at);
        }
    }
}

/// `access->ioas_lock`: the access holds its IOAS.
pub fn check_access(owner: Owner, at: Site) {
    let Some(access) = by_ordinal::<Access>(owner.alloc) else { return };
    if let Some(ioas) = access.ioas.peek() {
        check_users(ioas.project(Ioas::obj), 1, "access->ioas_lock", at);
    }
}

/// `ioas->iopt.iova_rwsem`: each HWPT whose domain is in the table holds the IOAS.
pub fn check_table(owner: Owner, at: Site) {
    let Some(ioas) = by_ordinal::<Ioas>(owner.alloc) else { return };
    let domains = ioas.iopt.domains.peek();
    let holders = domains.iter().filter(|(_, slot)| slot.ptr().is_some()).count();
    if holders != 0 {
        check_users(ioas.project(Ioas::obj), holders, "iopt->iova_rwsem", at);
    }
}

/// `viommu->veventqs_rwsem`: each event queue holds its vIOMMU.
pub fn check_veventqs(owner: Owner, at: Site) {
    let Some(viommu) = by_ordinal::<Viommu>(owner.alloc) else { return };
    let holders = viommu.veventqs.peek().len();
    if holders != 0 {
        check_users(viommu.project(Viommu::obj), holders, "viommu->veventqs_rwsem", at);
    }
}

/// The mock driver's `queue_mutex`: each HW queue holds its vIOMMU, and the queue before it.
pub fn check_hw_queues(owner: Owner, at: Site) {
    let Some(viommu) = by_ordinal::<Viommu>(owner.alloc) else { return };
    let queues: Vec<Ptr<HwQueue>> = viommu.hw_queues.iter().filter_map(Plain::peek).collect();
    if !queues.is_empty() {
        check_users(viommu.project(Viommu::obj), queues.len(), "queue_mutex", at);
    }
    for prev in queues.iter().filter(|q| q.is_live()).filter_map(|q| q.prev.peek()) {
        check_users(prev.project(HwQueue::obj), 1, "queue_mutex", at);
    }
}

/// `xa_lock(ictx->objects)`: an object that has just become visible has counted what it holds. The
/// caller is inside a call on the file, and holds that, too.
pub fn check_published(obj: Ptr<Object>, at: Site) {
    let lock = "xa_lock(ictx->objects)";
    let holds = |what: Option<Ptr<Object>>| {
        if let Some(what) = what {
            check_users(what, 1, lock, at);
        }
    };
    let alloc = obj.owner().alloc;
    match obj.ty {
        Type::HwptPaging => {
            let hwpt = by_ordinal::<HwptPaging>(alloc);
            holds(hwpt.and_then(|h| h.ioas.peek()).map(|ioas| ioas.project(Ioas::obj)));
            holds(hwpt.and_then(|h| h.fault.peek()).map(|fault| fault.project(Fault::obj)));
        }
        Type::HwptNested => {
            let hwpt = by_ordinal::<HwptNested>(alloc);
            let parent = hwpt.and_then(|h| h.parent.peek());
            holds(parent.map(|parent| parent.project(HwptPaging::obj)));
            let viommu = hwpt.and_then(|h| h.viommu.peek());
            holds(viommu.map(|viommu| viommu.project(Viommu::obj)));
            holds(hwpt.and_then(|h| h.fault.peek()).map(|fault| fault.project(Fault::obj)));
        }
        Type::Viommu => {
            let hwpt = by_ordinal::<Viommu>(alloc).and_then(|v| v.hwpt.peek());
            holds(hwpt.map(|hwpt| hwpt.project(HwptPaging::obj)));
        }
        Type::Vdevice => {
            // Its vIOMMU is left to a twin that counts it too late: what becomes of that is asked.
            if let Some(idev) = by_ordinal::<Vdevice>(alloc).and_then(|v| v.idev.peek()) {
                let is_inside = idev
                    .ictx
                    .peek()
                    .is_some_and(|ictx| ictx.rev.iommufd_device_pre_destroy.is_some());
                // Since 6.17 it is the allocation's own look-up that the vDEVICE keeps.
                let holders = usize::from(!is_inside) + usize::from(idev.driver.get());
                check_users(idev.project(Device::obj), holders, lock, at);
            }
        }
        Type::Veventq => {
            let viommu = by_ordinal::<Veventq>(alloc).and_then(|q| q.viommu.peek());
            holds(viommu.map(|viommu| viommu.project(Viommu::obj)));
        }
        Type::Device | Type::Access => check_file(obj, at),
        _ => {}
    }
}

/// Each device and each access that is visible holds the file of its context, and so does the caller.
fn check_file(obj: Ptr<Object>, at: Site) {
    let ictx = match obj.ty {
        Type::Device => by_ordinal::<Device>(obj.owner().alloc).and_then(|d| d.ictx.peek()),
        _ => by_ordinal::<Access>(obj.owner().alloc).and_then(|a| a.ictx.peek()),
    };
    let Some(ictx) = ictx else { return };
    let Some(filp) = ictx.file.peek() else { return };
    let holds_file = |obj: &Ptr<Object>| match obj.ty {
        Type::Device => by_ordinal::<Device>(obj.owner().alloc)
            .and_then(|idev| idev.dev.peek())
            .is_some_and(|dev| !dev.is_mock),
        Type::Access => {
            by_ordinal::<Access>(obj.owner().alloc).is_some_and(|a| a.ictx.peek().is_some())
        }
        _ => false,
    };
    let visible = ictx.objects.peek().into_iter().filter_map(|(_, slot)| slot.ptr());
    let wanted = 1 + visible.filter(holds_file).count() as i32;
    let count = filp.f_count.peek();
    if count > 0 && count < wanted {
        let detail = format!(
            "{} is {count} when xa_lock(ictx->objects) is given back, those who hold it add up to \
             {wanted}",
            filp.f_count.field().text(),
        );
        sync::splat(Kind::Invariant, at, detail);
    }
}

/// fd_install(): from here on user space can call what the file is for, so it is there.
#[track_caller]
pub fn check_installed(filp: Ptr<File>) {
    if filp.staccess.peek().is_some_and(|staccess| staccess.access.peek().is_none()) {
        let at = sync::site(std::panic::Location::caller());
        let detail = format!("file#{} is installed before its access is there", filp.owner().alloc);
        sync::splat(Kind::Invariant, at, detail);
    }
}

/// All IOASes are taken: whichever can be found is locked by the caller.
#[track_caller]
pub fn check_all_taken(ictx: Ptr<Ictx>) {
    let at = sync::site(std::panic::Location::caller());
    for obj in ictx.objects.peek().into_iter().filter_map(|(_, slot)| slot.ptr()) {
        if obj.ty != Type::Ioas || obj.users.peek() <= 0 {
            continue;
        }
        let Some(ioas) = by_ordinal::<Ioas>(obj.owner().alloc) else { continue };
        if !ioas.iopt.iova_rwsem.peek_held_for_writing() {
            let detail = format!("ioas#{} can be found and is not taken", obj.owner().alloc);
            sync::splat(Kind::Invariant, at, detail);
        }
    }
}

/// An object that user space could find is freed: whoever saw to it took `users` from 1 to 0.
#[track_caller]
pub fn check_unused(obj: Ptr<Object>) {
    let users = obj.users.peek();
    if obj.is_live() && users > 0 {
        let at = sync::site(std::panic::Location::caller());
        let detail = format!("{} is {users} when its object is freed", obj.users.field().text());
        sync::splat(Kind::Invariant, at, detail);
    }
}

// ---------------------------------------------------------------------------------------------
// At quiescence
// ---------------------------------------------------------------------------------------------

/// The live objects that the ledger is about, looked up once.
#[derive(Default)]
struct Objects {
    headers: Vec<Ptr<Object>>,
    pagings: Vec<Ptr<HwptPaging>>,
    nesteds: Vec<Ptr<HwptNested>>,
    devices: Vec<Ptr<Device>>,
    viommus: Vec<Ptr<Viommu>>,
    vdevices: Vec<Ptr<Vdevice>>,
    veventqs: Vec<Ptr<Veventq>>,
    hw_queues: Vec<Ptr<HwQueue>>,
    accesses: Vec<Ptr<Access>>,
    files: Vec<Ptr<File>>,
}

impl Objects {
    fn now() -> Objects {
        fn find<T: HasObject>(objects: &mut Objects, alloc: u32) -> Option<Ptr<T>> {
            let found = by_ordinal::<T>(alloc)?;
            objects.headers.push(found.project(T::obj));
            Some(found)
        }
        let mut objects = Objects::default();
        let o = &mut objects;
        for (alloc, ty) in live() {
            // The name of a struct says its type, so each object is asked for once.
            match ty {
                HwptPaging::NAME => {
                    let found = find::<HwptPaging>(o, alloc);
                    o.pagings.extend(found);
                }
                HwptNested::NAME => {
                    let found = find::<HwptNested>(o, alloc);
                    o.nesteds.extend(found);
                }
                Device::NAME => {
                    let found = find::<Device>(o, alloc);
                    o.devices.extend(found);
                }
                Viommu::NAME => {
                    let found = find::<Viommu>(o, alloc);
                    o.viommus.extend(found);
                }
                Vdevice::NAME => {
                    let found = find::<Vdevice>(o, alloc);
                    o.vdevices.extend(found);
                }
                Veventq::NAME => {
                    let found = find::<Veventq>(o, alloc);
                    o.veventqs.extend(found);
                }
                HwQueue::NAME => {
                    let found = find::<HwQueue>(o, alloc);
                    o.hw_queues.extend(found);
                }
                Access::NAME => {
                    let found = find::<Access>(o, alloc);
                    o.accesses.extend(found);
                }
                Fault::NAME => {
                    find::<Fault>(o, alloc);
                }
                File::NAME => o.files.extend(by_ordinal::<File>(alloc)),
                Ioas::NAME => {
                    find::<Ioas>(o, alloc);
                }
                Selftest::NAME => {
                    find::<Selftest>(o, alloc);
                }
                _ => {}
            }
        }
        objects
    }
}

/// What of the world outside holds objects while no CPU runs.
pub struct Outside {
    /// The devices that are still there although their drivers have unbound them.
    pub given_up: Vec<Ptr<Device>>,
    /// What is mapped.
    pub mapped: Vec<Ptr<Object>>,
}

/// Checks at quiescence, while the file is still open: I11 and the ledger.
pub fn check_quiescent(outside: &Outside) {
    let objects = Objects::now();
    check_vdevs(&objects);
    check_groups();
    check_ledger(&objects, outside);
}

/// Checks at quiescence that an object that user space has allocated and not destroyed is still
/// there. A vDEVICE may go with its device; then its id must not be given out again (I8).
pub fn check_owned_id(filp: Ptr<File>, id: u32) {
    let there = |ictx: Ptr<Ictx>| !ictx.objects.peek_at(u64::from(id)).is_null();
    if filp.is_live() && !filp.ictx.peek().is_none_or(there) {
        sync::splat_at_exit(
            Kind::Invariant,
            format!("id {id} vanished although user space owns it"),
        );
    }
}

/// I8: an id was given out to user space, which still owns an object of that id.
pub fn id_given_out_again(id: u32) {
    let detail = format!("id {id} was given out again after a forced destroy");
    sync::splat_at_exit(Kind::Invariant, detail);
}

/// I11: every vDEVICE that user space holds has its slot, and every slot holds such a vDEVICE.
fn check_vdevs(objects: &Objects) {
    for vdev in &objects.vdevices {
        let (Some(viommu), virt_id) = (vdev.viommu.peek(), vdev.id.peek()) else { continue };
        if !viommu.is_live() {
            continue;
        }
        if !viommu.vdevs.peek_at(virt_id).ptr().is_some_and(|entry| entry.is(*vdev)) {
            let detail = format!("viommu->vdevs[{virt_id:#x}] lost a live vDEVICE");
            sync::splat_at_exit(Kind::Invariant, detail);
        }
        let dev = vdev.dev.peek().or_else(|| vdev.idev.peek().and_then(|idev| idev.dev.peek()));
        if let Some(dev) = dev.filter(|dev| dev.iommu != viommu.iommu_dev.peek()) {
            let detail = format!(
                "viommu->vdevs[{virt_id:#x}] is pdev{}, which sits behind another IOMMU",
                dev.pdev
            );
            sync::splat_at_exit(Kind::Invariant, detail);
        }
    }
    for viommu in &objects.viommus {
        for (virt_id, slot) in viommu.vdevs.peek() {
            if slot.ptr().is_some_and(|entry| !entry.is_live()) {
                let detail = format!("viommu->vdevs[{virt_id:#x}] holds a freed vDEVICE");
                sync::splat_at_exit(Kind::Invariant, detail);
            }
        }
    }
}

/// A group that lives is the one of its slot: there is one group for each group of the IOMMU core.
fn check_groups() {
    for (alloc, _) in live().into_iter().filter(|(_, ty)| *ty == Group::NAME) {
        let Some(igroup) = by_ordinal::<Group>(alloc) else { continue };
        let Some(ictx) = igroup.ictx.peek() else { continue };
        let slot = ictx.groups.peek_at(u64::from(igroup.group)).ptr();
        if !slot.is_some_and(|entry| entry.is(igroup)) {
            let detail = format!("ictx->groups[{:#x}] lost a live group", igroup.group);
            sync::splat_at_exit(Kind::Invariant, detail);
        }
    }
}

/// The ledger: `users` of every object is what its holders add up to, `shortterm_users` is 1.
fn check_ledger(objects: &Objects, outside: &Outside) {
    let mut held: Vec<u32> = Vec::new();
    // Objects that somebody is inside of for good: a device whose vDEVICE keeps it (6.17+).
    let mut inside: Vec<u32> = Vec::new();
    held.extend(outside.mapped.iter().map(|owner| owner.owner().alloc));
    held.extend(objects.pagings.iter().filter_map(|h| owner_of(h.fault.peek())));
    held.extend(objects.nesteds.iter().filter_map(|h| owner_of(h.fault.peek())));
    held.extend(objects.veventqs.iter().filter_map(|q| owner_of(q.viommu.peek())));
    for hw_queue in &objects.hw_queues {
        held.extend(owner_of(hw_queue.viommu.peek()));
        held.extend(owner_of(hw_queue.prev.peek()));
    }
    for access in &objects.accesses {
        // Its creator.
        held.push(access.owner().alloc);
        held.extend(owner_of(access.ioas.peek()));
    }
    held.extend(objects.files.iter().filter_map(|f| owner_of(f.eventq.peek())));
    for vdev in &objects.vdevices {
        let Some(idev) = vdev.idev.peek() else { continue };
        held.push(idev.owner().alloc);
        if idev.ictx.peek().is_some_and(|i| i.rev.iommufd_device_pre_destroy.is_some()) {
            inside.push(idev.owner().alloc);
        }
    }
    held.extend(objects.pagings.iter().filter_map(|h| owner_of(h.ioas.peek())));
    for nested in &objects.nesteds {
        held.extend(owner_of(nested.parent.peek()));
        held.extend(owner_of(nested.viommu.peek()));
    }
    held.extend(objects.viommus.iter().filter_map(|v| owner_of(v.hwpt.peek())));
    held.extend(objects.vdevices.iter().filter_map(|v| owner_of(v.viommu.peek())));
    for idev in &objects.devices {
        // The driver that bound it.
        if !outside.given_up.iter().any(|g| g.is(*idev)) {
            held.push(idev.owner().alloc);
        }
        let Some(igroup) = idev.igroup.peek() else { continue };
        if igroup.is_live() && igroup.device_list.peek().iter().any(|d| d.is(*idev)) {
            held.push(idev.owner().alloc);
            held.extend(owner_of(igroup.hwpt.peek()));
        }
        let attaches = igroup.is_live().then(|| attaches(igroup)).into_iter().flatten();
        for attach in attaches.filter(|attach| attached_devices(*attach).any(|d| d.is(*idev))) {
            held.push(idev.owner().alloc);
            held.extend(owner_of(attach.hwpt.peek()));
        }
    }

    for obj in &objects.headers {
        let count = |who: &[u32]| who.iter().filter(|a| **a == obj.owner().alloc).count() as i32;
        let (users, shortterm) = (1 + count(&held), 1 + count(&inside));
        for (counter, wanted) in [(&obj.users, users), (&obj.shortterm_users, shortterm)] {
            if counter.peek() != wanted {
                let detail = format!(
                    "{} is {}, its ledger says {wanted}",
                    counter.field().text(),
                    counter.peek()
                );
                sync::splat_at_exit(Kind::Invariant, detail);
            }
        }
    }
}

fn owner_of<T>(ptr: Option<Ptr<T>>) -> Option<u32> {
    ptr.map(|p| p.owner().alloc)
}

/// Checks after the last file is released: I9. `plugged` says which devices still have the bus's
/// reference.
pub fn check_released(devices: &[(Ptr<StructDevice>, bool)]) {
    for (dev, plugged) in devices {
        if *plugged && dev.kref.peek() != 1 {
            let detail = format!(
                "{} is {} after the files are closed, its ledger says 1",
                dev.kref.field().text(),
                dev.kref.peek()
            );
            sync::splat_at_exit(Kind::Invariant, detail);
        }
    }
    let all = live().into_iter();
    for group in all.filter_map(|(alloc, _)| by_ordinal::<IommuGroup>(alloc)) {
        if group.owner_cnt.peek() != 0 {
            let detail = format!(
                "iommu_group#{} is still owned after the files are closed",
                group.owner().alloc
            );
            sync::splat_at_exit(Kind::Invariant, detail);
        }
    }
}

/// Whether user space still holds an object of this type: for the object graph.
pub fn type_name(ty: Type) -> &'static str {
    match ty {
        Type::Access => "ACCESS",
        Type::Any => "ANY",
        Type::Device => "DEVICE",
        Type::Fault => "FAULT",
        Type::HwptPaging => "HWPT_PAGING",
        Type::HwptNested => "HWPT_NESTED",
        Type::HwQueue => "HW_QUEUE",
        Type::Ioas => "IOAS",
        Type::Selftest => "SELFTEST",
        Type::Viommu => "VIOMMU",
        Type::Vdevice => "VDEVICE",
        Type::Veventq => "VEVENTQ",
    }
}
