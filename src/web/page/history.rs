//! Drafts remembered on this device, newest first.

use serde::{Deserialize, Serialize};

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
}

impl Entry {
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
        Entry { text: text.into(), bot: "Lamp".into(), link: "?seed=1".into() }
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
    fn it_stays_small_and_broken_storage_is_none() {
        let mut history = History::default();
        for number in 0..2 * MAX_DRAFTS {
            history.add(entry(&number.to_string()));
        }
        assert_eq!(history.entries().len(), MAX_DRAFTS);
        assert_eq!(History::parse("{"), History::default());
    }
}
