//! Small workers for what the first paint does not need: each is fetched on demand, answers one
//! message, and is terminated.

use gloo::events::EventListener;
use js_sys::{Function, Promise};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::MessageEvent;

use crate::web::channel;

/// Renders a bot's card.
pub const READER: &str = "./reader-worker.js";

/// Draws a draft's card.
pub const PICTURE: &str = "./picture-worker.js";

/// Sends `message` to a new worker and returns its answer; `None` if it fails.
pub async fn ask(script: &str, message: &str) -> Option<JsValue> {
    let worker = channel::start(script).ok()?;
    let mut listeners = Vec::new();
    let answered = Promise::new(&mut |resolve: Function, reject: Function| {
        let answer = move |event: &web_sys::Event| {
            let data = event.dyn_ref::<MessageEvent>().map_or(JsValue::NULL, MessageEvent::data);
            let _ = resolve.call1(&JsValue::NULL, &data);
        };
        let fail = move |_: &web_sys::Event| _ = reject.call0(&JsValue::NULL);
        listeners.push(EventListener::new(&worker, "message", answer));
        listeners.push(EventListener::new(&worker, "error", fail));
    });
    let posted = worker.post_message(&message.into());
    let answer = if posted.is_ok() { JsFuture::from(answered).await.ok() } else { None };
    drop(listeners);
    worker.terminate();
    answer.filter(|answer| !answer.is_null())
}
