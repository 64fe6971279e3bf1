//! Nothing lost: a run that is killed, stopped or refused room goes on and ends
//! bit for bit where an unbroken one does.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use crate::support::{Running, arg, failure, fixture, huggingtweets, stdout};

/// Posts of our own with enough in them to hold some out.
fn posts(folder: &Path) -> PathBuf {
    let path = folder.join("keeper.jsonl");
    let post = |i: usize| {
        let (who, what) = (["gull", "cat", "boat", "storm"][i % 4], ["sang", "slept", "went by"][i % 3]);
        format!("On night {i} the lamp burned well and the {who} {what} at {}.", i * 7 % 12)
    };
    let lines: String = (0..300).map(|i| format!("{}\n", json!({ "text": post(i) }))).collect();
    fs::write(&path, lines).unwrap();
    path
}

/// A small network.
const NETWORK: &str = "--base scratch --vocab-size 320 --layers 2 --channels 32 --heads 2";
/// A run of many short steps.
const SMALL: &str = "--context 24 --batch 2 --epochs 2 --lr 1e-3 --seed 3 --eval-every 45 --patience 100 \
                     --save-every 7";

fn train(posts: &Path, out: &Path) -> Vec<String> {
    train_from(NETWORK, posts, out)
}

fn train_from(start: &str, posts: &Path, out: &Path) -> Vec<String> {
    let mut words = vec!["train".to_owned(), arg(posts).to_owned(), "--out".to_owned(), arg(out).to_owned()];
    words.extend(start.split_whitespace().chain(SMALL.split_whitespace()).map(str::to_owned));
    words
}

fn resume(out: &Path) -> Vec<String> {
    vec!["train".to_owned(), "--resume".to_owned(), arg(&run_folder(out)).to_owned()]
}

fn run_folder(out: &Path) -> PathBuf {
    out.with_extension("run")
}

fn strs(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

fn start(words: &[String]) -> Running {
    Running::start(huggingtweets().args(words).stdout(Stdio::null()).stderr(Stdio::piped()))
}

/// Steps that the run's record has.
fn recorded(out: &Path) -> usize {
    let text = fs::read_to_string(run_folder(out).join("metrics.jsonl")).unwrap_or_default();
    text.lines().count()
}

/// Waits for so many recorded steps; false where the process ended before.
fn wait_for(child: &mut Child, out: &Path, steps: usize) -> bool {
    let began = Instant::now();
    loop {
        if recorded(out) >= steps {
            return child.try_wait().unwrap().is_none();
        }
        if child.try_wait().unwrap().is_some() {
            return false;
        }
        assert!(began.elapsed() < Duration::from_secs(120), "no step {steps} in sight");
        sleep(Duration::from_millis(1));
    }
}

fn signal(child: &Child, name: &str) {
    let status = Command::new("kill").args([&format!("-{name}"), &child.id().to_string()]).status();
    assert!(status.unwrap().success());
}

/// The exit code of a run that a signal has stopped.
fn exit_code(signal: &str) -> i32 {
    match signal {
        "HUP" => 129,
        "INT" => 130,
        "TERM" => 143,
        other => panic!("SIG{other} stops no run"),
    }
}

/// What must not depend on how often a run was broken: weights, and the record
/// but for its times.
fn result(out: &Path) -> (Vec<u8>, Vec<Value>) {
    let metrics = fs::read_to_string(run_folder(out).join("metrics.jsonl")).unwrap();
    let metrics = metrics.lines().map(|line| {
        let mut line: Value = serde_json::from_str(line).unwrap();
        let fields = line.as_object_mut().unwrap();
        fields.retain(|key, _| key != "unix_s" && key != "tokens_per_s");
        line
    });
    (fs::read(out.join("model.safetensors")).unwrap(), metrics.collect())
}

/// A bot of a run that nothing broke.
fn unbroken(home: &Path, posts: &Path) -> (Vec<u8>, Vec<Value>) {
    let out = home.join("unbroken");
    stdout(&strs(&train(posts, &out)), "");
    let left = fs::read_dir(run_folder(&out)).unwrap().map(|e| e.unwrap().file_name());
    let left: Vec<String> = left.map(|name| name.to_string_lossy().into_owned()).collect();
    assert!(!left.iter().any(|name| name.contains(".safetensors") || name == "command.json"), "{left:?}");
    result(&out)
}

/// Numbers that differ from run to run. Where a test fails it says their seed, which
/// this variable gives back.
struct Chance(u64);

const SEED: &str = "HUGGINGTWEETS_TEST_SEED";

impl Chance {
    fn new() -> Self {
        let given = std::env::var(SEED).ok().map(|seed| seed.parse().expect(SEED));
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64;
        Self(given.unwrap_or_else(now) | 1)
    }

    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}

#[test]
fn killed_at_twenty_random_steps_it_ends_bit_for_bit_the_same() {
    let home = tempfile::tempdir().unwrap();
    let posts = posts(home.path());
    let expected = unbroken(home.path(), &posts);
    let steps = expected.1.len();
    let out = home.path().join("killed");
    let mut chance = Chance::new();
    let seed = format!("{SEED}={}", chance.0);
    let (mut kills, mut reached, mut words) = (0, 0, train(&posts, &out));
    while kills < 20 {
        let mut child = start(&words);
        // Beyond what the last one reached, which the record has until it is opened again.
        let until = (reached + 1 + chance.below(6)).min(steps);
        if wait_for(&mut child, &out, until) {
            sleep(Duration::from_millis(chance.below(8) as u64));
        }
        child.kill().unwrap();
        let status = child.wait().unwrap();
        if status.success() {
            break;
        }
        assert!(status.code().is_none(), "{seed}: it failed by itself after {reached} steps");
        kills += 1;
        reached = recorded(&out);
        words = resume(&out);
    }
    assert!(kills >= 20, "{seed}: {steps} steps are over after {kills} kills");
    stdout(&strs(&words), "");
    let found = result(&out);
    assert!(found.0 == expected.0, "{seed}: other weights");
    assert_eq!(found.1, expected.1, "{seed}");
}

#[test]
fn told_to_stop_it_saves_says_how_to_go_on_and_does() {
    let home = tempfile::tempdir().unwrap();
    let posts = posts(home.path());
    let expected = unbroken(home.path(), &posts);
    let out = home.path().join("stopped");
    let mut words = train(&posts, &out);
    for (name, steps) in [("TERM", 11), ("HUP", 21), ("INT", 32)] {
        // On a busy machine the run before this one may have come further; a step of this one shows
        // that it listens for signals.
        let steps = steps.max(recorded(&out) + 1);
        let mut child = start(&words);
        assert!(wait_for(&mut child, &out, steps));
        signal(&child, name);
        let output = child.wait_with_output().unwrap();
        let message = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(exit_code(name)), "{message}");
        let last = message.lines().last().unwrap();
        assert!(last.contains("stopped after step") && last.contains("--resume"), "{message}");
        assert!(!out.exists());
        words = resume(&out);
    }
    // A new run does not silently take the place of one that can go on.
    let (code, message) = failure(&strs(&train(&posts, &out)), "");
    assert!(code == 1 && message.contains("--resume") && message.contains("--force"), "{message}");

    refused_with(&out, &posts, &["--lr", "2e-3"], "--lr was 0.001");
    refused_with(&out, &posts, &["--seed", "4"], "--seed was 3");
    refused_with(&out, &posts, &["--channels", "64"], "the network was");
    // The same file name with one more post in it.
    let text = fs::read_to_string(&posts).unwrap();
    fs::write(&posts, format!("{text}{}\n", json!({ "text": "One more whole post than before." }))).unwrap();
    refused_with(&out, &posts, &[], "training text");
    fs::write(&posts, text).unwrap();

    stdout(&strs(&words), "");
    assert!(result(&out) == expected);
    let (code, message) = failure(&strs(&words), "");
    assert!(code == 1 && message.contains("already ended"), "{message}");
}

/// Going on with another setting fails in one line and leaves the checkpoint.
fn refused_with(out: &Path, posts: &Path, options: &[&str], expected: &str) {
    let checkpoint = run_folder(out).join("checkpoint.safetensors");
    let before = fs::read(&checkpoint).unwrap();
    let whole = [train(posts, out), resume(out)[1..].to_vec()].concat();
    for words in [resume(out), whole] {
        let mut words = strs(&words);
        words.extend(options);
        let (code, message) = failure(&words, "");
        let last = message.lines().last().unwrap();
        assert!(code == 1 && last.contains(expected), "{message}");
        assert!(fs::read(&checkpoint).unwrap() == before, "{options:?}");
    }
}

#[test]
fn a_run_under_way_is_left_alone() {
    let home = tempfile::tempdir().unwrap();
    let posts = posts(home.path());
    let expected = unbroken(home.path(), &posts);
    let out = home.path().join("busy");
    let words = train(&posts, &out);
    let mut child = start(&words);
    assert!(wait_for(&mut child, &out, 1));
    signal(&child, "STOP");
    let forced = [words.clone(), vec!["--force".to_owned()]].concat();
    for second in [&words, &forced, &resume(&out)] {
        let (code, message) = failure(&strs(second), "");
        assert!(code == 1 && message.contains("another process is running in"), "{message}");
    }
    signal(&child, "CONT");
    assert!(child.wait().unwrap().success());
    assert!(result(&out) == expected);
}

#[test]
fn without_a_checkpoint_another_run_is_refused_too() {
    let home = tempfile::tempdir().unwrap();
    let posts = posts(home.path());
    let expected = unbroken(home.path(), &posts);
    let out = home.path().join("early");
    let late = vec!["--save-every".to_owned(), "1000".to_owned()];
    let mut child = start(&[train(&posts, &out), late].concat());
    assert!(wait_for(&mut child, &out, 2));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!run_folder(&out).join("checkpoint.safetensors").exists());
    let config = fs::read(run_folder(&out).join("config.json")).unwrap();
    for (option, value, expected) in [("--lr", "2e-3", "--lr was 0.001"), ("--seed", "4", "--seed was 3")] {
        let mut words = resume(&out);
        words.extend([option.to_owned(), value.to_owned()]);
        let (code, message) = failure(&strs(&words), "");
        assert!(code == 1 && message.contains(expected), "{message}");
    }
    assert!(fs::read(run_folder(&out).join("config.json")).unwrap() == config);
    stdout(&strs(&resume(&out)), "");
    assert!(result(&out) == expected);
    // Now there is nothing to go on from, and its record stays.
    let summary = fs::read(run_folder(&out).join("summary.json")).unwrap();
    let whole = [train(&posts, &home.path().join("other")), resume(&out)[1..].to_vec()].concat();
    let (code, message) = failure(&strs(&whole), "");
    assert!(code == 1 && message.contains("already ended"), "{message}");
    assert!(fs::read(run_folder(&out).join("summary.json")).unwrap() == summary);
}

#[test]
fn what_else_lies_beside_a_base_may_change() {
    let home = tempfile::tempdir().unwrap();
    let (posts, base) = (posts(home.path()), home.path().join("base"));
    fs::create_dir(&base).unwrap();
    for name in ["config.json", "tokenizer.json", "model.safetensors"] {
        fs::copy(fixture("tiny-gpt2").join(name), base.join(name)).unwrap();
    }
    let out = home.path().join("bot");
    let mut child = start(&train_from(&format!("--base {}", arg(&base)), &posts, &out));
    assert!(wait_for(&mut child, &out, 3));
    signal(&child, "TERM");
    assert_eq!(child.wait().unwrap().code(), Some(exit_code("TERM")));
    fs::write(base.join("notes.txt"), "seen").unwrap();
    let config = fs::read_to_string(base.join("config.json")).unwrap();
    fs::write(base.join("config.json"), format!("{config}\n")).unwrap();
    let (code, message) = failure(&strs(&resume(&out)), "");
    assert!(code == 1 && message.contains("the base was"), "{message}");
    fs::write(base.join("config.json"), config).unwrap();
    stdout(&strs(&resume(&out)), "");
}

/// The command that a message tells, as words: what stands in its last backticks.
fn told(message: &str) -> Vec<String> {
    let command = message.rsplit('`').nth(1).unwrap_or_else(|| panic!("no command in {message}"));
    command.split(' ').skip(1).map(str::to_owned).collect()
}

#[test]
fn a_run_in_a_folder_of_its_own_goes_on_as_its_message_says() {
    let home = tempfile::tempdir().unwrap();
    let posts = posts(home.path());
    let (out, own) = (home.path().join("bot"), home.path().join("my.run"));
    let mut words = train(&posts, &out);
    words.extend(["--run".to_owned(), arg(&own).to_owned(), "--max-steps".to_owned(), "40".to_owned()]);
    let mut child = start(&words);
    // The record's name is that of `--run`.
    assert!(wait_for(&mut child, &home.path().join("my"), 3));
    signal(&child, "TERM");
    let output = child.wait_with_output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(exit_code("TERM")), "{message}");
    let page = fs::read_to_string(own.join("report.html")).unwrap();
    assert!(page.contains("broken off: stopped after step"));
    stdout(&strs(&told(&message)), "");
    assert!(out.join("bot.json").exists());
    assert_eq!(recorded(&home.path().join("my")), 40);
}

#[test]
fn a_loss_that_is_no_number_after_a_checkpoint_leaves_a_bot_to_be_made() {
    let home = tempfile::tempdir().unwrap();
    let posts = posts(home.path());
    let out = home.path().join("bot");
    let mut words = train(&posts, &out);
    // Weights that grow by the learning rate a step, until a square is beyond f32.
    words
        .extend(["--lr", "2e4", "--save-every", "1", "--held-out", "0", "--dtype", "f32"].map(str::to_owned));
    let (code, message) = failure(&strs(&words), "");
    let last = message.lines().last().unwrap();
    assert!(code == 1 && last.contains("lower --lr") && last.contains("makes a bot from it"), "{message}");
    let runs = stdout(&["runs", arg(home.path())], "");
    assert!(runs.contains("broken off"), "{runs}");
    stdout(&strs(&told(last)), "");
    stdout(&["generate", "--model", arg(&out), "--prompt", "The"], "");
}

#[test]
fn a_last_step_that_diverges_is_not_saved() {
    let home = tempfile::tempdir().unwrap();
    let posts = posts(home.path());
    let out = home.path().join("bot");
    let mut words = train(&posts, &out);
    words.extend(["--held-out", "0", "--lr", "1e12", "--max-steps", "1"].map(str::to_owned));
    let (code, message) = failure(&strs(&words), "");
    let last = message.lines().last().unwrap();
    assert!(code == 1 && last.contains("at step 1") && last.ends_with("lower --lr"), "{message}");
    assert!(!run_folder(&out).join("checkpoint.safetensors").exists());
    let config = fs::read_to_string(run_folder(&out).join("config.json")).unwrap();
    assert!(config.contains("broken_off") && config.contains("ended_unix_s"), "{config}");
}

#[test]
fn weights_too_large_for_a_bots_files_are_no_reason_to_resume() {
    let home = tempfile::tempdir().unwrap();
    let posts = posts(home.path());
    for dtype in ["f16", "f32"] {
        let mut words = train(&posts, &home.path().join(dtype));
        // The first step changes weights by the learning rate; the files' largest value is 65504.
        let more = ["--held-out", "0", "--lr", "7e4", "--max-steps", "1", "--dtype", dtype];
        words.extend(more.map(str::to_owned));
        let (code, message) = failure(&strs(&words), "");
        let last = message.lines().last().unwrap();
        assert!(code == 1 && last.contains("start over with a lower --lr"), "{message}");
        assert!(last.contains("wte.weight") && !last.contains("--resume"), "{message}");
    }
}

#[test]
fn a_second_ctrl_c_ends_it_at_once() {
    let home = tempfile::tempdir().unwrap();
    let posts = posts(home.path());
    let out = home.path().join("bot");
    let mut words = train(&posts, &out);
    // Steps that take longer than a signal.
    words.extend(["--batch", "256", "--channels", "256", "--epochs", "8"].map(str::to_owned));
    let mut child = start(&words);
    assert!(wait_for(&mut child, &out, 1));
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    signal(&child, "INT");
    assert!(lines.any(|line| line.unwrap().contains("stops at once")));
    signal(&child, "INT");
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

/// `train … 2>&1 | head -1`, and then the terminal is closed.
#[test]
fn a_run_that_nobody_reads_goes_on_and_saves_when_told_to_stop() {
    let home = tempfile::tempdir().unwrap();
    let posts = posts(home.path());
    let expected = unbroken(home.path(), &posts);
    let out = home.path().join("unread");
    let mut child = start(&train(&posts, &out));
    let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
    lines.next().unwrap().unwrap();
    drop(lines);
    assert!(wait_for(&mut child, &out, 20), "it ended with its reader");
    // A shell and the system say so, each once.
    signal(&child, "HUP");
    signal(&child, "HUP");
    assert_eq!(child.wait().unwrap().code(), Some(exit_code("HUP")));
    assert!(run_folder(&out).join("checkpoint.safetensors").exists() && !out.exists());
    let mut child = start(&resume(&out));
    drop(child.stderr.take());
    assert!(child.wait().unwrap().success());
    assert!(result(&out) == expected);
}

#[cfg(target_os = "linux")]
#[test]
fn under_nohup_a_closed_terminal_ends_nothing() {
    let home = tempfile::tempdir().unwrap();
    let posts = posts(home.path());
    let out = home.path().join("bot");
    let program = env!("CARGO_BIN_EXE_huggingtweets");
    let script = format!("trap '' HUP; exec \"{program}\" \"$@\"");
    let mut command = Command::new("sh");
    command.args(["-c", &script, "sh"]).args(train(&posts, &out)).stderr(Stdio::null());
    let mut child = Running::start(&mut command);
    assert!(wait_for(&mut child, &out, 3));
    signal(&child, "HUP");
    assert!(child.wait().unwrap().success());
    assert!(out.join("bot.json").exists());
}

/// Files of this process's children may have so many blocks of 512 bytes, as if
/// the disk had no more room.
#[cfg(unix)]
#[test]
fn without_room_the_last_good_checkpoint_stays() {
    let home = tempfile::tempdir().unwrap();
    let posts = posts(home.path());
    let expected = unbroken(home.path(), &posts);
    let out = home.path().join("full");
    let mut child = start(&train(&posts, &out));
    assert!(wait_for(&mut child, &out, 10));
    signal(&child, "TERM");
    child.wait().unwrap();
    let checkpoint = run_folder(&out).join("checkpoint.safetensors");
    let before = fs::read(&checkpoint).unwrap();

    let program = env!("CARGO_BIN_EXE_huggingtweets");
    let script = format!("trap '' XFSZ; ulimit -f 400; exec \"{program}\" \"$@\"");
    let output = Command::new("sh").args(["-c", &script, "sh"]).args(resume(&out)).output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{message}");
    let last = message.lines().last().unwrap();
    assert!(last.contains("is intact") && last.contains("--resume"), "{message}");
    assert!(fs::read(&checkpoint).unwrap() == before);
    let partial = fs::read_dir(run_folder(&out)).unwrap();
    assert!(!partial.map(|e| e.unwrap().file_name()).any(|n| n.to_string_lossy().contains("partial")));

    stdout(&strs(&resume(&out)), "");
    assert!(result(&out) == expected);
}

#[test]
fn a_loss_that_is_no_number_ends_the_run_in_one_line() {
    let home = tempfile::tempdir().unwrap();
    let posts = posts(home.path());
    let out = home.path().join("bot");
    let mut words = train(&posts, &out);
    words.extend(["--lr", "1e30"].map(str::to_owned));
    let output = huggingtweets().args(&words).output().unwrap();
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(1), "{message}");
    assert!(message.lines().last().unwrap().contains("lower --lr"), "{message}");
    assert!(!out.exists());
}
