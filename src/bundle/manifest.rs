//! `bot.json`: describes a bot and holds the digests of its files.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::file_names::BOT;

/// The format version written, and the newest one read. In version 1, checks were of activations
/// rounded otherwise, and are ignored.
pub const FORMAT_VERSION: u32 = 2;

/// Default limit for prompt and draft together, in tokens, as in the original. Models with
/// fewer positions use their own limit.
pub const DEFAULT_MAX_TOKENS: usize = 160;

/// Size of a chunk, of which [`FileEntry::chunks`] has one digest each.
pub const CHUNK_BYTES: usize = 4 << 20;

/// The contents of `bot.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub format_version: u32,
    #[serde(flatten)]
    pub info: BotInfo,
    /// File name in the bundle -> size and digests. Excludes `bot.json` itself.
    pub files: BTreeMap<String, FileEntry>,
    /// GGUF file name -> a prompt and the logits expected after it.
    pub checks: BTreeMap<String, LogitsCheck>,
    /// What the card shows beyond `info`; stored so that the card can be rewritten without
    /// regenerating its drafts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<CardExtras>,
}

/// Who the bot imitates and how it was made, as shown by the card and the page's header.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct BotInfo {
    /// Display names joined by ` & `, in input order.
    pub name: String,
    /// Account handles without the leading `@`, in input order; never empty. Mastodon handles
    /// are `user@server`.
    pub handles: Vec<String>,
    /// One entry per account, in the order of `handles`.
    #[serde(default)]
    pub accounts: Vec<AccountCounts>,
    /// A sentence shown with the bot, for example that its account is fictional.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notice: Option<String>,
    #[serde(default)]
    pub provenance: Provenance,
}

/// The four counts of the original's card, for one account.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct AccountCounts {
    pub handle: String,
    pub name: String,
    pub tweets_downloaded: usize,
    pub retweets: usize,
    pub short_tweets: usize,
    pub tweets_kept: usize,
    /// Posts excluded by the run's filters: neither retweets, nor short, nor kept.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub filtered_out: usize,
    /// Language of most kept posts (ISO 639), if the archive states it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// How the weights were made. Absent fields are unknown (for example in a converted bot).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Provenance {
    /// Program and version, for example `huggingtweets 0.1.0`.
    pub made_with: String,
    /// What training started from: `gpt2`, a repository, `scratch`, or a folder's name.
    pub base: Option<String>,
    /// The command line, without local paths.
    pub command: Option<String>,
    pub seed: Option<u64>,
    pub epochs: Option<usize>,
    pub steps: Option<usize>,
    pub learning_rate: Option<f64>,
    pub batch: Option<usize>,
    /// `classic` (exactly as the original) or `modern`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipe: Option<String>,
    /// Tokens per training block.
    pub context: Option<usize>,
    /// Tokens seen in training, over all epochs.
    pub train_tokens: Option<u64>,
    pub train_seconds: Option<f64>,
    /// Mean loss over the first and the last steps, in nats per token.
    pub first_loss: Option<f64>,
    pub final_loss: Option<f64>,
    pub parameters: Option<u64>,
    /// Seconds since 1970-01-01 UTC.
    pub created_unix_s: Option<u64>,
}

/// What a card shows beyond [`BotInfo`]; all optional.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CardExtras {
    /// URL of the bot's page, ending in `/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page_url: Option<String>,
    /// The repository on the Hub, `owner/name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// ISO 639 code of the posts' language; if absent, the language stated by the accounts'
    /// archives is used, if any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// The Hub's identifier of the weights' license.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// Unedited drafts to show.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<Sample>,
    /// How many drafts repeat one of the accounts' posts verbatim.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verbatim: Option<VerbatimShare>,
    /// Perplexity on held-out posts, one entry per precision.
    #[serde(alias = "perplexities", skip_serializing_if = "Vec::is_empty")]
    pub held_out_perplexity: Vec<PrecisionPerplexity>,
    /// Number of held-out posts it was measured on, sampled evenly from all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub perplexity_posts: Option<usize>,
    /// The recipe that the run followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipe: Option<Recipe>,
    /// Settings beyond those in [`Provenance`], as (name, value) rows of the card's table.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hyper_parameters: Vec<(String, String)>,
    /// (step, mean loss on held-out posts in nats per token), in increasing order of steps.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub validation: Vec<(u64, f64)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memorisation: Option<MemorisedShare>,
    /// Other results, one sentence each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A training recipe.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Recipe {
    /// `classic` or `modern`.
    pub name: String,
    /// Its differences from the original's, one sentence each.
    #[serde(default)]
    pub differences: Vec<String>,
}

/// The share of drafts that repeat a long passage of a training post.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemorisedShare {
    /// A draft counts if it shares more than this many consecutive words with one post.
    pub n_words: usize,
    /// Fraction of the drafts, 0 to 1.
    pub share: f64,
    pub drafts: usize,
}

/// The drafts for one prompt. Each includes the prompt.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sample {
    pub prompt: String,
    pub drafts: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

/// Of `drafts` drafts generated with `seed`, `verbatim` also occur among the posts of the
/// bot's archives, including held-out ones.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerbatimShare {
    pub drafts: usize,
    pub verbatim: usize,
    pub seed: u64,
}

/// Perplexity at one precision (`f32`, `q8_0`, `q4_0`): exp of the mean nats per token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PrecisionPerplexity {
    pub precision: String,
    pub perplexity: f64,
}

/// A file's size and digests.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FileEntry {
    pub size: u64,
    /// SHA-256 of the whole file, lower-case hex.
    pub sha256: String,
    /// SHA-256 of each [`CHUNK_BYTES`] chunk; the last chunk may be shorter.
    pub chunks: Vec<String>,
}

/// A known prompt and some of the logits that follow it, for an engine to check itself
/// against. Only a selection: all 50257 logits would be a hundred times the size of the
/// rest of the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogitsCheck {
    pub prompt: String,
    pub prompt_ids: Vec<u32>,
    /// Tokens whose logits are listed, for the prompt's last position: the 32 largest and
    /// evenly spaced others, in ascending order without duplicates.
    pub token_ids: Vec<u32>,
    /// Their logits, from the CPU engine at this file's precision.
    pub logits: Vec<f32>,
}

/// Maximum number of logits in a check.
const CHECKED_LOGITS: usize = 256;
/// How many of them are the largest ones.
const CHECKED_LARGEST: usize = 32;

impl LogitsCheck {
    /// Selects which of the logits (V,) after `prompt_ids` to list.
    pub fn select(prompt: &str, prompt_ids: &[u32], logits: &[f32]) -> Self {
        let mut order: Vec<u32> = (0..logits.len() as u32).collect();
        order.sort_by(|&a, &b| logits[b as usize].total_cmp(&logits[a as usize]));
        order.truncate(CHECKED_LARGEST);
        let spread = CHECKED_LOGITS - CHECKED_LARGEST;
        let step = logits.len().div_ceil(spread).max(1);
        let mut token_ids: Vec<u32> =
            order.into_iter().chain((0..logits.len() as u32).step_by(step)).collect();
        token_ids.sort_unstable();
        token_ids.dedup();
        Self {
            prompt: prompt.into(),
            prompt_ids: prompt_ids.into(),
            logits: token_ids.iter().map(|&id| logits[id as usize]).collect(),
            token_ids,
        }
    }
}

/// Why a `bot.json` was rejected.
#[derive(Debug, Error)]
pub enum ManifestError {
    #[error("bot.json is not a bot's description: {0}")]
    Json(#[from] serde_json::Error),
    #[error("bot.json has format version {found}, newer than {FORMAT_VERSION}: update huggingtweets")]
    Version { found: u32 },
    #[error("bot.json names the file `{}`, which is not a plain file name", name.escape_debug())]
    FileName { name: String },
    #[error("bot.json: `{name}` has {found} chunk digests for {size} bytes, {expected} expected")]
    Chunks { name: String, found: usize, expected: u64, size: u64 },
    #[error("bot.json: the check of `{name}` lists {ids} ids and {logits} logits")]
    Check { name: String, ids: usize, logits: usize },
    #[error("bot.json names no account")]
    NoHandle,
    #[error("bot.json names an account without a handle")]
    EmptyHandle,
}

/// Returns whether a name is safe as a bundle's file name on any file system, in a URL and
/// in a terminal: not hidden, no path or URL separators, no control characters.
pub fn is_plain_name(name: &str) -> bool {
    let is_refused = |c: char| c.is_control() || ['/', '\\', ':', '?', '#', '%'].contains(&c);
    !name.is_empty() && !name.starts_with('.') && !name.contains(is_refused)
}

impl Manifest {
    /// Parses and validates a `bot.json`.
    ///
    /// # Errors
    /// If it is not valid JSON, has a newer format version, or fails [`Manifest::validate`].
    pub fn from_json(bytes: &[u8]) -> Result<Self, ManifestError> {
        serde_json::from_slice::<Self>(bytes)?.upgraded()
    }

    /// Parses and validates what an engine needs of a `bot.json`: all but the card, whose parser a page
    /// would have to compile before it could open the weights.
    ///
    /// # Errors
    /// As [`Manifest::from_json`].
    pub fn without_card(bytes: &[u8]) -> Result<Self, ManifestError> {
        /// Apart from [`BotInfo`], because serde buffers what it flattens.
        #[derive(Deserialize)]
        struct Listing {
            format_version: u32,
            files: BTreeMap<String, FileEntry>,
            checks: BTreeMap<String, LogitsCheck>,
        }
        let Listing { format_version, files, checks } = serde_json::from_slice(bytes)?;
        let info = serde_json::from_slice(bytes)?;
        Self { format_version, info, files, checks, card: None }.upgraded()
    }

    /// Validates, then turns an older format version into today's.
    fn upgraded(mut self) -> Result<Self, ManifestError> {
        self.validate()?;
        if self.format_version < FORMAT_VERSION {
            self.format_version = FORMAT_VERSION;
            self.checks.clear();
        }
        Ok(self)
    }

    /// Checks the invariants that [`Manifest::from_json`] requires. Also called before writing,
    /// so that an unreadable manifest is never written.
    ///
    /// # Errors
    /// If the version is newer, no account or an empty handle is listed, a file name or chunk
    /// count is invalid, or a check is empty or inconsistent.
    pub fn validate(&self) -> Result<(), ManifestError> {
        if self.format_version > FORMAT_VERSION {
            return Err(ManifestError::Version { found: self.format_version });
        }
        if self.info.handles.is_empty() {
            return Err(ManifestError::NoHandle);
        }
        if self.info.handles.iter().any(|handle| is_empty_handle(handle)) {
            return Err(ManifestError::EmptyHandle);
        }
        for (name, file) in &self.files {
            // `bot.json` cannot contain its own digest.
            if !is_plain_name(name) || name.eq_ignore_ascii_case(BOT) {
                return Err(ManifestError::FileName { name: name.clone() });
            }
            let expected = file.size.div_ceil(CHUNK_BYTES as u64);
            if file.chunks.len() as u64 != expected {
                return Err(ManifestError::Chunks {
                    name: name.clone(),
                    found: file.chunks.len(),
                    expected,
                    size: file.size,
                });
            }
        }
        for (name, check) in &self.checks {
            // An empty check would pass for any engine.
            let empty = check.prompt_ids.is_empty() || check.token_ids.is_empty();
            if empty || check.token_ids.len() != check.logits.len() {
                return Err(ManifestError::Check {
                    name: name.clone(),
                    ids: check.token_ids.len(),
                    logits: check.logits.len(),
                });
            }
        }
        Ok(())
    }

    /// Returns pretty-printed JSON with a trailing newline.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }
}

/// Returns whether a handle is empty apart from `@` and whitespace.
pub fn is_empty_handle(handle: &str) -> bool {
    handle.trim().trim_start_matches('@').trim().is_empty()
}

impl BotInfo {
    /// Returns the bot's name in URLs and titles: sorted handles joined by `-`.
    pub fn slug(&self) -> String {
        let mut handles = self.handles.clone();
        handles.sort();
        handles.join("-")
    }

    /// Returns the default number of drafts: ten, as in the original, for a bot trained with the
    /// classic recipe, else five.
    pub fn drafts(&self) -> usize {
        if self.provenance.recipe.as_deref() == Some("classic") { 10 } else { 5 }
    }

    /// Returns `AI BOT 🤖`, or `AI CYBORG 🤖` for several accounts, as on the original's card.
    pub fn label(&self) -> &'static str {
        if self.handles.len() > 1 { "AI CYBORG 🤖" } else { "AI BOT 🤖" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_reads_all_but_the_card() {
        let json = include_bytes!("../../model-card/demo/bot.json");
        let manifest = Manifest::from_json(json).unwrap();
        assert!(manifest.card.is_some());
        assert_eq!(Manifest::without_card(json).unwrap(), Manifest { card: None, ..manifest });
        let newer = br#"{"format_version": 99, "name": "n", "handles": ["a"], "files": {}, "checks": {}}"#;
        assert!(matches!(Manifest::without_card(newer), Err(ManifestError::Version { found: 99 })));
    }

    /// Otherwise every bot made before would fail as one whose numbers are wrong.
    #[test]
    fn checks_of_version_1_are_ignored() {
        let version = |version: u32| {
            let mut json: serde_json::Value =
                serde_json::from_slice(include_bytes!("../../model-card/demo/bot.json")).unwrap();
            json["format_version"] = version.into();
            [Manifest::from_json, Manifest::without_card]
                .map(|read| read(json.to_string().as_bytes()).unwrap())
        };
        for manifest in version(1) {
            assert!(manifest.checks.is_empty());
            assert_eq!(manifest.format_version, FORMAT_VERSION);
        }
        for manifest in version(2) {
            assert_eq!(manifest.checks.len(), 2);
        }
    }

    #[test]
    fn a_check_that_checks_nothing_is_refused() {
        let with = |ids: &[u32], logits: &[f32], prompt_ids: &[u32]| {
            let check = LogitsCheck {
                prompt: String::new(),
                prompt_ids: prompt_ids.into(),
                token_ids: ids.into(),
                logits: logits.into(),
            };
            let manifest = Manifest {
                format_version: FORMAT_VERSION,
                info: BotInfo { handles: vec!["a".into()], ..BotInfo::default() },
                files: BTreeMap::new(),
                checks: BTreeMap::from([("model-q8_0.gguf".into(), check)]),
                card: None,
            };
            Manifest::from_json(manifest.to_json().as_bytes())
        };
        assert!(with(&[3], &[0.5], &[0]).is_ok());
        for refused in [with(&[], &[], &[0]), with(&[3], &[0.5], &[]), with(&[3], &[], &[0])] {
            assert!(matches!(refused, Err(ManifestError::Check { .. })), "{refused:?}");
        }
    }

    fn parse(files: serde_json::Value, handles: serde_json::Value) -> Result<Manifest, ManifestError> {
        let json = serde_json::json!({
            "format_version": 1, "name": "n", "handles": handles, "checks": {}, "files": files,
        });
        Manifest::from_json(json.to_string().as_bytes())
    }

    #[test]
    fn names_that_are_no_files_of_a_bundle_are_refused() {
        let with = |name: &str| {
            let entry = serde_json::json!({ "size": 0, "sha256": "", "chunks": [] });
            parse(serde_json::json!({ name: entry }), serde_json::json!(["a"]))
        };
        for name in ["model-q8_0.gguf", "a b.txt", "灯台.png"] {
            assert!(with(name).is_ok(), "{name}");
        }
        for name in
            ["", ".git", "../x", "a/b", "a\\b", "C:x", "a?b", "a#b", "a%b", "a\u{1b}[2J", "a\nb", "a\u{9b}b"]
        {
            let error = with(name).unwrap_err();
            assert!(matches!(error, ManifestError::FileName { .. }), "{error}");
            assert!(!error.to_string().contains(char::is_control), "{error:?}");
        }
        assert!(matches!(with("bot.json"), Err(ManifestError::FileName { .. })));
    }

    #[test]
    fn an_account_has_a_handle() {
        let with = |handles: &[&str]| parse(serde_json::json!({}), serde_json::json!(handles));
        assert!(with(&["a", "b@c.example"]).is_ok());
        assert!(matches!(with(&[]), Err(ManifestError::NoHandle)));
        for empty in ["", "@", " ", "@ "] {
            assert!(matches!(with(&["a", empty]), Err(ManifestError::EmptyHandle)), "{empty:?}");
        }
    }
}
