//! The report as Markdown, for a mail or a wiki.

use super::data::{Report, Scenario};
use crate::pages::cell;
use std::fmt::Write;

/// The text.
pub fn markdown(report: &Report) -> String {
    let mut page = format!("# iommufd-testbed {}: report\n\n", report.testbed);
    let _ = writeln!(page, "```text\n{}```\n\n## Verdicts\n", report.summary);
    page.push_str("| scenario | row | verdict | failing / executions | worth | why |\n");
    page.push_str("|---|---|---|---|---|---|\n");
    for scenario in &report.scenarios {
        for answer in &scenario.answers {
            let _ = writeln!(
                page,
                "| {} | {} | {} | {} | {} | {} |",
                scenario.name,
                answer.revision,
                answer.verdict,
                answer.counts,
                answer.judgement.replace('_', " "),
                cell(answer.reason.as_deref().unwrap_or(""))
            );
        }
    }
    page.push_str("\n## Scenarios\n\n");
    for scenario in &report.scenarios {
        race(&mut page, scenario);
    }
    if let Some(sweep) = &report.sweep {
        let _ = writeln!(
            page,
            "## What a batch or a queue type buys\n\nOn the machine {}, medians over {} seeds.\n",
            sweep.profile, sweep.seeds
        );
        for study in &sweep.studies {
            let _ = writeln!(page, "### {}\n\n**{}**\n", study.question, study.advice);
            table(&mut page, &study.table);
        }
    }
    let _ = write!(page, "{}\n{}", report.findings, report.cost_model);
    page
}

fn race(page: &mut String, scenario: &Scenario) {
    let _ = writeln!(page, "### {} ({})\n\n{}\n", scenario.name, scenario.kind, scenario.question);
    let _ = writeln!(page, "Source: {}\n\nBounds: {}\n", cell(&scenario.source), scenario.bounds);
    if let Some(notes) = &scenario.notes {
        let _ = writeln!(page, "Notes: {}\n", notes.replace('\n', " "));
    }
    steps(page, scenario);
    let mut observations = scenario.answers.iter().flat_map(|a| &a.observations);
    let timed = observations.any(|o| o.milliseconds.is_some());
    let (head, rule) = if timed { (" time |", "---|") } else { ("", "") };
    let _ = writeln!(
        page,
        "| row | recorded | explorer | verdict | failing / executions | bound and splats |{head}"
    );
    let _ = writeln!(page, "|---|---|---|---|---|---|{rule}");
    for answer in &scenario.answers {
        for o in &answer.observations {
            let splats = o.said.splats.iter().map(|(splat, n)| format!("; {n} x {splat}"));
            let mut bound = o.said.note.clone();
            bound.extend(splats);
            let _ = write!(
                page,
                "| {} | {} | {} | {} | {} / {} | {} |",
                answer.revision,
                cell(&answer.recorded),
                o.said.explorer,
                o.said.verdict,
                o.said.failed,
                o.said.executions,
                cell(&bound)
            );
            if timed {
                let _ = write!(page, " {} ms |", o.milliseconds.unwrap_or(0));
            }
            page.push('\n');
        }
    }
    page.push('\n');
    for answer in &scenario.answers {
        if let Some(interleaving) = &answer.interleaving {
            let _ = writeln!(page, "```text\n{}```\n", interleaving.text);
        }
    }
}

/// What it runs.
fn steps(page: &mut String, scenario: &Scenario) {
    let cpus = scenario.cpus.iter().enumerate().map(|(n, steps)| (format!("CPU {n}"), steps));
    let parts = [("setup".to_owned(), &scenario.setup)].into_iter();
    let parts = parts.chain(cpus).chain([("finally".to_owned(), &scenario.finally)]);
    page.push_str("```text\n");
    for (part, step) in parts.flat_map(|(part, steps)| steps.iter().map(move |s| (part.clone(), s)))
    {
        let _ = writeln!(page, "{part:<8}{step}");
    }
    page.push_str("```\n\n");
}

fn table(page: &mut String, lines: &[Vec<String>]) {
    for (i, line) in lines.iter().enumerate() {
        let cells: Vec<String> = line.iter().map(|c| c.replace('|', r"\|")).collect();
        let _ = writeln!(page, "| {} |", cells.join(" | "));
        if i == 0 {
            let _ = writeln!(page, "|{}", "---|".repeat(line.len()));
        }
    }
    page.push('\n');
}
