//! The buffers of a pass, kept from step to step: fresh pages cost as much
//! time as filling them.

use crate::{
    gpt2::Config,
    train::{laps::Laps, ops::head, room},
};

/// What decides the size of every buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sizes {
    /// B T
    pub rows: usize,
    /// T
    pub context: usize,
    /// Layers whose activations are kept at once: one where the backward pass
    /// computes them again, and where there is none.
    pub kept_layers: usize,
}

/// What a layer's backward pass needs of its forward pass, next to its input.
/// Layer norms and GELU are computed again: cheaper than reading them back.
#[derive(Default)]
pub(super) struct Kept {
    /// Queries, keys and values (R, 3 C).
    pub qkv: Vec<f32>,
    /// Attention's result (R, C).
    pub attended: Vec<f32>,
    /// log(sum(exp(score))) of each query (B, H, T).
    pub log_sums: Vec<f32>,
    /// The residual stream after attention (R, C).
    pub middle: Vec<f32>,
    /// Before GELU (R, inner).
    pub wide: Vec<f32>,
}

/// Room that every layer uses in turn.
#[derive(Default)]
pub(super) struct Scratch {
    /// A layer norm's result (R, C).
    pub normed: Vec<f32>,
    /// GELU's result (R, inner).
    pub active: Vec<f32>,
    /// A projection's result, or its gradient (R, C).
    pub projected: Vec<f32>,
    /// A layer norm's gradient (R, C).
    pub dnormed: Vec<f32>,
    /// Gradient of what a block widens to: qkv (R, 3 C), or before GELU (R, inner).
    pub dwide: Vec<f32>,
    /// Gradients of a layer norm's gain and bias (2 C).
    pub norm_sums: Vec<f32>,
    /// Where the time went.
    pub laps: Laps,
}

/// Every buffer of a pass.
#[derive(Default)]
pub(crate) struct Workspace {
    sizes: Option<Sizes>,
    /// The residual stream before each layer and after the last, (R, C) each.
    pub(super) stream: Vec<Vec<f32>>,
    pub(super) kept: Vec<Kept>,
    pub(super) scratch: Scratch,
    /// The residual stream's gradient (R, C).
    pub(super) dstream: Vec<f32>,
    /// Logits of the head's chunk.
    pub(super) logits: Vec<f32>,
}

impl Workspace {
    /// Where the time of all passes went.
    pub(crate) fn laps(&self) -> &Laps {
        &self.scratch.laps
    }

    /// Makes every buffer fit; what they hold then is anything.
    pub(super) fn fit(&mut self, config: &Config, sizes: Sizes) {
        if self.sizes == Some(sizes) {
            return;
        }
        // First give back what another shape took.
        let laps = std::mem::take(&mut self.scratch.laps);
        *self = Self::default();
        self.sizes = Some(sizes);
        let (r, c) = (sizes.rows, config.n_embd);
        let room = room::zeros;
        self.stream = (0..=config.n_layer).map(|_| room(r * c)).collect();
        self.kept = (0..sizes.kept_layers)
            .map(|_| Kept {
                qkv: room(r * 3 * c),
                attended: room(r * c),
                log_sums: room(r * config.n_head),
                middle: room(r * c),
                wide: room(r * config.n_inner),
            })
            .collect();
        self.scratch = Scratch {
            normed: room(r * c),
            active: room(r * config.n_inner),
            projected: room(r * c),
            dnormed: room(r * c),
            dwide: room(r * config.n_inner.max(3 * c)),
            norm_sums: room(2 * c),
            laps,
        };
        self.dstream = room(r * c);
        self.logits = room(head::logits_len(r, config.vocab_size));
    }
}
