//! The worker: owns the engine, answers the page's orders one at a time, and
//! yields between tokens so that an order to stop can arrive. Other workers
//! run the same module as threads of its pool.

mod browser;
mod choose;
mod chunk;
mod digests;
mod download;
mod engine;
mod failure;
mod lock;
mod measurement;
mod other_worker;
mod session;
mod simd_speed;
mod source;
mod storage;
mod transport;

use std::cell::OnceCell;

use js_sys::Promise;
use wasm_bindgen::{JsCast, JsValue, UnwrapThrowExt, closure::Closure};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{DedicatedWorkerGlobalScope, MessageEvent};

use self::{failure::WorkerError, session::Session, source::Description};
use crate::{
    backend::cpu::pool::{self, Pool},
    web::protocol::{Command, Id, News, Order, Phase, Report, decode, encode},
};

/// What the page's scripts prepared for this worker.
#[derive(Clone)]
struct Machine {
    /// Which of the builds this is, such as `relaxed-shared`.
    build: String,
    /// What the worker was told at its start, as an address's parameters.
    wishes: String,
    /// Threads that were asked for; those that are late or never come are not in the pool.
    threads: usize,
    pool: Pool,
    /// Settles when every thread has joined the pool that will.
    assembled: Promise,
    /// The bot's description, which they asked for: gives `null` where there is none.
    described: Promise,
    /// What they found of its weights: gives `null` where that is nothing.
    kept: Promise,
}

impl Machine {
    /// Waits for the threads that will come.
    async fn assemble(&self) -> Result<(), WorkerError> {
        JsFuture::from(self.assembled.clone()).await?;
        Ok(())
    }

    /// The bot's description where it is already on its way.
    async fn described(&self) -> Option<Description> {
        Description::from_js(&JsFuture::from(self.described.clone()).await.ok()?)
    }

    /// What this device has of the bot's weights, for [`storage::seal::SealedFile::open`].
    async fn kept(&self) -> JsValue {
        JsFuture::from(self.kept.clone()).await.unwrap_or(JsValue::NULL)
    }
}

thread_local! {
    /// Set once, by [`start`], on the engine's own thread.
    static MACHINE: OnceCell<Machine> = const { OnceCell::new() };
}

fn machine() -> Option<Machine> {
    MACHINE.with(|machine| machine.get().cloned())
}

/// What a worker begins with.
pub struct Start {
    /// Which of the builds this is, such as `relaxed-shared`.
    pub build: String,
    /// What the worker was told, as an address's parameters.
    pub wishes: String,
    /// Of the pool.
    pub threads: usize,
    /// Settles when as many threads as will come have called [`join`].
    pub assembled: Promise,
    /// The bot's description, `{ url, json }`, where it was asked for; else it gives `null`.
    pub described: Promise,
    /// Gives the weights' file where this device has it and found it right, as
    /// `{ open, sha256 }`; else `null`.
    pub kept: Promise,
}

/// Opens the pool, and starts answering.
pub fn start(start: Start) -> Result<(), JsValue> {
    console_error_panic_hook::set_once();
    let Start { build, wishes, threads, assembled, described, kept } = start;
    MACHINE.with(|machine| {
        machine.get_or_init(|| Machine {
            build,
            wishes,
            threads,
            pool: Pool::new(threads),
            assembled,
            described,
            kept,
        });
    });
    let session = Session::default();
    let hear = Closure::<dyn FnMut(MessageEvent)>::new(move |event: MessageEvent| {
        // The wishes may come twice.
        if event.data().is_string() {
            // Only the page's own program speaks here: what it says can be read.
            receive(&session, decode(&event.data()).expect_throw("an order"));
        }
    });
    let page = page()?;
    page.set_onmessage(Some(hear.as_ref().unchecked_ref()));
    // As long as the worker.
    hear.forget();
    page.post_message(&JsValue::NULL)
}

/// Joins the pool as one of its threads.
pub fn join() {
    pool::web::join();
}

/// The life of a thread that has joined; it ends with the engine.
pub fn serve() {
    pool::web::serve();
}

/// Says that a thread's [`serve`] ended by an error, so that nobody waits for it.
pub fn fail() {
    pool::web::fail();
}

/// The other end of the line.
fn page() -> Result<DedicatedWorkerGlobalScope, JsValue> {
    js_sys::global().dyn_into().map_err(JsValue::from)
}

fn receive(session: &Session, command: Command) {
    let reply = Reply { id: command.id };
    match command.order {
        Order::Load(request) => spawn_local(session.clone().load(request, reply)),
        Order::Generate { request, so_far } => {
            spawn_local(session.clone().generate(request, so_far, reply));
        }
        Order::Logits(prompt) => spawn_local(session.clone().logits(prompt, reply)),
        Order::Stop { generation, draft } => session.stop(generation, draft, &Reply { id: generation }),
        Order::Count(text) => reply.send(session.count(&text)),
        Order::Measure => reply.send(session.measure()),
        Order::Forget { model, sha256 } => spawn_local(storage::forget(model, sha256)),
        Order::Ping => reply.send(News::Pong),
    }
}

/// Sends news about one order.
struct Reply {
    id: Id,
}

impl Reply {
    fn progress(&self, phase: Phase, loaded_bytes: u64, total_bytes: Option<u64>) {
        self.send(News::Progress { phase, loaded_bytes, total_bytes });
    }

    fn send(&self, news: News) {
        // Without a page there is nobody to tell.
        if let Ok(page) = page() {
            let _ = page.post_message(&encode(&Report { id: self.id, news }));
        }
    }
}
