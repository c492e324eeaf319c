//! What does a command cost in the functional model of the SMMUv3 command queue: encoded, decoded,
//! and put into the ring and consumed, beside the peer crate `smmu` 1.8.0 and beside a bare copy?
//!
//! Bounds: one core, one producer, TLBI_NH_VA by lists of 1 to 63 and a CMD_SYNC without a signal
//! after each list; the ring of ours and of the peer never fills. Every list is asserted to have
//! been consumed whole and without an error, so that nobody is measured at refusing.
//!
//! Source: Arm IHI 0070 G.b chapters 3.5 and 4; <https://crates.io/crates/smmu> 1.8.0.

use std::hint::black_box;
use std::time::Duration;

use criterion::{criterion_group, criterion_main, BenchmarkId, Criterion, Throughput};
use smmu::types::{CommandEntry, CommandType};
use smmu::SMMU;
use smmuv3::command::{decode, Cs};
use smmuv3::registers::Base;
use smmuv3::{field, Aborted, Bus, Command, Config, Device, Effect, Op, Register, RingSize};

const SIZES: [u32; 5] = [1, 4, 16, 32, 63];
const LOG2SIZE: u8 = 8;
const MASK: u32 = (1 << LOG2SIZE) - 1;

/// The ring in memory, and whether the SMMU has signalled an error.
struct Memory {
    ring: Vec<[u64; 2]>,
    errors: u32,
}

impl Bus for Memory {
    fn fetch(&mut self, slot: u32) -> Result<[u64; 2], Aborted> {
        Ok(self.ring[slot as usize])
    }

    fn effect(&mut self, effect: Effect) -> Result<(), Aborted> {
        self.errors += u32::from(matches!(effect, Effect::Gerror(_)));
        Ok(())
    }
}

fn tlbi(page: u64) -> Command {
    Command::new(Op::TLBI_NH_VA)
        .with(field::ASID, 1)
        .and_then(|c| c.with(field::VMID, 7))
        .and_then(|c| c.with(field::LEAF, 1))
        .and_then(|c| c.with(field::VA, page << 12))
        .expect("the values fit their fields")
}

/// A list, and the CMD_SYNC behind it.
fn lists(size: u32) -> Vec<[u64; 2]> {
    let sync = Command::sync(Cs::None);
    (0..u64::from(size)).map(tlbi).chain([sync]).map(|command| command.words()).collect()
}

/// Our SMMU with its ring, and a producer's index.
struct Ours {
    device: Device,
    memory: Memory,
    prod: u32,
}

impl Ours {
    fn new() -> Ours {
        let size = RingSize::try_from(LOG2SIZE).expect("a ring may have this size");
        let base = Base::of(0x8000_0000 | u64::from(LOG2SIZE), size);
        let ring = vec![[0; 2]; 1 << LOG2SIZE];
        let memory = Memory { ring, errors: 0 };
        Ours { device: Device::probed(Config::FULL, base), memory, prod: 0 }
    }

    /// Puts a list into the ring, writes PROD, and consumes until nothing is left.
    fn issue(&mut self, list: &[[u64; 2]]) -> u32 {
        let before = self.device.consumed();
        for words in list {
            self.memory.ring[(self.prod & MASK) as usize] = *words;
            self.prod = (self.prod + 1) & (2 * MASK + 1);
        }
        self.device.write(Register::CMDQ_PROD, self.prod.into()).expect("PROD is in the ring");
        while self.device.go_on(&mut self.memory) {}
        self.device.consumed().wrapping_sub(before)
    }
}

fn peer() -> SMMU {
    let smmu = SMMU::new();
    smmu.set_cr0(SMMU::CR0_SMMUEN | SMMU::CR0_CMDQEN);
    smmu
}

fn peer_issue(smmu: &SMMU, list: &[CommandEntry]) -> usize {
    for command in list {
        smmu.submit_command(*command).expect("its queue has room");
    }
    smmu.process_command_queue().expect("it processes")
}

fn peer_list(size: u32) -> Vec<CommandEntry> {
    let tlbi = |page: u32| CommandEntry {
        start_address: u64::from(page) << 12,
        end_address: u64::from(page) << 12,
        asid: 1,
        vmid: 7,
        leaf: true,
        ..CommandEntry::new(CommandType::TlbiNhVa, 0, 0)
    };
    let sync = CommandEntry::new(CommandType::Sync, 0, 0);
    (0..size).map(tlbi).chain([sync]).collect()
}

fn codec(c: &mut Criterion) {
    let mut group = c.benchmark_group("one command");
    group.bench_function("encode", |b| b.iter(|| tlbi(black_box(5)).words()));
    let words = tlbi(5).words();
    group.bench_function("decode", |b| b.iter(|| decode(black_box(words), &Config::FULL)));
    group.finish();
}

/// Ours and the peer in turn, so that the ratios mean something beside other builds.
fn in_turn(_: &mut Criterion) {
    println!("insert and consume, with a CMD_SYNC, in turn: medians in ns");
    for size in SIZES {
        let (list, mut device) = (lists(size), Ours::new());
        let (smmu, peer_list) = (peer(), peer_list(size));
        let [ours, theirs] = benches::in_turn(
            10,
            &mut [&mut || assert_eq!(device.issue(black_box(&list)), size + 1), &mut || {
                assert_eq!(peer_issue(&smmu, black_box(&peer_list)), size as usize + 1)
            }],
        );
        println!("{size}: ours {ours:.0}, smmu 1.8.0 {theirs:.0}, {:.1} times", theirs / ours);
    }
}

fn insert_and_consume(c: &mut Criterion) {
    let mut group = c.benchmark_group("insert and consume, with a CMD_SYNC");
    for size in SIZES {
        group.throughput(Throughput::Elements(size.into()));
        let list = lists(size);
        let mut ours = Ours::new();
        group.bench_function(BenchmarkId::new("ours", size), |b| {
            b.iter(|| assert_eq!(ours.issue(black_box(&list)), size + 1));
        });
        assert_eq!(ours.memory.errors, 0);
        let (smmu, list) = (peer(), peer_list(size));
        group.bench_function(BenchmarkId::new("smmu 1.8.0", size), |b| {
            b.iter(|| assert_eq!(peer_issue(&smmu, black_box(&list)), size as usize + 1));
        });
        let (list, mut ring, mut at) = (lists(size), vec![[0u64; 2]; 1 << LOG2SIZE], 0usize);
        group.bench_function(BenchmarkId::new("a bare copy into a ring", size), |b| {
            b.iter(|| {
                let list = black_box(&list);
                at = if at + list.len() > ring.len() { 0 } else { at };
                ring[at..at + list.len()].copy_from_slice(list);
                at += list.len();
                black_box(&mut ring);
            });
        });
    }
    group.finish();
}

fn short() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(30)
}

criterion_group!(name = benches; config = short(); targets = in_turn, codec, insert_and_consume);
criterion_main!(benches);
