//! What does loom 0.7.3 not see? Each of its limits that a verdict mentions is a fact here, so
//! that a new version of loom cannot change it unnoticed.
//!
//! Source: reference/engines-golden.md, "What loom does not see"; tokio-rs/loom issues 166, 392
//! (read-then-write interleavings) and 180 (SeqCst accesses). Written against loom itself, not
//! against the model.

use loom::sync::atomic::{fence, AtomicUsize, Ordering};
use loom::sync::{Condvar, Mutex};
use loom::thread;
use std::collections::BTreeSet;
use std::process::Command;
use std::sync::Arc;

/// Every result of a program in loom.
fn results<T: Ord + Send + 'static>(
    program: impl Fn() -> T + Send + Sync + 'static,
) -> BTreeSet<T> {
    let set = Arc::new(std::sync::Mutex::new(BTreeSet::new()));
    let to = set.clone();
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = None;
    builder.check(move || {
        let result = program();
        to.lock().expect("no test panics here").insert(result);
    });
    let set = Arc::into_inner(set).expect("the exploration is over");
    set.into_inner().expect("no test panics here")
}

fn atomics() -> (Arc<AtomicUsize>, Arc<AtomicUsize>) {
    (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)))
}

#[test]
fn a_load_before_the_store_hides_an_interleaving() {
    let seen = results(|| {
        let x = Arc::new(AtomicUsize::new(0));
        let reader = {
            let x = x.clone();
            thread::spawn(move || x.load(Ordering::SeqCst))
        };
        let writer = thread::spawn(move || {
            x.load(Ordering::SeqCst);
            x.store(1, Ordering::SeqCst);
        });
        writer.join().expect("the writer");
        reader.join().expect("the reader")
    });
    assert_eq!(seen, BTreeSet::from([0]), "reading 1 is possible, and loom does not show it");
}

/// Two threads store to one variable and load the other.
fn store_buffering(fenced: bool) -> BTreeSet<(usize, usize)> {
    results(move || {
        let order = if fenced { Ordering::Relaxed } else { Ordering::SeqCst };
        let (x, y) = atomics();
        let half = move |mine: Arc<AtomicUsize>, other: Arc<AtomicUsize>| {
            mine.store(1, order);
            if fenced {
                fence(Ordering::SeqCst);
            }
            other.load(order)
        };
        let first = {
            let (x, y) = (x.clone(), y.clone());
            thread::spawn(move || half(x, y))
        };
        let b = half(y, x);
        (first.join().expect("the other half"), b)
    })
}

#[test]
fn seq_cst_accesses_are_weaker_than_they_are() {
    assert!(store_buffering(false).contains(&(0, 0)), "C11 forbids it, loom shows it");
}

#[test]
fn seq_cst_fences_are_right() {
    assert!(!store_buffering(true).contains(&(0, 0)));
}

#[test]
fn load_buffering_never_shows() {
    let seen = results(|| {
        let (x, y) = atomics();
        let half = |read: Arc<AtomicUsize>, write: Arc<AtomicUsize>| {
            let r = read.load(Ordering::Relaxed);
            write.store(1, Ordering::Relaxed);
            r
        };
        let first = {
            let (x, y) = (x.clone(), y.clone());
            thread::spawn(move || half(x, y))
        };
        let b = half(y, x);
        (first.join().expect("the other half"), b)
    });
    assert!(!seen.contains(&(1, 1)), "the kernel's memory model allows it");
}

#[test]
fn a_weak_compare_exchange_never_fails_for_no_reason() {
    let seen = results(|| {
        let x = AtomicUsize::new(0);
        x.compare_exchange_weak(0, 1, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    });
    assert_eq!(seen, BTreeSet::from([true]));
}

#[test]
fn a_condition_variable_never_wakes_for_no_reason() {
    let seen = results(|| {
        let pair = Arc::new((Mutex::new(false), Condvar::new()));
        let waker = {
            let pair = pair.clone();
            thread::spawn(move || {
                *pair.0.lock().expect("the lock") = true;
                pair.1.notify_one();
            })
        };
        let mut rounds = 0;
        let mut flag = pair.0.lock().expect("the lock");
        while !*flag {
            flag = pair.1.wait(flag).expect("the lock");
            rounds += 1;
        }
        drop(flag);
        waker.join().expect("the waker");
        rounds
    });
    assert_eq!(seen, BTreeSet::from([0, 1]), "a spurious wake-up would make more rounds");
}

#[test]
fn only_the_last_seven_stores_can_be_read() {
    let seen = results(|| {
        let (x, done) = atomics();
        let writer = {
            let (x, done) = (x.clone(), done.clone());
            thread::spawn(move || {
                for value in 1..=10 {
                    x.store(value, Ordering::Relaxed);
                }
                done.store(1, Ordering::Relaxed);
            })
        };
        // Nothing orders the loads, so every value is allowed once `done` was read.
        let after = done.load(Ordering::Relaxed) == 1;
        let read = x.load(Ordering::Relaxed);
        writer.join().expect("the writer");
        after.then_some(read)
    });
    let read: BTreeSet<usize> = seen.into_iter().flatten().collect();
    assert_eq!(read, (4..=10).collect());
}

/// Runs the test `name` of this file in a process of its own; whether it ended well, and what it
/// wrote to its standard error.
fn in_child(name: &str) -> (bool, String) {
    let exe = std::env::current_exe().expect("the path of this test");
    let output = Command::new(exe)
        .args(["--exact", name, "--nocapture"])
        .env("LOOM_LIMITS_CHILD", "1")
        .output()
        .expect("a child process");
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

fn is_child() -> bool {
    std::env::var_os("LOOM_LIMITS_CHILD").is_some()
}

/// Does nothing unless it runs in the child of the test below.
#[test]
fn child_takes_two_locks_in_two_orders() {
    if !is_child() {
        return;
    }
    results(|| {
        let locks = Arc::new((Mutex::new(()), Mutex::new(())));
        let other = {
            let locks = locks.clone();
            thread::spawn(move || {
                let _b = locks.1.lock().expect("the lock");
                let _a = locks.0.lock().expect("the lock");
            })
        };
        {
            let _a = locks.0.lock().expect("the lock");
            let _b = locks.1.lock().expect("the lock");
        }
        other.join().expect("the other thread");
    });
}

#[test]
fn a_deadlock_with_a_live_guard_ends_the_process() {
    let (well, said) = in_child("child_takes_two_locks_in_two_orders");
    assert!(!well);
    assert!(said.contains("deadlock"), "{said}");
}

/// Does nothing unless it runs in the child of the test below.
#[test]
fn child_has_too_many_branches() {
    if !is_child() {
        return;
    }
    let mut builder = loom::model::Builder::new();
    builder.max_branches = 10;
    builder.check(|| {
        let x = Arc::new(AtomicUsize::new(0));
        let other = {
            let x = x.clone();
            thread::spawn(move || (0..20).for_each(|i| x.store(i, Ordering::SeqCst)))
        };
        let sum: usize = (0..20).map(|_| x.load(Ordering::SeqCst)).sum();
        other.join().expect("the other thread");
        assert!(sum <= 20 * 19, "only stored values are read");
    });
}

#[test]
fn too_many_branches_end_the_process() {
    let (well, said) = in_child("child_has_too_many_branches");
    assert!(!well);
    assert!(said.contains("maximum number of branches"), "{said}");
}

/// Does nothing unless it runs in the child of the test below.
#[test]
fn child_has_six_threads() {
    if !is_child() {
        return;
    }
    results(|| {
        let threads: Vec<_> = (0..5).map(|_| thread::spawn(|| ())).collect();
        threads.into_iter().for_each(|t| t.join().expect("a thread"));
    });
}

#[test]
fn six_threads_are_too_many() {
    let (well, said) = in_child("child_has_six_threads");
    assert!(!well, "{said}");
}

#[test]
fn five_threads_are_not() {
    let seen = results(|| {
        let threads: Vec<_> = (0..4).map(|_| thread::spawn(|| ())).collect();
        threads.into_iter().map(|t| t.join().expect("a thread")).count()
    });
    assert_eq!(seen, BTreeSet::from([4]));
}
