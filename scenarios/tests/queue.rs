//! Files with a `[queue]`: what is read, what is written again, and what is told about slips.

use proptest::prelude::*;
use scenarios::{request_text, write_queue, Kind, Scenario, Spelled};
use uapi::errno::{Errno, Ret};
use uapi::pick::Subject;
use uapi::queue::{
    Completion, Expect, Fault, Invalidate, Queue, QueueKind, Request, Secondary, Vsmmu, Without,
};
use uapi::verdict::Expected;

const FULL: &str = r#"question = "Is everything read?"
source   = "reference/smmuv3.md 3"

[queue]
log2size = 4
word = 8
start = 14
completion = "msi"
faults = [{ abort = 1 }, { atc_timeout = 2 }, { dead = 9 }]
overtaken_max = 3
secondary = { kind = "ecmdq", queues = 2 }
vsmmu = { vmid = 7, vdevs = [{ vsid = 0x99, sid = 0x40 }], without = ["ATS", "SSIDSIZE"] }

[[cpu]]
steps = [
  "arm_smmu_cmdq_issue_cmdlist([{op = TLBI_NH_VA, ASID = 3, address = 0x1000}, {word0 = 0xff}], sync = 1) -> 0 | -ETIMEDOUT",
  "arm_smmu_cmdq_batch_submit(cmds = [{op = 0x40, StreamID = 7, Size = 52, word1 = 0x40}], force_sync = 1)",
]

[[cpu]]
steps = [
  "IOMMU_HWPT_INVALIDATE([{op = SYNC}], entry_len = 24, tail = 1, unmapped_from = 0, data_type = 2) [fail_nth = 2] -> { cmdq_df180b1a4cc5 = -EINVAL, cmdq_latest = -E2BIG }, entry_num = 0",
  "migrate(0, 1)",
]

[verdict]
cmdq_df180b1a4cc5 = "Never"
cmdq_2d4f03f6610d = { sometimes = "cmdq: the lock counts" }
"#;

fn parsed(text: &str) -> Scenario {
    match Scenario::parse("queue.toml", text, &model_native::revisions()) {
        Ok(scenario) => scenario,
        Err(e) => panic!("{:?}", miette::Report::new(e)),
    }
}

#[test]
fn everything_is_read() {
    let scenario = parsed(FULL);
    assert_eq!(scenario.kind(), Kind::Race);
    assert_eq!(scenario.cpus(), 5, "two producers, three consumers");
    let queue = scenario.queue("cmdq_latest").expect("a queue");
    let array = Invalidate {
        commands: vec![[0x46, 0]],
        data_type: 2,
        entry_len: 24,
        tail: 1,
        unmapped_from: Some(0),
        fail_nth: 2,
    };
    let wanted = Queue {
        log2size: 4,
        word: 8,
        start: 14,
        completion: Completion::Msi,
        faults: vec![Fault::Abort(1), Fault::AtcTimeout(2), Fault::Dead(9)],
        overtaken_max: 3,
        secondary: Some(Secondary { kind: QueueKind::Ecmdq, queues: 2 }),
        vsmmu: Some(Vsmmu {
            vmid: 7,
            vdevs: vec![(0x99, 0x40)],
            without: vec![Without::Ats, Without::SubstreamIds],
        }),
        cpus: vec![
            vec![
                Request::Issue { commands: vec![[0x12 | 3 << 48, 0x1000], [0xff, 0]], sync: true },
                Request::Batch { commands: vec![[0x40 | 7 << 32, 52 | 0x40]], force_sync: true },
            ],
            vec![Request::Invalidate(array), Request::Migrate { task: 0, to: 1 }],
        ],
        expect: vec![
            Expect {
                cpu: 0,
                index: 0,
                rets: vec![Ret::Ok, Ret::Err(Errno::ETIMEDOUT)],
                entry_num: None,
            },
            Expect { cpu: 1, index: 0, rets: vec![Ret::Err(Errno::E2BIG)], entry_num: Some(0) },
        ],
        ..Queue::default()
    };
    assert_eq!(queue, wanted);
    let older = scenario.queue("cmdq_df180b1a4cc5").expect("a queue");
    assert_eq!(older.expect[1].rets, [Ret::Err(Errno::EINVAL)]);
    let spelled = Spelled::of(&scenario.subject("cmdq_latest"));
    assert_eq!(spelled.names, ["CPU 0", "CPU 1", "SMMU", "SMMU, ECMDQ 0", "SMMU, ECMDQ 1"]);
    assert!(matches!(
        scenario.subject("cmdq_latest"),
        Subject::Queue { revision, .. } if revision == "cmdq_2d4f03f6610d"
    ));
}

fn written(queue: &Queue) -> String {
    let verdicts = [("cmdq_latest".to_owned(), Expected::Never)];
    write_queue(queue, "Is it read again?", "reference/smmuv3.md 3", &verdicts)
}

#[test]
fn what_is_written_is_read_again() {
    let queue = parsed(FULL).queue("cmdq_latest").expect("a queue");
    let again = parsed(&written(&queue)).queue("cmdq_latest");
    assert_eq!(again, Some(Queue { expect: Vec::new(), ..queue }));
}

#[test]
fn a_request_is_spelt_by_its_fields() {
    let issue = |words| Request::Issue { commands: vec![words], sync: false };
    let of = |words| request_text(&issue(words));
    let list = |text: &str| format!("arm_smmu_cmdq_issue_cmdlist([{text}])");
    assert_eq!(of([0x12, 0x1000]), list("{op = TLBI_NH_VA, Address = 0x1000}"));
    assert_eq!(of([0x412, 0x1000]), list("{op = TLBI_NH_VA, Address = 0x1000, word0 = 0x400}"));
    assert_eq!(of([0xff, 7]), list("{word0 = 0xff, word1 = 7}"));
}

/// Each slip: what is written instead of what, and what the message and the help hold.
const SLIPS: &[(&str, &str, &str, &str)] = &[
    ("log2size = 4", "log2size = 4\nsize = 8", "has no key `size`", "keys are"),
    ("log2size = 4", "log2size = 900", "number from 0 to 255", ""),
    ("log2size = 4", "log2size = 11", "too large to check", "fits what"),
    ("word = 8", "word = 16", "words of 16 bits do not fit", "fits what"),
    ("word = 8", "word = 0", "words of 0 bits do not fit", "fits what"),
    ("\"msi\"", "\"irq\"", "`completion` cannot be \"irq\"", "polls CONS"),
    ("abort = 1", "abrot = 1", "no fault `abrot`", "`abort`"),
    ("{ abort = 1 }", "3", "a fault is", ""),
    ("kind = \"ecmdq\", ", "", "does not say what the queues are", "kind"),
    ("queues = 2", "queues = 7", "8 together", ""),
    ("vsid = 0x99, ", "", "a `vsid` and a `sid`", "vsid = 0x99"),
    ("\"ATS\"", "\"ATC\"", "cannot be without `ATC`", "`ATS`"),
    ("op = TLBI_NH_VA", "op = TLBI_NH_VAX", "no command `TLBI_NH_VAX`", "`TLBI_NH_VA`"),
    ("ASID = 3", "VSID = 3", "TLBI_NH_VA has no field `VSID`", "`ASID`"),
    ("ASID = 3", "ASID = 0x10000", "does not fit into ASID", "smaller"),
    ("address = 0x1000", "address = 0x1001", "does not fit into Address", "page of 4 KiB"),
    ("op = TLBI_NH_VA, ASID = 3", "ASID = 3", "stands before the opcode", "`op` first"),
    ("{word0 = 0xff}", "{}", "a command says nothing", "op = TLBI_NH_VA"),
    ("sync = 1", "sync = 2", "number from 0 to 1", ""),
    ("sync = 1", "force = 1", "has no argument `force`", "cmds, [sync]"),
    ("migrate(0, 1)", "migrate(0)", "needs `to`", "migrate(task, to)"),
    ("migrate(0, 1)", "migrate(5, 1)", "no producer 5", "fits what"),
    ("migrate(0, 1)", "migrat(0, 1)", "has no call `migrat`", "`migrate`"),
    ("migrate(0, 1)", "x = migrate(0, 1)", "gives out nothing", "without a name"),
    ("migrate(0, 1)", "migrate(0, 1) [fail_nth = 1]", "no point of migrate", "faults"),
    ("migrate(0, 1)", "migrate(0, 1) -> 0, entry_num = 1", "handles no array", "leave it out"),
    ("[fail_nth = 2]", "[ro]", "has no option `ro`", "fail_nth"),
    ("[fail_nth = 2]", "[fail_nth = any]", "one number from 1", ""),
    ("\"Never\"", "\"Never\"\nlinux_6_13 = \"Never\"", "no revision `linux_6_13`", ""),
    (
        "\"Never\"",
        "\"Never\"\ncmdq_fetch_add = \"Never\"",
        "does not say what `cmdq_fetch_add`",
        "",
    ),
    ("[queue]", "setup = []\n[queue]", "has no key `setup`", "without a [queue]"),
    ("the lock counts", "the lock hangs", "is impossible", "splat.rs"),
];

#[test]
fn slips_are_told_with_a_next_step() {
    for (good, bad, message, help) in SLIPS {
        assert!(FULL.contains(good), "{good}");
        let text = FULL.replacen(good, bad, 1);
        let error = Scenario::parse("queue.toml", &text, &model_native::revisions())
            .expect_err(&format!("{bad} is read"));
        let told = |p: &scenarios::Problem| p.message.contains(message) && p.help.contains(help);
        assert!(error.problems().iter().any(told), "{bad}: {:#?}", error.problems());
        assert!(!format!("{:?}", miette::Report::new(error)).is_empty());
    }
}

/// A row that does not take the program is told where its verdict stands.
#[test]
fn a_row_that_cannot_run_it_is_named() {
    let text = r#"question = "Does it run?"
source   = "reference/smmuv3.md 3"
[queue]
[[cpu]]
steps = ["arm_smmu_runtime_suspend", "arm_smmu_runtime_resume"]
[verdict]
cmdq_prod_stop = "Never"
cmdq_linux_5_3 = "Never"
"#;
    let error = Scenario::parse("queue.toml", text, &model_native::revisions()).expect_err("5.3");
    let problem = &error.problems()[0];
    assert!(problem.message.contains("`cmdq_linux_5_3` cannot run this program"), "{problem:?}");
    assert!(problem.message.contains("take cmdq_prod_stop"), "{problem:?}");
}

/// What the kill matrix says that a mutant prints can stand in a verdict.
#[test]
fn what_a_queue_prints_can_be_recorded() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../reports/kill-matrix.md");
    let page = std::fs::read_to_string(page).expect("the page");
    let mutants = page.split("## Mutants").nth(1).expect("a part").split("##").next();
    let mut printed = 0;
    for line in mutants.expect("its lines").lines().filter(|line| line.starts_with("| cmdq_")) {
        let splat = line.trim_end_matches('|').rsplit('|').next().unwrap_or("").trim();
        if splat.is_empty() {
            continue;
        }
        let text = format!(
            "question = \"a\"\nsource = \"reference/smmuv3.md\"\n[queue]\n[[cpu]]\n\
             steps = [\"arm_smmu_cmdq_issue_cmdlist([], sync = 1)\"]\n[verdict]\n\
             cmdq_latest = {{ sometimes = \"{splat}\" }}\n"
        );
        parsed(&text);
        printed += 1;
    }
    assert!(printed > 40, "{printed}");
}

fn requests() -> impl Strategy<Value = Request> {
    let commands = || prop::collection::vec(any::<[u64; 2]>(), 1..4);
    let word = || prop::option::of(any::<u32>());
    prop_oneof![
        (commands(), any::<bool>()).prop_map(|(commands, sync)| Request::Issue { commands, sync }),
        (commands(), any::<bool>())
            .prop_map(|(commands, force_sync)| Request::Batch { commands, force_sync }),
        (commands(), any::<(u32, u32, u8)>(), word(), any::<u32>()).prop_map(
            |(commands, (data_type, entry_len, tail), unmapped_from, fail_nth)| {
                let array = Invalidate::of(commands);
                Request::Invalidate(Invalidate {
                    data_type,
                    entry_len,
                    tail,
                    unmapped_from,
                    fail_nth,
                    ..array
                })
            }
        ),
        (0..2u8, any::<u8>()).prop_map(|(task, to)| Request::Migrate { task, to }),
    ]
}

fn queues() -> impl Strategy<Value = Queue> {
    let cpus = prop::collection::vec(prop::collection::vec(requests(), 1..4), 2..4);
    let faults = prop::collection::vec(
        (any::<u32>(), 0..3).prop_map(|(n, kind)| match kind {
            0 => Fault::Abort(n),
            1 => Fault::AtcTimeout(n),
            _ => Fault::Dead(n),
        }),
        0..4,
    );
    let vdevs = prop::collection::vec(any::<(u32, u32)>(), 0..3);
    let secondary = prop::option::of((any::<bool>(), 1..3u8));
    (cpus, faults, vdevs, secondary, any::<(u32, u16, u8, bool, bool)>()).prop_map(
        |(cpus, faults, vdevs, secondary, (start, vmid, overtaken_max, msi, twice))| Queue {
            log2size: 4,
            word: 4,
            start,
            completion: if msi { Completion::Msi } else { Completion::Cons },
            faults,
            vsmmu: Some(Vsmmu { vmid, vdevs, without: vec![Without::Ril] }),
            secondary: secondary.map(|(ecmdq, queues)| Secondary {
                kind: if ecmdq { QueueKind::Ecmdq } else { QueueKind::GuestVcmdq },
                queues,
            }),
            repeat_tlbi_cfgi: twice,
            overtaken_max,
            cpus,
            ..Queue::default()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_queue_survives_the_round_trip(queue in queues()) {
        prop_assert_eq!(parsed(&written(&queue)).queue("cmdq_latest"), Some(queue));
    }

    #[test]
    fn no_change_of_a_good_file_makes_the_reader_panic(
        at in 0..FULL.len(), len in 0usize..40, with in ".{0,12}"
    ) {
        let end = (at + len).min(FULL.len());
        let text = format!("{}{with}{}", &FULL[..at], &FULL[end..]);
        if let Err(e) = Scenario::parse("x", &text, &model_native::revisions()) {
            let _ = format!("{:?}", miette::Report::new(e));
        }
    }
}

/// The calls of a file are those that output names.
#[test]
fn requests_are_called_what_they_are_called_in_a_file() {
    let table = scenarios::request_table();
    for name in Request::NAMES {
        assert!(table.contains(&format!("| `{name}")), "{name}");
    }
    assert_eq!(table.lines().count(), 2 + Request::NAMES.len());
    let spelt = [Request::Suspend, Request::Resume].map(|r| request_text(&r));
    assert!(spelt.iter().all(|text| Request::NAMES.contains(&text.as_str())));
}
