//! The bot's card: its README.md, rendered by a worker, and what `bot.json`
//! says of its training and its files.

use leptos::prelude::*;
use wasm_bindgen_futures::spawn_local;

use super::{browser, handle::Handle, helper};
use crate::web::{
    page::{Word, bots::Place, curve, preferences::Tab, text},
    protocol::{CardOrder, CardPage},
};

const CURVE_WIDTH: f64 = 320.0;
const CURVE_HEIGHT: f64 = 120.0;

#[derive(Clone, PartialEq)]
enum Shown {
    Loading,
    None,
    Card(CardPage),
}

#[component]
pub fn CardTab(handle: Handle) -> impl IntoView {
    let shown = RwSignal::new(Shown::Loading);
    let wanted = Memo::new(move |_| handle.tab.get() == Tab::Card);
    let place = Memo::new(move |_| handle.page.with(|page| page.place().clone()));
    Effect::new(move |shown_for: Option<Option<Place>>| {
        let shown_for = shown_for.flatten();
        let place = place.get();
        if !wanted.get() || shown_for.as_ref() == Some(&place) {
            return shown_for;
        }
        shown.set(Shown::Loading);
        let asked = place.clone();
        spawn_local(async move {
            shown.try_set(card(&asked).await.map_or(Shown::None, Shown::Card));
        });
        Some(place)
    });
    move || match shown.get() {
        Shown::Loading => view! { <p class="sheet">{handle.say(Word::CardLoading)}</p> }.into_any(),
        Shown::None => view! { <p class="sheet">{handle.say(Word::CardNone)}</p> }.into_any(),
        Shown::Card(page) => view! { <Card handle page /> }.into_any(),
    }
}

/// Fetches the bundle's card and description, and has them rendered.
async fn card(place: &Place) -> Option<CardPage> {
    let folder = folder(&place.model)?;
    let url = |file: &str| match place.files.get(file) {
        Some(given) => given.clone(),
        None => format!("{folder}{file}"),
    };
    if place.is_local() && !place.files.contains_key("README.md") {
        return None;
    }
    let markdown = browser::fetch_text(&url("README.md")).await?;
    let manifest = browser::fetch_text(&url("bot.json")).await.unwrap_or_default();
    // Files of this device have no address that a picture or a link could be below.
    let folder = if place.is_local() { String::new() } else { folder };
    let order = CardOrder { markdown, manifest, folder };
    let order = serde_json::json!({ "card": order }).to_string();
    let answer = helper::ask(helper::READER, &order).await?.as_string()?;
    serde_json::from_str(&answer).ok()
}

/// The bundle's folder, ending in `/`; a GGUF alone has none.
fn folder(model: &str) -> Option<String> {
    let path = model.split(['?', '#']).next()?;
    if path.to_ascii_lowercase().ends_with(".gguf") {
        return None;
    }
    let path = path.strip_suffix("bot.json").unwrap_or(path);
    Some(format!("{}/", path.trim_end_matches('/')))
}

#[component]
fn Card(handle: Handle, page: CardPage) -> impl IntoView {
    // The worker's sanitiser let only text, links, tables and the bundle's pictures through.
    view! {
        <div class="sheet prose" dir="auto" inner_html=page.html.clone()></div>
        <Loss handle page=page.clone() />
        <Files handle page />
    }
}

#[component]
fn Loss(handle: Handle, page: CardPage) -> impl IntoView {
    let ends = page.first_loss.zip(page.final_loss).map(|(first, last)| {
        let (first, last) = (format!("{first:.2}"), format!("{last:.2}"));
        move || handle.words.with(|words| words.fill(Word::LossEnds, &[("first", &first), ("last", &last)]))
    });
    let curve = curve::points(&page.validation, CURVE_WIDTH, CURVE_HEIGHT).map(|points| {
        let (least, most) = page
            .validation
            .iter()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v.1), b.max(v.1)));
        view! {
            <figure class="curve">
                <figcaption>{handle.say(Word::LossCurve)}</figcaption>
                <span class="curve-most">{format!("{most:.2}")}</span>
                <svg
                    role="img"
                    aria-label=handle.say(Word::LossCurve)
                    viewBox=format!("-4 -4 {} {}", CURVE_WIDTH + 8.0, CURVE_HEIGHT + 8.0)
                >
                    <polyline points=points />
                </svg>
                <span class="curve-least">{format!("{least:.2}")}</span>
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
                <td>{text::megabytes(bytes)}</td>
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
