//! The page: a plain state with verbs ([`state`]), views that show it, and the
//! one place ([`handle`]) where effects leave the system.

mod bench;
mod browser;
mod composer;
mod drafts;
mod handle;
mod header;
mod line;
pub mod query;
pub mod settings;
pub mod share;
mod shared;
pub mod state;
#[cfg(test)]
mod state_tests;
pub mod text;
mod wish;

use leptos::prelude::*;

use self::{composer::Composer, drafts::DraftList, handle::Handle, header::BotHeader};

/// Starts what the document's root element says it is; the whole of the app's `main`.
pub fn start() {
    console_error_panic_hook::set_once();
    match browser::document_mode().as_deref() {
        Some("bench") => bench::start(),
        Some("engine") => shared::start(),
        _ => {
            browser::clear_placeholder();
            mount_to_body(App);
        }
    }
}

#[component]
fn App() -> impl IntoView {
    let handle = Handle::open(&browser::query());
    Effect::new(move |_| {
        if let Some(name) = handle.page.with(|page| page.bot.as_ref().map(|bot| bot.name.clone())) {
            document().set_title(&text::page_title(&name));
        }
    });
    view! {
        <div class="page">
            <header class="masthead">
                <h1>{text::TITLE}</h1>
                <p>{text::TAGLINE}</p>
            </header>
            <main>
                <BotHeader handle />
                <Composer handle />
                <DraftList handle />
            </main>
            <footer class="colophon">
                <p>{text::FOOTER}</p>
            </footer>
        </div>
    }
}
