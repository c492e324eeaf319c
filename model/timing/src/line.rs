//! Cache lines as servers.

use crate::profile::Profile;
use crate::{Ps, NS};

/// An agent that caches lines: a CPU by its number, or [`SMMU`].
pub type Agent = u16;

/// The SMMU, as an agent.
pub const SMMU: Agent = 128;

/// Nobody has the line yet: its first access is a hit.
pub const NOBODY: Agent = u16::MAX;

/// What it costs to move a line from one agent to another.
#[derive(Clone, Debug)]
pub struct Distances {
    die: Vec<u8>,
    cost: Vec<Ps>,
    dies: usize,
    hit: Ps,
    near: Ps,
}

impl Distances {
    /// CPUs are placed on dies in order, as the published tables were taken.
    pub fn new(profile: &Profile) -> Distances {
        let topology = &profile.topology;
        let dies = (topology.dies_per_socket * topology.sockets) as usize;
        let mut cost = Vec::with_capacity(dies * dies);
        for a in 0..dies as u32 {
            for b in 0..dies as u32 {
                let socket = |die: u32| die / topology.dies_per_socket;
                cost.push(
                    NS * match (a == b, socket(a) == socket(b)) {
                        (true, _) => profile.line.die_ns,
                        (_, true) => profile.line.socket_ns,
                        _ => profile.line.remote_ns,
                    },
                );
            }
        }
        let of = |cpu: u32| (cpu / topology.cpus_per_die).min(dies as u32 - 1) as u8;
        let mut die: Vec<u8> = (0..u32::from(SMMU)).map(of).collect();
        die.push(topology.smmu_die as u8);
        let near = NS * profile.line.die_ns;
        Distances { die, cost, dies, hit: NS * profile.line.hit_ns, near }
    }

    /// Time for `to` to get a line that is at `from`.
    #[inline]
    pub fn transfer(&self, from: Agent, to: Agent) -> Ps {
        if from == to || from == NOBODY {
            return self.hit;
        }
        let at = |agent: Agent| usize::from(self.die[usize::from(agent)]);
        self.cost[at(from) * self.dies + at(to)]
    }

    /// What the distance adds to a cost that is given for two agents on one die.
    pub fn surcharge(&self, from: Agent, to: Agent) -> Ps {
        self.transfer(from, to).saturating_sub(self.near)
    }
}

/// One contended line: a server that takes requests in their order.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    /// When it has done everything asked of it so far.
    free: Ps,
    /// Who has it then.
    holder: Agent,
    /// Who has a copy of it then: from whom the holder got it to read.
    copy: Agent,
}

impl Line {
    /// A line that nobody has.
    pub const fn new() -> Line {
        Line { free: 0, holder: NOBODY, copy: NOBODY }
    }

    /// Asks for the line to write it; answers when the agent will have it, and nobody else.
    ///
    /// Who has only read it has to ask again, since there is a copy.
    #[inline]
    pub fn take(&mut self, now: Ps, agent: Agent, distances: &Distances) -> Ps {
        // Without a copy that is nobody, and a hit.
        let from = if self.holder == agent { self.copy } else { self.holder };
        self.free = self.free.max(now) + distances.transfer(from, agent);
        (self.holder, self.copy) = (agent, NOBODY);
        self.free
    }

    /// Asks for the line to read it; who had it keeps a copy.
    #[inline]
    pub fn read(&mut self, now: Ps, agent: Agent, distances: &Distances) -> Ps {
        self.free = self.free.max(now) + distances.transfer(self.holder, agent);
        if self.holder != agent {
            (self.holder, self.copy) = (agent, self.holder);
        }
        self.free
    }

    /// Whether nobody has asked for it since the agent that has it at `now` got it.
    pub fn is_left_alone(&self, now: Ps) -> bool {
        self.free <= now
    }

    /// The agent, which has the line, stays busy with it until then.
    pub fn keep_until(&mut self, at: Ps) {
        self.free = self.free.max(at);
    }
}

impl Default for Line {
    fn default() -> Line {
        Line::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_costs_its_way_and_requests_queue() {
        let profile = Profile::kunpeng_920();
        let distances = Distances::new(&profile);
        let line = &profile.line;
        let mut l = Line::new();
        assert_eq!(l.take(0, 0, &distances), NS * line.hit_ns);
        let base = NS * line.hit_ns;
        // CPU 1 on the same die, 24 on the next die, 48 on the other socket: one after another.
        assert_eq!(l.take(0, 1, &distances), base + NS * line.die_ns);
        assert_eq!(l.take(0, 24, &distances), base + NS * (line.die_ns + line.socket_ns));
        let all = base + NS * (line.die_ns + line.socket_ns + line.remote_ns);
        assert_eq!(l.take(0, 48, &distances), all);
        assert!(!l.is_left_alone(all - 1) && l.is_left_alone(all));
        // CPU 47 reads what CPU 48 has, which keeps a copy: to write, 47 has to ask 48 again, once.
        let read = all + NS * line.remote_ns;
        assert_eq!(l.read(0, 47, &distances), read);
        assert_eq!(l.take(0, 47, &distances), read + NS * line.remote_ns);
        assert_eq!(l.take(0, 47, &distances), read + NS * (line.remote_ns + line.hit_ns));
        assert_eq!(distances.surcharge(SMMU, 3), 0);
        assert_eq!(distances.surcharge(SMMU, 95), NS * (line.remote_ns - line.die_ns));
    }
}
