//! Every interleaving, without any reduction: the judge of the explorer that reduces.
//!
//! Depth-first over all enabled choices at every step. Only for tiny programs: ten steps on each
//! of two CPUs are 184,756 executions.

use crate::dpor::{bit, Mask, Sink, Stats};
use uapi::outcome::Outcome;
use uapi::pick::{Explore, Pick};
use uapi::step::{Cpu, Pending};

/// See the head of this file.
pub(crate) struct Brute<'s> {
    sink: &'s mut dyn Sink,
    executions_max: u64,
    /// Per step: what is left to choose, and what is chosen.
    left: Vec<Mask>,
    choices: Vec<Cpu>,
    depth: usize,
    stats: Stats,
    /// Whether every execution was run.
    pub exhausted: bool,
    over: bool,
}

impl<'s> Brute<'s> {
    pub fn new(executions_max: u64, sink: &'s mut dyn Sink) -> Brute<'s> {
        Brute {
            sink,
            executions_max,
            left: Vec::new(),
            choices: Vec::new(),
            depth: 0,
            stats: Stats::default(),
            exhausted: false,
            over: false,
        }
    }
}

impl Pick for Brute<'_> {
    fn pick(&mut self, pending: &[Pending], _current: Option<Cpu>) -> Option<Cpu> {
        if self.depth == self.left.len() {
            let mut enabled: Mask = 0;
            for p in pending.iter().filter(|p| p.enabled) {
                enabled |= bit(p.cpu);
            }
            let chosen = enabled.trailing_zeros() as Cpu;
            self.left.push(enabled & !bit(chosen));
            self.choices.push(chosen);
        }
        self.depth += 1;
        Some(self.choices[self.depth - 1])
    }
}

impl Explore for Brute<'_> {
    fn next_execution(&mut self) -> bool {
        if self.over {
            return false;
        }
        if self.stats.started > 0 {
            while self.left.last() == Some(&0) {
                self.left.pop();
                self.choices.pop();
            }
            match (self.left.last_mut(), self.choices.last_mut()) {
                (Some(left), Some(choice)) => {
                    *choice = left.trailing_zeros() as Cpu;
                    *left &= *left - 1;
                }
                _ => {
                    self.exhausted = true;
                    self.over = true;
                    return false;
                }
            }
        }
        if self.stats.started >= self.executions_max {
            self.over = true;
            return false;
        }
        self.stats.started += 1;
        self.depth = 0;
        true
    }

    fn outcome(&mut self, outcome: Option<Outcome>) {
        if !self.sink.executed(&self.choices, outcome, &self.stats) {
            self.over = true;
        }
    }
}
