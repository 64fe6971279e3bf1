//! Five drafts as tweet cards.

use gloo::timers::callback::Timeout;
use leptos::{html, prelude::*};
use wasm_bindgen_futures::spawn_local;

use super::{
    browser,
    handle::Handle,
    header::{Avatars, handles, label},
    share,
    state::DRAFTS,
    text,
};
use crate::web::protocol::BotInfo;

/// How long a button says what it did.
const ANSWER_MS: u32 = 2000;

#[component]
pub fn DraftList(handle: Handle) -> impl IntoView {
    view! {
        <section class="drafts">
            <h2 id="drafts-title">{text::DRAFTS}</h2>
            // Styled lists lose their role in some readers unless it is said.
            <ul role="list" aria-labelledby="drafts-title">
                {(0..DRAFTS).map(|index| view! { <li><DraftCard handle index /></li> }).collect_view()}
            </ul>
        </section>
    }
}

#[component]
fn DraftCard(handle: Handle, index: usize) -> impl IntoView {
    let number = index + 1;
    let bot = Memo::new(move |_| handle.page.with(|page| page.bot.clone().unwrap_or_default()));
    let draft = Memo::new(move |_| handle.page.with(|page| page.drafts[index].clone()));
    let start = Memo::new(move |_| handle.page.with(|page| page.written_from.clone()));
    let writing = Memo::new(move |_| draft.with(|d| d.writing));
    let empty = Memo::new(move |_| draft.with(|d| d.text.is_empty()));
    let finished = Memo::new(move |_| !writing.get() && !empty.get());
    // The start and what the bot added, in two elements whose text together is the draft.
    let (written, added) = (
        Memo::new(move |_| draft.with(|d| split(&d.text, &start.get()).0.to_owned())),
        Memo::new(move |_| draft.with(|d| split(&d.text, &start.get()).1.to_owned())),
    );
    let text_element = NodeRef::<html::P>::new();
    view! {
        <article
            class="tweet"
            class:writing=writing
            class:empty=empty
            aria-label=text::draft_label(number)
            aria-busy=move || writing.get().to_string()
        >
            <div class="card-head">
                {move || view! { <Byline bot=bot.get() /> }}
                <Show when=move || finished.get()>
                    <span class="length">{move || text::length(draft.with(|d| d.text.chars().count()))}</span>
                </Show>
            </div>
            <p class="draft-text" dir="auto" data-testid="draft-text" data-empty=text::empty_draft(number) node_ref=text_element>
                <span class="start">{written}</span>
                <span class="added">{added}</span>
            </p>
            <div class="card-foot">
                <span class="parody">{text::AI_NOTE}</span>
                <span class="buttons">
                    <Show when=move || writing.get()>
                        <button
                            type="button"
                            aria-label=text::for_draft(text::END, number)
                            on:click=move |_| handle.act(|page| page.stop(Some(index)))
                        >
                            {text::END}
                        </button>
                    </Show>
                    <Show when=move || finished.get()>
                        <CopyButton number draft_text=Signal::derive(move || draft.with(|d| d.text.clone())) text_element />
                        <a
                            class="button"
                            target="_blank"
                            rel="noopener noreferrer"
                            aria-label=text::for_draft(text::POST, number)
                            href=move || {
                                let name = bot.with(|bot| bot.name.clone());
                                let text = draft.with(|d| share::share_text(&name, &start.get(), &d.text));
                                share::post_url(&text)
                            }
                        >
                            {text::POST}
                        </a>
                    </Show>
                </span>
            </div>
        </article>
    }
}

#[component]
fn Byline(bot: BotInfo) -> impl IntoView {
    let name = if bot.name.is_empty() { text::BOT_LOADING.to_owned() } else { bot.name.clone() };
    view! {
        <header class="byline">
            <Avatars bot=bot.clone() />
            <span class="byline-words">
                <span class="byline-name">{name}</span>
                <span class="chip">{label(&bot)}</span>
                <span class="handles">{handles(&bot)}</span>
            </span>
        </header>
    }
}

#[component]
fn CopyButton(number: usize, draft_text: Signal<String>, text_element: NodeRef<html::P>) -> impl IntoView {
    let answer = RwSignal::new(None::<&'static str>);
    let copy = move |_| {
        spawn_local(async move {
            let copied = browser::copy(&draft_text.get_untracked()).await;
            if !copied && let Some(element) = text_element.get_untracked() {
                browser::select_text(&element);
            }
            answer.try_set(Some(if copied { text::COPIED } else { text::COPY_REFUSED }));
            Timeout::new(ANSWER_MS, move || _ = answer.try_set(None)).forget();
        });
    };
    let shown = move || answer.get().unwrap_or(text::COPY);
    view! {
        <button type="button" on:click=copy aria-label=move || text::for_draft(shown(), number)>
            {shown}
        </button>
    }
}

/// A draft as its start and the rest; a start that the draft does not begin
/// with counts as none.
fn split<'a>(draft: &'a str, start: &str) -> (&'a str, &'a str) {
    match draft.strip_prefix(start) {
        Some(rest) => (&draft[..start.len()], rest),
        None => ("", draft),
    }
}
