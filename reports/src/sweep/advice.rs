//! One sentence per question.

use super::{Found, Study};
use crate::values::grouped;

/// How an answer is put into a sentence.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Advice {
    /// From which value of x on nothing is gained: what these are, and their unit.
    Enough(&'static str, &'static str),
    /// One per ioctl, batches, own queue.
    Guest,
    /// The batch's gain for each amount of work.
    Work,
    /// Where the shared queue peaks, and what a queue per CPU gives.
    Cpus,
    /// MSI, CONS, SEV.
    Completion,
    /// Cost of many commands.
    Span,
    /// The best point.
    Best,
}

/// "Buys less than 5 %" is where a curve counts as flat.
const FLAT_PERCENT: u64 = 5;

/// The sentence.
pub(super) fn sentence(advice: Advice, study: &Study, found: &[Vec<Found>]) -> String {
    let sentence = match advice {
        Advice::Enough(things, unit) => enough(things, unit, study, found),
        Advice::Guest => guest(found),
        Advice::Work => work(study, found),
        Advice::Cpus => cpus(found),
        Advice::Completion => completion(found),
        Advice::Span => span(found),
        Advice::Best => best(found),
    };
    sentence.unwrap_or_else(|| "There are too few points for a sentence.".into())
}

/// Least x from which on the line stays within 5 % of its best.
fn flat_from(study: &Study, line: &[Found]) -> Option<u64> {
    let best = line.iter().map(|f| f.rate.median).max()?;
    let good = |f: &&Found| f.rate.median * 100 >= best * (100 - FLAT_PERCENT);
    let tail = line.iter().rev().take_while(good).last();
    tail.map(|f| study.axis.of(&f.point))
}

fn enough(things: &str, unit: &str, study: &Study, found: &[Vec<Found>]) -> Option<String> {
    let mut parts = Vec::new();
    for (series, line) in study.series.iter().zip(found) {
        // The end of a falling line is no recommendation.
        let from = match flat_from(study, line) {
            Some(x) => format!("{} {unit}", grouped(x)),
            None => "(none: it is best below the largest)".into(),
        };
        parts.push(format!("{from} with {}", series.label));
    }
    (!parts.is_empty()).then(|| {
        let list = parts.join(", ");
        format!("{things} beyond this buy less than {FLAT_PERCENT} % on this profile: {list}.")
    })
}

/// How much less `b` is than `a`, in percent.
fn less(a: u64, b: u64) -> u64 {
    100 - (b * 100 / a.max(1)).min(100)
}

/// `a / b` with two decimals, rounded; with one from 10 on.
fn times(a: u64, b: u64) -> String {
    let b = b.max(1);
    let n = (a * 100 + b / 2) / b;
    match n {
        0..1_000 => format!("{}.{:02}", n / 100, n % 100),
        _ => format!("{}.{}", n / 100, n / 10 % 10),
    }
}

fn guest(found: &[Vec<Found>]) -> Option<String> {
    let [one, batched, own] = found else { return None };
    let at = |line: &[Found], n| line.iter().find(|f| f.point.commands == n).map(|f| f.p50);
    let first = (at(one, 1)?, at(own, 1)?);
    let last = (one.last()?.p50, batched.last()?.p50, own.last()?.p50);
    Some(format!(
        "For a single TLBI a batch changes nothing and a VCMDQ of the guest's own saves {} % of the \
         time; for a burst of {} TLBIs batches of 63 save {} %, the VCMDQ {} %.",
        less(first.0, first.1),
        one.last()?.point.commands,
        less(last.0, last.1),
        less(last.0, last.2)
    ))
}

fn work(study: &Study, found: &[Vec<Found>]) -> Option<String> {
    let mut parts = Vec::new();
    for (series, line) in study.series.iter().zip(found) {
        let (one, most) = (line.first()?.rate.median, line.last()?.rate.median);
        parts.push(format!("x {} ({})", times(most, one), series.label));
    }
    Some(format!(
        "From one command per ioctl to 63, the rate of invalidations changes by {}: a curve that \
         shows 10 x measures the bare queue, not what a load gains that does something between its \
         invalidations.",
        parts.join(", ")
    ))
}

fn cpus(found: &[Vec<Found>]) -> Option<String> {
    let (shared, own) = (found.first()?, found.last()?);
    let peak = shared.iter().max_by_key(|f| f.rate.median)?;
    let twice = shared
        .iter()
        .zip(own)
        .find(|(s, o)| o.rate.median >= 2 * s.rate.median)
        .map(|(s, _)| s.point.cpus);
    let last = (shared.last()?, own.last()?);
    let twice = match twice {
        // What else real queues share is not published.
        Some(n) => format!(
            "a queue per CPU is twice as fast from {n} CPUs on, at best: in the model the queues \
             share the start of TLBIs and nothing else"
        ),
        None => "a queue per CPU is nowhere twice as fast".into(),
    };
    Some(format!(
        "The cmpxchg loop peaks at {} CPUs and has {} % of that at {}; {twice}.",
        peak.point.cpus,
        last.0.rate.median * 100 / peak.rate.median.max(1),
        last.0.point.cpus
    ))
}

fn completion(found: &[Vec<Found>]) -> Option<String> {
    let [msi, cons, sev] = found else { return None };
    let (m, c, s) = (msi.first()?, cons.first()?, sev.first()?);
    let last = [msi.last()?, cons.last()?, sev.last()?];
    let rates = last.map(|f| f.rate.median);
    let (least, most) = (rates.iter().min().copied()?, rates.iter().max().copied()?);
    Some(format!(
        "On one CPU a call takes {} ns with the MSI, {} ns when CONS is polled, {} ns with SEV; \
         with {} CPUs the best of the three is x {} as fast as the worst, and SEV spends {} % less \
         CPU time than the MSI.",
        m.p50 / 1_000,
        c.p50 / 1_000,
        s.p50 / 1_000,
        last[0].point.cpus,
        times(most, least),
        less(last[0].cpu, last[2].cpu)
    ))
}

fn span(found: &[Vec<Found>]) -> Option<String> {
    let line = found.first()?;
    let (first, last) = (line.first()?, line.last()?);
    Some(format!(
        "Alone, an invalidation of {} commands takes {} us, x {} of a single one: RIL, or the flush \
         of a whole ASID that Linux takes from 512 commands on (d5afb4b47e13), costs as much as one.",
        last.point.commands,
        last.p50 / 1_000_000,
        times(last.p50, first.p50)
    ))
}

fn best(found: &[Vec<Found>]) -> Option<String> {
    let all = || found.iter().flatten();
    let best = all().max_by_key(|f| f.commands)?;
    let quick = all().min_by_key(|f| f.p99)?;
    let text = |f: &Found| {
        let p = &f.point;
        format!(
            "{}, {}, {} CPUs, {} per list, {} TLBIs, ring of {}, {} ns of work",
            p.queue.name,
            p.completion.name(),
            p.cpus,
            p.batch,
            p.commands,
            p.ring,
            p.work_ns
        )
    };
    Some(format!(
        "Most TLBIs per second ({}): {}. Least p99 ({} ns): {}.",
        grouped(best.commands),
        text(best),
        quick.p99 / 1_000,
        text(quick)
    ))
}
