//! Writing an interleaving down as a [`Schedule`], and running one again.

use crate::backend::{self, function_at};
use crate::families::inject;
use crate::{
    Backend, FailAt, ModelError, ReplayError, Replayed, Schedule, Segment, Subject, Until,
};
use std::collections::BTreeMap;
use uapi::outcome::Outcome;
use uapi::pick::Pick;
use uapi::program::Limits;
use uapi::step::{sleeper_of, Cpu, Pending, CPU_NUMBERS};

/// How often each CPU has made each step so far, by C function and primitive.
#[derive(Default)]
struct Made([BTreeMap<(&'static str, &'static str), u32>; CPU_NUMBERS]);

impl Made {
    /// The occurrence that the announced step would be, from 1.
    fn next(&self, backend: Backend, p: &Pending) -> (&'static str, u32) {
        let function = function_at(backend, p.site);
        (function, self.0[usize::from(p.cpu)].get(&(function, p.op)).map_or(1, |n| n + 1))
    }

    fn make(&mut self, backend: Backend, p: &Pending) {
        let function = function_at(backend, p.site);
        *self.0[usize::from(p.cpu)].entry((function, p.op)).or_default() += 1;
    }
}

/// Repeats a list of choices and writes them down as segments.
struct Recorder<'a> {
    backend: Backend,
    choices: &'a [Cpu],
    at: usize,
    made: Made,
    segments: Vec<Segment>,
}

impl Pick for Recorder<'_> {
    fn pick(&mut self, pending: &[Pending], _current: Option<Cpu>) -> Option<Cpu> {
        let cpu = *self.choices.get(self.at)?;
        let step = pending.iter().find(|p| p.cpu == cpu && p.enabled)?;
        if self.segments.last().map(|s| s.cpu) != Some(cpu) {
            if let Some(last) = self.segments.last_mut() {
                if let Some(p) = pending.iter().find(|p| p.cpu == last.cpu) {
                    let (function, nth) = self.made.next(self.backend, p);
                    let (function, op) = (function.to_string(), p.op.to_string());
                    last.until = Until::Before { function, op, nth };
                }
            }
            self.segments.push(Segment { cpu, until: Until::End });
        }
        self.made.make(self.backend, step);
        self.at += 1;
        Some(cpu)
    }
}

/// Runs these choices again, with the trace, and gives the schedule that repeats them. `None` if
/// the model does not repeat them.
pub(crate) fn record(
    subject: &Subject,
    fail: &[FailAt],
    choices: &[Cpu],
    limits: &Limits,
    backend: Backend,
) -> Result<Option<(Outcome, Schedule)>, ModelError> {
    let mut recorder =
        Recorder { backend, choices, at: 0, made: Made::default(), segments: Vec::new() };
    let limits = Limits { trace: true, ..*limits };
    let outcome = backend::run(backend, subject, &mut recorder, &limits)?;
    let Recorder { at, segments, .. } = recorder;
    Ok(outcome.filter(|_| at == choices.len()).map(|outcome| {
        (outcome, Schedule { recycle: limits.recycle, fail: fail.to_vec(), segments })
    }))
}

/// Follows a schedule.
struct Follower<'a> {
    backend: Backend,
    schedule: &'a Schedule,
    segment: usize,
    /// Steps made in this segment.
    inside: u32,
    choices: Vec<Cpu>,
    made: Made,
    differs: Option<ReplayError>,
}

impl Follower<'_> {
    fn differ(&mut self, expected: String, instead: String) -> Option<Cpu> {
        self.differs = Some(ReplayError::Differs {
            segment: self.segment,
            step: self.choices.len(),
            expected,
            instead,
        });
        None
    }

    fn describe(&self, p: &Pending) -> String {
        let (function, nth) = self.made.next(self.backend, p);
        let state = if p.enabled { "" } else { ", where it is blocked" };
        format!("CPU {} is before {} in {function} (occurrence {nth}){state}", p.cpu, p.op)
    }
}

fn expected(segment: &Segment) -> String {
    match &segment.until {
        Until::End => format!("CPU {} to run to its end", segment.cpu),
        Until::Before { function, op, nth } => {
            format!("CPU {} to come before {op} in {function} (occurrence {nth})", segment.cpu)
        }
    }
}

impl Pick for Follower<'_> {
    fn pick(&mut self, pending: &[Pending], _current: Option<Cpu>) -> Option<Cpu> {
        loop {
            let Some(segment) = self.schedule.segments.get(self.segment) else {
                // A program in which only one CPU has steps needs no segments at all.
                let mut enabled = pending.iter().filter(|p| p.enabled);
                if let (true, Some(p), None) =
                    (self.schedule.segments.is_empty(), enabled.next(), enabled.next())
                {
                    self.choices.push(p.cpu);
                    return Some(p.cpu);
                }
                let instead = pending.iter().map(|p| self.describe(p)).collect::<Vec<_>>();
                return self.differ("the end of the execution".to_string(), instead.join("; "));
            };
            let p = pending.iter().find(|p| p.cpu == segment.cpu);
            let arrived = match (&segment.until, p) {
                (Until::End, None) if self.inside == 0 && sleeper_of(segment.cpu).is_some() => {
                    let what = format!("timer {} to fire", segment.cpu);
                    return self.differ(what, "it is not armed".to_string());
                }
                (Until::End, None) => true,
                (Until::End, Some(p)) => !p.enabled,
                (Until::Before { .. }, None) => {
                    let instead = format!("CPU {} finished without it", segment.cpu);
                    return self.differ(expected(segment), instead);
                }
                (Until::Before { function, op, nth }, Some(p)) => {
                    let (in_function, occurrence) = self.made.next(self.backend, p);
                    let here = in_function == function && p.op == op && occurrence == *nth;
                    if !here && !p.enabled {
                        let instead = self.describe(p);
                        return self.differ(expected(segment), instead);
                    }
                    here
                }
            };
            if arrived {
                self.segment += 1;
                self.inside = 0;
                continue;
            }
            if let Some(p) = p {
                self.made.make(self.backend, p);
            }
            self.inside += 1;
            self.choices.push(segment.cpu);
            return Some(segment.cpu);
        }
    }
}

/// How often the CPU changes.
pub(crate) fn context_switches(choices: &[Cpu]) -> u32 {
    choices.windows(2).filter(|w| w[0] != w[1]).count() as u32
}

/// Runs one schedule again. The schedule says how the heap hands out addresses and what fails;
/// everything else is taken from `limits`.
///
/// # Errors
///
/// If the subject cannot be run, or the execution goes another way than the schedule says.
pub fn replay(
    subject: &Subject,
    schedule: &Schedule,
    backend: Backend,
    limits: &Limits,
) -> Result<Replayed, ReplayError> {
    let subject = inject(subject, &schedule.fail).map_err(ReplayError::Foreign)?;
    let limits = Limits { recycle: schedule.recycle, ..*limits };
    let mut follower = Follower {
        backend,
        schedule,
        segment: 0,
        inside: 0,
        choices: Vec::new(),
        made: Made::default(),
        differs: None,
    };
    let outcome = backend::run(backend, &subject, &mut follower, &limits)?;
    if let Some(differs) = follower.differs {
        return Err(differs);
    }
    // An execution that ends while the token still wants something went another way, too.
    let mut rest = schedule.segments.iter().skip(follower.segment);
    let unfinished = rest.find(|s| s.until != Until::End);
    match (outcome, unfinished) {
        (Some(outcome), None) => {
            let context_switches = context_switches(&follower.choices);
            Ok(Replayed { outcome, context_switches })
        }
        (_, segment) => Err(ReplayError::Differs {
            segment: follower.segment,
            step: follower.choices.len(),
            expected: segment.map_or_else(|| "an outcome".to_string(), expected),
            instead: "the execution ended".to_string(),
        }),
    }
}
