//! GPT-2's byte-level BPE: text to ids and back.
//!
//! Vocabulary and merges may come from a `tokenizer.json`, from `vocab.json` and `merges.txt`, or
//! from a GGUF header. Each is validated here and rebuilt as GPT-2's one pipeline: other settings
//! of a `tokenizer.json` (truncation, padding, post-processors) have no effect, and those that
//! would change the ids are refused. Tests compare splitting (`split`) and merging (`merges`) with
//! the `tokenizers` crate, which trains vocabularies; as their reader it was more than half of the
//! engine that a page downloads.
//!
//! What a person types is only text: [`Tokenizer::encode_plain`] reads `<|endoftext|>` in it as
//! thirteen characters. [`Tokenizer::encode`] gives such tokens their meaning, as `transformers`
//! does, and is for text that the program itself assembled.

mod merges;
mod split;
mod text;
mod texts;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap, HashMap, binary_heap::PeekMut},
};

use serde::Deserialize;
use serde_json::{Value, json};
use thiserror::Error;

use merges::Merges;
pub use text::clean_up_spaces;
pub use texts::Texts;

/// The token that starts and ends every post.
pub const END_OF_TEXT: &str = "<|endoftext|>";

/// A validated GPT-2 tokenizer: ids are 0..V without gaps, every merge joins two known tokens into a
/// third, and one token (in a GGUF not necessarily [`END_OF_TEXT`]) starts and ends every post.
pub struct Tokenizer {
    /// Token strings in id order, in GPT-2's byte alphabet.
    tokens: Texts,
    merges: Merges,
    /// Tokens besides the BPE ones; [`Tokenizer::encode`] recognises them as a whole.
    added: BTreeMap<u32, Added>,
    eos_id: u32,
    /// The byte for which each character of a token stands.
    byte_of: HashMap<char, u8>,
}

/// A token that no merge produces.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Added {
    content: String,
    /// Special tokens are omitted when decoding.
    special: bool,
}

/// Where an added token occurs in a text. The greatest is the first, and the longest of those that
/// start there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Occurrence {
    /// Byte offset.
    at: Reverse<usize>,
    /// Length in bytes.
    len: usize,
    id: Reverse<u32>,
}

/// The parts of a tokenizer, as a GGUF header lists them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parts {
    /// Token strings in id order.
    pub tokens: Texts,
    /// `"a b"`, highest priority first.
    pub merges: Texts,
    /// Ids of control tokens; [`Parts::eos_id`] is one whether listed or not.
    pub special_ids: Vec<u32>,
    /// The id of the token that ends a text.
    pub eos_id: u32,
}

/// Why a tokenizer was refused.
#[derive(Debug, Error)]
pub enum TokenizerError {
    #[error("the tokenizer is not JSON of the expected form: {0}")]
    Json(#[from] serde_json::Error),
    #[error("the tokenizer's `{field}` is {found}; only GPT-2's byte-level BPE is supported ({expected})")]
    Unsupported { field: &'static str, found: String, expected: &'static str },
    #[error(
        "the tokenizer's vocabulary has {tokens} tokens but no id {missing}: ids must be 0 to {tokens} - 1"
    )]
    Gap { tokens: usize, missing: u32 },
    #[error("the tokenizer's vocabulary lists `{token}` twice (ids {first} and {second})")]
    Duplicate { token: String, first: u32, second: u32 },
    #[error("the tokenizer's vocabulary is empty or has over {MAX_TOKENS} tokens (found {found})")]
    Size { found: usize },
    #[error(
        "merge {index} of the tokenizer (`{merge}`) is no pair of known tokens that joins into a known one"
    )]
    Merge { index: usize, merge: String },
    #[error("the tokenizer has no `{END_OF_TEXT}` token")]
    NoEndOfText,
    #[error("the tokenizer names token {id}, beyond its {tokens} tokens")]
    IdRange { id: u32, tokens: usize },
}

/// More tokens than any GPT-2 has; limits what a hostile file can request.
const MAX_TOKENS: usize = 1 << 22;

/// The parts of a `tokenizer.json` that determine the ids.
#[derive(Deserialize)]
struct TokenizerJson {
    #[serde(default)]
    added_tokens: Vec<AddedJson>,
    #[serde(default)]
    normalizer: Option<Value>,
    #[serde(default)]
    pre_tokenizer: Option<Value>,
    model: ModelJson,
}

#[derive(Deserialize)]
struct AddedJson {
    id: u32,
    content: String,
    #[serde(default)]
    special: bool,
}

#[derive(Deserialize)]
struct ModelJson {
    #[serde(rename = "type", default)]
    kind: Option<String>,
    #[serde(default)]
    continuing_subword_prefix: Option<String>,
    #[serde(default)]
    end_of_word_suffix: Option<String>,
    #[serde(default)]
    byte_fallback: bool,
    #[serde(default)]
    ignore_merges: bool,
    vocab: HashMap<String, u32>,
    merges: Vec<MergeJson>,
}

/// `"a b"` in older files, `["a", "b"]` in newer ones.
#[derive(Deserialize)]
#[serde(untagged)]
enum MergeJson {
    Text(String),
    Pair(String, String),
}

impl Tokenizer {
    /// Reads a `tokenizer.json`. Its truncation and padding settings are ignored: they belong to a
    /// training run, not to the tokenizer.
    pub fn from_json(bytes: &[u8]) -> Result<Self, TokenizerError> {
        let file: TokenizerJson = serde_json::from_slice(bytes)?;
        let model = file.model;
        let unsupported =
            |field, found: String, expected| Err(TokenizerError::Unsupported { field, found, expected });
        if let Some(kind) = model.kind
            && kind != "BPE"
        {
            return unsupported("model.type", kind, "BPE");
        }
        if let Some(normalizer) = file.normalizer
            && !normalizer.is_null()
        {
            return unsupported("normalizer", kind_of(&normalizer), "null");
        }
        let pre_tokenizer = file.pre_tokenizer.unwrap_or(Value::Null);
        if pre_tokenizer["type"] != "ByteLevel" || pre_tokenizer["use_regex"] == false {
            return unsupported("pre_tokenizer", kind_of(&pre_tokenizer), "ByteLevel with its own regex");
        }
        if pre_tokenizer["add_prefix_space"] == true {
            return unsupported("pre_tokenizer.add_prefix_space", "true".into(), "false");
        }
        for (field, found) in [
            ("model.continuing_subword_prefix", model.continuing_subword_prefix),
            ("model.end_of_word_suffix", model.end_of_word_suffix),
        ] {
            if let Some(found) = found.filter(|s| !s.is_empty()) {
                return unsupported(field, format!("`{}`", shorten(&found)), "empty");
            }
        }
        if model.byte_fallback || model.ignore_merges {
            return unsupported("model.byte_fallback or model.ignore_merges", "true".into(), "false");
        }
        let merges = model
            .merges
            .into_iter()
            .map(|merge| match merge {
                MergeJson::Text(text) => text,
                MergeJson::Pair(a, b) => format!("{a} {b}"),
            })
            .collect();
        let added =
            file.added_tokens.into_iter().map(|a| (a.id, Added { content: a.content, special: a.special }));
        Self::from_vocab(model.vocab, merges, added.collect())
    }

    /// Reads a `vocab.json` (token -> id) and a `merges.txt` (one pair per line).
    pub fn from_vocab_and_merges(vocab_json: &[u8], merges_txt: &str) -> Result<Self, TokenizerError> {
        let vocab: HashMap<String, u32> = serde_json::from_slice(vocab_json)?;
        // Only the first line may be a comment, since merges may begin with `#`.
        let lines = merges_txt.lines().enumerate();
        let merges = lines
            .filter(|(index, line)| !(line.trim().is_empty() || *index == 0 && line.starts_with("#version")))
            .map(|(_, line)| line.to_owned())
            .collect();
        let eos_id = *vocab.get(END_OF_TEXT).ok_or(TokenizerError::NoEndOfText)?;
        let added = BTreeMap::from([(eos_id, Added { content: END_OF_TEXT.into(), special: true })]);
        Self::from_vocab(vocab, merges, added)
    }

    /// Builds a tokenizer from its parts: the inverse of [`Tokenizer::parts`].
    pub fn from_parts(parts: Parts) -> Result<Self, TokenizerError> {
        let Parts { tokens, merges, special_ids, eos_id } = parts;
        let mut added = BTreeMap::new();
        for id in special_ids.into_iter().chain([eos_id]) {
            let content =
                tokens.get(id as usize).ok_or(TokenizerError::IdRange { id, tokens: tokens.len() })?;
            added.insert(id, Added { content: content.into(), special: true });
        }
        Self::new(tokens, merges, added, eos_id)
    }

    fn from_vocab(
        mut vocab: HashMap<String, u32>,
        merges: Texts,
        added: BTreeMap<u32, Added>,
    ) -> Result<Self, TokenizerError> {
        for (&id, token) in &added {
            match vocab.insert(token.content.clone(), id) {
                Some(first) if first != id => {
                    return Err(TokenizerError::Duplicate {
                        token: shorten(&token.content),
                        first,
                        second: id,
                    });
                }
                _ => {}
            }
        }
        let count = vocab.len();
        if count == 0 || count > MAX_TOKENS {
            return Err(TokenizerError::Size { found: count });
        }
        let mut by_id: Vec<Option<String>> = vec![None; count];
        for (token, id) in vocab {
            // An id that is out of range or already taken leaves a gap elsewhere, reported below.
            if let Some(slot) = by_id.get_mut(id as usize) {
                *slot = Some(token);
            }
        }
        let mut tokens = Texts::default();
        for (id, token) in by_id.into_iter().enumerate() {
            tokens.push(&token.ok_or(TokenizerError::Gap { tokens: count, missing: id as u32 })?);
        }
        let special = added.iter().find(|(_, token)| token.content == END_OF_TEXT);
        let eos_id = match special {
            Some((&id, _)) => id,
            // Some vocabularies contain it without listing it as added.
            None => match tokens.iter().position(|t| t == END_OF_TEXT) {
                Some(id) => id as u32,
                None => return Err(TokenizerError::NoEndOfText),
            },
        };
        Self::new(tokens, merges, added, eos_id)
    }

    fn new(
        tokens: Texts,
        merges: Texts,
        mut added: BTreeMap<u32, Added>,
        eos_id: u32,
    ) -> Result<Self, TokenizerError> {
        if tokens.is_empty() || tokens.len() > MAX_TOKENS {
            return Err(TokenizerError::Size { found: tokens.len() });
        }
        let eos = tokens
            .get(eos_id as usize)
            .ok_or(TokenizerError::IdRange { id: eos_id, tokens: tokens.len() })?;
        added.insert(eos_id, Added { content: eos.into(), special: true });

        let merges = Merges::new(&tokens, &merges)?;
        let byte_of = text::byte_alphabet().into_iter().zip(0..=255).collect();
        Ok(Self { tokens, merges, added, eos_id, byte_of })
    }

    /// This tokenizer's `tokenizer.json`, as `transformers` reads it, without truncation or
    /// padding.
    pub fn to_json(&self) -> String {
        let byte_level = |add_prefix_space: bool, trim_offsets: bool| {
            json!({
                "type": "ByteLevel",
                "add_prefix_space": add_prefix_space,
                "trim_offsets": trim_offsets,
                "use_regex": true,
            })
        };
        let added: Vec<Value> = self
            .added
            .iter()
            .map(|(id, token)| {
                json!({
                    "id": id,
                    "content": token.content,
                    "single_word": false,
                    "lstrip": false,
                    "rstrip": false,
                    "normalized": false,
                    "special": token.special,
                })
            })
            .collect();
        let vocab: serde_json::Map<String, Value> =
            self.tokens.iter().enumerate().map(|(id, token)| (token.to_owned(), json!(id))).collect();
        let file = json!({
            "version": "1.0",
            "truncation": null,
            "padding": null,
            "added_tokens": added,
            "normalizer": null,
            "pre_tokenizer": byte_level(false, true),
            "post_processor": byte_level(true, false),
            "decoder": byte_level(true, true),
            "model": {
                "type": "BPE",
                "dropout": null,
                "unk_token": null,
                "continuing_subword_prefix": "",
                "end_of_word_suffix": "",
                "fuse_unk": false,
                "byte_fallback": false,
                "ignore_merges": false,
                "vocab": vocab,
                "merges": self.merges().iter().collect::<Vec<_>>(),
            },
        });
        format!("{file}\n")
    }

    /// Tokens, merges and special ids, for a GGUF header.
    pub fn parts(&self) -> Parts {
        Parts {
            tokens: self.tokens.clone(),
            merges: self.merges(),
            special_ids: self.added.iter().filter(|(_, a)| a.special).map(|(&id, _)| id).collect(),
            eos_id: self.eos_id,
        }
    }

    /// Ids of a text in which `<|endoftext|>` and other added tokens have their meaning, as in
    /// `transformers`.
    pub fn encode(&self, text: &str) -> Vec<u32> {
        let mut ids = Vec::new();
        let mut start = 0;
        let mut next = self.first_added(text);
        while let Some(mut found) = next.peek_mut() {
            let Occurrence { at: Reverse(at), len, id: Reverse(id) } = *found;
            // An occurrence before `start` overlaps a token that has been taken.
            if at >= start {
                self.encode_into(&text[start..at], &mut ids);
                ids.push(id);
                start = at + len;
            }
            match text[start..].find(&self.added[&id].content) {
                Some(at) => found.at = Reverse(start + at),
                None => {
                    PeekMut::pop(found);
                }
            }
        }
        self.encode_into(&text[start..], &mut ids);
        ids
    }

    /// Ids of a text that somebody typed: `<|endoftext|>` is encoded as plain characters, so no
    /// prompt can end the draft that it starts.
    pub fn encode_plain(&self, text: &str) -> Vec<u32> {
        let mut ids = Vec::new();
        self.encode_into(text, &mut ids);
        ids
    }

    fn encode_into(&self, text: &str, ids: &mut Vec<u32>) {
        for piece in split::pieces(text) {
            self.merges.encode(piece, ids);
        }
    }

    /// The first occurrence of each added token in `text`.
    fn first_added(&self, text: &str) -> BinaryHeap<Occurrence> {
        self.added
            .iter()
            .filter(|(_, token)| !token.content.is_empty())
            .filter_map(|(&id, token)| {
                let at = Reverse(text.find(&token.content)?);
                Some(Occurrence { at, len: token.content.len(), id: Reverse(id) })
            })
            .collect()
    }

    /// The text of these ids without special tokens. Bytes that are not UTF-8, including an
    /// incomplete character at the end, become U+FFFD.
    pub fn decode(&self, ids: &[u32]) -> String {
        String::from_utf8_lossy(&self.bytes(ids, true)).into_owned()
    }

    /// Like [`Tokenizer::decode`], with special tokens written out.
    pub fn decode_with_special(&self, ids: &[u32]) -> String {
        String::from_utf8_lossy(&self.bytes(ids, false)).into_owned()
    }

    /// Like [`Tokenizer::decode`], for a text that is still growing: an incomplete character at the
    /// end is omitted, since its other bytes may follow.
    pub fn decode_partial(&self, ids: &[u32]) -> String {
        text::lossy_but_complete(&self.bytes(ids, true))
    }

    /// The bytes of these ids. Ids beyond the vocabulary (rows that pad an embedding) have none.
    fn bytes(&self, ids: &[u32], skip_special: bool) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(ids.len() * 4);
        for id in ids {
            if skip_special && self.added.get(id).is_some_and(|token| token.special) {
                continue;
            }
            let Some(token) = self.tokens.get(*id as usize) else {
                continue;
            };
            let start = bytes.len();
            for c in token.chars() {
                match self.byte_of.get(&c) {
                    Some(&byte) => bytes.push(byte),
                    // Outside the byte alphabet: an added token, written as is.
                    None => {
                        bytes.truncate(start);
                        bytes.extend_from_slice(token.as_bytes());
                        break;
                    }
                }
            }
        }
        bytes
    }

    /// The number of tokens; an embedding may have more rows.
    pub fn vocab_size(&self) -> usize {
        self.tokens.len()
    }

    /// The id of the token that starts and ends every post.
    pub fn eos_id(&self) -> u32 {
        self.eos_id
    }

    /// Token strings in id order, in GPT-2's byte alphabet.
    pub fn tokens(&self) -> &Texts {
        &self.tokens
    }

    /// Merges as `"a b"`, highest priority first.
    pub fn merges(&self) -> Texts {
        let token = |id: u32| self.tokens.get(id as usize).unwrap_or_default();
        self.merges.pairs().map(|(left, right)| format!("{} {}", token(left), token(right))).collect()
    }
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "Tokenizer({} tokens, {} merges, eos {})",
            self.tokens.len(),
            self.merges.pairs().len(),
            self.eos_id
        )
    }
}

fn kind_of(value: &Value) -> String {
    value.get("type").map_or_else(|| shorten(&value.to_string()), |kind| shorten(&kind.to_string()))
}

/// The start of a string from a file, for a one-line message.
fn shorten(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(40).collect()
}

#[cfg(test)]
mod tests;
