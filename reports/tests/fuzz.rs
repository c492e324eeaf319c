//! What the fuzzer found, fed again, and programs of proptest on the same readers: no input makes one
//! of them panic, hang, or take more memory than is stated here.
//!
//! The corpus is in `scenarios/fuzz`, the fuzzer is `reports/fuzz/run`.

#[path = "../fuzz/targets.rs"]
mod targets;

use peak_alloc::PeakAlloc;
use proptest::collection::{btree_map, btree_set, vec};
use proptest::prelude::*;
use races::{FailAt, Schedule, Segment, Until};
use reports::simulate::journal::{sealed, Head, Journal, BYTES_MAX};
use reports::simulate::record::{Record, Records};
use reports::token::Token;
use scenarios::FILE_SIZE_MAX;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use targets::{Target, TARGETS};
use uapi::outcome::Place;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// The heap is one for all tests of this file: one measures at a time.
static ALONE: Mutex<()> = Mutex::new(());

/// Bytes that reading any input of the largest size may take at once.
const MEMORY_MAX: usize = 64 << 20;

/// Bytes that an input of the corpus may have, and inputs of a target.
const INPUT_MAX: u64 = 16 << 10;
const INPUTS_MAX: usize = 64;

fn corpus() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/fuzz")
}

/// The most that the heap grew while an input was read.
fn grows(target: &Target, input: &[u8]) -> usize {
    let before = HEAP.current_usage();
    HEAP.reset_peak_usage();
    (target.feed)(input);
    HEAP.peak_usage().saturating_sub(before)
}

#[test]
fn the_corpus_is_read() {
    let _alone = ALONE.lock();
    let dirs = fs::read_dir(corpus()).expect("a corpus").flatten();
    let dirs: BTreeSet<String> =
        dirs.filter(|e| e.path().is_dir()).map(|e| e.file_name().display().to_string()).collect();
    let names: BTreeSet<String> = TARGETS.iter().map(|t| t.name.to_owned()).collect();
    assert_eq!(dirs, names, "a directory of scenarios/fuzz for each target");
    for target in TARGETS {
        let files = fs::read_dir(corpus().join(target.name)).expect("a directory").flatten();
        let mut files: Vec<PathBuf> = files.map(|e| e.path()).collect();
        files.sort();
        assert!((1..=INPUTS_MAX).contains(&files.len()), "{}: {}", target.name, files.len());
        for file in files {
            let input = fs::read(&file).expect("readable");
            assert!(input.len() as u64 <= INPUT_MAX, "{}", file.display());
            let grown = grows(target, &input);
            assert!(grown <= MEMORY_MAX, "{}: {grown} bytes", file.display());
        }
    }
}

/// Files of the largest size, each of one thing that costs much: what is stated as the bound on
/// memory is asserted of all of them.
#[test]
fn the_largest_inputs_stay_within_the_bound() {
    let _alone = ALONE.lock();
    let full = |head: &str, piece: &str| {
        let pieces = (FILE_SIZE_MAX as usize - head.len()) / piece.len();
        head.to_owned() + &piece.repeat(pieces)
    };
    let race = "question = \"a\"\nsource = \"b\"\n[verdict]\nlinux_6_13 = \"Never\"\n";
    let inputs = [
        full("a = ", "["),
        full("a = ", "[\n"),
        full("a = ", &("[".repeat(4_000) + "\n")),
        full("a = ", "{a=\n"),
        full("", "[[cpu]]\n"),
        full("", "a.a.a.a.a.a.a.a.a\n"),
        full("", "\u{e9}"),
        full("question = \"", "a"),
        full("setup = [", "\"open\",\n"),
        full(&format!("{race}[[cpu]]\nsteps = ["), "\"open\",\n") + "]",
        full(&format!("{race}[[cpu]]\nsteps = ["), "\"\",\n") + "]",
        full("", "\"\n"),
        full("0:end", ",0:end"),
        full("", "recycle/"),
        full("", "x@y/"),
        full("{\"scenario\":\"a\",\"op\":\"open\",\"args\":", "[") + "\n",
        full("", "{\"scenario\":\"a\",\"op\":\"open\",\"args\":{},\"ret\":\"OK\",\"out\":{}}\n"),
        full("{\"run\":1,\"shown\":{", "\"a\":1,") + "\n",
        full("{\"format\":1,\"testbed\":\"\",\"subject\":", "[") + "\n",
    ];
    for input in &inputs {
        for target in TARGETS {
            let grown = grows(target, input.as_bytes());
            let begins: String = input.chars().take(40).collect();
            assert!(grown <= MEMORY_MAX, "{}: {grown} bytes for {begins:?}", target.name);
        }
    }
}

/// A journal takes at most so many bytes of memory for each of its own.
const JOURNAL_FACTOR: usize = 16;

#[test]
fn a_journal_takes_memory_as_it_is_long() {
    let _alone = ALONE.lock();
    let record = |run: u64| {
        let shown = (0..40).map(|n| (format!("{:x}", run * 40 + n), 1)).collect();
        Record { run, shown, ..Record::default() }
    };
    let lines = |run: u64, full: bool| match full {
        true => record(run),
        false => Record { run, ..Record::default() },
    };
    for full in [false, true] {
        let mut text = sealed(serde_json::to_vec(&Head::new("linux_6_12", 1, None)).expect("JSON"));
        for run in 0..10_000 {
            text.extend(sealed(serde_json::to_vec(&lines(run, full)).expect("JSON")));
        }
        let before = HEAP.current_usage();
        HEAP.reset_peak_usage();
        let mut records = Records::default();
        let read = reports::simulate::journal::read_lines(&text[..], &mut records);
        assert_eq!(read.map(|(_, whole)| whole), Ok(text.len() as u64));
        assert_eq!(records.len(), 10_000);
        let grown = HEAP.peak_usage().saturating_sub(before);
        println!("journal of {} bytes: {grown} bytes", text.len());
        assert!(grown <= JOURNAL_FACTOR * text.len(), "{grown} bytes for {}", text.len());
    }
    assert_eq!(BYTES_MAX, 2 << 30, "reports/README.md says so");
}

fn segments() -> impl Strategy<Value = Vec<Segment>> {
    let until = prop_oneof![
        Just(Until::End),
        ("[a-z_0-9.]{0,12}", "[a-z_]{1,8}", 1..u32::MAX)
            .prop_map(|(function, op, nth)| Until::Before { function, op, nth }),
    ];
    vec((0u8..16, until).prop_map(|(cpu, until)| Segment { cpu, until }), 0..6)
}

fn schedules() -> impl Strategy<Value = Schedule> {
    let place = prop_oneof![
        Just(Place::Setup),
        Just(Place::Finally),
        Just(Place::Exit),
        (0u8..8).prop_map(Place::Cpu),
    ];
    let fail = (place, any::<u32>(), 1..u32::MAX).prop_map(|(place, index, nth)| FailAt {
        place,
        index,
        nth,
    });
    (any::<bool>(), vec(fail, 0..3), segments()).prop_map(|(recycle, fail, segments)| Schedule {
        recycle,
        fail,
        segments,
    })
}

fn records() -> impl Strategy<Value = Vec<Record>> {
    let record = (
        any::<[u32; 4]>(),
        btree_map("[a-z \"\\\\\u{e9}]{1,8}", 1u64..9, 0..3),
        btree_set(0u16..40, 0..6),
        btree_set("[A-Z_]{1,4} [0-9]", 0..3),
    );
    let record = record.prop_map(|(n, shown, reached, answered)| Record {
        run: 0,
        executions: n[0].into(),
        steps: n[1].into(),
        unjudged: n[2].into(),
        digest: n[3].into(),
        shown,
        reached,
        answered,
    });
    vec(record, 1..12).prop_map(|mut records| {
        for (run, record) in (0..).zip(&mut records) {
            record.run = run * 3;
        }
        records
    })
}

/// What becomes of a journal.
#[derive(Clone, Debug)]
enum Damage {
    /// It ends here.
    Cut(prop::sample::Index),
    /// This byte is another one.
    Flip(prop::sample::Index, u8),
    /// This piece stands twice.
    Again(prop::sample::Index, prop::sample::Index),
    /// This piece is lost.
    Lost(prop::sample::Index, prop::sample::Index),
}

impl Damage {
    fn of(&self, bytes: &[u8]) -> Vec<u8> {
        let piece = |a: &prop::sample::Index, b: &prop::sample::Index| {
            let (a, b) = (a.index(bytes.len()), b.index(bytes.len()));
            a.min(b)..a.max(b)
        };
        let mut damaged = bytes.to_vec();
        match self {
            Damage::Cut(at) => damaged.truncate(at.index(bytes.len())),
            Damage::Flip(at, with) => damaged[at.index(bytes.len())] ^= with,
            Damage::Again(a, b) => {
                let piece = piece(a, b);
                damaged.splice(piece.end..piece.end, bytes[piece].to_vec());
            }
            Damage::Lost(a, b) => drop(damaged.drain(piece(a, b))),
        }
        damaged
    }
}

fn damages() -> impl Strategy<Value = Damage> {
    let at = any::<prop::sample::Index>;
    prop_oneof![
        at().prop_map(Damage::Cut),
        (at(), 1..=u8::MAX).prop_map(|(at, with)| Damage::Flip(at, with)),
        (at(), at()).prop_map(|(a, b)| Damage::Again(a, b)),
        (at(), at()).prop_map(|(a, b)| Damage::Lost(a, b)),
    ]
}

/// Makes the runs that the journal does not have, as `simulate` does.
fn go_on(path: &Path, runs: &[Record]) -> Result<Records, String> {
    let mut records = Records::default();
    let mut journal = Journal::open(path, &Head::new("linux_6_12", 1, None), &mut records)?;
    for run in runs {
        if let Some(record) = records.add(run.clone()) {
            journal.append(record)?;
        }
    }
    Ok(records)
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None,
        cases: 200,
        ..ProptestConfig::default()
    })]

    #[test]
    fn a_token_reads_back(
        schedule in schedules(), scenario in "[a-z@/. ]{1,12}", revision in "[a-z_0-9]{1,8}"
    ) {
        let token = Token { scenario, revision, schedule };
        prop_assert_eq!(token.to_string().parse(), Ok(token));
    }

    /// A character more, less or other: an error, or a token that says what is written there.
    #[test]
    fn a_changed_token_is_refused_or_means_what_it_says(
        schedule in schedules(), at in any::<prop::sample::Index>(), len in 0usize..2,
        with in "[0-9a-z:#.,/= \u{e9}]?"
    ) {
        let text = Token { scenario: "a".into(), revision: "b".into(), schedule }.to_string();
        let at = at.index(text.len());
        let end = (at + len).min(text.len());
        let changed = format!("{}{with}{}", &text[..at], &text[end..]);
        if let Ok(token) = changed.parse::<Token>() {
            let digits = |text: &str| text.replace('0', "");
            prop_assert_eq!(digits(&token.to_string()), digits(&changed));
        }
    }

    /// A damaged journal is refused and left as it is, or gone on with: then it holds every run
    /// once, as if nothing had happened.
    #[test]
    fn a_damaged_journal_loses_and_repeats_nothing(runs in records(), damage in damages()) {
        let _alone = ALONE.lock();
        let dir = tempfile::TempDir::new().expect("a directory");
        let path = dir.path().join("runs.jsonl");
        let whole = go_on(&path, &runs).expect("a journal");
        let text = fs::read(&path).expect("a journal");
        let damaged = damage.of(&text);
        fs::write(&path, &damaged).expect("writable");
        match go_on(&path, &runs) {
            Err(e) => {
                prop_assert!(e.contains("ame a new file"), "{}", e);
                prop_assert_eq!(fs::read(&path).expect("a journal"), damaged);
            }
            Ok(records) => {
                prop_assert_eq!(&records, &whole);
                let mut again = Records::default();
                let now = fs::read(&path).expect("a journal");
                let read = reports::simulate::journal::read_lines(&now[..], &mut again);
                prop_assert_eq!(read.map(|(_, whole)| whole), Ok(now.len() as u64));
                prop_assert_eq!(&again, &whole);
            }
        }
    }
}
