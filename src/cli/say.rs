//! Output of the command, without a panic if nobody reads it: a pipe's reader may have ended, or a
//! terminal may have been closed.

use std::{
    fmt,
    io::{self, StdoutLock, Write},
};

use thiserror::Error;

/// Prints a progress line on standard error; a failure is ignored.
macro_rules! say {
    ($($words:tt)*) => {{
        $crate::cli::say::on_the_side(format_args!($($words)*));
    }};
}

/// Prints a line of the command's result on standard output, as an `io::Result`, so that a closed
/// pipe ends the command.
macro_rules! answer {
    ($($words:tt)*) => {
        $crate::cli::say::as_result(format_args!($($words)*))
    };
}

/// Implements `say!`; true if the line could be written.
pub fn on_the_side(words: fmt::Arguments<'_>) -> bool {
    writeln!(io::stderr().lock(), "{words}").is_ok()
}

/// Implements `answer!`.
pub fn as_result(words: fmt::Arguments<'_>) -> io::Result<()> {
    writeln!(stdout(), "{words}")
}

/// The reader of standard output has closed its pipe.
#[derive(Debug, Error)]
#[error("nobody reads standard output")]
pub struct StdoutClosed;

/// Standard output, on which a closed pipe is an error that contains [`StdoutClosed`], to tell it
/// from other broken pipes.
pub struct Stdout(StdoutLock<'static>);

/// Locks standard output.
pub fn stdout() -> Stdout {
    Stdout(io::stdout().lock())
}

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(marked)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(marked)
    }
}

/// Marks a broken pipe as one of standard output.
fn marked(error: io::Error) -> io::Error {
    match error.kind() {
        kind @ io::ErrorKind::BrokenPipe => io::Error::new(kind, StdoutClosed),
        _ => error,
    }
}

/// Returns whether the error is that of a closed standard output.
pub fn is_stdout_closed(error: &anyhow::Error) -> bool {
    let mut io_errors = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    io_errors.any(|error| error.get_ref().is_some_and(|inner| inner.is::<StdoutClosed>()))
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn only_a_broken_standard_output_is_a_closed_one() {
        let broken = || io::Error::from(io::ErrorKind::BrokenPipe);
        let of_stdout = Err::<(), _>(marked(broken())).context("writing").unwrap_err();
        assert!(is_stdout_closed(&of_stdout));
        let of_a_file = Err::<(), _>(broken()).context("kept.jsonl").unwrap_err();
        assert!(!is_stdout_closed(&of_a_file));
        let other = Err::<(), _>(marked(io::ErrorKind::StorageFull.into())).context("writing").unwrap_err();
        assert!(!is_stdout_closed(&other));
    }
}
