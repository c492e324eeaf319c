//! `report`: a run as one page, for people who were not there.
//!
//! * [`Report`] is what it says, and the JSON of it;
//! * [`page`] is the HTML: one file with its style, its script and its data in it;
//! * [`markdown`] is the same for a mail or a wiki.
//!
//! The page is a table that works without a script; what the script adds (filters, a page for each
//! race, the stepper) it makes from one JSON island, and only out of text nodes.

mod data;
mod interleaving;
mod locks;
mod markdown;
mod page;

pub use data::{Answer, Observation, Report, Row, Scenario, Study, Sweep, FORMAT};
pub use interleaving::{Change, Code, Hung, Interleaving, Object};
pub use locks::Lock;
pub use markdown::markdown;
pub use page::page;

use crate::check;
use crate::cli::{Failed, RunOptions};
use crate::commands::{broken, questions};
use crate::files::{self, Directory};
use crate::interrupt;
use crate::output::{answer, complain};
use crate::progress::Screen;
use crate::record::json;
use crate::run::{Exit, Summary};
use clap::{Args, ValueEnum};
use std::path::{Path, PathBuf};

/// How `report` writes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum ReportFormat {
    /// One page with everything in it.
    Html,
    /// For a mail or a wiki.
    Markdown,
    /// For machines.
    Json,
}

/// Options of `report`.
#[derive(Args, Clone, Debug)]
pub struct ReportOptions {
    /// How to write it.
    #[arg(long, value_enum, default_value_t = ReportFormat::Html)]
    pub format: ReportFormat,
    #[command(flatten)]
    #[expect(missing_docs)] // clap would print a comment on a group as the text of its command
    pub run: RunOptions,
    /// Write it to this file instead of stdout. The old file stays until the new one is whole.
    #[arg(short = 'o', value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Say how long each explorer took. Then two reports of the same run differ.
    #[arg(long)]
    pub times: bool,
    /// Seeds of each point of the cost model's tables.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=100))]
    pub sweep_seeds: u64,
    /// Leave out the cost model of the SMMUv3 command queue.
    #[arg(long)]
    pub no_sweep: bool,
    /// Where the model's sources can be read: put in front of model/src/FILE#LLINE, such as
    /// https://git.example/iommufd-testbed/blob/main/. Without it they are text.
    #[arg(long, value_name = "URL", default_value = "")]
    pub sources: String,
    /// No progress bar.
    #[arg(long, short)]
    pub quiet: bool,
}

/// `report`
///
/// # Errors
///
/// Bad files, bad usage, and files that cannot be written.
pub fn report(what: &[String], options: &ReportOptions) -> Result<Exit, Failed> {
    let questions = questions(what, &options.run)?;
    sources_are_a_place(&options.sources).map_err(Failed::usage)?;
    options.output.as_deref().map(writable).transpose().map_err(Failed::usage)?;
    interrupt::listen().map_err(Failed::usage)?;

    let settings = options.run.settings();
    let screen = if options.quiet { Screen::hidden() } else { Screen::new() };
    let answered = check::run(&questions, &settings, &screen, &mut |_| {});
    let summary = Summary::of(&answered, questions.len(), interrupt::requested());
    let mut report = Report::of(&answered, &summary, &settings, options.times).map_err(broken)?;
    report.sweep = swept(options)?;

    let text = match options.format {
        ReportFormat::Html => page(&report, &options.sources).map_err(broken)?,
        ReportFormat::Markdown => markdown(&report),
        ReportFormat::Json => json(&report).map_err(broken)?,
    };
    match &options.output {
        Some(file) => files::write(file, &text).map_err(Failed::usage)?,
        None => answer(&text),
    }
    if summary.exit() != Exit::AsRecorded {
        complain(&summary.text());
    }
    Ok(summary.exit())
}

/// The cost model's part, unless it is left out or the user has ended the run.
fn swept(options: &ReportOptions) -> Result<Option<Sweep>, Failed> {
    if options.no_sweep || interrupt::requested() {
        return Ok(None);
    }
    let profile = scenarios::profile(PROFILE)?;
    match Sweep::of(&profile, options.sweep_seeds) {
        Ok(sweep) => Ok(Some(sweep)),
        Err(_) if interrupt::requested() => Ok(None),
        Err(e) => Err(broken(e)),
    }
}

/// The machine that `sweep` takes without options.
const PROFILE: &str = "kunpeng-920";

/// Finds out before the run whether the file can be written.
fn writable(file: &Path) -> Result<(), String> {
    files::replaceable(file)?;
    let parent = file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !parent.is_dir() {
        return Err(format!(
            "there is no directory {} to write {} into; make it, or name another file with -o",
            parent.display(),
            file.display()
        ));
    }
    Directory::open(parent).map(|_| ())
}

/// A link of a page may only lead to another page.
fn sources_are_a_place(url: &str) -> Result<(), String> {
    let scheme = url.split(['/', '?', '#']).next().unwrap_or("");
    match !scheme.contains(':') || ["http:", "https:", "file:"].contains(&scheme) {
        true => Ok(()),
        false => Err(format!(
            "`{url}` is no place for sources: write a relative path, or a URL that begins with \
             https:, http: or file:"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_cannot_be_a_script() {
        for good in ["", "../", "https://git.example/x/", "file:///home/me/x/", "a/b:c/"] {
            assert_eq!(sources_are_a_place(good), Ok(()), "{good}");
        }
        for bad in ["javascript:alert(1)//", "data:text/html,x", "JavaScript:x"] {
            assert!(sources_are_a_place(bad).is_err(), "{bad}");
        }
    }
}
