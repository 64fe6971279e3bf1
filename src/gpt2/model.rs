//! The forward pass, written once over any [`Backend`].

use thiserror::Error;

use super::Config;
use crate::backend::{Backend, BackendError, Batch, Epilogue, Outputs, cpu::Cpu};

/// A linear layer: weight (out, in) and bias (out).
pub struct Linear<B: Backend> {
    pub weight: B::Matrix,
    pub bias: B::Vector,
}

/// A layer norm: gain and bias (C).
pub struct Norm<B: Backend> {
    pub gain: B::Vector,
    pub bias: B::Vector,
}

/// One transformer block.
pub struct Layer<B: Backend> {
    pub ln_1: Norm<B>,
    /// (3 C, C)
    pub c_attn: Linear<B>,
    /// (C, C)
    pub attn_proj: Linear<B>,
    pub ln_2: Norm<B>,
    /// (inner, C)
    pub c_fc: Linear<B>,
    /// (C, inner)
    pub mlp_proj: Linear<B>,
}

/// Every weight, in the backend's layout.
pub struct Parts<B: Backend> {
    /// (V, C)
    pub wte: B::Matrix,
    /// (positions, C)
    pub wpe: B::Matrix,
    pub layers: Vec<Layer<B>>,
    pub ln_f: Norm<B>,
    /// (V, C) where a file has a head of its own; `None`: tied to `wte`.
    pub head: Option<B::Matrix>,
}

/// GPT-2 ready to run: weights, cache and scratch.
pub struct Model<B: Backend> {
    config: Config,
    backend: B,
    parts: Parts<B>,
    cache: Option<B::Cache>,
    x: B::Rows,
    normed: B::Rows,
    wide: B::Rows,
    mixed: B::Rows,
    /// Of x and mixed, the rows whose logits are wanted.
    picked: [B::Rows; 2],
    outputs: Outputs,
}

/// A batch the network cannot run (a mistake of the caller), or an engine that
/// cannot go on.
#[derive(Debug, Error)]
pub enum ForwardError {
    #[error("token {token} is outside the vocabulary of {vocab}")]
    Token { token: u32, vocab: usize },
    #[error("position {position} is beyond the context of {positions} tokens")]
    Position { position: usize, positions: usize },
    #[error("the first batch of a request must start a cache")]
    NoCache,
    #[error("the batch has {tokens} tokens and {places} places")]
    Shape { tokens: usize, places: usize },
    #[error(transparent)]
    Backend(#[from] BackendError),
}

impl<B: Backend> Model<B> {
    pub fn new(config: Config, backend: B, parts: Parts<B>) -> Self {
        let rows = || backend.rows();
        let (x, normed, wide, mixed, picked) = (rows(), rows(), rows(), rows(), [rows(), rows()]);
        let outputs = Outputs { vocab: config.vocab_size, ..Outputs::default() };
        Self { config, backend, parts, cache: None, x, normed, wide, mixed, picked, outputs }
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    pub fn backend(&self) -> &B {
        &self.backend
    }

    pub(super) fn parts(&self) -> &Parts<B> {
        &self.parts
    }

    /// Begins a batch; [`Model::outputs`] waits for its logits.
    pub fn begin(&mut self, batch: &Batch) -> Result<(), ForwardError> {
        self.check(batch)?;
        if let Some(shape) = batch.start {
            // The old cache goes first: two at once would double the peak.
            self.cache = None;
            let Config { n_layer, n_head, n_embd, .. } = self.config;
            self.cache = Some(self.backend.cache(n_layer, n_head, n_embd, shape)?);
        }
        self.outputs.clear();
        let mut cache = self.cache.take().ok_or(ForwardError::NoCache)?;
        self.backend.begin(batch);
        // Every row, in one piece: nothing is to be picked.
        let whole = (1..=B::ROWS_AT_ONCE).contains(&batch.rows()) && batch.outputs.len() == batch.rows();
        let mut picked = 0;
        for first in (0..batch.rows()).step_by(B::ROWS_AT_ONCE) {
            let last = batch.rows().min(first + B::ROWS_AT_ONCE);
            let outputs = batch.outputs.iter().filter(|r| (first..last).contains(*r)).map(|r| r - first);
            let piece = Batch {
                tokens: batch.tokens[first..last].to_vec(),
                places: batch.places[first..last].to_vec(),
                outputs: outputs.collect(),
                wanted: batch.wanted,
                start: None,
            };
            self.run(&piece, &mut cache);
            if !whole && !piece.outputs.is_empty() {
                for (rows, all) in self.picked.iter_mut().zip([&self.x, &self.mixed]) {
                    self.backend.select(all, &piece.outputs, picked, rows);
                }
                picked += piece.outputs.len();
            }
        }
        self.cache = Some(cache);
        if whole || picked > 0 {
            let Self {
                config,
                backend,
                parts,
                x,
                normed,
                wide,
                mixed,
                picked: [x_picked, mixed_picked],
                outputs,
                ..
            } = self;
            let (x, mixed) = if whole { (x, mixed) } else { (x_picked, mixed_picked) };
            let epsilon = config.layer_norm_epsilon;
            if let Some(layer) = parts.layers.last() {
                layer.finish(backend, epsilon, x, mixed, normed, wide);
            }
            backend.layer_norm(x, &parts.ln_f.gain, &parts.ln_f.bias, epsilon, normed);
            let head = parts.head.as_ref().unwrap_or(&parts.wte);
            backend.head(head, normed, batch.wanted, outputs);
        }
        Ok(())
    }

    /// The logits of the batch that was begun last, once they are there.
    pub async fn outputs(&mut self) -> Result<&Outputs, ForwardError> {
        self.backend.collect(&mut self.outputs).await?;
        Ok(&self.outputs)
    }

    /// Takes the milliseconds that the batch begun last took, by the caller's clock:
    /// the backend may learn from them how it is quickest here.
    pub fn took(&mut self, ms: f64) {
        self.backend.took(ms);
    }

    fn check(&self, batch: &Batch) -> Result<(), ForwardError> {
        if batch.tokens.len() != batch.places.len() {
            return Err(ForwardError::Shape { tokens: batch.tokens.len(), places: batch.places.len() });
        }
        if let Some(&token) = batch.tokens.iter().find(|&&t| t as usize >= self.config.vocab_size) {
            return Err(ForwardError::Token { token, vocab: self.config.vocab_size });
        }
        match batch.places.iter().find(|p| p.position >= self.config.n_positions) {
            Some(place) => {
                Err(ForwardError::Position { position: place.position, positions: self.config.n_positions })
            }
            None => Ok(()),
        }
    }

    /// A piece up to the last layer's attention. What comes behind it only rows with
    /// outputs need; of the others that layer wants keys and values alone.
    fn run(&mut self, batch: &Batch, cache: &mut B::Cache) {
        let Self { config, backend, parts, x, normed, wide, mixed, .. } = self;
        let epsilon = config.layer_norm_epsilon;
        backend.embed(&parts.wte, &parts.wpe, batch, x);
        for (index, layer) in parts.layers.iter().enumerate() {
            let last = index + 1 == parts.layers.len();
            backend.layer_norm(x, &layer.ln_1.gain, &layer.ln_1.bias, epsilon, normed);
            backend.linear(&layer.c_attn.weight, Some(&layer.c_attn.bias), normed, Epilogue::Store, wide);
            backend.store(wide, batch, index, cache);
            if !last || !batch.outputs.is_empty() {
                backend.attention(wide, batch, index, cache, mixed);
            }
            if !last {
                layer.finish(backend, epsilon, x, mixed, normed, wide);
            }
        }
    }
}

impl<B: Backend> Layer<B> {
    /// What comes behind attention: its outputs `mixed` and the block's network, added
    /// to x.
    fn finish(
        &self,
        backend: &mut B,
        epsilon: f32,
        x: &mut B::Rows,
        mixed: &B::Rows,
        normed: &mut B::Rows,
        wide: &mut B::Rows,
    ) {
        backend.linear(&self.attn_proj.weight, Some(&self.attn_proj.bias), mixed, Epilogue::Add, x);
        backend.layer_norm(x, &self.ln_2.gain, &self.ln_2.bias, epsilon, normed);
        backend.linear(&self.c_fc.weight, Some(&self.c_fc.bias), normed, Epilogue::Gelu, wide);
        backend.linear(&self.mlp_proj.weight, Some(&self.mlp_proj.bias), wide, Epilogue::Add, x);
    }
}

impl Model<Cpu> {
    /// Runs a batch and returns the logits of the rows it lists: a processor
    /// has computed them by then.
    pub fn forward(&mut self, batch: &Batch) -> Result<&Outputs, ForwardError> {
        self.begin(batch)?;
        Ok(&self.outputs)
    }
}
