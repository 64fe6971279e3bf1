//! The sampling settings: presets, and a field each.

use leptos::{ev, html, prelude::*};

use super::{handle::Handle, part::Part};
use crate::web::{
    page::{
        Word,
        settings::{FIELDS, Field, Preset, Setting},
        text,
    },
    protocol::BackendChoice,
};

#[component]
pub fn SettingsForm(handle: Handle) -> impl IntoView {
    let last_seed = Memo::new(move |_| handle.page.with(|page| page.last.as_ref().map(|(_, seed)| *seed)));
    view! {
        <details class="settings">
            <summary>{handle.say(Word::Settings)}</summary>
            // Closed at first.
            <Part nth=5>
                <Presets handle />
                <div class="fields">
                    {FIELDS.iter().map(|field| view! { <SettingField handle field last_seed /> }).collect_view()}
                </div>
                <BackendField handle />
                <button type="button" on:click=move |_| handle.change(|page| page.settings.reset())>
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
                    on:change=move |_| handle.change(|page| page.settings.choose(preset))
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
fn SettingField(handle: Handle, field: &'static Field, last_seed: Memo<Option<u64>>) -> impl IntoView {
    let value = Memo::new(move |_| handle.page.with(|page| page.settings.text(field.setting).to_owned()));
    let hint_id = format!("{}-hint", field.id);
    let input = NodeRef::<html::Input>::new();
    let hint = move || {
        handle.words.with(|words| match (field.setting, last_seed.get()) {
            (Setting::Seed, Some(seed)) => {
                let drafts = words.fill(Word::DraftsSeed, &[("seed", &seed.to_string())]);
                format!("{} {drafts}", &words[field.hint])
            }
            _ => words[field.hint].to_owned(),
        })
    };
    let random = handle.say(Word::Random);
    let placeholder = move || if field.default.is_empty() { random() } else { field.default.to_owned() };
    view! {
        <div class="field">
            <label for=field.id>{handle.say(field.label)}</label>
            <code class="term" aria-hidden="true">{field.term}</code>
            <input
                node_ref=input
                id=field.id
                type="number"
                inputmode="decimal"
                min=field.min
                max=(!field.max.is_empty()).then_some(field.max)
                step=field.step
                placeholder=placeholder
                aria-describedby=hint_id.clone()
                prop:value=value
                on:change=move |_: ev::Event| {
                    if let Some(input) = input.get_untracked() {
                        handle.change(|page| page.settings.set(field.setting, &input.value()));
                    }
                }
            />
            <p id=hint_id class="hint">{hint}</p>
        </div>
    }
}
