//! Files that a visitor drops or chooses, a dropped folder's among them.

use js_sys::{Array, Function, Promise};
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    DataTransfer, File, FileList, FileSystemDirectoryEntry, FileSystemDirectoryReader, FileSystemEntry,
    FileSystemFileEntry, Url,
};

/// Files of a folder that are looked at: a bundle has a dozen.
const MOST_FILES: u32 = 100;

/// Name, object URL and size of each file.
pub type Given = Vec<(String, String, u64)>;

pub fn chosen(files: Option<FileList>) -> Given {
    let Some(files) = files else { return Given::new() };
    (0..files.length().min(MOST_FILES)).filter_map(|index| give(&files.get(index)?)).collect()
}

/// Entries that were dropped; they must be taken before the event ends.
pub fn entries(dropped: &DataTransfer) -> Vec<FileSystemEntry> {
    let items = dropped.items();
    let entry = |index| items.get(index)?.webkit_get_as_entry().ok().flatten();
    (0..items.length()).filter_map(entry).collect()
}

/// The files among the entries, and those in their folders' first level.
pub async fn dropped(entries: Vec<FileSystemEntry>) -> Given {
    let mut given = Given::new();
    for entry in entries {
        if entry.is_directory() {
            let reader = entry.unchecked_into::<FileSystemDirectoryEntry>().create_reader();
            for inner in list(&reader).await {
                if inner.is_file() {
                    given.extend(file(inner).await);
                }
            }
        } else {
            given.extend(file(entry).await);
        }
    }
    given
}

/// A reader gives its folder in parts, and at last an empty one.
async fn list(reader: &FileSystemDirectoryReader) -> Vec<FileSystemEntry> {
    let mut found = Vec::new();
    while found.len() < MOST_FILES as usize {
        let part = settle(|done, failed| reader.read_entries_with_callback_and_callback(done, failed)).await;
        let part: Vec<_> = part.map(|part| Array::from(&part).to_vec()).unwrap_or_default();
        if part.is_empty() {
            break;
        }
        found.extend(part.into_iter().map(JsCast::unchecked_into::<FileSystemEntry>));
    }
    found
}

async fn file(entry: FileSystemEntry) -> Option<(String, String, u64)> {
    let entry: FileSystemFileEntry = entry.unchecked_into();
    let file = settle(|done, failed| {
        entry.file_with_callback_and_callback(done, failed);
        Ok(())
    });
    give(file.await?.dyn_ref()?)
}

fn give(file: &File) -> Option<(String, String, u64)> {
    let url = Url::create_object_url_with_blob(file).ok()?;
    Some((file.name(), url, file.size() as u64))
}

/// An interface of callbacks as a value.
async fn settle(begin: impl Fn(&Function, &Function) -> Result<(), JsValue>) -> Option<JsValue> {
    let promise = Promise::new(&mut |resolve: Function, reject: Function| {
        let done = Closure::once_into_js(move |value: JsValue| _ = resolve.call1(&JsValue::NULL, &value));
        let failed = Closure::once_into_js(move |error: JsValue| _ = reject.call1(&JsValue::NULL, &error));
        let _ = begin(done.unchecked_ref(), failed.unchecked_ref());
    });
    JsFuture::from(promise).await.ok()
}
