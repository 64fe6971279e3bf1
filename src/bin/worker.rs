//! The engine's worker, compiled to wasm; everything is in the library. The
//! page's scripts (`www/worker-start.js`, `www/pool-worker.js`) call these.

use huggingtweets::web::worker;
use js_sys::Promise;
use wasm_bindgen::{JsValue, prelude::wasm_bindgen};

/// Answers the page: see [`worker::start`].
#[wasm_bindgen]
pub fn start(
    build: String,
    wishes: String,
    threads: usize,
    assembled: Promise,
    described: Promise,
    kept: Promise,
) -> Result<(), JsValue> {
    worker::start(worker::Start { build, wishes, threads, assembled, described, kept })
}

/// Counts a thread of the pool: see [`worker::join`].
#[wasm_bindgen]
pub fn join() {
    worker::join();
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
