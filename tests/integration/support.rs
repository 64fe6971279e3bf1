//! Helpers shared by the integration tests.

use std::{
    io::{self, Write},
    ops::{Deref, DerefMut},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use serde_json::Value;

pub use crate::beside::shared;

/// The repository's root.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Path of a committed fixture.
pub fn fixture(name: &str) -> PathBuf {
    root().join("tests/fixtures").join(name)
}

/// The built command.
pub fn huggingtweets() -> Command {
    Command::new(env!("CARGO_BIN_EXE_huggingtweets"))
}

/// A process that does not outlive its test, however the test ends.
pub struct Running(Option<Child>);

impl Running {
    pub fn start(command: &mut Command) -> Self {
        Self(Some(command.spawn().unwrap()))
    }

    pub fn wait_with_output(mut self) -> io::Result<Output> {
        self.0.take().unwrap().wait_with_output()
    }
}

impl Deref for Running {
    type Target = Child;

    fn deref(&self) -> &Child {
        self.0.as_ref().unwrap()
    }
}

impl DerefMut for Running {
    fn deref_mut(&mut self) -> &mut Child {
        self.0.as_mut().unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            // Fails if the process has ended; a stopped process can still be killed.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Runs the command with arguments and standard input.
pub fn run(args: &[&str], stdin: &str) -> Output {
    let mut child = huggingtweets()
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let text = stdin.to_owned();
    // In a thread, because the command may answer before it has read everything.
    let writer = std::thread::spawn(move || drop(input.write_all(text.as_bytes())));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

/// Standard output of a run that must succeed.
pub fn stdout(args: &[&str], stdin: &str) -> String {
    let output = run(args, stdin);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?} failed: {errors}");
    String::from_utf8(output.stdout).unwrap()
}

/// Standard output as a JSON value.
pub fn json(args: &[&str], stdin: &str) -> Value {
    serde_json::from_str(&stdout(args, stdin)).unwrap()
}

/// Exit code and standard error of a run that must fail. The message must be short and not that of
/// a panic.
pub fn failure(args: &[&str], stdin: &str) -> (i32, String) {
    let output = run(args, stdin);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "{args:?} should fail");
    assert!(!errors.contains("panicked"), "{args:?} panicked: {errors}");
    assert!(errors.lines().count() <= 12, "{args:?} is long-winded: {errors}");
    (output.status.code().unwrap_or(-1), errors)
}

/// The demo bot in the repository.
pub fn demo() -> PathBuf {
    root().join("model-card/demo")
}

/// A path as an argument.
pub fn arg(path: &Path) -> &str {
    path.to_str().unwrap()
}
