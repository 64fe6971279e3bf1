//! The engine's worker, compiled to wasm; everything is in the library. The
//! page's scripts (`www/worker-start.js`, `www/pool-worker.js`) call these.

use huggingtweets::web::worker;
use wasm_bindgen::{JsValue, prelude::wasm_bindgen};

/// Answers the page: see [`worker::start`]. `description_url` and `description`
/// are a `bot.json` that was already read, and where.
#[wasm_bindgen]
pub fn start(
    build: String,
    wishes: String,
    threads: usize,
    assembled: js_sys::Promise,
    description_url: Option<String>,
    description: Option<String>,
) -> Result<(), JsValue> {
    let described = description_url.zip(description).map(|(url, json)| worker::Description { url, json });
    worker::start(worker::Start { build, wishes, threads, assembled, described })
}

/// A pool thread's life: see [`worker::serve`].
#[wasm_bindgen]
pub fn serve() {
    worker::serve();
}

/// Says that [`serve`] ended by an error.
#[wasm_bindgen]
pub fn fail() {
    worker::fail();
}

/// Every thread passes here before anything else.
fn main() {}
