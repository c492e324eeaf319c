//! The command `pairs`: every call of the API against every other, on every way of sharing objects
//! that `scenarios/pairs.toml` sets up, explored to exhaustion.
//!
//! What a race shows (a splat, a late wake-up, answers in no order of the calls) is either listed in
//! that file with its reason, or a finding, and then it becomes a scenario file that `check`
//! reproduces.

use crate::check::{self, Answered, Question, Settings};
use crate::cli::{Failed, PairsOptions, Text};
use crate::files::{self, Directory};
use crate::interrupt;
use crate::judge::answers;
use crate::output::{answer, complain, tell};
use crate::progress::Screen;
use crate::record::json;
use crate::rows::{canonical_all_of_iommufd, revisions};
use crate::run::Exit;
use crate::values::{counted, grouped};
use races::simulate::without_numbers;
use scenarios::{call_of, Explorer, Pairs, Scenario, With, World, PAIRS};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// The rows of a run that names none: the newest texts.
pub const ROWS: &[&str] = &["linux_6_17", "linux_7_3", "for_next_2026_09"];

/// Executions after which a race is given up, if the user does not say.
const EXECUTIONS_MAX: u64 = 200_000;

/// Which races are made.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Rows by their canonical names.
    pub rows: Vec<String>,
    /// Only these worlds; empty: all.
    pub worlds: Vec<String>,
    /// One of the calls fails, at every failing point in turn.
    pub fail: bool,
    /// Three calls instead of two.
    pub triples: bool,
    /// Only one part of them.
    pub shard: Option<crate::cli::Shard>,
    /// Where the scenario files of findings will stand.
    pub output: Option<PathBuf>,
}

/// Something that a race shows.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
pub struct Shown {
    /// A splat without the numbers of its objects, `late wake-up`, or `unexplained: …`.
    pub text: String,
    /// Index in `[[known]]` of the file.
    pub known: Option<usize>,
}

/// One race.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Race {
    /// The world.
    pub world: String,
    /// The calls.
    pub calls: Vec<String>,
    /// The row.
    pub revision: String,
    /// Executions.
    pub executions: u64,
    /// Whether all of them were run.
    pub exhausted: bool,
    /// What it shows.
    pub shown: Vec<Shown>,
    /// How to see the first of it again.
    pub replay: Option<String>,
    /// The scenario file, as text.
    #[serde(skip)]
    pub text: String,
}

impl Race {
    /// Whether it shows something that is not in the file's `[[known]]`.
    fn is_new(&self) -> bool {
        self.shown.iter().any(|s| s.known.is_none())
    }
}

/// A whole run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Report {
    /// Every race that ran.
    pub races: Vec<Race>,
    /// Entries of `[[known]]` that no race shows.
    pub stale: Vec<String>,
    /// Whether the user ended it.
    pub interrupted: bool,
}

impl Report {
    /// The exit code.
    pub fn exit(&self) -> Exit {
        let unknown = self.races.iter().any(Race::is_new);
        match () {
            () if self.interrupted => Exit::Interrupted,
            () if unknown || !self.stale.is_empty() => Exit::Differs,
            () if self.races.iter().any(|r| !r.exhausted) => Exit::OutOfBudget,
            () => Exit::AsRecorded,
        }
    }
}

/// `pairs`
///
/// # Errors
///
/// Bad files and bad usage.
pub fn pairs(options: &PairsOptions) -> Result<Exit, Failed> {
    let path = match &options.file {
        Some(path) => path.clone(),
        None => scenarios::directory().join(PAIRS),
    };
    let file = scenarios::pairs(&path)?;
    let mut rows = canonical_all_of_iommufd(&options.revision).map_err(Failed::usage)?;
    if rows.is_empty() {
        rows = ROWS.iter().map(ToString::to_string).collect();
    }
    for name in &options.world {
        if !file.world.iter().any(|w| w.name == *name) {
            let names: Vec<&str> = file.world.iter().map(|w| w.name.as_str()).collect();
            return Err(Failed::usage(format!(
                "there is no world \"{name}\"; there are \"{}\"",
                names.join("\", \"")
            )));
        }
    }
    let selection = Selection {
        rows,
        worlds: options.world.clone(),
        fail: options.fail,
        triples: options.triples,
        shard: options.shard,
        output: options.output.clone(),
    };
    options.output.as_deref().map(Directory::open).transpose().map_err(Failed::usage)?;
    interrupt::listen().map_err(Failed::usage)?;
    let screen = if options.quiet { Screen::hidden() } else { Screen::counting("races") };
    let report = run(&file, &selection, &options.settings(), &screen)?;
    // What was found comes first: a full disk must not cost it.
    match options.format {
        Text::Json => answer(&json(&report).map_err(Failed::usage)?),
        Text::Human => tell(&text(&file, &report)),
    }
    if let Some(dir) = &options.output {
        write_files(dir, &report)?;
    }
    if report.interrupted {
        complain("interrupted: the races above are what was finished");
    }
    Ok(report.exit())
}

/// Makes the races and explores them.
///
/// # Errors
///
/// A call or a setup that cannot be read.
pub fn run(
    file: &Pairs,
    selection: &Selection,
    settings: &Settings,
    screen: &Screen,
) -> Result<Report, Failed> {
    let worlds = file
        .world
        .iter()
        .filter(|w| selection.worlds.is_empty() || selection.worlds.contains(&w.name));
    let mut made: Vec<(&World, Vec<String>, Question)> = Vec::new();
    for world in worlds {
        for row in selection.rows.iter().filter(|row| world.is_of(row)) {
            for calls in races_of(file, world, selection) {
                // The calls first, so that three of one kind stand together in a directory.
                let name = name_of(&calls);
                let scenario = Scenario::parse(&name, &world.race(&calls, row), revisions())?;
                let called = match &selection.output {
                    Some(dir) => path_of(dir, &calls, row).display().to_string(),
                    None => name,
                };
                let questions = Question::all(scenario, called);
                made.extend(questions.into_iter().map(|q| (world, calls.clone(), q)));
            }
        }
    }
    let mut index = 0..;
    made.retain(|_| {
        index.next().is_some_and(|i: usize| selection.shard.is_none_or(|s| s.holds(i)))
    });
    let settings = Settings {
        explorers: vec![Explorer::Dpor],
        executions: Some(settings.executions.unwrap_or(EXECUTIONS_MAX)),
        ..settings.clone()
    };
    let questions: Vec<Question> = made.iter().map(|(_, _, q)| q.clone()).collect();
    let answered = check::run(&questions, &settings, screen, &mut |_| {});
    let interrupted = interrupt::requested();
    let mut races = Vec::new();
    // In the order of the questions; after an interrupt some of them have no answer.
    let mut asked = made.iter();
    for answered in &answered {
        let its_own = |(_, _, q): &&(&World, Vec<String>, Question)| q.is(&answered.question);
        let Some((world, calls, question)) = asked.find(its_own) else { break };
        // A token names the file of its scenario.
        let has_file = selection.output.is_some();
        races.push(race(file, world, calls, question, answered, has_file)?);
    }
    let all = selection.worlds.is_empty() && selection.shard.is_none() && !interrupted;
    let mut stale = Vec::new();
    for (i, known) in file.known.iter().enumerate().filter(|_| all) {
        let shows = |r: &Race| r.shown.iter().any(|s| s.known == Some(i));
        let due = known.revisions.is_empty()
            || known.revisions.iter().any(|r| selection.rows.contains(r));
        let made = match known.with {
            With::Pairs => !selection.triples,
            With::Fail => selection.fail && !selection.triples,
            With::Triples => selection.triples,
            With::Simulate => false,
        };
        if due && made && !races.iter().any(shows) {
            stale.push(format!("{PAIRS}: no race shows \"{}\" ({})", known.text, known.source));
        }
    }
    Ok(Report { races, stale, interrupted })
}

/// The races of a world: two or three calls, in the order of the file.
fn races_of(file: &Pairs, world: &World, selection: &Selection) -> Vec<Vec<String>> {
    let calls = &world.calls;
    let mut races: Vec<Vec<String>> = Vec::new();
    for (i, a) in calls.iter().enumerate() {
        for (j, b) in calls.iter().enumerate().skip(i) {
            match selection.triples {
                false => races.push(vec![a.clone(), b.clone()]),
                true => races
                    .extend(calls.iter().skip(j).map(|c| vec![a.clone(), b.clone(), c.clone()])),
            }
        }
    }
    races.retain(|calls| file.concurrent(calls));
    if !selection.fail {
        return races;
    }
    let failing = |race: &Vec<String>, which: usize| -> Vec<String> {
        let step = |(i, call): (usize, &String)| match call.strip_suffix(']') {
            _ if i != which => call.clone(),
            Some(with_options) => format!("{with_options}, fail_nth = any]"),
            None => format!("{call} [fail_nth = any]"),
        };
        race.iter().enumerate().map(step).collect()
    };
    let mut with_failure = Vec::new();
    for race in &races {
        for which in 0..race.len() {
            // Two of the same call fail in the same ways.
            if which == 0 || race[which] != race[which - 1] {
                with_failure.push(failing(race, which));
            }
        }
    }
    with_failure
}

/// A name for the file of a race: its calls without what is no letter.
fn name_of(calls: &[String]) -> String {
    let words: Vec<String> = calls
        .iter()
        .map(|call| {
            let kept =
                |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' };
            let text: String = call.chars().map(kept).collect();
            let parts: Vec<&str> = text.split('_').filter(|p| !p.is_empty()).collect();
            parts.join("_")
        })
        .collect();
    words.join("_vs_")
}

fn race(
    file: &Pairs,
    world: &World,
    calls: &[String],
    question: &Question,
    answered: &Answered,
    has_file: bool,
) -> Result<Race, Failed> {
    let named = |e: String| Failed::Because(format!("{}: {e}", calls.join(" | ")), Exit::Differs);
    let result = answered.answers.first().map(|a| a.result.clone());
    let finding = result.unwrap_or(Err("it was not run".to_owned())).map_err(named)?;
    let mut texts: Vec<String> = finding.splats.keys().map(|s| without_numbers(s)).collect();
    if finding.late_wakeups > 0 {
        texts.push("late wake-up".to_owned());
    }
    if let Some(odd) = &finding.unexplained {
        texts.push(format!("unexplained: {}", answers(question, &odd.outcome)));
    }
    texts.sort();
    texts.dedup();
    let replay = finding
        .failure
        .as_ref()
        .map(|f| &f.schedule)
        .or(finding.unexplained.as_ref().map(|odd| &odd.schedule));
    let names: Vec<&str> = calls.iter().map(|c| call_of(c).0).collect();
    let row = &question.revision;
    let known = |text: &String| file.known.iter().position(|k| k.covers(text, &names, row));
    Ok(Race {
        world: world.name.clone(),
        calls: calls.to_vec(),
        revision: question.revision.clone(),
        executions: finding.executions,
        exhausted: finding.exhausted,
        shown: texts.iter().map(|t| Shown { text: t.clone(), known: known(t) }).collect(),
        replay: replay.filter(|_| has_file).map(|schedule| question.token(schedule).command()),
        text: world.race(calls, &question.revision),
    })
}

/// A scenario file for every race that shows something unknown.
fn write_files(dir: &Path, report: &Report) -> Result<(), Failed> {
    for race in report.races.iter().filter(|r| r.is_new()) {
        files::write(&path_of(dir, &race.calls, &race.revision), &race.text)
            .map_err(Failed::usage)?;
    }
    Ok(())
}

fn path_of(dir: &Path, calls: &[String], row: &str) -> PathBuf {
    dir.join(format!("{}_on_{row}.toml", name_of(calls)))
}

/// What a run prints: what is not known, race by race, then the known things, then the sum.
fn text(file: &Pairs, report: &Report) -> String {
    let mut out = String::new();
    for race in &report.races {
        for shown in race.shown.iter().filter(|s| s.known.is_none()) {
            let calls = race.calls.join(" | ");
            let _ = writeln!(out, "finding on {}: {calls}: {}", race.revision, shown.text);
            let seen_again = race.replay.as_deref().unwrap_or("-o DIR writes it as a scenario");
            let _ = writeln!(out, "        world \"{}\"; {seen_again}", race.world);
        }
        if !race.exhausted {
            let calls = race.calls.join(" | ");
            let executions = grouped(race.executions);
            let _ = writeln!(out, "not exhausted on {}: {calls}: {executions}", race.revision);
        }
    }
    for stale in &report.stale {
        let _ = writeln!(out, "stale: {stale}");
    }
    for (known, races) in by_known(report) {
        let entry = &file.known[known];
        let _ = writeln!(
            out,
            "known in {}: {} ({})",
            counted(races as u64, "race"),
            entry.text,
            entry.source
        );
    }
    let unknown = report.races.iter().filter(|r| r.is_new()).count();
    let open = report.races.iter().filter(|r| !r.exhausted).count();
    let executions: u64 = report.races.iter().map(|r| r.executions).sum();
    let _ = writeln!(
        out,
        "{}, {}: {} exhausted, {open} not; {unknown} show something that is not known",
        counted(report.races.len() as u64, "race"),
        counted(executions, "execution"),
        grouped((report.races.len() - open) as u64)
    );
    out
}

/// How many races show each known thing.
fn by_known(report: &Report) -> BTreeMap<usize, usize> {
    let mut races = BTreeMap::new();
    for race in &report.races {
        let seen: BTreeSet<usize> = race.shown.iter().filter_map(|s| s.known).collect();
        for known in seen {
            *races.entry(known).or_default() += 1;
        }
    }
    races
}

/// `reports/pairs.md`: what was run, and what it shows.
pub fn page(file: &Pairs, report: &Report) -> String {
    let mut page = "\
# Every call against every other

Two calls of one world of objects (`scenarios/pairs.toml`) on two CPUs, one of them also with
every one of its failing points failing, every interleaving, on the newest texts. Generated:
`UPDATE=1 cargo test --workspace` rewrites this page; `cargo run --release -- pairs --fail` makes
the same run, and `--triples` holds three calls against each other. What is new in it, and not only
known from the catalogue, stands in [findings.md](findings.md).

"
    .to_owned();
    let mut rows: Vec<&str> = Vec::new();
    let mut worlds: Vec<&str> = Vec::new();
    for race in &report.races {
        if !rows.contains(&race.revision.as_str()) {
            rows.push(&race.revision);
        }
        if !worlds.contains(&race.world.as_str()) {
            worlds.push(&race.world);
        }
    }
    page.push_str(
        "| world | row | races | executions | exhausted | largest |\n|---|---|---|---|---|---|\n",
    );
    for world in &worlds {
        for row in &rows {
            let of: Vec<&Race> =
                report.races.iter().filter(|r| r.world == *world && r.revision == *row).collect();
            let _ = writeln!(
                page,
                "| {world} | {row} | {} | {} | {} | {} |",
                of.len(),
                grouped(of.iter().map(|r| r.executions).sum()),
                of.iter().filter(|r| r.exhausted).count(),
                grouped(of.iter().map(|r| r.executions).max().unwrap_or(0))
            );
        }
    }
    page.push_str("\n## What they show\n");
    for (i, known) in file.known.iter().enumerate() {
        let shows = |r: &&Race| r.shown.iter().any(|s| s.known == Some(i));
        let of: Vec<&Race> = report.races.iter().filter(shows).collect();
        if of.is_empty() {
            continue;
        }
        let reason: Vec<&str> = known.reason.split_whitespace().collect();
        let _ = writeln!(page, "\n### {} ({})\n\n{}\n", known.text, known.source, reason.join(" "));
        let mut pairs: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for race in of {
            pairs.entry(race.calls.join("` against `")).or_default().push(&race.revision);
        }
        for (calls, rows) in pairs {
            let _ = writeln!(page, "* `{calls}`: {}", rows.join(", "));
        }
    }
    page
}
