//! Engines that are lost or exchanged while drafts are under way.

use super::{
    super::{draft::Draft, worker_loss::WorkerLoss},
    *,
};

#[test]
fn a_crash_while_writing_is_said_and_the_same_drafts_come_again() {
    let mut visit = Visit::begin();
    visit.ready().generate();
    visit.page.crash(WorkerLoss::Died(Some("Gone.".into())));
    let lost = WorkerLoss::Died(Some("Gone.".into()));
    assert_eq!(visit.page.alert(), Some((Alert::Lost(lost), true)));
    visit.effects = visit.page.retry();
    visit.ready();
    assert_eq!(visit.request().seed, 7);
}

#[test]
fn a_lost_gpu_costs_a_line_and_no_text() {
    let gpu = || Failure { kind: FailureKind::Gpu, message: "The GPU was lost.".into(), retryable: true };
    let crash = |visit: &mut Visit| visit.effects = visit.page.crash(WorkerLoss::Died(Some("Gone.".into())));
    let lost = |visit: &mut Visit| {
        let id = visit.last_id();
        visit.effects = visit.page.hear(Report { id, update: Update::Failed(gpu()) });
    };
    for lose in [&crash as &dyn Fn(&mut Visit), &lost] {
        let mut visit = Visit::begin();
        let id = visit.last_id();
        let because = Because::GpuQuicker { gpu_ms: 1.0, simd_ms: 2.0 };
        let on_gpu = Ready { backend: "webgpu".into(), because: Some(because.clone()), ..ready() };
        visit.hear(id, Update::Ready(on_gpu));
        assert!(
            matches!(visit.page.status(), Status::Engine { because: Some(Why::Chosen(why)), .. } if why == because)
        );
        visit.generate();
        let id = visit.last_id();
        let text = "My dream is to".to_owned();
        let events = vec![Event::Text { draft: 1, text: text.clone() }, done(2, "My dream is over.")];
        visit.hear(id, Update::Drafts { events, drawn: (0..DRAFTS).map(|d| (d, 40 + d as u32)).collect() });
        lose(&mut visit);
        assert_eq!(visit.page.alert(), None);
        assert!(matches!(visit.page.status(), Status::Loading { gpu_lost: true, .. }));
        assert_eq!(visit.page.drafts[1].text, text);
        let [
            Effect::StartWorker(_),
            Effect::Send(Command { action: Action::Load(LoadRequest { backend, .. }), .. }),
        ] = &visit.effects[..]
        else {
            panic!("{:?}", visit.effects)
        };
        assert_eq!(*backend, BackendChoice::Simd);
        visit.ready();
        let last = visit.effects.last().unwrap();
        let Effect::Send(Command { action: Action::Generate { request, so_far }, .. }) = last else {
            panic!("{last:?}")
        };
        assert_eq!(request.seed, 7);
        let expected: Vec<_> =
            (0..DRAFTS).map(|d| SoFar { tokens: vec![40 + d as u32], ended: d == 2 }).collect();
        assert_eq!(so_far, &expected);
        assert!(
            matches!(visit.page.status(), Status::Engine { because: Some(Why::GpuLost), backend, .. } if backend == "simd")
        );
    }
}

#[test]
fn a_worker_that_dies_at_the_gpu_spares_the_processor_once() {
    let load_of = |effects: &[Effect]| match effects {
        [Effect::StartWorker(_), Effect::Send(Command { action: Action::Load(load), .. })] => load.backend,
        other => panic!("{other:?}"),
    };
    let mut visit = Visit::begin();
    let id = visit.last_id();
    visit.generate().hear(id, Update::TriesGpu(true));
    visit.effects = visit.page.crash(WorkerLoss::Died(Some("Trapped.".into())));
    assert_eq!((load_of(&visit.effects), visit.page.alert()), (BackendChoice::Simd, None));
    assert!(matches!(visit.page.status(), Status::Loading { gpu_lost: true, waits: true, .. }));
    visit.effects = visit.page.crash(WorkerLoss::Died(Some("Trapped.".into())));
    assert!(visit.effects.is_empty() && visit.page.alert().is_some(), "once");

    // After the GPU was given up, a crash has another cause.
    let mut visit = Visit::begin();
    let id = visit.last_id();
    visit.hear(id, Update::TriesGpu(true)).hear(id, Update::TriesGpu(false));
    visit.effects = visit.page.crash(WorkerLoss::Died(Some("Trapped.".into())));
    assert!(visit.effects.is_empty() && visit.page.alert().is_some());
    visit.effects = visit.page.retry();
    assert_eq!(load_of(&visit.effects), BackendChoice::Auto);
}

#[test]
fn another_engine_goes_on_with_the_drafts() {
    let mut visit = Visit::begin();
    visit.ready().generate();
    visit.effects = visit.page.choose_backend(BackendChoice::WebGpu);
    assert!(matches!(visit.effects[0], Effect::StartWorker(_)));
    assert!(visit.page.busy());
    visit.ready();
    assert_eq!(visit.request().seed, 7);
    assert!(visit.page.choose_backend(BackendChoice::WebGpu).is_empty());
}

#[test]
fn a_promised_draft_is_the_processors() {
    let shared = Shared { draft: 2, ..Shared::default() };
    let requested = |backend| {
        let query = Query { seed: Some(7), shared: Some(shared.clone()), backend, ..Query::default() };
        Visit::with(&query).page.backend()
    };
    assert_eq!(requested(BackendChoice::Auto), BackendChoice::Simd);
    assert_eq!(requested(BackendChoice::WebGpu), BackendChoice::WebGpu);
}

#[test]
fn what_a_gpu_had_a_part_in_is_marked() {
    let mut visit = Visit::begin();
    let id = visit.last_id();
    visit.hear(id, Update::Ready(Ready { backend: "webgpu".into(), ..ready() }));
    visit.generate().finish(|card| format!("My dream is number {card}."));
    assert!(visit.page.drafts.iter().all(|draft| draft.on_gpu));
    assert!(visit.page.link(1).is_some_and(|link| link.contains("-webgpu&")));
    visit.effects = visit.page.choose_backend(BackendChoice::Simd);
    visit.written();
    assert!(visit.page.drafts.iter().all(|draft| !draft.on_gpu));
}

/// Five drafts: three finished, one begun, one without a token.
fn under_way() -> Visit {
    let mut visit = Visit::begin();
    visit.written().generate();
    let id = visit.last_id();
    let mut events: Vec<_> =
        (0..3).map(|draft| done(draft, &format!("My dream is whole, {draft}."))).collect();
    events.push(Event::Text { draft: 3, text: "My dream is half".into() });
    visit.hear(id, Update::Drafts { events, drawn: (0..4).map(|draft| (draft, 40)).collect() });
    visit.effects.clear();
    visit
}

const STOPPED: [&str; DRAFTS] = [
    "My dream is whole, 0.",
    "My dream is whole, 1.",
    "My dream is whole, 2.",
    "My dream is half",
    "My dream is number 4.",
];

#[test]
fn stop_without_an_engine_takes_no_text_away() {
    let crash = |visit: &mut Visit| visit.page.crash(WorkerLoss::Died(Some("Gone.".into())));
    let change = |visit: &mut Visit| visit.page.choose_backend(BackendChoice::Scalar);
    for lose in [&crash as &dyn Fn(&mut Visit) -> Vec<Effect>, &change] {
        let mut visit = under_way();
        lose(&mut visit);
        visit.effects = visit.page.stop(None);
        assert_eq!(visit.texts(), STOPPED);
        assert!(!visit.page.busy() && visit.page.drafts.iter().all(Draft::is_finished));
        assert_eq!(visit.page.drafts[3].end, Some(EndReason::Stopped));
        assert_eq!(visit.page.link(3), None, "nothing writes a stopped draft again");
        assert!(
            matches!(&visit.effects[..], [Effect::Keep(StorageKey::History, json)] if json.contains("half"))
        );
        assert_eq!(visit.page.spoken.last(), Some(&(3, "My dream is half".into())));
    }
}

#[test]
fn one_draft_can_be_ended_without_an_engine_and_the_others_go_on() {
    let mut visit = under_way();
    visit.page.choose_backend(BackendChoice::Scalar);
    visit.page.stop(Some(0));
    visit.page.stop(Some(3));
    assert_eq!((visit.texts()[0], visit.texts()[3]), (STOPPED[0], STOPPED[3]));
    assert!(visit.page.busy(), "one is still waited for");
    let mut next = under_way();
    let effects = next.page.choose_backend(BackendChoice::Scalar);
    next.effects.extend(effects);
    next.page.stop(Some(3));
    next.ready();
    assert_eq!((next.request().drafts, next.request().streams), (4, vec![0, 1, 2, 4]));
    // With the last one ended there is nothing to wait for.
    visit.page.stop(Some(4));
    assert_eq!((visit.page.busy(), visit.texts()), (false, STOPPED.to_vec()));
}

#[test]
fn a_refusal_by_the_next_engine_takes_no_text_away() {
    let mut visit = under_way();
    visit.effects = visit.page.choose_backend(BackendChoice::Scalar);
    visit.ready();
    let id = visit.last_id();
    let failure = Failure { kind: FailureKind::Request, message: "No memory.".into(), retryable: false };
    visit.hear(id, Update::Failed(failure));
    assert_eq!((visit.page.busy(), visit.texts()), (false, STOPPED.to_vec()));
}

#[test]
fn an_engine_that_did_not_come_is_no_fault_of_the_gpu() {
    let mut visit = Visit::with(&Query { backend: BackendChoice::WebGpu, ..Query::default() });
    let unfetched = WorkerLoss::Unfetched(Some("Failed to fetch".into()));
    assert!(visit.page.crash(unfetched.clone()).is_empty());
    assert_eq!(visit.page.alert(), Some((Alert::Lost(unfetched), true)));
    assert!(matches!(visit.page.retry()[0], Effect::StartWorker(_)));
    assert_eq!(visit.page.backend(), BackendChoice::WebGpu);
}
