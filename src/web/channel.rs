//! The starter's side of the channel to an engine worker: sends commands, delivers reports and
//! notices the worker's death. `www/worker-start.js` is the other end until the engine is loaded,
//! [`crate::web::worker`] after that.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use web_sys::{ErrorEvent, Event, MessageEvent, Worker, WorkerOptions, WorkerType};

use super::protocol::{Command, Id, Phase, Report, Update, decode, encode};

/// Whether the engine is loaded, and which command its download is reported under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Engine {
    /// No command has been sent.
    NotRequested,
    /// Progress is reported under the first command's id.
    Loading(Id),
    Running,
}

/// How a worker died.
pub struct Death {
    /// The error message, where known.
    pub reason: Option<String>,
    /// Whether a script or the wasm could not be fetched.
    pub fetching: bool,
}

/// A worker and the channel to it. Dropping it terminates the worker, even one that hangs.
pub struct WorkerChannel {
    worker: Worker,
    /// Commands sent before the worker's script listened; `None` once it does.
    waiting: Rc<RefCell<Option<Vec<Command>>>>,
    engine: Rc<Cell<Engine>>,
    _message: Closure<dyn FnMut(MessageEvent)>,
    _error: Closure<dyn FnMut(Event)>,
}

/// Starts a script as a module worker. The engine's script then waits for the options that
/// [`WorkerChannel::open`] sends.
pub fn start(address: &str) -> Result<Worker, JsValue> {
    let options = WorkerOptions::new();
    options.set_type(WorkerType::Module);
    Worker::new_with_options(address, &options)
}

impl WorkerChannel {
    /// Sends the worker its options as a URL query: which bot's engine to start, and how. They are
    /// sent again when its script says that it listens, as it may have missed them. `on_death` may
    /// be called more than once.
    pub fn open(
        worker: Worker,
        options: &str,
        on_report: impl Fn(Report) + 'static,
        on_death: impl Fn(Death) + 'static,
    ) -> Result<Self, JsValue> {
        let first = js_sys::Object::new();
        js_sys::Reflect::set(&first, &"options".into(), &options.into())?;
        let on_death = Rc::new(on_death);
        let waiting = Rc::new(RefCell::new(Some(Vec::<Command>::new())));
        let engine = Rc::new(Cell::new(Engine::NotRequested));
        let message = {
            let (worker, waiting, engine) = (worker.clone(), waiting.clone(), engine.clone());
            let (on_death, first) = (on_death.clone(), first.clone());
            let send_waiting = move |worker: &Worker| {
                for command in waiting.borrow_mut().take().into_iter().flatten() {
                    let _ = worker.post_message(&encode(&command));
                }
            };
            Closure::<dyn FnMut(MessageEvent)>::new(move |event: MessageEvent| {
                let data = event.data();
                if data.is_string() {
                    match decode(&data) {
                        Ok(report) => on_report(report),
                        Err(error) => on_death(Death { reason: Some(error.to_string()), fetching: false }),
                    }
                } else if data.is_null() {
                    engine.set(Engine::Running);
                    send_waiting(&worker);
                } else if let Some(reason) = field(&data, "died").and_then(|reason| reason.as_string()) {
                    let fetching = field(&data, "fetching").is_some_and(|fetching| fetching.is_truthy());
                    on_death(Death { reason: Some(reason).filter(|reason| !reason.is_empty()), fetching });
                } else if let Some(loaded) = field(&data, "loaded").and_then(|loaded| loaded.as_f64()) {
                    let total = field(&data, "total").and_then(|total| total.as_f64());
                    if let Engine::Loading(id) = engine.get() {
                        let (loaded_bytes, total_bytes) = (loaded as u64, total.map(|total| total as u64));
                        let update = Update::Progress { phase: Phase::Engine, loaded_bytes, total_bytes };
                        on_report(Report { id, update });
                    }
                } else {
                    let _ = worker.post_message(&first);
                    send_waiting(&worker);
                }
            })
        };
        let error = {
            let waiting = waiting.clone();
            Closure::<dyn FnMut(Event)>::new(move |event: Event| {
                event.prevent_default();
                // A failed fetch of the script gives an event without a message, before the script
                // has sent anything.
                let error = event.dyn_ref::<ErrorEvent>();
                let reason = error.map(ErrorEvent::message).filter(|reason| !reason.is_empty());
                on_death(Death { reason, fetching: error.is_none() && waiting.borrow().is_some() });
            })
        };
        worker.set_onmessage(Some(message.as_ref().unchecked_ref()));
        worker.set_onerror(Some(error.as_ref().unchecked_ref()));
        worker.post_message(&first)?;
        Ok(Self { worker, waiting, engine, _message: message, _error: error })
    }

    /// Sends a command, or queues it until the worker's script listens; the script queues it for
    /// the engine.
    pub fn send(&self, command: Command) {
        if self.engine.get() == Engine::NotRequested {
            self.engine.set(Engine::Loading(command.id));
        }
        match &mut *self.waiting.borrow_mut() {
            Some(waiting) => waiting.push(command),
            // The death of a worker is reported through `on_death`.
            None => _ = self.worker.post_message(&encode(&command)),
        }
    }
}

/// A field of a message; `None` if it is missing.
pub fn field(message: &JsValue, name: &str) -> Option<JsValue> {
    js_sys::Reflect::get(message, &name.into()).ok().filter(|value| !value.is_undefined())
}

impl Drop for WorkerChannel {
    fn drop(&mut self) {
        self.worker.set_onmessage(None);
        self.worker.set_onerror(None);
        self.worker.terminate();
    }
}
