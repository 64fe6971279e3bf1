//! The list of drafts remembered on this device.

use leptos::prelude::*;

use super::{browser, handle::Handle};
use crate::web::page::{Word, history::Entry};

#[component]
pub fn HistoryList(handle: Handle) -> impl IntoView {
    let entries = Memo::new(move |_| handle.page.with(|page| page.history.entries().to_vec()));
    let empty = Memo::new(move |_| entries.with(Vec::is_empty));
    let clear = move |_| {
        handle.act(|page| page.clear_history());
        browser::focus("history");
    };
    view! {
        <details class="history">
            <summary id="history">{handle.say(Word::History)}</summary>
            <p class="hint">{handle.say(Word::HistoryNote)}</p>
            <Show
                when=move || !empty.get()
                fallback=move || view! { <p class="nothing">{handle.say(Word::HistoryEmpty)}</p> }
            >
                // Keyed, so that the focus stays on its entry when a draft is added above it.
                <ul role="list">
                    <For each=move || entries.get() key=Entry::key let:entry>
                        <Remembered handle entry />
                    </For>
                </ul>
                <button type="button" on:click=clear>{handle.say(Word::ClearHistory)}</button>
            </Show>
        </details>
    }
}

#[component]
fn Remembered(handle: Handle, entry: Entry) -> impl IntoView {
    let this = entry.clone();
    let forget = move |_| {
        handle.act_on_kept(|page| page.forget_draft(&this));
        browser::focus("history");
    };
    let about = move |word: Word, text: String| {
        move || handle.words.with(|words| words.fill(word, &[("text", &text)]))
    };
    let link = entry.search(&browser::model_url(None)).map(|search| {
        view! {
            <a class="button" href=format!("./{search}") aria-label=about(Word::WriteAgainDraft, entry.text.clone())>
                {handle.say(Word::WriteAgain)}
            </a>
        }
    });
    view! {
        <li class="remembered">
            // The language of the bot that wrote it, which is unknown here.
            <p lang="" dir="auto">{entry.text.clone()}</p>
            <p class="handles" dir="auto">{entry.bot.clone()}</p>
            <span class="buttons">
                {link}
                <button type="button" on:click=forget aria-label=about(Word::DeleteDraft, entry.text)>
                    {handle.say(Word::Delete)}
                </button>
            </span>
        </li>
    }
}
