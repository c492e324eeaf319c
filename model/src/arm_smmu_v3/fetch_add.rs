//! The insertion without a CAS: one fetch_add takes the slots, and space is looked for afterwards.
//!
//! The word of [`Cmdq::llq`] is prod in its lower half, and in its upper half how many lists and
//! how many CMD_SYNCs the group that is being gathered has; llq.cons is [`Cmdq::llq_cons`]. Who
//! finds no list there owns the group. llq.prod runs ahead of the space by what all CPUs can have
//! allocated at once, so the ring bounds the length of a list: indexes know one lap from the next.
//!
//! The owner takes the shared lock for every list of its group before it writes PROD. If each
//! CPU took it for its own, one that waits for space could not move llq.cons while another holds
//! the lock for a CMD_SYNC that the owner does not publish before the first one's slots are valid.
//!
//! A list that nobody waits for returns when it is published, not before. Whether the series did so
//! is not known; without it a CPU can fill the ring from within one group, whose owner then waits
//! for slots that become free only when it publishes (`cmdq_fetch_add_quiet_returns`).
//!
//! Source: reference/smmuv3.md 3.6 B12 (John Garry's series of 2020, not merged; its text was not
//! seen, only what it does).

use uapi::queue::{Queue, Request};
use uapi::Errno;

use crate::arm_smmu_v3::cmdq::{self, here, Cmdq};
use crate::arm_smmu_v3::llq::{Llq, Shape};
use crate::arm_smmu_v3::revision::Cmds;
use crate::arm_smmu_v3::wait::{self, poll_for_space, Space};
use crate::linux::atomic::{
    atomic_cond_read, atomic_fetch, atomic_set, dma_wmb, read_once, Order, Rmw,
};

/// How the upper half of the word is divided.
#[derive(Clone, Copy)]
struct Counts {
    /// Bits of each of the two numbers.
    bits: u32,
}

const V2: Counts = Counts { bits: 16 };

impl Counts {
    /// What a list adds to the word, beside its length.
    fn of_list(self, sync: bool) -> u64 {
        1 << (64 - self.bits) | u64::from(sync) << (64 - 2 * self.bits)
    }

    fn lists(self, llq: u64) -> u64 {
        llq >> (64 - self.bits)
    }

    fn syncs(self, llq: u64) -> u64 {
        llq >> (64 - 2 * self.bits) & ((1 << self.bits) - 1)
    }
}

/// `arm_smmu_cmdq_issue_cmdlist()`
///
/// # Errors
///
/// -ETIMEDOUT
pub fn arm_smmu_cmdq_issue_cmdlist(q: &Cmdq, cmds: &Cmds, sync: bool) -> Result<(), Errno> {
    issue(q, cmds, sync, V2, fill)
}

/// Writes the entries of a list that begins there and has so many, CMD_SYNC included.
type Fill = fn(&Cmdq, u32, u32, &Cmds);

/// Part of `arm_smmu_cmdq_issue_cmdlist()`: waits for the slots, and writes them.
fn fill(q: &Cmdq, start: u32, k: u32, cmds: &Cmds) {
    arm_smmu_cmdq_poll_for_slots(q, q.shape.inc_prod_n(start, k));
    cmdq::arm_smmu_cmdq_write_entries(q, start, cmds, k as usize > cmds.len());
}

fn issue(q: &Cmdq, cmds: &Cmds, sync: bool, counts: Counts, fill: Fill) -> Result<(), Errno> {
    let n = cmds.len() as u32;
    let k = n + u32::from(sync);

    // Take the slots, whether or not they are free.
    let add = Rmw::Add(u64::from(k) + counts.of_list(sync));
    let old = atomic_fetch(&q.llq, q.rev.orders.llq_cmpxchg, add, |old| {
        let last = sync.then(|| q.sync_command(q.shape.inc_prod_n(old as u32, n)));
        q.allocated(here(), old as u32, cmds, last);
    });
    let owner = counts.lists(old) == 0;
    let start = q.shape.pos(old as u32);

    fill(q, start, k, cmds);
    (q.rev.make_valid)(q, start, n, sync);
    if owner {
        (q.rev.hand_over)(q, start);
    }
    if sync {
        return wait::arm_smmu_cmdq_sync(q, q.shape.inc_prod_n(start, n));
    }
    (q.rev.quiet_list_done)(q, q.shape.inc_prod_n(start, k));
    Ok(())
}

/// A list that nobody waits for is published, and gives back the lock that its owner took for it.
pub fn quiet_list_done(q: &Cmdq, end: u32) {
    poll_until_published(q, end);
    (q.rev.shared_unlock)(q);
}

/// Waits until the owner has published the slots before `end`: nobody has more than one list in
/// the groups that are being gathered, so these are shorter than the ring. Who waits without the
/// lock can be lapped, and then takes what is published for what is not.
pub fn poll_until_published(q: &Cmdq, end: u32) {
    let passed = |prod: u64| q.shape.pos((prod as u32).wrapping_sub(end)) < q.shape.entries();
    atomic_cond_read(&q.owner_prod, Order::Relaxed, passed);
}

/// Waits until the SMMU has freed the slots up to `end`.
fn arm_smmu_cmdq_poll_for_slots(q: &Cmdq, end: u32) {
    let space = Space {
        word: &q.llq_cons,
        order: q.rev.orders.llq_cons_read,
        cons: |val| val as u32,
        is_enough: &|val| has_slots(q.shape, val as u32, end),
        is_timed: &|_| true,
    };
    let mut cons = read_once(space.word, space.order);
    while !(space.is_enough)(cons) {
        cons = poll_for_space(q, &space, cons);
    }
    q.has_space(here());
}

/// Whether the ring with this CONS has the slots before `end`.
fn has_slots(shape: Shape, cons: u32, end: u32) -> bool {
    shape.pos(end.wrapping_sub(cons)) <= shape.entries()
}

/// Part of `arm_smmu_cmdq_issue_cmdlist()`: the valid bits; the lock of a SYNC is the owner's.
pub fn make_valid(q: &Cmdq, start: u32, n: u32, sync: bool) {
    if sync {
        q.waits_for_sync(here(), n);
    }
    dma_wmb(q.rev.orders.dma_wmb);
    cmdq::arm_smmu_cmdq_set_valid_map(q, start, n + u32::from(sync));
}

/// `arm_smmu_cmdq_shared_lock()`, on behalf of so many.
fn arm_smmu_cmdq_shared_lock(q: &Cmdq, count: u64) {
    let old = atomic_fetch(&q.lock, Order::Relaxed, Rmw::Add(count), |old| {
        q.asks_for_shared(old as i64 >= 0, count);
    });
    if old as i64 >= 0 {
        return;
    }
    atomic_cond_read(&q.lock, Order::Relaxed, |v| v as i64 > 0);
    q.has_shared(count);
}

/// Part of `arm_smmu_cmdq_issue_cmdlist()`: what the owner does.
pub fn hand_over(q: &Cmdq, start: u32) {
    hand_over_with(q, start, V2, Counts::lists);
}

/// `holders`: for how many of the group the lock is taken.
fn hand_over_with(q: &Cmdq, start: u32, counts: Counts, holders: fn(Counts, u64) -> u64) {
    // a. Wait for previous owner to finish
    atomic_cond_read(&q.owner_prod, q.rev.orders.owner_prod_read, |v| v == u64::from(start));

    // b. Stop gathering work: both numbers become 0, and prod an index with its wrap again
    let indexes = Rmw::And(u64::from(2 * q.shape.entries() - 1));
    q.will_publish_or_cease();
    let old = atomic_fetch(&q.llq, Order::Relaxed, indexes, |_| q.becomes_owner(here()));
    let end = q.shape.pos(old as u32);

    // c. Wait for any gathered work to be written to the queue
    cmdq::arm_smmu_cmdq_poll_valid_map(q, start, end);

    // Nobody advances llq.cons past a list of the group before its CPU has seen what it waits for.
    let holders = holders(counts, old);
    if holders > 0 {
        arm_smmu_cmdq_shared_lock(q, holders);
    }

    // d. Advance the hardware prod pointer
    // e. Tell the next owner we're done
    cmdq::publish(q, end);
}

/// The word at first: no lists, no CMD_SYNCs.
pub fn llq_word(llq: Llq) -> u64 {
    llq.prod.into()
}

/// READ_ONCE(cmdq->q.llq.cons)
pub fn llq_cons(q: &Cmdq) -> u32 {
    read_once(&q.llq_cons, Order::Relaxed) as u32
}

/// WRITE_ONCE(cmdq->q.llq.cons, cons)
pub fn write_llq_cons(q: &Cmdq, cons: u32) {
    let written = || q.llq_cons_written(here(), cons);
    q.will_write_llq_cons(cons);
    atomic_set(&q.llq_cons, q.rev.orders.llq_cons_write, cons.into(), written);
}

/// Whether the ring bounds the lists: all that the CPUs can have allocated without space is less
/// than a lap.
///
/// # Errors
///
/// The numbers, and what to change.
pub fn check(program: &Queue) -> Result<(), String> {
    let (cpus, ring) = (program.cpus.len(), 1usize << program.log2size);
    let longest = longest_list(program);
    if cpus * longest < ring {
        return Ok(());
    }
    Err(format!(
        "{cpus} CPUs with lists of {longest} entries can be a lap of {ring} ahead of the space, \
         which this text cannot tell from none: make the ring larger or the lists shorter"
    ))
}

/// Entries of the longest list, CMD_SYNC included.
fn longest_list(program: &Queue) -> usize {
    let word = usize::from(program.word);
    let of = |request: &Request| match request {
        Request::Issue { commands, sync } => commands.len() + usize::from(*sync),
        Request::Batch { commands, .. } => (commands.len() + 1).min(word + 1),
        Request::Invalidate(array) => (array.commands.len() + 1).min(word),
        Request::Migrate { .. } | Request::Suspend | Request::Resume => 0,
    };
    program.cpus.iter().flatten().map(of).max().unwrap_or_default()
}

/// Not a posted text: see there.
pub mod twins {
    use super::*;

    /// Lists may be as long as the ring has room for all of them, and longer.
    pub fn no_check(_program: &Queue) -> Result<(), String> {
        Ok(())
    }

    /// A group has more lists than its number can say.
    pub fn narrow_issue(q: &Cmdq, cmds: &Cmds, sync: bool) -> Result<(), Errno> {
        issue(q, cmds, sync, NARROW, fill)
    }

    /// The entries are written into slots that may not be free.
    ///
    /// # Errors
    ///
    /// -ETIMEDOUT
    pub fn written_first(q: &Cmdq, cmds: &Cmds, sync: bool) -> Result<(), Errno> {
        issue(q, cmds, sync, V2, |q, start, k, cmds| {
            cmdq::arm_smmu_cmdq_write_entries(q, start, cmds, k as usize > cmds.len());
            arm_smmu_cmdq_poll_for_slots(q, q.shape.inc_prod_n(start, k));
        })
    }

    /// As the text's, with the same numbers.
    pub fn narrow_hand_over(q: &Cmdq, start: u32) {
        hand_over_with(q, start, NARROW, Counts::lists);
    }

    const NARROW: Counts = Counts { bits: 1 };

    /// For the twin in which every CPU takes the lock for its own CMD_SYNC.
    pub fn hand_over_without_lock(q: &Cmdq, start: u32) {
        hand_over_with(q, start, V2, |_, _| 0);
    }

    /// For the twin in which nobody waits for a list without a CMD_SYNC.
    pub fn hand_over_for_syncs(q: &Cmdq, start: u32) {
        hand_over_with(q, start, V2, Counts::syncs);
    }
}
