//! Whether the changes of a counter commute in an execution.
//!
//! `refcount_inc()` and `refcount_dec()` throw their result away, `refcount_dec_and_test()` keeps
//! only whether it met zero. As long as no order of an execution's changes can meet zero (or
//! saturate), all orders give the same, and exploring one of them is enough. If some order can,
//! the order is the question (a WARN, a free, a use-after-free), and every two changes conflict.
//!
//! The decision is made per counter when an execution is over, from the changes it really made:
//! the value before the first one, plus for each CPU the lowest sum that its changes ever reach,
//! is the lowest value in any order. Steps that see the exact value (`refcount_set`,
//! `refcount_read`, `refcount_dec_if_one`) conflict with all changes, so no order moves a change
//! across them: they split the execution into epochs that are judged one by one.
//!
//! One use of a counter meets zero in every order and still needs few of them: that of a thing
//! which goes away with its last user ([`goes_with_the_last`]). There, zero can be met by the very
//! last change only, and the order is the question only between that one and the others: who is
//! the last.
//!
//! Sleep sets need the answer before the execution is over. They believe in commuting until a
//! counter was caught once; then the exploration starts again with that counter known.

use crate::dpor::Mask;
use crate::touch::{depends, may_commute, Kind, Touch};
use uapi::program::Dependence;
use uapi::step::{Counter, Cpu, CPU_NUMBERS};

#[derive(Clone, Debug)]
struct Epoch {
    /// The judgement that the rest belongs to.
    judgement: u64,
    open: bool,
    cpus: Mask,
    /// The first step of the epoch, and one past the last one so far.
    steps: (u32, u32),
    /// Value before the first change.
    start: i64,
    /// A step met zero or saturation, or its value is unknown.
    met_zero: bool,
    sum: [i32; CPU_NUMBERS],
    low: [i32; CPU_NUMBERS],
    high: [i32; CPU_NUMBERS],
}

impl Epoch {
    fn is_safe(&self) -> bool {
        let total = |of: &[i32; CPU_NUMBERS]| -> i64 { of.iter().map(|&n| i64::from(n)).sum() };
        // One CPU alone has one order.
        self.cpus.count_ones() < 2
            || (!self.met_zero
                && self.start + total(&self.low) >= 1
                && self.start + total(&self.high) <= i64::from(i32::MAX))
    }
}

/// A step that was made: by whom, what it touched, and the counter that it changed.
type Made<'a> = (Cpu, &'a [Touch], Option<Counter>);

/// Whether the counter is used as that of a thing which goes away with its last user, from step
/// `first` to the end: then no order meets zero before the last change, and only that one
/// ([`Kind::Zero`]) conflicts with the others.
///
/// Think of a file: the table of descriptors holds one reference, a system call finds the file
/// there, takes one of its own and drops it, and close(2) clears the table and drops that of the
/// table. What is asked of the execution:
///
/// 1. No change but the last one meets zero.
/// 2. The CPUs drop together as many references that they did not take themselves as there were
///    in the beginning: those of the table.
/// 3. Whoever takes one while it has none of its own does so before one of those is dropped,
///    because of something else than this counter: it has found the thing in the table, which
///    the CPU that drops the table's reference has cleared before.
///
/// Then no order that keeps everything else as it is meets zero before the last change. The value
/// is that of the beginning plus, for each CPU, the sum of its changes so far, which is not below
/// the lowest that the CPU ever reaches, and by (2) all these lows together are the value of the
/// beginning. So zero means that every CPU is at its low, and so has dropped all that was not
/// its own. If a change followed, it would take a reference without having one, after the last of
/// those was dropped: against (3).
fn goes_with_the_last(made: &[Made<'_>], first: usize, obj: u32) -> bool {
    let mut sum = [0i64; CPU_NUMBERS];
    let mut low = [0i64; CPU_NUMBERS];
    let mut start = None;
    let mut changes: Vec<(usize, Cpu, i64)> = Vec::new();
    for (i, &(cpu, touches, counter)) in made.iter().enumerate().skip(first) {
        if !touches.iter().any(|t| t.obj == obj) {
            continue;
        }
        let Some(c) = counter.filter(|c| c.obj == obj) else { return false };
        // (1), and nothing saturates.
        let met_zero = c.after == 0 && i + 1 == made.len();
        if c.before < 1 || (c.after < 1 && !met_zero) {
            return false;
        }
        start.get_or_insert(i64::from(c.before));
        let (q, change) = (usize::from(cpu), i64::from(c.after) - i64::from(c.before));
        changes.push((i, cpu, change));
        sum[q] += change;
        low[q] = low[q].min(sum[q]);
    }
    // (2)
    if start != Some(-low.iter().sum::<i64>()) {
        return false;
    }

    let mut at = [0i64; CPU_NUMBERS];
    let mut lowest = [0i64; CPU_NUMBERS];
    let mut bare: Vec<(usize, Cpu)> = Vec::new();
    // Of each CPU, the last step with which it dropped what was not its own.
    let mut dropped = [None; CPU_NUMBERS];
    for (i, cpu, change) in changes {
        let q = usize::from(cpu);
        if change > 0 && at[q] == low[q] {
            bare.push((i, cpu));
        }
        at[q] += change;
        if at[q] < lowest[q] {
            lowest[q] = at[q];
            dropped[q] = Some(i);
        }
    }
    // (3)
    bare.into_iter().all(|(i, cpu)| {
        dropped.iter().enumerate().any(|(q, &drop)| {
            drop.is_some_and(|d| {
                i < d && (q == usize::from(cpu) || orders(&made[i..=d], q as Cpu, obj))
            })
        })
    })
}

/// Whether something else than counter `obj` orders the first of these steps before some step of
/// `cpu`.
fn orders(made: &[Made<'_>], cpu: Cpu, obj: u32) -> bool {
    let Some(((_, touches, _), later)) = made.split_first() else { return false };
    later.iter().filter(|(by, ..)| *by == cpu).any(|(_, others, _)| {
        touches.iter().filter(|t| t.obj != obj && !t.kind.is_lock()).any(|t| {
            others.iter().any(|o| {
                let counted = t.kind.is_change() && o.kind.is_change();
                !counted && !o.kind.is_lock() && depends(Dependence::Keyed, t, o)
            })
        })
    })
}

/// The counters of an exploration.
#[derive(Debug)]
pub(crate) struct Counters {
    dependence: Dependence,
    judgement: u64,
    epochs: Vec<Epoch>,
    touched: Vec<u32>,
    /// By object: whether its changes conflict in this execution.
    conflicting: Vec<bool>,
    /// The objects among them, ascending.
    list: Vec<u32>,
    /// By object: whether they did in any execution.
    ever: Vec<bool>,
    ever_list: Vec<u32>,
    restart: bool,
}

fn at(of: &[bool], obj: u32) -> bool {
    of.get(obj as usize).copied().unwrap_or(false)
}

fn set(of: &mut Vec<bool>, obj: u32, to: bool) {
    if obj as usize >= of.len() {
        of.resize(obj as usize + 1, false);
    }
    of[obj as usize] = to;
}

impl Counters {
    pub fn new(dependence: Dependence) -> Counters {
        Counters {
            dependence,
            judgement: 0,
            epochs: Vec::new(),
            touched: Vec::new(),
            conflicting: Vec::new(),
            list: Vec::new(),
            ever: Vec::new(),
            ever_list: Vec::new(),
            restart: false,
        }
    }

    /// Whether two changes of one counter commute in the execution judged last.
    pub fn commute(&self, a: &Touch, b: &Touch) -> bool {
        may_commute(self.dependence, a, b) && !at(&self.conflicting, a.obj)
    }

    /// Whether the object was a counter whose changes conflicted in some execution.
    pub fn ever_unsafe(&self, obj: u32) -> bool {
        at(&self.ever, obj)
    }

    /// Whether a counter was caught after executions that believed in it. Says so once.
    pub fn take_restart(&mut self) -> bool {
        std::mem::take(&mut self.restart)
    }

    /// How many of its touches a step has made that changed no counter.
    ///
    /// A step that announces a change and makes none has looked for the counter's owner in the
    /// place that it announces first, and it was not there any more ([`uapi::step::Done`]). As a
    /// rule it counts as what it announced, since it would have made the change before whoever
    /// emptied the place, and its conflicts in that order would show up nowhere else. With a
    /// counter of [`goes_with_the_last`] it has none: the changes commute, and the last one, and
    /// the free after it, come after the place was emptied.
    pub fn made(&self, touches: &[Touch]) -> usize {
        match touches.iter().position(|t| t.kind.is_change()) {
            Some(first) if !self.ever_unsafe(touches[first].obj) => first,
            _ => touches.len(),
        }
    }

    /// A step has taken the counter to zero: nothing commutes with that.
    pub fn met_zero(&self, obj: u32, touches: &mut [Touch]) {
        if self.dependence != Dependence::Keyed {
            return;
        }
        for t in touches.iter_mut().filter(|t| t.obj == obj && t.kind.is_change()) {
            t.kind = Kind::Zero;
        }
    }

    /// Decides for every counter. True if the answer for any of them differs from the last one.
    ///
    /// An execution that was cut short has not made all its changes: there, a counter that was
    /// ever caught conflicts.
    pub fn judge<'a>(
        &mut self,
        events: impl Iterator<Item = Made<'a>> + Clone,
        complete: bool,
    ) -> bool {
        if self.dependence == Dependence::Plain {
            return false;
        }
        self.judgement += 1;
        let mut doubtful: Vec<(u32, (u32, u32))> = Vec::new();
        for (step, (cpu, touches, counter)) in events.clone().enumerate() {
            for t in touches {
                let change = match self.dependence {
                    Dependence::Keyed => t.kind.is_change() || t.kind == Kind::Zero,
                    _ => t.kind == Kind::Add,
                };
                if change {
                    let counter = counter.filter(|c| c.obj == t.obj);
                    self.change(step as u32, cpu, t.obj, counter);
                } else if !t.kind.is_lock() {
                    self.close(t.obj, &mut doubtful);
                }
            }
        }
        for i in 0..self.touched.len() {
            self.close(self.touched[i], &mut doubtful);
        }
        self.touched.clear();
        if self.dependence == Dependence::Keyed && !doubtful.is_empty() {
            let made: Vec<Made<'_>> = events.collect();
            doubtful.retain(|&(obj, (first, end))| {
                !goes_with_the_last(&made[..end as usize], first as usize, obj)
            });
        }
        let mut caught: Vec<u32> = doubtful.into_iter().map(|(obj, _)| obj).collect();
        for &obj in &caught {
            if !at(&self.ever, obj) {
                set(&mut self.ever, obj, true);
                self.ever_list.push(obj);
                self.restart = true;
            }
        }
        if !complete {
            caught.extend_from_slice(&self.ever_list);
        }
        caught.sort_unstable();
        caught.dedup();
        if caught == self.list {
            return false;
        }
        for &obj in &self.list {
            self.conflicting[obj as usize] = false;
        }
        for &obj in &caught {
            set(&mut self.conflicting, obj, true);
        }
        self.list = caught;
        true
    }

    fn change(&mut self, step: u32, cpu: Cpu, obj: u32, counter: Option<Counter>) {
        let i = obj as usize;
        if i >= self.epochs.len() {
            let none = Epoch {
                judgement: 0,
                open: false,
                cpus: 0,
                steps: (0, 0),
                start: 0,
                met_zero: false,
                sum: [0; CPU_NUMBERS],
                low: [0; CPU_NUMBERS],
                high: [0; CPU_NUMBERS],
            };
            self.epochs.resize(i + 1, none);
        }
        let e = &mut self.epochs[i];
        if e.judgement != self.judgement {
            e.judgement = self.judgement;
            e.open = false;
            self.touched.push(obj);
        }
        if !e.open {
            e.open = true;
            e.cpus = 0;
            e.steps.0 = step;
            e.met_zero = false;
            e.start = counter.map_or(0, |c| i64::from(c.before));
            e.sum = [0; CPU_NUMBERS];
            e.low = [0; CPU_NUMBERS];
            e.high = [0; CPU_NUMBERS];
        }
        e.cpus |= 1 << cpu;
        e.steps.1 = step + 1;
        let Some(c) = counter.filter(|c| c.before >= 1 && c.after >= 1) else {
            e.met_zero = true;
            return;
        };
        let q = usize::from(cpu);
        e.sum[q] = e.sum[q].saturating_add(c.after - c.before);
        e.low[q] = e.low[q].min(e.sum[q]);
        e.high[q] = e.high[q].max(e.sum[q]);
    }

    fn close(&mut self, obj: u32, doubtful: &mut Vec<(u32, (u32, u32))>) {
        if let Some(e) = self.epochs.get_mut(obj as usize) {
            if e.open && e.judgement == self.judgement {
                e.open = false;
                if !e.is_safe() {
                    doubtful.push((obj, e.steps));
                }
            }
        }
    }
}
