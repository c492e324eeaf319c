//! The commands `list` and `explain`: what there is.

use crate::calls::Calls;
use crate::check::{Question, Settings};
use crate::cli::{Failed, Text};
use crate::commands::scenarios_named;
use crate::judge::spelt;
use crate::output::{answer, complain, width, wrap};
use crate::record::json;
use crate::rows::{all_rows, in_words};
use crate::run::Exit;
use crate::values::{counted, grouped};
use scenarios::{left_out, Explorer, Kind, LeftOut, Scenario};
use serde::Serialize;
use std::collections::BTreeSet;
use std::fmt::Write;
use uapi::pick::{Pick, Subject};
use uapi::program::{FailNth, Limits, Timers};
use uapi::step::{Cpu, Pending};

#[derive(Serialize)]
struct List {
    scenarios: Vec<Entry>,
    revisions: Vec<Row>,
}

#[derive(Serialize)]
struct Entry {
    name: String,
    kind: &'static str,
    cpus: usize,
    revisions: Vec<String>,
    question: String,
}

#[derive(Serialize)]
struct Row {
    name: &'static str,
    aliases: &'static [&'static str],
    twin_of: Option<&'static str>,
    doc: &'static str,
    source: &'static str,
}

/// `canary`, `story` or `race`
pub fn kind(scenario: &Scenario) -> &'static str {
    match (scenario.canary, scenario.kind()) {
        (true, _) => "canary",
        (false, Kind::Story) => "story",
        (false, Kind::Race) => "race",
    }
}

/// `list`
///
/// # Errors
///
/// Scenario files that cannot be read.
pub fn list(format: Text) -> Result<Exit, Failed> {
    // The rows are part of the binary; the scenarios are not, and it may have come without them.
    let directory = scenarios::directory();
    let all = match directory.is_dir() {
        true => scenarios_named(&[])?,
        false => {
            complain(&format!(
                "there are no scenarios in {}; run it in a clone of the testbed to see them",
                directory.display()
            ));
            Vec::new()
        }
    };
    let entries: Vec<Entry> = all
        .into_iter()
        .map(|(s, _)| Entry {
            kind: kind(&s),
            cpus: s.cpus(),
            name: s.name,
            revisions: s.revisions,
            question: s.question,
        })
        .collect();
    let rows: Vec<Row> = all_rows()
        .map(|r| Row {
            name: r.name,
            aliases: r.aliases,
            twin_of: r.twin_of,
            doc: r.doc,
            source: r.source,
        })
        .collect();
    let list = List { scenarios: entries, revisions: rows };
    answer(&match format {
        Text::Json => json(&list).map_err(Failed::usage)?,
        Text::Human => list_text(&list, width()),
    });
    Ok(Exit::AsRecorded)
}

/// Columns that what a row is needs beside its name; with less it stands below it.
const DOC_MIN: usize = 32;

fn list_text(list: &List, width: usize) -> String {
    let mut text = String::new();
    let name = list.scenarios.iter().map(|s| s.name.chars().count()).max().unwrap_or(0);
    for s in &list.scenarios {
        let cpus = counted(s.cpus as u64, "CPU");
        let _ = writeln!(text, "{:name$}  {}, {cpus}", s.name, s.kind);
        for line in [s.question.trim(), &in_words(&s.revisions)] {
            for line in wrap(line, 4, 8, width) {
                let _ = writeln!(text, "{line}");
            }
        }
    }
    text.push('\n');
    let name = list.revisions.iter().map(|r| r.name.len()).max().unwrap_or(0);
    for r in &list.revisions {
        let also = match r.aliases {
            [] => String::new(),
            aliases => format!(" (also {})", aliases.join(", ")),
        };
        let doc = format!("{}{also}", r.doc.trim());
        let lines = match name + 2 + DOC_MIN <= width {
            true => wrap(&format!("{:name$}  {doc}", r.name), 0, name + 2, width),
            false => [vec![r.name.to_owned()], wrap(&doc, 4, 4, width)].concat(),
        };
        for line in lines {
            let _ = writeln!(text, "{line}");
        }
    }
    text
}

#[derive(Serialize)]
struct Explanation {
    name: String,
    kind: &'static str,
    question: String,
    source: String,
    notes: Option<String>,
    setup: Vec<String>,
    cpus: Vec<Vec<String>>,
    finally: Vec<String>,
    verdicts: Vec<(String, String)>,
    bounds: String,
    explorers: Vec<&'static str>,
    /// Kernel functions on the first row, in order of their first step, by file of the model.
    functions: Vec<Functions>,
    limits: Vec<&'static str>,
    /// What the model leaves out, with the reason.
    left_out: Vec<LeftOut>,
    /// What to run next.
    commands: Vec<String>,
}

/// What a scenario goes through in one file of the model.
#[derive(Serialize)]
struct Functions {
    file: String,
    names: Vec<String>,
}

/// `explain`
///
/// # Errors
///
/// A scenario that cannot be read or run.
pub fn explain(name: &str, format: Text) -> Result<Exit, Failed> {
    for (scenario, called) in scenarios_named(&[name.to_owned()])? {
        let explanation = explanation(scenario, called)?;
        answer(&match format {
            Text::Json => json(&explanation).map_err(Failed::usage)?,
            Text::Human => explanation_text(&explanation, width()),
        });
    }
    Ok(Exit::AsRecorded)
}

fn explanation(scenario: Scenario, called: String) -> Result<Explanation, Failed> {
    let questions = Question::all(scenario.clone(), called.clone());
    let Calls { setup, cpus, finally } = Calls::of(&scenario, &scenario.revisions);
    let functions = match questions.first() {
        Some(question) => functions_of(&without_faults(question.subject()))?,
        None => Vec::new(),
    };
    let settings = Settings::default();
    let bounds = questions.first().map(|q| bounds_text(q, &settings)).unwrap_or_default();
    let mut limits = vec![
        "The kernel is modelled: what a call does is taken from the sources that each function \
         names, not from a running kernel.",
        "dpor is exhaustive under sequential consistency; only loom sees missing barriers.",
        "One call of a primitive (an xarray operation, a refcount change, a lock) is one step; \
         what happens inside it cannot be interrupted.",
    ];
    if !scenario.suits(Explorer::Loom) {
        limits.push("Loom does not run it: it has at most 4 CPUs, or the file leaves it out.");
    }
    let of_queue = scenario.revisions.first().is_some_and(|r| scenario.queue(r).is_some());
    let is_about_it = |left: &LeftOut| left.queue == of_queue;
    Ok(Explanation {
        kind: kind(&scenario),
        verdicts: scenario
            .revisions
            .iter()
            .filter_map(|r| Some((r.clone(), spelt(scenario.expected(r)?))))
            .collect(),
        setup,
        cpus,
        finally,
        bounds,
        explorers: Explorer::ALL.iter().filter(|e| scenario.suits(**e)).map(|e| e.name()).collect(),
        functions,
        limits,
        left_out: left_out().map_err(Failed::usage)?.into_iter().filter(is_about_it).collect(),
        commands: vec![
            format!("iommufd-testbed check {called}"),
            format!("iommufd-testbed report {called} --no-sweep -o report.html"),
        ],
        name: scenario.name,
        question: scenario.question,
        source: scenario.source,
        notes: scenario.notes,
    })
}

/// The bounds of a question in words.
pub fn bounds_text(question: &Question, settings: &Settings) -> String {
    let bounds = question.bounds(settings);
    let preemptions = match bounds.preemptions_max {
        None => "any number of preemptions".to_owned(),
        Some(n) => format!("at most {n} preemptions"),
    };
    let timers = match question.scenario.timers() {
        Timers::Idle => "timers fire only when no CPU can run",
        Timers::Any => "timers fire at any moment",
    };
    format!(
        "{} steps per execution, {} executions, {preemptions}; a sampler stops \
         after {} executions (seed {}), loom after {}; {timers}",
        grouped(bounds.steps_max.into()),
        grouped(bounds.executions_max),
        grouped(bounds.samples),
        bounds.seed,
        grouped(bounds.loom_permutations),
    )
}

/// Runs the CPU with the highest number first: the opposite of [`uapi::pick::FirstEnabled`].
struct LastEnabled;

impl Pick for LastEnabled {
    fn pick(&mut self, pending: &[Pending], _current: Option<Cpu>) -> Option<Cpu> {
        pending.iter().rev().find(|p| p.enabled).map(|p| p.cpu)
    }
}

/// The program with nothing injected where the explorers inject at every point.
fn without_faults(mut subject: Subject) -> Subject {
    let Subject::Program { program, .. } = &mut subject else { return subject };
    let cpus = program.cpus.iter_mut().flatten();
    for step in program.setup.iter_mut().chain(cpus).chain(&mut program.finally) {
        if step.fail_nth == FailNth::Any {
            step.fail_nth = FailNth::None;
        }
    }
    subject
}

/// The kernel functions of the two extreme interleavings that have a step or a label of their own: those with
/// steps in the order of the first of them. One that only calls others is found in their file.
fn functions_of(subject: &Subject) -> Result<Vec<Functions>, Failed> {
    let limits = Limits { trace: true, reach: true, ..Limits::default() };
    let sites = model_native::call_sites();
    let mut reached: BTreeSet<u16> = BTreeSet::new();
    let mut files: Vec<Functions> = Vec::new();
    let picks: [&mut dyn Pick; 2] = [&mut uapi::pick::FirstEnabled, &mut LastEnabled];
    for pick in picks {
        let outcome = model_native::run(subject, pick, &limits)
            .map_err(|e| Failed::Because(e.to_string(), Exit::BadUsage))?;
        let Some(outcome) = outcome else { continue };
        reached.extend(&outcome.reached);
        for step in outcome.trace.map(|t| t.steps).unwrap_or_default() {
            add_function(&mut files, step.file, step.function);
        }
    }
    for site in reached.iter().filter_map(|id| sites.get(usize::from(*id))) {
        add_function(&mut files, site.file.to_owned(), site.function.to_owned());
    }
    Ok(files)
}

fn add_function(files: &mut Vec<Functions>, file: String, function: String) {
    if function.is_empty() {
        return;
    }
    match files.iter_mut().find(|of| of.file == file) {
        Some(of) if of.names.contains(&function) => {}
        Some(of) => of.names.push(function),
        None => files.push(Functions { file, names: vec![function] }),
    }
}

fn explanation_text(e: &Explanation, width: usize) -> String {
    let mut text = format!("{} ({})\n\n", e.name, e.kind);
    let mut item = |head: &str, body: &str| {
        for (i, line) in body.trim().lines().enumerate() {
            // A command is to be copied.
            let width = if head == "run it" { usize::MAX } else { width };
            let head = if i == 0 { head } else { "" };
            for line in wrap(&format!("{head:11} {line}"), 0, 14, width) {
                let _ = writeln!(text, "{}", line.trim_end());
            }
        }
    };
    item("question", &e.question);
    item("source", &e.source);
    item("notes", e.notes.as_deref().unwrap_or(""));
    item("setup", &e.setup.join("\n"));
    for (i, cpu) in e.cpus.iter().enumerate() {
        item(&format!("CPU {i}"), &cpu.join("\n"));
    }
    item("finally", &e.finally.join("\n"));
    let name = e.verdicts.iter().map(|(r, _)| r.len()).max().unwrap_or(0);
    let verdicts: Vec<String> = e.verdicts.iter().map(|(r, v)| format!("{r:name$}  {v}")).collect();
    item("recorded", &verdicts.join("\n"));
    item("bounds", &e.bounds);
    item("explorers", &e.explorers.join(", "));
    let functions: Vec<String> = e
        .functions
        .iter()
        .map(|f| format!("model/src/{}: {}", f.file, f.names.join(", ")))
        .collect();
    item("functions", &functions.join("\n"));
    item("limits", &e.limits.join("\n"));
    let left_out: Vec<String> =
        e.left_out.iter().map(|l| format!("{}: {}", l.what, l.reason)).collect();
    item("left out", &left_out.join("\n"));
    item("run it", &e.commands.join("\n"));
    text
}
