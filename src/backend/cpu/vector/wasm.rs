//! simd128: each 16-byte vector of weights holds four rows by four columns,
//! two vectors make the panel's eight rows. The multiplying instruction is
//! [`super::dot`]'s.

use core::arch::wasm32::*;

pub use super::dot::{PACKED, TILE, TILE_OF_MANY, name as instructions, pack, panels};
use super::{Panels, dot::Product};
use crate::backend::cpu::{matrix::PANEL, panels::Format, quant::BLOCK};

/// Column quads of a block.
const QUADS: usize = BLOCK / 4;

/// Runs panels with one way to multiply.
pub fn run<P: Product>(panels: Panels) {
    by_rows!(tile::<P>(panels))
}

/// A block's sums: of each activation row, the panel's upper and its lower
/// four rows.
type Sums<P, const R: usize> = [[<P as Product>::Sum; 2]; R];

/// R activation rows times some panels.
#[inline(always)]
fn tile<P: Product, const R: usize>(panels: Panels) {
    let Panels { quants, scales, stride, x, sums, .. } = panels;
    let (rows, blocks) = (P::rows(x), x.blocks());
    sums.as_flattened_mut().fill(0.0);
    for b in 0..blocks {
        for (p, sums) in sums.as_chunks_mut::<R>().0.iter_mut().enumerate() {
            let at = p * stride * blocks + b;
            // SAFETY: the block is in quants, scales and tile, by the contract
            // of Panels, and a row of sums has eight floats.
            unsafe {
                let block = quants.as_ptr().add(at * P::FORMAT.block_bytes());
                let offsets = x.offsets.as_ptr().add(b * R);
                let mut dots: Sums<P, R> =
                    std::array::from_fn(|i| [P::start(v128_load32_splat(offsets.add(i).cast())); 2]);
                multiply::<P, R>(block, rows.add(b * R * P::ROW), &mut dots);
                let scale = scales.as_ptr().add(at * PANEL);
                let scale = [v128_load(scale.cast()), v128_load(scale.add(4).cast())];
                let x_scales = x.scales.as_ptr().add(b * R);
                for (i, (dots, sums)) in dots.iter().zip(sums).enumerate() {
                    let x_scale = v128_load32_splat(x_scales.add(i).cast());
                    for half in 0..2 {
                        let dot = f32x4_convert_i32x4(P::total(dots[half]));
                        let scale = f32x4_mul(scale[half], x_scale);
                        let sum = sums.as_mut_ptr().add(half * 4).cast();
                        v128_store(sum, f32x4_add(v128_load(sum), f32x4_mul(dot, scale)));
                    }
                }
            }
        }
    }
}

/// Adds a block's products.
///
/// # Safety
/// `block` must hold a block of P's format, `rows` R rows' blocks.
#[inline(always)]
unsafe fn multiply<P: Product, const R: usize>(block: *const u8, rows: *const u8, dots: &mut Sums<P, R>) {
    let step = match P::FORMAT {
        Format::Q8 => 1,
        Format::Q4 => 2,
    };
    // SAFETY: the caller's; the steps together are a block.
    unsafe {
        if R <= 2 {
            // Few sums wait for each other: every other step has its own.
            let mut others: Sums<P, R> = [[P::start(i32x4_splat(0)); 2]; R];
            for at in (0..QUADS / step).step_by(2) {
                quads::<P, R>(block.add(at * 32), rows.add(at * P::QUAD), dots);
                quads::<P, R>(block.add((at + 1) * 32), rows.add((at + 1) * P::QUAD), &mut others);
            }
            for (dots, others) in dots.iter_mut().zip(others) {
                *dots = [P::join(dots[0], others[0]), P::join(dots[1], others[1])];
            }
            return;
        }
        // A count that the compiler does not know: unrolled, it would finish
        // one sum after the other and run out of registers for the rest.
        let mut steps = std::hint::black_box(QUADS / step);
        let (mut block, mut rows) = (block, rows);
        loop {
            quads::<P, R>(block, rows, dots);
            (block, rows) = (block.add(32), rows.add(P::QUAD));
            steps -= 1;
            if steps == 0 {
                return;
            }
        }
    }
}

/// Adds the products of one column quad, of 4-bit weights two.
///
/// # Safety
/// `block` must be readable for 32 bytes, `rows` for that quad of R rows' blocks.
#[inline(always)]
unsafe fn quads<P: Product, const R: usize>(block: *const u8, rows: *const u8, dots: &mut Sums<P, R>) {
    // SAFETY: the caller's.
    unsafe {
        let bytes = [v128_load(block.cast()), v128_load(block.add(16).cast())];
        match P::FORMAT {
            Format::Q8 => {
                let weights = bytes.map(P::weights);
                for (i, dots) in dots.iter_mut().enumerate() {
                    let x = P::quad(rows.add(i * P::ROW));
                    P::add(&mut dots[0], weights[0], x);
                    P::add(&mut dots[1], weights[1], x);
                }
            }
            Format::Q4 => {
                let low = bytes.map(|bytes| P::weights(v128_and(bytes, u8x16_splat(15))));
                // Not u8x16_shr: engines mask after it once more.
                let high = bytes.map(|bytes| P::weights(v128_and(u16x8_shr(bytes, 4), u8x16_splat(15))));
                for (i, dots) in dots.iter_mut().enumerate() {
                    let x = [0, QUADS / 2].map(|q| P::quad(rows.add(i * P::ROW + q * P::QUAD)));
                    for half in 0..2 {
                        P::add(&mut dots[half], low[half], x[0]);
                        P::add(&mut dots[half], high[half], x[1]);
                    }
                }
            }
        }
    }
}
