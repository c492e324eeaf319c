//! What the arguments of a step mean.

use super::scope::{List, Scope};
use super::shape::{ArgShape, Shape, Term, Value, Word, ENTRY_FORM};
use super::{count, default_operand, long_kind, pdev, short_kind, usage};
use crate::error::{nearest, suggest, Problem};
use std::ops::Range;
use uapi::call::{Arg, ArgKind, Signature, FLAG_NAMES};
use uapi::program::{Entry, Operand, Sym};

impl Scope<'_> {
    /// One operand per argument, defaults filled in.
    pub(super) fn args(
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
    pub(super) fn visible(
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
}
