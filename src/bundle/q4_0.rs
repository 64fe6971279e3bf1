//! Q4_0 quantisation with a search over block scales.
//!
//! The format does not prescribe how to choose a block's scale. The usual choice maps the
//! value of largest magnitude to -8, but other scales may give a smaller total error. For
//! each block we try the scales of `DIVISORS`, refit each to its codes by least squares, and
//! keep the one with the smallest squared error (`huggingtweets eval` and
//! benches/README.md measure the gain). The result is ordinary Q4_0, readable by any GGUF loader.

use half::f16;

use crate::dtype::BLOCK;

/// The candidate scales: the block's value of largest magnitude divided by each of these.
/// -8 is the usual choice; positive divisors map that value to the positive end of the codes.
pub const DIVISORS: [f32; 16] =
    [-8.0, -7.75, -7.5, -7.25, -7.0, -6.75, -6.5, -8.25, -8.5, 7.0, 7.25, 6.75, 6.5, 7.5, 6.25, -6.25];

/// Bytes of a stored block.
pub const BYTES: usize = 2 + BLOCK / 2;

/// Quantises whole blocks of 32 values: an f16 scale, then 16 bytes of nibbles.
/// A trailing partial block is dropped; the caller checks the length.
pub fn quantize(values: &[f32]) -> Vec<u8> {
    let (blocks, _) = values.as_chunks::<BLOCK>();
    let mut bytes = Vec::with_capacity(blocks.len() * BYTES);
    for block in blocks {
        let scale = scale(block);
        bytes.extend(stored(scale, &codes(block, scale.to_f32())));
    }
    bytes
}

/// A block as it is stored: the scale, then the nibbles of values i and i + 16 in each byte.
pub fn stored(scale: f16, codes: &[u8; BLOCK]) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    let (scale_bytes, nibbles) = bytes.split_at_mut(2);
    scale_bytes.copy_from_slice(&scale.to_le_bytes());
    for (i, byte) in nibbles.iter_mut().enumerate() {
        *byte = codes[i] | codes[i + BLOCK / 2] << 4;
    }
    bytes
}

/// Returns the candidate scale with the smallest squared error on this block.
fn scale(block: &[f32; BLOCK]) -> f16 {
    let largest = block.iter().copied().fold(0.0f32, |m, x| if x.abs() > m.abs() { x } else { m });
    let mut best = (f32::INFINITY, f16::ZERO);
    for divisor in DIVISORS {
        let tried = f16::from_f32(largest / divisor);
        let codes_of_tried = codes(block, tried.to_f32());
        let fitted = fitted(block, &codes_of_tried);
        let codes_of_fitted = codes(block, fitted.to_f32());
        for (candidate, codes) in [(tried, codes_of_tried), (fitted, codes_of_fitted)] {
            let error = squared_error(block, &codes, candidate.to_f32());
            if error < best.0 {
                best = (error, candidate);
            }
        }
    }
    best.1
}

/// Returns the least-squares scale for these codes.
fn fitted(block: &[f32; BLOCK], codes: &[u8; BLOCK]) -> f16 {
    let (mut xq, mut qq) = (0.0f32, 0.0f32);
    for (x, code) in block.iter().zip(codes) {
        let q = f32::from(*code) - 8.0;
        xq += x * q;
        qq += q * q;
    }
    f16::from_f32(if qq > 0.0 { xq / qq } else { 0.0 })
}

fn squared_error(block: &[f32; BLOCK], codes: &[u8; BLOCK], scale: f32) -> f32 {
    let errors = block.iter().zip(codes).map(|(x, code)| x - (f32::from(*code) - 8.0) * scale);
    errors.map(|e| e * e).sum()
}

/// Returns the nearest codes, 0..=15.
fn codes(block: &[f32; BLOCK], scale: f32) -> [u8; BLOCK] {
    block.map(|x| code(x, inverse(scale)))
}

/// 1 / scale; 0 for the scale of a block of zeros.
#[inline(always)]
pub fn inverse(scale: f32) -> f32 {
    if scale == 0.0 { 0.0 } else { 1.0 / scale }
}

/// The nearest code, 0..=15, given 1 / scale.
#[inline(always)]
pub fn code(x: f32, inverse: f32) -> u8 {
    // Float-to-int casts saturate at 0; ties round up, as in ggml.
    ((x * inverse + 8.5) as u8).min(15)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{bundle::quantize::dequantize_rows, dtype::Dtype};
    use proptest::prelude::*;

    fn error(values: &[f32], read: &[f32]) -> f64 {
        values.iter().zip(read).map(|(x, y)| f64::from(x - y).powi(2)).sum()
    }

    #[test]
    fn values_that_the_codes_hold_are_kept() {
        for scale in [1.0f32, -0.25] {
            let values: Vec<f32> = (0..32).map(|i| (i % 16 - 8) as f32 * scale).collect();
            assert_eq!(dequantize_rows(&quantize(&values), Dtype::Q4_0).unwrap(), values);
        }
        assert_eq!(dequantize_rows(&quantize(&[0.0; 32]), Dtype::Q4_0).unwrap(), [0.0; 32]);
    }

    proptest! {
        #[test]
        fn no_block_is_further_than_under_the_usual_scale(
            values in proptest::collection::vec(-1.0f32..1.0, 32),
        ) {
            let block: [f32; BLOCK] = values[..].try_into().unwrap();
            let largest = values.iter().copied().fold(0.0f32, |m, x| if x.abs() > m.abs() { x } else { m });
            let usual = f16::from_f32(largest / -8.0).to_f32();
            let plain: Vec<f32> = codes(&block, usual).map(|c| (f32::from(c) - 8.0) * usual).into();
            let ours = dequantize_rows(&quantize(&values), Dtype::Q4_0).unwrap();
            prop_assert!(error(&values, &ours) <= error(&values, &plain) * (1.0 + 1e-5));
        }
    }
}
