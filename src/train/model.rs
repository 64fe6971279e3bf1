//! GPT-2 for training: named candle variables, and what is computed with them.

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
    laps::Laps,
    ops::matmul::{Cores, View, product},
    pass::{Parameters, Pass, Workspace},
    room,
};
use crate::{
    bundle::{Weights, weights},
    gpt2::{Config, names},
};

/// The trainable network: one variable a tensor, by checkpoint name.
pub struct Model {
    config: Config,
    vars: BTreeMap<String, Var>,
    /// Keep each layer's input alone until its gradient is needed, and compute
    /// the rest again then: less memory, a third more arithmetic, the same bits.
    pub checkpoint_activations: bool,
    machinery: Machinery,
}

/// What computes the passes.
enum Machinery {
    /// Passes written by hand over main memory, with their buffers.
    ByHand(Box<Mutex<Workspace>>),
    /// candle's operations on a device, matrices multiplied in `products`.
    Graph { device: Device, products: DType },
}

/// Which dropout decisions a pass makes.
#[derive(Debug, Clone, Copy)]
pub enum Mode {
    /// No dropout.
    Evaluate,
    /// GPT-2's three dropouts, decided by seed and step.
    Train { seed: u64, step: u64 },
}

impl Mode {
    /// The decisions for a dropout of probability p at a place in the network.
    pub(super) fn mask(self, p: f32, site: usize) -> Option<Mask> {
        match self {
            Self::Evaluate => None,
            Self::Train { seed, step } => Mask::new(p, seed, step, site as u64),
        }
    }
}

impl Model {
    /// Variables with these starting values, in main memory.
    ///
    /// # Errors
    /// [`TrainError::MissingTensor`].
    pub fn new(config: Config, weights: &Weights) -> Result<Self, TrainError> {
        Self::on(&Device::Cpu, DType::F32, config, weights)
    }

    /// Variables with these starting values on a device. On the processor all
    /// is f32 and computed by hand; elsewhere candle computes, and matrices are
    /// multiplied in `products`.
    ///
    /// # Errors
    /// Where a tensor is missing or the device has no room.
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

    /// As [`Model::on`] a GPU, but wherever, with products of a chosen type.
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
            let var = Var::from_vec(room::copy(&found.data), tensor.shape.as_slice(), &device)?;
            vars.insert(tensor.name, var);
        }
        Ok(Self { config, vars, checkpoint_activations: false, machinery })
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Where the variables are.
    pub fn device(&self) -> Device {
        self.machinery.device()
    }

    /// Whether gradients and moments are candle's, beside the variables.
    pub(super) fn is_graph(&self) -> bool {
        matches!(self.machinery, Machinery::Graph { .. })
    }

    /// What matrices are multiplied in, by its usual name.
    pub fn products(&self) -> &'static str {
        match self.machinery {
            Machinery::ByHand(_) => DType::F32.as_str(),
            Machinery::Graph { products, .. } => products.as_str(),
        }
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
    ///
    /// # Errors
    /// Where they cannot be brought from their device.
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
    /// [`TrainError::Context`], [`TrainError::Batch`], [`TrainError::Token`] for ids that
    /// are no batch of this network's; what the device says.
    pub fn logits(&self, ids: &[u32], context: usize) -> Result<Tensor, TrainError> {
        self.check_batch(ids, context)?;
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

    /// The mean cross-entropy of each token given those before it, in nats,
    /// without dropout: labels are [`next_tokens`].
    ///
    /// # Errors
    /// As [`Model::logits`].
    pub fn loss(&self, ids: &[u32], context: usize) -> Result<f32, TrainError> {
        self.loss_masked(ids, &next_tokens(ids, context), context)
    }

    /// The mean cross-entropy over the positions that have a label, in nats,
    /// without dropout: `labels[i]` is the token that should follow `ids[i]`,
    /// one a token. 0 where nothing has a label.
    ///
    /// # Errors
    /// As [`Model::logits`], and [`TrainError::Labels`] for another number of labels.
    pub fn loss_masked(
        &self,
        ids: &[u32],
        labels: &[Option<u32>],
        context: usize,
    ) -> Result<f32, TrainError> {
        self.check_batch(ids, context)?;
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

    /// Adds `weight` times the gradients of the batch's mean loss to `sums`
    /// and returns the loss itself, without the weight. For the mean over
    /// micro-batches, a weight is the micro-batch's share of all labels
    /// (1 / n where they are equal). Ids and labels are those of
    /// [`Model::loss_masked`].
    ///
    /// # Errors
    /// As [`Model::loss_masked`], and [`TrainError::OtherDevice`] for sums that are not
    /// beside the variables.
    pub fn accumulate(
        &self,
        ids: &[u32],
        labels: &[Option<u32>],
        context: usize,
        mode: Mode,
        weight: f32,
        sums: &mut Gradients,
    ) -> Result<f32, TrainError> {
        self.check_batch(ids, context)?;
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

    /// Where the time of this model's passes went; nothing is known of a GPU's.
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

    fn check_batch(&self, ids: &[u32], context: usize) -> Result<(), TrainError> {
        let config = &self.config;
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

    /// Calls `f` with the pass of a batch and the buffers for it.
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
        // What a pass that failed left in the buffers, the next overwrites.
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

/// The labels of plain language modelling, as `transformers` shifts them: each
/// token of a block (of `context` tokens) is the label of the one before; the
/// last has none.
pub fn next_tokens(ids: &[u32], context: usize) -> Vec<Option<u32>> {
    ids.chunks(context.max(1))
        .flat_map(|block| block.iter().skip(1).map(|&id| Some(id)).chain([None]))
        .collect()
}
