//! What the tests of the binary share.

// Every test binary compiles this file for itself and uses its part of it.
#![allow(dead_code)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::str::from_utf8;
use tempfile::TempDir;

/// The binary, in an empty directory and without what the caller's terminal would change.
pub fn testbed(dir: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_iommufd-testbed"));
    command.args(args).current_dir(dir).env_remove("COLUMNS").env_remove("NO_COLOR");
    command.stdin(Stdio::null());
    command
}

/// Runs it to its end.
pub fn run(dir: &Path, args: &[&str]) -> Output {
    testbed(dir, args).output().expect("the binary starts")
}

/// What it answered.
pub fn stdout(output: &Output) -> &str {
    from_utf8(&output.stdout).expect("UTF-8")
}

/// What it said about the run.
pub fn stderr(output: &Output) -> &str {
    from_utf8(&output.stderr).expect("UTF-8")
}

/// Asserts on the exit code and shows everything if it is another one.
pub fn exits(output: &Output, code: i32) {
    assert_eq!(
        output.status.code(),
        Some(code),
        "stdout:\n{}\nstderr:\n{}",
        stdout(output),
        stderr(output)
    );
    assert!(!stderr(output).contains("panicked"), "{}", stderr(output));
}

/// The checkout.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The scenario of the README: two allocations under one virtual ID.
pub fn my_race() -> String {
    let readme = fs::read_to_string(root().join("README.md")).expect("a README");
    let (_, rest) = readme.split_once("```toml\n").expect("the README has a scenario");
    rest.split_once("```").expect("the block ends").0.to_owned()
}

/// A directory with the README's scenario in it, after some replacements.
pub fn with_race(replacements: &[(&str, &str)]) -> TempDir {
    let dir = TempDir::new().expect("a directory");
    let mut text = my_race();
    for (from, to) in replacements {
        assert!(text.contains(from), "{from} is in the README's scenario:\n{text}");
        text = text.replace(from, to);
    }
    fs::write(dir.path().join("my_race.toml"), text).expect("it is writable");
    dir
}
