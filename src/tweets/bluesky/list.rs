//! The JSON that `com.atproto.repo.listRecords` answers: a page of records, or
//! several pages one after the other or in a list.

use serde::Deserialize;
use serde_json::Value;

use super::{POST, PROFILE, PostRecord, ProfileRecord, REPOST, RepostRecord, account};
use crate::tweets::error::{Place, ReadError, utf8};
use crate::tweets::post::Archive;

#[derive(Deserialize)]
struct Listed {
    /// `at://did:plc:…/app.bsky.feed.post/3k…`
    #[serde(default)]
    uri: String,
    value: Value,
}

/// Reads the pages' bytes. Records of other collections are passed over.
///
/// # Errors
/// Not UTF-8, not JSON, no list `records`, or a record that is not what its
/// collection says; it is named by its number.
pub fn read(label: &str, stem: &str, bytes: &[u8]) -> Result<Archive, ReadError> {
    let place = || Place::file(label);
    let text = utf8(bytes, place)?;
    let (mut posts, mut did, mut display_name) = (Vec::new(), None, None);
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
            let Some(Value::Array(records)) = page.remove("records") else {
                return Err(ReadError::NoPostsFile { place: place(), looked_for: "a list `records`" });
            };
            for record in records {
                number += 1;
                let wrong = |error: serde_json::Error| ReadError::Record {
                    place: place(),
                    record: format!("record {number}"),
                    problem: ReadError::shape(&error),
                };
                let Listed { uri, value } = serde_json::from_value(record).map_err(wrong)?;
                let (repository, path) =
                    uri.strip_prefix("at://").and_then(|rest| rest.split_once('/')).unwrap_or_default();
                if did.is_none() && repository.starts_with("did:") {
                    did = Some(repository.to_owned());
                }
                let collection = match value["$type"].as_str() {
                    Some(kind) => kind.to_owned(),
                    None => path.split('/').next().unwrap_or_default().to_owned(),
                };
                match collection.as_str() {
                    POST => {
                        let record: PostRecord = serde_json::from_value(value).map_err(wrong)?;
                        posts.push(record.into_post(uri));
                    }
                    REPOST => {
                        let record: RepostRecord = serde_json::from_value(value).map_err(wrong)?;
                        posts.push(record.into_post(uri));
                    }
                    PROFILE => {
                        let record: ProfileRecord = serde_json::from_value(value).map_err(wrong)?;
                        display_name = record.display_name;
                    }
                    _ => {}
                }
            }
        }
    }
    Ok(account(stem, did.as_deref(), display_name, posts))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

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
        assert_eq!((first.text.as_str(), first.in_reply_to, first.is_retweet), ("see  ü", false, false));
        assert_eq!(
            (first.langs.join("+"), first.created_at.as_deref()),
            ("en+de".into(), Some("2024-05-06T07:08:09.000Z"))
        );
        assert_eq!(first.id.as_deref(), Some("at://did:plc:keeper/app.bsky.feed.post/1"));
        assert!(answer.in_reply_to && repost.is_retweet);
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
        let bad = json!({"records": [record(POST, "1", json!({"text": ["secret"]}))]}).to_string();
        let error = error(&bad);
        assert!(error.starts_with("a.json: record 1: ") && !error.contains("secret"), "{error}");
        assert!(
            read("a.json", "a", b"{\"records\": [\"\xff\"]}").unwrap_err().to_string().contains("not UTF-8")
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
