//! What the command says, without a panic where nobody listens: a pipe's reader
//! may have ended, a terminal may have been closed.

use std::{
    fmt,
    io::{self, Write},
};

/// A line on standard error, for whoever looks on. Where it cannot be written, the
/// work goes on without it.
macro_rules! say {
    ($($words:tt)*) => {{
        $crate::cli::say::on_the_side(format_args!($($words)*));
    }};
}

/// A line on standard output, the command's result: an `io::Result`, so that one whom
/// nobody reads ends the command.
macro_rules! answer {
    ($($words:tt)*) => {
        $crate::cli::say::as_result(format_args!($($words)*))
    };
}

/// What `say!` does; true where somebody may have read it.
pub fn on_the_side(words: fmt::Arguments<'_>) -> bool {
    writeln!(io::stderr().lock(), "{words}").is_ok()
}

/// What `answer!` does.
pub fn as_result(words: fmt::Arguments<'_>) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{words}")
}
