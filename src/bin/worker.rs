//! The engine's worker, compiled to wasm; everything is in the library. The page's scripts
//! (`www/worker-start.js`, `www/pool-worker.js`) call these functions.

use huggingtweets::web::worker;
use js_sys::Promise;
use wasm_bindgen::{JsValue, prelude::wasm_bindgen};

/// Serves the page: see [`worker::start`].
#[wasm_bindgen]
pub fn start(
    build: String,
    options: String,
    threads: usize,
    assembled: Promise,
    described: Promise,
    kept: Promise,
) -> Result<(), JsValue> {
    worker::start(worker::Start { build, options, threads, assembled, described, kept })
}

/// Counts a thread of the pool: see [`worker::join`].
#[wasm_bindgen]
pub fn join() {
    worker::join();
}

/// Runs a thread of the pool: see [`worker::serve`].
#[wasm_bindgen]
pub fn serve() {
    worker::serve();
}

/// Reports that [`serve`] ended with an error.
#[wasm_bindgen]
pub fn fail() {
    worker::fail();
}

/// Runs on every thread at its start.
fn main() {}
