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
mod other_worker;
mod session;
mod source;
mod storage;
mod transport;

use std::cell::OnceCell;

use gloo::worker::{HandlerId, Registrable, Worker, WorkerScope};
use js_sys::Promise;
use wasm_bindgen_futures::{JsFuture, spawn_local};

pub use self::source::Description;
use self::{failure::WorkerError, session::Session};
use crate::{
    backend::cpu::pool::{self, Pool},
    web::protocol::{Command, Id, Json, News, Order, Report},
};

/// What the page's scripts prepared for this worker.
#[derive(Clone)]
struct Machine {
    /// Which of the builds this is, such as `relaxed-shared`.
    build: String,
    pool: Pool,
    /// Settles when every thread has joined the pool that will.
    assembled: Promise,
    /// The bot's description, if they read it to choose the build.
    described: Option<Description>,
}

impl Machine {
    /// Waits for the threads that will come.
    async fn assemble(&self) -> Result<(), WorkerError> {
        JsFuture::from(self.assembled.clone()).await?;
        Ok(())
    }
}

thread_local! {
    /// Set once, by [`start`], on the engine's own thread.
    static MACHINE: OnceCell<Machine> = const { OnceCell::new() };
}

fn machine() -> Option<Machine> {
    MACHINE.with(|machine| machine.get().cloned())
}

/// Opens a pool of so many threads, and starts answering. `assembled` settles
/// when as many as will come have called [`serve`]; `described` is the bot's
/// `bot.json` where it is already here.
pub fn start(build: String, threads: usize, assembled: Promise, described: Option<Description>) {
    console_error_panic_hook::set_once();
    MACHINE.with(|machine| {
        machine.get_or_init(|| Machine { build, pool: Pool::new(threads), assembled, described });
    });
    EngineWorker::registrar().encoding::<Json>().register();
}

/// The life of a thread of the pool; it ends with the engine.
pub fn serve() {
    pool::web::serve();
}

/// Says that a thread's [`serve`] ended by an error, so that nobody waits for it.
pub fn fail() {
    pool::web::fail();
}

/// The engine behind gloo's line to the page.
pub struct EngineWorker {
    session: Session,
}

impl Worker for EngineWorker {
    type Message = ();
    type Input = Command;
    type Output = Report;

    fn create(_: &WorkerScope<Self>) -> Self {
        Self { session: Session::default() }
    }

    fn update(&mut self, _: &WorkerScope<Self>, (): ()) {}

    fn received(&mut self, scope: &WorkerScope<Self>, command: Command, page: HandlerId) {
        let reply = Reply { scope: scope.clone(), page, id: command.id };
        match command.order {
            Order::Load(request) => spawn_local(self.session.clone().load(request, reply)),
            Order::Generate { request, so_far } => {
                spawn_local(self.session.clone().generate(request, so_far, reply));
            }
            Order::Logits(prompt) => spawn_local(self.session.clone().logits(prompt, reply)),
            Order::Stop { generation, draft } => {
                self.session.stop(generation, draft, &Reply { id: generation, ..reply });
            }
            Order::Count(text) => reply.send(self.session.count(&text)),
            Order::Measure => reply.send(self.session.measure()),
            Order::Forget { sha256 } => spawn_local(storage::forget(sha256)),
            Order::Ping => reply.send(News::Pong),
        }
    }
}

/// Sends news about one order.
struct Reply {
    scope: WorkerScope<EngineWorker>,
    page: HandlerId,
    id: Id,
}

impl Reply {
    fn send(&self, news: News) {
        self.scope.respond(self.page, Report { id: self.id, news });
    }
}
