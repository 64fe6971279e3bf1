//! `bot.json`: what a bot is, and how to check every byte of it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// The version this program writes, and the newest it reads.
pub const FORMAT_VERSION: u32 = 1;

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
}

/// Who the bot imitates and how it was made; everything the card and the
/// page's header say.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct BotInfo {
    /// Display names joined by ` & `, in input order.
    pub name: String,
    /// Account handles without `@`, in input order; never empty.
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

/// One file's size and digests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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

/// Why a `bot.json` was refused.
#[derive(Debug, Error)]
pub enum ManifestError {
    #[error("bot.json is not a bot's description: {0}")]
    Json(#[from] serde_json::Error),
    #[error("bot.json has format version {found}, newer than {FORMAT_VERSION}: update huggingtweets")]
    Version { found: u32 },
    #[error("bot.json names the file `{name}`, which is no plain file name")]
    FileName { name: String },
    #[error("bot.json: `{name}` has {found} chunk digests for {size} bytes, {expected} expected")]
    Chunks { name: String, found: usize, expected: u64, size: u64 },
    #[error("bot.json: the check of `{name}` lists {ids} ids and {logits} logits")]
    Check { name: String, ids: usize, logits: usize },
    #[error("bot.json names no account")]
    NoHandle,
}

impl Manifest {
    /// Parses and validates a `bot.json`.
    pub fn from_json(bytes: &[u8]) -> Result<Self, ManifestError> {
        let manifest: Self = serde_json::from_slice(bytes)?;
        if manifest.format_version > FORMAT_VERSION {
            return Err(ManifestError::Version { found: manifest.format_version });
        }
        if manifest.info.handles.is_empty() {
            return Err(ManifestError::NoHandle);
        }
        for (name, file) in &manifest.files {
            if name.is_empty() || name.starts_with('.') || name.contains(['/', '\\', '\0', ':', '?', '#', '%']) {
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
        for (name, check) in &manifest.checks {
            if check.token_ids.len() != check.logits.len() || check.prompt_ids.is_empty() {
                return Err(ManifestError::Check {
                    name: name.clone(),
                    ids: check.token_ids.len(),
                    logits: check.logits.len(),
                });
            }
        }
        Ok(manifest)
    }

    /// Pretty JSON, one trailing newline.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }
}

impl LogitsCheck {
    /// How many of the largest logits a check lists.
    pub const LARGEST: usize = 32;
    /// How many logits a check lists in all, where the vocabulary has as many.
    pub const LISTED: usize = 256;

    /// Chooses which of the V `logits` that follow the prompt to keep.
    pub fn select(prompt: &str, prompt_ids: &[u32], logits: &[f32]) -> Self {
        let vocab_size = logits.len();
        let mut by_size: Vec<usize> = (0..vocab_size).collect();
        by_size.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(a.cmp(&b)));
        let mut chosen: BTreeSet<usize> = by_size.iter().copied().take(Self::LARGEST).collect();
        // Evenly spaced ones, then, where some of those were chosen already,
        // the largest that remain.
        let spaced = Self::LISTED.saturating_sub(chosen.len()).max(1);
        chosen.extend((0..spaced).map(|i| i * vocab_size / spaced).filter(|&id| id < vocab_size));
        for id in by_size {
            if chosen.len() >= Self::LISTED {
                break;
            }
            chosen.insert(id);
        }
        Self {
            prompt: prompt.to_owned(),
            prompt_ids: prompt_ids.to_vec(),
            token_ids: chosen.iter().map(|&id| id as u32).collect(),
            logits: chosen.iter().map(|&id| logits[id]).collect(),
        }
    }
}

impl BotInfo {
    /// The bot's name in URLs and titles: handles sorted and joined by `-`.
    pub fn slug(&self) -> String {
        let mut handles = self.handles.clone();
        handles.sort();
        handles.join("-")
    }

    /// `AI BOT`, or `CYBORG` for several accounts, as on the original's card.
    pub fn label(&self) -> &'static str {
        if self.handles.len() > 1 { "AI CYBORG 🤖" } else { "AI BOT 🤖" }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn manifest() -> Manifest {
        let entry = FileEntry { size: 3, sha256: "00".repeat(32), chunks: vec!["00".repeat(32)] };
        Manifest {
            format_version: FORMAT_VERSION,
            info: BotInfo { name: "A".into(), handles: vec!["a".into()], ..BotInfo::default() },
            files: BTreeMap::from([("config.json".into(), entry)]),
            checks: BTreeMap::from([("model-q8_0.gguf".into(), LogitsCheck::select("x", &[1], &[0.5, -1.0, 2.0]))]),
        }
    }

    #[test]
    fn a_manifest_survives_the_round_trip() {
        assert_eq!(Manifest::from_json(manifest().to_json().as_bytes()).unwrap(), manifest());
    }

    #[test]
    fn file_names_that_lead_elsewhere_are_refused() {
        for name in ["../x", "a/b", "", ".hidden", "https:x", "a?b"] {
            let mut manifest = manifest();
            let entry = manifest.files.remove("config.json").unwrap();
            manifest.files.insert(name.into(), entry);
            let error = Manifest::from_json(manifest.to_json().as_bytes()).unwrap_err();
            assert!(matches!(error, ManifestError::FileName { .. }), "{name}: {error}");
        }
    }

    #[test]
    fn a_check_lists_the_largest_and_evenly_spaced_logits() {
        let logits: Vec<f32> = (0..50257u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 8) as f32).collect();
        let check = LogitsCheck::select("x", &[1], &logits);
        assert_eq!(check.token_ids.len(), LogitsCheck::LISTED);
        assert!(check.token_ids.is_sorted_by(|a, b| a < b));
        let mut sorted = logits.clone();
        sorted.sort_by(f32::total_cmp);
        assert!(sorted[50257 - LogitsCheck::LARGEST..].iter().all(|x| check.logits.contains(x)));
        assert!(check.token_ids.windows(2).all(|w| w[1] - w[0] < 300), "the whole vocabulary is covered");
        assert_eq!(LogitsCheck::select("x", &[1], &[1.0; 100]).token_ids.len(), 100);
        assert_eq!(LogitsCheck::select("x", &[1], &[1.0; 512]).token_ids.len(), 256);
    }

    proptest! {
        #[test]
        fn arbitrary_and_damaged_bytes_are_no_panic(
            bytes in proptest::collection::vec(any::<u8>(), 0..100),
            at in any::<prop::sample::Index>(),
            byte in any::<u8>(),
        ) {
            let _ = Manifest::from_json(&bytes);
            let mut damaged = manifest().to_json().into_bytes();
            let at = at.index(damaged.len());
            damaged[at] = byte;
            let _ = Manifest::from_json(&damaged);
        }
    }
}
