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
pub mod state;
#[cfg(test)]
mod state_tests;
pub mod text;
mod wish;

use leptos::prelude::*;

use self::{composer::Composer, drafts::DraftList, handle::Handle, header::BotHeader};

/// Which of the three documents this is; each says so on its root element.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Page,
    /// The widget alone, for an iframe.
    Embed,
}

/// Shows the page; the whole of the app's `main`.
pub fn start() {
    console_error_panic_hook::set_once();
    match browser::document_mode().as_deref() {
        Some("bench") => bench::start(),
        Some("embed") => show(Mode::Embed),
        _ => show(Mode::Page),
    }
}

fn show(mode: Mode) {
    browser::clear_placeholder();
    mount_to_body(move || view! { <App mode /> });
}

#[component]
fn App(mode: Mode) -> impl IntoView {
    let handle = Handle::open(&browser::query());
    Effect::new(move |_| {
        if let Some(name) = handle.page.with(|page| page.bot.as_ref().map(|bot| bot.name.clone())) {
            document().set_title(&text::page_title(&name));
        }
    });
    let full = mode == Mode::Page;
    view! {
        <div class=if full { "page" } else { "page embed" }>
            {full.then(|| view! {
                <header class="masthead">
                    <h1>{text::TITLE}</h1>
                    <p>{text::TAGLINE}</p>
                </header>
            })}
            <main>
                <BotHeader handle level=if full { 2 } else { 1 } />
                <Composer handle />
                <DraftList handle />
            </main>
            <footer class="colophon">
                <p>{text::FOOTER}</p>
                {(!full).then(|| view! {
                    <p><a href=browser::page_url() target="_blank" rel="noopener">{text::OPEN_PAGE}</a></p>
                })}
            </footer>
        </div>
    }
}
