//! The format as a JSON Schema, for editors.
//!
//! The structs are the schema's only: the reader (`file.rs`) walks the TOML itself, so that it can
//! say more than serde would. A test holds the two together: every scenario of the checkout has to
//! deserialize into [`File`], and the keys have to be those of the reader.

// The fields are read by the derives only.
#![allow(dead_code)]

use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use uapi::call::SIGNATURES;

use crate::step::request::FORMS;

/// A scenario of iommufd-testbed: one question, the program that asks it, and the answer per
/// revision.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "iommufd-testbed scenario")]
pub(crate) struct File {
    /// What is asked, one sentence.
    #[schemars(length(min = 1))]
    pub question: String,
    /// Who asked, or where the behaviour comes from: Message-ID, commit, selftest, R-number.
    #[schemars(length(min = 1))]
    pub source: String,
    /// Why the answer is what it is.
    pub notes: Option<String>,
    /// Every explorer has to find the failure of every row that is not `Never`.
    #[serde(default)]
    pub canary: bool,
    /// When timers fire: only when no CPU can run, or at any moment (every expiry is a branch).
    pub timers: Option<Timers>,
    /// What the operations on a `refcount_t` order.
    pub orders: Option<Orders>,
    /// Splats that the question starts behind: they do not count. Only those after which the
    /// kernel goes on, such as `WARNING: at iommufd_device_unbind`.
    pub given: Option<Vec<String>>,
    /// A step of the model that is done otherwise: a canary for a checker that no row breaks.
    pub mutant: Option<Mutant>,
    /// Rows to run; without it, those of `verdict`.
    pub revisions: Option<Vec<String>>,
    /// The SMMUv3 command queue that the program is for; its CPUs issue commands.
    pub queue: Option<Queue>,
    /// Physical devices that are not in a group of their own behind the first IOMMU.
    #[serde(default)]
    pub devices: BTreeMap<Pdev, Device>,
    /// Steps that run first, on one CPU.
    #[serde(default)]
    pub setup: Vec<Step>,
    /// One CPU makes a story, two or more a race.
    #[schemars(length(min = 1, max = 8))]
    pub cpu: Vec<Cpu>,
    /// Steps that run after all CPUs have finished, on one CPU.
    #[serde(default)]
    pub finally: Vec<Step>,
    /// The recorded verdict of each revision (name or alias).
    pub verdict: BTreeMap<String, Verdict>,
    /// What an exhaustive search finds beside splats.
    pub findings: Option<Findings>,
    /// How far the explorers go.
    pub bounds: Option<Bounds>,
}

/// One step: `name = CALL(argument, …) [option] -> 0 | -EEXIST`.
#[derive(Deserialize)]
#[serde(transparent)]
pub(crate) struct Step(pub String);

impl JsonSchema for Step {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Step".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let calls: BTreeSet<&str> =
            SIGNATURES.iter().map(|s| s.name).chain(FORMS.iter().map(|form| form.name)).collect();
        let calls: Vec<&str> = calls.into_iter().collect();
        let pattern = format!(
            r"^\s*(\w+(\s*,\s*\w+)*\s*=\s*)?({})\s*(\(.*\))?\s*(\[.*\])?\s*(->.+)?$",
            calls.join("|")
        );
        schemars::json_schema!({
            "type": "string",
            "description": "`name, name = CALL(argument, name = value, …) [option, …] -> 0 | -EEXIST`; \
                            all but CALL can be left out. Answers per revision: \
                            `-> { linux_6_13 = 0, linux_6_17 = -ENOENT }`.",
            "pattern": pattern,
        })
    }
}

/// A command queue, and what goes wrong in the SMMU that consumes it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Queue {
    /// The ring has 2^n entries; without it, 8.
    #[schemars(range(max = 10))]
    pub log2size: Option<u8>,
    /// Bits in a word of the valid map, and entries in a batch: a power of two, at most half of the
    /// ring; without it, 4.
    pub word: Option<u8>,
    /// Commands that have gone through the ring before.
    pub start: Option<u32>,
    /// How CMD_SYNCs are waited for; without it, by polling CONS.
    pub completion: Option<Completion>,
    /// What goes wrong, once, at the n-th command that the SMMU consumes (from 0).
    #[serde(default)]
    pub faults: Vec<Fault>,
    /// A CPU whose first step, a list with a CMD_SYNC, is published before anybody runs.
    pub published: Option<u8>,
    /// How often a CPU that waits for the shared lock may be overtaken.
    pub overtaken_max: Option<u8>,
    /// Erratum T264-SMMU-3: an entry can survive the first of two invalidations.
    pub repeat_tlbi_cfgi: Option<bool>,
    /// The queues beside the main one.
    pub secondary: Option<Secondary>,
    /// The vSMMU of a guest.
    pub vsmmu: Option<Vsmmu>,
}

/// How a CPU waits for its CMD_SYNC.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Completion {
    /// It polls CONS.
    Cons,
    /// It spins on the word that the SMMU writes.
    Msi,
}

/// What goes wrong, at which command.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fault {
    /// Its fetch is aborted.
    Abort(u32),
    /// It is an ATC_INV, and the endpoint does not answer in time.
    AtcTimeout(u32),
    /// The SMMU stops for good before it.
    Dead(u32),
}

/// Queues beside the main one, each as large as it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Secondary {
    /// What they are.
    pub kind: QueueKind,
    /// How many; without it, one.
    pub queues: Option<u8>,
}

/// What a queue beside the main one is.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum QueueKind {
    /// An enhanced command queue.
    Ecmdq,
    /// One of Tegra241's virtual queues, as a guest owns it.
    Vcmdq,
}

/// A vSMMU, through which guests invalidate.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Vsmmu {
    /// The VMID that the host gave to the VM; without it, 0.
    pub vmid: Option<u16>,
    /// Its vDEVICEs.
    #[serde(default)]
    pub vdevs: Vec<Vdev>,
    /// What the physical SMMU behind it does not have.
    #[serde(default)]
    pub without: Vec<Without>,
}

/// A vDEVICE: virtual and physical StreamID.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Vdev {
    /// The virtual StreamID.
    pub vsid: u32,
    /// The StreamID of the device.
    pub sid: u32,
}

/// What an SMMU may be without, by its ID registers.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Without {
    /// 16-bit ASIDs (IDR0).
    Asid16,
    /// Address translation services (IDR0).
    Ats,
    /// Range invalidation (IDR3).
    Ril,
    /// SubstreamIDs (IDR1.SSIDSIZE is 0).
    Ssidsize,
}

/// `pdev0` to `pdev7`
#[derive(Deserialize, PartialEq, Eq, PartialOrd, Ord)]
#[serde(transparent)]
pub(crate) struct Pdev(pub String);

impl JsonSchema for Pdev {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Pdev".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^pdev[0-7]$" })
    }
}

/// A physical device.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Device {
    /// Number of its IOMMU group; without it, a group of its own.
    pub group: Option<u32>,
    /// Number of the IOMMU that it sits behind; without it, 0.
    pub iommu: Option<u32>,
    /// Bytes of a vDEVICE that the driver of that IOMMU asks for; without it, 0: the driver has
    /// none of its own.
    pub vdevice_size: Option<u32>,
    /// The first and the last IOVA that its IOMMU reserves for it; without it, none.
    #[schemars(length(equal = 2))]
    pub reserved: Option<Vec<u64>>,
}

/// One CPU.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cpu {
    /// What it does, for the reader.
    pub name: Option<String>,
    /// Its steps, in order.
    #[schemars(length(min = 1))]
    pub steps: Vec<Step>,
}

/// When timers fire.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Timers {
    /// Only when no CPU can run.
    Idle,
    /// At any moment.
    Any,
}

/// What the operations on a `refcount_t` order.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Orders {
    /// Whoever meets what a decrement left behind is ordered after it.
    Lkmm,
    /// What its functions say and no more.
    Strict,
}

/// What is recorded for a revision.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
pub(crate) enum Verdict {
    /// No execution fails.
    Never(Never),
    /// Some or all do.
    Fails(Fails),
}

/// The word.
#[derive(Deserialize, JsonSchema)]
pub(crate) enum Never {
    /// No execution fails.
    Never,
}

/// The first splat of the failing executions contains the text.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Fails {
    /// Some executions fail.
    Sometimes(String),
    /// All executions fail.
    Always(String),
}

/// A step of the model that is done otherwise; `iommufd-testbed mutate --list` shows them.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Mutant {
    /// File, C function, primitive, and which call of it in the function.
    pub site: String,
    /// What is done instead: `omit`, `repeat`, `defer`, …
    pub change: String,
}

/// What an exhaustive search finds beside splats: the rows on which it does.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Findings {
    /// A sleeper's timer fires although what it waited for had already happened.
    #[serde(default)]
    pub late_wakeup: Vec<String>,
    /// The answers of some execution are those of no order of whole calls.
    #[serde(default)]
    pub unexplained: Vec<String>,
}

/// How far the explorers go; what is left out has the default of the explorer.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bounds {
    /// Steps after which one execution is given up.
    #[schemars(range(min = 1))]
    pub steps: Option<u32>,
    /// Executions after which the deciding explorer gives up.
    #[schemars(range(min = 1))]
    pub executions: Option<u64>,
    /// Preemptions per execution.
    pub preemptions: Option<u32>,
    /// Executions per random sampler.
    #[schemars(range(min = 1))]
    pub samples: Option<u64>,
    /// Whether freed addresses are handed out again.
    pub heap: Option<Heap>,
    /// Which explorers run; without it, every one that suits.
    #[schemars(length(min = 1))]
    pub explorers: Option<Vec<Explorer>>,
}

/// Whether freed addresses are handed out again.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Heap {
    /// Both ways, where it matters.
    Auto,
    /// At once.
    Recycle,
    /// Never.
    Fresh,
}

/// An explorer.
#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Explorer {
    /// Dynamic partial-order reduction: decides.
    Dpor,
    /// Shuttle's random schedulers.
    Shuttle,
    /// Loom; at most 4 CPUs.
    Loom,
}

/// The JSON Schema of a scenario file.
pub fn schema() -> serde_json::Value {
    schemars::schema_for!(File).to_value()
}

#[cfg(test)]
mod tests {
    use super::{schema, File};
    use crate::file::{
        queue, BOUNDS_KEYS, CPU_KEYS, DEVICE_KEYS, FINDINGS_KEYS, KEYS, MUTANT_KEYS,
    };
    use std::collections::BTreeSet;
    use std::path::Path;

    /// Keys of an object of the schema; `place` is a JSON pointer to it.
    fn keys(place: &str) -> BTreeSet<String> {
        let schema = schema();
        let properties = schema.pointer(&format!("{place}/properties"));
        let object = properties.and_then(|p| p.as_object()).expect("an object with properties");
        object.keys().cloned().collect()
    }

    #[test]
    fn the_schema_has_the_keys_of_the_reader() {
        let set =
            |keys: &[&str]| -> BTreeSet<String> { keys.iter().map(ToString::to_string).collect() };
        assert_eq!(keys(""), set(KEYS));
        assert_eq!(keys("/$defs/Cpu"), set(CPU_KEYS));
        assert_eq!(keys("/$defs/Bounds"), set(BOUNDS_KEYS));
        assert_eq!(keys("/$defs/Findings"), set(FINDINGS_KEYS));
        assert_eq!(keys("/$defs/Mutant"), set(MUTANT_KEYS));
        assert_eq!(keys("/$defs/Device"), set(DEVICE_KEYS));
        assert_eq!(keys("/$defs/Queue"), set(queue::QUEUE_KEYS));
        assert_eq!(keys("/$defs/Vsmmu"), set(queue::VSMMU_KEYS));
        assert_eq!(keys("/$defs/Vdev"), set(queue::VDEV_KEYS));
        assert_eq!(keys("/$defs/Secondary"), set(queue::SECONDARY_KEYS));
        assert!(queue::KEYS.iter().all(|key| KEYS.contains(key)));
    }

    #[test]
    fn every_scenario_fits_the_schema() {
        let mut files = 0;
        for dir in ["races", "stories", "canary", "queue"] {
            let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join(dir);
            for entry in std::fs::read_dir(dir).expect("a directory of scenarios") {
                let path = entry.expect("an entry").path();
                let text = std::fs::read_to_string(&path).expect("a text file");
                if let Err(e) = toml::from_str::<File>(&text) {
                    panic!("{}: {e}", path.display());
                }
                files += 1;
            }
        }
        assert!(files > 80, "{files} files");
    }
}
