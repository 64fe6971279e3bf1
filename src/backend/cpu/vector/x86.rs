//! x86-64: one 32-byte vector holds four columns of the panel's eight rows.
//!
//! Both instructions multiply unsigned by signed bytes. 4-bit weights are the
//! unsigned operand, 8-bit ones the signed. AVX-VNNI adds four products into a
//! lane at once and takes the activation + 128, of which 128 times the weights
//! are taken out again; AVX2 goes through 16-bit pairs, which must not
//! saturate, and takes the activation's planes: 2 x 127 x 128 < 2^15.

use core::arch::x86_64::*;

use super::{Panels, planes, portable};
use crate::backend::cpu::{matrix::PANEL, panels::Format, quant::BLOCK};

/// Activation rows whose sums stay in the sixteen registers.
pub const TILE: usize = 6;

/// Rows of a tile where there are more.
pub const TILE_OF_MANY: usize = TILE;

/// Bytes of a packed block: the values, then what 8-bit weights are multiplied with.
pub const PACKED: usize = BLOCK + planes::BYTES;

/// Packs a block for the instructions that run here.
pub fn pack(values: &[i8; BLOCK], out: &mut [u8]) {
    let (plain, operand) = out.split_at_mut(BLOCK);
    for (v, out) in values.iter().zip(plain) {
        *out = *v as u8;
    }
    if has_vnni() {
        Vnni::pack(values, operand);
    } else {
        Avx2::pack(values, operand);
    }
}

/// The instructions that run.
pub fn instructions() -> &'static str {
    if has_vnni() {
        "AVX-VNNI"
    } else if is_x86_feature_detected!("avx2") {
        "AVX2"
    } else {
        portable::instructions()
    }
}

fn has_vnni() -> bool {
    is_x86_feature_detected!("avx2") && is_x86_feature_detected!("avxvnni")
}

/// Each panel as [`crate::backend::cpu::scalar::panel`] multiplies it; at most
/// [`TILE`] rows.
pub fn panels(panels: Panels) {
    if has_vnni() {
        // SAFETY: the processor has AVX2 and AVX-VNNI.
        unsafe { panels_vnni(panels) }
    } else if is_x86_feature_detected!("avx2") {
        // SAFETY: the processor has AVX2.
        unsafe { panels_avx2(panels) }
    } else {
        portable::panels(panels);
    }
}

#[target_feature(enable = "avx2,avxvnni")]
fn panels_vnni(panels: Panels) {
    by_rows!(tile::<Vnni>(panels));
}

#[target_feature(enable = "avx2")]
fn panels_avx2(panels: Panels) {
    by_rows!(tile::<Avx2>(panels));
}

/// How a processor multiplies bytes and adds them up in 32 bits.
trait Multiply {
    /// Sums of 8-bit products for one activation row.
    type Sum: Copy;

    /// What 8-bit weights are multiplied with.
    fn pack(values: &[i8; BLOCK], out: &mut [u8]);

    /// `sum[lane] += unsigned[4 lane + i] * signed[4 lane + i]`, i in 0..4.
    ///
    /// # Safety
    /// The processor must have the implementation's instructions, here and in
    /// the functions below; unsigned bytes must be below 128 for AVX2.
    unsafe fn add(sum: __m256i, unsigned: __m256i, signed: __m256i) -> __m256i;

    /// # Safety
    /// See [`Multiply::add`].
    unsafe fn zero() -> Self::Sum;

    /// The sum over a block that belongs to the weights alone, one quad more.
    ///
    /// # Safety
    /// See [`Multiply::add`].
    unsafe fn share(shared: __m256i, weights: __m256i) -> __m256i;

    /// Adds the products of 8-bit weights with column quad q.
    ///
    /// # Safety
    /// See [`Multiply::add`]; `operand` is a packed block's second part, q < 8.
    unsafe fn add8(sum: &mut Self::Sum, weights: __m256i, operand: *const u8, q: usize);

    /// The integer dots of eight rows.
    ///
    /// # Safety
    /// See [`Multiply::add`].
    unsafe fn total(sum: Self::Sum, shared: __m256i) -> __m256i;
}

struct Vnni;
struct Avx2;

impl Multiply for Vnni {
    type Sum = __m256i;

    fn pack(values: &[i8; BLOCK], out: &mut [u8]) {
        for (v, out) in values.iter().zip(out) {
            *out = *v as u8 ^ 128;
        }
    }

    #[inline(always)]
    unsafe fn add(sum: __m256i, unsigned: __m256i, signed: __m256i) -> __m256i {
        // SAFETY: the caller's.
        unsafe { _mm256_dpbusd_avx_epi32(sum, unsigned, signed) }
    }

    #[inline(always)]
    unsafe fn zero() -> __m256i {
        // SAFETY: the caller's.
        unsafe { _mm256_setzero_si256() }
    }

    #[inline(always)]
    unsafe fn share(shared: __m256i, weights: __m256i) -> __m256i {
        // SAFETY: the caller's.
        unsafe { Self::add(shared, _mm256_set1_epi8(-128), weights) }
    }

    #[inline(always)]
    unsafe fn add8(sum: &mut __m256i, weights: __m256i, operand: *const u8, q: usize) {
        // SAFETY: the caller's.
        *sum = unsafe { Self::add(*sum, splat(operand.add(q * 4)), weights) };
    }

    #[inline(always)]
    unsafe fn total(sum: __m256i, shared: __m256i) -> __m256i {
        // SAFETY: the caller's.
        unsafe { _mm256_sub_epi32(sum, shared) }
    }
}

impl Multiply for Avx2 {
    /// One sum a plane.
    type Sum = (__m256i, __m256i);

    fn pack(values: &[i8; BLOCK], out: &mut [u8]) {
        planes::write(values, out);
    }

    #[inline(always)]
    unsafe fn add(sum: __m256i, unsigned: __m256i, signed: __m256i) -> __m256i {
        // SAFETY: the caller's.
        unsafe {
            let pairs = _mm256_maddubs_epi16(unsigned, signed);
            _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
        }
    }

    #[inline(always)]
    unsafe fn zero() -> Self::Sum {
        // SAFETY: the caller's.
        unsafe { (_mm256_setzero_si256(), _mm256_setzero_si256()) }
    }

    #[inline(always)]
    unsafe fn share(shared: __m256i, _: __m256i) -> __m256i {
        shared
    }

    #[inline(always)]
    unsafe fn add8(sum: &mut Self::Sum, weights: __m256i, operand: *const u8, q: usize) {
        // SAFETY: the caller's; the second plane is 32 bytes further on.
        unsafe {
            sum.0 = Self::add(sum.0, splat(operand.add(q * 4)), weights);
            sum.1 = Self::add(sum.1, splat(operand.add(BLOCK + q * 4)), weights);
        }
    }

    #[inline(always)]
    unsafe fn total(sum: Self::Sum, _: __m256i) -> __m256i {
        // SAFETY: the caller's.
        unsafe { _mm256_sub_epi32(sum.0, sum.1) }
    }
}

#[inline(always)]
fn tile<M: Multiply, const R: usize>(panels: Panels) {
    let Panels { format, quants, scales, stride, x, sums } = panels;
    let blocks = x.blocks();
    sums.as_flattened_mut().fill(0.0);
    for b in 0..blocks {
        for (p, sums) in sums.as_chunks_mut::<R>().0.iter_mut().enumerate() {
            let at = p * stride * blocks + b;
            // SAFETY: the block is in quants, scales and tile, by the contract
            // of Panels, a row of sums has eight floats, and the caller has the
            // instructions.
            unsafe {
                let block = quants.as_ptr().add(at * format.block_bytes());
                let packed = x.packed.as_ptr().add(b * R * PACKED);
                let dots = match format {
                    Format::Q8 => block8::<M, R>(block, packed),
                    Format::Q4 => block4::<M, R>(block, packed, x.offsets.as_ptr().add(b * R)),
                };
                let scale = _mm256_loadu_ps(scales.as_ptr().add(at * PANEL));
                for (i, (sum, dot)) in sums.iter_mut().zip(dots).enumerate() {
                    let scale = _mm256_mul_ps(scale, _mm256_set1_ps(*x.scales.get_unchecked(b * R + i)));
                    let product = _mm256_mul_ps(_mm256_cvtepi32_ps(dot), scale);
                    let sum = sum.as_mut_ptr();
                    _mm256_storeu_ps(sum, _mm256_add_ps(_mm256_loadu_ps(sum), product));
                }
            }
        }
    }
}

/// The integer dots of a block of 8-bit weights.
///
/// # Safety
/// `block` must hold 256 bytes, `packed` R packed blocks; the processor must
/// have M's instructions.
#[inline(always)]
unsafe fn block8<M: Multiply, const R: usize>(block: *const u8, packed: *const u8) -> [__m256i; R] {
    // SAFETY: the caller's; column quads are 0..8.
    unsafe {
        let mut shared = _mm256_setzero_si256();
        let mut dots = [M::zero(); R];
        for q in 0..BLOCK / 4 {
            let weights = _mm256_loadu_si256(block.add(q * 32).cast());
            shared = M::share(shared, weights);
            for (i, dot) in dots.iter_mut().enumerate() {
                M::add8(dot, weights, packed.add(i * PACKED + BLOCK), q);
            }
        }
        dots.map(|dot| M::total(dot, shared))
    }
}

/// The integer dots of a block of 4-bit weights.
///
/// # Safety
/// `block` must hold 128 bytes, `packed` R packed blocks, `offsets` R numbers;
/// the processor must have M's instructions.
#[inline(always)]
unsafe fn block4<M: Multiply, const R: usize>(
    block: *const u8,
    packed: *const u8,
    offsets: *const i32,
) -> [__m256i; R] {
    // SAFETY: the caller's; column quads are 0..4, and 4 further on.
    unsafe {
        let mask = _mm256_set1_epi8(15);
        let mut dots: [__m256i; R] = core::array::from_fn(|i| _mm256_set1_epi32(*offsets.add(i)));
        for q in 0..BLOCK / 8 {
            let bytes = _mm256_loadu_si256(block.add(q * 32).cast());
            let low = _mm256_and_si256(bytes, mask);
            let high = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), mask);
            for (i, dot) in dots.iter_mut().enumerate() {
                let at = packed.add(i * PACKED + q * 4);
                *dot = M::add(*dot, low, splat(at));
                *dot = M::add(*dot, high, splat(at.add(16)));
            }
        }
        dots
    }
}

/// Four bytes in every lane.
///
/// # Safety
/// `at` must be readable for four bytes; the processor must have AVX2.
#[inline(always)]
unsafe fn splat(at: *const u8) -> __m256i {
    // SAFETY: the caller's.
    unsafe { _mm256_set1_epi32(at.cast::<i32>().read_unaligned()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::cpu::{quant::Tile, scalar};

    /// On a machine with AVX-VNNI the AVX2 form would otherwise never run.
    #[test]
    fn both_instructions_give_the_definitions_sums() {
        let byte = |i: usize| (i as u32).wrapping_mul(2_654_435_761).to_le_bytes()[2];
        for rows in 1..=TILE {
            let values: Vec<i8> = (0..rows * 3 * BLOCK).map(|i| (byte(i) as i8).max(-127)).collect();
            let scales: Vec<f32> = (0..rows * 3).map(|i| f32::from(byte(i + 5)) * 1e-3).collect();
            let sum = |block: &[i8]| -8 * block.iter().map(|&v| i32::from(v)).sum::<i32>();
            let offsets: Vec<i32> = values.chunks_exact(BLOCK).map(sum).collect();
            let check = |name: &str, pack: fn(&[i8; BLOCK], &mut [u8]), run: unsafe fn(Panels)| {
                let mut packed = vec![0; rows * 3 * PACKED];
                for (values, out) in values.as_chunks().0.iter().zip(packed.chunks_exact_mut(PACKED)) {
                    out[..BLOCK].copy_from_slice(&values.map(|v| v as u8));
                    pack(values, &mut out[BLOCK..]);
                }
                let x = Tile { rows, values: &values, packed: &packed, scales: &scales, offsets: &offsets };
                for format in [Format::Q8, Format::Q4] {
                    // Panels 0 and 2 of three, of three blocks each.
                    let quants: Vec<u8> = (0..9 * format.block_bytes()).map(byte).collect();
                    let scales: Vec<f32> = (0..9 * PANEL).map(|i| f32::from(byte(i)) * 1e-3).collect();
                    let of = (&quants[..], &scales[..]);
                    let mut expected = vec![[0.0; PANEL]; 2 * rows];
                    Panels::new(format, of, 2, &x, &mut expected)
                        .each(|quants, scales, sums| scalar::panel(format, quants, scales, &x, sums));
                    let mut sums = vec![[0.0; PANEL]; 2 * rows];
                    portable::panels(Panels::new(format, of, 2, &x, &mut sums));
                    assert_eq!(sums, expected, "portable, {format:?}, {rows} rows");
                    // SAFETY: called only where the processor has the instructions.
                    unsafe { run(Panels::new(format, of, 2, &x, &mut sums)) };
                    assert_eq!(sums, expected, "{name}, {format:?}, {rows} rows");
                }
            };
            if is_x86_feature_detected!("avx2") {
                check("AVX2", Avx2::pack, panels_avx2);
            } else {
                eprintln!("skipped: no AVX2");
            }
            if has_vnni() {
                check("AVX-VNNI", Vnni::pack, panels_vnni);
            } else {
                eprintln!("skipped: no AVX-VNNI");
            }
        }
    }
}
