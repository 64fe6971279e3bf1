//! A worker of the engine, as whoever starts it sees it: orders go out,
//! reports come in, and its death is heard of. `www/worker-start.js` is the
//! other end until the engine is there, [`crate::web::worker`] from then on.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use web_sys::{ErrorEvent, Event, MessageEvent, Worker, WorkerOptions, WorkerType};

use super::protocol::{Command, Id, News, Phase, Report, decode, encode};

/// Whom news of the engine's own way here is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Engine {
    /// No order has been given.
    Unasked,
    /// Who gave the first order waits for it.
    Awaited(Id),
    Here,
}

/// The end of a worker.
pub struct Death {
    /// What it died of, where that is known.
    pub reason: Option<String>,
    /// Its program did not come.
    pub fetching: bool,
}

/// Dropping it ends the worker, also one that hangs.
pub struct Wire {
    worker: Worker,
    /// Orders from before the worker's script listened; `None` since it does.
    waiting: Rc<RefCell<Option<Vec<Command>>>>,
    engine: Rc<Cell<Engine>>,
    _message: Closure<dyn FnMut(MessageEvent)>,
    _error: Closure<dyn FnMut(Event)>,
}

/// Starts a script as a worker of its own, as a module. The engine's waits for
/// [`Wire::open`]'s wishes.
pub fn start(address: &str) -> Result<Worker, JsValue> {
    let options = WorkerOptions::new();
    options.set_type(WorkerType::Module);
    Worker::new_with_options(address, &options)
}

impl Wire {
    /// Tells a worker its wishes, as an address's parameters: which bot's
    /// engine to start, and how; twice where its script may not have listened.
    /// `died` may be called more than once.
    pub fn open(
        worker: Worker,
        wishes: &str,
        heard: impl Fn(Report) + 'static,
        died: impl Fn(Death) + 'static,
    ) -> Result<Self, JsValue> {
        let first = js_sys::Object::new();
        js_sys::Reflect::set(&first, &"wishes".into(), &wishes.into())?;
        let died = Rc::new(died);
        let waiting = Rc::new(RefCell::new(Some(Vec::<Command>::new())));
        let engine = Rc::new(Cell::new(Engine::Unasked));
        let message = {
            let (worker, waiting, engine) = (worker.clone(), waiting.clone(), engine.clone());
            let (died, first) = (died.clone(), first.clone());
            let send_waiting = move |worker: &Worker| {
                for command in waiting.borrow_mut().take().into_iter().flatten() {
                    let _ = worker.post_message(&encode(&command));
                }
            };
            Closure::<dyn FnMut(MessageEvent)>::new(move |event: MessageEvent| {
                let data = event.data();
                if data.is_string() {
                    match decode(&data) {
                        Ok(report) => heard(report),
                        Err(error) => died(Death { reason: Some(error.to_string()), fetching: false }),
                    }
                } else if data.is_null() {
                    engine.set(Engine::Here);
                    send_waiting(&worker);
                } else if let Some(reason) = field(&data, "died").and_then(|reason| reason.as_string()) {
                    let fetching = field(&data, "fetching").is_some_and(|fetching| fetching.is_truthy());
                    died(Death { reason: Some(reason).filter(|reason| !reason.is_empty()), fetching });
                } else if let Some(loaded) = field(&data, "loaded").and_then(|loaded| loaded.as_f64()) {
                    let total = field(&data, "total").and_then(|total| total.as_f64());
                    if let Engine::Awaited(id) = engine.get() {
                        let (loaded_bytes, total_bytes) = (loaded as u64, total.map(|total| total as u64));
                        let news = News::Progress { phase: Phase::Engine, loaded_bytes, total_bytes };
                        heard(Report { id, news });
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
                // A script that could not be fetched gives an event without words, and
                // has said nothing before.
                let error = event.dyn_ref::<ErrorEvent>();
                let reason = error.map(ErrorEvent::message).filter(|reason| !reason.is_empty());
                died(Death { reason, fetching: error.is_none() && waiting.borrow().is_some() });
            })
        };
        worker.set_onmessage(Some(message.as_ref().unchecked_ref()));
        worker.set_onerror(Some(error.as_ref().unchecked_ref()));
        worker.post_message(&first)?;
        Ok(Self { worker, waiting, engine, _message: message, _error: error })
    }

    /// Gives an order: once the worker's script listens, which keeps it for the engine.
    pub fn send(&self, command: Command) {
        if self.engine.get() == Engine::Unasked {
            self.engine.set(Engine::Awaited(command.id));
        }
        match &mut *self.waiting.borrow_mut() {
            Some(waiting) => waiting.push(command),
            // A worker that is gone is heard of in another way.
            None => _ = self.worker.post_message(&encode(&command)),
        }
    }
}

/// A field of a message; `None` where it has none of that name.
pub fn field(message: &JsValue, name: &str) -> Option<JsValue> {
    js_sys::Reflect::get(message, &name.into()).ok().filter(|value| !value.is_undefined())
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.worker.set_onmessage(None);
        self.worker.set_onerror(None);
        self.worker.terminate();
    }
}
