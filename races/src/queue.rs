//! Programs for the SMMUv3 command queue: small enough for an explorer, each with its question.
//!
//! The rows (`model_native::queue_revisions()`) keep I1 to I13 of reference/smmuv3.md 3.5 in all of
//! them; `tests/queue.rs` says which explorer kills which mutant in which of them.

use uapi::queue::{Completion, Fault, Invalidate, Queue, Request, Vsmmu};

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

/// The case of this name.
pub fn case(name: &str) -> Option<&'static Case> {
    CASES.iter().chain(INVALIDATIONS).find(|c| c.name == name)
}

/// The subject of a case on a row.
pub fn subject(case: &Case, revision: &str) -> Subject {
    Subject::Queue { program: (case.program)(), revision: revision.to_string() }
}
