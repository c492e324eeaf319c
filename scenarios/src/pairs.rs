//! `pairs.toml`: worlds of objects, and the calls that are held against each other in them.
//!
//! Every two calls of a world, a call and itself included, make a race; so do every three. What
//! a race shows that is known stands in the same file with its reason.

use crate::error::{Problem, ScenarioError};
use crate::load::{data, text_of, BESIDE};
use crate::names_row;
use serde::Deserialize;
use std::path::Path;

/// Its name in the directory of the scenarios.
pub const PAIRS: &str = "pairs.toml";

/// A setup, and the calls that race on what it makes.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct World {
    /// What it is, in a few words.
    pub name: String,
    /// The rows that have all its calls. Empty: every row.
    #[serde(default)]
    pub revisions: Vec<String>,
    /// Physical devices that are not in groups of their own, as lines of `[devices]`.
    #[serde(default)]
    pub devices: Vec<String>,
    /// Steps that run first, as a scenario spells them.
    pub setup: Vec<String>,
    /// The calls.
    pub calls: Vec<String>,
    /// Steps that run last.
    #[serde(default)]
    pub finally: Vec<String>,
}

/// What races are known to show.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Known {
    /// A part of what is shown: of a splat, `late wake-up`, or a part of `unexplained: …`.
    pub text: String,
    /// Calls that the race has to have, by name. Empty: any.
    #[serde(default)]
    pub calls: Vec<String>,
    /// The rows. Empty: every row.
    #[serde(default)]
    pub revisions: Vec<String>,
    /// What it takes to show.
    #[serde(default)]
    pub with: With,
    /// Why it is so, and whether it matters.
    pub reason: String,
    /// R-number, scenario, or section of reports/findings.md.
    pub source: String,
}

impl Known {
    /// Whether it is what a program with these calls shows on the row.
    pub fn covers(&self, text: &str, calls: &[&str], row: &str) -> bool {
        text.contains(&self.text)
            && self.calls.iter().all(|name| calls.contains(&name.as_str()))
            && names_row(&self.revisions, row)
    }
}

/// What a race needs beside two calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum With {
    /// Nothing.
    #[default]
    Pairs,
    /// A call of which a step fails.
    Fail,
    /// A third call.
    Triples,
    /// A program that `simulate` draws: more calls, or timers that fire at any moment.
    Simulate,
}

/// Calls that nobody makes at the same time on one object: their caller has a lock of its own.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Serial {
    /// Names of the calls. Two of them with the same first argument are not held against each
    /// other.
    pub calls: Vec<String>,
    /// Whose lock it is.
    pub reason: String,
}

/// The whole file.
#[derive(Clone, PartialEq, Eq, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pairs {
    /// The worlds.
    pub world: Vec<World>,
    /// What is never concurrent.
    #[serde(default)]
    pub serial: Vec<Serial>,
    /// What is known.
    #[serde(default)]
    pub known: Vec<Known>,
}

/// The name of the call that a step makes, and its first argument.
pub fn call_of(step: &str) -> (&str, &str) {
    let call = step.split_once(" = ").map_or(step, |(name, call)| {
        // The `=` of an argument or an option stands behind the name of the call.
        if name.contains(['(', '[']) {
            step
        } else {
            call
        }
    });
    let (name, rest) = call.split_once('(').unwrap_or((call, ""));
    let first = rest.split([',', ')']).next().unwrap_or("");
    (name.split([' ', '[']).next().unwrap_or(name).trim(), first.trim())
}

impl Pairs {
    /// Whether these calls can be made at the same time.
    pub fn concurrent(&self, calls: &[String]) -> bool {
        let called: Vec<(&str, &str)> = calls.iter().map(|c| call_of(c)).collect();
        let serial = |(a, x): (&str, &str), (b, y): (&str, &str)| {
            let both = |s: &Serial| [a, b].iter().all(|n| s.calls.iter().any(|c| c == n));
            x == y && self.serial.iter().any(both)
        };
        let others = |i: usize| called[i + 1..].iter();
        !(0..called.len()).any(|i| others(i).any(|other| serial(called[i], *other)))
    }
}

impl World {
    /// Whether the row has its calls.
    pub fn is_of(&self, row: &str) -> bool {
        names_row(&self.revisions, row)
    }

    /// A race of these calls as the text of a scenario.
    pub fn race(&self, calls: &[String], row: &str) -> String {
        let list = |steps: &[String]| {
            let lines: Vec<String> = steps.iter().map(|s| format!("  {s:?},\n")).collect();
            format!("[\n{}]", lines.concat())
        };
        let mut text = format!(
            "question = {:?}\nsource   = \"scenarios/{PAIRS}\"\n\nsetup = {}\n",
            format!("{} ({})?", calls.join(" against "), self.name),
            list(&self.setup)
        );
        if !self.finally.is_empty() {
            text.push_str(&format!("\nfinally = {}\n", list(&self.finally)));
        }
        if !self.devices.is_empty() {
            text.push_str(&format!("\n[devices]\n{}\n", self.devices.join("\n")));
        }
        for call in calls {
            text.push_str(&format!("\n[[cpu]]\nsteps = [{call:?}]\n"));
        }
        text.push_str(&format!("\n[verdict]\n{row} = \"Never\"\n"));
        text
    }
}

/// Reads a file of this form.
///
/// # Errors
///
/// What is wrong in it, with the place. The calls are read when they are put together.
pub fn pairs(path: &Path) -> Result<Pairs, ScenarioError> {
    let text = text_of(path, &BESIDE)?;
    let shown = path.display().to_string();
    let wrong = |problem| ScenarioError::new(&shown, Some(&text), vec![problem]);
    let help = "a [[world]] has name, setup and calls, a [[known]] has text, reason and source";
    let pairs: Pairs = data(&shown, &text, help)?;
    if let Some(world) = pairs.world.iter().find(|w| w.calls.is_empty()) {
        let message = format!("the world \"{}\" has no calls", world.name);
        return Err(wrong(Problem::whole(message, "one call races with itself; give it one")));
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::call_of;

    #[test]
    fn the_call_of_a_step() {
        assert_eq!(
            call_of("a, b = IOMMU_VEVENTQ_ALLOC(viommu0)"),
            ("IOMMU_VEVENTQ_ALLOC", "viommu0")
        );
        assert_eq!(call_of("attach(dev0, pt_id = 5)"), ("attach", "dev0"));
        assert_eq!(call_of("IOMMU_IOAS_ALLOC [fd = file1]"), ("IOMMU_IOAS_ALLOC", ""));
    }
}
