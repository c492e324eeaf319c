//! Turns recorded steps into steps of a program.

use super::ops::{self, Op, To, OPTIONS, OTHERS};
use super::{Recorded, Sequence};
use std::collections::{BTreeMap, BTreeSet};
use uapi::call::{by_name, Arg, ArgKind, Call, Signature, AUTO};
use uapi::program::{Entry, Operand, Program, Step, Sym};

/// An id that no object has.
const NOID: u64 = 0xffff_fff0;

/// The name of an access's file that was recorded without one.
const UNNAMED: &str = "access";

/// The name of the file that is open from the start.
const MAIN_FILE: &str = "fd";

/// Fields of 64 bits. The others have 32, and what does not fit is cut off.
const WIDE: &[&str] =
    &["virt_id", "iova", "length", "user_va", "nesting_parent_iova", "data_uptr", "count"];

/// POLLNVAL: poll(2) of what is no open file.
const POLLNVAL: u64 = 0x20;

/// sizeof(struct iommu_hwpt_pgfault): a fault queue is read in multiples of it.
const PGFAULT_SIZE: u64 = 40;

/// What a recorded step asks the model for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Action {
    /// To make these steps; the answer is that of the last one.
    Make(Vec<Step>),
    /// To make this step with the first, second, … point that can fail failing, until there is
    /// none, and that one for good.
    Sweep(Step),
    /// To destroy every id of this file upward until nothing moves.
    Drain(Operand),
    /// Nothing: the recorder's own answer, not the kernel's.
    Nothing,
    /// Something that the model does not have: what.
    Missing(String),
}

/// Turns the steps of one sequence into steps of a program, in their order.
#[derive(Debug, Default)]
pub struct Converter {
    /// Names of files.
    syms: Vec<String>,
    /// The file of the last access that was recorded without a name: its descriptor is no id.
    unnamed: Option<Sym>,
    /// Which files are those of fault queues.
    fault_files: BTreeSet<Sym>,
    /// Which files are closed.
    closed: BTreeSet<Sym>,
    /// Ids by their names, as the kernel gave them out.
    ids: BTreeMap<String, u64>,
    /// Which operation gave an id of a file out last.
    made_by: BTreeMap<(String, u64), &'static str>,
    /// The highest id given out.
    id_max: u64,
}

/// What is wrong with a step: the message and what would be right.
pub(super) type Wrong = (String, String);

impl Converter {
    /// Converts the next step of the sequence.
    ///
    /// # Errors
    ///
    /// What is wrong with its arguments, and what would be right.
    pub fn next(&mut self, recorded: &Recorded) -> Result<Action, (String, String)> {
        let action = self.action(recorded)?;
        let op = ops::find(&recorded.op);
        // An access gives out a descriptor, which is no id.
        if op.is_some_and(|op| op.name == "create_access") {
            return Ok(action);
        }
        for (name, id) in &recorded.answer.out {
            self.ids.insert(name.clone(), *id);
            self.id_max = self.id_max.max(*id);
            if let Some(op) = op {
                self.made_by.insert((file_name(recorded).to_string(), *id), op.name);
            }
        }
        Ok(action)
    }

    /// The program that makes these steps.
    pub fn program(&self, steps: Vec<Step>) -> Program {
        Program { cpus: vec![steps], syms: self.syms.clone(), ..Program::default() }
    }

    /// The highest id that the kernel gave out so far.
    pub fn id_max(&self) -> u64 {
        self.id_max
    }

    fn action(&mut self, recorded: &Recorded) -> Result<Action, Wrong> {
        match recorded.op.as_str() {
            "reopen" => return self.reopen(recorded),
            "drain" => return Ok(Action::Drain(self.file(recorded)?)),
            _ => {}
        }
        let Some(op) = ops::find(&recorded.op) else {
            return Ok(Action::Missing(format!("has no operation `{}`", recorded.op)));
        };
        let known = argument_names(op.name).unwrap_or_default();
        if let Some((key, _)) = recorded.args.iter().find(|(k, _)| !known.contains(&k.as_str())) {
            return Ok(Action::Missing(format!("has no argument `{key}` of `{}`", op.name)));
        }
        if ops::is_file_op(op.name) && op.name != "open" {
            match self.named_file(op, recorded) {
                Some(Operand::Sym(sym)) if !self.closed.contains(&sym) => {}
                Some(Operand::Num(_)) => {}
                _ => return Ok(no_file(recorded)),
            }
        }
        let Some(signature) = by_name(op.call) else {
            return Ok(Action::Missing(format!("{} is not in this row's model", op.call)));
        };
        if op.name == "open" {
            let name = recorded.arg("name").unwrap_or(MAIN_FILE);
            let sym = self.sym(name);
            self.closed.remove(&sym);
            self.made_by.retain(|(file, _), _| file != name);
            return Ok(Action::Make(vec![open(vec![sym])]));
        }

        let (args, missing) = self.operands(op, signature, recorded)?;
        if let Some(field) = missing {
            return Ok(Action::Missing(format!("{} of the model has no {field}", op.call)));
        }
        let step = Step {
            args,
            file: self.file(recorded)?,
            binds: self.binds(signature, recorded),
            read_only: recorded.flag("ro") || user_struct(recorded)? == UserStruct::ReadOnly,
            bad_pointer: recorded.flag("badptr") || user_struct(recorded)? == UserStruct::Bad,
            usize_: small(recorded, "usize")?,
            trail: small(recorded, "trail")?,
            text: recorded.text(),
            ..Step::new(signature.call)
        };
        match (op.name, step.args.first(), step.binds.last()) {
            ("close", Some(Operand::Sym(sym)), _) => drop(self.closed.insert(*sym)),
            ("fault_alloc", _, Some(file)) => drop(self.fault_files.insert(*file)),
            _ => {}
        }
        Ok(match recorded.sweeps() {
            true => Action::Sweep(step),
            false => Action::Make(vec![step]),
        })
    }

    /// One operand per argument of the call, and a field that the call does not have.
    fn operands(
        &self,
        op: &Op,
        signature: &'static Signature,
        recorded: &Recorded,
    ) -> Result<(Vec<Operand>, Option<&'static str>), Wrong> {
        let mut given: BTreeMap<&'static str, Operand> = BTreeMap::new();
        let mut missing = None;
        for (key, to) in op.args {
            let Some(word) = recorded.arg(key) else { continue };
            match to {
                To::Field(field) => match field_of(signature, field) {
                    Some(arg) => {
                        given.insert(field, Operand::Num(self.value(op, key, arg, word)?));
                    }
                    None if ops::number(op.name, key, word) == Some(0) => {}
                    None => missing = Some(*field),
                },
                To::Buffer(field) => {
                    let there = number(op, key, word)? != 0;
                    given.insert(field, Operand::Num(if there { AUTO } else { 0 }));
                }
                To::Data(first) => {
                    let word = word.split([':', ';']).next().unwrap_or("");
                    let value = number(op, key, word)?;
                    given.entry("data_uptr").or_insert(Operand::Num(AUTO));
                    if let Some(field) = first {
                        given.insert(field, Operand::Num(value));
                    }
                }
                To::Entries => self.entries(op, recorded, word, &mut given)?,
                To::File | To::Aside => {}
            }
        }
        if let Some(uptr) = recorded.arg("data_uptr") {
            // The last address stands for a good one in a program.
            let uptr = number(op, "data_uptr", uptr)?.min(AUTO - 1);
            given.insert("data_uptr", Operand::Num(uptr));
        }
        self.not_recorded(op, recorded, &mut given);
        let operands = signature.args.iter().map(|arg| {
            if arg.kind == ArgKind::File {
                return self.named_file(op, recorded).unwrap_or(Operand::Num(0));
            }
            let default = match (op.zero.contains(&arg.name), arg.default) {
                (false, Some(default)) => default,
                _ => 0,
            };
            given.get(arg.name).cloned().unwrap_or(Operand::Num(default))
        });
        Ok((operands.collect(), missing))
    }

    /// What the recorder passes and does not write down follows from the answer.
    fn not_recorded(
        &self,
        op: &Op,
        recorded: &Recorded,
        given: &mut BTreeMap<&'static str, Operand>,
    ) {
        let ret = recorded.answer.ret.as_deref();
        // Whether there was room for the data.
        if op.name == "hw_info" && ret == Some("EFAULT") && !given.contains_key("data_uptr") {
            given.insert("data_uptr", Operand::Num(0));
        }
        // How much was read of a fault queue: not a multiple of a fault's size, or one.
        if let (Some(Operand::Sym(sym)), "read", Some("OK")) =
            (self.named_file(op, recorded), op.name, ret)
        {
            if self.fault_files.contains(&sym) && !given.contains_key("count") {
                let n = recorded.answer.n.and_then(|n| u64::try_from(n).ok()).unwrap_or(0);
                let count = n.max(1).next_multiple_of(PGFAULT_SIZE);
                given.insert("count", Operand::Num(count));
            }
        }
    }

    /// Closes a file, and opens another one in its place.
    fn reopen(&mut self, recorded: &Recorded) -> Result<Action, Wrong> {
        let name = recorded.arg("name").or(recorded.arg("fd")).unwrap_or(MAIN_FILE);
        let Some(file) = self.open_file(name) else {
            return Err((
                format!("`{name}` is no open file"),
                "name what an `open` before gave out".to_string(),
            ));
        };
        self.made_by.retain(|(of, _), _| of != name);
        let binds = match file {
            Operand::Sym(sym) => {
                self.closed.remove(&sym);
                vec![sym]
            }
            _ => Vec::new(),
        };
        Ok(Action::Make(vec![close(file), open(binds)]))
    }

    /// The number of a field: an id by its name, or a number.
    fn value(&self, op: &Op, key: &str, arg: &Arg, word: &str) -> Result<u64, Wrong> {
        match arg.kind {
            ArgKind::Id | ArgKind::Device => {
                Ok(ops::plain_number(word).or_else(|| self.ids.get(word).copied()).unwrap_or(NOID))
            }
            _ => number(op, key, word),
        }
        .map(|value| if WIDE.contains(&arg.name) { value } else { value & u64::from(u32::MAX) })
    }

    /// `flags:vdev_id:cache_id;…`, or `flags:iotlb_id;…` for a nested HWPT. A word behind the
    /// known ones is the tail.
    fn entries(
        &self,
        op: &Op,
        recorded: &Recorded,
        text: &str,
        given: &mut BTreeMap<&'static str, Operand>,
    ) -> Result<(), Wrong> {
        let hwpt = recorded.arg("hwpt_id").unwrap_or_default();
        let id = self.ids.get(hwpt).copied().or_else(|| ops::plain_number(hwpt));
        let made_by = id.and_then(|id| self.made_by.get(&(file_name(recorded).to_string(), id)));
        let nested = made_by == Some(&"hwpt_alloc");
        let mut entries = Vec::new();
        let mut words_max = 0;
        for entry in text.split(';').filter(|e| !e.trim().is_empty()) {
            let words = entry
                .split(':')
                .map(|word| {
                    let value = number(op, "entries", word)?;
                    u32::try_from(value).map_err(|_| {
                        (
                            format!("`{word}` has more than 32 bits"),
                            "a word of an entry has 32 bits".to_string(),
                        )
                    })
                })
                .collect::<Result<Vec<u32>, Wrong>>()?;
            words_max = words_max.max(words.len() as u64);
            let word = |i: usize| words.get(i).copied().unwrap_or(0);
            let known = if nested { 2 } else { 3 };
            entries.push(Entry {
                flags: word(0),
                vdev_id: if nested { 0 } else { word(1) },
                cache_id: word(known - 1),
                tail: words.iter().skip(known).fold(0, |all, w| all | w),
            });
        }
        if !entries.is_empty() {
            for (field, value) in
                [("entry_len", 4 * words_max), ("entry_num", entries.len() as u64)]
            {
                let value = match recorded.arg(field) {
                    Some(word) => number(op, field, word)?,
                    None => value,
                };
                given.insert(field, Operand::Num(value));
            }
            given.entry("data_uptr").or_insert(Operand::Num(AUTO));
        }
        given.insert("entries", Operand::Entries(entries));
        Ok(())
    }

    /// The file that the step goes to.
    fn file(&self, recorded: &Recorded) -> Result<Operand, Wrong> {
        if ops::is_file_op(&recorded.op) {
            return Ok(Operand::Num(0));
        }
        let name = file_name(recorded);
        self.open_file(name).ok_or_else(|| {
            (
                format!("`{name}` is no open file"),
                "name what an `open` before gave out; without `fd`, the file is the first one"
                    .to_string(),
            )
        })
    }

    /// The file that a file operation names, if it was ever created.
    fn named_file(&self, op: &Op, recorded: &Recorded) -> Option<Operand> {
        let mut names = op.args.iter().filter(|(_, to)| *to == To::File);
        let name = names.find_map(|(key, _)| recorded.arg(key))?;
        let unnamed = self.unnamed.filter(|_| !is_ebadf(recorded));
        self.open_file(name).or(unnamed.map(Operand::Sym))
    }

    fn open_file(&self, name: &str) -> Option<Operand> {
        // An access has a file and no id that is told, so the file goes by its name alone, too.
        let is = |sym: &String| sym == name || sym.strip_suffix(".fd") == Some(name);
        match self.syms.iter().position(is) {
            Some(sym) => Some(Operand::Sym(sym as Sym)),
            None => (name == MAIN_FILE).then_some(Operand::Num(0)),
        }
    }

    fn sym(&mut self, name: &str) -> Sym {
        let known = self.syms.iter().position(|s| s == name);
        known.unwrap_or_else(|| {
            self.syms.push(name.to_string());
            self.syms.len() - 1
        }) as Sym
    }

    /// Names for the outputs, if a file is among them: `q` gives `q.fd`, too.
    fn binds(&mut self, signature: &Signature, recorded: &Recorded) -> Vec<Sym> {
        // The recorder forgets the file that a sweep leaves open.
        let kept = !recorded.sweeps();
        let gives_file = kept && signature.outs.iter().any(|out| out.kind == ArgKind::File);
        let name = recorded.answer.out.first().map(|(name, _)| name.clone());
        let ok = recorded.answer.ret.as_deref() == Some("OK");
        if name.is_none() && gives_file && ok && signature.outs.len() == 1 {
            let sym = self.sym(UNNAMED);
            self.closed.remove(&sym);
            self.unnamed = Some(sym);
            return vec![sym];
        }
        match name {
            Some(name) if gives_file => signature
                .outs
                .iter()
                .map(|out| match out.kind {
                    ArgKind::File => {
                        let sym = self.sym(&format!("{name}.fd"));
                        self.closed.remove(&sym);
                        sym
                    }
                    _ => self.sym(&format!("{name}.{}", out.name)),
                })
                .collect(),
            _ => Vec::new(),
        }
    }
}

/// Checks every step of a sequence, for the reader: line and what is wrong with it.
pub(super) fn check(sequence: &Sequence) -> Vec<(usize, Wrong)> {
    let mut converter = Converter::default();
    let wrong = sequence.steps.iter().filter_map(|step| {
        let wrong = converter.next(step).err()?;
        Some((step.line, wrong))
    });
    wrong.collect()
}

/// The arguments and options of an operation; `None` if there is no such operation.
pub(super) fn argument_names(op: &str) -> Option<Vec<&'static str>> {
    match ops::find(op) {
        Some(found) => {
            let own = found.args.iter().map(|(key, _)| *key);
            let common = OPTIONS.iter().copied().filter(|_| !ops::is_file_op(op));
            Some(own.chain(common).collect())
        }
        None => OTHERS.contains(&op).then(|| [&["name"], OPTIONS].concat()),
    }
}

/// The name of the file that a step goes to.
fn file_name(recorded: &Recorded) -> &str {
    recorded.arg("fd").unwrap_or(MAIN_FILE)
}

/// Whether the answer says that there is no such file.
fn is_ebadf(recorded: &Recorded) -> bool {
    let answer = &recorded.answer;
    matches!(answer.ret.as_deref(), Some("EBADF" | "-EBADF")) || answer.revents == Some(POLLNVAL)
}

/// A file operation on what is no open file: the recorder's own EBADF.
fn no_file(recorded: &Recorded) -> Action {
    match is_ebadf(recorded) {
        true => Action::Nothing,
        false => Action::Missing("EBADF: no file of this name is open".to_string()),
    }
}

fn field_of(signature: &'static Signature, field: &str) -> Option<&'static Arg> {
    signature.args.iter().find(|arg| arg.name == field)
}

fn number(op: &Op, key: &str, word: &str) -> Result<u64, Wrong> {
    ops::number(op.name, key, word).ok_or_else(|| {
        (
            format!("`{}` is no value of `{key}`", word.escape_debug()),
            "write a decimal or hexadecimal number, or the name that a script uses for it"
                .to_string(),
        )
    })
}

fn small(recorded: &Recorded, key: &str) -> Result<Option<u32>, Wrong> {
    let Some(word) = recorded.arg(key) else { return Ok(None) };
    let value = ops::plain_number(word).and_then(|n| u32::try_from(n).ok());
    value.map(Some).ok_or_else(|| {
        (
            format!("`{}` is no value of `{key}`", word.escape_debug()),
            "write a number of bytes".to_string(),
        )
    })
}

/// Where the argument struct lies.
#[derive(Clone, Copy, PartialEq, Eq)]
enum UserStruct {
    Good,
    ReadOnly,
    Bad,
}

fn user_struct(recorded: &Recorded) -> Result<UserStruct, Wrong> {
    let Some(word) = recorded.arg("user_struct") else { return Ok(UserStruct::Good) };
    let word = word.to_lowercase();
    let says = |parts: &[&str]| parts.iter().any(|part| word.contains(part));
    if says(&["read_only", "readonly", "read-only"]) || word == "ro" {
        Ok(UserStruct::ReadOnly)
    } else if says(&["bad", "unmapped", "invalid", "null", "no_access"]) {
        Ok(UserStruct::Bad)
    } else {
        Err((
            format!("`{}` is no place of the argument struct", word.escape_debug()),
            "write read_only_page or bad_pointer, or leave it out".to_string(),
        ))
    }
}

fn open(binds: Vec<Sym>) -> Step {
    Step { binds, text: "open".to_string(), ..Step::new(Call::Open) }
}

fn close(file: Operand) -> Step {
    Step { args: vec![file], text: "close".to_string(), ..Step::new(Call::Close) }
}

impl Action {
    /// Allocates an IOAS in this file, to see the lowest free id.
    pub fn probe(file: &Operand) -> Step {
        Step {
            args: vec![Operand::Num(0)],
            file: file.clone(),
            text: "ioas_alloc".to_string(),
            ..Step::new(Call::IoasAlloc)
        }
    }

    /// Destroys an id of this file.
    pub fn destroy(file: &Operand, id: u64) -> Step {
        Step {
            args: vec![Operand::Num(id)],
            file: file.clone(),
            text: format!("destroy id={id}"),
            ..Step::new(Call::Destroy)
        }
    }
}
