//! aarch64: a 16-byte vector holds four columns of four rows; two make the panel's eight rows.
//! `sdot` multiplies signed bytes and adds four products into a lane. Its intrinsic is not stable
//! Rust yet, so it is inline assembly.

use core::arch::{aarch64::*, asm};

pub use super::portable::{PACKED, interleaved, pack};
use super::{Panels, equal, portable};
use crate::backend::cpu::{
    panels::{Format, SCALES_BYTES},
    quant::BLOCK,
};

/// The most activation rows whose sums stay in the thirty-two registers.
pub const TILE: usize = 8;

/// Rows of a tile if the batch has `rows`.
pub fn tile_rows(_: Format, rows: usize) -> usize {
    equal(rows, TILE)
}

/// How panels store 8-bit weights.
pub fn format8() -> Format {
    Format::Q8
}

/// The instructions in use.
pub fn instructions() -> &'static str {
    if has_dotprod() { "NEON dot product" } else { portable::instructions() }
}

fn has_dotprod() -> bool {
    std::arch::is_aarch64_feature_detected!("dotprod")
}

/// Multiplies panels as [`crate::backend::cpu::scalar::panel`] does, for at most [`TILE`] rows.
pub fn panels(panels: Panels) {
    if !has_dotprod() {
        return portable::panels(panels);
    }
    // SAFETY: the processor has `sdot`, by the check above.
    unsafe { panels_dotprod(panels) }
}

/// `by_rows!` requires a form; here there is one.
struct Sdot;

#[target_feature(enable = "neon,dotprod")]
fn panels_dotprod(panels: Panels) {
    by_rows!(tile::<Sdot>(panels), TILE);
}

#[inline]
#[target_feature(enable = "neon,dotprod")]
fn tile<Form, const R: usize>(mut panels: Panels) {
    let (format, x) = (panels.format(), panels.x());
    in_turn!(panels, format, R, |block, b, sums| {
        // SAFETY: the tile has as many blocks as the panels, and a row of sums eight floats.
        unsafe {
            let quants = block.add(SCALES_BYTES);
            let values = x.values.as_ptr().add(b * R * BLOCK);
            let mut dots = [[vdupq_n_s32(0); 2]; R];
            match format {
                Format::Q8 => block8(quants, values, &mut dots),
                Format::U8 => unreachable!("weights that are not stored so here"),
                Format::Q4 => block4(quants, values, x.offsets.as_ptr().add(b * R), &mut dots),
            }
            for half in 0..2 {
                let scale = vld1q_f32(block.cast::<f32>().add(half * 4));
                for (i, (sum, dot)) in sums.iter_mut().zip(&dots).enumerate() {
                    let scale = vmulq_n_f32(scale, *x.scales.get_unchecked(b * R + i));
                    let product = vmulq_f32(vcvtq_f32_s32(dot[half]), scale);
                    let sum = sum.as_mut_ptr().add(half * 4);
                    // Not vmlaq: the definition rounds the product, then the sum.
                    vst1q_f32(sum, vaddq_f32(vld1q_f32(sum), product));
                }
            }
        }
    });
}

/// # Safety
/// `quants` must hold 256 bytes, `values` R blocks.
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn block8<const R: usize>(quants: *const u8, values: *const i8, dots: &mut [[int32x4_t; 2]; R]) {
    for q in 0..BLOCK / 4 {
        // SAFETY: by the caller's contract; q < 8.
        unsafe {
            let low = vld1q_s8(quants.add(q * 32).cast());
            let high = vld1q_s8(quants.add(q * 32 + 16).cast());
            for (i, dot) in dots.iter_mut().enumerate() {
                let x = splat(values.add(i * BLOCK + q * 4));
                dot[0] = sdot(dot[0], low, x);
                dot[1] = sdot(dot[1], high, x);
            }
        }
    }
}

/// # Safety
/// `quants` must hold 128 bytes, `values` R blocks, `offsets` R numbers.
#[inline]
#[target_feature(enable = "neon,dotprod")]
unsafe fn block4<const R: usize>(
    quants: *const u8,
    values: *const i8,
    offsets: *const i32,
    dots: &mut [[int32x4_t; 2]; R],
) {
    for (i, dot) in dots.iter_mut().enumerate() {
        // SAFETY: by the caller's contract.
        *dot = [vdupq_n_s32(unsafe { *offsets.add(i) }); 2];
    }
    for q in 0..BLOCK / 8 {
        for half in 0..2 {
            // SAFETY: by the caller's contract; q < 4.
            unsafe {
                let bytes = vld1q_u8(quants.add(q * 32 + half * 16));
                let low = vreinterpretq_s8_u8(vandq_u8(bytes, vdupq_n_u8(15)));
                let high = vreinterpretq_s8_u8(vshrq_n_u8::<4>(bytes));
                for (i, dot) in dots.iter_mut().enumerate() {
                    let at = values.add(i * BLOCK + q * 4);
                    dot[half] = sdot(dot[half], low, splat(at));
                    dot[half] = sdot(dot[half], high, splat(at.add(16)));
                }
            }
        }
    }
}

/// Splats four bytes to every lane.
///
/// # Safety
/// `at` must be readable for four bytes.
#[inline(always)]
unsafe fn splat(at: *const i8) -> int8x16_t {
    // SAFETY: by the caller's contract; NEON is part of aarch64.
    unsafe { vreinterpretq_s8_s32(vdupq_n_s32(at.cast::<i32>().read_unaligned())) }
}

/// `sum[lane] += a[4 lane + i] * b[4 lane + i]`, i in 0..4.
#[inline]
#[target_feature(enable = "neon,dotprod")]
fn sdot(mut sum: int32x4_t, a: int8x16_t, b: int8x16_t) -> int32x4_t {
    // SAFETY: registers alone; this function enables the instruction.
    unsafe {
        asm!(
            "sdot {sum:v}.4s, {a:v}.16b, {b:v}.16b",
            sum = inout(vreg) sum, a = in(vreg) a, b = in(vreg) b,
            options(pure, nomem, nostack, preserves_flags)
        );
    }
    sum
}
