//! Ring indexes: an index and a wrap bit, and what can be said of two of them.
//!
//! Source: Arm IHI 0070 G.b 3.5.1.

use serde::{Deserialize, Serialize};

/// Log2 of the number of entries of a ring, 0 to 19.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct RingSize(u8);

/// The largest ring that the architecture has: 20 bits of register hold 19 of index and the wrap.
pub const LOG2_MAX: RingSize = RingSize(19);

/// A size that the architecture does not have.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("a ring of 2^{0} entries does not exist; the largest is 2^19")]
pub struct TooLarge(pub u8);

impl TryFrom<u8> for RingSize {
    type Error = TooLarge;

    fn try_from(log2: u8) -> Result<RingSize, TooLarge> {
        if log2 <= LOG2_MAX.0 {
            Ok(RingSize(log2))
        } else {
            Err(TooLarge(log2))
        }
    }
}

impl From<RingSize> for u8 {
    fn from(size: RingSize) -> u8 {
        size.0
    }
}

/// PROD or CONS.RD: the index in the bits below n, the wrap in bit n. Bits above n are no part of
/// it and are always zero here.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
pub struct Index(u32);

/// Two indexes that no sequence of legal moves gives.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("PROD {prod:#x} and CONS {cons:#x} are no state of a ring of {entries} entries")]
pub struct IllegalState {
    /// PROD.
    pub prod: u32,
    /// CONS.RD.
    pub cons: u32,
    /// Size of the ring.
    pub entries: u32,
}

impl RingSize {
    /// Log2 of the number of entries.
    pub const fn log2(self) -> u8 {
        self.0
    }

    /// Number of entries.
    pub const fn entries(self) -> u32 {
        1 << self.0
    }

    /// What a register holds, without the bits above the wrap bit.
    pub const fn index(self, register: u32) -> Index {
        Index(register & (2 * self.entries() - 1))
    }

    /// The index of the un-wrapped position `position`.
    pub const fn at(self, position: u64) -> Index {
        self.index((position & 0xffff_ffff) as u32)
    }

    /// The slot that the index names.
    pub const fn slot(self, index: Index) -> u32 {
        index.0 & (self.entries() - 1)
    }

    /// The wrap bit.
    pub const fn wrap(self, index: Index) -> bool {
        index.0 & self.entries() != 0
    }

    /// The index `n` entries further on; `n` may go past the end of the ring.
    pub const fn add(self, index: Index, n: u32) -> Index {
        self.index(index.0.wrapping_add(n))
    }

    /// Same slot, same wrap.
    pub const fn is_empty(self, prod: Index, cons: Index) -> bool {
        prod.0 == cons.0
    }

    /// Same slot, other wrap.
    pub const fn is_full(self, prod: Index, cons: Index) -> bool {
        self.slot(prod) == self.slot(cons) && self.wrap(prod) != self.wrap(cons)
    }

    /// Entries from CONS to PROD: between 0 and the size, or an error if no ring can be in this
    /// state (same wrap and PROD behind CONS; other wrap and PROD's slot beyond CONS's).
    pub const fn occupancy(self, prod: Index, cons: Index) -> Result<u32, IllegalState> {
        let (p, c) = (self.slot(prod), self.slot(cons));
        let same = self.wrap(prod) == self.wrap(cons);
        if same && p >= c {
            Ok(p - c)
        } else if !same && p <= c {
            Ok(self.entries() - (c - p))
        } else {
            Err(IllegalState { prod: prod.0, cons: cons.0, entries: self.entries() })
        }
    }

    /// Free entries.
    pub const fn space(self, prod: Index, cons: Index) -> Result<u32, IllegalState> {
        match self.occupancy(prod, cons) {
            Ok(used) => Ok(self.entries() - used),
            Err(e) => Err(e),
        }
    }
}

impl Index {
    /// As a register holds it.
    pub const fn bits(self) -> u32 {
        self.0
    }
}
