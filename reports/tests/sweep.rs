//! `sweep`, as a user and a CI script meet it: determinism, formats, files, bad input.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::str::from_utf8;
use tempfile::TempDir;

fn sweep(dir: &Path, args: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_iommufd-testbed"));
    command.arg("sweep").args(args).current_dir(dir).stdin(Stdio::null());
    command.output().expect("the binary starts")
}

fn stdout(output: &Output) -> &str {
    from_utf8(&output.stdout).expect("UTF-8")
}

fn stderr(output: &Output) -> &str {
    from_utf8(&output.stderr).expect("UTF-8")
}

/// Asserts that it failed with 2, said all of this, printed no answer and wrote no file.
fn refused(dir: &Path, args: &[&str], words: &[&str]) {
    let before = fs::read_dir(dir).expect("readable").count();
    let output = sweep(dir, args);
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{args:?}: {said}");
    for word in words {
        assert!(said.contains(word), "{args:?} does not say `{word}`:\n{said}");
    }
    assert!(!said.contains("panicked"), "{said}");
    assert_eq!(stdout(&output), "", "{args:?}");
    assert_eq!(fs::read_dir(dir).expect("readable").count(), before, "{args:?} wrote something");
}

const SMALL: [&str; 6] = ["--queue", "cmpxchg,trapped", "--cpus", "1,4", "--commands", "1,63"];

#[test]
fn the_same_sweep_prints_the_same_bytes() {
    let dir = TempDir::new().expect("a directory");
    for format in ["human", "csv", "json"] {
        let args = [&SMALL[..], &["--format", format]].concat();
        let (first, second) = (sweep(dir.path(), &args), sweep(dir.path(), &args));
        assert_eq!(first.status.code(), Some(0), "{}", stderr(&first));
        assert_eq!(first.stdout, second.stdout, "{format}");
        assert!(!first.stdout.is_empty());
    }
}

#[test]
fn csv_json_and_the_directory_agree() {
    let dir = TempDir::new().expect("a directory");
    let csv = sweep(dir.path(), &[&SMALL[..], &["--format", "csv", "-o", "out"]].concat());
    assert_eq!(csv.status.code(), Some(0), "{}", stderr(&csv));
    let read = |name: &str| fs::read_to_string(dir.path().join("out").join(name)).expect(name);
    assert_eq!(stdout(&csv), read("sweep.csv"));
    assert_eq!(stdout(&csv).lines().count(), 1 + 8, "2 queues, 2 numbers of CPUs, 2 of commands");
    let json: serde_json::Value = serde_json::from_str(&read("sweep.json")).expect("JSON");
    let points = json["studies"][0]["points"].as_array().expect("points");
    assert_eq!(points.len(), 8);
    for point in points {
        let rate = point["invalidations_per_s"].as_u64().expect("a number");
        assert!(rate > 0 && stdout(&csv).contains(&format!(",{rate},")), "{point}");
        assert!(point["p50_ps"].as_u64() <= point["p99_ps"].as_u64(), "{point}");
    }
    let svg = read("sweep.svg");
    assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"), "{svg}");
    assert_eq!(svg.matches("<path d=\"M").count(), svg.matches("<path ").count());
    assert_eq!(fs::read_dir(dir.path().join("out")).expect("readable").count(), 3, "no leftovers");
}

#[test]
fn without_axes_it_answers_each_question_with_a_sentence_and_a_plot() {
    let dir = TempDir::new().expect("a directory");
    let output = sweep(dir.path(), &["--seeds", "1", "-o", "out"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    let plots = ["batch", "guest", "work", "cpus", "completion", "span", "ring"];
    assert_eq!(text.matches("\n=> ").count(), plots.len(), "{text}");
    assert!(!text.contains("too few points"), "{text}");
    assert!(text.contains("buy less than 5 % on this profile"), "{text}");
    assert!(text.contains("a curve that shows 10 x measures the bare queue"), "{text}");
    for plot in plots {
        let svg = fs::read_to_string(dir.path().join("out").join(format!("{plot}.svg")));
        let svg = svg.unwrap_or_else(|e| panic!("{plot}.svg: {e}"));
        assert!(svg.len() < 60_000, "{plot}.svg has {} bytes", svg.len());
        assert!(!svg.contains("NaN") && svg.contains("invalidations per second"), "{plot}");
    }
}

#[test]
fn a_profile_of_ones_own_changes_the_answer() {
    let dir = TempDir::new().expect("a directory");
    let file =
        "base = \"kunpeng-920\"\nname = \"mine\"\nsource = \"a test\"\n[smmu]\nsync_ns = 1035\n";
    fs::write(dir.path().join("mine.toml"), file).expect("writable");
    let p50 = |args: &[&str]| {
        let output = sweep(dir.path(), &[args, &["--cpus", "1", "--format", "json"]].concat());
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let json: serde_json::Value = serde_json::from_str(stdout(&output)).expect("JSON");
        json["studies"][0]["points"][0]["p50_ps"].as_u64().expect("a number")
    };
    assert_eq!(p50(&["--profile", "mine.toml"]), p50(&[]) + 1_000_000);
}

#[test]
fn bad_input_is_refused_before_anything_is_written() {
    let dir = TempDir::new().expect("a directory");
    let d = dir.path();
    for (args, words) in [
        (&["--cpus", "0", "-o", "x"][..], &["`0` CPUs cannot be", "from 1 to 128"][..]),
        (&["--cpus", "129", "-o", "x"], &["`129` CPUs"]),
        (&["--cpus", "many"], &["`many` CPUs"]),
        (&["--ring", "64", "-o", "x"], &["a ring of 64 entries is too small", "such as 256"]),
        (&["--ring", "4"], &["too small"]),
        (&["--ring", "1048576", "-o", "x"], &["LOG2SIZE is at most 19"]),
        (&["--ring", "1000"], &["no power of two"]),
        (&["--ring", "-1"], &["error"]),
        (&["--batch", "0"], &["0"]),
        (&["--batch", "64"], &["64 is not in 1..=63"]),
        (&["--commands", "0"], &["0 is not in"]),
        (&["--queue", "cmpxchg,rcu"], &["no queue type `rcu`", "ecmdq"]),
        (&["--completion", "irq"], &["no completion `irq`"]),
        (&["--seeds", "0"], &["0 is not in 1..=100"]),
        (&["--cpus", "97", "-o", "x"], &["97 CPUs are more than the 96 of profile kunpeng-920"]),
        (&["--profile", "kunpeng-902", "-o", "x"], &["no profile of this name", "kunpeng-920"]),
        (&["--profile", "nowhere.toml", "-o", "x"], &["there is no such file"]),
        (&["--profile", "."], &["directory"]),
        (&["--format", "xml"], &["xml"]),
    ] {
        refused(d, args, words);
    }
    let many = (1..=96).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    let commands = (1..=64).map(|n| n.to_string()).collect::<Vec<_>>().join(",");
    refused(d, &["--cpus", &many, "--commands", &commands], &["6144 points", "at most 4096"]);
}

#[test]
fn bad_profiles_point_at_the_line() {
    let dir = TempDir::new().expect("a directory");
    let head = "base = \"kunpeng-920\"\nname = \"mine\"\nsource = \"a test\"\n";
    for (text, words) in [
        (
            "[line]\ndie_nss = 3\n",
            &["bad.toml:5:1", "has no key `die_nss`", "did you mean `die_ns`?"][..],
        ),
        ("[queue]\nentries = 64\n", &["bad.toml:5:11", "too small"]),
        ("[queue]\nentries = 1048576\n", &["bad.toml:5:11", "LOG2SIZE"]),
        ("[topology]\ncpus_per_die = 0\n", &["bad.toml:5:16", "from 1 to 128"]),
        ("[line]\ndie_ns = \"far\"\n", &["bad.toml:5:10", "whole number"]),
        ("[line]\ndie_ns = nan\n", &["bad.toml:5:10", "whole number"]),
        ("[line]\ndie_ns = inf\n", &["bad.toml:5:10", "whole number"]),
        ("[line]\ndie_ns = -3\n", &["bad.toml:5:10", "whole number"]),
        (
            "[line]\ndie_ns = 3\ndie_ns = 4\n",
            &["bad.toml:6:1", "duplicate key", "once in its table"],
        ),
        ("[smmu]\nsync_ns = 18446744073709551616\n", &["bad.toml:5:11", "whole number"]),
        ("[topology]\ncpus_per_die = 100000\n", &["bad.toml:5:16", "from 1 to 128"]),
        ("[line\n", &["bad.toml:4:"]),
    ] {
        fs::write(dir.path().join("bad.toml"), format!("{head}{text}")).expect("writable");
        refused(dir.path(), &["--profile", "bad.toml", "-o", "x"], words);
    }
}

#[test]
fn files_that_are_no_profiles_are_refused() {
    let dir = TempDir::new().expect("a directory");
    let garbage: Vec<u8> =
        (0..10_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let missing = "these are missing: [cpu], [guest], [line]";
    for (bytes, words) in [
        (&b""[..], missing),
        (b"name = \"mine\"\nsource = \"a test\"\n", missing),
        (b"\xff\xfe", "not UTF-8"),
        (&garbage, "more than 262144 bytes"),
    ] {
        fs::write(dir.path().join("bad.toml"), bytes).expect("writable");
        refused(dir.path(), &["--profile", "bad.toml", "-o", "x"], &["bad.toml", words]);
    }
    refused(dir.path(), &["--profile", ".", "-o", "x"], &["this is a directory"]);
    assert!(!dir.path().join("x").exists(), "nothing is written");
}

#[test]
fn a_directory_that_cannot_be_written_is_found_before_the_run() {
    let dir = TempDir::new().expect("a directory");
    fs::write(dir.path().join("file"), "mine").expect("writable");
    refused(dir.path(), &["--cpus", "1", "-o", "file"], &["cannot write to the directory file"]);
    refused(dir.path(), &["--cpus", "1", "-o", "file/x"], &["cannot write to the directory"]);
    assert_eq!(fs::read_to_string(dir.path().join("file")).expect("still there"), "mine");
}
