//! The folder of a run, next to the bot: a new one, or one to resume.
//!
//! It holds the record and, until the bot is written, the checkpoint and the command that began the
//! run, so that `train --resume DIR` needs no other options.

use std::{
    fs::{self, File},
    io::Write,
    path::{Component, Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use clap::FromArgMatches;
use serde::{Deserialize, Serialize};

use super::args::{Args, Plan};
use crate::{
    bundle::{
        folder::folder_name,
        staging::{Held, Lock, replace_file, sync_folder},
    },
    cli::{UsageError, with_negative_numbers, words},
    record::{LOCK, Run},
    train::checkpoint::Store,
};

const COMMAND: &str = "command.json";

/// The command that began a run. It stays on this machine and is deleted with the checkpoint.
#[derive(Debug, Serialize, Deserialize)]
struct Command {
    /// The working directory, for relative paths.
    folder: PathBuf,
    /// All words after `train`.
    words: Vec<String>,
}

/// Completes `--resume DIR` with the command that began the run; archives and options given now
/// override it.
///
/// # Errors
/// If the folder has no unfinished run. With archives, the options given now must do, so that a
/// run without its command can be resumed.
pub fn complete(args: Args, given: &[String]) -> anyhow::Result<Args> {
    let Some(dir) = args.keeping.resume.clone() else { return Ok(args) };
    let path = dir.join(COMMAND);
    let text = match fs::read(&path) {
        Ok(text) => text,
        Err(_) if !args.archives.is_empty() => return Ok(args),
        Err(_) if Run::is_at(&dir) => bail!("--resume {}: this run has already ended", dir.display()),
        Err(_) => bail!("--resume {}: there is no unfinished run in it", dir.display()),
    };
    let begun: Command = match serde_json::from_slice(&text) {
        Ok(begun) => begun,
        Err(_) if !args.archives.is_empty() => return Ok(args),
        Err(error) => {
            let way_out = "is damaged: give the archives and all options of the original command, too";
            return Err(error).with_context(|| format!("{} {way_out}", path.display()));
        }
    };
    let first = parse(&begun.words)?;
    let mut both = parse(&[&begun.words, given].concat())?;
    let there = |path: PathBuf| begun.folder.join(path);
    both.archives = match args.archives.is_empty() {
        true => first.archives.into_iter().map(there).collect(),
        false => args.archives,
    };
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
    let command = with_negative_numbers(command);
    Args::from_arg_matches(&command.try_get_matches_from(words)?)
}

/// Creates the folder if needed, and locks out other processes while the value lives. The system
/// releases the lock when the process is killed.
///
/// # Errors
/// If another process has it.
pub fn hold(dir: &Path) -> anyhow::Result<Lock> {
    let path = dir.join(LOCK);
    let opened = fs::create_dir_all(dir)
        .and_then(|()| File::options().create(true).truncate(false).write(true).open(&path));
    take(dir, opened.with_context(|| path.display().to_string())?)
}

fn take(dir: &Path, lock: File) -> anyhow::Result<Lock> {
    Lock::of_file(lock).or_else(|Held| {
        bail!("another process is running in {}: wait for it to end, or choose another --out", dir.display())
    })
}

/// Checks that the bot will not be written over its own run, which only shows once all steps are
/// done.
///
/// # Errors
/// A [`UsageError`] if one folder is in the other, or is the same.
pub fn check_apart(plan: &Plan) -> anyhow::Result<()> {
    let (run, out) = (real_path(&plan.run)?, real_path(&plan.out)?);
    ensure!(
        !run.starts_with(&out) && !out.starts_with(&run),
        UsageError(format!(
            "the bot ({}) and its run ({}) need folders apart from each other: choose another --out, or another --run",
            plan.out.display(),
            plan.run.display()
        ))
    );
    Ok(())
}

/// Makes a path absolute and resolves its symbolic links and `..`, also if it does not exist yet.
fn real_path(path: &Path) -> anyhow::Result<PathBuf> {
    let absolute = std::path::absolute(path).with_context(|| path.display().to_string())?;
    let mut real = PathBuf::new();
    for part in absolute.components() {
        match part {
            Component::ParentDir => drop(real.pop()),
            part => real.push(part),
        }
        real = real.canonicalize().unwrap_or(real);
    }
    Ok(real)
}

/// Checks that the run may use the folder. A new run needs an empty one, or one with an older run
/// to replace: with `--force`, or if that failed before its first checkpoint.
///
/// # Errors
/// If the folder cannot be used. The error says what is in the way, and what to do.
pub fn check(plan: &Plan) -> anyhow::Result<()> {
    let dir = &plan.run;
    if let Ok(lock) = File::open(dir.join(LOCK)) {
        take(dir, lock)?;
    }
    check_contents(plan)
}

/// Like [`check`], for a folder that this process holds.
///
/// # Errors
/// Those of [`check`].
pub fn check_contents(plan: &Plan) -> anyhow::Result<()> {
    let dir = &plan.run;
    if plan.resume {
        let shown = dir.display();
        if !Run::is_at(dir) {
            bail!("--resume {shown}: there is no run in it");
        }
        if !Store::is_begun(dir) {
            match Run::open(dir)?.summary {
                Some(_) => bail!("--resume {shown}: this run has already ended"),
                None => {
                    bail!(
                        "--resume {shown}: it has no checkpoint to resume from; start over without --resume"
                    )
                }
            }
        }
        return Ok(());
    }
    let contents = contents(dir)?;
    if contents.is_empty() {
        return Ok(());
    }
    let is_run = Run::is_at(dir);
    let is_part = |name: &str| name == COMMAND || Run::is_part(name) || Store::is_part(name);
    let mut names = contents.iter().map(|path| folder_name(path));
    if let Some(foreign) = names.find(|name| is_run && !is_part(name)) {
        bail!(
            "{} contains `{foreign}`, which does not belong to a run: move it, or choose another --run",
            dir.display()
        );
    }
    if plan.force && is_run {
        return Ok(());
    }
    // A run that failed before its first checkpoint has lost little work.
    if is_run && !Store::is_at(dir) && Run::open(dir)?.summary.is_none() {
        return Ok(());
    }
    match (is_run, Store::is_at(dir)) {
        (true, true) => bail!(
            "{} holds an unfinished run: resume it with `{}`, or replace it with --force",
            dir.display(),
            resume_command(dir)
        ),
        (true, false) => {
            bail!("{} holds a run: choose another --run, or replace it with --force", dir.display())
        }
        (false, _) => bail!("{} exists and is not a run's folder: choose another --run", dir.display()),
    }
}

/// Deletes an older run that [`check`] has allowed to replace, except the lock.
pub fn clear(plan: &Plan) -> anyhow::Result<()> {
    for path in contents(&plan.run)? {
        // The target of a symbolic link is not part of the run.
        let removed = match fs::symlink_metadata(&path) {
            Ok(found) if found.is_dir() => fs::remove_dir_all(&path),
            _ => fs::remove_file(&path),
        };
        removed.with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// Contents of the folder except the lock; empty if there is no folder.
fn contents(dir: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let read = || dir.display().to_string();
    match fs::read_dir(dir) {
        Ok(entries) => {
            let paths: std::io::Result<Vec<PathBuf>> = entries.map(|entry| Ok(entry?.path())).collect();
            let mut paths = paths.with_context(read)?;
            paths.retain(|path| path.file_name().is_none_or(|name| name != LOCK));
            Ok(paths)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error).with_context(read),
    }
}

/// Stores the command that began the run, atomically and durably.
pub fn remember(dir: &Path, words: &[String]) -> anyhow::Result<()> {
    let path = dir.join(COMMAND);
    let command = Command { folder: std::env::current_dir()?, words: words.to_vec() };
    let text = serde_json::to_vec_pretty(&command)?;
    replace_file(&path, |file| file.write_all(&text))
        .and_then(|()| sync_folder(dir))
        .with_context(|| path.display().to_string())
}

/// Deletes the stored command, once the bot is written.
pub fn forget(dir: &Path) {
    let _ = fs::remove_file(dir.join(COMMAND));
}

/// The command that resumes a run.
pub fn resume_command(dir: &Path) -> String {
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
    fn a_stored_command_is_replaced_as_a_whole() {
        let home = tempfile::tempdir().unwrap();
        let (path, old) = (home.path().join(COMMAND), home.path().join("old"));
        fs::write(&path, "old").unwrap();
        // A file written in place would change under its other name, too.
        fs::hard_link(&path, &old).unwrap();
        remember(home.path(), &words("a.zip --out bot")).unwrap();
        assert_eq!(fs::read_to_string(&old).unwrap(), "old");
        assert!(fs::read_to_string(&path).unwrap().contains("a.zip"));
        assert_eq!(fs::read_dir(home.path()).unwrap().count(), 2, "no temporary file is left");
    }

    #[test]
    fn an_archive_that_moved_is_all_that_resume_needs_to_be_told() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("bot.run");
        fs::create_dir(&dir).unwrap();
        remember(&dir, &words("a.zip b.zip --out bot --epochs 2 --name Maren")).unwrap();
        let given = words(&format!("moved/a.zip b.zip --resume {}", dir.display()));
        let complete = || complete(parse(&given).unwrap(), &given);
        let args = complete().unwrap();
        assert_eq!(args.archives, [Path::new("moved/a.zip"), Path::new("b.zip")]);
        assert_eq!((args.learning.epochs, args.name.as_deref()), (2, Some("Maren")));
        assert_eq!(args.out, Some(std::env::current_dir().unwrap().join("bot")));
        // Without the stored command, everything has to be given.
        fs::write(dir.join(COMMAND), "{").unwrap();
        assert_eq!(complete().unwrap().name, None);
        fs::remove_file(dir.join(COMMAND)).unwrap();
        assert_eq!(complete().unwrap().name, None);
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
            assert!(error.to_string().contains("leave out --run"), "{error}");
        }
    }

    #[test]
    fn a_folder_without_a_run_is_named() {
        let home = tempfile::tempdir().unwrap();
        let given = words(&format!("--resume {}", home.path().display()));
        let error = complete(parse(&given).unwrap(), &given).unwrap_err().to_string();
        assert!(error.contains("no unfinished run"), "{error}");
        fs::write(home.path().join("letter.txt"), "").unwrap();
        let given = words(&format!("a.zip --out bot --force --run {}", home.path().display()));
        let error = check(&parse(&given).unwrap().plan().unwrap()).unwrap_err().to_string();
        assert!(error.contains("not a run's folder"), "{error}");
    }

    #[test]
    fn a_folder_is_one_processes_at_a_time_and_its_lock_is_no_content() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("bot.run");
        let held = hold(&dir).unwrap();
        let error = hold(&dir).unwrap_err().to_string();
        assert!(error.contains("another process is running in") && error.contains("bot.run"), "{error}");
        let plan = parse(&words(&format!("a.zip --out {}", home.path().join("bot").display())));
        let plan = plan.unwrap().plan().unwrap();
        assert!(check(&plan).unwrap_err().to_string().contains("another process"));
        check_contents(&plan).unwrap();
        for part in ["config.json", "command.json", "identity.json", "best-3.safetensors.partial"] {
            fs::write(dir.join(part), r#"{"run_format_version": 1}"#).unwrap();
        }
        let forced = Plan { force: true, ..plan.clone() };
        check_contents(&forced).unwrap();
        fs::write(dir.join("archive.zip"), "").unwrap();
        let error = check_contents(&forced).unwrap_err().to_string();
        assert!(error.contains("`archive.zip`, which does not belong to a run"), "{error}");
        fs::remove_file(dir.join("archive.zip")).unwrap();
        clear(&plan).unwrap();
        drop(held);
        check(&plan).unwrap();
        hold(&dir).unwrap();
    }

    #[test]
    fn a_run_and_its_bot_are_apart() {
        let home = tempfile::tempdir().unwrap();
        let check = |out: &str, run: &str| {
            let [out, run] = [out, run].map(|name| home.path().join(name).display().to_string());
            check_apart(&parse(&words(&format!("a.zip --out {out} --run {run}"))).unwrap().plan().unwrap())
        };
        for (out, run) in [("bot", "bot"), ("bot", "bot/run"), ("run/bot", "run"), ("bot", "x/../bot/./run")]
        {
            let error = check(out, run).unwrap_err();
            assert!(error.is::<UsageError>() && error.to_string().contains("another --run"), "{error}");
        }
        for (out, run) in [("bot", "bot.run"), ("a/bot", "a/run"), ("bot/../a", "bot")] {
            check(out, run).unwrap();
        }
        #[cfg(unix)]
        {
            fs::create_dir(home.path().join("bot")).unwrap();
            std::os::unix::fs::symlink("bot", home.path().join("link")).unwrap();
            check("bot", "link/run").unwrap_err();
        }
    }

    #[test]
    fn a_name_with_a_space_is_quoted() {
        assert_eq!(resume_command(Path::new("my bot.run")), "huggingtweets train --resume 'my bot.run'");
    }
}
