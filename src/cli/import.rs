//! `huggingtweets import`: reads archives, cleans them, prints the four counts.

use std::{
    io::{BufWriter, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use crate::tweets::{Cleaned, check_size, open};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// X archives (.zip or folder), .txt (a post a line), .csv (column text or full_text), .jsonl ({"text"})
    #[arg(required = true, value_name = "ARCHIVE")]
    archives: Vec<PathBuf>,
    /// Print one JSON object: of one archive its counts; of several their sums, and each under "accounts"
    #[arg(long)]
    json: bool,
    /// Write the kept posts as JSONL {"text"}
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub fn run(args: Args) -> anyhow::Result<()> {
    let accounts = read_all(&args.archives)?;
    match check_size(&accounts) {
        Ok(None) => {}
        Ok(Some(warning)) => eprintln!("warning: {warning}"),
        Err(too_few) => eprintln!("warning: {too_few}"),
    }
    if let Some(out) = &args.out {
        write_posts(out, &accounts)?;
    }
    if args.json {
        println!("{}", report(&accounts));
    } else {
        println!("{:<24} {:>10} {:>9} {:>7} {:>7}", "account", "downloaded", "retweets", "short", "kept");
        for a in &accounts {
            let handle = format!("@{}", a.handle);
            println!(
                "{handle:<24} {:>10} {:>9} {:>7} {:>7}",
                a.tweets_downloaded, a.retweets, a.short_tweets, a.kept.len()
            );
        }
    }
    Ok(())
}

/// Reads and cleans every archive; one with no post left is an error.
pub fn read_all(archives: &[PathBuf]) -> anyhow::Result<Vec<Cleaned>> {
    let mut accounts = Vec::new();
    for path in archives {
        let cleaned = Cleaned::from_archive(&open::read(path)?);
        if cleaned.kept.is_empty() {
            bail!(
                "{}: none of its {} posts is left after cleaning ({} retweets, {} of fewer than 3 words)",
                path.display(),
                cleaned.tweets_downloaded,
                cleaned.retweets,
                cleaned.short_tweets
            );
        }
        accounts.push(cleaned);
    }
    Ok(accounts)
}

fn report(accounts: &[Cleaned]) -> Value {
    let one = |a: &Cleaned| {
        json!({
            "handle": a.handle, "name": a.name, "tweets_downloaded": a.tweets_downloaded, "retweets": a.retweets,
            "short_tweets": a.short_tweets, "tweets_kept": a.kept.len(), "kept_chars_joined": a.kept_chars_joined(),
        })
    };
    if let [only] = accounts {
        return one(only);
    }
    let sum = |f: fn(&Cleaned) -> usize| accounts.iter().map(f).sum::<usize>();
    json!({
        "accounts": accounts.iter().map(one).collect::<Vec<_>>(),
        "tweets_downloaded": sum(|a| a.tweets_downloaded), "retweets": sum(|a| a.retweets),
        "short_tweets": sum(|a| a.short_tweets), "tweets_kept": sum(|a| a.kept.len()),
        "kept_chars_joined": sum(Cleaned::kept_chars_joined),
    })
}

/// Writes aside, then renames: a reader sees the old file or the whole new one.
fn write_posts(out: &Path, accounts: &[Cleaned]) -> anyhow::Result<()> {
    let folder = out.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let write = || -> anyhow::Result<()> {
        let mut file = BufWriter::new(tempfile::NamedTempFile::new_in(folder)?);
        for post in accounts.iter().flat_map(|a| &a.kept) {
            writeln!(file, "{}", json!({ "text": post }))?;
        }
        file.into_inner()?.persist(out)?;
        Ok(())
    };
    write().with_context(|| format!("{}: cannot be written", out.display()))
}
