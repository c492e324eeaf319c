//! fail_nth: the n-th primitive that can fail does.
//!
//! Every primitive that can run out of memory, and every copy from or to user space, asks
//! [`should_fail`] once when it gets as far as the point that can fail. They are numbered from 1
//! for each CPU from the moment it is armed.
//!
//! Source: Documentation/fault-injection/fault-injection.rst, `/proc/<pid>/fail-nth`;
//! reference/iommufd.md 2.9.7 and 5.2. A kernel retries the node allocations of an xarray where
//! its first one was refused, so fail_nth does not show their -ENOMEM; the model fails them for
//! good and explores more.

use uapi::step::{Cpu, CPUS_MAX};

use crate::sync::{self, Cell, Local};

#[derive(Clone, Copy, Default)]
struct Task {
    /// Which one fails; 0: none.
    nth: u32,
    count: u32,
    injected: bool,
    /// How long the next allocation takes, in milliseconds.
    stall_ms: Option<u64>,
}

#[derive(Default)]
struct Faults([Task; CPUS_MAX]);

static FAULTS: Local<Cell<Faults>> = Local::new(3);

fn task<R>(f: impl FnOnce(&mut Task) -> R) -> R {
    let cpu = usize::from(sync::current());
    FAULTS.get().with(|faults| f(&mut faults.0[cpu]))
}

/// From here on the `nth` point of the current CPU that can fail does. 0 only counts.
pub fn arm(nth: u32) {
    task(|t| *t = Task { nth, ..Task::default() });
}

/// The next allocation of the current CPU that may sleep does, for so many milliseconds.
pub fn arm_stall(ms: u64) {
    task(|t| t.stall_ms = Some(ms));
}

/// How long the allocation that the current CPU is about to make takes, if it is to be slow.
pub fn take_stall() -> Option<u64> {
    task(|t| t.stall_ms.take())
}

/// Nothing fails or stalls any more. Gives back whether something did fail.
pub fn disarm() -> bool {
    task(|t| {
        t.nth = 0;
        t.stall_ms = None;
        t.injected
    })
}

/// Whether something failed on this CPU since it was last armed.
pub fn injected(cpu: Cpu) -> bool {
    FAULTS.get().with(|faults| faults.0[usize::from(cpu)].injected)
}

/// Counts one point that can fail; whether it does.
pub fn should_fail() -> bool {
    task(|t| {
        t.count += 1;
        let fails = t.count == t.nth;
        t.injected |= fails;
        fails
    })
}

/// How many points that can fail the current CPU has passed since it was armed.
pub fn count() -> u32 {
    task(|t| t.count)
}
