//! `huggingtweets site`: one folder of static files with the page, the widget
//! and a bot, for any static host and any path on it.

mod head;
mod space;

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};

use super::{
    UsageError,
    assets::{self, BOT_FOLDER, Bot},
};
use crate::card::{self, escape};

#[derive(Debug, clap::Args)]
pub struct Args {
    /// The bot's folder
    #[arg(value_name = "DIR")]
    bot: PathBuf,
    /// The folder to write
    #[arg(long, value_name = "SITE")]
    out: PathBuf,
    /// The built page [default: share/huggingtweets beside this command, else ./dist]
    #[arg(long, value_name = "DIR")]
    assets: Option<PathBuf>,
    /// The address that the folder will have, for previews of links [default: the card's]
    #[arg(long, value_name = "URL")]
    page: Option<String>,
    /// Make it a static Space of the Hugging Face Hub: its card, with the headers that isolate the page
    #[arg(long)]
    space: bool,
    /// Replace a site that was written before
    #[arg(long)]
    force: bool,
}

pub fn run(args: Args) -> anyhow::Result<()> {
    let page = match &args.page {
        Some(url) => {
            Some(escape::page_url(url).ok_or_else(|| UsageError(format!("--page {url} is no web address")))?)
        }
        None => None,
    };
    let assets = assets::locate(args.assets.as_deref())?;
    let bot = assets::open_bot(&args.bot)?;
    check_out(&args.out, args.force)?;
    write(&assets, &bot, &args.out, page.as_deref(), args.space)?;
    let place = if args.space { "push it to a static Space" } else { "put it on any static host" };
    answer!("Wrote {}: {place}", args.out.display())?;
    Ok(())
}

/// An existing folder is replaced only when asked, and only if it is a site or empty.
fn check_out(out: &Path, force: bool) -> anyhow::Result<()> {
    let mut entries = match fs::read_dir(out) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => {
            return Err(error).with_context(|| format!("cannot write the site to {}", out.display()));
        }
    };
    if entries.next().is_none() {
        return Ok(());
    }
    if !force {
        bail!("{} exists: replace it with --force, or choose another --out", out.display());
    }
    if !(out.join("index.html").is_file() && out.join(BOT_FOLDER).join("bot.json").is_file()) {
        bail!("{} is no site that was written before: choose another --out", out.display());
    }
    Ok(())
}

/// Writes aside, beside `out`, then renames.
fn write(assets: &Path, bot: &Bot, out: &Path, page: Option<&str>, is_space: bool) -> anyhow::Result<()> {
    // What is listed before the first write cannot contain it.
    let mut files = files_below(assets, true)?;
    files.retain(|file| file != Path::new("index.html"));
    let parent = match out.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    let staging = tempfile::Builder::new()
        .prefix(".site-")
        .tempdir_in(parent)
        .with_context(|| format!("cannot write in {}", parent.display()))?;
    let site = staging.path().join("new");

    for file in &files {
        copy(&assets.join(file), &site.join(file))?;
    }
    let index = assets.join("index.html");
    let html = fs::read_to_string(&index).with_context(|| format!("cannot read {}", index.display()))?;
    let card_page =
        bot.manifest.card.as_ref().and_then(|card| card.page_url.as_deref()).and_then(escape::page_url);
    let html = head::with_bot(&html, &bot.manifest.info, page.or(card_page.as_deref()));
    fs::create_dir_all(&site)?;
    fs::write(site.join("index.html"), html).context("cannot write index.html")?;

    for name in bot.manifest.files.keys().map(String::as_str).chain(["bot.json"]) {
        copy(&bot.dir.join(name), &site.join(BOT_FOLDER).join(name))?;
    }
    for name in card::FILES.into_iter().filter(|&name| !bot.manifest.files.contains_key(name)) {
        if bot.dir.join(name).is_file() {
            copy(&bot.dir.join(name), &site.join(BOT_FOLDER).join(name))?;
        }
    }

    if is_space {
        for (name, text) in space::files(&bot.manifest) {
            fs::write(site.join(name), text).with_context(|| format!("cannot write {name}"))?;
        }
    }

    let old = staging.path().join("old");
    let replaces = out.exists();
    if replaces {
        fs::rename(out, &old).with_context(|| format!("cannot replace {}", out.display()))?;
    }
    if let Err(error) = fs::rename(&site, out) {
        if replaces {
            fs::rename(&old, out).ok();
        }
        return Err(error).with_context(|| format!("cannot write {}", out.display()));
    }
    Ok(())
}

/// Files of a page, relative, without dot files and the page's own bot.
fn files_below(root: &Path, is_top: bool) -> anyhow::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let entries = fs::read_dir(root).with_context(|| format!("cannot read {}", root.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("cannot read {}", root.display()))?;
        let name = PathBuf::from(entry.file_name());
        if name.to_string_lossy().starts_with('.') || is_top && name == Path::new(BOT_FOLDER) {
            continue;
        }
        if entry.path().is_dir() {
            files.extend(files_below(&entry.path(), false)?.into_iter().map(|file| name.join(file)));
        } else {
            files.push(name);
        }
    }
    Ok(files)
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    if let Some(dir) = to.parent() {
        fs::create_dir_all(dir).with_context(|| format!("cannot make {}", dir.display()))?;
    }
    fs::copy(from, to).with_context(|| format!("cannot copy {} to the site", from.display()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A page with a demo bot, and a bot with one file.
    fn inputs(folder: &Path) -> (PathBuf, Bot) {
        let (assets, bot) = (folder.join("dist"), folder.join("mine"));
        fs::create_dir_all(assets.join("bot")).unwrap();
        fs::create_dir_all(assets.join("fonts/bot")).unwrap();
        fs::create_dir_all(&bot).unwrap();
        fs::write(assets.join("index.html"), "<head><title>Page</title></head>").unwrap();
        fs::write(assets.join("app.js"), "1").unwrap();
        fs::write(assets.join("fonts/bot/a.woff2"), "f").unwrap();
        fs::write(assets.join("bot/bot.json"), "demo").unwrap();
        fs::write(assets.join("bot/demo-only"), "demo").unwrap();
        let json = serde_json::json!({
            "format_version": 1, "name": "Maren <Holm>", "handles": ["m"], "checks": {},
            "files": {"model-q8_0.gguf": {"size": 1, "sha256": "", "chunks": [""]}},
        });
        fs::write(bot.join("bot.json"), json.to_string()).unwrap();
        fs::write(bot.join("model-q8_0.gguf"), "m").unwrap();
        fs::write(bot.join("README.md"), "r").unwrap();
        fs::write(bot.join("stray.txt"), "s").unwrap();
        (assets, assets::open_bot(&bot).unwrap())
    }

    fn listing(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> = files_below(dir, false)
            .unwrap()
            .iter()
            .map(|file| file.to_string_lossy().replace('\\', "/"))
            .collect();
        names.sort();
        names
    }

    #[test]
    fn the_site_is_the_page_with_this_bot() {
        let folder = tempfile::tempdir().unwrap();
        let (assets, bot) = inputs(folder.path());
        let out = folder.path().join("sites/one");
        write(&assets, &bot, &out, None, false).unwrap();
        assert_eq!(
            listing(&out),
            [
                "app.js",
                "bot/README.md",
                "bot/bot.json",
                "bot/model-q8_0.gguf",
                "fonts/bot/a.woff2",
                "index.html"
            ]
        );
        let html = fs::read_to_string(out.join("index.html")).unwrap();
        assert!(html.contains("<title>Maren &lt;Holm&gt; · AI BOT 🤖</title>"), "{html}");
        assert_ne!(fs::read_to_string(out.join("bot/bot.json")).unwrap(), "demo");
        assert_eq!(fs::read_dir(folder.path().join("sites")).unwrap().count(), 1, "nothing is left aside");
    }

    #[test]
    fn only_a_site_is_replaced_and_only_when_asked() {
        let folder = tempfile::tempdir().unwrap();
        let (assets, bot) = inputs(folder.path());
        let out = folder.path().join("site");
        check_out(&out, false).unwrap();
        write(&assets, &bot, &out, None, false).unwrap();
        assert!(check_out(&out, false).unwrap_err().to_string().contains("--force"));
        check_out(&out, true).unwrap();
        fs::write(out.join("old.js"), "").unwrap();
        write(&assets, &bot, &out, None, false).unwrap();
        assert!(!out.join("old.js").exists());
        assert!(check_out(&bot.dir, true).unwrap_err().to_string().contains("no site"));
        assert!(check_out(&out.join("app.js"), true).is_err());
    }

    #[test]
    fn a_file_that_is_missing_leaves_no_half_site() {
        let folder = tempfile::tempdir().unwrap();
        let (assets, bot) = inputs(folder.path());
        fs::remove_file(bot.dir.join("model-q8_0.gguf")).unwrap();
        let out = folder.path().join("site");
        let error = format!("{:#}", write(&assets, &bot, &out, None, false).unwrap_err());
        assert!(error.contains("model-q8_0.gguf"), "{error}");
        assert!(!out.exists());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_space_has_its_card_and_its_headers() {
        let folder = tempfile::tempdir().unwrap();
        let (assets, bot) = inputs(folder.path());
        let out = folder.path().join("space");
        write(&assets, &bot, &out, None, true).unwrap();
        let card = fs::read_to_string(out.join("README.md")).unwrap();
        assert!(card.starts_with("---\ntitle: \"Maren <Holm>\"\n"), "{card}");
        assert_eq!(fs::read_to_string(out.join("bot/README.md")).unwrap(), "r", "the bot keeps its own card");
        assert!(fs::read_to_string(out.join(".gitattributes")).unwrap().contains("*.gguf filter=lfs"));
        // Written again over itself.
        check_out(&out, true).unwrap();
        write(&assets, &bot, &out, None, false).unwrap();
        assert!(!out.join("README.md").exists());
    }

    #[test]
    fn a_site_inside_the_page_does_not_hold_itself() {
        let folder = tempfile::tempdir().unwrap();
        let (assets, bot) = inputs(folder.path());
        let out = assets.join("site");
        write(&assets, &bot, &out, None, false).unwrap();
        assert!(!out.join("site").exists());
    }
}
