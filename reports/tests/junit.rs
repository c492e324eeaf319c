//! The JUnit files hold what their readers expect: the elements and attributes of the schema that
//! Jenkins' xUnit plugin publishes (`junit-10.xsd`), which GitLab and GitHub's actions read a part of.
//!
//! The file is read by a parser of XML that knows nothing of JUnit, so that a mistake of the writer is
//! not made again by its reader.

mod support;

use quick_xml::events::{BytesStart, Event};
use quick_xml::Reader;
use std::collections::BTreeMap;
use std::fs;
use support::{exits, run, stdout, with_race};

/// An element, with what stands in it.
#[derive(Debug, Default)]
struct Element {
    name: String,
    attributes: BTreeMap<String, String>,
    children: Vec<Element>,
    text: String,
}

impl Element {
    fn open(start: &BytesStart<'_>) -> Element {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("UTF-8");
        let attributes = start.attributes().map(|attribute| {
            let attribute = attribute.expect("an attribute stands once and has a value");
            let value = attribute.unescape_value().expect("its entities are known");
            (text(attribute.key.as_ref()), value.into_owned())
        });
        let attributes = attributes.collect();
        Element { name: text(start.name().as_ref()), attributes, ..Element::default() }
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Element> {
        self.children.iter().filter(move |child| child.name == name)
    }

    fn number(&self, attribute: &str) -> usize {
        self.attributes[attribute].parse().expect("a number")
    }

    /// Seconds, with a point: what xs:decimal takes.
    fn seconds(&self) -> f64 {
        let time = &self.attributes["time"];
        assert!(time.chars().all(|c| c.is_ascii_digit() || c == '.'), "{time}");
        time.parse().expect("a decimal number")
    }

    /// Cases below it that ended like this.
    fn ended(&self, how: &str) -> usize {
        match self.name.as_str() {
            "testcase" => self.all(how).count(),
            _ => self.children.iter().map(|child| child.ended(how)).sum(),
        }
    }

    fn cases(&self) -> usize {
        self.all("testcase").count() + self.children.iter().map(Element::cases).sum::<usize>()
    }
}

fn parsed(xml: &str) -> Element {
    let forbidden = |c: char| c < ' ' && !matches!(c, '\n' | '\r' | '\t') || c >= '\u{fffe}';
    assert!(!xml.contains(forbidden), "a character that XML 1.0 has no form for");
    let mut reader = Reader::from_str(xml);
    let mut open = vec![Element::default()];
    loop {
        match reader.read_event().expect("well-formed XML") {
            Event::Start(start) => open.push(Element::open(&start)),
            Event::Empty(start) => {
                open.last_mut().expect("a parent").children.push(Element::open(&start));
            }
            Event::End(_) => {
                let closed = open.pop().expect("it was opened");
                open.last_mut().expect("a parent").children.push(closed);
            }
            Event::Text(text) => {
                let text = text.decode().expect("UTF-8");
                open.last_mut().expect("a parent").text.push_str(&text);
            }
            Event::GeneralRef(entity) => {
                let name = entity.decode().expect("UTF-8");
                let known = quick_xml::escape::resolve_xml_entity(&name).expect("one of XML's");
                open.last_mut().expect("a parent").text.push_str(known);
            }
            Event::Eof => break,
            _ => {}
        }
    }
    let document = open.pop().expect("the document");
    assert!(open.is_empty(), "everything is closed");
    document.children.into_iter().next().expect("a root")
}

/// Which attributes and children the schema gives an element.
const SCHEMA: &[(&str, &[&str], &[&str])] = &[
    ("testsuites", &["name", "tests", "failures", "errors", "time", "disabled"], &["testsuite"]),
    (
        "testsuite",
        &["name", "tests", "failures", "errors", "time", "disabled", "skipped"],
        &["testcase"],
    ),
    (
        "testcase",
        &["name", "classname", "time"],
        &["skipped", "failure", "error", "system-out", "system-err"],
    ),
    ("failure", &["type", "message"], &[]),
    ("error", &["type", "message"], &[]),
    ("skipped", &["type", "message"], &[]),
    ("system-out", &[], &[]),
];

fn follows_the_schema(element: &Element) {
    let of = SCHEMA.iter().find(|(name, ..)| *name == element.name);
    let (_, attributes, children) = of.unwrap_or_else(|| panic!("<{}>", element.name));
    for attribute in element.attributes.keys() {
        assert!(attributes.contains(&attribute.as_str()), "<{} {attribute}>", element.name);
    }
    for child in &element.children {
        assert!(children.contains(&child.name.as_str()), "<{}> in <{}>", child.name, element.name);
        follows_the_schema(child);
    }
}

/// Whoever shows a number shows that of the elements.
fn counts_and_times_agree(element: &Element) {
    assert_eq!(element.number("tests"), element.cases());
    assert_eq!(element.number("failures"), element.ended("failure"));
    assert_eq!(element.number("errors"), element.ended("error"));
    let inner: f64 = element.children.iter().map(Element::seconds).sum();
    assert!((element.seconds() - inner).abs() < 0.01, "{} and {inner}", element.seconds());
    for suite in element.all("testsuite") {
        assert!(suite.cases() > 0, "a suite without cases is dropped by some readers");
        counts_and_times_agree(suite);
    }
}

/// A case has one end, and a name that its suite gives to no other.
fn cases_are_named(suites: &Element) {
    for suite in suites.all("testsuite") {
        let mut names: Vec<&String> =
            suite.all("testcase").map(|c| &c.attributes["name"]).collect();
        let cases = names.len();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), cases, "{names:?}");
        for case in suite.all("testcase") {
            assert_eq!(case.attributes["classname"], suite.attributes["name"]);
            assert!(case.ended("failure") + case.ended("error") + case.ended("skipped") <= 1);
        }
    }
}

fn checked(args: &[&str], edits: &[(&str, &str)], code: i32) -> Element {
    let dir = with_race(edits);
    let output = run(dir.path(), &[&["check", "--format", "junit", "my_race.toml"], args].concat());
    exits(&output, code);
    let xml = stdout(&output);
    assert!(xml.starts_with("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"), "{xml}");
    let suites = parsed(xml);
    follows_the_schema(&suites);
    counts_and_times_agree(&suites);
    cases_are_named(&suites);
    suites
}

#[test]
fn a_run_that_passes_fails_or_is_not_decided_follows_the_schema() {
    let passed = checked(&["--explorer", "dpor"], &[], 0);
    assert_eq!((passed.cases(), passed.ended("failure"), passed.ended("error")), (2, 0, 0));

    let wrong = ("{ sometimes = \"viommu->vdevs[0x99] lost a live vDEVICE\" }", "\"Never\"");
    let failed = checked(&["--explorer", "dpor"], &[wrong], 1);
    assert_eq!((failed.cases(), failed.ended("failure"), failed.ended("error")), (2, 1, 0));
    let failures = failed.children[0].children.iter().flat_map(|case| case.all("failure"));
    for failure in failures {
        // Jenkins shows the message, GitLab the body.
        assert!(!failure.attributes["message"].is_empty() && failure.text.contains("Observation"));
        assert_eq!(failure.attributes["type"], "differs");
        // The reader of a CI has no checkout at hand: the interleaving is in it.
        let drawn = [
            "CPU 0  ",
            "IOMMU_VDEVICE_ALLOC(viommu0, dev0",
            "*** viommu->vdevs[0x99] lost",
            "replay: ",
        ];
        assert!(drawn.iter().all(|d| failure.text.contains(d)), "{}", failure.text);
    }

    let one = ["--explorer", "dpor", "--executions", "1", "--revision", "linux_6_13"];
    let undecided = checked(&one, &[], 3);
    assert_eq!((undecided.cases(), undecided.ended("error")), (1, 1), "{undecided:?}");
}

/// Readers take suite and case for the name of a result, and so do the files of a run.
#[test]
fn files_of_one_name_are_told_apart() {
    let dir = with_race(&[]);
    for sub in ["a", "b"] {
        fs::create_dir(dir.path().join(sub)).expect("writable");
        fs::copy(dir.path().join("my_race.toml"), dir.path().join(sub).join("my_race.toml"))
            .expect("writable");
    }
    let files = ["a/my_race.toml", "b/my_race.toml", "a/my_race.toml"];
    let args = [&["check", "--explorer", "dpor", "--format", "junit", "-o", "out"], &files[..]];
    let output = run(dir.path(), &args.concat());
    exits(&output, 0);
    let suites = parsed(stdout(&output));
    cases_are_named(&suites);
    let names: Vec<&String> = suites.all("testsuite").map(|s| &s.attributes["name"]).collect();
    assert_eq!(names, ["a/my_race", "b/my_race"], "a file that is named twice is asked once");
    for sub in ["a", "b"] {
        let file = format!("out/{sub}_my_race@linux_6_13_without_xa_cmpxchg.json");
        assert!(dir.path().join(&file).is_file(), "{file}");
    }
}
