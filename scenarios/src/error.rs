//! What is wrong with a scenario file, in a form that points at the line.

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode};
use std::fmt;
use std::ops::Range;

/// Everything that is wrong with one file.
///
/// Printed with miette, it shows file, line and column, the line with the place underlined, and
/// what would be right.
#[derive(Clone, Debug)]
pub struct ScenarioError {
    file: String,
    source: Option<NamedSource<String>>,
    problems: Vec<Problem>,
}

/// One thing that is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem {
    /// What is wrong, without the place.
    pub message: String,
    /// What would be right.
    pub help: String,
    /// The places: byte ranges in the file with a word on each. Empty if the file as a whole is
    /// wrong.
    pub labels: Vec<(Range<usize>, String)>,
}

/// A place in a file, both from 1; columns count characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Location {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

/// Longest line that is drawn, in bytes. Nobody reads a longer one, and miette, which pads with
/// blanks, panics where a label stands behind the 65,535th column.
const LINE_DRAWN_MAX: usize = 512;

impl Problem {
    /// A problem with the file as a whole.
    pub(crate) fn whole(message: impl Into<String>, help: impl Into<String>) -> Problem {
        Problem { message: message.into(), help: help.into(), labels: Vec::new() }
    }

    /// A problem at a place.
    pub(crate) fn at(
        span: Range<usize>,
        label: impl Into<String>,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Problem {
        Problem { message: message.into(), help: help.into(), labels: vec![(span, label.into())] }
    }

    /// Says where it is in its message, since its line cannot be drawn.
    fn place_in_words(&mut self, text: &str) {
        let place = self.labels.first().and_then(|(span, _)| location(text, span));
        if let Some(Location { line, column }) = place {
            self.message = format!("line {line}, column {column}: {}", self.message);
        }
        self.labels.clear();
    }

    /// The same with a second place.
    pub(crate) fn and(mut self, span: Range<usize>, label: impl Into<String>) -> Problem {
        self.labels.push((span, label.into()));
        self
    }
}

/// Columns that a drawing needs beside the text of a line: its number and a frame.
const DRAWN_BESIDE: usize = 8;

/// Problems that are shown of one file.
const PROBLEMS_MAX: usize = 20;

impl ScenarioError {
    /// Problems found in `text`; `file` is how the user knows it. They are put into the order of
    /// their places, those of the whole file first; what is beyond [`PROBLEMS_MAX`] is only counted.
    pub(crate) fn new(file: &str, text: Option<&str>, mut problems: Vec<Problem>) -> ScenarioError {
        problems.sort_by_key(|p| p.labels.first().map(|(at, _)| at.start));
        // The parser of TOML may say one thing once per table.
        problems.dedup();
        let more = problems.len().saturating_sub(PROBLEMS_MAX);
        problems.truncate(PROBLEMS_MAX);
        if more > 0 {
            let help = "correct those above first";
            problems.push(Problem::whole(format!("and {more} more errors"), help));
        }
        let long = text.filter(|t| t.split('\n').any(|line| line.len() > LINE_DRAWN_MAX));
        if let Some(text) = long {
            for problem in &mut problems {
                problem.place_in_words(text);
            }
        }
        let text = text.filter(|_| long.is_none());
        let source = text.map(|t| NamedSource::new(file, drawable(t)).with_language("TOML"));
        ScenarioError { file: file.to_string(), source, problems }
    }

    /// The file, as the user named it.
    pub fn file(&self) -> &str {
        &self.file
    }

    /// Everything that is wrong, in the order of the file.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// One error for each problem, to be printed one after the other.
    pub fn each(self) -> Vec<ScenarioError> {
        let ScenarioError { file, source, problems } = self;
        let one = |problem: Problem| ScenarioError {
            file: file.clone(),
            source: source.clone().filter(|_| !problem.labels.is_empty()),
            problems: vec![problem],
        };
        problems.into_iter().map(one).collect()
    }

    /// The same for a terminal of this many columns: if a line of its drawing is wider, whose marks would
    /// then stand below another word, the places are in the messages.
    pub fn within(mut self, columns: usize) -> ScenarioError {
        let Some(text) = self.source.as_ref().map(|s| s.inner().clone()) else { return self };
        let room = columns.saturating_sub(DRAWN_BESIDE);
        let spans = self.problems.iter().flat_map(|p| &p.labels).map(|(span, _)| span);
        let lines = spans.filter_map(|span| {
            let Location { line, .. } = location(&text, span)?;
            text.lines().nth(line - 1)
        });
        if lines.map(|line| line.chars().count()).max() <= Some(room) {
            return self;
        }
        for problem in &mut self.problems {
            problem.place_in_words(&text);
        }
        self.source = None;
        self
    }

    /// Where a problem is, if it has a place.
    pub fn location(&self, problem: &Problem) -> Option<Location> {
        let (span, _) = problem.labels.first()?;
        location(self.source.as_ref()?.inner(), span)
    }
}

/// Whether a character tells a terminal to do something, or turns the text around it: it is not
/// printed, whoever wrote it.
pub(crate) fn unprintable(c: char) -> bool {
    let turns = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    turns || (c.is_control() && !matches!(c, '\n' | '\t' | '\r'))
}

/// A character by its number: `U+0456`.
pub(crate) fn code(c: char) -> String {
    format!("U+{:04X}", u32::from(c))
}

/// The text without what a terminal would take for an order, each place in it where it was.
fn drawable(text: &str) -> String {
    let mut drawn = String::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        match c {
            // The end of a line that ends in the way of other systems.
            '\r' if text[at..].starts_with("\r\n") => drawn.push(c),
            '\r' => drawn.push(' '),
            c if unprintable(c) && c.len_utf8() == 3 => drawn.push(char::REPLACEMENT_CHARACTER),
            c if unprintable(c) => drawn.extend(std::iter::repeat_n('?', c.len_utf8())),
            c => drawn.push(c),
        }
    }
    drawn
}

/// Where a span begins.
fn location(text: &str, span: &Range<usize>) -> Option<Location> {
    let before = text.get(..span.start.min(text.len()))?;
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or("").chars().count() + 1;
    Some(Location { line, column })
}

impl fmt::Display for ScenarioError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.problems.as_slice() {
            [one] if one.labels.is_empty() => write!(f, "{}: {}", self.file, one.message),
            [one] => f.write_str(&one.message),
            many => write!(f, "{}: {} errors", self.file, many.len()),
        }
    }
}

impl std::error::Error for ScenarioError {}

impl Diagnostic for ScenarioError {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        match self.problems.as_slice() {
            [one] => one.help(),
            _ => None,
        }
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|s| s as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        match self.problems.as_slice() {
            [one] => one.labels(),
            _ => None,
        }
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        match self.problems.as_slice() {
            [_] => None,
            many => Some(Box::new(many.iter().map(|p| p as &dyn Diagnostic))),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Problem {}

impl Diagnostic for Problem {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(&self.help))
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        if self.labels.is_empty() {
            return None;
        }
        Some(Box::new(self.labels.iter().enumerate().map(|(i, (span, label))| {
            let label = (!label.is_empty()).then(|| label.clone());
            if i == 0 {
                LabeledSpan::new_primary_with_span(label, span.clone())
            } else {
                LabeledSpan::new_with_span(label, span.clone())
            }
        })))
    }
}

/// The nearest of `names` to what was written, for "did you mean".
pub fn nearest<'a>(written: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // Anything further away than this is another word, not a slip; the cut keeps the comparison
    // of a hostile, very long name cheap.
    let written: String = written.chars().take(64).collect();
    let distance_max = 2 + written.chars().count() / 4;
    names
        .into_iter()
        .map(|n| {
            let (a, b) = (written.to_lowercase(), n.to_lowercase());
            (strsim::damerau_levenshtein(&a, &b), n)
        })
        .filter(|(d, _)| *d <= distance_max)
        .min()
        .map(|(_, n)| n)
}

/// "did you mean `x`?" if there is one, and otherwise the list.
pub(crate) fn suggest(written: &str, names: &[&str], what: &str) -> String {
    match nearest(written, names.iter().copied()) {
        Some(n) => format!("did you mean `{n}`?"),
        None => format!("{what}: {}", names.join(", ")),
    }
}
