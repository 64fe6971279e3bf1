//! What the worker holds between orders: the loaded bot and the generation
//! under way.

use std::{cell::RefCell, rc::Rc};

use wasm_bindgen_futures::JsFuture;

use super::{
    Machine, Reply, browser,
    browser::Turns,
    download,
    engine::{Engine, Generation},
    failure::WorkerError,
    source::Source,
};
use crate::web::protocol::{Id, LoadRequest, News, Phase, Ready, Request, Stats, Traffic};

/// Read in one sample at least, and samples taken: about 100 ms together.
const READ_BYTES_AT_LEAST: u64 = 64 << 20;
const READ_SAMPLES: usize = 8;

#[derive(Clone, Default)]
pub struct Session {
    state: Rc<RefCell<State>>,
}

#[derive(Default)]
struct State {
    engine: Option<Engine>,
    running: Option<Running>,
}

struct Running {
    id: Id,
    generation: Generation,
    started_ms: f64,
    first_token_ms: Option<f64>,
    /// Tokens drawn in the first step, one a draft.
    first_tokens: usize,
}

impl Session {
    pub async fn load(self, request: LoadRequest, reply: Reply) {
        // Two bots at once would double the memory.
        *self.state.borrow_mut() = State::default();
        match load(&request, &reply).await {
            Ok((engine, ready)) => {
                self.state.borrow_mut().engine = Some(engine);
                reply.send(News::Ready(ready));
            }
            Err(error) => reply.send(News::Failed(error.to_failure())),
        }
    }

    pub async fn generate(self, request: Request, reply: Reply) {
        let news = match self.run(request, &reply).await {
            Ok(Some(stats)) => News::Done(stats),
            // Replaced by a newer generation, which answers for itself.
            Ok(None) => return,
            Err(error) => News::Failed(error.to_failure()),
        };
        reply.send(news);
    }

    pub fn stop(&self, generation: Id, draft: Option<usize>, reply: &Reply) {
        let mut state = self.state.borrow_mut();
        if let Some(running) = state.running.as_mut().filter(|r| r.id == generation) {
            let events = running.generation.stop(draft);
            if !events.is_empty() {
                reply.send(News::Drafts(events));
            }
        }
    }

    pub fn count(&self, text: &str) -> News {
        let state = self.state.borrow();
        let count = state.engine.as_ref().ok_or(WorkerError::NotReady).and_then(|engine| engine.count(text));
        count.map_or_else(|error| News::Failed(error.to_failure()), News::Counted)
    }

    pub fn measure(&self) -> News {
        match &self.state.borrow().engine {
            Some(engine) => News::Measured(measure(engine)),
            None => News::Failed(WorkerError::NotReady.to_failure()),
        }
    }

    async fn run(&self, request: Request, reply: &Reply) -> Result<Option<Stats>, WorkerError> {
        let started_ms = browser::now_ms();
        let turns = Turns::new()?;
        {
            let mut state = self.state.borrow_mut();
            let generation = state.engine.as_ref().ok_or(WorkerError::NotReady)?.begin(request)?;
            let id = reply.id;
            state.running =
                Some(Running { id, generation, started_ms, first_token_ms: None, first_tokens: 0 });
        }
        loop {
            // Orders that wait are heard before the step they would change.
            turns.next().await?;
            let mut state = self.state.borrow_mut();
            let State { engine, running } = &mut *state;
            let (Some(engine), Some(run)) = (engine.as_mut(), running.as_mut().filter(|r| r.id == reply.id))
            else {
                return Ok(None);
            };
            match engine.step(&mut run.generation) {
                Ok(Some(events)) => {
                    if run.first_token_ms.is_none() {
                        run.first_token_ms = Some(browser::now_ms() - run.started_ms);
                        run.first_tokens = run.generation.drawn_tokens();
                    }
                    if !events.is_empty() {
                        reply.send(News::Drafts(events));
                    }
                }
                Ok(None) => {
                    let stats = run.stats();
                    *running = None;
                    return Ok(Some(stats));
                }
                Err(error) => {
                    *running = None;
                    return Err(error);
                }
            }
        }
    }
}

impl Running {
    fn stats(&self) -> Stats {
        let total_ms = browser::now_ms() - self.started_ms;
        let first_token_ms = self.first_token_ms.unwrap_or(total_ms);
        let new_tokens = self.generation.drawn_tokens();
        let (later_tokens, later_ms) =
            (new_tokens.saturating_sub(self.first_tokens), total_ms - first_token_ms);
        let prompt_tokens = self.generation.prompt_tokens();
        Stats {
            prompt_tokens,
            new_tokens,
            first_token_ms,
            total_ms,
            prefill_tokens_per_s: per_second(prompt_tokens, first_token_ms),
            tokens_per_s: if later_tokens > 0 {
                per_second(later_tokens, later_ms)
            } else {
                per_second(new_tokens, total_ms)
            },
            memory_bytes: browser::memory_bytes(),
        }
    }
}

fn per_second(count: usize, ms: f64) -> f64 {
    1000.0 * count as f64 / ms.max(1e-3)
}

/// Reads the weights as they lie in memory, best of several times.
fn measure(engine: &Engine) -> Traffic {
    let (weight_bytes, position_bytes) = (engine.weight_bytes() as u64, engine.position_bytes() as u64);
    // A browser's clock may stand still for 100 microseconds.
    let passes = READ_BYTES_AT_LEAST.div_ceil(weight_bytes.max(1));
    let mut best_ms = f64::INFINITY;
    for _ in 0..READ_SAMPLES {
        let started_ms = browser::now_ms();
        for _ in 0..passes {
            std::hint::black_box(engine.read_weights());
        }
        best_ms = best_ms.min(browser::now_ms() - started_ms);
    }
    let read_gb_per_s = (passes * weight_bytes) as f64 / best_ms.max(1e-3) / 1e6;
    Traffic { read_gb_per_s, weight_bytes, position_bytes }
}

async fn load(request: &LoadRequest, reply: &Reply) -> Result<(Engine, Ready), WorkerError> {
    let started_ms = browser::now_ms();
    let progress = |phase, loaded_bytes, total_bytes| {
        reply.send(News::Progress { phase, loaded_bytes, total_bytes });
    };
    progress(Phase::Description, 0, None);
    let Machine { build, pool, assembled, described } = super::machine().ok_or(WorkerError::NotReady)?;
    let source = Source::resolve(&request.model, request.precision, described).await?;
    if let Some(info) = source.info() {
        reply.send(News::Bot(info.clone()));
    }
    let download::Loaded { mut engine, not_kept } =
        download::weights(&source, request.backend, &pool, &progress).await?;
    if source.info().is_none() {
        reply.send(News::Bot(source.info_from_name(engine.name())));
    }
    JsFuture::from(assembled).await?;
    if let Some(known) = source.check() {
        progress(Phase::Check, 0, None);
        engine.check(known)?;
    }
    let ready = Ready {
        backend: engine.backend().into(),
        build,
        threads: pool.threads(),
        positions: engine.positions(),
        load_ms: browser::now_ms() - started_ms,
        wasm_bytes: browser::wasm_bytes(),
        memory_bytes: browser::memory_bytes(),
        not_kept: not_kept.map(Into::into),
    };
    Ok((engine, ready))
}
