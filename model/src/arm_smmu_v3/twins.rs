//! Not a posted text: each function here is one of the driver's with one mistake in it, and each
//! mistake is one that an explorer has to find.
//!
//! Source: reference/smmuv3.md 3.6 and 3.7.

use uapi::Errno;

use crate::arm_smmu_v3::cmdq;
use crate::arm_smmu_v3::cmdq::{
    arm_smmu_cmdq_poll_valid_map, arm_smmu_cmdq_set_valid_map, arm_smmu_cmdq_write_entries, here,
    publish, stop_gathering, Cmdq,
};
use crate::arm_smmu_v3::llq::{self, Llq, Shape, CMDQ_PROD_OWNED_FLAG};
use crate::arm_smmu_v3::lock;
use crate::arm_smmu_v3::revision::Cmds;
use crate::arm_smmu_v3::wait;
use crate::linux::atomic::{
    atomic_cond_read, atomic_set, cmpxchg, dma_wmb, read_once, write_entry, writel, Entry, Order,
};

/// "Is the ring full?" is asked, where space for k is needed: with some space, and not enough, the
/// answer comes at once, each time with a fresh timer, so there is no limit. (A look at the same
/// words finds the same, so it sleeps here until they change.)
pub fn poll_while_full(q: &Cmdq, old: Llq, k: u32) -> Llq {
    wait::poll_until(q, old, k, llq::queue_full)
}

/// Two CPUs can take the same slots.
///
/// # Errors
///
/// None.
pub fn allocate_by_store(q: &Cmdq, cmds: &Cmds, sync: bool) -> Result<Llq, Errno> {
    let (n, at) = (cmds.len() as u32, here());
    let k = n + u32::from(sync);
    let mut llq = Llq::of(read_once(&q.llq, Order::Relaxed));
    while !(q.rev.queue_has_space)(q.shape, llq, k) {
        llq = (q.rev.poll_until_not_full)(q, llq, k);
    }
    let new = Llq { prod: q.shape.inc_prod_n(llq.prod, k) | CMDQ_PROD_OWNED_FLAG, ..llq };
    let last = sync.then(|| q.sync_command(q.shape.inc_prod_n(llq.prod, n)));
    let took = || q.allocated(at, llq.prod, cmds, last);
    atomic_set(&q.llq, q.rev.orders.llq_cmpxchg, new.val(), took);
    Ok(llq)
}

/// The valid bit behind the list is toggled, too.
pub fn valid_one_more(q: &Cmdq, start: u32, n: u32, sync: bool) {
    cmdq::make_valid(q, start, n, sync);
    arm_smmu_cmdq_set_valid_map(q, q.shape.inc_prod_n(start, n + u32::from(sync)), 1);
}

/// The slot behind the one that CONS is at.
pub fn slot_behind(shape: Shape, cons: u32) -> u32 {
    shape.idx(cons.wrapping_add(1))
}

/// The SYNC can be published, and consumed, before its waiter holds the lock.
pub fn lock_after_valid(q: &Cmdq, start: u32, n: u32, sync: bool) {
    if sync {
        q.waits_for_sync(here(), n);
    }
    dma_wmb(q.rev.orders.dma_wmb);
    arm_smmu_cmdq_set_valid_map(q, start, n + u32::from(sync));
    if sync {
        (q.rev.shared_lock)(q);
    }
}

/// The first word of a CMD_SYNC, over which its MSI goes, is written behind its valid bit.
pub fn first_word_late(q: &Cmdq, start: u32, n: u32, sync: bool) {
    let slot = &q.ring[q.shape.idx(q.shape.inc_prod_n(start, n)) as usize];
    let entry =
        Entry { words: q.sync_command(q.shape.inc_prod_n(start, n)), tag: slot.first().peek() };
    if sync {
        let [first, second] = entry.words;
        let words = [first & !0xffff_ffff, second];
        write_entry(slot, Entry { words, tag: entry.tag & !0xffff_ffff }, || {});
    }
    cmdq::make_valid(q, start, n, sync);
    if sync {
        write_entry(slot, entry, || {});
    }
}

/// The next group gets an owner while the previous one may still be publishing.
pub fn owned_cleared_first(q: &Cmdq, start: u32) {
    let end = stop_gathering(q);
    atomic_cond_read(&q.owner_prod, q.rev.orders.owner_prod_read, |v| v == u64::from(start));
    arm_smmu_cmdq_poll_valid_map(q, start, end);
    publish(q, end);
}

/// PROD may cover slots that are not written.
pub fn owner_skips_followers(q: &Cmdq, start: u32) {
    atomic_cond_read(&q.owner_prod, q.rev.orders.owner_prod_read, |v| v == u64::from(start));
    let end = stop_gathering(q);
    publish(q, end);
}

/// Nobody waits for the previous owner.
pub fn owner_does_not_wait(q: &Cmdq, start: u32) {
    let end = stop_gathering(q);
    arm_smmu_cmdq_poll_valid_map(q, start, end);
    publish(q, end);
}

/// A list of k entries goes into k - 1 free slots.
pub fn space_minus_one(shape: Shape, llq: Llq, n: u32) -> bool {
    llq::queue_has_space(shape, llq, n.saturating_sub(1))
}

/// Our own entry counts as consumed when CONS has reached it.
pub fn consumed_ge(shape: Shape, cons: u32, prod: u32) -> bool {
    llq::queue_consumed(shape, cons, prod)
        || (shape.wrp(cons) == shape.wrp(prod) && shape.idx(cons) >= shape.idx(prod))
}

/// Everybody thinks to be the last holder.
pub fn tryunlock_always_last(_q: &Cmdq) -> bool {
    false
}

/// As the driver's, for the twin whose last holder does not unlock.
pub fn tryunlock(q: &Cmdq) -> bool {
    if read_once(&q.lock, Order::Relaxed) == 1 {
        return false;
    }
    lock::arm_smmu_cmdq_shared_unlock(q);
    true
}

/// The last holder does not unlock.
pub fn no_unlock(_q: &Cmdq) {}

/// A slot of the previous lap counts as valid.
pub const VALID_IN_EVERY_LAP: [bool; 2] = [true; 2];

/// There is no owner: every producer writes PROD for its own list.
pub fn prod_per_producer(q: &Cmdq, cmds: &Cmds, sync: bool) -> Result<(), Errno> {
    let n = cmds.len() as u32;
    let k = n + u32::from(sync);
    let mut llq = Llq::of(read_once(&q.llq, Order::Relaxed));
    let start = loop {
        while !(q.rev.queue_has_space)(q.shape, llq, k) {
            llq = (q.rev.poll_until_not_full)(q, llq, k);
        }
        let new = Llq { prod: q.shape.inc_prod_n(llq.prod, k), cons: llq.cons };
        let last = sync.then(|| q.sync_command(q.shape.inc_prod_n(llq.prod, n)));
        let took = || q.allocated(here(), llq.prod, cmds, last);
        match cmpxchg(&q.llq, q.rev.orders.llq_cmpxchg, (llq.val(), new.val()), took) {
            Ok(()) => break llq.prod,
            Err(found) => llq = Llq::of(found),
        }
    };
    arm_smmu_cmdq_write_entries(q, start, cmds, sync);
    (q.rev.make_valid)(q, start, n, sync);
    let end = q.shape.inc_prod_n(start, k);
    q.will_write_prod(end);
    writel(&q.prod_reg, q.rev.orders.prod_write, end.into(), || q.prod_written(here(), end));
    match sync {
        true => wait::arm_smmu_cmdq_sync(q, q.shape.inc_prod_n(start, n)),
        false => Ok(()),
    }
}
