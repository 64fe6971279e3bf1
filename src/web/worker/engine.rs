//! The engine as the worker drives it: the one place of the browser's half
//! that names the network.

use super::failure::WorkerError;
use crate::{
    backend::{
        Batch, CacheShape,
        cpu::{Level, Pool},
    },
    bundle::manifest::LogitsCheck,
    generate::{Drafts, Event, GenerateError, Request},
    gpt2::{LoadError, Loaded, Loader},
    web::protocol::BackendChoice,
};

/// A logit may differ from the author's by this share of the largest one:
/// far above rounding, far below a wrong kernel.
const CHECK_TOLERANCE: f32 = 0.02;

/// A model on its way in.
pub struct EngineLoader {
    loader: Loader,
    level: Level,
}

impl EngineLoader {
    pub fn new(backend: BackendChoice, pool: Pool, file_bytes: Option<u64>) -> Self {
        let level = match backend {
            BackendChoice::Auto | BackendChoice::Simd => Level::Simd,
            BackendChoice::Scalar => Level::Scalar,
        };
        Self { loader: Loader::new(level, pool, file_bytes), level }
    }

    /// Takes the file's next bytes.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), LoadError> {
        self.loader.push(bytes)
    }

    pub fn finish(self) -> Result<Engine, LoadError> {
        Ok(Engine { loaded: self.loader.finish()?, level: self.level })
    }
}

/// A bot ready to write.
pub struct Engine {
    loaded: Loaded,
    level: Level,
}

impl Engine {
    /// `simd` or `scalar`.
    pub fn backend(&self) -> &'static str {
        self.level.name()
    }

    /// The longest text in tokens.
    pub fn positions(&self) -> usize {
        self.loaded.config.n_positions
    }

    /// The name inside the file.
    pub fn name(&self) -> Option<&str> {
        self.loaded.name.as_deref()
    }

    /// Computes the known prompt and compares its logits.
    pub fn check(&mut self, known: &LogitsCheck) -> Result<(), WorkerError> {
        let last = known.prompt_ids.len().saturating_sub(1);
        let shape = CacheShape { prompt: known.prompt_ids.len(), drafts: 1, tail: 1 };
        let logits = &self.loaded.model.forward(&Batch::prompt(&known.prompt_ids, vec![last], shape))?.logits;
        let largest = known.logits.iter().fold(1.0f32, |m, x| m.max(x.abs()));
        let off = known.token_ids.iter().zip(&known.logits).map(|(&id, expected)| {
            logits.get(id as usize).map_or(f32::INFINITY, |found| (found - expected).abs())
        });
        // A NaN must not pass for a small difference.
        let off = off.fold(0.0f32, |m, d| if d.is_nan() { f32::INFINITY } else { m.max(d) });
        if off > CHECK_TOLERANCE * largest { Err(WorkerError::SelfCheck { off }) } else { Ok(()) }
    }

    /// Tokens of a start, the one that begins every post included.
    pub fn count(&self, start: &str) -> Result<usize, WorkerError> {
        let tokens = self.loaded.tokenizer.encode_plain(start.trim()).map_err(GenerateError::from)?;
        Ok(tokens.len() + 1)
    }

    /// Bytes of weights that a decode step reads.
    pub fn weight_bytes(&self) -> usize {
        self.loaded.model.weight_bytes()
    }

    /// Bytes of keys and values that a decode step reads for each position.
    pub fn position_bytes(&self) -> usize {
        self.loaded.model.position_bytes()
    }

    /// Reads what [`Engine::weight_bytes`] counts.
    pub fn read_weights(&self) -> u64 {
        self.loaded.model.read_weights()
    }

    pub fn begin(&self, request: Request) -> Result<Generation, WorkerError> {
        Ok(Generation { drafts: Drafts::new(&self.loaded.tokenizer, &self.loaded.config, request)? })
    }

    /// One step of a generation: the prompt, or one token of every live draft.
    /// `None` when all have ended.
    pub fn step(&mut self, generation: &mut Generation) -> Result<Option<Vec<Event>>, WorkerError> {
        let Some(batch) = generation.drafts.next_batch() else { return Ok(None) };
        let outputs = self.loaded.model.forward(batch)?;
        Ok(Some(generation.drafts.accept(outputs, &self.loaded.tokenizer)?))
    }
}

/// Drafts on their way.
pub struct Generation {
    drafts: Drafts,
}

impl Generation {
    pub fn stop(&mut self, draft: Option<usize>) -> Vec<Event> {
        self.drafts.stop(draft)
    }

    pub fn prompt_tokens(&self) -> usize {
        self.drafts.prompt_tokens()
    }

    pub fn drawn_tokens(&self) -> usize {
        self.drafts.drawn_tokens()
    }
}
