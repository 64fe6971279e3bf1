//! `engine.html`: a document without a view that runs one engine for all widgets of the embedding
//! page. Each widget has a port of its own, with messages in JSON.

use std::{
    cell::{Cell, RefCell},
    collections::BTreeMap,
    rc::Rc,
};

use gloo::events::EventListener;
use leptos::prelude::window;
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use web_sys::{MessageEvent, MessagePort};

use super::{browser, watched_worker::WatchedWorker};
use crate::web::{
    page::{
        query::Query,
        shared_engine::{Effect, SharedEngine, WidgetCommand, WidgetId},
        text,
        words::Words,
        worker_loss::WorkerLoss,
        worker_options::WorkerOptions,
    },
    protocol::LoadRequest,
};

/// Sent by the embedding page for each widget, with a port.
const OPEN: &str = "huggingtweets:open";
/// Sent to the embedding page once this document listens.
const HERE: &str = "huggingtweets:here";

/// Listens for widgets.
pub fn start() {
    let host = Rc::new(WidgetHost::new(&browser::query()));
    let listener = {
        let host = host.clone();
        EventListener::new(&window(), "message", move |event| {
            let Some(event) = event.dyn_ref::<MessageEvent>() else { return };
            if event.data().as_string().as_deref() == Some(OPEN)
                && let Ok(port) = event.ports().get(0).dyn_into::<MessagePort>()
            {
                host.clone().connect(port);
            }
        })
    };
    // Needed as long as the document lives.
    listener.forget();
    if let Ok(Some(parent)) = window().parent() {
        let _ = parent.post_message(&HERE.into(), "*");
    }
}

/// The shared engine with its worker, and the widgets' ports.
struct WidgetHost {
    engine: RefCell<SharedEngine>,
    options: WorkerOptions,
    worker: RefCell<Option<WatchedWorker>>,
    ports: RefCell<BTreeMap<WidgetId, Port>>,
    /// Never reused: a message to a widget that has left must not reach another.
    next_id: Cell<WidgetId>,
}

struct Port {
    port: MessagePort,
    _heard: Closure<dyn FnMut(MessageEvent)>,
}

impl Drop for Port {
    fn drop(&mut self) {
        self.port.set_onmessage(None);
        self.port.close();
    }
}

impl WidgetHost {
    fn new(query: &Query) -> Self {
        // An invalid attribute of the element is reported on the console, for its author.
        if let Some(problem) = &query.problem {
            leptos::logging::warn!("{}", text::bad_parameter(&Words::english(), problem));
        }
        let model = browser::model_url(query.model.as_deref());
        let options = WorkerOptions::new(query, model.clone());
        let load = LoadRequest {
            model,
            precision: query.precision,
            backend: query.backend,
            ..LoadRequest::default()
        };
        Self {
            engine: RefCell::new(SharedEngine::new(load)),
            options,
            worker: RefCell::default(),
            ports: RefCell::default(),
            next_id: Cell::default(),
        }
    }

    /// Connects a widget.
    fn connect(self: Rc<Self>, port: MessagePort) {
        let widget = self.next_id.get();
        self.next_id.set(widget + 1);
        let heard = {
            let host = self.clone();
            Closure::new(move |event: MessageEvent| {
                let command = event.data().as_string().and_then(|text| serde_json::from_str(&text).ok());
                // Anything else is ignored, as any page may embed this one.
                let Some(command): Option<WidgetCommand> = command else { return };
                let effects = host.engine.borrow_mut().handle_command(widget, command, browser::random_u64());
                host.clone().run(effects);
            })
        };
        port.set_onmessage(Some(heard.as_ref().unchecked_ref()));
        self.ports.borrow_mut().insert(widget, Port { port, _heard: heard });
        let effects = self.engine.borrow_mut().connect(widget);
        self.run(effects);
    }

    fn run(self: Rc<Self>, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::StartWorker => self.clone().start_worker(),
                Effect::Send(command) => {
                    if let Some(worker) = &*self.worker.borrow() {
                        worker.send(command);
                    }
                }
                Effect::Report(widget, report) => {
                    if let Some(port) = self.ports.borrow().get(&widget)
                        && let Ok(text) = serde_json::to_string(&report)
                    {
                        let _ = port.port.post_message(&JsValue::from_str(&text));
                    }
                }
                Effect::Close(widget) => drop(self.ports.borrow_mut().remove(&widget)),
            }
        }
    }

    fn start_worker(self: Rc<Self>) {
        // End the old one first: two engines would double the memory.
        *self.worker.borrow_mut() = None;
        let (heard, lost) = (self.clone(), self.clone());
        let worker = WatchedWorker::open(
            &self.options,
            move |report| {
                let effects = heard.engine.borrow_mut().handle_report(report);
                heard.clone().run(effects);
            },
            move |loss: WorkerLoss| {
                let effects = lost.engine.borrow_mut().crash(&loss);
                lost.clone().run(effects);
            },
        );
        let started = worker.is_some();
        *self.worker.borrow_mut() = worker;
        if !started {
            let effects = self.engine.borrow_mut().crash(&WorkerLoss::Died(None));
            self.run(effects);
        }
    }
}
