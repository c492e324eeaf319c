//! The command `mutate`: does some scenario notice when one step of the model is done otherwise?
//!
//! A mutant is a call site of the kernel model and a change that its primitive declares
//! (`uapi::mutation`). It is *killed* if a scenario that reaches the call site gives another
//! verdict than the recorded one. What survives is either a hole in the scenarios or a change
//! that cannot matter; the latter stand in `scenarios/survivors.toml` with their reasons.
//!
//! The mutants of a row are those of the functions that its scenarios enter. A call site in such a
//! function that no scenario reaches counts as not killed. A change that makes the same program
//! (`uapi::mutation::may_be_the_same`) is none, and is counted apart.

use crate::check::{in_parallel, Question, Settings};
use crate::cli::{Failed, MutateOptions, Text};
use crate::clock::Stopwatch;
use crate::commands::scenarios_named;
use crate::interrupt;
use crate::output::{answer, complain, tell};
use crate::progress::Screen;
use crate::record::json;
use crate::rows::{canonical, canonical_all_of_iommufd, revisions};
use crate::run::Exit;
use races::mutation::{baseline, notices, Baseline, Notice};
use races::{Bounds, Subject, Watch};
use scenarios::{Class, Survivor};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::time::Duration;
use uapi::mutation::{may_be_the_same, CallSite, Change, Mutation};
use uapi::verdict::Expected;

/// Executions that a question may always take on a mutant, however few it takes without.
const EXECUTIONS_MIN: u64 = 4_096;
/// How many times the executions of the question without a mutant it may take.
const EXECUTIONS_FACTOR: u64 = 4;
/// Executions per question of a twin: they only say which functions belong to twins.
const TWIN_EXECUTIONS: u64 = 64;

/// Which mutants are made.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Only those in these C functions; empty: all.
    pub functions: Vec<String>,
    /// Only one part of them.
    pub shard: Option<crate::cli::Shard>,
}

impl Selection {
    fn is_all(&self) -> bool {
        self.functions.is_empty() && self.shard.is_none()
    }
}

/// What became of a mutant.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case", tag = "fate")]
pub enum Fate {
    /// A verdict changed.
    Killed {
        /// Which scenario noticed.
        scenario: String,
        /// What it printed instead of the recorded verdict.
        because: String,
    },
    /// No verdict changed.
    Survived,
    /// No scenario reaches the call site.
    Unreached,
}

/// One mutant of one row.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Mutant {
    /// Name of the call site, as `survivors.toml` spells it.
    pub site: String,
    /// Source file below `src/`.
    pub file: &'static str,
    /// Line in it.
    pub line: u32,
    /// The modelled C function.
    pub function: &'static str,
    /// The primitive.
    pub op: &'static str,
    /// What is done instead.
    pub change: Change,
    /// What became of it.
    pub fate: Fate,
    /// The scenarios that reach it, the cheapest first.
    pub reached_by: Vec<String>,
    /// Those of them that ran out of budget.
    pub out_of_budget: Vec<String>,
    /// Why it is not noticed, if it survived and `survivors.toml` lists it.
    pub listed: Option<String>,
    /// Whether it could be noticed at all, if it is listed.
    pub class: Option<Class>,
    #[serde(skip)]
    id: u16,
}

/// One row.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct RowScore {
    /// The row.
    pub revision: String,
    /// How many mutants were killed.
    pub killed: usize,
    /// How many there are.
    pub mutants: usize,
    /// Changes that are no mutants: they make the same program.
    pub same: usize,
    /// Those that were not killed.
    pub survivors: Vec<Mutant>,
}

/// A whole run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Report {
    /// Row by row.
    pub rows: Vec<RowScore>,
    /// Call sites in functions that no scenario enters on any row.
    pub in_no_row: Vec<String>,
    /// Entries of `survivors.toml` that excuse nothing.
    pub stale: Vec<String>,
    /// Whether the user ended it.
    pub interrupted: bool,
}

impl RowScore {
    /// `mutate: 287 of 300 killed (95.6 %), 287 of 296 that are not equivalent (96.9 %)`
    fn closing(&self) -> String {
        let equivalent = |m: &&Mutant| m.class == Some(Class::Equivalent);
        let others = self.mutants - self.survivors.iter().filter(equivalent).count();
        let listed = self.survivors.iter().filter(|m| m.listed.is_some()).count();
        let unreached = self.survivors.iter().filter(|m| m.fate == Fate::Unreached).count();
        // In tenths, rounded down: 95.0 % is what was asked for, not what is nearly there.
        let percent = |of: usize| {
            let tenths = (self.killed * 1_000).checked_div(of).unwrap_or(0);
            format!("{}.{} %", tenths / 10, tenths % 10)
        };
        format!(
            "mutate: {} of {} killed ({}), {} of {} that are not equivalent ({}) on {}; {} survive \
             and are listed, {} survive and are not; {} of them reached by no scenario; {} changes \
             make the same program",
            self.killed,
            self.mutants,
            percent(self.mutants),
            self.killed,
            others,
            percent(others),
            self.revision,
            listed,
            self.survivors.len() - listed,
            unreached,
            self.same,
        )
    }
}

impl Report {
    /// The exit code.
    pub fn exit(&self) -> Exit {
        let unlisted = self.rows.iter().flat_map(|r| &r.survivors).any(|m| m.listed.is_none());
        if self.interrupted {
            Exit::Interrupted
        } else if unlisted || !self.stale.is_empty() || !self.in_no_row.is_empty() {
            Exit::Differs
        } else {
            Exit::AsRecorded
        }
    }
}

/// A question without a mutant.
struct Asked {
    question: Question,
    subject: Subject,
    bounds: Bounds,
    reached: BTreeSet<u16>,
    apart: BTreeSet<(u16, Change)>,
    executions: u64,
}

/// Ends a search on Ctrl-C and at the end of its budget.
struct Patience {
    watch: Stopwatch,
    budget: Duration,
}

impl Watch for Patience {
    fn interrupted(&self) -> bool {
        interrupt::requested() || self.watch.elapsed() > self.budget
    }
}

/// `mutate`
///
/// # Errors
///
/// Bad files, bad usage, and a scenario whose verdict is not the recorded one without any mutant.
pub fn mutate(options: &MutateOptions) -> Result<Exit, Failed> {
    let mut rows = canonical_all_of_iommufd(&options.revision).map_err(Failed::usage)?;
    if rows.is_empty() {
        let base = revisions().iter().filter(|r| r.twin_of.is_none());
        rows = base.map(|r| r.name.to_owned()).collect();
    }
    let selection = Selection { functions: options.function.clone(), shard: options.shard };
    for function in &selection.functions {
        let functions = || model_native::call_sites().iter().map(|s| s.function);
        if !functions().any(|f| f == *function) {
            let near = scenarios::nearest(function, functions()).unwrap_or("iommufd_put_object");
            return Err(Failed::usage(format!(
                "no call of a primitive that can be changed is in a function `{function}`; name a \
                 function of the kernel model, such as {near} (`mutate --list` shows all)"
            )));
        }
    }
    if options.list {
        answer(&listed(&selection));
        return Ok(Exit::AsRecorded);
    }
    interrupt::listen().map_err(Failed::usage)?;
    let screen = || if options.quiet { Screen::hidden() } else { Screen::counting("changes") };
    let human = options.format == Text::Human;
    let every_row = options.revision.is_empty();
    let report = run(&rows, every_row, &selection, &options.settings(), &screen, &mut |row| {
        if human {
            tell(&row_text(row, options.verbose));
        }
    })?;
    match options.format {
        Text::Json => answer(&json(&report).map_err(Failed::usage)?),
        Text::Human => tell(&closing_text(&report)),
    }
    if report.interrupted {
        complain("interrupted: the rows above are what was finished");
    }
    Ok(report.exit())
}

/// Every call site and its changes, a line each.
fn listed(selection: &Selection) -> String {
    let wanted = |s: &&CallSite| {
        selection.functions.is_empty() || selection.functions.iter().any(|f| f == s.function)
    };
    let line = |s: &CallSite| {
        let names: Vec<&str> = s.changes.iter().map(|c| c.name()).collect();
        format!("{}: {}\n", s.name(), names.join(", "))
    };
    model_native::call_sites().iter().filter(|s| !s.is_label()).filter(wanted).map(line).collect()
}

/// Makes the mutants of these rows, one row after the other.
///
/// # Errors
///
/// Bad files, and a scenario whose verdict is not the recorded one without any mutant.
pub fn run(
    rows: &[String],
    every_row: bool,
    selection: &Selection,
    settings: &Settings,
    screen: &dyn Fn() -> Screen,
    done: &mut dyn FnMut(&RowScore),
) -> Result<Report, Failed> {
    let survivors = scenarios::survivors(&scenarios::directory())?;
    let sites = model_native::call_sites();
    let mut stale = unknown(&survivors, sites);
    let mut report =
        Report { rows: Vec::new(), in_no_row: Vec::new(), stale: Vec::new(), interrupted: false };
    let mut excused = vec![false; survivors.len()];
    let mut entered: BTreeSet<(&str, u32)> = BTreeSet::new();
    for row in rows {
        let asked = ask(row, settings, &screen())?;
        if interrupt::requested() {
            report.interrupted = true;
            return Ok(report);
        }
        let reached: BTreeSet<u16> = asked.iter().flat_map(|a| a.reached.clone()).collect();
        let parts = parts(&reached, sites);
        let (mutants, same) = mutants(sites, &parts, &asked, selection);
        entered.extend(parts);
        let fates = in_parallel(
            &mutants,
            settings.jobs,
            &screen(),
            |mutant| judged(mutant.clone(), &asked, settings),
            &mut |_| {},
        );
        let mut score =
            RowScore { revision: row.clone(), killed: 0, mutants: 0, same, survivors: Vec::new() };
        for mutant in fates {
            let mut mutant = mutant?;
            score.mutants += 1;
            if matches!(mutant.fate, Fate::Killed { .. }) {
                score.killed += 1;
                continue;
            }
            if let Some(i) = excuse(&mutant, row, &survivors) {
                excused[i] = true;
                mutant.listed = Some(survivors[i].reason.trim().to_owned());
                mutant.class = Some(survivors[i].class);
            }
            score.survivors.push(mutant);
        }
        if interrupt::requested() {
            report.interrupted = true;
            return Ok(report);
        }
        done(&score);
        report.rows.push(score);
    }
    if selection.is_all() {
        for (survivor, excused) in survivors.iter().zip(excused) {
            let named = survivor.revisions.iter().any(|r| rows.contains(r));
            let due = named || (survivor.revisions.is_empty() && every_row);
            if due && !excused && sites.iter().any(|s| s.name() == survivor.site) {
                stale.push(format!(
                    "{}:{}: no mutant of {} survives",
                    scenarios::SURVIVORS,
                    survivor.line,
                    survivor.site
                ));
            }
        }
        if every_row {
            report.in_no_row = in_no_row(&entered, sites, settings, &screen())?;
        }
    }
    report.stale = stale;
    Ok(report)
}

/// The entries that name a call site or a row that does not exist.
fn unknown(survivors: &[Survivor], sites: &[CallSite]) -> Vec<String> {
    let mut wrong = Vec::new();
    for survivor in survivors {
        let at = format!("{}:{}", scenarios::SURVIVORS, survivor.line);
        match sites.iter().find(|s| s.name() == survivor.site) {
            None => wrong.push(format!("{at}: there is no call site `{}`", survivor.site)),
            Some(site) => {
                for change in survivor.changes.iter().filter(|c| !site.changes.contains(c)) {
                    wrong.push(format!("{at}: {} is never changed to {change}", site.op));
                }
            }
        }
        for row in survivor.revisions.iter().filter(|r| canonical(r).ok() != Some(r.as_str())) {
            wrong.push(format!("{at}: there is no row `{row}`"));
        }
    }
    wrong
}

/// Runs every question of a row without a mutant.
fn ask(row: &str, settings: &Settings, screen: &Screen) -> Result<Vec<Asked>, Failed> {
    let questions: Vec<Question> = scenarios_named(&[])?
        .into_iter()
        .flat_map(|(scenario, called)| Question::all(scenario, called))
        // A scenario with a mutant of its own says nothing about another one.
        .filter(|q| q.revision == row && q.scenario.mutant().is_none())
        .collect();
    // The bound on executions is one for mutants: without a change there has to be an answer.
    let own = Settings { executions: None, ..settings.clone() };
    let results = in_parallel(
        &questions,
        settings.jobs,
        screen,
        |question| {
            let (subject, bounds) = (question.subject(), question.bounds(&own));
            let mut patience = Patience { watch: Stopwatch::start(), budget: settings.budget };
            let found =
                baseline(&subject, (&question.expected, question.beside()), &bounds, &mut patience);
            (question.clone(), subject, bounds, found)
        },
        &mut |_| {},
    );
    let mut asked = Vec::new();
    for (question, subject, bounds, found) in results {
        let found = found.map_err(|e| Failed::Because(e.to_string(), Exit::BadUsage))?;
        if found.notice != Notice::No && !interrupt::requested() {
            let name = &question.scenario.name;
            return Err(Failed::Because(
                format!(
                    "{name} on {row} does not give its recorded verdict ({:?}); mutants would say \
                     nothing. See `iommufd-testbed check {name}`",
                    found.notice
                ),
                Exit::Differs,
            ));
        }
        let Baseline { reached, apart, executions, .. } = found;
        asked.push(Asked { question, subject, bounds, reached, apart, executions });
    }
    asked.sort_by(|a, b| {
        let key = |q: &Asked| (q.executions, q.question.scenario.name.clone());
        key(a).cmp(&key(b))
    });
    Ok(asked)
}

/// The call sites that the scenarios of a row reach.
///
/// # Errors
///
/// Bad files, and a scenario whose verdict is not the recorded one.
pub(crate) fn reached_by_scenarios(
    row: &str,
    settings: &Settings,
    screen: &Screen,
) -> Result<BTreeSet<u16>, Failed> {
    Ok(ask(row, settings, screen)?.into_iter().flat_map(|asked| asked.reached).collect())
}

/// The Rust functions that these call sites stand in.
pub(crate) fn parts<'a>(
    reached: &BTreeSet<u16>,
    sites: &'a [CallSite],
) -> BTreeSet<(&'a str, u32)> {
    let of = |id: &u16| sites.get(usize::from(*id)).map(|s| (s.file, s.part));
    reached.iter().filter_map(of).collect()
}

/// The mutants of a row, and how many changes are none because they make the same program.
fn mutants(
    sites: &'static [CallSite],
    parts: &BTreeSet<(&str, u32)>,
    asked: &[Asked],
    selection: &Selection,
) -> (Vec<Mutant>, usize) {
    let mut mutants = Vec::new();
    let mut same = 0;
    for (site, id) in sites.iter().zip(0..) {
        let wanted = selection.functions.is_empty()
            || selection.functions.iter().any(|f| f == site.function);
        if !wanted || !parts.contains(&(site.file, site.part)) {
            continue;
        }
        let reached_by: Vec<String> = asked
            .iter()
            .filter(|a| a.reached.contains(&id))
            .map(|a| a.question.scenario.name.clone())
            .collect();
        let makes_another = |change: &&Change| {
            reached_by.is_empty()
                || !may_be_the_same(site.op, **change)
                || asked.iter().any(|a| a.apart.contains(&(id, **change)))
        };
        let changes: Vec<&Change> = site.changes.iter().filter(makes_another).collect();
        same += site.changes.len() - changes.len();
        mutants.extend(changes.into_iter().map(|change| Mutant {
            site: site.name(),
            file: site.file,
            line: site.line,
            function: site.function,
            op: site.op,
            change: *change,
            fate: Fate::Unreached,
            reached_by: reached_by.clone(),
            out_of_budget: Vec::new(),
            listed: None,
            class: None,
            id,
        }));
    }
    let mut index = 0..;
    mutants.retain(|_| {
        index.next().is_some_and(|i: usize| selection.shard.is_none_or(|s| s.holds(i)))
    });
    (mutants, same)
}

/// Puts a mutant to the questions that reach it, the cheapest first, until one notices.
fn judged(mut mutant: Mutant, asked: &[Asked], settings: &Settings) -> Result<Mutant, Failed> {
    let mutation = Mutation { site: mutant.id, change: mutant.change };
    for a in asked.iter().filter(|a| a.reached.contains(&mutant.id)) {
        mutant.fate = Fate::Survived;
        let enough = EXECUTIONS_MIN.max(a.executions.saturating_mul(EXECUTIONS_FACTOR));
        let bounds =
            Bounds { executions_max: settings.executions.unwrap_or(enough), ..a.bounds.clone() };
        let mut patience = Patience { watch: Stopwatch::start(), budget: settings.budget };
        let expected: &Expected = &a.question.expected;
        let name = || a.question.scenario.name.clone();
        // Where `check` would say that the testbed panicked, the verdict is another one, too.
        let notice = catch_unwind(AssertUnwindSafe(|| {
            notices(&a.subject, (expected, a.question.beside()), &bounds, mutation, &mut patience)
        }))
        .unwrap_or_else(|_| Ok(Notice::Yes("the model panicked".to_owned())))
        .map_err(|e| Failed::Because(format!("{}: {e}", name()), Exit::Differs))?;
        match notice {
            Notice::Yes(because) => {
                mutant.fate = Fate::Killed { scenario: name(), because };
                break;
            }
            Notice::No => {}
            Notice::OutOfBudget | Notice::Interrupted => mutant.out_of_budget.push(name()),
        }
    }
    Ok(mutant)
}

/// The entry of `survivors.toml` that lists this mutant on this row.
fn excuse(mutant: &Mutant, row: &str, survivors: &[Survivor]) -> Option<usize> {
    survivors.iter().position(|s| {
        s.site == mutant.site
            && s.changes.contains(&mutant.change)
            && scenarios::names_row(&s.revisions, row)
    })
}

/// The call sites in functions that neither these rows nor any twin enters.
fn in_no_row(
    entered: &BTreeSet<(&str, u32)>,
    sites: &[CallSite],
    settings: &Settings,
    screen: &Screen,
) -> Result<Vec<String>, Failed> {
    let twins: Vec<Question> = scenarios_named(&[])?
        .into_iter()
        .flat_map(|(scenario, called)| Question::all(scenario, called))
        .filter(|q| revisions().iter().any(|r| r.name == q.revision && r.twin_of.is_some()))
        .collect();
    let reached = in_parallel(
        &twins,
        settings.jobs,
        screen,
        |question| {
            let bounds = Bounds { executions_max: TWIN_EXECUTIONS, ..question.bounds(settings) };
            let mut patience = Patience { watch: Stopwatch::start(), budget: settings.budget };
            baseline(
                &question.subject(),
                (&question.expected, question.beside()),
                &bounds,
                &mut patience,
            )
            .map(|b| b.reached)
            .unwrap_or_default()
        },
        &mut |_| {},
    );
    let reached: BTreeSet<u16> = reached.into_iter().flatten().collect();
    let by_twins = parts(&reached, sites);
    let orphan = |s: &&CallSite| {
        let part = (s.file, s.part);
        !s.changes.is_empty() && !entered.contains(&part) && !by_twins.contains(&part)
    };
    Ok(sites.iter().filter(orphan).map(|s| format!("{}:{} {}", s.file, s.line, s.name())).collect())
}

/// Scenarios that are named where there are many; `--format json` names all of them.
const NAMES_SHOWN: usize = 6;

/// The first of some names, which stand in the order of what they cost.
fn the_cheapest(names: &[String]) -> String {
    let more = names.len().saturating_sub(NAMES_SHOWN);
    let shown = names[..names.len() - more].join(", ");
    if more == 0 {
        shown
    } else {
        format!("{shown} and {more} more")
    }
}

/// What a row prints.
fn row_text(row: &RowScore, verbose: bool) -> String {
    let mut text = String::new();
    for mutant in &row.survivors {
        if mutant.listed.is_some() && !verbose {
            continue;
        }
        let what = match mutant.fate {
            Fate::Unreached => "unreached",
            _ => "survived ",
        };
        let Mutant { file, line, function, op, change, site, .. } = mutant;
        let _ = writeln!(text, "{what} {file}:{line} {function}: {op} {change} [{site}]");
        if !mutant.reached_by.is_empty() {
            let _ = writeln!(text, "          reached by {}", the_cheapest(&mutant.reached_by));
        }
        if !mutant.out_of_budget.is_empty() {
            let names = mutant.out_of_budget.join(", ");
            let _ = writeln!(text, "          out of budget: {names}");
        }
        if let Some(reason) = &mutant.listed {
            let lines = reason.trim().replace('\n', "\n          ");
            let class = match mutant.class {
                Some(Class::Equivalent) => "equivalent",
                _ => "out of sight",
            };
            let _ = writeln!(text, "          listed, {class}: {lines}");
        }
    }
    let _ = writeln!(text, "{}", row.closing());
    text
}

/// What a run prints after its rows.
fn closing_text(report: &Report) -> String {
    let mut text = String::new();
    for stale in &report.stale {
        let _ = writeln!(text, "stale: {stale}");
    }
    for site in &report.in_no_row {
        let _ = writeln!(text, "in no row: {site}: no scenario enters the function on any row");
    }
    text
}
