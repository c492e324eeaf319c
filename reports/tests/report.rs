//! `report`, as a user meets it: what stands in its three formats, that it is the same each time,
//! and what happens where it cannot be written. `tests/browser.rs` opens the page.

mod support;

use reports::report::{Interleaving, Report, FORMAT};
use std::fs;
use std::process::{Command, Output};
use support::{exits, run, stderr, stdout, with_race};
use tempfile::TempDir;

const FAST: [&str; 6] = ["report", "my_race.toml", "--explorer", "dpor", "--jobs", "1"];

fn report(dir: &TempDir, more: &[&str]) -> Output {
    run(dir.path(), &[&FAST[..], more].concat())
}

fn small() -> Report {
    let dir = with_race(&[]);
    let output = report(&dir, &["--format", "json", "--no-sweep"]);
    exits(&output, 0);
    serde_json::from_str(stdout(&output)).expect("a report")
}

fn failing(report: &Report) -> &Interleaving {
    let answers = &report.scenarios[0].answers;
    answers[1].interleaving.as_ref().expect("the twin fails")
}

fn failing_on<'a>(report: &'a Report, row: &str) -> &'a Interleaving {
    let mut answers = report.scenarios.iter().flat_map(|s| &s.answers);
    let answer = answers.find(|a| a.revision == row).expect("it was asked on this row");
    answer.interleaving.as_ref().expect("it fails there")
}

#[test]
fn json_has_the_run_and_its_failure() {
    let report = small();
    assert_eq!((report.format, report.exit, report.scenarios.len()), (FORMAT, 0, 1));
    let answers = &report.scenarios[0].answers;
    let said: Vec<String> =
        answers.iter().map(|a| format!("{} {}", a.revision, a.verdict)).collect();
    assert_eq!(said, ["linux_6_13 Never", "linux_6_13_without_xa_cmpxchg Sometimes"]);
    assert!(answers[0].interleaving.is_none(), "nothing fails there");
    assert!(answers.iter().flat_map(|a| &a.observations).all(|o| o.milliseconds.is_none()));

    let run = failing(&report);
    assert_eq!(run.cpus, 2);
    assert_eq!(run.splat, "viommu->vdevs[0x99] lost a live vDEVICE");
    let steps: Vec<usize> =
        run.lines.iter().filter(|l| l.kind == "step").filter_map(|l| l.step).collect();
    assert_eq!(steps, (0..run.steps).collect::<Vec<_>>(), "each step once, in order");
    let point = run.point_of_no_return.expect("dpor finds it");
    let rulers = run.lines.iter().filter(|l| l.kind == "ruler" && l.step == Some(point));
    assert_eq!(rulers.count(), 1, "it is marked once");
}

/// What the page says above a plot does not stand in it once more.
#[test]
fn plots_do_not_repeat_the_page() {
    let dir = with_race(&[]);
    let output = report(&dir, &["--format", "json"]);
    exits(&output, 0);
    let report: Report = serde_json::from_str(stdout(&output)).expect("a report");
    let sweep = report.sweep.expect("the cost model was asked");
    assert_eq!(sweep.studies.len(), 7);
    for study in &sweep.studies {
        let texts: Vec<&str> = study.plot.split("<text ").collect();
        assert!(texts.len() > 20, "{}", study.plot);
        // Long enough to be no word of a legend.
        for words in [&study.question, &study.advice] {
            let start: String = words.chars().take(20).collect();
            assert!(!study.plot.contains(&start), "{}: {start}", study.name);
        }
    }
}

/// The step that the kernel stops in frees nothing: what was there is what the reader looks at.
#[test]
fn the_objects_of_the_last_step_are_those_before_it() {
    let dir = TempDir::new().expect("a directory");
    let args =
        ["report", "vdevice_alloc_any_fault_of_the_series", "--revision", "p2_v3_lock_in_destroy"];
    let output = run(
        dir.path(),
        &[&args[..], &["--explorer", "dpor", "--no-sweep", "--format", "json"]].concat(),
    );
    exits(&output, 0);
    let report: Report = serde_json::from_str(stdout(&output)).expect("a report");
    let run = failing_on(&report, "p2_v3_lock_in_destroy");
    assert!(run.splat.contains("recursive locking"), "{}", run.splat);
    let last = run.changes.iter().rev().find_map(|c| c.locks.as_ref()).expect("a lock is held");
    assert_eq!((last[0].holders.as_slice(), last[0].waiters.as_slice()), (&[0][..], &[0][..]));
    let freed: usize =
        run.changes.iter().filter(|c| c.step + 1 == run.steps).map(|c| c.freed.len()).sum();
    assert_eq!(freed, 0, "the kernel stops, and the objects stay");
}

/// A ledger is looked at before the rest is unbound, and so it stands in the columns.
#[test]
fn the_first_splat_is_the_first_in_the_columns() {
    let dir = TempDir::new().expect("a directory");
    let names =
        ["canary_ledger", "canary_leak", "canary_hung_task", "canary_kcsan", "canary_lock_order"];
    let args = [&["report"], &names[..], &["--explorer", "dpor", "--no-sweep", "--format", "json"]];
    let output = run(dir.path(), &args.concat());
    exits(&output, 0);
    let report: Report = serde_json::from_str(stdout(&output)).expect("a report");
    let runs =
        report.scenarios.iter().flat_map(|s| &s.answers).filter_map(|a| a.interleaving.as_ref());
    let runs: Vec<&Interleaving> = runs.collect();
    assert_eq!(runs.len(), names.len());
    for run in runs {
        let first = run.lines.iter().find(|l| l.kind == "splat").map(|l| l.text.as_str());
        assert_eq!(first, Some(run.splat.as_str()));
        let named: Vec<String> =
            run.hung.iter().map(|h| format!("CPU {} in {}", h.cpu, h.op)).collect();
        match run.splat.contains("task hung") {
            true => {
                assert!(run.splat.contains(&named.join(", ")) && !named.is_empty(), "{named:?}")
            }
            false => assert!(named.is_empty(), "{named:?}"),
        }
    }
}

/// The changes add up to the objects and locks that `replay --graph` prints.
#[test]
fn the_stepper_follows_objects_and_locks() {
    let report = small();
    let run = failing(&report);
    assert_eq!(run.changes[0].step, 0, "what the setup made is there from the first step on");
    let viommu = run.changes[0].set.iter().find(|o| o.name == "viommu0").expect("it is live");
    assert!(
        viommu.id.is_some() && viommu.fields.iter().any(|(f, _)| f == "obj.users"),
        "{viommu:?}"
    );
    let freed = run.changes.iter().flat_map(|c| &c.freed).count();
    assert!(freed > 0, "something is freed");
    let locks: Vec<_> = run.changes.iter().filter_map(|c| c.locks.as_ref()).collect();
    assert!(locks.iter().any(|l| !l.is_empty()) && locks.last().is_some_and(|l| l.is_empty()));
    for line in run.lines.iter().filter_map(|l| l.code.as_ref()) {
        let path = support::root().join(&line.file);
        let source = fs::read_to_string(&path).expect("the file of the model is there");
        assert!(source.lines().count() >= line.line as usize, "{}:{}", line.file, line.line);
    }
}

#[test]
fn html_is_one_file_that_loads_nothing() {
    let dir = with_race(&[]);
    let output = report(&dir, &["-o", "report.html"]);
    exits(&output, 0);
    assert_eq!(stdout(&output), "", "it went to the file");
    let page = fs::read_to_string(dir.path().join("report.html")).expect("it is written");
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("default-src 'none'"));
    for load in ["src=\"http", "href=\"http", "<link rel=\"stylesheet", "@import", "<iframe"] {
        let ours =
            page.match_indices(load).filter(|(at, _)| !page[*at..].starts_with("href=\"https://"));
        assert_eq!(ours.count(), 0, "{load}");
    }
    assert!(page.contains("my_race") && page.contains("What a batch or a queue type buys"));
    assert_eq!(page.matches("data:image/svg+xml,").count(), 7, "a plot per question");
    assert_eq!(page.matches("</script>").count(), 3, "two islands and the script");
}

#[test]
fn hostile_texts_stay_texts() {
    let evil = "</script><script>document.title='x'</script><img src=x onerror=alert(1)>";
    let dir = with_race(&[("a doubt of mine", evil)]);
    let output = report(&dir, &["--no-sweep"]);
    exits(&output, 0);
    let page = stdout(&output);
    assert_eq!(page.matches("</script>").count(), 3, "two islands and the script");
    assert!(!page.contains("<img src=x"));
}

#[test]
fn the_same_run_gives_the_same_bytes() {
    let dir = with_race(&[]);
    for format in ["html", "markdown", "json"] {
        let once = report(&dir, &["--no-sweep", "--format", format]);
        exits(&once, 0);
        let again = report(&dir, &["--no-sweep", "--format", format, "--quiet"]);
        assert!(once.stdout == again.stdout, "{format} differs");
    }
    let timed = report(&dir, &["--no-sweep", "--format", "json", "--times"]);
    let timed: Report = serde_json::from_str(stdout(&timed)).expect("a report");
    let observations =
        timed.scenarios.iter().flat_map(|s| &s.answers).flat_map(|a| &a.observations);
    assert!(observations.into_iter().all(|o| o.milliseconds.is_some()));
}

#[test]
fn markdown_has_the_table_the_columns_and_the_findings() {
    let dir = with_race(&[]);
    let output = report(&dir, &["--no-sweep", "--format", "markdown"]);
    exits(&output, 0);
    let page = stdout(&output);
    for line in
        ["| my_race | linux_6_13 | Never | 0 / ", "\nCPU 0 ", "# Findings", "# How well the cost"]
    {
        assert!(page.contains(line), "{line}");
    }
}

#[test]
fn the_exit_code_is_that_of_the_run() {
    let dir =
        with_race(&[("{ sometimes = \"viommu->vdevs[0x99] lost a live vDEVICE\" }", "\"Never\"")]);
    let output = report(&dir, &["--no-sweep", "-o", "r.html"]);
    exits(&output, 1);
    let page = fs::read_to_string(dir.path().join("r.html")).expect("it is written all the same");
    assert!(page.contains("Not as recorded"), "what differs comes first");
}

#[test]
fn places_that_cannot_be_written_are_errors_before_the_run() {
    let dir = with_race(&[]);
    fs::write(dir.path().join("file"), "x").expect("writable");
    let pipe = Command::new("mkfifo").arg(dir.path().join("pipe")).status().expect("mkfifo");
    assert!(pipe.success());
    for (place, words) in [
        ("none/report.html", "there is no directory none"),
        ("file/report.html", "there is no directory file"),
        (".", "is a directory"),
        ("pipe", "is a device or a pipe"),
    ] {
        let output = report(&dir, &["-o", place]);
        exits(&output, 2);
        assert!(stderr(&output).contains(words), "{place}: {}", stderr(&output));
    }
    let output = report(&dir, &["--sources", "javascript:alert(1)//"]);
    exits(&output, 2);
}

/// A disk that is full while the report is written: the old report stays, nothing is left over.
#[test]
fn a_full_disk_leaves_the_old_report() {
    let dir = with_race(&[]);
    fs::write(dir.path().join("report.html"), "the old one").expect("writable");
    // A limit of 8 blocks of 512 or 1,024 bytes, and a write that fails instead of a signal.
    let script = "trap '' XFSZ; ulimit -f 8; exec \"$0\" \"$@\"";
    let output = Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_iommufd-testbed")])
        .args(FAST)
        .args(["--no-sweep", "-o", "report.html"])
        .current_dir(dir.path())
        .output()
        .expect("a shell");
    exits(&output, 2);
    assert!(stderr(&output).contains("cannot write report.html"), "{}", stderr(&output));
    let left: Vec<_> =
        fs::read_dir(dir.path()).expect("a directory").filter_map(Result::ok).collect();
    assert_eq!(left.len(), 2, "the scenario and the report: {left:?}");
    assert_eq!(
        fs::read_to_string(dir.path().join("report.html")).expect("it is there"),
        "the old one"
    );
}
