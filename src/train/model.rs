//! GPT-2 for training: named candle variables, and the passes over them.

use std::{
    cell::OnceCell,
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use candle_core::{DType, Device, Tensor, Var};

use super::{
    TrainError,
    chance::Mask,
    gradients::{Gradients, Sums},
    graph::Graph,
    huge_pages,
    laps::Laps,
    ops::matmul::{Cores, View, product},
    pass::{Parameters, Pass, Workspace},
};
use crate::{
    bundle::{Weights, weights},
    gpt2::{Config, names},
};

/// The trainable network: one variable per tensor, by its checkpoint name.
pub struct Model {
    config: Config,
    vars: BTreeMap<String, Var>,
    /// Activation checkpointing: keep only each layer's input and recompute the rest in the
    /// backward pass. Less memory for a third more arithmetic; the same bits.
    pub checkpoint_activations: bool,
    machinery: Machinery,
}

/// Implementation of the passes.
enum Machinery {
    /// Hand-written passes in main memory, with their buffers.
    ByHand(Box<Mutex<Workspace>>),
    /// candle operations on a device, with matrix products in `products`.
    Graph { device: Device, products: DType },
}

/// Whether a pass applies dropout, and with which decisions.
#[derive(Debug, Clone, Copy)]
pub enum Mode {
    /// No dropout.
    Evaluate,
    /// GPT-2's three kinds of dropout, determined by seed and step.
    Train { seed: u64, step: u64 },
}

impl Mode {
    /// The mask for dropout with probability p at a site of the network.
    pub(super) fn mask(self, p: f32, site: usize) -> Option<Mask> {
        match self {
            Self::Evaluate => None,
            Self::Train { seed, step } => Mask::new(p, seed, step, site as u64),
        }
    }
}

impl Model {
    /// Variables in main memory, initialised with `weights`.
    ///
    /// # Errors
    /// [`TrainError::MissingTensor`].
    pub fn new(config: Config, weights: &Weights) -> Result<Self, TrainError> {
        Self::on(&Device::Cpu, DType::F32, config, weights)
    }

    /// Variables on a device, initialised with `weights`. On the CPU, everything is f32 and the
    /// hand-written passes are used; elsewhere candle's, with matrix products in `products`.
    ///
    /// # Errors
    /// Where a tensor is missing or the device runs out of memory.
    pub fn on(
        device: &Device,
        products: DType,
        config: Config,
        weights: &Weights,
    ) -> Result<Self, TrainError> {
        let machinery = match device {
            Device::Cpu => Machinery::ByHand(Box::default()),
            device => Machinery::Graph { device: device.clone(), products },
        };
        Self::with(machinery, config, weights)
    }

    /// Like [`Model::on`] for a GPU, but on any device.
    #[cfg(test)]
    pub(super) fn graph(
        device: Device,
        products: DType,
        config: Config,
        weights: &Weights,
    ) -> Result<Self, TrainError> {
        Self::with(Machinery::Graph { device, products }, config, weights)
    }

    fn with(machinery: Machinery, config: Config, weights: &Weights) -> Result<Self, TrainError> {
        let device = machinery.device();
        let mut vars = BTreeMap::new();
        for tensor in names::tensors(&config) {
            let found = weights
                .get(&tensor.name)
                .ok_or_else(|| TrainError::MissingTensor { name: tensor.name.clone() })?;
            let var = Var::from_vec(huge_pages::copy(&found.data), tensor.shape.as_slice(), &device)?;
            vars.insert(tensor.name, var);
        }
        Ok(Self { config, vars, checkpoint_activations: false, machinery })
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The device of the variables.
    pub fn device(&self) -> Device {
        self.machinery.device()
    }

    /// Whether gradients and moments are candle tensors on the variables' device.
    pub(super) fn is_graph(&self) -> bool {
        matches!(self.machinery, Machinery::Graph { .. })
    }

    /// Data type of matrix products, by its usual name.
    pub fn products(&self) -> &'static str {
        match self.machinery {
            Machinery::ByHand(_) => DType::F32.as_str(),
            Machinery::Graph { products, .. } => products.as_str(),
        }
    }

    /// All variables, in the order of their names.
    pub fn vars(&self) -> impl Iterator<Item = (&str, &Var)> {
        self.vars.iter().map(|(name, var)| (name.as_str(), var))
    }

    /// Number of trainable parameters.
    pub fn parameters(&self) -> u64 {
        self.vars.values().map(|v| v.elem_count() as u64).sum()
    }

    /// The current values of the variables.
    ///
    /// # Errors
    /// Where they cannot be copied from their device.
    pub fn weights(&self) -> Result<Weights, TrainError> {
        let mut all = Weights::new();
        for (name, var) in &self.vars {
            let data = var.flatten_all()?.to_vec1::<f32>()?;
            all.insert(name.clone(), weights::Tensor { shape: var.dims().to_vec(), data });
        }
        Ok(all)
    }

    /// Logits (B T, V) for ids (B, T), without dropout.
    ///
    /// # Errors
    /// [`TrainError::Context`], [`TrainError::Batch`] and [`TrainError::Token`] for ids that are
    /// not a batch of this network; errors of the device.
    pub fn logits(&self, ids: &[u32], context: usize) -> Result<Tensor, TrainError> {
        check_batch(&self.config, ids, context)?;
        match &self.machinery {
            Machinery::Graph { device, products } => {
                Ok(self.as_graph(device, *products, ids, context, Mode::Evaluate).logits()?)
            }
            Machinery::ByHand(workspace) => {
                let (vocab, width) = (self.config.vocab_size, self.config.n_embd);
                let mut logits = vec![0.0; ids.len() * vocab];
                self.by_hand(workspace, ids, context, Mode::Evaluate, |pass, workspace| {
                    let hidden = View::new(pass.hidden(workspace)?, ids.len(), width);
                    let head = View::new(pass.parameters.get("wte.weight")?, vocab, width);
                    product(hidden, head.t(), &mut logits, vocab, false, Cores::All);
                    Ok(())
                })?;
                Ok(Tensor::from_vec(logits, (ids.len(), vocab), &Device::Cpu)?)
            }
        }
    }

    /// Mean cross-entropy of each token given those before it in its block, in nats, without
    /// dropout; ids are (B, T) and the labels are [`next_tokens`].
    ///
    /// # Errors
    /// As [`Model::logits`].
    pub fn loss(&self, ids: &[u32], context: usize) -> Result<f32, TrainError> {
        self.loss_masked(ids, &next_tokens(ids, context), context)
    }

    /// Mean cross-entropy over the labelled positions, in nats, without dropout; 0 if there are
    /// none. Ids and labels are (B, T); `labels[i]` is the token that should follow `ids[i]`.
    ///
    /// # Errors
    /// As [`Model::logits`], and [`TrainError::Labels`] for another number of labels.
    pub fn loss_masked(
        &self,
        ids: &[u32],
        labels: &[Option<u32>],
        context: usize,
    ) -> Result<f32, TrainError> {
        check_batch(&self.config, ids, context)?;
        self.check_labels(ids, labels)?;
        let loss = match &self.machinery {
            Machinery::Graph { device, products } => {
                self.as_graph(device, *products, ids, context, Mode::Evaluate).loss(labels)?
            }
            Machinery::ByHand(workspace) => {
                self.by_hand(workspace, ids, context, Mode::Evaluate, |pass, w| pass.loss(labels, w))?
            }
        };
        Ok(loss as f32)
    }

    /// Adds `weight` times the gradients of the batch's mean loss to `sums`; returns the loss
    /// itself (nats, without the weight).
    ///
    /// For the mean over micro-batches, the weight is the micro-batch's share of all labels (1 / n
    /// if they have equally many). Ids and labels are as in [`Model::loss_masked`].
    ///
    /// # Errors
    /// As [`Model::loss_masked`], and [`TrainError::OtherDevice`] for sums on another device than
    /// the variables.
    pub fn accumulate(
        &self,
        ids: &[u32],
        labels: &[Option<u32>],
        context: usize,
        mode: Mode,
        weight: f32,
        sums: &mut Gradients,
    ) -> Result<f32, TrainError> {
        check_batch(&self.config, ids, context)?;
        self.check_labels(ids, labels)?;
        let loss = match (&self.machinery, sums.sums_mut()) {
            (Machinery::Graph { device, products }, Sums::Device(sums)) => {
                self.as_graph(device, *products, ids, context, mode).accumulate(labels, weight, sums)?
            }
            (Machinery::ByHand(workspace), Sums::Memory(sums)) => {
                self.by_hand(workspace, ids, context, mode, |pass, workspace| {
                    pass.accumulate(labels, weight, workspace, sums)
                })?
            }
            _ => return Err(TrainError::OtherDevice),
        };
        Ok(loss as f32)
    }

    /// Time spent in this model's passes by kind of work; not measured on a GPU.
    pub fn laps(&self) -> Laps {
        match &self.machinery {
            Machinery::ByHand(workspace) => {
                workspace.lock().unwrap_or_else(PoisonError::into_inner).laps().clone()
            }
            Machinery::Graph { .. } => Laps::default(),
        }
    }

    fn check_labels(&self, ids: &[u32], labels: &[Option<u32>]) -> Result<(), TrainError> {
        if labels.len() != ids.len() {
            return Err(TrainError::Labels { labels: labels.len(), tokens: ids.len() });
        }
        let vocab_size = self.config.vocab_size;
        match labels.iter().flatten().find(|&&id| id as usize >= vocab_size) {
            Some(&id) => Err(TrainError::Token { id, vocab_size }),
            None => Ok(()),
        }
    }

    /// Calls `f` with the pass for a batch, and its buffers.
    fn by_hand<T>(
        &self,
        workspace: &Mutex<Workspace>,
        ids: &[u32],
        context: usize,
        mode: Mode,
        f: impl FnOnce(&Pass, &mut Workspace) -> Result<T, TrainError>,
    ) -> Result<T, TrainError> {
        let parameters = Parameters::hold(&self.vars)?;
        let pass = Pass {
            config: &self.config,
            parameters: &parameters,
            ids,
            context,
            mode,
            recompute: self.checkpoint_activations,
        };
        // A poisoned lock is harmless: each pass overwrites the buffers.
        let mut workspace = workspace.lock().unwrap_or_else(PoisonError::into_inner);
        f(&pass, &mut workspace)
    }

    fn as_graph<'a>(
        &'a self,
        device: &'a Device,
        products: DType,
        ids: &'a [u32],
        context: usize,
        mode: Mode,
    ) -> Graph<'a> {
        Graph {
            config: &self.config,
            vars: &self.vars,
            device,
            products,
            ids,
            context,
            mode,
            recompute: self.checkpoint_activations,
            later: OnceCell::new(),
        }
    }
}

impl Machinery {
    fn device(&self) -> Device {
        match self {
            Self::ByHand(_) => Device::Cpu,
            Self::Graph { device, .. } => device.clone(),
        }
    }
}

/// Checks that ids are (B, T) token ids of this network, with T = `context`.
///
/// # Errors
/// [`TrainError::Context`], [`TrainError::Batch`] and [`TrainError::Token`].
pub(super) fn check_batch(config: &Config, ids: &[u32], context: usize) -> Result<(), TrainError> {
    if context == 0 || context > config.n_positions {
        return Err(TrainError::Context { context, positions: config.n_positions });
    }
    if ids.is_empty() || !ids.len().is_multiple_of(context) {
        return Err(TrainError::Batch { tokens: ids.len(), context });
    }
    match ids.iter().find(|&&id| id as usize >= config.vocab_size) {
        Some(&id) => Err(TrainError::Token { id, vocab_size: config.vocab_size }),
        None => Ok(()),
    }
}

/// Labels for language modelling, shifted as in `transformers`: in each block of `context` tokens,
/// a token is the label of the one before it, and the last position has none. ids: (B T); result:
/// (B T).
pub fn next_tokens(ids: &[u32], context: usize) -> Vec<Option<u32>> {
    ids.chunks(context.max(1))
        .flat_map(|block| block.iter().skip(1).map(|&id| Some(id)).chain([None]))
        .collect()
}
