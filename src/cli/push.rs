//! `huggingtweets push`: uploads a bot's folder to a repository on the Hugging Face Hub.

use std::{
    io::{self, BufRead, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use indicatif::HumanBytes;

use super::{UsageError, progress_bar::TransferBar};
use crate::{
    bundle::{
        Manifest, digest,
        file_names::BOT,
        folder::BotFolder,
        hub::{
            is_repo_name,
            upload::{Hub, LocalFile, Progress},
        },
    },
    card::{self, escape},
};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The bot's folder
    dir: PathBuf,
    /// The repository, owner/name or name; created if it does not exist
    #[arg(value_name = "REPO")]
    repo: String,
    /// Upload without asking
    #[arg(long, short)]
    yes: bool,
    /// Make a new repository private
    #[arg(long)]
    private: bool,
    /// The commit's summary
    #[arg(long, default_value = "Upload a bot with huggingtweets")]
    message: String,
}

pub fn run(args: Args) -> anyhow::Result<()> {
    if args.message.trim().is_empty() {
        return Err(UsageError("--message must say something".into()).into());
    }
    if !is_repo_name(&args.repo) {
        let name = escape::terminal(&args.repo);
        return Err(
            UsageError(format!("`{name}` is not a repository's name (`name` or `owner/name`)")).into()
        );
    }
    let bot = BotFolder::open(&args.dir)?;
    let Some(manifest) = &bot.manifest else {
        bail!("{} has no bot.json: make a bot from it with `huggingtweets convert`", args.dir.display());
    };
    bot.verify()?;
    let files = files(&args.dir, manifest)?;
    let hub = Hub::from_env()?;
    let repo = hub.full_name(&args.repo)?;

    let mut out = io::stderr().lock();
    let described = describe(&mut out, &args, &repo, hub.endpoint(), manifest, &files);
    // With --yes, nobody has to read it.
    if !args.yes {
        described?;
        if !confirmed(&mut out, &mut io::stdin().lock())? {
            bail!("nothing was uploaded (answer y, or pass --yes)");
        }
    }
    drop(out);

    let bar = TransferBar::new();
    let address =
        hub.push(&repo, &files, args.message.trim(), args.private, &mut |progress| match progress {
            Progress::Present { name } => bar.println(format!("{} is already there", escape::terminal(name))),
            Progress::Sending { name, sent, size } => bar.set(&escape::terminal(name), sent, Some(size)),
            Progress::Committing => bar.set_message("committing"),
        });
    drop(bar);
    answer!("{}", address?)?;
    let linked = manifest.card.as_ref().and_then(|card| card.repository.as_deref());
    if linked != Some(repo.as_str()) {
        say!(
            "The card does not name this repository yet: `huggingtweets card {} --repository {repo}`, then push again.",
            args.dir.display()
        );
    }
    Ok(())
}

/// Returns the files listed in `bot.json`, followed by `bot.json` itself. Other files in the
/// folder are not uploaded.
fn files(dir: &Path, manifest: &Manifest) -> anyhow::Result<Vec<LocalFile>> {
    let mut files: Vec<LocalFile> = manifest
        .files
        .iter()
        .map(|(name, entry)| LocalFile {
            name: name.clone(),
            path: dir.join(name),
            size: entry.size,
            sha256: entry.sha256.clone(),
        })
        .collect();
    let path = dir.join(BOT);
    let opened = std::fs::File::open(&path).with_context(|| path.display().to_string())?;
    let entry = digest::digest(opened).with_context(|| path.display().to_string())?;
    files.push(LocalFile { name: BOT.into(), path, size: entry.size, sha256: entry.sha256 });
    Ok(files)
}

fn describe(
    out: &mut impl Write,
    args: &Args,
    repo: &str,
    endpoint: &str,
    manifest: &Manifest,
    files: &[LocalFile],
) -> io::Result<()> {
    let total: u64 = files.iter().map(|file| file.size).sum();
    let visibility = if args.private { "private if it is new" } else { "public if it is new" };
    writeln!(out, "{} -> {endpoint}/{repo} ({visibility})", card::display_name(&manifest.info))?;
    for file in files {
        writeln!(out, "  {:>12}  {}", HumanBytes(file.size).to_string(), escape::terminal(&file.name))?;
    }
    writeln!(out, "  {:>12}  in {} files", HumanBytes(total).to_string(), files.len())?;
    if manifest.info.notice.is_none() {
        writeln!(out, "Publish the bot of a person only with that person's consent.")?;
    }
    Ok(())
}

/// Asks for confirmation. Anything but `y` or `yes` is a no, including end of input.
fn confirmed(out: &mut impl Write, input: &mut impl BufRead) -> io::Result<bool> {
    write!(out, "Upload? [y/N] ")?;
    out.flush()?;
    let mut line = String::new();
    input.read_line(&mut line)?;
    Ok(matches!(line.trim().to_lowercase().as_str(), "y" | "yes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_yes_is_one() {
        for (answer, expected) in [
            ("y\n", true),
            ("YES\n", true),
            ("n\n", false),
            ("\n", false),
            ("", false),
            ("yesterday\n", false),
        ] {
            let mut out = Vec::new();
            assert_eq!(confirmed(&mut out, &mut answer.as_bytes()).unwrap(), expected, "{answer:?}");
            assert_eq!(out, b"Upload? [y/N] ");
        }
    }
}
