//! Bots that were opened on this device, and what a visitor pastes to open
//! another one.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Bots remembered; the oldest go.
const MOST: usize = 12;

/// Stands in for the address of files that the visitor gave: a name that no
/// network has (RFC 6761).
const LOCAL: &str = "https://local.invalid/";

/// Where a bot is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    /// Absolute URL of a bundle folder, or of a `.gguf` file.
    pub model: String,
    /// Files that the visitor gave, name -> object URL; else empty.
    pub files: BTreeMap<String, String>,
    /// Size of the weights among them.
    pub bytes: Option<u64>,
}

/// A bot that was opened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    pub model: String,
    pub name: String,
    /// Size of its weights.
    pub bytes: u64,
    pub sha256: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bots {
    known: Vec<Known>,
}

/// What was pasted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    Url(String),
    /// A repository on the Hugging Face Hub, `owner/name`.
    Hub(String),
}

/// Files that are no bot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoModel;

impl Place {
    pub fn url(model: String) -> Self {
        Self { model, ..Self::default() }
    }

    pub fn is_local(&self) -> bool {
        !self.files.is_empty()
    }

    /// The bot in files that were dropped or chosen: (name, object URL, bytes).
    /// A folder with `bot.json` is a bundle; else the one GGUF is the bot.
    ///
    /// # Errors
    /// There is neither.
    pub fn of_files(
        files: impl IntoIterator<Item = (String, String, u64)>,
        weights: &str,
    ) -> Result<Self, NoModel> {
        let mut place = Self::default();
        let mut ggufs: Vec<(String, u64)> = Vec::new();
        for (name, url, bytes) in files {
            if name.to_ascii_lowercase().ends_with(".gguf") {
                ggufs.push((name.clone(), bytes));
            }
            place.files.insert(name, url);
        }
        let wanted = ggufs.iter().find(|(name, _)| name == weights).or(ggufs.first()).ok_or(NoModel)?;
        let bundle = place.files.contains_key("bot.json") && wanted.0 == weights;
        place.bytes = Some(wanted.1);
        // What a name may hold an address may not.
        let name: String = wanted.0.chars().map(|c| if "?#%/\\".contains(c) { '_' } else { c }).collect();
        place.model = if bundle { LOCAL.into() } else { format!("{LOCAL}{name}") };
        if !bundle && let Some(url) = place.files.remove(&wanted.0) {
            place.files = BTreeMap::from([(name, url)]);
        }
        Ok(place)
    }
}

impl Bots {
    /// What was kept; a text that is none counts as nothing.
    pub fn parse(json: &str) -> Self {
        let mut bots: Self = serde_json::from_str(json).unwrap_or_default();
        bots.known.truncate(MOST);
        bots
    }

    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The last opened first.
    pub fn known(&self) -> &[Known] {
        &self.known
    }

    pub fn remember(&mut self, bot: Known) {
        self.known.retain(|old| old.model != bot.model);
        self.known.insert(0, bot);
        self.known.truncate(MOST);
    }

    pub fn forget(&mut self, model: &str) {
        self.known.retain(|bot| bot.model != model);
    }
}

impl Address {
    /// Reads what was pasted; `None` where it is neither a web address nor a
    /// repository's name.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let hub = ["https://huggingface.co/", "https://hf.co/", "huggingface.co/", "hf.co/"];
        if let Some(path) = hub.iter().find_map(|prefix| text.strip_prefix(prefix)) {
            // A file or a folder of a repository is an address like any other.
            if path.contains("/resolve/") {
                return Some(Self::Url(text.into()));
            }
            let path = path.split(['?', '#']).next().unwrap_or_default();
            let mut parts = path.split('/').filter(|part| !part.is_empty());
            return Self::repository(parts.next()?, parts.next()?);
        }
        if text.starts_with("https://") || text.starts_with("http://") {
            let host = text.split_once("://")?.1;
            return (!host.is_empty() && !host.contains(char::is_whitespace)).then(|| Self::Url(text.into()));
        }
        let (owner, name) = text.split_once('/')?;
        Self::repository(owner, name.trim_end_matches('/'))
    }

    fn repository(owner: &str, name: &str) -> Option<Self> {
        let good = |part: &str| {
            let begins = part.starts_with(|c: char| c.is_ascii_alphanumeric());
            begins && part.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
        };
        (good(owner) && good(name)).then(|| Self::Hub(format!("{owner}/{name}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(model: &str) -> Known {
        Known { model: model.into(), name: "Lamp".into(), bytes: 5, sha256: None }
    }

    #[test]
    fn the_last_opened_stands_first() {
        let mut bots = Bots::default();
        for model in ["a", "b", "a"] {
            bots.remember(known(model));
        }
        let models = |bots: &Bots| bots.known().iter().map(|b| b.model.clone()).collect::<Vec<_>>();
        assert_eq!(models(&bots), ["a", "b"]);
        assert_eq!(Bots::parse(&bots.to_json()), bots);
        bots.forget("a");
        assert_eq!(models(&bots), ["b"]);
        assert_eq!(Bots::parse("nonsense"), Bots::default());
    }

    #[test]
    fn an_address_or_a_repository_is_known() {
        let hub = |name: &str| Some(Address::Hub(name.into()));
        let url = |text: &str| Some(Address::Url(text.into()));
        for (text, expected) in [
            (" huggingtweets/bot-1 ", hub("huggingtweets/bot-1")),
            ("https://huggingface.co/a/b.c/tree/main?x", hub("a/b.c")),
            ("hf.co/a/b", hub("a/b")),
            ("https://huggingface.co/a/b/resolve/main/", url("https://huggingface.co/a/b/resolve/main/")),
            ("https://example.org/bot/", url("https://example.org/bot/")),
            ("a bot", None),
            ("../etc", None),
            ("javascript:alert(1)/x", None),
            ("https://", None),
            ("https://huggingface.co/only", None),
            ("", None),
        ] {
            assert_eq!(Address::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn a_bundle_or_one_gguf_is_a_bot() {
        let files = |names: &[&str]| {
            let files = names.iter().map(|n| (n.to_string(), format!("blob:{n}"), 7));
            Place::of_files(files.collect::<Vec<_>>(), "model-q8_0.gguf")
        };
        let bundle = files(&["README.md", "bot.json", "model-q4_0.gguf", "model-q8_0.gguf"]).unwrap();
        assert_eq!((bundle.model.as_str(), bundle.bytes), (LOCAL, Some(7)));
        assert_eq!(bundle.files.len(), 4);
        let alone = files(&["a#b.GGUF"]).unwrap();
        assert_eq!(alone.model, "https://local.invalid/a_b.GGUF");
        assert_eq!(alone.files["a_b.GGUF"], "blob:a#b.GGUF");
        assert_eq!(files(&["bot.json", "notes.txt"]), Err(NoModel));
    }
}
