//! From a program back to the text of a file, and the table of calls for the README.

use crate::file::queue::{COMPLETIONS, KINDS, WITHOUT};
use crate::step::request::{usage, FORMS};
use crate::step::{default_operand, long_kind};
use crate::{Bounds, Findings, Heap};
use smmuv3::Command;
use std::fmt::Write;
use uapi::call::{self, Arg, ArgKind, SIGNATURES};
use uapi::program::{Entry, FailNth, Operand, Orders, Pdev, Program, Step, Timers};
use uapi::queue::{
    Completion, Expect, Fault, Invalidate, Queue, Request, Secondary, Vsmmu,
    INVALIDATE_DATA_ARM_SMMUV3, INVALIDATE_ENTRY_LEN,
};
use uapi::verdict::Expected;

/// A program as the text of a scenario file. `verdicts`: (row, verdict), in the order in which
/// they are written.
///
/// [`crate::Scenario::parse`] makes the same program of it; only the texts of the steps become
/// those of [`step_text`].
pub fn write(
    program: &Program,
    question: &str,
    source: &str,
    verdicts: &[(String, Expected)],
) -> String {
    let mut out = asked(question, source);
    if program.timers == Timers::Any {
        let _ = writeln!(out, "timers   = \"any\"");
    }
    if program.orders == Orders::Strict {
        let _ = writeln!(out, "orders   = \"strict\"");
    }
    if !program.given.is_empty() {
        let given: Vec<String> = program.given.iter().map(|g| quoted(g)).collect();
        let _ = writeln!(out, "given    = [{}]", given.join(", "));
    }
    if let Some(uapi::mutation::Mutant { site, change }) = &program.mutant {
        let _ = writeln!(out, "mutant   = {{ site = {}, change = \"{change}\" }}", quoted(site));
    }
    steps(&mut out, "\nsetup", &program.setup, &program.syms, true);
    // Keys of the file stand before its first table.
    steps(&mut out, "\nfinally", &program.finally, &program.syms, false);
    let described: Vec<(usize, &Pdev)> = program.pdevs.iter().enumerate().collect();
    if !described.is_empty() {
        let _ = writeln!(out, "\n[devices]");
        for (n, pdev) in described {
            let Pdev { group, iommu, vdevice_size, reserved } = pdev;
            let size = match vdevice_size {
                0 => String::new(),
                n => format!(", vdevice_size = {n}"),
            };
            let reserved = reserved.map_or(String::new(), |(first, last)| {
                format!(", reserved = [{first:#x}, {last:#x}]")
            });
            let _ =
                writeln!(out, "pdev{n} = {{ group = {group}, iommu = {iommu}{size}{reserved} }}");
        }
    }
    for cpu in &program.cpus {
        let _ = writeln!(out, "\n[[cpu]]");
        steps(&mut out, "steps", cpu, &program.syms, false);
    }
    verdict_lines(&mut out, verdicts);
    out
}

/// What is asked, and who asks.
fn asked(question: &str, source: &str) -> String {
    format!("question = {}\nsource   = {}\n", quoted(question), quoted(source))
}

fn verdict_lines(out: &mut String, verdicts: &[(String, Expected)]) {
    let _ = writeln!(out, "\n[verdict]");
    for (row, verdict) in verdicts {
        let verdict = match verdict {
            Expected::Never => "\"Never\"".to_string(),
            Expected::Sometimes(splat) => format!("{{ sometimes = {} }}", quoted(splat)),
            Expected::Always(splat) => format!("{{ always = {} }}", quoted(splat)),
        };
        let _ = writeln!(out, "{row} = {verdict}");
    }
}

/// As [`write`], a program on the command queue. What its requests may answer is not written.
pub fn write_queue(
    queue: &Queue,
    question: &str,
    source: &str,
    verdicts: &[(String, Expected)],
) -> String {
    let mut out = asked(question, source);
    let _ = writeln!(out, "\n[queue]");
    for line in queue_lines(queue) {
        let _ = writeln!(out, "{line}");
    }
    for cpu in &queue.cpus {
        let _ = writeln!(out, "\n[[cpu]]\nsteps = [");
        for request in cpu {
            let _ = writeln!(out, "  {},", quoted(&request_text(request)));
        }
        let _ = writeln!(out, "]");
    }
    verdict_lines(&mut out, verdicts);
    out
}

/// The keys of a `[queue]`, a line each; those that are as if they were left out are left out.
pub(crate) fn queue_lines(queue: &Queue) -> Vec<String> {
    let Queue { log2size, word, start, completion, faults, .. } = queue;
    let mut lines = vec![format!("log2size = {log2size}"), format!("word = {word}")];
    if *start != 0 {
        lines.push(format!("start = {start}"));
    }
    if *completion != Completion::default() {
        let name = COMPLETIONS.iter().find(|(_, c)| c == completion).map_or("", |(name, _)| name);
        lines.push(format!("completion = \"{name}\""));
    }
    if !faults.is_empty() {
        let one = |fault: &Fault| match fault {
            Fault::Abort(n) => format!("{{ abort = {n} }}"),
            Fault::AtcTimeout(n) => format!("{{ atc_timeout = {n} }}"),
            Fault::Dead(n) => format!("{{ dead = {n} }}"),
        };
        let faults: Vec<String> = faults.iter().map(one).collect();
        lines.push(format!("faults = [{}]", faults.join(", ")));
    }
    lines.extend(queue.published.map(|cpu| format!("published = {cpu}")));
    if queue.overtaken_max != 0 {
        lines.push(format!("overtaken_max = {}", queue.overtaken_max));
    }
    if queue.repeat_tlbi_cfgi {
        lines.push("repeat_tlbi_cfgi = true".to_string());
    }
    if let Some(Secondary { kind, queues }) = queue.secondary {
        let name = KINDS.iter().find(|(_, k)| *k == kind).map_or("", |(name, _)| name);
        lines.push(format!("secondary = {{ kind = \"{name}\", queues = {queues} }}"));
    }
    if let Some(Vsmmu { vmid, vdevs, without }) = &queue.vsmmu {
        let vdev = |(vsid, sid): &(u32, u32)| format!("{{ vsid = {vsid:#x}, sid = {sid:#x} }}");
        let vdevs: Vec<String> = vdevs.iter().map(vdev).collect();
        let mut line = format!("vsmmu = {{ vmid = {vmid}, vdevs = [{}]", vdevs.join(", "));
        if !without.is_empty() {
            let names: Vec<String> = WITHOUT
                .iter()
                .filter(|(_, feature)| without.contains(feature))
                .map(|(name, _)| quoted(name))
                .collect();
            let _ = write!(line, ", without = [{}]", names.join(", "));
        }
        lines.push(line + " }");
    }
    lines
}

/// A request to the command queue as a scenario spells it, without its expectation.
pub fn request_text(request: &Request) -> String {
    let list = |commands: &[[u64; 2]]| {
        let commands: Vec<String> = commands.iter().map(|c| command_text(*c)).collect();
        format!("[{}]", commands.join(", "))
    };
    let name = request.name();
    match request {
        Request::Issue { commands, sync } => {
            let sync = if *sync { ", sync = 1" } else { "" };
            format!("{name}({}{sync})", list(commands))
        }
        Request::Batch { commands, force_sync } => {
            let force = if *force_sync { ", force_sync = 1" } else { "" };
            format!("{name}({}{force})", list(commands))
        }
        Request::Invalidate(array) => {
            let Invalidate { commands, data_type, entry_len, tail, unmapped_from, fail_nth } =
                array;
            let mut text = format!("{name}({}", list(commands));
            if *data_type != INVALIDATE_DATA_ARM_SMMUV3 {
                let _ = write!(text, ", data_type = {data_type}");
            }
            if *entry_len != INVALIDATE_ENTRY_LEN {
                let _ = write!(text, ", entry_len = {entry_len}");
            }
            if *tail != 0 {
                let _ = write!(text, ", tail = {tail}");
            }
            if let Some(n) = unmapped_from {
                let _ = write!(text, ", unmapped_from = {n}");
            }
            text.push(')');
            if *fail_nth != 0 {
                let _ = write!(text, " [fail_nth = {fail_nth}]");
            }
            text
        }
        Request::Migrate { task, to } => format!("{name}({task}, {to})"),
        Request::Suspend | Request::Resume => name.to_string(),
    }
}

/// An entry of the ring as a scenario spells it: the fields of its opcode that are not 0, and bits
/// that are none of them.
pub fn command_text(words: [u64; 2]) -> String {
    let Ok(command) = Command::try_from(words) else {
        return format!("{{word0 = {}, word1 = {}}}", number(words[0]), number(words[1]));
    };
    let mut text = format!("{{op = {}", command.op().row().name);
    let mut spelt = Command::new(command.op()).words();
    for (field, value) in command.fields().filter(|(_, value)| *value != 0) {
        let _ = write!(text, ", {} = {}", field.name, number(value));
        // The value was read from this field, so it fits.
        let _ = field.put(&mut spelt, value);
    }
    for (n, (word, spelt)) in words.iter().zip(spelt).enumerate() {
        if word & !spelt != 0 {
            let _ = write!(text, ", word{n} = {}", number(word & !spelt));
        }
    }
    text + "}"
}

/// What stands behind the arrow of a request; nothing if anything may.
pub fn expected_of(expect: &Expect) -> String {
    let answers: Vec<String> = expect.rets.iter().map(ToString::to_string).collect();
    let answers = match answers.as_slice() {
        [] => "any".to_string(),
        some => some.join(" | "),
    };
    match expect.entry_num {
        None if expect.rets.is_empty() => String::new(),
        None => answers,
        Some(n) => format!("{answers}, entry_num = {n}"),
    }
}

/// The tables `[bounds]` and `[findings]` behind what [`write`] wrote. Of the bounds, those on
/// executions and on the heap.
pub fn write_beside(bounds: &Bounds, findings: &Findings) -> String {
    let mut out = String::new();
    let heap = match bounds.heap {
        Heap::Auto => None,
        Heap::Recycle => Some("recycle"),
        Heap::Fresh => Some("fresh"),
    };
    if bounds.executions.is_some() || heap.is_some() {
        let _ = writeln!(out, "\n[bounds]");
    }
    if let Some(executions) = bounds.executions {
        let _ = writeln!(out, "executions = {executions}");
    }
    if let Some(heap) = heap {
        let _ = writeln!(out, "heap = \"{heap}\"");
    }
    let Findings { late_wakeup, unexplained } = findings;
    let recorded = [("late_wakeup", late_wakeup), ("unexplained", unexplained)];
    if recorded.iter().any(|(_, rows)| !rows.is_empty()) {
        let _ = writeln!(out, "\n[findings]");
    }
    for (name, rows) in recorded.iter().filter(|(_, rows)| !rows.is_empty()) {
        let rows: Vec<String> = rows.iter().map(|row| quoted(row)).collect();
        let _ = writeln!(out, "{name} = [{}]", rows.join(", "));
    }
    out
}

fn steps(out: &mut String, key: &str, steps: &[Step], syms: &[String], setup: bool) {
    if steps.is_empty() {
        return;
    }
    let _ = writeln!(out, "{key} = [");
    for step in steps {
        let arrow = match expected_answers(step, setup).as_str() {
            "" => String::new(),
            some => format!(" -> {some}"),
        };
        let _ = writeln!(out, "  {},", quoted(&format!("{}{arrow}", step_text(step, syms))));
    }
    let _ = writeln!(out, "]");
}

/// What stands behind the arrow of a step; nothing if it needs none, as any answer of a call and
/// success in the setup.
pub fn expected_answers(step: &Step, setup: bool) -> String {
    let mut values = step.expect_entry_num.map_or(String::new(), |n| format!(", entry_num = {n}"));
    for (index, value) in &step.expect_out {
        if let Some(out) = call::signature(step.call).outs.get(usize::from(*index)) {
            let _ = write!(values, ", {} = {value:#x}", out.name);
        }
    }
    let answers: Vec<String> = step.expect.iter().map(ToString::to_string).collect();
    let answers = match answers.as_slice() {
        [] if setup || !values.is_empty() => "any".to_string(),
        [] => return String::new(),
        [one] if one == "0" && setup && values.is_empty() => return String::new(),
        some => some.join(" | "),
    };
    format!("{answers}{values}")
}

/// A step as a scenario spells it, without its expectation; `syms` are the names of the program.
pub fn step_text(step: &Step, syms: &[String]) -> String {
    let name = |sym: u16| syms.get(usize::from(sym)).map_or("?", String::as_str);
    let signature = call::signature(step.call);
    let mut text = String::new();
    let binds: Vec<&str> = step.binds.iter().map(|s| name(*s)).collect();
    if !binds.is_empty() {
        let _ = write!(text, "{} = ", binds.join(", "));
    }
    text.push_str(signature.name);
    let mut args = Vec::new();
    for (arg, operand) in signature.args.iter().zip(&step.args) {
        let left_out =
            arg.default.is_some_and(|default| *operand == default_operand(arg.kind, default));
        if left_out {
            continue;
        }
        let value = operand_text(operand, arg, &name);
        // Those without default come first, so that they stand at their positions.
        args.push(if arg.default.is_none() { value } else { format!("{} = {value}", arg.name) });
    }
    if !args.is_empty() {
        let _ = write!(text, "({})", args.join(", "));
    }
    let mut options = Vec::new();
    match step.fail_nth {
        FailNth::None => {}
        FailNth::Nth(n) => options.push(format!("fail_nth = {n}")),
        FailNth::Any => options.push("fail_nth = any".to_string()),
    }
    options.extend(step.read_only.then(|| "ro".to_string()));
    options.extend(step.bad_pointer.then(|| "badptr".to_string()));
    options.extend(step.usize_.map(|n| format!("usize = {n}")));
    options.extend(step.trail.map(|n| format!("trail = {n}")));
    options.extend(step.stall_s.map(|n| format!("stall = {n}")));
    if let Operand::Sym(sym) = step.file {
        options.push(format!("fd = {}", name(sym)));
    }
    if !options.is_empty() {
        let _ = write!(text, " [{}]", options.join(", "));
    }
    text
}

fn operand_text<'a>(operand: &Operand, arg: &Arg, name: &impl Fn(u16) -> &'a str) -> String {
    match operand {
        Operand::Sym(sym) => name(*sym).to_string(),
        Operand::Entries(entries) => {
            let entries: Vec<String> = entries.iter().map(entry_text).collect();
            format!("[{}]", entries.join(", "))
        }
        Operand::Num(n) => match arg.kind {
            ArgKind::Pdev => format!("pdev{n}"),
            ArgKind::File => "fd".to_string(),
            ArgKind::Flags | ArgKind::Num => {
                let known = call::FLAG_NAMES.iter().find(|(a, _, v)| *a == arg.name && v == n);
                match known {
                    Some((_, flag, _)) => (*flag).to_string(),
                    None => number(*n),
                }
            }
            ArgKind::Id | ArgKind::Device | ArgKind::Entries | ArgKind::Mapping => n.to_string(),
        },
    }
}

/// Small numbers read better in decimal, IDs of devices and flags in hexadecimal.
fn number(n: u64) -> String {
    if n < 16 {
        n.to_string()
    } else {
        format!("{n:#x}")
    }
}

fn entry_text(entry: &Entry) -> String {
    let Entry { flags, vdev_id, cache_id, tail } = entry;
    let flags = match flags {
        0 => String::new(),
        1 => "flags = ALL, ".to_string(),
        n => format!("flags = {n:#x}, "),
    };
    let tail = match tail {
        0 => String::new(),
        n => format!(", tail = {n:#x}"),
    };
    format!("{{{flags}vdev_id = {vdev_id:#x}, cache_id = {cache_id}{tail}}}")
}

/// A TOML basic string.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04X}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

/// The calls of a queue's CPUs as a Markdown table.
pub fn request_table() -> String {
    let mut out = String::from("| call | what it does |\n|---|---|\n");
    for form in FORMS {
        let _ = writeln!(out, "| `{}` | {} |", usage(form), form.doc);
    }
    out
}

/// The calls as a Markdown table, from `uapi::call::SIGNATURES`.
pub fn call_table() -> String {
    let mut out = String::from("| call | gives out | what it does |\n|---|---|---|\n");
    for s in SIGNATURES {
        let args: Vec<String> = s
            .args
            .iter()
            .map(|a| match a.default {
                None => a.name.to_string(),
                Some(_) => format!("[{}]", a.name),
            })
            .collect();
        let args = if args.is_empty() { String::new() } else { format!("({})", args.join(", ")) };
        let outs: Vec<&str> = s.outs.iter().map(|o| o.name).collect();
        let _ = writeln!(out, "| `{}{args}` | {} | {} |", s.name, outs.join(", "), s.doc);
    }
    out.push_str("\n| argument | is |\n|---|---|\n");
    let mut seen: Vec<&str> = Vec::new();
    for arg in SIGNATURES.iter().flat_map(|s| s.args) {
        if seen.contains(&arg.name) {
            continue;
        }
        seen.push(arg.name);
        let flags: Vec<String> = call::FLAG_NAMES
            .iter()
            .filter(|(a, _, _)| *a == arg.name)
            .map(|(_, n, _)| format!("`{n}`"))
            .collect();
        let flags = match flags.as_slice() {
            [] => String::new(),
            some => format!("; names: {}", some.join(", ")),
        };
        let _ = writeln!(
            out,
            "| `{}` | {}{flags} |",
            arg.name,
            long_kind(arg.kind).replace('|', "\\|")
        );
    }
    out
}
