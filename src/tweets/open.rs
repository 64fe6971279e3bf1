//! Opens whatever path a user names: a folder, a zip, or a file of posts.

use std::{
    fs::{self, File},
    io::{BufReader, Read},
    path::{Path, PathBuf},
};

use super::{
    Archive, FileTree, MAX_ENTRY_BYTES, ReadError, csv, error::Place,
    file_tree::read_at_most, jsonl, lines, x_archive, zip_tree::ZipTree,
};

/// How deep below an unpacked archive's folder its files are looked for.
const MAX_DEPTH: usize = 3;

/// Reads a path's posts by what it is: a folder or zip as an X archive, a file
/// by its extension.
///
/// # Errors
/// Each names the path, the matter and the way out.
pub fn read(path: &Path) -> Result<Archive, ReadError> {
    let label = path.display().to_string();
    let stem = path.file_stem().map_or_else(|| label.clone(), |s| s.to_string_lossy().into_owned());
    let io = |source: std::io::Error| match source.kind() {
        std::io::ErrorKind::NotFound => ReadError::NotFound { place: Place::file(&label) },
        _ => ReadError::Io { place: Place::file(&label), source },
    };
    let archive = if fs::metadata(path).map_err(io)?.is_dir() {
        x_archive::read(&mut FolderTree::open(path), &stem)?
    } else {
        let mut file = File::open(path).map_err(io)?;
        let mut magic = [0; 2];
        let zipped = file.read_exact(&mut magic).is_ok() && &magic == b"PK";
        let extension = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase());
        let extension = extension.unwrap_or_default();
        if zipped || extension == "zip" {
            let file = File::open(path).map_err(io)?;
            x_archive::read(&mut ZipTree::open(&label, BufReader::new(file))?, &stem)?
        } else {
            let reader = match extension.as_str() {
                "txt" => lines::read,
                "csv" => csv::read,
                "jsonl" | "ndjson" => jsonl::read,
                _ => return Err(ReadError::UnknownKind { place: Place::file(&label) }),
            };
            let bytes = read_at_most(File::open(path).map_err(io)?, MAX_ENTRY_BYTES).map_err(|e| match e {
                Some(source) => io(source),
                None => ReadError::TooLarge { place: Place::file(&label), limit: MAX_ENTRY_BYTES },
            })?;
            reader(&label, &stem, &bytes)?
        }
    };
    if archive.posts.is_empty() {
        return Err(ReadError::Empty { place: Place::file(&label) });
    }
    Ok(archive)
}

/// An unpacked archive.
struct FolderTree {
    label: String,
    root: PathBuf,
    names: Vec<String>,
}

impl FolderTree {
    fn open(root: &Path) -> Self {
        let mut names = Vec::new();
        list(root, "", 0, &mut names);
        Self { label: root.display().to_string(), root: root.to_owned(), names }
    }
}

/// Names below a folder; what cannot be listed cannot be a posts file.
fn list(folder: &Path, prefix: &str, depth: usize, names: &mut Vec<String>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        match entry.file_type() {
            Ok(kind) if kind.is_dir() && depth < MAX_DEPTH => {
                list(&entry.path(), &format!("{name}/"), depth + 1, names);
            }
            Ok(kind) if !kind.is_dir() => names.push(name),
            _ => {}
        }
    }
}

impl FileTree for FolderTree {
    fn label(&self) -> &str {
        &self.label
    }

    fn names(&self) -> Vec<String> {
        self.names.clone()
    }

    fn read(&mut self, name: &str) -> Result<Vec<u8>, ReadError> {
        let place = || Place::entry(&self.label, name);
        if !self.names.iter().any(|n| n == name) {
            return Err(ReadError::NotFound { place: place() });
        }
        let file =
            File::open(self.root.join(name)).map_err(|source| ReadError::Io { place: place(), source })?;
        read_at_most(file, MAX_ENTRY_BYTES).map_err(|error| match error {
            Some(source) => ReadError::Io { place: place(), source },
            None => ReadError::TooLarge { place: place(), limit: MAX_ENTRY_BYTES },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWEETS: &str = r#"window.YTD.tweets.part0 = [{"tweet": {"full_text": "one whole post", "id_str": "1"}}]"#;

    #[test]
    fn an_unpacked_archive_is_read_like_a_zip() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("data")).unwrap();
        fs::write(folder.path().join("data/tweets.js"), TWEETS).unwrap();
        fs::write(folder.path().join("data/deleted-tweets.js"), "never read").unwrap();
        assert_eq!(read(folder.path()).unwrap().posts[0].text, "one whole post");
    }

    #[test]
    fn what_is_no_archive_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let message = |name: &str, bytes: &[u8]| {
            fs::write(folder.path().join(name), bytes).unwrap();
            read(&folder.path().join(name)).unwrap_err().to_string()
        };
        assert!(message("a.zip", b"text").contains("not a zip"));
        assert!(message("a.zip", b"PK\x03\x04cut").contains("cut short"));
        assert!(message("a.exe", b"MZ").contains(".jsonl"));
        assert!(message("a.txt", b"\xff").contains("UTF-8"));
        assert!(message("b.txt", b"").contains("no post"));
        assert!(read(&folder.path().join("none")).unwrap_err().to_string().contains("no such"));
        let empty = tempfile::tempdir().unwrap();
        assert!(read(empty.path()).unwrap_err().to_string().contains("looked for"));
    }
}
