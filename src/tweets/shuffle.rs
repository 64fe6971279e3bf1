//! Shuffles that depend only on a seed.
//!
//! Key, draw and shuffle are implemented here, so that no update of a crate changes the order of
//! posts for an existing seed. Only the ChaCha8 stream, a standard algorithm, is a crate's.

use rand_chacha::ChaCha8Rng;
use rand_core::{RngCore, SeedableRng};

/// A ChaCha8 stream with the seed as key: little-endian, padded with zeros.
#[derive(Debug, Clone)]
pub struct Shuffler {
    stream: ChaCha8Rng,
}

impl Shuffler {
    pub fn new(seed: u64) -> Self {
        let mut key = [0; 32];
        key[..8].copy_from_slice(&seed.to_le_bytes());
        Self { stream: ChaCha8Rng::from_seed(key) }
    }

    /// The next two words of the stream, the first as the low half.
    fn next_u64(&mut self) -> u64 {
        let low = u64::from(self.stream.next_u32());
        low | u64::from(self.stream.next_u32()) << 32
    }

    /// A uniform number below `bound` (0 for a bound of 0). Draws below 2^64 mod `bound` are
    /// rejected, so that the rest divides evenly.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound <= 1 {
            return 0;
        }
        let uneven = bound.wrapping_neg() % bound;
        loop {
            let draw = self.next_u64();
            if draw >= uneven {
                return draw % bound;
            }
        }
    }

    /// Fisher-Yates from the end: every order is equally likely.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last as u64 + 1) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_order_it_always_gave() {
        let mut order: Vec<u32> = (0..10).collect();
        Shuffler::new(42).shuffle(&mut order);
        assert_eq!(order, [2, 1, 4, 3, 7, 0, 5, 8, 6, 9]);
    }

    #[test]
    fn every_order_comes_about_equally_often() {
        let mut shuffler = Shuffler::new(1);
        let mut seen = std::collections::HashMap::new();
        for _ in 0..6000 {
            let mut order = [0, 1, 2];
            shuffler.shuffle(&mut order);
            *seen.entry(order).or_insert(0u32) += 1;
        }
        assert_eq!(seen.len(), 6);
        // Five standard deviations of a binomial with n = 6000 and p = 1/6.
        assert!(seen.values().all(|n| n.abs_diff(1000) < 145), "{seen:?}");
    }

    #[test]
    fn a_draw_stays_below_its_bound() {
        let mut shuffler = Shuffler::new(7);
        for bound in [1, 2, 3, 1 << 63, (1 << 63) + 1, u64::MAX] {
            assert!((0..100).all(|_| shuffler.below(bound) < bound));
        }
        assert_eq!(shuffler.below(0), 0);
    }
}
