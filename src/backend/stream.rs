//! Plain reads of memory at full vector width. A decode step reads every weight once, so
//! it can be no faster than this.

use std::ops::BitXorAssign;

/// Bytes per iteration: four 16-byte vectors, whose sums do not depend on each other.
const LINE: usize = 64;

/// Places that are read concurrently. The hardware prefetcher follows each of them, which doubles
/// the bandwidth of a single stream.
const PLACES: usize = 4;

/// Reads every byte once; the result only keeps the reads from being optimised away.
pub fn read_bytes(bytes: &[u8]) -> u64 {
    let (lines, rest) = bytes.as_chunks::<LINE>();
    let rest = rest.iter().fold(0, |sum, &byte| sum ^ u64::from(byte));
    let words = |line: &[u8; LINE]| -> [u64; LINE / 8] {
        std::array::from_fn(|i| u64::from_le_bytes(line.as_chunks().0[i]))
    };
    read(lines, words).iter().fold(rest, |all, sum| all ^ sum)
}

/// Reads every float's bits once, like [`read_bytes`].
pub fn read_floats(values: &[f32]) -> u64 {
    let (lines, rest) = values.as_chunks::<{ LINE / 4 }>();
    let rest = rest.iter().fold(0, |sum, value| sum ^ value.to_bits());
    let sums = read(lines, |line| line.map(f32::to_bits));
    u64::from(sums.iter().fold(rest, |all, sum| all ^ sum))
}

/// XORs the words of all lines, by their place in a line.
#[inline(always)]
fn read<L, W: Copy + Default + BitXorAssign, const N: usize>(
    lines: &[L],
    words: impl Fn(&L) -> [W; N],
) -> [W; N] {
    let mut sums = [W::default(); N];
    let mut add = |line: &L| {
        for (total, word) in sums.iter_mut().zip(words(line)) {
            *total ^= word;
        }
    };
    let (places, rest) = lines.split_at(lines.len() / PLACES * PLACES);
    let mut places = places.chunks_exact((places.len() / PLACES).max(1));
    if let [Some(a), Some(b), Some(c), Some(d)] = [places.next(), places.next(), places.next(), places.next()]
    {
        for (((a, b), c), d) in a.iter().zip(b).zip(c).zip(d) {
            [a, b, c, d].into_iter().for_each(&mut add);
        }
    }
    rest.iter().for_each(add);
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_counts() {
        for length in [1, 7, 64, 65, 200, 600] {
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
        for length in [1, 15, 16, 17, 50, 150] {
            let mut values = vec![0f32; length];
            for at in 0..length {
                values[at] = 1.0;
                assert_ne!(read_floats(&values), 0, "float {at} of {length}");
                values[at] = 0.0;
            }
        }
    }
}
