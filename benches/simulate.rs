//! How many drawn programs does the simulator run in a second, drawing, executing and explaining
//! answers included?
//!
//! Bounds: the number of programs stands in each name; what is found is not made smaller. Nothing of
//! it is asserted.
//!
//! Source: `scenarios/src/simulate.rs`, `races/src/simulate.rs`.

use std::hint::black_box;

use criterion::{criterion_group, criterion_main, Criterion, Throughput};
use races::seed::Draws;
use races::simulate::{observe, sample};
use scenarios::simulate::{draw, Drawn, Row};

/// Programs of one sample.
const PROGRAMS: u64 = 64;

fn drawn(row: &Row) -> Vec<Drawn> {
    (0..PROGRAMS).filter_map(|run| draw(Draws::seed_of_run(1, run), row).ok()).collect()
}

fn programs(c: &mut Criterion) {
    for name in ["linux_6_13", "linux_7_3"] {
        let Ok(row) = Row::ask(name) else { continue };
        let mut group = c.benchmark_group(format!("{name}: {PROGRAMS} programs"));
        group.sample_size(10).throughput(Throughput::Elements(PROGRAMS));
        group.bench_function("drawn", |b| b.iter(|| black_box(drawn(&row))));
        let ready = drawn(&row);
        group.bench_function("run", |b| {
            b.iter(|| {
                for drawn in &ready {
                    let _ = black_box(observe(&drawn.subject(&row), &drawn.plan(&[])));
                }
            });
        });
        group.bench_function("run by shuttle's random scheduler", |b| {
            b.iter(|| {
                for drawn in &ready {
                    let _ =
                        black_box(sample(&drawn.subject(&row), &drawn.plan(&[]), &mut |_| true));
                }
            });
        });
        group.finish();
    }
}

criterion_group!(benches, programs);
criterion_main!(benches);
