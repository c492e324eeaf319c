//! The golden programs, written directly in the primitives of the peers: what loom and shuttle
//! make of the same question without any of our machinery. For benches and for comparison; the
//! counts are pinned by `races/tests/peers.rs`.
//!
//! The text of the programs is that of [`crate::golden`]: `alloc` and `destroy` on two counters
//! and two maps, each map under its lock.

/// One golden program for the peers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Peer {
    /// Threads that allocate a vDEVICE.
    pub allocs: usize,
    /// Threads that destroy one that is there from the start.
    pub destroys: usize,
    /// Whole ioctl paths, or only the contested steps.
    pub full: bool,
}

/// The slots of a map by key, and what they hold.
const EMPTY: u8 = 0;
const RESERVED: u8 = 1;
const LIVE: u8 = 2;
/// Name of the vDEVICE that is there from the start; those of the allocs follow.
const PRE: u8 = 1;
/// Names there can be.
const NAMES: usize = 6;

macro_rules! golden {
    ($name:ident, $backend:ident, $doc:literal) => {
        #[doc = $doc]
        mod $name {
            use super::{Peer, EMPTY, LIVE, NAMES, PRE, RESERVED};
            use std::sync::Arc;
            use $backend::sync::atomic::{AtomicUsize, Ordering};
            use $backend::sync::Mutex;
            use $backend::thread;

            struct World {
                viommu_users: AtomicUsize,
                idev_users: AtomicUsize,
                /// `vdevs[virt_id]`: the name of a vDEVICE, or [`EMPTY`].
                vdevs: Mutex<u8>,
                objects: Mutex<[u8; NAMES]>,
            }

            impl World {
                fn get(&self, users: &AtomicUsize) {
                    let _objects = self.objects.lock().unwrap();
                    users.fetch_add(1, Ordering::SeqCst);
                }

                fn set(&self, name: u8, state: u8) {
                    self.objects.lock().unwrap()[name as usize] = state;
                }

                fn cmpxchg(&self, old: u8, new: u8) -> bool {
                    let mut slot = self.vdevs.lock().unwrap();
                    let same = *slot == old;
                    if same {
                        *slot = new;
                    }
                    same
                }

                fn alloc(&self, me: u8, full: bool) {
                    if full {
                        self.get(&self.viommu_users);
                        self.get(&self.idev_users);
                        self.set(me, RESERVED);
                    }
                    self.viommu_users.fetch_add(1, Ordering::SeqCst);
                    if self.cmpxchg(EMPTY, me) {
                        self.set(me, LIVE);
                    } else {
                        self.cmpxchg(me, EMPTY);
                        self.viommu_users.fetch_sub(1, Ordering::SeqCst);
                        if full {
                            self.set(me, EMPTY);
                        }
                    }
                    if full {
                        self.idev_users.fetch_sub(1, Ordering::SeqCst);
                        self.viommu_users.fetch_sub(1, Ordering::SeqCst);
                    }
                }

                fn destroy(&self) {
                    {
                        let mut objects = self.objects.lock().unwrap();
                        if objects[PRE as usize] != LIVE {
                            return;
                        }
                        objects[PRE as usize] = EMPTY;
                    }
                    self.cmpxchg(PRE, EMPTY);
                    self.viommu_users.fetch_sub(1, Ordering::SeqCst);
                }

                fn check(&self) {
                    let objects = *self.objects.lock().unwrap();
                    let slot = *self.vdevs.lock().unwrap();
                    let live = objects.iter().filter(|state| **state == LIVE).count();
                    assert!(!objects.contains(&RESERVED), "a name stays reserved");
                    assert_eq!(live, usize::from(slot != EMPTY), "a vDEVICE lost its slot");
                    assert_eq!(self.viommu_users.load(Ordering::SeqCst), 1 + live);
                    assert_eq!(self.idev_users.load(Ordering::SeqCst), 1);
                }
            }

            /// One execution, inside the peer's runner.
            pub fn execute(peer: Peer) {
                let pre = peer.destroys > 0;
                let mut objects = [EMPTY; NAMES];
                objects[PRE as usize] = if pre { LIVE } else { EMPTY };
                let world = Arc::new(World {
                    viommu_users: AtomicUsize::new(1 + usize::from(pre)),
                    idev_users: AtomicUsize::new(1),
                    vdevs: Mutex::new(if pre { PRE } else { EMPTY }),
                    objects: Mutex::new(objects),
                });
                let mut threads = Vec::new();
                for i in 0..peer.allocs {
                    let world = world.clone();
                    threads.push(thread::spawn(move || {
                        world.alloc(PRE + 1 + i as u8, peer.full);
                    }));
                }
                for _ in 0..peer.destroys {
                    let world = world.clone();
                    threads.push(thread::spawn(move || world.destroy()));
                }
                for thread in threads {
                    thread.join().unwrap();
                }
                world.check();
            }
        }
    };
}

golden!(in_loom, loom, "The golden programs in loom's primitives.");
golden!(in_shuttle, shuttle, "The golden programs in shuttle's primitives.");

/// Runs a golden program under loom, unbounded but for `permutations_max`. Gives the number of
/// executions.
pub fn loom(peer: Peer, permutations_max: usize) -> u64 {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::Arc;

    let count = Arc::new(AtomicU64::new(0));
    let counter = count.clone();
    let mut builder = ::loom::model::Builder::new();
    builder.max_branches = 10_000;
    builder.checkpoint_interval = 1;
    builder.max_permutations = Some(permutations_max + 1);
    builder.preemption_bound = None;
    builder.check(move || {
        counter.fetch_add(1, Ordering::Relaxed);
        in_loom::execute(peer);
    });
    count.load(Ordering::Relaxed)
}

/// Runs a golden program under shuttle's depth-first search. Gives the number of executions.
pub fn shuttle_dfs(peer: Peer, executions_max: usize) -> u64 {
    // Shuttle wraps the panic hook of the process for ever, and would print a schedule for every
    // panic of anybody else.
    let hook = std::panic::take_hook();
    let scheduler = ::shuttle::scheduler::DfsScheduler::new(Some(executions_max), false);
    let runner = ::shuttle::Runner::new(scheduler, ::shuttle::Config::new());
    let executions = runner.run(move || in_shuttle::execute(peer)) as u64;
    std::panic::set_hook(hook);
    executions
}
