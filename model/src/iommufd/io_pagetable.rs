//! drivers/iommu/iommufd/io_pagetable.c: the areas of an I/O address space, as a list with their
//! lengths, and which of them are in the page table of which domain. What memory is behind them is
//! not modelled: pinning is one point that can fail.
//!
//! An area is reserved first, under `iova_rwsem`, and filled after that: until then its
//! `area->pages` is NULL and an unmap answers -EBUSY.
//!
//! Source: torvalds/linux v6.13, drivers/iommu/iommufd/io_pagetable.c; the answers of real kernels
//! (reference/iommufd.md 2.7, 2.9).

use uapi::Errno;

use crate::iommufd::objects::{Area, HwptPaging, IoPagetable};
use crate::linux::iommu_domain::{iommu_map, iommu_unmap};
use crate::linux::list::{list_add_tail, list_del_init, list_entry};
use crate::linux::mutex::{mutex_lock, mutex_unlock, Mutex};
use crate::linux::rwsem::{down_read, down_write, lockdep_assert_held_rwsem, up_read, up_write};
use crate::linux::slab::{kfree, kzalloc, Plain, Ptr};
use crate::linux::uaccess::pin_user_pages;
use crate::linux::warn::{label, warn_on};
use crate::linux::xarray::{xa_erase, xa_find, xa_reserve, xa_store};

/// PAGE_SIZE
const PAGE_SIZE: u64 = 4096;
/// MOCK_IO_PAGE_SIZE: the smallest page of a mock domain, half a page of the CPU.
const MOCK_IO_PAGE_SIZE: u64 = PAGE_SIZE / 2;
/// MOCK_APERTURE_START
const MOCK_APERTURE_START: u64 = 1 << 24;
/// MOCK_APERTURE_LAST
const MOCK_APERTURE_LAST: u64 = (1 << 31) - 1;

/// What the domains of a table allow: every domain of the model is the mock driver's.
#[derive(Clone, Copy)]
struct Aperture {
    /// `iopt->iova_alignment`
    alignment: u64,
    first: u64,
    last: u64,
}

/// Where a mapping goes, and what it maps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mapping {
    /// The IOVA, if it is fixed.
    pub iova: Option<u64>,
    /// Length in bytes.
    pub length: u64,
    /// The address in the process; 0 is NULL.
    pub user_va: u64,
}

/// Part of `iopt_map_user_pages()`: alignment and reserved ranges, which each domain contributes to.
/// A table without domains has neither. The caller holds `iova_rwsem`.
fn aperture(iopt: &IoPagetable) -> Aperture {
    match iopt.iova_alignment.load() {
        1 => Aperture { alignment: 1, first: 0, last: u64::MAX },
        alignment => Aperture { alignment, first: MOCK_APERTURE_START, last: MOCK_APERTURE_LAST },
    }
}

/// `iopt_area_iter_first()`: an area that meets the range. The caller holds `iova_rwsem`.
fn iopt_area_iter_first(iopt: &IoPagetable, first: u64, last: u64) -> Option<Ptr<Area>> {
    lockdep_assert_held_rwsem(&iopt.iova_rwsem);
    let mut nth = 0;
    while let Some(area) = list_entry(&iopt.areas, nth) {
        if area.iova <= last && area.last() >= first {
            return Some(area);
        }
        nth += 1;
    }
    None
}

/// `iopt_check_iova()`: whether the range is free.
///
/// # Errors
///
/// -EINVAL if it is not aligned or reserved, -EOVERFLOW, -EEXIST.
fn iopt_check_iova(
    iopt: &IoPagetable,
    allowed: Aperture,
    iova: u64,
    length: u64,
) -> Result<u64, Errno> {
    if iova % allowed.alignment != 0 {
        return Err(Errno::EINVAL);
    }
    let last = iova.checked_add(length - 1).ok_or(Errno::EOVERFLOW)?;
    if iova < allowed.first || last > allowed.last {
        return Err(Errno::EINVAL);
    }
    if iopt_area_iter_first(iopt, iova, last).is_some() {
        return Err(Errno::EEXIST);
    }
    Ok(iova)
}

/// `iopt_alloc_iova()`: the lowest free range, aligned as its length asks for.
///
/// # Errors
///
/// -EOVERFLOW for a length without such an alignment, -ENOSPC.
fn iopt_alloc_iova(iopt: &IoPagetable, allowed: Aperture, length: u64) -> Result<u64, Errno> {
    if length >= u64::MAX / 2 {
        return Err(Errno::EOVERFLOW);
    }
    let alignment = length.next_power_of_two().max(allowed.alignment);
    let mut iova = allowed.first.next_multiple_of(alignment);
    loop {
        let last = iova.checked_add(length - 1).filter(|last| *last <= allowed.last);
        let last = last.ok_or(Errno::ENOSPC)?;
        match iopt_area_iter_first(iopt, iova, last) {
            None => return Ok(iova),
            Some(area) => {
                let behind = area.last().checked_add(1).ok_or(Errno::ENOSPC)?;
                iova = behind.checked_next_multiple_of(alignment).ok_or(Errno::ENOSPC)?;
            }
        }
    }
}

/// `iopt_alloc_area_pages()`: reserves the range for an area without pages.
///
/// # Errors
///
/// -ENOMEM, and what the range is wrong with.
fn iopt_alloc_area_pages(iopt: &IoPagetable, map: &Mapping) -> Result<Ptr<Area>, Errno> {
    down_write(&iopt.iova_rwsem);
    let allowed = aperture(iopt);
    let iova = match map.iova {
        Some(iova) => iopt_check_iova(iopt, allowed, iova, map.length),
        None => iopt_alloc_iova(iopt, allowed, map.length),
    };
    let area = iova.and_then(|iova| {
        kzalloc(|owner| Area {
            iova,
            length: map.length,
            pages: Plain::new(owner.field("pages"), false),
            pages_mutex: Mutex::new(owner.field("pages->mutex")),
            num_locks: Plain::new(owner.field("num_locks"), 0),
        })
    });
    if let Ok(area) = area {
        list_add_tail(area, &iopt.areas);
    }
    label("out_unlock");
    up_write(&iopt.iova_rwsem);
    area
}

/// `iopt_abort_area()`, with its removal from the table: the caller holds `iova_rwsem` or nobody
/// else can see the table.
fn iopt_abort_area(iopt: &IoPagetable, area: Ptr<Area>) {
    list_del_init(area, &iopt.areas);
    kfree(area);
}

/// `iopt_table_add_domain()`: a domain joins the table, and its page table is filled.
///
/// # Errors
///
/// -ENOMEM
pub fn iopt_table_add_domain(iopt: &IoPagetable, hwpt: Ptr<HwptPaging>) -> Result<(), Errno> {
    let index = u64::from(hwpt.owner().alloc);

    down_write(&iopt.domains_rwsem);
    down_write(&iopt.iova_rwsem);
    // Whatever can run out of memory does so here, before anything changed.
    let ret = xa_reserve(&iopt.domains, index)
        .and_then(|()| xa_store(&iopt.domains, index, Some(hwpt)).map(|_| ()));
    if ret.is_ok() {
        iopt_fill_domain(iopt, hwpt);
        iopt.iova_alignment.store(MOCK_IO_PAGE_SIZE);
    }
    label("out_unlock");
    up_write(&iopt.iova_rwsem);
    up_write(&iopt.domains_rwsem);
    ret
}

/// `iopt_fill_domain()`: what is mapped already. An area that is only reserved is filled by whoever
/// reserved it.
fn iopt_fill_domain(iopt: &IoPagetable, hwpt: Ptr<HwptPaging>) {
    let mut nth = 0;
    while let Some(area) = list_entry(&iopt.areas, nth) {
        nth += 1;
        if area.pages.load() {
            iommu_map(&hwpt.domain, area.iova);
        }
    }
}

/// `iopt_unfill_domain()`
fn iopt_unfill_domain(iopt: &IoPagetable, hwpt: Ptr<HwptPaging>) {
    let mut nth = 0;
    while let Some(area) = list_entry(&iopt.areas, nth) {
        nth += 1;
        if area.pages.load() {
            iommu_unmap(&hwpt.domain, area.iova);
        }
    }
}

/// `iopt_table_remove_domain()`: the domain must be there.
pub fn iopt_table_remove_domain(iopt: &IoPagetable, hwpt: Ptr<HwptPaging>) {
    down_write(&iopt.domains_rwsem);
    down_write(&iopt.iova_rwsem);
    let removed = xa_erase(&iopt.domains, u64::from(hwpt.owner().alloc));
    warn_on(!removed.is_some_and(|removed| removed.is(hwpt)));
    iopt_unfill_domain(iopt, hwpt);
    // iopt_calculate_iova_alignment()
    if xa_find(&iopt.domains, 0).is_none() {
        iopt.iova_alignment.store(1);
    }
    label("out_unlock");
    up_write(&iopt.iova_rwsem);
    up_write(&iopt.domains_rwsem);
}

/// `iopt_map_user_pages()`: gives the IOVA of the new area out.
///
/// # Errors
///
/// -EINVAL, -EOVERFLOW, -EEXIST and -ENOSPC for a wrong range, -ENOMEM, -EFAULT for memory that
/// cannot be pinned.
pub fn iopt_map_user_pages(iopt: &IoPagetable, map: &Mapping) -> Result<u64, Errno> {
    // iopt_alloc_pages()
    if map.length == 0 || map.length > u64::MAX - PAGE_SIZE {
        return Err(Errno::EINVAL);
    }

    down_read(&iopt.domains_rwsem);
    let area = match iopt_alloc_area_pages(iopt, map) {
        Ok(area) => area,
        Err(e) => {
            up_read(&iopt.domains_rwsem);
            return Err(e);
        }
    };
    let iova = area.iova;

    let filled = iopt_area_fill_domains(iopt, area, map.user_va);
    down_write(&iopt.iova_rwsem);
    match filled {
        Ok(()) => area.pages.store(true),
        Err(_) => iopt_abort_area(iopt, area),
    }
    up_write(&iopt.iova_rwsem);
    label("out_unlock_domains");
    up_read(&iopt.domains_rwsem);
    filled.map(|()| iova)
}

/// `iopt_area_fill_domains()`: without a domain the memory is looked at when one comes.
///
/// # Errors
///
/// -EINVAL for a length that the domains cannot map, -EFAULT.
fn iopt_area_fill_domains(iopt: &IoPagetable, area: Ptr<Area>, user_va: u64) -> Result<(), Errno> {
    lockdep_assert_held_rwsem(&iopt.domains_rwsem);
    let mut next = xa_find(&iopt.domains, 0);
    if next.is_none() {
        return Ok(());
    }
    if area.length % MOCK_IO_PAGE_SIZE != 0 {
        // iommu_map()
        return Err(Errno::EINVAL);
    }
    pin_user_pages(user_va == 0)?;
    while let Some((index, hwpt)) = next {
        iommu_map(&hwpt.domain, area.iova);
        next = xa_find(&iopt.domains, index + 1);
    }
    Ok(())
}

/// `iopt_area_unfill_domains()`
fn iopt_area_unfill_domains(iopt: &IoPagetable, area: Ptr<Area>) {
    lockdep_assert_held_rwsem(&iopt.domains_rwsem);
    let mut index = 0;
    while let Some((found, hwpt)) = xa_find(&iopt.domains, index) {
        index = found + 1;
        iommu_unmap(&hwpt.domain, area.iova);
    }
}

/// `iopt_unmap_iova_range()`: unmaps the areas of the range, which must be whole. Gives the
/// number of bytes out.
///
/// # Errors
///
/// -ENOENT if there is none or only a part of one, -EBUSY if one is in use.
fn iopt_unmap_iova_range(iopt: &IoPagetable, first: u64, last: u64) -> Result<u64, Errno> {
    let mut unmapped_bytes: u64 = 0;

    down_read(&iopt.domains_rwsem);
    down_write(&iopt.iova_rwsem);
    let ret = loop {
        let Some(area) = iopt_area_iter_first(iopt, first, last) else {
            break if unmapped_bytes == 0 { Err(Errno::ENOENT) } else { Ok(()) };
        };
        // Being mapped by somebody else, or locked by an object that uses it.
        if !area.pages.load() || area.num_locks.load() != 0 {
            break Err(Errno::EBUSY);
        }
        if area.iova < first || area.last() > last {
            break Err(Errno::ENOENT);
        }
        unmapped_bytes = unmapped_bytes.wrapping_add(area.length);
        iopt_area_unfill_domains(iopt, area);
        iopt_abort_area(iopt, area);
    };
    label("out_unlock_iova");
    up_write(&iopt.iova_rwsem);
    up_read(&iopt.domains_rwsem);
    ret.map(|()| unmapped_bytes)
}

/// `iopt_unmap_iova()`
///
/// # Errors
///
/// -EINVAL for no length, -EOVERFLOW, and as `iopt_unmap_iova_range()`.
pub fn iopt_unmap_iova(iopt: &IoPagetable, iova: u64, length: u64) -> Result<u64, Errno> {
    if length == 0 {
        return Err(Errno::EINVAL);
    }
    let last = iova.checked_add(length - 1).ok_or(Errno::EOVERFLOW)?;
    iopt_unmap_iova_range(iopt, iova, last)
}

/// `iopt_unmap_all()`: an empty table is unmapped, too.
///
/// # Errors
///
/// -EBUSY
pub fn iopt_unmap_all(iopt: &IoPagetable) -> Result<u64, Errno> {
    match iopt_unmap_iova_range(iopt, 0, u64::MAX) {
        Err(Errno::ENOENT) => Ok(0),
        other => other,
    }
}

/// `iopt_destroy_table()`, with the `iopt_unmap_all()` before it: the caller is the last one who
/// sees the table, so a table without areas costs no step.
pub fn iopt_destroy_table(iopt: &IoPagetable) {
    for area in iopt.areas.peek() {
        iopt_abort_area(iopt, area);
    }
    warn_on(!iopt.domains.peek().is_empty());
}

/// `iopt_for_each_contig_area()`: the areas of the range, which is mapped without a hole. The caller
/// holds `iova_rwsem`.
///
/// # Errors
///
/// -ENOENT if a part of the range is not mapped, -EOVERFLOW.
fn iopt_contig_areas(iopt: &IoPagetable, iova: u64, last: u64) -> Result<Vec<Ptr<Area>>, Errno> {
    let mut areas = Vec::new();
    let mut at = iova;
    loop {
        let area = iopt_area_iter_first(iopt, at, at).ok_or(Errno::ENOENT)?;
        if !area.pages.load() {
            return Err(Errno::ENOENT);
        }
        areas.push(area);
        if area.last() >= last {
            return Ok(areas);
        }
        at = area.last() + 1;
    }
}

/// Part of `iommufd_access_pin_pages()`: every area of the range is mapped and stays so.
///
/// # Errors
///
/// -EOVERFLOW, -ENOENT if a part of the range is not mapped.
pub fn iopt_lock_areas(iopt: &IoPagetable, iova: u64, length: u64) -> Result<(), Errno> {
    let last = iova.checked_add(length - 1).ok_or(Errno::EOVERFLOW)?;

    down_read(&iopt.iova_rwsem);
    let ret = iopt_contig_areas(iopt, iova, last).map(|areas| {
        for area in areas {
            // iopt_area_add_access()
            mutex_lock(&area.pages_mutex);
            area.num_locks.store(area.num_locks.load() + 1);
            mutex_unlock(&area.pages_mutex);
        }
    });
    label("err_remove");
    up_read(&iopt.iova_rwsem);
    ret
}

/// Part of `iommufd_access_rw()`: every area of the range is mapped.
///
/// # Errors
///
/// -ENOENT if a part of the range is not mapped.
pub fn iopt_read_areas(iopt: &IoPagetable, iova: u64, last: u64) -> Result<(), Errno> {
    down_read(&iopt.iova_rwsem);
    let ret = iopt_contig_areas(iopt, iova, last).map(|_| ());
    up_read(&iopt.iova_rwsem);
    ret
}

/// Part of `iommufd_ioas_iova_ranges()`: how many ranges of IOVAs can be used, and what an IOVA has
/// to be a multiple of. Each domain reserves what is outside its aperture, which leaves one range. The
/// caller holds `iova_rwsem`.
pub fn iopt_usable_ranges(iopt: &IoPagetable) -> (u64, u64) {
    (1, aperture(iopt).alignment)
}

/// The IOVA of the first area, for the numbers of a fuzzer: `iommufd_test_syz_conv_iova()`.
pub fn iopt_first_iova(iopt: &IoPagetable) -> Option<u64> {
    down_read(&iopt.iova_rwsem);
    let first = iopt_area_iter_first(iopt, 0, u64::MAX).map(|area| area.iova);
    up_read(&iopt.iova_rwsem);
    first
}

/// Part of `iommufd_access_unpin_pages()`
pub fn iopt_unlock_areas(iopt: &IoPagetable, iova: u64, length: u64) {
    let last = iova.saturating_add(length - 1);

    down_read(&iopt.iova_rwsem);
    let mut nth = 0;
    while let Some(area) = list_entry(&iopt.areas, nth) {
        if area.iova <= last && area.last() >= iova {
            // iopt_area_remove_access()
            mutex_lock(&area.pages_mutex);
            area.num_locks.store(area.num_locks.load() - 1);
            mutex_unlock(&area.pages_mutex);
        }
        nth += 1;
    }
    up_read(&iopt.iova_rwsem);
}
