//! Writes a GPT-2 as GGUF, one tensor at a time: besides the checkpoint, only one quantised
//! tensor is in memory.

use std::{collections::BTreeMap, io::Write};

use super::{ALIGNMENT, Dtype, GgufError, MAGIC, VERSION, key, token_type, value::kind, walk};
use crate::{
    bundle::{Precision, Weights, quantize, weights::Tensor},
    gpt2::{Config, names},
    tokenizer::{Texts, Tokenizer},
};

/// Options for a GGUF file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct WriteOptions<'a> {
    /// `general.name`.
    pub name: &'a str,
    /// Store every matrix of a `q4_0` file in 4 bits, those of `is_sensitive` too.
    pub all_4bit: bool,
    /// What to store of matrices that are quantised by other means than [`quantize`].
    pub quantized: Option<&'a Quantized>,
}

/// Q4_0 bytes of matrices, by checkpoint name. Rows are outputs, as in GGUF.
pub type Quantized = BTreeMap<String, Vec<u8>>;

/// Writes a complete file. Matrices and the token embedding are quantised to `precision` if
/// their rows consist of whole blocks, and stored as f16 otherwise. Position embeddings and
/// vectors are f32, as other loaders expect.
pub fn write<W: Write>(
    config: &Config,
    tokenizer: &Tokenizer,
    weights: &Weights,
    precision: Precision,
    options: &WriteOptions,
    writer: &mut W,
) -> Result<(), GgufError> {
    if tokenizer.vocab_size() > config.vocab_size {
        return Err(GgufError::Vocabulary { tokens: tokenizer.vocab_size(), vocab_size: config.vocab_size });
    }
    let tensors = names::tensors(config);
    let mut header = HeaderWriter::default();
    header.metadata(config, tokenizer, precision, options);
    let mut offset = 0u64;
    let mut dtypes = Vec::with_capacity(tensors.len());
    for tensor in &tensors {
        let weight = expect_tensor(tensor, weights)?;
        let dtype = dtype_for(tensor, precision, options);
        header.tensor(tensor, dtype, offset);
        let size = dtype.size_bytes(weight.data.len() as u64).unwrap_or_default();
        offset += size.next_multiple_of(ALIGNMENT);
        dtypes.push(dtype);
    }
    header.write_to(tensors.len() as u64, writer)?;

    for (tensor, dtype) in tensors.iter().zip(dtypes) {
        let mut stored = match options.quantized.and_then(|quantized| quantized.get(&tensor.name)) {
            Some(bytes) if dtype == Dtype::Q4_0 => bytes.clone(),
            _ => encode(tensor, expect_tensor(tensor, weights)?, dtype)?,
        };
        stored.resize(stored.len().next_multiple_of(ALIGNMENT as usize), 0);
        writer.write_all(&stored)?;
    }
    Ok(())
}

/// Returns the checkpoint's tensor, if it exists with the expected shape.
pub fn expect_tensor<'a>(tensor: &names::Tensor, weights: &'a Weights) -> Result<&'a Tensor, GgufError> {
    let weight = weights.get(&tensor.name).ok_or_else(|| GgufError::MissingTensor {
        name: tensor.name.clone(),
        expected: tensor.shape.clone(),
    })?;
    if weight.shape != tensor.shape || weight.data.len() != tensor.shape.iter().product::<usize>() {
        return Err(GgufError::Shape {
            name: tensor.name.clone(),
            expected: tensor.shape.clone(),
            found: weight.shape.iter().map(|&d| d as u64).collect(),
        });
    }
    Ok(weight)
}

/// Encodes a tensor as it is stored in a file of this precision.
pub fn stored(
    tensor: &names::Tensor,
    weight: &Tensor,
    precision: Precision,
    options: &WriteOptions,
) -> Result<(Dtype, Vec<u8>), GgufError> {
    let dtype = dtype_for(tensor, precision, options);
    Ok((dtype, encode(tensor, weight, dtype)?))
}

fn encode(tensor: &names::Tensor, weight: &Tensor, dtype: Dtype) -> Result<Vec<u8>, GgufError> {
    let stored = match tensor.role {
        names::Role::Matrix => {
            quantize::quantize_rows(&transposed(&weight.data, tensor.shape[0], tensor.shape[1]), dtype)
        }
        _ => quantize::quantize_rows(&weight.data, dtype),
    };
    stored.map_err(|source| GgufError::Quantize { name: tensor.name.clone(), source })
}

/// Whether a `q4_0` file keeps a tensor in 8 bits: the token embedding, which is also the head, and
/// the first layer's attention input. Per bit, no others gain as much (benches/README.md,
/// Quantisation).
fn is_sensitive(tensor: &names::Tensor) -> bool {
    tensor.role == names::Role::TokenEmbedding || tensor.name == "h.0.attn.c_attn.weight"
}

/// Whether a `q4_0` file stores a tensor in 4 bits.
pub fn is_4bit(tensor: &names::Tensor, options: &WriteOptions) -> bool {
    dtype_for(tensor, Precision::Q4_0, options) == Dtype::Q4_0
}

/// Returns the type that a tensor is stored in.
fn dtype_for(tensor: &names::Tensor, precision: Precision, options: &WriteOptions) -> Dtype {
    let wanted = match (tensor.role, precision) {
        (names::Role::Vector | names::Role::PositionEmbedding, _) | (_, Precision::F32) => {
            return Dtype::F32;
        }
        (_, Precision::Q4_0) if is_sensitive(tensor) && !options.all_4bit => Dtype::Q8_0,
        (_, Precision::Q8_0) => Dtype::Q8_0,
        (_, Precision::Q4_0) => Dtype::Q4_0,
    };
    let (_, cols) = tensor.gguf_shape();
    if cols % wanted.block_len() == 0 { wanted } else { Dtype::F16 }
}

/// (rows, cols) -> (cols, rows), row-major.
fn transposed(data: &[f32], rows: usize, cols: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(data.len());
    for col in 0..cols {
        out.extend((0..rows).map(|row| data[row * cols + col]));
    }
    out
}

/// Buffers metadata and tensor directory, because the header starts with their counts.
#[derive(Default)]
struct HeaderWriter {
    metadata: Vec<u8>,
    metadata_count: u64,
    directory: Vec<u8>,
}

impl HeaderWriter {
    fn metadata(
        &mut self,
        config: &Config,
        tokenizer: &Tokenizer,
        precision: Precision,
        options: &WriteOptions,
    ) {
        // llama.cpp's file types: all f32, mostly q8_0, mostly q4_0.
        let file_type = match precision {
            Precision::F32 => 0,
            Precision::Q8_0 => 7,
            Precision::Q4_0 => 2,
        };
        self.string(key::ARCHITECTURE, "gpt2");
        self.string(key::NAME, options.name);
        self.u32(key::FILE_TYPE, file_type);
        self.u32(key::QUANTIZATION_VERSION, 2);
        self.u32(key::ALIGNMENT, ALIGNMENT as u32);
        self.u32(key::CONTEXT_LENGTH, config.n_positions as u32);
        self.u32(key::EMBEDDING_LENGTH, config.n_embd as u32);
        self.u32(key::FEED_FORWARD_LENGTH, config.n_inner as u32);
        self.u32(key::BLOCK_COUNT, config.n_layer as u32);
        self.u32(key::HEAD_COUNT, config.n_head as u32);
        self.value(key::LAYER_NORM_EPSILON, kind::F32, &config.layer_norm_epsilon.to_le_bytes());

        let parts = tokenizer.parts();
        let mut tokens = parts.tokens;
        let mut types = vec![token_type::NORMAL; tokens.len()];
        for id in parts.special_ids {
            types[id as usize] = token_type::CONTROL;
        }
        // Loaders expect one token per row of the embedding.
        for id in tokens.len()..config.vocab_size {
            tokens.push(&format!("[PAD{id}]"));
            types.push(token_type::UNUSED);
        }
        self.string(key::TOKENIZER_MODEL, "gpt2");
        self.string(key::TOKENIZER_PRE, "gpt-2");
        self.strings(key::TOKENS, &tokens);
        let mut bytes = Vec::with_capacity(12 + 4 * types.len());
        bytes.extend_from_slice(&kind::I32.to_le_bytes());
        bytes.extend_from_slice(&(types.len() as u64).to_le_bytes());
        bytes.extend(types.iter().flat_map(|&t| (t as i32).to_le_bytes()));
        self.value(key::TOKEN_TYPE, kind::ARRAY, &bytes);
        self.strings(key::MERGES, &parts.merges);
        for id_key in [key::BOS_ID, key::EOS_ID, key::UNKNOWN_ID] {
            self.u32(id_key, parts.eos_id);
        }
        self.value(key::ADD_BOS, kind::BOOL, &[0]);
    }

    fn value(&mut self, key: &str, value_type: u32, value: &[u8]) {
        push_string(&mut self.metadata, key);
        self.metadata.extend_from_slice(&value_type.to_le_bytes());
        self.metadata.extend_from_slice(value);
        self.metadata_count += 1;
    }

    fn u32(&mut self, key: &str, value: u32) {
        self.value(key, kind::U32, &value.to_le_bytes());
    }

    fn string(&mut self, key: &str, value: &str) {
        let mut bytes = Vec::new();
        push_string(&mut bytes, value);
        self.value(key, kind::STRING, &bytes);
    }

    fn strings(&mut self, key: &str, values: &Texts) {
        let mut bytes = Vec::new();
        bytes.extend_from_slice(&kind::STRING.to_le_bytes());
        bytes.extend_from_slice(&(values.len() as u64).to_le_bytes());
        values.iter().for_each(|value| push_string(&mut bytes, value));
        self.value(key, kind::ARRAY, &bytes);
    }

    fn tensor(&mut self, tensor: &names::Tensor, dtype: Dtype, offset: u64) {
        let (rows, cols) = tensor.gguf_shape();
        let dimensions: &[usize] = if tensor.shape.len() == 1 { &[cols] } else { &[cols, rows] };
        push_string(&mut self.directory, &tensor.gguf_name);
        self.directory.extend_from_slice(&(dimensions.len() as u32).to_le_bytes());
        self.directory.extend(dimensions.iter().flat_map(|&d| (d as u64).to_le_bytes()));
        self.directory.extend_from_slice(&walk::ggml_type_of(dtype).to_le_bytes());
        self.directory.extend_from_slice(&offset.to_le_bytes());
    }

    fn write_to<W: Write>(&self, tensor_count: u64, writer: &mut W) -> std::io::Result<()> {
        let mut start = Vec::with_capacity(24);
        start.extend_from_slice(MAGIC);
        start.extend_from_slice(&VERSION.to_le_bytes());
        start.extend_from_slice(&tensor_count.to_le_bytes());
        start.extend_from_slice(&self.metadata_count.to_le_bytes());
        let len = start.len() + self.metadata.len() + self.directory.len();
        let padding = vec![0; len.next_multiple_of(ALIGNMENT as usize) - len];
        for part in [&start, &self.metadata, &self.directory, &padding] {
            writer.write_all(part)?;
        }
        Ok(())
    }
}

fn push_string(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
}
