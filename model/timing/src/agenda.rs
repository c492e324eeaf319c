//! Who acts next.
//!
//! Every agent (a CPU, a command queue) has at most one next event, so the agenda is a tree of
//! winners over the agents and not a heap of events: setting a time is one walk to the root, a
//! walk that ends where the winner stays the same, and there is nothing to delete.

use crate::{Ps, NEVER};

/// Bits of a key that name the agent. The rest is the time: 2^55 ps are ten hours.
const AGENT_BITS: u32 = 9;

/// Most agents.
pub const AGENTS_MAX: usize = 1 << AGENT_BITS;

/// The next event of each agent.
#[derive(Clone, Debug)]
pub struct Agenda {
    /// `tree[1]` is the earliest key; leaf `i` is `tree[leaves + i]`.
    tree: Vec<u64>,
    leaves: usize,
}

impl Agenda {
    /// An agenda on which everybody waits.
    pub fn new(agents: usize) -> Agenda {
        let leaves = agents.clamp(2, AGENTS_MAX).next_power_of_two();
        Agenda { tree: vec![NEVER; 2 * leaves], leaves }
    }

    /// Sets when the agent acts next; [`NEVER`] if it waits for another one.
    pub fn set(&mut self, agent: usize, at: Ps) {
        let key = if at == NEVER { NEVER } else { (at << AGENT_BITS) | agent as u64 };
        let mut i = self.leaves + agent;
        self.tree[i] = key;
        while i > 1 {
            let winner = self.tree[i].min(self.tree[i ^ 1]);
            i >>= 1;
            if self.tree[i] == winner {
                break;
            }
            self.tree[i] = winner;
        }
    }

    /// The earliest event and whose it is; the lowest agent if several are due.
    pub fn next(&self) -> Option<(Ps, usize)> {
        let key = self.tree[1];
        let agent = (key & (AGENTS_MAX as u64 - 1)) as usize;
        (key != NEVER).then_some((key >> AGENT_BITS, agent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_is_next_and_ties_go_to_the_lowest_agent() {
        let mut agenda = Agenda::new(5);
        assert_eq!(agenda.next(), None);
        agenda.set(4, 30);
        agenda.set(2, 20);
        agenda.set(3, 20);
        assert_eq!(agenda.next(), Some((20, 2)));
        agenda.set(2, 31);
        assert_eq!(agenda.next(), Some((20, 3)));
        agenda.set(3, NEVER);
        assert_eq!(agenda.next(), Some((30, 4)));
        agenda.set(4, NEVER);
        agenda.set(2, NEVER);
        assert_eq!(agenda.next(), None);
    }

    #[test]
    fn it_agrees_with_a_sorted_list() {
        let mut agenda = Agenda::new(100);
        let mut times = vec![NEVER; 100];
        let mut x = 1_u64;
        for _ in 0..10_000 {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let agent = (x >> 33) as usize % 100;
            let at = if x & 8 == 0 { NEVER } else { (x >> 40) % 64 };
            agenda.set(agent, at);
            times[agent] = at;
            let first = times.iter().enumerate().filter(|t| *t.1 != NEVER).min_by_key(|t| *t.1);
            assert_eq!(agenda.next(), first.map(|(agent, at)| (*at, agent)));
        }
    }
}
