//! `huggingtweets card`: rewrites a bot's card and pictures from its `bot.json`, and updates
//! their digests there, and the reference logits that it lacks.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
};

use anyhow::{Context, anyhow, bail};

use serde_json::Value;

use super::{UsageError, convert, filter_args, finish, measure};
use crate::{
    bundle::{
        Manifest, digest,
        file_names::BOT,
        folder::{self, BotFolder, folder_name},
        manifest::{BotInfo, CardExtras},
        staging::Patch,
    },
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
    #[arg(long, value_name = "CODE", value_parser = filter_args::code)]
    language: Option<String>,
    /// The Hub's name of the weights' license, such as mit or cc-by-4.0
    #[arg(long, value_name = "NAME", value_parser = license)]
    license: Option<String>,
    /// JSON with any of: samples [{prompt, drafts, seed}], verbatim {drafts, verbatim, seed},
    /// held_out_perplexity [{precision, perplexity}], perplexity_posts, recipe {name, differences},
    /// hyper_parameters [[name, value]], validation [[step, loss]],
    /// memorisation {n_words, share, drafts}, notes [a sentence on what else was measured]
    #[arg(long, value_name = "FILE")]
    extras: Option<PathBuf>,
    /// Generate sample drafts, and count how many of 200 match a post of this archive word for word
    #[arg(long, value_name = "ARCHIVE")]
    measure: Vec<PathBuf>,
    /// Replace a README.md or a picture that is not this bot's own, or was edited since
    #[arg(long)]
    force: bool,
}

pub fn run(args: Args) -> anyhow::Result<()> {
    let mut given = given_extras(&args)?;
    if !args.measure.is_empty() {
        let bot = BotFolder::open(&args.dir)?;
        // Measuring takes minutes.
        check_replaced(&bot, &card::FILES, args.force)?;
        given = merge(measure::measure(&bot, &args.measure)?, given);
    }
    let files = update(&args.dir, given, args.force)?;
    answer!("Wrote {} in {}", files.join(", "), args.dir.display())?;
    Ok(())
}

/// Writes a folder's card from its `bot.json`, overridden by `given`, and updates `bot.json`. A
/// folder without one gets a card with what is known, but no `bot.json`. Returns the names of
/// the files written.
///
/// # Errors
/// Those of [`check_replaced`], or if a file cannot be read or written.
fn update(dir: &Path, given: CardExtras, force: bool) -> anyhow::Result<Vec<&'static str>> {
    let mut patch = Patch::begin(dir)?;
    let bot = BotFolder::open(dir)?;
    let info = convert::info(&bot, &folder_name(dir));
    let known = bot.manifest.as_ref().and_then(|manifest| manifest.card.clone());
    let extras = merge(known.unwrap_or_default(), given);
    let files = card::files(&extras);
    check_replaced(&bot, &files, force)?;
    write(patch.path(), &info, &extras)?;
    if let Some(mut manifest) = bot.manifest.clone() {
        finish::complete_checks(&bot, &mut manifest)?;
        // A picture that the old card had and the new one does not.
        let stale = card::VALIDATION_FILE;
        if !files.contains(&stale) && manifest.files.remove(stale).is_some() {
            patch.remove(stale);
        }
        let manifest = Manifest { info, card: Some(extras), ..manifest };
        folder::refresh(dir, patch.path(), manifest, &files)?;
    }
    patch.commit(None, &[BOT])?;
    Ok(files)
}

/// Checks that the files to write replace only those that `bot.json` lists, unchanged. With
/// `force`, they replace any.
///
/// # Errors
/// If a file would be lost.
fn check_replaced(bot: &BotFolder, names: &[&str], force: bool) -> anyhow::Result<()> {
    for name in names.iter().filter(|_| !force) {
        let path = bot.path.join(name);
        if !path.exists() {
            continue;
        }
        let unread = || format!("cannot read {}", path.display());
        let is_own = match bot.manifest.as_ref().and_then(|manifest| manifest.files.get(*name)) {
            None => false,
            Some(entry) => digest::verify_reader(entry, File::open(&path).with_context(unread)?)
                .with_context(unread)?
                .is_ok(),
        };
        if !is_own {
            bail!(
                "{} is not as bot.json lists it, so it may be somebody's own: move it away, or replace it with --force",
                path.display()
            );
        }
    }
    Ok(())
}

/// Returns the options merged over the file of `--extras`.
fn given_extras(args: &Args) -> anyhow::Result<CardExtras> {
    let mut extras = match &args.extras {
        Some(path) => read_extras(path)?,
        None => CardExtras::default(),
    };
    if let Some(url) = &args.page {
        let url =
            escape::page_url(url).ok_or_else(|| UsageError(format!("--page {url} is not a web address")))?;
        extras.page_url = Some(url);
    }
    if let Some(name) = &args.repository {
        let name = escape::repository(name).ok_or_else(|| {
            UsageError(format!("--repository {name} is not a repository's name (owner/name)"))
        })?;
        extras.repository = Some(name.into());
    }
    extras.language = args.language.clone().or(extras.language);
    extras.license = args.license.clone().or(extras.license);
    Ok(extras)
}

fn read_extras(path: &Path) -> anyhow::Result<CardExtras> {
    let json = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    let unusable = || format!("{} is not JSON that --extras takes", path.display());
    let given: Value = serde_json::from_slice(&json).with_context(unusable)?;
    let mut extras: CardExtras = serde_json::from_value(given.clone()).with_context(unusable)?;
    if let Some(key) = unknown_key(&given, &serde_json::to_value(&extras)?) {
        bail!("{} has the unknown key `{key}`: see `huggingtweets card --help`", path.display());
    }
    if let Some(url) = &extras.page_url {
        let url = escape::page_url(url).with_context(|| format!("page_url `{url}` is not a web address"));
        extras.page_url = Some(url.with_context(unusable)?);
    }
    if let Some(name) = extras.repository.as_deref().filter(|name| escape::repository(name).is_none()) {
        let problem = anyhow!("repository `{name}` is not a repository's name (owner/name)");
        return Err(problem.context(unusable()));
    }
    extras.language = checked("language", extras.language, filter_args::code).with_context(unusable)?;
    extras.license = checked("license", extras.license, license).with_context(unusable)?;
    Ok(extras)
}

/// Checks a field of `--extras` as its option is checked.
fn checked(
    key: &str,
    value: Option<String>,
    parse: fn(&str) -> Result<String, String>,
) -> anyhow::Result<Option<String>> {
    let parsed = value.map(|value| parse(&value).map_err(|problem| anyhow!("{key} `{value}`: {problem}")));
    parsed.transpose()
}

/// Parses the Hub's name of a license; the list of names is the Hub's.
fn license(text: &str) -> Result<String, String> {
    let is_allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-.+".contains(&b);
    match !text.is_empty() && text.bytes().all(is_allowed) {
        true => Ok(text.to_owned()),
        false => Err("expected the Hub's name of a license, for example mit or cc-by-4.0".to_owned()),
    }
}

/// Returns the first key with a value in `given` that reading it has dropped.
fn unknown_key(given: &Value, kept: &Value) -> Option<String> {
    match (given, kept) {
        (Value::Object(given), Value::Object(kept)) => {
            given.iter().find_map(|(key, value)| match kept.get(key) {
                Some(kept) => unknown_key(value, kept),
                // What is empty is not written again.
                None => (!value.is_null() && value.as_array() != Some(&Vec::new())).then(|| key.clone()),
            })
        }
        (Value::Array(given), Value::Array(kept)) => {
            given.iter().zip(kept).find_map(|(given, kept)| unknown_key(given, kept))
        }
        _ => None,
    }
}

/// Merges field by field, preferring `given`.
fn merge(known: CardExtras, given: CardExtras) -> CardExtras {
    CardExtras {
        page_url: given.page_url.or(known.page_url),
        repository: given.repository.or(known.repository),
        language: given.language.or(known.language),
        license: given.license.or(known.license),
        samples: or_known(given.samples, known.samples),
        verbatim: given.verbatim.or(known.verbatim),
        // The number of posts belongs to the perplexities it was given with.
        perplexity_posts: match given.held_out_perplexity.is_empty() {
            true => given.perplexity_posts.or(known.perplexity_posts),
            false => given.perplexity_posts,
        },
        held_out_perplexity: or_known(given.held_out_perplexity, known.held_out_perplexity),
        recipe: given.recipe.or(known.recipe),
        hyper_parameters: or_known(given.hyper_parameters, known.hyper_parameters),
        validation: or_known(given.validation, known.validation),
        memorisation: given.memorisation.or(known.memorisation),
        notes: or_known(given.notes, known.notes),
    }
}

fn or_known<T>(given: Vec<T>, known: Vec<T>) -> Vec<T> {
    if given.is_empty() { known } else { given }
}

/// Writes the card's files into a folder, and warns on standard error about characters that
/// its picture cannot show.
pub fn write(dir: &Path, info: &BotInfo, extras: &CardExtras) -> anyhow::Result<()> {
    let written = card::write(dir, info, extras)?;
    if let Some(warning) = written.warning() {
        say!("warning: {warning}");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::manifest::Sample;

    /// Creates a bot from tiny-gpt2's files, without a card.
    fn bot() -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let tiny = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tiny-gpt2");
        for name in ["config.json", "tokenizer.json", "model.safetensors"] {
            fs::copy(tiny.join(name), dir.path().join(name)).unwrap();
        }
        let info = BotInfo { name: "Maren Holm".into(), handles: vec!["m".into()], ..BotInfo::default() };
        folder::finish(dir.path(), info, Default::default(), None).unwrap();
        dir
    }

    fn manifest(dir: &Path) -> Manifest {
        Manifest::from_json(&fs::read(dir.join("bot.json")).unwrap()).unwrap()
    }

    #[test]
    fn the_card_is_written_and_listed() {
        let dir = bot();
        update(dir.path(), CardExtras::default(), false).unwrap();
        let manifest = manifest(dir.path());
        for name in card::FILES {
            let bytes = fs::read(dir.path().join(name)).unwrap();
            assert_eq!(manifest.files[name].size, bytes.len() as u64, "{name}");
        }
        assert!(manifest.files.contains_key("config.json"));
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 4 + card::FILES.len(), "nothing is left aside");
    }

    #[test]
    fn reference_logits_that_are_missing_are_computed() {
        let dir = tempfile::tempdir().unwrap();
        let demo = Path::new(env!("CARGO_MANIFEST_DIR")).join("model-card/demo");
        for file in fs::read_dir(demo).unwrap().map(Result::unwrap) {
            fs::copy(file.path(), dir.path().join(file.file_name())).unwrap();
        }
        let before = manifest(dir.path()).checks;
        let mut without = manifest(dir.path());
        without.checks.clear();
        fs::write(dir.path().join("bot.json"), without.to_json()).unwrap();
        update(dir.path(), CardExtras::default(), false).unwrap();
        assert_eq!(manifest(dir.path()).checks, before);
        // Damaged weights must not get any.
        fs::write(dir.path().join("bot.json"), without.to_json()).unwrap();
        let path = dir.path().join("model-q4_0.gguf");
        let mut weights = fs::read(&path).unwrap();
        weights.pop();
        fs::write(&path, weights).unwrap();
        let error = update(dir.path(), CardExtras::default(), true).unwrap_err().to_string();
        assert!(error.contains("model-q4_0.gguf"), "{error}");
    }

    #[test]
    fn what_the_card_showed_it_shows_again() {
        let dir = bot();
        let sample = Sample { prompt: "Now".into(), drafts: vec!["Now then.".into()], seed: None };
        update(dir.path(), CardExtras { samples: vec![sample.clone()], ..CardExtras::default() }, false)
            .unwrap();
        let page = Some("https://a.example/".to_string());
        update(dir.path(), CardExtras { page_url: page.clone(), ..CardExtras::default() }, false).unwrap();
        let extras = manifest(dir.path()).card.unwrap();
        assert_eq!((extras.samples, extras.page_url), (vec![sample], page));
        let before = fs::read_to_string(dir.path().join("README.md")).unwrap();
        assert!(before.contains("<b>Now</b> then.") && before.contains("](https://a.example/)"));
        update(dir.path(), CardExtras::default(), false).unwrap();
        assert_eq!(fs::read_to_string(dir.path().join("README.md")).unwrap(), before);
    }

    #[test]
    fn what_lies_beside_the_bot_is_no_part_of_it() {
        let dir = bot();
        let before = manifest(dir.path());
        fs::write(dir.path().join("diary.txt"), "private").unwrap();
        // A name that is not allowed in a bundle.
        fs::write(dir.path().join("todo #1.txt"), "private").unwrap();
        update(dir.path(), CardExtras::default(), false).unwrap();
        let after = manifest(dir.path());
        let added: Vec<&String> =
            after.files.keys().filter(|name| !before.files.contains_key(*name)).collect();
        assert_eq!(added, ["README.md", "pipeline.png", "predictions.png"]);
        BotFolder::open(dir.path()).unwrap().verify().unwrap();
    }

    #[test]
    fn a_card_that_was_edited_is_replaced_only_with_force() {
        let dir = bot();
        let card = dir.path().join("README.md");
        let refused = |text: &str| {
            fs::write(&card, text).unwrap();
            let error = update(dir.path(), CardExtras::default(), false).unwrap_err().to_string();
            assert!(error.contains("README.md") && error.contains("--force"), "{error}");
            assert_eq!(fs::read_to_string(&card).unwrap(), text);
            update(dir.path(), CardExtras::default(), true).unwrap();
            assert!(fs::read_to_string(&card).unwrap().contains("Maren Holm"));
        };
        refused("the card of a folder from elsewhere");
        // The card is now listed; without an edit, it is replaced without being asked.
        update(dir.path(), CardExtras::default(), false).unwrap();
        refused("the bot's card, edited by hand");
    }

    #[test]
    fn damage_stays_known_as_damage() {
        let dir = bot();
        let weights = dir.path().join("model.safetensors");
        let mut bytes = fs::read(&weights).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&weights, bytes).unwrap();
        update(dir.path(), CardExtras::default(), false).unwrap();
        let error = BotFolder::open(dir.path()).unwrap().verify().unwrap_err().to_string();
        assert!(error.contains("model.safetensors is damaged"), "{error}");
        fs::remove_file(weights).unwrap();
        let error = update(dir.path(), CardExtras::default(), false).unwrap_err().to_string();
        assert!(error.contains("model.safetensors, which is missing"), "{error}");
    }

    #[test]
    fn a_picture_that_the_card_no_longer_has_goes() {
        let dir = bot();
        let curve = |points: &[(u64, f64)]| CardExtras { validation: points.into(), ..CardExtras::default() };
        let picture = dir.path().join(card::VALIDATION_FILE);
        update(dir.path(), curve(&[(1, 3.0), (2, 2.5)]), false).unwrap();
        assert!(picture.is_file() && manifest(dir.path()).files.contains_key(card::VALIDATION_FILE));
        update(dir.path(), curve(&[(1, 3.0)]), false).unwrap();
        assert!(!picture.exists() && !manifest(dir.path()).files.contains_key(card::VALIDATION_FILE));
        // A picture never listed in bot.json belongs to the user.
        fs::write(&picture, "mine").unwrap();
        update(dir.path(), CardExtras::default(), false).unwrap();
        assert_eq!(fs::read(&picture).unwrap(), b"mine");
    }

    #[test]
    fn extras_that_are_no_json_are_named() {
        let dir = bot();
        let path = dir.path().join("extras.json");
        fs::write(&path, "{\"samples\": 3}").unwrap();
        let error = format!("{:#}", read_extras(&path).unwrap_err());
        assert!(error.contains("extras.json") && !error.contains('\n'), "{error}");
    }

    #[test]
    fn extras_that_the_card_would_not_show_are_named() {
        let dir = bot();
        let path = dir.path().join("extras.json");
        let read = |json: &str| {
            fs::write(&path, json).unwrap();
            read_extras(&path).map_err(|error| format!("{error:#}"))
        };
        for (json, expected) in [
            (r#"{"note": ["A sentence."]}"#, "the unknown key `note`"),
            (r#"{"samples": [{"prompt": "I", "drafts": [], "sead": 1}]}"#, "the unknown key `sead`"),
            (r#"{"page_url": "javascript:alert(1)"}"#, "is not a web address"),
            (r#"{"repository": "a/b/c"}"#, "is not a repository's name"),
            (r#"{"language": "english, please"}"#, "a language's code"),
            (r#"{"license": "My own"}"#, "name of a license"),
        ] {
            let error = read(json).unwrap_err();
            assert!(error.contains(expected) && error.contains("extras.json"), "{error}");
        }
        let extras = read(
            r#"{"samples": [{"prompt": "I", "drafts": [], "seed": null}], "notes": [], "validation": [[1, 2.5]],
                "language": "PT-br", "license": "cc-by-4.0", "page_url": "https://a.example"}"#,
        );
        let extras = extras.unwrap();
        assert_eq!(extras.validation, [(1, 2.5)]);
        assert_eq!(extras.language.as_deref(), Some("pt-br"));
        assert_eq!(extras.page_url.as_deref(), Some("https://a.example/"));
    }

    #[test]
    fn a_license_has_the_form_of_the_hubs_names() {
        for name in ["mit", "apache-2.0", "cc-by-nc-sa-4.0", "other"] {
            assert_eq!(license(name).as_deref(), Ok(name));
        }
        for text in ["", "MIT", "my own", "a\nb: c"] {
            license(text).unwrap_err();
        }
    }
}
