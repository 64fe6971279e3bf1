//! The prompt field, the button that writes drafts, and the engine's status.

use leptos::prelude::*;
use web_sys::{KeyboardEvent, MouseEvent};

use super::{browser, handle::Handle, settings_form::SettingsForm};
use crate::web::page::{Word, starts, text};

#[component]
pub fn Composer(handle: Handle) -> impl IntoView {
    let start = Memo::new(move |_| handle.page.with(|page| page.start.clone()));
    let key = move |event: KeyboardEvent| {
        if event.key() == "Enter" && !event.shift_key() && !browser::is_composing(&event) {
            event.prevent_default();
            handle.act(|page| page.generate(seed()));
        }
    };
    view! {
        <section class="composer">
            <label for="start">{handle.say(Word::StartLabel)}</label>
            <textarea
                id="start"
                rows="2"
                dir="auto"
                autocomplete="off"
                prop:value=start
                on:input:target=move |event| {
                    let typed = event.target().value();
                    handle.change(|page| page.type_start(&typed));
                }
                on:keydown=key
            >
                {start.get_untracked()}
            </textarea>
            <Starts handle />
            <div class="actions">
                <MainButton handle />
                <StatusLine handle />
            </div>
            <Alert handle />
            <SettingsForm handle />
        </section>
    }
}

/// A random seed, short enough to be read aloud.
pub fn seed() -> u64 {
    browser::random_u64() >> 32
}

/// One button for both actions, so that the focus stays when its meaning changes.
#[component]
fn MainButton(handle: Handle) -> impl IntoView {
    let busy = Memo::new(move |_| handle.page.with(|page| page.busy()));
    let press = move |event: MouseEvent| match busy.get_untracked() {
        false => handle.act(|page| page.generate(seed())),
        // The second click of a double click on Generate must not stop it.
        true if event.detail() > 1 => {}
        true => handle.act_on_kept(|page| page.stop(None)),
    };
    let (generate, stop) = (handle.say(Word::Generate), handle.say(Word::Stop));
    view! {
        <button type="button" id="generate" class="primary" class:stop=busy on:click=press>
            {move || if busy.get() { stop() } else { generate() }}
        </button>
    }
}

/// Suggested prompts, in the bot's language.
#[component]
fn Starts(handle: Handle) -> impl IntoView {
    let starts = Memo::new(move |_| handle.page.with(|page| starts::suggestions(page.bot.as_ref())));
    let chip = move |language: &'static str, start: &'static str| {
        view! {
            <li>
                <button type="button" class="start-chip" lang=language dir="auto" on:click=move |_| {
                    handle.change(|page| page.type_start(start));
                }>
                    {start}
                </button>
            </li>
        }
    };
    view! {
        <ul class="starts" role="list" aria-label=handle.say(Word::Starts)>
            {move || {
                let (language, starts) = starts.get();
                starts.map(|start| chip(language, start)).into_iter().collect_view()
            }}
        </ul>
    }
}

#[component]
fn StatusLine(handle: Handle) -> impl IntoView {
    let status = Memo::new(move |_| handle.page.with(|page| page.status()));
    let progress = Memo::new(move |_| handle.page.with(|page| page.progress()));
    let under_way = Memo::new(move |_| progress.with(Option::is_some));
    let bytes = move |part: fn((u64, u64)) -> u64| {
        move || progress.get().map_or(String::new(), |pair| part(pair).to_string())
    };
    let said = move || handle.words.with(|words| status.with(|status| text::status(words, status)));
    view! {
        <div class="status">
            <p role="status">{said}</p>
            <Show when=move || under_way.get()>
                <progress
                    aria-label=handle.say(Word::Progress)
                    value=bytes(|p| p.0)
                    max=bytes(|p| p.1.max(1))
                ></progress>
            </Show>
        </div>
    }
}

#[component]
fn Alert(handle: Handle) -> impl IntoView {
    let alert = Memo::new(move |_| handle.page.with(|page| page.alert()));
    let retry = move |_| {
        handle.act(|page| page.retry());
        // Its own button is gone.
        browser::focus("generate");
    };
    let shown = move || {
        let (alert, can_retry) = alert.get()?;
        let said = handle.words.with(|words| text::alert(words, &alert));
        Some(view! {
            <div class="alert">
                <p>
                    {said.heading.map(|heading| format!("{heading} "))}
                    {said.english.map(|english| view! { <span lang="en">{english}</span> })}
                </p>
                {can_retry.then(|| view! {
                    <button type="button" on:click=retry>{handle.say(Word::Retry)}</button>
                })}
            </div>
        })
    };
    // The region itself is permanent: screen readers announce what is added to it.
    view! { <div role="alert">{shown}</div> }
}
