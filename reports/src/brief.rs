//! Which steps of a trace belong into a picture that goes into a mail.
//!
//! A path through an ioctl has a hundred steps, and most of them are nobody else's business: they
//! touch what no other CPU touches in this execution, or only read it. A picture keeps the steps
//! that meet another CPU, the allocations and frees, the errors, and everything that printed a
//! splat. Counter changes whose order cannot be told count as not meeting each other, as they do
//! for the explorer.

use std::collections::BTreeMap;
use uapi::errno::Ret;
use uapi::outcome::Outcome;
use uapi::splat::{Kind, Splat};
use uapi::step::{sleeper_of, Cpu};
use uapi::trace::{Trace, TraceStep, Val};

/// A place that steps can meet in: an allocation's field and, for an xarray, the index. A word of the
/// command queue is in no allocation.
type Location<'a> = (Option<u32>, &'a str, Option<u64>);

/// How a step uses a place.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Use {
    /// Takes or gives back a lock that protects it.
    Guards,
    /// Reads it.
    Reads,
    /// Changes a counter, above zero and without learning more than that.
    Counts,
    /// Changes it, or depends on its exact value.
    Changes,
}

/// Who uses a place and how.
#[derive(Default)]
struct Users {
    cpus: BTreeMap<Cpu, Use>,
}

impl Users {
    fn add(&mut self, cpu: Cpu, how: Use) {
        let strongest = self.cpus.entry(cpu).or_insert(how);
        *strongest = how.max(*strongest);
    }

    /// Whether two CPUs meet here.
    fn meet(&self) -> bool {
        let used = self.cpus.values().filter(|u| **u > Use::Guards).count();
        used > 1 && self.cpus.values().any(|u| *u == Use::Changes)
    }
}

/// Index behind the last step of the CPUs; what follows is what the testbed does at the end of
/// every execution (it unbinds and closes what is left).
pub fn end_of_cpus(trace: &Trace) -> usize {
    let last = trace.steps.iter().rposition(|s| s.scheduling_point);
    let first_behind = last.map_or(0, |l| l + 1);
    // Only giving back a lock is no scheduling point while the CPUs run.
    let unlocks = trace.steps[first_behind..]
        .iter()
        .take_while(|s| s.op.contains("unlock") || s.op.starts_with("up_"))
        .count();
    first_behind + unlocks
}

/// The splats that a step printed: from its first one up to the first one of a later step. What
/// is found when all is over (a leak, a broken invariant, a hung task) belongs to no step.
pub fn splats_of(outcome: &Outcome, step: usize) -> impl Iterator<Item = &Splat> {
    let steps = outcome.trace.as_ref().map_or(&[][..], |t| &t.steps);
    let first = steps.get(step).and_then(|s| s.splat);
    let next = steps.iter().skip(step + 1).find_map(|s| s.splat);
    let end = next.map_or(outcome.splats.len(), |n| n as usize);
    let range = first.map_or(0..0, |f| f as usize..end.max(f as usize));
    outcome.splats.get(range).unwrap_or_default().iter().filter(|s| !of_nobody(s))
}

/// The splats that belong to no step and were printed before this one printed its own. What a step
/// printed says when: without such a step behind them they are [`splats_at_the_end`].
pub fn splats_before(outcome: &Outcome, step: usize) -> impl Iterator<Item = &Splat> {
    let steps = outcome.trace.as_ref().map_or(&[][..], |t| &t.steps);
    let range = match steps.get(step).and_then(|s| s.splat) {
        Some(first) => {
            let earlier = steps[..step].iter().rev().find_map(|s| s.splat).unwrap_or(0);
            earlier as usize..(first.max(earlier)) as usize
        }
        None => 0..0,
    };
    outcome.splats.get(range).unwrap_or_default().iter().filter(|s| of_nobody(s))
}

/// The splats that belong to no step and were printed after all that belong to one.
pub fn splats_at_the_end(outcome: &Outcome) -> impl Iterator<Item = &Splat> {
    let steps = outcome.trace.as_ref().map_or(&[][..], |t| &t.steps);
    let last = steps.iter().rev().find_map(|s| s.splat).unwrap_or(0);
    let rest = outcome.splats.get(last as usize..).unwrap_or_default();
    rest.iter().filter(|s| of_nobody(s))
}

fn of_nobody(splat: &Splat) -> bool {
    splat.function.is_empty() || splat.kind == Kind::HungTask
}

/// For each step of the trace, whether a picture shows it.
pub fn shown(outcome: &Outcome) -> Vec<bool> {
    let Some(trace) = &outcome.trace else { return Vec::new() };
    let end = end_of_cpus(trace);
    // On one CPU nothing meets anything, and the answers of the calls tell the story.
    let alone = trace.steps[..end].windows(2).all(|pair| pair[0].cpu == pair[1].cpu);
    let mut places: BTreeMap<Location, Users> = BTreeMap::new();
    for step in &trace.steps[..end] {
        let cpu = sleeper_of(step.cpu).unwrap_or(step.cpu);
        for place in locations(step) {
            places.entry(place).or_default().add(cpu, how(step));
        }
    }
    let shows = |(i, step): (usize, &TraceStep)| {
        let noted = splats_of(outcome, i).next().is_some();
        let meets = || locations(step).iter().any(|p| places.get(p).is_some_and(Users::meet));
        noted || i < end && (fails(step) || !alone && (lifetime(step) || meets()))
    };
    trace.steps.iter().enumerate().map(shows).collect()
}

fn lifetime(step: &TraceStep) -> bool {
    step.op.starts_with("kzalloc") || step.op.starts_with("kfree") || step.op == "timer_expire"
}

fn fails(step: &TraceStep) -> bool {
    match &step.result {
        Val::Ret(Ret::Err(_)) => true,
        Val::Num(n) => *n < 0,
        _ => false,
    }
}

/// Every field that a step names. An index that follows belongs to it, and `xa_alloc()` gives
/// the index as its result.
fn locations(step: &TraceStep) -> Vec<Location<'_>> {
    let number = |val: Option<&Val>| match val {
        Some(Val::Hex(n)) => Some(*n),
        Some(Val::Num(n)) => u64::try_from(*n).ok(),
        _ => None,
    };
    let xarray = step.op.starts_with("xa");
    let mut found = Vec::new();
    for (i, arg) in step.args.iter().enumerate() {
        if let Val::Field { alloc, field, .. } = arg {
            let index = match xarray {
                true => number(step.args.get(i + 1)).or_else(|| number(Some(&step.result))),
                false => None,
            };
            found.push((Some(*alloc), field.as_str(), index));
        }
    }
    if let (Some(Val::Text(word)), true) = (step.args.first(), is_of_queue(step)) {
        found.push((None, word.as_str(), None));
    }
    found
}

fn is_of_queue(step: &TraceStep) -> bool {
    step.file.starts_with("arm_smmu_v3/")
}

fn how(step: &TraceStep) -> Use {
    let op = step.op.as_str();
    let reads = ["load", "xa_load", "xas_load", "xa_find", "xa_empty", "refcount_read"];
    let looks = ["READ_ONCE", "readl", "atomic_cond_read", "queue_poll"];
    if ["xa_lock", "xa_unlock", "lockdep_assert_held"].contains(&op) {
        Use::Guards
    } else if is_of_queue(step) {
        match looks.contains(&op) {
            true => Use::Reads,
            false => Use::Changes,
        }
    } else if reads.contains(&op) {
        // What a counter reads as is its exact value.
        match op {
            "refcount_read" => Use::Changes,
            _ => Use::Reads,
        }
    } else if let Some((before, after)) = step.change {
        let exact = ["refcount_dec_if_one", "refcount_set"].contains(&op);
        match exact || before.min(after) <= 0 {
            true => Use::Changes,
            false => Use::Counts,
        }
    } else {
        Use::Changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(cpu: u8, op: &str, alloc: u32, field: &str, change: Option<(i64, i64)>) -> TraceStep {
        TraceStep {
            cpu,
            call: 0,
            scheduling_point: !op.contains("unlock"),
            file: String::new(),
            line: 1,
            function: String::new(),
            op: op.into(),
            args: vec![Val::Field { ty: "x".into(), alloc, field: field.into() }],
            result: Val::Void,
            change,
            splat: None,
        }
    }

    fn outcome(steps: Vec<TraceStep>) -> Outcome {
        let printed =
            |kind, function: &str| Splat { kind, function: function.into(), detail: String::new() };
        Outcome {
            ending: uapi::outcome::Ending::Complete,
            results: Vec::new(),
            splats: vec![printed(Kind::Warn, "close"), printed(Kind::Leak, "")],
            steps: 0,
            stale_compare: false,
            late_wakeups: 0,
            lock_order: Vec::new(),
            reached: Vec::new(),
            apart: Vec::new(),
            state: Vec::new(),
            trace: Some(Trace { steps, ..Trace::default() }),
        }
    }

    fn shown_of(steps: Vec<TraceStep>) -> Vec<bool> {
        shown(&outcome(steps))
    }

    /// A word that two CPUs use is one in which they meet, if one of them writes it.
    #[test]
    fn words_of_the_queue_are_places() {
        let of_queue = |cpu, op: &str, word: &str| TraceStep {
            file: "arm_smmu_v3/cmdq.rs".into(),
            args: vec![Val::Text(word.into())],
            ..step(cpu, op, 0, "", None)
        };
        let steps = vec![
            of_queue(0, "queue_write", "ring[0]"),
            of_queue(0, "queue_write", "ring[1]"),
            of_queue(0, "READ_ONCE", "llq"),
            of_queue(1, "READ_ONCE", "llq"),
            of_queue(1, "READ_ONCE", "ring[0]"),
        ];
        assert_eq!(shown_of(steps), [true, false, false, false, true]);
    }

    #[test]
    fn what_is_found_when_all_is_over_belongs_to_no_step() {
        let mut last = step(0, "load", 1, "dev", None);
        last.splat = Some(0);
        let outcome = outcome(vec![last]);
        assert_eq!(splats_of(&outcome, 0).count(), 1);
        assert_eq!(splats_at_the_end(&outcome).next().map(|s| s.kind), Some(Kind::Leak));
    }

    /// A ledger is looked at when every CPU has returned; what is unbound then can print more.
    #[test]
    fn splats_stand_in_the_order_in_which_they_were_printed() {
        let mut late = step(0, "refcount_dec_and_test", 1, "users", None);
        late.splat = Some(1);
        let mut outcome = outcome(vec![step(0, "load", 1, "dev", None), late]);
        outcome.splats.swap(0, 1);
        assert_eq!(splats_before(&outcome, 0).count(), 0);
        assert_eq!(splats_before(&outcome, 1).next().map(|s| s.kind), Some(Kind::Leak));
        assert_eq!(splats_of(&outcome, 1).next().map(|s| s.kind), Some(Kind::Warn));
        assert_eq!(splats_at_the_end(&outcome).count(), 0);
    }

    #[test]
    fn reads_do_not_meet_but_a_write_does() {
        let read = |cpu| step(cpu, "load", 1, "dev", None);
        assert_eq!(shown_of(vec![read(0), read(1)]), [false, false]);
        let write = step(0, "store", 1, "dev", None);
        assert_eq!(shown_of(vec![write.clone(), read(1)]), [true, true]);
        assert_eq!(shown_of(vec![write, read(0)]), [false, false]);
    }

    #[test]
    fn counters_meet_where_their_order_can_be_told() {
        let up = |cpu| step(cpu, "refcount_inc", 1, "users", Some((1, 2)));
        let down = |cpu| step(cpu, "refcount_dec_and_test", 1, "users", Some((1, 0)));
        assert_eq!(shown_of(vec![up(0), up(1)]), [false, false]);
        assert_eq!(shown_of(vec![up(0), down(1)]), [true, true]);
    }

    #[test]
    fn indexes_of_an_xarray_are_places_of_their_own() {
        let erase = |cpu, index| {
            let mut erase = step(cpu, "xa_erase", 1, "objects", None);
            erase.args.push(Val::Hex(index));
            erase
        };
        assert_eq!(shown_of(vec![erase(0, 5), erase(1, 6)]), [false, false]);
        assert_eq!(shown_of(vec![erase(0, 5), erase(1, 5)]), [true, true]);
    }

    #[test]
    fn frees_errors_and_splats_are_always_shown() {
        let mut errs = step(0, "copy_from_user", 1, "", None);
        errs.result = Val::Ret(Ret::Err(uapi::Errno::EFAULT));
        let mut splat = step(0, "load", 2, "dev", None);
        splat.splat = Some(0);
        let free = |cpu| step(cpu, "kfree", 3, "", None);
        assert_eq!(shown_of(vec![errs, splat, free(1)]), [true, true, true]);
        assert_eq!(shown_of(vec![free(0), free(0)]), [false, false], "a story has no meetings");
    }

    #[test]
    fn what_the_testbed_does_at_the_end_is_left_out() {
        let mut last = step(1, "kfree", 1, "", None);
        last.scheduling_point = false;
        let steps = vec![
            step(0, "mutex_lock", 1, "lock", None),
            step(1, "mutex_unlock", 1, "lock", None),
            last,
        ];
        let trace = Trace { steps: steps.clone(), ..Trace::default() };
        assert_eq!(end_of_cpus(&trace), 2);
        assert_eq!(shown_of(steps), [true, true, false]);
    }
}
