//! The archive check: runs the command's own readers on a visitor's file, and judges whether there
//! is enough for a bot.

use std::io::{Read, Seek};

use serde::Serialize;

use crate::{
    bundle::manifest::AccountCounts,
    tweets::{
        Cleaned, ReadError, any,
        dataset::{ADVISED_CHARS, MIN_CHARS},
    },
};

/// Characters beyond which more posts hardly improve a bot.
const PLENTY_CHARS: usize = 100_000;

/// Number of kept posts shown.
const EXAMPLES: usize = 5;

/// Approximate characters per token, for English posts with GPT-2's vocabulary.
const CHARS_A_TOKEN: f64 = 4.0;

/// How often training reads every post.
const EPOCHS: f64 = 4.0;

/// Training speed of GPT-2 124M on two cores of a server, for the slower of the two shapes of a
/// step in benches/README.md.
const TOKENS_A_SECOND: f64 = 215.0;

/// Whether there are enough posts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Verdict {
    TooFew,
    Little,
    Enough,
    Plenty,
}

/// The content of an archive.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Check {
    pub counts: AccountCounts,
    /// Entries that could not be read as posts; they are in none of the counts.
    pub unreadable: usize,
    /// What the reader warns of, in English: that the account's name could not be read.
    pub warning: Option<String>,
    /// Unicode code points of the kept posts, joined as for training.
    pub chars: usize,
    pub verdict: Verdict,
    /// Kept posts from across the archive.
    pub examples: Vec<String>,
    /// Approximate time of fine-tuning.
    pub minutes: u64,
}

/// Reads and cleans the archive as `huggingtweets import` does.
///
/// # Errors
/// If the archive cannot be read.
pub fn check(name: &str, file: impl Read + Seek, size_bytes: u64) -> Result<Check, ReadError> {
    let archive = any::read(name, name, any::stem(name), file, size_bytes)?;
    let cleaned = Cleaned::from_archive(&archive);
    let chars = cleaned.kept_chars_joined();
    let step = (cleaned.kept.len() / EXAMPLES).max(1);
    Ok(Check {
        counts: cleaned.counts(),
        unreadable: cleaned.unreadable.count,
        warning: archive.warning,
        chars,
        verdict: verdict(chars),
        examples: cleaned.kept.iter().step_by(step).take(EXAMPLES).cloned().collect(),
        minutes: minutes(chars),
    })
}

fn minutes(chars: usize) -> u64 {
    let tokens = chars as f64 / CHARS_A_TOKEN * EPOCHS;
    (tokens / TOKENS_A_SECOND / 60.0).ceil() as u64
}

fn verdict(chars: usize) -> Verdict {
    match chars {
        0..MIN_CHARS => Verdict::TooFew,
        MIN_CHARS..ADVISED_CHARS => Verdict::Little,
        ADVISED_CHARS..PLENTY_CHARS => Verdict::Enough,
        PLENTY_CHARS.. => Verdict::Plenty,
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use super::*;
    use crate::web::page::{
        Word,
        words::{Language, Words},
    };

    fn checked(name: &str, bytes: &[u8]) -> Result<Check, ReadError> {
        check(name, Cursor::new(bytes), bytes.len() as u64)
    }

    #[test]
    fn the_four_counts_and_some_posts_are_there() {
        let posts: String = (0..400).map(|n| format!("the lamp is lit for night {n}\n")).collect();
        let result =
            checked("keeper.txt", format!("{posts}RT @sea: three whole words\nhi\n").as_bytes()).unwrap();
        assert_eq!((result.counts.tweets_downloaded, result.counts.tweets_kept), (402, 400));
        assert_eq!((result.counts.retweets, result.counts.short_tweets), (1, 1));
        assert_eq!((result.counts.handle.as_str(), result.examples.len()), ("keeper", EXAMPLES));
        assert_eq!(result.verdict, Verdict::Little);
        assert!(result.minutes >= 1);
    }

    #[test]
    fn what_could_not_be_read_is_counted() {
        let outbox = br#"{"orderedItems": [7, {"type": "Create", "object": {"type": "Note",
            "to": ["https://www.w3.org/ns/activitystreams#Public"], "content": "the lamp is lit"}}]}"#;
        let result = checked("outbox.json", outbox).unwrap();
        assert_eq!((result.unreadable, result.counts.tweets_downloaded), (1, 1));
    }

    #[test]
    fn an_account_that_could_not_be_read_is_a_warning() {
        let note = r#"{"type": "Create", "object": {"type": "Note",
            "to": ["https://www.w3.org/ns/activitystreams#Public"], "content": "the lamp is lit"}}"#;
        let outbox = format!(r#"{{"orderedItems": [{note}]}}"#);
        let packed = |actor: &str| {
            let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
            for (name, text) in [("outbox.json", outbox.as_str()), ("actor.json", actor)] {
                zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
                zip.write_all(text.as_bytes()).unwrap();
            }
            zip.finish().unwrap().into_inner()
        };
        let warning = checked("keeper.zip", &packed("{")).unwrap().warning.unwrap();
        assert!(warning.starts_with("keeper.zip: actor.json: "), "{warning}");
        assert!(warning.ends_with("; the account is named @keeper, after the file"), "{warning}");
        let named = r#"{"preferredUsername": "lamp", "id": "https://sea.example/users/lamp"}"#;
        assert_eq!(checked("keeper.zip", &packed(named)).unwrap().warning, None);
    }

    #[test]
    fn the_pages_sentences_name_these_figures() {
        let (speed, minutes) = (format!(" {TOKENS_A_SECOND} "), format!(" {} ", minutes(100_000)));
        for language in Language::ALL {
            let code = language.code();
            let path = format!("{}/www/words/{code}.json", env!("CARGO_MANIFEST_DIR"));
            let words = Words::parse(language, &std::fs::read_to_string(path).unwrap()).unwrap();
            assert!(words[Word::CheckMinutes].contains(&speed), "{code}");
            assert!(words[Word::CostNote].contains(&speed), "{code}");
            assert!(words[Word::CostNote].contains(&minutes), "{code}");
        }
    }

    #[test]
    fn too_few_is_a_result_and_no_archive_an_error() {
        let result = checked("a.txt", b"one short archive\n").unwrap();
        assert_eq!(result.verdict, Verdict::TooFew);
        assert!(checked("a.zip", b"<html>").unwrap_err().to_string().contains("a.zip: is not a zip archive"));
        assert_eq!(verdict(PLENTY_CHARS), Verdict::Plenty);
        assert_eq!(verdict(ADVISED_CHARS), Verdict::Enough);
    }
}
