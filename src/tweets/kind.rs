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

/// Size of a tar header.
pub const TAR_HEADER_BYTES: usize = 512;

/// Offset of the signature in a tar header, and its values: POSIX's and GNU's.
const USTAR_AT: usize = 257;
const USTAR: [&[u8]; 2] = [b"ustar\0", b"ustar  "];

/// Offset and size of the checksum in a tar header.
const CHECKSUM_AT: usize = 148;
const CHECKSUM_BYTES: usize = 8;

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

/// Whether the first [`HEAD_BYTES`] are those of a tar. The checksum is verified too, because text
/// may have the signature in the same place.
pub fn is_tar(head: &[u8]) -> bool {
    let Some(header) = head.first_chunk::<TAR_HEADER_BYTES>() else {
        return false;
    };
    let signed = USTAR.iter().any(|ustar| header[USTAR_AT..].starts_with(ustar));
    signed && declared_checksum(header) == Some(checksum(header))
}

/// The checksum that a tar header states, in octal.
fn declared_checksum(header: &[u8; TAR_HEADER_BYTES]) -> Option<u32> {
    let field = &header[CHECKSUM_AT..CHECKSUM_AT + CHECKSUM_BYTES];
    let digits = field.split(|&byte| byte == 0).next()?;
    u32::from_str_radix(std::str::from_utf8(digits).ok()?.trim(), 8).ok()
}

/// The sum of a tar header's bytes, with spaces in place of the checksum.
fn checksum(header: &[u8; TAR_HEADER_BYTES]) -> u32 {
    let field = CHECKSUM_AT..CHECKSUM_AT + CHECKSUM_BYTES;
    (0..).zip(header).map(|(at, &byte)| u32::from(if field.contains(&at) { b' ' } else { byte })).sum()
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

    /// A tar header with this signature.
    fn tar_header(ustar: &[u8]) -> [u8; TAR_HEADER_BYTES] {
        let mut header = [0; TAR_HEADER_BYTES];
        header[..11].copy_from_slice(b"outbox.json");
        header[USTAR_AT..USTAR_AT + ustar.len()].copy_from_slice(ustar);
        let stated = format!("{:06o}\0 ", checksum(&header));
        header[CHECKSUM_AT..CHECKSUM_AT + CHECKSUM_BYTES].copy_from_slice(stated.as_bytes());
        header
    }

    #[test]
    fn text_with_the_signature_of_a_tar_is_text() {
        let mut text = "x".repeat(USTAR_AT - 1) + "gustar\0\n";
        text.push_str(&"y".repeat(TAR_HEADER_BYTES));
        assert_eq!(Kind::of("a.txt", text.as_bytes()), Some(Kind::Lines));
        assert_eq!(Kind::of("a.csv", text.replace('\0', " ").as_bytes()), Some(Kind::Csv));
        for ustar in USTAR {
            let mut header = tar_header(ustar);
            assert!(is_tar(&header));
            header[0] ^= 1;
            assert!(!is_tar(&header));
        }
        assert!(!is_tar(&tar_header(b"ustar,")));
    }

    #[test]
    fn the_content_is_stronger_than_the_name() {
        let tar = tar_header(USTAR[0]);
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
