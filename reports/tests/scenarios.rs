//! One test per scenario file: on every row that it names, the verdict is the recorded one.
//!
//! The deciding explorer and a short portfolio run here; a canary is put to loom, too. Run one
//! file with `cargo test --test scenarios NAME`.

use libtest_mimic::{Arguments, Failed, Trial};
use reports::check::{self, Question, Settings};
use reports::judge::Judgement;
use reports::observation::{lines, Widths};
use reports::progress::Screen;
use reports::rows::revisions;
use scenarios::Scenario;
use std::path::Path;
use std::process::ExitCode;

/// Enough for a sampler to meet what it meets often, and quick enough for every scenario.
const SAMPLES: u64 = 100;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    // `scenarios::directory()` looks in the current directory first; a test is about this one.
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios");
    let loaded = scenarios::load_dir(&dir, revisions());
    let mut trials: Vec<Trial> = loaded
        .errors
        .into_iter()
        .map(|e| {
            let name = format!("reads::{}", e.file());
            let text = format!("{:?}", miette::Report::new(e));
            Trial::test(name, move || Err(Failed::from(text)))
        })
        .collect();
    trials.extend(loaded.scenarios.into_iter().map(|scenario| {
        let name = scenario.name.clone();
        Trial::test(name, move || verdicts_are_as_recorded(scenario))
    }));
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn verdicts_are_as_recorded(scenario: Scenario) -> Result<(), Failed> {
    let canary = scenario.canary;
    let called = scenario.name.clone();
    let questions = Question::all(scenario, called);
    let settings = Settings {
        samples: (!canary).then_some(SAMPLES),
        loom_exe: canary.then(|| env!("CARGO_BIN_EXE_iommufd-testbed").into()),
        ..Settings::default()
    };
    let answered = check::run(&questions, &settings, &Screen::hidden(), &mut |_| {});
    let widths = Widths::of(&questions);
    let wrong: Vec<String> = answered
        .iter()
        .filter_map(|a| match &a.judgement {
            Judgement::AsRecorded(_) => None,
            other => Some(format!("{}{}\n", lines(a, widths), other.reason().unwrap_or(""))),
        })
        .collect();
    match wrong.is_empty() && answered.len() == questions.len() {
        true => Ok(()),
        false => Err(wrong.concat().into()),
    }
}
