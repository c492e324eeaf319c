//! The scenarios of the checkout: all are read, each answers a question of its own, and what they
//! cite can be found.

use scenarios::{load_dir, Kind, Loaded, Scenario};
use std::collections::BTreeSet;
use std::path::Path;
use uapi::splat::{Kind as Splats, INVARIANTS};
use uapi::verdict::Expected;

fn loaded() -> Loaded {
    load_dir(Path::new(env!("CARGO_MANIFEST_DIR")), &model_native::revisions())
}

fn scenarios() -> Vec<Scenario> {
    loaded().scenarios
}

#[test]
fn every_scenario_is_read() {
    let loaded = loaded();
    let errors: Vec<String> =
        loaded.errors.into_iter().map(|e| format!("{:?}", miette::Report::new(e))).collect();
    assert!(errors.is_empty(), "{}", errors.join("\n"));
    assert!(loaded.scenarios.len() > 40, "{} scenarios", loaded.scenarios.len());
}

#[test]
fn every_question_is_asked_once() {
    let mut seen = BTreeSet::new();
    for s in scenarios() {
        assert!(s.question.ends_with('?'), "{}: {} is no question", s.name, s.question);
        assert!(seen.insert(s.question.clone()), "{}: asked twice: {}", s.name, s.question);
    }
}

/// `cite`: a source names something that can be looked up.
#[test]
fn every_source_can_be_found() {
    for s in scenarios() {
        let findable = s.source.split([' ', ',', ';', ':', '(', ')']).any(|word| {
            let catalogue = word
                .strip_prefix("R-")
                .is_some_and(|r| r.starts_with(|c: char| "ABCDEFGH".contains(c)));
            let section =
                word.contains('.') && word.chars().all(|c| c.is_ascii_digit() || c == '.');
            let message = word.starts_with('<') && word.contains('@');
            let commit = word.len() >= 12 && word.chars().all(|c| c.is_ascii_hexdigit());
            let file = word.contains('/');
            let selftest = word == "TEST_F";
            catalogue || section || message || commit || file || selftest
        });
        assert!(findable, "{}: {}", s.name, s.source);
    }
}

/// Twins that no scenario tells from their row, with the reason.
const ALIKE: &[(&str, &str)] = &[(
    "linux_6_13_skip_erase_unless_published",
    "the other right form: it is there to be shown as good as the merged one",
)];

/// Each fix is a pair: a twin is there only with a scenario whose verdict differs from its row's.
#[test]
fn every_twin_differs_somewhere() {
    let scenarios = scenarios();
    for row in model_native::revisions() {
        let Some(base) = row.twin_of else { continue };
        let differs = scenarios.iter().any(|s| {
            let of = |name: &str| s.expected(name).map(std::mem::discriminant);
            of(row.name).is_some() && of(base).is_some() && of(row.name) != of(base)
        });
        let alike = ALIKE.iter().any(|(name, _)| *name == row.name);
        assert!(differs != alike, "{}: no scenario tells it from {base}", row.name);
    }
}

/// Every race is asked with 2 CPUs; those of the thread's questions with 3, too. The SMMU of a queue is
/// one more.
#[test]
fn races_are_small() {
    let mut three = 0;
    for s in scenarios() {
        match s.kind() {
            Kind::Story => assert_eq!(s.cpus(), 1),
            Kind::Race if s.queue(&s.revisions[0]).is_some() => {
                let producers = s.queue(&s.revisions[0]).expect("a queue").cpus.len();
                assert!(producers <= 3, "{} has {producers} producers", s.name);
            }
            Kind::Race => {
                assert!(s.cpus() <= 3, "{} has {} CPUs", s.name, s.cpus());
                three += usize::from(s.cpus() == 3);
            }
        }
    }
    assert!(three >= 10, "{three} races with 3 CPUs");
}

#[test]
fn there_is_a_canary_that_must_fail() {
    let canaries: Vec<Scenario> = scenarios().into_iter().filter(|s| s.canary).collect();
    assert!(!canaries.is_empty());
    for s in canaries {
        assert!(s.expected.values().any(|e| *e != Expected::Never), "{}", s.name);
        assert!(scenarios::Explorer::ALL.iter().all(|e| s.suits(*e)), "{}", s.name);
    }
}

/// Splats that no text of the kernel model brings about. It frees only what it has allocated, so an
/// invalid-free is only read in recordings of real kernels; it asserts nothing, which litmus programs
/// do.
const NOT_OF_THE_MODEL: &[Splats] = &[Splats::KasanInvalidFree, Splats::Assertion];

/// The invariants of the command queue have programs of their own: reports/kill-matrix.md.
const QUEUE: &str = "cmdq: ";

/// Every checker has a scenario that makes it fire.
#[test]
fn every_checker_has_a_canary() {
    let scenarios = scenarios();
    let texts: Vec<&String> = scenarios
        .iter()
        .flat_map(|s| s.expected.values())
        .filter_map(|e| match e {
            Expected::Never => None,
            Expected::Sometimes(text) | Expected::Always(text) => Some(text),
        })
        .collect();
    for kind in Splats::ALL {
        let words = kind.words();
        let shown = match kind {
            Splats::Invariant => {
                INVARIANTS.iter().filter(|line| !line.starts_with(QUEUE)).all(|line| {
                    // What stands between the names; a verdict may quote a part of it.
                    let longest = line.split("{}").max_by_key(|part| part.len()).unwrap_or(line);
                    texts.iter().any(|t| t.contains(longest.trim()) || longest.contains(t.as_str()))
                })
            }
            _ => texts.iter().any(|text| text.contains(words)),
        };
        let elsewhere = NOT_OF_THE_MODEL.contains(kind);
        assert!(shown != elsewhere, "{kind:?}: shown by a scenario: {shown}, listed: {elsewhere}");
    }
    assert!(scenarios.iter().any(|s| !s.findings.late_wakeup.is_empty()), "a late wake-up");
    assert!(scenarios.iter().any(|s| !s.findings.unexplained.is_empty()), "unexplained answers");
}

/// The R-numbers of the reference's catalogue.
const CATALOGUE: &[(&str, &[u32])] = &[
    ("R-A", &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14]),
    ("R-B", &[1, 2, 3, 4, 5]),
    (
        "R-C",
        &[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 17, 18, 19, 20, 21, 22, 23, 24, 25],
    ),
    ("R-D", &[1, 2, 3, 5, 6, 7]),
    ("R-E", &[1, 2, 3]),
    ("R-F", &[1, 3, 4, 5, 6, 7]),
    ("R-G", &[1, 4, 5, 6, 7]),
    ("R-H", &[1]),
];

/// Each number of the catalogue is asked by a scenario, or stands in `left_out.toml` with the
/// reason; none does both.
#[test]
fn the_catalogue_is_asked_or_left_out() {
    let numbers_of = |text: &str| -> BTreeSet<String> {
        let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
        words.filter(|w| w.starts_with("R-")).map(str::to_string).collect()
    };
    let asked: BTreeSet<String> = scenarios().iter().flat_map(|s| numbers_of(&s.source)).collect();
    let left_out: BTreeSet<String> = scenarios::left_out()
        .expect("the file is read")
        .into_iter()
        .flat_map(|l| l.races)
        .collect();
    let all: BTreeSet<String> = CATALOGUE
        .iter()
        .flat_map(|(family, numbers)| numbers.iter().map(move |n| format!("{family}{n}")))
        .collect();

    let missing: Vec<&String> =
        all.iter().filter(|r| !asked.contains(*r) && !left_out.contains(*r)).collect();
    assert!(missing.is_empty(), "neither asked nor left out: {missing:?}");
    let both: Vec<&String> = asked.intersection(&left_out).collect();
    assert!(both.is_empty(), "asked, so take it out of left_out.toml: {both:?}");
    let unknown: Vec<&String> = asked.union(&left_out).filter(|r| !all.contains(*r)).collect();
    assert!(unknown.is_empty(), "not in the catalogue: {unknown:?}");
}
