//! Compares with the reference cases and the `tokenizers` crate, and tries damaged files.

use super::*;
use crate::beside::shared;
use proptest::prelude::*;

const TINY: &[u8] = include_bytes!("../../tests/fixtures/tiny-gpt2/tokenizer.json");

fn tiny() -> Tokenizer {
    Tokenizer::from_json(TINY).unwrap()
}

/// A file of the larger reference set, if that is present.
fn reference(name: &str) -> Option<Vec<u8>> {
    shared(&format!("reference/{name}")).map(|path| std::fs::read(path).unwrap())
}

/// The cases were made with the file's own truncation to this many ids.
const REFERENCE_TRUNCATION: usize = 50;

fn assert_reference_cases(tokenizer: &Tokenizer) {
    let Some(cases) = reference("gpt2-tokenizer-cases.jsonl") else {
        return;
    };
    for line in String::from_utf8(cases).unwrap().lines() {
        let case: Value = serde_json::from_str(line).unwrap();
        let text = case["text"].as_str().unwrap();
        let ids: Vec<u32> = serde_json::from_value(case["ids"].clone()).unwrap();
        let mut found = tokenizer.encode(text);
        if ids.len() == REFERENCE_TRUNCATION {
            found.truncate(REFERENCE_TRUNCATION);
        }
        assert_eq!(found, ids, "{text:?}");
        assert_eq!(tokenizer.decode_with_special(&ids), case["decoded"].as_str().unwrap(), "{text:?}");
    }
}

#[test]
fn gpt2_reference_cases_pass_from_every_source() {
    let Some(json) = reference("gpt2-tokenizer/tokenizer.json") else {
        return;
    };
    let vocab = reference("gpt2-tokenizer/vocab.json").unwrap();
    let merges = String::from_utf8(reference("gpt2-tokenizer/merges.txt").unwrap()).unwrap();

    let from_json = Tokenizer::from_json(&json).unwrap();
    assert_eq!(from_json.vocab_size(), 50257);
    assert_eq!(from_json.eos_id(), 50256);
    assert_reference_cases(&from_json);

    let from_files = Tokenizer::from_vocab_and_merges(&vocab, &merges).unwrap();
    assert_eq!(from_files.parts(), from_json.parts());
    assert_reference_cases(&from_files);

    assert_reference_cases(&Tokenizer::from_parts(from_json.parts()).unwrap());
    assert_reference_cases(&Tokenizer::from_json(from_json.to_json().as_bytes()).unwrap());
}

#[test]
fn truncation_and_padding_are_dropped_on_reading_and_writing() {
    let mut file: Value = serde_json::from_slice(TINY).unwrap();
    file["truncation"] =
        json!({"direction": "Right", "max_length": 5, "strategy": "LongestFirst", "stride": 0});
    file["padding"] = json!({"strategy": {"Fixed": 50}, "direction": "Right", "pad_id": 0, "pad_type_id": 0, "pad_token": "x"});
    let tokenizer = Tokenizer::from_json(file.to_string().as_bytes()).unwrap();
    let text = "one two three four five six seven eight nine ten";
    assert_eq!(tokenizer.encode(text), tiny().encode(text));
    let written: Value = serde_json::from_str(&tokenizer.to_json()).unwrap();
    assert!(written["truncation"].is_null() && written["padding"].is_null());
}

#[test]
fn the_written_file_is_one_the_tokenizers_crate_reads_alike() {
    let theirs = tokenizers::Tokenizer::from_bytes(tiny().to_json()).unwrap();
    let text = "a<|endoftext|>My dream is 🦀\n  x";
    assert_eq!(theirs.encode(text, false).unwrap().get_ids(), tiny().encode(text));
    let ids = tiny().encode(text);
    assert_eq!(theirs.decode(&ids, true).unwrap(), tiny().decode(&ids));
}

#[test]
fn a_typed_end_of_text_is_spelled_out() {
    let tokenizer = tiny();
    let typed = tokenizer.encode_plain("a<|endoftext|>b");
    assert!(!typed.contains(&tokenizer.eos_id()));
    assert_eq!(tokenizer.decode(&typed), "a<|endoftext|>b");
    assert!(tokenizer.encode("a<|endoftext|>b").contains(&tokenizer.eos_id()));
}

/// The tiny tokenizer with these tokens added.
fn with_added(contents: &[&str]) -> Tokenizer {
    let mut parts = tiny().parts();
    for content in contents {
        parts.special_ids.push(parts.tokens.len() as u32);
        parts.tokens.push(content);
    }
    Tokenizer::from_parts(parts).unwrap()
}

/// Encodes by searching the rest of the text for every added token again after each one.
fn encode_again_and_again(tokenizer: &Tokenizer, mut rest: &str) -> Vec<u32> {
    let mut ids = Vec::new();
    loop {
        let found =
            tokenizer.added.iter().filter_map(|(&id, token)| Some((rest.find(&token.content)?, id, token)));
        let Some((at, id, token)) = found.min_by_key(|(at, _, token)| (*at, Reverse(token.content.len())))
        else {
            ids.extend(tokenizer.encode_plain(rest));
            return ids;
        };
        ids.extend(tokenizer.encode_plain(&rest[..at]));
        ids.push(id);
        rest = &rest[at + token.content.len()..];
    }
}

#[test]
fn many_separators_are_encoded_in_linear_time() {
    let tokenizer = with_added(&["<absent>"]);
    let text = END_OF_TEXT.repeat(200_000);
    let began = std::time::Instant::now();
    assert_eq!(tokenizer.encode(&text).len(), 200_000);
    // Searching the rest for the absent token at each separator takes minutes.
    assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
}

#[test]
fn an_incomplete_character_is_held_back_while_text_grows() {
    let tokenizer = tiny();
    let ids = tokenizer.encode("ok 🦀!");
    let mut shown = String::new();
    for end in 0..=ids.len() {
        let text = tokenizer.decode_partial(&ids[..end]);
        assert!(!text.contains(char::REPLACEMENT_CHARACTER), "{text:?}");
        assert!(text.starts_with(&shown), "{text:?} after {shown:?}");
        shown = text;
    }
    assert_eq!(shown, "ok 🦀!");
    let cut = ids.iter().position(|&id| tokenizer.decode(&[id]).contains('\u{FFFD}')).unwrap();
    assert!(tokenizer.decode(&ids[..=cut]).ends_with('\u{FFFD}'));
}

#[test]
fn a_vocabulary_with_a_gap_names_the_missing_id() {
    let mut file: Value = serde_json::from_slice(TINY).unwrap();
    let vocab = file["model"]["vocab"].as_object_mut().unwrap();
    let last = vocab.iter().find(|(_, id)| **id == json!(400)).unwrap().0.clone();
    vocab[&last] = json!(4_000_000_000u32);
    let error = Tokenizer::from_json(file.to_string().as_bytes()).unwrap_err();
    assert!(matches!(error, TokenizerError::Gap { missing: 400, .. }), "{error}");
}

#[test]
fn foreign_pipelines_are_refused_by_name() {
    for (path, value, field) in [
        ("/normalizer", json!({"type": "NFC"}), "normalizer"),
        ("/pre_tokenizer", json!({"type": "Whitespace"}), "pre_tokenizer"),
        ("/pre_tokenizer/add_prefix_space", json!(true), "add_prefix_space"),
        ("/model/type", json!("WordPiece"), "model.type"),
        ("/model/continuing_subword_prefix", json!("##"), "continuing_subword_prefix"),
    ] {
        let mut file: Value = serde_json::from_slice(TINY).unwrap();
        *file.pointer_mut(path).unwrap() = value;
        let error = Tokenizer::from_json(file.to_string().as_bytes()).unwrap_err();
        assert!(error.to_string().contains(field), "{error}");
    }
}

#[test]
fn a_merge_of_unknown_tokens_is_an_error() {
    let mut parts = tiny().parts();
    let others = parts.merges.iter().enumerate();
    parts.merges = others.map(|(i, merge)| if i == 3 { "zz qq" } else { merge }).collect();
    let error = Tokenizer::from_parts(parts).unwrap_err();
    assert!(matches!(error, TokenizerError::Merge { index: 3, .. }), "{error}");
}

#[test]
fn no_end_of_text_is_an_error() {
    let error = Tokenizer::from_vocab_and_merges(br#"{"a": 0}"#, "").unwrap_err();
    assert!(matches!(error, TokenizerError::NoEndOfText));
}

#[test]
fn spaces_are_cleaned_up_as_transformers_does() {
    assert_eq!(
        clean_up_spaces("Hello , world ! I do n't , it 's ' ok ' so . We 've"),
        "Hello, world! I don't, it's'ok'so. We've"
    );
}

proptest! {
    #[test]
    fn added_tokens_are_found_in_order_the_longest_first(
        parts in proptest::collection::vec(0..6usize, 0..40),
    ) {
        let tokenizer = with_added(&["<ab>", "<ab><cd>", "d><a", "<a"]);
        let text: String = parts.iter().map(|&i| ["<ab>", "<cd>", "b", " cat", END_OF_TEXT, "<a"][i]).collect();
        prop_assert_eq!(tokenizer.encode(&text), encode_again_and_again(&tokenizer, &text));
    }

    #[test]
    fn text_survives_the_round_trip(text in "\\PC{0,40}") {
        let tokenizer = tiny();
        prop_assert_eq!(tokenizer.decode(&tokenizer.encode_plain(&text)), text);
    }

    #[test]
    fn arbitrary_bytes_are_no_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Tokenizer::from_json(&bytes);
        let _ = Tokenizer::from_vocab_and_merges(&bytes, &String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn a_damaged_file_is_no_panic(at in 0..TINY.len(), byte in any::<u8>()) {
        let mut bytes = TINY.to_vec();
        bytes[at] = byte;
        if let Ok(tokenizer) = Tokenizer::from_json(&bytes) {
            let _ = tokenizer.encode("Hello <|endoftext|> 12");
        }
    }

    #[test]
    fn arbitrary_parts_and_ids_are_no_panic(
        tokens in proptest::collection::vec("[a-c]{0,3}", 0..12),
        merges in proptest::collection::vec("[a-c]{0,2} [a-c]{0,2}", 0..6),
        eos_id in 0..14u32,
        ids in proptest::collection::vec(any::<u32>(), 0..5),
    ) {
        let (tokens, merges) = (Texts::from_iter(tokens), Texts::from_iter(merges));
        if let Ok(tokenizer) = Tokenizer::from_parts(Parts { tokens, merges, special_ids: vec![], eos_id }) {
            let _ = tokenizer.encode("abcabc");
            let _ = tokenizer.decode(&ids);
        }
    }
}
