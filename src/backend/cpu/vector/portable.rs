//! Loops over fixed-size arrays, lane = row, that compilers vectorise.

use crate::backend::cpu::{
    matrix::PANEL,
    quant::{BLOCK, QuantRows},
};

/// See [`crate::backend::cpu::scalar::panel_q8`].
pub fn panel_q8(quants: &[u8], scales: &[f32], x: &QuantRows, r: usize, sums: &mut [[f32; PANEL]]) {
    let blocks = quants.as_chunks::<256>().0;
    for (i, sum) in sums.iter_mut().enumerate() {
        let (values, x_scales) = x.row(r + i);
        *sum = [0.0; PANEL];
        for (b, block) in blocks.iter().enumerate() {
            let x: &[i16; BLOCK] = &values.as_chunks().0[b];
            let mut dots = [0i32; PANEL];
            for (quad, x) in block.as_chunks::<32>().0.iter().zip(x.as_chunks::<4>().0) {
                accumulate(&mut dots, &quad.map(|w| i16::from(w as i8)), x);
            }
            scale_and_add(sum, &dots, &scales.as_chunks().0[b], x_scales[b]);
        }
    }
}

/// See [`crate::backend::cpu::scalar::panel_q4`].
pub fn panel_q4(quants: &[u8], scales: &[f32], x: &QuantRows, r: usize, sums: &mut [[f32; PANEL]]) {
    let blocks = quants.as_chunks::<128>().0;
    for (i, sum) in sums.iter_mut().enumerate() {
        let (values, x_scales) = x.row(r + i);
        *sum = [0.0; PANEL];
        for (b, block) in blocks.iter().enumerate() {
            let x: &[i16; BLOCK] = &values.as_chunks().0[b];
            let quads = x.as_chunks::<4>().0;
            let mut dots = [0i32; PANEL];
            for (q, quad) in block.as_chunks::<32>().0.iter().enumerate() {
                accumulate(&mut dots, &quad.map(|w| i16::from(w & 15) - 8), &quads[q]);
                accumulate(&mut dots, &quad.map(|w| i16::from(w >> 4) - 8), &quads[q + 4]);
            }
            scale_and_add(sum, &dots, &scales.as_chunks().0[b], x_scales[b]);
        }
    }
}

/// Four columns of eight rows.
#[inline(always)]
fn accumulate(dots: &mut [i32; PANEL], w: &[i16; 32], x: &[i16; 4]) {
    for (dot, w) in dots.iter_mut().zip(w.as_chunks::<4>().0) {
        *dot += i32::from(w[0]) * i32::from(x[0])
            + i32::from(w[1]) * i32::from(x[1])
            + i32::from(w[2]) * i32::from(x[2])
            + i32::from(w[3]) * i32::from(x[3]);
    }
}

#[inline(always)]
fn scale_and_add(sum: &mut [f32; PANEL], dots: &[i32; PANEL], scales: &[f32; PANEL], x_scale: f32) {
    for n in 0..PANEL {
        sum[n] += dots[n] as f32 * (scales[n] * x_scale);
    }
}
