//! The replay token: one interleaving, written down by operations instead of step numbers.
//!
//! `0:iommufd_vdevice_destroy.xa_erase#1,1:end,0:end` reads: CPU 0 runs until just before its
//! first `xa_erase` in `iommufd_vdevice_destroy`, CPU 1 runs to its end, CPU 0 runs to its end.
//! Occurrences are counted per CPU and per (function, operation), so that a step added elsewhere
//! in the model does not shift them. Prefixes say how the execution was set up: `recycle/` (freed
//! addresses are handed out again), `fail=cpu1.0:2/` (the second failing point of step 0 of CPU 1
//! was injected).

use std::fmt;
use std::str::FromStr;
use uapi::outcome::Place;
use uapi::step::{Cpu, CPU_NUMBERS};

/// One interleaving.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Schedule {
    /// Whether freed addresses are handed out again at once.
    pub recycle: bool,
    /// Injected failures, for program steps with `fail_nth = any`.
    pub fail: Vec<FailAt>,
    /// Who runs, in order.
    pub segments: Vec<Segment>,
}

/// An injected failure of one program step.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FailAt {
    /// The list that the step stands in.
    pub place: Place,
    /// Its index there.
    pub index: u32,
    /// Which of its fault-capable primitives fails, from 1.
    pub nth: u32,
}

/// One CPU's run without a switch.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Segment {
    /// Who runs. Numbers from `CPUS_MAX` on are timers.
    pub cpu: Cpu,
    /// How far.
    pub until: Until,
}

/// Where a run without a switch ends.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Until {
    /// The CPU is done, or cannot run any more.
    End,
    /// Just before this step, which stays the CPU's next one.
    Before {
        /// C function.
        function: String,
        /// The primitive's C name.
        op: String,
        /// Which occurrence on this CPU, from 1.
        nth: u32,
    },
}

/// Why a text is no token.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ScheduleError {
    /// Byte offset of the part that cannot be read.
    pub at: usize,
    /// What would be right there.
    pub expected: &'static str,
}

impl fmt::Display for ScheduleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the replay token cannot be read at byte {}: expected {}; a token looks like \
             `0:iommufd_vdevice_destroy.xa_erase#1,1:end,0:end`",
            self.at, self.expected
        )
    }
}

impl std::error::Error for ScheduleError {}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.recycle {
            f.write_str("recycle/")?;
        }
        for fail in &self.fail {
            match fail.place {
                Place::Setup => write!(f, "fail=setup.{}:{}/", fail.index, fail.nth)?,
                Place::Cpu(c) => write!(f, "fail=cpu{c}.{}:{}/", fail.index, fail.nth)?,
                Place::Finally => write!(f, "fail=finally.{}:{}/", fail.index, fail.nth)?,
                Place::Exit => write!(f, "fail=exit.{}:{}/", fail.index, fail.nth)?,
            }
        }
        for (i, s) in self.segments.iter().enumerate() {
            if i > 0 {
                f.write_str(",")?;
            }
            match &s.until {
                Until::End => write!(f, "{}:end", s.cpu)?,
                Until::Before { function, op, nth } => {
                    write!(f, "{}:{function}.{op}#{nth}", s.cpu)?;
                }
            }
        }
        Ok(())
    }
}

impl FromStr for Schedule {
    type Err = ScheduleError;

    fn from_str(text: &str) -> Result<Schedule, ScheduleError> {
        let offset = |part: &str| part.as_ptr() as usize - text.as_ptr() as usize;
        let err = |part: &str, expected| ScheduleError { at: offset(part), expected };
        let mut schedule = Schedule::default();
        let mut rest = text;
        while let Some((head, tail)) = rest.split_once('/') {
            if head == "recycle" {
                schedule.recycle = true;
            } else if let Some(fail) = head.strip_prefix("fail=") {
                schedule.fail.push(
                    parse_fail(fail).ok_or_else(|| err(fail, "an injection such as `cpu1.0:2`"))?,
                );
            } else {
                return Err(err(head, "`recycle` or `fail=` before a slash"));
            }
            rest = tail;
        }
        if rest.is_empty() {
            // A program with one CPU needs no choice at all.
            return Ok(schedule);
        }
        for part in rest.split(',') {
            schedule.segments.push(parse_segment(part).map_err(|expected| err(part, expected))?);
        }
        Ok(schedule)
    }
}

fn parse_segment(part: &str) -> Result<Segment, &'static str> {
    let (cpu, until) = part.split_once(':').ok_or("a segment `CPU:function.op#n` or `CPU:end`")?;
    let cpu: Cpu = cpu.parse().map_err(|_| "a CPU number before the colon")?;
    if usize::from(cpu) >= CPU_NUMBERS {
        return Err("a CPU number below 16");
    }
    if until == "end" {
        return Ok(Segment { cpu, until: Until::End });
    }
    let (name, nth) = until.rsplit_once('#').ok_or("`#` and an occurrence after the operation")?;
    let nth: u32 = nth.parse().map_err(|_| "an occurrence number, from 1, after `#`")?;
    if nth == 0 {
        return Err("an occurrence number, from 1, after `#`");
    }
    let (function, op) = name.rsplit_once('.').ok_or("`function.operation` before `#`")?;
    if op.is_empty() {
        return Err("an operation before `#`");
    }
    Ok(Segment {
        cpu,
        until: Until::Before { function: function.to_string(), op: op.to_string(), nth },
    })
}

fn parse_fail(text: &str) -> Option<FailAt> {
    let (step, nth) = text.split_once(':')?;
    let (place, index) = step.split_once('.')?;
    let place = match place {
        "setup" => Place::Setup,
        "finally" => Place::Finally,
        "exit" => Place::Exit,
        _ => Place::Cpu(place.strip_prefix("cpu")?.parse().ok()?),
    };
    Some(FailAt { place, index: index.parse().ok()?, nth: nth.parse().ok().filter(|n| *n > 0)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back() {
        for text in [
            "",
            "0:iommufd_vdevice_destroy.xa_erase#1,1:end,0:end",
            "recycle/fail=cpu1.0:2/fail=setup.3:1/9:end,0:.xa_load#12",
        ] {
            let schedule: Schedule = text.parse().expect("a token");
            assert_eq!(schedule.to_string(), text);
        }
    }

    #[test]
    fn a_bad_token_says_where_and_what_would_be_right() {
        for (text, at) in [
            ("0", 0),
            ("0:end,x:end", 6),
            ("0:end,", 6),
            ("16:end", 0),
            ("0:f.op", 0),
            ("0:f.op#0", 0),
            ("0:op#1", 0),
            ("recycled/0:end", 0),
            ("fail=cpu0.0/0:end", 5),
            ("0:f.#1", 0),
        ] {
            let e = text.parse::<Schedule>().expect_err(text);
            assert_eq!(e.at, at, "{text}: {e}");
        }
    }
}
