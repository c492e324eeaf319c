//! What does the reduction lose? The same scenarios under plain, commuting and keyed dependence
//! must answer, print and end in the same ways; only the number of executions may differ.
//!
//! Source: design decision "Every reduction is checked against plain dependence on smaller
//! programs, splats included."

use std::collections::BTreeSet;
use std::path::Path;

use races::search::{reduced, Counts};
use races::{Backend, Subject};
use scenarios::Kind;
use uapi::outcome::{Ending, Outcome, StepResult};
use uapi::program::{Dependence, FailNth, Limits};
use uapi::splat::Kind as SplatKind;

/// Executions under plain dependence beyond which a scenario is too large to compare.
const PLAIN_MAX: u64 = 5_000;

/// How an execution ended, without the numbers of allocations, which depend on their order.
type Seen = (Ending, Vec<StepResult>, Vec<(SplatKind, String)>);

fn seen(outcome: Outcome) -> Seen {
    let mut results = outcome.results;
    for result in &mut results {
        // Which id an allocation got is a matter of order; that it got one is in `ret`.
        result.out.clear();
    }
    // Under plain dependence sections of one lock on different keys order each other, which hides
    // a data race from KCSAN: keys show more of them, not less.
    let splats = outcome.splats.into_iter().filter(|s| !s.kind.is_race());
    let splats = splats.map(|s| (s.kind, s.function)).collect();
    (outcome.ending, results, splats)
}

fn explore(subject: &Subject, dependence: Dependence) -> (Counts, BTreeSet<Seen>) {
    let limits = Limits { dependence, ..Limits::default() };
    let mut all = BTreeSet::new();
    let counts = reduced(subject, Backend::Native, &limits, PLAIN_MAX, &mut |_, outcome| {
        all.insert(seen(outcome));
        true
    })
    .expect("a committed scenario can be run");
    (counts, all)
}

fn injects(subject: &Subject) -> bool {
    let Subject::Program { program, .. } = subject else { return false };
    let all = program.setup.iter().chain(program.cpus.iter().flatten()).chain(&program.finally);
    all.into_iter().any(|step| step.fail_nth == FailNth::Any)
}

#[test]
fn keyed_and_commuting_dependence_lose_no_outcome_of_plain_dependence() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let revisions = model_native::revisions();
    let loaded = scenarios::load_dir(dir, &revisions);
    assert!(loaded.errors.is_empty(), "{:?}", loaded.errors);
    let mut compared = 0;
    let mut saved = (0, 0);

    for scenario in &loaded.scenarios {
        if scenario.kind() != Kind::Race {
            continue;
        }
        // The oldest and the newest text of each question: the rows between share their functions.
        let rows: BTreeSet<&String> =
            scenario.revisions.first().into_iter().chain(scenario.revisions.last()).collect();
        for revision in rows {
            let subject = scenario.subject(revision);
            if injects(&subject) {
                continue;
            }
            let (plain, expected) = explore(&subject, Dependence::Plain);
            if !plain.exhausted {
                continue;
            }
            for dependence in [Dependence::Commuting, Dependence::Keyed] {
                let (counts, got) = explore(&subject, dependence);
                assert!(counts.exhausted, "{} on {revision}: {dependence:?}", scenario.name);
                assert_eq!(got, expected, "{} on {revision}: {dependence:?}", scenario.name);
                assert!(
                    counts.executions <= plain.executions,
                    "{} on {revision}: {dependence:?} needs more executions than plain",
                    scenario.name
                );
                if dependence == Dependence::Keyed {
                    saved = (saved.0 + plain.executions, saved.1 + counts.executions);
                }
            }
            compared += 1;
        }
    }
    // A check that compares nothing would pass, too.
    assert!(compared >= 40, "only {compared} scenarios were small enough");
    assert!(saved.1 * 2 < saved.0, "keys save nothing: {saved:?}");
}
