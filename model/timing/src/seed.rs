//! All randomness of a run: one ChaCha stream.

use crate::Ps;
use rand_chacha::rand_core::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Bins of the table of the exponential distribution; `2^BITS`.
const BITS: u32 = 10;
const BINS: usize = 1 << BITS;

/// Fixed point of the table.
const POINT: u32 = 24;

/// The draws of one run.
#[derive(Clone, Debug)]
pub struct Seed {
    rng: ChaCha8Rng,
}

/// `-ln(1 - i / BINS)` in fixed point, for `i < BINS`.
static QUANTILES: [u64; BINS] = {
    let mut quantiles = [0; BINS];
    let mut i = 0;
    while i < BINS {
        quantiles[i] = ln_of_ratio(BINS as u64, (BINS - i) as u64);
        i += 1;
    }
    quantiles
};

impl Seed {
    /// The stream of this seed.
    pub fn new(seed: u64) -> Seed {
        Seed { rng: ChaCha8Rng::seed_from_u64(seed) }
    }

    /// True with a chance of `permille` in a thousand.
    pub fn chance(&mut self, permille: u32) -> bool {
        // A multiply instead of a modulo; the bias is below 2^-22.
        (u64::from(self.rng.next_u32()) * 1_000) >> 32 < u64::from(permille)
    }

    /// A number below `n`.
    pub fn below(&mut self, n: u64) -> u64 {
        (u64::from(self.rng.next_u32()) * n) >> 32
    }

    /// A time with an exponential distribution of this mean.
    ///
    /// Integers only, since `f64::ln` need not give the same bits on every machine.
    pub fn exponential(&mut self, mean: Ps) -> Ps {
        let mut units = 0;
        loop {
            let draw = self.rng.next_u32();
            let bin = (draw >> (32 - BITS)) as usize;
            let low = QUANTILES[bin];
            // The last bin reaches to infinity: it is a fresh start, as the distribution has no
            // memory.
            if bin + 1 == BINS {
                units += low;
                continue;
            }
            let width = QUANTILES[bin + 1] - low;
            let within = u64::from(draw & ((1 << (32 - BITS)) - 1));
            units += low + ((width * within) >> (32 - BITS));
            return ((u128::from(units) * u128::from(mean)) >> POINT) as Ps;
        }
    }
}

/// `ln(a / b)` in fixed point, for `0 < b <= a < 2^32`: bit by bit, by squaring.
const fn ln_of_ratio(a: u64, b: u64) -> u64 {
    const ONE: u64 = 1 << 31;
    let mut x = (a << 31) / b;
    let mut log2 = 0_u64;
    while x >= 2 * ONE {
        x >>= 1;
        log2 += 1 << POINT;
    }
    let mut bit = POINT;
    while bit > 0 {
        bit -= 1;
        x = ((x as u128 * x as u128) >> 31) as u64;
        if x >= 2 * ONE {
            x >>= 1;
            log2 += 1 << bit;
        }
    }
    // ln 2 in 32 bits.
    (log2 * 2_977_044_472) >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_logarithm_is_one() {
        for (a, b) in [(1024_u32, 1_u32), (1024, 512), (1024, 1023), (1024, 3), (7, 7)] {
            let exact = (f64::from(a) / f64::from(b)).ln();
            let fixed = ln_of_ratio(a.into(), b.into()) as f64 / f64::from(1 << POINT);
            assert!((exact - fixed).abs() < 1e-5, "ln({a}/{b}) = {exact}, not {fixed}");
        }
    }

    #[test]
    fn the_exponential_has_its_mean_and_its_spread() {
        let mut seed = Seed::new(7);
        let draws: Vec<f64> = (0..200_000).map(|_| seed.exponential(1_600_000) as f64).collect();
        let mean = draws.iter().sum::<f64>() / draws.len() as f64;
        let square = draws.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / draws.len() as f64;
        assert!((mean / 1.6e6 - 1.0).abs() < 0.01, "mean {mean}");
        assert!((square.sqrt() / mean - 1.0).abs() < 0.02, "deviation {}", square.sqrt());
        let tail = draws.iter().filter(|d| **d > 7.0 * 1.6e6).count();
        assert!((120..260).contains(&tail), "e^-7 of 200,000 is 182, not {tail}");
    }

    #[test]
    fn a_chance_is_its_permille() {
        let mut seed = Seed::new(1);
        let hits = (0..100_000).filter(|_| seed.chance(83)).count();
        assert!((8_000..8_600).contains(&hits), "{hits}");
        assert_eq!((0..1_000).filter(|_| seed.chance(0)).count(), 0);
        assert_eq!((0..1_000).filter(|_| seed.chance(1_000)).count(), 1_000);
    }
}
