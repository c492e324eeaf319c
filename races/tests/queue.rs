//! The command queue under every explorer: do the rows keep I1 to I13, is each mutant killed, and
//! by whom? `UPDATE=1` rewrites reports/kill-matrix.md.
//!
//! `QUEUE_ONLY=ROW:CASE` asks one case only, and `QUEUE_DPOR`, `QUEUE_SAMPLES`, `QUEUE_LOOM` and
//! `QUEUE_PRE` (loom's preemptions) are the budgets: for explorations longer than CI has time for.
//!
//! Has no test harness: the program is its own loom child.

use races::queue::{
    case, on_a_larger_ring, overtaken, subject, Case, CASES, DEAD, ECMDQ, ERRATUM, INVALIDATIONS,
    QUEUES, SUSPENDED, TEGRA241,
};
use races::{Backend, Bounds, Finding, Subject, Unwatched};
use std::fmt::Write;
use std::path::Path;
use uapi::errno::Ret;
use uapi::outcome::Outcome;
use uapi::pick::FirstEnabled;
use uapi::program::Limits;
use uapi::queue::{Fault, Invalidate, Queue, Request, Vsmmu, Without};
use uapi::verdict::Verdict;
use uapi::Errno;

/// The cases that the partial-order explorer does not exhaust within the bound.
const BOUNDED: &[&str] = &[
    "full_ring_of_two",
    "three_quiet_lists",
    "full_while_gathering",
    "lapped_quiet_list",
    "three_lists",
    "small_ring",
    "ring_end",
    "without_sync",
    "batch",
];

/// Of these, what it exhausts all the same.
const SMALLER: &[(&str, &str)] = &[
    ("cmdq_linux_5_3", "ring_end"),
    ("cmdq_fetch_add", "ring_end"),
    ("cmdq_fetch_add", "batch"),
    ("cmdq_fetch_add", "without_sync"),
];

/// The lock before df180b1a4cc5 is not fair (B13): what is asked of the others is not asked of it
/// where a CPU polls for space while another waits for the lock.
const UNFAIR: &[(&str, &str)] = &[
    ("cmdq_587e6c10a7ce", "small_ring"),
    ("cmdq_587e6c10a7ce", "without_sync"),
    ("cmdq_587e6c10a7ce", "full_while_gathering"),
    ("cmdq_spinlock_fallback", "small_ring"),
    ("cmdq_spinlock_fallback", "without_sync"),
    ("cmdq_spinlock_fallback", "full_while_gathering"),
];

/// 5.3 has no lists, so no SMMU could ask for a CMD_SYNC at the end of each.
const WITHOUT_LISTS: &[(&str, &str)] = &[("cmdq_linux_5_3", "forced_batch")];

/// Texts whose insertion and wait are one.
const UNCUT: &[(&str, &str)] = &[
    ("cmdq_fetch_add", "published_sync"),
    ("cmdq_fetch_add", "published_sync_msi"),
    ("cmdq_linux_5_3", "published_sync"),
    ("cmdq_linux_5_3", "published_sync_msi"),
];

/// The newest text.
const LATEST: &str = "cmdq_df180b1a4cc5";

/// The texts of which loom is asked more than what it goes through at once.
const IN_LOOM: &[&str] = &[LATEST, "cmdq_fetch_add"];

/// The texts of the queue itself.
const ROWS: &[&str] =
    &[LATEST, "cmdq_587e6c10a7ce", "cmdq_spinlock_fallback", "cmdq_fetch_add", "cmdq_linux_5_3"];

/// The text with the workaround of erratum T264-SMMU-3.
const REPEAT: &str = "cmdq_06b15ddcfbc0";

/// The text with runtime power management.
const PROD_STOP: &str = "cmdq_prod_stop";

/// Not posted fixes of a text that a case above kills.
const FIXES: &[(&str, &str)] = &[("cmdq_tegra241_cmdqv_stays", "batch_migrates_in_a_guest")];

/// Who must kill a mutant. Shuttle's samplers may miss what an explorer finds: they are printed,
/// not asserted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum By {
    /// Any interleaving explorer does.
    Dpor,
    /// Only weak memory shows it.
    Loom,
    /// Needs a store that overtakes an earlier load. Loom never does that: its stores happen in the
    /// order of the execution, so a load cannot see one that comes later (reference/smmuv3.md 3.4).
    LoadBuffering,
}

/// Row, the case that kills it, by whom, and what is printed first.
#[rustfmt::skip]
const MUTANTS: &[(&str, &str, By, &str)] = &[
    ("cmdq_without_dma_wmb", "quiet_lists", By::Loom, "does not hold the entry of this lap"),
    ("cmdq_valid_map_relaxed", "quiet_lists", By::Loom, "does not hold the entry of this lap"),
    ("cmdq_prod_relaxed", "quiet_lists", By::Loom, "does not hold the entry of this lap"),
    ("cmdq_owner_prod_relaxed", "quiet_lists", By::Loom, "task hung in smmu"),
    ("cmdq_owner_prod_read_relaxed", "quiet_lists", By::Loom, "task hung in smmu"),
    ("cmdq_smmu_prod_relaxed", "quiet_lists", By::Loom, "does not hold the entry of this lap"),
    ("cmdq_cons_relaxed", "published_sync", By::Loom, "passes the CMD_SYNC"),
    ("cmdq_llq_cmpxchg_relaxed", "full_ring", By::LoadBuffering, ""),
    ("cmdq_cons_for_space_relaxed", "full_ring", By::LoadBuffering, ""),
    ("cmdq_batch_without_force_sync", "forced_batch", By::Dpor, "without a CMD_SYNC between"),
    ("cmdq_batch_newest_first", "batch", By::Dpor, "in another order than it issued them"),
    ("cmdq_space_vs_full", "dead_with_some_space", By::Dpor, "task hung in"),
    ("cmdq_llq_stored", "quiet_lists", By::Dpor, "are not where its CAS put them"),
    ("cmdq_valid_one_more", "one_list", By::Dpor, "is not that of the last lap"),
    ("cmdq_skips_beside", "illegal", By::Dpor, "consumes something else than a CMD_SYNC"),
    ("cmdq_lock_after_valid", "two_lists", By::Dpor, "llq.cons passes the CMD_SYNC"),
    ("cmdq_msi_word_late", "msi", By::Dpor, "times out although"),
    ("cmdq_valid_in_every_lap", "second_lap", By::Dpor, "task hung in"),
    ("cmdq_owned_cleared_first", "two_lists", By::Dpor, "is publishing"),
    ("cmdq_owner_does_not_wait", "two_lists", By::Dpor, "is publishing"),
    ("cmdq_owner_skips_followers", "two_lists", By::Dpor, "which is not valid yet"),
    ("cmdq_space_minus_one", "full_ring", By::Dpor, "more than a lap ahead"),
    ("cmdq_cons_by_non_last", "two_lists", By::Dpor, "llq.cons passes the CMD_SYNC"),
    // Only an explorer that knows what the check looks at tries the order that it needs (ghost.rs).
    ("cmdq_cons_by_non_last", "published_sync_msi", By::Dpor, "llq.cons passes the CMD_SYNC"),
    ("cmdq_consumed_ge", "one_list", By::Dpor, "which is not complete"),
    ("cmdq_last_does_not_unlock", "one_list", By::Dpor, "the lock counts 1 holders"),
    ("cmdq_prod_per_producer", "two_lists", By::Dpor, "which is not valid yet"),
    ("cmdq_vsmmu_count_dropped", "unknown_vdevice", By::Dpor, "4 commands were handled, 3 of them"),
    ("cmdq_vsmmu_without_masks", "res0_bits", By::Dpor, "1 of them were replaced by a CMD_SYNC"),
    ("cmdq_spinlock_kept", "full_ring_of_two", By::Dpor, "task hung in"),
    ("cmdq_linux_5_3_full_compare", "full_ring", By::Dpor, "times out although"),
    ("cmdq_linux_5_3_msi_seq_before_slot", "msi", By::Dpor, "which is not complete"),
    ("cmdq_linux_5_3_sync_shared", "msi", By::Dpor, "which is not complete"),
    ("cmdq_fetch_add_unbounded", "full_ring_of_two", By::Dpor, "two laps ahead of llq.cons"),
    ("cmdq_fetch_add_narrow_counts", "three_quiet_lists", By::Dpor, "the lock counts 0 holders"),
    ("cmdq_fetch_add_quiet_returns", "full_while_gathering", By::Dpor, "times out although"),
    ("cmdq_fetch_add_lock_by_each", "full_while_gathering", By::Dpor, "times out although"),
    ("cmdq_fetch_add_written_first", "full_ring", By::Dpor, "before the SMMU has read what"),
    ("cmdq_fetch_add_quiet_without_lock", "lapped_quiet_list", By::Dpor, "task hung in"),
    ("cmdq_prod_stop_looked_at_once", "suspend", By::Dpor, "which is not complete"),
    ("cmdq_prod_stop_without_drain", "suspend", By::Dpor, "is switched off with"),
    ("cmdq_prod_stop_drained_first", "suspend", By::Dpor, "is switched off with"),
    ("cmdq_prod_stop_without_lock", "suspend_while_full", By::Dpor, "reads CONS of an SMMU"),
    ("cmdq_prod_stop_without_restore", "suspend", By::Dpor, "does not hold the entry"),
    ("cmdq_ecmdq_preemptible", "batch_migrates", By::Dpor, "are not complete"),
    ("cmdq_tegra241_cmdqv_switches_without_sync", "mixed_batch", By::Dpor, "are not complete"),
    ("cmdq_tegra241_cmdqv_everything", "mixed_batch", By::Dpor, "were replaced by a CMD_SYNC"),
    ("cmdq_tegra241_cmdqv_msi", "own_vcmdqs", By::Dpor, "times out although"),
    ("cmdq_repeat_before_sync", "needs_two", By::Dpor, "ran once on an SMMU that needs two"),
    ("cmdq_repeat_mixed_batch", "guest_needs_two", By::Dpor, "ran once on an SMMU that needs two"),
    // A batch that overflows chooses its queue anew: no posted text has the fix.
    ("cmdq_tegra241_cmdqv", "batch_migrates_in_a_guest", By::Dpor, "are not complete"),
    // B13: the row before the fix.
    ("cmdq_587e6c10a7ce", "small_ring", By::Dpor, "waits for the shared lock and is overtaken"),
];

/// The invariants of reference/smmuv3.md 3.5, and what is printed where one of them is broken.
const INVARIANTS: &[(&str, &str, &[&str])] = &[
    (
        "I1",
        "no slot is written before the SMMU has consumed what was in it",
        &["is written before the SMMU has read"],
    ),
    ("I2", "the SMMU reads entries of this lap only", &["does not hold the entry of this lap"]),
    (
        "I3",
        "PROD moves forward and covers valid slots only",
        &["which is not valid yet", "PROD moves back"],
    ),
    ("I4", "one owner publishes at a time", &["is publishing"]),
    ("I5", "a list is where its CAS put it", &["are not where its CAS put them"]),
    (
        "I6",
        "who returns from its CMD_SYNC has all commands complete",
        &["which is not complete", "are not complete"],
    ),
    (
        "I7",
        "llq.cons, CONS, PROD and llq.prod are in order and within a lap",
        &["more than a lap ahead", "two laps ahead", "ahead of the SMMU's CONS"],
    ),
    (
        "I8",
        "nobody laps a CMD_SYNC that is waited for",
        &["passes the CMD_SYNC", "laps the CMD_SYNC"],
    ),
    ("I9", "the lock counts its holders", &["the lock counts"]),
    (
        "I10",
        "every call returns while the SMMU consumes",
        &["times out although", "task hung in", "is overtaken"],
    ),
    ("I11", "the valid bits at the end are those of the last lap", &["that of the last lap"]),
    (
        "I12",
        "an illegal command becomes a CMD_SYNC, and nothing else does",
        &["something else than a CMD_SYNC"],
    ),
    (
        "I13",
        "the commands of a CPU are consumed in its order",
        &["in another order than it issued them", "comes after its command"],
    ),
];

/// What stands for a bug of reference/smmuv3.md 3.6.
enum Shown {
    /// These rows, in the table above.
    By(&'static [&'static str]),
    /// None, for this reason.
    Not(&'static str),
}

/// The bugs of reference/smmuv3.md 3.6.
#[rustfmt::skip]
const BUGS: &[(&str, &str, Shown)] = &[
    ("B1", "a full ring compared wrongly", Shown::By(&["cmdq_linux_5_3_full_compare"])),
    ("B2", "a time-out that was too short", Shown::Not(
        "virtual time passes only when nobody can run, so a wait that can end does; how long one \
         is belongs to the cost model")),
    ("B3", "the number of an MSI taken before the lock",
        Shown::By(&["cmdq_linux_5_3_msi_seq_before_slot"])),
    ("B4", "CMD_SYNCs that are left out", Shown::By(&["cmdq_linux_5_3_sync_shared"])),
    ("B5", "nr_ats_masters without full barriers", Shown::Not(
        "not the queue's: unmap against attach of a domain, two stores and two loads that only \
         SeqCst fences keep apart, and loom takes those for AcqRel (its issue 180), so it could \
         not tell the fix from the bug")),
    ("B6", "entries read before PROD", Shown::By(&["cmdq_smmu_prod_relaxed"])),
    ("B7", "MSI polling slower than CONS", Shown::Not(
        "a cost: both are completions here (cases msi and two_lists) and of the cost model")),
    ("B8", "a batch cut without a CMD_SYNC", Shown::By(&["cmdq_batch_without_force_sync"])),
    ("B9", "one command for each page of a large span", Shown::Not(
        "a cost: `iommufd-testbed sweep` has it (commands of an invalidation)")),
    ("B10", "a range command of no pages", Shown::Not(
        "one command, no race: model/smmuv3/tests/command.rs, where it is CERROR_ILL")),
    ("B11", "every flush became one of everything", Shown::Not(
        "a cost, above the queue: the arguments of a notifier")),
    ("B12", "one fetch_add, or a spinlock, in place of the CAS loop", Shown::By(&[
        "cmdq_fetch_add_unbounded", "cmdq_fetch_add_narrow_counts", "cmdq_fetch_add_lock_by_each",
        "cmdq_fetch_add_quiet_returns", "cmdq_fetch_add_quiet_without_lock",
        "cmdq_fetch_add_written_first", "cmdq_spinlock_kept"])),
    ("B13", "a lock whose waiters are overtaken", Shown::By(&["cmdq_587e6c10a7ce"])),
    ("B14", "a wait for space without an end", Shown::By(&["cmdq_space_vs_full"])),
    ("B15", "an SMMU that needs every invalidation twice",
        Shown::By(&["cmdq_repeat_before_sync", "cmdq_repeat_mixed_batch"])),
    ("B16", "the RCU array of a domain's invalidations", Shown::Not(
        "not the queue's: which lists are issued, not how; its store-buffer race is as B5")),
    ("B17", "commands counted that never reached the ring",
        Shown::By(&["cmdq_vsmmu_count_dropped", "cmdq_vsmmu_without_masks"])),
    ("B18", "an SMMU that is switched off (the other three of B18 are about event queues, stream \
         tables and VINTFs)", Shown::By(&[
        "cmdq_prod_stop_looked_at_once", "cmdq_prod_stop_without_drain",
        "cmdq_prod_stop_drained_first", "cmdq_prod_stop_without_lock",
        "cmdq_prod_stop_without_restore"])),
];

/// How often a waiter may be overtaken, in the question of B13.
const OVERTAKEN: std::ops::RangeInclusive<u8> = 0..=3;

fn number(name: &str, default: u64) -> u64 {
    std::env::var(name).ok().and_then(|n| n.parse().ok()).unwrap_or(default)
}

/// Deterministic: every budget counts executions.
fn bounds() -> Bounds {
    Bounds {
        executions_max: number("QUEUE_DPOR", 8_000),
        samples: number("QUEUE_SAMPLES", 300),
        loom_permutations: number("QUEUE_LOOM", 4_000),
        loom_seconds: 600,
        ..Bounds::default()
    }
}

fn loom_bounds() -> Bounds {
    Bounds { preemptions_max: Some(number("QUEUE_PRE", 1) as u32), ..bounds() }
}

fn killed(f: &Finding) -> bool {
    matches!(f.verdict, Verdict::Sometimes { .. } | Verdict::Always { .. })
}

fn cell(f: &Finding) -> String {
    match (killed(f), f.exhausted) {
        // Found by the search with few preemptions, and not in what the budget left of the whole.
        (true, _) if f.failed == 0 => format!("killed, not in {} of the whole", f.executions),
        (true, _) => format!("killed {} / {}", f.failed, f.executions),
        (false, true) => format!("survives 0 / {}, exhausted", f.executions),
        (false, false) => format!("survives 0 / {}", f.executions),
    }
}

fn dpor(subject: &Subject) -> Finding {
    races::dpor(subject, &bounds(), Backend::Native, &mut Unwatched).expect("it runs")
}

fn loom(subject: &Subject, exe: &Path) -> Finding {
    races::loom(subject, &loom_bounds(), exe, &mut Unwatched).expect("loom runs it")
}

/// The three samplers together: the first that kills, or the last.
fn shuttle(subject: &Subject) -> Finding {
    let all = races::portfolio(subject, &bounds(), &mut Unwatched).expect("it runs");
    let best = all.iter().position(|(_, f)| killed(f)).unwrap_or(all.len() - 1);
    all.into_iter().nth(best).expect("there are samplers").1
}

fn text(f: &Finding) -> &str {
    match &f.verdict {
        Verdict::Sometimes { splat } | Verdict::Always { splat } => splat,
        _ => "",
    }
}

/// The texts of the queue keep every invariant, in every case.
fn rows_hold(exe: &Path, page: &mut String) {
    let _ = writeln!(page, "| row | case | dpor | shuttle | loom |\n|---|---|---|---|---|");
    for row in ROWS {
        for case in CASES {
            let (subject, name) = fitting(case, row);
            if [UNFAIR, WITHOUT_LISTS, UNCUT].concat().contains(&(*row, case.name)) {
                continue;
            }
            let found = [dpor(&subject), shuttle(&subject)];
            // Loom has four threads beside its own; three producers are too many for its budget.
            let loom = (small(case) && (IN_LOOM.contains(row) || quick(case)))
                .then(|| loom(&subject, exe));
            if number("QUEUE_PROBE", 0) != 0 {
                let all = found.iter().chain(&loom).map(|f| (cell(f), text(f)));
                println!("{row} {name}: {:?}", all.collect::<Vec<_>>());
                continue;
            }
            for f in found.iter().chain(&loom) {
                assert!(!killed(f), "{row} {}: {f:?}", case.name);
                assert!(f.executions > 0, "{row} {}: nothing ran", case.name);
            }
            let exhausted = found[0].verdict == Verdict::Never;
            let bounded = BOUNDED.contains(&case.name) && !SMALLER.contains(&(*row, case.name));
            assert_eq!(exhausted, !bounded, "{row} {}", case.name);
            let loom = loom.map_or("-".to_string(), |f| cell(&f));
            let [dpor, shuttle] = found.map(|f| cell(&f));
            let _ = writeln!(page, "| {row} | {name} | {dpor} | {shuttle} | {loom} |");
        }
    }
}

/// A case on a row, on the smallest ring that the row's check lets pass; and its name with that.
fn fitting(case: &Case, row: &str) -> (Subject, String) {
    let subject = subject(case, row);
    if model_native::run(&subject, &mut FirstEnabled, &Limits::default()).is_ok() {
        return (subject, case.name.to_string());
    }
    let program = on_a_larger_ring((case.program)());
    let name = format!("{} (ring of {})", case.name, 1 << program.log2size);
    (Subject::Queue { program, revision: row.to_string() }, name)
}

/// One row in one case under all explorers, with the budgets of the environment: `ROW:CASE`.
fn ask(only: &str, exe: &Path) {
    let asked = only.split_once(':').and_then(|(row, name)| Some((row, case(name)?)));
    let Some((row, case)) = asked else {
        println!("QUEUE_ONLY is ROW:CASE, as in reports/kill-matrix.md; {only} is not");
        return;
    };
    let (subject, name) = fitting(case, row);
    for found in [dpor(&subject), shuttle(&subject), loom(&subject, exe)] {
        println!("{row} {name}: {} {}", cell(&found), text(&found));
    }
}

/// Several queues: each text in its own cases, and the fixes in those that kill their text.
fn queues_hold(page: &mut String) {
    let _ = writeln!(page, "| row | case | dpor | shuttle |\n|---|---|---|---|");
    let fixes = FIXES.iter().map(|(row, name)| (*row, case(name).expect("the case exists")));
    let of_texts = QUEUES.iter().map(|(row, case)| (*row, case));
    for (row, case) in of_texts.chain(fixes) {
        let subject = subject(case, row);
        let found = [dpor(&subject), shuttle(&subject)];
        let fixed = FIXES.iter().any(|fix| fix.1 == case.name && fix.0 != row);
        println!("{row} {}: {:?}", case.name, found.each_ref().map(|f| (cell(f), text(f))));
        for f in &found {
            assert!(f.executions > 0 && killed(f) == fixed, "{row} {}: {f:?}", case.name);
        }
        let [dpor, shuttle] = found.map(|f| cell(&f));
        let _ = writeln!(page, "| {row} | {} | {dpor} | {shuttle} |", case.name);
    }
    for row in [ECMDQ, TEGRA241] {
        let alone = dpor(&subject(case("two_lists").expect("the case exists"), row));
        assert_eq!(alone.verdict, Verdict::Never, "{row} with no queue but the main one");
    }
}

/// T264-SMMU-3: found on the text without the workaround, and not on that with it.
fn erratum(page: &mut String) {
    let _ =
        writeln!(page, "| case | {LATEST} | {REPEAT} | what {LATEST} does |\n|---|---|---|---|");
    for case in ERRATUM {
        let [old, new] = [LATEST, REPEAT].map(|row| dpor(&subject(case, row)));
        println!("{}: {} {} {}", case.name, cell(&old), cell(&new), text(&new));
        assert!(killed(&old) && text(&old).contains("ran once"), "{}: {old:?}", case.name);
        assert!(new.executions > 0 && !killed(&new), "{}: {new:?}", case.name);
        let (does, old, new) = (text(&old), cell(&old), cell(&new));
        let _ = writeln!(page, "| {} | {old} | {new} | {does} |", case.name);
    }
}

/// What loom goes through at once, on any text.
fn quick(case: &Case) -> bool {
    ["one_list", "quiet_lists"].contains(&case.name)
}

/// What loom goes through in its budget.
fn small(case: &Case) -> bool {
    let names =
        ["one_list", "quiet_lists", "two_syncs", "published_sync", "full_ring", "two_lists"];
    names.contains(&case.name) || case.name == "second_lap"
}

/// Every mutant is killed, by whom the table says.
fn mutants_die(exe: &Path, page: &mut String) {
    let mut told = Vec::new();
    let rows = model_native::queue_revisions();
    for row in rows.iter().filter(|r| r.twin_of.is_some()) {
        let mut names = MUTANTS.iter().map(|m| m.0).chain(FIXES.iter().map(|fix| fix.0));
        assert!(names.any(|name| name == row.name), "{} has no case", row.name);
    }
    let _ = writeln!(
        page,
        "| mutant | what it does | case | dpor | shuttle | loom | first splat |\n\
         |---|---|---|---|---|---|---|"
    );
    for (name, case_name, by, splat) in MUTANTS {
        let row = rows.iter().find(|r| r.name == *name).expect("the row exists");
        let subject = subject(case(case_name).expect("the case exists"), name);
        let (dpor, shuttle) = (dpor(&subject), shuttle(&subject));
        let few = small(case(case_name).expect("the case exists"));
        let loom = (few || *by != By::Dpor).then(|| loom(&subject, exe));
        let killer = match by {
            By::Dpor => Some(&dpor),
            By::Loom | By::LoadBuffering => loom.as_ref(),
        };
        let found = killer.map_or("", text);
        println!(
            "{name} {case_name}: {by:?} {found:?} dpor {} loom {:?}",
            cell(&dpor),
            loom.as_ref().map(cell)
        );
        if number("QUEUE_PROBE", 0) == 0 {
            assert!(found.contains(splat), "{name} in {case_name}: {killer:?}");
            let dies = matches!(by, By::Dpor | By::Loom);
            assert_eq!(killer.is_some_and(killed), dies, "{name}: {killer:?}");
            if *by != By::Dpor {
                assert_eq!(dpor.verdict, Verdict::Never, "{name}: dpor is blind to orders");
                assert!(!killed(&shuttle), "{name}: shuttle is blind to orders");
            }
        }
        told.push((*name, found.to_string()));
        let loom = loom.as_ref().map_or("-".to_string(), cell);
        let (dpor, shuttle) = (cell(&dpor), cell(&shuttle));
        let doc = row.doc;
        let _ = writeln!(
            page,
            "| {name} | {doc} | {case_name} | {dpor} | {shuttle} | {loom} | {found} |"
        );
    }
    invariants_fire(&told, page);
}

/// Which mutant fires which invariant: each has one at least.
fn invariants_fire(told: &[(&str, String)], page: &mut String) {
    let _ = writeln!(
        page,
        "\n## Invariants\n\nWhat a mutant breaks first; every invariant has one that does.\n\n\
         | invariant | says | fired by |\n|---|---|---|"
    );
    for (name, says, texts) in INVARIANTS {
        let fires = |found: &str| texts.iter().any(|text| found.contains(text));
        let mut by: Vec<_> = told.iter().filter(|t| fires(&t.1)).map(|t| t.0).collect();
        by.dedup();
        assert!(!by.is_empty(), "no mutant fires {name}");
        let _ = writeln!(page, "| {name} | {says} | {} |", by.join(", "));
    }
}

/// Each bug of the catalogue has a row, or a reason for having none.
fn bugs_are_shown(page: &mut String) {
    let _ = writeln!(
        page,
        "\n## The bugs of the catalogue\n\nreference/smmuv3.md 3.6, as far as they touch the \
         queue.\n\n| bug | is | shown by |\n|---|---|---|"
    );
    for (name, is, shown) in BUGS {
        let shown = match shown {
            Shown::By(rows) => {
                for row in *rows {
                    assert!(MUTANTS.iter().any(|m| m.0 == *row), "{name}: {row} is no mutant");
                }
                rows.join(", ")
            }
            Shown::Not(why) => format!("no row: {why}"),
        };
        let _ = writeln!(page, "| {name} | {is} | {shown} |");
    }
}

/// B13: how often a waiter is overtaken, with as many tries as the program has.
fn overtaking_is_bounded(page: &mut String) {
    let old = "cmdq_587e6c10a7ce";
    let _ = writeln!(page, "| at most | {old} | {LATEST} |\n|---|---|---|");
    for most in OVERTAKEN {
        let ask = |row: &str| {
            let subject = Subject::Queue { program: overtaken(most), revision: row.to_string() };
            let found = [dpor(&subject), shuttle(&subject)];
            println!("overtaken {most} {row}: {:?}", found.each_ref().map(|f| (cell(f), text(f))));
            found
        };
        let (before, fair) = (ask(old), ask(LATEST));
        if number("QUEUE_PROBE", 0) == 0 {
            assert!(before.iter().any(|f| text(f).contains("is overtaken")), "{most}: {before:?}");
            assert!(fair.iter().all(|f| f.executions > 0 && !killed(f)), "{most}: {fair:?}");
        }
        let cells = |found: [Finding; 2]| {
            let [dpor, shuttle] = found.map(|f| cell(&f));
            format!("dpor {dpor}; shuttle {shuttle}")
        };
        let _ = writeln!(page, "| {most} | {} | {} |", cells(before), cells(fair));
    }
}

/// B18: the text with the flag keeps all invariants. B14: it says that the SMMU is dead.
fn power_and_death(page: &mut String) {
    let _ = writeln!(page, "| row | case | dpor | shuttle | what it says |\n|---|---|---|---|---|");
    let on = |row, cases: &'static [Case]| cases.iter().map(move |case| (row, case));
    for (row, case) in on(PROD_STOP, SUSPENDED).chain(on(PROD_STOP, CASES)).chain(on(LATEST, DEAD))
    {
        let of_another = UNCUT.iter().any(|(_, name)| *name == case.name) || !small_enough(case);
        if row == PROD_STOP && of_another {
            continue;
        }
        let subject = subject(case, row);
        let found = [dpor(&subject), shuttle(&subject)];
        println!("{row} {}: {:?}", case.name, found.each_ref().map(|f| (cell(f), text(f))));
        for f in &found {
            let says = text(f);
            let right = match row {
                LATEST => says.contains("CMDQ timeout: CPU 0 waits for space"),
                _ => !killed(f),
            };
            assert!(f.executions > 0 && right, "{row} {}: {f:?}", case.name);
        }
        let says = text(&found[0]).to_string();
        // What is asked of the dead one is to say so.
        let [dpor, shuttle] = found.map(|f| cell(&f).replace("killed", "says so"));
        let _ = writeln!(page, "| {row} | {} | {dpor} | {shuttle} | {says} |", case.name);
    }
}

/// What is asked of the text with power management beside its own cases.
fn small_enough(case: &Case) -> bool {
    SUSPENDED.iter().any(|c| c.name == case.name)
        || ["two_lists", "second_lap", "full_ring"].contains(&case.name)
}

const OLD: &str = LATEST;
const NEW: &str = "cmdq_2d4f03f6610d";

/// What the old contract tells user space and did not do, per case; the new one keeps all of them.
const TOLD: &[(&str, &str)] = &[
    ("invalidate", ""),
    ("invalidate_on_two_cpus", ""),
    ("unknown_vdevice", "4 commands were handled, 3 of them reached the ring"),
    ("guest_sync", "1 commands were handled, 0 of them reached the ring"),
    ("no_memory", "2 commands were handled, 0 of them reached the ring"),
    ("res0_bits", "2 commands were handled, 1 of them were replaced by a CMD_SYNC"),
    ("dead_smmu", ""),
];

/// The path of the series on both contracts: B17 is found on the old one and not on the new one.
fn invalidations(page: &mut String) {
    let _ = writeln!(page, "| case | {OLD} | {NEW} | what {OLD} told |\n|---|---|---|---|");
    assert_eq!(TOLD.len(), INVALIDATIONS.len());
    for (case, (name, told)) in INVALIDATIONS.iter().zip(TOLD) {
        assert_eq!(case.name, *name);
        let [old, new] = [OLD, NEW].map(|row| dpor(&subject(case, row)));
        assert!(new.executions > 0 && !killed(&new), "{name}: {new:?}");
        assert_eq!(killed(&old), !told.is_empty(), "{name}: {old:?}");
        assert!(text(&old).contains(told), "{name}: {old:?}");
        let (told, old, new) = (text(&old), cell(&old), cell(&new));
        let _ = writeln!(page, "| {name} | {old} | {new} | {told} |");
    }
}

/// What a guest in a VM of VMID 7 with the vDEVICE 0x99 gets on the kernel's own sizes, in the
/// sequential order.
fn one_run(row: &str, array: Invalidate, faults: Vec<Fault>) -> Outcome {
    run_on(row, array, faults, &[])
}

fn run_on(row: &str, array: Invalidate, faults: Vec<Fault>, without: &[Without]) -> Outcome {
    let program = Queue {
        log2size: 8,
        word: 64,
        faults,
        vsmmu: Some(Vsmmu { vmid: 7, vdevs: vec![(0x99, 0x40)], without: without.to_vec() }),
        cpus: vec![vec![Request::Invalidate(array)]],
        ..Queue::default()
    };
    let subject = Subject::Queue { program, revision: row.to_string() };
    let limits = Limits { steps_max: 1 << 20, ..Limits::default() };
    model_native::run(&subject, &mut FirstEnabled, &limits)
        .expect("it runs")
        .expect("not redundant")
}

/// The answer, `entry_num`, and how many entries the SMMU consumed, CMD_SYNCs included.
fn answer(outcome: &Outcome) -> (Ret, u32, usize) {
    let result = &outcome.results[0];
    (result.ret.expect("it returned"), result.entry_num.expect("it says"), outcome.state.len())
}

fn tlbis(n: u64) -> Vec<[u64; 2]> {
    (0..n).map(|page| [0x12, page << 12]).collect()
}

/// An array of `n` whose command at `bad` names a vDEVICE that is not there.
fn with_bad(n: u64, bad: usize) -> Invalidate {
    let mut commands = tlbis(n);
    commands[bad] = [0x40 | 0x98 << 32, 52];
    Invalidate::of(commands)
}

/// The table of reference/smmuv3.md 4.3, on windows of 63.
fn entry_num_is_as_the_reference_says() {
    let err = |e: Errno| Ret::from(&Err::<(), _>(e));
    for (n, syncs) in [(1, 1), (62, 1), (63, 1), (64, 2), (126, 2), (127, 3), (200, 4)] {
        for row in [OLD, NEW] {
            let got = answer(&one_run(row, Invalidate::of(tlbis(n)), Vec::new()));
            assert_eq!(got, (Ret::Ok, n as u32, n as usize + syncs), "{row}: {n} commands");
        }
    }
    for (bad, windows) in [(0, 0), (1, 0), (62, 0), (63, 1), (64, 1), (125, 1), (126, 2)] {
        let old = one_run(OLD, with_bad(130, bad), Vec::new());
        assert_eq!(answer(&old), (err(Errno::EIO), bad as u32, 64 * windows), "bad at {bad}");
        assert_eq!(old.splats.len(), usize::from(bad != 63 * windows), "bad at {bad}: {old:?}");
        let new = one_run(NEW, with_bad(130, bad), Vec::new());
        assert_eq!(answer(&new), (err(Errno::EIO), 63 * windows as u32, 64 * windows));
        assert_eq!(new.splats, Vec::new(), "bad at {bad}");
    }
    // The SYNC of the second window does not complete: the first contract counts all but one.
    for (row, entry_num) in [(OLD, 125), (NEW, 63)] {
        let dead = one_run(row, Invalidate::of(tlbis(130)), vec![Fault::Dead(70)]);
        assert_eq!(answer(&dead), (err(Errno::ETIMEDOUT), entry_num, 70), "{row}");
    }
}

/// What is wrong around the commands, and how often the array is read.
fn arrays_are_copied_as_the_reference_says() {
    let err = |e: Errno| Ret::from(&Err::<(), _>(e));
    let three = || Invalidate::of(tlbis(3));
    let ask = |row, array| {
        let (ret, entry_num, consumed) = answer(&one_run(row, array, Vec::new()));
        (ret, entry_num, consumed)
    };
    for row in [OLD, NEW] {
        assert_eq!(ask(row, Invalidate { data_type: 2, ..three() }), (err(Errno::EINVAL), 0, 0));
        let long = Invalidate { entry_len: 24, ..three() };
        assert_eq!(ask(row, long.clone()), (Ret::Ok, 3, 4), "{row}: zero tails");
        assert_eq!(ask(row, Invalidate { tail: 1, ..long }), (err(Errno::E2BIG), 0, 0), "{row}");
        // Without its second word a TLBI_NH_VA is that of address 0.
        assert_eq!(ask(row, Invalidate { entry_len: 8, ..three() }), (Ret::Ok, 3, 4), "{row}");
        let hole = Invalidate { unmapped_from: Some(2), ..three() };
        assert_eq!(ask(row, hole), (err(Errno::EFAULT), 0, 0), "{row}");
    }
    assert_eq!(ask(OLD, Invalidate::of(Vec::new())), (err(Errno::EINVAL), 0, 0));
    assert_eq!(ask(NEW, Invalidate::of(Vec::new())), (Ret::Ok, 0, 0), "a probe of the type");
    // Only the first contract copies the second window before it issues the first.
    let hole = Invalidate { unmapped_from: Some(64), ..Invalidate::of(tlbis(70)) };
    assert_eq!(ask(OLD, hole.clone()), (err(Errno::EFAULT), 0, 0));
    assert_eq!(ask(NEW, hole), (err(Errno::EFAULT), 63, 64));
    // Points that can fail: the array and, by 4.2, one copy of all and one of each entry; shorter
    // entries are copied once. The second contract only copies each entry.
    let (enomem, efault) = (Errno::ENOMEM, Errno::EFAULT);
    assert_eq!(points(OLD, &three()), [enomem, efault, efault, efault, efault]);
    let short = Invalidate { entry_len: 8, ..three() };
    assert_eq!(points(OLD, &short).len(), 4);
    assert_eq!(points(NEW, &three()), [efault; 3]);
}

/// What the SMMU does not have is refused by the second contract, one command at a time
/// (reference/smmuv3.md 4.4); the first passes it on, and the SMMU ignores it or calls it illegal.
fn what_the_smmu_lacks_is_refused() {
    let va = |word0: u64, word1: u64| [0x12 | word0, word1];
    let atc = |word0: u64| [0x40 | 0x99 << 32 | word0, 52];
    let cd = |word0: u64| [0x05 | 0x99 << 32 | word0, 1];
    for (without, command, refused) in [
        (Without::Asid16, va(0x1ff << 48, 1 << 12), true),
        (Without::Asid16, va(0xff << 48, 1 << 12), false),
        (Without::Ats, atc(0), true),
        (Without::Ril, va(3 << 12, 1 << 12 | 1 << 10), true),
        (Without::SubstreamIds, atc(1 << 11 | 5 << 12), true),
        (Without::SubstreamIds, atc(1 << 9), true),
        (Without::SubstreamIds, atc(0), false),
        (Without::SubstreamIds, cd(5 << 12), true),
        (Without::SubstreamIds, cd(0), false),
    ] {
        let ask = |row, without: &[Without]| {
            let array = Invalidate::of(vec![[0x12, 0], command]);
            let (ret, entry_num, _) = answer(&run_on(row, array, Vec::new(), without));
            (ret, entry_num)
        };
        let eio = Ret::from(&Err::<(), _>(Errno::EIO));
        let expected = if refused { (eio, 0) } else { (Ret::Ok, 2) };
        assert_eq!(ask(NEW, &[without]), expected, "{without:?}: {command:x?}");
        assert_eq!(ask(NEW, &[]), (Ret::Ok, 2), "an SMMU with {without:?}: {command:x?}");
        assert_eq!(ask(OLD, &[without]), (Ret::Ok, 2), "{without:?}: {command:x?}");
    }
}

/// What the n-th failing point answers, for every n that the call reaches.
fn points(row: &str, array: &Invalidate) -> Vec<Errno> {
    let at = |fail_nth| {
        let outcome = one_run(row, Invalidate { fail_nth, ..array.clone() }, Vec::new());
        let result = &outcome.results[0];
        match (result.injected, result.ret) {
            (true, Some(Ret::Err(e))) => Some(e),
            _ => None,
        }
    };
    (1..=1_000).map_while(at).collect()
}

fn fresh(page: &str) {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../reports/kill-matrix.md"));
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(path, page).expect("the page is writable");
        return;
    }
    let committed = std::fs::read_to_string(path).unwrap_or_default();
    let differs = committed.lines().zip(page.lines()).find(|(old, new)| old != new);
    assert!(
        committed == page,
        "reports/kill-matrix.md is stale: `UPDATE=1 cargo test -p races --test queue` rewrites \
         it, the diff is the review\nfirst difference: {differs:#?}"
    );
}

fn main() {
    if std::env::args().nth(1).as_deref() == Some("loom-child") {
        std::process::exit(races::loom_child());
    }
    races::clear_environment();
    let exe = std::env::current_exe().expect("the path of this test");
    if let Ok(only) = std::env::var("QUEUE_ONLY") {
        return ask(&only, &exe);
    }
    let (b, mut page) = (bounds(), String::new());
    let _ = writeln!(
        page,
        "# The command queue: which explorer kills which mutant\n\n\
         Generated: `UPDATE=1 cargo test -p races --test queue` rewrites this page; a test checks \
         that it is fresh.\nThe mutants are rows of `model/src/arm_smmu_v3/rows.rs`, each with one \
         mistake of reference/smmuv3.md 3.6 and 3.7; the\ncases are in `races/src/queue.rs`. A \
         cell says in how many executions of how many a splat was printed. `dpor` is exhaustive\n\
         under sequential consistency where it says so, otherwise cut at {} executions; `shuttle` \
         is the first of its three samplers that\nkills ({} executions each); `loom` has the real \
         memory orders, at most 1 preemption and {} executions. A mutant that is\nonly a memory \
         order survives dpor and shuttle by their nature;\nwhere it keeps a store behind an \
         earlier load, it survives loom, too, which has no such executions. `-`: not run, too \
         large\nfor loom's budget.\n\n## Mutants\n",
        b.executions_max, b.samples, b.loom_permutations
    );
    mutants_die(&exe, &mut page);
    bugs_are_shown(&mut page);
    let _ = writeln!(
        page,
        "\n## A guest's invalidation down to the ring\n\n\
         IOMMU_HWPT_INVALIDATE with the id of a vIOMMU, on the contract up to v7.3 and on that of \
         September 2026 (reference/smmuv3.md 4).\nBug B17: `entry_num` counts commands that never \
         reached the ring, or were replaced there.\n"
    );
    invalidations(&mut page);
    entry_num_is_as_the_reference_says();
    arrays_are_copied_as_the_reference_says();
    what_the_smmu_lacks_is_refused();
    let _ = writeln!(
        page,
        "\n## Several queues\n\n\
         Between queues there is no order: a CMD_SYNC is for what is before it in its own queue.\n"
    );
    queues_hold(&mut page);
    let _ = writeln!(
        page,
        "\n## Erratum T264-SMMU-3\n\n\
         An SMMU on which a CFGI or TLBI must run again after its CMD_SYNC (reference/smmuv3.md \
         3.6 B15).\n"
    );
    erratum(&mut page);
    let _ = writeln!(
        page,
        "\n## How often a waiter is overtaken\n\n\
         Bug B13: CPUs that poll for space take the lock exclusively while another waits for it \
         (reference/smmuv3.md 3.6). The program\nlets it happen as often as the first column says, \
         and has lists enough for more.\n"
    );
    overtaking_is_bounded(&mut page);
    let _ = writeln!(
        page,
        "\n## An SMMU without power, and a dead one\n\n\
         Bug B18: lists are refused or reach the SMMU before its power goes. Bug B14: who waits \
         for space says `CMDQ timeout`\n(an end here: the kernel says the same again each second); \
         `cmdq_space_vs_full` above says nothing, for ever.\n"
    );
    power_and_death(&mut page);
    let _ = writeln!(page, "\n## The texts themselves\n");
    rows_hold(&exe, &mut page);
    fresh(&page);
    println!("queue: {} mutants, {} cases", MUTANTS.len(), CASES.len());
}
