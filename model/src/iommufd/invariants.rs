//! What must hold, beyond what the kernel itself checks: the ledger of `objects.rs`, invariant
//! I11 (the slots of `vdevs`), I9 (everything balanced at the end), and ownership.
//!
//! They are looked at when no CPU runs, so they read the model without making steps.
//!
//! Source: reference/iommufd.md 1.3, 1.7, R-C15.

use uapi::splat::Kind;

use crate::iommufd::objects::{
    Device, HasObject, HwptNested, HwptPaging, Ioas, Object, Selftest, Type, Vdevice, Viommu,
};
use crate::linux::device::Device as StructDevice;
use crate::linux::iommu::IommuGroup;
use crate::linux::slab::{by_ordinal, live, Ptr, Struct};
use crate::sync;

/// An invalidation is about to reach a device: its DMA must still belong to iommufd.
///
/// The owner is read before the device is touched, so what is reported did happen.
#[track_caller]
pub fn check_owned(viommu: Ptr<Viommu>, dev: Ptr<StructDevice>) {
    let at = sync::site(std::panic::Location::caller());
    let (Some(group), Some(ictx)) = (dev.iommu_group.get(), viommu.ictx.peek()) else { return };

    if group.owner.load() != Some(ictx.owner().alloc) {
        let detail =
            format!("invalidation reached pdev{} after its DMA ownership was released", dev.pdev);
        sync::splat(Kind::Invariant, at, detail);
    }
}

/// The live objects that the ledger is about, looked up once.
#[derive(Default)]
struct Objects {
    headers: Vec<Ptr<Object>>,
    pagings: Vec<Ptr<HwptPaging>>,
    nesteds: Vec<Ptr<HwptNested>>,
    devices: Vec<Ptr<Device>>,
    viommus: Vec<Ptr<Viommu>>,
    vdevices: Vec<Ptr<Vdevice>>,
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

/// Checks at quiescence, while the file is still open: I11 and the ledger. `given_up` are the
/// devices that are still there although their drivers have unbound them.
pub fn check_quiescent(given_up: &[Ptr<Device>]) {
    let objects = Objects::now();
    check_vdevs(&objects);
    check_ledger(&objects, given_up);
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

/// The ledger: `users` of every object is what its holders add up to, `shortterm_users` is 1.
fn check_ledger(objects: &Objects, given_up: &[Ptr<Device>]) {
    let mut held: Vec<u32> = Vec::new();
    held.extend(objects.pagings.iter().filter_map(|h| owner_of(h.ioas.peek())));
    for nested in &objects.nesteds {
        held.extend(owner_of(nested.parent.peek()));
        held.extend(owner_of(nested.viommu.peek()));
    }
    held.extend(objects.viommus.iter().filter_map(|v| owner_of(v.hwpt.peek())));
    held.extend(objects.vdevices.iter().filter_map(|v| owner_of(v.viommu.peek())));
    for idev in &objects.devices {
        // The driver that bound it.
        if !given_up.iter().any(|g| g.is(*idev)) {
            held.push(idev.owner().alloc);
        }
        let Some(igroup) = idev.igroup.peek() else { continue };
        if igroup.is_live() && igroup.device_list.peek().iter().any(|d| d.is(*idev)) {
            held.push(idev.owner().alloc);
            held.extend(owner_of(igroup.hwpt.peek()));
        }
    }

    for obj in &objects.headers {
        let holders = held.iter().filter(|alloc| **alloc == obj.owner().alloc).count() as i32;
        for (counter, wanted) in [(&obj.users, 1 + holders), (&obj.shortterm_users, 1)] {
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
        Type::Any => "ANY",
        Type::Device => "DEVICE",
        Type::Fault => "FAULT",
        Type::HwptPaging => "HWPT_PAGING",
        Type::HwptNested => "HWPT_NESTED",
        Type::Ioas => "IOAS",
        Type::Selftest => "SELFTEST",
        Type::Viommu => "VIOMMU",
        Type::Vdevice => "VDEVICE",
    }
}
