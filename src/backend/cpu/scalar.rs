//! The reference kernel: the definition that the vector kernels must equal bit for bit.

use super::{
    matrix::PANEL,
    panels::{Format, parts},
    quant::Tile,
};

/// One panel of weights (blocks, [`Format::block_bytes`]) times the rows of a tile, into sums
/// (rows, PANEL). For one block after the other:
///
/// `sum = sum + f32(integer dot) * (weight scale * activation scale)`
pub fn panel(format: Format, panel: &[u8], x: &Tile, sums: &mut [[f32; PANEL]]) {
    for (row, sum) in sums.iter_mut().enumerate() {
        *sum = [0.0; PANEL];
        for (b, block) in panel.chunks_exact(format.block_bytes()).enumerate() {
            let (scale, quants) = parts(block);
            let (x, x_scale) = x.block(row, b);
            for n in 0..PANEL {
                let mut dot = 0;
                for (k, &x) in x.iter().enumerate() {
                    dot += weight(format, quants, n, k) * i32::from(x);
                }
                sum[n] += dot as f32 * (scale[n] * x_scale);
            }
        }
    }
}

/// The integer weight of panel row n and column k, from a block's weights.
pub fn weight(format: Format, quants: &[u8], n: usize, k: usize) -> i32 {
    let stored = match format {
        Format::Q8 => i32::from(quants[k / 4 * 32 + n * 4 + k % 4] as i8),
        Format::U8 => i32::from(quants[k / 4 * 32 + n * 4 + k % 4]),
        Format::Q4 => {
            let byte = quants[k % 16 / 4 * 32 + n * 4 + k % 4];
            i32::from(byte >> (k / 16 * 4) & 15)
        }
    };
    stored - format.zero()
}
