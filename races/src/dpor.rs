//! Dynamic partial-order reduction: every interleaving that can differ, and no other.
//!
//! Source sets with sleep sets (Abdulla, Aronis, Jonsson, Sagonas, "Optimal dynamic partial order
//! reduction", POPL 2014, Algorithm 1), by re-execution. [`Dpor`] holds the current path as a
//! stack of [`Frame`]s. After an execution it orders the steps by vector clocks, looks for *races*
//! (two steps that conflict with nothing in between that orders them), and notes in the frame
//! before the first step of each race who has to run there for the race to go the other way. The
//! deepest frame with such a note is where the next execution branches off.
//!
//! What differs from the paper, each with its reason where it is written:
//!
//! * Locks are disabled while held, and an unlock is no step ([`Dpor::conflicts`]).
//! * A step that waits for a condition, and steps that are still blocked when nobody can run, are
//!   raced too ([`Dpor::race_blocked`]).
//! * Counter changes commute as long as no order of them meets zero ([`crate::counters`]).
//! * A step that ends the execution (KASAN) conflicts with everything ([`Dpor::race_stop`]).
//!
//! Only `uapi` types appear here: an object is a number.

use crate::counters::Counters;
use crate::touch::{depends, locally_commute, relation, Kind, Relation, Touch};
use uapi::outcome::{Ending, Outcome};
use uapi::pick::{Explore, Pick};
use uapi::program::Dependence;
use uapi::step::{sleeper_of, Counter, Cpu, Done, Pending, CPUS_MAX, CPU_NUMBERS};

/// A set of CPUs.
pub(crate) type Mask = u16;

/// Every timer.
const TIMERS: Mask = !0 << CPUS_MAX;

/// End of a list of records.
const NIL: u32 = u32::MAX;

pub(crate) fn bit(cpu: Cpu) -> Mask {
    1 << cpu
}

/// The CPUs of a set, lowest first.
pub(crate) fn cpus(mut mask: Mask) -> impl Iterator<Item = Cpu> {
    std::iter::from_fn(move || {
        (mask != 0).then(|| {
            let cpu = mask.trailing_zeros() as Cpu;
            mask &= mask - 1;
            cpu
        })
    })
}

/// Per CPU: one past the index of its last step that happens before. Indices count the steps of
/// the execution, so that "step i of CPU q happens before" is `clock[q] > i`.
type Clock = [u32; CPU_NUMBERS];

fn join(into: &mut Clock, other: &Clock) {
    for (a, b) in into.iter_mut().zip(other) {
        *a = (*a).max(*b);
    }
}

/// How the exploration is limited and started.
#[derive(Clone, Debug, Default)]
pub(crate) struct Config {
    pub dependence: Dependence,
    /// Executions, redundant ones included, after which it gives up.
    pub executions_max: u64,
    /// A bounded search is a bug finder: it explores without sleep sets, since a sleeping CPU's
    /// equivalent execution may lie beyond the bound.
    pub preemptions_max: Option<u32>,
    /// Choices that every execution starts with.
    pub prefix: Vec<Cpu>,
    /// Instead of a search: this many random descents from this seed, to estimate its size.
    pub descents: Option<(u64, u64)>,
}

/// Where the executions go.
pub(crate) trait Sink {
    /// One execution, with its choices. `None`: it was ended quietly as redundant. False ends the
    /// exploration.
    fn executed(&mut self, choices: &[Cpu], outcome: Option<Outcome>, stats: &Stats) -> bool;

    /// The exploration starts again from nothing: forget what was counted.
    fn restarted(&mut self) {}
}

/// What is known about the whole exploration.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stats {
    /// Executions, those before a restart included.
    pub started: u64,
    /// Whether a branch was not taken because of the preemption bound.
    pub refused: bool,
    /// Part of the tree that is done.
    pub fraction: f64,
    /// Estimate from random descents: sum of the sizes and their number.
    pub descents: (f64, u64),
}

/// One scheduling point of the current path.
#[derive(Clone, Debug)]
struct Frame {
    /// Who runs here in the current execution.
    chosen: Cpu,
    /// Who made the step before, if any.
    current: Option<Cpu>,
    /// Who can run.
    enabled: Mask,
    /// Who must be run here, sooner or later.
    backtrack: Mask,
    /// Who need not be run here: everything that starts so was explored elsewhere.
    sleep: Mask,
    /// Who was run here, with everything that follows.
    explored: Mask,
    /// Who ended the execution with a splat when it was run here.
    stops: Mask,
    /// Who, among the sleeping and the explored, gives a lock back together with its step.
    unlockers: Mask,
    /// Preemptions before this point.
    preemptions: u32,
    /// Nobody could run here, and a timer fired: everything before happens before it.
    barrier: bool,
    /// The chosen step, to notice a model that is not deterministic.
    site: (&'static str, u32),
}

/// One step of the current execution.
#[derive(Clone, Debug)]
struct Event {
    cpu: Cpu,
    awaits: bool,
    unlocks: bool,
    /// Its touches: `touches[start..end]`. What it announced, even if it turned out to touch less
    /// (a compare that failed): before the step that made it fail it would have touched all of
    /// it, and the races of that order show up in no other execution.
    start: u32,
    end: u32,
    /// Index of the CPU's step before, plus one; 0 if none.
    before: u32,
    counter: Option<Counter>,
}

/// One touch of one object, linked to the CPU's earlier touch of the same object.
#[derive(Clone, Copy, Debug)]
struct Record {
    event: u32,
    touch: u32,
    prev: u32,
    obj: u32,
}

/// Last record of each CPU on one object.
#[derive(Clone, Copy, Debug)]
struct Heads {
    mask: Mask,
    last: [u32; CPU_NUMBERS],
}

/// A step that could not be made when nobody could run.
#[derive(Clone, Debug)]
struct Blocked {
    /// Number of steps before.
    at: u32,
    cpu: Cpu,
    awaits: bool,
    touches: Vec<Touch>,
    analysed: bool,
}

impl Blocked {
    fn new(at: u32, p: &Pending) -> Blocked {
        let touches = p.accesses.iter().map(Touch::of).collect();
        Blocked { at, cpu: p.cpu, awaits: p.awaits, touches, analysed: false }
    }
}

/// How a step is reversed.
#[derive(Clone, Copy)]
struct How {
    /// It waits for a condition, so a frame in which it is announced knows whether it can run.
    awaits: bool,
    /// It may end the execution in another order.
    may_stop: bool,
}

/// What a step conflicts with: per CPU, one past the index of the latest such step.
#[derive(Default)]
struct Conflicts {
    /// CPUs with a conflicting step that is not ordered before by the step's own past.
    mask: Mask,
    conflict: [u32; CPU_NUMBERS],
    /// CPUs that released a lock this step takes, and with which of their steps.
    released_mask: Mask,
    released: [u32; CPU_NUMBERS],
    /// It takes a lock, and conflicts with a step that is no acquisition (a trylock, an unlock
    /// that is a step).
    odd: bool,
}

/// The explorer. See the head of this file.
pub(crate) struct Dpor<'s> {
    config: Config,
    sink: &'s mut dyn Sink,
    pub stats: Stats,
    /// Set when there is nothing left to explore.
    pub exhausted: bool,
    /// The model did not do the same thing twice.
    pub broken: Option<String>,
    over: bool,
    /// The next execution starts from nothing.
    fresh: bool,

    frames: Vec<Frame>,
    choices: Vec<Cpu>,
    events: Vec<Event>,
    touches: Vec<Touch>,
    blocked: Vec<Blocked>,
    clocks: Vec<Clock>,
    records: Vec<Record>,
    heads: Vec<Heads>,
    /// Last analysed step of each CPU, plus one.
    last: [u32; CPU_NUMBERS],
    /// Objects that were locks in some execution.
    locks: Vec<bool>,
    /// Objects that a step which took a lock touched besides: the memory that the lock lies in.
    homes: Vec<bool>,
    counters: Counters,
    /// Primitives and lines at which some step ended an execution.
    stop_sites: Vec<(&'static str, u32)>,
    new_stop_site: bool,

    /// Steps of this execution so far.
    depth: usize,
    /// Steps taken over from the execution before.
    kept: usize,
    /// The steps that could not be made at the last scheduling point.
    disabled: Vec<Blocked>,
    barrier_next: bool,
    ending: Option<Ending>,
    all_finished: bool,
    rng: u64,
}

impl<'s> Dpor<'s> {
    pub fn new(config: Config, sink: &'s mut dyn Sink) -> Dpor<'s> {
        let rng = config.descents.map_or(0, |(_, seed)| seed);
        Dpor {
            counters: Counters::new(config.dependence),
            stop_sites: Vec::new(),
            new_stop_site: false,
            config,
            sink,
            stats: Stats::default(),
            exhausted: false,
            broken: None,
            over: false,
            fresh: true,
            frames: Vec::new(),
            choices: Vec::new(),
            events: Vec::new(),
            touches: Vec::new(),
            blocked: Vec::new(),
            clocks: Vec::new(),
            records: Vec::new(),
            heads: Vec::new(),
            last: [0; CPU_NUMBERS],
            locks: Vec::new(),
            homes: Vec::new(),
            depth: 0,
            kept: 0,
            disabled: Vec::new(),
            barrier_next: false,
            ending: None,
            all_finished: false,
            rng,
        }
    }

    /// Forgets everything from step `n` on.
    fn truncate(&mut self, n: usize) {
        self.unanalyse(n);
        if let Some(e) = self.events.get(n) {
            self.touches.truncate(e.start as usize);
        }
        self.events.truncate(n);
        self.blocked.retain(|b| b.at as usize <= n);
    }

    /// Takes back what [`Dpor::analyse`] knows from step `n` on.
    fn unanalyse(&mut self, n: usize) {
        while let Some(r) = self.records.last().copied() {
            if (r.event as usize) < n {
                break;
            }
            let cpu = self.events[r.event as usize].cpu;
            let heads = &mut self.heads[r.obj as usize];
            heads.last[cpu as usize] = r.prev;
            if r.prev == NIL {
                heads.mask &= !bit(cpu);
            }
            self.records.pop();
        }
        for j in (n..self.clocks.len()).rev() {
            let e = &self.events[j];
            self.last[e.cpu as usize] = e.before;
        }
        self.clocks.truncate(n);
    }

    fn forget_everything(&mut self) {
        self.truncate(0);
        self.blocked.clear();
        self.frames.clear();
        self.choices.clear();
    }

    fn random(&mut self, below: u32) -> u32 {
        // splitmix64: the estimate needs no better one.
        self.rng = self.rng.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.rng;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 32) as u32 % below
    }

    /// Opens the frame of a scheduling point that was not there before and chooses.
    fn open_frame(&mut self, pending: &[Pending], current: Option<Cpu>) -> Option<Cpu> {
        let at = self.depth;
        let mut enabled: Mask = 0;
        let mut present: Mask = 0;
        for p in pending {
            present |= bit(p.cpu);
            if p.enabled {
                enabled |= bit(p.cpu);
            }
        }
        let mut sleep: Mask = 0;
        let mut unlockers: Mask = 0;
        let mut preemptions = 0;
        if at > 0 {
            self.keep_vanished_timers(at - 1, present);
            let before = &self.frames[at - 1];
            preemptions = before.preemptions
                + u32::from(is_preemption(before.current, before.enabled, before.chosen));
            if self.config.preemptions_max.is_none() {
                // A step that ends the execution conflicts with everything: it wakes up.
                let candidates = (before.sleep | before.explored)
                    & !bit(before.chosen)
                    & !before.stops
                    & present;
                if candidates != 0 {
                    let unlocking = before.unlockers;
                    for p in pending {
                        if candidates & bit(p.cpu) != 0
                            && !self.wakes(p, unlocking & bit(p.cpu) != 0)
                        {
                            sleep |= bit(p.cpu);
                        }
                    }
                    unlockers = unlocking & sleep;
                }
            }
        }
        let can = enabled & !sleep;
        let chosen = if let Some(&cpu) = self.config.prefix.get(at) {
            if enabled & bit(cpu) == 0 {
                self.broken = Some(format!("CPU {cpu} cannot run at step {at} of the prefix"));
                return None;
            }
            cpu
        } else if can == 0 {
            return None;
        } else if self.config.descents.is_some() {
            let n = self.random(can.count_ones());
            cpus(can).nth(n as usize).unwrap_or(0)
        } else {
            match current {
                // Going on without a switch gives the shorter interleavings.
                Some(c) if can & bit(c) != 0 => c,
                _ => can.trailing_zeros() as Cpu,
            }
        };
        self.frames.push(Frame {
            chosen,
            current,
            enabled,
            backtrack: bit(chosen),
            sleep,
            explored: 0,
            stops: 0,
            unlockers,
            preemptions,
            barrier: self.barrier_next,
            site: site_of(pending, chosen),
        });
        self.choices.push(chosen);
        Some(chosen)
    }

    /// Remembers who could not run, in case the execution ends with the step that follows.
    fn note_disabled(&mut self, pending: &[Pending]) {
        self.disabled.clear();
        for p in pending.iter().filter(|p| !p.enabled) {
            self.disabled.push(Blocked::new(0, p));
        }
    }

    /// A timer that was cancelled by the sleeper's step can only fire before that step, and since
    /// it never shows up as a step of this execution, no race would say so.
    fn keep_vanished_timers(&mut self, at: usize, present: Mask) {
        let fixed = self.config.prefix.len();
        let f = &mut self.frames[at];
        let vanished = f.enabled & !present & TIMERS & !bit(f.chosen);
        if at >= fixed {
            f.backtrack |= vanished;
        }
    }

    /// Whether the last step conflicts with the announced step of a sleeping CPU.
    fn wakes(&self, p: &Pending, unlocks: bool) -> bool {
        let Some(e) = self.events.last() else { return true };
        for a in &self.touches[e.start as usize..e.end as usize] {
            if unlocks && !a.kind.is_lock() {
                // The sleeper would give back a lock, unannounced. Does this step look at the
                // lock, or free the memory that it lies in?
                let lock = flag(&self.locks, a.obj);
                let home = a.kind != Kind::Read && flag(&self.homes, a.obj);
                if lock || home {
                    return true;
                }
            }
            for b in &p.accesses {
                let b = Touch::of(b);
                if !depends(self.config.dependence, a, &b) {
                    continue;
                }
                let commute = !self.counters.ever_unsafe(a.obj)
                    && locally_commute(self.config.dependence, a, e.counter, &b);
                if !commute {
                    return true;
                }
            }
        }
        false
    }

    /// Finds the races of this execution and notes in the frames what to run for each.
    ///
    /// Steps that the execution shares with the one before were analysed then, unless a counter
    /// commutes in the one and not in the other.
    fn analyse(&mut self, ending: Option<Ending>) {
        let complete = ending.is_some_and(|e| e != Ending::Pruned);
        let changed = {
            let events = self
                .events
                .iter()
                .map(|e| (e.cpu, &self.touches[e.start as usize..e.end as usize], e.counter));
            self.counters.judge(events, complete)
        };
        if changed {
            self.unanalyse(0);
            for b in &mut self.blocked {
                b.analysed = false;
            }
        }
        let stop = (ending == Some(Ending::Stopped) && !self.all_finished)
            .then(|| self.events.len().wrapping_sub(1));
        if stop.is_some_and(|s| s < self.events.len()) || ending == Some(Ending::Pruned) {
            // Whoever was blocked when the world ended is blocked for good. And what follows a
            // redundant execution was explored elsewhere, but not that a CPU which is blocked
            // here could have run before.
            for mut b in self.disabled.drain(..) {
                b.at = self.events.len() as u32;
                self.blocked.push(b);
            }
        }
        for j in self.clocks.len()..self.events.len() {
            self.race_blocked(j);
            self.race(j, stop == Some(j));
        }
        self.race_blocked(self.events.len());
        if let Some(last) = stop.filter(|&s| s < self.events.len()) {
            self.race_stop(last);
        }
        if complete && !self.frames.is_empty() && self.frames.len() == self.events.len() {
            self.keep_vanished_timers(self.frames.len() - 1, 0);
        }
    }

    /// The clock of `cpu` before its next step.
    fn past(&self, cpu: Cpu) -> Clock {
        let mut clock = match self.last[cpu as usize] {
            0 => [0; CPU_NUMBERS],
            n => self.clocks[n as usize - 1],
        };
        // A timer runs because its sleeper went to sleep.
        if let Some(n) = sleeper_of(cpu).map(|s| self.last[s as usize]).filter(|&n| n != 0) {
            join(&mut clock, &self.clocks[n as usize - 1]);
        }
        clock
    }

    /// Races of step `j`, and its clock.
    fn race(&mut self, j: usize, stops: bool) {
        let Event { cpu, awaits, start, end, .. } = self.events[j];
        let mut clock = self.past(cpu);
        if self.frames[j].barrier {
            for n in self.last.into_iter().filter(|&n| n != 0) {
                join(&mut clock, &self.clocks[n as usize - 1]);
            }
        }
        let past = clock;
        let found = self.conflicts(cpu, &past, start as usize, end as usize, None);
        let mut end_of_world = Conflicts::default();
        if stops {
            // It conflicts with the last step of everybody.
            for (q, (&last, &known)) in self.last.iter().zip(&past).enumerate() {
                if q != cpu as usize && last > known {
                    end_of_world.mask |= bit(q as Cpu);
                    end_of_world.conflict[q] = last;
                }
            }
        }
        self.join_conflicts(&found, &mut clock);
        self.join_conflicts(&end_of_world, &mut clock);
        let how = How { awaits, may_stop: self.may_stop(self.frames[j].site) };
        let before = clock;
        clock[cpu as usize] = j as u32 + 1;
        if awaits || found.odd {
            self.race_all(cpu, &past, start as usize, end as usize, None, j, &before, how);
        }
        if !awaits {
            self.race_conflicts(&found, cpu, j, &before, how);
        }
        self.race_conflicts(&end_of_world, cpu, j, &before, how);
        self.clocks.push(clock);
        self.last[cpu as usize] = j as u32 + 1;
        for t in start..end {
            let obj = self.touches[t as usize].obj;
            let heads = heads_mut(&mut self.heads, obj);
            let prev = heads.last[cpu as usize];
            heads.last[cpu as usize] = self.records.len() as u32;
            heads.mask |= bit(cpu);
            self.records.push(Record { event: j as u32, touch: t, prev, obj });
        }
    }

    /// Races of the steps that were blocked after `at` steps: what they wait for could have gone
    /// the other way, and no later step of theirs says so if this is a deadlock.
    fn race_blocked(&mut self, at: usize) {
        for b in 0..self.blocked.len() {
            if self.blocked[b].at as usize != at || self.blocked[b].analysed {
                continue;
            }
            self.blocked[b].analysed = true;
            let touches = std::mem::take(&mut self.blocked[b].touches);
            let Blocked { cpu, awaits, .. } = self.blocked[b];
            let past = self.past(cpu);
            let found = self.conflicts(cpu, &past, 0, 0, Some(&touches));
            let mut clock = past;
            self.join_conflicts(&found, &mut clock);
            let how = How { awaits, may_stop: !self.stop_sites.is_empty() };
            if awaits || found.odd {
                self.race_all(cpu, &past, 0, 0, Some(&touches), at, &clock, how);
            }
            if !awaits {
                self.race_conflicts(&found, cpu, at, &clock, how);
            }
            self.blocked[b].touches = touches;
        }
    }

    /// The step that ended the execution kept everybody else from running.
    ///
    /// What it will be elsewhere, a step cannot tell: the same one may end one execution and pass
    /// in another. So its site is remembered (see [`Dpor::reverse`]), and the exploration starts
    /// again, since reversals before this one did not know.
    fn race_stop(&mut self, last: usize) {
        let fixed = self.config.prefix.len();
        let site = self.frames[last].site;
        if !self.may_stop(site) {
            self.stop_sites.push(site);
            self.new_stop_site = true;
        }
        let f = &mut self.frames[last];
        f.stops |= bit(f.chosen);
        if last >= fixed {
            f.backtrack |= f.enabled;
        }
    }

    fn may_stop(&self, site: (&'static str, u32)) -> bool {
        self.stop_sites.iter().any(|s| is_same_site(*s, site))
    }

    /// What a step conflicts with, among the steps that its CPU's past does not order before it.
    ///
    /// Only the latest such step of each CPU can be in a race: the CPU's earlier ones happen
    /// before it. For a lock, the acquisition races and the release orders: the steps between
    /// them cannot change places with this one.
    fn conflicts(
        &self,
        cpu: Cpu,
        past: &Clock,
        start: usize,
        end: usize,
        blocked: Option<&[Touch]>,
    ) -> Conflicts {
        let touches = blocked.unwrap_or(&self.touches[start..end]);
        let mut found = Conflicts::default();
        let mut acquired: Clock = [0; CPU_NUMBERS];
        for t in touches {
            let Some(heads) = self.heads.get(t.obj as usize) else { continue };
            for q in cpus(heads.mask & !bit(cpu)) {
                let q = q as usize;
                let mut released = 0;
                let mut at = heads.last[q];
                while at != NIL {
                    let r = self.records[at as usize];
                    if r.event < past[q] {
                        break;
                    }
                    let other = &self.touches[r.touch as usize];
                    match self.relation(t, other) {
                        Relation::None => {}
                        Relation::Release => {
                            if released == 0 {
                                released = r.event + 1;
                            }
                        }
                        Relation::Conflict => {
                            found.odd |= t.kind.is_acquire() && !other.kind.is_acquire();
                            if released == 0 {
                                found.mask |= bit(q as Cpu);
                                found.conflict[q] = found.conflict[q].max(r.event + 1);
                                break;
                            }
                            if other.kind.is_acquire() {
                                found.mask |= bit(q as Cpu);
                                acquired[q] = r.event + 1;
                                break;
                            }
                        }
                    }
                    at = r.prev;
                }
                if released != 0 {
                    found.released_mask |= bit(q as Cpu);
                    found.released[q] = found.released[q].max(released);
                }
            }
        }
        for q in cpus(found.mask & found.released_mask) {
            let q = q as usize;
            // What lies before the release is inside the section, except its acquisition.
            if acquired[q] != 0 && found.conflict[q] <= found.released[q] {
                found.conflict[q] = acquired[q];
            }
        }
        found
    }

    fn relation(&self, t: &Touch, other: &Touch) -> Relation {
        match relation(self.config.dependence, t, other) {
            Relation::Conflict if t.kind.is_change() && other.kind.is_change() => {
                if self.counters.commute(t, other) {
                    Relation::None
                } else {
                    Relation::Conflict
                }
            }
            r => r,
        }
    }

    fn join_conflicts(&self, found: &Conflicts, clock: &mut Clock) {
        for q in cpus(found.mask) {
            join(clock, &self.clocks[found.conflict[q as usize] as usize - 1]);
        }
        for q in cpus(found.released_mask) {
            join(clock, &self.clocks[found.released[q as usize] as usize - 1]);
        }
    }

    /// Reverses each conflict that nothing else orders.
    fn race_conflicts(&mut self, found: &Conflicts, cpu: Cpu, j: usize, clock: &Clock, how: How) {
        for q in cpus(found.mask) {
            let i = found.conflict[q as usize] - 1;
            let ordered = |r: Cpu, by: &[u32; CPU_NUMBERS]| {
                self.clocks[by[r as usize] as usize - 1][q as usize] > i
            };
            let through = cpus(found.mask & !bit(q)).any(|r| ordered(r, &found.conflict))
                || cpus(found.released_mask & !bit(q)).any(|r| ordered(r, &found.released));
            if !through {
                self.reverse(i as usize, cpu, j, clock, How { awaits: false, ..how });
            }
        }
    }

    /// Reverses a waiting step with every conflicting step since its CPU's past, not only with
    /// the latest: the latest may be the one that made the condition true, and before an earlier
    /// one it may have been true as well.
    #[allow(clippy::too_many_arguments)] // one step, described
    fn race_all(
        &mut self,
        cpu: Cpu,
        past: &Clock,
        start: usize,
        end: usize,
        blocked: Option<&[Touch]>,
        j: usize,
        clock: &Clock,
        how: How,
    ) {
        let n = blocked.map_or(end - start, <[Touch]>::len);
        for k in 0..n {
            let t = blocked.map_or_else(|| self.touches[start + k], |b| b[k]);
            let Some(heads) = self.heads.get(t.obj as usize).copied() else { continue };
            for q in cpus(heads.mask & !bit(cpu)) {
                let mut at = heads.last[q as usize];
                while at != NIL {
                    let r = self.records[at as usize];
                    if r.event < past[q as usize] {
                        break;
                    }
                    let other = self.touches[r.touch as usize];
                    if self.relation(&t, &other) == Relation::Conflict {
                        self.reverse(r.event as usize, cpu, j, clock, How { awaits: true, ..how });
                    }
                    at = r.prev;
                }
            }
        }
    }

    /// Notes in the frame before step `i` that something has to run there with which step `j` (of
    /// `cpu`, with everything that `clock` says happens before it) can come first.
    ///
    /// The steps between that do not depend on `i`, then `j`, are a way to do so, and everybody
    /// who can make the first step of it (its *initials*) is as good.
    ///
    /// Unless `j` may end the execution when it comes before `i`: then it matters which of the
    /// steps between come before it, and only those count that it cannot do without.
    fn reverse(&mut self, i: usize, cpu: Cpu, j: usize, clock: &Clock, how: How) {
        if i < self.config.prefix.len() {
            return;
        }
        let first = self.events[i].cpu as usize;
        let bound = i as u32;
        let mut seen: Mask = 0;
        let mut initials: Mask = 0;
        let mut free = true;
        for k in i + 1..j {
            let c = &self.clocks[k];
            if c[first] > bound {
                continue;
            }
            let by = self.events[k].cpu;
            if clock[by as usize] > k as u32 {
                free = false;
            } else if how.may_stop {
                continue;
            }
            if seen & bit(by) == 0 {
                seen |= bit(by);
                if c.iter().filter(|&&n| n > bound).count() == 1 {
                    initials |= bit(by);
                }
            }
        }
        if free && seen & bit(cpu) == 0 {
            // The step is announced in frame `i` already, so the frame knows whether it can run.
            if how.awaits && self.frames[i].enabled & bit(cpu) == 0 {
                return;
            }
            initials |= bit(cpu);
        }
        let frame = &mut self.frames[i];
        let covered = frame.backtrack | frame.sleep | frame.explored;
        if initials & covered != 0 {
            return;
        }
        let can = initials & frame.enabled;
        let add = if can & bit(cpu) != 0 {
            bit(cpu)
        } else if can != 0 {
            can & can.wrapping_neg()
        } else {
            // Conservative: some way leads there, and one of these is its first step.
            frame.enabled
        };
        frame.backtrack |= add;
        if self.config.preemptions_max.is_some() {
            self.reverse_without_preemption(i, add);
        }
    }

    /// Under a preemption bound the switch may be refused where the race is; it costs nothing
    /// where the CPU that runs there was switched to (Coons, Musuvathi, McKinley, "Bounded
    /// partial-order reduction", OOPSLA 2013).
    fn reverse_without_preemption(&mut self, i: usize, add: Mask) {
        let mut start = i;
        while start > self.config.prefix.len()
            && self.frames[start].current == Some(self.frames[start].chosen)
        {
            start -= 1;
        }
        let f = &mut self.frames[start];
        let can = add & f.enabled;
        f.backtrack |= if can != 0 { can } else { f.enabled };
    }

    /// Goes to the deepest frame where somebody is left to run. False if there is none.
    fn branch(&mut self) -> bool {
        while let Some(at) = self.frames.len().checked_sub(1) {
            let unlocks = self.events.get(at).is_some_and(|e| e.unlocks);
            let f = &mut self.frames[at];
            f.explored |= bit(f.chosen);
            if unlocks {
                f.unlockers |= bit(f.chosen);
            }
            let mut left = f.backtrack & f.enabled & !f.explored & !f.sleep;
            if let Some(max) = self.config.preemptions_max {
                for c in cpus(left) {
                    let cost = u32::from(is_preemption(f.current, f.enabled, c));
                    if f.preemptions + cost > max {
                        self.stats.refused = true;
                        left &= !bit(c);
                    }
                }
            }
            if at >= self.config.prefix.len() && left != 0 {
                f.chosen = left.trailing_zeros() as Cpu;
                let chosen = f.chosen;
                f.site = ("", 0);
                self.choices.truncate(at);
                self.choices.push(chosen);
                self.truncate(at);
                return true;
            }
            self.frames.pop();
        }
        false
    }

    /// How much of the tree lies behind, if every branch of a frame were of one size.
    fn fraction(&self) -> f64 {
        let mut done = 0.0;
        let mut weight = 1.0;
        for f in &self.frames {
            let all = (f.backtrack & f.enabled & !f.sleep) | f.explored | bit(f.chosen);
            let n = f64::from(all.count_ones());
            done += weight * f64::from((f.explored & !bit(f.chosen)).count_ones()) / n;
            weight /= n;
        }
        done
    }

    fn descend_again(&mut self) -> bool {
        if self.stats.started > 0 {
            let size: f64 = self
                .frames
                .iter()
                .map(|f| f64::from((f.backtrack & f.enabled).count_ones().max(1)))
                .product();
            self.stats.descents.0 += size;
            self.stats.descents.1 += 1;
        }
        self.forget_everything();
        self.config.descents.is_some_and(|(n, _)| self.stats.descents.1 < n)
    }
}

fn heads_mut(heads: &mut Vec<Heads>, obj: u32) -> &mut Heads {
    let at = obj as usize;
    if at >= heads.len() {
        heads.resize(at + 1, Heads { mask: 0, last: [NIL; CPU_NUMBERS] });
    }
    &mut heads[at]
}

/// Mostly the very same text, so that its bytes need not be looked at.
fn is_same_site(a: (&'static str, u32), b: (&'static str, u32)) -> bool {
    a.1 == b.1 && (std::ptr::eq(a.0, b.0) || a.0 == b.0)
}

fn flag(of: &[bool], obj: u32) -> bool {
    of.get(obj as usize).copied().unwrap_or(false)
}

fn raise(of: &mut Vec<bool>, obj: u32) {
    let at = obj as usize;
    if at >= of.len() {
        of.resize(at + 1, false);
    }
    of[at] = true;
}

/// Whether choosing `chosen` takes the processor away from a CPU that could go on.
pub(crate) fn is_preemption(current: Option<Cpu>, enabled: Mask, chosen: Cpu) -> bool {
    current.is_some_and(|c| c != chosen && enabled & bit(c) != 0)
}

fn site_of(pending: &[Pending], cpu: Cpu) -> (&'static str, u32) {
    pending.iter().find(|p| p.cpu == cpu).map_or(("", 0), |p| (p.op, p.site.line))
}

impl Pick for Dpor<'_> {
    fn pick(&mut self, pending: &[Pending], current: Option<Cpu>) -> Option<Cpu> {
        let at = self.depth;
        let chosen = if at < self.choices.len() {
            let cpu = self.choices[at];
            let site = site_of(pending, cpu);
            let f = &mut self.frames[at];
            if f.site.0.is_empty() {
                f.site = site;
            }
            let enabled = pending.iter().any(|p| p.cpu == cpu && p.enabled);
            if !enabled || !is_same_site(f.site, site) {
                self.broken = Some(format!(
                    "the model is not deterministic: at step {at} CPU {cpu} should make \
                     `{}` again, but its next step is `{}`{}",
                    f.site.0,
                    site.0,
                    if enabled { "" } else { ", disabled" }
                ));
                return None;
            }
            cpu
        } else {
            match self.open_frame(pending, current) {
                Some(cpu) => cpu,
                None => {
                    self.note_disabled(pending);
                    return None;
                }
            }
        };
        self.barrier_next = false;
        self.depth += 1;
        if at == self.events.len() {
            self.note_disabled(pending);
            let start = self.touches.len() as u32;
            let step = pending.iter().find(|p| p.cpu == chosen);
            self.touches.extend(step.iter().flat_map(|p| &p.accesses).map(Touch::of));
            let end = self.touches.len() as u32;
            self.events.push(Event {
                cpu: chosen,
                awaits: step.is_some_and(|p| p.awaits),
                unlocks: false,
                start,
                end,
                before: 0,
                counter: None,
            });
        }
        Some(chosen)
    }

    fn done(&mut self, done: &Done) {
        if self.depth <= self.kept || self.depth != self.events.len() {
            return;
        }
        let Some(e) = self.events.last_mut() else { return };
        match done.counter {
            Some(c) if c.before >= 1 && c.after == 0 => {
                self.counters.met_zero(c.obj, &mut self.touches[e.start as usize..]);
            }
            Some(_) => {}
            // A change was announced and not made: the counter's owner was not where the step had
            // been announced to find it.
            None => {
                let made = self.counters.made(&self.touches[e.start as usize..]);
                self.touches.truncate(e.start as usize + made);
                e.end = self.touches.len() as u32;
            }
        }
        let touches = &self.touches[e.start as usize..];
        if touches.iter().any(|t| t.kind.is_acquire()) {
            for t in touches {
                let of = if t.kind.is_acquire() { &mut self.locks } else { &mut self.homes };
                raise(of, t.obj);
            }
        }
        e.counter = done.counter;
    }

    fn unlocked(&mut self, cpu: Cpu, obj: u32, key: u64) {
        if self.depth <= self.kept || self.depth != self.events.len() {
            return;
        }
        // The release has the range of the acquisition that it ends, and touches the memory that
        // the lock lies in as the acquisition did.
        let Some(taken) = self.events.iter().rev().filter(|e| e.cpu == cpu).find_map(|e| {
            let range = e.start as usize..e.end as usize;
            let is = |t: &Touch| t.obj == obj && t.key == key && t.kind.is_acquire();
            self.touches[range.clone()].iter().any(is).then_some(range)
        }) else {
            return;
        };
        for i in taken {
            let t = self.touches[i];
            let kind = match t.kind {
                Kind::Lock if t.obj == obj => Kind::Unlock,
                Kind::LockShared if t.obj == obj => Kind::UnlockShared,
                Kind::Read => Kind::Read,
                _ => continue,
            };
            self.touches.push(Touch { kind, ..t });
        }
        let Some(e) = self.events.last_mut() else { return };
        e.end = self.touches.len() as u32;
        e.unlocks = true;
    }

    fn stuck(&mut self, pending: &[Pending]) {
        self.barrier_next = true;
        let at = self.depth as u32;
        if self.blocked.iter().any(|b| b.at == at) {
            return;
        }
        self.blocked.extend(pending.iter().map(|p| Blocked::new(at, p)));
    }

    fn quiescent(&mut self) {
        self.all_finished = true;
    }

    fn finished(&mut self, ending: Ending) {
        self.ending = Some(ending);
    }
}

impl Explore for Dpor<'_> {
    fn next_execution(&mut self) -> bool {
        if self.over || self.broken.is_some() {
            return false;
        }
        if self.config.descents.is_some() {
            if !self.descend_again() {
                return false;
            }
        } else if !std::mem::take(&mut self.fresh) && !self.branch() {
            self.exhausted = true;
            self.over = true;
            return false;
        }
        if self.stats.started >= self.config.executions_max {
            self.over = true;
            return false;
        }
        self.stats.started += 1;
        self.depth = 0;
        self.kept = self.events.len();
        self.barrier_next = false;
        self.ending = None;
        self.all_finished = false;
        true
    }

    fn outcome(&mut self, outcome: Option<Outcome>) {
        if self.broken.is_some() {
            return;
        }
        // Steps that were announced and not reported did not happen.
        let ending = match &outcome {
            Some(o) => Some(o.ending),
            None => Some(Ending::Pruned),
        };
        self.link();
        self.analyse(ending);
        if self.stats.started % 1024 == 0 {
            self.stats.fraction = self.fraction();
        }
        if !self.sink.executed(&self.choices, outcome, &self.stats) {
            self.over = true;
        } else if (self.counters.take_restart() | std::mem::take(&mut self.new_stop_site))
            && self.config.descents.is_none()
        {
            self.forget_everything();
            self.fresh = true;
            self.sink.restarted();
        }
    }
}

impl Dpor<'_> {
    /// Fills in each new step's link to the CPU's step before.
    fn link(&mut self) {
        let mut last = self.last;
        for j in self.clocks.len()..self.events.len() {
            let e = &mut self.events[j];
            e.before = last[e.cpu as usize];
            last[e.cpu as usize] = j as u32 + 1;
        }
    }
}
