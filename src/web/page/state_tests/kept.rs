//! Bots that are opened one after the other, and what stays on the device.

use super::{super::worker_loss::WorkerLoss, *};

#[test]
fn another_bot_takes_the_place_and_what_is_typed_stays() {
    let mut visit = Visit::begin();
    visit.written();
    visit.page.type_start("typed");
    visit.effects = visit.page.open_bot(Place::url("https://b.example/bot/".into()));
    assert!(
        matches!(&visit.effects[0], Effect::StartWorker(place) if place.model == "https://b.example/bot/")
    );
    assert_eq!((visit.page.start.as_str(), visit.texts()), ("typed", vec![""; 5]));
    visit.written();
    assert!(visit.page.link(0).unwrap().contains("model=https%3A%2F%2Fb.example%2Fbot%2F"));
    let known: Vec<_> = visit.page.bots.known().map(|bot| bot.model.as_str()).collect();
    assert_eq!(known, ["https://b.example/bot/", "https://example.org/bot/"]);
    let bot = visit.page.bots.known().nth(1).unwrap().clone();
    visit.effects = visit.page.forget_bot(&bot);
    assert!(matches!(
        &visit.effects[..],
        [Effect::Keep(StorageKey::Bots, _), Effect::Send(Command { action: Action::Forget { .. }, .. })]
    ));
}

#[test]
fn the_visitors_own_files_are_neither_remembered_nor_linked() {
    let files = BTreeMap::from([("a.gguf".to_owned(), "blob:x".to_owned())]);
    let mut visit = Visit::begin();
    let place =
        Place { model: "https://local.invalid/a.gguf".into(), files, bytes: Some(3), ..Place::default() };
    visit.effects = visit.page.open_bot(place);
    assert!(
        matches!(&visit.effects[1], Effect::Send(Command { action: Action::Load(load), .. }) if load.files["a.gguf"] == "blob:x")
    );
    visit.written();
    assert_eq!(visit.page.link(0), None);
    assert_eq!(visit.page.bots.known().count(), 0);
    // They are no longer read once another bot is open.
    visit.effects = visit.page.open_bot(Place::url("https://b.example/bot/".into()));
    assert_eq!(visit.effects.last(), Some(&Effect::Revoke(vec!["blob:x".into()])));
    visit.effects = visit.page.open_bot(Place::url("https://c.example/bot/".into()));
    assert!(!visit.effects.iter().any(|effect| matches!(effect, Effect::Revoke(_))));
}

#[test]
fn another_tab_does_not_lose_what_this_one_keeps() {
    let mut visit = Visit::begin();
    visit.written();
    let kept = visit.page.history.to_json();
    let mut other = Visit::begin();
    other.page.keep_in_step(History::parse(&kept), Bots::default());
    other.written();
    assert_eq!(other.page.history.entries().len(), visit.page.history.entries().len());
    other.generate().finish(|card| format!("My dream is another, {card}."));
    assert_eq!(other.page.history.entries().len(), 2 * DRAFTS);
}

#[test]
fn a_bundle_is_opened_with_the_weights_that_it_has() {
    let mut visit = Visit::begin();
    let place = Place { precision: Some(Precision::Q4_0), ..Place::url("https://b.example/bot/".into()) };
    visit.effects = visit.page.open_bot(place.clone());
    assert!(
        matches!(&visit.effects[1], Effect::Send(Command { action: Action::Load(load), .. }) if load.precision == Precision::Q4_0)
    );
    visit.written();
    assert!(visit.page.link(0).unwrap().contains("precision=q4_0"));
    assert_eq!(visit.page.bots.known().next().unwrap().place(), place);
    visit.page.open_bot(Place::url("https://c.example/bot/".into()));
    assert_eq!(visit.page.precision(), Precision::Q8_0, "the next bot's weights are the page's choice again");
}

#[test]
fn weights_of_a_bot_that_falls_out_of_the_list_leave_the_device() {
    let mut visit = Visit::begin();
    let mut bots = 0;
    let forgotten = loop {
        visit.effects = visit.page.open_bot(Place::url(format!("https://b.example/{bots}/")));
        let id = visit.last_id();
        let weights_sha256 = Some(format!("digest {bots}"));
        visit.effects.clear();
        visit.hear(id, Update::Ready(Ready { weights_sha256, ..ready() }));
        bots += 1;
        match &visit.effects[..] {
            [Effect::Keep(StorageKey::Bots, _)] => assert!(bots < 100, "the list has an end"),
            [Effect::Keep(..), Effect::Send(Command { action: Action::Forget { sha256, .. }, .. })] => {
                break sha256.clone();
            }
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(forgotten.as_deref(), Some("digest 0"));
}

/// The digests of weights that a worker is to remove.
fn forgotten<'a>(effects: &'a [Effect]) -> Vec<&'a str> {
    let digest = |effect: &'a Effect| match effect {
        Effect::Send(Command { action: Action::Forget { sha256, .. }, .. }) => sha256.as_deref(),
        _ => None,
    };
    effects.iter().filter_map(digest).collect()
}

#[test]
fn all_weights_of_a_deleted_bot_leave_the_device() {
    let mut visit = Visit::begin();
    visit.ready();
    let place = Place { precision: Some(Precision::Q4_0), ..visit.page.place().clone() };
    visit.effects = visit.page.open_bot(place);
    let id = visit.last_id();
    visit.hear(id, Update::Ready(Ready { weights_sha256: Some("cd".repeat(32)), ..ready() }));
    let bot = visit.page.bots.known().next().unwrap().clone();
    visit.effects = visit.page.forget_bot(&bot);
    assert_eq!(forgotten(&visit.effects), ["cd".repeat(32), "ab".repeat(32)]);
}

#[test]
fn what_is_deleted_without_a_worker_waits_for_one() {
    let mut visit = Visit::begin();
    visit.ready();
    let bot = visit.page.bots.known().next().unwrap().clone();
    visit.effects = visit.page.open_bot(Place::url("https://b.example/bot/".into()));
    let ready = || Update::Ready(Ready { weights_sha256: Some("cd".repeat(32)), ..ready() });
    let id = visit.last_id();
    visit.hear(id, ready());
    visit.page.crash(WorkerLoss::Died(None));
    visit.effects = visit.page.forget_bot(&bot);
    let [Effect::Keep(StorageKey::Bots, kept)] = &visit.effects[..] else { panic!("{:?}", visit.effects) };
    assert_eq!(visit.page.bots.known().count(), 1, "it is gone from the list at once");
    let kept = Bots::parse(kept);
    visit.effects = visit.page.retry();
    let id = visit.last_id();
    visit.hear(id, ready());
    assert_eq!(forgotten(&visit.effects), ["ab".repeat(32)]);
    assert_eq!(visit.page.bots.take_deleted(), [], "once");
    // Also on the next visit, if this one ends before.
    let model = "https://b.example/bot/".to_owned();
    let (page, effects) = Page::open(&Query::default(), model, History::default(), kept);
    let mut next = Visit { page, effects };
    let id = next.last_id();
    next.hear(id, ready());
    assert_eq!(forgotten(&next.effects), ["ab".repeat(32)]);
}

#[test]
fn the_weights_that_were_loaded_are_remembered() {
    let mut visit = Visit::with(&Query { precision: Precision::Q4_0, ..Query::default() });
    visit.ready();
    visit.effects = visit.page.open_bot(Place::url("https://b.example/bot/".into()));
    visit.ready();
    visit.effects = visit.page.open_bot(Place::url("https://c.example/x.gguf".into()));
    visit.ready();
    let precisions: Vec<_> = visit.page.bots.known().map(|bot| bot.precision).collect();
    assert_eq!(precisions, [None, Some(Precision::Q4_0), Some(Precision::Q4_0)]);
}

#[test]
fn a_draft_is_deleted_wherever_it_stands_meanwhile() {
    let mut visit = Visit::begin();
    visit.written();
    let entry = visit.page.history.entries()[1].clone();
    let mut other = Visit::begin();
    other.page.keep_in_step(visit.page.history.clone(), Bots::default());
    other.ready().generate().finish(|card| format!("My dream is another, {card}."));
    visit.page.keep_in_step(other.page.history.clone(), Bots::default());
    visit.page.forget_draft(&entry);
    assert_eq!(visit.page.history.entries().len(), 2 * DRAFTS - 1);
    assert!(visit.page.history.entries().iter().all(|left| left.text != entry.text));
}

#[test]
fn every_report_that_changes_what_is_kept_is_known_beforehand() {
    let mut visit = Visit::begin();
    let load = visit.last_id();
    let half = || events(vec![Event::Text { draft: 0, text: "My dream is half".into() }]);
    let whole = || events(vec![done(0, "My dream is whole.")]);
    visit.generate();
    let mut write = 0;
    for (id, update) in
        [(load, Update::Ready(ready())), (0, half()), (0, whole()), (0, Update::Done(stats()))]
    {
        let report = Report { id: if id == 0 { write } else { id }, update };
        let may = Page::may_keep(&report);
        let effects = visit.page.hear(report);
        assert_eq!(effects.iter().any(|effect| matches!(effect, Effect::Keep(..))), may, "{effects:?}");
        visit.effects.extend(effects);
        write = visit.last_id();
    }
}
