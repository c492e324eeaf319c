//! Kills, full disks, and directories that cannot be written: what was there stays or is replaced as a
//! whole, and the user is told what to do.

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use support::{exits, run, stderr, stdout, testbed, with_race};
use tempfile::TempDir;

/// How often a report is killed.
const KILLS: usize = 20;

/// Files of the directory that a writer has begun and not renamed.
fn unfinished(dir: &Path) -> usize {
    let names = fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.file_name());
    names.filter(|n| n.to_string_lossy().ends_with(".tmp")).count()
}

/// At any moment of the run and, every other time, while the page is being written.
#[test]
fn a_killed_report_leaves_the_old_page_or_the_new_one() {
    let dir = with_race(&[]);
    let args =
        ["report", "my_race.toml", "--no-sweep", "--explorer", "dpor", "-q", "-o", "page.html"];
    let page = dir.path().join("page.html");
    exits(&run(dir.path(), &args), 0);
    let new = fs::read(&page).expect("a page");
    assert!(new.len() > 10_000 && new.ends_with(b"</html>\n"), "{} bytes", new.len());
    let old = b"an old page".to_vec();
    let (mut killed, mut while_written) = (0, 0);
    for kill in 0..KILLS {
        fs::write(&page, &old).expect("writable");
        let before = unfinished(dir.path());
        let mut child = testbed(dir.path(), &args)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let mut looks = 0;
        let mut written = false;
        while child.try_wait().expect("a child").is_none() && !written {
            // Looks at a directory are the clock: some hundred of them are a run.
            looks += 1;
            written = kill % 2 == 1 && unfinished(dir.path()) > before;
            if kill % 2 == 0 && looks > kill * kill * 20 {
                break;
            }
        }
        // It may have ended meanwhile.
        let _ = child.kill();
        let status = child.wait().expect("it ends");
        killed += usize::from(!status.success());
        let left = fs::read(&page).expect("a page");
        while_written += usize::from(written && left == old);
        assert!(left == old || left == new, "kill {kill} left {} bytes", left.len());
    }
    println!("{killed} of {KILLS} killed before their end, {while_written} while it was written");
    assert!(killed >= 5, "most kills came too late to show anything: {killed}");
}

/// Runs the testbed where no file can have more than `blocks` blocks of 512 bytes: a disk that is
/// full.
fn on_a_full_disk(dir: &Path, blocks: u32, args: &[&str]) -> Output {
    let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
    Command::new("sh")
        .args(["-c", &script, env!("CARGO_BIN_EXE_iommufd-testbed")])
        .args(args)
        .current_dir(dir)
        .stdin(Stdio::null())
        .output()
        .expect("a shell")
}

/// Commands that write, and where.
const WRITERS: &[&[&str]] = &[
    &["check", "my_race.toml", "--explorer", "dpor", "--quiet", "-o"],
    &["report", "my_race.toml", "--explorer", "dpor", "--no-sweep", "--quiet", "-o"],
    &[
        "simulate",
        "--revision",
        "p2_v3",
        "--runs",
        "40",
        "--all",
        "--findings",
        "1",
        "--quiet",
        "-o",
    ],
    &["simulate", "--revision", "linux_6_12", "--runs", "40", "--quiet", "--journal"],
    &["sweep", "--cpus", "1", "--seeds", "1", "--commands", "64", "-o"],
    &["man", "-o"],
];

#[test]
fn a_full_disk_is_an_error_with_a_next_step() {
    let dir = with_race(&[]);
    for writer in WRITERS {
        let args = [writer, &["out"][..]].concat();
        let output = on_a_full_disk(dir.path(), 1, &args);
        exits(&output, 2);
        let errors = stderr(&output);
        let told = errors.contains("make room") || errors.contains("name another");
        assert!(told && errors.contains("File too large"), "{args:?}: {errors}");
        let half = unfinished(dir.path()) + unfinished(&dir.path().join("out"));
        assert_eq!(half, 0, "{args:?} leaves a temporary file");
        if let Ok(files) = fs::read_dir(dir.path().join("out")) {
            for file in files.flatten().map(|e| e.path()) {
                assert!(fs::metadata(&file).is_ok_and(|m| m.len() <= 512), "{}", file.display());
            }
            fs::remove_dir_all(dir.path().join("out")).expect("removable");
        } else {
            // A journal keeps its whole lines, a page is all or nothing.
            let _ = fs::remove_file(dir.path().join("out"));
        }
    }
}

/// What was found is printed although its files cannot be written.
#[test]
fn a_full_disk_does_not_cost_what_was_found() {
    let dir = with_race(&[]);
    let args = [WRITERS[2], &["out"][..]].concat();
    let output = on_a_full_disk(dir.path(), 0, &args);
    exits(&output, 2);
    // The directory is tried with an empty file, which has room.
    let text = stdout(&output);
    assert!(text.contains("replay: ") && text.contains("kinds of failures"), "{text}");
}

#[test]
fn a_journal_that_fills_the_disk_goes_on_later() {
    let dir = TempDir::new().expect("a directory");
    let args =
        ["simulate", "--revision", "linux_6_12", "--runs", "40", "--findings", "0", "--quiet"];
    let whole = run(dir.path(), &args);
    let args = [&args[..], &["--journal", "runs.jsonl"]].concat();
    let output = on_a_full_disk(dir.path(), 8, &args);
    exits(&output, 2);
    assert!(stderr(&output).contains("give the same command"), "{}", stderr(&output));
    let kept = fs::read(dir.path().join("runs.jsonl")).expect("a journal");
    assert!(kept.len() > 1_000, "some runs were made: {} bytes", kept.len());
    let output = run(dir.path(), &args);
    assert_eq!(output.status, whole.status);
    assert_eq!(stdout(&output), stdout(&whole));
}

#[test]
fn a_place_that_cannot_be_written_is_found_out_before_the_run() {
    let dir = with_race(&[]);
    let pairs = &["pairs", "--revision", "linux_6_13", "-o"][..];
    for writer in WRITERS.iter().chain([&pairs]) {
        // Root may write anywhere, but nobody makes a file below a file.
        for place in ["my_race.toml/out", "/proc/self/out"] {
            let args = [writer, &[place][..]].concat();
            let output = run(dir.path(), &args);
            exits(&output, 2);
            let errors = stderr(&output);
            assert!(errors.contains("name another"), "{args:?}: {errors}");
            assert_eq!(stdout(&output), "", "{args:?}: found out before the run");
        }
    }
}

/// Whoever opens a pipe that nobody writes to waits for ever; a device has no end.
#[test]
fn what_is_no_file_is_refused_before_it_is_opened() {
    let dir = with_race(&[]);
    let made = Command::new("mkfifo").arg(dir.path().join("pipe")).status().expect("mkfifo");
    assert!(made.success());
    fs::create_dir(dir.path().join("folder")).expect("a directory");
    let readers: &[&[&str]] = &[
        &["check", "--explorer", "dpor", "-q", "my_race.toml", "--baseline"],
        &["check", "--explorer", "dpor", "-q"],
        &["explain"],
        &["replay"],
        &["answers", "--revision", "linux_7_3"],
        &["sweep", "--seeds", "1", "--cpus", "1", "--commands", "8", "--baseline"],
        &["sweep", "--seeds", "1", "--cpus", "1", "--commands", "8", "--profile"],
        &["simulate", "merge"],
        &["simulate", "--revision", "linux_6_12", "--runs", "1", "--journal"],
    ];
    for reader in readers {
        for (what, words) in [
            ("pipe", ["pipe", "regular file"].as_slice()),
            ("folder", &["directory"]),
            ("/dev/zero", &["device", "regular file"]),
        ] {
            let args = [reader, &[what][..]].concat();
            let args: Vec<&str> =
                ["10", env!("CARGO_BIN_EXE_iommufd-testbed")].into_iter().chain(args).collect();
            // One that waits for ever is ended, with another exit code.
            let output = Command::new("timeout")
                .args(&args)
                .current_dir(dir.path())
                .output()
                .expect("it runs");
            exits(&output, 2);
            let errors = stderr(&output);
            assert!(words.iter().any(|word| errors.contains(word)), "{args:?}: {errors}");
        }
    }
}

#[test]
fn stdout_that_is_full_is_an_error() {
    let dir = with_race(&[]);
    let full = fs::File::options().write(true).open("/dev/full").expect("/dev/full");
    let output = testbed(dir.path(), &["list"]).stdout(full).output().expect("it starts");
    exits(&output, 2);
    assert!(stderr(&output).contains("make room"), "{}", stderr(&output));
}

#[test]
fn help_that_cannot_be_printed_is_an_error() {
    let dir = with_race(&[]);
    for args in [&["--help"][..], &["--version"], &["check", "--help"]] {
        let full = fs::File::options().write(true).open("/dev/full").expect("/dev/full");
        let output = testbed(dir.path(), args).stdout(full).output().expect("it starts");
        exits(&output, 2);
        assert!(stderr(&output).contains("make room"), "{args:?}: {}", stderr(&output));
    }
}

/// What is said without line breaks, which stand where the terminal ends.
fn flat(output: &Output) -> String {
    stderr(output).split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ")
}

/// Commands that read a file.
const READERS: &[&[&str]] = &[
    &["check", "--explorer", "dpor", "-q"],
    &["explain"],
    &["report", "--no-sweep", "-q"],
    &["answers", "--revision", "linux_7_3"],
    &["pairs"],
    &["sweep", "--seeds", "1", "--cpus", "1", "--profile"],
];

/// A link to itself, and one that leads nowhere, are there, whatever they are called.
#[test]
fn a_link_that_cannot_be_followed_is_named() {
    let dir = with_race(&[]);
    for name in ["loop", "loop.toml"] {
        std::os::unix::fs::symlink(name, dir.path().join(name)).expect("a link");
    }
    for name in ["dangling", "dangling.toml"] {
        std::os::unix::fs::symlink("nowhere", dir.path().join(name)).expect("a link");
    }
    for reader in READERS {
        for (name, words) in [
            ("loop", "this is a link to `loop`, which cannot be followed"),
            ("loop.toml", "this is a link to `loop.toml`, which cannot be followed"),
            ("dangling", "this is a link to `nowhere`, which is not there"),
            ("dangling.toml", "this is a link to `nowhere`, which is not there"),
        ] {
            let output = run(dir.path(), &[reader, &[name][..]].concat());
            exits(&output, 2);
            let told = flat(&output);
            assert!(
                told.contains(words) && told.contains("help: make the link anew"),
                "{reader:?}: {told}"
            );
        }
    }
}

/// Each command says what it reads; only a scenario is named without a directory.
#[test]
fn a_file_that_is_not_there_is_told_in_the_words_of_its_command() {
    let dir = with_race(&[]);
    for (reader, help) in READERS.iter().zip([
        "a scenario of the checkout is named",
        "a scenario of the checkout is named",
        "a scenario of the checkout is named",
        "name a recording, a file of JSON lines",
        "name a file that is there",
        "the profiles that need no file",
    ]) {
        let output = run(dir.path(), &[reader, &["missing.toml"][..]].concat());
        exits(&output, 2);
        let told = flat(&output);
        assert!(
            told.contains("there is no such file") && told.contains(help),
            "{reader:?}: {told}"
        );
    }
}

/// Who slips is told what there is.
#[test]
fn names_that_there_are_not_are_met_with_those_there_are() {
    let dir = with_race(&[]);
    for (args, words) in [
        (&["check", "my_race"][..], "did you mean the file `my_race.toml`?"),
        (
            &["check", "eexist_unwind_vs_destroy_aloc"],
            "did you mean `eexist_unwind_vs_destroy_alloc`?",
        ),
        (&["check", "destroy_alloc"], "have it in their names"),
        (&["check", "my_race.toml", "--revision", "linux_6_31"], "did you mean `linux_6_13`?"),
        (&["check", "my_race.toml", "--revision", "p2-v6"], "did you mean `p2_v6`?"),
        (&["mutate", "--function", "iommufd_objct_remove"], "such as iommufd_object_remove"),
    ] {
        let output = run(dir.path(), args);
        exits(&output, 2);
        assert!(flat(&output).contains(words), "{args:?}: {}", stderr(&output));
    }
}

/// Keys behind a table, and a mutant of a step that there is not: found out before the run, at their place.
#[test]
fn what_only_looks_right_is_shown_at_its_place() {
    let dir = with_race(&[]);
    let race = fs::read_to_string(dir.path().join("my_race.toml")).expect("it is there");
    let group = "iommufd/device.rs iommufd_group_release kfree#1";
    for (text, places, words) in [
        (
            format!("{race}\nnotes = \"behind a table\"\n"),
            &["race.toml:22:1"][..],
            "`notes` is a key of the file: write it above the first [table]",
        ),
        (
            format!("mutant = {{ site = \"{group}1\", change = \"omit\" }}\n{race}"),
            &["race.toml:1:20"],
            "did you mean `iommufd/device.rs iommufd_group_release kfree#1`?",
        ),
        (
            format!("mutant = {{ site = \"{group}\", change = \"as_read\" }}\n{race}"),
            &["race.toml:1:20"],
            "this call site cannot be changed to `as_read`",
        ),
        (
            race.replace("IOMMU_VDEVICE_ALLOC", "IOMMU_VDEV_ALLOC"),
            &["race.toml:13:15", "race.toml:16:15"],
            "race.toml: 2 errors",
        ),
    ] {
        fs::write(dir.path().join("race.toml"), text).expect("writable");
        let output = run(dir.path(), &["check", "race.toml", "--explorer", "dpor"]);
        exits(&output, 2);
        let told = flat(&output);
        assert!(
            told.contains(words) && places.iter().all(|p| told.contains(p)),
            "{}",
            stderr(&output)
        );
        assert_eq!(stdout(&output), "");
    }
}

/// Three CPUs that take ids from each other: millions of executions.
const EXPLODES: &str = r#"
question = "Does a race that explodes end at its bound?"
source   = "reports/tests/robust.rs"
[[cpu]]
steps = ["a = IOMMU_IOAS_ALLOC", "IOMMU_DESTROY(a)", "aa = IOMMU_IOAS_ALLOC", "IOMMU_DESTROY(aa)"]
[[cpu]]
steps = ["b = IOMMU_IOAS_ALLOC", "IOMMU_DESTROY(b)", "bb = IOMMU_IOAS_ALLOC", "IOMMU_DESTROY(bb)"]
[[cpu]]
steps = ["c = IOMMU_IOAS_ALLOC", "IOMMU_DESTROY(c)", "cc = IOMMU_IOAS_ALLOC", "IOMMU_DESTROY(cc)"]
[verdict]
linux_6_13 = "Never"
[bounds]
"#;

/// It says which bound stopped it and what to do about that one.
#[test]
fn what_explodes_is_stopped_by_its_bound() {
    let dir = TempDir::new().expect("a directory");
    for (bounds, option, bound, remedy) in [
        ("executions = 500", [].as_slice(), "executions <= 500", "raise --executions, or"),
        ("", &["--executions", "70"], "executions <= 70", "raise --executions, or"),
        ("", &["--budget", "50ms"], "time <= 50ms", "raise --budget, or"),
        ("steps = 20", &[], "steps <= 20", "raise `steps` of the scenario's [bounds], or"),
        ("preemptions = 1", &[], "preemptions <= 1", "leave `preemptions` out of"),
    ] {
        fs::write(dir.path().join("race.toml"), format!("{EXPLODES}{bounds}\n")).expect("writable");
        let args = [&["check", "race.toml", "--explorer", "dpor", "--quiet"], option].concat();
        let output = run(dir.path(), &args);
        exits(&output, 3);
        let text = stdout(&output);
        assert!(text.contains(&format!("without a verdict ({bound}); {remedy}")), "{text}");
        let other =
            ["raise --executions", "raise --budget", "raise `steps`", "leave `preemptions`"];
        assert_eq!(other.iter().filter(|o| text.contains(**o)).count(), 1, "{text}");
    }
}
