//! JSON responses of `com.atproto.repo.listRecords`: a page of records, or several pages in
//! succession or in a list.

use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::{Decode, Records};
use crate::tweets::error::{Place, ReadError, utf8};
use crate::tweets::post::Archive;

#[derive(Deserialize)]
struct Listed {
    /// `at://did:plc:…/app.bsky.feed.post/3k…`
    #[serde(default)]
    uri: String,
    value: Value,
}

/// A record's JSON, and its number in messages.
struct Json {
    value: Value,
    number: usize,
}

impl Decode for Json {
    fn decode<T: DeserializeOwned>(self) -> Result<T, String> {
        serde_json::from_value(self.value)
            .map_err(|error| format!("record {}: {}", self.number, ReadError::shape(&error)))
    }
}

/// Reads the bytes of the pages. Records of other collections are ignored; those that do not fit
/// their collection are skipped and counted.
///
/// # Errors
/// Not UTF-8, not JSON, or no list `records`.
pub fn read(label: &str, stem: &str, bytes: &[u8]) -> Result<Archive, ReadError> {
    let place = || Place::file(label);
    let text = utf8(bytes, place)?;
    let (mut records, mut did) = (Records::default(), None);
    let mut number = 0;
    for document in serde_json::Deserializer::from_str(text).into_iter::<Value>() {
        let document = document.map_err(|error| ReadError::json(place(), &error, 0))?;
        let pages = match document {
            Value::Array(pages) => pages,
            page => vec![page],
        };
        for page in pages {
            let Value::Object(mut page) = page else {
                return Err(ReadError::NoPostsFile { place: place(), looked_for: "a list `records`" });
            };
            let Some(Value::Array(page)) = page.remove("records") else {
                return Err(ReadError::NoPostsFile { place: place(), looked_for: "a list `records`" });
            };
            for record in page {
                number += 1;
                let Listed { uri, value } = match (Json { value: record, number }).decode() {
                    Ok(listed) => listed,
                    Err(problem) => {
                        records.unreadable.add(|| problem);
                        continue;
                    }
                };
                let (repository, path) =
                    uri.strip_prefix("at://").and_then(|rest| rest.split_once('/')).unwrap_or_default();
                if did.is_none() && repository.starts_with("did:") {
                    did = Some(repository.to_owned());
                }
                let collection = match value["$type"].as_str() {
                    Some(kind) => kind.to_owned(),
                    None => path.split('/').next().unwrap_or_default().to_owned(),
                };
                records.take(&collection, uri, Json { value, number });
            }
        }
    }
    Ok(records.into_archive(stem, did.as_deref()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::{POST, PROFILE, REPOST};
    use super::*;
    use crate::tweets::Unreadable;

    fn record(collection: &str, key: &str, value: Value) -> Value {
        let mut value = value;
        value["$type"] = json!(collection);
        json!({"uri": format!("at://did:plc:keeper/{collection}/{key}"), "cid": "bafy", "value": value})
    }

    fn page() -> Value {
        let text = "see lights.example/lo... ü";
        json!({"records": [
            record(POST, "1", json!({"text": text, "createdAt": "2024-05-06T07:08:09.000Z", "langs": ["en", "de"],
                "facets": [{"index": {"byteStart": 4, "byteEnd": 24}, "features": [
                    {"$type": "app.bsky.richtext.facet#link", "uri": "https://lights.example/log/1871"}]}]})),
            record(POST, "2", json!({"text": "an answer", "reply": {"root": {}, "parent": {}}})),
            record(REPOST, "3", json!({"subject": {"uri": "at://x", "cid": "y"}, "createdAt": "2024-01-01T00:00:00Z"})),
            record("app.bsky.feed.like", "4", json!({"subject": 1})),
            record(PROFILE, "self", json!({"displayName": "The Keeper", "description": "x"})),
        ], "cursor": "2"})
    }

    #[test]
    fn records_are_posts_reposts_and_the_name() {
        let archive = read("a.json", "repo", page().to_string().as_bytes()).unwrap();
        assert_eq!((archive.handle.as_str(), archive.name.as_str()), ("did:plc:keeper", "The Keeper"));
        let [first, answer, repost] = archive.posts.as_slice() else { panic!("{archive:?}") };
        assert_eq!(
            (first.text.as_str(), first.in_reply_to, first.is_retweet),
            ("see  ü", Some(false), false)
        );
        assert_eq!(
            (first.langs.join("+"), first.created_at.as_deref()),
            ("en+de".into(), Some("2024-05-06T07:08:09.000Z"))
        );
        assert_eq!(first.id.as_deref(), Some("at://did:plc:keeper/app.bsky.feed.post/1"));
        assert!(answer.in_reply_to == Some(true) && repost.is_retweet);
        assert_eq!(repost.created_at.as_deref(), Some("2024-01-01T00:00:00Z"));
    }

    #[test]
    fn pages_may_follow_each_other() {
        let page = page();
        for text in [format!("{page}\n{page}\n"), json!([page, page]).to_string()] {
            assert_eq!(read("a.json", "a", text.as_bytes()).unwrap().posts.len(), 6);
        }
    }

    #[test]
    fn each_bad_page_has_its_own_line() {
        let error = |text: &str| read("a.json", "a", text.as_bytes()).unwrap_err().to_string();
        assert_eq!(error("{\"a\": 1}"), "a.json: no posts in it; looked for a list `records`");
        assert_eq!(error("7"), "a.json: no posts in it; looked for a list `records`");
        assert!(error("{\"records\": [").contains("the JSON ends early"));
        assert!(
            read("a.json", "a", b"{\"records\": [\"\xff\"]}").unwrap_err().to_string().contains("not UTF-8")
        );
    }

    #[test]
    fn what_is_no_post_is_left_out_and_counted() {
        let facet = |start: i64| {
            json!({"index": {"byteStart": start, "byteEnd": 13}, "features": [
            {"$type": "app.bsky.richtext.facet#link", "uri": "https://a.example"}]})
        };
        let text = "see a.example now";
        let page = json!({"records": [
            record(POST, "1", json!({"text": ["secret"]})),
            record(POST, "2", json!({"text": text, "facets": [facet(-1), 7, facet(4)]})),
            record(POST, "3", json!({"text": text, "facets": "none"})),
            7,
        ]});
        let archive = read("a.json", "a", page.to_string().as_bytes()).unwrap();
        let texts: Vec<_> = archive.posts.iter().map(|post| post.text.as_str()).collect();
        assert_eq!(texts, ["see  now", text]);
        let Unreadable { count, first } = archive.unreadable;
        assert!(
            count == 2 && first.starts_with("record 1: ") && !first.contains("secret"),
            "{count} {first}"
        );
    }

    proptest! {
        #[test]
        fn any_mutation_is_read_or_refused(at: prop::sample::Index, byte: u8) {
            let mut bytes = page().to_string().into_bytes();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = read("a.json", "a", &bytes);
        }
    }
}
