//! Executes a `uapi::Program` on a row: the only way into the model.
//!
//! This is user space and the drivers: it opens the file, makes the calls in their order, keeps
//! the ids and handles that they give out, arms fault injection, and compares answers with what
//! the program expects. At the end of every execution it does what a process that exits does
//! (drivers unbind, descriptors are closed), after which nothing may be left.

mod user_struct;

use std::rc::Rc;

use uapi::call::{signature, ArgKind, Call, AUTO};
use uapi::errno::Ret;
use uapi::mutation::{Mutant, Mutation};
use uapi::outcome::{Outcome, Place, StepResult};
use uapi::pick::ModelError;
use uapi::program::{Entry, FailNth, Operand, Program, Step};
use uapi::splat::{Kind, Splat};
use uapi::step::{Cpu, CPUS_MAX};
use uapi::trace::Graph;
use uapi::Errno;

use crate::iommufd::device::{
    iommufd_device_attach, iommufd_device_bind, iommufd_device_replace, iommufd_device_unbind,
    iommufd_get_hw_info, HwInfo,
};
use crate::iommufd::eventq::{
    do_poll, iommufd_eventq_fops_read, iommufd_eventq_fops_write, NewEventq, ReadOut, VeventqAlloc,
};
use crate::iommufd::fault::Response;
use crate::iommufd::graph;
use crate::iommufd::hw_pagetable::{
    iommufd_hwpt_alloc, or_auto, HwptAlloc, HwptInvalidate, UserData,
};
use crate::iommufd::hw_queue::HwQueueAlloc;
use crate::iommufd::invariants::{
    check_installed, check_owned_id, check_quiescent, check_released, id_given_out_again, Outside,
};
use crate::iommufd::ioas::{
    iommufd_ioas_alloc_ioctl, iommufd_ioas_iova_ranges, iommufd_ioas_map, iommufd_ioas_unmap,
    IoasMap, IoasMapFile,
};
use crate::iommufd::main::linux_6_17::{iommufd_fops_vma_close, VmArea};
use crate::iommufd::main::{fput, iommufd_fops_open};
use crate::iommufd::objects::{Device, File, Object, SelftestAccess, IOMMU_NO_PASID};
use crate::iommufd::revision::Revision;
use crate::iommufd::selftest::access::{
    iommufd_test_access_item_destroy, iommufd_test_access_pages, iommufd_test_access_pages_check,
    iommufd_test_access_rw, iommufd_test_access_rw_check, iommufd_test_create_access,
};
use crate::iommufd::selftest::pasid::PasidOp;
use crate::iommufd::selftest::{
    iommufd_test_md_check_iotlb, iommufd_test_mock_domain, iommufd_test_mock_domain_replace,
};
use crate::iommufd::ucmd::Ucmd;
use crate::iommufd::viommu::viommu_v1::ViommuVdevId;
use crate::iommufd::viommu::{VdeviceAlloc, ViommuAlloc};
use crate::linux::device::{put_device, Device as StructDevice};
use crate::linux::file::fget;
use crate::linux::iommu::IommuGroup;
use crate::linux::kcsan::report_races;
use crate::linux::refcount::refcount_inc;
use crate::linux::slab::{immortal, kzalloc, report_leaks, Plain, Ptr, Struct};
use crate::linux::spinlock::{spin_lock, spin_unlock, Spinlock};
use crate::linux::task_work::task_work_run;
use crate::linux::uaccess::{userfaultfd_copy, UserPage, Userfault};
use crate::linux::{fault, lockdep};
use crate::sites::call_sites;
use crate::sync::{self, Cell, Guest, GuestMaker};
use user_struct::copy_struct_from_user;

/// DEFAULT_POLLMASK: what poll(2) says of a file that has no poll of its own.
const DEFAULT_POLLMASK: u32 = 0x145;

/// The arguments of a call as numbers, behind them zeros.
type Args = [u64; 12];

/// What a name of the program stands for, once its step succeeded.
#[derive(Clone, Copy)]
enum Value {
    /// An object id, or a number.
    Id(u64),
    /// A bound device: its id, and the pointer that its driver holds.
    Device(u32, Ptr<Device>),
    /// An open file: index into the file table.
    File(usize),
    /// A mapping: index into the list of them.
    Mapping(usize),
}

/// A bound device, until its driver unbinds it.
struct Bound {
    idev: Ptr<Device>,
    attached: bool,
    /// The driver has unbound it, although it was attached, and may still detach it.
    unbound: bool,
}

/// struct files_struct, as far as iommufd files go.
struct Files {
    /// Whoever opens or closes a descriptor holds it; who looks one up does not.
    file_lock: Spinlock,
    /// The open descriptors, read under RCU.
    fd: Vec<Plain<Option<Ptr<File>>>>,
}

impl Struct for Files {
    const NAME: &'static str = "files_struct";
}

/// What changes while a program runs. Touched between steps only.
struct State {
    syms: Vec<Option<Value>>,
    names: Vec<(u32, String)>,
    bound: Vec<Bound>,
    /// The mappings: what each holds, until it is unmapped.
    vmas: Vec<Option<(Ptr<Object>, Ptr<File>)>>,
    plugged: Vec<bool>,
    results: Vec<StepResult>,
    /// The step that each CPU made last, or is making.
    running: [Option<(Place, u32)>; CPUS_MAX],
    owned: Owned,
}

/// What user space believes it owns, for I8: objects that it has allocated and not destroyed.
#[derive(Default)]
struct Owned {
    /// File, id, and whether a driver may take the object away (a vDEVICE goes with its device).
    ids: Vec<(usize, u32, bool)>,
    /// File and id of each IOMMU_DESTROY that has not returned yet.
    destroying: Vec<(usize, u32)>,
    /// File and id of each object that was destroyed before its allocation returned.
    early: Vec<(usize, u32)>,
}

impl Owned {
    /// An allocation returned. Whether the id is one that user space owns already.
    fn allocated(&mut self, fd: usize, id: u32, goes_with_device: bool) -> bool {
        if let Some(at) = self.early.iter().position(|e| *e == (fd, id)) {
            self.early.remove(at);
            return false;
        }
        let again = self.ids.iter().position(|(f, i, _)| (*f, *i) == (fd, id));
        let leaves = self.destroying.contains(&(fd, id));
        if again.is_none() || !leaves {
            self.ids.push((fd, id, goes_with_device));
        }
        again.is_some() && !leaves
    }

    /// IOMMU_DESTROY returned.
    fn destroyed(&mut self, fd: usize, id: u32, ok: bool) {
        if let Some(at) = self.destroying.iter().position(|d| *d == (fd, id)) {
            self.destroying.remove(at);
        }
        if !ok {
            return;
        }
        match self.ids.iter().position(|(f, i, _)| (*f, *i) == (fd, id)) {
            Some(at) => drop(self.ids.remove(at)),
            None => self.early.push((fd, id)),
        }
    }

    /// A file is closed: user space owns nothing of it any more. Calls that found it open are still
    /// on their way, so what they destroy and allocate is kept until they return.
    fn closed(&mut self, fd: usize) {
        self.ids.retain(|(f, ..)| *f != fd);
    }
}

/// One execution of a program.
struct World {
    program: Rc<Program>,
    rev: &'static Revision,
    /// Whether a CPU closes a file, so that a call may find its file closed.
    closes: bool,
    files: Cell<Option<Ptr<Files>>>,
    pdevs: Cell<Vec<Ptr<StructDevice>>>,
    /// The page of `read_pgfault(…, uffd = 1)`, if the program has one.
    userfault: Cell<Option<Ptr<Userfault>>>,
    state: Cell<State>,
}

/// Checks everything that the model relies on, so that no program can make it panic.
///
/// # Errors
///
/// Too many CPUs, or what is malformed.
pub fn check(program: &Program) -> Result<(), ModelError> {
    if program.cpus.len() > CPUS_MAX {
        return Err(ModelError::TooManyCpus { cpus: program.cpus.len(), max: CPUS_MAX });
    }
    let malformed = |what: String| Err(ModelError::Malformed(what));
    for step in all_steps(program) {
        let sig = signature(step.call);
        if step.args.len() != sig.args.len() {
            return malformed(format!("`{}` has {} arguments", step.text, step.args.len()));
        }
        if step.binds.len() > sig.outs.len() {
            return malformed(format!("`{}` binds {} names", step.text, step.binds.len()));
        }
        if step.fail_nth == FailNth::Any {
            return malformed(format!("`{}`: fail_nth=any is not resolved", step.text));
        }
        let operands = step.args.iter().chain(std::iter::once(&step.file));
        for operand in operands {
            if let Operand::Sym(s) = operand {
                if usize::from(*s) >= program.syms.len() {
                    return malformed(format!("`{}` names an unknown symbol", step.text));
                }
            }
        }
        if step.binds.iter().any(|s| usize::from(*s) >= program.syms.len()) {
            return malformed(format!("`{}` binds an unknown symbol", step.text));
        }
        for (arg, operand) in sig.args.iter().zip(&step.args) {
            if let (ArgKind::Pdev, Operand::Num(n)) = (arg.kind, operand) {
                if *n != AUTO && *n >= program.pdevs.len() as u64 {
                    return malformed(format!("`{}`: there is no pdev{n}", step.text));
                }
            }
        }
    }
    Ok(())
}

fn all_steps(program: &Program) -> impl Iterator<Item = &Step> {
    program.setup.iter().chain(program.cpus.iter().flatten()).chain(&program.finally)
}

/// Checks a program and hands the maker of its guests to `f`.
///
/// # Errors
///
/// See [`check`].
pub fn with_maker<R>(
    program: &Program,
    rev: &'static Revision,
    f: impl FnOnce(&GuestMaker<'_>) -> R,
) -> Result<R, ModelError> {
    check(program)?;
    let shared = Rc::new(program.clone());
    let make = || world(&shared, rev);
    let mutation = match &program.mutant {
        Some(mutant) => Some(resolved(mutant)?),
        None => None,
    };
    Ok(f(&GuestMaker {
        cpus: program.cpus.len(),
        timers: program.timers,
        orders: program.orders,
        mutation,
        watched: true,
        make: &make,
    }))
}

/// The call site that a program names.
fn resolved(mutant: &Mutant) -> Result<Mutation, ModelError> {
    let Mutant { site, change } = mutant;
    let sites = call_sites();
    let Some(index) = sites.iter().position(|s| s.name() == *site) else {
        return Err(ModelError::Malformed(format!(
            "there is no call site `{site}` in the model; `iommufd-testbed mutate --list` shows \
             them"
        )));
    };
    if !sites[index].changes.contains(change) {
        let names: Vec<&str> = sites[index].changes.iter().map(|c| c.name()).collect();
        return Err(ModelError::Malformed(format!(
            "the call site `{site}` cannot be changed to `{change}`, only to {}",
            names.join(", ")
        )));
    }
    Ok(Mutation { site: index as u16, change: *change })
}

/// Makes the guest of one execution.
fn world(program: &Rc<Program>, rev: &'static Revision) -> Rc<dyn Guest> {
    let count = |place: Place, steps: &[Step]| -> Vec<StepResult> {
        (0..steps.len())
            .map(|i| StepResult {
                place,
                index: i as u32,
                ret: None,
                out: Vec::new(),
                entry_num: None,
                injected: false,
            })
            .collect()
    };
    let mut results = count(Place::Setup, &program.setup);
    for (cpu, steps) in program.cpus.iter().enumerate() {
        results.extend(count(Place::Cpu(cpu as Cpu), steps));
    }
    results.extend(count(Place::Finally, &program.finally));
    Rc::new(World {
        program: program.clone(),
        rev,
        closes: program.cpus.iter().flatten().any(|s| s.call == Call::Close),
        files: Cell::new(None),
        pdevs: Cell::new(Vec::new()),
        userfault: Cell::new(None),
        state: Cell::new(State {
            syms: vec![None; program.syms.len()],
            names: Vec::new(),
            bound: Vec::new(),
            vmas: Vec::new(),
            plugged: vec![true; program.pdevs.len()],
            results,
            running: [None; CPUS_MAX],
            owned: Owned::default(),
        }),
    })
}

/// What a call gave: its answer, its outputs, and `entry_num` as written back.
struct Answer {
    ret: Result<(), Errno>,
    out: Vec<Value>,
    entry_num: Option<u32>,
}

impl From<Result<(), Errno>> for Answer {
    fn from(ret: Result<(), Errno>) -> Answer {
        Answer { ret, out: Vec::new(), entry_num: None }
    }
}

impl From<Result<u64, Errno>> for Answer {
    fn from(ret: Result<u64, Errno>) -> Answer {
        match ret {
            Ok(number) => Answer { ret: Ok(()), out: vec![Value::Id(number)], entry_num: None },
            Err(e) => Err::<(), _>(e).into(),
        }
    }
}

impl From<Result<u32, Errno>> for Answer {
    fn from(ret: Result<u32, Errno>) -> Answer {
        match ret {
            Ok(id) => Answer { ret: Ok(()), out: vec![Value::Id(id.into())], entry_num: None },
            Err(e) => Err::<(), _>(e).into(),
        }
    }
}

/// A call that cannot be made: an operand was never given out.
struct Skipped;

impl World {
    fn open(&self) -> Result<usize, Errno> {
        self.fd_install(iommufd_fops_open(self.rev)?)
    }

    /// get_unused_fd_flags() and fd_install()
    fn fd_install(&self, filp: Ptr<File>) -> Result<usize, Errno> {
        let Some(files) = self.files.get() else { return Err(Errno::EBADF) };
        // The lowest free descriptor, of as many as the program can open.
        spin_lock(&files.file_lock);
        let fd = files.fd.iter().position(|fd| fd.peek().is_none());
        if let Some(fd) = fd {
            files.fd[fd].assign(Some(filp));
            check_installed(filp);
        }
        spin_unlock(&files.file_lock);
        fd.ok_or(Errno::EBADF)
    }

    /// fdget(): a reference of the open file.
    fn fdget(&self, fd: usize) -> Result<Ptr<File>, Errno> {
        let files = self.files.get().ok_or(Errno::EBADF)?;
        let slot = files.fd.get(fd).ok_or(Errno::EBADF)?;
        if !self.closes {
            // Nobody can close it now, so it needs no reference.
            return slot.peek().ok_or(Errno::EBADF);
        }
        fget(slot, |filp| &filp.f_count).ok_or(Errno::EBADF)
    }

    /// fget(): a reference of the open file, for the caller to keep.
    fn fget(&self, fd: usize) -> Result<Ptr<File>, Errno> {
        let filp = self.fdget(fd)?;
        if !self.closes {
            refcount_inc(&filp.f_count);
        }
        Ok(filp)
    }

    /// fdput()
    fn fdput(&self, filp: Ptr<File>) {
        if self.closes {
            fput(filp);
        }
    }

    /// What a system call does with an open file. -EBADF if it is not open.
    fn with_file(
        &self,
        fd: usize,
        f: impl FnOnce(Ptr<File>) -> Result<Answer, Skipped>,
    ) -> Result<Answer, Skipped> {
        let filp = match self.fdget(fd) {
            Ok(filp) => filp,
            Err(e) => return Ok(Err::<(), _>(e).into()),
        };
        let answer = f(filp);
        self.fdput(filp);
        answer
    }

    fn close(&self, fd: usize) -> Result<(), Errno> {
        let files = self.files.get().ok_or(Errno::EBADF)?;
        let slot = files.fd.get(fd).ok_or(Errno::EBADF)?;
        spin_lock(&files.file_lock);
        let filp = slot.load();
        slot.assign(None);
        spin_unlock(&files.file_lock);
        self.state.with(|st| st.owned.closed(fd));
        fput(filp.ok_or(Errno::EBADF)?);
        Ok(())
    }

    fn value(&self, operand: &Operand) -> Result<Value, Skipped> {
        match operand {
            Operand::Num(n) => Ok(Value::Id(*n)),
            Operand::Sym(s) => self.state.with(|st| st.syms[usize::from(*s)]).ok_or(Skipped),
            Operand::Entries(_) => Ok(Value::Id(0)),
        }
    }

    fn num(&self, operand: &Operand) -> Result<u64, Skipped> {
        Ok(match self.value(operand)? {
            Value::Id(id) => id,
            Value::Device(id, _) => u64::from(id),
            Value::File(n) | Value::Mapping(n) => n as u64,
        })
    }

    /// The arguments of a step.
    fn nums(&self, step: &Step) -> Result<Args, Skipped> {
        let mut args = Args::default();
        for (arg, operand) in args.iter_mut().zip(&step.args) {
            *arg = self.num(operand)?;
        }
        Ok(args)
    }

    /// The device of a driver's handle, if the driver still has it.
    fn device(&self, operand: &Operand) -> Result<Ptr<Device>, Skipped> {
        match self.value(operand)? {
            Value::Device(_, idev) => {
                let bound = self.state.with(|st| st.bound.iter().any(|b| b.idev.is(idev)));
                if bound {
                    Ok(idev)
                } else {
                    Err(Skipped)
                }
            }
            _ => Err(Skipped),
        }
    }

    fn fd(&self, operand: &Operand) -> Result<usize, Skipped> {
        match self.value(operand)? {
            Value::File(fd) => Ok(fd),
            Value::Id(n) => Ok(n as usize),
            Value::Device(..) | Value::Mapping(_) => Err(Skipped),
        }
    }

    /// One step of the program, from user space or a driver into the kernel and back.
    fn run(&self, place: Place, index: usize, step: &Step) {
        sync::set_call(index as u32);
        let cpu = usize::from(sync::current());
        self.state.with(|st| st.running[cpu] = Some((place, index as u32)));
        fault::arm(match step.fail_nth {
            FailNth::Nth(n) => n,
            FailNth::None | FailNth::Any => 0,
        });
        if let Some(seconds) = step.stall_s {
            fault::arm_stall(u64::from(seconds) * 1_000);
        }
        self.note_destroy(step);
        let answer = self.call(place, index, step);
        sync::return_to_user();
        let injected = fault::disarm();
        if let Ok(answer) = answer {
            self.record(place, index, step, &answer, injected);
        }
        task_work_run();
        sync::return_to_user();
        lockdep::return_to_user(sync::site(std::panic::Location::caller()));
    }

    /// Notes that an IOMMU_DESTROY is on its way.
    fn note_destroy(&self, step: &Step) {
        if let (Call::Destroy, Ok(fd), Some(Ok(id))) =
            (step.call, self.fd(&step.file), step.args.first().map(|id| self.num(id)))
        {
            self.state.with(|st| st.owned.destroying.push((fd, id as u32)));
        }
    }

    /// Keeps account of what user space owns (I8).
    fn note_answer(&self, step: &Step, answer: &Answer) {
        let Ok(fd) = self.fd(&step.file) else { return };
        let first = answer.out.first().map(|v| v.number() as u32);
        let again = self.state.with(|st| match (step.call, first) {
            (
                Call::IoasAlloc
                | Call::MockDomain
                | Call::HwptAlloc
                | Call::ViommuAlloc
                | Call::FaultAlloc
                | Call::VeventqAlloc
                | Call::HwQueueAlloc,
                Some(id),
            ) => st.owned.allocated(fd, id, false).then_some(id),
            (Call::VdeviceAlloc, Some(id)) => st.owned.allocated(fd, id, true).then_some(id),
            _ => None,
        });
        if let Some(id) = again {
            id_given_out_again(id);
        }
        if let (Call::Destroy, Some(Ok(id))) = (step.call, step.args.first().map(|id| self.num(id)))
        {
            let ok = answer.ret.is_ok();
            self.state.with(|st| st.owned.destroyed(fd, id as u32, ok));
        }
    }

    fn record(&self, place: Place, index: usize, step: &Step, answer: &Answer, injected: bool) {
        let ret = Ret::from(&answer.ret);
        self.note_answer(step, answer);
        self.state.with(|st| {
            for (sym, value) in step.binds.iter().zip(&answer.out) {
                st.syms[usize::from(*sym)] = Some(*value);
            }
            let result =
                st.results.iter_mut().find(|r| r.place == place && r.index == index as u32);
            if let Some(result) = result {
                result.ret = Some(ret);
                result.out = answer.out.iter().map(|v| v.number()).collect();
                result.entry_num = answer.entry_num;
                result.injected = injected;
            }
        });
        if sync::limits().trace {
            self.name(step, answer);
        }
        if !step.expect.is_empty() && !step.expect.contains(&ret) {
            let wanted: Vec<String> = step.expect.iter().map(Ret::to_string).collect();
            let detail = format!("{} = {ret}, expected {}", step.text, wanted.join(" | "));
            sync::splat_at_exit(Kind::UnexpectedAnswer, detail);
        } else if let (Some(wanted), Some(got)) = (step.expect_entry_num, answer.entry_num) {
            if wanted != got {
                let detail = format!("{} handled {got} entries, expected {wanted}", step.text);
                sync::splat_at_exit(Kind::UnexpectedAnswer, detail);
            }
        }
        if ret == Ret::Ok {
            check_outputs(step, answer);
        }
    }

    /// Joins the program's names with the allocations, for the trace.
    fn name(&self, step: &Step, answer: &Answer) {
        for (sym, value) in step.binds.iter().zip(&answer.out) {
            let alloc = match value {
                Value::Device(_, idev) => Some(idev.owner().alloc),
                Value::Id(id) => graph::newest_object(*id as u32),
                Value::File(_) | Value::Mapping(_) => None,
            };
            if let Some(alloc) = alloc {
                let name = self.program.syms[usize::from(*sym)].clone();
                self.state.with(|st| st.names.push((alloc, name)));
            }
        }
    }

    /// Makes the call. Driver calls and file operations have no struct to copy in.
    fn call(&self, place: Place, index: usize, step: &Step) -> Result<Answer, Skipped> {
        let args = &step.args;
        Ok(match step.call {
            Call::Open => descriptor(self.open()),
            Call::MemfdCreate => {
                descriptor(kzalloc(File::memfd).and_then(|filp| self.fd_install(filp)))
            }
            Call::Close => self.close(self.fd(&args[0])?).into(),
            Call::Bind => self.bind(step)?,
            Call::Unbind => {
                let idev = self.device(&args[0])?;
                if self.num(&args[1])? == 0 {
                    self.unbind_attached(idev);
                } else {
                    self.unbind(idev);
                }
                Ok::<(), Errno>(()).into()
            }
            Call::Unplug => {
                self.unplug(self.num(&args[0])? as usize);
                Ok::<(), Errno>(()).into()
            }
            Call::Attach => {
                let idev = self.device(&args[0])?;
                let ret = iommufd_device_attach(idev, IOMMU_NO_PASID, self.num(&args[1])?);
                if ret.is_ok() {
                    self.set_attached(idev, true);
                }
                ret.into()
            }
            Call::Replace => {
                let idev = self.device(&args[0])?;
                iommufd_device_replace(idev, IOMMU_NO_PASID, self.num(&args[1])?).into()
            }
            Call::Detach => {
                let idev = self.device(&args[0])?;
                self.detach(idev);
                Ok::<(), Errno>(()).into()
            }
            Call::Interrupt => {
                let dev = self.device(&args[0])?.dev.peek().ok_or(Skipped)?;
                let rev = self.rev;
                exists(rev.interrupt, Errno::EOPNOTSUPP, |interrupt| interrupt(rev, dev)).into()
            }
            Call::Munmap => {
                let Value::Mapping(vma) = self.value(&args[0])? else { return Err(Skipped) };
                self.munmap(vma).into()
            }
            Call::Read | Call::ReadPgfault | Call::Poll | Call::Write => {
                let (fd, args) = (self.fd(&args[0])?, self.nums(step)?);
                self.with_file(fd, |filp| Ok(self.iommufd_eventq_fops(filp, step, &args)))?
            }
            Call::UffdioCopy => {
                if let Some(page) = self.userfault.get() {
                    userfaultfd_copy(&page);
                }
                Ok::<(), Errno>(()).into()
            }
            Call::Mmap => self.with_file(self.fd(&step.file)?, |filp| self.mmap(filp, step))?,
            _ => self.with_file(self.fd(&step.file)?, |filp| {
                self.iommufd_fops_ioctl(filp, place, index, step)
            })?,
        })
    }

    /// `iommufd_fops_ioctl()`: the size word, the copy, the handler.
    fn iommufd_fops_ioctl(
        &self,
        filp: Ptr<File>,
        place: Place,
        index: usize,
        step: &Step,
    ) -> Result<Answer, Skipped> {
        // All operands first: a call that user space cannot make does not enter the kernel.
        let mut args = self.nums(step)?;
        // The file of an event queue has no ioctl.
        let Some(ictx) = filp.ictx.peek() else {
            return Ok(Err::<(), _>(Errno::ENOTTY).into());
        };
        // get_user() of the size word, which fail_nth does not reach.
        if step.bad_pointer {
            return Ok(Err::<(), _>(Errno::EFAULT).into());
        }
        if !has_ioctl(ictx.rev, step.call) {
            return Ok(Err::<(), _>(Errno::ENOTTY).into());
        }
        if let Err(e) = copy_struct_from_user(ictx.rev, step, &mut args) {
            return Ok(Err::<(), _>(e).into());
        }
        let ucmd = Ucmd::new(ictx, step.read_only);
        let answer = self.handle(&ucmd, &args, place, index, step);
        ucmd.finish(answer.ret.is_ok());
        Ok(answer)
    }

    /// The handler of one ioctl.
    fn handle(&self, ucmd: &Ucmd, args: &Args, place: Place, index: usize, step: &Step) -> Answer {
        let rev = ucmd.ictx.rev;

        match step.call {
            Call::Destroy => (rev.iommufd_destroy)(ucmd.ictx, args[0]).into(),
            Call::IoasAlloc => iommufd_ioas_alloc_ioctl(ucmd, args[0]).into(),
            Call::IoasMap => {
                let cmd = IoasMap {
                    ioas_id: args[0],
                    length: args[1],
                    iova: args[2],
                    user_va: args[3],
                    flags: args[4],
                    reserved: args[5],
                };
                iommufd_ioas_map(ucmd, &cmd).into()
            }
            Call::IoasMapFile => {
                let cmd = IoasMapFile {
                    ioas_id: args[0],
                    length: args[2],
                    iova: args[3],
                    start: args[4],
                    flags: args[5],
                };
                let fget = || self.fget(args[1] as usize);
                exists(rev.iommufd_ioas_map_file, Errno::ENOTTY, |f| f(ucmd, &cmd, &fget)).into()
            }
            Call::IoasUnmap => iommufd_ioas_unmap(ucmd, args[0], args[1], args[2]).into(),
            Call::IoasIovaRanges => {
                match iommufd_ioas_iova_ranges(ucmd, args[0], args[1], args[2]) {
                    Err(e) => Err::<(), _>(e).into(),
                    Ok(words) => {
                        let out = words.into_iter().map(Value::Id).collect();
                        Answer { ret: Ok(()), out, entry_num: None }
                    }
                }
            }
            Call::GetHwInfo => {
                let cmd = HwInfo {
                    dev_id: args[0],
                    flags: args[1],
                    data_len: args[2],
                    bad_uptr: args[3] != AUTO,
                    reserved: args[4],
                };
                match iommufd_get_hw_info(ucmd, &cmd) {
                    Err(e) => Err::<(), _>(e).into(),
                    Ok(words) => {
                        let out = words.into_iter().map(Value::Id).collect();
                        Answer { ret: Ok(()), out, entry_num: None }
                    }
                }
            }
            Call::HwptAlloc => iommufd_hwpt_alloc(ucmd, &hwpt_alloc(args)).into(),
            Call::HwptInvalidate => {
                let cmd = hwpt_invalidate(args, &step.args[1]);
                let (ret, entry_num) = (rev.iommufd_hwpt_invalidate)(ucmd, &cmd);
                Answer { ret, out: Vec::new(), entry_num }
            }
            Call::ViommuAlloc => {
                let cmd = ViommuAlloc {
                    dev_id: args[0],
                    hwpt_id: args[1],
                    ty: args[2],
                    flags: args[3],
                    data_len: args[4],
                    bad_uptr: args[6] != AUTO,
                };
                exists(rev.iommufd_viommu_alloc_ioctl, Errno::ENOTTY, |f| f(ucmd, &cmd)).into()
            }
            Call::VdeviceAlloc => {
                let cmd = VdeviceAlloc { viommu_id: args[0], dev_id: args[1], virt_id: args[2] };
                exists(rev.iommufd_vdevice_alloc_ioctl, Errno::ENOTTY, |f| f(ucmd, &cmd)).into()
            }
            Call::FaultAlloc => {
                let ret = rev.iommufd_fault_alloc.map_or(Err(Errno::ENOTTY), |f| f(ucmd, args[0]));
                self.eventq(ret)
            }
            Call::VeventqAlloc => {
                let cmd = VeventqAlloc {
                    viommu_id: args[0],
                    ty: args[1],
                    veventq_depth: args[2],
                    flags: args[3],
                    reserved: args[4],
                };
                let ret = rev.iommufd_veventq_alloc.map_or(Err(Errno::ENOTTY), |f| f(ucmd, &cmd));
                self.eventq(ret)
            }
            Call::IoasChangeProcess => {
                exists(rev.iommufd_ioas_change_process, Errno::ENOTTY, |f| f(ucmd, args[0])).into()
            }
            Call::HwQueueAlloc => {
                let cmd = HwQueueAlloc {
                    viommu_id: args[0],
                    ty: args[1],
                    index: args[2],
                    nesting_parent_iova: args[3],
                    length: args[4],
                    flags: args[5],
                };
                exists(rev.iommufd_hw_queue_alloc_ioctl, Errno::ENOTTY, |f| f(ucmd, &cmd)).into()
            }
            Call::TriggerVevent => match rev.iommufd_test_trigger_vevent {
                // An operation that the mock driver does not know.
                None => Err::<(), _>(Errno::EOPNOTSUPP).into(),
                // The kernel does not look at the vIOMMU's id.
                Some(trigger) => trigger(ucmd, args[1]).into(),
            },
            Call::TriggerIopf => {
                let trigger = rev.iommufd_test_trigger_iopf;
                exists(trigger, Errno::EOPNOTSUPP, |f| f(ucmd, args[0])).into()
            }
            Call::ViommuSetVdevId => {
                exists(rev.iommufd_viommu_set_vdev_id, Errno::ENOTTY, |f| f(ucmd, &vdev_id(args)))
                    .into()
            }
            Call::ViommuUnsetVdevId => {
                exists(rev.iommufd_viommu_unset_vdev_id, Errno::ENOTTY, |f| f(ucmd, &vdev_id(args)))
                    .into()
            }
            Call::CheckCache => {
                let check = rev.iommufd_test_dev_check_cache;
                // iommufd_test() of an operation that it does not know.
                exists(check, Errno::EOPNOTSUPP, |f| f(ucmd, args[0], args[1], args[2])).into()
            }
            Call::CheckIotlb => iommufd_test_md_check_iotlb(ucmd, args[0], args[1], args[2]).into(),
            Call::CreateAccess => self.create_access(ucmd, args),
            Call::AccessReplaceIoas => {
                let replace = rev.iommufd_test_access_replace_ioas;
                exists(replace, Errno::EOPNOTSUPP, |f| {
                    self.with_access(args[0], |staccess| f(staccess, args[1]))
                })
                .into()
            }
            Call::AccessRw => {
                let rw =
                    |staccess| iommufd_test_access_rw(ucmd, staccess, args[1], args[2], args[3]);
                iommufd_test_access_rw_check(args[2], args[3])
                    .and_then(|()| self.with_access(args[0], rw))
                    .into()
            }
            Call::AccessPages => {
                let pin =
                    |staccess| iommufd_test_access_pages(ucmd, staccess, args[1], args[2], args[3]);
                iommufd_test_access_pages_check(args[2], args[3])
                    .and_then(|()| self.with_access(args[0], pin))
                    .into()
            }
            Call::DestroyAccessPages => {
                let unpin =
                    |staccess| iommufd_test_access_item_destroy(ucmd.ictx, staccess, args[1]);
                self.with_access(args[0], unpin).into()
            }
            Call::MockDomainReplace => {
                iommufd_test_mock_domain_replace(ucmd, args[0], args[1]).into()
            }
            Call::PasidAttach => self.pasid(ucmd, PasidOp::Attach, args),
            Call::PasidReplace => self.pasid(ucmd, PasidOp::Replace, args),
            Call::PasidDetach => self.pasid(ucmd, PasidOp::Detach, args),
            Call::DmabufGet => self.dmabuf_get(args[0]),
            Call::DmabufRevoke => {
                let fget = || self.fget(args[0] as usize);
                let revoke = rev.iommufd_test_dmabuf_revoke;
                exists(revoke, Errno::EOPNOTSUPP, |f| f(&fget, args[1] != 0)).into()
            }
            Call::MockDomain => self.mock_domain(ucmd, args, place, index),
            Call::Open
            | Call::Close
            | Call::MemfdCreate
            | Call::Bind
            | Call::Unbind
            | Call::Unplug
            | Call::Attach
            | Call::Replace
            | Call::Detach
            | Call::Interrupt
            | Call::Read
            | Call::ReadPgfault
            | Call::Poll
            | Call::Write
            | Call::UffdioCopy
            | Call::Mmap
            | Call::Munmap => Err::<(), _>(Errno::ENOTTY).into(),
        }
    }

    /// read(2), poll(2) and write(2) of an event queue's file. Another file has none of them: it
    /// can always be polled, and not be read or written.
    fn iommufd_eventq_fops(&self, filp: Ptr<File>, step: &Step, args: &Args) -> Answer {
        let Some(obj) = filp.eventq.peek() else {
            return match step.call {
                Call::Poll => Ok::<u32, Errno>(DEFAULT_POLLMASK).into(),
                _ => Err::<(), _>(Errno::EINVAL).into(),
            };
        };

        match step.call {
            Call::Poll => Ok::<u32, Errno>(do_poll(self.rev, obj, args[1] != 0)).into(),
            Call::Write => {
                let (cookie, code) = (args[1], args[2]);
                let response = Response { cookie, code, bad_address: step.bad_pointer };
                iommufd_eventq_fops_write(obj, response, args[3]).into()
            }
            _ => {
                let uffd = step.call == Call::ReadPgfault && args[2] != 0;
                let page = self.user_page(step, uffd);
                let ret = iommufd_eventq_fops_read(self.rev, obj, args[1], &page);
                ret.map_or_else(|e| Err::<(), _>(e).into(), |read| read_answer(step.call, &read))
            }
        }
    }

    /// Where the buffer of a read lies.
    fn user_page(&self, step: &Step, uffd: bool) -> UserPage {
        match self.userfault.get() {
            Some(page) if uffd => UserPage::Missing(page),
            _ if step.bad_pointer => UserPage::Bad,
            _ => UserPage::Present,
        }
    }

    /// fd_install() of a new queue's file, and the answer.
    fn eventq(&self, ret: Result<NewEventq, Errno>) -> Answer {
        let installed = ret.and_then(|new| Ok((new.id, self.fd_install(new.filp)?)));
        match installed {
            Err(e) => Err::<(), _>(e).into(),
            Ok((id, fd)) => Answer {
                ret: Ok(()),
                out: vec![Value::Id(id.into()), Value::File(fd)],
                entry_num: None,
            },
        }
    }

    /// fd_install() of a new access's file, and the answer.
    fn create_access(&self, ucmd: &Ucmd, args: &Args) -> Answer {
        let filp = iommufd_test_create_access(ucmd, args[0], args[1]);
        descriptor(filp.and_then(|filp| self.fd_install(filp)))
    }

    /// IOMMU_TEST_OP_DMABUF_GET, up to dma_buf_fd()
    fn dmabuf_get(&self, length: u64) -> Answer {
        let get = self.rev.iommufd_test_dmabuf_get;
        let filp = exists(get, Errno::EOPNOTSUPP, |f| f(length));
        descriptor(filp.and_then(|filp| self.fd_install(filp)))
    }

    /// IOMMU_TEST_OP_PASID_ATTACH and its like; a mock driver that has no PASIDs does not know them.
    fn pasid(&self, ucmd: &Ucmd, op: PasidOp, args: &Args) -> Answer {
        let pasid = self.rev.iommufd_test_pasid;
        match exists(pasid, Errno::EOPNOTSUPP, |f| f(ucmd, op, args[0], args[1], args[2])) {
            Ok(Some(id)) => Ok::<u32, Errno>(id).into(),
            Ok(None) => Ok::<(), Errno>(()).into(),
            Err(e) => Err::<(), _>(e).into(),
        }
    }

    /// `iommufd_access_get()`: finds the access behind a descriptor, and holds its file.
    fn with_access<T>(
        &self,
        fd: u64,
        f: impl FnOnce(Ptr<SelftestAccess>) -> Result<T, Errno>,
    ) -> Result<T, Errno> {
        let filp = self.fdget(fd as usize).map_err(|_| Errno::EBADFD)?;
        let ret = filp.staccess.peek().ok_or(Errno::EBADFD).and_then(f);
        self.fdput(filp);
        ret
    }

    fn mmap(&self, filp: Ptr<File>, step: &Step) -> Result<Answer, Skipped> {
        let arg = |i: usize| self.num(&step.args[i]);
        let vma =
            VmArea { offset: arg(0)?, length: arg(1)?, shared: arg(2)? != 0, exec: arg(3)? != 0 };
        let ret = match (filp.ictx.peek(), self.rev.iommufd_fops_mmap) {
            (Some(ictx), Some(mmap)) => mmap(ictx, &vma),
            // A file that cannot be mapped.
            _ => Err(Errno::ENODEV),
        };
        Ok(match ret {
            Err(e) => Err::<(), _>(e).into(),
            Ok(owner) => {
                // The mapping holds the file.
                refcount_inc(&filp.f_count);
                let at = self.state.with(|st| {
                    st.vmas.push(Some((owner, filp)));
                    st.vmas.len() - 1
                });
                Answer { ret: Ok(()), out: vec![Value::Mapping(at)], entry_num: None }
            }
        })
    }

    fn munmap(&self, vma: usize) -> Result<(), Errno> {
        let held = self.state.with(|st| st.vmas.get_mut(vma).and_then(Option::take));
        if let Some((owner, filp)) = held {
            iommufd_fops_vma_close(owner);
            fput(filp);
        }
        Ok(())
    }

    fn mock_domain(&self, ucmd: &Ucmd, args: &Args, place: Place, index: usize) -> Answer {
        // A mock device gets a number and a group of its own, by its place in the program.
        let number = self.mock_number(place, index);
        let ret = iommufd_test_mock_domain(ucmd, args[0], || {
            let dev = kzalloc(|owner| {
                let mut dev = StructDevice::new(owner, number, number, 0);
                dev.is_mock = true;
                dev
            })?;
            dev.iommu_group.set(Some(immortal(IommuGroup::new)));
            Ok(dev)
        });
        match ret {
            Err(e) => Err::<(), _>(e).into(),
            Ok(mock) => Answer {
                ret: Ok(()),
                out: vec![
                    Value::Id(mock.sobj_id.into()),
                    Value::Id(mock.hwpt_id.into()),
                    Value::Device(mock.idev_id, mock.idev),
                ],
                entry_num: None,
            },
        }
    }

    fn mock_number(&self, place: Place, index: usize) -> u32 {
        let program = &self.program;
        let before = match place {
            Place::Setup => 0,
            Place::Cpu(cpu) => {
                let earlier = program.cpus[..usize::from(cpu)].iter().map(Vec::len).sum::<usize>();
                program.setup.len() + earlier
            }
            Place::Finally | Place::Exit => {
                program.setup.len() + program.cpus.iter().map(Vec::len).sum::<usize>()
            }
        };
        (program.pdevs.len() + before + index) as u32
    }

    /// A driver binds its device to the file, as VFIO does when user space tells it to.
    fn bind(&self, step: &Step) -> Result<Answer, Skipped> {
        let dev = self.pdevs.with(|p| p[self.num_of(&step.args[0])]);
        self.with_file(self.fd(&step.file)?, |filp| {
            let ret = match filp.ictx.peek() {
                Some(ictx) => iommufd_device_bind(ictx, dev),
                None => Err(Errno::EBADF),
            };
            Ok(match ret {
                Err(e) => Err::<(), _>(e).into(),
                Ok((idev, id)) => {
                    let bound = Bound { idev, attached: false, unbound: false };
                    self.state.with(|st| st.bound.push(bound));
                    Answer { ret: Ok(()), out: vec![Value::Device(id, idev)], entry_num: None }
                }
            })
        })
    }

    /// The checks at quiescence, with what drivers and user space hold.
    fn check_quiescent(&self) {
        let outside = self.state.with(|st| Outside {
            given_up: st.bound.iter().filter(|b| b.unbound).map(|b| b.idev).collect(),
            mapped: st.vmas.iter().flatten().map(|(owner, _)| *owner).collect(),
        });
        check_quiescent(&outside);

        let Some(files) = self.files.get() else { return };
        let owned = self.state.with(|st| st.owned.ids.clone());
        for (fd, id, goes_with_device) in owned {
            let filp = files.fd.get(fd).and_then(Plain::peek);
            if let (Some(filp), false) = (filp, goes_with_device) {
                check_owned_id(filp, id);
            }
        }
    }

    fn num_of(&self, operand: &Operand) -> usize {
        match operand {
            Operand::Num(n) => *n as usize,
            Operand::Sym(_) | Operand::Entries(_) => 0,
        }
    }

    fn set_attached(&self, idev: Ptr<Device>, attached: bool) -> bool {
        self.state.with(|st| {
            let bound = st.bound.iter_mut().find(|b| b.idev.is(idev));
            bound.is_some_and(|b| std::mem::replace(&mut b.attached, attached))
        })
    }

    fn detach(&self, idev: Ptr<Device>) {
        if self.set_attached(idev, false) {
            (self.rev.iommufd_device_detach)(idev, IOMMU_NO_PASID);
        }
    }

    /// As `vfio_iommufd_physical_unbind()`: detaches first, then lets the device go.
    fn unbind(&self, idev: Ptr<Device>) {
        self.detach(idev);
        let unbound = self.state.with(|st| {
            let at = st.bound.iter().position(|b| b.idev.is(idev));
            at.is_none_or(|i| st.bound.remove(i).unbound)
        });
        if !unbound {
            iommufd_device_unbind(idev);
        }
    }

    /// A driver that forgets to detach first: iommufd_device_unbind() and nothing else.
    fn unbind_attached(&self, idev: Ptr<Device>) {
        let again = self.state.with(|st| {
            let bound = st.bound.iter_mut().find(|b| b.idev.is(idev));
            bound.is_none_or(|b| std::mem::replace(&mut b.unbound, true))
        });
        if !again {
            iommufd_device_unbind(idev);
        }
    }

    /// device_unregister(): the bus lets the device go, once.
    fn unplug(&self, pdev: usize) {
        if self.state.with(|st| std::mem::replace(&mut st.plugged[pdev], false)) {
            put_device(self.pdevs.with(|p| p[pdev]));
        }
    }

    fn make_pdevs(&self) {
        let mut groups: Vec<(u32, Ptr<IommuGroup>)> = Vec::new();
        for (i, pdev) in self.program.pdevs.iter().enumerate() {
            let group = match groups.iter().find(|(number, _)| *number == pdev.group) {
                Some((_, group)) => *group,
                None => {
                    groups.push((pdev.group, immortal(IommuGroup::new)));
                    groups[groups.len() - 1].1
                }
            };
            let dev = immortal(|owner| {
                let mut dev = StructDevice::new(owner, i as u32, pdev.group, pdev.iommu);
                dev.vdevice_size = pdev.vdevice_size;
                dev.reserved = pdev.reserved;
                dev
            });
            dev.iommu_group.set(Some(group));
            self.pdevs.with(|p| p.push(dev));
        }
    }

    /// What a process that exits does: drivers unbind, descriptors are closed.
    fn exit(&self) {
        loop {
            let bound = self.state.with(|st| st.bound.first().map(|b| b.idev));
            let Some(idev) = bound else { break };
            self.unbind(idev);
            sync::return_to_user();
        }
        // exit_mm() comes before exit_files().
        for vma in 0..self.state.with(|st| st.vmas.len()) {
            let _unmapped_before = self.munmap(vma);
            sync::return_to_user();
        }
        let fds = self.files.get().map_or(0, |files| files.fd.len());
        for fd in 0..fds {
            let _never_open = self.close(fd);
            sync::return_to_user();
            task_work_run();
            sync::return_to_user();
        }
    }
}

impl Value {
    fn number(self) -> u64 {
        match self {
            Value::Id(id) => id,
            Value::Device(id, _) => u64::from(id),
            Value::File(n) | Value::Mapping(n) => n as u64,
        }
    }
}

impl Guest for World {
    fn setup(&self) {
        self.make_pdevs();
        let opens = all_steps(&self.program).filter(|s| opens_file(s.call)).count();
        let files = immortal(|owner| Files {
            file_lock: Spinlock::new(owner.field("file_lock")),
            fd: (0..=opens).map(|_| Plain::marked(owner.field("fd"), None)).collect(),
        });
        self.files.set(Some(files));
        if all_steps(&self.program).any(|s| s.call == Call::UffdioCopy) {
            self.userfault.set(Some(immortal(Userfault::new)));
        }
        if self.open().is_err() {
            return;
        }
        for (i, step) in self.program.setup.iter().enumerate() {
            self.run(Place::Setup, i, step);
        }
    }

    fn cpu(&self, cpu: Cpu) {
        for (i, step) in self.program.cpus[usize::from(cpu)].iter().enumerate() {
            self.run(Place::Cpu(cpu), i, step);
        }
    }

    fn finally(&self) {
        self.check_quiescent();
        for (i, step) in self.program.finally.iter().enumerate() {
            self.run(Place::Finally, i, step);
        }
        self.exit();
        let plugged = self.state.with(|st| st.plugged.clone());
        let pdevs = self.pdevs.with(|p| p.clone());
        let devices: Vec<_> = pdevs.into_iter().zip(plugged).collect();
        check_released(&devices);
        report_leaks();
        report_races();
    }

    fn report(&self, outcome: &mut Outcome) {
        // A kernel that stopped in the middle of a call has not said that something was made to
        // fail in it.
        for cpu in 0..CPUS_MAX as Cpu {
            let running = self.state.with(|st| st.running[usize::from(cpu)]);
            let (Some((place, index)), true) = (running, fault::injected(cpu)) else { continue };
            self.state.with(|st| {
                let made = st.results.iter_mut().find(|r| (r.place, r.index) == (place, index));
                if let Some(result) = made {
                    result.injected = true;
                }
            });
        }
        outcome.results = self.state.with(|st| std::mem::take(&mut st.results));
        outcome.lock_order = lockdep::edges();
    }

    fn takes_for_granted(&self, splat: &Splat) -> bool {
        let given = &self.program.given;
        splat.kind.goes_on() && !given.is_empty() && {
            let text = splat.to_string();
            given.iter().any(|g| text.contains(g.as_str()))
        }
    }

    fn graph(&self) -> Graph {
        graph::graph()
    }

    fn names(&self) -> Vec<(u32, String)> {
        self.state.with(|st| st.names.clone())
    }
}

/// The answer of a call that gives out a descriptor and nothing else.
fn descriptor(fd: Result<usize, Errno>) -> Answer {
    match fd {
        Ok(fd) => Answer { ret: Ok(()), out: vec![Value::File(fd)], entry_num: None },
        Err(e) => Err::<(), _>(e).into(),
    }
}

/// A handler that the row has, or the answer of a kernel that has it not.
fn exists<F, R>(
    handler: Option<F>,
    missing: Errno,
    call: impl FnOnce(F) -> Result<R, Errno>,
) -> Result<R, Errno> {
    handler.map_or(Err(missing), call)
}

/// Whether the row has the ioctl at all: the dispatcher says so before it looks at anything.
fn has_ioctl(rev: &Revision, call: Call) -> bool {
    match call {
        Call::ViommuAlloc => rev.iommufd_viommu_alloc_ioctl.is_some(),
        Call::VdeviceAlloc => rev.iommufd_vdevice_alloc_ioctl.is_some(),
        Call::ViommuSetVdevId => rev.iommufd_viommu_set_vdev_id.is_some(),
        Call::ViommuUnsetVdevId => rev.iommufd_viommu_unset_vdev_id.is_some(),
        Call::FaultAlloc => rev.iommufd_fault_alloc.is_some(),
        Call::VeventqAlloc => rev.iommufd_veventq_alloc.is_some(),
        Call::IoasChangeProcess => rev.iommufd_ioas_change_process.is_some(),
        Call::HwQueueAlloc => rev.iommufd_hw_queue_alloc_ioctl.is_some(),
        Call::IoasMapFile => rev.iommufd_ioas_map_file.is_some(),
        _ => true,
    }
}

/// Whether a call gives out a descriptor.
fn opens_file(call: Call) -> bool {
    signature(call).outs.iter().any(|out| out.kind == ArgKind::File)
}

/// What a call that succeeded gave out, against what the program expects of it.
fn check_outputs(step: &Step, answer: &Answer) {
    for (index, wanted) in &step.expect_out {
        let index = usize::from(*index);
        let got = answer.out.get(index).map(|value| value.number());
        if got != Some(*wanted) {
            let name = signature(step.call).outs.get(index).map_or("?", |out| out.name);
            let got = got.map_or("nothing".to_string(), |n| format!("{n:#x}"));
            let detail = format!("{} gave {name} = {got}, expected {wanted:#x}", step.text);
            sync::splat_at_exit(Kind::UnexpectedAnswer, detail);
        }
    }
}

/// What read(2) of an event queue's file gave out: the bytes, and fields of the first event.
fn read_answer(call: Call, read: &ReadOut) -> Answer {
    let mut out = vec![read.bytes];
    if call == Call::ReadPgfault {
        let first = read.faults.first();
        out.extend(first.into_iter().flat_map(|f| [f.dev_id, f.cookie]).map(u64::from));
    } else {
        out.extend(read.words.iter().copied().map(u64::from));
    }
    Answer { ret: Ok(()), out: out.into_iter().map(Value::Id).collect(), entry_num: None }
}

fn vdev_id(args: &[u64; 12]) -> ViommuVdevId {
    ViommuVdevId { viommu_id: args[0], dev_id: args[1], vdev_id: args[2] }
}

fn hwpt_alloc(args: &Args) -> HwptAlloc {
    // __reserved2 is padding that nobody looks at.
    let [dev_id, pt_id, flags, ty, len, fault_id, reserved, _, iotlb, uptr, ..] = *args;
    HwptAlloc {
        dev_id,
        pt_id,
        flags,
        data: UserData { ty, len, bad_uptr: uptr != AUTO, iotlb: iotlb as u32 },
        fault_id,
        reserved,
    }
}

fn hwpt_invalidate(args: &Args, entries: &Operand) -> HwptInvalidate {
    let [hwpt_id, _, data_type, entry_len, entry_num, data_uptr, reserved, ..] = *args;
    let entries: Vec<Entry> = match entries {
        Operand::Entries(entries) => entries.clone(),
        Operand::Num(_) | Operand::Sym(_) => Vec::new(),
    };
    HwptInvalidate {
        hwpt_id,
        data_uptr,
        // SELFTEST means the type that fits the object: the drivers resolve it.
        data_type: if data_type == AUTO - 1 { AUTO } else { data_type },
        entry_len,
        entry_num: or_auto(entry_num, entries.len() as u64),
        reserved,
        entries,
    }
}
