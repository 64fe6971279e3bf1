//! What the page asks of the browser: its address, its document, the clipboard.

use js_sys::Reflect;
use leptos::prelude::{document, window};
use wasm_bindgen::JsValue;
use wasm_bindgen_futures::JsFuture;
use web_sys::{Element, Url, UrlSearchParams};

use super::query::Query;

/// The bot shown where the address names none: a folder beside the page.
const DEFAULT_MODEL: &str = "bot/";

/// `data-mode` of the root element.
pub fn document_mode() -> Option<String> {
    document().document_element()?.get_attribute("data-mode")
}

/// Removes what the HTML shows until the app is here.
pub fn clear_placeholder() {
    if let Some(placeholder) = document().get_element_by_id("placeholder") {
        placeholder.remove();
    }
}

/// The parameters of this page's address.
pub fn query() -> Query {
    let search = window().location().search().unwrap_or_default();
    let Ok(parameters) = UrlSearchParams::new_with_str(&search) else { return Query::default() };
    let pairs = parameters.entries();
    let pair = |entry: Result<JsValue, JsValue>| {
        let entry = js_sys::Array::from(&entry.ok()?);
        Some((entry.get(0).as_string()?, entry.get(1).as_string()?))
    };
    Query::parse(pairs.into_iter().filter_map(|entry| pair(entry.map(JsValue::from).map_err(JsValue::from))))
}

/// The bot's absolute address; one that cannot be read stays as it is, for the
/// worker's sentence to name.
pub fn model_url(model: Option<&str>) -> String {
    let base = document().base_uri().ok().flatten().unwrap_or_default();
    let model = model.unwrap_or(DEFAULT_MODEL);
    Url::new_with_base(model, &base).map_or_else(|_| model.into(), |url| url.href())
}

/// Puts text on the clipboard; false where the browser does not allow it.
pub async fn copy(text: &str) -> bool {
    // Absent on insecure addresses.
    let navigator = window().navigator();
    let there = Reflect::get(&navigator, &"clipboard".into()).is_ok_and(|c| !c.is_undefined());
    there && JsFuture::from(navigator.clipboard().write_text(text)).await.is_ok()
}

/// Marks an element's text, so that a keystroke copies it.
pub fn select_text(element: &Element) {
    if let Ok(Some(selection)) = window().get_selection() {
        let _ = selection.select_all_children(element);
    }
}
