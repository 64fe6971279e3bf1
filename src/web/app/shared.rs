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
        desk::{Ask, Desk, Effect, Visitor},
        loss::Loss,
        query::Query,
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
    desk: RefCell<Desk>,
    options: WorkerOptions,
    line: RefCell<Option<Line>>,
    ports: RefCell<BTreeMap<Visitor, Port>>,
    /// Never reused: a message to a widget that has left must not reach another.
    next_visitor: Cell<Visitor>,
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
            desk: RefCell::new(Desk::new(load)),
            options,
            line: RefCell::default(),
            ports: RefCell::default(),
            next_visitor: Cell::default(),
        }
    }

    fn admit(self: Rc<Self>, port: MessagePort) {
        let visitor = self.next_visitor.get();
        self.next_visitor.set(visitor + 1);
        let heard = {
            let room = self.clone();
            Closure::new(move |event: MessageEvent| {
                let ask = event.data().as_string().and_then(|text| serde_json::from_str::<Ask>(&text).ok());
                // Anything else is ignored, as any page may embed this one.
                let Some(ask) = ask else { return };
                let effects = room.desk.borrow_mut().hear_widget(visitor, ask, random_u64());
                room.clone().run(effects);
            })
        };
        port.set_onmessage(Some(heard.as_ref().unchecked_ref()));
        self.ports.borrow_mut().insert(visitor, Port { port, _heard: heard });
        let effects = self.desk.borrow_mut().arrive(visitor);
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
                Effect::Tell(visitor, tell) => {
                    if let Some(port) = self.ports.borrow().get(&visitor)
                        && let Ok(text) = serde_json::to_string(&tell)
                    {
                        let _ = port.port.post_message(&JsValue::from_str(&text));
                    }
                }
                Effect::Close(visitor) => drop(self.ports.borrow_mut().remove(&visitor)),
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
                let effects = heard.desk.borrow_mut().hear(report);
                heard.clone().run(effects);
            },
            move |loss: Loss| {
                let effects = lost.desk.borrow_mut().crash(&loss);
                lost.clone().run(effects);
            },
        );
        let started = line.is_some();
        *self.line.borrow_mut() = line;
        if !started {
            let effects = self.desk.borrow_mut().crash(&Loss::Died(None));
            self.run(effects);
        }
    }
}
