//! The forward pass one layer at a time, showing the inputs of linear layers: a quantiser looks at
//! them, changes the layer's weights and goes on with those.

use super::{
    Parameters,
    block::Block,
    workspace::{Kept, Scratch},
};
use crate::{
    bundle::Weights,
    gpt2::Config,
    train::{
        TrainError,
        model::{Mode, check_batch},
        ops::embedding,
    },
};

/// Rows per batch, about: limits memory to 100 MB with GPT-2's shape.
const BATCH_ROWS: usize = 2048;

/// Text on its way through the network.
pub(crate) struct ByLayer<'a> {
    config: &'a Config,
    /// T
    context: usize,
    /// The residual stream before the next layer, (B T, C).
    stream: Vec<f32>,
    /// Number of the next layer.
    layer: usize,
}

/// A layer's four linear layers in the network's order: the weight's name in the layer, and the
/// input (R, in).
pub(crate) type LinearInputs<'a> = [(&'static str, &'a [f32]); 4];

impl<'a> ByLayer<'a> {
    /// Text of B sequences of T tokens, before the first layer.
    ///
    /// # Errors
    /// [`TrainError::Context`], [`TrainError::Batch`] and [`TrainError::Token`] for ids (B, T) that
    /// are not a batch of this network.
    pub fn new(
        config: &'a Config,
        weights: &Weights,
        ids: &[u32],
        context: usize,
    ) -> Result<Self, TrainError> {
        check_batch(config, ids, context)?;
        let parameters = Parameters::of(weights);
        let mut stream = vec![0.0; ids.len() * config.n_embd];
        let (wte, wpe) = (parameters.get("wte.weight")?, parameters.get("wpe.weight")?);
        embedding::embed(wte, wpe, config.n_embd, ids, context, &mut stream);
        Ok(Self { config, context, stream, layer: 0 })
    }

    /// Calls `each` with the inputs of the next layer's linear layers, batch by batch.
    ///
    /// # Errors
    /// [`TrainError::MissingTensor`].
    pub fn inputs(
        &mut self,
        weights: &Weights,
        mut each: impl FnMut(LinearInputs),
    ) -> Result<(), TrainError> {
        self.for_each_batch(weights, |block, x, kept, scratch, out| {
            block.forward(x, kept, scratch, Some(out));
            // `forward` leaves the second norm's output here, and needs nothing of `out` again.
            block.attention_input(x, out);
            each([
                ("attn.c_attn.weight", out),
                ("attn.c_proj.weight", &kept.attended),
                ("mlp.c_fc.weight", &scratch.normed),
                ("mlp.c_proj.weight", &scratch.active),
            ]);
        })
    }

    /// Computes the next layer.
    ///
    /// # Errors
    /// [`TrainError::MissingTensor`].
    pub fn advance(&mut self, weights: &Weights) -> Result<(), TrainError> {
        self.for_each_batch(weights, |block, x, kept, scratch, out| {
            block.forward(x, kept, scratch, Some(out));
            x.copy_from_slice(out);
        })?;
        self.layer += 1;
        Ok(())
    }

    /// Calls `each` with the next layer, a batch of the stream, buffers, and room for as many rows.
    fn for_each_batch(
        &mut self,
        weights: &Weights,
        mut each: impl FnMut(&Block, &mut [f32], &mut Kept, &mut Scratch, &mut [f32]),
    ) -> Result<(), TrainError> {
        let parameters = Parameters::of(weights);
        let block = Block::new(self.config, &parameters, self.layer, self.context, Mode::Evaluate)?;
        let rows = BATCH_ROWS.next_multiple_of(self.context);
        let width = self.config.n_embd;
        let buffers = |rows| (Kept::new(self.config, rows), Scratch::forward_only(self.config, rows));
        let mut out = vec![0.0; self.stream.len().min(rows * width)];
        let (mut kept, mut scratch) = buffers(out.len() / width);
        for x in self.stream.chunks_mut(rows * width) {
            // The last one may be smaller.
            if x.len() < out.len() {
                out.truncate(x.len());
                (kept, scratch) = buffers(x.len() / width);
            }
            each(&block, x, &mut kept, &mut scratch, &mut out);
        }
        Ok(())
    }
}
