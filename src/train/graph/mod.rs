//! GPT-2 as candle's tensors, for devices other than the processor.
//!
//! Here candle differentiates. What it would keep for that is cut in two
//! places: the head runs over a chunk of rows at a time, so that the logits of
//! a batch never exist whole, and with `recompute` a layer keeps its input alone.
//! The same decisions of dropout as in [`super::pass`] make both learn the same.

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

/// Rows of logits that exist at a time: 200 MB of them for GPT-2's vocabulary.
const HEAD_ROWS: usize = 1024;

/// Every variable's gradient on the device, by the variable's name.
pub(super) type DeviceSums = BTreeMap<String, Tensor>;

/// One batch through the network.
pub(super) struct Graph<'a> {
    pub config: &'a Config,
    pub vars: &'a BTreeMap<String, Var>,
    pub device: &'a Device,
    /// What matrices are multiplied in; all else is f32.
    pub products: DType,
    /// (B, T), row-major; every id is below V.
    pub ids: &'a [u32],
    /// T, at most the positions.
    pub context: usize,
    pub mode: Mode,
    /// Keep each layer's input alone, and compute the rest again as its gradient is needed.
    pub recompute: bool,
    /// Made for the first layer, kept for the others.
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

    /// [`Graph::loss`], with `weight` times its gradients added to `sums`.
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

    /// What the head has of each chunk of rows: its nats, its gradients in
    /// `sums`, and that of the hidden rows (B T, C), which is returned.
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

    /// Rows of the batch for the head, with what each should be followed by and
    /// how much it counts: one of all labels, or nothing.
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

    /// The chunk's part of the mean cross-entropy: one number.
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

    /// The stream before the first layer (B T, C).
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

    /// What is added to scores (T, T): minus infinity where a key is after its query.
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

    /// Adds the variables' gradients of one backward pass to the sums.
    fn add(&self, store: &GradStore, sums: &mut DeviceSums) -> Result<()> {
        for (name, var) in self.vars {
            let Some(grad) = store.get(var) else { continue };
            let sum = match sums.get(name) {
                Some(sum) => (sum + grad)?,
                None => grad.clone(),
            };
            // The backward pass' graph must not outlive it.
            sums.insert(name.clone(), sum.detach());
        }
        Ok(())
    }

    /// [`Graph::add`], and the gradient of what the pass began from.
    fn add_and_take(&self, mut store: GradStore, input: &Tensor, sums: &mut DeviceSums) -> Result<Tensor> {
        self.add(&store, sums)?;
        let missing = || candle_core::Error::Msg("a layer's input has no gradient".into());
        Ok(store.remove(input).ok_or_else(missing)?.detach())
    }
}

/// Rows for the head.
struct Chunk {
    first: usize,
    rows: usize,
    /// (rows, 1); 0 where there is none, which counts for nothing.
    labels: Tensor,
    /// (rows, 1).
    shares: Tensor,
}

/// Something that gradients are wanted of and whose own history is forgotten.
fn leaf(x: &Tensor) -> Result<Var> {
    Var::from_tensor(&x.detach())
}

/// Gradients of everything that y was made of, from y's own.
fn backward(y: &Tensor, grad: &Tensor) -> Result<GradStore> {
    (y * grad)?.sum_all()?.backward()
}

fn total(nats: &[Tensor]) -> Result<f64> {
    let all = Tensor::stack(nats, 0)?.to_vec1::<f32>()?;
    Ok(all.iter().map(|&nats| f64::from(nats)).sum())
}

/// x w in f32, multiplied in w's type: x (R, in), w (in, out).
fn product(x: &Tensor, w: &Tensor) -> Result<Tensor> {
    x.to_dtype(w.dtype())?.matmul(w)?.to_dtype(DType::F32)
}

/// Over the last dimension; candle-nn's fused one has no gradient.
fn layer_norm(x: &Tensor, gain: &Tensor, bias: &Tensor, epsilon: f32) -> Result<Tensor> {
    let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
    let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
    let deviation = (variance + f64::from(epsilon))?.sqrt()?;
    centred.broadcast_div(&deviation)?.broadcast_mul(gain)?.broadcast_add(bias)
}
