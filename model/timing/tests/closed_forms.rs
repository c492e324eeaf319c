//! Does the simulation give what can be written down?
//!
//! The numbers follow from the profile's costs by arithmetic; `closed` has the forms.

use smmuv3_timing::ranges::{self, Range};
use smmuv3_timing::{
    closed, run, Completion, Insertion, Lists, LockForm, Outcome, Path, Profile, Workload, NS,
};

/// Asserts that two numbers differ by at most so many in a thousand.
fn near(what: &str, got: u64, want: u64, permille: u64) {
    let off = got.abs_diff(want) * 1_000;
    assert!(off <= want * permille, "{what}: {got}, not {want} within {permille} in a thousand");
}

/// Many CPUs on one die that do nothing but invalidate.
fn saturated(profile: &Profile, commands: u32, batch: u32) -> Outcome {
    let mut profile = profile.clone();
    profile.topology.cpus_per_die = 128;
    let workload = Workload {
        commands,
        batch,
        work: 0,
        pte_sharers: 0,
        invalidations: 2_000,
        ..Workload::strict(&profile, 24, Insertion::FetchAdd)
    };
    run(&profile, &workload).expect("it ends")
}

fn alone(profile: &Profile, change: impl FnOnce(&mut Workload)) -> Outcome {
    let mut workload =
        Workload { invalidations: 400, ..Workload::strict(profile, 1, Insertion::Cmpxchg) };
    change(&mut workload);
    run(profile, &workload).expect("it ends")
}

#[test]
fn a_saturated_smmu_is_the_closed_form_and_dips_from_63_to_64() {
    let profile = Profile::kunpeng_920();
    // TLBIs per second, in thousands, as the defaults give them on paper.
    let printed = [
        (1, 3_125),
        (8, 17_391),
        (32, 34_043),
        (63, 40_385),
        (64, 34_043),
        (126, 40_385),
        (512, 39_567),
    ];
    let mut rates = Vec::new();
    for (commands, thousands) in printed {
        let out = saturated(&profile, commands, 63);
        let rate = out.commands_per_second();
        near(&format!("{commands} TLBIs"), rate, thousands * 1_000, 10);
        near(
            "the closed form",
            closed::saturated_rate(&profile, commands, 63),
            thousands * 1_000,
            1,
        );
        let lists = u64::from(commands.div_ceil(63));
        near("SYNCs", out.syncs * u64::from(commands), out.commands * lists, 10);
        rates.push(rate);
    }
    assert!(rates[4] * 100 < rates[3] * 86, "the dip from 63 to 64 is 16 %: {rates:?}");
    assert_eq!(closed::half_rate_batch(&profile), 15);
    near("half rate", saturated(&profile, 15, 63).commands_per_second(), 25_000_000, 10);
}

#[test]
fn the_dip_is_there_at_any_parameters() {
    for (fetch_ns, tlbi_issue_ns, msi_write_ns) in [(200, 10, 80), (20, 40, 250), (80, 5, 130)] {
        let mut profile = Profile::kunpeng_920();
        profile.smmu.fetch_ns = fetch_ns;
        profile.smmu.tlbi_issue_ns = tlbi_issue_ns;
        profile.smmu.msi_write_ns = msi_write_ns;
        profile.smmu.tlbi_depth = 64;
        profile.smmu.fetch_ahead_lines = 32;
        let rates = [63, 64].map(|n| saturated(&profile, n, 63).commands_per_second());
        near("63", rates[0], closed::saturated_rate(&profile, 63, 63), 10);
        near("64", rates[1], closed::saturated_rate(&profile, 64, 63), 10);
        assert!(rates[1] * 100 < rates[0] * 95, "{rates:?}");
    }
}

#[test]
fn a_sync_into_an_empty_ring_takes_what_was_published() {
    let profile = Profile::kunpeng_920();
    // Commit bd07a20a38b6: about 280 ns with MSI polling, 190 ns when CONS is polled.
    assert_eq!(closed::sync_alone(&profile, Completion::Msi), 280 * NS);
    assert_eq!(closed::sync_alone(&profile, Completion::Cons), 190 * NS);
    for completion in Completion::ALL {
        for commands in [0, 1, 7, 63] {
            let out = alone(&profile, |w| (w.commands, w.completion) = (commands, completion));
            let want = closed::list_alone(&profile, commands, completion);
            // A wait beyond ten polls of CONS meets the back-off, which the form has not.
            if completion == Completion::Cons && commands == 63 {
                assert!(out.latency_mean() >= want);
                continue;
            }
            near(&format!("{commands} and a SYNC, {completion:?}"), out.latency_mean(), want, 10);
        }
    }
}

#[test]
fn one_producer_that_waits_pays_a_fixed_part_and_a_part_per_command() {
    let profile = Profile::kunpeng_920();
    let time = |n| alone(&profile, |w| w.commands = n).latency_mean();
    let each = NS * (profile.cpu.entry_ns + profile.smmu.tlbi_issue_ns);
    near("63 against 8", time(63) - time(8), 55 * each, 10);
    near("32 against 16", time(32) - time(16), 16 * each, 10);
}

#[test]
fn a_trapped_invalidation_pays_per_ioctl_and_per_command() {
    let profile = Profile::kunpeng_920();
    let time = |commands, batch| {
        let trapped = |w: &mut Workload| {
            (w.path, w.commands, w.batch, w.invalidations) = (Path::Trapped, commands, batch, 40);
        };
        alone(&profile, trapped).latency_mean()
    };
    for (commands, batch) in [(1, 1), (1, 63), (63, 63), (512, 1), (512, 8), (512, 63)] {
        let want = closed::trapped_alone(&profile, commands, batch);
        near(&format!("{commands} in {batch}"), time(commands, batch), want, 10);
    }
    // 512 against 9 fixed costs.
    assert!(time(512, 1) > 10 * time(512, 63));
}

#[test]
fn fetch_add_is_bound_by_the_smmu_and_the_way_to_it() {
    let profile = Profile::kunpeng_920();
    for cpus in [16, 32, 64, 96] {
        let out =
            run(&profile, &Workload::strict(&profile, cpus, Insertion::FetchAdd)).expect("ends");
        near(&format!("{cpus} CPUs"), out.gap(), closed::saturated_gap(&profile, cpus), 10);
    }
}

#[test]
fn the_cmpxchg_loop_costs_so_much_per_cpu() {
    // About 25 ns per CPU: John Garry's table of 23 Sep 2020 gives 24.9, 29.1, 25.7, 20.9.
    let profile = Profile::kunpeng_920();
    for cpus in [16, 32, 64, 96] {
        let out =
            run(&profile, &Workload::strict(&profile, cpus, Insertion::Cmpxchg)).expect("ends");
        let per_cpu = out.gap() / u64::from(cpus);
        assert!((18 * NS..33 * NS).contains(&per_cpu), "{cpus} CPUs: {per_cpu} ps per CPU");
    }
}

#[test]
fn without_ril_the_cost_is_linear_up_to_the_cliff() {
    let profile = Profile::kunpeng_920();
    let time = |pages| {
        let n = ranges::commands(pages, Range::PerPage) as u32;
        alone(&profile, |w| w.commands = n).latency_mean()
    };
    let full = closed::list_alone(&profile, 63, Completion::Msi);
    for lists in 1..=8 {
        near("whole batches", time(63 * lists), lists * full, 10);
    }
    assert!(time(511) > 8 * full);
    for pages in [512, 513, 1 << 18] {
        near("beyond the cliff", time(pages), time(1), 1);
    }
}

#[test]
fn the_erratum_doubles_tlbis_and_leaves_the_atc_alone() {
    let profile = Profile::kunpeng_920();
    let of = |repeat, commands, atc| {
        alone(&profile, |w| (w.repeat, w.commands, w.atc) = (repeat, commands, atc))
    };
    for (commands, atc) in [(1, 0), (63, 0), (64, 0), (5, 3)] {
        let (once, twice) = (of(false, commands, atc), of(true, commands, atc));
        let lists = u64::from(commands.div_ceil(63));
        assert_eq!(once.commands, 400 * u64::from(commands + atc));
        assert_eq!(twice.commands, 400 * u64::from(2 * commands + atc));
        assert_eq!(twice.syncs - once.syncs, 400 * lists);
        if atc == 0 {
            near("the cost", twice.latency_mean(), 2 * once.latency_mean(), 10);
        }
    }
}

#[test]
fn atc_invs_follow_the_sync_of_their_tlbis_and_overlap_to_their_depth() {
    let profile = Profile::kunpeng_920();
    let with = |atc| alone(&profile, |w| w.atc = atc);
    let (none, one, full, over) = (with(0), with(1), with(32), with(33));
    assert_eq!((none.syncs, one.syncs), (400, 800));
    let trip = NS * profile.smmu.atc_round_trip_ns;
    assert!(one.latency_mean() - none.latency_mean() > trip);
    assert!(full.latency_mean() - one.latency_mean() < trip / 2, "32 trips overlap");
    assert!(over.latency_mean() - full.latency_mean() > trip * 8 / 10, "the 33rd waits");
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let profile = Profile::kunpeng_920();
    for insertion in Insertion::ALL {
        let workload = Workload {
            invalidations: 1_000,
            lists: Lists::SyncLast,
            commands: 70,
            ..Workload::strict(&profile, 12, insertion)
        };
        let first = run(&profile, &workload);
        assert_eq!(first, run(&profile, &workload), "{insertion:?}");
        assert_ne!(first, run(&profile, &Workload { seed: 2, ..workload }), "{insertion:?}");
    }
}

#[test]
fn every_command_that_was_asked_for_reaches_the_smmu() {
    // Small rings, so that every variant meets "no room", on every path and completion.
    let profile = Profile::kunpeng_920();
    for insertion in Insertion::ALL {
        for (path, lists) in [
            (Path::Host, Lists::SyncEach),
            (Path::Host, Lists::SyncLast),
            (Path::PerCpu, Lists::SyncLast),
            (Path::Trapped, Lists::SyncEach),
            (Path::Vcmdq, Lists::SyncEach),
        ] {
            for completion in Completion::ALL {
                let workload = Workload {
                    path,
                    lists,
                    completion,
                    commands: 130,
                    atc: 2,
                    entries: 128,
                    lock: LockForm::ClearSign,
                    invalidations: 200,
                    ..Workload::strict(&profile, 32, insertion)
                };
                let out = run(&profile, &workload).unwrap_or_else(|e| {
                    panic!("{insertion:?} {path:?} {lists:?} {completion:?}: {e}")
                });
                let invalidations = out.commands_simulated / 132;
                assert!(invalidations >= 200, "{insertion:?} {path:?}: {invalidations}");
                if path == Path::Host && insertion != Insertion::Spinlock {
                    assert!(out.full > 0, "{insertion:?} {lists:?}: the ring never filled");
                }
            }
        }
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let profile = Profile::kunpeng_920();
    let strict = Workload::strict(&profile, 4, Insertion::Cmpxchg);
    for (bad, words) in [
        (Workload { cpus: 0, ..strict.clone() }, "0 CPUs"),
        (Workload { cpus: 129, ..strict.clone() }, "129 CPUs"),
        (Workload { entries: 64, ..strict.clone() }, "64 entries"),
        (Workload { entries: 1 << 20, ..strict.clone() }, "LOG2SIZE"),
        (Workload { entries: 1000, ..strict.clone() }, "power of two"),
        (Workload { batch: 0, ..strict.clone() }, "a batch of 0"),
        (Workload { batch: 64, entries: 128, ..strict.clone() }, "a batch of 64"),
        (Workload { invalidations: 0, ..strict.clone() }, "invalidations"),
    ] {
        let error = run(&profile, &bad).expect_err(words);
        assert!(error.contains(words), "{error}");
    }
    let mut profile = profile;
    profile.topology.smmu_die = 9;
    assert!(run(&profile, &strict).expect_err("no such die").contains("topology.smmu_die"));
}
