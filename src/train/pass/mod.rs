//! Hand-written forward and backward pass of GPT-2 over reused buffers.
//!
//! candle's graph keeps every intermediate tensor, copies gradients to add them, and fuses no
//! operations. Here each layer keeps only what its backward pass needs ([`workspace`]), products
//! accumulate straight into the gradients, and the head's forward and backward pass share their
//! logits ([`head`]).

mod block;
mod by_layer;
mod parameters;
mod sums;
#[cfg(test)]
mod tests;
mod workspace;

pub(crate) use by_layer::ByLayer;
pub(crate) use parameters::Parameters;
pub(crate) use sums::Sums;
pub(crate) use workspace::Workspace;

use block::Block;
use workspace::Sizes;

use super::{
    TrainError,
    laps::Work,
    model::Mode,
    ops::{
        embedding,
        head::{self, HeadGradients},
        layer_norm::{layer_norm, layer_norm_backward},
        residual::dropout,
    },
};
use crate::gpt2::Config;

/// One batch and all that its passes need.
pub(crate) struct Pass<'a> {
    pub config: &'a Config,
    pub parameters: &'a Parameters<'a>,
    /// (B, T), row-major; every id is below V.
    pub ids: &'a [u32],
    /// T, at most the number of positions.
    pub context: usize,
    pub mode: Mode,
    /// Activation checkpointing: keep only each layer's input and recompute the rest in the
    /// backward pass. A third more arithmetic for a fraction of the memory.
    pub recompute: bool,
}

impl Pass<'_> {
    /// Output of the final layer norm (B T, C).
    pub fn hidden<'w>(&self, workspace: &'w mut Workspace) -> Result<&'w [f32], TrainError> {
        self.fit(workspace, true);
        self.forward(workspace)?;
        Ok(&workspace.scratch.normed)
    }

    /// The mean cross-entropy over the labelled positions, in nats.
    pub fn loss(&self, labels: &[Option<u32>], workspace: &mut Workspace) -> Result<f64, TrainError> {
        self.fit(workspace, true);
        self.forward(workspace)?;
        let (hidden, wte) = (&workspace.scratch.normed, self.parameters.get("wte.weight")?);
        Ok(head::head_loss(hidden, wte, self.config.n_embd, labels, &mut workspace.logits, None))
    }

    /// [`Pass::loss`], also adding `weight` times its gradients to `sums`.
    pub fn accumulate(
        &self,
        labels: &[Option<u32>],
        weight: f32,
        workspace: &mut Workspace,
        sums: &mut Sums,
    ) -> Result<f64, TrainError> {
        let c = self.config.n_embd;
        self.fit(workspace, self.recompute);
        self.forward(workspace)?;
        let Workspace { stream, kept, scratch, dstream, logits, .. } = workspace;
        let wte = self.parameters.get("wte.weight")?;
        let add = sums.hold_sums();
        let into =
            HeadGradients { dx: &mut scratch.projected, dwte: sums.get_mut("wte.weight")?, add, weight };
        let loss = head::head_loss(&scratch.normed, wte, c, labels, logits, Some(into));
        scratch.laps.end(Work::Head);

        dstream.fill(0.0);
        let norm = self.parameters.norm("ln_f")?;
        let epsilon = self.config.layer_norm_epsilon;
        scratch.norm_sums.fill(0.0);
        let last = &stream[self.config.n_layer];
        layer_norm_backward(last, norm.gain, epsilon, &scratch.projected, dstream, &mut scratch.norm_sums);
        sums.store_norm("ln_f", &scratch.norm_sums, add)?;
        scratch.laps.end(Work::LayerNorm);
        for layer in (0..self.config.n_layer).rev() {
            let block = self.block(layer)?;
            let kept = if self.recompute {
                block.forward(&stream[layer], &mut kept[0], scratch, None);
                &kept[0]
            } else {
                &kept[layer]
            };
            block.backward(&stream[layer], kept, scratch, dstream, sums, add)?;
        }
        if let Some(mask) = self.mode.mask(self.config.embd_pdrop, 0) {
            dropout(dstream, c, mask);
        }
        embedding::add_token_gradients(dstream, c, self.ids, sums.get_mut("wte.weight")?);
        let dwpe = sums.get_mut("wpe.weight")?;
        if !add {
            dwpe.fill(0.0);
        }
        embedding::add_position_gradients(dstream, c, self.context, dwpe);
        scratch.laps.end(Work::Embedding);
        Ok(loss)
    }

    fn fit(&self, workspace: &mut Workspace, one_layer: bool) {
        let kept_layers = if one_layer { 1 } else { self.config.n_layer };
        workspace.fit(self.config, Sizes { rows: self.ids.len(), context: self.context, kept_layers });
    }

    /// Fills the residual stream, the kept activations and `scratch.normed`.
    fn forward(&self, workspace: &mut Workspace) -> Result<(), TrainError> {
        let Workspace { stream, kept, scratch, .. } = workspace;
        scratch.laps.start();
        let c = self.config.n_embd;
        let (wte, wpe) = (self.parameters.get("wte.weight")?, self.parameters.get("wpe.weight")?);
        embedding::embed(wte, wpe, c, self.ids, self.context, &mut stream[0]);
        if let Some(mask) = self.mode.mask(self.config.embd_pdrop, 0) {
            dropout(&mut stream[0], c, mask);
        }
        scratch.laps.end(Work::Embedding);
        for layer in 0..self.config.n_layer {
            let (before, after) = stream.split_at_mut(layer + 1);
            let place = layer.min(kept.len() - 1);
            self.block(layer)?.forward(&before[layer], &mut kept[place], scratch, Some(&mut after[0]));
        }
        let norm = self.parameters.norm("ln_f")?;
        let last = &stream[self.config.n_layer];
        layer_norm(last, norm.gain, norm.bias, self.config.layer_norm_epsilon, &mut scratch.normed);
        scratch.laps.end(Work::LayerNorm);
        Ok(())
    }

    fn block(&self, layer: usize) -> Result<Block<'_>, TrainError> {
        Block::new(self.config, self.parameters, layer, self.context, self.mode)
    }
}
