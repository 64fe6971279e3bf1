//! `huggingtweets card`: a bot's card and pictures written again from what its
//! `bot.json` says, and `bot.json` told of their new digests.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use sha2::{Digest, Sha256};

use super::{UsageError, assets};
use crate::{
    bundle::manifest::{CHUNK_BYTES, CardExtras, FileEntry},
    card::{self, escape},
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The bot's folder
    dir: PathBuf,
    /// The address of the bot's page, which the picture links to
    #[arg(long, value_name = "URL")]
    page: Option<String>,
    /// The bot's repository on the Hub, owner/name
    #[arg(long, value_name = "REPO")]
    repository: Option<String>,
    /// ISO 639-1 code of the posts' language
    #[arg(long, value_name = "CODE")]
    language: Option<String>,
    /// The Hub's name of the weights' license
    #[arg(long, value_name = "NAME")]
    license: Option<String>,
    /// JSON with any of: samples [{prompt, drafts, seed}], verbatim {drafts, verbatim, seed},
    /// perplexities [{precision, perplexity}]
    #[arg(long, value_name = "FILE")]
    extras: Option<PathBuf>,
}

pub fn run(args: Args) -> anyhow::Result<()> {
    let given = given_extras(&args)?;
    update(&args.dir, given)?;
    println!("Wrote {} in {}", card::FILES.join(", "), args.dir.display());
    Ok(())
}

/// Writes the card of a bundle with `given` over what its `bot.json` has.
fn update(dir: &Path, given: CardExtras) -> anyhow::Result<()> {
    let mut manifest = assets::open_bot(dir)?.manifest;
    let extras = merge(manifest.card.take().unwrap_or_default(), given);
    let aside = tempfile::Builder::new()
        .prefix(".card-")
        .tempdir_in(dir)
        .with_context(|| format!("cannot write in {}", dir.display()))?;
    card::write(aside.path(), &manifest.info, &extras)?;
    for name in card::FILES {
        let bytes = fs::read(aside.path().join(name)).with_context(|| format!("cannot read {name} back"))?;
        manifest.files.insert(name.into(), entry(&bytes));
    }
    manifest.card = (extras != CardExtras::default()).then_some(extras);
    let json = aside.path().join("bot.json");
    fs::write(&json, manifest.to_json()).with_context(|| format!("cannot write {}", json.display()))?;
    for name in card::FILES.into_iter().chain(["bot.json"]) {
        fs::rename(aside.path().join(name), dir.join(name))
            .with_context(|| format!("cannot write {}", dir.join(name).display()))?;
    }
    Ok(())
}

/// The options, over the file of `--extras`.
fn given_extras(args: &Args) -> anyhow::Result<CardExtras> {
    let mut extras = match &args.extras {
        Some(path) => read_extras(path)?,
        None => CardExtras::default(),
    };
    if let Some(url) = &args.page {
        let url =
            escape::page_url(url).ok_or_else(|| UsageError(format!("--page {url} is no web address")))?;
        extras.page_url = Some(url);
    }
    if let Some(name) = &args.repository {
        let name = escape::repository(name)
            .ok_or_else(|| UsageError(format!("--repository {name} is no repository's name, owner/name")))?;
        extras.repository = Some(name.into());
    }
    extras.language = args.language.clone().or(extras.language);
    extras.license = args.license.clone().or(extras.license);
    Ok(extras)
}

fn read_extras(path: &Path) -> anyhow::Result<CardExtras> {
    let json = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    serde_json::from_slice(&json).with_context(|| format!("{} is no JSON of a card's extras", path.display()))
}

/// What `given` has, and else what was known.
fn merge(known: CardExtras, given: CardExtras) -> CardExtras {
    CardExtras {
        page_url: given.page_url.or(known.page_url),
        repository: given.repository.or(known.repository),
        language: given.language.or(known.language),
        license: given.license.or(known.license),
        samples: if given.samples.is_empty() { known.samples } else { given.samples },
        verbatim: given.verbatim.or(known.verbatim),
        perplexities: if given.perplexities.is_empty() { known.perplexities } else { given.perplexities },
    }
}

fn entry(bytes: &[u8]) -> FileEntry {
    let hex =
        |bytes: &[u8]| Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    FileEntry {
        size: bytes.len() as u64,
        sha256: hex(bytes),
        chunks: bytes.chunks(CHUNK_BYTES).map(hex).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::{Manifest, manifest::Sample};

    fn bot() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let json = serde_json::json!({
            "format_version": 1, "name": "Maren Holm", "handles": ["m"], "checks": {},
            "files": {"config.json": {"size": 0, "sha256": "", "chunks": []}},
        });
        fs::write(dir.path().join("bot.json"), json.to_string()).unwrap();
        dir
    }

    fn manifest(dir: &Path) -> Manifest {
        Manifest::from_json(&fs::read(dir.join("bot.json")).unwrap()).unwrap()
    }

    #[test]
    fn the_card_is_written_and_listed() {
        let dir = bot();
        update(dir.path(), CardExtras::default()).unwrap();
        let manifest = manifest(dir.path());
        for name in card::FILES {
            let bytes = fs::read(dir.path().join(name)).unwrap();
            assert_eq!(manifest.files[name], entry(&bytes), "{name}");
        }
        assert!(manifest.files.contains_key("config.json"));
        assert!(manifest.card.is_none());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 4, "nothing is left aside");
    }

    #[test]
    fn what_the_card_showed_it_shows_again() {
        let dir = bot();
        let sample = Sample { prompt: "Now".into(), drafts: vec!["Now then.".into()], seed: None };
        update(dir.path(), CardExtras { samples: vec![sample.clone()], ..CardExtras::default() }).unwrap();
        let page = Some("https://a.example/".to_string());
        update(dir.path(), CardExtras { page_url: page.clone(), ..CardExtras::default() }).unwrap();
        let extras = manifest(dir.path()).card.unwrap();
        assert_eq!((extras.samples, extras.page_url), (vec![sample], page));
        let before = fs::read_to_string(dir.path().join("README.md")).unwrap();
        assert!(before.contains("<b>Now</b> then.") && before.contains("](https://a.example/)"));
        update(dir.path(), CardExtras::default()).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("README.md")).unwrap(), before);
    }

    #[test]
    fn extras_that_are_no_json_are_named() {
        let dir = bot();
        let path = dir.path().join("extras.json");
        fs::write(&path, "{\"samples\": 3}").unwrap();
        let error = format!("{:#}", read_extras(&path).unwrap_err());
        assert!(error.contains("extras.json") && !error.contains('\n'), "{error}");
    }
}
