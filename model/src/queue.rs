//! Runs a program on the SMMUv3 command queue: its producers, and the SMMU as the last CPU.

use std::rc::Rc;

use uapi::errno::Ret;
use uapi::outcome::{Outcome, Place, StepResult};
use uapi::pick::ModelError;
use uapi::program::{Orders, Timers};
use uapi::queue::{Invalidate, Queue, Request};
use uapi::splat::Kind;
use uapi::step::Cpu;
use uapi::trace::{Graph, GraphObject, Val};
use uapi::Errno;

use crate::arm_smmu_v3::cmdq::{here, Cmdq};
use crate::arm_smmu_v3::revision::{Pm, Revision};
use crate::arm_smmu_v3::smmu::{migrate, ArmSmmuDevice};
use crate::arm_smmu_v3::vsmmu::ArmVsmmu;
use crate::arm_smmu_v3::wait::arm_smmu_cmdq_sync;
use crate::arm_smmu_v3::{device, rows};
use crate::linux::fault;
use crate::linux::slab::Ptr;
use crate::sync::{self, Cell, Guest, GuestMaker, Shared};

/// One execution.
struct Run {
    smmu: ArmSmmuDevice,
    program: Shared<Queue>,
    vsmmu: Cell<Option<Ptr<ArmVsmmu>>>,
    /// Where the list of [`Queue::published`] begins.
    published: Cell<Option<u32>>,
    results: Cell<Vec<StepResult>>,
}

/// What a request answered: `entry_num`, if it says one, and whether something was made to fail.
struct Answer {
    ret: Result<(), Errno>,
    entry_num: Option<u32>,
    injected: bool,
}

impl From<Result<(), Errno>> for Answer {
    fn from(ret: Result<(), Errno>) -> Answer {
        Answer { ret, entry_num: None, injected: false }
    }
}

impl Run {
    fn request(&self, request: &Request) -> Answer {
        match request {
            Request::Issue { commands, sync } => self.issue(commands, *sync).into(),
            Request::Batch { commands, force_sync } => self.batch(commands, *force_sync).into(),
            Request::Invalidate(request) => self.invalidate(request),
            Request::Migrate { task, to } => {
                migrate(&self.smmu, *task, *to);
                Ok(()).into()
            }
            // A text without it was refused before it ran.
            Request::Suspend => {
                let suspend = |pm: Pm| (pm.suspend)(&self.smmu.cmdq);
                self.smmu.rev.pm.map_or(Ok(()), suspend).into()
            }
            Request::Resume => {
                self.smmu.rev.pm.iter().for_each(|pm| (pm.resume)(&self.smmu.cmdq));
                Ok(()).into()
            }
        }
    }

    fn issue(&self, commands: &[[u64; 2]], sync: bool) -> Result<(), Errno> {
        let q = (self.smmu.rev.get_cmdq)(&self.smmu, commands);
        let first = q.begins();
        let ret = (self.smmu.rev.issue_cmdlist)(q, commands, sync);
        if ret != Err(Errno::EBUSY) {
            q.is_asked(commands);
        }
        ret?;
        if sync {
            q.has_repeated(here(), first);
        }
        Ok(())
    }

    fn batch(&self, commands: &[[u64; 2]], force_sync: bool) -> Result<(), Errno> {
        let began = self.smmu.begins_batch(force_sync);
        let ret = (self.smmu.rev.batch_submit)(&self.smmu, commands, force_sync);
        self.smmu.begins_batch(false);
        ret?;
        self.smmu.cmdq.is_asked(commands);
        self.smmu.returns_from_batch(here(), &began);
        Ok(())
    }

    /// Before anybody runs: what comes before the wait, on behalf of [`Queue::published`].
    fn publish(&self) {
        let Some(cpu) = self.program.published else { return };
        let list = self.program.cpus.get(usize::from(cpu)).and_then(|requests| requests.first());
        // A text that cannot be cut there was refused before it ran.
        let (Some(Request::Issue { commands, .. }), Some(insert_cmdlist)) =
            (list, self.smmu.rev.insert_cmdlist)
        else {
            return;
        };
        let start = sync::on_behalf(cpu, || insert_cmdlist(&self.smmu.cmdq, commands, true));
        self.published.set(start.ok());
    }

    /// What is left of it.
    fn wait(&self, request: &Request, start: u32) -> Result<(), Errno> {
        let Request::Issue { commands, .. } = request else { return Ok(()) };
        let q = &self.smmu.cmdq;
        q.is_asked(commands);
        arm_smmu_cmdq_sync(q, q.shape.inc_prod_n(start, commands.len() as u32))
    }

    /// Whether a request answered what the program expects of it.
    fn compare(&self, request: &Request, (cpu, index): (Cpu, u32), ret: Ret, handled: Option<u32>) {
        let of_it = self.program.expect.iter().filter(|e| (e.cpu, e.index) == (cpu, index));
        for expect in of_it {
            let what = format!("{} of CPU {cpu}", request.name());
            if !expect.rets.is_empty() && !expect.rets.contains(&ret) {
                let wanted: Vec<String> = expect.rets.iter().map(Ret::to_string).collect();
                let detail = format!("{what} = {ret}, expected {}", wanted.join(" | "));
                sync::splat_at_exit(Kind::UnexpectedAnswer, detail);
            } else if let (Some(wanted), Some(got)) = (expect.entry_num, handled) {
                if wanted != got {
                    let detail = format!("{what} handled {got} entries, expected {wanted}");
                    sync::splat_at_exit(Kind::UnexpectedAnswer, detail);
                }
            }
        }
    }

    /// IOMMU_HWPT_INVALIDATE, through the main queue.
    fn invalidate(&self, request: &Invalidate) -> Answer {
        // A program without a vSMMU was refused before it ran.
        let Some(vsmmu) = self.vsmmu.get() else { return Ok(()).into() };
        let q: &Cmdq = &self.smmu.cmdq;
        fault::arm(request.fail_nth);
        let first = q.begins();
        let (ret, entry_num) = (q.rev.iommufd_hwpt_invalidate)(q, vsmmu, request);
        q.invalidated(first, entry_num);
        if ret.is_ok() {
            q.has_repeated(here(), first);
        }
        Answer { ret, entry_num: Some(entry_num), injected: fault::disarm() }
    }
}

impl Guest for Run {
    fn setup(&self) {
        self.vsmmu.set(self.program.vsmmu.as_ref().map(ArmVsmmu::new));
        self.publish();
    }

    fn cpu(&self, cpu: Cpu) {
        let Some(requests) = self.program.cpus.get(usize::from(cpu)) else {
            // Behind the producers, a consumer for each queue.
            let number = usize::from(cpu) - self.program.cpus.len();
            if let Some(q) = self.smmu.queues().nth(number) {
                device::smmu(q);
            }
            return;
        };
        for (request, index) in requests.iter().zip(0..) {
            sync::set_call(index);
            let waits = self.program.published == Some(cpu) && index == 0;
            let Answer { ret, entry_num, injected } = match self.published.get() {
                Some(start) if waits => self.wait(request, start).into(),
                _ => self.request(request),
            };
            let ret = Ret::from(&ret);
            self.compare(request, (cpu, index), ret, entry_num);
            let (place, ret) = (Place::Cpu(cpu), Some(ret));
            let result = StepResult { place, index, ret, out: Vec::new(), entry_num, injected };
            self.results.with(|r| r.push(result));
        }
        for q in self.smmu.queues() {
            q.producers.leave(here());
        }
    }

    fn finally(&self) {
        for q in self.smmu.queues() {
            q.quiescent();
        }
    }

    fn graph(&self) -> Graph {
        Graph { objects: self.smmu.queues().map(words).collect() }
    }

    fn report(&self, outcome: &mut Outcome) {
        let mut results = self.results.with(std::mem::take);
        results.sort_unstable_by_key(|r| (r.place, r.index));
        outcome.results.extend(results);
        // How far the SMMU came, and in whose order.
        for q in self.smmu.queues() {
            outcome.state.extend(q.ghost.with(|g| g.log()).into_iter().flatten());
        }
    }
}

/// A ring of more entries is not drawn.
const DRAWN_MAX: usize = 16;

/// The words of a queue as they are now, in the place of an object. Those that only some texts have
/// are there once they are not 0.
fn words(q: &Cmdq) -> GraphObject {
    let hex = |name: &str, value: u64| (name.to_owned(), Val::Hex(value));
    let mut fields = vec![
        hex("llq", q.llq.peek()),
        hex("owner_prod", q.owner_prod.peek()),
        ("lock".to_owned(), Val::Num(i64::from(q.lock.peek() as i32))),
        hex("CMDQ_PROD", q.prod_reg.peek()),
        hex("CMDQ_CONS", q.cons_reg.peek()),
    ];
    let map = q.valid_map.iter().zip(0..);
    fields.extend(map.map(|(word, n)| hex(&format!("valid_map[{n}]"), word.peek())));
    let of_some = [
        ("llq.cons", &q.llq_cons),
        ("slock", &*q.spinlock),
        ("sync_nr", &q.sync_nr),
        ("sync_count", &q.sync_count),
    ];
    let of_some = of_some.into_iter().filter(|(_, word)| word.peek() != 0);
    fields.extend(of_some.map(|(name, word)| hex(name, word.peek())));
    if q.ring.len() <= DRAWN_MAX {
        let ring = q.ring.iter().zip(0..);
        fields.extend(ring.map(|(slot, n)| hex(&format!("ring[{n}]"), slot.first().peek())));
    }
    GraphObject { ty: "cmdq".to_owned(), alloc: q.number, id: None, fields }
}

/// Whether the text has what the program asks of it.
fn can_run(rev: &Revision, program: &Queue) -> Result<(), String> {
    let name = rev.info.name;
    if program.published.is_some() && rev.insert_cmdlist.is_none() {
        return Err(format!("{name} cannot be cut before its wait: take another row"));
    }
    let pm = |request: &Request| matches!(request, Request::Suspend | Request::Resume);
    if rev.pm.is_none() && program.cpus.iter().flatten().any(pm) {
        return Err(format!("{name} has no runtime power management: take cmdq_prod_stop"));
    }
    Ok(())
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
    let checked = program.check().and_then(|()| can_run(rev, program));
    checked.and_then(|()| (rev.check)(program)).map_err(ModelError::Malformed)?;
    let program = Shared::new(program.clone());
    let make = || -> Rc<dyn Guest> {
        Rc::new(Run {
            smmu: ArmSmmuDevice::new(rev, &program),
            program: program.clone(),
            vsmmu: Cell::new(None),
            published: Cell::new(None),
            results: Cell::new(Vec::new()),
        })
    };
    let (cpus, timers) = (program.cpus(), Timers::Idle);
    let maker = GuestMaker {
        cpus,
        timers,
        orders: Orders::Lkmm,
        mutation: None,
        watched: false,
        make: &make,
    };
    Ok(f(&maker))
}
