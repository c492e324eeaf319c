//! The SMMU's side of a command queue.
//!
//! Commands start in the order of the ring. TLBIs and ATC_INVs overlap; the SYNC gate waits for
//! all that came before it, and nothing younger starts until it is through, so what was fetched
//! ahead of a SYNC is fetched again. Source: Arm IHI 0070 G.b, sections 4.7.3 and 4.8.
//!
//! A list is computed in one go when its first command starts. What several queues share, the
//! back end, is therefore handed out list by list.

use crate::line::{Agent, Distances, SMMU};
use crate::profile::{Profile, SmmuCosts};
use crate::{Completion, Ps};

/// Commands of a line of the ring.
pub const COMMANDS_PER_LINE: u64 = 4;

/// What several command queues share.
#[derive(Clone, Debug)]
pub struct BackEnd {
    costs: Costs,
    tlbi: Port,
    atc: Port,
}

/// [`SmmuCosts`] as virtual time.
#[derive(Clone, Debug)]
struct Costs {
    fetch: Ps,
    fetch_ahead: usize,
    decode: Ps,
    sync: Ps,
    msi_write: Ps,
}

/// Something that starts one command after the other and has so many under way.
#[derive(Clone, Debug)]
struct Port {
    free: Ps,
    every: Ps,
    takes: Ps,
    /// When the commands under way end; a ring.
    ends: Vec<Ps>,
    at: usize,
}

impl Port {
    fn new(every: Ps, takes: Ps, depth: u32) -> Port {
        Port { free: 0, every, takes, ends: vec![0; depth.max(1) as usize], at: 0 }
    }

    /// Starts one command that is ready at `ready`: when it started and when it ends.
    fn start(&mut self, ready: Ps) -> (Ps, Ps) {
        let begin = ready.max(self.free).max(self.ends[self.at]);
        self.free = begin + self.every;
        let end = begin + self.takes;
        self.ends[self.at] = end;
        self.at += 1;
        if self.at == self.ends.len() {
            self.at = 0;
        }
        (begin, end)
    }
}

impl BackEnd {
    /// An idle one.
    pub fn new(costs: &SmmuCosts) -> BackEnd {
        let ps = Profile::ps;
        BackEnd {
            costs: Costs {
                fetch: ps(costs.fetch_ns),
                fetch_ahead: costs.fetch_ahead_lines as usize,
                decode: ps(costs.decode_ns),
                sync: ps(costs.sync_ns),
                msi_write: ps(costs.msi_write_ns),
            },
            tlbi: Port::new(ps(costs.tlbi_issue_ns), ps(costs.tlbi_latency_ns), costs.tlbi_depth),
            atc: Port::new(0, ps(costs.atc_round_trip_ns), costs.atc_in_flight),
        }
    }
}

/// A list in the ring.
#[derive(Clone, Debug)]
pub struct List {
    /// Position of its first command, un-wrapped.
    pub start: u64,
    /// TLBIs.
    pub tlbis: u32,
    /// ATC_INVs.
    pub atcs: u32,
    /// Whether a SYNC closes it.
    pub sync: bool,
    /// Who waits for that SYNC.
    pub cpu: Agent,
    /// Others whose SYNC was left out for it.
    pub also: Vec<Agent>,
}

impl List {
    /// Position behind it.
    pub fn end(&self) -> u64 {
        self.start + u64::from(self.tlbis) + u64::from(self.atcs) + u64::from(self.sync)
    }
}

/// The line of the ring that has this position. Their number is a power of two.
pub(crate) fn line_of(ring: &[Agent], position: u64) -> usize {
    (position / COMMANDS_PER_LINE) as usize & (ring.len() - 1)
}

/// One command queue's front end.
#[derive(Clone, Debug)]
pub struct FrontEnd {
    /// The decoder is free.
    decoded: Ps,
    /// Everything before the next SYNC is complete.
    drained: Ps,
    /// What is fetched ahead is valid: no SYNC since.
    warm_since: Option<Ps>,
    /// First use of the lines of the fetch window; a ring.
    window: [Ps; 64],
    /// How a SYNC says that it is complete.
    completion: Completion,
    /// Who has each line of the ring.
    pub(crate) ring: Vec<Agent>,
}

impl FrontEnd {
    /// An idle one with an empty ring; the lap before this one was consumed.
    pub fn new(entries: u32, completion: Completion) -> FrontEnd {
        let lines = u64::from(entries) / COMMANDS_PER_LINE;
        FrontEnd {
            decoded: 0,
            drained: 0,
            warm_since: None,
            window: [0; 64],
            completion,
            ring: vec![SMMU; lines.max(1) as usize],
        }
    }

    /// Runs a list that became visible at `visible`: when the next one may start.
    pub fn run(
        &mut self,
        now: Ps,
        visible: Ps,
        list: &List,
        back: &mut BackEnd,
        distances: &Distances,
    ) -> Ps {
        let ring = &mut self.ring;
        let costs = &back.costs;
        let asked = match self.warm_since {
            Some(since) => since.max(visible),
            None => now,
        };
        self.warm_since = Some(asked);
        let tlbis_end = list.start + u64::from(list.tlbis);
        let commands_end = tlbis_end + u64::from(list.atcs);
        let (mut arrived, mut started) = (0, now);
        // Lines fetched so far, and the place in the window of the next one.
        let (mut fetched, mut line) = (0, 0);
        for position in list.start..list.end() {
            if position == list.start || position % COMMANDS_PER_LINE == 0 {
                let at = line_of(ring, position);
                // The line comes from the cache of whoever wrote it last.
                let way = distances.surcharge(ring[at], SMMU);
                let room = if fetched >= costs.fetch_ahead { self.window[line] } else { 0 };
                arrived = asked.max(room) + costs.fetch + way;
                ring[at] = SMMU;
                self.window[line] = started;
                fetched += 1;
                line = if line + 1 == costs.fetch_ahead { 0 } else { line + 1 };
            }
            self.decoded = self.decoded.max(arrived).max(now) + costs.decode;
            if position >= commands_end {
                break;
            }
            let port = if position < tlbis_end { &mut back.tlbi } else { &mut back.atc };
            let (begin, end) = port.start(self.decoded);
            started = begin;
            self.drained = self.drained.max(end);
        }
        if !list.sync {
            return started.max(self.decoded);
        }
        self.warm_since = None;
        let gate = self.drained.max(self.decoded) + costs.sync;
        match self.completion {
            Completion::Msi => {
                // The word that the MSI goes to is in the cache of the CPU that polls it.
                let at = line_of(ring, list.end() - 1);
                ring[at] = list.cpu;
                gate + costs.msi_write + distances.surcharge(list.cpu, SMMU)
            }
            Completion::Cons | Completion::Sev => gate,
        }
    }
}
