//! A failing interleaving as data for the stepper: the lines of its columns, and what changes in
//! the object graph and in the locks after each step.

use super::locks::{self, Lock};
use crate::check::Question;
use crate::columns::{Cell, Line, Picture, Steps};
use crate::{brief, values::Names};
use races::{Backend, Failure};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use uapi::outcome::{Ending, Outcome};
use uapi::program::Limits;
use uapi::splat::Kind;
use uapi::step::sleeper_of;
use uapi::trace::{Graph, Trace};

/// Where the sources of the model are, seen from the root of the checkout.
const MODEL: &str = "model/src/";

/// One failing interleaving.
#[derive(Serialize, Deserialize, Clone, Debug)]
pub struct Interleaving {
    /// The first splat.
    pub splat: String,
    /// How often the CPU changed.
    pub context_switches: u32,
    /// The command that replays it.
    pub replay: String,
    /// Number of columns.
    pub cpus: usize,
    /// What the columns are called, if one is no CPU of the kernel.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub names: Vec<String>,
    /// Number of steps.
    pub steps: usize,
    /// Index of the step after which no passing completion exists.
    pub point_of_no_return: Option<usize>,
    /// The lines from top to bottom.
    pub lines: Vec<Row>,
    /// What each step changed, for those that changed anything.
    pub changes: Vec<Change>,
    /// The CPUs that can never run again behind the last step (a deadlock), and what they are in.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub hung: Vec<Hung>,
    /// The picture as text, for a mail.
    pub text: String,
}

/// A CPU that can never run again.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Hung {
    /// Which one.
    pub cpu: usize,
    /// The primitive that it waits in.
    pub op: String,
}

/// One line of the columns.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Row {
    /// `call`, `step`, `answer`, `splat`, `ruler` or `note`.
    pub kind: String,
    /// The step that it belongs to; none for what stands behind the last one.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub step: Option<usize>,
    /// Whose column it is in; none: it concerns everybody.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub cpu: Option<usize>,
    /// What it says.
    pub text: String,
    /// Of a step.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub code: Option<Code>,
}

/// Where a step stands in the model.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Code {
    /// The C function.
    pub function: String,
    /// File of the model, from the root of the checkout.
    pub file: String,
    /// Line of the file.
    pub line: u32,
    /// Whether it meets another CPU, so that the short picture draws it.
    pub meets: bool,
}

/// What is different after a step.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// The step.
    pub step: usize,
    /// Objects that are new or changed, by ordinal of their allocation.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub set: Vec<Object>,
    /// Objects that are freed.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub freed: Vec<u32>,
    /// The locks that are held, with who waits for them, if that changed.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub locks: Option<Vec<Lock>>,
}

/// A live object.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Object {
    /// Ordinal of its allocation.
    pub alloc: u32,
    /// Its name.
    pub name: String,
    /// C struct without prefix.
    pub ty: String,
    /// Its id.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub id: Option<u32>,
    /// Counters and pointers.
    pub fields: Vec<(String, String)>,
}

/// The interleaving of a failure, run again with the object graph after each step. `None` if the
/// explorer kept no schedule (loom).
///
/// # Errors
///
/// If it does not run again, which would be a bug of the testbed.
pub fn interleaving(
    question: &Question,
    failure: &Failure,
    text: String,
) -> Result<Option<Interleaving>, String> {
    if failure.schedule.segments.is_empty() {
        return Ok(None);
    }
    let token = question.token(&failure.schedule);
    let limits = Limits { trace: true, graph: true, ..Limits::default() };
    let replayed = races::replay(&question.subject(), &failure.schedule, Backend::Native, &limits)
        .map_err(|e| format!("{token} does not run again: {e}; please report this as a bug"))?;
    let outcome = &replayed.outcome;
    let spelled = question.spelled();
    let is_cpu = |(n, name): (usize, &String)| *name == format!("CPU {n}");
    let names = match spelled.names.iter().enumerate().all(is_cpu) {
        true => Vec::new(),
        false => spelled.names.clone(),
    };
    let picture = Picture {
        spelled: &spelled,
        outcome,
        point_of_no_return: failure.point_of_no_return,
        steps: Steps::All,
    };
    let empty = Trace::default();
    let trace = outcome.trace.as_ref().unwrap_or(&empty);
    Ok(Some(Interleaving {
        splat: Names::of(trace).join(&failure.splat.to_string()),
        context_switches: failure.context_switches,
        replay: token.command(),
        cpus: spelled.cpus.len().max(1),
        names,
        steps: trace.steps.len(),
        point_of_no_return: failure.point_of_no_return,
        lines: rows(&picture, trace),
        changes: changes(trace),
        hung: hung(outcome),
        text,
    }))
}

/// The lines of the picture, without the names of functions: those depend on what is shown.
fn rows(picture: &Picture, trace: &Trace) -> Vec<Row> {
    let meets = brief::shown(picture.outcome);
    let (lines, ends) = picture.lines_of_steps();
    let mut rows = Vec::new();
    let mut step = 0;
    for (i, line) in lines.into_iter().enumerate() {
        while ends.get(step).is_some_and(|end| *end <= i) {
            step += 1;
        }
        let step = (step < trace.steps.len()).then_some(step);
        let (kind, cpu, text) = match line {
            Line::Cell { kind: Cell::Function, .. } | Line::Graph(_) => continue,
            Line::Cell { cpu, kind: Cell::Call, text } => ("call", Some(cpu), text),
            Line::Cell { cpu, kind: Cell::Step, text } => ("step", Some(cpu), text),
            Line::Cell { cpu, kind: Cell::Answer, text } => ("answer", Some(cpu), text),
            Line::Across(text) => ("splat", None, text),
            Line::Note(text) => ("note", None, text),
            Line::Ruler(text) => ("ruler", None, text),
        };
        let code = step.filter(|_| kind == "step").and_then(|i| {
            let s = trace.steps.get(i)?;
            Some(Code {
                function: s.function.clone(),
                file: format!("{MODEL}{}", s.file),
                line: s.line,
                meets: meets.get(i).copied().unwrap_or(true),
            })
        });
        rows.push(Row { kind: kind.to_owned(), step, cpu, text, code });
    }
    rows
}

/// Whom the splat of a deadlock names: `CPU 0 in wait_event, CPU 1 in mutex_lock`.
fn hung(outcome: &Outcome) -> Vec<Hung> {
    let last = outcome.splats.iter().rev().find(|s| s.kind == Kind::HungTask);
    let Some(splat) = last.filter(|_| outcome.ending == Ending::Deadlock) else {
        return Vec::new();
    };
    let named = splat.detail.split(", ").filter_map(|part| {
        let (cpu, op) = part.strip_prefix("CPU ")?.split_once(" in ")?;
        Some(Hung { cpu: cpu.parse().ok()?, op: op.to_owned() })
    });
    named.collect()
}

/// What each step changed in the graph and in the locks.
fn changes(trace: &Trace) -> Vec<Change> {
    let names = Names::of(trace);
    let locks = locks::after_each_step(trace, &names);
    let mut before: BTreeMap<u32, Object> = BTreeMap::new();
    let mut held: Vec<Lock> = Vec::new();
    let mut changes = Vec::new();
    for step in 0..trace.steps.len() {
        // A step that the kernel stops in leaves no graph: what was there is still there.
        let now = match trace.graphs.get(step) {
            Some(graph) => objects(graph, &names),
            None => before.clone(),
        };
        let set = now.iter().filter(|(alloc, o)| before.get(alloc) != Some(o));
        let set: Vec<Object> = set.map(|(_, o)| o.clone()).collect();
        let freed = before.keys().filter(|alloc| !now.contains_key(alloc)).copied().collect();
        let taken = locks.get(step).filter(|l| **l != held).cloned();
        if let Some(taken) = &taken {
            held.clone_from(taken);
        }
        let change = Change { step, set, freed, locks: taken };
        if !change.set.is_empty() || !change.freed.is_empty() || change.locks.is_some() {
            changes.push(change);
        }
        before = now;
    }
    changes
}

fn objects(graph: &Graph, names: &Names) -> BTreeMap<u32, Object> {
    let object = |o: &uapi::trace::GraphObject| Object {
        alloc: o.alloc,
        name: names.object(&o.ty, o.alloc),
        ty: o.ty.clone(),
        id: o.id,
        fields: o.fields.iter().map(|(f, v)| (f.clone(), names.value(v))).collect(),
    };
    graph.objects.iter().map(|o| (o.alloc, object(o))).collect()
}

/// The column of a step: a timer stands in that of its sleeper.
pub fn column(cpu: uapi::step::Cpu) -> usize {
    usize::from(sleeper_of(cpu).unwrap_or(cpu))
}
