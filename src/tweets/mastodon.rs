//! A Mastodon archive: `outbox.json` with everything that an account sent, and `actor.json` with
//! its names, in a `.tar.gz`, a `.zip` or an unpacked folder.
//!
//! The outbox also holds posts for followers and direct messages. Only what is addressed to the
//! public is read; the rest is ignored and in no count. A boost (`Announce`) corresponds to a
//! retweet on X. A content warning (`summary`) is a label, not part of the post, and is dropped.
//! The handle is `user@server`, because user names are unique only within a server.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::entry::{Collect, Collected};
use super::error::{Place, ReadError, utf8};
use super::file_tree::FileTree;
use super::html;
use super::post::{Archive, Post, Unreadable};

/// What [`read`] looks for, as named in errors.
pub const LOOKED_FOR: &str = "outbox.json";

const ACTOR: &str = "actor.json";

/// Names of the public collection, in full and as abbreviated by JSON-LD.
const PUBLIC: [&str; 3] = ["https://www.w3.org/ns/activitystreams#Public", "as:Public", "Public"];

/// Types of objects that are posts; a question is a post with a poll.
const POSTS: [&str; 3] = ["Note", "Question", "Article"];

#[derive(Deserialize)]
struct Outbox {
    #[serde(rename = "orderedItems", default)]
    items: Option<Collected<PublicPosts>>,
}

#[derive(Deserialize)]
struct Activity {
    /// Of a boost, its own identifier.
    #[serde(default)]
    id: Option<String>,
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    published: Option<String>,
    #[serde(default, deserialize_with = "one_or_many")]
    to: Vec<String>,
    #[serde(default, deserialize_with = "one_or_many")]
    cc: Vec<String>,
    /// A post, or for a boost the address of one.
    #[serde(default)]
    object: Value,
}

#[derive(Deserialize)]
struct Note {
    #[serde(default)]
    id: Option<String>,
    #[serde(default)]
    published: Option<String>,
    #[serde(default, deserialize_with = "one_or_many")]
    to: Vec<String>,
    #[serde(default, deserialize_with = "one_or_many")]
    cc: Vec<String>,
    #[serde(rename = "inReplyTo", default)]
    in_reply_to: Value,
    #[serde(default)]
    content: Option<String>,
    /// Content by language tag.
    #[serde(rename = "contentMap", default)]
    content_map: Option<BTreeMap<String, Option<String>>>,
}

#[derive(Deserialize)]
struct Actor {
    /// The account's address.
    #[serde(default)]
    id: Option<String>,
    #[serde(rename = "preferredUsername", default)]
    username: Option<String>,
    #[serde(default)]
    name: Option<String>,
}

/// A list of strings, or a single one by itself as JSON-LD allows; other values are ignored.
fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let text = |value: Value| match value {
        Value::String(text) => Some(text),
        _ => None,
    };
    Ok(match Value::deserialize(deserializer)? {
        Value::Array(entries) => entries.into_iter().filter_map(text).collect(),
        one => text(one).into_iter().collect(),
    })
}

/// Whether the tree looks like a Mastodon archive.
pub fn is_mastodon(tree: &dyn FileTree) -> bool {
    find(&tree.names(), LOOKED_FOR).is_some()
}

/// Whether an entry of this name is read: the others are media.
pub fn is_wanted(name: &str) -> bool {
    let file = name.rsplit('/').next().unwrap_or_default();
    (file == LOOKED_FOR || file == ACTOR) && name.matches('/').count() <= 1
}

/// Reads the archive. `stem` replaces names missing in `actor.json`.
///
/// # Errors
/// No outbox, or one that is damaged, not UTF-8 or not of the expected shape. Malformed posts are
/// skipped and counted; a malformed `actor.json` is a warning.
pub fn read(tree: &mut dyn FileTree, stem: &str) -> Result<Archive, ReadError> {
    let label = tree.label().to_owned();
    let names = tree.names();
    let Some(outbox) = find(&names, LOOKED_FOR) else {
        return Err(ReadError::NoPostsFile { place: Place::file(&label), looked_for: LOOKED_FOR });
    };
    let mut archive = posts(&tree.read(outbox)?, stem, || Place::entry(&label, outbox))?;
    if let Some(actor) = find(&names, ACTOR) {
        let bytes = tree.read(actor)?;
        let place = || Place::entry(&label, actor);
        let parsed = utf8(&bytes, place)
            .and_then(|text| serde_json::from_str(text).map_err(|error| ReadError::json(place(), &error, 0)));
        match parsed {
            Ok(actor) => take_names(&mut archive, actor),
            Err(error) => archive.warn_unnamed(&error),
        }
    }
    Ok(archive)
}

/// Takes both names from the actor, if they are there.
fn take_names(archive: &mut Archive, actor: Actor) {
    let filled = |name: Option<String>| name.filter(|name| !name.trim().is_empty());
    if let Some(username) = filled(actor.username) {
        archive.name.clone_from(&username);
        archive.handle_from_file = false;
        // User names are unique only within a server.
        archive.handle = match actor.id.as_deref().and_then(server) {
            Some(server) => format!("{username}@{server}"),
            None => username,
        };
    }
    if let Some(name) = filled(actor.name) {
        archive.name = name;
    }
}

/// The server in an account's address: `sea.example` in `https://sea.example/users/keeper`.
fn server(address: &str) -> Option<String> {
    let rest = address.strip_prefix("https://").or_else(|| address.strip_prefix("http://"))?;
    let host = rest.split('/').next()?;
    let plain = |c: char| c.is_alphanumeric() || ".-:".contains(c);
    (!host.is_empty() && host.chars().all(plain)).then(|| host.to_lowercase())
}

/// Reads an `outbox.json` by itself.
///
/// # Errors
/// As [`read`].
pub fn read_outbox(label: &str, stem: &str, bytes: &[u8]) -> Result<Archive, ReadError> {
    posts(bytes, stem, || Place::file(label))
}

/// The files that [`read`] reads.
pub fn files_read(tree: &dyn FileTree) -> Vec<String> {
    let names = tree.names();
    [LOOKED_FOR, ACTOR].into_iter().filter_map(|file| find(&names, file).cloned()).collect()
}

/// The entry of this file name nearest the top, at most one folder down.
fn find<'a>(names: &'a [String], file: &str) -> Option<&'a String> {
    names
        .iter()
        .filter(|name| is_wanted(name) && name.rsplit('/').next() == Some(file))
        .min_by_key(|name| (name.matches('/').count(), name.as_str()))
}

/// The public posts and boosts of an outbox, in its order, with `stem` as the account.
fn posts(bytes: &[u8], stem: &str, place: impl Fn() -> Place) -> Result<Archive, ReadError> {
    let outbox: Outbox =
        serde_json::from_str(utf8(bytes, &place)?).map_err(|error| ReadError::json(place(), &error, 0))?;
    let Some(Collected(PublicPosts { posts, unreadable })) = outbox.items else {
        return Err(ReadError::NoPostsFile { place: place(), looked_for: "a list `orderedItems`" });
    };
    Ok(Archive { unreadable, ..Archive::named_after_file(stem, posts) })
}

/// The public posts and boosts among an outbox's activities.
#[derive(Default)]
struct PublicPosts {
    posts: Vec<Post>,
    unreadable: Unreadable,
}

impl Collect for PublicPosts {
    type Entry = Activity;

    fn take(&mut self, number: usize, activity: Option<Activity>) {
        let Some(activity) = activity else {
            self.unreadable.add(|| format!("activity {number} does not have the expected form"));
            return;
        };
        match activity.kind.as_str() {
            "Announce" if is_public(&activity.to, &activity.cc) => self.posts.push(Post {
                is_retweet: true,
                created_at: activity.published,
                id: activity.id,
                ..Post::default()
            }),
            "Create" if POSTS.iter().any(|kind| activity.object["type"] == *kind) => {
                self.take_created(number, activity);
            }
            _ => {}
        }
    }
}

impl PublicPosts {
    /// Takes the post of a `Create` activity.
    fn take_created(&mut self, number: usize, activity: Activity) {
        let note: Note = match serde_json::from_value(activity.object) {
            Ok(note) => note,
            Err(error) => {
                self.unreadable.add(|| format!("activity {number}: {}", ReadError::shape(&error)));
                return;
            }
        };
        // The post's own recipients count, those of the activity only if it has none.
        let own = !(note.to.is_empty() && note.cc.is_empty());
        let public = if own { is_public(&note.to, &note.cc) } else { is_public(&activity.to, &activity.cc) };
        if public {
            self.posts.push(post(note, activity.published));
        }
    }
}

fn is_public(to: &[String], cc: &[String]) -> bool {
    to.iter().chain(cc).any(|address| PUBLIC.contains(&address.as_str()))
}

fn post(note: Note, sent: Option<String>) -> Post {
    let mut by_language = note.content_map.unwrap_or_default();
    let langs: Vec<String> = by_language.keys().cloned().collect();
    let content =
        note.content.or_else(|| by_language.values_mut().find_map(Option::take)).unwrap_or_default();
    Post {
        created_at: note.published.or(sent),
        langs,
        in_reply_to: Some(!note.in_reply_to.is_null()),
        id: note.id,
        ..Post::from_text(html::to_text(&content))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::file_tree::MemoryTree;
    use super::*;

    const EVERYBODY: &str = PUBLIC[0];
    const FOLLOWERS: &str = "https://sea.example/users/keeper/followers";

    fn create(content: &str, to: Value, cc: Value) -> Value {
        json!({"type": "Create", "published": "2023-04-05T06:07:08Z", "to": to, "cc": cc, "object": {
            "type": "Note", "id": "https://sea.example/1", "summary": null, "inReplyTo": null,
            "published": "2023-04-05T06:07:08Z", "to": to, "cc": cc, "content": content,
            "contentMap": {"en": content}, "attachment": [], "tag": []}})
    }

    fn outbox(items: Vec<Value>) -> Vec<u8> {
        json!({"@context": "https://www.w3.org/ns/activitystreams", "id": "outbox.json",
            "type": "OrderedCollection", "totalItems": items.len(), "orderedItems": items})
        .to_string()
        .into_bytes()
    }

    fn tree(files: Vec<(&str, Vec<u8>)>) -> MemoryTree {
        let files = files.into_iter().map(|(name, bytes)| (name.to_owned(), bytes)).collect();
        MemoryTree { label: "a.tar.gz".to_owned(), files }
    }

    fn texts(items: Vec<Value>) -> Vec<String> {
        let archive = read(&mut tree(vec![("outbox.json", outbox(items))]), "stem").unwrap();
        archive.posts.into_iter().map(|post| post.text).collect()
    }

    #[test]
    fn only_public_posts_are_read() {
        let items = vec![
            create("<p>to all</p>", json!([EVERYBODY]), json!([FOLLOWERS])),
            create("<p>unlisted</p>", json!([FOLLOWERS]), json!([EVERYBODY])),
            create("<p>to followers</p>", json!([FOLLOWERS]), json!([])),
            create("<p>to one person</p>", json!(["https://sea.example/users/gull"]), json!([])),
            create("<p>to nobody</p>", json!([]), json!([])),
            create("<p>short form</p>", json!("as:Public"), json!(null)),
        ];
        assert_eq!(texts(items), ["to all", "unlisted", "short form"]);
    }

    #[test]
    fn the_posts_own_addresses_decide() {
        let mut narrower = create("<p>narrower</p>", json!([EVERYBODY]), json!([]));
        narrower["object"]["to"] = json!([FOLLOWERS]);
        let mut without = create("<p>without</p>", json!([EVERYBODY]), json!([]));
        without["object"].as_object_mut().unwrap().retain(|key, _| key != "to" && key != "cc");
        assert_eq!(texts(vec![narrower, without]), ["without"]);
    }

    #[test]
    fn boosts_are_retweets_and_other_activities_are_nothing() {
        let items = vec![
            json!({"type": "Announce", "published": "2023-01-01T00:00:00Z", "to": [EVERYBODY], "object": "https://x.example/1"}),
            json!({"type": "Announce", "to": [FOLLOWERS], "object": "https://x.example/2"}),
            json!({"type": "Delete", "to": [EVERYBODY], "object": "https://x.example/1"}),
            json!({"type": "Create", "to": [EVERYBODY], "object": {"type": "ChatMessage", "content": "hi", "to": [EVERYBODY]}}),
            json!({"type": "Create", "to": [EVERYBODY], "object": "https://x.example/3"}),
        ];
        let archive = read(&mut tree(vec![("outbox.json", outbox(items))]), "stem").unwrap();
        assert_eq!(archive.posts.len(), 1);
        assert!(archive.posts[0].is_retweet && archive.posts[0].text.is_empty());
        assert_eq!(archive.posts[0].created_at.as_deref(), Some("2023-01-01T00:00:00Z"));
    }

    #[test]
    fn a_post_carries_date_language_reply_and_no_warning() {
        let mut item = create("<p>Nebel &amp; <br>Licht</p>", json!([EVERYBODY]), json!([]));
        item["object"]["contentMap"] = json!({"de": "x"});
        item["object"]["inReplyTo"] = json!("https://sea.example/0");
        item["object"]["summary"] = json!("weather");
        item["object"]["sensitive"] = json!(true);
        let archive = read(&mut tree(vec![("outbox.json", outbox(vec![item]))]), "stem").unwrap();
        let expected = Post {
            text: "Nebel &\nLicht".to_owned(),
            is_retweet: false,
            created_at: Some("2023-04-05T06:07:08Z".to_owned()),
            langs: vec!["de".to_owned()],
            in_reply_to: Some(true),
            id: Some("https://sea.example/1".to_owned()),
        };
        assert_eq!(archive.posts, [expected]);
    }

    #[test]
    fn content_may_stand_in_its_map_alone() {
        let mut item = create("", json!([EVERYBODY]), json!([]));
        item["object"]["content"] = json!(null);
        item["object"]["contentMap"] = json!({"en": null, "fr": "<p>la lampe</p>"});
        assert_eq!(texts(vec![item]), ["la lampe"]);
    }

    #[test]
    fn the_actor_gives_both_names() {
        let posts = outbox(vec![create("x", json!([EVERYBODY]), json!([]))]);
        let actor = json!({"type": "Person", "preferredUsername": "keeper", "name": "The Keeper 🏮"});
        for folder in ["", "archive-2024/"] {
            let (outbox_name, actor_name) = (format!("{folder}outbox.json"), format!("{folder}actor.json"));
            let mut files =
                tree(vec![(&outbox_name, posts.clone()), (&actor_name, actor.to_string().into_bytes())]);
            assert!(is_mastodon(&files));
            let archive = read(&mut files, "stem").unwrap();
            assert_eq!((archive.handle.as_str(), archive.name.as_str()), ("keeper", "The Keeper 🏮"));
        }
        for (id, handle) in [
            (json!("https://Sea.example/users/keeper"), "keeper@sea.example"),
            (json!("https://sea.example:8443"), "keeper@sea.example:8443"),
            (json!("https:///users/keeper"), "keeper"),
            (json!("acct:keeper"), "keeper"),
            (json!(null), "keeper"),
        ] {
            let actor = json!({"id": id, "preferredUsername": "keeper"}).to_string().into_bytes();
            let archive =
                read(&mut tree(vec![("outbox.json", posts.clone()), ("actor.json", actor)]), "stem").unwrap();
            assert_eq!((archive.handle.as_str(), archive.name.as_str()), (handle, "keeper"));
        }
        let nameless = json!({"preferredUsername": "keeper", "name": ""}).to_string().into_bytes();
        let archive =
            read(&mut tree(vec![("outbox.json", posts.clone()), ("actor.json", nameless)]), "stem").unwrap();
        assert_eq!((archive.handle.as_str(), archive.name.as_str()), ("keeper", "keeper"));
        assert_eq!(read_outbox("outbox.json", "stem", &posts).unwrap().handle, "stem");
    }

    #[test]
    fn a_malformed_actor_is_a_warning() {
        let posts = outbox(vec![create("x", json!([EVERYBODY]), json!([]))]);
        for actor in [&b""[..], b"{\"preferredUsername\": ", b"7", b"\"\xff\""] {
            let files = vec![("outbox.json", posts.clone()), ("actor.json", actor.to_vec())];
            let archive = read(&mut tree(files), "stem").unwrap();
            assert_eq!((archive.handle.as_str(), archive.posts.len()), ("stem", 1));
            let warning = archive.warning.unwrap();
            assert!(warning.starts_with("a.tar.gz: actor.json: "), "{warning}");
        }
    }

    #[test]
    fn each_bad_outbox_has_its_own_line() {
        let error = |bytes: &[u8]| {
            read(&mut tree(vec![("outbox.json", bytes.to_vec())]), "s").unwrap_err().to_string()
        };
        assert_eq!(
            error(b"{\"orderedItems\": [{"),
            "a.tar.gz: outbox.json: line 1, column 19: the JSON ends early; the file is cut short, copy or download it again"
        );
        assert_eq!(error(b"{}"), "a.tar.gz: outbox.json: no posts in it; looked for a list `orderedItems`");
        assert_eq!(
            error(b"{\"orderedItems\": \"\xff\"}"),
            "a.tar.gz: outbox.json: is not UTF-8 text (byte 18 of the file); save it as UTF-8"
        );
    }

    #[test]
    fn what_is_no_post_is_left_out_and_counted() {
        let whole = || create("<p>the lamp</p>", json!([EVERYBODY]), json!([]));
        let (mut content, mut kind) = (whole(), whole());
        content["object"]["content"] = json!(["secret words"]);
        kind["type"] = json!(7);
        let archive =
            read_outbox("a", "a", &outbox(vec![whole(), content, kind, json!(7), whole()])).unwrap();
        assert_eq!((archive.posts.len(), archive.unreadable.count), (2, 3));
        let first = archive.unreadable.first;
        assert!(first.starts_with("activity 2: ") && !first.contains("secret"), "{first}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let _ = read_outbox("outbox.json", "a", &bytes);
        }

        #[test]
        fn any_mutation_is_read_or_refused(at: prop::sample::Index, byte: u8) {
            let mut bytes = outbox(vec![create("<p>a b c</p>", json!([EVERYBODY]), json!([]))]);
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = read_outbox("outbox.json", "a", &bytes);
        }
    }
}
