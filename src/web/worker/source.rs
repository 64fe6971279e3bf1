//! Where a bot's weights are, and what `bot.json` says about them.

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
    web::{channel::field, protocol::LoadRequest},
};

/// Limit for a description; the demo's has 22 kB.
const MAX_DESCRIPTION_BYTES: u64 = 16 << 20;

/// A `bot.json` that the page's scripts have already fetched.
pub struct Description {
    url: String,
    json: String,
}

impl Description {
    /// From `{ url, json }`.
    pub fn from_js(described: &JsValue) -> Option<Self> {
        let text = |name: &str| field(described, name)?.as_string();
        Some(Self { url: text("url")?, json: text("json")? })
    }
}

/// A bot's weights: their address and description.
pub struct Source {
    /// Absolute URL of the GGUF.
    pub weights_url: String,
    /// The file's name, for messages.
    pub file: String,
    /// `None` for a GGUF with its own URL: there is nothing to verify it against.
    manifest: Option<Manifest>,
    /// The visitor's own file, which need not be stored.
    pub is_local: bool,
}

impl Source {
    /// Takes a `.gguf` URL as it is; otherwise reads the folder's `bot.json`, from `described` if
    /// that is it, and without a network from the last visit.
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
        let manifest = Manifest::without_card(&json)?;
        let file = precision.file_name();
        if !manifest.files.contains_key(file) {
            let available = Precision::ALL.into_iter().filter(|p| *p != Precision::F32);
            let available: Vec<_> = available
                .filter(|p| manifest.files.contains_key(p.file_name()))
                .map(|p| format!("?precision={p}"))
                .collect();
            return Err(match available.is_empty() {
                true => WorkerError::NoWeights,
                false => WorkerError::NoSuchPrecision { file: file.into(), available },
            });
        }
        if !is_local {
            // The weights need not wait for this.
            spawn_local(async move { remember_description(&manifest_url, &json).await });
        }
        Ok(Self { weights_url: in_folder(file), file: file.into(), manifest: Some(manifest), is_local })
    }

    /// The bot's identity, if it is known before the weights are loaded.
    pub fn info(&self) -> Option<&BotInfo> {
        self.manifest.as_ref().map(|m| &m.info)
    }

    /// For a GGUF without a description: the name inside the file, else the file's name.
    pub fn info_from_name(&self, general_name: Option<&str>) -> BotInfo {
        let stem = self.file.get(..self.file.len().saturating_sub(".gguf".len())).unwrap_or(&self.file);
        let name = general_name.map(str::trim).filter(|n| !n.is_empty()).unwrap_or(stem);
        BotInfo { name: name.into(), ..BotInfo::default() }
    }

    /// The known prompt for this file and its logits.
    pub fn check(&self) -> Option<&LogitsCheck> {
        self.manifest.as_ref()?.checks.get(&self.file)
    }

    /// Identifies this file alone; for a GGUF without a description, its address.
    pub fn identity(&self) -> String {
        match self.entry() {
            Some(entry) => {
                let separator = if self.weights_url.contains('?') { '&' } else { '?' };
                format!("{}{separator}sha256={}", self.weights_url, entry.sha256)
            }
            None => self.weights_url.clone(),
        }
    }

    /// SHA-256 of the weights, from `bot.json`.
    pub fn sha256(&self) -> Option<&str> {
        self.entry().map(|entry| entry.sha256.as_str())
    }

    /// Size and digests of the weights.
    pub fn entry(&self) -> Option<&FileEntry> {
        self.manifest.as_ref()?.files.get(&self.file)
    }
}

/// Fetches a `bot.json`; without a network, the last visit's.
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
        if json.len() as u64 > MAX_DESCRIPTION_BYTES {
            return Err(WorkerError::LongDescription { limit_bytes: MAX_DESCRIPTION_BYTES });
        }
    }
    Ok(json)
}
