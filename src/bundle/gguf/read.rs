//! Interprets a GGUF header as GPT-2: configuration, tokenizer and tensor locations.

use std::collections::HashMap;

use super::{Dtype, GgufError, key, token_type, value::Value, walk};
use crate::{
    gpt2::{Config, names},
    tokenizer::{Parts, Texts, Tokenizer, TokenizerError},
};

/// The result of [`Header::parse`].
#[derive(Debug)]
pub enum Parsed {
    Header(Box<Header>),
    /// The header is incomplete: call again with at least this many bytes from the start of
    /// the file. At least twice the number given (up to the whole file), to keep the number
    /// of calls small.
    NeedMore {
        at_least: u64,
    },
}

/// A validated header. Every tensor of the network is present, has the expected shape and a
/// supported type, and lies inside the file (if its size was given).
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// The dropout fields have `config.json`'s defaults, since GGUF stores none.
    pub config: Config,
    /// `general.name`.
    pub name: Option<String>,
    pub tokenizer: Parts,
    /// Offset of the tensor data from the start of the file.
    pub data_offset: u64,
    /// In [`names::tensors`] order.
    pub tensors: Vec<TensorEntry>,
    /// The file's `output.weight`, if it can be compared with `wte.weight`, to which GPT-2's
    /// head is tied. One with a different type or shape is ignored: quantisers store the head
    /// that way even when it is tied.
    pub head: Option<TensorEntry>,
}

/// A tensor's location in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorEntry {
    /// Checkpoint name, for example `h.0.attn.c_attn.weight`.
    pub name: String,
    /// GGUF name, for example `blk.0.attn_qkv.weight`.
    pub gguf_name: String,
    /// Outputs of a matrix (out, in), entries of an embedding, or 1 for a vector.
    pub rows: usize,
    /// Inputs, contiguous in the file, or the length of a vector.
    pub cols: usize,
    pub dtype: Dtype,
    /// Bytes from the start of the file.
    pub offset: u64,
    pub size_bytes: u64,
}

impl Header {
    /// Parses a header from the first bytes of a file. If `file_size` is given, tensors that
    /// extend beyond the file are an error.
    pub fn parse(bytes: &[u8], file_size: Option<u64>) -> Result<Parsed, GgufError> {
        let walked = match walk::walk(bytes, file_size)? {
            Ok(walked) => walked,
            Err(walk::Short { needed }) => {
                let twice = (2 * bytes.len() as u64).min(file_size.unwrap_or(u64::MAX));
                return Ok(Parsed::NeedMore { at_least: needed.max(twice) });
            }
        };
        let lines: HashMap<&str, &walk::TensorLine> =
            walked.tensors.iter().map(|t| (t.name.as_str(), t)).collect();
        for line in &walked.tensors {
            // Also for tensors that GPT-2 does not use: their extent in the file is unknown.
            if walk::dtype_of(line.ggml_type).is_none() && line.name != "output.weight" {
                return Err(GgufError::Dtype {
                    name: line.name.clone(),
                    found: walk::ggml_type_name(line.ggml_type),
                });
            }
        }
        let metadata = Metadata(walked.metadata);
        let config =
            metadata.config(lines.get("token_embd.weight").and_then(|t| t.dimensions.get(1).copied()))?;
        let tokenizer = metadata.tokenizer(&config)?;
        let config = Config { eos_token_id: tokenizer.eos_id, ..config };
        let tensors = names::tensors(&config)
            .into_iter()
            .map(|tensor| {
                let line = lines.get(tensor.gguf_name.as_str()).copied();
                entry(tensor, line, walked.data_offset)
            })
            .collect::<Result<Vec<_>, GgufError>>()?;
        let alike = |a: &walk::TensorLine, b: &walk::TensorLine| {
            a.ggml_type == b.ggml_type && a.dimensions == b.dimensions
        };
        let head = lines.get("output.weight").zip(lines.get("token_embd.weight"));
        let head = head.filter(|(head, wte)| alike(head, wte)).zip(tensors.first());
        let head = head.map(|((line, _), wte): (_, &TensorEntry)| TensorEntry {
            name: names::HEAD.into(),
            gguf_name: line.name.clone(),
            offset: walked.data_offset.saturating_add(line.offset),
            ..wte.clone()
        });
        Ok(Parsed::Header(Box::new(Self {
            config,
            name: metadata.0.get(key::NAME).and_then(|v| v.string()),
            tokenizer,
            data_offset: walked.data_offset,
            tensors,
            head,
        })))
    }

    /// Builds the tokenizer, moving its strings out of the header.
    pub fn take_tokenizer(&mut self) -> Result<Tokenizer, TokenizerError> {
        Tokenizer::from_parts(std::mem::take(&mut self.tokenizer))
    }

    /// Returns the end of the last tensor: the minimum size of a complete file.
    pub fn file_bytes(&self) -> u64 {
        self.tensors
            .iter()
            .chain(&self.head)
            .map(|t| t.offset + t.size_bytes)
            .max()
            .unwrap_or(self.data_offset)
    }
}

fn entry(
    tensor: names::Tensor,
    line: Option<&walk::TensorLine>,
    data_offset: u64,
) -> Result<TensorEntry, GgufError> {
    let (rows, cols) = tensor.gguf_shape();
    let expected = if tensor.shape.len() == 1 { vec![cols] } else { vec![rows, cols] };
    let Some(line) = line else {
        return Err(GgufError::MissingTensor { name: tensor.gguf_name, expected });
    };
    let found: Vec<u64> = line.dimensions.iter().rev().copied().collect();
    if !found.iter().copied().eq(expected.iter().map(|&d| d as u64)) {
        return Err(GgufError::Shape { name: tensor.gguf_name, expected, found });
    }
    let Some(dtype) = walk::dtype_of(line.ggml_type) else {
        let found = walk::ggml_type_name(line.ggml_type);
        return Err(GgufError::Dtype { name: tensor.gguf_name, found });
    };
    // Vectors are added element-wise and never take part in block-quantised products.
    if tensor.role == names::Role::Vector && !matches!(dtype, Dtype::F32 | Dtype::F16) {
        return Err(GgufError::Dtype { name: tensor.gguf_name, found: format!("{dtype}, for a vector") });
    }
    if !cols.is_multiple_of(dtype.block_len()) {
        return Err(GgufError::Blocks { name: tensor.gguf_name, cols, dtype });
    }
    let size_bytes = dtype.size_bytes(rows as u64 * cols as u64).unwrap_or_default();
    Ok(TensorEntry {
        name: tensor.name,
        gguf_name: tensor.gguf_name,
        rows,
        cols,
        dtype,
        // The walk has checked that this does not overflow.
        offset: data_offset.saturating_add(line.offset),
        size_bytes,
    })
}

/// The header's metadata by key.
struct Metadata<'a>(HashMap<&'a str, Value<'a>>);

impl Metadata<'_> {
    fn config(&self, embedding_rows: Option<u64>) -> Result<Config, GgufError> {
        let architecture = self.string(key::ARCHITECTURE)?;
        if architecture != "gpt2" {
            return Err(GgufError::Value {
                key: key::ARCHITECTURE,
                found: format!("`{}`", shorten(&architecture)),
                expected: "`gpt2`",
            });
        }
        let n_embd = self.dimension(key::EMBEDDING_LENGTH)?;
        let tokens = self.get(key::TOKENS)?;
        let tokens = tokens.len().ok_or_else(|| wrong_type(key::TOKENS, tokens, "an array"))?;
        let config = Config {
            // If the embedding is missing, use the token count so that the error names the tensor.
            vocab_size: embedding_rows.map_or(tokens, |rows| usize::try_from(rows).unwrap_or(usize::MAX)),
            n_positions: self.dimension(key::CONTEXT_LENGTH)?,
            n_embd,
            n_layer: self.dimension(key::BLOCK_COUNT)?,
            n_head: self.dimension(key::HEAD_COUNT)?,
            n_inner: match self.0.contains_key(key::FEED_FORWARD_LENGTH) {
                true => self.dimension(key::FEED_FORWARD_LENGTH)?,
                false => n_embd.saturating_mul(4),
            },
            layer_norm_epsilon: self.epsilon()?,
            embd_pdrop: 0.1,
            attn_pdrop: 0.1,
            resid_pdrop: 0.1,
            eos_token_id: 0,
        };
        config.validate()?;
        if config.n_layer > names::MAX_LAYERS {
            return Err(GgufError::TooLarge {
                what: "the number of layers",
                found: config.n_layer as u64,
                limit: names::MAX_LAYERS as u64,
            });
        }
        Ok(config)
    }

    fn tokenizer(&self, config: &Config) -> Result<Parts, GgufError> {
        let model = self.string(key::TOKENIZER_MODEL)?;
        if model != "gpt2" {
            return Err(GgufError::Value {
                key: key::TOKENIZER_MODEL,
                found: format!("`{}`", shorten(&model)),
                expected: "`gpt2`",
            });
        }
        let mut tokens = self.strings(key::TOKENS)?;
        if tokens.len() > config.vocab_size {
            return Err(GgufError::Vocabulary { tokens: tokens.len(), vocab_size: config.vocab_size });
        }
        let mut special_ids = Vec::new();
        if self.0.contains_key(key::TOKEN_TYPE) {
            let value = self.get(key::TOKEN_TYPE)?;
            let types =
                || value.integers().ok_or_else(|| wrong_type(key::TOKEN_TYPE, value, "an array of numbers"));
            if types()?.len() != tokens.len() {
                return Err(GgufError::Value {
                    key: key::TOKEN_TYPE,
                    found: format!("{} entries", types()?.len()),
                    expected: "one for each token",
                });
            }
            let unused = types()?.rev().take_while(|t| *t == Some(token_type::UNUSED)).count();
            tokens.truncate(tokens.len() - unused);
            let control = types()?.zip(0..).filter(|(t, _)| *t == Some(token_type::CONTROL));
            special_ids = control.map(|(_, id)| id).collect();
        }
        let eos_id = self
            .0
            .get(key::EOS_ID)
            .or_else(|| self.0.get(key::BOS_ID))
            .ok_or(GgufError::MissingKey { key: key::EOS_ID })?;
        let eos_id =
            eos_id.integer().and_then(|id| u32::try_from(id).ok()).filter(|&id| (id as usize) < tokens.len());
        Ok(Parts {
            special_ids,
            eos_id: eos_id.ok_or(GgufError::Value {
                key: key::EOS_ID,
                found: "not the id of a token".into(),
                expected: "a token's id",
            })?,
            merges: self.strings(key::MERGES)?,
            tokens,
        })
    }

    fn get(&self, key: &'static str) -> Result<Value<'_>, GgufError> {
        self.0.get(key).copied().ok_or(GgufError::MissingKey { key })
    }

    fn string(&self, key: &'static str) -> Result<String, GgufError> {
        let value = self.get(key)?;
        value.string().ok_or_else(|| wrong_type(key, value, "a string"))
    }

    fn strings(&self, key: &'static str) -> Result<Texts, GgufError> {
        let value = self.get(key)?;
        value.strings().ok_or_else(|| wrong_type(key, value, "an array of strings"))
    }

    fn dimension(&self, key: &'static str) -> Result<usize, GgufError> {
        let value = self.get(key)?;
        value
            .integer()
            .and_then(|n| usize::try_from(n).ok())
            .ok_or_else(|| wrong_type(key, value, "a whole number"))
    }

    fn epsilon(&self) -> Result<f32, GgufError> {
        let value = self.get(key::LAYER_NORM_EPSILON)?;
        match value.f32() {
            Some(x) if (0.0..1.0).contains(&x) => Ok(x),
            Some(x) => Err(GgufError::Value {
                key: key::LAYER_NORM_EPSILON,
                found: x.to_string(),
                expected: "at least 0 and under 1",
            }),
            None => Err(wrong_type(key::LAYER_NORM_EPSILON, value, "a 32-bit float")),
        }
    }
}

fn wrong_type(key: &'static str, found: Value, expected: &'static str) -> GgufError {
    GgufError::Value { key, found: format!("of type {}", found.type_name()), expected }
}

fn shorten(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(40).collect()
}
