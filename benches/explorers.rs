//! How many executions does each explorer need, and how many does it run in a second?
//!
//! The peers run in the same process, one after the other: loom 0.7.3 and shuttle 0.9.9, once on
//! golden programs written directly in their own primitives (`races::peers`), once on the kernel
//! model. Each run is cut off after a number of executions that stands in its name or in the
//! table. The table of executions to exhaust is printed first; it does not depend on the machine.
//!
//! Source: reference/engines-golden.md.

use std::hint::black_box;

use benches::{dpor, dpor_to_first_failure, golden, loom, race, shuttle_dfs, Reach, RACES};
use criterion::{criterion_group, criterion_main, Criterion, Throughput};
use races::peers::{self, Peer};
use races::Backend;
use uapi::program::Dependence;

/// Executions after which an explorer is cut off in the table.
const TABLE_MAX: u64 = 20_000;
/// Executions of one sample of a slow explorer.
const SAMPLE: u64 = 1_000;

fn shown(reach: Reach) -> String {
    if reach.exhausted {
        format!("{}", reach.executions)
    } else {
        format!("more than {}", reach.executions)
    }
}

fn table() {
    println!("executions to exhaust (cut off after {TABLE_MAX})");
    println!("{:<58} {:>16} {:>16} {:>16}", "subject", "dpor", "loom", "shuttle DFS");
    for (allocs, destroys, full) in [(2, 0, false), (1, 1, false), (2, 1, false), (2, 1, true)] {
        let peer = Peer { allocs: allocs.into(), destroys: destroys.into(), full };
        let subject = golden(allocs, destroys, full, Dependence::Keyed);
        let ours = dpor(&subject, Backend::Native, Dependence::Keyed, TABLE_MAX);
        let theirs =
            [peers::loom(peer, TABLE_MAX as usize), peers::shuttle_dfs(peer, TABLE_MAX as usize)]
                .map(|executions| Reach { executions, exhausted: executions < TABLE_MAX });
        let size = if full { "full" } else { "mini" };
        println!(
            "{:<58} {:>16} {:>16} {:>16}",
            format!("golden {size} {allocs}a{destroys}d, in the peers' own primitives"),
            shown(ours),
            shown(theirs[0]),
            shown(theirs[1]),
        );
    }
    for (name, twin) in RACES {
        let subject = race(name, "linux_6_13");
        println!(
            "{:<58} {:>16} {:>16} {:>16}",
            format!("{name} linux_6_13"),
            shown(dpor(&subject, Backend::Native, Dependence::Keyed, TABLE_MAX)),
            shown(loom(&subject, TABLE_MAX)),
            shown(shuttle_dfs(&subject, TABLE_MAX)),
        );
        let first = dpor_to_first_failure(&race(name, twin));
        println!("  first failing execution of {twin}: {first:?}");
    }
}

/// Executions per second on golden programs, the peers in their own primitives.
fn golden_rates(c: &mut Criterion) {
    let mut group = c.benchmark_group("golden full 2a1d, plain: executions per second");
    group.sample_size(10).throughput(Throughput::Elements(SAMPLE));
    let subject = golden(2, 1, true, Dependence::Plain);
    let peer = Peer { allocs: 2, destroys: 1, full: true };

    for (name, backend) in
        [("dpor on coroutines", Backend::Native), ("dpor in shuttle", Backend::Shuttle)]
    {
        group.bench_function(name, |b| {
            b.iter(|| black_box(dpor(&subject, backend, Dependence::Plain, SAMPLE)));
        });
    }
    group.bench_function("loom", |b| b.iter(|| black_box(peers::loom(peer, SAMPLE as usize))));
    group.bench_function("shuttle DFS", |b| {
        b.iter(|| black_box(peers::shuttle_dfs(peer, SAMPLE as usize)));
    });
    group.finish();
}

/// Executions per second on a race of the kernel model.
fn model_rates(c: &mut Criterion) {
    let (name, _) = RACES[1];
    let subject = race(name, "linux_6_13");
    let mut group = c.benchmark_group(format!("{name}: executions per second"));
    // The keyed search is over after a few hundred executions; plain dependence has enough.
    group.sample_size(10).throughput(Throughput::Elements(SAMPLE));

    group.bench_function("dpor on coroutines", |b| {
        b.iter(|| black_box(dpor(&subject, Backend::Native, Dependence::Plain, SAMPLE)));
    });
    group.bench_function("loom", |b| b.iter(|| black_box(loom(&subject, SAMPLE))));
    group.bench_function("shuttle DFS", |b| b.iter(|| black_box(shuttle_dfs(&subject, SAMPLE))));
    group.finish();
}

/// Time to exhaust each race, and to the first failing execution of its twin.
fn verdicts(c: &mut Criterion) {
    let mut group = c.benchmark_group("time to a verdict");
    group.sample_size(10);
    for (name, twin) in RACES {
        let subject = race(name, "linux_6_13");
        group.bench_function(format!("{name}: Never, exhausted"), |b| {
            b.iter(|| {
                black_box(dpor(&subject, Backend::Native, Dependence::Keyed, u64::MAX));
            });
        });
        let subject = race(name, twin);
        group.bench_function(format!("{name}: first failing execution of {twin}"), |b| {
            b.iter(|| black_box(dpor_to_first_failure(&subject)));
        });
    }
    group.finish();
}

fn with_table(c: &mut Criterion) {
    races::clear_environment();
    table();
    golden_rates(c);
}

criterion_group!(benches, with_table, model_rates, verdicts);
criterion_main!(benches);
