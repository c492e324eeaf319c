//! The one file of this crate that reads a clock.
//!
//! A wall-clock limit is a safety net: budgets count executions and steps, so that the answer is
//! the same on any machine. Times appear on a terminal, in JUnit, and in a report
//! that is asked for them; nowhere else.

use std::time::{Duration, Instant};

/// A running stopwatch.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts one.
    pub fn start() -> Stopwatch {
        Stopwatch(Instant::now())
    }

    /// Time since the start.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed()
    }
}
