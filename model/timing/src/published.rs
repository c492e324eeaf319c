//! The published tables that the model is held against.
//!
//! All are operations per CPU and second of the same benchmark: each CPU maps and unmaps one page in
//! a loop, in strict mode. They are from two kernels, so rows of the two must not be mixed.

use crate::workload::Insertion;

/// A row: CPUs, and the rates of some schemes.
pub type Row<const N: usize> = (u32, [u64; N]);

/// John Garry, 23 Sep 2020 (37734fe9-8b67-…), D06, v5.9-rc1 against two proposals: cmpxchg,
/// spinlock fallback, fetch_add. The profile `kunpeng-920` is fitted to its first and last column.
pub const CALIBRATION: [Row<3>; 7] = [
    (2, [453_000, 459_000, 481_000]),
    (4, [409_000, 414_000, 406_000]),
    (8, [295_000, 281_000, 305_000]),
    (16, [157_000, 131_000, 190_000]),
    (32, [33_600, 44_000, 81_000]),
    (64, [9_500, 15_500, 30_000]),
    (96, [5_200, 8_600, 18_700]),
];

/// The schemes of [`CALIBRATION`].
pub const CALIBRATION_SCHEMES: [Insertion; 3] =
    [Insertion::Cmpxchg, Insertion::SpinFallback, Insertion::FetchAdd];

/// John Garry, 21 Aug 2020 (1598018062-175608-1-…), D06, before and after fetch_add. Nothing of the
/// profile was chosen by looking at it.
pub const VALIDATION: [Row<2>; 4] = [
    (8, [282_000, 302_000]),
    (16, [115_000, 193_000]),
    (32, [36_000, 80_000]),
    (64, [11_000, 30_000]),
];

/// The schemes of [`VALIDATION`].
pub const VALIDATION_SCHEMES: [Insertion; 2] = [Insertion::Cmpxchg, Insertion::FetchAdd];

/// The errors, in percent, of the simpler model that this one had to beat, in the cells of
/// [`CALIBRATION`] (cmpxchg, fetch_add): one server for the llq line, a device with a cost per pair.
pub const SIMPLER_MODEL: [(u32, [i64; 2]); 7] = [
    (2, [-2, -7]),
    (4, [5, 8]),
    (8, [21, 18]),
    (16, [21, 0]),
    (32, [24, 0]),
    (64, [2, 2]),
    (96, [5, 1]),
];

/// How far `model` is from `published`, in a thousand of it.
pub fn off_permille(model: u64, published: u64) -> i64 {
    let (model, published) = (model as i64, published.max(1) as i64);
    let twice = 2_000 * (model - published);
    // Rounded half away from zero.
    (twice + twice.signum() * published) / (2 * published)
}
