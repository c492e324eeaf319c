//! Reading a recording: JSON lines, with an error that points at the line for everything that is
//! not one.

use super::convert;
use super::ops::{self, OTHERS};
use super::{Answer, Injection, Recorded, Recording, Sequence};
use crate::error::{nearest, Problem};
use crate::load::{bytes, whole, Wanted};
use crate::ScenarioError;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::Path;

/// Recordings that are larger are refused before they are parsed.
const RECORDING_SIZE_MAX: u64 = 64 << 20;

/// Lines that are longer are no steps.
const LINE_LEN_MAX: usize = 1 << 16;

/// After so many wrong lines the rest is not looked at.
const PROBLEMS_MAX: usize = 5;

/// An object whose keys stay in their order.
#[derive(Default)]
struct Pairs(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Pairs, D::Error> {
        struct InOrder;
        impl<'de> Visitor<'de> for InOrder {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }
        deserializer.deserialize_map(InOrder)
    }
}

/// One line. Keys that are not known here are left alone.
#[derive(Deserialize)]
struct Line {
    scenario: Option<String>,
    step: Option<Value>,
    op: Option<String>,
    args: Option<Pairs>,
    ret: Option<String>,
    out: Option<Pairs>,
    entry_num_out: Option<Value>,
    sweep: Option<Vec<Pairs>>,
    rounds: Option<Vec<Pairs>>,
    n: Option<Value>,
    words: Option<Vec<Value>>,
    revents: Option<Value>,
    out_data_type: Option<Value>,
    data_out: Option<Value>,
    kmsg: Option<Vec<String>>,
}

/// What is wrong with a line: the message and what would be right.
struct Wrong(String, String);

fn wrong(message: impl Into<String>, help: impl Into<String>) -> Wrong {
    Wrong(message.into(), help.into())
}

/// A recording.
const RECORDING: Wanted = Wanted {
    size_max: RECORDING_SIZE_MAX,
    missing:
        "name a recording, a file of JSON lines; those of the checkout are in scenarios/answers",
    directory: "name a file of JSON lines, one recorded step each",
    large: "a recording has some thousand short lines; is this the file you meant?",
};

impl Recording {
    /// Reads a file.
    ///
    /// # Errors
    ///
    /// What is wrong with the file or with its lines.
    pub fn read(path: &Path) -> Result<Recording, ScenarioError> {
        let bytes = bytes(path, &RECORDING)?;
        let text = String::from_utf8(bytes).map_err(|e| {
            let before = &e.as_bytes()[..e.utf8_error().valid_up_to()];
            let line = before.iter().filter(|b| **b == b'\n').count() + 1;
            whole(path, format!("line {line}: it is not UTF-8"), "save the recording as UTF-8")
        })?;
        Recording::parse(&path.display().to_string(), &text)
    }

    /// Reads a text; `file` is how the user knows it.
    ///
    /// # Errors
    ///
    /// What is wrong with its lines.
    pub fn parse(file: &str, text: &str) -> Result<Recording, ScenarioError> {
        let mut problems = Vec::new();
        let mut sequences = Sequences::default();
        let mut places: Vec<Range<usize>> = Vec::new();
        let mut start = 0;
        for (number, whole) in (1..).zip(text.split_inclusive('\n')) {
            let line = whole.trim();
            let at = start..start + whole.trim_end().len();
            start += whole.len();
            places.push(at.clone());
            let line = line.strip_prefix('\u{feff}').unwrap_or(line);
            if line.is_empty() {
                continue;
            }
            if let Err(found) = sequences.line(number, line) {
                problems.push(problem(number, at, found));
                if problems.len() == PROBLEMS_MAX {
                    break;
                }
            }
        }
        if problems.is_empty() {
            let wrong = sequences.all.iter().flat_map(convert::check).take(PROBLEMS_MAX);
            problems.extend(wrong.map(|(number, (message, help))| {
                problem(number, places[number - 1].clone(), Wrong(message, help))
            }));
        }
        if problems.is_empty() && sequences.all.iter().all(|s| s.steps.is_empty()) {
            problems.push(Problem::whole(
                "no step is recorded in it",
                "each line is a JSON object with `scenario`, `op`, `args` and `ret`",
            ));
        }
        if problems.is_empty() {
            return Ok(Recording { file: file.to_string(), sequences: sequences.all });
        }
        // Garbage without line ends is not worth showing.
        let shown = text.lines().all(|l| l.len() <= LINE_LEN_MAX).then_some(text);
        if shown.is_none() {
            problems.iter_mut().for_each(|p| p.labels.clear());
        }
        Err(ScenarioError::new(file, shown, problems))
    }
}

fn problem(number: usize, at: Range<usize>, Wrong(message, help): Wrong) -> Problem {
    Problem::at(at, "this line", format!("line {number}: {message}"), help)
}

/// The sequences read so far.
#[derive(Default)]
struct Sequences {
    all: Vec<Sequence>,
    /// Which of them may go on, by name.
    open: BTreeMap<String, usize>,
}

impl Sequences {
    fn line(&mut self, number: usize, text: &str) -> Result<(), Wrong> {
        if text.len() > LINE_LEN_MAX {
            return Err(wrong(
                format!("it has more than {LINE_LEN_MAX} bytes"),
                "a recorded step is one short JSON object; is this the file you meant?",
            ));
        }
        let line: Line = serde_json::from_str(text).map_err(|e| {
            let column = e.column();
            let what = e.to_string().replace(&format!(" at line 1 column {column}"), "");
            wrong(
                format!("no JSON object of a recorded step: {what} (column {column})"),
                "each line looks like {\"scenario\":\"s\",\"step\":1,\"op\":\"ioas_alloc\",\
                 \"args\":{},\"ret\":\"OK\",\"out\":{\"a\":1}}",
            )
        })?;
        let name = line.scenario.clone().ok_or_else(|| {
            wrong("there is no `scenario`", "it names the sequence that the step is a part of")
        })?;
        let op = line.op.clone().ok_or_else(|| {
            wrong("there is no `op`", "it names the operation, such as `ioas_alloc`")
        })?;
        let first = line.step.as_ref().and_then(unsigned) == Some(1);
        if op == "end" {
            let i = self.sequence(&name, false);
            self.all[i].kmsg = line.kmsg;
            self.all[i].line = number;
            self.open.remove(&name);
            return Ok(());
        }
        let step = recorded(number, op, line)?;
        let i = self.sequence(&name, first);
        self.all[i].steps.push(step);
        self.all[i].line = number;
        Ok(())
    }

    /// The sequence of this name that goes on, or a new one.
    fn sequence(&mut self, name: &str, first: bool) -> usize {
        let open = self.open.get(name).copied();
        match open.filter(|i| !first || self.all[*i].steps.is_empty()) {
            Some(i) => i,
            None => {
                let name = name.to_string();
                self.open.insert(name.clone(), self.all.len());
                self.all.push(Sequence { name, steps: Vec::new(), kmsg: None, line: 0 });
                self.all.len() - 1
            }
        }
    }
}

/// A line that is not the end of its sequence.
fn recorded(number: usize, op: String, line: Line) -> Result<Recorded, Wrong> {
    check_names(&op, &line.args)?;
    let args = arguments(line.args.unwrap_or_default())?;
    if line.ret.is_none() && line.sweep.is_none() && line.rounds.is_none() {
        return Err(wrong("there is no `ret`", "it is what the kernel answered: OK or an errno"));
    }
    if let Some(ret) = &line.ret {
        check_ret(ret)?;
    }
    let mut out = Vec::new();
    for (name, id) in line.out.unwrap_or_default().0 {
        if id.is_null() {
            continue;
        }
        out.push((name.clone(), number_of(&format!("out.{name}"), &id)?));
    }
    let answer = Answer {
        ret: line.ret,
        out,
        entry_num_out: optional("entry_num_out", line.entry_num_out)?,
        sweep: line.sweep.map(|s| s.into_iter().map(injection).collect()).transpose()?,
        rounds: line.rounds.map(|r| r.into_iter().map(round).collect()).transpose()?,
        n: line.n.as_ref().map(signed).transpose()?,
        words: match line.words {
            Some(words) => {
                Some(words.iter().map(|w| number_of("words", w)).collect::<Result<_, _>>()?)
            }
            None => None,
        },
        revents: optional("revents", line.revents)?,
        out_data_type: optional("out_data_type", line.out_data_type)?,
        data_out: line.data_out.as_ref().map(data).transpose()?,
    };
    Ok(Recorded { line: number, op, args, answer })
}

/// A name that is nearly one of ours is a slip of the pen. Others are left to
/// [`super::Converter::next`]: a recording of somebody's own kernel may be ahead of the model.
fn check_names(op: &str, args: &Option<Pairs>) -> Result<(), Wrong> {
    // Nearer than `nearest` asks for: ioas_copy is no slip for ioas_map.
    let slip = |what: String, name: &str, names: &[&str]| {
        let quarter = (name.chars().count() + 1) / 4;
        let near = nearest(name, names.iter().copied())
            .filter(|near| strsim::damerau_levenshtein(name, near) <= quarter);
        near.map_or(Ok(()), |near| Err(wrong(what, format!("did you mean `{near}`?"))))
    };
    let Some(known) = convert::argument_names(op) else {
        let ops = ops::OPS.iter().map(|o| o.name).chain(OTHERS.iter().copied());
        let what = format!("there is no operation `{op}`");
        return slip(what, op, &ops.collect::<Vec<_>>());
    };
    let given = args.iter().flat_map(|pairs| &pairs.0).map(|(key, _)| key.as_str());
    given
        .filter(|key| !known.contains(key))
        .try_for_each(|key| slip(format!("`{op}` has no argument `{key}`"), key, &known))
}

/// The arguments as text. Whether the model has them is asked step by step
/// ([`super::Converter::next`]): a recording of somebody's own kernel may be ahead of it.
fn arguments(pairs: Pairs) -> Result<Vec<(String, String)>, Wrong> {
    let mut args: Vec<(String, String)> = Vec::new();
    for (key, value) in pairs.0 {
        if args.iter().any(|(k, _)| *k == key) {
            return Err(wrong(
                format!("the argument `{key}` is given twice"),
                "leave one of them out",
            ));
        }
        let text = match value {
            Value::Null => continue,
            Value::String(text) => text,
            Value::Number(number) => number.to_string(),
            Value::Bool(flag) => u8::from(flag).to_string(),
            _ => {
                return Err(wrong(
                    format!("the argument `{key}` is no text and no number"),
                    "write \"0x99\", \"vi\" or 153",
                ));
            }
        };
        args.push((key, text));
    }
    Ok(args)
}

fn check_ret(ret: &str) -> Result<(), Wrong> {
    let errno = ret.strip_prefix('-').unwrap_or(ret);
    let named = errno.starts_with('E') && errno.bytes().all(|b| b.is_ascii_alphanumeric());
    if ret == "OK" || (named && errno.len() > 1) {
        return Ok(());
    }
    Err(wrong(
        format!("`{}` is no answer", ret.escape_debug()),
        "write OK, or the name of an errno such as ENOENT",
    ))
}

fn optional(key: &str, value: Option<Value>) -> Result<Option<u64>, Wrong> {
    value.filter(|v| !v.is_null()).map(|v| number_of(key, &v)).transpose()
}

fn number_of(key: &str, value: &Value) -> Result<u64, Wrong> {
    unsigned(value).ok_or_else(|| {
        wrong(format!("`{key}` is no number"), "write a decimal number, or \"0x…\" as a string")
    })
}

fn unsigned(value: &Value) -> Option<u64> {
    match value {
        Value::String(text) => ops::plain_number(text),
        other => other.as_u64(),
    }
}

fn signed(value: &Value) -> Result<i64, Wrong> {
    let number = match value {
        Value::String(text) => text.parse().ok(),
        other => other.as_i64(),
    };
    number.ok_or_else(|| wrong("`n` is no number", "it is what read(2) returned"))
}

fn injection(pairs: Pairs) -> Result<Injection, Wrong> {
    let get = |key: &str| pairs.0.iter().find(|(k, _)| k == key).map(|(_, v)| v);
    let help = "each step of a sweep is {\"nth\":1,\"injected\":true,\"ret\":\"EFAULT\",\
                \"next_free_id\":7}";
    let (Some(nth), Some(Value::String(ret))) = (get("nth"), get("ret")) else {
        return Err(wrong("a step of `sweep` has no `nth` or no `ret`", help));
    };
    check_ret(ret)?;
    let injected = match get("injected") {
        Some(Value::Bool(injected)) => *injected,
        _ => return Err(wrong("a step of `sweep` has no `injected`", help)),
    };
    Ok(Injection {
        nth: number_of("nth", nth)?,
        injected,
        ret: ret.clone(),
        next_free_id: optional("next_free_id", get("next_free_id").cloned())?,
    })
}

fn round(pairs: Pairs) -> Result<BTreeMap<u64, String>, Wrong> {
    let mut round = BTreeMap::new();
    for (id, ret) in pairs.0 {
        let (Some(id), Value::String(ret)) = (ops::plain_number(&id), ret) else {
            return Err(wrong(
                "a round is no map of ids to answers",
                "write {\"1\":\"EBUSY\",\"2\":\"OK\"}",
            ));
        };
        check_ret(&ret)?;
        round.insert(id, ret);
    }
    Ok(round)
}

/// The readings of recorded data: words (little-endian, 4 bytes each) or bytes, as numbers or as
/// hexadecimal digits.
fn data(value: &Value) -> Result<Vec<Vec<u8>>, Wrong> {
    let help = "write the data as a list of words or bytes, or as hexadecimal digits";
    let malformed = || wrong("`data_out` is no data", help);
    let le = |word: u64| (word as u32).to_le_bytes().to_vec();
    let numbers = match value {
        Value::Array(list) => {
            list.iter().map(|v| unsigned(v).ok_or_else(malformed)).collect::<Result<Vec<_>, _>>()?
        }
        Value::String(text) => match bytes_of(text) {
            Some(bytes) => return Ok(vec![bytes]),
            None => text
                .split([':', ',', ' '])
                .filter(|word| !word.is_empty())
                .map(|w| ops::plain_number(w).ok_or_else(malformed))
                .collect::<Result<Vec<_>, _>>()?,
        },
        other => vec![unsigned(other).ok_or_else(malformed)?],
    };
    let mut readings = vec![numbers.iter().copied().flat_map(le).collect::<Vec<u8>>()];
    if numbers.iter().all(|n| *n <= 0xff) {
        readings.push(numbers.iter().map(|n| *n as u8).collect());
    }
    Ok(readings)
}

/// Bytes as hexadecimal digits, two each. Up to eight digits behind `0x` are a number.
fn bytes_of(text: &str) -> Option<Vec<u8>> {
    let digits = match text.strip_prefix("0x") {
        Some(digits) if digits.len() > 8 => digits,
        Some(_) => return None,
        None => text,
    };
    if digits.len() % 2 != 0 {
        return None;
    }
    let byte = |i: usize| digits.get(i..i + 2).and_then(|d| u8::from_str_radix(d, 16).ok());
    (0..digits.len()).step_by(2).map(byte).collect()
}
