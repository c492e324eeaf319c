//! `--baseline`: a run against one that was kept.

mod support;

use std::fs;
use support::{exits, run, stderr, stdout, with_race};
use tempfile::TempDir;

fn kept(args: &[&str]) -> TempDir {
    let dir = with_race(&[]);
    let output = run(dir.path(), &[args, &["--format", "json"]].concat());
    exits(&output, 0);
    fs::write(dir.path().join("baseline.json"), &output.stdout).expect("writable");
    dir
}

fn edit(dir: &TempDir, from: &str, to: &str) {
    let path = dir.path().join("baseline.json");
    let text = fs::read_to_string(&path).expect("it is there");
    assert!(text.contains(from), "{from}:\n{text}");
    fs::write(path, text.replacen(from, to, 1)).expect("writable");
}

const CHECK: [&str; 4] = ["check", "my_race.toml", "--explorer", "dpor"];
const WITH: [&str; 2] = ["--baseline", "baseline.json"];

#[test]
fn nothing_changed() {
    let dir = kept(&CHECK);
    let output = run(dir.path(), &[&CHECK[..], &WITH].concat());
    exits(&output, 0);
    let said = "baseline: 0 of 2 questions changed; 0 new, 0 not in this run\n";
    assert!(stdout(&output).ends_with(said), "{}", stdout(&output));
    let output = run(dir.path(), &[&CHECK[..], &WITH, &["--revision", "linux_6_13"]].concat());
    exits(&output, 0);
    assert!(stdout(&output).contains("0 of 1 questions changed; 0 new, 1 not in this run"));
}

/// A scenario under another name would pass for ever.
#[test]
fn a_baseline_of_other_questions_is_no_pass() {
    let dir = kept(&CHECK);
    fs::copy(dir.path().join("my_race.toml"), dir.path().join("other.toml")).expect("writable");
    let other = ["check", "other.toml", "--explorer", "dpor"];
    let output = run(dir.path(), &[&other[..], &WITH].concat());
    exits(&output, 1);
    let text = stdout(&output);
    assert!(text.contains("changed: nothing of this run is in the baseline"), "{text}");
    assert!(text.contains("new: other on linux_6_13, other on "), "{text}");
    assert!(text.contains("not in this run: my_race on linux_6_13, my_race on "), "{text}");
    assert!(text.ends_with("0 of 0 questions changed; 2 new, 2 not in this run\n"), "{text}");

    let both = ["check", "other.toml", "my_race.toml", "--explorer", "dpor"];
    let output = run(dir.path(), &[&both[..], &WITH].concat());
    exits(&output, 0);
    assert!(stdout(&output).contains("new: other on linux_6_13, "), "{}", stdout(&output));
}

#[test]
fn executions_and_verdicts_that_changed_are_named() {
    let dir = kept(&CHECK);
    edit(&dir, "\"executions\": ", "\"executions\": 7");
    let output = run(dir.path(), &[&CHECK[..], &WITH].concat());
    exits(&output, 1);
    let text = stdout(&output);
    assert!(text.contains("changed: my_race on linux_6_13: dpor Never 0 / 7"), "{text}");
    assert!(text.contains("baseline: 1 of 2 questions changed"), "{text}");

    edit(&dir, "\"verdict\": \"Sometimes\"", "\"verdict\": \"Never\"");
    let output = run(dir.path(), &[&CHECK[..], &WITH, &["--format", "junit"]].concat());
    exits(&output, 1);
    assert!(stderr(&output).contains("baseline: 2 of 2 questions changed"), "{}", stderr(&output));
    quick_junit::Report::deserialize_from_str(stdout(&output)).expect("stdout is the XML alone");
}

#[test]
fn what_is_no_baseline_is_bad_usage_before_the_run() {
    let dir = with_race(&[]);
    fs::write(dir.path().join("other.json"), "{}").expect("writable");
    fs::write(dir.path().join("text"), "x").expect("writable");
    for file in ["none.json", "other.json", "text", "."] {
        for args in [&CHECK[..], &["sweep", "--batch", "1,8"]] {
            let output = run(dir.path(), &[args, &["--baseline", file]].concat());
            exits(&output, 2);
            assert!(stderr(&output).contains("--format json"), "{file}: {}", stderr(&output));
            assert_eq!(stdout(&output), "");
        }
    }
}

#[test]
fn a_sweep_is_compared_point_by_point() {
    let sweep = ["sweep", "--batch", "1,8", "--commands", "8", "--seeds", "1"];
    let dir = kept(&sweep);
    let output = run(dir.path(), &[&sweep[..], &WITH].concat());
    exits(&output, 0);
    assert!(stdout(&output).contains("baseline: 0 of 2 points changed"), "{}", stdout(&output));
    edit(&dir, "\"p99_ps\": ", "\"p99_ps\": 1");
    let output = run(dir.path(), &[&sweep[..], &WITH].concat());
    exits(&output, 1);
    let text = stdout(&output);
    assert!(text.contains("p99_ps 1") && text.contains("1 of 2 points changed"), "{text}");
}

/// The snippets of the README, with the binary of this build instead of an installed one.
#[test]
fn the_ci_snippets_of_the_readme_run() {
    let dir = with_race(&[]);
    fs::create_dir(dir.path().join("races")).expect("writable");
    fs::rename(dir.path().join("my_race.toml"), dir.path().join("races/my_race.toml"))
        .expect("writable");
    let shell = |line: &str| {
        let binary = std::path::Path::new(env!("CARGO_BIN_EXE_iommufd-testbed"));
        let path = format!(
            "{}:{}",
            binary.parent().expect("a directory").display(),
            std::env::var("PATH").unwrap_or_default()
        );
        let mut shell = std::process::Command::new("sh");
        let output = shell.args(["-c", line]).current_dir(dir.path()).env("PATH", path).output();
        exits(&output.expect("a shell"), 0);
    };
    let readme = fs::read_to_string(support::root().join("reports/README.md")).expect("a README");
    let flat = readme.replace('\n', " ");
    let (_, kept) = flat.split_once("A baseline is a run that was kept: `").expect("it is told");
    shell(kept.split_once('`').expect("a command").0);

    let snippets = readme.split("```yaml\n").skip(1).filter_map(|rest| rest.split("```").next());
    let (mut ran, mut installs) = (0, 0);
    for line in snippets.flat_map(str::lines) {
        let line = line.trim().trim_start_matches("- ").trim_start_matches("run: ");
        let line = line.trim_start_matches(".testbed/bin/");
        if line.contains("cargo install") {
            assert!(line.ends_with("--rev COMMIT --locked iommufd-testbed"), "{line}");
            installs += 1;
        } else if line.starts_with("iommufd-testbed ") {
            shell(line);
            ran += 1;
        }
    }
    assert_eq!((ran, installs), (4, 2));
    for left in ["junit.xml", "verdicts.json", "report.html"] {
        assert!(dir.path().join("results").join(left).is_file(), "{left}");
    }
}
