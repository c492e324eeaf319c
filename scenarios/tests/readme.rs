//! The README: its table of calls is the one of the code, and its example is a scenario.

use scenarios::{call_table, request_table, Scenario};
use std::path::PathBuf;

const BEGIN: &str =
    "<!-- generated from uapi::call::SIGNATURES: UPDATE=1 cargo test -p scenarios -->\n";
const END: &str = "<!-- end -->";
const REQUESTS_BEGIN: &str =
    "<!-- generated from the requests of a queue: UPDATE=1 cargo test -p scenarios -->\n";
const REQUESTS_END: &str = "<!-- end of the requests -->";

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("README.md")
}

fn text() -> String {
    std::fs::read_to_string(path()).expect("scenarios/README.md can be read")
}

#[test]
fn the_tables_of_calls_are_fresh() {
    let text = text();
    let fresh = replaced(&text, BEGIN, END, &call_table());
    let fresh = replaced(&fresh, REQUESTS_BEGIN, REQUESTS_END, &request_table());
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path(), fresh).expect("scenarios/README.md can be written");
        return;
    }
    assert!(text == fresh, "scenarios/README.md is stale: run UPDATE=1 cargo test -p scenarios");
}

/// The text with another body between two markers.
fn replaced(text: &str, begin: &str, end: &str, body: &str) -> String {
    let (before, rest) = text.split_once(begin).expect("the begin marker");
    let (_, after) = rest.split_once(end).expect("the end marker");
    format!("{before}{begin}{body}{end}{after}")
}

#[test]
fn the_examples_are_scenarios() {
    let text = text();
    let examples: Vec<&str> =
        text.split("```toml\n").skip(1).filter_map(|t| t.split("```").next()).collect();
    assert_eq!(examples.len(), 2);
    for example in examples {
        if let Err(e) = Scenario::parse("README.md", example, &model_native::revisions()) {
            panic!("{:?}", miette::Report::new(e));
        }
    }
}
