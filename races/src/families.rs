//! What one question stands for: the same program with and without injected failures, with and
//! without recycled addresses.
//!
//! `fail_nth = any` of a step means the program without a failure, and once for every n for which
//! the n-th fault-capable primitive of the step is reached. Several such steps are varied one at
//! a time: their product would be large, and a second failure in one execution is another
//! question.

use crate::{FailAt, ModelError, Recycle, Subject};
use uapi::outcome::{Outcome, Place};
use uapi::program::{FailNth, Program, Step};

/// No step of the model has more fault-capable primitives than this.
pub(crate) const FAIL_NTH_MAX: u32 = 200;

/// What the driver of the families has to know about the executions of one member.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    /// A freed pointer was compared.
    pub stale_compare: bool,
    /// The injected failure was reached.
    pub injected: bool,
    /// Nothing more is to be run: the caller was interrupted or is out of budget.
    pub over: bool,
}

impl Seen {
    /// Looks at one execution of a member.
    pub fn look(&mut self, outcome: &Outcome, fail: &[FailAt]) {
        self.stale_compare |= outcome.stale_compare;
        if let Some(f) = fail.first().filter(|_| !self.injected) {
            self.injected = outcome
                .results
                .iter()
                .any(|r| r.injected && r.place == f.place && r.index == f.index);
        }
    }
}

/// Every step of a program, with its place.
pub(crate) fn steps(program: &Program) -> impl Iterator<Item = (Place, u32, &Step)> {
    let of = |place| program.list(place).iter().zip(0..).map(move |(step, i)| (place, i, step));
    program.places().flat_map(of)
}

/// The steps whose failure is to be varied.
fn varied(subject: &Subject) -> Vec<(Place, u32)> {
    match subject {
        Subject::Litmus(_) | Subject::Queue { .. } => Vec::new(),
        Subject::Program { program, .. } => steps(program)
            .filter(|(_, _, s)| s.fail_nth == FailNth::Any)
            .map(|(place, index, _)| (place, index))
            .collect(),
    }
}

/// The subject with these failures, and without any other `fail_nth = any`.
///
/// # Errors
///
/// A failure names a step that the program does not have.
pub(crate) fn inject(subject: &Subject, fail: &[FailAt]) -> Result<Subject, String> {
    let mut subject = subject.clone();
    let places = varied(&subject);
    let Subject::Program { program, .. } = &mut subject else {
        return match fail.first() {
            None => Ok(subject),
            Some(_) => Err("this program has no step to inject a failure into".to_string()),
        };
    };
    for (place, index) in places {
        if let Some(step) = program.list_mut(place).get_mut(index as usize) {
            step.fail_nth = FailNth::None;
        }
    }
    for f in fail {
        let step = program
            .list_mut(f.place)
            .get_mut(f.index as usize)
            .ok_or_else(|| format!("it has no step {} in {:?}", f.index, f.place))?;
        step.fail_nth = FailNth::Nth(f.nth);
    }
    Ok(subject)
}

/// Runs one member: the subject, its failure, and whether addresses are recycled.
pub(crate) type Run<'a> = &'a mut dyn FnMut(&Subject, &[FailAt], bool) -> Result<Seen, ModelError>;

/// Runs every member. `restart` forgets what was counted: the family is run again from the
/// start, with addresses recycled. Gives what to say about it in the note.
pub(crate) fn each(
    subject: &Subject,
    recycle: Recycle,
    run: Run<'_>,
    restart: &mut dyn FnMut(),
) -> Result<String, ModelError> {
    let mut note = String::new();
    let seen = each_failure(subject, recycle == Recycle::Always, run, &mut note)?;
    match recycle {
        Recycle::Auto if seen.stale_compare && !seen.over => {
            restart();
            note.clear();
            each_failure(subject, true, run, &mut note)?;
            note.push_str(", freed addresses recycled");
        }
        Recycle::Always => note.push_str(", freed addresses recycled"),
        Recycle::Auto | Recycle::Never => {}
    }
    Ok(note)
}

fn each_failure(
    subject: &Subject,
    recycle: bool,
    run: Run<'_>,
    note: &mut String,
) -> Result<Seen, ModelError> {
    let resolve = |fail: &[FailAt]| inject(subject, fail).map_err(ModelError::Malformed);
    let mut all = run(&resolve(&[])?, &[], recycle)?;
    let varied = varied(subject);
    for &(place, index) in &varied {
        for nth in 1..=FAIL_NTH_MAX {
            if all.over {
                return Ok(all);
            }
            let fail = [FailAt { place, index, nth }];
            let seen = run(&resolve(&fail)?, &fail, recycle)?;
            all.stale_compare |= seen.stale_compare;
            all.over |= seen.over;
            if !seen.injected {
                break;
            }
            if nth == FAIL_NTH_MAX {
                note.push_str(&format!(", fail_nth <= {FAIL_NTH_MAX}"));
            }
        }
    }
    match varied.len() {
        0 => {}
        1 => note.push_str(", every fail_nth"),
        n => note.push_str(&format!(", every fail_nth of {n} steps, one at a time")),
    }
    Ok(all)
}
