//! Words of the machine: an access is the instruction that its order asks for, and the checks that
//! would happen together with it are gone.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::thread::yield_now;

use uapi::step::{Access, Site};

use super::{Entry, Order, Rmw, Wait};

/// Looks before the thread lets others have its processor.
const SPINS: u32 = 100;

/// Looks after which a wait that has a time limit is over: some seconds, and every thread of an
/// oversubscribed machine has run many times by then.
const LOOKS_MAX: u32 = 20_000_000;

/// A word of 64 bits that several CPUs access without a lock.
#[repr(transparent)]
pub struct Atomic {
    word: AtomicU64,
}

/// Says when the last of some CPUs has left, to one that waits for work.
pub struct Gate {
    inside: AtomicU32,
}

/// A slot of a ring that a device reads.
#[repr(C, align(16))]
pub struct Slot {
    first: Atomic,
    second: Atomic,
}

/// A fence.
#[inline]
pub fn fence(order: Order) {
    match order {
        Order::Relaxed => {}
        order => std::sync::atomic::fence(ordering(order)),
    }
}

#[inline]
fn ordering(order: Order) -> Ordering {
    match order {
        Order::Relaxed => Ordering::Relaxed,
        Order::Acquire => Ordering::Acquire,
        Order::Release => Ordering::Release,
    }
}

/// Nobody asks.
#[inline]
pub fn also(_access: Access) {}

/// Lets other threads go on after the look of this number.
#[inline]
pub(crate) fn pause(look: u32) {
    if look % SPINS == SPINS - 1 {
        yield_now();
    } else {
        spin_loop();
    }
}

impl Gate {
    /// A gate with so many CPUs inside.
    pub fn new(inside: u32) -> Gate {
        Gate { inside: AtomicU32::new(inside) }
    }

    /// How many are inside.
    pub fn inside(&self) -> u32 {
        self.inside.load(Ordering::Acquire)
    }

    /// One leaves.
    pub fn leave(&self, _at: Site) {
        self.inside.fetch_sub(1, Ordering::Release);
    }
}

impl Slot {
    /// An empty slot.
    pub fn new(name: &'static str, index: u32, _owner: u32) -> Slot {
        Slot { first: Atomic::new(name, index, 0), second: Atomic::new(name, index, 0) }
    }

    /// The word that holds the first half of the command, over which a device may write.
    #[inline]
    pub fn first(&self) -> &Atomic {
        &self.first
    }

    /// Reads the command.
    #[inline]
    pub fn read(&self, _op: &'static str, _at: Site) -> Entry {
        let words = [&self.first, &self.second].map(|half| half.word.load(Ordering::Relaxed));
        Entry { words, tag: 0 }
    }

    /// Writes the command.
    #[inline]
    pub fn write(&self, _op: &'static str, _at: Site, entry: Entry, _then: impl FnOnce()) {
        self.first.word.store(entry.words[0], Ordering::Relaxed);
        self.second.word.store(entry.words[1], Ordering::Relaxed);
    }

    /// Writes a list.
    #[inline]
    pub fn write_all(
        slots: &[Slot],
        _op: &'static str,
        _at: Site,
        cmds: &[[u64; 2]],
        _tag: impl Fn(u32) -> u64,
        _then: impl Fn(u32),
    ) {
        let n = slots.len().min(cmds.len());
        // SAFETY: a slot has the layout of a command, its words may be written through a shared
        // reference, and both slices have `n`. Nobody else is at these slots: who had them before
        // gave them up with CONS, llq.cons and the CAS that took them, each a release or an acquire
        // of `rows.rs`, and the SMMU looks at them when it has acquired the PROD that covers them.
        unsafe {
            let to = slots.as_ptr().cast::<[u64; 2]>().cast_mut();
            std::ptr::copy_nonoverlapping(cmds.as_ptr(), to, n);
        }
    }
}

impl Atomic {
    /// A word with its first value.
    pub fn new(_name: &'static str, _index: u32, value: u64) -> Atomic {
        Atomic { word: AtomicU64::new(value) }
    }

    /// The same word of the struct with this number.
    pub fn of(self, _owner: u32) -> Atomic {
        self
    }

    /// The value, without an order: for what is looked at beside a wait.
    #[inline]
    pub fn peek(&self) -> u64 {
        self.word.load(Ordering::Relaxed)
    }

    /// Reads.
    #[inline]
    pub fn load(&self, _op: &'static str, _at: Site, order: Order) -> u64 {
        self.word.load(ordering(order))
    }

    /// Writes.
    #[inline]
    pub fn store(
        &self,
        _op: &'static str,
        _at: Site,
        order: Order,
        value: u64,
        _then: impl FnOnce(),
    ) {
        self.word.store(value, ordering(order));
    }

    /// Reads, changes and writes; gives the old value.
    #[inline]
    pub fn rmw(
        &self,
        _op: &'static str,
        _at: Site,
        order: Order,
        rmw: Rmw,
        _then: impl FnOnce(u64),
    ) -> u64 {
        let order = ordering(order);
        match rmw {
            Rmw::Add(n) => self.word.fetch_add(n, order),
            Rmw::And(n) => self.word.fetch_and(n, order),
            Rmw::Or(n) => self.word.fetch_or(n, order),
            Rmw::Xor(n) => self.word.fetch_xor(n, order),
        }
    }

    /// Writes `new` if the word is `old`; otherwise gives what it is.
    #[inline]
    pub fn cmpxchg(
        &self,
        _op: &'static str,
        _at: Site,
        order: Order,
        (old, new): (u64, u64),
        _then: impl FnOnce(),
    ) -> Result<(), u64> {
        self.word.compare_exchange(old, new, ordering(order), Ordering::Relaxed).map(|_| ())
    }

    /// Changes a part of the word, as a store to that part does: tried until nobody came between.
    #[inline]
    pub fn update(
        &self,
        _op: &'static str,
        _at: Site,
        order: Order,
        f: impl Fn(u64) -> u64,
        _then: impl FnOnce(),
    ) {
        // Always `Some`, so it succeeds.
        let _old = self.word.fetch_update(ordering(order), Ordering::Relaxed, |old| Some(f(old)));
    }

    /// Reads until the value is as wanted, without a limit.
    #[inline(always)]
    pub fn cond_read(
        &self,
        _op: &'static str,
        _at: Site,
        order: Order,
        until: impl Fn(u64) -> bool,
    ) -> u64 {
        let value = self.word.load(ordering(order));
        // What a wait holds is put into memory only if one look is not enough.
        if until(value) {
            return value;
        }
        let wait = Wait { until: &until, or_change_of: None, or_gate: None, timeout_ms: None };
        self.look_again(ordering(order), &wait).unwrap_or_default()
    }

    /// Reads until the value is as wanted. `None`: the time was up. A wait without a limit has
    /// none, as in the kernel.
    #[inline(always)]
    pub fn wait(&self, _op: &'static str, _at: Site, order: Order, wait: &Wait<'_>) -> Option<u64> {
        let value = self.word.load(ordering(order));
        match (wait.until)(value) {
            true => Some(value),
            false => self.look_again(ordering(order), wait),
        }
    }

    /// After the first look, which is enough for a list that is alone.
    #[cold]
    fn look_again(&self, order: Ordering, wait: &Wait<'_>) -> Option<u64> {
        let mut looks = 0u32;
        loop {
            pause(looks);
            looks = looks.wrapping_add(1);
            let value = self.word.load(order);
            if (wait.until)(value) {
                return Some(value);
            }
            if looks >= LOOKS_MAX && wait.timeout_ms.is_some() {
                return None;
            }
        }
    }
}
