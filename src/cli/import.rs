//! `huggingtweets import`: reads archives, cleans them as the original does, prints the counts, and
//! writes the kept posts.

use std::fs::{self, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use serde::Serialize;

use super::{UsageError, filter_args::FilterArgs, say};
use crate::bundle::manifest::{AccountCounts, BotInfo};
use crate::bundle::staging::replace_file;
use crate::card::escape;
use crate::tweets::{
    self, Archive, Cleaned, Filter, FilteredOut, Unreadable,
    merge::{Merged, merged},
};

/// Number of kept posts in the JSON output, as a sample.
const FIRST_KEPT: usize = 3;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// X, Mastodon and Bluesky archives, .txt (one post per line), .csv (column text or full_text), .jsonl ({"text"})
    #[arg(required = true, value_name = "ARCHIVE")]
    archives: Vec<PathBuf>,
    /// Print the counts as JSON
    #[arg(long)]
    json: bool,
    /// Write the kept posts to this file, one JSON object {"text"} per line
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replace an existing --out
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    filter: FilterArgs,
}

/// Output of `--json` for one archive, and for each of several within `accounts`.
#[derive(Debug, Serialize)]
struct Counts {
    #[serde(flatten)]
    counts: AccountCounts,
    /// Length of the kept posts joined by `<|endoftext|>`, in code points.
    kept_chars_joined: usize,
    /// Numbers of posts that the filters left out, by reason; absent if there are none.
    #[serde(skip_serializing_if = "Option::is_none")]
    filtered_out_by: Option<FilteredOut>,
    /// Entries that could not be read as posts, which are in no other count; absent if there are
    /// none.
    #[serde(skip_serializing_if = "Option::is_none")]
    unreadable: Option<usize>,
    first_kept: Vec<String>,
}

/// Output of `--json` for several archives: the same keys for the bot made of all, and for each
/// account.
#[derive(Debug, Serialize)]
struct Together {
    #[serde(flatten)]
    all: Counts,
    accounts: Vec<Counts>,
}

pub fn run(args: Args) -> anyhow::Result<()> {
    if let Some(out) = &args.out {
        check_out(out, &args.archives, args.force)?;
    }
    let accounts = read_filtered(&args.archives, &args.filter.filter()?)?;
    if let Some(warning) = warnings(&accounts) {
        say!("warning: {warning}");
    }
    if let Some(out) = &args.out {
        write_kept(out, &accounts).with_context(|| format!("{} could not be written", out.display()))?;
    }
    let mut stdout = say::stdout();
    if args.json {
        let json = match accounts.as_slice() {
            [one] => serde_json::to_string_pretty(&Counts::of(one)),
            several => serde_json::to_string_pretty(&Together::of(several)),
        };
        writeln!(stdout, "{}", json?)?;
    } else {
        write_table(&mut stdout, &accounts)?;
        if let filters @ [_, ..] = args.filter.words().as_slice() {
            writeln!(stdout, "Filters: {}", filters.join(" "))?;
        }
        if let Some(out) = &args.out {
            let kept: usize = accounts.iter().map(|a| a.kept.len()).sum();
            writeln!(stdout, "{kept} posts written to {}", out.display())?;
        }
    }
    Ok(stdout.flush()?)
}

/// Reads and cleans all accounts; an account without kept posts is an error.
pub fn read_all(archives: &[PathBuf]) -> anyhow::Result<Vec<Cleaned>> {
    read_filtered(archives, &Filter::default())
}

/// Like [`read_all`], with only the posts that pass the filter.
pub fn read_filtered(archives: &[PathBuf], filter: &Filter) -> anyhow::Result<Vec<Cleaned>> {
    let mut read = Vec::with_capacity(archives.len());
    if archives.iter().any(|path| path == Path::new("-")) {
        return Err(UsageError("`-` is not an archive: standard input is /dev/stdin".into()).into());
    }
    for path in archives {
        let archive = tweets::open::read(path)?;
        if let Some(warning) = &archive.warning {
            say!("warning: {warning}");
        }
        if let Unreadable { count: count @ 1.., first } = &archive.unreadable {
            let entries = if *count == 1 { "entry" } else { "entries" };
            say!("warning: {}: skipped {count} unreadable {entries} ({first})", path.display());
        }
        let same = |other: &Archive| other.handle.eq_ignore_ascii_case(&archive.handle);
        if let Some(at) = read.iter().position(same) {
            say!("note: {}", why_merged(path, &archive, &archives[at], &read[at]));
        }
        read.push(archive);
    }
    // Before merging: an archive without kept posts may be a mistake, even if the account has some.
    let empty: Vec<Option<String>> = read.iter().map(|archive| why_empty(archive, filter)).collect();
    merged(read).into_iter().map(|account| cleaned(&account, archives, &empty, filter)).collect()
}

/// Why an archive is merged with an earlier one: a handle that only the files' names say may be a
/// mistake.
fn why_merged(path: &Path, archive: &Archive, other_path: &Path, other: &Archive) -> String {
    let (path, other_path, handle) = (path.display(), other_path.display(), &archive.handle);
    if archive.handle_from_file && other.handle_from_file {
        format!(
            "{path} and {other_path} are merged as @{handle}: both are named after their file; rename one \
             if these are two accounts"
        )
    } else {
        format!("{path}: @{handle} appears in another archive too; the two are merged")
    }
}

/// Cleans an account; reports archives without usable posts, and repeated posts.
fn cleaned(
    account: &Merged,
    archives: &[PathBuf],
    empty: &[Option<String>],
    filter: &Filter,
) -> anyhow::Result<Cleaned> {
    let sources: Vec<_> = account.sources.iter().map(|&at| (archives[at].display(), &empty[at])).collect();
    if let Some(why) = why_empty(&account.archive, filter) {
        let paths: Vec<String> = sources.iter().map(|(path, _)| path.to_string()).collect();
        bail!("{}: no usable posts ({why})", paths.join(", "));
    }
    for (path, why) in sources {
        if let Some(why) = why {
            say!("note: {path}: no usable posts ({why})");
        }
    }
    match account.repeated {
        0 => {}
        1 => {
            say!("note: 1 post of @{} is in more than one archive and is used once", account.archive.handle)
        }
        n => say!(
            "note: {n} posts of @{} are in more than one archive and are used once",
            account.archive.handle
        ),
    }
    Ok(Cleaned::filtered(&account.archive, filter))
}

/// What happened to an archive's posts, if none is kept.
fn why_empty(archive: &Archive, filter: &Filter) -> Option<String> {
    let cleaned = Cleaned::filtered(archive, filter);
    let filtered = match cleaned.filtered_out.describe() {
        reasons if reasons.is_empty() => reasons,
        reasons => format!("; filtered out: {reasons}; loosen the filters"),
    };
    cleaned.kept.is_empty().then(|| {
        format!(
            "{} read: {} retweets, {} short{filtered}",
            cleaned.tweets_downloaded, cleaned.retweets, cleaned.short_tweets
        )
    })
}

/// Too few posts are only a warning here; `train` makes it an error.
fn warnings(accounts: &[Cleaned]) -> Option<String> {
    match tweets::check_size(accounts) {
        Ok(warning) => warning.map(|w| w.to_string()),
        Err(too_few) => Some(too_few.to_string()),
    }
}

impl Counts {
    fn of(cleaned: &Cleaned) -> Self {
        Self {
            counts: cleaned.counts(),
            kept_chars_joined: cleaned.kept_chars_joined(),
            filtered_out_by: (cleaned.filtered_out.total() > 0).then_some(cleaned.filtered_out),
            unreadable: (cleaned.unreadable.count > 0).then_some(cleaned.unreadable.count),
            first_kept: cleaned.kept.iter().take(FIRST_KEPT).cloned().collect(),
        }
    }
}

impl Together {
    fn of(accounts: &[Cleaned]) -> Self {
        let bot =
            BotInfo { handles: accounts.iter().map(|a| a.handle.clone()).collect(), ..BotInfo::default() };
        let names: Vec<&str> = accounts.iter().map(|a| a.name.as_str()).collect();
        let together = Cleaned {
            handle: bot.slug(),
            name: names.join(" & "),
            tweets_downloaded: accounts.iter().map(|a| a.tweets_downloaded).sum(),
            retweets: accounts.iter().map(|a| a.retweets).sum(),
            short_tweets: accounts.iter().map(|a| a.short_tweets).sum(),
            filtered_out: accounts.iter().map(|a| a.filtered_out).sum(),
            duplicates: accounts.iter().map(|a| a.duplicates).sum(),
            unreadable: Unreadable {
                count: accounts.iter().map(|a| a.unreadable.count).sum(),
                ..Unreadable::default()
            },
            language: None,
            kept: accounts.iter().flat_map(|a| a.kept.iter().cloned()).collect(),
        };
        Self { all: Counts::of(&together), accounts: accounts.iter().map(Counts::of).collect() }
    }
}

/// The card's table: one row per count, one column per account.
fn write_table(out: &mut impl Write, accounts: &[Cleaned]) -> io::Result<()> {
    type Count = fn(&Cleaned) -> String;
    let rows: [(&str, Count); 7] = [
        ("Account", |a| escape::plain(&format!("{} (@{})", a.name, a.handle))),
        ("Tweets downloaded", |a| a.tweets_downloaded.to_string()),
        ("Retweets", |a| a.retweets.to_string()),
        ("Filtered out", |a| a.filtered_out.total().to_string()),
        ("Short tweets", |a| a.short_tweets.to_string()),
        ("Tweets kept", |a| a.kept.len().to_string()),
        ("Characters kept", |a| a.kept_chars_joined().to_string()),
    ];
    let filtered = accounts.iter().any(|a| a.filtered_out.total() > 0);
    for (label, count) in rows {
        if label == "Filtered out" && !filtered {
            continue;
        }
        write!(out, "{label:<17}")?;
        for account in accounts {
            let width = rows.iter().map(|(_, c)| c(account).chars().count()).max().unwrap_or(0);
            write!(out, "  {:>width$}", count(account))?;
        }
        writeln!(out)?;
    }
    for account in accounts.iter().filter(|a| a.filtered_out.total() > 0) {
        let handle = escape::plain(&account.handle);
        writeln!(out, "Filtered out of @{handle}: {}", account.filtered_out.describe())?;
    }
    Ok(())
}

/// Refuses `-`, and to overwrite an archive that is read, or without `force` any file.
fn check_out(out: &Path, archives: &[PathBuf], force: bool) -> anyhow::Result<()> {
    let shown = out.display();
    if out == Path::new("-") {
        bail!(UsageError("--out - is not a file: standard output is /dev/stdout".into()));
    }
    // Devices, pipes and folders are not replaced. Under `/dev`, `/dev/stdout` may name a regular
    // file that standard output is redirected to.
    let is_file = fs::metadata(out).is_ok_and(|found| found.is_file());
    if !is_file || out.starts_with("/dev") {
        return Ok(());
    }
    let whole = fs::canonicalize(out).with_context(|| shown.to_string())?;
    // In an unpacked archive, every file belongs to the archive.
    let of_input = |path: &PathBuf| fs::canonicalize(path).is_ok_and(|input| whole.starts_with(input));
    if let Some(input) = archives.iter().find(|path| of_input(path)) {
        bail!("--out {shown} would overwrite the input {}: choose another file", input.display());
    }
    if !force {
        bail!("--out {shown} already exists: choose another file, or replace it with --force");
    }
    Ok(())
}

/// Writes the posts to `path`, which has either all of them or its old contents.
fn write_kept(path: &Path, accounts: &[Cleaned]) -> anyhow::Result<()> {
    // Of a link, the target is replaced; a device or pipe is written to directly.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    match fs::metadata(&path) {
        Ok(meta) if meta.is_dir() => bail!("it is a folder"),
        Ok(meta) if !meta.is_file() => {
            return write_posts(OpenOptions::new().write(true).open(&path)?, accounts);
        }
        _ => {}
    }
    replace_file(&path, |file| write_posts(file, accounts))
}

fn write_posts(file: impl Write, accounts: &[Cleaned]) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct Line<'a> {
        text: &'a str,
    }
    let mut file = BufWriter::new(file);
    for text in accounts.iter().flat_map(|a| &a.kept) {
        serde_json::to_writer(&mut file, &Line { text }).map_err(io::Error::from)?;
        file.write_all(b"\n")?;
    }
    file.flush()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(handle: &str, kept: &[&str]) -> Cleaned {
        Cleaned {
            handle: handle.into(),
            name: handle.to_uppercase(),
            tweets_downloaded: kept.len() + 3,
            retweets: 2,
            short_tweets: 1,
            kept: kept.iter().map(|t| (*t).to_owned()).collect(),
            ..Cleaned::default()
        }
    }

    #[test]
    fn json_of_one_archive_is_one_flat_object() {
        let json = serde_json::to_value(Counts::of(&account("lamp", &["a b c", "d e f"]))).unwrap();
        let expected = serde_json::json!({
            "handle": "lamp", "name": "LAMP", "tweets_downloaded": 5, "retweets": 2,
            "short_tweets": 1, "tweets_kept": 2, "kept_chars_joined": 23,
            "first_kept": ["a b c", "d e f"],
        });
        assert_eq!(json, expected);
    }

    #[test]
    fn json_of_several_has_the_sums_and_each_account() {
        let accounts = [account("tide", &["a b c"]), account("lamp", &["d e f"])];
        let json = serde_json::to_value(Together::of(&accounts)).unwrap();
        assert_eq!(json["handle"], "lamp-tide");
        assert_eq!(json["name"], "TIDE & LAMP");
        assert_eq!(json["tweets_downloaded"], 8);
        assert_eq!(json["kept_chars_joined"], 23);
        assert_eq!(json["accounts"][0]["handle"], "tide");
        assert_eq!(json["accounts"][1]["kept_chars_joined"], 5);
    }

    #[test]
    fn the_table_has_a_column_an_account() {
        let mut table = Vec::new();
        write_table(&mut table, &[account("lamp", &["a b c"])]).unwrap();
        let expected = "\
Account            LAMP (@lamp)
Tweets downloaded             4
Retweets                      2
Short tweets                  1
Tweets kept                   1
Characters kept               5
";
        assert_eq!(String::from_utf8(table).unwrap(), expected);
    }

    #[test]
    fn kept_posts_read_back_and_nothing_is_left_aside() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("kept.jsonl");
        fs::write(&out, "what was here").unwrap();
        let texts = ["a \"quoted\" text", "émoji 🤖 text"];
        write_kept(&out, &[account("lamp", &texts)]).unwrap();
        let archive = tweets::open::read(&out).unwrap();
        let read: Vec<&str> = archive.posts.iter().map(|p| p.text.as_str()).collect();
        assert_eq!(read, texts);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn an_archive_is_never_written_over_and_a_file_only_when_asked() {
        let dir = tempfile::tempdir().unwrap();
        let (posts, other) = (dir.path().join("a.txt"), dir.path().join("b.jsonl"));
        let folder = dir.path().join("unpacked");
        fs::create_dir(&folder).unwrap();
        for path in [&posts, &other, &folder.join("tweets.js")] {
            fs::write(path, "what was here").unwrap();
        }
        let check = |out: &Path, force| {
            let checked = check_out(out, &[posts.clone(), folder.clone()], force);
            checked.map_err(|error| error.to_string())
        };
        for force in [false, true] {
            for out in [posts.clone(), dir.path().join("unpacked/../a.txt"), folder.join("tweets.js")] {
                let error = check(&out, force).unwrap_err();
                assert!(error.contains("would overwrite the input"), "{error}");
            }
        }
        let error = check(&other, false).unwrap_err();
        assert!(error.contains("already exists") && error.contains("--force"), "{error}");
        check(&other, true).unwrap();
        for out in [dir.path().join("new.jsonl"), folder.join("new.jsonl"), "/dev/stdout".into()] {
            check(&out, false).unwrap();
        }
        assert!(check(Path::new("-"), true).unwrap_err().contains("/dev/stdout"));
    }

    #[test]
    fn an_out_that_cannot_be_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        assert!(write_kept(dir.path(), &[]).is_err());
        assert!(write_kept(&dir.path().join("none/kept.jsonl"), &[]).is_err());
    }

    #[test]
    fn an_archive_of_short_posts_alone_is_an_error_that_counts_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("short.txt");
        fs::write(&path, "RT @a: one two three\nhi\n").unwrap();
        let error = read_all(&[path]).unwrap_err().to_string();
        assert!(error.ends_with("no usable posts (2 read: 1 retweets, 1 short)"), "{error}");
    }

    #[test]
    fn what_filters_left_out_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.csv");
        fs::write(&path, "text,lang\nthe lamp is lit,en\ndie Lampe brennt wieder,de\n").unwrap();
        let filter = Filter { languages: vec!["de".into()], ..Filter::default() };
        let accounts = read_filtered(std::slice::from_ref(&path), &filter).unwrap();
        let mut table = Vec::new();
        write_table(&mut table, &accounts).unwrap();
        let table = String::from_utf8(table).unwrap();
        assert!(
            table.contains("Filtered out ") && table.ends_with("Filtered out of @a: 1 by language\n"),
            "{table}"
        );
        let json = serde_json::to_value(Counts::of(&accounts[0])).unwrap();
        assert_eq!((&json["filtered_out"], &json["filtered_out_by"]["by_language"]), (&1.into(), &1.into()));
        let filter = Filter { languages: vec!["fr".into()], ..Filter::default() };
        let error = read_filtered(&[path], &filter).unwrap_err().to_string();
        assert!(error.ends_with("0 short; filtered out: 2 by language; loosen the filters)"), "{error}");
    }

    #[test]
    fn a_file_that_knows_no_replies_is_refused_without_them() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.txt");
        fs::write(&path, "the lamp is lit\nthe lamp is out\n").unwrap();
        let filter = Filter { no_replies: true, ..Filter::default() };
        let error = read_filtered(std::slice::from_ref(&path), &filter).unwrap_err().to_string();
        assert!(error.contains("2 in a file that does not say which posts are replies"), "{error}");
        let path = dir.path().join("a.csv");
        fs::write(&path, "text,in_reply_to_id\nthe lamp is lit,\nthe lamp is out,7\n").unwrap();
        let accounts = read_filtered(&[path], &filter).unwrap();
        assert_eq!((accounts[0].kept.len(), accounts[0].filtered_out.replies), (1, 1));
    }

    #[test]
    fn an_account_that_comes_twice_is_one() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("more")).unwrap();
        let paths = ["lamp.txt", "more/lamp.txt"].map(|name| dir.path().join(name));
        fs::write(&paths[0], "the lamp is lit\n").unwrap();
        fs::write(&paths[1], "the lamp is out\n").unwrap();
        let accounts = read_all(&paths).unwrap();
        assert_eq!(accounts.len(), 1);
        assert_eq!((accounts[0].handle.as_str(), accounts[0].kept.len()), ("lamp", 2));
        // One of the two may have no usable posts.
        fs::write(&paths[1], "hi\n").unwrap();
        let accounts = read_all(&paths).unwrap();
        assert_eq!(
            (accounts[0].tweets_downloaded, accounts[0].short_tweets, accounts[0].kept.len()),
            (2, 1, 1)
        );
        fs::write(&paths[0], "ho\n").unwrap();
        let error = read_all(&paths).unwrap_err().to_string();
        assert!(error.contains("lamp.txt, ") && error.contains("(2 read: 0 retweets, 2 short)"), "{error}");
    }

    #[test]
    fn merging_by_file_name_alone_says_what_to_do() {
        let paths = ["a/posts.txt", "b/posts.txt"].map(Path::new);
        let from_file = Archive::named_after_file("posts", Vec::new());
        let from_source = Archive { handle_from_file: false, ..from_file.clone() };
        let note = |other: &Archive| why_merged(paths[1], &from_file, paths[0], other);
        assert_eq!(
            note(&from_file),
            "b/posts.txt and a/posts.txt are merged as @posts: both are named after their file; rename one \
             if these are two accounts"
        );
        assert_eq!(
            note(&from_source),
            "b/posts.txt: @posts appears in another archive too; the two are merged"
        );
    }

    #[test]
    fn what_is_no_post_is_in_the_counts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("repo.json");
        let record =
            |text| serde_json::json!({"uri": "at://did:plc:x/app.bsky.feed.post/1", "value": {"text": text}});
        let [good, bad] = [serde_json::json!("the lamp is lit"), serde_json::json!(7)].map(record);
        fs::write(&path, serde_json::json!({"records": [good, bad.clone()]}).to_string()).unwrap();
        let json =
            serde_json::to_value(Counts::of(&read_all(std::slice::from_ref(&path)).unwrap()[0])).unwrap();
        assert_eq!((&json["tweets_downloaded"], &json["unreadable"]), (&1.into(), &1.into()));
        fs::write(&path, serde_json::json!({"records": [bad]}).to_string()).unwrap();
        let error = read_all(&[path]).unwrap_err().to_string();
        assert!(error.contains("none of its 1 entries can be read as a post (record 1: "), "{error}");
    }
}
