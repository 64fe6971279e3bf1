//! A GPT-2's files from the Hugging Face Hub, into the cache that its other
//! programs share (`HF_HOME`, else `~/.cache/huggingface`).
//!
//! What is cached is used without asking the network. [`upload`] goes the other way.

use std::{collections::BTreeSet, fs, path::PathBuf};

use hf_hub::{
    Cache, CacheRepo, Repo,
    api::sync::{ApiBuilder, ApiError, ApiRepo},
};
use serde_json::Value;
use thiserror::Error;

pub mod upload;

/// Why a repository's files are not here.
#[derive(Debug, Error)]
pub enum HubError {
    #[error("`{repo}` is neither a folder nor a repository's name (`name` or `owner/name`)")]
    Name { repo: String },
    #[error(
        "the Hugging Face Hub has no public model `{repo}`: check its name, or give a folder on this machine"
    )]
    NoRepo { repo: String },
    #[error(
        "the Hugging Face Hub could not be reached ({reason}), and `{repo}` is not in its cache: give a folder on this machine that holds the model's files"
    )]
    Unreachable { repo: String, reason: String },
    #[error("`{repo}` on the Hugging Face Hub has no {missing}: it is no GPT-2 that this program reads")]
    MissingFile { repo: String, missing: &'static str },
    #[error("{} of `{repo}` is damaged: delete it, and it is downloaded again", file.display())]
    Index { repo: String, file: PathBuf },
}

const INDEX: &str = "model.safetensors.index.json";

/// Whether this can be a repository's name; everything else must be a folder.
pub fn is_repo_name(text: &str) -> bool {
    let part = |part: &str| {
        !part.is_empty()
            && !part.starts_with(['.', '-'])
            && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    text.split('/').count() <= 2 && text.split('/').all(part)
}

/// The folder that holds the repository's files, downloaded where they are not
/// cached; a progress bar for each download goes to standard error.
pub fn fetch(repo: &str) -> Result<PathBuf, HubError> {
    if !is_repo_name(repo) {
        return Err(HubError::Name { repo: repo.into() });
    }
    // The cache's place: hf-hub's own default panics where there is no home.
    let cached = std::env::var_os("HF_HOME").is_some() || std::env::home_dir().is_some();
    let unreachable = |reason: String| HubError::Unreachable { repo: repo.into(), reason };
    if !cached {
        return Err(unreachable("neither HOME nor HF_HOME names a folder to keep its files in".into()));
    }
    let in_cache = Cache::from_env().repo(Repo::model(repo.into()));
    if let Some(folder) = cached_folder(&in_cache) {
        return Ok(folder);
    }
    let api = ApiBuilder::from_env().build().map_err(|e| unreachable(reason(&e)))?.model(repo.into());
    download(repo, &api)
}

/// The cached snapshot, if it has all that a GPT-2 needs.
fn cached_folder(cache: &CacheRepo) -> Option<PathBuf> {
    let config = cache.get("config.json")?;
    let has = |name: &str| cache.get(name).is_some();
    let tokenizer = has("tokenizer.json") || has("vocab.json") && has("merges.txt");
    let shards = || shard_names(&cache.get(INDEX)?).filter(|names| names.iter().all(|name| has(name)));
    let weights = has("model.safetensors") || shards().is_some() || has("pytorch_model.bin");
    if tokenizer && weights { config.parent().map(PathBuf::from) } else { None }
}

fn download(repo: &str, api: &ApiRepo) -> Result<PathBuf, HubError> {
    let failed = |error: ApiError| match reason(&error) {
        // The Hub answers 401 for names that do not exist, to the unknown.
        reason if reason.contains("404") || reason.contains("401") => HubError::NoRepo { repo: repo.into() },
        reason => HubError::Unreachable { repo: repo.into(), reason },
    };
    let listed: BTreeSet<String> =
        api.info().map_err(failed)?.siblings.into_iter().map(|s| s.rfilename).collect();
    let has = |name: &str| listed.contains(name);
    let missing = |missing| HubError::MissingFile { repo: repo.into(), missing };

    let mut wanted = vec!["config.json".to_owned()];
    if !has("config.json") {
        return Err(missing("config.json"));
    }
    if has("tokenizer.json") {
        wanted.push("tokenizer.json".into());
    } else if has("vocab.json") && has("merges.txt") {
        wanted.extend(["vocab.json".into(), "merges.txt".into()]);
    } else {
        return Err(missing("tokenizer.json (nor vocab.json and merges.txt)"));
    }
    if has("model.safetensors") {
        wanted.push("model.safetensors".into());
    } else if has(INDEX) {
        let file = api.get(INDEX).map_err(failed)?;
        let names = shard_names(&file).ok_or_else(|| HubError::Index { repo: repo.into(), file })?;
        wanted.extend(names);
    } else if has("pytorch_model.bin") {
        wanted.push("pytorch_model.bin".into());
    } else {
        return Err(missing("model.safetensors (nor pytorch_model.bin)"));
    }
    let mut folder = None;
    for name in wanted {
        let file = api.get(&name).map_err(failed)?;
        if folder.is_none() {
            folder = file.parent().map(PathBuf::from);
        }
    }
    folder.ok_or_else(|| missing("config.json"))
}

/// The files an index names; `None` where it cannot be read.
fn shard_names(index: &PathBuf) -> Option<BTreeSet<String>> {
    let index: Value = serde_json::from_slice(&fs::read(index).ok()?).ok()?;
    let names = index.get("weight_map")?.as_object()?.values();
    names.map(|name| name.as_str().filter(|name| is_repo_name(name)).map(str::to_owned)).collect()
}

/// The error's first line.
fn reason(error: &ApiError) -> String {
    error.to_string().lines().next().unwrap_or_default().chars().take(160).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_repositories_are_told_from_paths() {
        for name in ["gpt2", "openai-community/gpt2", "huggingtweets/a_b.c-d"] {
            assert!(is_repo_name(name), "{name}");
        }
        for path in ["./gpt2", "../x", "a/b/c", "/tmp/x", "", "a//b", "a b", "~/x", "https://x.y/z"] {
            assert!(!is_repo_name(path), "{path}");
        }
    }
}
