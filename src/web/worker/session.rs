//! The worker's state between commands: the loaded bot and the generation under way.

use std::{cell::RefCell, rc::Rc};

use super::{
    Reply, browser,
    browser::EventLoop,
    choose::{self, Chosen},
    engine::{Engine, Generation, Network, logits_batch},
    failure::WorkerError,
    source::Source,
};
use crate::{
    backend::{Batch, Outputs, cpu::Cpu},
    bundle::manifest::LogitsCheck,
    generate::GenerateError,
    gpt2::Model,
    web::protocol::{Id, LoadRequest, Phase, Ready, Request, SoFar, Stats, Traffic, Update},
};

/// Minimum bytes read per sample, and number of samples: about 100 ms together.
const READ_BYTES_AT_LEAST: u64 = 64 << 20;
const READ_SAMPLES: usize = 8;

/// The longest that the CPU computes without polling for messages. It polls between layers, so Stop
/// and pings wait at most this and one layer of
/// [`ROWS_AT_ONCE`](crate::backend::Backend::ROWS_AT_ONCE) tokens.
const POLL_INTERVAL_MS: f64 = 50.0;

/// Interval of checks whether the step of a replaced generation has ended.
const REPLACED_POLL_MS: u32 = 1;

/// Added per row before the GPU counts as hung: a long prompt may take longer than one token.
const TIMEOUT_PER_ROW_MS: u32 = 200;

#[derive(Clone, Default)]
pub struct Session {
    state: Rc<RefCell<State>>,
}

#[derive(Default)]
struct State {
    engine: Option<Engine>,
    running: Option<Running>,
    /// Number of loads, by which a step notices that its network is no longer in use.
    loads: u32,
}

struct Running {
    id: Id,
    generation: Generation,
    started_ms: f64,
    first_token_ms: Option<f64>,
    /// Tokens drawn by the end of the first step.
    first_tokens: usize,
    /// Tokens that the request was resumed with.
    brought_tokens: usize,
    /// Whether a step is under way, and what to stop after it.
    stepping: bool,
    stops: Vec<Option<usize>>,
}

impl Session {
    pub async fn load(self, request: LoadRequest, reply: Reply) {
        let loads = {
            let mut state = self.state.borrow_mut();
            // Free the old bot first: two at once would double the memory.
            *state = State { loads: state.loads + 1, ..State::default() };
            state.loads
        };
        let result = load(&request, &reply).await;
        if self.state.borrow().loads != loads {
            return;
        }
        let checked = match result {
            Ok(Loaded { engine, ready, known }) => {
                self.state.borrow_mut().engine = Some(engine);
                reply.send(Update::Ready(ready));
                self.check(known, loads).await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = checked
            && self.state.borrow().loads == loads
        {
            // With the request that waited for the check, if there is one: the page hears that all failed.
            *self.state.borrow_mut() = State { loads, ..State::default() };
            reply.send(Update::Failed(error.to_failure()));
        }
    }

    /// Computes the known prompt. The page shows meanwhile that the bot is ready, and no draft begins
    /// before, as the network is lent.
    async fn check(&self, known: Option<LogitsCheck>, loads: u32) -> Result<(), WorkerError> {
        let Some(known) = known else { return Ok(()) };
        let mut network = self.lend()?.ok_or(WorkerError::NotReady)?;
        let result = network.check(&known).await;
        self.take_back(network, loads);
        result
    }

    pub async fn generate(self, request: Request, so_far: Vec<SoFar>, reply: Reply) {
        let update = match self.run(request, &so_far, &reply).await {
            Ok(Some(stats)) => Update::Done(stats),
            // Replaced by a newer generation, which sends its own reports.
            Ok(None) => return,
            Err(error) => Update::Failed(error.to_failure()),
        };
        reply.send(update);
    }

    /// Computes the logits after a prompt.
    pub async fn logits(self, prompt: Vec<u32>, reply: Reply) {
        let result = async {
            let mut network = self.lend()?.ok_or(WorkerError::NotReady)?;
            let loads = self.state.borrow().loads;
            let outputs = forward(&mut network, &logits_batch(&prompt), async || true).await;
            let logits = outputs.map(|outputs| outputs.map(|o| o.logits.clone()).unwrap_or_default());
            self.take_back(network, loads);
            // JSON has no NaN or infinity.
            match logits? {
                logits if logits.iter().all(|logit| logit.is_finite()) => Ok(logits),
                _ => Err(WorkerError::from(GenerateError::NotFinite)),
            }
        };
        reply.send(match result.await {
            Ok(logits) => Update::Logits(logits),
            Err(error) => Update::Failed(error.to_failure()),
        });
    }

    /// Takes the network for a step; `None` while another step has it.
    fn lend(&self) -> Result<Option<Network>, WorkerError> {
        Ok(self.state.borrow_mut().engine.as_mut().ok_or(WorkerError::NotReady)?.lend())
    }

    /// Puts the network back, unless another bot has been loaded meanwhile.
    fn take_back(&self, network: Network, loads: u32) {
        let mut state = self.state.borrow_mut();
        if state.loads == loads
            && let Some(engine) = &mut state.engine
        {
            engine.take_back(network);
        }
    }

    pub fn stop(&self, generation: Id, draft: Option<usize>, reply: &Reply) {
        let mut state = self.state.borrow_mut();
        if let Some(running) = state.running.as_mut().filter(|r| r.id == generation) {
            running.stops.push(draft);
            // The batch of a step under way must not change.
            if !running.stepping || running.generation.is_starting() {
                running.stop(reply);
            }
        }
    }

    pub fn count(&self, text: &str) -> Update {
        let state = self.state.borrow();
        let count = state.engine.as_ref().ok_or(WorkerError::NotReady).map(|engine| engine.count(text));
        count.map_or_else(|error| Update::Failed(error.to_failure()), Update::Counted)
    }

    pub fn measure(&self) -> Update {
        match &self.state.borrow().engine {
            Some(engine) => Update::Measured(engine.on_processor().map(measure)),
            None => Update::Failed(WorkerError::NotReady.to_failure()),
        }
    }

    async fn run(
        &self,
        request: Request,
        so_far: &[SoFar],
        reply: &Reply,
    ) -> Result<Option<Stats>, WorkerError> {
        let event_loop = EventLoop::new()?;
        self.state.borrow_mut().begin(reply.id, request, so_far)?;
        loop {
            // Handle queued messages before the step that they would affect.
            event_loop.yield_now().await?;
            let mut polled_ms = browser::now_ms();
            let Some(step) = self.state.borrow_mut().next_step(reply.id)? else { return Ok(None) };
            let (mut network, batch, loads) = match step {
                Next::Step { network, batch, loads } => (network, batch, loads),
                // The step of the generation that this one replaces still has the network.
                Next::Wait => {
                    browser::sleep(REPLACED_POLL_MS).await;
                    continue;
                }
                Next::Done(stats) => return Ok(Some(stats)),
            };
            let go_on = async || {
                if browser::now_ms() - polled_ms < POLL_INTERVAL_MS {
                    return true;
                }
                let _ = event_loop.yield_now().await;
                polled_ms = browser::now_ms();
                self.state.borrow().waits(reply.id)
            };
            let started_ms = browser::now_ms();
            let outputs = forward(&mut network, &batch, go_on).await;
            let ms = browser::now_ms() - started_ms;
            let result = outputs.map(|outputs| match outputs {
                Some(outputs) => self.state.borrow_mut().accept(reply, outputs),
                // Stopped or replaced: the next iteration finds out which.
                None => Some(Ok(())),
            });
            network.took(ms);
            self.take_back(network, loads);
            match result.and_then(|accepted| accepted.transpose()) {
                Ok(Some(())) => {}
                Ok(None) => return Ok(None),
                Err(error) => {
                    self.state.borrow_mut().end(reply.id);
                    return Err(error);
                }
            }
        }
    }
}

/// Runs a batch; a GPU that hangs counts as failed. Returns `None` if `go_on`, called between
/// layers on the CPU, returns false.
async fn forward<'a>(
    network: &'a mut Network,
    batch: &Batch,
    go_on: impl AsyncFnMut() -> bool,
) -> Result<Option<&'a Outputs>, WorkerError> {
    let patience = match network {
        // The CPU does not hang, so it needs no timeout.
        Network::Cpu(_) => None,
        Network::Gpu(_) => {
            Some(choose::TIMEOUT_MS.saturating_add(TIMEOUT_PER_ROW_MS.saturating_mul(batch.rows() as u32)))
        }
    };
    let work = async { Ok(network.forward_yielding(batch, go_on).await?) };
    match patience {
        Some(ms) => choose::with_timeout(ms, work).await,
        None => work.await,
    }
}

/// What a generation does next.
enum Next {
    Step { network: Network, batch: Batch, loads: u32 },
    Wait,
    Done(Stats),
}

impl State {
    fn begin(&mut self, id: Id, request: Request, so_far: &[SoFar]) -> Result<(), WorkerError> {
        let started_ms = browser::now_ms();
        let generation = self.engine.as_ref().ok_or(WorkerError::NotReady)?.begin(request, so_far)?;
        let brought_tokens = generation.drawn_tokens();
        self.running = Some(Running {
            id,
            generation,
            started_ms,
            first_token_ms: None,
            first_tokens: 0,
            brought_tokens,
            stepping: false,
            stops: Vec::new(),
        });
        Ok(())
    }

    /// `None` if the generation was replaced.
    fn next_step(&mut self, id: Id) -> Result<Option<Next>, WorkerError> {
        let loads = self.loads;
        let Some(run) = self.running.as_mut().filter(|r| r.id == id) else { return Ok(None) };
        let Some(batch) = run.generation.next_batch().cloned() else {
            let stats = run.stats();
            self.running = None;
            return Ok(Some(Next::Done(stats)));
        };
        Ok(Some(match self.engine.as_mut().ok_or(WorkerError::NotReady)?.lend() {
            Some(network) => {
                run.stepping = true;
                Next::Step { network, batch, loads }
            }
            None => Next::Wait,
        }))
    }

    /// Takes a step's logits; `None` if the generation was replaced meanwhile.
    fn accept(&mut self, reply: &Reply, outputs: &Outputs) -> Option<Result<(), WorkerError>> {
        let engine = self.engine.as_ref()?;
        let run = self.running.as_mut().filter(|r| r.id == reply.id)?;
        run.stepping = false;
        let step = match engine.accept(&mut run.generation, outputs) {
            Ok(step) => step,
            Err(error) => return Some(Err(error)),
        };
        if run.first_token_ms.is_none() {
            run.first_token_ms = Some(browser::now_ms() - run.started_ms);
            run.first_tokens = run.generation.drawn_tokens();
        }
        if !step.events.is_empty() || !step.drawn.is_empty() {
            reply.send(Update::Drafts { events: step.events, drawn: step.drawn });
        }
        run.stop(reply);
        Some(Ok(()))
    }

    /// Whether this generation is current and still needs logits.
    fn waits(&self, id: Id) -> bool {
        let running = self.running.as_ref().filter(|r| r.id == id);
        running.is_some_and(|r| r.generation.next_batch().is_some())
    }

    fn end(&mut self, id: Id) {
        if self.running.as_ref().is_some_and(|r| r.id == id) {
            self.running = None;
        }
    }
}

impl Running {
    /// Carries out the queued stops.
    fn stop(&mut self, reply: &Reply) {
        for draft in std::mem::take(&mut self.stops) {
            let events = self.generation.stop(draft);
            if !events.is_empty() {
                reply.send(Update::Drafts { events, drawn: Vec::new() });
            }
        }
    }

    fn stats(&self) -> Stats {
        let total_ms = browser::now_ms() - self.started_ms;
        let first_token_ms = self.first_token_ms.unwrap_or(total_ms);
        let drawn_tokens = self.generation.drawn_tokens();
        let new_tokens = drawn_tokens - self.brought_tokens;
        let (later_tokens, later_ms) =
            (drawn_tokens.saturating_sub(self.first_tokens), total_ms - first_token_ms);
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

/// Reads the weights as laid out in memory; the best of several samples counts.
fn measure(model: &Model<Cpu>) -> Traffic {
    let (weight_bytes, position_bytes) = (model.weight_bytes() as u64, model.position_bytes() as u64);
    // A browser's clock may have a resolution of 100 µs.
    let passes = READ_BYTES_AT_LEAST.div_ceil(weight_bytes.max(1));
    let mut best_ms = f64::INFINITY;
    for _ in 0..READ_SAMPLES {
        let started_ms = browser::now_ms();
        for _ in 0..passes {
            std::hint::black_box(model.read_weights());
        }
        best_ms = best_ms.min(browser::now_ms() - started_ms);
    }
    let read_gb_per_s = (passes * weight_bytes) as f64 / best_ms.max(1e-3) / 1e6;
    Traffic { read_gb_per_s, weight_bytes, position_bytes }
}

/// A loaded bot.
struct Loaded {
    engine: Engine,
    ready: Ready,
    /// The known prompt and its logits, if they are still to be compared.
    known: Option<LogitsCheck>,
}

async fn load(request: &LoadRequest, reply: &Reply) -> Result<Loaded, WorkerError> {
    let started_ms = browser::now_ms();
    reply.progress(Phase::Description, 0, None);
    let machine = super::machine().ok_or(WorkerError::NotReady)?;
    let source = Source::resolve(request, machine.described().await).await?;
    if let Some(info) = source.info() {
        reply.send(Update::Bot(info.clone()));
    }
    let Chosen { engine, bytes, because, not_kept } = choose::load(&source, request, &machine, reply).await?;
    if source.info().is_none() {
        reply.send(Update::Bot(source.info_from_name(engine.name())));
    }
    let ready = Ready {
        backend: engine.backend().into(),
        because,
        build: machine.build,
        threads: machine.pool.threads(),
        positions: engine.config().n_positions,
        weights_sha256: source.sha256().map(str::to_owned),
        weights_bytes: bytes,
        load_ms: browser::now_ms() - started_ms,
        wasm_bytes: browser::wasm_bytes(),
        memory_bytes: browser::memory_bytes(),
        not_kept,
    };
    // A GPU has been checked.
    let known = source.check().filter(|_| engine.on_processor().is_some()).cloned();
    Ok(Loaded { engine, ready, known })
}
