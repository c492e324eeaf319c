//! The scenario format, the stories and the races.
//!
//! One file is one question. A file with one `[[cpu]]` is a story (sequential), with two or more
//! a race. This crate turns the text into a [`uapi::program::Program`] for one revision (or, if it
//! has a `[queue]`, a [`uapi::queue::Queue`]), together with the verdict that the file records for
//! it, and refuses everything else with an error that points at the line ([`ScenarioError`]).
//!
//! * [`Scenario::read`] and [`Scenario::parse`]: one file.
//! * [`load_dir`]: all of them; [`resolve`]: what a user named on the command line.
//! * [`write`]: a program back into a file; [`step_text`]: one step as a scenario spells it.
//! * [`schema`]: the format as a JSON Schema.
//! * [`answers`]: what real kernels answered, as programs.
//! * [`pairs`]: worlds in which every call is held against every other.
//! * [`permitted`]: answers that need no reason in any order of the calls.
//! * [`profile`]: a machine of the SMMUv3 cost model.
//! * [`simulate`]: programs over the whole API, drawn from a seed.
//! * [`survivors`]: the mutants that no scenario has to notice;
//! * [`unreached`]: the places of the model that no program reaches.
//!
//! The text of a step is parsed against [`uapi::call::SIGNATURES`]: nothing here knows a call.
//! How to write a file is in `scenarios/README.md`.

pub mod answers;

mod error;
mod file;
mod left_out;
mod load;
mod pairs;
mod permitted;
mod profile;
mod schema;
pub mod simulate;
mod spelled;
mod step;
mod survivors;
mod unreached;
mod verdict_text;
mod write;

pub use error::{nearest, Location, Problem, ScenarioError};
pub use left_out::{left_out, LeftOut};
pub use load::{directory, load_dir, resolve, Loaded, FILE_SIZE_MAX};
pub use pairs::{call_of, pairs, Known, Pairs, Serial, With, World, PAIRS};
pub use permitted::{permitted, PermittedAnswer};
pub use profile::{parse_profile, profile, profile_names};
pub use schema::schema;
pub use spelled::Spelled;
pub use survivors::{survivors, Class, Survivor, SURVIVORS};
pub use unreached::{unreached, Unreached};
pub use write::{
    call_table, command_text, expected_answers, expected_of, request_table, request_text,
    step_text, write, write_beside, write_queue,
};

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use uapi::errno::Ret;
use uapi::mutation::Mutant;
use uapi::pick::{RevisionInfo, Subject};
use uapi::program::{Orders, Program, Timers};
use uapi::queue::Queue;
use uapi::verdict::Expected;

/// One question: a program with the verdict that is recorded for it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Scenario {
    /// File stem; unique over all directories.
    pub name: String,
    /// The file, if it was read from one.
    pub path: Option<PathBuf>,
    /// The whole text of the file.
    pub text: String,
    /// What is asked, one sentence.
    pub question: String,
    /// Who asked or where the behaviour comes from: Message-ID, commit, selftest, R-number.
    pub source: String,
    /// Why the answer is what it is.
    pub notes: Option<String>,
    /// Rows to run, by their canonical names, in the order of the file.
    pub revisions: Vec<String>,
    /// The recorded verdict of each of them.
    pub expected: BTreeMap<String, Expected>,
    /// What is recorded beside the verdicts.
    pub findings: Findings,
    /// How far the explorers go.
    pub bounds: Bounds,
    /// Whether every explorer has to find the failure of every row that is not `Never`.
    pub canary: bool,
    /// The program without the expectations that differ by row; empty if there is a queue.
    program: Program,
    /// The program on the SMMUv3 command queue, without them.
    queue: Option<Queue>,
    /// For each step of setup, CPUs and finally in that order: what it may answer.
    answers: Vec<Answers>,
    /// The rows that the reader was given.
    rows: Vec<RevisionInfo>,
}

/// Whether an entry of a data file is for this row: one that names no rows is for every one.
pub fn names_row(revisions: &[String], row: &str) -> bool {
    revisions.is_empty() || revisions.iter().any(|r| r == row)
}

/// Whether a scenario races.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// One CPU.
    Story,
    /// Two or more CPUs.
    Race,
}

/// What a step may answer.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) enum Answers {
    /// Anything.
    #[default]
    Any,
    /// One of these on every row.
    Same(Vec<Ret>),
    /// One of these on the row; a twin that is not named answers as the row it is a twin of.
    PerRow(BTreeMap<String, Vec<Ret>>),
}

/// `[bounds]`. `None`: the explorer's default.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Bounds {
    /// Steps after which one execution is given up.
    pub steps: Option<u32>,
    /// Executions after which the deciding explorer gives up.
    pub executions: Option<u64>,
    /// Preemptions per execution.
    pub preemptions: Option<u32>,
    /// Executions per random sampler.
    pub samples: Option<u64>,
    /// Whether freed addresses are handed out again.
    pub heap: Heap,
    /// Which explorers run; `None`: every one that suits.
    pub explorers: Option<Vec<Explorer>>,
}

/// `[findings]`: what an exhaustive search finds beside splats, by the rows on which it does. A
/// finding of its own, which does not taint the verdict.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Findings {
    /// A sleeper's timer fires although what it waited for had already happened.
    pub late_wakeup: BTreeSet<String>,
    /// Answers that no order of whole calls explains.
    pub unexplained: BTreeSet<String>,
}

/// Whether freed addresses are handed out again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Heap {
    /// Both ways, the second only if the first has compared a stale pointer.
    #[default]
    Auto,
    /// At once, the address freed last first.
    Recycle,
    /// Never.
    Fresh,
}

/// An explorer.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Explorer {
    /// Dynamic partial-order reduction: decides.
    Dpor,
    /// Shuttle's random schedulers.
    Shuttle,
    /// Loom, in a child process.
    Loom,
}

impl Explorer {
    /// Every explorer.
    pub const ALL: &'static [Explorer] = &[Explorer::Dpor, Explorer::Shuttle, Explorer::Loom];

    /// Its name in a scenario and on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Explorer::Dpor => "dpor",
            Explorer::Shuttle => "shuttle",
            Explorer::Loom => "loom",
        }
    }
}

/// CPUs that loom can run: it has five threads, one of them starts the others.
pub const LOOM_CPUS_MAX: usize = 4;

impl Scenario {
    /// Reads one file. `revisions` are the rows that exist (`model_native::revisions()`).
    pub fn read(path: &Path, revisions: &[RevisionInfo]) -> Result<Scenario, ScenarioError> {
        load::read(path, revisions)
    }

    /// Reads a scenario from text; `name` becomes its name and stands in error messages.
    pub fn parse(
        name: &str,
        text: &str,
        revisions: &[RevisionInfo],
    ) -> Result<Scenario, ScenarioError> {
        file::parse(name, name, text, revisions)
    }

    /// What the explorers run on a row, by its name or an alias of it.
    pub fn subject(&self, revision: &str) -> Subject {
        let row = canonical(&self.rows, revision).map_or(revision, |r| r.name).to_owned();
        match self.queue(revision) {
            Some(program) => Subject::Queue { program, revision: row },
            None => Subject::Program { program: self.program(revision), revision: row },
        }
    }

    /// The program on the command queue for one row, if the scenario has one.
    pub fn queue(&self, revision: &str) -> Option<Queue> {
        let mut queue = self.queue.clone()?;
        for (expect, answers) in queue.expect.iter_mut().zip(&self.answers) {
            expect.rets = self.accepted(answers, revision);
        }
        queue.expect.retain(|e| !e.rets.is_empty() || e.entry_num.is_some());
        Some(queue)
    }

    /// The kernel program for one row, by its name or an alias of it; an empty one if the scenario
    /// has a queue.
    ///
    /// A step whose answers are given per row has no expectation on a row that the file says
    /// nothing about.
    pub fn program(&self, revision: &str) -> Program {
        let mut program = self.program.clone();
        let steps = program
            .setup
            .iter_mut()
            .chain(program.cpus.iter_mut().flatten())
            .chain(program.finally.iter_mut());
        for (step, answers) in steps.zip(&self.answers) {
            step.expect = self.accepted(answers, revision);
        }
        program
    }

    /// What is as expected on a row; empty: anything.
    fn accepted(&self, answers: &Answers, revision: &str) -> Vec<Ret> {
        match answers {
            Answers::Any => Vec::new(),
            Answers::Same(rets) => rets.clone(),
            Answers::PerRow(rows) => self.row_of(revision, rows).cloned().unwrap_or_default(),
        }
    }

    /// The recorded verdict of a row, by its name or an alias of it.
    pub fn expected(&self, revision: &str) -> Option<&Expected> {
        self.expected.get(canonical(&self.rows, revision).map_or(revision, |r| r.name))
    }

    /// Whether it races.
    pub fn kind(&self) -> Kind {
        if self.cpus() > 1 {
            Kind::Race
        } else {
            Kind::Story
        }
    }

    /// How many CPUs it has. The SMMU that consumes a queue is one, too.
    pub fn cpus(&self) -> usize {
        self.queue.as_ref().map_or(self.program.cpus.len(), Queue::cpus)
    }

    /// Whether the explorer runs this scenario: it was not left out, and has enough threads.
    pub fn suits(&self, explorer: Explorer) -> bool {
        let wanted = self.bounds.explorers.as_ref().is_none_or(|list| list.contains(&explorer));
        wanted && (explorer != Explorer::Loom || self.cpus() <= LOOM_CPUS_MAX)
    }

    /// The step of the model that it does otherwise.
    pub fn mutant(&self) -> Option<&Mutant> {
        self.program.mutant.as_ref()
    }

    /// The error of a mutant that the model does not have, at its place in the file. Only who links the
    /// model knows what it has; `help` says it.
    pub fn no_such_mutant(&self, message: &str, help: String) -> ScenarioError {
        let site = self.mutant().map_or("", |m| m.site.as_str());
        let problem = match self.text.find(site).filter(|_| !site.is_empty()) {
            Some(at) => Problem::at(at..at + site.len(), "unknown", message, help),
            None => Problem::whole(message, help),
        };
        let file = self.path.as_ref().map_or(self.name.clone(), |p| p.display().to_string());
        ScenarioError::new(&file, Some(&self.text), vec![problem])
    }

    /// What counters order.
    pub fn orders(&self) -> Orders {
        self.program.orders
    }

    /// When timers fire.
    pub fn timers(&self) -> Timers {
        self.program.timers
    }

    /// The answers for a row: its own, or those of the row that it is a twin of.
    fn row_of<'a>(
        &self,
        revision: &str,
        rows: &'a BTreeMap<String, Vec<Ret>>,
    ) -> Option<&'a Vec<Ret>> {
        let row = canonical(&self.rows, revision)?;
        rows.get(row.name).or_else(|| rows.get(row.twin_of?))
    }
}

/// The row with this name or alias.
pub(crate) fn canonical<'a>(rows: &'a [RevisionInfo], name: &str) -> Option<&'a RevisionInfo> {
    rows.iter().find(|r| r.name == name || r.aliases.contains(&name))
}
