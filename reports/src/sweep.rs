//! `sweep`: what a batch, a queue type or a SYNC mode buys, from the cost model.
//!
//! Without axes on the command line it answers a fixed list of questions ([`studies`]), each with a
//! table, a plot and one sentence. With axes it runs their product as one study.

mod advice;
mod command;
mod plot;
mod studies;
mod write;

pub use command::{sweep, SweepFormat, SweepOptions};
pub use studies::{product, standard, Axes};
pub use write::{csv, human, json, table};

use smmuv3_timing::stats::Spread;
use smmuv3_timing::{
    run, Completion, Insertion, Lists, LockForm, Outcome, Path, Profile, Workload, NS,
};

/// How commands get to the SMMU: where they begin, and how they are inserted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Queue {
    /// As on the command line.
    pub name: &'static str,
    /// In a sentence.
    pub text: &'static str,
    /// Where an invalidation begins.
    pub path: Path,
    /// How a list gets into the ring.
    pub insertion: Insertion,
}

/// All queue types.
pub const QUEUES: [Queue; 7] = [
    queue("cmpxchg", "cmpxchg loop (since 5.4)", Path::Host, Insertion::Cmpxchg),
    queue("fetch_add", "fetch_add", Path::Host, Insertion::FetchAdd),
    queue("spin_fallback", "spinlock fallback", Path::Host, Insertion::SpinFallback),
    queue("spinlock", "spinlock (before 5.4)", Path::Host, Insertion::Spinlock),
    queue("ecmdq", "queue per CPU", Path::PerCpu, Insertion::Cmpxchg),
    queue("trapped", "guest, trapped", Path::Trapped, Insertion::Cmpxchg),
    queue("vcmdq", "guest, own VCMDQ", Path::Vcmdq, Insertion::Cmpxchg),
];

const fn queue(name: &'static str, text: &'static str, path: Path, insertion: Insertion) -> Queue {
    Queue { name, text, path, insertion }
}

/// One point of a sweep.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Point {
    /// How commands get to the SMMU.
    pub queue: Queue,
    /// How a waiter learns of the end.
    pub completion: Completion,
    /// CPUs, or vCPUs.
    pub cpus: u32,
    /// Most commands of one list, or of one ioctl.
    pub batch: u32,
    /// TLBIs of one invalidation.
    pub commands: u32,
    /// Entries of the ring.
    pub ring: u32,
    /// Mean work between two invalidations, in nanoseconds.
    pub work_ns: u64,
}

/// What is on the x axis.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Axis {
    /// [`Point::cpus`]
    Cpus,
    /// [`Point::batch`]
    Batch,
    /// [`Point::commands`]
    Commands,
    /// [`Point::ring`]
    Ring,
    /// [`Point::work_ns`]
    Work,
}

impl Axis {
    /// What is written under the axis.
    pub fn label(self) -> &'static str {
        match self {
            Axis::Cpus => "CPUs",
            Axis::Batch => "commands per list",
            Axis::Commands => "TLBIs per invalidation",
            Axis::Ring => "entries of the ring",
            Axis::Work => "work between invalidations, ns",
        }
    }

    /// A point's place on it.
    pub fn of(self, point: &Point) -> u64 {
        match self {
            Axis::Cpus => point.cpus.into(),
            Axis::Batch => point.batch.into(),
            Axis::Commands => point.commands.into(),
            Axis::Ring => point.ring.into(),
            Axis::Work => point.work_ns,
        }
    }
}

/// What a point gave: medians over the seeds, and the spread of the rate.
#[derive(Clone, Debug)]
pub struct Found {
    /// The point.
    pub point: Point,
    /// Invalidations per second.
    pub rate: Spread,
    /// TLBIs per second.
    pub commands: u64,
    /// Median latency of an invalidation, picoseconds.
    pub p50: u64,
    /// 99th percentile.
    pub p99: u64,
    /// CPU time of an invalidation, picoseconds.
    pub cpu: u64,
    /// SYNCs of a thousand invalidations.
    pub syncs: u64,
    /// Successful cmpxchgs in a thousand.
    pub cas: Option<u64>,
    /// Commands that were simulated.
    pub simulated: u64,
}

/// A line of a plot.
#[derive(Clone, Debug)]
pub struct Series {
    /// What it is called.
    pub label: String,
    /// Its points, in the order of the x axis.
    pub points: Vec<Point>,
}

/// A question with the points that answer it.
#[derive(Clone, Debug)]
pub struct Study {
    /// Name of its files.
    pub name: &'static str,
    /// The question.
    pub question: String,
    /// What is on the x axis.
    pub axis: Axis,
    /// The lines.
    pub series: Vec<Series>,
    /// How the answer is put into a sentence.
    advice: advice::Advice,
}

/// An answered question.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The question.
    pub study: Study,
    /// What each point of each series gave.
    pub found: Vec<Vec<Found>>,
    /// The sentence.
    pub advice: String,
}

impl Answer {
    /// The plots, as one SVG that says what was asked and what the answer is.
    pub fn svg(&self, profile: &Profile) -> String {
        plot::svg(self, profile, plot::Words::All)
    }

    /// The same without those words, for a page that has them.
    pub fn bare_svg(&self, profile: &Profile) -> String {
        plot::svg(self, profile, plot::Words::Legend)
    }
}

/// Invalidations of one run: enough for a p99, fewer where each is long.
fn invalidations(point: &Point) -> u64 {
    let lists = u64::from(point.commands.div_ceil(point.batch));
    // Long work makes the rate a mean of few draws.
    let draws = if point.work_ns > 5_000 { 4 } else { 1 };
    (draws * 4_000 / lists).max(400) + 10 * u64::from(point.cpus)
}

/// The point as the model wants it.
fn workload(point: &Point, seed: u64) -> Workload {
    Workload {
        cpus: point.cpus,
        insertion: point.queue.insertion,
        completion: point.completion,
        path: point.queue.path,
        commands: point.commands,
        atc: 0,
        batch: point.batch,
        lists: match point.queue.path {
            Path::Trapped | Path::Vcmdq => Lists::SyncEach,
            Path::Host | Path::PerCpu => Lists::SyncLast,
        },
        work: point.work_ns * NS,
        pte_sharers: 0,
        entries: point.ring,
        lock: LockForm::ClearSign,
        repeat: false,
        coalesce: false,
        invalidations: invalidations(point),
        seed,
    }
}

impl Study {
    /// Whether each of its points can be, before any of them is run.
    ///
    /// # Errors
    ///
    /// What is wrong with the first that cannot.
    pub fn check(&self, profile: &Profile) -> Result<(), String> {
        for point in self.series.iter().flat_map(|s| &s.points) {
            workload(point, 1).check()?;
            if point.cpus > profile.cpus() {
                return Err(format!(
                    "{} CPUs are more than the {} of profile {}: take fewer, or another profile",
                    point.cpus,
                    profile.cpus(),
                    profile.name
                ));
            }
        }
        Ok(())
    }
}

/// Runs one point under seeds 1 to `seeds`.
///
/// # Errors
///
/// If the point cannot be, or does not come to an end.
pub fn measure(profile: &Profile, point: &Point, seeds: u64) -> Result<Found, String> {
    let outcomes: Result<Vec<Outcome>, String> =
        (1..=seeds).map(|seed| run(profile, &workload(point, seed))).collect();
    let outcomes =
        outcomes.map_err(|e| format!("{}, {} CPUs: {e}", point.queue.name, point.cpus))?;
    let spread = |of: &dyn Fn(&Outcome) -> u64| {
        Spread::of(outcomes.iter().map(of)).ok_or_else(|| "at least 1 seed".to_owned())
    };
    let median = |of: &dyn Fn(&Outcome) -> u64| spread(of).map(|s| s.median);
    let cas = outcomes.iter().filter_map(Outcome::cas_permille);
    Ok(Found {
        point: *point,
        rate: spread(&Outcome::per_second)?,
        commands: median(&Outcome::commands_per_second)?,
        p50: median(&|o| o.latency(500))?,
        p99: median(&|o| o.latency(990))?,
        cpu: median(&Outcome::cpu_time)?,
        syncs: median(&|o| o.syncs * 1_000 / o.invalidations.max(1))?,
        cas: Spread::of(cas).map(|s| s.median),
        simulated: outcomes.iter().map(|o| o.commands_simulated).sum(),
    })
}

/// Answers a question; `done` is called after each point.
///
/// # Errors
///
/// If a point cannot be, or does not come to an end.
pub fn answer(
    profile: &Profile,
    study: Study,
    seeds: u64,
    done: &mut dyn FnMut() -> Result<(), String>,
) -> Result<Answer, String> {
    let mut found = Vec::new();
    for series in &study.series {
        let mut line = Vec::new();
        for point in &series.points {
            line.push(measure(profile, point, seeds)?);
            done()?;
        }
        found.push(line);
    }
    let advice = advice::sentence(study.advice, &study, &found);
    Ok(Answer { study, found, advice })
}
