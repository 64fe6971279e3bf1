//! Names of files in a bot's folder, and in folders and repositories of other GPT-2s.

/// The manifest, which lists and describes the other files. Only our own bots have one.
pub const BOT: &str = "bot.json";
pub const CONFIG: &str = "config.json";
pub const TOKENIZER: &str = "tokenizer.json";
/// Used by older folders in place of `tokenizer.json`, together with `merges.txt`.
pub const VOCABULARY: &str = "vocab.json";
pub const MERGES: &str = "merges.txt";
/// For `transformers`.
pub const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
/// For `transformers`.
pub const GENERATION_CONFIG: &str = "generation_config.json";

/// The weights, unless they are in shards or in PyTorch's format.
pub const SAFETENSORS: &str = "model.safetensors";
/// Lists the shards of the weights.
pub const SHARD_INDEX: &str = "model.safetensors.index.json";
/// The weights in PyTorch's format.
pub const PICKLE: &str = "pytorch_model.bin";

/// The weights in GGUF, by precision. Bundles have no file of f32.
pub const GGUF_F32: &str = "model-f32.gguf";
pub const GGUF_Q8_0: &str = "model-q8_0.gguf";
pub const GGUF_Q4_0: &str = "model-q4_0.gguf";
