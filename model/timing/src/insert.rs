//! What a CPU does from the beginning of a list to the end of its SYNC.
//!
//! The phases are the steps of `arm_smmu_cmdq_issue_cmdlist()` that meet another agent; what lies
//! between two of them is time only. A phase is what is done when the CPU's event comes, so after
//! `line.take()` it is what is done once the CPU has the line.
//!
//! Source: commit 587e6c10a7ce, drivers/iommu/arm/arm-smmu-v3/arm-smmu-v3.c.

use crate::agenda::Row;
use crate::device::{line_of, List, COMMANDS_PER_LINE};
use crate::line::{Agent, SMMU};
use crate::machine::Machine;
use crate::workload::{Completion, Insertion, LockForm};
use crate::{Ps, NS};

/// What a CPU does at its next event.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    /// Begins an invalidation.
    Begin,
    /// Works: asks for the line of its page-table entry.
    PteAsk,
    /// Works: has it, to read the entry.
    PteRead,
    /// Works: has it, to write the entry.
    PteWrite,
    /// Begins to insert a list.
    Insert,
    /// Has the llq word: cmpxchg, or fetch_add.
    Allocate,
    /// Has written its entries.
    Written,
    /// Has the lock's word: `arm_smmu_cmdq_shared_lock()`.
    SharedLock,
    /// Has the barrier behind it.
    Mark,
    /// Has the word of the valid map.
    Marked,
    /// Owner: has read that `owner_prod` is where its list starts.
    Turn,
    /// Owner: has the llq word, to clear OWNED.
    Gather,
    /// Owner, fetch_add: has the lock's word, for all that it gathered.
    GatherLock,
    /// Owner: has seen all valid bits, and written PROD.
    Published,
    /// Owner: has the line of `owner_prod`.
    HandOn,
    /// Has seen the end of its SYNC.
    Synced,
    /// Has the lock's word: `arm_smmu_cmdq_shared_tryunlock()`.
    TryUnlock,
    /// Last holder: has the llq word, to store CONS.
    StoreCons,
    /// Has the lock's word, to give it back.
    Unlock,
    /// No room: has the lock's word, `arm_smmu_cmdq_exclusive_trylock()`.
    TryExclusive,
    /// Exclusive holder: has read CONS.
    ConsRead,
    /// Exclusive holder: has the llq word, to store CONS.
    ConsKnown,
    /// Exclusive holder: has the lock's word, to give it back.
    ExclusiveUnlock,
    /// Has the spinlock's word: the cmpxchg of `queued_spin_lock()`.
    SpinTry,
    /// Has the spinlock's word: the second try of `queued_spin_lock_slowpath()`.
    SpinTryAgain,
    /// Has the spinlock's word: `xchg_tail()`.
    SpinTail,
    /// First in the queue: has read that the spinlock is free.
    SpinClaim,
    /// Has the spinlock.
    SpinHeld,
    /// Has the spinlock's word, to give it back.
    SpinRelease,
    /// Before 5.4: has written one command and PROD.
    PutOne,
}

/// What came of a try to get a place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Tried {
    /// It failed, and the CPU has asked for the line again.
    Again,
    /// It goes on with something else.
    Else,
}

impl Phase {
    /// Where an event of this phase is kept.
    #[inline]
    pub(crate) const fn row(self) -> Row {
        match self {
            Phase::Begin | Phase::PteAsk | Phase::Insert => Row::Far,
            Phase::Allocate
            | Phase::Gather
            | Phase::StoreCons
            | Phase::ConsKnown
            | Phase::SpinTry
            | Phase::SpinTryAgain
            | Phase::SpinTail
            | Phase::SpinRelease => Row::Contended,
            _ => Row::Near,
        }
    }
}

impl Machine<'_> {
    /// The CPU's event.
    pub(crate) fn step(&mut self, cpu: usize, now: Ps) {
        let queue = self.queue_of(cpu);
        let agent = cpu as Agent;
        match self.cpus[cpu].phase {
            Phase::Begin => self.begin(cpu, now),
            Phase::PteAsk => {
                let line = cpu / self.workload.pte_sharers as usize;
                let at = self.ptes[line].read(now, agent, &self.distances);
                self.at(cpu, Phase::PteRead, at);
            }
            Phase::PteRead => {
                // Others may take the line away between the read and the write.
                let line = &mut self.ptes[cpu / self.workload.pte_sharers as usize];
                let at = line.take(now, agent, &self.distances);
                self.at(cpu, Phase::PteWrite, at);
            }
            Phase::PteWrite => {
                self.cpus[cpu].put += 1;
                if self.cpus[cpu].put == 2 {
                    self.begin(cpu, now)
                } else {
                    self.work(cpu, now)
                }
            }
            Phase::Insert => self.insert(cpu, queue, now),
            Phase::Allocate => self.allocates(cpu, now),
            Phase::Written => {
                // fetch_add: the owner takes the lock for everybody that it gathers.
                if self.cpus[cpu].sync && self.workload.insertion != Insertion::FetchAdd {
                    let at = self.take_lock(cpu, queue, now);
                    return self.at(cpu, Phase::SharedLock, at);
                }
                self.at(cpu, Phase::Mark, now + self.costs.wmb);
            }
            Phase::SharedLock => self.shared_lock(cpu, queue, now),
            Phase::Mark => {
                let at = self.queues[queue].valid.take(now, agent, &self.distances);
                self.at(cpu, Phase::Marked, at);
            }
            Phase::Marked => self.marked(cpu, queue, now),
            Phase::Turn => {
                let at = self.queues[queue].llq.take(now, agent, &self.distances);
                self.at(cpu, Phase::Gather, at);
            }
            Phase::Gather => self.gather(cpu, queue, now),
            Phase::GatherLock => self.gather_lock(cpu, queue, now),
            Phase::Published => {
                let prod = self.cpus[cpu].end;
                self.write_prod(queue, prod, now);
                let at = self.take_lock(cpu, queue, now);
                self.at(cpu, Phase::HandOn, at);
            }
            Phase::HandOn => {
                let q = &mut self.queues[queue];
                q.owner_prod = self.cpus[cpu].end;
                if let Some(next) = q.next_owner.take() {
                    let at = q.lock.read(now, next as Agent, &self.distances);
                    self.wake(next, at);
                }
                self.wait_for_sync(cpu, queue, now);
            }
            Phase::Synced if !self.combines() => self.end_list(cpu, now),
            Phase::Synced => {
                let at = self.read_lock(cpu, queue, now);
                self.at(cpu, Phase::TryUnlock, at);
            }
            Phase::TryUnlock => self.try_unlock(cpu, queue, now),
            Phase::StoreCons => {
                let cons = self.cpus[cpu].cons;
                self.store_cons(queue, cons, now);
                self.give_lock_back(cpu, queue, now);
            }
            Phase::Unlock => {
                self.queues[queue].holders -= 1;
                self.end_list(cpu, now);
            }
            Phase::TryExclusive => self.try_exclusive(cpu, queue, now),
            Phase::ConsRead => {
                self.cpus[cpu].cons = self.queues[queue].hw_cons;
                let at = self.queues[queue].llq.take(now, agent, &self.distances);
                self.at(cpu, Phase::ConsKnown, at);
            }
            Phase::ConsKnown => {
                let cons = self.cpus[cpu].cons;
                self.store_cons(queue, cons, now);
                let at = self.take_lock(cpu, queue, now);
                self.at(cpu, Phase::ExclusiveUnlock, at);
            }
            Phase::ExclusiveUnlock => self.exclusive_unlock(cpu, queue, now),
            Phase::SpinTry => self.spin_try(cpu, queue, Phase::SpinTryAgain, now),
            Phase::SpinTryAgain => self.spin_try(cpu, queue, Phase::SpinTail, now),
            Phase::SpinTail => self.spin_tail(cpu, queue, now),
            Phase::SpinClaim => {
                let q = &mut self.queues[queue];
                let at = q.spin.take(now, agent, &self.distances);
                self.at(cpu, Phase::SpinHeld, at);
            }
            Phase::SpinHeld => self.spin_held(cpu, queue, now),
            Phase::SpinRelease => self.spin_release(cpu, queue, now),
            Phase::PutOne => {
                let q = &mut self.queues[queue];
                let prod = q.prod;
                let at = self.take_spin(cpu, queue, now);
                self.write_prod(queue, prod, now);
                self.at(cpu, Phase::SpinRelease, at);
            }
        }
    }

    /// Steps 0 and 1: asks for the word that hands out places.
    pub(crate) fn insert(&mut self, cpu: usize, queue: usize, now: Ps) {
        if !self.combines() {
            self.cpus[cpu].put = 0;
            return self.spin_ask(cpu, queue, now);
        }
        let at = self.queues[queue].llq.read(now, cpu as Agent, &self.distances);
        self.at(cpu, Phase::Allocate, at);
    }

    /// Asks for the line of `lock`, which is that of `owner_prod`, too.
    ///
    /// The next owner spins on it: a CPU that takes it away makes the owner fetch it back.
    fn take_lock(&mut self, cpu: usize, queue: usize, now: Ps) -> Ps {
        let q = &mut self.queues[queue];
        let at = q.lock.take(now, cpu as Agent, &self.distances);
        if let Some(spins) = q.next_owner.filter(|s| *s != cpu && q.respun <= now) {
            q.respun = q.lock.read(now, spins as Agent, &self.distances);
        }
        at
    }

    /// Asks for it to read.
    fn read_lock(&mut self, cpu: usize, queue: usize, now: Ps) -> Ps {
        self.queues[queue].lock.read(now, cpu as Agent, &self.distances)
    }

    /// Entries that the current list needs.
    fn needs(&self, cpu: usize) -> u64 {
        let c = &self.cpus[cpu];
        u64::from(c.tlbis) + u64::from(c.atcs) + u64::from(c.sync)
    }

    fn has_room(&self, cpu: usize, queue: usize) -> bool {
        let q = &self.queues[queue];
        q.prod + self.needs(cpu) <= q.cons + u64::from(self.workload.entries)
    }

    /// Step 2 of this CPU, and of those behind it as long as nothing else happens: where many try,
    /// most events are tries that fail.
    fn allocates(&mut self, mut cpu: usize, mut now: Ps) {
        while self.allocate(cpu, self.queue_of(cpu), now) == Tried::Again {
            let next = self.agenda.next_contended();
            let Some(next) = next.filter(|next| self.cpus[next.1].phase == Phase::Allocate) else {
                return;
            };
            (now, cpu) = next;
            self.agenda.take(Row::Contended, cpu);
            self.out.events += 1;
        }
    }

    /// Step 2, with the line of the llq word here.
    ///
    /// Whatever changed the word since the snapshot makes the cmpxchg fail: another list, OWNED
    /// cleared, CONS stored. The value that it returns is the next snapshot. The next attempt
    /// follows at once: it finds the line still here if nobody waits for it, and otherwise only
    /// with the chance of `retry_wins_permille`. The first attempt follows a READ_ONCE(), which
    /// leaves copies of the line elsewhere, so it has to ask again.
    #[inline(always)]
    fn allocate(&mut self, cpu: usize, queue: usize, now: Ps) -> Tried {
        let version = self.queues[queue].version;
        if self.workload.insertion == Insertion::FetchAdd {
            if !self.has_room(cpu, queue) {
                self.no_room(cpu, queue, now);
                return Tried::Else;
            }
            self.allocated(cpu, queue, now);
            return Tried::Else;
        }
        let seen = self.cpus[cpu].snapshot.replace(version);
        if seen.is_some() {
            self.out.cas += 1;
        }
        if seen == Some(version) {
            self.out.cas_won += 1;
            self.allocated(cpu, queue, now);
            return Tried::Else;
        }
        if !self.has_room(cpu, queue) {
            self.no_room(cpu, queue, now);
            return Tried::Else;
        }
        let left_alone = self.queues[queue].llq.is_left_alone(now);
        let falls_back = self.workload.insertion == Insertion::SpinFallback
            && seen.is_some()
            && !self.cpus[cpu].spinning;
        if falls_back {
            self.spin_ask(cpu, queue, now);
            return Tried::Else;
        }
        if left_alone || (seen.is_some() && self.seed.chance(self.costs.retry_wins)) {
            self.out.cas += 1;
            self.out.cas_won += 1;
            let at = match left_alone {
                true => self.queues[queue].llq.take(now, cpu as Agent, &self.distances),
                false => now + self.costs.hit,
            };
            self.queues[queue].llq.keep_until(at);
            self.allocated(cpu, queue, at);
            return Tried::Else;
        }
        let at = self.queues[queue].llq.take(now, cpu as Agent, &self.distances);
        self.at(cpu, Phase::Allocate, at);
        Tried::Again
    }

    /// Steps 3 and 4: the places are ours from `now` on.
    fn allocated(&mut self, cpu: usize, queue: usize, now: Ps) {
        let needs = self.needs(cpu);
        let q = &mut self.queues[queue];
        let c = &mut self.cpus[cpu];
        q.version += 1;
        c.start = q.prod;
        c.end = q.prod + needs;
        q.prod = c.end;
        c.owner = !std::mem::replace(&mut q.owned, true);
        c.group = q.groups_from + q.groups.len() as u64 - 1;
        if let Some(pending) = q.groups.back_mut() {
            *pending += 1;
        }
        c.synced = None;
        let written = self.write_entries(cpu, queue, now);
        if std::mem::take(&mut self.cpus[cpu].spinning) {
            // The spinlock is given back first; the entries are written after that.
            let at = self.take_spin(cpu, queue, now);
            self.cpus[cpu].writing = written - now;
            return self.at(cpu, Phase::SpinRelease, at);
        }
        self.at(cpu, Phase::Written, written);
    }

    /// Puts the list into the ring: when its entries are written.
    ///
    /// Stores to several lines overlap, so the slowest line counts.
    fn write_entries(&mut self, cpu: usize, queue: usize, now: Ps) -> Ps {
        let agent = cpu as Agent;
        let q = &mut self.queues[queue];
        let c = &self.cpus[cpu];
        let ring = &mut q.front.ring;
        let mut slowest = 0;
        for line in c.start / COMMANDS_PER_LINE..=(c.end - 1) / COMMANDS_PER_LINE {
            let at = line_of(ring, line * COMMANDS_PER_LINE);
            let holder = &mut ring[at];
            slowest = slowest.max(self.distances.transfer(*holder, agent));
            *holder = agent;
        }
        q.ends_in_sync = c.sync;
        q.lists.push_back(List {
            start: c.start,
            tlbis: c.tlbis,
            atcs: c.atcs,
            sync: c.sync,
            cpu: agent,
            also: Vec::new(),
        });
        now + slowest + (c.end - c.start) * self.costs.entry
    }

    /// Step 5: `arm_smmu_cmdq_shared_lock()`
    fn shared_lock(&mut self, cpu: usize, queue: usize, now: Ps) {
        let q = &mut self.queues[queue];
        if q.exclusive {
            q.lock_waiters.push(cpu);
            self.cpus[cpu].lock_since.get_or_insert(now);
            return self.wait(cpu, Phase::SharedLock, now);
        }
        q.holders += 1;
        self.shared_locked(cpu, now);
        self.at(cpu, Phase::Mark, now + self.costs.wmb);
    }

    /// Has the shared lock: how long that took if it had to wait.
    fn shared_locked(&mut self, cpu: usize, now: Ps) {
        if let Some(since) = self.cpus[cpu].lock_since.take() {
            self.out.lock_waits.push(now - since);
        }
    }

    /// Step 6 is done; the owner goes on with step 7.
    fn marked(&mut self, cpu: usize, queue: usize, now: Ps) {
        let group = self.cpus[cpu].group;
        let q = &mut self.queues[queue];
        let pending = &mut q.groups[(group - q.groups_from) as usize];
        *pending -= 1;
        if *pending == 0 {
            let waits = |w: &usize| self.cpus[*w].group == group;
            if let Some(owner) = q.valid_waiter.filter(waits) {
                q.valid_waiter = None;
                let at = q.valid.read(now, owner as Agent, &self.distances);
                self.wake(owner, at + self.costs.mmio_write);
            }
        }
        if !self.cpus[cpu].owner {
            return self.wait_for_sync(cpu, queue, now);
        }
        let at = self.read_lock(cpu, queue, now);
        let q = &mut self.queues[queue];
        if q.owner_prod == self.cpus[cpu].start {
            return self.at(cpu, Phase::Turn, at);
        }
        q.next_owner = Some(cpu);
        self.wait(cpu, Phase::Turn, now);
    }

    /// Step 7b: OWNED is cleared, what stands before PROD now is ours to publish.
    fn gather(&mut self, cpu: usize, queue: usize, now: Ps) {
        let q = &mut self.queues[queue];
        q.version += 1;
        q.owned = false;
        self.cpus[cpu].end = q.prod;
        q.groups.push_back(0);
        if self.workload.insertion == Insertion::FetchAdd {
            let at = self.take_lock(cpu, queue, now);
            return self.at(cpu, Phase::GatherLock, at);
        }
        self.wait_for_valid(cpu, queue, now);
    }

    /// fetch_add: the shared lock, once for all SYNCs of the group.
    fn gather_lock(&mut self, cpu: usize, queue: usize, now: Ps) {
        let q = &mut self.queues[queue];
        if q.exclusive {
            q.lock_waiters.push(cpu);
            return self.wait(cpu, Phase::GatherLock, now);
        }
        let (from, to) = (self.cpus[cpu].start, self.cpus[cpu].end);
        let ours = q.lists.iter().rev().skip_while(|l| l.start >= to);
        q.holders += ours.take_while(|l| l.start >= from).filter(|l| l.sync).count() as u32;
        self.wait_for_valid(cpu, queue, now);
    }

    /// Step 7c.
    fn wait_for_valid(&mut self, cpu: usize, queue: usize, now: Ps) {
        let q = &mut self.queues[queue];
        // Groups are published in order: ours is the first that is still kept.
        let group = (self.cpus[cpu].group - q.groups_from) as usize;
        if q.groups[group] != 0 {
            q.valid_waiter = Some(cpu);
            return self.wait(cpu, Phase::Published, now);
        }
        while q.groups_from < self.cpus[cpu].group {
            q.groups.pop_front();
            q.groups_from += 1;
        }
        let at = q.valid.read(now, cpu as Agent, &self.distances);
        self.at(cpu, Phase::Published, at + self.costs.mmio_write);
    }

    /// Step 8.
    fn wait_for_sync(&mut self, cpu: usize, queue: usize, now: Ps) {
        if !self.cpus[cpu].sync {
            return self.end_list(cpu, now);
        }
        self.wait(cpu, Phase::Synced, now);
        if let Some(at) = self.cpus[cpu].synced.take() {
            let cons = self.queues[queue].hw_cons;
            self.complete_at(cpu, cons, at.max(now));
        }
    }

    /// The SYNC of a CPU is complete.
    pub(crate) fn complete(&mut self, cpu: usize, cons: u64, now: Ps) {
        match self.cpus[cpu].phase {
            Phase::Synced => self.complete_at(cpu, cons, now),
            _ => self.cpus[cpu].synced = Some(now),
        }
    }

    /// It waits: when it learns of that.
    fn complete_at(&mut self, cpu: usize, cons: u64, now: Ps) {
        let since = self.cpus[cpu].waits_since;
        let way = self.distances.surcharge(SMMU, cpu as Agent);
        let at = match self.completion {
            Completion::Msi => now + self.costs.msi_pull + way,
            Completion::Cons => polls_again(since, now, self.costs.mmio_read) + way,
            Completion::Sev => {
                self.cpus[cpu].slept += now - since;
                now + self.costs.event + self.costs.mmio_read + way
            }
        };
        self.cpus[cpu].cons = cons;
        self.cpus[cpu].synced = None;
        self.wake(cpu, at);
    }

    /// Step 9: `arm_smmu_cmdq_shared_tryunlock()`
    fn try_unlock(&mut self, cpu: usize, queue: usize, now: Ps) {
        let q = &mut self.queues[queue];
        if q.holders != 1 {
            return self.give_lock_back(cpu, queue, now);
        }
        if self.workload.insertion == Insertion::FetchAdd {
            // CONS is a word of its own there, beside the lock.
            let cons = self.cpus[cpu].cons;
            self.store_cons(queue, cons, now);
            return self.give_lock_back(cpu, queue, now);
        }
        let at = q.llq.take(now, cpu as Agent, &self.distances);
        self.at(cpu, Phase::StoreCons, at);
    }

    fn give_lock_back(&mut self, cpu: usize, queue: usize, now: Ps) {
        let q = &mut self.queues[queue];
        let at = q.lock.take(now, cpu as Agent, &self.distances);
        self.at(cpu, Phase::Unlock, at);
    }

    /// CONS in the llq word moves, and whoever waits for room looks again.
    fn store_cons(&mut self, queue: usize, cons: u64, now: Ps) {
        let q = &mut self.queues[queue];
        q.version += 1;
        q.cons = q.cons.max(cons);
        for cpu in std::mem::take(&mut q.room_waiters) {
            self.cpus[cpu].snapshot = None;
            let at = self.queues[queue].llq.read(now, cpu as Agent, &self.distances);
            self.wake(cpu, at);
        }
    }

    /// Step 1: `arm_smmu_cmdq_poll_until_not_full()`
    fn no_room(&mut self, cpu: usize, queue: usize, now: Ps) {
        self.out.full += 1;
        let at = self.take_lock(cpu, queue, now);
        self.at(cpu, Phase::TryExclusive, at);
    }

    fn try_exclusive(&mut self, cpu: usize, queue: usize, now: Ps) {
        let q = &mut self.queues[queue];
        if q.exclusive || q.holders != 0 {
            if q.prod < q.cons + u64::from(self.workload.entries) {
                // "Is the ring full?" is not the caller's question, so with some room but too
                // little it comes back at once (fixed by "Fix CMDQ timeout warning", Nov 2025).
                return self.insert(cpu, queue, now);
            }
            self.queues[queue].room_waiters.push(cpu);
            return self.wait(cpu, Phase::Allocate, now);
        }
        q.exclusive = true;
        self.at(cpu, Phase::ConsRead, now + self.costs.mmio_read);
    }

    fn exclusive_unlock(&mut self, cpu: usize, queue: usize, now: Ps) {
        let q = &mut self.queues[queue];
        q.exclusive = false;
        for waiter in std::mem::take(&mut q.lock_waiters) {
            let q = &mut self.queues[queue];
            let mut at = q.lock.read(now, waiter as Agent, &self.distances);
            let gathers = self.cpus[waiter].phase == Phase::GatherLock;
            if self.workload.lock == LockForm::StoreZero || gathers {
                // Its increment is gone: what it read is followed by a cmpxchg, and the exclusive
                // trylocks that wait for the line come first, unless it wins like a retry.
                if self.seed.chance(self.costs.retry_wins) {
                    at = now + self.costs.hit;
                }
                self.wake(waiter, at);
                continue;
            }
            q.holders += 1;
            self.shared_locked(waiter, now);
            self.at(waiter, Phase::Mark, at + self.costs.wmb);
        }
        self.cpus[cpu].snapshot = None;
        self.insert(cpu, queue, now);
    }

    /// Asks for the spinlock.
    fn spin_ask(&mut self, cpu: usize, queue: usize, now: Ps) {
        let at = self.take_spin(cpu, queue, now);
        self.at(cpu, Phase::SpinTry, at);
    }

    /// Tries to get it; otherwise goes on with `or_else`, which needs the word again.
    fn spin_try(&mut self, cpu: usize, queue: usize, or_else: Phase, now: Ps) {
        let q = &mut self.queues[queue];
        if q.spin_holder.is_none() && q.spin_queue.is_empty() {
            q.spin_holder = Some(cpu);
            return self.spin_held(cpu, queue, now);
        }
        let at = match or_else {
            // queued_spin_trylock() reads before it tries.
            Phase::SpinTryAgain => q.spin.read(now, cpu as Agent, &self.distances),
            _ => self.take_spin(cpu, queue, now),
        };
        self.at(cpu, or_else, at);
    }

    /// Asks for the line of the spinlock. The first in its queue spins on it and fetches it back, as
    /// the next owner does.
    fn take_spin(&mut self, cpu: usize, queue: usize, now: Ps) -> Ps {
        let q = &mut self.queues[queue];
        let at = q.spin.take(now, cpu as Agent, &self.distances);
        let first = q.spin_queue.front().copied();
        if let Some(spins) = first.filter(|s| *s != cpu && q.spin_respun <= now) {
            q.spin_respun = q.spin.read(now, spins as Agent, &self.distances);
        }
        at
    }

    /// Is in the queue now; the first of it spins on the word.
    ///
    /// Handing on the place of the first (the MCS nodes) overlaps with the holder's work.
    fn spin_tail(&mut self, cpu: usize, queue: usize, now: Ps) {
        let q = &mut self.queues[queue];
        if q.spin_holder.is_none() {
            q.spin_holder = Some(cpu);
            return self.at(cpu, Phase::SpinClaim, now);
        }
        q.spin_queue.push_back(cpu);
        self.wait(cpu, Phase::SpinClaim, now);
    }

    fn spin_held(&mut self, cpu: usize, queue: usize, now: Ps) {
        if self.workload.insertion == Insertion::SpinFallback {
            self.cpus[cpu].spinning = true;
            self.cpus[cpu].snapshot = None;
            let at = self.queues[queue].llq.read(now, cpu as Agent, &self.distances);
            return self.at(cpu, Phase::Allocate, at);
        }
        self.put_one(cpu, queue, now);
    }

    /// Has the word of the spinlock: the first in the queue gets it.
    fn spin_release(&mut self, cpu: usize, queue: usize, now: Ps) {
        let q = &mut self.queues[queue];
        q.spin_holder = q.spin_queue.pop_front();
        if let Some(next) = q.spin_holder {
            let at = q.spin.read(now, next as Agent, &self.distances);
            self.wake(next, at);
        }
        if self.workload.insertion == Insertion::SpinFallback {
            let writing = self.cpus[cpu].writing;
            return self.at(cpu, Phase::Written, now + writing);
        }
        self.one_is_put(cpu, queue, now);
    }
}

/// The end of the first poll of CONS that sees what happened at `now`, if polls began at `since`:
/// ten reads one after the other, then a pause of 1, 2, 4 … µs before the next ten.
///
/// Between two reads of a spin the end is taken to be one read later: the mean over all phases.
/// Source: `queue_poll()`, arm-smmu-v3.c.
fn polls_again(since: Ps, now: Ps, read: Ps) -> Ps {
    const SPINS: u64 = 10;
    let mut from = since;
    let mut pause = 1_000 * NS;
    loop {
        let spun = from + SPINS * read;
        if now < spun {
            return now.max(from) + read;
        }
        from = spun + pause;
        pause *= 2;
    }
}

/// The queue before 5.4.
impl Machine<'_> {
    /// `arm_smmu_cmdq_issue_cmd()`, with the spinlock held: one command, and PROD.
    ///
    /// A SYNC that directly follows a SYNC is left out if the workload says so: what was before
    /// the one is before the other.
    fn put_one(&mut self, cpu: usize, queue: usize, now: Ps) {
        let agent = cpu as Agent;
        let q = &mut self.queues[queue];
        let c = &mut self.cpus[cpu];
        let sync = c.put == c.tlbis + c.atcs;
        c.synced = None;
        if sync && self.workload.coalesce && q.ends_in_sync {
            self.out.syncs_saved += 1;
            match q.lists.back_mut() {
                Some(list) => list.also.push(agent),
                None => c.synced = Some(now),
            }
            let at = self.take_spin(cpu, queue, now);
            return self.at(cpu, Phase::SpinRelease, at);
        }
        if q.prod + 1 > q.cons + u64::from(self.workload.entries) {
            // queue_poll_cons() with the lock held.
            self.out.full += 1;
            q.cons = q.hw_cons;
            return self.at(cpu, Phase::SpinHeld, now + self.costs.mmio_read);
        }
        let start = q.prod;
        q.prod += 1;
        q.ends_in_sync = sync;
        let at = line_of(&q.front.ring, start);
        let holder = &mut q.front.ring[at];
        let way = self.distances.transfer(*holder, agent);
        *holder = agent;
        let tlbis = u32::from(c.put < c.tlbis);
        let atcs = u32::from(!sync) - tlbis;
        q.lists.push_back(List { start, tlbis, atcs, sync, cpu: agent, also: Vec::new() });
        let costs = &self.costs;
        let at = now + way + costs.entry + costs.wmb + costs.mmio_write;
        self.at(cpu, Phase::PutOne, at);
    }

    /// The lock is given back: the next command, or the wait.
    fn one_is_put(&mut self, cpu: usize, queue: usize, now: Ps) {
        self.cpus[cpu].put += 1;
        if u64::from(self.cpus[cpu].put) < self.needs(cpu) {
            return self.spin_ask(cpu, queue, now);
        }
        self.wait_for_sync(cpu, queue, now);
    }
}
