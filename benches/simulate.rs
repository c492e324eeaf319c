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
use races::simulate::{observe, sample, Plan};
use scenarios::simulate::queue::{self, QueueRow};
use scenarios::simulate::{draw, Row};
use uapi::pick::Subject;

/// Programs of one sample.
const PROGRAMS: u64 = 64;

fn of_iommufd(row: &Row) -> Vec<(Subject, Plan)> {
    let drawn = (0..PROGRAMS).filter_map(|run| draw(Draws::seed_of_run(1, run), row).ok());
    drawn.map(|drawn| (drawn.subject(row), drawn.plan(&[]))).collect()
}

fn of_the_queue(row: &QueueRow) -> Vec<(Subject, Plan)> {
    let drawn = (0..PROGRAMS).filter_map(|run| queue::draw(Draws::seed_of_run(1, run), row).ok());
    drawn.map(|drawn| (drawn.subject(row), drawn.plan())).collect()
}

fn programs(c: &mut Criterion) {
    for name in ["linux_6_13", "linux_7_3"] {
        let Ok(row) = Row::ask(name) else { continue };
        measure(c, name, &|| of_iommufd(&row));
    }
    let name = "cmdq_2d4f03f6610d";
    let Ok(row) = QueueRow::ask(name) else { return };
    measure(c, name, &|| of_the_queue(&row));
}

fn measure(c: &mut Criterion, name: &str, drawn: &dyn Fn() -> Vec<(Subject, Plan)>) {
    let mut group = c.benchmark_group(format!("{name}: {PROGRAMS} programs"));
    group.sample_size(10).throughput(Throughput::Elements(PROGRAMS));
    group.bench_function("drawn", |b| b.iter(|| black_box(drawn())));
    let ready = drawn();
    group.bench_function("run", |b| {
        b.iter(|| {
            for (subject, plan) in &ready {
                let _ = black_box(observe(subject, plan));
            }
        });
    });
    group.bench_function("run by shuttle's random scheduler", |b| {
        b.iter(|| {
            for (subject, plan) in &ready {
                let _ = black_box(sample(subject, plan, &mut |_| true));
            }
        });
    });
    group.finish();
}

criterion_group!(benches, programs);
criterion_main!(benches);
