//! The calls of a scenario with the answers that it accepts, for a reader.

use crate::rows::in_words;
use scenarios::{expected_answers, Scenario};
use uapi::program::{Program, Step};

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
    let mut answers: Vec<(String, Vec<String>)> = Vec::new();
    for On { row, program } in on {
        let answer = list(program).get(at).map_or_else(String::new, |s| expected_answers(s, setup));
        match answers.iter_mut().find(|(same, _)| *same == answer) {
            Some((_, rows)) => rows.push((*row).clone()),
            None => answers.push((answer, vec![(*row).clone()])),
        }
    }
    if let [(answer, _)] = answers.as_slice() {
        return match answer.is_empty() {
            true => String::new(),
            false => format!(" -> {answer}"),
        };
    }
    let unsaid = if setup { "0" } else { "any" };
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
