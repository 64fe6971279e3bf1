//! Activations as two planes of a block: max(x, 0), then max(-x, 0).
//!
//! Instructions that multiply signed by unsigned bytes may read the unsigned
//! one's top bit either way, or saturate; a plane is in 0..=127, where all of
//! them are exact, and w x = w max(x, 0) - w max(-x, 0).

use crate::backend::cpu::quant::BLOCK;

/// Bytes of both planes.
pub const BYTES: usize = 2 * BLOCK;

/// Writes both planes of a block.
pub fn write(values: &[i8; BLOCK], out: &mut [u8]) {
    let (positive, negative) = out.split_at_mut(BLOCK);
    for ((&v, p), n) in values.iter().zip(positive).zip(negative) {
        *p = v.max(0) as u8;
        *n = v.min(0).unsigned_abs();
    }
}
