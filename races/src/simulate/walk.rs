//! Schedules drawn from a seed.

use super::Plan;
use crate::seed::Draws;
use uapi::outcome::Outcome;
use uapi::pick::{Explore, Pick};
use uapi::step::{Cpu, Pending, CPU_NUMBERS};

/// Who runs when.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Strategy {
    /// Anybody who can run, before every step.
    Uniform,
    /// The same CPU goes on with this probability in percent.
    Sticky(u8),
    /// Priorities that are drawn before the execution and fall at so many places (probabilistic
    /// concurrency testing: Burckhardt, Kothari, Musuvathi, Nagarakatte, ASPLOS 2010).
    Priorities(u8),
    /// The CPU goes on, except before a step of this kind.
    Before(Focus),
    /// No draws: the first executions of the reducing search.
    Reduce,
}

/// A kind of steps.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Focus {
    /// Those of xarrays, and their locks.
    Xarrays,
    /// Those of reference counts.
    Counters,
    /// Those that take a mutex, a spinlock or a semaphore.
    Locks,
    /// Those that allocate, free and publish.
    Memory,
    /// Those that change a word of a command queue at once.
    Atomics,
    /// Those at a register of a command queue, and those that wait.
    Registers,
}

impl std::fmt::Display for Strategy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Strategy::Uniform => f.write_str("uniform"),
            Strategy::Sticky(percent) => write!(f, "sticky {percent} %"),
            Strategy::Priorities(changes) => write!(f, "priorities that change {changes} times"),
            Strategy::Before(focus) => write!(f, "switches before {}", focus.name()),
            Strategy::Reduce => f.write_str("the reducing search"),
        }
    }
}

impl Focus {
    fn name(self) -> &'static str {
        match self {
            Focus::Xarrays => "xarrays",
            Focus::Counters => "counters",
            Focus::Locks => "locks",
            Focus::Memory => "memory",
            Focus::Atomics => "atomics",
            Focus::Registers => "registers",
        }
    }

    fn holds(self, op: &str) -> bool {
        let starts = |words: &[&str]| words.iter().any(|word| op.starts_with(word));
        match self {
            Focus::Xarrays => starts(&["xa_", "xas_", "mtree_"]),
            Focus::Counters => starts(&["refcount_", "get_device", "put_device"]),
            Focus::Locks => starts(&["mutex_", "down_", "spin_", "xa_lock", "wait_event"]),
            Focus::Memory => starts(&["k", "store", "list_", "copy_"]),
            Focus::Atomics => starts(&["cmpxchg", "atomic_fetch_"]),
            Focus::Registers => starts(&["readl", "writel", "queue_poll", "atomic_cond_read"]),
        }
    }
}

/// Steps of an execution before there was one, for the places at which priorities change.
const LENGTH: usize = 100;

/// Runs executions under a strategy.
pub(super) struct Walk<F> {
    strategy: Strategy,
    left: u64,
    draws: Draws,
    choices: Vec<Cpu>,
    /// Steps of the longest execution so far.
    longest: usize,
    priorities: [usize; CPU_NUMBERS],
    changes: Vec<usize>,
    done: F,
}

impl<F: FnMut(&[Cpu], &Outcome)> Walk<F> {
    pub fn new(plan: &Plan, draws: Draws, done: F) -> Walk<F> {
        Walk {
            strategy: plan.strategy,
            left: plan.executions,
            draws,
            choices: Vec::new(),
            longest: 0,
            priorities: [0; CPU_NUMBERS],
            changes: Vec::new(),
            done,
        }
    }

    fn any(&mut self, pending: &[Pending]) -> Option<Cpu> {
        let enabled: Vec<Cpu> = pending.iter().filter(|p| p.enabled).map(|p| p.cpu).collect();
        self.draws.pick(&enabled).copied()
    }

    fn highest(&mut self, pending: &[Pending], current: Option<Cpu>) -> Option<Cpu> {
        if let (true, Some(cpu)) = (self.changes.contains(&self.choices.len()), current) {
            // Below everybody who was not yet lowered.
            self.priorities[usize::from(cpu)] = self.changes.len() - self.lowered();
        }
        let enabled = pending.iter().filter(|p| p.enabled);
        enabled.max_by_key(|p| self.priorities[usize::from(p.cpu)]).map(|p| p.cpu)
    }

    /// How many changes have come.
    fn lowered(&self) -> usize {
        self.changes.iter().filter(|at| **at <= self.choices.len()).count()
    }
}

impl<F: FnMut(&[Cpu], &Outcome)> Pick for Walk<F> {
    fn pick(&mut self, pending: &[Pending], current: Option<Cpu>) -> Option<Cpu> {
        let on = pending.iter().find(|p| Some(p.cpu) == current && p.enabled);
        let stay = match (self.strategy, on) {
            (Strategy::Sticky(percent), Some(_)) => self.draws.below(100) < usize::from(percent),
            // Half of the places: a program has many more of them than a failure needs.
            (Strategy::Before(focus), Some(p)) => !focus.holds(p.op) || self.draws.one_in(2),
            _ => false,
        };
        let cpu = match (stay, self.strategy) {
            (true, _) => current,
            (false, Strategy::Priorities(_)) => self.highest(pending, current),
            (false, _) => self.any(pending),
        };
        self.choices.extend(cpu);
        cpu
    }
}

impl<F: FnMut(&[Cpu], &Outcome)> Explore for Walk<F> {
    fn next_execution(&mut self) -> bool {
        if self.left == 0 {
            return false;
        }
        self.left -= 1;
        self.longest = self.longest.max(self.choices.len());
        self.choices.clear();
        if let Strategy::Priorities(changes) = self.strategy {
            let length = if self.longest == 0 { LENGTH } else { self.longest };
            self.changes = (0..changes).map(|_| self.draws.below(length)).collect();
            let mut order: Vec<usize> = (0..CPU_NUMBERS).collect();
            for at in (1..order.len()).rev() {
                order.swap(at, self.draws.below(at + 1));
            }
            for (priority, cpu) in order.into_iter().enumerate() {
                self.priorities[cpu] = CPU_NUMBERS + priority;
            }
        }
        true
    }

    fn outcome(&mut self, outcome: Option<Outcome>) {
        if let Some(outcome) = outcome {
            (self.done)(&self.choices, &outcome);
        }
    }
}
