//! What a user sees who makes a mistake in a scenario: the whole rendered text, one snapshot a
//! mistake.

mod rows;

use miette::{GraphicalReportHandler, GraphicalTheme};
use rows::ROWS;
use scenarios::{Scenario, ScenarioError};

fn rendered(error: &ScenarioError) -> String {
    let mut out = String::new();
    GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor())
        .with_width(100)
        .render_report(&mut out, error)
        .expect("writing to a String");
    out
}

/// A good scenario, as parts that a test replaces one of.
struct Parts {
    head: &'static str,
    setup: &'static str,
    cpu0: &'static str,
    cpu1: &'static str,
    tail: &'static str,
}

const GOOD: Parts = Parts {
    head: "question = \"Does it work?\"\nsource = \"R-C11\"",
    setup: "\"ioas0 = IOMMU_IOAS_ALLOC\",\n  \"dev0 = bind(pdev0)\",",
    cpu0: "\"IOMMU_DESTROY(ioas0) -> 0 | -EBUSY\"",
    cpu1: "\"h = IOMMU_HWPT_ALLOC(dev0, ioas0, NEST_PARENT)\"",
    tail: "[verdict]\np2_v6 = \"Never\"",
};

impl Parts {
    fn text(&self) -> String {
        let Parts { head, setup, cpu0, cpu1, tail } = self;
        format!(
            "{head}\n\nsetup = [\n  {setup}\n]\n\n[[cpu]]\nsteps = [{cpu0}]\n\n[[cpu]]\nsteps = \
             [{cpu1}]\n\n{tail}\n"
        )
    }
}

fn error_of(text: &str) -> String {
    match Scenario::parse("mistake.toml", text, ROWS) {
        Ok(_) => panic!("this was read without an error:\n{text}"),
        Err(e) => rendered(&e),
    }
}

macro_rules! mistakes {
    ($($name:ident: $part:ident = $text:expr;)*) => {$(
        #[test]
        fn $name() {
            let text = Parts { $part: $text, ..GOOD }.text();
            insta::assert_snapshot!(error_of(&text));
        }
    )*};
}

#[test]
fn the_parts_are_good() {
    if let Err(e) = Scenario::parse("good.toml", &GOOD.text(), ROWS) {
        panic!("{}", rendered(&e));
    }
}

mistakes! {
    unknown_key: head = "question = \"Does it work?\"\nsorce = \"R-C11\"\nsource = \"R-C11\"";
    key_of_the_file_in_a_table: cpu1 = "\"IOMMU_DESTROY(1)\"]\nfinally = [\"unbind(dev0)\"";
    empty_question: head = "question = \" \"\nsource = \"R-C11\"";
    missing_source: head = "question = \"Does it work?\"";
    question_is_a_number: head = "question = 3\nsource = \"R-C11\"";
    not_toml: head = "question = Does it work?\nsource = \"R-C11\"";
    cpu_with_one_bracket: tail = "[cpu]\nsteps = []\n\n[verdict]\np2_v6 = \"Never\"";
    duplicate_key: head = "question = \"a\"\nquestion = \"b\"\nsource = \"R-C11\"";
    unknown_timers: head = "question = \"a\"\nsource = \"b\"\ntimers = \"always\"";
    reserved_that_is_no_range:
        tail = "[devices]\npdev0 = { reserved = [0x2000, 0x1000] }\n[verdict]\np2_v6 = \"Never\"";
    unknown_orders: head = "question = \"a\"\nsource = \"b\"\norders = \"weak\"";
    canary_that_never_fails: head = "question = \"a\"\nsource = \"b\"\ncanary = true";

    unknown_call: cpu0 = "\"IOMMU_DESTORY(ioas0) -> 0\"";
    unknown_call_without_its_prefix: cpu0 = "\"vdevice_alloc(1, 2, 3)\"";
    wrong_argument_kind_number_for_a_device: cpu0 = "\"unbind(3)\"";
    wrong_argument_kind_object_for_a_device: cpu0 = "\"unbind(ioas0)\"";
    wrong_argument_kind_name_for_a_number: cpu0 = "\"IOMMU_VDEVICE_ALLOC(1, dev0, ioas0)\"";
    wrong_argument_kind_unknown_flag:
        cpu0 = "\"IOMMU_HWPT_ALLOC(dev0, ioas0, NEST_PARNT | PASID)\"";
    wrong_argument_kind_entries: cpu0 = "\"IOMMU_HWPT_INVALIDATE(1, 0x99)\"";
    wrong_argument_kind_pdev: cpu0 = "\"d = bind(pdev8)\"";
    wrong_argument_kind_file: cpu0 = "\"close(dev0)\"";
    entry_with_an_unknown_field: cpu0 = "\"IOMMU_HWPT_INVALIDATE(1, [{virt_id = 0x99}])\"";
    entry_that_is_too_large: cpu0 = "\"IOMMU_HWPT_INVALIDATE(1, [{vdev_id = 0x100000099}])\"";
    too_many_arguments: cpu0 = "\"IOMMU_DESTROY(ioas0, 1)\"";
    too_few_arguments: cpu0 = "\"a = IOMMU_VDEVICE_ALLOC(1)\"";
    duplicate_argument: cpu0 = "\"IOMMU_DESTROY(ioas0, id = 1)\"";
    unknown_argument: cpu0 = "\"IOMMU_DESTROY(obj = 1)\"";
    argument_without_name_behind_one_with:
        cpu0 = "\"IOMMU_VDEVICE_ALLOC(viommu_id = 1, dev0, 0x99)\"";
    number_too_large: cpu0 = "\"IOMMU_VDEVICE_ALLOC(1, dev0, 0x10000000000000000)\"";

    unbound_name: cpu0 = "\"IOMMU_DESTROY(iaos0)\"";
    doubly_bound_name: cpu0 = "\"dev0 = bind(pdev1)\"";
    name_bound_later: setup =
        "\"unbind(dev0)\",\n  \"dev0 = bind(pdev0)\",\n  \"ioas0 = IOMMU_IOAS_ALLOC\",";
    name_of_another_cpu: cpu0 = "\"IOMMU_DESTROY(h)\"";
    name_that_is_taken: cpu0 = "\"pdev1 = bind(pdev0)\"";
    too_many_names: cpu0 = "\"a, b = IOMMU_IOAS_ALLOC\"";
    name_for_nothing: cpu0 = "\"a = IOMMU_DESTROY(1)\"";

    unknown_errno: cpu0 = "\"IOMMU_DESTROY(ioas0) -> -EBUSI\"";
    errno_without_sign: cpu0 = "\"IOMMU_DESTROY(ioas0) -> 0 | EBUSY\"";
    answer_is_a_number: cpu0 = "\"IOMMU_DESTROY(ioas0) -> 1\"";
    answer_is_missing: cpu0 = "\"IOMMU_DESTROY(ioas0) ->\"";
    entry_num_of_a_call_without: cpu0 = "\"IOMMU_DESTROY(ioas0) -> 0, entry_num = 1\"";
    output_that_a_call_does_not_give_out: cpu0 = "\"IOMMU_IOAS_UNMAP(ioas0, 0, 4096) -> 0, bytes = 4096\"";
    output_that_is_an_id: cpu1 = "\"h = IOMMU_HWPT_ALLOC(dev0, ioas0) -> 0, out_hwpt_id = 3\"";
    answers_for_an_unknown_revision:
        cpu0 = "\"IOMMU_DESTROY(ioas0) -> { linux_6_13 = 0, linux_6_16 = -EBUSY }\"";
    answers_for_a_revision_that_is_not_run:
        cpu0 = "\"IOMMU_DESTROY(ioas0) -> { linux_6_13 = 0, linux_6_17 = -EBUSY }\"";
    answers_without_a_revision_that_is_run:
        cpu0 = "\"IOMMU_DESTROY(ioas0) -> { linux_6_17 = -EBUSY }\"";

    unknown_option: cpu0 = "\"IOMMU_DESTROY(ioas0) [read_only]\"";
    option_of_ioctls: cpu0 = "\"unbind(dev0) [ro]\"";
    fail_nth_zero: cpu0 = "\"IOMMU_DESTROY(ioas0) [fail_nth = 0]\"";
    unclosed_argument_list: cpu0 = "\"IOMMU_DESTROY(ioas0 -> 0\"";
    strange_character: cpu0 = "\"IOMMU_DESTROY(ioas0); IOMMU_DESTROY(dev0)\"";
    empty_step: cpu0 = "\"\"";
    step_that_is_no_text: cpu0 = "3";
    step_with_escapes: cpu0 = "\"IOMMU_DESTROY(\\u0069oas1)\"";

    empty_cpu: cpu0 = "";
    unknown_revision: tail = "[verdict]\nlinux_6_31 = \"Never\"";
    no_verdict: tail = "";
    empty_verdict: tail = "[verdict]";
    two_verdicts_for_one_revision:
        tail = "[verdict]\np2_v6 = \"Never\"\nlinux_6_13 = \"Never\"";
    misspelt_verdict: tail = "[verdict]\np2_v6 = \"never\"";
    verdict_without_splat: tail = "[verdict]\np2_v6 = \"Sometimes\"";
    impossible_verdict:
        tail = "[verdict]\np2_v6 = { sometimes = \"BUG: KASAN: use-after-free in x\" }";
    impossible_verdict_of_an_invariant: tail =
        "[verdict]\np2_v6 = { sometimes = \"viommu->vdevs[0x99] has lost a live vDEVICE\" }";
    verdict_that_says_too_little: tail = "[verdict]\np2_v6 = { sometimes = \"BUG\" }";
    verdict_with_an_unknown_key: tail = "[verdict]\np2_v6 = { sometime = \"INFO: task hung in\" }";
    unknown_bound: tail = "[verdict]\np2_v6 = \"Never\"\n[bounds]\nstep = 3";
    bound_out_of_range: tail = "[verdict]\np2_v6 = \"Never\"\n[bounds]\nsteps = 0";
    unknown_heap: tail = "[verdict]\np2_v6 = \"Never\"\n[bounds]\nheap = \"reuse\"";
    unknown_explorer: tail = "[verdict]\np2_v6 = \"Never\"\n[bounds]\nexplorers = [\"dfs\"]";
    unknown_device: tail = "[verdict]\np2_v6 = \"Never\"\n[devices]\npdev9 = { group = 0 }";
    verdict_for_a_revision_that_is_not_run: head =
        "question = \"a\"\nsource = \"b\"\nrevisions = [\"linux_6_17\"]";
    too_many_cpus_for_loom: tail = "[[cpu]]\nsteps = [\"x = open\"]\n\n[[cpu]]\nsteps = [\"y = open\"]\
        \n\n[[cpu]]\nsteps = [\"z = open\"]\n\n[verdict]\np2_v6 = \"Never\"\n\n[bounds]\n\
        explorers = [\"dpor\", \"loom\"]";
}

#[test]
fn several_mistakes_are_shown_at_once() {
    let text = Parts {
        head: "question = \"Does it work?\"\nsource = \"R-C11\"\nnote = \"x\"",
        cpu0: "\"IOMMU_DESTROY(iaos0) -> -EBUSI\", \"unbind(dev0, 1, 2)\"",
        tail: "[verdict]\np2_v7 = \"Never\"",
        ..GOOD
    }
    .text();
    insta::assert_snapshot!(error_of(&text));
}

#[test]
fn no_cpu() {
    let text = "question = \"a\"\nsource = \"b\"\n[verdict]\np2_v6 = \"Never\"\n";
    insta::assert_snapshot!(error_of(text));
}

#[test]
fn too_many_cpus() {
    let cpus: String = (0..9).map(|n| format!("[[cpu]]\nsteps = [\"f{n} = open\"]\n")).collect();
    let text = format!("question = \"a\"\nsource = \"b\"\n{cpus}[verdict]\np2_v6 = \"Never\"\n");
    insta::assert_snapshot!(error_of(&text));
}

#[test]
fn empty_file() {
    insta::assert_snapshot!(error_of("\n"));
}

/// A letter of another alphabet, an order for a terminal, and an order for the writing around it.
#[test]
fn what_cannot_be_seen_is_told_by_its_number() {
    let with = |setup| error_of(&Parts { setup, ..GOOD }.text());
    let cyrillic = with("\"dev0 = bind(pdev0)\", \"\u{456}oas0 = IOMMU_IOAS_ALLOC\"");
    assert!(cyrillic.contains("(U+0456)") && cyrillic.contains("keyboard"), "{cyrillic}");
    for (source, number) in [("\\u001b[31m", "U+001B"), ("\u{202e}", "U+202E")] {
        let text = GOOD.text().replace("R-C11", source);
        let shown = error_of(&text);
        assert!(shown.contains(number) && shown.contains("`source`"), "{shown}");
        assert!(!shown.contains(['\u{1b}', '\u{202e}']), "it is not printed: {shown}");
    }
}

#[test]
fn nul_byte() {
    insta::assert_snapshot!(error_of("question = \"a\"\nsource = \"\0\"\n"));
}

#[test]
fn deep_nesting() {
    let text = format!("question = {}", "[".repeat(100_000));
    let error = Scenario::parse("deep", &text, ROWS).expect_err("it is not TOML");
    assert!(!error.problems().is_empty());
    let text = format!("question = {}{}", "{a=".repeat(50_000), "}".repeat(50_000));
    let error = Scenario::parse("deep", &text, ROWS).expect_err("it is not TOML");
    assert!(!error.problems().is_empty());
}

#[test]
fn too_many_steps() {
    let steps = "\"x = open\",\n".repeat(2_000);
    let text = format!(
        "question = \"a\"\nsource = \"b\"\n[[cpu]]\nsteps = [{steps}]\n[verdict]\np2_v6 = \
         \"Never\"\n"
    );
    insta::assert_snapshot!(error_of(&text));
}

/// Mistakes with the file rather than with its text. Paths differ between machines, so the file
/// is named from the directory that it is in.
mod files {
    use super::{rendered, ROWS};
    use scenarios::Scenario;
    use std::path::Path;

    fn error_with(name: &str, bytes: &[u8]) -> String {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).expect("a file in it");
        let error = Scenario::read(&path, ROWS).expect_err("the file is wrong");
        rendered(&error).replace(&path.display().to_string(), name)
    }

    #[test]
    fn not_utf8() {
        insta::assert_snapshot!(error_with("latin1.toml", b"question = \"Is it gr\xfcn?\"\n"));
    }

    #[test]
    fn cut_in_the_middle_of_a_character() {
        insta::assert_snapshot!(error_with("cut.toml", b"question = \"\xe2\x82"));
    }

    #[test]
    fn ten_megabytes_of_garbage() {
        let garbage: Vec<u8> =
            (0..10_000_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        insta::assert_snapshot!(error_with("garbage.toml", &garbage));
    }

    #[test]
    fn directory() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let error = Scenario::read(dir.path(), ROWS).expect_err("it is a directory");
        let text = rendered(&error).replace(&dir.path().display().to_string(), "DIR");
        insta::assert_snapshot!(text);
    }

    #[test]
    fn missing_file() {
        let error = Scenario::read(Path::new("no/such.toml"), ROWS).expect_err("it is missing");
        insta::assert_snapshot!(rendered(&error));
    }

    #[test]
    fn device_file() {
        let error = Scenario::read(Path::new("/dev/zero"), ROWS).expect_err("it has no end");
        insta::assert_snapshot!(rendered(&error));
    }

    #[test]
    fn unknown_name() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        std::fs::create_dir(dir.path().join("races")).expect("a directory in it");
        std::fs::write(dir.path().join("races/eexist_unwind.toml"), "").expect("a file in it");
        let error = scenarios::resolve("eexist_unwnd", dir.path()).expect_err("a slip");
        insta::assert_snapshot!(rendered(&error));
    }
}
