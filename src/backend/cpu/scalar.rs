//! The reference kernels: the definition that the vector forms must equal bit
//! for bit.

use super::{
    matrix::PANEL,
    panels::Format,
    quant::{BLOCK, QuantRows},
};

/// Q8 panel (blocks, 256 bytes), scales (blocks, PANEL), times activation rows
/// r.. of x; writes sums (rows, PANEL).
pub fn panel_q8(quants: &[u8], scales: &[f32], x: &QuantRows, r: usize, sums: &mut [[f32; PANEL]]) {
    panel(Format::Q8, quants, scales, x, r, sums, |block, n, k| {
        i32::from(block[k / 4 * 32 + n * 4 + k % 4] as i8)
    });
}

/// Q4 panel (blocks, 128 bytes); otherwise as [`panel_q8`].
pub fn panel_q4(quants: &[u8], scales: &[f32], x: &QuantRows, r: usize, sums: &mut [[f32; PANEL]]) {
    panel(Format::Q4, quants, scales, x, r, sums, |block, n, k| {
        let byte = block[k % 16 / 4 * 32 + n * 4 + k % 4];
        i32::from(byte >> (k / 16 * 4) & 15) - 8
    });
}

#[inline(always)]
fn panel(
    format: Format,
    quants: &[u8],
    scales: &[f32],
    x: &QuantRows,
    r: usize,
    sums: &mut [[f32; PANEL]],
    weight: impl Fn(&[u8], usize, usize) -> i32,
) {
    for (i, sum) in sums.iter_mut().enumerate() {
        let (values, x_scales) = x.row(r + i);
        *sum = [0.0; PANEL];
        let blocks = quants.chunks_exact(format.block_bytes());
        let scales = scales.as_chunks::<PANEL>().0;
        for (((block, scale), x), x_scale) in
            blocks.zip(scales).zip(values.as_chunks::<BLOCK>().0).zip(x_scales)
        {
            for n in 0..PANEL {
                let mut dot = 0;
                for (k, &x) in x.iter().enumerate() {
                    dot += weight(block, n, k) * i32::from(x);
                }
                sum[n] += dot as f32 * (scale[n] * x_scale);
            }
        }
    }
}
