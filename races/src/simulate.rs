//! The simulator's executions: one program, under one scheduling strategy, from one seed.
//!
//! Nothing is exhausted here. What an execution shows is sorted into [`Class`]es: the splat that the
//! kernel prints first, an execution that does not end, a wake-up that comes too late, and answers
//! that no order of the calls explains (`orders.rs`, which is the sequential model). What is
//! found is made smaller by [`shrink`] and then decided by [`crate::dpor`]. The requests of a command
//! queue have no order of whole calls that could explain what they answer: of each of them is asked
//! whether it may answer so at all (`answers.rs`).

mod answers;
mod class;
mod shrink;
mod walk;

pub use class::{plain, without_numbers, Class};
pub use shrink::{record, shrink, Found, Wanted};
pub use walk::{Focus, Strategy};

use crate::backend;
use crate::beginnings::Explained;
use crate::dpor::{Config, Dpor, Sink, Stats};
use crate::families::steps;
use crate::orders::Sequential;
use crate::seed::Draws;
use crate::{Backend, FailAt, ModelError, Permitted, Sampler, Subject};
use std::collections::{BTreeMap, BTreeSet};
use uapi::call::signature;
use uapi::errno::Ret;
use uapi::outcome::{Ending, Outcome, Place, StepResult};
use uapi::program::{FailNth, Limits, Program, Step};
use uapi::queue::Request;
use uapi::step::Cpu;
use walk::Walk;

/// Steps after which an execution is said not to end.
pub const STEPS_MAX: u32 = 10_000;
/// Beginnings of orders that are made to explain the answers of one execution.
const BEGINNINGS_MAX: u32 = 600;
/// Different answers of one program that are looked at.
const ANSWERS_MAX: usize = 24;

/// How a program is executed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Plan {
    /// Who runs when.
    pub strategy: Strategy,
    /// Executions.
    pub executions: u64,
    /// Seed of the schedules.
    pub seed: u64,
    /// Freed addresses are handed out again at once.
    pub recycle: bool,
    /// Answers are held against those of the calls made one after the other.
    pub explain: bool,
    /// Answers that need no reason.
    pub permitted: Vec<Permitted>,
}

/// What the executions of one program gave.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Observed {
    /// How many there were.
    pub executions: u64,
    /// Their steps.
    pub steps: u64,
    /// What they show: in how many executions, and the choices of the first of them.
    pub shown: BTreeMap<Class, Shown>,
    /// Call sites of the model that were reached.
    pub reached: BTreeSet<u16>,
    /// What the calls and requests answered, by their names.
    pub answered: BTreeSet<(&'static str, Ret)>,
    /// Executions whose answers were too many to be explained or not within the bound.
    pub unjudged: u64,
    /// A fingerprint of everything that happened: choices, answers, splats.
    pub digest: u64,
}

/// One class of what a program shows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Shown {
    /// Executions.
    pub executions: u64,
    /// Who ran, in the first of them.
    pub choices: Vec<Cpu>,
}

/// FNV-1a, of 64 bits: the same on every machine and in every version of the standard library.
fn digest(mut hash: u64, bytes: &[u8]) -> u64 {
    for byte in bytes {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash
}

/// Where FNV-1a starts.
const DIGEST_START: u64 = 0xcbf2_9ce4_8422_2325;

/// A number that stands for these bytes.
pub fn fingerprint(bytes: &[u8]) -> u64 {
    digest(DIGEST_START, bytes)
}

/// Runs a program.
///
/// # Errors
///
/// If the subject cannot be run at all.
pub fn observe(subject: &Subject, plan: &Plan) -> Result<Observed, ModelError> {
    let limits = limits(plan.recycle);
    let mut seen = Seen {
        subject,
        explain: plan.explain,
        observed: Observed { digest: DIGEST_START, ..Observed::default() },
        passing: Vec::new(),
        judged: BTreeSet::new(),
    };
    match plan.strategy {
        Strategy::Reduce => {
            let config = Config { executions_max: plan.executions, ..Config::default() };
            let mut dpor = Dpor::new(config, &mut seen);
            backend::explore(Backend::Native, subject, &mut dpor, &limits)?;
            if let Some(what) = dpor.broken.take() {
                return Err(ModelError::Malformed(what));
            }
        }
        _ => {
            let mut walk = Walk::new(plan, Draws::new(plan.seed), |choices, outcome| {
                seen.look(choices, outcome);
            });
            backend::explore(Backend::Native, subject, &mut walk, &limits)?;
        }
    }
    let program = program_of(subject);
    let fail = fail_of(program);
    let mut sequential = Sequential::new(subject, &fail, &plan.permitted, limits);
    let Seen { passing, mut observed, .. } = seen;
    if !plan.explain || program.is_none() {
        return Ok(observed);
    }
    for (results, choices, executions) in &passing {
        match sequential.explains_within(results, choices, BEGINNINGS_MAX)? {
            Explained::Yes => {}
            Explained::NotWithin => observed.unjudged += executions,
            Explained::No => {
                let class = Class::unexplained(results, subject);
                add(&mut observed.shown, class, *executions, choices);
            }
        }
    }
    Ok(observed)
}

/// Executions of a program under shuttle's random scheduler, and what the splats of each show, until
/// `done` has seen enough.
///
/// # Errors
///
/// If the subject cannot be run at all.
pub fn sample(
    subject: &Subject,
    plan: &Plan,
    done: &mut dyn FnMut(&[Class]) -> bool,
) -> Result<(), ModelError> {
    let (seed, executions) = (plan.seed, plan.executions);
    let limits = Limits { reach: false, ..limits(plan.recycle) };
    let mut on_outcome = |outcome: Outcome| done(&Class::of_splats(&outcome.splats));
    model_shuttle::sample(subject, Sampler::Random, seed, executions, &limits, &mut on_outcome)
}

fn limits(recycle: bool) -> Limits {
    Limits { steps_max: STEPS_MAX, recycle, reach: true, ..Limits::default() }
}

fn program_of(subject: &Subject) -> Option<&Program> {
    match subject {
        Subject::Program { program, .. } => Some(program),
        Subject::Litmus(_) | Subject::Queue { .. } => None,
    }
}

/// The first failure that is injected into a program.
pub(crate) fn fail_of(program: Option<&Program>) -> Vec<FailAt> {
    let steps = program.into_iter().flat_map(steps);
    let fail = |(place, index, step): (Place, u32, &Step)| match step.fail_nth {
        FailNth::Nth(nth) => Some(FailAt { place, index, nth }),
        FailNth::None | FailNth::Any => None,
    };
    steps.filter_map(fail).take(1).collect()
}

fn add(shown: &mut BTreeMap<Class, Shown>, class: Class, executions: u64, choices: &[Cpu]) {
    shown
        .entry(class)
        .and_modify(|shown| shown.executions += executions)
        .or_insert_with(|| Shown { executions, choices: choices.to_vec() });
}

/// Looks at executions.
struct Seen<'a> {
    subject: &'a Subject,
    explain: bool,
    observed: Observed,
    /// Different answers of passing executions, the choices of the first and how many there were.
    passing: Vec<(Vec<StepResult>, Vec<Cpu>, u64)>,
    judged: BTreeSet<Vec<StepResult>>,
}

impl Seen<'_> {
    fn look(&mut self, choices: &[Cpu], outcome: &Outcome) {
        let observed = &mut self.observed;
        observed.executions += 1;
        observed.steps += u64::from(outcome.steps);
        observed.digest = digest(observed.digest, choices);
        for reached in &outcome.reached {
            observed.reached.insert(*reached);
        }
        for class in classes(self.subject, outcome) {
            observed.digest = digest(observed.digest, class.text().as_bytes());
            add(&mut observed.shown, class, 1, choices);
        }
        for result in &outcome.results {
            let ret = match result.ret {
                None => u16::MAX,
                Some(Ret::Ok) => 0,
                Some(Ret::Err(errno)) => errno as u16,
            };
            observed.digest = digest(observed.digest, &ret.to_le_bytes());
            for out in &result.out {
                observed.digest = digest(observed.digest, &out.to_le_bytes());
            }
            if let (Some(name), Some(ret)) = (name_of(self.subject, result), result.ret) {
                observed.answered.insert((name, ret));
            }
        }
        self.keep(choices, outcome);
    }

    /// Keeps the answers of a passing execution for the sequential model.
    fn keep(&mut self, choices: &[Cpu], outcome: &Outcome) {
        let passes = outcome.ending == Ending::Complete && outcome.splats.is_empty();
        if !self.explain || !passes {
            return;
        }
        let same =
            |(results, ..): &&mut (Vec<StepResult>, Vec<Cpu>, u64)| *results == outcome.results;
        if self.judged.contains(&outcome.results) {
            if let Some((.., executions)) = self.passing.iter_mut().find(same) {
                *executions += 1;
            }
        } else if self.passing.len() == ANSWERS_MAX {
            self.observed.unjudged += 1;
        } else {
            self.judged.insert(outcome.results.clone());
            self.passing.push((outcome.results.clone(), choices.to_vec(), 1));
        }
    }
}

impl Sink for Seen<'_> {
    fn executed(&mut self, choices: &[Cpu], outcome: Option<Outcome>, _: &Stats) -> bool {
        if let Some(outcome) = outcome {
            self.look(choices, &outcome);
        }
        true
    }
}

/// Everything that one execution shows, except for answers that no order explains.
fn classes(subject: &Subject, outcome: &Outcome) -> Vec<Class> {
    let mut classes = Class::all_of(outcome);
    if let Subject::Queue { program, .. } = subject {
        classes.extend(answers::impossible(program, outcome));
    }
    classes
}

/// Which call or request a result is of.
fn name_of(subject: &Subject, result: &StepResult) -> Option<&'static str> {
    let index = result.index as usize;
    match (subject, result.place) {
        (Subject::Program { program, .. }, _) => {
            program.list(result.place).get(index).map(|step| signature(step.call).name)
        }
        (Subject::Queue { program, .. }, Place::Cpu(cpu)) => {
            let requests = program.cpus.get(usize::from(cpu))?;
            requests.get(index).map(Request::name)
        }
        _ => None,
    }
}
