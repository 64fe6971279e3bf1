//! Reads an [`Archive`] from a path: the only file of this module that opens files.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::any;
use super::error::{Place, ReadError};
use super::file_tree::{FileTree, MAX_ENTRY_BYTES, read_at_most};
use super::post::Archive;

/// Reads a path: the unpacked folder of an X or Mastodon archive, or a file of any
/// [`Kind`](super::kind::Kind).
///
/// # Errors
/// Each names the path and a way out; an archive without any post is an error too.
pub fn read(path: &Path) -> Result<Archive, ReadError> {
    let label = path.display().to_string();
    let place = || Place::file(&label);
    let io = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::NotFound => ReadError::NotFound { place: place() },
        _ => ReadError::Io { place: place(), source },
    };
    let stem = stem(path);
    let metadata = fs::metadata(path).map_err(io)?;
    if metadata.is_dir() {
        let archive = any::read_tree(&mut Folder::open(path).map_err(io)?, &stem)?;
        return match archive.posts.is_empty() {
            true => Err(ReadError::empty(place(), archive.unreadable)),
            false => Ok(archive),
        };
    }
    let file = File::open(path).map_err(io)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    any::read(&label, &name, &stem, file, metadata.len())
}

/// The files of an unpacked archive that [`read`] takes posts and names from: sorted paths relative
/// to the folder, with `/` between parts.
///
/// # Errors
/// If the folder cannot be listed.
pub fn files_read(folder: &Path) -> std::io::Result<Vec<String>> {
    let mut files = any::files_read(&Folder::open(folder)?);
    files.sort();
    Ok(files)
}

/// The name without its extension; for `.` and `..`, the name of the folder meant.
fn stem(path: &Path) -> String {
    let whole = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let named = if path.file_name().is_some() { path } else { &whole };
    let name = named.file_name().map_or_else(|| "posts".into(), |name| name.to_string_lossy());
    // A folder's name has no extension.
    if named.is_dir() { name.into_owned() } else { any::stem(&name).to_owned() }
}

/// An unpacked archive. Lists only where files of an archive can be: the folder itself, its
/// subfolders, and `data` in each of those.
struct Folder {
    label: String,
    files: Vec<(String, PathBuf)>,
}

impl Folder {
    fn open(path: &Path) -> std::io::Result<Self> {
        let mut folder = Self { label: path.display().to_string(), files: Vec::new() };
        for below in folder.list(path, "")? {
            let name = below.file_name().unwrap_or_default().to_string_lossy().into_owned();
            // An unreadable subfolder counts as empty.
            for inner in folder.list(&below, &format!("{name}/")).unwrap_or_default() {
                if inner.file_name().is_some_and(|file| file == "data") {
                    let _ = folder.list(&inner, &format!("{name}/data/"));
                }
            }
        }
        Ok(folder)
    }

    /// Adds the files of a folder, and returns its subfolders.
    fn list(&mut self, path: &Path, prefix: &str) -> std::io::Result<Vec<PathBuf>> {
        let mut folders = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                self.files.push((format!("{prefix}{}", entry.file_name().to_string_lossy()), path));
            }
        }
        Ok(folders)
    }
}

impl FileTree for Folder {
    fn label(&self) -> &str {
        &self.label
    }

    fn names(&self) -> Vec<String> {
        self.files.iter().map(|(name, _)| name.clone()).collect()
    }

    fn read(&mut self, name: &str) -> Result<Vec<u8>, ReadError> {
        let place = || Place::entry(&self.label, name);
        let Some((_, path)) = self.files.iter().find(|(n, _)| n == name) else {
            return Err(ReadError::NotFound { place: place() });
        };
        let file = File::open(path).map_err(|source| ReadError::Io { place: place(), source })?;
        read_at_most(file, MAX_ENTRY_BYTES).map_err(|error| match error {
            Some(source) => ReadError::Io { place: place(), source },
            None => ReadError::TooLarge { place: place(), limit: MAX_ENTRY_BYTES },
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use proptest::prelude::*;

    use super::super::Cleaned;
    use super::super::bluesky::car::tests::small_export;
    use super::super::dataset::check_size;
    use super::super::kind::ZIP_MAGICS;
    use super::super::tar_tree::tests::{gzip, tar_of};
    use super::super::x_archive;
    use super::super::zip_tree::{ZipTree, tests::zip_of};
    use super::*;
    use crate::beside::shared;

    const ACCOUNT: &[u8] = br#"window.YTD.account.part0 = [ {"account": {"email": "someone@example.org",
        "username": "keeper_of_the_light", "accountDisplayName": "The Keeper"}} ]"#;
    const POSTS: &[u8] =
        br#"window.YTD.tweets.part0 = [ {"tweet": {"full_text": "the lamp is lit", "id_str": "1"}} ]"#;
    const PART: &[u8] =
        br#"window.YTD.tweets.part1 = [ {"tweet": {"full_text": "RT @sea: waves", "id_str": "2"}} ]"#;
    const NOTES: &[u8] =
        br#"window.YTD.note_tweet.part0 = [ {"noteTweet": {"core": {"text": "a long one"}}} ]"#;

    fn small_archive() -> Vec<u8> {
        zip_of(&[
            ("data/account.js", ACCOUNT),
            ("data/tweets-part1.js", PART),
            ("data/tweets.js", POSTS),
            ("data/note-tweet.js", NOTES),
            ("data/deleted-tweets.js", b"window.YTD.deleted_tweets.part0 = nothing that can be read"),
        ])
    }

    fn write(folder: &Path, name: &str, bytes: &[u8]) -> PathBuf {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, bytes).unwrap();
        path
    }

    #[test]
    fn a_zip_and_its_unpacked_folder_read_the_same() {
        let temp = tempfile::tempdir().unwrap();
        let zip = read(&write(temp.path(), "renamed.bin", &small_archive())).unwrap();
        let unpacked = temp.path().join("unpacked");
        for (name, bytes) in [("account.js", ACCOUNT), ("tweets.js", POSTS), ("tweets-part1.js", PART)] {
            write(&unpacked, &format!("data/{name}"), bytes);
        }
        write(&unpacked, "data/note-tweet.js", NOTES);
        write(&unpacked, "data/tweets_media/1.jpg", b"");
        write(&unpacked, "data/deleted-tweets.js", b"");
        write(&unpacked, "data/1.jpg", b"");
        let expected = ["data/account.js", "data/note-tweet.js", "data/tweets-part1.js", "data/tweets.js"];
        assert_eq!(files_read(&unpacked).unwrap(), expected);
        let texts: Vec<_> = zip.posts.iter().map(|post| post.text.as_str()).collect();
        assert_eq!(texts, ["the lamp is lit", "RT @sea: waves", "a long one"]);
        assert_eq!((zip.handle.as_str(), zip.name.as_str()), ("keeper_of_the_light", "The Keeper"));
        assert_eq!(read(&unpacked).unwrap(), zip);
        assert_eq!(read(&unpacked.join("data")).unwrap(), zip);
        write(temp.path(), "x/top/data/tweets.js", POSTS);
        assert_eq!(read(&temp.path().join("x")).unwrap().posts, zip.posts[..1]);
    }

    #[test]
    fn text_files_go_by_their_extension() {
        let temp = tempfile::tempdir().unwrap();
        for (name, bytes) in
            [("a.TXT", "one two"), ("a.csv", "text\none two\n"), ("a.jsonl", "{\"text\":\"one two\"}")]
        {
            let archive = read(&write(temp.path(), name, bytes.as_bytes())).unwrap();
            assert_eq!((archive.handle.as_str(), archive.posts[0].text.as_str()), ("a", "one two"), "{name}");
        }
    }

    #[test]
    fn each_bad_input_has_its_own_line() {
        let temp = tempfile::tempdir().unwrap();
        let zip = small_archive();
        let tar = gzip(&tar_of(&[("outbox.json", OUTBOX)]));
        let cases: [(&str, &[u8], &str); 17] = [
            (
                "tweets.js",
                POSTS,
                "is one file of an X archive; pass the .zip as it was sent, or its unpacked folder",
            ),
            ("note-tweet.js", NOTES, "is one file of an X archive"),
            ("i.tar.gz", &tar[..tar.len() / 2], "the tar archive is cut short or damaged"),
            ("j.tar.gz", &gzip(&tar_of(&[("readme.txt", b"")])), "looked for outbox.json"),
            ("k.tgz", b"<html>", "there is no tar in it"),
            ("l.car", b"<html>", "is not a whole Bluesky repository export"),
            ("m.json", b"{\"records\": [", "line 1, column 13: the JSON ends early"),
            ("n.json", b"{\"a\": 1}", "looked for `records` (Bluesky)"),
            ("o.json", b"{\"a\": \"\xff\"}", "not UTF-8 text (byte 7 of the file)"),
            ("a.zip", b"<html>", "is not a zip archive"),
            ("b.zip", &zip[..zip.len() / 2], "cut short or damaged"),
            (
                "c.zip",
                &zip_of(&[("readme", b"")]),
                "looked for tweets.js or tweet.js (X), in data/ or at the top, or outbox.json (Mastodon)",
            ),
            (
                "d.zip",
                &zip_of(&[("tweets.js", b"x = [{")]),
                "d.zip: tweets.js: line 1, column 6: the JSON ends early",
            ),
            ("e.txt", b"na\xefve", "not UTF-8 text (byte 2 of the file)"),
            ("f.txt", b"\n", "holds no post"),
            ("g.pdf", b"%PDF", "unknown kind of file"),
            ("h.zip", &zip_of(&[("tweets.js", b"x = []")]), "holds no post"),
        ];
        for (name, bytes, expected) in cases {
            let error = read(&write(temp.path(), name, bytes)).unwrap_err().to_string();
            assert!(error.contains(expected) && error.contains(name), "{name}: {error}");
            assert!(!error.contains('\n'), "{error}");
        }
        let error = read(&temp.path().join("none.zip")).unwrap_err().to_string();
        assert!(error.ends_with("none.zip: there is no such file or folder"), "{error}");
    }

    const OUTBOX: &[u8] = br#"{"orderedItems": [
        {"type": "Create", "object": {"type": "Note", "to": ["as:Public"], "content": "<p>the lamp is lit</p>"}},
        {"type": "Create", "object": {"type": "Note", "to": ["https://sea.example/f"], "content": "<p>private</p>"}},
        {"type": "Announce", "cc": ["as:Public"], "object": "https://sea.example/1"}]}"#;
    const ACTOR: &[u8] = br#"{"preferredUsername": "keeper", "name": "The Keeper"}"#;

    #[test]
    fn a_mastodon_archive_reads_the_same_packed_in_any_way() {
        let temp = tempfile::tempdir().unwrap();
        let files: [(&str, &[u8]); 3] =
            [("outbox.json", OUTBOX), ("media/1.png", b"\x89PNG"), ("actor.json", ACTOR)];
        let first = read(&write(temp.path(), "archive-2024.tar.gz", &gzip(&tar_of(&files)))).unwrap();
        assert_eq!((first.handle.as_str(), first.name.as_str()), ("keeper", "The Keeper"));
        let texts: Vec<_> = first.posts.iter().map(|p| (p.text.as_str(), p.is_retweet)).collect();
        assert_eq!(texts, [("the lamp is lit", false), ("", true)]);
        assert_eq!(read(&write(temp.path(), "renamed", &tar_of(&files))).unwrap(), first);
        assert_eq!(read(&write(temp.path(), "a.zip", &zip_of(&files))).unwrap(), first);
        for (name, bytes) in files {
            write(&temp.path().join("unpacked/archive"), name, bytes);
        }
        assert_eq!(read(&temp.path().join("unpacked")).unwrap(), first);
        let expected = ["archive/actor.json", "archive/outbox.json"];
        assert_eq!(files_read(&temp.path().join("unpacked")).unwrap(), expected);
        assert_eq!(read(&temp.path().join("unpacked/archive")).unwrap(), first);
        let alone = read(&temp.path().join("unpacked/archive/outbox.json")).unwrap();
        assert_eq!((alone.handle.as_str(), alone.posts), ("outbox", first.posts));
        let nameless = read(&write(temp.path(), "lamp.tar.gz", &gzip(&tar_of(&files[..1])))).unwrap();
        assert_eq!(nameless.handle, "lamp");
    }

    #[test]
    fn a_bluesky_export_is_known_by_its_content() {
        let temp = tempfile::tempdir().unwrap();
        for name in ["keeper.sea.example.car", "keeper.sea.example.bin"] {
            let archive = read(&write(temp.path(), name, &small_export())).unwrap();
            assert_eq!((archive.handle.as_str(), archive.posts.len()), ("keeper.sea.example", 4));
        }
        let page = br#"{"records": [{"uri": "at://did:plc:x/app.bsky.feed.post/1", "value": {"text": "the lamp"}}]}"#;
        let unnamed = read(&write(temp.path(), "keeper.bsky.social", page)).unwrap();
        assert_eq!(unnamed.handle, "keeper.bsky.social");
        for name in ["repo.json", "repo", "repo (1).json"] {
            let archive = read(&write(temp.path(), name, page)).unwrap();
            assert_eq!((archive.handle.as_str(), archive.posts.len()), ("did:plc:x", 1));
        }
    }

    #[test]
    fn the_reference_archive_counts_as_in_the_original() {
        let Some(path) = shared("data/x-archive-obama.zip") else { return };
        let Some(expected) = shared("data/x-archive-obama.expected.json") else { return };
        let expected: serde_json::Value = serde_json::from_slice(&fs::read(expected).unwrap()).unwrap();
        let cleaned = Cleaned::from_archive(&read(&path).unwrap());
        let found = serde_json::json!({
            "handle": cleaned.handle,
            "name": cleaned.name,
            "tweets_downloaded": cleaned.tweets_downloaded,
            "retweets": cleaned.retweets,
            "short_tweets": cleaned.short_tweets,
            "tweets_kept": cleaned.kept.len(),
            "kept_chars_joined": cleaned.kept_chars_joined(),
            "first_kept": cleaned.kept[..3],
        });
        assert_eq!(found, expected);
        assert_eq!(check_size(&[cleaned]), Ok(None));
    }

    proptest! {
        #[test]
        fn any_mutation_of_an_archive_is_read_or_refused(
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
            cut in any::<prop::sample::Index>(), whole: bool,
        ) {
            let mut bytes = small_archive();
            for (at, byte) in changes {
                let at = at.index(bytes.len());
                bytes[at] = byte;
            }
            if !whole {
                bytes.truncate(cut.index(bytes.len()));
            }
            if let Ok(mut tree) = ZipTree::open("a.zip", Cursor::new(bytes)) {
                let _ = x_archive::read(&mut tree, "a");
            }
        }

        #[test]
        fn any_bytes_after_the_magic_are_read_or_refused(bytes: Vec<u8>) {
            let bytes = [&ZIP_MAGICS[0][..], &bytes].concat();
            if let Ok(mut tree) = ZipTree::open("a.zip", Cursor::new(bytes)) {
                let _ = x_archive::read(&mut tree, "a");
            }
        }
    }
}
