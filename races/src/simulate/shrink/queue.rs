//! What can be left out of a program on the command queue.
//!
//! The faults of a program count the commands that the SMMU consumes, so wherever commands are left out
//! they are tried with lower numbers, too; and what a CPU did before others began can be over before all
//! begin, so requests are tried as commands that have gone through the ring before ([`Queue::start`]).

use super::{renumbered, Candidates, Found};
use crate::Subject;
use uapi::queue::{
    Completion, Fault, Invalidate, Queue, Request, INVALIDATE_DATA_ARM_SMMUV3, INVALIDATE_ENTRY_LEN,
};

/// The largest parts first.
pub(super) const PASSES: &[Candidates] = &[
    |found, n| nth(found, n, without_producer),
    |found, n| nth(found, n, without_request),
    |found, n| nth(found, n, without_queue),
    |found, n| nth(found, n, without_fault),
    |found, n| nth(found, n, without_option),
    |found, n| nth(found, n, without_command),
    |found, n| nth(found, n, with_plain_list),
    |found, n| nth(found, n, with_plain_array),
    |found, n| nth(found, n, without_part_of_vsmmu),
    |found, n| nth(found, n, with_lower_fault),
    |found, n| nth(found, n, with_smaller_ring),
    |found, n| nth(found, n, with_lower_start),
    |found, n| nth(found, n, with_plain_command),
];

/// A smaller program, and the CPU that is missing from its executions.
struct Smaller {
    program: Queue,
    gone: Option<usize>,
}

impl From<Queue> for Smaller {
    fn from(program: Queue) -> Smaller {
        Smaller { program, gone: None }
    }
}

/// The `n`-th of the ways that change something and leave a program.
fn nth(found: &Found, n: usize, ways: fn(&Queue) -> Vec<Smaller>) -> Option<Found> {
    let Subject::Queue { program, revision } = &found.subject else { return None };
    let good = |s: &Smaller| s.program != *program && s.program.check().is_ok();
    let Smaller { program, gone } = ways(program).into_iter().filter(good).nth(n)?;
    let choices = match gone {
        Some(gone) => renumbered(&found.choices, gone),
        None => found.choices.clone(),
    };
    let subject = Subject::Queue { program, revision: revision.clone() };
    Some(Found { subject, choices, recycle: found.recycle })
}

/// The program with one change.
fn with(program: &Queue, change: impl FnOnce(&mut Queue)) -> Smaller {
    let mut smaller = program.clone();
    change(&mut smaller);
    smaller.into()
}

/// The same with the faults as they are, and as if so many commands came before them no more.
fn with_faults(smaller: Queue, fewer: u32) -> Vec<Smaller> {
    let mut earlier = smaller.clone();
    for fault in &mut earlier.faults {
        *fault = moved(*fault, fewer);
    }
    // Both, although they may be one: what follows does not count on their number.
    vec![smaller.into(), earlier.into()]
}

/// The same, and with the missing commands gone through the ring before.
fn with_faults_or_start(smaller: Queue, fewer: u32) -> Vec<Smaller> {
    let mut ways = with_faults(smaller, fewer);
    // The model computes with the end of the lap in 32 bits.
    let room = |p: &Queue| u32::MAX - (1 << p.log2size) - p.start >= fewer;
    if let Some(Smaller { program, .. }) = ways.last().filter(|s| room(&s.program)) {
        ways.push(with(program, |later| later.start += fewer));
    }
    ways
}

fn moved(fault: Fault, fewer: u32) -> Fault {
    match fault {
        Fault::Abort(n) => Fault::Abort(n.saturating_sub(fewer)),
        Fault::AtcTimeout(n) => Fault::AtcTimeout(n.saturating_sub(fewer)),
        Fault::Dead(n) => Fault::Dead(n.saturating_sub(fewer)),
    }
}

/// Entries of the ring that a request asks for, about.
fn entries(request: &Request) -> u32 {
    match request {
        Request::Issue { commands, sync } => commands.len() as u32 + u32::from(*sync),
        Request::Batch { commands, .. } => commands.len() as u32 + 1,
        Request::Invalidate(array) => array.commands.len() as u32 + 1,
        Request::Migrate { .. } | Request::Suspend | Request::Resume => 0,
    }
}

/// Behind the producers come the consumers, which move down.
fn without_producer(program: &Queue) -> Vec<Smaller> {
    let mut ways = Vec::new();
    for gone in (0..program.cpus.len()).rev() {
        let mut smaller = program.clone();
        let requests = smaller.cpus.remove(gone);
        let number = gone as u8;
        smaller.published = match program.published {
            Some(cpu) if cpu == number => None,
            published => published.map(|cpu| cpu - u8::from(cpu > number)),
        };
        for list in &mut smaller.cpus {
            list.retain(|r| !matches!(r, Request::Migrate { task, .. } if *task == number));
            for request in list {
                if let Request::Migrate { task, .. } = request {
                    *task -= u8::from(*task > number);
                }
            }
        }
        let fewer = requests.iter().map(entries).sum();
        let all = with_faults_or_start(smaller, fewer).into_iter();
        ways.extend(all.map(|s| Smaller { gone: Some(gone), ..s }));
    }
    ways
}

/// A Suspend goes with its Resume.
fn without_request(program: &Queue) -> Vec<Smaller> {
    let mut ways = Vec::new();
    for (cpu, requests) in program.cpus.iter().enumerate().rev() {
        for index in (0..requests.len()).rev() {
            let mut smaller = program.clone();
            let list = &mut smaller.cpus[cpu];
            let gone = list.remove(index);
            if gone == Request::Suspend {
                let resumes = |r: &Request| *r == Request::Resume;
                if let Some(on) = list[index..].iter().position(resumes) {
                    list.remove(index + on);
                }
            }
            if index == 0 && smaller.published == Some(cpu as u8) {
                smaller.published = None;
            }
            ways.extend(with_faults_or_start(smaller, entries(&gone)));
        }
    }
    ways
}

/// The last of the queues beside the main one, or all of them.
fn without_queue(program: &Queue) -> Vec<Smaller> {
    let Some(secondary) = program.secondary else { return Vec::new() };
    let mut smaller = program.clone();
    smaller.secondary = None;
    let last = program.cpus.len() + usize::from(secondary.queues);
    if let Some(less) = secondary.queues.checked_sub(1).filter(|less| *less > 0) {
        smaller.secondary = Some(uapi::queue::Secondary { queues: less, ..secondary });
    }
    let gone = (secondary.queues > 0).then_some(last);
    vec![Smaller { program: smaller, gone }]
}

fn without_fault(program: &Queue) -> Vec<Smaller> {
    let all = (0..program.faults.len()).rev();
    let without = |n| {
        with(program, |smaller| {
            smaller.faults.remove(n);
        })
    };
    all.map(without).collect()
}

/// What is said of the whole program, and is not what it is by default.
fn without_option(program: &Queue) -> Vec<Smaller> {
    vec![
        with(program, |smaller| smaller.published = None),
        with(program, |smaller| smaller.repeat_tlbi_cfgi = false),
        with(program, |smaller| smaller.completion = Completion::Cons),
        with(program, |smaller| smaller.overtaken_max = 0),
    ]
}

/// The commands of every list of the program, by CPU and request.
fn lists(program: &Queue) -> Vec<(usize, usize, usize)> {
    let mut lists = Vec::new();
    for (cpu, requests) in program.cpus.iter().enumerate() {
        for (index, request) in requests.iter().enumerate() {
            let commands = match request {
                Request::Issue { commands, .. } | Request::Batch { commands, .. } => commands,
                Request::Invalidate(array) => &array.commands,
                Request::Migrate { .. } | Request::Suspend | Request::Resume => continue,
            };
            lists.push((cpu, index, commands.len()));
        }
    }
    lists
}

fn commands_of(request: &mut Request) -> Option<&mut Vec<[u64; 2]>> {
    match request {
        Request::Issue { commands, .. } | Request::Batch { commands, .. } => Some(commands),
        Request::Invalidate(array) => Some(&mut array.commands),
        Request::Migrate { .. } | Request::Suspend | Request::Resume => None,
    }
}

fn without_command(program: &Queue) -> Vec<Smaller> {
    let mut ways = Vec::new();
    for (cpu, index, commands) in lists(program).into_iter().rev() {
        // Nobody submits a batch with nothing in it.
        let is_batch = matches!(program.cpus[cpu][index], Request::Batch { .. });
        for n in (0..commands).rev().filter(|_| !is_batch || commands > 1) {
            let mut smaller = program.clone();
            if let Some(commands) = commands_of(&mut smaller.cpus[cpu][index]) {
                commands.remove(n);
            }
            ways.extend(with_faults(smaller, 1));
        }
    }
    ways
}

/// A list without its CMD_SYNC, a batch that is not forced, or a list in the place of a batch or an array.
fn with_plain_list(program: &Queue) -> Vec<Smaller> {
    let mut ways = Vec::new();
    for (cpu, index, _) in lists(program) {
        let replaced = |request| with(program, |smaller| smaller.cpus[cpu][index] = request);
        match &program.cpus[cpu][index] {
            Request::Issue { commands, sync: true } => {
                let quiet = Request::Issue { commands: commands.clone(), sync: false };
                ways.extend(with_faults(replaced(quiet).program, 1));
            }
            Request::Batch { commands, force_sync } => {
                let list = Request::Issue { commands: commands.clone(), sync: true };
                ways.push(replaced(list));
                if *force_sync {
                    let commands = commands.clone();
                    ways.push(replaced(Request::Batch { commands, force_sync: false }));
                }
            }
            Request::Invalidate(Invalidate { commands, .. }) => {
                ways.push(replaced(Request::Issue { commands: commands.clone(), sync: true }));
            }
            _ => {}
        }
    }
    ways
}

/// An array with less that is wrong around it.
fn with_plain_array(program: &Queue) -> Vec<Smaller> {
    let changes: [fn(&mut Invalidate); 5] = [
        |array| array.fail_nth = 0,
        |array| array.unmapped_from = None,
        |array| array.tail = 0,
        |array| array.entry_len = INVALIDATE_ENTRY_LEN,
        |array| array.data_type = INVALIDATE_DATA_ARM_SMMUV3,
    ];
    let mut ways = Vec::new();
    for (cpu, index, _) in lists(program) {
        for change in changes {
            let mut smaller = program.clone();
            if let Request::Invalidate(array) = &mut smaller.cpus[cpu][index] {
                change(array);
                ways.push(smaller.into());
            }
        }
    }
    ways
}

/// Nothing that it lacks, no vDEVICE that nobody names, and none of it if nobody uses it.
fn without_part_of_vsmmu(program: &Queue) -> Vec<Smaller> {
    let Some(vsmmu) = &program.vsmmu else { return Vec::new() };
    let mut less = Vec::new();
    for n in (0..vsmmu.without.len()).rev() {
        let mut smaller = vsmmu.clone();
        smaller.without.remove(n);
        less.push(smaller);
    }
    for n in (0..vsmmu.vdevs.len()).rev() {
        let mut smaller = vsmmu.clone();
        smaller.vdevs.remove(n);
        less.push(smaller);
    }
    // Without any, an IOMMU_HWPT_INVALIDATE is refused.
    let all = std::iter::once(None).chain(less.into_iter().map(Some));
    all.map(|vsmmu| with(program, |smaller| smaller.vsmmu = vsmmu)).collect()
}

fn with_lower_fault(program: &Queue) -> Vec<Smaller> {
    let all = 0..program.faults.len();
    all.map(|n| with(program, |smaller| smaller.faults[n] = moved(smaller.faults[n], 1))).collect()
}

/// A ring of half the size, words of half the size, or both. Indexes begin as far from the ring's end, or
/// where they did.
fn with_smaller_ring(program: &Queue) -> Vec<Smaller> {
    let (Some(half), word) = (program.log2size.checked_sub(1), program.word / 2) else {
        return Vec::new();
    };
    let nearer = program.start.saturating_sub(1 << half);
    vec![
        with(program, |smaller| (smaller.log2size, smaller.word) = (half, word)),
        with(program, |smaller| {
            (smaller.log2size, smaller.word, smaller.start) = (half, word, nearer);
        }),
        with(program, |smaller| smaller.log2size = half),
        with(program, |smaller| (smaller.log2size, smaller.start) = (half, nearer)),
        with(program, |smaller| smaller.word = word),
    ]
}

/// From the beginning; as it is with all pairs of laps left out; a lap or a slot earlier.
fn with_lower_start(program: &Queue) -> Vec<Smaller> {
    let (start, entries) = (program.start, 1 << program.log2size);
    let lower = [0, start % (2 * entries), start % entries, start.saturating_sub(1)];
    lower.into_iter().map(|start| with(program, |smaller| smaller.start = start)).collect()
}

/// TLBI_NH_VA, each of another page, so that their order can be seen.
fn with_plain_command(program: &Queue) -> Vec<Smaller> {
    let mut ways = Vec::new();
    let mut page = 0;
    for (cpu, index, commands) in lists(program) {
        for n in 0..commands {
            let mut smaller = program.clone();
            let command = commands_of(&mut smaller.cpus[cpu][index]).and_then(|c| c.get_mut(n));
            if let Some(command) = command {
                *command = [0x12, page << 12];
                ways.push(smaller.into());
            }
            page += 1;
        }
    }
    ways
}

#[cfg(test)]
mod tests {
    use super::*;
    use uapi::queue::{QueueKind, Secondary, Vsmmu};

    fn list(pages: &[u64], sync: bool) -> Request {
        Request::Issue { commands: pages.iter().map(|page| [0x12, page << 12]).collect(), sync }
    }

    /// Something of everything.
    fn found() -> Found {
        let array = Invalidate {
            data_type: 2,
            entry_len: 24,
            tail: 1,
            unmapped_from: Some(1),
            fail_nth: 3,
            ..Invalidate::of(vec![[0x40 | 0x99 << 32, 52], [0x12, 0]])
        };
        let batch = vec![[0x12, 0], [0x05, 1], [0x12, 0x5000]];
        let program = Queue {
            log2size: 4,
            word: 4,
            start: 39,
            completion: Completion::Msi,
            faults: vec![Fault::Abort(4), Fault::AtcTimeout(1)],
            vsmmu: Some(Vsmmu { vmid: 7, vdevs: vec![(0x99, 0x40)], without: Vec::new() }),
            secondary: Some(Secondary { kind: QueueKind::Ecmdq, queues: 2 }),
            repeat_tlbi_cfgi: true,
            overtaken_max: 255,
            published: Some(2),
            cpus: vec![
                vec![list(&[1, 2], true), Request::Migrate { task: 2, to: 1 }],
                vec![Request::Suspend, Request::Resume, list(&[7], false)],
                vec![list(&[3], true), Request::Batch { commands: batch, force_sync: true }],
                vec![Request::Invalidate(array)],
            ],
            expect: Vec::new(),
        };
        assert_eq!(program.check(), Ok(()));
        let subject = Subject::Queue { program, revision: "cmdq_latest".to_owned() };
        // Four producers and, behind them, the consumers of three queues.
        Found { subject, choices: vec![0, 1, 2, 3, 4, 5, 6], recycle: false }
    }

    fn of(found: &Found) -> &Queue {
        match &found.subject {
            Subject::Queue { program, .. } => program,
            _ => panic!("no queue"),
        }
    }

    #[test]
    fn consumers_move_down_with_the_producers_that_are_left() {
        let found = found();
        // From the last to the first, each with three ways; the SMMU's own CPUs stay.
        let smaller = nth(&found, 8, without_producer).expect("it is there");
        assert_eq!(smaller.choices, [0, 1, 2, 3, 4, 5]);
        let program = of(&smaller);
        assert_eq!((program.cpus.len(), program.published), (3, Some(1)));
        assert_eq!(program.cpus[0][1], Request::Migrate { task: 1, to: 1 });
        // A list of one went through the ring before, and the faults come that much earlier.
        assert_eq!((program.start, program.faults[0]), (40, Fault::Abort(3)));
        let smaller = nth(&found, 3, without_producer).expect("it is there");
        assert_eq!((of(&smaller).published, of(&smaller).cpus[0].len()), (None, 1));
        let smaller = nth(&found, 0, without_queue).expect("it is there");
        assert_eq!(smaller.choices, [0, 1, 2, 3, 4, 5]);
        assert_eq!(of(&smaller).secondary.map(|s| s.queues), Some(1));
    }

    #[test]
    fn a_suspend_goes_with_its_resume() {
        let found = found();
        let all: Vec<Found> = (0..).map_while(|n| nth(&found, n, without_request)).collect();
        let lists = all.iter().map(|smaller| of(smaller).cpus[1].len());
        let lists: std::collections::BTreeSet<usize> = lists.collect();
        assert_eq!(lists, [1, 2, 3].into());
        let left = |smaller: &&Found| of(smaller).cpus[1] == [list(&[7], false)];
        assert!(all.iter().any(|smaller| left(&smaller)), "{all:#?}");
    }

    /// Every way leads to another program, and there is an end to it whatever still fails.
    #[test]
    fn it_ends_at_one_request() {
        for later in [false, true] {
            let mut best = found();
            let mut candidates = 0;
            loop {
                let before = best.subject.clone();
                for pass in PASSES {
                    // The first way each time, or the last.
                    loop {
                        let all: Vec<Found> = (0..).map_while(|n| pass(&best, n)).collect();
                        candidates += all.len();
                        let way = if later { all.last() } else { all.first() };
                        match way.filter(|f| !of(f).cpus.concat().is_empty()) {
                            Some(smaller) => best = smaller.clone(),
                            None => break,
                        }
                        assert_ne!(best.subject, before);
                        assert_eq!(of(&best).check(), Ok(()));
                        assert!(candidates < 10_000, "{best:#?}");
                    }
                }
                if best.subject == before {
                    break;
                }
            }
            let program = of(&best);
            assert_eq!((program.cpus.len(), program.cpus[0].len()), (1, 1), "{program:#?}");
            let plain = Queue { start: 0, ..program.clone() };
            let expected =
                Queue { log2size: 1, word: 1, cpus: program.cpus.clone(), ..Queue::default() };
            assert_eq!(plain, expected);
        }
    }
}
