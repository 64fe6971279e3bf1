//! GPT-2's tensors by name: the one list that the trainer, the engine, the safetensors reader and
//! the GGUF writer share.
//!
//! Names are the original checkpoint's (`h.0.attn.c_attn.weight`). Files written by `transformers`
//! prefix them with [`HF_PREFIX`], and GGUF has its own ([`Tensor::gguf_name`]).

use super::Config;

/// The prefix that `GPT2LMHeadModel` writes before each name.
pub const HF_PREFIX: &str = "transformer.";

/// What a tensor is for, which decides whether it may be quantised.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// `wte.weight`, (V, C): also the tied language-model head.
    TokenEmbedding,
    /// `wpe.weight`, (positions, C).
    PositionEmbedding,
    /// A layer norm's gain or bias, or a linear layer's bias: one dimension.
    Vector,
    /// A Conv1D weight, stored (in, out) in checkpoints and (out, in) in GGUF.
    Matrix,
}

/// One tensor of the network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tensor {
    /// Checkpoint name, without [`HF_PREFIX`].
    pub name: String,
    /// llama.cpp's name for it.
    pub gguf_name: String,
    /// Shape in the checkpoint: Conv1D weights are (in, out).
    pub shape: Vec<usize>,
    pub role: Role,
}

impl Tensor {
    /// (rows, cols) in GGUF: a matrix is (out, in), a vector one row.
    pub fn gguf_shape(&self) -> (usize, usize) {
        match (self.role, self.shape.as_slice()) {
            (Role::Matrix, &[inputs, outputs]) => (outputs, inputs),
            (_, &[rows, cols]) => (rows, cols),
            (_, shape) => (1, shape.iter().product()),
        }
    }
}

/// Maximum number of layers read or trained: far more than any GPT-2 has. It bounds the list
/// that [`tensors`] makes of an untrusted configuration.
pub const MAX_LAYERS: usize = 1 << 12;

/// Every tensor of a GPT-2 of this shape: embeddings, then layer by layer, then the final norm.
pub fn tensors(config: &Config) -> Vec<Tensor> {
    use Role::*;
    let (c, inner) = (config.n_embd, config.n_inner);
    let tensor = |name: String, gguf_name: String, shape: &[usize], role| Tensor {
        name,
        gguf_name,
        shape: shape.to_vec(),
        role,
    };
    let mut all = vec![
        tensor(TOKEN_EMBEDDING.into(), "token_embd.weight".into(), &[config.vocab_size, c], TokenEmbedding),
        tensor(
            "wpe.weight".into(),
            "position_embd.weight".into(),
            &[config.n_positions, c],
            PositionEmbedding,
        ),
    ];
    for layer in 0..config.n_layer {
        let parts: [(&str, &str, &[usize], Role); 12] = [
            ("ln_1.weight", "attn_norm.weight", &[c], Vector),
            ("ln_1.bias", "attn_norm.bias", &[c], Vector),
            ("attn.c_attn.weight", "attn_qkv.weight", &[c, 3 * c], Matrix),
            ("attn.c_attn.bias", "attn_qkv.bias", &[3 * c], Vector),
            ("attn.c_proj.weight", "attn_output.weight", &[c, c], Matrix),
            ("attn.c_proj.bias", "attn_output.bias", &[c], Vector),
            ("ln_2.weight", "ffn_norm.weight", &[c], Vector),
            ("ln_2.bias", "ffn_norm.bias", &[c], Vector),
            ("mlp.c_fc.weight", "ffn_up.weight", &[c, inner], Matrix),
            ("mlp.c_fc.bias", "ffn_up.bias", &[inner], Vector),
            ("mlp.c_proj.weight", "ffn_down.weight", &[inner, c], Matrix),
            ("mlp.c_proj.bias", "ffn_down.bias", &[c], Vector),
        ];
        for (name, gguf, shape, role) in parts {
            all.push(tensor(format!("h.{layer}.{name}"), format!("blk.{layer}.{gguf}"), shape, role));
        }
    }
    all.push(tensor("ln_f.weight".into(), "output_norm.weight".into(), &[c], Vector));
    all.push(tensor("ln_f.bias".into(), "output_norm.bias".into(), &[c], Vector));
    all
}

/// A checkpoint's name for the token embedding.
pub const TOKEN_EMBEDDING: &str = "wte.weight";

/// A checkpoint's name for a separate head; GPT-2's is tied to `wte.weight`.
pub const HEAD: &str = "lm_head.weight";

/// Whether a checkpoint name is a part of a layer norm or a bias, which have one dimension.
pub fn is_vector(name: &str) -> bool {
    name.ends_with(".bias") || name.contains("ln_")
}

/// Whether a name found in a checkpoint is a buffer or a tied copy to skip (`attn.bias`,
/// `attn.masked_bias`, `lm_head.weight`); all but the last may be prefixed.
pub fn is_ignored(name: &str) -> bool {
    name == HEAD || name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias")
}
