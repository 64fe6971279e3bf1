//! Drafts on small made-up networks.

use super::*;
use crate::{
    backend::cpu::{Cpu, Level, Pool},
    gpt2::{Loaded, Loader},
};

fn tokenizer() -> Tokenizer {
    Tokenizer::from_json(include_bytes!("../../tests/fixtures/tiny-gpt2/tokenizer.json")).unwrap()
}

fn config(tokenizer: &Tokenizer, n_positions: usize) -> Config {
    let json = format!(
        r#"{{"n_embd": 4, "n_head": 1, "n_layer": 1, "n_positions": {n_positions}, "vocab_size": {}}}"#,
        tokenizer.vocab_size()
    );
    Config { eos_token_id: tokenizer.eos_id(), ..Config::from_json(json.as_bytes()).unwrap() }
}

fn request(prompt: &str) -> Request {
    Request { prompt: prompt.into(), ..Request::default() }
}

/// All logits of one or more rows.
fn outputs(config: &Config, logits: Vec<f32>) -> Outputs {
    Outputs { vocab: config.vocab_size, logits, top: Vec::new() }
}

/// Runs to the end on a network whose logits for a row are `network(tokens up to that row)`, and
/// returns each draft's end. Asserts that the prompt is computed once, and that no later batch has
/// a draft that has ended.
fn run(
    request: Request,
    positions: usize,
    network: impl Fn(&[u32], &mut [f32]),
) -> Vec<(String, EndReason, usize)> {
    let tokenizer = tokenizer();
    let config = config(&tokenizer, positions);
    let mut drafts = Drafts::new(&tokenizer, &config, request.clone()).unwrap();
    let mut ends = vec![None; request.drafts];
    let prompt = drafts.prompt_tokens();
    while let Some(batch) = drafts.next_batch() {
        if batch.start.is_some() {
            assert!(batch.places.iter().all(|place| place.sequence == Sequence::Prompt));
            assert_eq!(batch.rows(), prompt);
        } else {
            let live = (0..ends.len()).filter(|&d| ends[d].is_none()).map(Sequence::Draft);
            assert!(batch.places.iter().map(|place| place.sequence).eq(live));
        }
        let mut logits = vec![0.0; batch.outputs.len() * config.vocab_size];
        for (&row, logits) in batch.outputs.iter().zip(logits.chunks_exact_mut(config.vocab_size)) {
            let seen = match batch.places[row].sequence {
                Sequence::Prompt => &batch.tokens[..],
                Sequence::Draft(d) => drafts.tokens(d),
            };
            network(seen, logits);
        }
        for event in drafts.accept(&outputs(&config, logits), &tokenizer).unwrap() {
            if let Event::Done { draft, text, reason, tokens, .. } = event {
                assert!(ends[draft].replace((text, reason, tokens)).is_none(), "one end a draft");
            }
        }
    }
    ends.into_iter().map(Option::unwrap).collect()
}

/// A network that strongly prefers one token.
fn always(text: &str) -> impl Fn(&[u32], &mut [f32]) {
    let token = tokenizer().encode_plain(text)[0];
    move |_, logits| logits[token as usize] = 100.0
}

#[test]
fn end_of_text_waits_for_the_least_length() {
    let eos = tokenizer().eos_id() as usize;
    let ends = run(request("I"), 64, |_, logits| logits[eos] = 100.0);
    for (_, reason, tokens) in ends {
        // Ten tokens in all, `<|endoftext|>` and the prompt included.
        assert_eq!((reason, tokens), (EndReason::EndOfText, 8));
    }
}

#[test]
fn a_newline_cuts() {
    let ends = run(request("I"), 64, always("\n"));
    assert!(ends.iter().all(|(text, reason, _)| text == "I" && *reason == EndReason::Newline), "{ends:?}");
}

#[test]
fn a_start_of_several_lines_is_one() {
    let lines = Request { max_tokens: Some(12), ..request(" I\r\n\n  I ") };
    assert_eq!(lines.start(), "I I");
    let ends = run(lines, 64, always("a"));
    assert!(
        ends.iter().all(|(text, reason, _)| text.starts_with("I Ia") && *reason == EndReason::MaxTokens),
        "{ends:?}"
    );
}

#[test]
fn the_limits_end_a_draft_with_their_reason() {
    let limited = Request { max_tokens: Some(12), ..request("I") };
    assert!(run(limited, 64, always("a")).iter().all(|e| e.1 == EndReason::MaxTokens && e.2 == 10));
    assert!(run(request("I"), 20, always("a")).iter().all(|e| e.1 == EndReason::ContextFull && e.2 == 18));
}

#[test]
fn a_draft_does_not_depend_on_how_many_are_made_with_it() {
    // Every token except the end is equally likely.
    let flat = |_: &[u32], logits: &mut [f32]| logits[0] = -10.0;
    let five = run(Request { seed: 4, ..request("I") }, 64, flat);
    let two = run(Request { seed: 4, drafts: 2, ..request("I") }, 64, flat);
    assert_eq!(five[..2], two[..]);
    assert_ne!(five[0].0, five[1].0);
    assert_ne!(five, run(Request { seed: 5, ..request("I") }, 64, flat));
}

#[test]
fn a_draft_made_alone_under_its_number_is_the_same() {
    let flat = |_: &[u32], logits: &mut [f32]| logits[0] = -10.0;
    let five = run(Request { seed: 4, ..request("I") }, 64, flat);
    let two = Request { seed: 4, drafts: 2, streams: vec![3, 1], ..request("I") };
    assert_eq!(run(two, 64, flat), [five[3].clone(), five[1].clone()]);
}

#[test]
fn an_end_waits_for_new_tokens_when_a_draft_goes_on() {
    let eos = tokenizer().eos_id() as usize;
    let on = Request { min_new_tokens: 20, ..request("I") };
    assert!(run(on, 64, |_, logits| logits[eos] = 100.0).iter().all(|e| e.2 == 20));
}

#[test]
fn tokens_decide_the_digest() {
    // printf '\1\0\0\0\0\2\0\0' | sha256sum
    assert_eq!(token_digest(&[1, 512]), "99fb3cc3089a84cd");
    assert_ne!(token_digest(&[1, 512]), token_digest(&[512, 1]));
}

#[test]
fn a_stopped_draft_leaves_the_batch() {
    let tokenizer = tokenizer();
    let config = config(&tokenizer, 64);
    let mut drafts = Drafts::new(&tokenizer, &config, request("I")).unwrap();
    drafts.accept(&outputs(&config, vec![0.0; config.vocab_size]), &tokenizer).unwrap();
    assert_eq!(drafts.next_batch().unwrap().rows(), 5);
    assert!(matches!(drafts.stop(Some(2))[..], [Event::Done { draft: 2, reason: EndReason::Stopped, .. }]));
    assert_eq!(drafts.next_batch().unwrap().rows(), 4);
    assert!(drafts.stop(Some(2)).is_empty());
    assert_eq!(drafts.stop(None).len(), 4);
    assert!(drafts.next_batch().is_none());
}

#[test]
fn stopping_before_the_first_token_ends_all_or_one() {
    let tokenizer = tokenizer();
    let config = config(&tokenizer, 64);
    let mut drafts = Drafts::new(&tokenizer, &config, request("I")).unwrap();
    drafts.stop(Some(0));
    drafts.accept(&outputs(&config, vec![0.0; config.vocab_size]), &tokenizer).unwrap();
    assert_eq!(drafts.next_batch().unwrap().rows(), 4);
    let mut drafts = Drafts::new(&tokenizer, &config, request("I")).unwrap();
    assert_eq!(drafts.stop(None).len(), 5);
    assert!(drafts.next_batch().is_none());
}

#[test]
fn what_cannot_be_done_is_said_before_any_work() {
    let tokenizer = tokenizer();
    let config = config(&tokenizer, 16);
    let refuse = |request| Drafts::new(&tokenizer, &config, request).err().unwrap().to_string();
    // In a context of 16 tokens, one is the leading `<|endoftext|>` and at least one is sampled.
    // The context is the reported limit if a larger `max_tokens` would not help.
    let start = |tokens: usize| {
        let text = "!?".repeat(20).chars().take(tokens).collect::<String>();
        assert_eq!(tokenizer.encode_plain(&text).len(), tokens);
        text
    };
    let with = |tokens, max_tokens| Request { max_tokens, ..request(&start(tokens)) };
    for (tokens, max_tokens) in [(14, None), (14, Some(16)), (7, Some(9))] {
        assert!(Drafts::new(&tokenizer, &config, with(tokens, max_tokens)).is_ok());
    }
    let context = "the start is 15 tokens long; this bot has room for 14, so shorten it";
    assert_eq!([None, Some(9)].map(|max| refuse(with(15, max))), [context; 2]);
    assert_eq!(
        refuse(with(8, Some(9))),
        "the start is 8 tokens long, and a draft of at most 9 has room for 7: \
         shorten it, or let drafts be longer"
    );
    assert!(refuse(Request { drafts: 0, ..request("I") }).contains("1 to 256"));
    assert!(refuse(Request { streams: vec![1], ..request("I") }).contains("1 random streams for 5"));
    let sampling = Params { top_p: 0.0, ..Params::default() };
    assert!(refuse(Request { sampling, ..request("I") }).contains("top_p"));
    let mut drafts = Drafts::new(&tokenizer, &config, request("I")).unwrap();
    assert!(drafts.accept(&outputs(&config, vec![0.0; 3]), &tokenizer).is_err());
}

#[test]
fn drafts_that_lost_their_engine_go_on_as_if_they_had_not() {
    let tokenizer = tokenizer();
    let config = config(&tokenizer, 64);
    // Any function of the tokens so far serves as the network.
    let network = |seen: &[u32], logits: &mut [f32]| {
        let sum = seen.iter().fold(7u32, |sum, &token| sum.wrapping_mul(31).wrapping_add(token));
        for (i, logit) in logits.iter_mut().enumerate() {
            *logit = (sum.wrapping_mul(2654435761).wrapping_add(i as u32 * 97) >> 20) as f32 / 2048.0;
        }
    };
    let step = |drafts: &mut Drafts| {
        let Some(batch) = drafts.next_batch() else { return false };
        let mut logits = vec![0.0; batch.outputs.len() * config.vocab_size];
        for (&row, logits) in batch.outputs.iter().zip(logits.chunks_exact_mut(config.vocab_size)) {
            let seen: Vec<u32> = match batch.places[row].sequence {
                Sequence::Prompt => batch.tokens.clone(),
                Sequence::Draft(d) => drafts.tokens(d).to_vec(),
            };
            network(&seen, logits);
        }
        drafts.accept(&outputs(&config, logits), &tokenizer).unwrap();
        true
    };
    let request = Request { drafts: 3, max_tokens: Some(30), seed: 11, ..request("I say") };
    let mut whole = Drafts::new(&tokenizer, &config, request.clone()).unwrap();
    while step(&mut whole) {}
    for lost_after in [0, 1, 2, 7, 20] {
        let mut drafts = Drafts::new(&tokenizer, &config, request.clone()).unwrap();
        for _ in 0..lost_after {
            step(&mut drafts);
        }
        let so_far: Vec<_> = (drafts.drafts.iter().enumerate())
            .map(|(i, d)| SoFar { tokens: drafts.drawn(i).to_vec(), ended: d.end.is_some() })
            .collect();
        let mut resumed = Drafts::resume(&tokenizer, &config, request.clone(), &so_far).unwrap();
        if let Some(batch) = resumed.next_batch().filter(|_| lost_after > 0) {
            let own: usize = resumed.live.iter().map(|live| resumed.drawn(live.draft).len()).sum();
            assert_eq!(batch.rows(), resumed.prompt_tokens() + own);
            assert_eq!((batch.outputs.len(), batch.start), (resumed.live.len(), Some(resumed.shape)));
        }
        while step(&mut resumed) {}
        for draft in 0..3 {
            assert_eq!(resumed.tokens(draft), whole.tokens(draft), "lost after {lost_after}");
        }
    }
}

#[test]
fn tokens_to_continue_from_are_checked() {
    let tokenizer = tokenizer();
    let config = config(&tokenizer, 64);
    let request = Request { drafts: 3, ..request("I say") };
    let resume = |so_far: &[SoFar]| Drafts::resume(&tokenizer, &config, request.clone(), so_far).map(drop);
    let mut so_far = vec![SoFar::default(); 3];
    assert!(resume(&so_far).is_ok() && resume(&[]).is_ok());
    so_far[1].tokens.push(u32::MAX);
    assert!(matches!(resume(&so_far), Err(GenerateError::SoFar { token: u32::MAX, .. })));
    for found in [1, 2, 4] {
        let error = resume(&vec![SoFar::default(); found]).unwrap_err();
        assert!(matches!(error, GenerateError::SoFarCount { found: f, drafts: 3 } if f == found), "{error}");
    }
}

#[test]
fn drafts_that_wait_and_drafts_that_have_begun_go_on_together() {
    let mut loader = Loader::new(Cpu::new(Level::Simd, Pool::serial()), None);
    loader.push(include_bytes!("../../model-card/demo/model-q8_0.gguf")).unwrap();
    let Loaded { mut model, tokenizer, config, .. } = loader.finish().unwrap();
    let request = Request { drafts: 3, max_tokens: Some(12), seed: 5, ..request("I") };
    let mut write = |mut drafts: Drafts, steps: usize| {
        for _ in 0..steps {
            let Some(batch) = drafts.next_batch() else { break };
            drafts.accept(model.forward(batch).unwrap(), &tokenizer).unwrap();
        }
        drafts
    };
    let new = || Drafts::new(&tokenizer, &config, request.clone()).unwrap();
    let (begun, whole) = (write(new(), 1), write(new(), 99));
    assert_eq!(begun.prompt_tokens(), 2);
    // As many rows as drafts, and more; each draft in turn has no token yet.
    for (waiting, begun_tokens) in [(&[0, 1][..], 1), (&[0, 2], 1), (&[1], 1), (&[2], 4), (&[1, 2], 7)] {
        let so_far = |index| match waiting.contains(&index) {
            true => SoFar::default(),
            false => {
                let drawn = whole.drawn(index);
                SoFar { tokens: drawn[..begun_tokens.min(drawn.len())].to_vec(), ended: false }
            }
        };
        let so_far: Vec<_> = (0..3).map(so_far).collect();
        let resumed = write(Drafts::resume(&tokenizer, &config, request.clone(), &so_far).unwrap(), 99);
        for draft in 0..3 {
            assert_eq!(resumed.tokens(draft), whole.tokens(draft), "{waiting:?} {begun_tokens}");
        }
    }
}

#[test]
fn what_no_token_can_be_drawn_from_is_an_error() {
    let tokenizer = tokenizer();
    let config = config(&tokenizer, 64);
    let begin = |sampling| Drafts::new(&tokenizer, &config, Request { sampling, ..request("I") }).unwrap();
    let vocab = config.vocab_size;
    let rows = [
        outputs(&config, vec![f32::NAN; vocab]),
        outputs(&config, vec![f32::INFINITY; vocab]),
        Outputs { vocab, logits: Vec::new(), top: vec![Vec::new()] },
    ];
    for row in &rows {
        let error = begin(Params::default()).accept(row, &tokenizer).unwrap_err();
        assert!(matches!(error, GenerateError::NotFinite), "{error}");
    }
    // Only one token is possible, and it has already occurred.
    let mut only = vec![f32::NEG_INFINITY; vocab];
    only[tokenizer.encode_plain("I")[0] as usize] = 1.0;
    let once = Params { no_repeat_ngram: 1, ..Params::default() };
    let error = begin(once).accept(&outputs(&config, only), &tokenizer).unwrap_err();
    assert!(matches!(error, GenerateError::Forbidden { size: 1 }), "{error}");
}

#[test]
fn as_many_candidates_as_tokens_are_all_logits() {
    let top_k = |top_k| wanted(&Params { top_k, ..Params::default() }, 300);
    assert_eq!(top_k(50), Wanted::Top(51));
    assert_eq!([299, 300, usize::MAX - 1, usize::MAX].map(top_k), [Wanted::All; 4]);
}
