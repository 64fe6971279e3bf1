//! `.csv` with a header line, and the text in a column `full_text` or `text`.
//!
//! `full_text` is preferred because it is the longer one. Columns `created_at`, `lang`, `id` and
//! those about replies are used if they exist; others are ignored.

use super::error::{Place, ReadError, utf8};
use super::post::{Archive, Post, Unreadable};
use super::reply;

/// Reads the bytes of a CSV file. `label` names the file in error messages; `stem` is the account's
/// handle and name.
///
/// A row with another number of fields than the header, or with a stray quote that makes several
/// lines one row, is skipped and counted.
///
/// # Errors
/// Not UTF-8; no text column (the message lists the columns); a quote that is never closed; no post
/// although a row is unreadable.
pub fn read(label: &str, stem: &str, bytes: &[u8]) -> Result<Archive, ReadError> {
    let place = || Place::file(label);
    let text = utf8(bytes, place)?;
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
    let header = reader.headers().map_err(|error| csv_error(place(), &error))?.clone();
    Source::new(text, &csv::Position::new(), reader.position()).check_end(place)?;
    let column = |names: &[&str]| {
        names.iter().find_map(|name| header.iter().position(|found| found.trim().eq_ignore_ascii_case(name)))
    };
    let Some(text_column) = column(&["full_text", "text"]) else {
        let found = match header.iter().collect::<Vec<_>>().join(", ") {
            list if list.trim().is_empty() => "an empty line".to_owned(),
            list => list.chars().take(200).map(|c| if c.is_control() { ' ' } else { c }).collect(),
        };
        let other_separator = header.len() == 1 && header.iter().any(|name| name.contains([';', '\t', '|']));
        return Err(ReadError::NoColumn { place: place(), found, other_separator });
    };
    let (created_at, lang) = (column(&["created_at"]), column(&["lang"]));
    let id = column(&["id_str", "id"]);
    let answered: Vec<usize> =
        (0..header.len()).filter(|&at| header.get(at).is_some_and(reply::is_field)).collect();
    let mut posts = Vec::new();
    let (mut unreadable, mut first_error) = (Unreadable::default(), None);
    let mut row = csv::StringRecord::new();
    loop {
        let start = reader.position().clone();
        if !reader.read_record(&mut row).map_err(|error| csv_error(place(), &error))? {
            break;
        }
        let source = Source::new(text, &start, reader.position());
        source.check_end(place)?;
        if let Err(error) = check_row(&row, header.len(), &source, place) {
            unreadable.add(|| error.within());
            first_error.get_or_insert(error);
            continue;
        }
        let field = |column: Option<usize>| {
            row.get(column?).map(str::trim).filter(|field| !field.is_empty()).map(str::to_owned)
        };
        let text = row.get(text_column).unwrap_or_default();
        if text.trim().is_empty() {
            continue;
        }
        posts.push(Post {
            created_at: field(created_at),
            langs: field(lang).into_iter().collect(),
            in_reply_to: (!answered.is_empty())
                .then(|| answered.iter().any(|&at| row.get(at).is_some_and(reply::names_something))),
            id: field(id),
            ..Post::from_text(text.to_owned())
        });
    }
    match first_error {
        Some(error) if posts.is_empty() => Err(error),
        _ => Ok(Archive { unreadable, ..Archive::named_after_file(stem, posts) }),
    }
}

/// Refuses a row with another number of fields than the header, or with a stray quote.
fn check_row(
    row: &csv::StringRecord,
    fields: usize,
    source: &Source<'_>,
    place: impl Fn() -> Place,
) -> Result<(), ReadError> {
    let last_line = source.last_line();
    let problem = if row.len() != fields {
        format!("found {} fields, the first line has {fields}", row.len())
    } else if last_line > source.line && Quotes::of(source.text) == Quotes::TextAfter {
        format!("a quoted field runs on to line {last_line}; write a quote within a field twice")
    } else {
        return Ok(());
    };
    Err(ReadError::Csv { place: place(), line: source.line, problem })
}

/// A row as it is written in the file.
struct Source<'a> {
    text: &'a str,
    /// Number of its first line.
    line: u64,
}

impl<'a> Source<'a> {
    /// The row between two positions in the file; empty lines before it do not belong to it.
    fn new(file: &'a str, start: &csv::Position, end: &csv::Position) -> Self {
        let offset = |at: &csv::Position| usize::try_from(at.byte()).unwrap_or(usize::MAX).min(file.len());
        let text = file.get(offset(start)..offset(end)).unwrap_or_default();
        let row = text.trim_start_matches(['\r', '\n']);
        let before = text[..text.len() - row.len()].matches('\n').count();
        Self { text: row.trim_end_matches(['\r', '\n']), line: start.line() + before as u64 }
    }

    fn last_line(&self) -> u64 {
        self.line + self.text.matches('\n').count() as u64
    }

    /// Refuses a row that the end of the file cuts off within quotes: it has swallowed all others.
    fn check_end(&self, place: impl Fn() -> Place) -> Result<(), ReadError> {
        if Quotes::of(self.text) != Quotes::Open {
            return Ok(());
        }
        let problem = "a quote is opened here and never closed; close or remove it, or copy the file \
                       again if it is cut short";
        Err(ReadError::Csv { place: place(), line: self.line, problem: problem.to_owned() })
    }
}

/// How the quoted fields of a row end.
#[derive(Debug, PartialEq, Eq)]
enum Quotes {
    /// Each with a quote and a comma, or there are none.
    Closed,
    /// One has text after its closing quote, and not just a space.
    TextAfter,
    /// The last has no closing quote.
    Open,
}

impl Quotes {
    /// Scans a row by the rules of the `csv` crate: a quote has a meaning only at the start of a
    /// field and within a quoted one, where two stand for one.
    fn of(row: &str) -> Self {
        #[derive(Clone, Copy)]
        enum State {
            FieldStart,
            Unquoted,
            Quoted,
            QuoteInQuoted,
        }
        let (mut state, mut text_after) = (State::FieldStart, false);
        for byte in row.bytes() {
            state = match (state, byte) {
                (State::Quoted, b'"') => State::QuoteInQuoted,
                (State::Quoted, _) | (State::FieldStart | State::QuoteInQuoted, b'"') => State::Quoted,
                (_, b',') => State::FieldStart,
                (State::QuoteInQuoted, _) => {
                    text_after |= byte != b' ';
                    State::Unquoted
                }
                _ => State::Unquoted,
            };
        }
        match state {
            State::Quoted => Self::Open,
            _ if text_after => Self::TextAfter,
            _ => Self::Closed,
        }
    }
}

fn csv_error(place: Place, error: &csv::Error) -> ReadError {
    let line = error.position().map_or(1, csv::Position::line);
    ReadError::Csv { place, line, problem: error.to_string() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_text_column_is_found_wherever_it_is() {
        let bytes =
            "id,Full_Text,lang\n1,\"one, with \"\"quotes\"\"\nand a line\",en\n2,,\n3,RT @b: x,\n".as_bytes();
        let archive = read("a.csv", "a", bytes).unwrap();
        assert_eq!(archive.posts.len(), 2);
        assert_eq!(archive.posts[0].text, "one, with \"quotes\"\nand a line");
        assert_eq!(archive.posts[0].langs, ["en"]);
        assert_eq!(archive.posts[0].id.as_deref(), Some("1"));
        assert!(archive.posts[1].is_retweet);
        assert!(archive.posts[1].langs.is_empty());
    }

    #[test]
    fn full_text_is_preferred_to_text() {
        let archive = read("a.csv", "a", b"text,full_text\nshort,long\n").unwrap();
        assert_eq!(archive.posts[0].text, "long");
    }

    #[test]
    fn replies_are_known_where_a_column_says() {
        let replies = |text: &str| {
            let posts = read("a.csv", "a", text.as_bytes()).unwrap().posts;
            posts.iter().map(|post| post.in_reply_to).collect::<Vec<_>>()
        };
        let column =
            "text,in_reply_to_status_id,In_Reply_To_Screen_Name\none,,\ntwo,7,\nsix,,gull\nten,nan,None\n";
        assert_eq!(replies(column), [Some(false), Some(true), Some(true), Some(false)]);
        assert_eq!(replies("text,lang\none,en\n"), [None]);
    }

    #[test]
    fn no_text_column_lists_the_found_ones() {
        let error = read("a.csv", "a", b"date;body\n1;x\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "a.csv: no column `text` or `full_text` in the first line; found date;body; \
             fields must be separated by commas, so save it as such"
        );
        let error = read("a.csv", "a", b"date\tbody\n1\tx\n").unwrap_err().to_string();
        assert!(error.contains("separated by commas") && !error.contains('\t'), "{error}");
        let error = read("a.csv", "a", b"date,body\n1,x\n").unwrap_err().to_string();
        assert!(error.ends_with("found date, body"), "{error}");
        assert!(matches!(read("a.csv", "a", b""), Err(ReadError::NoColumn { .. })));
    }

    #[test]
    fn a_row_of_another_length_costs_itself_alone_and_is_counted() {
        let archive = read("a.csv", "a", b"id,text\n1,fine\n2\n3,one,two\n4,well\n").unwrap();
        assert_eq!(archive.posts.iter().map(|post| post.text.as_str()).collect::<Vec<_>>(), ["fine", "well"]);
        let first = "line 3: found 1 fields, the first line has 2".to_owned();
        assert_eq!(archive.unreadable, Unreadable { count: 2, first });
        let error = read("a.csv", "a", b"id,text\n2\n").unwrap_err();
        assert_eq!(error.to_string(), "a.csv: line 2: found 1 fields, the first line has 2");
    }

    #[test]
    fn a_quote_that_is_never_closed_is_refused_with_its_line() {
        let rows = "\n8,more".repeat(500);
        let problem = "a quote is opened here and never closed; close or remove it, or copy the file \
                       again if it is cut short";
        for (text, line) in [
            (format!("id,text\n1,fine\n2,\"open{rows}"), 3),
            (format!("id,text\r\n1,fine\r\n\r\n2,\"open{rows}\r\n"), 4),
            (format!("id,text\n1,\"two\nlines\"\n2,\"open \"\"quoted\"\"{rows}"), 4),
            ("id,text\n1,fine\n2,\"".to_owned(), 3),
            (format!("id,\"text{rows}"), 1),
        ] {
            let error = read("a.csv", "a", text.as_bytes()).unwrap_err();
            assert_eq!(error.to_string(), format!("a.csv: line {line}: {problem}"));
        }
    }

    #[test]
    fn lines_that_a_stray_quote_makes_one_row_are_counted() {
        let bytes = b"id,text\n1,fine\n2,\"open\n3,lost\n4,\"quoted, too\"\n5,well\n";
        let archive = read("a.csv", "a", bytes).unwrap();
        assert_eq!(archive.posts.iter().map(|post| post.text.as_str()).collect::<Vec<_>>(), ["fine", "well"]);
        let bytes = b"id,text\n1,fine\n2,\"open\n3,lost\n4,\"quoted\"\n5,well\n";
        let archive = read("a.csv", "a", bytes).unwrap();
        assert_eq!(archive.posts.iter().map(|post| post.text.as_str()).collect::<Vec<_>>(), ["fine", "well"]);
        let first = "line 3: a quoted field runs on to line 5; write a quote within a field twice".to_owned();
        assert_eq!(archive.unreadable, Unreadable { count: 1, first });
        // Within one line, text after a closing quote does no harm.
        let archive = read("a.csv", "a", b"text\n\"so\" it is\n").unwrap();
        assert_eq!(archive.posts[0].text, "so it is");
        // Nor does a space.
        let archive = read("a.csv", "a", b"text,lang\n\"two\nlines\" ,en\n").unwrap();
        assert_eq!(archive.posts[0].text, "two\nlines ");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = read("a.csv", "a", &bytes);
        }

        #[test]
        fn any_rows_are_read_or_refused(rows in "[a,\"\n\r]{0,60}") {
            let _ = read("a.csv", "a", format!("id,text\n{rows}").as_bytes());
        }
    }
}
