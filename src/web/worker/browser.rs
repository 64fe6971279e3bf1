//! What the worker needs of the browser besides the network: a clock, timers, memory and file
//! sizes, and a way to yield to the event loop.

use std::{future::poll_fn, pin::pin, task::Poll};

use futures_channel::oneshot;
use gloo::timers::callback::Timeout;
use js_sys::{Function, Promise, Reflect, WebAssembly};
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use wasm_bindgen_futures::JsFuture;
use web_sys::{MessageChannel, MessageEvent, WorkerGlobalScope};

fn global() -> Option<WorkerGlobalScope> {
    js_sys::global().dyn_into().ok()
}

/// Milliseconds since the worker started.
pub fn now_ms() -> f64 {
    global().and_then(|g| g.performance()).map_or(0.0, |p| p.now())
}

/// Bytes of this worker's WebAssembly memory; it never shrinks, so this is also its peak.
pub fn memory_bytes() -> u64 {
    let memory: WebAssembly::Memory = wasm_bindgen::memory().unchecked_into();
    let length = Reflect::get(&memory.buffer(), &"byteLength".into()).ok().and_then(|n| n.as_f64());
    length.unwrap_or(0.0) as u64
}

/// Bytes of this worker's WebAssembly file, uncompressed; 0 where the browser hides them.
pub fn wasm_bytes() -> u64 {
    let Some(performance) = global().and_then(|g| g.performance()) else { return 0 };
    let entries = performance.get_entries_by_type("resource");
    let size = |entry: JsValue| {
        let text = |key: &str| Reflect::get(&entry, &key.into()).ok();
        let name = text("name")?.as_string()?;
        name.contains(".wasm").then(|| text("decodedBodySize")?.as_f64()).flatten()
    };
    entries.iter().filter_map(size).fold(0.0, f64::max) as u64
}

/// Waits for work, but at most `ms` milliseconds; `None` on timeout.
pub async fn within<T>(ms: u32, work: impl Future<Output = T>) -> Option<T> {
    let (ring, alarm) = oneshot::channel();
    let _timer = Timeout::new(ms, move || {
        let _ = ring.send(());
    });
    let (mut work, mut alarm) = (pin!(work), pin!(alarm));
    poll_fn(|context| {
        if let Poll::Ready(result) = work.as_mut().poll(context) {
            return Poll::Ready(Some(result));
        }
        match alarm.as_mut().poll(context) {
            Poll::Ready(_) => Poll::Ready(None),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// Whether this browser has WebGPU.
pub fn has_webgpu() -> bool {
    navigator("gpu").is_some()
}

/// An object of the browser's navigator; `None` if there is none of that name.
pub fn navigator(name: &str) -> Option<JsValue> {
    let found = Reflect::get(&global()?.navigator(), &name.into()).ok()?;
    found.is_object().then_some(found)
}

/// Resolves after `ms` milliseconds.
pub async fn sleep(ms: u32) {
    let (ring, alarm) = oneshot::channel();
    let _timer = Timeout::new(ms, move || {
        let _ = ring.send(());
    });
    let _ = alarm.await;
}

/// Yields to the worker's event loop by a message channel, because timers are clamped to 4 ms, and
/// longer in hidden tabs.
pub struct EventLoop {
    channel: MessageChannel,
}

impl EventLoop {
    pub fn new() -> Result<Self, JsValue> {
        Ok(Self { channel: MessageChannel::new()? })
    }

    /// Resolves after every event that is queued now.
    pub async fn yield_now(&self) -> Result<(), JsValue> {
        let wait = Promise::new(&mut |resolve: Function, _| {
            let resolve = Closure::once_into_js(move |_: MessageEvent| {
                let _ = resolve.call0(&JsValue::NULL);
            });
            self.channel.port1().set_onmessage(Some(resolve.unchecked_ref()));
        });
        self.channel.port2().post_message(&JsValue::NULL)?;
        JsFuture::from(wait).await.map(drop)
    }
}
