//! simd128: each 16-byte vector of weights holds four rows by four columns; two vectors make the
//! panel's eight rows. [`super::dot`] supplies the multiplying instruction.

use core::arch::wasm32::*;

pub use super::dot::{PACKED, TILE, format8, name as instructions, pack, panels, tile_rows};
use super::{
    Panels,
    dot::{Constants, Product},
};
use crate::backend::cpu::{
    matrix::PANEL,
    panels::{Format, SCALES_BYTES},
    quant::{BLOCK, Tile},
};

/// Column quads of a block.
const QUADS: usize = BLOCK / 4;

/// Bytes per iteration: four of each of the panel's rows.
const STEP: usize = 32;

/// Interleaves sixteen bytes of each of a panel's rows, four of every row in turn, and flips the
/// bits of `flip`.
pub fn interleaved(rows: [&[u8; 16]; PANEL], flip: u8) -> [[u8; 4 * PANEL]; 4] {
    // SAFETY: a row has sixteen bytes.
    let row = |row: &[u8; 16]| v128_xor(unsafe { v128_load(row.as_ptr().cast()) }, u8x16_splat(flip));
    let [a, b, c, d, e, f, g, h] = rows.map(row);
    let [upper, lower] = [transposed([a, b, c, d]), transposed([e, f, g, h])];
    // SAFETY: both are 32 bytes, of any value.
    std::array::from_fn(|i| unsafe { std::mem::transmute::<[v128; 2], _>([upper[i], lower[i]]) })
}

/// Transposes four rows of four words.
#[inline(always)]
fn transposed([a, b, c, d]: [v128; 4]) -> [v128; 4] {
    let [ab, cd] = [i32x4_shuffle::<0, 4, 1, 5>(a, b), i32x4_shuffle::<0, 4, 1, 5>(c, d)];
    let [ab2, cd2] = [i32x4_shuffle::<2, 6, 3, 7>(a, b), i32x4_shuffle::<2, 6, 3, 7>(c, d)];
    [
        i64x2_shuffle::<0, 2>(ab, cd),
        i64x2_shuffle::<1, 3>(ab, cd),
        i64x2_shuffle::<0, 2>(ab2, cd2),
        i64x2_shuffle::<1, 3>(ab2, cd2),
    ]
}

/// Multiplies panels with the form `P`.
pub fn run<P: Product>(panels: Panels) {
    const { assert!(P::MOST <= TILE && P::ROWS <= P::MOST) };
    by_rows!(tile::<P>(panels), P::MOST)
}

/// A block's sums for each activation row: of the panel's upper and lower four rows.
type Sums<P, const R: usize> = [[<P as Product>::Sum; 2]; R];

/// Multiplies panels with R activation rows. One function for each R: browsers optimise whole
/// functions, and the more there is in one, the longer its slow version runs.
#[inline(never)]
fn tile<P: Product, const R: usize>(mut panels: Panels) {
    let x = panels.x();
    let constants = Constants::new();
    // A count unknown to the compiler. Unrolled, the loop would finish one sum after the other, or
    // load all weights first, and run out of registers.
    let steps = std::hint::black_box(P::FORMAT.quant_bytes() / STEP);
    in_turn!(panels, P::FORMAT, R, |block, b, sums| {
        // SAFETY: `block` is a block of P's format, and the rows of all calls together are the
        // tile's.
        unsafe {
            if R <= P::ROWS {
                rows::<P, R>(constants, steps, block, x, b * R, sums);
            } else {
                let (pairs, last) = sums.as_chunks_mut::<2>();
                for (i, sums) in pairs.iter_mut().enumerate() {
                    rows::<P, 2>(constants, steps, block, x, b * R + i * 2, sums);
                }
                if let [last] = last {
                    rows::<P, 1>(constants, steps, block, x, b * R + R - 1, std::array::from_mut(last));
                }
            }
        }
    });
}

/// Adds a block's products to the sums of R activation rows, whose blocks begin at index `at` of
/// the tile.
///
/// # Safety
/// `steps` must be the format's, `block` hold a block of P's format, and the tile hold R rows'
/// blocks from `at` on.
#[inline(always)]
unsafe fn rows<P: Product, const R: usize>(
    constants: Constants,
    steps: usize,
    block: *const u8,
    x: &Tile,
    at: usize,
    sums: &mut [[f32; PANEL]; R],
) {
    // SAFETY: by the caller's contract; a row of sums has eight floats.
    unsafe {
        let offsets = x.offsets.as_ptr().add(at);
        let rows = P::rows(x).add(at * P::ROW);
        let mut dots: Sums<P, R> =
            std::array::from_fn(|i| [P::start(constants, v128_load32_splat(offsets.add(i).cast())); 2]);
        multiply::<P, R>(constants, steps, block.add(SCALES_BYTES), rows, &mut dots);
        let scale = [v128_load(block.cast()), v128_load(block.add(16).cast())];
        let x_scales = x.scales.as_ptr().add(at);
        for (i, (dots, sums)) in dots.iter().zip(sums).enumerate() {
            let x_scale = v128_load32_splat(x_scales.add(i).cast());
            for half in 0..2 {
                let dot = f32x4_convert_i32x4(P::total(constants, dots[half]));
                let scale = f32x4_mul(scale[half], x_scale);
                let sum = sums.as_mut_ptr().add(half * 4).cast();
                v128_store(sum, f32x4_add(v128_load(sum), f32x4_mul(dot, scale)));
            }
        }
    }
}

/// Adds a block's products to the integer sums.
///
/// # Safety
/// `steps` must be the format's, `quants` hold a block's weights, `rows` R rows' blocks.
#[inline(always)]
unsafe fn multiply<P: Product, const R: usize>(
    constants: Constants,
    steps: usize,
    quants: *const u8,
    rows: *const u8,
    dots: &mut Sums<P, R>,
) {
    // The columns of upper nibbles.
    const UPPER: usize = QUADS / 2;
    // SAFETY: by the caller's contract; the iterations together cover one block.
    unsafe {
        let bytes = |quants: *const u8| -> [v128; 2] {
            std::array::from_fn(|half| v128_load(quants.add(half * 16).cast()))
        };
        match P::FORMAT {
            Format::Q8 | Format::U8 => each::<P>(steps, quants, rows, |quants, rows| {
                let weights = std::array::from_fn(|half| P::load(quants.add(half * 16)));
                quad::<P, R>(weights, rows, dots, |sum, w, x| P::add(constants, sum, w, x));
            }),
            Format::Q4 if R >= P::TWO_PASSES => {
                each::<P>(steps, quants, rows, |quants, rows| {
                    let weights = bytes(quants).map(|bytes| P::lower(constants, bytes));
                    quad::<P, R>(weights, rows, dots, |sum, w, x| P::add(constants, sum, w, x));
                });
                each::<P>(steps, quants, rows.add(UPPER * P::QUAD), |quants, rows| {
                    let weights = bytes(quants).map(|bytes| P::upper(constants, bytes));
                    quad::<P, R>(weights, rows, dots, |sum, w, x| P::add_upper(constants, sum, w, x));
                });
            }
            Format::Q4 => each::<P>(steps, quants, rows, |quants, rows| {
                let bytes = bytes(quants);
                let lower = bytes.map(|bytes| P::lower(constants, bytes));
                let upper = bytes.map(|bytes| P::upper(constants, bytes));
                for (i, dots) in dots.iter_mut().enumerate() {
                    let x = [0, UPPER].map(|q| P::quad(rows.add(i * P::ROW + q * P::QUAD)));
                    for half in 0..2 {
                        P::add(constants, &mut dots[half], lower[half], x[0]);
                        P::add_upper(constants, &mut dots[half], upper[half], x[1]);
                    }
                }
            }),
        }
    }
}

/// Calls f for each column quad of a block, or each two of 4-bit weights, with its weights and the
/// rows' activations.
///
/// # Safety
/// `quants` must hold `steps` times [`STEP`] bytes, `rows` as many quads.
#[inline(always)]
unsafe fn each<P: Product>(
    steps: usize,
    mut quants: *const u8,
    mut rows: *const u8,
    mut f: impl FnMut(*const u8, *const u8),
) {
    let mut left = steps;
    loop {
        f(quants, rows);
        // SAFETY: by the caller's contract; after the last, both are at most at the end.
        (quants, rows) = unsafe { (quants.add(STEP), rows.add(P::QUAD)) };
        left -= 1;
        if left == 0 {
            return;
        }
    }
}

/// Adds the products of one column quad.
///
/// # Safety
/// `rows` must hold the quad in R rows' blocks.
#[inline(always)]
unsafe fn quad<P: Product, const R: usize>(
    weights: [P::Weights; 2],
    rows: *const u8,
    dots: &mut Sums<P, R>,
    add: impl Fn(&mut P::Sum, P::Weights, P::Quad),
) {
    for (i, dots) in dots.iter_mut().enumerate() {
        // SAFETY: by the caller's contract.
        let x = unsafe { P::quad(rows.add(i * P::ROW)) };
        for half in 0..2 {
            add(&mut dots[half], weights[half], x);
        }
    }
}
