//! simd128: each 16-byte vector of weights holds four rows by four columns,
//! two vectors make the panel's eight rows. The multiplying instruction is
//! [`super::dot`]'s.

use core::arch::wasm32::*;

pub use super::dot::{PACKED, TILE, name as instructions, pack};
use super::{
    arguments::Panel,
    dot::{self, Product, Product4},
};
use crate::backend::cpu::{
    matrix::PANEL,
    panels::Format,
    quant::{BLOCK, Tile},
};

/// See [`crate::backend::cpu::scalar::panel`]; at most [`TILE`] rows.
pub fn panel(format: Format, quants: &[u8], scales: &[f32], x: &Tile, sums: &mut [[f32; PANEL]]) {
    let panel = Panel::new(format, quants, scales, x, sums);
    match panel.format {
        Format::Q8 => dot::panel8(panel),
        Format::Q4 => dot::panel4(panel),
    }
}

/// A panel of 8-bit weights.
pub fn panel8<P: Product>(panel: Panel) {
    by_rows!(tile8::<P>(panel))
}

/// A panel of 4-bit weights.
pub fn panel4<P: Product4>(panel: Panel) {
    by_rows!(tile4::<P>(panel))
}

/// R activation rows times a panel of 8-bit weights. Half a panel at a time,
/// so that more rows' sums stay in registers.
#[inline(always)]
fn tile8<P: Product, const R: usize>(panel: Panel) {
    let Panel { quants, scales, x, sums, .. } = panel;
    let mut totals = [[f32x4_splat(0.0); 2]; R];
    for b in 0..quants.len() / Format::Q8.block_bytes() {
        for half in 0..2 {
            let (mut shared, mut dots) = (P::START.0, [P::START.1; R]);
            // SAFETY: the block is in quants, scales and tile.
            unsafe {
                let block = quants.as_ptr().add(b * Format::Q8.block_bytes() + half * 16);
                let packed = x.packed.as_ptr().add(b * R * PACKED);
                for q in 0..BLOCK / 4 {
                    let weights = P::widen(v128_load(block.add(q * 32).cast()), &mut shared);
                    for (i, dot) in dots.iter_mut().enumerate() {
                        P::add(dot, weights, packed.add(i * PACKED), q);
                    }
                }
                let scale = v128_load(scales.as_ptr().add(b * PANEL + half * 4).cast());
                let x_scales = x.scales.as_ptr().add(b * R);
                for (i, (dot, total)) in dots.iter().zip(&mut totals).enumerate() {
                    let scale = f32x4_mul(scale, v128_load32_splat(x_scales.add(i).cast()));
                    add_scaled(&mut total[half], P::total(*dot, shared), scale);
                }
            }
        }
    }
    store(&totals, sums);
}

/// The same for 4-bit weights.
#[inline(always)]
fn tile4<P: Product4, const R: usize>(panel: Panel) {
    let Panel { quants, scales, x, sums, .. } = panel;
    let mut totals = [[f32x4_splat(0.0); 2]; R];
    for b in 0..quants.len() / Format::Q4.block_bytes() {
        for half in 0..2 {
            let mut dots = [P::START; R];
            // SAFETY: the block is in quants, scales and tile.
            unsafe {
                let block = quants.as_ptr().add(b * Format::Q4.block_bytes() + half * 16);
                let packed = x.packed.as_ptr().add(b * R * PACKED);
                for q in 0..BLOCK / 8 {
                    let bytes = v128_load(block.add(q * 32).cast());
                    let low = P::widen(v128_and(bytes, u8x16_splat(15)));
                    // Not u8x16_shr: engines mask after it once more.
                    let high = P::widen(v128_and(u16x8_shr(bytes, 4), u8x16_splat(15)));
                    for (i, dot) in dots.iter_mut().enumerate() {
                        P::add(dot, low, packed.add(i * PACKED), q);
                        P::add(dot, high, packed.add(i * PACKED), q + 4);
                    }
                }
                let scale = v128_load(scales.as_ptr().add(b * PANEL + half * 4).cast());
                let (x_scales, offsets) = (x.scales.as_ptr().add(b * R), x.offsets.as_ptr().add(b * R));
                for (i, (dot, total)) in dots.iter().zip(&mut totals).enumerate() {
                    let scale = f32x4_mul(scale, v128_load32_splat(x_scales.add(i).cast()));
                    let dot = i32x4_add(P::total(*dot), v128_load32_splat(offsets.add(i).cast()));
                    add_scaled(&mut total[half], dot, scale);
                }
            }
        }
    }
    store(&totals, sums);
}

#[inline(always)]
fn store(totals: &[[v128; 2]], sums: &mut [[f32; PANEL]]) {
    for (sum, total) in sums.iter_mut().zip(totals) {
        // SAFETY: a row of sums has eight floats.
        unsafe {
            v128_store(sum.as_mut_ptr().cast(), total[0]);
            v128_store(sum.as_mut_ptr().add(4).cast(), total[1]);
        }
    }
}

/// `total += f32(dot) * scale` for four rows.
#[inline(always)]
fn add_scaled(total: &mut v128, dot: v128, scale: v128) {
    *total = f32x4_add(*total, f32x4_mul(f32x4_convert_i32x4(dot), scale));
}
