//! Models from the Hugging Face Hub, through its cache on this machine.

use std::path::PathBuf;

use hf_hub::{
    Repo,
    api::sync::{ApiBuilder, ApiRepo},
};
use thiserror::Error;

/// Why a repository could not be had.
#[derive(Debug, Error)]
pub enum HubError {
    #[error(
        "`{repository}` cannot be fetched from the Hugging Face Hub and is not in its cache ({reason}); offline, use a local folder, or --base scratch"
    )]
    Unreachable { repository: String, reason: String },
    #[error("`{repository}` on the Hugging Face Hub has no {missing}, so it is no GPT-2 this program can open")]
    Incomplete { repository: String, missing: &'static str },
}

/// The folder of a repository's GPT-2 files, fetched where the cache lacks
/// them. `gpt2` is short for `openai-community/gpt2`.
pub fn fetch(repository: &str) -> Result<PathBuf, HubError> {
    let repository = if repository == "gpt2" { "openai-community/gpt2" } else { repository };
    let unreachable = |e: &dyn std::fmt::Display| HubError::Unreachable {
        repository: repository.into(),
        reason: e.to_string().lines().next().unwrap_or_default().to_owned(),
    };
    // With retries, an offline machine would wait for nothing.
    let api = ApiBuilder::from_env().with_retries(0).build().map_err(|e| unreachable(&e))?;
    let repo = api.repo(Repo::model(repository.into()));
    let config = get(&repo, repository, "config.json").map_err(|e| unreachable(&e))?;
    let any = |names: &[&str]| names.iter().any(|name| get(&repo, repository, name).is_ok());
    if !any(&["model.safetensors", "pytorch_model.bin"]) {
        return Err(HubError::Incomplete { repository: repository.into(), missing: "weights" });
    }
    let tokenizer = any(&["tokenizer.json"]) || (any(&["vocab.json"]) && any(&["merges.txt"]));
    if !tokenizer {
        return Err(HubError::Incomplete { repository: repository.into(), missing: "tokenizer" });
    }
    // A bundle of ours says who it imitates; others need not.
    any(&["bot.json"]);
    config.parent().map(PathBuf::from).ok_or(HubError::Incomplete {
        repository: repository.into(),
        missing: "config.json",
    })
}

fn get(repo: &ApiRepo, repository: &str, file: &str) -> Result<PathBuf, hf_hub::api::sync::ApiError> {
    match hf_hub::Cache::from_env().repo(Repo::model(repository.into())).get(file) {
        Some(path) => Ok(path),
        None => repo.download(file),
    }
}
