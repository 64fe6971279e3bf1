//! The browser APIs that the page uses: its URL, its document, its storage, the clipboard.

use gloo::{events::EventListener, net::http::Request};
use js_sys::{JsString, Reflect};
use leptos::prelude::{document, window};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    Element, Event, HtmlAnchorElement, HtmlElement, KeyboardEvent, Storage, Url, UrlSearchParams, Worker,
};

use crate::web::page::{
    query::Query,
    words::{Language, Words},
};

/// The bot shown if the URL names none: a folder beside the page.
const DEFAULT_MODEL: &str = "bot/";

/// Keys of what is stored on this device.
pub const THEME: &str = "huggingtweets.theme";
pub const LANGUAGE: &str = "huggingtweets.language";
pub const HISTORY: &str = "huggingtweets.history";
pub const BOTS: &str = "huggingtweets.bots";

/// The `data-mode` of the root element.
pub fn document_mode() -> Option<String> {
    document().document_element()?.get_attribute("data-mode")
}

/// Sets an attribute of the root element.
pub fn set_root(name: &str, value: &str) {
    if let Some(root) = document().document_element() {
        let _ = root.set_attribute(name, value);
    }
}

/// Removes the HTML's placeholder.
pub fn clear_placeholder() {
    if let Some(placeholder) = document().get_element_by_id("placeholder") {
        placeholder.remove();
    }
}

/// Moves the focus once the views are up to date.
pub fn focus(id: &'static str) {
    leptos::task::spawn_local(async move {
        leptos::task::tick().await;
        let element = document().get_element_by_id(id).and_then(|e| e.dyn_into::<HtmlElement>().ok());
        if let Some(element) = element {
            let _ = element.focus();
        }
    });
}

/// A random number, good enough for a seed; not for a secret.
pub fn random_u64() -> u64 {
    let half = || (js_sys::Math::random() * 4_294_967_296.0) as u64;
    half() << 32 | half()
}

/// The parameters of this page's URL.
pub fn query() -> Query {
    let search = window().location().search().unwrap_or_default();
    let Ok(parameters) = UrlSearchParams::new_with_str(&search) else { return Query::default() };
    let pairs = parameters.entries();
    let pair = |entry: Result<JsValue, JsValue>| {
        let entry = js_sys::Array::from(&entry.ok()?);
        Some((entry.get(0).as_string()?, entry.get(1).as_string()?))
    };
    Query::parse(pairs.into_iter().filter_map(pair))
}

/// The bot's absolute URL; an invalid one stays as it is, for the worker's error message.
pub fn model_url(model: Option<&str>) -> String {
    absolute(model.unwrap_or(DEFAULT_MODEL))
}

/// The absolute form of a URL relative to this page.
pub fn absolute(address: &str) -> String {
    let base = document().base_uri().ok().flatten().unwrap_or_default();
    Url::new_with_base(address, &base).map_or_else(|_| address.into(), |url| url.href())
}

/// The worker that `www/start.js` started alongside the page; returned only once.
pub fn started_worker() -> Option<Worker> {
    let (window, name) = (window(), JsValue::from("startedWorker"));
    let worker = Reflect::get(&window, &name).ok()?.dyn_into().ok()?;
    let _ = Reflect::delete_property(&window, &name);
    Some(worker)
}

/// Whether a key belongs to an input method's composition. In Safari, only its code shows that of
/// the key that ends one.
pub fn is_composing(event: &KeyboardEvent) -> bool {
    const IN_COMPOSITION: u32 = 229;
    event.is_composing() || event.key_code() == IN_COMPOSITION
}

/// Replaces the query of the page's URL by the shown bot's; the rest of it was about the former
/// bot.
pub fn show_search(search: &str) {
    if let Ok(history) = window().history() {
        let _ = history.replace_state_with_url(&JsValue::NULL, "", Some(&format!("./{search}")));
    }
}

/// The text stored under a name; empty if there is none, or no storage.
pub fn kept(name: &str) -> String {
    storage().and_then(|storage| storage.get_item(name).ok().flatten()).unwrap_or_default()
}

/// Stores a text; returns false if storage is full or forbidden, which has no other effect.
pub fn keep(name: &str, text: &str) -> bool {
    storage().is_some_and(|storage| storage.set_item(name, text).is_ok())
}

/// Calls `call` when another tab of this site has stored something, and when the page returns from
/// the back/forward cache; for as long as the page lives.
pub fn when_kept_elsewhere(call: impl Fn() + Copy + 'static) {
    EventListener::new(&window(), "storage", move |_| call()).forget();
    let shown = move |event: &Event| {
        if Reflect::get(event, &"persisted".into()).is_ok_and(|persisted| persisted.is_truthy()) {
            call();
        }
    };
    EventListener::new(&window(), "pageshow", shown).forget();
}

fn storage() -> Option<Storage> {
    window().local_storage().ok().flatten()
}

/// The language chosen here, else the first of the browser's that the interface has.
pub fn language() -> Language {
    let chosen = kept(LANGUAGE);
    let languages = window().navigator().languages();
    let tags: Vec<_> = languages.iter().filter_map(|tag| tag.as_string()).collect();
    Language::pick(std::iter::once(chosen.as_str()).chain(tags.iter().map(String::as_str)))
}

/// The sentences of a language; `None` if its file cannot be fetched.
pub async fn words(language: Language) -> Option<Words> {
    if language == Language::English {
        return Some(Words::english());
    }
    let file = fetch_text(&format!("./words/{}.json", language.code())).await;
    file.and_then(|json| Words::parse(language, &json).ok())
}

/// A file's text; `None` if it cannot be fetched.
pub async fn fetch_text(url: &str) -> Option<String> {
    let response = Request::get(url).send().await.ok().filter(|response| response.ok())?;
    response.text().await.ok()
}

/// The text in Unicode normalisation form C.
pub fn composed(text: &str) -> String {
    JsString::from(text).normalize("NFC").into()
}

/// Copies text to the clipboard; returns false if the browser does not allow it.
pub async fn copy(text: &str) -> bool {
    // Missing on insecure origins.
    let navigator = window().navigator();
    let there = Reflect::get(&navigator, &"clipboard".into()).is_ok_and(|c| !c.is_undefined());
    there && JsFuture::from(navigator.clipboard().write_text(text)).await.is_ok()
}

/// Selects an element's text, so that a keystroke copies it.
pub fn select_text(element: &Element) {
    if let Ok(Some(selection)) = window().get_selection() {
        let _ = selection.select_all_children(element);
    }
}

/// Saves what an object URL refers to as a file.
pub fn save(url: &str, name: &str) {
    let anchor = document().create_element("a").ok().and_then(|a| a.dyn_into::<HtmlAnchorElement>().ok());
    if let Some(anchor) = anchor {
        anchor.set_href(url);
        anchor.set_download(name);
        anchor.click();
    }
}

/// Whether the page is shown in dark colours.
pub fn is_dark() -> bool {
    match document().document_element().and_then(|root| root.get_attribute("data-theme")).as_deref() {
        Some("dark") => true,
        Some("light") => false,
        _ => window()
            .match_media("(prefers-color-scheme: dark)")
            .ok()
            .flatten()
            .is_some_and(|list| list.matches()),
    }
}
