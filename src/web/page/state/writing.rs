//! Drafts on their cards while an engine writes them, or while they wait for one.

use super::{Effect, Entry, Page, Run, StorageKey};
use crate::web::protocol::{Action, EndReason, Event, Request, SoFar};

impl Page {
    /// Stops the draft on one card, or all.
    pub fn stop(&mut self, card: Option<usize>) -> Vec<Effect> {
        match &self.run {
            Run::Idle => Vec::new(),
            Run::Waiting { request, cards } => {
                let (ended, rest): (Vec<_>, Vec<_>) =
                    cards.iter().partition(|wanted| card.is_none_or(|card| card == **wanted));
                let request = Request { drafts: rest.len(), streams: streams(&rest), ..request.clone() };
                let effects = self.give_up(&ended);
                // Finished drafts need no engine.
                match rest.iter().any(|card| self.drafts[*card].writing) {
                    true => self.run = Run::Waiting { request, cards: rest },
                    false => self.end_generation(),
                }
                effects
            }
            Run::Writing { id, cards, .. } => {
                let draft = match card {
                    None => None,
                    Some(card) => match cards.iter().position(|c| *c == card) {
                        Some(draft) => Some(draft),
                        None => return Vec::new(),
                    },
                };
                let action = Action::Stop { generation: *id, draft };
                vec![self.command(action)]
            }
        }
    }

    /// Sends the request to the engine, continuing what a former engine wrote.
    pub(super) fn write(&mut self, request: Request, cards: Vec<usize>) -> Vec<Effect> {
        for card in &cards {
            self.drafts[*card].on_gpu |= self.backend.on_gpu();
        }
        let drafts = cards.iter().map(|card| &self.drafts[*card]);
        let so_far: Vec<_> =
            drafts.map(|draft| SoFar { tokens: draft.tokens.clone(), ended: !draft.writing }).collect();
        let command = self.command(Action::Generate { request: request.clone(), so_far });
        self.run = Run::Writing { id: self.next_id - 1, request, cards };
        vec![command]
    }

    /// Adds the tokens that a step drew.
    pub(super) fn draw(&mut self, drawn: &[(usize, u32)]) {
        let Run::Writing { cards, .. } = &self.run else { return };
        for (draft, token) in drawn {
            let card = cards.get(*draft).and_then(|card| self.drafts.get_mut(*card));
            if let Some(card) = card {
                card.tokens.push(*token);
            }
        }
    }

    /// Applies an event to its draft; returns the card if it is finished.
    pub(super) fn draft(&mut self, event: Event) -> Option<usize> {
        let Run::Writing { cards, .. } = &self.run else { return None };
        let (Event::Text { draft, .. } | Event::Done { draft, .. }) = &event;
        let card = *cards.get(*draft)?;
        let target = self.drafts.get_mut(card).filter(|draft| draft.writing)?;
        match event {
            Event::Text { text, .. } => {
                target.text = text;
                None
            }
            Event::Done { text, reason, digest, .. } => {
                // Stopped before its first token: there is only the prompt.
                if !text.is_empty() {
                    target.text = text;
                }
                target.writing = false;
                target.end = Some(reason);
                target.digest = Some(digest);
                Some(card)
            }
        }
    }

    /// Announces finished drafts, adds them to the history, and compares them with the promised
    /// one.
    pub(super) fn remember(&mut self, cards: &[usize]) -> Vec<Effect> {
        for &card in cards {
            let draft = &self.drafts[card];
            let (text, stopped) = (draft.text.clone(), draft.end == Some(EndReason::Stopped));
            if let (Some(expected), Some(digest)) = (&self.expected, &draft.digest)
                && expected.draft == card
            {
                if !stopped {
                    self.verdict = Some((card, expected.verdict(self.weights_sha256(), digest)));
                }
                self.expected = None;
            }
            self.spoken.push((card, text.clone()));
            if !stopped || text != self.drafts[card].start {
                let bot = self.bot.as_ref().map_or(String::new(), |bot| bot.name.clone());
                let link = self.link(card).unwrap_or_default();
                let model = if self.place.is_local() { String::new() } else { self.place.model.clone() };
                self.history.add(Entry { text, bot, link, model });
            }
        }
        match cards.is_empty() {
            true => Vec::new(),
            false => vec![Effect::Keep(StorageKey::History, self.history.to_json())],
        }
    }

    /// Ends the drafts on these cards, which no engine continues: one with tokens counts as
    /// stopped, one without is replaced by what was there before the request.
    pub(super) fn give_up(&mut self, cards: &[usize]) -> Vec<Effect> {
        let mut stopped = Vec::new();
        for &card in cards {
            let draft = &mut self.drafts[card];
            if !draft.writing {
                continue;
            }
            if draft.tokens.is_empty() {
                *draft = self.before[card].clone();
            } else {
                (draft.writing, draft.end) = (false, Some(EndReason::Stopped));
                stopped.push(card);
            }
        }
        self.remember(&stopped)
    }

    /// Ends the generation.
    pub(super) fn end_generation(&mut self) {
        self.run = Run::Idle;
        self.expected = None;
        for draft in &mut self.drafts {
            draft.writing = false;
        }
    }

    /// Makes drafts under way wait for the next engine, with what they have.
    pub(super) fn wait_again(&mut self) {
        self.run = match std::mem::replace(&mut self.run, Run::Idle) {
            Run::Writing { request, cards, .. } => Run::Waiting { request, cards },
            run => run,
        };
    }
}

/// The random streams of drafts on these cards: a card's own number, so that a draft is the same
/// alone and with others.
pub(super) fn streams(cards: &[usize]) -> Vec<u64> {
    cards.iter().map(|card| *card as u64).collect()
}
