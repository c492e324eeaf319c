//! Which locks are held after each step, and who waits for them, read off the trace.
//!
//! A CPU waits for a lock if its next step takes it while another CPU holds it. What a CPU would
//! have taken next when the execution ended (a deadlock) is no step, so it is named by the splat.

use super::interleaving::column;
use crate::values::Names;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use uapi::trace::{Trace, TraceStep, Val};

/// A lock that is held.
#[derive(Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct Lock {
    /// As C spells it.
    pub name: String,
    /// The CPUs that hold it, each as often as it took it.
    pub holders: Vec<usize>,
    /// The CPUs whose next step takes it.
    pub waiters: Vec<usize>,
}

/// What a step does to a lock.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Effect {
    Takes { shared: bool },
    GivesBack,
}

/// Holders of each lock: the CPU, and whether it shares it.
type Held = BTreeMap<String, Vec<(usize, bool)>>;

/// The lock that a step is about, and what it does to it.
fn lock(step: &TraceStep, names: &Names) -> Option<(String, Effect)> {
    let effect = match step.op.as_str() {
        "mutex_lock" | "spin_lock" | "down_write" | "down_write_nest_lock" | "xa_lock" => {
            Effect::Takes { shared: false }
        }
        "down_read" => Effect::Takes { shared: true },
        "mutex_trylock" | "down_write_trylock" if took(step) => Effect::Takes { shared: false },
        "down_read_trylock" if took(step) => Effect::Takes { shared: true },
        "mutex_unlock" | "spin_unlock" | "up_read" | "up_write" | "xa_unlock" => Effect::GivesBack,
        _ => return None,
    };
    let name = step.args.first().map(|arg| names.value(arg))?;
    // The model locks an xarray by index: sections on different indices commute.
    let index = step.args.get(1).filter(|_| step.op.starts_with("xa_"));
    let name = index.map_or(name.clone(), |i| format!("{name}[{}]", names.value(i)));
    Some((name, effect))
}

/// Whether a trylock got it.
fn took(step: &TraceStep) -> bool {
    matches!(step.result, Val::Bool(true) | Val::Num(1))
}

/// The held locks after each step.
pub fn after_each_step(trace: &Trace, names: &Names) -> Vec<Vec<Lock>> {
    let effects: Vec<Option<(String, Effect)>> =
        trace.steps.iter().map(|s| lock(s, names)).collect();
    let next = next_of_each(trace);
    let mut held = Held::new();
    let mut moments = Vec::new();
    for (i, step) in trace.steps.iter().enumerate() {
        let cpu = column(step.cpu);
        let mut stuck = None;
        match &effects[i] {
            // Who takes what it holds never gets it: the kernel stops in this step.
            Some((name, Effect::Takes { .. }))
                if step.splat.is_some() && holds(&held, name, cpu) =>
            {
                stuck = Some((name, cpu));
            }
            Some((name, effect)) => apply(&mut held, name, cpu, *effect),
            None => {}
        }
        let wanted = next[i].iter().filter_map(|(cpu, step)| {
            let (name, effect) = effects.get(*step)?.as_ref()?;
            Some((*cpu, name, *effect))
        });
        let mut moment = locks(&held, &wanted.collect::<Vec<_>>());
        if let Some((name, cpu)) = stuck {
            moment.iter_mut().filter(|l| l.name == *name).for_each(|l| l.waiters.push(cpu));
        }
        moments.push(moment);
    }
    moments
}

fn holds(held: &Held, name: &str, cpu: usize) -> bool {
    held.get(name).is_some_and(|holders| holders.iter().any(|(holder, _)| *holder == cpu))
}

fn apply(held: &mut Held, name: &str, cpu: usize, effect: Effect) {
    match effect {
        Effect::Takes { shared } => held.entry(name.to_owned()).or_default().push((cpu, shared)),
        Effect::GivesBack => {
            let Some(holders) = held.get_mut(name) else { return };
            if let Some(at) = holders.iter().rposition(|(holder, _)| *holder == cpu) {
                holders.remove(at);
            }
            if holders.is_empty() {
                held.remove(name);
            }
        }
    }
}

/// For each step, the next step of every CPU behind it.
fn next_of_each(trace: &Trace) -> Vec<BTreeMap<usize, usize>> {
    let mut next = BTreeMap::new();
    let mut of_each = vec![BTreeMap::new(); trace.steps.len()];
    for (i, step) in trace.steps.iter().enumerate().rev() {
        of_each[i].clone_from(&next);
        next.insert(column(step.cpu), i);
    }
    of_each
}

fn locks(held: &Held, wanted: &[(usize, &String, Effect)]) -> Vec<Lock> {
    let lock = |(name, holders): (&String, &Vec<(usize, bool)>)| Lock {
        name: name.clone(),
        holders: holders.iter().map(|(cpu, _)| *cpu).collect(),
        waiters: wanted
            .iter()
            .filter(|(cpu, wants, effect)| *wants == name && blocked(holders, *cpu, *effect))
            .map(|(cpu, _, _)| *cpu)
            .collect(),
    };
    held.iter().map(lock).collect()
}

/// Whether these holders keep a CPU from doing it.
fn blocked(holders: &[(usize, bool)], cpu: usize, effect: Effect) -> bool {
    let Effect::Takes { shared } = effect else { return false };
    holders.iter().any(|(holder, shares)| *holder != cpu && !(shared && *shares))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(cpu: u8, op: &str, lock: &str) -> TraceStep {
        TraceStep {
            cpu,
            call: 0,
            scheduling_point: true,
            file: "iommufd/main.rs".into(),
            line: 1,
            function: "f".into(),
            op: op.into(),
            args: vec![Val::Field { ty: "igroup".into(), alloc: 1, field: lock.into() }],
            result: Val::Void,
            change: None,
            splat: None,
        }
    }

    fn text(steps: Vec<TraceStep>) -> Vec<String> {
        let trace = Trace { steps, ..Trace::default() };
        let moments = after_each_step(&trace, &Names::of(&trace));
        let lock = |l: &Lock| format!("{} {:?} {:?}", l.name, l.holders, l.waiters);
        moments.iter().map(|m| m.iter().map(lock).collect::<Vec<_>>().join("; ")).collect()
    }

    #[test]
    fn a_cpu_waits_for_what_another_one_holds() {
        let steps = vec![
            step(0, "mutex_lock", "lock"),
            step(1, "kfree", "x"),
            step(0, "mutex_unlock", "lock"),
            step(1, "mutex_lock", "lock"),
            step(1, "mutex_unlock", "lock"),
        ];
        let expected =
            ["igroup#1->lock [0] []", "igroup#1->lock [0] [1]", "", "igroup#1->lock [1] []", ""];
        assert_eq!(text(steps), expected);
    }

    #[test]
    fn who_takes_what_it_holds_waits_for_itself() {
        let mut again = step(0, "mutex_lock", "lock");
        again.splat = Some(0);
        let steps = vec![step(0, "mutex_lock", "lock"), again];
        assert_eq!(text(steps), ["igroup#1->lock [0] []", "igroup#1->lock [0] [0]"]);
    }

    #[test]
    fn readers_share_and_a_writer_waits() {
        let steps = vec![
            step(0, "down_read", "sem"),
            step(1, "down_read", "sem"),
            step(0, "up_read", "sem"),
            step(1, "up_read", "sem"),
            step(2, "down_write", "sem"),
        ];
        let expected = [
            "igroup#1->sem [0] [2]",
            "igroup#1->sem [0, 1] [2]",
            "igroup#1->sem [1] [2]",
            "",
            "igroup#1->sem [2] []",
        ];
        assert_eq!(text(steps), expected);
    }
}
