//! Words of memory with memory orders, for the code whose correctness depends on them.
//!
//! | backend | what an access is |
//! |---|---|
//! | the sequentially consistent ones, and loom's | `atomic/announced.rs` |
//! | the threads of the machine | `atomic/bare.rs`: one instruction, and nothing else |

#[cfg(not(feature = "backend-bare"))]
mod announced;
#[cfg(feature = "backend-bare")]
mod bare;

#[cfg(not(feature = "backend-bare"))]
pub use announced::{also, fence, Also, Atomic, Gate, Slot};
#[cfg(feature = "backend-bare")]
pub use bare::{also, fence, Atomic, Gate, Slot};

/// A memory order, by its C11 name.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// Atomic, and nothing more.
    Relaxed,
    /// What comes after it stays after it.
    Acquire,
    /// What comes before it stays before it.
    Release,
}

/// What stands in a slot of a ring.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// The command. Where a scheduler runs the CPUs it is not in the slot, but what stands for it.
    pub words: [u64; 2],
    /// What stands for it: a number for the checks, and the first 32 bits of the command.
    pub tag: u64,
}

/// What is accessed by many CPUs, on a cache line of its own.
#[repr(align(64))]
pub struct OwnLine<T>(pub T);

impl<T> std::ops::Deref for OwnLine<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

/// A read-modify-write that cannot fail.
#[derive(Clone, Copy, Debug)]
pub enum Rmw {
    /// Adds, wrapping.
    Add(u64),
    /// Ands.
    And(u64),
    /// Ors.
    Or(u64),
    /// Toggles.
    Xor(u64),
}

/// What a wait looks at.
pub struct Wait<'a> {
    /// Whether this value ends it.
    pub until: &'a dyn Fn(u64) -> bool,
    /// A second word whose change can end it; `until` looks at it itself.
    pub or_change_of: Option<&'a Atomic>,
    /// A gate whose opening can end it; `until` looks at it itself.
    pub or_gate: Option<&'a Gate>,
    /// Milliseconds of virtual time after which it is given up.
    pub timeout_ms: Option<u64>,
}
