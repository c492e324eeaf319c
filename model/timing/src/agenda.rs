//! Who acts next.
//!
//! Every agent (a CPU, a command queue) has at most one next event. Most of these are the answers
//! of a server, a contended line or the SMMU, which answers in the order of its requests: so they
//! are kept in one sorted row for each kind of server, where a new one goes to the end, or a few
//! places before it. What is neither near nor in order, the end of a CPU's work, is in a tree of
//! winners over the agents. The next event is the least of these few heads.

use crate::{Ps, NEVER};

/// Bits of a key that name the agent. The rest is the time: 2^55 ps are ten hours.
const AGENT_BITS: u32 = 9;

/// Most agents.
pub const AGENTS_MAX: usize = 1 << AGENT_BITS;

/// Where an event is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Row {
    /// Who gets a line that everybody asks for: many, and the last one late.
    Contended,
    /// What else comes soon.
    Near,
    /// What may come at any time.
    Far,
}

/// How many rows are sorted: all but [`Row::Far`].
const SORTED: usize = Row::Far as usize;

/// The next event of each agent.
#[derive(Clone, Debug)]
pub struct Agenda {
    rows: [Sorted; SORTED],
    /// The first of each row.
    heads: [u64; SORTED],
    far: Winners,
}

impl Agenda {
    /// An agenda on which everybody waits.
    pub fn new(agents: usize) -> Agenda {
        Agenda {
            rows: [const { Sorted::new() }; SORTED],
            heads: [NEVER; SORTED],
            far: Winners::new(agents),
        }
    }

    /// The agent, which has no event, acts then.
    #[inline]
    pub fn set(&mut self, row: Row, agent: usize, at: Ps) {
        let key = (at << AGENT_BITS) | agent as u64;
        match row {
            Row::Far => self.far.set(agent, key),
            row => {
                let head = &mut self.heads[row as usize];
                if key < *head {
                    *head = key;
                }
                self.rows[row as usize].insert(key);
            }
        }
    }

    /// The earliest event and whose it is; the lowest agent if several are due.
    #[inline]
    pub fn next(&self) -> Option<(Ps, usize)> {
        let key = self.heads.iter().fold(self.far.first(), |first, head| first.min(*head));
        let agent = (key & (AGENTS_MAX as u64 - 1)) as usize;
        (key != NEVER).then_some((key >> AGENT_BITS, agent))
    }

    /// The agent of the first event of [`Row::Contended`] and when it is, if it is the earliest.
    #[inline]
    pub fn next_contended(&self) -> Option<(Ps, usize)> {
        let [key, near] = self.heads;
        let is_next = key < near.min(self.far.first());
        is_next.then_some((key >> AGENT_BITS, (key & (AGENTS_MAX as u64 - 1)) as usize))
    }

    /// That event, which is kept in this row, is gone.
    #[inline]
    pub fn take(&mut self, row: Row, agent: usize) {
        match row {
            Row::Far => self.far.set(agent, NEVER),
            row => self.heads[row as usize] = self.rows[row as usize].pop(),
        }
    }
}

/// Keys in their order; a ring, in which every agent has room.
#[derive(Clone, Debug)]
struct Sorted {
    keys: [u64; AGENTS_MAX],
    first: usize,
    len: usize,
}

impl Sorted {
    const fn new() -> Sorted {
        Sorted { keys: [NEVER; AGENTS_MAX], first: 0, len: 0 }
    }

    /// Puts a key where it belongs, from the end on.
    #[inline]
    fn insert(&mut self, key: u64) {
        let mut at = self.first + self.len;
        self.len += 1;
        while at != self.first && self.keys[(at - 1) % AGENTS_MAX] > key {
            self.keys[at % AGENTS_MAX] = self.keys[(at - 1) % AGENTS_MAX];
            at -= 1;
        }
        self.keys[at % AGENTS_MAX] = key;
    }

    /// Takes the first one away. The first one now.
    #[inline]
    fn pop(&mut self) -> u64 {
        self.first += 1;
        self.len -= 1;
        match self.len {
            0 => NEVER,
            _ => self.keys[self.first % AGENTS_MAX],
        }
    }
}

/// A tree of winners: setting a key is one walk to the root.
#[derive(Clone, Debug)]
struct Winners {
    /// `tree[1]` is the earliest key; leaf `i` is `tree[leaves + i]`.
    tree: Vec<u64>,
    leaves: usize,
}

impl Winners {
    fn new(agents: usize) -> Winners {
        let leaves = agents.clamp(2, AGENTS_MAX).next_power_of_two();
        Winners { tree: vec![NEVER; 2 * leaves], leaves }
    }

    fn set(&mut self, agent: usize, key: u64) {
        let mut i = self.leaves + agent;
        self.tree[i] = key;
        let mut winner = key;
        while i > 1 {
            winner = winner.min(self.tree[i ^ 1]);
            i >>= 1;
            self.tree[i] = winner;
        }
    }

    #[inline]
    fn first(&self) -> u64 {
        self.tree[1]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_is_next_and_ties_go_to_the_lowest_agent() {
        for row in [Row::Near, Row::Far] {
            let mut agenda = Agenda::new(5);
            assert_eq!(agenda.next(), None);
            agenda.set(row, 4, 30);
            agenda.set(row, 3, 20);
            agenda.set(Row::Contended, 2, 20);
            assert_eq!(agenda.next(), Some((20, 2)));
            agenda.take(Row::Contended, 2);
            agenda.set(Row::Contended, 2, 31);
            assert_eq!(agenda.next(), Some((20, 3)));
            agenda.take(row, 3);
            assert_eq!(agenda.next(), Some((30, 4)));
            agenda.take(row, 4);
            agenda.take(Row::Contended, 2);
            assert_eq!(agenda.next(), None);
        }
    }

    #[test]
    fn it_agrees_with_a_sorted_list() {
        const ROWS: [Row; 3] = [Row::Contended, Row::Near, Row::Far];
        let mut agenda = Agenda::new(100);
        let mut times = vec![None; 100];
        let mut x = 1_u64;
        for _ in 0..20_000 {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let agent = (x >> 33) as usize % 100;
            match times[agent] {
                None => {
                    let (at, row) = ((x >> 40) % 64, ROWS[(x >> 50) as usize % 3]);
                    agenda.set(row, agent, at);
                    times[agent] = Some((at, row));
                }
                Some(_) => {
                    let first = (0..100).filter_map(|agent| Some((times[agent]?.0, agent))).min();
                    assert_eq!(agenda.next(), first);
                    if let Some((_, (_, row))) = first.and_then(|f| Some((f, times[f.1].take()?))) {
                        agenda.take(row, first.map_or(0, |f| f.1));
                    }
                }
            }
        }
    }
}
