//! A new GPT-2 without a base: a vocabulary trained on the posts, and random weights.

use std::collections::HashSet;

use tokenizers::{
    AddedToken, TokenizerBuilder,
    decoders::byte_level::ByteLevel as ByteLevelDecoder,
    models::bpe::{BPE, BpeTrainerBuilder},
    normalizers::NormalizerWrapper,
    pre_tokenizers::byte_level::ByteLevel,
    processors::byte_level::ByteLevel as ByteLevelProcessor,
};

use super::{
    TrainError,
    chance::{Purpose, normal, stream},
};
use crate::{
    bundle::{Weights, weights::Tensor},
    gpt2::{Config, names},
    tokenizer::{END_OF_TEXT, Parts, Texts, Tokenizer},
};

/// Maximum number of parameters of a new network, above GPT-2 XL's 1.6 billion.
const MAX_PARAMETERS: u64 = 1 << 31;

/// Size of a new network.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub layers: usize,
    pub channels: usize,
    pub heads: usize,
    pub positions: usize,
}

/// Configuration of a new network, with GPT-2's dropout.
///
/// # Errors
/// [`TrainError::Config`] for invalid sizes, [`TrainError::Parameters`] for a network that is too
/// large.
pub fn config(shape: Shape, tokenizer: &Tokenizer) -> Result<Config, TrainError> {
    let config = Config {
        vocab_size: tokenizer.vocab_size(),
        n_positions: shape.positions,
        n_embd: shape.channels,
        n_layer: shape.layers,
        n_head: shape.heads,
        n_inner: 4 * shape.channels,
        layer_norm_epsilon: 1e-5,
        embd_pdrop: 0.1,
        attn_pdrop: 0.1,
        resid_pdrop: 0.1,
        eos_token_id: tokenizer.eos_id(),
    };
    config.validate()?;
    let parameters = parameters(&config);
    if parameters > MAX_PARAMETERS {
        return Err(TrainError::Parameters { parameters, most: MAX_PARAMETERS });
    }
    Ok(config)
}

/// Number of parameters of a valid configuration.
fn parameters(config: &Config) -> u64 {
    let size = |tensor: names::Tensor| tensor.shape.iter().map(|&n| n as u64).product::<u64>();
    names::tensors(config).into_iter().map(size).fold(0, u64::saturating_add)
}

/// GPT-2's initialisation (Radford et al. 2019): normal with standard deviation 0.02, residual
/// projections divided by sqrt(2 L), gains 1, biases 0.
pub fn weights(config: &Config, seed: u64) -> Weights {
    let mut rng = stream(seed, Purpose::InitialWeights);
    let residual = 0.02 / (2.0 * config.n_layer as f32).sqrt();
    let make = |tensor: names::Tensor| {
        let n = tensor.shape.iter().product();
        let data = match tensor.role {
            names::Role::Vector => vec![if tensor.name.ends_with(".weight") { 1.0 } else { 0.0 }; n],
            _ => {
                let deviation = if tensor.name.ends_with("c_proj.weight") { residual } else { 0.02 };
                (0..n).map(|_| deviation * normal(&mut rng)).collect()
            }
        };
        (tensor.name, Tensor { shape: tensor.shape, data })
    };
    names::tensors(config).into_iter().map(make).collect()
}

/// A byte-level BPE of at most `size` tokens, trained on the posts. It contains all 256 bytes, so
/// that any prompt can be encoded; `<|endoftext|>` has id 0.
///
/// # Errors
/// [`TrainError::Vocabulary`] below 257 tokens, [`TrainError::Tokenizer`].
pub fn tokenizer(posts: &[String], size: usize) -> Result<Tokenizer, TrainError> {
    if size < 257 {
        return Err(TrainError::Vocabulary { wanted: size });
    }
    let failed = |e: Box<dyn std::error::Error + Send + Sync>| TrainError::Tokenizer(e.to_string());
    let byte_level = ByteLevel::default().add_prefix_space(false);
    let mut trainer = BpeTrainerBuilder::new()
        .vocab_size(size)
        .min_frequency(2)
        .show_progress(false)
        .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
        .special_tokens(vec![AddedToken::from(END_OF_TEXT, true)])
        .build();
    let mut made =
        TokenizerBuilder::<BPE, NormalizerWrapper, ByteLevel, ByteLevelProcessor, ByteLevelDecoder>::new()
            .with_model(BPE::default())
            .with_normalizer(None)
            .with_pre_tokenizer(Some(byte_level))
            .with_post_processor(Some(ByteLevelProcessor::default()))
            .with_decoder(Some(ByteLevelDecoder::default()))
            .build()
            .map_err(failed)?;
    made.train(&mut trainer, posts.iter().map(String::as_str)).map_err(failed)?;
    let json = made.to_string(false).map_err(failed)?;
    reordered(&Tokenizer::from_json(json.as_bytes()).map_err(|e| TrainError::Tokenizer(e.to_string()))?)
}

/// Assigns new ids, so that one corpus gives one vocabulary: `<|endoftext|>`, the bytes in their
/// order, then merges in the order of their creation. Some versions of the trainer number the
/// alphabet in the order of a hash map.
fn reordered(made: &Tokenizer) -> Result<Tokenizer, TrainError> {
    let parts = made.parts();
    let mut alphabet: Vec<&str> = parts.tokens.iter().filter(|t| t.chars().count() == 1).collect();
    alphabet.sort_unstable();
    let mut tokens: Texts = std::iter::once(END_OF_TEXT).chain(alphabet).collect();
    let mut known: HashSet<String> = tokens.iter().map(str::to_owned).collect();
    for merge in parts.merges.iter() {
        let merged = merge.replacen(' ', "", 1);
        if known.insert(merged.clone()) {
            tokens.push(&merged);
        }
    }
    Tokenizer::from_parts(Parts { tokens, merges: parts.merges, special_ids: vec![0], eos_id: 0 })
        .map_err(|e| TrainError::Tokenizer(e.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn posts() -> Vec<String> {
        (0..300).map(|i| format!("The lamp burned well on night {i}, and nobody came by boat.")).collect()
    }

    #[test]
    fn a_vocabulary_spells_anything_and_is_the_same_each_time() {
        let tokenizer = tokenizer(&posts(), 400).unwrap();
        assert_eq!(tokenizer.eos_id(), 0);
        assert!(tokenizer.vocab_size() <= 400 && tokenizer.vocab_size() > 300);
        for text in ["The lamp", "żółw 🐢\n", "漢字"] {
            assert_eq!(tokenizer.decode(&tokenizer.encode_plain(text)), text);
        }
        assert_eq!(tokenizer.to_json(), super::tokenizer(&posts(), 400).unwrap().to_json());
    }

    #[test]
    fn a_network_that_no_machine_holds_is_refused_before_it_is_made() {
        let tokenizer = tokenizer(&posts(), 300).unwrap();
        let shape = |layers, channels| Shape { layers, channels, heads: 1, positions: 1024 };
        let error = config(shape(4096, 1 << 20), &tokenizer).unwrap_err().to_string();
        assert!(error.contains("--layers") && error.contains("54043252753"), "{error}");
        // GPT-2 XL.
        config(shape(48, 1600), &tokenizer).unwrap();
    }

    #[test]
    fn a_seed_decides_the_weights() {
        let tokenizer = tokenizer(&posts(), 300).unwrap();
        let shape = Shape { layers: 2, channels: 32, heads: 2, positions: 16 };
        let config = config(shape, &tokenizer).unwrap();
        assert_eq!(weights(&config, 1), weights(&config, 1));
        assert_ne!(weights(&config, 1)["wte.weight"], weights(&config, 2)["wte.weight"]);
    }
}
