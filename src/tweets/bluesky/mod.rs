//! Bluesky: an account's records, from a repository export ([`car`]) or from responses of
//! `com.atproto.repo.listRecords` ([`list`]).
//!
//! Posts are `app.bsky.feed.post`; a repost is a record of another collection and counts as a
//! retweet; the profile record has the display name. Neither source has the handle, which belongs
//! to the directory: the file's name is taken as the handle if it has the form of one, else the
//! account's DID.

pub mod car;
pub mod list;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::entry::readable;
use super::html::is_shown_address;
use super::post::{Archive, Post, Unreadable};

const POST: &str = "app.bsky.feed.post";
const REPOST: &str = "app.bsky.feed.repost";
const PROFILE: &str = "app.bsky.actor.profile";

const LINK: &str = "app.bsky.richtext.facet#link";

/// Names of the API's methods, and so of files, that have the form of a handle.
const METHODS: [&str; 2] = ["com.atproto.sync.getRepo", "com.atproto.repo.listRecords"];

/// Maximum length of a handle, and of each of its parts.
const MAX_HANDLE_BYTES: usize = 253;
const MAX_LABEL_BYTES: usize = 63;

/// The fields read from a post's record, the same in CBOR and JSON.
#[derive(Deserialize)]
struct PostRecord {
    text: String,
    #[serde(rename = "createdAt", default)]
    created_at: Option<String>,
    #[serde(default)]
    langs: Option<Vec<String>>,
    /// Readable facets only; others have no effect.
    #[serde(default, deserialize_with = "readable")]
    facets: Vec<Facet>,
    #[serde(default)]
    reply: Option<IgnoredAny>,
}

#[derive(Deserialize)]
struct RepostRecord {
    #[serde(rename = "createdAt", default)]
    created_at: Option<String>,
}

#[derive(Deserialize)]
struct ProfileRecord {
    #[serde(rename = "displayName", default)]
    display_name: Option<String>,
}

/// Annotation of a range of the text.
#[derive(Deserialize)]
struct Facet {
    index: ByteRange,
    #[serde(default)]
    features: Vec<Feature>,
}

/// Range of bytes in the text's UTF-8.
#[derive(Deserialize)]
struct ByteRange {
    #[serde(rename = "byteStart")]
    start: u64,
    #[serde(rename = "byteEnd")]
    end: u64,
}

#[derive(Deserialize)]
struct Feature {
    #[serde(rename = "$type", default)]
    kind: String,
    #[serde(default)]
    uri: Option<String>,
}

impl PostRecord {
    fn into_post(self, id: String) -> Post {
        Post {
            created_at: self.created_at,
            langs: self.langs.unwrap_or_default(),
            in_reply_to: Some(self.reply.is_some()),
            id: Some(id),
            ..Post::from_text(without_links(&self.text, &self.facets))
        }
    }
}

impl RepostRecord {
    fn into_post(self, id: String) -> Post {
        Post { is_retweet: true, created_at: self.created_at, id: Some(id), ..Post::default() }
    }
}

/// The text without the addresses that facets mark as links: apps shorten them beyond what the
/// cleaning recognises. A link on words keeps the words. A facet that points outside of the text,
/// into a character or into an earlier facet is ignored, as the protocol says.
fn without_links(text: &str, facets: &[Facet]) -> String {
    let mut cuts: Vec<(usize, usize)> = facets.iter().filter_map(|facet| link_range(text, facet)).collect();
    cuts.sort_unstable();
    let mut kept = String::with_capacity(text.len());
    let mut done = 0;
    for (start, end) in cuts {
        if start >= done {
            kept.push_str(&text[done..start]);
            done = end;
        }
    }
    kept.push_str(&text[done..]);
    kept
}

/// The range of a facet's link if it is displayed as an address.
fn link_range(text: &str, facet: &Facet) -> Option<(usize, usize)> {
    let start = usize::try_from(facet.index.start).ok()?;
    let end = usize::try_from(facet.index.end).ok()?;
    let shown = text.get(start..end).filter(|shown| !shown.is_empty())?;
    let addresses = facet.features.iter().filter(|feature| feature.kind == LINK);
    let mut addresses = addresses.filter_map(|feature| feature.uri.as_deref());
    let single = !shown.contains(char::is_whitespace);
    let domain = single && shown.split_once('.').is_some_and(|(_, rest)| !rest.is_empty());
    addresses.any(|address| domain || is_shown_address(shown, address)).then_some((start, end))
}

/// What was read from an account's records.
#[derive(Default)]
struct Records {
    posts: Vec<Post>,
    display_name: Option<String>,
    unreadable: Unreadable,
}

impl Records {
    /// Takes a record of this collection, decoded by `decode`; one that cannot be decoded is
    /// counted as unreadable. Records of other collections are ignored.
    fn take<D: Decode>(&mut self, collection: &str, id: String, decode: D) {
        let taken = match collection {
            POST => decode.decode().map(|record: PostRecord| self.posts.push(record.into_post(id))),
            REPOST => decode.decode().map(|record: RepostRecord| self.posts.push(record.into_post(id))),
            PROFILE => decode.decode().map(|record: ProfileRecord| self.display_name = record.display_name),
            _ => Ok(()),
        };
        if let Err(problem) = taken {
            self.unreadable.add(|| problem);
        }
    }

    /// The account with all records; `stem` is its handle if it has the form of one.
    fn into_archive(self, stem: &str, did: Option<&str>) -> Archive {
        let Self { posts, display_name, unreadable } = self;
        Archive { unreadable, ..account(stem, did, display_name, posts) }
    }
}

/// A record in one of its two encodings.
trait Decode {
    fn decode<T: serde::de::DeserializeOwned>(self) -> Result<T, String>;
}

/// The account; `stem` is its handle if it has the form of one.
fn account(stem: &str, did: Option<&str>, display_name: Option<String>, posts: Vec<Post>) -> Archive {
    let stem = stem.trim_start_matches('@');
    let (handle, handle_from_file) = match did {
        Some(did) if !is_handle(stem) => (did, false),
        _ => (stem, true),
    };
    let name = display_name.filter(|name| !name.trim().is_empty());
    let name = name.unwrap_or_else(|| handle.to_owned());
    Archive { handle: handle.to_owned(), handle_from_file, name, posts, ..Archive::default() }
}

/// Whether a file's name has the form of a handle, which is a domain name:
/// <https://atproto.com/specs/handle>.
fn is_handle(name: &str) -> bool {
    let is_label = |label: &str| {
        (1..=MAX_LABEL_BYTES).contains(&label.len())
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    let top = name.rsplit_once('.').map(|(_, top)| top);
    top.is_some_and(|top| top.starts_with(|c: char| c.is_ascii_alphabetic()))
        && name.len() <= MAX_HANDLE_BYTES
        && name.split('.').all(is_label)
        && !METHODS.iter().any(|method| name.eq_ignore_ascii_case(method))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::clean::clean;
    use super::*;

    fn facet(start: usize, end: usize, uri: &str) -> Facet {
        let kind = LINK.to_owned();
        let features = vec![Feature { kind, uri: Some(uri.to_owned()) }];
        Facet { index: ByteRange { start: start as u64, end: end as u64 }, features }
    }

    /// A facet on the only occurrence of `shown`.
    fn on(text: &str, shown: &str, uri: &str) -> Facet {
        let start = text.find(shown).unwrap();
        facet(start, start + shown.len(), uri)
    }

    #[test]
    fn links_are_cut_by_bytes_and_words_stay() {
        let text = "Grüße 🌊 lights.example/log/18... und mehr";
        let link = on(text, "lights.example/log/18...", "https://lights.example/log/1871/04");
        assert_eq!(clean(&without_links(text, &[link])), "Grüße 🌊 und mehr");
        let text = "read the log or here, at lights.example";
        let links = [
            on(text, "lights.example", "https://lights.example/"),
            on(text, "the log", "https://lights.example/log"),
            on(text, "here", "https://lights.example/log"),
        ];
        assert_eq!(without_links(text, &links), "read the log or here, at ");
    }

    #[test]
    fn mentions_and_tags_are_no_links() {
        let text = "@gull.example #fog";
        let mut mention = on(text, "@gull.example", "did:plc:x");
        mention.features[0].kind = "app.bsky.richtext.facet#mention".to_owned();
        assert_eq!(without_links(text, &[mention]), text);
    }

    #[test]
    fn facets_that_point_nowhere_say_nothing() {
        let text = "ü a.example";
        let nowhere = [
            facet(1, 11, "https://a.example"),
            facet(3, 99, "https://a.example"),
            facet(9, 3, "https://a.example"),
            facet(3, 3, "https://a.example"),
        ];
        assert_eq!(without_links(text, &nowhere), text);
        let twice = [facet(3, 12, "https://a.example"), facet(5, 12, "https://a.example")];
        assert_eq!(without_links(text, &twice), "ü ");
    }

    #[test]
    fn a_file_named_after_the_account_gives_its_handle() {
        let handle = |stem: &str, did: Option<&str>| account(stem, did, None, Vec::new()).handle;
        assert_eq!(handle("keeper.sea.example", Some("did:plc:x")), "keeper.sea.example");
        assert_eq!(handle("repo", Some("did:plc:x")), "did:plc:x");
        assert_eq!(handle("did_plc_x", Some("did:plc:x")), "did:plc:x");
        assert_eq!(handle("@Keeper.bsky.social", Some("did:plc:x")), "Keeper.bsky.social");
        let long = format!("{}.example", "a".repeat(64));
        for name in [
            "repo (1)",
            "keeper",
            "keeper.sea.example (1)",
            "keeper_1.sea.example",
            "com.atproto.sync.getRepo",
            "-a.example",
            "a..example",
            "repo.1",
            ".example",
            &long,
            "",
        ] {
            assert_eq!(handle(name, Some("did:plc:x")), "did:plc:x", "{name}");
        }
        assert_eq!(handle("repo", None), "repo");
        assert_eq!(account("repo", None, Some("The Keeper".into()), Vec::new()).name, "The Keeper");
    }

    proptest! {
        #[test]
        fn any_facets_leave_text(text in "[aü🌊. ]{0,20}", ranges in prop::collection::vec((0u64..40, 0u64..40), 0..6)) {
            let facets: Vec<Facet> =
                ranges.into_iter().map(|(s, e)| facet(s as usize, e as usize, "https://a.example")).collect();
            prop_assert!(without_links(&text, &facets).len() <= text.len());
        }
    }
}
