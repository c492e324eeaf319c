//! The text of a request to the SMMUv3 command queue: a call of the driver, its commands in
//! braces.

use super::shape::{ArgShape, Shape, Term, Value, Word};
use super::{answers, count};
use crate::error::{suggest, Problem};
use crate::Answers;
use smmuv3::command::{Op, Opcode, OPCODES};
use std::ops::Range;
use uapi::pick::RevisionInfo;
use uapi::queue::{Invalidate, Request};

/// A call of a CPU of a `[queue]`.
pub(crate) struct Form {
    /// Its name.
    pub name: &'static str,
    /// Its arguments; those behind the needed ones may be left out.
    pub args: &'static [&'static str],
    /// How many of them have to be there.
    pub needed: usize,
    /// What it does.
    pub doc: &'static str,
    /// Makes the request of what was given.
    make: fn(&[Option<Given>]) -> Request,
}

/// The calls of a CPU of a `[queue]`.
#[rustfmt::skip]
pub(crate) const FORMS: &[Form] = &[
    Form {
        name: "arm_smmu_cmdq_issue_cmdlist", args: &["cmds", "sync"], needed: 1,
        doc: "Puts a list of commands into the ring; with `sync = 1` a CMD_SYNC behind it, which is waited for.",
        make: |given| Request::Issue { commands: commands(given), sync: number(given, 1) != 0 },
    },
    Form {
        name: "arm_smmu_cmdq_batch_submit", args: &["cmds", "force_sync"], needed: 1,
        doc: "Gathers the commands as a batch, in lists of a word, and submits it; with `force_sync = 1` the SMMU needs a CMD_SYNC behind every list.",
        make: |given| {
            Request::Batch { commands: commands(given), force_sync: number(given, 1) != 0 }
        },
    },
    Form {
        name: "IOMMU_HWPT_INVALIDATE",
        args: &["data_uptr", "data_type", "entry_len", "tail", "unmapped_from"], needed: 1,
        doc: "A guest's commands on the vSMMU; `unmapped_from` is the first entry that lies in memory which cannot be read.",
        make: invalidate,
    },
    Form {
        name: "migrate", args: &["task", "to"], needed: 2,
        doc: "The scheduler moves the task of another CPU to a processor.",
        make: |given| Request::Migrate { task: number(given, 0) as u8, to: number(given, 1) as u8 },
    },
    Form {
        name: "arm_smmu_runtime_suspend", args: &[], needed: 0,
        doc: "The SMMU loses its power: no list gets into the ring any more.",
        make: |_| Request::Suspend,
    },
    Form {
        name: "arm_smmu_runtime_resume", args: &[], needed: 0,
        doc: "The SMMU gets it back.",
        make: |_| Request::Resume,
    },
];

/// A request, with what it may answer and the rows that are named there.
pub(crate) struct ResolvedRequest {
    pub request: Request,
    pub answers: Answers,
    pub entry_num: Option<u32>,
    pub rows_named: Vec<(&'static str, Range<usize>)>,
}

/// How a call is written: `migrate(task, to)`.
pub(crate) fn usage(form: &Form) -> String {
    let args: Vec<String> = form
        .args
        .iter()
        .enumerate()
        .map(|(n, arg)| if n < form.needed { (*arg).to_string() } else { format!("[{arg}]") })
        .collect();
    match args.as_slice() {
        [] => form.name.to_string(),
        some => format!("{}({})", form.name, some.join(", ")),
    }
}

/// Makes a request of a step.
pub(crate) fn resolve(
    shape: &Shape<'_>,
    rows: &[RevisionInfo],
    problems: &mut Vec<Problem>,
) -> Option<ResolvedRequest> {
    let Some(form) = FORMS.iter().find(|form| form.name == shape.call.text) else {
        let names: Vec<&str> = FORMS.iter().map(|form| form.name).collect();
        problems.push(Problem::at(
            shape.call.at.clone(),
            "unknown call",
            format!("the command queue has no call `{}`", shape.call.text),
            suggest(shape.call.text, &names, "its calls are"),
        ));
        return None;
    };
    let before = problems.len();
    if let Some(name) = shape.binds.first() {
        problems.push(Problem::at(
            name.at.clone(),
            "a name",
            format!("{} gives out nothing", form.name),
            "write the step without a name",
        ));
    }
    let given = arguments(shape, form, problems);
    let mut request = (form.make)(&given);
    options(shape, form, &mut request, problems);
    let mut resolved =
        ResolvedRequest { request, answers: Answers::Any, entry_num: None, rows_named: Vec::new() };
    if let Some(expect) = &shape.expect {
        resolved.answers = answers(expect, rows, &mut resolved.rows_named, problems);
        if let Some(word) = expect.outs.first() {
            problems.push(Problem::at(
                word.0.at.clone(),
                "cannot be expected",
                format!("{} gives out no `{}`", form.name, word.0.text),
                "behind the answers of a request only `, entry_num = N` may stand",
            ));
        }
        if let Some((n, at)) = &expect.entry_num {
            match (u32::try_from(*n), &resolved.request) {
                (Ok(n), Request::Invalidate(_)) => resolved.entry_num = Some(n),
                (Ok(_), _) => problems.push(Problem::at(
                    at.clone(),
                    "here",
                    format!("{} handles no array", form.name),
                    "`entry_num` is what IOMMU_HWPT_INVALIDATE writes back; leave it out",
                )),
                (Err(_), _) => problems.push(Problem::at(
                    at.clone(),
                    "too large",
                    "`entry_num` has 32 bits",
                    "write a smaller number",
                )),
            }
        }
    }
    (problems.len() == before).then_some(resolved)
}

/// The number that was given; 0 if there is none.
fn number(given: &[Option<Given>], n: usize) -> u64 {
    match given.get(n) {
        Some(Some(Given::Number(number))) => *number,
        _ => 0,
    }
}

/// The commands, which come first.
fn commands(given: &[Option<Given>]) -> Vec<[u64; 2]> {
    match given.first() {
        Some(Some(Given::Commands(commands))) => commands.clone(),
        _ => Vec::new(),
    }
}

/// An array of a guest: what is not said about it is as it should be.
fn invalidate(given: &[Option<Given>]) -> Request {
    let said = |n: usize| given.get(n).is_some_and(Option::is_some).then(|| number(given, n));
    let array = Invalidate::of(commands(given));
    Request::Invalidate(Invalidate {
        data_type: said(1).map_or(array.data_type, |n| n as u32),
        entry_len: said(2).map_or(array.entry_len, |n| n as u32),
        tail: number(given, 3) as u8,
        unmapped_from: said(4).map(|n| n as u32),
        ..array
    })
}

/// What stands for an argument.
enum Given {
    Number(u64),
    Commands(Vec<[u64; 2]>),
}

/// The largest number of an argument, where it is not 32 bits.
fn most(argument: &str) -> u64 {
    match argument {
        "sync" | "force_sync" => 1,
        "tail" | "task" | "to" => u64::from(u8::MAX),
        _ => u64::from(u32::MAX),
    }
}

fn arguments(shape: &Shape<'_>, form: &Form, problems: &mut Vec<Problem>) -> Vec<Option<Given>> {
    let before = problems.len();
    let mut given: Vec<Option<Given>> = form.args.iter().map(|_| None).collect();
    for (position, arg) in shape.args.iter().enumerate() {
        let index = match &arg.name {
            Some(name) => form.args.iter().position(|a| *a == name.text),
            None => Some(position).filter(|p| *p < form.args.len()),
        };
        let reads = || format!("it reads `{}`", usage(form));
        let Some(index) = index else {
            let message = match &arg.name {
                Some(name) => format!("{} has no argument `{}`", form.name, name.text),
                None => format!("{} takes {}", form.name, count(form.args.len(), "argument")),
            };
            problems.push(Problem::at(arg.at.clone(), "this one", message, reads()));
            continue;
        };
        if given[index].is_some() {
            let message = format!("the argument `{}` is given twice", form.args[index]);
            problems.push(Problem::at(arg.at.clone(), "and again here", message, reads()));
            continue;
        }
        match argument(arg, form.args[index], problems) {
            Some(value) => given[index] = Some(value),
            // What is missing beside a wrong argument is that argument.
            None => continue,
        }
    }
    let missing = given.iter().take(form.needed).position(Option::is_none);
    if let (Some(missing), true) = (missing, problems.len() == before) {
        problems.push(Problem::at(
            shape.call.at.clone(),
            "too few arguments",
            format!("{} needs `{}`", form.name, form.args[missing]),
            format!("it reads `{}`", usage(form)),
        ));
    }
    given
}

fn argument(arg: &ArgShape<'_>, name: &str, problems: &mut Vec<Problem>) -> Option<Given> {
    let takes_commands = matches!(name, "cmds" | "data_uptr");
    match &arg.value {
        Value::Entries(entries) if takes_commands => {
            let commands = entries.iter().map(|fields| command(fields, &arg.at, problems));
            commands.collect::<Option<Vec<_>>>().map(Given::Commands)
        }
        Value::Terms(terms) if !takes_commands => match terms.as_slice() {
            [Term::Num(n, _)] if *n <= most(name) => Some(Given::Number(*n)),
            _ => {
                problems.push(Problem::at(
                    arg.at.clone(),
                    "not such a number",
                    format!("`{name}` is a number from 0 to {}", most(name)),
                    "write a number in that range",
                ));
                None
            }
        },
        _ => {
            let wanted = if takes_commands { "a list of commands" } else { "a number" };
            problems.push(Problem::at(
                arg.at.clone(),
                "here",
                format!("`{name}` is {wanted}"),
                COMMAND_FORM,
            ));
            None
        }
    }
}

/// How commands are written.
const COMMAND_FORM: &str =
    "commands read `[{op = TLBI_NH_VA, ASID = 1, Address = 0x1000}, {op = ATC_INV, StreamID = 7}]` \
     with the fields of Arm IHI 0070; `{word0 = 0xff, word1 = 0}` is an entry as it is";

/// The fields of an opcode, one for each of the names of the text.
fn names_of(op: &Opcode) -> Vec<&'static str> {
    op.fields.iter().map(|field| field.name).collect()
}

/// One command: its fields, and bits that are put over them.
fn command(
    fields: &[(Word<'_>, Term<'_>)],
    at: &Range<usize>,
    problems: &mut Vec<Problem>,
) -> Option<[u64; 2]> {
    let mut words = [0, 0];
    let mut opcode: Option<&Opcode> = None;
    let mut seen: Vec<&str> = Vec::new();
    let mut good = !fields.is_empty();
    if !good {
        problems.push(Problem::at(at.clone(), "in here", "a command says nothing", COMMAND_FORM));
    }
    for (name, value) in fields {
        let mut wrong = |at: Range<usize>, message: String, help: String| {
            problems.push(Problem::at(at, "here", message, help));
            good = false;
        };
        if seen.contains(&name.text) {
            let message = format!("`{}` is given twice", name.text);
            wrong(name.at.clone(), message, "leave one of them out".to_string());
            continue;
        }
        seen.push(name.text);
        match (name.text, value) {
            ("op", Term::Name(word)) => {
                opcode = OPCODES.iter().find(|op| op.name == word.text);
                match opcode {
                    Some(op) => words[0] |= op.op as u64,
                    None => {
                        let names: Vec<&str> = OPCODES.iter().map(|op| op.name).collect();
                        let help = suggest(word.text, &names, "the opcodes are");
                        wrong(
                            word.at.clone(),
                            format!("there is no command `{}`", word.text),
                            help,
                        );
                        return None;
                    }
                }
            }
            ("op", Term::Num(n, at)) => match u8::try_from(*n) {
                Ok(bits) => {
                    opcode = Op::from_bits(bits).map(Op::row);
                    words[0] |= u64::from(bits);
                }
                Err(_) => wrong(
                    at.clone(),
                    "an opcode has 8 bits".to_string(),
                    "write its name, or a number up to 0xff".to_string(),
                ),
            },
            ("word0", Term::Num(n, _)) => words[0] |= n,
            ("word1", Term::Num(n, _)) => words[1] |= n,
            (_, Term::Name(word)) => wrong(
                word.at.clone(),
                format!("`{}` is a number", name.text),
                "write it decimal (7) or hexadecimal (0x7)".to_string(),
            ),
            (_, Term::Num(n, at)) => {
                let Some(op) = opcode else {
                    let help = "write the `op` first: which fields there are depends on it";
                    let message = format!("`{}` stands before the opcode", name.text);
                    wrong(name.at.clone(), message, help.to_string());
                    continue;
                };
                match op.fields.iter().find(|field| field.name.eq_ignore_ascii_case(name.text)) {
                    Some(field) => {
                        if let Err(e) = field.put(&mut words, *n) {
                            let help = match field.unit {
                                smmuv3::field::Unit::Address => {
                                    "an address is that of a page of 4 KiB: 0x1000, 0x2000, …"
                                }
                                smmuv3::field::Unit::Number => "write a smaller number",
                            };
                            wrong(at.clone(), e.to_string(), help.to_string());
                        }
                    }
                    None => {
                        let message = format!("{} has no field `{}`", op.name, name.text);
                        let help = suggest(name.text, &names_of(op), "its fields are");
                        wrong(name.at.clone(), message, help);
                    }
                }
            }
        }
    }
    good.then_some(words)
}

fn options(shape: &Shape<'_>, form: &Form, request: &mut Request, problems: &mut Vec<Problem>) {
    for (name, value) in &shape.options {
        let at = value.as_ref().map_or(name.at.clone(), Term::at);
        let mut wrong = |message: String, help: &str| {
            problems.push(Problem::at(at.clone(), "here", message, help));
        };
        match (name.text, value, &mut *request) {
            ("fail_nth", Some(Term::Num(n, _)), Request::Invalidate(array))
                if (1..=u64::from(u32::MAX)).contains(n) && array.fail_nth == 0 =>
            {
                array.fail_nth = *n as u32;
            }
            ("fail_nth", _, Request::Invalidate(_)) => wrong(
                "`fail_nth` of a queue's request is one number from 1".to_string(),
                "`[fail_nth = 1]` fails the first point of the call that can fail",
            ),
            ("fail_nth", ..) => wrong(
                format!("no point of {} can be made to fail", form.name),
                "`fail_nth` is for IOMMU_HWPT_INVALIDATE; what fails in the SMMU stands in `faults`",
            ),
            (other, ..) => wrong(
                format!("a request of a queue has no option `{other}`"),
                "its only option is `[fail_nth = 1]`, of IOMMU_HWPT_INVALIDATE",
            ),
        }
    }
}
