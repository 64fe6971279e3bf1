//! x86-64: one 32-byte vector holds four columns of the panel's eight rows.
//!
//! Both instructions multiply unsigned bytes, the weights, by signed ones. VNNI adds four products
//! into a lane; AVX2 goes through 16-bit pairs, which activations are quantised not to saturate.

use core::arch::x86_64::*;

pub use super::portable::{PACKED, interleaved, pack};
use super::{Panels, equal, portable};
use crate::backend::cpu::{
    panels::{Format, SCALES_BYTES},
    quant::BLOCK,
};

/// The most activation rows whose sums stay in the sixteen registers.
pub const TILE: usize = 8;

/// Rows of a tile if the batch has `rows`.
pub fn tile_rows(_: Format, rows: usize) -> usize {
    equal(rows, TILE)
}

/// How panels store 8-bit weights.
pub fn format8() -> Format {
    Format::U8
}

/// The instructions for bytes that this processor has.
#[derive(Debug, Clone, Copy)]
enum Instructions {
    AvxVnni,
    /// The same in AVX-512's encoding, which is older.
    Avx512Vnni,
    Avx2,
}

impl Instructions {
    fn get() -> Option<Self> {
        if !is_x86_feature_detected!("avx2") {
            return None;
        }
        if is_x86_feature_detected!("avxvnni") {
            return Some(Self::AvxVnni);
        }
        let avx512 = is_x86_feature_detected!("avx512vnni") && is_x86_feature_detected!("avx512vl");
        Some(if avx512 { Self::Avx512Vnni } else { Self::Avx2 })
    }
}

/// The instructions in use.
pub fn instructions() -> &'static str {
    match Instructions::get() {
        Some(Instructions::AvxVnni) => "AVX-VNNI",
        Some(Instructions::Avx512Vnni) => "AVX-512 VNNI",
        Some(Instructions::Avx2) => "AVX2",
        None => portable::instructions(),
    }
}

/// Multiplies panels as [`crate::backend::cpu::scalar::panel`] does, for at most [`TILE`] rows.
pub fn panels(panels: Panels) {
    // SAFETY: the processor has the instructions, as `Instructions::get` has detected.
    unsafe {
        match Instructions::get() {
            Some(Instructions::AvxVnni) => panels_vnni(panels),
            Some(Instructions::Avx512Vnni) => panels_avx512(panels),
            Some(Instructions::Avx2) => panels_avx2(panels),
            None => portable::panels(panels),
        }
    }
}

#[target_feature(enable = "avx2,avxvnni")]
fn panels_vnni(panels: Panels) {
    // SAFETY: the processor has these target features, which are the instructions.
    unsafe { by_rows!(tile::<Vnni<false>>(panels), TILE) }
}

#[target_feature(enable = "avx2,avx512vnni,avx512vl")]
fn panels_avx512(panels: Panels) {
    // SAFETY: the processor has these target features, which are the instructions.
    unsafe { by_rows!(tile::<Vnni<true>>(panels), TILE) }
}

#[target_feature(enable = "avx2")]
fn panels_avx2(panels: Panels) {
    // SAFETY: the processor has these target features, which are the instructions.
    unsafe { by_rows!(tile::<Avx2>(panels), TILE) }
}

/// How a processor multiplies bytes and sums the products, into eight 32-bit totals.
trait Multiply {
    /// Adds the products of 8-bit weights with a column quad splatted to every lane.
    ///
    /// # Safety
    /// The processor must have the implementation's instructions, here and in the functions below.
    unsafe fn add8(sum: __m256i, weights: __m256i, x: __m256i) -> __m256i;

    /// The initial sum of 4-bit products. `offset` is the row's number of
    /// [`Tile::offsets`](crate::backend::cpu::quant::Tile::offsets).
    ///
    /// # Safety
    /// See [`Multiply::add8`].
    unsafe fn first4(offset: i32) -> __m256i;

    /// Adds the products of nibbles with a column quad splatted to every lane.
    ///
    /// # Safety
    /// See [`Multiply::add8`].
    unsafe fn add4(sum: __m256i, nibbles: __m256i, x: __m256i) -> __m256i;

    /// The integer dot products of eight weight rows.
    ///
    /// # Safety
    /// See [`Multiply::add8`].
    unsafe fn total4(sum: __m256i) -> __m256i;
}

/// VNNI in AVX-512's encoding, or in AVX's.
struct Vnni<const AVX512: bool>;
struct Avx2;

impl<const AVX512: bool> Vnni<AVX512> {
    /// `sum[lane] += unsigned[4 lane + i] * signed[4 lane + i]`, i in 0..4.
    ///
    /// # Safety
    /// See [`Multiply::add8`].
    #[inline(always)]
    unsafe fn add(sum: __m256i, unsigned: __m256i, signed: __m256i) -> __m256i {
        // SAFETY: by the caller's contract.
        unsafe {
            match AVX512 {
                true => _mm256_dpbusd_epi32(sum, unsigned, signed),
                false => _mm256_dpbusd_avx_epi32(sum, unsigned, signed),
            }
        }
    }
}

impl<const AVX512: bool> Multiply for Vnni<AVX512> {
    #[inline(always)]
    unsafe fn add8(sum: __m256i, weights: __m256i, x: __m256i) -> __m256i {
        // SAFETY: by the caller's contract.
        unsafe { Self::add(sum, weights, x) }
    }

    #[inline(always)]
    unsafe fn first4(offset: i32) -> __m256i {
        // SAFETY: by the caller's contract.
        unsafe { _mm256_set1_epi32(offset) }
    }

    #[inline(always)]
    unsafe fn add4(sum: __m256i, nibbles: __m256i, x: __m256i) -> __m256i {
        // SAFETY: by the caller's contract.
        unsafe { Self::add(sum, nibbles, x) }
    }

    #[inline(always)]
    unsafe fn total4(sum: __m256i) -> __m256i {
        sum
    }
}

impl Multiply for Avx2 {
    #[inline(always)]
    unsafe fn add8(sum: __m256i, weights: __m256i, x: __m256i) -> __m256i {
        // SAFETY: by the caller's contract.
        unsafe {
            let pairs = _mm256_maddubs_epi16(weights, x);
            _mm256_add_epi32(sum, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
        }
    }

    /// Sums of a block's pairs fit 16 bits: see `dot`'s `ShortNibbles`.
    #[inline(always)]
    unsafe fn first4(offset: i32) -> __m256i {
        // SAFETY: by the caller's contract.
        unsafe { _mm256_set1_epi32(offset & 0xffff) }
    }

    #[inline(always)]
    unsafe fn add4(sum: __m256i, nibbles: __m256i, x: __m256i) -> __m256i {
        // SAFETY: by the caller's contract.
        unsafe { _mm256_add_epi16(sum, _mm256_maddubs_epi16(nibbles, x)) }
    }

    #[inline(always)]
    unsafe fn total4(sum: __m256i) -> __m256i {
        // SAFETY: by the caller's contract.
        unsafe { _mm256_madd_epi16(sum, _mm256_set1_epi16(1)) }
    }
}

/// # Safety
/// The processor must have M's instructions.
#[inline(always)]
unsafe fn tile<M: Multiply, const R: usize>(mut panels: Panels) {
    let (format, x) = (panels.format(), panels.x());
    in_turn!(panels, format, R, |block, b, sums| {
        // SAFETY: the tile has as many blocks as the panels, a row of sums eight floats, and the
        // processor the instructions.
        unsafe {
            let quants = block.add(SCALES_BYTES);
            let (rows, offsets) = (x.values.as_ptr().add(b * R * BLOCK), x.offsets.as_ptr().add(b * R));
            let dots = match format {
                Format::U8 => block8::<M, R>(quants, rows, offsets),
                Format::Q8 => unreachable!("weights that are not stored so here"),
                Format::Q4 => block4::<M, R>(quants, rows, offsets),
            };
            let scale = _mm256_loadu_ps(block.cast());
            for (i, (sum, dot)) in sums.iter_mut().zip(dots).enumerate() {
                let scale = _mm256_mul_ps(scale, _mm256_set1_ps(*x.scales.get_unchecked(b * R + i)));
                let product = _mm256_mul_ps(_mm256_cvtepi32_ps(dot), scale);
                let sum = sum.as_mut_ptr();
                _mm256_storeu_ps(sum, _mm256_add_ps(_mm256_loadu_ps(sum), product));
            }
        }
    });
}

/// The integer dot products of a block of 8-bit weights.
///
/// # Safety
/// `quants` must hold 256 bytes, `rows` R blocks of values, `offsets` R numbers; the processor must
/// have M's instructions.
#[inline(always)]
unsafe fn block8<M: Multiply, const R: usize>(
    quants: *const u8,
    rows: *const i8,
    offsets: *const i32,
) -> [__m256i; R] {
    // SAFETY: by the caller's contract; column quads are 0..8.
    unsafe {
        let mut dots: [__m256i; R] = core::array::from_fn(|i| _mm256_set1_epi32(*offsets.add(i)));
        for q in 0..BLOCK / 4 {
            let weights = _mm256_loadu_si256(quants.add(q * 32).cast());
            for (i, dot) in dots.iter_mut().enumerate() {
                *dot = M::add8(*dot, weights, splat(rows.add(i * BLOCK + q * 4)));
            }
        }
        dots
    }
}

/// The integer dot products of a block of 4-bit weights.
///
/// # Safety
/// `quants` must hold 128 bytes, `rows` R blocks of values, `offsets` R numbers; the processor must
/// have M's instructions.
#[inline(always)]
unsafe fn block4<M: Multiply, const R: usize>(
    quants: *const u8,
    rows: *const i8,
    offsets: *const i32,
) -> [__m256i; R] {
    // SAFETY: by the caller's contract; column quads are 0..4 and the same plus 4.
    unsafe {
        let mask = _mm256_set1_epi8(15);
        let mut dots: [__m256i; R] = core::array::from_fn(|i| M::first4(*offsets.add(i)));
        for q in 0..BLOCK / 8 {
            let bytes = _mm256_loadu_si256(quants.add(q * 32).cast());
            let low = _mm256_and_si256(bytes, mask);
            let high = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), mask);
            for (i, dot) in dots.iter_mut().enumerate() {
                let at = rows.add(i * BLOCK + q * 4);
                *dot = M::add4(*dot, low, splat(at));
                *dot = M::add4(*dot, high, splat(at.add(16)));
            }
        }
        dots.map(|dot| M::total4(dot))
    }
}

/// Splats four bytes to every lane.
///
/// # Safety
/// `at` must be readable for four bytes; the processor must have AVX2.
#[inline(always)]
unsafe fn splat(at: *const i8) -> __m256i {
    // SAFETY: by the caller's contract.
    unsafe { _mm256_set1_epi32(at.cast::<i32>().read_unaligned()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::cpu::{matrix::PANEL, quant::QuantRows, scalar, vector::PanelGroups};

    /// A machine with VNNI would otherwise never run the AVX2 kernel.
    #[test]
    fn all_instructions_give_the_definitions_sums() {
        let byte = |i: usize| (i as u32).wrapping_mul(2_654_435_761).to_le_bytes()[2];
        for rows in 1..=TILE {
            let x: Vec<f32> = (0..rows * 3 * BLOCK).map(|i| f32::from(byte(i) as i8) * 1e-3).collect();
            let check = |name: &str, run: unsafe fn(Panels)| {
                for format in [Format::U8, Format::Q4] {
                    let mut quantised = QuantRows::default();
                    quantised.fill(&x, 3 * BLOCK, format);
                    let x = quantised.tiles().next().unwrap();
                    // Panels 0 and 2 of four, then 1 and 3, of three blocks each.
                    let mut weights: Vec<u8> = (0..12 * format.block_bytes()).map(byte).collect();
                    for (b, block) in weights.chunks_exact_mut(format.block_bytes()).enumerate() {
                        for (i, scale) in block[..SCALES_BYTES].as_chunks_mut().0.iter_mut().enumerate() {
                            *scale = (f32::from(byte(b * PANEL + i)) * 1e-3).to_ne_bytes();
                        }
                    }
                    let of = &weights[..];
                    let places = PanelGroups { streams: 2, stride: 2, groups: 2 };
                    let mut expected = vec![[0.0; PANEL]; 4 * rows];
                    Panels::new(format, of, places, &x, &mut expected)
                        .each(|panel, sums| scalar::panel(format, panel, &x, sums));
                    let mut sums = vec![[0.0; PANEL]; 4 * rows];
                    portable::panels(Panels::new(format, of, places, &x, &mut sums));
                    assert_eq!(sums, expected, "portable, {format:?}, {rows} rows");
                    // SAFETY: called only where the processor has the instructions.
                    unsafe { run(Panels::new(format, of, places, &x, &mut sums)) };
                    assert_eq!(sums, expected, "{name}, {format:?}, {rows} rows");
                }
            };
            if is_x86_feature_detected!("avx2") {
                check("AVX2", panels_avx2);
            } else {
                eprintln!("skipped: no AVX2");
            }
            if is_x86_feature_detected!("avxvnni") {
                check("AVX-VNNI", panels_vnni);
            } else {
                eprintln!("skipped: no AVX-VNNI");
            }
            if is_x86_feature_detected!("avx512vnni") && is_x86_feature_detected!("avx512vl") {
                check("AVX-512 VNNI", panels_avx512);
            } else {
                eprintln!("skipped: no AVX-512 VNNI");
            }
        }
    }
}
