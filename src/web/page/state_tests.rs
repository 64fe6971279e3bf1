//! The page's state, tested without a browser.

mod engines;
mod kept;

use std::collections::BTreeMap;

use super::{
    bots::{Bots, Place},
    history::History,
    link::{Shared, Verdict},
    query::Query,
    settings::{Preset, Setting},
    state::{Alert, DRAFTS, Doing, Effect, Engine, Page, Problem, Run, Status, StorageKey, Why},
};
use crate::web::protocol::{
    Action, BackendChoice, Because, Command, EndReason, Event, Failure, FailureKind, Id, LoadRequest, Phase,
    Precision, Ready, Report, Request, SoFar, Stats, Update,
};

/// A page and the effects it has not yet handed out.
struct Visit {
    page: Page,
    effects: Vec<Effect>,
}

impl Visit {
    fn begin() -> Self {
        Self::with(&Query::default())
    }

    fn with(query: &Query) -> Self {
        let model = "https://example.org/bot/".to_owned();
        let (page, effects) = Page::open(query, model, History::default(), Bots::default());
        Self { page, effects }
    }

    /// Writes all five drafts.
    fn written(&mut self) -> &mut Self {
        self.ready().generate();
        self.finish(|card| format!("My dream is number {card}."))
    }

    /// Ends the generation under way with these texts, by draft.
    fn finish(&mut self, text: impl Fn(usize) -> String) -> &mut Self {
        let id = self.last_id();
        let drafts = self.request().drafts;
        self.hear(id, events((0..drafts).map(|draft| done(draft, &text(draft))).collect()));
        self.hear(id, Update::Done(stats()))
    }

    /// The newest request sent.
    fn request(&self) -> Request {
        let mut requests = self.effects.iter().filter_map(|effect| match effect {
            Effect::Send(Command { action: Action::Generate { request, .. }, .. }) => Some(request.clone()),
            _ => None,
        });
        requests.next_back().unwrap()
    }

    fn texts(&self) -> Vec<&str> {
        self.page.drafts.iter().map(|draft| draft.text.as_str()).collect()
    }

    /// The id of the newest command sent.
    fn last_id(&self) -> Id {
        let mut ids = self.effects.iter().filter_map(|effect| match effect {
            Effect::Send(command) => Some(command.id),
            Effect::StartWorker(_) | Effect::Keep(..) | Effect::Revoke(_) => None,
        });
        ids.next_back().unwrap()
    }

    fn generate(&mut self) -> &mut Self {
        self.effects.extend(self.page.generate(7));
        self
    }

    fn hear(&mut self, id: Id, update: Update) -> &mut Self {
        self.effects.extend(self.page.hear(Report { id, update }));
        self
    }

    fn ready(&mut self) -> &mut Self {
        let id = self.last_id();
        self.hear(id, Update::Ready(ready()))
    }
}

fn ready() -> Ready {
    Ready {
        backend: "simd".into(),
        because: None,
        build: "relaxed-shared".into(),
        threads: 1,
        positions: 256,
        weights_sha256: Some("ab".repeat(32)),
        weights_bytes: 5_000_000,
        load_ms: 9.0,
        wasm_bytes: 1,
        memory_bytes: 1,
        not_kept: None,
    }
}

fn stats() -> Stats {
    Stats {
        prompt_tokens: 4,
        new_tokens: 100,
        first_token_ms: 10.0,
        total_ms: 500.0,
        prefill_tokens_per_s: 400.0,
        tokens_per_s: 212.4,
        memory_bytes: 1,
    }
}

fn events(events: Vec<Event>) -> Update {
    Update::Drafts { events, drawn: Vec::new() }
}

fn done(draft: usize, text: &str) -> Event {
    Event::Done { draft, text: text.into(), reason: EndReason::EndOfText, tokens: 3, digest: "00ff".into() }
}

#[test]
fn opening_starts_a_worker_and_loads() {
    let visit = Visit::begin();
    assert!(matches!(&visit.effects[0], Effect::StartWorker(place) if place.model.ends_with("/bot/")));
    assert!(matches!(&visit.effects[1], Effect::Send(Command { action: Action::Load(_), .. })));
    assert_eq!(visit.page.start, "My dream is");
}

#[test]
fn generate_before_ready_waits_and_then_starts_once() {
    let mut visit = Visit::begin();
    let load = visit.last_id();
    visit.generate().generate();
    assert!(visit.page.busy());
    assert_eq!(visit.effects.len(), 2, "nothing is sent yet");
    visit.hear(load, Update::Ready(ready()));
    assert!(matches!(&visit.effects[2], Effect::Keep(StorageKey::Bots, json) if json.contains("5000000")));
    assert_eq!(visit.request().drafts, DRAFTS);
    assert_eq!(visit.effects.len(), 4);
}

#[test]
fn drafts_stream_and_the_speed_is_said_at_the_end() {
    let mut visit = Visit::begin();
    visit.ready().generate();
    let id = visit.last_id();
    assert_eq!(visit.page.drafts[4].text, "My dream is", "the start is shown at once");
    let before = visit.page.status();
    visit.hear(id, events(vec![Event::Text { draft: 1, text: "My dream is to".into() }]));
    assert_eq!(visit.page.drafts[1].text, "My dream is to");
    assert_eq!(visit.page.status(), before, "the status does not change with a token");
    visit.hear(id, events((0..DRAFTS).map(|d| done(d, "My dream is to sleep.")).collect()));
    assert!(visit.page.busy());
    visit.hear(id, Update::Done(stats()));
    assert!(!visit.page.busy());
    let wrote = Doing::Wrote { tokens_per_s: 212.4 };
    assert_eq!(
        visit.page.status(),
        Status::Engine { backend: "simd".into(), threads: 1, doing: wrote, because: None, not_kept: None }
    );
    let spoken: Vec<_> = visit.page.spoken.iter().map(|(card, _)| *card).collect();
    assert_eq!(spoken, [0, 1, 2, 3, 4], "whole drafts are spoken");
}

#[test]
fn one_draft_can_be_ended_alone() {
    let mut visit = Visit::begin();
    visit.ready().generate();
    let id = visit.last_id();
    visit.effects = visit.page.stop(Some(2));
    assert!(matches!(
        &visit.effects[..],
        [Effect::Send(Command { action: Action::Stop { generation, draft: Some(2) }, .. })] if *generation == id
    ));
    assert!(visit.page.busy());
}

#[test]
fn stop_while_waiting_cancels_the_request() {
    let mut visit = Visit::begin();
    visit.generate();
    assert!(visit.page.stop(None).is_empty());
    assert_eq!(visit.page.run, Run::Idle);
    assert!(visit.page.drafts.iter().all(|d| d.text.is_empty()));
}

#[test]
fn a_failed_load_keeps_what_was_typed_and_asked_and_retry_resumes() {
    let mut visit = Visit::begin();
    let first_load = visit.last_id();
    visit.page.type_start("I never");
    visit.generate();
    let failure = Failure { kind: FailureKind::Network, message: "No.".into(), retryable: true };
    visit.hear(first_load, Update::Failed(failure));
    assert!(matches!(visit.page.alert(), Some((Alert::Engine(f), true)) if f.message == "No."));
    visit.effects = visit.page.retry();
    assert!(matches!(&visit.effects[0], Effect::StartWorker(place) if place.model.ends_with("/bot/")));
    assert_eq!(visit.page.alert(), None);
    visit.hear(first_load, Update::Ready(ready()));
    assert!(
        matches!(visit.page.engine, Engine::Loading { .. }),
        "the old worker's report is not the new one's"
    );
    visit.ready();
    assert_eq!(visit.request().prompt, "I never");
}

#[test]
fn a_refused_request_is_a_sentence_and_the_engine_stays() {
    let mut visit = Visit::begin();
    visit.ready().generate();
    let id = visit.last_id();
    let failure = Failure { kind: FailureKind::Request, message: "Too long.".into(), retryable: false };
    visit.hear(id, Update::Failed(failure));
    assert_eq!(visit.page.alert(), Some((Alert::Problem(Problem::Refused("Too long.".into())), false)));
    assert!(!visit.page.busy());
    visit.generate();
    assert_eq!(visit.page.alert(), None);
}

#[test]
fn the_status_of_a_long_download_changes_at_quarters_only() {
    let mut visit = Visit::begin();
    let load = visit.last_id();
    let mut said = Vec::new();
    for loaded_bytes in (0..=100_000_000).step_by(1_000_000) {
        let total_bytes = Some(100_000_000);
        visit.hear(load, Update::Progress { phase: Phase::Download, loaded_bytes, total_bytes });
        said.push(visit.page.status());
    }
    said.dedup();
    assert_eq!(said.len(), 4, "{said:?}");
    let total_bytes = Some(100_000_000);
    let half = Status::Loading {
        phase: Phase::Download,
        total_bytes,
        percent: Some(50),
        waits: false,
        gpu_lost: false,
    };
    assert_eq!(said[2], half);
}

#[test]
fn a_pinned_draft_stays_and_the_others_keep_their_streams() {
    let mut visit = Visit::begin();
    visit.written();
    visit.page.pin(1);
    visit.page.pin(3);
    visit.generate();
    assert_eq!((visit.request().drafts, visit.request().streams), (3, vec![0, 2, 4]));
    visit.finish(|draft| format!("new {draft}"));
    let expected = ["new 0", "My dream is number 1.", "new 1", "My dream is number 3.", "new 2"];
    assert_eq!(visit.texts(), expected);
    for card in [0, 2, 4] {
        visit.page.pin(card);
    }
    assert!(visit.page.generate(1).is_empty());
    assert_eq!(visit.page.alert().unwrap().0, Alert::Problem(Problem::AllPinned));
    visit.page.pin(0);
    assert_eq!(visit.page.alert(), None, "there is room");
    visit.generate();
    assert_eq!((visit.request().streams, visit.page.alert()), (vec![0], None));
}

#[test]
fn one_draft_is_written_again_from_its_own_start() {
    let mut visit = Visit::begin();
    visit.written();
    visit.page.type_start("typed since");
    visit.page.settings.set(Setting::Seed, "7");
    let effects = visit.page.regenerate(2, 99);
    visit.effects.extend(effects);
    let request = visit.request();
    assert_eq!((request.prompt.as_str(), request.seed, request.streams), ("My dream is", 99, vec![2]));
    visit.finish(|_| "My dream is another.".into());
    assert_eq!(visit.texts()[2], "My dream is another.");
    assert_eq!(visit.texts()[1], "My dream is number 1.");
}

#[test]
fn the_bot_goes_on_with_a_draft() {
    let mut visit = Visit::begin();
    visit.written();
    let effects = visit.page.continue_draft(4, 5);
    visit.effects.extend(effects);
    let request = visit.request();
    assert_eq!((request.prompt.as_str(), request.max_tokens), ("My dream is number 4.", Some(256)));
    assert!(request.min_new_tokens > 0, "the end it had drawn is not drawn at once");
    visit.finish(|_| "My dream is number 4. And so on.".into());
    assert_eq!(visit.page.drafts[4].parts(), ("My dream is number 4.", " And so on."));
}

#[test]
fn a_refused_request_leaves_the_drafts_that_were_there() {
    let mut visit = Visit::begin();
    visit.written();
    let before = visit.page.drafts.clone();
    visit.generate();
    let id = visit.last_id();
    let failure = Failure { kind: FailureKind::Request, message: "Too long.".into(), retryable: false };
    visit.hear(id, Update::Failed(failure));
    assert_eq!(visit.page.drafts, before);
}

#[test]
fn finished_drafts_are_remembered_with_a_link_that_writes_them_again() {
    let mut visit = Visit::begin();
    visit.written();
    let entries = visit.page.history.entries();
    assert_eq!((entries.len(), entries[0].text.as_str()), (5, "My dream is number 4."));
    let link = visit.page.link(4).unwrap();
    assert_eq!(entries[0].link, link);
    assert_eq!(entries[0].model, "https://example.org/bot/", "for other pages of the site");
    for part in
        ["prompt=My%20dream%20is", "seed=7", "draft=5", "bot=abababababababab", "digest=00ff", "backend=simd"]
    {
        assert!(link.contains(part), "{part} in {link}");
    }
    assert!(!link.contains("model="), "the page's own bot needs no address");
    assert!(
        matches!(&visit.effects.last(), Some(Effect::Keep(StorageKey::History, json)) if json.contains("number 4"))
    );
    visit.effects = visit.page.clear_history();
    assert_eq!(visit.effects, [Effect::Keep(StorageKey::History, "[]".into())]);
}

#[test]
fn a_link_writes_its_draft_at_once_and_says_whether_it_is_the_same() {
    let shared = |digest: &str| Shared { draft: 2, digest: Some(digest.into()), ..Shared::default() };
    for (digest, expected) in [("00ff", Verdict::Same), ("00aa", Verdict::OtherDraft)] {
        let query = Query { seed: Some(3), shared: Some(shared(digest)), ..Query::default() };
        let mut visit = Visit::with(&query);
        assert!(visit.page.busy(), "nobody has to press a button");
        visit.ready().finish(|_| "My dream is to sleep.".into());
        assert_eq!(visit.page.verdict, Some((2, expected)));
        visit.generate();
        assert_eq!(visit.page.verdict, None, "the next drafts are nobody's promise");
    }
}

#[test]
fn what_was_refused_is_said_until_it_is_right() {
    let mut visit = Visit::begin();
    visit.ready();
    visit.page.change_settings(|settings| {
        settings.set(Setting::TopP, "7");
        settings.set(Setting::TopK, "many");
    });
    assert_eq!(visit.page.problem, None, "not before it is asked for");
    visit.generate();
    assert!(visit.page.refuses(Setting::TopK));
    visit.page.change_settings(|settings| settings.set(Setting::Seed, "3"));
    assert!(visit.page.refuses(Setting::TopK));
    visit.page.change_settings(|settings| settings.set(Setting::TopK, "5"));
    assert!(visit.page.refuses(Setting::TopP) && !visit.page.refuses(Setting::TopK));
    visit.page.change_settings(|settings| settings.choose(Preset::Calm));
    assert_eq!(visit.page.problem, None);
}

#[test]
fn a_link_with_a_setting_that_is_none_is_said_and_promises_nothing() {
    let shared = Shared { draft: 2, digest: Some("aa".into()), ..Shared::default() };
    let query = Query {
        seed: Some(7),
        shared: Some(shared.clone()),
        settings: vec![(Setting::TopP, "7".into())],
        ..Query::default()
    };
    let mut visit = Visit::with(&query);
    assert!(matches!(&visit.page.problem, Some(Problem::Setting(bad)) if bad.setting == Setting::TopP));
    assert!(visit.page.refuses(Setting::TopP) && !visit.page.refuses(Setting::TopK));
    visit.page.settings.reset();
    visit.written();
    assert_eq!((visit.page.verdict, &visit.page.problem), (None, &None));
    // Nor does a link without a seed.
    let mut visit = Visit::with(&Query { shared: Some(shared), ..Query::default() });
    assert!(!visit.page.busy());
    visit.written();
    assert_eq!(visit.page.verdict, None);
}
