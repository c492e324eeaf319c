//! What the answers to one question are worth.
//!
//! The deciding verdict is dpor's, held against the one in the file. Samplers, and a loom run
//! that is not exhausted, are evidence: they count only by finding what the decision excludes,
//! or by missing the canary.

use crate::check::{Answer, Question};
use crate::values::grouped;
use races::Finding;
use scenarios::Explorer;
use uapi::outcome::{Outcome, Place};
use uapi::verdict::{Expected, Verdict};

/// The worth of the answers to one question.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Judgement {
    /// The verdict is the recorded one. The text says what else is worth knowing.
    AsRecorded(Option<String>),
    /// The verdict is another one, or an explorer contradicts it, or could not run.
    Differs(String),
    /// The deciding explorer ran out of its budget.
    Undecided(String),
    /// The deciding explorer was left out, and nothing speaks against the recorded verdict.
    Evidence,
    /// The user interrupted the run before there was a verdict.
    Interrupted,
}

impl Judgement {
    /// The word in machine-readable files.
    pub fn word(&self) -> &'static str {
        match self {
            Judgement::AsRecorded(_) => "as_recorded",
            Judgement::Differs(_) => "differs",
            Judgement::Undecided(_) => "undecided",
            Judgement::Evidence => "evidence",
            Judgement::Interrupted => "interrupted",
        }
    }

    /// The reason, where there is one.
    pub fn reason(&self) -> Option<&str> {
        match self {
            Judgement::AsRecorded(reason) => reason.as_deref(),
            Judgement::Differs(reason) | Judgement::Undecided(reason) => Some(reason),
            Judgement::Evidence | Judgement::Interrupted => None,
        }
    }
}

/// A recorded verdict as the file spells it.
pub fn spelt(expected: &Expected) -> String {
    match expected {
        Expected::Never => "Never".to_owned(),
        Expected::Sometimes(text) => format!("sometimes \"{text}\""),
        Expected::Always(text) => format!("always \"{text}\""),
    }
}

/// Holds the answers against the recorded verdict.
pub fn judge(question: &Question, answers: &[Answer], interrupted: bool) -> Judgement {
    let mut judgement = Judgement::Evidence;
    for answer in answers {
        let finding = match &answer.result {
            Ok(finding) => finding,
            Err(e) => return Judgement::Differs(format!("{}: {e}", answer.explorer.name())),
        };
        let worth = match answer.explorer {
            Explorer::Dpor => match decision(&question.expected, finding) {
                Judgement::AsRecorded(note) => match beside(question, finding) {
                    Some(reason) => Judgement::Differs(reason),
                    None => Judgement::AsRecorded(note),
                },
                worth => worth,
            },
            Explorer::Shuttle | Explorer::Loom => evidence(question, answer, finding),
        };
        match worth {
            // A contradiction weighs more than a decision, and the first one more than others.
            Judgement::Differs(_) => return worth,
            Judgement::Evidence => {}
            _ => judgement = worth,
        }
    }
    if interrupted && !matches!(judgement, Judgement::AsRecorded(_)) {
        return Judgement::Interrupted;
    }
    judgement
}

/// What the deciding explorer's answer is worth.
fn decision(expected: &Expected, finding: &Finding) -> Judgement {
    let Finding { verdict, failed, executions, .. } = finding;
    if *executions == 0 && !matches!(verdict, Verdict::NotExhausted) {
        return Judgement::Differs(format!(
            "{verdict} with 0 executions: nothing ran, so nothing was shown"
        ));
    }
    let found = |splat: &str| {
        format!("{} of {} executions print: {splat}", grouped(*failed), grouped(*executions))
    };
    match (expected, verdict) {
        (_, Verdict::NotExhausted | Verdict::NoneSeen) => Judgement::Undecided(format!(
            "dpor stopped after {} executions without a verdict ({}); {}",
            grouped(*executions),
            finding.note,
            remedy(&finding.note)
        )),
        (Expected::Never, Verdict::Never) => Judgement::AsRecorded(None),
        (Expected::Never, Verdict::Sometimes { splat } | Verdict::Always { splat }) => {
            Judgement::Differs(format!("recorded Never, but {}", found(splat)))
        }
        (Expected::Sometimes(text) | Expected::Always(text), Verdict::Never) => {
            Judgement::Differs(format!(
                "recorded {}, but none of {} executions prints a splat: {text}",
                spelt(expected),
                grouped(*executions)
            ))
        }
        // All executions that were run failed, but they were not all there are.
        (_, Verdict::Always { splat }) if !finding.exhausted => Judgement::Undecided(format!(
            "dpor stopped ({}) while {}: Sometimes or Always is open; {}",
            finding.note,
            found(splat),
            remedy(&finding.note)
        )),
        (Expected::Sometimes(text), Verdict::Sometimes { splat })
        | (Expected::Always(text), Verdict::Always { splat }) => named(text, splat, finding),
        (Expected::Always(_), Verdict::Sometimes { splat })
        | (Expected::Sometimes(_), Verdict::Always { splat }) => Judgement::Differs(format!(
            "recorded {}, but {verdict}: {}",
            spelt(expected),
            found(splat)
        )),
    }
}

/// What a user can do about each bound, by the word that a note has for it.
const REMEDIES: &[(&str, &str)] = &[
    ("executions <=", "raise --executions, or `executions` of the scenario's [bounds]"),
    ("time <=", "raise --budget"),
    ("preemptions <=", "leave `preemptions` out of the scenario's [bounds]"),
    ("steps <=", "raise `steps` of the scenario's [bounds]"),
];

/// What to do about the bounds of a note.
fn remedy(note: &str) -> String {
    let hit = REMEDIES.iter().filter(|(bound, _)| note.contains(bound));
    let remedies: Vec<&str> = hit.map(|(_, remedy)| *remedy).collect();
    match remedies.is_empty() {
        true => "ask for fewer CPUs or steps".to_owned(),
        false => format!("{}, or ask for fewer CPUs or steps", remedies.join(", ")),
    }
}

/// What the deciding explorer found beside splats, if it is not what the file records.
fn beside(question: &Question, finding: &Finding) -> Option<String> {
    if !finding.exhausted {
        return None;
    }
    let (revision, recorded) = (&question.revision, question.beside());
    let late = (finding.late_wakeups > 0, recorded.late_wakeup);
    let unexplained = (finding.unexplained.is_some(), recorded.unexplained);
    match (late, unexplained) {
        ((true, false), _) => Some(format!(
            "in {} of {} executions a timer fires although its condition already held; if that is \
             meant, record it: [findings] late_wakeup = [\"{revision}\"]",
            grouped(finding.late_wakeups),
            grouped(finding.executions)
        )),
        ((false, true), _) => {
            Some("a late wake-up is recorded under [findings], but there is none".to_owned())
        }
        (_, (true, false)) => finding.unexplained.as_ref().map(|odd| {
            format!(
                "no order of the calls explains these answers: {}; {}; if that is meant, record \
                 it: [findings] unexplained = [\"{revision}\"]",
                answers(question, &odd.outcome),
                question.token(&odd.schedule).command()
            )
        }),
        (_, (false, true)) => Some(
            "answers that no order of the calls explains are recorded under [findings], but there \
             are none"
                .to_owned(),
        ),
        _ => None,
    }
}

/// `CPU 0: IOMMU_DESTROY(a) -> 0 | CPU 1: …`
pub fn answers(question: &Question, outcome: &Outcome) -> String {
    let spelled = question.spelled();
    let of = |place: Place| {
        let head = match place {
            Place::Cpu(cpu) => spelled.name(usize::from(cpu)),
            _ => "finally".to_owned(),
        };
        let steps = spelled.list(place);
        let results = outcome.results.iter().filter(|r| r.place == place);
        let said: Vec<String> = results
            .filter_map(|r| {
                let text = steps.get(r.index as usize)?;
                let ret = r.ret.map_or("not made".to_owned(), |ret| ret.to_string());
                let entries = r.entry_num.map_or(String::new(), |n| format!(" (entry_num {n})"));
                Some(format!("{text} -> {ret}{entries}"))
            })
            .collect();
        (!said.is_empty()).then(|| format!("{head}: {}", said.join("; ")))
    };
    let cpus = (0..spelled.cpus.len()).map(|cpu| Place::Cpu(cpu as uapi::step::Cpu));
    let compared = cpus.chain(std::iter::once(Place::Finally));
    compared.filter_map(of).collect::<Vec<String>>().join(" | ")
}

/// A failure counts only with the splat that the file names.
fn named(text: &str, splat: &str, finding: &Finding) -> Judgement {
    if splat.contains(text) {
        return Judgement::AsRecorded(None);
    }
    let other = finding.splats.iter().find(|(counted, _)| counted.contains(text));
    match other {
        Some((counted, times)) => Judgement::AsRecorded(Some(format!(
            "{} executions print \"{counted}\"; the shortest failure prints \"{splat}\"",
            grouped(*times)
        ))),
        None => {
            let printed: Vec<String> =
                finding.splats.iter().map(|(s, n)| format!("{} x \"{s}\"", grouped(*n))).collect();
            Judgement::Differs(format!(
                "recorded \"{text}\", which no failing execution prints first; they print {}",
                printed.join(", ")
            ))
        }
    }
}

/// What a sampler's answer, or loom's, is worth beside the decision.
fn evidence(question: &Question, answer: &Answer, finding: &Finding) -> Judgement {
    let name = answer.explorer.name();
    let never = question.expected == Expected::Never;
    if let (true, Some(splat)) = (never, finding.verdict.splat()) {
        return Judgement::Differs(format!("recorded Never, but {name} found: {splat}"));
    }
    if question.scenario.canary && !never {
        let missed: Vec<&str> = match answer.samplers.is_empty() {
            true if finding.failed == 0 => vec![name],
            _ => answer.samplers.iter().filter(|(_, n)| *n == 0).map(|(s, _)| s.as_str()).collect(),
        };
        if !missed.is_empty() {
            return Judgement::Differs(format!(
                "{} missed the canary, a bug that every explorer must find: what it does not \
                 find elsewhere means nothing",
                missed.join(", ")
            ));
        }
    }
    Judgement::Evidence
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn finding(verdict: Verdict, failed: u64, executions: u64, exhausted: bool) -> Finding {
        let splats = verdict.splat().map(|s| (s.to_owned(), failed)).into_iter();
        Finding {
            splats: splats.collect::<BTreeMap<_, _>>(),
            verdict,
            failed,
            executions,
            exhausted,
            note: "exhausted".to_owned(),
            failure: None,
            pruned: 0,
            estimate: None,
            steps_max_hit: false,
            late_wakeups: 0,
            lock_order: BTreeSet::new(),
            unexplained: None,
        }
    }

    fn sometimes(splat: &str) -> Verdict {
        Verdict::Sometimes { splat: splat.to_owned() }
    }

    #[test]
    fn never_needs_executions_and_exhaustion() {
        let never = &Expected::Never;
        assert_eq!(
            decision(never, &finding(Verdict::Never, 0, 24, true)),
            Judgement::AsRecorded(None)
        );
        assert!(matches!(
            decision(never, &finding(Verdict::Never, 0, 0, true)),
            Judgement::Differs(reason) if reason.contains("0 executions")
        ));
        assert!(matches!(
            decision(never, &finding(Verdict::NotExhausted, 0, 24, false)),
            Judgement::Undecided(_)
        ));
        assert!(matches!(
            decision(never, &finding(sometimes("a splat"), 1, 24, true)),
            Judgement::Differs(reason) if reason.contains("a splat")
        ));
    }

    #[test]
    fn sometimes_needs_its_own_splat() {
        let expected = &Expected::Sometimes("underflow".to_owned());
        let found = finding(sometimes("refcount_t: underflow; use-after-free."), 2, 9, true);
        assert_eq!(decision(expected, &found), Judgement::AsRecorded(None));

        let mut other = finding(sometimes("INFO: task hung in x"), 2, 9, true);
        assert!(matches!(decision(expected, &other), Judgement::Differs(_)));
        other.splats.insert("refcount_t: underflow; use-after-free.".to_owned(), 1);
        assert!(matches!(
            decision(expected, &other),
            Judgement::AsRecorded(Some(reason)) if reason.contains("task hung")
        ));
        assert!(matches!(
            decision(expected, &finding(Verdict::Never, 0, 9, true)),
            Judgement::Differs(_)
        ));
    }

    #[test]
    fn always_is_not_sometimes() {
        let all = finding(Verdict::Always { splat: "underflow".into() }, 9, 9, true);
        let some = finding(sometimes("underflow"), 3, 9, true);
        let (always, sometimes) =
            (Expected::Always("underflow".into()), Expected::Sometimes("underflow".into()));
        assert_eq!(decision(&always, &all), Judgement::AsRecorded(None));
        assert!(matches!(decision(&sometimes, &all), Judgement::Differs(_)));
        assert!(matches!(decision(&always, &some), Judgement::Differs(_)));
        let open = finding(Verdict::Always { splat: "underflow".into() }, 9, 9, false);
        assert!(matches!(decision(&sometimes, &open), Judgement::Undecided(_)));
    }
}
