//! Progress bars on standard error. They show nothing if it is not a terminal.

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
