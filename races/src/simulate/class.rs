//! What an execution shows, sorted: two executions of one class fail in the same way, whatever the
//! numbers of their objects.

use super::name_of;
use crate::Subject;
use std::collections::BTreeSet;
use uapi::errno::Ret;
use uapi::outcome::{Ending, Outcome, Place, StepResult};
use uapi::splat::{Kind, Splat};

/// A class: kind and function of a splat, or what else is wrong.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Class(String);

/// How the text of a class of answers begins.
const UNEXPLAINED: &str = "unexplained: ";

/// How the text of a class of an answer begins that a request may not give by itself.
const IMPOSSIBLE: &str = "impossible answer: ";

impl Class {
    /// Reads what [`Class::text`] wrote.
    pub fn from_text(text: &str) -> Class {
        Class(text.to_owned())
    }

    /// As it is printed and journalled.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// A wake-up that comes too late.
    pub fn late_wakeup() -> Class {
        Class("late wake-up".to_owned())
    }

    /// An answer that a request may not give, whatever the others do.
    pub fn impossible(answer: &str) -> Class {
        Class(format!("{IMPOSSIBLE}{answer}"))
    }

    /// Whether it is such an answer.
    pub fn is_impossible(&self) -> bool {
        self.0.starts_with(IMPOSSIBLE)
    }

    /// Whether it is about answers that only an order of the calls could explain.
    pub fn is_unexplained(&self) -> bool {
        self.0.starts_with(UNEXPLAINED)
    }

    /// Of a splat: its words and where it is printed. What is broken at the end of an execution has no
    /// function, and its detail says what it is.
    pub fn of(splat: &Splat) -> Class {
        let words = splat.kind.words();
        Class(match splat.kind {
            Kind::Invariant | Kind::Leak => plain(&splat.to_string()),
            _ if splat.function.is_empty() => words.to_owned(),
            _ if words.ends_with(" in") || words.ends_with(" at") => {
                format!("{words} {}", splat.function)
            }
            _ => format!("{words} in {}", splat.function),
        })
    }

    /// The first splat of an execution. A data race is the report of two accesses and changes nothing in
    /// what follows: the first splat behind it counts, too.
    pub(crate) fn of_splats(splats: &[Splat]) -> Vec<Class> {
        let is_race = |splat: &&Splat| splat.kind.is_race();
        let race = splats.first().filter(is_race);
        let other = splats.iter().find(|splat| !is_race(splat));
        race.into_iter().chain(other).map(Class::of).collect()
    }

    /// Everything that one execution shows, except for its answers.
    pub(crate) fn all_of(outcome: &Outcome) -> Vec<Class> {
        let mut classes = Class::of_splats(&outcome.splats);
        if outcome.ending == Ending::StepLimit {
            classes.push(Class("an execution does not end".to_owned()));
        }
        if outcome.late_wakeups > 0 {
            classes.push(Class::late_wakeup());
        }
        classes
    }

    /// Answers that no order of the calls explains, by the errors among them.
    pub(crate) fn unexplained(results: &[StepResult], subject: &Subject) -> Class {
        let mut errors = BTreeSet::new();
        for result in results.iter().filter(|r| matches!(r.place, Place::Cpu(_))) {
            if let (Some(name), Some(Ret::Err(errno))) = (name_of(subject, result), result.ret) {
                errors.insert(format!("{name} {errno}"));
            }
        }
        let errors: Vec<String> = errors.into_iter().collect();
        Class(format!(
            "{UNEXPLAINED}{}",
            match errors.is_empty() {
                true => "every call succeeds".to_owned(),
                false => errors.join(", "),
            }
        ))
    }

    /// Whether a smaller program that shows `other` still shows this.
    pub(crate) fn covers(&self, other: &Class) -> bool {
        // Which errors are part of what cannot be explained is found out by leaving calls out.
        self == other || (self.is_unexplained() && other.is_unexplained())
    }
}

/// Without the numbers of objects: `vdev_id#10->idev` is `vdev_id->idev`.
pub fn without_numbers(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '#' => while chars.next_if(char::is_ascii_digit).is_some() {},
            c => out.push(c),
        }
    }
    out
}

/// Without everything that differs from program to program: numbers of objects, keys, ids.
pub fn plain(text: &str) -> String {
    let text = without_keys(&without_numbers(text));
    let is_number = |word: &str| word.starts_with(|c: char| c.is_ascii_digit());
    let word = |word| if is_number(word) { "N" } else { word };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

/// Without the keys: `viommu->vdevs[0x99]` is `viommu->vdevs[]`.
fn without_keys(text: &str) -> String {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        out.push(c);
        if c == '[' {
            while chars.next_if(|c| *c != ']').is_some() {}
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_data_race_hides_nothing() {
        let splat = |kind| Splat { kind, function: "f".to_owned(), detail: String::new() };
        let of = |kinds: &[Kind]| {
            let splats: Vec<Splat> = kinds.iter().map(|kind| splat(*kind)).collect();
            Class::of_splats(&splats).iter().map(|c| c.text().to_owned()).collect::<Vec<_>>()
        };
        let (race, free) = ("BUG: KCSAN: data-race in f", "BUG: KASAN: slab-use-after-free in f");
        let (is_race, is_free) = (Kind::DataRace, Kind::KasanUseAfterFree);
        assert_eq!(of(&[is_race, is_race, is_free, Kind::Warn]), [race, free]);
        assert_eq!(of(&[is_free, is_race, Kind::Warn]), [free]);
        assert_eq!(of(&[is_race]), [race]);
        assert_eq!(of(&[]), [] as [&str; 0]);
    }

    #[test]
    fn a_class_is_kind_and_function_and_no_number() {
        let splat = |kind, function: &str, detail: &str| Splat {
            kind,
            function: function.to_owned(),
            detail: detail.to_owned(),
        };
        for (splat, text) in [
            (
                splat(Kind::KasanUseAfterFree, "iommufd_put_object", "vdevice#7->obj"),
                "BUG: KASAN: slab-use-after-free in iommufd_put_object",
            ),
            (
                splat(Kind::RefcountUnderflow, "f", "vdevice#7->obj.users"),
                "refcount_t: underflow; use-after-free. in f",
            ),
            (
                splat(Kind::Invariant, "", "viommu#3->vdevs[0x99] lost a live vDEVICE"),
                "viommu->vdevs[] lost a live vDEVICE",
            ),
            (
                splat(Kind::Invariant, "", "id 5 was given out again after a forced destroy"),
                "id N was given out again after a forced destroy",
            ),
            (splat(Kind::Leak, "", "vdevice#12"), "kmemleak: unreferenced object vdevice"),
        ] {
            assert_eq!(Class::of(&splat).text(), text);
        }
    }
}
