//! The generated parts of the documentation: `reports/verdicts.md`, and in the README the
//! picture and the answer to the thread.
//!
//! They are made from a run of the deciding explorer over all scenarios, so no number in them is
//! typed by hand. `UPDATE=1 cargo test --workspace` rewrites them; a test checks that they are
//! fresh, and `git log reports/verdicts.md` is the changelog of our claims.

use crate::check::Answered;
use crate::commands::page_of;
use crate::judge::Judgement;
use crate::observation::counts;
use crate::values::grouped;
use scenarios::Kind;
use std::collections::BTreeSet;
use std::fmt::Write;
use uapi::verdict::Verdict;

/// The message whose question the README answers, as the scenarios that ask it cite it.
pub const THREAD: &str = "<cover.1730313494.git.nicolinc@nvidia.com>, comment 5";

/// The race of the picture: scenario and row.
pub const PICTURE: (&str, &str) =
    ("eexist_unwind_vs_destroy_alloc", "linux_6_13_without_xa_cmpxchg");

/// Width of the picture in the README: a code block on the web shows it without scrolling.
const PICTURE_WIDTH: usize = 100;

/// `reports/verdicts.md`
pub fn verdicts(answered: &[Answered]) -> String {
    let mut page = "\
# Verdicts

Every scenario on every row that its file names, as the deciding explorer (dpor, exhaustive under
sequential consistency) answers it. Generated: `UPDATE=1 cargo test --workspace` rewrites this
file, and `git log reports/verdicts.md` is the changelog of our claims.

| scenario | row | verdict | failing / executions | bound | first splat of the shortest failure |
|---|---|---|---|---|---|
"
    .to_owned();
    for a in answered {
        let question = &a.question;
        let (verdict, counts, bound, splat) = match a.deciding() {
            Some(finding) => (
                finding.verdict.word(),
                counts(finding),
                match finding.exhausted {
                    true => finding.note.clone(),
                    false => format!("not exhausted: {}", finding.note),
                },
                finding.verdict.splat().unwrap_or("").to_owned(),
            ),
            None => ("Broken", String::new(), String::new(), String::new()),
        };
        let differs = match &a.judgement {
            Judgement::AsRecorded(_) => "",
            _ => " (not as recorded)",
        };
        let _ = writeln!(
            page,
            "| {} | {} | {verdict}{differs} | {counts} | {} | {} |",
            question.scenario.name,
            question.revision,
            cell(&bound),
            cell(&splat)
        );
    }
    page
}

/// A text inside a table of Markdown.
pub fn cell(text: &str) -> String {
    let escaped = text.replace('|', r"\|").replace('\n', " ");
    match escaped.is_empty() {
        true => escaped,
        false => format!("`{escaped}`"),
    }
    .replace("`exhausted`", "exhausted")
}

/// The README with its generated parts replaced.
///
/// # Errors
///
/// If a marker is missing, or the run does not contain the race of the picture.
pub fn readme(text: &str, answered: &[Answered]) -> Result<String, String> {
    let text = replaced(text, "picture", &picture(answered)?)?;
    replaced(&text, "answer", &answer(answered)?)
}

/// Puts `body` between `<!-- generated: name -->` and `<!-- end: name -->`.
fn replaced(text: &str, name: &str, body: &str) -> Result<String, String> {
    let begin = format!("<!-- generated: {name} -->\n");
    let end = format!("<!-- end: {name} -->");
    let parts = text.split_once(&begin).and_then(|(before, rest)| {
        rest.split_once(&end).map(|(_, after)| format!("{before}{begin}{body}{end}{after}"))
    });
    parts.ok_or_else(|| format!("the README lacks the lines `{}` and `{end}`", begin.trim_end()))
}

fn picture(answered: &[Answered]) -> Result<String, String> {
    let (scenario, row) = PICTURE;
    let found = answered
        .iter()
        .find(|a| a.question.scenario.name == scenario && a.question.revision == row)
        .and_then(|a| Some((a, a.failure()?)));
    let Some((a, failure)) = found else {
        return Err(format!("the run has no failure of {scenario} on {row} to draw"));
    };
    Ok(format!("```text\n{}```\n", page_of(a, failure, PICTURE_WIDTH)))
}

/// The answer to the thread: yes or no, under which assumptions, with how many executions.
fn answer(answered: &[Answered]) -> Result<String, String> {
    let of_thread: Vec<&Answered> = answered
        .iter()
        .filter(|a| a.question.scenario.source.contains(THREAD) && !a.question.scenario.canary)
        .filter(|a| a.question.scenario.kind() == Kind::Race)
        .collect();
    // The text that the thread merged; what later texts give stands in the table.
    let row = SERIES_ROW;
    let posted: Vec<&Answered> =
        of_thread.iter().copied().filter(|a| a.question.revision == row).collect();
    if posted.is_empty() {
        return Err(format!("no race that cites {THREAD} is run on {row}"));
    }
    // The unwind is safe if the posted text passes: a splat, and a budget that ran out, are a no.
    let safe = |a: &Answered| matches!(a.deciding().map(|f| &f.verdict), Some(Verdict::Never));
    let unsafe_ones: Vec<&str> =
        posted.iter().filter(|a| !safe(a)).map(|a| a.question.scenario.name.as_str()).collect();
    let executions: u64 = posted.iter().filter_map(|a| a.deciding()).map(|f| f.executions).sum();
    let cpus: BTreeSet<usize> = posted.iter().map(|a| a.question.scenario.cpus()).collect();
    let cpus: Vec<String> = cpus.iter().map(usize::to_string).collect();

    let mut text = String::new();
    let _ = match unsafe_ones.is_empty() {
        true => writeln!(
            text,
            "**Yes, it is safe.** None of the {} executions of the {} races ({} CPUs) that ask\n\
             it prints a splat on `{row}`, and every other interleaving differs from one of them\n\
             only in the order of steps that commute. This holds within these assumptions:",
            grouped(executions),
            posted.len(),
            cpus.join(" and "),
        ),
        false => writeln!(
            text,
            "**No, it is not shown to be safe.** Of {} races that ask about it, {} do not pass on\n\
             `{row}`: {}. The assumptions:",
            posted.len(),
            unsafe_ones.len(),
            unsafe_ones.join(", "),
        ),
    };
    text.push_str(ASSUMPTIONS);
    text.push_str("\nThe races, and what they give on the text and on its twins (failing / all executions):\n\n");
    let mut races: Vec<&str> = Vec::new();
    let mut rows: Vec<&str> = Vec::new();
    for a in &of_thread {
        let race = a.question.scenario.name.as_str();
        if !races.contains(&race) {
            races.push(race);
            let cpus = a.question.scenario.cpus();
            let _ = writeln!(text, "{}. `{race}` ({cpus} CPUs)", races.len());
        }
        if !rows.contains(&a.question.revision.as_str()) {
            rows.push(&a.question.revision);
        }
    }
    let numbers: Vec<String> = (1..=races.len()).map(|n| n.to_string()).collect();
    let _ = writeln!(text, "\n| row | {} |", numbers.join(" | "));
    let _ = writeln!(text, "|---{}|", "|---".repeat(races.len()));
    for row in rows {
        let cells: Vec<String> = races
            .iter()
            .map(|race| {
                let asked = |a: &&&Answered| {
                    a.question.revision == row && a.question.scenario.name == *race
                };
                let finding = of_thread.iter().find(asked).and_then(|a| a.deciding());
                finding.map_or(String::new(), |f| format!("{} {}", f.verdict, counts(f)))
            })
            .collect();
        let doc = crate::rows::row(row).map_or("", |r| r.doc);
        let _ = writeln!(text, "| `{row}`: {doc} | {} |", cells.join(" | "));
    }
    Ok(text)
}

/// The row that the thread's series was merged as.
const SERIES_ROW: &str = "linux_6_13";

/// What stands behind a `Never`.
const ASSUMPTIONS: &str = "
* sequential consistency: every CPU sees one order of steps (only loom looks further);
* one call of a primitive (an xarray operation, a refcount change, taking a lock) is one step;
* where a freed pointer is compared, freed addresses are handed out again at once, so ABA is met;
* the programs are those of the files: a program with more CPUs or other calls is another question;
* the kernel is modelled; each modelled function names the text that it is written from.
";
