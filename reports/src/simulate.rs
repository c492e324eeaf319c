//! The command `simulate`: programs over the whole API, or for the command queue, drawn from one seed,
//! on one row.
//!
//! [`scenarios::simulate`] draws, [`races::simulate`] executes and makes smaller; here are the runs of
//! a simulation, their [`journal`], and what is printed. A run depends on the master seed, the row and its
//! number only, so neither the threads nor the part of a simulation that a machine makes changes what
//! is found. What is found is looked into when the runs are over: [`finding`].

pub mod coverage;
pub mod demo;
pub mod finding;
pub mod journal;
pub mod known;
pub mod record;
pub mod subject;

use crate::check::{in_parallel, Settings};
use crate::cli::{jobs_or_cpus, DemoOptions, Failed, MergeOptions, Shard, SimulateOptions};
use crate::clock::Stopwatch;
use crate::files::Directory;
use crate::interrupt;
use crate::mutate::reached_by_scenarios;
use crate::output::{answer, complain, tell};
use crate::progress::Screen;
use crate::run::Exit;
use crate::values::{counted, grouped};
use coverage::{Coverage, Reasons};
use finding::{Finding, Looking, Shows};
use journal::{Head, Journal};
use known::KnownShows;
use races::seed::Draws;
use races::simulate::{observe, Class};
use races::Permitted;
use record::{Record, Records};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::PathBuf;
use std::time::Duration;
use subject::{calls, listed, Simulated};
use uapi::call::signature;
use uapi::pick::{ModelError, Subject};
use uapi::program::Step;
use uapi::queue::{Queue, Request};

/// Runs of a simulation that names neither a number nor a time.
pub const RUNS: u64 = 1_000;
/// Runs of the nightly profile, unless it is told otherwise.
pub const NIGHTLY_RUNS: u64 = 40_000;
/// Runs that are handed out at once.
const CHUNK: u64 = 256;

/// What is simulated.
#[derive(Clone, Debug)]
pub struct Selection {
    /// The row.
    pub row: Simulated,
    /// The master seed.
    pub seed: u64,
    /// The first run.
    pub from: u64,
    /// How many; `None`: until the time is over.
    pub runs: Option<u64>,
    /// For how long; a safety net if the runs are counted.
    pub budget: Option<Duration>,
    /// One part of the runs.
    pub shard: Option<Shard>,
    /// Threads.
    pub jobs: usize,
}

/// A whole simulation.
#[derive(Clone, Debug)]
pub struct Report {
    /// The runs.
    pub records: Records,
    /// What they show, looked into, in the order of the first run of each.
    pub findings: Vec<Finding>,
    /// Classes that were not looked into.
    pub rest: Vec<Shows>,
    /// The budget ended before the runs did.
    pub out_of_budget: bool,
    /// The user ended it.
    pub interrupted: bool,
    /// Places of the model that should have been reached, if every one is asked for.
    pub owed: usize,
}

impl Report {
    /// The exit code.
    pub fn exit(&self) -> Exit {
        match () {
            () if self.interrupted => Exit::Interrupted,
            () if self.unknown() > 0 || !self.rest.is_empty() || self.owed > 0 => Exit::Differs,
            () if self.out_of_budget => Exit::OutOfBudget,
            () => Exit::AsRecorded,
        }
    }

    /// Findings that are not known.
    pub fn unknown(&self) -> usize {
        self.findings.iter().filter(|f| is_new(f)).count()
    }
}

fn is_new(finding: &Finding) -> bool {
    finding.small.as_ref().is_none_or(|small| small.known.is_none())
}

/// `simulate`
///
/// # Errors
///
/// Bad usage, a journal or a directory that cannot be used, and bugs of the testbed.
pub fn simulate(options: &SimulateOptions) -> Result<Exit, Failed> {
    let row = Simulated::ask(&options.revision).map_err(Failed::usage)?;
    let known = match options.all {
        true => KnownShows::nothing(),
        false => KnownShows::of(row.name())?,
    };
    let directory = options.output.as_deref().map(Directory::open).transpose();
    let directory = directory.map_err(Failed::usage)?;
    let usual = if options.nightly { NIGHTLY_RUNS } else { RUNS };
    let runs = options.runs.or(options.budget.is_none().then_some(usual));
    let jobs = jobs_or_cpus(options.jobs);
    let selection = Selection {
        row,
        seed: options.seed,
        from: options.from,
        runs,
        budget: options.budget,
        shard: options.shard,
        jobs,
    };
    let mut records = Records::default();
    let shard = options.shard.map(|s| format!("{}/{}", s.part, s.parts));
    let head = Head::new(selection.row.name(), options.seed, shard);
    let journal = options.journal.as_deref();
    let mut journal = journal
        .map(|path| Journal::open(path, &head, &mut records))
        .transpose()
        .map_err(Failed::usage)?;
    interrupt::listen().map_err(Failed::usage)?;
    answer(&first_line(&head, options.from, runs));
    let asked = options.from..runs.map_or(u64::MAX, |runs| options.from.saturating_add(runs));
    let more = records.runs().filter(|record| !asked.contains(&record.run)).count();
    if more > 0 {
        let (runs, are) = if more == 1 { ("run", "is") } else { ("runs", "are") };
        let more = grouped(more as u64);
        complain(&format!(
            "the journal has {more} {runs} beside these, which {are} counted as well"
        ));
    }
    let screen = || if options.quiet { Screen::hidden() } else { Screen::new() };
    let programs = if options.quiet { Screen::hidden() } else { Screen::counting("programs") };
    let out_of_budget = run(&selection, &mut records, &programs, &mut |made| {
        if options.verbose {
            answer(&made.text);
        }
        match &mut journal {
            Some(journal) => journal.append(&made.record).map_err(Failed::usage),
            None => Ok(()),
        }
    })?;
    let shown = Showing {
        output: options.output.clone(),
        directory,
        looks: if options.nightly { usize::MAX } else { options.findings },
        coverage: options.coverage || options.nightly,
        nightly: options.nightly,
        jobs,
        out_of_budget,
    };
    finish(&selection.row, options.seed, records, &known, &shown, &screen)
}

/// `simulate merge`
///
/// # Errors
///
/// Journals that cannot be read or are of different simulations.
pub fn merge(options: &MergeOptions) -> Result<Exit, Failed> {
    let (head, records) = journal::merge(&options.files).map_err(Failed::usage)?;
    let row = Simulated::ask(&head.revision).map_err(Failed::usage)?;
    let known = KnownShows::of(row.name())?;
    let directory = options.output.as_deref().map(Directory::open).transpose();
    let directory = directory.map_err(Failed::usage)?;
    interrupt::listen().map_err(Failed::usage)?;
    let from = records.runs().next().map_or(0, |record| record.run);
    let missing = records.missing();
    answer(&first_line(&head, from, Some(records.len().saturating_add(missing))));
    if missing > 0 {
        let (runs, are) = match missing {
            1 => ("run", "is"),
            _ => ("runs", "are"),
        };
        complain(&format!("{} {runs} {are} in none of the journals", grouped(missing)));
    }
    let shown = Showing {
        output: options.output.clone(),
        directory,
        looks: if options.nightly { usize::MAX } else { options.findings },
        coverage: options.coverage || options.nightly,
        nightly: options.nightly,
        jobs: jobs_or_cpus(None),
        out_of_budget: missing > 0,
    };
    finish(&row, head.seed, records, &known, &shown, &Screen::new)
}

/// `simulate demo`
///
/// # Errors
///
/// If the model does not take a program.
pub fn demonstrate(options: &DemoOptions) -> Result<Exit, Failed> {
    interrupt::listen().map_err(Failed::usage)?;
    let screen = Screen::new();
    // One case after the other if the time is asked for: the CPUs are not shared.
    let jobs = if options.seconds { 1 } else { jobs_or_cpus(None) };
    let answers =
        demo::all(demo::CASES, options.seeds, options.runs, jobs, &screen).map_err(broken)?;
    answer(&demo::table(&answers, options.runs, options.seconds));
    Ok(if interrupt::requested() { Exit::Interrupted } else { Exit::AsRecorded })
}

/// What is to be shown of the runs.
struct Showing {
    output: Option<PathBuf>,
    directory: Option<Directory>,
    looks: usize,
    coverage: bool,
    nightly: bool,
    jobs: usize,
    out_of_budget: bool,
}

/// Looks into what the runs show, and prints it.
fn finish(
    row: &Simulated,
    seed: u64,
    records: Records,
    known: &KnownShows,
    showing: &Showing,
    screen: &dyn Fn() -> Screen,
) -> Result<Exit, Failed> {
    let directory = showing.output.as_deref();
    let looking = Looking { row, seed, permitted: &permitted(), known, directory };
    let (findings, rest) = look(&records, &looking, showing.looks, showing.jobs, &screen())?;
    let mut report = Report {
        records,
        findings,
        rest,
        out_of_budget: showing.out_of_budget,
        interrupted: interrupt::requested(),
        owed: 0,
    };
    // What was found comes first: a full disk must not cost the night.
    tell(&text(&report, showing.directory.is_some()));
    if let Some(directory) = &showing.directory {
        write_files(directory, &report).map_err(Failed::usage)?;
    }
    if showing.coverage && !report.interrupted {
        let settings = Settings { jobs: showing.jobs, ..Settings::default() };
        let by_scenarios = reached_by_scenarios(row.name(), &settings, &screen())?;
        let reasons = Reasons::read()?;
        let coverage = Coverage::of(row.name(), &report.records, &by_scenarios, &reasons);
        answer(&coverage.text());
        report.owed = if showing.nightly { coverage.owed() } else { 0 };
    }
    if report.interrupted {
        complain("interrupted: the runs above are what was finished");
    }
    Ok(report.exit())
}

/// A bug of the testbed, not of the user.
fn broken(e: ModelError) -> Failed {
    Failed::Because(format!("{e}; please report this as a bug"), Exit::Differs)
}

/// The answers that need no reason.
pub fn permitted() -> Vec<Permitted> {
    let entry = |p: &scenarios::PermittedAnswer| Permitted { call: p.call, errno: p.errno };
    scenarios::permitted().iter().map(entry).collect()
}

/// A run that was made.
struct Made {
    record: Record,
    /// What was drawn, and what came of it.
    text: String,
}

/// Makes the runs that are not there yet. Whether the budget ended before they did.
fn run(
    selection: &Selection,
    records: &mut Records,
    screen: &Screen,
    done: &mut dyn FnMut(&Made) -> Result<(), Failed>,
) -> Result<bool, Failed> {
    let watch = Stopwatch::start();
    let over = || selection.budget.is_some_and(|budget| watch.elapsed() >= budget);
    let permitted = permitted();
    let end = selection.runs.map_or(u64::MAX, |runs| selection.from.saturating_add(runs));
    let holds = |run: &u64| selection.shard.is_none_or(|s| s.holds(*run as usize));
    let mut next = selection.from;
    while next < end && !interrupt::requested() {
        let chunk_end = end.min(next.saturating_add(CHUNK * selection.jobs.max(1) as u64));
        let chunk: Vec<u64> =
            (next..chunk_end).filter(|run| holds(run) && !records.has(*run)).collect();
        next = chunk_end;
        let mut failed = None;
        let mut cut = false;
        in_parallel(
            &chunk,
            selection.jobs,
            screen,
            |run| {
                let made = || made(&selection.row, selection.seed, *run, &permitted);
                (!over()).then(|| guarded(&format!("run {run}"), made))
            },
            &mut |result: &Option<Result<Made, ModelError>>| match result {
                None => cut = true,
                Some(Err(e)) => failed = failed.take().or(Some(broken(e.clone()))),
                Some(Ok(made)) if failed.is_none() => {
                    if let Some(record) = records.add(made.record.clone()) {
                        let made = Made { record: record.clone(), text: made.text.clone() };
                        failed = done(&made).err();
                    }
                }
                Some(Ok(_)) => {}
            },
        );
        if let Some(failed) = failed {
            return Err(failed);
        }
        if cut || over() && next < end {
            return Ok(selection.runs.is_some());
        }
    }
    Ok(false)
}

/// A panic would be a bug of the testbed: it names what was drawn, and takes nothing else with it.
fn guarded<T>(what: &str, work: impl FnOnce() -> Result<T, ModelError>) -> Result<T, ModelError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(ModelError::Malformed(format!("{what}: the testbed itself panicked")))
    })
}

/// Makes one run.
fn made(row: &Simulated, seed: u64, run: u64, permitted: &[Permitted]) -> Result<Made, ModelError> {
    let drawn = row.draw(Draws::seed_of_run(seed, run), permitted)?;
    let mut text = format!("run {run}, seed {:#018x}: {}\n", drawn.seed, drawn.parameters);
    text.push_str(&listed(&drawn.subject));
    let observed = observe(&drawn.subject, &drawn.plan)?;
    let record = Record::of(run, &observed);
    let _ = writeln!(
        text,
        "  {} executions, {} steps, fingerprint {:016x}",
        record.executions, record.steps, record.digest
    );
    for (class, executions) in &record.shown {
        let _ = writeln!(text, "  {executions} show: {class}");
    }
    Ok(Made { record, text })
}

/// Looks into the classes that show, one thread per class.
fn look(
    records: &Records,
    looking: &Looking<'_>,
    most: usize,
    jobs: usize,
    screen: &Screen,
) -> Result<(Vec<Finding>, Vec<Shows>), Failed> {
    let classes = records.classes().into_iter();
    let mut shows: Vec<Shows> =
        classes.map(|(class, runs)| Shows { class: Class::from_text(class), runs }).collect();
    // A splat is worth more than answers in no order.
    shows.sort_by_key(|show| show.class.is_unexplained());
    let rest = shows.split_off(most.min(shows.len()));
    let looked = in_parallel(
        &shows,
        jobs,
        screen,
        |s| guarded(s.class.text(), || looking.look(s)),
        &mut |_| {},
    );
    let findings = looked.into_iter().collect::<Result<Vec<_>, _>>().map_err(broken)?;
    Ok((findings, rest))
}

fn write_files(directory: &Directory, report: &Report) -> Result<(), String> {
    for small in report.findings.iter().filter(|f| is_new(f)).filter_map(|f| f.small.as_ref()) {
        directory.write(&format!("{}.toml", small.name), &small.text)?;
        directory.write(&format!("{}.txt", small.name), &small.page)?;
    }
    Ok(())
}

/// What a seed means nothing without.
fn first_line(head: &Head, from: u64, runs: Option<u64>) -> String {
    let Head { testbed, generator, revision, seed, shard, .. } = head;
    let runs = match runs {
        Some(runs) => format!("runs {from} to {}", from.saturating_add(runs).saturating_sub(1)),
        None => format!("runs from {from} on"),
    };
    let shard = shard.as_ref().map_or(String::new(), |shard| format!(", part {shard}"));
    format!("iommufd-testbed {testbed}: simulate {revision}, seed {seed} ({generator}), {runs}{shard}\n")
}

/// What a simulation prints behind its first line.
fn text(report: &Report, written: bool) -> String {
    let mut out = String::new();
    for finding in report.findings.iter().filter(|f| is_new(f)) {
        out.push_str(&of_finding(finding, written));
    }
    for shows in &report.rest {
        let _ = writeln!(
            out,
            "not looked into: {}: in {}; raise --findings",
            shows.class.text(),
            programs(&shows.runs)
        );
    }
    let mut known: BTreeMap<(&str, &str), Vec<u64>> = BTreeMap::new();
    for finding in &report.findings {
        let Some(small) = &finding.small else { continue };
        let Some(source) = &small.known else { continue };
        let runs = known.entry((finding.shows.class.text(), source)).or_default();
        runs.extend(&finding.shows.runs);
    }
    for ((class, source), runs) in known {
        let _ = writeln!(out, "known: {class}: in {} ({source})", programs(&runs));
    }
    let records = &report.records;
    let executions: u64 = records.runs().map(|r| r.executions).sum();
    let steps: u64 = records.runs().map(|r| r.steps).sum();
    let unjudged: u64 = records.runs().map(|r| r.unjudged).sum();
    let fingerprint = records.runs().fold(0_u64, |sum, r| sum.rotate_left(1) ^ r.digest);
    let _ = writeln!(
        out,
        "{}, {}, {}, fingerprint {fingerprint:016x}; answers of {} not explained within the bound",
        counted(records.len(), "program"),
        counted(executions, "execution"),
        counted(steps, "step"),
        counted(unjudged, "execution")
    );
    let _ = writeln!(
        out,
        "{}, {} of them not known",
        match report.findings.len() + report.rest.len() {
            1 => "1 kind of failure".to_owned(),
            n => format!("{n} kinds of failures"),
        },
        report.unknown() + report.rest.len()
    );
    out
}

/// `3 programs, first in run 17`
fn programs(runs: &[u64]) -> String {
    let first = runs.iter().min().copied().unwrap_or(0);
    match runs.len() {
        1 => format!("run {first}"),
        n => format!("{} programs, first in run {first}", grouped(n as u64)),
    }
}

fn of_finding(finding: &Finding, written: bool) -> String {
    let Finding { shows, drawn, small } = finding;
    let mut out = String::new();
    let _ = writeln!(out, "finding: {}: in {}", shows.class.text(), programs(&shows.runs));
    let Some(small) = small else {
        out.push_str(match finding.shows.class.is_unexplained() {
            // The orders of other executions of the run had shown which of its own need no look.
            true => "  not made smaller: alone, its orders are more than the bound\n",
            false => "  it did not show again: please report this as a bug of the testbed\n",
        });
        return out;
    };
    let _ = writeln!(out, "  {} made smaller to {}", size(drawn), size(&small.subject));
    let _ = writeln!(out, "  {}", small.shown);
    if !small.reproduced {
        out.push_str("  the deciding explorer does not show it within its bound\n");
    }
    let _ = match written {
        true if !small.reproduced => writeln!(out, "  written as {}.toml", small.name),
        true => writeln!(out, "  written as {}.toml; `check` reproduces it", small.name),
        false => writeln!(out, "  -o DIR writes it as a scenario"),
    };
    out.push('\n');
    for line in small.page.lines() {
        let _ = writeln!(out, "{}{line}", if line.is_empty() { "" } else { "  " });
    }
    out.push('\n');
    out
}

/// How large a program is.
fn size(subject: &Subject) -> String {
    let counted = |n: usize, what| counted(n as u64, what);
    let cpus = calls(subject);
    let (cpus, calls) = (cpus.len(), cpus.iter().map(Vec::len).sum());
    let last = match subject {
        Subject::Program { program, .. } => {
            let gives_out = |s: &&Step| !signature(s.call).outs.is_empty();
            counted(program.setup.iter().filter(gives_out).count(), "object")
        }
        Subject::Queue { program, .. } => counted(commands(program), "command"),
        Subject::Litmus(_) => String::new(),
    };
    format!("{}, {} and {last}", counted(cpus, "CPU"), counted(calls, "call"))
}

/// Commands that the CPUs of a program issue.
fn commands(program: &Queue) -> usize {
    let of = |request: &Request| match request {
        Request::Issue { commands, .. } | Request::Batch { commands, .. } => commands.len(),
        Request::Invalidate(array) => array.commands.len(),
        Request::Migrate { .. } | Request::Suspend | Request::Resume => 0,
    };
    program.cpus.iter().flatten().map(of).sum()
}
