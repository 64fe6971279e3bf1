//! Progress bars on standard error. Bars show nothing if it is not a terminal.

use std::io::{self, IsTerminal};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Creates a bar with one of indicatif's templates.
pub fn with_template(template: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template(template);
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// The bar of downloads and uploads, which shows one file at a time. Removed when dropped.
pub struct TransferBar(ProgressBar);

impl TransferBar {
    pub fn new() -> Self {
        Self(with_template("{bar:30} {bytes}/{total_bytes} {msg}"))
    }

    /// Shows that `done` of a file's `size` bytes are transferred.
    pub fn set(&self, name: &str, done: u64, size: Option<u64>) {
        match size {
            Some(size) => self.0.set_length(size),
            None => self.0.unset_length(),
        }
        self.0.set_position(done);
        self.set_message(name);
    }

    pub fn set_message(&self, message: &str) {
        self.0.set_message(message.to_owned());
    }

    /// Prints a line above the bar.
    pub fn println(&self, line: impl AsRef<str>) {
        self.0.println(line);
    }
}

impl Drop for TransferBar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// The bar of a step that takes a while with GPT-2's shape; without a terminal, one line when it
/// begins. Removed when dropped.
pub struct StepBar(ProgressBar);

impl StepBar {
    /// `what` is what is being done, `total` the number of its parts.
    pub fn new(what: &'static str, total: usize) -> Self {
        if !io::stderr().is_terminal() {
            say!("{what}");
        }
        let bar = with_template("{bar:30} {pos}/{len} {msg}").with_message(what);
        bar.set_length(total as u64);
        Self(bar)
    }

    /// Shows that `done` parts are done.
    pub fn set(&self, done: usize) {
        self.0.set_position(done as u64);
    }
}

impl Drop for StepBar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
