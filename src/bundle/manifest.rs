//! `bot.json`: what a bot is, and how to check every byte of it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The version this program writes, and the newest it reads.
pub const FORMAT_VERSION: u32 = 1;

/// Tokens of prompt and draft together that a bot makes by default, where it has as
/// many positions: the original's.
pub const DEFAULT_MAX_TOKENS: usize = 160;

/// Bytes of a file that one entry of [`FileEntry::chunks`] covers.
pub const CHUNK_BYTES: usize = 4 << 20;

/// The whole of `bot.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub format_version: u32,
    #[serde(flatten)]
    pub info: BotInfo,
    /// File name in the bundle -> size and digests. `bot.json` itself is absent.
    pub files: BTreeMap<String, FileEntry>,
    /// GGUF file name -> a prompt and the logits it must give.
    pub checks: BTreeMap<String, LogitsCheck>,
    /// What the card shows beyond `info`; kept here so that the card can be
    /// written again without making its drafts again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub card: Option<CardExtras>,
}

/// Who the bot imitates and how it was made; everything the card and the
/// page's header say.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct BotInfo {
    /// Display names joined by ` & `, in input order.
    pub name: String,
    /// Account handles without the leading `@`, in input order; never empty. Mastodon's are
    /// `user@server`.
    pub handles: Vec<String>,
    /// One row an account, in the order of `handles`.
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
    /// Posts that the run's filters left out: neither retweets, short nor kept.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub filtered_out: usize,
    /// What most kept posts are written in (ISO 639), where the archive says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
}

fn is_zero(count: &usize) -> bool {
    *count == 0
}

/// How the weights came to be. Absent fields are unknown (a converted bot).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Provenance {
    /// Program and version, `huggingtweets 0.1.0`.
    pub made_with: String,
    /// What training started from: `gpt2`, a repository, `scratch`, or a folder's own name.
    pub base: Option<String>,
    /// The command line, with no path of the machine in it.
    pub command: Option<String>,
    pub seed: Option<u64>,
    pub epochs: Option<usize>,
    pub steps: Option<usize>,
    pub learning_rate: Option<f64>,
    pub batch: Option<usize>,
    /// `classic` (the original to the letter) or `modern`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipe: Option<String>,
    /// Tokens a training block.
    pub context: Option<usize>,
    /// Tokens seen in training, all epochs.
    pub train_tokens: Option<u64>,
    pub train_seconds: Option<f64>,
    /// Mean loss of the first and the last steps, nats a token.
    pub first_loss: Option<f64>,
    pub final_loss: Option<f64>,
    pub parameters: Option<u64>,
    /// Seconds since 1970-01-01 UTC.
    pub created_unix_s: Option<u64>,
}

/// What a card shows beyond [`BotInfo`]. Everything is optional.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct CardExtras {
    /// Where the bot's page stands, ending in `/`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page_url: Option<String>,
    /// The repository on the Hub, `owner/name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repository: Option<String>,
    /// ISO 639 code of the posts' language; absent: what the accounts' archives
    /// say, and else none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub language: Option<String>,
    /// The Hub's name of the weights' license.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub license: Option<String>,
    /// Drafts to show, unedited.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub samples: Vec<Sample>,
    /// How many drafts are word for word one of the accounts' posts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verbatim: Option<VerbatimShare>,
    /// Perplexity on posts that were held out of training, a row a precision.
    #[serde(alias = "perplexities", skip_serializing_if = "Vec::is_empty")]
    pub held_out_perplexity: Vec<PrecisionPerplexity>,
    /// On how many of these posts it was measured, taken evenly from all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub perplexity_posts: Option<usize>,
    /// What the run followed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipe: Option<Recipe>,
    /// Settings beyond [`Provenance`]'s, as rows (name, value) of the card's table.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hyper_parameters: Vec<(String, String)>,
    /// Mean loss on held-out posts, nats a token, at steps of the run in rising order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub validation: Vec<(u64, f64)>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memorisation: Option<Memorisation>,
    /// What else was measured, a sentence each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// A named way of training.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Recipe {
    /// `classic` or `modern`.
    pub name: String,
    /// Where it differs from the original's, a sentence each.
    #[serde(default)]
    pub differences: Vec<String>,
}

/// How many drafts repeat a long piece of a training post.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Memorisation {
    /// A draft counts if it has more than so many words in a row from one post.
    pub n_words: usize,
    /// Of the drafts, 0 to 1.
    pub share: f64,
    pub drafts: usize,
}

/// The drafts of one prompt, each whole, the prompt included.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Sample {
    pub prompt: String,
    pub drafts: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
}

/// Of `drafts` drafts made with `seed`, `verbatim` stand among the posts of the bot's
/// archives, held-out ones included.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerbatimShare {
    pub drafts: usize,
    pub verbatim: usize,
    pub seed: u64,
}

/// Perplexity at one precision (`f32`, `q8_0`, `q4_0`), exp of nats a token.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PrecisionPerplexity {
    pub precision: String,
    pub perplexity: f64,
}

/// One file's size and digests.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct FileEntry {
    pub size: u64,
    /// SHA-256 of the whole file, lower-case hex.
    pub sha256: String,
    /// SHA-256 of each [`CHUNK_BYTES`] piece, the last one shorter.
    pub chunks: Vec<String>,
}

/// A known prompt and some of the logits that follow it, for an engine to
/// check itself against. Not all V logits: at V = 50257 they would outweigh
/// the rest of the file a hundred times.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LogitsCheck {
    pub prompt: String,
    pub prompt_ids: Vec<u32>,
    /// Which logits of the last position are listed: the 32 largest, then
    /// evenly spaced ones, ascending and without repeats.
    pub token_ids: Vec<u32>,
    /// Their values from the CPU engine at this file's precision.
    pub logits: Vec<f32>,
}

/// Logits listed in a check.
const CHECKED_LOGITS: usize = 256;
/// Of these, the largest.
const CHECKED_LARGEST: usize = 32;

impl LogitsCheck {
    /// Chooses which of the logits (V) after `prompt_ids` to list.
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

/// Why a `bot.json` was refused.
#[derive(Debug, Error)]
pub enum ManifestError {
    #[error("bot.json is not a bot's description: {0}")]
    Json(#[from] serde_json::Error),
    #[error("bot.json has format version {found}, newer than {FORMAT_VERSION}: update huggingtweets")]
    Version { found: u32 },
    #[error("bot.json names the file `{}`, which is no plain file name", name.escape_debug())]
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

/// Whether this can be the name of a bundle's file on every disk, in an address and in a
/// terminal: nothing hidden, no path, no part of an address, no control character.
pub fn is_plain_name(name: &str) -> bool {
    let is_refused = |c: char| c.is_control() || ['/', '\\', ':', '?', '#', '%'].contains(&c);
    !name.is_empty() && !name.starts_with('.') && !name.contains(is_refused)
}

impl Manifest {
    /// Parses and validates a `bot.json`.
    ///
    /// # Errors
    /// [`ManifestError`]: no JSON, of a newer version, or with entries that cannot be.
    pub fn from_json(bytes: &[u8]) -> Result<Self, ManifestError> {
        let manifest: Self = serde_json::from_slice(bytes)?;
        manifest.validate()?;
        Ok(manifest)
    }

    /// What [`Manifest::from_json`] asks of one: also before it is written, so that none is
    /// that cannot be read.
    ///
    /// # Errors
    /// As there.
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
            // It cannot hold its own digest.
            if !is_plain_name(name) || name.eq_ignore_ascii_case("bot.json") {
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
            // One that lists nothing would pass any engine.
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

    /// Pretty JSON, one trailing newline.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }
}

/// Whether nothing is left of a handle without its `@`.
pub fn is_empty_handle(handle: &str) -> bool {
    handle.trim().trim_start_matches('@').trim().is_empty()
}

impl BotInfo {
    /// The bot's name in URLs and titles: handles sorted and joined by `-`.
    pub fn slug(&self) -> String {
        let mut handles = self.handles.clone();
        handles.sort();
        handles.join("-")
    }

    /// Drafts made where nobody says how many: the original's ten for a bot that
    /// was trained as it did, else five.
    pub fn drafts(&self) -> usize {
        if self.provenance.recipe.as_deref() == Some("classic") { 10 } else { 5 }
    }

    /// `AI BOT`, or `CYBORG` for several accounts, as on the original's card.
    pub fn label(&self) -> &'static str {
        if self.handles.len() > 1 { "AI CYBORG 🤖" } else { "AI BOT 🤖" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
