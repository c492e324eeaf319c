//! A program: what a scenario asks the kernel to do, resolved for one revision.

use crate::call::Call;
use crate::errno::Ret;
use crate::mutation::{Mutant, Mutation};
use crate::outcome::Place;
use crate::step::Cpu;
use serde::{Deserialize, Serialize};

/// Index of a name that a step binds.
pub type Sym = u16;

/// An argument of a call.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Operand {
    /// What an earlier step gave out under this name.
    Sym(Sym),
    /// A number.
    Num(u64),
    /// Invalidation entries.
    Entries(Vec<Entry>),
}

/// One entry of an invalidation array of the mock driver
/// (`struct iommu_viommu_invalidate_selftest`; `vdev_id` is unused by a nested HWPT, whose entry
/// is flags and `iotlb_id`, here `cache_id`).
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Entry {
    /// Flags; bit 0 is `IOMMU_TEST_INVALIDATE_FLAG_ALL`.
    pub flags: u32,
    /// Virtual device ID (32 bits in the mock's entry).
    pub vdev_id: u32,
    /// Which cache of the device.
    pub cache_id: u32,
    /// What stands behind the known fields, if `entry_len` is longer than they are.
    #[serde(default)]
    pub tail: u32,
}

/// Fault injection for one step.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub enum FailNth {
    /// None.
    #[default]
    None,
    /// The n-th fault-capable primitive of this step fails, from 1.
    Nth(u32),
    /// The explorer runs the program once without a failure and once for every n that is reached.
    /// It is resolved to `None` or `Nth` before the model sees the program.
    Any,
}

/// One step of a program: a call with what surrounds it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Step {
    /// Which call.
    pub call: Call,
    /// One operand per argument of the call's signature, defaults filled in.
    pub args: Vec<Operand>,
    /// The iommufd file it goes to: a name bound by `open`, or `Num(0)` for `fd`, the one that is
    /// open from the start.
    pub file: Operand,
    /// Names bound to the call's outputs, in order; may be shorter than the outputs.
    pub binds: Vec<Sym>,
    /// Answers that are as expected; empty: any.
    pub expect: Vec<Ret>,
    /// Expected `entry_num` as written back.
    pub expect_entry_num: Option<u32>,
    /// Expected values of outputs, by their index among the call's outputs; looked at when the
    /// call succeeds.
    #[serde(default)]
    pub expect_out: Vec<(u16, u64)>,
    /// Fault injection.
    pub fail_nth: FailNth,
    /// The argument struct lies in a read-only page: the answer cannot be copied out.
    pub read_only: bool,
    /// The struct's address is bad: nothing can be copied in.
    pub bad_pointer: bool,
    /// The size word of the struct, if it is not the full size.
    pub usize_: Option<u32>,
    /// A non-zero byte stands at this offset behind the known struct.
    pub trail: Option<u32>,
    /// The first allocation of this step that may sleep does, for so many seconds: memory is
    /// short.
    #[serde(default)]
    pub stall_s: Option<u32>,
    /// The step as the scenario spells it, without its expectation: for output.
    pub text: String,
}

impl Step {
    /// The call on `fd`, without arguments, and any answer is as expected.
    pub fn new(call: Call) -> Step {
        Step {
            call,
            args: Vec::new(),
            file: Operand::Num(0),
            binds: Vec::new(),
            expect: Vec::new(),
            expect_entry_num: None,
            expect_out: Vec::new(),
            fail_nth: FailNth::None,
            read_only: false,
            bad_pointer: false,
            usize_: None,
            trail: None,
            stall_s: None,
            text: String::new(),
        }
    }
}

/// When a sleeper's timer may fire.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Timers {
    /// Only when no CPU can run (virtual time passes only then).
    #[default]
    Idle,
    /// At any moment: every expiry is a branch.
    Any,
}

/// What the operations on a `refcount_t` order.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Orders {
    /// What comes before a decrement is seen by whoever meets its result: what the kernel's memory
    /// model makes of it by control dependencies, which C11 does not know.
    #[default]
    Lkmm,
    /// As written (reference/iommufd.md 6.1): increments, reads and the conditions of waits order
    /// nothing, a decrement is a release, and only refcount_dec_and_test() that says true acquires.
    Strict,
}

/// A physical device.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Pdev {
    /// IOMMU group number.
    pub group: u32,
    /// Number of the physical IOMMU instance that it sits behind.
    pub iommu: u32,
    /// Bytes of a vDEVICE that the driver of its IOMMU asks for; 0: the driver has none of its own.
    #[serde(default)]
    pub vdevice_size: u32,
    /// First and last IOVA of what its IOMMU reserves for it (`iommu_get_resv_regions()`), such as the
    /// doorbell of an interrupt controller.
    #[serde(default)]
    pub reserved: Option<(u64, u64)>,
}

/// What to run.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Program {
    /// Runs first, on one CPU.
    pub setup: Vec<Step>,
    /// Run concurrently. One CPU makes a story.
    pub cpus: Vec<Vec<Step>>,
    /// Runs after all CPUs have finished, on one CPU.
    pub finally: Vec<Step>,
    /// Name of each [`Sym`].
    pub syms: Vec<String>,
    /// The physical devices, `pdev0` first.
    pub pdevs: Vec<Pdev>,
    /// When timers fire.
    pub timers: Timers,
    /// What counters order.
    #[serde(default)]
    pub orders: Orders,
    /// Texts of splats that the question takes for granted: they are not counted. Only those
    /// after which the kernel goes on ([`crate::splat::Kind::goes_on`]).
    #[serde(default)]
    pub given: Vec<String>,
    /// The step of the model that is done otherwise, for a canary.
    #[serde(default)]
    pub mutant: Option<Mutant>,
}

impl Program {
    /// The steps of one list; none for one that the program does not have.
    pub fn list(&self, place: Place) -> &[Step] {
        match place {
            Place::Setup => &self.setup,
            Place::Cpu(cpu) => self.cpus.get(usize::from(cpu)).map_or(&[], Vec::as_slice),
            Place::Finally => &self.finally,
            Place::Exit => &[],
        }
    }

    /// As [`Program::list`], to change them.
    pub fn list_mut(&mut self, place: Place) -> &mut [Step] {
        match place {
            Place::Setup => &mut self.setup,
            Place::Cpu(cpu) => {
                self.cpus.get_mut(usize::from(cpu)).map_or(&mut [], Vec::as_mut_slice)
            }
            Place::Finally => &mut self.finally,
            Place::Exit => &mut [],
        }
    }

    /// The lists, in the order in which they begin.
    pub fn places(&self) -> impl Iterator<Item = Place> {
        let cpus = (0..self.cpus.len()).map(|cpu| Place::Cpu(cpu as Cpu));
        std::iter::once(Place::Setup).chain(cpus).chain(std::iter::once(Place::Finally))
    }
}

/// How much the explorers may assume about which steps commute.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub enum Dependence {
    /// Nothing: a lock conflicts with itself whatever it protects, and every two accesses to one
    /// object conflict unless both read.
    Plain,
    /// Counter changes whose result is thrown away commute.
    Commuting,
    /// And steps on different keys do not conflict; an xarray's lock section conflicts only with
    /// sections on the same index. The default.
    #[default]
    Keyed,
}

/// Bounds and modes of one execution. Everything that is printed as a bound stands here.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Limits {
    /// Scheduling points after which an execution is given up.
    pub steps_max: u32,
    /// Keep the log.
    pub trace: bool,
    /// Keep the object graph after each step, too.
    pub graph: bool,
    /// A freed address is handed out again at once (last freed first). Otherwise every
    /// allocation has an address of its own.
    pub recycle: bool,
    /// The kernel is built with KASAN: an access to freed memory is seen, and ends the execution.
    /// Without it the access happens, as on the kernels whose answers were recorded.
    pub kasan: bool,
    /// What the announced steps may be taken to conflict with.
    pub dependence: Dependence,
    /// The step that is done otherwise.
    #[serde(default)]
    pub mutation: Option<Mutation>,
    /// Note which call sites are reached ([`crate::outcome::Outcome::reached`]).
    #[serde(default)]
    pub reach: bool,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            steps_max: 10_000,
            trace: false,
            graph: false,
            recycle: false,
            kasan: true,
            dependence: Dependence::Keyed,
            mutation: None,
            reach: false,
        }
    }
}
