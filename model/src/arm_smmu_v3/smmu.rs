//! The SMMU with all of its command queues, and which of them a list goes to.
//!
//! A queue consumes in order; between queues there is no order at all, and a CMD_SYNC waits for
//! what is before it in its own queue only. So commands of which only the last list has a CMD_SYNC
//! must all go to one queue, wherever their task runs.
//!
//! | queues beside the main one | text |
//! |---|---|
//! | none | [`main_queue`] |
//! | ECMDQs, one per CPU | [`ecmdq`] |
//! | Tegra241's VCMDQs, as a guest has them | [`tegra241`] |
//!
//! Source: arm-smmu-v3.c, arm_smmu_get_cmdq(), arm_smmu_cmdq_batch_add() (v6.12);
//! tegra241-cmdqv.c; reference/smmuv3.md 1.4, 4.6.

use uapi::queue::{Completion, Queue};
use uapi::step::Site;

use crate::arm_smmu_v3::cmdq::Cmdq;
use crate::arm_smmu_v3::revision::{Cmds, Revision};
use crate::linux::atomic::{
    atomic_cond_read, atomic_fetch, cmpxchg, read_once, Atomic, Order, Rmw,
};
use crate::sync::{self, Shared};

/// `preempt_count`, in the word of a task: its processor is in the lower half.
const PREEMPT_OFFSET: u64 = 1 << 32;

/// `struct arm_smmu_device`
pub struct ArmSmmuDevice {
    /// The text that runs.
    pub rev: &'static Revision,
    /// The main queue.
    pub cmdq: Cmdq,
    /// The other queues: ECMDQs, or the VCMDQs of VINTF 0.
    pub secondary: Vec<Cmdq>,
    /// By task: the processor that it runs on, and its `preempt_count`.
    tasks: Vec<Atomic>,
}

impl ArmSmmuDevice {
    /// The SMMU of a program, before anybody runs. Each task runs on the processor of its number.
    pub fn new(rev: &'static Revision, program: &Shared<Queue>) -> ArmSmmuDevice {
        let tasks = 0..program.cpus.len() as u32;
        ArmSmmuDevice {
            rev,
            cmdq: Cmdq::new(rev, program, 0, program.completion),
            secondary: (1..=program.secondary.map_or(0, |s| s.queues.into()))
                .map(|number| Cmdq::new(rev, program, number, (rev.completion)(program)))
                .collect(),
            tasks: tasks.map(|task| Atomic::new("task_cpu", task, task.into())).collect(),
        }
    }

    /// All queues, the main one first.
    pub fn queues(&self) -> impl Iterator<Item = &Cmdq> {
        std::iter::once(&self.cmdq).chain(&self.secondary)
    }

    /// The queue of a processor among those beside the main one, if there are any.
    fn of_processor(&self) -> Option<&Cmdq> {
        let number = (self.secondary.len() as u32).checked_sub(1)? + 1;
        self.secondary.get((raw_smp_processor_id(self) % number) as usize)
    }

    /// A batch begins, in which every list ends with a CMD_SYNC if `forced`.
    pub fn begins_batch(&self, forced: bool) -> Vec<usize> {
        self.queues().map(|q| q.begins_batch(forced)).collect()
    }

    /// The batch that began with so many entries in each queue returns, without an error. (I6)
    pub fn returns_from_batch(&self, at: Site, began: &[usize]) {
        for (q, first) in self.queues().zip(began) {
            q.returns_from_batch(at, *first);
            q.has_repeated(at, *first);
        }
    }
}

/// raw_smp_processor_id(): where the task is at this moment.
fn raw_smp_processor_id(smmu: &ArmSmmuDevice) -> u32 {
    read_once(&smmu.tasks[usize::from(sync::current())], Order::Relaxed) as u32
}

/// The scheduler moves a task to another processor, as soon as it can be preempted.
pub fn migrate(smmu: &ArmSmmuDevice, task: u8, to: u8) {
    let Some(task) = smmu.tasks.get(usize::from(task)) else { return };
    loop {
        let at = atomic_cond_read(task, Order::Relaxed, |v| v < PREEMPT_OFFSET);
        if cmpxchg(task, Order::Relaxed, (at, to.into()), || {}).is_ok() {
            return;
        }
    }
}

/// An SMMU with one queue: see [`Revision::get_cmdq`].
pub mod main_queue {
    use super::*;

    /// `arm_smmu_get_cmdq()`
    pub fn arm_smmu_get_cmdq<'a>(smmu: &'a ArmSmmuDevice, _cmds: &Cmds) -> &'a Cmdq {
        &smmu.cmdq
    }

    /// `arm_smmu_cmdq_supports_cmd()`
    pub fn arm_smmu_cmdq_supports_cmd(_q: &Cmdq, _cmd: [u64; 2]) -> bool {
        true
    }

    /// How the CMD_SYNCs of other queues are waited for.
    pub fn completion(program: &Queue) -> Completion {
        program.completion
    }
}

/// A queue for each processor, not merged.
///
/// Source: reference/smmuv3.md 1.4, 5.5 (Zhen Lei, June 2021); that preemption is disabled while a
/// set of associated commands is inserted is from memory of that series.
pub mod ecmdq {
    use super::*;
    use crate::arm_smmu_v3::batch;
    use uapi::Errno;

    /// `arm_smmu_get_cmdq()`
    pub fn arm_smmu_get_cmdq<'a>(smmu: &'a ArmSmmuDevice, _cmds: &Cmds) -> &'a Cmdq {
        smmu.of_processor().unwrap_or(&smmu.cmdq)
    }

    /// `arm_smmu_cmdq_batch_add()` and `arm_smmu_cmdq_batch_submit()`, with preemption disabled:
    /// every list takes the queue of the processor, and it is always the same one.
    ///
    /// # Errors
    ///
    /// -ETIMEDOUT
    pub fn arm_smmu_cmdq_batch_submit(
        smmu: &ArmSmmuDevice,
        cmds: &Cmds,
        force_sync: bool,
    ) -> Result<(), Errno> {
        let task = &smmu.tasks[usize::from(sync::current())];
        // preempt_disable()
        atomic_fetch(task, Order::Relaxed, Rmw::Add(PREEMPT_OFFSET), |_| {});
        let ret = batch::arm_smmu_cmdq_batch_submit(smmu, cmds, force_sync);
        // preempt_enable()
        atomic_fetch(task, Order::Relaxed, Rmw::Add(PREEMPT_OFFSET.wrapping_neg()), |_| {});
        ret
    }
}

/// The VCMDQs of a guest: a queue for each processor that executes three commands and CMD_SYNC.
/// What they cannot execute goes through the main queue.
///
/// Source: tegra241-cmdqv.c, tegra241_cmdqv_get_cmdq(), tegra241_guest_vcmdq_supports_cmd();
/// reference/smmuv3.md 4.6.
pub mod tegra241 {
    use super::*;
    use smmuv3::{field, Op};

    /// `arm_smmu_get_cmdq()`, `tegra241_cmdqv_get_cmdq()`
    pub fn arm_smmu_get_cmdq<'a>(smmu: &'a ArmSmmuDevice, cmds: &Cmds) -> &'a Cmdq {
        let lvcmdq = smmu.of_processor();
        let first = cmds.first().copied().unwrap_or_default();
        // Unsupported CMD goes for smmu->cmdq pathway
        lvcmdq.filter(|q| arm_smmu_cmdq_supports_cmd(q, first)).unwrap_or(&smmu.cmdq)
    }

    /// `arm_smmu_cmdq_supports_cmd()`, `tegra241_guest_vcmdq_supports_cmd()`
    pub fn arm_smmu_cmdq_supports_cmd(q: &Cmdq, cmd: [u64; 2]) -> bool {
        let op = Op::from_bits(field::OPCODE.get(cmd) as u8);
        q.number == 0
            || matches!(op, Some(Op::TLBI_NH_ASID | Op::TLBI_NH_VA | Op::ATC_INV | Op::SYNC))
    }

    /// `arm_smmu_cmdq_needs_busy_polling()`: a VCMDQ writes no MSI and sends no event.
    pub fn completion(_program: &Queue) -> Completion {
        Completion::Cons
    }
}
