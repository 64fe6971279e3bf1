//! `huggingtweets site`: writes the page, the widget and a bot as one folder of static files, for
//! any static host and any path on it.

mod head;
mod space;
mod target;

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
};

use anyhow::Context;

use self::target::{INDEX, LIST, Target};
use super::{
    UsageError,
    assets::{self, BOT_FOLDER, Bot},
};
use crate::{
    bundle::{digest, file_names::BOT, folder::BundleError, manifest::FileEntry, staging::parent},
    card::{self, escape},
};

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
    /// Add what a static Space of the Hugging Face Hub needs: a card, with the headers that isolate the page
    #[arg(long)]
    space: bool,
    /// Replace a site that was written before
    #[arg(long)]
    force: bool,
}

pub fn run(args: Args) -> anyhow::Result<()> {
    let page = match &args.page {
        Some(url) => Some(
            escape::page_url(url).ok_or_else(|| UsageError(format!("--page {url} is not a web address")))?,
        ),
        None => None,
    };
    let assets = assets::locate(args.assets.as_deref())?;
    let bot = assets::open_bot(&args.bot)?;
    let target = Target::open(&args.out, args.force)?;
    write(&assets, &bot, target, page.as_deref(), args.space)?;
    let place = if args.space { "push it to a static Space" } else { "put it on any static host" };
    answer!("Wrote {}: {place}", args.out.display())?;
    Ok(())
}

/// Writes the site to a temporary folder and moves it into place.
fn write(assets: &Path, bot: &Bot, target: Target, page: Option<&str>, is_space: bool) -> anyhow::Result<()> {
    let site = target.path();
    for file in page_files(assets, target.out())? {
        copy(&assets.join(&file), &site.join(&file), None)?;
    }
    let index = assets.join(INDEX);
    let html = fs::read_to_string(&index).with_context(|| format!("cannot read {}", index.display()))?;
    let card_page =
        bot.manifest.card.as_ref().and_then(|card| card.page_url.as_deref()).and_then(escape::page_url);
    let html = head::with_bot(&html, &bot.manifest.info, page.or(card_page.as_deref()));
    fs::write(site.join(INDEX), html).context("cannot write index.html")?;

    let bot_out = site.join(BOT_FOLDER);
    for (name, entry) in &bot.manifest.files {
        copy(&bot.dir.join(name), &bot_out.join(name), Some(entry))?;
    }
    // The manifest as it was read at the start, since the copies were verified against it.
    fs::create_dir_all(&bot_out).context("cannot make the bot's folder")?;
    fs::write(bot_out.join(BOT), bot.manifest.to_json()).context("cannot write bot.json")?;
    for name in card::FILES.into_iter().filter(|&name| !bot.manifest.files.contains_key(name)) {
        if bot.dir.join(name).is_file() {
            copy(&bot.dir.join(name), &bot_out.join(name), None)?;
        }
    }

    if is_space {
        for (name, text) in space::files(&bot.manifest) {
            fs::write(site.join(name), text).with_context(|| format!("cannot write {name}"))?;
        }
    }
    target.commit()
}

/// Lists a page's files as relative paths, without dot files, the page's own bot, and sites
/// written into it.
fn page_files(assets: &Path, out: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let out = out.canonicalize().ok();
    let mut files = Vec::new();
    let mut folders = vec![PathBuf::new()];
    while let Some(folder) = folders.pop() {
        let shown = assets.join(&folder);
        let entries = fs::read_dir(&shown).with_context(|| format!("cannot read {}", shown.display()))?;
        for entry in entries {
            let entry = entry.with_context(|| format!("cannot read {}", shown.display()))?;
            let (path, file) = (entry.path(), folder.join(entry.file_name()));
            let is_other = [INDEX, LIST, BOT_FOLDER].iter().any(|name| file == Path::new(name));
            if is_other || entry.file_name().to_string_lossy().starts_with('.') {
                continue;
            }
            if !path.is_dir() {
                files.push(file);
            } else if !path.join(LIST).exists() && (out.is_none() || path.canonicalize().ok() != out) {
                folders.push(file);
            }
        }
    }
    Ok(files)
}

/// Copies a file, and verifies it against its entry in `bot.json` on the way.
fn copy(from: &Path, to: &Path, entry: Option<&FileEntry>) -> anyhow::Result<()> {
    fs::create_dir_all(parent(to)).with_context(|| format!("cannot make {}", parent(to).display()))?;
    let copied = match entry {
        None => fs::copy(from, to).map(|_| Ok(())),
        Some(entry) => File::open(from)
            .and_then(|from| Ok((from, File::create(to)?)))
            .and_then(|(from, to)| digest::verify_reader(entry, Tee { from, to })),
    };
    match copied.with_context(|| format!("cannot copy {} to the site", from.display()))? {
        Ok(()) => Ok(()),
        Err(source) => Err(BundleError::Digest { file: from.into(), source }.into()),
    }
}

/// Copies everything read from `from` to `to`.
struct Tee {
    from: File,
    to: File,
}

impl Read for Tee {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.from.read(buffer)?;
        self.to.write_all(&buffer[..n])?;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::{folder, staging};

    /// Creates a page with a demo bot, and a bot with one file.
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
            "files": {"model-q8_0.gguf": digest::digest(&b"m"[..]).unwrap()},
        });
        fs::write(bot.join("bot.json"), json.to_string()).unwrap();
        fs::write(bot.join("model-q8_0.gguf"), "m").unwrap();
        fs::write(bot.join("README.md"), "r").unwrap();
        fs::write(bot.join("stray.txt"), "s").unwrap();
        (assets, assets::open_bot(&bot).unwrap())
    }

    fn site(assets: &Path, bot: &Bot, out: &Path, force: bool, is_space: bool) -> anyhow::Result<()> {
        write(assets, bot, Target::open(out, force)?, None, is_space)
    }

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let mut names: Vec<_> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }

    #[test]
    fn the_site_is_the_page_with_this_bot() {
        let folder = tempfile::tempdir().unwrap();
        let (assets, bot) = inputs(folder.path());
        let out = folder.path().join("sites/one");
        site(&assets, &bot, &out, false, false).unwrap();
        let listing: Vec<String> = staging::files_below(&out).unwrap().into_iter().collect();
        assert_eq!(
            listing,
            [
                "app.js",
                "bot/README.md",
                "bot/bot.json",
                "bot/model-q8_0.gguf",
                "fonts/bot/a.woff2",
                "huggingtweets-site.json",
                "index.html"
            ]
        );
        let html = fs::read_to_string(out.join("index.html")).unwrap();
        assert!(html.contains("<title>Maren &lt;Holm&gt; · AI BOT 🤖</title>"), "{html}");
        assert_eq!(folder::read_manifest(&out.join("bot")).unwrap().unwrap(), bot.manifest);
        assert_eq!(names(&folder.path().join("sites")), ["one"], "nothing is left aside");
    }

    #[test]
    fn only_a_site_is_replaced_and_only_when_asked() {
        let folder = tempfile::tempdir().unwrap();
        let (assets, bot) = inputs(folder.path());
        let out = folder.path().join("site");
        fs::create_dir(&out).unwrap();
        site(&assets, &bot, &out, false, false).unwrap();
        assert!(site(&assets, &bot, &out, false, false).unwrap_err().to_string().contains("--force"));
        fs::remove_file(assets.join("app.js")).unwrap();
        site(&assets, &bot, &out, true, false).unwrap();
        assert!(!out.join("app.js").exists());
        for foreign in ["notes.txt", "fonts/mine.woff2"] {
            fs::write(out.join(foreign), "mine").unwrap();
            let error = site(&assets, &bot, &out, true, false).unwrap_err().to_string();
            assert!(error.contains(&format!("`{foreign}`, which is not part of the site")), "{error}");
            fs::remove_file(out.join(foreign)).unwrap();
        }
        let error = site(&assets, &bot, &bot.dir, true, false).unwrap_err().to_string();
        assert!(error.contains("is not a site"), "{error}");
        assert!(site(&assets, &bot, &out.join("index.html"), true, false).is_err());
        assert_eq!(names(folder.path()), ["dist", "mine", "site"]);
    }

    #[test]
    fn a_list_does_not_lead_out_of_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let (assets, bot) = inputs(folder.path());
        let out = folder.path().join("space");
        fs::create_dir_all(out.join(".git")).unwrap();
        for name in ["../mine/bot.json", ".git/HEAD", "/etc/hosts", "a//b"] {
            fs::write(out.join(LIST), serde_json::json!({ "files": [name] }).to_string()).unwrap();
            let error = site(&assets, &bot, &out, true, false).unwrap_err().to_string();
            assert!(error.contains("is not a site"), "{error}");
        }
    }

    #[test]
    fn a_file_that_is_missing_or_damaged_leaves_no_half_site() {
        let folder = tempfile::tempdir().unwrap();
        let (assets, bot) = inputs(folder.path());
        let out = folder.path().join("site");
        let weights = bot.dir.join("model-q8_0.gguf");
        fs::write(&weights, "n").unwrap();
        let error = format!("{:#}", site(&assets, &bot, &out, false, false).unwrap_err());
        assert!(error.contains("model-q8_0.gguf is damaged"), "{error}");
        fs::remove_file(weights).unwrap();
        let error = format!("{:#}", site(&assets, &bot, &out, false, false).unwrap_err());
        assert!(error.contains("model-q8_0.gguf"), "{error}");
        assert_eq!(names(folder.path()), ["dist", "mine"]);
    }

    #[test]
    fn a_space_has_its_card_and_its_headers() {
        let folder = tempfile::tempdir().unwrap();
        let (assets, bot) = inputs(folder.path());
        let out = folder.path().join("space");
        site(&assets, &bot, &out, false, true).unwrap();
        let card = fs::read_to_string(out.join("README.md")).unwrap();
        assert!(card.starts_with("---\ntitle: \"Maren <Holm>\"\n"), "{card}");
        assert_eq!(fs::read_to_string(out.join("bot/README.md")).unwrap(), "r", "the bot keeps its own card");
        assert!(fs::read_to_string(out.join(".gitattributes")).unwrap().contains("*.gguf filter=lfs"));
        // Replaced by a site that is not a Space.
        site(&assets, &bot, &out, true, false).unwrap();
        assert!(!out.join("README.md").exists());
    }

    #[test]
    fn a_checkout_of_a_space_keeps_its_history() {
        let folder = tempfile::tempdir().unwrap();
        let (assets, bot) = inputs(folder.path());
        let out = folder.path().join("space");
        fs::create_dir_all(out.join(".git/refs")).unwrap();
        fs::write(out.join(".git/HEAD"), "ref").unwrap();
        for name in ["README.md", ".gitattributes", "index.html", "style.css"] {
            fs::write(out.join(name), "of a new Space").unwrap();
        }
        fs::write(out.join("LICENSE"), "mine").unwrap();
        assert!(site(&assets, &bot, &out, false, true).is_err());
        site(&assets, &bot, &out, true, true).unwrap();
        assert!(fs::read_to_string(out.join("README.md")).unwrap().contains("sdk: static"));
        // Again, with one file less.
        fs::remove_file(assets.join("fonts/bot/a.woff2")).unwrap();
        site(&assets, &bot, &out, true, true).unwrap();
        assert!(!out.join("fonts").exists() && out.join("bot/model-q8_0.gguf").is_file());
        site(&assets, &bot, &out, true, true).unwrap();
        assert!(!fs::read_to_string(out.join(LIST)).unwrap().contains("woff2"));
        assert!(fs::read_to_string(out.join("index.html")).unwrap().contains("Maren"));
        assert_eq!(fs::read_to_string(out.join("LICENSE")).unwrap(), "mine");
        // But a file of the site does not replace another's.
        for (new, taken) in [("extra.js", "extra.js"), ("more/extra.js", "more")] {
            fs::create_dir_all(assets.join("more")).unwrap();
            fs::write(assets.join(new), "page").unwrap();
            fs::write(out.join(taken), "mine").unwrap();
            let error = site(&assets, &bot, &out, true, true).unwrap_err().to_string();
            assert!(error.contains(&format!("`{taken}`, which is not part of the site")), "{error}");
            assert_eq!(fs::read_to_string(out.join(taken)).unwrap(), "mine");
            fs::remove_file(out.join(taken)).unwrap();
            fs::remove_file(assets.join(new)).unwrap();
        }
        assert_eq!(fs::read_to_string(out.join(".git/HEAD")).unwrap(), "ref");
        assert!(out.join(".git/refs").is_dir());
        assert_eq!(names(folder.path()), ["dist", "mine", "space"]);
    }

    #[cfg(unix)]
    #[test]
    fn where_a_link_leads_the_site_goes() {
        let folder = tempfile::tempdir().unwrap();
        let (assets, bot) = inputs(folder.path());
        let (disk, link) = (folder.path().join("disk"), folder.path().join("site"));
        fs::create_dir(&disk).unwrap();
        std::os::unix::fs::symlink("disk/one", &link).unwrap();
        for force in [false, true] {
            site(&assets, &bot, &link, force, false).unwrap();
            assert!(link.is_symlink() && disk.join("one/index.html").is_file());
        }
    }

    #[test]
    fn a_site_inside_the_page_does_not_hold_itself() {
        let folder = tempfile::tempdir().unwrap();
        let (assets, bot) = inputs(folder.path());
        let out = assets.join("site");
        site(&assets, &bot, &out, false, false).unwrap();
        site(&assets, &bot, &out, true, false).unwrap();
        assert!(!out.join("site").exists());
        // Nor does another site contain the first one.
        let other = assets.join("other");
        site(&assets, &bot, &other, false, false).unwrap();
        assert!(!other.join("site").exists() && other.join("app.js").is_file());
    }
}
