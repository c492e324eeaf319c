//! `iopt_release_pages()` before f2d70dbd3dce (CVE-2026-74328): the mutex is destroyed while the
//! exporter of a dma-buf can still call iopt_revoke_notify(), which takes it.
//!
//! Source: reference/iommufd.md R-F7.

use super::release_memory;
use crate::iommufd::objects::Pages;
use crate::linux::mutex::mutex_destroy;
use crate::linux::slab::{kfree, Ptr};

/// `iopt_release_pages()`
pub fn iopt_release_pages(pages: Ptr<Pages>) {
    mutex_destroy(&pages.mutex);
    release_memory(pages);
    kfree(pages);
}
