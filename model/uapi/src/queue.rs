//! Programs for the SMMUv3 command queue: CPUs that issue command lists, and one SMMU that
//! consumes them.
//!
//! The last CPU of an execution is the SMMU. Commands are the two words of a ring entry; what they
//! mean is the business of the package `smmuv3`.

use serde::{Deserialize, Serialize};

use crate::errno::Ret;
use crate::step::{Cpu, CPUS_MAX};

/// How a CPU waits for its CMD_SYNC.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub enum Completion {
    /// It polls CONS.
    #[default]
    Cons,
    /// The SMMU writes 0 into the first word of the SYNC, and the CPU spins on that.
    Msi,
}

/// IOMMU_VIOMMU_INVALIDATE_DATA_ARM_SMMUV3
pub const INVALIDATE_DATA_ARM_SMMUV3: u32 = 1;

/// Bytes of an entry of that type: `struct iommu_viommu_arm_smmuv3_invalidate`.
pub const INVALIDATE_ENTRY_LEN: u32 = 16;

/// IOMMU_HWPT_INVALIDATE with the id of a vIOMMU: the array of a guest's commands, and what is
/// wrong with it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Invalidate {
    /// The guest's commands as they are; `entry_num` is their number.
    pub commands: Vec<[u64; 2]>,
    /// Type of the entries.
    pub data_type: u32,
    /// Length of an entry in bytes: what a short one lacks reads as 0.
    pub entry_len: u32,
    /// What stands in the bytes that a long entry has more.
    pub tail: u8,
    /// The first entry that lies in memory which cannot be read.
    pub unmapped_from: Option<u32>,
    /// The n-th point of the call that can fail does. 0: none.
    pub fail_nth: u32,
}

impl Invalidate {
    /// An array of these commands with nothing wrong around them.
    pub fn of(commands: Vec<[u64; 2]>) -> Invalidate {
        Invalidate {
            commands,
            data_type: INVALIDATE_DATA_ARM_SMMUV3,
            entry_len: INVALIDATE_ENTRY_LEN,
            tail: 0,
            unmapped_from: None,
            fail_nth: 0,
        }
    }
}

/// What a physical SMMU may be without.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Without {
    /// 16-bit ASIDs (IDR0.ASID16).
    Asid16,
    /// Address translation services (IDR0.ATS).
    Ats,
    /// Range invalidation (IDR3.RIL).
    Ril,
    /// SubstreamIDs (IDR1.SSIDSIZE is 0).
    SubstreamIds,
}

/// A vSMMU, through which guests invalidate.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Vsmmu {
    /// The VMID that the host gave to the VM.
    pub vmid: u16,
    /// Its vDEVICEs: virtual StreamID, and the first StreamID of the device.
    pub vdevs: Vec<(u32, u32)>,
    /// What the physical SMMU behind it does not have.
    #[serde(default)]
    pub without: Vec<Without>,
}

/// What the queues beside the main one are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum QueueKind {
    /// Enhanced command queues, which execute everything.
    Ecmdq,
    /// Tegra241's virtual queues as a guest owns them: TLBI_NH_ASID, TLBI_NH_VA, ATC_INV and
    /// CMD_SYNC, which raises no MSI.
    GuestVcmdq,
}

/// Queues beside the main one, each as large as it. There is no order between queues.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Secondary {
    /// What they are.
    pub kind: QueueKind,
    /// How many.
    pub queues: u8,
}

/// One request of a CPU.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Request {
    /// `arm_smmu_cmdq_issue_cmdlist()`
    Issue {
        /// The commands.
        commands: Vec<[u64; 2]>,
        /// Whether a CMD_SYNC follows, which is waited for.
        sync: bool,
    },
    /// `arm_smmu_cmdq_batch_add()` for each command, then `arm_smmu_cmdq_batch_submit()`.
    Batch {
        /// The commands.
        commands: Vec<[u64; 2]>,
        /// Whether the SMMU needs a CMD_SYNC after every list (`ARM_SMMU_OPT_CMDQ_FORCE_SYNC`).
        force_sync: bool,
    },
    /// IOMMU_HWPT_INVALIDATE on the program's vSMMU.
    Invalidate(Invalidate),
    /// The scheduler moves the task of another producer to a processor. At first each is on the
    /// one of its own number.
    Migrate {
        /// Number of the producer.
        task: u8,
        /// Number of the processor.
        to: u8,
    },
    /// `arm_smmu_runtime_suspend()`: no list gets into the ring any more, then the SMMU loses its
    /// power and its registers.
    Suspend,
    /// `arm_smmu_runtime_resume()`
    Resume,
}

impl Request {
    /// What requests are called.
    pub const NAMES: &'static [&'static str] = &[
        "arm_smmu_cmdq_issue_cmdlist",
        "arm_smmu_cmdq_batch_submit",
        "IOMMU_HWPT_INVALIDATE",
        "migrate",
        "arm_smmu_runtime_suspend",
        "arm_smmu_runtime_resume",
    ];

    /// The call that it is, as output names it.
    pub fn name(&self) -> &'static str {
        match self {
            Request::Issue { .. } => "arm_smmu_cmdq_issue_cmdlist",
            Request::Batch { .. } => "arm_smmu_cmdq_batch_submit",
            Request::Invalidate(_) => "IOMMU_HWPT_INVALIDATE",
            Request::Migrate { .. } => "migrate",
            Request::Suspend => "arm_smmu_runtime_suspend",
            Request::Resume => "arm_smmu_runtime_resume",
        }
    }
}

/// Something that goes wrong, once, at the n-th command that the SMMU consumes (from 0).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Fault {
    /// Its fetch is aborted.
    Abort(u32),
    /// It is an ATC_INV, and the endpoint does not answer in time.
    AtcTimeout(u32),
    /// The SMMU stops for good before it.
    Dead(u32),
}

/// What a request may answer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Expect {
    /// Number of the producer.
    pub cpu: Cpu,
    /// Which of its requests, from 0.
    pub index: u32,
    /// Answers that are as expected; empty: any.
    pub rets: Vec<Ret>,
    /// Expected `entry_num` as written back, for an [`Invalidate`].
    pub entry_num: Option<u32>,
}

/// A program on one command queue.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Queue {
    /// The ring has 2^n entries.
    pub log2size: u8,
    /// Bits in a word of the valid map, and entries in a batch; 64 in the kernel.
    pub word: u8,
    /// Commands that have gone through the ring before: all indexes begin here.
    pub start: u32,
    /// How SYNCs are waited for.
    pub completion: Completion,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// The vSMMU of the guests, if there is one.
    #[serde(default)]
    pub vsmmu: Option<Vsmmu>,
    /// The queues beside the main one.
    #[serde(default)]
    pub secondary: Option<Secondary>,
    /// Erratum T264-SMMU-3: an entry can survive the first of two invalidations.
    #[serde(default)]
    pub repeat_tlbi_cfgi: bool,
    /// How often a CPU that waits for the shared lock may be overtaken by others that take the lock
    /// exclusively.
    #[serde(default)]
    pub overtaken_max: u8,
    /// A producer whose first request, a list with a CMD_SYNC, stands in the ring and is published
    /// before anybody runs: only its wait is left to be explored.
    #[serde(default)]
    pub published: Option<u8>,
    /// The producers.
    pub cpus: Vec<Vec<Request>>,
    /// What their requests may answer. One that is not named may answer anything.
    #[serde(default)]
    pub expect: Vec<Expect>,
}

impl Queue {
    /// CPUs of an execution: the producers, and behind them a consumer for each queue.
    pub fn cpus(&self) -> usize {
        self.cpus.len() + 1 + self.secondary.map_or(0, |s| usize::from(s.queues))
    }

    /// The SMMU is switched off and on by one CPU, which leaves it on.
    fn check_power(&self) -> Result<(), String> {
        let mut by = None;
        for (requests, cpu) in self.cpus.iter().zip(0u8..) {
            let mut on = true;
            for request in requests {
                let wants = match request {
                    Request::Suspend => false,
                    Request::Resume => true,
                    _ => continue,
                };
                if wants == on || *by.get_or_insert(cpu) != cpu {
                    return Err(format!(
                        "CPU {cpu}: Suspend and Resume alternate, on one CPU, Suspend first"
                    ));
                }
                on = wants;
            }
            if !on {
                return Err(format!("CPU {cpu} leaves the SMMU without power: Resume is missing"));
            }
        }
        Ok(())
    }

    /// What is inconsistent in the program.
    ///
    /// # Errors
    ///
    /// The reason, with the bound.
    pub fn check(&self) -> Result<(), String> {
        let queues = self.cpus() - self.cpus.len();
        if self.cpus.is_empty() || self.cpus() > CPUS_MAX {
            return Err(format!(
                "it has {} producers and {queues} queues; at least one of each, and {CPUS_MAX} \
                 together",
                self.cpus.len(),
            ));
        }
        if self.log2size > 10 {
            return Err(format!("a ring of 2^{} is too large to check; 2^10 is", self.log2size));
        }
        let (entries, word) = (1u32 << self.log2size, u32::from(self.word));
        if word == 0 || word > 64 || !word.is_power_of_two() || 2 * word > entries {
            return Err(format!(
                "words of {word} bits do not fit a ring of {entries}: a power of two, and the \
                 ring at least twice as large"
            ));
        }
        let of = |cpu: u8| self.cpus.get(usize::from(cpu)).and_then(|requests| requests.first());
        let waits = |cpu| matches!(of(cpu), Some(Request::Issue { sync: true, .. }));
        if let Some(cpu) = self.published.filter(|cpu| !waits(*cpu)) {
            return Err(format!("CPU {cpu} does not begin with a list and its CMD_SYNC"));
        }
        self.check_power()?;
        for request in self.cpus.iter().flatten() {
            let most = match request {
                // A list that needs a CMD_SYNC is issued when one slot of a batch is left.
                Request::Batch { force_sync, .. }
                    if word < 2 && (*force_sync || self.repeat_tlbi_cfgi) =>
                {
                    return Err(
                        "a batch whose lists need a CMD_SYNC wants words of 2 bits or more"
                            .to_string(),
                    );
                }
                // A batch is cut into lists of a word.
                Request::Batch { .. } => continue,
                Request::Invalidate(_) if self.vsmmu.is_none() => {
                    return Err("an IOMMU_HWPT_INVALIDATE needs a vsmmu in the program".to_string());
                }
                Request::Invalidate(_) if word < 2 => {
                    return Err("an IOMMU_HWPT_INVALIDATE issues lists of a word less one: words \
                                of 2 bits or more"
                        .to_string());
                }
                // Cut into lists, too.
                Request::Invalidate(_) => continue,
                Request::Migrate { task, .. } if usize::from(*task) >= self.cpus.len() => {
                    return Err(format!("there is no producer {task} to migrate"));
                }
                Request::Migrate { .. } | Request::Suspend | Request::Resume => continue,
                Request::Issue { commands, sync } => (commands.len() as u32, *sync),
            };
            if most > (word, true) || most == (0, false) {
                let (n, _) = most;
                return Err(format!("a list of {n} commands; a batch has at most {word}"));
            }
        }
        Ok(())
    }
}
