//! The page's state in the reactive system, and the place where its effects happen.

use gloo::timers::callback::Timeout;
use leptos::prelude::*;

use super::{browser, files, watched_worker::WatchedWorker};
use crate::web::{
    page::{
        Word,
        bots::{Bots, Place},
        history::History,
        preferences::{Tab, Theme},
        query::Query,
        state::{self, Page, StorageKey},
        words::{Language, Words},
        worker_loss::WorkerLoss,
        worker_options::WorkerOptions,
    },
    protocol::Report,
};

/// Time for which a live region is empty, so that the same text is announced again.
const ANNOUNCE_MS: u32 = 100;

/// Copied into every component: reads the state and calls its methods.
#[derive(Clone, Copy)]
pub struct Handle {
    pub page: RwSignal<Page>,
    pub words: RwSignal<Words>,
    pub theme: RwSignal<Theme>,
    pub tab: RwSignal<Tab>,
    /// The result of an action, for the live region.
    pub announced: RwSignal<String>,
    /// The language chosen last, whose sentences may be on their way.
    language: StoredValue<Language>,
    worker: StoredValue<Option<WatchedWorker>, LocalStorage>,
    /// The options of this page's workers.
    options: StoredValue<WorkerOptions>,
    /// Whether this device has stored everything it should.
    all_kept: StoredValue<bool>,
}

impl Handle {
    /// Opens the page; also returns a function that starts its engine.
    pub fn open(query: &Query, words: Words) -> (Self, impl FnOnce() + 'static) {
        let model = browser::model_url(query.model.as_deref());
        let options = WorkerOptions::new(query, model.clone());
        let history = History::parse(&browser::kept(browser::HISTORY));
        let bots = Bots::parse(&browser::kept(browser::BOTS));
        let (page, effects) = Page::open(query, model, history, bots);
        let handle = Self {
            page: RwSignal::new(page),
            language: StoredValue::new(words.language),
            words: RwSignal::new(words),
            theme: RwSignal::new(Theme::named(&browser::kept(browser::THEME))),
            tab: RwSignal::new(Tab::default()),
            announced: RwSignal::default(),
            worker: StoredValue::new_local(None),
            options: StoredValue::new(options),
            all_kept: StoredValue::new(true),
        };
        browser::when_kept_elsewhere(move || handle.keep_in_step());
        (handle, move || handle.run(effects))
    }

    /// Calls a method and carries out its effects.
    pub fn act(self, verb: impl FnOnce(&mut Page) -> Vec<state::Effect>) {
        if let Some(effects) = self.page.try_update(verb) {
            self.run(effects);
        }
    }

    /// Calls a method that changes what this device stores. What other tabs have stored stays,
    /// whether or not this one has been told of it.
    pub fn act_on_kept(self, verb: impl FnOnce(&mut Page) -> Vec<state::Effect>) {
        self.keep_in_step();
        self.act(verb);
    }

    /// Takes over what this device has stored.
    fn keep_in_step(self) {
        // What could not be stored is only in this tab.
        if self.all_kept.get_value() {
            let (history, bots) = (browser::kept(browser::HISTORY), browser::kept(browser::BOTS));
            self.change(|page| page.keep_in_step(History::parse(&history), Bots::parse(&bots)));
        }
    }

    /// Calls a method that has no effects.
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

    /// A sentence in the present language.
    pub fn said(self, word: Word) -> String {
        self.words.with_untracked(|words| words[word].to_owned())
    }

    /// Announces the result of an action.
    pub fn announce(self, word: Word) {
        // The same text twice would be announced once.
        self.announced.set(String::new());
        let said = self.said(word);
        Timeout::new(ANNOUNCE_MS, move || self.announced.set(said)).forget();
    }

    /// Opens another bot, and shows the tab in which it writes.
    pub fn open_bot(self, place: Place) {
        let requested = self.page.with_untracked(Page::requested_precision);
        browser::show_search(&place.search(requested));
        self.act(|page| page.open_bot(place));
        self.tab.set(Tab::Write);
        browser::focus("tab-write");
    }

    pub fn choose_theme(self, theme: Theme) {
        self.theme.set(theme);
        browser::keep(browser::THEME, theme.name());
        browser::set_root("data-theme", theme.name());
    }

    /// Returns false if the language's sentences cannot be fetched: the page stays as it is.
    pub async fn choose_language(self, language: Language) -> bool {
        self.language.set_value(language);
        let words = browser::words(language).await;
        // Another may have been chosen, and have come sooner.
        if self.language.get_value() != language {
            return true;
        }
        let Some(words) = words else {
            // The menu must show the page's language again.
            self.words.update(|_| ());
            return false;
        };
        browser::keep(browser::LANGUAGE, language.code());
        browser::set_root("lang", language.code());
        self.words.set(words);
        true
    }

    fn run(self, effects: Vec<state::Effect>) {
        for effect in effects {
            match effect {
                state::Effect::StartWorker(place) => self.start_worker(&place),
                state::Effect::Send(command) => self.worker.with_value(|worker| {
                    if let Some(worker) = worker {
                        worker.send(command);
                    }
                }),
                state::Effect::Keep(key, json) => {
                    let name = match key {
                        StorageKey::History => browser::HISTORY,
                        StorageKey::Bots => browser::BOTS,
                    };
                    if !browser::keep(name, &json) {
                        self.all_kept.set_value(false);
                    }
                }
                state::Effect::Revoke(urls) => urls.iter().for_each(|url| files::revoke(url)),
            }
        }
    }

    fn start_worker(self, place: &Place) {
        // End the old one first: two engines would double the memory.
        self.worker.set_value(None);
        self.options.update_value(|options| *options = options.clone().with_place(place));
        let on_report = move |report: Report| match Page::may_keep(&report) {
            true => self.act_on_kept(|page| page.hear(report)),
            false => self.act(|page| page.hear(report)),
        };
        let on_loss = move |loss| self.act(|page| page.crash(loss));
        let worker = self.options.with_value(|options| WatchedWorker::open(options, on_report, on_loss));
        if worker.is_none() {
            self.act(|page| page.crash(WorkerLoss::Died(None)));
        }
        self.worker.set_value(worker);
    }
}
