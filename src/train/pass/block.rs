//! One transformer block, forward and backward.

use super::{
    Sums,
    parameters::{Linear, Norm, Parameters},
    workspace::{Kept, Scratch},
};
use crate::{
    gpt2::Config,
    train::{
        TrainError,
        chance::Mask,
        laps::Work,
        model::Mode,
        ops::{
            self,
            attention::Attention,
            gelu::{gelu, gelu_backward},
            layer_norm::{layer_norm, layer_norm_backward},
            matmul::{Cores, View, product},
            residual::{add_residual, dropout},
        },
    },
};

/// A layer's parameters and dropout masks.
pub(super) struct Block<'a> {
    layer: usize,
    ln_1: Norm<'a>,
    c_attn: Linear<'a>,
    attn_c_proj: Linear<'a>,
    ln_2: Norm<'a>,
    c_fc: Linear<'a>,
    mlp_c_proj: Linear<'a>,
    epsilon: f32,
    attention: Attention,
    /// For the outputs of attention and MLP.
    masks: [Option<Mask>; 2],
}

impl<'a> Block<'a> {
    pub fn new(
        config: &Config,
        parameters: &'a Parameters,
        layer: usize,
        context: usize,
        mode: Mode,
    ) -> Result<Self, TrainError> {
        let name = |part: &str| format!("h.{layer}.{part}");
        let mask = |p, site| mode.mask(p, 1 + 3 * layer + site);
        Ok(Self {
            layer,
            ln_1: parameters.norm(&name("ln_1"))?,
            c_attn: parameters.linear(&name("attn.c_attn"))?,
            attn_c_proj: parameters.linear(&name("attn.c_proj"))?,
            ln_2: parameters.norm(&name("ln_2"))?,
            c_fc: parameters.linear(&name("mlp.c_fc"))?,
            mlp_c_proj: parameters.linear(&name("mlp.c_proj"))?,
            epsilon: config.layer_norm_epsilon,
            attention: Attention {
                context,
                heads: config.n_head,
                channels: config.n_embd,
                mask: mask(config.attn_pdrop, 0),
            },
            masks: [mask(config.resid_pdrop, 1), mask(config.resid_pdrop, 2)],
        })
    }

    /// Fills `kept` from the residual stream x (R, C), and `out`, if given, with the stream after
    /// the block (R, C).
    pub fn forward(&self, x: &[f32], kept: &mut Kept, scratch: &mut Scratch, out: Option<&mut [f32]>) {
        let Scratch { normed, active, projected, laps, .. } = scratch;
        self.norm(self.ln_1, x, normed);
        laps.end(Work::LayerNorm);
        linear(self.c_attn, normed, &mut kept.qkv);
        laps.end(Work::LinearForward);
        self.attention.forward(&kept.qkv, &mut kept.attended, &mut kept.log_sums);
        laps.end(Work::AttentionForward);
        project(self.attn_c_proj, &kept.attended, projected);
        laps.end(Work::LinearForward);
        add_residual(x, projected, self.attn_c_proj.bias, self.masks[0], &mut kept.middle);
        laps.end(Work::Residual);
        self.norm(self.ln_2, &kept.middle, normed);
        laps.end(Work::LayerNorm);
        linear(self.c_fc, normed, &mut kept.wide);
        laps.end(Work::LinearForward);
        if let Some(out) = out {
            gelu(&kept.wide, active);
            laps.end(Work::Gelu);
            project(self.mlp_c_proj, active, projected);
            laps.end(Work::LinearForward);
            add_residual(&kept.middle, projected, self.mlp_c_proj.bias, self.masks[1], out);
            laps.end(Work::Residual);
        }
    }

    /// Output of the first layer norm (R, C) for x (R, C).
    pub fn attention_input(&self, x: &[f32], out: &mut [f32]) {
        self.norm(self.ln_1, x, out);
    }

    /// Replaces the gradient of the stream after the block, `dstream` (R, C), by that of the stream
    /// before it, given x (R, C) and the activations `kept`. Gradients of parameters are added to
    /// `sums` if `add`, else overwrite it.
    pub fn backward(
        &self,
        x: &[f32],
        kept: &Kept,
        scratch: &mut Scratch,
        dstream: &mut [f32],
        sums: &mut Sums,
        add: bool,
    ) -> Result<(), TrainError> {
        let name = |part: &str| format!("h.{}.{part}", self.layer);
        let Scratch { normed, active, projected, dnormed, dwide, norm_sums, laps } = scratch;

        // MLP
        let dy = self.dropped(dstream, 1, projected);
        ops::add_column_sums(dy, sums.get_mut_zeroed(&name("mlp.c_proj.bias"), add)?);
        laps.end(Work::Residual);
        let dwide_mlp = &mut dwide[..kept.wide.len()];
        input_gradient(self.mlp_c_proj, dy, dwide_mlp);
        laps.end(Work::LinearBackward);
        gelu_backward(&kept.wide, dwide_mlp, active, sums.get_mut_zeroed(&name("mlp.c_fc.bias"), add)?);
        laps.end(Work::Gelu);
        weight_gradient(sums, &name("mlp.c_proj"), active, dy, add)?;
        laps.end(Work::LinearBackward);
        self.norm(self.ln_2, &kept.middle, normed);
        laps.end(Work::LayerNorm);
        weight_gradient(sums, &name("mlp.c_fc"), normed, dwide_mlp, add)?;
        input_gradient(self.c_fc, dwide_mlp, dnormed);
        laps.end(Work::LinearBackward);
        self.norm_backward(self.ln_2, &kept.middle, dnormed, dstream, norm_sums);
        sums.store_norm(&name("ln_2"), norm_sums, add)?;
        laps.end(Work::LayerNorm);

        // Attention
        let dy = self.dropped(dstream, 0, projected);
        ops::add_column_sums(dy, sums.get_mut_zeroed(&name("attn.c_proj.bias"), add)?);
        laps.end(Work::Residual);
        weight_gradient(sums, &name("attn.c_proj"), &kept.attended, dy, add)?;
        let dattended = &mut *dnormed;
        input_gradient(self.attn_c_proj, dy, dattended);
        laps.end(Work::LinearBackward);
        let dqkv = &mut dwide[..kept.qkv.len()];
        self.attention.backward(&kept.qkv, &kept.attended, &kept.log_sums, dattended, dqkv);
        laps.end(Work::AttentionBackward);
        ops::add_column_sums(dqkv, sums.get_mut_zeroed(&name("attn.c_attn.bias"), add)?);
        laps.end(Work::Residual);
        self.norm(self.ln_1, x, normed);
        laps.end(Work::LayerNorm);
        weight_gradient(sums, &name("attn.c_attn"), normed, dqkv, add)?;
        input_gradient(self.c_attn, dqkv, dnormed);
        laps.end(Work::LinearBackward);
        self.norm_backward(self.ln_1, x, dnormed, dstream, norm_sums);
        let stored = sums.store_norm(&name("ln_1"), norm_sums, add);
        laps.end(Work::LayerNorm);
        stored
    }

    fn norm(&self, norm: Norm, x: &[f32], out: &mut [f32]) {
        layer_norm(x, norm.gain, norm.bias, self.epsilon, out);
    }

    fn norm_backward(&self, norm: Norm, x: &[f32], grad: &[f32], dx: &mut [f32], sums: &mut [f32]) {
        sums.fill(0.0);
        layer_norm_backward(x, norm.gain, self.epsilon, grad, dx, sums);
    }

    /// Gradient of a projection before its dropout: `dstream` (R, C) itself, or dropped in `out`
    /// (R, C).
    fn dropped<'b>(&self, dstream: &'b [f32], which: usize, out: &'b mut [f32]) -> &'b [f32] {
        match self.masks[which] {
            Some(mask) => {
                out.copy_from_slice(dstream);
                dropout(out, self.attention.channels, mask);
                out
            }
            None => dstream,
        }
    }
}

/// `out` (R, out) = x (R, in) weight + bias.
fn linear(layer: Linear, x: &[f32], out: &mut [f32]) {
    let width = layer.bias.len();
    ops::fill_rows(layer.bias, out);
    let weight = View::new(layer.weight, layer.weight.len() / width, width);
    product(View::new(x, out.len() / width, weight.rows), weight, out, width, true, Cores::All);
}

/// `out` (R, out) = x (R, in) weight, without the bias, which [`add_residual`] adds.
fn project(layer: Linear, x: &[f32], out: &mut [f32]) {
    let width = layer.bias.len();
    let weight = View::new(layer.weight, layer.weight.len() / width, width);
    product(View::new(x, out.len() / width, weight.rows), weight, out, width, false, Cores::All);
}

/// `dx` (R, in) = dy (R, out) weight^T.
fn input_gradient(layer: Linear, dy: &[f32], dx: &mut [f32]) {
    let width = layer.bias.len();
    let weight = View::new(layer.weight, layer.weight.len() / width, width);
    let dy = View::new(dy, dy.len() / width, width);
    product(dy, weight.t(), dx, weight.rows, false, Cores::All);
}

/// Adds x^T dy (in, out) to the weight's gradient if `add`, else overwrites it; x (R, in), dy (R,
/// out).
fn weight_gradient(sums: &mut Sums, name: &str, x: &[f32], dy: &[f32], add: bool) -> Result<(), TrainError> {
    let width = sums.get_mut(&format!("{name}.bias"))?.len();
    let rows = dy.len() / width;
    let (x, dy) = (View::new(x, rows, x.len() / rows), View::new(dy, rows, width));
    product(x.t(), dy, sums.get_mut(&format!("{name}.weight"))?, width, add, Cores::All);
    Ok(())
}
