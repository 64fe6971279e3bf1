//! One matrix, channel by channel.
//!
//! With H = X^T X for inputs X, an error D (in, out) of a weight changes the layer's outputs by
//! X D, of squared norm tr(D^T H D). For the factor H = R R^T with R upper triangular that is the
//! squared norm of R^T D, whose row j depends on the errors of channels up to j only:
//!
//! ```text
//! (R^T D)_j = R_jj d_j + s_j      s_j = sum over i < j of R_ij d_i
//! ```
//!
//! So row j is smallest if channel j is rounded from w_j + s_j / R_jj instead of w_j, where d_j is
//! w_j minus what is stored. (GPTQ's updates of the remaining weights by the inverse of H come to
//! the same, with more work.) A block's scale is the candidate for which its own rows of R^T D are
//! smallest, before any later channel makes up for them.

use half::f16;
use rayon::prelude::*;

use super::cholesky;
use crate::{
    bundle::q4_0,
    dtype::BLOCK,
    train::ops::{
        matmul::{Cores, View, product},
        wide,
    },
};

/// Output channels that are computed side by side.
const LANES: usize = 16;

/// Added to H's diagonal, in units of its mean, for channels that the text hardly uses: GPTQ's
/// value. If H then has no factor, ten times as much is tried, up to [`MOST_DAMPING`].
const DAMPING: f32 = 0.01;
const MOST_DAMPING: f32 = 1.0;

/// Values of one block of input channels for [`LANES`] output channels.
type Lanes = [[f32; LANES]; BLOCK];

/// A block's part of R.
type Triangle = [[f32; BLOCK]; BLOCK];

/// Returns the Q4_0 bytes of a weight (in, out), rows first, for inputs with X^T X = `products` (in,
/// in), and replaces the weight by what they stand for. `None` if the inputs are no whole blocks,
/// or something is not finite; the weight is then unchanged.
pub(super) fn quantize(weight: &mut [f32], products: Vec<f32>) -> Option<Vec<u8>> {
    let inputs = products.len().isqrt();
    let outputs = weight.len() / inputs.max(1);
    if inputs == 0 || !inputs.is_multiple_of(BLOCK) || weight.iter().any(|w| !w.is_finite()) {
        return None;
    }
    let order = order(&products, inputs);
    let factor = factor(&products, &order)?;
    drop(products);

    let blocks = inputs / BLOCK;
    let mut bytes = vec![0; outputs * blocks * q4_0::BYTES];
    // Channels in the order of the factor.
    let mut errors = vec![0.0f32; weight.len()];
    let mut feedback = vec![0.0f32; BLOCK * outputs];
    for (first, channels) in (0..inputs).step_by(BLOCK).zip(order.chunks_exact(BLOCK)) {
        let (before, after) = errors.split_at_mut(first * outputs);
        let above = View::strided(&factor[first..], first, BLOCK, inputs);
        feedback.fill(0.0);
        product(above.t(), View::new(before, first, outputs), &mut feedback, outputs, false, Cores::All);
        let triangle: Triangle =
            std::array::from_fn(|i| std::array::from_fn(|j| factor[(first + i) * inputs + first + j]));

        let stored: Vec<Block> = (0..outputs.div_ceil(LANES))
            .into_par_iter()
            .map(|group| {
                let w = gather(weight, outputs, group, |j| channels[j]);
                let s = gather(&feedback, outputs, group, |j| j);
                wide(
                    #[inline(always)]
                    || best(&w, &s, &triangle),
                )
            })
            .collect();

        let block_of_row = channels[0] / BLOCK;
        for (group, Block { scales, codes, errors }) in stored.iter().enumerate() {
            let columns = group * LANES..outputs.min((group + 1) * LANES);
            for (lane, output) in columns.clone().enumerate() {
                let mut in_row = [0; BLOCK];
                for (j, &channel) in channels.iter().enumerate() {
                    in_row[channel % BLOCK] = codes[j][lane];
                }
                let at = (output * blocks + block_of_row) * q4_0::BYTES;
                bytes[at..at + q4_0::BYTES].copy_from_slice(&q4_0::stored(scales[lane], &in_row));
            }
            for (j, errors) in errors.iter().enumerate() {
                let row = &mut after[j * outputs..][columns.clone()];
                row.copy_from_slice(&errors[..columns.len()]);
            }
        }
    }
    for (&channel, errors) in order.iter().zip(errors.chunks_exact(outputs)) {
        weight[channel * outputs..].iter_mut().zip(errors).for_each(|(w, error)| *w -= error);
    }
    Some(bytes)
}

/// The block's values of a group of outputs, in `values` (_, outputs); zeros beyond the last output.
fn gather(values: &[f32], outputs: usize, group: usize, row: impl Fn(usize) -> usize) -> Lanes {
    std::array::from_fn(|j| {
        let values = &values[row(j) * outputs..][..outputs];
        std::array::from_fn(|lane| values.get(group * LANES + lane).copied().unwrap_or(0.0))
    })
}

/// The input channels in the order in which they are quantised: those that matter most first, when
/// most channels are left to make up for their errors. Blocks stay together.
fn order(products: &[f32], inputs: usize) -> Vec<usize> {
    let power = |&channel: &usize| products[channel * inputs + channel];
    let descending = |a: f32, b: f32| b.total_cmp(&a);
    let mut blocks: Vec<Vec<usize>> =
        (0..inputs / BLOCK).map(|block| (block * BLOCK..(block + 1) * BLOCK).collect()).collect();
    for block in &mut blocks {
        block.sort_by(|a, b| descending(power(a), power(b)));
    }
    let power_of_block = |block: &[usize]| block.iter().map(power).sum::<f32>();
    blocks.sort_by(|a, b| descending(power_of_block(a), power_of_block(b)));
    blocks.concat()
}

/// R (in, in), upper triangular, with R R^T = H + damping, for channels in this order. `None` if
/// there is none.
fn factor(products: &[f32], order: &[usize]) -> Option<Vec<f32>> {
    let n = order.len();
    let mean = order.iter().map(|&channel| products[channel * n + channel]).sum::<f32>() / n as f32;
    // Inputs that are all zero leave nothing to choose by.
    let mean = if mean == 0.0 { 1.0 } else { mean };
    let mut damping = DAMPING;
    while damping <= MOST_DAMPING {
        // Reversed, so that the lower factor, reversed again, is the upper one.
        let mut matrix = Vec::with_capacity(n * n);
        for &row in order.iter().rev() {
            matrix.extend(order.iter().rev().map(|&column| products[row * n + column]));
        }
        matrix.iter_mut().step_by(n + 1).for_each(|diagonal| *diagonal += damping * mean);
        if cholesky::factor(&mut matrix, n).is_some() {
            matrix.reverse();
            return Some(matrix);
        }
        damping *= 10.0;
    }
    None
}

/// One block of channels for [`LANES`] outputs.
struct Block {
    scales: [f16; LANES],
    codes: [[u8; LANES]; BLOCK],
    /// The weights minus what is stored.
    errors: Lanes,
}

/// Quantises weights `w` with the candidate scales that give the smallest squared norm of the
/// block's rows of R^T D, where `s` is what the channels before the block contribute to them.
#[inline(always)]
fn best(w: &Lanes, s: &Lanes, triangle: &Triangle) -> Block {
    let wished = wished(w, s, triangle);
    let of_wished = times(&wished, triangle);
    let mut largest = [0.0f32; LANES];
    for row in &wished {
        for (largest, &x) in largest.iter_mut().zip(row) {
            if x.abs() > largest.abs() {
                *largest = x;
            }
        }
    }
    let mut least = [f32::INFINITY; LANES];
    let mut best = [f16::ZERO; LANES];
    for divisor in q4_0::DIVISORS {
        let tried = largest.map(|x| f16::from_f32(x / divisor));
        let (codes, _, error) = round(w, s, triangle, &tried);
        keep(&mut least, &mut best, &error, &tried);
        let fitted = fitted(&of_wished, &codes, triangle);
        let (_, _, error) = round(w, s, triangle, &fitted);
        keep(&mut least, &mut best, &error, &fitted);
    }
    let (codes, errors, _) = round(w, s, triangle, &best);
    Block { scales: best, codes, errors }
}

#[inline(always)]
fn keep(least: &mut [f32; LANES], best: &mut [f16; LANES], error: &[f32; LANES], scales: &[f16; LANES]) {
    for lane in 0..LANES {
        if error[lane] < least[lane] {
            (least[lane], best[lane]) = (error[lane], scales[lane]);
        }
    }
}

/// The values for which the block's rows of R^T D would be zero: w + t with t R = s.
#[inline(always)]
fn wished(w: &Lanes, s: &Lanes, triangle: &Triangle) -> Lanes {
    let (mut left, mut out) = (*s, *w);
    for j in 0..BLOCK {
        let inverse = 1.0 / triangle[j][j];
        let t = left[j].map(|s| s * inverse);
        out[j].iter_mut().zip(t).for_each(|(out, t)| *out += t);
        for k in j + 1..BLOCK {
            add(&mut left[k], &t, -triangle[j][k]);
        }
    }
    out
}

/// R^T x.
#[inline(always)]
fn times(x: &Lanes, triangle: &Triangle) -> Lanes {
    let mut out = [[0.0; LANES]; BLOCK];
    for j in 0..BLOCK {
        for k in j..BLOCK {
            add(&mut out[k], &x[j], triangle[j][k]);
        }
    }
    out
}

/// Rounds the block's channels one after the other with these scales. Returns the codes, the
/// errors D, and the squared norm of the block's rows of R^T D.
#[inline(always)]
fn round(
    w: &Lanes,
    s: &Lanes,
    triangle: &Triangle,
    scales: &[f16; LANES],
) -> ([[u8; LANES]; BLOCK], Lanes, [f32; LANES]) {
    let scales = scales.map(f16::to_f32);
    let inverses = scales.map(q4_0::inverse);
    let (mut left, mut norm) = (*s, [0.0; LANES]);
    let (mut codes, mut errors) = ([[0; LANES]; BLOCK], [[0.0; LANES]; BLOCK]);
    for j in 0..BLOCK {
        let diagonal = triangle[j][j];
        let inverse = 1.0 / diagonal;
        for lane in 0..LANES {
            let from = w[j][lane] + left[j][lane] * inverse;
            let code = q4_0::code(from, inverses[lane]);
            let value = (f32::from(code) - 8.0) * scales[lane];
            let row = (from - value) * diagonal;
            norm[lane] += row * row;
            codes[j][lane] = code;
            errors[j][lane] = w[j][lane] - value;
        }
        for k in j + 1..BLOCK {
            add(&mut left[k], &errors[j], triangle[j][k]);
        }
    }
    (codes, errors, norm)
}

/// The least-squares scales for these codes: those for which scale R^T c is closest to R^T x, given
/// the latter.
#[inline(always)]
fn fitted(of_wished: &Lanes, codes: &[[u8; LANES]; BLOCK], triangle: &Triangle) -> [f16; LANES] {
    let of_codes = times(&codes.map(|row| row.map(|code| f32::from(code) - 8.0)), triangle);
    let (mut xq, mut qq) = ([0.0f32; LANES], [0.0f32; LANES]);
    for (x, q) in of_wished.iter().zip(&of_codes) {
        for lane in 0..LANES {
            xq[lane] += x[lane] * q[lane];
            qq[lane] += q[lane] * q[lane];
        }
    }
    std::array::from_fn(|lane| f16::from_f32(if qq[lane] > 0.0 { xq[lane] / qq[lane] } else { 0.0 }))
}

/// `sums` += x * factor.
#[inline(always)]
fn add(sums: &mut [f32; LANES], x: &[f32; LANES], factor: f32) {
    for (sum, x) in sums.iter_mut().zip(x) {
        *sum += x * factor;
    }
}
