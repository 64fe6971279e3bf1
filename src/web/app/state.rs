//! What the page knows, as a plain type with verbs. A verb changes the state
//! and returns the effects that must leave the system; the views only show it.

use super::{query::Query, settings::Settings, text};
use crate::web::protocol::{
    BotInfo, Command, EndReason, Event, Failure, FailureKind, Id, LoadRequest, News, Order, Phase, Ready,
    Report, Request, Stats,
};

/// Drafts on the page, always.
pub const DRAFTS: usize = 5;

/// Downloads over this many bytes report their quarters.
const LONG_DOWNLOAD_BYTES: u64 = 20_000_000;

/// What must happen outside the state.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// End the worker, if there is one, and start a fresh one.
    StartWorker,
    Send(Command),
}

#[derive(Debug, Clone, PartialEq)]
pub enum Engine {
    Loading { phase: Phase, loaded_bytes: u64, total_bytes: Option<u64> },
    Ready(Ready),
    Failed(Failure),
}

/// What the visitor asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Run {
    Idle,
    /// Asked for before the engine was ready.
    Waiting(Request),
    Writing {
        id: Id,
        request: Request,
    },
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Draft {
    /// The whole draft so far, the start included.
    pub text: String,
    pub writing: bool,
    pub end: Option<EndReason>,
}

#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    load: LoadRequest,
    pub bot: Option<BotInfo>,
    pub engine: Engine,
    pub run: Run,
    pub start: String,
    /// The start the drafts on the page were written from.
    pub written_from: String,
    pub settings: Settings,
    pub drafts: [Draft; DRAFTS],
    /// How the last generation went, and its seed.
    pub last: Option<(Stats, u64)>,
    /// A sentence about a request that cannot be carried out.
    pub problem: Option<String>,
    next_id: Id,
    load_id: Id,
}

impl Page {
    /// The page as it opens; `model` is the bot's absolute address.
    pub fn open(query: &Query, model: String) -> (Self, Vec<Effect>) {
        let mut settings = Settings::default();
        if let Some(seed) = query.seed {
            settings.set(super::settings::Setting::Seed, &seed.to_string());
        }
        let mut page = Self {
            load: LoadRequest { model, precision: query.precision, backend: query.backend },
            bot: None,
            engine: Engine::Loading { phase: Phase::Description, loaded_bytes: 0, total_bytes: None },
            run: Run::Idle,
            start: query.prompt.clone().unwrap_or_else(|| text::START_DEFAULT.into()),
            written_from: String::new(),
            settings,
            drafts: Default::default(),
            last: None,
            problem: query.problem.clone(),
            next_id: 1,
            load_id: 0,
        };
        let effects = page.start_engine();
        (page, effects)
    }

    pub fn type_start(&mut self, start: &str) {
        self.start = start.into();
    }

    /// Asks for five drafts. Before the engine is ready the wish is kept.
    pub fn generate(&mut self, random_seed: u64) -> Vec<Effect> {
        if self.busy() {
            return Vec::new();
        }
        let request = match self.settings.request(&self.start, DRAFTS, random_seed) {
            Ok(request) => request,
            Err(sentence) => {
                self.problem = Some(sentence);
                return Vec::new();
            }
        };
        self.problem = None;
        self.last = None;
        self.written_from = self.start.trim().to_owned();
        for draft in &mut self.drafts {
            *draft = Draft { text: self.written_from.clone(), writing: true, end: None };
        }
        match self.engine {
            Engine::Ready(_) => self.write(request),
            Engine::Loading { .. } => {
                self.run = Run::Waiting(request);
                Vec::new()
            }
            Engine::Failed(_) => {
                self.run = Run::Waiting(request);
                self.start_engine()
            }
        }
    }

    /// Ends one draft, or all.
    pub fn stop(&mut self, draft: Option<usize>) -> Vec<Effect> {
        match &self.run {
            Run::Idle => Vec::new(),
            Run::Waiting(request) => {
                let mut request = request.clone();
                let (first, last) = draft.map_or((0, DRAFTS), |d| (d, d + 1));
                for draft in self.drafts.get_mut(first..last).into_iter().flatten() {
                    *draft = Draft::default();
                }
                // One of five taken back before it began: the others remain.
                request.drafts = self.drafts.iter().rposition(|d| d.writing).map_or(0, |d| d + 1);
                self.run = if request.drafts == 0 { Run::Idle } else { Run::Waiting(request) };
                Vec::new()
            }
            Run::Writing { id, .. } => {
                let order = Order::Stop { generation: *id, draft };
                vec![self.command(order)]
            }
        }
    }

    /// Tries again after a failure; a wish for drafts is kept.
    pub fn retry(&mut self) -> Vec<Effect> {
        match self.engine {
            Engine::Failed(_) => self.start_engine(),
            _ => Vec::new(),
        }
    }

    /// Takes a report of the worker.
    pub fn hear(&mut self, report: Report) -> Vec<Effect> {
        let writing = matches!(&self.run, Run::Writing { id, .. } if *id == report.id);
        if report.id == self.load_id {
            match report.news {
                News::Bot(info) => self.bot = Some(info),
                News::Progress { phase, loaded_bytes, total_bytes } => {
                    self.engine = Engine::Loading { phase, loaded_bytes, total_bytes };
                }
                News::Ready(ready) => return self.ready(ready),
                News::Failed(failure) => self.fail(failure),
                News::Drafts(_) | News::Done(_) | News::Counted(_) | News::Measured(_) | News::Pong => {}
            }
        } else if writing {
            match report.news {
                News::Drafts(events) => events.into_iter().for_each(|event| self.draft(event)),
                News::Done(stats) => {
                    let seed = self.seed();
                    self.last = Some((stats, seed));
                    self.rest();
                }
                News::Failed(failure) if failure.kind == FailureKind::Request => {
                    self.problem = Some(failure.message);
                    self.drafts = Default::default();
                    self.rest();
                }
                News::Failed(failure) => self.fail(failure),
                News::Bot(_)
                | News::Progress { .. }
                | News::Ready(_)
                | News::Counted(_)
                | News::Measured(_)
                | News::Pong => {}
            }
        }
        Vec::new()
    }

    /// The worker is gone.
    pub fn crash(&mut self, message: String) {
        self.fail(Failure { kind: FailureKind::Crash, message, retryable: true });
    }

    /// Drafts were asked for and are not yet all there.
    pub fn busy(&self) -> bool {
        self.run != Run::Idle
    }

    /// The sentence that needs the visitor's attention, and whether Retry helps.
    pub fn alert(&self) -> Option<(String, bool)> {
        match (&self.engine, &self.problem) {
            (Engine::Failed(failure), _) => Some((failure.message.clone(), failure.retryable)),
            (_, Some(problem)) => Some((problem.clone(), false)),
            _ => None,
        }
    }

    /// The status line: it changes when a phase ends, not with each byte or token.
    pub fn status(&self) -> String {
        let waits =
            if matches!(self.run, Run::Waiting(_)) { "; the drafts start when it is ready" } else { "" };
        match &self.engine {
            Engine::Failed(_) => "The engine is not running".into(),
            Engine::Loading { phase, loaded_bytes, total_bytes } => {
                let phase = match (phase, total_bytes) {
                    (Phase::Description, _) => "Starting the engine".into(),
                    (Phase::Check, _) => "Checking the engine".into(),
                    (Phase::Waiting, _) => text::WAITING.into(),
                    (Phase::Cache, _) => "Reading the bot from this device".into(),
                    (Phase::Download, Some(total)) => {
                        let size = text::megabytes(*total);
                        match quarters(*loaded_bytes, *total) {
                            Some(percent) => format!("Downloading the bot, {percent}% of {size}"),
                            None => format!("Downloading the bot, {size}"),
                        }
                    }
                    (Phase::Download, None) => "Downloading the bot".into(),
                };
                format!("{phase}{waits}")
            }
            Engine::Ready(ready) => {
                let engine = text::engine(&ready.backend, ready.threads);
                let not_kept = ready.not_kept.as_deref().map(text::not_kept).unwrap_or_default();
                match (&self.run, &self.last) {
                    (Run::Idle, Some((stats, _))) => {
                        format!("{engine}, {}{not_kept}", text::speed(stats.tokens_per_s))
                    }
                    (Run::Idle, None) => format!("{engine}, ready{not_kept}"),
                    _ => format!("{engine}, writing"),
                }
            }
        }
    }

    /// Done and total bytes of the transfer under way.
    pub fn progress(&self) -> Option<(u64, u64)> {
        match self.engine {
            Engine::Loading {
                phase: Phase::Download | Phase::Cache,
                loaded_bytes,
                total_bytes: Some(total),
            } => Some((loaded_bytes, total)),
            _ => None,
        }
    }

    fn start_engine(&mut self) -> Vec<Effect> {
        self.engine = Engine::Loading { phase: Phase::Description, loaded_bytes: 0, total_bytes: None };
        let command = self.command(Order::Load(self.load.clone()));
        self.load_id = self.next_id - 1;
        vec![Effect::StartWorker, command]
    }

    fn ready(&mut self, ready: Ready) -> Vec<Effect> {
        self.engine = Engine::Ready(ready);
        match std::mem::replace(&mut self.run, Run::Idle) {
            Run::Waiting(request) => self.write(request),
            _ => Vec::new(),
        }
    }

    fn write(&mut self, request: Request) -> Vec<Effect> {
        let command = self.command(Order::Generate(request.clone()));
        let id = self.next_id - 1;
        self.run = Run::Writing { id, request };
        let mut effects = vec![command];
        // Drafts taken back while the engine was not ready.
        for draft in 0..DRAFTS {
            if !self.drafts[draft].writing {
                effects.push(self.command(Order::Stop { generation: id, draft: Some(draft) }));
            }
        }
        effects
    }

    fn draft(&mut self, event: Event) {
        match event {
            Event::Text { draft, text } => {
                if let Some(draft) = self.drafts.get_mut(draft).filter(|d| d.writing) {
                    draft.text = text;
                }
            }
            Event::Done { draft, text, reason, .. } => {
                if let Some(draft) = self.drafts.get_mut(draft).filter(|d| d.writing) {
                    // Stopped before its first token: the start is all there is.
                    if !text.is_empty() {
                        draft.text = text;
                    }
                    draft.writing = false;
                    draft.end = Some(reason);
                }
            }
        }
    }

    /// The generation is over.
    fn rest(&mut self) {
        self.run = Run::Idle;
        for draft in &mut self.drafts {
            draft.writing = false;
        }
    }

    /// The engine is gone. Drafts under way are wished for again.
    fn fail(&mut self, failure: Failure) {
        if let Run::Writing { request, .. } = &self.run {
            self.run = Run::Waiting(request.clone());
        }
        self.engine = Engine::Failed(failure);
    }

    fn seed(&self) -> u64 {
        match &self.run {
            Run::Writing { request, .. } | Run::Waiting(request) => request.seed,
            Run::Idle => 0,
        }
    }

    fn command(&mut self, order: Order) -> Effect {
        let id = self.next_id;
        self.next_id += 1;
        Effect::Send(Command { id, order })
    }
}

/// 0, 25, 50 or 75 of a long download; `None` of a short one.
fn quarters(loaded: u64, total: u64) -> Option<u64> {
    (total > LONG_DOWNLOAD_BYTES).then(|| (4 * loaded / total).min(3) * 25)
}
