//! The sampling settings as a visitor edits them: text fields, validated when drafts are requested.

use super::word::Word;
use crate::web::protocol::{Params, Request};

/// A setting, and its field.
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
    /// The setting's name in this project, in `transformers` and in URLs.
    pub term: &'static str,
    /// Its name in plain words.
    pub label: Word,
    /// Its effect in one sentence.
    pub hint: Word,
    /// The value of an empty field; empty if that is random.
    pub default: &'static str,
    /// Valid values, in symbols.
    pub range: &'static str,
}

/// Every field, in the order shown.
pub const FIELDS: [Field; 9] = [
    Field {
        setting: Setting::Temperature,
        id: "temperature",
        term: "temperature",
        label: Word::Temperature,
        hint: Word::TemperatureHint,
        default: "1",
        range: "≥ 0",
    },
    Field {
        setting: Setting::TopK,
        id: "top-k",
        term: "top_k",
        label: Word::TopK,
        hint: Word::TopKHint,
        default: "50",
        range: "0, 1, 2…",
    },
    Field {
        setting: Setting::TopP,
        id: "top-p",
        term: "top_p",
        label: Word::TopP,
        hint: Word::TopPHint,
        default: "0.95",
        range: "0 < p ≤ 1",
    },
    Field {
        setting: Setting::MinP,
        id: "min-p",
        term: "min_p",
        label: Word::MinP,
        hint: Word::MinPHint,
        default: "0",
        range: "0 ≤ p ≤ 1",
    },
    Field {
        setting: Setting::TypicalP,
        id: "typical-p",
        term: "typical_p",
        label: Word::TypicalP,
        hint: Word::TypicalPHint,
        default: "1",
        range: "0 < p ≤ 1",
    },
    Field {
        setting: Setting::RepetitionPenalty,
        id: "repetition-penalty",
        term: "repetition_penalty",
        label: Word::RepetitionPenalty,
        hint: Word::RepetitionPenaltyHint,
        default: "1",
        range: "> 0",
    },
    Field {
        setting: Setting::NoRepeatNgram,
        id: "no-repeat-ngram",
        term: "no_repeat_ngram_size",
        label: Word::NoRepeatNgram,
        hint: Word::NoRepeatNgramHint,
        default: "0",
        range: "0, 1, 2…",
    },
    Field {
        setting: Setting::MaxTokens,
        id: "max-tokens",
        term: "max_tokens",
        label: Word::MaxTokens,
        hint: Word::MaxTokensHint,
        default: "160",
        range: "2, 3, 4…",
    },
    Field {
        setting: Setting::Seed,
        id: "seed",
        term: "seed",
        label: Word::Seed,
        hint: Word::SeedHint,
        default: "",
        range: "0, 1, 2…",
    },
];

impl Setting {
    /// The setting of this name in URLs.
    pub fn named(term: &str) -> Option<Self> {
        FIELDS.iter().find(|field| field.term == term).map(|field| field.setting)
    }

    pub fn field(self) -> &'static Field {
        &FIELDS[self as usize]
    }
}

/// A named set of sampling settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preset {
    /// The original's settings.
    Classic,
    Calm,
    Wild,
}

impl Preset {
    pub const ALL: [Self; 3] = [Self::Classic, Self::Calm, Self::Wild];

    pub fn params(self) -> Params {
        let classic = Params::default();
        match self {
            Self::Classic => classic,
            Self::Calm => Params { temperature: 0.7, top_k: 40, top_p: 0.9, ..classic },
            Self::Wild => Params { temperature: 1.3, top_k: 0, top_p: 0.98, min_p: 0.02, ..classic },
        }
    }

    /// Its name, and its effect in one sentence.
    pub fn words(self) -> (Word, Word) {
        match self {
            Self::Classic => (Word::Classic, Word::ClassicHint),
            Self::Calm => (Word::Calm, Word::CalmHint),
            Self::Wild => (Word::Wild, Word::WildHint),
        }
    }
}

/// A field without a valid value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadSetting {
    pub setting: Setting,
    /// The text in the field.
    pub found: String,
}

/// The fields' texts; an empty one means its default.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Settings {
    texts: [String; FIELDS.len()],
}

impl Settings {
    /// Returns the fields of a request; defaults stay empty, and so does the seed.
    pub fn of(request: &Request) -> Self {
        let mut settings = Self::default();
        settings.take(&request.sampling);
        if let Some(tokens) = request.max_tokens {
            settings.set(Setting::MaxTokens, &tokens.to_string());
        }
        settings
    }

    pub fn text(&self, setting: Setting) -> &str {
        &self.texts[setting as usize]
    }

    pub fn set(&mut self, setting: Setting, text: &str) {
        self.texts[setting as usize] = text.trim().to_owned();
    }

    /// Resets every field except the seed.
    pub fn reset(&mut self) {
        let seed = std::mem::take(&mut self.texts[Setting::Seed as usize]);
        *self = Self::default();
        self.texts[Setting::Seed as usize] = seed;
    }

    /// Applies a preset's sampling; length and seed stay.
    pub fn choose(&mut self, preset: Preset) {
        self.take(&preset.params());
    }

    /// The preset that the fields equal.
    pub fn preset(&self) -> Option<Preset> {
        let sampling = self.sampling().ok()?;
        Preset::ALL.into_iter().find(|preset| preset.params() == sampling)
    }

    /// Builds a request from the fields; the error is the first invalid field.
    pub fn request(&self, prompt: &str, drafts: usize, random_seed: u64) -> Result<Request, BadSetting> {
        let sampling = self.sampling()?;
        if let Err(error) = sampling.validate() {
            let setting = Setting::named(error.name).unwrap_or(Setting::Temperature);
            return Err(BadSetting { setting, found: self.text(setting).to_owned() });
        }
        let max_tokens = match self.text(Setting::MaxTokens) {
            "" => None,
            _ => Some(self.number(Setting::MaxTokens, 0)?),
        };
        let seed = self.number(Setting::Seed, random_seed)?;
        Ok(Request { prompt: prompt.into(), drafts, max_tokens, seed, sampling, ..Request::default() })
    }

    fn sampling(&self) -> Result<Params, BadSetting> {
        let classic = Params::default();
        Ok(Params {
            temperature: self.number(Setting::Temperature, classic.temperature)?,
            top_k: self.number(Setting::TopK, classic.top_k)?,
            top_p: self.number(Setting::TopP, classic.top_p)?,
            min_p: self.number(Setting::MinP, classic.min_p)?,
            typical_p: self.number(Setting::TypicalP, classic.typical_p)?,
            repetition_penalty: self.number(Setting::RepetitionPenalty, classic.repetition_penalty)?,
            no_repeat_ngram: self.number(Setting::NoRepeatNgram, classic.no_repeat_ngram)?,
        })
    }

    fn take(&mut self, sampling: &Params) {
        let texts = [
            (Setting::Temperature, sampling.temperature.to_string()),
            (Setting::TopK, sampling.top_k.to_string()),
            (Setting::TopP, sampling.top_p.to_string()),
            (Setting::MinP, sampling.min_p.to_string()),
            (Setting::TypicalP, sampling.typical_p.to_string()),
            (Setting::RepetitionPenalty, sampling.repetition_penalty.to_string()),
            (Setting::NoRepeatNgram, sampling.no_repeat_ngram.to_string()),
        ];
        for (setting, text) in texts {
            let text = if text == setting.field().default { "" } else { &text };
            self.set(setting, text);
        }
    }

    fn number<T: std::str::FromStr>(&self, setting: Setting, default: T) -> Result<T, BadSetting> {
        let text = self.text(setting);
        if text.is_empty() {
            return Ok(default);
        }
        // Most languages have a decimal comma, and a phone's keyboard may offer nothing else.
        text.replace(',', ".").parse().map_err(|_| BadSetting { setting, found: text.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_stand_in_the_order_of_their_settings() {
        for (index, field) in FIELDS.iter().enumerate() {
            assert_eq!(field.setting as usize, index, "{}", field.term);
        }
    }

    #[test]
    fn empty_fields_are_the_originals_settings() {
        let request = Settings::default().request("My dream is", 5, 42).unwrap();
        let expected = Request { prompt: "My dream is".into(), seed: 42, ..Request::default() };
        assert_eq!(request, expected);
    }

    #[test]
    fn the_defaults_shown_are_those_meant() {
        let mut settings = Settings::default();
        for field in FIELDS.iter().filter(|field| field.setting != Setting::MaxTokens) {
            settings.set(field.setting, field.default);
        }
        assert_eq!(settings.request("", 5, 0).unwrap(), Settings::default().request("", 5, 0).unwrap());
        assert_eq!(Setting::MaxTokens.field().default, crate::generate::DEFAULT_MAX_TOKENS.to_string());
    }

    #[test]
    fn a_field_that_is_no_number_or_out_of_range_is_named() {
        let mut settings = Settings::default();
        settings.set(Setting::TopK, "many");
        let bad = BadSetting { setting: Setting::TopK, found: "many".into() };
        assert_eq!(settings.request("", 5, 0).unwrap_err(), bad);
        settings.set(Setting::TopK, "");
        settings.set(Setting::TopP, "1.5");
        assert_eq!(settings.request("", 5, 0).unwrap_err().setting, Setting::TopP);
    }

    #[test]
    fn a_decimal_comma_is_read_and_stays_on_this_page() {
        let mut settings = Settings::default();
        settings.set(Setting::Temperature, "0,7");
        settings.set(Setting::TopP, " ,9 ");
        let request = settings.request("", 5, 0).unwrap();
        assert_eq!((request.sampling.temperature, request.sampling.top_p), (0.7, 0.9));
        assert_eq!(settings.text(Setting::Temperature), "0,7", "as it was typed");
        assert_eq!(Settings::of(&request).text(Setting::Temperature), "0.7", "what links are made of");
        settings.set(Setting::Temperature, "0,7,5");
        let bad = BadSetting { setting: Setting::Temperature, found: "0,7,5".into() };
        assert_eq!(settings.request("", 5, 0).unwrap_err(), bad);
        settings.set(Setting::Temperature, "");
        settings.set(Setting::TopK, "1,000");
        assert_eq!(settings.request("", 5, 0).unwrap_err().setting, Setting::TopK);
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

    #[test]
    fn a_preset_fills_the_fields_and_is_known_again() {
        let mut settings = Settings::default();
        settings.set(Setting::Seed, "7");
        assert_eq!(settings.preset(), Some(Preset::Classic));
        for preset in Preset::ALL {
            settings.choose(preset);
            assert_eq!(settings.preset(), Some(preset));
            let request = settings.request("", 5, 0).unwrap();
            assert_eq!((request.sampling, request.seed), (preset.params(), 7));
        }
        settings.set(Setting::TopK, "3");
        assert_eq!(settings.preset(), None);
        settings.choose(Preset::Classic);
        settings.set(Setting::Seed, "");
        assert_eq!(settings, Settings::default());
    }
}
