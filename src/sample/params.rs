//! The sampling settings, under the names that `transformers` gives them.

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Sampling settings. [`Params::default`] is that of the original huggingtweets (temperature 1,
/// top-k 50, top-p 0.95); [`Params::NEUTRAL`] changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Params {
    /// Divides the logits; 0 means greedy.
    pub temperature: f32,
    /// Keep the k largest; 0 keeps all.
    pub top_k: usize,
    /// Keep the smallest set whose probability reaches this; 1 keeps all.
    pub top_p: f32,
    /// Keep tokens with at least this share of the largest probability; 0 keeps all.
    pub min_p: f32,
    /// Keep the most typical set of this mass (Meister et al. 2022); 1 keeps all.
    pub typical_p: f32,
    /// Divides the logits of tokens already seen, or multiplies negative ones; 1 is off.
    pub repetition_penalty: f32,
    /// Forbid repeating any n-gram of this many tokens; 0 is off.
    #[serde(rename = "no_repeat_ngram_size", alias = "no_repeat_ngram")]
    pub no_repeat_ngram: usize,
}

/// A setting outside its range.
#[derive(Debug, Clone, PartialEq, Error)]
#[error("{name} is {found}; it must be {expected}")]
pub struct ParamsError {
    pub name: &'static str,
    pub found: f32,
    pub expected: &'static str,
}

impl Default for Params {
    fn default() -> Self {
        Self { top_k: 50, top_p: 0.95, ..Self::NEUTRAL }
    }
}

impl Params {
    /// Plain sampling from the network's own distribution.
    pub const NEUTRAL: Self = Self {
        temperature: 1.0,
        top_k: 0,
        top_p: 1.0,
        min_p: 0.0,
        typical_p: 1.0,
        repetition_penalty: 1.0,
        no_repeat_ngram: 0,
    };

    /// Parses settings from a JSON object; absent settings are neutral.
    pub fn neutral_with(json: &serde_json::Value) -> Result<Self, serde_json::Error> {
        let mut all = serde_json::to_value(Self::NEUTRAL)?;
        if let (Some(all), Some(given)) = (all.as_object_mut(), json.as_object()) {
            for (name, value) in given {
                let name = if name == "no_repeat_ngram" { "no_repeat_ngram_size" } else { name };
                all.insert(name.into(), value.clone());
            }
        }
        serde_json::from_value(all)
    }

    /// Returns how many of the largest logits suffice to sample a token, even if one token is
    /// forbidden; `None` if all are needed.
    pub fn enough(&self) -> Option<usize> {
        if self.repetition_penalty != 1.0 || self.no_repeat_ngram > 0 {
            return None;
        }
        match self.top_k {
            _ if self.temperature == 0.0 => Some(2),
            0 => None,
            k => k.checked_add(1),
        }
    }

    /// Checks every setting against its range.
    ///
    /// # Errors
    /// If a setting is out of range; the first such setting is returned.
    pub fn validate(&self) -> Result<(), ParamsError> {
        let in_range = [
            (
                "temperature",
                self.temperature,
                self.temperature >= 0.0 && self.temperature.is_finite(),
                "0 (greedy) or more",
            ),
            ("top_p", self.top_p, self.top_p > 0.0 && self.top_p <= 1.0, "over 0 and at most 1"),
            ("min_p", self.min_p, (0.0..=1.0).contains(&self.min_p), "between 0 and 1"),
            (
                "typical_p",
                self.typical_p,
                self.typical_p > 0.0 && self.typical_p <= 1.0,
                "over 0 and at most 1",
            ),
            (
                "repetition_penalty",
                self.repetition_penalty,
                self.repetition_penalty > 0.0 && self.repetition_penalty.is_finite(),
                "over 0",
            ),
        ];
        match in_range.into_iter().find(|(_, _, ok, _)| !ok) {
            Some((name, found, _, expected)) => Err(ParamsError { name, found, expected }),
            None => Ok(()),
        }
    }
}
