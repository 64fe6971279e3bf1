//! AdamW (Loshchilov and Hutter 2019) without weight decay, gradient clipping, and the cosine
//! learning-rate schedule: the original's settings.

use std::{collections::BTreeMap, sync::Mutex};

use candle_core::{CpuStorage, InplaceOp1, Layout, Tensor, Var};
use rayon::prelude::*;

use super::{TrainError, gradients::Gradients, huge_pages, model::Model, ops, values::Values};

/// Decay rates of the moments, and the term that keeps the denominator from being 0.
pub const BETA_1: f32 = 0.9;
pub const BETA_2: f32 = 0.999;
pub const EPSILON: f32 = 1e-8;

/// Maximum L2 norm of all gradients together.
pub const CLIP: f32 = 1.0;

/// Values per parallel task.
const CHUNK: usize = 1 << 14;

/// Learning rate of `step` (from 0) of `steps`: cosine decay to 0, no warm-up.
pub fn cosine(lr: f64, step: usize, steps: usize) -> f64 {
    lr * 0.5 * (1.0 + (std::f64::consts::PI * step as f64 / steps.max(1) as f64).cos())
}

/// First and second moment of each variable, in main memory, by the variable's name.
pub type Moments = BTreeMap<String, (Vec<f32>, Vec<f32>)>;

/// The optimiser's state: both moments of every variable, and the number of steps.
#[derive(Default)]
pub struct AdamW {
    steps: u64,
    moments: BTreeMap<String, Moment>,
}

/// First and second moment of a variable, on the variable's device.
enum Moment {
    Memory(Vec<f32>, Vec<f32>),
    Device(Tensor, Tensor),
}

impl AdamW {
    /// The optimiser as it was after `steps` steps.
    ///
    /// # Errors
    /// [`TrainError::Moments`] for a moment without a variable or of another length than its
    /// variable.
    pub fn restore(model: &Model, steps: u64, moments: Moments) -> Result<Self, TrainError> {
        let variables: BTreeMap<&str, &Var> = model.vars().collect();
        let mut restored = BTreeMap::new();
        for (name, (first, second)) in moments {
            let var = variables.get(name.as_str());
            let expected = var.map(|var| var.elem_count());
            let Some(var) = var.filter(|_| expected == Some(first.len()) && expected == Some(second.len()))
            else {
                return Err(TrainError::Moments {
                    name,
                    found: first.len().max(second.len()),
                    expected: expected.unwrap_or(0),
                });
            };
            let moment = if model.is_graph() {
                let beside = |values| Tensor::from_vec(values, var.shape(), var.device());
                Moment::Device(beside(first)?, beside(second)?)
            } else {
                Moment::Memory(huge_pages::copy(&first), huge_pages::copy(&second))
            };
            restored.insert(name, moment);
        }
        Ok(Self { steps, moments: restored })
    }

    /// Steps taken so far.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Name, first and second moment of every variable updated so far, in the order of the names;
    /// values are row-major like the variables'.
    pub fn moments(&self) -> impl Iterator<Item = (&str, Values<'_>, Values<'_>)> {
        self.moments.iter().map(|(name, moment)| match moment {
            Moment::Memory(first, second) => (name.as_str(), Values::Slice(first), Values::Slice(second)),
            Moment::Device(first, second) => (name.as_str(), Values::Tensor(first), Values::Tensor(second)),
        })
    }

    /// Clips the gradients to [`CLIP`] and updates all variables in place with learning rate `lr`;
    /// returns the norm before clipping. On the CPU the update is fused: one parallel pass over
    /// parameter, gradient and both moments.
    ///
    /// # Errors
    /// [`TrainError::GradientNotFinite`], with nothing changed; errors of the device.
    pub fn step(&mut self, model: &Model, gradients: &Gradients, lr: f64) -> Result<f32, TrainError> {
        let norm = gradients.norm()?;
        let factors = self.begin(norm, lr)?;
        for (name, var) in model.vars() {
            match gradients.get(name) {
                Some(Values::Slice(grad)) => self.update(name, var, grad, factors)?,
                Some(Values::Tensor(grad)) => self.update_tensors(name, var, grad, factors)?,
                None => {}
            }
        }
        Ok(norm)
    }

    /// Counts a step and returns its factors. A non-finite gradient is refused, because it would
    /// spoil every weight and moment.
    fn begin(&mut self, norm: f32, lr: f64) -> Result<Factors, TrainError> {
        if !norm.is_finite() {
            return Err(TrainError::GradientNotFinite { step: self.steps + 1, norm });
        }
        self.steps += 1;
        let steps = i32::try_from(self.steps).unwrap_or(i32::MAX);
        let bias_1 = 1.0 - f64::from(BETA_1).powi(steps);
        let bias_2 = 1.0 - f64::from(BETA_2).powi(steps);
        Ok(Factors {
            clip: if norm > CLIP { CLIP / (norm + 1e-6) } else { 1.0 },
            rate: (lr / bias_1) as f32,
            inverse_root_bias_2: (1.0 / bias_2.sqrt()) as f32,
        })
    }

    fn update(
        &mut self,
        name: &str,
        var: &Tensor,
        grad: &[f32],
        factors: Factors,
    ) -> candle_core::Result<()> {
        let n = var.elem_count();
        let new = || Moment::Memory(huge_pages::zeros(n), huge_pages::zeros(n));
        match self.moments.entry(name.into()).or_insert_with(new) {
            Moment::Memory(first, second) => {
                let moments = Mutex::new((first.as_mut_slice(), second.as_mut_slice()));
                var.inplace_op1(&Update { moments, grad, factors })
            }
            Moment::Device(..) => candle_core::bail!("the moments of `{name}` are on another device"),
        }
    }

    /// The same as [`Update`], in candle operations.
    fn update_tensors(
        &mut self,
        name: &str,
        var: &Var,
        grad: &Tensor,
        factors: Factors,
    ) -> candle_core::Result<()> {
        let Factors { clip, rate, inverse_root_bias_2 } = factors;
        let (beta_1, beta_2) = (f64::from(BETA_1), f64::from(BETA_2));
        let grad = (grad * f64::from(clip))?;
        let (first, second) = match self.moments.get(name) {
            Some(Moment::Device(first, second)) => (first.clone(), second.clone()),
            Some(Moment::Memory(..)) => candle_core::bail!("the moments of `{name}` are on another device"),
            None => (grad.zeros_like()?, grad.zeros_like()?),
        };
        let first = ((first * beta_1)? + (&grad * (1.0 - beta_1))?)?;
        let second = ((second * beta_2)? + (grad.sqr()? * (1.0 - beta_2))?)?;
        let root = (second.sqrt()? * f64::from(inverse_root_bias_2))?;
        let change = ((&first * f64::from(rate))? / (root + f64::from(EPSILON))?)?;
        var.set(&(var.as_detached_tensor() - change)?)?;
        self.moments.insert(name.into(), Moment::Device(first, second));
        Ok(())
    }
}

/// Scalar factors of one step.
#[derive(Clone, Copy)]
struct Factors {
    clip: f32,
    rate: f32,
    inverse_root_bias_2: f32,
}

/// First and second moment of a variable, to update.
type MomentsMut<'a> = (&'a mut [f32], &'a mut [f32]);

struct Update<'a> {
    moments: Mutex<MomentsMut<'a>>,
    grad: &'a [f32],
    factors: Factors,
}

impl InplaceOp1 for Update<'_> {
    fn name(&self) -> &'static str {
        "adamw"
    }

    fn cpu_fwd(&self, parameter: &mut CpuStorage, layout: &Layout) -> candle_core::Result<()> {
        let (Some((start, end)), Ok(mut moments)) = (layout.contiguous_offsets(), self.moments.lock()) else {
            candle_core::bail!("the optimiser needs contiguous tensors");
        };
        let CpuStorage::F32(parameter) = parameter else {
            candle_core::bail!("the optimiser updates f32 parameters");
        };
        let (first, second) = &mut *moments;
        let Factors { clip, rate, inverse_root_bias_2 } = self.factors;
        parameter[start..end]
            .par_chunks_mut(CHUNK)
            .zip(self.grad.par_chunks(CHUNK))
            .zip(first.par_chunks_mut(CHUNK).zip(second.par_chunks_mut(CHUNK)))
            .for_each(|((parameter, grad), (first, second))| {
                ops::wide(
                    #[inline(always)]
                    || {
                        for (((p, g), m), v) in parameter.iter_mut().zip(grad).zip(first).zip(second) {
                            let g = g * clip;
                            *m = BETA_1 * *m + (1.0 - BETA_1) * g;
                            *v = BETA_2 * *v + (1.0 - BETA_2) * g * g;
                            *p -= rate * *m / (v.sqrt() * inverse_root_bias_2 + EPSILON);
                        }
                    },
                );
            });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        gpt2::Config,
        train::{
            model::{Mode, next_tokens},
            scratch,
        },
    };

    fn model() -> Model {
        let config = Config {
            vocab_size: 11,
            n_positions: 8,
            n_embd: 6,
            n_layer: 2,
            n_head: 2,
            n_inner: 24,
            layer_norm_epsilon: 1e-5,
            embd_pdrop: 0.1,
            attn_pdrop: 0.1,
            resid_pdrop: 0.1,
            eos_token_id: 0,
        };
        let weights = scratch::weights(&config, 3);
        Model::new(config, &weights).unwrap()
    }

    fn read(values: Values) -> Vec<f32> {
        values.to_memory().unwrap().into_owned()
    }

    const IDS: [u32; 8] = [1, 5, 2, 10, 0, 3, 3, 7];

    #[test]
    fn the_schedule_is_the_references() {
        // PyTorch's: tests/fixtures/tiny-gpt2/reference.json, "trajectory".
        for (step, lr) in
            [(0, 1e-3), (1, 0.000_975_528_258_147_576_8), (5, 0.0005), (9, 2.447_174_185_242_323_5e-5)]
        {
            assert!((cosine(1e-3, step, 10) - lr).abs() < 1e-12);
        }
    }

    fn gradients(model: &Model, ids: &[u32], mode: Mode, weight: f32, sums: &mut Gradients) -> f32 {
        model.accumulate(ids, &next_tokens(ids, 4), 4, mode, weight, sums).unwrap()
    }

    #[test]
    fn two_halves_of_a_batch_make_the_whole_batchs_gradients() {
        let model = model();
        let (mut whole, mut halves) = (Gradients::new(&model), Gradients::new(&model));
        // Gradients from before the clear do not count.
        gradients(&model, &IDS, Mode::Train { seed: 1, step: 1 }, 1.0, &mut halves);
        halves.clear();
        assert!(halves.get("ln_f.bias").is_none() && halves.norm().unwrap() == 0.0);
        let loss = gradients(&model, &IDS, Mode::Evaluate, 1.0, &mut whole);
        let parts = IDS.chunks(4).map(|half| gradients(&model, half, Mode::Evaluate, 0.5, &mut halves));
        assert!((loss - parts.sum::<f32>() / 2.0).abs() < 1e-6);
        assert!((whole.norm().unwrap() - halves.norm().unwrap()).abs() < 1e-6);
        for (name, _) in model.vars() {
            let (whole, halves) = (read(whole.get(name).unwrap()), read(halves.get(name).unwrap()));
            assert!(whole.iter().zip(&halves).all(|(a, b)| (a - b).abs() < 1e-6), "{name}");
        }
    }

    #[test]
    fn a_restored_optimiser_goes_on_bit_for_bit() {
        let model_1 = model();
        let mut one = AdamW::default();
        let step = |model: &Model, optimizer: &mut AdamW| {
            let mut sums = Gradients::new(model);
            gradients(model, &IDS, Mode::Train { seed: 1, step: optimizer.steps() }, 1.0, &mut sums);
            optimizer.step(model, &sums, 1e-2).unwrap();
        };
        step(&model_1, &mut one);
        let model_2 = Model::new(model_1.config().clone(), &model_1.weights().unwrap()).unwrap();
        let moments = one.moments().map(|(name, m, v)| (name.into(), (read(m), read(v)))).collect();
        let mut two = AdamW::restore(&model_2, one.steps(), moments).unwrap();
        step(&model_1, &mut one);
        step(&model_2, &mut two);
        assert_eq!(model_1.weights().unwrap(), model_2.weights().unwrap());
    }

    #[test]
    fn moments_of_another_shape_are_refused() {
        let moments = Moments::from([("ln_f.bias".into(), (vec![0.0; 5], vec![0.0; 5]))]);
        let error = AdamW::restore(&model(), 1, moments).err().unwrap().to_string();
        assert!(error.contains("ln_f.bias") && error.contains('5') && error.contains('6'), "{error}");
        let moments = Moments::from([("h.9.x".into(), (vec![], vec![]))]);
        assert!(AdamW::restore(&model(), 1, moments).is_err());
    }
}
