//! `.jsonl`: one JSON object with `text` (or `full_text`) per line, as `import --out` writes it.
//! `created_at`, `lang`, `id` and fields about replies are used if they exist.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::error::{Place, ReadError, utf8};
use super::post::{Archive, Post, Unreadable};
use super::reply;
use super::x_archive::loose_string;

#[derive(Deserialize)]
#[serde(expecting = "one JSON object on each line")]
struct Row {
    #[serde(default)]
    full_text: Option<String>,
    #[serde(default)]
    text: Option<String>,
    #[serde(default, deserialize_with = "loose_string")]
    created_at: Option<String>,
    #[serde(default, deserialize_with = "loose_string")]
    lang: Option<String>,
    #[serde(default, deserialize_with = "loose_string")]
    id: Option<String>,
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

impl Row {
    /// Whether the post is a reply; `None` if no field says.
    fn in_reply_to(&self) -> Option<bool> {
        let mut fields = self.others.iter().filter(|(name, _)| reply::is_field(name)).peekable();
        fields.peek()?;
        Some(fields.any(|(_, value)| reply::is_something(value)))
    }
}

/// Reads the bytes of a JSONL file. `label` names the file in error messages; `stem` is the
/// account's handle and name. Blank lines are skipped; a line that is not a post is skipped and
/// counted.
///
/// # Errors
/// Not UTF-8; no post although a line is not a JSON object with a text (the first such line is
/// named).
pub fn read(label: &str, stem: &str, bytes: &[u8]) -> Result<Archive, ReadError> {
    let place = || Place::file(label);
    let mut posts = Vec::new();
    let (mut unreadable, mut first_error) = (Unreadable::default(), None);
    let text = utf8(bytes, place)?.trim_end();
    let last = text.lines().count().saturating_sub(1);
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        match post(line, number, place()) {
            Ok(post) => posts.push(post),
            Err(error) => {
                let error = if number < last { not_cut_short(error) } else { error };
                unreadable.add(|| error.within());
                first_error.get_or_insert(error);
            }
        }
    }
    if let (true, Some(error)) = (posts.is_empty(), first_error) {
        return Err(error);
    }
    // If some posts have reply fields, those without are not replies.
    if posts.iter().any(|post| post.in_reply_to.is_some()) {
        posts.iter_mut().for_each(|post| post.in_reply_to = Some(post.in_reply_to == Some(true)));
    }
    Ok(Archive { unreadable, ..Archive::named_after_file(stem, posts) })
}

/// The error of a line that others follow: if it ends early, its object goes on in the next one.
fn not_cut_short(error: ReadError) -> ReadError {
    match error {
        ReadError::Json { place, line, column, cut_short: true, .. } => {
            let problem = "the JSON does not end on its line; put each object on one line".to_owned();
            ReadError::Json { place, line, column, problem, cut_short: false }
        }
        error => error,
    }
}

/// Parses a line, the number `number` of its file (from 0).
fn post(line: &str, number: usize, place: Place) -> Result<Post, ReadError> {
    let row: Row = match serde_json::from_str(line) {
        Ok(row) => row,
        Err(error) => return Err(ReadError::json(place, &error, number)),
    };
    let in_reply_to = row.in_reply_to();
    let Some(text) = row.full_text.or(row.text) else {
        let problem = "the object has no `text`".to_owned();
        return Err(ReadError::Json { place, line: number + 1, column: 1, problem, cut_short: false });
    };
    Ok(Post {
        created_at: row.created_at,
        langs: row.lang.into_iter().collect(),
        in_reply_to,
        id: row.id,
        ..Post::from_text(text)
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_object_is_a_post() {
        let bytes =
            "{\"text\":\"one\",\"id\":7}\n\n{\"full_text\":\"RT @b: two\",\"text\":\"RT\",\"lang\":\"en\"}\n";
        let archive = read("a.jsonl", "a", bytes.as_bytes()).unwrap();
        assert_eq!(archive.posts.len(), 2);
        assert_eq!(archive.posts[0].id.as_deref(), Some("7"));
        assert_eq!(archive.posts[1].text, "RT @b: two");
        assert!(archive.posts[1].is_retweet);
    }

    #[test]
    fn replies_are_known_where_a_field_says() {
        let replies = |lines: &[&str]| {
            let posts = read("a.jsonl", "a", lines.join("\n").as_bytes()).unwrap().posts;
            posts.iter().map(|post| post.in_reply_to).collect::<Vec<_>>()
        };
        let some = [
            r#"{"text": "one"}"#,
            r#"{"text": "two", "in_reply_to_status_id_str": "7", "in_reply_to_screen_name": null}"#,
            r#"{"text": "six", "in_reply_to_id": null}"#,
            r#"{"text": "ten", "in_reply_to": true}"#,
        ];
        assert_eq!(replies(&some), [Some(false), Some(true), Some(false), Some(true)]);
        assert_eq!(replies(&some[..1]), [None]);
    }

    #[test]
    fn a_bad_line_costs_itself_alone_and_is_counted() {
        let lines = b"{\"text\":\"one\"}\n{\"text\":5}\n[]\n{\"text\":\"two\"}\n{\"text\":";
        let archive = read("a.jsonl", "a", lines).unwrap();
        assert_eq!(archive.posts.iter().map(|post| post.text.as_str()).collect::<Vec<_>>(), ["one", "two"]);
        assert_eq!(archive.unreadable.count, 3);
        let first = archive.unreadable.first;
        assert!(first.starts_with("line 2, column ") && first.contains("expected a string"), "{first}");
    }

    #[test]
    fn where_no_line_is_a_post_the_first_is_named() {
        let error = read("a.jsonl", "a", b"\n{\"text\":\n\n").unwrap_err();
        assert_eq!(
            error.to_string(),
            "a.jsonl: line 2, column 8: the JSON ends early; the file is cut short, copy or download it again"
        );
        let error = read("a.jsonl", "a", b"{\"txt\":\"one\"}").unwrap_err();
        assert_eq!(error.to_string(), "a.jsonl: line 1, column 1: the object has no `text`");
        let error = read("a.jsonl", "a", b"{\"text\":5}").unwrap_err();
        assert!(error.to_string().contains("line 1"), "{error}");
    }

    #[test]
    fn json_on_several_lines_or_in_a_list_is_told_what_is_expected() {
        let error = |text: &str| read("a.jsonl", "a", text.as_bytes()).unwrap_err().to_string();
        let indented = error("{\n  \"text\": \"one two\"\n}\n");
        assert_eq!(
            indented,
            "a.jsonl: line 1, column 1: the JSON does not end on its line; put each object on one line"
        );
        let list = error("[{\"text\": \"one\"}]");
        assert!(list.contains("expected one JSON object on each line"), "{list}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = read("a.jsonl", "a", &bytes);
        }

        #[test]
        fn any_mutation_of_a_line_is_read_or_refused(at in 0usize..27, byte: u8) {
            let mut bytes = b"{\"text\":\"a b c\",\"lang\":\"e\"}".to_vec();
            bytes[at] = byte;
            let _ = read("a.jsonl", "a", &bytes);
        }
    }
}
