//! The commands `check`, `replay` and `schema`.

use crate::baseline;
use crate::check::{self, Answered, Question, Settings};
use crate::cli::{CheckOptions, Failed, Format, RunOptions, Text};
use crate::columns::Steps;
use crate::files::{self, safe, Directory};
use crate::interrupt;
use crate::judge::Judgement;
use crate::junit;
use crate::observation::Layout;
use crate::output::{answer, complain, folded, tell, terminal_columns, width};
use crate::picture::Page;
use crate::progress::Screen;
use crate::record::{json, FailureFile, Verdicts};
use crate::rows::{canonical, canonical_all, revisions};
use crate::run::{Exit, Summary};
use crate::token::Token;
use races::Backend;
use scenarios::{Scenario, ScenarioError, Spelled};
use std::path::Path;
use uapi::mutation::Mutant;
use uapi::pick::Subject;
use uapi::program::Limits;

/// Reads the scenarios that the user named, or all of the checkout.
///
/// # Errors
///
/// Every file that cannot be read.
pub fn scenarios_named(what: &[String]) -> Result<Vec<(Scenario, String)>, Failed> {
    let dir = scenarios::directory();
    if what.is_empty() {
        let loaded = scenarios::load_dir(&dir, revisions());
        if !loaded.errors.is_empty() {
            return Err(Failed::Scenarios(loaded.errors));
        }
        if loaded.scenarios.is_empty() {
            return Err(Failed::usage(format!(
                "there are no scenarios in {}; run it from a checkout, or name a file",
                dir.display()
            )));
        }
        return Ok(loaded.scenarios.into_iter().map(|s| (s.name.clone(), s)).map(swap).collect());
    }
    let mut found: Vec<(Scenario, String)> = Vec::new();
    let mut errors = Vec::new();
    for name in what {
        // Who names one twice asks it once.
        if found.iter().any(|(_, called)| called == name) {
            continue;
        }
        let read = scenarios::resolve(name, &dir).and_then(|p| Scenario::read(&p, revisions()));
        match read.and_then(with_a_mutant_that_there_is) {
            Ok(scenario) => found.push((scenario, name.clone())),
            Err(e) => errors.push(e),
        }
    }
    tell_apart(&mut found);
    match errors.is_empty() {
        true => Ok(found),
        false => Err(Failed::Scenarios(errors)),
    }
}

/// Files of one name in several directories are called by their paths, in every file that a run leaves, so
/// that none takes the place of another.
fn tell_apart(found: &mut [(Scenario, String)]) {
    let names: Vec<String> = found.iter().map(|(s, _)| s.name.clone()).collect();
    for (scenario, called) in found {
        if names.iter().filter(|n| **n == scenario.name).count() > 1 {
            scenario.name = called.strip_suffix(".toml").unwrap_or(called).to_owned();
        }
    }
}

/// Finds out before the run what every explorer would find out by itself.
fn with_a_mutant_that_there_is(scenario: Scenario) -> Result<Scenario, ScenarioError> {
    let Some(Mutant { site, change }) = scenario.mutant() else { return Ok(scenario) };
    let sites = model_native::call_sites();
    let Some(there) = sites.iter().find(|s| s.name() == *site) else {
        let names: Vec<String> = sites.iter().map(uapi::mutation::CallSite::name).collect();
        let near = scenarios::nearest(site, names.iter().map(String::as_str));
        let meant = near.map_or(String::new(), |near| format!("did you mean `{near}`? "));
        let help = format!("{meant}`iommufd-testbed mutate --list` shows all call sites");
        return Err(scenario.no_such_mutant("there is no such call site in the model", help));
    };
    if !there.changes.contains(change) {
        let names: Vec<&str> = there.changes.iter().map(|c| c.name()).collect();
        let message = format!("this call site cannot be changed to `{change}`");
        let help = format!("its changes are: {}", names.join(", "));
        return Err(scenario.no_such_mutant(&message, help));
    }
    Ok(scenario)
}

fn swap<A, B>((a, b): (A, B)) -> (B, A) {
    (b, a)
}

/// The questions of a run: every row of every scenario that the options leave in.
///
/// # Errors
///
/// Bad files, and revisions that nothing is asked about.
pub fn questions(what: &[String], options: &RunOptions) -> Result<Vec<Question>, Failed> {
    let rows = canonical_all(&options.revision).map_err(Failed::usage)?;
    let mut all: Vec<Question> = scenarios_named(what)?
        .into_iter()
        .flat_map(|(scenario, called)| Question::all(scenario, called))
        .collect();
    if !rows.is_empty() {
        all.retain(|q| rows.contains(&q.revision));
    }
    if all.is_empty() {
        return Err(Failed::usage(format!(
            "none of the scenarios has a verdict for {}; `iommufd-testbed list` shows which \
             scenario runs on which revision",
            options.revision.join(", ")
        )));
    }
    let shard = options.shard;
    let mut index = 0..;
    all.retain(|_| index.next().is_some_and(|i: usize| shard.is_none_or(|s| s.holds(i))));
    Ok(all)
}

/// `check`
///
/// # Errors
///
/// Bad files, bad usage, and files that cannot be written.
pub fn check(what: &[String], options: &CheckOptions) -> Result<Exit, Failed> {
    let questions = questions(what, &options.run)?;
    let output = options.output.as_deref().map(Directory::open).transpose();
    let output = output.map_err(Failed::usage)?;
    let baseline = options.baseline.as_deref().map(baseline::verdicts).transpose();
    let baseline = baseline.map_err(Failed::usage)?;
    interrupt::listen().map_err(Failed::usage)?;

    let settings = options.run.settings();
    let screen = if options.quiet { Screen::hidden() } else { Screen::new() };
    let layout = Layout::of(&questions, terminal_columns());
    let human = options.format == Format::Human;
    let mut above: Option<String> = None;
    let answered = check::run(&questions, &settings, &screen, &mut |answered| {
        if human {
            let text = shown(answered, layout, above.as_deref(), options);
            if !text.is_empty() {
                above = Some(answered.question.scenario.name.clone());
            }
            screen.suspend(|| answer(&text));
        }
    });
    let summary = Summary::of(&answered, questions.len(), interrupt::requested());

    match options.format {
        Format::Human => tell(&format!("\n{}", summary.text())),
        Format::Json => answer(&json(&Verdicts::of(&answered, &summary)).map_err(broken)?),
        Format::Junit => answer(&junit::xml(&answered).map_err(broken)?),
    }
    if let Some(directory) = output {
        leave(&directory, &answered, &summary).map_err(Failed::usage)?;
    }
    if !human && summary.exit() != Exit::AsRecorded {
        complain(&summary.text());
    }
    let Some(baseline) = baseline else { return Ok(summary.exit()) };
    let comparison = baseline::compare(&baseline, &Verdicts::of(&answered, &summary));
    let text = comparison.text("questions");
    if human {
        tell(&text);
    } else {
        complain(&text);
    }
    match (summary.exit(), comparison.changes.is_empty()) {
        (Exit::AsRecorded, false) => Ok(Exit::Differs),
        (exit, _) => Ok(exit),
    }
}

/// A bug of the testbed, not of the user.
pub fn broken(message: String) -> Failed {
    Failed::Because(message, Exit::Differs)
}

/// What a run prints about one question, below what it printed about the scenario `above`.
fn shown(
    answered: &Answered,
    layout: Layout,
    above: Option<&str>,
    options: &CheckOptions,
) -> String {
    let differs = matches!(answered.judgement, Judgement::Differs(_));
    let columns = terminal_columns().unwrap_or(usize::MAX);
    let mut text = String::new();
    if differs || !options.quiet {
        text.push_str(&layout.text(answered, above));
    }
    if let Judgement::Differs(reason) = &answered.judgement {
        text.push_str(&folded(&format!("  differs: {reason}\n"), columns));
    }
    // An explorer that is broken says nothing about the failures of the others.
    let found = answered.answers.iter().all(|a| a.result.is_ok());
    if differs && found || options.verbose {
        if let Some(failure) = answered.failure() {
            text.push('\n');
            let page = page_of(answered, failure, width().saturating_sub(INDENT.len()));
            for line in folded(&page, columns.saturating_sub(INDENT.len())).lines() {
                text.push_str(match line.is_empty() {
                    true => "",
                    false => INDENT,
                });
                text.push_str(line);
                text.push('\n');
            }
            text.push('\n');
        }
    }
    text
}

/// What stands left of a picture between the answers.
const INDENT: &str = "  ";

/// The picture of a failure.
pub fn page_of(answered: &Answered, failure: &races::Failure, width: usize) -> String {
    let question = &answered.question;
    let page = Page {
        question: &question.scenario.question,
        token: &question.token(&failure.schedule),
        spelled: &question.spelled(),
        outcome: &failure.outcome,
        context_switches: failure.context_switches,
        point_of_no_return: failure.point_of_no_return,
        steps: Steps::Meeting,
    };
    page.text(width)
}

/// Writes what a run leaves.
fn leave(directory: &Directory, answered: &[Answered], summary: &Summary) -> Result<(), String> {
    directory.write("verdicts.json", &json(&Verdicts::of(answered, summary))?)?;
    directory.write("junit.xml", &junit::xml(answered)?)?;
    for a in answered {
        if let Some(failure) = a.failure() {
            let name = safe(&format!("{}@{}", a.question.scenario.name, a.question.revision));
            let file = FailureFile::of(&a.question, failure);
            directory.write(&format!("{name}.json"), &json(&file)?)?;
            directory.write(&format!("{name}.txt"), &page_of(a, failure, width()))?;
        }
    }
    Ok(())
}

/// What `replay` runs.
struct Recorded {
    token: Token,
    question: String,
    subject: Subject,
    point_of_no_return: Option<usize>,
    /// The first splat that the failure file recorded.
    splat: Option<String>,
}

/// `replay`
///
/// # Errors
///
/// What is neither a token nor a failure file, and an execution that goes another way.
pub fn replay(what: &str, steps: Steps, graph: bool, format: Text) -> Result<Exit, Failed> {
    // What is there is no token, whatever it is: a token has an `@`, and a directory of that name would
    // be an odd one.
    let is_path = what.ends_with(".json") || (!what.contains('@') && Path::new(what).exists());
    let recorded = match is_path || Path::new(what).is_file() {
        true => from_file(Path::new(what))?,
        false => from_token(what)?,
    };
    let limits = Limits { trace: true, graph, ..Limits::default() };
    let schedule = &recorded.token.schedule;
    let replayed = races::replay(&recorded.subject, schedule, Backend::Native, &limits)
        .map_err(|e| Failed::Because(e.to_string(), replay_exit(&e)))?;
    let outcome = &replayed.outcome;
    match format {
        Text::Json => answer(&json(outcome).map_err(broken)?),
        Text::Human => {
            let page = Page {
                question: &recorded.question,
                token: &recorded.token,
                spelled: &Spelled::of(&recorded.subject),
                outcome,
                context_switches: replayed.context_switches,
                point_of_no_return: recorded.point_of_no_return,
                steps,
            };
            tell(&page.text(width()));
        }
    }
    let now = outcome.splats.first().map(ToString::to_string);
    match recorded.splat {
        Some(then) if now.as_ref() != Some(&then) => Err(Failed::Because(
            format!(
                "the interleaving runs, but the file recorded \"{then}\" and now it is {}",
                now.map_or("no splat at all".to_owned(), |s| format!("\"{s}\""))
            ),
            Exit::Differs,
        )),
        _ => Ok(Exit::AsRecorded),
    }
}

/// A token that fits no more is a difference; one that never fitted is bad usage.
fn replay_exit(e: &races::ReplayError) -> Exit {
    match e {
        races::ReplayError::Differs { .. } => Exit::Differs,
        races::ReplayError::Model(_) | races::ReplayError::Foreign(_) => Exit::BadUsage,
    }
}

fn from_token(text: &str) -> Result<Recorded, Failed> {
    let token: Token = text.parse().map_err(Failed::usage)?;
    let row = canonical(&token.revision).map_err(Failed::usage)?;
    let path = scenarios::resolve(&token.scenario, &scenarios::directory())?;
    let scenario = Scenario::read(&path, revisions())?;
    let subject = scenario.subject(row);
    Ok(Recorded {
        question: scenario.question.clone(),
        point_of_no_return: point_of_no_return(scenario, row, &token),
        subject,
        token,
        splat: None,
    })
}

/// The point of no return is no part of a token, but `check` finds it. If the interleaving is the
/// one that `check` shows, `replay` draws the same picture.
fn point_of_no_return(scenario: Scenario, row: &str, token: &Token) -> Option<usize> {
    let called = token.scenario.clone();
    let question = Question::all(scenario, called).into_iter().find(|q| q.revision == row)?;
    let settings = Settings { executions: Some(POINT_EXECUTIONS_MAX), ..Settings::default() };
    let bounds = question.bounds(&settings);
    let finding =
        races::dpor(&question.subject(), &bounds, Backend::Native, &mut races::Unwatched).ok()?;
    let failure = finding.failure.filter(|f| f.schedule == token.schedule)?;
    failure.point_of_no_return
}

/// A replay looks for the point of no return for about a second at most.
const POINT_EXECUTIONS_MAX: u64 = 50_000;

fn from_file(path: &Path) -> Result<Recorded, Failed> {
    let bad = |e: &dyn std::fmt::Display| {
        Failed::usage(format!(
            "cannot read the failure file {}: {e}; `check -o DIR` writes such files",
            path.display()
        ))
    };
    let text = files::read(path, FAILURE_FILE_MAX).map_err(|e| bad(&e))?;
    let file = FailureFile::parse(&text).map_err(|e| bad(&e))?;
    let schedule = file.schedule.parse().map_err(|e: races::ScheduleError| bad(&e))?;
    Ok(Recorded {
        token: Token { scenario: file.scenario, revision: file.revision, schedule },
        question: file.question,
        subject: file.subject,
        point_of_no_return: file.point_of_no_return,
        splat: Some(file.splat),
    })
}

/// A failure file is a trace of at most some thousand steps; anything larger is another file.
const FAILURE_FILE_MAX: u64 = 64 << 20;

/// `schema`
///
/// # Errors
///
/// None that a user could cause.
pub fn schema() -> Result<Exit, Failed> {
    answer(&json(&scenarios::schema()).map_err(broken)?);
    Ok(Exit::AsRecorded)
}
