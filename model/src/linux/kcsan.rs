//! KCSAN: plain accesses that nothing orders.
//!
//! Two accesses to one field race if they are of two CPUs, one of them writes, no step of a lock,
//! counter, xarray or wait queue orders them (`sync::clock`), and the two CPUs held no lock in
//! common. A kernel built with KCSAN sees it only when both happen at the same time; here one
//! execution of many is enough. A race harms nobody by itself: it is printed when an execution has
//! ended, behind everything that does.
//!
//! Source: kernel/kcsan/core.c and report.c (the names of the two functions in order),
//! Documentation/dev-tools/kcsan.rst.

use uapi::splat::Kind;
use uapi::step::{Cpu, Site, CPUS_MAX};

use crate::linux::lockdep;
use crate::linux::slab::Field;
use crate::sync::{self, Cell, Local};

/// The accesses of one kind to one field by one CPU from one place: the last of them.
struct Seen {
    cpu: Cpu,
    write: bool,
    at: Site,
    /// The CPU's own time of the access.
    time: u32,
    locks: Vec<u32>,
}

#[derive(Default)]
struct Watched {
    /// By the number of the field's object.
    fields: Vec<(u32, Vec<Seen>)>,
    /// What is printed at the end: the field, and the two places.
    races: Vec<(Field, Site, Site)>,
}

static WATCHED: Local<Cell<Watched>> = Local::new(5);

/// The current CPU has made a plain access to the field with the number `obj`.
pub(super) fn access(field: Field, obj: u32, write: bool, at: Site) {
    let Some(clock) = sync::clock() else { return };
    let cpu = sync::current();
    let locks = lockdep::held_numbers(cpu);
    WATCHED.get().with(|watched| {
        let i = match watched.fields.iter().position(|(o, _)| *o == obj) {
            Some(i) => i,
            None => {
                watched.fields.push((obj, Vec::new()));
                watched.fields.len() - 1
            }
        };
        let seen = &mut watched.fields[i].1;
        for other in seen.iter().filter(|s| s.cpu != cpu && (s.write || write)) {
            let ordered = other.time <= clock[usize::from(other.cpu)];
            let excluded = other.locks.iter().any(|lock| locks.contains(lock));
            let known = watched.races.iter().any(|(_, a, b)| (*a, *b) == (other.at, at));
            if !ordered && !excluded && !known {
                watched.races.push((field, other.at, at));
            }
        }
        let time = clock[usize::from(cpu) % CPUS_MAX];
        match seen.iter_mut().find(|s| s.cpu == cpu && s.write == write && s.at == at) {
            Some(last) => (last.time, last.locks) = (time, locks),
            None => seen.push(Seen { cpu, write, at, time, locks }),
        }
    });
}

/// Prints the races of the execution.
pub fn report_races() {
    let races = WATCHED.get().with(|watched| std::mem::take(&mut watched.races));
    for (field, one, other) in races {
        // In a fixed order, whoever came first, as KCSAN does.
        let (one, other) = (sync::function(one), sync::function(other));
        let function = format!("{} / {}", one.min(other), one.max(other));
        sync::splat_in(Kind::DataRace, function, field.text());
    }
}
