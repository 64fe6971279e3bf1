//! One engine for all widgets of a page, as a plain type: it is started when a widget first needs
//! it, and handles one request at a time.

use std::collections::{BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::{fallback::Fallback, starts, words::Words, worker_loss::WorkerLoss};
use crate::web::protocol::{
    Action, BotInfo, Command, Event, Failure, FailureKind, Id, LoadRequest, NotKept, Phase, Report, Request,
    SoFar, Update,
};

/// Identifies a widget.
pub type WidgetId = u32;

/// Maximum number of drafts per request.
const MAX_DRAFTS: usize = 16;

/// A message from a widget, sent by `www/tweet-bot.js`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "ask", rename_all = "snake_case")]
pub enum WidgetCommand {
    /// Start the engine.
    Load,
    /// `id`: the widget's own, never reused.
    Generate {
        id: u32,
        prompt: String,
        drafts: usize,
        /// A whole number as text: JavaScript's numbers hold fewer bits.
        seed: Option<String>,
    },
    Stop {
        id: u32,
    },
    /// Try again after a failure.
    Retry,
    Leave,
}

/// A message to a widget.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "tell", rename_all = "snake_case")]
pub enum WidgetReport {
    Bot {
        name: String,
        handles: Vec<String>,
        /// Tag of the language it writes.
        language: Option<String>,
        notice: Option<String>,
    },
    /// Progress of the load.
    Loading {
        phase: &'static str,
        loaded_bytes: u64,
        total_bytes: Option<u64>,
    },
    Ready {
        backend: String,
        threads: usize,
        not_kept: Option<NotKept>,
    },
    /// Another widget's drafts come before those of `id`.
    Waiting {
        id: u32,
    },
    /// The drafts of `id` are next.
    Writing {
        id: u32,
    },
    /// The whole draft so far.
    Draft {
        id: u32,
        index: usize,
        text: String,
        done: bool,
    },
    Done {
        id: u32,
        seed: String,
        tokens_per_s: f64,
    },
    /// Without an `id` the engine has failed, and all requests with it.
    Failed {
        id: Option<u32>,
        message: String,
        retryable: bool,
    },
}

/// Something that the caller must carry out.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Terminate the worker, if there is one, and start a new one.
    StartWorker,
    Send(Command),
    Report(WidgetId, WidgetReport),
    /// Close the channel to a widget that has left.
    Close(WidgetId),
}

#[derive(Debug, Clone, PartialEq)]
enum State {
    /// No widget has needed it yet.
    Off,
    Loading(WidgetReport),
    Ready(WidgetReport),
    Failed(WidgetReport),
}

#[derive(Debug, Clone, PartialEq)]
struct Job {
    widget: WidgetId,
    id: u32,
    request: Request,
    /// Each draft's tokens so far, from which another engine can continue.
    so_far: Vec<SoFar>,
}

/// The engine that the widgets of a page share.
#[derive(Debug)]
pub struct SharedEngine {
    load: LoadRequest,
    backend: Fallback,
    state: State,
    bot: Option<WidgetReport>,
    widgets: BTreeSet<WidgetId>,
    waiting: VecDeque<Job>,
    /// The job under way, and the id of its command.
    running: Option<(Id, Job)>,
    next_id: Id,
    load_id: Id,
}

impl SharedEngine {
    pub fn new(load: LoadRequest) -> Self {
        Self {
            backend: Fallback::new(load.backend),
            load,
            state: State::Off,
            bot: None,
            widgets: BTreeSet::new(),
            waiting: VecDeque::new(),
            running: None,
            next_id: 1,
            load_id: 0,
        }
    }

    /// Registers a widget and tells it the current state.
    pub fn connect(&mut self, widget: WidgetId) -> Vec<Effect> {
        self.widgets.insert(widget);
        let state = match &self.state {
            State::Off => None,
            State::Loading(report) | State::Ready(report) | State::Failed(report) => Some(report.clone()),
        };
        self.bot.iter().cloned().chain(state).map(|report| Effect::Report(widget, report)).collect()
    }

    /// Handles a command of a widget.
    pub fn handle_command(
        &mut self,
        widget: WidgetId,
        command: WidgetCommand,
        random_seed: u64,
    ) -> Vec<Effect> {
        match command {
            WidgetCommand::Load => match self.state {
                State::Off => self.start(),
                _ => Vec::new(),
            },
            WidgetCommand::Retry => match self.state {
                State::Failed(_) => self.start(),
                _ => Vec::new(),
            },
            WidgetCommand::Generate { id, prompt, drafts, seed } => {
                let seed = match seed.as_deref().map(str::trim).filter(|seed| !seed.is_empty()) {
                    None => random_seed,
                    Some(text) => match text.parse() {
                        Ok(seed) => seed,
                        Err(_) => {
                            let message =
                                format!("“{text}” is not a seed: give a whole number, 0 or larger.");
                            let failed = WidgetReport::Failed { id: Some(id), message, retryable: false };
                            return vec![Effect::Report(widget, failed)];
                        }
                    },
                };
                let drafts = drafts.clamp(1, MAX_DRAFTS);
                let request = Request { prompt, drafts, seed, ..Request::default() };
                let so_far = vec![SoFar::default(); drafts];
                self.waiting.push_back(Job { widget, id, request, so_far });
                match self.state {
                    State::Off | State::Failed(_) => self.start(),
                    State::Loading(_) => Vec::new(),
                    State::Ready(_) if self.running.is_some() => {
                        vec![Effect::Report(widget, WidgetReport::Waiting { id })]
                    }
                    State::Ready(_) => self.next(),
                }
            }
            WidgetCommand::Stop { id } => self.stop(|job| job.widget == widget && job.id == id),
            WidgetCommand::Leave => {
                self.widgets.remove(&widget);
                let mut effects = self.stop(|job| job.widget == widget);
                effects.push(Effect::Close(widget));
                effects
            }
        }
    }

    /// Handles a report of the worker.
    pub fn handle_report(&mut self, report: Report) -> Vec<Effect> {
        if report.id == self.load_id {
            return match report.update {
                Update::Bot(info) => {
                    let bot = introduce(info);
                    self.bot = Some(bot.clone());
                    self.report_to_all(bot)
                }
                Update::Progress { phase, loaded_bytes, total_bytes } => {
                    let loading =
                        WidgetReport::Loading { phase: phase_name(phase), loaded_bytes, total_bytes };
                    self.state = State::Loading(loading.clone());
                    self.report_to_all(loading)
                }
                Update::TriesGpu(tries) => {
                    self.backend.tries_gpu(tries);
                    Vec::new()
                }
                Update::Ready(ready) => {
                    self.backend.ready(&ready);
                    let (backend, threads, not_kept) = (ready.backend, ready.threads, ready.not_kept);
                    let ready = WidgetReport::Ready { backend, threads, not_kept };
                    self.state = State::Ready(ready.clone());
                    let mut effects = self.report_to_all(ready);
                    effects.extend(self.next());
                    // Those that asked before there was an engine do not know whose turn it is.
                    let rest = self.waiting.iter();
                    effects.extend(
                        rest.map(|job| Effect::Report(job.widget, WidgetReport::Waiting { id: job.id })),
                    );
                    effects
                }
                Update::Failed(failure) => self.fail(failure),
                _ => Vec::new(),
            };
        }
        let Some((_, job)) = self.running.as_mut().filter(|(id, _)| *id == report.id) else {
            return Vec::new();
        };
        let (widget, id) = (job.widget, job.id);
        let told = |report| Effect::Report(widget, report);
        match report.update {
            Update::Drafts { events, drawn } => {
                for (draft, token) in drawn {
                    if let Some(so_far) = job.so_far.get_mut(draft) {
                        so_far.tokens.push(token);
                    }
                }
                for event in &events {
                    if let Event::Done { draft, .. } = event
                        && let Some(so_far) = job.so_far.get_mut(*draft)
                    {
                        so_far.ended = true;
                    }
                }
                events.into_iter().map(|event| told(draft(id, event))).collect()
            }
            Update::Done(stats) => {
                let seed = job.request.seed.to_string();
                let done = told(WidgetReport::Done { id, seed, tokens_per_s: stats.tokens_per_s });
                self.running = None;
                std::iter::once(done).chain(self.next()).collect()
            }
            Update::Failed(failure) if failure.kind == FailureKind::Request => {
                let failed =
                    WidgetReport::Failed { id: Some(id), message: failure.message, retryable: false };
                self.running = None;
                std::iter::once(told(failed)).chain(self.next()).collect()
            }
            Update::Failed(failure) => self.fail(failure),
            _ => Vec::new(),
        }
    }

    /// Handles the loss of the worker.
    pub fn crash(&mut self, loss: &WorkerLoss) -> Vec<Effect> {
        self.fail(loss.failure(&Words::english()))
    }

    fn start(&mut self) -> Vec<Effect> {
        let phase = phase_name(Phase::Description);
        let loading = WidgetReport::Loading { phase, loaded_bytes: 0, total_bytes: None };
        self.state = State::Loading(loading.clone());
        self.backend.begin_load();
        let mut effects = self.report_to_all(loading);
        effects.push(Effect::StartWorker);
        let action = Action::Load(LoadRequest { backend: self.backend.choice(), ..self.load.clone() });
        self.load_id = self.next_id;
        effects.push(self.command(action));
        effects
    }

    /// Gives the engine the job that has waited longest.
    fn next(&mut self) -> Vec<Effect> {
        if self.running.is_some() {
            return Vec::new();
        }
        let Some(job) = self.waiting.pop_front() else { return Vec::new() };
        let writing = Effect::Report(job.widget, WidgetReport::Writing { id: job.id });
        let action = Action::Generate { request: job.request.clone(), so_far: job.so_far.clone() };
        self.running = Some((self.next_id, job));
        vec![writing, self.command(action)]
    }

    /// Stops the running job and drops the waiting ones, where `is_meant`.
    fn stop(&mut self, is_meant: impl Fn(&Job) -> bool) -> Vec<Effect> {
        let mut effects = Vec::new();
        let (gone, rest) = std::mem::take(&mut self.waiting).into_iter().partition(|job| is_meant(job));
        self.waiting = rest;
        for Job { widget, id, request, .. } in gone {
            let done = WidgetReport::Done { id, seed: request.seed.to_string(), tokens_per_s: 0.0 };
            effects.push(Effect::Report(widget, done));
        }
        if let Some((generation, _)) = self.running.as_ref().filter(|(_, job)| is_meant(job)) {
            let action = Action::Stop { generation: *generation, draft: None };
            effects.push(self.command(action));
        }
        effects
    }

    /// Handles an engine's failure; if it ran on the GPU, the CPU continues.
    fn fail(&mut self, failure: Failure) -> Vec<Effect> {
        if self.backend.take_over(failure.kind) {
            if let Some((_, job)) = self.running.take() {
                self.waiting.push_front(job);
            }
            return self.start();
        }
        let failed =
            WidgetReport::Failed { id: None, message: failure.message, retryable: failure.retryable };
        self.state = State::Failed(failed.clone());
        self.running = None;
        self.waiting.clear();
        self.report_to_all(failed)
    }

    fn report_to_all(&self, report: WidgetReport) -> Vec<Effect> {
        self.widgets.iter().map(|widget| Effect::Report(*widget, report.clone())).collect()
    }

    fn command(&mut self, action: Action) -> Effect {
        let id = self.next_id;
        self.next_id += 1;
        Effect::Send(Command { id, action })
    }
}

fn introduce(info: BotInfo) -> WidgetReport {
    let language = starts::language(&info).map(str::to_owned);
    WidgetReport::Bot { name: info.name, handles: info.handles, language, notice: info.notice }
}

fn draft(id: u32, event: Event) -> WidgetReport {
    match event {
        Event::Text { draft, text } => WidgetReport::Draft { id, index: draft, text, done: false },
        Event::Done { draft, text, .. } => WidgetReport::Draft { id, index: draft, text, done: true },
    }
}

fn phase_name(phase: Phase) -> &'static str {
    match phase {
        Phase::Engine => "engine",
        Phase::Description => "description",
        Phase::Waiting => "waiting",
        Phase::Download => "download",
        Phase::Cache => "cache",
        Phase::Check => "check",
        Phase::Measure => "measure",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::web::protocol::{BackendChoice, Ready, Stats};

    fn engine() -> SharedEngine {
        let model = "https://example.org/bot/".into();
        SharedEngine::new(LoadRequest { model, ..LoadRequest::default() })
    }

    fn generate(id: u32) -> WidgetCommand {
        WidgetCommand::Generate { id, prompt: "My dream is".into(), drafts: 2, seed: Some("7".into()) }
    }

    fn ready() -> Update {
        Update::Ready(Ready {
            backend: "simd".into(),
            because: None,
            build: "plain-single".into(),
            threads: 1,
            positions: 256,
            weights_sha256: None,
            weights_bytes: 0,
            load_ms: 1.0,
            wasm_bytes: 1,
            memory_bytes: 1,
            not_kept: None,
        })
    }

    fn done() -> Update {
        Update::Done(Stats {
            prompt_tokens: 3,
            new_tokens: 9,
            first_token_ms: 1.0,
            total_ms: 2.0,
            prefill_tokens_per_s: 1.0,
            tokens_per_s: 90.0,
            memory_bytes: 1,
        })
    }

    /// The commands among the effects.
    fn commands(effects: &[Effect]) -> Vec<Command> {
        let command = |effect: &Effect| match effect {
            Effect::Send(command) => Some(command.clone()),
            _ => None,
        };
        effects.iter().filter_map(command).collect()
    }

    fn told(effects: &[Effect], widget: WidgetId) -> Vec<WidgetReport> {
        let report = |effect: &Effect| match effect {
            Effect::Report(to, report) if *to == widget => Some(report.clone()),
            _ => None,
        };
        effects.iter().filter_map(report).collect()
    }

    #[test]
    fn nothing_starts_before_a_widget_wants_it_and_then_once() {
        let mut engine = engine();
        assert_eq!(engine.connect(1), []);
        assert_eq!(engine.connect(2), []);
        let effects = engine.handle_command(1, WidgetCommand::Load, 0);
        assert!(effects.contains(&Effect::StartWorker));
        assert_eq!(told(&effects, 2).len(), 1, "every widget sees the load");
        assert_eq!(engine.handle_command(2, WidgetCommand::Load, 0), []);
        assert_eq!(engine.handle_command(2, generate(1), 0), [], "the request waits for the engine");
    }

    #[test]
    fn two_widgets_take_turns_and_hear_only_their_own_drafts() {
        let mut engine = engine();
        engine.connect(1);
        engine.connect(2);
        let load = commands(&engine.handle_command(1, generate(1), 0))[0].id;
        engine.handle_command(2, generate(1), 0);
        let effects = engine.handle_report(Report { id: load, update: ready() });
        assert!(matches!(
            told(&effects, 1)[..],
            [WidgetReport::Ready { .. }, WidgetReport::Writing { id: 1 }]
        ));
        assert!(matches!(
            told(&effects, 2)[..],
            [WidgetReport::Ready { .. }, WidgetReport::Waiting { id: 1 }]
        ));
        let first = commands(&effects);
        assert_eq!(first.len(), 1);
        let events = vec![Event::Text { draft: 0, text: "a".into() }];
        let text = Update::Drafts { events, drawn: vec![(0, 40)] };
        let effects = engine.handle_report(Report { id: first[0].id, update: text });
        assert_eq!((told(&effects, 1).len(), told(&effects, 2).len()), (1, 0));
        let effects = engine.handle_report(Report { id: first[0].id, update: done() });
        assert!(matches!(told(&effects, 1)[..], [WidgetReport::Done { id: 1, .. }]));
        assert!(matches!(told(&effects, 2)[..], [WidgetReport::Writing { id: 1 }]));
        assert!(
            matches!(&commands(&effects)[0].action, Action::Generate { request, .. } if request.seed == 7 && request.drafts == 2)
        );
    }

    #[test]
    fn a_widget_that_leaves_cancels_its_requests() {
        let mut engine = engine();
        engine.connect(1);
        engine.connect(2);
        let load = commands(&engine.handle_command(1, generate(1), 0))[0].id;
        engine.handle_command(2, generate(5), 0);
        let running = commands(&engine.handle_report(Report { id: load, update: ready() }))[0].id;
        let effects = engine.handle_command(1, WidgetCommand::Leave, 0);
        assert_eq!(effects.last(), Some(&Effect::Close(1)));
        assert!(
            matches!(commands(&effects)[0].action, Action::Stop { generation, .. } if generation == running)
        );
        let effects = engine.handle_command(2, WidgetCommand::Stop { id: 5 }, 0);
        assert!(
            matches!(told(&effects, 2)[..], [WidgetReport::Done { id: 5, .. }]),
            "one that waits is just forgotten"
        );
        assert_eq!(commands(&engine.handle_report(Report { id: running, update: done() })), []);
    }

    #[test]
    fn a_failure_is_told_to_all_and_retry_starts_anew() {
        let mut engine = engine();
        engine.connect(1);
        engine.handle_command(1, generate(1), 0);
        let effects = engine.crash(&WorkerLoss::Died(None));
        assert!(matches!(told(&effects, 1)[..], [WidgetReport::Failed { id: None, retryable: true, .. }]));
        assert!(
            matches!(engine.connect(2)[..], [Effect::Report(2, WidgetReport::Failed { .. })]),
            "also to who comes later"
        );
        assert!(engine.handle_command(2, WidgetCommand::Retry, 0).contains(&Effect::StartWorker));
        let effects = engine.crash(&WorkerLoss::Unfetched(Some("Failed to fetch".into())));
        let told = told(&effects, 2);
        assert!(
            matches!(&told[..], [WidgetReport::Failed { message, retryable: true, .. }] if message.contains("engine could not be downloaded"))
        );
    }

    #[test]
    fn a_worker_that_dies_at_the_gpu_spares_the_processor_once() {
        let mut engine = engine();
        engine.connect(1);
        let load = commands(&engine.handle_command(1, generate(1), 0))[0].id;
        engine.handle_report(Report { id: load, update: Update::TriesGpu(true) });
        let again = commands(&engine.crash(&WorkerLoss::Died(None))).remove(0);
        assert!(matches!(&again.action, Action::Load(load) if load.backend == BackendChoice::Simd));
        assert_eq!(
            commands(&engine.handle_report(Report { id: again.id, update: ready() })).len(),
            1,
            "the request is kept"
        );
        let effects = engine.crash(&WorkerLoss::Died(None));
        assert!(matches!(told(&effects, 1)[..], [WidgetReport::Failed { id: None, .. }]));
    }

    #[test]
    fn what_is_no_seed_is_said_and_drafts_are_bounded() {
        let mut engine = engine();
        engine.connect(1);
        let ask = |drafts, seed: &str| WidgetCommand::Generate {
            id: 1,
            prompt: String::new(),
            drafts,
            seed: Some(seed.into()),
        };
        let effects = engine.handle_command(1, ask(5, "many"), 0);
        assert!(
            matches!(&told(&effects, 1)[..], [WidgetReport::Failed { message, .. }] if message.contains("many"))
        );
        let load = commands(&engine.handle_command(1, ask(1_000_000, " "), 11))[0].id;
        let action = commands(&engine.handle_report(Report { id: load, update: ready() })).remove(0).action;
        assert!(
            matches!(action, Action::Generate { request, .. } if request.drafts == MAX_DRAFTS && request.seed == 11)
        );
    }

    #[test]
    fn commands_are_read_as_the_element_writes_them() {
        let command: WidgetCommand =
            serde_json::from_str(r#"{"ask":"generate","id":3,"prompt":"x","drafts":5,"seed":null}"#).unwrap();
        assert_eq!(command, WidgetCommand::Generate { id: 3, prompt: "x".into(), drafts: 5, seed: None });
        assert_eq!(
            serde_json::from_str::<WidgetCommand>(r#"{"ask":"leave"}"#).unwrap(),
            WidgetCommand::Leave
        );
    }
}
