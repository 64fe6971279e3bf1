//! Layer norm (Ba, Kiros and Hinton 2016), with the gradient that candle-nn's
//! own leaves out.

use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::{CHUNK_ROWS, sum_chunks, tensor, values, with_values};

/// (x - mean) / sqrt(variance + epsilon) * gain + bias, over rows of x (R, C).
pub fn layer_norm(x: &Tensor, gain: &Tensor, bias: &Tensor, epsilon: f32) -> Result<Tensor> {
    x.apply_op3(gain, bias, LayerNorm { epsilon })
}

struct LayerNorm {
    epsilon: f32,
}

/// Mean and 1 / sqrt(variance + epsilon) of a row. Lane-wise sums, so that
/// compilers vectorise them and rounding stays small.
fn statistics(row: &[f32], epsilon: f32) -> (f32, f32) {
    let n = row.len() as f32;
    let mean = sum(row, |x| x) / n;
    let variance = sum(row, |x| (x - mean) * (x - mean)) / n;
    (mean, 1.0 / (variance + epsilon).sqrt())
}

fn sum(row: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0.0f32; 16];
    let (chunks, rest) = row.as_chunks::<16>();
    for chunk in chunks {
        for (lane, &x) in lanes.iter_mut().zip(chunk) {
            *lane += f(x);
        }
    }
    lanes.iter().sum::<f32>() + rest.iter().map(|&x| f(x)).sum::<f32>()
}

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        "layer-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        lx: &Layout,
        gain: &CpuStorage,
        lg: &Layout,
        bias: &CpuStorage,
        lb: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, gain, bias) = (values(x, lx)?, values(gain, lg)?, values(bias, lb)?);
        let width = gain.len();
        let mut out = x.to_vec();
        out.par_chunks_mut(CHUNK_ROWS * width).for_each(|rows| {
            for row in rows.chunks_exact_mut(width) {
                let (mean, scale) = statistics(row, self.epsilon);
                for ((x, gain), bias) in row.iter_mut().zip(gain).zip(bias) {
                    *x = (*x - mean) * scale * gain + bias;
                }
            }
        });
        Ok((CpuStorage::F32(out), lx.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        gain: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let width = gain.elem_count();
        let gains = with_values(gain, <[f32]>::to_vec)?;
        let (dx, sums) = with_values(x, |x| {
            with_values(grad, |grad| {
                let mut dx = vec![0.0; x.len()];
                dx.par_chunks_mut(width).enumerate().with_min_len(CHUNK_ROWS).for_each(|(r, dx)| {
                    let (x, grad) = (&x[r * width..][..width], &grad[r * width..][..width]);
                    let (mean, scale) = statistics(x, self.epsilon);
                    // With n the normalised row and d = grad * gain:
                    // dx = (d - mean(d) - n mean(d n)) * scale
                    for ((dx, grad), gain) in dx.iter_mut().zip(grad).zip(&gains) {
                        *dx = grad * gain;
                    }
                    let mean_d = sum(dx, |d| d) / width as f32;
                    let mut lanes = [0.0f32; 16];
                    for (i, (d, x)) in dx.iter().zip(x).enumerate() {
                        lanes[i % 16] += d * (x - mean) * scale;
                    }
                    let mean_dn = lanes.iter().sum::<f32>() / width as f32;
                    for (dx, x) in dx.iter_mut().zip(x) {
                        *dx = (*dx - mean_d - (x - mean) * scale * mean_dn) * scale;
                    }
                });
                // The gradients of gain and bias, side by side.
                let sums = sum_chunks(x.len() / width, 2 * width, |rows, sums| {
                    let (gain_sums, bias_sums) = sums.split_at_mut(width);
                    for r in rows {
                        let (x, grad) = (&x[r * width..][..width], &grad[r * width..][..width]);
                        let (mean, scale) = statistics(x, self.epsilon);
                        for i in 0..width {
                            gain_sums[i] += grad[i] * (x[i] - mean) * scale;
                            bias_sums[i] += grad[i];
                        }
                    }
                });
                (dx, sums)
            })
        })??;
        let (gain_sums, bias_sums) = sums.split_at(width);
        Ok((
            Some(tensor(dx, x)?),
            Some(tensor(gain_sums.to_vec(), gain)?),
            Some(tensor(bias_sums.to_vec(), bias)?),
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    #[test]
    fn gradients_follow_finite_differences() {
        for shape in [[2, 3], [5, 17], [40, 6]] {
            let inputs = [
                check::values(&shape, 0.1),
                check::values(&shape[1..], 0.2),
                check::values(&shape[1..], 0.3),
            ];
            check::gradients(&inputs, |t| layer_norm(&t[0], &t[1], &t[2], 1e-5));
        }
    }
}
