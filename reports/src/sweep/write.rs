//! A sweep as a table, CSV and JSON.

use super::{Answer, Found};
use crate::output::folded;
use crate::values::grouped;
use serde::Serialize;
use smmuv3_timing::Profile;
use std::fmt::Write;
use std::ops::Range;

/// One point of `sweep.json`, and the columns of `sweep.csv`.
#[derive(Serialize)]
struct Row<'a> {
    study: &'a str,
    series: &'a str,
    queue: &'a str,
    completion: &'a str,
    cpus: u32,
    batch: u32,
    commands: u32,
    ring: u32,
    work_ns: u64,
    invalidations_per_s: u64,
    least_per_s: u64,
    most_per_s: u64,
    commands_per_s: u64,
    p50_ps: u64,
    p99_ps: u64,
    cpu_ps: u64,
    syncs_per_1000: u64,
    cas_permille: Option<u64>,
}

const COLUMNS: &str = "study,series,queue,completion,cpus,batch,commands,ring,work_ns,\
    invalidations_per_s,least_per_s,most_per_s,commands_per_s,p50_ps,p99_ps,cpu_ps,syncs_per_1000,\
    cas_permille";

fn rows<'a>(answer: &'a Answer) -> impl Iterator<Item = Row<'a>> {
    let lines = answer.study.series.iter().zip(&answer.found);
    lines.flat_map(|(series, line)| {
        line.iter().map(|f| Row {
            study: answer.study.name,
            series: &series.label,
            queue: f.point.queue.name,
            completion: f.point.completion.name(),
            cpus: f.point.cpus,
            batch: f.point.batch,
            commands: f.point.commands,
            ring: f.point.ring,
            work_ns: f.point.work_ns,
            invalidations_per_s: f.rate.median,
            least_per_s: f.rate.least,
            most_per_s: f.rate.most,
            commands_per_s: f.commands,
            p50_ps: f.p50,
            p99_ps: f.p99,
            cpu_ps: f.cpu,
            syncs_per_1000: f.syncs,
            cas_permille: f.cas,
        })
    })
}

/// `sweep.csv`
pub fn csv(answers: &[Answer]) -> String {
    let mut text = format!("{COLUMNS}\n");
    for row in answers.iter().flat_map(rows) {
        // A label may have a comma.
        let series = format!("\"{}\"", row.series.replace('"', "\"\""));
        let cas = row.cas_permille.map_or(String::new(), |n| n.to_string());
        let _ = writeln!(
            text,
            "{},{series},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{},{cas}",
            row.study,
            row.queue,
            row.completion,
            row.cpus,
            row.batch,
            row.commands,
            row.ring,
            row.work_ns,
            row.invalidations_per_s,
            row.least_per_s,
            row.most_per_s,
            row.commands_per_s,
            row.p50_ps,
            row.p99_ps,
            row.cpu_ps,
            row.syncs_per_1000,
        );
    }
    text
}

#[derive(Serialize)]
struct Study<'a> {
    name: &'a str,
    question: &'a str,
    advice: &'a str,
    points: Vec<Row<'a>>,
}

#[derive(Serialize)]
struct Sweep<'a> {
    profile: &'a Profile,
    seeds: u64,
    studies: Vec<Study<'a>>,
}

/// `sweep.json`
///
/// # Errors
///
/// Never in practice: nothing in it can fail to be written.
pub fn json(profile: &Profile, seeds: u64, answers: &[Answer]) -> Result<String, String> {
    let study = |a| {
        let answer: &Answer = a;
        Study {
            name: answer.study.name,
            question: &answer.study.question,
            advice: &answer.advice,
            points: rows(answer).collect(),
        }
    };
    let sweep = Sweep { profile, seeds, studies: answers.iter().map(study).collect() };
    let text = serde_json::to_string_pretty(&sweep).map_err(|e| e.to_string())?;
    Ok(text + "\n")
}

/// The table of an answer, its head first.
pub fn table(answer: &Answer) -> Vec<Vec<String>> {
    let head = [
        "",
        answer.study.axis.label(),
        "inval./s",
        "+-",
        "TLBIs/s",
        "p50 ns",
        "p99 ns",
        "CPU ns",
        "SYNCs",
        "CAS won",
    ];
    let mut table: Vec<Vec<String>> = vec![head.map(str::to_owned).to_vec()];
    for (series, line) in answer.study.series.iter().zip(&answer.found) {
        for (i, f) in line.iter().enumerate() {
            let label = if i == 0 { series.label.clone() } else { String::new() };
            table.push(cells(label, answer.study.axis.of(&f.point), f));
        }
    }
    table
}

/// One question for people, in so many columns: where a table is wider, it is broken between its columns.
pub fn human(answer: &Answer, columns: usize) -> String {
    let table = table(answer);
    let widths: Vec<usize> = (0..table.first().map_or(0, Vec::len))
        .map(|c| table.iter().map(|row| row[c].chars().count()).max().unwrap_or(0))
        .collect();
    let mut text = format!("{}\n", folded(&answer.study.question, columns));
    for part in parts(&widths, columns) {
        text.push('\n');
        for row in &table {
            let mut line = String::new();
            for c in (0..POINT).chain(part.clone()) {
                let (cell, width) = (&row[c], widths[c]);
                let _ = match c {
                    0 => write!(line, "  {cell:<width$}"),
                    _ => write!(line, "  {cell:>width$}"),
                };
            }
            let _ = writeln!(text, "{}", line.trim_end());
        }
    }
    let _ = writeln!(text, "\n{}\n", folded(&format!("=> {}", answer.advice), columns));
    text
}

/// Columns of the table that say which point it is.
const POINT: usize = 2;

/// The figures of the table, in as many parts as it takes for each to have room beside the point.
fn parts(widths: &[usize], columns: usize) -> Vec<Range<usize>> {
    let point: usize = widths.iter().take(POINT).map(|w| w + 2).sum();
    let mut parts = Vec::new();
    let (mut first, mut used) = (POINT, point);
    for (c, width) in widths.iter().enumerate().skip(POINT) {
        if c > first && used.saturating_add(width + 2) > columns {
            parts.push(first..c);
            (first, used) = (c, point);
        }
        used += width + 2;
    }
    parts.push(first..widths.len().max(first));
    parts
}

fn cells(label: String, x: u64, f: &Found) -> Vec<String> {
    let half = (f.rate.most - f.rate.least) / 2;
    let permille = half * 1_000 / f.rate.median.max(1);
    vec![
        label,
        grouped(x),
        grouped(f.rate.median),
        format!("{}.{}%", permille / 10, permille % 10),
        grouped(f.commands),
        grouped(f.p50 / 1_000),
        grouped(f.p99 / 1_000),
        grouped(f.cpu / 1_000),
        format!("{}.{:03}", f.syncs / 1_000, f.syncs % 1_000),
        f.cas.map_or("-".into(), |n| format!("{}.{}%", n / 10, n % 10)),
    ]
}

#[cfg(test)]
mod tests {
    use super::parts;

    #[test]
    fn a_table_is_broken_between_its_columns() {
        let ends = |widths: &[usize], columns| -> Vec<(usize, usize)> {
            parts(widths, columns).into_iter().map(|part| (part.start, part.end)).collect()
        };
        let widths = [10, 4, 8, 8, 8];
        assert_eq!(ends(&widths, 80), [(2, 5)]);
        assert_eq!(ends(&widths, 40), [(2, 4), (4, 5)]);
        assert_eq!(ends(&widths, 0), [(2, 3), (3, 4), (4, 5)]);
        assert_eq!(ends(&[], 80), [(2, 2)]);
    }
}
