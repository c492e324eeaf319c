//! What the CPUs do.

use crate::profile::{check_entries, Profile};
use crate::{Ps, CPUS_MAX};

/// How commands get into the ring.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Insertion {
    /// `arm_smmu_cmdq_issue_cmdlist()` since 5.4: a cmpxchg loop on the llq word.
    /// Source: commit 587e6c10a7ce.
    Cmpxchg,
    /// John Garry's proposal: one fetch_add instead of the loop; the owner takes the shared lock
    /// for all that it gathered. Source: Message-ID 1598018062-175608-1, 21 Aug 2020.
    FetchAdd,
    /// Will Deacon's counter-proposal: a spinlock once a cmpxchg has failed.
    /// Source: thread of the mail of 23 Sep 2020 (37734fe9-8b67-…).
    SpinFallback,
    /// Before 5.4: `arm_smmu_cmdq_issue_cmd()` under a spinlock, a write of PROD per command.
    /// Source: the parent of commit 587e6c10a7ce.
    Spinlock,
}

impl Insertion {
    /// All of them.
    pub const ALL: [Insertion; 4] =
        [Insertion::Cmpxchg, Insertion::FetchAdd, Insertion::SpinFallback, Insertion::Spinlock];

    /// What it is called on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Insertion::Cmpxchg => "cmpxchg",
            Insertion::FetchAdd => "fetch_add",
            Insertion::SpinFallback => "spin_fallback",
            Insertion::Spinlock => "spinlock",
        }
    }
}

/// How a waiter learns that its SYNC is complete.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Completion {
    /// The SMMU overwrites the SYNC, the CPU polls that word.
    Msi,
    /// The CPU polls CONS.
    Cons,
    /// The CPU sleeps in WFE until the SMMU's SEV, then reads CONS.
    Sev,
}

impl Completion {
    /// All of them.
    pub const ALL: [Completion; 3] = [Completion::Msi, Completion::Cons, Completion::Sev];

    /// What it is called on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Completion::Msi => "msi",
            Completion::Cons => "cons",
            Completion::Sev => "sev",
        }
    }
}

/// Where an invalidation begins.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Path {
    /// In the host, one queue for all CPUs.
    Host,
    /// In the host, a queue per CPU (ECMDQ, or the host's VCMDQs).
    PerCpu,
    /// In a guest, trapped: a VM exit, then `IOMMU_HWPT_INVALIDATE` with arrays of at most
    /// `batch` commands, each with a SYNC, on the host's queue.
    Trapped,
    /// In a guest that owns a VCMDQ: no exit, CONS is polled.
    Vcmdq,
}

/// Which lists of one invalidation end in a SYNC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Lists {
    /// Each, as `arm_vsmmu_cache_invalidate()` and hardware with FORCE_SYNC.
    SyncEach,
    /// Only the last, as `arm_smmu_cmdq_batch_add()` otherwise: a batch that is full goes out
    /// without a SYNC when the next command comes.
    SyncLast,
}

/// `cmdq->lock`
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum LockForm {
    /// The exclusive unlock stores 0 and loses the increments of waiters.
    StoreZero,
    /// Since df180b1a4cc5: it clears the sign only.
    ClearSign,
}

/// What the CPUs do, and for how long.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Workload {
    /// CPUs that invalidate.
    pub cpus: u32,
    /// How commands get into the ring.
    pub insertion: Insertion,
    /// How a waiter learns of the end.
    pub completion: Completion,
    /// Where an invalidation begins.
    pub path: Path,
    /// TLBI commands of one invalidation. With none of any kind it is a SYNC alone.
    pub commands: u32,
    /// ATC_INV commands that follow them, after their SYNC.
    pub atc: u32,
    /// Most TLBI commands of one list; the driver's is 63.
    pub batch: u32,
    /// Which lists end in a SYNC.
    pub lists: Lists,
    /// Mean work between two invalidations; its distribution is exponential.
    pub work: Ps,
    /// CPUs whose page-table entries share a cache line; 0 if the work touches none.
    ///
    /// A CPU that maps and unmaps one page in a loop gets the same IOVA back each time (its cache of
    /// IOVAs is last in, first out), and the CPUs got theirs from the allocator one after the other:
    /// eight neighbours' entries of 8 bytes lie in one line. Each map and each unmap reads and
    /// then writes its entry. Source: `arm_lpae_init_pte()`, `__arm_lpae_unmap()`,
    /// drivers/iommu/io-pgtable-arm.c; `iova_magazine_pop()`, drivers/iommu/iova.c.
    pub pte_sharers: u32,
    /// Entries of the ring.
    pub entries: u32,
    /// The lock's form.
    pub lock: LockForm,
    /// The erratum T264-SMMU-3: each list of TLBIs is issued twice (95ed2da20283).
    pub repeat: bool,
    /// Before 5.4: a SYNC that directly follows a SYNC is left out (901510ee32f7).
    pub coalesce: bool,
    /// Invalidations that are measured, after as many of a quarter of it that are not.
    pub invalidations: u64,
    /// Seed of all draws.
    pub seed: u64,
}

impl Workload {
    /// The benchmark of John Garry's tables: each CPU maps and unmaps one page in a loop, strict.
    pub fn strict(profile: &Profile, cpus: u32, insertion: Insertion) -> Workload {
        Workload {
            cpus,
            insertion,
            completion: Completion::Msi,
            path: Path::Host,
            commands: 1,
            atc: 0,
            batch: 63,
            lists: Lists::SyncEach,
            work: Profile::ps(profile.cpu.work_ns),
            pte_sharers: 8,
            entries: profile.queue.entries,
            lock: LockForm::StoreZero,
            repeat: false,
            coalesce: false,
            invalidations: 4_000,
            seed: 1,
        }
    }

    /// Why it cannot be run, if it cannot.
    ///
    /// # Errors
    ///
    /// What is wrong, and what would be right.
    pub fn check(&self) -> Result<(), String> {
        if self.cpus == 0 || self.cpus > CPUS_MAX {
            return Err(format!("{} CPUs cannot be: from 1 to {CPUS_MAX}", self.cpus));
        }
        check_entries(self.entries.into()).map_err(|(m, help)| format!("{m}: {help}"))?;
        if self.batch == 0 || self.batch > self.entries / 2 - 1 {
            let most = self.entries / 2 - 1;
            return Err(format!("a batch of {} cannot be: from 1 to {most}", self.batch));
        }
        if self.commands > COMMANDS_MAX || self.atc > COMMANDS_MAX {
            return Err(format!("more than {COMMANDS_MAX} commands in one invalidation"));
        }
        if self.invalidations == 0 || self.invalidations > INVALIDATIONS_MAX {
            return Err(format!("from 1 to {INVALIDATIONS_MAX} invalidations can be measured"));
        }
        Ok(())
    }
}

/// Most commands of one invalidation.
pub const COMMANDS_MAX: u32 = 1 << 20;

/// Most invalidations that one run measures.
pub const INVALIDATIONS_MAX: u64 = 100_000_000;
