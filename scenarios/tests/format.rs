//! What the reader makes of a good file, the way back, and that no input makes it panic.

mod rows;

use proptest::prelude::*;
use rows::ROWS;
use scenarios::{step_text, write, Explorer, Heap, Kind, Scenario};
use uapi::call::{self, ArgKind, Call, SIGNATURES};
use uapi::errno::{Errno, Ret};
use uapi::program::{Entry, FailNth, Operand, Orders, Pdev, Program, Step, Timers};
use uapi::verdict::Expected;

/// Every key and every form of a step.
const FULL: &str = r#"
question  = "Does every key work?"
source    = "scenarios/tests/format.rs"
notes     = "Not a question that anybody asked."
canary    = true
timers    = "any"
orders    = "strict"
revisions = ["linux_6_13_without_xa_cmpxchg", "p2_v6"]

setup = [
  "ioas0                 = IOMMU_IOAS_ALLOC",
  "sd0, auto0, dev0      = mock_domain(ioas0)",
  "dev1                  = bind(pdev1) -> any",
  "hwpt0                 = IOMMU_HWPT_ALLOC(dev0, ioas0, NEST_PARENT | 0x2)",
  'viommu0               = IOMMU_VIOMMU_ALLOC(dev_id = dev0, hwpt_id = hwpt0, type = SELFTEST)',
]

finally = ["close(f) -> 0", "IOMMU_IOAS_ALLOC [fd = fd]"]

[[cpu]]
name  = "the guest"
steps = [
  "a = IOMMU_VDEVICE_ALLOC(viommu0, dev0, 0x1_0000_0099) [fail_nth = any] -> 0 | -EEXIST | 0",
  """IOMMU_HWPT_INVALIDATE(viommu0, [{vdev_id = 0x99, cache_id = 3}, {flags = ALL, vdev_id = 1, tail = 7}])
     -> { p2_v6 = -EINVAL }, entry_num = 1""",
]

[[cpu]]
steps = [
  "f = open",
  "IOMMU_IOAS_ALLOC [fd = f, usize = 12, trail = 30, ro, badptr, fail_nth = 2, stall = 30]",
  "IOMMU_DESTROY(7)",
]

[devices]
pdev1 = { group = 5, iommu = 1 }

[verdict]
p2_v6                         = "Never"
p2_v6_without_xa_cmpxchg      = { sometimes = "viommu->vdevs[0x99] lost a live vDEVICE" }

[bounds]
steps       = 5_000
executions  = 100_000
preemptions = 0
samples     = 0x10
heap        = "recycle"
explorers   = ["loom", "dpor"]
"#;

fn parsed(text: &str) -> Scenario {
    match Scenario::parse("test", text, ROWS) {
        Ok(scenario) => scenario,
        Err(e) => panic!("{:?}", miette::Report::new(e)),
    }
}

#[test]
fn every_key_is_read() {
    let s = parsed(FULL);
    assert_eq!(s.name, "test");
    assert_eq!(s.question, "Does every key work?");
    assert_eq!(s.source, "scenarios/tests/format.rs");
    assert_eq!(s.notes.as_deref(), Some("Not a question that anybody asked."));
    assert!(s.canary);
    assert_eq!(s.timers(), Timers::Any);
    assert_eq!(s.orders(), Orders::Strict);
    assert_eq!(s.revisions, ["linux_6_13_without_xa_cmpxchg", "linux_6_13"]);
    assert_eq!(s.expected("p2_v6"), Some(&Expected::Never));
    assert_eq!(s.expected("linux_6_13"), Some(&Expected::Never));
    let lost = "viommu->vdevs[0x99] lost a live vDEVICE".to_string();
    assert_eq!(s.expected("p2_v6_without_xa_cmpxchg"), Some(&Expected::Sometimes(lost)));
    assert_eq!(s.expected("linux_6_17"), None);
    assert_eq!(s.kind(), Kind::Race);
    assert_eq!(s.cpus(), 2);
    assert_eq!(s.bounds.steps, Some(5_000));
    assert_eq!(s.bounds.executions, Some(100_000));
    assert_eq!(s.bounds.preemptions, Some(0));
    assert_eq!(s.bounds.samples, Some(16));
    assert_eq!(s.bounds.heap, Heap::Recycle);
    assert_eq!(s.bounds.explorers, Some(vec![Explorer::Loom, Explorer::Dpor]));
    assert!(s.suits(Explorer::Loom) && s.suits(Explorer::Dpor) && !s.suits(Explorer::Shuttle));
}

#[test]
fn every_form_of_a_step_is_read() {
    let p = parsed(FULL).program("linux_6_13");
    assert_eq!(
        p.syms,
        ["ioas0", "sd0", "auto0", "dev0", "dev1", "hwpt0", "viommu0", "a", "f"],
        "in the order of the file: setup, CPUs, finally"
    );
    // pdev1 is named and described, mock_domain takes the other one.
    assert_eq!(
        p.pdevs,
        [
            Pdev { group: 0, iommu: 0, vdevice_size: 0, reserved: None },
            Pdev { group: 5, iommu: 1, vdevice_size: 0, reserved: None }
        ]
    );
    let mock = &p.setup[1];
    assert_eq!(mock.binds, [1, 2, 3]);
    assert_eq!(mock.args, [Operand::Sym(0), Operand::Num(call::AUTO)]);
    assert_eq!(mock.text, "sd0, auto0, dev0 = mock_domain(ioas0)");
    assert_eq!(p.setup[2].args, [Operand::Num(1)]);
    assert_eq!(mock.expect, [Ret::Ok], "a setup succeeds unless the file says otherwise");
    assert!(p.setup[2].expect.is_empty(), "it says that anything may come");
    let hwpt = &p.setup[3];
    assert_eq!(hwpt.args[..3], [Operand::Sym(3), Operand::Sym(0), Operand::Num(3)]);
    assert_eq!(hwpt.args.len(), call::signature(Call::HwptAlloc).args.len());
    assert_eq!(p.setup[4].args[2], Operand::Num(call::VIOMMU_TYPE_SELFTEST));

    let alloc = &p.cpus[0][0];
    assert_eq!(alloc.args[2], Operand::Num(0x1_0000_0099));
    assert_eq!(alloc.fail_nth, FailNth::Any);
    assert_eq!(alloc.expect, [Ret::Ok, Ret::Err(Errno::EEXIST)]);
    assert_eq!(
        alloc.text,
        "a = IOMMU_VDEVICE_ALLOC(viommu0, dev0, 0x1_0000_0099) [fail_nth = any]"
    );
    let invalidate = &p.cpus[0][1];
    assert_eq!(
        invalidate.args[1],
        Operand::Entries(vec![
            Entry { flags: 0, vdev_id: 0x99, cache_id: 3, tail: 0 },
            Entry { flags: 1, vdev_id: 1, cache_id: 0, tail: 7 }
        ])
    );
    assert_eq!(invalidate.expect, [Ret::Err(Errno::EINVAL)]);
    assert_eq!(invalidate.expect_entry_num, Some(1));

    let ioas = &p.cpus[1][1];
    assert_eq!(ioas.file, Operand::Sym(8));
    assert_eq!((ioas.usize_, ioas.trail), (Some(12), Some(30)));
    assert_eq!(ioas.stall_s, Some(30));
    assert!(ioas.read_only && ioas.bad_pointer);
    assert_eq!(ioas.fail_nth, FailNth::Nth(2));
    assert!(ioas.expect.is_empty(), "nothing is expected: anything may come");
    assert_eq!(p.cpus[1][2].args, [Operand::Num(7)]);
    assert_eq!(p.finally[0].args, [Operand::Sym(8)]);
    assert_eq!(p.finally[1].file, Operand::Num(0));
}

#[test]
fn a_twin_answers_as_the_row_it_is_a_twin_of_unless_it_is_named() {
    let text = |answers: &str| {
        format!(
            "question = \"a\"\nsource = \"b\"\n[[cpu]]\nsteps = [\"IOMMU_DESTROY(1) -> {answers}\"]\n\
             [verdict]\np2_v6 = \"Never\"\np2_v6_without_xa_cmpxchg = \"Never\"\nlinux_6_17 = \
             \"Never\"\n"
        )
    };
    let s = parsed(&text("{ linux_6_13 = 0 | -EBUSY, linux_6_17 = -ENOENT }"));
    let busy = [Ret::Ok, Ret::Err(Errno::EBUSY)];
    assert_eq!(s.program("p2_v6").cpus[0][0].expect, busy);
    assert_eq!(s.program("linux_6_13_without_xa_cmpxchg").cpus[0][0].expect, busy);
    assert_eq!(s.program("linux_6_17").cpus[0][0].expect, [Ret::Err(Errno::ENOENT)]);
    let s =
        parsed(&text("{ linux_6_13 = 0, p2_v6_without_xa_cmpxchg = -EIO, linux_6_17 = -ENOENT }"));
    assert_eq!(
        s.program("linux_6_13_without_xa_cmpxchg").cpus[0][0].expect,
        [Ret::Err(Errno::EIO)]
    );
}

#[test]
fn a_name_has_one_problem_even_if_its_step_is_broken() {
    let text = "question = \"a\"\nsource = \"b\"\n[[cpu]]\nsteps = [\"a = open -> -EWHAT\", \
                \"b = opn\", \"close(a)\", \"close(b)\"]\n[verdict]\np2_v6 = \"Never\"\n";
    let error = Scenario::parse("test", text, ROWS).expect_err("two slips");
    assert_eq!(error.problems().len(), 2, "{:?}", error.problems());
}

#[test]
fn the_schema_is_the_recorded_one() {
    insta::assert_snapshot!(format!("{:#}", scenarios::schema()));
}

/// The program of a written file, with the texts that the writer gives its steps.
fn with_written_texts(mut program: Program) -> Program {
    let syms = program.syms.clone();
    let steps = program
        .setup
        .iter_mut()
        .chain(program.cpus.iter_mut().flatten())
        .chain(program.finally.iter_mut());
    for step in steps {
        step.text = step_text(step, &syms);
    }
    program
}

fn round_trip(program: &Program) {
    let verdicts = [
        ("linux_6_13".to_string(), Expected::Never),
        (
            "linux_6_17".to_string(),
            Expected::Sometimes("refcount_t: underflow; use-after-free.".to_string()),
        ),
    ];
    let text = write(program, "a \"quoted\" question", "line 1\nline 2\u{e9}", &verdicts);
    let again = parsed(&text);
    assert_eq!(again.question, "a \"quoted\" question");
    assert_eq!(again.source, "line 1 line 2\u{e9}", "one line, whatever it was");
    assert_eq!(again.revisions, ["linux_6_13", "linux_6_17"]);
    assert_eq!(again.expected("linux_6_17"), Some(&verdicts[1].1));
    assert_eq!(again.program("linux_6_13"), with_written_texts(program.clone()), "{text}");
}

#[test]
fn what_is_written_is_read_again() {
    for row in ["linux_6_13", "linux_6_13_without_xa_cmpxchg"] {
        round_trip(&parsed(FULL).program(row));
    }
}

/// Programs as the simulator may make them: any call, any numbers, names bound and used in order.
fn programs() -> impl Strategy<Value = Program> {
    let step = (0..SIGNATURES.len(), prop::collection::vec(any::<u64>(), 12), any::<[u8; 6]>());
    let list = prop::collection::vec(step, 1..6);
    (prop::collection::vec(list, 3), any::<bool>()).prop_map(|(lists, any)| {
        let mut program = Program {
            cpus: vec![Vec::new()],
            // As many as any device name of the steps can need.
            pdevs: (0..8)
                .map(|n| Pdev {
                    group: n,
                    iommu: n % 2,
                    vdevice_size: n % 3,
                    reserved: (n % 2 == 0).then_some((u64::from(n), 0xfff)),
                })
                .collect(),
            timers: if any { Timers::Any } else { Timers::Idle },
            ..Program::default()
        };
        let mut bound: Vec<(u16, ArgKind)> = Vec::new();
        for (n, list) in lists.into_iter().enumerate() {
            for (call, numbers, options) in list {
                if let Some(step) = made_step(call, &numbers, &options, &mut program, &mut bound) {
                    match n {
                        0 => program.setup.push(step),
                        1 => program.cpus[0].push(step),
                        _ => program.finally.push(step),
                    }
                }
            }
        }
        if program.cpus[0].is_empty() {
            // Names of finally are not bound yet when a CPU runs.
            let open = made_step(0, &[0; 12], &[0; 6], &mut program, &mut Vec::new());
            program.cpus[0].extend(open);
        }
        program
    })
}

fn made_step(
    call: usize,
    numbers: &[u64],
    options: &[u8; 6],
    program: &mut Program,
    bound: &mut Vec<(u16, ArgKind)>,
) -> Option<Step> {
    let signature = &SIGNATURES[call];
    let pick = |kind: &dyn Fn(ArgKind) -> bool, n: u64| {
        let fitting: Vec<u16> =
            bound.iter().filter(|(_, k)| kind(*k)).map(|(sym, _)| *sym).collect();
        (!fitting.is_empty()).then(|| Operand::Sym(fitting[n as usize % fitting.len()]))
    };
    let mut args = Vec::new();
    for (arg, n) in signature.args.iter().zip(numbers) {
        args.push(match arg.kind {
            ArgKind::Device => pick(&|k| k == ArgKind::Device, *n)?,
            ArgKind::Mapping => pick(&|k| k == ArgKind::Mapping, *n)?,
            ArgKind::File => pick(&|k| k == ArgKind::File, *n).unwrap_or(Operand::Num(0)),
            ArgKind::Id => pick(&|k| matches!(k, ArgKind::Id | ArgKind::Device), *n)
                .filter(|_| n % 3 > 0)
                .unwrap_or(Operand::Num(*n)),
            ArgKind::Pdev => match arg.default {
                Some(default) if n % 2 == 0 => Operand::Num(default),
                _ => Operand::Num(n % 8),
            },
            ArgKind::Entries => Operand::Entries(
                numbers[..(*n % 3) as usize]
                    .iter()
                    .map(|n| Entry {
                        flags: (n % 3) as u32,
                        vdev_id: *n as u32,
                        cache_id: 1,
                        tail: (n % 5) as u32,
                    })
                    .collect(),
            ),
            ArgKind::Num | ArgKind::Flags => match arg.default {
                Some(default) if n % 2 == 0 => Operand::Num(default),
                _ => Operand::Num(*n),
            },
        });
    }
    let file = pick(&|k| k == ArgKind::File, numbers[0]).filter(|_| options[0] % 2 == 0);
    let mut binds = Vec::new();
    for out in &signature.outs[..usize::from(options[1]) % (signature.outs.len() + 1)] {
        let sym = program.syms.len() as u16;
        program.syms.push(format!("n{sym}"));
        bound.push((sym, out.kind));
        binds.push(sym);
    }
    let ioctl = signature.name.starts_with("IOMMU_");
    let expect = match options[2] % 3 {
        0 => Vec::new(),
        1 => vec![Ret::Ok],
        _ => vec![Ret::Err(Errno::EBUSY), Ret::Ok],
    };
    Some(Step {
        call: signature.call,
        args,
        file: file.unwrap_or(Operand::Num(0)),
        binds,
        expect_entry_num: signature.entry_num.then_some(1),
        expect_out: signature
            .outs
            .iter()
            .position(|out| out.kind == ArgKind::Num)
            .map(|at| (at as u16, u64::from(options[2])))
            .into_iter()
            .collect(),
        expect,
        fail_nth: match options[3] % 3 {
            0 => FailNth::None,
            1 => FailNth::Any,
            _ => FailNth::Nth(u32::from(options[3])),
        },
        read_only: ioctl && options[4] % 2 == 0,
        bad_pointer: ioctl && options[4] % 3 == 0,
        usize_: (ioctl && options[4] % 5 == 0).then_some(24),
        trail: (ioctl && options[4] % 7 == 0).then_some(30),
        stall_s: (options[4] % 11 == 0).then_some(30),
        text: String::new(),
    })
}

#[test]
fn what_a_call_gives_out_can_be_expected() {
    let text = r#"question = "What is read?"
source   = "R-E2"

[[cpu]]
steps = ["q, f = IOMMU_VEVENTQ_ALLOC(7)", "read(f) -> 0 | -EFAULT, bytes = 12, virt_id = 0x99"]

[verdict]
linux_6_13 = "Never"
"#;
    let scenario = Scenario::parse("outputs.toml", text, ROWS).expect("it is right");
    let program = scenario.program("linux_6_13");
    let read = &program.cpus[0][1];
    assert_eq!(read.expect, [Ret::Ok, Ret::Err(Errno::EFAULT)]);
    assert_eq!(read.expect_out, [(0, 12), (3, 0x99)]);
    round_trip(&program);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_program_survives_the_round_trip(program in programs()) {
        round_trip(&program);
    }

    #[test]
    fn no_text_makes_the_reader_panic(text in ".*") {
        let _ = Scenario::parse("x", &text, ROWS);
    }

    #[test]
    fn no_step_makes_the_reader_panic(step in "[a-zA-Z0-9_=,()\\[\\]{}| >\\-\u{e9}\"\\\\]{0,60}") {
        let text = format!(
            "question = \"a\"\nsource = \"b\"\n[[cpu]]\nsteps = ['''{step}''', \"a = open\"]\n\
             [verdict]\np2_v6 = \"Never\"\n"
        );
        render(&text);
    }

    #[test]
    fn no_change_of_a_good_file_makes_the_reader_panic(
        at in 0..FULL.len(), len in 0usize..40, with in ".{0,12}"
    ) {
        let start = (0..=at).rev().find(|i| FULL.is_char_boundary(*i)).unwrap_or(0);
        let end = (start + len).min(FULL.len());
        let end = (end..=FULL.len()).find(|i| FULL.is_char_boundary(*i)).unwrap_or(FULL.len());
        render(&format!("{}{with}{}", &FULL[..start], &FULL[end..]));
    }

    #[test]
    fn no_file_makes_the_reader_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let file = tempfile::NamedTempFile::new().expect("a temporary file");
        std::fs::write(file.path(), &bytes).expect("it can be written");
        if let Err(e) = Scenario::read(file.path(), ROWS) {
            let _ = format!("{:?}", miette::Report::new(e));
        }
    }
}

/// Reads and, if that fails, renders: a span outside of the text would panic only there.
fn render(text: &str) {
    if let Err(e) = Scenario::parse("x", text, ROWS) {
        assert!(!e.problems().is_empty());
        for problem in e.problems() {
            assert!(!problem.help.is_empty());
            let _ = e.location(problem);
        }
        let _ = format!("{:?}", miette::Report::new(e));
    }
}
