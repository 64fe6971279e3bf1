//! The run's folder beside the bot: a new one, or one to go on with.
//!
//! It holds the record and, until the bot is written, the checkpoint and the
//! command that began the run, so that `train --resume DIR` says enough.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use clap::FromArgMatches;
use serde::{Deserialize, Serialize};

use super::args::{Args, Plan};
use crate::{cli::words, record::Run, train::checkpoint::Store};

const COMMAND: &str = "command.json";

/// How a run was begun. It stays on this machine and goes with the checkpoint.
#[derive(Debug, Serialize, Deserialize)]
struct Command {
    /// Where its relative paths begin.
    folder: PathBuf,
    /// Everything after `train`.
    words: Vec<String>,
}

/// Adds what `--resume DIR` leaves unsaid: the command that the run began with,
/// which the options given now come after.
///
/// # Errors
/// Where the folder holds no run under way.
pub fn complete(args: Args, given: &[String]) -> anyhow::Result<Args> {
    let Some(dir) = args.keeping.resume.clone() else { return Ok(args) };
    if !args.archives.is_empty() {
        return Ok(args);
    }
    let path = dir.join(COMMAND);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(_) if Run::is_at(&dir) => bail!("--resume {}: this run has ended already", dir.display()),
        Err(_) => bail!("--resume {}: there is no run under way in it", dir.display()),
    };
    let begun: Command = serde_json::from_slice(&text)
        .with_context(|| format!("{} is damaged; give the whole command, too", path.display()))?;
    let first = parse(&begun.words)?;
    let mut both = parse(&[&begun.words, given].concat())?;
    let there = |path: PathBuf| begun.folder.join(path);
    both.archives = first.archives.into_iter().map(there).collect();
    both.out = args.out.or(first.out.map(there));
    both.base = args.base.or(first.base.map(|base| {
        let path = there(base.clone().into());
        if path.exists() { path.display().to_string() } else { base }
    }));
    both.keeping.run = args.keeping.run;
    Ok(both)
}

fn parse(words: &[String]) -> Result<Args, clap::Error> {
    let command = <Args as clap::Args>::augment_args(clap::Command::new("train").no_binary_name(true));
    Args::from_arg_matches(&command.try_get_matches_from(words)?)
}

/// Makes sure that a run may be in the folder: a new one needs it empty, or
/// `--force` and a run's in it, which goes.
///
/// # Errors
/// Names what is there and both ways out.
pub fn check(plan: &Plan) -> anyhow::Result<()> {
    let dir = &plan.run;
    if plan.resume {
        if !Run::is_at(dir) {
            bail!("--resume {}: there is no run in it", dir.display());
        }
        return Ok(());
    }
    let is_run = Run::is_at(dir);
    if !occupied(dir)? || plan.force && is_run {
        return Ok(());
    }
    // One that failed before its first checkpoint holds nothing to go on with.
    if is_run && !Store::is_at(dir) && Run::open(dir)?.summary.is_none() {
        return Ok(());
    }
    match (is_run, Store::is_at(dir)) {
        (true, true) => bail!(
            "{} holds an unfinished run: go on with it by `{}`, or replace it with --force",
            dir.display(),
            way_on(dir)
        ),
        (true, false) => {
            bail!("{} holds a run: choose another --run, or replace it with --force", dir.display())
        }
        (false, _) => bail!("{} exists and is no run's folder: choose another --run", dir.display()),
    }
}

/// Empties the folder of an older run, which [`check`] has allowed.
pub fn clear(plan: &Plan) -> anyhow::Result<()> {
    if occupied(&plan.run)? {
        fs::remove_dir_all(&plan.run).with_context(|| plan.run.display().to_string())?;
    }
    Ok(())
}

fn occupied(dir: &Path) -> anyhow::Result<bool> {
    match fs::read_dir(dir) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| dir.display().to_string()),
    }
}

/// Writes down how the run was begun.
pub fn remember(dir: &Path, words: &[String]) -> anyhow::Result<()> {
    let path = dir.join(COMMAND);
    let command = Command { folder: std::env::current_dir()?, words: words.to_vec() };
    fs::write(&path, serde_json::to_vec_pretty(&command)?).with_context(|| path.display().to_string())
}

/// Deletes that again, once the bot is written.
pub fn forget(dir: &Path) {
    let _ = fs::remove_file(dir.join(COMMAND));
}

/// The command that goes on with a run.
pub fn way_on(dir: &Path) -> String {
    let mut line = words::Line::new("huggingtweets train");
    line.option("--resume", dir.display());
    line.into_text()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn resume_alone_takes_the_rest_from_the_run() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("bot.run");
        fs::create_dir(&dir).unwrap();
        remember(&dir, &words("a.zip b.zip --out bot --epochs 2 --lr 1e-3 --json")).unwrap();
        let given = words(&format!("--resume {} --epochs 3", dir.display()));
        let args = complete(parse(&given).unwrap(), &given).unwrap();
        let here = std::env::current_dir().unwrap();
        assert_eq!(args.archives, [here.join("a.zip"), here.join("b.zip")]);
        assert_eq!(args.out, Some(here.join("bot")));
        assert_eq!((args.learning.epochs, args.learning.lr, args.json), (3, 1e-3, true));
        let plan = args.plan().unwrap();
        assert!(plan.resume && plan.run == dir);
    }

    #[test]
    fn a_run_begun_in_a_folder_of_its_own_is_gone_on_with() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("my.run");
        fs::create_dir(&dir).unwrap();
        for run in [format!("--run {}", dir.display()), format!("--run={}", dir.display())] {
            remember(&dir, &words(&format!("a.zip --out bot {run}"))).unwrap();
            let given = words(&format!("--resume {}", dir.display()));
            let plan = complete(parse(&given).unwrap(), &given).unwrap().plan().unwrap();
            assert!(plan.resume && plan.run == dir);
            let given = [given, words("--run other.run")].concat();
            let error = complete(parse(&given).unwrap(), &given).unwrap().plan().unwrap_err();
            assert!(error.to_string().contains("leave --run away"), "{error}");
        }
    }

    #[test]
    fn a_folder_without_a_run_is_named() {
        let home = tempfile::tempdir().unwrap();
        let given = words(&format!("--resume {}", home.path().display()));
        let error = complete(parse(&given).unwrap(), &given).unwrap_err().to_string();
        assert!(error.contains("no run under way"), "{error}");
        fs::write(home.path().join("letter.txt"), "").unwrap();
        let given = words(&format!("a.zip --out bot --force --run {}", home.path().display()));
        let error = check(&parse(&given).unwrap().plan().unwrap()).unwrap_err().to_string();
        assert!(error.contains("no run's folder"), "{error}");
    }

    #[test]
    fn a_name_with_a_space_is_quoted() {
        assert_eq!(way_on(Path::new("my bot.run")), "huggingtweets train --resume 'my bot.run'");
    }
}
