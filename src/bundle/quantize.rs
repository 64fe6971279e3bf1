//! Quantisation of f32 rows to GGUF block formats, and dequantisation.
//!
//! Q8_0 blocks are quantised by candle, so they match its output byte for byte; Q4_0 scales
//! are searched for (`q4_0.rs`). Dequantisation is implemented here because candle's readers
//! require aligned input, which bytes from a file are not; a test compares the two.

use candle_core::{
    Device, Tensor,
    quantized::{GgmlDType, QTensor},
};
use half::f16;

use thiserror::Error;

use super::q4_0;
use crate::dtype::{BLOCK, Dtype};

/// The largest finite f16. No weight of a usable network comes near it.
pub const MAX_MAGNITUDE: f32 = 65504.0;

/// Why values could not be quantised or dequantised.
#[derive(Debug, Error)]
pub enum QuantizeError {
    #[error("{found} values are not a whole number of {dtype} blocks ({BLOCK} each)")]
    Values { dtype: Dtype, found: usize },
    #[error("{found} bytes are not a whole number of {dtype} blocks ({expected} each)")]
    Bytes { dtype: Dtype, found: usize, expected: usize },
    #[error("value {index} is {found}, which no file format here can hold")]
    NotFinite { index: usize, found: f32 },
    #[error("quantisation failed: {0}")]
    Candle(#[from] candle_core::Error),
}

/// Encodes values as little-endian blocks; rows must consist of whole blocks.
pub fn quantize_rows(values: &[f32], dtype: Dtype) -> Result<Vec<u8>, QuantizeError> {
    if !values.len().is_multiple_of(dtype.block_len()) {
        return Err(QuantizeError::Values { dtype, found: values.len() });
    }
    let unusable = |x: &f32| !x.is_finite() || x.abs() > MAX_MAGNITUDE;
    if let Some(index) = values.iter().position(unusable) {
        return Err(QuantizeError::NotFinite { index, found: values[index] });
    }
    let ggml = match dtype {
        Dtype::F32 => return Ok(values.iter().flat_map(|x| x.to_le_bytes()).collect()),
        Dtype::F16 => {
            return Ok(values.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect());
        }
        Dtype::Q8_0 => GgmlDType::Q8_0,
        Dtype::Q4_0 => return Ok(q4_0::quantize(values)),
    };
    /// Values quantised at a time; bounds the copies that candle makes.
    const PIECE: usize = 1 << 20;
    let mut bytes = Vec::with_capacity(values.len() / dtype.block_len() * dtype.block_bytes());
    for piece in values.chunks(PIECE) {
        let tensor = Tensor::from_slice(piece, piece.len(), &Device::Cpu)?;
        bytes.extend_from_slice(&QTensor::quantize(&tensor, ggml)?.data()?);
    }
    Ok(bytes)
}

/// Decodes stored values from bytes of any alignment.
pub fn dequantize_rows(bytes: &[u8], dtype: Dtype) -> Result<Vec<f32>, QuantizeError> {
    let expected = dtype.block_bytes();
    if !bytes.len().is_multiple_of(expected) {
        return Err(QuantizeError::Bytes { dtype, found: bytes.len(), expected });
    }
    let mut values = Vec::with_capacity(bytes.len() / expected * dtype.block_len());
    for block in bytes.chunks_exact(expected) {
        match (dtype, block) {
            (Dtype::F32, &[a, b, c, d]) => values.push(f32::from_le_bytes([a, b, c, d])),
            (Dtype::F16, &[a, b]) => values.push(f16::from_le_bytes([a, b]).to_f32()),
            (Dtype::Q8_0, [a, b, codes @ ..]) => {
                let scale = f16::from_le_bytes([*a, *b]).to_f32();
                values.extend(codes.iter().map(|&code| f32::from(code as i8) * scale));
            }
            (Dtype::Q4_0, [a, b, codes @ ..]) => {
                let scale = f16::from_le_bytes([*a, *b]).to_f32();
                values.extend(codes.iter().map(|&code| f32::from((code & 15) as i8 - 8) * scale));
                values.extend(codes.iter().map(|&code| f32::from((code >> 4) as i8 - 8) * scale));
            }
            // Unreachable: `chunks_exact` yields blocks of exactly this length.
            _ => {}
        }
    }
    Ok(values)
}

/// Error bounds for tests.
#[cfg(test)]
pub mod bounds {
    use crate::dtype::Dtype;

    /// Maximum error of a `Q8_0` value, in units of its block's scale: half a step.
    const Q8_0_MAX_ERROR_IN_SCALES: f32 = 0.5;

    /// Maximum error of a `Q4_0` value, in units of an eighth of its block's largest
    /// magnitude. One candidate scale (a seventh of the largest) puts all 32 values within
    /// half a step, and the chosen scale has no larger total squared error, so no single
    /// error exceeds `sqrt(32) / 14` of the largest magnitude.
    const Q4_0_MAX_ERROR_IN_SCALES: f32 = 3.25;

    /// Relative rounding error of a normal f16 scale (half a unit in the last of 11 bits).
    const F16_RELATIVE_ROUNDING: f32 = 1.0 / 2048.0;

    /// Absolute rounding error of a scale that is subnormal in f16.
    const F16_ABSOLUTE_ROUNDING: f32 = 1.0 / (1 << 25) as f32;

    /// Returns how much a value may change when its block, whose largest magnitude is
    /// `largest`, is stored as `dtype` and read back.
    pub fn error_bound(dtype: Dtype, largest: f32) -> f32 {
        let (steps, codes) = match dtype {
            Dtype::F32 => return 0.0,
            Dtype::F16 => return largest * F16_RELATIVE_ROUNDING + F16_ABSOLUTE_ROUNDING,
            Dtype::Q8_0 => (Q8_0_MAX_ERROR_IN_SCALES, 127.0),
            Dtype::Q4_0 => (Q4_0_MAX_ERROR_IN_SCALES, 8.0),
        };
        let scale = largest / codes;
        // The scale's rounding error is multiplied by the largest code; the last term
        // covers f32 arithmetic.
        steps * scale
            + codes * (scale * F16_RELATIVE_ROUNDING + F16_ABSOLUTE_ROUNDING)
            + largest * 4.0 * f32::EPSILON
    }
}

#[cfg(test)]
mod tests {
    use super::{bounds::error_bound, *};
    use proptest::prelude::*;

    #[test]
    fn reading_agrees_with_candle() {
        let values: Vec<f32> = (0..256).map(|i| ((i * 37 % 101) as f32 - 50.0) * 0.013).collect();
        let tensor = Tensor::from_slice(&values, values.len(), &Device::Cpu).unwrap();
        for (ours, theirs) in [(Dtype::Q8_0, GgmlDType::Q8_0), (Dtype::Q4_0, GgmlDType::Q4_0)] {
            let stored = QTensor::quantize(&tensor, theirs).unwrap();
            let bytes = stored.data().unwrap();
            assert_eq!(bytes.len() as u64, ours.size_bytes(256).unwrap());
            let read: Vec<f32> = stored.dequantize(&Device::Cpu).unwrap().to_vec1().unwrap();
            assert_eq!(dequantize_rows(&bytes, ours).unwrap(), read, "{ours}");
        }
    }

    #[test]
    fn a_part_of_a_block_is_an_error() {
        assert!(matches!(
            quantize_rows(&[0.0; 33], Dtype::Q8_0),
            Err(QuantizeError::Values { found: 33, .. })
        ));
        assert!(matches!(
            dequantize_rows(&[0; 19], Dtype::Q4_0),
            Err(QuantizeError::Bytes { found: 19, .. })
        ));
    }

    #[test]
    fn a_weight_that_is_not_finite_is_named() {
        let mut values = [1.0; 32];
        values[7] = f32::NAN;
        assert!(matches!(
            quantize_rows(&values, Dtype::Q8_0),
            Err(QuantizeError::NotFinite { index: 7, .. })
        ));
    }

    proptest! {
        #[test]
        fn errors_stay_within_the_named_bounds(
            values in proptest::collection::vec(-1.0f32..1.0, 64),
            exponent in -20..15i32,
        ) {
            let values: Vec<f32> = values.iter().map(|x| x * 2f32.powi(exponent)).collect();
            for dtype in Dtype::ALL {
                let read = dequantize_rows(&quantize_rows(&values, dtype).unwrap(), dtype).unwrap();
                for (block, read) in values.chunks(BLOCK).zip(read.chunks(BLOCK)) {
                    let largest = block.iter().fold(0f32, |m, x| m.max(x.abs()));
                    let bound = error_bound(dtype, largest);
                    for (x, y) in block.iter().zip(read) {
                        prop_assert!((x - y).abs() <= bound, "{} {} {} > {}", dtype, x, y, bound);
                    }
                }
            }
        }

        #[test]
        fn arbitrary_bytes_read_without_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            for dtype in Dtype::ALL {
                let _ = dequantize_rows(&bytes, dtype);
            }
        }
    }
}
