//! Folders are replaced atomically, and foreign files survive.

use std::{collections::BTreeMap, fs::File};

use super::{
    super::{folder, manifest::BotInfo},
    *,
};

/// Creates a bot's folder with these files and a matching `bot.json`.
fn bot(path: &Path, files: &[&str]) {
    fs::create_dir_all(path).unwrap();
    files.iter().for_each(|name| fs::write(path.join(name), "old").unwrap());
    let info = BotInfo { handles: vec!["a".into()], ..BotInfo::default() };
    folder::finish(path, info, BTreeMap::new(), None).unwrap();
}

fn entries(path: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(path)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn committed_it_is_in_place_and_nothing_else_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("deep/bot");
    let staging = Staging::create(&out, false).unwrap();
    fs::write(staging.path().join("a"), "1").unwrap();
    assert!(!out.exists());
    staging.commit().unwrap();
    assert_eq!(fs::read_to_string(out.join("a")).unwrap(), "1");
    assert_eq!(entries(&dir.path().join("deep")), ["bot"]);
}

#[test]
fn dropped_it_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let staging = Staging::create(&dir.path().join("bot"), false).unwrap();
    fs::write(staging.path().join("a"), "1").unwrap();
    drop(staging);
    assert!(entries(dir.path()).is_empty());
}

#[test]
fn what_a_killed_process_left_goes_and_what_a_living_one_makes_stays() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("bot");
    // As after a kill: nothing is dropped, and the lock is released by the OS.
    let left = Aside::create(dir.path(), "bot").unwrap();
    fs::write(left.new_path().join("model.safetensors"), "half").unwrap();
    let left = left.killed();
    fs::create_dir(dir.path().join(".bot.partial-of-somebody")).unwrap();
    let living = Staging::create(&dir.path().join("bot"), false).unwrap();
    assert!(!left.exists());
    let second = Staging::create(&out, false).unwrap();
    assert!(living.path().exists() && second.path().exists());
    drop((living, second));
    assert_eq!(entries(dir.path()), [".bot.partial-of-somebody"]);
}

#[cfg(target_os = "linux")]
#[test]
fn a_volume_is_refused_before_anything_is_written() {
    for force in [false, true] {
        let error = check_target(Path::new("/proc"), force).unwrap_err();
        assert!(matches!(error, StagingError::MountPoint(_)), "{error}");
    }
    let error = Patch::begin(Path::new("/proc")).unwrap_err();
    assert!(error.to_string().contains("/proc is where a volume is mounted"), "{error}");
}

#[test]
fn an_existing_folder_is_kept_unless_forced() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("bot");
    bot(&out, &["config.json"]);
    let error = Staging::create(&out, false).unwrap_err();
    assert!(error.to_string().contains("--force"), "{error}");

    let staging = Staging::create(&out, true).unwrap();
    fs::write(staging.path().join("new"), "").unwrap();
    assert_eq!(entries(&out), ["bot.json", "config.json"]);
    staging.commit().unwrap();
    assert_eq!(entries(&out), ["new"]);
    assert_eq!(entries(dir.path()), ["bot"]);
}

#[test]
fn a_path_without_a_name_is_an_error() {
    assert!(matches!(Staging::create(Path::new(".."), true), Err(StagingError::NoName { .. })));
}

#[test]
fn force_does_not_replace_what_is_no_bot() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path().join("home");
    fs::create_dir(&home).unwrap();
    fs::write(home.join("letter.txt"), "").unwrap();
    for out in [home.clone(), home.join("letter.txt")] {
        assert!(matches!(Staging::create(&out, true), Err(StagingError::NotOurs { .. })));
    }
    // A folder of another program: nothing says which files are the bot's.
    fs::write(home.join("config.json"), "{}").unwrap();
    assert!(matches!(Staging::create(&home, true), Err(StagingError::NotOurs { .. })));
}

#[test]
fn force_does_not_delete_what_somebody_put_beside_a_bot() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("bot");
    bot(&out, &["config.json"]);
    check_target(&out, true).unwrap();
    for (foreign, is_folder) in [("archive.zip", false), (".git", true)] {
        let path = out.join(foreign);
        if is_folder {
            fs::create_dir(&path).unwrap()
        } else {
            fs::write(&path, "").unwrap()
        }
        let error = Staging::create(&out, true).unwrap_err().to_string();
        assert!(error.contains(&format!("`{foreign}`")) && error.contains("another --out"), "{error}");
        if is_folder { fs::remove_dir(&path).unwrap() } else { fs::remove_file(&path).unwrap() }
    }
}

#[cfg(unix)]
#[test]
fn what_a_link_leads_to_is_replaced_and_the_link_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (target, link) = (dir.path().join("disk/bot"), dir.path().join("bot"));
    bot(&target, &["config.json"]);
    std::os::unix::fs::symlink("disk/bot", &link).unwrap();
    // First the link leads to a bot, then nowhere.
    for _ in 0..2 {
        let staging = Staging::create(&link, true).unwrap();
        fs::write(staging.path().join("new"), "").unwrap();
        staging.commit().unwrap();
        assert!(link.is_symlink());
        assert_eq!(
            (entries(&target), entries(&dir.path().join("disk"))),
            (vec!["new".into()], vec!["bot".into()])
        );
        fs::remove_dir_all(&target).unwrap();
    }
}

#[test]
fn a_folder_made_meanwhile_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("bot");
    let staging = Staging::create(&out, false).unwrap();
    fs::create_dir(&out).unwrap();
    fs::write(out.join("config.json"), "theirs").unwrap();
    assert!(matches!(staging.commit(), Err(StagingError::Exists { .. })));
    assert_eq!(entries(dir.path()), ["bot"]);
    assert_eq!(entries(&out), ["config.json"]);
}

/// Creates a bot whose old folder was moved aside, as after a kill between the two renames.
fn between_two_renames(dir: &Path, new_is_there: bool) -> PathBuf {
    let out = dir.join("bot");
    bot(&out, &["config.json"]);
    let aside = Aside::create(dir, "bot").unwrap();
    fs::rename(&out, aside.old_path()).unwrap();
    match new_is_there {
        true => fs::write(aside.new_path().join("new"), "").unwrap(),
        false => fs::remove_dir(aside.new_path()).unwrap(),
    }
    aside.killed();
    out
}

#[test]
fn a_folder_that_a_kill_left_without_a_name_is_put_back() {
    for (new_is_there, expected) in [(true, &["new"][..]), (false, &["bot.json", "config.json"])] {
        let dir = tempfile::tempdir().unwrap();
        let out = between_two_renames(dir.path(), new_is_there);
        sweep(&out);
        assert_eq!(entries(&out), expected);
        assert_eq!(entries(dir.path()), ["bot"]);
    }
    // `sweep` runs before the check for an existing folder.
    let dir = tempfile::tempdir().unwrap();
    let out = between_two_renames(dir.path(), false);
    assert!(matches!(Staging::create(&out, false), Err(StagingError::Exists { .. })));
    let out = between_two_renames(dir.path().join("other").as_path(), true);
    drop(Patch::begin(&out).unwrap());
    assert_eq!(entries(&out), ["new"]);
}

#[test]
fn an_old_folder_is_never_without_a_name() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("bot");
    bot(&out, &["config.json"]);
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let mut missing = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                missing += usize::from(!exists(&out));
            }
            missing
        });
        for _ in 0..50 {
            let staging = Staging::create(&out, true).unwrap();
            bot(staging.path(), &["config.json"]);
            staging.commit().unwrap();
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        let missing = watcher.join().unwrap();
        // Without an atomic exchange, the name is missing between the two renames.
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        fs::create_dir(&a).unwrap();
        fs::create_dir(&b).unwrap();
        assert!(missing == 0 || exchange(&a, &b).is_err(), "missing {missing} times");
    });
}

#[test]
fn a_patch_changes_its_files_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("bot");
    fs::create_dir_all(folder.join(".git")).unwrap();
    for name in ["a.gguf", "b.gguf", "stale.png", "bot.json"] {
        fs::write(folder.join(name), "old").unwrap();
    }
    let mut patch = Patch::begin(&folder).unwrap();
    assert!(entries(patch.path()).is_empty());
    fs::write(patch.path().join("b.gguf"), "new").unwrap();
    fs::write(patch.path().join("bot.json"), "new").unwrap();
    fs::create_dir(patch.path().join("deep")).unwrap();
    fs::write(patch.path().join("deep/c"), "new").unwrap();
    patch.remove("stale.png");
    patch.remove("never.png");
    assert_eq!(fs::read(folder.join("b.gguf")).unwrap(), b"old", "nothing changes before the commit");
    // A concurrent change by somebody else.
    fs::write(folder.join("a.gguf"), "edited").unwrap();
    patch.commit(None, &["bot.json"]).unwrap();
    for (name, expected) in [("a.gguf", "edited"), ("b.gguf", "new"), ("bot.json", "new"), ("deep/c", "new")]
    {
        assert_eq!(fs::read_to_string(folder.join(name)).unwrap(), expected, "{name}");
    }
    assert_eq!(entries(&folder), [".git", "a.gguf", "b.gguf", "bot.json", "deep"]);
    assert_eq!(entries(dir.path()), ["bot"]);
}

#[test]
fn a_folder_is_changed_by_one_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("bot");
    bot(&out, &["config.json"]);
    let patch = Patch::begin(&out).unwrap();
    let error = Patch::begin(&out).unwrap_err().to_string();
    assert!(error.contains("bot") && error.contains("wait until it has ended"), "{error}");
    assert!(matches!(Staging::create(&out, true), Err(StagingError::Held(_))));
    drop(patch);
    let staging = Staging::create(&out, true).unwrap();
    assert!(matches!(Patch::begin(&out), Err(StagingError::Held(_))));
    drop(staging);
    Patch::begin(&out).unwrap();
}

#[cfg(unix)]
#[test]
fn a_folder_of_links_is_changed_and_what_they_lead_to_is_not() {
    // The layout of a snapshot in the Hub's cache.
    let dir = tempfile::tempdir().unwrap();
    let (blobs, folder) = (dir.path().join("blobs"), dir.path().join("snapshots/main"));
    fs::create_dir_all(&blobs).unwrap();
    fs::create_dir_all(&folder).unwrap();
    for name in ["model.safetensors", "README.md"] {
        fs::write(blobs.join(name), name).unwrap();
        std::os::unix::fs::symlink(format!("../../blobs/{name}"), folder.join(name)).unwrap();
    }
    let patch = Patch::begin(&folder).unwrap();
    fs::write(patch.path().join("README.md"), "new").unwrap();
    patch.commit(None, &[]).unwrap();
    assert_eq!(fs::read_to_string(folder.join("model.safetensors")).unwrap(), "model.safetensors");
    assert_eq!(fs::read_to_string(folder.join("README.md")).unwrap(), "new");
    assert_eq!(fs::read_to_string(blobs.join("README.md")).unwrap(), "README.md");
}

#[test]
fn a_list_that_is_too_large_to_be_one_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("bot");
    fs::create_dir(&out).unwrap();
    File::create(out.join(BOT)).unwrap().set_len(folder::MAX_TEXT_BYTES + 1).unwrap();
    assert!(matches!(check_target(&out, true), Err(StagingError::NotOurs { .. })));
}
