//! The README: its table of calls is the one of the code, and its example is a scenario.

use scenarios::{call_table, Scenario};
use std::path::PathBuf;

const BEGIN: &str =
    "<!-- generated from uapi::call::SIGNATURES: UPDATE=1 cargo test -p scenarios -->\n";
const END: &str = "<!-- end -->";

fn path() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("README.md")
}

fn text() -> String {
    std::fs::read_to_string(path()).expect("scenarios/README.md can be read")
}

#[test]
fn the_table_of_calls_is_fresh() {
    let text = text();
    let (before, rest) = text.split_once(BEGIN).expect("the begin marker");
    let (_, after) = rest.split_once(END).expect("the end marker");
    let fresh = format!("{before}{BEGIN}{}{END}{after}", call_table());
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path(), fresh).expect("scenarios/README.md can be written");
        return;
    }
    assert!(text == fresh, "scenarios/README.md is stale: run UPDATE=1 cargo test -p scenarios");
}

#[test]
fn the_example_is_a_scenario() {
    let text = text();
    let example = text.split("```toml\n").nth(1).and_then(|t| t.split("```").next());
    let example = example.expect("an example in TOML");
    if let Err(e) = Scenario::parse("README.md", example, &model_native::revisions()) {
        panic!("{:?}", miette::Report::new(e));
    }
}
