//! The simulator: the same bytes for the same seed, journals that survive a kill, shards that are
//! the whole, findings that `check` reproduces.

use reports::simulate::journal::{Head, Journal};
use reports::simulate::record::{Record, Records};
use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::str::from_utf8;
use tempfile::TempDir;

fn run(dir: &Path, args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_iommufd-testbed"))
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::null())
        .output()
        .expect("the binary starts")
}

fn simulate(dir: &Path, args: &[&str]) -> String {
    let output = run(dir, &[&["simulate"], args].concat());
    let code = output.status.code();
    let errors = from_utf8(&output.stderr).expect("UTF-8");
    assert!(matches!(code, Some(0 | 1 | 3)), "{code:?}: {errors}");
    from_utf8(&output.stdout).expect("UTF-8").to_owned()
}

fn directory() -> TempDir {
    TempDir::new().expect("a directory")
}

/// Every draw, every answer and every choice stands in these bytes, by itself or in a fingerprint.
#[test]
fn a_seed_is_the_same_bytes_every_time() {
    let dir = directory();
    for row in ["linux_7_3", "p2_v3", "cmdq_prod_stop"] {
        let args = ["--revision", row, "--seed", "7", "--runs", "60", "--findings", "1", "-v"];
        let one = simulate(dir.path(), &[&args[..], &["--jobs", "1"]].concat());
        let two = simulate(dir.path(), &[&args[..], &["--jobs", "2"]].concat());
        assert_eq!(one, two);
        let head = one.lines().next().expect("a first line");
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(
            head,
            format!("iommufd-testbed {version}: simulate {row}, seed 7 (ChaCha8Rng), runs 0 to 59")
        );
        assert_eq!(one.matches("\nrun ").count(), 60, "{one}");
        let other = simulate(
            dir.path(),
            &["--revision", row, "--seed", "8", "--runs", "60", "--findings", "1"],
        );
        let last = |text: &str| text.lines().rev().nth(1).map(str::to_owned);
        assert_ne!(last(&one), last(&other), "another seed is another simulation");
    }
}

/// The traces of these are committed: `cargo test` makes them again with the checks of a debug build,
/// `.ci/run` with the release build. `UPDATE=1` rewrites them.
#[test]
fn a_seed_is_the_same_bytes_in_every_build() {
    let dir = directory();
    for row in ["linux_6_13", "linux_7_3", "cmdq_2d4f03f6610d"] {
        let args = ["--revision", row, "--seed", "7", "--runs", "20", "--findings", "0", "-v"];
        let made = simulate(dir.path(), &args);
        assert_eq!(made.matches(", fingerprint ").count(), 21, "one per run, one of all");
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/seeds/{row}.txt"));
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&path, &made).expect("writable");
        }
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == made,
            "{} is not what this build makes: `UPDATE=1 cargo test -p iommufd-testbed --test \
             simulate` rewrites it, the diff is the review",
            path.display()
        );
    }
}

/// What a kill leaves: whole lines and a torn one. Nothing is lost, nothing is made twice.
#[test]
fn a_journal_goes_on_where_it_was_torn() {
    let dir = directory();
    let journal = dir.path().join("runs.jsonl");
    let args = ["--revision", "linux_6_12", "--runs", "50", "--findings", "0", "--jobs", "1"];
    let with = [&args[..], &["--journal", "runs.jsonl"]].concat();
    let whole = simulate(dir.path(), &args);
    assert_eq!(simulate(dir.path(), &with), whole);
    let text = fs::read(&journal).expect("a journal");
    assert_eq!(text.iter().filter(|b| **b == b'\n').count(), 51, "a head and a line per run");
    for keep in [0, 1, 10, text.len() / 3, text.len() / 2, text.len() - 1, text.len()] {
        fs::write(&journal, &text[..keep]).expect("writable");
        assert_eq!(simulate(dir.path(), &with), whole, "cut at {keep}");
        let again = fs::read(&journal).expect("a journal");
        let runs = |text: &[u8]| {
            let text = from_utf8(text).expect("UTF-8").to_owned();
            let mut runs: Vec<String> = text
                .lines()
                .skip(1)
                .filter_map(|l| Some(l.split_once(',')?.0.to_owned()))
                .collect();
            runs.sort();
            runs
        };
        assert_eq!(runs(&again), runs(&text), "cut at {keep}");
    }
    // Of fewer runs than the journal has: they are counted, and it says so.
    let fewer = run(
        dir.path(),
        &["simulate", "--revision", "linux_6_12", "--runs", "48", "--journal", "runs.jsonl"],
    );
    let errors = from_utf8(&fewer.stderr).expect("UTF-8");
    let said = "the journal has 2 runs beside these, which are counted as well";
    assert!(errors.contains(said), "{errors}");
    assert!(from_utf8(&fewer.stdout).expect("UTF-8").contains("\n50 programs, "), "{fewer:?}");
}

#[test]
fn a_killed_simulation_goes_on() {
    let dir = directory();
    let args = ["simulate", "--revision", "linux_6_12", "--runs", "1000", "--findings", "0"];
    let whole = run(dir.path(), &args);
    for lines in [1, 20, 100] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_iommufd-testbed"))
            .args([&args[..], &["--journal", "runs.jsonl"]].concat())
            .current_dir(dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the binary starts");
        let length = || {
            fs::read(dir.path().join("runs.jsonl"))
                .map_or(0, |t| t.iter().filter(|b| **b == b'\n').count())
        };
        while length() < lines && child.try_wait().expect("a child").is_none() {
            std::hint::spin_loop();
        }
        child.kill().expect("it is ours");
        child.wait().expect("it ends");
    }
    let resumed = run(dir.path(), &[&args[..], &["--journal", "runs.jsonl"]].concat());
    assert_eq!(from_utf8(&resumed.stdout), from_utf8(&whole.stdout));
    let text = fs::read_to_string(dir.path().join("runs.jsonl")).expect("a journal");
    assert_eq!(text.lines().count(), 1001);
}

#[test]
fn the_journal_of_another_simulation_is_refused() {
    let dir = directory();
    let args = ["simulate", "--revision", "linux_6_12", "--runs", "2", "--journal", "runs.jsonl"];
    run(dir.path(), &args);
    for other in [&["--seed", "2"][..], &["--revision", "linux_6_13"], &["--shard", "1/2"]] {
        let mut args = args.to_vec();
        if other[0] == "--revision" {
            args[2] = other[1];
        } else {
            args.extend(other);
        }
        let output = run(dir.path(), &args);
        let errors = from_utf8(&output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(2), "{other:?}: {errors}");
        assert!(
            errors.contains("another simulation") && errors.contains("name a new file"),
            "{errors}"
        );
    }
    fs::write(dir.path().join("runs.jsonl"), "{}\nnonsense\n").expect("writable");
    let output = run(dir.path(), &args);
    assert_eq!(output.status.code(), Some(2));
    assert!(from_utf8(&output.stderr).expect("UTF-8").contains("cannot be read: line 1: "));
    for missing in [&["simulate", "merge", "no.jsonl"][..], &["simulate", "merge"], &["simulate"]] {
        assert_eq!(run(dir.path(), missing).status.code(), Some(2), "{missing:?}");
    }
}

/// A file of the user's, named by mistake, is not taken for a journal whose head was torn.
#[test]
fn what_is_no_journal_is_left_as_it_is() {
    let dir = directory();
    let args = ["simulate", "--revision", "linux_6_12", "--runs", "1", "--journal", "notes.txt"];
    for notes in ["notes without a newline", "{", "{\"format\":1,\"testbed\":\"none\""] {
        fs::write(dir.path().join("notes.txt"), notes).expect("writable");
        let output = run(dir.path(), &args);
        let left = fs::read_to_string(dir.path().join("notes.txt")).expect("a file");
        let errors = from_utf8(&output.stderr).expect("UTF-8");
        let torn = notes == "{";
        assert_eq!(output.status.code() == Some(2), !torn, "{notes}: {errors}");
        assert_eq!(left == notes, !torn, "{notes}: {left}");
        assert_eq!(errors.contains("is no journal, and is left as it is"), !torn, "{errors}");
    }
}

/// Numbers of runs reach as far as their type.
#[test]
fn the_last_number_of_a_run_can_be_merged() {
    let dir = directory();
    let head = Head::new("linux_6_12", 1, None);
    let (path, mut records) = (dir.path().join("runs.jsonl"), Records::default());
    let mut journal = Journal::open(&path, &head, &mut records).expect("a journal");
    for run in [0, u64::MAX] {
        let record = Record { run, ..Record::default() };
        journal.append(&record).expect("writable");
    }
    let output = run(dir.path(), &["simulate", "merge", "--findings", "0", "runs.jsonl"]);
    let errors = from_utf8(&output.stderr).expect("UTF-8");
    assert_eq!(output.status.code(), Some(3), "{errors}");
    let missing = "18,446,744,073,709,551,614 runs are in none of the journals";
    assert!(errors.contains(missing), "{errors}");
}

#[test]
fn the_shards_are_the_whole() {
    let dir = directory();
    let args = ["--revision", "p2_v5", "--runs", "61", "--findings", "2"];
    let whole = simulate(dir.path(), &args);
    let mut merge = vec!["merge".to_owned(), "--findings".to_owned(), "2".to_owned()];
    for part in ["3/3", "1/3", "2/3"] {
        let name = format!("{}.jsonl", part.replace('/', "of"));
        simulate(
            dir.path(),
            &[&args[..4], &["--findings", "0", "--shard", part, "--journal", &name]].concat(),
        );
        merge.push(name);
    }
    let merge: Vec<&str> = merge.iter().map(String::as_str).collect();
    assert_eq!(simulate(dir.path(), &merge), whole);
    let output = run(dir.path(), &[&["report"], &merge[..]].concat());
    assert_eq!(from_utf8(&output.stdout), Ok(whole.as_str()), "{output:?}");
    let output = run(dir.path(), &[&["simulate"], &merge[..merge.len() - 1]].concat());
    let errors = from_utf8(&output.stderr).expect("UTF-8");
    assert!(errors.contains("20 runs are in none of the journals"), "{errors}");
}

/// A twin whose bug only its own scenarios know, made unknown: what is found is a file, and `check` says
/// the same of it.
#[test]
fn what_is_found_is_a_scenario_that_check_reproduces() {
    let dir = directory();
    let output = run(
        dir.path(),
        &[
            "simulate",
            "--revision",
            "p2_v3",
            "--runs",
            "200",
            "--all",
            "--findings",
            "6",
            "-o",
            "found",
        ],
    );
    assert_eq!(output.status.code(), Some(1));
    let text = from_utf8(&output.stdout).expect("UTF-8");
    let files: Vec<String> = fs::read_dir(dir.path().join("found"))
        .expect("a directory")
        .map(|entry| entry.expect("an entry").path().display().to_string())
        .filter(|name| name.ends_with(".toml"))
        .collect();
    assert!(files.len() >= 3, "{text}");
    for file in &files {
        let written = fs::read_to_string(file).expect("a file");
        assert!(written.starts_with("question = ") && written.contains("?\""), "{written}");
        let output = run(dir.path(), &["check", file, "--explorer", "dpor"]);
        assert_eq!(
            output.status.code(),
            Some(0),
            "{file}:\n{written}\n{}",
            from_utf8(&output.stdout).expect("UTF-8")
        );
    }
    // The columns and the token of each stand in the output, and replay.
    assert!(text.contains("CPU 0") && text.contains("replay: iommufd-testbed replay '"), "{text}");
}

/// A row of the command queue: drawn with the errors of the SMMU, known where a scenario says so, and what
/// is not known is a file with a `[queue]`.
#[test]
fn the_command_queue_is_simulated() {
    let dir = directory();
    let row = "cmdq_2d4f03f6610d";
    let text = simulate(dir.path(), &["--revision", row, "--runs", "400", "-v", "--coverage"]);
    assert!(text.contains("0 of them not known"), "{text}");
    for drawn in ["{ abort = ", "{ atc_timeout = ", "{ dead = ", "word0 = ", "vsmmu = { vmid = "] {
        assert!(text.contains(drawn), "{drawn}");
    }
    assert!(text.contains("known: cmdq: CMDQ timeout: CPU N waits for space"), "{text}");
    assert!(text.contains("arm_smmu_cmdq_issue_cmdlist (arm_smmu_v3/cmdq.rs)"), "{text}");
    assert!(text.contains("  arm_smmu_cmdq_batch_submit: ") && !text.contains("IOMMU_DESTROY"));
    let args = ["simulate", "--revision", "cmdq_owner_does_not_wait", "--runs", "60", "--all"];
    let output = run(dir.path(), &[&args[..], &["-o", "found", "--findings", "4"]].concat());
    assert_eq!(output.status.code(), Some(1));
    let found = fs::read_dir(dir.path().join("found")).expect("a directory");
    let files: Vec<_> = found
        .map(|entry| entry.expect("an entry").path().display().to_string())
        .filter(|name| name.ends_with(".toml"))
        .collect();
    assert!(!files.is_empty());
    for file in &files {
        let written = fs::read_to_string(file).expect("a file");
        assert!(written.contains("\n[queue]\n"), "{written}");
        let output = run(dir.path(), &["check", file, "--explorer", "dpor"]);
        assert_eq!(output.status.code(), Some(0), "{written}\n{output:?}");
    }
    // The columns of an SMMU are called so.
    let text = from_utf8(&output.stdout).expect("UTF-8");
    assert!(text.contains("is publishing") && text.contains("SMMU\n"), "{text}");
}

/// Nothing of iommufd is asked of a row of the queue, and the other way round.
#[test]
fn a_row_of_the_queue_is_no_row_of_iommufd() {
    let dir = directory();
    for args in
        [&["mutate", "--revision", "cmdq_latest"][..], &["pairs", "--revision", "cmdq_latest"]]
    {
        let output = run(dir.path(), args);
        let errors = from_utf8(&output.stderr).expect("UTF-8");
        assert_eq!(output.status.code(), Some(2), "{errors}");
        assert!(errors.contains("a row of the command queue"), "{errors}");
    }
}

#[test]
fn coverage_names_what_was_not_reached() {
    let dir = directory();
    let text = simulate(
        dir.path(),
        &["--revision", "linux_6_7", "--runs", "20", "--findings", "0", "--coverage"],
    );
    assert!(text.contains("call sites and labels reached"), "{text}");
    assert!(text.contains("never reached: label ") || text.contains("scenario: label "), "{text}");
    assert!(text.contains("never reached") && text.contains("iommufd_put_object"), "{text}");
    assert!(text.contains("  IOMMU_IOAS_ALLOC: "), "{text}");
    assert!(text.contains("IOMMU_VIOMMU_ALLOC: "), "{text}");
}

/// The nightly profile fails if a place was not reached that something reaches, or that nobody has a
/// reason for; what nothing can reach does not count, and says why.
#[test]
fn the_nightly_profile_wants_everything_reached() {
    let dir = directory();
    let args = ["simulate", "--revision", "linux_7_3", "--runs", "30", "--findings", "0", "--all"];
    let output = run(dir.path(), &[&args[..], &["--nightly"]].concat());
    assert_eq!(output.status.code(), Some(1));
    let text = from_utf8(&output.stdout).expect("UTF-8");
    let owed = text.split_once(" cannot be, ").and_then(|(_, rest)| rest.split_once(' '));
    assert!(owed.is_some_and(|(n, _)| n.parse::<u32>().is_ok_and(|n| n > 0)), "{text}");
    assert!(text.contains("label out_destroy #1") && text.contains("because: "), "{text}");
    assert!(!text.contains("not looked into"), "every kind is: {text}");
}

/// Four rows of the table: all of them take half a minute.
const SAMPLE: &[&str] =
    &["linux_6_7", "linux_6_13_without_lock_obj_undo", "p2_v5", "linux_6_13_without_xa_cmpxchg"];

#[test]
fn the_page_is_fresh() {
    use reports::simulate::demo;
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/simulate.md"));
    let update = std::env::var_os("UPDATE").is_some();
    let sample = |case: &demo::Case| update || SAMPLE.contains(&case.revision);
    let cases: Vec<demo::Case> = demo::CASES.iter().copied().filter(sample).collect();
    let screen = reports::progress::Screen::hidden();
    let answers = demo::all(&cases, demo::SEEDS, demo::PROGRAMS_MAX, 2, &screen).expect("they run");
    // Healthy: what is drawn finds most bugs, whatever the page says.
    let found = answers.iter().filter(|(_, a)| a.ours.programs.iter().any(Option::is_some)).count();
    if update {
        assert!(found >= 10, "{found} of {} cases are found", answers.len());
        let page = demo::page(&answers, demo::SEEDS, demo::PROGRAMS_MAX);
        reports::files::write(path, &page).expect("the page is writable");
        return;
    }
    assert_eq!(found, SAMPLE.len());
    let committed = fs::read_to_string(path).unwrap_or_default();
    for line in demo::table(&answers, demo::PROGRAMS_MAX, false).lines() {
        assert!(
            committed.lines().any(|l| l == line),
            "reports/simulate.md is stale: `UPDATE=1 cargo test -p iommufd-testbed --test simulate` \
             rewrites it, the diff is the review\n{line}"
        );
    }
}
