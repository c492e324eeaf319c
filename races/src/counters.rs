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
//! Sleep sets need the answer before the execution is over. They believe in commuting until a
//! counter was caught once; then the exploration starts again with that counter known.

use crate::dpor::Mask;
use crate::touch::{may_commute, Kind, Touch};
use uapi::program::Dependence;
use uapi::step::{Counter, Cpu, CPU_NUMBERS};

#[derive(Clone, Debug)]
struct Epoch {
    /// The judgement that the rest belongs to.
    judgement: u64,
    open: bool,
    cpus: Mask,
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

    /// Decides for every counter. True if the answer for any of them differs from the last one.
    ///
    /// An execution that was cut short has not made all its changes: there, a counter that was
    /// ever caught conflicts.
    pub fn judge<'a>(
        &mut self,
        events: impl Iterator<Item = (Cpu, &'a [Touch], Option<Counter>)>,
        complete: bool,
    ) -> bool {
        if self.dependence == Dependence::Plain {
            return false;
        }
        self.judgement += 1;
        let mut caught: Vec<u32> = Vec::new();
        for (cpu, touches, counter) in events {
            for t in touches {
                let change = match self.dependence {
                    Dependence::Keyed => t.kind.is_change(),
                    _ => t.kind == Kind::Add,
                };
                if change {
                    self.change(cpu, t.obj, counter.filter(|c| c.obj == t.obj));
                } else if !t.kind.is_lock() {
                    self.close(t.obj, &mut caught);
                }
            }
        }
        for i in 0..self.touched.len() {
            self.close(self.touched[i], &mut caught);
        }
        self.touched.clear();
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

    fn change(&mut self, cpu: Cpu, obj: u32, counter: Option<Counter>) {
        let i = obj as usize;
        if i >= self.epochs.len() {
            let none = Epoch {
                judgement: 0,
                open: false,
                cpus: 0,
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
            e.met_zero = false;
            e.start = counter.map_or(0, |c| i64::from(c.before));
            e.sum = [0; CPU_NUMBERS];
            e.low = [0; CPU_NUMBERS];
            e.high = [0; CPU_NUMBERS];
        }
        e.cpus |= 1 << cpu;
        let Some(c) = counter.filter(|c| c.before >= 1 && c.after >= 1) else {
            e.met_zero = true;
            return;
        };
        let q = usize::from(cpu);
        e.sum[q] = e.sum[q].saturating_add(c.after - c.before);
        e.low[q] = e.low[q].min(e.sum[q]);
        e.high[q] = e.high[q].max(e.sum[q]);
    }

    fn close(&mut self, obj: u32, caught: &mut Vec<u32>) {
        if let Some(e) = self.epochs.get_mut(obj as usize) {
            if e.open && e.judgement == self.judgement {
                e.open = false;
                if !e.is_safe() {
                    caught.push(obj);
                }
            }
        }
    }
}
