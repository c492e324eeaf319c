//! Which texts of a verdict can be printed at all.
//!
//! A verdict that fails names its splat. A text that nothing prints would make the verdict wrong
//! for ever, or, worse, a slip in it would be found only by the failing run: so the text is
//! checked against the words that the model has.

use crate::error::nearest;
use std::collections::BTreeMap;
use uapi::splat::{Kind, INVARIANTS};

/// The least that tells one splat from another.
const LENGTH_MIN: usize = 6;

/// Whether some splat contains this text; otherwise, what would be right.
pub(crate) fn can_be_printed(text: &str) -> Result<(), String> {
    if text.chars().count() < LENGTH_MIN {
        return Err(format!(
            "the text is too short to tell one splat from another; give at least {LENGTH_MIN} \
             characters of it"
        ));
    }
    let kinds = Kind::ALL.iter().map(|k| k.words()).filter(|w| !w.is_empty());
    if kinds.clone().any(|words| within(text, words)) {
        return Ok(());
    }
    if INVARIANTS.iter().any(|template| matches(text, template)) {
        return Ok(());
    }
    let help = match nearest(text, kinds.chain(INVARIANTS.iter().copied())) {
        Some(words) => format!("did you mean `{words}`?"),
        None => "a splat has the kernel's words, for example `refcount_t: underflow; \
                 use-after-free.`, `BUG: KASAN: slab-use-after-free in iommufd_put_object`, \
                 `WARNING: at iommufd_device_unbind`, `INFO: task hung in`; all of them stand in \
                 model/uapi/src/splat.rs"
            .to_string(),
    };
    Err(help)
}

/// Whether a question can start behind a splat with this text; otherwise, what would be right.
pub(crate) fn can_be_given(text: &str) -> Result<(), String> {
    can_be_printed(text)?;
    let goes_on = |k: &&Kind| k.goes_on() && within(text, k.words());
    if Kind::ALL.iter().any(|k| goes_on(&k)) {
        return Ok(());
    }
    Err("only a splat after which the kernel goes on: a WARNING or one of refcount_t's".to_string())
}

/// Whether `text` is a piece of a message that starts with `words` and goes on with a function
/// and a detail: within the words, or the end of the words (or all of them) and what follows.
fn within(text: &str, words: &str) -> bool {
    if words.contains(text) {
        return true;
    }
    words.char_indices().any(|(i, _)| {
        let tail = &words[i..];
        tail.len() >= LENGTH_MIN
            && text.strip_prefix(tail).is_some_and(|rest| {
                // Behind the words stands ` function`, ` (detail)` or ` detail`.
                rest.strip_prefix(' ').is_some_and(|r| !r.trim().is_empty())
                    || rest.trim().is_empty()
            })
    })
}

/// Whether `text` is a piece of an invariant's text, in which each `{}` stands for one word.
///
/// Walks through the text with the set of places in the template that it can have reached; for
/// each, the most characters of the template itself that were used on the way.
fn matches(text: &str, template: &str) -> bool {
    let mut places: Vec<Option<char>> = Vec::new();
    for (n, literal) in template.split("{}").enumerate() {
        if n > 0 {
            places.push(None);
        }
        places.extend(literal.chars().map(Some));
    }
    let mut reached: BTreeMap<usize, usize> = (0..places.len()).map(|p| (p, 0)).collect();
    for c in text.chars() {
        let mut next: BTreeMap<usize, usize> = BTreeMap::new();
        let mut go = |place: usize, used: usize| {
            let best = next.entry(place).or_default();
            *best = used.max(*best);
        };
        for (place, used) in reached {
            match places.get(place) {
                Some(Some(literal)) if *literal == c => go(place + 1, used + 1),
                Some(None) if c != ' ' => {
                    go(place, used);
                    go(place + 1, used);
                }
                _ => {}
            }
        }
        reached = next;
    }
    reached.values().any(|used| *used >= LENGTH_MIN)
}

#[cfg(test)]
mod tests {
    use super::can_be_printed;

    #[test]
    fn pieces_of_what_the_model_prints_are_accepted() {
        for text in [
            "refcount_t: underflow; use-after-free.",
            "refcount_t: underflow",
            "BUG: KASAN: slab-use-after-free in iommufd_put_object",
            "slab-use-after-free in iommufd_put_object (viommu#3)",
            "WARNING: at iommufd_device_unbind",
            "INFO: task hung in",
            "kmemleak: unreferenced object device#2",
            "viommu->vdevs[0x99] lost a live vDEVICE",
            "lost a live vDEVICE",
            "invalidation reached pdev0 after its DMA ownership was released",
            "viommu#3->obj.users is 2, its ledger says 1",
            "its ledger says 1",
            "unexpected answer: b = IOMMU_VDEVICE_ALLOC",
        ] {
            assert_eq!(can_be_printed(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn what_nothing_prints_is_refused() {
        for text in [
            "",
            "bug",
            "bad refcount",
            "refcount_t: underflow; use after free",
            "BUG: KASAN: slab-use-after-freeX",
            "viommu->vdevs[0x99] has lost a live vDEVICE",
            "iommufd_put_object",
            "invalidation reached the pdev after its DMA ownership was released",
        ] {
            assert!(can_be_printed(text).is_err(), "{text}");
        }
    }
}
