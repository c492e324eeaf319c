//! Atomic accesses with a memory order, MMIO accessors and barriers.
//!
//! The names are the kernel's without the order, which is an argument: where the kernel relies on
//! a control dependency, which C11 has not, the caller gives a stronger one (reference/smmuv3.md
//! 3.4).
//!
//! Source: include/linux/atomic.h, asm-generic/barrier.h, asm-generic/io.h;
//! Documentation/atomic_t.txt.

use std::panic::Location;

use uapi::step::Site;

pub use crate::sync::atomic::{also, Atomic, Entry, Gate, Order, OwnLine, Rmw, Slot, Wait};
use crate::sync::{self, atomic::fence};

/// Where the caller of a primitive stands. A simulation asks which of these places were reached.
#[inline(always)]
#[track_caller]
fn place() -> Site {
    let at = sync::site(Location::caller());
    sync::reached(at);
    at
}

/// READ_ONCE(), atomic_read()
#[track_caller]
pub fn read_once(word: &Atomic, order: Order) -> u64 {
    word.load("READ_ONCE", place(), order)
}

/// readl(), readl_relaxed()
#[track_caller]
pub fn readl(register: &Atomic, order: Order) -> u64 {
    register.load("readl", place(), order)
}

/// writel_relaxed(), with an order. `then` happens together with it.
#[track_caller]
pub fn writel(register: &Atomic, order: Order, value: u64, then: impl FnOnce()) {
    register.store("writel", place(), order, value, then);
}

/// A store to memory that a device reads. `then` happens together with it.
#[track_caller]
pub fn write_entry(slot: &Slot, entry: Entry, then: impl FnOnce()) {
    slot.write("queue_write", place(), entry, then);
}

/// Stores of a list to memory that a device reads, one command after the other into as many slots.
/// `tag` is what stands for the i-th, and `then` happens together with its store.
#[track_caller]
pub fn write_entries(
    slots: &[Slot],
    cmds: &[[u64; 2]],
    tag: impl Fn(u32) -> u64,
    then: impl Fn(u32),
) {
    Slot::write_all(slots, "queue_write", place(), cmds, tag, then);
}

/// A device's load of it.
#[track_caller]
pub fn read_entry(slot: &Slot) -> Entry {
    slot.read("READ_ONCE", place())
}

/// WRITE_ONCE() and atomic_set(). `then` happens together with it.
#[track_caller]
pub fn atomic_set(word: &Atomic, order: Order, value: u64, then: impl FnOnce()) {
    word.store("atomic_set", place(), order, value, then);
}

/// WRITE_ONCE() to a part of a word. `then` happens together with it.
#[track_caller]
pub fn write_part(word: &Atomic, order: Order, f: impl Fn(u64) -> u64, then: impl FnOnce()) {
    word.update("WRITE_ONCE", place(), order, f, then);
}

/// cmpxchg(): what was found, if it was something else. `then` happens together with a write.
#[track_caller]
pub fn cmpxchg(
    word: &Atomic,
    order: Order,
    (old, new): (u64, u64),
    then: impl FnOnce(),
) -> Result<(), u64> {
    word.cmpxchg("cmpxchg", place(), order, (old, new), then)
}

/// atomic_fetch_add(), atomic_fetch_andnot() and their like: the old value. `then` happens
/// together with it.
#[track_caller]
pub fn atomic_fetch(word: &Atomic, order: Order, rmw: Rmw, then: impl FnOnce(u64)) -> u64 {
    let op = match rmw {
        Rmw::Add(_) => "atomic_fetch_add",
        Rmw::And(_) => "atomic_fetch_andnot",
        Rmw::Or(_) => "atomic_fetch_or",
        Rmw::Xor(_) => "atomic_fetch_xor",
    };
    word.rmw(op, place(), order, rmw, then)
}

/// atomic_cond_read_relaxed(), smp_cond_load_relaxed(), with an order.
#[inline(always)]
#[track_caller]
pub fn atomic_cond_read(word: &Atomic, order: Order, until: impl Fn(u64) -> bool) -> u64 {
    let at = place();
    word.cond_read("atomic_cond_read", at, order, until)
}

/// A loop that reads a word and backs off: queue_poll(), WFE, cpu_relax(). `None`: time is up.
#[track_caller]
pub fn queue_poll(word: &Atomic, order: Order, wait: &Wait<'_>) -> Option<u64> {
    word.wait("queue_poll", place(), order, wait)
}

/// dma_wmb(): what was written before is visible to the device, and to whoever sees a later write.
pub fn dma_wmb(order: Order) {
    fence(order);
}
