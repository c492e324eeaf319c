//! One test per row and sequence of `scenarios/answers/derived.txt`: what no recording shows and
//! the kernel's sources say. Run one with `cargo test --test derived NAME`.
//!
//! The sequences become lines of a recording first, so they go the way that a recording goes.

#[path = "support/notice.rs"]
mod notice;

use libtest_mimic::{Arguments, Failed, Trial};
use reports::answers::{compare, Compared};
use scenarios::answers::Recording;
use serde_json::{json, Map, Value};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;
use std::process::ExitCode;

/// The columns of the answers, and the rows that they stand for.
const ROWS: [(&str, &str); 3] =
    [("6.12", "linux_6_12"), ("6.13", "linux_6_13"), ("7.3", "linux_7_3")];

/// Operations whose first word without a key is the name of a file.
const FILE_OPS: [(&str, &str); 5] =
    [("open", "name"), ("close", "name"), ("reopen", "name"), ("read", "fd"), ("poll", "fd")];

/// One sequence.
struct Derived {
    name: String,
    /// For which columns it is.
    rows: Vec<String>,
    /// Its steps, with the answers.
    steps: Vec<String>,
    /// What a kernel prints, by column.
    kmsg: BTreeMap<String, Vec<String>>,
}

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let trials = match trials() {
        Ok(trials) => trials,
        Err(e) => vec![Trial::test("reads", || Err(Failed::from(e)))],
    };
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trials() -> Result<Vec<Trial>, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/answers/derived.txt");
    let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let sequences = sequences(&text)?;
    let mut trials = Vec::new();
    for (column, row) in ROWS {
        let lines = recording(&sequences, column)?;
        let recording = Recording::parse("derived.txt", &lines)
            .map_err(|e| format!("{column}: {:?}", miette::Report::new(e)))?;
        let compared = compare(&recording, row, &[]).map_err(|e| format!("{row}: {e:?}"))?;
        if compared.len() < 50 {
            return Err(format!("{column} has {} sequences: it is cut short", compared.len()));
        }
        trials.push(Trial::test(format!("{row}::a_changed_answer_is_seen"), move || {
            match notice::changes(&lines, row)? {
                0..40 => Err(Failed::from("there is little to change")),
                _ => Ok(()),
            }
        }));
        trials.extend(compared.into_iter().map(|c| {
            Trial::test(format!("{row}::{}", c.sequence), move || agrees(&c).map_err(Failed::from))
        }));
    }
    Ok(trials)
}

fn agrees(compared: &Compared) -> Result<(), String> {
    match &compared.difference {
        None => Ok(()),
        Some(d) => Err(format!("{}\n  derived:   {}\n  the model: {}", d.text, d.kernel, d.model)),
    }
}

/// Reads the file: blocks of steps that many sequences begin with, and the sequences.
fn sequences(text: &str) -> Result<Vec<Derived>, String> {
    let mut blocks: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut sequences: Vec<Derived> = Vec::new();
    let mut block: Option<String> = None;
    for line in text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        if word == "block" {
            block = Some(rest.to_string());
        } else if word == "scenario" {
            block = None;
            let (name, on) = rest.split_once(" on ").unwrap_or((rest, "6.12 6.13 7.3"));
            sequences.push(Derived {
                name: name.to_string(),
                rows: on.split(' ').map(str::to_string).collect(),
                steps: Vec::new(),
                kmsg: BTreeMap::new(),
            });
        } else if let Some(name) = &block {
            blocks.entry(name.clone()).or_default().push(line.to_string());
        } else {
            let sequence = sequences.last_mut().ok_or_else(|| format!("`{line}` is in nothing"))?;
            if let Some(names) = line.strip_prefix('@') {
                for name in names.split(' ') {
                    let steps = blocks.get(name).ok_or_else(|| format!("no block {name}"))?;
                    sequence.steps.extend(steps.iter().cloned());
                }
            } else if word == "kmsg" {
                let (row, printed) = rest.split_once(' ').ok_or("kmsg without a row")?;
                sequence.kmsg.entry(row.to_string()).or_default().push(printed.to_string());
            } else {
                sequence.steps.push(line.to_string());
            }
        }
    }
    Ok(sequences)
}

/// The lines of a recording with the answers of one column.
fn recording(sequences: &[Derived], column: &str) -> Result<String, String> {
    let mut lines = String::new();
    for sequence in sequences.iter().filter(|s| s.rows.iter().any(|row| row == column)) {
        for (step, text) in (1..).zip(&sequence.steps) {
            let mut line =
                step_line(text, column).map_err(|e| format!("{}: `{text}`: {e}", sequence.name))?;
            line.insert("scenario".to_string(), json!(sequence.name));
            line.insert("step".to_string(), json!(step));
            let _ = writeln!(lines, "{}", Value::Object(line));
        }
        let kmsg = sequence.kmsg.get(column).cloned().unwrap_or_default();
        let end = json!({"scenario": sequence.name, "op": "end", "kmsg": kmsg});
        let _ = writeln!(lines, "{end}");
    }
    Ok(lines)
}

/// `op key=value … -> names = answers`, one answer for all columns or one for each.
fn step_line(text: &str, column: &str) -> Result<Map<String, Value>, String> {
    let (step, answers) = text.split_once(" = ").ok_or("it has no answer")?;
    let answers: Vec<&str> = answers.split('|').map(str::trim).collect();
    let at = ROWS.iter().position(|(c, _)| *c == column).unwrap_or(0);
    let answer = match answers.len() {
        1 => answers[0],
        // The old contract and the new one.
        2 => answers[usize::from(column == "7.3")],
        3 => answers[at],
        n => return Err(format!("{n} answers")),
    };

    let mut words = step.split(" -> ").next().unwrap_or("").split(' ');
    let op = words.next().unwrap_or("");
    let mut args = Map::new();
    for word in words {
        let (key, value) = match (word.split_once('='), word) {
            (Some(pair), _) => pair,
            (None, "ro") => ("user_struct", "read_only_page"),
            (None, "sweep" | "badptr") => (word, "1"),
            // The recorder does not write down how much it reads.
            (None, count) if op == "read" && count.parse::<u32>().is_ok() => continue,
            (None, file) => {
                let key = FILE_OPS.iter().find(|(name, _)| *name == op);
                (key.ok_or_else(|| format!("`{word}` has no key"))?.1, file)
            }
        };
        args.insert(key.to_string(), json!(value));
    }
    let mut line = answer_keys(answer)?;
    line.insert("op".to_string(), json!(op));
    line.insert("args".to_string(), Value::Object(args));
    Ok(line)
}

/// `OK name:id key=value …`, as the keys of a recorded step.
fn answer_keys(answer: &str) -> Result<Map<String, Value>, String> {
    let mut words = answer.split(' ');
    let ret = words.next().unwrap_or("");
    let mut line = Map::new();
    let mut out = Map::new();
    let list = |text: &str| -> Vec<String> {
        text.split(',').filter(|w| !w.is_empty()).map(str::to_string).collect()
    };
    let mut free: Vec<String> = Vec::new();
    for word in words {
        if let Some((name, id)) = word.split_once(':') {
            out.insert(name.to_string(), json!(id));
            continue;
        }
        let (key, value) = word.split_once('=').ok_or_else(|| format!("`{word}`"))?;
        match key {
            "num" => drop(line.insert("entry_num_out".to_string(), json!(value))),
            "words" => drop(line.insert("words".to_string(), json!(list(value)))),
            "n" => drop(line.insert("n".to_string(), json!(value))),
            "revents" => drop(line.insert("revents".to_string(), json!(value))),
            "type" => drop(line.insert("out_data_type".to_string(), json!(value))),
            "data" => drop(line.insert("data_out".to_string(), json!(value))),
            "rounds" => drop(line.insert("rounds".to_string(), rounds(value))),
            "sweep" => drop(line.insert("sweep".to_string(), json!(list(value)))),
            "free" => free = list(value),
            _ => return Err(format!("`{key}` is no key of an answer")),
        }
    }
    if let Some(Value::Array(rets)) = line.get("sweep") {
        let injected = (1..).zip(rets).map(|(nth, ret)| {
            let free = free.get((nth - 1) % free.len().max(1));
            json!({"nth": nth, "injected": true, "ret": ret, "next_free_id": free})
        });
        let mut sweep: Vec<Value> = injected.collect();
        sweep.push(json!({"nth": rets.len() + 1, "injected": false, "ret": ret}));
        line.insert("sweep".to_string(), Value::Array(sweep));
    }
    line.insert("ret".to_string(), json!(ret));
    line.insert("out".to_string(), Value::Object(out));
    Ok(line)
}

/// `id~answer,…/…`
fn rounds(text: &str) -> Value {
    let round = |round: &str| -> Map<String, Value> {
        let pairs = round.split(',').filter_map(|pair| pair.split_once('~'));
        pairs.map(|(id, ret)| (id.to_string(), json!(ret))).collect()
    };
    Value::Array(text.split('/').map(|r| Value::Object(round(r))).collect())
}
