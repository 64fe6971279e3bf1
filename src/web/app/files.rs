//! Files that a visitor drops or chooses, including those in folders.

use js_sys::{Array, Function, Promise, Reflect};
use leptos::{ev, prelude::*};
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    DataTransfer, DragEvent, File, FileList, FileSystemDirectoryEntry, FileSystemDirectoryReader,
    FileSystemEntry, FileSystemFileEntry, Url,
};

use crate::web::page::bots;

/// Maximum number of files taken; a bundle needs three or four.
const MAX_FILES: usize = 100;

/// Name, content and size of each file.
pub type Given = Vec<(String, File, u64)>;

/// A bot's files among those chosen; of a folder, the browser lists the files at any depth.
pub fn chosen(files: Option<FileList>) -> Given {
    let Some(files) = files else { return Given::new() };
    let files = (0..files.length()).filter_map(|index| files.get(index));
    files.filter(|file| bots::is_wanted(&path(file))).take(MAX_FILES).map(give).collect()
}

/// Path from the chosen folder on; else the name alone.
fn path(file: &File) -> String {
    let path = Reflect::get(file, &"webkitRelativePath".into()).ok().and_then(|path| path.as_string());
    path.filter(|path| !path.is_empty()).unwrap_or_else(|| file.name())
}

/// Prevents a file dropped in the wrong place from replacing the page.
pub fn keep_page() {
    let keep = |event: DragEvent| {
        // Text may be dragged into a field.
        let files = |dragged: DataTransfer| dragged.types().includes(&"Files".into(), 0);
        if event.data_transfer().is_some_and(files) {
            event.prevent_default();
        }
    };
    // As long as the page lives.
    window_event_listener(ev::dragover, keep);
    window_event_listener(ev::drop, keep);
}

/// The entries that were dropped; they must be taken before the event ends.
pub fn entries(dropped: &DataTransfer) -> Vec<FileSystemEntry> {
    let items = dropped.items();
    let entry = |index| items.get(index)?.webkit_get_as_entry().ok().flatten();
    (0..items.length()).filter_map(entry).collect()
}

/// A bot's files among the entries and directly in dropped folders.
pub async fn dropped(entries: Vec<FileSystemEntry>) -> Given {
    let mut given = Given::new();
    for entry in entries {
        if entry.is_directory() {
            let reader = entry.unchecked_into::<FileSystemDirectoryEntry>().create_reader();
            for inner in list(&reader).await {
                given.extend(file(inner).await);
            }
        } else if is_wanted(&entry) {
            given.extend(file(entry).await);
        }
    }
    given
}

fn is_wanted(entry: &FileSystemEntry) -> bool {
    entry.is_file() && bots::is_wanted(&entry.name())
}

/// Lists a folder: its reader returns the entries in parts, then an empty one.
async fn list(reader: &FileSystemDirectoryReader) -> Vec<FileSystemEntry> {
    let mut found = Vec::new();
    while found.len() < MAX_FILES {
        let part = settle(|done, failed| reader.read_entries_with_callback_and_callback(done, failed)).await;
        let part: Vec<_> = part.map(|part| Array::from(&part).to_vec()).unwrap_or_default();
        if part.is_empty() {
            break;
        }
        found.extend(part.into_iter().map(JsCast::unchecked_into::<FileSystemEntry>).filter(is_wanted));
    }
    found
}

async fn file(entry: FileSystemEntry) -> Option<(String, File, u64)> {
    let entry: FileSystemFileEntry = entry.unchecked_into();
    let file = settle(|done, failed| {
        entry.file_with_callback_and_callback(done, failed);
        Ok(())
    });
    file.await?.dyn_into().ok().map(give)
}

fn give(file: File) -> (String, File, u64) {
    let (name, bytes) = (file.name(), file.size() as u64);
    (name, file, bytes)
}

/// Makes a URL for a file, which keeps the file readable until it is revoked.
pub fn object_url(file: &File) -> Option<String> {
    Url::create_object_url_with_blob(file).ok()
}

pub fn revoke(url: &str) {
    // Fails only for what is not a string.
    let _ = Url::revoke_object_url(url);
}

/// Turns a callback interface into a value.
async fn settle(begin: impl Fn(&Function, &Function) -> Result<(), JsValue>) -> Option<JsValue> {
    let promise = Promise::new(&mut |resolve: Function, reject: Function| {
        let done = Closure::once_into_js(move |value: JsValue| _ = resolve.call1(&JsValue::NULL, &value));
        let failed = Closure::once_into_js(move |error: JsValue| _ = reject.call1(&JsValue::NULL, &error));
        let _ = begin(done.unchecked_ref(), failed.unchecked_ref());
    });
    JsFuture::from(promise).await.ok()
}
