//! The page's header: its name, and the menus for language and theme.

use leptos::prelude::*;
use wasm_bindgen_futures::spawn_local;

use super::handle::Handle;
use crate::web::page::{Word, preferences::Theme, text, words::Language};

#[component]
pub fn Masthead(handle: Handle) -> impl IntoView {
    let unfetched = RwSignal::new(false);
    view! {
        <header class="masthead">
            <div class="masthead-words">
                <h1>{text::TITLE}</h1>
                <p>{handle.say(Word::Tagline)}</p>
            </div>
            <div class="switches">
                <LanguageSwitch handle unfetched />
                <ThemeSwitch handle />
            </div>
        </header>
        <div class="unfetched" aria-live="polite">
            {move || unfetched.get().then(|| view! { <p>{handle.say(Word::LanguageFailed)}</p> })}
        </div>
    }
}

#[component]
fn LanguageSwitch(handle: Handle, unfetched: RwSignal<bool>) -> impl IntoView {
    let chosen = Memo::new(move |_| handle.words.with(|words| words.language));
    let options = Language::ALL.map(|language| {
        view! {
            <option value=language.code() lang=language.code() selected=move || chosen.get() == language>
                {language.own_name()}
            </option>
        }
    });
    let choose = move |event: web_sys::Event| {
        if let Some(language) = Language::of_tag(&event_target_value(&event)) {
            unfetched.set(false);
            spawn_local(async move { unfetched.set(!handle.choose_language(language).await) });
        }
    };
    view! {
        <select
            aria-label=handle.say(Word::Language)
            prop:value=move || handle.words.with(|words| words.language.code())
            on:change=choose
        >
            {options.into_iter().collect_view()}
        </select>
    }
}

#[component]
fn ThemeSwitch(handle: Handle) -> impl IntoView {
    let options = Theme::ALL.map(|theme| {
        let word = match theme {
            Theme::Auto => Word::ThemeAuto,
            Theme::Light => Word::ThemeLight,
            Theme::Dark => Word::ThemeDark,
        };
        view! {
            <option value=theme.name() selected=move || handle.theme.get() == theme>{handle.say(word)}</option>
        }
    });
    let choose = move |event: web_sys::Event| handle.choose_theme(Theme::named(&event_target_value(&event)));
    view! {
        <select aria-label=handle.say(Word::Theme) on:change=choose>
            {options.into_iter().collect_view()}
        </select>
    }
}
