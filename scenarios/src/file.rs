//! From the text of a file to a [`Scenario`].
//!
//! The reader goes on after an error where it can, so that a file with three slips is corrected
//! in one round and not in three.

pub(crate) mod queue;

use crate::error::{code, nearest, suggest, unprintable, Problem};
use crate::load;
use crate::step::{self, List, Scope, Shape, Text};
use crate::verdict_text;
use crate::{
    canonical, Answers, Bounds, Explorer, Findings, Heap, Scenario, ScenarioError, LOOM_CPUS_MAX,
};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use toml::de::{DeArray, DeTable, DeValue};
use toml::Spanned;
use uapi::mutation::{Change, Mutant};
use uapi::pick::RevisionInfo;
use uapi::program::{Orders, Pdev, Program, Timers};
use uapi::step::CPUS_MAX;
use uapi::verdict::Expected;

/// Steps of one file: it is to be read by people, and a `Sym` has 16 bits.
pub(crate) const STEPS_MAX: usize = 1_000;

/// Keys of a file, in the order in which they are best written.
pub(crate) const KEYS: &[&str] = &[
    "question",
    "source",
    "notes",
    "canary",
    "timers",
    "orders",
    "given",
    "mutant",
    "revisions",
    "queue",
    "devices",
    "setup",
    "cpu",
    "finally",
    "verdict",
    "findings",
    "bounds",
];
/// Keys of a `[[cpu]]`.
pub(crate) const CPU_KEYS: &[&str] = &["name", "steps"];
/// Keys of `[bounds]`.
pub(crate) const BOUNDS_KEYS: &[&str] =
    &["steps", "executions", "preemptions", "samples", "heap", "explorers"];
/// Keys of `mutant`.
pub(crate) const MUTANT_KEYS: &[&str] = &["site", "change"];
/// Keys of `[findings]`.
pub(crate) const FINDINGS_KEYS: &[&str] = &["late_wakeup", "unexplained"];
/// Keys of one entry of `[devices]`.
pub(crate) const DEVICE_KEYS: &[&str] = &["group", "iommu", "vdevice_size", "reserved"];

type Value<'a> = Spanned<DeValue<'a>>;

/// Reads a scenario. `shown` is the file as the user knows it.
pub(crate) fn parse(
    name: &str,
    shown: &str,
    text: &str,
    rows: &[RevisionInfo],
) -> Result<Scenario, ScenarioError> {
    let fail = |problems| ScenarioError::new(shown, Some(text), problems);
    if let Some(problem) = before_toml(text) {
        return Err(fail(vec![problem]));
    }
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        // What a broken table holds is a guess: its contents are not looked at.
        return Err(fail(errors.iter().map(|e| toml_problem(e, text, &["cpu"])).collect()));
    }
    let table = table.get_ref();
    // A queue has rows of its own.
    let of_queue = table.contains_key("queue").then(model_native::queue_revisions);
    let rows = of_queue.as_deref().unwrap_or(rows);
    let mut reader = Reader { text, rows, problems: Vec::new() };
    let scenario = match of_queue {
        Some(_) => reader.queue_scenario(name, table),
        None => reader.scenario(name, table),
    };
    match scenario {
        Some(scenario) if reader.problems.is_empty() => Ok(scenario),
        _ => Err(fail(reader.problems)),
    }
}

/// What is wrong before TOML is even looked at.
fn before_toml(text: &str) -> Option<Problem> {
    if let Some(problem) = load::before_toml(text) {
        return Some(problem);
    }
    if text.trim().is_empty() {
        return Some(Problem::at(
            0..0,
            "nothing here",
            "the file is empty",
            "a scenario has at least question, source, one [[cpu]] and [verdict]; \
             scenarios/README.md shows one",
        ));
    }
    let at = text.find('\0')?;
    Some(Problem::at(
        at..at + 1,
        "NUL",
        "the file holds a NUL byte",
        "a scenario is a text file; is this the file you meant?",
    ))
}

/// What the parser of TOML says; `lists` are the keys that may head several tables.
pub(crate) fn toml_problem(error: &toml::de::Error, text: &str, lists: &[&str]) -> Problem {
    let message = error.message().replace('\n', "; ");
    let span = on_boundaries(error.span().unwrap_or(0..0), text);
    let help = match &text[span.clone()] {
        _ if !message.contains("duplicate key") => {
            "this is not TOML; texts stand in \"quotes\", lists in [brackets], see https://toml.io"
        }
        key if lists.contains(&key) => "write [[two brackets]] around the name of each such table",
        _ => "a key stands once in its table; leave one of them out",
    };
    Problem::at(span, "here", message, help)
}

/// A span that starts and ends between two characters of the text.
fn on_boundaries(span: Range<usize>, text: &str) -> Range<usize> {
    let down = |mut i: usize| {
        i = i.min(text.len());
        while !text.is_char_boundary(i) {
            i -= 1;
        }
        i
    };
    let start = down(span.start);
    start..down(span.end).max(start)
}

struct Reader<'t, 'r> {
    text: &'t str,
    rows: &'r [RevisionInfo],
    problems: Vec<Problem>,
}

/// A step that has its shape, with where it stands.
struct Placed<'a> {
    list: List,
    index: usize,
    shape: Shape<'a>,
}

impl Reader<'_, '_> {
    fn report(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    fn scenario(&mut self, name: &str, table: &DeTable<'_>) -> Option<Scenario> {
        self.unknown_keys(table, KEYS, "a scenario");
        let (question, source, notes) = self.words(table);
        let canary = table.get("canary").and_then(|v| self.boolean(v, "canary")).unwrap_or(false);
        let timers = self.timers(table);
        let orders = self.orders(table);
        let bounds = self.bounds(table);
        let (revisions, expected) = self.verdicts(table);
        let findings = self.findings(table, &revisions);
        let devices = self.devices(table);

        let lists = self.lists(table);
        let cpus = lists.iter().filter(|(list, _)| matches!(list, List::Cpu(_))).count();
        self.explorers_suit(table, &bounds, cpus);
        let mut scope = Scope::new(self.rows);
        let (mut program, answers) = self.program(&lists, cpus, &revisions, &mut scope);
        program.timers = timers;
        program.orders = orders;
        program.given = self.given(table);
        program.mutant = self.mutant(table);
        program.syms = std::mem::take(&mut scope.syms);
        program.pdevs = pdevs(&scope, &devices);

        self.canary_fails(table, canary, &expected);
        Some(Scenario {
            name: name.to_string(),
            path: None,
            text: self.text.to_string(),
            question: question?,
            source: source?,
            notes,
            revisions,
            expected,
            findings,
            bounds,
            canary,
            program,
            queue: None,
            answers,
            rows: self.rows.to_vec(),
        })
    }

    /// Question, source and notes.
    fn words(&mut self, table: &DeTable<'_>) -> (Option<String>, Option<String>, Option<String>) {
        let question = self.prose(table, "question", "what is asked, as one sentence");
        let source = self.prose(
            table,
            "source",
            "who asked, in a form that a machine finds: Message-ID, commit, selftest, R-number",
        );
        let notes = table
            .get("notes")
            .and_then(|v| self.string(v, "notes"))
            .map(|notes| notes.trim().to_string());
        (question, source, notes)
    }

    fn canary_fails(
        &mut self,
        table: &DeTable<'_>,
        canary: bool,
        expected: &BTreeMap<String, Expected>,
    ) {
        if canary && !expected.is_empty() && expected.values().all(|e| *e == Expected::Never) {
            let at = key_span(table, "canary").unwrap_or(0..0);
            self.report(Problem::at(
                at,
                "claimed here",
                "a canary that no revision is expected to fail",
                "a canary shows that the explorers can find something: give one row `sometimes` \
                 or `always`",
            ));
        }
    }

    // ---- keys and plain values ----

    fn unknown_keys(&mut self, table: &DeTable<'_>, known: &[&str], what: &str) {
        for (key, _) in table.iter() {
            let name: &str = key.get_ref();
            if !known.contains(&name) {
                // In TOML, what stands below a [table] belongs to it.
                let of_file = known.contains(&"question");
                let help = if of_file && KEYS.contains(&name) {
                    "it belongs to scenarios without a [queue]: leave it out".to_string()
                } else if KEYS.contains(&name) {
                    format!("`{name}` is a key of the file: write it above the first [table]")
                } else {
                    suggest(name, known, "its keys are")
                };
                self.report(Problem::at(
                    key.span(),
                    "unknown key",
                    format!("{what} has no key `{name}`"),
                    help,
                ));
            }
        }
    }

    fn wrong_type(&mut self, value: &Value<'_>, key: &str, wanted: &str) {
        let found = value.get_ref().type_str();
        let key = if key.contains(' ') { key.to_string() } else { format!("`{key}`") };
        self.report(Problem::at(
            value.span(),
            format!("a TOML {found}"),
            format!("{key} is {wanted}"),
            format!("write {wanted} here"),
        ));
    }

    fn string(&mut self, value: &Value<'_>, key: &str) -> Option<String> {
        match value.get_ref() {
            DeValue::String(s) => match s.chars().find(|c| unprintable(*c)) {
                None => Some(s.to_string()),
                Some(c) => {
                    self.report(Problem::at(
                        value.span(),
                        "in this text",
                        format!("`{key}` holds {}, which no terminal and no page can show", code(c)),
                        "leave it out; tabs and line breaks are all that a text may hold of the kind",
                    ));
                    None
                }
            },
            _ => {
                self.wrong_type(value, key, "a text in \"quotes\"");
                None
            }
        }
    }

    fn boolean(&mut self, value: &Value<'_>, key: &str) -> Option<bool> {
        match value.get_ref() {
            DeValue::Boolean(b) => Some(*b),
            _ => {
                self.wrong_type(value, key, "true or false");
                None
            }
        }
    }

    fn array<'v, 'a>(&mut self, value: &'v Value<'a>, key: &str) -> Option<&'v DeArray<'a>> {
        match value.get_ref() {
            DeValue::Array(a) => Some(a),
            _ => {
                self.wrong_type(value, key, "a list of texts, [\"…\", \"…\"]");
                None
            }
        }
    }

    fn table<'v, 'a>(&mut self, value: &'v Value<'a>, key: &str) -> Option<&'v DeTable<'a>> {
        match value.get_ref() {
            DeValue::Table(t) => Some(t),
            _ => {
                self.wrong_type(value, key, "a table");
                None
            }
        }
    }

    /// A number from `min` to `max`.
    fn integer(&mut self, value: &Value<'_>, key: &str, min: u64, max: u64) -> Option<u64> {
        let DeValue::Integer(int) = value.get_ref() else {
            self.wrong_type(value, key, "a whole number");
            return None;
        };
        let number = u64::from_str_radix(int.as_str(), int.radix()).ok();
        let number = number.filter(|n| (min..=max).contains(n));
        if number.is_none() {
            self.report(Problem::at(
                value.span(),
                "out of range",
                format!("`{key}` is a number from {min} to {max}"),
                "write a number in that range",
            ));
        }
        number
    }

    /// A text that has to be there.
    fn prose(&mut self, table: &DeTable<'_>, key: &str, what: &str) -> Option<String> {
        let Some(value) = table.get(key) else {
            self.report(Problem::at(
                0..0,
                format!("`{key}` is missing"),
                format!("the scenario has no `{key}`"),
                format!("add `{key} = \"…\"`: {what}"),
            ));
            return None;
        };
        let text = self.string(value, key)?;
        if text.trim().is_empty() {
            self.report(Problem::at(
                value.span(),
                "nothing here",
                format!("`{key}` is empty"),
                format!("write {what}"),
            ));
            return None;
        }
        // A long one may be written on several lines.
        Some(text.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    fn timers(&mut self, table: &DeTable<'_>) -> Timers {
        let words = [("idle", Timers::Idle), ("any", Timers::Any)];
        let help = "\"idle\": a timer fires only when no CPU can run; \"any\": every expiry is a \
                    branch";
        self.word(table, "timers", &words, help).unwrap_or_default()
    }

    fn orders(&mut self, table: &DeTable<'_>) -> Orders {
        let words = [("lkmm", Orders::Lkmm), ("strict", Orders::Strict)];
        let help = "\"lkmm\": whoever meets what a decrement left behind is ordered after it; \
                    \"strict\": refcount_t orders what its functions say and no more";
        self.word(table, "orders", &words, help).unwrap_or_default()
    }

    /// What one of a few words stands for.
    fn word<T: Copy>(
        &mut self,
        table: &DeTable<'_>,
        key: &str,
        words: &[(&str, T)],
        help: &str,
    ) -> Option<T> {
        let value = table.get(key)?;
        let written = self.string(value, key)?;
        let found = words.iter().find(|(word, _)| *word == written).map(|(_, means)| *means);
        if found.is_none() {
            let message = format!("`{key}` cannot be \"{written}\"");
            self.report(Problem::at(value.span(), "unknown", message, help));
        }
        found
    }

    /// Splats that the question starts behind.
    fn given(&mut self, table: &DeTable<'_>) -> Vec<String> {
        let Some(value) = table.get("given") else { return Vec::new() };
        let Some(list) = self.array(value, "given") else { return Vec::new() };
        let mut given = Vec::new();
        for item in list {
            let Some(text) = self.string(item, "given") else { continue };
            match verdict_text::can_be_given(&text) {
                Ok(()) => given.push(text),
                Err(help) => self.report(Problem::at(
                    item.span(),
                    "cannot be taken for granted",
                    format!("`given` cannot be \"{text}\""),
                    help,
                )),
            }
        }
        given
    }

    fn devices(&mut self, table: &DeTable<'_>) -> BTreeMap<u64, Pdev> {
        let mut devices = BTreeMap::new();
        let Some(value) = table.get("devices") else { return devices };
        let Some(list) = self.table(value, "devices") else { return devices };
        for (key, value) in list.iter() {
            let Some(n) = step::pdev(key.get_ref()) else {
                self.report(Problem::at(
                    key.span(),
                    "not a device",
                    format!("there is no device `{}`", key.get_ref()),
                    "the devices are `pdev0` to `pdev7`",
                ));
                continue;
            };
            let Some(fields) = self.table(value, key.get_ref()) else { continue };
            self.unknown_keys(fields, DEVICE_KEYS, "a device");
            let reserved = fields.get("reserved").and_then(|v| self.reserved(v));
            let mut field = |name: &str, default: u32| match fields.get(name) {
                None => default,
                Some(v) => {
                    let n = self.integer(v, name, 0, u64::from(u32::MAX)).unwrap_or(0);
                    u32::try_from(n).unwrap_or(0)
                }
            };
            let pdev = Pdev {
                reserved,
                group: field("group", n as u32),
                iommu: field("iommu", 0),
                vdevice_size: field("vdevice_size", 0),
            };
            devices.insert(n, pdev);
        }
        devices
    }

    /// The first and the last IOVA that are reserved for a device.
    fn reserved(&mut self, value: &Value<'_>) -> Option<(u64, u64)> {
        let ends: Vec<u64> = self
            .array(value, "reserved")?
            .iter()
            .filter_map(|end| self.integer(end, "reserved", 0, u64::MAX))
            .collect();
        match ends[..] {
            [first, last] if first <= last => Some((first, last)),
            _ => {
                self.report(Problem::at(
                    value.span(),
                    "not a range",
                    "`reserved` is not a range of IOVAs",
                    "write the first and the last one: reserved = [0x8000000, 0x80fffff]",
                ));
                None
            }
        }
    }

    fn mutant(&mut self, table: &DeTable<'_>) -> Option<Mutant> {
        let value = table.get("mutant")?;
        let fields = self.table(value, "mutant")?;
        self.unknown_keys(fields, MUTANT_KEYS, "mutant");
        let mut text = |key: &str| match fields.get(key) {
            Some(v) => self.string(v, key).map(|s| (s, v.span())),
            None => {
                self.report(Problem::at(
                    value.span(),
                    "incomplete",
                    format!("the mutant has no `{key}`"),
                    "a mutant is { site = \"…\", change = \"omit\" }; `iommufd-testbed mutate --list` \
                     shows the call sites and their changes",
                ));
                None
            }
        };
        let (site, change) = (text("site"), text("change"));
        let ((site, _), (change, at)) = (site?, change?);
        let names: Vec<&str> = Change::ALL.iter().map(|c| c.name()).collect();
        match Change::ALL.iter().find(|c| c.name() == change) {
            Some(change) => Some(Mutant { site, change: *change }),
            None => {
                let help = suggest(&change, &names, "the changes are");
                self.report(Problem::at(at, "unknown", "there is no such change", help));
                None
            }
        }
    }

    fn findings(&mut self, table: &DeTable<'_>, run: &[String]) -> Findings {
        let mut findings = Findings::default();
        let Some(value) = table.get("findings") else { return findings };
        let Some(fields) = self.table(value, "findings") else { return findings };
        self.unknown_keys(fields, FINDINGS_KEYS, "[findings]");
        findings.late_wakeup = self.found_on(fields, "late_wakeup", run);
        findings.unexplained = self.found_on(fields, "unexplained", run);
        findings
    }

    /// The rows of one finding. Each of them has to run.
    fn found_on(&mut self, fields: &DeTable<'_>, key: &str, run: &[String]) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let Some(value) = fields.get(key) else { return found };
        let Some(items) = self.array(value, key) else { return found };
        for item in items.iter() {
            let Some(name) = self.string(item, key) else { continue };
            match canonical(self.rows, &name) {
                None => self.report(step::unknown_row(&name, item.span(), self.rows)),
                Some(row) if !run.iter().any(|r| r == row.name) => self.report(Problem::at(
                    item.span(),
                    "not run",
                    format!("a finding on `{name}`, which is not run"),
                    "add a verdict for it, or leave it out here",
                )),
                Some(row) => drop(found.insert(row.name.to_string())),
            }
        }
        found
    }

    fn bounds(&mut self, table: &DeTable<'_>) -> Bounds {
        let mut bounds = Bounds::default();
        let Some(value) = table.get("bounds") else { return bounds };
        let Some(fields) = self.table(value, "bounds") else { return bounds };
        self.unknown_keys(fields, BOUNDS_KEYS, "[bounds]");
        let u32_max = u64::from(u32::MAX);
        if let Some(v) = fields.get("steps") {
            bounds.steps = self.integer(v, "steps", 1, u32_max).map(|n| n as u32);
        }
        if let Some(v) = fields.get("executions") {
            bounds.executions = self.integer(v, "executions", 1, u64::MAX);
        }
        if let Some(v) = fields.get("preemptions") {
            bounds.preemptions = self.integer(v, "preemptions", 0, u32_max).map(|n| n as u32);
        }
        if let Some(v) = fields.get("samples") {
            bounds.samples = self.integer(v, "samples", 1, u64::MAX);
        }
        let heaps = [("auto", Heap::Auto), ("recycle", Heap::Recycle), ("fresh", Heap::Fresh)];
        let help = "\"recycle\" hands a freed address out again at once, \"fresh\" never, \
                    \"auto\" tries both where it matters";
        bounds.heap = self.word(fields, "heap", &heaps, help).unwrap_or_default();
        bounds.explorers = fields.get("explorers").and_then(|v| self.explorers(v));
        bounds
    }

    fn explorers(&mut self, value: &Value<'_>) -> Option<Vec<Explorer>> {
        let mut explorers = Vec::new();
        for item in self.array(value, "explorers")?.iter() {
            let Some(name) = self.string(item, "explorers") else { continue };
            match Explorer::ALL.iter().find(|e| e.name() == name) {
                Some(e) if explorers.contains(e) => {}
                Some(e) => explorers.push(*e),
                None => {
                    let names: Vec<&str> = Explorer::ALL.iter().map(|e| e.name()).collect();
                    self.report(Problem::at(
                        item.span(),
                        "unknown",
                        format!("there is no explorer `{name}`"),
                        suggest(&name, &names, "the explorers are"),
                    ));
                }
            }
        }
        if self.array(value, "explorers")?.is_empty() {
            self.report(Problem::at(
                value.span(),
                "nobody explores",
                "`explorers` names no explorer",
                "leave the key out: every explorer that suits runs",
            ));
        }
        Some(explorers)
    }

    fn explorers_suit(&mut self, table: &DeTable<'_>, bounds: &Bounds, cpus: usize) {
        let named = bounds.explorers.iter().flatten().any(|e| *e == Explorer::Loom);
        if named && cpus > LOOM_CPUS_MAX {
            let at = table
                .get("bounds")
                .and_then(|b| b.get_ref().get("explorers"))
                .map_or(0..0, |e| e.span());
            self.report(Problem::at(
                at,
                "loom is named here",
                format!("{cpus} CPUs are too many for loom"),
                format!("loom runs at most {LOOM_CPUS_MAX} CPUs; name `dpor` and `shuttle` only"),
            ));
        }
    }

    // ---- verdicts ----

    fn verdicts(&mut self, table: &DeTable<'_>) -> (Vec<String>, BTreeMap<String, Expected>) {
        let mut expected: BTreeMap<String, (Expected, Range<usize>)> = BTreeMap::new();
        let mut order: Vec<(usize, &'static str)> = Vec::new();
        let listed = self.listed_revisions(table);
        let Some(value) = table.get("verdict") else {
            self.report(Problem::at(
                0..0,
                "`[verdict]` is missing",
                "the scenario has no verdict",
                "add `[verdict]` with a line per revision: `linux_6_13 = \"Never\"`",
            ));
            return (Vec::new(), BTreeMap::new());
        };
        let Some(verdicts) = self.table(value, "verdict") else {
            return (Vec::new(), BTreeMap::new());
        };
        if verdicts.is_empty() {
            self.report(Problem::at(
                value.span(),
                "nothing here",
                "[verdict] names no revision",
                "a line per revision: `linux_6_13 = \"Never\"`",
            ));
        }
        for (key, value) in verdicts.iter() {
            let name: &str = key.get_ref();
            let Some(row) = canonical(self.rows, name) else {
                let unknown = step::unknown_row(name, key.span(), self.rows);
                if KEYS.contains(&name) {
                    // In TOML, what stands below a [table] belongs to it.
                    let help =
                        format!("`{name}` is a key of the file: write it above the first [table]");
                    self.report(Problem { help, ..unknown });
                    continue;
                }
                self.report(unknown);
                self.verdict(name, value);
                continue;
            };
            let verdict = self.verdict(name, value);
            if let Some((_, first)) = expected.get(row.name) {
                let problem = Problem::at(
                    key.span(),
                    "and again here",
                    format!("the revision `{}` has two verdicts", row.name),
                    "an alias is the same revision; keep one line",
                );
                let first = first.clone();
                self.report(problem.and(first, "first here"));
                continue;
            }
            if let Some(listed) = &listed {
                if !listed.iter().any(|(r, _)| *r == row.name) {
                    self.report(Problem::at(
                        key.span(),
                        "not run",
                        format!("a verdict for `{}`, which is not run", key.get_ref()),
                        "add it to `revisions`, or leave `revisions` out: then every row of \
                         [verdict] runs",
                    ));
                }
            }
            order.push((key.span().start, row.name));
            if let Some(verdict) = verdict {
                expected.insert(row.name.to_string(), (verdict, key.span()));
            }
        }
        order.sort_unstable();
        let revisions: Vec<&str> = match &listed {
            Some(listed) => listed.iter().map(|(r, _)| *r).collect(),
            None => order.iter().map(|(_, r)| *r).collect(),
        };
        for (row, at) in listed.iter().flatten() {
            if !order.iter().any(|(_, r)| r == row) {
                self.report(Problem::at(
                    at.clone(),
                    "run without a verdict",
                    format!("`{row}` is run and has no verdict"),
                    format!("add a line to [verdict]: `{row} = \"Never\"`"),
                ));
            }
        }
        (
            revisions.into_iter().map(str::to_string).collect(),
            expected.into_iter().map(|(row, (verdict, _))| (row, verdict)).collect(),
        )
    }

    /// The key `revisions`, by canonical names.
    fn listed_revisions(
        &mut self,
        table: &DeTable<'_>,
    ) -> Option<Vec<(&'static str, Range<usize>)>> {
        let value = table.get("revisions")?;
        let mut listed: Vec<(&'static str, Range<usize>)> = Vec::new();
        for item in self.array(value, "revisions")?.iter() {
            let Some(name) = self.string(item, "revisions") else { continue };
            match canonical(self.rows, &name) {
                None => self.report(step::unknown_row(&name, item.span(), self.rows)),
                Some(row) if listed.iter().any(|(r, _)| *r == row.name) => {
                    self.report(Problem::at(
                        item.span(),
                        "again here",
                        format!("the revision `{}` is listed twice", row.name),
                        "an alias is the same revision; keep one",
                    ));
                }
                Some(row) => listed.push((row.name, item.span())),
            }
        }
        Some(listed)
    }

    fn verdict(&mut self, row: &str, value: &Value<'_>) -> Option<Expected> {
        let form = "\"Never\", { sometimes = \"splat\" } or { always = \"splat\" }";
        match value.get_ref() {
            DeValue::String(s) if s == "Never" => Some(Expected::Never),
            DeValue::String(s) => {
                let help = match nearest(s, ["Never"]) {
                    Some(n) => format!("did you mean \"{n}\"?"),
                    None => format!("a verdict is {form}; one that fails names the splat"),
                };
                self.report(Problem::at(
                    value.span(),
                    "not a verdict",
                    format!("\"{s}\" is not a verdict"),
                    help,
                ));
                None
            }
            DeValue::Table(t) if t.len() == 1 => {
                let (key, splat) = t.iter().next()?;
                let text = self.string(splat, key.get_ref())?;
                let verdict = match key.get_ref().as_ref() {
                    "sometimes" => Expected::Sometimes(text.clone()),
                    "always" => Expected::Always(text.clone()),
                    other => {
                        self.report(Problem::at(
                            key.span(),
                            "unknown",
                            format!("a verdict has no key `{other}`"),
                            suggest(other, &["sometimes", "always"], "its keys are"),
                        ));
                        return None;
                    }
                };
                if let Err(help) = verdict_text::can_be_printed(&text) {
                    self.report(Problem::at(
                        splat.span(),
                        "nothing prints this",
                        format!("the verdict of `{row}` is impossible"),
                        help,
                    ));
                    return None;
                }
                Some(verdict)
            }
            _ => {
                self.wrong_type(value, row, form);
                None
            }
        }
    }

    // ---- steps ----

    /// setup, the CPUs and finally, in this order.
    fn lists<'a>(&mut self, table: &'a DeTable<'_>) -> Vec<(List, Vec<&'a Value<'a>>)> {
        let mut lists = Vec::new();
        let setup = self.steps(table, "setup").unwrap_or_default();
        lists.push((List::Setup, setup));
        self.cpus(table, &mut lists);
        let finally = self.steps(table, "finally").unwrap_or_default();
        lists.push((List::Finally, finally));

        let total: usize = lists.iter().map(|(_, steps)| steps.len()).sum();
        if total > STEPS_MAX {
            self.report(Problem::whole(
                format!("the scenario has {total} steps"),
                format!("{STEPS_MAX} are allowed; a question is asked with a dozen"),
            ));
            lists.clear();
        }
        lists
    }

    fn steps<'a>(&mut self, table: &'a DeTable<'_>, key: &str) -> Option<Vec<&'a Value<'a>>> {
        let value = table.get(key)?;
        Some(self.array(value, key)?.iter().collect())
    }

    fn cpus<'a>(&mut self, table: &'a DeTable<'_>, lists: &mut Vec<(List, Vec<&'a Value<'a>>)>) {
        let Some(value) = table.get("cpu") else {
            self.report(Problem::at(
                0..0,
                "`[[cpu]]` is missing",
                "the scenario has no CPU",
                "add `[[cpu]]` with `steps = [\"…\"]`: one makes a story, two or more a race",
            ));
            return;
        };
        let DeValue::Array(cpus) = value.get_ref() else {
            self.wrong_type(value, "cpu", "a list of tables: write [[cpu]] with two brackets");
            return;
        };
        if cpus.is_empty() {
            self.report(Problem::at(
                value.span(),
                "nothing here",
                "the scenario has no CPU",
                "add `[[cpu]]` with `steps = [\"…\"]`",
            ));
        }
        for (n, value) in cpus.iter().enumerate() {
            if n == CPUS_MAX {
                self.report(Problem::at(
                    value.span(),
                    "one too many",
                    format!("the scenario has {} CPUs", cpus.len()),
                    format!("{CPUS_MAX} are the most; races show with 2 or 3"),
                ));
                return;
            }
            let Some(cpu) = self.table(value, "cpu") else { continue };
            self.unknown_keys(cpu, CPU_KEYS, "a [[cpu]]");
            if let Some(name) = cpu.get("name") {
                self.string(name, "name");
            }
            let steps = self.steps(cpu, "steps");
            if steps.as_ref().is_none_or(|s| s.is_empty()) {
                let at = cpu.get("steps").map_or(value.span(), |v| v.span());
                self.report(Problem::at(
                    at,
                    "no steps",
                    format!("CPU {n} has nothing to do"),
                    "give it a step, `steps = [\"IOMMU_DESTROY(a)\"]`, or leave the [[cpu]] out",
                ));
            }
            lists.push((List::Cpu(n), steps.unwrap_or_default()));
        }
    }

    fn program(
        &mut self,
        lists: &[(List, Vec<&Value<'_>>)],
        cpus: usize,
        revisions: &[String],
        scope: &mut Scope<'_>,
    ) -> (Program, Vec<Answers>) {
        let mut placed = Vec::new();
        for (list, values) in lists {
            for (index, value) in values.iter().enumerate() {
                if let Some(text) = self.step_text(value) {
                    match step::parse(&text) {
                        Ok(shape) => placed.push(Placed { list: *list, index, shape }),
                        Err(problem) => {
                            scope.declare_broken(&text, *list, index);
                            self.report(problem);
                        }
                    }
                }
            }
        }
        for p in &placed {
            scope.declare(&p.shape, p.list, p.index, &mut self.problems);
        }
        let mut program = Program { cpus: vec![Vec::new(); cpus], ..Program::default() };
        let mut answers = Vec::new();
        for p in &placed {
            let Some(resolved) = scope.resolve(&p.shape, p.list, p.index, &mut self.problems)
            else {
                continue;
            };
            self.rows_cover(&resolved.rows_named, revisions);
            answers.push(resolved.answers);
            match p.list {
                List::Setup => program.setup.push(resolved.step),
                List::Cpu(n) => program.cpus[n].push(resolved.step),
                List::Finally => program.finally.push(resolved.step),
            }
        }
        (program, answers)
    }

    fn step_text<'a>(&mut self, value: &'a Value<'_>) -> Option<Text<'a>> {
        let DeValue::String(s) = value.get_ref() else {
            self.wrong_type(value, "a step", "a text, \"CALL(argument) -> 0\"");
            return None;
        };
        // A string without escapes is a piece of the file itself; one with escapes was copied and
        // can only be pointed at as a whole.
        let start = (s.as_ptr() as usize)
            .checked_sub(self.text.as_ptr() as usize)
            .filter(|start| self.text.get(*start..start + s.len()) == Some(s));
        Some(Text { text: s, start, whole: value.span() })
    }

    /// Answers per revision: those that are named must run, those that run must be named.
    fn rows_cover(&mut self, rows_named: &[(&str, Range<usize>)], revisions: &[String]) {
        if rows_named.is_empty() {
            return;
        }
        let bases: BTreeSet<&str> = revisions
            .iter()
            .filter_map(|r| canonical(self.rows, r))
            .flat_map(|r| std::iter::once(r.name).chain(r.twin_of))
            .collect();
        for (row, at) in rows_named {
            if !bases.contains(row) && !revisions.is_empty() {
                self.report(Problem::at(
                    at.clone(),
                    "not run",
                    format!("answers for `{row}`, which is not run"),
                    "add a verdict for it, or leave its answers out",
                ));
            }
        }
        let named = |row: &str| rows_named.iter().any(|(r, _)| *r == row);
        for row in revisions {
            let twin_of = canonical(self.rows, row).and_then(|r| r.twin_of);
            if !named(row) && !twin_of.is_some_and(named) {
                let at = rows_named[0].1.clone();
                self.report(Problem::at(
                    at,
                    "these revisions have answers",
                    format!("the step does not say what `{row}` answers"),
                    format!("add `{row} = 0`, or write the answers once for all revisions"),
                ));
            }
        }
    }
}

/// Where a key stands.
fn key_span(table: &DeTable<'_>, key: &str) -> Option<Range<usize>> {
    table.get_key_value(key).map(|(k, _)| k.span())
}

/// The devices that the program needs. One that nobody describes sits in a group of its own,
/// behind the one IOMMU.
fn pdevs(scope: &Scope<'_>, devices: &BTreeMap<u64, Pdev>) -> Vec<Pdev> {
    let described = devices.keys().next_back().map_or(0, |n| n + 1);
    let highest = scope.pdevs_named.last().map_or(0, |n| n + 1);
    let at_once = scope.pdevs_named.len() as u64 + scope.pdevs_auto;
    let needed = described.max(highest).max(at_once);
    (0..needed.min(step::PDEVS_MAX))
        .map(|n| {
            let described = devices.get(&n).copied();
            described.unwrap_or(Pdev { group: n as u32, iommu: 0, vdevice_size: 0, reserved: None })
        })
        .collect()
}
