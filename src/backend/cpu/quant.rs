//! Activations as signed bytes: the one definition of block, scale and
//! rounding that every engine follows.
//!
//! A row is cut into blocks of [`BLOCK`]; with `a` the block's largest
//! magnitude, the scale is `d = a / 127` and each value becomes
//! `round(x * (127 / a))`, ties to even, in -127..=127. A block with
//! `a < TINY` is all zero with `d = 0`.

use super::math::round_to_i32;

/// Values that share a scale; GGUF's Q8_0 and Q4_0 use the same.
pub const BLOCK: usize = 32;

/// Below this a block counts as zero, so that 127 / a stays finite.
pub const TINY: f32 = 1e-30;

/// Quantised activations (R, K), K a multiple of [`BLOCK`].
#[derive(Debug, Default)]
pub struct QuantRows {
    /// (R, K), each in -127..=127; 16 bits wide, as the kernels multiply them.
    pub values: Vec<i16>,
    /// (R, K / BLOCK)
    pub scales: Vec<f32>,
    /// K
    pub width: usize,
}

impl QuantRows {
    /// Quantises x (R, width), re-using this value's memory.
    pub fn fill(&mut self, x: &[f32], width: usize) {
        self.width = width;
        self.values.resize(x.len(), 0);
        self.scales.resize(x.len() / BLOCK, 0.0);
        let (blocks, _) = x.as_chunks::<BLOCK>();
        let (values, _) = self.values.as_chunks_mut::<BLOCK>();
        for ((block, out), scale) in blocks.iter().zip(values).zip(&mut self.scales) {
            *scale = quantise(block, out);
        }
    }

    /// Row r's values and scales.
    pub fn row(&self, r: usize) -> (&[i16], &[f32]) {
        let blocks = self.width / BLOCK;
        (&self.values[r * self.width..][..self.width], &self.scales[r * blocks..][..blocks])
    }
}

/// Quantises one block and returns its scale.
fn quantise(x: &[f32; BLOCK], out: &mut [i16; BLOCK]) -> f32 {
    let mut lanes = [0.0f32; 8];
    for chunk in x.as_chunks::<8>().0 {
        for (lane, v) in lanes.iter_mut().zip(chunk) {
            let v = v.abs();
            *lane = if v > *lane { v } else { *lane };
        }
    }
    let largest = lanes.iter().fold(0.0f32, |a, &b| if b > a { b } else { a });
    // A NaN is largest never, an infinity would make every other value zero.
    if largest < TINY || !largest.is_finite() {
        out.fill(0);
        return 0.0;
    }
    let inverse = 127.0 / largest;
    for (out, v) in out.iter_mut().zip(x) {
        *out = round_to_i32(v * inverse) as i16;
    }
    largest / 127.0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn error_is_at_most_half_a_step(x in prop::collection::vec(-1e3f32..1e3, 2 * BLOCK)) {
            let mut q = QuantRows::default();
            q.fill(&x, BLOCK);
            for (i, v) in x.iter().enumerate() {
                let d = q.scales[i / BLOCK];
                prop_assert!((v - f32::from(q.values[i]) * d).abs() <= d * 0.5001);
                prop_assert!((-127..=127).contains(&q.values[i]));
            }
        }
    }

    #[test]
    fn zeros_and_not_a_number_do_not_spread() {
        let mut x = vec![0.0f32; 2 * BLOCK];
        x[40] = f32::NAN;
        let mut q = QuantRows::default();
        q.fill(&x, 2 * BLOCK);
        assert!(q.scales.iter().all(|&d| d == 0.0));
    }
}
