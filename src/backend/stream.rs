//! Plain reads of memory, in order, as quick as vectors read: a decode step
//! reads every weight once, so it can be no quicker than this.

/// Bytes read together: four 16-byte vectors, so that no sum waits for the
/// one before.
const LINE: usize = 64;

/// Reads every byte once. The result is of no use but that it needs them all.
pub fn read_bytes(bytes: &[u8]) -> u64 {
    let (lines, rest) = bytes.as_chunks::<LINE>();
    let mut sums = [0u64; LINE / 8];
    for line in lines {
        for (sum, word) in sums.iter_mut().zip(line.as_chunks().0) {
            *sum ^= u64::from_le_bytes(*word);
        }
    }
    let rest = rest.iter().fold(0, |sum, &byte| sum ^ u64::from(byte));
    sums.iter().fold(rest, |all, sum| all ^ sum)
}

/// Reads every float once, as bits; see [`read_bytes`].
pub fn read_floats(values: &[f32]) -> u64 {
    let (lines, rest) = values.as_chunks::<{ LINE / 4 }>();
    let mut sums = [0u32; LINE / 4];
    for line in lines {
        for (sum, value) in sums.iter_mut().zip(line) {
            *sum ^= value.to_bits();
        }
    }
    let rest = rest.iter().fold(0, |sum, value| sum ^ value.to_bits());
    u64::from(sums.iter().fold(rest, |all, sum| all ^ sum))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_counts() {
        for length in [1, 7, 64, 65, 200] {
            let mut bytes = vec![0u8; length];
            for at in 0..length {
                bytes[at] = 1;
                assert_ne!(read_bytes(&bytes), 0, "byte {at} of {length}");
                bytes[at] = 0;
            }
        }
    }

    #[test]
    fn every_float_counts() {
        for length in [1, 15, 16, 17, 50] {
            let mut values = vec![0f32; length];
            for at in 0..length {
                values[at] = 1.0;
                assert_ne!(read_floats(&values), 0, "float {at} of {length}");
                values[at] = 0.0;
            }
        }
    }
}
