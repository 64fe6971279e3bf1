//! One transformer block in candle operations.

use candle_core::{D, Result, Tensor};

use super::{Graph, dropout::dropout, layer_norm, product};
use crate::train::chance::Mask;

/// A layer's parameters and dropout masks.
pub(super) struct Block<'a> {
    graph: &'a Graph<'a>,
    layer: usize,
    /// For attention probabilities, and for the outputs of attention and MLP.
    masks: [Option<Mask>; 3],
}

impl<'a> Block<'a> {
    pub fn new(graph: &'a Graph<'a>, layer: usize) -> Result<Self> {
        let config = graph.config;
        let mask = |p, site| graph.mode.mask(p, 1 + 3 * layer + site);
        let masks = [mask(config.attn_pdrop, 0), mask(config.resid_pdrop, 1), mask(config.resid_pdrop, 2)];
        Ok(Self { graph, layer, masks })
    }

    /// The residual stream (B T, C) after the block, for x (B T, C).
    pub fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let attended = self.attention(&self.linear("attn.c_attn", &self.norm("ln_1", x)?)?)?;
        let attended = self.linear("attn.c_proj", &attended)?;
        let x = (x + dropout(&attended, self.masks[1])?)?;
        let wide = self.linear("mlp.c_fc", &self.norm("ln_2", &x)?)?.gelu()?;
        x + dropout(&self.linear("mlp.c_proj", &wide)?, self.masks[2])?
    }

    /// Attention output (B T, C) for queries, keys and values (B T, 3 C).
    fn attention(&self, qkv: &Tensor) -> Result<Tensor> {
        let (rows, channels) = (qkv.dim(0)?, self.graph.config.n_embd);
        let (length, heads) = (self.graph.context, self.graph.config.n_head);
        let (batch, width) = (rows / length, channels / heads);
        let part = |which: usize| {
            let part = qkv.narrow(D::Minus1, which * channels, channels)?;
            let part = part.reshape((batch, length, heads, width))?.transpose(1, 2)?;
            part.to_dtype(self.graph.products)?.contiguous()
        };
        let scores = product(&part(0)?, &part(1)?.t()?)?;
        let scores = (scores * (width as f64).powf(-0.5))?.broadcast_add(self.graph.later()?)?;
        let shifted = scores.broadcast_sub(&scores.detach().max_keepdim(D::Minus1)?)?;
        let powers = shifted.exp()?;
        let probabilities = powers.broadcast_div(&powers.sum_keepdim(D::Minus1)?)?;
        let attended = product(&dropout(&probabilities, self.masks[0])?, &part(2)?)?;
        attended.transpose(1, 2)?.reshape((rows, channels))
    }

    fn linear(&self, name: &str, x: &Tensor) -> Result<Tensor> {
        let weight = self.var(name, "weight")?.to_dtype(self.graph.products)?;
        product(x, &weight)?.broadcast_add(self.var(name, "bias")?)
    }

    fn norm(&self, name: &str, x: &Tensor) -> Result<Tensor> {
        let epsilon = self.graph.config.layer_norm_epsilon;
        layer_norm(x, self.var(name, "weight")?, self.var(name, "bias")?, epsilon)
    }

    fn var(&self, name: &str, part: &str) -> Result<&'a Tensor> {
        self.graph.var(&format!("h.{}.{name}.{part}", self.layer))
    }
}
