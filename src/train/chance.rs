//! All random choices of a training run, derived from one seed.
//!
//! candle's CPU generator cannot be seeded, so initial weights, shuffles and dropout come from
//! here. Dropout decides each element by a hash of (seed, step, site, row, column), so the result
//! depends neither on the order of work nor on the number of threads.

use rand_chacha::{
    ChaCha8Rng,
    rand_core::{RngCore, SeedableRng},
};

/// The use of a stream of random numbers; streams do not overlap.
#[derive(Debug, Clone, Copy)]
pub enum Purpose {
    InitialWeights = 1,
    Dropout = 2,
    Blocks = 3,
}

/// The random generator for a purpose.
pub fn stream(seed: u64, purpose: Purpose) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(purpose as u64);
    rng
}

/// Shuffles the values (Fisher and Yates); the bias is below one part in 2^64 per value.
pub fn shuffle<T>(values: &mut [T], rng: &mut impl RngCore) {
    for last in (1..values.len()).rev() {
        let drawn = (u128::from(rng.next_u64()) * (last as u128 + 1)) >> 64;
        values.swap(last, drawn as usize);
    }
}

/// A standard normal number (Box and Muller).
pub fn normal(rng: &mut impl RngCore) -> f32 {
    let unit = |bits: u64| ((bits >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    let (a, b) = (unit(rng.next_u64()), unit(rng.next_u64()));
    ((-2.0 * a.ln()).sqrt() * (2.0 * std::f64::consts::PI * b).cos()) as f32
}

/// Hash-based dropout mask of one site of the network at one step.
#[derive(Debug, Clone, Copy)]
pub struct Mask {
    key: u64,
    threshold: u32,
    /// 1 / (1 - p), which keeps the expectation.
    scale: f32,
}

impl Mask {
    /// A mask that drops with probability p (0 <= p < 1); `None` if p is 0.
    pub fn new(p: f32, seed: u64, step: u64, site: u64) -> Option<Self> {
        (p > 0.0).then(|| Self {
            key: mix(mix(mix(seed ^ Purpose::Dropout as u64) ^ step) ^ site),
            threshold: (f64::from(p) * 4_294_967_296.0) as u32,
            scale: 1.0 / (1.0 - p),
        })
    }

    /// Key, threshold and scale, for kernels that compute the mask themselves.
    #[cfg(feature = "cuda")]
    pub fn parts(&self) -> (u64, u32, f32) {
        (self.key, self.threshold, self.scale)
    }

    /// The mask of one row.
    #[inline(always)]
    pub fn row(&self, index: usize) -> MaskRow {
        let key = mix(self.key ^ index as u64);
        MaskRow { start: key as u32, salt: (key >> 32) as u32, threshold: self.threshold, scale: self.scale }
    }
}

/// Dropout mask of one row, in 32-bit arithmetic so that it vectorises.
#[derive(Debug, Clone, Copy)]
pub struct MaskRow {
    start: u32,
    salt: u32,
    threshold: u32,
    scale: f32,
}

impl MaskRow {
    /// The factor of element `column`: 0 or 1 / (1 - p).
    #[inline(always)]
    pub fn factor(&self, column: u32) -> f32 {
        // Two rounds of multiply and shift (Wellons 2018, "Prospecting for hash functions"), with
        // half of the row's key in each.
        let x = column.wrapping_mul(0x9e37_79b9).wrapping_add(self.start);
        let x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d) ^ self.salt;
        let x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
        let x = x ^ (x >> 16);
        if x < self.threshold { 0.0 } else { self.scale }
    }

    /// Multiplies the row's values by their factors.
    #[inline(always)]
    pub fn apply(&self, values: &mut [f32]) {
        for (column, value) in values.iter_mut().enumerate() {
            *value *= self.factor(column as u32);
        }
    }
}

/// SplitMix64's finaliser (Steele, Lea and Flood 2014): every input bit affects every output bit.
#[inline(always)]
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_drop_their_share_and_keep_the_mean() {
        let mask = Mask::new(0.1, 7, 3, 5).unwrap();
        let factors: Vec<f32> =
            (0..100).flat_map(|row| (0..1000).map(move |column| mask.row(row).factor(column))).collect();
        let dropped = factors.iter().filter(|&&f| f == 0.0).count() as f64 / 1e5;
        assert!((dropped - 0.1).abs() < 0.005, "{dropped}");
        let mean = factors.iter().sum::<f32>() / 1e5;
        assert!((mean - 1.0).abs() < 0.005, "{mean}");
        assert!(Mask::new(0.0, 7, 3, 5).is_none());
    }

    #[test]
    fn masks_differ_between_steps_sites_and_rows() {
        let bits = |step, site, row| {
            let row = Mask::new(0.5, 1, step, site).unwrap().row(row);
            (0..64).map(|i| row.factor(i) == 0.0).collect::<Vec<_>>()
        };
        assert_ne!(bits(0, 0, 0), bits(1, 0, 0));
        assert_ne!(bits(0, 0, 0), bits(0, 1, 0));
        assert_ne!(bits(0, 0, 0), bits(0, 0, 1));
        assert_eq!(bits(2, 3, 4), bits(2, 3, 4));
    }

    #[test]
    fn a_gpus_kernel_decides_alike() {
        // Output of train/graph/dropout.cu compiled for a CPU: the first four rows of width 21.
        const KEPT: [&str; 4] = [
            "110110101111111110111",
            "000111100100111100111",
            "111111110110110110101",
            "100011010110011011100",
        ];
        let mask = Mask { threshold: (0.3 * 4_294_967_296.0) as u32, ..Mask::new(0.5, 0, 0, 0).unwrap() };
        let mask = Mask { key: 0x0123_4567_89ab_cdef, ..mask };
        for (index, kept) in KEPT.iter().enumerate() {
            let row = mask.row(index);
            let ours: String = (0..21).map(|c| if row.factor(c) == 0.0 { '0' } else { '1' }).collect();
            assert_eq!(ours, *kept, "row {index}");
        }
    }

    #[test]
    fn neighbours_in_a_mask_are_independent() {
        // An element and its right or lower neighbour are both dropped in a quarter of cases at p =
        // 1/2, within five standard deviations.
        let mask = Mask::new(0.5, 3, 1, 4).unwrap();
        let dropped = |row: usize, column: u32| mask.row(row).factor(column) == 0.0;
        let pairs = |right: u32, down: usize| {
            let n = (0..300).flat_map(|r| (0..300).map(move |c| (r, c)));
            n.filter(|&(r, c)| dropped(r, c) && dropped(r + down, c + right)).count() as f64 / 9e4
        };
        for (right, down) in [(1, 0), (2, 0), (16, 0), (0, 1), (1, 1)] {
            let share = pairs(right, down);
            assert!((share - 0.25).abs() < 0.0073, "{right} {down}: {share}");
        }
    }

    #[test]
    fn a_shuffle_keeps_every_value_and_draws_every_place() {
        let mut rng = stream(4, Purpose::Blocks);
        let mut firsts = [0; 5];
        for _ in 0..5000 {
            let mut values = [0, 1, 2, 3, 4];
            shuffle(&mut values, &mut rng);
            firsts[values[0]] += 1;
            values.sort_unstable();
            assert_eq!(values, [0, 1, 2, 3, 4]);
        }
        assert!(firsts.iter().all(|&n| (850..1150).contains(&n)), "{firsts:?}");
        shuffle::<u8>(&mut [], &mut rng);
    }

    #[test]
    fn normal_numbers_are_normal() {
        let mut rng = stream(0, Purpose::InitialWeights);
        let numbers: Vec<f64> = (0..50_000).map(|_| f64::from(normal(&mut rng))).collect();
        let mean = numbers.iter().sum::<f64>() / 5e4;
        let variance = numbers.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 5e4;
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.03, "{mean} {variance}");
    }
}
