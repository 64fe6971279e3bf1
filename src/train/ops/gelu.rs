//! GELU in its tanh approximation, which GPT-2 uses (Hendrycks and Gimpel 2016).

use rayon::prelude::*;

use super::{CHUNK_ROWS, add_column_sums, wide};

const SQRT_2_OVER_PI: f32 = 0.797_884_6;
const CUBIC: f32 = 0.044_715;

/// e^x, with x clamped between -87 and 88, in operations that vectorise; relative error below 2e-7.
#[inline(always)]
pub(super) fn exp(x: f32) -> f32 {
    const MAGIC: f32 = 12_582_912.0;
    let x = x.clamp(-87.0, 88.0);
    let shifted = x * std::f32::consts::LOG2_E + MAGIC;
    let n = shifted - MAGIC;
    let r = (x - n * 0.693_359_4) + n * 2.121_944_4e-4;
    let p = 1.0 / 5040.0;
    let p = p * r + 1.0 / 720.0;
    let p = p * r + 1.0 / 120.0;
    let p = p * r + 1.0 / 24.0;
    let p = p * r + 1.0 / 6.0;
    let p = p * r + 0.5;
    let p = p * r * r + r;
    let scale = f32::from_bits((shifted.to_bits().wrapping_sub(MAGIC.to_bits()).wrapping_add(127)) << 23);
    p * scale + scale
}

/// 0.5 (1 + tanh u), u = sqrt(2/pi) (x + 0.044715 x^3).
#[inline(always)]
fn gate(x: f32) -> f32 {
    let u = SQRT_2_OVER_PI * (x + CUBIC * x * x * x);
    let e = exp(2.0 * u);
    e / (e + 1.0)
}

/// `out` (R, N) = GELU(x) for x (R, N).
pub fn gelu(x: &[f32], out: &mut [f32]) {
    const CHUNK: usize = 1 << 13;
    out.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(out, x)| {
        wide(
            #[inline(always)]
            || {
                for (out, &x) in out.iter_mut().zip(x) {
                    *out = x * gate(x);
                }
            },
        );
    });
}

/// Backward pass of GELU, for x (R, N). `grad` (R, N) holds the gradient of GELU(x) and becomes
/// that of x; its column sums are added to `bias` (N), the gradient of a bias included in x. `out`
/// (R, N) receives GELU(x) again.
pub fn gelu_backward(x: &[f32], grad: &mut [f32], out: &mut [f32], bias: &mut [f32]) {
    let width = bias.len();
    let size = CHUNK_ROWS * width;
    x.par_chunks(size).zip(grad.par_chunks_mut(size)).zip(out.par_chunks_mut(size)).for_each(
        |((x, grad), out)| {
            wide(
                #[inline(always)]
                || {
                    for ((grad, out), &x) in grad.iter_mut().zip(out).zip(x) {
                        // With g = gate(x): g' = 2 g (1 - g) u'.
                        let g = gate(x);
                        let slope = SQRT_2_OVER_PI * (1.0 + 3.0 * CUBIC * x * x);
                        *out = x * g;
                        *grad *= g + x * 2.0 * g * (1.0 - g) * slope;
                    }
                },
            );
        },
    );
    add_column_sums(grad, bias);
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::{super::check, *};

    #[test]
    fn gradients_follow_finite_differences() {
        // More rows than one chunk, and widths that do not fill a vector.
        for (rows, width) in [(1, 1), (5, 7), (CHUNK_ROWS + 1, 3)] {
            let x: Vec<f32> = check::values(rows * width, 0.3).iter().map(|x| x * 4.0).collect();
            let forward = |t: &[Vec<f32>]| {
                let biased: Vec<f32> = t[0].iter().enumerate().map(|(i, x)| x + t[1][i % width]).collect();
                let mut out = vec![0.0; biased.len()];
                gelu(&biased, &mut out);
                out
            };
            check::gradients(&[x, check::values(width, 0.7)], forward, |t, grad| {
                let biased: Vec<f32> = t[0].iter().enumerate().map(|(i, x)| x + t[1][i % width]).collect();
                let (mut dx, mut out, mut bias) = (grad.to_vec(), vec![0.0; grad.len()], vec![0.0; width]);
                gelu_backward(&biased, &mut dx, &mut out, &mut bias);
                assert_eq!(out, forward(t));
                vec![dx, bias]
            });
        }
    }

    #[test]
    fn values_are_candles_own() {
        let x: Vec<f32> = check::values(333, 0.3).iter().map(|x| x * 6.0).collect();
        let mut ours = vec![0.0; x.len()];
        gelu(&x, &mut ours);
        let theirs =
            Tensor::from_vec(x, 333, &Device::Cpu).unwrap().gelu().unwrap().to_vec1::<f32>().unwrap();
        assert!(ours.iter().zip(theirs).all(|(a, b)| (a - b).abs() < 1e-5));
    }
}
