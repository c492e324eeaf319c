//! Programs for the SMMUv3 command queue: small enough for an explorer, each with its question.
//!
//! The rows (`model_native::queue_revisions()`) keep I1 to I13 of reference/smmuv3.md 3.5 in all of
//! them; `tests/queue.rs` says which explorer kills which mutant in which of them.

use uapi::queue::{Completion, Fault, Invalidate, Queue, QueueKind, Request, Secondary, Vsmmu};

use crate::Subject;

/// One question to the queue.
#[derive(Debug)]
pub struct Case {
    /// Short name.
    pub name: &'static str,
    /// What is asked.
    pub question: &'static str,
    /// Where it comes from.
    pub source: &'static str,
    /// The program.
    pub program: fn() -> Queue,
}

/// TLBI_NH_VA of a page.
fn tlbi(page: u64) -> [u64; 2] {
    [0x12, page << 12]
}

/// ATC_INV of everything of one stream.
fn atc_inv(sid: u64) -> [u64; 2] {
    [0x40 | sid << 32, 52]
}

/// A command whose opcode is reserved.
const ILLEGAL: [u64; 2] = [0xff, 0];

fn list(commands: &[[u64; 2]], sync: bool) -> Request {
    Request::Issue { commands: commands.to_vec(), sync }
}

fn one(cpu: u64) -> Vec<Request> {
    vec![list(&[tlbi(cpu)], true)]
}

fn small(start: u32, cpus: Vec<Vec<Request>>) -> Queue {
    Queue { log2size: 2, word: 2, start, cpus, ..Queue::default() }
}

/// The programs, smallest first.
pub const CASES: &[Case] = &[
    Case {
        name: "one_list",
        question: "Does one list with a CMD_SYNC reach the SMMU and come back?",
        source: "reference/smmuv3.md 3.2",
        program: || small(0, vec![one(0)]),
    },
    Case {
        name: "quiet_lists",
        question: "Do two CPUs with one command each, which nobody waits for, keep I1 to I13?",
        source: "reference/smmuv3.md 3.2, 3.7",
        program: || {
            let quiet = |page| vec![list(&[tlbi(page)], false)];
            small(0, vec![quiet(0), quiet(1)])
        },
    },
    Case {
        name: "two_syncs",
        question: "Do two CPUs that only wait for everything before them keep I1 to I13?",
        source: "reference/smmuv3.md 3.4 A12, 3.5 I8 and I9",
        program: || small(0, vec![vec![list(&[], true)], vec![list(&[], true)]]),
    },
    Case {
        name: "published_sync",
        question: "Is the lock's count read after CONS by who waits for a CMD_SYNC that is \
                   published, while another CPU comes with one?",
        source: "reference/smmuv3.md 3.4 A12, 3.5 I9",
        program: || {
            let sync = || vec![list(&[], true)];
            Queue { published: Some(1), ..small(0, vec![sync(), sync()]) }
        },
    },
    Case {
        name: "published_sync_msi",
        question: "Does llq.cons stay behind a published CMD_SYNC, of which its CPU sees nothing \
                   but the MSI, while another CPU's is complete?",
        source: "reference/smmuv3.md 3.3, 3.5 I8",
        program: || {
            let sync = || vec![list(&[], true)];
            let completion = Completion::Msi;
            Queue { published: Some(0), completion, ..small(0, vec![sync(), sync()]) }
        },
    },
    Case {
        name: "full_ring",
        question: "Does one CPU that has filled the ring wait for the SMMU?",
        source: "reference/smmuv3.md 3.5 I1 and I7",
        program: || small(0, vec![vec![list(&[tlbi(0), tlbi(1)], false); 3]]),
    },
    Case {
        name: "full_ring_of_two",
        question: "Do two CPUs wait for the SMMU when together they have filled the ring?",
        source: "reference/smmuv3.md 3.6 B12",
        program: || {
            let quiet = |page| vec![list(&[tlbi(page), tlbi(page)], false); 2];
            small(0, vec![quiet(0), quiet(1)])
        },
    },
    Case {
        name: "three_quiet_lists",
        question: "Does a group of three lists, which nobody waits for, have one owner?",
        source: "reference/smmuv3.md 3.5 I4, 3.6 B12",
        program: || {
            let quiet = |page| vec![list(&[tlbi(page)], false)];
            small(0, vec![quiet(0), quiet(1), quiet(2)])
        },
    },
    Case {
        name: "full_while_gathering",
        question: "Does a CPU that waits for space get it, while the owner of its group waits for \
                   it with a CMD_SYNC?",
        source: "reference/smmuv3.md 3.6 B12",
        program: || {
            let quiet = || list(&[tlbi(0), tlbi(1), tlbi(2)], false);
            let sync = list(&[tlbi(3), tlbi(4)], true);
            Queue { log2size: 3, word: 4, ..small(0, vec![vec![quiet(), quiet()], vec![sync]]) }
        },
    },
    Case {
        name: "lapped_quiet_list",
        question: "Does a CPU whose list nobody waits for see that it is published, when others \
                   have gone round the ring since?",
        source: "reference/smmuv3.md 3.6 B12; found by threads of a real machine",
        program: || {
            let quiet = || list(&[tlbi(0)], false);
            small(0, vec![vec![quiet()], (0..5).map(|_| quiet()).collect()])
        },
    },
    Case {
        name: "small_ring",
        question: "Can a CPU that polls for space overtake one that waits for the shared lock?",
        source: "reference/smmuv3.md 3.6 B13; commit df180b1a4cc5",
        program: || {
            let quiet = || vec![list(&[tlbi(0), tlbi(1)], false)];
            small(0, vec![quiet(), one(1), quiet()])
        },
    },
    Case {
        name: "two_lists",
        question: "Do two CPUs with a command and a CMD_SYNC each keep I1 to I13?",
        source: "reference/smmuv3.md 7.6, configuration 1",
        program: || small(0, vec![one(0), one(1)]),
    },
    Case {
        name: "second_lap",
        question: "Do they in the lap where the valid map's polarity is inverted?",
        source: "reference/smmuv3.md 7.6, configuration 2",
        program: || small(4, vec![one(0), one(1)]),
    },
    Case {
        name: "ring_end",
        question: "Do they across the end of the ring?",
        source: "reference/smmuv3.md 7.6, configuration 2",
        program: || small(3, vec![one(0), one(1)]),
    },
    Case {
        name: "three_lists",
        question: "Does a third list wait for space, and nobody lap a CMD_SYNC?",
        source: "reference/smmuv3.md 3.5 I1, I8",
        program: || small(0, vec![one(0), one(1), one(2)]),
    },
    Case {
        name: "without_sync",
        question: "Do lists without a CMD_SYNC come before later commands of their CPU?",
        source: "reference/smmuv3.md 3.5 I13",
        program: || {
            let quiet = vec![list(&[tlbi(0)], false), list(&[tlbi(1)], true)];
            small(0, vec![quiet, one(2)])
        },
    },
    Case {
        name: "msi",
        question: "Does a CPU that spins on the word of its MSI return only after its CMD_SYNC?",
        source: "reference/smmuv3.md 1.3, 3.3",
        program: || Queue { completion: Completion::Msi, ..small(2, vec![one(0), one(1)]) },
    },
    Case {
        name: "batch",
        question: "Does a batch that is larger than a list go as several, in order?",
        source: "reference/smmuv3.md 3.1, 3.6 B8",
        program: || {
            let commands = vec![tlbi(0), tlbi(1), tlbi(2)];
            let batch = vec![Request::Batch { commands, force_sync: false }];
            Queue { log2size: 3, ..small(0, vec![batch, one(3)]) }
        },
    },
    Case {
        name: "forced_batch",
        question: "Does every list of a batch end with a CMD_SYNC where the SMMU needs one?",
        source: "reference/smmuv3.md 3.6 B8; commit 309a15cb16bb",
        program: || {
            let commands = vec![tlbi(0), tlbi(1), tlbi(2)];
            let batch = vec![Request::Batch { commands, force_sync: true }];
            Queue { log2size: 3, ..small(0, vec![batch]) }
        },
    },
    Case {
        name: "illegal",
        question: "Is exactly the illegal command replaced by a CMD_SYNC, and nobody stuck?",
        source: "reference/smmuv3.md 1.4, 3.5 I12",
        program: || small(0, vec![vec![list(&[ILLEGAL], true)], one(1)]),
    },
    Case {
        name: "abort",
        question: "Is a command whose fetch was aborted fetched again?",
        source: "reference/smmuv3.md 1.4",
        program: || Queue { faults: vec![Fault::Abort(1)], ..small(0, vec![one(0), one(1)]) },
    },
    Case {
        name: "atc_timeout",
        question: "Does a CMD_SYNC that reports an ATC time-out complete when it is tried again?",
        source: "reference/smmuv3.md 1.4, 1.5",
        program: || {
            let inv = vec![list(&[atc_inv(7)], true)];
            // Whichever CPU is first, the ATC_INV is one of these two.
            let faults = vec![Fault::AtcTimeout(0), Fault::AtcTimeout(2)];
            Queue { faults, ..small(0, vec![inv, one(1)]) }
        },
    },
];

/// CFGI_CD of one stream.
fn cfgi_cd(sid: u64) -> [u64; 2] {
    [0x05 | sid << 32, 1]
}

fn batch(commands: Vec<[u64; 2]>) -> Request {
    Request::Batch { commands, force_sync: false }
}

fn beside(kind: QueueKind, queues: u8, cpus: Vec<Vec<Request>>) -> Queue {
    Queue { secondary: Some(Secondary { kind, queues }), ..small(0, cpus) }
}

/// A batch of one list and more, whose task is moved to the other queue's processor.
fn migrated(kind: QueueKind) -> Queue {
    let commands = vec![tlbi(0), tlbi(1), tlbi(2)];
    beside(kind, 2, vec![vec![batch(commands)], vec![Request::Migrate { task: 0, to: 1 }]])
}

/// More queues than one: with the text that uses them.
pub const QUEUES: &[(&str, Case)] = &[
    (
        ECMDQ,
        Case {
            name: "own_ecmdqs",
            question: "Do two CPUs with an ECMDQ each keep I1 to I13 in both?",
            source: "reference/smmuv3.md 1.4",
            program: || beside(QueueKind::Ecmdq, 2, vec![one(0), one(1)]),
        },
    ),
    (
        ECMDQ,
        Case {
            name: "one_ecmdq",
            question: "Do two CPUs with one ECMDQ, as there are fewer than CPUs?",
            source: "reference/smmuv3.md 1.4",
            program: || beside(QueueKind::Ecmdq, 1, vec![one(0), one(1)]),
        },
    ),
    (
        ECMDQ,
        Case {
            name: "illegal_in_an_ecmdq",
            question: "Is an illegal command replaced in its queue, and the other not held up?",
            source: "reference/smmuv3.md 1.4",
            program: || {
                let illegal = vec![list(&[ILLEGAL], true)];
                beside(QueueKind::Ecmdq, 2, vec![illegal, one(1)])
            },
        },
    ),
    (
        ECMDQ,
        Case {
            name: "batch_migrates",
            question:
                "Is all of a batch complete when its last CMD_SYNC is, although its task was \
                       to be moved?",
            source: "reference/smmuv3.md 1.4: no ordering between queues",
            program: || migrated(QueueKind::Ecmdq),
        },
    ),
    (
        TEGRA241,
        Case {
            name: "own_vcmdqs",
            question: "Do two CPUs with a VCMDQ each keep I1 to I13, waiting for CONS?",
            source: "reference/smmuv3.md 4.6",
            program: || {
                let completion = Completion::Msi;
                Queue { completion, ..beside(QueueKind::GuestVcmdq, 2, vec![one(0), one(1)]) }
            },
        },
    ),
    (
        TEGRA241,
        Case {
            name: "mixed_batch",
            question: "Does each command of a batch go to a queue that executes it, all complete?",
            source: "reference/smmuv3.md 4.6",
            program: || {
                let commands = vec![tlbi(0), cfgi_cd(7), tlbi(1)];
                beside(QueueKind::GuestVcmdq, 1, vec![vec![batch(commands)]])
            },
        },
    ),
    (
        TEGRA241,
        Case {
            name: "batch_migrates_in_a_guest",
            question: "Is all of a batch complete when its last CMD_SYNC is, wherever its task \
                       runs?",
            source: "reference/smmuv3.md 4.6: no cross-queue order",
            program: || migrated(QueueKind::GuestVcmdq),
        },
    ),
];

/// The SMMU is switched off and on, with the text that can.
pub const SUSPENDED: &[Case] = &[
    Case {
        name: "suspend",
        question: "Does a list reach the SMMU before its power goes, or is it refused?",
        source: "reference/smmuv3.md 3.6 B18",
        program: || {
            let off_and_on = vec![Request::Suspend, Request::Resume, list(&[tlbi(1)], true)];
            small(0, vec![one(0), off_and_on])
        },
    },
    Case {
        name: "suspend_while_full",
        question: "Is a CPU that waits for space refused, and does it leave CONS alone?",
        source: "reference/smmuv3.md 3.6 B18",
        program: || {
            let quiet = vec![list(&[tlbi(0), tlbi(1)], false); 3];
            small(0, vec![quiet, vec![Request::Suspend, Request::Resume]])
        },
    },
];

/// Who waits for space in the ring of an SMMU that has stopped.
pub const DEAD: &[Case] = &[
    Case {
        name: "dead_with_some_space",
        question: "Does a CPU that needs two slots and finds one free say that the SMMU is dead?",
        source: "reference/smmuv3.md 3.6 B14",
        program: || dead_behind(1),
    },
    Case {
        name: "dead_without_space",
        question: "Does a CPU that finds no slot free say that the SMMU is dead?",
        source: "reference/smmuv3.md 3.6 B14",
        program: || dead_behind(0),
    },
];

/// One CPU fills the ring, and needs two slots more; the SMMU stops behind so many commands.
fn dead_behind(consumed: u32) -> Queue {
    let lists = vec![list(&[tlbi(0), tlbi(1)], false); 3];
    Queue { faults: vec![Fault::Dead(consumed)], ..small(0, vec![lists]) }
}

/// How often is a CPU that waits for the shared lock overtaken by CPUs that poll for space? This
/// often it may be; the others have lists enough to do it more often.
///
/// Source: reference/smmuv3.md 3.6 B13; commit df180b1a4cc5
pub fn overtaken(overtaken_max: u8) -> Queue {
    let quiet = || list(&[tlbi(0), tlbi(1)], false);
    let lists = || (0..=overtaken_max).map(|_| quiet()).collect::<Vec<_>>();
    Queue { overtaken_max, ..small(0, vec![lists(), one(1), lists()]) }
}

/// The text with ECMDQs.
pub const ECMDQ: &str = "cmdq_ecmdq";

/// The text with the VCMDQs of a guest.
pub const TEGRA241: &str = "cmdq_tegra241_cmdqv";

/// On an SMMU with erratum T264-SMMU-3.
pub const ERRATUM: &[Case] = &[
    Case {
        name: "needs_two",
        question: "Is a TLBI run again after its CMD_SYNC on an SMMU that needs that?",
        source: "reference/smmuv3.md 3.6 B15",
        program: || {
            let quiet = vec![list(&[atc_inv(7)], false)];
            Queue { repeat_tlbi_cfgi: true, ..small(0, vec![one(0), quiet]) }
        },
    },
    Case {
        name: "batch_needs_two",
        question: "Are all of a batch, of which one list goes without a CMD_SYNC?",
        source: "reference/smmuv3.md 3.6 B15",
        program: || {
            let commands = vec![tlbi(0), tlbi(1), atc_inv(7), tlbi(2)];
            let batches = vec![vec![batch(commands)]];
            Queue { repeat_tlbi_cfgi: true, log2size: 3, ..small(0, batches) }
        },
    },
    Case {
        name: "guest_needs_two",
        question: "Are those of a guest that come behind an ATC_INV?",
        source: "reference/smmuv3.md 3.6 B15",
        program: || {
            let array = Invalidate::of(vec![atc_inv(VSID), tlbi(0), tlbi(1)]);
            Queue { repeat_tlbi_cfgi: true, ..guest(vec![array]) }
        },
    },
];

/// The virtual StreamID of the only vDEVICE.
const VSID: u64 = 0x99;

/// A VM with one vDEVICE, whose guest invalidates; lists of 3 commands and a CMD_SYNC.
fn guest(arrays: Vec<Invalidate>) -> Queue {
    Queue {
        log2size: 3,
        word: 4,
        vsmmu: Some(Vsmmu { vmid: 7, vdevs: vec![(VSID as u32, 0x40)], without: Vec::new() }),
        cpus: arrays.into_iter().map(|array| vec![Request::Invalidate(array)]).collect(),
        ..Queue::default()
    }
}

/// IOMMU_HWPT_INVALIDATE down to the ring.
pub const INVALIDATIONS: &[Case] = &[
    Case {
        name: "invalidate",
        question: "Do all commands of an array of a window and one more reach the ring?",
        source: "reference/smmuv3.md 4.3",
        program: || {
            let array = vec![tlbi(0), tlbi(1), tlbi(2), atc_inv(VSID)];
            guest(vec![Invalidate::of(array)])
        },
    },
    Case {
        name: "invalidate_on_two_cpus",
        question: "Does entry_num say what reached the ring when two vCPUs invalidate at once?",
        source: "reference/smmuv3.md 4.3",
        program: || guest(vec![Invalidate::of(vec![tlbi(0)]), Invalidate::of(vec![tlbi(1)])]),
    },
    Case {
        name: "unknown_vdevice",
        question: "Does entry_num count commands that never reached the ring, when one after them \
                   does not convert?",
        source: "reference/smmuv3.md 3.6 B17, 4.3",
        program: || {
            let array = vec![tlbi(0), tlbi(1), tlbi(2), tlbi(3), atc_inv(VSID + 1)];
            guest(vec![Invalidate::of(array)])
        },
    },
    Case {
        name: "guest_sync",
        question: "Does it when the guest's own CMD_SYNC, which is refused, follows them?",
        source: "reference/smmuv3.md 4.3, 4.4",
        program: || guest(vec![Invalidate::of(vec![tlbi(0), [0x46, 0]])]),
    },
    Case {
        name: "no_memory",
        question: "Does entry_num say that something was handled when there is no memory for the \
                   array?",
        source: "reference/smmuv3.md 4.3; reference/iommufd.md 2.9.6 (real kernels)",
        program: || {
            let array = Invalidate::of(vec![tlbi(0), tlbi(1)]);
            guest(vec![Invalidate { fail_nth: 1, ..array }])
        },
    },
    Case {
        name: "res0_bits",
        question: "Does a guest's command with a bit that must be 0 count as handled, and not run?",
        source: "reference/smmuv3.md 4.3",
        program: || {
            let [word0, word1] = tlbi(1);
            guest(vec![Invalidate::of(vec![tlbi(0), [word0 | 1 << 10, word1]])])
        },
    },
    Case {
        name: "dead_smmu",
        question: "Is a window whose CMD_SYNC does not complete told to the guest as one?",
        source: "reference/smmuv3.md 4.3, the row of -ETIMEDOUT",
        program: || {
            let array = vec![tlbi(0), tlbi(1), tlbi(2), tlbi(3)];
            Queue { faults: vec![Fault::Dead(4)], ..guest(vec![Invalidate::of(array)]) }
        },
    },
];

/// A program on a ring of twice the size, that begins as far from the ring's end.
pub fn on_a_larger_ring(program: Queue) -> Queue {
    let entries = 1 << program.log2size;
    let start = match program.start {
        0 => 0,
        start => start + entries,
    };
    Queue { log2size: program.log2size + 1, start, ..program }
}

/// The case of this name.
pub fn case(name: &str) -> Option<&'static Case> {
    let queues = QUEUES.iter().map(|(_, case)| case);
    let others = [INVALIDATIONS, ERRATUM, SUSPENDED, DEAD].into_iter().flatten();
    CASES.iter().chain(queues).chain(others).find(|c| c.name == name)
}

/// The subject of a case on a row.
pub fn subject(case: &Case, revision: &str) -> Subject {
    Subject::Queue { program: (case.program)(), revision: revision.to_string() }
}
