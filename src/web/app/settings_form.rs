//! The sampling settings: presets, and a field for each setting.

use leptos::prelude::*;

use super::{handle::Handle, part::Part};
use crate::web::{
    page::{
        Word,
        settings::{FIELDS, Field, Preset, Settings},
        text,
    },
    protocol::BackendChoice,
};

#[component]
pub fn SettingsForm(handle: Handle) -> impl IntoView {
    view! {
        <details class="settings">
            <summary>{handle.say(Word::Settings)}</summary>
            // Created late, as it is closed at first.
            <Part nth=5>
                <Presets handle />
                <div class="fields">
                    {FIELDS.iter().map(|field| view! { <SettingField handle field /> }).collect_view()}
                </div>
                <BackendField handle />
                <button type="button" on:click=move |_| handle.change(|page| page.change_settings(Settings::reset))>
                    {handle.say(Word::Reset)}
                </button>
            </Part>
        </details>
    }
}

#[component]
fn Presets(handle: Handle) -> impl IntoView {
    let chosen = Memo::new(move |_| handle.page.with(|page| page.settings.preset()));
    let choice = move |preset: Preset| {
        view! {
            <label class="preset">
                <input
                    type="radio"
                    name="preset"
                    prop:checked=move || chosen.get() == Some(preset)
                    on:change=move |_| handle.change(|page| {
                        page.change_settings(|settings| settings.choose(preset));
                    })
                />
                <span>{handle.say(preset.words().0)}</span>
            </label>
        }
    };
    let effect = move || {
        let word = chosen.get().map_or(Word::OwnSettings, |preset| preset.words().1);
        handle.say(word)()
    };
    view! {
        <fieldset class="presets">
            <legend>{handle.say(Word::Presets)}</legend>
            {Preset::ALL.map(choice).into_iter().collect_view()}
            <p class="hint">{effect}</p>
        </fieldset>
    }
}

/// The menu that overrides the choice of engine.
#[component]
fn BackendField(handle: Handle) -> impl IntoView {
    let chosen = Memo::new(move |_| handle.page.with(|page| page.backend()));
    view! {
        <div class="field">
            <label for="backend">{handle.say(Word::Engine)}</label>
            <select
                id="backend"
                prop:value=move || chosen.get().name()
                on:change:target=move |event| {
                    if let Some(choice) = BackendChoice::named(&event.target().value()) {
                        handle.act(|page| page.choose_backend(choice));
                    }
                }
            >
                {BackendChoice::ALL.map(|choice| view! {
                    <option value=choice.name() selected=move || chosen.get() == choice>
                        {handle.say(text::backend_choice(choice))}
                    </option>
                })}
            </select>
        </div>
    }
}

#[component]
fn SettingField(handle: Handle, field: &'static Field) -> impl IntoView {
    let value = Memo::new(move |_| handle.page.with(|page| page.settings.text(field.setting).to_owned()));
    let hint_id = format!("{}-hint", field.id);
    let refused = Memo::new(move |_| handle.page.with(|page| page.refuses(field.setting)));
    let random = handle.say(Word::Random);
    let placeholder = move || if field.default.is_empty() { random() } else { field.default.to_owned() };
    view! {
        <div class="field">
            <label for=field.id>{handle.say(field.label)}</label>
            <code class="term" aria-hidden="true">{field.term}</code>
            <input
                id=field.id
                // A number field would return nothing for invalid text.
                type="text"
                inputmode="decimal"
                autocomplete="off"
                placeholder=placeholder
                aria-describedby=hint_id.clone()
                aria-invalid=move || refused.get().to_string()
                prop:value=value
                on:change:target=move |event| {
                    let text = event.target().value();
                    handle.change(|page| page.change_settings(|settings| settings.set(field.setting, &text)));
                }
            />
            <p id=hint_id class="hint">{handle.say(field.hint)}</p>
        </div>
    }
}
