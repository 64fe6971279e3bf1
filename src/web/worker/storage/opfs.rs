//! A file in the origin private file system (OPFS), read and written in place at the speed of the
//! disk. Only workers can do this, and one at a time.

use js_sys::{AsyncIterator, Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    FileSystemDirectoryHandle, FileSystemFileHandle, FileSystemGetDirectoryOptions, FileSystemGetFileOptions,
    FileSystemReadWriteOptions, FileSystemSyncAccessHandle,
};

use super::{super::browser::sleep, FileKey, QUOTA, is_named, scope, settled};

/// Contains a folder per address, with one file: the version last opened.
const FOLDER: &str = "huggingtweets-weights";

/// Interval of attempts to open a file that is in use, and their number.
const TRY_MS: u32 = 100;
const MAX_TRIES: usize = 300;

#[derive(Clone)]
pub struct OpfsFile {
    folder: FileSystemDirectoryHandle,
    name: String,
    handle: FileSystemSyncAccessHandle,
}

impl OpfsFile {
    /// Opens or creates the file, `size` bytes long and without seals; fails with a quota error if
    /// there is not enough space.
    pub async fn open(key: &FileKey, size: u64) -> Result<Self, JsValue> {
        let storage = scope()?.navigator().storage();
        if storage.is_undefined() {
            return Err(JsValue::UNDEFINED);
        }
        let root: FileSystemDirectoryHandle = settled(storage.get_directory()).await?;
        let folder = folder(&folder(&root, FOLDER).await?, &key.address).await?;
        remove_others(&folder, &key.sha256).await?;
        let create = FileSystemGetFileOptions::new();
        create.set_create(true);
        let file: FileSystemFileHandle =
            settled(folder.get_file_handle_with_options(&key.sha256, &create)).await?;
        let handle = access(&file).await?;
        let opened = Self { folder, name: key.sha256.clone(), handle };
        match opened.fit(size) {
            Ok(()) => Ok(opened),
            Err(error) => {
                opened.remove().await;
                Err(error)
            }
        }
    }

    /// Reserves the space now, so that a lack of it shows at once.
    fn fit(&self, size: u64) -> Result<(), JsValue> {
        match self.handle.get_size()? as u64 == size {
            true => Ok(()),
            false => self.handle.truncate_with_f64(size as f64),
        }
    }

    /// Fills `buffer`; returns whether the file has that many bytes there.
    pub fn read(&self, at: u64, buffer: &Uint8Array) -> bool {
        let read = self.handle.read_with_js_u8_array_and_options(buffer, &place(at));
        read.is_ok_and(|read| read as u32 == buffer.length())
    }

    pub fn write(&self, at: u64, bytes: &Uint8Array) -> Result<(), JsValue> {
        let written = self.handle.write_with_js_u8_array_and_options(bytes, &place(at))?;
        match written as u32 == bytes.length() {
            true => self.handle.flush(),
            // This is how Chromium reports that there is no space left.
            false => {
                let error = js_sys::Error::new("a short write");
                error.set_name(QUOTA);
                Err(error.into())
            }
        }
    }

    pub fn close(&self) {
        self.handle.close();
    }

    pub async fn remove(&self) {
        self.close();
        let _ = JsFuture::from(self.folder.remove_entry(&self.name)).await;
    }
}

/// Opens a file, waiting while it is in use: by a worker that was just terminated, or, in browsers
/// without a read-only mode, by another tab that is loading its bot.
async fn access(file: &FileSystemFileHandle) -> Result<FileSystemSyncAccessHandle, JsValue> {
    for _ in 0..MAX_TRIES {
        match settled(file.create_sync_access_handle()).await {
            Err(error) if is_named(&error, "NoModificationAllowedError") => sleep(TRY_MS).await,
            outcome => return outcome,
        }
    }
    settled(file.create_sync_access_handle()).await
}

pub(super) fn place(at: u64) -> FileSystemReadWriteOptions {
    let options = FileSystemReadWriteOptions::new();
    options.set_at(at as f64);
    options
}

async fn folder(
    parent: &FileSystemDirectoryHandle,
    name: &str,
) -> Result<FileSystemDirectoryHandle, JsValue> {
    let create = FileSystemGetDirectoryOptions::new();
    create.set_create(true);
    settled(parent.get_directory_handle_with_options(name, &create)).await
}

/// Removes the former files at this address.
async fn remove_others(folder: &FileSystemDirectoryHandle, name: &str) -> Result<(), JsValue> {
    for other in names(folder).await?.iter().filter(|other| *other != name) {
        // Another tab may be using it; the next visit tries again.
        let _ = JsFuture::from(folder.remove_entry(other)).await;
    }
    Ok(())
}

/// Removes the file with this digest from every address's folder.
pub async fn forget(sha256: &str) -> Result<(), JsValue> {
    let root: FileSystemDirectoryHandle = settled(scope()?.navigator().storage().get_directory()).await?;
    let all = folder(&root, FOLDER).await?;
    for address in names(&all).await? {
        let _ = JsFuture::from(folder(&all, &address).await?.remove_entry(sha256)).await;
    }
    Ok(())
}

async fn names(folder: &FileSystemDirectoryHandle) -> Result<Vec<String>, JsValue> {
    let entries: AsyncIterator = folder.keys();
    let mut names = Vec::new();
    loop {
        let next = JsFuture::from(entries.next()?.unchecked_into::<js_sys::Promise>()).await?;
        if Reflect::get(&next, &"done".into())?.is_truthy() {
            return Ok(names);
        }
        names.extend(Reflect::get(&next, &"value".into())?.as_string());
    }
}
