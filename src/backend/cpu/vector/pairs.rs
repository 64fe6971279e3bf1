//! Products of 16-bit numbers, two a lane (`i32x4.dot_i16x8_s`): for simd128 without relaxed SIMD.

use core::arch::wasm32::*;

use super::dot::{Constants, Product, TILE, ZERO};
use crate::backend::cpu::{
    panels::Format,
    quant::{BLOCK, Tile},
};

/// Bytes of a packed block: 16 bits per value.
pub const BYTES: usize = 2 * BLOCK;

/// Widens a block to 16 bits per value.
pub fn write(values: &[i8; BLOCK], out: &mut [u8]) {
    for (v, out) in values.iter().zip(out.as_chunks_mut::<2>().0) {
        *out = i16::from(*v).to_le_bytes();
    }
}

/// 8-bit weights. One vector of sums is for rows 0 and 1, one for rows 2 and 3, with a lane each
/// for columns 0+1 and 2+3; these pairs of lanes are added once per block.
pub type Bytes = Pairs<false>;

/// 4-bit weights, with the same sums.
pub type Nibbles = Pairs<true>;

pub struct Pairs<const NIBBLES: bool>;

impl<const NIBBLES: bool> Product for Pairs<NIBBLES> {
    type Weights = (v128, v128);
    type Quad = v128;
    type Sum = (v128, v128);
    const FORMAT: Format = if NIBBLES { Format::Q4 } else { Format::Q8 };
    const MOST: usize = TILE;
    // For nibbles, unpacking them twice costs more than spilling sums.
    const ROWS: usize = if NIBBLES { 4 } else { 2 };
    const ROW: usize = BYTES;
    const QUAD: usize = 8;

    #[inline(always)]
    fn rows(x: &Tile) -> *const u8 {
        x.packed.as_ptr()
    }

    #[inline(always)]
    fn start(_: Constants, offset: v128) -> (v128, v128) {
        // Into one of a row's two lanes.
        let first = if NIBBLES { v128_and(offset, i32x4(-1, 0, -1, 0)) } else { ZERO };
        (first, first)
    }

    #[inline(always)]
    fn weights(weights: v128) -> (v128, v128) {
        (i16x8_extend_low_i8x16(weights), i16x8_extend_high_i8x16(weights))
    }

    #[inline(always)]
    unsafe fn load(from: *const u8) -> (v128, v128) {
        // Two loads, because extending the upper half of a register takes an instruction more.
        // SAFETY: by the caller's contract.
        unsafe { (i16x8_load_extend_i8x8(from.cast()), i16x8_load_extend_i8x8(from.add(8).cast())) }
    }

    #[inline(always)]
    unsafe fn quad(x: *const u8) -> v128 {
        // SAFETY: by the caller's contract; a quad has four times two bytes.
        unsafe { v128_load64_splat(x.cast()) }
    }

    #[inline(always)]
    fn add(_: Constants, sum: &mut (v128, v128), weights: (v128, v128), x: v128) {
        sum.0 = i32x4_add(sum.0, i32x4_dot_i16x8(weights.0, x));
        sum.1 = i32x4_add(sum.1, i32x4_dot_i16x8(weights.1, x));
    }

    #[inline(always)]
    fn total(_: Constants, sum: (v128, v128)) -> v128 {
        let even = i32x4_shuffle::<0, 2, 4, 6>(sum.0, sum.1);
        let odd = i32x4_shuffle::<1, 3, 5, 7>(sum.0, sum.1);
        i32x4_add(even, odd)
    }
}
