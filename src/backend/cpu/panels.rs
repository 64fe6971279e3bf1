//! Quantised activations times interleaved panels: which kernel, which rows.

use super::{
    matrix::{PANEL, Panels},
    quant::{BLOCK, QuantRows},
    scalar, vector,
};

/// Which integer kernels run. All give the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// One product at a time: the reference.
    Scalar,
    /// The target's vectors (simd128 in a browser).
    Simd,
}

impl Level {
    /// As the status line and the `backend` parameter call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::Simd => "simd",
        }
    }
}

/// How a panel's bytes hold its weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Signed bytes.
    Q8,
    /// Nibbles, 8 above the signed value.
    Q4,
}

impl Format {
    /// Bytes of one panel's block.
    pub const fn block_bytes(self) -> usize {
        match self {
            Self::Q8 => PANEL * BLOCK,
            Self::Q4 => PANEL * BLOCK / 2,
        }
    }
}

/// Activation rows that share one pass over a panel.
const TILE: usize = 4;

/// products (R, N) = x (R, K) times w (N, K) transposed.
///
/// For every output, blocks are added in order:
/// `sum = sum + f32(integer dot) * (weight scale * activation scale)`.
pub fn multiply(level: Level, format: Format, w: &Panels, x: &QuantRows, products: &mut [f32]) {
    let n = w.rows;
    let rows = products.len() / n.max(1);
    let blocks = w.cols / BLOCK;
    let bytes = blocks * format.block_bytes();
    let mut sums = [[0.0f32; PANEL]; TILE];
    // Panels outermost: weights are read from memory once for all rows.
    for (panel, scales) in w.scales.chunks_exact(blocks * PANEL).enumerate() {
        let quants = &w.quants[panel * bytes..][..bytes];
        let outputs = PANEL.min(n - panel * PANEL);
        let mut r = 0;
        while r < rows {
            let tile = (rows - r).min(TILE);
            kernel(level, format, quants, scales, x, r, &mut sums[..tile]);
            for (i, sum) in sums[..tile].iter().enumerate() {
                products[(r + i) * n + panel * PANEL..][..outputs].copy_from_slice(&sum[..outputs]);
            }
            r += tile;
        }
    }
}

/// One panel times `sums.len()` activation rows from row r on.
fn kernel(
    level: Level,
    format: Format,
    quants: &[u8],
    scales: &[f32],
    x: &QuantRows,
    r: usize,
    sums: &mut [[f32; PANEL]],
) {
    match (level, format) {
        (Level::Scalar, Format::Q8) => scalar::panel_q8(quants, scales, x, r, sums),
        (Level::Scalar, Format::Q4) => scalar::panel_q4(quants, scales, x, r, sums),
        (Level::Simd, Format::Q8) => vector::panel_q8(quants, scales, x, r, sums),
        (Level::Simd, Format::Q4) => vector::panel_q4(quants, scales, x, r, sums),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::{Dtype, cpu::Matrix};
    use proptest::prelude::*;

    /// GGUF bytes of random weights, and the weights themselves.
    fn random(format: Format, rows: usize, cols: usize, seed: u64) -> (Vec<u8>, Vec<f32>) {
        let mut state = seed;
        let mut next = move || {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            (state >> 33) as u32
        };
        let (mut bytes, mut values) = (Vec::new(), Vec::new());
        for _ in 0..rows * cols / BLOCK {
            let scale = half::f16::from_f32((next() % 1000 + 1) as f32 * 1e-4);
            bytes.extend(scale.to_le_bytes());
            let quants: Vec<u8> = (0..format.block_bytes() / PANEL).map(|_| next() as u8).collect();
            match format {
                Format::Q8 => values.extend(quants.iter().map(|&q| f32::from(q as i8) * scale.to_f32())),
                Format::Q4 => {
                    let low = quants.iter().map(|q| f32::from((q & 15) as i8 - 8) * scale.to_f32());
                    let high = quants.iter().map(|q| f32::from((q >> 4) as i8 - 8) * scale.to_f32());
                    values.extend(low.chain(high));
                }
            }
            bytes.extend(quants);
        }
        (bytes, values)
    }

    fn panels(m: &Matrix) -> &Panels {
        match m {
            Matrix::Q8(p) | Matrix::Q4(p) => p,
            Matrix::Dense(_) => unreachable!(),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn levels_agree_in_every_bit_and_with_the_definition(
            rows in 1usize..30, blocks in 1usize..5, activations in 1usize..7, seed: u64,
        ) {
            let cols = blocks * BLOCK;
            let x: Vec<f32> = (0..activations * cols).map(|i| (((i as u64 * 7919) ^ seed) % 2001) as f32 * 1e-3 - 1.0).collect();
            let mut quantised = QuantRows::default();
            quantised.fill(&x, cols);
            for (format, dtype) in [(Format::Q8, Dtype::Q8_0), (Format::Q4, Dtype::Q4_0)] {
                let (bytes, values) = random(format, rows, cols, seed);
                let matrix = Matrix::new(rows, cols, dtype, &bytes).unwrap();
                let (mut scalar, mut simd) = (vec![0.0; activations * rows], vec![0.0; activations * rows]);
                multiply(Level::Scalar, format, panels(&matrix), &quantised, &mut scalar);
                multiply(Level::Simd, format, panels(&matrix), &quantised, &mut simd);
                prop_assert_eq!(&scalar, &simd);
                for r in 0..activations {
                    let (q, d) = quantised.row(r);
                    for n in 0..rows {
                        let terms = (0..cols).map(|k| f64::from(values[n * cols + k]) * f64::from(q[k]) * f64::from(d[k / BLOCK]));
                        let (sum, size) = terms.fold((0.0, 0.0), |(s, a), t| (s + t, a + t.abs()));
                        prop_assert!((f64::from(scalar[r * rows + n]) - sum).abs() <= 1e-5 * size + 1e-9);
                    }
                }
                let mut row = vec![0.0; cols];
                matrix.add_row(rows - 1, &mut row);
                prop_assert_eq!(&row[..], &values[(rows - 1) * cols..]);
            }
        }
    }
}
