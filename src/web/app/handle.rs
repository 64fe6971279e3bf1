//! The state in the reactive system, and the effects that leave it.

use gloo::timers::callback::Timeout;
use leptos::prelude::*;
use wasm_bindgen_futures::spawn_local;

use super::{browser, line::Line};
use crate::web::{
    page::{
        Word,
        bots::{Bots, Place},
        history::History,
        loss::Loss,
        preferences::{Tab, Theme},
        query::Query,
        state::{self, Page, Shelf},
        wish::WorkerWish,
        words::{Language, Words},
    },
    protocol::Report,
};

/// A live region that is emptied is heard again when it is filled a moment later.
const ANNOUNCE_MS: u32 = 100;

/// Copied into every component: reads the state, runs its verbs.
#[derive(Clone, Copy)]
pub struct Handle {
    pub page: RwSignal<Page>,
    pub words: RwSignal<Words>,
    pub theme: RwSignal<Theme>,
    pub tab: RwSignal<Tab>,
    /// What a press has done, for those who hear the page.
    pub announced: RwSignal<String>,
    line: StoredValue<Option<Line>, LocalStorage>,
    /// What each worker of this page is told.
    wish: StoredValue<WorkerWish>,
    /// This device took whatever it was to keep.
    all_kept: StoredValue<bool>,
}

impl Handle {
    /// Opens the page; also what starts its engine.
    pub fn open(query: &Query, words: Words) -> (Self, impl FnOnce() + 'static) {
        let model = browser::model_url(query.model.as_deref());
        let wish = WorkerWish::new(query, model.clone());
        let history = History::parse(&browser::kept(browser::HISTORY));
        let bots = Bots::parse(&browser::kept(browser::BOTS));
        let (page, effects) = Page::open(query, model, history, bots);
        let handle = Self {
            page: RwSignal::new(page),
            words: RwSignal::new(words),
            theme: RwSignal::new(Theme::named(&browser::kept(browser::THEME))),
            tab: RwSignal::new(Tab::default()),
            announced: RwSignal::default(),
            line: StoredValue::new_local(None),
            wish: StoredValue::new(wish),
            all_kept: StoredValue::new(true),
        };
        browser::when_kept_elsewhere(move || handle.keep_in_step());
        (handle, move || handle.run(effects))
    }

    /// Runs a verb and its effects.
    pub fn act(self, verb: impl FnOnce(&mut Page) -> Vec<state::Effect>) {
        if let Some(effects) = self.page.try_update(verb) {
            self.run(effects);
        }
    }

    /// Runs a verb that changes what this device keeps: what other tabs have kept
    /// stays, whether or not this one has heard of it.
    pub fn act_on_kept(self, verb: impl FnOnce(&mut Page) -> Vec<state::Effect>) {
        self.keep_in_step();
        self.act(verb);
    }

    /// Takes over what this device keeps.
    fn keep_in_step(self) {
        // What it could not keep is nowhere but here.
        if self.all_kept.get_value() {
            let (history, bots) = (browser::kept(browser::HISTORY), browser::kept(browser::BOTS));
            self.change(|page| page.keep_in_step(History::parse(&history), Bots::parse(&bots)));
        }
    }

    /// Runs a verb that has no effects.
    pub fn change(self, verb: impl FnOnce(&mut Page)) {
        self.act(|page| {
            verb(page);
            Vec::new()
        });
    }

    /// A sentence, for a view.
    pub fn say(self, word: Word) -> impl Fn() -> String + Copy + Send + 'static {
        move || self.words.with(|words| words[word].to_owned())
    }

    /// A sentence as it is now.
    pub fn said(self, word: Word) -> String {
        self.words.with_untracked(|words| words[word].to_owned())
    }

    /// Says what a press has done.
    pub fn announce(self, word: Word) {
        // The same words twice would be heard once.
        self.announced.set(String::new());
        let said = self.said(word);
        Timeout::new(ANNOUNCE_MS, move || self.announced.set(said)).forget();
    }

    /// Opens another bot, and shows where it writes.
    pub fn open_bot(self, place: Place) {
        let wished = self.page.with_untracked(Page::wished_precision);
        browser::show_search(&place.search(wished));
        self.act(|page| page.open_bot(place));
        self.tab.set(Tab::Write);
        browser::focus("tab-write");
    }

    pub fn choose_theme(self, theme: Theme) {
        self.theme.set(theme);
        browser::keep(browser::THEME, theme.name());
        browser::set_root("data-theme", theme.name());
    }

    pub fn choose_language(self, language: Language) {
        browser::keep(browser::LANGUAGE, language.code());
        spawn_local(async move {
            let words = browser::words(language).await;
            browser::set_root("lang", words.language.code());
            self.words.set(words);
        });
    }

    fn run(self, effects: Vec<state::Effect>) {
        for effect in effects {
            match effect {
                state::Effect::StartWorker(place) => self.start_worker(&place),
                state::Effect::Send(command) => self.line.with_value(|line| {
                    if let Some(line) = line {
                        line.send(command);
                    }
                }),
                state::Effect::Keep(shelf, json) => {
                    let name = match shelf {
                        Shelf::History => browser::HISTORY,
                        Shelf::Bots => browser::BOTS,
                    };
                    if !browser::keep(name, &json) {
                        self.all_kept.set_value(false);
                    }
                }
            }
        }
    }

    fn start_worker(self, place: &Place) {
        // The old one goes first: two engines would double the memory.
        self.line.set_value(None);
        self.wish.update_value(|wish| *wish = wish.clone().with_place(place));
        let heard = move |report: Report| match Page::may_keep(&report) {
            true => self.act_on_kept(|page| page.hear(report)),
            false => self.act(|page| page.hear(report)),
        };
        let lost = move |loss| self.act(|page| page.crash(loss));
        let line = self.wish.with_value(|wish| Line::open(wish, heard, lost));
        if line.is_none() {
            self.act(|page| page.crash(Loss::Died(None)));
        }
        self.line.set_value(line);
    }
}
