//! simd128: each 16-byte vector of weights holds four rows by four columns.
//!
//! Widened to 16 bits, one multiply-add (`i32x4.dot_i16x8_s`) makes two
//! partial sums of each of two rows; the pairs meet once a block. Every weight
//! vector is widened once for all activation rows of the tile.

use core::arch::wasm32::*;

use crate::backend::cpu::{
    matrix::PANEL,
    quant::{BLOCK, QuantRows},
};

/// See [`crate::backend::cpu::scalar::panel_q8`].
pub fn panel_q8(quants: &[u8], scales: &[f32], x: &QuantRows, r: usize, sums: &mut [[f32; PANEL]]) {
    tiles(sums, |at, sums| match sums.len() {
        4 => tile::<4, Q8>(quants, scales, x, r + at, sums),
        3 => tile::<3, Q8>(quants, scales, x, r + at, sums),
        2 => tile::<2, Q8>(quants, scales, x, r + at, sums),
        _ => tile::<1, Q8>(quants, scales, x, r + at, sums),
    });
}

/// See [`crate::backend::cpu::scalar::panel_q4`].
pub fn panel_q4(quants: &[u8], scales: &[f32], x: &QuantRows, r: usize, sums: &mut [[f32; PANEL]]) {
    tiles(sums, |at, sums| match sums.len() {
        4 => tile::<4, Q4>(quants, scales, x, r + at, sums),
        3 => tile::<3, Q4>(quants, scales, x, r + at, sums),
        2 => tile::<2, Q4>(quants, scales, x, r + at, sums),
        _ => tile::<1, Q4>(quants, scales, x, r + at, sums),
    });
}

/// Cuts the sums into tiles of at most four rows.
fn tiles(sums: &mut [[f32; PANEL]], mut run: impl FnMut(usize, &mut [[f32; PANEL]])) {
    for (i, tile) in sums.chunks_mut(4).enumerate() {
        run(i * 4, tile);
    }
}

/// How a block's bytes become vectors of 4 rows x 4 columns of i8.
trait Unpack {
    const BLOCK_BYTES: usize;
    /// The vector of column quad q (0..8), rows 4 half.. of the panel.
    ///
    /// # Safety
    /// `block` must be readable for `BLOCK_BYTES` bytes, q < 8, half < 2.
    unsafe fn weights(block: *const u8, q: usize, half: usize) -> v128;
}

struct Q8;
struct Q4;

impl Unpack for Q8 {
    const BLOCK_BYTES: usize = 256;
    #[inline(always)]
    unsafe fn weights(block: *const u8, q: usize, half: usize) -> v128 {
        // SAFETY: 32 q + 16 half + 16 <= 256.
        unsafe { v128_load(block.add(q * 32 + half * 16).cast()) }
    }
}

impl Unpack for Q4 {
    const BLOCK_BYTES: usize = 128;
    #[inline(always)]
    unsafe fn weights(block: *const u8, q: usize, half: usize) -> v128 {
        // SAFETY: 32 (q mod 4) + 16 half + 16 <= 128.
        let bytes = unsafe { v128_load(block.add(q % 4 * 32 + half * 16).cast()) };
        let nibbles = if q < 4 { v128_and(bytes, u8x16_splat(15)) } else { u8x16_shr(bytes, 4) };
        i8x16_sub(nibbles, i8x16_splat(8))
    }
}

/// R activation rows times one panel. `sums` has R rows.
fn tile<const R: usize, U: Unpack>(
    quants: &[u8],
    scales: &[f32],
    x: &QuantRows,
    r: usize,
    sums: &mut [[f32; PANEL]],
) {
    let rows: [(&[i16], &[f32]); R] = core::array::from_fn(|i| x.row(r + i));
    let blocks = quants.len() / U::BLOCK_BYTES;
    assert!(scales.len() >= blocks * PANEL && sums.len() >= R);
    assert!(rows.iter().all(|(v, s)| v.len() >= blocks * BLOCK && s.len() >= blocks));
    for half in 0..2 {
        let mut total = [f32x4_splat(0.0); R];
        for b in 0..blocks {
            let mut low = [i32x4_splat(0); R];
            let mut high = [i32x4_splat(0); R];
            // SAFETY: the asserts above bound every block, row and scale read here.
            unsafe {
                let block = quants.as_ptr().add(b * U::BLOCK_BYTES);
                for q in 0..BLOCK / 4 {
                    let w = U::weights(block, q, half);
                    let (w01, w23) = (i16x8_extend_low_i8x16(w), i16x8_extend_high_i8x16(w));
                    for i in 0..R {
                        let x = v128_load64_splat(rows[i].0.as_ptr().add(b * BLOCK + q * 4).cast());
                        low[i] = i32x4_add(low[i], i32x4_dot_i16x8(w01, x));
                        high[i] = i32x4_add(high[i], i32x4_dot_i16x8(w23, x));
                    }
                }
                let scale = v128_load(scales.as_ptr().add(b * PANEL + half * 4).cast());
                for i in 0..R {
                    let even = i32x4_shuffle::<0, 2, 4, 6>(low[i], high[i]);
                    let odd = i32x4_shuffle::<1, 3, 5, 7>(low[i], high[i]);
                    let dot = f32x4_convert_i32x4(i32x4_add(even, odd));
                    let scale = f32x4_mul(scale, f32x4_splat(rows[i].1[b]));
                    total[i] = f32x4_add(total[i], f32x4_mul(dot, scale));
                }
            }
        }
        for (sum, total) in sums.iter_mut().zip(total) {
            // SAFETY: a row of sums has 8 floats; 4 half + 4 <= 8.
            unsafe { v128_store(sum.as_mut_ptr().add(half * 4).cast(), total) };
        }
    }
}
