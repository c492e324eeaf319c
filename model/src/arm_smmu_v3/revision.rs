//! What a text of the command queue is: one table of functions, and the orders of its accesses.
//!
//! Source: reference/smmuv3.md 3.2 to 3.4 and 3.6.

use uapi::pick::RevisionInfo;
use uapi::queue::{Completion, Invalidate, Queue};
use uapi::Errno;

use crate::arm_smmu_v3::batch::Batch;
use crate::arm_smmu_v3::cmdq::{self, Cmdq};
use crate::arm_smmu_v3::llq::{Llq, Shape};
use crate::arm_smmu_v3::smmu::ArmSmmuDevice;
use crate::arm_smmu_v3::vsmmu::ArmVsmmu;
use crate::linux::atomic::Order;
use crate::linux::slab::Ptr;

/// A list of commands, by the two words of each.
pub type Cmds = [[u64; 2]];

/// The orders of the accesses, by their numbers in reference/smmuv3.md 3.4. What is not here is
/// relaxed.
#[derive(Clone, Copy, Debug)]
pub struct Orders {
    /// A2: the CAS on llq comes before the slots are written, and after the look at the space.
    pub llq_cmpxchg: Order,
    /// A4: dma_wmb() between the entries and their valid bits.
    pub dma_wmb: Order,
    /// A6: the previous owner's PROD comes before ours.
    pub owner_prod_read: Order,
    /// A8: the entries of every covered producer come before PROD.
    pub valid_map_read: Order,
    /// A9: PROD.
    pub prod_write: Order,
    /// A10: the next owner's PROD comes later.
    pub owner_prod_set: Order,
    /// A12: readl() of CONS by who waits for a SYNC.
    pub cons_read_sync: Order,
    /// A13: the word that the MSI writes.
    pub msi_read: Order,
    /// A15: llq.cons comes after the read of CONS, for who takes slots by it. (The kernel has the
    /// data dependency.)
    pub llq_cons_write: Order,
    /// A15, where llq.cons is read on its own: slots are written after it. (The kernel has CTRL.)
    pub llq_cons_read: Order,
    /// A16: llq.cons comes before the unlock.
    pub shared_unlock: Order,
    /// A17: taking the exclusive lock.
    pub exclusive_lock: Order,
    /// A17: giving it back.
    pub exclusive_unlock: Order,
    /// PROD, read by the SMMU (of its other queues, by the driver: B6).
    pub prod_read: Order,
    /// A18: CONS read for space; the slots may be rewritten after it.
    pub cons_read_space: Order,
    /// spin_lock(), of the texts that have one.
    pub spin_lock: Order,
    /// spin_unlock(), of the texts that have one.
    pub spin_unlock: Order,
}

/// IOMMU_HWPT_INVALIDATE: the answer, and `entry_num` as written back.
pub type HwptInvalidate = fn(&Cmdq, Ptr<ArmVsmmu>, &Invalidate) -> (Result<(), Errno>, u32);

/// What comes before the wait of a list: where it begins.
pub type InsertCmdlist = fn(&Cmdq, &Cmds, bool) -> Result<u32, Errno>;

/// The SMMU is switched off and on.
#[derive(Clone, Copy)]
pub struct Pm {
    /// `arm_smmu_runtime_suspend()`
    pub suspend: fn(&Cmdq) -> Result<(), Errno>,
    /// `arm_smmu_runtime_resume()`
    pub resume: fn(&Cmdq),
}

/// One text of the command queue.
pub struct Revision {
    /// Name, source, twin.
    pub info: RevisionInfo,
    /// What this text cannot be run with.
    pub check: fn(&Queue) -> Result<(), String>,
    /// `arm_smmu_get_cmdq()`: the queue for a list that begins so.
    pub get_cmdq: for<'a> fn(&'a ArmSmmuDevice, &Cmds) -> &'a Cmdq,
    /// `arm_smmu_cmdq_supports_cmd()`
    pub supports_cmd: fn(&Cmdq, [u64; 2]) -> bool,
    /// `arm_smmu_cmdq_needs_busy_polling()`: how CMD_SYNCs of a queue beside the main one are
    /// waited for.
    pub completion: fn(&Queue) -> Completion,
    /// `arm_smmu_cmdq_batch_add()` and `arm_smmu_cmdq_batch_submit()`; whether the SMMU needs a
    /// CMD_SYNC after every list.
    pub batch_submit: fn(&ArmSmmuDevice, &Cmds, bool) -> Result<(), Errno>,
    /// Whether a batch must end with a CMD_SYNC before the next command.
    pub batch_force_sync: fn(&Batch<'_>, [u64; 2], bool) -> bool,
    /// What is done with a full batch before the next command.
    pub batch_is_full: fn(&mut Batch<'_>, [u64; 2]) -> Result<(), Errno>,
    /// `arm_smmu_cmdq_issue_cmdlist()`
    pub issue_cmdlist: fn(&Cmdq, &Cmds, bool) -> Result<(), Errno>,
    /// Steps 1 to 4 of it, where its wait can be told from them.
    pub insert_cmdlist: Option<InsertCmdlist>,
    /// Step 1 of the insertion: takes the slots.
    pub allocate: fn(&Cmdq, &Cmds, bool) -> Result<Llq, Errno>,
    /// `queue_has_space()`
    pub queue_has_space: fn(Shape, Llq, u32) -> bool,
    /// `queue_consumed()`
    pub queue_consumed: fn(Shape, u32, u32) -> bool,
    /// `arm_smmu_cmdq_poll_until_not_full()`
    pub poll_until_not_full: fn(&Cmdq, Llq, u32) -> Llq,
    /// `arm_smmu_cmdq_shared_lock()`
    pub shared_lock: fn(&Cmdq),
    /// `arm_smmu_cmdq_shared_tryunlock()`
    pub shared_tryunlock: fn(&Cmdq) -> bool,
    /// `arm_smmu_cmdq_shared_unlock()`
    pub shared_unlock: fn(&Cmdq),
    /// `arm_smmu_cmdq_exclusive_unlock_irqrestore()`
    pub exclusive_unlock: fn(&Cmdq),
    /// Steps 5 and 6 of the insertion: the SYNC's lock, and the valid bits.
    pub make_valid: fn(&Cmdq, u32, u32, bool),
    /// Step 7 of the insertion: what the owner does.
    pub hand_over: fn(&Cmdq, u32),
    /// What follows a list without a CMD_SYNC; its end.
    pub quiet_list_done: fn(&Cmdq, u32),
    /// Which value of the valid bit means valid, in a lap with wrap 0 and with wrap 1.
    pub valid: [bool; 2],
    /// How the word of `llq` is at first.
    pub llq_word: fn(Llq) -> u64,
    /// READ_ONCE(cmdq->q.llq.cons)
    pub llq_cons: fn(&Cmdq) -> u32,
    /// WRITE_ONCE(cmdq->q.llq.cons, cons)
    pub write_llq_cons: fn(&Cmdq, u32),
    /// `__arm_smmu_cmdq_skip_err()`: the slot, of CONS or beside it, that becomes a CMD_SYNC.
    pub skipped_slot: fn(Shape, u32) -> u32,
    /// Runtime power management, of the text that has it.
    pub pm: Option<Pm>,
    /// `arm_vsmmu_can_batch_cmd()`: whether a command goes into one list with the one before it.
    pub vsmmu_can_batch_cmd: fn(&Cmdq, [u64; 2], [u64; 2]) -> bool,
    /// `iommufd_hwpt_invalidate()` with what it calls in the driver.
    pub iommufd_hwpt_invalidate: HwptInvalidate,
    /// The orders.
    pub orders: Orders,
}

/// A row as a type, for [`compiled`].
pub trait Row {
    /// The row.
    const ROW: Revision;
}

/// The row with an insertion in which its functions are called directly, as in a kernel, which has
/// no other text. What inherits from a row inherits from the one without it.
pub const fn compiled<R: Row>() -> Revision {
    assert!(R::ROW.insert_cmdlist.is_some(), "this row has an insertion of its own");
    Revision {
        issue_cmdlist: |q, cmds, sync| cmdq::issue_cmdlist_of(const { &R::ROW }, q, cmds, sync),
        ..R::ROW
    }
}
