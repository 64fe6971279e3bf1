//! The buffers of a pass, reused from step to step: fresh pages take as long to allocate as to
//! fill.

use crate::{
    gpt2::Config,
    train::{huge_pages, laps::Laps, ops::head},
};

/// Everything that the sizes of the buffers depend on, beside the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sizes {
    /// B T
    pub rows: usize,
    /// T
    pub context: usize,
    /// Layers whose activations are kept at once: one with activation checkpointing or without a
    /// backward pass.
    pub kept_layers: usize,
}

/// Activations that a layer's backward pass needs, beside the layer's input. Layer norms and GELU
/// are recomputed, which is cheaper than reading their outputs back.
#[derive(Default)]
pub(super) struct Kept {
    /// Queries, keys and values (R, 3 C).
    pub qkv: Vec<f32>,
    /// Attention output (R, C).
    pub attended: Vec<f32>,
    /// log(sum(exp(score))) of each query (B, H, T).
    pub log_sums: Vec<f32>,
    /// The residual stream after attention (R, C).
    pub middle: Vec<f32>,
    /// Input of GELU (R, inner).
    pub wide: Vec<f32>,
}

impl Kept {
    /// Zeros for R rows.
    pub fn new(config: &Config, rows: usize) -> Self {
        let zeros = |width: usize| huge_pages::zeros(rows * width);
        let (c, inner) = (config.n_embd, config.n_inner);
        Self {
            qkv: zeros(3 * c),
            attended: zeros(c),
            log_sums: zeros(config.n_head),
            middle: zeros(c),
            wide: zeros(inner),
        }
    }
}

/// Buffers that all layers share.
#[derive(Default)]
pub(super) struct Scratch {
    /// Output of a layer norm (R, C).
    pub normed: Vec<f32>,
    /// Output of GELU (R, inner).
    pub active: Vec<f32>,
    /// Output of a projection, or its gradient (R, C).
    pub projected: Vec<f32>,
    /// Gradient of a layer norm's output, or of attention's (R, C).
    pub dnormed: Vec<f32>,
    /// Gradient of qkv (R, 3 C) or of GELU's input (R, inner).
    pub dwide: Vec<f32>,
    /// Gradients of a layer norm's gain and bias, concatenated (2 C).
    pub norm_sums: Vec<f32>,
    /// Time spent, by kind of work.
    pub laps: Laps,
}

impl Scratch {
    /// Zeros for R rows, without the buffers of a backward pass.
    pub fn forward_only(config: &Config, rows: usize) -> Self {
        let zeros = |width: usize| huge_pages::zeros(rows * width);
        Self {
            normed: zeros(config.n_embd),
            active: zeros(config.n_inner),
            projected: zeros(config.n_embd),
            ..Self::default()
        }
    }
}

/// All buffers of a pass.
#[derive(Default)]
pub(crate) struct Workspace {
    sizes: Option<Sizes>,
    /// The residual stream before each layer and after the last, (R, C) each.
    pub(super) stream: Vec<Vec<f32>>,
    pub(super) kept: Vec<Kept>,
    pub(super) scratch: Scratch,
    /// Gradient of the residual stream (R, C).
    pub(super) dstream: Vec<f32>,
    /// Logits of one chunk of the head ([`head::logits_len`] numbers).
    pub(super) logits: Vec<f32>,
}

impl Workspace {
    /// Time spent in all passes, by kind of work.
    pub(crate) fn laps(&self) -> &Laps {
        &self.scratch.laps
    }

    /// Resizes all buffers; their contents are unspecified afterwards.
    pub(super) fn fit(&mut self, config: &Config, sizes: Sizes) {
        if self.sizes == Some(sizes) {
            return;
        }
        // Buffers of another shape are freed first.
        let laps = std::mem::take(&mut self.scratch.laps);
        *self = Self::default();
        self.sizes = Some(sizes);
        let (r, c) = (sizes.rows, config.n_embd);
        let zeros = huge_pages::zeros;
        self.stream = (0..=config.n_layer).map(|_| zeros(r * c)).collect();
        self.kept = (0..sizes.kept_layers).map(|_| Kept::new(config, r)).collect();
        self.scratch = Scratch {
            dnormed: zeros(r * c),
            dwide: zeros(r * config.n_inner.max(3 * c)),
            norm_sums: zeros(2 * c),
            laps,
            ..Scratch::forward_only(config, r)
        };
        self.dstream = zeros(r * c);
        self.logits = zeros(head::logits_len(r, config.vocab_size));
    }
}
