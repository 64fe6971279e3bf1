//! A block of activations as magnitudes and signs.
//!
//! Instructions that multiply signed by unsigned bytes saturate sums of pairs, or may read the
//! unsigned operand's top bit either way. Magnitudes are below 128, so with them all are exact. The
//! sign moves to the weight, whose bits are flipped where the activation is negative: -w = !w + 1,
//! so a sum begins with the sum of the magnitudes of negative activations.

use crate::backend::cpu::quant::BLOCK;

/// Bytes of a packed block: magnitudes, signs (0 or 255), initial sum (i32).
pub const BYTES: usize = 2 * BLOCK + 4;

/// Packs a block.
pub fn write(values: &[i8; BLOCK], out: &mut [u8]) {
    let (magnitudes, rest) = out.split_at_mut(BLOCK);
    let (signs, first) = rest.split_at_mut(BLOCK);
    for ((&v, magnitude), sign) in values.iter().zip(magnitudes).zip(signs) {
        (*magnitude, *sign) = (v.unsigned_abs(), (v >> 7) as u8);
    }
    let negative: i32 = values.iter().map(|&v| i32::from(v.min(0))).sum();
    first.copy_from_slice(&(-negative).to_le_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn flipped_weights_give_the_dot(x: [i8; BLOCK], w: [i8; BLOCK]) {
            let x = x.map(|v| v.max(-127));
            let mut packed = [0; BYTES];
            write(&x, &mut packed);
            let mut sum = i32::from_le_bytes(packed[2 * BLOCK..].try_into().unwrap());
            for i in 0..BLOCK {
                let weight = w[i] ^ packed[BLOCK + i] as i8;
                prop_assert!(packed[i] < 128);
                sum += i32::from(weight) * i32::from(packed[i]);
            }
            let expected: i32 = x.iter().zip(w).map(|(&x, w)| i32::from(x) * i32::from(w)).sum();
            prop_assert_eq!(sum, expected);
        }
    }
}
