//! Native fine-tuning: model, optimiser and training loop.
//!
//! candle holds the variables. On the CPU, forward and backward pass are hand-written
//! ([`model::Model::accumulate`]) from the fused operations in [`ops`]; on a GPU, candle's
//! operations compute and differentiate the same network (`graph`).

pub mod chance;
pub mod checkpoint;
pub mod data;
pub mod device;
pub mod evaluate;
pub mod gptq;
pub mod gradients;
mod graph;
mod huge_pages;
pub mod laps;
pub mod model;
pub mod ops;
pub mod optimizer;
mod pass;
pub mod progress;
pub mod recipe;
pub mod run;
pub mod scratch;
mod values;

use thiserror::Error;

/// An error of a run's observer (progress bar, record), not of the run itself.
pub type WatchError = Box<dyn std::error::Error + Send + Sync>;

/// Why training cannot start or continue.
#[derive(Debug, Error)]
pub enum TrainError {
    #[error("the posts make {tokens} tokens, fewer than one block of {context}: choose a smaller --context")]
    TooFewTokens { tokens: usize, context: usize },
    #[error("the loss became {loss} at step {step}: start over with a lower --lr")]
    NotFinite { step: usize, loss: f32 },
    #[error("the gradient's norm became {norm} at step {step}: start over with a lower --lr")]
    GradientNotFinite { step: u64, norm: f32 },
    #[error("stopped after step {step} of {steps}")]
    Interrupted { step: usize, steps: usize },
    #[error(transparent)]
    Store(Box<checkpoint::StoreError>),
    /// The observer failed.
    #[error(transparent)]
    Watch(WatchError),
    #[error("--context {context} is beyond the base's {positions} positions")]
    Context { context: usize, positions: usize },
    #[error("token {id} is outside the vocabulary of {vocab_size}")]
    Token { id: u32, vocab_size: usize },
    #[error("the base has no tensor `{name}`")]
    MissingTensor { name: String },
    #[error("{labels} labels for {tokens} tokens: one a token is needed")]
    Labels { labels: usize, tokens: usize },
    #[error("{tokens} tokens are no blocks of {context}")]
    Batch { tokens: usize, context: usize },
    #[error("the variable `{name}` is not plain f32 in main memory")]
    NotPlain { name: String },
    #[error("gradients on one device cannot be those of variables on another")]
    OtherDevice,
    #[error("the optimiser's moments of `{name}` have {found} numbers, its variable {expected}")]
    Moments { name: String, found: usize, expected: usize },
    #[error("no GPU to train on ({reason}); --device cpu trains on the processor")]
    NoCuda { reason: String },
    #[error(
        "the GPU's memory does not hold this: choose a smaller --batch or --context, or --checkpoint-activations"
    )]
    DeviceMemory,
    #[error("no vocabulary of {wanted} tokens can be made: at least 257 are needed")]
    Vocabulary { wanted: usize },
    #[error(
        "a new network of this size would have {parameters} parameters, at most {most} are supported: choose fewer --layers or --channels"
    )]
    Parameters { parameters: u64, most: u64 },
    #[error("the tokenizer could not be trained: {0}")]
    Tokenizer(String),
    #[error("`{name}` is {found}; it must be {expected}")]
    Setting { name: &'static str, found: String, expected: &'static str },
    #[error(transparent)]
    Candle(candle_core::Error),
    #[error(transparent)]
    Config(#[from] crate::gpt2::ConfigError),
}

impl TrainError {
    /// Whether training diverged: resuming would only repeat it.
    pub fn is_divergence(&self) -> bool {
        match self {
            Self::NotFinite { .. } | Self::GradientNotFinite { .. } => true,
            Self::Store(error) => matches!(**error, checkpoint::StoreError::NotFinite { .. }),
            _ => false,
        }
    }
}

impl From<candle_core::Error> for TrainError {
    fn from(error: candle_core::Error) -> Self {
        // The CUDA driver's message; candle has no variant of its own for it.
        if error.to_string().to_lowercase().contains("out of memory") {
            Self::DeviceMemory
        } else {
            Self::Candle(error)
        }
    }
}

impl From<checkpoint::StoreError> for TrainError {
    fn from(error: checkpoint::StoreError) -> Self {
        Self::Store(Box::new(error))
    }
}
