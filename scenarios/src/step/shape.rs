//! The shape of a step: which words stand where. Nothing here knows a call.

use super::Text;
use crate::error::{code, nearest, Problem};
use std::ops::Range;
use uapi::errno::{Errno, Ret};

/// The names that a step binds which has no good shape otherwise: later steps may use them, and one
/// slip should not become two errors.
pub(super) fn names_in_broken(text: &str) -> Vec<&str> {
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
    pub(super) args: Vec<ArgShape<'a>>,
    pub(super) options: Vec<(Word<'a>, Option<Term<'a>>)>,
    pub(super) expect: Option<ExpectShape<'a>>,
    /// The text without the expectation, runs of blanks made one.
    pub(super) text: String,
}

#[derive(Clone, Debug)]
pub(super) struct ArgShape<'a> {
    pub(super) name: Option<Word<'a>>,
    pub(super) value: Value<'a>,
    pub(super) at: Range<usize>,
}

#[derive(Clone, Debug)]
pub(super) enum Value<'a> {
    /// Numbers and names, joined with `|`.
    Terms(Vec<Term<'a>>),
    /// `[{name = value, …}, …]`
    Entries(Vec<Vec<(Word<'a>, Term<'a>)>>),
}

#[derive(Clone, Debug)]
pub(super) enum Term<'a> {
    Num(u64, Range<usize>),
    Name(Word<'a>),
}

impl Term<'_> {
    pub(super) fn at(&self) -> Range<usize> {
        match self {
            Term::Num(_, at) => at.clone(),
            Term::Name(w) => w.at.clone(),
        }
    }
}

#[derive(Clone, Debug)]
pub(super) struct ExpectShape<'a> {
    pub(super) same: Vec<Ret>,
    pub(super) per_row: Vec<(Word<'a>, Vec<Ret>)>,
    pub(super) entry_num: Option<(u64, Range<usize>)>,
    /// Outputs with the value that they have if the call succeeds.
    pub(super) outs: Vec<(Word<'a>, u64)>,
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
                // What looks like a letter of a name may be one of another alphabet, or nothing.
                let (number, help) = match other.is_ascii() {
                    true => (String::new(), STEP_FORM),
                    false => (
                        format!(" ({})", code(other)),
                        "names, calls and signs are of ASCII: write it anew from the keyboard",
                    ),
                };
                return Err(Problem::at(
                    text.place(i..i + other.len_utf8()),
                    "this character",
                    format!("{other:?}{number} has no meaning in a step"),
                    help,
                ));
            }
        };
        i += len;
    }
    Ok(tokens)
}

/// Reads a decimal or hexadecimal number; `_` may group the digits.
fn number(text: &str) -> Option<u64> {
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
                    `[usize = 24]`, `[trail = 30]`, `[stall = 30]`, `[fd = NAME]`, separated by `,`";
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
        let mut expect = ExpectShape {
            same: Vec::new(),
            per_row: Vec::new(),
            entry_num: None,
            outs: Vec::new(),
        };
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
        while self.eat(Token::Punct(',')) {
            let help = "behind the answers stands `, entry_num = N` or what the call gives out, \
                        `, bytes = 12`; several answers are joined with `|`";
            let word = self.word("`entry_num` or an output", help)?;
            self.expect('=', help)?;
            match self.term("a number")? {
                Term::Num(n, at) if word.text == "entry_num" => expect.entry_num = Some((n, at)),
                Term::Num(n, _) => expect.outs.push((word, n)),
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

pub(super) const ENTRY_FORM: &str =
    "entries read `[{vdev_id = 0x99, cache_id = 1}, {flags = ALL, vdev_id = 0x9a}]`; fields that \
     are left out are 0";
