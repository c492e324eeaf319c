//! Changes one recorded answer at a time, and asks whether `answers` sees it.

use reports::answers::compare;
use scenarios::answers::Recording;
use serde_json::{json, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// What can be recorded of a step.
const KINDS: [&str; 11] = [
    "ret",
    "out",
    "entry_num_out",
    "sweep",
    "free",
    "rounds",
    "n",
    "words",
    "revents",
    "out_data_type",
    "data_out",
];

/// Changes each kind of answer of each operation once, and what was printed once. Gives the number
/// of changes.
///
/// # Errors
///
/// The changes that were not seen, or not at their step.
pub fn changes(text: &str, row: &str) -> Result<usize, String> {
    let mut sequences: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for line in text.lines() {
        let value: Value = serde_json::from_str(line).map_err(|e| e.to_string())?;
        let name = value["scenario"].as_str().unwrap_or_default().to_string();
        sequences.entry(name).or_default().push(value);
    }
    let mut done = BTreeSet::new();
    let mut unseen = String::new();
    for (name, lines) in &sequences {
        for (at, line) in lines.iter().enumerate() {
            let op = line["op"].as_str().unwrap_or_default();
            for kind in if op == "end" { &["kmsg"][..] } else { &KINDS[..] } {
                if done.contains(&(op.to_string(), *kind)) {
                    continue;
                }
                let Some(changed) = changed(line, op, kind) else { continue };
                done.insert((op.to_string(), *kind));
                let mut with = lines.clone();
                with[at] = changed;
                let step = (op != "end").then_some(at + 1);
                if let Err(e) = seen(&with, row, step) {
                    let _ = writeln!(unseen, "{name}, step {}, {op}, {kind}: {e}", at + 1);
                }
            }
        }
    }
    if unseen.is_empty() {
        Ok(done.len())
    } else {
        Err(unseen)
    }
}

/// The line with another answer of this kind, if it has one that is compared.
fn changed(line: &Value, op: &str, kind: &str) -> Option<Value> {
    let mut line = line.clone();
    // The recorder's own, not the kernel's.
    let pollnval = op == "poll" && line["revents"] == 32;
    if op == "close" && line["ret"] != "OK" || line["ret"] == "EBADF" || pollnval {
        return None;
    }
    let more = |value: &Value| -> Option<Value> {
        match value {
            Value::String(text) => Some(json!(text.parse::<i64>().ok()? + 1)),
            number => Some(json!(number.as_i64()? + 1)),
        }
    };
    match kind {
        // A drain goes on until nothing moves, whatever the last answer.
        "ret" if op == "drain" => return None,
        "ret" => line["ret"] = json!(if line["ret"] == "EPERM" { "OK" } else { "EPERM" }),
        // The number of a descriptor says nothing.
        "out" if op == "create_access" => return None,
        "out" => {
            let id = line.get_mut("out")?.as_object_mut()?.values_mut().next()?;
            *id = more(id)?;
        }
        "sweep" => injections(&mut line)?.for_each(|one| one["ret"] = json!("EPERM")),
        "free" => {
            let mut some = false;
            for one in injections(&mut line)? {
                if let Some(id) = one.get("next_free_id").filter(|id| !id.is_null()).cloned() {
                    one["next_free_id"] = more(&id)?;
                    some = true;
                }
            }
            return some.then_some(line);
        }
        "rounds" => {
            let first = line.get_mut("rounds")?.as_array_mut()?.first_mut()?.as_object_mut()?;
            *first.values_mut().next()? = json!("EPERM");
        }
        "words" => line.get_mut("words")?.as_array_mut()?.push(json!(7)),
        "revents" => {
            let revents = match line.get("revents")? {
                Value::String(text) => text.parse::<u64>().ok()?,
                number => number.as_u64()?,
            };
            line["revents"] = json!(revents ^ 1);
        }
        "out_data_type" if line["ret"] == "OK" => {
            line.get("out_data_type")?;
            line["out_data_type"] = json!(1);
        }
        "data_out" => {
            let data = line.get("data_out")?.as_str()?.replace('0', "1");
            line["data_out"] = json!(data);
        }
        "kmsg" => {
            line["kmsg"] = json!(["WARNING: CPU: 0 PID: 1 at drivers/iommu/iommufd/main.c:1"])
        }
        "entry_num_out" | "n" => {
            let value = more(line.get(kind)?)?;
            line[kind] = value;
        }
        _ => return None,
    }
    Some(line)
}

/// The injected failures of a sweep.
fn injections(line: &mut Value) -> Option<impl Iterator<Item = &mut Value>> {
    Some(line.get_mut("sweep")?.as_array_mut()?.iter_mut())
}

/// Whether the row differs at this step from these lines; `None`: in what was printed.
fn seen(lines: &[Value], row: &str, step: Option<usize>) -> Result<(), String> {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    let recording = Recording::parse("changed", &text).map_err(|e| format!("{e:?}"))?;
    let compared = compare(&recording, row, &[]).map_err(|e| format!("{e:?}"))?;
    match compared.first().and_then(|c| c.difference.as_ref()) {
        None => Err("nothing differs".to_string()),
        Some(d) if d.step != step => Err(format!("step {:?} differs", d.step)),
        Some(_) => Ok(()),
    }
}
