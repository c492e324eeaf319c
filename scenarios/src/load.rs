//! Finding and reading scenario files.

use crate::error::{nearest, Problem};
use crate::{file, Scenario, ScenarioError};
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use uapi::pick::RevisionInfo;

/// Files that are larger are refused before they are parsed.
pub const FILE_SIZE_MAX: u64 = 256 << 10;

/// A file with a longer line, in bytes, is refused before it is parsed: what is nested a thousand
/// times deep on one line costs the reader of TOML minutes.
const LINE_LEN_MAX: usize = 4_096;

/// How deep below the directory files are looked for: a link that points upwards must not loop.
const DEPTH_MAX: u32 = 4;

/// Where the scenarios of the checkout are: `scenarios/` of the current directory, and otherwise
/// of the checkout that this binary was built from.
pub fn directory() -> PathBuf {
    let here = PathBuf::from("scenarios");
    if here.join("races").is_dir() {
        return here;
    }
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// What a directory holds.
#[derive(Clone, Debug, Default)]
pub struct Loaded {
    /// The good ones, by name.
    pub scenarios: Vec<Scenario>,
    /// The files that are wrong.
    pub errors: Vec<ScenarioError>,
}

/// Reads every `*.toml` of the subdirectories of `dir` (`races/`, `stories/`, `canary/`, …), in
/// order of their names.
pub fn load_dir(dir: &Path, revisions: &[RevisionInfo]) -> Loaded {
    let mut loaded = Loaded::default();
    let files = match files(dir) {
        Ok(files) => files,
        Err(e) => {
            loaded.errors.push(e);
            return loaded;
        }
    };
    let mut seen: BTreeMap<String, PathBuf> = BTreeMap::new();
    for path in files {
        match read(&path, revisions) {
            Ok(scenario) => match seen.get(&scenario.name) {
                Some(other) => loaded.errors.push(whole(
                    &path,
                    format!("the name `{}` is taken by {}", scenario.name, other.display()),
                    "a scenario is named after its file; rename one of the two",
                )),
                None => {
                    seen.insert(scenario.name.clone(), path);
                    loaded.scenarios.push(scenario);
                }
            },
            Err(e) => loaded.errors.push(e),
        }
    }
    loaded.scenarios.sort_by(|a, b| a.name.cmp(&b.name));
    loaded
}

/// The file that a user means: a path, or the name of a scenario below `dir`.
///
/// # Errors
///
/// If there is no scenario of this name; the help says which one may be meant.
pub fn resolve(name_or_path: &str, dir: &Path) -> Result<PathBuf, ScenarioError> {
    let path = PathBuf::from(name_or_path);
    // A link that leads nowhere, or to itself, is there, too.
    let is_there = path.symlink_metadata().is_ok();
    if is_there || name_or_path.ends_with(".toml") || name_or_path.contains('/') {
        // A path that does not exist gets its error from `Scenario::read`.
        return Ok(path);
    }
    let beside = format!("{name_or_path}.toml");
    let message = "there is no scenario of this name";
    if Path::new(&beside).is_file() {
        return Err(whole(&path, message, format!("did you mean the file `{beside}`?")));
    }
    let files = files(dir)?;
    if let Some(found) = files.iter().find(|f| stem(f) == name_or_path) {
        return Ok(found.clone());
    }
    let names: Vec<String> = files.iter().map(|f| stem(f)).collect();
    Err(whole(&path, message, which_name(name_or_path, &names)))
}

/// Which of the names may be meant by one that is not among them.
fn which_name(written: &str, names: &[String]) -> String {
    if let Some(n) = nearest(written, names.iter().map(String::as_str)) {
        return format!("did you mean `{n}`? `iommufd-testbed list` shows all of them");
    }
    let holding: Vec<&String> = names.iter().filter(|n| n.contains(written)).collect();
    match holding.as_slice() {
        [] => "`iommufd-testbed list` shows the names; a path ends in .toml".to_string(),
        [first, ..] if !written.is_empty() => format!(
            "did you mean `{first}`? {} have it in their names; `iommufd-testbed list` shows all",
            holding.len()
        ),
        _ => "`iommufd-testbed list` shows the names".to_string(),
    }
}

/// Reads one file.
pub(crate) fn read(path: &Path, revisions: &[RevisionInfo]) -> Result<Scenario, ScenarioError> {
    let text = scenario_text(path)?;
    let mut scenario = file::parse(&stem(path), &path.display().to_string(), &text, revisions)?;
    scenario.path = Some(path.to_path_buf());
    Ok(scenario)
}

/// What a user is told of a file that is not what is read here.
#[derive(Clone, Copy)]
pub(crate) struct Wanted {
    /// Bytes of the largest one.
    pub(crate) size_max: u64,
    /// If there is none.
    pub(crate) missing: &'static str,
    /// If it is a directory.
    pub(crate) directory: &'static str,
    /// If it is larger.
    pub(crate) large: &'static str,
}

/// A scenario.
const SCENARIO: Wanted = Wanted {
    size_max: FILE_SIZE_MAX,
    missing: "a scenario of the checkout is named without directory and .toml; `iommufd-testbed \
              list` shows them",
    directory: "name a file in it; without a name, all scenarios of the checkout run",
    large: "a scenario fits on a screen; is this the file you meant?",
};

/// A file of scenarios/ that is no scenario: `pairs.toml` and the like.
pub(crate) const BESIDE: Wanted = Wanted {
    size_max: FILE_SIZE_MAX,
    missing: "name a file that is there; those of the testbed itself are in its checkout",
    directory: "name a file in it",
    large: "such a file has some hundred lines; is this the file you meant?",
};

/// The text of a scenario.
pub(crate) fn scenario_text(path: &Path) -> Result<String, ScenarioError> {
    text_of(path, &SCENARIO)
}

/// The text of a file.
pub(crate) fn text_of(path: &Path, wanted: &Wanted) -> Result<String, ScenarioError> {
    match String::from_utf8(bytes(path, wanted)?) {
        Ok(text) => Ok(text),
        Err(e) => {
            let bad = e.utf8_error().valid_up_to();
            // Every byte before the first bad one stands unchanged in the lossy text, so its
            // position holds there, too.
            let lossy = String::from_utf8_lossy(e.as_bytes()).into_owned();
            let end = bad + char::REPLACEMENT_CHARACTER.len_utf8();
            let problem = Problem::at(
                bad..end.min(lossy.len()),
                "this byte",
                "the file is not UTF-8",
                "it has to be a text file; save it as UTF-8",
            );
            Err(ScenarioError::new(&path.display().to_string(), Some(&lossy), vec![problem]))
        }
    }
}

/// What is wrong with a text before TOML is even looked at.
pub(crate) fn before_toml(text: &str) -> Option<Problem> {
    if text.len() as u64 > FILE_SIZE_MAX {
        return Some(Problem::whole(
            format!("the text has more than {FILE_SIZE_MAX} bytes"),
            "such a file fits on a screen; is this the file you meant?",
        ));
    }
    let long = text.split('\n').position(|line| line.len() > LINE_LEN_MAX)?;
    Some(Problem::whole(
        format!("line {} has more than {LINE_LEN_MAX} bytes", long + 1),
        "break it: a list may have an entry per line; is this the file you meant?",
    ))
}

/// Reads TOML that is no scenario; `help` says of what form it is.
pub(crate) fn data<T: DeserializeOwned>(
    path: &str,
    text: &str,
    help: &str,
) -> Result<T, ScenarioError> {
    if let Some(problem) = before_toml(text) {
        return Err(ScenarioError::new(path, Some(text), vec![problem]));
    }
    toml::from_str(text).map_err(|e| {
        let problem = match e.span() {
            Some(span) => Problem::at(span, "here", e.message(), help),
            None => Problem::whole(e.message(), help),
        };
        ScenarioError::new(path, Some(text), vec![problem])
    })
}

/// The bytes of a file.
pub(crate) fn bytes(path: &Path, wanted: &Wanted) -> Result<Vec<u8>, ScenarioError> {
    let unreadable = |e: std::io::Error| unreadable(path, &e, wanted.missing);
    let meta = std::fs::metadata(path).map_err(unreadable)?;
    if meta.is_dir() {
        return Err(whole(path, "this is a directory", wanted.directory));
    }
    if !meta.is_file() {
        return Err(whole(path, "this is not a regular file", "name a regular file"));
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path)
        .and_then(|f| f.take(wanted.size_max + 1).read_to_end(&mut bytes))
        .map_err(unreadable)?;
    if bytes.len() as u64 > wanted.size_max {
        let message = format!("the file has more than {} bytes", wanted.size_max);
        return Err(whole(path, message, wanted.large));
    }
    Ok(bytes)
}

/// What keeps a file or a directory from being read; what to say if there is none.
fn unreadable(path: &Path, e: &std::io::Error, missing: &str) -> ScenarioError {
    // Both ends of a link have names, and the user may know only the first one.
    let leads = std::fs::read_link(path).map(|to| to.display().to_string());
    match (e.kind(), leads) {
        (ErrorKind::NotFound, Ok(to)) => whole(
            path,
            format!("this is a link to `{to}`, which is not there"),
            "make the link anew, or name the file itself",
        ),
        (ErrorKind::NotFound, Err(_)) => whole(path, "there is no such file", missing),
        (_, Ok(to)) => whole(
            path,
            format!("this is a link to `{to}`, which cannot be followed: {e}"),
            "make the link anew, or name the file itself",
        ),
        _ => whole(path, format!("the file cannot be read: {e}"), "check its permissions"),
    }
}

/// What to say of a directory of scenarios that is not there.
const NO_CHECKOUT: &str =
    "the scenarios are part of the checkout: run it in a clone of the testbed, \
                           or name a scenario file of yours";

pub(crate) fn whole(
    path: &Path,
    message: impl Into<String>,
    help: impl Into<String>,
) -> ScenarioError {
    ScenarioError::new(&path.display().to_string(), None, vec![Problem::whole(message, help)])
}

fn stem(path: &Path) -> String {
    path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default()
}

/// TOML files in the directory of the scenarios that are none, without their extension.
const NO_SCENARIOS: &[&str] =
    &["Cargo", "left_out", "survivors", "unreached", "permitted", "pairs"];

/// Every scenario file below `dir`, sorted by path. `Cargo.toml` is not one.
fn files(dir: &Path) -> Result<Vec<PathBuf>, ScenarioError> {
    let mut found = Vec::new();
    let mut todo = vec![(dir.to_path_buf(), 0)];
    while let Some((dir, depth)) = todo.pop() {
        let entries = std::fs::read_dir(&dir).map_err(|e| unreadable(&dir, &e, NO_CHECKOUT))?;
        for entry in entries {
            let path = entry.map_err(|e| unreadable(&dir, &e, NO_CHECKOUT))?.path();
            if path.is_dir() {
                let skipped = matches!(
                    stem(&path).as_str(),
                    "src" | "tests" | "target" | "answers" | "profiles" | "fuzz"
                );
                if !skipped && depth < DEPTH_MAX {
                    todo.push((path, depth + 1));
                }
            } else if path.extension().is_some_and(|e| e == "toml")
                && !NO_SCENARIOS.contains(&stem(&path).as_str())
            {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}
