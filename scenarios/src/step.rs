//! The text of one step: `a, b = CALL(arg, name = value) [option] -> 0 | -EEXIST`.
//!
//! Two passes. [`parse`] knows only the shape. [`Scope`] then learns every name that any step
//! binds, so that a name of another CPU can be told from a misspelt one, and [`Scope::resolve`]
//! checks the step against the table of calls and makes it a [`uapi::program::Step`]. The steps of
//! a command queue bind nothing: [`request::resolve`] makes each a [`uapi::queue::Request`].

mod args;
pub(crate) mod request;
mod scope;
mod shape;

use scope::answers;
pub(crate) use scope::{List, Scope};
pub(crate) use shape::{parse, Shape};

use crate::error::{nearest, suggest, Problem};
use shape::Word;
use std::ops::Range;
use uapi::call::{ArgKind, Signature, SIGNATURES};
use uapi::pick::RevisionInfo;
use uapi::program::Operand;

/// How many physical devices there are.
pub(crate) const PDEVS_MAX: u64 = 8;

/// Options in square brackets behind a call, for error messages.
const OPTIONS: &[&str] = &["fail_nth", "ro", "badptr", "usize", "trail", "stall", "fd"];

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
    use uapi::call::Call::{
        Attach, Bind, Close, Detach, Interrupt, Mmap, Munmap, Open, Poll, Replace, UffdioCopy,
        Unbind, Unplug,
    };
    let driver =
        matches!(signature.call, Bind | Unbind | Unplug | Attach | Replace | Detach | Interrupt);
    let file = matches!(signature.call, Open | Close | Poll | Mmap | Munmap | UffdioCopy);
    !driver && !file && !has_buffer(signature)
}

/// Whether the call is a read or a write, which has a buffer instead of a struct.
fn has_buffer(signature: &Signature) -> bool {
    use uapi::call::Call::{Read, ReadPgfault, Write};
    matches!(signature.call, Read | ReadPgfault | Write)
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
        ArgKind::Mapping => "a mapping",
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
        ArgKind::File => {
            "an open file: `fd`, or a name that `open`, `memfd_create`, `create_access` (an `access`) or the \
             allocation of an event queue gave out"
        }
        ArgKind::Mapping => "a mapping: a name that `mmap` gave out",
        ArgKind::Num => "a number",
        ArgKind::Flags => "a number, or names of flags joined with `|`",
        ArgKind::Entries => "a list of invalidation entries",
    }
}
