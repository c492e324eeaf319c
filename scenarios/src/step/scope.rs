//! What a step means: its names, its options, what it may answer.

use super::shape::{names_in_broken, ExpectShape, Shape, Term, Word};
use super::{count, has_buffer, is_ioctl, pdev, unknown_call, unknown_row, Text, OPTIONS};
use crate::error::{suggest, Problem};
use crate::{canonical, Answers};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use uapi::call::{self, ArgKind, Signature, SIGNATURES};
use uapi::errno::Ret;
use uapi::pick::RevisionInfo;
use uapi::program::{FailNth, Operand, Step, Sym};

/// Which list of the file a step stands in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum List {
    Setup,
    Cpu(usize),
    Finally,
}

impl List {
    pub(super) fn shown(self) -> String {
        match self {
            List::Setup => "setup".to_string(),
            List::Cpu(n) => format!("CPU {n}"),
            List::Finally => "finally".to_string(),
        }
    }
}

/// A name that a step binds.
pub(super) struct Binding {
    /// What it names. `None`: the call is unknown, so anything.
    pub(super) kind: Option<ArgKind>,
    pub(super) list: List,
    pub(super) step: usize,
    pub(super) at: Range<usize>,
    pub(super) sym: Sym,
}

/// All names of a file, and the rows that answers can be given for.
pub(crate) struct Scope<'r> {
    pub(super) names: BTreeMap<String, Binding>,
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
            args,
            binds: self.syms_of(shape),
            text: shape.text.clone(),
            ..Step::new(signature.call)
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
                self.outputs(expect, shape, signature, &mut resolved, problems);
                answers(expect, self.rows, &mut rows_named, problems)
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
        let has_buffer = name.text == "badptr" && has_buffer(signature);
        let of_ioctls = matches!(name.text, "ro" | "badptr" | "usize" | "trail");
        if of_ioctls && !is_ioctl(signature) && !has_buffer {
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
            ("stall", _) => step.stall_s = Some(small("a number of seconds")?),
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

    /// The expected outputs. An id is no number that a scenario could know.
    fn outputs(
        &self,
        expect: &ExpectShape<'_>,
        shape: &Shape<'_>,
        signature: &Signature,
        step: &mut Step,
        problems: &mut Vec<Problem>,
    ) {
        let numbers: Vec<&str> = signature
            .outs
            .iter()
            .filter(|out| out.kind == ArgKind::Num)
            .map(|out| out.name)
            .collect();
        let help = |name: &str| match numbers.as_slice() {
            [] => "only numbers can be expected, and it gives out none: leave it out".to_string(),
            some => suggest(name, some, "the numbers it gives out are"),
        };
        for (name, value) in &expect.outs {
            let index = signature
                .outs
                .iter()
                .position(|out| out.kind == ArgKind::Num && out.name == name.text);
            match index {
                Some(index) => step.expect_out.push((index as u16, *value)),
                None => problems.push(Problem::at(
                    name.at.clone(),
                    "cannot be expected",
                    format!("{} gives out no number `{}`", shape.call.text, name.text),
                    help(name.text),
                )),
            }
        }
    }
}

/// What a step may answer, with the places of the rows that are named.
pub(super) fn answers(
    expect: &ExpectShape<'_>,
    rows: &[RevisionInfo],
    rows_named: &mut Vec<(&'static str, Range<usize>)>,
    problems: &mut Vec<Problem>,
) -> Answers {
    if expect.per_row.is_empty() && expect.same.is_empty() {
        return Answers::Any;
    }
    if expect.per_row.is_empty() {
        return Answers::Same(expect.same.clone());
    }
    let mut of_rows = BTreeMap::new();
    for (word, answers) in &expect.per_row {
        match canonical(rows, word.text) {
            None => problems.push(unknown_row(word.text, word.at.clone(), rows)),
            Some(row) => {
                if of_rows.insert(row.name.to_string(), answers.clone()).is_some() {
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
    Answers::PerRow(of_rows)
}
