//! From a program back to the text of a file, and the table of calls for the README.

use crate::step::{default_operand, long_kind};
use crate::{Bounds, Findings, Heap};
use std::fmt::Write;
use uapi::call::{self, Arg, ArgKind, SIGNATURES};
use uapi::program::{Entry, FailNth, Operand, Orders, Pdev, Program, Step, Timers};
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
    let mut out = String::new();
    let _ = writeln!(out, "question = {}", quoted(question));
    let _ = writeln!(out, "source   = {}", quoted(source));
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
    let _ = writeln!(out, "\n[verdict]");
    for (row, verdict) in verdicts {
        let verdict = match verdict {
            Expected::Never => "\"Never\"".to_string(),
            Expected::Sometimes(splat) => format!("{{ sometimes = {} }}", quoted(splat)),
            Expected::Always(splat) => format!("{{ always = {} }}", quoted(splat)),
        };
        let _ = writeln!(out, "{row} = {verdict}");
    }
    out
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
