//! The deterministic simulator: a program over the whole API, drawn from one seed.
//!
//! A run switches *features* on and off (swarm testing: Groce, Zhang, Eide, Chen, Regehr, ISSTA 2012),
//! so that a program about two or three things is as likely as one about everything. Its setup is
//! drawn first, made once on the row, and what failed is left out; the calls of the CPUs are then
//! drawn over the names that exist ([`names`]). What a driver may not do is not drawn: the calls of
//! one physical device stand on one CPU, in an order that a driver could make ([`calls`]).

mod calls;
mod drivers;
mod features;
mod names;
pub mod queue;

pub use drivers::drivers_agree;
use drivers::{pasids_agree, pasids_detached};
pub use features::{Feature, FEATURES};

use crate::step_text;
use calls::{Maker, RESERVED};
use names::Names;
use races::seed::Draws;
use races::simulate::{Focus, Plan, Strategy};
use races::Permitted;
use std::collections::BTreeSet;
use std::fmt;
use uapi::call::{ArgKind, Call, SIGNATURES};
use uapi::errno::{Errno, Ret};
use uapi::outcome::{Outcome, Place};
use uapi::pick::{FirstEnabled, ModelError, Subject};
use uapi::program::{FailNth, Limits, Pdev, Program, Timers};
use uapi::step::CPUS_MAX;

/// Calls of all CPUs together.
const CALLS_MAX: usize = 10;
/// Kinds of calls that a program about few things has at most.
const FEW_MAX: usize = 3;
/// Calls of the setup behind those that make the first objects.
const SETUP_MORE: usize = 5;
/// Size of a driver's own vDEVICE, in bytes: no less than that of a `struct iommufd_vdevice`.
const VDEVICE_SIZE: u32 = 256;
/// The size that a driver with a bug asks for.
const VDEVICE_SIZE_TOO_SMALL: u32 = 8;
/// Points of a call that may be made to fail.
const FAILING_POINTS_MAX: usize = 12;
/// Draws of a failing point before nothing fails.
const INJECT_TRIES: usize = 24;
/// How often a call that the row does not have is drawn all the same.
const MISSING_ONE_IN: usize = 64;

/// What was drawn before the first step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Parameters {
    /// What the program is about.
    pub features: BTreeSet<Feature>,
    /// It is about few things, with few kinds of calls and few of them: two that have to do with one
    /// another are more often all that happens.
    pub few: bool,
    /// Calls of each CPU.
    pub calls: Vec<usize>,
    /// Calls of the setup.
    pub setup: usize,
    /// Which call of which CPU fails, at its which failing point.
    pub fail: Option<(usize, usize, u32)>,
    /// Who runs when.
    pub strategy: Strategy,
    /// Executions.
    pub executions: u64,
    /// Seed of the schedules.
    pub schedules: u64,
    /// Freed addresses are handed out again at once.
    pub recycle: bool,
    /// Answers are held against those of the calls made one after the other. Not if a CPU guesses
    /// ids: which id is free when is no business of an order of whole calls.
    pub explain: bool,
    /// When timers fire.
    pub timers: Timers,
}

/// One run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Drawn {
    /// Its seed.
    pub seed: u64,
    /// What was drawn.
    pub parameters: Parameters,
    /// What it runs.
    pub program: Program,
}

/// A row, and which calls it has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Row {
    name: String,
    calls: BTreeSet<Call>,
}

impl Row {
    /// Asks a row, by its name or an alias, which calls it has.
    ///
    /// # Errors
    ///
    /// There is no such row.
    pub fn ask(name: &str) -> Result<Row, ModelError> {
        let mut calls = BTreeSet::new();
        for signature in SIGNATURES {
            let missing = match signature.call {
                Call::Mmap => Errno::ENODEV,
                Call::CheckCache
                | Call::TriggerVevent
                | Call::TriggerIopf
                | Call::PasidAttach
                | Call::PasidReplace
                | Call::PasidDetach
                | Call::DmabufGet
                | Call::DmabufRevoke => Errno::EOPNOTSUPP,
                _ => Errno::ENOTTY,
            };
            let needs_name = |arg: &uapi::call::Arg| {
                matches!(arg.kind, ArgKind::Device | ArgKind::File | ArgKind::Mapping)
            };
            let mut program = Program { pdevs: vec![pdev(0)], ..Program::default() };
            if !signature.args.iter().any(needs_name) {
                program.setup.push(calls::plain(signature.call));
            }
            let rets = answers(&Subject::Program { program, revision: name.to_owned() })?;
            if rets != [Some(Ret::Err(missing))] {
                calls.insert(signature.call);
            }
        }
        Ok(Row { name: name.to_owned(), calls })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it has the call.
    pub fn has(&self, call: Call) -> bool {
        self.calls.contains(&call)
    }
}

/// What the steps of the setup answer.
fn answers(subject: &Subject) -> Result<Vec<Option<Ret>>, ModelError> {
    let limits = Limits { steps_max: races::simulate::STEPS_MAX, ..Limits::default() };
    let outcome = model_native::run(subject, &mut FirstEnabled, &limits)?;
    let results = outcome.map(|o: Outcome| o.results).unwrap_or_default();
    Ok(results.into_iter().filter(|r| r.place == Place::Setup).map(|r| r.ret).collect())
}

fn pdev(n: usize) -> Pdev {
    Pdev { group: n as u32, iommu: 0, vdevice_size: 0, reserved: None }
}

/// Draws one run.
///
/// # Errors
///
/// If the row does not exist, or the model does not take what was drawn, which would be a bug here.
pub fn draw(seed: u64, row: &Row) -> Result<Drawn, ModelError> {
    let mut draws = Draws::new(seed);
    let few = draws.one_in(2);
    let features = drawn_features(&mut draws, row, few);
    let calls = drawn_calls(&mut draws, &features, few);
    let mut parameters = Parameters {
        strategy: drawn_strategy(&mut draws),
        executions: *draws.pick(if few { &[16, 32, 64] } else { &[8, 16, 32] }).unwrap_or(&16),
        recycle: draws.one_in(4),
        timers: if draws.one_in(10) { Timers::Any } else { Timers::Idle },
        schedules: draws.seed(),
        explain: true,
        few,
        features,
        calls,
        setup: 0,
        fail: None,
    };
    let mut program = Program { timers: parameters.timers, ..Program::default() };
    program.pdevs = drawn_pdevs(&mut draws, &parameters.features);
    let mut maker = Maker::new(draws, row, &parameters.features, &program.pdevs);
    if few {
        maker.of_few_kinds();
    }
    draw_setup(&mut maker, &mut program, row)?;
    parameters.setup = program.setup.len();
    maker.share_out(parameters.calls.len(), &program.setup);
    program.cpus = vec![Vec::new(); parameters.calls.len()];
    // In turn: what one CPU closes, no other does.
    for index in 0..parameters.calls.iter().copied().max().unwrap_or(0) {
        for cpu in 0..parameters.calls.len() {
            if index < parameters.calls[cpu] {
                let step = maker.call(Some(cpu), &program);
                program.cpus[cpu].push(step);
            }
        }
    }
    program.finally = pasids_detached(&program);
    parameters.explain = !maker.guesses;
    program.syms = maker.syms().to_vec();
    if parameters.features.contains(&Feature::Faults) {
        parameters.fail = injected(&mut maker.draws, &mut program, row)?;
    }
    spell(&mut program);
    Ok(Drawn { seed, parameters, program })
}

/// What a program is about: nothing that the row does not have.
fn drawn_features(draws: &mut Draws, row: &Row, few: bool) -> BTreeSet<Feature> {
    let mut features = BTreeSet::new();
    for feature in FEATURES {
        let (times, of) = feature.chance();
        let drawn = draws.below(of) < times;
        if drawn && feature.calls().first().is_none_or(|(.., call)| row.has(*call)) {
            features.insert(*feature);
        }
    }
    if few {
        let mut of_calls: Vec<Feature> =
            features.iter().copied().filter(|f| !f.calls().is_empty()).collect();
        let few = 1 + draws.below(FEW_MAX);
        while of_calls.len() > few {
            features.remove(&of_calls.remove(draws.below(of_calls.len())));
        }
    }
    features
}

/// Lets a call fail at one of the points that it has when the calls are made one after the other: in one
/// half of the programs any call, in the other any point, since a call with many has a long unwind.
fn injected(
    draws: &mut Draws,
    program: &mut Program,
    row: &Row,
) -> Result<Option<(usize, usize, u32)>, ModelError> {
    let calls = program.cpus.iter().enumerate();
    let calls: Vec<(usize, usize)> =
        calls.flat_map(|(cpu, list)| (0..list.len()).map(move |index| (cpu, index))).collect();
    let chosen = if draws.one_in(2) { draws.pick(&calls).copied() } else { None };
    // The last point that a call has is where it has most to undo.
    let last = draws.one_in(3);
    let one = draws.pick(&calls).copied();
    for attempt in 0..INJECT_TRIES {
        let chosen = if last { chosen.or(one) } else { chosen };
        let Some((cpu, index)) = chosen.or_else(|| draws.pick(&calls).copied()) else { break };
        let nth = match FAILING_POINTS_MAX.checked_sub(attempt) {
            Some(nth @ 1..) if last => nth as u32,
            _ => 1 + draws.below(FAILING_POINTS_MAX) as u32,
        };
        program.cpus[cpu][index].fail_nth = FailNth::Nth(nth);
        if !pasids_agree(program, None) {
            program.cpus[cpu][index].fail_nth = FailNth::None;
            continue;
        }
        let subject = Subject::Program { program: program.clone(), revision: row.name.clone() };
        let limits = Limits { steps_max: races::simulate::STEPS_MAX, ..Limits::default() };
        let outcome = model_native::run(&subject, &mut FirstEnabled, &limits)?;
        if outcome.is_some_and(|o| o.results.iter().any(|result| result.injected)) {
            return Ok(Some((cpu, index, nth)));
        }
        program.cpus[cpu][index].fail_nth = FailNth::None;
    }
    Ok(None)
}

/// Gives every step its text.
fn spell(program: &mut Program) {
    let syms = program.syms.clone();
    let cpus = program.cpus.iter_mut().flatten();
    for step in program.setup.iter_mut().chain(cpus).chain(&mut program.finally) {
        step.text = step_text(step, &syms);
    }
}

/// Two CPUs most often: most races need no more, and every further CPU makes each of them rarer.
fn drawn_calls(draws: &mut Draws, features: &BTreeSet<Feature>, few: bool) -> Vec<usize> {
    let many = [(4, 4), (2, 5), (1, 6), (1, 7), (1, CPUS_MAX)];
    let cpus = match features.contains(&Feature::ManyCpus) {
        true => draws.weighted(&many).unwrap_or(CPUS_MAX),
        false => draws.weighted(&[(6, 2), (3, 3)]).unwrap_or(2),
    };
    let most = (CALLS_MAX / cpus).clamp(1, if few { 2 } else { 3 });
    (0..cpus).map(|_| 1 + draws.below(most)).collect()
}

fn drawn_strategy(draws: &mut Draws) -> Strategy {
    let focus = [Focus::Xarrays, Focus::Counters, Focus::Locks, Focus::Memory];
    // Where executions are few, those that differ in more than the order of steps that commute are worth
    // most; drawn schedules go where its first ones do not.
    match draws.weighted(&[(1, 0), (1, 1), (1, 2), (1, 3), (5, 4)]) {
        Some(0) => Strategy::Uniform,
        Some(1) => Strategy::Sticky(*draws.pick(&[50, 80, 90, 95]).unwrap_or(&80)),
        Some(2) => Strategy::Priorities(1 + draws.below(4) as u8),
        Some(3) => Strategy::Before(*draws.pick(&focus).unwrap_or(&Focus::Locks)),
        _ => Strategy::Reduce,
    }
}

fn drawn_pdevs(draws: &mut Draws, features: &BTreeSet<Feature>) -> Vec<Pdev> {
    let mut pdevs: Vec<Pdev> = (0..2 + draws.below(2)).map(pdev).collect();
    if features.contains(&Feature::Groups) {
        for pdev in pdevs.iter_mut().skip(1) {
            pdev.group = u32::from(draws.one_in(4));
        }
    }
    // A driver that asks for vDEVICEs of its own size, and initialises its part.
    if features.contains(&Feature::Viommus) && draws.one_in(6) {
        pdevs[0].vdevice_size = VDEVICE_SIZE;
    }
    if features.contains(&Feature::DriverBugs) && draws.one_in(2) {
        pdevs[0].vdevice_size = VDEVICE_SIZE_TOO_SMALL;
    }
    if features.contains(&Feature::Reserved) {
        let last = pdevs.len() - 1;
        let first = *draws.pick(RESERVED).unwrap_or(&RESERVED[0]);
        pdevs[draws.below(2).min(last)].reserved = Some((first, first + 0xfff));
    }
    if features.contains(&Feature::TwoIommus) {
        if let Some(last) = pdevs.last_mut() {
            last.iommu = 1;
            last.group = 7;
        }
    }
    pdevs
}

/// Draws the setup, makes it once, and keeps what succeeded.
fn draw_setup(maker: &mut Maker<'_>, program: &mut Program, row: &Row) -> Result<(), ModelError> {
    program.setup = maker.first_objects();
    for _ in 0..maker.draws.below(SETUP_MORE) {
        let step = maker.call(None, program);
        program.setup.push(step);
    }
    program.syms = maker.syms().to_vec();
    let subject = Subject::Program { program: program.clone(), revision: row.name.clone() };
    let rets = answers(&subject)?;
    let mut kept = rets.iter().map(|ret| *ret == Some(Ret::Ok));
    program.setup.retain(|_| kept.next().unwrap_or(false));
    maker.names = Names::of(&program.setup, &program.pdevs);
    Ok(())
}

impl Drawn {
    /// How it is executed.
    pub fn plan(&self, permitted: &[Permitted]) -> Plan {
        Plan {
            strategy: self.parameters.strategy,
            executions: self.parameters.executions,
            seed: self.parameters.schedules,
            recycle: self.parameters.recycle,
            explain: self.parameters.explain,
            permitted: permitted.to_vec(),
        }
    }

    /// What it runs on a row.
    pub fn subject(&self, row: &Row) -> Subject {
        Subject::Program { program: self.program.clone(), revision: row.name.clone() }
    }
}

impl fmt::Display for Parameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let calls: Vec<String> = self.calls.iter().map(ToString::to_string).collect();
        let names: Vec<&str> = self.features.iter().map(|f| f.name()).collect();
        write!(f, "{} CPUs with {} calls", self.calls.len(), calls.join(" + "))?;
        write!(
            f,
            ", {} calls before; about {}{}",
            self.setup,
            if self.few { "few things: " } else { "" },
            match names.is_empty() {
                true => "objects".to_owned(),
                false => names.join(", "),
            }
        )?;
        write!(f, "; {}, {} executions", self.strategy, self.executions)?;
        write!(f, ", seed of the schedules {:#018x}", self.schedules)?;
        if let Some((cpu, index, nth)) = self.fail {
            write!(f, "; fail_nth = {nth} in call {index} of CPU {cpu}")?;
        }
        if self.recycle {
            f.write_str("; freed addresses recycled")?;
        }
        if !self.explain {
            f.write_str("; ids are guessed, answers not explained")?;
        }
        if self.timers == Timers::Any {
            f.write_str("; timers fire at any moment")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uapi::program::{Operand, Step};

    /// Every call of the API, on a row that has it.
    #[test]
    fn every_call_is_drawn() {
        let mut drawn = BTreeSet::new();
        for name in ["viommu_v1", "linux_7_3"] {
            let row = Row::ask(name).expect("a row");
            for run in 0..3_000 {
                let run = draw(Draws::seed_of_run(1, run), &row).expect("a program");
                drawn.extend(run.program.cpus.iter().flatten().map(|step| step.call));
            }
        }
        // Only user space that withholds its own page waits for that.
        drawn.insert(Call::UffdioCopy);
        let missing: Vec<&str> =
            SIGNATURES.iter().filter(|s| !drawn.contains(&s.call)).map(|s| s.name).collect();
        assert_eq!(missing, [] as [&str; 0]);
    }

    #[test]
    fn a_row_says_which_calls_it_has() {
        let old = Row::ask("linux_6_7").expect("a row");
        let new = Row::ask("linux_7_3").expect("a row");
        for call in [Call::ViommuAlloc, Call::VeventqAlloc, Call::Mmap, Call::FaultAlloc] {
            assert!(!old.has(call) && new.has(call), "{call:?}");
        }
        assert!(old.has(Call::Destroy) && !new.has(Call::ViommuSetVdevId));
        assert!(Row::ask("viommu_v1").expect("a row").has(Call::ViommuSetVdevId));
        assert!(Row::ask("linux_2_0").is_err());
    }

    /// The same seed, the same program; a scenario file of it makes the same program again.
    #[test]
    fn a_drawn_program_is_a_scenario() {
        let row = Row::ask("linux_7_3").expect("a row");
        let mut cpus = BTreeSet::new();
        for run in 0..600 {
            let seed = Draws::seed_of_run(2, run);
            let drawn = draw(seed, &row).expect("a program");
            assert_eq!(draw(seed, &row), Ok(drawn.clone()));
            cpus.insert(drawn.program.cpus.len());
            let verdict = [("linux_7_3".to_owned(), uapi::verdict::Expected::Never)];
            let text = crate::write(&drawn.program, "Is it read?", "scenarios/src", &verdict);
            let read = crate::Scenario::parse("drawn", &text, &model_native::revisions())
                .unwrap_or_else(|e| panic!("{:?}\n{text}", miette::Report::new(e)));
            let read = read.program("linux_7_3");
            assert_eq!(read.cpus.len(), drawn.program.cpus.len());
            assert!(read.pdevs.starts_with(&drawn.program.pdevs), "{text}");
            for (read, drawn) in read.cpus.iter().flatten().zip(drawn.program.cpus.iter().flatten())
            {
                assert_eq!(read.text, drawn.text);
            }
        }
        assert_eq!(cpus, (2..=CPUS_MAX).collect());
    }

    /// Most calls meet what they were drawn for: a simulator whose calls all fail finds nothing.
    #[test]
    fn most_calls_succeed() {
        let row = Row::ask("linux_7_3").expect("a row");
        let (mut calls, mut good) = (0, 0);
        for run in 0..500 {
            let drawn = draw(Draws::seed_of_run(3, run), &row).expect("a program");
            let limits = Limits { steps_max: races::simulate::STEPS_MAX, ..Limits::default() };
            let outcome = model_native::run(&drawn.subject(&row), &mut FirstEnabled, &limits);
            let outcome = outcome.expect("it runs").expect("an outcome");
            let of_cpus = outcome.results.iter().filter(|r| matches!(r.place, Place::Cpu(_)));
            for result in of_cpus {
                calls += 1;
                good += usize::from(result.ret == Some(Ret::Ok));
            }
        }
        assert!(good * 2 > calls, "{good} of {calls} calls succeed");
    }

    #[test]
    fn drivers_keep_their_own_order() {
        let row = Row::ask("linux_7_3").expect("a row");
        let mut driven = 0;
        for run in 0..2_000 {
            let drawn = draw(Draws::seed_of_run(4, run), &row).expect("a program");
            assert!(drivers_agree(&drawn.program), "{:#?}", drawn.program);
            let calls = drawn.program.cpus.iter().flatten();
            driven += calls.filter(|s| matches!(s.call, Call::Replace | Call::Unplug)).count();
        }
        assert!(driven > 100, "{driven}");
    }

    /// A mock device that goes with a PASID, a PASID that is detached twice, or not at all, or on a page table
    /// that may be gone.
    #[test]
    fn what_nobody_does_with_pasids_is_seen() {
        let row = Row::ask("linux_7_3").expect("a row");
        let (mut attached, mut gone) = (0, 0);
        for run in 0..2_000 {
            let drawn = draw(Draws::seed_of_run(4, run), &row).expect("a program");
            let attach = drawn.program.setup.iter().find(|s| s.call == Call::PasidAttach);
            let Some([mock, pasid, ..]) = attach.map(|step| &step.args[..]) else { continue };
            attached += 1;
            let agrees = |calls: &[(Call, &[&Operand])], last: usize| {
                let mut program = drawn.program.clone();
                let step = |(call, args): &(Call, &[&Operand])| {
                    let args = args.iter().map(|arg| (*arg).clone()).collect();
                    Step { args, ..Step::new(*call) }
                };
                program.cpus[0].extend(calls.iter().map(step));
                program.finally.truncate(last);
                drivers_agree(&program)
            };
            let all = drawn.program.finally.len();
            assert!(agrees(&[], all) && !agrees(&[], all - 1), "{:#?}", drawn.program);
            let detach = (Call::PasidDetach, &[mock, pasid][..]);
            assert!(!agrees(&[detach, detach], all), "{:#?}", drawn.program);
            assert!(!agrees(&[(Call::Destroy, &[&drawn.program.finally[0].args[1]])], all));
            gone += usize::from(!agrees(&[(Call::Destroy, &[mock])], all));
        }
        assert!(attached > 100 && gone * 2 > attached, "{attached} {gone}");
    }

    #[test]
    fn what_no_driver_does_is_seen() {
        let row = Row::ask("linux_7_3").expect("a row");
        let (mut swapped, mut lost) = (0, 0);
        for run in 0..2_000 {
            let drawn = draw(Draws::seed_of_run(5, run), &row).expect("a program");
            // An unplug that comes first, a replace without its attach.
            let mut program = drawn.program.clone();
            let unplugs = program.cpus.iter_mut().filter(|list| {
                list.iter().any(|s| s.call == Call::Unbind)
                    && list.iter().any(|s| s.call == Call::Unplug)
            });
            let mut reversed = false;
            for list in unplugs {
                let place = |call: Call| list.iter().position(|s| s.call == call);
                if let (Some(unbind), Some(unplug)) = (place(Call::Unbind), place(Call::Unplug)) {
                    reversed |= unbind + 1 == unplug && list.len() == 2;
                }
                list.reverse();
            }
            swapped += usize::from(reversed && !drivers_agree(&program));
            let mut program = drawn.program;
            let attaches = program.setup.len();
            program.setup.retain(|s| s.call != Call::Attach);
            let replaced = program.cpus.iter().flatten().any(|s| s.call == Call::Replace);
            lost +=
                usize::from(replaced && attaches > program.setup.len() && !drivers_agree(&program));
        }
        assert!(swapped > 0 && lost > 0, "{swapped} {lost}");
    }
}
