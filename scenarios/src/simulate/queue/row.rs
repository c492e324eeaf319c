//! What the text of a row can run, asked of the model.

use races::simulate::STEPS_MAX;
use std::collections::BTreeSet;
use uapi::errno::Ret;
use uapi::outcome::Outcome;
use uapi::pick::{FirstEnabled, ModelError, RevisionInfo, Subject};
use uapi::program::Limits;
use uapi::queue::{Completion, Fault, Invalidate, Queue, QueueKind, Request, Secondary, Vsmmu};

/// A row of the command queue, and what can be asked of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct QueueRow {
    name: String,
    can: BTreeSet<Can>,
    secondary: Option<QueueKind>,
}

/// Something that not every text does.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Can {
    /// Suspend and resume.
    Suspend,
    /// Be cut before the wait of a list.
    BeCut,
    /// Insert lists: one that inserts its commands one by one cannot end each list with a CMD_SYNC.
    InsertLists,
    /// Live with erratum T264-SMMU-3.
    Repeat,
    /// Tell a guest the truth about an array that does not convert.
    CountHandled,
}

impl QueueRow {
    /// Asks a row, by its name or an alias.
    ///
    /// A twin has one mistake, which is to be found, and not to be mistaken for something that the row
    /// does not have: where the answer depends on more than whether the program is taken, the text is
    /// asked that it is a twin of.
    ///
    /// # Errors
    ///
    /// There is no such row.
    pub fn ask(name: &str) -> Result<QueueRow, ModelError> {
        let rows = model_native::queue_revisions();
        let row = row_of(&rows, name)?;
        let text = row.twin_of.unwrap_or(row.name);
        let mut can = BTreeSet::new();
        let all = [
            (Can::Suspend, takes(row.name, suspended())?),
            (Can::BeCut, takes(row.name, published())?),
            (Can::InsertLists, inserts_lists(text)?),
            (Can::Repeat, passes(text, Queue { repeat_tlbi_cfgi: true, ..one_list(TLBI) })?),
            (Can::CountHandled, passes(text, strange_array())?),
        ];
        can.extend(all.into_iter().filter(|(_, answer)| *answer).map(|(can, _)| can));
        Ok(QueueRow { name: row.name.to_owned(), can, secondary: secondary(text)? })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether its text does this.
    pub fn can(&self, what: Can) -> bool {
        self.can.contains(&what)
    }

    /// What it uses beside the main queue, if anything.
    pub fn secondary(&self) -> Option<QueueKind> {
        self.secondary
    }

    /// A program on it.
    pub fn subject(&self, program: Queue) -> Subject {
        Subject::Queue { program, revision: self.name.clone() }
    }
}

fn row_of<'a>(rows: &'a [RevisionInfo], name: &str) -> Result<&'a RevisionInfo, ModelError> {
    let row = rows.iter().find(|row| row.name == name || row.aliases.contains(&name));
    row.ok_or_else(|| ModelError::UnknownRevision(name.to_owned()))
}

/// TLBI_NH_VA.
const TLBI: [u64; 2] = [0x12, 0x1000];
/// CFGI_CD, which no guest's VCMDQ executes.
const CFGI_CD: [u64; 2] = [0x05, 1];

/// What a program does in the sequential order; nothing, if the row does not take it.
pub(super) fn sequential(row: &str, program: Queue) -> Result<Option<Outcome>, ModelError> {
    let subject = Subject::Queue { program, revision: row.to_owned() };
    let limits = Limits { steps_max: STEPS_MAX, ..Limits::default() };
    match model_native::run(&subject, &mut FirstEnabled, &limits) {
        Err(ModelError::Malformed(_)) => Ok(None),
        outcome => outcome,
    }
}

fn takes(row: &str, program: Queue) -> Result<bool, ModelError> {
    Ok(sequential(row, program)?.is_some())
}

fn passes(row: &str, program: Queue) -> Result<bool, ModelError> {
    Ok(sequential(row, program)?.is_some_and(|outcome| outcome.splats.is_empty()))
}

fn issue(commands: &[[u64; 2]], sync: bool) -> Request {
    Request::Issue { commands: commands.to_vec(), sync }
}

/// On a ring that has room for every text.
fn program(requests: Vec<Request>) -> Queue {
    Queue { log2size: 4, word: 4, cpus: vec![requests], ..Queue::default() }
}

fn one_list(command: [u64; 2]) -> Queue {
    program(vec![issue(&[command], true)])
}

fn suspended() -> Queue {
    program(vec![Request::Suspend, Request::Resume])
}

fn published() -> Queue {
    Queue { published: Some(0), ..one_list(TLBI) }
}

/// A list of two is then more than two lists of one.
fn inserts_lists(text: &str) -> Result<bool, ModelError> {
    let steps = |requests| -> Result<_, ModelError> {
        Ok(sequential(text, program(requests))?.map(|outcome| outcome.steps))
    };
    let one_by_one = vec![issue(&[TLBI], false), issue(&[TLBI], false)];
    Ok(steps(vec![issue(&[TLBI, TLBI], false)])? != steps(one_by_one)?)
}

/// A guest's command that names no vDEVICE, behind one that is good.
fn strange_array() -> Queue {
    let array = Invalidate::of(vec![TLBI, CFGI_CD]);
    let vsmmu = Some(Vsmmu { vmid: 7, vdevs: vec![(0x99, 0x40)], without: Vec::new() });
    Queue { vsmmu, ..program(vec![Request::Invalidate(array)]) }
}

/// The main queue is dead, and a list comes back all the same: it went to another one. A VCMDQ is what the
/// text takes it for if it keeps from it what it cannot execute.
fn secondary(text: &str) -> Result<Option<QueueKind>, ModelError> {
    let beside = |kind, program: Queue| Queue {
        secondary: Some(Secondary { kind, queues: 1 }),
        completion: Completion::Cons,
        ..program
    };
    let dead = Queue { faults: vec![Fault::Dead(0)], ..one_list(TLBI) };
    let outcome = sequential(text, beside(QueueKind::Ecmdq, dead))?;
    let came_back = outcome.is_some_and(|o| o.results.iter().all(|r| r.ret == Some(Ret::Ok)));
    if !came_back {
        return Ok(None);
    }
    let batch = program(vec![Request::Batch { commands: vec![CFGI_CD], force_sync: false }]);
    let is_guest = passes(text, beside(QueueKind::GuestVcmdq, batch))?;
    Ok(Some(if is_guest { QueueKind::GuestVcmdq } else { QueueKind::Ecmdq }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_what_it_can_run() {
        let ask = |name| QueueRow::ask(name).expect("a row");
        let latest = ask("cmdq_latest");
        assert_eq!(latest.name(), "cmdq_2d4f03f6610d");
        assert!(
            latest.can(Can::BeCut) && latest.can(Can::CountHandled) && !latest.can(Can::Repeat)
        );
        assert_eq!(latest.secondary(), None);
        assert!(!ask("cmdq_df180b1a4cc5").can(Can::CountHandled));
        for name in ["cmdq_prod_stop", "cmdq_prod_stop_without_restore"] {
            assert!(ask(name).can(Can::Suspend) && !latest.can(Can::Suspend));
        }
        for name in ["cmdq_06b15ddcfbc0", "cmdq_repeat_before_sync"] {
            assert!(ask(name).can(Can::Repeat) && !ask(name).can(Can::BeCut));
        }
        let all = model_native::queue_revisions();
        for row in &all {
            let asked = ask(row.name);
            let is_old = [Some(row.name), row.twin_of].contains(&Some("cmdq_linux_5_3"));
            assert_eq!(asked.can(Can::InsertLists), !is_old, "{}", row.name);
            let text = row.twin_of.unwrap_or(row.name);
            let kind = match text {
                "cmdq_ecmdq" => Some(QueueKind::Ecmdq),
                "cmdq_tegra241_cmdqv" => Some(QueueKind::GuestVcmdq),
                _ => None,
            };
            assert_eq!(asked.secondary(), kind, "{}", row.name);
        }
        assert!(QueueRow::ask("linux_7_3").is_err());
    }
}
