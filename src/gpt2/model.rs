//! The forward pass, written once over any [`Backend`].

use thiserror::Error;

use super::Config;
use crate::backend::{Backend, BackendError, Batch, CacheShape, Epilogue, Outputs, Place, cpu::Cpu};

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
    /// (V, C); also the head, which is tied to it.
    pub wte: B::Matrix,
    /// (positions, C)
    pub wpe: B::Matrix,
    pub layers: Vec<Layer<B>>,
    pub ln_f: Norm<B>,
}

/// GPT-2 ready to run: weights, cache and scratch.
pub struct Model<B: Backend> {
    config: Config,
    backend: B,
    parts: Parts<B>,
    /// The KV cache, with its shape; `None` also while a [`Pass`] owns it.
    cache: Option<(CacheShape, B::Cache)>,
    /// The residual stream: (R, C)
    x: B::Rows,
    /// Layer norm's output: (R, C)
    normed: B::Rows,
    /// Queries, keys and values: (R, 3 C); then the hidden activations of the MLP: (R, inner)
    wide: B::Rows,
    /// Attention's output: (R, C)
    mixed: B::Rows,
    /// The rows of x and mixed whose logits are wanted: (outputs, C)
    picked: [B::Rows; 2],
    outputs: Outputs,
}

/// A batch on its way through the network. It owns the KV cache: if it is dropped before
/// [`Model::leave`], so is the cache, which by then contains a part of the batch.
pub struct Pass<'a, B: Backend> {
    batch: &'a Batch,
    shape: CacheShape,
    cache: B::Cache,
    /// The rows from `first` on that pass through the layers together; empty before the next are
    /// taken.
    piece: Batch,
    first: usize,
    /// The next layer to run.
    layer: usize,
    /// Outputs of the finished pieces.
    picked: usize,
    /// One piece, all of whose rows are outputs: no rows need to be selected.
    whole: bool,
}

/// A batch that the network cannot run (the caller's mistake), or a failure of the backend.
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
    #[error("{place:?} is not in a cache of {shape:?}")]
    Place { place: Place, shape: CacheShape },
    #[error("the outputs {outputs:?} are not rows of {rows} in ascending order")]
    Outputs { outputs: Vec<usize>, rows: usize },
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

    /// Runs a batch without waiting for its logits, which [`Model::outputs`] does.
    ///
    /// # Errors
    /// The batch does not fit the network or its cache, or there is not enough memory for the cache
    /// that it starts.
    pub fn begin(&mut self, batch: &Batch) -> Result<(), ForwardError> {
        let mut pass = self.enter(batch)?;
        while self.advance(&mut pass) {}
        self.leave(pass);
        Ok(())
    }

    /// Begins a batch that is computed layer by layer, so that the caller can do other things
    /// between layers: call [`Model::advance`] until it returns false, then [`Model::leave`].
    ///
    /// # Errors
    /// As for [`Model::begin`].
    #[inline(never)]
    pub fn enter<'a>(&mut self, batch: &'a Batch) -> Result<Pass<'a, B>, ForwardError> {
        let kept = self.cache.as_ref().map(|(shape, _)| *shape);
        let shape = batch.start.or(kept).ok_or(ForwardError::NoCache)?;
        self.check(batch, shape)?;
        if batch.start.is_some() {
            // The old cache is dropped first: two at the same time would double the peak.
            self.cache = None;
            let Config { n_layer, n_head, n_embd, .. } = self.config;
            self.cache = Some((shape, self.backend.cache(n_layer, n_head, n_embd, shape)?));
        }
        self.outputs.clear();
        let (_, cache) = self.cache.take().ok_or(ForwardError::NoCache)?;
        self.backend.begin(batch);
        let rows = batch.rows();
        let whole = (1..=B::ROWS_AT_ONCE).contains(&rows) && batch.outputs.len() == rows;
        Ok(Pass { batch, shape, cache, piece: Batch::default(), first: 0, layer: 0, picked: 0, whole })
    }

    /// Runs the next layer of a piece; returns whether any are left.
    // Not inlined, so that the program has one copy: when a browser runs a bot's check, it
    // optimises the same code that drafts use. The same holds for `enter` and `leave`.
    #[inline(never)]
    pub fn advance(&mut self, pass: &mut Pass<B>) -> bool {
        let rows = pass.batch.rows();
        if pass.piece.rows() == 0 {
            if pass.first == rows {
                return false;
            }
            pass.piece = pass.batch.piece(pass.first..rows.min(pass.first + B::ROWS_AT_ONCE));
            self.backend.embed(&self.parts.wte, &self.parts.wpe, &pass.piece, &mut self.x);
        }
        self.layer(pass.layer, &pass.piece, &mut pass.cache);
        pass.layer += 1;
        if pass.layer < self.parts.layers.len() {
            return true;
        }
        if !pass.whole && !pass.piece.outputs.is_empty() {
            for (rows, all) in self.picked.iter_mut().zip([&self.x, &self.mixed]) {
                self.backend.select(all, &pass.piece.outputs, pass.picked, rows);
            }
            pass.picked += pass.piece.outputs.len();
        }
        pass.first += pass.piece.rows();
        pass.piece = Batch::default();
        pass.layer = 0;
        pass.first < rows
    }

    /// Ends a batch that has passed through the layers: computes what follows the last attention,
    /// and the head.
    #[inline(never)]
    pub fn leave(&mut self, pass: Pass<B>) {
        self.cache = Some((pass.shape, pass.cache));
        if !pass.whole && pass.picked == 0 {
            return;
        }
        let Self { config, backend, parts, x, normed, wide, mixed, picked, outputs, .. } = self;
        let [x_picked, mixed_picked] = picked;
        let (x, mixed) = if pass.whole { (x, mixed) } else { (x_picked, mixed_picked) };
        let epsilon = config.layer_norm_epsilon;
        if let Some(layer) = parts.layers.last() {
            layer.finish(backend, epsilon, x, mixed, normed, wide);
        }
        backend.layer_norm(x, &parts.ln_f.gain, &parts.ln_f.bias, epsilon, normed);
        backend.head(&parts.wte, normed, pass.batch.wanted, outputs);
    }

    /// Waits for the logits of the last batch.
    ///
    /// # Errors
    /// The device has failed.
    pub async fn outputs(&mut self) -> Result<&Outputs, ForwardError> {
        self.backend.collect(&mut self.outputs).await?;
        Ok(&self.outputs)
    }

    /// Reports the milliseconds that the last batch took, by the caller's clock: see
    /// [`Backend::took`].
    pub fn took(&mut self, ms: f64) {
        self.backend.took(ms);
    }

    fn check(&self, batch: &Batch, shape: CacheShape) -> Result<(), ForwardError> {
        let Config { vocab_size: vocab, n_positions: positions, .. } = self.config;
        let rows = batch.rows();
        if rows != batch.places.len() {
            return Err(ForwardError::Shape { tokens: rows, places: batch.places.len() });
        }
        if let Some(&token) = batch.tokens.iter().find(|&&token| token as usize >= vocab) {
            return Err(ForwardError::Token { token, vocab });
        }
        if let Some(&place) = batch.places.iter().find(|place| place.position >= positions) {
            return Err(ForwardError::Position { position: place.position, positions });
        }
        if let Some(&place) = batch.places.iter().find(|place| !shape.has(**place)) {
            return Err(ForwardError::Place { place, shape });
        }
        let outputs = &batch.outputs;
        if !outputs.is_sorted_by(|a, b| a < b) || outputs.last().is_some_and(|&last| last >= rows) {
            return Err(ForwardError::Outputs { outputs: outputs.clone(), rows });
        }
        Ok(())
    }

    /// Runs one layer of a piece; the last layer only up to its attention. What follows is needed
    /// only for rows with outputs; of other rows, the last layer needs only keys and values.
    fn layer(&mut self, index: usize, batch: &Batch, cache: &mut B::Cache) {
        let Self { config, backend, parts, x, normed, wide, mixed, .. } = self;
        let epsilon = config.layer_norm_epsilon;
        let Some(layer) = parts.layers.get(index) else { return };
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

impl<B: Backend> Layer<B> {
    /// What follows attention: adds its projected output `mixed` (R, C) and then the MLP's output
    /// to the residual stream x (R, C). Scratch: `normed` (R, C) and `wide` (R, inner).
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
    /// Runs a batch and returns the logits of its outputs, which the CPU has computed by then.
    ///
    /// # Errors
    /// As for [`Model::begin`].
    pub fn forward(&mut self, batch: &Batch) -> Result<&Outputs, ForwardError> {
        self.begin(batch)?;
        Ok(&self.outputs)
    }
}
