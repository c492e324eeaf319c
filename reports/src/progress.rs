//! Progress on a terminal: one bar for the run, one line for each exploration under way.
//!
//! It is drawn on stderr and only if that is a terminal, so neither a pipe nor a file ever sees
//! it. The estimate of an exhaustive run comes from the explorer.

use crate::clock::Stopwatch;
use crate::interrupt;
use crate::output;
use crate::values::grouped;
use indicatif::{
    HumanDuration, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle,
};
use races::{Progress, Watch};
use std::fmt::Write;
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
    /// Of questions, on the terminal of stderr, if there is one that can move its cursor.
    pub fn new() -> Screen {
        Screen::counting("questions")
    }

    /// The same of something else.
    pub fn counting(what: &str) -> Screen {
        match output::is_dumb() {
            true => Screen::hidden(),
            false => Screen::on(ProgressDrawTarget::stderr(), what),
        }
    }

    /// Draws nothing.
    pub fn hidden() -> Screen {
        Screen::on(ProgressDrawTarget::hidden(), "")
    }

    fn on(target: ProgressDrawTarget, what: &str) -> Screen {
        let bars = MultiProgress::with_draw_target(target);
        let line = format!("{{pos}}/{{len}} {what} [{{wide_bar}}] ETA {{left}}");
        let overall = bars.add(ProgressBar::new(0).with_style(style(&line)));
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
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .with_key("left", left)
}

/// The time that is left. Before anything is done, nobody knows.
fn left(state: &ProgressState, out: &mut dyn Write) {
    // A bar that cannot be drawn is no reason to fail a run.
    let _ = match state.pos() {
        0 => write!(out, "?"),
        _ => write!(out, "{:#}", HumanDuration(state.eta())),
    };
}

/// Columns of the terminal that progress is drawn on.
fn columns() -> usize {
    terminal_size::terminal_size_of(std::io::stderr()).map_or(WIDE, |(w, _)| usize::from(w.0))
}

/// Columns that a name, counts, a bar and an estimate need beside each other. A narrower terminal gets
/// no bar of an exploration.
const WIDE: usize = 140;

/// The line of an exploration.
fn line(columns: usize) -> &'static str {
    match columns < WIDE {
        true => "  {wide_msg} {percent}%",
        false => "  {wide_msg} [{bar:20}] ETA {left}",
    }
}

/// Columns that [`line`] leaves for its message.
fn room(columns: usize) -> usize {
    columns.saturating_sub(if columns < WIDE { 8 } else { 38 })
}

/// Who is at work and how far, in `room` columns: the middle of a long name is left out, since names
/// differ at their ends.
fn message(label: &str, done: &str, room: usize) -> String {
    let whole = format!("{label}{done}");
    if whole.chars().count() <= room {
        return whole;
    }
    let label: Vec<char> = label.chars().collect();
    let kept = room.saturating_sub(done.chars().count() + 1).max(NAME_MIN).min(label.len());
    let head: String = label[..kept / 2].iter().collect();
    let tail: String = label[label.len() - kept.div_ceil(2)..].iter().collect();
    format!("{head}…{tail}{done}")
}

/// Less of a name says nothing.
const NAME_MIN: usize = 12;

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
        let columns = columns();
        let bar = ProgressBar::new(TICKS).with_style(style(line(columns)));
        let bar = screen.bars.insert_before(&screen.overall, bar);
        bar.set_message(message(label, "", room(columns)));
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
        let done = format!(": {done}{size} executions");
        self.bar.set_message(message(&self.label, &done, room(columns())));
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

#[cfg(test)]
mod tests {
    use super::message;

    #[test]
    fn a_long_name_makes_room_for_its_counts() {
        let label = "eexist_winner_destroyed linux_6_17_rc1 dpor";
        assert_eq!(message(label, ": 7 executions", 80), format!("{label}: 7 executions"));
        let cut = message(label, ": 7 executions", 40);
        assert_eq!(cut, "eexist_winne…6_17_rc1 dpor: 7 executions");
        assert!(message(label, ": 7 executions", 0).chars().count() >= 14);
        assert!(message("é", ": 7 executions", 3).contains("executions"));
    }
}
