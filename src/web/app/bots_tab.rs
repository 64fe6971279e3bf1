//! Opens another bot: by its URL, from this device's files, or one that was opened here before.

use leptos::{html, prelude::*};
use wasm_bindgen_futures::spawn_local;
use web_sys::DragEvent;

use super::{browser, files, handle::Handle};
use crate::web::page::{
    Word,
    bots::{Known, NoModel, Place, address::Address},
    hub::{self, Question},
    text,
};

#[component]
pub fn BotsTab(handle: Handle) -> impl IntoView {
    let said = RwSignal::new(String::new());
    view! {
        <div class="sheet prose">
            <h2>{handle.say(Word::BotsTitle)}</h2>
            <AddressForm handle said />
            <FromFiles handle said />
            <div role="alert" class="said">{said}</div>
        </div>
        <div class="sheet">
            <Recent handle said />
        </div>
    }
}

#[component]
fn AddressForm(handle: Handle, said: RwSignal<String>) -> impl IntoView {
    let input = NodeRef::<html::Input>::new();
    let asked = RwSignal::new(None);
    let open = move |event: web_sys::SubmitEvent| {
        event.prevent_default();
        let Some(text) = input.get_untracked().map(|input| input.value()) else { return };
        // The answer to a former question is no longer wanted.
        asked.set(None);
        match Address::parse(&text, &browser::absolute("/")) {
            Err(reason) => {
                said.set(handle.words.with_untracked(|words| text::no_address(words, &text, reason)));
            }
            Ok(Address::Url(url)) => {
                said.set(String::new());
                handle.open_bot(Place::url(url));
            }
            Ok(Address::Hub(repository)) => {
                let open = handle.page.with_untracked(|page| page.place().clone());
                let question = Question { repository, open };
                asked.set(Some(question.clone()));
                spawn_local(find(handle, question, asked, said));
            }
        }
    };
    view! {
        <form class="address" on:submit=open>
            <label for="address">{handle.say(Word::BotsAddress)}</label>
            <div class="row">
                <input
                    node_ref=input
                    id="address"
                    type="text"
                    inputmode="url"
                    autocomplete="off"
                    autocapitalize="none"
                    spellcheck="false"
                    aria-describedby="address-hint"
                />
                <button type="submit">{handle.say(Word::Open)}</button>
            </div>
            <p id="address-hint" class="hint">{handle.say(Word::BotsHint)}</p>
        </form>
    }
}

/// Asks the Hub for a repository's files, and opens the bot among them.
async fn find(handle: Handle, question: Question, asked: RwSignal<Option<Question>>, said: RwSignal<String>) {
    let repository = question.repository.as_str();
    said.set(handle.words.with_untracked(|w| w.fill(Word::Looking, &[("repository", repository)])));
    let requested = handle.page.with_untracked(|page| page.requested_precision());
    let found = match gloo::net::http::Request::get(&hub::api_url(repository)).send().await {
        Ok(response) => {
            let answer = response.text().await.unwrap_or_default();
            hub::find(repository, response.status(), &answer, requested)
        }
        Err(_) => Err(hub::HubProblem::Unreachable),
    };
    let last = asked.get_untracked();
    if !handle.page.with_untracked(|page| question.stands(last.as_ref(), page.place())) {
        return;
    }
    match found {
        Ok(place) => {
            said.set(String::new());
            handle.open_bot(place);
        }
        Err(problem) => {
            said.set(handle.words.with_untracked(|words| text::hub_problem(words, repository, &problem)));
        }
    }
}

#[component]
fn FromFiles(handle: Handle, said: RwSignal<String>) -> impl IntoView {
    let over = RwSignal::new(false);
    let open = move |given: files::Given| {
        let requested = handle.page.with_untracked(|page| page.requested_precision());
        match Place::of_files(&given, requested, files::object_url) {
            Ok(place) => {
                said.set(String::new());
                handle.open_bot(place);
            }
            Err(NoModel) => said.set(handle.said(Word::NoModel)),
        }
    };
    let drop = move |event: DragEvent| {
        event.prevent_default();
        over.set(false);
        let entries = event.data_transfer().map(|dropped| files::entries(&dropped)).unwrap_or_default();
        // Text can be dropped as well.
        if !entries.is_empty() {
            spawn_local(async move { open(files::dropped(entries).await) });
        }
    };
    let choose = move |event: web_sys::Event| {
        let input: web_sys::HtmlInputElement = event_target(&event);
        open(files::chosen(input.files()));
        // Allows the same file to be chosen again.
        input.set_value("");
    };
    let drag = move |event: DragEvent| {
        event.prevent_default();
        over.set(true);
    };
    view! {
        <h3>{handle.say(Word::OrFiles)}</h3>
        <div class="drop" class:over=over on:dragover=drag on:dragleave=move |_| over.set(false) on:drop=drop>
            <p>{handle.say(Word::FilesHint)}</p>
            <div class="row">
                <label class="button">
                    {handle.say(Word::ChooseFile)}
                    <input class="unseen" type="file" accept=".gguf" on:change=choose />
                </label>
                <label class="button">
                    {handle.say(Word::ChooseFolder)}
                    <input class="unseen" type="file" prop:webkitdirectory=true on:change=choose />
                </label>
            </div>
        </div>
    }
}

#[component]
fn Recent(handle: Handle, said: RwSignal<String>) -> impl IntoView {
    let known = Memo::new(move |_| handle.page.with(|page| page.bots.known().cloned().collect::<Vec<_>>()));
    let empty = Memo::new(move |_| known.with(Vec::is_empty));
    view! {
        <h2 id="recent" tabindex="-1">{handle.say(Word::RecentBots)}</h2>
        <Show
            when=move || !empty.get()
            fallback=move || view! { <p class="nothing">{handle.say(Word::RecentEmpty)}</p> }
        >
            <ul class="recent" role="list" aria-labelledby="recent">
                // Other weights at the same address are a different row.
                <For each=move || known.get() key=|bot| (bot.model.clone(), bot.sha256.clone()) let:bot>
                    <RecentBot handle bot said />
                </For>
            </ul>
        </Show>
    }
}

#[component]
fn RecentBot(handle: Handle, bot: Known, said: RwSignal<String>) -> impl IntoView {
    let Known { model, name, bytes, .. } = bot.clone();
    let named = move |word: Word| {
        let name = name.clone();
        move || handle.words.with(|words| words.fill(word, &[("name", &name)]))
    };
    let (open_name, delete_name) = (named(Word::OpenBot), named(Word::DeleteBot));
    let here = {
        let model = model.clone();
        Memo::new(move |_| handle.page.with(|page| page.place().model == model))
    };
    let (to_open, to_forget) = (bot.place(), bot.clone());
    let open = move |_| {
        said.set(String::new());
        handle.open_bot(to_open.clone());
    };
    let forget = move |_| {
        let bot = to_forget.clone();
        handle.act_on_kept(|page| page.forget_bot(&bot));
        browser::focus("recent");
    };
    view! {
        <li>
            <span class="recent-words">
                <strong dir="auto">{bot.name}</strong>
                <span class="hint">
                    {move || (bytes > 0).then(|| handle.words.with(|words| text::size(bytes, words.language)))}
                    {move || here.get().then(|| format!(" · {}", handle.say(Word::OpenNow)()))}
                </span>
                <span class="hint">{model}</span>
            </span>
            <span class="buttons">
                <button type="button" aria-label=open_name on:click=open>{handle.say(Word::Open)}</button>
                <button type="button" aria-label=delete_name on:click=forget>{handle.say(Word::Delete)}</button>
            </span>
        </li>
    }
}
