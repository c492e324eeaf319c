//! Runs a program on the SMMUv3 command queue: its producers, and the SMMU as the last CPU.

use std::rc::Rc;

use uapi::errno::Ret;
use uapi::outcome::{Outcome, Place, StepResult};
use uapi::pick::ModelError;
use uapi::program::Timers;
use uapi::queue::{Invalidate, Queue, Request};
use uapi::step::Cpu;

use crate::arm_smmu_v3::cmdq::{here, Cmdq};
use crate::arm_smmu_v3::vsmmu::ArmVsmmu;
use crate::arm_smmu_v3::{device, rows};
use crate::linux::fault;
use crate::linux::slab::Ptr;
use crate::sync::{self, Cell, Guest, GuestMaker};

/// One execution.
struct Run {
    q: Cmdq,
    vsmmu: Cell<Option<Ptr<ArmVsmmu>>>,
    results: Cell<Vec<StepResult>>,
}

impl Run {
    /// IOMMU_HWPT_INVALIDATE: the answer, `entry_num`, and whether something was made to fail.
    fn invalidate(&self, request: &Invalidate) -> (Ret, Option<u32>, bool) {
        // A program without a vSMMU was refused before it ran.
        let Some(vsmmu) = self.vsmmu.get() else { return (Ret::Ok, None, false) };
        fault::arm(request.fail_nth);
        let first = self.q.invalidates();
        let (ret, entry_num) = (self.q.rev.iommufd_hwpt_invalidate)(&self.q, vsmmu, request);
        self.q.invalidated(first, entry_num);
        (Ret::from(&ret), Some(entry_num), fault::disarm())
    }
}

impl Guest for Run {
    fn setup(&self) {
        self.vsmmu.set(self.q.program.vsmmu.as_ref().map(ArmVsmmu::new));
    }

    fn cpu(&self, cpu: Cpu) {
        let Some(requests) = self.q.program.cpus.get(usize::from(cpu)) else {
            return device::smmu(&self.q);
        };
        for (request, index) in requests.iter().zip(0..) {
            sync::set_call(index);
            let (ret, entry_num, injected) = match request {
                Request::Issue { commands, sync } => {
                    let ret = (self.q.rev.issue_cmdlist)(&self.q, commands, *sync);
                    (Ret::from(&ret), None, false)
                }
                Request::Batch { commands, force_sync } => {
                    self.q.begins_batch(*force_sync);
                    let ret = (self.q.rev.batch_submit)(&self.q, commands, *force_sync);
                    self.q.begins_batch(false);
                    (Ret::from(&ret), None, false)
                }
                Request::Invalidate(request) => self.invalidate(request),
            };
            let (place, ret) = (Place::Cpu(cpu), Some(ret));
            let result = StepResult { place, index, ret, out: Vec::new(), entry_num, injected };
            self.results.with(|r| r.push(result));
        }
        self.q.producers.leave(here());
    }

    fn finally(&self) {
        self.q.quiescent();
    }

    fn report(&self, outcome: &mut Outcome) {
        let mut results = self.results.with(std::mem::take);
        results.sort_unstable_by_key(|r| (r.place, r.index));
        outcome.results.extend(results);
        // How far the SMMU came, and in whose order.
        outcome.state.extend(self.q.ghost.with(|g| g.log()));
    }
}

/// Runs `f` with what makes the executions of this program on this row.
///
/// # Errors
///
/// No such row, or what is inconsistent in the program.
pub fn with_maker<R>(
    program: &Queue,
    revision: &str,
    f: impl FnOnce(&GuestMaker<'_>) -> R,
) -> Result<R, ModelError> {
    let unknown = || ModelError::UnknownRevision(revision.to_string());
    let rev = rows::find(revision).ok_or_else(unknown)?;
    program.check().map_err(ModelError::Malformed)?;
    let program = Rc::new(program.clone());
    let make = || -> Rc<dyn Guest> {
        Rc::new(Run {
            q: Cmdq::new(rev, &program),
            vsmmu: Cell::new(None),
            results: Cell::new(Vec::new()),
        })
    };
    let (cpus, timers) = (program.cpus.len() + 1, Timers::Idle);
    let maker = GuestMaker { cpus, timers, mutation: None, watched: false, make: &make };
    Ok(f(&maker))
}
