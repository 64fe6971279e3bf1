//! The page's header: its name, and the menus for language and theme.

use leptos::prelude::*;

use super::handle::Handle;
use crate::web::page::{Word, preferences::Theme, text, words::Language};

#[component]
pub fn Masthead(handle: Handle) -> impl IntoView {
    view! {
        <header class="masthead">
            <div class="masthead-words">
                <h1>{text::TITLE}</h1>
                <p>{handle.say(Word::Tagline)}</p>
            </div>
            <div class="switches">
                <LanguageSwitch handle />
                <ThemeSwitch handle />
            </div>
        </header>
    }
}

#[component]
fn LanguageSwitch(handle: Handle) -> impl IntoView {
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
            handle.choose_language(language);
        }
    };
    view! {
        <select aria-label=handle.say(Word::Language) on:change=choose>
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
