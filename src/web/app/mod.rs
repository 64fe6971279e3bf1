//! The page's views: they show the state of `web/page`. Its effects happen in one place, `handle`.

mod bench;
mod bots_tab;
mod browser;
mod card_tab;
mod composer;
mod drafts;
mod files;
mod handle;
mod header;
mod helper;
mod history;
mod masthead;
mod own_tab;
mod part;
mod settings_form;
mod shared;
mod watched_worker;

use leptos::prelude::*;
use wasm_bindgen_futures::spawn_local;

use self::{
    bots_tab::BotsTab,
    card_tab::CardTab,
    composer::Composer,
    drafts::DraftList,
    handle::Handle,
    header::BotHeader,
    history::HistoryList,
    masthead::Masthead,
    own_tab::OwnTab,
    part::{CreatedParts, Part},
};
use crate::web::page::{Word, preferences::Tab, text, words::Words};

/// Starts the mode that the document's root element names; the whole of the app's `main`.
pub fn start() {
    console_error_panic_hook::set_once();
    match browser::document_mode().as_deref() {
        Some("bench") => bench::start(),
        Some("engine") => shared::start(),
        _ => show(),
    }
}

fn show() {
    spawn_local(async move {
        let words = browser::words(browser::language()).await.unwrap_or_else(Words::english);
        browser::set_root("lang", words.language.code());
        mount_to_body(move || view! { <App words /> });
    });
}

/// Number of the first parts, which replace the HTML's placeholder.
const FRAME: usize = 3;

/// Number of the last part.
const PARTS: usize = 7;

#[component]
fn App(words: Words) -> impl IntoView {
    let (handle, start_engine) = Handle::open(&browser::query(), words);
    files::keep_page();
    // The page first: with few cores, starting the engine would delay it.
    let created = CreatedParts::begin(PARTS, start_engine);
    let framed = Memo::new(move |_| created.has(FRAME));
    Effect::new(move |_| {
        if framed.get() {
            browser::clear_placeholder();
        }
    });
    let name = Memo::new(move |_| handle.page.with(|page| page.bot.as_ref().map(|bot| bot.name.clone())));
    Effect::new(move |titled: Option<bool>| {
        let name = name.get();
        match &name {
            Some(name) => document().set_title(&format!("{name} – {}", text::TITLE)),
            // The former bot's name would stay if this one cannot be opened. Until the first is
            // known, the document's own title may name it.
            None if titled == Some(true) => document().set_title(text::TITLE),
            None => {}
        }
        name.is_some()
    });
    let pane = move |tab: Tab, content: fn(Handle) -> AnyView| {
        let name = tab.name();
        // A tab's content is created when it is first shown, so that the page appears sooner.
        let seen = Memo::new(move |seen: Option<&bool>| {
            seen.copied().unwrap_or_default() || handle.tab.get() == tab
        });
        view! {
            <section
                id=format!("panel-{name}")
                class="panel"
                role="tabpanel"
                aria-labelledby=format!("tab-{name}")
                hidden=move || handle.tab.get() != tab
            >
                {move || seen.get().then(|| content(handle))}
            </section>
        }
    };
    let skip = move |event: web_sys::MouseEvent| {
        // The target may be in a hidden panel.
        event.prevent_default();
        handle.tab.set(Tab::Write);
        browser::focus("start");
    };
    view! {
        <div class="page" hidden=move || !framed.get()>
            <a class="skip" href="#start" on:click=skip>{handle.say(Word::Skip)}</a>
            <Part nth=1><Masthead handle /></Part>
            <main>
                <Part nth=2><BotHeader handle /></Part>
                <Part nth=FRAME><Tabs handle /></Part>
                {pane(Tab::Write, |handle| view! {
                    <Part nth=4><Composer handle /></Part>
                    <Part nth=6><DraftList handle /></Part>
                    <Part nth=PARTS><HistoryList handle /></Part>
                }.into_any())}
                {pane(Tab::Card, |handle| view! { <CardTab handle /> }.into_any())}
                {pane(Tab::Own, |handle| view! { <OwnTab handle /> }.into_any())}
                {pane(Tab::Bots, |handle| view! { <BotsTab handle /> }.into_any())}
            </main>
            <div class="unseen" aria-live="polite" data-testid="announced">{move || handle.announced.get()}</div>
            <Part nth=PARTS><footer class="colophon"><p>{handle.say(Word::Footer)}</p></footer></Part>
        </div>
    }
}

#[component]
fn Tabs(handle: Handle) -> impl IntoView {
    let key = move |event: web_sys::KeyboardEvent| {
        let right_to_left = document().dir() == "rtl";
        if let Some(tab) = handle.tab.get_untracked().after_key(&event.key(), right_to_left) {
            event.prevent_default();
            handle.tab.set(tab);
            browser::focus(tab_id(tab));
        }
    };
    let tabs = Tab::ALL.map(|tab| {
        let word = match tab {
            Tab::Write => Word::TabWrite,
            Tab::Card => Word::TabCard,
            Tab::Own => Word::TabOwn,
            Tab::Bots => Word::TabBots,
        };
        let chosen = move || handle.tab.get() == tab;
        view! {
            <button
                type="button"
                role="tab"
                id=tab_id(tab)
                aria-controls=format!("panel-{}", tab.name())
                aria-selected=move || chosen().to_string()
                // The Tab key stops once; arrow keys move between tabs.
                tabindex=move || if chosen() { "0" } else { "-1" }
                on:click=move |_| handle.tab.set(tab)
            >
                {handle.say(word)}
            </button>
        }
    });
    view! {
        <div class="tabs" role="tablist" aria-label=handle.say(Word::Tabs) on:keydown=key>
            {tabs.into_iter().collect_view()}
        </div>
    }
}

fn tab_id(tab: Tab) -> &'static str {
    match tab {
        Tab::Write => "tab-write",
        Tab::Card => "tab-card",
        Tab::Own => "tab-own",
        Tab::Bots => "tab-bots",
    }
}
