//! AdamW (Loshchilov and Hutter 2019) without weight decay, the clip, and the
//! cosine schedule: the original's settings.

use std::{collections::BTreeMap, sync::Mutex};

use candle_core::{CpuStorage, InplaceOp2, Layout, Result, backprop::GradStore};
use rayon::prelude::*;

use super::{TrainError, model::Model};

const BETA_1: f32 = 0.9;
const BETA_2: f32 = 0.999;
const EPSILON: f32 = 1e-8;

/// Largest norm of all gradients together.
pub const CLIP: f32 = 1.0;

/// Values of one parallel task.
const CHUNK: usize = 1 << 14;

/// The learning rate at `step` of `steps`: cosine to 0, no warm-up.
pub fn cosine(lr: f64, step: usize, steps: usize) -> f64 {
    lr * 0.5 * (1.0 + (std::f64::consts::PI * step as f64 / steps.max(1) as f64).cos())
}

/// Both moments of every variable.
#[derive(Default)]
pub struct AdamW {
    steps: i32,
    moments: BTreeMap<String, (Vec<f32>, Vec<f32>)>,
}

impl AdamW {
    /// Clips the gradients to [`CLIP`] and updates every variable in place:
    /// one pass over parameter, gradient and both moments. Returns the norm
    /// before clipping.
    pub fn step(
        &mut self,
        model: &Model,
        grads: &GradStore,
        lr: f64,
    ) -> std::result::Result<f32, TrainError> {
        self.steps += 1;
        let norm = gradient_norm(model, grads)?;
        let clip = if norm > CLIP { CLIP / (norm + 1e-6) } else { 1.0 };
        let (beta_1, beta_2) = (f64::from(BETA_1), f64::from(BETA_2));
        let bias_1 = 1.0 - beta_1.powi(self.steps);
        let bias_2 = 1.0 - beta_2.powi(self.steps);
        for (name, var) in model.vars() {
            let Some(grad) = grads.get(var.as_tensor()) else { continue };
            let n = var.elem_count();
            let moments = self.moments.entry(name.into()).or_insert_with(|| (vec![0.0; n], vec![0.0; n]));
            let update = Update {
                moments: Mutex::new(moments),
                clip,
                rate: (lr / bias_1) as f32,
                inverse_root_bias_2: (1.0 / bias_2.sqrt()) as f32,
            };
            var.inplace_op2(&grad.contiguous()?, &update)?;
        }
        Ok(norm)
    }
}

/// The norm of all gradients together, summed in f64 in a fixed order.
pub fn gradient_norm(model: &Model, grads: &GradStore) -> std::result::Result<f32, TrainError> {
    let mut total = 0.0f64;
    for (_, var) in model.vars() {
        let Some(grad) = grads.get(var.as_tensor()) else { continue };
        total += super::ops::sum_of_squares(grad)?;
    }
    Ok(total.sqrt() as f32)
}

struct Update<'a> {
    moments: Mutex<&'a mut (Vec<f32>, Vec<f32>)>,
    clip: f32,
    rate: f32,
    inverse_root_bias_2: f32,
}

impl InplaceOp2 for Update<'_> {
    fn name(&self) -> &'static str {
        "adamw"
    }

    fn cpu_fwd(&self, parameter: &mut CpuStorage, l1: &Layout, grad: &CpuStorage, l2: &Layout) -> Result<()> {
        let (Some((start, end)), Some((from, to)), Ok(mut moments)) =
            (l1.contiguous_offsets(), l2.contiguous_offsets(), self.moments.lock())
        else {
            candle_core::bail!("the optimiser needs contiguous tensors");
        };
        let CpuStorage::F32(parameter) = parameter else {
            candle_core::bail!("the optimiser updates f32 parameters");
        };
        let (first, second) = &mut **moments;
        parameter[start..end]
            .par_chunks_mut(CHUNK)
            .zip(grad.as_slice::<f32>()?[from..to].par_chunks(CHUNK))
            .zip(first.par_chunks_mut(CHUNK).zip(second.par_chunks_mut(CHUNK)))
            .for_each(|((parameter, grad), (first, second))| {
                for (((p, g), m), v) in parameter.iter_mut().zip(grad).zip(first).zip(second) {
                    let g = g * self.clip;
                    *m = BETA_1 * *m + (1.0 - BETA_1) * g;
                    *v = BETA_2 * *v + (1.0 - BETA_2) * g * g;
                    *p -= self.rate * *m / (v.sqrt() * self.inverse_root_bias_2 + EPSILON);
                }
            });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_is_the_references() {
        // ../shared/reference/tiny-gpt2/reference.json, "trajectory".
        for (step, lr) in
            [(0, 1e-3), (1, 0.000_975_528_258_147_576_8), (5, 0.0005), (9, 2.447_174_185_242_323_5e-5)]
        {
            assert!((cosine(1e-3, step, 10) - lr).abs() < 1e-12);
        }
    }
}
