//! All errors of the worker, as sentences for the visitor.

use thiserror::Error;
use wasm_bindgen::JsValue;

use crate::{
    backend::{BackendError, webgpu::OpenError},
    bundle::manifest::ManifestError,
    generate::GenerateError,
    gpt2::{AssembleError, ForwardError, LoadError},
    web::protocol::{Failure, FailureKind},
};

#[derive(Debug, Error)]
pub enum WorkerError {
    #[error("“{url}” is not an address this page can read: it must begin with https:// or http://")]
    Address { url: String },
    #[error(
        "{url} could not be fetched: check your connection, and whether that site allows other pages to read it (CORS)"
    )]
    Unreachable { url: String },
    #[error("{url} could not be fetched: the site answered {status}")]
    Status { url: String, status: u16 },
    #[error("the connection broke after {} of the download", megabytes(*.loaded))]
    Interrupted { loaded: u64 },
    #[error("{file} ends after {found} bytes, but bot.json promises {expected}")]
    Truncated { file: String, found: u64, expected: u64 },
    #[error("{file} is longer than the {expected} bytes that bot.json promises")]
    TooLong { file: String, expected: u64 },
    #[error("bot.json is longer than {} MiB, the most that a bot's description may have", .limit_bytes >> 20)]
    LongDescription { limit_bytes: u64 },
    #[error(
        "{file} was damaged on the way, or is not the file that bot.json describes (SHA-256 of piece {piece} differs)"
    )]
    Digest { file: String, piece: usize },
    #[error("{0}")]
    Manifest(#[from] ManifestError),
    #[error("this bot has no {file}; open it with {}", .available.join(" or "))]
    NoSuchPrecision { file: String, available: Vec<String> },
    #[error("this bot has no weights for browsers; make them with: huggingtweets convert")]
    NoWeights,
    #[error("{file} is not a model that can run here: {source}")]
    Model { file: String, source: Box<LoadError> },
    #[error(
        "the results computed here are not those in bot.json (off by {:.2}%); try another engine with ?backend=scalar",
        100.0 * .off
    )]
    SelfCheck { off: f64 },
    #[error("{0}")]
    Generate(#[from] GenerateError),
    #[error("{0}")]
    Memory(BackendError),
    #[error("the engine could not compute a step: {0}")]
    Forward(ForwardError),
    #[error("the GPU stopped: {0}")]
    Gpu(String),
    /// The message of the worker that computes reference logits.
    #[error("{0}")]
    OtherWorker(String),
    #[error("no bot is loaded")]
    NotReady,
    #[error("the browser refused: {0}")]
    Browser(String),
}

impl From<JsValue> for WorkerError {
    fn from(error: JsValue) -> Self {
        let message = js_sys::Reflect::get(&error, &"message".into()).ok().and_then(|m| m.as_string());
        Self::Browser(message.unwrap_or_else(|| format!("{error:?}")))
    }
}

impl From<ForwardError> for WorkerError {
    fn from(error: ForwardError) -> Self {
        match error {
            ForwardError::Backend(BackendError::Device { reason }) => Self::Gpu(reason),
            ForwardError::Backend(error @ BackendError::CacheMemory { .. }) => Self::Memory(error),
            error => Self::Forward(error),
        }
    }
}

impl From<OpenError> for WorkerError {
    fn from(error: OpenError) -> Self {
        Self::Gpu(error.to_string())
    }
}

impl WorkerError {
    /// A file that is not a model for this engine, or a GPU that failed meanwhile.
    pub fn model(file: &str, error: LoadError) -> Self {
        match error {
            LoadError::Assemble(AssembleError::Matrix {
                source: BackendError::Device { reason }, ..
            }) => Self::Gpu(reason),
            source => Self::Model { file: file.into(), source: Box::new(source) },
        }
    }

    fn kind(&self) -> FailureKind {
        match self {
            Self::Address { .. }
            | Self::Unreachable { .. }
            | Self::Status { .. }
            | Self::Interrupted { .. } => FailureKind::Network,
            Self::Truncated { .. } | Self::TooLong { .. } | Self::Digest { .. } => FailureKind::Damaged,
            Self::Manifest(_)
            | Self::LongDescription { .. }
            | Self::NoSuchPrecision { .. }
            | Self::NoWeights
            | Self::Model { .. }
            | Self::SelfCheck { .. } => FailureKind::Model,
            Self::Generate(GenerateError::NotFinite) => FailureKind::Model,
            Self::Generate(_) | Self::Memory(_) => FailureKind::Request,
            Self::Gpu(_) => FailureKind::Gpu,
            Self::Forward(_) | Self::OtherWorker(_) | Self::NotReady | Self::Browser(_) => FailureKind::Crash,
        }
    }

    /// Whether the same request may succeed shortly.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Unreachable { .. } | Self::Interrupted { .. } => true,
            Self::Status { status, .. } => matches!(status, 429 | 500..),
            _ => false,
        }
    }

    /// The error as the page gets it.
    pub fn to_failure(&self) -> Failure {
        let mut message = self.to_string();
        // Sentences begin with a capital; file names and addresses stay as they are.
        let is_word =
            message.split(' ').next().is_some_and(|w| w.bytes().all(|byte| byte.is_ascii_lowercase()));
        if is_word && let Some(first) = message.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        message.push('.');
        Failure { kind: self.kind(), message, retryable: self.kind() != FailureKind::Request }
    }
}

/// A size in the worker's sentences: `5.1 MB`.
fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_without_memory_is_refused_and_a_file_of_nan_is_no_model() {
        let memory = ForwardError::from(BackendError::CacheMemory { slots: 5120 });
        let failure = WorkerError::from(memory).to_failure();
        assert_eq!((failure.kind, failure.retryable), (FailureKind::Request, false));
        assert_eq!(
            failure.message,
            "There is not enough memory for 5120 tokens, start and drafts together; \
             ask for fewer tokens or drafts."
        );
        let nan = WorkerError::from(GenerateError::NotFinite).to_failure();
        assert_eq!(nan.kind, FailureKind::Model);
    }

    #[test]
    fn weights_that_a_bot_lacks_are_named_with_those_it_has() {
        let (file, available) = ("model-q4_0.gguf".into(), vec!["?precision=q8_0".into()]);
        let failure = WorkerError::NoSuchPrecision { file, available }.to_failure();
        assert_eq!(failure.message, "This bot has no model-q4_0.gguf; open it with ?precision=q8_0.");
    }

    #[test]
    fn a_long_description_is_refused_for_the_pages_own_limit() {
        let failure = WorkerError::LongDescription { limit_bytes: 16 << 20 }.to_failure();
        assert_eq!(failure.kind, FailureKind::Model);
        assert_eq!(
            failure.message,
            "bot.json is longer than 16 MiB, the most that a bot's description may have."
        );
    }
}
