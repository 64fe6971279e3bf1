//! Where a bot's weights are, and what `bot.json` says of them.

use wasm_bindgen::JsValue;
use wasm_bindgen_futures::spawn_local;
use web_sys::{RequestCache, Url};

use super::{
    failure::WorkerError,
    storage::{remember_description, remembered_description},
    transport::{Pieces, get},
};
use crate::{
    bundle::{
        Manifest, Precision,
        manifest::{BotInfo, FileEntry, LogitsCheck},
    },
    web::{protocol::LoadRequest, wire::field},
};

/// A description beyond this is none: the demo's has 22 kB.
const MOST_DESCRIPTION_BYTES: u64 = 16 << 20;

/// A `bot.json` that the page's scripts have already fetched.
pub struct Description {
    url: String,
    json: String,
}

impl Description {
    /// Of `{ url, json }`.
    pub fn from_js(described: &JsValue) -> Option<Self> {
        let text = |name: &str| field(described, name)?.as_string();
        Some(Self { url: text("url")?, json: text("json")? })
    }
}

/// A bot's weights, known by their address.
pub struct Source {
    /// Absolute URL of the GGUF.
    pub weights_url: String,
    /// Its name, for sentences.
    pub file: String,
    /// `None` for a GGUF by its own URL: nothing to check it against.
    manifest: Option<Manifest>,
    /// The visitor's own file: there is no need to keep it.
    pub is_local: bool,
}

impl Source {
    /// Reads a folder's `bot.json` (or takes it from `described`, or from the
    /// last visit where there is no network), or takes a `.gguf` URL as it is.
    pub async fn resolve(request: &LoadRequest, described: Option<Description>) -> Result<Self, WorkerError> {
        let (model, precision) = (request.model.as_str(), request.precision);
        let is_local = !request.files.is_empty();
        let bad_address = || WorkerError::Address { url: model.into() };
        let url = Url::new(model).map_err(|_| bad_address())?;
        if !matches!(url.protocol().as_str(), "http:" | "https:") {
            return Err(bad_address());
        }
        let path = url.pathname();
        if path.to_ascii_lowercase().ends_with(".gguf") {
            let file = path.rsplit('/').next().unwrap_or_default().to_owned();
            let weights_url = request.files.get(&file).cloned().unwrap_or_else(|| url.href());
            return Ok(Self { weights_url, file, manifest: None, is_local });
        }
        let folder = path.strip_suffix("bot.json").unwrap_or(&path);
        let folder = folder.trim_end_matches('/').to_owned();
        let in_folder = |file: &str| {
            if let Some(given) = request.files.get(file) {
                return given.clone();
            }
            url.set_pathname(&format!("{folder}/{file}"));
            url.href()
        };
        let manifest_url = in_folder("bot.json");
        let json = match described.filter(|described| described.url == manifest_url) {
            Some(described) => described.json.into_bytes(),
            None => description(&manifest_url).await?,
        };
        let manifest = Manifest::from_json(&json)?;
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
        if !is_local {
            // The weights need not wait for it.
            spawn_local(async move { remember_description(&manifest_url, &json).await });
        }
        Ok(Self { weights_url: in_folder(file), file: file.into(), manifest: Some(manifest), is_local })
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

    /// Tells this file and no other; for a GGUF alone, its address.
    pub fn identity(&self) -> String {
        match self.entry() {
            Some(entry) => {
                let separator = if self.weights_url.contains('?') { '&' } else { '?' };
                format!("{}{separator}sha256={}", self.weights_url, entry.sha256)
            }
            None => self.weights_url.clone(),
        }
    }

    /// Digest of the weights, as `bot.json` has it.
    pub fn sha256(&self) -> Option<&str> {
        self.entry().map(|entry| entry.sha256.as_str())
    }

    /// Size and digests of the weights.
    pub fn entry(&self) -> Option<&FileEntry> {
        self.manifest.as_ref()?.files.get(&self.file)
    }
}

/// The bytes of a `bot.json`.
async fn description(url: &str) -> Result<Vec<u8>, WorkerError> {
    let response = match get(url, None, RequestCache::NoCache).await {
        Ok(response) => response,
        Err(error @ WorkerError::Unreachable { .. }) => {
            return remembered_description(url).await.ok_or(error);
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
    Ok(json)
}
