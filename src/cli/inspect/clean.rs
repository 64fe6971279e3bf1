//! `huggingtweets inspect clean`: applies the cleaning to given texts line by line, to compare it
//! with the original's.

use std::io::{self, BufRead, Write};

use serde::Serialize;

use super::for_each_text;
use crate::{
    cli::say::stdout,
    tweets::clean::{clean, fix, is_short},
};

/// Reads JSON lines {"text"} from standard input.
#[derive(Debug, clap::Args)]
pub struct Args {}

#[derive(Serialize)]
struct Output {
    fixed: String,
    cleaned: String,
    /// Whether it is long enough, retweet or not.
    kept: bool,
}

pub fn run(_args: Args) -> anyhow::Result<()> {
    clean_lines(io::stdin().lock(), stdout())
}

/// Writes one line of output for each non-blank line of input, as it is read.
fn clean_lines(input: impl BufRead, mut output: impl Write) -> anyhow::Result<()> {
    for_each_text(input, |text| {
        let fixed = fix(text);
        let cleaned = clean(&fixed);
        let kept = !is_short(&cleaned);
        serde_json::to_writer(&mut output, &Output { fixed, cleaned, kept }).map_err(io::Error::from)?;
        Ok(output.write_all(b"\n")?)
    })?;
    Ok(output.flush()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run_on(input: &[u8]) -> Result<String, String> {
        let mut output = Vec::new();
        clean_lines(input, &mut output).map_err(|error| format!("{error:#}"))?;
        Ok(String::from_utf8(output).expect("JSON is UTF-8"))
    }

    #[test]
    fn a_line_in_gives_a_line_out() {
        let input = b"{\"text\":\"RT @a: one two &amp; https://t.co/x\"}\n\n{\"text\":\"hi\",\"more\":1}";
        let output = concat!(
            r#"{"fixed":"RT @a: one two & https://t.co/x","cleaned":"RT @a: one two &","kept":true}"#,
            "\n",
            r#"{"fixed":"hi","cleaned":"hi","kept":false}"#,
            "\n"
        );
        assert_eq!(run_on(input).unwrap(), output);
    }

    #[test]
    fn a_bad_line_is_named_by_its_number() {
        let error = run_on(b"{\"text\":\"a\"}\n{\"txt\":\"b\"}\n").unwrap_err();
        assert!(error.starts_with("standard input, line 2, column 11: missing field `text`"), "{error}");
        assert_eq!(run_on(b"\n\xff\n").unwrap_err(), "standard input, line 2: not UTF-8 text");
    }
}
