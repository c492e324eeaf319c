//! A scenario with a `[queue]`: a program on the SMMUv3 command queue.

use super::{key_span, Reader, Value, STEPS_MAX};
use crate::error::{suggest, Problem};
use crate::step::{self, List};
use crate::{Answers, Findings, Scenario};
use toml::de::{DeTable, DeValue};
use uapi::pick::{ModelError, Subject};
use uapi::program::Program;
use uapi::queue::{Completion, Expect, Fault, Queue, QueueKind, Secondary, Vsmmu, Without};
use uapi::step::CPUS_MAX;

/// Keys of a file with a queue, in the order in which they are best written.
pub(crate) const KEYS: &[&str] =
    &["question", "source", "notes", "canary", "revisions", "queue", "cpu", "verdict", "bounds"];
/// Keys of `[queue]`.
pub(crate) const QUEUE_KEYS: &[&str] = &[
    "log2size",
    "word",
    "start",
    "completion",
    "faults",
    "published",
    "overtaken_max",
    "repeat_tlbi_cfgi",
    "secondary",
    "vsmmu",
];
/// Keys of `vsmmu`.
pub(crate) const VSMMU_KEYS: &[&str] = &["vmid", "vdevs", "without"];
/// Keys of an entry of `vdevs`.
pub(crate) const VDEV_KEYS: &[&str] = &["vsid", "sid"];
/// Keys of `secondary`.
pub(crate) const SECONDARY_KEYS: &[&str] = &["kind", "queues"];
/// How a CMD_SYNC is waited for.
pub(crate) const COMPLETIONS: &[(&str, Completion)] =
    &[("cons", Completion::Cons), ("msi", Completion::Msi)];
/// What a secondary queue is.
pub(crate) const KINDS: &[(&str, QueueKind)] =
    &[("ecmdq", QueueKind::Ecmdq), ("vcmdq", QueueKind::GuestVcmdq)];
/// What an SMMU may be without, by the names of its ID registers.
pub(crate) const WITHOUT: &[(&str, Without)] = &[
    ("ASID16", Without::Asid16),
    ("ATS", Without::Ats),
    ("RIL", Without::Ril),
    ("SSIDSIZE", Without::SubstreamIds),
];
/// A kind of fault, and what makes one of the number of a command.
type FaultKind = (&'static str, fn(u32) -> Fault);
/// What goes wrong, at which command.
pub(crate) const FAULTS: &[FaultKind] =
    &[("abort", Fault::Abort), ("atc_timeout", Fault::AtcTimeout), ("dead", Fault::Dead)];

/// Faults of one program.
const FAULTS_MAX: usize = 64;
/// vDEVICEs of one vSMMU.
const VDEVS_MAX: usize = 64;

impl Reader<'_, '_> {
    /// As [`Reader::scenario`], of a file with a queue.
    pub(super) fn queue_scenario(&mut self, name: &str, table: &DeTable<'_>) -> Option<Scenario> {
        self.unknown_keys(table, KEYS, "a scenario of a queue");
        let (question, source, notes) = self.words(table);
        let canary = table.get("canary").and_then(|v| self.boolean(v, "canary")).unwrap_or(false);
        let bounds = self.bounds(table);
        let (revisions, expected) = self.verdicts(table);
        let mut queue = self.queue(table.get("queue")?);
        let answers = self.requests(table, &revisions, &mut queue);
        self.explorers_suit(table, &bounds, queue.as_ref().map_or(0, Queue::cpus));
        self.canary_fails(table, canary, &expected);
        let queue = queue.filter(|queue| self.is_run(table, queue, &revisions));
        Some(Scenario {
            name: name.to_string(),
            path: None,
            text: self.text.to_string(),
            question: question?,
            source: source?,
            notes,
            revisions,
            expected,
            findings: Findings::default(),
            bounds,
            canary,
            program: Program::default(),
            queue: Some(queue?),
            answers,
            rows: self.rows.to_vec(),
        })
    }

    /// `[queue]`, without its CPUs.
    fn queue(&mut self, value: &Value<'_>) -> Option<Queue> {
        let fields = self.table(value, "queue")?;
        self.unknown_keys(fields, QUEUE_KEYS, "[queue]");
        let (byte, word) = (u64::from(u8::MAX), u64::from(u32::MAX));
        let mut number = |key: &str, default: u64, most: u64| match fields.get(key) {
            None => default,
            Some(v) => self.integer(v, key, 0, most).unwrap_or(default),
        };
        let mut queue = Queue {
            log2size: number("log2size", 3, byte) as u8,
            word: number("word", 4, byte) as u8,
            start: number("start", 0, word) as u32,
            overtaken_max: number("overtaken_max", 0, byte) as u8,
            ..Queue::default()
        };
        if fields.get("published").is_some() {
            queue.published = Some(number("published", 0, byte) as u8);
        }
        let help = "\"cons\": a CPU polls CONS until its CMD_SYNC is consumed; \"msi\": it spins \
                    on the word that the SMMU writes";
        queue.completion = self.word(fields, "completion", COMPLETIONS, help).unwrap_or_default();
        if let Some(v) = fields.get("repeat_tlbi_cfgi") {
            queue.repeat_tlbi_cfgi = self.boolean(v, "repeat_tlbi_cfgi").unwrap_or(false);
        }
        queue.faults = fields.get("faults").map_or(Vec::new(), |v| self.faults(v));
        queue.secondary = fields.get("secondary").and_then(|v| self.secondary(v));
        queue.vsmmu = fields.get("vsmmu").and_then(|v| self.vsmmu(v));
        Some(queue)
    }

    fn faults(&mut self, value: &Value<'_>) -> Vec<Fault> {
        let form = "a list such as [{ abort = 1 }, { atc_timeout = 0 }, { dead = 4 }]: at which \
                    command that the SMMU consumes, from 0";
        let DeValue::Array(list) = value.get_ref() else {
            self.wrong_type(value, "faults", form);
            return Vec::new();
        };
        self.few(value, "faults", list.len(), FAULTS_MAX);
        let mut faults = Vec::new();
        for item in list.iter().take(FAULTS_MAX) {
            let one = match item.get_ref() {
                DeValue::Table(t) if t.len() == 1 => t.iter().next(),
                _ => None,
            };
            let Some((key, at)) = one else {
                self.wrong_type(item, "a fault", form);
                continue;
            };
            let name: &str = key.get_ref();
            match FAULTS.iter().find(|(fault, _)| *fault == name) {
                Some((_, fault)) => {
                    let at = self.integer(at, name, 0, u64::from(u32::MAX));
                    faults.extend(at.map(|at| fault(at as u32)));
                }
                None => {
                    let names: Vec<&str> = FAULTS.iter().map(|(fault, _)| *fault).collect();
                    self.report(Problem::at(
                        key.span(),
                        "unknown",
                        format!("there is no fault `{name}`"),
                        suggest(name, &names, "the faults are"),
                    ));
                }
            }
        }
        faults
    }

    fn secondary(&mut self, value: &Value<'_>) -> Option<Secondary> {
        let fields = self.table(value, "secondary")?;
        self.unknown_keys(fields, SECONDARY_KEYS, "secondary");
        let help = "\"ecmdq\": an enhanced command queue; \"vcmdq\": one of Tegra241's virtual \
                    queues, as a guest owns it";
        let kind = self.word(fields, "kind", KINDS, help);
        let queues = match fields.get("queues") {
            Some(v) => self.integer(v, "queues", 1, CPUS_MAX as u64),
            None => Some(1),
        };
        if fields.get("kind").is_none() {
            self.report(Problem::at(
                value.span(),
                "incomplete",
                "`secondary` does not say what the queues are",
                format!("add `kind`: {help}"),
            ));
        }
        Some(Secondary { kind: kind?, queues: queues? as u8 })
    }

    fn vsmmu(&mut self, value: &Value<'_>) -> Option<Vsmmu> {
        let fields = self.table(value, "vsmmu")?;
        self.unknown_keys(fields, VSMMU_KEYS, "vsmmu");
        let vmid = match fields.get("vmid") {
            Some(v) => self.integer(v, "vmid", 0, u64::from(u16::MAX)).unwrap_or(0),
            None => 0,
        };
        let mut vsmmu = Vsmmu { vmid: vmid as u16, ..Vsmmu::default() };
        if let Some(v) = fields.get("vdevs") {
            vsmmu.vdevs = self.vdevs(v);
        }
        if let Some(v) = fields.get("without") {
            for item in self.array(v, "without")?.iter() {
                let Some(name) = self.string(item, "without") else { continue };
                match WITHOUT.iter().find(|(feature, _)| *feature == name) {
                    Some((_, feature)) if vsmmu.without.contains(feature) => {}
                    Some((_, feature)) => vsmmu.without.push(*feature),
                    None => {
                        let names: Vec<&str> = WITHOUT.iter().map(|(name, _)| *name).collect();
                        self.report(Problem::at(
                            item.span(),
                            "unknown",
                            format!("an SMMU cannot be without `{name}`"),
                            suggest(&name, &names, "it can be without"),
                        ));
                    }
                }
            }
        }
        Some(vsmmu)
    }

    fn vdevs(&mut self, value: &Value<'_>) -> Vec<(u32, u32)> {
        let form = "a list of vDEVICEs, [{ vsid = 0x99, sid = 0x40 }]";
        let DeValue::Array(list) = value.get_ref() else {
            self.wrong_type(value, "vdevs", form);
            return Vec::new();
        };
        self.few(value, "vdevs", list.len(), VDEVS_MAX);
        let mut vdevs = Vec::new();
        for item in list.iter().take(VDEVS_MAX) {
            let Some(fields) = self.table(item, "a vDEVICE") else { continue };
            self.unknown_keys(fields, VDEV_KEYS, "a vDEVICE");
            let (Some(vsid), Some(sid)) = (fields.get("vsid"), fields.get("sid")) else {
                self.report(Problem::at(
                    item.span(),
                    "incomplete",
                    "a vDEVICE has a `vsid` and a `sid`",
                    format!("write {form}"),
                ));
                continue;
            };
            let most = u64::from(u32::MAX);
            let ids = (self.integer(vsid, "vsid", 0, most), self.integer(sid, "sid", 0, most));
            if let (Some(vsid), Some(sid)) = ids {
                vdevs.push((vsid as u32, sid as u32));
            }
        }
        vdevs
    }

    fn few(&mut self, value: &Value<'_>, key: &str, there: usize, most: usize) {
        if there > most {
            self.report(Problem::at(
                value.span(),
                "too many",
                format!("`{key}` has {there} entries"),
                format!("{most} are the most"),
            ));
        }
    }

    /// The requests of the CPUs, with what they may answer, in the order of the file.
    fn requests(
        &mut self,
        table: &DeTable<'_>,
        revisions: &[String],
        queue: &mut Option<Queue>,
    ) -> Vec<Answers> {
        let mut lists = Vec::new();
        self.cpus(table, &mut lists);
        let total: usize = lists.iter().map(|(_, steps)| steps.len()).sum();
        if total > STEPS_MAX {
            self.report(Problem::whole(
                format!("the scenario has {total} steps"),
                format!("{STEPS_MAX} are allowed; a question is asked with a dozen"),
            ));
            return Vec::new();
        }
        let mut answers = Vec::new();
        for (list, values) in &lists {
            let List::Cpu(cpu) = list else { continue };
            let mut requests = Vec::new();
            for value in values {
                let Some(text) = self.step_text(value) else { continue };
                let shape = match step::parse(&text) {
                    Ok(shape) => shape,
                    Err(problem) => {
                        self.report(problem);
                        continue;
                    }
                };
                let resolved = step::request::resolve(&shape, self.rows, &mut self.problems);
                let Some(resolved) = resolved else { continue };
                self.rows_cover(&resolved.rows_named, revisions);
                if let Some(queue) = queue {
                    queue.expect.push(Expect {
                        cpu: *cpu as u8,
                        index: requests.len() as u32,
                        rets: Vec::new(),
                        entry_num: resolved.entry_num,
                    });
                }
                answers.push(resolved.answers);
                requests.push(resolved.request);
            }
            if let Some(queue) = queue {
                queue.cpus.push(requests);
            }
        }
        answers
    }

    /// Whether the program is consistent, and every row takes it.
    fn is_run(&mut self, table: &DeTable<'_>, queue: &Queue, revisions: &[String]) -> bool {
        // What else is wrong may be the reason.
        if !self.problems.is_empty() {
            return true;
        }
        if let Err(what) = queue.check() {
            let at = key_span(table, "queue").unwrap_or(0..0);
            self.report(Problem::at(
                at,
                "this queue",
                format!("the program does not fit its queue: {what}"),
                "scenarios/README.md, \"The command queue\", says what fits what",
            ));
            return false;
        }
        for row in revisions {
            let subject = Subject::Queue { program: queue.clone(), revision: row.clone() };
            if let Err(e) = model_native::check(&subject) {
                let what = match e {
                    ModelError::Malformed(what) => what,
                    other => other.to_string(),
                };
                let verdicts = table.get("verdict").map(|v| v.get_ref());
                let at = match verdicts {
                    Some(DeValue::Table(t)) => key_span(t, row),
                    _ => None,
                };
                self.report(Problem::at(
                    at.unwrap_or(0..0),
                    "on this row",
                    format!("`{row}` cannot run this program: {what}"),
                    "change the program, or leave the row out of [verdict]",
                ));
            }
        }
        self.problems.is_empty()
    }
}
