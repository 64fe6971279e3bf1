//! The page's verbs, without a browser.

use super::{
    query::Query,
    state::{DRAFTS, Effect, Engine, Page, Run},
};
use crate::web::protocol::{
    Command, EndReason, Event, Failure, FailureKind, Id, News, Order, Phase, Ready, Report, Stats,
};

/// A page and the effects it has not yet handed out.
struct Visit {
    page: Page,
    effects: Vec<Effect>,
}

impl Visit {
    fn begin() -> Self {
        let (page, effects) = Page::open(&Query::default(), "https://example.org/bot/".into());
        Self { page, effects }
    }

    /// The id of the newest command sent.
    fn last_id(&self) -> Id {
        let ids = self.effects.iter().filter_map(|effect| match effect {
            Effect::Send(command) => Some(command.id),
            Effect::StartWorker => None,
        });
        ids.last().unwrap()
    }

    fn generate(&mut self) -> &mut Self {
        self.effects.extend(self.page.generate(7));
        self
    }

    fn hear(&mut self, id: Id, news: News) -> &mut Self {
        self.effects.extend(self.page.hear(Report { id, news }));
        self
    }

    fn ready(&mut self) -> &mut Self {
        let id = self.last_id();
        self.hear(id, News::Ready(ready()))
    }
}

fn ready() -> Ready {
    Ready {
        backend: "simd".into(),
        build: "relaxed-shared".into(),
        threads: 1,
        positions: 256,
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

fn done(draft: usize, text: &str) -> Event {
    Event::Done { draft, text: text.into(), reason: EndReason::EndOfText, tokens: 3 }
}

#[test]
fn opening_starts_a_worker_and_loads() {
    let visit = Visit::begin();
    assert_eq!(visit.effects[0], Effect::StartWorker);
    assert!(matches!(&visit.effects[1], Effect::Send(Command { order: Order::Load(_), .. })));
    assert_eq!(visit.page.start, "My dream is");
}

#[test]
fn generate_before_ready_waits_and_then_starts_once() {
    let mut visit = Visit::begin();
    let load = visit.last_id();
    visit.generate().generate();
    assert!(visit.page.busy());
    assert_eq!(visit.effects.len(), 2, "nothing is sent yet");
    visit.hear(load, News::Ready(ready()));
    assert!(
        matches!(&visit.effects[2], Effect::Send(Command { order: Order::Generate(r), .. }) if r.drafts == DRAFTS)
    );
    assert_eq!(visit.effects.len(), 3);
}

#[test]
fn drafts_stream_and_the_speed_is_said_at_the_end() {
    let mut visit = Visit::begin();
    visit.ready().generate();
    let id = visit.last_id();
    assert_eq!(visit.page.drafts[4].text, "My dream is", "the start is shown at once");
    let before = visit.page.status();
    visit.hear(id, News::Drafts(vec![Event::Text { draft: 1, text: "My dream is to".into() }]));
    assert_eq!(visit.page.drafts[1].text, "My dream is to");
    assert_eq!(visit.page.status(), before, "the status does not change with a token");
    visit.hear(id, News::Drafts((0..DRAFTS).map(|d| done(d, "My dream is to sleep.")).collect()));
    assert!(visit.page.busy());
    visit.hear(id, News::Done(stats()));
    assert!(!visit.page.busy());
    assert_eq!(visit.page.status(), "SIMD, 1 thread, 212 tokens/s");
}

#[test]
fn one_draft_can_be_ended_alone() {
    let mut visit = Visit::begin();
    visit.ready().generate();
    let id = visit.last_id();
    visit.effects = visit.page.stop(Some(2));
    assert!(matches!(
        &visit.effects[..],
        [Effect::Send(Command { order: Order::Stop { generation, draft: Some(2) }, .. })] if *generation == id
    ));
    assert!(visit.page.busy());
}

#[test]
fn stop_while_waiting_takes_the_wish_back() {
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
    visit.hear(first_load, News::Failed(failure));
    assert_eq!(visit.page.alert(), Some(("No.".into(), true)));
    visit.effects = visit.page.retry();
    assert_eq!(visit.effects[0], Effect::StartWorker);
    assert_eq!(visit.page.alert(), None);
    visit.hear(first_load, News::Ready(ready()));
    assert!(
        matches!(visit.page.engine, Engine::Loading { .. }),
        "the old worker's news is not the new one's"
    );
    visit.ready();
    let last = visit.effects.last().unwrap();
    assert!(matches!(last, Effect::Send(Command { order: Order::Generate(r), .. }) if r.prompt == "I never"));
}

#[test]
fn a_crash_while_writing_is_said_and_the_same_drafts_come_again() {
    let mut visit = Visit::begin();
    visit.ready().generate();
    visit.page.crash("Gone.".into());
    assert_eq!(visit.page.alert(), Some(("Gone.".into(), true)));
    visit.effects = visit.page.retry();
    visit.ready();
    let last = visit.effects.last().unwrap();
    assert!(matches!(last, Effect::Send(Command { order: Order::Generate(r), .. }) if r.seed == 7));
}

#[test]
fn a_refused_request_is_a_sentence_and_the_engine_stays() {
    let mut visit = Visit::begin();
    visit.ready().generate();
    let id = visit.last_id();
    let failure = Failure { kind: FailureKind::Request, message: "Too long.".into(), retryable: false };
    visit.hear(id, News::Failed(failure));
    assert_eq!(visit.page.alert(), Some(("Too long.".into(), false)));
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
        visit.hear(load, News::Progress { phase: Phase::Download, loaded_bytes, total_bytes });
        said.push(visit.page.status());
    }
    said.dedup();
    assert_eq!(said.len(), 4, "{said:?}");
    assert_eq!(said[2], "Downloading the bot, 50% of 100.0 MB");
}
