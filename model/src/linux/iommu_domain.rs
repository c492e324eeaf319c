//! struct iommu_domain, as far as its page table goes: which IOVAs something is mapped at.
//!
//! A mapping is known by its first IOVA. The driver takes whatever lock it needs inside, so two
//! calls on different IOVAs commute. The mock driver says when it is asked for something that
//! cannot be: a range that is mapped already, or one that is not.
//!
//! Source: include/linux/iommu.h; drivers/iommu/iommufd/selftest.c, mock_domain_map_pages() and
//! mock_domain_unmap_pages().

use std::panic::Location;

use uapi::step::{Access, Mode};
use uapi::trace::Val;

use crate::linux::slab::Field;
use crate::linux::warn::warn_on;
use crate::sync::{self, Cell};

/// A page table.
pub struct IommuDomain {
    field: Field,
    obj: u32,
    mapped: Cell<Vec<u64>>,
}

impl IommuDomain {
    /// An empty page table.
    pub fn new(field: Field) -> IommuDomain {
        IommuDomain { field, obj: sync::object(), mapped: Cell::new(Vec::new()) }
    }

    /// Whether nothing is mapped, without a step.
    pub fn peek_empty(&self) -> bool {
        self.mapped.with(|mapped| mapped.is_empty())
    }
}

/// One step on an entry: `change` gives whether it was there.
#[track_caller]
fn entry(
    op: &'static str,
    domain: &IommuDomain,
    iova: u64,
    change: fn(&mut Vec<u64>, u64) -> bool,
) -> bool {
    let at = sync::site(Location::caller());
    let accesses = domain.field.accesses(Access::key(domain.obj, iova, Mode::Write));
    sync::step(op, at, accesses, |effect| {
        effect.log(|| (vec![domain.field.val(), Val::Hex(iova)], Val::Void));
        domain.field.check(at);
        domain.mapped.with(|mapped| change(mapped, iova))
    })
}

/// iommu_map(): that there is no memory for a table is no case of the mock driver's.
#[track_caller]
pub fn iommu_map(domain: &IommuDomain, iova: u64) {
    if sync::change_at(sync::site(Location::caller())).is_some() {
        return;
    }
    warn_on(entry("iommu_map", domain, iova, |mapped, iova| {
        let there = mapped.contains(&iova);
        if !there {
            mapped.push(iova);
        }
        there
    }));
}

/// iommu_unmap()
#[track_caller]
pub fn iommu_unmap(domain: &IommuDomain, iova: u64) {
    if sync::change_at(sync::site(Location::caller())).is_some() {
        return;
    }
    warn_on(!entry("iommu_unmap", domain, iova, |mapped, iova| {
        let there = mapped.contains(&iova);
        mapped.retain(|m| *m != iova);
        there
    }));
}
