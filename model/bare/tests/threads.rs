//! Does the text that the explorers check move commands on the threads of the machine, too?
//!
//! Bounds: rings of 8 and 128, two or three producers with a few hundred lists each, one SMMU per
//! queue. No order of threads is forced and no invariant but these is checked: every call returns
//! without an error, and the SMMU consumes exactly what was issued, in the order of each producer.
//!
//! Source: reference/smmuv3.md 3.2, 3.4.

use std::sync::Arc;
use std::thread;

use model_bare::arm_smmu_v3::cmdq::{here, Cmdq};
use model_bare::arm_smmu_v3::{device, rows};
use model_bare::sync::on_cpu;
use uapi::queue::{Completion, Queue};

const LISTS: u64 = 300;

/// Texts, and whether some of the lists have no CMD_SYNC.
const ROWS: &[(&str, bool)] = &[
    ("cmdq_df180b1a4cc5", true),
    ("cmdq_587e6c10a7ce", true),
    ("cmdq_spinlock_fallback", true),
    ("cmdq_fetch_add", true),
    ("cmdq_linux_5_3", true),
];

/// The text in which two CMD_SYNCs in a row are one if they signal by MSI, so that nobody knows how
/// many entries there will be.
const MERGES_SYNCS: &str = "cmdq_linux_5_3";

fn queue(row: &str, log2size: u8, completion: Completion, producers: usize) -> Cmdq {
    let rev = rows::find(row).expect("the row exists");
    assert_eq!(rev.info.twin_of, None, "a twin may race with itself");
    let word = (1u8 << log2size >> 1).min(64);
    let cpus = vec![Vec::new(); producers];
    let program = Queue { log2size, word, completion, cpus, ..Queue::default() };
    Cmdq::new(rev, &Arc::new(program), 0, completion)
}

/// TLBI_NH_VA of a page that is one of this producer.
fn tlbi(producer: u64, number: u64) -> [u64; 2] {
    [0x12, (producer << 32 | number) << 12]
}

/// Lists of 0 to `most` commands, with a CMD_SYNC or without; how many entries it were.
fn produce(q: &Cmdq, producer: u64, most: u64, quiet: bool) -> u64 {
    let (mut entries, mut returned) = (0, 0);
    for n in 0..LISTS {
        let (len, sync) = (n % (most + 1), !quiet || n % 3 != 0);
        let commands: Vec<_> = (0..len.max(1)).map(|i| tlbi(producer, n * 64 + i)).collect();
        // The SMMU ends when all have left, so nobody panics before that.
        returned += u64::from((q.rev.issue_cmdlist)(q, &commands, sync).is_ok());
        entries += commands.len() as u64 + u64::from(sync);
    }
    q.producers.leave(here());
    assert_eq!(returned, LISTS, "the SMMU consumes, so no wait is given up");
    entries
}

fn runs((row, quiet): (&str, bool), log2size: u8, completion: Completion, producers: usize) {
    let q = queue(row, log2size, completion, producers);
    let most = u64::from(q.shape.word) / 2;
    let (entries, consumed) = thread::scope(|s| {
        let smmu = s.spawn(|| on_cpu(producers as u8, || device::smmu(&q)));
        let q = &q;
        let producers: Vec<_> = (0..producers)
            .map(|p| s.spawn(move || on_cpu(p as u8, || produce(q, p as u64, most, quiet))))
            .collect();
        let entries: u64 =
            producers.into_iter().map(|p| p.join().expect("no panic").expect("no splat")).sum();
        (entries, smmu.join().expect("no panic").expect("no splat"))
    });
    assert_eq!(u64::from(consumed), entries, "{row}, ring of 2^{log2size}");
    assert_eq!(q.shape.pos(q.prod_reg.peek() as u32), q.shape.pos(q.cons_reg.peek() as u32));
    assert_eq!(q.lock.peek(), 0, "{row}: everybody has given the lock back");
}

#[test]
fn every_text_moves_commands_between_threads() {
    for row in ROWS.iter().copied() {
        let msi = (row.0 != MERGES_SYNCS).then_some(Completion::Msi);
        for completion in [Completion::Cons].into_iter().chain(msi) {
            runs(row, 3, completion, 2);
            runs(row, 7, completion, 3);
        }
    }
}
