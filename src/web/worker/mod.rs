//! The worker: owns the engine, answers the page's orders one at a time, and
//! yields between tokens so that an order to stop can arrive.

mod browser;
mod chunk;
mod download;
mod engine;
mod failure;
mod session;
mod storage;

use gloo::worker::{HandlerId, Registrable, Worker, WorkerScope};
use wasm_bindgen_futures::spawn_local;

use self::session::Session;
use crate::web::protocol::{Command, Id, Json, News, Order, Report};

/// Starts answering; the whole of the worker's `main`.
pub fn start() {
    console_error_panic_hook::set_once();
    EngineWorker::registrar().encoding::<Json>().register();
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
            Order::Generate(request) => spawn_local(self.session.clone().generate(request, reply)),
            Order::Stop { generation, draft } => {
                self.session.stop(generation, draft, &Reply { id: generation, ..reply });
            }
            Order::Count(text) => reply.send(self.session.count(&text)),
            Order::Measure => reply.send(self.session.measure()),
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
