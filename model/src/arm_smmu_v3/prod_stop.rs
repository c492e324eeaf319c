//! CMDQ_PROD_STOP_FLAG: a bit of llq.prod that refuses lists while the SMMU is switched off.
//!
//! The flag is in the word of the CAS, so a list that has its slots was there before the flag, and
//! whoever comes later sees it. Then the ring is drained. Then the lock is taken exclusively and
//! kept: nobody waits for a CMD_SYNC any more, and who looks for space does not read CONS. Then the
//! power may go. What a refused list was for is not lost: the SMMU has no cached translations
//! when its power is back, and its masters are suspended before it.
//!
//! Power stands here for power, clocks and CR0.CMDQEN together: [`Cmdq::power`].
//!
//! Source: reference/smmuv3.md 3.6 B18 (Pranjal Shrivastava's series on runtime PM, v9, July 2026;
//! its text was not seen, only what it does). What a refused list answers is not said there; that
//! the lock must be kept is what the explorers say (`cmdq_prod_stop_without_lock`).

use uapi::Errno;

use crate::arm_smmu_v3::cmdq::{here, try_allocate, Cmdq};
use crate::arm_smmu_v3::llq::Llq;
use crate::arm_smmu_v3::lock::arm_smmu_cmdq_exclusive_trylock;
use crate::arm_smmu_v3::revision::Cmds;
use crate::arm_smmu_v3::wait::TIMEOUT_MS;
use crate::linux::atomic::{
    atomic_cond_read, atomic_fetch, atomic_set, queue_poll, read_once, writel, Order, Rmw, Wait,
};

/// CMDQ_PROD_STOP_FLAG: no list gets in.
const CMDQ_PROD_STOP_FLAG: u32 = 1 << 30;

fn is_stopped(llq: Llq) -> bool {
    llq.prod & CMDQ_PROD_STOP_FLAG != 0
}

/// Part of `arm_smmu_cmdq_issue_cmdlist()`: takes the slots, unless nobody may.
///
/// # Errors
///
/// -EBUSY: the flag is set. Nothing of the list is in the ring.
pub fn allocate(q: &Cmdq, cmds: &Cmds, sync: bool) -> Result<Llq, Errno> {
    let k = cmds.len() as u32 + u32::from(sync);
    let mut llq = Llq::of(read_once(&q.llq, Order::Relaxed));
    loop {
        if is_stopped(llq) {
            return Err(Errno::EBUSY);
        }
        if !(q.rev.queue_has_space)(q.shape, llq, k) {
            // Whoever waits sees the flag, because it changes the word.
            llq = (q.rev.poll_until_not_full)(q, llq, k);
            continue;
        }
        match try_allocate(q, llq, cmds, sync) {
            Ok(()) => return Ok(llq),
            Err(found) => llq = found,
        }
    }
}

/// `arm_smmu_runtime_suspend()`
///
/// # Errors
///
/// -ETIMEDOUT: the SMMU does not consume what is in the ring.
pub fn arm_smmu_runtime_suspend(q: &Cmdq) -> Result<(), Errno> {
    let prod = set_stop(q);
    if let Err(e) = drain(q, prod) {
        clear_stop(q);
        return Err(e);
    }
    lock(q);
    power_off(q);
    Ok(())
}

/// `arm_smmu_runtime_resume()`
pub fn arm_smmu_runtime_resume(q: &Cmdq) {
    restore(q);
    power_on(q);
    (q.rev.exclusive_unlock)(q);
    clear_stop(q);
}

/// Nobody inserts any more. Where the last list ends.
fn set_stop(q: &Cmdq) -> u32 {
    let flag = Rmw::Or(CMDQ_PROD_STOP_FLAG.into());
    q.shape.pos(Llq::of(atomic_fetch(&q.llq, Order::Relaxed, flag, |_| {})).prod)
}

/// Whoever waits for power to come back may insert. What was done to the registers comes before.
fn clear_stop(q: &Cmdq) {
    let flag = Rmw::And(!u64::from(CMDQ_PROD_STOP_FLAG));
    atomic_fetch(&q.llq, Order::Release, flag, |_| {});
}

/// Waits until the SMMU has consumed what comes before `prod`.
fn drain(q: &Cmdq, prod: u32) -> Result<(), Errno> {
    let wait = Wait {
        until: &|cons| q.shape.pos(cons as u32) == prod,
        or_change_of: None,
        or_gate: None,
        timeout_ms: Some(TIMEOUT_MS),
    };
    match queue_poll(&q.cons_reg, q.rev.orders.cons_read_sync, &wait) {
        Some(_) => Ok(()),
        None => {
            q.times_out(here());
            Err(Errno::ETIMEDOUT)
        }
    }
}

/// Takes the lock exclusively: nobody waits for a CMD_SYNC, and nobody reads CONS.
fn lock(q: &Cmdq) {
    loop {
        atomic_cond_read(&q.lock, Order::Relaxed, |v| v == 0);
        if arm_smmu_cmdq_exclusive_trylock(q) {
            return;
        }
    }
}

/// The SMMU loses its power, and what is in its registers.
fn power_off(q: &Cmdq) {
    let changes = q.power.peek();
    atomic_set(&q.power, Order::Release, changes + 1, || q.has_lost_power(here()));
    writel(&q.prod_reg, Order::Relaxed, 0, || {});
    writel(&q.cons_reg, Order::Relaxed, 0, || {});
}

/// The ring was drained, so CONS is where PROD is.
fn restore(q: &Cmdq) {
    let prod = q.shape.pos(Llq::of(read_once(&q.llq, Order::Relaxed)).prod).into();
    writel(&q.prod_reg, Order::Relaxed, prod, || {});
    writel(&q.cons_reg, Order::Relaxed, prod, || {});
}

fn power_on(q: &Cmdq) {
    let changes = q.power.peek();
    atomic_set(&q.power, Order::Release, changes + 1, || q.has_power_again());
}

/// Not posted texts: see there.
pub mod twins {
    use super::*;
    use crate::arm_smmu_v3::cmdq;
    use crate::arm_smmu_v3::revision::Pm;

    /// What the CAS finds later is not looked at.
    ///
    /// # Errors
    ///
    /// -EBUSY
    pub fn allocate_looking_once(q: &Cmdq, cmds: &Cmds, sync: bool) -> Result<Llq, Errno> {
        match is_stopped(Llq::of(read_once(&q.llq, Order::Relaxed))) {
            true => Err(Errno::EBUSY),
            false => cmdq::allocate(q, cmds, sync),
        }
    }

    /// Nobody waits for what is in the ring.
    pub const WITHOUT_DRAIN: Pm = Pm {
        suspend: |q| {
            set_stop(q);
            lock(q);
            power_off(q);
            Ok(())
        },
        resume: arm_smmu_runtime_resume,
    };

    /// A list can come between the drain and the flag.
    pub const DRAINED_FIRST: Pm = Pm {
        suspend: |q| {
            drain(q, q.shape.pos(Llq::of(read_once(&q.llq, Order::Relaxed)).prod))?;
            set_stop(q);
            lock(q);
            power_off(q);
            Ok(())
        },
        resume: arm_smmu_runtime_resume,
    };

    /// The lock is not taken.
    pub const WITHOUT_LOCK: Pm = Pm {
        suspend: |q| {
            drain(q, set_stop(q))?;
            power_off(q);
            Ok(())
        },
        resume: |q| {
            restore(q);
            power_on(q);
            clear_stop(q);
        },
    };

    /// The SMMU begins with what its registers are after a reset.
    pub const WITHOUT_RESTORE: Pm = Pm {
        suspend: arm_smmu_runtime_suspend,
        resume: |q| {
            power_on(q);
            (q.rev.exclusive_unlock)(q);
            clear_stop(q);
        },
    };
}
