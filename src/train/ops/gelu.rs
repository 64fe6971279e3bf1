//! GELU in the tanh form that GPT-2 uses (Hendrycks and Gimpel 2016).

use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};
use rayon::prelude::*;

use super::{tensor, values, with_values};

/// Values of one parallel task.
const CHUNK: usize = 1 << 13;

const SQRT_2_OVER_PI: f32 = 0.797_884_6;

/// Element by element.
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    x.apply_op1(Gelu)
}

struct Gelu;

/// e^x in operations that compilers vectorise; relative error under 2e-7.
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
    let u = SQRT_2_OVER_PI * (x + 0.044715 * x * x * x);
    let e = exp(2.0 * u);
    e / (e + 1.0)
}

impl CustomOp1 for Gelu {
    fn name(&self) -> &'static str {
        "gelu-tanh"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let mut out = values(x, layout)?.to_vec();
        out.par_chunks_mut(CHUNK).for_each(|chunk| {
            for x in chunk {
                *x *= gate(*x);
            }
        });
        Ok((CpuStorage::F32(out), layout.shape().clone()))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, grad: &Tensor) -> Result<Option<Tensor>> {
        let mut out = with_values(grad, <[f32]>::to_vec)?;
        with_values(x, |x| {
            out.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(grad, x)| {
                for (grad, &x) in grad.iter_mut().zip(x) {
                    // With g the gate: g' = 2 g (1 - g) u'.
                    let g = gate(x);
                    let slope = SQRT_2_OVER_PI * (1.0 + 3.0 * 0.044715 * x * x);
                    *grad *= g + x * 2.0 * g * (1.0 - g) * slope;
                }
            });
        })?;
        Ok(Some(tensor(out, x)?))
    }
}

#[cfg(test)]
mod tests {
    use super::super::check;
    use super::*;

    #[test]
    fn gradients_follow_finite_differences() {
        let x = (check::values(&[5, 7], 0.3) * 4.0).unwrap();
        check::gradients(&[x], |t| gelu(&t[0]));
    }

    #[test]
    fn values_are_candles_own() {
        let x = (check::values(&[3, 11], 0.3) * 6.0).unwrap();
        let difference = (gelu(&x).unwrap() - x.gelu().unwrap()).unwrap().abs().unwrap();
        assert!(difference.flatten_all().unwrap().max(0).unwrap().to_scalar::<f32>().unwrap() < 1e-5);
    }
}
