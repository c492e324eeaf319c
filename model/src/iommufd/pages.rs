//! drivers/iommu/iommufd/pages.c: what is behind an area, as far as somebody else can take it away.
//!
//! The memory of a dma-buf (since 6.19, the rows from 7.3 on) belongs to its exporter, who may revoke
//! it at any moment: `iopt_revoke_notify()` takes it out of every domain that it is mapped in. From
//! then on the area is there and maps nothing.
//!
//! Source: reference/iommufd.md R-F7; the order of the calls is from memory of v6.19, pages.c.

pub mod mutex_destroy_before_detach;

use uapi::Errno;

use crate::iommufd::io_pagetable::{self, check_length, iopt_map_or_put, Fget, Memory, Range};
use crate::iommufd::main::fput;
use crate::iommufd::objects::{
    Area, DmaBuf, DmaBufAttachment, DmabufTrack, File, HwptPaging, IoPagetable, Pages,
};
use crate::iommufd::revision::Revision;
use crate::iommufd::selftest::dmabuf::{dma_buf_get, iommufd_test_dma_buf_iommufd_map};
use crate::linux::dma_buf::{dma_buf_detach, dma_buf_dynamic_attach};
use crate::linux::iommu_domain::iommu_unmap;
use crate::linux::list::{list_add_tail, list_del_init, list_entry, ListHead};
use crate::linux::mutex::{lockdep_assert_held, mutex_destroy, mutex_lock, mutex_unlock, Mutex};
use crate::linux::slab::{kfree, kzalloc, Plain, Ptr};
use crate::linux::warn::{label, warn_on};

/// `iopt_alloc_pages()`: the length was checked.
///
/// # Errors
///
/// -ENOMEM
pub fn iopt_alloc_pages(rev: &'static Revision, memory: Memory) -> Result<Ptr<Pages>, Errno> {
    kzalloc(|owner| Pages {
        rev,
        mutex: Mutex::new(owner.field("mutex")),
        memory,
        access_itree: ListHead::new(owner.field("access_itree")),
        attach: Plain::new(owner.field("dmabuf.attach"), None),
        phys_len: Plain::new(owner.field("dmabuf.phys.len"), 0),
        tracker: ListHead::new(owner.field("dmabuf.tracker")),
    })
}

/// `iopt_put_pages()`: nobody maps them any more.
pub fn iopt_put_pages(pages: Ptr<Pages>) {
    (pages.rev.iopt_release_pages)(pages);
}

/// `iopt_release_pages()` since f2d70dbd3dce: the mutex is destroyed when the exporter can no longer
/// call.
pub fn iopt_release_pages(pages: Ptr<Pages>) {
    release_memory(pages);
    mutex_destroy(&pages.mutex);
    kfree(pages);
}

/// Part of `iopt_release_pages()`: gives back what the memory is held by.
fn release_memory(pages: Ptr<Pages>) {
    match pages.memory {
        Memory::Process(_) => {}
        Memory::File(filp, _) => fput(filp),
        Memory::Dmabuf(filp, _) => {
            if let Some(attach) = pages.attach.load() {
                dma_buf_detach(attach.dmabuf, attach);
                // dma_buf_put()
                fput(filp);
                warn_on(!pages.tracker.peek().is_empty());
            }
        }
    }
}

/// `iopt_alloc_dmabuf_pages()`: takes over the reference of the dma-buf's file if it succeeds.
///
/// # Errors
///
/// -EINVAL for a range that the dma-buf does not have, -ENOMEM, -ENODEV if it was revoked.
pub fn iopt_alloc_dmabuf_pages(
    rev: &'static Revision,
    (filp, dmabuf): (Ptr<File>, Ptr<DmaBuf>),
    start: u64,
    length: u64,
) -> Result<Ptr<Pages>, Errno> {
    if length > dmabuf.size || start > dmabuf.size - length {
        return Err(Errno::EINVAL);
    }
    let pages = iopt_alloc_pages(rev, Memory::Dmabuf(filp, start))?;
    match iopt_map_dmabuf(pages, dmabuf) {
        Ok(()) => Ok(pages),
        Err(e) => {
            iopt_put_pages(pages);
            Err(e)
        }
    }
}

/// `iopt_map_file_pages()` since 6.19: a descriptor of a dma-buf maps the memory of its device.
///
/// # Errors
///
/// -EBADF, and as `iopt_alloc_dmabuf_pages()` and `iopt_map_file_pages()` of 6.13.
pub fn iopt_map_file_pages(
    rev: &'static Revision,
    iopt: &IoPagetable,
    range: Range,
    (fget, start): (Fget<'_>, u64),
) -> Result<u64, Errno> {
    // Whatever is wrong with the descriptor, it is looked up again as that of a file.
    let Ok((filp, dmabuf)) = dma_buf_get(fget) else {
        return io_pagetable::iopt_map_file_pages(rev, iopt, range, (fget, start));
    };
    let pages = check_length(range.length)
        .and_then(|()| iopt_alloc_dmabuf_pages(rev, (filp, dmabuf), start, range.length));
    match pages {
        Ok(pages) => iopt_map_or_put(iopt, range, pages),
        Err(e) => {
            // dma_buf_put()
            fput(filp);
            Err(e)
        }
    }
}

/// `iopt_map_dmabuf()`: where the memory is, and a word when it goes away.
///
/// # Errors
///
/// -ENOMEM, -ENODEV if it was revoked.
fn iopt_map_dmabuf(pages: Ptr<Pages>, dmabuf: Ptr<DmaBuf>) -> Result<(), Errno> {
    let attach: Ptr<DmaBufAttachment> = dma_buf_dynamic_attach(dmabuf, iopt_revoke_notify, pages)?;

    mutex_lock(&dmabuf.resv);
    let phys_len = iommufd_test_dma_buf_iommufd_map(attach);
    if let Ok(len) = phys_len {
        pages.phys_len.store(len);
    }
    mutex_unlock(&dmabuf.resv);
    if let Err(e) = phys_len {
        label("err_detach");
        dma_buf_detach(dmabuf, attach);
        return Err(e);
    }
    pages.attach.store(Some(attach));
    Ok(())
}

/// `iopt_revoke_notify()`: the exporter takes the memory back. It holds the reservation lock.
fn iopt_revoke_notify(pages: Ptr<Pages>) {
    mutex_lock(&pages.mutex);
    if pages.phys_len.load() != 0 {
        let mut nth = 0;
        while let Some(track) = list_entry(&pages.tracker, nth) {
            nth += 1;
            iommu_unmap(&track.domain.domain, track.area.iova.peek());
        }
        pages.phys_len.store(0);
    }
    mutex_unlock(&pages.mutex);
}

/// `iopt_is_dmabuf()`
pub fn iopt_is_dmabuf(pages: Ptr<Pages>) -> bool {
    matches!(pages.memory, Memory::Dmabuf(..))
}

/// `iopt_dmabuf_revoked()`: whether the exporter has taken the memory back.
pub fn iopt_dmabuf_revoked(pages: Ptr<Pages>) -> bool {
    lockdep_assert_held(&pages.mutex);
    iopt_is_dmabuf(pages) && pages.phys_len.load() == 0
}

/// `iopt_dmabuf_track_domain()`: the area is about to fill this domain.
///
/// # Errors
///
/// -ENOMEM
pub fn iopt_dmabuf_track_domain(area: Ptr<Area>, domain: Ptr<HwptPaging>) -> Result<(), Errno> {
    lockdep_assert_held(&area.of.mutex);
    let track = kzalloc(|_| DmabufTrack { area, domain })?;
    list_add_tail(track, &area.of.tracker);
    Ok(())
}

/// `iopt_dmabuf_untrack_domain()`
pub fn iopt_dmabuf_untrack_domain(area: Ptr<Area>, domain: Ptr<HwptPaging>) {
    lockdep_assert_held(&area.of.mutex);
    let mut nth = 0;
    while let Some(track) = list_entry(&area.of.tracker, nth) {
        if track.area.is(area) && track.domain.is(domain) {
            list_del_init(track, &area.of.tracker);
            kfree(track);
            return;
        }
        nth += 1;
    }
    warn_on(true);
}
