//! GPT-2's `config.json`, as Hugging Face writes it.

use serde_json::{Value, json};
use thiserror::Error;

/// The shape of a GPT-2 and the few constants its arithmetic needs.
///
/// A value that was read or has passed [`Config::validate`] is valid: every dimension is at least
/// 1, `n_embd` is a multiple of `n_head`, and no product of two sizes overflows 64 bits.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// V: rows of the token embedding.
    pub vocab_size: usize,
    /// The longest sequence in tokens (`n_positions` or `n_ctx`).
    pub n_positions: usize,
    /// C: channels.
    pub n_embd: usize,
    /// L: layers.
    pub n_layer: usize,
    /// H: attention heads.
    pub n_head: usize,
    /// Width of the MLP's hidden layer; 4 C unless the file says otherwise.
    pub n_inner: usize,
    /// Added to the variance in every layer norm.
    pub layer_norm_epsilon: f32,
    /// Dropout after the embeddings (training only).
    pub embd_pdrop: f32,
    /// Dropout on attention probabilities (training only).
    pub attn_pdrop: f32,
    /// Dropout before each residual addition (training only).
    pub resid_pdrop: f32,
    /// The id of `<|endoftext|>`, which starts and ends every post.
    pub eos_token_id: u32,
}

/// Why a `config.json` was refused.
#[derive(Debug, Error)]
pub enum ConfigError {
    #[error("config.json is not JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("config.json has no usable `{field}` (found {found})")]
    Field { field: &'static str, found: String },
    #[error("config.json describes a `{found}` model; this tool runs `gpt2`")]
    Architecture { found: String },
    #[error("config.json: n_embd {n_embd} is not a multiple of n_head {n_head}")]
    Heads { n_embd: usize, n_head: usize },
    #[error("config.json asks for `{field}` = {found}, which is not supported (only {expected})")]
    Unsupported { field: &'static str, found: String, expected: &'static str },
}

/// The largest value of any dimension: far above every GPT-2, and small enough that sizes in bytes
/// stay in range.
const MAX_DIMENSION: u64 = 1 << 24;

impl Config {
    /// Reads and validates a `config.json`.
    pub fn from_json(bytes: &[u8]) -> Result<Self, ConfigError> {
        let v: Value = serde_json::from_slice(bytes)?;
        if let Some(kind) = v.get("model_type").and_then(Value::as_str)
            && kind != "gpt2"
        {
            return Err(ConfigError::Architecture { found: kind.into() });
        }
        match v.get("activation_function").and_then(Value::as_str) {
            None | Some("gelu_new" | "gelu_pytorch_tanh") => {}
            Some(other) => {
                return Err(ConfigError::Unsupported {
                    field: "activation_function",
                    found: other.into(),
                    expected: "gelu_new",
                });
            }
        }
        for (field, default, expected) in
            [("scale_attn_weights", true, "true"), ("scale_attn_by_inverse_layer_idx", false, "false")]
        {
            if let Some(found) = v.get(field).and_then(Value::as_bool)
                && found != default
            {
                return Err(ConfigError::Unsupported { field, found: found.to_string(), expected });
            }
        }
        let n_embd = dimension(&v, "n_embd", None)?;
        let vocab_size = dimension(&v, "vocab_size", None)?;
        let config = Self {
            vocab_size,
            n_positions: dimension(&v, "n_positions", Some("n_ctx"))?,
            n_embd,
            n_layer: dimension(&v, "n_layer", None)?,
            n_head: dimension(&v, "n_head", None)?,
            n_inner: match v.get("n_inner") {
                None | Some(Value::Null) => 4 * n_embd,
                Some(_) => dimension(&v, "n_inner", None)?,
            },
            layer_norm_epsilon: number(&v, "layer_norm_epsilon", 1e-5)?,
            embd_pdrop: number(&v, "embd_pdrop", 0.1)?,
            attn_pdrop: number(&v, "attn_pdrop", 0.1)?,
            resid_pdrop: number(&v, "resid_pdrop", 0.1)?,
            eos_token_id: v
                .get("eos_token_id")
                .and_then(Value::as_u64)
                .filter(|&id| id < vocab_size as u64)
                .unwrap_or(vocab_size as u64 - 1) as u32,
        };
        config.validate()?;
        Ok(config)
    }

    /// Checks every dimension; for configurations made in code or read from a GGUF header.
    pub fn validate(&self) -> Result<(), ConfigError> {
        for (field, value) in [
            ("vocab_size", self.vocab_size),
            ("n_positions", self.n_positions),
            ("n_embd", self.n_embd),
            ("n_layer", self.n_layer),
            ("n_head", self.n_head),
            ("n_inner", self.n_inner),
        ] {
            if value == 0 || value as u64 > MAX_DIMENSION {
                return Err(ConfigError::Field { field, found: value.to_string() });
            }
        }
        if !self.n_embd.is_multiple_of(self.n_head) {
            return Err(ConfigError::Heads { n_embd: self.n_embd, n_head: self.n_head });
        }
        Ok(())
    }

    /// The `config.json` from which `transformers` reads the same model.
    pub fn to_json(&self) -> Value {
        json!({
            "activation_function": "gelu_new",
            "architectures": ["GPT2LMHeadModel"],
            "attn_pdrop": self.attn_pdrop,
            "bos_token_id": self.eos_token_id,
            "embd_pdrop": self.embd_pdrop,
            "eos_token_id": self.eos_token_id,
            "initializer_range": 0.02,
            "layer_norm_epsilon": self.layer_norm_epsilon,
            "model_type": "gpt2",
            "n_ctx": self.n_positions,
            "n_embd": self.n_embd,
            "n_head": self.n_head,
            "n_inner": if self.n_inner == 4 * self.n_embd { Value::Null } else { json!(self.n_inner) },
            "n_layer": self.n_layer,
            "n_positions": self.n_positions,
            "resid_pdrop": self.resid_pdrop,
            "scale_attn_weights": true,
            "tie_word_embeddings": true,
            "vocab_size": self.vocab_size,
        })
    }

    /// C / H.
    pub fn head_dim(&self) -> usize {
        self.n_embd / self.n_head
    }
}

fn dimension(v: &Value, field: &'static str, or: Option<&str>) -> Result<usize, ConfigError> {
    let found = v.get(field).or_else(|| v.get(or?));
    found
        .and_then(Value::as_u64)
        .filter(|&n| (1..=MAX_DIMENSION).contains(&n))
        .map(|n| n as usize)
        .ok_or_else(|| ConfigError::Field { field, found: found.map_or("nothing".into(), Value::to_string) })
}

fn number(v: &Value, field: &'static str, default: f32) -> Result<f32, ConfigError> {
    match v.get(field) {
        None | Some(Value::Null) => Ok(default),
        Some(found) => found
            .as_f64()
            .filter(|x| (0.0..1.0).contains(x))
            .map(|x| x as f32)
            .ok_or_else(|| ConfigError::Field { field, found: found.to_string() }),
    }
}
