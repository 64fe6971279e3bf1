//! Multiplies eight activation rows at once, a lane of a sum for each: instead of activations, four
//! columns of weights are splatted to every lane. An activation row is two operands here (`signs`)
//! and a weight one, and a splat takes one more instruction to load; so with this many rows
//! splatting the weights costs less.

use core::arch::wasm32::*;

use super::{Panels, signs, wasm::transposed};
use crate::backend::cpu::{
    matrix::PANEL,
    panels::{Format, SCALES_BYTES},
    quant::BLOCK,
};

/// Activation rows of a tile.
pub const ROWS: usize = 8;

/// Weight rows per pass: their sums and operands fit the fifteen vector registers that engines have
/// on x86-64.
const OUTPUTS: usize = 4;

/// Bytes of the rows' column quad: magnitudes, then signs.
const QUAD: usize = 2 * ROWS * 4;

/// Bytes of a packed block: its quads, then the rows' initial sums.
const BYTES: usize = BLOCK / 4 * QUAD + ROWS * 4;

const _: () = assert!(BYTES == ROWS * signs::BYTES);

/// Packs one block of a tile.
pub fn pack(rows: &[[i8; BLOCK]; ROWS], out: &mut [u8]) {
    let (quads, firsts) = out.split_at_mut(BLOCK / 4 * QUAD);
    for (row, values) in rows.iter().enumerate() {
        let mut packed = [0; signs::BYTES];
        signs::write(values, &mut packed);
        let (magnitudes, rest) = packed.as_chunks::<4>().0.split_at(BLOCK / 4);
        let (signs, first) = rest.split_at(BLOCK / 4);
        for ((quad, magnitude), sign) in quads.chunks_exact_mut(QUAD).zip(magnitudes).zip(signs) {
            quad[row * 4..][..4].copy_from_slice(magnitude);
            quad[QUAD / 2 + row * 4..][..4].copy_from_slice(sign);
        }
        firsts[row * 4..][..4].copy_from_slice(first.as_flattened());
    }
}

/// Multiplies panels of 8-bit weights with a tile of [`ROWS`] rows.
pub fn run(mut panels: Panels) {
    let x = panels.x();
    assert!(x.rows == ROWS);
    let ones = std::hint::black_box(i16x8_splat(1));
    in_turn!(panels, Format::Q8, ROWS, |block, b, sums| {
        // SAFETY: the tile has as many blocks as the panels, and a panel's sums are PANEL x ROWS
        // floats, here the rows of one output together.
        unsafe {
            let packed = x.packed.as_ptr().add(b * BYTES);
            let scales = x.scales.as_ptr().add(b * ROWS).cast();
            let sums: *mut v128 = sums.as_mut_ptr().cast();
            for first in (0..PANEL).step_by(OUTPUTS) {
                outputs(ones, block.add(first * 4), packed, scales, sums.add(first * 2));
            }
        }
    });
    panels.sums().as_chunks_mut().0.iter_mut().for_each(transpose);
}

/// Adds a block's products with [`OUTPUTS`] weight rows to their sums.
///
/// # Safety
/// `block` must point to the first weight row's scale in a block of weights, `packed` to the tile's
/// packed block; `scales` must be readable for its scales, `sums` writable for OUTPUTS x ROWS
/// floats.
#[inline(always)]
unsafe fn outputs(ones: v128, block: *const u8, packed: *const u8, scales: *const v128, sums: *mut v128) {
    // SAFETY: by the caller's contract; the iterations together cover one block.
    unsafe {
        let firsts: *const v128 = packed.add(BLOCK / 4 * QUAD).cast();
        let mut dots = [[v128_load(firsts), v128_load(firsts.add(1))]; OUTPUTS];
        // A count unknown to the compiler: see `wasm`.
        let mut left = std::hint::black_box(BLOCK / 4);
        let (mut quants, mut quad) = (block.add(SCALES_BYTES), packed.cast::<v128>());
        loop {
            let magnitudes = [v128_load(quad), v128_load(quad.add(1))];
            let signs = [v128_load(quad.add(2)), v128_load(quad.add(3))];
            for (i, dots) in dots.iter_mut().enumerate() {
                let weights = v128_load32_splat(quants.add(i * 4).cast());
                for half in 0..2 {
                    let pairs =
                        i16x8_relaxed_dot_i8x16_i7x16(v128_xor(weights, signs[half]), magnitudes[half]);
                    dots[half] = i32x4_add(dots[half], i32x4_dot_i16x8(pairs, ones));
                }
            }
            (quants, quad) = (quants.add(PANEL * 4), quad.add(QUAD / 16));
            left -= 1;
            if left == 0 {
                break;
            }
        }
        let x_scales = [v128_load(scales), v128_load(scales.add(1))];
        for (i, dots) in dots.iter().enumerate() {
            let scale = v128_load32_splat(block.add(i * 4).cast());
            for half in 0..2 {
                let dot = f32x4_convert_i32x4(dots[half]);
                let sum = sums.add(i * 2 + half);
                let product = f32x4_mul(dot, f32x4_mul(scale, x_scales[half]));
                v128_store(sum, f32x4_add(v128_load(sum), product));
            }
        }
    }
}

/// Transposes sums (outputs, rows) into (rows, outputs).
fn transpose(sums: &mut [[f32; PANEL]; ROWS]) {
    let at: *mut v128 = sums.as_mut_ptr().cast();
    // SAFETY: eight times eight floats are 16 vectors.
    unsafe {
        let quarter = |first: usize| std::array::from_fn(|i| v128_load(at.add(first + 2 * i)));
        let [a, b, c, d] = [0, 1, 8, 9].map(quarter).map(transposed);
        for (first, quarter) in [(0, a), (1, c), (8, b), (9, d)] {
            for (i, row) in quarter.into_iter().enumerate() {
                v128_store(at.add(first + 2 * i), row);
            }
        }
    }
}
