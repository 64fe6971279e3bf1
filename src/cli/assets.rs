//! Locates the built page and opens a bot's folder, for `serve` and `site`.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use tempfile::TempDir;

use super::convert;
use crate::bundle::{
    Manifest,
    file_names::CONFIG,
    folder::{self, BotFolder, folder_name, read_manifest},
};

/// The bot's folder within the assets and under the served URL.
pub const BOT_FOLDER: &str = "bot";

/// A bundle with its `bot.json`.
#[derive(Debug)]
pub struct Bot {
    pub dir: PathBuf,
    pub manifest: Manifest,
    /// Owns the temporary bundle made from a folder without `bot.json`.
    _made: Option<TempDir>,
}

/// Returns the folder of the built page: the given one, else `share/huggingtweets` beside the
/// command or its `bin` folder, else `./dist`.
pub fn locate(named: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(dir) = named {
        if !is_page(dir) {
            bail!(
                "{} has no index.html: name the folder that `make build` makes with --assets",
                dir.display()
            );
        }
        return Ok(dir.into());
    }
    let beside = std::env::current_exe().ok().and_then(|exe| exe.parent().map(Path::to_path_buf));
    match candidates(beside.as_deref()).into_iter().find(|dir| is_page(dir)) {
        Some(dir) => Ok(dir),
        None => bail!(
            "the page is not built: run `make build` and start again here, or name its folder with --assets"
        ),
    }
}

/// Opens a bundle, which must be complete. For a Hugging Face folder without `bot.json`, makes a
/// temporary bundle that is deleted when the result is dropped.
pub fn open_bot(dir: &Path) -> anyhow::Result<Bot> {
    if let Some(manifest) = read_manifest(dir)? {
        folder::check_sizes(dir, &manifest)?;
        return Ok(Bot { dir: dir.into(), manifest, _made: None });
    }
    if !dir.join(CONFIG).is_file() {
        bail!("{} is not a bot's folder: it has no bot.json", dir.display());
    }
    say!(
        "{dir} has no bot.json: making a temporary bot from it (`huggingtweets convert {dir} --out BOT` makes one to keep)",
        dir = dir.display()
    );
    let made = tempfile::tempdir().context("cannot make a temporary folder")?;
    convert::write(&BotFolder::open(dir)?, &folder_name(dir), made.path())?;
    let bot = open_bot(made.path())?;
    Ok(Bot { _made: Some(made), ..bot })
}

/// Candidate folders, in order of preference.
fn candidates(beside: Option<&Path>) -> Vec<PathBuf> {
    let share = Path::new("share").join("huggingtweets");
    let installed = beside.map(|dir| [dir.join(&share), dir.join("..").join(&share)]);
    installed.into_iter().flatten().chain([PathBuf::from("dist")]).collect()
}

fn is_page(dir: &Path) -> bool {
    dir.join("index.html").is_file()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::bundle::manifest::BotInfo;

    #[test]
    fn a_folder_that_is_no_page_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = locate(Some(dir.path())).unwrap_err().to_string();
        assert!(error.contains("index.html") && error.contains("make build"), "{error}");
        fs::write(dir.path().join("index.html"), "").unwrap();
        assert_eq!(locate(Some(dir.path())).unwrap(), dir.path());
    }

    #[test]
    fn the_page_beside_the_command_comes_before_dist() {
        let found = candidates(Some(Path::new("/opt/ht/bin")));
        assert_eq!(found[0], Path::new("/opt/ht/bin/share/huggingtweets"));
        assert_eq!(found[1], Path::new("/opt/ht/bin/../share/huggingtweets"));
        assert_eq!(found[2], Path::new("dist"));
    }

    #[test]
    fn a_bot_without_all_of_its_files_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("model-q8_0.gguf");
        fs::write(&file, "weights").unwrap();
        let info = BotInfo { handles: vec!["m".into()], ..BotInfo::default() };
        folder::finish(dir.path(), info, Default::default(), None).unwrap();
        open_bot(dir.path()).unwrap();
        fs::write(&file, "weig").unwrap();
        let error = open_bot(dir.path()).unwrap_err().to_string();
        assert!(error.contains("model-q8_0.gguf is damaged (it has 4 bytes; bot.json says 7)"), "{error}");
        fs::remove_file(file).unwrap();
        let error = open_bot(dir.path()).unwrap_err().to_string();
        assert!(error.contains("model-q8_0.gguf, which is missing"), "{error}");
    }

    #[test]
    fn a_folder_without_a_bot_is_an_error_of_one_line() {
        let dir = tempfile::tempdir().unwrap();
        assert!(open_bot(dir.path()).unwrap_err().to_string().contains("no bot.json"));
        fs::write(dir.path().join("config.json"), "{}").unwrap();
        assert!(open_bot(dir.path()).unwrap_err().to_string().contains("config.json"));
        fs::write(dir.path().join("bot.json"), "{").unwrap();
        let error = format!("{:#}", open_bot(dir.path()).unwrap_err());
        assert!(error.contains("bot.json") && !error.contains('\n'), "{error}");
    }
}
