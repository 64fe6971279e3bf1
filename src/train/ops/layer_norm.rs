//! Layer norm (Ba, Kiros and Hinton 2016).

use rayon::prelude::*;

use super::{CHUNK_ROWS, lanes, wide};

/// Mean and 1 / sqrt(variance + epsilon) of a row.
#[inline(always)]
fn statistics(row: &[f32], epsilon: f32) -> (f32, f32) {
    let n = row.len() as f32;
    let mean = lanes::sum(row) / n;
    let variance = lanes::sum_of(row, |x| (x - mean) * (x - mean)) / n;
    (mean, 1.0 / (variance + epsilon).sqrt())
}

/// `out` (R, C) = (x - mean) / sqrt(variance + epsilon) * gain + bias for each row of x (R, C);
/// gain and bias are (C).
pub fn layer_norm(x: &[f32], gain: &[f32], bias: &[f32], epsilon: f32, out: &mut [f32]) {
    let width = gain.len();
    out.par_chunks_mut(CHUNK_ROWS * width).zip(x.par_chunks(CHUNK_ROWS * width)).for_each(|(out, x)| {
        wide(
            #[inline(always)]
            || {
                for (out, x) in out.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
                    let (mean, scale) = statistics(x, epsilon);
                    for (((out, x), gain), bias) in out.iter_mut().zip(x).zip(gain).zip(bias) {
                        *out = (*x - mean) * scale * gain + bias;
                    }
                }
            },
        );
    });
}

/// Backward pass for x (R, C), given the gradient `grad` (R, C) of the output: adds the gradient of
/// x to `dx` (R, C), and those of gain and bias, concatenated, to `sums` (2 C).
pub fn layer_norm_backward(
    x: &[f32],
    gain: &[f32],
    epsilon: f32,
    grad: &[f32],
    dx: &mut [f32],
    sums: &mut [f32],
) {
    let width = gain.len();
    let size = CHUNK_ROWS * width;
    // A single pass: each task has its own rows of dx and its own partial sums.
    let parts: Vec<Vec<f32>> = dx
        .par_chunks_mut(size)
        .zip(x.par_chunks(size).zip(grad.par_chunks(size)))
        .map(|(dx, (x, grad))| {
            let mut part = vec![0.0; 2 * width];
            wide(
                #[inline(always)]
                || rows_backward(x, gain, epsilon, grad, dx, &mut part),
            );
            part
        })
        .collect();
    for part in parts {
        for (sum, part) in sums.iter_mut().zip(part) {
            *sum += part;
        }
    }
}

/// dx = (d - mean(d) - n mean(d n)) * scale, with n the normalised row and d = grad * gain.
#[inline(always)]
fn rows_backward(x: &[f32], gain: &[f32], epsilon: f32, grad: &[f32], dx: &mut [f32], sums: &mut [f32]) {
    let width = gain.len();
    let (gain_sums, bias_sums) = sums.split_at_mut(width);
    for ((x, grad), dx) in x.chunks_exact(width).zip(grad.chunks_exact(width)).zip(dx.chunks_exact_mut(width))
    {
        let (mean, scale) = statistics(x, epsilon);
        let n = width as f32;
        let mean_d = lanes::dot(grad, gain) / n;
        for (((sum, bias_sum), x), grad) in gain_sums.iter_mut().zip(bias_sums.iter_mut()).zip(x).zip(grad) {
            *sum += grad * (x - mean) * scale;
            *bias_sum += grad;
        }
        let mean_dn =
            lanes::sum_of_three(x, grad, gain, |x, grad, gain| grad * gain * (x - mean)) * scale / n;
        for (((dx, x), grad), gain) in dx.iter_mut().zip(x).zip(grad).zip(gain) {
            *dx += (grad * gain - mean_d - (x - mean) * scale * mean_dn) * scale;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::check, *};

    const EPSILON: f32 = 1e-5;

    fn forward(t: &[Vec<f32>]) -> Vec<f32> {
        let mut out = vec![0.0; t[0].len()];
        layer_norm(&t[0], &t[1], &t[2], EPSILON, &mut out);
        out
    }

    fn backward(t: &[Vec<f32>], grad: &[f32]) -> Vec<Vec<f32>> {
        let (mut dx, mut sums) = (vec![0.0; t[0].len()], vec![0.0; 2 * t[1].len()]);
        layer_norm_backward(&t[0], &t[1], EPSILON, grad, &mut dx, &mut sums);
        let bias = sums.split_off(t[1].len());
        vec![dx, sums, bias]
    }

    #[test]
    fn gradients_follow_finite_differences() {
        for (rows, width) in [(2, 3), (5, 17), (CHUNK_ROWS + 1, 6), (3, 33)] {
            let inputs =
                [check::values(rows * width, 0.1), check::values(width, 0.2), check::values(width, 0.3)];
            check::gradients(&inputs, forward, backward);
        }
    }

    #[test]
    fn gradients_are_added_and_no_thread_changes_them() {
        let inputs = [check::values(77 * 19, 0.1), check::values(19, 0.2), check::values(19, 0.3)];
        let grad = check::values(77 * 19, 0.4);
        check::any_number_of_threads(|| backward(&inputs, &grad).concat());
        let once = backward(&inputs, &grad);
        let (mut dx, mut sums) = (vec![1.0; 77 * 19], vec![1.0; 2 * 19]);
        layer_norm_backward(&inputs[0], &inputs[1], EPSILON, &grad, &mut dx, &mut sums);
        assert!(dx.iter().zip(&once[0]).all(|(a, b)| (a - b - 1.0).abs() < 1e-5));
        assert!(sums.iter().zip(once[1].iter().chain(&once[2])).all(|(a, b)| (a - b - 1.0).abs() < 1e-4));
    }
}
