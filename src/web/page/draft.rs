//! One draft on its card: its text, and the request that made it.

use crate::web::protocol::{EndReason, Request};

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Draft {
    /// The whole draft so far, the start included.
    pub text: String,
    /// The start it was written from.
    pub start: String,
    pub writing: bool,
    /// Drawn so far: what another engine goes on from.
    pub tokens: Vec<u32>,
    pub end: Option<EndReason>,
    /// Stays when others are written.
    pub pinned: bool,
    /// A GPU computed at least a part of it.
    pub on_gpu: bool,
    /// The request that makes this draft alone.
    pub made_by: Option<Request>,
    /// Tells its tokens; known when it is finished.
    pub digest: Option<String>,
}

/// Tokens that a draft that goes on must get before it may end again.
const CONTINUE_AT_LEAST: usize = 8;

impl Draft {
    /// About to be written as draft `index` of a request.
    pub fn begin(request: &Request, index: usize) -> Self {
        let start = request.start();
        let stream = request.streams.get(index).copied().unwrap_or(index as u64);
        let made_by = Request { drafts: 1, streams: vec![stream], ..request.clone() };
        Self { text: start.clone(), start, writing: true, made_by: Some(made_by), ..Self::default() }
    }

    /// Nothing is written on it.
    pub fn is_empty(&self) -> bool {
        self.text.is_empty()
    }

    /// Written, and no longer being written.
    pub fn is_finished(&self) -> bool {
        !self.writing && !self.is_empty()
    }

    /// Whether the draft is what its request makes: not where it was stopped.
    pub fn is_repeatable(&self) -> bool {
        self.digest.is_some() && self.made_by.is_some() && self.end != Some(EndReason::Stopped)
    }

    /// The start and what the bot added; together the text. A start that the
    /// draft does not begin with counts as none.
    pub fn parts(&self) -> (&str, &str) {
        match self.text.strip_prefix(self.start.as_str()) {
            Some(rest) => (&self.text[..self.start.len()], rest),
            None => ("", &self.text),
        }
    }

    /// The request that goes on with it, up to the bot's `positions`.
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
