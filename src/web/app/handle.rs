//! The state in the reactive system, and the effects that leave it.

use leptos::prelude::*;

use super::{
    browser,
    line::Line,
    query::Query,
    state::{self, Page},
    text,
};

/// Copied into every component: reads the state, runs its verbs.
#[derive(Clone, Copy)]
pub struct Handle {
    pub page: RwSignal<Page>,
    line: StoredValue<Option<Line>, LocalStorage>,
}

impl Handle {
    /// Opens the page and starts its engine.
    pub fn open(query: &Query) -> Self {
        let (page, effects) = Page::open(query, browser::model_url(query.model.as_deref()));
        let handle = Self { page: RwSignal::new(page), line: StoredValue::new_local(None) };
        handle.run(effects);
        handle
    }

    /// Runs a verb and its effects.
    pub fn act(self, verb: impl FnOnce(&mut Page) -> Vec<state::Effect>) {
        if let Some(effects) = self.page.try_update(verb) {
            self.run(effects);
        }
    }

    /// Runs a verb that has no effects.
    pub fn change(self, verb: impl FnOnce(&mut Page)) {
        self.act(|page| {
            verb(page);
            Vec::new()
        });
    }

    fn run(self, effects: Vec<state::Effect>) {
        for effect in effects {
            match effect {
                state::Effect::StartWorker => {
                    // The old one goes first: two engines would double the memory.
                    self.line.set_value(None);
                    let heard = move |report| self.act(|page| page.hear(report));
                    let lost = move |sentence| self.change(|page| page.crash(sentence));
                    let line = Line::open(heard, lost);
                    if line.is_none() {
                        self.change(|page| page.crash(text::CRASHED.into()));
                    }
                    self.line.set_value(line);
                }
                state::Effect::Send(command) => self.line.with_value(|line| {
                    if let Some(line) = line {
                        line.send(command);
                    }
                }),
            }
        }
    }
}
