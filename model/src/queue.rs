//! Runs a program on the SMMUv3 command queue: its producers, and the SMMU as the last CPU.

use std::rc::Rc;

use uapi::errno::Ret;
use uapi::outcome::{Outcome, Place, StepResult};
use uapi::pick::ModelError;
use uapi::program::Timers;
use uapi::queue::{Queue, Request};
use uapi::step::Cpu;

use crate::arm_smmu_v3::cmdq::{arm_smmu_cmdq_batch_submit, here, Cmdq};
use crate::arm_smmu_v3::{device, rows};
use crate::sync::{self, Cell, Guest, GuestMaker};

/// One execution.
struct Run {
    q: Cmdq,
    results: Cell<Vec<(Cpu, u32, Ret)>>,
}

impl Guest for Run {
    fn setup(&self) {}

    fn cpu(&self, cpu: Cpu) {
        let Some(requests) = self.q.program.cpus.get(usize::from(cpu)) else {
            return device::smmu(&self.q);
        };
        for (request, index) in requests.iter().zip(0..) {
            sync::set_call(index);
            let ret = match request {
                Request::Issue { commands, sync } => {
                    (self.q.rev.issue_cmdlist)(&self.q, commands, *sync)
                }
                Request::Batch { commands, force_sync } => {
                    arm_smmu_cmdq_batch_submit(&self.q, commands, *force_sync)
                }
            };
            self.results.with(|r| r.push((cpu, index, Ret::from(&ret))));
        }
        self.q.producers.leave(here());
    }

    fn finally(&self) {
        self.q.quiescent();
    }

    fn report(&self, outcome: &mut Outcome) {
        let mut results = self.results.with(std::mem::take);
        results.sort_unstable();
        outcome.results.extend(results.into_iter().map(|(cpu, index, ret)| StepResult {
            place: Place::Cpu(cpu),
            index,
            ret: Some(ret),
            out: Vec::new(),
            entry_num: None,
            injected: false,
        }));
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
        Rc::new(Run { q: Cmdq::new(rev, &program), results: Cell::new(Vec::new()) })
    };
    let (cpus, timers) = (program.cpus.len() + 1, Timers::Idle);
    let maker = GuestMaker { cpus, timers, mutation: None, watched: false, make: &make };
    Ok(f(&maker))
}
