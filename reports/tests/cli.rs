//! The binary, as a user and a CI script meet it: exit codes, bad input, formats, determinism,
//! and the commands that the READMEs print.

mod support;

use reports::record::{FailureFile, Verdicts};
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Output, Stdio};
use support::{exits, my_race, root, run, stderr, stdout, testbed, with_race};
use tempfile::TempDir;

const FAST: [&str; 4] = ["--explorer", "dpor", "--jobs", "1"];

fn check<'a>(more: &[&'a str]) -> Vec<&'a str> {
    [&["check", "my_race.toml"], &FAST[..], more].concat()
}

#[test]
fn exit_0_as_recorded() {
    let dir = with_race(&[]);
    let output = run(dir.path(), &check(&[]));
    exits(&output, 0);
    let lines: Vec<&str> = stdout(&output).lines().collect();
    assert_eq!(lines.len(), 4, "two observations, an empty line, the summary:\n{lines:#?}");
    assert!(lines[0].starts_with("Observation my_race linux_6_13 "), "{}", lines[0]);
    assert!(lines[0].contains(" Never ") && lines[0].contains(" 0 / "), "{}", lines[0]);
    assert!(lines[1].contains(" replay: iommufd-testbed replay 'my_race.toml@"), "{}", lines[1]);
    assert_eq!(lines[3], "2 verdicts as recorded, 0 differ, 0 out of budget");
    assert_eq!(stderr(&output), "", "nothing is drawn into a pipe");
}

#[test]
fn exit_1_a_verdict_differs_and_is_drawn() {
    // The bug is there, and the file says it is not.
    let dir =
        with_race(&[("{ sometimes = \"viommu->vdevs[0x99] lost a live vDEVICE\" }", "\"Never\"")]);
    let output = run(dir.path(), &check(&[]));
    exits(&output, 1);
    let text = stdout(&output);
    assert!(text.contains("  differs: recorded Never, but "), "{text}");
    assert!(text.contains("CPU 0") && text.contains("CPU 1"), "{text}");
    assert!(text.contains("*** viommu->vdevs[0x99] lost a live vDEVICE"), "{text}");
    assert!(text.contains("1 verdict as recorded, 1 differs"), "{text}");

    // The bug is not there, and the file says it is.
    let dir = with_race(&[(
        "linux_6_13                    = \"Never\"",
        "linux_6_13 = { sometimes = \"refcount_t: underflow\" }",
    )]);
    let output = run(dir.path(), &check(&["--revision", "p2_v6"]));
    exits(&output, 1);
    assert!(stdout(&output).contains("differs: recorded sometimes"), "{}", stdout(&output));

    // It fails for another reason than the file says.
    let dir = with_race(&[("viommu->vdevs[0x99] lost a live vDEVICE", "refcount_t: underflow")]);
    let output = run(dir.path(), &check(&[]));
    exits(&output, 1);
    assert!(stdout(&output).contains("no failing execution prints first"), "{}", stdout(&output));
}

#[test]
fn exit_2_bad_usage() {
    let dir = with_race(&[]);
    for bad in [
        &["frobnicate"][..],
        &["simulate"],
        &["check", "--explorer", "spin"],
        &["check", "--budget", "soon"],
        &["check", "--shard", "3/2"],
        &["check", "--jobs", "0"],
        &["check", "--executions", "0"],
        &["check", "--format", "yaml"],
        &["check", "--quiet", "--verbose"],
        &["check", "my_race.toml", "--revision", "linux_2_0"],
        &["check", "my_race.toml", "--revision", "p2_v6_compare_virt_id"],
        &["explain"],
        &["explain", "no_such_scenario"],
        &["replay"],
        &["replay", "nonsense"],
        &["replay", "my_race.toml@linux_6_13/0"],
        &["replay", "my_race.toml@linux_2_0/0:end"],
        &["replay", "no_such_scenario@linux_6_13/0:end"],
        &["replay", "no_such_file.json"],
        &["completions", "cmd"],
    ] {
        let output = run(dir.path(), bad);
        exits(&output, 2);
        assert!(!stderr(&output).trim().is_empty(), "{bad:?} is told what is wrong");
        assert_eq!(stdout(&output), "", "{bad:?}");
    }
}

#[test]
fn exit_2_bad_files() {
    let dir = with_race(&[]);
    let path = |name: &str| dir.path().join(name);
    fs::write(path("empty.toml"), "").expect("writable");
    fs::write(path("latin1.toml"), b"question = \"\xe4\"").expect("writable");
    fs::write(path("nul.toml"), b"question = \0").expect("writable");
    fs::write(path("garbage.toml"), vec![b'x'; 10 << 20]).expect("writable");
    fs::write(path("brackets.toml"), "a = ".to_owned() + &"[".repeat(50_000)).expect("writable");
    fs::write(path("key.toml"), my_race() + "surprise = 1\n").expect("writable");
    fs::write(path("call.toml"), my_race().replace("_VDEVICE_ALLOC", "_VDEV_ALLOC"))
        .expect("writable");
    fs::create_dir(path("directory")).expect("writable");
    fs::write(path("bad.json"), "{}").expect("writable");
    for bad in [
        "empty.toml",
        "latin1.toml",
        "nul.toml",
        "garbage.toml",
        "brackets.toml",
        "key.toml",
        "call.toml",
        "directory",
        "missing.toml",
        "missing",
    ] {
        for command in ["check", "explain"] {
            let output = run(dir.path(), &[command, bad]);
            exits(&output, 2);
            assert!(!stderr(&output).trim().is_empty(), "{bad}");
        }
        // One bad file stops the run before it starts.
        let output = run(dir.path(), &check(&[bad]));
        exits(&output, 2);
        assert_eq!(stdout(&output), "", "{bad}");
    }
    exits(&run(dir.path(), &["replay", "bad.json"]), 2);
    exits(&run(dir.path(), &["replay", "garbage.toml"]), 2);
}

#[test]
fn exit_2_a_directory_that_cannot_be_written() {
    let dir = with_race(&[]);
    // Root may write anywhere, but nobody makes a directory below a file.
    for output in ["my_race.toml/results", "/proc/self/results"] {
        let output = run(dir.path(), &check(&["-o", output]));
        exits(&output, 2);
        assert!(stderr(&output).contains("-o"), "{}", stderr(&output));
        assert_eq!(stdout(&output), "", "found out before the run");
    }
}

#[test]
fn exit_3_out_of_budget() {
    let dir = with_race(&[]);
    let output = run(dir.path(), &check(&["--executions", "1", "--revision", "linux_6_13"]));
    exits(&output, 3);
    let text = stdout(&output);
    assert!(text.contains("Not exhausted"), "{text}");
    assert!(text.contains("raise --executions"), "{text}");
    assert!(text.contains("0 verdicts as recorded, 0 differ, 1 out of budget"), "{text}");
}

/// The twin fails in the first executions or in those behind them: what is said of it is what they gave.
#[test]
fn a_verdict_fits_its_numbers() {
    let dir = with_race(&[]);
    for most in ["1", "2", "3", "5"] {
        let args = ["--executions", most, "--revision", "linux_6_13_without_xa_cmpxchg"];
        let output = run(dir.path(), &check(&args));
        let text = stdout(&output);
        let line = text.lines().find(|l| l.starts_with("Observation ")).expect("an answer");
        let words: Vec<&str> = line.split_whitespace().collect();
        let at = words.iter().position(|w| *w == "/").expect("failing / all");
        let [failing, all] = [at - 1, at + 1].map(|at| words[at].parse::<u32>().expect("a number"));
        let fits = match words[at - 2] {
            "Sometimes" => 0 < failing && failing < all,
            "Always" => 0 < failing && failing == all,
            "exhausted" => failing == 0,
            _ => false,
        };
        assert!(fits, "--executions {most}: {line}");
    }
}

/// A story that is answered at once, and a race that takes minutes.
const ENDLESS: &str = r#"
question = "Does a run that never ends listen to Ctrl-C?"
source   = "reports/tests/cli.rs"
setup = [
  "ioas0   = IOMMU_IOAS_ALLOC",
  "dev0    = bind(pdev0)",
  "hwpt0   = IOMMU_HWPT_ALLOC(dev0, ioas0, NEST_PARENT)",
  "viommu0 = IOMMU_VIOMMU_ALLOC(dev0, hwpt0)",
]
[[cpu]]
steps = ["a = IOMMU_VDEVICE_ALLOC(viommu0, dev0, 1)", "IOMMU_DESTROY(a)", "aa = IOMMU_VDEVICE_ALLOC(viommu0, dev0, 1)"]
[[cpu]]
steps = ["b = IOMMU_VDEVICE_ALLOC(viommu0, dev0, 1)", "IOMMU_DESTROY(b)", "bb = IOMMU_VDEVICE_ALLOC(viommu0, dev0, 1)"]
[[cpu]]
steps = ["c = IOMMU_VDEVICE_ALLOC(viommu0, dev0, 1)", "IOMMU_DESTROY(c)", "cc = IOMMU_VDEVICE_ALLOC(viommu0, dev0, 1)"]
[[cpu]]
steps = ["d = IOMMU_VDEVICE_ALLOC(viommu0, dev0, 1)", "IOMMU_DESTROY(d)", "dd = IOMMU_VDEVICE_ALLOC(viommu0, dev0, 1)"]
[bounds]
executions = 1000000000
[verdict]
linux_6_13 = "Never"
"#;

#[test]
fn exit_130_interrupted_with_what_was_finished() {
    let dir = with_race(&[]);
    fs::write(dir.path().join("endless.toml"), ENDLESS).expect("writable");
    let args = ["endless.toml", "--budget", "10m", "-o", "results"];
    let mut child = testbed(dir.path(), &check(&args))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    let mut out = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut text = String::new();
    // Both rows of the quick race are answered; now the endless one runs.
    for _ in 0..2 {
        out.read_line(&mut text).expect("a line");
    }
    let pid = child.id().to_string();
    let kill = Command::new("kill").args(["-INT", &pid]).status().expect("kill starts");
    assert!(kill.success());
    out.read_to_string(&mut text).expect("UTF-8");
    let status = child.wait().expect("it ends");
    assert_eq!(status.code(), Some(130), "{text}");
    assert!(text.contains("interrupted after 2 of 3 questions"), "{text}");

    let left = fs::read_to_string(dir.path().join("results/verdicts.json")).expect("written");
    let verdicts: Verdicts = serde_json::from_str(&left).expect("JSON");
    assert!(verdicts.interrupted);
    assert_eq!(verdicts.exit, 130);
    assert_eq!(verdicts.summary.get("as_recorded"), Some(&2));
}

#[test]
fn the_same_run_prints_the_same_bytes() {
    let dir = with_race(&[]);
    let args = ["check", "my_race.toml", "--samples", "200", "-v"];
    let first = run(dir.path(), &args);
    exits(&first, 0);
    for jobs in ["1", "4"] {
        let again = run(dir.path(), &[&args[..], &["--jobs", jobs]].concat());
        assert_eq!(stdout(&again), stdout(&first), "with --jobs {jobs}");
    }
}

#[test]
fn json_and_the_output_directory_agree() {
    let dir = with_race(&[]);
    let output = run(dir.path(), &check(&["--format", "json", "-o", "results"]));
    exits(&output, 0);
    let results = dir.path().join("results");
    let left = fs::read_to_string(results.join("verdicts.json")).expect("written");
    assert_eq!(stdout(&output), left);
    let verdicts: Verdicts = serde_json::from_str(&left).expect("JSON");
    assert_eq!((verdicts.exit, verdicts.questions.len()), (0, 2));
    let [never, sometimes] = &verdicts.questions[..] else { panic!("two questions") };
    assert_eq!(never.observations[0].verdict, "Never");
    assert!(never.observations[0].executions > 0 && never.observations[0].exhausted);
    assert!(sometimes.observations[0].replay.is_some());

    let mut names: Vec<String> = fs::read_dir(&results)
        .expect("it exists")
        .map(|e| e.expect("an entry").file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    let failure = "my_race@linux_6_13_without_xa_cmpxchg";
    assert_eq!(
        names,
        ["junit.xml", &format!("{failure}.json"), &format!("{failure}.txt"), "verdicts.json"],
        "no temporary file stays"
    );

    // The failure file replays without the scenario, and draws the picture beside it.
    let json = results.join(format!("{failure}.json"));
    let file: FailureFile =
        serde_json::from_str(&fs::read_to_string(&json).expect("written")).expect("JSON");
    assert!(file.splat.contains("lost a live vDEVICE"), "{}", file.splat);
    fs::remove_file(dir.path().join("my_race.toml")).expect("it was there");
    let replayed = run(dir.path(), &["replay", json.to_str().expect("UTF-8")]);
    exits(&replayed, 0);
    let picture = fs::read_to_string(results.join(format!("{failure}.txt"))).expect("written");
    assert_eq!(stdout(&replayed), picture);
}

#[test]
fn junit_is_well_formed() {
    let dir =
        with_race(&[("{ sometimes = \"viommu->vdevs[0x99] lost a live vDEVICE\" }", "\"Never\"")]);
    let output = run(dir.path(), &check(&["--format", "junit"]));
    exits(&output, 1);
    let report = quick_junit::Report::deserialize_from_str(stdout(&output)).expect("JUnit XML");
    assert_eq!((report.tests, report.failures, report.errors), (2, 1, 0));
    assert!(stderr(&output).contains("1 differ"), "the summary goes to stderr");
    // What Jenkins (a type), GitLab (the body) and GitHub's readers (the message) show.
    let xml = stdout(&output);
    assert!(xml.contains("<failure message=\"") && xml.contains("type=\"differs\""), "{xml}");
    assert!(xml.contains("Observation my_race linux_6_13_without_xa_cmpxchg"), "{xml}");
}

/// The command that an Observation line prints behind `replay:`.
fn replay_token(output: &Output) -> String {
    let text = stdout(output);
    let (_, rest) = text.split_once("replay: iommufd-testbed replay '").expect("a token");
    rest.split_once('\'').expect("a quoted token").0.to_owned()
}

#[test]
fn replay_prints_the_same_bytes() {
    let dir = with_race(&[]);
    let token = replay_token(&run(dir.path(), &check(&[])));
    let first = run(dir.path(), &["replay", &token]);
    exits(&first, 0);
    let text = stdout(&first);
    assert!(text.contains("lost a live vDEVICE") && text.contains(&token), "{text}");
    for _ in 0..3 {
        assert_eq!(run(dir.path(), &["replay", &token]).stdout, first.stdout);
    }
    let graph = run(dir.path(), &["replay", "--graph", &token]);
    exits(&graph, 0);
    assert!(stdout(&graph).contains("(viommu, id "), "{}", stdout(&graph));
    let json = run(dir.path(), &["replay", "--format", "json", &token]);
    exits(&json, 0);
    serde_json::from_slice::<uapi::outcome::Outcome>(&json.stdout).expect("JSON");
}

#[test]
fn a_token_that_fits_no_more_names_the_step() {
    let dir = with_race(&[]);
    let token = "my_race.toml@linux_6_13/0:iommufd_vdevice_destroy.xa_erase#1,1:end,0:end";
    let output = run(dir.path(), &["replay", token]);
    exits(&output, 1);
    let text = stderr(&output);
    assert!(text.contains("xa_erase") && text.contains("iommufd_vdevice_destroy"), "{text}");
}

#[test]
fn pictures_fit_the_terminal() {
    let dir = with_race(&[]);
    let token = replay_token(&run(dir.path(), &check(&[])));
    for columns in [40, 60, 80, 100, 200] {
        let output = testbed(dir.path(), &["replay", &token])
            .env("COLUMNS", columns.to_string())
            .output()
            .expect("the binary starts");
        exits(&output, 0);
        // The question, the setup and the token are not broken: they are to be copied.
        let drawn = stdout(&output).split_once("CPU 0").expect("CPU 0 runs").1;
        let drawn = drawn.split_once("context switch").expect("a closing line").0;
        let widest = drawn.lines().rev().skip(1).map(|l| l.chars().count()).max();
        assert!(widest <= Some(columns), "{columns}: {widest:?}\n{}", stdout(&output));
    }
}

#[test]
fn no_color_is_obeyed_and_a_pipe_has_none() {
    let dir = with_race(&[]);
    for args in
        [&["check", "my_race.toml", "--explorer", "dpor"][..], &["list"], &["--help"], &["x"]]
    {
        let output = testbed(dir.path(), args).env("NO_COLOR", "1").output().expect("it starts");
        let plain = run(dir.path(), args);
        assert_eq!(output.stdout, plain.stdout, "{args:?}");
        for bytes in [&output.stdout, &output.stderr, &plain.stdout, &plain.stderr] {
            assert!(!bytes.contains(&0x1b), "{args:?} prints an escape");
        }
    }
}

#[test]
fn a_reader_that_leaves_ends_it_quietly() {
    let dir = with_race(&[]);
    let mut child = testbed(dir.path(), &["schema"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the binary starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().expect("it ends");
    assert_eq!(stderr(&output), "");
    assert!(matches!(output.status.code(), Some(0 | 141)), "{:?}", output.status);
}

#[test]
fn shards_are_parts_of_the_run() {
    let dir = with_race(&[]);
    let parts: Vec<String> = ["1/2", "2/2"]
        .iter()
        .map(|shard| {
            let output = run(dir.path(), &check(&["--shard", shard]));
            exits(&output, 0);
            let observations = stdout(&output).lines().filter(|l| l.starts_with("Observation"));
            observations.map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
        })
        .collect();
    assert!(parts[0].contains("linux_6_13 dpor") && !parts[0].contains("without"), "{parts:?}");
    assert!(parts[1].contains("without_xa_cmpxchg dpor"), "{parts:?}");
}

#[test]
fn list_explain_schema_and_completions_print() {
    let dir = with_race(&[]);
    for args in [
        &["list"][..],
        &["explain", "my_race.toml"],
        &["completions", "bash"],
        &["man"],
        &["completions", "fish"],
        &["completions", "zsh"],
        &["--version"],
    ] {
        let output = run(dir.path(), args);
        exits(&output, 0);
        assert!(!output.stdout.is_empty(), "{args:?}");
    }
    exits(&run(dir.path(), &["man", "-o", "man1"]), 0);
    let pages = fs::read_dir(dir.path().join("man1")).expect("it is made").count();
    assert!(pages > 10, "a page per command: {pages}");
    let page = fs::read_to_string(dir.path().join("man1/iommufd-testbed-check.1")).expect("a page");
    assert!(page.contains(".TH") && page.contains("baseline"), "{page}");
    for args in [
        &["list", "--format", "json"][..],
        &["explain", "my_race.toml", "--format", "json"],
        &["schema"],
    ] {
        let output = run(dir.path(), args);
        exits(&output, 0);
        serde_json::from_slice::<serde_json::Value>(&output.stdout).expect("JSON");
    }
    let explained = run(dir.path(), &["explain", "my_race.toml"]);
    let text = stdout(&explained);
    let faults = fs::read_to_string(dir.path().join("my_race.toml")).expect("a scenario");
    let faults = faults.replacen("0x99) ->", "0x99) [fail_nth = any] ->", 1);
    fs::write(dir.path().join("faults.toml"), faults).expect("writable");
    exits(&run(dir.path(), &["explain", "faults.toml"]), 0);
    for word in [
        "question",
        "source",
        "recorded",
        "bounds",
        "b = IOMMU_VDEVICE_ALLOC(viommu0, dev1, 0x99) -> 0 | -EEXIST",
        "model/src/iommufd/viommu.rs: iommufd_vdevice_alloc_ioctl",
        "iommufd-testbed check my_race.toml",
    ] {
        assert!(text.contains(word), "{word}:\n{text}");
    }
    let unfinished = run(dir.path(), &["--help"]);
    let help = stdout(&unfinished);
    assert!(help.contains("130") && !help.contains("loom-child"), "{help}");
}

/// Every command that a README prints works when pasted, except for the two that run everything.
#[test]
fn commands_of_the_readmes_work() {
    let dir = with_race(&[]);
    // A command may name a recording of the checkout.
    let answers = dir.path().join("scenarios/answers");
    fs::create_dir_all(&answers).expect("it is writable");
    let recording = "linux-6.13-level.jsonl";
    fs::copy(root().join("scenarios/answers").join(recording), answers.join(recording))
        .expect("the recording is there");
    let mut ran = 0;
    for readme in [
        "README.md",
        "reports/README.md",
        "scenarios/README.md",
        "scenarios/answers/README.md",
        "races/README.md",
    ] {
        let Ok(text) = fs::read_to_string(root().join(readme)) else { continue };
        let blocks = text.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
        for line in blocks.flat_map(str::lines) {
            let line = line.split(" #").next().unwrap_or("").trim();
            let Some(args) = line
                .strip_prefix("cargo run --release -- ")
                .or_else(|| line.strip_prefix("iommufd-testbed "))
            else {
                continue;
            };
            let args: Vec<&str> = args.split_whitespace().collect();
            // The whole job is another test's, and so is a night; here they only have to be commands.
            let all = (args[0] == "check" && !args.iter().any(|a| a.ends_with(".toml")))
                || args.contains(&"--nightly");
            let args = if all { [&args[..], &["--help"]].concat() } else { args };
            let output = run(dir.path(), &args);
            assert_eq!(output.status.code(), Some(0), "{readme}: {line}\n{}", stderr(&output));
            ran += 1;
        }
    }
    assert!(ran >= 8, "{ran} commands");
}

/// The doors that the READMEs show lead somewhere.
#[test]
fn links_of_the_readmes_exist() {
    let mut followed = 0;
    for folder in ["", "model", "scenarios", "races", "benches", "reports"] {
        let path = root().join(folder).join("README.md");
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            if link.contains("://") || link.starts_with('#') {
                continue;
            }
            let target = path.with_file_name("").join(link.split('#').next().unwrap_or(link));
            assert!(target.exists(), "{} links to {link}, which does not exist", path.display());
            followed += 1;
        }
    }
    assert!(followed >= 6, "{followed} links");
}

/// Two recorded sequences that every kernel answers so, and one that none does.
const RECORDING: &str = r#"
{"scenario":"ids","step":1,"op":"ioas_alloc","args":{},"ret":"OK","out":{"a":1}}
{"ret":"OK","op":"destroy","args":{"id":"a"},"scenario":"ids","more":{"x":[1.5]}}

{"scenario":"ids","op":"ioas_alloc","ret":"OK","out":{"b":"0x1"}}
{"scenario":"ids","op":"destroy","args":{"id":"NOID"},"ret":"ENOENT","out":{}}
{"scenario":"ids","op":"end","kmsg":[]}
{"scenario":"sizes","step":1,"op":"ioas_alloc","args":{"usize":11},"ret":"EINVAL"}
{"scenario":"sizes","step":2,"op":"ioas_alloc","args":{"usize":"0x20","trail":"20"},"ret":"E2BIG"}
{"scenario":"sizes","step":3,"op":"ioas_alloc","args":{"user_struct":"read_only_page"},"ret":"EFAULT"}
{"scenario":"sizes","step":4,"op":"drain","args":{},"ret":"OK","rounds":[{}]}
{"scenario":"sizes","op":"end","kmsg":[]}
"#;

fn recorded(text: &str) -> TempDir {
    let dir = TempDir::new().expect("a directory");
    fs::write(dir.path().join("k.jsonl"), text).expect("it is writable");
    dir
}

const ANSWERS: [&str; 4] = ["answers", "k.jsonl", "--revision", "linux_6_13"];

#[test]
fn answers_agree_and_differ() {
    for text in [RECORDING.to_string(), RECORDING.replace('\n', "\r\n")] {
        let dir = recorded(&text);
        let output = run(dir.path(), &ANSWERS);
        exits(&output, 0);
        assert_eq!(stdout(&output), "2 sequences: 2 agree, 0 differ\n");
    }

    let dir = recorded(&RECORDING.replace("\"a\":1", "\"a\":7"));
    let output = run(dir.path(), &ANSWERS);
    exits(&output, 1);
    let wanted = "\
ids: step 1 differs (line 2)
  ioas_alloc -> a
  the kernel: OK, a 7
  the model:  OK, id 1
2 sequences: 1 agree, 1 differ
";
    assert_eq!(stdout(&output), wanted);
    let output = run(dir.path(), &[&ANSWERS[..], &["--format", "json"]].concat());
    exits(&output, 1);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(json["agree"], 1);
    assert_eq!(json["sequences"][0]["difference"]["line"], 2);
    assert_eq!(json["sequences"][1]["difference"], serde_json::Value::Null);

    let dir = recorded(&RECORDING.replace("\"kmsg\":[]", "\"kmsg\":[\"WARNING: CPU: 0 at x.c\"]"));
    let output = run(dir.path(), &ANSWERS);
    exits(&output, 1);
    assert!(stdout(&output).contains("ids: what was printed differs"), "{}", stdout(&output));
}

/// R-B2 in 6.13: a kernel with KASAN reports it and goes on, one without goes on silently.
#[test]
fn answers_of_a_kernel_with_kasan() {
    let kasan = "BUG: KASAN: slab-use-after-free in iommufd_fault_fops_release+0x1/0x2";
    for (revision, kmsg, code) in [
        ("linux_6_13", "", 0),
        ("linux_6_13", kasan, 0),
        ("linux_6_17", "", 0),
        ("linux_6_17", kasan, 1),
    ] {
        let lines = if kmsg.is_empty() { Vec::new() } else { vec![kmsg] };
        let step = "\"op\":\"fault_alloc\",\"args\":{\"ro\":\"1\"},\"ret\":\"EFAULT\"";
        let text = format!(
            "{{\"scenario\":\"s\",{step}}}\n{{\"scenario\":\"s\",\"op\":\"end\",\"kmsg\":{lines:?}}}\n"
        );
        let dir = recorded(&text);
        exits(&run(dir.path(), &["answers", "k.jsonl", "--revision", revision]), code);
    }
}

#[test]
fn answers_of_bad_files() {
    let step = |rest: &str| format!("{{\"scenario\":\"s\",\"step\":1,{rest}}}\n");
    let good = step("\"op\":\"ioas_alloc\",\"ret\":\"OK\",\"out\":{\"a\":1}");
    let bad = |rest: &str| format!("{good}{}", step(rest));
    for (text, words) in [
        (String::new(), "no step is recorded in it"),
        ("\n\n".to_string(), "no step is recorded in it"),
        (format!("{good}nonsense\n"), "line 2: no JSON object of a recorded step"),
        (format!("{good}[1, 2]\n"), "line 2: no JSON object"),
        (format!("{good}{{}}\n"), "line 2: there is no `scenario`"),
        (bad("\"ret\":\"OK\""), "line 2: there is no `op`"),
        (bad("\"op\":\"destroy\""), "line 2: there is no `ret`"),
        (bad("\"op\":\"destroi\",\"ret\":\"OK\""), "did you mean `destroy`?"),
        (bad("\"op\":\"destroy\",\"ret\":\"0\""), "line 2: `0` is no answer"),
        (
            bad("\"op\":\"destroy\",\"args\":{\"idd\":1},\"ret\":\"OK\""),
            "line 2: `destroy` has no argument `idd`",
        ),
        (
            bad("\"op\":\"destroy\",\"args\":{\"id\":[1]},\"ret\":\"OK\""),
            "line 2: the argument `id` is no text and no number",
        ),
        (
            bad("\"op\":\"hwpt_alloc\",\"args\":{\"flags\":\"NEST\"},\"ret\":\"OK\""),
            "line 2: `NEST` is no value of `flags`",
        ),
        (
            bad("\"op\":\"destroy\",\"args\":{\"id\":1,\"fd\":\"fd7\"},\"ret\":\"OK\""),
            "line 2: `fd7` is no open file",
        ),
        (bad("\"op\":\"ioas_alloc\",\"ret\":\"OK\",\"out\":{\"b\":1.5}"), "`out.b` is no number"),
        ("x".repeat(1 << 17), "line 1: it has more than 65536 bytes"),
    ] {
        let dir = recorded(&text);
        let output = run(dir.path(), &ANSWERS);
        exits(&output, 2);
        let flat = stderr(&output).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(flat.contains(words), "{words}\n{}", stderr(&output));
        assert!(stderr(&output).contains("help: "), "{}", stderr(&output));
        assert_eq!(stdout(&output), "");
    }

    let dir = recorded("");
    fs::write(dir.path().join("k.jsonl"), b"\n\xff\n").expect("it is writable");
    let output = run(dir.path(), &ANSWERS);
    exits(&output, 2);
    assert!(stderr(&output).contains("line 2: it is not UTF-8"), "{}", stderr(&output));
    for (file, words) in [(".", "this is a directory"), ("none.jsonl", "there is no such file")] {
        let output = run(dir.path(), &["answers", file, "--revision", "linux_6_13"]);
        exits(&output, 2);
        assert!(stderr(&output).contains(words), "{}", stderr(&output));
    }

    let dir = recorded(RECORDING);
    let output = run(dir.path(), &["answers", "k.jsonl", "--revision", "linux_9_9"]);
    exits(&output, 2);
    assert!(stderr(&output).contains("there is no revision `linux_9_9`"), "{}", stderr(&output));
    exits(&run(dir.path(), &["answers", "k.jsonl"]), 2);
    exits(&run(dir.path(), &["answers"]), 2);
}

/// A recording of a newer kernel: what the model does not have is where the sequence differs, and the
/// other sequences are compared.
#[test]
fn answers_that_are_ahead_of_the_model() {
    for (step, words) in [
        (r#""op":"ioas_copy","args":{"id":1}"#, "has no operation `ioas_copy`"),
        (r#""op":"destroy","args":{"id":"1","gently":1}"#, "has no argument `gently` of `destroy`"),
    ] {
        let text = format!(
            r#"{{"scenario":"new","op":"ioas_alloc","ret":"OK","out":{{"a":1}}}}
{{"scenario":"new",{step},"ret":"OK"}}
{{"scenario":"new","op":"destroy","args":{{"id":77}},"ret":"OK"}}
{{"scenario":"old","op":"ioas_alloc","ret":"OK","out":{{"a":1}}}}
"#
        );
        let dir = recorded(&text);
        let output = run(dir.path(), &ANSWERS);
        exits(&output, 1);
        let said = stdout(&output);
        assert!(said.contains(words), "{said}");
        assert!(said.contains("line 2"), "{said}");
        assert!(
            said.ends_with("2 sequences: 1 agrees, 1 differs\n") || said.contains("1 agree"),
            "{said}"
        );
    }
}

/// The descriptor of an access is no id, and a recording may name the access or not.
#[test]
fn answers_of_an_access() {
    for (out, name) in [("{\"a\":5}", "a"), ("{\"a\":5}", "a.fd"), ("{}", "a")] {
        let text = format!(
            r#"{{"scenario":"s","op":"ioas_alloc","ret":"OK","out":{{"ioas":1}}}}
{{"scenario":"s","op":"create_access","args":{{"ioas_id":"ioas"}},"ret":"OK","out":{out}}}
{{"scenario":"s","op":"ioas_alloc","ret":"OK","out":{{"other":3}}}}
{{"scenario":"s","op":"destroy","args":{{"id":"ioas"}},"ret":"EBUSY"}}
{{"scenario":"s","op":"destroy","args":{{"id":"2"}},"ret":"EBUSY"}}
{{"scenario":"s","op":"close","args":{{"name":"{name}"}},"ret":"OK"}}
{{"scenario":"s","op":"destroy","args":{{"id":"ioas"}},"ret":"OK"}}
"#
        );
        let dir = recorded(&text);
        let output = run(dir.path(), &ANSWERS);
        assert_eq!(stdout(&output), "1 sequence: 1 agree, 0 differ\n", "{text}");
    }
}
