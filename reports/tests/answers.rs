//! One test per recorded sequence and kernel: the row that stands for the kernel answers alike.
//!
//! A sequence of `scenarios/answers/departures.toml` must still differ. Run one with
//! `cargo test --test answers NAME`.

#[path = "support/notice.rs"]
mod notice;

use libtest_mimic::{Arguments, Failed, Trial};
use reports::answers::{compare, Compared};
use reports::rows::canonical;
use scenarios::answers::{departures, Recording};
use std::collections::BTreeSet;
use std::path::Path;
use std::process::ExitCode;

/// The recordings, and the rows that stand for their kernels.
const KERNELS: &[(&str, &str)] = &[
    ("linux-6.12.117.jsonl", "linux_6_12"),
    ("linux-6.13-level.jsonl", "linux_6_13"),
    ("linux-7.3.4.jsonl", "linux_7_3"),
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    for (file, row) in KERNELS {
        match trials_of(file, row) {
            Ok(more) => trials.extend(more),
            Err(e) => trials.push(Trial::test(format!("reads::{file}"), || Err(Failed::from(e)))),
        }
    }
    for (file, row) in KERNELS {
        trials.push(Trial::test(format!("{row}::a_changed_answer_is_seen"), || {
            changed_answers(file, row).map_err(Failed::from)
        }));
    }
    trials.push(Trial::test("departures_name_recorded_sequences", departures_are_of_these));
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn recording(file: &str) -> Result<Recording, String> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/answers");
    Recording::read(&dir.join(file)).map_err(|e| format!("{:?}", miette::Report::new(e)))
}

fn trials_of(file: &str, row: &'static str) -> Result<Vec<Trial>, String> {
    let recording = recording(file)?;
    let compared =
        compare(&recording, row, &departures()?).map_err(|e| format!("{file}: {e:?}"))?;
    if compared.len() < 60 {
        return Err(format!("{file} has {} sequences: it is cut short", compared.len()));
    }
    let trial = |c: Compared| {
        Trial::test(format!("{row}::{}", c.sequence), move || agrees(row, &c).map_err(Failed::from))
    };
    Ok(compared.into_iter().map(trial).collect())
}

/// A comparison that sees nothing would agree with everything.
fn changed_answers(file: &str, row: &str) -> Result<(), String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/answers").join(file);
    let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    match notice::changes(&text, row)? {
        0..30 => Err("there is little to change".to_string()),
        _ => Ok(()),
    }
}

fn agrees(row: &str, compared: &Compared) -> Result<(), String> {
    let stays = departures()?.iter().any(|d| d.revision == row && d.sequence == compared.sequence);
    match (&compared.difference, stays) {
        (None, false) | (Some(_), true) => Ok(()),
        (None, true) => Err("it agrees now: take it out of departures.toml".to_string()),
        (Some(d), false) => Err(format!(
            "line {}: {}\n  the kernel: {}\n  the model:  {}",
            d.line, d.text, d.kernel, d.model
        )),
    }
}

/// A reason for a sequence or a row that there is not would never be looked at.
fn departures_are_of_these() -> Result<(), Failed> {
    let mut known = BTreeSet::new();
    for (file, row) in KERNELS {
        let row = canonical(row)?;
        known.extend(recording(file)?.sequences.into_iter().map(|s| (row.to_string(), s.name)));
    }
    for d in departures()? {
        if !known.contains(&(d.revision.clone(), d.sequence.clone())) {
            return Err(format!("{} has no sequence {}", d.revision, d.sequence).into());
        }
        if d.reason.trim().is_empty() {
            return Err(format!("{} on {}: no reason", d.sequence, d.revision).into());
        }
    }
    Ok(())
}
