//! Where a bot's weights are, and what `bot.json` says of them.

use web_sys::{RequestCache, Url};

use super::{
    failure::WorkerError,
    storage::{remember_description, remembered_description},
    transport::{Pieces, get},
};
use crate::bundle::{
    Manifest, Precision,
    manifest::{BotInfo, FileEntry, LogitsCheck},
};

/// A description beyond this is none: the demo's has 22 kB.
const MOST_DESCRIPTION_BYTES: u64 = 16 << 20;

/// A `bot.json` that the page's scripts have already fetched.
#[derive(Debug, Clone)]
pub struct Description {
    pub url: String,
    pub json: String,
}

/// A bot's weights, known by their address.
pub struct Source {
    /// Absolute URL of the GGUF.
    pub weights_url: String,
    /// Its name, for sentences.
    pub file: String,
    /// `None` for a GGUF by its own URL: nothing to check it against.
    manifest: Option<Manifest>,
}

impl Source {
    /// Reads a folder's `bot.json` (or takes it from `described`, or from the
    /// last visit where there is no network), or takes a `.gguf` URL as it is.
    pub async fn resolve(
        model: &str,
        precision: Precision,
        described: Option<Description>,
    ) -> Result<Self, WorkerError> {
        let bad_address = || WorkerError::Address { url: model.into() };
        let url = Url::new(model).map_err(|_| bad_address())?;
        if !matches!(url.protocol().as_str(), "http:" | "https:") {
            return Err(bad_address());
        }
        let path = url.pathname();
        if path.to_ascii_lowercase().ends_with(".gguf") {
            let file = path.rsplit('/').next().unwrap_or_default().to_owned();
            return Ok(Self { weights_url: url.href(), file, manifest: None });
        }
        let folder = path.strip_suffix("bot.json").unwrap_or(&path);
        let folder = folder.trim_end_matches('/').to_owned();
        let in_folder = |file: &str| {
            url.set_pathname(&format!("{folder}/{file}"));
            url.href()
        };
        let manifest_url = in_folder("bot.json");
        let manifest = match described.filter(|described| described.url == manifest_url) {
            Some(described) => Manifest::from_json(described.json.as_bytes())?,
            None => manifest(&manifest_url).await?,
        };
        let file = precision.file_name();
        if !manifest.files.contains_key(file) {
            let available = Precision::ALL.into_iter().filter(|p| *p != Precision::F32);
            let available: Vec<_> = available
                .filter(|p| manifest.files.contains_key(p.file_name()))
                .map(|p| format!("?precision={p}"))
                .collect();
            let available = match available.is_empty() {
                true => "no weights for browsers (huggingtweets convert makes them)".into(),
                false => available.join(", "),
            };
            return Err(WorkerError::NoSuchPrecision { file: file.into(), available });
        }
        remember_description(&manifest_url, manifest.to_json().as_bytes()).await;
        Ok(Self { weights_url: in_folder(file), file: file.into(), manifest: Some(manifest) })
    }

    /// Who the bot is, where that is known before its weights are here.
    pub fn info(&self) -> Option<&BotInfo> {
        self.manifest.as_ref().map(|m| &m.info)
    }

    /// For a GGUF alone: its own name, else its file's.
    pub fn info_from_name(&self, general_name: Option<&str>) -> BotInfo {
        let stem = self.file.get(..self.file.len().saturating_sub(".gguf".len())).unwrap_or(&self.file);
        let name = general_name.map(str::trim).filter(|n| !n.is_empty()).unwrap_or(stem);
        BotInfo { name: name.into(), ..BotInfo::default() }
    }

    /// The known prompt for this file.
    pub fn check(&self) -> Option<&LogitsCheck> {
        self.manifest.as_ref()?.checks.get(&self.file)
    }

    /// Size and digests of the weights.
    pub fn entry(&self) -> Option<&FileEntry> {
        self.manifest.as_ref()?.files.get(&self.file)
    }
}

async fn manifest(url: &str) -> Result<Manifest, WorkerError> {
    let response = match get(url, None, RequestCache::NoCache).await {
        Ok(response) => response,
        Err(error @ WorkerError::Unreachable { .. }) => {
            let kept = remembered_description(url).await.ok_or(error)?;
            return Ok(Manifest::from_json(&kept)?);
        }
        Err(error) => return Err(error),
    };
    let mut pieces = Pieces::of(&response)?;
    let mut json = Vec::new();
    while let Some(piece) = pieces.next().await.map_err(|_| WorkerError::Unreachable { url: url.into() })? {
        json.extend(piece.to_vec());
        if json.len() as u64 > MOST_DESCRIPTION_BYTES {
            return Err(WorkerError::TooLong { file: "bot.json".into(), expected: MOST_DESCRIPTION_BYTES });
        }
    }
    Ok(Manifest::from_json(&json)?)
}
