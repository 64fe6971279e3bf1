//! GPT-2 for training: named candle variables, and what is computed with them.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
};

use candle_core::{Device, Tensor, Var};

use super::{
    TrainError,
    chance::Mask,
    gradients::Gradients,
    laps::Laps,
    ops::matmul::{Cores, View, product},
    pass::{Parameters, Pass, Workspace},
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
    workspace: Mutex<Workspace>,
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
        Ok(Self { config, vars, checkpoint_activations: false, workspace: Mutex::default() })
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

    /// Logits (B T, V) for ids (B, T), without dropout.
    pub fn logits(&self, ids: &[u32], context: usize) -> Result<Tensor, TrainError> {
        let (vocab, width) = (self.config.vocab_size, self.config.n_embd);
        let mut logits = vec![0.0; ids.len() * vocab];
        self.pass(ids, context, Mode::Evaluate, |pass, workspace| {
            let hidden = View::new(pass.hidden(workspace)?, ids.len(), width);
            let head = View::new(pass.parameters.get("wte.weight")?, vocab, width);
            product(hidden, head.t(), &mut logits, vocab, false, Cores::All);
            Ok(())
        })?;
        Ok(Tensor::from_vec(logits, (ids.len(), vocab), &Device::Cpu)?)
    }

    /// The mean cross-entropy of each token given those before it, in nats,
    /// without dropout: labels are [`next_tokens`].
    pub fn loss(&self, ids: &[u32], context: usize) -> Result<f32, TrainError> {
        self.loss_masked(ids, &next_tokens(ids, context), context)
    }

    /// The mean cross-entropy over the positions that have a label, in nats,
    /// without dropout: `labels[i]` is the token that should follow `ids[i]`,
    /// one a token. 0 where nothing has a label.
    pub fn loss_masked(
        &self,
        ids: &[u32],
        labels: &[Option<u32>],
        context: usize,
    ) -> Result<f32, TrainError> {
        self.check_labels(ids, labels)?;
        let loss = self.pass(ids, context, Mode::Evaluate, |pass, workspace| pass.loss(labels, workspace))?;
        Ok(loss as f32)
    }

    /// Adds `weight` times the gradients of the batch's mean loss to `sums`
    /// and returns the loss itself, without the weight. For the mean over
    /// micro-batches, a weight is the micro-batch's share of all labels
    /// (1 / n where they are equal). Ids and labels are those of
    /// [`Model::loss_masked`].
    pub fn accumulate(
        &self,
        ids: &[u32],
        labels: &[Option<u32>],
        context: usize,
        mode: Mode,
        weight: f32,
        sums: &mut Gradients,
    ) -> Result<f32, TrainError> {
        self.check_labels(ids, labels)?;
        let loss = self
            .pass(ids, context, mode, |pass, workspace| pass.accumulate(labels, weight, workspace, sums))?;
        Ok(loss as f32)
    }

    /// Where the time of this model's passes went.
    pub fn laps(&self) -> Laps {
        self.workspace.lock().unwrap_or_else(PoisonError::into_inner).laps().clone()
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

    /// Checks a batch and calls `f` with its pass and the buffers for it.
    fn pass<T>(
        &self,
        ids: &[u32],
        context: usize,
        mode: Mode,
        f: impl FnOnce(&Pass, &mut Workspace) -> Result<T, TrainError>,
    ) -> Result<T, TrainError> {
        let config = &self.config;
        if context == 0 || context > config.n_positions {
            return Err(TrainError::Context { context, positions: config.n_positions });
        }
        if ids.is_empty() || !ids.len().is_multiple_of(context) {
            return Err(TrainError::Batch { tokens: ids.len(), context });
        }
        if let Some(&id) = ids.iter().find(|&&id| id as usize >= config.vocab_size) {
            return Err(TrainError::Token { id, vocab_size: config.vocab_size });
        }
        let parameters = Parameters::hold(&self.vars)?;
        let pass = Pass {
            config,
            parameters: &parameters,
            ids,
            context,
            mode,
            recompute: self.checkpoint_activations,
        };
        // What a pass that failed left in the buffers, the next overwrites.
        let mut workspace = self.workspace.lock().unwrap_or_else(PoisonError::into_inner);
        f(&pass, &mut workspace)
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
