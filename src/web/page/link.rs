//! The URL of one draft: what produced it, and how to verify the result.
//!
//! The CPU engine gives the same tokens on every machine, so seed, settings and bot are enough to
//! reproduce a draft; digests of the bot's weights and of the draft's tokens show whether they
//! matched.

use super::{
    draft::Draft,
    settings::{FIELDS, Setting, Settings},
};
use crate::web::protocol::Precision;

/// The version of this engine.
pub const ENGINE: &str = env!("CARGO_PKG_VERSION");

/// Hexadecimal digits of a digest in a URL.
const DIGITS: usize = 16;

/// What a link says about its draft, besides the page's other parameters.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Shared {
    /// The card, from 0, which is also the random stream of the seed.
    pub draft: usize,
    /// The first digits of the weights' SHA-256.
    pub bot: Option<String>,
    /// The version that wrote it, with `-webgpu` if it ran on a GPU.
    pub engine: Option<String>,
    /// [`crate::generate::token_digest`] of its tokens.
    pub digest: Option<String>,
    /// Above 0 for a draft that continues another.
    pub min_new_tokens: usize,
}

/// Whether the draft written here is the one that was shared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Same,
    /// The weights at this address are not those that wrote it.
    OtherBot,
    /// The tokens differ, and so does the engine's version, or a GPU computed it.
    OtherEngine,
    /// The tokens differ for no known reason: the link was changed, or this machine computes
    /// incorrectly.
    OtherDraft,
    /// The link has no digest to compare.
    Unknown,
}

impl Shared {
    /// Compares with what this page's engine wrote.
    pub fn verdict(&self, weights_sha256: Option<&str>, digest: &str) -> Verdict {
        let begins = |whole: Option<&str>, start: &Option<String>| match (whole, start) {
            (Some(whole), Some(start)) => whole.starts_with(start.as_str()),
            _ => true,
        };
        match &self.digest {
            None => Verdict::Unknown,
            Some(expected) if expected == digest => Verdict::Same,
            Some(_) if !begins(weights_sha256, &self.bot) => Verdict::OtherBot,
            Some(_) if self.engine.as_deref().is_some_and(|engine| engine != ENGINE) => Verdict::OtherEngine,
            Some(_) => Verdict::OtherDraft,
        }
    }
}

/// The URL parameters that reproduce a draft, if that is possible. `model` and `precision` are the
/// page's.
pub fn parameters(
    model: Option<&str>,
    precision: Precision,
    draft: &Draft,
    weights_sha256: Option<&str>,
) -> Option<Vec<(&'static str, String)>> {
    let draft = Some(draft).filter(|draft| draft.is_repeatable())?;
    let (request, digest) = (draft.made_by.as_ref()?, draft.digest.as_deref()?);
    let mut parameters = Vec::new();
    parameters.extend(model.map(|model| ("model", model.to_owned())));
    if precision != Precision::Q8_0 {
        parameters.push(("precision", precision.to_string()));
    }
    parameters.push(("prompt", request.prompt.clone()));
    parameters.push(("seed", request.seed.to_string()));
    let settings = Settings::of(request);
    for field in &FIELDS {
        let text = settings.text(field.setting);
        if field.setting != Setting::Seed && !text.is_empty() {
            parameters.push((field.term, text.to_owned()));
        }
    }
    if request.min_new_tokens > 0 {
        parameters.push(("min_new_tokens", request.min_new_tokens.to_string()));
    }
    let stream = request.streams.first().copied().unwrap_or(0) + 1;
    parameters.push(("draft", stream.to_string()));
    parameters.extend(weights_sha256.and_then(|sha| sha.get(..DIGITS)).map(|sha| ("bot", sha.to_owned())));
    let engine = if draft.on_gpu { format!("{ENGINE}-webgpu") } else { ENGINE.into() };
    parameters.push(("engine", engine));
    parameters.push(("digest", digest.into()));
    // The same on every machine; other backends need not be.
    parameters.push(("backend", "simd".into()));
    Some(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        generate::token_digest,
        web::{
            page::query::Query,
            protocol::{EndReason, Params, Request},
        },
    };

    const SHA256: &str = "0123456789abcdef0123";

    fn finished(request: &Request) -> Draft {
        let digest = Some(token_digest(&[1, 2]));
        Draft { writing: false, end: Some(EndReason::EndOfText), digest, ..Draft::begin(request, 0) }
    }

    fn query(model: Option<&str>, draft: &Draft) -> Query {
        let parameters = parameters(model, Precision::Q4_0, draft, Some(SHA256)).unwrap();
        Query::parse(parameters.into_iter().map(|(name, value)| (name.to_owned(), value)))
    }

    #[test]
    fn an_address_brings_back_what_made_the_draft() {
        let sampling = Params { temperature: 1.3, top_k: 0, min_p: 0.02, ..Params::default() };
        let request = Request {
            prompt: "My dream & more".into(),
            drafts: 1,
            streams: vec![3],
            seed: 99,
            max_tokens: Some(70),
            min_new_tokens: 8,
            sampling,
            ..Request::default()
        };
        let draft = finished(&request);
        let query = query(Some("https://a.example/b/"), &draft);
        assert_eq!(query.problem, None);
        assert_eq!(
            (query.model.as_deref(), query.precision),
            (Some("https://a.example/b/"), Precision::Q4_0)
        );
        assert_eq!((query.prompt.as_deref(), query.seed), (Some("My dream & more"), Some(99)));
        let mut settings = Settings::default();
        for (setting, text) in &query.settings {
            settings.set(*setting, text);
        }
        let made = settings.request("", 1, 99).unwrap();
        assert_eq!((made.sampling, made.max_tokens), (sampling, Some(70)));
        let shared = query.shared.unwrap();
        assert_eq!((shared.draft, shared.min_new_tokens), (3, 8));
        assert_eq!(shared.verdict(Some(SHA256), &draft.digest.unwrap()), Verdict::Same);
    }

    #[test]
    fn a_start_comes_back_whatever_it_is() {
        for prompt in ["", "two\nlines", "\u{5e9}\u{5dc}\u{5d5}\u{5dd} a=b&c"] {
            let request = Request { prompt: prompt.into(), ..Request::default() };
            assert_eq!(query(None, &finished(&request)).prompt.as_deref(), Some(prompt));
        }
    }

    #[test]
    fn a_stopped_draft_has_no_address() {
        let draft = Draft { end: Some(EndReason::Stopped), ..finished(&Request::default()) };
        assert_eq!(parameters(None, Precision::Q8_0, &draft, None), None);
    }

    #[test]
    fn a_gpus_draft_need_not_be_the_processors() {
        let draft = Draft { on_gpu: true, ..finished(&Request::default()) };
        let shared = query(None, &draft).shared.unwrap();
        assert_eq!(shared.verdict(Some(SHA256), &draft.digest.unwrap()), Verdict::Same);
        assert_eq!(shared.verdict(Some(SHA256), "another"), Verdict::OtherEngine);
    }

    #[test]
    fn what_differs_is_said_with_its_reason() {
        let link = Shared {
            bot: Some("01".into()),
            engine: Some(ENGINE.into()),
            digest: Some("aa".into()),
            ..Shared::default()
        };
        assert_eq!(link.verdict(Some("01ff"), "aa"), Verdict::Same);
        assert_eq!(link.verdict(Some("02ff"), "bb"), Verdict::OtherBot);
        assert_eq!(link.verdict(Some("01ff"), "bb"), Verdict::OtherDraft);
        let old = Shared { engine: Some("0.0.1".into()), ..link };
        assert_eq!(old.verdict(None, "bb"), Verdict::OtherEngine);
        assert_eq!(Shared::default().verdict(None, "bb"), Verdict::Unknown);
    }
}
