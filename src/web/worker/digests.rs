//! SHA-256 of chunks, by the browser. Chromium computes it on the thread that
//! asks, 5 to 8 ms for a chunk, in which the engine could take another one in: so
//! there a worker beside this one asks (`www/digest-worker.js`). The page's scripts
//! start it before there is an engine, and until then it reads what this device has
//! of the bot ([`ReadAhead`]). Other browsers have threads of their own for digests.

use std::{cell::RefCell, collections::VecDeque, rc::Rc};

use futures_channel::{mpsc, oneshot};
use futures_util::StreamExt;
use js_sys::{Array, Object, Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use wasm_bindgen_futures::JsFuture;
use web_sys::{Event, MessageEvent, SubtleCrypto, Worker, WorkerGlobalScope};

use super::browser::{navigator, sleep, within};
use crate::{
    bundle::digest::{hex, sha256_hex},
    web::wire::field,
};

/// Beside the worker's own script.
const SCRIPT: &str = "./digest-worker.js";

/// So few chunks are checked before a helper has started.
const FEW: usize = 2;

/// A chunk's digest takes milliseconds.
const PATIENCE_MS: u32 = 10_000;

/// Takes digests; its helper ends with it.
pub struct Digester {
    /// `None` where there is no use for it, or the browser refuses one more worker.
    helper: Option<Helper>,
    ahead: Option<ReadAhead>,
}

struct Helper {
    worker: Worker,
    asked: Rc<RefCell<Asked>>,
    _heard: Closure<dyn FnMut(MessageEvent)>,
    _lost: Closure<dyn FnMut(Event)>,
}

#[derive(Default)]
struct Asked {
    /// The helper has started, and has not failed.
    ready: bool,
    /// Who waits, in the order of asking.
    waiting: VecDeque<oneshot::Sender<Answer>>,
    /// Takes what is read ahead; `None` when nothing more is.
    ahead: Option<mpsc::UnboundedSender<Answer>>,
}

/// A digest in lower-case hexadecimal digits, and the bytes back. It is `None`
/// where the helper could not take it.
type Answer = (Option<String>, Uint8Array);

/// Chunks of a file on this device, in order, which a helper reads until the
/// first that is missing. Nothing says that they are the right ones but their digests.
pub struct ReadAhead {
    worker: Worker,
    chunks: mpsc::UnboundedReceiver<Answer>,
}

impl ReadAhead {
    /// The next chunk, with its digest; `None`: there is no other.
    pub async fn next(&mut self) -> Option<(String, Uint8Array)> {
        let (digest, bytes) = within(PATIENCE_MS, self.chunks.next()).await??;
        Some((digest?, bytes))
    }

    /// Gives back a chunk's memory, for another one.
    pub fn give_back(&self, room: Uint8Array) {
        let _ = post(&self.worker, "room", &room, &Array::of1(&room.buffer()));
    }

    /// Returns when the file is closed.
    pub async fn end(mut self) {
        let _ = post(&self.worker, "stop", &true.into(), &Array::new());
        while self.next().await.is_some() {}
    }
}

/// Sends a message of one field.
fn post(worker: &Worker, name: &str, value: &JsValue, transfer: &Array) -> Result<(), JsValue> {
    let message = Object::new();
    Reflect::set(&message, &name.into(), value)?;
    worker.post_message_with_transfer(&message, transfer)
}

impl Digester {
    /// For a file of so many chunks, of which nothing is read ahead.
    pub fn new(chunks: usize) -> Self {
        let helper = || Some(Helper::listen(Worker::new(SCRIPT).ok()?, Asked::default()));
        Self { helper: if chunks > FEW && is_chromium() { helper() } else { None }, ahead: None }
    }

    /// Takes a helper over that was started with a file to read, and what it has
    /// said until now.
    pub fn take_over(worker: Worker, said: &Array) -> Self {
        let (sender, chunks) = mpsc::unbounded();
        let mut asked = Asked { ahead: Some(sender), ..Asked::default() };
        for data in said.iter() {
            asked.hear(&data);
        }
        let helper = Helper::listen(worker.clone(), asked);
        Self { helper: Some(helper), ahead: Some(ReadAhead { worker, chunks }) }
    }

    /// What its helper reads ahead, once.
    pub fn read_ahead(&mut self) -> Option<ReadAhead> {
        self.ahead.take()
    }

    /// SHA-256 of the bytes in lower-case hexadecimal digits, and the bytes
    /// back; `None` where both are lost with the helper.
    pub async fn sha256(&self, bytes: Uint8Array) -> Option<(String, Uint8Array)> {
        if let Some(helper) = &self.helper
            && !helper.asked.borrow().ready
        {
            // Its messages wait for a turn of the event loop.
            sleep(0).await;
        }
        let asked = self.helper.as_ref().and_then(|helper| helper.ask(&bytes));
        let (digest, bytes) = match asked {
            Some(answer) => self.patiently(answer).await?,
            None => (None, bytes),
        };
        match digest {
            Some(digest) => Some((digest, bytes)),
            None => Some((here(&bytes).await, bytes)),
        }
    }

    /// An answer; a helper that gives none is asked no more.
    async fn patiently(&self, answer: oneshot::Receiver<Answer>) -> Option<Answer> {
        if let Some(Ok(answer)) = within(PATIENCE_MS, answer).await {
            return Some(answer);
        }
        if let Some(helper) = &self.helper {
            *helper.asked.borrow_mut() = Asked::default();
        }
        None
    }
}

impl Helper {
    fn listen(worker: Worker, asked: Asked) -> Self {
        let asked = Rc::new(RefCell::new(asked));
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

    /// Gives the bytes away for their digest; `None`: they are still here.
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
        } else if let Some(answer) = data.dyn_ref::<Array>() {
            if let (Some(sender), Some(answer)) = (self.waiting.pop_front(), read(answer)) {
                let _ = sender.send(answer);
            }
        } else if let Some(chunk) = field(data, "chunk").and_then(|chunk| read(chunk.dyn_ref()?)) {
            // Nobody may want them any more.
            _ = self.ahead.as_ref().map(|ahead| ahead.unbounded_send(chunk));
        } else if field(data, "lost").is_some() {
            *self = Self::default();
        } else {
            self.ahead = None;
        }
    }
}

/// A digest and the bytes.
fn read(answer: &Array) -> Option<Answer> {
    let digest = answer.get(0);
    let digest = digest.is_object().then(|| hex(&Uint8Array::new(&digest).to_vec()));
    Some((digest, answer.get(1).dyn_into().ok()?))
}

/// Only Chromium's kin say what they are in this way.
fn is_chromium() -> bool {
    navigator("userAgentData").is_some()
}

/// On this thread, or wherever the browser does it.
async fn here(bytes: &Uint8Array) -> String {
    let started = subtle().and_then(|subtle| subtle.digest_with_str_and_buffer_source("SHA-256", bytes).ok());
    let digest = match started {
        Some(promise) => JsFuture::from(promise).await.ok(),
        None => None,
    };
    match digest {
        Some(digest) => hex(&Uint8Array::new(&digest).to_vec()),
        // No WebCrypto at an insecure address.
        None => sha256_hex(&bytes.to_vec()),
    }
}

fn subtle() -> Option<SubtleCrypto> {
    let scope: WorkerGlobalScope = js_sys::global().dyn_into().ok()?;
    let subtle = scope.crypto().ok()?.subtle();
    (!subtle.is_undefined()).then_some(subtle)
}
