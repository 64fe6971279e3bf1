//! GPT-2 in candle operations, for devices other than the CPU.
//!
//! candle differentiates. What it has to keep for that is limited in two ways: the head runs over
//! chunks of rows, so that a batch's logits are never materialised as a whole, and with `recompute`
//! a layer keeps only its input. Dropout makes the same decisions as in [`super::pass`], so both
//! learn the same.

mod block;
mod dropout;
#[cfg(feature = "cuda")]
mod dropout_cuda;
#[cfg(test)]
mod tests;

use std::{cell::OnceCell, collections::BTreeMap};

use candle_core::{D, DType, Device, Result, Tensor, Var, backprop::GradStore};

use self::block::Block;
use super::model::Mode;
use crate::gpt2::Config;

/// Rows per chunk of logits: 200 MB with GPT-2's vocabulary.
const HEAD_ROWS: usize = 1024;

/// Gradients on the device, by the variable's name.
pub(super) type DeviceSums = BTreeMap<String, Tensor>;

/// One batch and all that its passes need.
pub(super) struct Graph<'a> {
    pub config: &'a Config,
    pub vars: &'a BTreeMap<String, Var>,
    pub device: &'a Device,
    /// Type of matrix products; everything else is f32.
    pub products: DType,
    /// (B, T), row-major; every id is below V.
    pub ids: &'a [u32],
    /// T, at most the number of positions.
    pub context: usize,
    pub mode: Mode,
    /// Activation checkpointing: keep only each layer's input and recompute the rest in the
    /// backward pass.
    pub recompute: bool,
    /// The causal mask, created by the first layer and shared by the others.
    pub later: OnceCell<Tensor>,
}

impl Graph<'_> {
    /// Logits (B T, V).
    pub fn logits(&self) -> Result<Tensor> {
        let hidden = self.normed(&self.through(self.embedded()?)?)?.detach();
        self.head(&hidden, &self.var("wte.weight")?.detach())
    }

    /// The mean cross-entropy over the labelled positions, in nats.
    pub fn loss(&self, labels: &[Option<u32>]) -> Result<f64> {
        let hidden = self.normed(&self.through(self.embedded()?)?)?.detach();
        let wte = self.var("wte.weight")?.detach();
        let mut nats = Vec::new();
        for chunk in self.chunks(labels)? {
            nats.push(self.nats(&hidden.narrow(0, chunk.first, chunk.rows)?, &wte, &chunk)?.detach());
        }
        total(&nats)
    }

    /// [`Graph::loss`], also adding `weight` times its gradients to `sums`.
    pub fn accumulate(&self, labels: &[Option<u32>], weight: f32, sums: &mut DeviceSums) -> Result<f64> {
        let embedded = self.embedded()?;
        if !self.recompute {
            let hidden = self.normed(&self.through(embedded)?)?;
            let (nats, grad) = self.head_backward(&hidden.detach(), labels, weight, sums)?;
            self.add(&backward(&hidden, &grad)?, sums)?;
            return total(&nats);
        }
        let mut inputs = vec![leaf(&embedded)?];
        for layer in 0..self.config.n_layer {
            let input = inputs[layer].as_detached_tensor();
            inputs.push(leaf(&self.block(layer)?.forward(&input)?)?);
        }
        let last = &inputs[self.config.n_layer];
        let hidden = self.normed(last)?;
        let (nats, grad) = self.head_backward(&hidden.detach(), labels, weight, sums)?;
        let mut grad = self.add_and_take(backward(&hidden, &grad)?, last, sums)?;
        drop(hidden);
        for layer in (0..self.config.n_layer).rev() {
            inputs.truncate(layer + 1);
            let input = &inputs[layer];
            let output = self.block(layer)?.forward(input)?;
            grad = self.add_and_take(backward(&output, &grad)?, input, sums)?;
        }
        self.add(&backward(&embedded, &grad)?, sums)?;
        total(&nats)
    }

    /// Loss of each chunk (nats) and the gradient of the hidden rows (B T, C), with the head's
    /// gradients added to `sums`.
    fn head_backward(
        &self,
        hidden: &Tensor,
        labels: &[Option<u32>],
        weight: f32,
        sums: &mut DeviceSums,
    ) -> Result<(Vec<Tensor>, Tensor)> {
        let wte = self.var("wte.weight")?;
        let (mut nats, mut grads) = (Vec::new(), Vec::new());
        for chunk in self.chunks(labels)? {
            let rows = leaf(&hidden.narrow(0, chunk.first, chunk.rows)?)?;
            let of_chunk = self.nats(&rows, wte, &chunk)?;
            let store = (&of_chunk * f64::from(weight))?.backward()?;
            nats.push(of_chunk.detach());
            grads.push(self.add_and_take(store, &rows, sums)?);
        }
        Ok((nats, Tensor::cat(&grads, 0)?))
    }

    /// Splits the batch's labels into chunks for the head, each row with its weight in the mean: 1
    /// / number of labels, or 0 without a label.
    fn chunks(&self, labels: &[Option<u32>]) -> Result<Vec<Chunk>> {
        let share = 1.0 / labels.iter().flatten().count().max(1) as f32;
        let chunk = |(number, labels): (usize, &[Option<u32>])| {
            let rows = labels.len();
            let ids: Vec<u32> = labels.iter().map(|label| label.unwrap_or(0)).collect();
            let shares: Vec<f32> = labels.iter().map(|l| if l.is_some() { share } else { 0.0 }).collect();
            Ok(Chunk {
                first: number * HEAD_ROWS,
                rows,
                labels: Tensor::from_vec(ids, (rows, 1), self.device)?,
                shares: Tensor::from_vec(shares, (rows, 1), self.device)?,
            })
        };
        labels.chunks(HEAD_ROWS).enumerate().map(chunk).collect()
    }

    /// The chunk's contribution to the mean cross-entropy: a scalar.
    fn nats(&self, hidden: &Tensor, wte: &Tensor, chunk: &Chunk) -> Result<Tensor> {
        let logits = self.head(hidden, wte)?;
        let shifted = logits.broadcast_sub(&logits.detach().max_keepdim(D::Minus1)?)?;
        let log_sums = shifted.exp()?.sum_keepdim(D::Minus1)?.log()?;
        let nats = (log_sums - shifted.gather(&chunk.labels, D::Minus1)?)?;
        (nats * &chunk.shares)?.sum_all()
    }

    fn head(&self, hidden: &Tensor, wte: &Tensor) -> Result<Tensor> {
        product(hidden, &wte.to_dtype(self.products)?.t()?)
    }

    /// The residual stream before the first layer (B T, C).
    fn embedded(&self) -> Result<Tensor> {
        let rows = self.ids.len();
        let ids = Tensor::new(self.ids, self.device)?;
        let tokens = self.var("wte.weight")?.index_select(&ids, 0)?;
        let positions = self.var("wpe.weight")?.narrow(0, 0, self.context)?;
        let tokens = tokens.reshape((rows / self.context, self.context, self.config.n_embd))?;
        let sum = tokens.broadcast_add(&positions)?.reshape((rows, self.config.n_embd))?;
        dropout::dropout(&sum, self.mode.mask(self.config.embd_pdrop, 0))
    }

    fn through(&self, mut stream: Tensor) -> Result<Tensor> {
        for layer in 0..self.config.n_layer {
            stream = self.block(layer)?.forward(&stream)?;
        }
        Ok(stream)
    }

    fn normed(&self, stream: &Tensor) -> Result<Tensor> {
        let [gain, bias] = [self.var("ln_f.weight")?, self.var("ln_f.bias")?];
        layer_norm(stream, gain, bias, self.config.layer_norm_epsilon)
    }

    /// The causal mask added to scores (T, T): minus infinity where the key comes after its query.
    fn later(&self) -> Result<&Tensor> {
        if let Some(later) = self.later.get() {
            return Ok(later);
        }
        let length = self.context;
        let of_query =
            |query: usize| (0..length).map(move |key| if key > query { f32::NEG_INFINITY } else { 0.0 });
        let values = (0..length).flat_map(of_query).collect();
        let later = Tensor::from_vec(values, (length, length), self.device)?;
        Ok(self.later.get_or_init(|| later))
    }

    fn block(&self, layer: usize) -> Result<Block<'_>> {
        Block::new(self, layer)
    }

    fn var(&self, name: &str) -> Result<&Tensor> {
        let missing = || candle_core::Error::Msg(format!("the base has no tensor `{name}`"));
        self.vars.get(name).map(Var::as_tensor).ok_or_else(missing)
    }

    /// Adds the variables' gradients of one backward pass to `sums`.
    fn add(&self, store: &GradStore, sums: &mut DeviceSums) -> Result<()> {
        for (name, var) in self.vars {
            let Some(grad) = store.get(var) else { continue };
            let sum = match sums.get(name) {
                Some(sum) => (sum + grad)?,
                None => grad.clone(),
            };
            // Detached, so that the graph of the backward pass is freed.
            sums.insert(name.clone(), sum.detach());
        }
        Ok(())
    }

    /// [`Graph::add`]; returns the gradient of the pass's input.
    fn add_and_take(&self, mut store: GradStore, input: &Tensor, sums: &mut DeviceSums) -> Result<Tensor> {
        self.add(&store, sums)?;
        let missing = || candle_core::Error::Msg("a layer's input has no gradient".into());
        Ok(store.remove(input).ok_or_else(missing)?.detach())
    }
}

/// A chunk of rows for the head.
struct Chunk {
    first: usize,
    rows: usize,
    /// (rows, 1); 0 for a row without a label, whose share is 0.
    labels: Tensor,
    /// Weights in the mean loss (rows, 1).
    shares: Tensor,
}

/// A variable with x's value, without its history: gradients stop here.
fn leaf(x: &Tensor) -> Result<Var> {
    Var::from_tensor(&x.detach())
}

/// Gradients of all inputs of y, given the gradient of y.
fn backward(y: &Tensor, grad: &Tensor) -> Result<GradStore> {
    (y * grad)?.sum_all()?.backward()
}

fn total(nats: &[Tensor]) -> Result<f64> {
    let all = Tensor::stack(nats, 0)?.to_vec1::<f32>()?;
    Ok(all.iter().map(|&nats| f64::from(nats)).sum())
}

/// x w in f32, multiplied in w's type, for x (R, in) and w (in, out).
fn product(x: &Tensor, w: &Tensor) -> Result<Tensor> {
    x.to_dtype(w.dtype())?.matmul(w)?.to_dtype(DType::F32)
}

/// Layer norm over the last dimension; candle-nn's fused one has no gradient.
fn layer_norm(x: &Tensor, gain: &Tensor, bias: &Tensor, epsilon: f32) -> Result<Tensor> {
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
    let deviation = (variance + f64::from(epsilon))?.sqrt()?;
    centred.broadcast_div(&deviation)?.broadcast_mul(gain)?.broadcast_add(bias)
}
