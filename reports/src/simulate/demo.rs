//! How many programs does it take from scratch to find a known bug?
//!
//! Each case is a row with a bug in it. Programs are drawn until one shows the bug, from several
//! seeds; the same programs with the same number of executions go to shuttle's random scheduler. A
//! bug counts as found when it is the first splat of an execution, or the first behind a data race.

use super::permitted;
use super::subject::Simulated;
use crate::check::in_parallel;
use crate::clock::Stopwatch;
use crate::progress::Screen;
use races::seed::Draws;
use races::simulate::{observe, sample, Plan};
use std::fmt::Write;
use std::time::Duration;
use uapi::pick::ModelError;

/// A bug on a row.
#[derive(Clone, Copy, Debug)]
pub struct Case {
    /// The row.
    pub revision: &'static str,
    /// What it is about.
    pub about: &'static str,
    /// How the class of what it prints begins.
    pub class: &'static str,
}

const fn case(revision: &'static str, about: &'static str, class: &'static str) -> Case {
    Case { revision, about, class }
}

/// The cases.
pub const CASES: &[Case] = &[
    case("linux_6_4", "object core", "BUG: KASAN: slab-use-after-free in iommufd_put_object"),
    case("linux_6_7", "object core", "WARNING: at iommufd_device_unbind"),
    case("linux_6_13_without_lock_obj_undo", "object core", "WARNING: at iommufd_device_unbind"),
    case(
        "linux_6_13_wake_through_object",
        "object core",
        "BUG: KASAN: slab-use-after-free in iommufd_put_object",
    ),
    case("linux_6_17_without_tombstone", "tombstones", "id N was given out again"),
    case("linux_6_13_group_release_xa_erase", "groups", "ictx->groups[] lost a live group"),
    case(
        "linux_6_13",
        "page tables",
        "BUG: KASAN: slab-use-after-free in iommufd_hw_pagetable_put",
    ),
    case(
        "linux_6_12",
        "fault queues",
        "BUG: KASAN: slab-use-after-free in iommufd_eventq_fops_release",
    ),
    case(
        "linux_6_15",
        "event queues",
        "BUG: KASAN: slab-use-after-free in iommufd_eventq_fops_release",
    ),
    case("viommu_v1", "vdev_ids", "BUG: KASAN: slab-use-after-free in iommufd_viommu_find_device"),
    case("viommu_v2", "vdev_ids", "BUG: KASAN: double-free in"),
    case("p2_v3", "vDEVICEs", "BUG: KASAN: slab-use-after-free in iommufd_vdevice_destroy"),
    case("p2_v5", "vDEVICEs", "WARNING: at iommufd_vdevice_abort"),
    case("linux_6_13_without_xa_cmpxchg", "vDEVICEs", "viommu->vdevs[] lost a live vDEVICE"),
    case("linux_6_13", "invalidation", "invalidation reached pdev0"),
    case("linux_6_17_rc1", "mmap", "BUG: KASAN: slab-use-after-free in iommufd_fops_mmap"),
    case("linux_7_3", "mmap", "BUG: KASAN: slab-use-after-free in iommufd_fops_mmap"),
    case("linux_7_3", "HW queues", "refcount_t: addition on 0; use-after-free."),
    case(
        "cmdq_587e6c10a7ce",
        "command queue",
        "cmdq: CPU N waits for the shared lock and is overtaken",
    ),
    case(
        "cmdq_owner_does_not_wait",
        "command queue",
        "cmdq: CPU N becomes owner while CPU N is publishing",
    ),
    case("cmdq_fetch_add", "command queue", "cmdq: the lock counts N holders, there are N"),
    case(
        "cmdq_prod_stop_without_drain",
        "runtime PM",
        "cmdq: the SMMU is switched off with N commands in the ring",
    ),
    case(
        "cmdq_df180b1a4cc5",
        "guest's commands",
        "cmdq: entry_num says that N commands were handled, N of them reached the ring",
    ),
    case(
        "cmdq_tegra241_cmdqv",
        "VCMDQs",
        "cmdq: CPU N returns from its batch, of which N entries in queue N are not complete",
    ),
];

/// Seeds of the page: few, since a test makes it.
pub const SEEDS: u64 = 3;
/// Programs after which a seed of the page gives up.
pub const PROGRAMS_MAX: u64 = 5_000;

/// Programs until a bug was found, by seed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Found {
    /// Number of the program, from 1; `None`: not within the bound.
    pub programs: Vec<Option<u64>>,
    /// How long all seeds took together.
    pub time: Duration,
}

/// The answer to one case.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// By the simulator.
    pub ours: Found,
    /// By shuttle's random scheduler.
    pub shuttle: Found,
}

impl Found {
    /// Programs of the middle seed; one that found nothing counts as the bound.
    fn median(&self, most: u64) -> String {
        let mut programs: Vec<u64> = self.programs.iter().map(|n| n.unwrap_or(u64::MAX)).collect();
        programs.sort_unstable();
        match programs.get(programs.len() / 2) {
            Some(n) if *n <= most => n.to_string(),
            _ => format!("more than {most}"),
        }
    }

    fn missed(&self) -> usize {
        self.programs.iter().filter(|n| n.is_none()).count()
    }
}

/// Draws programs until one shows the bug.
///
/// # Errors
///
/// If the model does not take a program.
pub fn ask(case: &Case, seeds: u64, most: u64) -> Result<Answer, ModelError> {
    let row = Simulated::ask(case.revision).map_err(ModelError::Malformed)?;
    let permitted = permitted();
    let until = |shows: &dyn Fn(u64, u64) -> Result<bool, ModelError>| {
        let watch = Stopwatch::start();
        let mut programs = Vec::new();
        for seed in 0..seeds {
            let mut found = None;
            for run in 0..most {
                if shows(seed, run)? {
                    found = Some(run + 1);
                    break;
                }
            }
            programs.push(found);
        }
        Ok::<Found, ModelError>(Found { programs, time: watch.elapsed() })
    };
    let ours = until(&|seed, run| {
        let drawn = row.draw(Draws::seed_of_run(seed, run), &permitted)?;
        let plan = Plan { explain: false, ..drawn.plan };
        let observed = observe(&drawn.subject, &plan)?;
        Ok(observed.shown.keys().any(|class| class.text().starts_with(case.class)))
    })?;
    let shuttle = until(&|seed, run| {
        let drawn = row.draw(Draws::seed_of_run(seed, run), &permitted)?;
        let mut found = false;
        sample(&drawn.subject, &drawn.plan, &mut |classes| {
            found |= classes.iter().any(|class| class.text().starts_with(case.class));
            !found
        })?;
        Ok(found)
    })?;
    Ok(Answer { ours, shuttle })
}

/// Asks these cases. After an interrupt some are missing.
///
/// # Errors
///
/// If the model does not take a program.
pub fn all(
    cases: &[Case],
    seeds: u64,
    most: u64,
    jobs: usize,
    screen: &Screen,
) -> Result<Vec<(Case, Answer)>, ModelError> {
    let answers =
        in_parallel(cases, jobs, screen, |case| Ok((*case, ask(case, seeds, most)?)), &mut |_| {});
    answers.into_iter().collect()
}

/// The page `reports/simulate.md`.
pub fn page(answers: &[(Case, Answer)], seeds: u64, most: u64) -> String {
    let beaten = answers.iter().filter(|(_, a)| a.shuttle.missed() > a.ours.missed()).count();
    let late = answers.iter().filter(|(_, a)| a.ours.missed() * 2 > seeds as usize).count();
    format!(
        "# How many programs does `simulate` need to find a known bug?

Programs are drawn from scratch, on a row with a bug, until one shows it: the median of {seeds}
seeds, and how many of the seeds found nothing in {most} programs. The other columns are shuttle
0.9.9's random scheduler on the same programs with the same number of executions of each. A bug
counts when it is the first splat of an execution, or the first behind a data race. In {beaten} of
{} cases shuttle misses it from more seeds than the simulator. In {late} the middle seed finds
nothing: they want calls on one object that few programs make, within a few steps that few
schedules meet. Generated: `UPDATE=1 cargo test -p iommufd-testbed --test simulate` rewrites this
page (a test makes a part of it again), `iommufd-testbed simulate demo --seconds` prints the table
with the time that all seeds took on your machine; of one machine it stands in
[benches/README.md](../benches/README.md).

{}",
        answers.len(),
        table(answers, most, false)
    )
}

/// The table.
pub fn table(answers: &[(Case, Answer)], most: u64, seconds: bool) -> String {
    let mut out = String::new();
    let time = if seconds { " seconds | seconds, shuttle |" } else { "" };
    let rule = if seconds { "---|---|" } else { "" };
    let _ = writeln!(out, "| row | bug | programs | missed | programs, shuttle | missed |{time}");
    let _ = writeln!(out, "|---|---|---|---|---|---|{rule}");
    for (case, Answer { ours, shuttle }) in answers {
        let _ = write!(
            out,
            "| {} | {}: `{}` | {} | {} | {} | {} |",
            case.revision,
            case.about,
            case.class,
            ours.median(most),
            ours.missed(),
            shuttle.median(most),
            shuttle.missed()
        );
        if seconds {
            let _ = write!(
                out,
                " {:.2} | {:.2} |",
                ours.time.as_secs_f64(),
                shuttle.time.as_secs_f64()
            );
        }
        out.push('\n');
    }
    out
}
