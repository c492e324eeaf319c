//! What is known to show on a row: the entries of `scenarios/pairs.toml`, and what scenarios record.

use super::subject::{self, calls_of_setup};
use crate::cli::Failed;
use crate::commands::scenarios_named;
use crate::rows;
use races::simulate::plain;
use scenarios::{Known, Scenario, With, PAIRS};
use std::collections::BTreeSet;
use uapi::pick::Subject;
use uapi::splat::Kind;
use uapi::verdict::Expected;

/// The list.
#[derive(Clone, Debug)]
pub struct KnownShows(Vec<Known>);

impl KnownShows {
    /// Nothing.
    pub fn nothing() -> KnownShows {
        KnownShows(Vec::new())
    }

    /// Of one row. What a scenario records of a row is known of its twins, too: a twin differs in one
    /// text.
    ///
    /// # Errors
    ///
    /// Bad files.
    pub fn of(row: &str) -> Result<KnownShows, Failed> {
        let mut known = scenarios::pairs(&scenarios::directory().join(PAIRS))?.known;
        let base = rows::row(row).and_then(|r| r.twin_of);
        for (scenario, _) in scenarios_named(&[])? {
            if scenario.mutant().is_some() {
                continue;
            }
            for of in [Some(row), base].into_iter().flatten() {
                known.extend(recorded(&scenario, of));
            }
        }
        for entry in &mut known {
            entry.text = unnumbered(&entry.text);
            // A row was chosen; an entry of its base is one of its own.
            if !entry.revisions.is_empty() {
                let holds = entry.revisions.iter().any(|r| r == row || Some(r.as_str()) == base);
                entry.revisions = if holds { Vec::new() } else { entry.revisions.clone() };
            }
        }
        Ok(KnownShows(known))
    }

    /// Where it is said that a program shows this: a class, or what is printed in full.
    pub fn source(&self, class: &str, full: &str, subject: &Subject, row: &str) -> Option<&str> {
        let mut calls = calls_of_setup(subject);
        calls.extend(subject::calls(subject).into_iter().flatten());
        let texts = [unnumbered(class), unnumbered(full)];
        let known = |k: &&Known| texts.iter().any(|text| k.covers(text, &calls, row));
        self.0.iter().find(known).map(|k| k.source.as_str())
    }
}

/// Without the numbers of names either: what `f1` shows is known if that of `f0` is.
fn unnumbered(text: &str) -> String {
    let text = plain(text);
    let mut out = String::new();
    for c in text.chars() {
        let of_name = out.ends_with(|b: char| b.is_ascii_alphabetic() || b == '#');
        match c.is_ascii_digit() && of_name {
            true if out.ends_with('#') => {}
            true => out.push('#'),
            false => out.push(c),
        }
    }
    out
}

/// What a scenario records of a row.
fn recorded(scenario: &Scenario, row: &str) -> Vec<Known> {
    let subject = scenario.subject(row);
    let called: BTreeSet<&str> = subject::calls(&subject).into_iter().flatten().collect();
    let entry = |text: &str| Known {
        text: text.to_owned(),
        // A splat of the same kind in the same function is the same one, whoever calls it; what a
        // queue's invariants say is about its text, too.
        calls: match names_function(text) || scenario.queue(row).is_some() {
            true => Vec::new(),
            false => called.iter().map(ToString::to_string).collect(),
        },
        revisions: vec![row.to_owned()],
        with: With::default(),
        reason: scenario.question.clone(),
        source: format!("scenario {}", scenario.name),
    };
    let mut known = Vec::new();
    if let Some(Expected::Sometimes(text) | Expected::Always(text)) = scenario.expected(row) {
        known.push(entry(text));
    }
    // A splat that a question takes for granted is known, too.
    if let Subject::Program { program, .. } = &subject {
        known.extend(program.given.iter().map(|text| entry(text)));
    }
    if scenario.findings.late_wakeup.contains(row) {
        known.push(entry("late wake-up"));
    }
    if scenario.findings.unexplained.contains(row) {
        known.push(entry("unexplained: "));
    }
    known
}

/// Whether a text says in which function something is printed.
fn names_function(text: &str) -> bool {
    let named = |kind: &Kind| {
        let words = kind.words();
        let behind = text.strip_prefix(words).is_some_and(|rest| !rest.trim().is_empty());
        behind && (words.ends_with(" in") || words.ends_with(" at"))
    };
    Kind::ALL.iter().any(named)
}

#[cfg(test)]
mod tests {
    use super::unnumbered;

    #[test]
    fn the_number_of_a_name_does_not_matter() {
        let one = unnumbered("unexplained: CPU 0: close(f12) -> 0 | CPU 1: read(f3) -> 0");
        assert_eq!(one, unnumbered("unexplained: CPU 2: close(f0) -> 0 | CPU 0: read(f1) -> 0"));
        assert!(one.contains("close(f#)") && !one.contains(&unnumbered("close(file0)")), "{one}");
    }
}
