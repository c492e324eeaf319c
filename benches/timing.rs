//! How many commands does the cost model of the SMMUv3 command queue simulate in a second, and what
//! does one point of a sweep cost?
//!
//! Bounds: the number of invalidations stands in the workload. Wanted: 10 M commands per second,
//! and a point of 128 CPUs in less than a second; nothing of it is asserted.
//!
//! Source: `model/timing`.

use std::hint::black_box;

use criterion::{criterion_group, criterion_main, BenchmarkId, Criterion, Throughput};
use smmuv3_timing::{run, Insertion, Profile, Workload};

/// A busy queue: no work between invalidations.
fn busy(profile: &Profile, cpus: u32, commands: u32) -> Workload {
    Workload {
        commands,
        work: 0,
        pte_sharers: 0,
        invalidations: if commands == 1 { 20_000 } else { 2_000 },
        ..Workload::strict(profile, cpus, Insertion::Cmpxchg)
    }
}

fn simulated_commands(c: &mut Criterion) {
    let mut group = c.benchmark_group("simulated commands per second");
    group.sample_size(20);
    let profile = Profile::kunpeng_920();
    for commands in [1, 63, 511] {
        for cpus in [1, 16, 96] {
            let workload = busy(&profile, cpus, commands);
            let Ok(out) = run(&profile, &workload) else { continue };
            group.throughput(Throughput::Elements(out.commands_simulated));
            let id =
                BenchmarkId::new(format!("invalidations of {commands}"), format!("{cpus} CPUs"));
            group.bench_function(id, |b| b.iter(|| black_box(run(&profile, &workload))));
        }
    }
    group.finish();
}

fn sweep_point(c: &mut Criterion) {
    let mut group = c.benchmark_group("a sweep point of 128 CPUs, 3 seeds");
    group.sample_size(10);
    let mut profile = Profile::kunpeng_920();
    profile.topology.cpus_per_die = 32;
    for insertion in Insertion::ALL {
        group.bench_function(insertion.name(), |b| {
            b.iter(|| {
                for seed in 1..=3 {
                    let workload = Workload::strict(&profile, 128, insertion);
                    let _ = black_box(run(&profile, &Workload { seed, ..workload }));
                }
            });
        });
    }
    group.finish();
}

criterion_group!(benches, simulated_commands, sweep_point);
criterion_main!(benches);
