//! What a run found.

use crate::Ps;

/// The measured part of one run.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Outcome {
    /// Invalidations that ended in the window.
    pub invalidations: u64,
    /// CPUs that ran.
    pub cpus: u32,
    /// Length of the window.
    pub window: Ps,
    /// How long each of them took, sorted.
    pub latencies: Vec<Ps>,
    /// Time that CPUs spent in them; without what they slept in WFE.
    pub busy: Ps,
    /// Executed cmpxchgs on the llq word.
    pub cas: u64,
    /// Those that succeeded.
    pub cas_won: u64,
    /// Commands that the SMMU consumed, without the SYNCs.
    pub commands: u64,
    /// SYNCs that it consumed.
    pub syncs: u64,
    /// SYNCs that were left out, because one stood there already.
    pub syncs_saved: u64,
    /// Times that a CPU found no room in the ring.
    pub full: u64,
    /// Time that CPUs waited for the shared lock while somebody held it exclusively.
    pub lock_waits: Vec<Ps>,
    /// Events of the whole run.
    pub events: u64,
    /// Commands of the whole run, SYNCs included.
    pub commands_simulated: u64,
    /// End of the run.
    pub end: Ps,
}

/// 10^12: picoseconds of a second.
const SECOND: u128 = 1_000_000_000_000;

impl Outcome {
    /// Invalidations per second, all CPUs together.
    pub fn per_second(&self) -> u64 {
        rate(self.invalidations, self.window)
    }

    /// Invalidations per second and CPU.
    pub fn per_second_and_cpu(&self) -> u64 {
        rate(self.invalidations, self.window * u64::from(self.cpus.max(1)))
    }

    /// Commands per second, without SYNCs.
    pub fn commands_per_second(&self) -> u64 {
        rate(self.commands, self.window)
    }

    /// Mean time between two ends.
    pub fn gap(&self) -> Ps {
        self.window / self.invalidations.max(1)
    }

    /// The latency that this many in a thousand do not exceed; 0 if nothing was measured.
    pub fn latency(&self, permille: u64) -> Ps {
        let rank = (self.latencies.len() as u64 * permille).div_ceil(1_000).max(1) as usize;
        self.latencies.get(rank - 1).copied().unwrap_or(0)
    }

    /// Mean latency.
    pub fn latency_mean(&self) -> Ps {
        let sum: u128 = self.latencies.iter().map(|l| u128::from(*l)).sum();
        (sum / (self.latencies.len() as u128).max(1)) as Ps
    }

    /// CPU time of one invalidation.
    pub fn cpu_time(&self) -> Ps {
        self.busy / self.invalidations.max(1)
    }

    /// Successful cmpxchgs in a thousand; `None` where there is none.
    pub fn cas_permille(&self) -> Option<u64> {
        (self.cas != 0).then(|| self.cas_won * 1_000 / self.cas)
    }
}

fn rate(count: u64, window: Ps) -> u64 {
    (u128::from(count) * SECOND / u128::from(window.max(1))) as u64
}

/// Middle, least and most of the same run under several seeds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Spread {
    /// The median; the lower of the two middle ones if there are two.
    pub median: u64,
    /// The least.
    pub least: u64,
    /// The most.
    pub most: u64,
}

impl Spread {
    /// Of these values; `None` if there is none.
    pub fn of(values: impl IntoIterator<Item = u64>) -> Option<Spread> {
        let mut values: Vec<u64> = values.into_iter().collect();
        values.sort_unstable();
        Some(Spread {
            median: *values.get(values.len().checked_sub(1)? / 2)?,
            least: *values.first()?,
            most: *values.last()?,
        })
    }
}
