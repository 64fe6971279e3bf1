//! The interface's sentences: one file per language (`www/words/*.json`), all with the same keys.
//! English is built in; other languages are fetched on demand.

use std::{collections::BTreeMap, ops::Index};

use thiserror::Error;

use super::word::{COUNT, NAMES, Word};

/// A language of the interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Language {
    #[default]
    English,
    Spanish,
    French,
    German,
    Portuguese,
    Japanese,
}

impl Language {
    pub const ALL: [Self; 6] =
        [Self::English, Self::Spanish, Self::French, Self::German, Self::Portuguese, Self::Japanese];

    /// ISO 639 code: the document's `lang`, and the name of the file.
    pub fn code(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::Spanish => "es",
            Self::French => "fr",
            Self::German => "de",
            Self::Portuguese => "pt",
            Self::Japanese => "ja",
        }
    }

    /// Its name in the language itself.
    pub fn own_name(self) -> &'static str {
        match self {
            Self::English => "English",
            Self::Spanish => "Español",
            Self::French => "Français",
            Self::German => "Deutsch",
            Self::Portuguese => "Português",
            Self::Japanese => "日本語",
        }
    }

    /// The language of a tag such as `pt-BR`.
    pub fn of_tag(tag: &str) -> Option<Self> {
        let primary = tag.split(['-', '_']).next().unwrap_or_default();
        Self::ALL.into_iter().find(|language| language.code().eq_ignore_ascii_case(primary))
    }

    /// The first of the visitor's languages that the interface has; else English.
    pub fn pick<'a>(tags: impl IntoIterator<Item = &'a str>) -> Self {
        tags.into_iter().find_map(Self::of_tag).unwrap_or_default()
    }
}

/// All sentences in one language.
#[derive(Debug, Clone, PartialEq)]
pub struct Words {
    pub language: Language,
    texts: Vec<String>,
}

/// An invalid file of sentences.
#[derive(Debug, PartialEq, Error)]
pub enum WordsError {
    #[error("the file of sentences is not JSON: {0}")]
    Json(String),
    #[error("the file of sentences has none for {0}")]
    Missing(&'static str),
}

impl Words {
    /// The sentences built into the program.
    pub fn english() -> Self {
        // A test reads every file, so this one can be parsed.
        Self::parse(Language::English, include_str!("../../../www/words/en.json")).unwrap_or(Self {
            language: Language::English,
            texts: NAMES.iter().map(|name| (*name).to_owned()).collect(),
        })
    }

    /// Parses a language's file: an object with a string for every [`Word`].
    ///
    /// # Errors
    /// If it is not JSON, or a sentence is missing.
    pub fn parse(language: Language, json: &str) -> Result<Self, WordsError> {
        let mut found: BTreeMap<String, String> =
            serde_json::from_str(json).map_err(|error| WordsError::Json(error.to_string()))?;
        let take = |name: &&'static str| found.remove(*name).ok_or(WordsError::Missing(name));
        let texts = NAMES.iter().map(take).collect::<Result<Vec<_>, _>>()?;
        Ok(Self { language, texts })
    }

    /// Returns the sentence with each `{name}` replaced by its value.
    pub fn fill(&self, word: Word, values: &[(&str, &str)]) -> String {
        fill(&self[word], values)
    }
}

impl Index<Word> for Words {
    type Output = str;

    fn index(&self, word: Word) -> &str {
        debug_assert_eq!(self.texts.len(), COUNT);
        self.texts.get(word as usize).map_or("", String::as_str)
    }
}

/// Replaces each `{name}` from left to right, but none inside the values.
fn fill(sentence: &str, values: &[(&str, &str)]) -> String {
    let mut text = String::with_capacity(sentence.len() + 16);
    let mut rest = sentence;
    while let Some(open) = rest.find('{') {
        let (before, at) = rest.split_at(open);
        text.push_str(before);
        let Some(close) = at.find('}') else {
            rest = at;
            break;
        };
        match values.iter().find(|(name, _)| *name == &at[1..close]) {
            Some((_, value)) => text.push_str(value),
            None => text.push_str(&at[..=close]),
        }
        rest = &at[close + 1..];
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn file(language: Language) -> BTreeMap<String, String> {
        let path = format!("{}/www/words/{}.json", env!("CARGO_MANIFEST_DIR"), language.code());
        serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
    }

    /// The `{names}` in a sentence.
    fn places(sentence: &str) -> BTreeSet<&str> {
        sentence.split('{').skip(1).map(|rest| rest.split('}').next().unwrap()).collect()
    }

    #[test]
    fn every_language_has_every_sentence_and_no_other() {
        for language in Language::ALL {
            let names: Vec<_> = file(language).into_keys().collect();
            let expected: BTreeSet<_> = NAMES.iter().map(|name| (*name).to_owned()).collect();
            assert_eq!(names, expected.into_iter().collect::<Vec<_>>(), "{}", language.code());
        }
    }

    #[test]
    fn every_language_fills_the_same_places_and_leaves_none_empty() {
        let english = file(Language::English);
        for language in Language::ALL {
            for (name, sentence) in file(language) {
                assert_eq!(places(&sentence), places(&english[&name]), "{name} in {}", language.code());
                assert!(!sentence.trim().is_empty(), "{name} in {}", language.code());
            }
        }
    }

    #[test]
    fn the_browser_picks_the_first_language_known() {
        assert_eq!(Language::pick(["nl", "pt-BR", "en"]), Language::Portuguese);
        assert_eq!(Language::pick(["nl"]), Language::English);
        assert_eq!(Language::of_tag("JA_jp"), Some(Language::Japanese));
    }

    #[test]
    fn values_are_put_in_once() {
        assert_eq!(fill("{a} and {b} {c} {", &[("a", "{b}"), ("b", "2")]), "{b} and 2 {c} {");
        assert!(Words::parse(Language::English, "{}").is_err());
        assert_eq!(&Words::english()[Word::Generate], "Generate tweets");
    }
}
