//! GGUF files of architecture `gpt2`: weights and tokenizer in one file, as written by
//! llama.cpp's converter and read by llama.cpp and its relatives.
//!
//! `walk` validates an untrusted header's structure, [`Header`] interprets the result, and
//! [`write()`] writes such a file.
//!
//! Layout: magic, version, counts, metadata (key, type, value), tensor directory (name,
//! dimensions, type, offset), padding, tensor data. Matrices are (out, in): GPT-2's Conv1D
//! weights, (in, out) in a checkpoint, are stored transposed. We write no `output.weight`:
//! the head is tied, and loaders fall back to `token_embd.weight`.

mod read;
mod value;
mod walk;
mod write;

use thiserror::Error;

use super::quantize::QuantizeError;
use crate::{dtype::Dtype, gpt2::ConfigError, tokenizer::TokenizerError};

pub use read::{Header, Parsed, TensorEntry};
pub use write::{Quantized, WriteOptions, expect_tensor, is_4bit, stored, write};

/// The first four bytes.
pub const MAGIC: &[u8; 4] = b"GGUF";

/// Alignment of the tensor data and of each tensor in it, unless the file sets another.
pub const ALIGNMENT: u64 = 32;

/// The version written. Version 2, which differs only in the number, is read too.
const VERSION: u32 = 3;

/// Maximum header size accepted. GPT-2's own, vocabulary included, is under 3 MB.
pub const MAX_HEADER_BYTES: u64 = 64 << 20;

/// Metadata keys.
mod key {
    pub const ARCHITECTURE: &str = "general.architecture";
    pub const NAME: &str = "general.name";
    pub const FILE_TYPE: &str = "general.file_type";
    pub const QUANTIZATION_VERSION: &str = "general.quantization_version";
    pub const ALIGNMENT: &str = "general.alignment";
    pub const CONTEXT_LENGTH: &str = "gpt2.context_length";
    pub const EMBEDDING_LENGTH: &str = "gpt2.embedding_length";
    pub const FEED_FORWARD_LENGTH: &str = "gpt2.feed_forward_length";
    pub const BLOCK_COUNT: &str = "gpt2.block_count";
    pub const HEAD_COUNT: &str = "gpt2.attention.head_count";
    pub const LAYER_NORM_EPSILON: &str = "gpt2.attention.layer_norm_epsilon";
    pub const TOKENIZER_MODEL: &str = "tokenizer.ggml.model";
    pub const TOKENIZER_PRE: &str = "tokenizer.ggml.pre";
    pub const TOKENS: &str = "tokenizer.ggml.tokens";
    pub const TOKEN_TYPE: &str = "tokenizer.ggml.token_type";
    pub const MERGES: &str = "tokenizer.ggml.merges";
    pub const BOS_ID: &str = "tokenizer.ggml.bos_token_id";
    pub const EOS_ID: &str = "tokenizer.ggml.eos_token_id";
    pub const UNKNOWN_ID: &str = "tokenizer.ggml.unknown_token_id";
    pub const ADD_BOS: &str = "tokenizer.ggml.add_bos_token";
}

/// Values of `tokenizer.ggml.token_type`.
mod token_type {
    pub const NORMAL: i64 = 1;
    pub const CONTROL: i64 = 3;
    /// An embedding row without a token.
    pub const UNUSED: i64 = 5;
}

/// Why a GGUF file was rejected or could not be written.
#[derive(Debug, Error)]
pub enum GgufError {
    #[error("this is not a GGUF file: it begins with {found:02x?}")]
    Magic { found: [u8; 4] },
    #[error("GGUF version {found} is not supported (only 2 and 3)")]
    Version { found: u32 },
    #[error("the file ends at {size} bytes, but its header says {what} reaches to byte {needed}")]
    Truncated { what: String, needed: u64, size: u64 },
    #[error("the header says {what} is {found}; at most {limit} is believable")]
    TooLarge { what: &'static str, found: u64, limit: u64 },
    #[error("the header's {what} has the unknown value type {found}")]
    ValueType { what: String, found: u32 },
    #[error("the header's {what} is not valid ({found})")]
    Invalid { what: String, found: String },
    #[error("the header lists {what} `{name}` twice")]
    Duplicate { what: &'static str, name: String },
    #[error("the header has no `{key}`")]
    MissingKey { key: &'static str },
    #[error("the header's `{key}` is {found}; expected {expected}")]
    Value { key: &'static str, found: String, expected: &'static str },
    #[error("tensor `{name}` is missing; expected shape {expected:?}")]
    MissingTensor { name: String, expected: Vec<usize> },
    #[error("tensor `{name}` has shape {found:?}; expected {expected:?}")]
    Shape { name: String, expected: Vec<usize>, found: Vec<u64> },
    #[error("tensor `{name}` is stored as {found}; only f32, f16, q8_0 and q4_0 are supported")]
    Dtype { name: String, found: String },
    #[error("tensor `{name}` has rows of {cols} values, which is not a whole number of {dtype} blocks")]
    Blocks { name: String, cols: usize, dtype: Dtype },
    #[error("the tokenizer has {tokens} tokens, but the model only {vocab_size}")]
    Vocabulary { tokens: usize, vocab_size: usize },
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    #[error("tensor `{name}`: {source}")]
    Quantize { name: String, source: QuantizeError },
    // Not transparent, so that the error is among the causes.
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

#[cfg(test)]
mod tests;
