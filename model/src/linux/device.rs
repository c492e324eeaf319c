//! struct device: a reference keeps its memory, and says nothing of its being bound or owned.
//!
//! Source: drivers/base/core.c get_device(), put_device(); reference/iommufd.md 6.3.

use std::panic::Location;

use uapi::step::{Access, Accesses, Mode};
use uapi::trace::Val;

use crate::linux::iommu::IommuGroup;
use crate::linux::refcount::{self, Refcount};
use crate::linux::rwsem::Rwsem;
use crate::linux::slab::{kfree, Owner, Plain, Ptr, Struct};
use crate::sync::{self, Cell};

/// IOMMU_TEST_DEV_CACHE_DEFAULT: what a cache of a mock device holds at first.
pub const CACHE_DEFAULT: u32 = 0xbad_beef;

const CACHES: [&str; 4] = ["cache[0]", "cache[1]", "cache[2]", "cache[3]"];

/// A struct device.
pub struct Device {
    /// The references: kobj.kref.
    pub kref: Refcount,
    /// Which physical device of the program it is.
    pub pdev: u32,
    /// Number of its IOMMU group.
    pub group: u32,
    /// Number of the physical IOMMU that it sits behind.
    pub iommu: u32,
    /// Bytes of a vDEVICE that the driver of that IOMMU asks for; 0: it has none of its own.
    pub vdevice_size: u32,
    /// First and last IOVA that its IOMMU reserves for it: `iommu_get_resv_regions()`.
    pub reserved: Option<(u64, u64)>,
    /// Its IOMMU group.
    pub iommu_group: Cell<Option<Ptr<IommuGroup>>>,
    /// Whether the mock driver made it (struct mock_dev is around it).
    pub is_mock: bool,
    /// The caches of a mock device.
    pub cache: [Plain<u32>; 4],
    /// struct mock_dev: protects the two below (6.15+).
    pub viommu_rwsem: Rwsem,
    /// struct mock_dev: the vIOMMU whose nested HWPT it is attached to, by its allocation. Not
    /// held: the HWPT holds it.
    pub viommu: Plain<Option<u32>>,
    /// struct mock_dev: its virtual device ID on that vIOMMU.
    pub vdev_id: Plain<u64>,
}

impl Struct for Device {
    const NAME: &'static str = "device";
}

impl Device {
    /// A device with one reference, that of whoever made it.
    pub fn new(owner: Owner, pdev: u32, group: u32, iommu: u32) -> Device {
        Device {
            kref: Refcount::new(owner.field("kobj.kref"), 1),
            pdev,
            group,
            iommu,
            vdevice_size: 0,
            reserved: None,
            iommu_group: Cell::new(None),
            is_mock: false,
            cache: CACHES.map(|path| Plain::new(owner.field(path), CACHE_DEFAULT)),
            viommu_rwsem: Rwsem::new(owner.field("viommu_rwsem")),
            viommu: Plain::new(owner.field("viommu"), None),
            vdev_id: Plain::new(owner.field("vdev_id"), 0),
        }
    }
}

/// get_device()
#[track_caller]
pub fn get_device(dev: Ptr<Device>) -> Ptr<Device> {
    let at = sync::site(Location::caller());
    sync::changed(sync::change_at(at), (at, dev), |(at, dev)| {
        refcount::inc_as("get_device", at, &dev.kref);
    });
    dev
}

/// put_device(); the last reference frees it.
#[track_caller]
pub fn put_device(dev: Ptr<Device>) {
    let at = sync::site(Location::caller());
    sync::changed(sync::change_at(at), (at, dev), |(at, dev)| {
        if refcount::dec_and_test_as("put_device", at, &dev.kref) {
            kfree(dev);
        }
    });
}

/// A driver looks into the device.
#[track_caller]
pub fn device_touch(dev: Ptr<Device>) {
    let at = sync::site(Location::caller());
    let mut accesses = Accesses::new();
    accesses.push(Access::all(dev.owner().obj(), Mode::Read));
    sync::step("device_touch", at, accesses, |effect| {
        effect.log(|| (vec![dev.val()], Val::Void));
        dev.owner().field("driver_data").check(at);
    });
}
