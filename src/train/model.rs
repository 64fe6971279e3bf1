//! GPT-2 as a candle graph over named variables, for training.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor, Var, backprop::GradStore};

use super::{TrainError, chance::Mask, gradients::Gradients, ops};
use crate::{
    bundle::{Weights, weights},
    gpt2::{Config, names},
};

/// The trainable network: one variable a tensor, by checkpoint name.
pub struct Model {
    config: Config,
    vars: BTreeMap<String, Var>,
}

/// Which dropout decisions a forward pass makes.
#[derive(Debug, Clone, Copy)]
pub enum Mode {
    /// No dropout.
    Evaluate,
    /// GPT-2's three dropouts, decided by seed and step.
    Train { seed: u64, step: u64 },
}

impl Mode {
    fn mask(self, p: f32, site: usize) -> Option<Mask> {
        match self {
            Self::Evaluate => None,
            Self::Train { seed, step } => Mask::new(p, seed, step, site as u64),
        }
    }
}

impl Model {
    /// Variables with these starting values.
    pub fn new(config: Config, weights: &Weights) -> Result<Self, TrainError> {
        let mut vars = BTreeMap::new();
        for tensor in names::tensors(&config) {
            let found = weights
                .get(&tensor.name)
                .ok_or_else(|| TrainError::MissingTensor { name: tensor.name.clone() })?;
            let values = Tensor::from_slice(&found.data, tensor.shape.as_slice(), &Device::Cpu)?;
            vars.insert(tensor.name, Var::from_tensor(&values)?);
        }
        Ok(Self { config, vars })
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Every variable, in the order of their names.
    pub fn vars(&self) -> impl Iterator<Item = (&str, &Var)> {
        self.vars.iter().map(|(name, var)| (name.as_str(), var))
    }

    /// Trainable numbers.
    pub fn parameters(&self) -> u64 {
        self.vars.values().map(|v| v.elem_count() as u64).sum()
    }

    /// The variables' values now.
    pub fn weights(&self) -> Result<Weights, TrainError> {
        let mut all = Weights::new();
        for (name, var) in &self.vars {
            let data = var.flatten_all()?.to_vec1::<f32>()?;
            all.insert(name.clone(), weights::Tensor { shape: var.dims().to_vec(), data });
        }
        Ok(all)
    }

    fn get(&self, name: &str) -> Result<&Tensor, TrainError> {
        let var = self.vars.get(name).ok_or_else(|| TrainError::MissingTensor { name: name.into() })?;
        Ok(var.as_tensor())
    }

    /// x (R, in) times the named Conv1D (in, out), plus bias: (R, out).
    fn linear(&self, name: &str, x: &Tensor) -> Result<Tensor, TrainError> {
        let product = x.matmul(self.get(&format!("{name}.weight"))?)?;
        Ok(ops::add_bias(&product, self.get(&format!("{name}.bias"))?)?)
    }

    fn norm(&self, name: &str, x: &Tensor) -> Result<Tensor, TrainError> {
        let (gain, bias) = (self.get(&format!("{name}.weight"))?, self.get(&format!("{name}.bias"))?);
        Ok(ops::layer_norm(x, gain, bias, self.config.layer_norm_epsilon)?)
    }

    /// The last layer norm's output (B T, C) for ids (B, T).
    pub fn hidden(&self, ids: &[u32], context: usize, mode: Mode) -> Result<Tensor, TrainError> {
        let config = &self.config;
        if context > config.n_positions {
            return Err(TrainError::Context { context, positions: config.n_positions });
        }
        if let Some(&id) = ids.iter().find(|&&id| id as usize >= config.vocab_size) {
            return Err(TrainError::Token { id, vocab_size: config.vocab_size });
        }
        let x = ops::embed(self.get("wte.weight")?, self.get("wpe.weight")?, ids, context)?;
        let mut x = ops::dropout(&x, mode.mask(config.embd_pdrop, 0))?;
        for layer in 0..config.n_layer {
            let part = |name: &str| format!("h.{layer}.{name}");
            let site = |i: usize| 1 + 3 * layer + i;
            let qkv = self.linear(&part("attn.c_attn"), &self.norm(&part("ln_1"), &x)?)?;
            let mixed = ops::attention(&qkv, context, config.n_head, mode.mask(config.attn_pdrop, site(0)))?;
            let mixed = self.linear(&part("attn.c_proj"), &mixed)?;
            x = (x + ops::dropout(&mixed, mode.mask(config.resid_pdrop, site(1)))?)?;
            let wide = ops::gelu(&self.linear(&part("mlp.c_fc"), &self.norm(&part("ln_2"), &x)?)?)?;
            let narrow = self.linear(&part("mlp.c_proj"), &wide)?;
            x = (x + ops::dropout(&narrow, mode.mask(config.resid_pdrop, site(2)))?)?;
        }
        self.norm("ln_f", &x)
    }

    /// Logits (B T, V) for ids (B, T), without dropout.
    pub fn logits(&self, ids: &[u32], context: usize) -> Result<Tensor, TrainError> {
        let hidden = self.hidden(ids, context, Mode::Evaluate)?;
        Ok(hidden.matmul(&self.get("wte.weight")?.t()?)?)
    }

    /// The mean cross-entropy of each token given those before it, in nats:
    /// labels are [`next_tokens`].
    pub fn loss(&self, ids: &[u32], context: usize, mode: Mode) -> Result<Tensor, TrainError> {
        self.loss_masked(ids, &next_tokens(ids, context), context, mode)
    }

    /// The mean cross-entropy over the positions that have a label, in nats:
    /// `labels[i]` is the token that should follow `ids[i]`, one a token.
    pub fn loss_masked(
        &self,
        ids: &[u32],
        labels: &[Option<u32>],
        context: usize,
        mode: Mode,
    ) -> Result<Tensor, TrainError> {
        if labels.len() != ids.len() {
            return Err(TrainError::Labels { labels: labels.len(), tokens: ids.len() });
        }
        let vocab_size = self.config.vocab_size;
        if let Some(&id) = labels.iter().flatten().find(|&&id| id as usize >= vocab_size) {
            return Err(TrainError::Token { id, vocab_size });
        }
        let hidden = self.hidden(ids, context, mode)?;
        Ok(ops::head_loss(&hidden, self.get("wte.weight")?, labels.to_vec())?)
    }

    /// Adds `weight` times the gradients of [`Model::loss_masked`] to `sums`
    /// and returns the loss itself, without the weight. For the mean over
    /// micro-batches, a weight is the micro-batch's share of all labels
    /// (1 / n where they are equal).
    pub fn accumulate(
        &self,
        ids: &[u32],
        labels: &[Option<u32>],
        context: usize,
        mode: Mode,
        weight: f32,
        sums: &mut Gradients,
    ) -> Result<f32, TrainError> {
        let loss = self.loss_masked(ids, labels, context, mode)?;
        let grads = loss.backward()?;
        for (name, var) in &self.vars {
            let (Some(grad), Some(sum)) = (grads.get(var.as_tensor()), sums.get_mut(name)) else { continue };
            ops::with_values(grad, |grad| {
                sum.iter_mut().zip(grad).for_each(|(sum, grad)| *sum += weight * grad);
            })?;
        }
        Ok(loss.to_scalar::<f32>()?)
    }

    /// A named variable's gradient, if the loss depends on it.
    pub fn gradient<'a>(&self, name: &str, grads: &'a GradStore) -> Option<&'a Tensor> {
        grads.get(self.vars.get(name)?.as_tensor())
    }
}

/// The labels of plain language modelling, as `transformers` shifts them: each
/// token of a block (of `context` tokens) is the label of the one before; the
/// last has none.
pub fn next_tokens(ids: &[u32], context: usize) -> Vec<Option<u32>> {
    ids.chunks(context.max(1))
        .flat_map(|block| block.iter().skip(1).map(|&id| Some(id)).chain([None]))
        .collect()
}
