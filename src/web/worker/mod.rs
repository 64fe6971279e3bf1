//! The worker: owns the engine, carries out the page's commands, and yields between tokens so that
//! a command to stop can arrive. Other workers run the same module as threads of its pool.

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

use std::cell::{Cell, OnceCell};

use js_sys::Promise;
use wasm_bindgen::{JsCast, JsValue, UnwrapThrowExt, closure::Closure};
use wasm_bindgen_futures::{JsFuture, spawn_local};
use web_sys::{DedicatedWorkerGlobalScope, MessageEvent};

use self::{failure::WorkerError, session::Session, source::Description};
use crate::{
    backend::cpu::pool::{self, Pool},
    web::protocol::{Action, Command, Id, Phase, Report, Update, decode, encode},
};

/// What `www/worker-start.js` prepared for this worker.
#[derive(Clone)]
struct Machine {
    /// Which build this is, such as `relaxed-shared`.
    build: String,
    /// The options that the worker was started with, as a URL query.
    options: String,
    /// Threads requested, including this one; those that start late or never are not in the pool.
    threads: usize,
    pool: Pool,
    /// Settles once every thread that will join the pool has joined.
    assembled: Promise,
    /// Resolves to the bot's description, `{ url, json }`, or to `null`.
    described: Promise,
    /// Resolves to what the script found of the stored weights, or to `null`.
    kept: Promise,
}

impl Machine {
    /// Waits for the pool's threads.
    async fn assemble(&self) -> Result<(), WorkerError> {
        JsFuture::from(self.assembled.clone()).await?;
        Ok(())
    }

    /// The bot's description, if the script fetched it.
    async fn described(&self) -> Option<Description> {
        Description::from_js(&JsFuture::from(self.described.clone()).await.ok()?)
    }

    /// The weights stored on this device, for [`storage::seal::SealedFile::open`].
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

/// The arguments of [`start`].
pub struct Start {
    /// Which build this is, such as `relaxed-shared`.
    pub build: String,
    /// The worker's options, as a URL query.
    pub options: String,
    /// Threads of the pool, including the engine's own.
    pub threads: usize,
    /// Settles once every thread that will come has called [`join`].
    pub assembled: Promise,
    /// Resolves to the bot's description, `{ url, json }`, or to `null` if there is none.
    pub described: Promise,
    /// Resolves to the weights' file as `{ open, sha256 }` if this device has it, sealed; else to
    /// `null`.
    pub kept: Promise,
}

/// Opens the thread pool and starts to handle messages.
pub fn start(start: Start) -> Result<(), JsValue> {
    console_error_panic_hook::set_once();
    let Start { build, options, threads, assembled, described, kept } = start;
    MACHINE.with(|machine| {
        machine.get_or_init(|| Machine {
            build,
            options,
            threads,
            pool: Pool::new(threads),
            assembled,
            described,
            kept,
        });
    });
    let session = Session::default();
    let hear = Closure::<dyn FnMut(MessageEvent)>::new(move |event: MessageEvent| {
        // Anything else is the options, which may be sent twice.
        if event.data().is_string() {
            // Only our own page sends these, so they can be parsed.
            receive(&session, decode(&event.data()).expect_throw("a command"));
        }
    });
    let page = page()?;
    page.set_onmessage(Some(hear.as_ref().unchecked_ref()));
    // Needed as long as the worker lives.
    hear.forget();
    page.post_message(&JsValue::NULL)
}

/// Joins the pool as one of its threads.
pub fn join() {
    pool::web::join();
}

/// Runs a thread that has joined; it ends with the engine.
pub fn serve() {
    pool::web::serve();
}

/// Reports that a thread's [`serve`] failed, so that nobody waits for it.
pub fn fail() {
    pool::web::fail();
}

/// This worker's scope, for messages to and from the page.
fn page() -> Result<DedicatedWorkerGlobalScope, JsValue> {
    js_sys::global().dyn_into().map_err(JsValue::from)
}

fn receive(session: &Session, command: Command) {
    let reply = Reply::new(command.id);
    match command.action {
        Action::Load(request) => spawn_local(session.clone().load(request, reply)),
        Action::Generate { request, so_far } => {
            spawn_local(session.clone().generate(request, so_far, reply));
        }
        Action::Logits(prompt) => spawn_local(session.clone().logits(prompt, reply)),
        Action::Stop { generation, draft } => session.stop(generation, draft, &Reply::new(generation)),
        Action::Count(text) => reply.send(session.count(&text)),
        Action::Measure => reply.send(session.measure()),
        Action::Forget { model, sha256 } => spawn_local(storage::forget(model, sha256)),
        Action::Ping => reply.send(Update::Pong),
    }
}

/// Interval of reports about one phase of a load: more of them only make the page draw.
const TELL_MS: f64 = 50.0;

/// Sends reports about one command.
struct Reply {
    id: Id,
    /// What [`Reply::progress`] last reported, and when.
    told: Cell<Option<(Phase, f64)>>,
}

impl Reply {
    fn new(id: Id) -> Self {
        Self { id, told: Cell::default() }
    }

    /// Reports a load's progress, unless the same phase's was reported just now.
    fn progress(&self, phase: Phase, loaded_bytes: u64, total_bytes: Option<u64>) {
        let now = browser::now_ms();
        if self.told.get().is_some_and(|(told, at)| told == phase && now - at < TELL_MS) {
            return;
        }
        self.told.set(Some((phase, now)));
        self.send(Update::Progress { phase, loaded_bytes, total_bytes });
    }

    fn send(&self, update: Update) {
        // Outside a worker there is no page to report to.
        if let Ok(page) = page() {
            let _ = page.post_message(&encode(&Report { id: self.id, update }));
        }
    }
}
