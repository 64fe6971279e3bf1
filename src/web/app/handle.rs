//! The state in the reactive system, and the effects that leave it.

use leptos::prelude::*;

use super::{
    browser,
    line::Line,
    query::Query,
    state::{self, Page},
    text,
    wish::WorkerWish,
};

/// Copied into every component: reads the state, runs its verbs.
#[derive(Clone, Copy)]
pub struct Handle {
    pub page: RwSignal<Page>,
    line: StoredValue<Option<Line>, LocalStorage>,
    /// What each worker of this page is told.
    wish: StoredValue<WorkerWish>,
}

impl Handle {
    /// Opens the page and starts its engine.
    pub fn open(query: &Query) -> Self {
        let model = browser::model_url(query.model.as_deref());
        let wish = WorkerWish::new(query, model.clone());
        let (page, effects) = Page::open(query, model);
        let (page, line) = (RwSignal::new(page), StoredValue::new_local(None));
        let handle = Self { page, line, wish: StoredValue::new(wish) };
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
                    let lost = move |sentence| self.act(|page| page.crash(sentence));
                    let line = self.wish.with_value(|wish| Line::open(wish, heard, lost));
                    if line.is_none() {
                        self.act(|page| page.crash(text::CRASHED.into()));
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
