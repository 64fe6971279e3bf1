//! The engine's worker, compiled to wasm; everything is in the library. The
//! page's scripts (`www/worker-start.js`, `www/pool-worker.js`) call these.

use huggingtweets::web::worker;
use js_sys::{Array, Promise};
use wasm_bindgen::{JsValue, prelude::wasm_bindgen};
use web_sys::Worker;

/// Answers the page: see [`worker::start`]. `helper` is a worker that was started
/// before, and `said` what it has said.
#[wasm_bindgen]
pub fn start(
    build: String,
    wishes: String,
    threads: usize,
    assembled: Promise,
    described: Promise,
    helper: Option<Worker>,
    said: Array,
) -> Result<(), JsValue> {
    let helper = helper.map(|helper| (helper, said));
    worker::start(worker::Start { build, wishes, threads, assembled, described, helper })
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
