//! drivers/iommu/iommufd/selftest.c since 6.19: dma-bufs whose exporter takes its memory back.
//!
//! Source: reference/iommufd.md R-F7; the functions are from memory of v6.19.

use uapi::Errno;

use crate::iommufd::driver::PAGE_SIZE;
use crate::iommufd::main::fput;
use crate::iommufd::objects::{DmaBuf, DmaBufAttachment, File};
use crate::linux::dma_buf::{self, dma_buf_move_notify};
use crate::linux::mutex::{lockdep_assert_held, mutex_lock, mutex_unlock};
use crate::linux::slab::{kfree, kzalloc, Ptr};

/// Pages of the largest dma-buf.
const PAGES_MAX: u64 = 512;

/// `iommufd_test_dmabuf_get()`: IOMMU_TEST_OP_DMABUF_GET. Gives out the file that is to be installed.
///
/// # Errors
///
/// -EINVAL for a length of nothing or of too much, -ENOMEM.
pub fn iommufd_test_dmabuf_get(length: u64) -> Result<Ptr<File>, Errno> {
    let size = length.checked_next_multiple_of(PAGE_SIZE).unwrap_or(0);
    if size == 0 || size > PAGE_SIZE * PAGES_MAX {
        return Err(Errno::EINVAL);
    }
    let dmabuf: Ptr<DmaBuf> = kzalloc(|owner| dma_buf::DmaBuf::new(owner, size))?;
    // dma_buf_getfile()
    match kzalloc(File::new) {
        Ok(filp) => {
            filp.dmabuf.init(Some(dmabuf));
            Ok(filp)
        }
        Err(e) => {
            kfree(dmabuf);
            Err(e)
        }
    }
}

/// `iommufd_test_dma_buf_iommufd_map()`: how many bytes there are. The caller holds the reservation
/// lock.
///
/// # Errors
///
/// -ENODEV if they were taken back.
pub fn iommufd_test_dma_buf_iommufd_map(attachment: Ptr<DmaBufAttachment>) -> Result<u64, Errno> {
    let dmabuf = attachment.dmabuf;
    lockdep_assert_held(&dmabuf.resv);
    if dmabuf.revoked.load() {
        return Err(Errno::ENODEV);
    }
    Ok(dmabuf.size)
}

/// `iommufd_test_dmabuf_revoke()`: IOMMU_TEST_OP_DMABUF_REVOKE. `fget` looks the file up.
///
/// # Errors
///
/// -EBADF, -EINVAL for a file that is no dma-buf.
pub fn iommufd_test_dmabuf_revoke(
    fget: &dyn Fn() -> Result<Ptr<File>, Errno>,
    revoked: bool,
) -> Result<(), Errno> {
    let (filp, dmabuf) = dma_buf_get(fget)?;
    mutex_lock(&dmabuf.resv);
    dmabuf.revoked.store(revoked);
    dma_buf_move_notify(dmabuf);
    mutex_unlock(&dmabuf.resv);
    fput(filp);
    Ok(())
}

/// dma_buf_get(): the dma-buf behind a descriptor, held by its file.
///
/// # Errors
///
/// -EBADF, -EINVAL for a file that is no dma-buf.
pub fn dma_buf_get(
    fget: &dyn Fn() -> Result<Ptr<File>, Errno>,
) -> Result<(Ptr<File>, Ptr<DmaBuf>), Errno> {
    let filp = fget()?;
    match filp.dmabuf.peek() {
        Some(dmabuf) => Ok((filp, dmabuf)),
        None => {
            fput(filp);
            Err(Errno::EINVAL)
        }
    }
}
