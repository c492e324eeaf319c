//! Does the loom runner obey its budget, keep what a child found, and say what loom cannot do?
//!
//! Has no test harness: the program is its own child, as the binary is for users
//! (`loom-child` is the hidden subcommand).

use races::golden::{Encoding, Golden};
use races::{Bounds, LoomError, ModelError, Subject, Unwatched};
use std::path::Path;
use uapi::litmus::{Insn, Litmus};
use uapi::program::Dependence;
use uapi::verdict::Verdict;

fn golden(allocs: u8, destroys: u8, buggy: bool) -> Subject {
    let encoding = Encoding::Sections;
    Subject::Litmus(Golden { allocs, destroys, full: false, buggy, encoding }.litmus())
}

fn bounds(loom_permutations: u64) -> Bounds {
    Bounds {
        loom_permutations,
        loom_seconds: 600,
        dependence: Dependence::Keyed,
        ..Bounds::default()
    }
}

fn healthy(exe: &Path) {
    let f = races::loom(&golden(1, 1, false), &bounds(100_000), exe, &mut Unwatched)
        .expect("loom runs it");
    assert_eq!((&f.verdict, f.failed, f.exhausted), (&Verdict::NoneSeen, 0, true), "{f:?}");
    assert!(f.executions > 1, "{f:?}");
    assert_eq!(f.note, "exhausted, misses: see limits");
}

fn buggy(exe: &Path) {
    let f = races::loom(&golden(2, 1, true), &bounds(200_000), exe, &mut Unwatched)
        .expect("loom runs it");
    assert!(
        matches!(&f.verdict, Verdict::Sometimes { splat } if splat.contains("WARNING")),
        "{f:?}"
    );
    assert!(f.failed > 0 && f.failed < f.executions, "{f:?}");
}

fn budget(exe: &Path) {
    let f =
        races::loom(&golden(2, 1, false), &bounds(50), exe, &mut Unwatched).expect("loom runs it");
    assert_eq!((f.executions, f.exhausted), (50, false), "{f:?}");
    assert!(f.note.contains("permutations <= 50"), "{f:?}");
}

fn too_many_cpus(exe: &Path) {
    let threads = vec![vec![Insn::Load { reg: 0, var: 0 }]; 5];
    let subject = Subject::Litmus(Litmus { vars: vec![0], threads, ..Litmus::default() });
    let e = races::loom(&subject, &bounds(10), exe, &mut Unwatched).expect_err("loom has a limit");
    assert_eq!(e, LoomError::Model(ModelError::TooManyCpus { cpus: 5, max: 4 }));
}

fn main() {
    if std::env::args().nth(1).as_deref() == Some("loom-child") {
        std::process::exit(races::loom_child());
    }
    races::clear_environment();
    let exe = std::env::current_exe().expect("the path of this test");
    healthy(&exe);
    buggy(&exe);
    budget(&exe);
    too_many_cpus(&exe);
    let e = races::loom(&golden(1, 1, false), &bounds(10), Path::new("/nowhere"), &mut Unwatched);
    assert!(matches!(e, Err(LoomError::Child(_))), "{e:?}");
    println!("loom_child: 5 checks passed");
}
