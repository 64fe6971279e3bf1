//! Which posts to use: options that `import` and `train` share.

use time::{Date, macros::format_description};

use super::UsageError;
use crate::tweets::{Filter, language};

/// Flatten this into a subcommand's arguments.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Which posts")]
pub struct FilterArgs {
    /// Only posts of this day (UTC) and later
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = day)]
    since: Option<Date>,
    /// Only posts of this day (UTC) and earlier
    #[arg(long, value_name = "YYYY-MM-DD", value_parser = day)]
    until: Option<Date>,
    /// Only posts that the archive says are in this language; several: en,fr
    #[arg(long, value_name = "CODE", value_delimiter = ',', value_parser = code)]
    lang: Vec<String>,
    /// Leave out replies, including the account's own threads; drops every post of a file that does not record replies
    #[arg(long)]
    no_replies: bool,
    /// Only posts of at least this many characters after cleaning
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    min_chars: usize,
}

impl FilterArgs {
    /// Returns the filter described by the options.
    ///
    /// # Errors
    /// A [`UsageError`] if `--since` is after `--until`.
    pub fn filter(&self) -> Result<Filter, UsageError> {
        if let (Some(since), Some(until)) = (self.since, self.until)
            && since > until
        {
            return Err(UsageError(format!(
                "--since {since} is after --until {until}: no post matches both"
            )));
        }
        Ok(Filter {
            since: self.since,
            until: self.until,
            languages: self.lang.clone(),
            no_replies: self.no_replies,
            min_chars: self.min_chars,
        })
    }

    /// Returns the options as typed, for the command that reproduces a bot.
    pub fn words(&self) -> Vec<String> {
        let mut words = Vec::new();
        words.extend(self.since.map(|day| format!("--since {day}")));
        words.extend(self.until.map(|day| format!("--until {day}")));
        if !self.lang.is_empty() {
            words.push(format!("--lang {}", self.lang.join(",")));
        }
        if self.no_replies {
            words.push("--no-replies".to_owned());
        }
        if self.min_chars > 0 {
            words.push(format!("--min-chars {}", self.min_chars));
        }
        words
    }
}

fn day(text: &str) -> Result<Date, String> {
    Date::parse(text.trim(), format_description!("[year]-[month]-[day]"))
        .map_err(|_| "expected a day as YYYY-MM-DD, for example 2020-12-31".to_owned())
}

/// Parses a language's code.
pub fn code(text: &str) -> Result<String, String> {
    language::normal(text).ok_or_else(|| "expected a language's code, for example en or pt-BR".to_owned())
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use time::macros::date;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        filter: FilterArgs,
    }

    fn parse(words: &[&str]) -> Result<FilterArgs, clap::Error> {
        let words = ["command"].iter().chain(words);
        Ok(Command::try_parse_from(words)?.filter)
    }

    #[test]
    fn no_option_is_no_filter() {
        let args = parse(&[]).unwrap();
        assert!(args.filter().unwrap() == Filter::default() && args.words().is_empty());
    }

    #[test]
    fn options_become_a_filter_and_its_words_again() {
        let line = "--since 2019-01-02 --until 2020-12-31 --lang en,pt-br --no-replies --min-chars 30";
        let args = parse(&line.split(' ').collect::<Vec<_>>()).unwrap();
        let expected = Filter {
            since: Some(date!(2019 - 01 - 02)),
            until: Some(date!(2020 - 12 - 31)),
            languages: vec!["en".into(), "pt-br".into()],
            no_replies: true,
            min_chars: 30,
        };
        assert_eq!(args.filter().unwrap(), expected);
        assert_eq!(args.words().join(" "), line);
        assert_eq!(
            parse(&["--lang", "de", "--lang", "EN"]).unwrap().filter().unwrap().languages,
            ["de", "en"]
        );
    }

    #[test]
    fn what_cannot_be_is_a_usage_error() {
        for words in [["--since", "yesterday"], ["--lang", "english, please"], ["--min-chars", "-1"]] {
            assert!(parse(&words).is_err(), "{words:?}");
        }
        let error = parse(&["--since", "2020-01-02", "--until", "2020-01-01"]).unwrap().filter().unwrap_err();
        assert!(error.to_string().contains("--since 2020-01-02 is after"), "{error}");
    }
}
