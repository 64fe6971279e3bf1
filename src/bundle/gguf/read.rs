//! A GGUF header as GPT-2: its configuration, its tokenizer, and where each
//! tensor lies in the file.

use std::collections::HashMap;

use super::{Dtype, GgufError, key, token_type, value::Value, walk};
use crate::{
    gpt2::{Config, names},
    tokenizer::{Parts, Tokenizer, TokenizerError},
};

/// What [`Header::parse`] made of the bytes it was given.
#[derive(Debug)]
pub enum Parsed {
    Header(Box<Header>),
    /// The header is longer: call again with at least this many bytes of the
    /// file's beginning. At least twice as many as were given (unless that is
    /// the whole file), so that few calls are made.
    NeedMore {
        at_least: u64,
    },
}

/// A validated header: every tensor of the network is there, in the right
/// shape and a type this program computes with, inside the file.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// The dropout fields are `config.json`'s defaults: GGUF has none.
    pub config: Config,
    /// `general.name`.
    pub name: Option<String>,
    pub tokenizer: Parts,
    /// Where the tensor data begins in the file.
    pub data_offset: u64,
    /// In the order of [`names::tensors`].
    pub tensors: Vec<TensorEntry>,
    /// An `output.weight` that can be compared with `wte.weight`, to which GPT-2's head is
    /// tied. In another type or shape it is passed over: quantisers write one so.
    pub head: Option<TensorEntry>,
}

/// Where one tensor lies in the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorEntry {
    /// The checkpoint's name for it, `h.0.attn.c_attn.weight`.
    pub name: String,
    /// The file's name for it, `blk.0.attn_qkv.weight`.
    pub gguf_name: String,
    /// Outputs: of a matrix (out, in), or of an embedding its entries; 1 for a vector.
    pub rows: usize,
    /// Inputs, contiguous in the file; the length of a vector.
    pub cols: usize,
    pub dtype: Dtype,
    /// Bytes from the beginning of the file.
    pub offset: u64,
    pub size_bytes: u64,
}

impl Header {
    /// Reads the header in `bytes`, the beginning of a file. With `file_size`
    /// given, tensors that lie outside the file are an error here.
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
            // Of a tensor that is none of GPT-2's, too: where it ends is not known.
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

    /// The tokenizer inside, taken out: its strings are many.
    pub fn take_tokenizer(&mut self) -> Result<Tokenizer, TokenizerError> {
        Tokenizer::from_parts(std::mem::take(&mut self.tokenizer))
    }

    /// The end of the last tensor: the least a whole file has.
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
    // A vector is added element by element and never multiplied in blocks.
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

/// The header's values by key.
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
            // Without the embedding the tokens tell what is missing.
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
        // A layer count that no directory holds would make a list as long.
        if config.n_layer > 1 << 12 {
            return Err(GgufError::TooLarge {
                what: "the number of layers",
                found: config.n_layer as u64,
                limit: 1 << 12,
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
        let mut types = match self.0.contains_key(key::TOKEN_TYPE) {
            true => {
                let types = self.get(key::TOKEN_TYPE)?;
                types.integers().ok_or_else(|| wrong_type(key::TOKEN_TYPE, types, "an array"))?
            }
            false => vec![Some(token_type::NORMAL); tokens.len()],
        };
        if types.len() != tokens.len() {
            return Err(GgufError::Value {
                key: key::TOKEN_TYPE,
                found: format!("{} entries", types.len()),
                expected: "one for each token",
            });
        }
        while types.last() == Some(&Some(token_type::UNUSED)) {
            types.pop();
            tokens.pop();
        }
        let eos_id = self
            .0
            .get(key::EOS_ID)
            .or_else(|| self.0.get(key::BOS_ID))
            .ok_or(GgufError::MissingKey { key: key::EOS_ID })?;
        let eos_id =
            eos_id.integer().and_then(|id| u32::try_from(id).ok()).filter(|&id| (id as usize) < tokens.len());
        let special_ids =
            types.iter().zip(0..).filter(|(t, _)| **t == Some(token_type::CONTROL)).map(|(_, id)| id);
        Ok(Parts {
            special_ids: special_ids.collect(),
            eos_id: eos_id.ok_or(GgufError::Value {
                key: key::EOS_ID,
                found: "none of the tokens".into(),
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

    fn strings(&self, key: &'static str) -> Result<Vec<String>, GgufError> {
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
