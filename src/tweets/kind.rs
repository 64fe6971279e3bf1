//! Detects the format of a file of posts by its first bytes, or by its name if those are
//! inconclusive.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::bluesky::car;

/// Number of leading bytes that suffice to detect the format.
pub const HEAD_BYTES: usize = 4096;

/// Signatures of zip files; the second is that of an archive without entries.
pub const ZIP_MAGICS: [[u8; 4]; 2] = [*b"PK\x03\x04", *b"PK\x05\x06"];

/// Signature of a gzip stream.
pub const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// Offset and value of the signature in a tar header.
const USTAR_AT: usize = 257;
const USTAR: &[u8] = b"ustar";

/// Supported formats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// An X or Mastodon archive.
    Zip,
    /// A Mastodon archive, compressed or not.
    Tar,
    /// A Bluesky repository.
    Car,
    /// JSON, distinguished further by [`Kind::of_json`].
    Json,
    /// One JSON object with a text per line.
    Jsonl,
    Csv,
    /// One post per line.
    Lines,
}

/// The kind of a JSON file, by the keys in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonKind {
    /// Bluesky's `listRecords`.
    Records,
    /// Mastodon's `outbox.json` by itself.
    Outbox,
    /// One JSON object with a text per line.
    Lines,
}

impl Kind {
    /// The kind of a file with this name and these first [`HEAD_BYTES`] (all bytes, if it has
    /// fewer); `None` if it is unknown.
    pub fn of(name: &str, head: &[u8]) -> Option<Self> {
        let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension).to_lowercase();
        if ZIP_MAGICS.iter().any(|magic| head.starts_with(magic)) {
            return Some(Self::Zip);
        }
        if head.starts_with(&GZIP_MAGIC) || is_tar(head) {
            return Some(Self::Tar);
        }
        if car::is_car(head) {
            return Some(Self::Car);
        }
        match extension.as_str() {
            // Content that contradicts one of these names gets the reader's specific error.
            "zip" => Some(Self::Zip),
            "tar" | "gz" | "tgz" => Some(Self::Tar),
            "car" => Some(Self::Car),
            "txt" => Some(Self::Lines),
            "csv" => Some(Self::Csv),
            "jsonl" | "ndjson" => Some(Self::Jsonl),
            "json" => Some(Self::Json),
            _ => {
                let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
                text.starts_with(b"{\"").then_some(Self::Json)
            }
        }
    }

    /// The kind of a JSON file, by its first value; `None` for other JSON.
    pub fn of_json(bytes: &[u8]) -> Option<JsonKind> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        let first = serde_json::Deserializer::from_slice(bytes).into_iter::<Keys>().next()?.ok()?;
        let has = |wanted: &str| first.keys.iter().any(|key| key == wanted);
        if has("records") {
            return Some(JsonKind::Records);
        }
        if first.in_list {
            return None;
        }
        let lines = || (has("text") || has("full_text")).then_some(JsonKind::Lines);
        if has("orderedItems") { Some(JsonKind::Outbox) } else { lines() }
    }
}

/// Whether the first [`HEAD_BYTES`] are those of a tar.
pub fn is_tar(head: &[u8]) -> bool {
    head.get(USTAR_AT..).is_some_and(|rest| rest.starts_with(USTAR))
}

/// The keys of a JSON object, or of the first one in a list.
#[derive(Default)]
struct Keys {
    keys: Vec<String>,
    in_list: bool,
}

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct KeysVisitor;

        impl<'de> Visitor<'de> for KeysVisitor {
            type Value = Keys;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object or a list of them")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
                let mut keys = Vec::new();
                while let Some((key, _)) = map.next_entry::<String, IgnoredAny>()? {
                    keys.push(key);
                }
                Ok(Keys { keys, in_list: false })
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Keys, A::Error> {
                let keys = match list.next_element::<Keys>()? {
                    Some(first) => first.keys,
                    None => Vec::new(),
                };
                while list.next_element::<IgnoredAny>()?.is_some() {}
                Ok(Keys { keys, in_list: true })
            }
        }

        deserializer.deserialize_any(KeysVisitor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_content_is_stronger_than_the_name() {
        let mut tar = vec![0; 512];
        tar[USTAR_AT..USTAR_AT + 5].copy_from_slice(USTAR);
        for (name, head, expected) in [
            ("a.txt", &b"PK\x03\x04..."[..], Some(Kind::Zip)),
            ("a.zip", b"\x1f\x8b\x08", Some(Kind::Tar)),
            ("a", &tar, Some(Kind::Tar)),
            ("a.json", b"\x3a\xa2\x65roots\x81", Some(Kind::Car)),
            ("a.CAR", b"nothing known", Some(Kind::Car)),
            ("A.Txt", b"{\"text\"", Some(Kind::Lines)),
            ("a.jsonl", b"{", Some(Kind::Jsonl)),
            ("com.atproto.repo.listRecords", b"\xef\xbb\xbf {\"records\"", Some(Kind::Json)),
            ("a.pdf", b"%PDF", None),
            ("a", b"", None),
        ] {
            assert_eq!(Kind::of(name, head), expected, "{name}");
        }
    }

    #[test]
    fn json_is_told_by_its_names() {
        for (text, expected) in [
            (r#"{"cursor": "x", "records": [{"uri": ""}]}"#, Some(JsonKind::Records)),
            (r#"[{"records": []}, {"records": []}]"#, Some(JsonKind::Records)),
            (r#"{"@context": ["x", {"a": 1}], "orderedItems": []}"#, Some(JsonKind::Outbox)),
            ("{\"text\": \"a\"}\n{\"text\": \"b\"}", Some(JsonKind::Lines)),
            (r#"[{"text": "a"}]"#, None),
            (r#"{"records": ["#, None),
            ("[]", None),
            ("7", None),
        ] {
            assert_eq!(Kind::of_json(text.as_bytes()), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_have_a_kind_or_none(name: String, bytes: Vec<u8>) {
            let _ = (Kind::of(&name, &bytes), Kind::of_json(&bytes));
        }
    }
}
