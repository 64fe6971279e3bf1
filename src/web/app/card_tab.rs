//! The bot's card: its README.md, rendered by a worker, and what `bot.json` says about its training
//! and its files.

use gloo::net::http::Request;
use leptos::prelude::*;
use wasm_bindgen_futures::spawn_local;

use super::{browser, handle::Handle, helper};
use crate::web::{
    page::{
        Word,
        bots::{
            Place,
            card::{self, Card, Shown},
        },
        curve::{self, Curve},
        preferences::Tab,
        text,
    },
    protocol::CardPage,
};

const CURVE_WIDTH: f64 = 320.0;
const CURVE_HEIGHT: f64 = 120.0;

#[component]
pub fn CardTab(handle: Handle) -> impl IntoView {
    let card = RwSignal::new(Card::default());
    let look = move |place: Place| {
        if card.try_update(|card| card.look(&place)) == Some(true) {
            spawn_local(async move {
                let shown = fetch(&place).await;
                card.try_update(|card| card.take(&place, shown));
            });
        }
    };
    let wanted = Memo::new(move |_| handle.tab.get() == Tab::Card);
    let place = Memo::new(move |_| handle.page.with(|page| page.place().clone()));
    Effect::new(move |_| {
        let place = place.get();
        if wanted.get() {
            look(place);
        }
    });
    let retry = move |_| {
        card.update(Card::forget);
        look(place.get_untracked());
        // Its own button is gone.
        browser::focus("tab-card");
    };
    let shown = Memo::new(move |_| card.with(|card| card.shown().clone()));
    move || match shown.get() {
        Shown::Loading => view! { <p class="sheet">{handle.say(Word::CardLoading)}</p> }.into_any(),
        Shown::None => view! { <p class="sheet">{handle.say(Word::CardNone)}</p> }.into_any(),
        Shown::Failed => view! {
            <div class="alert" role="alert">
                <p>{handle.say(Word::CardFailed)}</p>
                <button type="button" on:click=retry>{handle.say(Word::Retry)}</button>
            </div>
        }
        .into_any(),
        Shown::Card(page) => view! { <Rendered handle page /> }.into_any(),
    }
}

/// Fetches the bundle's README.md and bot.json, and has them rendered.
async fn fetch(place: &Place) -> Shown {
    let (Ok(markdown), Ok(manifest)) = (file(place, "README.md").await, file(place, "bot.json").await) else {
        return Shown::Failed;
    };
    let Some(request) = card::request(place, markdown, manifest) else { return Shown::None };
    let request = serde_json::json!({ "card": request }).to_string();
    let answer = helper::ask(helper::READER, &request).await.and_then(|answer| answer.as_string());
    let page = answer.and_then(|json| serde_json::from_str(&json).ok());
    page.map_or(Shown::Failed, Shown::Card)
}

/// A file could not be fetched, although it may exist.
struct Unfetched;

/// Fetches a file of the bundle; `None` if it has none of that name.
async fn file(place: &Place, name: &str) -> Result<Option<String>, Unfetched> {
    let Some(url) = place.file(name) else { return Ok(None) };
    let response = Request::get(&url).send().await.map_err(|_| Unfetched)?;
    match response.ok() {
        true => response.text().await.map(Some).map_err(|_| Unfetched),
        false if card::is_absent(response.status()) => Ok(None),
        false => Err(Unfetched),
    }
}

#[component]
fn Rendered(handle: Handle, page: CardPage) -> impl IntoView {
    let card = match page.html.trim().is_empty() {
        true => view! { <p class="sheet">{handle.say(Word::CardNone)}</p> }.into_any(),
        // Its language is unknown here. The worker's sanitiser admits only text, links, tables and the
        // bundle's pictures.
        false => view! { <div class="sheet prose" lang="" dir="auto" inner_html=page.html.clone()></div> }
            .into_any(),
    };
    view! {
        {card}
        <Loss handle page=page.clone() />
        <Files handle page />
    }
}

#[component]
fn Loss(handle: Handle, page: CardPage) -> impl IntoView {
    let ends = page.first_loss.zip(page.final_loss).map(|(first, last)| {
        move || {
            handle.words.with(|words| {
                let loss = |loss| text::decimal(loss, 2, words.language);
                words.fill(Word::LossEnds, &[("first", &loss(first)), ("last", &loss(last))])
            })
        }
    });
    let loss = move |loss: f64| move || handle.words.with(|words| text::decimal(loss, 2, words.language));
    let curve = curve::draw(&page.validation, CURVE_WIDTH, CURVE_HEIGHT).map(|curve| {
        let Curve { points, least, most } = curve;
        view! {
            <figure class="curve">
                <figcaption>{handle.say(Word::LossCurve)}</figcaption>
                <span class="curve-most">{loss(most)}</span>
                <svg
                    role="img"
                    aria-label=handle.say(Word::LossCurve)
                    viewBox=format!("-4 -4 {} {}", CURVE_WIDTH + 8.0, CURVE_HEIGHT + 8.0)
                >
                    <polyline points=points />
                </svg>
                <span class="curve-least">{loss(least)}</span>
            </figure>
        }
    });
    (ends.is_some() || curve.is_some()).then(|| {
        view! { <div class="sheet">{curve}{ends.map(|sentence| view! { <p>{sentence}</p> })}</div> }
    })
}

#[component]
fn Files(handle: Handle, page: CardPage) -> impl IntoView {
    let row = |(name, bytes, sha256): (String, u64, String)| {
        view! {
            <tr>
                <th scope="row">{name}</th>
                <td>{move || handle.words.with(|words| text::size(bytes, words.language))}</td>
                <td><code class="digest">{sha256}</code></td>
            </tr>
        }
    };
    (!page.files.is_empty()).then(|| {
        view! {
            <div class="sheet">
                <table class="files">
                    <caption>{handle.say(Word::Files)}</caption>
                    <thead><tr>
                        <th scope="col">{handle.say(Word::File)}</th>
                        <th scope="col">{handle.say(Word::Size)}</th>
                        <th scope="col">"SHA-256"</th>
                    </tr></thead>
                    <tbody>{page.files.into_iter().map(row).collect_view()}</tbody>
                </table>
            </div>
        }
    })
}
