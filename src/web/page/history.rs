//! Drafts remembered on this device, newest first.

use serde::{Deserialize, Serialize};

use super::share;

/// Maximum number of drafts; the oldest are dropped.
const MAX_DRAFTS: usize = 60;

/// A finished draft.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    pub text: String,
    /// Name of the bot that wrote it.
    pub bot: String,
    /// The query of the URL that reproduces it; empty if none does.
    pub link: String,
    /// The bot's absolute URL; empty for the visitor's own files, and in entries of older pages.
    #[serde(default)]
    pub model: String,
}

impl Entry {
    /// The query that reproduces it on a page whose own bot is at `own`; `None` if none does.
    /// Several pages on one site share what a browser stores for it, and a link without a bot is
    /// about the bot of the page that made it.
    pub fn search(&self, own: &str) -> Option<String> {
        let link = self.link.strip_prefix('?')?;
        let named = link.split('&').any(|parameter| parameter.starts_with("model="));
        if named || self.model.is_empty() || self.model == own {
            return Some(self.link.clone());
        }
        Some(format!("{}&{link}", share::search(&[("model", self.model.clone())])))
    }

    /// What tells it from every other, in a list.
    pub fn key(&self) -> (String, String, String) {
        (self.text.clone(), self.bot.clone(), self.link.clone())
    }

    /// Whether text and bot are the same, whatever the link.
    fn is_same(&self, other: &Self) -> bool {
        self.text == other.text && self.bot == other.bot
    }
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct History {
    entries: Vec<Entry>,
}

impl History {
    /// Parses what was stored; invalid text counts as empty.
    pub fn parse(json: &str) -> Self {
        let mut history: Self = serde_json::from_str(json).unwrap_or_default();
        history.entries.truncate(MAX_DRAFTS);
        history
    }

    pub fn to_json(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }

    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Puts a draft first; one already there moves.
    pub fn add(&mut self, entry: Entry) {
        self.remove(&entry);
        self.entries.insert(0, entry);
        self.entries.truncate(MAX_DRAFTS);
    }

    pub fn remove(&mut self, entry: &Entry) {
        self.entries.retain(|old| !old.is_same(entry));
    }

    pub fn clear(&mut self) {
        self.entries.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(text: &str) -> Entry {
        let model = "https://a.example/lamp/bot/".into();
        Entry { text: text.into(), bot: "Lamp".into(), link: "?seed=1".into(), model }
    }

    fn texts(history: &History) -> Vec<&str> {
        history.entries().iter().map(|entry| entry.text.as_str()).collect()
    }

    #[test]
    fn the_newest_stand_first_and_none_twice() {
        let mut history = History::default();
        for text in ["a", "b", "a"] {
            history.add(entry(text));
        }
        assert_eq!(texts(&history), ["a", "b"]);
        assert_eq!(History::parse(&history.to_json()), history);
        history.remove(&entry("a"));
        history.remove(&entry("nowhere"));
        assert_eq!(texts(&history), ["b"]);
        history.clear();
        assert!(history.entries().is_empty());
    }

    #[test]
    fn a_link_leads_to_its_bot_from_another_page_of_the_site() {
        let here = entry("a");
        assert_eq!(here.search("https://a.example/lamp/bot/").unwrap(), "?seed=1");
        let there = here.search("https://a.example/gull/bot/").unwrap();
        assert_eq!(there, "?model=https%3A%2F%2Fa.example%2Flamp%2Fbot%2F&seed=1");
        let named = Entry { link: "?model=x&seed=1".into(), ..entry("a") };
        assert_eq!(named.search("https://a.example/gull/bot/").unwrap(), "?model=x&seed=1");
        assert_eq!(Entry { link: String::new(), ..entry("a") }.search("x"), None);
        let old = History::parse(r#"[{"text":"a","bot":"Lamp","link":"?seed=1"}]"#);
        assert_eq!(old.entries()[0].search("x").as_deref(), Some("?seed=1"));
    }

    #[test]
    fn it_stays_small_and_broken_storage_is_none() {
        let mut history = History::default();
        for number in 0..2 * MAX_DRAFTS {
            history.add(entry(&number.to_string()));
        }
        assert_eq!(history.entries().len(), MAX_DRAFTS);
        assert_eq!(History::parse("{"), History::default());
    }
}
