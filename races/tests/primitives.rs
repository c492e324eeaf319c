//! Every primitive of the model, alone: what it answers and what it prints.
//!
//! Each test is one or more small litmus programs, run through the public entry on every backend
//! (coroutines, threads, shuttle); the backends must agree to the byte. What needs an interleaving
//! is enumerated by brute force on the coroutines.
//!
//! Source: reference/iommufd.md section 6; the kernel's own words stand in `uapi::splat`.

use uapi::errno::Errno;
use uapi::litmus::{
    errno_value, Count, Entry, Insn, Litmus, Src, XaFlags, REGS, STATICS_MAX, XA_NULL, XA_ZERO,
};
use uapi::outcome::{Ending, Outcome};
use uapi::pick::{Explore, FirstEnabled, ModelError, Pick, Subject};
use uapi::program::{Limits, Timers};
use uapi::splat::Kind;
use uapi::step::{Cpu, Pending};

use Insn::*;

const OBJ: Count = Count::Obj(0);
const C: Count = Count::Static(0);

/// Names that every program below can use. `litmus#0` holds the locks and counters, `device#1` is
/// the device, so the first heap object is `obj#2`.
fn names() -> Litmus {
    Litmus {
        question: "What does the primitive answer and print?".to_string(),
        vars: vec![0; 4],
        counts: vec![1, 1],
        mutexes: 3,
        rwsems: 2,
        spinlocks: 2,
        xarrays: vec![XaFlags::Plain, XaFlags::Alloc, XaFlags::Alloc1],
        ptrs: 4,
        waitqueues: 1,
        devices: 1,
        ..Litmus::default()
    }
}

const PLAIN: u8 = 0;
const ALLOC: u8 = 1;
const ALLOC1: u8 = 2;

fn traced() -> Limits {
    Limits { trace: true, ..Limits::default() }
}

fn recycled() -> Limits {
    Limits { recycle: true, ..traced() }
}

/// Runs a program in the order of the first CPU that can run, on every backend.
fn run(program: Litmus, limits: &Limits) -> Outcome {
    let subject = Subject::Litmus(program);
    let native = model_native::run(&subject, &mut FirstEnabled, limits);
    let native = native.expect("well formed").expect("not pruned");
    for (backend, other) in [
        ("std", model_std::run(&subject, &mut FirstEnabled, limits)),
        ("shuttle", model_shuttle::run(&subject, &mut FirstEnabled, limits)),
    ] {
        let other = other.expect("well formed").expect("not pruned");
        assert_eq!(native, other, "{backend} differs from the coroutines");
    }
    native
}

/// One thread.
fn story(insns: Vec<Insn>) -> Outcome {
    run(Litmus { threads: vec![insns], ..names() }, &traced())
}

/// What the registers of the first thread hold.
fn regs<const N: usize>(outcome: &Outcome) -> [i64; N] {
    assert_eq!(outcome.ending, Ending::Complete, "{:?}", texts(outcome));
    std::array::from_fn(|i| outcome.state[i])
}

fn texts(outcome: &Outcome) -> Vec<String> {
    outcome.splats.iter().map(ToString::to_string).collect()
}

/// The words and the detail of every splat.
#[track_caller]
fn prints(outcome: &Outcome, expected: &[(&str, &str)]) {
    let texts = texts(outcome);
    let same = texts.len() == expected.len()
        && texts
            .iter()
            .zip(expected)
            .all(|(text, (words, detail))| text.starts_with(words) && text.contains(detail));
    assert!(same, "printed {texts:#?}, expected {expected:#?}");
}

const UAF: &str = "BUG: KASAN: slab-use-after-free in";

/// Every interleaving, one after the other.
#[derive(Default)]
struct BruteForce {
    /// For each choice of the current execution: which of how many.
    choices: Vec<(usize, usize)>,
    depth: usize,
    started: bool,
    outcomes: Vec<Outcome>,
}

impl Pick for BruteForce {
    fn pick(&mut self, pending: &[Pending], _current: Option<Cpu>) -> Option<Cpu> {
        let enabled: Vec<Cpu> = pending.iter().filter(|p| p.enabled).map(|p| p.cpu).collect();
        if self.depth == self.choices.len() {
            self.choices.push((0, enabled.len()));
        }
        let (choice, of) = self.choices[self.depth];
        assert_eq!(of, enabled.len(), "an execution with the same prefix went another way");
        self.depth += 1;
        Some(enabled[choice])
    }
}

impl Explore for BruteForce {
    fn next_execution(&mut self) -> bool {
        self.depth = 0;
        if !std::mem::replace(&mut self.started, true) {
            return true;
        }
        while let Some((choice, of)) = self.choices.pop() {
            if choice + 1 < of {
                self.choices.push((choice + 1, of));
                return true;
            }
        }
        false
    }

    fn outcome(&mut self, outcome: Option<Outcome>) {
        self.outcomes.extend(outcome);
    }
}

/// Every interleaving of these threads.
fn every(program: Litmus, limits: &Limits) -> Vec<Outcome> {
    let mut all = BruteForce::default();
    model_native::explore(&Subject::Litmus(program), &mut all, limits).expect("well formed");
    all.outcomes
}

/// The distinct values of one register of one thread over all interleavings.
fn values(outcomes: &[Outcome], thread: usize, reg: usize) -> Vec<i64> {
    let mut values: Vec<i64> = outcomes.iter().map(|o| o.state[thread * REGS + reg]).collect();
    values.sort_unstable();
    values.dedup();
    values
}

// ---------------------------------------------------------------------------------------------
// refcount_t
// ---------------------------------------------------------------------------------------------

const SATURATED: i64 = (i32::MIN / 2) as i64;

/// Runs one operation on a counter with this value; gives its result and the value afterwards.
fn on_count(value: i32, insn: Insn) -> (i64, i64, Outcome) {
    let program = Litmus {
        counts: vec![value],
        threads: vec![vec![insn, RefcountRead { reg: 1, count: C }]],
        ..names()
    };
    let outcome = run(program, &traced());
    let [result, after] = regs(&outcome);
    (result, after, outcome)
}

#[test]
fn refcount_values_without_a_warning() {
    for (value, insn, result, after) in [
        (1, RefcountInc { count: C }, 0, 2),
        (1, RefcountAdd { count: C, value: 4 }, 0, 5),
        (2, RefcountDec { count: C }, 0, 1),
        (2, RefcountDecAndTest { reg: 0, count: C }, 0, 1),
        (1, RefcountDecAndTest { reg: 0, count: C }, 1, 0),
        (3, RefcountSubAndTest { reg: 0, count: C, value: 3 }, 1, 0),
        (3, RefcountSubAndTest { reg: 0, count: C, value: 2 }, 0, 1),
        (1, RefcountDecIfOne { reg: 0, count: C }, 1, 0),
        (2, RefcountDecIfOne { reg: 0, count: C }, 0, 2),
        (0, RefcountDecIfOne { reg: 0, count: C }, 0, 0),
        (0, RefcountIncNotZero { reg: 0, count: C }, 0, 0),
        (1, RefcountIncNotZero { reg: 0, count: C }, 1, 2),
        (7, RefcountSet { count: C, value: 1 }, 0, 1),
    ] {
        let (got, left, outcome) = on_count(value, insn.clone());
        assert_eq!((got, left), (result, after), "{insn:?} on {value}");
        prints(&outcome, &[]);
    }
}

#[test]
fn refcount_warnings_saturate() {
    const ON_ZERO: &str = "refcount_t: addition on 0; use-after-free.";
    const OVERFLOW: &str = "refcount_t: saturated; leaking memory.";
    const UNDERFLOW: &str = "refcount_t: underflow; use-after-free.";
    const HIT_ZERO: &str = "refcount_t: decrement hit 0; leaking memory.";
    let bad = SATURATED as i32;
    for (value, insn, words) in [
        (0, RefcountInc { count: C }, ON_ZERO),
        (0, RefcountAdd { count: C, value: 3 }, ON_ZERO),
        (i32::MAX, RefcountInc { count: C }, OVERFLOW),
        (bad, RefcountInc { count: C }, OVERFLOW),
        (bad, RefcountIncNotZero { reg: 0, count: C }, OVERFLOW),
        (i32::MAX, RefcountIncNotZero { reg: 0, count: C }, OVERFLOW),
        (1, RefcountDec { count: C }, HIT_ZERO),
        (0, RefcountDec { count: C }, HIT_ZERO),
        (bad, RefcountDec { count: C }, HIT_ZERO),
        (0, RefcountDecAndTest { reg: 0, count: C }, UNDERFLOW),
        (bad, RefcountDecAndTest { reg: 0, count: C }, UNDERFLOW),
        (2, RefcountSubAndTest { reg: 0, count: C, value: 3 }, UNDERFLOW),
    ] {
        let (_, after, outcome) = on_count(value, insn.clone());
        assert_eq!(after, SATURATED, "{insn:?} on {value}");
        prints(&outcome, &[(words, "litmus#0->count0")]);
    }
}

// ---------------------------------------------------------------------------------------------
// The heap
// ---------------------------------------------------------------------------------------------

fn alloc(ptr: u8) -> Insn {
    Kzalloc { reg: 7, ptr, users: 1 }
}

#[test]
fn use_after_free_is_seen_by_every_kind_of_field() {
    for (insn, field) in [
        (ObjLoad { reg: 0, ptr: 0 }, "var"),
        (ObjStore { ptr: 0, src: Src::Imm(1) }, "var"),
        (ObjMutexLock { ptr: 0 }, "mutex"),
        (ObjMutexUnlock { ptr: 0 }, "mutex"),
        (RefcountInc { count: OBJ }, "users"),
        (RefcountRead { reg: 0, count: OBJ }, "users"),
        (RefcountDecIfOne { reg: 0, count: OBJ }, "users"),
        (WaitRefcount { reg: 0, wq: 0, count: OBJ, value: 0, interruptible: false }, "users"),
    ] {
        let outcome = story(vec![alloc(0), Kfree { ptr: 0 }, insn]);
        assert_eq!(outcome.ending, Ending::Stopped);
        prints(&outcome, &[(UAF, &format!("(obj#2->{field})"))]);
    }
}

#[test]
fn a_recycled_address_does_not_hide_a_use_after_free() {
    let insns = vec![alloc(0), Kfree { ptr: 0 }, alloc(1), ObjLoad { reg: 0, ptr: 0 }];
    let outcome = run(Litmus { threads: vec![insns], ..names() }, &recycled());
    prints(&outcome, &[(UAF, "(obj#2->var)")]);
}

#[test]
fn double_free_is_seen_and_kfree_of_null_does_nothing() {
    let outcome = story(vec![Kfree { ptr: 0 }, alloc(0), Kfree { ptr: 0 }, Kfree { ptr: 0 }]);
    assert_eq!(outcome.ending, Ending::Stopped);
    prints(&outcome, &[("BUG: KASAN: double-free in", "(obj#2)")]);
}

#[test]
fn null_is_not_dereferenced() {
    let outcome = story(vec![ObjLoad { reg: 0, ptr: 3 }]);
    assert_eq!(outcome.ending, Ending::Stopped);
    prints(&outcome, &[("BUG: kernel NULL pointer dereference in", "p3")]);
}

#[test]
fn what_is_left_at_the_end_is_a_leak_only_where_asked() {
    let threads = vec![vec![alloc(0), alloc(1), Kfree { ptr: 0 }]];
    let program = Litmus { threads, check_leaks: true, ..names() };
    prints(&run(program.clone(), &traced()), &[("kmemleak: unreferenced object", "obj#3")]);
    prints(&run(Litmus { check_leaks: false, ..program }, &traced()), &[]);
}

#[test]
fn a_freed_address_comes_back_last_in_first_out() {
    let insns = vec![
        alloc(0),
        alloc(1),
        Kfree { ptr: 0 },
        Kfree { ptr: 1 },
        alloc(2),
        alloc(3),
        PtrEq { reg: 0, ptr: 2, other: 1 },
        PtrEq { reg: 1, ptr: 3, other: 0 },
        PtrEq { reg: 2, ptr: 2, other: 0 },
    ];
    let program = Litmus { threads: vec![insns], ..names() };
    let with = run(program.clone(), &recycled());
    assert_eq!(regs(&with), [1, 1, 0]);
    let without = run(program, &traced());
    assert_eq!(regs(&without), [0, 0, 0]);
    assert!(with.stale_compare && without.stale_compare, "a freed pointer was compared");
    let fresh = story(vec![alloc(0), alloc(1), PtrEq { reg: 0, ptr: 0, other: 1 }]);
    assert!(!fresh.stale_compare, "both are live");
}

#[test]
fn xa_cmpxchg_meets_aba_where_addresses_are_recycled() {
    let insns = vec![
        alloc(0),
        Kfree { ptr: 0 },
        alloc(1),
        XaStore { reg: 0, xa: PLAIN, index: 5, entry: Entry::Ptr(1) },
        // The stale pointer has the address of the live one.
        XaCmpxchg { reg: 1, xa: PLAIN, index: 5, old: Entry::Ptr(0), new: Entry::Null },
        XaLoad { reg: 2, xa: PLAIN, index: 5 },
    ];
    let program = Litmus { threads: vec![insns], ..names() };
    let with = run(program.clone(), &recycled());
    assert_eq!(regs(&with), [XA_NULL, 1, XA_NULL], "the live entry was erased");
    assert!(with.stale_compare);
    assert_eq!(regs(&run(program, &traced())), [XA_NULL, 1, 1], "the live entry survived");
}

#[test]
fn memory_with_a_held_or_awaited_lock_is_not_freed() {
    let outcome = story(vec![alloc(0), ObjMutexLock { ptr: 0 }, Kfree { ptr: 0 }]);
    assert_eq!(outcome.ending, Ending::Stopped);
    prints(&outcome, &[("WARNING: held lock freed!", "obj#2")]);

    // CPU 1 waits for it, too: the lock that is held is the worse of the two.
    let program = Litmus {
        setup: vec![alloc(0)],
        threads: vec![
            vec![ObjMutexLock { ptr: 0 }, Kfree { ptr: 0 }],
            vec![ObjMutexLock { ptr: 0 }, ObjMutexUnlock { ptr: 0 }],
        ],
        ..names()
    };
    prints(&every(program, &traced())[0], &[("WARNING: held lock freed!", "obj#2")]);

    // Here the counter that a sleeper's condition reads is freed under it.
    let program = Litmus {
        setup: vec![Kzalloc { reg: 7, ptr: 0, users: 2 }],
        threads: vec![
            vec![WaitRefcount { reg: 0, wq: 0, count: OBJ, value: 0, interruptible: false }],
            vec![Kfree { ptr: 0 }],
        ],
        ..names()
    };
    let outcomes = every(program, &traced());
    let waited = |o: &&Outcome| o.splats[0].kind == Kind::WaitedLockFreed;
    let outcome = outcomes.iter().find(waited).expect("CPU 0 slept when it was freed");
    prints(outcome, &[(UAF, "(obj#2, a task waits in it)")]);
}

// ---------------------------------------------------------------------------------------------
// xarray
// ---------------------------------------------------------------------------------------------

const BUSY: i64 = -(Errno::EBUSY as i64);
const NOMEM: i64 = -(Errno::ENOMEM as i64);

#[test]
fn normal_api_of_a_plain_array() {
    let xa = PLAIN;
    let outcome = story(vec![
        alloc(0),
        alloc(1),
        XaStore { reg: 0, xa, index: 9, entry: Entry::Ptr(0) },
        XaStore { reg: 1, xa, index: 9, entry: Entry::Ptr(1) },
        XaInsert { reg: 2, xa, index: 9, entry: Entry::Ptr(0) },
        XaInsert { reg: 3, xa, index: 10, entry: Entry::Ptr(0) },
        XaForEach { reg: 4, xa },
        XaErase { reg: 5, xa, index: 9 },
        XaLoad { reg: 6, xa, index: 9 },
    ]);
    assert_eq!(regs(&outcome), [XA_NULL, 0, BUSY, 0, 2, 1, XA_NULL]);
    prints(&outcome, &[]);
}

#[test]
fn xa_alloc_gives_the_lowest_free_id_within_the_limit() {
    let alloc_id = |reg, xa, max| XaAlloc { reg, xa, entry: Entry::Null, max };
    let outcome = story(vec![
        alloc_id(0, ALLOC, 1),
        alloc_id(1, ALLOC, 1),
        alloc_id(2, ALLOC, 1),
        alloc_id(3, ALLOC1, 9),
        alloc_id(4, ALLOC1, 9),
        XaErase { reg: 5, xa: ALLOC1, index: 1 },
        alloc_id(5, ALLOC1, 9),
        alloc_id(6, ALLOC1, 2),
    ]);
    assert_eq!(regs(&outcome), [0, 1, BUSY, 1, 2, 1, BUSY]);
    prints(&outcome, &[]);

    let outcome = story(vec![alloc_id(0, PLAIN, 9)]);
    assert_eq!(regs(&outcome), [errno_value(Errno::EINVAL)]);
    prints(&outcome, &[("WARNING: at", "")]);
}

#[test]
fn a_reserved_slot_reads_as_null_except_raw() {
    let xa = ALLOC1;
    let outcome = story(vec![
        XaAlloc { reg: 0, xa, entry: Entry::Null, max: 9 },
        XaLoad { reg: 1, xa, index: 1 },
        XaLock(xa),
        XasLoad { reg: 2, xa, index: 1 },
        XaUnlock(xa),
        XaEmpty { reg: 3, xa },
        XaForEach { reg: 4, xa },
        XaErase { reg: 5, xa, index: 1 },
        XaEmpty { reg: 6, xa },
    ]);
    assert_eq!(regs(&outcome), [1, XA_NULL, XA_ZERO, 0, 0, XA_NULL, 1]);
}

#[test]
fn reservations_are_taken_and_given_back() {
    let xa = PLAIN;
    let outcome = story(vec![
        alloc(0),
        XaReserve { reg: 0, xa, index: 3 },
        // Again: the slot reads as NULL, which is success.
        XaReserve { reg: 1, xa, index: 3 },
        XaInsert { reg: 2, xa, index: 3, entry: Entry::Ptr(0) },
        XaStore { reg: 3, xa, index: 3, entry: Entry::Ptr(0) },
        // Something was stored since.
        XaRelease { xa, index: 3 },
        XaReserve { reg: 4, xa, index: 3 },
        XaReserve { reg: 5, xa, index: 4 },
        XaRelease { xa, index: 4 },
        XaErase { reg: 6, xa, index: 3 },
        XaEmpty { reg: 7, xa },
    ]);
    assert_eq!(regs(&outcome), [0, 0, BUSY, XA_NULL, BUSY, 0, 0, 1]);
}

#[test]
fn trap_1_cmpxchg_from_null_on_a_reserved_slot_looks_like_success() {
    let xa = ALLOC1;
    let outcome = story(vec![
        alloc(0),
        XaAlloc { reg: 0, xa, entry: Entry::Null, max: 9 },
        XaCmpxchg { reg: 1, xa, index: 1, old: Entry::Null, new: Entry::Ptr(0) },
        XaLoad { reg: 2, xa, index: 1 },
        XaCmpxchg { reg: 3, xa, index: 1, old: Entry::Zero, new: Entry::Ptr(0) },
        XaLoad { reg: 4, xa, index: 1 },
    ]);
    assert_eq!(regs(&outcome), [1, XA_NULL, XA_NULL, XA_NULL, 0], "nothing was stored at first");
}

#[test]
fn trap_2_a_finalize_through_the_raw_store_sees_the_reservation() {
    let xa = ALLOC1;
    let outcome = story(vec![
        alloc(0),
        XaAlloc { reg: 0, xa, entry: Entry::Null, max: 9 },
        XaLock(xa),
        XasStore { reg: 1, xa, index: 1, entry: Entry::Ptr(0) },
        XaUnlock(xa),
        XaLoad { reg: 2, xa, index: 1 },
        // An id that nobody allocated: the raw API shows the difference.
        XaLock(xa),
        XasStore { reg: 3, xa, index: 2, entry: Entry::Ptr(0) },
        XaUnlock(xa),
    ]);
    assert_eq!(regs(&outcome), [1, XA_ZERO, 0, XA_NULL]);
}

#[test]
fn trap_3_null_frees_a_plain_index_and_only_reserves_an_id() {
    for (xa, empty, next) in [(PLAIN, 1, errno_value(Errno::EINVAL)), (ALLOC, 0, 1)] {
        for null in [
            XaStore { reg: 0, xa, index: 0, entry: Entry::Null },
            XaCmpxchg { reg: 0, xa, index: 0, old: Entry::Ptr(0), new: Entry::Null },
        ] {
            let outcome = story(vec![
                alloc(0),
                XaStore { reg: 0, xa, index: 0, entry: Entry::Ptr(0) },
                null,
                XaEmpty { reg: 1, xa },
                XaAlloc { reg: 2, xa, entry: Entry::Null, max: 9 },
            ]);
            assert_eq!(regs(&outcome), [0, empty, next], "array {xa}");
        }
    }
}

#[test]
fn trap_4_entries_are_freed_at_once_and_destroy_frees_none() {
    let xa = PLAIN;
    let outcome = story(vec![
        alloc(0),
        XaStore { reg: 0, xa, index: 1, entry: Entry::Ptr(0) },
        XaDestroy(xa),
        XaEmpty { reg: 0, xa },
        ObjLoad { reg: 1, ptr: 0 },
    ]);
    assert_eq!(regs(&outcome), [1, 0]);
    prints(&outcome, &[]);

    // A pointer that was loaded under RCU alone is no reference.
    let program = Litmus {
        setup: vec![alloc(0), XaStore { reg: 0, xa, index: 1, entry: Entry::Ptr(0) }],
        threads: vec![
            vec![
                XaLoadPtr { ptr: 1, xa, index: 1 },
                Load { reg: 0, var: 0 },
                RefcountInc { count: Count::Obj(1) },
            ],
            vec![XaErase { reg: 0, xa, index: 1 }, Kfree { ptr: 0 }],
        ],
        ..names()
    };
    let outcomes = every(program, &traced());
    let stopped = outcomes
        .iter()
        .find(|o| o.splats.first().is_some_and(|s| s.kind == Kind::KasanUseAfterFree));
    prints(stopped.expect("the reader is late"), &[(UAF, "(obj#2->users)")]);
}

#[test]
fn traps_5_and_6_only_a_store_to_an_empty_index_runs_out_of_memory() {
    let xa = PLAIN;
    let failing = |setup: Vec<Insn>, insn: Insn| {
        let mut insns = vec![alloc(0)];
        insns.extend(setup);
        insns.extend([
            FailNth { nth: 1 },
            insn,
            FailCount { reg: 1 },
            FailNth { nth: 0 },
            XaLoad { reg: 2, xa, index: 1 },
        ]);
        regs::<3>(&story(insns))
    };
    let stored = || vec![XaStore { reg: 0, xa, index: 1, entry: Entry::Ptr(0) }];
    let reserved = || vec![XaReserve { reg: 0, xa, index: 1 }];
    let store = XaStore { reg: 0, xa, index: 1, entry: Entry::Ptr(0) };
    let fill = XaCmpxchg { reg: 0, xa, index: 1, old: Entry::Null, new: Entry::Ptr(0) };
    let clear = XaCmpxchg { reg: 0, xa, index: 1, old: Entry::Ptr(0), new: Entry::Null };

    for insn in [store.clone(), fill, XaInsert { reg: 0, xa, index: 1, entry: Entry::Ptr(0) }] {
        assert_eq!(failing(vec![], insn.clone()), [NOMEM, 1, XA_NULL], "{insn:?}");
    }
    assert_eq!(failing(stored(), clear), [0, 0, XA_NULL], "new = NULL needs no memory");
    assert_eq!(failing(stored(), store.clone()), [0, 0, 0], "nor does an occupied index");
    assert_eq!(failing(reserved(), store), [XA_NULL, 0, 0], "nor a reserved one");
    assert_eq!(failing(stored(), XaErase { reg: 0, xa, index: 1 }), [0, 0, XA_NULL]);
    assert_eq!(failing(vec![], XaReserve { reg: 0, xa, index: 1 }), [NOMEM, 1, XA_NULL]);

    let outcome = story(vec![
        FailNth { nth: 1 },
        XaAlloc { reg: 0, xa: ALLOC1, entry: Entry::Null, max: 9 },
        XaAlloc { reg: 1, xa: ALLOC1, entry: Entry::Null, max: 9 },
    ]);
    assert_eq!(regs(&outcome), [NOMEM, 1], "the id was not taken");
}

#[test]
fn the_lock_of_an_array_is_a_spinlock() {
    let xa = PLAIN;
    let bad: [(Vec<Insn>, Ending, (&str, &str)); 5] = [
        (
            vec![XaLock(xa), XaLock(xa)],
            Ending::Stopped,
            ("WARNING: possible recursive locking detected", "litmus#0->xa0"),
        ),
        (
            vec![XaLockIndex { xa, index: 1 }, XaErase { reg: 0, xa, index: 2 }],
            Ending::Stopped,
            ("WARNING: possible recursive locking detected", "litmus#0->xa0"),
        ),
        (
            vec![XaLock(xa), XaUnlockIndex { xa, index: 1 }],
            Ending::Stopped,
            ("WARNING: bad unlock balance detected!", "litmus#0->xa0"),
        ),
        (
            vec![XasStore { reg: 0, xa, index: 1, entry: Entry::Null }],
            Ending::Complete,
            ("WARNING: lockdep_assert_held at", "litmus#0->xa0"),
        ),
        (
            vec![XaLock(xa), alloc(0), XaUnlock(xa)],
            Ending::Complete,
            ("BUG: sleeping function called from invalid context at", ""),
        ),
    ];
    for (insns, ending, splat) in bad {
        let outcome = story(insns);
        assert_eq!(outcome.ending, ending);
        prints(&outcome, &[splat]);
    }
    let outcome = story(vec![XaLock(xa), XaAssertHeld(xa), XaUnlock(xa), XaAssertHeld(xa)]);
    prints(&outcome, &[("WARNING: lockdep_assert_held at", "litmus#0->xa0")]);
}

#[test]
fn a_section_excludes_calls_that_take_the_lock_but_not_readers_under_rcu() {
    let xa = PLAIN;
    let program = |other: Insn| Litmus {
        setup: vec![alloc(0)],
        threads: vec![
            vec![
                XaLockIndex { xa, index: 1 },
                XasStore { reg: 7, xa, index: 1, entry: Entry::Ptr(0) },
                XasStore { reg: 7, xa, index: 1, entry: Entry::Null },
                XaUnlockIndex { xa, index: 1 },
            ],
            vec![other],
        ],
        ..names()
    };
    let load = every(program(XaLoad { reg: 0, xa, index: 1 }), &traced());
    assert_eq!((load.len(), values(&load, 1, 0)), (4, vec![XA_NULL, 0]));
    let erase = every(program(XaErase { reg: 0, xa, index: 1 }), &traced());
    assert_eq!((erase.len(), values(&erase, 1, 0)), (2, vec![XA_NULL]));
    // Under the keyed dependence the lock of another index is another lock.
    let other = every(program(XaErase { reg: 0, xa, index: 2 }), &traced());
    assert_eq!(other.len(), 4);
    let whole = every(program(XaDestroy(xa)), &traced());
    assert_eq!(whole.len(), 2);
}

#[test]
fn readers_of_one_index_do_not_exclude_each_other() {
    let xa = PLAIN;
    let reader = || {
        vec![
            XaLockIndexRead { xa, index: 1 },
            XasLoad { reg: 0, xa, index: 1 },
            RefcountInc { count: C },
            XaUnlockIndex { xa, index: 1 },
        ]
    };
    let threads = |second| Litmus { threads: vec![reader(), second], ..names() };
    assert_eq!(every(threads(reader()), &traced()).len(), 6);
    let writer = vec![XaErase { reg: 0, xa, index: 1 }];
    assert_eq!(every(threads(writer), &traced()).len(), 2, "before or after, never inside");
}

// ---------------------------------------------------------------------------------------------
// KCSAN
// ---------------------------------------------------------------------------------------------

/// Whether some order of a CPU that stores and one that loads shows a data race; each accesses the
/// object between `before` and `after` of its own.
fn races(stores: [Insn; 2], loads: [Insn; 2]) -> bool {
    let within = |insn, [before, after]: [Insn; 2]| vec![before, insn, after];
    let program = Litmus {
        setup: vec![alloc(0)],
        threads: vec![
            within(ObjStore { ptr: 0, src: Src::Imm(1) }, stores),
            within(ObjLoad { reg: 0, ptr: 0 }, loads),
        ],
        check_races: true,
        ..names()
    };
    let outcomes = every(program.clone(), &traced());
    let racing = outcomes.iter().filter(|o| !o.splats.is_empty());
    racing.clone().for_each(|o| prints(o, &[("BUG: KCSAN: data-race in", "(obj#2->var)")]));
    let unchecked = every(Litmus { check_races: false, ..program }, &traced());
    assert!(unchecked.iter().all(|o| o.splats.is_empty()));
    racing.count() > 0
}

#[test]
fn plain_accesses_race_unless_a_lock_keeps_them_apart() {
    let alone = [Set { reg: 1, src: Src::Imm(0) }, Set { reg: 1, src: Src::Imm(0) }];
    let mutex = |n| [MutexLock(n), MutexUnlock(n)];
    let (read, write) = ([DownRead(0), UpRead(0)], [DownWrite(0), UpWrite(0)]);
    for (stores, loads, race) in [
        (alone.clone(), alone.clone(), true),
        (mutex(0), alone.clone(), true),
        (mutex(0), mutex(1), true),
        (mutex(0), mutex(0), false),
        (write.clone(), read.clone(), false),
        (read.clone(), write, false),
        // Two readers do not wait for each other.
        (read.clone(), read, true),
    ] {
        assert_eq!(races(stores.clone(), loads.clone()), race, "{stores:?} and {loads:?}");
    }
}

// ---------------------------------------------------------------------------------------------
// Locks
// ---------------------------------------------------------------------------------------------

const RECURSIVE: &str = "WARNING: possible recursive locking detected";
const UNBALANCED: &str = "WARNING: bad unlock balance detected!";
const NOT_HELD: &str = "WARNING: lockdep_assert_held at";

#[test]
fn a_lock_taken_twice_by_one_task_stops_it() {
    for (insns, lock) in [
        (vec![MutexLock(0), MutexLock(0)], "mutex0"),
        (vec![SpinLock(0), SpinLock(0)], "lock0"),
        (vec![DownRead(0), DownRead(0)], "rwsem0"),
        (vec![DownRead(0), DownWrite(0)], "rwsem0"),
        (vec![DownWrite(0), DownRead(0)], "rwsem0"),
    ] {
        let outcome = story(insns);
        assert_eq!(outcome.ending, Ending::Stopped);
        prints(&outcome, &[(RECURSIVE, &format!("litmus#0->{lock}"))]);
    }
}

#[test]
fn two_locks_of_one_class_are_possible_recursion_too() {
    let outcome = story(vec![
        alloc(0),
        alloc(1),
        ObjMutexLock { ptr: 0 },
        ObjMutexLock { ptr: 1 },
        ObjMutexUnlock { ptr: 1 },
        ObjMutexUnlock { ptr: 0 },
    ]);
    assert_eq!(outcome.ending, Ending::Complete);
    prints(&outcome, &[(RECURSIVE, "obj->mutex")]);
}

#[test]
fn an_unlock_needs_its_lock() {
    for (insn, lock) in [
        (MutexUnlock(0), "mutex0"),
        (SpinUnlock(0), "lock0"),
        (UpRead(0), "rwsem0"),
        (UpWrite(0), "rwsem0"),
    ] {
        let outcome = story(vec![insn]);
        assert_eq!(outcome.ending, Ending::Stopped);
        prints(&outcome, &[(UNBALANCED, &format!("litmus#0->{lock}"))]);
    }
    prints(&story(vec![DownRead(0), UpWrite(0)]), &[(UNBALANCED, "litmus#0->rwsem0")]);
    let threads =
        vec![vec![MutexLock(0)], vec![Store { var: 0, src: Src::Imm(1) }, MutexUnlock(0)]];
    let outcome = run(Litmus { threads, ..names() }, &traced());
    prints(&outcome, &[(UNBALANCED, "litmus#0->mutex0")]);
}

#[test]
fn lockdep_asserts_look_at_the_current_task() {
    let held = vec![
        MutexLock(0),
        AssertHeld(0),
        MutexUnlock(0),
        AssertNotHeld(0),
        SpinLock(0),
        AssertHeldSpin(0),
        SpinUnlock(0),
        DownRead(0),
        AssertHeldRead(0),
        UpRead(0),
        DownWrite(1),
        AssertHeldWrite(1),
        UpWrite(1),
    ];
    prints(&story(held), &[]);
    for (insns, lock) in [
        (vec![AssertHeld(0)], "mutex0"),
        (vec![MutexLock(0), AssertNotHeld(0)], "mutex0"),
        (vec![AssertHeldSpin(1)], "lock1"),
        (vec![AssertHeldRead(0)], "rwsem0"),
        (vec![DownRead(0), AssertHeldWrite(0)], "rwsem0"),
    ] {
        let outcome = story(insns);
        assert_eq!(outcome.ending, Ending::Complete, "a WARN does not stop a kernel");
        prints(&outcome, &[(NOT_HELD, &format!("litmus#0->{lock}"))]);
    }
}

#[test]
fn two_orders_of_two_classes_are_a_circle() {
    let outcome = story(vec![
        MutexLock(0),
        SpinLock(0),
        SpinUnlock(0),
        MutexUnlock(0),
        DownRead(0),
        MutexLock(0),
        MutexUnlock(0),
        UpRead(0),
        // lock0 → rwsem0 → mutex0 → lock0, over three sections.
        SpinLock(0),
        XaErase { reg: 0, xa: PLAIN, index: 1 },
        SpinUnlock(0),
        XaLock(PLAIN),
        SpinLock(0),
        SpinUnlock(0),
        XaUnlock(PLAIN),
    ]);
    const CIRCLE: &str = "WARNING: possible circular locking dependency detected";
    prints(&outcome, &[(CIRCLE, "litmus->lock0 and litmus->xa0")]);

    let outcome = story(vec![
        MutexLock(0),
        MutexLock(1),
        MutexUnlock(1),
        MutexUnlock(0),
        MutexLock(1),
        MutexLock(2),
        MutexUnlock(2),
        MutexUnlock(1),
        MutexLock(2),
        MutexLock(0),
        MutexUnlock(0),
        MutexUnlock(2),
    ]);
    prints(&outcome, &[(CIRCLE, "litmus->mutex0 and litmus->mutex2")]);
}

#[test]
fn two_orders_can_hang() {
    let both = |a, b| vec![MutexLock(a), MutexLock(b), MutexUnlock(b), MutexUnlock(a)];
    let program = Litmus { threads: vec![both(0, 1), both(1, 0)], ..names() };
    let outcomes = every(program, &traced());
    let hung: Vec<_> = outcomes.iter().filter(|o| o.ending == Ending::Deadlock).collect();
    assert_eq!((outcomes.len(), hung.len()), (4, 2));
    for outcome in hung {
        prints(
            outcome,
            &[(
                "INFO: task hung in",
                "CPU 0 in mutex_lock(litmus#0->mutex1), CPU 1 in mutex_lock(litmus#0->mutex0)",
            )],
        );
    }
}

#[test]
fn a_system_call_returns_without_locks() {
    let outcome = story(vec![
        MutexLock(1),
        DownRead(0),
        ReturnToUser,
        UpRead(0),
        MutexUnlock(1),
        ReturnToUser,
    ]);
    let names = "litmus#0->mutex1, litmus#0->rwsem0";
    prints(&outcome, &[("WARNING: lock held when returning to user space!", names)]);
}

#[test]
fn nobody_sleeps_under_a_spinlock() {
    for insn in [
        MutexLock(0),
        DownRead(0),
        DownWrite(0),
        alloc(0),
        CopyFromUser { reg: 0, bad: false },
        CopyToUser { reg: 0, bad: false },
        XaStore { reg: 0, xa: PLAIN, index: 1, entry: Entry::Null },
        XaAlloc { reg: 0, xa: ALLOC, entry: Entry::Null, max: 9 },
        WaitRefcount { reg: 0, wq: 0, count: C, value: 1, interruptible: false },
    ] {
        let outcome = story(vec![SpinLock(0), insn, SpinUnlock(0)]);
        prints(&outcome, &[("BUG: sleeping function called from invalid context at", "")]);
    }
    let atomic = vec![SpinLock(0), SpinLock(1), XaErase { reg: 0, xa: PLAIN, index: 1 }];
    prints(&story(atomic), &[]);
}

#[test]
fn readers_share_and_writers_do_not() {
    let section = |lock, unlock| vec![lock, FetchAdd { reg: 0, var: 0, add: 1 }, unlock];
    let threads = |a: Vec<Insn>, b: Vec<Insn>| Litmus { threads: vec![a, b], ..names() };
    let read = || section(DownRead(0), UpRead(0));
    let write = || section(DownWrite(0), UpWrite(0));
    assert_eq!(every(threads(read(), read()), &traced()).len(), 6);
    assert_eq!(every(threads(read(), write()), &traced()).len(), 2);
    assert_eq!(every(threads(write(), write()), &traced()).len(), 2);
}

#[test]
fn a_trylock_can_fail_up_to_the_unlock() {
    let program = |holder: Vec<Insn>, tries: Insn| Litmus {
        threads: vec![holder, vec![tries]],
        unlock_steps: true,
        ..names()
    };
    let read = || DownReadTrylock { reg: 0, rwsem: 0 };
    let mutex = || MutexTrylock { reg: 0, mutex: 0 };
    let outcomes = every(program(vec![MutexLock(0), MutexUnlock(0)], mutex()), &traced());
    assert_eq!((outcomes.len(), values(&outcomes, 1, 0)), (3, vec![0, 1]));
    let outcomes = every(program(vec![DownWrite(0), UpWrite(0)], read()), &traced());
    assert_eq!((outcomes.len(), values(&outcomes, 1, 0)), (3, vec![0, 1]));
    let outcomes = every(program(vec![DownRead(0), UpRead(0)], read()), &traced());
    assert_eq!(values(&outcomes, 1, 0), vec![1]);
}

// ---------------------------------------------------------------------------------------------
// Wait queues
// ---------------------------------------------------------------------------------------------

fn wait(value: i32, interruptible: bool) -> Insn {
    WaitRefcount { reg: 0, wq: 0, count: C, value, interruptible }
}

#[test]
fn a_wait_whose_condition_holds_does_not_sleep() {
    let outcome = story(vec![wait(1, false)]);
    assert_eq!((regs(&outcome), outcome.steps, outcome.late_wakeups), ([1], 1, 0));
}

#[test]
fn a_wait_that_nobody_ends_times_out() {
    let outcome = story(vec![wait(0, false)]);
    assert_eq!((regs(&outcome), outcome.late_wakeups), ([0], 0));
    // Look and queue, the timer, look again.
    assert_eq!(outcome.steps, 3);
}

#[test]
fn a_wake_up_wakes_only_the_state_that_it_names() {
    for (interruptible, all, late) in
        [(true, true, 0), (true, false, 0), (false, true, 0), (false, false, 1)]
    {
        let waker = vec![RefcountDecAndTest { reg: 0, count: C }, WakeUp { wq: 0, all }];
        let program = Litmus { threads: vec![vec![wait(0, interruptible)], waker], ..names() };
        // FirstEnabled: the waiter sleeps first.
        let outcome = run(program.clone(), &traced());
        assert_eq!(regs(&outcome), [1], "success, woken or not");
        assert_eq!(outcome.late_wakeups, late, "interruptible {interruptible}, all {all}");
        prints(&outcome, &[]);
        let outcomes = every(program, &traced());
        assert_eq!(values(&outcomes, 0, 0), [1]);
    }
}

#[test]
fn a_wake_up_without_its_condition_is_looked_at_and_slept_on() {
    let waker = vec![WakeUp { wq: 0, all: true }, WakeUp { wq: 0, all: true }];
    let program = Litmus { threads: vec![vec![wait(0, true)], waker], ..names() };
    for outcome in every(program, &traced()) {
        assert_eq!((regs(&outcome), outcome.late_wakeups), ([0], 0));
    }
}

#[test]
fn a_timer_that_may_fire_any_time_is_a_branch() {
    let waker = vec![RefcountDecAndTest { reg: 0, count: C }, WakeUp { wq: 0, all: true }];
    let program = Litmus { threads: vec![vec![wait(0, true)], waker], ..names() };
    let idle = every(program.clone(), &traced());
    assert_eq!(values(&idle, 0, 0), [1]);
    let any = every(Litmus { timers: Timers::Any, ..program }, &traced());
    assert_eq!(values(&any, 0, 0), [0, 1]);
}

#[test]
fn a_wait_without_a_timer_hangs_if_the_wake_up_names_another_state() {
    let program = |interruptible| Litmus {
        threads: vec![
            vec![WaitVar { wq: 0, var: 0, value: 1, interruptible }],
            vec![Store { var: 0, src: Src::Imm(1) }, WakeUp { wq: 0, all: false }],
        ],
        ..names()
    };
    let endings = |interruptible| {
        let outcomes = every(program(interruptible), &traced());
        let hung = outcomes.iter().filter(|o| o.ending == Ending::Deadlock);
        for outcome in hung.clone() {
            prints(outcome, &[("INFO: task hung in", "CPU 0 in wait_event")]);
        }
        (hung.count(), outcomes.len())
    };
    assert_eq!(endings(true).0, 0);
    assert!(endings(false).0 > 0);
}

#[test]
fn await_sleeps_until_the_variable_has_the_value() {
    let program = Litmus {
        threads: vec![
            vec![Await { var: 0, value: 2 }, Load { reg: 0, var: 1 }],
            vec![Store { var: 1, src: Src::Imm(7) }, Store { var: 0, src: Src::Imm(2) }],
        ],
        ..names()
    };
    let outcomes = every(program, &traced());
    assert_eq!(values(&outcomes, 0, 0), [7]);
    let alone = vec![AwaitTimeout { reg: 0, var: 0, value: 2 }];
    assert_eq!(regs(&story(alone)), [0]);
    prints(&story(vec![Await { var: 0, value: 2 }]), &[("INFO: task hung in", "CPU 0 in await")]);
}

// ---------------------------------------------------------------------------------------------
// Devices, user copies, fail_nth, WARN_ON
// ---------------------------------------------------------------------------------------------

#[test]
fn the_last_reference_frees_the_device() {
    let fine = vec![GetDevice(0), PutDevice(0), TouchDevice(0), PutDevice(0)];
    prints(&story(fine.clone()), &[]);
    for (insn, field) in
        [(TouchDevice(0), "driver_data"), (GetDevice(0), "kobj.kref"), (PutDevice(0), "kobj.kref")]
    {
        let mut late = fine.clone();
        late.push(insn);
        prints(&story(late), &[(UAF, &format!("(device#1->{field})"))]);
    }
}

#[test]
fn a_bad_address_is_efault() {
    let fault = errno_value(Errno::EFAULT);
    let outcome = story(vec![
        CopyFromUser { reg: 0, bad: false },
        CopyFromUser { reg: 1, bad: true },
        CopyToUser { reg: 2, bad: false },
        CopyToUser { reg: 3, bad: true },
    ]);
    assert_eq!(regs(&outcome), [0, fault, 0, fault]);
}

#[test]
fn fail_nth_counts_what_can_fail_from_one() {
    let fault = errno_value(Errno::EFAULT);
    let story_with = |nth| {
        regs::<6>(&story(vec![
            FailNth { nth },
            CopyFromUser { reg: 0, bad: false },
            Kzalloc { reg: 1, ptr: 0, users: 1 },
            XaAlloc { reg: 2, xa: ALLOC1, entry: Entry::Null, max: 9 },
            // Cannot fail: the slot is reserved.
            XaStore { reg: 3, xa: ALLOC1, index: 1, entry: Entry::Ptr(0) },
            CopyToUser { reg: 4, bad: false },
            FailCount { reg: 5 },
        ]))
    };
    assert_eq!(story_with(0), [0, 0, 1, XA_NULL, 0, 4]);
    assert_eq!(story_with(1), [fault, 0, 1, XA_NULL, 0, 4]);
    assert_eq!(story_with(2), [0, NOMEM, 1, XA_NULL, 0, 4]);
    assert_eq!(story_with(4), [0, 0, 1, XA_NULL, fault, 4]);
    assert_eq!(story_with(5), [0, 0, 1, XA_NULL, 0, 4]);
    // Without its reservation the store needs memory itself.
    assert_eq!(story_with(3), [0, 0, NOMEM, XA_NULL, 0, 5]);
}

#[test]
fn fail_nth_is_of_one_task() {
    let copy = || vec![CopyFromUser { reg: 0, bad: false }];
    let mut armed = vec![FailNth { nth: 1 }];
    armed.extend(copy());
    let outcomes = every(Litmus { threads: vec![armed, copy()], ..names() }, &traced());
    assert_eq!(values(&outcomes, 0, 0), [errno_value(Errno::EFAULT)]);
    assert_eq!(values(&outcomes, 1, 0), [0]);
}

#[test]
fn warn_on_prints_and_goes_on() {
    let outcome = story(vec![
        WarnOn { reg: 0 },
        Set { reg: 0, src: Src::Imm(1) },
        WarnOn { reg: 0 },
        Set { reg: 1, src: Src::Imm(2) },
    ]);
    assert_eq!(regs(&outcome), [1, 2]);
    prints(&outcome, &[("WARNING: at", "")]);
}

#[test]
fn an_assertion_names_both_values() {
    let outcome = story(vec![Set { reg: 2, src: Src::Imm(3) }, Assert { reg: 2, value: 4 }]);
    assert_eq!(outcome.ending, Ending::Stopped);
    prints(&outcome, &[("assertion failed:", "r2 == 4, but it is 3")]);
}

#[test]
fn every_splat_of_a_step_stands_in_the_trace() {
    let outcome = story(vec![alloc(0), Kfree { ptr: 0 }, ObjLoad { reg: 0, ptr: 0 }]);
    let trace = outcome.trace.expect("asked for");
    let ops: Vec<_> = trace.steps.iter().map(|s| (s.op.as_str(), s.splat)).collect();
    assert_eq!(ops, [("kzalloc", None), ("kfree", None), ("load", Some(0))]);
    assert!(trace.steps.iter().all(|s| s.file == "litmus.rs" && s.function == "on_heap"));
}

#[test]
fn loads_in_a_section_and_unlocks_are_no_scheduling_points() {
    let xa = PLAIN;
    let outcome = story(vec![
        alloc(0),
        XaLockIndex { xa, index: 1 },
        XaLoad { reg: 0, xa, index: 1 },
        XasStore { reg: 1, xa, index: 1, entry: Entry::Ptr(0) },
        XaUnlockIndex { xa, index: 1 },
    ]);
    let trace = outcome.trace.expect("asked for");
    let ops: Vec<_> = trace.steps.iter().map(|s| (s.op.as_str(), s.scheduling_point)).collect();
    assert_eq!(
        ops,
        [
            ("kzalloc", true),
            ("xa_lock", true),
            ("xa_load", false),
            ("xas_store", true),
            ("xa_unlock", false),
        ]
    );
    assert_eq!(outcome.steps, 3);
}

// ---------------------------------------------------------------------------------------------
// Malformed programs
// ---------------------------------------------------------------------------------------------

#[test]
fn a_malformed_program_is_an_error_that_says_where() {
    let thread = |insn: Insn| Litmus { threads: vec![vec![insn]], ..names() };
    let store = |var| Store { var, src: Src::Imm(0) };
    let many = Litmus { vars: vec![0; 6], ..names() };
    for (program, says) in [
        (thread(Load { reg: 8, var: 0 }), "thread 0, instruction 0: there is no register 8"),
        (thread(Load { reg: 0, var: 4 }), "there is no variable 4, the program has 4"),
        (thread(Store { var: 0, src: Src::Reg(9) }), "there is no register 9"),
        (thread(MutexLock(3)), "there is no mutex 3"),
        (thread(SpinLock(2)), "there is no spinlock 2"),
        (thread(DownRead(2)), "there is no rwsem 2"),
        (thread(RefcountInc { count: Count::Static(2) }), "there is no counter 2"),
        (thread(RefcountInc { count: Count::Obj(4) }), "there is no heap slot 4"),
        (thread(XaLock(3)), "there is no xarray 3"),
        (thread(PutDevice(1)), "there is no device 1"),
        (thread(WakeUp { wq: 1, all: true }), "there is no wait queue 1"),
        (thread(WaitVar { wq: 1, var: 0, value: 0, interruptible: true }), "no wait queue 1"),
        (thread(SkipUnless { reg: 0, value: 0, skip: 1 }), "it skips 1 instructions, but 0 follow"),
        (thread(Atomic { body: vec![MutexLock(0)] }), "Atomic can hold Load, Store,"),
        (thread(Atomic { body: vec![store(9)] }), "there is no variable 9"),
        (
            Litmus { threads: vec![vec![Atomic { body: (0..6).map(store).collect() }]], ..many },
            "Atomic touches 6 variables, 5 is the most",
        ),
        (thread(MutexTrylock { reg: 0, mutex: 0 }), "a trylock needs `unlock_steps`"),
        (
            Litmus { threads: vec![vec![alloc(0)], vec![Kfree { ptr: 0 }]], ..names() },
            "thread 1, instruction 0: heap slot 0 is given a value by thread 0",
        ),
        (
            Litmus { threads: vec![vec![alloc(0)], vec![alloc(0)]], ..names() },
            "heap slot 0 is given a value by two threads",
        ),
        (Litmus { mutexes: STATICS_MAX as u8 + 1, ..names() }, "it has 17 mutexes"),
        (Litmus { setup: vec![store(4)], ..names() }, "setup, instruction 0"),
        (Litmus { finally: vec![store(4)], ..names() }, "finally, instruction 0"),
    ] {
        let error = model_native::run(&Subject::Litmus(program), &mut FirstEnabled, &traced());
        let Err(ModelError::Malformed(why)) = error else { panic!("{says}: {error:?}") };
        assert!(why.contains(says), "`{why}` does not say `{says}`");
    }
    let threads = vec![Vec::new(); 9];
    let error = model_native::run(
        &Subject::Litmus(Litmus { threads, ..names() }),
        &mut FirstEnabled,
        &traced(),
    );
    assert_eq!(error, Err(ModelError::TooManyCpus { cpus: 9, max: 8 }));
}
