//! The random numbers of the simulator, all from one u64.
//!
//! Run `n` of a seed has a stream of its own, so that what a run draws does not depend on which runs
//! were made before it, on how many threads, or in which part of a run that is spread over machines.

use rand::{Rng, RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The generator, for output: a seed means nothing without it.
pub const GENERATOR: &str = "ChaCha8Rng";

/// Numbers drawn from a seed.
#[derive(Clone, Debug)]
pub struct Draws(ChaCha8Rng);

impl Draws {
    /// The numbers of a seed.
    pub fn new(seed: u64) -> Draws {
        Draws(ChaCha8Rng::seed_from_u64(seed))
    }

    /// The seed of run `run`, whose master seed is this one.
    pub fn seed_of_run(seed: u64, run: u64) -> u64 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(run);
        rng.next_u64()
    }

    /// A seed for numbers that are drawn apart from these.
    pub fn seed(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number below `n`; 0 if there is none.
    pub fn below(&mut self, n: usize) -> usize {
        match u32::try_from(n) {
            // The width of the type is part of what is drawn: u32 on every machine.
            Ok(n) if n > 1 => self.0.random_range(0..n) as usize,
            _ => 0,
        }
    }

    /// True once in so many times.
    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    /// One of these.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        let at = self.below(from.len());
        from.get(at)
    }

    /// One of these, as often as its weight says.
    pub fn weighted<T: Copy>(&mut self, from: &[(usize, T)]) -> Option<T> {
        let mut at = self.below(from.iter().map(|(weight, _)| weight).sum());
        for (weight, item) in from {
            if at < *weight {
                return Some(*item);
            }
            at -= weight;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_has_a_seed_of_its_own() {
        let seeds: Vec<u64> = (0..100).map(|run| Draws::seed_of_run(7, run)).collect();
        let mut distinct = seeds.clone();
        distinct.sort_unstable();
        distinct.dedup();
        assert_eq!(distinct.len(), seeds.len());
        assert_ne!(Draws::seed_of_run(8, 0), seeds[0]);
        // Pinned: a seed that somebody printed has to mean the same run tomorrow.
        assert_eq!(seeds[..2], [0x2865_5334_23d7_43bb, 0xfdfa_d737_a8d7_aac7]);
    }

    #[test]
    fn every_item_with_a_weight_is_drawn() {
        let mut draws = Draws::new(1);
        let mut seen = [0; 3];
        for _ in 0..1_000 {
            seen[draws.weighted(&[(1, 0), (0, 1), (9, 2)]).expect("there are weights")] += 1;
        }
        assert!(seen[0] > 50 && seen[1] == 0 && seen[2] > 800, "{seen:?}");
        assert_eq!(draws.weighted::<u8>(&[]), None);
        assert_eq!(draws.pick::<u8>(&[]), None);
    }
}
