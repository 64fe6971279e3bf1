//! `config.json`: everything that decided a run, and where it came from.

use std::{collections::BTreeMap, fs::File, io, path::Path};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Machine, RecordError};
use crate::bundle::{
    digest::{Digester, digest},
    folder::folder_name,
    manifest::{AccountCounts, FileEntry},
};

/// The version of the run's folder this program writes, and the newest it reads.
pub const RUN_FORMAT: u32 = 1;

/// The whole of `config.json`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RunConfig {
    /// `RUN_FORMAT`; its presence tells a run's folder from a bot's.
    #[serde(rename = "run_format_version")]
    pub format_version: u32,
    /// Tells this run from every other: lower-case letters and digits. Made by
    /// the recorder where it is empty.
    #[serde(default)]
    pub id: String,
    /// The run's name: its bot's slug, as a rule.
    pub name: String,
    /// `classic` or `modern`.
    pub recipe: String,
    /// The command line, with file names alone.
    pub command: String,
    pub seed: u64,
    /// Seconds since 1970-01-01 UTC.
    pub started_unix_s: u64,
    /// Absent while the run goes on, and after it was killed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_unix_s: Option<u64>,
    /// Why the run broke off, where it could still say so; it may be gone on with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub broken_off: Option<String>,
    /// Every other knob by its name, as the loop's settings serialise.
    pub hyper_parameters: BTreeMap<String, Value>,
    #[serde(default)]
    pub accounts: Vec<AccountCounts>,
    #[serde(default)]
    pub dataset: DatasetCounts,
    /// Of the network.
    #[serde(default)]
    pub parameters: u64,
    #[serde(default)]
    pub versions: Versions,
    #[serde(default)]
    pub machine: Machine,
    #[serde(default)]
    pub lineage: Lineage,
}

/// What the archives came to.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct DatasetCounts {
    /// Posts that are trained on, each counted once.
    pub train_posts: usize,
    /// Posts held out.
    pub validation_posts: usize,
    /// The accounts' own posts that filters refused, and duplicates.
    pub left_out_posts: usize,
    /// Of the training text, all epochs.
    pub train_tokens: u64,
    pub validation_tokens: u64,
}

/// Programs that made the run.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Versions {
    pub huggingtweets: String,
    pub candle: String,
    /// The compiler that built the command.
    pub rustc: String,
}

impl Versions {
    /// Those of this build.
    pub fn of_this_build() -> Self {
        Self {
            huggingtweets: env!("CARGO_PKG_VERSION").into(),
            candle: env!("HUGGINGTWEETS_CANDLE").into(),
            rustc: env!("HUGGINGTWEETS_RUSTC").into(),
        }
    }
}

/// Raw archives -> training text (+ base) -> model.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Lineage {
    pub archives: Vec<Artifact>,
    pub dataset: Artifact,
    pub base: Artifact,
    /// The weights that the run came to; absent until it has ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output: Option<Artifact>,
}

/// Something that went into a run or came out of it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Artifact {
    /// A file's or a folder's own name, or a repository's; never a path.
    pub name: String,
    /// Lower-case hex; absent where there are no bytes, as for a network that
    /// its seed makes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_bytes: Option<u64>,
}

impl Artifact {
    /// Something that has a name alone.
    pub fn named(name: &str) -> Self {
        Self { name: name.into(), sha256: None, size_bytes: None }
    }

    /// Bytes at hand, the training text for example.
    pub fn of_bytes(name: &str, bytes: &[u8]) -> Self {
        let mut digester = Digester::new();
        digester.push(bytes);
        Self::of_entry(name, &digester.finish())
    }

    /// A file that `bot.json` describes.
    pub fn of_entry(name: &str, entry: &FileEntry) -> Self {
        Self { name: name.into(), sha256: Some(entry.sha256.clone()), size_bytes: Some(entry.size) }
    }

    /// A file.
    ///
    /// # Errors
    /// [`RecordError::Io`] where it cannot be read.
    pub fn of_file(path: &Path) -> Result<Self, RecordError> {
        Ok(Self::of_entry(&folder_name(path), &entry_of(path)?))
    }

    /// Some files of a folder, by their paths within. The digest is that of their
    /// listing as `sha256sum` prints it: `<digest>  <path within>` a line, in this order.
    ///
    /// # Errors
    /// [`RecordError::Io`] where one cannot be read.
    pub fn of_files(folder: &Path, files: &[String]) -> Result<Self, RecordError> {
        let (mut listing, mut size_bytes) = (String::new(), 0);
        for file in files {
            let entry = entry_of(&folder.join(file))?;
            size_bytes += entry.size;
            listing.push_str(&format!("{}  {file}\n", entry.sha256));
        }
        Ok(Self { size_bytes: Some(size_bytes), ..Self::of_bytes(&folder_name(folder), listing.as_bytes()) })
    }
}

fn entry_of(path: &Path) -> Result<FileEntry, RecordError> {
    File::open(path).and_then(|file| digest(io::BufReader::new(file))).map_err(RecordError::io(path))
}

/// Digits of [`RunConfig::id`].
const ID_DIGITS: usize = 8;

impl RunConfig {
    /// An id from all that is known of the run and where and when it began.
    pub(super) fn fresh_id(&self, dir: &Path, unix_s: f64) -> String {
        let text = format!("{self:?} {} {unix_s} {}", dir.display(), std::process::id());
        let mut id = Artifact::of_bytes("", text.as_bytes()).sha256.unwrap_or_default();
        id.truncate(ID_DIGITS);
        id
    }

    /// Takes a settings struct's fields as the hyper-parameters.
    ///
    /// # Errors
    /// Where it does not serialise as an object.
    pub fn set_hyper_parameters(&mut self, settings: &impl Serialize) -> Result<(), serde_json::Error> {
        self.hyper_parameters = serde_json::from_value(serde_json::to_value(settings)?)?;
        Ok(())
    }
}
