//! The sampling settings as a visitor edits them: text in fields, checked when
//! drafts are asked for.

use crate::web::protocol::{Params, Request};

/// One field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Setting {
    Temperature,
    TopK,
    TopP,
    MinP,
    TypicalP,
    RepetitionPenalty,
    NoRepeatNgram,
    MaxTokens,
    Seed,
}

/// How a field is shown.
pub struct Field {
    pub setting: Setting,
    pub id: &'static str,
    pub label: &'static str,
    /// Its effect in a sentence.
    pub hint: &'static str,
    pub min: &'static str,
    pub max: &'static str,
    pub step: &'static str,
    pub placeholder: &'static str,
}

/// Every field, in the order shown.
pub const FIELDS: [Field; 9] = [
    Field {
        setting: Setting::Temperature,
        id: "temperature",
        label: "Temperature",
        hint: "Higher is more surprising; 0 always takes the likeliest word.",
        min: "0",
        max: "10",
        step: "0.05",
        placeholder: "1",
    },
    Field {
        setting: Setting::TopK,
        id: "top-k",
        label: "Top k",
        hint: "Choose among this many likeliest tokens; 0 is all.",
        min: "0",
        max: "1000000",
        step: "1",
        placeholder: "50",
    },
    Field {
        setting: Setting::TopP,
        id: "top-p",
        label: "Top p",
        hint: "Choose among the likeliest tokens up to this probability; 1 is all.",
        min: "0.01",
        max: "1",
        step: "0.01",
        placeholder: "0.95",
    },
    Field {
        setting: Setting::MinP,
        id: "min-p",
        label: "Min p",
        hint: "Drop tokens below this share of the likeliest; 0 drops none.",
        min: "0",
        max: "1",
        step: "0.01",
        placeholder: "0",
    },
    Field {
        setting: Setting::TypicalP,
        id: "typical-p",
        label: "Typical p",
        hint: "Prefer tokens of ordinary surprise; 1 is off.",
        min: "0.01",
        max: "1",
        step: "0.01",
        placeholder: "1",
    },
    Field {
        setting: Setting::RepetitionPenalty,
        id: "repetition-penalty",
        label: "Repetition penalty",
        hint: "Above 1 discourages words already used.",
        min: "0.01",
        max: "10",
        step: "0.01",
        placeholder: "1",
    },
    Field {
        setting: Setting::NoRepeatNgram,
        id: "no-repeat-ngram",
        label: "No repeat of",
        hint: "Never repeat a run of this many tokens; 0 is off.",
        min: "0",
        max: "1000",
        step: "1",
        placeholder: "0",
    },
    Field {
        setting: Setting::MaxTokens,
        id: "max-tokens",
        label: "Most tokens",
        hint: "Start and draft together.",
        min: "2",
        max: "100000",
        step: "1",
        placeholder: "160",
    },
    Field {
        setting: Setting::Seed,
        id: "seed",
        label: "Seed",
        hint: "The same seed gives the same drafts; empty draws a new one each time.",
        min: "0",
        max: "",
        step: "1",
        placeholder: "random",
    },
];

/// The fields' texts; an empty one means its default.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Settings {
    texts: [String; FIELDS.len()],
}

impl Settings {
    pub fn text(&self, setting: Setting) -> &str {
        &self.texts[setting as usize]
    }

    pub fn set(&mut self, setting: Setting, text: &str) {
        self.texts[setting as usize] = text.trim().to_owned();
    }

    /// Every field to its default, but for the seed.
    pub fn reset(&mut self) {
        let seed = std::mem::take(&mut self.texts[Setting::Seed as usize]);
        *self = Self::default();
        self.texts[Setting::Seed as usize] = seed;
    }

    /// The request they make, or a sentence about the first field that makes none.
    pub fn request(&self, prompt: &str, drafts: usize, random_seed: u64) -> Result<Request, String> {
        let classic = Params::default();
        let sampling = Params {
            temperature: self.number(Setting::Temperature, classic.temperature)?,
            top_k: self.number(Setting::TopK, classic.top_k)?,
            top_p: self.number(Setting::TopP, classic.top_p)?,
            min_p: self.number(Setting::MinP, classic.min_p)?,
            typical_p: self.number(Setting::TypicalP, classic.typical_p)?,
            repetition_penalty: self.number(Setting::RepetitionPenalty, classic.repetition_penalty)?,
            no_repeat_ngram: self.number(Setting::NoRepeatNgram, classic.no_repeat_ngram)?,
        };
        sampling.validate().map_err(|error| format!("Sampling settings: {error}."))?;
        let max_tokens = match self.text(Setting::MaxTokens) {
            "" => None,
            _ => Some(self.number(Setting::MaxTokens, 0)?),
        };
        let seed = self.number(Setting::Seed, random_seed)?;
        Ok(Request { prompt: prompt.into(), drafts, max_tokens, seed, sampling, ..Request::default() })
    }

    fn number<T: std::str::FromStr>(&self, setting: Setting, default: T) -> Result<T, String> {
        let text = self.text(setting);
        if text.is_empty() {
            return Ok(default);
        }
        let field = &FIELDS[setting as usize];
        text.parse().map_err(|_| format!("“{text}” is no number for {}.", field.label))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_stand_in_the_order_of_their_settings() {
        for (index, field) in FIELDS.iter().enumerate() {
            assert_eq!(field.setting as usize, index, "{}", field.label);
        }
    }

    #[test]
    fn empty_fields_are_the_originals_settings() {
        let request = Settings::default().request("My dream is", 5, 42).unwrap();
        let expected = Request { prompt: "My dream is".into(), seed: 42, ..Request::default() };
        assert_eq!(request, expected);
    }

    #[test]
    fn a_field_that_is_no_number_is_named() {
        let mut settings = Settings::default();
        settings.set(Setting::TopK, "many");
        assert_eq!(settings.request("", 5, 0).unwrap_err(), "“many” is no number for Top k.");
        settings.set(Setting::TopK, "");
        settings.set(Setting::TopP, "1.5");
        assert!(settings.request("", 5, 0).unwrap_err().contains("top_p"));
    }

    #[test]
    fn reset_keeps_the_seed() {
        let mut settings = Settings::default();
        settings.set(Setting::Temperature, "0.2");
        settings.set(Setting::Seed, "7");
        settings.reset();
        let request = settings.request("", 5, 0).unwrap();
        assert_eq!((request.sampling, request.seed), (Params::default(), 7));
    }
}
