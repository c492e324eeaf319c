//! The rules of the house that a grep can check.
//!
//! Each failure names the rule by its slug, the line that breaks it, and what to write instead.
//! The floors and their arrows are in the head of each crate; the rules in short:
//!
//! * *floors*: an arrow is "may import" and points down: reports > benches > scenarios > races >
//!   model > uapi, smmuv3; within the model: revisions > program > iommufd, arm_smmu_v3 > linux > sync.
//! * *one-backend-file*: in `model/src` only `sync` names a backend, `std::sync` or
//!   `std::thread`. Elsewhere only the files on the allow-list name a clock, an RNG, a thread or
//!   a backend.
//! * *no-rev-if*: no function compares revisions.
//! * *reproducible-output*: no unordered maps where an execution runs, no mutable statics.
//! * *name-the-splat*: no `should_panic`, no ignored tests, nothing left to do.
//! * *ask-first*, *cite*: each scenario states its question and its source.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A source file: path from the root, and its lines of code without comments and strings.
struct Source {
    path: String,
    lines: Vec<String>,
}

/// Every Rust file below these directories.
fn sources(dirs: &[&str]) -> Vec<Source> {
    let mut paths = Vec::new();
    let mut todo: Vec<PathBuf> = dirs.iter().map(|d| root().join(d)).collect();
    while let Some(dir) = todo.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                todo.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                paths.push(path);
            }
        }
    }
    paths.sort();
    let read = |path: PathBuf| {
        let text = fs::read_to_string(&path).expect("a source file is readable");
        let path = path.strip_prefix(root()).expect("below the root").display().to_string();
        Source { path, lines: code(&text) }
    };
    paths.into_iter().map(read).collect()
}

/// The lines of a Rust file with comments, strings and character literals blanked out: a rule is
/// about code, and its own text must not break it.
fn code(text: &str) -> Vec<String> {
    #[derive(PartialEq)]
    enum State {
        Code,
        LineComment,
        BlockComment(u32),
        Str,
        RawStr(usize),
    }
    let mut state = State::Code;
    let mut out = String::with_capacity(text.len());
    let chars: Vec<char> = text.chars().collect();
    let mut i = 0;
    let at = |i: usize| chars.get(i).copied().unwrap_or('\0');
    while i < chars.len() {
        let c = chars[i];
        if c == '\n' {
            if state == State::LineComment {
                state = State::Code;
            }
            out.push('\n');
            i += 1;
            continue;
        }
        match &mut state {
            State::Code => match c {
                '/' if at(i + 1) == '/' => state = State::LineComment,
                '/' if at(i + 1) == '*' => {
                    state = State::BlockComment(1);
                    i += 1;
                }
                '"' => state = State::Str,
                'r' if at(i + 1) == '"' || (at(i + 1) == '#' && raw_hashes(&chars, i + 1) > 0) => {
                    let hashes = raw_hashes(&chars, i + 1);
                    i += hashes + 1;
                    state = State::RawStr(hashes);
                }
                '\'' if at(i + 1) == '\\' || at(i + 2) == '\'' => {
                    // A character literal; a lifetime has no closing quote.
                    i += if at(i + 1) == '\\' { 3 } else { 2 };
                    while i < chars.len() && at(i) != '\'' && at(i) != '\n' {
                        i += 1;
                    }
                }
                _ => out.push(c),
            },
            State::LineComment => {}
            State::BlockComment(depth) => match (c, at(i + 1)) {
                ('*', '/') => {
                    *depth -= 1;
                    i += 1;
                    if *depth == 0 {
                        state = State::Code;
                    }
                }
                ('/', '*') => {
                    *depth += 1;
                    i += 1;
                }
                _ => {}
            },
            State::Str => match c {
                '\\' if at(i + 1) != '\n' => i += 1,
                '"' => state = State::Code,
                _ => {}
            },
            State::RawStr(hashes) => {
                if c == '"' && (0..*hashes).all(|h| at(i + 1 + h) == '#') {
                    i += *hashes;
                    state = State::Code;
                }
            }
        }
        i += 1;
    }
    out.lines().map(str::to_owned).collect()
}

/// Number of `#` from `from` on, if a quote follows them.
fn raw_hashes(chars: &[char], from: usize) -> usize {
    let hashes = chars[from..].iter().take_while(|c| **c == '#').count();
    match chars.get(from + hashes) {
        Some('"') => hashes,
        _ => 0,
    }
}

/// Whether the word stands in the line, not as a part of a longer one.
fn names(line: &str, word: &str) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    line.match_indices(word).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let after = line[at + word.len()..].chars().next();
        let open = |c: Option<char>| !c.is_some_and(is_word);
        open(before) && open(after)
    })
}

/// Collects what breaks a rule.
struct Rule {
    slug: &'static str,
    instead: &'static str,
    broken: String,
}

impl Rule {
    fn new(slug: &'static str, instead: &'static str) -> Rule {
        Rule { slug, instead, broken: String::new() }
    }

    /// No line of these files names any of the words.
    fn forbids(mut self, files: &[Source], words: &[&str]) -> Rule {
        for file in files {
            for (i, line) in file.lines.iter().enumerate() {
                if words.iter().any(|w| names(line, w)) {
                    let _ = writeln!(self.broken, "  {}:{}: {}", file.path, i + 1, line.trim());
                }
            }
        }
        self
    }

    fn holds(self) {
        assert!(
            self.broken.is_empty(),
            "rule `{}` is broken:\n{}instead: {}",
            self.slug,
            self.broken,
            self.instead
        );
    }
}

fn without(files: Vec<Source>, allowed: &[&str]) -> Vec<Source> {
    files.into_iter().filter(|f| !allowed.iter().any(|a| f.path.starts_with(a))).collect()
}

#[test]
fn floors_between_crates_point_down() {
    // Library name, its directory, and what it may import.
    let floors: &[(&str, &[&str])] = &[
        ("model/uapi", &[]),
        ("model/smmuv3", &[]),
        ("model/bare", &["uapi", "model_bare"]),
        ("model/src", &["uapi", "smmuv3"]),
        ("races", &["uapi", "smmuv3", "model_native", "model_std", "model_shuttle", "model_loom"]),
        ("model/timing", &["smmuv3_timing"]),
        ("scenarios", &["uapi", "smmuv3", "races", "model_native", "smmuv3_timing"]),
        (
            "benches",
            &[
                "uapi",
                "smmuv3",
                "races",
                "scenarios",
                "model_native",
                "model_shuttle",
                "model_loom",
                "model_bare",
                "smmuv3_timing",
            ],
        ),
    ];
    let all = [
        "uapi",
        "smmuv3",
        "model_native",
        "model_std",
        "model_shuttle",
        "model_loom",
        "model_bare",
        "smmuv3_timing",
        "races",
        "scenarios",
        "benches",
        "reports",
    ];
    for (dir, may) in floors {
        let own = dir.rsplit('/').next().unwrap_or(dir);
        for file in sources(&[dir]) {
            // Tests may look down on everything below reports.
            let forbidden: Vec<String> = all
                .iter()
                .filter(|c| !may.contains(c) && **c != own)
                .map(|c| format!("{c}::"))
                .collect();
            let words: Vec<&str> = forbidden.iter().map(String::as_str).collect();
            Rule::new(
                "floors",
                "an import points down (see the head of reports/tests/rules.rs); move the data \
                 that both need to model/uapi",
            )
            .forbids(&[file], &words.iter().map(|w| w.trim_end_matches(':')).collect::<Vec<_>>())
            .only_paths(&words)
            .holds();
        }
    }
}

impl Rule {
    /// Of what was found, keeps the lines where a word begins a path: `races` is an English word.
    fn only_paths(mut self, words: &[&str]) -> Rule {
        let kept: Vec<&str> = self
            .broken
            .lines()
            .filter(|l| {
                words.iter().any(|w| {
                    l.match_indices(w).any(|(at, _)| {
                        !l[..at].ends_with(|c: char| c.is_alphanumeric() || "_:./".contains(c))
                    })
                })
            })
            .collect();
        self.broken = kept.iter().map(|l| format!("{l}\n")).collect();
        self
    }
}

#[test]
fn floors_in_manifests_point_down() {
    let floors: &[(&str, &[&str])] = &[
        ("model/uapi", &[]),
        ("model/smmuv3", &[]),
        ("model/std", &["uapi", "smmuv3"]),
        ("model/loom", &["uapi", "smmuv3"]),
        ("model/bare", &["uapi", "smmuv3"]),
        ("model/shuttle", &["uapi", "smmuv3"]),
        ("model/native", &["uapi", "smmuv3"]),
        ("races", &["uapi", "smmuv3", "model-std", "model-loom", "model-shuttle", "model-native"]),
        ("model/timing", &[]),
        ("scenarios", &["uapi", "smmuv3", "races", "model-native", "model-std", "smmuv3-timing"]),
    ];
    let all = [
        "uapi",
        "smmuv3",
        "model-std",
        "model-loom",
        "model-bare",
        "model-shuttle",
        "model-native",
        "smmuv3-timing",
        "races",
        "scenarios",
        "benches",
        "iommufd-testbed",
    ];
    for (dir, may) in floors {
        let manifest = root().join(dir).join("Cargo.toml");
        let text = fs::read_to_string(&manifest).expect("every floor has a manifest");
        for line in text.lines() {
            let Some((name, _)) = line.split_once(['.', ' ']) else { continue };
            assert!(
                !all.contains(&name) || may.contains(&name) || line.starts_with("name"),
                "rule `floors` is broken: {dir}/Cargo.toml depends on {name}\ninstead: an arrow \
                 points down; move the data that both need to model/uapi"
            );
        }
    }
}

#[test]
fn floors_within_the_model_point_down() {
    // revisions > program > iommufd, arm_smmu_v3 > linux > sync
    let above: &[(&str, &[&str])] = &[
        ("model/src/sync", &["linux", "iommufd", "arm_smmu_v3", "program", "revisions"]),
        ("model/src/linux", &["iommufd", "arm_smmu_v3", "program", "revisions"]),
        ("model/src/iommufd", &["program", "revisions"]),
        ("model/src/arm_smmu_v3", &["program", "revisions", "iommufd"]),
        ("model/src/program", &["revisions"]),
    ];
    for (part, higher) in above {
        let files: Vec<Source> =
            sources(&["model/src"]).into_iter().filter(|f| f.path.starts_with(part)).collect();
        let words: Vec<String> = higher.iter().map(|h| format!("crate::{h}")).collect();
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        Rule::new(
            "floors",
            "within model/src: revisions > program > iommufd, arm_smmu_v3 > linux > sync; pass \
             what the lower floor needs as an argument or a table of functions",
        )
        .forbids(&files, &words)
        .holds();
    }
}

#[test]
fn one_backend_file() {
    let model = without(sources(&["model/src"]), &["model/src/sync"]);
    Rule::new(
        "one-backend-file",
        "use the primitives of linux/* (or add an operation to sync); nothing else of the model \
         may know what it runs on",
    )
    .forbids(
        &model,
        &["loom", "shuttle", "corosensei", "std::sync", "std::thread", "std::cell::Unsafe"],
    )
    .holds();
}

#[test]
fn no_clock_and_no_rng_beside_the_allow_list() {
    // One runner per explorer, one clock file, the seed files.
    let clocks = without(
        sources(&["model", "races/src", "scenarios/src", "reports/src"]),
        &["reports/src/clock.rs", "races/src/loom.rs"],
    );
    Rule::new(
        "one-backend-file",
        "a budget counts executions and steps; the safety net is in reports/src/clock.rs",
    )
    .forbids(&clocks, &["Instant", "SystemTime", "UNIX_EPOCH"])
    .holds();

    let rngs = without(
        sources(&["model", "races/src", "scenarios/src", "reports/src"]),
        &[
            "races/src/random.rs",
            "races/src/seed.rs",
            "races/src/primitive_tests.rs",
            "model/timing/src/seed.rs",
        ],
    );
    Rule::new(
        "one-backend-file",
        "draw from the one seeded ChaCha stream (races/src/seed.rs, for litmus programs \
         races/src/random.rs, for the cost model model/timing/src/seed.rs) and pass the numbers on",
    )
    .forbids(&rngs, &["rand", "rand_chacha", "thread_rng", "getrandom", "RandomState"])
    .holds();
}

#[test]
fn no_thread_and_no_backend_beside_the_allow_list() {
    let threads = without(
        sources(&["model", "races/src", "scenarios/src", "reports/src"]),
        &[
            "model/src/sync",
            "model/bare/tests",
            "races/src/loom.rs",
            "races/src/peers",
            "reports/src/check.rs",
        ],
    );
    let threads: Vec<Source> =
        threads.into_iter().map(|f| ignoring(f, "std::thread::available_parallelism")).collect();
    Rule::new(
        "one-backend-file",
        "an execution runs on the coroutines of sync; the threads of a run are started in \
         reports/src/check.rs",
    )
    .forbids(&threads, &["std::thread", "thread::spawn"])
    .holds();

    let backends = without(
        sources(&["model", "races/src", "scenarios/src", "reports/src"]),
        &["model/src/sync", "races/src/peers"],
    );
    Rule::new(
        "one-backend-file",
        "go through model_native, model_shuttle or model_loom; peers of the benches are in \
         races/src/peers.rs",
    )
    .forbids(&backends, &["corosensei", "loom::model", "loom::sync", "shuttle::sync", "shuttle"])
    .only_paths(&["corosensei::", "loom::model", "loom::sync", "shuttle::"])
    .holds();
}

fn ignoring(mut file: Source, word: &str) -> Source {
    for line in &mut file.lines {
        *line = line.replace(word, "");
    }
    file
}

#[test]
fn reproducible_output() {
    let files = sources(&["model", "races/src", "scenarios/src", "reports/src"]);
    Rule::new("reproducible-output", "BTreeMap and BTreeSet iterate in one order on every machine")
        .forbids(&files, &["HashMap", "HashSet"])
        .holds();
    let all = sources(&["model", "races", "scenarios", "benches", "reports"]);
    Rule::new("reproducible-output", "state of an execution lives in the execution (sync)")
        .forbids(&all, &["static mut"])
        .holds();
}

#[test]
fn every_test_runs_and_names_what_it_expects() {
    let files = without(
        sources(&["model", "races", "scenarios", "benches", "reports"]),
        &["reports/tests/rules.rs"],
    );
    Rule::new(
        "name-the-splat",
        "assert on the splat or the error; a test that cannot run yet belongs to a later change",
    )
    .forbids(&files, &["should_panic", "ignore", "todo", "unimplemented"])
    .only_attributes()
    .holds();
}

impl Rule {
    /// Of what was found, keeps attributes and macro calls: `ignore` is a good name for a
    /// variable, too.
    fn only_attributes(mut self) -> Rule {
        let marks = ["#[ignore", "#[should_panic", "todo!", "unimplemented!"];
        let kept: Vec<&str> =
            self.broken.lines().filter(|l| marks.iter().any(|m| l.contains(m))).collect();
        self.broken = kept.iter().map(|l| format!("{l}\n")).collect();
        self
    }
}

#[test]
fn no_rev_if() {
    let model = sources(&["model/src"]);
    let marks = ["revision.name ==", "revision ==", "row.name ==", "rev ==", "rev >=", "rev <"];
    let mut rule = Rule::new(
        "no-rev-if",
        "behaviour that varies is a function in the row: (ictx.driver.vdevice_abort)(ictx, &vdev)",
    );
    for file in &model {
        // The table itself finds its rows by name.
        if file.path == "model/src/revisions.rs" {
            continue;
        }
        for (i, line) in file.lines.iter().enumerate() {
            let cfg = line.contains("match revision") || line.contains("match row.name");
            if cfg || marks.iter().any(|m| line.contains(m)) {
                let _ = writeln!(rule.broken, "  {}:{}: {}", file.path, i + 1, line.trim());
            }
        }
    }
    rule.holds();
}

#[test]
fn scenarios_ask_first_and_cite() {
    let dir = root().join("scenarios");
    let mut seen = 0;
    for part in fs::read_dir(&dir).expect("scenarios/ exists").flatten().map(|e| e.path()) {
        let skipped =
            ["src", "tests", "answers", "profiles", "fuzz"].iter().any(|s| part.ends_with(s));
        if !part.is_dir() || skipped {
            continue;
        }
        for file in fs::read_dir(&part).into_iter().flatten().flatten().map(|e| e.path()) {
            if file.extension().is_none_or(|e| e != "toml") {
                continue;
            }
            seen += 1;
            let text = fs::read_to_string(&file).expect("a scenario is readable");
            let mut lines = text.lines().filter(|l| !l.trim().is_empty() && !l.starts_with('#'));
            let first = lines.next().unwrap_or("");
            assert!(
                first.starts_with("question"),
                "rule `ask-first` is broken: {} begins with `{first}`\ninstead: begin with \
                 question = \"…?\"",
                file.display()
            );
            let source = text.lines().find(|l| l.starts_with("source"));
            assert!(
                source.is_some_and(|l| l.len() > "source = \"\"".len()),
                "rule `cite` is broken: {} has no source\ninstead: source = \"<Message-ID>, \
                 comment N\", or a commit with file and function",
                file.display()
            );
        }
    }
    assert!(seen > 0, "rule `ask-first`: there is not a single scenario");
}

#[test]
fn kernel_functions_cite() {
    let files = ["model/src/iommufd", "model/src/arm_smmu_v3"];
    let mut missing = String::new();
    // The object graph and the table of a row are our own, not functions of the kernel.
    let own = ["model/src/iommufd/graph.rs", "model/src/iommufd/revision.rs"];
    for file in without(sources(&files), &own) {
        let text = fs::read_to_string(root().join(&file.path)).expect("a source file is readable");
        let head: String = text.lines().take_while(|l| l.starts_with("//!")).collect();
        let cites = text.contains("Source:") || text.contains("reference/") || head.contains('@');
        if !cites {
            let _ = writeln!(missing, "  {}", file.path);
        }
    }
    assert!(
        missing.is_empty(),
        "rule `cite` is broken: no source in\n{missing}instead: `Source:` with a Message-ID, or \
         commit, file and function, in the head of the module"
    );
}

#[test]
fn every_module_says_what_it_is_for() {
    let mut silent = String::new();
    for file in sources(&["model", "races", "scenarios", "benches", "reports"]) {
        let text = fs::read_to_string(root().join(&file.path)).expect("a source file is readable");
        if !text.starts_with("//!") {
            let _ = writeln!(silent, "  {}", file.path);
        }
    }
    assert!(
        silent.is_empty(),
        "rule `say-why` is broken: no head comment in\n{silent}instead: begin with `//!` and say \
         what the module is for"
    );
}

#[test]
fn the_top_level_is_fixed() {
    let allowed = [
        ".cargo",
        ".ci",
        ".git",
        ".github",
        ".gitignore",
        "Cargo.lock",
        "Cargo.toml",
        "LICENSE-APACHE",
        "LICENSE-MIT",
        "README.md",
        "benches",
        "clippy.toml",
        "model",
        "races",
        "reports",
        "rust-toolchain.toml",
        "rustfmt.toml",
        "scenarios",
        "target",
    ];
    let mut strangers = BTreeMap::new();
    for entry in fs::read_dir(root()).expect("the root is readable").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if !allowed.contains(&name.as_str()) {
            strangers.insert(name, ());
        }
    }
    assert!(
        strangers.is_empty(),
        "rule `floors` is broken: {:?} at the top level\ninstead: put it into one of the six \
         folders; a text that governs a folder lives in its README",
        strangers.keys()
    );
}

#[test]
fn lines_fit() {
    let mut long = String::new();
    for file in sources(&["model", "races", "scenarios", "benches", "reports"]) {
        let text = fs::read_to_string(root().join(&file.path)).expect("a source file is readable");
        for (i, line) in text.lines().enumerate() {
            // Rustfmt breaks neither strings nor comments.
            let code = !line.contains('"') && !line.contains("//");
            if code && line.chars().count() > 100 {
                let _ = writeln!(long, "  {}:{}", file.path, i + 1);
            }
        }
    }
    assert!(long.is_empty(), "rule `shape` is broken:\n{long}instead: lines up to 100");
}

#[test]
fn the_rules_see_code_and_not_comments() {
    let text = "let a = \"HashMap\"; // HashMap\n/* HashMap\n */ let c = '\"'; HashMap::new();\n\
                let l: &'static str = r#\"HashMap \" \"#; let n = '\\n';\nx(HashMap)";
    let found: Vec<usize> = code(text)
        .iter()
        .enumerate()
        .filter(|(_, l)| names(l, "HashMap"))
        .map(|(i, _)| i)
        .collect();
    assert_eq!(found, [2, 4]);
}
