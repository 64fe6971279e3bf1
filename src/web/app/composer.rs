//! Where a visitor writes: the start, the button, the settings, and what the
//! engine says about itself.

use leptos::{ev, html, prelude::*};
use web_sys::{KeyboardEvent, MouseEvent};

use super::{
    handle::Handle,
    line::random_u64,
    settings::{FIELDS, Field, Setting},
    text,
};
use crate::web::protocol::BackendChoice;

#[component]
pub fn Composer(handle: Handle) -> impl IntoView {
    let busy = Memo::new(move |_| handle.page.with(|page| page.busy()));
    let start = Memo::new(move |_| handle.page.with(|page| page.start.clone()));
    let generate = move || handle.act(|page| page.generate(random_u64() >> 32));
    let press = move |event: MouseEvent| match busy.get_untracked() {
        false => generate(),
        // The second click of a double click on Generate is no wish to stop.
        true if event.detail() > 1 => {}
        true => handle.act(|page| page.stop(None)),
    };
    let key = move |event: KeyboardEvent| {
        if event.key() == "Enter" && !event.shift_key() && !event.is_composing() {
            event.prevent_default();
            generate();
        }
    };
    view! {
        <section class="composer">
            <label for="start">{text::START_LABEL}</label>
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
            <div class="actions">
                // One button, so that the focus stays where it is when its meaning changes.
                <button type="button" class="primary" class:stop=busy on:click=press>
                    {move || if busy.get() { text::STOP } else { text::GENERATE }}
                </button>
                <Status handle />
            </div>
            <Alert handle />
            <SettingsForm handle />
        </section>
    }
}

#[component]
fn Status(handle: Handle) -> impl IntoView {
    let status = Memo::new(move |_| handle.page.with(|page| page.status()));
    let progress = Memo::new(move |_| handle.page.with(|page| page.progress()));
    let under_way = Memo::new(move |_| progress.with(Option::is_some));
    let bytes = move |part: fn((u64, u64)) -> u64| {
        move || progress.get().map_or(String::new(), |pair| part(pair).to_string())
    };
    view! {
        <div class="status">
            <p role="status">{status}</p>
            <Show when=move || under_way.get()>
                <progress aria-label=text::PROGRESS value=bytes(|p| p.0) max=bytes(|p| p.1.max(1))></progress>
            </Show>
        </div>
    }
}

#[component]
fn Alert(handle: Handle) -> impl IntoView {
    let alert = Memo::new(move |_| handle.page.with(|page| page.alert()));
    // The region itself is always there: readers announce what enters it.
    view! {
        <div role="alert">
            {move || alert.get().map(|(sentence, retry)| view! {
                <div class="alert">
                    <p>{sentence}</p>
                    {retry.then(|| view! {
                        <button type="button" on:click=move |_| handle.act(|page| page.retry())>{text::RETRY}</button>
                    })}
                </div>
            })}
        </div>
    }
}

#[component]
fn SettingsForm(handle: Handle) -> impl IntoView {
    let last_seed = Memo::new(move |_| handle.page.with(|page| page.last.as_ref().map(|(_, seed)| *seed)));
    view! {
        <details class="settings">
            <summary>{text::SETTINGS}</summary>
            <div class="fields">
                {FIELDS.iter().map(|field| view! { <SettingField handle field last_seed /> }).collect_view()}
            </div>
            <BackendField handle />
            <button type="button" on:click=move |_| handle.change(|page| page.settings.reset())>
                {text::RESET}
            </button>
        </details>
    }
}

/// The menu that overrides the choice of engine.
#[component]
fn BackendField(handle: Handle) -> impl IntoView {
    let chosen = Memo::new(move |_| handle.page.with(|page| page.backend()));
    view! {
        <div class="field">
            <label for="backend">{text::ENGINE}</label>
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
                        {text::backend_choice(choice)}
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
    let hint = move || match (field.setting, last_seed.get()) {
        (Setting::Seed, Some(seed)) => format!("{} The drafts below: {seed}.", field.hint),
        _ => field.hint.to_owned(),
    };
    view! {
        <div class="field">
            <label for=field.id>{field.label}</label>
            <input
                node_ref=input
                id=field.id
                type="number"
                inputmode="decimal"
                min=field.min
                max=(!field.max.is_empty()).then_some(field.max)
                step=field.step
                placeholder=field.placeholder
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
