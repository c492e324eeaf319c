//! Progress on a terminal: one bar for the run, one line for each exploration under way.
//!
//! It is drawn on stderr and only if that is a terminal, so neither a pipe nor a file ever sees
//! it. The estimate of an exhaustive run comes from the explorer.

use crate::clock::Stopwatch;
use crate::interrupt;
use crate::output;
use crate::values::grouped;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use races::{Progress, Watch};
use std::time::Duration;

/// Resolution of a bar: an explorer reports a fraction.
const TICKS: u64 = 1_000;

/// What is drawn while a run goes on.
#[derive(Debug)]
pub struct Screen {
    bars: MultiProgress,
    overall: ProgressBar,
}

impl Screen {
    /// On the terminal of stderr, if there is one that can move its cursor.
    pub fn new() -> Screen {
        match output::is_dumb() {
            true => Screen::hidden(),
            false => Screen::on(ProgressDrawTarget::stderr()),
        }
    }

    /// Draws nothing.
    pub fn hidden() -> Screen {
        Screen::on(ProgressDrawTarget::hidden())
    }

    fn on(target: ProgressDrawTarget) -> Screen {
        let bars = MultiProgress::with_draw_target(target);
        let overall = bars.add(
            ProgressBar::new(0).with_style(style("{pos}/{len} questions [{wide_bar}] ETA {eta}")),
        );
        Screen { bars, overall }
    }

    /// A run of this many questions begins.
    pub fn start(&self, questions: usize) {
        self.overall.set_length(questions as u64);
    }

    /// One question is answered.
    pub fn finished_one(&self) {
        self.overall.inc(1);
    }

    /// Lets `print` write to stdout without the bars in between.
    pub fn suspend<R>(&self, print: impl FnOnce() -> R) -> R {
        self.bars.suspend(print)
    }

    /// Takes everything off the terminal.
    pub fn clear(&self) {
        self.overall.finish_and_clear();
        // A terminal that cannot be cleared is no reason to fail a run.
        let _ = self.bars.clear();
    }
}

impl Default for Screen {
    fn default() -> Screen {
        Screen::new()
    }
}

/// The template is a constant; should it be wrong, the plain bar is good enough.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// The line of an exploration: where it would push its name off, the bar is left out.
fn line() -> &'static str {
    match terminal_size::terminal_size_of(std::io::stderr()) {
        Some((width, _)) if width.0 < NARROW => "  {wide_msg} {percent}%",
        _ => "  {wide_msg} [{bar:20}] ETA {eta}",
    }
}

/// Columns that a name, a bar and an estimate need beside each other.
const NARROW: u16 = 80;

/// Watches one exploration: shows its progress, ends it on Ctrl-C and at the end of its budget.
#[derive(Debug)]
pub struct Eyes<'a> {
    screen: &'a Screen,
    bar: ProgressBar,
    label: String,
    watch: Stopwatch,
    budget: Duration,
}

impl<'a> Eyes<'a> {
    /// Begins to watch.
    pub fn new(screen: &'a Screen, label: &str, watch: Stopwatch, budget: Duration) -> Eyes<'a> {
        let bar = ProgressBar::new(TICKS).with_style(style(line()));
        let bar = screen.bars.insert_before(&screen.overall, bar);
        bar.set_message(label.to_owned());
        Eyes { screen, bar, label: label.to_owned(), watch, budget }
    }
}

impl Watch for Eyes<'_> {
    fn progress(&mut self, progress: &Progress) {
        let size = match progress.estimate {
            Some(estimate) if estimate.is_finite() && estimate >= 1.0 => {
                format!(" of about {}", grouped(estimate as u64))
            }
            _ => String::new(),
        };
        let done = grouped(progress.executions);
        self.bar.set_message(format!("{}: {done}{size} executions", self.label));
        self.bar.set_position((progress.fraction.clamp(0.0, 1.0) * TICKS as f64) as u64);
    }

    fn interrupted(&self) -> bool {
        interrupt::requested() || self.watch.elapsed() > self.budget
    }
}

impl Drop for Eyes<'_> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        self.screen.bars.remove(&self.bar);
    }
}
