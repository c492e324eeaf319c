//! How many executions does each race take, and how long?
//!
//! For every race of `scenarios/races`, on every row and twin that its file names: the search that
//! decides it, to its end, on one thread. The executions are the same on every machine (they
//! contain the redundant ones, which `reports/verdicts.md` does not count), the times are not, and
//! nothing of it is asserted. A search that the scenario's own bound ends says so.
//!
//! `cargo bench --bench races` prints the page; with `UPDATE=1` it is written to
//! `reports/races.md`. Names behind `--` choose races: only those that contain one of them are run,
//! and the page is only printed.
//!
//! Source: issue "Every revision, every known race, and agreement with real kernels", point 8.

use races::mutation::{baseline, Notice};
use races::Unwatched;
use reports::check::{Question, Settings};
use reports::clock::Stopwatch;
use reports::rows::revisions;
use scenarios::Kind;
use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

const HEAD: &str = "# What each race costs

Every race of `scenarios/races`, on all rows and twins that its file names: the search that decides
it, to its end, on one thread. Executions contain the redundant ones and are the same everywhere;
times are those of one run, and only their ratios mean something. The last two columns are the row
that takes most. Generated: `UPDATE=1 cargo bench --bench races`.

| race | rows | executions | ms | most on one row | on |
|---|---|---|---|---|---|
";

/// What a race took on all its rows.
#[derive(Default)]
struct Cost {
    rows: usize,
    executions: u64,
    time: Duration,
    most: (u64, String),
    cut: usize,
}

impl Cost {
    fn add(&mut self, question: &Question) -> Result<(), String> {
        let (subject, bounds) = (question.subject(), question.bounds(&Settings::default()));
        let asked = (&question.expected, question.beside());
        let watch = Stopwatch::start();
        let found = baseline(&subject, asked, &bounds, &mut Unwatched)
            .map_err(|e| format!("{} on {}: {e}", question.scenario.name, question.revision))?;
        self.time += watch.elapsed();
        self.rows += 1;
        self.executions += found.executions;
        self.cut += usize::from(found.notice == Notice::OutOfBudget);
        if found.executions > self.most.0 {
            self.most = (found.executions, question.revision.clone());
        }
        Ok(())
    }

    fn line(&self, name: &str) -> String {
        let cut = match self.cut {
            0 => String::new(),
            n => format!(" ({n} ended by the bound)"),
        };
        let (ms, (most, on)) = (self.time.as_millis(), &self.most);
        format!("| {name} | {}{cut} | {} | {ms} | {most} | {on} |", self.rows, self.executions)
    }
}

/// The page, and what all of it took.
fn page(wanted: &[String]) -> Result<String, String> {
    let loaded = scenarios::load_dir(&scenarios::directory(), revisions());
    if let Some(error) = loaded.errors.first() {
        return Err(error.to_string());
    }
    let mut page = HEAD.to_owned();
    let mut all = Cost::default();
    let chosen = |name: &str| wanted.is_empty() || wanted.iter().any(|w| name.contains(w));
    for scenario in loaded.scenarios {
        if scenario.kind() != Kind::Race || !chosen(&scenario.name) {
            continue;
        }
        let name = scenario.name.clone();
        let mut cost = Cost::default();
        for question in Question::all(scenario, name.clone()) {
            cost.add(&question)?;
        }
        let _ = writeln!(page, "{}", cost.line(&name));
        all.rows += cost.rows;
        all.executions += cost.executions;
        all.time += cost.time;
    }
    let rate = all.executions as f64 / all.time.as_secs_f64().max(f64::EPSILON);
    let (rows, executions, seconds) = (all.rows, all.executions, all.time.as_secs_f64());
    let _ = writeln!(
        page,
        "\n{rows} questions, {executions} executions, {seconds:.0} s, {rate:.0} executions a second."
    );
    Ok(page)
}

fn main() -> ExitCode {
    // Cargo adds `--bench`.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let done = page(&wanted).and_then(|page| {
        print!("{page}");
        let update = wanted.is_empty() && std::env::var_os("UPDATE").is_some();
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("races.md");
        match update {
            true => std::fs::write(&path, page).map_err(|e| format!("{}: {e}", path.display())),
            false => Ok(()),
        }
    });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}
