//! The open bot's card: fetched when it is first viewed, kept while the bot is open, and fetched
//! again after a failure.

use super::Place;
use crate::web::protocol::{CardPage, CardRequest};

#[derive(Debug, Clone, PartialEq, Default)]
pub enum Shown {
    #[default]
    Loading,
    /// It could not be fetched or rendered; a retry may help.
    Failed,
    /// The bot is a single file.
    None,
    Card(CardPage),
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Card {
    /// The bot whose card was viewed last.
    of: Option<Place>,
    shown: Shown,
}

impl Card {
    pub fn shown(&self) -> &Shown {
        &self.shown
    }

    /// Called when the open bot's card is viewed; returns whether it must be fetched.
    pub fn look(&mut self, open: &Place) -> bool {
        let other = self.of.as_ref() != Some(open);
        if other {
            *self = Self { of: Some(open.clone()), shown: Shown::Loading };
        }
        other
    }

    /// Takes the result of fetching a bot's card; a late one of another bot is dropped.
    pub fn take(&mut self, of: &Place, shown: Shown) {
        if self.of.as_ref() == Some(of) {
            self.shown = shown;
        }
    }

    /// Discards the card, so that the next view fetches it again.
    pub fn forget(&mut self) {
        *self = Self::default();
    }
}

/// Builds the request to render a bundle's README.md and bot.json; `None` if it has neither.
pub fn request(place: &Place, markdown: Option<String>, manifest: Option<String>) -> Option<CardRequest> {
    if markdown.is_none() && manifest.is_none() {
        return None;
    }
    // Local files have no URL for pictures and links to be relative to.
    let folder = place.folder().filter(|_| !place.is_local()).unwrap_or_default();
    Some(CardRequest {
        markdown: markdown.unwrap_or_default(),
        manifest: manifest.unwrap_or_default(),
        folder,
    })
}

/// Whether a status means that a file does not exist, rather than that the request failed: hosts
/// that hide their folders' listings answer 403.
pub fn is_absent(status: u16) -> bool {
    matches!(status, 403 | 404 | 410)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn place(name: &str) -> Place {
        Place::url(format!("https://{name}.example/bot/"))
    }

    fn rendered(html: &str) -> Shown {
        Shown::Card(CardPage { html: html.into(), ..CardPage::default() })
    }

    #[test]
    fn a_card_is_fetched_once_a_bot() {
        let mut card = Card::default();
        assert!(card.look(&place("a")));
        assert!(!card.look(&place("a")), "it is on its way");
        card.take(&place("a"), rendered("A"));
        assert!(!card.look(&place("a")));
        assert_eq!(card.shown(), &rendered("A"));
    }

    #[test]
    fn a_late_card_of_another_bot_is_dropped() {
        let mut card = Card::default();
        card.look(&place("a"));
        assert!(card.look(&place("b")));
        card.take(&place("b"), rendered("B"));
        card.take(&place("a"), rendered("A"));
        assert_eq!(card.shown(), &rendered("B"));
        assert!(card.look(&place("a")));
        card.take(&place("b"), Shown::Failed);
        assert_eq!(card.shown(), &Shown::Loading);
    }

    #[test]
    fn what_failed_is_fetched_again() {
        let mut card = Card::default();
        card.look(&place("a"));
        card.take(&place("a"), Shown::Failed);
        assert!(!card.look(&place("a")), "not by itself");
        card.forget();
        assert!(card.look(&place("a")));
        assert_eq!(card.shown(), &Shown::Loading);
    }

    #[test]
    fn a_bundle_without_a_readme_is_still_described() {
        let request = |place: &Place, markdown: Option<&str>, manifest: Option<&str>| {
            super::request(place, markdown.map(Into::into), manifest.map(Into::into))
        };
        let described = request(&place("a"), None, Some("{}")).unwrap();
        assert_eq!((described.markdown.as_str(), described.manifest.as_str()), ("", "{}"));
        assert_eq!(described.folder, "https://a.example/bot/");
        assert!(request(&place("a"), Some("# A bot"), None).is_some());
        assert_eq!(request(&place("a"), None, None), None);
        let files = BTreeMap::from([("bot.json".to_owned(), "blob:x".to_owned())]);
        let local = Place { files, ..place("local") };
        assert_eq!(request(&local, None, Some("{}")).unwrap().folder, "");
    }

    #[test]
    fn an_absence_is_no_failure() {
        assert!(is_absent(404) && is_absent(403));
        assert!(!is_absent(500) && !is_absent(429) && !is_absent(200));
    }
}
