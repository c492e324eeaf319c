//! A spinlock of a queue, and the insertion that falls back to one.
//!
//! Source: reference/smmuv3.md 3.6 B12 (Will Deacon's counter-proposal to the fetch_add, not
//! merged; its text was not seen, only what it does).

use uapi::Errno;

use crate::arm_smmu_v3::cmdq::{try_allocate, Cmdq};
use crate::arm_smmu_v3::llq::Llq;
use crate::arm_smmu_v3::revision::Cmds;
use crate::linux::atomic::{atomic_cond_read, atomic_set, cmpxchg, read_once, Order};

/// spin_lock(&cmdq->lock)
pub fn spin_lock(q: &Cmdq) {
    loop {
        atomic_cond_read(&q.spinlock, Order::Relaxed, |v| v == 0);
        if cmpxchg(&q.spinlock, q.rev.orders.spin_lock, (0, 1), || {}).is_ok() {
            return;
        }
    }
}

/// spin_unlock(&cmdq->lock)
pub fn spin_unlock(q: &Cmdq) {
    atomic_set(&q.spinlock, q.rev.orders.spin_unlock, 0, || {});
}

/// Part of `arm_smmu_cmdq_issue_cmdlist()`: who loses the first CAS tries the next one under a
/// spinlock, so that at most one loser bothers those who come new. The lock is not held while the
/// ring is full.
///
/// # Errors
///
/// None.
pub fn allocate(q: &Cmdq, cmds: &Cmds, sync: bool) -> Result<Llq, Errno> {
    allocate_with(q, cmds, sync, spin_unlock)
}

/// As [`allocate`]; `before_poll` gives the lock back before space is waited for.
fn allocate_with(q: &Cmdq, cmds: &Cmds, sync: bool, before_poll: fn(&Cmdq)) -> Result<Llq, Errno> {
    let k = cmds.len() as u32 + u32::from(sync);
    let mut locked = false;
    let mut llq = Llq::of(read_once(&q.llq, Order::Relaxed));
    loop {
        while !(q.rev.queue_has_space)(q.shape, llq, k) {
            if std::mem::take(&mut locked) {
                before_poll(q);
            }
            llq = (q.rev.poll_until_not_full)(q, llq, k);
        }
        match try_allocate(q, llq, cmds, sync) {
            Ok(()) => break,
            Err(found) => llq = found,
        }
        if !std::mem::replace(&mut locked, true) {
            spin_lock(q);
            llq = Llq::of(read_once(&q.llq, Order::Relaxed));
        }
    }
    if locked {
        spin_unlock(q);
    }
    Ok(llq)
}

/// Not a posted text: see there.
pub mod twins {
    use super::*;

    /// The path that waits for space forgets the lock.
    ///
    /// # Errors
    ///
    /// None.
    pub fn kept_while_full(q: &Cmdq, cmds: &Cmds, sync: bool) -> Result<Llq, Errno> {
        allocate_with(q, cmds, sync, |_| {})
    }
}
