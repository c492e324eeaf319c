//! The text of one step: `a, b = CALL(arg, name = value) [option] -> 0 | -EEXIST`.
//!
//! Two passes. [`parse`] knows only the shape. [`Scope`] then learns every name that any step
//! binds, so that a name of another CPU can be told from a misspelt one, and [`Scope::resolve`]
//! checks the step against the table of calls and makes it a [`Step`].

use crate::error::{nearest, suggest, Problem};
use crate::{canonical, Answers};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use uapi::call::{self, Arg, ArgKind, Signature, FLAG_NAMES, SIGNATURES};
use uapi::errno::{Errno, Ret};
use uapi::pick::RevisionInfo;
use uapi::program::{Entry, FailNth, Operand, Step, Sym};

/// The names that a step binds which has no good shape otherwise: later steps may use them, and one
/// slip should not become two errors.
pub(crate) fn names_in_broken(text: &str) -> Vec<&str> {
    let Some((left, _)) = text.split_once('=') else { return Vec::new() };
    let names: Vec<&str> = left.split(',').map(str::trim).collect();
    let word = |n: &&str| {
        n.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && n.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
    };
    if names.iter().all(word) {
        names
    } else {
        Vec::new()
    }
}

/// How many physical devices there are.
pub(crate) const PDEVS_MAX: u64 = 8;

/// Options in square brackets behind a call, for error messages.
const OPTIONS: &[&str] = &["fail_nth", "ro", "badptr", "usize", "trail", "fd"];

/// A text with the place of its characters in the file.
pub(crate) struct Text<'a> {
    pub text: &'a str,
    /// Where it starts in the file. `None`: it was written with escapes, and only the whole
    /// string can be pointed at.
    pub start: Option<usize>,
    pub whole: Range<usize>,
}

impl Text<'_> {
    fn place(&self, range: Range<usize>) -> Range<usize> {
        match self.start {
            Some(start) => start + range.start..start + range.end,
            None => self.whole.clone(),
        }
    }
}

// ---------------------------------------------------------------------------------------------
// Shape
// ---------------------------------------------------------------------------------------------

/// A word with its place in the file.
#[derive(Clone, Debug)]
pub(crate) struct Word<'a> {
    pub text: &'a str,
    pub at: Range<usize>,
}

/// A step, parsed and not yet understood.
#[derive(Clone, Debug)]
pub(crate) struct Shape<'a> {
    pub binds: Vec<Word<'a>>,
    pub call: Word<'a>,
    args: Vec<ArgShape<'a>>,
    options: Vec<(Word<'a>, Option<Term<'a>>)>,
    expect: Option<ExpectShape<'a>>,
    /// The text without the expectation, runs of blanks made one.
    text: String,
}

#[derive(Clone, Debug)]
struct ArgShape<'a> {
    name: Option<Word<'a>>,
    value: Value<'a>,
    at: Range<usize>,
}

#[derive(Clone, Debug)]
enum Value<'a> {
    /// Numbers and names, joined with `|`.
    Terms(Vec<Term<'a>>),
    /// `[{name = value, …}, …]`
    Entries(Vec<Vec<(Word<'a>, Term<'a>)>>),
}

#[derive(Clone, Debug)]
enum Term<'a> {
    Num(u64, Range<usize>),
    Name(Word<'a>),
}

impl Term<'_> {
    fn at(&self) -> Range<usize> {
        match self {
            Term::Num(_, at) => at.clone(),
            Term::Name(w) => w.at.clone(),
        }
    }
}

#[derive(Clone, Debug)]
struct ExpectShape<'a> {
    same: Vec<Ret>,
    per_row: Vec<(Word<'a>, Vec<Ret>)>,
    entry_num: Option<(u64, Range<usize>)>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Token<'a> {
    Name(&'a str),
    Num(u64),
    Arrow,
    Punct(char),
}

impl Token<'_> {
    fn shown(&self) -> String {
        match self {
            Token::Name(n) => format!("`{n}`"),
            Token::Num(n) => format!("`{n}`"),
            Token::Arrow => "`->`".to_string(),
            Token::Punct(c) => format!("`{c}`"),
        }
    }
}

const STEP_FORM: &str =
    "a step reads `name = CALL(argument, …) [option] -> 0 | -EEXIST`; all but CALL can be left out";

/// Parses the text of a step.
pub(crate) fn parse<'a>(text: &Text<'a>) -> Result<Shape<'a>, Problem> {
    let tokens = lex(text)?;
    Parser { text, tokens, next: 0 }.step()
}

fn lex<'a>(text: &Text<'a>) -> Result<Vec<(Token<'a>, Range<usize>)>, Problem> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let s = text.text;
    let mut tokens = Vec::new();
    let mut i = 0;
    while let Some(c) = s[i..].chars().next() {
        let rest = &s[i..];
        let len = match c {
            ' ' | '\t' | '\n' | '\r' => {
                i += 1;
                continue;
            }
            c if word(c) => {
                let len = rest.find(|c| !word(c)).unwrap_or(rest.len());
                let w = &rest[..len];
                let token = if c.is_ascii_digit() {
                    Token::Num(number(w).ok_or_else(|| {
                        Problem::at(
                            text.place(i..i + len),
                            "not a number",
                            format!("`{w}` is not a number of 64 bits"),
                            "numbers are decimal (153) or hexadecimal (0x99); names start with a \
                             letter",
                        )
                    })?)
                } else {
                    Token::Name(w)
                };
                tokens.push((token, i..i + len));
                len
            }
            '-' if rest.starts_with("->") => {
                tokens.push((Token::Arrow, i..i + 2));
                2
            }
            '=' | ',' | '(' | ')' | '[' | ']' | '{' | '}' | '|' | '-' => {
                tokens.push((Token::Punct(c), i..i + 1));
                1
            }
            other => {
                return Err(Problem::at(
                    text.place(i..i + other.len_utf8()),
                    "this character",
                    format!("{other:?} has no meaning in a step"),
                    STEP_FORM,
                ));
            }
        };
        i += len;
    }
    Ok(tokens)
}

/// Reads a decimal or hexadecimal number; `_` may group the digits.
pub(crate) fn number(text: &str) -> Option<u64> {
    let digits = text.replace('_', "");
    match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) => u64::from_str_radix(hex, 16).ok(),
        None => digits.parse().ok(),
    }
}

struct Parser<'a, 't> {
    text: &'t Text<'a>,
    tokens: Vec<(Token<'a>, Range<usize>)>,
    next: usize,
}

impl<'a> Parser<'a, '_> {
    fn peek(&self) -> Option<Token<'a>> {
        self.tokens.get(self.next).map(|(t, _)| *t)
    }

    fn peek_second(&self) -> Option<Token<'a>> {
        self.tokens.get(self.next + 1).map(|(t, _)| *t)
    }

    /// Place of the next token in the file; the end of the text if there is none.
    fn here(&self) -> Range<usize> {
        match self.tokens.get(self.next) {
            Some((_, at)) => self.text.place(at.clone()),
            None => {
                let end = self.text.text.trim_end().len();
                self.text.place(end..end)
            }
        }
    }

    fn eat(&mut self, token: Token<'_>) -> bool {
        let found = self.peek() == Some(token);
        self.next += usize::from(found);
        found
    }

    fn unexpected(&self, wanted: &str, help: &str) -> Problem {
        let found = match self.peek() {
            Some(t) => format!("{} stands", t.shown()),
            None => "the step ends".to_string(),
        };
        Problem::at(
            self.here(),
            format!("{wanted} expected"),
            format!("{found} where {wanted} is expected"),
            help,
        )
    }

    fn expect(&mut self, c: char, help: &str) -> Result<(), Problem> {
        if self.eat(Token::Punct(c)) {
            Ok(())
        } else {
            Err(self.unexpected(&format!("`{c}`"), help))
        }
    }

    fn word(&mut self, wanted: &str, help: &str) -> Result<Word<'a>, Problem> {
        let at = self.here();
        match self.peek() {
            Some(Token::Name(text)) => {
                self.next += 1;
                Ok(Word { text, at })
            }
            _ => Err(self.unexpected(wanted, help)),
        }
    }

    fn step(&mut self) -> Result<Shape<'a>, Problem> {
        let mut words = vec![self.word("a call or a name", STEP_FORM)?];
        while self.eat(Token::Punct(',')) {
            words.push(self.word("a name", STEP_FORM)?);
        }
        let (binds, call) = if self.eat(Token::Punct('=')) {
            (words, self.word("a call", STEP_FORM)?)
        } else if words.len() == 1 {
            (Vec::new(), words.remove(0))
        } else {
            return Err(self.unexpected("`=`", STEP_FORM));
        };
        let args = if self.eat(Token::Punct('(')) { self.args()? } else { Vec::new() };
        let options = if self.eat(Token::Punct('[')) { self.options()? } else { Vec::new() };
        let end = self.tokens.get(self.next).map_or(self.text.text.len(), |(_, at)| at.start);
        let text = self.text.text[..end].split_whitespace().collect::<Vec<_>>().join(" ");
        let expect = if self.eat(Token::Arrow) { Some(self.expectation()?) } else { None };
        if self.peek().is_some() {
            return Err(self.unexpected("the end of the step", STEP_FORM));
        }
        Ok(Shape { binds, call, args, options, expect, text })
    }

    fn args(&mut self) -> Result<Vec<ArgShape<'a>>, Problem> {
        let help = "arguments are separated by `,` and end with `)`";
        let mut args = Vec::new();
        while !self.eat(Token::Punct(')')) {
            if !args.is_empty() {
                self.expect(',', help)?;
                if self.eat(Token::Punct(')')) {
                    break;
                }
            }
            let start = self.here();
            let named = matches!(self.peek(), Some(Token::Name(_)))
                && self.peek_second() == Some(Token::Punct('='));
            let name = if named {
                let name = self.word("a name", help)?;
                self.expect('=', help)?;
                Some(name)
            } else {
                None
            };
            let value = self.value()?;
            let end = match self.tokens.get(self.next.wrapping_sub(1)) {
                Some((_, at)) => self.text.place(at.clone()).end,
                None => start.end,
            };
            args.push(ArgShape { name, value, at: start.start..end.max(start.end) });
        }
        Ok(args)
    }

    fn value(&mut self) -> Result<Value<'a>, Problem> {
        if self.eat(Token::Punct('[')) {
            return Ok(Value::Entries(self.entries()?));
        }
        let mut terms = vec![self.term("a value")?];
        while self.eat(Token::Punct('|')) {
            terms.push(self.term("a value")?);
        }
        Ok(Value::Terms(terms))
    }

    fn term(&mut self, wanted: &str) -> Result<Term<'a>, Problem> {
        let help = "a value is a name, a number (153, 0x99), names joined with `|`, or a list of \
                    entries";
        let at = self.here();
        match self.peek() {
            Some(Token::Num(n)) => {
                self.next += 1;
                Ok(Term::Num(n, at))
            }
            Some(Token::Name(text)) => {
                self.next += 1;
                Ok(Term::Name(Word { text, at }))
            }
            _ => Err(self.unexpected(wanted, help)),
        }
    }

    fn entries(&mut self) -> Result<Vec<Vec<(Word<'a>, Term<'a>)>>, Problem> {
        let mut entries = Vec::new();
        while !self.eat(Token::Punct(']')) {
            if !entries.is_empty() {
                self.expect(',', ENTRY_FORM)?;
                if self.eat(Token::Punct(']')) {
                    break;
                }
            }
            self.expect('{', ENTRY_FORM)?;
            let mut fields = Vec::new();
            while !self.eat(Token::Punct('}')) {
                if !fields.is_empty() {
                    self.expect(',', ENTRY_FORM)?;
                }
                let name = self.word("a field", ENTRY_FORM)?;
                self.expect('=', ENTRY_FORM)?;
                fields.push((name, self.term("a number")?));
            }
            entries.push(fields);
        }
        Ok(entries)
    }

    fn options(&mut self) -> Result<Vec<(Word<'a>, Option<Term<'a>>)>, Problem> {
        let help = "options are `[fail_nth = 1]`, `[fail_nth = any]`, `[ro]`, `[badptr]`, \
                    `[usize = 24]`, `[trail = 30]`, `[fd = NAME]`, separated by `,`";
        let mut options = Vec::new();
        while !self.eat(Token::Punct(']')) {
            if !options.is_empty() {
                self.expect(',', help)?;
            }
            let name = self.word("an option", help)?;
            let value = match self.eat(Token::Punct('=')) {
                true => Some(self.term("a value")?),
                false => None,
            };
            options.push((name, value));
        }
        Ok(options)
    }

    fn expectation(&mut self) -> Result<ExpectShape<'a>, Problem> {
        let mut expect = ExpectShape { same: Vec::new(), per_row: Vec::new(), entry_num: None };
        if self.eat(Token::Punct('{')) {
            let help = "answers per revision read `{ linux_6_13 = 0, linux_6_17 = -ENOENT }`";
            while !self.eat(Token::Punct('}')) {
                if !expect.per_row.is_empty() {
                    self.expect(',', help)?;
                }
                let row = self.word("a revision", help)?;
                self.expect('=', help)?;
                let answers = self.answers()?;
                expect.per_row.push((row, answers));
            }
            if expect.per_row.is_empty() {
                return Err(self.unexpected("a revision before the `}`", help));
            }
        } else if !self.eat(Token::Name("any")) {
            expect.same = self.answers()?;
        }
        if self.eat(Token::Punct(',')) {
            let help = "behind the answers only `, entry_num = N` can stand; several answers are \
                        joined with `|`";
            let word = self.word("`entry_num`", help)?;
            if word.text != "entry_num" {
                self.next -= 1;
                return Err(self.unexpected("`entry_num`", help));
            }
            self.expect('=', help)?;
            match self.term("a number")? {
                Term::Num(n, at) => expect.entry_num = Some((n, at)),
                Term::Name(_) => {
                    self.next -= 1;
                    return Err(self.unexpected("a number", help));
                }
            }
        }
        Ok(expect)
    }

    fn answers(&mut self) -> Result<Vec<Ret>, Problem> {
        let mut answers = Vec::new();
        loop {
            let ret = self.answer()?;
            if !answers.contains(&ret) {
                answers.push(ret);
            }
            if !self.eat(Token::Punct('|')) {
                return Ok(answers);
            }
        }
    }

    fn answer(&mut self) -> Result<Ret, Problem> {
        let help = "an answer is `0`, an errno as the kernel spells it, `-EEXIST`, or `any`";
        if self.eat(Token::Num(0)) {
            return Ok(Ret::Ok);
        }
        let minus = self.here();
        if !self.eat(Token::Punct('-')) {
            if let Some(Token::Name(n)) = self.peek() {
                if n.parse::<Errno>().is_ok() {
                    let help = format!("write `-{n}`: a kernel function returns it negative");
                    return Err(self.unexpected("an answer", &help));
                }
            }
            return Err(self.unexpected("an answer", help));
        }
        let word = self.word("the name of an errno", help)?;
        word.text.parse::<Errno>().map(Ret::Err).map_err(|()| {
            let names: Vec<&str> = Errno::ALL.iter().map(|e| e.name()).collect();
            let help = match nearest(word.text, names.iter().copied()) {
                Some(n) => format!("did you mean `-{n}`?"),
                None => format!("the errnos of the model are: {}", names.join(", ")),
            };
            Problem::at(
                minus.start..word.at.end,
                "unknown",
                format!("there is no errno `-{}`", word.text),
                help,
            )
        })
    }
}

const ENTRY_FORM: &str =
    "entries read `[{vdev_id = 0x99, cache_id = 1}, {flags = ALL, vdev_id = 0x9a}]`; fields that \
     are left out are 0";

// ---------------------------------------------------------------------------------------------
// Meaning
// ---------------------------------------------------------------------------------------------

/// Which list of the file a step stands in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum List {
    Setup,
    Cpu(usize),
    Finally,
}

impl List {
    fn shown(self) -> String {
        match self {
            List::Setup => "setup".to_string(),
            List::Cpu(n) => format!("CPU {n}"),
            List::Finally => "finally".to_string(),
        }
    }
}

/// A name that a step binds.
struct Binding {
    /// What it names. `None`: the call is unknown, so anything.
    kind: Option<ArgKind>,
    list: List,
    step: usize,
    at: Range<usize>,
    sym: Sym,
}

/// All names of a file, and the rows that answers can be given for.
pub(crate) struct Scope<'r> {
    names: BTreeMap<String, Binding>,
    pub syms: Vec<String>,
    pub rows: &'r [RevisionInfo],
    /// The `pdevN` that are named.
    pub pdevs_named: BTreeSet<u64>,
    /// Calls that take whichever device is free.
    pub pdevs_auto: u64,
}

/// What a step may answer on which row, with the places of the rows' names.
pub(crate) struct Resolved {
    pub step: Step,
    pub answers: Answers,
    pub rows_named: Vec<(&'static str, Range<usize>)>,
}

impl<'r> Scope<'r> {
    pub fn new(rows: &'r [RevisionInfo]) -> Scope<'r> {
        Scope {
            names: BTreeMap::new(),
            syms: Vec::new(),
            rows,
            pdevs_named: BTreeSet::new(),
            pdevs_auto: 0,
        }
    }

    /// Learns the names of a step that has an error of its own.
    pub fn declare_broken(&mut self, text: &Text<'_>, list: List, step: usize) {
        for name in names_in_broken(text.text) {
            if !self.names.contains_key(name) {
                let sym = self.syms.len() as Sym;
                self.syms.push(name.to_string());
                let at = text.whole.clone();
                self.names.insert(name.to_string(), Binding { kind: None, list, step, at, sym });
            }
        }
    }

    /// Learns the names that a step binds.
    pub fn declare(
        &mut self,
        shape: &Shape<'_>,
        list: List,
        step: usize,
        problems: &mut Vec<Problem>,
    ) {
        let signature = call::by_name(shape.call.text);
        for (i, word) in shape.binds.iter().enumerate() {
            if word.text == "fd" || pdev(word.text).is_some() || call::by_name(word.text).is_some()
            {
                problems.push(Problem::at(
                    word.at.clone(),
                    "taken",
                    format!("`{}` already means something else", word.text),
                    "`fd` is the file that is open from the start, `pdev0` to `pdev7` are the \
                     devices, and calls keep their names; choose another name",
                ));
                continue;
            }
            if let Some(first) = self.names.get(word.text) {
                problems.push(
                    Problem::at(
                        word.at.clone(),
                        "and again here",
                        format!("the name `{}` is bound twice", word.text),
                        "a name means one object in the whole file; give the second one a name of \
                         its own",
                    )
                    .and(first.at.clone(), "bound here first"),
                );
                continue;
            }
            let kind = signature.and_then(|s| s.outs.get(i)).map(|o| o.kind);
            // A file has fewer steps than a `Sym` has values: `file::STEPS_MAX`.
            let sym = self.syms.len() as Sym;
            self.syms.push(word.text.to_string());
            let binding = Binding { kind, list, step, at: word.at.clone(), sym };
            self.names.insert(word.text.to_string(), binding);
        }
    }

    /// Checks a step against the table of calls.
    pub fn resolve(
        &mut self,
        shape: &Shape<'_>,
        list: List,
        step: usize,
        problems: &mut Vec<Problem>,
    ) -> Option<Resolved> {
        let Some(signature) = call::by_name(shape.call.text) else {
            problems.push(unknown_call(&shape.call));
            return None;
        };
        let before = problems.len();
        self.check_binds(shape, signature, problems);
        let args = self.args(shape, signature, list, step, problems);
        let mut resolved = Step {
            call: signature.call,
            args,
            file: Operand::Num(0),
            binds: self.syms_of(shape),
            expect: Vec::new(),
            expect_entry_num: None,
            fail_nth: FailNth::None,
            read_only: false,
            bad_pointer: false,
            usize_: None,
            trail: None,
            text: shape.text.clone(),
        };
        self.options(shape, signature, list, step, &mut resolved, problems);
        let mut rows_named = Vec::new();
        let answers = match &shape.expect {
            // A setup that fails would make every later step one that is skipped, and the
            // verdict one about nothing.
            None if list == List::Setup => Answers::Same(vec![Ret::Ok]),
            None => Answers::Any,
            Some(expect) => {
                self.entry_num(expect, shape, signature, &mut resolved, problems);
                self.answers(expect, &mut rows_named, problems)
            }
        };
        (problems.len() == before).then_some(Resolved { step: resolved, answers, rows_named })
    }

    fn check_binds(&self, shape: &Shape<'_>, signature: &Signature, problems: &mut Vec<Problem>) {
        if let Some(extra) = shape.binds.get(signature.outs.len()) {
            let outs: Vec<&str> = signature.outs.iter().map(|o| o.name).collect();
            let help = match outs.as_slice() {
                [] => "it gives out nothing: write the step without a name".to_string(),
                some => format!("it gives out, in this order: {}", some.join(", ")),
            };
            problems.push(Problem::at(
                extra.at.clone(),
                "one name too many",
                format!(
                    "{} gives out {}, the step names {}",
                    signature.name,
                    count(signature.outs.len(), "value"),
                    shape.binds.len()
                ),
                help,
            ));
        }
    }

    fn syms_of(&self, shape: &Shape<'_>) -> Vec<Sym> {
        shape.binds.iter().filter_map(|w| self.names.get(w.text)).map(|b| b.sym).collect()
    }

    fn args(
        &mut self,
        shape: &Shape<'_>,
        signature: &Signature,
        list: List,
        step: usize,
        problems: &mut Vec<Problem>,
    ) -> Vec<Operand> {
        let before = problems.len();
        let mut given: Vec<Option<(Operand, Range<usize>)>> = vec![None; signature.args.len()];
        let mut named = false;
        for (position, shape_arg) in shape.args.iter().enumerate() {
            let index = match &shape_arg.name {
                Some(name) => {
                    named = true;
                    let found = signature.args.iter().position(|a| a.name == name.text);
                    if found.is_none() {
                        let names: Vec<&str> = signature.args.iter().map(|a| a.name).collect();
                        problems.push(Problem::at(
                            name.at.clone(),
                            "unknown",
                            format!("{} has no argument `{}`", signature.name, name.text),
                            suggest(name.text, &names, "its arguments are"),
                        ));
                        continue;
                    }
                    found
                }
                None if named => {
                    problems.push(Problem::at(
                        shape_arg.at.clone(),
                        "has no name",
                        "an argument without a name stands behind one with a name",
                        format!("write it before the named ones, or name it: {}", usage(signature)),
                    ));
                    continue;
                }
                None => (position < signature.args.len()).then_some(position),
            };
            let Some(index) = index else {
                problems.push(Problem::at(
                    shape_arg.at.clone(),
                    "one too many",
                    format!(
                        "{} takes {}, the step gives {}",
                        signature.name,
                        count(signature.args.len(), "argument"),
                        shape.args.len()
                    ),
                    format!("it reads {}", usage(signature)),
                ));
                break;
            };
            let arg = &signature.args[index];
            if let Some((_, first)) = &given[index] {
                problems.push(
                    Problem::at(
                        shape_arg.at.clone(),
                        "and again here",
                        format!("the argument `{}` is given twice", arg.name),
                        format!("it reads {}", usage(signature)),
                    )
                    .and(first.clone(), "given here first"),
                );
                continue;
            }
            match self.operand(shape_arg, arg, signature, list, step) {
                Ok(operand) => given[index] = Some((operand, shape_arg.at.clone())),
                Err(problem) => {
                    problems.push(*problem);
                    // It counts as given, so that it is not reported as missing, too.
                    given[index] = Some((Operand::Num(0), shape_arg.at.clone()));
                }
            }
        }
        // What is missing beside a wrong argument is that argument, most often.
        let complete = problems.len() == before;
        self.fill(shape, signature, given, complete, problems)
    }

    /// Puts in the defaults; `report`: and says what has none and is missing.
    fn fill(
        &mut self,
        shape: &Shape<'_>,
        signature: &Signature,
        given: Vec<Option<(Operand, Range<usize>)>>,
        report: bool,
        problems: &mut Vec<Problem>,
    ) -> Vec<Operand> {
        let mut args = Vec::new();
        let mut missing = Vec::new();
        for (arg, given) in signature.args.iter().zip(given) {
            args.push(match (given, arg.default) {
                (Some((operand, _)), _) => operand,
                (None, Some(default)) => {
                    self.pdevs_auto += u64::from(arg.kind == ArgKind::Pdev);
                    default_operand(arg.kind, default)
                }
                (None, None) => {
                    missing.push(format!("`{}`", arg.name));
                    Operand::Num(0)
                }
            });
        }
        if report && !missing.is_empty() {
            problems.push(Problem::at(
                shape.call.at.clone(),
                "too few arguments",
                format!("{} needs {}", signature.name, missing.join(" and ")),
                format!("it reads {}", usage(signature)),
            ));
        }
        args
    }

    fn operand(
        &mut self,
        shape: &ArgShape<'_>,
        arg: &Arg,
        signature: &Signature,
        list: List,
        step: usize,
    ) -> Result<Operand, Box<Problem>> {
        let wrong = |help: String| {
            Box::new(Problem::at(
                shape.at.clone(),
                format!("not {}", short_kind(arg.kind)),
                format!("`{}` of {} is {}", arg.name, signature.name, long_kind(arg.kind)),
                help,
            ))
        };
        let terms = match &shape.value {
            Value::Entries(entries) if arg.kind == ArgKind::Entries => {
                return self.entries(entries);
            }
            Value::Entries(_) => return Err(wrong("a list of entries cannot stand here".into())),
            Value::Terms(_) if arg.kind == ArgKind::Entries => {
                return Err(wrong(ENTRY_FORM.to_string()));
            }
            Value::Terms(terms) => terms,
        };
        if let (ArgKind::Flags | ArgKind::Num, terms) = (arg.kind, terms) {
            return self.number(terms, arg).map(Operand::Num);
        }
        let [term] = terms.as_slice() else {
            return Err(wrong("only flags are joined with `|`".to_string()));
        };
        match (arg.kind, term) {
            (ArgKind::Id, Term::Num(n, _)) => Ok(Operand::Num(*n)),
            (ArgKind::Device, Term::Num(..)) => Err(wrong(
                "a driver holds a pointer and no id: name the device that `bind` or \
                 `mock_domain` gave out"
                    .to_string(),
            )),
            (ArgKind::File, Term::Name(w)) if w.text == "fd" => Ok(Operand::Num(0)),
            (ArgKind::File, Term::Num(..)) => {
                Err(wrong("name the file: `fd`, or a name that `open` gave out".to_string()))
            }
            (ArgKind::Pdev, Term::Name(w)) => match pdev(w.text) {
                Some(n) => {
                    self.pdevs_named.insert(n);
                    Ok(Operand::Num(n))
                }
                None => Err(wrong("write `pdev0`; there are `pdev0` to `pdev7`".to_string())),
            },
            (ArgKind::Pdev, Term::Num(n, _)) => {
                Err(wrong(format!("write `pdev{}`; there are `pdev0` to `pdev7`", n.min(&7))))
            }
            (kind, Term::Name(w)) => {
                let (found, sym) = self.visible(w, list, step)?;
                let fits = match (kind, found) {
                    (_, None) => true,
                    (ArgKind::Id, Some(ArgKind::Id | ArgKind::Device)) => true,
                    (wanted, Some(found)) => wanted == found,
                };
                if fits {
                    Ok(Operand::Sym(sym))
                } else {
                    let mut problem = wrong(format!(
                        "`{}` names {}",
                        w.text,
                        found.map_or("nothing", short_kind)
                    ));
                    if let Some(b) = self.names.get(w.text) {
                        problem.labels.push((b.at.clone(), "bound here".to_string()));
                    }
                    Err(problem)
                }
            }
            // Numbers, flags and entries were dealt with above.
            (_, Term::Num(n, _)) => Ok(Operand::Num(*n)),
        }
    }

    /// What a name means at this step.
    fn visible(
        &self,
        word: &Word<'_>,
        list: List,
        step: usize,
    ) -> Result<(Option<ArgKind>, Sym), Box<Problem>> {
        let Some(binding) = self.names.get(word.text) else {
            let help = match nearest(word.text, self.names.keys().map(String::as_str)) {
                Some(n) => format!("did you mean `{n}`?"),
                None => format!(
                    "bind it in an earlier step (`{} = CALL(…)`), or write an id as a number",
                    word.text
                ),
            };
            return Err(Box::new(Problem::at(
                word.at.clone(),
                "bound nowhere",
                format!("no step binds the name `{}`", word.text),
                help,
            )));
        };
        let earlier = match (binding.list, list) {
            (List::Cpu(a), List::Cpu(b)) if a != b => {
                return Err(Box::new(
                    Problem::at(
                        word.at.clone(),
                        format!("used on {}", list.shown()),
                        format!("the name `{}` belongs to {}", word.text, binding.list.shown()),
                        "the other CPU may not have come that far; a user space that guesses \
                         writes a number (ids are handed out lowest free first, from 1)",
                    )
                    .and(binding.at.clone(), format!("bound on {}", binding.list.shown())),
                ));
            }
            (a, b) if a == b => binding.step < step,
            (List::Setup, _) | (List::Cpu(_), List::Finally) => true,
            _ => false,
        };
        if !earlier {
            return Err(Box::new(
                Problem::at(
                    word.at.clone(),
                    "used here",
                    format!("the name `{}` is bound only later", word.text),
                    "setup runs first, then the CPUs, then finally",
                )
                .and(binding.at.clone(), "bound here"),
            ));
        }
        Ok((binding.kind, binding.sym))
    }

    /// A number, or names of flags.
    fn number(&self, terms: &[Term<'_>], arg: &Arg) -> Result<u64, Box<Problem>> {
        let names: Vec<&str> =
            FLAG_NAMES.iter().filter(|(a, _, _)| *a == arg.name).map(|(_, n, _)| *n).collect();
        let mut value = 0;
        for term in terms {
            value |= match term {
                Term::Num(n, _) => *n,
                Term::Name(w) => {
                    let known = FLAG_NAMES.iter().find(|(a, n, _)| *a == arg.name && *n == w.text);
                    let Some((_, _, v)) = known else {
                        let help = if self.names.contains_key(w.text) {
                            format!("`{}` names an object; write a number here", w.text)
                        } else if names.is_empty() {
                            "write a number: decimal (153) or hexadecimal (0x99)".to_string()
                        } else {
                            suggest(w.text, &names, "write a number or one of these names")
                        };
                        return Err(Box::new(Problem::at(
                            w.at.clone(),
                            format!("not {}", short_kind(arg.kind)),
                            format!("`{}` is no value of `{}`", w.text, arg.name),
                            help,
                        )));
                    };
                    *v
                }
            };
        }
        Ok(value)
    }

    fn entries(&self, entries: &[Vec<(Word<'_>, Term<'_>)>]) -> Result<Operand, Box<Problem>> {
        let mut list = Vec::new();
        for fields in entries {
            let mut entry = Entry::default();
            for (name, term) in fields {
                let value = match term {
                    Term::Num(n, _) => *n,
                    Term::Name(w) if name.text == "flags" && w.text == "ALL" => 1,
                    Term::Name(_) => {
                        return Err(Box::new(Problem::at(
                            term.at(),
                            "not a number",
                            format!("`{}` of an entry is a number", name.text),
                            ENTRY_FORM,
                        )));
                    }
                };
                let Ok(value) = u32::try_from(value) else {
                    return Err(Box::new(Problem::at(
                        term.at(),
                        "more than 32 bits",
                        format!("`{}` of an entry has 32 bits", name.text),
                        "the mock driver's entry has no 64-bit field",
                    )));
                };
                match name.text {
                    "flags" => entry.flags = value,
                    "vdev_id" => entry.vdev_id = value,
                    // A nested HWPT's entry has the same place for its `iotlb_id`.
                    "cache_id" | "iotlb_id" => entry.cache_id = value,
                    // What stands behind the known fields if `entry_len` is longer.
                    "tail" => entry.tail = value,
                    _ => {
                        let names = ["flags", "vdev_id", "cache_id", "iotlb_id", "tail"];
                        return Err(Box::new(Problem::at(
                            name.at.clone(),
                            "unknown",
                            format!("an entry has no field `{}`", name.text),
                            suggest(name.text, &names, "its fields are"),
                        )));
                    }
                }
            }
            list.push(entry);
        }
        Ok(Operand::Entries(list))
    }

    fn options(
        &mut self,
        shape: &Shape<'_>,
        signature: &Signature,
        list: List,
        index: usize,
        step: &mut Step,
        problems: &mut Vec<Problem>,
    ) {
        let mut seen: BTreeMap<&str, Range<usize>> = BTreeMap::new();
        for (name, value) in &shape.options {
            if let Some(first) = seen.insert(name.text, name.at.clone()) {
                problems.push(
                    Problem::at(
                        name.at.clone(),
                        "and again here",
                        format!("the option `{}` is given twice", name.text),
                        "leave one of them out",
                    )
                    .and(first, "given here first"),
                );
                continue;
            }
            if let Err(problem) = self.option(name, value.as_ref(), signature, list, index, step) {
                problems.push(*problem);
            }
        }
    }

    fn option(
        &self,
        name: &Word<'_>,
        value: Option<&Term<'_>>,
        signature: &Signature,
        list: List,
        index: usize,
        step: &mut Step,
    ) -> Result<(), Box<Problem>> {
        let wrong = |message: String, help: &str| {
            let at = value.map_or(name.at.clone(), Term::at);
            Box::new(Problem::at(at, "here", message, help))
        };
        let small = |what: &str| match value {
            Some(Term::Num(n, _)) => u32::try_from(*n)
                .map_err(|_| wrong(format!("{what} has 32 bits"), "write a smaller number")),
            _ => Err(wrong(
                format!("`{}` needs a number", name.text),
                "for example `[usize = 24]`, `[trail = 30]`, `[fail_nth = 1]`",
            )),
        };
        if matches!(name.text, "ro" | "badptr" | "usize" | "trail") && !is_ioctl(signature) {
            return Err(wrong(
                format!("`{}` is for ioctls, {} is none", name.text, signature.name),
                "a driver and open/close pass no struct of user space; leave the option out",
            ));
        }
        match (name.text, value) {
            ("ro", None) => step.read_only = true,
            ("badptr", None) => step.bad_pointer = true,
            ("ro" | "badptr", Some(_)) => {
                return Err(wrong(
                    format!("`{}` has no value", name.text),
                    "write it alone: `[ro]`, `[badptr]`",
                ));
            }
            ("fail_nth", Some(Term::Name(w))) if w.text == "any" => step.fail_nth = FailNth::Any,
            ("fail_nth", _) => match small("fail_nth")? {
                0 => {
                    return Err(wrong(
                        "`fail_nth` counts from 1".to_string(),
                        "`[fail_nth = 1]` fails the first point that can fail, `[fail_nth = any]` \
                         each of them in turn",
                    ));
                }
                n => step.fail_nth = FailNth::Nth(n),
            },
            ("usize", _) => step.usize_ = Some(small("the size word")?),
            ("trail", _) => step.trail = Some(small("an offset")?),
            ("fd", Some(Term::Name(w))) if w.text == "fd" => step.file = Operand::Num(0),
            ("fd", Some(Term::Name(w))) => match self.visible(w, list, index)? {
                (None | Some(ArgKind::File), sym) => step.file = Operand::Sym(sym),
                _ => {
                    return Err(wrong(
                        format!("`{}` is not an open file", w.text),
                        "name what `open` gave out, or `fd`",
                    ));
                }
            },
            ("fd", _) => {
                return Err(wrong(
                    "`fd` needs the name of an open file".to_string(),
                    "for example `[fd = fd2]` with `fd2 = open` before",
                ));
            }
            _ => {
                return Err(Box::new(Problem::at(
                    name.at.clone(),
                    "unknown",
                    format!("there is no option `{}`", name.text),
                    suggest(name.text, OPTIONS, "the options are"),
                )));
            }
        }
        Ok(())
    }

    fn entry_num(
        &self,
        expect: &ExpectShape<'_>,
        shape: &Shape<'_>,
        signature: &Signature,
        step: &mut Step,
        problems: &mut Vec<Problem>,
    ) {
        let Some((n, at)) = &expect.entry_num else { return };
        if !signature.entry_num {
            let having: Vec<&str> =
                SIGNATURES.iter().filter(|s| s.entry_num).map(|s| s.name).collect();
            problems.push(Problem::at(
                at.clone(),
                "cannot be expected",
                format!("{} writes back no entry_num", shape.call.text),
                format!("only {} does; leave it out", having.join(", ")),
            ));
            return;
        }
        match u32::try_from(*n) {
            Ok(n) => step.expect_entry_num = Some(n),
            Err(_) => problems.push(Problem::at(
                at.clone(),
                "more than 32 bits",
                "entry_num has 32 bits",
                "write the number of entries that were handled",
            )),
        }
    }

    fn answers(
        &self,
        expect: &ExpectShape<'_>,
        rows_named: &mut Vec<(&'static str, Range<usize>)>,
        problems: &mut Vec<Problem>,
    ) -> Answers {
        if expect.per_row.is_empty() && expect.same.is_empty() {
            return Answers::Any;
        }
        if expect.per_row.is_empty() {
            return Answers::Same(expect.same.clone());
        }
        let mut rows = BTreeMap::new();
        for (word, answers) in &expect.per_row {
            match canonical(self.rows, word.text) {
                None => problems.push(unknown_row(word.text, word.at.clone(), self.rows)),
                Some(row) => {
                    if rows.insert(row.name.to_string(), answers.clone()).is_some() {
                        problems.push(Problem::at(
                            word.at.clone(),
                            "again here",
                            format!("the answers of `{}` are given twice", row.name),
                            "an alias is the same revision; join the answers with `|`",
                        ));
                    }
                    rows_named.push((row.name, word.at.clone()));
                }
            }
        }
        Answers::PerRow(rows)
    }
}

fn unknown_call(word: &Word<'_>) -> Problem {
    let names: Vec<&str> = SIGNATURES.iter().map(|s| s.name).collect();
    // A call written without its prefix is nearer to the call than its spelling says.
    let upper = format!("IOMMU_{}", word.text.to_uppercase());
    let help = match names.iter().find(|n| **n == upper) {
        Some(n) => format!("did you mean `{n}`?"),
        None => suggest(word.text, &names, "the calls are"),
    };
    Problem::at(word.at.clone(), "unknown call", format!("there is no call `{}`", word.text), help)
}

/// The problem of a row that does not exist.
pub(crate) fn unknown_row(name: &str, at: Range<usize>, rows: &[RevisionInfo]) -> Problem {
    let names: Vec<&str> = rows
        .iter()
        .flat_map(|r| std::iter::once(r.name).chain(r.aliases.iter().copied()))
        .collect();
    let help = match nearest(name, names) {
        Some(n) => format!("did you mean `{n}`? `iommufd-testbed list` shows all revisions"),
        None => "`iommufd-testbed list` shows all revisions".to_string(),
    };
    Problem::at(at, "unknown revision", format!("there is no revision `{name}`"), help)
}

/// The number of `pdevN`.
pub(crate) fn pdev(name: &str) -> Option<u64> {
    let digits = name.strip_prefix("pdev")?;
    let n: u64 = digits.parse().ok()?;
    (n < PDEVS_MAX && digits.len() == 1).then_some(n)
}

/// The operand that stands for an argument that was not given.
pub(crate) fn default_operand(kind: ArgKind, default: u64) -> Operand {
    match kind {
        ArgKind::Entries => Operand::Entries(Vec::new()),
        _ => Operand::Num(default),
    }
}

/// How a call is written: `IOMMU_VIOMMU_ALLOC(dev_id, hwpt_id, [type], …)`.
pub(crate) fn usage(signature: &Signature) -> String {
    let args: Vec<String> = signature
        .args
        .iter()
        .map(|a| match a.default {
            None => a.name.to_string(),
            Some(_) => format!("[{}]", a.name),
        })
        .collect();
    match args.as_slice() {
        [] => format!("`{}`", signature.name),
        some => format!("`{}({})`", signature.name, some.join(", ")),
    }
}

/// Whether the call hands a struct of user space to the kernel.
fn is_ioctl(signature: &Signature) -> bool {
    use uapi::call::Call::{Attach, Bind, Close, Detach, Open, Unbind, Unplug};
    !matches!(signature.call, Open | Close | Bind | Unbind | Unplug | Attach | Detach)
}

fn count(n: usize, what: &str) -> String {
    match n {
        0 => format!("no {what}s"),
        1 => format!("1 {what}"),
        n => format!("{n} {what}s"),
    }
}

fn short_kind(kind: ArgKind) -> &'static str {
    match kind {
        ArgKind::Id => "an object",
        ArgKind::Device => "a bound device",
        ArgKind::Pdev => "a physical device",
        ArgKind::File => "an open file",
        ArgKind::Num => "a number",
        ArgKind::Flags => "a flag",
        ArgKind::Entries => "a list of entries",
    }
}

/// What an argument of this kind is, in words.
pub(crate) fn long_kind(kind: ArgKind) -> &'static str {
    match kind {
        ArgKind::Id => "an object id: a name bound by an earlier step, or a number",
        ArgKind::Device => "a bound device: a name that `bind` or `mock_domain` gave out",
        ArgKind::Pdev => "a physical device, `pdev0` to `pdev7`",
        ArgKind::File => "an open file: `fd`, or a name that `open` gave out",
        ArgKind::Num => "a number",
        ArgKind::Flags => "a number, or names of flags joined with `|`",
        ArgKind::Entries => "a list of invalidation entries",
    }
}
