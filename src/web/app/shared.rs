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

use super::{
    browser,
    line::{Line, random_u64},
};
use crate::web::{
    page::{
        loss::Loss,
        query::Query,
        shared_engine::{Effect, SharedEngine, WidgetCommand, WidgetId},
        text,
        words::Words,
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
    let room = Rc::new(Room::new(&browser::query()));
    let listener = {
        let room = room.clone();
        EventListener::new(&window(), "message", move |event| {
            let Some(event) = event.dyn_ref::<MessageEvent>() else { return };
            if event.data().as_string().as_deref() == Some(OPEN)
                && let Ok(port) = event.ports().get(0).dyn_into::<MessagePort>()
            {
                room.clone().admit(port);
            }
        })
    };
    // Needed as long as the document lives.
    listener.forget();
    if let Ok(Some(parent)) = window().parent() {
        let _ = parent.post_message(&HERE.into(), "*");
    }
}

struct Room {
    engine: RefCell<SharedEngine>,
    options: WorkerOptions,
    line: RefCell<Option<Line>>,
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

impl Room {
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
            line: RefCell::default(),
            ports: RefCell::default(),
            next_id: Cell::default(),
        }
    }

    fn admit(self: Rc<Self>, port: MessagePort) {
        let widget = self.next_id.get();
        self.next_id.set(widget + 1);
        let heard = {
            let room = self.clone();
            Closure::new(move |event: MessageEvent| {
                let command = event.data().as_string().and_then(|text| serde_json::from_str(&text).ok());
                // Anything else is ignored, as any page may embed this one.
                let Some(command): Option<WidgetCommand> = command else { return };
                let effects = room.engine.borrow_mut().handle_command(widget, command, random_u64());
                room.clone().run(effects);
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
                    if let Some(line) = &*self.line.borrow() {
                        line.send(command);
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
        *self.line.borrow_mut() = None;
        let (heard, lost) = (self.clone(), self.clone());
        let line = Line::open(
            &self.options,
            move |report| {
                let effects = heard.engine.borrow_mut().handle_report(report);
                heard.clone().run(effects);
            },
            move |loss: Loss| {
                let effects = lost.engine.borrow_mut().crash(&loss);
                lost.clone().run(effects);
            },
        );
        let started = line.is_some();
        *self.line.borrow_mut() = line;
        if !started {
            let effects = self.engine.borrow_mut().crash(&Loss::Died(None));
            self.run(effects);
        }
    }
}
