//! What does it cost a CPU to put a list of commands into the ring: without a lock, under a mutex,
//! under a spinlock, and beside a bare copy of the same 16-byte commands into a ring (the limit)?
//! And a guest's IOMMU_HWPT_INVALIDATE above it?
//!
//! The texts are those that the explorers check, compiled for the threads of the machine
//! (`model_bare`). The SMMU here consumes at once and looks at nothing: after each list CONS
//! becomes PROD, so lists never wait and the insertion alone is measured. Lists have no CMD_SYNC
//! here, because with one a CPU waits for an SMMU; with a CMD_SYNC and an SMMU that decodes on a
//! thread of its own is the third group.
//!
//! What a list without a lock cannot do without is a row of its own: the copy, and the atomic
//! accesses of a list that is alone in their order, and nothing else of the text. Beside it is the
//! same with a load and a store for each locked instruction: what these cost is the difference.
//!
//! Bounds: a ring of 2^10, which stays in the first cache, and for one producer in turn also one of
//! 2^16, a Kunpeng 920's (reference/smmuv3.md 1.2), which does not; 1, 2 and 4 producers (more than the processors of the machine are
//! oversubscribed points); every list is asserted to have come through.
//!
//! Source: reference/smmuv3.md 3.2, 4.2 to 4.4, 5.3.

use std::hint::{black_box, spin_loop};
use std::sync::atomic::{fence, AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use criterion::{criterion_group, criterion_main, BenchmarkId, Criterion, Throughput};
use model_bare::arm_smmu_v3::cmdq::{here, Cmdq};
use model_bare::arm_smmu_v3::vsmmu::for_next_2026_09::arm_vsmmu_convert_allowed;
use model_bare::arm_smmu_v3::vsmmu::{
    arm_vsmmu_convert_user_cmd, arm_vsmmu_vsid_to_sid, ArmVsmmu, Convert,
};
use model_bare::arm_smmu_v3::{device, rows};
use model_bare::linux::atomic::Order;
use model_bare::linux::slab::Ptr;
use model_bare::sync::on_cpu;
use uapi::queue::{Completion, Invalidate, Queue, Vsmmu};

const SIZES: [usize; 5] = [1, 4, 16, 32, 63];
const LOG2SIZE: u8 = 10;
const LOG2SIZE_OF_D06: u8 = 16;
const ROWS: [&str; 4] =
    ["cmdq_df180b1a4cc5", "cmdq_587e6c10a7ce", "cmdq_spinlock_fallback", "cmdq_linux_5_3"];

/// What takes lists.
trait Ring: Sync {
    fn put(&self, list: &[[u64; 2]]);
}

/// One of the driver's texts, and an SMMU that consumes at once.
struct Driver {
    q: Cmdq,
    /// Somebody moves CONS; of no use where there is one producer.
    consuming: Option<AtomicBool>,
}

impl Driver {
    fn new(row: &str, producers: usize, vsmmu: Option<Vsmmu>) -> Driver {
        Driver::sized(row, producers, vsmmu, LOG2SIZE)
    }

    fn sized(row: &str, producers: usize, vsmmu: Option<Vsmmu>, log2size: u8) -> Driver {
        let rev = rows::find(row).expect("the row exists");
        assert_eq!(rev.info.twin_of, None, "a twin may race with itself");
        let cpus = vec![Vec::new(); producers];
        let program = Queue { log2size, word: 64, cpus, vsmmu, ..Queue::default() };
        let q = Cmdq::new(rev, &Arc::new(program), 0, Completion::Cons);
        let consuming = (producers > 1).then(|| AtomicBool::new(false));
        Driver { q, consuming }
    }

    /// CONS becomes PROD. Who finds somebody at it leaves it to him, and he looks again before he goes: else
    /// the ring may be full, with everybody waiting for space and nobody at CONS.
    fn consume(&self) {
        let Some(consuming) = &self.consuming else {
            self.cons_becomes_prod();
            return;
        };
        loop {
            // Either this finds that nobody is at it, or who is finds what was published here.
            fence(Ordering::SeqCst);
            if consuming.swap(true, Ordering::Acquire) {
                return;
            }
            let prod = self.cons_becomes_prod();
            consuming.store(false, Ordering::Release);
            fence(Ordering::SeqCst);
            if self.q.prod_reg.load("readl", here(), Order::Relaxed) == prod {
                return;
            }
        }
    }

    fn cons_becomes_prod(&self) -> u64 {
        let prod = self.q.prod_reg.load("readl", here(), Order::Acquire);
        self.q.cons_reg.store("writel", here(), Order::Release, prod, || {});
        prod
    }
}

impl Ring for Driver {
    fn put(&self, list: &[[u64; 2]]) {
        (self.q.rev.issue_cmdlist)(&self.q, list, false).expect("nothing is waited for");
        self.consume();
    }
}

/// A ring that one at a time may write.
struct Plain {
    ring: Vec<[u64; 2]>,
    prod: usize,
}

impl Plain {
    fn new(log2size: u8) -> Plain {
        Plain { ring: vec![[0; 2]; 1 << log2size], prod: 0 }
    }

    fn put(&mut self, list: &[[u64; 2]], prod_reg: &AtomicU64) {
        let entries = self.ring.len();
        let at = self.prod & (entries - 1);
        let first = list.len().min(entries - at);
        self.ring[at..at + first].copy_from_slice(&list[..first]);
        self.ring[..list.len() - first].copy_from_slice(&list[first..]);
        self.prod = (self.prod + list.len()) & (2 * entries - 1);
        prod_reg.store(self.prod as u64, Ordering::Release);
    }
}

/// Bits of a word of the valid map.
const WORD: usize = 64;

/// What a list without a lock cannot do without: a bare copy, and around it the atomic accesses of
/// `arm_smmu_cmdq_issue_cmdlist()` for a list that is alone, in their order. A wait is one look.
/// Without `LOCKED` no instruction is locked, and a second CPU could come between.
struct Accesses<const LOCKED: bool> {
    ring: Vec<[u64; 2]>,
    llq: AtomicU64,
    owner_prod: AtomicU64,
    lock: AtomicU64,
    valid_map: Vec<AtomicU64>,
    prod_reg: AtomicU64,
    cons_reg: AtomicU64,
}

/// CMDQ_PROD_OWNED_FLAG
const OWNED: u64 = 1 << 31;

/// A load and a store. What was there.
fn change_alone(word: &AtomicU64, f: impl FnOnce(u64) -> u64) -> u64 {
    let old = word.load(Ordering::Relaxed);
    word.store(f(old), Ordering::Relaxed);
    old
}

impl<const LOCKED: bool> Accesses<LOCKED> {
    fn new(log2size: u8) -> Accesses<LOCKED> {
        let zero = || AtomicU64::new(0);
        let entries = 1 << log2size;
        Accesses {
            ring: vec![[0; 2]; entries],
            llq: zero(),
            owner_prod: zero(),
            lock: zero(),
            valid_map: (0..entries / WORD).map(|_| zero()).collect(),
            prod_reg: zero(),
            cons_reg: zero(),
        }
    }

    /// The words of the valid map that have the slots, with their bits.
    fn words(words: usize, from: usize, n: usize) -> impl Iterator<Item = (usize, u64)> {
        let to = from + n;
        (from / WORD..=(to - 1) / WORD).map(move |word| {
            let (first, end) = (from.max(word * WORD), to.min((word + 1) * WORD));
            let mask = u64::MAX >> (WORD - (end - first)) << (first % WORD);
            (word & (words - 1), mask)
        })
    }

    fn put(&mut self, list: &[[u64; 2]]) {
        let (entries, words) = (self.ring.len(), self.valid_map.len());
        // Index and wrap.
        let pos = 2 * entries as u64 - 1;
        // Steps 0 to 2; CONS is read, under the lock, where there is no space.
        let mut llq = self.llq.load(Ordering::Relaxed);
        let (start, end) = loop {
            let (prod, cons) = (llq & pos, llq >> 32);
            let end = (prod + list.len() as u64) & pos;
            if end.wrapping_sub(cons) & pos > entries as u64 {
                let free = self.lock.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed);
                let cons = self.cons_reg.load(Ordering::Acquire);
                llq = llq & pos | cons << 32;
                self.llq.swap(llq, Ordering::Relaxed);
                assert_eq!(self.lock.fetch_and(!1, Ordering::Release), free.map_or(0, |_| 1));
                continue;
            }
            let new = end | OWNED | cons << 32;
            let found = match LOCKED {
                true => self.llq.compare_exchange(llq, new, Ordering::Acquire, Ordering::Relaxed),
                false => Ok(change_alone(&self.llq, |_| new)),
            };
            match found {
                Ok(_) => break (prod, end),
                Err(found) => llq = found,
            }
        };
        // Step 4.
        let at = start as usize & (entries - 1);
        let first = list.len().min(entries - at);
        self.ring[at..at + first].copy_from_slice(&list[..first]);
        self.ring[..list.len() - first].copy_from_slice(&list[first..]);
        // Step 6.
        fence(Ordering::Release);
        for (word, mask) in Self::words(words, at, list.len()) {
            match LOCKED {
                true => self.valid_map[word].fetch_xor(mask, Ordering::Relaxed),
                false => change_alone(&self.valid_map[word], |valid| valid ^ mask),
            };
        }
        // Step 7.
        black_box(self.owner_prod.load(Ordering::Acquire));
        black_box(match LOCKED {
            true => self.llq.fetch_and(!OWNED, Ordering::Relaxed),
            false => change_alone(&self.llq, |llq| llq & !OWNED),
        });
        for (word, _) in Self::words(words, at, list.len()) {
            black_box(self.valid_map[word].load(Ordering::Acquire));
        }
        self.prod_reg.store(end, Ordering::Release);
        self.owner_prod.store(end, Ordering::Release);
        // The SMMU.
        self.cons_reg.store(end, Ordering::Release);
    }
}

/// A mutex around it.
struct UnderMutex {
    ring: Mutex<Plain>,
    prod_reg: AtomicU64,
}

impl Ring for UnderMutex {
    fn put(&self, list: &[[u64; 2]]) {
        self.ring.lock().expect("no panic under it").put(list, &self.prod_reg);
    }
}

/// The same mutex, tried until it is free.
struct UnderSpinlock(UnderMutex);

impl Ring for UnderSpinlock {
    fn put(&self, list: &[[u64; 2]]) {
        let mut looks = 0u32;
        let mut ring = loop {
            if let Ok(ring) = self.0.ring.try_lock() {
                break ring;
            }
            looks = looks.wrapping_add(1);
            if looks % 100 == 0 {
                thread::yield_now();
            }
            spin_loop();
        };
        ring.put(list, &self.0.prod_reg);
    }
}

fn under_mutex(log2size: u8) -> UnderMutex {
    UnderMutex { ring: Mutex::new(Plain::new(log2size)), prod_reg: AtomicU64::new(0) }
}

/// TLBI_NH_VA, by page.
fn list(size: usize) -> Vec<[u64; 2]> {
    (0..size as u64).map(|page| [0x12 | 7 << 32 | 1 << 48, page << 12 | 1]).collect()
}

/// Every ring, by name.
fn rings(producers: usize) -> Vec<(String, Box<dyn Ring>)> {
    let driver = |row: &&str| {
        let ring: Box<dyn Ring> = Box::new(Driver::new(row, producers, None));
        (row.to_string(), ring)
    };
    let locked: [(String, Box<dyn Ring>); 2] = [
        ("a ring under a mutex".to_string(), Box::new(under_mutex(LOG2SIZE))),
        ("a ring under a spinlock".to_string(), Box::new(UnderSpinlock(under_mutex(LOG2SIZE)))),
    ];
    ROWS.iter().map(driver).chain(locked).collect()
}

/// The same rows in turn, so that the ratios mean something beside other builds.
fn in_turn(_: &mut Criterion) {
    for log2size in [LOG2SIZE, LOG2SIZE_OF_D06] {
        println!("one producer, in turn, a ring of 2^{log2size}: medians in ns");
        in_turn_on(log2size);
    }
}

fn in_turn_on(log2size: u8) {
    for size in SIZES {
        let list = list(size);
        let [ours, old] = ["cmdq_df180b1a4cc5", "cmdq_linux_5_3"]
            .map(|row| Driver::sized(row, 1, None, log2size));
        let (mutex, spinlock) = (under_mutex(log2size), UnderSpinlock(under_mutex(log2size)));
        let mut accesses = Accesses::<true>::new(log2size);
        let mut unlocked = Accesses::<false>::new(log2size);
        let mut plain = Plain::new(log2size);
        let prod = AtomicU64::new(0);
        let [ours, least, no_lock, copy, old, mutex, spinlock] = benches::in_turn(
            200,
            &mut [
                &mut || ours.put(black_box(&list)),
                &mut || {
                    accesses.put(black_box(&list));
                    black_box(&mut accesses.ring);
                },
                &mut || {
                    unlocked.put(black_box(&list));
                    black_box(&mut unlocked.ring);
                },
                &mut || {
                    plain.put(black_box(&list), &prod);
                    black_box(&mut plain.ring);
                },
                &mut || old.put(black_box(&list)),
                &mut || mutex.put(black_box(&list)),
                &mut || spinlock.put(black_box(&list)),
            ],
        );
        println!(
            "{size}: cmdq_df180b1a4cc5 {ours:.0}, its copy and atomic accesses {least:.0}, these \
             without a locked instruction {no_lock:.0}, a bare copy {copy:.0}, cmdq_linux_5_3 \
             {old:.0}, mutex {mutex:.0}, spinlock {spinlock:.0}"
        );
    }
}

fn against_batch_size(c: &mut Criterion) {
    let mut group = c.benchmark_group("insertion, one producer");
    for size in SIZES {
        group.throughput(Throughput::Elements(size as u64));
        let list = list(size);
        for (name, ring) in rings(1) {
            group.bench_function(BenchmarkId::new(name, size), |b| {
                b.iter(|| ring.put(black_box(&list)));
            });
        }
        let (mut plain, prod) = (Plain::new(LOG2SIZE), AtomicU64::new(0));
        group.bench_function(BenchmarkId::new("a bare copy", size), |b| {
            b.iter(|| {
                plain.put(black_box(&list), &prod);
                // Somebody reads it.
                black_box(&mut plain.ring);
            });
        });
        let mut accesses = Accesses::<true>::new(LOG2SIZE);
        group.bench_function(BenchmarkId::new("a copy and its atomic accesses", size), |b| {
            b.iter(|| {
                accesses.put(black_box(&list));
                black_box(&mut accesses.ring);
            });
        });
    }
    group.finish();
}

/// Time of so many lists, shared among the producers.
fn together(ring: &dyn Ring, producers: usize, lists: u64, list: &[[u64; 2]]) -> Duration {
    let each = lists.div_ceil(producers as u64);
    let begin = Instant::now();
    thread::scope(|s| {
        for _ in 0..producers {
            s.spawn(|| (0..each).for_each(|_| ring.put(black_box(list))));
        }
    });
    begin.elapsed()
}

fn against_threads(c: &mut Criterion) {
    let mut group = c.benchmark_group("insertion, lists of 16");
    let list = list(16);
    group.throughput(Throughput::Elements(16));
    for producers in [1, 2, 4] {
        for (name, ring) in rings(producers) {
            group.bench_function(BenchmarkId::new(name, producers), |b| {
                b.iter_custom(|lists| together(&*ring, producers, lists, &list));
            });
        }
    }
    group.finish();
}

fn with_an_smmu(c: &mut Criterion) {
    let mut group = c.benchmark_group("a list and its CMD_SYNC, the SMMU on a thread of its own");
    for size in SIZES {
        group.throughput(Throughput::Elements(size as u64));
        let list = list(size);
        for row in ROWS {
            group.bench_function(BenchmarkId::new(row, size), |b| {
                b.iter_custom(|lists| {
                    let Driver { q, .. } = Driver::new(row, 1, None);
                    thread::scope(|s| {
                        let smmu = s.spawn(|| on_cpu(1, || device::smmu(&q)));
                        let begin = Instant::now();
                        for _ in 0..lists {
                            (q.rev.issue_cmdlist)(&q, black_box(&list), true).expect("it consumes");
                        }
                        let took = begin.elapsed();
                        q.producers.leave(here());
                        let consumed = smmu.join().expect("no panic").expect("no splat");
                        assert_eq!(u64::from(consumed), lists * (size as u64 + 1));
                        took
                    })
                });
            });
        }
    }
    group.finish();
}

/// Calls between two heaps: the model keeps what was freed.
const CALLS: u64 = 1_000;

/// A vSMMU with 64 vDEVICEs.
fn vsmmu() -> Vsmmu {
    Vsmmu { vmid: 7, vdevs: (0..64).map(|n| (n, 0x100 + n)).collect(), without: Vec::new() }
}

/// Time of so many calls of `f` with a vSMMU.
fn on_vsmmu(calls: u64, mut f: impl FnMut(Ptr<ArmVsmmu>)) -> Duration {
    let mut took = Duration::ZERO;
    for done in (0..calls).step_by(CALLS as usize) {
        let part = on_cpu(0, || {
            let vsmmu = ArmVsmmu::new(&vsmmu());
            let begin = Instant::now();
            (0..CALLS.min(calls - done)).for_each(|_| f(vsmmu));
            begin.elapsed()
        });
        took += part.expect("no splat");
    }
    took
}

const OLD: &str = "cmdq_df180b1a4cc5";
const NEW: &str = "cmdq_2d4f03f6610d";

fn invalidation(c: &mut Criterion) {
    let mut group = c.benchmark_group("one command of a guest");
    group.bench_function("vSID to SID", |b| {
        b.iter_custom(|calls| {
            on_vsmmu(calls, |vsmmu| {
                assert_eq!(arm_vsmmu_vsid_to_sid(vsmmu, black_box(5)), Ok(0x105));
            })
        });
    });
    let contracts: [(&str, Convert); 2] = [
        ("convert, v6.14", arm_vsmmu_convert_user_cmd),
        ("convert, September 2026", arm_vsmmu_convert_allowed),
    ];
    let Driver { q, .. } = Driver::new(OLD, 1, Some(vsmmu()));
    for (name, cmd) in [("TLBI_NH_VA", [0x12, 0x5000]), ("ATC_INV", [0x40 | 5 << 32, 52])] {
        for (contract, convert) in contracts {
            group.bench_function(BenchmarkId::new(contract, name), |b| {
                b.iter_custom(|calls| {
                    on_vsmmu(calls, |vsmmu| {
                        assert!(black_box(convert(&q, vsmmu, black_box(cmd))).is_ok());
                    })
                });
            });
        }
    }
    group.finish();
}

/// Time of so many calls of IOMMU_HWPT_INVALIDATE, the SMMU on a thread of its own.
fn invalidate(row: &str, calls: u64, array: &Invalidate) -> Duration {
    let driver = Driver::new(row, 1, Some(vsmmu()));
    let (took, consumed) = thread::scope(|s| {
        let smmu = s.spawn(|| on_cpu(1, || device::smmu(&driver.q)));
        let took = on_vsmmu(calls, |vsmmu| {
            let answer = (driver.q.rev.iommufd_hwpt_invalidate)(&driver.q, vsmmu, black_box(array));
            assert_eq!(answer, (Ok(()), array.commands.len() as u32));
        });
        driver.q.producers.leave(here());
        (took, smmu.join().expect("no panic").expect("no splat"))
    });
    let windows = array.commands.len().div_ceil(63) as u64;
    assert_eq!(u64::from(consumed), calls * (array.commands.len() as u64 + windows));
    took
}

fn whole_call(c: &mut Criterion) {
    let mut group = c.benchmark_group("IOMMU_HWPT_INVALIDATE, the SMMU on a thread of its own");
    for size in [1, 16, 63, 630] {
        group.throughput(Throughput::Elements(size as u64));
        let array = Invalidate::of(list(size));
        for row in [OLD, NEW] {
            group.bench_function(BenchmarkId::new(row, size), |b| {
                b.iter_custom(|calls| invalidate(row, calls, &array));
            });
        }
    }
    group.finish();
}

criterion_group!(
    name = benches;
    config = short();
    targets = in_turn, against_batch_size, against_threads, with_an_smmu, invalidation, whole_call
);

fn short() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(600))
        .sample_size(20)
}

criterion_main!(benches);
