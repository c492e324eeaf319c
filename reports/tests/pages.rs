//! The generated pages are what a run gives today. `UPDATE=1` rewrites them.

use reports::check::{self, Answered, Question, Settings};
use reports::files;
use reports::pages;
use reports::pairs;
use reports::progress::Screen;
use reports::rows::revisions;
use reports::run::Exit;
use scenarios::Explorer;
use std::fs;
use std::path::Path;

fn root() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

fn answered() -> Vec<Answered> {
    let loaded = scenarios::load_dir(&root().join("scenarios"), revisions());
    assert!(loaded.errors.is_empty(), "{:?}", loaded.errors);
    let questions: Vec<Question> = loaded
        .scenarios
        .into_iter()
        .flat_map(|s| {
            let called = s.name.clone();
            Question::all(s, called)
        })
        .collect();
    let settings = Settings { explorers: vec![Explorer::Dpor], jobs: 2, ..Settings::default() };
    check::run(&questions, &settings, &Screen::hidden(), &mut |_| {})
}

fn fresh(file: &str, page: &str) {
    let path = root().join(file);
    if std::env::var_os("UPDATE").is_some() {
        files::write(&path, page).expect("the page is writable");
        return;
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    let differs = committed.lines().zip(page.lines()).find(|(old, new)| old != new);
    assert!(
        committed == page,
        "{file} is stale: `UPDATE=1 cargo test --workspace` rewrites it, the diff is the \
         review\nfirst difference: {differs:#?}"
    );
}

#[test]
fn the_generated_pages_are_fresh() {
    let answered = answered();
    let file = scenarios::pairs(&root().join("scenarios").join(scenarios::PAIRS)).expect("pairs");
    let rows = pairs::ROWS.iter().map(ToString::to_string).collect();
    let selection = pairs::Selection { rows, fail: true, ..pairs::Selection::default() };
    let settings = Settings { jobs: 2, ..Settings::default() };
    let report = pairs::run(&file, &selection, &settings, &Screen::hidden()).expect("it runs");
    assert_eq!(report.exit(), Exit::AsRecorded, "`iommufd-testbed pairs --fail` says more");
    fresh("reports/pairs.md", &pairs::page(&file, &report));
    fresh("reports/verdicts.md", &pages::verdicts(&answered));
    let readme = fs::read_to_string(root().join("README.md")).expect("a README");
    fresh("README.md", &pages::readme(&readme, &answered).expect("the markers are there"));
}
