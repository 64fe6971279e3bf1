//! Reads a file of any [`Kind`] into an [`Archive`], chosen by content: the entry point for files
//! on disk ([`super::open`]) and for those that a visitor provides.

use std::io::{self, BufReader, Read, Seek, SeekFrom};

use super::bluesky::{car, list};
use super::error::{Place, ReadError, utf8};
use super::file_tree::{FileTree, MAX_ENTRY_BYTES, read_at_most};
use super::kind::{HEAD_BYTES, JsonKind, Kind};
use super::post::Archive;
use super::tar_tree::TarTree;
use super::zip_tree::ZipTree;
use super::{csv, jsonl, lines, mastodon, x_archive};

/// Extensions of the files that are read; `.bin` is what programs call a file they do not know.
const EXTENSIONS: [&str; 11] =
    ["zip", "tar", "gz", "tgz", "car", "json", "jsonl", "ndjson", "csv", "txt", "bin"];

/// Reads a file. `label` is its name in messages, `name` its file name, `stem` the substitute for
/// an account's handle, `size_bytes` its size.
///
/// # Errors
/// Each names the file and a way out; an archive without any post is an error too.
pub fn read(
    label: &str,
    name: &str,
    stem: &str,
    mut file: impl Read + Seek,
    size_bytes: u64,
) -> Result<Archive, ReadError> {
    let place = || Place::file(label);
    let io = |source| ReadError::Io { place: place(), source };
    let mut head = Vec::new();
    file.by_ref().take(HEAD_BYTES as u64).read_to_end(&mut head).map_err(io)?;
    let unknown = || match x_archive::is_part(name) {
        true => ReadError::PartOfArchive { place: place() },
        false => ReadError::UnknownKind { place: place() },
    };
    let archive = match Kind::of(name, &head).ok_or_else(unknown)? {
        Kind::Zip => {
            file.seek(SeekFrom::Start(0)).map_err(|error| io(named(error)))?;
            read_tree(&mut ZipTree::open(label, BufReader::new(file))?, stem)?
        }
        Kind::Tar => {
            let whole = head.as_slice().chain(BufReader::new(file));
            let mut tree = TarTree::open(label, whole, size_bytes, mastodon::is_wanted)?;
            mastodon::read(&mut tree, stem)?
        }
        kind => {
            let whole = head.as_slice().chain(file);
            let bytes = read_at_most(whole, MAX_ENTRY_BYTES).map_err(|error| match error {
                Some(source) => io(source),
                None => ReadError::TooLong { place: place(), limit: MAX_ENTRY_BYTES },
            })?;
            read_bytes(kind, label, stem, &bytes)?
        }
    };
    if archive.posts.is_empty() { Err(ReadError::empty(place(), archive.unreadable)) } else { Ok(archive) }
}

/// Names the way out where a zip comes from a pipe: its list of files is at its end.
fn named(error: io::Error) -> io::Error {
    match error.kind() {
        kind @ io::ErrorKind::NotSeekable => {
            io::Error::new(kind, "a zip cannot be read from a pipe: give its file")
        }
        _ => error,
    }
}

/// Reads an archive of several files as X's or Mastodon's, according to its contents.
pub fn read_tree(tree: &mut dyn FileTree, stem: &str) -> Result<Archive, ReadError> {
    if x_archive::is_x_archive(tree) || !mastodon::is_mastodon(tree) {
        x_archive::read(tree, stem)
    } else {
        mastodon::read(tree, stem)
    }
}

/// The files of an archive that [`read_tree`] reads.
pub fn files_read(tree: &dyn FileTree) -> Vec<String> {
    if x_archive::is_x_archive(tree) || !mastodon::is_mastodon(tree) {
        x_archive::files_read(tree)
    } else {
        mastodon::files_read(tree)
    }
}

/// The handle that a file's name stands for: the name without a known extension, `archive` for
/// `archive.tar.gz`. Other endings are kept: `keeper.sea.example` may be a handle.
pub fn stem(name: &str) -> &str {
    let stem = match name.rsplit_once('.') {
        Some((stem, extension)) if EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known)) => {
            stem.strip_suffix(".tar").unwrap_or(stem)
        }
        _ => name,
    };
    if stem.is_empty() { name } else { stem }
}

/// Reads a file that is a single list of posts.
fn read_bytes(kind: Kind, label: &str, stem: &str, bytes: &[u8]) -> Result<Archive, ReadError> {
    match kind {
        Kind::Car => car::read(label, stem, bytes),
        Kind::Csv => csv::read(label, stem, bytes),
        Kind::Lines => lines::read(label, stem, bytes),
        Kind::Jsonl => jsonl::read(label, stem, bytes),
        Kind::Json | Kind::Zip | Kind::Tar => match Kind::of_json(bytes) {
            Some(JsonKind::Records) => list::read(label, stem, bytes),
            Some(JsonKind::Outbox) => mastodon::read_outbox(label, stem, bytes),
            Some(JsonKind::Lines) => jsonl::read(label, stem, bytes),
            None => json_problem(label, bytes),
        },
    }
}

/// Why JSON of no known kind was refused: malformed, or without posts.
fn json_problem(label: &str, bytes: &[u8]) -> Result<Archive, ReadError> {
    let place = || Place::file(label);
    let text = utf8(bytes, place)?;
    match serde_json::from_str::<serde::de::IgnoredAny>(text) {
        Err(error) => Err(ReadError::json(place(), &error, 0)),
        Ok(_) => Err(ReadError::NoPostsFile {
            place: place(),
            looked_for: "`records` (Bluesky), `orderedItems` (Mastodon) or `text` (one post per line)",
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_extensions_are_no_part_of_a_handle() {
        for (name, expected) in [
            ("archive.tar.gz", "archive"),
            ("A.TXT", "A"),
            ("keeper.sea.example.car", "keeper.sea.example"),
            ("keeper.sea.example", "keeper.sea.example"),
            ("posts", "posts"),
            (".txt", ".txt"),
            (".posts", ".posts"),
            ("", ""),
        ] {
            assert_eq!(stem(name), expected);
        }
    }
}
