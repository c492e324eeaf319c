//! What is drawn of the command queue, and what it finds.

use super::commands::family;
use super::*;
use races::simulate::{observe, record, shrink, Class, Found, Observed, Wanted, STEPS_MAX};
use uapi::errno::Ret;
use uapi::outcome::Ending;
use uapi::pick::FirstEnabled;
use uapi::program::Limits;
use uapi::queue::{QueueKind, INVALIDATE_DATA_ARM_SMMUV3, INVALIDATE_ENTRY_LEN};

fn ask(name: &str) -> QueueRow {
    QueueRow::ask(name).expect("a row")
}

fn rows() -> Vec<QueueRow> {
    model_native::queue_revisions().iter().map(|row| ask(row.name)).collect()
}

fn drawn(seed: u64, run: u64, row: &QueueRow) -> QueueDrawn {
    draw(Draws::seed_of_run(seed, run), row).expect("a program")
}

/// Every row, hundreds of programs each: the same again from the same seed, consistent, such as a driver
/// could make, and at their end within the bound.
#[test]
fn every_program_runs_on_its_row() {
    for row in rows() {
        for run in 0..200 {
            let drawn = drawn(1, run, &row);
            assert_eq!(draw(drawn.seed, &row), Ok(drawn.clone()));
            let program = &drawn.program;
            assert_eq!(program.check(), Ok(()), "{program:?}");
            assert!(drivers_agree(program), "{program:?}");
            assert!(program.cpus.iter().all(|list| !list.is_empty()), "{program:?}");
            let limits = Limits { steps_max: STEPS_MAX, ..Limits::default() };
            let outcome = model_native::run(&drawn.subject(&row), &mut FirstEnabled, &limits);
            let outcome = outcome.expect("it runs").expect("an outcome");
            assert_ne!(outcome.ending, Ending::StepLimit, "{program:?}");
            let text = drawn.parameters.to_string();
            assert!(text.contains("CPUs with") && text.contains("executions"), "{text}");
        }
    }
}

/// What a program has, in words.
fn traits(program: &Queue) -> Vec<String> {
    let mut all = Vec::new();
    let mut has = |holds: bool, text: &str| {
        if holds {
            all.push(text.to_owned());
        }
    };
    for request in program.cpus.iter().flatten() {
        has(true, request.name());
        match request {
            Request::Issue { sync, commands } => {
                has(*sync, "a list with a CMD_SYNC");
                has(!sync, "a list without one");
                has(commands.is_empty(), "a CMD_SYNC alone");
                has(commands.iter().any(|[word0, _]| word0 & SSEC != 0), "SSec");
                has(commands.iter().any(|cmd| family(*cmd).is_none()), "a reserved opcode");
            }
            Request::Batch { force_sync, commands } => {
                has(*force_sync, "a forced batch");
                has(!force_sync, "a batch");
                has(commands.len() > usize::from(program.word), "a batch of two lists");
                let families = commands.windows(2).any(|two| family(two[0]) != family(two[1]));
                has(families, "a mixed batch");
            }
            Request::Invalidate(array) => {
                let (entries, window) = (array.commands.len(), usize::from(program.word) - 1);
                has(entries == 0, "an empty array");
                has(entries == window, "an array of a window");
                has(entries > window, "an array of more");
                has(entries > 2 * window, "an array of three");
                has(array.data_type != INVALIDATE_DATA_ARM_SMMUV3, "another type");
                has(array.entry_len < INVALIDATE_ENTRY_LEN, "short entries");
                has(array.entry_len > INVALIDATE_ENTRY_LEN, "long entries");
                has(array.tail != 0, "a tail");
                has(array.unmapped_from.is_some(), "unmapped memory");
                has(array.fail_nth != 0, "a failing point");
                has(array.commands.iter().any(|c| c[0] & 0xff == 0x46), "a guest's CMD_SYNC");
                has(array.commands.iter().any(|c| c[0] & SSEC != 0), "a guest's SSec");
                has(array.commands.iter().any(|c| c[0] >> 33 == 0x100), "an unknown vSID");
                let reserved = |c: &[u64; 2]| family(*c).is_none() && c[0] & 0xff != 0x46;
                has(array.commands.iter().any(reserved), "a guest's reserved opcode");
            }
            Request::Migrate { .. } | Request::Suspend | Request::Resume => {}
        }
    }
    for fault in &program.faults {
        has(matches!(fault, Fault::Abort(_)), "an abort");
        has(matches!(fault, Fault::AtcTimeout(_)), "an ATC time-out");
        has(matches!(fault, Fault::Dead(_)), "a dead SMMU");
    }
    has(program.faults.len() > 2, "several faults");
    has(program.completion == Completion::Cons, "CONS");
    has(program.completion == Completion::Msi, "MSIs");
    for without in program.vsmmu.iter().flat_map(|vsmmu| &vsmmu.without) {
        has(true, &format!("without {without:?}"));
    }
    if let Some(secondary) = program.secondary {
        has(true, &format!("{:?} {}", secondary.kind, secondary.queues));
    }
    has(program.published.is_some(), "a published list");
    has(program.repeat_tlbi_cfgi, "the erratum");
    has(program.overtaken_max < OVERTAKEN_MAX, "few may overtake");
    has(true, &format!("{} producers", program.cpus.len()));
    let entries = 1u32 << program.log2size;
    has(true, &format!("a ring of {entries} with words of {}", program.word));
    has(program.start == 0, "from 0");
    has((1..entries).contains(&program.start), "near the end");
    has((entries..2 * entries).contains(&program.start), "in the second lap");
    has(program.start > 1 << 31, "near the wrap");
    all
}

#[test]
fn everything_is_drawn() {
    let (mut seen, mut features) = (BTreeSet::new(), BTreeSet::new());
    let all = ["cmdq_latest", "cmdq_prod_stop", "cmdq_ecmdq", "cmdq_tegra241_cmdqv"];
    for row in all.map(ask) {
        for run in 0..2_000 {
            let drawn = drawn(2, run, &row);
            seen.extend(traits(&drawn.program));
            features.extend(drawn.parameters.features);
        }
    }
    let wanted = "arm_smmu_cmdq_issue_cmdlist; arm_smmu_cmdq_batch_submit; IOMMU_HWPT_INVALIDATE; \
        migrate; arm_smmu_runtime_suspend; arm_smmu_runtime_resume; a list with a CMD_SYNC; \
        a list without one; a CMD_SYNC alone; SSec; a reserved opcode; a forced batch; a \
        batch; a batch of two lists; a mixed batch; an empty array; an array of a window; an \
        array of more; an array of three; another type; short entries; long entries; a tail; \
        unmapped memory; a failing point; a guest's CMD_SYNC; a guest's SSec; an unknown \
        vSID; a guest's reserved opcode; an abort; an ATC time-out; a dead SMMU; several \
        faults; CONS; MSIs; without Asid16; without Ats; without Ril; without SubstreamIds; \
        Ecmdq 1; Ecmdq 2; Ecmdq 3; GuestVcmdq 1; GuestVcmdq 2; GuestVcmdq 3; a published \
        list; the erratum; few may overtake; 1 producers; 2 producers; 3 producers; 4 \
        producers; 5 producers; 6 producers; a ring of 4 with words of 1; a ring of 4 with \
        words of 2; a ring of 8 with words of 2; a ring of 8 with words of 4; a ring of 16 \
        with words of 8; a ring of 32 with words of 8; from 0; near the end; in the second \
        lap; near the wrap";
    let missing: Vec<&str> = wanted.split("; ").filter(|text| !seen.contains(*text)).collect();
    assert_eq!(missing, [] as [&str; 0]);
    let missing: Vec<&str> =
        QUEUE_FEATURES.iter().filter(|f| !features.contains(f)).map(|f| f.name()).collect();
    assert_eq!(missing, [] as [&str; 0]);
}

/// A row is asked nothing that it refuses, and rarely what its text is known to lack.
#[test]
fn what_a_row_lacks_is_not_drawn() {
    for row in rows() {
        let mut erratum = 0;
        for run in 0..300 {
            let program = drawn(3, run, &row).program;
            let suspends = program.cpus.iter().flatten().any(|r| *r == Request::Suspend);
            assert!(!suspends || row.can(Can::Suspend), "{}: {program:?}", row.name());
            assert!(program.published.is_none() || row.can(Can::BeCut), "{}", row.name());
            assert_eq!(program.secondary.map(|s| s.kind).or(row.secondary()), row.secondary());
            erratum += u32::from(program.repeat_tlbi_cfgi);
        }
        let often = erratum > 50;
        assert_eq!(often, row.can(Can::Repeat), "{}: {erratum}", row.name());
    }
}

/// A simulator whose requests all fail finds nothing.
#[test]
fn most_requests_succeed() {
    let row = ask("cmdq_latest");
    let (mut requests, mut good) = (0, 0);
    for run in 0..500 {
        let drawn = drawn(4, run, &row);
        let limits = Limits { steps_max: STEPS_MAX, ..Limits::default() };
        let outcome = model_native::run(&drawn.subject(&row), &mut FirstEnabled, &limits);
        for result in outcome.expect("it runs").expect("an outcome").results {
            requests += 1;
            good += u32::from(result.ret == Some(Ret::Ok));
        }
    }
    assert!(requests > 1_000 && good * 5 > requests * 4, "{good} of {requests} succeed");
}

#[test]
fn what_nobody_does_is_seen() {
    let issue = |commands: &[[u64; 2]]| Request::Issue { commands: commands.to_vec(), sync: true };
    let batch = |commands: &[[u64; 2]], force_sync| Request::Batch {
        commands: commands.to_vec(),
        force_sync,
    };
    let with = |requests: Vec<Request>| Queue {
        log2size: 3,
        word: 2,
        cpus: vec![requests],
        ..Queue::default()
    };
    let (power, cfgi) = ([Request::Suspend, Request::Resume], [0x05, 1]);
    assert!(drivers_agree(&with(power.to_vec())));
    let between = vec![Request::Suspend, issue(&[tlbi(0)]), Request::Resume];
    assert!(!drivers_agree(&with(between)));
    assert!(!drivers_agree(&Queue { faults: vec![Fault::Dead(0)], ..with(power.to_vec()) }));
    assert!(!drivers_agree(&with(vec![issue(&[[0x46, 0]])])));
    assert!(drivers_agree(&with(vec![issue(&[[0x12 | SSEC, 0]])])));
    assert!(!drivers_agree(&with(vec![batch(&[[0x12 | SSEC, 0]], false)])));
    assert!(drivers_agree(&with(vec![batch(&[[0xff, 0]], true)])));
    assert!(!drivers_agree(&Queue { word: 1, ..with(vec![batch(&[tlbi(0)], true)]) }));
    assert!(!drivers_agree(&with(vec![batch(&[], false)])));
    // Which of two decides only matters where something is decided.
    let mixed = with(vec![issue(&[tlbi(0), cfgi])]);
    let kinds = [QueueKind::Ecmdq, QueueKind::GuestVcmdq];
    let [own, guest] = kinds.map(|kind| Some(Secondary { kind, queues: 1 }));
    assert!(drivers_agree(&mixed) && drivers_agree(&Queue { secondary: own, ..mixed.clone() }));
    assert!(!drivers_agree(&Queue { secondary: guest, ..mixed.clone() }));
    assert!(!drivers_agree(&Queue { repeat_tlbi_cfgi: true, ..mixed.clone() }));
    let lacking = Vsmmu { without: vec![Without::Ats], ..Vsmmu::default() };
    let atc = with(vec![issue(&[atc_inv(7)])]);
    assert!(drivers_agree(&atc));
    assert!(!drivers_agree(&Queue { vsmmu: Some(lacking), ..atc }));
    assert!(!drivers_agree(&with(vec![Request::Migrate { task: 0, to: 1 }])));
}

/// What the executions of a run show, if none is asked to be known.
fn shown(drawn: &QueueDrawn, row: &QueueRow) -> Observed {
    observe(&drawn.subject(row), &drawn.plan()).expect("it runs")
}

/// The newest text is right in all small programs, and so it is here. An SMMU that has stopped makes it
/// print a time-out, and it has no workaround for the erratum.
#[test]
fn nothing_shows_on_the_newest_text() {
    let row = ask("cmdq_latest");
    let is_dead = |p: &Queue| p.faults.iter().any(|fault| matches!(fault, Fault::Dead(_)));
    let (mut programs, mut executions, mut answers) = (0, 0, BTreeSet::new());
    for run in 0..3_000 {
        let drawn = drawn(5, run, &row);
        if is_dead(&drawn.program) || drawn.program.repeat_tlbi_cfgi {
            continue;
        }
        let observed = shown(&drawn, &row);
        assert_eq!(observed.shown.keys().collect::<Vec<_>>(), [] as [&Class; 0], "{drawn:?}");
        (programs, executions) = (programs + 1, executions + observed.executions);
        answers.extend(observed.answered.iter().map(|(name, ret)| format!("{name} {ret}")));
    }
    assert!(programs > 2_500 && executions > 40_000, "{programs} {executions}");
    for errno in ["0", "-EIO", "-EINVAL", "-E2BIG", "-EFAULT"] {
        let answer = format!("IOMMU_HWPT_INVALIDATE {errno}");
        assert!(answers.contains(&answer), "{answer}: {answers:?}");
    }
    assert!(!answers.iter().any(|answer| answer.contains("-ETIMEDOUT")), "{answers:?}");
}

/// A mistake, what it is found by, within how many programs, and how many requests show it at most.
#[rustfmt::skip]
const FOUND: &[(&str, &str, u64, usize)] = &[
    ("cmdq_batch_without_force_sync", "cmdq: CPU N issues two lists without a CMD_SYNC", 200, 1),
    ("cmdq_batch_newest_first", "cmdq: CPU N commands reach the SMMU in another order", 50, 1),
    ("cmdq_llq_stored", "cmdq: the entries of a list are not where its CAS put them", 20, 2),
    ("cmdq_skips_beside", "cmdq: after an illegal command the SMMU consumes something else", 50, 1),
    ("cmdq_cons_by_non_last", "cmdq: llq.cons passes the CMD_SYNC", 50, 2),
    ("cmdq_owner_does_not_wait", "cmdq: CPU N becomes owner while CPU N is publishing", 20, 2),
    ("cmdq_valid_in_every_lap", "INFO: task hung in arm_smmu_cmdq_poll_valid_map", 50, 2),
    ("cmdq_msi_word_late", "cmdq: CPU N times out although the SMMU consumes", 600, 3),
    ("cmdq_space_vs_full", "INFO: task hung in arm_smmu_cmdq_poll_until_not_full", 300, 2),
    ("cmdq_linux_5_3_full_compare", "cmdq: CPU N times out although the SMMU consumes", 20, 2),
    ("cmdq_fetch_add_unbounded", "cmdq: llq.prod is more than a lap ahead", 100, 2),
    ("cmdq_prod_stop_without_lock", "cmdq: CPU N reads CONS of an SMMU that has no power", 50, 3),
    ("cmdq_prod_stop_without_restore", "cmdq: the SMMU reads slot N", 50, 3),
    ("cmdq_ecmdq_preemptible", "cmdq: CPU N returns from its batch", 400, 2),
    ("cmdq_tegra241_cmdqv_everything", "cmdq: CPU N returns from its batch", 100, 1),
    ("cmdq_tegra241_cmdqv_msi", "cmdq: CPU N times out although the SMMU consumes", 50, 1),
    ("cmdq_repeat_mixed_batch", "cmdq: CPU N returns, and N of its invalidations ran once", 600, 1),
    ("cmdq_vsmmu_count_dropped", "cmdq: entry_num says that N commands were handled", 200, 1),
    ("cmdq_vsmmu_without_masks", "cmdq: entry_num says that N commands were handled", 50, 1),
];

/// Each is found from scratch, and what is left of its program still shows it.
#[test]
fn mistakes_are_found_and_made_small() {
    for (name, text, programs, most) in FOUND {
        let row = ask(name);
        let of_class = |class: &&Class| class.text().starts_with(text);
        let find = |run| -> Option<(QueueDrawn, Class, Vec<uapi::step::Cpu>)> {
            let drawn = drawn(1, run, &row);
            let mut observed = shown(&drawn, &row);
            let class = observed.shown.keys().find(of_class)?.clone();
            let shown = observed.shown.remove(&class)?;
            Some((drawn, class, shown.choices))
        };
        let found = (0..*programs).find_map(find);
        let Some((drawn, class, choices)) = found else {
            panic!("{name} shows \"{text}\" in none of {programs} programs");
        };
        let allowed = |subject: &Subject| match subject {
            Subject::Queue { program, .. } => drivers_agree(program),
            _ => false,
        };
        let found = Found { subject: drawn.subject(&row), choices, recycle: false };
        let wanted = Wanted { class: &class, allowed: &allowed };
        let small = shrink(found, &wanted, &drawn.plan(), 400).expect("it runs");
        let small = small.unwrap_or_else(|| panic!("{name} does not show it again: {drawn:?}"));
        let Subject::Queue { program, .. } = &small.subject else { panic!("no queue") };
        let requests = program.cpus.iter().flatten().count();
        assert!(requests <= *most, "{name}: {requests} requests: {program:#?}");
        assert!(drivers_agree(program), "{program:#?}");
        let (outcome, _) = record(&small).expect("it runs").expect("the same way");
        let printed: Vec<Class> = outcome.splats.iter().map(Class::of).collect();
        assert!(printed.contains(&class), "{name}: {printed:?}");
    }
}
