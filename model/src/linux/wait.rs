//! Wait queues: wait_event() and its relatives, and the wake-ups.
//!
//! A wait is a first step that looks at the condition and, if it does not hold, queues the task
//! with its sleep state; then one step for each time that the task is woken, which looks again. A
//! wake-up wakes only sleepers whose state its mode names. Whoever waits in TASK_UNINTERRUPTIBLE
//! for a wake_up_interruptible_all() sleeps until its timer, whatever became of the condition:
//! that is counted in the outcome as a late wake-up.
//!
//! Queueing and the look at the condition are one step: a wake-up that came between the two would
//! only make the task look once more.
//!
//! Source: include/linux/wait.h, kernel/sched/wait.c; reference/iommufd.md 6.4.

use std::panic::Location;

use uapi::mutation::Change;
use uapi::step::{Access, Accesses, Mode, Site, CPUS_MAX};
use uapi::trace::Val;
use uapi::Errno;

use crate::linux::slab::Field;
use crate::linux::spinlock::might_sleep;
use crate::sync::{self, Cell};

/// How a task sleeps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    /// TASK_RUNNING
    Running,
    /// TASK_INTERRUPTIBLE
    Interruptible,
    /// TASK_UNINTERRUPTIBLE
    Uninterruptible,
}

/// A wait_queue_head.
pub struct WaitQueue {
    field: Field,
    obj: u32,
    /// State of each CPU's task, if it is queued.
    sleepers: Cell<[Option<State>; CPUS_MAX]>,
}

impl WaitQueue {
    /// init_waitqueue_head()
    pub fn new(field: Field) -> WaitQueue {
        WaitQueue { field, obj: sync::object(), sleepers: Cell::new([None; CPUS_MAX]) }
    }

    /// The field that it is.
    pub fn field(&self) -> Field {
        self.field
    }

    fn set(&self, cpu: usize, state: Option<State>) {
        self.sleepers.with(|s| s[cpu] = state);
    }

    fn is_woken(&self, cpu: usize) -> bool {
        self.sleepers.with(|s| s[cpu] == Some(State::Running))
    }
}

/// What a task waits for.
pub struct Condition<'a> {
    /// What the condition reads: at most two accesses (a counter and the memory it is in).
    pub accesses: &'a [Access],
    /// The condition. It makes no step.
    pub holds: &'a dyn Fn() -> bool,
}

/// One wait. Gives the milliseconds that were left, at least 1, or 0 if the timer fired and the
/// condition did not hold.
fn wait(
    op: &'static str,
    at: Site,
    wq: &WaitQueue,
    state: State,
    timeout_ms: Option<u64>,
    condition: &Condition<'_>,
) -> u64 {
    let (mut state, mut timeout_ms) = (state, timeout_ms);
    match sync::change_at(at) {
        None => {}
        Some(Change::TimerIgnored) => timeout_ms = None,
        Some(Change::AsUninterruptible) => state = State::Uninterruptible,
        // The condition is taken to hold.
        Some(_) => return timeout_ms.unwrap_or(1).max(1),
    }
    might_sleep(at);
    let me = usize::from(sync::current());
    let mut accesses: Accesses = wq.field.accesses(Access::all(wq.obj, Mode::Write));
    accesses.extend(condition.accesses.iter().copied().take(2));
    let deadline = timeout_ms.map(|ms| sync::now_ms() + ms);
    let left = || deadline.map_or(1, |d| d.saturating_sub(sync::now_ms()).max(1));

    let held = sync::step(op, at, accesses.clone(), |effect| {
        wq.field.check(at);
        let held = (condition.holds)();
        effect.log(|| (vec![wq.field.val()], Val::Bool(held)));
        if held {
            effect.only_read(0);
        } else {
            wq.set(me, Some(state));
        }
        held
    });
    if held {
        return left();
    }
    let timer = deadline.map(|_| sync::object());
    loop {
        let timer = timer.zip(deadline.map(|d| d.saturating_sub(sync::now_ms())));
        let woken = || wq.is_woken(me);
        let end = sync::sleep_step(op, at, accesses.clone(), timer, &woken, |effect, fired| {
            wq.field.check(at);
            let late = fired && !wq.is_woken(me);
            let held = (condition.holds)();
            effect.log(|| (vec![wq.field.val()], Val::Bool(held)));
            if held && late {
                sync::late_wakeup();
            }
            wq.set(me, if held || fired { None } else { Some(state) });
            match (held, fired) {
                (true, _) => Some(left()),
                (false, true) => Some(0),
                (false, false) => None,
            }
        });
        if let Some(end) = end {
            return end;
        }
    }
}

/// wait_event_timeout(): 0 iff `timeout_ms` passed and the condition does not hold. Sleeps in
/// TASK_UNINTERRUPTIBLE.
#[track_caller]
pub fn wait_event_timeout(wq: &WaitQueue, timeout_ms: u64, condition: &Condition<'_>) -> u64 {
    let at = sync::site(Location::caller());
    wait("wait_event_timeout", at, wq, State::Uninterruptible, Some(timeout_ms), condition)
}

/// wait_event(): in TASK_UNINTERRUPTIBLE, without a timer.
#[track_caller]
pub fn wait_event(wq: &WaitQueue, condition: &Condition<'_>) {
    let at = sync::site(Location::caller());
    wait("wait_event", at, wq, State::Uninterruptible, None, condition);
}

/// wait_event_interruptible(): in TASK_INTERRUPTIBLE, without a timer. No signal comes in a
/// program, so it does not fail.
///
/// # Errors
///
/// None yet; a signal would give -ERESTARTSYS.
#[track_caller]
pub fn wait_event_interruptible(wq: &WaitQueue, condition: &Condition<'_>) -> Result<(), Errno> {
    let at = sync::site(Location::caller());
    wait("wait_event_interruptible", at, wq, State::Interruptible, None, condition);
    Ok(())
}

/// wait_event_interruptible_timeout(): as [`wait_event_timeout`], in TASK_INTERRUPTIBLE.
///
/// # Errors
///
/// None yet; a signal would give -ERESTARTSYS.
#[track_caller]
pub fn wait_event_interruptible_timeout(
    wq: &WaitQueue,
    timeout_ms: u64,
    condition: &Condition<'_>,
) -> Result<u64, Errno> {
    let at = sync::site(Location::caller());
    let op = "wait_event_interruptible_timeout";
    Ok(wait(op, at, wq, State::Interruptible, Some(timeout_ms), condition))
}

/// poll_schedule_timeout() without a timer, for one queue. Whoever polls is on the queue before he
/// looks for the first time, so a wake-up that comes in between is not lost. In TASK_INTERRUPTIBLE.
#[track_caller]
pub fn poll_schedule_timeout(wq: &WaitQueue, condition: &Condition<'_>) {
    let at = sync::site(Location::caller());
    wait("poll_schedule_timeout", at, wq, State::Interruptible, None, condition);
}

fn wake(op: &'static str, at: Site, wq: &WaitQueue, wakes: fn(State) -> bool) {
    match sync::change_at(at) {
        Some(Change::AsInterruptible) => wake_those(op, at, wq, |s| s == State::Interruptible),
        change => sync::changed(change, (op, at, wq, wakes), |(op, at, wq, wakes)| {
            wake_those(op, at, wq, wakes);
        }),
    }
}

fn wake_those(op: &'static str, at: Site, wq: &WaitQueue, wakes: fn(State) -> bool) {
    let accesses = wq.field.accesses(Access::all(wq.obj, Mode::Write));
    sync::step(op, at, accesses, |effect| {
        effect.log(|| (vec![wq.field.val()], Val::Void));
        wq.field.check(at);
        let mut woken = 0;
        wq.sleepers.with(|sleepers| {
            for state in sleepers.iter_mut().flatten() {
                if *state != State::Running && wakes(*state) {
                    *state = State::Running;
                    woken += 1;
                }
            }
        });
        if woken == 0 {
            effect.only_read(0);
        }
    });
}

/// wake_up_interruptible_all(): wakes only those who sleep in TASK_INTERRUPTIBLE.
#[track_caller]
pub fn wake_up_interruptible_all(wq: &WaitQueue) {
    let at = sync::site(Location::caller());
    wake("wake_up_interruptible_all", at, wq, |state| state == State::Interruptible);
}

/// wake_up_all()
#[track_caller]
pub fn wake_up_all(wq: &WaitQueue) {
    wake("wake_up_all", sync::site(Location::caller()), wq, |_| true);
}
