//! Downloads a GPT-2 from the Hugging Face Hub into the cache shared with other Hub clients, where
//! their environment variables place it (`Places`).
//!
//! Cached files are verified against their digests and used without a network request.
//! [`upload`] handles the opposite direction.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    io,
    path::{Path, PathBuf},
};

use thiserror::Error;

use super::{
    checkpoint::{self, CheckpointError},
    file_names::{BOT, CONFIG, MERGES, PICKLE, SAFETENSORS, SHARD_INDEX, TOKENIZER, VOCABULARY},
};
use cache::RepoCache;
use connection::{TRIES, condition, said};
use download::{Remote, Source};

mod cache;
mod connection;
mod download;
pub mod upload;

pub use connection::Patience;

/// Why a repository's files could not be fetched.
#[derive(Debug, Error)]
pub enum HubError {
    #[error("`{}` is neither a folder nor a repository's name (`name` or `owner/name`)", repo.escape_debug())]
    Name { repo: String },
    #[error("HF_ENDPOINT is `{0}`, which is not an http(s) address")]
    Endpoint(String),
    #[error(
        "the token in {origin} contains a space or another character that tokens do not have: copy it again, or remove it to download public repositories"
    )]
    BadToken { origin: String },
    #[error("neither HOME nor HF_HOME names a folder to keep `{repo}`'s files in: set one of them")]
    NoHome { repo: String },
    #[error("the Hugging Face Hub has no {}, or give a folder on this machine", absent(.repo, .origin.as_deref()))]
    NotFound { repo: String, origin: Option<String> },
    #[error("`{repo}` is gated: ask for access at {page}, and set HF_TOKEN to a token of that account")]
    Gated { repo: String, page: String },
    #[error(
        "the Hugging Face Hub has disabled `{repo}`: give another repository, or a folder on this machine"
    )]
    Disabled { repo: String },
    #[error(
        "the token in {origin} may not read `{repo}` (403: {message}): let it read that repository at huggingface.co/settings/tokens, or use another one"
    )]
    Forbidden { repo: String, origin: String, message: String },
    #[error(
        "the Hub does not know the token in {origin} (401 for `{repo}`): make a new one at huggingface.co/settings/tokens, or remove it to download public repositories"
    )]
    Token { repo: String, origin: String },
    #[error(
        "the Hugging Face Hub could not be reached ({reason}), and `{repo}` is not completely in its cache: give a folder on this machine that holds the model's files"
    )]
    Unreachable { repo: String, reason: String },
    #[error(
        "HF_HUB_OFFLINE is set, and `{repo}` is not completely in the Hub's cache: unset it, or give a folder on this machine that holds the model's files"
    )]
    Offline { repo: String },
    #[error(
        "the connection broke while fetching {what} of `{repo}` ({reason}): run it again; what has arrived is kept"
    )]
    Broken { repo: String, what: String, reason: String },
    #[error(
        "the Hub {} ({status} for {what} of `{repo}`): run it again later; what has arrived is kept",
        condition(*.status)
    )]
    Fault { repo: String, what: String, status: u16 },
    #[error("the Hub refused {what} of `{repo}` ({status}{}): give a folder on this machine", said(.message))]
    Refused { repo: String, what: String, status: u16, message: String },
    #[error(
        "the Hub's answer for {what} of `{repo}` is not valid ({problem}): check HF_ENDPOINT if it is set, or give a folder on this machine"
    )]
    Answer { repo: String, what: String, problem: String },
    #[error("{what} of `{repo}` was removed during the download: run it again")]
    Gone { repo: String, what: String },
    #[error(
        "`{repo}` on the Hugging Face Hub has no {missing}: it is not a GPT-2 that this program can read"
    )]
    MissingFile { repo: String, missing: &'static str },
    #[error("`{repo}` on the Hugging Face Hub cannot be read: {source}")]
    Index { repo: String, source: CheckpointError },
    #[error(
        "{name} of `{repo}` does not match the Hub's digest and was discarded: run it again, or give a folder on this machine"
    )]
    Damaged { repo: String, name: String },
    #[error(
        "{}: {source}; the Hub's cache needs a writable folder with free space: set HF_HOME (or HF_HUB_CACHE, if it is set) to another",
        file.display()
    )]
    Io { file: PathBuf, source: io::Error },
}

/// Describes a missing repository, and what to check, depending on whether a token was sent.
fn absent(repo: &str, origin: Option<&str>) -> String {
    match origin {
        Some(origin) => format!("model `{repo}` that the token in {origin} may see: check its name"),
        None => format!("public model `{repo}`: check its name, set HF_TOKEN if it is private"),
    }
}

impl HubError {
    /// Returns whether the error is transient, so that a retry may succeed.
    fn may_pass(&self) -> bool {
        matches!(self, Self::Broken { .. } | Self::Fault { .. })
    }
}

/// Progress of a download.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress<'a> {
    /// `arrived` bytes of this file have been received.
    Receiving { name: &'a str, arrived: u64, size: Option<u64> },
    /// Another process is downloading this file.
    Waiting { name: &'a str },
}

/// Returns whether this is a valid repository name by the Hub's rules. Anything else must be
/// a folder.
pub fn is_repo_name(text: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && part.len() <= 96
            && !part.starts_with(['.', '-'])
            && !part.ends_with(['.', '-'])
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    let reserved = text.contains("--") || text.contains("..") || text.ends_with(".git");
    !reserved && text.split('/').count() <= 2 && text.split('/').all(part)
}

/// Returns the folder holding the repository's files, downloading those that are not cached; with
/// `HF_HUB_OFFLINE`, as other clients of the Hub, none.
///
/// # Errors
/// [`HubError`], whose message names the remedy. Partial downloads are kept, and resumed by
/// the next call.
pub fn fetch(repo: &str, progress: &mut dyn FnMut(Progress<'_>)) -> Result<PathBuf, HubError> {
    if !is_repo_name(repo) {
        return Err(HubError::Name { repo: repo.chars().take(100).collect() });
    }
    let places = Places::from(|name| std::env::var_os(name), std::env::home_dir());
    let Places { home, hub } = places.ok_or_else(|| HubError::NoHome { repo: repo.into() })?;
    let source = || {
        if connection::is_offline() {
            return Err(HubError::Offline { repo: repo.into() });
        }
        Source::from_env(&home)
    };
    fetch_into(&hub, repo, source, progress)
}

/// Where Hub clients keep their files.
#[derive(Debug, PartialEq, Eq)]
struct Places {
    /// The folder of the token: `HF_HOME`, else `huggingface` in `XDG_CACHE_HOME` or `~/.cache`.
    home: PathBuf,
    /// The folder of the repositories: `HF_HUB_CACHE`, else `hub` in `home`.
    hub: PathBuf,
}

impl Places {
    /// Returns the places that these variables name. `None` if there is not even a home directory.
    fn from(variable: impl Fn(&str) -> Option<OsString>, user: Option<PathBuf>) -> Option<Self> {
        let folder = |name: &str| variable(name).filter(|path| !path.is_empty()).map(PathBuf::from);
        let cache = || folder("XDG_CACHE_HOME").or_else(|| Some(user?.join(".cache")));
        let home = folder("HF_HOME").or_else(|| Some(cache()?.join("huggingface")))?;
        let hub = folder("HF_HUB_CACHE").unwrap_or_else(|| home.join("hub"));
        Some(Self { home, hub })
    }
}

/// Like [`fetch`], with the repositories in `hub`. `source` is called only if the Hub is needed.
fn fetch_into(
    hub: &Path,
    repo: &str,
    source: impl FnOnce() -> Result<Source, HubError>,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<PathBuf, HubError> {
    let cache = RepoCache::new(hub, repo);
    if let Some(commit) = cached_commit(&cache) {
        let folder = cache.snapshot(&commit);
        if !cache.is_sound(&commit, BOT) && !cache.is_absent(&commit, BOT) {
            // Other clients do not download `bot.json`. It is optional, so errors are ignored.
            drop(
                source().and_then(|source| {
                    fetch_bot(&cache, &Remote { source: &source, repo }, &commit, progress)
                }),
            );
        }
        return Ok(folder);
    }
    let source = source()?;
    download(&cache, &Remote { source: &source, repo }, progress)
}

/// Returns the cached commit, if it has all files that a GPT-2 needs, undamaged.
fn cached_commit(cache: &RepoCache) -> Option<String> {
    let commit = cache.commit()?;
    let has = |name: &str| cache.is_sound(&commit, name);
    let shards = || {
        let index = cache.snapshot(&commit).join(SHARD_INDEX);
        has(SHARD_INDEX).then(|| checkpoint::shard_names(&index).ok()).flatten()
    };
    let tokenizer = || has(TOKENIZER) || [VOCABULARY, MERGES].into_iter().all(has);
    let weights = || {
        has(SAFETENSORS) || shards().is_some_and(|names| names.iter().all(|name| has(name))) || has(PICKLE)
    };
    (has(CONFIG) && tokenizer() && weights()).then_some(commit)
}

fn fetch_bot(
    cache: &RepoCache,
    remote: &Remote<'_>,
    commit: &str,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<(), HubError> {
    let listing = remote.list(commit, 1)?;
    if !listing.files.contains(BOT) {
        return cache.set_absent(commit, BOT);
    }
    bring(cache, remote, commit, BOT, progress).map(drop)
}

fn download(
    cache: &RepoCache,
    remote: &Remote<'_>,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<PathBuf, HubError> {
    let repo = || remote.repo.to_owned();
    let listing = remote.list("main", TRIES).map_err(|error| match error {
        HubError::Broken { repo, reason, .. } => HubError::Unreachable { repo, reason },
        error => error,
    })?;
    let has = |name: &str| listing.files.contains(name);
    let missing = |missing| HubError::MissingFile { repo: repo(), missing };

    if !has(CONFIG) {
        return Err(missing(CONFIG));
    }
    let mut wanted = BTreeSet::from([CONFIG.to_owned()]);
    if has(TOKENIZER) {
        wanted.insert(TOKENIZER.into());
    } else if [VOCABULARY, MERGES].into_iter().all(has) {
        wanted.extend([VOCABULARY, MERGES].map(str::to_owned));
    } else {
        return Err(missing("tokenizer.json (nor vocab.json and merges.txt)"));
    }
    if has(BOT) {
        wanted.insert(BOT.into());
    }
    if has(SAFETENSORS) {
        wanted.insert(SAFETENSORS.into());
    } else if has(SHARD_INDEX) {
        let file = bring(cache, remote, &listing.commit, SHARD_INDEX, progress)?;
        let shards = checkpoint::shard_names(&file);
        wanted.extend(shards.map_err(|source| HubError::Index { repo: repo(), source })?);
    } else if has(PICKLE) {
        wanted.insert(PICKLE.into());
    } else {
        return Err(missing("model.safetensors (nor pytorch_model.bin)"));
    }
    for name in &wanted {
        bring(cache, remote, &listing.commit, name, progress)?;
    }
    if !has(BOT) {
        cache.set_absent(&listing.commit, BOT)?;
    }
    // Last, so that an interrupted update leaves the previously cached commit in use.
    cache.set_commit(&listing.commit)?;
    Ok(cache.snapshot(&listing.commit))
}

fn bring(
    cache: &RepoCache,
    remote: &Remote<'_>,
    commit: &str,
    name: &str,
    progress: &mut dyn FnMut(Progress<'_>),
) -> Result<PathBuf, HubError> {
    let described = remote.describe(commit, name)?;
    cache.file(commit, name, &described.id, progress, |part, progress| {
        remote.bring(commit, name, &described, part, progress)
    })
}

#[cfg(test)]
mod tests;
