//! From a program back to the text of a file.

use uapi::program::{Program, Step};
use uapi::verdict::Expected;

/// A program as the text of a scenario file. `verdicts`: (row, verdict), in the order in which
/// they are written.
pub fn write(
    _program: &Program,
    question: &str,
    source: &str,
    _verdicts: &[(String, Expected)],
) -> String {
    format!("question = {question:?}\nsource = {source:?}\n")
}

/// A step as a scenario spells it, without its expectation; `syms` are the names of the program.
pub fn step_text(step: &Step, _syms: &[String]) -> String {
    step.text.clone()
}

/// The calls as a Markdown table, from `uapi::call::SIGNATURES`.
pub fn call_table() -> String {
    String::new()
}
