//! The page's end of the line to the worker. gloo's bridge carries the
//! messages; beside it run a channel on which the worker's loader reports its
//! own death, and a watchdog for a death that nobody reports.

use std::{cell::Cell, rc::Rc};

use gloo::{
    events::EventListener,
    timers::callback::Interval,
    worker::{Spawnable, WorkerBridge},
};
use wasm_bindgen::JsCast;
use web_sys::{BroadcastChannel, MessageEvent, UrlSearchParams};

use crate::web::{
    page::{Word, wish::WorkerWish},
    protocol::{Command, Json, Order, Report, WorkerSide},
};

/// Loads the worker's wasm and reports what goes wrong.
const LOADER: &str = "./worker-start.js";

/// Between two signs of life asked for, in milliseconds.
const PING_MS: u32 = 2000;

/// Unanswered pings in a row that mean the worker is dead. A step of the
/// engine takes seconds on the slowest devices, never this long.
const SILENT_PINGS: u32 = 10;

/// The same for a worker that has not said a word yet: its wasm is on the way.
const SILENT_PINGS_AT_START: u32 = 45;

/// How a worker was lost.
pub enum Loss {
    /// It died, and may have said of what.
    Died(Option<String>),
    /// It does not answer.
    Silent,
}

impl Loss {
    pub fn word(&self) -> Word {
        match self {
            Self::Died(_) => Word::Crashed,
            Self::Silent => Word::Silent,
        }
    }

    /// The sentence with the worker's last words.
    pub fn with_detail(self, sentence: String) -> String {
        match self {
            Self::Died(Some(detail)) => format!("{sentence} {detail}"),
            _ => sentence,
        }
    }
}

/// A worker of its own; dropping the line ends it.
pub struct Line {
    bridge: Rc<WorkerBridge<WorkerSide>>,
    channel: BroadcastChannel,
    _obituary: EventListener,
    _watchdog: Interval,
}

impl Line {
    /// Starts a worker. `lost` is called at most once.
    pub fn open(
        wish: &WorkerWish,
        heard: impl Fn(Report) + 'static,
        lost: impl Fn(Loss) + 'static,
    ) -> Option<Self> {
        let name = format!("huggingtweets-{}", random_u64());
        let channel = BroadcastChannel::new(&name).ok()?;
        let address = UrlSearchParams::new().ok()?;
        address.append("line", &name);
        for (parameter, value) in wish.parameters() {
            address.append(parameter, &value);
        }
        let address = String::from(address.to_string());
        let alive = Rc::new(Cell::new(true));
        let lost = Rc::new(move |alive: &Cell<bool>, loss: Loss| {
            if alive.replace(false) {
                lost(loss);
            }
        });

        let silent = Rc::new(Cell::new(0));
        let limit = Rc::new(Cell::new(SILENT_PINGS_AT_START));
        let bridge = WorkerSide::spawner()
            .encoding::<Json>()
            .with_loader(true)
            .callback({
                let (silent, limit) = (silent.clone(), limit.clone());
                move |report| {
                    silent.set(0);
                    limit.set(SILENT_PINGS);
                    heard(report);
                }
            })
            .spawn(&format!("{LOADER}?{address}"));
        let bridge = Rc::new(bridge);

        let obituary = EventListener::new(&channel, "message", {
            let (alive, lost) = (alive.clone(), lost.clone());
            move |event| {
                let detail = event.dyn_ref::<MessageEvent>().and_then(|e| e.data().as_string());
                lost(&alive, Loss::Died(detail.filter(|d| !d.is_empty())));
            }
        });
        let watchdog = Interval::new(PING_MS, {
            let bridge = Rc::downgrade(&bridge);
            move || {
                let Some(bridge) = bridge.upgrade().filter(|_| alive.get()) else { return };
                silent.set(silent.get() + 1);
                if silent.get() > limit.get() {
                    lost(&alive, Loss::Silent);
                } else {
                    bridge.send(Command { id: 0, order: Order::Ping });
                }
            }
        });
        Some(Self { bridge, channel, _obituary: obituary, _watchdog: watchdog })
    }

    pub fn send(&self, command: Command) {
        self.bridge.send(command);
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        // The loader ends the worker on any message, also one that hangs in
        // its own code; a busy engine hears gloo's farewell instead.
        let _ = self.channel.post_message(&"close".into());
        self.channel.close();
    }
}

/// Enough for a seed or a name; not for a secret.
pub fn random_u64() -> u64 {
    let half = || (js_sys::Math::random() * 4_294_967_296.0) as u64;
    half() << 32 | half()
}
