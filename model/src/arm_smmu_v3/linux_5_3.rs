//! The queue before 587e6c10a7ce: every command goes in under a spinlock, and who inserts writes
//! PROD.
//!
//! A CMD_SYNC without an MSI is waited for under the lock, until the ring is empty. With one it is
//! waited for outside, by its number: the MSIs of all of them go to one word.
//!
//! `q.prod` and `q.cons` are the halves of [`Cmdq::llq`]; only the holder of the lock uses them.
//!
//! Source: arm-smmu-v3.c of v5.3 from memory (the reference has its bugs B1, B3 and B4 in 3.6),
//! arm_smmu_cmdq_issue_cmd(), arm_smmu_cmdq_insert_cmd(), __arm_smmu_cmdq_issue_sync(),
//! __arm_smmu_cmdq_issue_sync_msi(), queue_poll_cons().

use uapi::queue::Completion;
use uapi::Errno;

use smmuv3::command::Cs;
use smmuv3::Command;

use crate::arm_smmu_v3::cmdq::{here, sync_with_msi, Cmdq, SYNC_COUNT};
use crate::arm_smmu_v3::llq::{queue_full, Llq, Shape};
use crate::arm_smmu_v3::revision::Cmds;
use crate::arm_smmu_v3::slock::{spin_lock, spin_unlock};
use crate::arm_smmu_v3::wait::{write_llq_cons, TIMEOUT_MS};
use crate::linux::atomic::{
    atomic_fetch, atomic_set, queue_poll, read_once, write_entry, write_part, writel, Entry, Order,
    Rmw, Wait,
};

/// What a text of these did in its own way.
struct Text {
    /// Whether a full ring is still waited for: its size, CONS, and where the command will end.
    waits_for_space: fn(Shape, u32, u32) -> bool,
    /// Puts a CMD_SYNC into the ring, or finds one; the number to wait for.
    issue_sync_msi: fn(&Cmdq, &Text) -> u32,
}

const V5_3: Text = Text { waits_for_space: is_full, issue_sync_msi };

/// `arm_smmu_cmdq_issue_cmd()` for each command, then `arm_smmu_cmdq_issue_sync()`.
///
/// # Errors
///
/// -ETIMEDOUT
pub fn issue_cmdlist(q: &Cmdq, cmds: &Cmds, sync: bool) -> Result<(), Errno> {
    issue(q, cmds, sync, &V5_3)
}

fn issue(q: &Cmdq, cmds: &Cmds, sync: bool, text: &Text) -> Result<(), Errno> {
    for cmd in cmds {
        spin_lock(q);
        arm_smmu_cmdq_insert_cmd(q, *cmd, text);
        spin_unlock(q);
    }
    match (sync, q.completion) {
        (false, _) => Ok(()),
        (true, Completion::Cons) => arm_smmu_cmdq_issue_sync(q, text),
        (true, Completion::Msi) => {
            let number = (text.issue_sync_msi)(q, text);
            arm_smmu_sync_poll_msi(q, number)
        }
    }
}

/// queue_full(), with CONS as it was read.
fn is_full(shape: Shape, cons: u32, end: u32) -> bool {
    queue_full(shape, Llq { prod: shape.inc_prod_n(end, 2 * shape.entries() - 1), cons })
}

/// `arm_smmu_cmdq_insert_cmd()`. Under the lock.
fn arm_smmu_cmdq_insert_cmd(q: &Cmdq, cmd: [u64; 2], text: &Text) {
    let opcode = cmd[0] & 0xff;
    atomic_set(&q.prev_cmd_opcode, Order::Relaxed, opcode, || {});
    // queue_insert_raw()
    let mut llq = Llq::of(read_once(&q.llq, Order::Relaxed));
    while queue_full(q.shape, llq) {
        // A look at the same CONS finds the same: sleep until it has moved.
        let (end, seen) = (q.shape.inc_prod_n(llq.prod, 1), llq.cons);
        let wanted = |cons| cons != seen && !(text.waits_for_space)(q.shape, cons, end);
        let cons = queue_poll_cons(q, &wanted);
        match cons {
            Some(cons) => llq.cons = cons,
            None => {
                q.times_out(here());
                // "CMDQ timeout", and on.
                q.cmdq_timeout(here());
            }
        }
    }
    q.becomes_owner(here());
    q.allocated(here(), llq.prod, &[cmd], None);
    let (number, tag) = q.entry_for(0);
    write_entry(&q.ring[q.shape.idx(llq.prod) as usize], Entry { words: cmd, tag }, || {
        q.written(here(), number);
        q.whole(0, 1);
    });
    // queue_inc_prod()
    let prod = q.shape.inc_prod_n(llq.prod, 1);
    write_part(&q.llq, Order::Relaxed, |val| Llq { prod, ..Llq::of(val) }.val(), || {});
    writel(&q.prod_reg, q.rev.orders.prod_write, prod.into(), || {
        q.prod_written(here(), prod);
        q.owner_done();
    });
}

/// `queue_poll_cons()`: CONS, once it is as wanted. `None`: time is up. Under the lock.
fn queue_poll_cons(q: &Cmdq, wanted: &dyn Fn(u32) -> bool) -> Option<u32> {
    let wait = Wait {
        until: &|cons| wanted(cons as u32),
        or_change_of: None,
        or_gate: None,
        timeout_ms: Some(TIMEOUT_MS),
    };
    let cons = queue_poll(&q.cons_reg, q.rev.orders.cons_read_space, &wait)? as u32;
    write_llq_cons(q, cons);
    Some(cons)
}

/// `__arm_smmu_cmdq_issue_sync()`: drains the ring under the lock.
fn arm_smmu_cmdq_issue_sync(q: &Cmdq, text: &Text) -> Result<(), Errno> {
    spin_lock(q);
    arm_smmu_cmdq_insert_cmd(q, Command::sync(Cs::Sev).words(), text);
    // queue_empty()
    let prod = q.shape.pos(Llq::of(read_once(&q.llq, Order::Relaxed)).prod);
    let ret = match queue_poll_cons(q, &|cons| q.shape.pos(cons) == prod) {
        Some(_) => {
            q.sync_is_complete(here());
            Ok(())
        }
        None => timed_out(q),
    };
    spin_unlock(q);
    ret
}

/// `__arm_smmu_cmdq_issue_sync_msi()`: two CMD_SYNCs in a row are one (901510ee32f7), and the
/// number is taken under the lock (0f02477d1698).
fn issue_sync_msi(q: &Cmdq, text: &Text) -> u32 {
    spin_lock(q);
    let last = read_once(&q.prev_cmd_opcode, Order::Relaxed);
    let mut number = read_once(&q.sync_nr, Order::Relaxed) as u32;
    if last != smmuv3::Op::SYNC as u64 {
        number = number.wrapping_add(1);
        atomic_set(&q.sync_nr, Order::Relaxed, number.into(), || {});
        arm_smmu_cmdq_insert_cmd(q, sync_with_msi(SYNC_COUNT, number), text);
    }
    spin_unlock(q);
    number
}

/// `__arm_smmu_sync_poll_msi()`: the SMMU has written this number, or a later one.
fn arm_smmu_sync_poll_msi(q: &Cmdq, number: u32) -> Result<(), Errno> {
    let wait = Wait {
        until: &|count| (count as u32).wrapping_sub(number) as i32 >= 0,
        or_change_of: None,
        or_gate: None,
        timeout_ms: Some(TIMEOUT_MS),
    };
    q.will_see_sync();
    match queue_poll(&q.sync_count, q.rev.orders.msi_read, &wait) {
        Some(_) => {
            q.sync_is_complete(here());
            Ok(())
        }
        None => timed_out(q),
    }
}

fn timed_out(q: &Cmdq) -> Result<(), Errno> {
    q.times_out(here());
    Err(Errno::ETIMEDOUT)
}

/// Earlier texts, each with the bug that was fixed in it; and one that was not posted.
pub mod twins {
    use super::*;

    /// Before bcfced1580c4 (B1): waits until CONS has passed the end of the command, which in a
    /// full ring it has not reached yet, or has passed by a lap.
    pub fn full_compare(q: &Cmdq, cmds: &Cmds, sync: bool) -> Result<(), Errno> {
        issue(q, cmds, sync, &Text { waits_for_space: queue_cons_before, ..V5_3 })
    }

    /// `__queue_cons_before()`
    fn queue_cons_before(shape: Shape, cons: u32, until: u32) -> bool {
        if shape.wrp(cons) == shape.wrp(until) {
            shape.idx(cons) < shape.idx(until)
        } else {
            shape.idx(cons) >= shape.idx(until)
        }
    }

    /// Before 0f02477d1698 (B3): the number is taken before the lock.
    pub fn msi_seq_before_slot(q: &Cmdq, cmds: &Cmds, sync: bool) -> Result<(), Errno> {
        issue(q, cmds, sync, &Text { issue_sync_msi: number_before_the_lock, ..V5_3 })
    }

    fn number_before_the_lock(q: &Cmdq, text: &Text) -> u32 {
        let number = atomic_fetch(&q.sync_nr, Order::Relaxed, Rmw::Add(1), |_| {}) as u32 + 1;
        spin_lock(q);
        arm_smmu_cmdq_insert_cmd(q, sync_with_msi(SYNC_COUNT, number), text);
        spin_unlock(q);
        number
    }

    /// A CMD_SYNC in the ring is taken for one's own, whatever has come after it.
    pub fn sync_shared_with_later(q: &Cmdq, cmds: &Cmds, sync: bool) -> Result<(), Errno> {
        issue(q, cmds, sync, &Text { issue_sync_msi: the_last_number, ..V5_3 })
    }

    fn the_last_number(q: &Cmdq, text: &Text) -> u32 {
        match read_once(&q.sync_nr, Order::Relaxed) {
            0 => issue_sync_msi(q, text),
            number => number as u32,
        }
    }
}
