//! The page's worker: a [`WorkerChannel`], and a watchdog for a death that nothing reports.

use std::{cell::Cell, rc::Rc};

use gloo::timers::callback::Interval;
use web_sys::UrlSearchParams;

use super::browser;
use crate::web::{
    channel::{self, Death, WorkerChannel},
    page::{worker_loss::WorkerLoss, worker_options::WorkerOptions},
    protocol::{Action, Command, Phase, Report, Update},
};

/// Loads the worker's wasm and reports errors.
const LOADER: &str = "./worker-start.js";

/// Interval of pings, in milliseconds.
const PING_MS: u32 = 2000;

/// Consecutive unanswered pings after which the worker counts as dead. A step of the engine takes
/// seconds on the slowest devices, never this long.
const SILENT_PINGS: u32 = 10;

/// The same before the engine's first report, while its wasm is being downloaded.
const SILENT_PINGS_AT_START: u32 = 45;

/// A worker and its watchdog; dropping it terminates the worker.
pub struct WatchedWorker {
    channel: Rc<WorkerChannel>,
    _watchdog: Interval,
}

impl WatchedWorker {
    /// Starts a worker, or adopts the one that started with the page. `on_loss` is called at most
    /// once.
    pub fn open(
        options: &WorkerOptions,
        on_report: impl Fn(Report) + 'static,
        on_loss: impl Fn(WorkerLoss) + 'static,
    ) -> Option<Self> {
        let query = UrlSearchParams::new().ok()?;
        for (name, value) in options.parameters() {
            query.append(name, &value);
        }
        let query = String::from(query.to_string());
        let worker = match browser::started_worker() {
            Some(worker) => worker,
            None => channel::start(&format!("{LOADER}?{query}")).ok()?,
        };
        let alive = Rc::new(Cell::new(true));
        let on_loss = Rc::new(move |alive: &Cell<bool>, loss: WorkerLoss| {
            if alive.replace(false) {
                on_loss(loss);
            }
        });
        let silent = Rc::new(Cell::new(0));
        let limit = Rc::new(Cell::new(SILENT_PINGS_AT_START));
        let on_report = {
            let (silent, limit) = (silent.clone(), limit.clone());
            move |report: Report| {
                silent.set(0);
                // These reports are the script's, from before the engine is loaded.
                if !matches!(report.update, Update::Progress { phase: Phase::Engine, .. }) {
                    limit.set(SILENT_PINGS);
                }
                on_report(report);
            }
        };
        let on_death = {
            let (alive, on_loss) = (alive.clone(), on_loss.clone());
            move |Death { reason, fetching }: Death| {
                let loss = if fetching { WorkerLoss::Unfetched(reason) } else { WorkerLoss::Died(reason) };
                on_loss(&alive, loss);
            }
        };
        let channel = Rc::new(WorkerChannel::open(worker, &query, on_report, on_death).ok()?);
        let watchdog = Interval::new(PING_MS, {
            let channel = Rc::downgrade(&channel);
            move || {
                let Some(channel) = channel.upgrade().filter(|_| alive.get()) else { return };
                silent.set(silent.get() + 1);
                if silent.get() > limit.get() {
                    on_loss(&alive, WorkerLoss::Silent);
                } else {
                    channel.send(Command { id: 0, action: Action::Ping });
                }
            }
        });
        Some(Self { channel, _watchdog: watchdog })
    }

    pub fn send(&self, command: Command) {
        self.channel.send(command);
    }
}
