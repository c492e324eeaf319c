//! KCSAN: plain accesses that nothing orders.
//!
//! Two accesses to one field race if they are of two CPUs, one of them writes, no step of a lock,
//! counter, xarray or wait queue orders them (`sync::unordered`), and the two CPUs held no lock in
//! common that at least one of them held as a writer. A kernel built with KCSAN sees it only when
//! both happen at the same time; here one execution of many is enough. A race harms nobody by
//! itself: it is printed when an execution has ended, behind everything that does.
//!
//! Source: kernel/kcsan/core.c and report.c (the names of the two functions in order),
//! Documentation/dev-tools/kcsan.rst.

use uapi::splat::Kind;
use uapi::step::{Cpu, Site};

use crate::linux::lock::How;
use crate::linux::lockdep;
use crate::linux::slab::Field;
use crate::sync::{self, Cell, Local, Moment};

/// The accesses of one kind to one field by one CPU from one place: the last of them.
struct Seen {
    cpu: Cpu,
    write: bool,
    at: Site,
    moment: Moment,
    locks: Vec<(u32, How)>,
}

impl Seen {
    /// Whether a lock that both hold keeps the accesses apart; one that both hold as readers does
    /// not.
    fn excludes(&self, locks: &[(u32, How)]) -> bool {
        self.locks.iter().any(|(lock, how)| {
            let both_read = |other: How| *how == How::Shared && other == How::Shared;
            locks.iter().any(|(other, how)| lock == other && !both_read(*how))
        })
    }
}

/// Two accesses to a field that no lock excludes, the earlier first.
struct Suspect {
    field: Field,
    sites: (Site, Site),
    moments: (Moment, Moment),
}

#[derive(Default)]
struct Watched {
    /// By the number of the field's object.
    fields: Vec<(u32, Vec<Seen>)>,
    suspects: Vec<Suspect>,
}

static WATCHED: Local<Cell<Watched>> = Local::new(5);

/// The current CPU has made a plain access to the field with the number `obj`.
pub(super) fn access(field: Field, obj: u32, write: bool, at: Site) {
    let Some(moment) = sync::moment() else { return };
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
            if !other.excludes(&locks) {
                let (sites, moments) = ((other.at, at), (other.moment, moment));
                watched.suspects.push(Suspect { field, sites, moments });
            }
        }
        match seen.iter_mut().find(|s| s.cpu == cpu && s.write == write && s.at == at) {
            Some(last) => (last.moment, last.locks) = (moment, locks),
            None => seen.push(Seen { cpu, write, at, moment, locks }),
        }
    });
}

/// Prints the races of the execution, one of each pair of places.
pub fn report_races() {
    let suspects = WATCHED.get().with(|watched| std::mem::take(&mut watched.suspects));
    if suspects.is_empty() {
        return;
    }
    let moments: Vec<(Moment, Moment)> = suspects.iter().map(|s| s.moments).collect();
    let mut printed: Vec<(Site, Site)> = Vec::new();
    for (Suspect { field, sites, .. }, unordered) in suspects.iter().zip(sync::unordered(&moments))
    {
        if !unordered || printed.contains(sites) {
            continue;
        }
        printed.push(*sites);
        // In a fixed order, whoever came first, as KCSAN does.
        let (one, other) = (sync::function(sites.0), sync::function(sites.1));
        let function = format!("{} / {}", one.min(other), one.max(other));
        sync::splat_in(Kind::DataRace, function, field.text());
    }
}
