//! An X (Twitter) archive: the zip that the site sends, or its unpacked folder.
//!
//! Its files are JavaScript, `window.YTD.tweets.part0 = [ … ]`: a prefix up to the first `=`, then
//! JSON. Posts are in `tweets.js` (older: `tweet.js`) and its parts `tweets-partN.js`
//! (`tweet-partN.js`), read in numeric order; long posts in `note-tweet.js` and its parts. Of
//! `account.js` only the two names are deserialised, not the e-mail address next to them.
//! `deleted-tweets.js` is never opened. The files are in `data/`, at the top, or in either of these
//! one folder further down.

use std::collections::HashMap;

use serde::de::{DeserializeOwned, IgnoredAny};
use serde::{Deserialize, Deserializer};

use super::clean::fix;
use super::entry::{Collect, Collected};
use super::error::{Place, ReadError, utf8};
use super::file_tree::FileTree;
use super::post::{Archive, Post, Unreadable};

/// What [`read`] looks for, as named in errors.
pub const LOOKED_FOR: &str = "tweets.js or tweet.js (X), in data/ or at the top, or outbox.json (Mastodon)";

/// Minimum length of an unmarked beginning to be taken for a truncated long post, in characters. A
/// truncated post keeps about 250 (half as many in Chinese or Japanese).
const MIN_UNMARKED_CHARS: usize = 100;

/// Minimum length if the post ends with `…`, which marks it as truncated.
const MIN_MARKED_CHARS: usize = 10;

/// A post: wrapped in `{"tweet": …}` in today's layout, bare until 2019.
#[derive(Deserialize)]
struct Tweet {
    #[serde(default)]
    tweet: Option<Box<Tweet>>,
    #[serde(default)]
    full_text: Option<String>,
    #[serde(default)]
    text: Option<String>,
    #[serde(default, deserialize_with = "loose_string")]
    created_at: Option<String>,
    #[serde(default, deserialize_with = "loose_string")]
    id_str: Option<String>,
    #[serde(default, deserialize_with = "loose_string")]
    lang: Option<String>,
    #[serde(default, deserialize_with = "loose_string")]
    in_reply_to_status_id_str: Option<String>,
    /// Present without the status if the post replied to is gone, or if a handle begins the text.
    #[serde(default, deserialize_with = "loose_string")]
    in_reply_to_user_id_str: Option<String>,
}

impl Tweet {
    /// `None` if there is no text.
    fn into_post(self) -> Option<Post> {
        let tweet = match self.tweet {
            Some(inner) => *inner,
            None => self,
        };
        let answered = tweet.in_reply_to_status_id_str.or(tweet.in_reply_to_user_id_str);
        Some(Post {
            created_at: tweet.created_at,
            langs: tweet.lang.into_iter().collect(),
            in_reply_to: Some(answered.is_some()),
            id: tweet.id_str,
            ..Post::from_text(tweet.full_text.or(tweet.text)?)
        })
    }
}

#[derive(Deserialize)]
struct NoteItem {
    #[serde(rename = "noteTweet")]
    note: Note,
}

#[derive(Deserialize)]
struct Note {
    #[serde(rename = "noteTweetId", default, deserialize_with = "loose_string")]
    id: Option<String>,
    #[serde(rename = "createdAt", default, deserialize_with = "loose_string")]
    created_at: Option<String>,
    core: NoteCore,
}

#[derive(Deserialize)]
struct NoteCore {
    text: String,
}

#[derive(Deserialize)]
struct AccountItem {
    account: Account,
}

#[derive(Deserialize)]
struct Account {
    #[serde(default)]
    username: Option<String>,
    #[serde(rename = "accountDisplayName", default)]
    display_name: Option<String>,
}

/// The posts of a file.
#[derive(Default)]
struct Tweets {
    posts: Vec<Post>,
    unreadable: Unreadable,
}

impl Collect for Tweets {
    type Entry = Tweet;

    fn take(&mut self, number: usize, tweet: Option<Tweet>) {
        match tweet.and_then(Tweet::into_post) {
            Some(post) => self.posts.push(post),
            None => self.unreadable.add(|| no_text(number)),
        }
    }
}

/// The long posts of a file.
#[derive(Default)]
struct Notes {
    notes: Vec<Note>,
    unreadable: Unreadable,
}

impl Collect for Notes {
    type Entry = NoteItem;

    fn take(&mut self, number: usize, item: Option<NoteItem>) {
        match item {
            Some(NoteItem { note }) => self.notes.push(note),
            None => self.unreadable.add(|| no_text(number)),
        }
    }
}

fn no_text(number: usize) -> String {
    format!("post {number} has no text")
}

/// The unreadable entries of a file, with its name.
fn in_file(name: &str, unreadable: Unreadable) -> Unreadable {
    Unreadable { first: format!("{name}: {}", unreadable.first), ..unreadable }
}

/// A string, or a number converted to one; `None` for anything else.
pub(crate) fn loose_string<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Loose {
        Text(String),
        Number(serde_json::Number),
        Other(IgnoredAny),
    }
    Ok(match Loose::deserialize(deserializer)? {
        Loose::Text(text) => Some(text),
        Loose::Number(number) => Some(number.to_string()),
        Loose::Other(_) => None,
    })
}

/// Reads the archive. `stem` replaces names missing in `account.js`.
///
/// # Errors
/// No posts file, or one that is damaged, not UTF-8 or not a list; entry and line are named.
/// Malformed posts are skipped and counted; a malformed `account.js` is a warning.
pub fn read(tree: &mut dyn FileTree, stem: &str) -> Result<Archive, ReadError> {
    let label = tree.label().to_owned();
    let names = tree.names();
    let Some(files) = Files::find(&names) else {
        return Err(ReadError::NoPostsFile { place: Place::file(&label), looked_for: LOOKED_FOR });
    };

    let (mut posts, mut unreadable) = (Vec::new(), Unreadable::default());
    for name in &files.posts {
        let Collected(tweets): Collected<Tweets> = parse(&label, name, &tree.read(name)?)?;
        posts.extend(tweets.posts);
        unreadable.extend(in_file(name, tweets.unreadable));
    }
    for name in &files.notes {
        let Collected(notes): Collected<Notes> = parse(&label, name, &tree.read(name)?)?;
        merge_notes(&mut posts, notes.notes);
        unreadable.extend(in_file(name, notes.unreadable));
    }

    let mut archive = Archive { unreadable, ..Archive::named_after_file(stem, posts) };
    if let Some(name) = files.account {
        match parse(&label, &name, &tree.read(&name)?) {
            Ok(accounts) => take_names(&mut archive, accounts),
            Err(error) => archive.warn_unnamed(&error),
        }
    }
    Ok(archive)
}

/// Takes both names from the entries of `account.js`, if they are there.
fn take_names(archive: &mut Archive, accounts: Vec<AccountItem>) {
    let Some(AccountItem { account }) = accounts.into_iter().next() else {
        return;
    };
    if let Some(username) = account.username.filter(|name| !name.trim().is_empty()) {
        archive.name.clone_from(&username);
        archive.handle = username;
        archive.handle_from_file = false;
    }
    if let Some(name) = account.display_name.filter(|name| !name.trim().is_empty()) {
        archive.name = name;
    }
}

/// Whether the tree looks like an X archive.
pub fn is_x_archive(tree: &dyn FileTree) -> bool {
    Files::find(&tree.names()).is_some()
}

/// The entries that [`read`] reads.
pub fn files_read(tree: &dyn FileTree) -> Vec<String> {
    let files = Files::find(&tree.names());
    files.map_or_else(Vec::new, |files| {
        files.posts.into_iter().chain(files.notes).chain(files.account).collect()
    })
}

/// Whether a file of this name is part of an X archive.
pub fn is_part(name: &str) -> bool {
    part_number(name).is_some()
        || name == "account.js"
        || name.starts_with("note-tweet") && name.ends_with(".js")
}

/// The entries to read, in the order of reading.
struct Files {
    posts: Vec<String>,
    notes: Vec<String>,
    account: Option<String>,
}

impl Files {
    /// Finds the posts files, in the shallowest folder that has any.
    fn find(names: &[String]) -> Option<Self> {
        let folder = names
            .iter()
            .filter_map(|name| {
                let (folder, file) = split(name);
                part_number(file)?;
                let depth = match folder.split('/').collect::<Vec<_>>()[..] {
                    [""] => 0,
                    ["data"] => 1,
                    [_] => 2,
                    [_, "data"] => 3,
                    _ => return None,
                };
                Some((depth, folder))
            })
            .min()?
            .1;
        let mut posts = Vec::new();
        let (mut notes, mut account) = (Vec::new(), None);
        for name in names {
            match split(name) {
                (f, _) if f != folder => {}
                (_, "account.js") => account = Some(name.clone()),
                (_, "note-tweet.js") => notes.push((0, name.clone())),
                (_, file) => {
                    if let Some(part) = part_number(file) {
                        posts.push((part, name.clone()));
                    } else if let Some(part) = numbered(file, "note-tweet-part") {
                        notes.push((part, name.clone()));
                    }
                }
            }
        }
        posts.sort();
        notes.sort();
        let names = |list: Vec<(u64, String)>| list.into_iter().map(|(_, name)| name).collect();
        Some(Self { posts: names(posts), notes: names(notes), account })
    }
}

/// Folder and file name of a path.
fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

/// Position of a posts file: 0 for `tweets.js`, N for `tweets-partN.js`.
fn part_number(file: &str) -> Option<u64> {
    if matches!(file, "tweets.js" | "tweet.js") {
        return Some(0);
    }
    numbered(file, "tweets-part").or_else(|| numbered(file, "tweet-part"))
}

fn numbered(file: &str, prefix: &str) -> Option<u64> {
    let digits = file.strip_prefix(prefix)?.strip_suffix(".js")?;
    if digits.bytes().all(|b| b.is_ascii_digit()) { digits.parse().ok() } else { None }
}

/// Parses the JSON after the JavaScript prefix, counting lines from the top of the file. A file
/// that starts with JSON is parsed as it is.
fn parse<T: DeserializeOwned>(label: &str, name: &str, bytes: &[u8]) -> Result<T, ReadError> {
    let place = || Place::entry(label, name);
    let text = utf8(bytes, place)?;
    let start = match text.trim_start().starts_with(['[', '{']) {
        true => 0,
        false => text.find('=').map_or(0, |at| at + 1),
    };
    let (prefix, json) = text.split_at(start);
    let json = json.trim_end().trim_end_matches(';');
    serde_json::from_str(json).map_err(|error| {
        let mut error = ReadError::json(place(), &error, prefix.matches('\n').count());
        if let ReadError::Json { line: 1, column, .. } = &mut error {
            *column += prefix.len();
        }
        error
    })
}

/// Replaces the truncated posts in `tweets.js` by their long forms (notes).
///
/// A note does not name its post. A post is taken for its truncated form if their identifiers are
/// equal. So is a post that is not a retweet if its text, without a final link and the `…` before
/// it, is the whole note, or a beginning long enough not to match by chance: [`MIN_MARKED_CHARS`]
/// with the `…`, else [`MIN_UNMARKED_CHARS`]. The first such post is used, and only once. Notes
/// without one are appended in their order.
fn merge_notes(posts: &mut Vec<Post>, notes: Vec<Note>) {
    if notes.is_empty() {
        return;
    }
    let by_id: HashMap<String, usize> =
        posts.iter().enumerate().filter_map(|(at, post)| Some((post.id.clone()?, at))).collect();
    let stubs: Vec<Option<Stub>> =
        posts.iter().map(|post| (!post.is_retweet).then(|| Stub::of(&post.text))).collect();
    let mut taken = vec![false; stubs.len()];
    for note in notes {
        let text = fix(&note.core.text);
        let same_id = note.id.as_ref().and_then(|id| by_id.get(id).copied());
        let found = same_id.filter(|&at| !taken[at]).or_else(|| {
            let begins = |stub: &Option<Stub>| stub.as_ref().is_some_and(|stub| stub.begins(&text));
            (0..stubs.len()).find(|&at| !taken[at] && begins(&stubs[at]))
        });
        match found {
            Some(at) => {
                taken[at] = true;
                posts[at].text = note.core.text;
            }
            None => {
                posts.push(Post {
                    created_at: note.created_at,
                    id: note.id,
                    ..Post::from_text(note.core.text)
                });
            }
        }
    }
}

/// The part of a post with which its long form would begin.
struct Stub {
    text: String,
    /// Whether the post ended with `…`.
    marked: bool,
}

impl Stub {
    fn of(text: &str) -> Self {
        let text = fix(text);
        let mut text = text.trim_end();
        if let Some((before, last)) = text.rsplit_once(char::is_whitespace)
            && last.starts_with("https://t.co/")
        {
            text = before.trim_end();
        }
        let cut = text.strip_suffix('…');
        Self { text: cut.unwrap_or(text).trim_end().to_owned(), marked: cut.is_some() }
    }

    fn begins(&self, note: &str) -> bool {
        let at_least = if self.marked { MIN_MARKED_CHARS } else { MIN_UNMARKED_CHARS };
        let Some(rest) = note.strip_prefix(self.text.as_str()) else {
            return false;
        };
        !self.text.is_empty() && (rest.trim().is_empty() || self.text.chars().nth(at_least - 1).is_some())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::file_tree::MemoryTree;
    use super::*;

    fn tree(files: &[(&str, &str)]) -> MemoryTree {
        let files = files.iter().map(|(name, text)| ((*name).to_owned(), text.as_bytes().to_vec())).collect();
        MemoryTree { label: "a.zip".to_owned(), files }
    }

    fn tweets(texts: &[&str]) -> String {
        let items: Vec<_> =
            texts.iter().map(|text| serde_json::json!({"tweet": {"full_text": text}})).collect();
        format!("window.YTD.tweets.part0 = {}", serde_json::Value::from(items))
    }

    fn notes(texts: &[&str]) -> String {
        let items: Vec<_> =
            texts.iter().map(|text| serde_json::json!({"noteTweet": {"core": {"text": text}}})).collect();
        format!("window.YTD.note_tweet.part0 = {}", serde_json::Value::from(items))
    }

    fn texts(files: &[(&str, &str)]) -> Vec<String> {
        let archive = read(&mut tree(files), "stem").unwrap();
        archive.posts.into_iter().map(|post| post.text).collect()
    }

    #[test]
    fn parts_come_in_numeric_order_after_the_first_file() {
        let (zero, one, two, ten) = (tweets(&["zero"]), tweets(&["one"]), tweets(&["two"]), tweets(&["ten"]));
        for (stem, folder) in
            [("tweets", "data/"), ("tweet", ""), ("tweets", "twitter-2024/data/"), ("tweet", "x/")]
        {
            let name = |end: &str| format!("{folder}{stem}{end}.js");
            let files =
                [(name("-part10"), &ten), (name("-part2"), &two), (name(""), &zero), (name("-part1"), &one)];
            let files: Vec<_> = files.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
            assert_eq!(texts(&files), ["zero", "one", "two", "ten"], "{folder}{stem}");
        }
    }

    #[test]
    fn deleted_and_foreign_files_are_never_read() {
        let posts = tweets(&["mine"]);
        let other = tweets(&["not mine"]);
        let names = [
            "data/deleted-tweets.js",
            "data/deleted-tweet.js",
            "data/twitter-circle-tweet.js",
            "data/tweets-partx.js",
            "__MACOSX/data/._tweets.js",
            "assets/old/tweets.js",
            "old/data/tweets.js",
        ];
        let mut files = vec![("data/tweets.js", posts.as_str())];
        files.extend(names.iter().map(|name| (*name, other.as_str())));
        assert_eq!(texts(&files), ["mine"]);
    }

    #[test]
    fn the_account_gives_both_names_and_nothing_else() {
        let posts = tweets(&["mine"]);
        let account = r#"window.YTD.account.part0 = [{"account": {"email": "someone@example.org",
            "username": "keeper_of_the_light", "accountDisplayName": "The Keeper"}}]"#;
        let archive =
            read(&mut tree(&[("data/tweets.js", &posts), ("data/account.js", account)]), "stem").unwrap();
        assert_eq!((archive.handle.as_str(), archive.name.as_str()), ("keeper_of_the_light", "The Keeper"));
        assert!(!format!("{archive:?}").contains("example.org"));

        let archive = read(&mut tree(&[("data/tweets.js", &posts)]), "stem").unwrap();
        assert_eq!((archive.handle.as_str(), archive.name.as_str()), ("stem", "stem"));
    }

    #[test]
    fn a_malformed_account_is_a_warning_without_its_address() {
        let posts = tweets(&["mine"]);
        for account in [r#"x = [{"account": "someone@example.org"}]"#, "", "x = [{", "\0\0"] {
            let archive = read(&mut tree(&[("tweets.js", &posts), ("account.js", account)]), "stem").unwrap();
            assert_eq!((archive.handle.as_str(), archive.posts.len()), ("stem", 1));
            let warning = archive.warning.unwrap();
            assert!(warning.starts_with("a.zip: account.js: line 1, column "), "{warning}");
            assert!(warning.ends_with("; the account is named @stem, after the file"), "{warning}");
            assert!(!warning.contains("example.org"), "{warning}");
        }
    }

    #[test]
    fn fields_of_a_post_are_read_wrapped_or_bare() {
        for (open, close) in [("{\"tweet\":", "}"), ("", "")] {
            let text = format!(
                r#"window.YTD.tweet.part0 = [{open}{{"full_text": "RT @a: b", "id_str": "7", "lang": "en",
                "created_at": "Thu Oct 01 00:47:00 +0000 2015", "in_reply_to_status_id_str": "6",
                "retweeted": false, "entities": {{"urls": []}}}}{close}]"#
            );
            let archive = read(&mut tree(&[("tweet.js", &text)]), "stem").unwrap();
            let expected = Post {
                text: "RT @a: b".to_owned(),
                is_retweet: true,
                created_at: Some("Thu Oct 01 00:47:00 +0000 2015".to_owned()),
                langs: vec!["en".to_owned()],
                in_reply_to: Some(true),
                id: Some("7".to_owned()),
            };
            assert_eq!(archive.posts, [expected]);
        }
    }

    #[test]
    fn a_long_post_replaces_its_cut_form() {
        let long = format!("{} and so it goes on & on to the end", "The light turned. ".repeat(15));
        let cut: String = long.chars().take(250).collect();
        let posts = tweets(&["before", &format!("{cut}… https://t.co/abc"), "after that"]);
        let note = notes(&[&long]);
        let files = [("data/tweets.js", posts.as_str()), ("data/note-tweet.js", note.as_str())];
        assert_eq!(texts(&files), ["before", long.as_str(), "after that"]);

        // Not marked as truncated, and entities on one side only.
        let posts = tweets(&[&cut.replace('&', "&amp;")]);
        assert_eq!(texts(&[("tweets.js", &posts), ("note-tweet.js", &note)]), [long.as_str()]);
    }

    #[test]
    fn a_long_post_without_a_cut_form_is_appended() {
        let posts = tweets(&["The light", "RT @a: The light turned and turned…"]);
        let note = notes(&["The light turned and turned.", "The light"]);
        let expected = ["The light", "RT @a: The light turned and turned…", "The light turned and turned."]
            .map(str::to_owned);
        assert_eq!(texts(&[("tweets.js", &posts), ("note-tweet.js", &note)]), expected);
    }

    #[test]
    fn a_long_post_is_matched_by_identifier_first() {
        let posts = r#"x = [{"tweet": {"full_text": "altered", "id_str": "5"}}]"#;
        let note = r#"x = [{"noteTweet": {"noteTweetId": "5", "core": {"text": "the whole"}}}]"#;
        assert_eq!(texts(&[("tweets.js", posts), ("note-tweet.js", note)]), ["the whole"]);
    }

    #[test]
    fn no_posts_file_says_what_was_looked_for() {
        let error = read(&mut tree(&[("data/account.js", ""), ("readme", "")]), "stem").unwrap_err();
        assert_eq!(
            error.to_string(),
            "a.zip: no posts in it; looked for tweets.js or tweet.js (X), in data/ or at the top, or outbox.json (Mastodon)"
        );
    }

    #[test]
    fn truncated_json_names_entry_and_line() {
        let posts = "window.YTD.tweets.part0 = [\n {\"tweet\": {\"full_text\": \"a b";
        let error = read(&mut tree(&[("data/tweets.js", posts)]), "stem").unwrap_err();
        assert_eq!(
            error.to_string(),
            "a.zip: data/tweets.js: line 2, column 29: the JSON ends early; \
             the file is cut short, copy or download it again"
        );
        for posts in ["", "window.YTD.tweets.part0 =", "window.YTD"] {
            assert!(read(&mut tree(&[("tweets.js", posts)]), "stem").is_err(), "{posts}");
        }
    }

    #[test]
    fn what_is_no_post_is_left_out_and_counted() {
        let posts = r#"x = [{"tweet": {"full_text": "one"}}, {"tweet": {"id_str": "1"}}, 7, {"tweet": {"full_text": ["secret"]}},
            {"tweet": null}, {"tweet": {"full_text": "two", "lang": {"a": [1]}}}]"#;
        let notes = r#"x = [{"noteTweet": {}}, {"noteTweet": {"core": {"text": "three"}}}]"#;
        let archive = read(&mut tree(&[("tweets.js", posts), ("note-tweet.js", notes)]), "stem").unwrap();
        let texts: Vec<_> = archive.posts.iter().map(|post| post.text.as_str()).collect();
        assert_eq!(texts, ["one", "two", "three"]);
        let first = "tweets.js: post 2 has no text".to_owned();
        assert_eq!(archive.unreadable, Unreadable { count: 5, first });
        // A long post has no information on replies.
        let replies: Vec<_> = archive.posts.iter().map(|post| post.in_reply_to).collect();
        assert_eq!(replies, [Some(false), Some(false), None]);
        // Malformed JSON, and a file without a list, are still errors.
        for posts in [r#"x = [{"tweet": {"full_text": "one"}}, {"tweet": tru}]"#, r#"x = {"a": 1}"#] {
            assert!(read(&mut tree(&[("tweets.js", posts)]), "stem").is_err(), "{posts}");
        }
    }

    #[test]
    fn bytes_that_are_not_utf8_name_the_entry() {
        let mut files = tree(&[]);
        files.files.push(("tweets.js".to_owned(), b"x = [{\"tweet\":{\"full_text\":\"\xff\"}}]".to_vec()));
        let error = read(&mut files, "stem").unwrap_err();
        assert!(error.to_string().starts_with("a.zip: tweets.js: is not UTF-8 text (byte 28"), "{error}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes: Vec<u8>) {
            let files = vec![("tweets.js".to_owned(), bytes.clone()), ("note-tweet.js".to_owned(), bytes)];
            let _ = read(&mut MemoryTree { label: "a".to_owned(), files }, "stem");
        }

        #[test]
        fn any_notes_are_merged(posts in prop::collection::vec("[a…& ]{0,12}", 0..6),
                                notes_in in prop::collection::vec("[a…& ]{0,12}", 0..6)) {
            let posts = tweets(&posts.iter().map(String::as_str).collect::<Vec<_>>());
            let note = notes(&notes_in.iter().map(String::as_str).collect::<Vec<_>>());
            let found = texts(&[("tweets.js", &posts), ("note-tweet.js", &note)]);
            for note in &notes_in {
                prop_assert!(found.contains(note));
            }
        }
    }
}
