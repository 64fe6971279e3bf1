//! Reading posts: one reader per format, the original's cleaning, and the training text.
//!
//! ```text
//! any ─── x_archive (zip or folder)       ─┐
//!      ├─ mastodon (tar.gz, zip or folder) ├─> Archive ─ filter, clean ─> Cleaned ─ dataset ─> training text
//!      ├─ bluesky (CAR or JSON)            │                (counts)
//!      └─ lines (.txt), csv, jsonl        ─┘
//! ```
//!
//! Readers take bytes or a [`FileTree`] and never open a path; only [`open`] does, so everything
//! else also runs in the browser. `any` picks the reader for a file.

pub mod bluesky;
pub mod clean;
pub mod counts;
pub mod dataset;
pub mod date;
mod entry;
mod error;
mod file_tree;
pub mod filter;
pub mod grammar;
pub mod html;
pub mod jsonl;
pub mod kind;
pub mod language;
pub mod lines;
pub mod mastodon;
pub mod merge;
mod post;
mod reply;
pub mod shuffle;
pub mod x_archive;

#[cfg(feature = "archives")]
pub mod any;
#[cfg(feature = "archives")]
pub mod csv;
#[cfg(feature = "native")]
pub mod open;
#[cfg(feature = "archives")]
pub mod tar_tree;
#[cfg(feature = "archives")]
pub mod zip_tree;

pub use counts::Cleaned;
pub use dataset::{Order, TooFew, Warning, check_size, training_text};
pub use error::{Place, ReadError};
pub use file_tree::{FileTree, MAX_ENTRY_BYTES};
pub use filter::{Filter, FilteredOut};
pub use post::{Archive, Post, Unreadable};
