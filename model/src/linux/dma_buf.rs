//! dma-buf: memory of a device that others import, and what its exporter tells them.
//!
//! An exporter that takes its memory back says so to every importer, under the reservation lock:
//! each has an attachment with a function for that. Who detaches takes the same lock, so once
//! dma_buf_detach() has returned nobody calls that function any more.
//!
//! The dma-buf lives as long as its file, which holds it; dma_buf_get() and dma_buf_put() are
//! fget() and fput(), and stand where the files are.
//!
//! Source: include/linux/dma-buf.h, drivers/dma-buf/dma-buf.c, include/linux/dma-resv.h.

use uapi::Errno;

use crate::linux::list::{list_add, list_del_init, list_entry, ListHead};
use crate::linux::mutex::{lockdep_assert_held, mutex_lock, mutex_unlock, Mutex};
use crate::linux::slab::{kfree, kzalloc, Owner, Plain, Ptr, Struct};
use crate::linux::warn::warn_on;

/// struct dma_buf, whose importers keep a `P`.
pub struct DmaBuf<P: 'static> {
    /// `dmabuf->resv->lock`, which is a ww_mutex; nobody takes two of them.
    pub resv: Mutex,
    /// Who imports it. Under `resv`.
    pub attachments: ListHead<Attachment<P>>,
    /// In bytes. Constant.
    pub size: u64,
    /// `dmabuf->priv` of the mock exporter: whether it has taken the memory back. Under `resv`.
    pub revoked: Plain<bool>,
}

impl<P: 'static> Struct for DmaBuf<P> {
    const NAME: &'static str = "dma_buf";
}

impl<P: 'static> DmaBuf<P> {
    /// dma_buf_export()
    pub fn new(owner: Owner, size: u64) -> DmaBuf<P> {
        DmaBuf {
            resv: Mutex::new(owner.field("resv")),
            attachments: ListHead::new(owner.field("attachments")),
            size,
            revoked: Plain::new(owner.field("priv->revoked"), false),
        }
    }
}

/// struct dma_buf_attachment
pub struct Attachment<P: 'static> {
    /// What it is of. Constant.
    pub dmabuf: Ptr<DmaBuf<P>>,
    /// `importer_priv`. Constant once others can find it.
    pub importer_priv: Plain<Option<Ptr<P>>>,
    /// `importer_ops->move_notify`. Constant.
    pub move_notify: fn(Ptr<P>),
}

impl<P: 'static> Struct for Attachment<P> {
    const NAME: &'static str = "dma_buf_attachment";
}

/// dma_buf_release(): its file is gone.
pub fn dma_buf_release<P: 'static>(dmabuf: Ptr<DmaBuf<P>>) {
    warn_on(!dmabuf.attachments.peek().is_empty());
    kfree(dmabuf);
}

/// dma_buf_dynamic_attach()
///
/// # Errors
///
/// -ENOMEM
pub fn dma_buf_dynamic_attach<P: 'static>(
    dmabuf: Ptr<DmaBuf<P>>,
    move_notify: fn(Ptr<P>),
    importer_priv: Ptr<P>,
) -> Result<Ptr<Attachment<P>>, Errno> {
    let attach = kzalloc(|owner| Attachment {
        dmabuf,
        importer_priv: Plain::new(owner.field("importer_priv"), None),
        move_notify,
    })?;
    attach.importer_priv.store(Some(importer_priv));

    mutex_lock(&dmabuf.resv);
    list_add(attach, &dmabuf.attachments);
    mutex_unlock(&dmabuf.resv);
    Ok(attach)
}

/// dma_buf_detach()
pub fn dma_buf_detach<P: 'static>(dmabuf: Ptr<DmaBuf<P>>, attach: Ptr<Attachment<P>>) {
    mutex_lock(&dmabuf.resv);
    list_del_init(attach, &dmabuf.attachments);
    mutex_unlock(&dmabuf.resv);
    kfree(attach);
}

/// dma_buf_move_notify(): the caller holds the reservation lock.
pub fn dma_buf_move_notify<P: 'static>(dmabuf: Ptr<DmaBuf<P>>) {
    lockdep_assert_held(&dmabuf.resv);
    let mut nth = 0;
    while let Some(attach) = list_entry(&dmabuf.attachments, nth) {
        nth += 1;
        if let Some(importer_priv) = attach.importer_priv.load() {
            (attach.move_notify)(importer_priv);
        }
    }
}
