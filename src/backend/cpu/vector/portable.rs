//! Loops over fixed-size arrays, lane = row, that compilers vectorise: used on targets without a
//! hand-written kernel, and as the fallback of those kernels.

use super::{Panels, equal};
use crate::backend::cpu::{
    matrix::PANEL,
    panels::{Format, parts},
    quant::{BLOCK, Tile},
};

/// Activation rows of a tile.
#[allow(dead_code, reason = "used where no better form is written")]
pub const TILE: usize = 4;

/// Rows of a tile if the batch has `rows`.
#[allow(dead_code, reason = "used where no better form is written")]
pub fn tile_rows(_: Format, rows: usize) -> usize {
    equal(rows, TILE)
}

/// How panels store 8-bit weights.
#[allow(dead_code, reason = "used where no better form is written")]
pub fn format8() -> Format {
    Format::Q8
}

/// Nothing is packed: the values are read as they are.
#[allow(dead_code, reason = "used where no better form is written")]
pub const PACKED: usize = 0;

/// See [`PACKED`].
#[allow(dead_code, reason = "used where no better form is written")]
pub fn pack(_: &[[i8; BLOCK]], _: &mut [u8]) {}

/// Interleaves sixteen bytes of each of a panel's rows, four of every row in turn, and flips the
/// bits of `flip`.
#[allow(dead_code, reason = "used where no better form is written")]
pub fn interleaved(rows: [&[u8; 16]; PANEL], flip: u8) -> [[u8; 4 * PANEL]; 4] {
    std::array::from_fn(|quad| {
        let quads = rows.map(|row| row.as_chunks::<4>().0[quad]);
        std::array::from_fn(|i| quads[i / 4][i % 4] ^ flip)
    })
}

/// The instructions in use.
pub fn instructions() -> &'static str {
    "portable"
}

/// Multiplies panels as [`crate::backend::cpu::scalar::panel`] does.
pub fn panels(panels: Panels) {
    let (format, x) = (panels.format(), panels.x());
    panels.each(|weights, sums| panel(format, weights, x, sums));
}

fn panel(format: Format, panel: &[u8], x: &Tile, sums: &mut [[f32; PANEL]]) {
    for (row, sum) in sums.iter_mut().enumerate() {
        *sum = [0.0; PANEL];
        for (b, block) in panel.chunks_exact(format.block_bytes()).enumerate() {
            let (scales, quants) = parts(block);
            let offset = x.offsets[b * x.rows + row];
            let (x, x_scale) = x.block(row, b);
            let x = x.as_chunks::<4>().0;
            let quads = quants.as_chunks::<32>().0.iter();
            let mut dots = [offset; PANEL];
            match format {
                Format::Q8 => {
                    for (quad, x) in quads.zip(x) {
                        accumulate(&mut dots, &quad.map(|w| i16::from(w as i8)), x);
                    }
                }
                Format::U8 => {
                    for (quad, x) in quads.zip(x) {
                        accumulate(&mut dots, &quad.map(i16::from), x);
                    }
                }
                Format::Q4 => {
                    for (q, quad) in quads.enumerate() {
                        accumulate(&mut dots, &quad.map(|w| i16::from(w & 15)), &x[q]);
                        accumulate(&mut dots, &quad.map(|w| i16::from(w >> 4)), &x[q + 4]);
                    }
                }
            }
            for n in 0..PANEL {
                sum[n] += dots[n] as f32 * (scales[n] * x_scale);
            }
        }
    }
}

/// Adds the products of four columns of eight rows.
#[inline(always)]
fn accumulate(dots: &mut [i32; PANEL], w: &[i16; 32], x: &[i8; 4]) {
    let x = x.map(i16::from);
    for (dot, w) in dots.iter_mut().zip(w.as_chunks::<4>().0) {
        *dot += i32::from(w[0]) * i32::from(x[0])
            + i32::from(w[1]) * i32::from(x[1])
            + i32::from(w[2]) * i32::from(x[2])
            + i32::from(w[3]) * i32::from(x[3]);
    }
}
