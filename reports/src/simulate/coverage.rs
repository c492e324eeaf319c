//! What a simulation reached: call sites of each kernel function, answers of each call.
//!
//! The call sites of a row are those of the functions that the simulation or a scenario of the row
//! enters, as for `mutate`. Those on an unwind path stand behind their label in the function, so a
//! call site that was never reached names the path that was not taken.

use super::record::Records;
use crate::mutate::parts;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use uapi::call::SIGNATURES;
use uapi::mutation::CallSite;

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
    /// Call sites that only scenarios reach.
    by_scenarios: Vec<String>,
    /// Call sites that nothing reaches.
    never: Vec<String>,
}

impl Coverage {
    /// Of a simulation; `by_scenarios` are the call sites that the row's scenarios reach.
    pub fn of(records: &Records, by_scenarios: &BTreeSet<u16>) -> Coverage {
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
                (false, false) => function.never.push(place(site)),
            }
        }
        let mut answered: BTreeMap<_, Vec<String>> = BTreeMap::new();
        for signature in SIGNATURES {
            let of =
                |a: &String| a.strip_prefix(signature.name)?.strip_prefix(' ').map(str::to_owned);
            let answers = records.answered().iter().filter_map(of).collect();
            answered.insert(signature.name, answers);
        }
        Coverage { functions, answered }
    }

    /// Call sites that were reached, and all.
    pub fn sites(&self) -> (usize, usize) {
        let reached = self.functions.values().map(|f| f.reached).sum();
        let missed = |f: &Function| f.by_scenarios.len() + f.never.len();
        (reached, reached + self.functions.values().map(missed).sum::<usize>())
    }

    /// The table as text.
    pub fn text(&self) -> String {
        let mut out = String::new();
        let (reached, all) = self.sites();
        let _ = writeln!(out, "coverage: {reached} of {all} call sites reached");
        for ((file, name), function) in &self.functions {
            let missed = function.by_scenarios.len() + function.never.len();
            let all = function.reached + missed;
            let _ = writeln!(out, "  {:>3} of {all:>3}  {name} ({file})", function.reached);
            for site in &function.by_scenarios {
                let _ = writeln!(out, "              never reached, but by a scenario: {site}");
            }
            for site in &function.never {
                let _ = writeln!(out, "              never reached: {site}");
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
    format!("{} #{}, line {}", site.op, site.nth, site.line)
}
