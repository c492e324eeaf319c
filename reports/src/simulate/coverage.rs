//! What a simulation reached: call sites of each kernel function, answers of each call.
//!
//! The call sites of a row are those of the functions that the simulation or a scenario of the row
//! enters, as for `mutate`; the labels of their unwinds are told like them. What was never reached has
//! a reason in `scenarios/unreached.toml` or `survivors.toml`, or somebody has to look for one. The
//! places of the command queue are the calls of its primitives.

use super::record::Records;
use crate::cli::Failed;
use crate::mutate::parts;
use crate::rows::is_of_queue;
use scenarios::{Survivor, Unreached};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use uapi::call::SIGNATURES;
use uapi::mutation::CallSite;
use uapi::queue::Request;

/// The table of one row.
#[derive(Clone, Debug)]
pub struct Coverage {
    functions: BTreeMap<(&'static str, &'static str), Function>,
    answered: BTreeMap<&'static str, Vec<String>>,
}

/// One kernel function.
#[derive(Clone, Debug, Default)]
struct Function {
    reached: usize,
    /// Those that only scenarios reach.
    by_scenarios: Vec<String>,
    /// Those that nothing reaches, with the reason if one is written down.
    never: Vec<(String, Option<String>)>,
}

/// What is written down about places that nothing reaches.
#[derive(Clone, Debug)]
pub struct Reasons {
    unreached: Vec<Unreached>,
    survivors: Vec<Survivor>,
}

impl Reasons {
    /// Reads the two files.
    ///
    /// # Errors
    ///
    /// What is wrong in one of them.
    pub fn read() -> Result<Reasons, Failed> {
        Ok(Reasons {
            unreached: scenarios::unreached().map_err(Failed::usage)?,
            survivors: scenarios::survivors(&scenarios::directory())?,
        })
    }

    /// Why a place is not reached on a row.
    fn of(&self, site: &str, row: &str) -> Option<String> {
        let own = self.unreached.iter().find(|u| u.covers(site, row)).map(|u| &u.reason);
        let on_row = |s: &&Survivor| scenarios::names_row(&s.revisions, row);
        let mut survivors = self.survivors.iter().filter(on_row);
        let listed = || survivors.find(|s| s.site == site).map(|s| &s.reason);
        let words = |reason: &String| reason.split_whitespace().collect::<Vec<_>>().join(" ");
        own.or_else(listed).map(words)
    }
}

impl Coverage {
    /// Of a simulation of a row; `by_scenarios` are the call sites that the row's scenarios reach.
    pub fn of(
        row: &str,
        records: &Records,
        by_scenarios: &BTreeSet<u16>,
        reasons: &Reasons,
    ) -> Coverage {
        let sites = model_native::call_sites();
        let all: BTreeSet<u16> = records.reached().union(by_scenarios).copied().collect();
        let parts = parts(&all, sites);
        let mut functions: BTreeMap<_, Function> = BTreeMap::new();
        for (id, site) in (0..).zip(sites) {
            if !parts.contains(&(site.file, site.part)) {
                continue;
            }
            let function = functions.entry((site.file, site.function)).or_default();
            match (records.reached().contains(&id), by_scenarios.contains(&id)) {
                (true, _) => function.reached += 1,
                (false, true) => function.by_scenarios.push(place(site)),
                (false, false) => {
                    function.never.push((place(site), reasons.of(&site.name(), row)));
                }
            }
        }
        let mut answered: BTreeMap<_, Vec<String>> = BTreeMap::new();
        let calls: Vec<&'static str> = match is_of_queue(row) {
            true => Request::NAMES.to_vec(),
            false => SIGNATURES.iter().map(|signature| signature.name).collect(),
        };
        for name in calls {
            let of = |a: &String| a.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned);
            let answers = records.answered().iter().filter_map(of).collect();
            answered.insert(name, answers);
        }
        Coverage { functions, answered }
    }

    /// Places that the simulation did not reach and should have: a scenario does, or nobody has said
    /// why nothing does.
    pub fn owed(&self) -> usize {
        let unsaid = |f: &Function| f.never.iter().filter(|(_, reason)| reason.is_none()).count();
        self.functions.values().map(|f| f.by_scenarios.len() + unsaid(f)).sum()
    }

    /// Call sites and labels that were reached, and all.
    pub fn sites(&self) -> (usize, usize) {
        let reached = self.functions.values().map(|f| f.reached).sum();
        let missed = |f: &Function| f.by_scenarios.len() + f.never.len();
        (reached, reached + self.functions.values().map(missed).sum::<usize>())
    }

    /// The table as text.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let (reached, all) = self.sites();
        let reasons = all - reached - self.owed();
        let _ = writeln!(
            out,
            "coverage: {reached} of {all} call sites and labels reached, {reasons} cannot be, {} \
             should have been",
            self.owed()
        );
        for ((file, name), function) in &self.functions {
            let missed = function.by_scenarios.len() + function.never.len();
            let all = function.reached + missed;
            let _ = writeln!(out, "  {:>3} of {all:>3}  {name} ({file})", function.reached);
            for site in &function.by_scenarios {
                let _ = writeln!(out, "              never reached, but by a scenario: {site}");
            }
            for (site, reason) in &function.never {
                let _ = writeln!(out, "              never reached: {site}");
                if let Some(reason) = reason {
                    let _ = writeln!(out, "                because: {reason}");
                }
            }
        }
        out.push_str("answers:\n");
        for (call, answers) in &self.answered {
            let answers = match answers.is_empty() {
                true => "never made".to_owned(),
                false => answers.join(", "),
            };
            let _ = writeln!(out, "  {call}: {answers}");
        }
        out
    }
}

fn place(site: &CallSite) -> String {
    let what = if site.is_label() { "label " } else { "" };
    format!("{what}{} #{}, line {}", site.op, site.nth, site.line)
}
