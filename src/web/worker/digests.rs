//! SHA-256 of chunks, by the browser. Chromium computes it on the calling thread, 5 to 8 ms per
//! chunk, in which the engine could load another one: there a helper worker calls it
//! (`www/digest-worker.js`). Other browsers have threads of their own for digests.

use std::{cell::RefCell, collections::VecDeque, rc::Rc};

use futures_channel::oneshot;
use js_sys::{Array, Uint8Array};
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Event, MessageEvent, SubtleCrypto, Worker, WorkerGlobalScope};

use super::browser::{navigator, sleep, within};
use crate::bundle::digest::{hex, sha256_hex};

/// Relative to the worker's own script.
const SCRIPT: &str = "./digest-worker.js";

/// This many chunks are verified before a helper has started.
const FEW: usize = 2;

/// Timeout of a digest, which takes milliseconds.
const TIMEOUT_MS: u32 = 10_000;

/// Computes digests; its helper ends with it.
pub struct Digester {
    /// `None` if it would be of no use, or the browser refuses another worker.
    helper: Option<Helper>,
}

struct Helper {
    worker: Worker,
    asked: Rc<RefCell<Asked>>,
    _heard: Closure<dyn FnMut(MessageEvent)>,
    _lost: Closure<dyn FnMut(Event)>,
}

#[derive(Default)]
struct Asked {
    /// Whether the helper has started and has not failed.
    ready: bool,
    /// Pending requests in order.
    waiting: VecDeque<oneshot::Sender<Answer>>,
}

/// A digest in lower-case hexadecimal digits, and the bytes back. The digest is `None` if the
/// helper could not compute it.
type Answer = (Option<String>, Uint8Array);

impl Digester {
    /// For a file of this many chunks.
    pub fn new(chunks: usize) -> Self {
        let helper = || Some(Helper::listen(Worker::new(SCRIPT).ok()?));
        Self { helper: if chunks > FEW && is_chromium() { helper() } else { None } }
    }

    /// SHA-256 of the bytes in lower-case hexadecimal digits, and the bytes back; `None` if both
    /// were lost with the helper.
    pub async fn sha256(&self, bytes: Uint8Array) -> Option<(String, Uint8Array)> {
        if let Some(helper) = &self.helper
            && !helper.asked.borrow().ready
        {
            // Yield, so that the helper's first message can arrive.
            sleep(0).await;
        }
        let asked = self.helper.as_ref().and_then(|helper| helper.ask(&bytes));
        let (digest, bytes) = match asked {
            Some(answer) => self.with_timeout(answer).await?,
            None => (None, bytes),
        };
        match digest {
            Some(digest) => Some((digest, bytes)),
            None => Some((here(&bytes).await, bytes)),
        }
    }

    /// Waits for an answer; a helper that does not give one is not asked again.
    async fn with_timeout(&self, answer: oneshot::Receiver<Answer>) -> Option<Answer> {
        if let Some(Ok(answer)) = within(TIMEOUT_MS, answer).await {
            return Some(answer);
        }
        if let Some(helper) = &self.helper {
            *helper.asked.borrow_mut() = Asked::default();
        }
        None
    }
}

impl Helper {
    fn listen(worker: Worker) -> Self {
        let asked = Rc::new(RefCell::new(Asked::default()));
        let heard = {
            let asked = asked.clone();
            Closure::<dyn FnMut(MessageEvent)>::new(move |event: MessageEvent| {
                asked.borrow_mut().hear(&event.data())
            })
        };
        let lost = {
            let asked = asked.clone();
            Closure::<dyn FnMut(Event)>::new(move |event: Event| {
                event.prevent_default();
                *asked.borrow_mut() = Asked::default();
            })
        };
        worker.set_onmessage(Some(heard.as_ref().unchecked_ref()));
        worker.set_onerror(Some(lost.as_ref().unchecked_ref()));
        Self { worker, asked, _heard: heard, _lost: lost }
    }

    /// Transfers the bytes to the helper; `None` if they are still here.
    fn ask(&self, bytes: &Uint8Array) -> Option<oneshot::Receiver<Answer>> {
        let mut asked = self.asked.borrow_mut();
        if !asked.ready {
            return None;
        }
        self.worker.post_message_with_transfer(bytes, &Array::of1(&bytes.buffer())).ok()?;
        let (sender, answer) = oneshot::channel();
        asked.waiting.push_back(sender);
        Some(answer)
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.worker.terminate();
    }
}

impl Asked {
    fn hear(&mut self, data: &JsValue) {
        if data.is_null() {
            self.ready = true;
        } else if let Some(answer) = data.dyn_ref::<Array>()
            && let (Some(sender), Some(answer)) = (self.waiting.pop_front(), read(answer))
        {
            let _ = sender.send(answer);
        }
    }
}

/// Parses an answer: a digest and the bytes.
fn read(answer: &Array) -> Option<Answer> {
    let digest = answer.get(0);
    let digest = digest.is_object().then(|| hex(&Uint8Array::new(&digest).to_vec()));
    Some((digest, answer.get(1).dyn_into().ok()?))
}

/// Only browsers based on Chromium have this property.
fn is_chromium() -> bool {
    navigator("userAgentData").is_some()
}

/// Computes a digest on this thread, or wherever the browser does.
async fn here(bytes: &Uint8Array) -> String {
    let started = subtle().and_then(|subtle| subtle.digest_with_str_and_buffer_source("SHA-256", bytes).ok());
    let digest = match started {
        Some(promise) => JsFuture::from(promise).await.ok(),
        None => None,
    };
    match digest {
        Some(digest) => hex(&Uint8Array::new(&digest).to_vec()),
        // There is no WebCrypto on an insecure origin.
        None => sha256_hex(&bytes.to_vec()),
    }
}

fn subtle() -> Option<SubtleCrypto> {
    let scope: WorkerGlobalScope = js_sys::global().dyn_into().ok()?;
    let subtle = scope.crypto().ok()?.subtle();
    (!subtle.is_undefined()).then_some(subtle)
}
