//! Do the outputs have the shapes that were published?
//!
//! A band is about shape; how far single cells are off is on the page reports/cost-model.md.

use smmuv3_timing::published::{
    off_permille, CALIBRATION, CALIBRATION_SCHEMES, VALIDATION, VALIDATION_SCHEMES,
};
use smmuv3_timing::stats::Spread;
use smmuv3_timing::{run, Insertion, Lists, LockForm, Outcome, Path, Profile, Workload, NS};

/// Seeds of a median.
const SEEDS: u64 = 5;

fn strict(cpus: u32, insertion: Insertion) -> Outcome {
    let profile = Profile::kunpeng_920();
    run(&profile, &Workload::strict(&profile, cpus, insertion)).expect("it ends")
}

fn of(change: impl FnOnce(&mut Workload)) -> Outcome {
    let profile = Profile::kunpeng_920();
    let mut workload = Workload::strict(&profile, 1, Insertion::Cmpxchg);
    change(&mut workload);
    run(&profile, &workload).expect("it ends")
}

#[test]
fn the_three_schemes_are_equal_up_to_4_cpus_and_ordered_from_32_on() {
    let [cas, spin, add] = [Insertion::Cmpxchg, Insertion::SpinFallback, Insertion::FetchAdd]
        .map(|i| move |cpus| strict(cpus, i).per_second());
    for cpus in [2, 4] {
        let rates = [cas(cpus), spin(cpus), add(cpus)];
        let (least, most) = (rates.iter().min(), rates.iter().max());
        // Published: within about 6 %.
        let (least, most) = (least.copied().unwrap_or(0), most.copied().unwrap_or(0));
        assert!(most * 100 <= least * 107, "{cpus} CPUs: {rates:?}");
    }
    for cpus in [32, 64, 96] {
        let rates = [cas(cpus), spin(cpus), add(cpus)];
        assert!(rates[0] < rates[1] && rates[1] <= rates[2] * 101 / 100, "{cpus}: {rates:?}");
    }
    assert!(add(96) >= 3 * cas(96));
}

#[test]
fn the_cmpxchg_loop_peaks_at_8_to_16_cpus_and_falls_as_one_over_n() {
    let rates =
        [2, 4, 8, 12, 16, 32, 64, 96].map(|n| (n, strict(n, Insertion::Cmpxchg).per_second()));
    let peak = rates.iter().max_by_key(|r| r.1).map(|r| r.0);
    assert!(matches!(peak, Some(8 | 12 | 16)), "{rates:?}");
    // Aggregate times CPUs is constant from 32 on; published 36.8, 38.9, 47.9 M.
    let [.., a, b, c] = rates.map(|(n, rate)| rate * u64::from(n));
    for (near, far) in [(a, b), (b, c), (a, c)] {
        assert!(near * 2 > far && far * 2 > near, "{rates:?}");
    }
}

#[test]
fn one_cmpxchg_in_eight_to_sixteen_succeeds_at_64_cpus() {
    let permille = strict(64, Insertion::Cmpxchg).cas_permille().expect("there are cmpxchgs");
    assert!((1_000 / 16..=1_000 / 8).contains(&permille), "{permille}");
    assert_eq!(strict(64, Insertion::FetchAdd).cas_permille(), None);
}

/// The benchmark of the ECMDQ posting: 80 CPUs of one die with real work between invalidations of
/// two commands. "Batch" there is how many commands one list may have.
fn with_real_work(path: Path, batch: u32) -> u64 {
    let mut profile = Profile::kunpeng_920();
    profile.topology.cpus_per_die = 128;
    profile.line.die_ns = 30;
    let workload = Workload {
        commands: 2,
        batch,
        lists: Lists::SyncLast,
        path,
        work: 40_000 * NS,
        pte_sharers: 0,
        invalidations: 40_000,
        ..Workload::strict(&profile, 80, Insertion::Cmpxchg)
    };
    run(&profile, &workload).expect("it ends").per_second()
}

#[test]
fn with_real_work_between_invalidations_the_batch_hardly_matters() {
    let one = with_real_work(Path::Host, 1);
    let batched = [32, 64, 128, 256].map(|b| with_real_work(Path::Host, b));
    let per_cpu = with_real_work(Path::PerCpu, 64);
    let (least, most) = (batched.iter().min().copied(), batched.iter().max().copied());
    let (least, most) = (least.unwrap_or(0), most.unwrap_or(0));
    assert!(one < least, "batch 1 is lowest: {one} {batched:?}");
    assert!(one * 100 > least * 97, "but not by much (published 1.2 to 2.3 %): {one} {batched:?}");
    assert!(most * 1_000 <= least * 1_015, "within 1.5 %: {batched:?}");
    // Published: 2.4 to 3.5 %; the model gives about half of it.
    let gain = per_cpu * 1_000 / most;
    assert!((1_005..=1_050).contains(&gain), "queues per CPU: {gain} ({batched:?} {per_cpu})");
}

#[test]
fn about_a_third_of_the_syncs_can_be_left_out_before_5_4() {
    // Published: 33.6 % under a load of unknown width; here between 4 and 5 CPUs.
    for (cpus, from, to) in [(4, 250, 336), (5, 336, 400), (8, 400, 500), (16, 400, 500)] {
        let change = |coalesce| {
            of(|w| (w.cpus, w.insertion, w.coalesce) = (cpus, Insertion::Spinlock, coalesce))
        };
        let (out, all) = (change(true), change(false));
        let permille = out.syncs_saved * 1_000 / (out.syncs + out.syncs_saved);
        assert!((from..=to).contains(&permille), "{cpus} CPUs: {permille} in a thousand");
        assert_eq!(all.syncs_saved, 0);
        assert!(out.per_second() > all.per_second());
    }
}

#[test]
fn a_guest_with_its_own_vcmdq_saves_70_to_90_percent() {
    for cpus in [1, 4, 8] {
        let trapped = of(|w| (w.cpus, w.path, w.batch) = (cpus, Path::Trapped, 1));
        let own = of(|w| (w.cpus, w.path) = (cpus, Path::Vcmdq));
        let saved = 1_000 - own.latency_mean() * 1_000 / trapped.latency_mean();
        assert!((700..=900).contains(&saved), "{cpus} vCPUs: {saved} in a thousand");
    }
}

#[test]
fn strict_costs_what_was_published_between_4_and_5_cpus_of_the_text_of_2018() {
    // Zhen Lei 2018: 3.6 to 3.9 times the IOPS without strict mode, on a load of unknown width, where
    // the same author's share of SYNCs left out is met, too. A lazy unmap is flushed with 255
    // others, by one command and its SYNC (IOVA_FQ_SIZE).
    const QUEUED: u64 = 256;
    let gain = |cpus| {
        let text = |w: &mut Workload| {
            (w.cpus, w.insertion, w.coalesce) = (cpus, Insertion::Spinlock, true);
        };
        let strict = of(text);
        let lazy = of(|w| {
            text(w);
            (w.work, w.pte_sharers) = (QUEUED * w.work, 0);
        });
        lazy.per_second() * QUEUED * 1_000 / strict.per_second()
    };
    let gains = [4, 5].map(gain);
    assert!((3_000..3_600).contains(&gains[0]), "{gains:?}");
    assert!((3_900..4_600).contains(&gains[1]), "{gains:?}");
}

#[test]
fn queues_per_cpu_gain_up_to_20_percent_in_the_host() {
    for cpus in [1, 2, 4] {
        let one = of(|w| (w.cpus, w.work) = (cpus, 8_000 * NS));
        let many = of(|w| (w.cpus, w.work, w.path) = (cpus, 8_000 * NS, Path::PerCpu));
        let gain = many.per_second() * 1_000 / one.per_second();
        assert!((990..=1_200).contains(&gain), "{cpus} CPUs: {gain} in a thousand");
    }
}

/// Lists of 63 of an invalidation without RIL, in a ring of 256.
fn small_ring(lock: LockForm, lists: Lists) -> Outcome {
    let profile = Profile::kunpeng_920();
    let workload = Workload {
        commands: 511,
        entries: 256,
        lock,
        lists,
        invalidations: 2_000,
        pte_sharers: 0,
        ..Workload::strict(&profile, 32, Insertion::Cmpxchg)
    };
    run(&profile, &workload).expect("it ends")
}

#[test]
fn with_a_small_ring_the_fair_lock_halves_the_waits_and_not_the_work() {
    // Commit df180b1a4cc5: latency -50 % with the fair lock; Robin Murphy: the work is the same.
    // Both: the waits for the lock halve at least, and what gets done does not change.
    for lists in [Lists::SyncEach, Lists::SyncLast] {
        let [old, fair] =
            [LockForm::StoreZero, LockForm::ClearSign].map(|lock| small_ring(lock, lists));
        let longest = |o: &Outcome| o.lock_waits.last().copied().unwrap_or(0);
        assert!(fair.lock_waits.len() > 50, "{lists:?}: the lock is not waited for");
        assert!(longest(&old) > 2 * longest(&fair), "{} {}", longest(&old), longest(&fair));
        let mean = |o: &Outcome| o.lock_waits.iter().sum::<u64>() / o.lock_waits.len() as u64;
        assert!(mean(&old) > mean(&fair), "{} {}", mean(&old), mean(&fair));
        let (old, fair) = (old.per_second(), fair.per_second());
        assert!(old.abs_diff(fair) * 20 < fair, "{lists:?}: {old} {fair}");
    }
}

/// The median of some seeds, as the page has it.
fn median(cpus: u32, insertion: Insertion) -> u64 {
    let profile = Profile::kunpeng_920();
    let rates = (1..=SEEDS).map(|seed| {
        let workload = Workload { seed, ..Workload::strict(&profile, cpus, insertion) };
        run(&profile, &workload).expect("it ends").per_second_and_cpu()
    });
    Spread::of(rates).expect("there are seeds").median
}

#[test]
fn the_fit_beats_the_simpler_model() {
    let (mut worst, mut worst_middle) = (0, 0);
    for (cpus, published) in CALIBRATION {
        for (insertion, published) in CALIBRATION_SCHEMES.into_iter().zip(published) {
            // Its text is not known well enough; the page shows how far it is off.
            if insertion == Insertion::SpinFallback {
                continue;
            }
            let off = off_permille(median(cpus, insertion), published).abs();
            worst = worst.max(off);
            if (8..=32).contains(&cpus) {
                worst_middle = worst_middle.max(off);
            }
        }
    }
    // The simpler model's worst cell is 24 %, at 32 CPUs.
    assert!(worst <= 150, "worst cell {worst} in a thousand");
    assert!(worst_middle <= 150, "worst of 8 to 32 CPUs {worst_middle} in a thousand");
}

#[test]
fn the_table_that_was_not_looked_at_is_met_as_far_as_the_two_tables_agree() {
    for (cpus, published) in VALIDATION {
        for (insertion, published) in VALIDATION_SCHEMES.into_iter().zip(published) {
            let off = off_permille(median(cpus, insertion), published).abs();
            // At 16 CPUs the tables themselves differ by 37 % in the cmpxchg column: the loop is
            // on the edge there between a calm and a congested state.
            let edge = cpus == 16 && insertion == Insertion::Cmpxchg;
            let most = if edge { 450 } else { 250 };
            assert!(off <= most, "{cpus} CPUs, {insertion:?}: {off} in a thousand");
        }
    }
}
