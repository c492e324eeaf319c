//! lockdep: which locks each CPU holds, and in which order classes of locks are taken.
//!
//! A class is the struct and the field that a lock is, whatever the instance: the locks of two
//! groups are one class. The graph is that of one execution: it shows a cycle as soon as both
//! orders happened in it, whether or not they could meet.
//!
//! Source: kernel/locking/lockdep.c, Documentation/locking/lockdep-design.rst;
//! reference/iommufd.md 6.5.

use uapi::splat::Kind;
use uapi::step::{Cpu, Site, CPUS_MAX};

use crate::linux::lock::How;
use crate::linux::slab::{given_back, Field};
use crate::sync::{self, Cell, Local};

/// A class of locks: struct and field.
pub type Class = (&'static str, &'static str);

/// A lock that a CPU holds.
#[derive(Clone, Copy)]
struct Held {
    field: Field,
    /// The number of the lock.
    obj: u32,
    how: How,
}

#[derive(Default)]
struct Lockdep {
    /// What each CPU holds, in order of taking.
    held: [Vec<Held>; CPUS_MAX],
    /// (held, taken)
    edges: Vec<(Class, Class)>,
}

static LOCKDEP: Local<Cell<Lockdep>> = Local::new(1);

fn lockdep() -> &'static Cell<Lockdep> {
    LOCKDEP.get()
}

fn class(field: Field) -> Class {
    (field.owner.ty, field.path)
}

fn class_text(class: Class) -> String {
    format!("{}->{}", class.0, class.1)
}

impl Lockdep {
    fn leads(&self, from: Class, to: Class) -> bool {
        let mut seen = vec![from];
        let mut next = 0;
        while let Some(&at) = seen.get(next) {
            next += 1;
            if at == to {
                return true;
            }
            for &(_, b) in self.edges.iter().filter(|(a, _)| *a == at) {
                if !seen.contains(&b) {
                    seen.push(b);
                }
            }
        }
        false
    }

    /// Notes that `taken` is taken while the CPU holds what it holds; gives what is wrong in it.
    fn order(&mut self, cpu: Cpu, taken: Field) -> Option<(Kind, String)> {
        let mut wrong = None;
        for i in 0..self.held[usize::from(cpu)].len() {
            let edge = (class(self.held[usize::from(cpu)][i].field), class(taken));
            if self.edges.contains(&edge) {
                continue;
            }
            if edge.0 == edge.1 {
                wrong.get_or_insert((Kind::RecursiveLock, class_text(edge.0)));
            } else if self.leads(edge.1, edge.0) {
                // Named in a fixed order: which of the two came second is an accident.
                let (a, b) = (edge.0.min(edge.1), edge.0.max(edge.1));
                let detail = format!("{} and {}", class_text(a), class_text(b));
                wrong.get_or_insert((Kind::CircularLock, detail));
            }
            self.edges.push(edge);
        }
        wrong
    }
}

/// A lock is taken and given back within one step.
pub(super) fn passed(field: Field, at: Site) {
    let wrong = lockdep().with(|l| l.order(sync::current(), field));
    if let Some((kind, detail)) = wrong {
        sync::splat(kind, at, detail);
    }
}

/// The current CPU has taken the lock with the number `obj`.
pub(super) fn acquired(field: Field, obj: u32, how: How, at: Site) {
    passed(field, at);
    tried(field, obj, how);
}

/// As [`acquired`], under a lock that orders the locks of this class (mutex_lock_nest_lock() and
/// its like): one of the same class may be held.
pub(super) fn acquired_nested(field: Field, obj: u32, how: How, at: Site) {
    let cpu = usize::from(sync::current());
    let same_class_held =
        lockdep().with(|l| l.held[cpu].iter().any(|held| class(held.field) == class(field)));
    if !same_class_held {
        passed(field, at);
    }
    tried(field, obj, how);
}

/// The current CPU has taken the lock with the number `obj` by trying it: it did not wait, so no
/// order of classes follows. What it takes afterwards is ordered behind it as usual.
pub(super) fn tried(field: Field, obj: u32, how: How) {
    let cpu = usize::from(sync::current());
    lockdep().with(|l| l.held[cpu].push(Held { field, obj, how }));
}

/// The current CPU has given the lock with the number `obj` back.
pub(super) fn released(obj: u32) {
    let cpu = usize::from(sync::current());
    lockdep().with(|l| {
        if let Some(i) = l.held[cpu].iter().rposition(|held| held.obj == obj) {
            l.held[cpu].remove(i);
        }
    });
    given_back();
}

/// The locks that a CPU holds, in order of taking.
pub fn held(cpu: Cpu) -> Vec<Field> {
    lockdep().with(|l| l.held[usize::from(cpu)].iter().map(|held| held.field).collect())
}

/// The numbers of the locks that a CPU holds, and how it holds each.
pub(super) fn held_numbers(cpu: Cpu) -> Vec<(u32, How)> {
    lockdep().with(|l| l.held[usize::from(cpu)].iter().map(|held| (held.obj, held.how)).collect())
}

/// The orders of classes seen in this execution: (held, taken).
pub fn edges() -> Vec<(Class, Class)> {
    lockdep().with(|l| l.edges.clone())
}

/// The end of a system call: prints a splat that names the locks that are still held.
pub fn return_to_user(at: Site) {
    let cpu = usize::from(sync::current());
    if lockdep().with(|l| l.held[cpu].is_empty()) {
        return;
    }
    let names: Vec<String> = held(sync::current()).iter().map(Field::text).collect();
    sync::splat(Kind::HeldAtReturn, at, names.join(", "));
}
