//! What a real kernel answered: recordings of sequences of ioctls, step by step.
//!
//! A recording is a text of JSON lines. Each line is one step with the answer it got; the last
//! line of a sequence (`op = "end"`) has what the kernel printed. This module reads it
//! ([`Recording::read`]) and turns each step into steps of a [`uapi::program::Program`]
//! ([`Converter`]); it executes nothing and compares nothing.
//!
//! An id of a step is the number that the kernel gave out under its name, so a program names no
//! object: as long as the model gives the same ids, the numbers are the right ones, and when it
//! gives others, that is the first difference. Only files have names, since nobody sees their
//! numbers. A name that no step gave out (`NOID`, or the object of an ioctl that the kernel does
//! not have) is an id that does not exist.
//!
//! The form is described in `scenarios/answers/README.md`.

mod convert;
mod departures;
mod ops;
mod read;

pub use convert::{Action, Converter};
pub use departures::{departures, Departure};

use std::collections::BTreeMap;

/// A file of recorded sequences.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recording {
    /// The file, as the user named it.
    pub file: String,
    /// What was asked in it, in its order.
    pub sequences: Vec<Sequence>,
}

/// One recorded sequence.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sequence {
    /// Its name.
    pub name: String,
    /// Its steps.
    pub steps: Vec<Recorded>,
    /// The lines that the kernel printed meanwhile; `None` if that was not recorded.
    pub kmsg: Option<Vec<String>>,
    /// Where it ends in the file, from 1.
    pub line: usize,
}

/// One recorded step.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recorded {
    /// Where it stands in the file, from 1.
    pub line: usize,
    /// The operation.
    pub op: String,
    /// Its arguments and options as text, in the order of the file.
    pub args: Vec<(String, String)>,
    /// What the kernel answered.
    pub answer: Answer,
}

/// What the kernel answered to a step. What was not recorded is not compared.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Answer {
    /// `OK` or the name of an errno.
    pub ret: Option<String>,
    /// The ids given out, with the names of the step, in the order of the file.
    pub out: Vec<(String, u64)>,
    /// `entry_num` of an invalidation as user space found it afterwards.
    pub entry_num_out: Option<u64>,
    /// What a sweep of injected failures met.
    pub sweep: Option<Vec<Injection>>,
    /// What each round of a drain met: id and answer, without the ids that do not exist.
    pub rounds: Option<Vec<BTreeMap<u64, String>>>,
    /// What read(2) gave: number of bytes, or -1.
    pub n: Option<i64>,
    /// The words that were read.
    pub words: Option<Vec<u64>>,
    /// What poll(2) said.
    pub revents: Option<u64>,
    /// Type of the data that IOMMU_GET_HW_INFO says of.
    pub out_data_type: Option<u64>,
    /// The driver's data, as bytes: each reading of what was recorded that makes sense.
    pub data_out: Option<Vec<Vec<u8>>>,
}

/// One step of a sweep: the n-th point that can fail was made to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Injection {
    /// Which point, from 1.
    pub nth: u64,
    /// Whether there was such a point.
    pub injected: bool,
    /// The answer.
    pub ret: String,
    /// The lowest free id afterwards.
    pub next_free_id: Option<u64>,
}

impl Recorded {
    /// The step as a script of the recorder spells it: `op key=value … -> names`.
    pub fn text(&self) -> String {
        let mut text = self.op.clone();
        for (key, value) in &self.args {
            match (key.as_str(), value.as_str()) {
                ("sweep", _) => text.push_str(" sweep"),
                ("user_struct", "read_only_page") => text.push_str(" ro"),
                _ => text.push_str(&format!(" {key}={value}")),
            }
        }
        if !self.answer.out.is_empty() {
            let names: Vec<&str> = self.answer.out.iter().map(|(n, _)| n.as_str()).collect();
            text.push_str(&format!(" -> {}", names.join(" ")));
        }
        text
    }

    /// Whether the step is made again and again with the n-th point that can fail failing.
    pub fn sweeps(&self) -> bool {
        self.flag("sweep")
    }

    /// An argument.
    pub(super) fn arg(&self, key: &str) -> Option<&str> {
        self.args.iter().find(|(k, _)| k == key).map(|(_, v)| v.as_str())
    }

    /// An option without a value of its own.
    pub(super) fn flag(&self, key: &str) -> bool {
        self.arg(key).is_some_and(|v| !matches!(v, "0" | "false" | ""))
    }
}
