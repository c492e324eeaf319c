//! The command `sweep`.

use super::{answer, csv, human, json, product, standard, Answer, Axes, Queue, Study, QUEUES};
use crate::baseline;
use crate::cli::Failed;
use crate::files::Directory;
use crate::interrupt;
use crate::output;
use crate::run::Exit;
use clap::{Args, ValueEnum};
use serde_json::Value;
use smmuv3_timing::profile::check_entries;
use smmuv3_timing::{Completion, Profile, CPUS_MAX};
use std::path::PathBuf;

/// How `sweep` prints.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum SweepFormat {
    /// Tables and sentences.
    Human,
    /// One line per point.
    Csv,
    /// The same with the profile and the sentences.
    Json,
}

/// Options of `sweep`. Values of an axis are separated by commas.
#[derive(Args, Clone, Debug)]
pub struct SweepOptions {
    /// The machine: a profile of the checkout by its name, or a file.
    #[arg(long, value_name = "NAME or FILE", default_value = "kunpeng-920")]
    pub profile: String,
    /// Queue types: cmpxchg, fetch_add, spin_fallback, spinlock, ecmdq, trapped, vcmdq.
    #[arg(long, value_name = "Q", value_delimiter = ',', value_parser = queue)]
    pub queue: Vec<Queue>,
    /// How the end of a SYNC is noticed: msi, cons, sev.
    #[arg(long, value_name = "C", value_delimiter = ',', value_parser = completion)]
    pub completion: Vec<Completion>,
    /// CPUs that invalidate, 1 to 128.
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = cpus)]
    pub cpus: Vec<u32>,
    /// Most commands of a list; of an ioctl, if trapped.
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=63))]
    pub batch: Vec<u32>,
    /// TLBI commands of one invalidation.
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = clap::value_parser!(u32).range(1..=65_536))]
    pub commands: Vec<u32>,
    /// Entries of the ring, a power of two from 128 to 524288.
    #[arg(long, value_name = "N", value_delimiter = ',', value_parser = ring)]
    pub ring: Vec<u32>,
    /// Work between two invalidations of a CPU, in nanoseconds.
    #[arg(long, value_name = "NS", value_delimiter = ',', value_parser = clap::value_parser!(u64).range(..=1_000_000_000))]
    pub work: Vec<u64>,
    /// Seeds of each point; printed are the medians.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=100))]
    pub seeds: u64,
    /// How to print it.
    #[arg(long, value_enum, default_value_t = SweepFormat::Human)]
    pub format: SweepFormat,
    /// Also compare with an earlier run, kept with `sweep --format json > FILE`. A change is
    /// exit 1.
    #[arg(long, value_name = "FILE")]
    pub baseline: Option<PathBuf>,
    /// Write sweep.csv, sweep.json and one SVG per question into this directory.
    #[arg(short = 'o', value_name = "DIR")]
    pub output: Option<PathBuf>,
}

impl SweepOptions {
    fn axes(&self) -> Axes {
        Axes {
            queues: self.queue.clone(),
            completions: self.completion.clone(),
            cpus: self.cpus.clone(),
            batches: self.batch.clone(),
            commands: self.commands.clone(),
            rings: self.ring.clone(),
            work_ns: self.work.clone(),
        }
    }
}

fn queue(text: &str) -> Result<Queue, String> {
    QUEUES.iter().copied().find(|q| q.name == text).ok_or_else(|| {
        let names: Vec<&str> = QUEUES.iter().map(|q| q.name).collect();
        format!("there is no queue type `{text}`; there are {}", names.join(", "))
    })
}

fn completion(text: &str) -> Result<Completion, String> {
    Completion::ALL.iter().copied().find(|c| c.name() == text).ok_or_else(|| {
        let names: Vec<&str> = Completion::ALL.iter().map(|c| c.name()).collect();
        format!("there is no completion `{text}`; there are {}", names.join(", "))
    })
}

fn cpus(text: &str) -> Result<u32, String> {
    let n = text.parse().ok().filter(|n| (1..=CPUS_MAX).contains(n));
    n.ok_or_else(|| format!("`{text}` CPUs cannot be: from 1 to {CPUS_MAX}"))
}

fn ring(text: &str) -> Result<u32, String> {
    let entries: u64 = text.parse().map_err(|_| format!("`{text}` is no number of entries"))?;
    check_entries(entries).map_err(|(message, help)| format!("{message}: {help}"))
}

/// `sweep`
///
/// # Errors
///
/// Bad profiles, bad usage, and files that cannot be written.
pub fn sweep(options: &SweepOptions) -> Result<Exit, Failed> {
    let profile = scenarios::profile(&options.profile)?;
    let axes = options.axes();
    let studies = match axes.is_empty() {
        true => standard(&profile),
        false => vec![product(&profile, &axes).map_err(Failed::usage)?],
    };
    for study in &studies {
        study.check(&profile).map_err(Failed::usage)?;
    }
    let directory = options.output.as_deref().map(Directory::open).transpose();
    let directory = directory.map_err(Failed::usage)?;
    let before = options.baseline.as_deref().map(baseline::sweep).transpose();
    let before = before.map_err(Failed::usage)?;
    interrupt::listen().map_err(Failed::usage)?;

    let mut answers: Vec<Answer> = Vec::new();
    for study in studies {
        let Some(answered) = answered(&profile, study, options.seeds)? else { break };
        if options.format == SweepFormat::Human {
            let columns = output::terminal_columns().unwrap_or(usize::MAX);
            output::answer(&human(&answered, columns));
        }
        answers.push(answered);
    }
    match options.format {
        SweepFormat::Human => {}
        SweepFormat::Csv => output::answer(&csv(&answers)),
        SweepFormat::Json => {
            let text = json(&profile, options.seeds, &answers).map_err(Failed::usage)?;
            output::answer(&text);
        }
    }
    if let Some(directory) = directory {
        write(&directory, &profile, options.seeds, &answers).map_err(Failed::usage)?;
    }
    let changed = match before {
        Some(before) => changed(&before, &profile, options, &answers)?,
        None => false,
    };
    match (interrupt::requested(), changed) {
        (true, _) => Ok(Exit::Interrupted),
        (false, true) => Ok(Exit::Differs),
        (false, false) => Ok(Exit::AsRecorded),
    }
}

/// Whether the figures are others than those of the baseline; says which.
fn changed(
    before: &Value,
    profile: &Profile,
    options: &SweepOptions,
    answers: &[Answer],
) -> Result<bool, Failed> {
    let now = json(profile, options.seeds, answers).map_err(Failed::usage)?;
    let now: Value = serde_json::from_str(&now).map_err(|e| Failed::usage(e.to_string()))?;
    let comparison = baseline::compare_sweeps(before, &now);
    let text = comparison.text("points");
    match options.format {
        SweepFormat::Human => output::tell(&text),
        _ => output::complain(&text),
    }
    Ok(!comparison.changes.is_empty())
}

/// The answer, or `None` if the user interrupted it.
fn answered(profile: &Profile, study: Study, seeds: u64) -> Result<Option<Answer>, Failed> {
    let mut go_on = || match interrupt::requested() {
        true => Err("interrupted".to_owned()),
        false => Ok(()),
    };
    match answer(profile, study, seeds, &mut go_on) {
        Ok(answered) => Ok(Some(answered)),
        Err(_) if interrupt::requested() => Ok(None),
        Err(e) => Err(Failed::usage(e)),
    }
}

fn write(
    directory: &Directory,
    profile: &Profile,
    seeds: u64,
    answers: &[Answer],
) -> Result<(), String> {
    // Everything is made before anything is written.
    let mut files = vec![
        ("sweep.csv".to_owned(), csv(answers)),
        ("sweep.json".to_owned(), json(profile, seeds, answers)?),
    ];
    for answer in answers {
        files.push((format!("{}.svg", answer.study.name), answer.svg(profile)));
    }
    files.iter().try_for_each(|(name, text)| directory.write(name, text))
}
