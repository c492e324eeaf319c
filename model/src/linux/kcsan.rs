//! KCSAN: plain accesses that nothing orders.
//!
//! Two accesses to one field race if they are of two CPUs, one of them writes, no step of a lock,
//! counter, xarray or wait queue orders them (`sync::unordered`), and the two CPUs held no lock in
//! common that at least one of them held as a writer. A kernel built with KCSAN sees it only when
//! both happen at the same time; here one execution of many is enough. A race harms nobody by
//! itself: it is printed when an execution has ended, behind everything that does. With
//! `orders = "strict"` kfree() counts as a write of all that is in the object.
//!
//! Source: kernel/kcsan/core.c and report.c (the names of the two functions in order),
//! Documentation/dev-tools/kcsan.rst; slab_free_hook() of mm/slub.c.

use uapi::program::Orders;
use uapi::splat::Kind;
use uapi::step::{Cpu, Site};

use crate::linux::lock::How;
use crate::linux::lockdep;
use crate::linux::slab::{Field, Owner};
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
    /// The later one is kfree().
    free: bool,
}

#[derive(Default)]
struct Watched {
    /// The fields, with what explorers call them.
    fields: Vec<(Field, u32, Vec<Seen>)>,
    suspects: Vec<Suspect>,
}

static WATCHED: Local<Cell<Watched>> = Local::new(5);

/// The current CPU has made a plain access to the field with the number `obj`.
pub(super) fn access(field: Field, obj: u32, write: bool, at: Site) {
    let Some(moment) = sync::moment() else { return };
    let cpu = sync::current();
    let locks = lockdep::held_numbers(cpu);
    WATCHED.get().with(|watched| {
        let i = match watched.fields.iter().position(|(_, o, _)| *o == obj) {
            Some(i) => i,
            None => {
                watched.fields.push((field, obj, Vec::new()));
                watched.fields.len() - 1
            }
        };
        let seen = &mut watched.fields[i].2;
        for other in seen.iter().filter(|s| s.cpu != cpu && (s.write || write)) {
            if !other.excludes(&locks) {
                let (sites, moments) = ((other.at, at), (other.moment, moment));
                watched.suspects.push(Suspect { field, sites, moments, free: false });
            }
        }
        match seen.iter_mut().find(|s| s.cpu == cpu && s.write == write && s.at == at) {
            Some(last) => (last.moment, last.locks) = (moment, locks),
            None => seen.push(Seen { cpu, write, at, moment, locks }),
        }
    });
}

/// The current CPU has freed the allocation: a write of all its fields (slab_free_hook() tells KCSAN
/// so).
///
/// Asked with [`Orders::Strict`] only. Otherwise what is ordered is what no interleaving turns round:
/// an access that may come before the free and is not ordered comes behind it in another execution,
/// which is a use after free there. Here it would say the same of executions that go well.
pub(super) fn freed(owner: Owner, at: Site) {
    if sync::orders() != Orders::Strict {
        return;
    }
    let Some(moment) = sync::moment() else { return };
    let cpu = sync::current();
    let locks = lockdep::held_numbers(cpu);
    WATCHED.get().with(|watched| {
        let Watched { fields, suspects } = watched;
        let its = |field: &Field| field.owner.alloc == owner.alloc;
        for (field, seen) in fields.iter().filter(|(field, ..)| its(field)).map(|(f, _, s)| (f, s))
        {
            for other in seen.iter().filter(|s| s.cpu != cpu && !s.excludes(&locks)) {
                let (sites, moments) = ((other.at, at), (other.moment, moment));
                suspects.push(Suspect { field: *field, sites, moments, free: true });
            }
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
    for (Suspect { field, sites, free, .. }, unordered) in
        suspects.iter().zip(sync::unordered(&moments))
    {
        if !unordered || printed.contains(sites) {
            continue;
        }
        printed.push(*sites);
        // In a fixed order, whoever came first, as KCSAN does.
        let (one, other) = (sync::function(sites.0), sync::function(sites.1));
        let function = format!("{} / {}", one.min(other), one.max(other));
        let kind = if *free { Kind::FreeRace } else { Kind::DataRace };
        sync::splat_in(kind, function, field.text());
    }
}
