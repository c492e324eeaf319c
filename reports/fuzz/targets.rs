//! What is fuzzed: one table, for the fuzzer (`main.rs`) and for the test that replays the corpus
//! (`../tests/fuzz.rs`).
//!
//! Each target is fed any bytes. It must come back: what is wrong with them is an error with its
//! words, what is right has the properties that the target asserts. Nothing here touches a file.

use miette::Report;
use model_native::run;
use races::{Backend, Schedule};
use reports::record::{FailureFile, QuestionRecord, Verdicts};
use reports::rows::revisions;
use reports::simulate::journal;
use reports::simulate::record::Records;
use reports::token::Token;
use reports::{answers, baseline};
use scenarios::answers::Recording;
use scenarios::{parse_profile, write, write_queue, Scenario, ScenarioError};
use std::collections::BTreeSet;
use std::sync::LazyLock;
use uapi::pick::{FirstEnabled, Subject};
use uapi::program::{FailNth, Limits, Program};
use uapi::verdict::Expected;

/// Something that reads what a user, or a kill, may have made of a file.
pub struct Target {
    /// Its name: that of its corpus in `scenarios/fuzz`, too.
    pub name: &'static str,
    /// Reads the bytes, and asserts what must be true of what was read.
    pub feed: fn(&[u8]),
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "scenario", feed: scenario },
    Target { name: "story", feed: story },
    Target { name: "profile", feed: profile },
    Target { name: "token", feed: token },
    Target { name: "journal", feed: journal },
    Target { name: "failure", feed: failure },
    Target { name: "recording", feed: recording },
    Target { name: "baseline", feed: baseline },
];

/// Steps of an execution: a fuzzer makes thousands of them.
const LIMITS: Limits = Limits {
    steps_max: 2_000,
    trace: true,
    graph: false,
    recycle: false,
    kasan: true,
    dependence: uapi::program::Dependence::Keyed,
    mutation: None,
    reach: false,
};

/// An error says where, what, and what would be right; drawing it must work, too.
fn rendered(error: ScenarioError) {
    assert!(!error.problems().is_empty());
    for problem in error.problems() {
        assert!(!problem.help.is_empty() && !problem.message.is_empty(), "{problem:?}");
        let _ = error.location(problem);
    }
    assert!(!format!("{:?}", Report::new(error)).is_empty());
}

/// A scenario file. A good one survives the way through the writer.
fn scenario(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let scenario = match Scenario::parse("fuzz", &text, revisions()) {
        Ok(scenario) => scenario,
        Err(error) => return rendered(error),
    };
    for row in &scenario.revisions {
        let expected = scenario.expected(row).cloned().unwrap_or(Expected::Never);
        let verdicts = [(row.clone(), expected.clone())];
        if let Some(mut queue) = scenario.queue(row) {
            let text = write_queue(&queue, &scenario.question, &scenario.source, &verdicts);
            queue.expect.clear();
            match Scenario::parse("again", &text, revisions()) {
                Ok(again) => assert_eq!(again.queue(row), Some(queue), "{text}"),
                Err(error) => panic!("{text}\n{:?}", Report::new(error)),
            }
            continue;
        }
        let program = scenario.program(row);
        let text = write(&program, &scenario.question, &scenario.source, &verdicts);
        let again = match Scenario::parse("again", &text, revisions()) {
            Ok(again) => again,
            Err(error) => panic!("{text}\n{:?}", Report::new(error)),
        };
        assert_eq!(without_texts(again.program(row)), without_texts(program), "{text}");
        assert_eq!(again.expected(row), Some(&expected), "{text}");
    }
}

/// The writer spells steps in its own way.
fn without_texts(mut program: Program) -> Program {
    for place in program.places().collect::<Vec<_>>() {
        for step in program.list_mut(place) {
            step.text.clear();
            step.expect.dedup();
        }
    }
    program
}

/// A scenario that can be read can be run.
fn story(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let Ok(scenario) = Scenario::parse("fuzz", &text, revisions()) else { return };
    for row in scenario.revisions.iter().take(2) {
        let mut subject = scenario.subject(row);
        if let Subject::Program { program, .. } = &mut subject {
            for place in program.places().collect::<Vec<_>>() {
                for step in program.list_mut(place) {
                    if step.fail_nth == FailNth::Any {
                        step.fail_nth = FailNth::Nth(1);
                    }
                }
            }
        }
        match run(&subject, &mut FirstEnabled, &LIMITS) {
            Ok(outcome) => assert!(outcome.is_some(), "the first one that can run always can"),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

/// A machine profile.
fn profile(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match parse_profile("fuzz", &text) {
        Ok(profile) => assert!(profile.problems().is_empty(), "{profile:?}"),
        Err(error) => rendered(error),
    }
}

/// What tokens are replayed on.
static RACE: LazyLock<Option<Subject>> = LazyLock::new(|| {
    let text = r#"
question = "Does any token replay, or say why not?"
source   = "reports/fuzz/targets.rs"
setup    = ["ioas0 = IOMMU_IOAS_ALLOC", "dev0 = bind(pdev0)"]
[[cpu]]
steps = ["IOMMU_DESTROY(ioas0) [fail_nth = any]", "IOMMU_IOAS_ALLOC"]
[[cpu]]
steps = ["IOMMU_HWPT_ALLOC(dev0, ioas0)", "unbind(dev0)"]
[verdict]
linux_6_17 = "Never"
"#;
    let scenario = Scenario::parse("race", text, revisions()).ok()?;
    let program = scenario.program("linux_6_17");
    Some(Subject::Program { program, revision: "linux_6_17".to_owned() })
});

/// A replay token. What can be read is spelt as it was read, and an interleaving that fits no
/// program is told what came instead.
fn token(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match text.parse::<Token>() {
        Ok(token) => {
            let spelt = token.to_string();
            assert_eq!(spelt.parse(), Ok(token), "{spelt}");
        }
        Err(error) => assert!(!error.is_empty()),
    }
    match text.parse::<Schedule>() {
        Ok(schedule) => {
            assert_eq!(schedule.to_string().parse(), Ok(schedule.clone()));
            let race = RACE.as_ref().expect("the race of this file is right");
            replayed(race, &schedule);
        }
        Err(error) => assert!(error.at <= text.len() && !error.to_string().is_empty()),
    }
}

fn replayed(subject: &Subject, schedule: &Schedule) {
    match races::replay(subject, schedule, Backend::Native, &LIMITS) {
        Ok(replayed) => assert!(replayed.outcome.steps <= LIMITS.steps_max),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}

/// A journal of `simulate`: as it is, and with the checksum that a fuzzer does not guess.
fn journal(bytes: &[u8]) {
    journal_of(bytes);
    let lines = bytes.split_inclusive(|b| *b == b'\n');
    let sealed: Vec<u8> = lines
        .flat_map(|line| match line.strip_suffix(b"\n") {
            Some(object) => journal::sealed(object.to_vec()),
            None => line.to_vec(),
        })
        .collect();
    journal_of(&sealed);
}

/// Whatever is read is in its whole lines, and they say the same when they are read again.
fn journal_of(bytes: &[u8]) {
    let mut records = Records::default();
    let (head, whole) = match journal::read_lines(bytes, &mut records) {
        Ok(read) => read,
        Err(error) => return assert!(!error.is_empty()),
    };
    let lines = &bytes[..whole as usize];
    assert!(lines.is_empty() || lines.ends_with(b"\n"));
    assert!(!bytes[whole as usize..].contains(&b'\n'), "a whole line is left out");
    let mut again = Records::default();
    assert_eq!(journal::read_lines(lines, &mut again), Ok((head, whole)));
    assert_eq!(again, records);
    assert!(records.is_empty() || records.missing() < u64::MAX);
    let runs = records.runs().filter(|r| !r.shown.is_empty()).count();
    assert!(records.classes().iter().all(|(_, shown)| (1..=runs).contains(&shown.len())));
}

/// A failure file, which may come from anybody: the program in it is run.
fn failure(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let file = match FailureFile::parse(&text) {
        Ok(file) => file,
        Err(error) => return assert!(!error.is_empty()),
    };
    let schedule: Schedule = file.schedule.parse().unwrap_or_default();
    replayed(&file.subject, &schedule);
}

/// A recording of a kernel's answers, compared with a row.
fn recording(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    match Recording::parse("fuzz", &text) {
        Ok(recording) => {
            let compared = answers::compare(&recording, "linux_6_13", &[]);
            assert_eq!(
                compared.map_or(recording.sequences.len(), |c| c.len()),
                recording.sequences.len()
            );
        }
        Err(error) => rendered(error),
    }
}

/// A kept run of `check`: it differs from itself in nothing.
fn baseline(bytes: &[u8]) {
    let Ok(verdicts) = serde_json::from_slice::<Verdicts>(bytes) else { return };
    let twice = |q: &QuestionRecord| {
        let names: BTreeSet<&str> = q.observations.iter().map(|o| o.explorer.as_str()).collect();
        names.len() < q.observations.len()
    };
    if verdicts.questions.iter().any(twice) {
        return; // No run writes that.
    }
    let comparison = baseline::compare(&verdicts, &verdicts);
    assert!(comparison.changes.is_empty(), "{:?}", comparison.changes);
    assert!(!comparison.text("questions").is_empty());
}
