//! The readers of archives and cards, compiled to wasm; everything is in the library.
//! `www/reader-worker.js` calls these functions.

use huggingtweets::web::{
    protocol::CardRequest,
    reader::{card, check, file::FileSource},
};
use wasm_bindgen::prelude::wasm_bindgen;

/// Renders a bot's card: a [`CardRequest`] as JSON in, a `CardPage` as JSON out.
#[wasm_bindgen]
pub fn render_card(request: &str) -> Result<String, String> {
    let request: CardRequest = serde_json::from_str(request).map_err(|error| error.to_string())?;
    serde_json::to_string(&card::render(&request)).map_err(|error| error.to_string())
}

/// Reads an archive in place: returns a [`check::Check`] as JSON, or the reader's error message.
#[wasm_bindgen]
pub fn check_archive(file: web_sys::File) -> Result<String, String> {
    console_error_panic_hook::set_once();
    let name = file.name();
    let source = FileSource::open(file).map_err(|error| error.to_string())?;
    let size = source.size();
    let result = check::check(&name, source, size).map_err(|error| error.to_string())?;
    serde_json::to_string(&result).map_err(|error| error.to_string())
}

fn main() {}
