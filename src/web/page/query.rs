//! The page's URL parameters.

use std::borrow::Cow;

use super::{link::Shared, settings::Setting};
use crate::web::protocol::{BackendChoice, Precision};

/// The parsed URL parameters. Missing and empty parameters keep the default, except an empty
/// `prompt`.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// As written; it may be relative to the page.
    pub model: Option<String>,
    pub precision: Precision,
    pub prompt: Option<String>,
    pub seed: Option<u64>,
    pub backend: BackendChoice,
    /// For `threads`, `simd` and `memory`, `None` leaves the choice to what the browser supports.
    pub threads: Option<usize>,
    pub simd: Option<Simd>,
    pub memory: Option<Memory>,
    /// For the bench page: tokens per draft, drafts, runs.
    pub tokens: usize,
    pub drafts: usize,
    pub runs: usize,
    /// Sampling settings, as the texts of their fields.
    pub settings: Vec<(Setting, String)>,
    /// For a link to one draft: which, and how to verify it.
    pub shared: Option<Shared>,
    /// The first invalid parameter.
    pub problem: Option<BadParameter>,
}

/// A parameter with an invalid value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadParameter {
    pub name: String,
    pub value: String,
    /// Valid values, in a form that needs no translation.
    pub expected: Cow<'static, str>,
}

/// Vector instructions of the engine's build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Simd {
    Relaxed,
    Plain,
}

impl Simd {
    pub fn name(self) -> &'static str {
        match self {
            Self::Relaxed => "relaxed",
            Self::Plain => "plain",
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::Relaxed, Self::Plain].into_iter().find(|simd| simd.name() == name)
    }
}

/// Memory of the engine's build: threads need it shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    Shared,
    Single,
}

impl Memory {
    pub fn name(self) -> &'static str {
        match self {
            Self::Shared => "shared",
            Self::Single => "single",
        }
    }

    fn named(name: &str) -> Option<Self> {
        [Self::Shared, Self::Single].into_iter().find(|memory| memory.name() == name)
    }
}

impl Default for Query {
    fn default() -> Self {
        Self {
            model: None,
            precision: Precision::Q8_0,
            prompt: None,
            seed: None,
            backend: BackendChoice::Auto,
            threads: None,
            simd: None,
            memory: None,
            tokens: 64,
            drafts: 1,
            runs: 3,
            settings: Vec::new(),
            shared: None,
            problem: None,
        }
    }
}

impl Query {
    /// Parses decoded name and value pairs; unknown names are ignored.
    pub fn parse(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut query = Self::default();
        for (name, value) in pairs {
            // Only the prompt may be empty.
            if (name == "prompt" || !value.trim().is_empty())
                && let Err(expected) = query.set(&name, &value)
            {
                query.problem.get_or_insert(BadParameter { name, value, expected });
            }
        }
        query
    }

    fn set(&mut self, name: &str, value: &str) -> Result<(), Cow<'static, str>> {
        match name {
            "model" => self.model = Some(value.trim().to_owned()),
            "prompt" => self.prompt = Some(value.to_owned()),
            "precision" => {
                let known = value.parse().ok().filter(|p| *p != Precision::F32);
                self.precision = known.ok_or("q8_0, q4_0")?;
            }
            "backend" => {
                self.backend = BackendChoice::named(value).ok_or("auto, webgpu, simd, scalar")?;
            }
            "seed" => self.seed = Some(value.parse().map_err(|_| "0, 1, 2…")?),
            "threads" => self.threads = Some(count(value, 256)?),
            "simd" => self.simd = Some(Simd::named(value).ok_or("relaxed, plain")?),
            "memory" => self.memory = Some(Memory::named(value).ok_or("shared, single")?),
            "tokens" => self.tokens = count(value, 100_000)?,
            "drafts" => self.drafts = count(value, 256)?,
            "runs" => self.runs = count(value, 1000)?,
            "draft" => self.shared().draft = count(value, super::state::DRAFTS)? - 1,
            "bot" => self.shared().bot = Some(value.to_owned()),
            "engine" => self.shared().engine = Some(value.to_owned()),
            "digest" => self.shared().digest = Some(value.to_owned()),
            "min_new_tokens" => self.shared().min_new_tokens = count(value, 1000)?,
            _ => {
                if let Some(setting) = Setting::named(name) {
                    self.settings.push((setting, value.trim().to_owned()));
                }
            }
        }
        Ok(())
    }

    fn shared(&mut self) -> &mut Shared {
        self.shared.get_or_insert_default()
    }
}

/// Parses a number from 1 to `most`.
fn count(value: &str, most: usize) -> Result<usize, Cow<'static, str>> {
    let in_range = value.parse().ok().filter(|n| (1..=most).contains(n));
    in_range.ok_or_else(|| format!("1–{most}").into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(pairs: &[(&str, &str)]) -> Query {
        Query::parse(pairs.iter().map(|(n, v)| (n.to_string(), v.to_string())))
    }

    #[test]
    fn an_empty_address_is_the_default() {
        assert_eq!(parse(&[]), Query::default());
        assert_eq!(parse(&[("model", ""), ("utm_source", "x")]), Query::default());
    }

    #[test]
    fn every_parameter_is_read() {
        let query = parse(&[
            ("model", "https://example.org/bot/"),
            ("precision", "q4_0"),
            ("prompt", "I say "),
            ("seed", "18446744073709551615"),
            ("backend", "scalar"),
            ("threads", "4"),
            ("simd", "plain"),
            ("memory", "single"),
        ]);
        assert_eq!(query.model.as_deref(), Some("https://example.org/bot/"));
        assert_eq!(query.precision, Precision::Q4_0);
        assert_eq!(query.prompt.as_deref(), Some("I say "));
        assert_eq!(query.seed, Some(u64::MAX));
        assert_eq!(query.backend, BackendChoice::Scalar);
        assert_eq!((query.simd, query.memory), (Some(Simd::Plain), Some(Memory::Single)));
        assert_eq!((query.threads, query.problem), (Some(4), None));
    }

    #[test]
    fn a_link_to_a_draft_brings_its_settings() {
        let query = parse(&[("draft", "3"), ("digest", "00ff"), ("top_k", "7"), ("max_tokens", "60")]);
        let shared = query.shared.unwrap();
        assert_eq!((shared.draft, shared.digest.as_deref()), (2, Some("00ff")));
        let settings = [(Setting::TopK, "7".to_owned()), (Setting::MaxTokens, "60".to_owned())];
        assert_eq!(query.settings, settings);
    }

    #[test]
    fn a_number_out_of_range_is_answered_with_the_range() {
        let expected = |name, value| parse(&[(name, value)]).problem.map(|problem| problem.expected);
        assert_eq!(expected("draft", "5"), None);
        for value in ["0", "6", "-1", "two"] {
            assert_eq!(expected("draft", value).as_deref(), Some("1–5"), "{value}");
        }
        assert_eq!(expected("threads", "300").as_deref(), Some("1–256"));
    }

    #[test]
    fn a_value_out_of_range_is_said_once_and_keeps_the_default() {
        let query = parse(&[("precision", "f32"), ("threads", "0"), ("seed", "7")]);
        let problem =
            BadParameter { name: "precision".into(), value: "f32".into(), expected: "q8_0, q4_0".into() };
        assert_eq!(query.problem, Some(problem));
        assert_eq!((query.precision, query.threads, query.seed), (Precision::Q8_0, None, Some(7)));
    }
}
