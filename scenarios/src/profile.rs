//! Machine profiles of the cost model: TOML into [`smmuv3_timing::Profile`], strictly.
//!
//! What keys there are is not written down here: the shipped base is serialised and is the
//! schema. So a key that the cost model gets is a key of the format at once.

use crate::error::{suggest, Problem, ScenarioError};
use crate::file::toml_problem;
use crate::load::{self, whole};
use smmuv3_timing::Profile;
use std::ops::Range;
use std::path::{Path, PathBuf};
use toml::de::{DeTable, DeValue};
use toml::Spanned;

/// The profiles that come with the testbed.
const SHIPPED: [(&str, &str); 2] = [
    ("kunpeng-920", include_str!("../profiles/kunpeng-920.toml")),
    ("one-die", include_str!("../profiles/one-die.toml")),
];

/// Names of the profiles that come with the testbed; the first is the default.
pub fn profile_names() -> Vec<&'static str> {
    SHIPPED.iter().map(|(name, _)| *name).collect()
}

/// Reads a profile: one that comes with the testbed by its name, any other by its path.
///
/// # Errors
///
/// Everything that is wrong with the file, with its places.
pub fn profile(what: &str) -> Result<Profile, ScenarioError> {
    if let Some((name, text)) = SHIPPED.iter().find(|(name, _)| *name == what) {
        return parse_profile(name, text);
    }
    let path = PathBuf::from(what);
    let looks_like_a_path = what.contains('/') || path.extension().is_some_and(|e| e == "toml");
    if !looks_like_a_path && path.symlink_metadata().is_err() {
        let help = format!(
            "{}; a profile of your own is named by its path",
            suggest(what, &profile_names(), "there are")
        );
        return Err(whole(&path, "there is no profile of this name", help));
    }
    if path.symlink_metadata().is_err() {
        let help = format!("the profiles that need no file: {}", profile_names().join(", "));
        return Err(whole(&path, "there is no such file", help));
    }
    parse_profile(what, &read(&path)?)
}

fn read(path: &Path) -> Result<String, ScenarioError> {
    const PROFILE: load::Wanted = load::Wanted {
        size_max: load::FILE_SIZE_MAX,
        missing: "name another file",
        directory: "name the profile in it",
        large: "a profile fits on a screen; is this the file you meant?",
    };
    load::text_of(path, &PROFILE)
}

/// Reads the text of a profile; `file` is how the user knows it.
///
/// # Errors
///
/// Everything that is wrong with it, with its places.
pub fn parse_profile(file: &str, text: &str) -> Result<Profile, ScenarioError> {
    if let Some(problem) = load::before_toml(text) {
        return Err(ScenarioError::new(file, Some(text), vec![problem]));
    }
    let mut reader = Reader { problems: Vec::new() };
    let read = reader.profile(text);
    match read {
        Some(profile) if reader.problems.is_empty() => Ok(profile),
        _ => Err(ScenarioError::new(file, Some(text), reader.problems)),
    }
}

struct Reader {
    problems: Vec<Problem>,
}

/// A key of the file: its table, its name and its place.
type Place = (String, Range<usize>);

impl Reader {
    fn profile(&mut self, text: &str) -> Option<Profile> {
        let (table, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            self.problems.extend(errors.iter().map(|e| toml_problem(e, text, &[])));
            return None;
        }
        let table = table.get_ref();
        let schema = as_table(&Profile::kunpeng_920())?;
        let mut values = self.base(table)?;
        let based = !values.is_empty();
        let mut places: Vec<Place> = Vec::new();
        for (key, value) in table {
            let name: &str = key.get_ref();
            match (schema.get(name), value.get_ref()) {
                _ if name == "base" => {}
                (Some(toml::Value::Table(known)), DeValue::Table(given)) => {
                    let merged = values
                        .entry(name)
                        .or_insert_with(|| toml::Value::Table(toml::Table::new()));
                    let toml::Value::Table(merged) = merged else { continue };
                    self.table(name, known, given, merged, &mut places);
                }
                (Some(toml::Value::Table(_)), _) => self.problems.push(Problem::at(
                    value.span(),
                    "not a table",
                    format!("`{name}` is a table"),
                    format!("write a line `[{name}]` and its keys below it"),
                )),
                (Some(_), DeValue::String(given)) => {
                    values.insert(name.to_owned(), toml::Value::String(given.to_string()));
                    places.push((name.to_owned(), value.span()));
                }
                (Some(_), _) => self.problems.push(Problem::at(
                    value.span(),
                    "not a text",
                    format!("`{name}` is a text"),
                    "put it into quotes",
                )),
                (None, _) => {
                    let mut known: Vec<&str> = schema.keys().map(String::as_str).collect();
                    known.push("base");
                    self.problems.push(unknown(key.span(), name, "the profile", &known));
                }
            }
        }
        self.missing(&schema, &values, based);
        if !self.problems.is_empty() {
            return None;
        }
        let profile: Profile = match toml::Value::Table(values).try_into() {
            Ok(profile) => profile,
            Err(e) => {
                let message = e.to_string().trim().to_owned();
                self.problems.push(Problem::whole(message, "scenarios/profiles/README.md"));
                return None;
            }
        };
        for bad in profile.problems() {
            let at = places.iter().find(|(key, _)| key == bad.key).map(|(_, span)| span.clone());
            let message = format!("`{}`: {}", bad.key, bad.message);
            self.problems.push(match at {
                Some(span) => Problem::at(span, "here", message, bad.help),
                None => Problem::whole(message, bad.help),
            });
        }
        Some(profile)
    }

    /// The values of the base, or none.
    fn base(&mut self, table: &DeTable<'_>) -> Option<toml::Table> {
        let Some(value) = table.get("base") else { return Some(toml::Table::new()) };
        let text = match value.get_ref() {
            DeValue::String(name) => SHIPPED.iter().find(|(n, _)| *n == name.as_ref()),
            _ => None,
        };
        // A base of a base would be a chain that nobody sees in the file.
        let Some((_, text)) = text.filter(|(_, text)| !text.contains("\nbase = ")) else {
            self.problems.push(Problem::at(
                value.span(),
                "not a base",
                "a base is a profile that comes with the testbed and has no base itself",
                "base = \"kunpeng-920\"",
            ));
            return None;
        };
        toml::from_str(text).ok()
    }

    fn table(
        &mut self,
        table: &str,
        known: &toml::Table,
        given: &DeTable<'_>,
        merged: &mut toml::Table,
        places: &mut Vec<Place>,
    ) {
        for (key, value) in given {
            let name: &str = key.get_ref();
            if !known.contains_key(name) {
                let keys: Vec<&str> = known.keys().map(String::as_str).collect();
                self.problems.push(unknown(key.span(), name, &format!("[{table}]"), &keys));
                continue;
            }
            match number(value) {
                Some(n) => {
                    merged.insert(name.to_owned(), toml::Value::Integer(n));
                    places.push((format!("{table}.{name}"), value.span()));
                }
                None => self.problems.push(Problem::at(
                    value.span(),
                    match value.get_ref() {
                        DeValue::Integer(_) => "out of this range",
                        _ => "not a whole number",
                    },
                    format!("`{table}.{name}` is a whole number from 0 to {NUMBER_MAX}"),
                    "times are in the unit of the key's name, without a point and without quotes",
                )),
            }
        }
    }

    /// What neither the file nor its base says.
    fn missing(&mut self, schema: &toml::Table, values: &toml::Table, based: bool) {
        let mut missing = Vec::new();
        for (key, value) in schema {
            match (value, values.get(key)) {
                (toml::Value::Table(known), Some(toml::Value::Table(given))) => {
                    let absent = known.keys().filter(|k| !given.contains_key(*k));
                    missing.extend(absent.map(|k| format!("{key}.{k}")));
                }
                (toml::Value::Table(_), _) => missing.push(format!("[{key}]")),
                (_, None) => missing.push(key.clone()),
                _ => {}
            }
        }
        if !missing.is_empty() && !based && self.problems.is_empty() {
            self.problems.push(Problem::whole(
                format!("these are missing: {}", missing.join(", ")),
                "begin with `base = \"kunpeng-920\"` to take from there what you did not measure",
            ));
        }
    }
}

/// Most of any number; it fits all fields.
const NUMBER_MAX: i64 = u32::MAX as i64;

fn number(value: &Spanned<DeValue<'_>>) -> Option<i64> {
    let DeValue::Integer(n) = value.get_ref() else { return None };
    let n = i64::from_str_radix(n.as_str(), n.radix()).ok()?;
    (0..=NUMBER_MAX).contains(&n).then_some(n)
}

fn unknown(span: Range<usize>, name: &str, of: &str, known: &[&str]) -> Problem {
    let help = suggest(name, known, "the keys are");
    Problem::at(span, "unknown key", format!("{of} has no key `{name}`"), help)
}

fn as_table(profile: &Profile) -> Option<toml::Table> {
    toml::Table::try_from(profile).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_profiles_are_read_and_the_default_is_the_models() {
        for (name, _) in SHIPPED {
            assert_eq!(profile(name).unwrap_or_else(|e| panic!("{e}")).name, name);
        }
        let file = profile("kunpeng-920").expect("it is shipped");
        let model = Profile { source: file.source.clone(), ..Profile::kunpeng_920() };
        assert_eq!(file, model, "scenarios/profiles/kunpeng-920.toml and profile.rs differ");
    }

    /// The problems of a text: place and message of each.
    fn problems(text: &str) -> Vec<String> {
        let error = parse_profile("p.toml", text).expect_err("it is bad");
        let line = |p: &Problem| match error.location(p) {
            Some(at) => format!("{}:{} {}", at.line, at.column, p.message),
            None => format!("whole {}", p.message),
        };
        error.problems().iter().map(line).collect()
    }

    const HEAD: &str = "base = \"kunpeng-920\"\nname = \"mine\"\nsource = \"measured\"\n";

    #[test]
    fn a_base_and_three_numbers_make_a_profile() {
        let text = format!("{HEAD}[line]\ndie_ns = 50\n[smmu]\nsync_ns = 60\n");
        let mine = parse_profile("p.toml", &text).expect("it is good");
        assert_eq!((mine.line.die_ns, mine.smmu.sync_ns, mine.line.remote_ns), (50, 60, 305));
        assert_eq!((mine.name.as_str(), mine.cpu.entry_ns), ("mine", 8));
    }

    #[test]
    fn errors_point_at_the_place() {
        let cases: [(&str, &[&str]); 14] = [
            ("[line]\ndie_nss = 3\n", &["5:1 [line] has no key `die_nss`"]),
            ("[lines]\ndie_ns = 3\n", &["4:2 the profile has no key `lines`"]),
            ("[line]\ndie_ns = \"3\"\n", &["5:10 `line.die_ns` is a whole number"]),
            ("[line]\ndie_ns = 3.5\n", &["5:10 `line.die_ns` is a whole number"]),
            ("[line]\ndie_ns = -3\n", &["5:10 `line.die_ns` is a whole number"]),
            ("[line]\ndie_ns = 99999999999\n", &["5:10 `line.die_ns` is a whole number"]),
            ("[queue]\nentries = 64\n", &["5:11 `queue.entries`: a ring of 64 entries is too sm"]),
            ("[queue]\nentries = 1048576\n", &["5:11 `queue.entries`: a ring of 1048576 entries"]),
            ("[queue]\nentries = 1000\n", &["5:11 `queue.entries`: a ring of 1000 entries is no"]),
            ("[topology]\ncpus_per_die = 0\n", &["5:16 `topology.cpus_per_die`: 0 of them"]),
            ("[topology]\nsmmu_die = 4\n", &["5:12 `topology.smmu_die`: there is no die 4"]),
            ("[line]\nremote_ns = 4\n", &["5:13 `line.remote_ns`: a longer way"]),
            ("line = 3\n", &["4:8 `line` is a table"]),
            (
                "[line]\nx = 1\n[smmu]\ny = 2\n",
                &["5:1 [line] has no key `x`", "7:1 [smmu] has no key `y`"],
            ),
        ];
        for (text, expected) in cases {
            let found = problems(&format!("{HEAD}{text}"));
            assert_eq!(found.len(), expected.len(), "{text}: {found:?}");
            for (f, e) in found.iter().zip(expected) {
                assert!(f.starts_with(e), "{text}: {f}, not {e}");
            }
        }
        assert!(problems("name = ")[0].starts_with("1:"), "TOML's own errors have a place, too");
        assert!(problems("base = \"one-die\"\n")[0].starts_with("1:8 a base is a profile"));
        assert!(problems("name = 3\n")[0].starts_with("1:8 `name` is a text"));
        let missing = problems("name = \"a\"\nsource = \"b\"\n");
        assert!(missing[0].starts_with("whole these are missing: [cpu]"), "{missing:?}");
    }

    #[test]
    fn files_that_are_none() {
        let error = profile("kunpeng-902").expect_err("a slip");
        assert!(error.problems()[0].help.contains("did you mean `kunpeng-920`"), "{error:?}");
        let error = profile("/nowhere/a.toml").expect_err("no file");
        assert!(error.to_string().contains("there is no such file"), "{error}");
        let dir = tempfile::TempDir::new().expect("a directory");
        let path = dir.path().display().to_string();
        assert!(profile(&path).expect_err("a directory").to_string().contains("a directory"));
        let file = dir.path().join("p.toml");
        std::fs::write(&file, [0xff, 0xfe]).expect("writable");
        let error = profile(&file.display().to_string()).expect_err("no text");
        assert!(error.to_string().contains("not UTF-8"), "{error}");
    }
}
