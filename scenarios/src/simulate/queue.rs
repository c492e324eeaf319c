//! The deterministic simulator on the command queue: CPUs that issue lists, batches and the
//! invalidations of guests, and an SMMU with errors, drawn from one seed.
//!
//! A run switches [`QueueFeature`]s on and off, as a program over the API does. What a row's text
//! does not have is not drawn, since that is refused before it runs ([`QueueRow`]); nor is what no
//! driver does ([`drivers_agree`]). A ring that is too small for a text with bounds of its own is made
//! larger.

mod commands;
mod drivers;
mod features;
mod row;

pub use drivers::drivers_agree;
pub use features::{QueueFeature, QUEUE_FEATURES};
pub use row::{Can, QueueRow};

use commands::{atc_inv, of_guest, of_host, reserved, strange, tlbi, Family, SSEC};
use drivers::has_ats;
use races::seed::Draws;
use races::simulate::{Focus, Plan, Strategy};
use std::collections::BTreeSet;
use std::fmt;
use uapi::pick::{ModelError, Subject};
use uapi::queue::{Completion, Fault, Invalidate, Queue, Request, Secondary, Vsmmu, Without};
use uapi::step::CPUS_MAX;

/// Requests of all CPUs together.
const REQUESTS_MAX: usize = 9;
/// Features of a program about few things.
const FEW_MAX: usize = 3;
/// Commands of a batch or an array.
const COMMANDS_MAX: usize = 9;
/// log2 of the largest ring.
const RING_MAX: u8 = 5;
/// What makes more programs of a row fail than pass is on in so many fewer runs.
const KNOWN_ONE_IN: usize = 4;
/// A waiter may be overtaken as often as a program can do it.
const OVERTAKEN_MAX: u8 = u8::MAX;

/// What was drawn before the first step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QueueParameters {
    /// What the program is about.
    pub features: BTreeSet<QueueFeature>,
    /// It is about few things, with few requests of each CPU.
    pub few: bool,
    /// Requests of each CPU.
    pub requests: Vec<usize>,
    /// Who runs when.
    pub strategy: Strategy,
    /// Executions.
    pub executions: u64,
    /// Seed of the schedules.
    pub schedules: u64,
    /// Entries of the ring.
    pub ring: u32,
    /// Entries of a batch.
    pub word: u8,
    /// Where all indexes begin.
    pub start: u32,
}

/// One run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QueueDrawn {
    /// Its seed.
    pub seed: u64,
    /// What was drawn.
    pub parameters: QueueParameters,
    /// What it runs.
    pub program: Queue,
}

/// Where the indexes begin, before the size of the ring is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Start {
    /// At 0.
    Zero,
    /// So many slots before the end of the ring, in the first lap or the second.
    NearEnd { slots: u32, laps: u32 },
    /// So many slots behind the beginning of the second lap.
    SecondLap { slots: u32 },
    /// So many slots before the last one at which a queue can begin: its 32 bits overflow.
    NearWrap { slots: u32 },
}

impl Start {
    fn at(self, entries: u32) -> u32 {
        match self {
            Start::Zero => 0,
            Start::NearEnd { slots, laps } => (1 + laps) * entries - slots.min(entries),
            Start::SecondLap { slots } => entries + slots % entries,
            // The model computes with the end of the lap in 32 bits.
            Start::NearWrap { slots } => u32::MAX - entries - slots % entries,
        }
    }
}

/// Draws one run.
///
/// # Errors
///
/// If the model does not take what was drawn, which would be a bug here.
pub fn draw(seed: u64, row: &QueueRow) -> Result<QueueDrawn, ModelError> {
    let mut draws = Draws::new(seed);
    let few = draws.one_in(2);
    let features = drawn_features(&mut draws, row, few);
    let strategy = drawn_strategy(&mut draws);
    let executions = *draws.pick(if few { &[16, 32, 64] } else { &[8, 16, 32] }).unwrap_or(&16);
    let schedules = draws.seed();
    let mut maker = Maker { draws, row, features: &features };
    let start = maker.start();
    let (program, start) = fitting(maker.program(few), start, row)?;
    let parameters = QueueParameters {
        few,
        requests: program.cpus.iter().map(Vec::len).collect(),
        strategy,
        executions,
        schedules,
        ring: 1 << program.log2size,
        word: program.word,
        start,
        features,
    };
    Ok(QueueDrawn { seed, parameters, program })
}

/// The program on the smallest ring that the row takes, and where it begins.
fn fitting(mut program: Queue, start: Start, row: &QueueRow) -> Result<(Queue, u32), ModelError> {
    loop {
        program.start = start.at(1 << program.log2size);
        let refused = match takes(&program, row) {
            Ok(()) => return Ok((program.clone(), program.start)),
            Err(refused) => refused,
        };
        // Once the ring is as large as it may be, what bounds the lists by it wants fewer CPUs.
        match (program.log2size < RING_MAX, program.cpus.len()) {
            (true, _) => program.log2size += 1,
            (false, 2..) => without_last_cpu(&mut program),
            (false, _) => return Err(refused),
        }
    }
}

fn takes(program: &Queue, row: &QueueRow) -> Result<(), ModelError> {
    match row::sequential(row.name(), program.clone())? {
        Some(_) => Ok(()),
        None => Err(ModelError::Malformed(format!("{} refuses {program:?}", row.name()))),
    }
}

fn without_last_cpu(program: &mut Queue) {
    program.cpus.pop();
    let left = program.cpus.len();
    for list in &mut program.cpus {
        list.retain(|r| !matches!(r, Request::Migrate { task, .. } if usize::from(*task) >= left));
    }
    program.published = program.published.filter(|cpu| usize::from(*cpu) < left);
}

/// What a program is about: nothing that the row does not have.
fn drawn_features(draws: &mut Draws, row: &QueueRow, few: bool) -> BTreeSet<QueueFeature> {
    let mut features = BTreeSet::new();
    for feature in QUEUE_FEATURES {
        let (times, of) = feature.chance();
        let drawn = draws.below(of) < times;
        // Drawn for every row, so that the same seed means much the same on all of them.
        let (known, often) = (draws.one_in(KNOWN_ONE_IN), draws.one_in(2));
        let on = match feature {
            QueueFeature::Forced => drawn && row.can(Can::InsertLists),
            QueueFeature::Power => drawn && row.can(Can::Suspend),
            QueueFeature::Published => drawn && row.can(Can::BeCut),
            QueueFeature::Queues => drawn && row.secondary().is_some(),
            QueueFeature::Erratum => drawn || often && row.can(Can::Repeat),
            QueueFeature::StrangeCommands | QueueFeature::BadArrays => {
                drawn && (known || row.can(Can::CountHandled))
            }
            _ => drawn,
        };
        if on {
            features.insert(*feature);
        }
    }
    if few {
        // The queues and the erratum are what the row is about.
        let keep = [QueueFeature::Queues, QueueFeature::Erratum];
        let mut others: Vec<QueueFeature> =
            features.iter().copied().filter(|f| !keep.contains(f)).collect();
        let few = 1 + draws.below(FEW_MAX);
        while others.len() > few {
            let gone = others.remove(draws.below(others.len()));
            features.remove(&gone);
        }
    }
    for feature in
        QUEUE_FEATURES.iter().filter(|f| features.contains(f)).copied().collect::<Vec<_>>()
    {
        if let Some(other) = feature.excludes() {
            features.remove(&other);
        }
    }
    // In their order nothing comes before what it needs.
    for feature in QUEUE_FEATURES {
        if feature.needs().is_some_and(|other| !features.contains(&other)) {
            features.remove(feature);
        }
    }
    features
}

fn drawn_strategy(draws: &mut Draws) -> Strategy {
    match draws.weighted(&[(2, 0), (2, 1), (2, 2), (2, 3), (3, 4)]) {
        Some(0) => Strategy::Uniform,
        Some(1) => Strategy::Sticky(*draws.pick(&[50, 80, 90, 95]).unwrap_or(&80)),
        Some(2) => Strategy::Priorities(1 + draws.below(4) as u8),
        Some(3) => {
            let focus = [Focus::Atomics, Focus::Registers];
            Strategy::Before(*draws.pick(&focus).unwrap_or(&Focus::Atomics))
        }
        _ => Strategy::Reduce,
    }
}

/// Draws a program.
struct Maker<'a> {
    draws: Draws,
    row: &'a QueueRow,
    features: &'a BTreeSet<QueueFeature>,
}

impl Maker<'_> {
    fn has(&self, feature: QueueFeature) -> bool {
        self.features.contains(&feature)
    }

    fn program(&mut self, few: bool) -> Queue {
        let (log2size, word) = self.ring();
        let completion =
            if self.has(QueueFeature::Msi) { Completion::Msi } else { Completion::Cons };
        let mut program = Queue {
            log2size,
            word,
            completion,
            secondary: self.secondary(),
            repeat_tlbi_cfgi: self.has(QueueFeature::Erratum),
            overtaken_max: match self.has(QueueFeature::Overtaking) {
                true => self.draws.below(4) as u8,
                false => OVERTAKEN_MAX,
            },
            ..Queue::default()
        };
        program.vsmmu = self.has(QueueFeature::Guests).then(|| self.vsmmu());
        let requests = self.requests(few, &program);
        for count in requests {
            let list = (0..count).map(|_| self.request(&program)).collect();
            program.cpus.push(list);
        }
        self.publish(&mut program);
        self.switch_off_and_on(&mut program);
        self.migrate(&mut program);
        program.faults = self.faults(&mut program);
        program
    }

    /// log2 of its size, and the length of a word.
    fn ring(&mut self) -> (u8, u8) {
        let log2size = match () {
            () if self.has(QueueFeature::FullRing) => 2,
            () if self.has(QueueFeature::LargeRing) => RING_MAX,
            () => self.draws.weighted(&[(3, 2), (4, 3), (2, 4)]).unwrap_or(3),
        };
        // Of 1, a list of no commands would be left before the CMD_SYNC that a list needs.
        let needs_two = [QueueFeature::Guests, QueueFeature::Forced, QueueFeature::Erratum];
        let needs_two = needs_two.into_iter().any(|feature| self.has(feature));
        let fitting = [(1, 1), (4, 2), (4, 4), (1, 8)].into_iter();
        let fitting: Vec<(usize, u8)> = fitting
            .filter(|(_, word)| 2 * u32::from(*word) <= 1 << log2size && (*word > 1 || !needs_two))
            .collect();
        (log2size, self.draws.weighted(&fitting).unwrap_or(2))
    }

    fn start(&mut self) -> Start {
        let slots = self.draws.below(4) as u32;
        if !self.has(QueueFeature::Laps) {
            return Start::Zero;
        }
        match self.draws.below(5) {
            0 | 1 => Start::NearEnd { slots, laps: 0 },
            2 => Start::NearEnd { slots, laps: 1 },
            3 => Start::SecondLap { slots },
            _ => Start::NearWrap { slots },
        }
    }

    fn secondary(&mut self) -> Option<Secondary> {
        let kind = self.row.secondary().filter(|_| self.has(QueueFeature::Queues))?;
        let queues = self.draws.weighted(&[(2, 1), (4, 2), (1, 3)]).unwrap_or(2);
        Some(Secondary { kind, queues })
    }

    fn vsmmu(&mut self) -> Vsmmu {
        let vmid = *self.draws.pick(&[7, 0x100]).unwrap_or(&7);
        let mut vdevs = vec![(0x99, 0x40)];
        if self.draws.one_in(3) {
            vdevs.push((0x9a, 0x41));
        }
        let all = [Without::Asid16, Without::Ats, Without::Ril, Without::SubstreamIds];
        let lacking = self.has(QueueFeature::Lacking);
        let without = all.into_iter().filter(|_| lacking && self.draws.one_in(2)).collect();
        Vsmmu { vmid, vdevs, without }
    }

    /// How many of each CPU. Two CPUs most often: most races need no more.
    fn requests(&mut self, few: bool, program: &Queue) -> Vec<usize> {
        let queues = 1 + program.secondary.map_or(0, |s| usize::from(s.queues));
        let cpus = match self.has(QueueFeature::ManyCpus) {
            true => self.draws.weighted(&[(3, 4), (2, 5), (1, 6)]).unwrap_or(4),
            false => self.draws.weighted(&[(1, 1), (6, 2), (4, 3)]).unwrap_or(2),
        };
        let cpus = cpus.min(CPUS_MAX - queues);
        let most = (REQUESTS_MAX / cpus).clamp(1, if few { 2 } else { 3 });
        (0..cpus).map(|_| 1 + self.draws.below(most)).collect()
    }

    fn request(&mut self, program: &Queue) -> Request {
        let weight = |feature, weight| if self.has(feature) { weight } else { 0 };
        let kinds =
            [(3, 0), (weight(QueueFeature::Batches, 3), 1), (weight(QueueFeature::Guests, 4), 2)];
        match self.draws.weighted(&kinds) {
            Some(1) => self.batch(program),
            Some(2) => Request::Invalidate(self.array(program)),
            _ => self.list(program),
        }
    }

    /// A list, mostly of one command, as those of the driver that are no batch.
    fn list(&mut self, program: &Queue) -> Request {
        let word = usize::from(program.word);
        let sync = !self.has(QueueFeature::Quiet) || self.draws.one_in(2);
        let full = self.has(QueueFeature::FullRing) && !self.draws.one_in(3);
        let n = match (full, self.draws.below(8)) {
            (true, _) => word,
            (_, 0) if sync => 0,
            (_, 1 | 2) => 1 + self.draws.below(word),
            _ => 1,
        };
        let family = self.family(program);
        let mut commands: Vec<[u64; 2]> =
            (0..n).map(|_| of_host(&mut self.draws, family)).collect();
        if self.has(QueueFeature::Illegal) && n > 0 && self.draws.one_in(2) {
            let at = self.draws.below(n);
            // Whether a list is repeated is decided by its first command.
            commands[at] = match program.repeat_tlbi_cfgi || self.draws.one_in(2) {
                true => [commands[at][0] | SSEC, commands[at][1]],
                false => reserved(&mut self.draws),
            };
        }
        Request::Issue { commands, sync }
    }

    /// About a word, or two.
    fn batch(&mut self, program: &Queue) -> Request {
        let word = usize::from(program.word);
        let n =
            *self.draws.pick(&[1, word, word + 1, word + 2, 2 * word, 2 * word + 1]).unwrap_or(&1);
        let n = n.clamp(1, COMMANDS_MAX);
        let mut commands: Vec<[u64; 2]> = (0..n)
            .map(|_| {
                let family = self.family(program);
                of_host(&mut self.draws, family)
            })
            .collect();
        if self.has(QueueFeature::Illegal) && self.draws.one_in(2) {
            let at = self.draws.below(n);
            commands[at] = reserved(&mut self.draws);
        }
        let force_sync = self.has(QueueFeature::Forced) && !self.draws.one_in(3);
        Request::Batch { commands, force_sync }
    }

    /// What the host invalidates: pages, if commands do not matter.
    fn family(&mut self, program: &Queue) -> Family {
        let atc = usize::from(has_ats(program));
        let others = match self.has(QueueFeature::Commands) {
            true => [(3, Family::Config), (2 * atc, Family::Atc), (1, Family::Others)],
            false if self.has(QueueFeature::AtcTimeouts) => {
                [(0, Family::Config), (6 * atc, Family::Atc), (0, Family::Others)]
            }
            // What a VCMDQ does not execute, and what is not repeated.
            false if program.secondary.is_some() || program.repeat_tlbi_cfgi => {
                [(1, Family::Config), (atc, Family::Atc), (0, Family::Others)]
            }
            false => return Family::Own,
        };
        let [config, atc, others] = others;
        let all = [(3, Family::Own), config, atc, others];
        self.draws.weighted(&all).unwrap_or(Family::Own)
    }

    /// An array of a guest, about a window long, or two.
    fn array(&mut self, program: &Queue) -> Invalidate {
        let Some(vsmmu) = &program.vsmmu else { return Invalidate::of(Vec::new()) };
        let window = usize::from(program.word) - 1;
        let lengths = [1, 2, window, window, window + 1, window + 2, 2 * window, 2 * window + 1];
        let n = *self.draws.pick(&lengths).unwrap_or(&1);
        let mut n = n.min(COMMANDS_MAX);
        if self.has(QueueFeature::BadArrays) && self.draws.one_in(12) {
            n = 0;
        }
        let mut commands: Vec<[u64; 2]> =
            (0..n).map(|_| of_guest(&mut self.draws, vsmmu)).collect();
        if self.has(QueueFeature::AtcTimeouts) && has_ats(program) {
            let vsid = vsmmu.vdevs.first().map_or(0, |(vsid, _)| u64::from(*vsid));
            commands.iter_mut().take(1).for_each(|first| *first = atc_inv(vsid));
        }
        if self.has(QueueFeature::StrangeCommands) && n > 0 && !self.draws.one_in(3) {
            let at = self.draws.below(n);
            commands[at] = strange(&mut self.draws, vsmmu);
        }
        let mut array = Invalidate::of(commands);
        if self.has(QueueFeature::BadArrays) && !self.draws.one_in(3) {
            self.spoil(&mut array);
        }
        array
    }

    /// One thing that is wrong around the commands.
    fn spoil(&mut self, array: &mut Invalidate) {
        let entries = array.commands.len();
        match self.draws.below(6) {
            0 => array.data_type = *self.draws.pick(&[0, 2]).unwrap_or(&0),
            1 => array.entry_len = *self.draws.pick(&[0, 4, 8, 12]).unwrap_or(&8),
            2 => array.entry_len = *self.draws.pick(&[24, 32]).unwrap_or(&24),
            3 => (array.entry_len, array.tail) = (24, 1),
            4 => array.unmapped_from = Some(self.draws.below(entries + 1) as u32),
            // The array, a copy of all, and one of each.
            _ => array.fail_nth = 1 + self.draws.below(entries + 3) as u32,
        }
    }

    fn publish(&mut self, program: &mut Queue) {
        if !self.has(QueueFeature::Published) {
            return;
        }
        let cpu = self.draws.below(program.cpus.len());
        let n = self.draws.below(usize::from(program.word) + 1);
        let commands = (0..n).map(|page| tlbi(page as u64)).collect();
        program.cpus[cpu][0] = Request::Issue { commands, sync: true };
        program.published = Some(cpu as u8);
    }

    fn switch_off_and_on(&mut self, program: &mut Queue) {
        if !self.has(QueueFeature::Power) {
            return;
        }
        let cpu = self.draws.below(program.cpus.len());
        let first = usize::from(program.published == Some(cpu as u8));
        for _ in 0..1 + usize::from(self.draws.one_in(4)) {
            let list = &mut program.cpus[cpu];
            let starts_at = |at: &usize| list.get(*at) != Some(&Request::Resume);
            let places: Vec<usize> = (first..=list.len()).filter(starts_at).collect();
            let at = *self.draws.pick(&places).unwrap_or(&list.len());
            list.splice(at..at, [Request::Suspend, Request::Resume]);
        }
    }

    fn migrate(&mut self, program: &mut Queue) {
        let cpus = program.cpus.len();
        let Some(secondary) = program.secondary else { return };
        if !self.has(QueueFeature::Migration) || cpus < 2 {
            return;
        }
        let cpu = self.draws.below(cpus);
        for _ in 0..1 + self.draws.below(2) {
            // Of another producer.
            let task = ((cpu + 1 + self.draws.below(cpus - 1)) % cpus) as u8;
            let to = self.draws.below(usize::from(secondary.queues).max(2)) as u8;
            let list = &mut program.cpus[cpu];
            let at = self.draws.below(list.len() + 1);
            list.insert(at, Request::Migrate { task, to });
        }
    }

    /// What goes wrong, at commands that the SMMU comes to.
    fn faults(&mut self, program: &mut Queue) -> Vec<Fault> {
        let entries: usize = program.cpus.iter().flatten().map(entries).sum();
        let mut faults = Vec::new();
        if self.has(QueueFeature::Aborts) {
            for _ in 0..1 + self.draws.below(3) {
                faults.push(Fault::Abort(self.draws.below(entries) as u32));
            }
        }
        if self.has(QueueFeature::AtcTimeouts) {
            for _ in 0..1 + self.draws.below(4) {
                faults.push(Fault::AtcTimeout(self.draws.below(entries) as u32));
            }
        }
        if self.has(QueueFeature::Dead) {
            faults.push(Fault::Dead(self.draws.below(entries) as u32));
        }
        faults
    }
}

/// Entries of the ring that a request asks for, about.
fn entries(request: &Request) -> usize {
    match request {
        Request::Issue { commands, sync } => commands.len() + usize::from(*sync),
        Request::Batch { commands, .. } => commands.len() + 1,
        Request::Invalidate(array) => array.commands.len() + 1,
        Request::Migrate { .. } | Request::Suspend | Request::Resume => 0,
    }
}

impl QueueDrawn {
    /// How it is executed. No order of whole calls says what requests answer: the SMMU is a CPU of
    /// its own, and batches interleave.
    pub fn plan(&self) -> Plan {
        Plan {
            strategy: self.parameters.strategy,
            executions: self.parameters.executions,
            seed: self.parameters.schedules,
            recycle: false,
            explain: false,
            permitted: Vec::new(),
        }
    }

    /// What it runs on a row.
    pub fn subject(&self, row: &QueueRow) -> Subject {
        row.subject(self.program.clone())
    }
}

impl fmt::Display for QueueParameters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let requests: Vec<String> = self.requests.iter().map(ToString::to_string).collect();
        let names: Vec<&str> = self.features.iter().map(|f| f.name()).collect();
        write!(f, "{} CPUs with {} requests", self.requests.len(), requests.join(" + "))?;
        write!(f, " on a ring of {} with words of {}", self.ring, self.word)?;
        if self.start > 0 {
            write!(f, " from {}", self.start)?;
        }
        write!(
            f,
            "; about {}{}",
            if self.few { "few things: " } else { "" },
            match names.is_empty() {
                true => "lists".to_owned(),
                false => names.join(", "),
            }
        )?;
        write!(f, "; {}, {} executions", self.strategy, self.executions)?;
        write!(f, ", seed of the schedules {:#018x}", self.schedules)
    }
}

#[cfg(test)]
mod tests;
