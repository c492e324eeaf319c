//! One test per scenario file: its verdicts are the recorded ones.
fn main() {}
