//! `struct arm_smmu_ll_queue`: prod and cons in one 64-bit word, and arithmetic on them.
//!
//! Source: arm-smmu-v3.c, queue_has_space() to queue_inc_prod_n(), and the macros Q_IDX, Q_WRP;
//! reference/smmuv3.md 3.1.

/// CMDQ_PROD_OWNED_FLAG: somebody owns the group that is being gathered.
pub const CMDQ_PROD_OWNED_FLAG: u32 = 1 << 31;

/// The size of a ring, as the driver computes with it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Shape {
    /// `max_n_shift`: the ring has 2^n entries.
    pub max_n_shift: u8,
    /// Entries less one, so that no step shifts for it.
    idx_mask: u32,
    /// Bits in a word of the valid map, and entries in a batch: BITS_PER_LONG.
    pub word: u32,
}

/// A snapshot of the word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Llq {
    /// Index and wrap, with the flag.
    pub prod: u32,
    /// A lower bound of the SMMU's CONS, as it was read: error bits included.
    pub cons: u32,
}

impl Llq {
    /// From the word: prod is its lower half.
    pub fn of(val: u64) -> Llq {
        Llq { prod: (val & 0xffff_ffff) as u32, cons: (val >> 32) as u32 }
    }

    /// As the word.
    pub fn val(self) -> u64 {
        u64::from(self.prod) | u64::from(self.cons) << 32
    }
}

impl Shape {
    /// A ring of 2^n entries; `word` is a power of two.
    pub fn new(max_n_shift: u8, word: u32) -> Shape {
        Shape { max_n_shift, idx_mask: (1 << max_n_shift) - 1, word }
    }

    /// Number of entries.
    pub fn entries(self) -> u32 {
        self.idx_mask + 1
    }

    /// Q_IDX()
    pub fn idx(self, p: u32) -> u32 {
        p & self.idx_mask
    }

    /// Q_WRP()
    pub fn wrp(self, p: u32) -> u32 {
        p & self.entries()
    }

    /// BIT_WORD() and the bit in it: where the valid map has the slot. A word is a power of two.
    pub fn bit(self, p: u32) -> (usize, u32) {
        let idx = self.idx(p);
        ((idx >> self.word.trailing_zeros()) as usize, idx & (self.word - 1))
    }

    /// Index and wrap without flags and error bits.
    pub fn pos(self, p: u32) -> u32 {
        p & (2 * self.entries() - 1)
    }

    /// Free entries.
    pub fn space(self, llq: Llq) -> u32 {
        let (prod, cons) = (self.idx(llq.prod), self.idx(llq.cons));
        if self.wrp(llq.prod) == self.wrp(llq.cons) {
            self.entries() - prod.wrapping_sub(cons)
        } else {
            cons.wrapping_sub(prod)
        }
    }

    /// queue_inc_prod_n(): without the flag.
    pub fn inc_prod_n(self, prod: u32, n: u32) -> u32 {
        self.pos(prod.wrapping_add(n))
    }
}

/// The slot that CONS is at.
pub fn slot_at(shape: Shape, cons: u32) -> u32 {
    shape.idx(cons)
}

/// queue_has_space()
pub fn queue_has_space(shape: Shape, llq: Llq, n: u32) -> bool {
    shape.space(llq) >= n
}

/// queue_full()
pub fn queue_full(shape: Shape, llq: Llq) -> bool {
    shape.idx(llq.prod) == shape.idx(llq.cons) && shape.wrp(llq.prod) != shape.wrp(llq.cons)
}

/// queue_consumed(): whether `cons` has passed the entry at `prod`.
pub fn queue_consumed(shape: Shape, cons: u32, prod: u32) -> bool {
    (shape.wrp(cons) == shape.wrp(prod) && shape.idx(cons) > shape.idx(prod))
        || (shape.wrp(cons) != shape.wrp(prod) && shape.idx(cons) <= shape.idx(prod))
}
