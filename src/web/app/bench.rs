//! The bench page: runs the engine and sets `window.benchResult` or `window.benchError`.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use leptos::prelude::{document, window};
use serde::Serialize;

use super::{browser, watched_worker::WatchedWorker};
use crate::web::{
    page::{
        query::Query, starts, text, words::Words, worker_loss::WorkerLoss, worker_options::WorkerOptions,
    },
    protocol::{Action, Command, LoadRequest, Ready, Report, Request, Stats, Traffic, Update},
};

/// The result; its field names are part of the page's interface.
#[derive(Debug, Default, Serialize)]
struct BenchResult {
    /// From the load command to a ready engine.
    load_ms: f64,
    /// From opening the page to a ready engine.
    ready_ms: f64,
    runs: Vec<BenchRun>,
    backend: String,
    build: String,
    threads: usize,
    wasm_bytes: u64,
    peak_memory_bytes: u64,
    /// Plain read of the loaded weights by one thread; 10^9 bytes per second.
    read_gb_per_s: f64,
    /// Bytes that a decoding step reads, halfway through the runs: weights, keys and values. No
    /// step of one thread is faster than reading them.
    step_bytes: f64,
}

#[derive(Debug, Serialize)]
struct BenchRun {
    first_token_ms: f64,
    tokens_per_s: f64,
    prefill_tokens_per_s: f64,
    new_tokens: usize,
    prompt_tokens: usize,
}

/// Runs what the page's URL asks for.
pub fn start() {
    let query = browser::query();
    if let Some(problem) = &query.problem {
        return fail(&text::bad_parameter(&Words::english(), problem));
    }
    show("Loading the bot");
    let model = browser::model_url(query.model.as_deref());
    let options = WorkerOptions::new(&query, model.clone());
    let bench = Rc::new(Bench {
        model,
        query,
        worker: RefCell::default(),
        result: RefCell::default(),
        prompt_tokens: Cell::default(),
    });
    let heard = {
        let bench = bench.clone();
        move |report| bench.hear(report)
    };
    let lost = |loss: WorkerLoss| fail(&loss.failure(&Words::english()).message);
    match WatchedWorker::open(&options, heard, lost) {
        Some(worker) => *bench.worker.borrow_mut() = Some(worker),
        None => return lost(WorkerLoss::Died(None)),
    }
    bench.send(Action::Load(LoadRequest {
        model: bench.model.clone(),
        files: Default::default(),
        precision: bench.query.precision,
        backend: bench.query.backend,
    }));
}

struct Bench {
    query: Query,
    model: String,
    worker: RefCell<Option<WatchedWorker>>,
    result: RefCell<BenchResult>,
    prompt_tokens: Cell<usize>,
}

impl Bench {
    fn send(&self, action: Action) {
        if let Some(worker) = self.worker.borrow().as_ref() {
            worker.send(Command { id: 1, action });
        }
    }

    fn hear(&self, report: Report) {
        match report.update {
            Update::Ready(ready) => {
                self.take_ready(ready);
                self.send(Action::Count(self.prompt()));
            }
            Update::Counted(tokens) => {
                self.prompt_tokens.set(tokens);
                self.next_run();
            }
            Update::Done(stats) => {
                self.take_run(&stats);
                self.next_run();
            }
            Update::Measured(traffic) => {
                // Weights on a GPU are not in this memory.
                if let Some(traffic) = traffic {
                    self.take_traffic(traffic);
                }
                self.finish();
            }
            Update::Failed(failure) => fail(&failure.message),
            Update::Bot(_)
            | Update::Progress { .. }
            | Update::TriesGpu(_)
            | Update::Drafts { .. }
            | Update::Logits(_)
            | Update::Pong => {}
        }
    }

    fn take_ready(&self, ready: Ready) {
        let mut result = self.result.borrow_mut();
        result.load_ms = ready.load_ms;
        result.ready_ms = window().performance().map_or(0.0, |p| p.now());
        result.backend = ready.backend;
        result.build = ready.build;
        result.threads = ready.threads;
        result.wasm_bytes = ready.wasm_bytes;
        result.peak_memory_bytes = ready.memory_bytes;
    }

    fn take_run(&self, stats: &Stats) {
        let mut result = self.result.borrow_mut();
        result.peak_memory_bytes = result.peak_memory_bytes.max(stats.memory_bytes);
        result.runs.push(BenchRun {
            first_token_ms: stats.first_token_ms,
            tokens_per_s: stats.tokens_per_s,
            prefill_tokens_per_s: stats.prefill_tokens_per_s,
            new_tokens: stats.new_tokens,
            prompt_tokens: stats.prompt_tokens,
        });
    }

    fn take_traffic(&self, traffic: Traffic) {
        let mut result = self.result.borrow_mut();
        result.read_gb_per_s = traffic.read_gb_per_s;
        let positions = result.runs.iter().map(|run| run.prompt_tokens as f64 + run.new_tokens as f64 / 2.0);
        let mean = positions.sum::<f64>() / result.runs.len().max(1) as f64;
        result.step_bytes = traffic.weight_bytes as f64 + mean * traffic.position_bytes as f64;
    }

    fn prompt(&self) -> String {
        self.query.prompt.clone().unwrap_or_else(|| starts::DEFAULT.into())
    }

    /// Each run has its own seed; a draft has at most `tokens` new tokens and only a newline ends
    /// it early. Reading is measured after all runs.
    fn next_run(&self) {
        let done = self.result.borrow().runs.len();
        if done < self.query.runs {
            show(&format!("Run {} of {}", done + 1, self.query.runs));
            let most = self.prompt_tokens.get() + self.query.tokens;
            let request = Request {
                drafts: self.query.drafts,
                max_tokens: Some(most),
                min_tokens: most,
                seed: self.query.seed.unwrap_or(0) + done as u64,
                prompt: self.prompt(),
                ..Request::default()
            };
            self.send(Action::Generate { request, so_far: Vec::new() });
            return;
        }
        show("Measuring how fast this machine reads memory");
        self.send(Action::Measure);
    }

    fn finish(&self) {
        let json = serde_json::to_string_pretty(&*self.result.borrow()).unwrap_or_default();
        leave("benchResult", js_sys::JSON::parse(&json).unwrap_or_default());
        show(&json);
    }
}

fn fail(sentence: &str) {
    leave("benchError", sentence.into());
    show(sentence);
}

fn leave(name: &str, value: wasm_bindgen::JsValue) {
    // Setting a property of the window cannot fail.
    let _ = js_sys::Reflect::set(&window(), &name.into(), &value);
}

fn show(sentence: &str) {
    if let Some(output) = document().get_element_by_id("bench") {
        output.set_text_content(Some(sentence));
    }
}
