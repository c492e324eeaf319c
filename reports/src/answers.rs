//! The command `answers`: replays what a real kernel was asked, and says where a row of the model
//! answers differently.
//!
//! A sequence runs on one CPU, so one execution answers it. A sweep of injected failures and a
//! drain depend on what came before: they run the steps before them again, which give the same
//! each time.

use crate::cli::{Failed, Text};
use crate::output::{answer, tell};
use crate::record::json;
use crate::rows::canonical_of_iommufd;
use crate::run::Exit;
use scenarios::answers::{
    departures, Action, Converter, Departure, Injection, Recorded, Recording, Sequence,
};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;
use uapi::call::{signature, ArgKind, Call};
use uapi::errno::Ret;
use uapi::outcome::{Outcome, Place, StepResult};
use uapi::pick::{FirstEnabled, Subject};
use uapi::program::{FailNth, Limits, Operand, Step};
use uapi::splat::{Kind, Splat};

/// What a recorder polls for.
const POLLIN: u64 = 0x1;

/// Steps of the model after which a sequence is given up.
const STEPS_MAX: u32 = 20_000_000;

/// Points that can fail after which a sweep is given up.
const SWEEP_MAX: u32 = 200;

/// Rounds after which a drain is given up.
const ROUNDS_MAX: usize = 64;

/// The highest id that a drain tries.
const ID_MAX: u64 = 1 << 12;

/// Ids beyond the highest one given out that a drain tries, too: an object that the model keeps
/// although the kernel does not.
const BEYOND: u64 = 8;

/// The first differing step of a sequence.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Difference {
    /// Its number in the sequence, from 1; none for what was printed at the end.
    pub step: Option<usize>,
    /// Its line in the file.
    pub line: usize,
    /// The step as a script spells it.
    pub text: String,
    /// What the kernel said.
    pub kernel: String,
    /// What the model said.
    pub model: String,
}

/// How one sequence compares.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Compared {
    /// The sequence.
    pub sequence: String,
    /// Where it differs first.
    pub difference: Option<Difference>,
    /// Why the difference stays, if it is a recorded one.
    pub reason: Option<String>,
}

/// The whole file.
#[derive(Serialize)]
struct Report<'a> {
    file: &'a str,
    revision: &'a str,
    sequences: &'a [Compared],
    agree: usize,
    differ: usize,
}

/// `answers FILE --revision R`
///
/// # Errors
///
/// A file that cannot be read, and a revision that there is not.
pub fn answers(file: &Path, revision: &str, format: Text) -> Result<Exit, Failed> {
    let row = canonical_of_iommufd(revision).map_err(Failed::usage)?;
    let recording = Recording::read(file)?;
    let stay = departures().map_err(Failed::usage)?;
    let compared = compare(&recording, row, &stay)?;

    let differ = compared.iter().filter(|c| c.difference.is_some()).count();
    let agree = compared.len() - differ;
    match format {
        Text::Human => tell(&human(&compared, agree, differ)),
        Text::Json => {
            let report = Report {
                file: &recording.file,
                revision: row,
                sequences: &compared,
                agree,
                differ,
            };
            let text = json(&report).map_err(|e| Failed::Because(e, Exit::Differs))?;
            answer(&text);
        }
    }
    Ok(if differ == 0 { Exit::AsRecorded } else { Exit::Differs })
}

fn human(compared: &[Compared], agree: usize, differ: usize) -> String {
    let mut text = String::new();
    for c in compared {
        let Some(d) = &c.difference else { continue };
        let at = match d.step {
            Some(step) => format!("step {step} differs"),
            None => "what was printed differs".to_string(),
        };
        let _ = writeln!(text, "{}: {at} (line {})", c.sequence, d.line);
        let _ = writeln!(text, "  {}", d.text);
        let _ = writeln!(text, "  the kernel: {}", d.kernel);
        let _ = writeln!(text, "  the model:  {}", d.model);
        if let Some(reason) = &c.reason {
            let _ = writeln!(text, "  known: {reason}");
        }
    }
    let _ = writeln!(
        text,
        "{} sequence{}: {agree} agree, {differ} differ",
        compared.len(),
        if compared.len() == 1 { "" } else { "s" }
    );
    text
}

/// Compares every sequence of a recording with a row.
///
/// # Errors
///
/// If a sequence cannot be run.
pub fn compare(
    recording: &Recording,
    row: &str,
    stay: &[Departure],
) -> Result<Vec<Compared>, Failed> {
    let mut printed = BTreeSet::new();
    recording
        .sequences
        .iter()
        .map(|sequence| {
            let difference = Replay::new(sequence, row).compare(&printed)?;
            printed.extend(sequence.kmsg.iter().flatten().filter_map(|l| line_kind(l)));
            let reason = stay
                .iter()
                .find(|d| d.revision == row && d.sequence == sequence.name)
                .map(|d| d.reason.clone());
            Ok(Compared {
                sequence: sequence.name.clone(),
                reason: reason.filter(|_| difference.is_some()),
                difference,
            })
        })
        .collect()
}

/// What a kernel prints, by its kind.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Printed {
    /// `refcount_t: …`
    Refcount,
    /// `WARNING: … mm/page_alloc.c …`
    PageAllocator,
    /// Another WARN.
    Warning,
    /// `BUG: KASAN: …`
    Kasan,
    /// A lock is misused.
    Lockdep,
    /// `INFO: task … blocked`
    HungTask,
    /// Another BUG or oops.
    Bug,
}

impl Printed {
    fn words(self) -> &'static str {
        match self {
            Printed::Refcount => "refcount_t",
            Printed::PageAllocator => "WARNING in mm/page_alloc.c",
            Printed::Warning => "WARNING",
            Printed::Kasan => "BUG: KASAN",
            Printed::Lockdep => "lockdep",
            Printed::HungTask => "hung task",
            Printed::Bug => "BUG",
        }
    }

    /// Whether a kernel prints it once per boot only (WARN_ONCE).
    fn once(self) -> bool {
        matches!(self, Printed::Refcount | Printed::PageAllocator | Printed::Lockdep)
    }
}

/// The kind of a line of the kernel's log; `None` for a line that only goes with another one.
fn line_kind(line: &str) -> Option<Printed> {
    let says = |parts: &[&str]| parts.iter().any(|part| line.contains(part));
    if says(&["refcount_t:"]) {
        Some(Printed::Refcount)
    } else if says(&["lib/refcount.c", "refcount_warn_saturate"]) {
        // The WARN that prints the line above.
        None
    } else if says(&["KASAN"]) {
        Some(Printed::Kasan)
    } else if says(&["possible recursive locking", "possible circular locking", "bad unlock"])
        || says(&["held lock freed", "lock held when returning", "invalid context"])
    {
        Some(Printed::Lockdep)
    } else if says(&["blocked for more than", "task hung"]) {
        Some(Printed::HungTask)
    } else if says(&["WARNING"]) {
        let page = says(&["page_alloc", "__alloc_pages", "__alloc_frozen_pages"]);
        Some(if page { Printed::PageAllocator } else { Printed::Warning })
    } else if says(&["BUG", "Oops", "general protection fault", "unable to handle"]) {
        Some(Printed::Bug)
    } else {
        None
    }
}

/// The kind of a splat of the model; `None` for what a kernel goes silently past.
fn splat_kind(splat: &Splat) -> Option<Printed> {
    match splat.kind {
        Kind::RefcountAddOnZero
        | Kind::RefcountSaturated
        | Kind::RefcountUnderflow
        | Kind::RefcountDecHitZero => Some(Printed::Refcount),
        Kind::KasanUseAfterFree
        | Kind::KasanDoubleFree
        | Kind::KasanInvalidFree
        | Kind::WaitedLockFreed => Some(Printed::Kasan),
        Kind::NullDeref | Kind::BadDeref | Kind::SoftLockup => Some(Printed::Bug),
        Kind::Warn if splat.function.starts_with("__alloc_pages") => Some(Printed::PageAllocator),
        Kind::Warn | Kind::AssertHeld | Kind::ListDoubleAdd => Some(Printed::Warning),
        Kind::RecursiveLock
        | Kind::CircularLock
        | Kind::BadUnlock
        | Kind::HeldLockFreed
        | Kind::HeldAtReturn
        | Kind::SleepInAtomic => Some(Printed::Lockdep),
        Kind::HungTask => Some(Printed::HungTask),
        // kmemleak and KCSAN are other kernels; the rest is the testbed's own.
        Kind::Leak
        | Kind::DataRace
        | Kind::FreeRace
        | Kind::Invariant
        | Kind::UnexpectedAnswer
        | Kind::Assertion => None,
    }
}

/// What a kernel said in a part of a sweep.
struct Met<'a> {
    rets: BTreeSet<&'a str>,
    free: BTreeSet<u64>,
}

impl<'a> Met<'a> {
    fn of(sweep: impl Iterator<Item = &'a Injection> + Clone) -> Met<'a> {
        Met {
            rets: sweep.clone().map(|s| bare(&s.ret)).collect(),
            free: sweep.filter_map(|s| s.next_free_id).collect(),
        }
    }
}

/// One sequence on one row.
struct Replay<'a> {
    sequence: &'a Sequence,
    row: &'a str,
    converter: Converter,
    /// The steps of the program so far.
    made: Vec<Step>,
    /// Which recorded step each compared step of the program is.
    compared: Vec<(usize, usize)>,
    /// Differences, by recorded step.
    differences: BTreeMap<usize, (String, String)>,
}

impl<'a> Replay<'a> {
    fn new(sequence: &'a Sequence, row: &'a str) -> Replay<'a> {
        Replay {
            sequence,
            row,
            converter: Converter::default(),
            made: Vec::new(),
            compared: Vec::new(),
            differences: BTreeMap::new(),
        }
    }

    fn compare(mut self, earlier: &BTreeSet<Printed>) -> Result<Option<Difference>, Failed> {
        for (i, recorded) in self.sequence.steps.iter().enumerate() {
            let action = self.converter.next(recorded).map_err(|(message, _)| {
                Failed::usage(format!("line {}: {message}", recorded.line))
            })?;
            match action {
                Action::Nothing => {}
                Action::Missing(what) => {
                    self.differences.insert(i, (said(recorded), what));
                    // What follows depends on it.
                    break;
                }
                Action::Make(steps) => {
                    self.made.extend(steps);
                    self.compared.push((self.made.len() - 1, i));
                }
                Action::Sweep(step) => self.sweep(i, recorded, step)?,
                Action::Drain(file) => self.drain(i, recorded, &file)?,
            }
            if !self.differences.is_empty() {
                break;
            }
        }

        let outcome = self.run(self.made.clone(), false)?;
        for (at, i) in std::mem::take(&mut self.compared) {
            let recorded = &self.sequence.steps[i];
            if let Some(difference) = compare_step(recorded, &self.made[at], &outcome, at) {
                self.differences.entry(i).or_insert(difference);
            }
        }
        let first = self.differences.pop_first().map(|(i, (kernel, model))| {
            let recorded = &self.sequence.steps[i];
            Difference {
                step: Some(i + 1),
                line: recorded.line,
                text: recorded.text(),
                kernel,
                model,
            }
        });
        match first {
            Some(first) => Ok(Some(first)),
            None => self.printed(&outcome, earlier),
        }
    }

    /// One execution of these steps. Without KASAN, what touches freed memory goes on, as in
    /// most kernels; with it, the model stops there.
    fn run(&self, steps: Vec<Step>, kasan: bool) -> Result<Outcome, Failed> {
        let program = self.converter.program(steps);
        let subject = Subject::Program { program, revision: self.row.to_owned() };
        let limits = Limits { steps_max: STEPS_MAX, kasan, ..Limits::default() };
        let outcome = model_native::run(&subject, &mut FirstEnabled, &limits)
            .map_err(|e| Failed::Because(e.to_string(), Exit::BadUsage))?;
        outcome.ok_or_else(|| Failed::Because("no CPU could run".to_string(), Exit::Differs))
    }

    /// A sweep: each answer is one of the recorded ones, and what fails leaves nothing.
    fn sweep(&mut self, i: usize, recorded: &Recorded, step: Step) -> Result<(), Failed> {
        let sweep = recorded.answer.sweep.as_deref().unwrap_or_default();
        let all = Met::of(sweep.iter());
        // Where nothing was made to fail there is one answer.
        let last = Met::of(sweep.iter().filter(|s| !s.injected));
        let at = self.made.len();

        for nth in 1..=SWEEP_MAX {
            let mut steps = self.made.clone();
            steps.push(Step { fail_nth: FailNth::Nth(nth), ..step.clone() });
            steps.push(Action::probe(&step.file));
            let outcome = self.run(steps, false)?;
            let (Some(made), Some(probe)) = (result(&outcome, at), result(&outcome, at + 1)) else {
                break;
            };
            let Met { rets, free } = if made.injected { &all } else { &last };
            let ret = spelt(made.ret);
            let next_free = probe.out.first().copied();
            let kept =
                ret != "OK" && !free.is_empty() && next_free.is_some_and(|id| !free.contains(&id));
            if (!rets.is_empty() && !rets.contains(ret)) || kept {
                let kernel = format!("one of {}", list(rets));
                let kernel = match free.is_empty() {
                    true => kernel,
                    false => format!("{kernel}; lowest free id {}", list(free)),
                };
                let id = next_free.map_or("none".to_string(), |id| id.to_string());
                let model = format!("{ret} for nth {nth}; lowest free id {id}");
                self.differences.insert(i, (kernel, model));
                return Ok(());
            }
            if !made.injected {
                break;
            }
        }
        self.made.push(step);
        self.compared.push((at, i));
        Ok(())
    }

    /// A drain: every id upward, again and again, until nothing is destroyed any more.
    fn drain(&mut self, i: usize, recorded: &Recorded, file: &Operand) -> Result<(), Failed> {
        let wanted = recorded.answer.rounds.clone().unwrap_or_default();
        let named = wanted.iter().flat_map(|round| round.keys().copied()).max().unwrap_or(0);
        let last = self.converter.id_max().max(named).min(ID_MAX) + BEYOND;
        let mut rounds: Vec<BTreeMap<u64, String>> = Vec::new();

        while rounds.len() < ROUNDS_MAX {
            let at = self.made.len();
            self.made.extend((1..=last).map(|id| Action::destroy(file, id)));
            let outcome = self.run(self.made.clone(), false)?;
            let round: BTreeMap<u64, String> = (1..=last)
                .zip(at..)
                .filter_map(|(id, at)| Some((id, spelt(result(&outcome, at)?.ret).to_string())))
                .filter(|(_, ret)| ret != "ENOENT")
                .collect();
            let moved = round.values().any(|ret| ret == "OK");
            rounds.push(round);
            if !moved {
                break;
            }
        }
        if recorded.answer.rounds.is_some() {
            let bare = |rounds: &[BTreeMap<u64, String>]| -> Vec<String> {
                rounds.iter().map(round_text).filter(|r| !r.is_empty()).collect()
            };
            let (kernel, model) = (bare(&wanted), bare(&rounds));
            if kernel != model {
                self.differences.insert(i, (kernel.join(" / "), model.join(" / ")));
            }
        }
        Ok(())
    }

    /// What was printed, by its kind.
    fn printed(
        &self,
        outcome: &Outcome,
        earlier: &BTreeSet<Printed>,
    ) -> Result<Option<Difference>, Failed> {
        let Some(kmsg) = self.sequence.kmsg.as_ref() else { return Ok(None) };
        let kernel: BTreeSet<Printed> = kmsg.iter().filter_map(|l| line_kind(l)).collect();
        let mut model: BTreeSet<Printed> = outcome.splats.iter().filter_map(splat_kind).collect();
        if kernel.contains(&Printed::Kasan) {
            // A kernel that has KASAN: does the model, too, report something?
            let watched = self.run(self.made.clone(), true)?;
            let kinds = watched.splats.iter().filter_map(splat_kind);
            model.extend(kinds.filter(|kind| *kind == Printed::Kasan));
        }
        let shown_before = |kind: &Printed| kind.once() && earlier.contains(kind);
        let more = model.iter().any(|kind| !kernel.contains(kind) && !shown_before(kind));
        if kernel.is_subset(&model) && !more {
            return Ok(None);
        }
        let words = |kinds: &BTreeSet<Printed>| match kinds.is_empty() {
            true => "nothing".to_string(),
            false => kinds.iter().map(|k| k.words()).collect::<Vec<_>>().join(", "),
        };
        let lines = |all: Vec<String>| match all.is_empty() {
            true => String::new(),
            false => format!(" ({})", all.join("; ")),
        };
        let splats = outcome.splats.iter().filter(|s| splat_kind(s).is_some());
        Ok(Some(Difference {
            step: None,
            line: self.sequence.line,
            text: "end".to_string(),
            kernel: format!("{}{}", words(&kernel), lines(kmsg.clone())),
            model: format!("{}{}", words(&model), lines(splats.map(Splat::to_string).collect())),
        }))
    }
}

fn result(outcome: &Outcome, at: usize) -> Option<&StepResult> {
    let found =
        outcome.results.iter().find(|r| r.place == Place::Cpu(0) && r.index as usize == at)?;
    found.ret.is_some().then_some(found)
}

/// An errno without its sign, or OK.
fn spelt(ret: Option<Ret>) -> &'static str {
    match ret {
        Some(Ret::Err(errno)) => errno.name(),
        Some(Ret::Ok) | None => "OK",
    }
}

fn bare(ret: &str) -> &str {
    ret.strip_prefix('-').unwrap_or(ret)
}

fn list<T: ToString>(all: &BTreeSet<T>) -> String {
    all.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}

fn round_text(round: &BTreeMap<u64, String>) -> String {
    let parts: Vec<String> = round.iter().map(|(id, ret)| format!("{id}: {}", bare(ret))).collect();
    parts.join(", ")
}

/// What the kernel said to a step, in words.
fn said(recorded: &Recorded) -> String {
    let a = &recorded.answer;
    let mut parts = vec![a.ret.clone().unwrap_or_else(|| "answers".to_string())];
    parts.extend(a.out.iter().map(|(name, id)| format!("{name} {id}")));
    parts.extend(a.entry_num_out.map(|n| format!("entry_num {n}")));
    parts.extend(a.out_data_type.map(|n| format!("out_data_type {n:#x}")));
    parts.extend(a.data_out.iter().flatten().take(1).map(|d| format!("data_out {d:02x?}")));
    parts.extend(a.n.map(|n| format!("n {n}")));
    parts.extend(a.words.as_ref().map(|w| format!("words {w:?}")));
    parts.extend(a.revents.map(|n| format!("revents {n}")));
    parts.join(", ")
}

/// What differs in one step: what the kernel said, and what the model said.
fn compare_step(
    recorded: &Recorded,
    step: &Step,
    outcome: &Outcome,
    at: usize,
) -> Option<(String, String)> {
    let a = &recorded.answer;
    let Some(made) = result(outcome, at) else {
        let why =
            outcome.splats.first().map_or("it was not reached".to_string(), |s| s.to_string());
        return Some((said(recorded), format!("no answer: {why}")));
    };
    let ret = spelt(made.ret);
    let mut differs = a.ret.as_deref().is_some_and(|wanted| bare(wanted) != ret);
    let mut model = vec![ret.to_string()];

    // The ids, whatever the order of their names in the file. The number of a descriptor is the
    // recorder's own business.
    if !a.out.is_empty() && step.call != Call::CreateAccess {
        let mut wanted: Vec<u64> = a.out.iter().map(|(_, id)| *id).collect();
        let mut ids = ids_of(step.call, &made.out);
        model.extend(ids.iter().map(|id| format!("id {id}")));
        wanted.sort_unstable();
        ids.sort_unstable();
        let named = wanted.len() < ids.len() && wanted.iter().all(|id| ids.contains(id));
        // A descriptor may stand beside the id.
        let gives_file = signature(step.call).outs.iter().any(|out| out.kind == ArgKind::File);
        let beside = gives_file && ids.iter().all(|id| wanted.contains(id));
        differs |= wanted != ids && !named && !beside;
    }
    if let Some(wanted) = a.entry_num_out {
        // What was not written back is what user space passed in.
        let seen = made.entry_num.map_or_else(|| passed(step, "entry_num"), u64::from);
        model.push(format!("entry_num {seen}"));
        differs |= seen != wanted;
    }
    let ok = ret == "OK";
    if let (Some(wanted), true) = (a.out_data_type, ok) {
        let seen = made.out.first().copied().unwrap_or(0);
        model.push(format!("out_data_type {seen:#x}"));
        differs |= seen != wanted;
    }
    if let (Some(wanted), Call::Read) = (a.n, step.call) {
        let n = if ok { made.out.first().map_or(0, |n| *n as i64) } else { -1 };
        model.push(format!("n {n}"));
        differs |= n != wanted;
    }
    if let (Some(wanted), Call::Read) = (&a.words, step.call) {
        let words: Vec<u64> = made.out.iter().skip(1).copied().collect();
        model.push(format!("words {words:?}"));
        differs |= words != *wanted;
    }
    if let (Some(wanted), Call::Poll, true) = (a.revents, step.call, ok) {
        // What the recorder asked for is not recorded: POLLIN at the least.
        let revents = made.out.first().copied().unwrap_or(0);
        model.push(format!("revents {revents}"));
        differs |= wanted & !revents != 0 || (wanted ^ revents) & POLLIN != 0;
    }
    if let (Some(readings), Call::GetHwInfo, true) = (&a.data_out, step.call, ok) {
        // What user space has room for, and zeros behind what the driver has.
        let words = made.out.iter().skip(1).map(|word| (*word as u32).to_le_bytes());
        let mut data: Vec<u8> = words.flatten().collect();
        data.resize(passed(step, "data_len").min(1 << 12) as usize, 0);
        model.push(format!("data_out {data:02x?}"));
        // The recorder may show more of its buffer than it passed.
        differs |= !readings.iter().any(|reading| reading.starts_with(&data));
    }
    differs.then(|| (said(recorded), model.join(", ")))
}

/// The outputs of a call that are ids.
fn ids_of(call: Call, out: &[u64]) -> Vec<u64> {
    let kinds = signature(call).outs.iter().map(|o| o.kind);
    out.iter()
        .zip(kinds)
        .filter(|(_, kind)| matches!(kind, ArgKind::Id | ArgKind::Device))
        .map(|(id, _)| *id)
        .collect()
}

/// The number that a step passes in a field.
fn passed(step: &Step, field: &str) -> u64 {
    let at = signature(step.call).args.iter().position(|arg| arg.name == field);
    match at.and_then(|at| step.args.get(at)) {
        Some(Operand::Num(n)) => *n,
        _ => 0,
    }
}
