//! Output of the command, without a panic if nobody reads it: a pipe's reader may have ended, or a
//! terminal may have been closed.

use std::{
    fmt,
    io::{self, Write},
};

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
    writeln!(io::stdout().lock(), "{words}")
}
