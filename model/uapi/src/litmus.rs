//! Programs written directly in kernel primitives, without iommufd around them: unit tests of the
//! primitives, the golden programs of the explorers, random programs, and small races of a user's
//! own.

use crate::errno::Errno;
use crate::program::{Orders, Timers};
use serde::{Deserialize, Serialize};

/// A register of a thread.
pub type Reg = u8;

/// How a heap slot, lock or counter is named: by its index in the program.
pub type Idx = u8;

/// An operand of an instruction.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Src {
    /// A constant.
    Imm(i64),
    /// A register of this thread.
    Reg(Reg),
}

/// What an xarray slot can be compared with or hold.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Entry {
    /// Empty.
    Null,
    /// `XA_ZERO_ENTRY`
    Zero,
    /// The object in this heap slot of the program.
    Ptr(Idx),
}

/// One instruction. Every one that is not marked *local* is one step of the explorer.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[allow(missing_docs)] // the fields are operands; the line of each instruction says what they are
pub enum Insn {
    /// reg = READ_ONCE(var)
    Load { reg: Reg, var: Idx },
    /// WRITE_ONCE(var, src)
    Store { var: Idx, src: Src },
    /// reg = old value; var += add. A full read-modify-write.
    FetchAdd { reg: Reg, var: Idx, add: i64 },
    /// reg = old value; if it equals `old`, var = new. A full read-modify-write.
    CmpXchg { reg: Reg, var: Idx, old: Src, new: Src },
    /// Several of the instructions above (and jumps among them) as one step: a lock section that
    /// only touches what the lock protects.
    Atomic { body: Vec<Insn> },
    /// Sleeps until var == value (a wait queue whose condition reads one variable).
    Await { var: Idx, value: i64 },
    /// As `Await`, with a timer: reg = 1 if the condition held, 0 if the timer fired first.
    AwaitTimeout { reg: Reg, var: Idx, value: i64 },

    /// *Local.* reg = src
    Set { reg: Reg, src: Src },
    /// *Local.* Skips `skip` instructions if reg != value.
    SkipUnless { reg: Reg, value: i64, skip: u8 },
    /// *Local.* Stops the execution with an assertion splat unless reg == value.
    Assert { reg: Reg, value: i64 },

    /// mutex_lock()
    MutexLock(Idx),
    /// mutex_unlock(), a local step.
    MutexUnlock(Idx),
    /// spin_lock()
    SpinLock(Idx),
    /// spin_unlock(), a local step.
    SpinUnlock(Idx),
    /// down_read()
    DownRead(Idx),
    /// up_read(), a local step.
    UpRead(Idx),
    /// down_write()
    DownWrite(Idx),
    /// up_write(), a local step.
    UpWrite(Idx),
    /// reg = mutex_trylock() as 1 or 0.
    MutexTrylock { reg: Reg, mutex: Idx },
    /// reg = down_read_trylock() as 1 or 0.
    DownReadTrylock { reg: Reg, rwsem: Idx },
    /// lockdep_assert_held() of a mutex.
    AssertHeld(Idx),
    /// lockdep_assert_not_held() of a mutex.
    AssertNotHeld(Idx),
    /// lockdep_assert_held() of a spinlock.
    AssertHeldSpin(Idx),
    /// lockdep_assert_held_read()
    AssertHeldRead(Idx),
    /// lockdep_assert_held_write()
    AssertHeldWrite(Idx),

    /// ptr = kzalloc(); reg = 0 or -ENOMEM. An object contains one refcount (starting at `users`),
    /// one mutex and one variable, used through the `Obj…` instructions.
    Kzalloc { reg: Reg, ptr: Idx, users: i32 },
    /// kfree(ptr)
    Kfree { ptr: Idx },
    /// reg = ptr->var: a plain access.
    ObjLoad { reg: Reg, ptr: Idx },
    /// ptr->var = src: a plain access.
    ObjStore { ptr: Idx, src: Src },
    /// mutex_lock(&ptr->mutex)
    ObjMutexLock { ptr: Idx },
    /// mutex_unlock(&ptr->mutex)
    ObjMutexUnlock { ptr: Idx },
    /// reg = (ptr == other): compares addresses, whatever became of the objects.
    PtrEq { reg: Reg, ptr: Idx, other: Idx },

    /// refcount_set()
    RefcountSet { count: Count, value: i32 },
    /// reg = refcount_read()
    RefcountRead { reg: Reg, count: Count },
    /// refcount_inc()
    RefcountInc { count: Count },
    /// refcount_add()
    RefcountAdd { count: Count, value: i32 },
    /// reg = (var != 0), and if so, raises the counter: fget(), which looks into a table and takes
    /// a reference of what it finds there as one step.
    Fget { reg: Reg, var: Idx, count: Count },
    /// refcount_dec()
    RefcountDec { count: Count },
    /// reg = refcount_inc_not_zero()
    RefcountIncNotZero { reg: Reg, count: Count },
    /// reg = refcount_dec_and_test()
    RefcountDecAndTest { reg: Reg, count: Count },
    /// reg = refcount_sub_and_test()
    RefcountSubAndTest { reg: Reg, count: Count, value: i32 },
    /// reg = refcount_dec_if_one()
    RefcountDecIfOne { reg: Reg, count: Count },

    /// xa_lock() of the whole array.
    XaLock(Idx),
    /// xa_unlock(), a local step.
    XaUnlock(Idx),
    /// xa_lock() for a section that only touches this index.
    XaLockIndex { xa: Idx, index: u64 },
    /// xa_lock() for a section that only loads this index; sections like it need not exclude each
    /// other.
    XaLockIndexRead { xa: Idx, index: u64 },
    /// xa_unlock() of a section on one index, a local step.
    XaUnlockIndex { xa: Idx, index: u64 },
    /// lockdep_assert_held() of an xa_lock.
    XaAssertHeld(Idx),
    /// ptr = xa_load(): names what is stored there, NULL if nothing is.
    XaLoadPtr { ptr: Idx, xa: Idx, index: u64 },
    /// reg = xa_load(); results are encoded as [`XA_NULL`], [`XA_ZERO`], the heap slot, or -errno.
    XaLoad { reg: Reg, xa: Idx, index: u64 },
    /// reg = xa_store()
    XaStore { reg: Reg, xa: Idx, index: u64, entry: Entry },
    /// reg = xa_erase()
    XaErase { reg: Reg, xa: Idx, index: u64 },
    /// reg = xa_insert(): 0 or -errno.
    XaInsert { reg: Reg, xa: Idx, index: u64, entry: Entry },
    /// reg = xa_cmpxchg()
    XaCmpxchg { reg: Reg, xa: Idx, index: u64, old: Entry, new: Entry },
    /// reg = the id from xa_alloc() with limit `max`, or -errno.
    XaAlloc { reg: Reg, xa: Idx, entry: Entry, max: u32 },
    /// reg = xa_reserve(): 0 or -errno.
    XaReserve { reg: Reg, xa: Idx, index: u64 },
    /// xa_release()
    XaRelease { xa: Idx, index: u64 },
    /// reg = xa_empty()
    XaEmpty { reg: Reg, xa: Idx },
    /// reg = number of entries that xa_for_each() shows.
    XaForEach { reg: Reg, xa: Idx },
    /// reg = xas_load(), with the lock held: a reserved slot shows as [`XA_ZERO`].
    XasLoad { reg: Reg, xa: Idx, index: u64 },
    /// reg = xas_store(), with the lock held.
    XasStore { reg: Reg, xa: Idx, index: u64, entry: Entry },
    /// xa_destroy()
    XaDestroy(Idx),

    /// reg = 1 or 0: wait_event_timeout() on wait queue `wq` until the count reads `value`.
    WaitRefcount { reg: Reg, wq: Idx, count: Count, value: i32, interruptible: bool },
    /// wait_event() on wait queue `wq` until var == value: without a timer.
    WaitVar { wq: Idx, var: Idx, value: i64, interruptible: bool },
    /// wake_up_interruptible_all(), or wake_up_all() if `all`.
    WakeUp { wq: Idx, all: bool },

    /// get_device()
    GetDevice(Idx),
    /// put_device()
    PutDevice(Idx),
    /// A driver uses the device: a splat if it is gone.
    TouchDevice(Idx),

    /// reg = copy_from_user() as 0 or -EFAULT
    CopyFromUser { reg: Reg, bad: bool },
    /// reg = copy_to_user() as 0 or -EFAULT
    CopyToUser { reg: Reg, bad: bool },
    /// Arms fail_nth for this thread: the n-th fault-capable primitive from here fails.
    FailNth { nth: u32 },
    /// *Local.* reg = how many fault-capable primitives were passed since `FailNth`.
    FailCount { reg: Reg },
    /// WARN_ON(reg != 0)
    WarnOn { reg: Reg },
    /// The end of a system call: checks that no lock is held.
    ReturnToUser,
}

/// Result encoding of xarray instructions: an empty slot.
pub const XA_NULL: i64 = -1_000;
/// Result encoding of xarray instructions: the reserved entry.
pub const XA_ZERO: i64 = -1_001;
/// Result encoding of xarray instructions: a heap object whose slot of the program is unknown
/// (its slot was reused).
pub const XA_OTHER: i64 = -1_002;

/// The encoding of an error number in a register.
pub fn errno_value(e: Errno) -> i64 {
    -(e as i64)
}

/// Which counter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Count {
    /// A counter of its own.
    Static(Idx),
    /// The counter inside a heap object.
    Obj(Idx),
}

/// Flags of an xarray.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub enum XaFlags {
    /// xa_init()
    #[default]
    Plain,
    /// XA_FLAGS_ALLOC: ids from 0.
    Alloc,
    /// XA_FLAGS_ALLOC1: ids from 1.
    Alloc1,
}

/// A program.
#[derive(Clone, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub struct Litmus {
    /// The question it answers, for output.
    pub question: String,
    /// Initial values of the variables.
    pub vars: Vec<i64>,
    /// Initial values of the static counters.
    pub counts: Vec<i32>,
    /// Number of mutexes.
    pub mutexes: u8,
    /// Number of rwsems.
    pub rwsems: u8,
    /// Number of spinlocks.
    pub spinlocks: u8,
    /// The xarrays.
    pub xarrays: Vec<XaFlags>,
    /// Number of heap slots: names of pointers. A slot that a thread gives a value to is that
    /// thread's own (and `finally`'s); the others are set up by `setup` and shared. They start as
    /// NULL.
    pub ptrs: u8,
    /// Number of wait queues.
    pub waitqueues: u8,
    /// Number of struct devices, each starting with one reference.
    pub devices: u8,
    /// Runs first.
    pub setup: Vec<Insn>,
    /// Run concurrently.
    pub threads: Vec<Vec<Insn>>,
    /// Runs after all threads have finished.
    pub finally: Vec<Insn>,
    /// When timers fire.
    pub timers: Timers,
    /// What counters order.
    pub orders: Orders,
    /// Whether the unlocks of mutexes and rwsems are steps of their own: needed by trylocks, and
    /// by programs whose answer lies between the last step of a section and its end.
    #[serde(default)]
    pub unlock_steps: bool,
    /// Whether objects left at the end are leaks.
    pub check_leaks: bool,
    /// Whether plain accesses to objects that nothing orders are data races.
    #[serde(default)]
    pub check_races: bool,
}

/// Registers of a thread. Setup and `finally` share a set of their own, which no outcome shows.
pub const REGS: usize = 8;

/// How many mutexes, rwsems, spinlocks, static counters, xarrays and wait queues of each kind a
/// program can have.
pub const STATICS_MAX: usize = 16;
