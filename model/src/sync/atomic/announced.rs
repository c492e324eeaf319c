//! Words whose accesses a scheduler sees.
//!
//! On the backends that are sequentially consistent an access is an announced step on the word,
//! whatever its order. On loom it is an operation on one of loom's atomics with its real order, so
//! that loom explores which stores a load may read; nothing else of such an access is shown to
//! loom, because parking a thread or a condition variable would order what the code does not.

use super::super::*;
use super::{Entry, Order, Rmw, Wait};

/// How many times each CPU has to look in vain, and nobody writes, until a wait is over on loom,
/// where a load may give an old value and time does not pass. Loom keeps seven stores of a word, and
/// does not give an old one again to who has yielded.
#[cfg(feature = "backend-loom")]
const LOOKS_EACH: u32 = 16;

/// How many times a wait looks while somebody else never does. Among those who have yielded loom
/// lets the one go on that has done so least often, so two can look in turn until they have caught
/// up with a third: this must be more than all that an execution waits for.
#[cfg(feature = "backend-loom")]
const LOOKS_MAX: u32 = 5_000;

/// A word of 64 bits that several CPUs access without a lock.
pub struct Atomic {
    obj: u32,
    name: &'static str,
    index: u32,
    /// Which of several structs it is in; 0: the first, of which nothing is said.
    owner: u32,
    /// The last value in modification order.
    latest: Cell<u64>,
    #[cfg(feature = "backend-loom")]
    word: loom::sync::atomic::AtomicU64,
}

/// Says when the last of some CPUs has left, to one that waits for work. It orders nothing.
pub struct Gate {
    obj: u32,
    inside: Cell<u32>,
}

impl Rmw {
    fn of(self, old: u64) -> u64 {
        match self {
            Rmw::Add(n) => old.wrapping_add(n),
            Rmw::And(n) => old & n,
            Rmw::Or(n) => old | n,
            Rmw::Xor(n) => old ^ n,
        }
    }

    fn operand(self) -> u64 {
        match self {
            Rmw::Add(n) | Rmw::And(n) | Rmw::Or(n) | Rmw::Xor(n) => n,
        }
    }
}

impl Gate {
    /// A gate with so many CPUs inside.
    pub fn new(inside: u32) -> Gate {
        Gate { obj: crate::sync::object(), inside: Cell::new(inside) }
    }

    /// How many are inside.
    pub fn inside(&self) -> u32 {
        self.inside.get()
    }

    /// One leaves.
    pub fn leave(&self, at: Site) {
        let out = || self.inside.with(|n| *n = n.saturating_sub(1));
        #[cfg(feature = "backend-loom")]
        {
            let _ = at;
            out();
            exec().backend.wrote();
        }
        #[cfg(not(feature = "backend-loom"))]
        crate::sync::step("cpu_finished", at, one(self.obj, Mode::Write), |_| out());
    }
}

/// A slot of a ring that a device reads. The word stands for the command in it: see [`Entry`].
pub struct Slot(Atomic);

impl Slot {
    /// An empty slot of the struct with this number.
    pub fn new(name: &'static str, index: u32, owner: u32) -> Slot {
        Slot(Atomic::new(name, index, 0).of(owner))
    }

    /// The word that holds the first half of the command, over which a device may write.
    pub fn first(&self) -> &Atomic {
        &self.0
    }

    /// Reads the command.
    pub fn read(&self, op: &'static str, at: Site) -> Entry {
        Entry { words: [0; 2], tag: self.0.load(op, at, Order::Relaxed) }
    }

    /// Writes the command. `then` runs together with it.
    pub fn write(&self, op: &'static str, at: Site, entry: Entry, then: impl FnOnce()) {
        self.0.store(op, at, Order::Relaxed, entry.tag, then);
    }

    /// Writes a list: a store for each command, in their order.
    pub fn write_all(
        slots: &[Slot],
        op: &'static str,
        at: Site,
        cmds: &[[u64; 2]],
        tag: impl Fn(u32) -> u64,
        then: impl Fn(u32),
    ) {
        for ((slot, words), i) in slots.iter().zip(cmds).zip(0..) {
            slot.write(op, at, Entry { words: *words, tag: tag(i) }, || then(i));
        }
    }
}

/// What [`also`] announces.
pub type Also = [Option<Access>; 2];

/// The next access of this CPU is announced with this, too: what the checks that happen together
/// with it look at, or what they are told. Loom knows only words.
pub fn also(access: Access) {
    if cfg!(feature = "backend-loom") {
        return;
    }
    let [first, second] = exec().also.get();
    // Two are as many as any access has.
    exec().also.set(match first {
        None => [Some(access), second],
        Some(_) => [first, Some(access)],
    });
}

#[cfg(not(feature = "backend-loom"))]
fn one(obj: u32, mode: Mode) -> Accesses {
    let mut accesses = Accesses::new();
    accesses.push(Access::all(obj, mode));
    accesses.extend(exec().also.take().into_iter().flatten());
    accesses
}

/// A fence. On sequentially consistent backends there is nothing that it could order.
pub fn fence(order: Order) {
    #[cfg(feature = "backend-loom")]
    loom::sync::atomic::fence(match order {
        Order::Acquire => loom::sync::atomic::Ordering::Acquire,
        Order::Release => loom::sync::atomic::Ordering::Release,
        Order::Relaxed => return,
    });
    #[cfg(not(feature = "backend-loom"))]
    let _ = order;
}

impl Atomic {
    /// A word with its first value. `index` tells words of one name apart.
    pub fn new(name: &'static str, index: u32, value: u64) -> Atomic {
        Atomic {
            obj: crate::sync::object(),
            name,
            index,
            owner: 0,
            latest: Cell::new(value),
            #[cfg(feature = "backend-loom")]
            word: loom::sync::atomic::AtomicU64::new(value),
        }
    }

    /// The last value, without a step: for the checks.
    pub fn peek(&self) -> u64 {
        self.latest.get()
    }

    /// The same word of the struct with this number.
    pub fn of(self, owner: u32) -> Atomic {
        Atomic { owner, ..self }
    }

    fn val(&self) -> Val {
        let owner = match self.owner {
            0 => String::new(),
            n => format!("{n}:"),
        };
        Val::Text(match self.index {
            u32::MAX => format!("{owner}{}", self.name),
            i => format!("{owner}{}[{i}]", self.name),
        })
    }
}

impl Atomic {
    /// Reads until the value is as wanted, without a limit.
    pub fn cond_read(
        &self,
        op: &'static str,
        at: Site,
        order: Order,
        until: impl Fn(u64) -> bool,
    ) -> u64 {
        let wait = Wait { until: &until, or_change_of: None, or_gate: None, timeout_ms: None };
        // Without a time-out the wait ends only with a value.
        self.wait(op, at, order, &wait).unwrap_or_default()
    }
}

#[cfg(not(feature = "backend-loom"))]
impl Atomic {
    /// Reads.
    pub fn load(&self, op: &'static str, at: Site, _order: Order) -> u64 {
        crate::sync::step(op, at, one(self.obj, Mode::Read), |effect| {
            let value = self.latest.get();
            effect.log(|| (vec![self.val()], Val::Hex(value)));
            value
        })
    }

    /// Writes. `then` runs together with it.
    pub fn store(
        &self,
        op: &'static str,
        at: Site,
        _order: Order,
        value: u64,
        then: impl FnOnce(),
    ) {
        crate::sync::step(op, at, one(self.obj, Mode::Write), |effect| {
            effect.log(|| (vec![self.val(), Val::Hex(value)], Val::Void));
            self.latest.set(value);
            then();
        });
    }

    /// Reads, changes and writes; gives the old value. `then` runs together with it.
    pub fn rmw(
        &self,
        op: &'static str,
        at: Site,
        _order: Order,
        rmw: Rmw,
        then: impl FnOnce(u64),
    ) -> u64 {
        crate::sync::step(op, at, one(self.obj, Mode::Write), |effect| {
            let old = self.latest.get();
            effect.log(|| (vec![self.val(), Val::Hex(rmw.operand())], Val::Hex(old)));
            self.latest.set(rmw.of(old));
            then(old);
            old
        })
    }

    /// Writes `new` if the word is `old`; otherwise gives what it is. `then` runs together with
    /// a write.
    pub fn cmpxchg(
        &self,
        op: &'static str,
        at: Site,
        _order: Order,
        (old, new): (u64, u64),
        then: impl FnOnce(),
    ) -> Result<(), u64> {
        crate::sync::step(op, at, one(self.obj, Mode::Write), |effect| {
            let found = self.latest.get();
            effect.log(|| (vec![self.val(), Val::Hex(old), Val::Hex(new)], Val::Hex(found)));
            if found != old {
                effect.only_read(0);
                return Err(found);
            }
            self.latest.set(new);
            then();
            Ok(())
        })
    }

    /// Changes a part of the word in one access, as a store to that part does.
    pub fn update(
        &self,
        op: &'static str,
        at: Site,
        _order: Order,
        f: impl Fn(u64) -> u64,
        then: impl FnOnce(),
    ) {
        crate::sync::step(op, at, one(self.obj, Mode::Write), |effect| {
            let value = f(self.latest.get());
            effect.log(|| (vec![self.val(), Val::Hex(value)], Val::Void));
            self.latest.set(value);
            then();
        });
    }

    /// Reads until the value is as wanted. `None`: the time was up.
    pub fn wait(&self, op: &'static str, at: Site, _order: Order, wait: &Wait<'_>) -> Option<u64> {
        let mut accesses = one(self.obj, Mode::Read);
        accesses.extend(wait.or_change_of.map(|a| Access::all(a.obj, Mode::Read)));
        accesses.extend(wait.or_gate.map(|g| Access::all(g.obj, Mode::Read)));
        let timer = wait.timeout_ms.map(|ms| (crate::sync::object(), ms));
        let ready = || (wait.until)(self.latest.get());
        crate::sync::sleep_step(op, at, accesses, timer, &ready, |effect, _fired| {
            let value = self.latest.get();
            let held = (wait.until)(value);
            effect.log(|| (vec![self.val()], Val::Hex(value)));
            held.then_some(value)
        })
    }
}

#[cfg(feature = "backend-loom")]
impl Atomic {
    /// One operation of loom, which may run other CPUs before it.
    fn operation<R>(&self, op: &'static str, at: Site, body: impl FnOnce() -> R) -> R {
        let exec = exec();
        let me = exec.current.get();
        let result = body();
        came_back(exec, me);
        exec.push_trace(me, op, at, true);
        result
    }

    fn has_written(&self, value: u64) {
        self.latest.set(value);
        exec().backend.wrote();
    }

    /// Reads.
    pub fn load(&self, op: &'static str, at: Site, order: Order) -> u64 {
        self.operation(op, at, || self.word.load(ordering(order)))
    }

    /// Writes. `then` runs together with it.
    pub fn store(&self, op: &'static str, at: Site, order: Order, value: u64, then: impl FnOnce()) {
        self.operation(op, at, || self.word.store(value, ordering(order)));
        self.has_written(value);
        then();
    }

    /// Reads, changes and writes; gives the old value. `then` runs together with it.
    pub fn rmw(
        &self,
        op: &'static str,
        at: Site,
        order: Order,
        rmw: Rmw,
        then: impl FnOnce(u64),
    ) -> u64 {
        let order = ordering(order);
        let old = self.operation(op, at, || match rmw {
            Rmw::Add(n) => self.word.fetch_add(n, order),
            Rmw::And(n) => self.word.fetch_and(n, order),
            Rmw::Or(n) => self.word.fetch_or(n, order),
            Rmw::Xor(n) => self.word.fetch_xor(n, order),
        });
        self.has_written(rmw.of(old));
        let _ = (rmw.operand(), self.val());
        then(old);
        old
    }

    /// Writes `new` if the word is `old`; otherwise gives what it is. `then` runs together with
    /// a write.
    pub fn cmpxchg(
        &self,
        op: &'static str,
        at: Site,
        order: Order,
        (old, new): (u64, u64),
        then: impl FnOnce(),
    ) -> Result<(), u64> {
        let relaxed = loom::sync::atomic::Ordering::Relaxed;
        self.operation(op, at, || self.word.compare_exchange(old, new, ordering(order), relaxed))?;
        self.has_written(new);
        then();
        Ok(())
    }

    /// Changes a part of the word, as a store to that part does: tried until nobody came between.
    pub fn update(
        &self,
        op: &'static str,
        at: Site,
        order: Order,
        f: impl Fn(u64) -> u64,
        then: impl FnOnce(),
    ) {
        // Loom's compare reads the last value; nobody comes between a failed one and the next
        // more often than there are other CPUs with one step each.
        let mut old = self.latest.get();
        let mut then = Some(then);
        for _ in 0..LOOKS_MAX {
            let tried = self.cmpxchg(op, at, order, (old, f(old)), || {
                if let Some(then) = then.take() {
                    then();
                }
            });
            match tried {
                Ok(()) => return,
                Err(found) => old = found,
            }
        }
        crate::sync::stop(Kind::HungTask, at, op.to_string());
    }

    /// Reads until the value is as wanted. `None`: the time was up.
    pub fn wait(&self, op: &'static str, at: Site, order: Order, wait: &Wait<'_>) -> Option<u64> {
        let _ = (wait.or_change_of.map(|a| a.obj), wait.or_gate.map(|g| g.obj));
        for _ in 0..LOOKS_MAX {
            let value = self.load(op, at, order);
            if (wait.until)(value) {
                return Some(value);
            }
            let exec = exec();
            let me = exec.current.get();
            exec.backend.looked(me);
            if is_in_vain(exec) {
                break;
            }
            loom::thread::yield_now();
            came_back(exec, me);
        }
        match wait.timeout_ms {
            Some(_) => None,
            None => crate::sync::stop(Kind::HungTask, at, op.to_string()),
        }
    }
}

/// Whether every CPU that has not finished waits, and has looked at the last writes.
#[cfg(feature = "backend-loom")]
fn is_in_vain(exec: &Exec) -> bool {
    (0..CPUS_MAX as Cpu)
        .filter(|cpu| !exec.slot(*cpu).finished.get())
        .all(|cpu| exec.backend.has_looked(cpu, LOOKS_EACH))
}

/// Loom let this CPU go on.
#[cfg(feature = "backend-loom")]
fn came_back(exec: &Exec, me: Cpu) {
    exec.current.set(me);
    if !exec.concurrent() {
        return;
    }
    if exec.stopped() {
        resume_unwind(Box::new(Unwind));
    }
    exec.last.set(Some(me));
    exec.steps.set(exec.steps.get() + 1);
    if exec.steps.get() >= exec.limits.steps_max {
        exec.end(Ending::StepLimit);
        resume_unwind(Box::new(Unwind));
    }
}

#[cfg(feature = "backend-loom")]
fn ordering(order: Order) -> loom::sync::atomic::Ordering {
    match order {
        Order::Relaxed => loom::sync::atomic::Ordering::Relaxed,
        Order::Acquire => loom::sync::atomic::Ordering::Acquire,
        Order::Release => loom::sync::atomic::Ordering::Release,
    }
}
