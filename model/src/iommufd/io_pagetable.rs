//! drivers/iommu/iommufd/io_pagetable.c and pages.c: the areas of an I/O address space, as a list
//! with their lengths; which of them are in the page table of which domain, and which accesses have
//! pinned them. What memory is behind them is not modelled: pinning is one point that can fail.
//!
//! An area is reserved first, under `iova_rwsem`, and filled after that: until then its
//! `area->pages` is NULL and an unmap answers -EBUSY. So it does between its last moment in the
//! domains and its removal.
//!
//! Source: torvalds/linux v6.13, drivers/iommu/iommufd/io_pagetable.c; the answers of real kernels
//! (reference/iommufd.md 2.7, 2.9). The accesses, the alignment and the reserved ranges are from
//! memory of 6.6 to 6.17.

use uapi::call::AUTO;
use uapi::Errno;

use crate::iommufd::driver::PAGE_SIZE;
use crate::iommufd::main::fput;
use crate::iommufd::objects::{
    Access, Area, File, HwptPaging, Ictx, IoPagetable, Ioas, Pages, PagesAccess, Reserved,
};
use crate::iommufd::pages::{
    iopt_alloc_pages, iopt_dmabuf_revoked, iopt_dmabuf_track_domain, iopt_dmabuf_untrack_domain,
    iopt_is_dmabuf, iopt_put_pages,
};
use crate::iommufd::revision::Revision;
use crate::linux::device::Device as StructDevice;
use crate::linux::fault::should_fail;
use crate::linux::iommu_domain::{iommu_map, iommu_unmap};
use crate::linux::list::{list_add_tail, list_del_init, list_entry};
use crate::linux::mutex::{lockdep_assert_held, mutex_lock, mutex_unlock};
use crate::linux::refcount::refcount_inc;
use crate::linux::rwsem::{
    down_read, down_write, lockdep_assert_held_rwsem, lockdep_assert_held_write, up_read, up_write,
};
use crate::linux::slab::{kfree, kzalloc, Owner, Plain, Ptr};
use crate::linux::uaccess::{memfd_pin_folios, pin_user_pages};
use crate::linux::warn::{label, warn_on};
use crate::linux::xarray::{xa_alloc, xa_erase, xa_find, xa_release, xa_reserve, xa_store, Slot};

/// HPAGE_SIZE: no IOVA that the kernel chooses is aligned beyond it.
const HPAGE_SIZE: u64 = 2 << 20;
/// What an access list's ids fit into: xa_limit_16b.
const LIMIT_16B: u32 = 0xffff;
/// How often an unmap asks the drivers to let go of an area.
const TRIES_MAX: u32 = 100;
/// MOCK_IO_PAGE_SIZE: the smallest page of a mock domain, half a page of the CPU.
const MOCK_IO_PAGE_SIZE: u64 = PAGE_SIZE / 2;
/// MOCK_APERTURE_START
const MOCK_APERTURE_START: u64 = 1 << 24;
/// MOCK_APERTURE_LAST
const MOCK_APERTURE_LAST: u64 = (1 << 31) - 1;

/// What is mapped.
#[derive(Clone, Copy)]
pub enum Memory {
    /// Memory of the process, at this address; 0 is NULL, and [`AUTO`] is somewhere at the start of a
    /// page.
    Process(u64),
    /// Memory of a file, from this byte on. Holds the file.
    File(Ptr<File>, u64),
    /// Memory of a device, from this byte on. Holds its file once it is attached.
    Dmabuf(Ptr<File>, u64),
}

impl Memory {
    /// The byte that it starts with, if that is known.
    fn start(&self) -> Option<u64> {
        match self {
            Memory::Process(addr) => Some(*addr).filter(|addr| *addr != AUTO),
            Memory::File(_, start) | Memory::Dmabuf(_, start) => Some(*start),
        }
    }
}

/// Where a mapping goes.
#[derive(Clone, Copy)]
pub struct Range {
    /// The IOVA, if it is fixed.
    pub iova: Option<u64>,
    /// Length in bytes.
    pub length: u64,
}

/// Part of `pfn_reader_user_pin()`: pins what is behind an area.
///
/// # Errors
///
/// -EFAULT for no memory; -EINVAL for a file that has none.
fn pin_memory(area: Ptr<Area>) -> Result<(), Errno> {
    match area.of.memory {
        Memory::Process(addr) => pin_user_pages(addr == 0),
        Memory::File(filp, _) => memfd_pin_folios(filp.is_memfd),
        // The memory of a device stays where it is until its exporter says otherwise.
        Memory::Dmabuf(..) => Ok(()),
    }
}

/// `iopt_area_iter_first()`: an area that meets the range. The caller holds `iova_rwsem`.
fn iopt_area_iter_first(iopt: &IoPagetable, first: u64, last: u64) -> Option<Ptr<Area>> {
    lockdep_assert_held_rwsem(&iopt.iova_rwsem);
    let mut nth = 0;
    while let Some(area) = list_entry(&iopt.areas, nth) {
        if area.iova.peek() <= last && area.last() >= first {
            return Some(area);
        }
        nth += 1;
    }
    None
}

/// `iopt_reserved_iter_first()`: a range that somebody reserved and that meets this one. The caller
/// holds `iova_rwsem`.
fn iopt_reserved_iter_first(iopt: &IoPagetable, first: u64, last: u64) -> Option<Ptr<Reserved>> {
    lockdep_assert_held_rwsem(&iopt.iova_rwsem);
    let mut nth = 0;
    while let Some(reserved) = list_entry(&iopt.reserved, nth) {
        if reserved.first <= last && reserved.last >= first {
            return Some(reserved);
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
fn iopt_check_iova(iopt: &IoPagetable, iova: u64, length: u64) -> Result<u64, Errno> {
    if iova % iopt.iova_alignment.load() != 0 {
        return Err(Errno::EINVAL);
    }
    let last = iova.checked_add(length - 1).ok_or(Errno::EOVERFLOW)?;
    if iopt_reserved_iter_first(iopt, iova, last).is_some() {
        return Err(Errno::EINVAL);
    }
    if iopt_area_iter_first(iopt, iova, last).is_some() {
        return Err(Errno::EEXIST);
    }
    Ok(iova)
}

/// `iopt_alloc_iova()`: the lowest free range, aligned as its length and its memory ask for, as far
/// into a page as the memory is. Neither the first nor the last page is ever taken.
///
/// # Errors
///
/// -EOVERFLOW for a length without such an alignment, -EINVAL for one that the domains do not
/// allow, -ENOSPC.
fn iopt_alloc_iova(iopt: &IoPagetable, addr: Option<u64>, length: u64) -> Result<u64, Errno> {
    if length >= u64::MAX / 2 {
        return Err(Errno::EOVERFLOW);
    }
    let addr = addr.unwrap_or(0);
    let page_offset = addr % PAGE_SIZE;
    let of_addr = if addr == 0 { u64::MAX } else { 1 << addr.trailing_zeros() };
    // Since b42497e3c0e7 (CVE-2025-38688), which stable kernels have, too: no more than a huge page.
    let alignment = length.next_power_of_two().min(of_addr).min(HPAGE_SIZE);
    if alignment < iopt.iova_alignment.load() {
        return Err(Errno::EINVAL);
    }

    let behind = |last: u64| {
        let at = last.checked_add(1).and_then(|at| at.checked_next_multiple_of(alignment));
        at.map(|at| at | page_offset).ok_or(Errno::ENOSPC)
    };
    let mut iova = behind(PAGE_SIZE - 1)?;
    loop {
        let last = iova.checked_add(length - 1).filter(|last| *last <= u64::MAX - PAGE_SIZE);
        let last = last.ok_or(Errno::ENOSPC)?;
        if let Some(reserved) = iopt_reserved_iter_first(iopt, iova, last) {
            iova = behind(reserved.last)?;
        } else if let Some(area) = iopt_area_iter_first(iopt, iova, last) {
            iova = behind(area.last())?;
        } else {
            return Ok(iova);
        }
    }
}

/// `iopt_alloc_area_pages()`: reserves the range for an area without pages.
///
/// # Errors
///
/// -ENOMEM, and what the range is wrong with.
fn iopt_alloc_area_pages(
    iopt: &IoPagetable,
    range: Range,
    pages: Ptr<Pages>,
) -> Result<Ptr<Area>, Errno> {
    // iopt_area_alloc()
    let area = kzalloc(|owner| Area {
        iova: Plain::new(owner.field("node.start"), 0),
        length: range.length,
        page_offset: pages.memory.start().unwrap_or(0) % PAGE_SIZE,
        of: pages,
        pages: Plain::new(owner.field("pages"), None),
        num_locks: Plain::new(owner.field("num_locks"), 0),
        num_accesses: Plain::new(owner.field("num_accesses"), 0),
        prevent_access: Plain::new(owner.field("prevent_access"), false),
    })?;

    down_write(&iopt.iova_rwsem);
    let iova = if range.length % iopt.iova_alignment.load() != 0 {
        Err(Errno::EINVAL)
    } else {
        match range.iova {
            Some(iova) => iopt_check_iova(iopt, iova, range.length),
            None => iopt_alloc_iova(iopt, pages.memory.start(), range.length),
        }
    };
    let ret = iova.and_then(|iova| iopt_insert_area(iopt, area, iova));
    label("out_unlock");
    up_write(&iopt.iova_rwsem);
    match ret {
        Ok(()) => Ok(area),
        Err(e) => {
            kfree(area);
            Err(e)
        }
    }
}

/// `iopt_insert_area()`
///
/// # Errors
///
/// -EINVAL for memory that is not aligned as the domains ask for.
fn iopt_insert_area(iopt: &IoPagetable, area: Ptr<Area>, iova: u64) -> Result<(), Errno> {
    if area.page_offset % iopt.iova_alignment.load() != 0 {
        return Err(Errno::EINVAL);
    }
    area.iova.init(iova);
    list_add_tail(area, &iopt.areas);
    Ok(())
}

/// `iopt_abort_area()`: an area that nobody fills, or that was taken out of the domains.
fn iopt_abort_area(iopt: &IoPagetable, area: Ptr<Area>) {
    down_write(&iopt.iova_rwsem);
    interval_tree_remove(iopt, area);
    up_write(&iopt.iova_rwsem);
    kfree(area);
}

/// interval_tree_remove() of `iopt->area_itree`
fn interval_tree_remove(iopt: &IoPagetable, area: Ptr<Area>) {
    list_del_init(area, &iopt.areas);
}

/// `iopt_area_fill_domain()`: the memory is pinned already. Memory that was revoked is mapped nowhere,
/// and the domain is known to it.
///
/// # Errors
///
/// -ENOMEM
fn iopt_area_fill_domain(area: Ptr<Area>, hwpt: Ptr<HwptPaging>) -> Result<(), Errno> {
    lockdep_assert_held(&area.of.mutex);
    if iopt_is_dmabuf(area.of) {
        iopt_dmabuf_track_domain(area, hwpt)?;
    }
    if !iopt_dmabuf_revoked(area.of) {
        iommu_map(&hwpt.domain, area.iova.peek());
    }
    Ok(())
}

/// `iopt_area_unfill_domain()`
fn iopt_area_unfill_domain(area: Ptr<Area>, hwpt: Ptr<HwptPaging>) {
    lockdep_assert_held(&area.of.mutex);
    if !iopt_dmabuf_revoked(area.of) {
        iommu_unmap(&hwpt.domain, area.iova.peek());
    }
    if iopt_is_dmabuf(area.of) {
        iopt_dmabuf_untrack_domain(area, hwpt);
    }
}

/// `iopt_reserve_iova()`: nothing can be mapped in this range. The caller holds `iova_rwsem`.
///
/// # Errors
///
/// -EADDRINUSE if something is, -ENOMEM.
fn iopt_reserve_iova(iopt: &IoPagetable, first: u64, last: u64, owner: Owner) -> Result<(), Errno> {
    lockdep_assert_held_write(&iopt.iova_rwsem);
    if iopt_area_iter_first(iopt, first, last).is_some() {
        return Err(Errno::EADDRINUSE);
    }
    let reserved = kzalloc(|_| Reserved { owner, first, last })?;
    list_add_tail(reserved, &iopt.reserved);
    Ok(())
}

/// `__iopt_remove_reserved_iova()`: what this owner reserved. The caller holds `iova_rwsem`.
fn __iopt_remove_reserved_iova(iopt: &IoPagetable, owner: Owner) {
    lockdep_assert_held_write(&iopt.iova_rwsem);
    let mut nth = 0;
    while let Some(reserved) = list_entry(&iopt.reserved, nth) {
        if reserved.owner.alloc == owner.alloc {
            list_del_init(reserved, &iopt.reserved);
            kfree(reserved);
        } else {
            nth += 1;
        }
    }
}

/// `iopt_remove_reserved_iova()`: what was reserved for the device.
pub fn iopt_remove_reserved_iova(iopt: &IoPagetable, dev: Ptr<StructDevice>) {
    down_write(&iopt.iova_rwsem);
    __iopt_remove_reserved_iova(iopt, dev.owner());
    up_write(&iopt.iova_rwsem);
}

/// `iopt_table_enforce_dev_resv_regions()`: nothing is mapped where the device's IOMMU has something
/// else.
///
/// # Errors
///
/// -EADDRINUSE if something is, -ENOMEM; -EINVAL if a fault is injected.
pub fn iopt_table_enforce_dev_resv_regions(
    iopt: &IoPagetable,
    dev: Ptr<StructDevice>,
) -> Result<(), Errno> {
    // iommufd_should_fail()
    if should_fail() {
        return Err(Errno::EINVAL);
    }

    down_write(&iopt.iova_rwsem);
    let reserve = |(first, last)| iopt_reserve_iova(iopt, first, last, dev.owner());
    let ret = dev.reserved.map_or(Ok(()), reserve);
    if ret.is_err() {
        label("out_reserved");
        __iopt_remove_reserved_iova(iopt, dev.owner());
    }
    up_write(&iopt.iova_rwsem);
    ret
}

/// `iopt_check_iova_alignment()`: whether what is mapped already is aligned so.
///
/// # Errors
///
/// -EADDRINUSE
fn iopt_check_iova_alignment(iopt: &IoPagetable, alignment: u64) -> Result<(), Errno> {
    let mut nth = 0;
    while let Some(area) = list_entry(&iopt.areas, nth) {
        if (area.iova.peek() | area.length | area.page_offset) % alignment != 0 {
            return Err(Errno::EADDRINUSE);
        }
        nth += 1;
    }
    Ok(())
}

/// `iopt_calculate_iova_alignment()`: what the domains and the accesses ask of an IOVA. The caller
/// holds both semaphores.
///
/// # Errors
///
/// -EADDRINUSE if it is more than before, and something is not aligned so.
pub fn iopt_calculate_iova_alignment(iopt: &IoPagetable) -> Result<(), Errno> {
    lockdep_assert_held_write(&iopt.iova_rwsem);
    lockdep_assert_held_rwsem(&iopt.domains_rwsem);
    let mut alignment = 1;
    // Every domain of the model is the mock driver's.
    if xa_find(&iopt.domains, 0).is_some() {
        alignment = MOCK_IO_PAGE_SIZE;
    }
    let mut index = 0;
    while let Some((found, access)) = xa_find(&iopt.access_list, index) {
        index = found + 1;
        alignment = alignment.max(access.iova_alignment);
    }
    if alignment > iopt.iova_alignment.load() {
        iopt_check_iova_alignment(iopt, alignment)?;
    }
    iopt.iova_alignment.store(alignment);
    Ok(())
}

/// `iopt_add_access()`: an access joins the table.
///
/// # Errors
///
/// -ENOMEM, and -EADDRINUSE if something is mapped that is not aligned as it asks for.
pub fn iopt_add_access(iopt: &IoPagetable, access: Ptr<Access>) -> Result<(), Errno> {
    down_write(&iopt.domains_rwsem);
    down_write(&iopt.iova_rwsem);
    let ret = xa_alloc(&iopt.access_list, Slot::Ptr(access), LIMIT_16B).and_then(|new_id| {
        if let Err(e) = iopt_calculate_iova_alignment(iopt) {
            xa_erase(&iopt.access_list, u64::from(new_id));
            return Err(e);
        }
        access.iopt_access_list_id.store(new_id);
        Ok(())
    });
    label("out_unlock");
    up_write(&iopt.iova_rwsem);
    up_write(&iopt.domains_rwsem);
    ret
}

pub mod without_aeb004c {
    //! CVE-2024-26786, 6.6 and 6.7: the id of the access in the list of the IOAS that it is to move
    //! to is stored even if it does not move there.
    //!
    //! Source: reference/iommufd.md R-H1; aeb004c0cd69 ("Fix iopt_access_list_id overwrite bug").

    use super::*;

    /// `iopt_add_access()` before the fix.
    ///
    /// # Errors
    ///
    /// As since the fix.
    pub fn iopt_add_access(iopt: &IoPagetable, access: Ptr<Access>) -> Result<(), Errno> {
        down_write(&iopt.domains_rwsem);
        down_write(&iopt.iova_rwsem);
        let ret = xa_alloc(&iopt.access_list, Slot::Ptr(access), LIMIT_16B).and_then(|id| {
            access.iopt_access_list_id.store(id);
            if let Err(e) = iopt_calculate_iova_alignment(iopt) {
                xa_erase(&iopt.access_list, u64::from(id));
                return Err(e);
            }
            Ok(())
        });
        label("out_unlock");
        up_write(&iopt.iova_rwsem);
        up_write(&iopt.domains_rwsem);
        ret
    }
}

/// `iopt_remove_access()`: `iopt_access_list_id` is its id in this table's list.
pub fn iopt_remove_access(iopt: &IoPagetable, access: Ptr<Access>, iopt_access_list_id: u32) {
    down_write(&iopt.domains_rwsem);
    down_write(&iopt.iova_rwsem);
    let removed = xa_erase(&iopt.access_list, u64::from(iopt_access_list_id));
    warn_on(!removed.is_some_and(|removed| removed.is(access)));
    warn_on(iopt_calculate_iova_alignment(iopt).is_err());
    up_write(&iopt.iova_rwsem);
    up_write(&iopt.domains_rwsem);
}

/// `iopt_table_add_domain()`: a domain joins the table, and its page table is filled.
///
/// # Errors
///
/// -ENOMEM, -EFAULT for memory that cannot be pinned, and -EADDRINUSE if something is mapped that
/// is not aligned as it asks for, or outside of its aperture.
pub fn iopt_table_add_domain(iopt: &IoPagetable, hwpt: Ptr<HwptPaging>) -> Result<(), Errno> {
    let index = u64::from(hwpt.owner().alloc);

    down_write(&iopt.domains_rwsem);
    down_write(&iopt.iova_rwsem);
    let ret = table_add_domain(iopt, hwpt, index);
    label("out_unlock");
    up_write(&iopt.iova_rwsem);
    up_write(&iopt.domains_rwsem);
    ret
}

/// Part of `iopt_table_add_domain()`: under both semaphores.
fn table_add_domain(iopt: &IoPagetable, hwpt: Ptr<HwptPaging>, index: u64) -> Result<(), Errno> {
    let alignment = MOCK_IO_PAGE_SIZE.max(iopt.iova_alignment.load());
    if alignment != iopt.iova_alignment.load() {
        iopt_check_iova_alignment(iopt, alignment)?;
    }

    // Nothing is mapped outside of its aperture.
    let reserved = iopt_reserve_iova(iopt, 0, MOCK_APERTURE_START - 1, hwpt.owner())
        .and_then(|()| iopt_reserve_iova(iopt, MOCK_APERTURE_LAST + 1, u64::MAX, hwpt.owner()))
        // Whatever else can run out of memory does so before anything changed.
        .and_then(|()| xa_reserve(&iopt.domains, index));
    if let Err(e) = reserved {
        label("out_reserved");
        __iopt_remove_reserved_iova(iopt, hwpt.owner());
        return Err(e);
    }

    if let Err(e) = iopt_fill_domain(iopt, hwpt) {
        label("out_release");
        xa_release(&iopt.domains, index);
        label("out_reserved");
        __iopt_remove_reserved_iova(iopt, hwpt.owner());
        return Err(e);
    }
    iopt.iova_alignment.store(alignment);
    xa_store(&iopt.domains, index, Some(hwpt)).map(|_| ())
}

/// `iopt_fill_domain()`: what is mapped already. An area that is only reserved is filled by whoever
/// reserved it. The memory is pinned by the first domain.
///
/// # Errors
///
/// -EFAULT; then nothing is left in the domain.
fn iopt_fill_domain(iopt: &IoPagetable, hwpt: Ptr<HwptPaging>) -> Result<(), Errno> {
    let first = xa_find(&iopt.domains, 0).is_none();
    let mut nth = 0;
    while let Some(area) = list_entry(&iopt.areas, nth) {
        if area.pages.load().is_some() {
            mutex_lock(&area.of.mutex);
            let pinned = if first { pin_memory(area) } else { Ok(()) };
            let filled = pinned.and_then(|()| iopt_area_fill_domain(area, hwpt));
            mutex_unlock(&area.of.mutex);
            if let Err(e) = filled {
                label("out_unfill");
                unfill_areas(iopt, hwpt, nth);
                return Err(e);
            }
        }
        nth += 1;
    }
    Ok(())
}

/// `iopt_unfill_domain()`, and the unwind of `iopt_fill_domain()`: the first `end` areas.
fn unfill_areas(iopt: &IoPagetable, hwpt: Ptr<HwptPaging>, end: usize) {
    let mut nth = 0;
    while let Some(area) = list_entry(&iopt.areas, nth).filter(|_| nth < end) {
        nth += 1;
        if area.pages.load().is_some() {
            mutex_lock(&area.of.mutex);
            iopt_area_unfill_domain(area, hwpt);
            mutex_unlock(&area.of.mutex);
        }
    }
}

/// `iopt_table_remove_domain()`: the domain must be there.
pub fn iopt_table_remove_domain(iopt: &IoPagetable, hwpt: Ptr<HwptPaging>) {
    down_write(&iopt.domains_rwsem);
    down_write(&iopt.iova_rwsem);
    let removed = xa_erase(&iopt.domains, u64::from(hwpt.owner().alloc));
    warn_on(!removed.is_some_and(|removed| removed.is(hwpt)));
    unfill_areas(iopt, hwpt, usize::MAX);
    __iopt_remove_reserved_iova(iopt, hwpt.owner());
    warn_on(iopt_calculate_iova_alignment(iopt).is_err());
    label("out_unlock");
    up_write(&iopt.iova_rwsem);
    up_write(&iopt.domains_rwsem);
}

/// Part of `iopt_alloc_pages()`
///
/// # Errors
///
/// -EINVAL for a length that has no number of pages.
pub fn check_length(length: u64) -> Result<(), Errno> {
    if length == 0 || length > u64::MAX - PAGE_SIZE {
        return Err(Errno::EINVAL);
    }
    Ok(())
}

/// `iopt_map_user_pages()`: gives the IOVA of the new area out.
///
/// # Errors
///
/// -EINVAL, -EOVERFLOW, -EEXIST and -ENOSPC for a wrong range, -ENOMEM, -EFAULT for memory that
/// cannot be pinned.
pub fn iopt_map_user_pages(
    rev: &'static Revision,
    iopt: &IoPagetable,
    range: Range,
    uptr: u64,
) -> Result<u64, Errno> {
    check_length(range.length)?;
    let pages = iopt_alloc_pages(rev, Memory::Process(uptr))?;
    iopt_map_or_put(iopt, range, pages)
}

/// `iopt_map_file_pages()`: as `iopt_map_user_pages()`, for the file that `fget` looks up.
///
/// # Errors
///
/// -EBADF, as `iopt_map_user_pages()`; -EINVAL for a file that is no memfd, once it is pinned.
pub fn iopt_map_file_pages(
    rev: &'static Revision,
    iopt: &IoPagetable,
    range: Range,
    (fget, start): (Fget<'_>, u64),
) -> Result<u64, Errno> {
    let filp = fget()?;
    // iopt_alloc_file_pages()
    let pages = check_length(range.length)
        .and_then(|()| iopt_alloc_pages(rev, Memory::File(filp, start)))
        .inspect(|_| refcount_inc(&filp.f_count));
    fput(filp);
    iopt_map_or_put(iopt, range, pages?)
}

/// Part of `iopt_map_user_pages()` and `iopt_map_file_pages()`: what cannot be mapped is put.
pub fn iopt_map_or_put(iopt: &IoPagetable, range: Range, pages: Ptr<Pages>) -> Result<u64, Errno> {
    let ret = iopt_map_common(iopt, range, pages);
    if ret.is_err() {
        iopt_put_pages(pages);
    }
    ret
}

/// fget() of the descriptor that a call names: -EBADF.
pub type Fget<'a> = &'a dyn Fn() -> Result<Ptr<File>, Errno>;

/// `iopt_map_common()` and `iopt_map_pages()`: what cannot be mapped is left to the caller.
///
/// # Errors
///
/// As `iopt_map_user_pages()`.
fn iopt_map_common(iopt: &IoPagetable, range: Range, pages: Ptr<Pages>) -> Result<u64, Errno> {
    down_read(&iopt.domains_rwsem);
    let area = match iopt_alloc_area_pages(iopt, range, pages) {
        Ok(area) => area,
        Err(e) => {
            up_read(&iopt.domains_rwsem);
            return Err(e);
        }
    };
    let iova = area.iova.peek();

    let filled = iopt_area_fill_domains(iopt, area);
    if filled.is_ok() {
        down_write(&iopt.iova_rwsem);
        area.pages.store(Some(area.of));
        up_write(&iopt.iova_rwsem);
    }
    label("out_unlock_domains");
    up_read(&iopt.domains_rwsem);
    if filled.is_err() {
        iopt_abort_area(iopt, area);
    }
    filled.map(|()| iova)
}

/// `iopt_area_fill_domains()`: without a domain the memory is looked at when one comes.
///
/// # Errors
///
/// -EFAULT
fn iopt_area_fill_domains(iopt: &IoPagetable, area: Ptr<Area>) -> Result<(), Errno> {
    lockdep_assert_held_rwsem(&iopt.domains_rwsem);
    let mut next = xa_find(&iopt.domains, 0);
    if next.is_none() {
        return Ok(());
    }
    mutex_lock(&area.of.mutex);
    let mut ret = pin_memory(area);
    while let (Ok(()), Some((index, hwpt))) = (ret, next) {
        ret = iopt_area_fill_domain(area, hwpt);
        if ret.is_err() {
            label("out_unmap");
            unfill_domains_below(iopt, area, index);
        }
        next = xa_find(&iopt.domains, index + 1);
    }
    mutex_unlock(&area.of.mutex);
    ret
}

/// The domains with an index below `end`. The caller holds `pages->mutex`.
fn unfill_domains_below(iopt: &IoPagetable, area: Ptr<Area>, end: u64) {
    let mut index = 0;
    while let Some((found, hwpt)) = xa_find(&iopt.domains, index).filter(|(i, _)| *i < end) {
        index = found + 1;
        iopt_area_unfill_domain(area, hwpt);
    }
}

/// `iopt_area_unfill_domains()`
fn iopt_area_unfill_domains(iopt: &IoPagetable, area: Ptr<Area>) {
    lockdep_assert_held_rwsem(&iopt.domains_rwsem);
    mutex_lock(&area.of.mutex);
    unfill_domains_below(iopt, area, u64::MAX);
    mutex_unlock(&area.of.mutex);
}

/// What the next area of a range answers to an unmap.
enum Unmap {
    /// It can go.
    Now(Ptr<Area>),
    /// Accesses have pinned it.
    Pinned(Ptr<Area>),
    /// There is none.
    Nothing,
}

/// Part of `iopt_unmap_iova_range()`: the next area of the range. The caller holds `iova_rwsem`.
///
/// # Errors
///
/// -EBUSY, -ENOENT
fn next_to_unmap(iopt: &IoPagetable, first: u64, last: u64) -> Result<Unmap, Errno> {
    let Some(area) = iopt_area_iter_first(iopt, first, last) else { return Ok(Unmap::Nothing) };
    // Being mapped or unmapped by somebody else, or locked by an object that uses it.
    if area.pages.load().is_none() || area.num_locks.load() != 0 {
        return Err(Errno::EBUSY);
    }
    if area.iova.peek() < first || area.last() > last {
        return Err(Errno::ENOENT);
    }
    Ok(if area.num_accesses.load() != 0 { Unmap::Pinned(area) } else { Unmap::Now(area) })
}

/// `iopt_unmap_iova_range()`: unmaps the areas of the range, which must be whole. Gives the
/// number of bytes out. Drivers that have pinned one are asked to let go of it, and it is looked at
/// again.
///
/// # Errors
///
/// -ENOENT if there is none or only a part of one, -EBUSY if one is in use, -EDEADLK if a driver
/// does not let go.
fn iopt_unmap_iova_range(
    ictx: Ptr<Ictx>,
    ioas: Ptr<Ioas>,
    mut first: u64,
    last: u64,
) -> Result<u64, Errno> {
    let iopt = &ioas.iopt;
    let mut unmapped_bytes: u64 = 0;
    let mut tries = 0;

    down_read(&iopt.domains_rwsem);
    down_write(&iopt.iova_rwsem);
    let ret = loop {
        match next_to_unmap(iopt, first, last) {
            Err(e) => break Err(e),
            Ok(Unmap::Nothing) => break Ok(()),
            Ok(Unmap::Pinned(area)) => {
                let (area_first, length) = (area.iova.peek(), area.length);
                if area_first != first {
                    tries = 0;
                }
                first = area_first;
                area.prevent_access.store(true);
                up_write(&iopt.iova_rwsem);
                up_read(&iopt.domains_rwsem);

                (ictx.rev.iommufd_access_notify_unmap)(ictx, ioas, area_first, length);

                tries += 1;
                if warn_on(tries > TRIES_MAX) {
                    label("out_unmapped");
                    return Err(Errno::EDEADLK);
                }
                down_read(&iopt.domains_rwsem);
                down_write(&iopt.iova_rwsem);
            }
            Ok(Unmap::Now(area)) => {
                area.pages.store(None);
                up_write(&iopt.iova_rwsem);

                let (length, pages) = (area.length, area.of);
                iopt_area_unfill_domains(iopt, area);
                iopt_abort_area(iopt, area);
                iopt_put_pages(pages);
                unmapped_bytes = unmapped_bytes.wrapping_add(length);

                down_write(&iopt.iova_rwsem);
            }
        }
    };
    label("out_unlock_iova");
    up_write(&iopt.iova_rwsem);
    up_read(&iopt.domains_rwsem);
    match ret {
        Ok(()) if unmapped_bytes == 0 => Err(Errno::ENOENT),
        ret => ret.map(|()| unmapped_bytes),
    }
}

/// `iopt_unmap_iova()`
///
/// # Errors
///
/// -EINVAL for no length, -EOVERFLOW, and as `iopt_unmap_iova_range()`.
pub fn iopt_unmap_iova(
    ictx: Ptr<Ictx>,
    ioas: Ptr<Ioas>,
    iova: u64,
    length: u64,
) -> Result<u64, Errno> {
    if length == 0 {
        return Err(Errno::EINVAL);
    }
    let last = iova.checked_add(length - 1).ok_or(Errno::EOVERFLOW)?;
    iopt_unmap_iova_range(ictx, ioas, iova, last)
}

/// `iopt_unmap_all()`: an empty table is unmapped, too.
///
/// # Errors
///
/// -EBUSY
pub fn iopt_unmap_all(ictx: Ptr<Ictx>, ioas: Ptr<Ioas>) -> Result<u64, Errno> {
    match iopt_unmap_iova_range(ictx, ioas, 0, u64::MAX) {
        Err(Errno::ENOENT) => Ok(0),
        other => other,
    }
}

/// `iopt_destroy_table()`, with the `iopt_unmap_all()` before it: the caller is the last one who
/// sees the table, so a table without areas costs no step.
pub fn iopt_destroy_table(iopt: &IoPagetable) {
    for area in iopt.areas.peek() {
        let pages = area.of;
        interval_tree_remove(iopt, area);
        kfree(area);
        iopt_put_pages(pages);
    }
    warn_on(!iopt.reserved.peek().is_empty());
    warn_on(!iopt.domains.peek().is_empty());
    warn_on(!iopt.access_list.peek().is_empty());
}

/// `iopt_area_contig_init()` and `iopt_area_contig_next()`: the area that the IOVA is in. The caller
/// holds `iova_rwsem`.
fn contig_area(iopt: &IoPagetable, iova: u64) -> Option<Ptr<Area>> {
    iopt_area_iter_first(iopt, iova, iova).filter(|area| area.pages.load().is_some())
}

/// `iopt_area_contig_is_aligned()`: whether the part of the area from `iova` to `last` is whole pages
/// of its memory, where it is not the range's end.
fn iopt_area_contig_is_aligned(area: Ptr<Area>, iova: u64, last: u64) -> bool {
    // iopt_area_start_byte(), within a page
    let byte = |at: u64| (at - area.iova.peek() + area.page_offset) % PAGE_SIZE;
    byte(iova) == 0 && (area.last() >= last || byte(area.last()) == PAGE_SIZE - 1)
}

/// `iopt_area_add_access()`: the pages from `first` to `last` are pinned, by the first who asks for
/// just these unless a domain has pinned them.
///
/// # Errors
///
/// -ENOMEM, -EFAULT
fn iopt_area_add_access(
    iopt: &IoPagetable,
    area: Ptr<Area>,
    range: (u64, u64),
    lock_area: bool,
) -> Result<(), Errno> {
    mutex_lock(&area.of.mutex);
    let ret = match iopt_pages_get_exact_access(area, range) {
        Some(access) => {
            access.users.store(access.users.load() + 1);
            Ok(())
        }
        None => iopt_pages_add_access(iopt, area, range),
    };
    if ret.is_ok() {
        area.num_accesses.store(area.num_accesses.load() + 1);
        if lock_area {
            forbid_unmap(area);
        }
    }
    label("err_unlock");
    mutex_unlock(&area.of.mutex);
    ret
}

/// Part of `iopt_area_add_access()` since 6.17.
fn forbid_unmap(area: Ptr<Area>) {
    area.num_locks.store(area.num_locks.load() + 1);
}

/// Part of `iopt_area_remove_access()` since 6.17.
fn allow_unmap(area: Ptr<Area>) {
    area.num_locks.store(area.num_locks.load() - 1);
}

/// Part of `iopt_area_add_access()`: nobody has pinned just these pages yet. The caller holds
/// `pages->mutex`.
fn iopt_pages_add_access(
    iopt: &IoPagetable,
    area: Ptr<Area>,
    range: (u64, u64),
) -> Result<(), Errno> {
    let access = kzalloc(|owner| PagesAccess {
        first: range.0,
        last: range.1,
        users: Plain::new(owner.field("users"), 1),
    })?;
    // iopt_pages_fill_xarray()
    let pinned = match xa_find(&iopt.domains, 0) {
        Some(_) => Ok(()),
        None => pin_memory(area),
    };
    if let Err(e) = pinned {
        label("err_free");
        kfree(access);
        return Err(e);
    }
    list_add_tail(access, &area.of.access_itree);
    Ok(())
}

/// `iopt_pages_get_exact_access()`: the caller holds `pages->mutex`.
fn iopt_pages_get_exact_access(area: Ptr<Area>, range: (u64, u64)) -> Option<Ptr<PagesAccess>> {
    lockdep_assert_held(&area.of.mutex);
    let mut nth = 0;
    while let Some(access) = list_entry(&area.of.access_itree, nth) {
        if (access.first, access.last) == range {
            return Some(access);
        }
        nth += 1;
    }
    None
}

/// `iopt_area_remove_access()`
fn iopt_area_remove_access(area: Ptr<Area>, range: (u64, u64), unlock_area: bool) {
    mutex_lock(&area.of.mutex);
    match iopt_pages_get_exact_access(area, range) {
        None => {
            warn_on(true);
        }
        Some(access) => {
            warn_on(area.num_accesses.load() == 0 || access.users.load() == 0);
            if unlock_area {
                allow_unmap(area);
            }
            area.num_accesses.store(area.num_accesses.load() - 1);
            access.users.store(access.users.load() - 1);
            if access.users.load() == 0 {
                list_del_init(access, &area.of.access_itree);
                kfree(access);
            }
        }
    }
    label("out_unlock");
    mutex_unlock(&area.of.mutex);
}

/// The pages of an area that a range from `iova` to `last` touches, by their indexes.
fn indexes(area: Ptr<Area>, iova: u64, last: u64) -> (u64, u64) {
    let index = |at: u64| (at - area.iova.peek() + area.page_offset) / PAGE_SIZE;
    (index(iova), index(area.last().min(last)))
}

/// Part of `iommufd_access_pin_pages()`: every area of the range is mapped and its pages are
/// pinned. `lock_area`: for an object of iommufd, so that they stay mapped.
///
/// # Errors
///
/// -ENOENT if a part of the range is not mapped, -EINVAL for parts of pages and for an area that is
/// being unmapped, -ENOMEM, -EFAULT.
pub fn iopt_pin_areas(
    iopt: &IoPagetable,
    iova: u64,
    last: u64,
    lock_area: bool,
) -> Result<(), Errno> {
    down_read(&iopt.iova_rwsem);
    let mut cur_iova = iova;
    let ret = loop {
        let Some(area) = contig_area(iopt, cur_iova) else { break Err(Errno::ENOENT) };
        if area.prevent_access.load() || !iopt_area_contig_is_aligned(area, cur_iova, last) {
            break Err(Errno::EINVAL);
        }
        // No CPU may touch the memory of a device.
        if iopt_is_dmabuf(area.of) {
            break Err(Errno::EINVAL);
        }
        if let Err(e) = iopt_area_add_access(iopt, area, indexes(area, cur_iova, last), lock_area) {
            break Err(e);
        }
        if area.last() >= last {
            break Ok(());
        }
        cur_iova = area.last() + 1;
    };
    if ret.is_err() {
        label("err_remove");
        if iova < cur_iova {
            unpin_areas(iopt, iova, cur_iova - 1, lock_area);
        }
    }
    up_read(&iopt.iova_rwsem);
    ret
}

/// Part of `iommufd_access_unpin_pages()`. The caller holds `iova_rwsem`.
fn unpin_areas(iopt: &IoPagetable, iova: u64, last: u64, unlock_area: bool) -> bool {
    let mut cur_iova = iova;
    while let Some(area) = contig_area(iopt, cur_iova) {
        iopt_area_remove_access(area, indexes(area, cur_iova, last), unlock_area);
        if area.last() >= last {
            return true;
        }
        cur_iova = area.last() + 1;
    }
    false
}

/// Part of `iommufd_access_unpin_pages()`: what `iopt_pin_areas()` pinned.
pub fn iopt_unpin_areas(iopt: &IoPagetable, iova: u64, last: u64, unlock_area: bool) {
    down_read(&iopt.iova_rwsem);
    let done = unpin_areas(iopt, iova, last, unlock_area);
    warn_on(!done);
    up_read(&iopt.iova_rwsem);
}

/// Part of `iommufd_access_rw()`: every area of the range is mapped.
///
/// # Errors
///
/// -ENOENT if a part of the range is not mapped, -EINVAL for an area that is being unmapped.
pub fn iopt_read_areas(iopt: &IoPagetable, iova: u64, last: u64) -> Result<(), Errno> {
    down_read(&iopt.iova_rwsem);
    let mut cur_iova = iova;
    let ret = loop {
        let Some(area) = contig_area(iopt, cur_iova) else { break Err(Errno::ENOENT) };
        if area.prevent_access.load() || iopt_is_dmabuf(area.of) {
            break Err(Errno::EINVAL);
        }
        if area.last() >= last {
            break Ok(());
        }
        cur_iova = area.last() + 1;
    };
    label("err_out");
    up_read(&iopt.iova_rwsem);
    ret
}

/// Part of `iommufd_ioas_iova_ranges()`: how many ranges of IOVAs can be used, and what an IOVA has
/// to be a multiple of. The caller holds `iova_rwsem`.
pub fn iopt_usable_ranges(iopt: &IoPagetable) -> (u64, u64) {
    lockdep_assert_held_rwsem(&iopt.iova_rwsem);
    let mut reserved = Vec::new();
    while let Some(range) = list_entry(&iopt.reserved, reserved.len()) {
        reserved.push(range);
    }
    reserved.sort_by_key(|range| range.first);
    let mut num_iovas = 0;
    // The first IOVA that is not reserved as far as was looked.
    let mut free = Some(0);
    for range in reserved {
        if free.is_some_and(|free| range.first > free) {
            num_iovas += 1;
        }
        free = free.and_then(|free: u64| range.last.checked_add(1).map(|next| next.max(free)));
    }
    num_iovas += u64::from(free.is_some());
    (num_iovas, iopt.iova_alignment.load())
}

/// The IOVA of the first area, for the numbers of a fuzzer: `iommufd_test_syz_conv_iova()`.
pub fn iopt_first_iova(iopt: &IoPagetable) -> Option<u64> {
    down_read(&iopt.iova_rwsem);
    let first = iopt_area_iter_first(iopt, 0, u64::MAX).map(|area| area.iova.peek());
    up_read(&iopt.iova_rwsem);
    first
}
