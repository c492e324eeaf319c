//! The calls of a scenario with the answers that it accepts, for a reader.

use crate::rows::in_words;
use scenarios::{expected_answers, expected_of, Scenario, Spelled};
use uapi::pick::Subject;
use uapi::program::{Program, Step};
use uapi::queue::Queue;

/// The calls of a scenario, a text for each.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Calls {
    /// Those before all others.
    pub setup: Vec<String>,
    /// Those of each CPU.
    pub cpus: Vec<Vec<String>>,
    /// Those behind all others.
    pub finally: Vec<String>,
}

impl Calls {
    /// Of a scenario, with what its calls may answer on these rows.
    pub fn of(scenario: &Scenario, rows: &[String]) -> Calls {
        if let Some(queue) = rows.first().and_then(|row| scenario.queue(row)) {
            return of_queue(&queue, scenario, rows);
        }
        let on: Vec<On<'_>> =
            rows.iter().map(|row| On { row, program: scenario.program(row) }).collect();
        let cpus = on.first().map_or(0, |first| first.program.cpus.len());
        Calls {
            setup: told(&on, |program| &program.setup, true),
            cpus: (0..cpus).map(|cpu| told(&on, |program| &program.cpus[cpu], false)).collect(),
            finally: told(&on, |program| &program.finally, false),
        }
    }
}

/// Of a program on the command queue: what the queue is like stands in the place of a setup.
fn of_queue(queue: &Queue, scenario: &Scenario, rows: &[String]) -> Calls {
    let subject = Subject::Queue { program: queue.clone(), revision: String::new() };
    let Spelled { setup, mut cpus, .. } = Spelled::of(&subject);
    cpus.truncate(queue.cpus.len());
    for (cpu, list) in cpus.iter_mut().enumerate() {
        for (index, text) in list.iter_mut().enumerate() {
            let answer = |row: &String| {
                let asked = scenario.queue(row).unwrap_or_default().expect;
                let place = (cpu, index as u32);
                let own = asked.iter().find(|e| (usize::from(e.cpu), e.index) == place);
                own.map_or_else(String::new, expected_of)
            };
            let answers = rows.iter().map(|row| (row.clone(), answer(row)));
            text.push_str(&arrow(answers, "any"));
        }
    }
    Calls { setup, cpus, finally: Vec::new() }
}

/// The program with the answers of one row.
struct On<'a> {
    row: &'a String,
    program: Program,
}

fn told(on: &[On<'_>], list: impl Fn(&Program) -> &[Step], setup: bool) -> Vec<String> {
    let Some(first) = on.first() else { return Vec::new() };
    let steps = list(&first.program).iter().enumerate();
    steps.map(|(at, step)| format!("{}{}", step.text, accepted(on, &list, at, setup))).collect()
}

/// ` -> 0`, or ` -> 0 on linux_6_13; -ENOENT on linux_6_17` where the rows differ.
fn accepted(on: &[On<'_>], list: impl Fn(&Program) -> &[Step], at: usize, setup: bool) -> String {
    let answer = |program: &Program| {
        list(program).get(at).map_or_else(String::new, |s| expected_answers(s, setup))
    };
    let of_rows = on.iter().map(|On { row, program }| ((*row).clone(), answer(program)));
    arrow(of_rows, if setup { "0" } else { "any" })
}

/// What stands behind a step; `unsaid` is what an empty answer means.
fn arrow(of_rows: impl Iterator<Item = (String, String)>, unsaid: &str) -> String {
    let mut answers: Vec<(String, Vec<String>)> = Vec::new();
    for (row, answer) in of_rows {
        match answers.iter_mut().find(|(same, _)| *same == answer) {
            Some((_, rows)) => rows.push(row),
            None => answers.push((answer, vec![row])),
        }
    }
    if let [(answer, _)] = answers.as_slice() {
        return match answer.is_empty() {
            true => String::new(),
            false => format!(" -> {answer}"),
        };
    }
    let of_rows = answers.iter().map(|(answer, rows)| {
        let answer = if answer.is_empty() { unsaid } else { answer };
        format!("{answer} {}", in_words(rows))
    });
    format!(" -> {}", of_rows.collect::<Vec<_>>().join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::revisions;

    const TEXT: &str = r#"
question = "Is it said which rows answer what?"
source   = "R-C11"
setup    = [
  "ioas0 = IOMMU_IOAS_ALLOC",
  "dev0 = bind(pdev0) -> { linux_6_13 = 0, linux_6_14 = 0, linux_6_17 = -ENODEV }",
]
finally  = ["IOMMU_DESTROY(ioas0)"]

[[cpu]]
steps = [
  "x = IOMMU_IOAS_ALLOC -> 0 | -ENOMEM",
  "IOMMU_DESTROY(x) [fail_nth = 1] -> { linux_6_13 = 0, linux_6_14 = 0, linux_6_17 = -ENOENT }",
]

[verdict]
linux_6_13 = "Never"
linux_6_14 = "Never"
linux_6_17 = "Never"
"#;

    #[test]
    fn answers_stand_behind_their_calls() {
        let scenario = Scenario::parse("text.toml", TEXT, revisions()).expect("a scenario");
        let rows = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let calls = Calls::of(&scenario, &rows(&["linux_6_13", "linux_6_17"]));
        assert_eq!(
            calls.setup,
            [
                "ioas0 = IOMMU_IOAS_ALLOC",
                "dev0 = bind(pdev0) -> 0 on linux_6_13; -ENODEV on linux_6_17"
            ]
        );
        assert_eq!(
            calls.cpus,
            [[
                "x = IOMMU_IOAS_ALLOC -> 0 | -ENOMEM",
                "IOMMU_DESTROY(x) [fail_nth = 1] -> 0 on linux_6_13; -ENOENT on linux_6_17"
            ]]
        );
        assert_eq!(calls.finally, ["IOMMU_DESTROY(ioas0)"]);
        let same = Calls::of(&scenario, &rows(&["linux_6_13", "linux_6_14"]));
        assert_eq!(same.cpus[0][1], "IOMMU_DESTROY(x) [fail_nth = 1] -> 0");
    }
}
