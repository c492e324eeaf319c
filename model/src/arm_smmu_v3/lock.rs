//! The lock between those who wait for a CMD_SYNC (shared) and those who move `llq.cons`.
//!
//! With only two laps of wrap information a waiter could be lapped twice without noticing. As long
//! as one of them holds the lock, `llq.cons` does not move, and nobody inserts beyond the lap.
//!
//! Source: arm-smmu-v3.c, arm_smmu_cmdq_shared_lock() to
//! arm_smmu_cmdq_exclusive_unlock_irqrestore(); commits 587e6c10a7ce and df180b1a4cc5;
//! reference/smmuv3.md 3.3 and B13.

use crate::arm_smmu_v3::cmdq::{here, Cmdq};
use crate::linux::atomic::{
    atomic_cond_read, atomic_fetch, atomic_set, cmpxchg, read_once, Order, Rmw,
};

/// INT_MIN, the exclusive holder's mark.
pub const EXCLUSIVE: u64 = i32::MIN as i64 as u64;

/// `arm_smmu_cmdq_shared_lock()` since df180b1a4cc5: an increment is never lost, so it is enough to
/// wait until the sign is gone.
pub fn arm_smmu_cmdq_shared_lock(q: &Cmdq) {
    let old = atomic_fetch(&q.lock, Order::Relaxed, Rmw::Add(1), |old| {
        q.asks_for_shared(old as i64 >= 0, 1);
    });
    if old as i64 >= 0 {
        return;
    }
    atomic_cond_read(&q.lock, Order::Relaxed, |v| v as i64 > 0);
    q.has_shared(1);
}

/// `arm_smmu_cmdq_shared_unlock()`
pub fn arm_smmu_cmdq_shared_unlock(q: &Cmdq) {
    let dec = Rmw::Add(u64::MAX);
    atomic_fetch(&q.lock, q.rev.orders.shared_unlock, dec, |old| q.gave_shared_back(here(), old));
}

/// `arm_smmu_cmdq_shared_tryunlock()`: false for the last one, who has to update llq.cons first.
pub fn arm_smmu_cmdq_shared_tryunlock(q: &Cmdq) -> bool {
    if read_once(&q.lock, Order::Relaxed) == 1 {
        return false;
    }
    (q.rev.shared_unlock)(q);
    true
}

/// `arm_smmu_cmdq_exclusive_trylock_irqsave()`
pub fn arm_smmu_cmdq_exclusive_trylock(q: &Cmdq) -> bool {
    let order = q.rev.orders.exclusive_lock;
    cmpxchg(&q.lock, order, (0, EXCLUSIVE), || q.has_exclusive(here())).is_ok()
}

/// `arm_smmu_cmdq_exclusive_unlock_irqrestore()` since df180b1a4cc5: takes only the sign away.
pub fn arm_smmu_cmdq_exclusive_unlock(q: &Cmdq) {
    let sign = Rmw::And(!EXCLUSIVE);
    atomic_fetch(&q.lock, q.rev.orders.exclusive_unlock, sign, |_| {});
}

/// The texts before df180b1a4cc5.
pub mod v5_4 {
    use super::*;

    /// `arm_smmu_cmdq_shared_lock()` of 587e6c10a7ce: the increment made under an exclusive holder
    /// is lost with its unlock, so it is made again.
    pub fn arm_smmu_cmdq_shared_lock(q: &Cmdq) {
        let old = atomic_fetch(&q.lock, Order::Relaxed, Rmw::Add(1), |old| {
            q.asks_for_shared(old as i64 >= 0, 1);
        });
        if old as i64 >= 0 {
            return;
        }
        loop {
            let val = atomic_cond_read(&q.lock, Order::Relaxed, |v| v as i64 >= 0);
            if cmpxchg(&q.lock, Order::Relaxed, (val, val + 1), || q.has_shared(1)).is_ok() {
                return;
            }
        }
    }

    /// `arm_smmu_cmdq_exclusive_unlock_irqrestore()` of 587e6c10a7ce.
    pub fn arm_smmu_cmdq_exclusive_unlock(q: &Cmdq) {
        atomic_set(&q.lock, q.rev.orders.exclusive_unlock, 0, || {});
    }
}
