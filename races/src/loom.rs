//! Weak memory, explored by loom in a child process.
//!
//! The only explorer that sees a missing barrier. It runs in a child because loom ends the whole
//! process when an execution has too many branches, or deadlocks with a guard alive. The child
//! (`exe loom-child`) reads one [`Job`] as JSON from its standard input and writes a [`Line`] per
//! thousand executions, so that what was explored before an abort is not lost.
//!
//! Loom's own limits, pinned by tests in `races/tests/loom_limits.rs`: it misses some
//! read-then-write interleavings, knows no SeqCst accesses, no load buffering and no spurious
//! wake-ups, and runs at most five threads, the main one included. So it never says `Never`.

use crate::families::{self, Seen};
use crate::portfolio::Samples;
use crate::{Bounds, FailAt, Finding, LoomError, ModelError, Progress, Subject, Watch};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{channel, RecvTimeoutError};
use std::time::{Duration, Instant};
use uapi::pick::LoomBounds;
use uapi::program::Limits;

/// Branches of one execution. Loom's default of 1,000 is less than two ioctls need.
const BRANCHES_MAX: u32 = 20_000;

/// What the child is asked.
#[derive(Serialize, Deserialize)]
struct Job {
    subject: Subject,
    bounds: LoomBounds,
    limits: Limits,
    fail: Option<(uapi::outcome::Place, u32, u32)>,
}

/// What the child says.
#[derive(Clone, Debug, Serialize, Deserialize)]
enum Line {
    /// So far.
    Counted(Counted),
    /// The end, and whether everything within the bounds was run.
    Done(Counted, bool),
    /// The subject cannot be run.
    Refused(ModelError),
}

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Counted {
    executions: u64,
    failed: u64,
    splats: BTreeMap<String, u64>,
    first: Option<String>,
    steps_max_hit: bool,
    stale_compare: bool,
    injected: bool,
}

impl Counted {
    fn of(samples: &Samples, seen: &Seen) -> Counted {
        let Samples { executions, failed, splats, first, steps_max_hit } = samples.clone();
        let Seen { stale_compare, injected, .. } = *seen;
        Counted { executions, failed, splats, first, steps_max_hit, stale_compare, injected }
    }
}

/// What the hidden subcommand `loom-child` runs: reads a job from the standard input, writes
/// lines to the standard output. The value is the exit code.
pub fn loom_child() -> i32 {
    crate::backend::clear_environment();
    let mut text = String::new();
    if std::io::stdin().read_to_string(&mut text).is_err() {
        return 2;
    }
    let Ok(job) = serde_json::from_str::<Job>(&text) else { return 2 };
    let say = |line: &Line| {
        let text = serde_json::to_string(line).unwrap_or_default();
        let mut out = std::io::stdout().lock();
        writeln!(out, "{text}").and_then(|()| out.flush()).is_ok()
    };
    let fail: Vec<FailAt> =
        job.fail.iter().map(|&(place, index, nth)| FailAt { place, index, nth }).collect();
    let mut samples = Samples::default();
    let mut seen = Seen::default();
    let max = job.bounds.permutations_max;
    let explored =
        crate::backend::explore_loom(&job.subject, &job.bounds, &job.limits, &mut |outcome| {
            let splats = samples.splats.len();
            samples.count(&outcome);
            seen.look(&outcome, &fail);
            // The first executions and each new splat are said at once: the next execution may
            // take the process down.
            let news = samples.splats.len() != splats;
            if news || samples.executions == 1 || samples.executions % 1_000 == 0 {
                // A parent that is gone has no use for the rest.
                if !say(&Line::Counted(Counted::of(&samples, &seen))) {
                    return false;
                }
            }
            samples.executions < max
        });
    let line = match explored {
        Ok(exhausted) => Line::Done(Counted::of(&samples, &seen), exhausted),
        Err(e) => Line::Refused(e),
    };
    i32::from(!say(&line))
}

/// How a child ended.
struct Ran {
    counted: Counted,
    exhausted: bool,
    /// For the note, if it did not end by itself.
    cut: Option<String>,
}

/// Kills the child when the parent leaves early.
struct Reaped(Child);

impl Drop for Reaped {
    fn drop(&mut self) {
        // It may have ended by itself: then there is nothing to kill, and waiting succeeds.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run_child(
    exe: &Path,
    job: &Job,
    deadline: Instant,
    seconds: u64,
    watch: &mut dyn Watch,
) -> Result<Ran, LoomError> {
    let failed = |what: &str, e: &dyn std::fmt::Display| {
        LoomError::Child(format!("{what} `{} loom-child`: {e}", exe.display()))
    };
    let mut command = Command::new(exe);
    command.arg("loom-child");
    for name in crate::backend::foreign_variables() {
        command.env_remove(name);
    }
    let child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| failed("could not start", &e))?;
    let mut child = Reaped(child);
    let text = serde_json::to_string(job).map_err(|e| failed("could not ask", &e))?;
    if let Some(mut stdin) = child.0.stdin.take() {
        stdin.write_all(text.as_bytes()).map_err(|e| failed("could not ask", &e))?;
    }
    let (to, lines) = channel();
    if let Some(stdout) = child.0.stdout.take() {
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if to.send(line).is_err() {
                    break;
                }
            }
        });
    }
    // A child that panics may write more than a pipe holds; only its first words are shown.
    let stderr = child.0.stderr.take().map(|mut stderr| {
        std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = stderr.read_to_end(&mut text);
            String::from_utf8_lossy(&text).into_owned()
        })
    });
    let mut ran = Ran { counted: Counted::default(), exhausted: false, cut: None };
    loop {
        match lines.recv_timeout(Duration::from_millis(100)) {
            Ok(line) => match serde_json::from_str(&line) {
                Ok(Line::Counted(counted)) => {
                    watch.progress(&Progress {
                        executions: counted.executions,
                        failed: counted.failed,
                        fraction: counted.executions as f64
                            / job.bounds.permutations_max.max(1) as f64,
                        estimate: None,
                    });
                    ran.counted = counted;
                }
                Ok(Line::Done(counted, exhausted)) => {
                    ran.counted = counted;
                    ran.exhausted = exhausted;
                    return Ok(ran);
                }
                Ok(Line::Refused(e)) => return Err(LoomError::Model(e)),
                // Something of the child's printed to its standard output.
                Err(_) => {}
            },
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        if watch.interrupted() {
            ran.cut = Some("interrupted".to_string());
            return Ok(ran);
        }
        if Instant::now() >= deadline {
            ran.cut = Some(format!("stopped after {seconds} s"));
            return Ok(ran);
        }
    }
    let words = stderr.and_then(|t| t.join().ok()).unwrap_or_default();
    let words = first_words(&words);
    if ran.counted.executions == 0 {
        return Err(LoomError::Child(format!("it ended without an answer: {words}")));
    }
    ran.cut = Some(format!("loom aborted: {words}"));
    Ok(ran)
}

/// The message of a panic, or the first line.
fn first_words(stderr: &str) -> String {
    let mut lines = stderr.lines().map(str::trim).filter(|l| !l.is_empty());
    match lines.next() {
        Some(l) if l.contains("panicked at") => lines.next().unwrap_or(l).to_string(),
        Some(l) => l.to_string(),
        None => "no message".to_string(),
    }
}

/// Explores weak memory with loom, in the child process `exe loom-child`.
///
/// # Errors
///
/// If the subject cannot be run by loom, or the child fails in another way than loom's limits.
pub fn loom(
    subject: &Subject,
    bounds: &Bounds,
    exe: &Path,
    watch: &mut dyn Watch,
) -> Result<Finding, LoomError> {
    let total = std::cell::RefCell::new(Samples::default());
    let cuts = std::cell::RefCell::new(Vec::new());
    let exhausted = std::cell::Cell::new(true);
    let error = std::cell::RefCell::new(None);
    let deadline = Instant::now() + Duration::from_secs(bounds.loom_seconds);
    let note = families::each(
        subject,
        bounds.recycle,
        &mut |subject, fail, recycle| {
            let left = bounds.loom_permutations.saturating_sub(total.borrow().executions);
            let job = Job {
                subject: subject.clone(),
                bounds: LoomBounds {
                    permutations_max: left.max(1),
                    preemptions_max: bounds.preemptions_max,
                    branches_max: BRANCHES_MAX,
                },
                limits: Limits {
                    steps_max: bounds.steps_max,
                    recycle,
                    dependence: bounds.dependence,
                    ..Limits::default()
                },
                fail: fail.first().map(|f| (f.place, f.index, f.nth)),
            };
            let ran = match run_child(exe, &job, deadline, bounds.loom_seconds, watch) {
                Ok(ran) => ran,
                Err(LoomError::Model(e)) => return Err(e),
                Err(e) => {
                    *error.borrow_mut() = Some(e);
                    return Ok(Seen { over: true, ..Seen::default() });
                }
            };
            let Counted { stale_compare, injected, .. } = ran.counted;
            if fail.is_empty() || injected {
                add(&mut total.borrow_mut(), ran.counted);
                exhausted.set(exhausted.get() && ran.exhausted);
            }
            let used_up = total.borrow().executions >= bounds.loom_permutations;
            let over = ran.cut.is_some() || used_up;
            if let Some(cut) = ran.cut {
                cuts.borrow_mut().push(cut);
            }
            Ok(Seen { stale_compare, injected, over })
        },
        &mut || {
            *total.borrow_mut() = Samples::default();
            exhausted.set(true);
        },
    )
    .map_err(LoomError::Model)?;
    if let Some(e) = error.into_inner() {
        return Err(e);
    }
    let mut parts = Vec::new();
    let exhausted = exhausted.get();
    if exhausted {
        parts.push("exhausted".to_string());
    } else if cuts.borrow().is_empty() {
        parts.push(format!("permutations <= {}", bounds.loom_permutations));
    }
    parts.append(&mut cuts.into_inner());
    if let Some(n) = bounds.preemptions_max {
        parts.push(format!("preemptions <= {n}"));
    }
    if total.borrow().failed == 0 {
        parts.push("misses: see limits".to_string());
    }
    Ok(total.into_inner().finding(exhausted, parts.join(", ") + &note))
}

fn add(total: &mut Samples, counted: Counted) {
    total.executions += counted.executions;
    total.failed += counted.failed;
    total.steps_max_hit |= counted.steps_max_hit;
    for (splat, n) in counted.splats {
        *total.splats.entry(splat).or_default() += n;
    }
    if total.first.is_none() {
        total.first = counted.first;
    }
}
