//! Adds a projection to the residual stream: bias, dropout and sum, fused.

use rayon::prelude::*;

use super::{CHUNK_ROWS, wide};
use crate::train::chance::Mask;

/// `out` (R, C) = x + dropout(y + bias) for x and y (R, C) and bias (C).
pub fn add_residual(x: &[f32], y: &[f32], bias: &[f32], mask: Option<Mask>, out: &mut [f32]) {
    let width = bias.len();
    let size = CHUNK_ROWS * width;
    out.par_chunks_mut(size).zip(x.par_chunks(size).zip(y.par_chunks(size))).enumerate().for_each(
        |(chunk, (out, (x, y)))| {
            wide(
                #[inline(always)]
                || {
                    let rows =
                        out.chunks_exact_mut(width).zip(x.chunks_exact(width).zip(y.chunks_exact(width)));
                    for (row, (out, (x, y))) in rows.enumerate() {
                        for ((out, y), bias) in out.iter_mut().zip(y).zip(bias) {
                            *out = y + bias;
                        }
                        if let Some(mask) = mask {
                            mask.row(chunk * CHUNK_ROWS + row).apply(out);
                        }
                        for (out, x) in out.iter_mut().zip(x) {
                            *out += x;
                        }
                    }
                },
            );
        },
    );
}

/// Applies the dropout of [`add_residual`] to x (R, width) in place: turns the gradient of the sum
/// into that of y.
pub fn dropout(x: &mut [f32], width: usize, mask: Mask) {
    x.par_chunks_mut(CHUNK_ROWS * width).enumerate().for_each(|(chunk, x)| {
        wide(
            #[inline(always)]
            || {
                for (row, x) in x.chunks_exact_mut(width).enumerate() {
                    mask.row(chunk * CHUNK_ROWS + row).apply(x);
                }
            },
        );
    });
}

#[cfg(test)]
mod tests {
    use super::{super::check, *};
    use crate::train::ops::add_column_sums;

    #[test]
    fn gradients_follow_finite_differences() {
        for (rows, width) in [(1, 1), (3, 5), (CHUNK_ROWS + 1, 19)] {
            for mask in [None, Mask::new(0.3, 1, 2, 3)] {
                let n = rows * width;
                let inputs = [check::values(n, 0.1), check::values(n, 0.2), check::values(width, 0.3)];
                let forward = |t: &[Vec<f32>]| {
                    let mut out = vec![0.0; n];
                    add_residual(&t[0], &t[1], &t[2], mask, &mut out);
                    out
                };
                check::gradients(&inputs, forward, |_, grad| {
                    let (mut dy, mut bias) = (grad.to_vec(), vec![0.0; width]);
                    if let Some(mask) = mask {
                        dropout(&mut dy, width, mask);
                    }
                    add_column_sums(&dy, &mut bias);
                    vec![grad.to_vec(), dy, bias]
                });
            }
        }
    }
}
