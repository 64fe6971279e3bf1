//! Writing a checkpoint's file: safetensors, written tensor by tensor to a temporary file, synced
//! and renamed. Whatever fails, the path has the old file or the complete new one.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
};

use serde_json::{Map, json};

use super::StoreError;
use crate::{
    bundle::staging::{parent, sync_folder},
    train::values::Values,
};

/// Size of the write buffer, in bytes.
const BUFFER_BYTES: usize = 1 << 20;
/// Values converted to bytes at a time.
const VALUES: usize = 1 << 12;

/// A tensor to write.
pub struct Entry<'a> {
    pub name: String,
    pub shape: &'a [usize],
    /// Copied from a device only when it is written.
    pub values: Values<'a>,
}

/// Atomically replaces the file at `path`; `state` is stored in the header under `key`.
///
/// # Errors
/// [`StoreError::NotFinite`] if a value is not finite; [`StoreError::Io`] if writing fails. The old
/// file stays, unless only the final sync of the folder fails.
pub fn replace(path: &Path, key: &str, state: &str, entries: &[Entry<'_>]) -> Result<(), StoreError> {
    let partial = partial(path);
    let written = File::create(&partial)
        .map_err(|source| StoreError::io(path, source))
        .and_then(|file| write(path, file, &header(key, state, entries), entries))
        .and_then(|file| file.sync_all().map_err(|source| StoreError::io(path, source)))
        .and_then(|()| fs::rename(&partial, path).map_err(|source| StoreError::io(path, source)));
    if written.is_err() {
        // A partial file would only take up space.
        let _ = fs::remove_file(&partial);
        return written;
    }
    // Makes the rename itself durable.
    sync_folder(parent(path)).map_err(|source| StoreError::io(path, source))
}

fn partial(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    path.with_file_name(name)
}

/// The safetensors header, with names, shapes and offsets of all tensors: its length in 8 bytes,
/// then JSON, padded so that the data begins at a multiple of 8.
fn header(key: &str, state: &str, entries: &[Entry<'_>]) -> Vec<u8> {
    let mut header = Map::new();
    header.insert("__metadata__".into(), json!({ "format": "pt", key: state }));
    let mut begin = 0;
    for Entry { name, shape, .. } in entries {
        let end = begin + 4 * shape.iter().product::<usize>();
        let tensor = json!({ "dtype": "F32", "shape": shape, "data_offsets": [begin, end] });
        header.insert(name.clone(), tensor);
        begin = end;
    }
    let mut text = serde_json::Value::Object(header).to_string().into_bytes();
    text.resize(text.len().next_multiple_of(8), b' ');
    let mut bytes = (text.len() as u64).to_le_bytes().to_vec();
    bytes.append(&mut text);
    bytes
}

/// Writes header and tensors and returns the writer. `path` is for error messages.
fn write<W: Write>(path: &Path, to: W, header: &[u8], entries: &[Entry<'_>]) -> Result<W, StoreError> {
    let io = |source| StoreError::io(path, source);
    let mut to = BufWriter::with_capacity(BUFFER_BYTES, to);
    to.write_all(header).map_err(io)?;
    for entry in entries {
        let written = entry.values.with(|values| write_values(&mut to, values))?;
        if !written.map_err(io)? {
            return Err(StoreError::NotFinite { name: entry.name.clone() });
        }
    }
    to.into_inner().map_err(|error| io(error.into_error()))
}

/// Returns false if a value is not finite.
fn write_values(to: &mut impl Write, values: &[f32]) -> io::Result<bool> {
    let mut bytes = Vec::with_capacity(4 * VALUES);
    for values in values.chunks(VALUES) {
        if values.iter().any(|value| !value.is_finite()) {
            return Ok(false);
        }
        bytes.clear();
        bytes.extend(values.iter().flat_map(|value| value.to_le_bytes()));
        to.write_all(&bytes)?;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disk with space for this many bytes.
    struct Disk(usize);

    impl Write for Disk {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0 == 0 {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let some = bytes.len().min(self.0);
            self.0 -= some;
            Ok(some)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn entry<'a>(name: &str, shape: &'a [usize], values: &'a [f32]) -> Entry<'a> {
        Entry { name: name.into(), shape, values: Values::Slice(values) }
    }

    #[test]
    fn what_was_written_is_safetensors() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.safetensors");
        replace(
            &path,
            "state",
            "\"quoted\" żółw",
            &[entry("b", &[2, 2], &[1.0, 2.0, 3.0, -0.0]), entry("a", &[1], &[f32::MIN_POSITIVE])],
        )
        .unwrap();
        let bytes = fs::read(&path).unwrap();
        let (_, metadata) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
        assert_eq!(metadata.metadata().as_ref().unwrap()["state"], "\"quoted\" żółw");
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        assert_eq!(file.tensor("b").unwrap().shape(), [2, 2]);
        assert_eq!(file.tensor("b").unwrap().data()[..8], [0, 0, 128, 63, 0, 0, 0, 64]);
        assert_eq!(file.tensor("a").unwrap().data(), f32::MIN_POSITIVE.to_le_bytes());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_full_disk_is_an_error_wherever_it_comes() {
        let values = vec![1.0f32; 5000];
        let entries = [entry("a", &[5000], &values)];
        let header = header("state", "{}", &entries);
        let whole = header.len() + 20_000;
        assert!(write(Path::new("c"), Disk(whole), &header, &entries).is_ok());
        for room in [0, 7, header.len(), whole / 2, whole - 1] {
            let error = write(Path::new("c"), Disk(room), &header, &entries).err().unwrap();
            let full = matches!(&error, StoreError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull);
            assert!(full, "{room}: {error}");
        }
    }

    #[test]
    fn what_is_no_number_is_not_written_and_the_old_file_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.safetensors");
        fs::write(&path, "old").unwrap();
        let error = replace(&path, "state", "{}", &[entry("w", &[2], &[1.0, f32::NAN])]).unwrap_err();
        assert!(matches!(error, StoreError::NotFinite { name } if name == "w"));
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
