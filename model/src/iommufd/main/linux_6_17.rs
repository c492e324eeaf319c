//! drivers/iommu/iommufd/main.c since 6.17 (generation C3): `pre_destroy`, tombstones, and objects
//! that the ioctl dispatcher finalizes.
//!
//! `pre_destroy` lets a type break a cycle of references before the destroyer waits: a bound
//! device destroys its vDEVICE there, which holds `users` and `wait_cnt` of the device. An object
//! that the kernel destroys behind user space's back leaves a tombstone: its id is not given out
//! again until the file is closed, so that user space cannot hit somebody else's object with it.
//!
//! Source: reference/iommufd.md 1.4.2, 1.4.9 to 1.4.12 (M7x); commits 7dc0e1090ba8, e6d41ee31219,
//! c0d498a1b99d, 5510bd89da24, ab6bc44159d8.

use uapi::Errno;

use super::{_iommufd_object_alloc, entry_to_remove, Remove};
use crate::iommufd::driver::PAGE_SIZE;
use crate::iommufd::invariants::check_unused;
use crate::iommufd::objects::{obj_of, File, HasObject, Ictx, Object, Type};
use crate::iommufd::ucmd::Ucmd;
use crate::linux::maple_tree::mtree_load;
use crate::linux::refcount::{
    refcount_dec, refcount_dec_and_test, refcount_dec_if_one, refcount_inc, refcount_inc_not_zero,
    refcount_set,
};
use crate::linux::slab::{kfree, Owner, Ptr};
use crate::linux::spinlock::{spin_lock, spin_unlock};
use crate::linux::wait::{wait_event_timeout, Condition};
use crate::linux::warn::{label, warn_on};
use crate::linux::xarray::{
    check_nodes_freed, xa_destroy, xa_empty, xa_erase, xa_find, xa_lock_index, xa_unlock_index,
    xas_store, Slot,
};

/// `_iommufd_object_alloc_ucmd()`: the dispatcher finalizes the object if the handler answers 0,
/// else it aborts it, with no lock of the handler held: no type with an abort op may come here.
///
/// # Errors
///
/// As `_iommufd_object_alloc()`; -EBUSY for a second object, -EOPNOTSUPP for a type with an abort
/// op, both with a WARN.
pub fn _iommufd_object_alloc_ucmd<T: HasObject>(
    ucmd: &Ucmd,
    ty: Type,
    make: impl FnOnce(Owner, Object) -> T,
) -> Result<Ptr<T>, Errno> {
    if warn_on(ucmd.new_obj.get().is_some()) {
        return Err(Errno::EBUSY);
    }
    if warn_on(ucmd.ictx.rev.iommufd_object_ops(ty).abort.is_some()) {
        return Err(Errno::EOPNOTSUPP);
    }

    let new = _iommufd_object_alloc(ucmd.ictx, ty, make)?;
    ucmd.new_obj.set(Some(obj_of(new)));
    Ok(new)
}

/// `iommufd_object_dec_wait()`: gives the slot's bias up, lets the type let go of itself, and
/// waits until nobody is inside. If nobody is, `pre_destroy` is not called.
///
/// # Errors
///
/// -EBUSY if somebody stayed inside for 60 s; the bias is back then.
pub fn iommufd_object_dec_wait(ictx: Ptr<Ictx>, to_destroy: Ptr<Object>) -> Result<(), Errno> {
    let wait_cnt = &to_destroy.shortterm_users;

    if refcount_dec_and_test(wait_cnt) {
        return Ok(());
    }
    if let Some(pre_destroy) = ictx.rev.iommufd_object_ops(to_destroy.ty).pre_destroy {
        pre_destroy(ictx, to_destroy);
    }

    let nobody_inside =
        Condition { accesses: &wait_cnt.read_accesses(), holds: &|| wait_cnt.peek() == 0 };
    if wait_event_timeout(&ictx.destroy_wait, ictx.rev.destroy_wait_ms, &nobody_inside) != 0 {
        return Ok(());
    }

    // pr_crit("Time out waiting for iommufd object to become free"): no WARN, the callers' is.
    refcount_inc(wait_cnt);
    Err(Errno::EBUSY)
}

/// `iommufd_object_remove()`: takes the object out of the xarray, leaving a tombstone if asked,
/// and frees it. With `to_destroy` the caller owns one users reference and gives it up here,
/// whatever the answer.
///
/// # Errors
///
/// -ENOENT if there is no such object, -EBUSY if somebody else uses it.
pub fn iommufd_object_remove(
    ictx: Ptr<Ictx>,
    to_destroy: Option<Ptr<Object>>,
    id: u64,
    flags: Remove,
) -> Result<(), Errno> {
    let mut zerod_wait_cnt = false;

    if let (Remove::WaitShortterm | Remove::WaitTombstone, Some(obj)) = (flags, to_destroy) {
        if let Err(e) = iommufd_object_dec_wait(ictx, obj) {
            refcount_dec(&obj.users);
            return Err(e);
        }
        zerod_wait_cnt = true;
    }

    xa_lock_index(&ictx.objects, id);
    let obj = match entry_to_remove(ictx, to_destroy, id) {
        Ok(obj) if refcount_dec_if_one(&obj.users) => obj,
        refused => {
            // Give the bias back to the slot that keeps the object.
            label("err_xa");
            let (obj, errno) = match refused {
                Ok(obj) => (Some(obj), Errno::EBUSY),
                Err((obj, errno)) => (obj, errno),
            };
            if let (true, Some(obj)) = (zerod_wait_cnt, obj) {
                refcount_set(&obj.shortterm_users, 1);
            }
            xa_unlock_index(&ictx.objects, id);
            return Err(errno);
        }
    };
    let left = if flags == Remove::WaitTombstone { Slot::Zero } else { Slot::Null };
    xas_store(&ictx.objects, id, left);
    xa_unlock_index(&ictx.objects, id);

    // Since users is 0 nobody comes in any more, but somebody may be on the way out.
    if !zerod_wait_cnt {
        let left = iommufd_object_dec_wait(ictx, obj);
        if warn_on(left.is_err()) {
            // The object is leaked on purpose: somebody is still inside.
            return left;
        }
    }

    (ictx.rev.iommufd_object_ops(obj.ty).destroy)(ictx, obj);
    kfree(obj);
    Ok(())
}

/// `iommufd_object_tombstone_user()`: the kernel destroys an object that user space believes it
/// owns; its id is not given out again.
#[track_caller]
pub fn iommufd_object_tombstone_user(ictx: Ptr<Ictx>, obj: Ptr<Object>) {
    let id = u64::from(obj.id.load());
    let ret = (ictx.rev.iommufd_object_remove)(ictx, Some(obj), id, Remove::WaitTombstone);

    warn_on(ret.is_err());
}

/// `iommufd_fops_release()`: the last reference of the file is gone. A tombstone keeps the xarray
/// from being empty although the iterator skips it, so each pass says for itself whether it found
/// something.
pub fn iommufd_fops_release(filp: Ptr<File>) {
    let Some(ictx) = filp.ictx.load() else { return };

    loop {
        let (mut empty, mut destroyed) = (true, 0);
        let mut index = 0;

        while let Some((found, obj)) = xa_find(&ictx.objects, index) {
            index = found + 1;
            empty = false;
            if !refcount_dec_if_one(&obj.users) {
                continue;
            }
            destroyed += 1;
            xa_erase(&ictx.objects, found);
            (ictx.rev.iommufd_object_ops(obj.ty).destroy)(ictx, obj);
            check_unused(obj);
            kfree(obj);
        }
        // Bug related to users refcount.
        if empty || warn_on(destroyed == 0) {
            break;
        }
    }
    // The tombstones.
    xa_destroy(&ictx.objects);
    check_nodes_freed(&ictx.objects);
    warn_on(!xa_empty(&ictx.groups));
    kfree(ictx);
}

/// What mmap(2) is asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct VmArea {
    /// Offset in the file, in bytes.
    pub offset: u64,
    /// Length in bytes.
    pub length: u64,
    /// MAP_SHARED
    pub shared: bool,
    /// PROT_EXEC
    pub exec: bool,
}

/// Part of `iommufd_fops_mmap()`: what is looked at before anything is looked up.
///
/// # Errors
///
/// -EINVAL, -EPERM
pub(super) fn mmap_checks(vma: &VmArea) -> Result<(), Errno> {
    if vma.offset % PAGE_SIZE != 0 || vma.length == 0 || !vma.shared {
        return Err(Errno::EINVAL);
    }
    if vma.exec {
        return Err(Errno::EPERM);
    }
    Ok(())
}

/// `iommufd_fops_mmap()`: maps what a driver has offered; the mapping holds the owner's users.
/// They are raised under the lock that the offer is taken back under (7a425ec75d2b).
///
/// # Errors
///
/// -EINVAL, -EPERM; -ENXIO for an offset or a length that nobody offered.
pub fn iommufd_fops_mmap(ictx: Ptr<Ictx>, vma: &VmArea) -> Result<Ptr<Object>, Errno> {
    mmap_checks(vma)?;

    let pgoff = vma.offset / PAGE_SIZE;
    spin_lock(&ictx.mt_mmap.ma_lock);
    let found = mtree_load(&ictx.mt_mmap, pgoff);
    let held = found.and_then(|immap| {
        let owner = immap.owner.load()?;
        refcount_inc_not_zero(&owner.users).then_some((immap, owner))
    });
    spin_unlock(&ictx.mt_mmap.ma_lock);
    let Some((immap, owner)) = held else { return Err(Errno::ENXIO) };

    // The whole offer, nothing more and nothing less. The owner keeps it.
    if immap.vm_pgoff.load() != pgoff || immap.length != vma.length {
        label("err_refcount");
        refcount_dec(&owner.users);
        return Err(Errno::ENXIO);
    }
    // remap_pfn_range(): page tables only, which are not modelled.
    Ok(owner)
}

/// `iommufd_fops_vma_close()`: a mapping goes away.
pub fn iommufd_fops_vma_close(owner: Ptr<Object>) {
    refcount_dec(&owner.users);
}
