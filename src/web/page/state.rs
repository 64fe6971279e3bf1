//! The state of the page as a plain type. Its methods change the state and return the effects that
//! must happen outside it; the views only show it.

mod status;
mod writing;

use super::{
    bots::{Bots, Forgotten, Known, Place},
    draft::Draft,
    fallback::Fallback,
    history::{Entry, History},
    link::{self, Shared, Verdict},
    query::Query,
    settings::{BadSetting, Setting, Settings},
    share, starts,
    worker_loss::WorkerLoss,
};
use crate::web::protocol::{
    Action, BackendChoice, BotInfo, Command, Event, Failure, FailureKind, Id, LoadRequest, Phase, Precision,
    Ready, Report, Request, Stats, Update,
};

pub use status::{Alert, Doing, Problem, Status, Why};
use writing::streams;

/// Number of drafts on the page.
pub const DRAFTS: usize = 5;

/// Positions assumed until the bot's are known: GPT-2's.
const POSITIONS: usize = 1024;

/// Something that must happen outside the state.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Terminate the worker, if there is one, and start a new one for this bot.
    StartWorker(Place),
    Send(Command),
    /// Store a text on this device.
    Keep(StorageKey, String),
    /// Revoke the object URLs of a visitor's files that are no longer read.
    Revoke(Vec<String>),
}

/// Where a text is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StorageKey {
    History,
    Bots,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Engine {
    Loading {
        phase: Phase,
        loaded_bytes: u64,
        total_bytes: Option<u64>,
    },
    Ready(Ready),
    Failed(Failure),
    /// The worker is gone.
    Lost(WorkerLoss),
}

/// What the visitor asked for, and the card of each of its drafts.
#[derive(Debug, Clone, PartialEq)]
pub enum Run {
    Idle,
    /// Waits for an engine.
    Waiting {
        request: Request,
        cards: Vec<usize>,
    },
    Writing {
        id: Id,
        request: Request,
        cards: Vec<usize>,
    },
}

#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    place: Place,
    /// The bot as the page's URL names it, if it does.
    model_parameter: Option<String>,
    precision: Precision,
    backend: Fallback,
    pub bot: Option<BotInfo>,
    pub engine: Engine,
    pub run: Run,
    pub start: String,
    pub settings: Settings,
    pub drafts: [Draft; DRAFTS],
    /// The cards before the request under way.
    before: [Draft; DRAFTS],
    /// Statistics of the last generation.
    pub last: Option<Stats>,
    pub problem: Option<Problem>,
    /// The draft that the page's URL promises, until it has been generated.
    expected: Option<Shared>,
    /// Whether it is the promised one: (card, verdict).
    pub verdict: Option<(usize, Verdict)>,
    /// Drafts finished since the last request, for the live region.
    pub spoken: Vec<(usize, String)>,
    pub history: History,
    pub bots: Bots,
    next_id: Id,
    load_id: Id,
}

impl Page {
    /// Opens the page; `model` is the bot's absolute URL. A link to a draft writes it at once.
    pub fn open(query: &Query, model: String, history: History, bots: Bots) -> (Self, Vec<Effect>) {
        let mut settings = Settings::default();
        for (setting, text) in &query.settings {
            settings.set(*setting, text);
        }
        if let Some(seed) = query.seed {
            settings.set(Setting::Seed, &seed.to_string());
        }
        let mut page = Self {
            place: Place::url(model),
            model_parameter: query.model.clone(),
            precision: query.precision,
            // Links promise the CPU's draft, which is the same on every machine.
            backend: Fallback::new(match (query.backend, &query.shared) {
                (BackendChoice::Auto, Some(_)) => BackendChoice::Simd,
                (requested, _) => requested,
            }),
            bot: None,
            engine: LOADING,
            run: Run::Idle,
            start: query.prompt.clone().unwrap_or_else(|| starts::DEFAULT.into()),
            settings,
            drafts: Default::default(),
            before: Default::default(),
            last: None,
            problem: query.problem.clone().map(Problem::Parameter),
            // Without a seed, no draft is promised.
            expected: query.shared.clone().filter(|_| query.seed.is_some()),
            verdict: None,
            spoken: Vec::new(),
            history,
            bots,
            next_id: 1,
            load_id: 0,
        };
        let mut effects = page.start_engine();
        if let Some(Shared { min_new_tokens, .. }) = page.expected {
            match page.settings.request(&page.start, DRAFTS, 0) {
                Ok(request) => {
                    let request = Request { min_new_tokens, ..request };
                    effects.extend(page.begin(request, (0..DRAFTS).collect()));
                }
                Err(bad) => {
                    page.problem = Some(Problem::Setting(bad));
                    page.expected = None;
                }
            }
        }
        (page, effects)
    }

    pub fn type_start(&mut self, start: &str) {
        self.start = start.into();
    }

    /// Changes the settings; one that was refused is refused no longer once it is valid.
    pub fn change_settings(&mut self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.settings);
        if matches!(self.problem, Some(Problem::Setting(_))) {
            self.problem = self.settings.request("", 1, 0).err().map(Problem::Setting);
        }
    }

    /// Requests drafts on all cards that are not pinned. The request waits until the engine is
    /// ready.
    pub fn generate(&mut self, random_seed: u64) -> Vec<Effect> {
        let cards: Vec<_> = (0..DRAFTS).filter(|card| !self.drafts[*card].pinned).collect();
        if cards.is_empty() && !self.busy() {
            self.problem = Some(Problem::AllPinned);
        }
        let start = self.start.clone();
        let request = self.settings.request(&start, cards.len(), random_seed);
        self.ask(request, cards)
    }

    /// Requests another draft on one card, from the same prompt.
    pub fn regenerate(&mut self, card: usize, random_seed: u64) -> Vec<Effect> {
        let Some(draft) = self.drafts.get(card) else { return Vec::new() };
        let start = if draft.is_empty() { self.start.clone() } else { draft.start.clone() };
        // The same seed would give the same draft.
        let request = self.settings.request(&start, 1, random_seed);
        self.ask(request.map(|request| Request { seed: random_seed, ..request }), vec![card])
    }

    /// Requests a continuation of a draft.
    pub fn continue_draft(&mut self, card: usize, random_seed: u64) -> Vec<Effect> {
        let Some(draft) = self.drafts.get(card).filter(|draft| draft.is_finished()) else {
            return Vec::new();
        };
        let positions = match &self.engine {
            Engine::Ready(ready) => ready.positions,
            _ => POSITIONS,
        };
        let request = self.settings.request(&draft.text, 1, random_seed);
        let request =
            request.map(|request| Request { seed: random_seed, ..draft.further(request, positions) });
        self.ask(request, vec![card])
    }

    /// Pins or unpins a finished draft.
    pub fn pin(&mut self, card: usize) {
        if let Some(draft) = self.drafts.get_mut(card).filter(|draft| draft.is_finished()) {
            draft.pinned = !draft.pinned;
            if self.problem == Some(Problem::AllPinned) {
                self.problem = None;
            }
        }
    }

    /// Tries again after a failure; a waiting request is kept.
    pub fn retry(&mut self) -> Vec<Effect> {
        match self.engine {
            Engine::Failed(_) | Engine::Lost(_) => self.start_engine(),
            Engine::Loading { .. } | Engine::Ready(_) => Vec::new(),
        }
    }

    /// Opens another bot in place of this one. What is typed stays.
    pub fn open_bot(&mut self, place: Place) -> Vec<Effect> {
        self.model_parameter = (!place.is_local()).then(|| place.model.clone());
        let former = std::mem::replace(&mut self.place, place);
        self.bot = None;
        self.run = Run::Idle;
        self.drafts = Default::default();
        self.last = None;
        self.problem = None;
        self.expected = None;
        self.verdict = None;
        self.spoken.clear();
        let mut effects = self.start_engine();
        // Only now has the worker that read them ended.
        if former.is_local() {
            effects.push(Effect::Revoke(former.files.into_values().collect()));
        }
        effects
    }

    /// Removes a bot from the list of those opened here, and its data from this device.
    pub fn forget_bot(&mut self, bot: &Known) -> Vec<Effect> {
        self.bots.forget(bot);
        self.keep_bots()
    }

    pub fn forget_draft(&mut self, entry: &Entry) -> Vec<Effect> {
        self.history.remove(entry);
        vec![Effect::Keep(StorageKey::History, self.history.to_json())]
    }

    pub fn clear_history(&mut self) -> Vec<Effect> {
        self.history.clear();
        vec![Effect::Keep(StorageKey::History, self.history.to_json())]
    }

    /// Takes over what another tab has stored, so that what this one stores next does not undo it.
    pub fn keep_in_step(&mut self, history: History, bots: Bots) {
        (self.history, self.bots) = (history, bots);
    }

    /// Whether a report may change what this device stores.
    pub fn may_keep(report: &Report) -> bool {
        match &report.update {
            Update::Ready(_) | Update::Failed(_) => true,
            Update::Drafts { events, .. } => events.iter().any(|event| matches!(event, Event::Done { .. })),
            _ => false,
        }
    }

    /// Handles a report of the worker.
    pub fn hear(&mut self, report: Report) -> Vec<Effect> {
        let writing = matches!(&self.run, Run::Writing { id, .. } if *id == report.id);
        if report.id == self.load_id {
            match report.update {
                Update::Bot(info) => self.bot = Some(info),
                Update::Progress { phase, loaded_bytes, total_bytes } => {
                    self.engine = Engine::Loading { phase, loaded_bytes, total_bytes };
                }
                Update::TriesGpu(tries) => self.backend.tries_gpu(tries),
                Update::Ready(ready) => return self.ready(ready),
                Update::Failed(failure) => return self.fail(failure),
                Update::Drafts { .. }
                | Update::Done(_)
                | Update::Counted(_)
                | Update::Measured(_)
                | Update::Logits(_)
                | Update::Pong => {}
            }
        } else if writing {
            match report.update {
                Update::Drafts { events, drawn } => {
                    self.draw(&drawn);
                    let finished: Vec<_> = events.into_iter().filter_map(|event| self.draft(event)).collect();
                    return self.remember(&finished);
                }
                Update::Done(stats) => {
                    self.last = Some(stats);
                    self.end_generation();
                }
                Update::Failed(failure) if failure.kind == FailureKind::Request => {
                    self.problem = Some(Problem::Refused(failure.message));
                    // A former engine may have written part of them.
                    let effects = self.give_up(&(0..DRAFTS).collect::<Vec<_>>());
                    self.end_generation();
                    return effects;
                }
                Update::Failed(failure) => return self.fail(failure),
                Update::Bot(_)
                | Update::Progress { .. }
                | Update::TriesGpu(_)
                | Update::Ready(_)
                | Update::Counted(_)
                | Update::Measured(_)
                | Update::Logits(_)
                | Update::Pong => {}
            }
        }
        Vec::new()
    }

    /// Handles the loss of the worker.
    pub fn crash(&mut self, loss: WorkerLoss) -> Vec<Effect> {
        self.end_engine(loss.kind(), Engine::Lost(loss))
    }

    /// Which engine is requested.
    pub fn backend(&self) -> BackendChoice {
        self.backend.choice()
    }

    /// Restarts with another engine, which continues drafts under way.
    pub fn choose_backend(&mut self, backend: BackendChoice) -> Vec<Effect> {
        if backend == self.backend() {
            return Vec::new();
        }
        self.backend = Fallback::new(backend);
        self.wait_again();
        self.start_engine()
    }

    /// Whether drafts were requested and are not all finished.
    pub fn busy(&self) -> bool {
        self.run != Run::Idle
    }

    /// The bot's absolute URL, and its files if they are the visitor's.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Precision of the weights: the bot's own if it lacks the requested one, else the page's.
    pub fn precision(&self) -> Precision {
        self.place.precision.unwrap_or(self.precision)
    }

    /// The precision that the page's URL asks for.
    pub fn requested_precision(&self) -> Precision {
        self.precision
    }

    /// The query of the URL that reproduces a draft; `None` if none can: it was stopped, or the bot
    /// has no URL.
    pub fn link(&self, card: usize) -> Option<String> {
        if self.place.is_local() {
            return None;
        }
        let (model, draft) = (self.model_parameter.as_deref(), self.drafts.get(card)?);
        link::parameters(model, self.precision(), draft, self.weights_sha256()).map(|p| share::search(&p))
    }

    fn weights_sha256(&self) -> Option<&str> {
        match &self.engine {
            Engine::Ready(ready) => ready.weights_sha256.as_deref(),
            _ => None,
        }
    }

    fn ask(&mut self, request: Result<Request, BadSetting>, cards: Vec<usize>) -> Vec<Effect> {
        if self.busy() || cards.is_empty() {
            return Vec::new();
        }
        match request {
            Ok(request) => self.begin(request, cards),
            Err(bad) => {
                self.problem = Some(Problem::Setting(bad));
                Vec::new()
            }
        }
    }

    fn begin(&mut self, request: Request, cards: Vec<usize>) -> Vec<Effect> {
        let request = Request { streams: streams(&cards), ..request };
        if self.expected.is_none() {
            self.problem = None;
            self.verdict = None;
        }
        self.last = None;
        self.spoken.clear();
        self.before = self.drafts.clone();
        for (index, card) in cards.iter().enumerate() {
            let pinned = self.drafts[*card].pinned;
            self.drafts[*card] = Draft { pinned, ..Draft::begin(&request, index) };
        }
        match self.engine {
            Engine::Ready(_) => self.write(request, cards),
            Engine::Loading { .. } => {
                self.run = Run::Waiting { request, cards };
                Vec::new()
            }
            Engine::Failed(_) | Engine::Lost(_) => {
                self.run = Run::Waiting { request, cards };
                self.start_engine()
            }
        }
    }

    fn start_engine(&mut self) -> Vec<Effect> {
        self.engine = LOADING;
        self.backend.begin_load();
        let load = LoadRequest {
            model: self.place.model.clone(),
            files: self.place.files.clone(),
            precision: self.precision(),
            backend: self.backend(),
        };
        let command = self.command(Action::Load(load));
        self.load_id = self.next_id - 1;
        vec![Effect::StartWorker(self.place.clone()), command]
    }

    fn ready(&mut self, ready: Ready) -> Vec<Effect> {
        if !self.place.is_local() {
            self.bots.remember(Known {
                model: self.place.model.clone(),
                // A single file has no other weights.
                precision: self.place.folder().map(|_| self.precision()),
                name: self.bot.as_ref().map_or(String::new(), |bot| bot.name.clone()),
                bytes: ready.weights_bytes,
                sha256: ready.weights_sha256.clone(),
                others: Vec::new(),
                deleted: false,
            });
        }
        self.backend.ready(&ready);
        self.engine = Engine::Ready(ready);
        let mut effects = self.keep_bots();
        if let Run::Waiting { request, cards } = std::mem::replace(&mut self.run, Run::Idle) {
            effects.extend(self.write(request, cards));
        }
        effects
    }

    fn fail(&mut self, failure: Failure) -> Vec<Effect> {
        self.end_engine(failure.kind, Engine::Failed(failure))
    }

    /// Handles the end of the engine. Drafts under way wait for another; if it ran on the GPU, the
    /// CPU continues them at once.
    fn end_engine(&mut self, kind: FailureKind, end: Engine) -> Vec<Effect> {
        self.wait_again();
        if self.backend.take_over(kind) {
            return self.start_engine();
        }
        self.engine = end;
        Vec::new()
    }

    /// Stores the list, and tells the worker to remove the data of deleted bots if it is alive
    /// and not loading weights. Otherwise the deleted bots stay on the list until it is.
    fn keep_bots(&mut self) -> Vec<Effect> {
        let gone = match self.engine {
            Engine::Ready(_) | Engine::Failed(_) => self.bots.take_deleted(),
            Engine::Loading { .. } | Engine::Lost(_) => Vec::new(),
        };
        let mut effects = vec![Effect::Keep(StorageKey::Bots, self.bots.to_json())];
        for Forgotten { model, sha256 } in gone {
            let mut digests = sha256.into_iter();
            // The first also removes what is stored by address.
            let first = Action::Forget { model: model.clone(), sha256: digests.next() };
            effects.push(self.command(first));
            for digest in digests {
                effects.push(self.command(Action::Forget { model: model.clone(), sha256: Some(digest) }));
            }
        }
        effects
    }

    fn command(&mut self, action: Action) -> Effect {
        let id = self.next_id;
        self.next_id += 1;
        Effect::Send(Command { id, action })
    }
}

const LOADING: Engine = Engine::Loading { phase: Phase::Description, loaded_bytes: 0, total_bytes: None };
