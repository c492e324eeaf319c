//! The queue and the insertion of a list: `arm_smmu_cmdq_issue_cmdlist()`.
//!
//! Source: arm-smmu-v3.c, commits 587e6c10a7ce, 05cbaf4ddd02; reference/smmuv3.md 3.2.

use std::panic::Location;

use uapi::queue::{Completion, Queue};
use uapi::step::Site;
use uapi::Errno;

use smmuv3::command::Cs;
use smmuv3::{field, Command};

use crate::arm_smmu_v3::ghost::Ghost;
use crate::arm_smmu_v3::llq::{Llq, Shape, CMDQ_PROD_OWNED_FLAG};
use crate::arm_smmu_v3::revision::{Cmds, Revision};
use crate::arm_smmu_v3::wait;
use crate::linux::atomic::{
    atomic_cond_read, atomic_fetch, atomic_set, cmpxchg, dma_wmb, read_once, write_entries,
    write_entry, writel, Atomic, Entry, Gate, Order, OwnLine, Rmw, Slot,
};
use crate::sync::{self, Checks, Shared};

/// Where the ring is.
pub const RING_BASE: u64 = 0x8000_0000;

/// Where `smmu->sync_count` is. The model's memory has nothing else in it.
pub const SYNC_COUNT: u64 = 0x9000_0000;

/// `struct arm_smmu_cmdq`, with the registers and the memory that it shares with the SMMU.
pub struct Cmdq {
    /// The text that runs.
    pub rev: &'static Revision,
    /// 0: the main queue.
    pub number: u32,
    /// How its CMD_SYNCs are waited for.
    pub completion: Completion,
    /// The program.
    pub program: Shared<Queue>,
    /// Sizes.
    pub shape: Shape,
    /// `q.llq`: A1, A2, A7, A15.
    pub llq: OwnLine<Atomic>,
    /// `q.llq.cons`, of the text that keeps it beside the word.
    pub llq_cons: Atomic,
    /// `owner_prod`: up to where ownership has been handed on.
    pub owner_prod: OwnLine<Atomic>,
    /// `lock`: the number of those who wait for a SYNC, or negative. As a signed number.
    pub lock: OwnLine<Atomic>,
    /// `valid_map`, by words.
    pub valid_map: Vec<Atomic>,
    /// The ring. What stands for a command in a slot is the number of an entry of
    /// [`Ghost::entries`], plus one, in its upper half, and the lowest 32 bits of the command, which
    /// an MSI overwrites, in its lower half.
    pub ring: Vec<Slot>,
    /// CMDQ_PROD.
    pub prod_reg: OwnLine<Atomic>,
    /// CMDQ_CONS.
    pub cons_reg: OwnLine<Atomic>,
    /// A spinlock, of the texts that have one.
    pub spinlock: OwnLine<Atomic>,
    /// `smmu->sync_nr`: the number of CMD_SYNCs whose MSI goes to `sync_count`, of 5.3.
    pub sync_nr: Atomic,
    /// `smmu->sync_count`: the number that the SMMU wrote last, of 5.3.
    pub sync_count: Atomic,
    /// `smmu->prev_cmd_opcode`, of 5.3.
    pub prev_cmd_opcode: Atomic,
    /// Whether the SMMU has power: an odd number. It counts the changes.
    pub power: Atomic,
    /// Producers that have not finished.
    pub producers: Gate,
    /// What the checks know.
    pub ghost: Checks<Ghost>,
}

/// The place that called.
#[track_caller]
pub fn here() -> Site {
    sync::site(Location::caller())
}

impl Cmdq {
    /// A queue through which `program.start` commands have gone, all of them consumed.
    pub fn new(
        rev: &'static Revision,
        program: &Shared<Queue>,
        number: u32,
        completion: Completion,
    ) -> Cmdq {
        let shape = Shape::new(program.log2size, program.word.into());
        let at = u64::from(shape.pos(program.start));
        let word = |name, value| Atomic::new(name, u32::MAX, value).of(number);
        let all = |name, n: u32, value: &dyn Fn(u32) -> u64| {
            (0..n).map(|i| Atomic::new(name, i, value(i)).of(number)).collect::<Vec<_>>()
        };
        // Slot i was toggled once per lap that has passed it.
        let toggled = |slot: u32| {
            let entries = u64::from(shape.entries());
            ((u64::from(program.start) + entries - 1 - u64::from(slot)) / entries) & 1
        };
        let bits = |w: u32| (0..shape.word).fold(0, |b, i| b | toggled(w * shape.word + i) << i);
        let llq = Llq { prod: at as u32, cons: at as u32 };
        Cmdq {
            rev,
            number,
            completion,
            program: program.clone(),
            shape,
            llq: OwnLine(word("llq", (rev.llq_word)(llq))),
            llq_cons: word("llq.cons", at),
            owner_prod: OwnLine(word("owner_prod", at)),
            lock: OwnLine(word("lock", 0)),
            valid_map: all("valid_map", shape.entries() / shape.word, &bits),
            ring: (0..shape.entries()).map(|i| Slot::new("ring", i, number)).collect(),
            prod_reg: OwnLine(word("CMDQ_PROD", at)),
            cons_reg: OwnLine(word("CMDQ_CONS", at)),
            spinlock: OwnLine(word("slock", 0)),
            sync_nr: word("sync_nr", 0),
            sync_count: word("sync_count", 0),
            prev_cmd_opcode: word("prev_cmd_opcode", 0),
            power: word("power", 1),
            producers: Gate::new(program.cpus.len() as u32),
            ghost: Checks::new(|| Ghost::new(program, shape)),
        }
    }

    /// The CMD_SYNC for the slot of `prod`, as `arm_smmu_cmdq_build_sync_cmd()` builds it: its MSI
    /// goes to its own slot.
    pub fn sync_command(&self, prod: u32) -> [u64; 2] {
        let slot = RING_BASE + 16 * u64::from(self.shape.idx(prod));
        match self.completion {
            // No queue but the main one sends an event.
            Completion::Cons if self.number > 0 => Command::sync(Cs::None).words(),
            Completion::Cons => Command::sync(Cs::Sev).words(),
            Completion::Msi => sync_with_msi(slot, 0),
        }
    }
}

/// A CMD_SYNC that writes `data` to `address`.
pub fn sync_with_msi(address: u64, data: u32) -> [u64; 2] {
    let sync = Command::sync(Cs::Irq)
        .with(field::SYNC_MSH, 3)
        .and_then(|c| c.with(field::SYNC_MSIATTR, 0xf))
        .and_then(|c| c.with(field::SYNC_MSIADDR, address))
        .and_then(|c| c.with(field::SYNC_MSIDATA, data.into()));
    sync.map_or_else(|_| Command::sync(Cs::Sev).words(), |c| c.words())
}

/// `arm_smmu_cmdq_issue_cmdlist()`
///
/// Many CPUs insert at once; each group has one owner, who writes PROD for all of it.
///
/// # Errors
///
/// -ETIMEDOUT; or what the text refuses.
pub fn arm_smmu_cmdq_issue_cmdlist(q: &Cmdq, cmds: &Cmds, sync: bool) -> Result<(), Errno> {
    issue_cmdlist_of(q.rev, q, cmds, sync)
}

/// `arm_smmu_cmdq_issue_cmdlist()` of the queue's row. Where the row is a constant, its functions
/// are called directly.
///
/// # Errors
///
/// -ETIMEDOUT; or what the text refuses.
#[inline(always)]
pub fn issue_cmdlist_of(rev: &Revision, q: &Cmdq, cmds: &Cmds, sync: bool) -> Result<(), Errno> {
    let start = insert_cmdlist_of(rev, q, cmds, sync)?;

    // 5. If we are inserting a CMD_SYNC, we must wait for it to complete
    match sync {
        true => wait::arm_smmu_cmdq_sync(q, q.shape.inc_prod_n(start, cmds.len() as u32)),
        false => Ok(()),
    }
}

/// Part of `arm_smmu_cmdq_issue_cmdlist()`: what comes before the wait. Where the list begins.
///
/// # Errors
///
/// What the text refuses.
pub fn insert_cmdlist(q: &Cmdq, cmds: &Cmds, sync: bool) -> Result<u32, Errno> {
    insert_cmdlist_of(q.rev, q, cmds, sync)
}

#[inline(always)]
fn insert_cmdlist_of(rev: &Revision, q: &Cmdq, cmds: &Cmds, sync: bool) -> Result<u32, Errno> {
    let n = cmds.len() as u32;

    // 1. Allocate some space in the queue
    let old = (rev.allocate)(q, cmds, sync)?;
    let owner = old.prod & CMDQ_PROD_OWNED_FLAG == 0;
    let start = q.shape.pos(old.prod);

    // 2. Write our commands into the queue
    arm_smmu_cmdq_write_entries(q, start, cmds, sync);

    // 3. Mark our slots as valid, ensuring commands are visible first
    (rev.make_valid)(q, start, n, sync);

    // 4. If we are the owner, take control of the SMMU hardware
    if owner {
        (rev.hand_over)(q, start);
    }
    Ok(start)
}

/// Part of `arm_smmu_cmdq_issue_cmdlist()`: takes the slots. The snapshot that it took them from.
///
/// # Errors
///
/// None.
#[inline(always)]
pub fn allocate(q: &Cmdq, cmds: &Cmds, sync: bool) -> Result<Llq, Errno> {
    let k = cmds.len() as u32 + u32::from(sync);
    let mut llq = Llq::of(read_once(&q.llq, Order::Relaxed));
    loop {
        while !(q.rev.queue_has_space)(q.shape, llq, k) {
            llq = (q.rev.poll_until_not_full)(q, llq, k);
        }
        match try_allocate(q, llq, cmds, sync) {
            Ok(()) => return Ok(llq),
            Err(found) => llq = found,
        }
    }
}

/// Part of `arm_smmu_cmdq_issue_cmdlist()`: the CAS. What was found instead of the snapshot.
#[inline(always)]
pub fn try_allocate(q: &Cmdq, llq: Llq, cmds: &Cmds, sync: bool) -> Result<(), Llq> {
    let n = cmds.len() as u32;
    let prod = q.shape.inc_prod_n(llq.prod, n + u32::from(sync)) | CMDQ_PROD_OWNED_FLAG;
    let new = Llq { prod, cons: llq.cons };
    let at = here();
    let took = || {
        let last = sync.then(|| q.sync_command(q.shape.inc_prod_n(llq.prod, n)));
        q.allocated(at, llq.prod, cmds, last);
    };
    cmpxchg(&q.llq, q.rev.orders.llq_cmpxchg, (llq.val(), new.val()), took).map_err(Llq::of)
}

/// `arm_smmu_cmdq_write_entries()`
#[inline(always)]
pub fn arm_smmu_cmdq_write_entries(q: &Cmdq, start: u32, cmds: &Cmds, sync: bool) {
    // Those that fit before the ring's end, and those that go to its beginning.
    let (wrapped, slots) = q.ring.split_at(q.shape.idx(start) as usize);
    let (head, tail) = cmds.split_at(cmds.len().min(slots.len()));
    let write = |slots, cmds, first: u32| {
        let tag = |i| q.entry_for(first + i).1;
        write_entries(slots, cmds, tag, |i| q.written(here(), q.entry_for(first + i).0));
    };
    write(slots, head, 0);
    write(wrapped, tail, head.len() as u32);
    if sync {
        let n = cmds.len() as u32;
        let prod = q.shape.inc_prod_n(start, n);
        let (number, tag) = q.entry_for(n);
        let entry = Entry { words: q.sync_command(prod), tag };
        write_entry(&q.ring[q.shape.idx(prod) as usize], entry, || q.written(here(), number));
    }
}

/// Part of `arm_smmu_cmdq_issue_cmdlist()`: the lock of a SYNC is taken before anybody can publish
/// it, then the entries become valid.
#[inline(always)]
pub fn make_valid(q: &Cmdq, start: u32, n: u32, sync: bool) {
    let k = n + u32::from(sync);
    if sync {
        // Nobody advances llq.cons past us while we wait.
        q.waits_for_sync(here(), n);
        (q.rev.shared_lock)(q);
    }
    dma_wmb(q.rev.orders.dma_wmb);
    arm_smmu_cmdq_set_valid_map(q, start, k);
}

/// Part of `arm_smmu_cmdq_issue_cmdlist()`: what the owner does.
#[inline(always)]
pub fn hand_over(q: &Cmdq, start: u32) {
    // a. Wait for previous owner to finish
    atomic_cond_read(&q.owner_prod, q.rev.orders.owner_prod_read, move |v| v == u64::from(start));

    // b. Stop gathering work by clearing the owned mask
    let end = stop_gathering(q);

    // c. Wait for any gathered work to be written to the queue
    arm_smmu_cmdq_poll_valid_map(q, start, end);

    // d. Advance the hardware prod pointer
    // e. Tell the next owner we're done
    publish(q, end);
}

/// Part of `arm_smmu_cmdq_issue_cmdlist()`: no one joins the group any more. Its end.
#[inline(always)]
pub fn stop_gathering(q: &Cmdq) -> u32 {
    let flag = Rmw::And(!u64::from(CMDQ_PROD_OWNED_FLAG));
    q.will_publish_or_cease();
    let old = atomic_fetch(&q.llq, Order::Relaxed, flag, |_| q.becomes_owner(here()));
    q.shape.pos(Llq::of(old).prod)
}

/// Part of `arm_smmu_cmdq_issue_cmdlist()`: PROD, then the next owner.
#[inline(always)]
pub fn publish(q: &Cmdq, end: u32) {
    q.will_write_prod(end);
    writel(&q.prod_reg, q.rev.orders.prod_write, end.into(), || q.prod_written(here(), end));
    q.will_publish_or_cease();
    atomic_set(&q.owner_prod, q.rev.orders.owner_prod_set, end.into(), || q.owner_done());
}

/// `__arm_smmu_cmdq_poll_set_valid_map()`: calls `f` with the word, the mask in it, and whether its
/// slots are in a lap with wrap 1, for every part of [sprod, eprod).
#[inline(always)]
fn each_part(q: &Cmdq, sprod: u32, eprod: u32, mut f: impl FnMut(&Atomic, u64, bool)) {
    let (shape, words) = (q.shape, &q.valid_map[..]);
    // Each part makes it less.
    let mut left = shape.pos(eprod.wrapping_sub(sprod));
    let mut at = sprod;
    while left > 0 {
        let (word, first) = shape.bit(at);
        let bits = left.min(shape.word - first);
        let mask = (u64::MAX >> (64 - bits)) << first;
        f(&words[word], mask, shape.wrp(at) != 0);
        (at, left) = (shape.inc_prod_n(at, bits), left - bits);
    }
}

/// `arm_smmu_cmdq_set_valid_map()`: toggles, so that no bit ever has to be cleared.
#[inline(always)]
pub fn arm_smmu_cmdq_set_valid_map(q: &Cmdq, start: u32, k: u32) {
    let end = q.shape.inc_prod_n(start, k);
    let mut done = 0;
    each_part(q, start, end, |word, mask, _| {
        let bits = mask.count_ones();
        q.will_make_valid(done, bits);
        atomic_fetch(word, Order::Relaxed, Rmw::Xor(mask), |_| q.made_valid(done, bits));
        done += bits;
    });
}

/// `arm_smmu_cmdq_poll_valid_map()`
#[inline(always)]
pub fn arm_smmu_cmdq_poll_valid_map(q: &Cmdq, sprod: u32, eprod: u32) {
    let (order, valid) = (q.rev.orders.valid_map_read, q.rev.valid);
    each_part(q, sprod, eprod, |word, mask, wrap| {
        let want = if valid[usize::from(wrap)] { mask } else { 0 };
        atomic_cond_read(word, order, move |v| v & mask == want);
    });
}

/// Which bit means valid: the map is zero at first, so in a lap with wrap 0 it is 1.
pub const VALID: [bool; 2] = [true, false];
