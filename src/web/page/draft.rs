//! One draft on its card: its text, and the request that produced it.

use crate::web::protocol::{EndReason, Request};

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Draft {
    /// The whole draft so far, including the prompt.
    pub text: String,
    /// The prompt it was written from.
    pub start: String,
    pub writing: bool,
    /// Tokens drawn so far, from which another engine can continue.
    pub tokens: Vec<u32>,
    pub end: Option<EndReason>,
    /// Whether it stays when others are written.
    pub pinned: bool,
    /// Whether a GPU computed any part of it.
    pub on_gpu: bool,
    /// The request that produces this draft alone.
    pub made_by: Option<Request>,
    /// Digest of its tokens; known when it is finished.
    pub digest: Option<String>,
}

/// Tokens that a continued draft gets before it may end again.
const CONTINUE_AT_LEAST: usize = 8;

impl Draft {
    /// A draft about to be written, as number `index` of a request.
    pub fn begin(request: &Request, index: usize) -> Self {
        let start = request.start();
        let stream = request.streams.get(index).copied().unwrap_or(index as u64);
        let made_by = Request { drafts: 1, streams: vec![stream], ..request.clone() };
        Self { text: start.clone(), start, writing: true, made_by: Some(made_by), ..Self::default() }
    }

    /// Whether nothing is written on the card.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Whether it has text and is no longer being written.
    pub fn is_finished(&self) -> bool {
        !self.writing && !self.is_empty()
    }

    /// Whether its request reproduces it, which is not so if it was stopped.
    pub fn is_repeatable(&self) -> bool {
        self.digest.is_some() && self.made_by.is_some() && self.end != Some(EndReason::Stopped)
    }

    /// The prompt and what the bot added, which together are the text. A prompt that the draft does
    /// not begin with counts as empty.
    pub fn parts(&self) -> (&str, &str) {
        match self.text.strip_prefix(self.start.as_str()) {
            Some(rest) => (&self.text[..self.start.len()], rest),
            None => ("", &self.text),
        }
    }

    /// The request that continues it, up to the bot's `positions`.
    pub fn further(&self, request: Request, positions: usize) -> Request {
        Request {
            prompt: self.text.clone(),
            min_new_tokens: CONTINUE_AT_LEAST,
            max_tokens: Some(positions),
            ..request
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_draft_knows_the_request_that_makes_it_alone() {
        let request =
            Request { prompt: " I say ".into(), drafts: 2, streams: vec![1, 4], ..Request::default() };
        let draft = Draft::begin(&request, 1);
        assert_eq!((draft.text.as_str(), draft.writing), ("I say", true));
        let made_by = draft.made_by.unwrap();
        assert_eq!((made_by.drafts, made_by.streams), (1, vec![4]));
    }

    #[test]
    fn start_and_addition_are_the_text() {
        let draft = |text: &str| Draft { text: text.into(), start: "I am".into(), ..Draft::default() };
        assert_eq!(draft("I am here").parts(), ("I am", " here"));
        assert_eq!(draft("I'm here").parts(), ("", "I'm here"));
    }

    #[test]
    fn a_stopped_draft_cannot_be_made_again() {
        let mut draft = Draft::begin(&Request::default(), 0);
        draft.digest = Some("aa".into());
        draft.end = Some(EndReason::EndOfText);
        assert!(draft.is_repeatable());
        draft.end = Some(EndReason::Stopped);
        assert!(!draft.is_repeatable());
    }
}
