//! The CPUs, the queues, and the loop that lets time pass.

use crate::agenda::{Agenda, Row};
use crate::device::{BackEnd, FrontEnd, List};
use crate::insert::Phase;
use crate::line::{Distances, Line};
use crate::profile::Profile;
use crate::seed::Seed;
use crate::stats::Outcome;
use crate::workload::{Completion, Insertion, Lists, Path, Workload};
use crate::Ps;
use std::collections::VecDeque;

/// A CPU in the middle of something.
#[derive(Clone, Debug)]
pub(crate) struct Cpu {
    pub(crate) phase: Phase,
    /// When its invalidation began.
    pub(crate) began: Ps,
    /// Lists of it that are still to be issued, the current one included.
    pub(crate) left: Left,
    /// The current list.
    pub(crate) tlbis: u32,
    pub(crate) atcs: u32,
    pub(crate) sync: bool,
    pub(crate) start: u64,
    pub(crate) end: u64,
    pub(crate) owner: bool,
    pub(crate) group: u64,
    /// Version of the llq word that it saw last.
    pub(crate) snapshot: Option<u64>,
    /// It holds the spinlock of [`Insertion::SpinFallback`].
    pub(crate) spinning: bool,
    /// When its SYNC was complete, if that was before it began to wait.
    pub(crate) synced: Option<Ps>,
    /// CONS as it knows it from the wait.
    pub(crate) cons: u64,
    /// When it began to wait for something.
    pub(crate) waits_since: Ps,
    /// Sleep of the current invalidation.
    pub(crate) slept: Ps,
    /// When it first found the lock held exclusively.
    pub(crate) lock_since: Option<Ps>,
    /// How long the entries take to write.
    pub(crate) writing: Ps,
    /// Before 5.4: commands of the list that are in the ring.
    pub(crate) put: u32,
}

/// What of an invalidation is still to be issued.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Left {
    pub(crate) tlbis: u32,
    pub(crate) atcs: u32,
    /// The current list is to be issued a second time.
    pub(crate) again: bool,
}

/// One command queue with the driver's words about it.
#[derive(Clone, Debug)]
pub(crate) struct Queue {
    /// The llq word: its line, how often it changed, and what it holds.
    pub(crate) llq: Line,
    pub(crate) version: u64,
    pub(crate) prod: u64,
    pub(crate) cons: u64,
    pub(crate) owned: bool,
    /// `owner_prod`, the CPU that spins on it, and until when that one fetches the line back.
    pub(crate) respun: Ps,
    pub(crate) owner_prod: u64,
    pub(crate) next_owner: Option<usize>,
    /// `lock`; in `struct arm_smmu_cmdq` the word behind `owner_prod`, so one line has both.
    pub(crate) lock: Line,
    pub(crate) holders: u32,
    pub(crate) exclusive: bool,
    pub(crate) lock_waiters: Vec<usize>,
    /// `valid_map`
    pub(crate) valid: Line,
    /// Lists of each group that are not valid yet; the first is of group `groups_from`.
    pub(crate) groups: VecDeque<u32>,
    pub(crate) groups_from: u64,
    pub(crate) valid_waiter: Option<usize>,
    /// CPUs that spin on the llq word until there is room.
    pub(crate) room_waiters: Vec<usize>,
    /// The spinlock of two variants: who has it, who waits in which order.
    pub(crate) spin: Line,
    /// Until when the first that waits fetches its line back.
    pub(crate) spin_respun: Ps,
    pub(crate) spin_holder: Option<usize>,
    pub(crate) spin_queue: VecDeque<usize>,
    /// Lists that the SMMU has not finished.
    pub(crate) lists: VecDeque<List>,
    /// The last entry of the ring is a SYNC.
    pub(crate) ends_in_sync: bool,
    /// Writes of PROD that the SMMU does not see yet, and the last one that it sees.
    pub(crate) writes: VecDeque<(Ps, u64)>,
    pub(crate) seen: (Ps, u64),
    pub(crate) running: bool,
    pub(crate) hw_cons: u64,
    pub(crate) front: FrontEnd,
}

impl Queue {
    fn new(entries: u32, completion: Completion) -> Queue {
        Queue {
            llq: Line::new(),
            version: 0,
            prod: 0,
            cons: 0,
            owned: false,
            respun: 0,
            owner_prod: 0,
            next_owner: None,
            lock: Line::new(),
            holders: 0,
            exclusive: false,
            lock_waiters: Vec::new(),
            valid: Line::new(),
            groups: VecDeque::from([0]),
            groups_from: 0,
            valid_waiter: None,
            room_waiters: Vec::new(),
            spin: Line::new(),
            spin_respun: 0,
            spin_holder: None,
            spin_queue: VecDeque::new(),
            lists: VecDeque::new(),
            ends_in_sync: false,
            writes: VecDeque::new(),
            seen: (0, 0),
            running: false,
            hw_cons: 0,
            front: FrontEnd::new(entries, completion),
        }
    }
}

/// [`Profile`] as virtual time.
#[derive(Clone, Debug)]
pub(crate) struct Costs {
    pub(crate) hit: Ps,
    pub(crate) retry_wins: u32,
    pub(crate) entry: Ps,
    pub(crate) wmb: Ps,
    pub(crate) mmio_write: Ps,
    pub(crate) mmio_read: Ps,
    pub(crate) visible: Ps,
    pub(crate) msi_pull: Ps,
    pub(crate) event: Ps,
    pub(crate) exit: Ps,
    pub(crate) ioctl: Ps,
    pub(crate) per_tlbi: Ps,
    pub(crate) per_atc: Ps,
}

impl Costs {
    fn new(profile: &Profile) -> Costs {
        let ps = Profile::ps;
        let (cpu, guest) = (&profile.cpu, &profile.guest);
        // iommu_copy_struct_from_full_user_array() falls through: one bulk copy, then each item
        // again. Source: include/linux/iommu.h.
        let copy = 16 * guest.copy_ps_per_byte + ps(guest.copy_item_ns);
        Costs {
            hit: ps(profile.line.hit_ns),
            retry_wins: profile.line.retry_wins_permille,
            entry: ps(cpu.entry_ns),
            wmb: ps(cpu.wmb_ns),
            mmio_write: ps(cpu.mmio_write_ns),
            mmio_read: ps(cpu.mmio_read_ns),
            visible: ps(profile.smmu.prod_visible_ns),
            msi_pull: ps(profile.smmu.msi_pull_ns),
            event: ps(profile.smmu.event_ns),
            exit: ps(guest.exit_ns),
            ioctl: ps(guest.ioctl_ns),
            per_tlbi: copy + ps(guest.convert_ns),
            per_atc: copy + ps(guest.convert_ns) + ps(guest.vsid_ns),
        }
    }
}

/// A run in progress.
pub(crate) struct Machine<'a> {
    pub(crate) costs: Costs,
    pub(crate) distances: Distances,
    pub(crate) workload: &'a Workload,
    /// As the path has it: a guest's own queue has no MSI.
    pub(crate) completion: Completion,
    pub(crate) cpus: Vec<Cpu>,
    pub(crate) queues: Vec<Queue>,
    /// Lines of the page table.
    pub(crate) ptes: Vec<Line>,
    back: BackEnd,
    pub(crate) agenda: Agenda,
    pub(crate) seed: Seed,
    pub(crate) out: Outcome,
    /// Invalidations that ended so far.
    ended: u64,
    /// The window began.
    measuring: Option<Ps>,
}

/// Most events of one run for each invalidation of each CPU: beyond it the model is stuck, which
/// is an error of the model and reported as one.
const EVENTS_PER_LIST_MAX: u64 = 20_000;

/// Runs a workload on a machine.
///
/// # Errors
///
/// If the workload cannot be (see [`Workload::check`]), or if it does not come to an end within
/// the bound on events.
pub fn run(profile: &Profile, workload: &Workload) -> Result<Outcome, String> {
    workload.check()?;
    if let Some(bad) = profile.problems().first() {
        return Err(format!("{}: {}: {}", bad.key, bad.message, bad.help));
    }
    let mut machine = Machine::new(profile, workload);
    let warm_up = workload.invalidations / 4;
    let lists = u64::from(workload.commands.div_ceil(workload.batch))
        + u64::from(workload.atc.div_ceil(workload.batch));
    let events_max = (workload.invalidations + warm_up + u64::from(workload.cpus))
        .saturating_mul(lists.max(1))
        .saturating_mul(EVENTS_PER_LIST_MAX);
    while machine.out.invalidations < workload.invalidations {
        let Some((now, agent)) = machine.agenda.next() else {
            return Err("every CPU waits for another one; please report this workload".into());
        };
        machine.out.events += 1;
        if machine.out.events > events_max {
            return Err(format!("no end after {events_max} events; take fewer CPUs"));
        }
        if agent < machine.cpus.len() {
            machine.agenda.take(machine.cpus[agent].phase.row(), agent);
            machine.step(agent, now);
        } else {
            machine.agenda.take(Row::Near, agent);
            machine.device(agent - machine.cpus.len(), now);
        }
        machine.out.end = now;
        if machine.measuring.is_none() && machine.ended >= warm_up {
            machine.measure_from(now);
        }
    }
    let mut out = machine.out;
    out.latencies.sort_unstable();
    out.lock_waits.sort_unstable();
    Ok(out)
}

impl<'a> Machine<'a> {
    fn new(profile: &Profile, workload: &'a Workload) -> Machine<'a> {
        let mut seed = Seed::new(workload.seed);
        let cpus = workload.cpus as usize;
        let queues = match workload.path {
            Path::Host | Path::Trapped => 1,
            Path::PerCpu | Path::Vcmdq => cpus,
        };
        let mut agenda = Agenda::new(cpus + queues);
        for cpu in 0..cpus {
            agenda.set(Phase::Begin.row(), cpu, seed.exponential(workload.work));
        }
        let cpu = Cpu {
            phase: Phase::Begin,
            began: 0,
            left: Left::default(),
            tlbis: 0,
            atcs: 0,
            sync: false,
            start: 0,
            end: 0,
            owner: false,
            group: 0,
            snapshot: None,
            spinning: false,
            synced: None,
            cons: 0,
            waits_since: 0,
            slept: 0,
            lock_since: None,
            writing: 0,
            put: 0,
        };
        let completion = match workload.path {
            // Source: tegra241-cmdqv.c: SYNCs of a VCMDQ have CS = NONE.
            Path::Vcmdq => Completion::Cons,
            _ => workload.completion,
        };
        Machine {
            costs: Costs::new(profile),
            distances: Distances::new(profile),
            workload,
            completion,
            cpus: vec![cpu; cpus],
            queues: vec![Queue::new(workload.entries, completion); queues],
            ptes: match workload.pte_sharers {
                0 => Vec::new(),
                n => vec![Line::new(); workload.cpus.div_ceil(n) as usize],
            },
            back: BackEnd::new(&profile.smmu),
            agenda,
            seed,
            out: Outcome { cpus: workload.cpus, ..Outcome::default() },
            ended: 0,
            measuring: None,
        }
    }

    /// Forgets the warm-up.
    fn measure_from(&mut self, now: Ps) {
        self.measuring = Some(now);
        self.out = Outcome {
            cpus: self.out.cpus,
            events: self.out.events,
            commands_simulated: self.out.commands_simulated,
            ..Outcome::default()
        };
    }

    /// The queue of a CPU: there is one for all, or one for each.
    #[inline]
    pub(crate) fn queue_of(&self, cpu: usize) -> usize {
        match self.queues.len() {
            1 => 0,
            _ => cpu,
        }
    }

    /// The CPU goes on then, with that.
    #[inline]
    pub(crate) fn at(&mut self, cpu: usize, phase: Phase, at: Ps) {
        self.cpus[cpu].phase = phase;
        self.agenda.set(phase.row(), cpu, at);
    }

    /// The CPU waits until somebody calls [`Machine::wake`].
    pub(crate) fn wait(&mut self, cpu: usize, phase: Phase, now: Ps) {
        self.cpus[cpu].phase = phase;
        self.cpus[cpu].waits_since = now;
    }

    /// A CPU that waits goes on then.
    pub(crate) fn wake(&mut self, cpu: usize, at: Ps) {
        self.agenda.set(self.cpus[cpu].phase.row(), cpu, at);
    }

    /// An invalidation begins.
    pub(crate) fn begin(&mut self, cpu: usize, now: Ps) {
        let left = Left { tlbis: self.workload.commands, atcs: self.workload.atc, again: false };
        let c = &mut self.cpus[cpu];
        c.began = now;
        c.slept = 0;
        c.left = left;
        let exit = if self.workload.path == Path::Trapped { self.costs.exit } else { 0 };
        self.begin_list(cpu, now, exit);
    }

    /// The next list of it, prepared after `wait`. TLBIs and their SYNC come before ATC_INVs.
    pub(crate) fn begin_list(&mut self, cpu: usize, now: Ps, wait: Ps) {
        let (workload, costs) = (self.workload, &self.costs);
        let c = &mut self.cpus[cpu];
        if !c.left.again {
            c.tlbis = c.left.tlbis.min(workload.batch);
            c.atcs = if c.tlbis == 0 { c.left.atcs.min(workload.batch) } else { 0 };
            let last = c.left.tlbis == c.tlbis && (c.tlbis != 0 || c.left.atcs == c.atcs);
            c.sync = last || workload.lists == Lists::SyncEach;
        }
        let prepared = match workload.path {
            Path::Trapped if !c.left.again => {
                costs.ioctl
                    + u64::from(c.tlbis) * costs.per_tlbi
                    + u64::from(c.atcs) * costs.per_atc
            }
            _ => 0,
        };
        c.snapshot = None;
        match wait + prepared {
            // Nothing comes between: no event.
            0 => self.insert(cpu, self.queue_of(cpu), now),
            wait => self.at(cpu, Phase::Insert, now + wait),
        }
    }

    /// The list is in the ring and, if it has a SYNC, complete.
    pub(crate) fn end_list(&mut self, cpu: usize, now: Ps) {
        let repeats = self.workload.repeat;
        let c = &mut self.cpus[cpu];
        if repeats && c.tlbis != 0 && !c.left.again {
            c.left.again = true;
        } else {
            c.left.again = false;
            c.left.tlbis -= c.tlbis;
            c.left.atcs -= c.atcs;
        }
        if c.left.tlbis != 0 || c.left.atcs != 0 {
            return self.begin_list(cpu, now, 0);
        }
        let (began, slept) = (c.began, c.slept);
        self.ended += 1;
        if let Some(from) = self.measuring {
            self.out.invalidations += 1;
            self.out.window = now - from;
            self.out.latencies.push(now - began);
            self.out.busy += (now - began).saturating_sub(slept);
        }
        self.cpus[cpu].put = 0;
        self.work(cpu, now);
    }

    /// The work between two invalidations: in one piece, or a map and an unmap.
    pub(crate) fn work(&mut self, cpu: usize, now: Ps) {
        let (all, parts) = (self.workload.work, if self.ptes.is_empty() { 1 } else { 2 });
        let part = self.seed.exponential(all / parts);
        match (self.ptes.is_empty(), part) {
            (true, 0) => self.begin(cpu, now),
            (true, part) => self.at(cpu, Phase::Begin, now + part),
            (false, part) => self.at(cpu, Phase::PteAsk, now + part),
        }
    }

    /// PROD is written: the SMMU sees it a moment later.
    pub(crate) fn write_prod(&mut self, queue: usize, prod: u64, now: Ps) {
        let at = now + self.costs.visible;
        let q = &mut self.queues[queue];
        q.writes.push_back((at, prod));
        if !q.running && q.writes.len() == 1 {
            self.agenda.set(Row::Near, self.cpus.len() + queue, at);
        }
    }

    /// The SMMU goes on with a queue: it has finished a list, or PROD has moved.
    fn device(&mut self, queue: usize, now: Ps) {
        let agent = self.cpus.len() + queue;
        if std::mem::take(&mut self.queues[queue].running) {
            self.finish_list(queue, now);
        }
        let q = &mut self.queues[queue];
        while let Some(write) = q.writes.front().copied().filter(|w| w.0 <= now) {
            q.seen = write;
            q.writes.pop_front();
        }
        let at = match q.lists.front() {
            Some(list) if list.end() <= q.seen.1 => {
                q.running = true;
                let (back, way) = (&mut self.back, &self.distances);
                q.front.run(now, q.seen.0, list, back, way)
            }
            _ => match q.writes.front() {
                Some(write) => write.0,
                None => return,
            },
        };
        self.agenda.set(Row::Near, agent, at);
    }

    /// CONS has moved past the first list of the queue.
    fn finish_list(&mut self, queue: usize, now: Ps) {
        let Some(list) = self.queues[queue].lists.pop_front() else { return };
        self.queues[queue].hw_cons = list.end();
        self.out.commands += u64::from(list.tlbis) + u64::from(list.atcs);
        self.out.syncs += u64::from(list.sync);
        self.out.commands_simulated += list.end() - list.start;
        if !list.sync {
            return;
        }
        let end = list.end();
        for cpu in std::iter::once(list.cpu).chain(list.also) {
            self.complete(cpu.into(), end, now);
        }
    }

    /// Whether lists are published by an owner: all but the spinlock of old.
    pub(crate) fn combines(&self) -> bool {
        self.workload.insertion != Insertion::Spinlock
    }
}
