//! Interprets a [`Litmus`]: a program written directly in kernel primitives.
//!
//! Every instruction calls the primitive that it names, so a litmus program meets the same steps,
//! the same splats and the same scheduler as the kernel model. Its locks, static counters, xarrays
//! and wait queues are fields of one object, `litmus#0`, which is never freed.

use std::ops::Deref;
use std::rc::Rc;

use uapi::litmus::{
    errno_value, Count, Entry, Insn, Litmus, Src, REGS, STATICS_MAX, XA_NULL, XA_ZERO,
};
use uapi::outcome::Outcome;
use uapi::pick::ModelError;
use uapi::splat::Kind;
use uapi::step::{Access, Accesses, Cpu, Mode, Site};
use uapi::trace::{Graph, GraphObject, Val};
use uapi::Errno;

use crate::linux::device::{device_touch, get_device, put_device, Device};
use crate::linux::file::{get_from, Place};
use crate::linux::mutex::{
    lockdep_assert_held, lockdep_assert_not_held, mutex_lock, mutex_trylock, mutex_unlock, Mutex,
};
use crate::linux::refcount::{
    refcount_add, refcount_dec, refcount_dec_and_test, refcount_dec_if_one, refcount_inc,
    refcount_inc_not_zero, refcount_read, refcount_set, refcount_sub_and_test, Refcount,
};
use crate::linux::rwsem::{
    down_read, down_read_trylock, down_write, lockdep_assert_held_read, lockdep_assert_held_write,
    up_read, up_write, Rwsem,
};
use crate::linux::slab::{self, kfree, kzalloc, Owner, Plain, Ptr, Struct};
use crate::linux::spinlock::{lockdep_assert_held_spin, spin_lock, spin_unlock, Spinlock};
use crate::linux::uaccess::{copy_from_user, copy_to_user};
use crate::linux::wait::{
    wait_event, wait_event_interruptible, wait_event_interruptible_timeout, wait_event_timeout,
    wake_up_all, wake_up_interruptible_all, Condition, WaitQueue,
};
use crate::linux::warn::warn_on;
use crate::linux::xarray::{
    lockdep_assert_held_xa, xa_alloc, xa_cmpxchg_slot, xa_destroy, xa_empty, xa_erase, xa_find,
    xa_insert, xa_load, xa_lock, xa_lock_index, xa_lock_index_read, xa_release, xa_reserve,
    xa_store_slot, xa_unlock, xa_unlock_index, xas_load_rcu, xas_store, Slot, XArray,
};
use crate::linux::{fault, kcsan, lockdep};
use crate::sync::{self, Cell, Guest, GuestMaker};

/// How long `WaitRefcount` and `AwaitTimeout` sleep at most, in virtual milliseconds.
const TIMEOUT_MS: u64 = 60_000;

/// How many variables one step can touch: the capacity of `Accesses`.
const VARS_MAX: usize = 5;

// ---------------------------------------------------------------------------------------------
// The objects of a program
// ---------------------------------------------------------------------------------------------

/// What `Kzalloc` allocates.
struct Obj {
    /// The slot of the program that it was allocated for.
    name: u8,
    users: Refcount,
    mutex: Mutex,
    var: Plain<i64>,
}

impl Struct for Obj {
    const NAME: &'static str = "obj";
}

/// The locks, counters, arrays and wait queues that are there from the start.
struct Statics {
    mutexes: Vec<Mutex>,
    rwsems: Vec<Rwsem>,
    spinlocks: Vec<Spinlock>,
    counts: Vec<Refcount>,
    xarrays: Vec<XArray<Obj>>,
    waitqueues: Vec<WaitQueue>,
}

impl Struct for Statics {
    const NAME: &'static str = "litmus";
}

macro_rules! names {
    ($name:ident, $prefix:literal) => {
        names!($name, $prefix, 0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15);
    };
    ($name:ident, $prefix:literal, $($n:literal)*) => {
        const $name: [&str; STATICS_MAX] = [$(concat!($prefix, $n)),*];
    };
}

names!(MUTEX, "mutex");
names!(RWSEM, "rwsem");
names!(SPINLOCK, "lock");
names!(COUNT, "count");
names!(XARRAY, "xa");
names!(WAITQUEUE, "wq");

impl Statics {
    fn new(program: &Prepared, owner: Owner) -> Statics {
        fn all<T>(n: usize, names: &[&'static str], make: impl Fn(&'static str) -> T) -> Vec<T> {
            names.iter().take(n).map(|path| make(path)).collect()
        }
        let steps = program.unlock_steps;
        let counts = program.counts.iter().zip(COUNT);
        let xarrays = program.xarrays.iter().zip(XARRAY);
        Statics {
            mutexes: all(program.mutexes.into(), &MUTEX, |path| mutex(owner, path, steps)),
            rwsems: all(program.rwsems.into(), &RWSEM, |path| {
                let field = owner.field(path);
                if steps {
                    Rwsem::with_unlock_step(field)
                } else {
                    Rwsem::new(field)
                }
            }),
            spinlocks: all(program.spinlocks.into(), &SPINLOCK, |path| {
                Spinlock::new(owner.field(path))
            }),
            counts: counts.map(|(value, path)| Refcount::new(owner.field(path), *value)).collect(),
            xarrays: xarrays
                .enumerate()
                .map(|(i, (flags, path))| {
                    if program.raw & 1 << i != 0 {
                        XArray::with_raw_readers(owner.field(path), *flags)
                    } else {
                        XArray::new(owner.field(path), *flags)
                    }
                })
                .collect(),
            waitqueues: all(program.waitqueues.into(), &WAITQUEUE, |path| {
                WaitQueue::new(owner.field(path))
            }),
        }
    }
}

fn mutex(owner: Owner, path: &'static str, unlock_step: bool) -> Mutex {
    let field = owner.field(path);
    if unlock_step {
        Mutex::with_unlock_step(field)
    } else {
        Mutex::new(field)
    }
}

/// A program, with what is known about all its executions.
struct Prepared {
    litmus: Litmus,
    /// Arrays of which some instruction shows slots as they are. One bit each.
    raw: u16,
}

impl Deref for Prepared {
    type Target = Litmus;

    fn deref(&self) -> &Litmus {
        &self.litmus
    }
}

fn raw_readers(program: &Litmus) -> u16 {
    let lists = program.threads.iter().chain([&program.setup, &program.finally]);
    let raw = lists.flatten().filter_map(|insn| match *insn {
        Insn::XasLoad { xa, .. } | Insn::XasStore { xa, .. } => Some(1 << xa),
        _ => None,
    });
    raw.fold(0, |all, one: u16| all | one)
}

/// One execution of a program.
struct Run {
    program: Rc<Prepared>,
    /// Number of the first variable as explorers see it; the others follow.
    first_var: u32,
    vars: Vec<Cell<i64>>,
    statics: Ptr<Statics>,
    ptrs: Vec<Cell<Option<Ptr<Obj>>>>,
    devices: Vec<Ptr<Device>>,
    /// By thread, and one set for setup and finally.
    regs: Vec<Cell<[i64; REGS]>>,
}

impl Run {
    fn new(program: &Rc<Prepared>) -> Run {
        let statics = slab::immortal(|owner| Statics::new(program, owner));
        let devices =
            (0..program.devices).map(|i| slab::immortal(|o| Device::new(o, i.into(), 0, 0)));
        let devices = devices.collect();
        let mut vars = program.vars.iter().map(|_| sync::object());
        let first_var = vars.next().unwrap_or(0);
        vars.for_each(drop);
        Run {
            first_var,
            vars: program.vars.iter().map(|v| Cell::new(*v)).collect(),
            statics,
            ptrs: (0..program.ptrs).map(|_| Cell::new(None)).collect(),
            devices,
            regs: (0..=program.threads.len()).map(|_| Cell::new([0; REGS])).collect(),
            program: program.clone(),
        }
    }
}

// ---------------------------------------------------------------------------------------------
// Instructions
// ---------------------------------------------------------------------------------------------

/// What one thread needs to run.
struct Thread<'a> {
    run: &'a Run,
    regs: &'a Cell<[i64; REGS]>,
}

#[track_caller]
fn here() -> Site {
    sync::site(std::panic::Location::caller())
}

fn errno<T>(result: Result<T, Errno>, ok: impl FnOnce(T) -> i64) -> i64 {
    match result {
        Ok(value) => ok(value),
        Err(e) => errno_value(e),
    }
}

/// An entry as the instructions encode it in a register.
fn encoded(slot: Slot<Obj>) -> i64 {
    match slot {
        Slot::Null => XA_NULL,
        Slot::Zero => XA_ZERO,
        Slot::Ptr(obj) => obj.name.into(),
    }
}

fn entry_result(result: Result<Option<Ptr<Obj>>, Errno>) -> i64 {
    errno(result, |old| encoded(old.into()))
}

impl Thread<'_> {
    fn get(&self, reg: u8) -> i64 {
        self.regs.with(|r| r[usize::from(reg)])
    }

    fn set(&self, reg: u8, value: i64) {
        self.regs.with(|r| r[usize::from(reg)] = value);
    }

    fn src(&self, src: Src) -> i64 {
        match src {
            Src::Imm(value) => value,
            Src::Reg(reg) => self.get(reg),
        }
    }

    fn var(&self, var: u8) -> &Cell<i64> {
        &self.run.vars[usize::from(var)]
    }

    fn var_access(&self, var: u8, mode: Mode) -> Access {
        Access::all(self.run.first_var + u32::from(var), mode)
    }

    fn named(&self, ptr: u8) -> Option<Ptr<Obj>> {
        self.run.ptrs[usize::from(ptr)].get()
    }

    /// Dereferences a name.
    fn obj(&self, ptr: u8) -> Ptr<Obj> {
        self.named(ptr).unwrap_or_else(|| sync::stop(Kind::NullDeref, here(), format!("p{ptr}")))
    }

    fn count(&self, count: Count) -> Ptr<Refcount> {
        match count {
            Count::Static(i) => self.run.statics.project(|s| &s.counts[usize::from(i)]),
            Count::Obj(ptr) => self.obj(ptr).project(|obj| &obj.users),
        }
    }

    fn xa(&self, xa: u8) -> &XArray<Obj> {
        &self.statics().xarrays[usize::from(xa)]
    }

    fn wq(&self, wq: u8) -> &WaitQueue {
        &self.statics().waitqueues[usize::from(wq)]
    }

    fn statics(&self) -> &Statics {
        &self.run.statics
    }

    fn entry(&self, entry: Entry) -> Slot<Obj> {
        match entry {
            Entry::Null => Slot::Null,
            Entry::Zero => Slot::Zero,
            Entry::Ptr(ptr) => self.named(ptr).into(),
        }
    }

    fn list(&self, insns: &[Insn]) {
        let mut next = 0;
        while let Some(insn) = insns.get(next) {
            next += 1 + self.insn(insn);
        }
    }

    /// Makes one instruction; gives how many to skip after it.
    fn insn(&self, insn: &Insn) -> usize {
        match *insn {
            Insn::Set { .. } | Insn::SkipUnless { .. } => {
                return self.simple(insn, &mut OnVars::default());
            }
            Insn::Load { .. }
            | Insn::Store { .. }
            | Insn::FetchAdd { .. }
            | Insn::CmpXchg { .. }
            | Insn::Atomic { .. } => self.on_vars(insn),
            Insn::Assert { reg, value } => {
                let found = self.get(reg);
                if found != value {
                    let detail = format!("r{reg} == {value}, but it is {found}");
                    sync::stop(Kind::Assertion, here(), detail);
                }
            }
            Insn::Await { var, value } => {
                self.await_var("await", var, value, None);
            }
            Insn::AwaitTimeout { reg, var, value } => {
                let timer = Some((sync::object(), TIMEOUT_MS));
                let held = self.await_var("await_timeout", var, value, timer);
                self.set(reg, i64::from(held));
            }
            Insn::MutexLock(i) => mutex_lock(&self.statics().mutexes[usize::from(i)]),
            Insn::MutexUnlock(i) => mutex_unlock(&self.statics().mutexes[usize::from(i)]),
            Insn::MutexTrylock { reg, mutex } => {
                let taken = mutex_trylock(&self.statics().mutexes[usize::from(mutex)]);
                self.set(reg, i64::from(taken));
            }
            Insn::SpinLock(i) => spin_lock(&self.statics().spinlocks[usize::from(i)]),
            Insn::SpinUnlock(i) => spin_unlock(&self.statics().spinlocks[usize::from(i)]),
            Insn::DownRead(i) => down_read(&self.statics().rwsems[usize::from(i)]),
            Insn::UpRead(i) => up_read(&self.statics().rwsems[usize::from(i)]),
            Insn::DownWrite(i) => down_write(&self.statics().rwsems[usize::from(i)]),
            Insn::UpWrite(i) => up_write(&self.statics().rwsems[usize::from(i)]),
            Insn::DownReadTrylock { reg, rwsem } => {
                let taken = down_read_trylock(&self.statics().rwsems[usize::from(rwsem)]);
                self.set(reg, i64::from(taken));
            }
            Insn::AssertHeld(i) => lockdep_assert_held(&self.statics().mutexes[usize::from(i)]),
            Insn::AssertNotHeld(i) => {
                lockdep_assert_not_held(&self.statics().mutexes[usize::from(i)]);
            }
            Insn::AssertHeldSpin(i) => {
                lockdep_assert_held_spin(&self.statics().spinlocks[usize::from(i)]);
            }
            Insn::AssertHeldRead(i) => {
                lockdep_assert_held_read(&self.statics().rwsems[usize::from(i)]);
            }
            Insn::AssertHeldWrite(i) => {
                lockdep_assert_held_write(&self.statics().rwsems[usize::from(i)]);
            }
            Insn::Kzalloc { .. }
            | Insn::Kfree { .. }
            | Insn::ObjLoad { .. }
            | Insn::ObjStore { .. }
            | Insn::ObjMutexLock { .. }
            | Insn::ObjMutexUnlock { .. }
            | Insn::PtrEq { .. } => self.on_heap(insn),
            Insn::RefcountSet { .. }
            | Insn::RefcountRead { .. }
            | Insn::RefcountInc { .. }
            | Insn::Fget { .. }
            | Insn::RefcountAdd { .. }
            | Insn::RefcountDec { .. }
            | Insn::RefcountIncNotZero { .. }
            | Insn::RefcountDecAndTest { .. }
            | Insn::RefcountSubAndTest { .. }
            | Insn::RefcountDecIfOne { .. } => self.on_count(insn),
            Insn::WaitRefcount { .. } | Insn::WaitVar { .. } => self.waits(insn),
            Insn::WakeUp { wq, all: true } => wake_up_all(self.wq(wq)),
            Insn::WakeUp { wq, all: false } => wake_up_interruptible_all(self.wq(wq)),
            Insn::GetDevice(i) => {
                get_device(self.run.devices[usize::from(i)]);
            }
            Insn::PutDevice(i) => put_device(self.run.devices[usize::from(i)]),
            Insn::TouchDevice(i) => device_touch(self.run.devices[usize::from(i)]),
            Insn::CopyFromUser { reg, bad } => {
                let ret = copy_from_user(bad);
                self.set(reg, errno(ret, |()| 0));
            }
            Insn::CopyToUser { reg, bad } => {
                let ret = copy_to_user(bad);
                self.set(reg, errno(ret, |()| 0));
            }
            Insn::FailNth { nth } => fault::arm(nth),
            Insn::FailCount { reg } => self.set(reg, fault::count().into()),
            Insn::WarnOn { reg } => {
                warn_on(self.get(reg) != 0);
            }
            Insn::ReturnToUser => lockdep::return_to_user(here()),
            _ => self.on_xarray(insn),
        }
        0
    }

    /// Sleeps until the variable has the value, without a wait queue.
    fn await_var(&self, op: &'static str, var: u8, value: i64, timer: Option<(u32, u64)>) -> bool {
        let mut accesses = Accesses::new();
        accesses.push(self.var_access(var, Mode::Read));
        let holds = || self.var(var).get() == value;
        sync::sleep_step(op, here(), accesses, timer, &holds, |effect, _fired| {
            let held = holds();
            effect.log(|| (vec![var_val(var), Val::Num(value)], Val::Bool(held)));
            held
        })
    }

    /// One instruction on variables and registers, without announcing it. Gives how many to skip.
    fn simple(&self, insn: &Insn, done: &mut OnVars) -> usize {
        match *insn {
            Insn::Set { reg, src } => self.set(reg, self.src(src)),
            Insn::SkipUnless { reg, value, skip } => {
                return if self.get(reg) == value { 0 } else { skip.into() };
            }
            Insn::Load { reg, var } => {
                let value = self.var(var).get();
                self.set(reg, value);
                done.log(|| (vec![var_val(var)], Val::Num(value)));
            }
            Insn::Store { var, src } => {
                let value = self.src(src);
                done.log(|| (vec![var_val(var), Val::Num(value)], Val::Void));
                self.write(var, value, done);
            }
            Insn::FetchAdd { reg, var, add } => {
                let value = self.var(var).get();
                done.log(|| (vec![var_val(var), Val::Num(add)], Val::Num(value)));
                self.write(var, value.wrapping_add(add), done);
                self.set(reg, value);
            }
            Insn::CmpXchg { reg, var, old, new } => {
                let value = self.var(var).get();
                let (old, new) = (self.src(old), self.src(new));
                done.log(|| (vec![var_val(var), Val::Num(old), Val::Num(new)], Val::Num(value)));
                if value == old {
                    self.write(var, new, done);
                }
                self.set(reg, value);
            }
            // Refused by `check`.
            _ => {}
        }
        0
    }

    fn write(&self, var: u8, value: i64, done: &mut OnVars) {
        self.var(var).set(value);
        let obj = self.run.first_var + u32::from(var);
        if let Some(i) = done.announced.iter().position(|a| *a == obj) {
            done.written |= 1 << i;
        }
    }

    fn on_vars(&self, insn: &Insn) {
        let one = std::slice::from_ref(insn);
        let (op, list) = match insn {
            Insn::Load { .. } => ("load", one),
            Insn::Store { .. } => ("store", one),
            Insn::FetchAdd { .. } => ("fetch_add", one),
            Insn::CmpXchg { .. } => ("cmpxchg", one),
            Insn::Atomic { body } => ("atomic", &body[..]),
            _ => return,
        };
        let mut accesses = Accesses::new();
        let mut announced = [u32::MAX; VARS_MAX];
        for insn in list {
            let Some((var, mode)) = touched(insn) else { continue };
            let access = self.var_access(var, mode);
            match accesses.iter_mut().find(|a: &&mut Access| a.obj == access.obj) {
                Some(known) if mode == Mode::Write => known.mode = mode,
                Some(_) => {}
                None => {
                    announced[accesses.len()] = access.obj;
                    accesses.push(access);
                }
            }
        }
        let n = accesses.len();
        sync::step(op, here(), accesses, |effect| {
            let mut done = OnVars {
                announced,
                tracing: effect.tracing(),
                written: 0,
                args: Vec::new(),
                result: None,
            };
            let mut next = 0;
            while let Some(insn) = list.get(next) {
                next += 1 + self.simple(insn, &mut done);
            }
            for i in (0..n).filter(|i| done.written & 1 << i == 0) {
                effect.only_read(i);
            }
            effect.log(|| (done.args, done.result.unwrap_or(Val::Void)));
        });
    }

    fn on_heap(&self, insn: &Insn) {
        match *insn {
            Insn::Kzalloc { reg, ptr, users } => {
                let unlock_steps = self.run.program.unlock_steps;
                let new = kzalloc(|owner| Obj {
                    name: ptr,
                    users: Refcount::new(owner.field("users"), users),
                    mutex: mutex(owner, "mutex", unlock_steps),
                    var: Plain::new(owner.field("var"), 0),
                });
                self.run.ptrs[usize::from(ptr)].set(new.ok());
                self.set(reg, errno(new, |_| 0));
            }
            // kfree(NULL) does nothing.
            Insn::Kfree { ptr } => {
                if let Some(obj) = self.named(ptr) {
                    kfree(obj);
                }
            }
            Insn::ObjLoad { reg, ptr } => self.set(reg, self.obj(ptr).var.load()),
            Insn::ObjStore { ptr, src } => self.obj(ptr).var.store(self.src(src)),
            Insn::ObjMutexLock { ptr } => mutex_lock(&self.obj(ptr).mutex),
            Insn::ObjMutexUnlock { ptr } => mutex_unlock(&self.obj(ptr).mutex),
            Insn::PtrEq { reg, ptr, other } => {
                let equal = match (self.named(ptr), self.named(other)) {
                    (Some(a), Some(b)) => a.same(b),
                    (None, None) => true,
                    _ => false,
                };
                self.set(reg, i64::from(equal));
            }
            _ => {}
        }
    }

    /// [`Insn::Fget`]: the variable is the table, and not 0 while the counter's owner is in it.
    fn fget(&self, var: u8, count: Count) -> bool {
        let mut accesses = Accesses::new();
        accesses.push(self.var_access(var, Mode::Read));
        let place = Place {
            name: var_val(var),
            field: None,
            accesses,
            entry: &|| (self.var(var).get() != 0).then(|| self.count(count)),
            count: &|count| count,
        };
        get_from(here(), &place).is_some()
    }

    fn on_count(&self, insn: &Insn) {
        match *insn {
            Insn::RefcountSet { count, value } => refcount_set(&self.count(count), value),
            Insn::RefcountRead { reg, count } => {
                self.set(reg, refcount_read(&self.count(count)).into());
            }
            Insn::RefcountInc { count } => refcount_inc(&self.count(count)),
            Insn::Fget { reg, var, count } => {
                self.set(reg, self.fget(var, count).into());
            }
            Insn::RefcountAdd { count, value } => refcount_add(value, &self.count(count)),
            Insn::RefcountDec { count } => refcount_dec(&self.count(count)),
            Insn::RefcountIncNotZero { reg, count } => {
                self.set(reg, refcount_inc_not_zero(&self.count(count)).into());
            }
            Insn::RefcountDecAndTest { reg, count } => {
                self.set(reg, refcount_dec_and_test(&self.count(count)).into());
            }
            Insn::RefcountSubAndTest { reg, count, value } => {
                self.set(reg, refcount_sub_and_test(value, &self.count(count)).into());
            }
            Insn::RefcountDecIfOne { reg, count } => {
                self.set(reg, refcount_dec_if_one(&self.count(count)).into());
            }
            _ => {}
        }
    }

    fn waits(&self, insn: &Insn) {
        match *insn {
            Insn::WaitRefcount { reg, wq, count, value, interruptible } => {
                let count = self.count(count);
                let at = here();
                let accesses = count.read_accesses();
                let holds = || {
                    count.field().check(at);
                    count.peek() == value
                };
                let condition = Condition { accesses: &accesses, holds: &holds };
                let left = if interruptible {
                    wait_event_interruptible_timeout(self.wq(wq), TIMEOUT_MS, &condition)
                } else {
                    Ok(wait_event_timeout(self.wq(wq), TIMEOUT_MS, &condition))
                };
                self.set(reg, errno(left, |left| i64::from(left > 0)));
            }
            Insn::WaitVar { wq, var, value, interruptible } => {
                let accesses = [self.var_access(var, Mode::Read)];
                let holds = || self.var(var).get() == value;
                let condition = Condition { accesses: &accesses, holds: &holds };
                if interruptible {
                    // No signal comes in a program.
                    let _never_interrupted = wait_event_interruptible(self.wq(wq), &condition);
                } else {
                    wait_event(self.wq(wq), &condition);
                }
            }
            _ => {}
        }
    }

    fn on_xarray(&self, insn: &Insn) {
        match *insn {
            Insn::XaLock(xa) => xa_lock(self.xa(xa)),
            Insn::XaUnlock(xa) => xa_unlock(self.xa(xa)),
            Insn::XaLockIndex { xa, index } => xa_lock_index(self.xa(xa), index),
            Insn::XaLockIndexRead { xa, index } => xa_lock_index_read(self.xa(xa), index),
            Insn::XaUnlockIndex { xa, index } => xa_unlock_index(self.xa(xa), index),
            Insn::XaAssertHeld(xa) => lockdep_assert_held_xa(self.xa(xa)),
            Insn::XaLoad { reg, xa, index } => {
                let found = xa_load(self.xa(xa), index);
                self.set(reg, encoded(found.into()));
            }
            Insn::XaLoadPtr { ptr, xa, index } => {
                let found = xa_load(self.xa(xa), index);
                self.run.ptrs[usize::from(ptr)].set(found);
            }
            Insn::XaStore { reg, xa, index, entry } => {
                let old = xa_store_slot(self.xa(xa), index, self.entry(entry));
                self.set(reg, entry_result(old));
            }
            Insn::XaErase { reg, xa, index } => {
                let old = xa_erase(self.xa(xa), index);
                self.set(reg, encoded(old.into()));
            }
            Insn::XaInsert { reg, xa, index, entry } => {
                let ret = xa_insert(self.xa(xa), index, self.entry(entry).ptr());
                self.set(reg, errno(ret, |()| 0));
            }
            Insn::XaCmpxchg { reg, xa, index, old, new } => {
                let (old, new) = (self.entry(old), self.entry(new));
                let previous = xa_cmpxchg_slot(self.xa(xa), index, old, new);
                self.set(reg, entry_result(previous));
            }
            Insn::XaAlloc { reg, xa, entry, max } => {
                let id = xa_alloc(self.xa(xa), self.entry(entry), max);
                self.set(reg, errno(id, i64::from));
            }
            Insn::XaReserve { reg, xa, index } => {
                let ret = xa_reserve(self.xa(xa), index);
                self.set(reg, errno(ret, |()| 0));
            }
            Insn::XaRelease { xa, index } => xa_release(self.xa(xa), index),
            Insn::XaEmpty { reg, xa } => {
                let empty = xa_empty(self.xa(xa));
                self.set(reg, empty.into());
            }
            Insn::XaForEach { reg, xa } => {
                let (mut seen, mut from) = (0, 0);
                while let Some((index, _)) = xa_find(self.xa(xa), from) {
                    seen += 1;
                    let Some(next) = index.checked_add(1) else { break };
                    from = next;
                }
                self.set(reg, seen);
            }
            Insn::XasLoad { reg, xa, index } => {
                let found = xas_load_rcu(self.xa(xa), index);
                self.set(reg, encoded(found));
            }
            Insn::XasStore { reg, xa, index, entry } => {
                let old = xas_store(self.xa(xa), index, self.entry(entry));
                self.set(reg, encoded(old));
            }
            Insn::XaDestroy(xa) => xa_destroy(self.xa(xa)),
            _ => {}
        }
    }
}

fn var_val(var: u8) -> Val {
    Val::Text(format!("x{var}"))
}

/// The variable that a simple instruction touches.
fn touched(insn: &Insn) -> Option<(u8, Mode)> {
    match *insn {
        Insn::Load { var, .. } => Some((var, Mode::Read)),
        Insn::Store { var, .. } | Insn::FetchAdd { var, .. } | Insn::CmpXchg { var, .. } => {
            Some((var, Mode::Write))
        }
        _ => None,
    }
}

/// What a step on variables does.
#[derive(Default)]
struct OnVars {
    /// The variables that the step announced, as explorers see them.
    announced: [u32; VARS_MAX],
    tracing: bool,
    /// One bit for each announced access.
    written: u8,
    args: Vec<Val>,
    result: Option<Val>,
}

impl OnVars {
    fn log(&mut self, f: impl FnOnce() -> (Vec<Val>, Val)) {
        if self.tracing {
            let (args, result) = f();
            self.args.extend(args);
            self.result = Some(result);
        }
    }
}

// ---------------------------------------------------------------------------------------------
// The execution
// ---------------------------------------------------------------------------------------------

impl Run {
    fn list(&self, regs: usize, insns: &[Insn]) {
        Thread { run: self, regs: &self.regs[regs] }.list(insns);
    }
}

impl Guest for Run {
    fn setup(&self) {
        self.list(self.program.threads.len(), &self.program.setup);
    }

    fn cpu(&self, cpu: Cpu) {
        self.list(usize::from(cpu), &self.program.threads[usize::from(cpu)]);
    }

    fn finally(&self) {
        self.list(self.program.threads.len(), &self.program.finally);
        if self.program.check_leaks {
            slab::report_leaks();
        }
        if self.program.check_races {
            kcsan::report_races();
        }
    }

    fn report(&self, outcome: &mut Outcome) {
        let threads = &self.regs[..self.program.threads.len()];
        outcome.state.reserve(threads.len() * REGS + self.vars.len());
        for regs in threads {
            outcome.state.extend(regs.get());
        }
        outcome.state.extend(self.vars.iter().map(Cell::get));
    }

    fn graph(&self) -> Graph {
        let objects = slab::live().into_iter().filter(|(_, ty)| *ty != Statics::NAME);
        let objects = objects.map(|(alloc, ty)| GraphObject {
            ty: ty.to_string(),
            alloc,
            id: None,
            fields: fields(alloc),
        });
        Graph { objects: objects.collect() }
    }
}

/// The fields of a live object that are worth showing.
fn fields(alloc: u32) -> Vec<(String, Val)> {
    if let Some(obj) = slab::by_ordinal::<Obj>(alloc) {
        return vec![
            ("users".to_string(), Val::Num(obj.users.peek().into())),
            ("mutex".to_string(), Val::Bool(obj.mutex.peek_held())),
            ("var".to_string(), Val::Num(obj.var.peek())),
        ];
    }
    let device = slab::by_ordinal::<Device>(alloc);
    device.map_or(Vec::new(), |d| vec![("kref".to_string(), Val::Num(d.kref.peek().into()))])
}

/// Runs `f` with what makes the executions of this program.
///
/// # Errors
///
/// What is malformed in the program, so that no instruction can go wrong later.
pub fn with_maker<R>(
    program: &Litmus,
    f: impl FnOnce(&GuestMaker<'_>) -> R,
) -> Result<R, ModelError> {
    check(program)?;
    let program = Rc::new(Prepared { raw: raw_readers(program), litmus: program.clone() });
    let make = || -> Rc<dyn Guest> { Rc::new(Run::new(&program)) };
    let maker = GuestMaker {
        cpus: program.threads.len(),
        timers: program.timers,
        orders: program.orders,
        mutation: None,
        watched: program.check_races,
        make: &make,
    };
    Ok(f(&maker))
}

// ---------------------------------------------------------------------------------------------
// Checking a program before it runs
// ---------------------------------------------------------------------------------------------

fn check(program: &Litmus) -> Result<(), ModelError> {
    let statics = [
        ("mutexes", program.mutexes.into()),
        ("rwsems", program.rwsems.into()),
        ("spinlocks", program.spinlocks.into()),
        ("static counters", program.counts.len()),
        ("xarrays", program.xarrays.len()),
        ("wait queues", program.waitqueues.into()),
    ];
    for (what, n) in statics {
        if n > STATICS_MAX {
            let why = format!("it has {n} {what}, {STATICS_MAX} is the most");
            return Err(ModelError::Malformed(why));
        }
    }
    if program.vars.len() > 256 {
        let why = format!("it has {} variables, 256 is the most", program.vars.len());
        return Err(ModelError::Malformed(why));
    }
    let checker = Checker { program, owners: owners(program)? };
    checker.list("setup", None, &program.setup)?;
    for (i, thread) in program.threads.iter().enumerate() {
        checker.list(&format!("thread {i}"), Some(i), thread)?;
    }
    checker.list("finally", None, &program.finally)
}

/// The slot that an instruction gives a value to.
fn assigned(insn: &Insn) -> Option<u8> {
    match *insn {
        Insn::Kzalloc { ptr, .. } | Insn::XaLoadPtr { ptr, .. } => Some(ptr),
        _ => None,
    }
}

/// Which thread each heap slot belongs to: the one that gives it a value. Such a slot is a local
/// variable of the thread, so that reading it is no step.
fn owners(program: &Litmus) -> Result<Vec<Option<usize>>, ModelError> {
    let mut owners = vec![None; usize::from(program.ptrs)];
    for (i, thread) in program.threads.iter().enumerate() {
        for ptr in thread.iter().filter_map(assigned) {
            let Some(owner) = owners.get_mut(usize::from(ptr)) else { continue };
            if owner.is_some_and(|o| o != i) {
                let why = format!("heap slot {ptr} is given a value by two threads");
                return Err(ModelError::Malformed(why));
            }
            *owner = Some(i);
        }
    }
    Ok(owners)
}

struct Checker<'a> {
    program: &'a Litmus,
    /// Which thread each heap slot belongs to.
    owners: Vec<Option<usize>>,
}

impl Checker<'_> {
    fn list(&self, place: &str, thread: Option<usize>, insns: &[Insn]) -> Result<(), ModelError> {
        for (i, insn) in insns.iter().enumerate() {
            let left = insns.len() - i - 1;
            self.insn(thread, insn, left)
                .map_err(|why| ModelError::Malformed(format!("{place}, instruction {i}: {why}")))?;
        }
        Ok(())
    }

    fn insn(&self, thread: Option<usize>, insn: &Insn, left: usize) -> Result<(), String> {
        let p = self.program;
        for reg in regs(insn).into_iter().flatten() {
            below("register", reg, REGS)?;
        }
        for ptr in ptrs(insn).into_iter().flatten() {
            below("heap slot", ptr, p.ptrs.into())?;
            if let (Some(me), Some(owner)) = (thread, self.owners[usize::from(ptr)]) {
                if me != owner {
                    return Err(format!(
                        "heap slot {ptr} is given a value by thread {owner} and belongs to it; \
                         use XaLoadPtr to get a pointer from another thread"
                    ));
                }
            }
        }
        if let Some((what, i, n)) = static_of(p, insn) {
            below(what, i, n)?;
        }
        if let Insn::WaitRefcount { wq, .. } | Insn::WaitVar { wq, .. } = *insn {
            below("wait queue", wq, p.waitqueues.into())?;
        }
        match insn {
            Insn::SkipUnless { skip, .. } if usize::from(*skip) > left => {
                Err(format!("it skips {skip} instructions, but {left} follow"))
            }
            Insn::Atomic { body } => self.atomic(body),
            Insn::MutexTrylock { .. } | Insn::DownReadTrylock { .. } if !p.unlock_steps => {
                Err("a trylock needs `unlock_steps`".to_string())
            }
            _ => Ok(()),
        }
    }

    fn atomic(&self, body: &[Insn]) -> Result<(), String> {
        let mut vars: Vec<u8> = Vec::new();
        for (i, insn) in body.iter().enumerate() {
            if !matches!(insn, Insn::Set { .. } | Insn::SkipUnless { .. }) {
                let (var, _) = touched(insn).ok_or(
                    "Atomic can hold Load, Store, FetchAdd, CmpXchg, Set and SkipUnless only",
                )?;
                if !vars.contains(&var) {
                    vars.push(var);
                }
            }
            self.insn(None, insn, body.len() - i - 1)?;
        }
        if vars.len() > VARS_MAX {
            return Err(format!("Atomic touches {} variables, {VARS_MAX} is the most", vars.len()));
        }
        Ok(())
    }
}

fn below(what: &str, i: u8, n: usize) -> Result<(), String> {
    if usize::from(i) < n {
        return Ok(());
    }
    Err(format!("there is no {what} {i}, the program has {n}"))
}

/// The registers that an instruction names.
fn regs(insn: &Insn) -> [Option<u8>; 3] {
    fn src(src: Src) -> Option<u8> {
        match src {
            Src::Imm(_) => None,
            Src::Reg(reg) => Some(reg),
        }
    }
    match *insn {
        Insn::Store { src: s, .. } | Insn::ObjStore { src: s, .. } => [src(s), None, None],
        Insn::Set { reg, src: s } => [Some(reg), src(s), None],
        Insn::CmpXchg { reg, old, new, .. } => [Some(reg), src(old), src(new)],
        Insn::Load { reg, .. }
        | Insn::FetchAdd { reg, .. }
        | Insn::AwaitTimeout { reg, .. }
        | Insn::SkipUnless { reg, .. }
        | Insn::Assert { reg, .. }
        | Insn::MutexTrylock { reg, .. }
        | Insn::DownReadTrylock { reg, .. }
        | Insn::Kzalloc { reg, .. }
        | Insn::ObjLoad { reg, .. }
        | Insn::PtrEq { reg, .. }
        | Insn::RefcountRead { reg, .. }
        | Insn::RefcountIncNotZero { reg, .. }
        | Insn::Fget { reg, .. }
        | Insn::RefcountDecAndTest { reg, .. }
        | Insn::RefcountSubAndTest { reg, .. }
        | Insn::RefcountDecIfOne { reg, .. }
        | Insn::XaLoad { reg, .. }
        | Insn::XaStore { reg, .. }
        | Insn::XaErase { reg, .. }
        | Insn::XaInsert { reg, .. }
        | Insn::XaCmpxchg { reg, .. }
        | Insn::XaAlloc { reg, .. }
        | Insn::XaReserve { reg, .. }
        | Insn::XaEmpty { reg, .. }
        | Insn::XaForEach { reg, .. }
        | Insn::XasLoad { reg, .. }
        | Insn::XasStore { reg, .. }
        | Insn::WaitRefcount { reg, .. }
        | Insn::CopyFromUser { reg, .. }
        | Insn::CopyToUser { reg, .. }
        | Insn::FailCount { reg }
        | Insn::WarnOn { reg } => [Some(reg), None, None],
        _ => [None; 3],
    }
}

fn count_of(insn: &Insn) -> Option<Count> {
    match *insn {
        Insn::RefcountSet { count, .. }
        | Insn::RefcountRead { count, .. }
        | Insn::RefcountInc { count }
        | Insn::Fget { count, .. }
        | Insn::RefcountAdd { count, .. }
        | Insn::RefcountDec { count }
        | Insn::RefcountIncNotZero { count, .. }
        | Insn::RefcountDecAndTest { count, .. }
        | Insn::RefcountSubAndTest { count, .. }
        | Insn::RefcountDecIfOne { count, .. }
        | Insn::WaitRefcount { count, .. } => Some(count),
        _ => None,
    }
}

/// The heap slots that an instruction names.
fn ptrs(insn: &Insn) -> [Option<u8>; 2] {
    fn entry(entry: Entry) -> Option<u8> {
        match entry {
            Entry::Ptr(ptr) => Some(ptr),
            Entry::Null | Entry::Zero => None,
        }
    }
    if let Some(Count::Obj(ptr)) = count_of(insn) {
        return [Some(ptr), None];
    }
    match *insn {
        Insn::Kzalloc { ptr, .. }
        | Insn::Kfree { ptr }
        | Insn::ObjLoad { ptr, .. }
        | Insn::ObjStore { ptr, .. }
        | Insn::ObjMutexLock { ptr }
        | Insn::ObjMutexUnlock { ptr }
        | Insn::XaLoadPtr { ptr, .. } => [Some(ptr), None],
        Insn::PtrEq { ptr, other, .. } => [Some(ptr), Some(other)],
        Insn::XaStore { entry: e, .. }
        | Insn::XaInsert { entry: e, .. }
        | Insn::XaAlloc { entry: e, .. }
        | Insn::XasStore { entry: e, .. } => [entry(e), None],
        Insn::XaCmpxchg { old, new, .. } => [entry(old), entry(new)],
        _ => [None; 2],
    }
}

/// The lock, counter, array, queue, device or variable that an instruction names, and how many of
/// them there are. The wait queue of a wait comes on top.
fn static_of(p: &Litmus, insn: &Insn) -> Option<(&'static str, u8, usize)> {
    if let Some((var, _)) = touched(insn) {
        return Some(("variable", var, p.vars.len()));
    }
    if let Some(Count::Static(i)) = count_of(insn) {
        return Some(("counter", i, p.counts.len()));
    }
    match *insn {
        Insn::Await { var, .. }
        | Insn::AwaitTimeout { var, .. }
        | Insn::WaitVar { var, .. }
        | Insn::Fget { var, .. } => Some(("variable", var, p.vars.len())),
        Insn::MutexLock(i)
        | Insn::MutexUnlock(i)
        | Insn::MutexTrylock { mutex: i, .. }
        | Insn::AssertHeld(i)
        | Insn::AssertNotHeld(i) => Some(("mutex", i, p.mutexes.into())),
        Insn::SpinLock(i) | Insn::SpinUnlock(i) | Insn::AssertHeldSpin(i) => {
            Some(("spinlock", i, p.spinlocks.into()))
        }
        Insn::DownRead(i)
        | Insn::UpRead(i)
        | Insn::DownWrite(i)
        | Insn::UpWrite(i)
        | Insn::DownReadTrylock { rwsem: i, .. }
        | Insn::AssertHeldRead(i)
        | Insn::AssertHeldWrite(i) => Some(("rwsem", i, p.rwsems.into())),
        Insn::XaLock(xa)
        | Insn::XaUnlock(xa)
        | Insn::XaLockIndex { xa, .. }
        | Insn::XaLockIndexRead { xa, .. }
        | Insn::XaUnlockIndex { xa, .. }
        | Insn::XaAssertHeld(xa)
        | Insn::XaLoad { xa, .. }
        | Insn::XaLoadPtr { xa, .. }
        | Insn::XaStore { xa, .. }
        | Insn::XaErase { xa, .. }
        | Insn::XaInsert { xa, .. }
        | Insn::XaCmpxchg { xa, .. }
        | Insn::XaAlloc { xa, .. }
        | Insn::XaReserve { xa, .. }
        | Insn::XaRelease { xa, .. }
        | Insn::XaEmpty { xa, .. }
        | Insn::XaForEach { xa, .. }
        | Insn::XasLoad { xa, .. }
        | Insn::XasStore { xa, .. }
        | Insn::XaDestroy(xa) => Some(("xarray", xa, p.xarrays.len())),
        Insn::WakeUp { wq, .. } => Some(("wait queue", wq, p.waitqueues.into())),
        Insn::GetDevice(i) | Insn::PutDevice(i) | Insn::TouchDevice(i) => {
            Some(("device", i, p.devices.into()))
        }
        _ => None,
    }
}
