//! Waiting for space in the ring, and for a CMD_SYNC.
//!
//! The kernel's loops look again and again. Here a loop that found nothing sleeps until something
//! that it reads has changed: between two looks at the same values nothing else happens.
//!
//! Source: arm-smmu-v3.c, arm_smmu_cmdq_poll_until_not_full() to arm_smmu_cmdq_poll_until_sync();
//! reference/smmuv3.md 3.3.

use uapi::queue::Completion;
use uapi::Errno;

use crate::arm_smmu_v3::cmdq::{here, Cmdq};
use crate::arm_smmu_v3::llq::{Llq, Shape};
use crate::arm_smmu_v3::lock::arm_smmu_cmdq_exclusive_trylock;
use crate::linux::atomic::{queue_poll, read_once, readl, write_part, Atomic, Order, Wait};

/// ARM_SMMU_POLL_TIMEOUT_US, in milliseconds of virtual time.
pub const TIMEOUT_MS: u64 = 1_000;

/// READ_ONCE(cmdq->q.llq.cons): with the other half of the word.
pub fn llq_cons(q: &Cmdq) -> u32 {
    Llq::of(read_once(&q.llq, Order::Relaxed)).cons
}

/// WRITE_ONCE(cmdq->q.llq.cons, cons): the upper half of the word.
pub fn write_llq_cons(q: &Cmdq, cons: u32) {
    let f = |val| Llq { cons, ..Llq::of(val) }.val();
    q.will_write_llq_cons(cons);
    write_part(&q.llq, q.rev.orders.llq_cons_write, f, || q.llq_cons_written(here(), cons));
}

/// `arm_smmu_cmdq_poll_until_not_full()`: one round. Gives the refreshed snapshot.
pub fn arm_smmu_cmdq_poll_until_not_full(q: &Cmdq, old: Llq, k: u32) -> Llq {
    poll_until(q, old, k, |_, _| true)
}

/// As it is; `timed` says with which words its timer runs on.
pub fn poll_until(q: &Cmdq, old: Llq, k: u32, timed: fn(Shape, Llq) -> bool) -> Llq {
    let space = Space {
        word: &q.llq,
        // The CAS that takes the slots acquires.
        order: Order::Relaxed,
        cons: |val| Llq::of(val).cons,
        is_enough: &|val| (q.rev.queue_has_space)(q.shape, Llq::of(val), k),
        is_timed: &|val| timed(q.shape, Llq::of(val)),
    };
    Llq::of(poll_for_space(q, &space, old.val()))
}

/// What is waited for by who needs space.
pub struct Space<'a> {
    /// The word with llq.cons in it.
    pub word: &'a Atomic,
    /// The order of a look at it.
    pub order: Order,
    /// What the word says of it.
    pub cons: fn(u64) -> u32,
    /// Whether it is far enough.
    pub is_enough: &'a dyn Fn(u64) -> bool,
    /// Whether the wait at this value has a limit.
    pub is_timed: &'a dyn Fn(u64) -> bool,
}

/// One round of waiting for space, by who saw this value of the word. Gives a newer one.
pub fn poll_for_space(q: &Cmdq, space: &Space<'_>, old: u64) -> u64 {
    // Try to update our copy of cons by grabbing exclusive cmdq access. If that fails, spin until
    // somebody else updates it for us.
    if arm_smmu_cmdq_exclusive_trylock(q) {
        let cons = readl(&q.cons_reg, q.rev.orders.cons_read_space) as u32;
        q.has_read_cons(here());
        (q.rev.write_llq_cons)(q, cons);
        (q.rev.exclusive_unlock)(q);
        let val = read_once(space.word, space.order);
        if (space.is_enough)(val) {
            return val;
        }
        // Ask the SMMU again when it has moved on.
        let seen = q.shape.pos((space.cons)(val));
        let moved = || q.shape.pos(q.cons_reg.peek() as u32) != seen;
        return wait_for_change(q, space, val, &q.cons_reg, &moved);
    }
    // Who holds the lock writes llq.cons, or gives it back. (The kernel looks at llq only, and
    // tries the lock again as soon as the ring is not full.)
    wait_for_change(q, space, old, &q.lock, &|| q.lock.peek() == 0)
}

/// Part of `arm_smmu_cmdq_poll_until_not_full()`: sleeps until the word is another one than what
/// was seen, or `moved`.
fn wait_for_change(
    q: &Cmdq,
    space: &Space<'_>,
    seen: u64,
    also: &Atomic,
    moved: &dyn Fn() -> bool,
) -> u64 {
    let wait = Wait {
        until: &|val| val != seen || moved(),
        or_change_of: Some(also),
        or_gate: None,
        timeout_ms: (space.is_timed)(seen).then_some(TIMEOUT_MS),
    };
    queue_poll(space.word, space.order, &wait).unwrap_or_else(|| {
        q.times_out(here());
        // "CMDQ timeout". The kernel goes on waiting, with the same message each time.
        q.cmdq_timeout(here());
        seen
    })
}

/// Part of `arm_smmu_cmdq_issue_cmdlist()`: waits for the SYNC at `prod`, and gives the lock back.
pub fn arm_smmu_cmdq_sync(q: &Cmdq, prod: u32) -> Result<(), Errno> {
    let found = match q.completion {
        Completion::Cons => arm_smmu_cmdq_poll_until_consumed(q, prod),
        Completion::Msi => arm_smmu_cmdq_poll_until_msi(q, prod),
    };
    let (ret, cons) = match found {
        Some(cons) => {
            q.sync_is_complete(here());
            (Ok(()), cons)
        }
        None => {
            q.times_out(here());
            // The last CONS that it read.
            (Err(Errno::ETIMEDOUT), q.cons_reg.peek() as u32)
        }
    };
    // Try to unlock the cmdq lock. This will fail if we're the last reader, in which case we can
    // safely update cmdq->q.llq.cons
    if !(q.rev.shared_tryunlock)(q) {
        (q.rev.write_llq_cons)(q, cons);
        (q.rev.shared_unlock)(q);
    }
    ret
}

/// `__arm_smmu_cmdq_poll_until_consumed()`
fn arm_smmu_cmdq_poll_until_consumed(q: &Cmdq, prod: u32) -> Option<u32> {
    let cons = (q.rev.llq_cons)(q);
    if (q.rev.queue_consumed)(q.shape, cons, prod) {
        return Some(cons);
    }
    // The ordered accessor: who sees that the SMMU has consumed our SYNC sees the shared lock of
    // every SYNC that was published with it.
    let wait = Wait {
        until: &|cons| (q.rev.queue_consumed)(q.shape, cons as u32, prod),
        or_change_of: None,
        or_gate: None,
        timeout_ms: Some(TIMEOUT_MS),
    };
    q.will_see_sync();
    q.will_cease_to_wait();
    let cons = queue_poll(&q.cons_reg, q.rev.orders.cons_read_sync, &wait);
    q.has_read_cons(here());
    cons.map(|cons| cons as u32)
}

/// `__arm_smmu_cmdq_poll_until_msi()`: the SMMU has overwritten our SYNC.
fn arm_smmu_cmdq_poll_until_msi(q: &Cmdq, prod: u32) -> Option<u32> {
    let slot = q.ring[q.shape.idx(prod) as usize].first();
    let wait = Wait {
        until: &|word| word & 0xffff_ffff == 0,
        or_change_of: None,
        or_gate: None,
        timeout_ms: Some(TIMEOUT_MS),
    };
    q.will_see_sync();
    q.will_cease_to_wait();
    queue_poll(slot, q.rev.orders.msi_read, &wait)?;
    Some(q.shape.inc_prod_n(prod, 1))
}
